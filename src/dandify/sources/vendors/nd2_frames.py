"""Planes of a Nikon ND2: where the map at its end says they lie, and their pixels as an array.

Source: nd2 (``nd2._parse._chunk_decode``), which reads what is said about them. A file is a run of chunks::

    uint32 0x0ABECEDA; uint32 length of the name; uint64 length of the data; char name[]; data

Its last 40 bytes are a signature and the place of the chunk that maps names to places. ``ImageDataSeq|7!`` is the
eighth plane: 8 bytes of time, then rows of pixels, of which each holds a value of every channel.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources.contract import Array
from dandify.sources.gather import gather
from dandify.store.region import Region

FIRST: Final = (0x0ABECEDA).to_bytes(4, "little")
SIGNATURE: Final = b"ND2 FILE SIGNATURE CHUNK NAME01!"
JPEG_2000: Final = b"\x00\x00\x00\x0cjP  "  # files of NIS-Elements before 3.0

_HEAD: Final = Struct("<IIQ")
_PLACE: Final = Struct("<QQ")  # of a chunk, and its size
_END: Final = Struct("<32sQ")
_MAP: Final = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_MAP_NAME: Final = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_PLANE: Final = b"ImageDataSeq|"
_TIME_BYTES: Final = 8
_BLOCK_BYTES: Final = 64 * 2**20  # larger planes that are not compressed are read in parts
_AGAIN: Final = "copy the file again from the microscope's computer"


def places_of_planes(path: Path) -> dict[int, int]:
    """Find the chunk of every plane by its number, by the map at the end of the file.

    Raises
    ------
    dandify.errors.BadSource
        If there is no map, or it names planes behind the end of the file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - _END.size))
            end = file.read(_END.size)
            if len(end) < _END.size or not end.startswith(_MAP):
                raise BadSource(
                    "is cut off or was not finished: it does not end with the map of its planes", file=path,
                    remedy=_AGAIN + ", or open it in NIS-Elements, which can mend it, and save it",
                )  # fmt: skip
            content = _map(file, _END.unpack(end)[1], size, path)
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
    found: dict[int, int] = {}
    at = 0
    while (stop := content.find(b"!", at) + 1) and not (name := content[at:stop]).startswith(_MAP):
        if stop + _PLACE.size > len(content):
            raise BadSource("has a damaged map of its planes", file=path, place=f"byte {at} of the map", remedy=_AGAIN)
        place, _ = _PLACE.unpack_from(content, stop)
        if name.startswith(_PLANE) and (number := name[len(_PLANE) : -1]).isdigit():
            found[int(number)] = place
        at = stop + _PLACE.size
    if behind := [n for n, place in found.items() if place + _HEAD.size > size]:
        raise BadSource(
            f"is cut off: plane {min(behind) + 1} begins at byte {found[min(behind)]}, and the file ends at {size}",
            file=path, place=f"plane {min(behind) + 1}", remedy=_AGAIN,
        )  # fmt: skip
    return found


def _map(file: BinaryIO, place: int, size: int, path: Path) -> bytes:
    file.seek(place)
    head = file.read(_HEAD.size)
    if len(head) == _HEAD.size and head.startswith(FIRST):
        _, name, length = _HEAD.unpack(head)
        whole = place + _HEAD.size + name + length <= size
        if whole and file.read(name).startswith(_MAP_NAME):
            return file.read(length)
    raise BadSource("has a damaged map of its planes", file=path, place=f"byte {place}", remedy=_AGAIN)


