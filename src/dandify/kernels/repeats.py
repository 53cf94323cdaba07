"""Deflate of a byte plane of few symbols: stretches of a dozen samples are found again where they last occurred.

The end of a block needs a code, too, so that of two symbols one is left with two bits. A stretch of 14 samples, which
have 14 bits at least, lies somewhere in the window more often than not, and where it is takes 17.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import load64, put, trailing_zeros
from dandify.kernels.blocks import put_head
from dandify.kernels.huffman import DISTANCES, END, LITERALS
from dandify.kernels.jit import compiled, inlined
from dandify.kernels.planar import LENGTHS_OF_MATCHES, LONGEST_MATCH, WINDOW, distance_symbol

BLOCK = 262_144  # symbols of a block
_TABLE_BITS = 16


@compiled
def _hash(plane: NDArray[np.uint8], at: Any, least: int) -> Any:
    first = load64(plane, at) * np.uint64(0x9E3779B97F4A7C15)
    second = load64(plane, at + least - 8) * np.uint64(0xC2B2AE3D27D4EB4F)
    return np.int64((first ^ (second >> np.uint64(23)) ^ second) >> np.uint64(64 - _TABLE_BITS))


@inlined
def _find(
    plane: NDArray[np.uint8], start: int, stop: int, least: int, table: NDArray[np.int32], found: NDArray[np.int32]
) -> Any:
    """Start, length and distance of repeats, at most 258 long; the table holds where each hash occurred last."""
    many: Any = 0
    i: Any = start
    while i + 16 <= stop:
        place = _hash(plane, i, least)
        before = np.int64(table[place])
        table[place] = i
        if (
            before < 0
            or i - before > WINDOW
            or load64(plane, i) != load64(plane, before)
            or load64(plane, i + least - 8) != load64(plane, before + least - 8)
        ):
            i += 1
            continue
        length: Any = least
        most = min(stop - i, LONGEST_MATCH)
        while length + 8 <= most:
            different = load64(plane, i + length) ^ load64(plane, before + length)
            if different != np.uint64(0):
                length += np.int64(trailing_zeros(different) >> np.uint64(3))
                break
            length += 8
        else:
            while length < most and plane[i + length] == plane[before + length]:
                length += 1
        found[many, 0], found[many, 1], found[many, 2] = i, length, i - before
        many += 1
        for at in range(i + 1, min(i + length, stop - 15)):
            table[_hash(plane, at, least)] = at
        i += length
    return many


@compiled
def code_repeats(plane: NDArray[np.uint8], least: int, out: NDArray[np.uint8], position: NDArray[np.uint64]) -> None:
    """Append blocks that decode to a plane; none of them is the last of the stream.

    Parameters
    ----------
    plane
        (bytes,) contiguous.
    least
        Shortest repeat, 8 to 16.
    out, position
        As of `code_plane`, with the same room.
    """
    state = (np.int64(position[0]), position[1], position[2])
    table = np.full(1 << _TABLE_BITS, -1, np.int32)
    found = np.empty((min(BLOCK, plane.size) // least + 1, 3), np.int32)
    for start in range(0, plane.size, BLOCK):
        stop = min(start + BLOCK, plane.size)
        many = _find(plane, start, stop, least, table, found)
        counts, far_counts = np.zeros(LITERALS, np.int64), np.zeros(DISTANCES, np.int64)
        counts[END] = 1
        bits: Any = np.int64(0)
        at: Any = start
        for k in range(many):
            for i in range(at, found[k, 0]):
                counts[plane[i]] += 1
            at = found[k, 0] + found[k, 1]
            entry = np.int64(LENGTHS_OF_MATCHES[found[k, 1]])
            symbol, extra, _ = distance_symbol(found[k, 2])
            counts[entry & 511] += 1
            far_counts[symbol] += 1
            bits += (entry >> 9 & 7) + extra
        for i in range(at, stop):
            counts[plane[i]] += 1
        state, begun, (lengths, codes), (far_lengths, far_codes) = put_head(
            out, state, plane, start, stop, counts, far_counts, bits
        )  # fmt: skip
        if not begun:
            continue
        at = start
        for k in range(many + 1):
            for i in range(at, found[k, 0] if k < many else stop):
                state = put(out, state, np.uint64(codes[plane[i]]), np.uint64(lengths[plane[i]]))
            if k == many:
                break
            at = found[k, 0] + found[k, 1]
            entry = np.int64(LENGTHS_OF_MATCHES[found[k, 1]])
            s: Any = entry & 511
            symbol, extra, value = distance_symbol(found[k, 2])
            field = np.uint64(codes[s]) | np.uint64(entry >> 12) << np.uint64(lengths[s])
            size = np.uint64(lengths[s] + (entry >> 9 & 7))
            field |= (np.uint64(far_codes[symbol]) | np.uint64(value) << np.uint64(far_lengths[symbol])) << size
            state = put(out, state, field, size + np.uint64(far_lengths[symbol] + extra))
        state = put(out, state, np.uint64(codes[END]), np.uint64(lengths[END]))
    position[0], position[1], position[2] = state
