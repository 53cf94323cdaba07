"""Length-limited canonical Huffman codes, and the header of a deflate block that describes them (RFC 1951, 3.2.7)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import Bits, leading_zeros, put
from dandify.kernels.jit import compiled

LONGEST = 13  # of 15 allowed: two codes and their length then fit into 32 bits; it costs less than 1 in 1000
LITERALS = 286  # literals, the end of the block (256), and lengths of matches
DISTANCES = 30
END = 256
_ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])  # RFC 1951, 3.2.7


_SYMBOL_BITS, _DIGIT_BITS = 9, 7
_SYMBOL, _DIGIT = np.uint64((1 << _SYMBOL_BITS) - 1), np.uint64((1 << _DIGIT_BITS) - 1)


@compiled
def _passes(all_bits: Any) -> Any:
    """Count the digits of the largest count."""
    passes: Any = 0
    while all_bits >> np.uint64(_DIGIT_BITS * passes):
        passes += 1
    return passes


@compiled
def _sorted(counts: NDArray[np.int64], keys: NDArray[np.uint64]) -> tuple[Any, Any]:
    """Sort the symbols that occur by their counts, digit by digit: no branch that depends on them.

    Parameters
    ----------
    counts
        (symbols,)
    keys
        (2, symbols) to be filled: count and symbol, in the second row after an odd number of digits.

    Returns
    -------
    tuple
        How many symbols occur, and the bits of all counts.
    """
    many = np.uint64(0)
    all_bits = np.uint64(0)
    for symbol in range(counts.size):
        count = np.uint64(counts[symbol])
        keys[0, many] = count << np.uint64(_SYMBOL_BITS) | np.uint64(symbol)
        many += np.uint64(count > np.uint64(0))
        all_bits |= count
    used = np.int64(many)
    places = np.empty(1 << _DIGIT_BITS, np.uint32)
    for turn in range(_passes(all_bits)):
        source, sorted_keys = keys[turn & 1], keys[~turn & 1]
        shift = np.uint64(_SYMBOL_BITS + _DIGIT_BITS * turn)
        places[:] = 0
        for i in range(used):
            places[source[np.uint64(i)] >> shift & _DIGIT] += np.uint32(1)
        place = np.uint32(0)
        for digit in range(places.size):
            place, places[digit] = np.uint32(place + places[digit]), place
        for i in range(used):
            key = source[np.uint64(i)]
            digit = key >> shift & _DIGIT
            sorted_keys[np.uint64(places[digit])] = key
            places[digit] += np.uint32(1)
    return used, all_bits


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
    lengths[:] = 0
    keys = np.empty((2, counts.size), np.uint64)
    used, all_bits = _sorted(counts, keys)
    if used < 2:
        only = np.int64(keys[0, 0] & _SYMBOL) if used else 0
        lengths[only] = 1
        lengths[1 if only == 0 else 0] = 1
        return
    order = keys[_passes(all_bits) & 1]
    last = np.uint64(2 * used - 1)
    weights = np.full(2 * counts.size, 1 << 62, np.uint64)  # what is not made yet is never taken
    parents = np.empty(2 * counts.size, np.uint16)
    for i in range(used):
        weights[np.uint64(i)] = order[np.uint64(i)] >> np.uint64(_SYMBOL_BITS)
    one, leaves = np.uint64(1), np.uint64(used)
    leaf, inner = np.uint64(0), leaves + one  # a node of endless weight lies between leaves and inner nodes
    for number in range(used + 1, 2 * used):
        made = np.uint64(number)
        weight = np.uint64(0)
        for _ in range(2):
            first = weights[leaf] <= weights[inner]
            node = leaf if first else inner
            weight += weights[node]
            parents[node] = number
            leaf += np.uint64(first)
            inner += np.uint64(not first)
        weights[made] = weight
    depths = np.zeros(2 * counts.size, np.uint16)
    many = np.zeros(longest + 1, np.int64)  # leaves of each depth
    for number in range(np.int64(last) - 1, used, -1):
        depths[np.uint64(number)] = depths[np.uint64(parents[np.uint64(number)])] + 1
    for i in range(used):
        many[min(np.int64(depths[np.uint64(parents[np.uint64(i)])]) + 1, longest)] += 1
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
            lengths[order[np.uint64(i)] & _SYMBOL] = depth
            i -= 1


@compiled
def canonical(lengths: NDArray[np.uint8], codes: NDArray[np.uint32]) -> None:
    """Codes of the given lengths, their first bit lowest, as deflate writes them (RFC 1951, 3.2.2)."""
    many = np.zeros(17, np.int64)
    for length in lengths:
        if length:  # most have none, and each would wait for the one before
            many[length] += 1
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
            code = code >> 1 & 0x5555 | (code & 0x5555) << 1  # of 16 bits, turned around
            code = code >> 2 & 0x3333 | (code & 0x3333) << 2
            code = code >> 4 & 0x0F0F | (code & 0x0F0F) << 4
            codes[symbol] = (code >> 8 | (code & 0xFF) << 8) >> (16 - length)


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
        size = np.uint64(lengths[symbol])
        field = np.uint64(codes[symbol]) | np.uint64(extras[i]) << size
        state = put(out, state, field, size + np.uint64(_extra_bits(symbol)))
    return state, bits


@compiled
def _log2(count: Any) -> float:
    """Logarithm of a positive integer to within 0.01, in a few nanoseconds: a parabola from one power to the next."""
    whole = np.uint64(63) - leading_zeros(np.uint64(count))
    part = np.float64(count) / np.float64(np.uint64(1) << whole)
    return np.float64(whole) + (2.0 - part / 3.0) * part - 5.0 / 3.0


@compiled
def entropy_bits(counts: NDArray[Any]) -> float:
    """Bits that a perfect code of these symbols takes, but at least 1 of each symbol's, as a Huffman code's; nearly."""
    total = np.int64(0)
    for i in range(counts.size):
        total += counts[i]
    if total == 0:
        return 0.0
    bits, most = 0.0, _log2(total)
    for i in range(counts.size):
        if counts[i] > 0:
            bits += counts[i] * max(1.0, most - _log2(counts[i]))
    return bits
