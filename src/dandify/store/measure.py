"""Chooses chunk shape and encoder of a dataset together, by what samples of it become in each shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.store.choose import PIECE_BYTES, PIECES, Chosen, pieces_of
from dandify.store.encode import Bytes, Encoder, encoded_bytes
from dandify.store.pipeline import read_values
from dandify.store.plan import NOTHING, ChunkPlan, left_of, needed_bytes, plan_dataset, row_of
from dandify.store.readcost import USUAL_CHANNELS, usual_chunks
from dandify.store.region import Blocks, Region, grid
from dandify.store.shapes import HDF5_LIMITS, Limits, Shape, best_lengths, quick, shapes_of, text

CLOSE = 0.02  # of the size: shapes that are this near to the smallest count as equal, and the fastest to read is taken
LEAST_SAMPLE_BYTES = 64 * 1024
SHARE = 4  # samples are no more than one of so many bytes, down to the least: a small dataset costs 10 ms, not 50
INDEX_BYTES = 40  # of a chunk in HDF5's tables: 38 measured
USUAL_SAMPLE_BYTES = 131_072  # of each sample: what neuroconv's gzip makes of them says how fast its file is read
FIRST_LOOK = 4  # shapes are compared with the encoder of a quarter of the samples
TURNS = 2  # shape by encoder, encoder by shape: the second turn seldom changes anything

Choose = Callable[[Sequence[Bytes]], Encoder]
"""Gives the encoder for a dataset that these are pieces of."""


@dataclass(frozen=True)
class Measured:
    """A chunk plan, the encoder that it was measured with, and what they promise.

    Attributes
    ----------
    plan
        How the dataset is cut.
    encoder
        How its chunks are encoded.
    ratio
        Raw bytes for each stored byte, of the samples.
    """

    plan: ChunkPlan
    encoder: Encoder
    ratio: float

    @property
    def estimated_bytes(self) -> int:
        """Size of the chunks, as far as the samples tell."""
        return round(self.plan.raw_bytes / self.ratio)


def measure(
    source: Blocks,
    dtype: np.dtype[Any],
    choose: Choose,
    *,
    memory_bytes: int,
    workers: int,
    rate_hz: float | None = None,
    limits: Limits = HDF5_LIMITS,
    usual: tuple[int, ...] | None = None,
    chunks: tuple[int, ...] | None = None,
    asked: str = "as the data's DataIO asks for",
    name: str = "the dataset",
    reserved: Fraction = NOTHING,
) -> Measured:
    """Read a few samples, encode them in every shape that keeps to the limits, and take the smallest.

    Three pieces of half a megabyte are read, less of a small dataset, once. The same samples give the same plan on
    every machine.

    Parameters
    ----------
    source
        Of the values; no axis of length 0.
    dtype
        As stored.
    choose
        Picks an encoder by pieces of the dataset.
    memory_bytes, workers
        As for `plan_dataset`.
    rate_hz
        Samples or frames a second, where known.
    limits
        For shapes.
    usual
        Chunks that time to read is compared with; `usual_chunks` by default.
    chunks
        A shape that somebody asked for. It is kept, and only the encoder is chosen.
    asked
        Who did, for the plan's reason.
    name
        For errors.
    reserved
        As for `plan_dataset`.

    Raises
    ------
    BadRequest
        If the memory does not suffice; names the least that would.
    BadSource
        If the source cannot be read.
    """
    shape, itemsize = source.shape, dtype.itemsize

    def planned(chosen: tuple[int, ...] | None, reason: str) -> ChunkPlan:
        return plan_dataset(
            shape, dtype, memory_bytes=memory_bytes, workers=workers, block=source.block, chunks=chosen, reason=reason,
            name=name, reserved=reserved,
        )  # fmt: skip

    possible: tuple[Shape, ...] = ()
    samples: list[NDArray[Any]] = []
    if chunks is None:
        samples = [read_values(source, region, dtype, name) for region in sample_regions(shape, itemsize)]
        possible = shapes_of(
            shape, itemsize, rate_hz=rate_hz, limits=limits, usual=usual,
            usual_ratio=_usual_ratio(samples) if limits.deflated else None,
        )  # fmt: skip
    most = left_of(memory_bytes, reserved)
    fitting = tuple(s for s in possible if needed_bytes(row_of(shape, s.chunks), s.chunks, itemsize, workers) <= most)
    if not fitting:  # somebody asked, or the memory is too small for whole rows of any chunk
        plan = planned(chunks, asked if chunks is not None else "")
        pieces = pieces_of(source, plan, name=name)
        encoder = choose(pieces)
        return Measured(plan, encoder, _ratio(pieces, encoder, itemsize))
    shapes = best_lengths(quick(fitting, limits))
    raw = sum(s.nbytes for s in samples)
    best, encoder, ratios = _smallest(shapes, samples, choose, itemsize, prod(shape))
    reason = _reason(
        usual or usual_chunks(shape, itemsize), limits, best, ratios, raw, scarce=len(fitting) < len(possible)
    )
    return Measured(planned(best.chunks, reason), encoder, _ratio(cut(samples, best.chunks), encoder, itemsize))


def sample_bytes(raw_bytes: int) -> int:
    """Size of one of the samples of a dataset of so many bytes."""
    return min(PIECE_BYTES, max(LEAST_SAMPLE_BYTES, raw_bytes // (SHARE * PIECES)))


def sample_regions(shape: tuple[int, ...], itemsize: int) -> Iterator[Region]:
    """Regions that are measured: at the beginning, in the middle and at the end, half a megabyte each at most.

    Of signals, as many channels as the widest of neuroconv's chunks, the first, middle and last ones; of frames, whole
    frames or a band of one.
    """
    part, budget = list(shape), max(1, sample_bytes(prod(shape) * itemsize) // itemsize)
    if len(shape) == 2:
        part[1] = min(shape[1], USUAL_CHANNELS)
        part[0] = min(shape[0], max(1, budget // part[1]))
    else:
        for axis in range(len(part)):
            part[axis] = max(1, min(part[axis], budget // prod(part[axis + 1 :])))
    seen = set()
    for k in range(PIECES):
        starts = tuple((n - p) * k // (PIECES - 1) for n, p in zip(shape, part, strict=True))
        if starts not in seen:
            seen.add(starts)
            yield tuple(slice(s, s + p) for s, p in zip(starts, part, strict=True))


def _usual_ratio(samples: Sequence[NDArray[Any]]) -> float:
    """Raw bytes for each stored byte of neuroconv's gzip: without shuffle, and near enough to zlib's level 4."""
    from deflate import zlib_compress

    parts = [sample.reshape(-1).view(np.uint8)[:USUAL_SAMPLE_BYTES] for sample in samples]
    return sum(part.size for part in parts) / max(1, sum(len(zlib_compress(part, 4)) for part in parts))


def cut(samples: Sequence[NDArray[Any]], chunks: tuple[int, ...]) -> list[Bytes]:
    """Cut samples as chunks of a shape would be, each piece contiguous."""
    return [
        np.ascontiguousarray(sample[region]).reshape(-1).view(np.uint8)
        for sample in samples
        for _, region in grid(sample.shape, tuple(min(c, n) for c, n in zip(chunks, sample.shape, strict=True)))
    ]


def _smallest(
    shapes: Sequence[Shape], samples: Sequence[NDArray[Any]], choose: Choose, itemsize: int, values: int
) -> tuple[Shape, Encoder, dict[Shape, float]]:
    """Give the shape, the encoder chosen for it, and the ratio of each shape with that encoder."""
    best, ratios = shapes[0], dict[Shape, float]()
    first_look = [piece[: -(-piece.size // itemsize // FIRST_LOOK) * itemsize] for piece in cut(samples, best.chunks)]
    encoder = choose(first_look if len(shapes) > 1 else cut(samples, best.chunks))
    shape_bytes = values * itemsize
    for _ in range(TURNS if len(shapes) > 1 else 0):
        ratios = _ratios(shapes, samples, encoder, itemsize)
        sizes = {
            s: shape_bytes / r + shape_bytes / (prod(s.chunks) * itemsize) * INDEX_BYTES for s, r in ratios.items()
        }
        least = min(sizes.values())
        best = min((s for s in shapes if sizes[s] <= least * (1 + CLOSE)), key=lambda s: s.costs.overall)
        before, encoder = encoder, choose(cut(samples, best.chunks))
        if _kind(encoder) == _kind(before):
            break
    return best, encoder, ratios


def _ratios(
    shapes: Sequence[Shape], samples: Sequence[NDArray[Any]], encoder: Encoder, itemsize: int
) -> dict[Shape, float]:
    """Encode the samples in each shape, in threads."""

    def ratio(shape: Shape) -> float:
        pieces = cut(samples, shape.chunks)
        return _ratio(pieces, _suited(encoder, pieces, itemsize), itemsize)

    with ThreadPoolExecutor(thread_name_prefix="dandify-measure") as pool:
        return dict(zip(shapes, pool.map(ratio, shapes), strict=True))


def _ratio(pieces: Sequence[Bytes], encoder: Encoder, itemsize: int) -> float:
    return sum(p.size for p in pieces) / max(1, encoded_bytes(encoder, pieces, itemsize))


def _suited(encoder: Encoder, pieces: Sequence[Bytes], itemsize: int) -> Encoder:
    return encoder.suited(pieces, itemsize) if isinstance(encoder, Chosen) else encoder


def _kind(encoder: Encoder) -> str:
    return encoder.encoder.name if isinstance(encoder, Chosen) else encoder.name


def _reason(
    usual: tuple[int, ...], limits: Limits, best: Shape, ratios: dict[Shape, float], raw: int, *,
    scarce: bool,
) -> str:  # fmt: skip
    """Say in a sentence what was allowed, what was measured, and why this shape."""
    slower = best.costs.worst > limits.slowest
    within = (
        f"chunks of {limits}, read {'as little slower as can be' if slower else 'no slower'} than neuroconv's "
        f"{text(usual)} ({best.costs} of its time)"
    )
    if len(ratios) < 2:
        return f"{within}: {text(best.chunks)} is {'all that fits the memory' if scarce else 'read fastest'}"
    tried = ", ".join(f"{text(s.chunks)} {r:.2f}" for s, r in sorted(ratios.items(), key=lambda p: -p[1]))
    most = max(ratios.values())
    why = "the smallest" if ratios[best] == most else f"read fastest of those within {CLOSE:.0%} of the smallest"
    fits = "; other shapes do not fit the memory" if scarce else ""
    return f"{within}: on {raw / 1e6:.1f} MB of samples {tried}; {text(best.chunks)} is {why}{fits}"
