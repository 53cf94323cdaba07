"""How long plain h5py takes to read from chunks of a shape, next to the chunks that neuroconv would have made.

The model has three terms, measured with h5py 3.16 (HDF5 2.0) on 276 MB of 384 channels, int16, the file in the page
cache. It is there to compare shapes, and errs by up to 20 % where it was compared with the clock: one second of all
channels from ``(30000, 2)`` 176 ms for 171 measured, from ``(30000, 64)`` 131 for 127, from neuroconv's
``(78125, 64)`` 234 for 247. What it leaves out is how well a chunk was compressed: at zero mean, neuroconv's file is
inflated at 2.4 ns a byte. Hence shapes near the limit are avoided where sizes are alike.

A single ``d[:]`` is not judged: it reads each chunk once from any file, and from two channels a chunk it takes up to
1.5 times as long as from 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod, sqrt

import numpy as np

INFLATE_S = 2.8e-9  # a byte that is decoded: zlib and HDF5's unshuffle; 2.8 to 3.3 measured, on recordings
CHUNK_S = 20e-6  # a chunk that is looked up and read: 11 to 26 microseconds
RUN_S = 7e-9  # a run of neighbouring values that is copied out of a chunk: 5 to 7.5
TINY_RUN_S = 14e-9  # the same, of fewer than 4 bytes: 12 to 20
TINY_RUN_BYTES = 4

UNKNOWN_RATE_HZ = 30_000.0  # what one second is taken for, where nobody states the rate
ONE_CHANNEL_S = 600
SQUARE = 32  # pixels: "one channel" of a movie
PIECE_BYTES = 64_000_000  # all of it in order is read in pieces: of one second, and of so many bytes
USUAL_BYTES = 10_000_000  # neuroconv 0.10: chunks of 10 MB, up to 64 channels wide, or whole frames
USUAL_CHANNELS = 64
PATTERNS = ("one second of all", "ten minutes of one channel", "all in order")


@dataclass(frozen=True)
class ReadCosts:
    """Time to read from chunks of a shape over that from neuroconv's chunks; below 1 is faster.

    Attributes
    ----------
    ratios
        One for each of `PATTERNS`.
    """

    ratios: tuple[float, ...]

    @property
    def worst(self) -> float:
        """Of the pattern that is slowest."""
        return max(self.ratios)

    @property
    def overall(self) -> float:
        """Of all patterns: the root of the mean square, in which those near the limit weigh most."""
        return sqrt(sum(r * r for r in self.ratios) / len(self.ratios))

    def __str__(self) -> str:
        return ", ".join(f"{name} {ratio:.2f}" for name, ratio in zip(PATTERNS, self.ratios, strict=True))


def usual_chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunks that neuroconv 0.10 would have made (`neuroconv/tools/iterative_write.py`): the measure for reading."""
    if len(shape) == 2:
        channels = min(USUAL_CHANNELS, shape[1])
        return (max(1, min(shape[0], USUAL_BYTES // (channels * itemsize))), channels)
    row = prod(shape[1:]) * itemsize
    return (max(1, min(shape[0], USUAL_BYTES // row)), *shape[1:])


def proportional_chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunks that neuroconv 0.10 would have made of what is neither a recording nor a movie.

    They have the proportions of the dataset as far as 10 MB reach, and with few columns much less than that: of
    31 million samples of 4 columns, 1,581 samples (`SliceableDataChunkIterator.estimate_default_chunk_shape`).
    """
    least, most = min(shape), USUAL_BYTES // itemsize
    parts = [n // least for n in shape]
    while prod(parts) > most:
        divisor = min(n for n in parts if n > 1)
        parts = [n // divisor if n > 1 else n for n in parts]
    times = int((USUAL_BYTES / (prod(parts) * itemsize)) ** (1 / len(shape)))
    return tuple(min(times * n, m) for n, m in zip(parts, shape, strict=True))


def rows_of_a_second(shape: tuple[int, ...], rate_hz: float | None) -> int:
    """Count the samples or frames of one second: at least one, and no more than there are."""
    return max(1, min(shape[0], round(rate_hz or UNKNOWN_RATE_HZ)))


def read_costs(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...], rate_hz: float | None,
    usual: tuple[int, ...] | None = None,
) -> ReadCosts:  # fmt: skip
    """Compare reading from chunks of this shape with reading from neuroconv's.

    Parameters
    ----------
    shape, itemsize
        Of the dataset; its first axis is time.
    chunks
        At most the shape.
    rate_hz
        Samples or frames a second; `UNKNOWN_RATE_HZ` is taken for it where it is None.
    usual
        Neuroconv's; `usual_chunks` by default.
    """
    second = rows_of_a_second(shape, rate_hz)
    rows = min(shape[0], round(ONE_CHANNEL_S * (rate_hz or UNKNOWN_RATE_HZ)) or 1)
    one = tuple(min(SQUARE, n) for n in shape[1:]) if len(shape) > 2 else (1,) * (len(shape) - 1)
    piece = max(1, min(shape[0], PIECE_BYTES // (prod(shape[1:]) * itemsize)))
    usual = usual or usual_chunks(shape, itemsize)

    def ratio(region: tuple[int, ...], *, in_order: bool = False) -> float:
        seconds = [_seconds(shape, itemsize, c, region, in_order=in_order) for c in (chunks, usual)]
        return seconds[0] / seconds[1]

    in_order = max(ratio((n, *shape[1:]), in_order=True) for n in {second, piece})
    return ReadCosts((ratio((second, *shape[1:])), ratio((rows, *one)), in_order))


def _seconds(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...], region: tuple[int, ...], *, in_order: bool
) -> float:
    """Time for one region at any place, or for all regions of that length one after another."""
    touched = prod(_touched(n, c, r) for n, c, r in zip(shape[1:], chunks[1:], region[1:], strict=True))
    values = prod(region[1:])
    if in_order:
        touched *= _touched_in_order(shape[0], chunks[0], region[0])
        values *= shape[0]
    else:
        touched *= _touched(shape[0], chunks[0], region[0])
        values *= region[0]
    run = 1
    for c, r in zip(reversed(chunks), reversed(region), strict=True):
        run *= min(c, r)
        if c != r:
            break
    each = RUN_S if run * itemsize >= TINY_RUN_BYTES else TINY_RUN_S
    return touched * (CHUNK_S + prod(chunks) * itemsize * INFLATE_S) + values / run * each


def _touched(length: int, chunk: int, part: int) -> float:
    """Chunks along an axis that a part at any place lies in, on average."""
    count = ceil(length / chunk)
    return count if part >= length else min(count, (part - 1) / chunk + 1)


def _touched_in_order(length: int, chunk: int, part: int) -> float:
    """Chunks along an axis that all parts lie in, added up."""
    count = ceil(length / part)
    starts = np.arange(min(count, 1000)) * part  # they repeat
    ends = np.minimum(starts + part, length)
    return float(((ends - 1) // chunk - starts // chunk + 1).sum()) * count / len(starts)
