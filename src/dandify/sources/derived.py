"""Arrays that are computed from others while they are read: moved times, decoded texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.contract import Array
from dandify.store.region import Region


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
