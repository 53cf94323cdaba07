"""Encoders of HDF5's shuffle and deflate filters: libdeflate, zlib-ng, and byte planes coded one by one."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, cast

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dandify.kernels.literals import code_literals, literal_bits
from dandify.kernels.planar import SEGMENT, WINDOW, align_state, bound, code_plane, estimate, find_period, finish
from dandify.kernels.repeats import code_repeats
from dandify.kernels.shuffle import shuffle, shuffle_chunks
from dandify.kernels.two_symbols import code_two_symbols
from dandify.kernels.ways import code_chunks, sample_of
from dandify.store.encode import Bytes, scratch
from dandify.store.plan import TOGETHER_BYTES

FARTHEST_PERIOD = 1024  # channels of a chunk, or so
SAMPLED = (8192, 73_728)  # bytes of a plane that its way of coding is decided on: an eighth of it, within these
LOOKED_AT = (4096, 16_384)  # the same, where it is known which ways pay
MATCHED_GAIN = 0.985  # what ISA-L must leave of a plane's size
TWO_GAIN = 0.985  # what repeats of two symbols must leave: they are as fast as runs
SHORTER_GAIN = 0.985  # what shorter blocks of literals must leave of those before
REPEATS_GAIN = 0.93  # what repeats must leave: they take twice as long, and are judged on one stretch
HINT = 0.95  # of Huffman codes alone: where runs and ISA-L hardly gain, zlib-ng is not even tried
SEARCHED_GAIN = 0.85  # what zlib-ng must leave of the best other size,
SEARCHED_SAVES = 0.01  # or save of the plane's bytes: it takes two to four times as long
# Of all that is stored, what each must save on pieces. ISA-L takes 1 to 4 ns a symbol, literals 0.5; another 1.4 in
# blocks of 8,192, and 0.6 more in blocks of 4,096.
SHORTER_SAVES, MATCHED_SAVES, TWO_SAVES, REPEATS_SAVES, SEARCHED_GAINS = 0.03, 0.015, 0.01, 0.03, 0.03
SPARSE, SPARSE_COSTS = 0.06, 0.015  # bytes of a symbol below which ISA-L is fastest, and what that may cost
_LEARNT = 8  # pieces, at most, that an encoder learns from
LEARNT_ITEMSIZES = (2, 4)  # samples of acquisition systems, and single floats
UNLIKE = 1.03  # so much more than on the pieces, and a plane is weighed anew
_HEADER = (0x78, 0x01)  # window of 32 KiB, fastest; RFC 1950
_LEAST = (8, 12, 16, 32)
_REPEATS = (13, 16)
_BLOCKS = (SEGMENT, 8192, 4096)  # of literals: the first and longer, where statistics hold; shorter, where they change
_MOST_RUNS = 2
_FILLED = 49_152  # bytes behind a full window on which repeats are judged
FEW_BITS = (0.05, 2.5)  # of a symbol: repeats are looked for above the first with runs, below the second without


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
    known: tuple[_Known, ...] = ()

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
        weighed: list[list[_Weighed]] = [[] for _ in range(width)]
        some = sorted({(len(pieces) - 1) * k // (_LEARNT - 1) for k in range(_LEARNT)})
        for piece in (pieces[i] for i in some):
            for k, plane in enumerate(planes_of(piece, width).reshape(width, -1)):
                weighed[k].append(_weigh(plane, _sample(plane), self.thorough))
        stored = sum(min(w.plain(0), w.matched) for plane in weighed for w in plane)
        return replace(self, known=tuple(_known(plane, stored) for plane in weighed))

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
        given = [_matched(planes[n, k]) if self.known[k].settled else b"" for n in range(count) for k in range(width)]
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
        out[:2], state[0] = _HEADER, 2
        for k in range(width if size else 0):
            plane = planes[k * size : (k + 1) * size]
            known = self.known[k] if len(self.known) == width else None
            before = state.copy()
            way = _matched if known and known.settled else _way(plane, self.thorough, known)
            _code(plane, way, out, state)
            if known is not None and state[0] - before[0] > known.expected(size):
                better = _way(plane, self.thorough)
                if better != way:
                    state[:] = before
                    _code(plane, better, out, state)
        finish(out, state)
        end = int(state[0])
        out[end : end + 4] = np.frombuffer(isal_zlib.adler32(planes).to_bytes(4, "big"), np.uint8)
        return out[: end + 4].tobytes()

    @cached_property
    def _table(self) -> _Table:
        return _Table(self.known)


def _code(plane: Bytes, way: _Way, out: Bytes, state: NDArray[np.uint64]) -> None:
    """Append a plane's blocks to a stream."""
    if isinstance(way, _Literals):
        code_literals(plane, way.block, out, state)
        return
    if isinstance(way, _Runs):
        code_plane(plane, way.distance, way.least, out, state)
        return
    if isinstance(way, _Repeats):
        code_repeats(plane, way.least, out, state)
        return
    if isinstance(way, _TwoSymbols):
        if not code_two_symbols(plane, out, state):
            code_plane(plane, 1, _LEAST[0], out, state)
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


