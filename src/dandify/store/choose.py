"""Picks the encoder of an HDF5 dataset, and whether its bytes are shuffled, by what pieces of it become."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from dandify.store.deflate import Libdeflate, Planar
from dandify.store.encode import Bytes, Encoder, ShuffleGzip, encode_many, encoded_bytes
from dandify.store.pipeline import read_values
from dandify.store.plan import ChunkPlan
from dandify.store.region import Blocks, Region

PIECES = 3  # the first chunk, one in the middle, and the last full one
PIECE_BYTES = 512 * 1024  # of each of them: as good as all of it, and a dataset costs 50 ms
NEXT_TO_NOTHING = 0.02  # of the raw bytes: below, time decides, not size
ALIKE = 1.03  # of libdeflate 1's size: what no choice exceeds
WORTH = 0.03  # of the size: what an encoder of a slower class must save


class GzipEncoder(Encoder, Protocol):
    """An encoder of HDF5's deflate filter."""

    @property
    def shuffled(self) -> bool:
        """The shuffle filter comes before."""


@dataclass(frozen=True)
class Chosen:
    """An encoder, and why.

    Attributes
    ----------
    encoder
        What encodes.
    reason
        In words, with the sizes that decided.
    """

    encoder: GzipEncoder
    reason: str

    @property
    def shuffled(self) -> bool:
        """The shuffle filter must be declared."""
        return self.encoder.shuffled

    @property
    def name(self) -> str:
        """Encoder and reason, for the manifest."""
        return f"{self.encoder.name}: {self.reason}"

    @property
    def library(self) -> str:
        """Which library encodes, so that another can decode."""
        return str(getattr(self.encoder, "library", ""))

    def suited(self, pieces: Sequence[Bytes], itemsize: int) -> Encoder:
        """Give the same encoder as it would be for a dataset of these pieces."""
        if isinstance(self.encoder, Planar):
            return replace(self.encoder, known=()).learnt(pieces, itemsize)
        return self.encoder

    def encode(self, raw: Bytes, itemsize: int) -> bytes:
        """Encode a chunk."""
        return self.encoder.encode(raw, itemsize)

    def encode_many(self, chunks: Bytes, itemsize: int) -> list[bytes]:
        """Encode chunks, (chunks, bytes)."""
        return encode_many(self.encoder, chunks, itemsize)


# Classes of speed, the fastest first, as `benchmarks/bench_deflate.py` finds them on recordings, for one core: more
# than 300 MB/s (ISA-L, planar); 100 to 200 MB/s (libdeflate 1); less. They are stated and not timed at run time, so
# that the same data always become the same file.
Classes = tuple[tuple[type[ShuffleGzip] | type[Libdeflate] | type[Planar], dict[str, Any]], ...]
_FAST: Classes = ((Planar, {}), (ShuffleGzip, {"level": 1}))
_MEDIUM: Classes = ((Libdeflate, {"level": 1}), (Planar, {}))
_SMALL: Classes = ((Planar, {"thorough": True}), (Libdeflate, {"level": 6}), (Libdeflate, {"level": 9}))
OBJECTIVES: MappingProxyType[str, tuple[Classes, ...]] = MappingProxyType(
    {"gzip": (_FAST, _MEDIUM), "gzip:fast": (_FAST[1:],), "gzip:small": (_SMALL,)}
)
_Sized = tuple[int, int, GzipEncoder]  # class, bytes, encoder
_WORDS = MappingProxyType(
    {
        "gzip": f"smallest at 300 MB/s a core or more; slower ones must save {WORTH:.0%}",
        "gzip:fast": "the fastest",
        "gzip:small": "the smallest",
    }
)


