"""Images that lie in a file as they would in memory: values at fixed distances along each axis, not compressed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources.contract import Array
from dandify.store.region import Region, extent

_BLOCK_BYTES: Final = 64 * 2**20  # larger planes are read in parts
_GAP: Final = 2  # rows that lie further apart than so many times their length are read one by one
_AGAIN: Final = "copy the file again from the microscope's computer"


@dataclass(frozen=True, eq=False)
class StridedFile(Array):
    """A part of a file as an array: leading axes out of t c z, then y and x.

    Parameters
    ----------
    path
        The file.
    label
        Name of the image, for errors.
    stored
        Type of the values with their byte order.
    axes, shape
        Names and lengths of all axes.
    places
        For each axis, the bytes from the first value to every other along it: ``range(0, 4096, 64)``. All but those of
        c are regular and grow.
    start
        Byte of the first value.
    """

    path: Path
    label: str
    stored: np.dtype[Any]
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    places: tuple[Sequence[int], ...]
    start: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Native type of the values."""
        return self.stored.newbyteorder("=")

    @property
    def end(self) -> int:
        """Byte behind the last value."""
        last = sum(max(p) if a == "c" else p[-1] for a, p in zip(self.axes, self.places, strict=True))
        return self.start + last + self.stored.itemsize

    @property
    def block(self) -> tuple[int, ...]:
        """One plane, with all channels if the pixels hold them; or the rows of it that are read at one go."""
        lead = [1] * (self.ndim - 2)
        if "c" in self.axes and len(groups := list(self._groups(self._whole()))) < self.shape[self.axes.index("c")]:
            lead[self.axes.index("c")] = max(len(g) for g in groups)
        rows = max(1, min(self.shape[-2], _BLOCK_BYTES // max(1, self._step(-2))))
        return (*lead, rows, self.shape[-1])

    def read(self, region: Region) -> NDArray[Any]:
        """Read the rows that a region touches.

        Raises
        ------
        dandify.errors.BadSource
            If the file ends before them.
        """
        out = np.empty(extent(region), self.dtype)
        inner, rows, columns = region[:-2], region[-2], region[-1]
        others = [range(s.start, s.stop) for s, a in zip(inner, self.axes, strict=False) if a != "c"]
        channel = self.axes.index("c") if "c" in self.axes else None
        try:
            with self.path.open("rb", buffering=0) as file:
                for at, group in product(product(*others), self._groups(region)):
                    place = list(at)
                    if channel is not None:
                        place.insert(channel, min(group, key=self.places[channel].__getitem__))
                    planes = self._planes(file, place, group, rows, columns)
                    for number, plane in zip(group, planes, strict=True):
                        if channel is not None:
                            place[channel] = number
                        target = tuple(i - s.start for i, s in zip(place, inner, strict=True))
                        out[target] = plane
        except OSError as error:
            raise BadSource(f"cannot be read: {error.strerror}", file=self.path, place=self.label) from None
        return out

    def place(self, index: Sequence[int]) -> str:
        """Name of a plane, for errors."""
        named = " ".join(f"{a}={i}" for a, i in zip(self.axes, index, strict=False))
        return f"{self.label}, plane {named or 1}"

    def _whole(self) -> Region:
        return tuple(slice(0, n) for n in self.shape)

    def _step(self, axis: int) -> int:
        return self.places[axis][1] - self.places[axis][0] if self.shape[axis] > 1 else self.stored.itemsize

    def _groups(self, region: Region) -> Iterator[list[int]]:
        """Channels of a region, those together that lie within one pixel."""
        if "c" not in self.axes:
            yield [0]
            return
        axis = self.axes.index("c")
        group: list[int] = []
        for number in range(region[axis].start, region[axis].stop):
            within = [self.places[axis][n] for n in (*group, number)]
            if max(within) - min(within) >= self._step(-1):
                yield group
                group = []
            group.append(number)
        yield group

    def _planes(
        self, file: BinaryIO, place: Sequence[int], group: Sequence[int], rows: slice, columns: slice
    ) -> list[NDArray[Any]]:
        """Planes (y, x) of channels that lie within one pixel."""
        first = self.start + sum(p[i] for p, i in zip(self.places, place, strict=False))
        along = self.places[self.axes.index("c")] if "c" in self.axes else (0,)
        shifts = [along[number] - min(along[n] for n in group) for number in group]
        down, across = self._step(-2), self._step(-1)
        count, length = rows.stop - rows.start, columns.stop - columns.start
        first += self.places[-2][rows.start] + self.places[-1][columns.start]
        line = (length - 1) * across + max(shifts) + self.stored.itemsize
        try:
            if count > 1 and not 0 < down <= _GAP * line:
                lines = [_exactly(file, first + i * down, line) for i in range(count)]
                content, down = b"".join(lines), line
            else:
                content = _exactly(file, first, (count - 1) * down + line)
        except EOFError:
            raise BadSource(
                "is cut off: the file ends within it", file=self.path, place=self.place(place), remedy=_AGAIN
            ) from None
        return [
            as_strided(np.frombuffer(content, self.stored, 1, shift), (count, length), (down, across), writeable=False)
            for shift in shifts
        ]


def _exactly(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    parts = bytearray()
    while len(parts) < count:
        got = file.read(count - len(parts))
        if not got:
            raise EOFError
        parts += got
    return bytes(parts)
