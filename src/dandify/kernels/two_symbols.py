"""Planes of two symbols, as one bit for each: what a dozen samples repeat is looked up by these bits themselves.

The high bytes of samples around zero are 0 and 255, and hardly anything else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import Bits, load64, ones_of, put, trailing_zeros
from dandify.kernels.blocks import put_head
from dandify.kernels.huffman import DISTANCES, END, LITERALS
from dandify.kernels.jit import compiled
from dandify.kernels.planar import (
    LENGTHS_OF_MATCHES,
    LONGEST_MATCH,
    WINDOW,
    count_symbols,
    distance_symbol,
)

BLOCK = 262_144  # symbols of a block
ROOM = 16  # bytes behind the bits that are loaded with them
_LOADED = 56  # bits of a word that are there wherever in its first byte they begin
_SAMPLED = 2048  # bytes at the start, in the middle and at the end that the two symbols are taken from
_FEW = 32  # at most one of so many bytes is another symbol
_CHANGES = 0.3  # of a sample to the next one, at least: where there are fewer, runs are as small


@compiled
def two_symbols(plane: NDArray[np.uint8]) -> tuple[Any, Any]:
    """Give the two most frequent symbols of a sample of a plane; equal where there is but one."""
    counts = np.zeros(256, np.int64)
    four = np.empty((4, 256), np.uint32)
    for k in range(3):
        start = max(0, plane.size - _SAMPLED) * k // 2
        count_symbols(plane, start, min(start + _SAMPLED, plane.size), four, counts)
    first: Any = 0
    for symbol in range(256):
        if counts[symbol] > counts[first]:
            first = symbol
    second: Any = 0 if first else 1
    for symbol in range(256):
        if symbol != first and counts[symbol] > counts[second]:
            second = symbol
    return first, second if counts[second] else first


@compiled
def to_bits(
    plane: NDArray[np.uint8], first: Any, second: Any, bits: NDArray[np.uint8], odd: NDArray[np.uint8]
) -> Any:  # fmt: skip
    """Note for each byte of a plane whether it is the second symbol, and whether it is neither.

    Parameters
    ----------
    plane
        (bytes,) contiguous.
    first, second
        The symbols, not equal.
    bits, odd
        (bytes / 8 + `ROOM`,) to be filled, the first byte of eight in the lowest bit. Bits of those that are neither
        symbol mean nothing. What lies behind the plane is odd.

    Returns
    -------
    int
        How many are neither.
    """
    differing = np.uint64(first ^ second)
    shift = trailing_zeros(differing)
    every, gather = np.uint64(0x0101010101010101), np.uint64(0x0102040810204080)
    firsts, byte = np.uint64(first) * every, np.uint64(255)
    whole = plane.size >> 6
    many: Any = 0
    for group in range(whole):
        others = np.uint64(0)
        for k in range(8 * group, 8 * group + 8):
            word = load64(plane, 8 * k) ^ firsts
            marks = (word >> shift) & every
            bits[k] = (marks * gather) >> np.uint64(56)
            odd[k] = 0
            others |= word ^ (marks * differing)
        if others == np.uint64(0):
            continue
        for k in range(8 * group, 8 * group + 8):
            word = load64(plane, 8 * k) ^ firsts
            word ^= ((word >> shift) & every) * differing
            for j in range(8):
                odd[k] |= np.uint8((word >> np.uint64(8 * j)) & byte != np.uint64(0)) << j
            many += np.int64(ones_of(np.uint64(odd[k])))
    bits[8 * whole :], odd[8 * whole :] = 0, 255
    for i in range(64 * whole, plane.size):
        if plane[i] == second:
            bits[i >> 3] |= 1 << (i & 7)
        if plane[i] == first or plane[i] == second:
            odd[i >> 3] ^= 1 << (i & 7)
        else:
            many += 1
    return many


@compiled
def _changes(bits: NDArray[np.uint8], size: Any) -> Any:
    """How often a sample differs from the one before, but for one in 64 places."""
    many: Any = 0
    for at in range(0, size >> 3, 8):
        word = load64(bits, at)
        many += np.int64(ones_of((word ^ (word >> np.uint64(1))) & np.uint64((1 << 63) - 1)))
    return many


@compiled
def _from(bits: NDArray[np.uint8], at: Any) -> Any:
    """Bits from a position on, `_LOADED` of them for certain."""
    return load64(bits, at >> 3) >> np.uint64(at & 7)


@compiled
def _equal(bits: NDArray[np.uint8], odd: NDArray[np.uint8], at: Any, before: Any) -> Any:
    """How many samples from a position on equal those from another on, `_LOADED` at most."""
    different = _from(bits, at) ^ _from(bits, before) | _from(odd, at) | _from(odd, before)
    return np.int64(trailing_zeros(different | np.uint64(1) << np.uint64(_LOADED)))


@compiled
def _find(
    plane: NDArray[np.uint8], bits: NDArray[np.uint8], odd: NDArray[np.uint8], start: Any, stop: Any, least: Any,
    table: NDArray[np.uint16], found: NDArray[np.int32], counts: NDArray[np.int64],
) -> Any:  # fmt: skip
    """Find repeats: start, length and distance of each; and count the literals between them.

    The table says where each pattern was noted last, but for multiples of 65,536, and what it says is looked up: it
    need not be cleared between blocks. Distance and start are exact, so a repeat of whatever lies there is one.
    """
    mask = np.uint64((1 << least) - 1)
    many: Any = 0
    i: Any = start
    while i + least <= stop:
        word = _from(bits, i)
        pattern = np.int64(word & mask)
        distance: Any = (i - np.int64(table[pattern])) & 0xFFFF
        table[pattern] = np.uint16(i)
        length: Any = np.int64(0)
        if 0 < distance <= min(WINDOW, i):
            length = _equal(bits, odd, i, i - distance)
        if length < least:
            counts[plane[i]] += 1
            i += 1
            continue
        if length == _LOADED:
            more = length
            while more == _LOADED and length < LONGEST_MATCH:
                more = _equal(bits, odd, i + length, i + length - distance)
                length += more
            length = min(length, LONGEST_MATCH)
        length = min(length, stop - i)
        found[many, 0], found[many, 1], found[many, 2] = i, length, distance
        many += 1
        for k in range(1, least):
            table[(word >> np.uint64(k)) & mask] = np.uint16(i + k)
        i += length
    for k in range(i, stop):
        counts[plane[k]] += 1
    return many


@compiled
def _octets(
    codes: NDArray[np.uint32], lengths: NDArray[np.uint8], first: Any, second: Any, table: NDArray[np.uint64]
) -> None:
    """Codes of eight samples of two symbols, (256,), by their bits; each symbol's code has at most 7 bits."""
    for octet in range(256):
        code, length = np.uint64(0), np.uint64(0)
        for j in range(8):
            symbol = second if octet >> j & 1 else first
            code |= np.uint64(codes[symbol]) << length
            length += np.uint64(lengths[symbol])
        table[octet] = code


