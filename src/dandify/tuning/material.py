"""What is to be tuned: the values of one stream as an output would hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.arrays import MemoryArray, NpyArray, RawArray, RecordArray, flat_block
from dandify.sources.contract import Array

BACKENDS = ("hdf5", "zarr", "ome-zarr")
LEAST_BYTES = 64 * 1024  # below, hdmf writes a dataset itself, and no chunk shape or codec is chosen for it
WriteImage = Callable[[NDArray[Any], tuple[int, ...], str, Path, int], tuple[int, int]]
"""Writes values as an image with all its resolutions: in chunks, compressed as named, to a path, with workers. Gives
raw and stored bytes of the smaller resolutions."""
ShardsOf = Callable[[tuple[int, ...]], tuple[int, ...]]
_ROWS = 4096  # at least, of a window of signals that is measured in part
_FLAT = (RawArray, RecordArray, NpyArray, MemoryArray)


@dataclass(frozen=True, eq=False)
class Material:
    """The values of one stream, and what an output may do with them.

    Attributes
    ----------
    name
        By which ``dandify.yaml`` and `dandify.write_nwb` know it: ``ElectricalSeriesAP``, or the name of an image.
    kind
        What it becomes.
    array
        The values.
    dtype
        As stored.
    backend
        One of `BACKENDS`.
    path
        The file or folder that it is read from.
    rate_hz
        Samples or frames a second, where known.
    inner
        Number of last axes that make one sample or frame: 0 or 1 for signals, 2 or 3 for frames.
    transforms
        Names of exact transforms that the output could hold.
    spacing
        Of an image: distance of neighbouring pixels on each axis, and 0 for axes of time and channels.
    shards_of
        Gives the shape of the shards of an image in which chunks of a shape share a file; None where each chunk is one.
    smaller_bytes
        Raw size of an image's smaller resolutions, which are written beside it.
    write_image
        Writes a part of it as `convert` would; None where that is not known.
    """

    name: str
    kind: str
    array: Array
    dtype: np.dtype[Any]
    backend: str
    path: Path
    rate_hz: float | None = None
    inner: int = 1
    transforms: tuple[str, ...] = ()
    spacing: tuple[float, ...] = ()
    shards_of: ShardsOf | None = None
    smaller_bytes: int = 0
    write_image: WriteImage | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.array.shape

    @property
    def raw_bytes(self) -> int:
        """Size of the values."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def leading(self) -> int:
        """Number of axes over which samples are spread; the last of these is the one along which they are long."""
        return max(1, len(self.shape) - self.inner)

    @property
    def grain(self) -> tuple[int, ...] | None:
        """What must be read as a whole, such as a page or a compressed chunk; None for flat files."""
        flat = type(self.array) in _FLAT or self.array.block == flat_block(self.shape, self.array.dtype)
        return None if flat else tuple(max(1, min(b, n)) for b, n in zip(self.array.block, self.shape, strict=True))


@dataclass(frozen=True)
class Archive:
    """What reading from an archive is reckoned with.

    Attributes
    ----------
    latency_s
        Of one request.
    bytes_per_s
        Of the line; uploads are reckoned with it, too.
    """

    latency_s: float = 0.05
    bytes_per_s: float = 30e6

    def seconds(self, requests: float, size: float) -> float:
        """Time for requests one after another."""
        return requests * self.latency_s + size / self.bytes_per_s

    def __str__(self) -> str:
        return f"{self.latency_s * 1e3:g} ms a request and {self.bytes_per_s / 1e6:g} MB/s"


def fewer_rows(values: NDArray[Any], material: Material, megabytes: float) -> NDArray[Any]:
    """Give as many of the first samples or frames of a window as are wanted, and no fewer samples than `_ROWS`."""
    axis = material.leading - 1
    share = megabytes * 1e6 / max(1, values.nbytes)
    if share >= 1:
        return values
    least = min(values.shape[axis], _ROWS if values.ndim <= axis + 2 else 1)
    kept = max(least, ceil(values.shape[axis] * share))
    return values[(*(slice(None) for _ in range(axis)), slice(0, kept))]


def side_by_side(parts: Sequence[NDArray[Any]], shape: tuple[int, ...], axis: int) -> list[NDArray[Any]]:
    """Lay parts of frames beside one another, as many as the frames of a stream have room for.

    Chunks as wide as a frame are then about as large as those of the file: of smaller ones, a megabyte takes longer.

    Parameters
    ----------
    parts
        Alike but for their length.
    shape
        Of the stream.
    axis
        Along which parts are long.
    """
    rows = min(part.shape[axis] for part in parts)
    found = [part[(*(slice(None) for _ in range(axis)), slice(0, rows))] for part in parts]
    for k in range(len(shape) - 1, axis, -1):
        room = min(len(found), shape[k] // found[0].shape[k])
        if room > 1:
            found = [np.concatenate(found[n : n + room], k) for n in range(0, len(found) // room * room, room)]
    return found
