"""Random regions of the arrays of a source."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources import Array, Source
from dandify.store.region import Region

WHOLE_BYTES = 64 * 2**20  # arrays up to this size are compared as a whole
_ARRAYS = 24  # arrays of a source that are read; the others are like them


def arrays_of(source: Source) -> list[tuple[str, Array]]:
    """Return the arrays of a source with their names: samples, timestamps and columns."""
    found = []
    for stream in source.streams:
        if stream.array is not None:
            found.append((stream.name, stream.array))
        if stream.timestamps is not None:
            found.append((f"{stream.name}/timestamps", stream.timestamps))
        found += [(f"{stream.name}/{c.name}", c.array) for c in stream.columns]
    return found[:_ARRAYS]


def base(random: np.random.Generator, array: Array) -> tuple[Region, NDArray[Any]]:
    """Return a region and its values: the whole array, or a random part of a large one."""
    whole = tuple(slice(0, n) for n in array.shape)
    region = whole if array.nbytes <= WHOLE_BYTES else random_region(random, array.shape, array.dtype, WHOLE_BYTES // 4)
    return region, array[region]


def random_region(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], limit: int) -> Region:
    """Return a region of random place and size, empty ones too, of at most ``limit`` bytes."""
    region: list[slice] = []
    room = max(1, limit // max(1, dtype.itemsize))
    for n in reversed(shape):
        length = int(random.integers(0, min(n, room) + 1)) if room > 1 else min(n, 1)
        start = int(random.integers(0, n - length + 1))
        region.append(slice(start, start + length))
        room = max(1, room // max(1, length))
    return tuple(reversed(region))


def moved(inner: Region, outer: Region) -> Region:
    """Return the region of the array that ``inner`` is of what was read from ``outer``."""
    return tuple(slice(i.start + o.start, i.stop + o.start) for i, o in zip(inner, outer, strict=True))


def equal(one: NDArray[Any], two: NDArray[Any]) -> bool:
    """Whether two arrays have the same shape and values; NaN equals NaN."""
    return one.shape == two.shape and bool(np.array_equal(one, two, equal_nan=one.dtype.kind in "fc"))
