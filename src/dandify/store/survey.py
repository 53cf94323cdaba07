"""Reads all values of a source once, to prove which exact transforms hold for them and to choose among these."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.exact import survey
from dandify.store.pipeline import read_values
from dandify.store.region import Blocks, Region, grid
from dandify.store.transforms import DIVIDE, RECENTRE, Transform

READ_BYTES = 8_000_000  # of the source at one go
SAMPLED_READS = 64  # of which some values are kept, to choose by
SAMPLE_STEP = 97  # of the values of such a read; a prime, so that channels take turns
ORIGIN_STEP = 4  # between the origins that are tried
WORTH = 0.01  # of the entropy of a value: what a new origin must save


@dataclass(frozen=True)
class Survey:
    """What is true of all values of a source.

    Attributes
    ----------
    first
        The first of them.
    factor
        Divides the distance of each from the first; 0 if all are the same.
    low, high
        Least and greatest; None where reading ended early.
    sample
        (n,) int64: some of them.
    """

    first: int
    factor: int
    low: int | None
    high: int | None
    sample: NDArray[np.int64]


def survey_source(source: Blocks, *, name: str, workers: int, factor_only: bool = False) -> Survey:
    """Read a source in threads, all of it unless ``factor_only`` and the factor is known to be 1.

    Parameters
    ----------
    source
        Of integers of at most 32 bits; not empty.
    name
        For errors.
    workers
        Threads.
    factor_only
        Nothing but the factor is of interest.

    Raises
    ------
    BadSource
        If it cannot be read.
    """
    native = np.dtype(source.dtype).newbyteorder("=")
    regions = [region for _, region in grid(source.shape, _slab(source))]
    every = -(-len(regions) // SAMPLED_READS)
    start = tuple(slice(0, 1) for _ in source.shape)
    first = int(read_values(source, start, native, name).reshape(-1)[0])
    factor = 0

    def look(number: int, region: Region) -> tuple[int, int, int, NDArray[np.int64] | None]:
        values = read_values(source, region, native, name).reshape(-1)
        # The factor so far may be that of an earlier moment: it is a multiple of the later one, which is as good.
        found, low, high = survey(values, np.int64(first), np.int64(factor))
        kept = values[::SAMPLE_STEP].astype(np.int64) if number % every == 0 else None
        return int(found), int(low), int(high), kept

    low, high, kept = first, first, []
    waiting: deque[Future[tuple[int, int, int, NDArray[np.int64] | None]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="dandify-survey") as pool:
        try:
            for number, region in enumerate(regions):
                waiting.append(pool.submit(look, number, region))
                while waiting and (len(waiting) > workers or number == len(regions) - 1):
                    found, least, most, some = waiting.popleft().result()
                    factor, low, high = gcd(factor, found), min(low, least), max(high, most)
                    if some is not None:
                        kept.append(some)
                if factor_only and factor == 1:
                    return Survey(first, 1, None, None, np.concatenate(kept))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return Survey(first, factor, low, high, np.concatenate(kept))


def choose_divide(found: Survey, *, movable: bool) -> Transform | None:
    """Divide by what divides all; None if nothing does.

    Parameters
    ----------
    found
        Of all values.
    movable
        The rest that all values leave may be subtracted; otherwise only multiples of the factor are divided.
    """
    if not found.factor:  # one value
        return None
    factor = found.factor if movable else gcd(found.factor, found.first)
    return Transform(DIVIDE, found.first % factor, factor) if factor > 1 else None


def choose_recentre(found: Survey, dtype: np.dtype[Any]) -> Transform | None:
    """Move all values so that those bytes which hardly say anything say as little as possible.

    In little noise around 0, the high byte flips between 0 and -1 with the sign. Moved up by half a byte, it is always
    the same. Bytes are coded apart from each other, and a move by less than 256 only turns the distribution of the
    lowest byte round; so what counts is the entropy of all that is above it.

    Parameters
    ----------
    found
        Of all values.
    dtype
        Of the values; results fit into it, for all of them.

    Returns
    -------
    Transform
        None if no origin saves as much as `WORTH`.
    """
    if np.dtype(dtype).itemsize == 1 or found.low is None or found.high is None:
        return None
    bounds = np.iinfo(dtype)
    tried = [o for o in range(-128, 128, ORIGIN_STEP)
             if found.low - o >= bounds.min and found.high - o <= bounds.max]  # fmt: skip
    values, counts = np.unique(found.sample, return_counts=True)
    above = {origin: _entropy_above(values - origin, counts) for origin in tried}
    now = _entropy_above(values, counts)
    lowest = _entropy(np.bincount(values & 255, counts))
    least = min(above.values(), default=now)
    if now - least <= WORTH * (now + lowest):
        return None
    equal = [origin for origin, bits in above.items() if bits <= least + 1e-3]
    return Transform(RECENTRE, equal[len(equal) // 2])  # in their middle, away from where it begins to flip


def after(found: Survey, transform: Transform | None) -> Survey:
    """Say what is true of all values once a transform is applied."""
    if transform is None or found.low is None or found.high is None:
        return found
    moved = [(value - transform.origin) // transform.factor for value in (found.first, found.low, found.high)]
    sample = (found.sample - transform.origin) // transform.factor
    return Survey(moved[0], found.factor // transform.factor, moved[1], moved[2], sample)


def _slab(source: Blocks) -> tuple[int, ...]:
    """Shape of one read: the source's block, and more of these along the first axis."""
    block = tuple(max(1, min(b, n)) for b, n in zip(source.block, source.shape, strict=True))
    wanted = READ_BYTES // max(1, prod(block) * np.dtype(source.dtype).itemsize)
    return (min(source.shape[0], block[0] * max(1, wanted)), *block[1:])


def _entropy_above(values: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """Bits that all bytes above the lowest say, of sorted values with their counts."""
    above = values >> 8
    starts = np.flatnonzero(np.diff(above, prepend=above[0] - 1))
    return _entropy(np.add.reduceat(counts, starts))


def _entropy(counts: NDArray[Any]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())
