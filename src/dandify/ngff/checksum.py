"""Checksums of an image's values: of all in C order, though slabs of planes are read in parts of their rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dandify.ngff.levels import Region5, Shape5
from dandify.store.piecewise import PiecewiseXXH128


def crc32(values: NDArray[Any], before: int = 0) -> int:
    """CRC-32 of contiguous values, going on from that of the values before them."""
    return int(isal_zlib.crc32(values.reshape(-1).view(np.uint8), before))


class ImageChecksum:
    """XXH3-128 of all values in C order. Slabs come in their order, and the parts of each in any.

    Parameters
    ----------
    shape
        Of the image.
    depth
        Planes of a slab.
    itemsize
        Bytes of a value.
    """

    def __init__(self, shape: Shape5, depth: int, itemsize: int) -> None:
        self._shape, self._row = shape, shape[4] * itemsize
        self._whole = PiecewiseXXH128(math.prod(shape) * itemsize, depth * shape[3] * self._row)
        self._rows = 0  # of the slab, that are there

    def add(self, region: Region5, values: NDArray[Any]) -> None:
        """Take contiguous values (z y x) of a region of whole rows."""
        y = region[3]
        parts = [values] if y.stop - y.start == self._shape[3] else values
        for plane, part in enumerate(parts, region[2].start):
            self._whole.add(self._place(region, plane, y.start), part.reshape(-1).view(np.uint8))

    def end(self, region: Region5) -> None:
        """Note that all of a part of a slab was added."""
        y = region[3]
        self._rows += y.stop - y.start
        if self._rows == self._shape[3]:
            self._whole.complete(self._place(region, region[2].stop, 0))
            self._rows = 0

    def hexdigest(self) -> str:
        """Give the checksum, when all slabs have come."""
        return self._whole.hexdigest()

    def _place(self, region: Region5, plane: int, row: int) -> int:
        """Byte of the image at which a row begins."""
        _, nc, nz, ny, _ = self._shape
        plane += (region[0].start * nc + region[1].start) * nz
        return (plane * ny + row) * self._row
