"""Chunks of the kinds that recordings are made of, for tests and benchmarks of the encoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS = 64


def _noise(rng: np.random.Generator, size: int, scale: float) -> NDArray[np.float64]:
    return rng.normal(0, scale, (max(1, size // CHANNELS), CHANNELS))


def ap(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """Zero mean, noise of 3 steps."""
    return np.rint(_noise(rng, size, 3)).astype("<i2")


def ap_levels(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """The same at a DC level for each channel."""
    return np.rint(_noise(rng, size, 3) + rng.normal(0, 150, CHANNELS)).astype("<i2")


def ap_channel(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """One channel of these."""
    return np.rint(rng.normal(-200, 3, (size, 1))).astype("<i2")


def lfp(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """Wandering, as local field potentials do."""
    return np.rint(np.cumsum(_noise(rng, size, 2), 0) * 0.99 + _noise(rng, size, 1)).astype("<i2")


def intan(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """Unsigned, around 32768."""
    return (np.rint(_noise(rng, size, 12) + rng.normal(0, 80, CHANNELS)) + 32768).astype("<u2")


def ttl(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """A line that is up or down, and seldom changes."""
    edges = np.zeros(size, "<i2")
    edges[rng.integers(0, size, max(1, size // 2000))] = 1
    return (np.cumsum(edges) % 2).astype("<i2")


def photometry(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """A slow float32 with noise."""
    return (np.sin(np.arange(size) / 3000) + rng.normal(0, 0.01, size)).astype("<f4")


def times(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """Timestamps of a regular clock."""
    return np.arange(size) / 30_000.0


def wide(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """Noise of sixteen bits in int32."""
    return np.rint(rng.normal(0, 300, size)).astype("<i4")


def big_endian(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """As `ap`, with the high byte first."""
    return ap(rng, size).astype(">i2")


def video(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """Photon noise on a striped picture, uint8."""
    side = 64
    picture = 40 * (np.add.outer(np.arange(side), np.arange(side)) % 32 > 20)
    return np.clip(rng.poisson(20, (max(1, size // side**2), side, side)) + picture, 0, 255).astype("u1")


def flat(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """Squares of one value each, uint8, the same in every frame."""
    frame = rng.integers(0, 255, (8, 8)).repeat(8, 0).repeat(8, 1).astype("u1")
    return np.tile(frame, (max(1, size // frame.size), 1, 1))


def constant(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """One value."""
    return np.full(size, 7, "<i2")


def random(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """Nothing to be gained."""
    return rng.integers(0, 65536, size).astype("<u2")


SETS: tuple[Callable[[np.random.Generator, int], NDArray[Any]], ...] = (
    ap, ap_levels, ap_channel, lfp, intan, ttl, photometry, times, wide, big_endian, video, flat, constant, random,
)  # fmt: skip


def chunk(make: Callable[[np.random.Generator, int], NDArray[Any]], size: int) -> NDArray[Any]:
    """Give a chunk of one kind, of about so many elements, the same each time."""
    return make(np.random.default_rng(3), size)
