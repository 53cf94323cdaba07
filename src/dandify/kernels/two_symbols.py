"""Planes of two symbols, as one bit for each: what ten samples repeat is looked up by these bits themselves.

The high bytes of samples around zero are 0 and 255, and hardly anything else. Repeats are all of one length: no step
waits for the one before to say where it begins, and a length of ten has no extra bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import Bits, equal64, leading_zeros, load64, ones_of, put, store64
from dandify.kernels.blocks import put_head
from dandify.kernels.huffman import DISTANCES, END, LITERALS
from dandify.kernels.jit import compiled, inlined
from dandify.kernels.planar import WINDOW, count_symbols

BLOCK = 262_144  # symbols of a block
ROOM = 16  # bytes behind the bits that are loaded with them
REPEAT = 10  # samples of a repeat: 1,024 patterns, each of which is in the window; 8 to 13 were tried
_SYMBOL = 264  # of that length
_LITERALS = 31  # in the place of a distance's symbol
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
        (bytes / 8 + `ROOM`,) to be filled, the first byte of eight in the lowest bit. What lies behind the plane is
        odd.

    Returns
    -------
    int
        How many are neither.
    """
    whole = plane.size >> 6
    many: Any = 0
    for group in range(whole):
        seconds = equal64(plane, 64 * group, np.uint8(second))
        others = ~(equal64(plane, 64 * group, np.uint8(first)) | seconds)
        store64(bits, 8 * group, seconds)
        store64(odd, 8 * group, others)
        many += np.int64(ones_of(others))
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
    """Bits from a position on, 57 of them for certain."""
    return load64(bits, at >> 3) >> np.uint64(at & 7)


@inlined
def _find(
    plane: NDArray[np.uint8], bits: NDArray[np.uint8], odd: NDArray[np.uint8], start: Any, stop: Any,
    table: NDArray[np.uint16], found: NDArray[np.uint32], counts: NDArray[np.int64], far_counts: NDArray[np.int64],
) -> tuple[Any, Any]:  # fmt: skip
    """Cut a stretch into repeats of `REPEAT` samples and literals, count both, and say how many there are of each.

    The table says where each pattern was noted last, but for multiples of 65,536, and what it says is looked up: it
    need not be cleared between blocks. It never names a place before the plane.
    """
    mask, one = np.uint64((1 << REPEAT) - 1), np.uint64(1)
    many = np.uint64(0)
    literals: Any = 0
    i: Any = start
    while i < stop:
        taken: Any = min(REPEAT, stop - i)
        word, others = _from(bits, i), _from(odd, i) & mask
        if others != np.uint64(0):  # up to the last odd one; or the end, for what lies behind is odd
            taken = min(64 - np.int64(leading_zeros(others)), taken)
        else:
            distance = np.uint64(np.uint16(i) - table[word & mask]) & np.uint64(0xFFFF)
            for k in range(REPEAT):
                table[word >> np.uint64(k) & mask] = np.uint16(i + k)
            if taken == REPEAT and distance - one < np.uint64(WINDOW):
                before = i - np.int64(distance)
                if ((word ^ _from(bits, before)) | _from(odd, before)) & mask == np.uint64(0):
                    less = distance - one
                    extra = np.uint64(62) - leading_zeros(less | np.uint64(2))
                    symbol = np.uint64(2) * extra + (less >> extra)
                    far_counts[symbol] += 1
                    found[many] = np.uint32(symbol << np.uint64(16) | (less & ((one << extra) - one)))
                    many += one
                    i += REPEAT
                    continue
        for k in range(i, i + taken):
            counts[plane[k]] += 1
        found[many] = np.uint32(_LITERALS << 16 | taken)
        many += one
        literals += 1
        i += taken
    return np.int64(many) - literals, literals


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
def code_two_symbols(plane: NDArray[np.uint8], out: NDArray[np.uint8], position: NDArray[np.uint64]) -> Any:
    """Append blocks that decode to a plane, if it is made of two symbols that alternate; none is the stream's last.

    Nothing is appended where there is more than a few bytes of other symbols, or where runs are as small.

    Parameters
    ----------
    plane
        (bytes,) contiguous.
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
    table = np.zeros(1 << REPEAT, np.uint16)
    octets = np.empty(256, np.uint64)
    # Two steps take ten samples at least: the second begins behind the last odd one of ten.
    found = np.empty(2 * (min(BLOCK, plane.size) // REPEAT + 2), np.uint32)
    fields, sizes, shifts = (
        np.empty(DISTANCES, np.uint64),
        np.empty(DISTANCES, np.uint64),
        np.empty(DISTANCES, np.uint64),
    )
    for start in range(0, plane.size, BLOCK):
        stop = min(start + BLOCK, plane.size)
        counts, far_counts = np.zeros(LITERALS, np.int64), np.zeros(DISTANCES, np.int64)
        counts[END] = 1
        repeats, literals = _find(plane, bits, odd, start, stop, table, found, counts, far_counts)
        counts[_SYMBOL] = repeats
        extra_bits: Any = np.int64(0)
        for symbol in range(4, DISTANCES):
            extra_bits += far_counts[symbol] * ((symbol >> 1) - 1)
        state, begun, (lengths, codes), (far_lengths, far_codes) = put_head(
            out, state, plane, start, stop, counts, far_counts, extra_bits
        )  # fmt: skip
        if not begun:
            continue
        _octets(codes, lengths, first, second, octets)
        for symbol in range(DISTANCES):
            shifts[symbol] = np.uint64(lengths[_SYMBOL] + far_lengths[symbol])
            fields[symbol] = np.uint64(codes[_SYMBOL]) | np.uint64(far_codes[symbol]) << np.uint64(lengths[_SYMBOL])
            sizes[symbol] = shifts[symbol] + np.uint64(max(0, (symbol >> 1) - 1))
        at: Any = start
        k, many, one = np.uint64(0), np.uint64(repeats + literals), np.uint64(1)
        while k < many:
            symbol_of, value = _parts(found[k])
            k += one
            if symbol_of == np.uint64(_LITERALS):
                end = at + np.int64(value)
                state = _put_literals(out, state, plane, bits, odd, at, end, codes, lengths, first, second, octets)
                at = end
                continue
            field, size = fields[symbol_of] | value << shifts[symbol_of], sizes[symbol_of]
            at += REPEAT
            if k < many and found[k] < np.uint32(_LITERALS << 16):  # two at a time
                symbol_of, value = _parts(found[k])
                field |= (fields[symbol_of] | value << shifts[symbol_of]) << size
                size += sizes[symbol_of]
                at += REPEAT
                k += one
            state = put(out, state, field, size)
        state = put(out, state, np.uint64(codes[END]), np.uint64(lengths[END]))
    position[0], position[1], position[2] = state
    return True


@compiled
def _parts(entry: Any) -> tuple[Any, Any]:
    """Symbol and extra bits of a distance; or `_LITERALS`, and how many."""
    return np.uint64(entry) >> np.uint64(16), np.uint64(entry) & np.uint64(0xFFFF)
