"""Open Ephys binary: against neo, on recordings in the GUI's layout and on a real one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neo.rawio import OpenEphysBinaryRawIO
from numpy.typing import NDArray
from pynwb import NWBHDF5IO

from dandify.errors import BadRequest, BadSource
from dandify.sources import NWBSource
from dandify.sources.registry import by_name
from nwb_written import assert_archive_takes_it, filled, new_nwbfile, write
from openephys_maker import BOARD, DAQ, LFP, RecordingSpec, samples_of, write_record_node
from shared_data import ROOT, shared

converter = by_name("open_ephys")
EPOCH_MS = 1_772_619_072_500  # 2026-03-04T10:11:12.500Z
COUNTS = {"Rhythm Data": 600, "Slow": 150, "PXIe-6341": 580}
TTL, TEXTS = ((0.1, 1), (0.2, 2), (0.3, -1)), ((0.15, "go"), (0.25, "µ end"))
RICH = {
    1: [
        RecordingSpec(COUNTS, 0.0, EPOCH_MS, ttl=TTL, messages=TEXTS),
        RecordingSpec({**COUNTS, "Rhythm Data": 400}, 10.0, EPOCH_MS + 10_000, ttl=TTL, messages=TEXTS),
    ],
    2: [RecordingSpec(COUNTS, 0.0, EPOCH_MS + 60_000, ttl=TTL, messages=TEXTS)],
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_record_node(tmp_path_factory.mktemp("oe"), RICH)


def opened(path: Path) -> NWBSource:
    source = converter.open(path)
    assert isinstance(source, NWBSource)
    return source


def neo_read(folder: Path, stream: str, block: int, segment: int) -> NDArray[Any]:
    reader = OpenEphysBinaryRawIO(dirname=str(folder))
    reader.parse_header()
    index = next(i for i, s in enumerate(reader.header["signal_streams"]) if s["name"].split("#")[-1] == stream)
    return np.array(reader.get_analogsignal_chunk(block, segment, stream_index=index))


@pytest.mark.parametrize(
    ("file", "root"),
    [
        ("s/Record Node 1/experiment1/recording2/structure.oebin", "s/Record Node 1"),
        ("s/Record Node 1/experiment1/recording2/continuous/A-1.0/continuous.dat", "s/Record Node 1"),
        ("s/experiment3/recording1/sync_messages.txt", "s"),
        ("s/recording1/continuous/A-1.0/continuous.dat", "s/recording1"),
        ("s/Record Node 1/settings.xml", "s/Record Node 1"),
        ("s/Record Node 1/settings_2.xml", "s/Record Node 1"),
        ("s/a/continuous.txt", None),
    ],
)
def test_claim(file: str, root: str | None) -> None:
    assert converter.claim(Path("/x") / file) == (None if root is None else Path("/x") / root)


@pytest.mark.parametrize(
    ("name", "content"),
    [("settings.xml", b"<IntanRHX/>"), ("structure.oebin", b"\xff\x00"), ("structure.oebin", b"[1]"),
     ("structure.oebin", b'{"a": 1}'), ("continuous.dat", b"")],
)  # fmt: skip
def test_junk_is_not_ours(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert not converter.identify(tmp_path)
    assert not converter.identify(tmp_path / name)


def test_streams_and_facts(node: Path) -> None:
    assert converter.identify(node)
    source = opened(node)
    suffixes = ("experiment1_recording1", "experiment1_recording2", "experiment2_recording1")
    kinds = {
        "Rhythm Data": "LFP", "Rhythm Data.aux": "TimeSeries", "Rhythm Data.adc": "TimeSeries", "Slow": "LFP",
        "PXIe-6341.adc": "TimeSeries",
    }  # fmt: skip
    found = {s.name: s.kind for s in source.streams if s.kind != "EventsTable"}
    assert found == {f"{name}_{suffix}": kind for suffix in suffixes for name, kind in kinds.items()}
    assert {s.name: s.shape for s in source.streams if s.kind == "EventsTable"} == {
        f"{name}_{suffix}": (rows,) for suffix in suffixes for name, rows in (("Rhythm Data.TTL", 3), ("Messages", 2))
    }
    assert source.facts == {
        "software": "Open Ephys GUI 0.6.7", "session_start_time": datetime(2026, 3, 4, 10, 11, 12, 500000, tzinfo=UTC)
    }  # fmt: skip
    assert len(source.files) == len([f for f in node.rglob("*") if f.is_file()])
    streams = {s.name: s for s in source.streams}
    units = {n: (streams[f"{n}_{suffixes[0]}"].unit, streams[f"{n}_{suffixes[0]}"].conversion) for n in kinds}
    assert units == {
        "Rhythm Data": ("volts", pytest.approx(0.195e-6)), "Slow": ("volts", pytest.approx(0.195e-6)),
        "Rhythm Data.adc": ("volts", 0.195), "PXIe-6341.adc": ("volts", 0.0003), "Rhythm Data.aux": (None, 0.195),
    }  # fmt: skip
    assert pickle.loads(pickle.dumps(source)).facts == source.facts


NEO = {
    "Rhythm Data": ("Acquisition_Board-100.Rhythm Data", BOARD, slice(0, 3)),
    "Slow": ("Acquisition_Board-101.Slow", LFP, slice(None)),
    "PXIe-6341.adc": ("NI-DAQmx-103.PXIe-6341", DAQ, slice(None)),
}


@pytest.mark.parametrize("name", NEO)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_regions_equal_the_slice_of_neos_full_read(node: Path, name: str, data: st.DataObject) -> None:
    block, segment, suffix = data.draw(
        st.sampled_from(
            [(0, 0, "experiment1_recording1"), (0, 1, "experiment1_recording2"), (1, 0, "experiment2_recording1")]
        )
    )
    stream, _, columns = NEO[name]
    whole = neo_read(node, stream, block, segment)[:, columns]
    array = next(s for s in opened(node).streams if s.name == f"{name}_{suffix}").array
    assert array is not None
    assert array.shape == whole.shape
    region = tuple(slice(*sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))) for n in whole.shape)
    assert np.array_equal(array[region], whole[region])


def test_round_trip(node: Path, tmp_path: Path) -> None:
    nwbfile = new_nwbfile()
    opened(node).add_to_nwbfile(nwbfile, shift_s=5.0)
    path = write(nwbfile, tmp_path / "a.nwb")
    assert_archive_takes_it(path)
    with NWBHDF5IO(path, "r") as io:
        back = io.read()
        lfp = back.processing["ecephys"]["LFP"].electrical_series
        for suffix, number, begin in (("1_recording1", 1, 5.0), ("1_recording2", 2, 15.0), ("2_recording1", 1, 65.0)):
            series = lfp[f"ElectricalSeriesRhythmData_experiment{suffix}"]
            assert np.array_equal(series.data[:], samples_of(BOARD, number, 400 if number == 2 else 600)[:, :3])
            assert series.starting_time == pytest.approx(begin)
            assert series.rate == 1000.0
            slow = lfp[f"ElectricalSeriesSlow_experiment{suffix}"]
            assert np.array_equal(slow.data[:], samples_of(LFP, number, 150))
            analog = back.acquisition[f"TimeSeriesPXIe6341_adc_experiment{suffix}"]
            assert np.array_equal(analog.data[:], samples_of(DAQ, number, 580))
            assert (analog.unit, analog.conversion) == ("volts", 0.0003)
        assert len(back.electrodes) == 5
        assert set(back.electrode_groups) == {"RhythmData", "Slow"}
        ttl = back.events["EventsRhythmData_TTL_experiment2_recording1"].to_dataframe()
        assert ttl["timestamp"].tolist() == pytest.approx([65.1, 65.2, 65.3])
        assert ttl["line"].tolist() == ["1", "2", "1"]
        assert ttl["edge"].tolist() == ["rising", "rising", "falling"]
        messages = back.events["EventsMessages_experiment1_recording1"].to_dataframe()
        assert messages["message"].tolist() == ["go", "µ end"]
        assert messages["timestamp"].tolist() == pytest.approx([5.15, 5.25])


def test_a_clock_that_drifts_keeps_its_time_stamps(tmp_path: Path) -> None:
    spec = RecordingSpec(COUNTS, 0.0, EPOCH_MS, clock_rates={"Rhythm Data": 999.0})
    node = write_record_node(tmp_path, {1: [spec]})
    source = opened(node)
    stream = source.streams[0]
    assert stream.rate_hz is None
    assert stream.timestamps is not None
    nwbfile = new_nwbfile()
    source.add_to_nwbfile(nwbfile, shift_s=1.0)
    assert_archive_takes_it(write(nwbfile, tmp_path / "a.nwb"))
    series = nwbfile.processing["ecephys"]["LFP"]["ElectricalSeriesRhythmData"]
    assert series.rate is None
    assert np.allclose(series.timestamps, 1.0 + np.arange(600) / 999.0)


def test_files_before_version_0_6(tmp_path: Path) -> None:
    spec = RecordingSpec(COUNTS, 0.0, ttl=((0.1, 3), (0.2, -3)))
    later = RecordingSpec(COUNTS, 20.0)
    source = opened(write_record_node(tmp_path, {1: [spec, later]}, old=True))
    assert source.facts["session_start_time"] == datetime(2026, 3, 4, 10, 11, 12)
    nwbfile = new_nwbfile()
    source.add_to_nwbfile(nwbfile)
    assert filled(nwbfile).events["EventsRhythmData_TTL_recording1"]["timestamp"].data == pytest.approx([0.1, 0.2])
    assert nwbfile.acquisition["TimeSeriesPXIe6341_adc_recording2"].starting_time == pytest.approx(20.0)


def test_flat_layout_without_settings(tmp_path: Path) -> None:
    node = write_record_node(tmp_path, {1: [RecordingSpec(COUNTS, 0.0, EPOCH_MS)]}, name="flat", settings=False)
    assert converter.claim(next(node.rglob("continuous.dat"))) == node
    nwbfile = new_nwbfile()
    opened(node).add_to_nwbfile(nwbfile)
    assert "ElectricalSeriesRhythmData" in nwbfile.processing["ecephys"]["LFP"].electrical_series


def test_a_recording_may_lack_a_stream_of_the_others(tmp_path: Path) -> None:
    node = write_record_node(tmp_path, {1: [RecordingSpec(COUNTS), RecordingSpec({"Slow": 100}, 10.0)]})
    assert [s.name for s in opened(node).streams if "recording2" in s.name] == ["Slow_recording2"]


def test_a_stream_whose_folder_was_not_copied_is_a_problem(tmp_path: Path) -> None:
    node = write_record_node(tmp_path, {1: [RecordingSpec(COUNTS)]})
    for file in (folder := next(node.rglob("*PXIe-6341"))).iterdir():
        file.unlink()
    folder.rmdir()
    source = opened(node)
    assert source.problems == (
        "experiment1/recording1: stream NI-DAQmx-103.PXIe-6341 is listed, but its folder is not there; left out",
    )


def _cut(node: Path, size: int) -> None:
    with next(node.rglob("*Slow/continuous.dat")).open("r+b") as file:
        file.truncate(size)


def _channels(node: Path) -> None:
    file = next(node.rglob("structure.oebin"))
    value = json.loads(file.read_text())
    value["continuous"][1]["num_channels"] = 7
    file.write_text(json.dumps(value))


def _spoil(node: Path) -> None:
    next(node.rglob("*.oebin")).write_text("{")


def _unlink(node: Path, pattern: str) -> None:
    for file in node.rglob(pattern):
        file.unlink()


def _states(node: Path) -> None:
    np.save(next(node.rglob("states.npy")), np.array([1], np.int16))


BROKEN: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "truncated": (lambda n: _cut(n, 400), ("100 samples found", "150 expected", "continuous.dat")),
    "uneven": (lambda n: _cut(n, 401), ("401 bytes", "2 channels", "1 bytes are left over")),
    "channels": (_channels, ("num_channels=7", "2 channels are listed", "stream")),
    "no samples": (lambda n: _unlink(n, "continuous.dat"), ("no continuous.dat",)),
    "no JSON": (_spoil, ("no valid JSON", "structure.oebin")),
    "no recording": (lambda n: _unlink(n, "structure.oebin"), ("no recording", "settings")),
    "states": (_states, ("1 events, but 3 times", "states.npy")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_refused_with_both_numbers_and_a_remedy(case: str, tmp_path: Path) -> None:
    node = write_record_node(tmp_path, {1: RICH[1]})
    act, expected = BROKEN[case]
    act(node)
    with pytest.raises(BadSource) as caught:
        converter.open(node)
    assert all(part in str(caught.value) for part in expected)
    assert caught.value.remedy
    assert caught.value.file


def test_experiments_without_a_start_are_refused(tmp_path: Path) -> None:
    node = write_record_node(tmp_path, {1: [RecordingSpec(COUNTS)], 2: [RecordingSpec(COUNTS)]}, settings=False)
    with pytest.raises(BadSource, match="experiment2 does not state when it began"):
        converter.open(node)


def test_options_are_refused(node: Path) -> None:
    with pytest.raises(BadRequest, match="no options: x"):
        converter.open(node, {"x": 1})


def test_the_real_recording_goes_through_whole(tmp_path: Path) -> None:
    node = converter.claim(next(shared("ephys/openephys_binary").rglob("structure.oebin")))
    assert node is not None
    source = opened(node)
    # settings.xml says 30 Aug 2023 23:41:36 on a computer in Seattle: 06:41:36 UTC.
    assert source.facts == {
        "software": "Open Ephys GUI 0.6.0", "probes": ("NP1300 serial number 22112107161",),
        "session_start_time": datetime(2023, 8, 31, 6, 41, 36, 435000, tzinfo=UTC),
    }  # fmt: skip
    nwbfile = new_nwbfile()
    source.add_to_nwbfile(nwbfile)
    path = write(nwbfile, tmp_path / "a.nwb")
    assert_archive_takes_it(path)
    reader = OpenEphysBinaryRawIO(dirname=str(node))
    reader.parse_header()
    with NWBHDF5IO(path, "r") as io:
        back = io.read()
        for segment in (0, 1):
            ap = back.acquisition[f"ElectricalSeriesProbeAAP_recording{segment + 1}"]
            sync = back.acquisition[f"TimeSeriesProbeAAP_sync_recording{segment + 1}"]
            assert np.array_equal(ap.data[:], neo_read(node, "Neuropix-PXI-100.ProbeA-AP", 0, segment))
            assert np.array_equal(sync.data[:], neo_read(node, "Neuropix-PXI-100.ProbeA-APSYNC", 0, segment))
            assert ap.rate == 30000.0
            assert ap.conversion == pytest.approx(0.195e-6)
            # sync_messages.txt: the recording began at sample 21835476, the file (clipped) at 21836244.
            assert ap.starting_time == pytest.approx((21836244 - 21835476) / 30000)
            ttl = back.events[f"EventsProbeAAP_TTL_recording{segment + 1}"]
            name = list(reader.header["event_channels"]["name"]).index("Neuropixels PXI Sync")
            rising, _, _ = reader.get_event_timestamps(0, segment, name)
            edges = np.array(ttl["edge"].data[:]) == "rising"
            assert np.allclose(ttl["timestamp"].data[:][edges], rising - 727.86343557 + 0.0256, atol=1e-6)
            assert len(back.events[f"EventsMessages_recording{segment + 1}"]) == 1124
        assert len(back.electrodes) == 384
        assert back.devices["NeuropixelsProbeA"].serial_number == "22112107161"


SETTINGS = sorted({f.parent for f in ROOT.glob("ephys/openephys_settings/**/settings*.xml")})


@pytest.mark.parametrize("folder", SETTINGS, ids=lambda f: f"{f.parent.name}-{f.name}")
def test_real_settings_without_samples(folder: Path) -> None:
    assert converter.identify(folder)
    with pytest.raises(BadSource, match=r"no recording|none of their folders"):
        converter.open(folder)
