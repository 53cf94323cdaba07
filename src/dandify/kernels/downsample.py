"""Halving of image blocks by their mean, and the statistics of pixel values that display windows are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import copy_bytes, prefetch
from dandify.kernels.jit import compiled

BINS = 65536
_AHEAD = 4
"""Rows of a slab whose bytes are fetched while one is copied: they lie too far apart for the processor to guess."""
_ROW_STEPS = ((2**18, 16), (2**14, 4))
"""Values of a block, and of how many rows one is counted: percentiles need no more, and each pixel costs time."""


@compiled
def _mean_integers(
    source: NDArray[Any],
    fz: int,
    fy: int,
    fx: int,
    out: NDArray[Any],
    row: NDArray[Any],
    bits: int,
    target: NDArray[Any],
) -> None:
    """Add up in ``row``'s type, divide by 2**bits, halves to even; ``>>`` rounds down for negative sums too.

    Each line is made in ``target``: LLVM knows that its values are neighbours.
    """
    nz, ny, nx = source.shape
    half = (1 << bits) >> 1
    even = half - 1
    for oz in range(out.shape[0]):
        z0 = oz * fz
        z1 = min(z0 + fz - 1, nz - 1)
        for oy in range(out.shape[1]):
            y0 = oy * fy
            y1 = min(y0 + fy - 1, ny - 1)
            first = source[z0, y0]
            if fz == 2 and fy == 2:
                b, c, d = source[z0, y1], source[z1, y0], source[z1, y1]
                for x in range(nx):
                    row[x] = row.dtype.type(first[x]) + b[x] + c[x] + d[x]
            elif fz == 2 or fy == 2:
                b = source[z1, y1]
                for x in range(nx):
                    row[x] = row.dtype.type(first[x]) + b[x]
            else:
                for x in range(nx):
                    row[x] = first[x]
            if fx == 2:
                for x in range(nx >> 1):
                    total = row[2 * x] + row[2 * x + 1]
                    target[x] = (total + even + ((total >> bits) & 1)) >> bits
                if nx & 1:
                    total = 2 * row[nx - 1]
                    target[nx >> 1] = (total + even + ((total >> bits) & 1)) >> bits
            else:
                for x in range(nx):
                    total = row[x]
                    target[x] = (total + even + ((total >> bits) & 1)) >> bits
            copy_bytes(out[oz, oy], np.int64(0), target, np.int64(0), np.int64(target.size * target.itemsize))


@compiled
def _mean_floats(source: NDArray[Any], fz: int, fy: int, fx: int, out: NDArray[Any], row: NDArray[Any]) -> None:
    """Add up in float64, round once when stored."""
    nz, ny, nx = source.shape
    share = 1.0 / (fz * fy * fx)
    for oz in range(out.shape[0]):
        z0 = oz * fz
        z1 = min(z0 + fz - 1, nz - 1)
        for oy in range(out.shape[1]):
            y0 = oy * fy
            y1 = min(y0 + fy - 1, ny - 1)
            for x in range(nx):
                row[x] = source[z0, y0, x]
                if fy == 2:
                    row[x] += source[z0, y1, x]
                if fz == 2:
                    row[x] += source[z1, y0, x]
                    if fy == 2:
                        row[x] += source[z1, y1, x]
            target = out[oz, oy]
            if fx == 2:
                for x in range(nx >> 1):
                    target[x] = (row[2 * x] + row[2 * x + 1]) * share
                if nx & 1:
                    target[nx >> 1] = 2.0 * row[nx - 1] * share
            else:
                for x in range(nx):
                    target[x] = row[x] * share


def halve(source: NDArray[Any], factors: tuple[int, int, int], out: NDArray[Any]) -> None:
    """Write the mean of each window of a block; windows cut off by the block's end are the mean of what they hold.

    Integers are rounded half to even, as TensorStore does; float32 is added up in float64.

    Parameters
    ----------
    source
        (z, y, x) uint8, uint16, uint32, int8, int16, int32 or float32.
    factors
        1 or 2 for each axis, not all 1.
    out
        (z, y, x) of the same type, each axis divided by its factor and rounded up.
    """
    fz, fy, fx = factors
    if source.dtype.kind == "f":
        _mean_floats(source, fz, fy, fx, out, np.empty(source.shape[2], np.float64))
    else:
        wide = np.int32 if source.dtype.itemsize < 4 else np.int64
        bits = (fz * fy * fx).bit_length() - 1
        _mean_integers(
            source, fz, fy, fx, out, np.empty(source.shape[2], wide), bits, np.empty(out.shape[2], out.dtype)
        )


@compiled
def _tally_small(
    values: NDArray[Any], first: int, step: int, shift: int, counts: NDArray[np.int64]
) -> tuple[float, float]:
    low = high = np.int64(values[0, 0, 0])
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            line = values[z, y]
            a = b = line[0]
            for x in range(line.size):
                a = min(a, line[x])
                b = max(b, line[x])
            low = min(low, np.int64(a))
            high = max(high, np.int64(b))
            if (y + z + first) % step == 0:
                for x in range(line.size):
                    counts[np.int64(line[x]) + shift] += 1
    return float(low), float(high)


@compiled
def _tally_wide(
    values: NDArray[Any], step: int, line: NDArray[np.float32], keys: NDArray[np.uint32], counts: NDArray[np.int64]
) -> tuple[float, float]:
    """Count the upper halves of the values as float32, in the order of the values; NaN and infinities are left out."""
    low, high = np.inf, -np.inf
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                value = float(values[z, y, x])
                if np.isfinite(value):
                    low = min(low, value)
                    high = max(high, value)
                line[x] = value
            if (y + z) % step == 0:
                for x in range(values.shape[2]):
                    if np.isfinite(line[x]):
                        key = np.int64(keys[x])
                        key = 0xFFFFFFFF - key if key >> 31 else key | 0x80000000
                        counts[key >> 16] += 1
    return low, high


def row_step(values: NDArray[Any]) -> int:
    """How far the rows of a block, (z, y, x), lie apart that `tally` counts."""
    return next((step for size, step in _ROW_STEPS if values.size >= size), 1)


def tally(values: NDArray[Any], counts: NDArray[np.int64]) -> tuple[float, float]:
    """Smallest and largest finite value of a block; adds rows to a histogram, of large blocks every 16th.

    Planes follow each other by one row, so that all rows are seen.

    Parameters
    ----------
    values
        (z, y, x), not empty, of a type that `halve` takes.
    counts
        (65536,) to be added to; `bin_values` gives what the bins stand for.

    Returns
    -------
    tuple
        (inf, -inf) where nothing is finite.
    """
    low: float
    high: float
    if values.dtype.itemsize < 4:
        low, high = _tally_small(values, 0, row_step(values), -int(np.iinfo(values.dtype).min), counts)
    else:
        line = np.empty(values.shape[2], np.float32)
        low, high = _tally_wide(values, row_step(values), line, line.view(np.uint32), counts)
    return low, high


@compiled
def _cut_halving(
    values: NDArray[np.uint8], start: int, plane: int, line: int, block: NDArray[Any], copied: NDArray[np.uint8],
    fz: int, fy: int, fx: int, out: NDArray[Any], row: NDArray[Any], bits: int, target: NDArray[Any],
    step: int, shift: int, counts: NDArray[np.int64],
) -> tuple[float, float]:  # fmt: skip
    """Copy the planes of a window, look at them, and halve them, before the next ones take their place in the cache."""
    nz, ny, _ = block.shape
    size = copied.size // (nz * ny)
    low, high = np.inf, -np.inf
    for oz in range(out.shape[0]):
        z0, z1 = oz * fz, min(oz * fz + fz, nz)
        for z in range(z0, z1):
            for y in range(ny):
                place = np.int64(start + z * plane + y * line)
                for ahead in range(0, size, 64):
                    prefetch(values, np.int64(place + _AHEAD * line + ahead))
                copy_bytes(copied, np.int64((z * ny + y) * size), values, place, np.int64(size))
        if counts.size:
            least, most = _tally_small(block[z0:z1], z0, step, shift, counts)
            low, high = min(low, least), max(high, most)
        _mean_integers(block[z0:z1], fz, fy, fx, out[oz : oz + 1], row, bits, target)
    return low, high


def cut_halving(
    values: NDArray[Any], place: tuple[int, int], block: NDArray[Any], factors: tuple[int, int, int], out: NDArray[Any],
    counts: NDArray[np.int64] | None,
) -> tuple[float, float]:  # fmt: skip
    """Copy a block out of a slab, `halve` it and `tally` it, some planes at a time, which stay in the cache meanwhile.

    Parameters
    ----------
    values
        (z, y, x) uint8, uint16, int8 or int16, contiguous.
    place
        Row and column at which the block begins.
    block
        (z, y, x) contiguous, of the same type, as deep as ``values``; overwritten.
    factors, out
        As of `halve`.
    counts
        As of `tally`; None to look at no values.

    Returns
    -------
    tuple
        As of `tally`; (inf, -inf) if nothing was looked at.
    """
    _, ny, nx = values.shape
    size = values.itemsize
    found: tuple[float, float] = _cut_halving(
        values.reshape(-1).view(np.uint8), (place[0] * nx + place[1]) * size, ny * nx * size, nx * size,
        block, block.reshape(-1).view(np.uint8), *factors, out, np.empty(block.shape[2], np.int32),
        math.prod(factors).bit_length() - 1, np.empty(out.shape[2], out.dtype),
        row_step(block), -int(np.iinfo(block.dtype).min), np.empty(0, np.int64) if counts is None else counts,
    )  # fmt: skip
    return found


def bin_values(dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Value that each bin of `tally` stands for, ascending, (65536,); of 32-bit types to three decimal places or so."""
    bins = np.arange(BINS, dtype=np.int64)
    if dtype.itemsize < 4:
        return (bins + int(np.iinfo(dtype).min)).astype(np.float64)
    keys = bins << 16
    bits = np.where(keys >> 31, keys & 0x7FFFFFFF, 0xFFFFFFFF - keys).astype(np.uint32)
    with np.errstate(invalid="ignore"):  # the bins of NaN, which stay empty
        return bits.view(np.float32).astype(np.float64)
