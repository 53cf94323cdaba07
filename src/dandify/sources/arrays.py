"""Stock arrays: raw binary, record-blocked binary, columns of text tables, HDF5 datasets, joined and cropped arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.contract import Array
from dandify.store.region import Region, extent

BLOCK_BYTES = 4 * 2**20  # one read of a flat file: large enough for a disk, small enough for a cache

WORD_BYTES = 8  # what kernels move at one go


def flat_block(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Block of a C-ordered file: whole rows, about `BLOCK_BYTES`."""
    row = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
    return (max(1, min(shape[0], BLOCK_BYTES // max(1, row))), *shape[1:])


def in_place(values: NDArray[Any]) -> NDArray[Any]:
    """Give a view that cannot be written to, of values that kernels can take as they lie there; else a copy.

    A memory map is read while it is encoded then, and costs neither the time of a copy nor its memory.
    """
    if not values.flags.c_contiguous or values.ctypes.data % WORD_BYTES:
        return np.array(values)
    view = values.view(np.ndarray)
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class RawArray(Array):
    """Interleaved binary: (samples, channels) in C order, optionally some of its columns.

    Parameters
    ----------
    path
        The file.
    dtype
        Type with byte order.
    samples, channels
        Shape of what is in the file.
    header_bytes
        Bytes before the first sample.
    columns
        Columns that this array is of, as (start, stop); None for all.
    """

    path: Path
    dtype: np.dtype[Any]
    samples: int
    channels: int
    header_bytes: int = 0
    columns: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples, channels)."""
        start, stop = self.columns or (0, self.channels)
        return (self.samples, stop - start)

    @property
    def block(self) -> tuple[int, ...]:
        """Whole samples."""
        return flat_block(self.shape, self.dtype)

    def read(self, region: Region) -> NDArray[Any]:
        """Region of the file's memory map, or a copy of some of its columns."""
        time, column = region
        first = self.columns[0] if self.columns else 0
        raw = np.memmap(
            self.path, self.dtype, "r", self.header_bytes + time.start * self.channels * self.dtype.itemsize,
            (time.stop - time.start, self.channels),
        )  # fmt: skip
        return in_place(raw[:, first + column.start : first + column.stop])


@dataclass(frozen=True, eq=False)
class RecordArray(Array):
    """A field of record-blocked binary: every record holds some samples of every channel.

    Parameters
    ----------
    path
        The file.
    record
        Structured dtype of one record.
    records
        Number of records.
    name
        The field; its sub-shape is (channels, samples) or (samples,).
    header_bytes
        Bytes before the first record.
    """

    path: Path
    record: np.dtype[Any]
    records: int
    name: str
    header_bytes: int = 0

    @property
    def _field(self) -> np.dtype[Any]:
        assert self.record.fields is not None
        return self.record.fields[self.name][0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples."""
        return self._field.base

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples, channels), or (samples,) for a field without channels."""
        *channels, samples = self._field.shape or (1,)
        return (self.records * samples, *channels)

    @property
    def block(self) -> tuple[int, ...]:
        """Whole records."""
        samples = (self._field.shape or (1,))[-1]
        count = max(1, BLOCK_BYTES // self.record.itemsize)
        return (max(1, min(count * samples, self.shape[0])), *self.shape[1:])

    def read(self, region: Region) -> NDArray[Any]:
        """Gather a region out of the records that hold it."""
        samples = (self._field.shape or (1,))[-1]
        time = region[0]
        first, last = time.start // samples, -(-time.stop // samples)
        raw = np.memmap(self.path, self.record, "r", self.header_bytes + first * self.record.itemsize, (last - first,))[
            self.name
        ].reshape(last - first, *self.shape[1:], samples)
        rows = np.moveaxis(raw, -1, 1)[(slice(None), slice(None), *region[1:])]
        flat = rows.reshape(-1, *extent(region)[1:])
        return np.array(flat[time.start - first * samples : time.stop - first * samples])


@dataclass(frozen=True, eq=False)
class NpyArray(Array):
    """A ``.npy`` file."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> NpyArray:
        """Read the header."""
        head = np.load(path, mmap_mode="r", allow_pickle=False)
        return cls(path, head.dtype, head.shape)

    @property
    def block(self) -> tuple[int, ...]:
        """Whole rows."""
        return flat_block(self.shape, self.dtype)

    def read(self, region: Region) -> NDArray[Any]:
        """Region of the memory map, or a copy of it."""
        return in_place(np.load(self.path, mmap_mode="r", allow_pickle=False)[region])


@dataclass(frozen=True, eq=False)
class HDF5Array(Array):
    """A dataset of an HDF5 file."""

    path: Path
    dataset: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    block: tuple[int, ...]

    @classmethod
    def open(cls, path: Path, dataset: str) -> HDF5Array:
        """Read shape, type and chunks of a dataset."""
        import h5py

        with h5py.File(path, "r") as file:
            found = file[dataset]
            return cls(path, dataset, found.dtype, found.shape, found.chunks or flat_block(found.shape, found.dtype))

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region through HDF5."""
        import h5py

        with h5py.File(self.path, "r") as file:
            return np.asarray(file[self.dataset][region])


@dataclass(frozen=True, eq=False)
class MemoryArray(Array):
    """Values in memory: short tables, timestamps that a header implies."""

    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """All of it."""
        return self.values.shape

    def read(self, region: Region) -> NDArray[Any]:
        """View of a region, or a copy of it."""
        return in_place(self.values[region])


@dataclass(frozen=True, eq=False)
class Concatenated(Array):
    """Arrays of one dtype joined along the first axis: the segments of a split recording."""

    parts: tuple[Array, ...]

    def __post_init__(self) -> None:
        if len({(p.dtype, p.shape[1:]) for p in self.parts}) != 1:
            raise ValueError("parts differ in dtype or in the shape behind the first axis")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the parts."""
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along the first axis added up."""
        return (sum(p.shape[0] for p in self.parts), *self.parts[0].shape[1:])

    @property
    def block(self) -> tuple[int, ...]:
        """That of the first part."""
        return self.parts[0].block

    def read(self, region: Region) -> NDArray[Any]:
        """Read from each part that the region touches."""
        out = np.empty(extent(region), self.dtype)
        begin, first = 0, region[0]
        for part in self.parts:
            end = begin + part.shape[0]
            low, high = max(first.start, begin), min(first.stop, end)
            if low < high:
                out[low - first.start : high - first.start] = part[(slice(low - begin, high - begin), *region[1:])]
            begin = end
        return out


@dataclass(frozen=True, eq=False)
class Cropped(Array):
    """The first part of an array along some axes: what ``--stub`` converts.

    Parameters
    ----------
    whole
        The array.
    shape
        Lengths kept, each at most that of the whole.
    """

    whole: Array
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the whole."""
        return self.whole.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """That of the whole, clipped."""
        return tuple(min(b, n) for b, n in zip(self.whole.block, self.shape, strict=True))

    def read(self, region: Region) -> NDArray[Any]:
        """Read from the whole."""
        return self.whole[region]