@dataclass(frozen=True, eq=False)
class Nd2Frames(Array):
    """Planes of an image: leading axes out of t c z, then y and x.

    Parameters
    ----------
    path
        The file.
    label
        Name of the image, for errors.
    places
        Bytes of the planes' chunks, in C order of the leading axes without c.
    axes
        Names of the leading axes.
    leading
        Their lengths.
    height, width
        Pixels of each plane.
    stored
        Type of the values with their byte order.
    samples
        Values of each pixel, in the order in which they go along c.
    row_bytes
        Of a row, which may be padded.
    compressed
        Planes are deflated as a whole.
    """

    path: Path
    label: str
    places: tuple[int, ...]
    axes: tuple[str, ...]
    leading: tuple[int, ...]
    height: int
    width: int
    stored: np.dtype[Any]
    samples: tuple[int, ...]
    row_bytes: int
    compressed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Native type of the values."""
        return self.stored.newbyteorder("=")

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., y, x)."""
        return (*self.leading, self.height, self.width)

    @property
    def block(self) -> tuple[int, ...]:
        """One plane with all channels, or the rows of a large one that are read at one go."""
        rows = self.height if self.compressed else max(1, min(self.height, _BLOCK_BYTES // self.row_bytes))
        return (*(len(self.samples) if a == "c" else 1 for a in self.axes), rows, self.width)

    def read(self, region: Region) -> NDArray[Any]:
        """Read the planes that a region touches.

        Raises
        ------
        dandify.errors.BadSource
            If the file is cut off or damaged in one of them.
        """
        channel = self.axes.index("c") if "c" in self.axes else None
        try:
            with self.path.open("rb", buffering=0) as file:

                def fill(target: NDArray[Any], index: int, rows: slice, columns: slice, samples: slice) -> None:
                    target[...] = self._rows(file, index, rows)[:, columns, self.samples[samples]]

                return gather(region, self.dtype, self.leading, len(self.samples), channel, fill)
        except OSError as error:
            raise BadSource(f"cannot be read: {error.strerror}", file=self.path, place=self.label) from None

    def _rows(self, file: BinaryIO, index: int, rows: slice) -> NDArray[Any]:
        """Rows of a plane (y, x, samples), as they lie in the file."""
        start, size = self._data(file, index)
        count, whole = (rows.stop - rows.start) * self.row_bytes, self.height * self.row_bytes
        if self.compressed:
            file.seek(start)
            try:
                plain = zlib.decompressobj().decompress(file.read(size), whole)
            except zlib.error as error:
                raise BadSource(
                    f"cannot be decoded: {error}", file=self.path, place=self.place(index), remedy=_AGAIN
                ) from None
            content = plain[rows.start * self.row_bytes : rows.stop * self.row_bytes]
        else:
            file.seek(start + rows.start * self.row_bytes)
            content = file.read(count) if size >= whole else b""
        if len(content) < count:
            raise BadSource(
                f"has fewer than the {whole} bytes of {self.height} x {self.width} pixels", file=self.path,
                place=self.place(index), remedy=_AGAIN,
            )  # fmt: skip
        used = self.width * len(self.samples) * self.stored.itemsize
        packed = np.frombuffer(content, np.uint8).reshape(-1, self.row_bytes)[:, :used]
        return np.ascontiguousarray(packed).view(self.stored).reshape(-1, self.width, len(self.samples))

    def _data(self, file: BinaryIO, index: int) -> tuple[int, int]:
        """First byte and size of a plane's pixels."""
        place = self.places[index]
        file.seek(place)
        head = file.read(_HEAD.size)
        if len(head) == _HEAD.size and head.startswith(FIRST):
            _, name, length = _HEAD.unpack(head)
            start = place + _HEAD.size + name + _TIME_BYTES
            if start + length - _TIME_BYTES <= os.fstat(file.fileno()).st_size:
                return start, length - _TIME_BYTES
        raise BadSource(
            f"is cut off or damaged: the plane that begins at byte {place} is not whole", file=self.path,
            place=self.place(index), remedy=_AGAIN,
        )  # fmt: skip

    def place(self, index: int) -> str:
        """Name of a plane, for errors."""
        lengths = {a: n for a, n in zip(self.axes, self.leading, strict=True) if a != "c"}
        at = np.unravel_index(index, tuple(lengths.values())) if lengths else ()
        return f"{self.label}, plane {' '.join(f'{a}={i}' for a, i in zip(lengths, at, strict=True)) or 1}"

    def require_whole(self) -> None:
        """Refuse a file that ends before the last of the planes does; one plane is looked at.

        Raises
        ------
        dandify.errors.BadSource
            If it does.
        """
        last = max(range(len(self.places)), key=self.places.__getitem__)
        with self.path.open("rb", buffering=0) as file:
            self._data(file, last)
