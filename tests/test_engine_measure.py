"""Chunk shapes: within their limits for any dataset, the smallest of what is read fast enough, the same each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pynwb import H5DataIO, NWBFile, TimeSeries

from dandify.nwb.write import write_nwb
from dandify.sources import MemoryArray
from dandify.store.compression import measuring_encoder
from dandify.store.encode import Bytes, Encoder
from dandify.store.manifest import read_manifest
from dandify.store.measure import READ_BYTES, Measured, measure_chunks
from dandify.store.plan import needed_bytes, row_of
from dandify.store.readcost import read_costs, usual_chunks
from dandify.store.region import Region, extent
from dandify.store.shapes import HDF5_LIMITS, count_of, quick, shapes_of
from nwb_cases import new_file


def gzip(pieces: Sequence[Bytes]) -> Encoder:
    return measuring_encoder("hdf5", "gzip", 2, pieces)


def measured(values: NDArray[Any], **options: Any) -> Measured | None:
    return measure_chunks(
        MemoryArray(values), values.dtype, gzip, **{"memory_bytes": 10**9, "workers": 2, "rate_hz": 30_000.0, **options}
    )


def levels(samples: int, channels: int, spread: float) -> NDArray[np.int16]:
    """Noise of 3 steps, every channel at a level of its own."""
    rng = np.random.default_rng(5)
    return np.rint(rng.normal(0, 3, (samples, channels)) + rng.normal(0, spread, channels)).astype("<i2")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=3), st.integers(1, 10**9), st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([None, 30.0, 30_000.0, 1e6]),
)  # fmt: skip
def test_limits_hold(rest: list[int], samples: int, itemsize: int, rate_hz: float | None) -> None:
    shape = (samples, *rest)
    found = shapes_of(shape, itemsize, rate_hz=rate_hz)
    assert found
    for each in found:
        assert all(1 <= c <= n for c, n in zip(each.chunks, shape, strict=True))
        assert prod(each.chunks) * itemsize <= HDF5_LIMITS.most_bytes
    if len(shape) == 2 and prod(shape) * itemsize < HDF5_LIMITS.most_bytes * HDF5_LIMITS.most_chunks // 10:
        least = min(prod(shape) * itemsize, HDF5_LIMITS.least_bytes)
        assert all(prod(s.chunks) * itemsize >= least * 0.9 for s in found)  # even parts of an axis
        assert all(count_of(shape, s.chunks) <= HDF5_LIMITS.most_chunks for s in found)


def test_read_costs_are_relative_to_neuroconvs_chunks() -> None:
    shape = (10_000_000, 384)
    assert usual_chunks(shape, 2) == (78_125, 64)
    assert read_costs(shape, 2, (78_125, 64), 30_000.0).ratios == pytest.approx((1, 1, 1))
    assert read_costs(shape, 2, (78_125, 1), 30_000.0).ratios[1] < 0.1  # one channel, of chunks that hold one
    assert read_costs(shape, 2, (5_000, 384), 30_000.0).ratios[1] > 4  # one channel, of chunks that hold all
    assert all(s.costs.worst <= 1 for s in quick(shapes_of(shape, 2, rate_hz=30_000.0), HDF5_LIMITS))


def test_levels_of_channels_ask_for_narrow_chunks() -> None:
    values = levels(90_000, 128, 60)
    found = measured(values)
    assert found is not None
    assert found.chunks[1] <= 4
    assert found.reason.startswith(f"smallest of samples: {found.chunks[0]}x{found.chunks[1]} ")
    assert "at most 200,000 chunks" in found.reason
    assert str(measured(values)) == str(found)


def test_where_the_shape_does_not_matter_it_is_wide() -> None:
    found = measured(levels(90_000, 128, 0))
    assert found is not None
    assert found.chunks[1] >= 16


@dataclass(frozen=True, eq=False)
class Counted(MemoryArray):
    """Counts what is read of it."""

    reads: list[int] = field(default_factory=list)

    def read(self, region: Region) -> NDArray[Any]:
        self.reads.append(prod(extent(region)) * self.dtype.itemsize)
        return super().read(region)


def test_it_reads_little() -> None:
    source = Counted(levels(300_000, 64, 60))
    assert measure_chunks(source, source.dtype, gzip, memory_bytes=10**9, workers=2, rate_hz=30_000.0)
    assert len(source.reads) == 3
    assert max(source.reads) <= READ_BYTES
    assert sum(source.reads) < source.nbytes / 5


@pytest.mark.parametrize("memory_bytes", [20_000_000, 60_000_000, 200_000_000, 10**9])
def test_it_fits_into_the_memory(memory_bytes: int) -> None:
    values = levels(60_000, 128, 60)
    found = measured(values, memory_bytes=memory_bytes)
    if found is not None:
        assert needed_bytes(row_of(values.shape, found.chunks), found.chunks, 2, 2) <= memory_bytes
    assert measured(values, memory_bytes=8_100_000) is None  # nothing fits: the plan says what would


@pytest.mark.parametrize("shape", [(4_000_000,), (50, 256, 256)], ids=str)
def test_what_is_no_signal_is_left_to_the_plan(shape: tuple[int, ...]) -> None:
    assert measured(np.zeros(shape, "<i2")) is None


def session(data: Any) -> NWBFile:
    nwb = new_file()
    nwb.add_acquisition(TimeSeries(name="x", data=data, rate=30_000.0, unit="V", description="D."))
    return nwb


@pytest.mark.parametrize(("backend", "suffix"), [("hdf5", ".nwb"), ("zarr", ".nwb.zarr")])
def test_a_file_is_smaller_for_it(tmp_path: Path, backend: str, suffix: str) -> None:
    values = levels(120_000, 96, 60)
    ours = write_nwb(session(values), tmp_path / f"a{suffix}", backend=backend)
    theirs = write_nwb(session(H5DataIO(values, chunks=(78_125, 64))), tmp_path / f"b{suffix}", backend=backend)
    assert ours.stored_bytes < 0.85 * theirs.stored_bytes
    (dataset,) = read_manifest(ours.manifest).datasets
    assert dataset.details["chunk_shape_reason"].startswith("smallest of samples: ")
    (asked,) = read_manifest(theirs.manifest).datasets
    assert asked.chunks == (78_125, 64)
    if backend == "hdf5":
        with h5py.File(ours.path) as file:
            assert np.array_equal(file["acquisition/x/data"][()], values)
