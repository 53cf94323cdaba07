"""Arrays of Intan recordings: one file per channel, decoded stimulation words, times of recordings with gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.contract import Array

if TYPE_CHECKING:
    from dandify.store.region import Region


@dataclass(frozen=True, eq=False)
class SideBySide(Array):
    """One file per channel: arrays (samples, 1) side by side."""

    parts: tuple[Array, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples, channels)."""
        return (self.parts[0].shape[0], len(self.parts))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the parts."""
        return self.parts[0].dtype

    @property
    def block(self) -> tuple[int, ...]:
        """As many samples as make up one block of a part."""
        return (max(1, self.parts[0].block[0] // len(self.parts)), len(self.parts))

    def read(self, region: Region) -> NDArray[Any]:
        """Read the channels of the region, each from its file."""
        columns = self.parts[region[1]]
        return np.concatenate([part[(region[0], slice(0, 1))] for part in columns], axis=1)


@dataclass(frozen=True, eq=False)
class StimWords(Array):
    """Decoded stimulation words: bits 0-7 magnitude, 8 sign, 13 amplifier settle, 14 charge recovery, 15 compliance.

    Parameters
    ----------
    words
        (samples, channels) uint16.
    flags
        Whether the values are the three flags (bit 0 settle, 1 charge recovery, 2 compliance limit) or the current in
        steps.
    """

    words: Array
    flags: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples, channels)."""
        return self.words.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded values."""
        return np.dtype("u1") if self.flags else np.dtype("<i2")

    @property
    def block(self) -> tuple[int, ...]:
        """That of the words."""
        return self.words.block

    def read(self, region: Region) -> NDArray[Any]:
        """Decode a region."""
        words = self.words[region]
        if self.flags:
            return (words >> 13).astype("u1")
        magnitude = (words & 0xFF).astype("<i2")
        return np.where(words & 0x100, -magnitude, magnitude).astype("<i2")


@dataclass(frozen=True, eq=False)
class SampleTimes(Array):
    """Times of samples out of the running numbers that Intan stores with each: for recordings with gaps.

    Parameters
    ----------
    numbers
        (samples,) running number of every amplifier sample.
    every
        How many amplifier samples make one sample of this stream.
    rate_hz
        Amplifier sampling rate.
    """

    numbers: Array
    every: int
    rate_hz: float
    shift_s: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples,)."""
        return (self.numbers.shape[0] // self.every,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Seconds."""
        return np.dtype("<f8")

    @property
    def block(self) -> tuple[int, ...]:
        """That of the numbers."""
        return (max(1, self.numbers.block[0] // self.every),)

    def read(self, region: Region) -> NDArray[Any]:
        """Seconds from the first sample of the recording, plus the shift."""
        first = int(self.numbers[:1][0])
        numbers = self.numbers[region[0].start * self.every : (region[0].stop - 1) * self.every + 1][:: self.every]
        return (numbers.astype("<i8") - first) / self.rate_hz + self.shift_s
