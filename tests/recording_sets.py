"""Recordings made from seeds, and the real clips beside the repository: for tests and benchmarks.

A set is made block by block, each block from a seed of its own: its first megabyte is the same however long it gets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS = 384
BLOCK_BYTES = 16_000_000
AP_HZ, LFP_HZ, FRAME_HZ = 30_000.0, 2_500.0, 30.0
Rows = Callable[[np.random.Generator, int, int], NDArray[Any]]
"""Makes rows of a set from a generator, the number of the first, and their count."""


@dataclass(frozen=True)
class RecordingSet:
    """What a recording is like.

    Attributes
    ----------
    name, title
        For options and for tables.
    kind
        ``recording`` (SpikeInterface), ``movie`` or ``series``.
    dtype, row
        Of the values: type, and shape of one sample or frame.
    rate_hz
        Samples or frames a second.
    microvolts
        Of one step, for recordings.
    rows
        Makes it; None for a real clip.
    clip
        File of a real clip: (samples, columns) of ``dtype``, of which the first are taken.
    columns
        Of the clip's file.
    """

    name: str
    title: str
    kind: str
    dtype: str
    row: tuple[int, ...]
    rate_hz: float
    microvolts: float = 1.0
    rows: Rows | None = None
    clip: Path | None = None
    columns: int = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of a sample or frame."""
        return prod(self.row) * np.dtype(self.dtype).itemsize

    def write(self, path: Path, megabytes: float) -> int:
        """Write a raw file of about so many megabytes, in threads; gives its size. A clip is as long as it is."""
        if self.clip is not None:
            found = np.fromfile(self.clip, self.dtype)
            values = found[: len(found) // self.columns * self.columns].reshape(-1, self.columns)
            np.ascontiguousarray(values[:, : self.row[0]]).tofile(path)
            return path.stat().st_size
        total = max(1, int(megabytes * 1e6) // self.row_bytes)
        step = max(1, BLOCK_BYTES // self.row_bytes)
        starts = range(0, total, step)
        workers = os.cpu_count() or 1
        with path.open("wb") as file, ThreadPoolExecutor(workers) as pool:
            for first in range(0, len(starts), workers):  # no more blocks in memory than threads
                for block in pool.map(self.block, range(first, min(first + workers, len(starts)))):
                    kept = block[: min(len(block), total - file.tell() // self.row_bytes)]
                    file.write(kept.data)
        return total * self.row_bytes

    def block(self, number: int) -> NDArray[Any]:
        """One block of rows, (rows, *row), always the same."""
        assert self.rows is not None  # a clip has none
        step = max(1, BLOCK_BYTES // self.row_bytes)
        values = self.rows(np.random.default_rng([77, number]), number * step, step)
        return np.ascontiguousarray(values, self.dtype)

    def map(self, path: Path) -> NDArray[Any]:
        """Map a raw file that `write` has written, (rows, *row)."""
        return np.memmap(path, self.dtype, "r").reshape(-1, *self.row)


def _noise(rng: np.random.Generator, rows: int, channels: int, steps: float) -> NDArray[np.float32]:
    """White noise of so many steps, of which a fifth is common to all channels and a tenth to each 24."""
    noise = rng.standard_normal((rows, channels), np.float32)
    noise *= steps * 0.84
    noise += rng.standard_normal((rows, 1), np.float32) * np.float32(steps * 0.44)
    if channels % 24 == 0:
        near = rng.standard_normal((rows, channels // 24, 1), np.float32) * np.float32(steps * 0.32)
        noise.reshape(rows, -1, 24)[...] += near
    return noise


def _spikes(rng: np.random.Generator, values: NDArray[np.float32], rate_hz: float, steps: float) -> None:
    """Add spikes to random channels and their neighbours: 5 a second and channel."""
    rows, channels = values.shape
    count = int(rows * channels * 5 / rate_hz)
    length, spread = 36, 5
    if rows <= length or channels <= spread:
        return
    time = np.arange(length, dtype=np.float32)
    shape = np.exp(-((time - 9) ** 2) / 8) - 0.4 * np.exp(-((time - 18) ** 2) / 40)
    template = -shape[:, None] * np.array([0.2, 0.6, 1, 0.6, 0.2], np.float32)
    at, where = rng.integers(0, rows - length, count), rng.integers(0, channels - spread, count)
    size = rng.gamma(2.0, steps / 2, count).astype(np.float32)
    flat = (at[:, None] + np.arange(length))[:, :, None] * channels + where[:, None, None] + np.arange(spread)
    np.add.at(values.reshape(-1), flat.reshape(-1), (size[:, None, None] * template).reshape(-1))


@cache
def _levels(channels: int, steps: float) -> NDArray[np.float32]:
    """A DC level for each channel."""
    return np.rint(np.random.default_rng(8).normal(0, steps, channels)).astype(np.float32)


@cache
def _field(channels: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Frequencies of a field potential, and how much of each a channel sees: smooth along the probe, 1/f."""
    rng = np.random.default_rng(9)
    hertz = np.geomspace(0.4, 120, 20) * rng.uniform(0.95, 1.05, 20)
    along = np.linspace(0, 2, channels)[None]
    phase, size = rng.uniform(0, 6.3, (40, 1)), rng.normal(1, 0.3, (40, 1)) / np.tile(hertz, 2)[:, None] ** 0.7
    weights = size * np.cos(along * rng.uniform(0.5, 2, (40, 1)) + phase)
    weights /= np.sqrt(np.square(weights).sum(0).mean() / 2)
    return hertz, weights.astype(np.float32)


def _potential(start: int, rows: int, channels: int, rate_hz: float, steps: float) -> NDArray[np.float32]:
    """Field potential of so many steps (RMS), continuous over blocks."""
    hertz, weights = _field(channels)
    angle = 2 * np.pi * hertz * (np.arange(start, start + rows)[:, None] / rate_hz)
    return (np.hstack([np.sin(angle), np.cos(angle)]) * steps).astype(np.float32) @ weights


def _rounded(values: NDArray[np.float32], low: int, high: int) -> NDArray[np.float32]:
    np.rint(values, out=values)
    return np.clip(values, low, high, out=values)


def _ap(rng: np.random.Generator, start: int, rows: int) -> NDArray[Any]:
    values = _noise(rng, rows, CHANNELS, 3)
    _spikes(rng, values, AP_HZ, 15)
    return _rounded(values, -512, 511)


def _ap_levels(rng: np.random.Generator, start: int, rows: int) -> NDArray[Any]:
    values = _noise(rng, rows, CHANNELS, 3)
    _spikes(rng, values, AP_HZ, 15)
    values += _levels(CHANNELS, 60)
    return _rounded(values, -512, 511)


def _wide(rng: np.random.Generator, start: int, rows: int) -> NDArray[Any]:
    values = _noise(rng, rows, CHANNELS, 10)
    values += _potential(start, rows, CHANNELS, AP_HZ, 150)
    _spikes(rng, values, AP_HZ, 90)
    values += _levels(CHANNELS, 200)
    return _rounded(values, -8192, 8191)


def _intan(rng: np.random.Generator, start: int, rows: int) -> NDArray[Any]:
    values = _noise(rng, rows, 64, 30)
    values += _potential(start, rows, 64, AP_HZ, 400)
    _spikes(rng, values, AP_HZ, 300)
    values += _levels(64, 80)
    values += 32768
    return _rounded(values, 0, 65535)


def _lfp(rng: np.random.Generator, start: int, rows: int) -> NDArray[Any]:
    values = _noise(rng, rows, CHANNELS, 2)
    values += _potential(start, rows, CHANNELS, LFP_HZ, 40)
    values += _levels(CHANNELS, 30)
    return _rounded(values, -512, 511)


@cache
def _picture() -> NDArray[np.float32]:
    return np.random.default_rng(10).gamma(2.0, 4.0, (512, 512)).astype(np.float32)


def _movie(rng: np.random.Generator, start: int, rows: int) -> NDArray[Any]:
    """About 8 photons a pixel, 12 counts each, over an offset of 200 with the detector's noise."""
    photons = _picture() * np.float32(1 + 0.1 * np.sin(start / 200))
    values = rng.standard_normal((rows, 512, 512), np.float32)
    values *= np.sqrt(144 * photons + 100)
    values += 200 + 12 * photons
    return _rounded(values, 0, 4095)


def _photometry(rng: np.random.Generator, start: int, rows: int) -> NDArray[Any]:
    """Four detectors: bleaching, slow waves, noise in volts."""
    at = np.arange(start, start + rows)[:, None] / 1017.25
    slow = 0.3 * np.exp(-at / 3600) + 0.01 * np.sin(at * np.array([0.5, 0.7, 0.9, 1.1]))
    values = rng.standard_normal((rows, 4), np.float32)
    values *= 2e-4
    values += slow
    return values


def _ttl(rng: np.random.Generator, start: int, rows: int) -> NDArray[Any]:
    """Three lines of one word: a camera's frames, barcodes, trials; each is up or down, and seldom changes."""
    word = np.zeros(rows, np.int16)
    for bit, (period, spread) in enumerate(((500, 2), (3_000, 2_000), (90_000, 30_000))):
        lengths = rng.integers(period - spread, period + spread, rows // (period - spread) + 2)
        word |= np.repeat(np.arange(len(lengths), dtype=np.int16) % 2, lengths)[:rows] << bit
    return word


def _clips() -> tuple[RecordingSet, ...]:
    """Real ones, where they are: short, and never repeated, since match search would find the repetition."""
    root = os.environ.get("DANDIFY_SHARED_DATA")
    found = sorted((Path(root) / "ephys/openephys_binary").rglob("*AP/continuous.dat")) if root else []
    filled = [path for path in found if path.stat().st_size]  # two recordings that hold the same samples
    return tuple(
        RecordingSet(
            "clip", "real clip: Neuropixels, int16 x 384", "recording", "<i2",
            (CHANNELS,), AP_HZ, 0.195, clip=path, columns=385,
        )
        for path in filled[:1]
    )  # fmt: skip


MADE = (
    RecordingSet("ap", "Neuropixels 1 AP, zero mean, int16 x 384", "recording", "<i2", (384,), AP_HZ, 2.34375, _ap),
    RecordingSet(
        "ap_levels", "the same, a DC level for each channel", "recording", "<i2", (384,), AP_HZ, 2.34375, _ap_levels
    ),
    RecordingSet("wide", "Neuropixels 2 wide band, int16 x 384", "recording", "<i2", (384,), AP_HZ, 0.762939, _wide),
    RecordingSet("intan", "Intan, uint16 x 64", "recording", "<u2", (64,), AP_HZ, 0.195, _intan),
    RecordingSet("lfp", "Neuropixels 1 LFP, int16 x 384", "recording", "<i2", (384,), LFP_HZ, 4.6875, _lfp),
    RecordingSet("two_photon", "two-photon movie, uint16 x 512 x 512", "movie", "<u2", (512, 512), FRAME_HZ, 1, _movie),
    RecordingSet("photometry", "photometry, float32 x 4", "series", "<f4", (4,), 1017.25, 1, _photometry),
    RecordingSet("ttl", "TTL lines, int16", "series", "<i2", (), AP_HZ, 1, _ttl),
)
CLIPS = _clips()
SETS = {one.name: one for one in (*MADE, *CLIPS)}
