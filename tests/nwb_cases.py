"""NWBFiles with all that the writer must carry, and a comparison of two written files, object by object."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.ecephys import ElectricalSeries
from pynwb.file import Subject
from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries
from pynwb.image import ImageSeries
from pynwb.ophys import OpticalChannel, TwoPhotonSeries


def recording(samples: int = 40_000, channels: int = 70, seed: int = 0) -> NDArray[np.int16]:
    """(samples, channels) int16: noise on a slow wave."""
    rng = np.random.default_rng(seed)
    wave = 30 * np.sin(np.arange(samples)[:, None] / 400 + np.arange(channels)[None])
    values: NDArray[np.int16] = np.round(rng.standard_normal((samples, channels)) * 12 + wave).astype(np.int16)
    return values


def new_file() -> NWBFile:
    """An NWBFile that the inspector finds nothing wrong with; identifiers are fixed, so that files can be compared."""
    return NWBFile(
        session_description="A session made for a test.", identifier="6d1e0b5e-test", session_id="s1",
        session_start_time=datetime(2024, 5, 1, 9, 0, tzinfo=UTC), experimenter=["Doe, Jane"],
        institution="Test University", lab="Test Lab", experiment_description="A test.", keywords=["test"],
        timestamps_reference_time=datetime(2024, 5, 1, 9, 0, tzinfo=UTC),
        file_create_date=datetime(2024, 5, 2, 9, 0, tzinfo=UTC),
        subject=Subject(subject_id="m1", species="Mus musculus", sex="F", age="P60D", description="A mouse."),
    )  # fmt: skip


def add_electrodes(nwb: NWBFile, count: int) -> Any:
    """Add a probe with so many sites; gives the region of all of them."""
    device = nwb.create_device("probe", description="A probe.")
    group = nwb.create_electrode_group("shank0", "The shank.", location="CA1", device=device)
    for _ in range(count):
        nwb.add_electrode(group=group, location="CA1")
    return nwb.create_electrode_table_region(list(range(count)), "All of them.")


def ephys(values: Any, channels: int, name: str = "ElectricalSeries") -> NWBFile:
    """One ElectricalSeries on its electrodes."""
    nwb = new_file()
    region = add_electrodes(nwb, channels)
    nwb.add_acquisition(
        ElectricalSeries(
            name=name, data=values, electrodes=region, rate=30_000.0, starting_time=0.0, conversion=1e-6,
            description="Raw.",
        )
    )  # fmt: skip
    return nwb


def everything(wrap: Callable[[NDArray[Any]], Any] = lambda values: values) -> NWBFile:
    """Signals, movies, timestamps, links, tables, ragged columns, big-endian and empty data.

    Parameters
    ----------
    wrap
        What to do with each large array before it is handed to pynwb.
    """
    rng = np.random.default_rng(1)
    nwb = ephys(wrap(recording()), 70)
    scope = nwb.create_device("microscope", description="A microscope.")
    plane = nwb.create_imaging_plane(
        name="plane", description="A plane.", device=scope,
        optical_channel=OpticalChannel(name="green", description="Green.", emission_lambda=510.0),
        excitation_lambda=920.0, indicator="GCaMP6f", location="V1", imaging_rate=30.0,
    )  # fmt: skip
    nwb.add_acquisition(
        TwoPhotonSeries(
            name="TwoPhotonSeries", data=wrap(rng.integers(0, 900, (130, 61, 83)).astype(np.uint16)),
            imaging_plane=plane, rate=30.0, unit="n.a.", description="A movie.",
        )
    )  # fmt: skip
    nwb.add_acquisition(
        ImageSeries(
            name="ImageSeries", data=wrap(rng.integers(0, 255, (57, 40, 30, 3)).astype(np.uint8)), rate=10.0,
            unit="n.a.", format="raw", description="Colours.", device=scope,
        )
    )  # fmt: skip
    analog = TimeSeries(
        name="analog", data=wrap(rng.standard_normal(30_001).astype(np.float32)),
        timestamps=wrap(np.sort(rng.uniform(0, 100, 30_001))), unit="volts", description="Irregular.",
    )  # fmt: skip
    nwb.add_acquisition(analog)
    nwb.add_acquisition(
        TimeSeries(name="same_times", data=wrap(rng.integers(0, 2**31, 30_001)), timestamps=analog, unit="n.a.",
                   description="Linked timestamps.")
    )  # fmt: skip
    nwb.add_acquisition(TimeSeries(name="same_data", data=analog, rate=10.0, unit="volts", description="Linked data."))
    nwb.add_acquisition(
        TimeSeries(name="big_endian", data=wrap(recording(20_000, 3, seed=2).astype(">i2")), rate=100.0, unit="volts",
                   description="From a Mac of old.")
    )  # fmt: skip
    nwb.add_acquisition(
        TimeSeries(name="small", data=wrap(np.arange(10, dtype=np.uint8)), rate=1.0, unit="n.a.", description="Small.")
    )
    for i in range(30):
        nwb.add_trial(start_time=float(i), stop_time=i + 0.5)
    nwb.add_trial_column("side", "Where the cue was.", data=["left", "right"] * 15)
    nwb.add_unit_column("quality", "How good.")
    for i in range(5):
        nwb.add_unit(spike_times=np.sort(rng.uniform(0, 100, 100 * (i + 1))), quality=float(i))
    return nwb


def large_table(rows: int = 20_000) -> NWBFile:
    """A table with a numeric and a ragged column, both larger than what is left to hdmf."""
    from hdmf.common import DynamicTable, VectorData, VectorIndex

    rng = np.random.default_rng(3)
    nwb = new_file()
    flat = VectorData(name="lengths", description="Ragged.", data=rng.standard_normal(2 * rows))
    nwb.add_scratch(
        DynamicTable(
            name="events", description="Many rows.", id=np.arange(rows),
            columns=[
                VectorData(name="value", description="Plain.", data=rng.standard_normal(rows)),
                flat, VectorIndex(name="lengths_index", data=np.arange(2, 2 * rows + 1, 2), target=flat),
            ],
            colnames=["value", "lengths"],
        )
    )  # fmt: skip
    return nwb


def icephys(sweeps: int = 3) -> NWBFile:
    """Sweeps with the tables of intracellular recordings, whose rows hold compound references."""
    nwb = new_file()
    device = nwb.create_device("amplifier", description="An amplifier.")
    electrode = nwb.create_icephys_electrode(name="e0", description="A pipette.", device=device)
    for i in range(sweeps):
        common: dict[str, Any] = {"electrode": electrode, "gain": 1.0, "rate": 20_000.0, "sweep_number": np.uint32(i)}
        nwb.add_intracellular_recording(
            electrode=electrode,
            stimulus=CurrentClampStimulusSeries(name=f"ccs{i}", data=recording(40_000, 1, i)[:, 0], **common),
            response=CurrentClampSeries(name=f"cc{i}", data=recording(40_000, 1, i + 9)[:, 0], **common),
        )
    return nwb


def by_pynwb(nwb: NWBFile, path: Path) -> Path:
    """Write with pynwb alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with NWBHDF5IO(path, "w") as io:
            io.write(nwb)
    return path


