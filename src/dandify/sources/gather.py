"""Puts a region of an image together out of the planes of its file, whose pixels may have several samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.store.region import Region, extent

Fill = Callable[[NDArray[Any], int, slice, slice, slice], None]
"""Puts rows, columns and samples of a plane, given by its number, into an array (y, x, samples)."""


def gather(
    region: Region, dtype: np.dtype[Any], leading: Sequence[int], samples: int, channel_axis: int | None, fill: Fill
) -> NDArray[Any]:
    """Values of a region (..., y, x), of a type; for the rest see `gather_into`."""
    out = np.empty(extent(region), dtype)
    gather_into(out, region, leading, samples, channel_axis, fill)
    return out


def gather_into(
    out: NDArray[Any], region: Region, leading: Sequence[int], samples: int, channel_axis: int | None, fill: Fill
) -> None:
    """Put the values of a region into an array.

    Parameters
    ----------
    out
        (..., y, x) of the region's lengths.
    region
        Normalized.
    leading
        Lengths of the axes before y and x. That of the channel axis counts the samples.
    samples
        Values of each pixel of a plane.
    channel_axis
        Which of the leading axes goes over the samples; None if planes have one sample.
    fill
        Called for each plane that the region touches. Planes are numbered in C order of the leading axes, one for each
        group of samples.
    """
    lead, rows, columns = region[:-2], region[-2], region[-1]
    counts = [n // samples if i == channel_axis else n for i, n in enumerate(leading)]
    for part in product(*(_groups(s, samples if i == channel_axis else 0) for i, s in enumerate(lead))):
        index = 0
        for count, group in zip(counts, part, strict=True):
            index = index * count + group[0]
        target = out[tuple(g[1] for g in part)]  # (samples, y, x), or (y, x) without a channel axis
        wanted = slice(0, 1)
        if channel_axis is not None:
            wanted = part[channel_axis][2]
            target = np.moveaxis(target.reshape(-1, *target.shape[-2:]), 0, -1)
        else:
            target = target.reshape(*target.shape[-2:], 1)
        fill(target, index, rows, columns, wanted)


def _groups(part: slice, samples: int) -> list[tuple[int, int | slice, slice]]:
    """Positions along an axis of planes, where in the result they go, and which samples of them are wanted."""
    if not samples:
        return [(i, i - part.start, slice(0, 1)) for i in range(part.start, part.stop)]
    found: list[tuple[int, int | slice, slice]] = []
    for i in range(part.start // samples, -(-part.stop // samples)):
        first = i * samples
        start, stop = max(part.start, first), min(part.stop, first + samples)
        found.append((i, slice(start - part.start, stop - part.start), slice(start - first, stop - first)))
    return found
