"""How long plain h5py takes to read from chunks of a shape, next to the chunks that neuroconv would have made.

The model has three terms, measured with h5py 3.16 (HDF5 2.0) on 192 MB of 384 channels and 32 MB of 64, int16, the file
in the page cache: to decode chunks, to find them, and to copy runs of values out of them. zlib takes the longer to
inflate what match search has made the less smaller it is: of neuroconv's files 2.6 ns a byte at zero mean (ratio 3.25),
3.4 with DC levels (1.97), 3.7 field potentials (1.94), 5.0 a wide band (1.42). Our planes are nearly all Huffman codes,
a byte each: 3.7 to 4.3, whatever their size.

It is there to compare shapes. All in order took 0.67, 0.86 and 0.92 of neuroconv's time from ``(15000, 4)``,
``(25000, 2)`` and ``(30000, 2)`` with DC levels, for which it says 0.68, 0.82 and 0.88; at zero mean 0.89, 1.08 and
1.18, for 1.00, 1.19 and 1.29; in a wide band 0.44, 0.64 and 0.65, for 0.52, 0.62 and 0.67.

A single ``d[:]`` is not judged: it reads each chunk once from any file, and from two channels a chunk it takes up to
1.5 times as long as from 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod, sqrt

import numpy as np

INFLATE_S = 4.0e-9  # a byte that is decoded, at most: Huffman codes, and HDF5's unshuffle
LEAST_INFLATE_S = 0.7e-9  # a byte of what hardly takes place in the file
STORED_S = 6.0e-9  # and for each stored byte of what match search has made smaller
CHUNK_S = 20e-6  # a chunk that is looked up and read: 11 to 26 microseconds
RUN_S = 5e-9  # a run of neighbouring values that is copied out of a chunk: 5 to 7.5
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
    usual: tuple[int, ...] | None = None, usual_ratio: float | None = None,
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
    usual_ratio
        Raw bytes for each byte that they are stored in; None where that is not known, or both are encoded alike.
    """
    second = rows_of_a_second(shape, rate_hz)
    rows = min(shape[0], round(ONE_CHANNEL_S * (rate_hz or UNKNOWN_RATE_HZ)) or 1)
    one = tuple(min(SQUARE, n) for n in shape[1:]) if len(shape) > 2 else (1,) * (len(shape) - 1)
    piece = max(1, min(shape[0], PIECE_BYTES // (prod(shape[1:]) * itemsize)))
    usual = usual or usual_chunks(shape, itemsize)
    own_s = usual_s = INFLATE_S
    if usual_ratio is not None:
        usual_s = LEAST_INFLATE_S + STORED_S / usual_ratio
        own_s = min(INFLATE_S, LEAST_INFLATE_S + 2 * STORED_S / usual_ratio)

    def ratio(region: tuple[int, ...], *, in_order: bool = False) -> float:
        own, other = (
            _seconds(shape, itemsize, c, region, inflate_s, in_order=in_order)
            for c, inflate_s in ((chunks, own_s), (usual, usual_s))
        )
        return own / other

    in_order = max(ratio((n, *shape[1:]), in_order=True) for n in {second, piece})
    return ReadCosts((ratio((second, *shape[1:])), ratio((rows, *one)), in_order))


def _seconds(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...], region: tuple[int, ...], inflate_s: float, *,
    in_order: bool,
) -> float:  # fmt: skip
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
    return touched * (CHUNK_S + prod(chunks) * itemsize * inflate_s) + values / run * each


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
