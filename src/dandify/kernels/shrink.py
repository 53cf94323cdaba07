"""Halving of image blocks by other ways than the mean: one voxel of each window, the largest, the most frequent."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.downsample import halve
from dandify.kernels.jit import compiled

Method = Literal["mean", "mode", "max", "nearest"]
METHODS: Final = ("mean", "mode", "max", "nearest")


@compiled
def _largest(source: NDArray[Any], fz: int, fy: int, fx: int, out: NDArray[Any]) -> None:
    nz, ny, nx = source.shape
    for oz in range(out.shape[0]):
        for oy in range(out.shape[1]):
            for ox in range(out.shape[2]):
                most = source[oz * fz, oy * fy, ox * fx]
                for z in range(oz * fz, min(oz * fz + fz, nz)):
                    for y in range(oy * fy, min(oy * fy + fy, ny)):
                        for x in range(ox * fx, min(ox * fx + fx, nx)):
                            value = source[z, y, x]
                            if value > most or most != most:  # NaN counts only where there is nothing else
                                most = value
                out[oz, oy, ox] = most


@compiled
def _most_frequent(source: NDArray[Any], fz: int, fy: int, fx: int, out: NDArray[Any], window: NDArray[Any]) -> None:
    nz, ny, nx = source.shape
    for oz in range(out.shape[0]):
        for oy in range(out.shape[1]):
            for ox in range(out.shape[2]):
                count = 0
                same = True
                for z in range(oz * fz, min(oz * fz + fz, nz)):
                    for y in range(oy * fy, min(oy * fy + fy, ny)):
                        for x in range(ox * fx, min(ox * fx + fx, nx)):
                            window[count] = source[z, y, x]
                            same = same and window[count] == window[0]
                            count += 1
                best, often = window[0], 0
                if not same:
                    for i in range(count):
                        times = 0
                        for j in range(count):
                            times += window[j] == window[i]
                        if times > often or (times == often and window[i] < best):
                            best, often = window[i], times
                out[oz, oy, ox] = best


@compiled
def _most_frequent_of_halves(
    source: NDArray[Any], fz: int, fy: int, fx: int, out: NDArray[Any], window: NDArray[Any]
) -> None:
    """Do the same where factors are 1 or 2.

    A window is eight values then: where the factor is 1, or the end cuts the window off, each of them twice, which
    changes nothing. Most windows of labels lie within one object.
    """
    nz, ny, nx = source.shape
    for oz in range(out.shape[0]):
        z0 = oz * fz
        z1 = min(z0 + fz - 1, nz - 1)
        for oy in range(out.shape[1]):
            y0 = oy * fy
            y1 = min(y0 + fy - 1, ny - 1)
            a, b, c, d = source[z0, y0], source[z0, y1], source[z1, y0], source[z1, y1]
            line = out[oz, oy]
            for ox in range(out.shape[2]):
                x0 = ox * fx
                x1 = min(x0 + fx - 1, nx - 1)
                best = a[x0]
                if (
                    (a[x1] == best) & (b[x0] == best) & (b[x1] == best) & (c[x0] == best)
                    & (c[x1] == best) & (d[x0] == best) & (d[x1] == best)
                ):  # fmt: skip
                    line[ox] = best
                    continue
                window[0], window[1], window[2], window[3] = a[x0], a[x1], b[x0], b[x1]
                window[4], window[5], window[6], window[7] = c[x0], c[x1], d[x0], d[x1]
                often = 0
                for i in range(8):
                    times = 0
                    for j in range(8):
                        times += window[j] == window[i]
                    if times > often or (times == often and window[i] < best):
                        best, often = window[i], times
                line[ox] = best


def shrink(source: NDArray[Any], factors: tuple[int, int, int], out: NDArray[Any], method: Method) -> None:
    """Write one value for each window of a block; windows cut off by the block's end give what they hold.

    Parameters
    ----------
    source
        (z, y, x) of a type that `halve` takes; integers of 64 bits too, but for their mean.
    factors
        1 or more for each axis; of the mean 1 or 2, not all 1.
    out
        (z, y, x) of the same type, each axis divided by its factor and rounded up; or down, but for the mean: windows
        that are cut off are then left out.
    method
        ``mean``: see `halve`. ``mode``: the most frequent value, the smallest of several, as TensorStore takes it.
        ``max``: the largest, NaN only where there is nothing else. ``nearest``: the first voxel of the window.
    """
    fz, fy, fx = factors
    if method == "mean":
        halve(source, factors, out)
    elif method == "max":
        _largest(source, *factors, out)
    elif method == "mode" and max(factors) <= 2:
        _most_frequent_of_halves(source, *factors, out, np.empty(8, source.dtype))
    elif method == "mode":
        _most_frequent(source, *factors, out, np.empty(fz * fy * fx, source.dtype))
    else:
        out[...] = source[::fz, ::fy, ::fx][tuple(slice(n) for n in out.shape)]
