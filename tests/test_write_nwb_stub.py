"""A trial conversion crops each series alike, and what is left is valid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from neuroconv.tools.hdmf import SliceableDataChunkIterator
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, validate

from dandify.nwb.defer import stub
from dandify.nwb.write import write_nwb
from dandify.sources import MemoryArray
from dandify.sources.deferred import Deferred
from nwb_cases import everything, icephys, recording

WRAPPERS: list[Callable[[NDArray[Any]], Any]] = [
    lambda values: values,
    lambda values: Deferred(MemoryArray(values)),
    SliceableDataChunkIterator,
    lambda values: H5DataIO(values, compression="gzip", chunks=True),
]


def kept(nwb: NWBFile) -> dict[str, tuple[int, int | None]]:
    return {
        name: (len(s.data), None if s.timestamps is None else len(s.timestamps)) for name, s in nwb.acquisition.items()
    }


@pytest.mark.parametrize("wrap", WRAPPERS, ids=["arrays", "deferred", "iterators", "H5DataIO"])
def test_stub(tmp_path: Path, wrap: Callable[[NDArray[Any]], Any]) -> None:
    nwb = everything(wrap)
    times = np.asarray(everything().acquisition["analog"].timestamps)
    irregular = int(np.sum(times < times[0] + 1))
    stub(nwb)
    assert kept(nwb) == {
        "ElectricalSeries": (30_000, None), "TwoPhotonSeries": (30, None), "ImageSeries": (10, None),
        "analog": (irregular, irregular), "same_times": (irregular, irregular), "same_data": (irregular, None),
        "big_endian": (100, None), "small": (1, None),
    }  # fmt: skip
    assert len(nwb.trials) == 30
    report = write_nwb(nwb, tmp_path / "a.nwb")
    with h5py.File(report.path) as file:
        np.testing.assert_array_equal(file["acquisition/ElectricalSeries/data"], recording()[:30_000])
        assert file["acquisition/same_times"].get("timestamps", getlink=True).path == "/acquisition/analog/timestamps"
    assert validate(path=str(report.path)) == []


def test_stub_shortens_references(tmp_path: Path) -> None:
    nwb = icephys()
    stub(nwb, seconds=0.5)
    report = write_nwb(nwb, tmp_path / "a.nwb")
    with NWBHDF5IO(report.path, "r") as io:
        table = io.read().intracellular_recordings
        assert table["responses"]["response"][0].count == 10_000
        assert table["responses"]["response"][0].data.shape == (10_000,)
