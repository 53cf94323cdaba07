"""Picks the chunk shape of a signal by what samples of it become in each shape that is read fast enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dandify.store.encode import Bytes, Encoder
from dandify.store.pipeline import read_values
from dandify.store.plan import needed_bytes, row_of
from dandify.store.readcost import PATTERNS
from dandify.store.region import Blocks
from dandify.store.shapes import HDF5_LIMITS, Limits, Shape, best_lengths, count_of, quick, shapes_of, text, usual_text

PLACES = 3  # beginning, middle and end of a recording
ROWS = 8192  # samples read at each: tables of the codes are a hundredth of what they become
READ_BYTES = 8_000_000  # at each place, at most
COLUMNS = 32  # channels that are encoded at each place, other ones at each
ALIKE = 0.02  # shapes whose sizes differ by less: the widest is taken, which is read fastest as a whole


@dataclass(frozen=True)
class Measured:
    """A chunk shape, and why.

    Attributes
    ----------
    chunks
        The shape.
    pieces
        Samples in the order that they have within such chunks, to choose an encoder by.
    reason
        In words: limits, what each shape gave, what reading costs.
    """

    chunks: tuple[int, ...]
    pieces: tuple[Bytes, ...]
    reason: str


def measure_chunks(
    source: Blocks,
    dtype: np.dtype[np.generic],
    encoder: Callable[[Sequence[Bytes]], Encoder],
    *,
    memory_bytes: int,
    workers: int,
    rate_hz: float | None = None,
    limits: Limits = HDF5_LIMITS,
    name: str = "the dataset",
) -> Measured | None:
    """Choose the chunk shape of a signal; the same for the same data, on every machine.

    Parameters
    ----------
    source
        (samples, channels)
    dtype
        As stored.
    encoder
        Gives what encodes such pieces: fast, and of the kind that will be used.
    memory_bytes, workers
        What the engine may hold; shapes whose rows do not fit are not tried.
    rate_hz
        Samples a second, where known.
    limits
        Of the shapes.
    name
        For errors.

    Returns
    -------
    Measured
        None for what is no signal, and where no shape fits into the memory.

    Raises
    ------
    BadSource
        If the source cannot be read.
    """
    shape = source.shape
    if len(shape) != 2:
        return None
    fitting = [
        s for s in shapes_of(shape, dtype.itemsize, rate_hz=rate_hz, limits=limits)
        if needed_bytes(row_of(shape, s.chunks), s.chunks, dtype.itemsize, workers) <= memory_bytes
    ]  # fmt: skip
    if not fitting:
        return None
    tried = best_lengths(quick(fitting, limits))
    samples = _read(source, dtype, name)
    found: list[tuple[float, Shape, tuple[Bytes, ...]]] = []
    for candidate in tried:
        pieces = tuple(_pieces(samples, candidate.chunks, shape[1]))
        coder = encoder(pieces)
        stored = sum(len(coder.encode(piece, dtype.itemsize)) for piece in pieces)
        found.append((sum(piece.size for piece in pieces) / stored, candidate, pieces))
    most = max(ratio for ratio, _, _ in found)
    ratio, best, pieces = max(
        (f for f in found if f[0] >= most * (1 - ALIKE)), key=lambda f: (f[1].chunks[1], f[1].chunks[0])
    )
    others = ", ".join(f"{text(s.chunks)} {r:.2f}" for r, s, _ in found if s is not best)
    reading = ", ".join(f"{what} {cost:.2f}" for what, cost in zip(PATTERNS, best.costs.ratios, strict=True))
    reason = (
        f"smallest of samples: {text(best.chunks)} {ratio:.2f}" + (f", {others}" if others else "")
        + f"; chunks of {limits}, {count_of(shape, best.chunks):,} here; reading takes, of what it takes from "
        f"{usual_text(shape, dtype.itemsize)}: {reading}"
    )  # fmt: skip
    return Measured(best.chunks, pieces, reason)


def _read(source: Blocks, dtype: np.dtype[np.generic], name: str) -> list[NDArray[np.generic]]:
    """Read whole rows at a few places."""
    length, columns = source.shape
    rows = max(1, min(ROWS, length, READ_BYTES // (columns * dtype.itemsize)))
    starts = sorted({(length - rows) * k // (PLACES - 1) for k in range(PLACES)})
    return [read_values(source, (slice(s, s + rows), slice(0, columns)), dtype, name) for s in starts]


def _pieces(samples: Sequence[NDArray[np.generic]], chunks: tuple[int, ...], columns: int) -> list[Bytes]:
    """Cut samples as chunks would be: about as many bytes for each shape, of other channels at each place."""
    width = chunks[1]
    block = max(width, min(columns, COLUMNS) // width * width)
    pieces = []
    for place, rows in enumerate(samples):
        first = (columns - block) * place // max(1, len(samples) - 1)
        length = max(1, min(chunks[0], len(rows), len(rows) * COLUMNS // block if block > COLUMNS else len(rows)))
        for column in range(first, first + block, width):
            piece = np.ascontiguousarray(rows[:length, column : column + width])
            pieces.append(piece.reshape(-1).view(np.uint8))
    return pieces
