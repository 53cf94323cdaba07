"""Ways of coding a byte plane, and which of them pay on pieces of a dataset."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dandify.kernels.literals import literal_bits
from dandify.kernels.planar import SEGMENT, WINDOW, bound, estimate, find_period
from dandify.kernels.repeats import code_repeats
from dandify.kernels.two_symbols import code_two_symbols
from dandify.kernels.ways import sample_of
from dandify.store.encode import Bytes, scratch

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
UNLIKE = 1.03  # so much more than on the pieces, and a plane is weighed anew
LEAST = (8, 12, 16, 32)
_REPEATS = (13, 16)
_BLOCKS = (SEGMENT, 8192, 4096)  # of literals: the first and longer, where statistics hold; shorter, where they change
_MOST_RUNS = 2
_FILLED = 49_152  # bytes behind a full window on which repeats are judged
FEW_BITS = (0.05, 2.5)  # of a symbol: repeats are looked for above the first with runs, below the second without


@dataclass(frozen=True)
class Literals:
    """Huffman codes alone, in blocks of so many symbols."""

    block: int = SEGMENT


@dataclass(frozen=True, order=True)
class Runs:
    """Distance and least length of the runs of a plane."""

    distance: int
    least: int


_ALWAYS = (Runs(1, LEAST[0]),)


@dataclass(frozen=True)
class Repeats:
    """Least length of the repeats of a plane."""

    least: int


@dataclass(frozen=True)
class TwoSymbols:
    """Repeats of two symbols."""


Way = Literals | Runs | Repeats | TwoSymbols | Callable[[Bytes], bytes]


@dataclass(frozen=True)
class Known:
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
    runs: tuple[Runs, ...]
    repeats: Repeats | TwoSymbols | None
    others: tuple[Callable[[Bytes], bytes], ...]
    most: float
    settled: bool = False

    def expected(self, size: int) -> float:
        """Bytes that a plane should not exceed; one that does is unlike the pieces."""
        return (UNLIKE * self.most + UNLIKE - 1) * size


class Table:
    """What is known of all planes, as `code_chunks` takes it."""

    def __init__(self, known: Sequence[Known]) -> None:
        self.tried = np.zeros((len(known), 2, max(len(k.runs) for k in known)), np.int64)
        self.ways = np.zeros((len(known), 4), np.int64)
        self._known = known
        for number, k in enumerate(known):
            least = k.repeats.least if isinstance(k.repeats, Repeats) else 0
            two = isinstance(k.repeats, TwoSymbols)
            self.ways[number] = -1 if k.settled else k.block, least, two, len(k.runs)
            self.tried[number, :, : len(k.runs)] = np.transpose([(run.distance, run.least) for run in k.runs])

    def expected(self, size: int) -> NDArray[np.float64]:
        """Bytes that planes of so many should not exceed."""
        return np.array([k.expected(size) for k in self._known], np.float64)


def sum_up(weighed: Sequence[Weighed], stored: float) -> Known:
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
        others.append(by_isal)
    lesser = [min(b, w.repeats[0]) if w.repeats else b for b, w in zip(best, weighed, strict=True)]
    repeats = None
    if found := Counter(w.repeats[1] for w in weighed if w.repeats):
        likely = found.most_common(1)[0][0]
        saves = TWO_SAVES if isinstance(likely, TwoSymbols) else REPEATS_SAVES
        if sum(best) - sum(lesser) > saves * stored:
            best, repeats = lesser, likely
    lesser = [min(b, w.searched) if w.searched is not None else b for b, w in zip(best, weighed, strict=True)]
    if sum(best) - sum(lesser) > SEARCHED_GAINS * stored:
        others.append(by_zlib_ng)
    else:
        lesser = best
    matched = [w.matched for w in weighed]
    sparse = sum(matched) < SPARSE * sum(w.sampled for w in weighed)
    if sparse := sparse and sum(matched) - sum(lesser) <= SPARSE_COSTS * stored:
        others, best, lesser = [by_isal], matched, matched
    most = max(min(b, s) / n for b, s, n in zip(best, lesser, (w.sampled for w in weighed), strict=True))
    settled = sparse or (
        others == [by_isal]
        and all(
            w.matched < MATCHED_GAIN * min(w.plain(block), w.repeats[0] if w.repeats and repeats else np.inf)
            for w in weighed
        )
    )
    return Known(_BLOCKS[block], tuple(sorted(kept)), repeats, tuple(others), most, settled)


def way_of(plane: Bytes, thorough: bool, known: Known | None = None) -> Way:
    """How to code a plane, by what its sample becomes."""
    if known is None:
        return weigh(plane, sample_plane(plane), thorough).best
    sample = sample_plane(plane, LOOKED_AT)
    bits, runs = min((estimate(sample, w.distance, w.least), w) for w in known.runs)
    way: Way = runs
    if (literals := literal_bits(sample, known.block)) <= bits:
        bits, way = literals, Literals(known.block)
    size = bits / 8
    if isinstance(known.repeats, TwoSymbols) and code_two_symbols(sample, *_trial(sample.size)):
        return known.repeats
    if isinstance(known.repeats, Repeats) and FEW_BITS[0] * sample.size < bits < FEW_BITS[1] * sample.size:
        return known.repeats
    for encode, gain in ((by_isal, MATCHED_GAIN), (by_zlib_ng, SEARCHED_GAIN)):
        if encode in known.others and (coded := len(encode(sample))) < gain * size:
            size, way = coded, encode
    return way


@dataclass(frozen=True)
class Weighed:
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
    runs: tuple[float, Runs] | None
    repeats: tuple[float, Repeats | TwoSymbols] | None
    matched: float
    searched: float | None
    best: Way
    sampled: int

    def plain(self, block: int) -> float:
        """Without repeats and match search, literals in blocks of that number."""
        return min(self.literals[block], self.runs[0] if self.runs else np.inf)


def weigh(plane: Bytes, sample: Bytes, thorough: bool) -> Weighed:
    """Code a sample of a plane in every way; with ``thorough`` whatever makes it smaller is taken, at any speed."""
    period = find_period(sample, FARTHEST_PERIOD) if sample.size > 64 else 0
    alone = estimate(sample, 0, LEAST[0]) / 8
    literals = tuple(alone * share for share in _shorter(plane))
    block, best = 0, cast("tuple[float, Way]", (alone, Literals()))
    for k in range(1, len(_BLOCKS)):
        if literals[k] < (1.0 if thorough else SHORTER_GAIN) * literals[block]:
            block, best = k, (literals[k], Literals(_BLOCKS[k]))
    ways = [Runs(d, n) for d in sorted({1, period} if period else ()) for n in LEAST]
    runs = min(((estimate(sample, w.distance, w.least) / 8, w) for w in ways), default=None)
    if runs and runs[0] < best[0]:
        best = runs
    plain = best[0]
    repeats: tuple[float, Repeats | TwoSymbols] | None = None
    two = _repeats_size(plane, code_two_symbols)
    if two is not None and two * sample.size < TWO_GAIN * plain:
        best = repeats = two * sample.size, TwoSymbols()
    few = FEW_BITS[0] * sample.size < 8 * plain and 8 * alone < FEW_BITS[1] * sample.size
    if few and (two is None or thorough):
        for least in _REPEATS:
            size = (_repeats_size(plane, code_repeats, least) or 1.0) * sample.size
            if size >= (1.0 if thorough else REPEATS_GAIN) * best[0]:
                break
            best = repeats = size, Repeats(least)
    matched = len(by_isal(sample))
    if matched < MATCHED_GAIN * best[0]:
        best = matched, by_isal
    if not thorough and (best[0] > HINT * alone or isinstance(best[1], TwoSymbols)):
        return Weighed(literals, runs, repeats, matched, None, best[1], sample.size)
    searched = len(by_zlib_ng(sample))
    gain, saves = (1.0, 0.0) if thorough else (SEARCHED_GAIN, SEARCHED_SAVES)
    if searched < gain * best[0] or searched < best[0] - max(1, saves * sample.size):
        best = searched, by_zlib_ng
    return Weighed(literals, runs, repeats, matched, searched, best[1], sample.size)


def _shorter(plane: Bytes) -> list[float]:
    """Size of literals in blocks of `_BLOCKS` over that in the longest, on a stretch of a plane."""
    start = max(0, plane.size - SEGMENT) // 2
    stretch = plane[start : start + SEGMENT]
    bits = [literal_bits(stretch, block) for block in _BLOCKS]
    return [b / max(1.0, bits[0]) for b in bits]


def sample_plane(plane: Bytes, bounds: tuple[int, int] = SAMPLED) -> Bytes:
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


def by_isal(plane: Bytes) -> bytes:
    """ISA-L's deflate blocks of a plane; none is the last, and they end at a byte."""
    squeeze = isal_zlib.compressobj(2, zlib.DEFLATED, -zlib.MAX_WBITS)
    return bytes(squeeze.compress(plane)) + bytes(squeeze.flush(zlib.Z_SYNC_FLUSH))


def by_zlib_ng(plane: Bytes) -> bytes:
    """zlib-ng's, of a plane."""
    from zlib_ng import zlib_ng

    squeeze = zlib_ng.compressobj(4, zlib.DEFLATED, -zlib.MAX_WBITS)
    return bytes(squeeze.compress(plane)) + bytes(squeeze.flush(zlib.Z_SYNC_FLUSH))