@dataclass(frozen=True)
class _Literals:
    """Huffman codes alone, in blocks of so many symbols."""

    block: int = SEGMENT


@dataclass(frozen=True, order=True)
class _Runs:
    """Distance and least length of the runs of a plane."""

    distance: int
    least: int


_ALWAYS = (_Runs(1, _LEAST[0]),)


@dataclass(frozen=True)
class _Repeats:
    """Least length of the repeats of a plane."""

    least: int


@dataclass(frozen=True)
class _TwoSymbols:
    """Repeats of two symbols."""


_Way = _Literals | _Runs | _Repeats | _TwoSymbols | Callable[[Bytes], bytes]


@dataclass(frozen=True)
class _Known:
    """Ways that are worth trying for the planes of one number.

    Attributes
    ----------
    block
        Symbols of a block of literals, which are always tried.
    runs
        Some of these; runs of one symbol among them.
    repeats
        What planes of few symbols get, untried.
    others
        Match searches to try.
    most
        What a byte became at most on the pieces, in bytes.
    settled
        ISA-L's match search won on every piece, or is fastest where hardly anything is left: nothing else is tried.
    """

    block: int
    runs: tuple[_Runs, ...]
    repeats: _Repeats | _TwoSymbols | None
    others: tuple[Callable[[Bytes], bytes], ...]
    most: float
    settled: bool = False

    @cached_property
    def distances(self) -> NDArray[np.int64]:
        """Distances of the runs, (ways,)."""
        return np.array([run.distance for run in self.runs])

    @cached_property
    def leasts(self) -> NDArray[np.int64]:
        """Least lengths of the runs, (ways,)."""
        return np.array([run.least for run in self.runs])

    def expected(self, size: int) -> float:
        """Bytes that a plane should not exceed; one that does is unlike the pieces."""
        return (UNLIKE * self.most + UNLIKE - 1) * size


class _Table:
    """What is known of all planes, as `code_chunks` takes it."""

    def __init__(self, known: Sequence[_Known]) -> None:
        self.tried = np.zeros((len(known), 2, max(len(k.runs) for k in known)), np.int64)
        self.ways = np.zeros((len(known), 4), np.int64)
        self._known = known
        for number, k in enumerate(known):
            least = k.repeats.least if isinstance(k.repeats, _Repeats) else 0
            two = isinstance(k.repeats, _TwoSymbols)
            self.ways[number] = -1 if k.settled else k.block, least, two, len(k.runs)
            self.tried[number, 0, : len(k.runs)], self.tried[number, 1, : len(k.runs)] = k.distances, k.leasts

    def expected(self, size: int) -> NDArray[np.float64]:
        """Bytes that planes of so many should not exceed."""
        return np.array([k.expected(size) for k in self._known], np.float64)


