"""Where encoded chunks go and come back from: an HDF5 dataset, or the chunk files of a Zarr v2 array."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import mul
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from dandify.errors import DandifyError
from dandify.store.encode import CodecDecoder, Decoder, PlainGunzip
from dandify.store.flush import Flusher
from dandify.store.frames import BLOSC_FILTER, ZSTD_FILTER, PluginDecoder

PAGE_BYTES = 4096
"""Pages of a paged HDF5 file, in which its tables lie together.

A reader with a page buffer (h5py: ``page_buf_size=8_000_000``) opens such a file with a seventh to a ninth of the
requests. Measured with pynwb, all objects built, on 160 MB of 384 channels in chunks of 35 KB, and on a file of many
small objects: not paged, 189 and 320 requests; pages of 4 KiB 28 and 35, 5 % and 1 % larger; of 16 KiB 12 and 15, 24 %
and 4 % larger; of 64 KiB 7 and 8, 65 % and 11 % larger; of 1 MiB 5 and 5, 8 % and 89 % larger, and 2 MB are read in
place of 0.1. A chunk begins at a page, hence the smallest pages. Without a page buffer, as many requests are made as
for any file.
"""

Index = tuple[int, ...]
Place = tuple[int, ...] | None
"""Bytes of the output at which a payload may begin; None where its index says where it is."""


class Target(Protocol):
    """An empty chunked array in an output, as its own metadata describe it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    decoder: Decoder
    concurrent: bool
    """Chunks may be written from several threads at one time; they may always be read so."""

    def write(self, index: Index, payload: bytes) -> Place:
        """Store an encoded chunk at its place in the grid, and say where it may be found."""

    def read(self, index: Index) -> bytes:
        """Return an encoded chunk as stored."""

    def stored(self) -> tuple[int, int]:
        """Return the number of chunks stored, and their bytes."""


