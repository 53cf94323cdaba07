"""Deflate of a byte plane by Huffman codes alone, no match search: what the noise in low bytes is good for.

A block whose statistics hold for long is coded by what a part of it says: to count every symbol takes as long as to
write its code. Where they change - a slow potential, of which a stretch covers a few steps only - short blocks with
codes of their own are smaller than match search makes them, and a fraction of its time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import Bits, load16, put
from dandify.kernels.blocks import codes_of
from dandify.kernels.huffman import (
    DISTANCES,
    END,
    LITERALS,
    LONGEST,
    code_lengths,
    entropy_bits,
    put_header,
)
from dandify.kernels.jit import compiled, inlined
from dandify.kernels.planar import SEGMENT, count_symbols, put_stored

_STRIPE = 64  # symbols that are counted in a row
_EVERY = 8  # of so many such stripes, one is; a counted symbol stands for as many
_SAMPLED = 16_384  # symbols, at least, of a stretch that is counted in part
_WRITTEN = 8192  # symbols whose codes are written before it is looked whether the block has become too large
_LIVE = 128  # symbols of a block for each that occurs: fewer, and a table of pairs does not pay
_USED_BITS = 5 + 12  # of a symbol: its length in the header, and what codes made from a part of the block cost more


@compiled
def _count_part(plane: NDArray[np.uint8], start: Any, stop: Any, four: NDArray[np.uint32]) -> None:
    """Count one stripe of eight, each time another one, so that interleaved channels are met alike."""
    window = _STRIPE * _EVERY
    for turn in range((stop - start) // window):
        first = start + window * turn + _STRIPE * (5 * turn & 7)
        for i in range(first, first + _STRIPE, 4):
            four[0, plane[np.uint64(i)]] += np.uint32(1)
            four[1, plane[np.uint64(i + 1)]] += np.uint32(1)
            four[2, plane[np.uint64(i + 2)]] += np.uint32(1)
            four[3, plane[np.uint64(i + 3)]] += np.uint32(1)


@compiled
def count_some(
    plane: NDArray[np.uint8], start: Any, stop: Any, four: NDArray[np.uint32], counts: NDArray[np.int64]
) -> Any:
    """Add about eight times the symbols of a stretch to ``counts``; returns whether all were counted."""
    if stop - start >= _SAMPLED:
        four[:] = 0
        _count_part(plane, start, stop, four)
        for symbol in range(256):
            for k in range(4):
                counts[symbol] += np.int64(four[k, symbol]) * (_EVERY * _EVERY)
        return False
    before = counts[:256].copy()
    count_symbols(plane, start, stop, four, counts)
    for symbol in range(256):
        counts[symbol] += (counts[symbol] - before[symbol]) * (_EVERY - 1)
    return True


@compiled
def _bounds(plane: NDArray[np.uint8]) -> tuple[Any, Any]:
    """Least and greatest byte; LLVM makes vector instructions of it."""
    least, most = np.uint8(255), np.uint8(0)
    for i in range(plane.size):
        least = plane[i] if plane[i] < least else least
        most = plane[i] if plane[i] > most else most
    return np.int64(least), np.int64(most)


@compiled
def _signed_bounds(plane: NDArray[np.int8]) -> tuple[Any, Any]:
    """Give the same of bytes with a sign."""
    least, most = np.int8(127), np.int8(-128)
    for i in range(plane.size):
        least = plane[i] if plane[i] < least else least
        most = plane[i] if plane[i] > most else most
    return np.int64(least), np.int64(most)


@compiled
def _give_all_a_code(plane: NDArray[np.uint8], counts: NDArray[np.int64]) -> None:
    """Count each symbol between the least and the greatest of a stretch at least once, with or without a sign."""
    least, most = _bounds(plane)
    if most - least > 127:
        low, high = _signed_bounds(plane.view(np.int8))
        if high - low < most - least:
            least, most = low, high
    for symbol in range(least, most + 1):
        counts[symbol & 255] = max(counts[symbol & 255], np.int64(1))


@compiled
def _make_pairs(
    codes: NDArray[np.uint32], lengths: NDArray[np.uint8], pairs: NDArray[np.uint32], sizes: NDArray[np.uint8]
) -> None:
    """Codes of two symbols by their 16 bits: rows of those that occur, each from its first to its last one."""
    wide = np.empty(256, np.uint32)
    low: Any = np.int64(-1)  # last below 128
    high: Any = np.int64(256)  # first above
    for symbol in range(256):
        wide[symbol] = lengths[symbol]
        if lengths[symbol]:
            if symbol < 128:
                low = symbol
            elif symbol < high:
                high = symbol
    for second in range(256):
        if lengths[second] == 0:
            continue
        row, sums = pairs[second << 8 : (second + 1) << 8], sizes[second << 8 : (second + 1) << 8]
        code, length = codes[second], lengths[second]
        for side in range(2):
            begin, end = (np.int64(0), low + 1) if side == 0 else (high, np.int64(256))
            for first in range(begin, end):
                place = np.uint64(first)
                row[place] = codes[place] | code << wide[place]
                sums[place] = lengths[place] + length


@compiled
def _put_pairs(
    out: NDArray[np.uint8], state: Bits, plane: NDArray[np.uint8], start: Any, stop: Any,
    pairs: NDArray[np.uint32], sizes: NDArray[np.uint8],
) -> Bits:  # fmt: skip
    """Append the codes of a stretch of whole eights: their bits are written together where they are few enough."""
    room = np.uint64(56)
    for i in range(start, stop, 8):
        a, b, c, d = load16(plane, i), load16(plane, i + 2), load16(plane, i + 4), load16(plane, i + 6)
        size, more = np.uint64(sizes[a]), np.uint64(sizes[c])
        bits = np.uint64(pairs[a]) | np.uint64(pairs[b]) << size
        next_bits = np.uint64(pairs[c]) | np.uint64(pairs[d]) << more
        size += np.uint64(sizes[b])
        more += np.uint64(sizes[d])
        if size + more <= room:
            bits |= next_bits << size
            size += more
        else:
            state = put(out, state, bits, size)
            bits, size = next_bits, more
        state = put(out, state, bits, size)
    return state


@compiled
def _put_singles(
    out: NDArray[np.uint8], state: Bits, plane: NDArray[np.uint8], start: Any, stop: Any,
    codes: NDArray[np.uint32], lengths: NDArray[np.uint8],
) -> Bits:  # fmt: skip
    """Append the codes of a stretch."""
    whole_fours = start + (stop - start) // 4 * 4
    for i in range(start, whole_fours, 4):
        a, b = np.uint64(plane[np.uint64(i)]), np.uint64(plane[np.uint64(i + 1)])
        c, d = np.uint64(plane[np.uint64(i + 2)]), np.uint64(plane[np.uint64(i + 3)])
        size, more = np.uint64(lengths[a]), np.uint64(lengths[c])
        bits = np.uint64(codes[a]) | np.uint64(codes[b]) << size
        next_bits = np.uint64(codes[c]) | np.uint64(codes[d]) << more
        size += np.uint64(lengths[b])
        state = put(out, state, bits | next_bits << size, size + more + np.uint64(lengths[d]))
    for i in range(whole_fours, stop):
        state = put(out, state, np.uint64(codes[plane[i]]), np.uint64(lengths[plane[i]]))
    return state


@inlined
def _put_block(
    out: NDArray[np.uint8], state: Bits, plane: NDArray[np.uint8], start: Any, stop: Any, counts: NDArray[np.int64],
    pairs: NDArray[np.uint32], sizes: NDArray[np.uint8],
) -> tuple[Bits, Any]:  # fmt: skip
    """Append one block, and say so; or leave all as it was, where it is no smaller than the bytes themselves.

    Every symbol of the stretch has a count.
    """
    counts[END] = 1
    lengths, codes = codes_of(counts)
    weight: Any = np.int64(0)
    bits: Any = np.int64(0)
    live: Any = np.int64(0)
    for symbol in range(256):
        weight += counts[symbol]
        bits += counts[symbol] * np.int64(lengths[symbol])
        live += counts[symbol] > 0
    if bits >= 8 * weight:
        return state, False
    # Two codes of one bit, where none is needed: decoders have been known to refuse less.
    far = np.zeros(DISTANCES, np.uint8)
    far[0] = far[1] = 1
    now, _ = put_header(out, state, lengths, far, np.bool_(True))
    paired = live * _LIVE <= stop - start
    if paired:
        _make_pairs(codes, lengths, pairs, sizes)
    most = state[0] + stop - start
    for at in range(start, stop, _WRITTEN):  # the codes of so many fit into what `bound` leaves behind the bytes
        end = min(at + _WRITTEN, stop)
        if paired:
            eights = at + (end - at) // 8 * 8
            now = _put_pairs(out, now, plane, at, eights, pairs, sizes)
            at = eights
        now = _put_singles(out, now, plane, at, end, codes, lengths)
        if now[0] >= most:
            return state, False
    return put(out, now, np.uint64(codes[END]), np.uint64(lengths[END])), True


@compiled
def _cost(counts: NDArray[np.int64]) -> float:
    """Bits of a block with these counts, as `count_some` makes them."""
    used = 0
    for symbol in range(256):
        used += counts[symbol] > 0
    return entropy_bits(counts) / _EVERY + 90 + _USED_BITS * used


@compiled
def code_literals(plane: NDArray[np.uint8], block: Any, out: NDArray[np.uint8], position: NDArray[np.uint64]) -> None:
    """Append blocks of literals that decode to a plane; none of them is the last of the stream.

    Parameters
    ----------
    plane
        (bytes,) contiguous.
    block
        Symbols of a block, all of them counted; from `SEGMENT` on, blocks are as long as the statistics stay alike.
    out
        (bytes,) with room for `bound` of the plane.
    position
        (3,) uint64: position in ``out``, bits not yet written, how many they are; updated.
    """
    size = plane.size
    step = min(block, SEGMENT)
    segments = -(-size // step)
    four = np.empty((4, 256), np.uint32)
    pairs, sizes = np.empty(65536, np.uint32), np.empty(65536, np.uint8)
    together, following = np.zeros(LITERALS, np.int64), np.zeros(LITERALS, np.int64)
    joint = np.zeros(LITERALS, np.int64)
    state = (np.int64(position[0]), position[1], position[2])
    kept: Any = np.int64(0)  # where what is to be stored begins
    counted: Any = -1  # the segment that is in ``following``
    known: Any = True
    k: Any = 0
    while k < segments:
        start = k * step
        if step < SEGMENT:
            together[:] = 0
            count_symbols(plane, start, min(start + step, size), four, together)
            all_known = True
            k += 1
        else:
            if counted == k:
                for s in range(LITERALS):  # a slice would have numba compile the words of an error
                    together[s] = following[s]
                all_known = known
            else:
                together[:] = 0
                all_known = count_some(plane, start, min(start + step, size), four, together)
            bits = min(_cost(together), 8.0 * step)
            k += 1
            while k < segments:
                following[:] = 0
                known = count_some(plane, k * step, min((k + 1) * step, size), four, following)
                counted = k
                alone = min(_cost(following), 8.0 * step)
                for s in range(256):
                    joint[s] = together[s] + following[s]
                both = _cost(joint)
                if both > bits + alone:
                    break
                for s in range(256):
                    together[s] = joint[s]
                all_known = all_known and known
                bits = both
                k += 1
            if bits >= 8.0 * (min(k * step, size) - start):  # as noise is in all its bits
                continue
        stop = min(k * step, size)
        if not all_known:
            _give_all_a_code(plane[start:stop], together)
        before = put_stored(out, state, plane, kept, start)
        after, coded = _put_block(out, before, plane, start, stop, together, pairs, sizes)
        if coded:
            state, kept = after, stop
    state = put_stored(out, state, plane, kept, size)
    position[0], position[1], position[2] = state


@compiled
def literal_bits(plane: NDArray[np.uint8], block: Any) -> float:
    """Bits that `code_literals` would take for a plane in blocks of so many symbols, each alone, nearly.

    Parameters
    ----------
    plane
        (bytes,)
    block
        Symbols.
    """
    four, counts = np.empty((4, 256), np.uint32), np.empty(LITERALS, np.int64)
    lengths, far, out = np.zeros(LITERALS, np.uint8), np.zeros(DISTANCES, np.uint8), np.empty(0, np.uint8)
    far[0] = far[1] = 1
    total = 0.0
    for start in range(0, plane.size, block):
        stop = min(start + block, plane.size)
        counts[:] = 0
        count_symbols(plane, start, stop, four, counts)
        counts[END] = 1
        code_lengths(counts, np.int64(LONGEST), lengths)
        state = (np.int64(0), np.uint64(0), np.uint64(0))
        _, bits = put_header(out, state, lengths, far, np.bool_(False))
        for symbol in range(257):
            bits += counts[symbol] * np.int64(lengths[symbol])
        total += min(float(bits), 8.0 * (stop - start))
    return total