def _known(weighed: Sequence[_Weighed], stored: float) -> _Known:
    """Sum up what pieces say: what each way saves of all that is stored, over those that are faster."""
    runs = Counter(w.runs[1] for w in weighed if w.runs and w.runs[0] < np.inf)
    kept = dict.fromkeys((*_ALWAYS, *(way for way, _ in runs.most_common(_MOST_RUNS))))
    block, best = 0, [w.plain(0) for w in weighed]
    for k in range(1, len(_BLOCKS)):
        lesser = [w.plain(k) for w in weighed]
        if sum(best) - sum(lesser) > SHORTER_SAVES * (k - block) * stored:
            block, best = k, lesser
    others: list[Callable[[Bytes], bytes]] = []
    lesser = [min(b, w.matched) for b, w in zip(best, weighed, strict=True)]
    if sum(best) - sum(lesser) > MATCHED_SAVES * stored:
        best = lesser
        others.append(_matched)
    lesser = [min(b, w.repeats[0]) if w.repeats else b for b, w in zip(best, weighed, strict=True)]
    repeats = None
    if found := Counter(w.repeats[1] for w in weighed if w.repeats):
        likely = found.most_common(1)[0][0]
        saves = TWO_SAVES if isinstance(likely, _TwoSymbols) else REPEATS_SAVES
        if sum(best) - sum(lesser) > saves * stored:
            best, repeats = lesser, likely
    lesser = [min(b, w.searched) if w.searched is not None else b for b, w in zip(best, weighed, strict=True)]
    if sum(best) - sum(lesser) > SEARCHED_GAINS * stored:
        others.append(_searched)
    else:
        lesser = best
    matched = [w.matched for w in weighed]
    sparse = sum(matched) < SPARSE * sum(w.sampled for w in weighed)
    if sparse := sparse and sum(matched) - sum(lesser) <= SPARSE_COSTS * stored:
        others, best, lesser = [_matched], matched, matched
    most = max(min(b, s) / n for b, s, n in zip(best, lesser, (w.sampled for w in weighed), strict=True))
    settled = sparse or (
        others == [_matched]
        and all(
            w.matched < MATCHED_GAIN * min(w.plain(block), w.repeats[0] if w.repeats and repeats else np.inf)
            for w in weighed
        )
    )
    return _Known(_BLOCKS[block], tuple(sorted(kept)), repeats, tuple(others), most, settled)


def _way(plane: Bytes, thorough: bool, known: _Known | None = None) -> _Way:
    """How to code a plane, by what its sample becomes."""
    if known is None:
        return _weigh(plane, _sample(plane), thorough).best
    sample = _sample(plane, LOOKED_AT)
    bits, runs = min((estimate(sample, w.distance, w.least), w) for w in known.runs)
    way: _Way = runs
    if (literals := literal_bits(sample, known.block)) <= bits:
        bits, way = literals, _Literals(known.block)
    size = bits / 8
    if isinstance(known.repeats, _TwoSymbols) and code_two_symbols(sample, *_trial(sample.size)):
        return known.repeats
    if isinstance(known.repeats, _Repeats) and FEW_BITS[0] * sample.size < bits < FEW_BITS[1] * sample.size:
        return known.repeats
    for encode, gain in ((_matched, MATCHED_GAIN), (_searched, SEARCHED_GAIN)):
        if encode in known.others and (coded := len(encode(sample))) < gain * size:
            size, way = coded, encode
    return way


@dataclass(frozen=True)
class _Weighed:
    """Bytes that a sample of a plane becomes in each way that was tried.

    Attributes
    ----------
    literals
        In blocks of `_BLOCKS`.
    runs
        The best of these, and its size.
    repeats, matched, searched
        Sizes; None where it was not tried.
    best
        What to take.
    sampled
        Bytes of the sample.
    """

    literals: tuple[float, ...]
    runs: tuple[float, _Runs] | None
    repeats: tuple[float, _Repeats | _TwoSymbols] | None
    matched: float
    searched: float | None
    best: _Way
    sampled: int

    def plain(self, block: int) -> float:
        """Without repeats and match search, literals in blocks of that number."""
        return min(self.literals[block], self.runs[0] if self.runs else np.inf)


