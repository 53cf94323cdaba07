"""Sources that yield more at one go than a step of the pyramid takes: what they yield is read once, and kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.ngff.levels import READ_BYTES, Region5, Shape5
from dandify.store.region import extent

Read = Callable[[Region5], NDArray[Any]]
ReadInto = Callable[[Region5, NDArray[Any]], None]
"""Puts the values of a region into a contiguous array."""


def read_checked(read: Read, region: Region5, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read a region, and refuse what is not as it was declared.

    Raises
    ------
    BadSource
        If the source cannot be read, or yields something else than it declared.
    """
    with reading(region):
        values = np.asarray(read(region))
    if values.size != math.prod(extent(region)) or values.dtype.newbyteorder("=") != dtype:
        raise BadSource(
            f"yields {values.shape} {values.dtype} for a region of {extent(region)} {dtype}", place=_place(region)
        )
    return values


@contextmanager
def reading(region: Region5) -> Iterator[None]:
    """Name the region in the error of a source that cannot be read."""
    try:
        yield
    except (OSError, ValueError, EOFError) as error:
        file = getattr(error, "filename", None)
        raise BadSource(f"cannot be read: {error}", file=file, place=_place(region)) from error


def _place(region: Region5) -> str:
    return "t c z y x " + ", ".join(f"{s.start}:{s.stop}" for s in region)


class Once:
    """Reads each block of a source once, and keeps the time point that it belongs to, in memory or in a file.

    From one thread.

    Parameters
    ----------
    read
        Gives the values of a region (t c z y x), in any byte order.
    shape, block, dtype
        Of the image, of what the source yields at one go, and the native type of the values.
    file
        Where a time point is kept; removed when this is closed. None for memory.
    """

    def __init__(self, read: Read, shape: Shape5, block: Shape5, dtype: np.dtype[Any], file: Path | None) -> None:
        self._read, self._shape, self._block, self._dtype = read, shape, block, dtype
        self._path = file
        self._file = None if file is None else file.open("w+b", buffering=0)
        self._held = np.empty(shape[1:] if file is None else 0, dtype)
        self._time: int | None = None

    def read(self, region: Region5) -> NDArray[Any]:
        """Give the values of a region of one time point and one channel."""
        t, c, z, y, x = region
        if self._time != t.start:
            self._time = None
            for part in self._parts(t.start):
                self._keep(part, read_checked(self._read, part, self._dtype).reshape(extent(part)))
            self._time = t.start
        if self._file is None:
            return self._held[c, z, y, x]
        values = np.empty((1, *extent(region)[1:3], y.stop - y.start, self._shape[4]), self._dtype)
        for plane in range(z.start, z.stop):
            self._file.seek(self._place(c.start, plane, y.start))
            if self._file.readinto(values[0, 0, plane - z.start].data.cast("B")) != values[0, 0, 0].nbytes:
                raise OSError(f"{self._path} has become shorter")
        return values[..., x]

    def read_into(self, region: Region5, out: NDArray[Any]) -> None:
        """Put the values of a region into an array."""
        out.reshape(-1)[...] = read_checked(self.read, region, self._dtype).reshape(-1)

    def close(self) -> None:
        """Let go of what is kept."""
        self._held = np.empty(0, self._dtype)
        if self._file is not None and self._path is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Once:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _parts(self, t: int) -> Iterator[Region5]:
        """Regions of a time point in whole blocks, several small ones at one go."""
        _, nc, nz, ny, nx = self._shape
        channels = nc if self._block[1] > 1 else 1
        row = channels * nx * self._dtype.itemsize
        rows = min(ny, max(1, READ_BYTES // (row * self._block[3])) * self._block[3])
        depth = max(1, READ_BYTES // (row * rows * self._block[2])) * self._block[2] if rows == ny else self._block[2]
        for c in range(0, nc, channels):
            for z in range(0, nz, depth):
                for y in range(0, ny, rows):
                    yield (slice(t, t + 1), slice(c, c + channels), slice(z, min(z + depth, nz)),
                           slice(y, min(y + rows, ny)), slice(0, nx))  # fmt: skip

    def _keep(self, region: Region5, values: NDArray[Any]) -> None:
        _, c, z, y, x = region
        if self._file is None:
            self._held[c, z, y, x] = values[0]
            return
        for channel, volume in enumerate(values[0], c.start):
            for plane, rows in enumerate(volume, z.start):
                self._file.seek(self._place(channel, plane, y.start))
                _write_all(self._file, np.ascontiguousarray(rows, self._dtype).data.cast("B"))

    def _place(self, channel: int, plane: int, row: int) -> int:
        _, _, nz, ny, nx = self._shape
        return ((channel * nz + plane) * ny + row) * nx * self._dtype.itemsize


def _write_all(file: Any, data: memoryview) -> None:
    """Write to an unbuffered file, which may take a part at a time."""
    while data:
        data = data[file.write(data) :]