@compiled
def _put_literals(
    out: NDArray[np.uint8], state: Bits, plane: NDArray[np.uint8], bits: NDArray[np.uint8], odd: NDArray[np.uint8],
    start: Any, stop: Any, codes: NDArray[np.uint32], lengths: NDArray[np.uint8], first: Any, second: Any,
    octets: NDArray[np.uint64],
) -> Bits:  # fmt: skip
    """Append the codes of a stretch, eight samples at a time where they are of the two symbols."""
    one = np.uint64(1)
    short = np.int64(lengths[first])
    longer = np.int64(lengths[second]) - short
    eight = 0 < lengths[first] <= 7 and 0 < lengths[second] <= 7
    at: Any = start
    while at < stop:
        many = min(stop - at, 8)
        kept = (one << np.uint64(many)) - one
        if not eight or _from(odd, at) & kept != np.uint64(0):
            for i in range(at, at + many):
                state = put(out, state, np.uint64(codes[plane[i]]), np.uint64(lengths[plane[i]]))
        else:
            octet = _from(bits, at) & kept
            length = np.uint64(short * many + longer * np.int64(ones_of(octet)))
            state = put(out, state, octets[octet] & ((one << length) - one), length)
        at += many
    return state


@compiled
def code_two_symbols(plane: NDArray[np.uint8], least: Any, out: NDArray[np.uint8], position: NDArray[np.uint64]) -> Any:
    """Append blocks that decode to a plane, if it is made of two symbols that alternate; none is the stream's last.

    Nothing is appended where there is more than a few bytes of other symbols, or where runs are as small.

    Parameters
    ----------
    plane
        (bytes,) contiguous.
    least
        Shortest repeat, 8 to 16.
    out, position
        As of `code_plane`, with the same room.

    Returns
    -------
    bool
        Whether it was done.
    """
    first, second = two_symbols(plane)
    bits = np.empty(plane.size // 8 + ROOM, np.uint8)
    odd = np.empty(bits.size, np.uint8)
    if first == second or _FEW * to_bits(plane, first, second, bits, odd) > plane.size:
        return False
    if _changes(bits, plane.size) < _CHANGES * plane.size:
        return False
    state = (np.int64(position[0]), position[1], position[2])
    table = np.zeros(1 << least, np.uint16)
    octets = np.empty(256, np.uint64)
    found = np.empty((min(BLOCK, plane.size) // least + 1, 3), np.int32)
    fields, sizes = np.empty(LONGEST_MATCH + 1, np.uint64), np.empty(LONGEST_MATCH + 1, np.uint64)
    for start in range(0, plane.size, BLOCK):
        stop = min(start + BLOCK, plane.size)
        counts, far_counts = np.zeros(LITERALS, np.int64), np.zeros(DISTANCES, np.int64)
        counts[END] = 1
        many = _find(plane, bits, odd, start, stop, least, table, found, counts)
        size: Any = 0
        for k in range(many):
            entry: Any = np.int64(LENGTHS_OF_MATCHES[found[k, 1]])
            symbol, extra, _ = distance_symbol(np.int64(found[k, 2]))
            counts[entry & 511] += 1
            far_counts[symbol] += 1
            size += (entry >> 9 & 7) + extra
        state, begun, (lengths, codes), (far_lengths, far_codes) = put_head(
            out, state, plane, start, stop, counts, far_counts, size
        )  # fmt: skip
        if not begun:
            continue
        _octets(codes, lengths, first, second, octets)
        for n in range(least, LONGEST_MATCH + 1):
            entry = np.int64(LENGTHS_OF_MATCHES[n])
            fields[n] = np.uint64(codes[entry & 511]) | np.uint64(entry >> 12) << np.uint64(lengths[entry & 511])
            sizes[n] = np.uint64(lengths[entry & 511] + (entry >> 9 & 7))
        at: Any = start
        for k in range(many):
            begin: Any = np.int64(found[k, 0])
            if at < begin:
                state = _put_literals(
                    out, state, plane, bits, odd, at, begin, codes, lengths, first, second, octets
                )  # fmt: skip
            length: Any = np.int64(found[k, 1])
            at = begin + length
            symbol, extra, value = distance_symbol(np.int64(found[k, 2]))
            far = np.uint64(far_codes[symbol]) | np.uint64(value) << np.uint64(far_lengths[symbol])
            state = put(
                out, state, fields[length] | far << sizes[length],
                sizes[length] + np.uint64(far_lengths[symbol] + extra),
            )  # fmt: skip
        state = _put_literals(out, state, plane, bits, odd, at, stop, codes, lengths, first, second, octets)
        state = put(out, state, np.uint64(codes[END]), np.uint64(lengths[END]))
    position[0], position[1], position[2] = state
    return True
