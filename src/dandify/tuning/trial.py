"""Measures one candidate: sizes, times of encoding and decoding on a core, and whether all bits come back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod, sqrt
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.store.choose import PIECE_BYTES, PIECES
from dandify.store.region import grid
from dandify.tuning.candidates import Candidate
from dandify.tuning.coders import Coder, raw_of

# Student's t at 97.5 %, by degrees of freedom; beyond, that of the normal distribution.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
_NORMAL = 1.96
_LEAST_S = 1e-7


class NotIdentical(Exception):
    """A candidate does not give back what was put in: a bug, never a result."""


class Unfit(Exception):
    """A codec cannot encode chunks of this shape or type at all."""


@dataclass
class Tally:
    """What is known of a candidate so far.

    Attributes
    ----------
    raw, stored, weights
        By window: bytes that were encoded, what they became, and the share that the window stands for.
    encode, decode
        By run: raw bytes, and seconds of one core.
    chunks
        Number of chunks that were decoded.
    """

    raw: dict[int, int] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)
    weights: dict[int, float] = field(default_factory=dict)
    encode: list[tuple[int, float]] = field(default_factory=list)
    decode: list[tuple[int, float]] = field(default_factory=list)

    @property
    def fraction(self) -> float:
        """Stored bytes for each raw byte: the windows' mean, by what they stand for."""
        total = sum(self.weights[k] for k in self.raw)
        if total <= 0:
            return sum(self.stored.values()) / max(1, sum(self.raw.values()))
        return sum(self.weights[k] * self.stored[k] / self.raw[k] for k in self.raw) / total

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the fraction, from the spread between windows; None of a single one."""
        used = [k for k in self.raw if self.weights[k] > 0]
        if len(used) < 2:
            return None
        shares = np.array([self.weights[k] for k in used])
        shares /= shares.sum()
        values = np.array([self.stored[k] / self.raw[k] for k in used])
        mean = float((shares * values).sum())
        effective = 1 / float((shares**2).sum())  # Kish's effective sample size
        if effective <= 1.001:
            return None
        spread = float((shares * (values - mean) ** 2).sum()) * effective / (effective - 1)
        free = max(1, round(effective) - 1)
        half = (_T[free - 1] if free <= len(_T) else _NORMAL) * sqrt(spread / effective)
        return max(1e-9, mean - half), mean + half

    @property
    def encode_mbs(self) -> float:
        """Megabytes a second of one core, the median."""
        return median(size / 1e6 / max(s, _LEAST_S) for size, s in self.encode)

    @property
    def decode_mbs(self) -> float:
        """The same of decoding."""
        return median(size / 1e6 / max(s, _LEAST_S) for size, s in self.decode)


def learnt_from(windows: Sequence[NDArray[Any]], chunks: tuple[int, ...], axis: int) -> list[NDArray[Any]]:
    """Give beginnings of chunks that an encoder learns from, as many as when a file is written; see `whole_chunks`."""
    return [beginning(chunk, chunks) for chunk in whole_chunks(windows, chunks, axis, PIECES)]


def whole_chunks(
    windows: Sequence[NDArray[Any]], chunks: tuple[int, ...], axis: int, count: int
) -> list[NDArray[Any]]:  # fmt: skip
    """Cut chunks as long as those of a file out of windows: the first, the last, and others evenly in between.

    What a chunk costs that does not grow with its length - a table of codes, a sample that is looked at - makes short
    ones slower: our own encoder takes up to 1.6 times as long for a megabyte in chunks of half the length. Windows
    follow one another where a chunk is longer than one.

    Parameters
    ----------
    windows
        Values, alike but for their length.
    chunks
        Shape of a chunk; clipped where all windows together are smaller.
    axis
        Along which windows are long.
    count
        Of chunks, at least 2; places are repeated where there are fewer.
    """
    cells = [max(1, n // c) for n, c in zip(windows[0].shape[axis + 1 :], chunks[axis + 1 :], strict=True)]
    found = []
    for k in range(count):
        cell = np.unravel_index((prod(cells) - 1) * k // (count - 1), cells) if cells else ()
        inner = tuple(slice(int(i) * c, (int(i) + 1) * c) for i, c in zip(cell, chunks[axis + 1 :], strict=True))
        first, left, parts = (len(windows) - 1) * k // (count - 1), chunks[axis], []
        start = max(0, windows[first].shape[axis] - left) * k // (count - 1)
        for window in (*windows[first:], *windows[:first]):
            part = window[(*(slice(0, c) for c in chunks[:axis]), slice(start, start + left), *inner)]
            parts.append(part)
            left, start = left - part.shape[axis], 0
            if not left:
                break
        found.append(np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts, axis)))
    return found


def chunks_of(values: NDArray[Any], chunks: tuple[int, ...], axis: int) -> list[NDArray[Any]]:
    """Cut values as chunks of a shape would be, each contiguous.

    Behind ``axis``, chunks at the edges are filled with zeros, as they are in files: a small image that is not of whole
    chunks becomes 2 % larger by it. Along it and before, they are clipped, for a window ends where the stream does not.
    """
    shape = tuple(min(c, n) for c, n in zip(chunks, values.shape, strict=True))
    found = []
    for _, region in grid(values.shape, shape):
        part = values[region]
        missing = [(0, c - n if k > axis else 0) for k, (c, n) in enumerate(zip(shape, part.shape, strict=True))]
        found.append(np.ascontiguousarray(np.pad(part, missing) if any(after for _, after in missing) else part))
    return found


def run(
    candidate: Candidate, coder: Coder, number: int, values: NDArray[Any], weight: float, tally: Tally, axis: int
) -> None:
    """Note sizes and times of a window's chunks, see `time_chunks`, which raises what this does."""
    timed = time_chunks(coder, chunks_of(values, candidate.chunks, axis))
    tally.raw[number], tally.weights[number], tally.stored[number] = values.nbytes, weight, timed.stored
    tally.encode.append((timed.raw, timed.encode_s))
    tally.decode.append((timed.raw, timed.decode_s))