def assert_same_content(ours: Path, theirs: Path) -> None:
    """Compare two HDF5 files object by object: the same paths, links, attributes, types, growth and values."""
    with h5py.File(ours) as a, h5py.File(theirs) as b:
        assert _paths(a) == _paths(b)
        for path, kind in _paths(b).items():
            if kind.startswith("link"):
                continue
            _same_attributes(a, b, path)
            if kind == "dataset":
                _same_values(a[path], b[path])


def _paths(group: h5py.Group, place: str = "") -> dict[str, str]:
    out = {}
    for name in sorted(group):
        path = f"{place}/{name}"
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            out[path] = f"link to {link.path}"
        elif isinstance(link, h5py.ExternalLink):
            out[path] = f"link to {link.filename} {link.path}"
        elif isinstance(group[name], h5py.Group):
            out[path] = "group"
            out.update(_paths(group[name], path))
        else:
            out[path] = "dataset"
    return out


def _same_attributes(a: h5py.File, b: h5py.File, path: str) -> None:
    ours, theirs = dict(a[path].attrs), dict(b[path].attrs)
    assert ours.keys() == theirs.keys(), path
    for key, value in theirs.items():
        if key == "object_id":  # each build of an NWBFile draws its own
            continue
        if isinstance(value, h5py.Reference):
            assert a[ours[key]].name == b[value].name, (path, key)
        else:
            np.testing.assert_array_equal(ours[key], value, err_msg=f"{path} {key}")


def _same_values(a: h5py.Dataset, b: h5py.Dataset) -> None:
    assert (a.shape, a.dtype, a.maxshape) == (b.shape, b.dtype, b.maxshape), a.name
    if h5py.check_ref_dtype(b.dtype):
        assert [a.file[r].name for r in a[:]] == [b.file[r].name for r in b[:]], a.name
    elif b.dtype.names:
        for ours, theirs in zip(a[:], b[:], strict=True):
            for x, y in zip(ours, theirs, strict=True):
                assert a.file[x].name == b.file[y].name if isinstance(y, h5py.Reference) else x == y, a.name
    else:
        np.testing.assert_array_equal(a[()], b[()], err_msg=a.name)
