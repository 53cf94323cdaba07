"""Length-limited canonical Huffman codes, and the header of a deflate block that describes them (RFC 1951, 3.2.7)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import Bits, put
from dandify.kernels.jit import compiled

LONGEST = 13  # of 15 allowed: two codes and their length then fit into 32 bits; it costs less than 1 in 1000
LITERALS = 286  # literals, the end of the block (256), and lengths of matches
DISTANCES = 30
END = 256
_ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])  # RFC 1951, 3.2.7


@compiled
def code_lengths(counts: NDArray[np.int64], longest: Any, lengths: NDArray[np.uint8]) -> None:
    """Length of each symbol's code, 0 where it does not occur.

    Huffman's algorithm on the sorted counts, whose depths are then cut off: while the code is over-full, one of the
    deepest leaves moves under the deepest leaf that still has room. The code is always complete; of one symbol, it is
    completed with another one's, because old decoders refuse others.

    Parameters
    ----------
    counts
        (symbols,) int64, below 2**50; at most 2**longest of them not 0.
    longest
        Limit of the lengths.
    lengths
        (symbols,) to be filled.
    """
    size = counts.size
    lengths[:] = 0
    keys = np.empty(size, np.int64)
    used = 0
    for symbol in range(size):
        if counts[symbol] > 0:
            keys[used] = counts[symbol] << 9 | symbol
            used += 1
    for gap in (57, 23, 10, 4, 1):  # Shell's sort; NumPy's takes long to compile
        for last in range(gap, used):
            key, place = keys[last], last
            while place >= gap and keys[place - gap] > key:
                keys[place] = keys[place - gap]
                place -= gap
            keys[place] = key
    if used < 2:
        only = keys[0] & 511 if used else 0
        lengths[only] = 1
        lengths[1 if only == 0 else 0] = 1
        return
    weights = np.empty(2 * used - 1, np.int64)
    parents = np.empty(2 * used - 1, np.int64)
    for i in range(used):
        weights[i] = keys[i] >> 9
    leaf, inner = 0, used
    for made in range(used, 2 * used - 1):
        weight = np.int64(0)
        for _ in range(2):
            if leaf < used and (inner >= made or weights[leaf] <= weights[inner]):
                weight += weights[leaf]
                parents[leaf] = made
                leaf += 1
            else:
                weight += weights[inner]
                parents[inner] = made
                inner += 1
        weights[made] = weight
    depths = np.zeros(2 * used - 1, np.int64)
    many = np.zeros(longest + 1, np.int64)  # leaves of each depth
    for i in range(2 * used - 3, -1, -1):
        depths[i] = depths[parents[i]] + 1
        if i < used:
            many[min(depths[i], longest)] += 1
    full = np.int64(0)
    for depth in range(1, longest + 1):
        full += many[depth] << (longest - depth)
    while full > 1 << longest:
        many[longest] -= 1
        depth = longest - 1
        while many[depth] == 0:
            depth -= 1
        many[depth] -= 1
        many[depth + 1] += 2
        full -= 1
    i = used - 1
    for depth in range(1, longest + 1):
        for _ in range(many[depth]):
            lengths[keys[i] & 511] = depth
            i -= 1


@compiled
def canonical(lengths: NDArray[np.uint8], codes: NDArray[np.uint32]) -> None:
    """Codes of the given lengths, their first bit lowest, as deflate writes them (RFC 1951, 3.2.2)."""
    many = np.zeros(17, np.int64)
    for length in lengths:
        many[length] += 1
    many[0] = 0
    following = np.zeros(17, np.int64)
    code = np.int64(0)
    for length in range(1, 16):
        code = (code + many[length - 1]) << 1
        following[length] = code
    for symbol in range(lengths.size):
        length = np.int64(lengths[symbol])
        if length:
            code = following[length]
            following[length] += 1
            turned = np.int64(0)
            for _ in range(length):
                turned = turned << 1 | code & 1
                code >>= 1
            codes[symbol] = turned


@compiled
def _packed(all_lengths: NDArray[np.uint8], symbols: NDArray[np.uint8], extras: NDArray[np.uint8]) -> int:
    """Lengths as symbols of the code-length alphabet, runs coded as 16, 17 and 18; returns how many symbols."""
    made, i = 0, 0
    while i < all_lengths.size:
        length = all_lengths[i]
        run = 1
        while i + run < all_lengths.size and all_lengths[i + run] == length:
            run += 1
        i += run
        if length == 0:
            while run >= 3:
                part = min(run, 138)
                symbols[made] = 18 if part > 10 else 17
                extras[made] = part - 11 if part > 10 else part - 3
                made += 1
                run -= part
        else:
            symbols[made] = length
            made += 1
            run -= 1
            while run >= 3:
                part = min(run, 6)
                symbols[made] = 16
                extras[made] = part - 3
                made += 1
                run -= part
        for _ in range(run):
            symbols[made] = length
            made += 1
    return made


@compiled
def _extra_bits(symbol: int) -> int:
    return 2 if symbol == 16 else 3 if symbol == 17 else 7 if symbol == 18 else 0


@compiled
def put_header(
    out: NDArray[np.uint8], state: Bits, literals: NDArray[np.uint8], distances: NDArray[np.uint8], write: Any
) -> tuple[Bits, int]:
    """Write the header of a block with these code lengths, or only count its bits.

    Parameters
    ----------
    out, state
        As of `put`.
    literals
        (286,)
    distances
        (30,)
    write
        False: nothing is written. A value of NumPy's, so that the kernel is compiled once and not for each literal.

    Returns
    -------
    tuple
        The state, and the header's bits.
    """
    last_literal, last_distance = LITERALS, DISTANCES
    while last_literal > 257 and literals[last_literal - 1] == 0:
        last_literal -= 1
    while last_distance > 1 and distances[last_distance - 1] == 0:
        last_distance -= 1
    both = np.empty(last_literal + last_distance, np.uint8)
    for i in range(last_literal):
        both[i] = literals[i]
    for i in range(last_distance):
        both[last_literal + i] = distances[i]
    symbols, extras = np.zeros(both.size, np.uint8), np.zeros(both.size, np.uint8)
    made = _packed(both, symbols, extras)
    counts = np.zeros(19, np.int64)
    for i in range(made):
        counts[symbols[i]] += 1
    lengths, codes = np.zeros(19, np.uint8), np.zeros(19, np.uint32)
    code_lengths(counts, np.int64(7), lengths)
    canonical(lengths, codes)
    last = 19
    while last > 4 and lengths[_ORDER[last - 1]] == 0:
        last -= 1
    bits = 3 + 14 + 3 * last
    for symbol in range(19):
        bits += counts[symbol] * (np.int64(lengths[symbol]) + _extra_bits(symbol))
    if not write:
        return state, bits
    state = put(out, state, np.uint64(2 << 1), np.uint64(3))  # not the last block; dynamic codes
    state = put(out, state, np.uint64(last_literal - 257), np.uint64(5))
    state = put(out, state, np.uint64(last_distance - 1), np.uint64(5))
    state = put(out, state, np.uint64(last - 4), np.uint64(4))
    for i in range(last):
        state = put(out, state, np.uint64(lengths[_ORDER[i]]), np.uint64(3))
    for i in range(made):
        symbol = symbols[i]
        state = put(out, state, np.uint64(codes[symbol]), np.uint64(lengths[symbol]))
        state = put(out, state, np.uint64(extras[i]), np.uint64(_extra_bits(symbol)))
    return state, bits


@compiled
def entropy_bits(counts: NDArray[Any]) -> float:
    """Bits that a perfect code of these symbols takes, but at least 1 of each symbol's, as a Huffman code's."""
    total, bits = 0, 0.0
    for count in counts:
        total += count
    for count in counts:
        if count > 0:
            bits += count * max(1.0, math.log2(total / count))
    return bits