class HDF5Target:
    """A dataset of an open HDF5 file; one thread may write at one time. Several may read: h5py lets one at a time."""

    concurrent = False

    def __init__(self, dataset: h5py.Dataset) -> None:
        if dataset.chunks is None:
            raise DandifyError("the dataset is not chunked", file=dataset.file.filename, place=dataset.name)
        filters = hdf5_filters(dataset)
        known: dict[tuple[int, ...], Decoder] = {
            (): PlainGunzip(shuffled=False, deflated=False),
            (h5py.h5z.FILTER_DEFLATE,): PlainGunzip(shuffled=False),
            (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE): PlainGunzip(shuffled=True),
            (ZSTD_FILTER,): PluginDecoder(ZSTD_FILTER, shuffled=False),
            (h5py.h5z.FILTER_SHUFFLE, ZSTD_FILTER): PluginDecoder(ZSTD_FILTER, shuffled=True),
            (BLOSC_FILTER,): PluginDecoder(BLOSC_FILTER, shuffled=False),
        }
        if filters not in known:
            raise DandifyError(f"filters {filters} are not ours", file=dataset.file.filename, place=dataset.name)
        self._id, self._file = dataset.id, dataset.file.id
        created = self._file.get_create_plist()
        paged = created.get_file_space_strategy()[0] == h5py.h5f.FSPACE_STRATEGY_PAGE
        self._page_bytes: int = created.get_file_space_page_size() if paged else 1
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype
        self.chunks: tuple[int, ...] = dataset.chunks
        self.decoder = known[filters]

    def write(self, index: Index, payload: bytes) -> Place:
        """Store a chunk past HDF5's own filters.

        HDF5 does not say where it puts a chunk; to ask for it takes longer the more chunks there are. But it puts it at
        the end of the file, before or behind what it needs for its own tables; either is noted.
        """
        before = self._file.get_filesize()
        self._id.write_direct_chunk(self._offset(index), payload)
        after = self._file.get_filesize() - -(-len(payload) // self._page_bytes) * self._page_bytes
        return (before,) if after == before else (before, after)

    def read(self, index: Index) -> bytes:
        """Read a chunk past HDF5's own filters."""
        mask, payload = self._id.read_direct_chunk(self._offset(index))
        if mask:
            raise ValueError(f"filters {mask:b} were left out")
        return bytes(payload)

    def stored(self) -> tuple[int, int]:
        """Count what HDF5 has allocated."""
        return int(self._id.get_num_chunks()), int(self._id.get_storage_size())

    def _offset(self, index: Index) -> Index:
        return tuple(map(mul, index, self.chunks))


class ZarrTarget:
    """The chunk files of a Zarr v2 array; each is written under another name and renamed."""

    concurrent = True

    def __init__(self, folder: Path, flusher: Flusher | None = None) -> None:
        import zarr

        array = zarr.open_array(str(folder), mode="r")
        if array.order != "C" or array.filters:
            raise DandifyError(f"order {array.order}, filters {array.filters} are not ours", file=folder)
        self.folder = folder
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.chunks: tuple[int, ...] = array.chunks
        self.decoder: Decoder = CodecDecoder(array.compressor)
        self._flusher = flusher
        self._separator: str = array._dimension_separator  # zarr 2 keeps it private, and only the path needs it

    def write(self, index: Index, payload: bytes) -> Place:
        """Write a chunk file whole or not at all."""
        final = self._path(index)
        temporary = final.with_name(final.name + ".partial")
        with temporary.open("wb") as file:
            file.write(payload)
        temporary.replace(final)
        if self._flusher is not None:
            self._flusher.grown(final, len(payload))
        return None

    def read(self, index: Index) -> bytes:
        """Read a chunk file."""
        return self._path(index).read_bytes()

    def stored(self) -> tuple[int, int]:
        """Count the chunk files."""
        sizes = [e.stat().st_size for e in os.scandir(self.folder) if not e.name.startswith(".")]
        return len(sizes), sum(sizes)

    def _path(self, index: Index) -> Path:
        return self.folder / self._separator.join(map(str, index))


class StoredChunks:
    """Encoded chunks in what a stopped run wrote, found without the tables of the file, which may be torn.

    Parameters
    ----------
    data
        The HDF5 file or Zarr folder.
    place
        Of the array in it.
    """

    def __init__(self, data: Path, place: str) -> None:
        self._data, self._place = data, place
        self._array: ZarrTarget | None = None

    def candidates(self, index: Index, where: Place, size: int) -> Iterator[bytes]:
        """Give what may be a chunk; nothing where it cannot be read."""
        with suppress(OSError):
            if where is None:
                if self._array is None:
                    self._array = ZarrTarget(self._data / self._place.lstrip("/"))
                yield self._array.read(index)
                return
            with self._data.open("rb") as file:
                for start in where:
                    file.seek(start)
                    yield file.read(size)


class Container(Protocol):
    """An output opened to fill or to check its arrays."""

    def target(self, place: str) -> Target:
        """Give the array at a path within the output."""


class HDF5Container:
    """An HDF5 file, see `open_container`."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def target(self, place: str) -> Target:
        """Give a dataset."""
        return HDF5Target(self._file[place])


class ZarrContainer:
    """A Zarr v2 folder."""

    def __init__(self, root: Path, flusher: Flusher | None) -> None:
        self._root, self._flusher = root, flusher

    def target(self, place: str) -> Target:
        """Give an array."""
        return ZarrTarget(self._root / place.lstrip("/"), self._flusher)


@contextmanager
def open_container(path: Path, *, write: bool, flusher: Flusher | None = None) -> Iterator[Container]:
    """Open an HDF5 file or a Zarr v2 folder; who flushes chunk files is told of them."""
    if path.is_dir():
        yield ZarrContainer(path, flusher)
        return
    with hdf5_file(path, "r+" if write else "r") as file:
        yield HDF5Container(file)


@contextmanager
def hdf5_file(path: Path, mode: str, *, paged: bool = False) -> Iterator[h5py.File]:
    """Open an HDF5 file; when something fails, that error is raised, and not what HDF5 says while it closes.

    A new file may be ``paged``, see `PAGE_BYTES`; it stays so when it is opened again.
    """
    pages: dict[str, Any] = {"fs_strategy": "page", "fs_page_size": PAGE_BYTES} if paged else {}
    # No chunk cache: chunks never pass through it. Never libver="latest": HDF5 1.10 could not open the file.
    file = h5py.File(path, mode, rdcc_nbytes=0, **pages)
    try:
        yield file
    except BaseException:
        with suppress(OSError, RuntimeError):  # a full disk makes closing fail, too
            file.close()
        raise
    file.close()


def hdf5_filters(dataset: h5py.Dataset) -> tuple[int, ...]:
    """Numbers of a dataset's filters, in the order of writing."""
    created = dataset.id.get_create_plist()
    return tuple(created.get_filter(i)[0] for i in range(created.get_nfilters()))
