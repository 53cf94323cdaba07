"""Paged HDF5: the same content, fewer requests for a reader with a page buffer, and resumed like any other."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile, validate

from dandify.errors import BadRequest
from dandify.nwb.repack import repack
from dandify.nwb.write import write_nwb
from dandify.store.manifest import read_manifest
from dandify.store.progress import Progress
from dandify.store.shapes import count_of
from dandify.store.target import PAGE_BYTES, HDF5Target, hdf5_file
from nwb_cases import assert_same_content, ephys, everything, recording

PAGE_BUFFER_BYTES = 8_000_000
VALUES = recording(150_000, 40)


class Counting(io.FileIO):
    """A file that counts the requests made of it, as one in the cloud would have to answer them."""

    requests = 0
    count = 0

    def readinto(self, buffer: Any, /) -> int:
        found = super().readinto(buffer) or 0
        self.requests += 1
        self.count += found
        return found


def opened(path: Path, **options: int) -> tuple[int, int]:
    """Requests and bytes for opening a file with pynwb, all its objects built."""
    with Counting(path, "rb") as raw, h5py.File(raw, "r", **options) as file:
        with NWBHDF5IO(file=file, mode="r", load_namespaces=True) as reader:
            reader.read()
        return raw.requests, raw.count


@pytest.mark.parametrize("make", [everything, lambda: ephys(VALUES, 40)], ids=["objects", "recording"])
def test_fewer_requests_and_the_same_content(tmp_path: Path, make: Callable[[], NWBFile]) -> None:
    plain = write_nwb(make(), tmp_path / "plain.nwb")
    paged = write_nwb(make(), tmp_path / "paged.nwb", paged=True)
    assert_same_content(paged.path, plain.path)
    requests, count = opened(plain.path)
    fewer, as_many_bytes = opened(paged.path, page_buf_size=PAGE_BUFFER_BYTES)
    assert fewer < requests / 5
    assert as_many_bytes < 1.5 * count
    repacked = repack(plain.path, tmp_path / "repacked.nwb", paged=True).written
    assert opened(repacked.path, page_buf_size=PAGE_BUFFER_BYTES)[0] < requests / 5
    chunks = sum(count_of(d.shape, d.chunks or d.shape) for d in read_manifest(paged.manifest).datasets)
    assert paged.output_bytes - plain.output_bytes < (chunks + 40) * PAGE_BYTES
    assert [d.xxh128 for d in paged.datasets] == [d.xxh128 for d in plain.datasets]
    assert read_manifest(paged.manifest).details["paged"] is True


def test_it_is_paged_and_not_of_the_latest_format(tmp_path: Path) -> None:
    path = write_nwb(ephys(VALUES, 40), tmp_path / "a.nwb", paged=True).path
    assert path.read_bytes()[8] == 2  # superblock of HDF5 1.8 on; 3 is that of "latest"
    with h5py.File(path) as file:
        created = file.id.get_create_plist()
        assert created.get_file_space_strategy()[0] == h5py.h5f.FSPACE_STRATEGY_PAGE
        assert created.get_file_space_page_size() == PAGE_BYTES
        assert file.libver[0] == "earliest"
    assert validate(path=str(path)) == []


@pytest.mark.skipif(not shutil.which("h5dump"), reason="HDF5's own tools are not installed")
def test_the_tools_of_hdf5_read_it(tmp_path: Path) -> None:
    path = write_nwb(ephys(VALUES, 40), tmp_path / "a.nwb", paged=True).path
    done = subprocess.run(
        ["h5dump", "-d", "/acquisition/ElectricalSeries/data", "-s", "149999,39", "-c", "1,1", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f": {VALUES[-1, -1]}" in done.stdout


def test_values_pass_through_a_page_buffer(tmp_path: Path) -> None:
    path = write_nwb(ephys(VALUES, 40), tmp_path / "a.nwb", paged=True).path
    with Counting(path, "rb") as raw, h5py.File(raw, "r", page_buf_size=PAGE_BUFFER_BYTES) as file:
        np.testing.assert_array_equal(file["acquisition/ElectricalSeries/data"], VALUES)


def test_where_a_chunk_lies_is_known(tmp_path: Path) -> None:
    """A stopped run is gone on with by these places; tables may come before a chunk or behind it."""
    rng, found = np.random.default_rng(0), 0
    with hdf5_file(tmp_path / "a.h5", "w", paged=True) as file:
        dataset = file.create_dataset("x", (500_000,), "u1", chunks=(1000,), compression="gzip")
        target = HDF5Target(dataset)
        for number in range(500):
            payload = rng.bytes(int(rng.integers(PAGE_BYTES, 60_000)))
            where = target.write((number,), payload)
            found += dataset.id.get_chunk_info_by_coord((number * 1000,)).byte_offset in (where or ())
    assert found == 500


def test_a_stopped_run_is_gone_on_with(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.done_bytes > progress.total_bytes / 2:
            raise Stopped

    with pytest.raises(Stopped):
        write_nwb(ephys(VALUES, 40), tmp_path / "a.nwb", paged=True, memory="12MB", progress=stop)
    report = write_nwb(ephys(VALUES, 40), tmp_path / "a.nwb", paged=True, memory="12MB")
    assert any("went on" in note for note in report.notes)
    with h5py.File(report.path) as file:
        np.testing.assert_array_equal(file["acquisition/ElectricalSeries/data"], VALUES)


def test_zarr_has_no_pages(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="zarr has no pages"):
        write_nwb(ephys(VALUES, 40), tmp_path / "a.nwb.zarr", backend="zarr", paged=True)
    assert list(tmp_path.iterdir()) == []
