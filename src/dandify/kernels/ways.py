"""Decides on a sample of a byte plane which runs to code, and codes it: all in one call that holds no GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import copy_bytes
from dandify.kernels.jit import compiled
from dandify.kernels.literals import code_literals, literal_bits
from dandify.kernels.planar import code_plane, estimate
from dandify.kernels.repeats import code_repeats
from dandify.kernels.two_symbols import code_two_symbols

_STRETCHES = 3


@compiled
def sample_of(plane: NDArray[np.uint8], least: int, most: int) -> NDArray[np.uint8]:
    """Take three stretches of a plane, an eighth of it but within ``least`` and ``most`` bytes; or all of it."""
    wanted = min(max(plane.size // 8, least), most)
    if plane.size <= wanted:
        return plane
    part = wanted // _STRETCHES
    out = np.empty(_STRETCHES * part, np.uint8)
    for k in range(_STRETCHES):
        start = (plane.size - part) * (1 + 4 * k) // 10
        copy_bytes(out, k * part, plane, start, part)
    return out


@compiled
def code_best(
    plane: NDArray[np.uint8],
    block: Any,
    distances: NDArray[np.int64],
    leasts: NDArray[np.int64],
    sampled: tuple[int, int],
    repeats: int,
    two: bool,
    few_bits: tuple[float, float],
    out: NDArray[np.uint8],
    state: NDArray[np.uint64],
) -> None:
    """Append a plane to a deflate stream: literals alone, or with those runs of which a sample becomes smallest.

    Parameters
    ----------
    plane
        (bytes,)
    block
        Of `code_literals`.
    distances, leasts
        (ways,) of the runs to try.
    sampled
        Least and most bytes of the sample.
    repeats
        Least length of repeats that planes of few symbols get in place of runs; 0 for none.
    two
        The plane may be of two symbols.
    few_bits
        Bits of a symbol, in the best other way, between which repeats are taken.
    out, state
        As of `code_plane`.
    """
    if two and code_two_symbols(plane, out, state):
        return
    sample = sample_of(plane, sampled[0], sampled[1])
    best, least_bits = -1, np.inf
    for k in range(distances.size):
        bits = estimate(sample, distances[k], leasts[k])  # infinite where nothing repeats, as in noise
        if bits < least_bits:
            best, least_bits = k, bits
    if best >= 0 or repeats:
        bits = literal_bits(sample, block)
        if bits <= least_bits:
            best, least_bits = -1, bits
    if repeats and few_bits[0] * sample.size < least_bits < few_bits[1] * sample.size:
        code_repeats(plane, repeats, out, state)
    elif best < 0:
        code_literals(plane, block, out, state)
    else:
        code_plane(plane, distances[best], leasts[best], out, state)
