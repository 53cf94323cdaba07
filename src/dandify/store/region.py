"""Regions of arrays: one slice with step 1 per axis, inside the shape."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Region = tuple[slice, ...]


class Blocks(Protocol):
    """What the engine reads from: a shape, a dtype, a natural block, and regions of raw values."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the values as the file stores them."""

    @property
    def block(self) -> tuple[int, ...]:
        """What the file yields at one go, per axis."""

    def __getitem__(self, region: Region, /) -> NDArray[np.generic]:
        """Raw values of a region; safe from any thread or process."""


def normalize(region: Region | slice, shape: tuple[int, ...]) -> Region:
    """Slices with plain bounds, one per axis, as NumPy would understand ``region``.

    Raises
    ------
    TypeError
        If something else than a slice is given.
    ValueError
        If a step is not 1 or there are more slices than axes.
    """
    parts = region if isinstance(region, tuple) else (region,)
    if len(parts) > len(shape):
        raise ValueError(f"{len(parts)} slices for {len(shape)} axes")
    out = []
    for i, length in enumerate(shape):
        part = parts[i] if i < len(parts) else slice(None)
        if not isinstance(part, slice):
            raise TypeError(f"axis {i}: regions are made of slices, not {type(part).__name__}")
        start, stop, step = part.indices(length)
        if step != 1:
            raise ValueError(f"axis {i}: step {step}; regions are contiguous")
        out.append(slice(start, max(start, stop)))
    return tuple(out)


def extent(region: Region) -> tuple[int, ...]:
    """Shape of a normalized region."""
    return tuple(s.stop - s.start for s in region)


def grid(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Region]]:
    """Every chunk of a regular grid in C order: its index and its region, clipped at the edges."""
    counts = [range(-(-n // c)) for n, c in zip(shape, chunks, strict=True)]
    for index in product(*counts):
        yield index, tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(index, chunks, shape, strict=True))
