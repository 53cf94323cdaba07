"""Requests and bytes that tuning counts, beside those that readers make of files written in these chunks."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from zarr.storage import DirectoryStore

from dandify.ngff.plan import plan_ome_zarr
from dandify.runs.image_materials import image_material
from dandify.sources.arrays import MemoryArray
from dandify.tuning.candidates import shapes_for
from dandify.tuning.index import files_of
from dandify.tuning.material import Archive, Material
from dandify.tuning.reading import count, patterns_of


class Counting(io.RawIOBase):
    """A file that notes what is read of it."""

    def __init__(self, path: Path) -> None:
        self.file, self.size = path.open("rb"), path.stat().st_size
        self.reads: list[int] = []

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        found = self.file.readinto(buffer)
        self.reads.append(found)
        return int(found)

    def close(self) -> None:
        self.file.close()
        super().close()


def recording(backend: str) -> Material:
    values = np.random.default_rng(3).normal(0, 20, (60_000, 24)).astype("<i2")
    return Material("data", "ElectricalSeries", MemoryArray(values), values.dtype, backend, Path("raw"), 5000.0)


CHUNKS = [(60_000, 1), (500, 24), (700, 8), (100, 2), (5000, 5)]  # 24 to 7200 of them: one level of nodes, two, three


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_hdf5_is_read_in_so_many_requests(chunks: tuple[int, ...], tmp_path: Path) -> None:
    material = recording("hdf5")
    values = material.array[:]
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values, chunks=chunks, compression="gzip", shuffle=True)
        stored = file["data"].id.get_storage_size()
    for pattern in patterns_of(material):
        made = []
        for region in pattern.regions:
            counting = Counting(path)
            with h5py.File(counting, "r") as file:
                data = file["data"]
                _ = data.shape, data[0:0]
                before = len(counting.reads)
                _ = data[region]
                made.append((len(counting.reads) - before, sum(counting.reads[before:])))
        said = count(pattern, material, chunks, stored, 0.0, Archive())
        assert said.requests == pytest.approx(np.mean([n for n, _ in made]), rel=0.02, abs=0.4), pattern.name
        assert said.stored_bytes == pytest.approx(np.mean([n for _, n in made]), rel=0.05), pattern.name


@pytest.mark.parametrize("chunks", CHUNKS[:3], ids=str)
def test_zarr_is_read_in_so_many_requests(chunks: tuple[int, ...], tmp_path: Path) -> None:
    material = recording("zarr")
    made: list[int] = []

    class Noting(DirectoryStore):  # type: ignore[misc]  # zarr has no types
        def __getitem__(self, key: str) -> Any:
            found = super().__getitem__(key)
            made.append(len(found))
            return found

    zarr.save_array(str(tmp_path / "a.zarr"), material.array[:], chunks=chunks)
    for pattern in patterns_of(material):
        data = zarr.open_array(Noting(str(tmp_path / "a.zarr")), mode="r")
        made.clear()
        for region in pattern.regions:
            _ = data[region]
        said = count(pattern, material, chunks, data.nbytes_stored, 0.0, Archive())
        assert said.requests == len(made) / len(pattern.regions)
        assert said.stored_bytes == pytest.approx(sum(made) / len(pattern.regions), rel=0.05)


def test_of_shards_the_index_is_read_too() -> None:
    """As many requests as TensorStore made by HTTP: 16 and 8 indexes, of which it took the chunks two by two; 20; 8."""
    values = np.zeros((64, 512, 512), "<u2")
    image = Material("brain", "Image", MemoryArray(values), values.dtype, "ome-zarr", Path("raw"), None, 2,
                     spacing=(2.0, 1.0, 1.0), shards_of=lambda _: (64, 256, 128))  # fmt: skip
    plane, row, everything = (count(p, image, (16, 128, 128), 1e6, 0.0, Archive()) for p in patterns_of(image))
    # shards of 4 MiB hold 8 chunks of half a MiB: all 4 by depth (128 um), 2 by height, 1 by width
    assert (plane.requests, row.requests, everything.requests) == (16 + 8, 16 + 4, 8)
    assert everything.stored_bytes == 1e6 + 8 * (8 * 16 + 4)
    single = replace(image, shards_of=None)
    assert count(patterns_of(image)[0], single, (16, 128, 128), 1e6, 0.0, Archive()).requests == 16


@pytest.mark.parametrize(
    ("axes", "shape", "dtype"),
    [("tyx", (3000, 200, 300), "<u2"), ("zyx", (200, 2048, 2048), "<u2"), ("tczyx", (40, 2, 6, 128, 128), "u1")],
)
def test_shards_are_those_that_are_written(axes: str, shape: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    """Those of a movie hold many time points, and have a longer index; those of large planes lie side by side."""
    values = np.broadcast_to(np.zeros((), dtype), shape)
    scale = {a: size for a, size in (("z", 2.0), ("y", 1.0), ("x", 1.0)) if a in axes}
    image = image_material("one", MemoryArray(values), axes, scale, tmp_path)
    for chunks in shapes_for(image):
        finest = plan_ome_zarr(values, tmp_path / "a.ome.zarr", axes=axes, scale=scale, chunks=chunks).levels[0]
        assert image.shards_of is not None
        assert image.shards_of(chunks) == finest.shards
        assert files_of(image, chunks) == finest.files


@pytest.mark.parametrize("shape", [(200, 300), (4, 200, 300), (2, 3, 4, 200, 300)], ids=str)
def test_a_frame_is_a_frame(shape: tuple[int, ...]) -> None:
    values = np.zeros(shape, "<u2")
    image = Material("brain", "Image", MemoryArray(values), values.dtype, "ome-zarr", Path("raw"), None, 2)
    frame, row, _ = patterns_of(image)
    sizes = {tuple(s.stop - s.start for s in region) for region in frame.regions}
    assert sizes == {(*(1 for _ in shape[:-2]), 200, 300)}
    assert all(region[-1] == slice(0, 300) for region in row.regions)
    assert row.name == ("one pixel row" if len(shape) == 2 else "one pixel row through all frames")
