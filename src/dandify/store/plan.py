"""The chunk plan of one dataset: chunk shape, reading order, and the memory that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, prod

import numpy as np
from numpy.typing import DTypeLike

from dandify.errors import BadRequest
from dandify.store.region import Region, grid

TARGET_BYTES = 4_000_000  # raw chunk: large enough for one request of a cloud reader, small enough for a cache
LEAST_BYTES = 64_000  # below that, the number of chunks costs more than it saves
SIGNAL_CHANNELS = 64  # channels of a chunk: what a viewer shows at once
READ_BYTES = 8_000_000  # one read of the source, where memory allows
MOST_READ_BYTES = 64_000_000
GROUP_BYTES = 2_000_000  # neighbouring chunks of one task: small ones would cost more than they hold
TOGETHER_BYTES = 1_000_000  # of these, what is encoded in one call: it stays in a core's cache
NOTHING = Fraction(0)  # of the memory
FIXED_BYTES = 8_000_000  # stacks of the threads, tables of the encoders, records of the chunks


@dataclass(frozen=True)
class ChunkPlan:
    """How one dataset is cut, read and checked.

    Attributes
    ----------
    shape, dtype
        Of the dataset.
    chunks
        Shape of a chunk; at most the shape.
    slab
        What is read at one go: whole chunks, clipped at the edges.
    in_order
        Slabs, one after another, are the values in C order, so that their checksum can be taken while they are read.
    reason
        Why this shape, in words.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    chunks: tuple[int, ...]
    slab: tuple[int, ...]
    in_order: bool
    reason: str

    @property
    def raw_bytes(self) -> int:
        """Size of the values."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Size of a full chunk."""
        return prod(self.chunks) * self.dtype.itemsize

    @property
    def slab_bytes(self) -> int:
        """Size of a full slab."""
        return prod(self.slab) * self.dtype.itemsize

    @property
    def count(self) -> int:
        """Number of chunks."""
        return prod(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    def slabs(self) -> Iterator[Region]:
        """Regions to read, in reading order."""
        return (region for _, region in grid(self.shape, self.slab))

    def chunks_of(self, slab: Region) -> Iterator[tuple[tuple[int, ...], Region]]:
        """Chunks that lie in a slab, in C order: index in the dataset's grid, and region within the slab."""
        first = tuple(s.start // c for s, c in zip(slab, self.chunks, strict=True))
        lengths = tuple(s.stop - s.start for s in slab)
        for index, region in grid(lengths, self.chunks):
            yield tuple(i + f for i, f in zip(index, first, strict=True)), region


def plan_dataset(
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    memory_bytes: int,
    workers: int,
    block: tuple[int, ...] | None = None,
    chunks: tuple[int, ...] | None = None,
    reason: str = "as the data's DataIO asks for",
    name: str = "the dataset",
    reserved: Fraction = NOTHING,
) -> ChunkPlan:
    """Choose chunks and slabs that fit into the memory.

    Parameters
    ----------
    shape, dtype
        Of the dataset; no axis of length 0.
    memory_bytes
        Cap for all that the engine holds at one time.
    workers
        Encoding threads.
    block
        What the source yields at one go; slabs are made at least as long, where memory allows.
    chunks
        A chunk shape that somebody asked for. It is kept, clipped to the shape.
    reason
        Why that shape.
    name
        For the error.
    reserved
        Share of the memory that is not for this.

    Raises
    ------
    BadRequest
        If the memory does not suffice; names the least that would.
    """
    kind, whole_bytes = np.dtype(dtype), memory_bytes
    memory_bytes = left_of(memory_bytes, reserved)
    if chunks is not None:
        given = tuple(max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True))
        candidates = [(given, reason)]
    else:
        candidates = [default_chunks(shape, kind.itemsize, target) for target in _halved(TARGET_BYTES, LEAST_BYTES)]
    for chosen, why in candidates:
        row = row_of(shape, chosen)
        if needed_bytes(row, chosen, kind.itemsize, workers) <= memory_bytes:
            slab = _grow(row, shape, chosen, kind.itemsize, workers, memory_bytes, block)
            return ChunkPlan(shape, kind, chosen, slab, in_order=True, reason=why)
    for chosen, why in candidates:
        least = needed_bytes(chosen, chosen, kind.itemsize, workers)
        if least <= memory_bytes:
            return ChunkPlan(shape, kind, chosen, chosen, in_order=False, reason=f"{why}; read chunk by chunk to fit")
    enough = ceil(least / (1 - reserved) / 1e6)
    raise BadRequest(
        f"{name} needs {enough} MB of memory with chunks {chosen} and {workers} worker(s), "
        f"and {whole_bytes / 1e6:g} MB are allowed",
        remedy=f"allow at least {enough}MB (--memory), or fewer workers",
    )


def left_of(memory_bytes: int, reserved: Fraction) -> int:
    """Give what is left of the memory where a share of it is for something else."""
    return int(memory_bytes * (1 - reserved))


def needed_bytes(slab: tuple[int, ...], chunks: tuple[int, ...], itemsize: int, workers: int) -> int:
    """Memory for one dataset: slabs being read, being encoded and being hashed; buffers and results of the workers.

    A source may need a second copy of a slab while it reads it (a type change, a transposition), so a slab counts four
    times. A worker holds gathered chunks, the planes of some, the encoder's output, which grows by doubling, and what
    that decodes to.
    """
    slab_bytes, chunk_bytes = prod(slab) * itemsize, prod(chunks) * itemsize
    group_bytes = most_grouped(slab_bytes, chunk_bytes) * chunk_bytes
    together = max(chunk_bytes, min(group_bytes, TOGETHER_BYTES))
    return FIXED_BYTES + 4 * slab_bytes + 3 * workers * together + (2 * workers + queue_depth(workers)) * group_bytes


def most_grouped(slab_bytes: int, chunk_bytes: int) -> int:
    """Count the chunks that a worker takes at one time: up to `GROUP_BYTES`, and to an eighth of a slab."""
    return max(1, min(GROUP_BYTES, slab_bytes // 8) // chunk_bytes)


def queue_depth(workers: int) -> int:
    """Count the groups of chunks that may wait for the writer."""
    return 2 * workers + 1


def default_chunks(shape: tuple[int, ...], itemsize: int, target: int = TARGET_BYTES) -> tuple[tuple[int, ...], str]:
    """Chunk shape where nobody asked for one, and why.

    (samples,) and (samples, channels) are signals: up to 64 channels and as many samples as the target allows. More
    axes are frames: whole frames, or bands of one frame where a frame is larger than the target. Chunks are made even,
    so that the last of an axis is not mostly padding.
    """
    budget = max(1, target // itemsize)
    if len(shape) == 2:
        channels = _even(shape[1], min(SIGNAL_CHANNELS, budget))
        return (_even(shape[0], budget // channels), channels), "signals: up to 64 channels, about 4 MB"
    chosen: list[int] = []
    for length in reversed(shape):
        part = _even(length, budget)
        chosen.insert(0, part)
        budget = budget // part if part == length else 1
    frames = len(shape) < 2 or chosen[1:] == list(shape[1:])
    return tuple(chosen), "whole frames, about 4 MB" if frames else "bands of a frame, about 4 MB"


def row_of(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Smallest slab of whole chunks whose sequence is C order: one chunk on the first axis that is cut."""
    first = next((i for i, c in enumerate(chunks) if c > 1), len(chunks) - 1)
    return (*chunks[: first + 1], *shape[first + 1 :])


def _grow(
    slab: tuple[int, ...], shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int, workers: int,
    memory_bytes: int, block: tuple[int, ...] | None,
) -> tuple[int, ...]:  # fmt: skip
    """Lengthen a slab to `READ_BYTES`, and to the source's block, as far as memory goes."""
    wanted = min(MOST_READ_BYTES, max(READ_BYTES, prod(block) * itemsize if block else 0))
    best = slab
    axis = next((i for i, c in enumerate(chunks) if c > 1), len(chunks) - 1)
    while axis >= 0:
        others = prod(best) // best[axis] * itemsize
        times = max(1, ceil(wanted / (others * chunks[axis])))
        while times > 1:
            longer = (*best[:axis], min(shape[axis], times * chunks[axis]), *best[axis + 1 :])
            if needed_bytes(longer, chunks, itemsize, workers) <= memory_bytes:
                best = longer
                break
            times //= 2
        if best[axis] < shape[axis]:
            break
        axis -= 1
    return best


def _even(length: int, most: int) -> int:
    """Part of an axis, at most ``most``, such that the last part is nearly as long as the others."""
    most = max(1, min(length, most))
    return -(-length // -(-length // most))


def _halved(value: int, least: int) -> Iterator[int]:
    while value >= least:
        yield value
        value //= 2
