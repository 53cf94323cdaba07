"""Decides on a sample of a byte plane which runs to code, and codes it: of many chunks in one call without the GIL."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.adler import adler32
from dandify.kernels.bits import copy_bytes
from dandify.kernels.jit import compiled, inlined
from dandify.kernels.literals import code_literals, literal_bits
from dandify.kernels.planar import align_state, code_plane, estimate, finish
from dandify.kernels.repeats import code_repeats
from dandify.kernels.two_symbols import code_two_symbols

HEADER: Final = (0x78, 0x01)
"""Of a zlib stream: window of 32 KiB, fastest (RFC 1950)."""
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


@inlined
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


@compiled
def code_chunks(
    planes: NDArray[np.uint8],
    ways: NDArray[np.int64],
    tried: NDArray[np.int64],
    expected: NDArray[np.float64],
    sampled: tuple[int, int],
    few_bits: tuple[float, float],
    blocks: NDArray[np.uint8],
    ends: NDArray[np.int64],
    out: NDArray[np.uint8],
    lengths: NDArray[np.int64],
) -> None:
    """Make the zlib stream of each of many chunks: header, byte planes, and the Adler-32 of all of them.

    Parameters
    ----------
    planes
        (chunks, planes, bytes)
    ways
        (planes, 4): as of `code_best` the block, the least length of repeats, whether there may be two symbols, and the
        number of runs to try; -1 in place of the block where deflate blocks of the plane are given.
    tried
        (planes, 2, runs): distances and least lengths of the runs.
    expected
        (planes,) bytes that a coded plane should not exceed.
    sampled, few_bits
        As of `code_best`.
    blocks, ends
        (bytes,) given blocks of deflate one behind another, and where those of each chunk and plane end, (chunks,
        planes).
    out
        (chunks, bytes) with room for `bound` of all planes.
    lengths
        (chunks,) overwritten: bytes of each stream; 0 where a plane exceeds what was expected.
    """
    size = planes.shape[2]
    state = np.zeros(3, np.uint64)
    start = 0
    for chunk in range(planes.shape[0]):
        stream = out[chunk]
        stream[0], stream[1] = HEADER
        state[0], state[1], state[2] = 2, 0, 0
        lengths[chunk] = 0
        like = True
        for k in range(planes.shape[1]):
            before = state[0]
            plane = planes[chunk, k]
            if ways[k, 0] < 0:
                align_state(stream, state)
                stop = ends[chunk, k]
                if stop - start <= size:
                    copy_bytes(stream, np.int64(state[0]), blocks, start, stop - start)
                    state[0] += np.uint64(stop - start)
                else:
                    like = False
                start = stop
            elif like:
                code_best(
                    plane, ways[k, 0], tried[k, 0, : ways[k, 3]], tried[k, 1, : ways[k, 3]], sampled, ways[k, 1],
                    ways[k, 2] != 0, few_bits, stream, state,
                )  # fmt: skip
            like = like and state[0] - before <= expected[k]
        if not like:
            continue
        finish(stream, state)
        end = np.int64(state[0])
        total = adler32(planes[chunk])
        for k in range(4):
            stream[end + k] = np.uint8(total >> (24 - 8 * k) & 255)
        lengths[chunk] = end + 4
