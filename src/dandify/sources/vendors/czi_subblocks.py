"""Planes of a CZI as an array: each is a subblock, stored as it is or compressed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources.contract import Array
from dandify.sources.gather import gather
from dandify.sources.vendors.czi_layout import Entry, data_of
from dandify.store.region import Region

_BLOCK_BYTES: Final = 64 * 2**20  # larger planes that are not compressed are read in parts
_AGAIN: Final = "copy the file again from the microscope's computer"


class PixelType(NamedTuple):
    """What a number of the specification means: name, type and samples; None where it is not converted."""

    name: str
    dtype: str | None
    samples: int = 1


PIXEL_TYPES: Final = {
    0: PixelType("Gray8", "u1"),
    1: PixelType("Gray16", "u2"),
    2: PixelType("Gray32Float", "f4"),
    3: PixelType("Bgr24", "u1", 3),
    4: PixelType("Bgr48", "u2", 3),
    8: PixelType("Bgr96Float", "f4", 3),
    9: PixelType("Bgra32", "u1", 4),
    10: PixelType("Gray64ComplexFloat", None),
    11: PixelType("Bgr192ComplexFloat", None),
    12: PixelType("Gray32", "i4"),
    13: PixelType("Gray64", "f8"),
}  # fmt: skip

_RAW, JPEG, _LZW, _JPEG_XR, _ZSTD0, _ZSTD1 = 0, 1, 2, 4, 5, 6
COMPRESSIONS: Final = {
    _RAW: "none", JPEG: "JPEG", _LZW: "LZW", _JPEG_XR: "JPEG XR", _ZSTD0: "zstd", _ZSTD1: "zstd with packed bytes",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Subblocks(Array):
    """Planes of an image: leading axes out of t c z, then y and x.

    Parameters
    ----------
    path
        The file.
    label
        Name of the image, for errors.
    entries
        The subblocks in C order of the leading axes, one for each group of samples.
    axes
        Names of the leading axes.
    leading
        Their lengths; that of c counts the samples.
    height, width
        Pixels of each plane.
    pixel_type
        Its number.
    channel_axis
        Which of the leading axes goes over the samples of a pixel; None if it has one.
    """

    path: Path
    label: str
    entries: tuple[Entry, ...]
    axes: tuple[str, ...]
    leading: tuple[int, ...]
    height: int
    width: int
    pixel_type: int
    channel_axis: int | None = None

    @property
    def samples(self) -> int:
        """Values of each pixel."""
        return PIXEL_TYPES[self.pixel_type].samples

    @property
    def dtype(self) -> np.dtype[Any]:
        """Native type of the values."""
        return np.dtype(PIXEL_TYPES[self.pixel_type].dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., y, x)."""
        return (*self.leading, self.height, self.width)

    @property
    def block(self) -> tuple[int, ...]:
        """One plane, or the rows of a large one that are read at one go."""
        row = self.width * self.samples * self.dtype.itemsize
        rows = self.height
        if all(e.compression == _RAW for e in self.entries):
            rows = max(1, min(rows, _BLOCK_BYTES // row))
        return (*(self.samples if i == self.channel_axis else 1 for i in range(len(self.leading))), rows, self.width)

    def read(self, region: Region) -> NDArray[Any]:
        """Read the planes that a region touches.

        Raises
        ------
        dandify.errors.BadSource
            If the file is cut off or damaged in one of them.
        """
        try:
            with self.path.open("rb", buffering=0) as file:

                def fill(target: NDArray[Any], index: int, rows: slice, columns: slice, samples: slice) -> None:
                    target[...] = self._rows(file, index, rows)[:, columns, samples]

                return gather(region, self.dtype, self.leading, self.samples, self.channel_axis, fill)
        except OSError as failure:
            raise BadSource(f"cannot be read: {failure.strerror}", file=self.path, place=self.label) from None

    def _rows(self, file: BinaryIO, index: int, rows: slice) -> NDArray[Any]:
        """Rows of a plane (y, x, samples)."""
        entry = self.entries[index]
        try:
            data = data_of(file, entry)
            if entry.compression == _RAW:
                plane = self._raw(file, data.pixels, data.size, rows)
            else:
                file.seek(data.pixels)
                plane = self._decoded(file.read(data.size), entry.compression)[rows]
        except EOFError:
            raise BadSource(
                f"is cut off: the file ends in the subblock that begins at byte {entry.position}", file=self.path,
                place=self.place(index), remedy=_AGAIN,
            ) from None  # fmt: skip
        except (ValueError, RuntimeError, TypeError, LookupError) as failure:
            message = str(failure).strip().splitlines()[0] if str(failure).strip() else type(failure).__name__
            raise BadSource(
                f"cannot be decoded: {message}", file=self.path, place=self.place(index), remedy=_AGAIN
            ) from None
        # Pixels are blue, green, red; JPEG XR has an order of its own, and its decoder gives red first.
        if self.samples > 1 and entry.compression != _JPEG_XR:
            plane = plane[..., [2, 1, 0, *range(3, self.samples)]]
        return plane

    def place(self, index: int) -> str:
        """Name of a plane, for errors."""
        lengths = [n // self.samples if a == "c" else n for a, n in zip(self.axes, self.leading, strict=True)]
        at = np.unravel_index(index, lengths) if lengths else ()
        return f"{self.label}, plane {' '.join(f'{a}={i}' for a, i in zip(self.axes, at, strict=True)) or 1}"

    def _raw(self, file: BinaryIO, start: int, size: int, rows: slice) -> NDArray[Any]:
        stored = self.dtype.newbyteorder("<")
        row = self.width * self.samples * stored.itemsize
        if size != self.height * row:
            raise ValueError(f"{size} bytes for {self.height} x {self.width} pixels of {self.height * row}")
        file.seek(start + rows.start * row)
        content = file.read((rows.stop - rows.start) * row)
        if len(content) < (rows.stop - rows.start) * row:
            raise EOFError
        return np.frombuffer(content, stored).reshape(-1, self.width, self.samples)

    def _decoded(self, content: bytes, compression: int) -> NDArray[Any]:
        import imagecodecs

        stored = self.dtype.newbyteorder("<")
        if compression == _JPEG_XR:
            values = np.asarray(imagecodecs.jpegxr_decode(content))
        elif compression == JPEG:
            values = np.asarray(imagecodecs.jpeg_decode(content))
        else:
            count = self.height * self.width * self.samples * stored.itemsize
            packed = False
            if compression == _ZSTD1:
                content, packed = _without_header(content)
            decode = imagecodecs.lzw_decode if compression == _LZW else imagecodecs.zstd_decode
            plain = decode(content, out=count)
            if len(plain) != count:
                raise ValueError(f"{len(plain)} bytes for {self.height} x {self.width} pixels of {count}")
            if packed and stored.itemsize == 2:  # all low bytes, then all high bytes
                plain = np.frombuffer(plain, np.uint8).reshape(2, -1).T.tobytes()
            values = np.frombuffer(plain, stored)
        if values.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(f"{values.dtype} where the directory says {self.dtype}")
        return values.reshape(self.height, self.width, self.samples)


def _without_header(content: bytes) -> tuple[bytes, bool]:
    """Take the header off: its size (1, or 3 with the chunk 1 that says in bit 0 whether bytes are packed)."""
    if content[:1] == b"\x01":
        return content[1:], False
    if content[:2] == b"\x03\x01":
        return content[3:], bool(content[2] & 1)
    raise ValueError(f"its header begins with {content[:2].hex(' ')}, which is no header of zstd")