def _weigh(plane: Bytes, sample: Bytes, thorough: bool) -> _Weighed:
    period = find_period(sample, FARTHEST_PERIOD) if sample.size > 64 else 0
    alone = estimate(sample, 0, _LEAST[0]) / 8
    literals = tuple(alone * share for share in _shorter(plane))
    block, best = 0, cast("tuple[float, _Way]", (alone, _Literals()))
    for k in range(1, len(_BLOCKS)):
        if literals[k] < (1.0 if thorough else SHORTER_GAIN) * literals[block]:
            block, best = k, (literals[k], _Literals(_BLOCKS[k]))
    ways = [_Runs(d, n) for d in sorted({1, period} if period else ()) for n in _LEAST]
    runs = min(((estimate(sample, w.distance, w.least) / 8, w) for w in ways), default=None)
    if runs and runs[0] < best[0]:
        best = runs
    plain = best[0]
    repeats: tuple[float, _Repeats | _TwoSymbols] | None = None
    two = _repeats_size(plane, code_two_symbols)
    if two is not None and two * sample.size < TWO_GAIN * plain:
        best = repeats = two * sample.size, _TwoSymbols()
    few = FEW_BITS[0] * sample.size < 8 * plain and 8 * alone < FEW_BITS[1] * sample.size
    if few and (two is None or thorough):
        for least in _REPEATS:
            size = (_repeats_size(plane, code_repeats, least) or 1.0) * sample.size
            if size >= (1.0 if thorough else REPEATS_GAIN) * best[0]:
                break
            best = repeats = size, _Repeats(least)
    matched = len(_matched(sample))
    if matched < MATCHED_GAIN * best[0]:
        best = matched, _matched
    if not thorough and (best[0] > HINT * alone or isinstance(best[1], _TwoSymbols)):
        return _Weighed(literals, runs, repeats, matched, None, best[1], sample.size)
    searched = len(_searched(sample))
    gain, saves = (1.0, 0.0) if thorough else (SEARCHED_GAIN, SEARCHED_SAVES)
    if searched < gain * best[0] or searched < best[0] - max(1, saves * sample.size):
        best = searched, _searched
    return _Weighed(literals, runs, repeats, matched, searched, best[1], sample.size)


def _shorter(plane: Bytes) -> list[float]:
    """Size of literals in blocks of `_BLOCKS` over that in the longest, on a stretch of a plane."""
    start = max(0, plane.size - SEGMENT) // 2
    stretch = plane[start : start + SEGMENT]
    bits = [literal_bits(stretch, block) for block in _BLOCKS]
    return [b / max(1.0, bits[0]) for b in bits]


def _sample(plane: Bytes, bounds: tuple[int, int] = SAMPLED) -> Bytes:
    """Three stretches of a plane, or all of it."""
    sample: Bytes = sample_of(plane, *bounds)
    return sample


def _repeats_size(plane: Bytes, code: Callable[..., object], *least: int) -> float | None:
    """Bytes that a byte of a plane becomes with repeats, once the window is full; None where they are not for it."""
    sizes = []
    start = max(0, plane.size - WINDOW - _FILLED) // 2
    for length in (WINDOW, WINDOW + _FILLED):
        part = plane[start : start + length]
        out, state = _trial(part.size)
        if code(part, *least, out, state) is False:
            return None
        sizes.append((part.size, int(state[0])))
    (shorter, less), (longer, more) = sizes
    return (more - less) / (longer - shorter) if longer - shorter > WINDOW else more / longer


def _trial(size: int) -> tuple[Bytes, NDArray[np.uint64]]:
    """Output and state for bytes that nobody keeps."""
    return scratch("sampled", bound(size)), np.zeros(3, np.uint64)


def _matched(plane: Bytes) -> bytes:
    """ISA-L's deflate blocks of a plane; none is the last, and they end at a byte."""
    squeeze = isal_zlib.compressobj(2, zlib.DEFLATED, -zlib.MAX_WBITS)
    return bytes(squeeze.compress(plane)) + bytes(squeeze.flush(zlib.Z_SYNC_FLUSH))


def _searched(plane: Bytes) -> bytes:
    """zlib-ng's, of a plane."""
    from zlib_ng import zlib_ng

    squeeze = zlib_ng.compressobj(4, zlib.DEFLATED, -zlib.MAX_WBITS)
    return bytes(squeeze.compress(plane)) + bytes(squeeze.flush(zlib.Z_SYNC_FLUSH))