@dataclass(frozen=True)
class Timed:
    """Bytes of some chunks, raw and stored, and the seconds of this thread that encoding and decoding them took."""

    raw: int
    stored: int
    encode_s: float
    decode_s: float


def time_chunks(coder: Coder, pieces: Sequence[NDArray[Any]]) -> Timed:
    """Encode chunks, decode them again, and compare every bit.

    Raises
    ------
    NotIdentical
        If a chunk does not come back as it was.
    Unfit
        If it cannot be encoded.
    """
    begun = time.thread_time()
    try:
        payloads = [coder.encode(piece) for piece in pieces]
    except Exception as error:  # of foreign codecs, which raise AssertionError, ImportError and errors of their own
        raise Unfit(_said(error)) from error
    encoded = time.thread_time()
    back = [_decoded(coder, p, piece) for p, piece in zip(payloads, pieces, strict=True)]
    decoded = time.thread_time()
    for piece, other in zip(pieces, back, strict=True):
        require_same(piece, other)
    raw = sum(piece.nbytes for piece in pieces)
    return Timed(raw, sum(map(len, payloads)), encoded - begun, decoded - encoded)


def require_same(values: NDArray[Any], back: NDArray[Any]) -> None:
    """Compare bits, so that NaN equals itself and -0 is not 0.

    Raises
    ------
    NotIdentical
        At the first difference.
    """
    if back.shape != values.shape or back.dtype != values.dtype:
        raise NotIdentical(f"{back.dtype} {back.shape} came back for {values.dtype} {values.shape}")
    wrong = raw_of(np.ascontiguousarray(back)) != raw_of(values)
    if wrong.any():
        raise NotIdentical(f"{np.count_nonzero(wrong)} of {wrong.size} bytes of a chunk differ")


def _decoded(coder: Coder, payload: bytes, piece: NDArray[Any]) -> NDArray[Any]:
    try:
        return coder.decode(payload, piece.shape, piece.dtype)
    except Exception as error:  # whatever it is, the values are lost
        raise NotIdentical(f"cannot be decoded: {_said(error)}") from error


def _said(error: Exception) -> str:
    """Give what an error says, and its name where it says nothing."""
    return str(error).strip() or type(error).__name__


def beginning(values: NDArray[Any], chunks: tuple[int, ...]) -> NDArray[Any]:
    """Give the beginning of a chunk, in C order, of about half a megabyte."""
    part = [min(c, n) for c, n in zip(chunks, values.shape, strict=True)]
    budget = max(1, PIECE_BYTES // values.itemsize)
    for axis in range(len(part)):
        part[axis] = max(1, min(part[axis], budget // prod(part[axis + 1 :])))
        if part[axis] > 1:
            break
    return np.ascontiguousarray(values[tuple(slice(0, n) for n in part)])
