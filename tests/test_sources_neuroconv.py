"""The shared helper around neuroconv: names over several interfaces and sources, times, devices."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dandify.examples.spikeglx import write_spikeglx_run
from dandify.sources import NWBSource
from dandify.sources.neuroconv import add_device, add_interface, build, free_name
from dandify.sources.registry import by_name
from nwb_written import assert_archive_takes_it, new_nwbfile, write
from openephys_maker import RecordingSpec, write_record_node


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return write_spikeglx_run(folder, seed=1, probes=1, seconds=1.2, channels=8, start=datetime(2026, 3, 4, 10, 11, 12))


def test_any_interface_twice(run: Path) -> None:
    nwbfile = new_nwbfile()
    for shift_s in (0.0, 50.0):
        interface = build("SpikeGLXNIDQInterface", {"folder_path": run})
        add_interface(nwbfile, interface, shift_s=shift_s - 5.0)
    assert set(nwbfile.devices) == {"NIDQBoard"}
    assert set(nwbfile.acquisition) == {"TimeSeriesNIDQ", "TimeSeriesNIDQ_2"}
    starts = [nwbfile.acquisition[n].starting_time for n in ("TimeSeriesNIDQ", "TimeSeriesNIDQ_2")]
    assert starts == pytest.approx([0.0, 50.0], abs=1e-4)
    tables = [t for name, t in nwbfile.events.items() if len(t)]
    assert len(nwbfile.events) == 16
    assert len(tables) == 2
    assert {round(float(t["timestamp"].data[0])) for t in tables} <= {0, 50}


def test_names_can_be_edited(run: Path) -> None:
    def edit(metadata: Any) -> None:
        metadata["TimeSeries"]["spikeglx_sync"]["name"] = "Sync"

    nwbfile = new_nwbfile()
    for _ in range(2):
        arguments = {"folder_path": run, "stream_id": "imec0.ap-SYNC"}
        add_interface(nwbfile, build("SpikeGLXSyncChannelInterface", arguments), edit=edit)
    assert set(nwbfile.acquisition) == {"Sync", "Sync_2"}
    assert free_name(nwbfile, "Sync") == "Sync_3"


def test_devices_are_shared_or_renamed() -> None:
    nwbfile = new_nwbfile()
    fields = {"name": "Board", "manufacturer": "Maker", "model_number": "M1"}
    first = add_device(nwbfile, fields)
    assert add_device(nwbfile, fields) is first
    assert first.model.manufacturer == "Maker"
    other = add_device(nwbfile, {**fields, "serial_number": "9"})
    assert other.name == "Board_2"
    assert other.model is first.model
    assert add_device(nwbfile, {"name": "Board"}).name == "Board_3"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_sources_of_different_formats_share_electrodes(run: Path, order: tuple[int, ...], tmp_path: Path) -> None:
    node = write_record_node(tmp_path, {1: [RecordingSpec({"Rhythm Data": 50, "Slow": 10})]})
    sources = [by_name("spikeglx").open(run), by_name("open_ephys").open(node)]
    nwbfile = new_nwbfile()
    for index in order:
        source = sources[index]
        assert isinstance(source, NWBSource)
        source.add_to_nwbfile(nwbfile)
    assert len(nwbfile.electrodes) == 8 + 3 + 2
    assert nwbfile.electrodes.colnames[:3] == ("location", "group", "group_name")
    assert set(nwbfile.electrodes["location"].data) == {"unknown"}
    assert not [c.name for c in nwbfile.electrodes.columns if c.description in ("no description", c.name)]
    assert_archive_takes_it(write(nwbfile, tmp_path / "a.nwb"))
