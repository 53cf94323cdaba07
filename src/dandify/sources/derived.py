"""Arrays that are computed from others while they are read: moved times, decoded texts, axes in another order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.contract import Array
from dandify.store.region import Region, extent


@dataclass(frozen=True, eq=False)
class Moved(Array):
    """Times from another zero, in seconds.

    Parameters
    ----------
    values
        (times,) seconds, or samples where ``rate_hz`` is given.
    shift_s
        Added to them.
    rate_hz
        What turns samples into seconds.
    """

    values: Array
    shift_s: float
    rate_hz: float = 1.0

    def moved(self, seconds: float) -> Moved:
        """Return the same times, later by some seconds."""
        return Moved(self.values, self.shift_s + seconds, self.rate_hz)

    @property
    def shape(self) -> tuple[int, ...]:
        """(times,)."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Seconds."""
        return np.dtype("<f8")

    @property
    def block(self) -> tuple[int, ...]:
        """That of the values."""
        return self.values.block

    def read(self, region: Region) -> NDArray[Any]:
        """Seconds from the new zero."""
        return np.asarray(self.values[region] / self.rate_hz + self.shift_s)


@dataclass(frozen=True, eq=False)
class Texts(Array):
    """Texts stored as bytes of fixed length, as str.

    Parameters
    ----------
    values
        (texts,) of a bytes type, padded with NUL, UTF-8.
    """

    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """(texts,)."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Python str."""
        return np.dtype(object)

    @property
    def block(self) -> tuple[int, ...]:
        """That of the bytes."""
        return self.values.block

    def read(self, region: Region) -> NDArray[Any]:
        """Decode from UTF-8."""
        raw = self.values[region]
        out = np.empty(len(raw), object)
        out[:] = [bytes(t).decode("utf-8", "replace").rstrip("\0") for t in raw]
        return out


@dataclass(frozen=True, eq=False)
class Transposed(Array):
    """An array with its axes in another order.

    Parameters
    ----------
    values
        The array.
    order
        Which of its axes each axis is. Those that are left out have length 1.
    """

    values: Array
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        left = set(range(self.values.ndim)) - set(self.order)
        if any(self.values.shape[i] != 1 for i in left) or len(set(self.order)) != len(self.order):
            raise ValueError(f"axes {self.order} of an array of shape {self.values.shape}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths in the new order."""
        return tuple(self.values.shape[i] for i in self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """That of the array in the new order."""
        return tuple(self.values.block[i] for i in self.order)

    def read(self, region: Region) -> NDArray[Any]:
        """Read from the array and turn the result."""
        inner = [slice(0, 1)] * self.values.ndim
        for part, axis in zip(region, self.order, strict=True):
            inner[axis] = part
        left = tuple(i for i in range(self.values.ndim) if i not in self.order)
        return np.ascontiguousarray(self.values[tuple(inner)].transpose(*left, *self.order)[(0,) * len(left)])


def in_order(array: Array, axes: tuple[str, ...], keep: tuple[str, ...]) -> tuple[Array, tuple[str, ...]]:
    """Return an image with its axes in the order t c z y x, without those of length 1 that are not to be kept.

    Parameters
    ----------
    array, axes
        The image, with its axes as they are; y and x among them.
    keep
        Axes that stay whatever their length.
    """
    kept = [i for i, a in enumerate(axes) if a in keep or array.shape[i] != 1]
    order = tuple(sorted(kept, key=lambda i: "tczyx".index(axes[i])))
    names = tuple(axes[i] for i in order)
    return (array if order == tuple(range(array.ndim)) else Transposed(array, order)), names


@dataclass(frozen=True, eq=False)
class Upward(Array):
    """An array with a first axis of length 1 put before its own: one time point."""

    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, ...)."""
        return (1, *self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """That of the array, of the only time point."""
        return (1, *self.values.block)

    def read(self, region: Region) -> NDArray[Any]:
        """Read from the array."""
        return self.values[region[1:]][None]


@dataclass(frozen=True, eq=False)
class Fitted(Array):
    """An array with axes of length 1 added, or left out.

    Parameters
    ----------
    values
        The array.
    shape
        The same but for axes of length 1.
    """

    values: Array
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if [n for n in self.shape if n != 1] != [n for n in self.values.shape if n != 1]:
            raise ValueError(f"{self.values.shape} as {self.shape}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """That of the array."""
        inner = iter(b for b, n in zip(self.values.block, self.values.shape, strict=True) if n != 1)
        return tuple(1 if n == 1 else next(inner) for n in self.shape)

    def read(self, region: Region) -> NDArray[Any]:
        """Read from the array."""
        parts = iter(part for part, n in zip(region, self.shape, strict=True) if n != 1)
        inner = tuple(slice(0, 1) if n == 1 else next(parts) for n in self.values.shape)
        return self.values[inner].reshape(extent(region))