def choose_encoder(pieces: Sequence[Bytes], itemsize: int, objective: str = "gzip") -> Chosen:
    """Encode pieces of a dataset in every way that the objective allows, and keep the best.

    Parameters
    ----------
    pieces
        Raw bytes of parts of chunks, each (bytes,) and contiguous; at least one.
    itemsize
        Bytes of an element.
    objective
        A key of `OBJECTIVES`.

    Returns
    -------
    Chosen
        The same for the same pieces, on every machine.
    """
    raw = sum(piece.size for piece in pieces)
    best: GzipEncoder | None = None
    least = 0
    classes = OBJECTIVES[objective]
    planned = [
        (step, kind, options, shuffled)
        for step, candidates in enumerate(classes)
        for shuffled in ((True, False) if itemsize > 1 else (False,))
        for kind, options in candidates
        # bytes of several planes in one are matched more than coded
        if kind is not Planar or itemsize == 1 or (step == 0) == shuffled or len(classes) == 1
    ]

    def attempt(task: tuple[int, type[ShuffleGzip] | type[Libdeflate] | type[Planar], dict[str, Any], bool]) -> _Sized:
        step, kind, options, shuffled = task
        encoder: GzipEncoder = kind(shuffled=shuffled, **options)
        if isinstance(encoder, Planar):
            encoder = encoder.learnt(pieces, itemsize)
        return step, encoded_bytes(encoder, pieces, itemsize), encoder

    with ThreadPoolExecutor(thread_name_prefix="dandify-choose") as pool:
        sized = list(pool.map(attempt, planned))
    for step in range(len(classes)):
        size, encoder = min(((n, e) for s, n, e in sized if s == step), key=lambda pair: pair[0])
        if best is None or size < least * (1 - WORTH * step):
            least, best = size, encoder
    assert best is not None  # every objective has a class
    words = _WORDS[objective]
    if objective == "gzip":
        yardstick = min((n for _, n, e in sized if isinstance(e, Libdeflate)))
        plain = [(n, e) for _, n, e in sized if isinstance(e, ShuffleGzip) and n <= NEXT_TO_NOTHING * raw]
        plain = [(n, e) for n, e in plain if n <= ALIKE * yardstick and (not e.shuffled or itemsize == 1)]
        if plain:  # bytes in order are runs that every reader copies at once; shuffled, they are undone one by one
            (least, best), words = (
                plain[0],
                f"fastest to write and read, and less than {NEXT_TO_NOTHING:.0%} all the same",
            )
    others = ", ".join(f"{_short(e)} {_ratio(raw, n)}" for _, n, e in sorted(sized, key=lambda p: p[1]) if e != best)
    return Chosen(best, f"{words}; {_ratio(raw, least)} of pieces" + (f", {others}" if others else ""))


def pieces_of(source: Blocks, plan: ChunkPlan, *, name: str) -> list[Bytes]:
    """Read parts of a few chunks, in the order that they have within these.

    Parameters
    ----------
    source
        Of the values.
    plan
        Of the dataset.
    name
        For errors.

    Raises
    ------
    BadSource
        If it cannot be read.
    """
    return [read_values(source, region, plan.dtype, name).reshape(-1).view(np.uint8) for region in piece_regions(plan)]


def piece_regions(plan: ChunkPlan) -> Iterable[Region]:
    """Regions that `pieces_of` reads: the beginning of the first, the middle and the last full chunk."""
    grid = [max(1, n // c) for n, c in zip(plan.shape, plan.chunks, strict=True)]  # full ones
    last = prod(grid) - 1
    numbers = sorted({last * k // (PIECES - 1) for k in range(PIECES)})
    part = _part(plan.chunks, plan.dtype.itemsize)
    for number in numbers:
        index = np.unravel_index(number, grid)
        starts = [int(i) * c for i, c in zip(index, plan.chunks, strict=True)]
        yield tuple(slice(s, min(s + p, n)) for s, p, n in zip(starts, part, plan.shape, strict=True))


def _part(chunks: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Shape of the beginning of a chunk, in C order, of at most `PIECE_BYTES`."""
    part, budget = list(chunks), max(1, PIECE_BYTES // itemsize)
    for axis in range(len(part)):
        others = prod(part[axis + 1 :])
        part[axis] = max(1, min(part[axis], budget // others))
        if part[axis] > 1:
            break
    return tuple(part)


def _short(encoder: GzipEncoder) -> str:
    return encoder.name.replace("gzip (", "").rstrip(")")


def _ratio(raw: int, size: int) -> str:
    return f"{raw / size:.3f}"
