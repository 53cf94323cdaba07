"""Samples of an image: what sizes are estimated by, and whether bytes or bits are sorted before compression."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.ngff.image import ImageInput
from dandify.ngff.levels import PyramidPlan, Region5
from dandify.ngff.once import reading
from dandify.store.zarr_image import BITS, WORTH_BYTES, bits_pay

PLACES: Final = (1 / 6, 1 / 2, 5 / 6)  # of the depth, where planes are sampled
PLANES: Final = 8  # decoded at each of them, or one block of the source if that is more;
SAMPLE_BYTES: Final = 64 * 2**20  # and fewer of large planes
_SQUARES: Final = 3  # chunks of each of them that are encoded: a corner, the middle, the other corner


def pieces_of(
    image: ImageInput, plan: PyramidPlan, *, places: tuple[float, ...] = PLACES, planes: int = PLANES
) -> list[NDArray[Any]]:  # fmt: skip
    """Read samples of level 0: (z, y, x), of the length of a chunk along y and x.

    Parameters
    ----------
    image, plan
        What is read, and how it is cut.
    places
        Parts of the depth, and of the time, where samples are taken.
    planes
        How many at each place, unless the source yields more at one go.

    Raises
    ------
    BadSource
        If the source cannot be read.
    """
    level = plan.levels[0]
    nt, nc, nz, ny, nx = level.shape
    _, _, _, cy, cx = level.chunks
    most = max(1, min(planes, SAMPLE_BYTES // (ny * nx * image.dtype.itemsize)))
    depth = min(nz, level.chunks[2], max(most, image.block[2]))
    found = []
    for number, place in enumerate(places if nz > depth or nt * nc > 1 else places[:1]):
        z = int(place * (nz - depth)) // image.block[2] * image.block[2]
        t, c = int(place * nt), number % nc
        corners = sorted({(int(s * (ny - cy)), int(s * (nx - cx))) for s in np.linspace(0, 1, _SQUARES)})
        squares = [(slice(y, y + cy), slice(x, x + cx)) for y, x in corners]
        found += _squares(image, (slice(t, t + 1), slice(c, c + 1), slice(z, z + depth)), squares)
    return found


def _squares(
    image: ImageInput, where: tuple[slice, slice, slice], squares: list[tuple[slice, slice]]
) -> list[NDArray[Any]]:  # fmt: skip
    """Read squares of some planes: with one read of all, where planes are decoded as a whole."""
    _, _, _, ny, nx = image.shape
    if image.block[3:] == (ny, nx):
        planes = _read(image, (*where, slice(0, ny), slice(0, nx)))
        return [np.array(planes[:, y, x], image.dtype) for y, x in squares]  # copies: large planes are not kept
    return [np.ascontiguousarray(_read(image, (*where, y, x)), image.dtype) for y, x in squares]


def bits_are_smaller(image: ImageInput, plan: PyramidPlan, compression: str) -> bool:
    """Whether samples become no larger if bits are sorted before compression, in place of bytes.

    Bits of noise are left alone then, which makes encoding and decoding faster. Images without noise become larger.
    Of images that are written in no time, and of sources whose decoded planes are kept, the bytes are sorted (those of
    single bytes are left as they are), and nothing is read; of all others some planes are read twice.

    Raises
    ------
    BadSource
        If the source cannot be read.
    """
    if image.raw_bytes < WORTH_BYTES or plan.keep != "nowhere":
        return False
    if compression.endswith(BITS):
        return True
    return bits_pay(pieces_of(image, plan, places=PLACES[1:2], planes=PLANES), compression)


def _read(image: ImageInput, region: Region5) -> NDArray[Any]:
    """Read planes, (z, y, x)."""
    _, _, z, y, x = region
    with reading(region):
        return np.asarray(image.read(region)).reshape(z.stop - z.start, y.stop - y.start, x.stop - x.start)
