"""Chunk shapes that a dataset may have: within stated limits of size, number, and time to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil, gcd, prod

from dandify.errors import BadRequest
from dandify.store.plan import default_chunks
from dandify.store.readcost import ReadCosts, read_costs, rows_of_a_second

SECONDS = (0.25, 0.5, 1, 2, 4)  # lengths that are tried, beside those that fill a number of bytes
NEAR = 0.03  # of the time to read: lengths that differ by less count as equal
PADDED = 1.06  # a dataset with its padding over the dataset: beyond, chunks are made even
_STEPS = 64  # of `whole_bytes` in a chunk, at least: its length changes by less than 2 %


@dataclass(frozen=True)
class Limits:
    """What a chunk plan keeps within.

    Attributes
    ----------
    least_bytes, most_bytes
        Of a raw chunk; smaller only where the dataset is.
    most_chunks
        Of a dataset: HDF5 finds a chunk among 200,000 seven times more slowly than among 20,000.
    slowest
        Time to read, of what it takes from neuroconv's chunks, see `readcost`.
    deflated
        Those would be gzip's, as ours are.
    whole_bytes
        A raw chunk is a multiple of so many where its length allows.
    """

    least_bytes: int = 100_000
    most_bytes: int = 4_000_000
    most_chunks: int = 200_000
    slowest: float = 1.0
    deflated: bool = True
    whole_bytes: int = 1

    def __str__(self) -> str:
        return f"{self.least_bytes / 1e6:g} to {self.most_bytes / 1e6:g} MB, at most {self.most_chunks:,} chunks"


HDF5_LIMITS = Limits()
# Each chunk is a file, and an object in the archive. From 3 MB on in place of 1 MB, 300 MB of a recording become half
# as many, in 9 to 35 % less CPU time. Cut into equal parts of whole words of each bit plane, see `bit_frames`.
ZARR_LIMITS = Limits(least_bytes=3_000_000, deflated=False, whole_bytes=8192)


@dataclass(frozen=True)
class Shape:
    """A chunk shape within the limits of size and number.

    Attributes
    ----------
    chunks
        The shape.
    costs
        Time to read.
    """

    chunks: tuple[int, ...]
    costs: ReadCosts


def shapes_of(
    shape: tuple[int, ...], itemsize: int, *, rate_hz: float | None = None, limits: Limits = HDF5_LIMITS,
    usual: tuple[int, ...] | None = None, usual_ratio: float | None = None,
) -> tuple[Shape, ...]:  # fmt: skip
    """Give the chunk shapes that keep to the limits of size and number, the widest first; at least one.

    Signals, (samples,) or (samples, channels), are cut at 1, 2, 4, ... or all channels, and at parts and multiples of a
    second or at lengths that fill a number of bytes. Of more axes, chunks are whole frames, or bands of one where a
    frame is larger than a chunk may be. Where nothing keeps to the limits - rows longer than a chunk may be, a dataset
    of a terabyte - what comes nearest is given.

    Parameters
    ----------
    shape, itemsize
        Of the dataset; no axis of length 0.
    rate_hz
        Samples or frames a second, where known.
    limits
        To keep within; that of time to read is not applied here.
    usual, usual_ratio
        Chunks that time to read is compared with, and how well they are compressed, see `read_costs`.
    """
    raw = prod(shape) * itemsize
    tried = dict.fromkeys(_signals(shape, itemsize, rate_hz, limits) if len(shape) == 2 else _frames(shape, itemsize,
                          rate_hz, limits))  # fmt: skip
    sized = [c for c in tried if min(raw, limits.least_bytes) <= prod(c) * itemsize <= limits.most_bytes]
    if not sized:
        sized = [default_chunks(shape, itemsize, limits.most_bytes)[0]]
    few = [c for c in sized if count_of(shape, c) <= limits.most_chunks]
    if not few:
        least = min(count_of(shape, c) for c in sized)
        few = [c for c in sized if count_of(shape, c) == least]
    few.sort(key=lambda c: (c[1:], c), reverse=True)
    return tuple(Shape(c, read_costs(shape, itemsize, c, rate_hz, usual, usual_ratio)) for c in few)


def quick(shapes: Iterable[Shape], limits: Limits) -> tuple[Shape, ...]:
    """Keep the shapes that are read no slower than the limit; where none is, the one that is read fastest."""
    found = tuple(shapes)
    kept = tuple(s for s in found if s.costs.worst <= limits.slowest)
    return kept or (min(found, key=lambda s: s.costs.worst),)


def best_lengths(shapes: Iterable[Shape]) -> tuple[Shape, ...]:
    """Keep, of shapes that differ in the first axis alone, the one that is read fastest overall; the longest of equals.

    Beyond some thousand samples the length of a chunk moves its size by less than 1 % on recordings; but half as many
    chunks are written sooner. Where all shapes differ in the first axis alone, there are few, and all are kept.
    """
    shapes = tuple(shapes)
    alike: dict[tuple[int, ...], list[Shape]] = {}
    for shape in shapes:
        alike.setdefault(shape.chunks[1:], []).append(shape)
    if len(alike) == 1:
        return shapes
    best = []
    for some in alike.values():
        least = min(s.costs.overall for s in some)
        best.append(max((s for s in some if s.costs.overall <= least * (1 + NEAR)), key=lambda s: s.chunks[0]))
    return tuple(best)


def text(shape: tuple[int, ...]) -> str:
    """``30000x2``."""
    return "x".join(map(str, shape))


def parse_chunks(asked: str) -> tuple[str, tuple[int, ...]]:
    """Read ``ElectricalSeries=30000x2``: the name of a dataset and a chunk shape.

    Raises
    ------
    BadRequest
        If it is not of that form.
    """
    name, _, shape = asked.rpartition("=")
    parts = shape.split("x")
    if not name or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise BadRequest(f"no chunk shape in {asked!r}", remedy="write NAME=30000x2, like ElectricalSeries=30000x2")
    return name, tuple(map(int, parts))


def count_of(shape: tuple[int, ...], chunks: tuple[int, ...]) -> int:
    """Count the chunks of a dataset."""
    return prod(ceil(n / c) for n, c in zip(shape, chunks, strict=True))


def _signals(shape: tuple[int, ...], itemsize: int, rate_hz: float | None, limits: Limits) -> Iterator[tuple[int, ...]]:
    samples, channels = shape
    width = 1
    while True:
        for length in _lengths(samples, width * itemsize, rows_of_a_second(shape, rate_hz), limits):
            yield (length, width)
        if width == channels:
            return
        width = min(2 * width, channels)


def _frames(shape: tuple[int, ...], itemsize: int, rate_hz: float | None, limits: Limits) -> Iterator[tuple[int, ...]]:
    row = prod(shape[1:]) * itemsize
    if row <= limits.most_bytes:
        for length in _lengths(shape[0], row, rows_of_a_second(shape, rate_hz), limits):
            yield (length, *shape[1:])
        return
    for target in _targets(limits):
        yield default_chunks(shape, itemsize, target)[0]


def _lengths(length: int, row_bytes: int, second: int, limits: Limits) -> Iterator[int]:
    """Lengths of a chunk whose rows have so many bytes."""
    step = limits.whole_bytes // gcd(limits.whole_bytes, row_bytes)
    for rows in (*(round(second * s) for s in SECONDS), *(t // row_bytes for t in _targets(limits))):
        rows = max(1, min(rows, length))
        whole = step if _STEPS * step <= rows < length else 1
        rows -= rows % whole
        count = ceil(length / rows)
        yield whole * ceil(length / (count * whole)) if count * rows > PADDED * length else rows


def _targets(limits: Limits) -> Iterator[int]:
    target = limits.most_bytes
    while target >= limits.least_bytes:
        yield target
        target //= 2
    yield limits.least_bytes * 5 // 4  # a band or an even part of it is still no smaller than the least
