"""Encoders of HDF5's shuffle and deflate filters: libdeflate, zlib-ng, and byte planes coded one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dandify.kernels.literals import code_literals
from dandify.kernels.planar import SEGMENT, align_state, bound, code_plane, finish
from dandify.kernels.repeats import code_repeats
from dandify.kernels.shuffle import shuffle, shuffle_chunks
from dandify.kernels.two_symbols import code_two_symbols
from dandify.kernels.ways import HEADER, code_chunks
from dandify.store.encode import Bytes, scratch
from dandify.store.plan import TOGETHER_BYTES
from dandify.store.plane_ways import (
    FEW_BITS,
    LEAST,
    LOOKED_AT,
    Known,
    Literals,
    Repeats,
    Runs,
    Table,
    TwoSymbols,
    Way,
    Weighed,
    by_isal,
    sample_plane,
    sum_up,
    way_of,
    weigh,
)

_LEARNT = 8  # pieces, at most, that an encoder learns from
LEARNT_ITEMSIZES = (2, 4)  # samples of acquisition systems, and single floats


@dataclass(frozen=True)
class Libdeflate:
    """libdeflate: smaller than zlib at the same level, in a half or a third of the time.

    Parameters
    ----------
    level
        1 to 12.
    shuffled
        Sort bytes into planes before.
    """

    level: int = 1
    shuffled: bool = True
    library: ClassVar[str] = "libdeflate"

    @property
    def name(self) -> str:
        """In words."""
        return f"{'shuffle+' if self.shuffled else ''}gzip (libdeflate {self.level})"

    def encode(self, raw: Bytes, itemsize: int) -> bytes:
        """Encode a chunk."""
        from deflate import zlib_compress

        return bytes(zlib_compress(planes_of(raw, itemsize) if self.shuffled else raw, self.level))


@dataclass(frozen=True)
class ZlibNg:
    """zlib-ng, the successor of zlib.

    Parameters
    ----------
    level
        1 to 9.
    shuffled
        Sort bytes into planes before.
    """

    level: int = 2
    shuffled: bool = True
    library: ClassVar[str] = "zlib-ng"

    @property
    def name(self) -> str:
        """In words."""
        return f"{'shuffle+' if self.shuffled else ''}gzip (zlib-ng {self.level})"

    def encode(self, raw: Bytes, itemsize: int) -> bytes:
        """Encode a chunk."""
        from zlib_ng import zlib_ng

        return bytes(zlib_ng.compress(planes_of(raw, itemsize) if self.shuffled else raw, self.level))


@dataclass(frozen=True)
class Planar:
    """Each byte plane in blocks of its own, coded as a sample of it suggests.

    Recordings are noise in their low bytes, which no match search makes smaller, and nearly nothing in the high ones.
    A plane gets Huffman codes alone, or with runs that repeat what lies one sample or one period before, or, of
    few symbols, what occurred anywhere in the window; where the match search of ISA-L or zlib-ng finds more, their
    blocks are put in place.

    Parameters
    ----------
    shuffled
        Sort bytes into planes before; else the chunk counts as one plane.
    thorough
        Take zlib-ng for whatever becomes smaller by it.
    known
        The ways worth trying for each plane, see `learnt`; all are tried where there are none.
    """

    shuffled: bool = True
    thorough: bool = False
    known: tuple[Known, ...] = ()

    @property
    def name(self) -> str:
        """In words."""
        return f"{'shuffle+' if self.shuffled else ''}gzip (planar{', thorough' if self.thorough else ''})"

    def learnt(self, pieces: Sequence[Bytes], itemsize: int) -> Planar:
        """Give an encoder that tries, for each plane, what pays on these pieces, and always runs and none.

        To try all ways takes longer than to code a chunk of a hundred kilobytes. Those that cost more must save so
        much of all that is stored that one would choose them for it. Timestamps and doubles learn nothing: their planes
        are not the same all along a file, and they are few.

        Parameters
        ----------
        pieces
            Raw bytes of parts of chunks, each (bytes,) and contiguous.
        itemsize
            Bytes of an element.
        """
        if self.thorough or itemsize not in LEARNT_ITEMSIZES or not any(piece.size >= itemsize for piece in pieces):
            return self
        width = itemsize if self.shuffled else 1
        weighed: list[list[Weighed]] = [[] for _ in range(width)]
        some = sorted({(len(pieces) - 1) * k // (_LEARNT - 1) for k in range(_LEARNT)})
        for piece in (pieces[i] for i in some):
            for k, plane in enumerate(planes_of(piece, width).reshape(width, -1)):
                weighed[k].append(weigh(plane, sample_plane(plane), self.thorough))
        stored = sum(min(w.plain(0), w.matched) for plane in weighed for w in plane)
        return replace(self, known=tuple(sum_up(plane, stored) for plane in weighed))

    def encode(self, raw: Bytes, itemsize: int) -> bytes:
        """Encode a chunk."""
        return self.encode_many(raw.reshape(1, -1), itemsize)[0]

    def encode_many(self, chunks: Bytes, itemsize: int) -> list[bytes]:
        """Encode chunks, (chunks, bytes), several in one call: small ones would wait for the GIL most of the time."""
        width = itemsize if self.shuffled else 1
        judged = any(known.others and not known.settled for known in self.known)  # plane by plane, on a sample
        if judged or chunks.shape[1] < width or len(self.known) != width:
            return [self._plane_by_plane(raw, width) for raw in chunks]
        together = max(1, TOGETHER_BYTES // max(1, chunks.shape[1]))
        done: list[bytes] = []
        for start in range(0, len(chunks), together):
            done.extend(self._together(chunks[start : start + together], width))
        return done

    def _together(self, chunks: Bytes, width: int) -> Iterator[bytes]:
        """Encode chunks as what is known says, in one call that holds no GIL."""
        count, size, table = len(chunks), chunks.shape[1] // width, self._table
        planes = chunks.reshape(count, width, size)
        if width > 1:
            planes = scratch("planes", chunks.size).reshape(count, width, size)
            shuffle_chunks(chunks, width, planes)
        given = [by_isal(planes[n, k]) if self.known[k].settled else b"" for n in range(count) for k in range(width)]
        ends = np.cumsum([len(blocks) for blocks in given]).reshape(count, width)
        out = scratch("deflated", bound(size) * width * count).reshape(count, -1)
        lengths = np.empty(count, np.int64)
        blocks = np.frombuffer(b"".join(given), np.uint8)
        code_chunks(
            planes, table.ways, table.tried, table.expected(size), LOOKED_AT, FEW_BITS, blocks, ends, out, lengths
        )  # fmt: skip
        made = [out[n, :length].tobytes() for n, length in enumerate(lengths.tolist())]
        for raw, payload in zip(chunks, made, strict=True):  # none of what is unlike that which was learnt from
            yield payload or self._plane_by_plane(raw, width)

    def _plane_by_plane(self, raw: Bytes, width: int) -> bytes:
        """Encode a chunk, each plane as a sample of it suggests."""
        planes, size = planes_of(raw, width), raw.size // width
        out, state = scratch("deflated", bound(size) * width), np.zeros(3, np.uint64)
        out[:2], state[0] = HEADER, 2
        for k in range(width if size else 0):
            plane = planes[k * size : (k + 1) * size]
            known = self.known[k] if len(self.known) == width else None
            before = state.copy()
            way = by_isal if known and known.settled else way_of(plane, self.thorough, known)
            _code(plane, way, out, state)
            if known is not None and state[0] - before[0] > known.expected(size):
                better = way_of(plane, self.thorough)
                if better != way:
                    state[:] = before
                    _code(plane, better, out, state)
        finish(out, state)
        end = int(state[0])
        out[end : end + 4] = np.frombuffer(isal_zlib.adler32(planes).to_bytes(4, "big"), np.uint8)
        return out[: end + 4].tobytes()

    @cached_property
    def _table(self) -> Table:
        return Table(self.known)


def _code(plane: Bytes, way: Way, out: Bytes, state: NDArray[np.uint64]) -> None:
    """Append a plane's blocks to a stream."""
    if isinstance(way, Literals):
        code_literals(plane, way.block, out, state)
        return
    if isinstance(way, Runs):
        code_plane(plane, way.distance, way.least, out, state)
        return
    if isinstance(way, Repeats):
        code_repeats(plane, way.least, out, state)
        return
    if isinstance(way, TwoSymbols):
        if not code_two_symbols(plane, out, state):
            code_plane(plane, 1, LEAST[0], out, state)
        return
    blocks = np.frombuffer(way(plane), np.uint8)
    if blocks.size > plane.size:  # the sample was not like the plane
        code_literals(plane, SEGMENT, out, state)
        return
    align_state(out, state)
    start = int(state[0])
    out[start : start + blocks.size] = blocks
    state[0] = start + blocks.size


def planes_of(raw: Bytes, itemsize: int) -> Bytes:
    """Sort the bytes of a chunk into planes, in this thread's buffer."""
    if itemsize == 1:
        return raw
    planes = scratch("planes", raw.size)
    shuffle(raw, itemsize, planes)
    return planes
