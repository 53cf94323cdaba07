"""How a level of a pyramid follows from the one above: by the mean, by one value of each window, or not at all."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.jit import compiled

TELL_MEAN, OFF_MEAN_TOLD, OFF_MEAN = 0, 1, 2
TELL_ONE, OFF_FIRST_TOLD, OFF_FIRST, OFF_LAST_TOLD, OFF_LAST = 3, 4, 5, 6, 7
TELL_MEMBER, OFF_MEMBER_TOLD, OFF_MEMBER = 8, 9, 10
OUTSIDE = 11
COLUMNS = 12
_CURVED: Final = 24.0  # tolerances: windows that lie in a line are what any filter makes their mean of
_REACHES: Final = (1, 3)  # windows to each side: of filters two voxels wide, more than 3 sigma
_OVERSHOOT: Final = 0.25  # of the range around: filters that sharpen go beyond it


@compiled
def _reduce(
    fine: NDArray[Any], fz: int, fy: int, fx: int, means: NDArray[np.float64], low: NDArray[Any], high: NDArray[Any]
) -> None:
    share = 1.0 / (fz * fy * fx)
    nz, ny, nx = means.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                total = 0.0
                least = most = fine[z * fz, y * fy, x * fx]
                for dz in range(fz):
                    for dy in range(fy):
                        for dx in range(fx):
                            value = fine[z * fz + dz, y * fy + dy, x * fx + dx]
                            total += value
                            least = min(least, value)
                            most = max(most, value)
                means[z, y, x] = total * share
                low[z, y, x] = least
                high[z, y, x] = most


@compiled
def _beyond(
    low: NDArray[Any], high: NDArray[Any], z: int, y: int, x: int, fz: int, fy: int, fx: int, found: float,
    tolerance: float,
) -> bool:  # fmt: skip
    """Whether a value lies beyond all windows that a filter could have taken it from."""
    nz, ny, nx = low.shape
    for reach in _REACHES:  # most values lie within the first: the wide look is rare
        if (
            (fz > 1 and not reach <= z < nz - reach)
            or (fy > 1 and not reach <= y < ny - reach)
            or (fx > 1 and not reach <= x < nx - reach)
        ):
            return False  # filters treat the border in ways of their own
        least, most = np.inf, -np.inf
        for z2 in range(max(z - reach, 0), min(z + reach + 1, nz)):
            for y2 in range(max(y - reach, 0), min(y + reach + 1, ny)):
                for x2 in range(max(x - reach, 0), min(x + reach + 1, nx)):
                    least = min(least, float(low[z2, y2, x2]))
                    most = max(most, float(high[z2, y2, x2]))
        slack = _OVERSHOOT * (most - least) + 2 * tolerance
        if least - slack <= found <= most + slack:
            return False
    return True


@compiled
def _judge(
    fine: NDArray[Any], coarse: NDArray[Any], fz: int, fy: int, fx: int, means: NDArray[np.float64], low: NDArray[Any],
    high: NDArray[Any], absolute: float, relative: float, exact: bool, whole: bool, side: int, out: NDArray[np.int64],
) -> None:  # fmt: skip
    nz, ny, nx = means.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                mean = means[z, y, x]
                found = float(coarse[z, y, x])
                if not (np.isfinite(mean) and np.isfinite(found)):
                    continue
                counts = out[z // side, y // side, x // side]
                least, most = float(low[z, y, x]), float(high[z, y, x])
                tolerance = absolute + relative * max(abs(least), abs(most))
                off = abs(found - mean) > tolerance
                if exact and whole:
                    off = found != np.rint(mean)
                counts[OFF_MEAN] += off
                if exact:
                    continue
                curve = 0.0
                if fz > 1 and 0 < z < nz - 1:
                    curve = max(curve, abs(means[z - 1, y, x] - 2 * mean + means[z + 1, y, x]))
                if fy > 1 and 0 < y < ny - 1:
                    curve = max(curve, abs(means[z, y - 1, x] - 2 * mean + means[z, y + 1, x]))
                if fx > 1 and 0 < x < nx - 1:
                    curve = max(curve, abs(means[z, y, x - 1] - 2 * mean + means[z, y, x + 1]))
                if curve > _CURVED * tolerance:
                    counts[TELL_MEAN] += 1
                    counts[OFF_MEAN_TOLD] += off
                first = float(fine[z * fz, y * fy, x * fx])
                last = float(fine[z * fz + fz - 1, y * fy + fy - 1, x * fx + fx - 1])
                nearest, nearest_to_mean = np.inf, np.inf
                if most > least or found != least:
                    for dz in range(fz):
                        for dy in range(fy):
                            for dx in range(fx):
                                value = float(fine[z * fz + dz, y * fy + dy, x * fx + dx])
                                nearest = min(nearest, abs(value - found))
                                nearest_to_mean = min(nearest_to_mean, abs(value - mean))
                    if abs(first - last) > 2 * tolerance:
                        counts[TELL_ONE] += 1
                        counts[OFF_FIRST_TOLD] += found != first
                        counts[OFF_LAST_TOLD] += found != last
                    counts[OFF_FIRST] += found != first
                    counts[OFF_LAST] += found != last
                    if nearest_to_mean > tolerance:
                        counts[TELL_MEMBER] += 1
                        counts[OFF_MEMBER_TOLD] += nearest > 0
                    counts[OFF_MEMBER] += nearest > 0
                if not least <= found <= most:
                    counts[OUTSIDE] += _beyond(low, high, z, y, x, fz, fy, fx, found, tolerance)


def judge_windows(
    fine: NDArray[Any], coarse: NDArray[Any], factors: tuple[int, int, int], *, exact: bool, side: int
) -> NDArray[np.int64]:
    """Count, block by block, the voxels of a level that follow from the level above in one way or another.

    Parameters
    ----------
    fine
        (z, y, x) real numbers, whole windows of the level above.
    coarse
        (z, y, x), a value for each window.
    factors
        Size of the windows.
    exact
        They are known to be means, of integers rounded half to even; only ``OFF_MEAN`` is counted. Otherwise anything
        within 1 of the mean, or 1e-4 of floating values, counts as mean: tools round in their own ways.
    side
        Of the blocks, in voxels of the coarse level.

    Returns
    -------
    numpy.ndarray
        (blocks z, y, x, `COLUMNS`). ``TELL_...``: windows that tell one method from the others; ``OFF_..._TOLD``: of
        these, values that do not follow it; ``OFF_...``: all that do not; ``OUTSIDE``: values beyond all around them,
        which no method makes.
    """
    whole = fine.dtype.kind != "f"
    means = np.empty(coarse.shape, np.float64)
    low, high = np.empty(coarse.shape, fine.dtype), np.empty(coarse.shape, fine.dtype)
    out = np.zeros((*(-(-n // side) for n in coarse.shape), COLUMNS), np.int64)
    _reduce(fine, *factors, means, low, high)
    relative = (0.0 if whole else 1e-6) if exact else (1e-6 if whole else 1e-4)
    _judge(
        fine, coarse, *factors, means, low, high, 1.0 if whole else 0.0, relative, exact, whole, side, out
    )  # fmt: skip
    return out
