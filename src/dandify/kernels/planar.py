"""Deflate of one byte plane without match search: Huffman codes, and runs that repeat what lies one distance back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import Bits, copy_bytes, leading_zeros, load64, put, store64, trailing_zeros
from dandify.kernels.huffman import (
    DISTANCES,
    END,
    LITERALS,
    LONGEST,
    canonical,
    code_lengths,
    entropy_bits,
    put_header,
)
from dandify.kernels.jit import compiled, inlined

SEGMENT = 32768  # symbols whose statistics are taken together; a block is one or more of these
MOST_STORED = 65535  # bytes of a stored block, RFC 1951, 3.2.4
LEAST_RUN = 8  # shorter ones are not looked for
LONGEST_MATCH = 258
WINDOW = 32768  # farthest distance


def _length_table() -> NDArray[np.uint32]:
    """For each length of a match: its symbol, the number of its extra bits (from bit 9), the bits (from bit 12)."""
    table = np.zeros(LONGEST_MATCH + 1, np.uint32)
    symbol, length = 257, 3
    for extra in (0, 0, 1, 2, 3, 4, 5):
        for _ in range(8 if (symbol, extra) == (257, 0) else 0 if extra == 0 else 4):
            for value in range(1 << extra):
                table[length] = symbol | extra << 9 | value << 12
                length += 1
            symbol += 1
    table[LONGEST_MATCH] = 285
    return table


LENGTHS_OF_MATCHES = _length_table()


@compiled
def distance_symbol(distance: Any) -> tuple[Any, Any, Any]:
    """Symbol, number of extra bits, and extra bits of a match's distance (RFC 1951, 3.2.5)."""
    if distance <= 4:
        return distance - 1, 0, 0
    extra = 62 - np.int64(leading_zeros(np.uint64(distance - 1)))
    return 2 * extra + 2 + (((distance - 1) >> extra) & 1), extra, (distance - 1) & ((1 << extra) - 1)


@compiled
def count_symbols(
    plane: NDArray[np.uint8], start: int, stop: int, four: NDArray[np.uint32], counts: NDArray[np.int64]
) -> None:
    """Add the symbols of a stretch to ``counts``: four tables, so that equal neighbours need not wait."""
    four[:] = 0
    byte = np.uint64(255)
    i = start
    while i + 8 <= stop:
        word = load64(plane, i)
        four[0, word & byte] += np.uint32(1)
        four[1, (word >> np.uint64(8)) & byte] += np.uint32(1)
        four[2, (word >> np.uint64(16)) & byte] += np.uint32(1)
        four[3, (word >> np.uint64(24)) & byte] += np.uint32(1)
        four[0, (word >> np.uint64(32)) & byte] += np.uint32(1)
        four[1, (word >> np.uint64(40)) & byte] += np.uint32(1)
        four[2, (word >> np.uint64(48)) & byte] += np.uint32(1)
        four[3, word >> np.uint64(56)] += np.uint32(1)
        i += 8
    while i < stop:
        four[0, plane[i]] += np.uint32(1)
        i += 1
    for symbol in range(256):
        counts[symbol] += np.int64(four[0, symbol]) + four[1, symbol] + four[2, symbol] + four[3, symbol]


@compiled
def find_runs(
    plane: NDArray[np.uint8], start: Any, stop: int, distance: int, least: int, runs: NDArray[np.int32], found: Any
) -> Any:
    """Stretches that equal what lies ``distance`` before them.

    Parameters
    ----------
    plane
        (bytes,)
    start, stop
        What is looked at; what lies before it may be repeated.
    distance
        Bytes.
    least
        Shortest run, at least 8.
    runs
        (any, 2), start and length of each, to be filled.
    found
        How many there are already.

    Returns
    -------
    int
        How many there are now.
    """
    i: Any = max(start, distance)
    while i + 8 <= stop:
        different = load64(plane, i) ^ load64(plane, i - distance)
        if different != np.uint64(0):
            i += 8 - np.int64(leading_zeros(different) >> np.uint64(3))
            continue
        length: Any = 8
        while i + length + 8 <= stop:
            different = load64(plane, i + length) ^ load64(plane, i + length - distance)
            if different != np.uint64(0):
                length += np.int64(trailing_zeros(different) >> np.uint64(3))
                break
            length += 8
        else:
            while i + length < stop and plane[i + length] == plane[i + length - distance]:
                length += 1
        if length >= least:
            runs[found, 0] = i
            runs[found, 1] = length
            found += 1
        i += length
    return found


@compiled
def _next_match(left: Any) -> Any:
    """Length of the next match of a run: at most 258, and leaving nothing or at least 3."""
    if left <= LONGEST_MATCH:
        return left
    return LONGEST_MATCH if left >= LONGEST_MATCH + 3 else left - 3


@compiled
def _tally(
    plane: NDArray[np.uint8], start: Any, stop: int, runs: NDArray[np.int32], four: NDArray[np.uint32],
    counts: NDArray[np.int64],
) -> Any:  # fmt: skip
    """Add the literals and lengths of a stretch to ``counts`` (286,); returns how many matches."""
    matches: Any = 0
    position: Any = start
    for k in range(runs.shape[0]):
        begin: Any = np.int64(runs[k, 0])
        left: Any = np.int64(runs[k, 1])
        if begin - position > 4096:
            count_symbols(plane, position, begin, four, counts)
        else:
            for i in range(position, begin):
                counts[plane[i]] += 1
        position = begin + left
        if left > 4 * LONGEST_MATCH:
            whole = left // LONGEST_MATCH - 2
            counts[285] += whole
            matches += whole
            left -= whole * LONGEST_MATCH
        while left:
            length = _next_match(left)
            counts[LENGTHS_OF_MATCHES[length] & 511] += 1
            matches += 1
            left -= length
    count_symbols(plane, position, stop, four, counts)
    return matches


@compiled
def _bits(counts: NDArray[np.int64], matches: int, distance_bits: int) -> float:
    """Bits of a block with these counts, its header roughly, but no more than stored."""
    bits = entropy_bits(counts) + matches * (1 + distance_bits)
    used = 0
    for count in counts:
        used += count > 0
    for symbol in range(257, LITERALS):
        length_extra = 0 if symbol < 265 or symbol == 285 else (symbol - 261) // 4
        bits += counts[symbol] * length_extra
    return bits + 90 + 5 * used


@compiled
def estimate(plane: NDArray[np.uint8], distance: int, least: int) -> float:
    """Bits that one block of `code_plane` would take for these bytes, nearly; infinite where nothing repeats.

    Parameters
    ----------
    plane
        (bytes,)
    distance, least
        Of runs; distance 0 for none.
    """
    counts = np.zeros(LITERALS, np.int64)
    four = np.empty((4, 256), np.uint32)
    runs = np.empty((plane.size // LEAST_RUN + 1 if distance else 0, 2), np.int32)
    found = find_runs(plane, np.int64(0), plane.size, distance, least, runs, np.int64(0)) if distance else 0
    if distance and not found:
        return np.inf
    matches = _tally(plane, np.int64(0), plane.size, runs[:found], four, counts)
    counts[END] = 1
    distance_bits = distance_symbol(distance)[1] if distance else 0
    lengths = np.zeros(LITERALS, np.uint8)
    code_lengths(counts, np.int64(LONGEST), lengths)  # entropy is too low for two symbols: the end has a code, too
    excess = -entropy_bits(counts)
    for s in range(LITERALS):
        excess += counts[s] * np.int64(lengths[s])
    return min(_bits(counts, matches, distance_bits) + excess, 40.0 + 8.0 * plane.size)


@compiled
def find_period(plane: NDArray[np.uint8], farthest: int) -> int:
    """Distance at which eight bytes repeat at most of 64 places of a sample; 0 where they hardly do.

    Of distances that do so about as often, the smallest: a period, and not two of them.
    """
    places = 64
    farthest = min(farthest, plane.size // 2 - 8)
    hits = np.zeros(max(farthest, 0) + 1, np.int64)
    for distance in range(1, farthest + 1):
        for k in range(places):
            at = farthest + (plane.size - 8 - farthest) * k // places
            hits[distance] += load64(plane, at) == load64(plane, at - distance)
    most = np.int64(0)
    for hit in hits:
        most = max(most, hit)
    if most < 4:
        return 0
    for distance in range(1, farthest + 1):
        if 4 * hits[distance] >= 3 * most:
            return distance
    return 0


@compiled
def align(out: NDArray[np.uint8], state: Bits) -> Bits:
    """End at a byte: by an empty stored block, unless the stream is at one already."""
    if state[2] == np.uint64(0):
        return state
    state = _pad(out, put(out, state, np.uint64(0), np.uint64(3)))
    return put(out, state, np.uint64(0xFFFF0000), np.uint64(32))


@compiled
def _pad(out: NDArray[np.uint8], state: Bits) -> Bits:
    """Zero bits up to the next byte."""
    return put(out, state, np.uint64(0), (np.uint64(8) - state[2]) & np.uint64(7))


@compiled
def put_stored(out: NDArray[np.uint8], state: Bits, plane: NDArray[np.uint8], start: int, stop: int) -> Bits:
    """Append stored blocks of a stretch."""
    while start < stop:
        size = min(MOST_STORED, stop - start)
        state = _pad(out, put(out, state, np.uint64(0), np.uint64(3)))
        state = put(out, state, np.uint64(size | (size ^ 0xFFFF) << 16), np.uint64(32))
        position = state[0]
        copy_bytes(out, position, plane, start, size)
        state = (position + size, state[1], state[2])
        start += size
    return state


@compiled
def _put_literals(
    out: NDArray[np.uint8], state: Bits, plane: NDArray[np.uint8], start: int, stop: int,
    singles: NDArray[np.uint32], pairs: NDArray[np.uint32], paired: bool,
) -> Bits:  # fmt: skip
    """Codes of a stretch. A table's entry is a code, and its length from bit 27 (pairs) or 16 (singles) on."""
    position, held, many = state
    byte, code, low = np.uint64(255), np.uint64(0xFFFF), np.uint64(0xFFFF)
    three, seven = np.uint64(3), np.uint64(7)
    pair_code, pair_shift = np.uint64((1 << 27) - 1), np.uint64(27)
    i = start
    while i + 8 <= stop:
        word = load64(plane, i)
        for _ in range(2):
            if paired:
                a = np.uint64(pairs[word & low])
                b = np.uint64(pairs[(word >> np.uint64(16)) & low])
                length = a >> pair_shift
                bits = a & pair_code | (b & pair_code) << length
                length += b >> pair_shift
            else:
                a = np.uint64(singles[word & byte])
                b = np.uint64(singles[(word >> np.uint64(8)) & byte])
                c = np.uint64(singles[(word >> np.uint64(16)) & byte])
                d = np.uint64(singles[(word >> np.uint64(24)) & byte])
                length = a >> np.uint64(16)
                bits = a & code | (b & code) << length
                length += b >> np.uint64(16)
                more = c >> np.uint64(16)
                bits |= (c & code | (d & code) << more) << length
                length += more + (d >> np.uint64(16))
            held |= bits << many
            many += length
            store64(out, position, held)
            whole = many >> three
            position += np.int64(whole)
            held >>= whole << three
            many &= seven
            word >>= np.uint64(32)
        i += 8
    state = (position, held, many)
    while i < stop:
        entry = np.uint64(singles[plane[i]])
        state = put(out, state, entry & code, entry >> np.uint64(16))
        i += 1
    return state


@compiled
def _put_octets(
    out: NDArray[np.uint8], state: Bits, plane: NDArray[np.uint8], start: int, stop: int,
    singles: NDArray[np.uint32], first: int, second: int,
) -> Bits:  # fmt: skip
    """Codes of a stretch of two symbols, eight at a time; their codes have at most 7 bits."""
    table, lengths = np.empty(256, np.uint64), np.empty(256, np.uint64)
    for octet in range(256):
        bits, length = np.uint64(0), np.uint64(0)
        for i in range(8):
            entry = np.uint64(singles[second if octet >> i & 1 else first])
            bits |= (entry & np.uint64(0xFFFF)) << length
            length += entry >> np.uint64(16)
        table[octet], lengths[octet] = bits, length
    shift = np.uint64(0)
    while ((first ^ second) >> np.int64(shift)) & 1 == 0:
        shift += np.uint64(1)
    turned = np.uint64(0) if second >> np.int64(shift) & 1 else np.uint64(255)
    ones, gather = np.uint64(0x0101010101010101), np.uint64(0x0102040810204080)
    i = start
    while i + 8 <= stop:
        octet_of = ((((load64(plane, i) >> shift) & ones) * gather) >> np.uint64(56)) ^ turned
        state = put(out, state, table[octet_of], lengths[octet_of])
        i += 8
    while i < stop:
        entry = np.uint64(singles[plane[i]])
        state = put(out, state, entry & np.uint64(0xFFFF), entry >> np.uint64(16))
        i += 1
    return state


@inlined
def _put_block(
    out: NDArray[np.uint8], state: Bits, plane: NDArray[np.uint8], start: int, stop: int, runs: NDArray[np.int32],
    counts: NDArray[np.int64], matches: int, distance: int, pairs: NDArray[np.uint32],
) -> Bits:  # fmt: skip
    """One block in the shorter form, Huffman or stored."""
    counts[END] = 1
    symbol, extra_bits, extra = distance_symbol(max(distance, 1))
    lengths, codes = np.zeros(LITERALS, np.uint8), np.zeros(LITERALS, np.uint32)
    code_lengths(counts, np.int64(LONGEST), lengths)
    canonical(lengths, codes)
    # Two codes of one bit, even where one or none is needed: decoders have been known to refuse less.
    far = np.zeros(DISTANCES, np.uint8)
    far[symbol] = 1
    far[1 if symbol == 0 else 0] = 1
    code_of_distance = np.uint64(0 if symbol == 0 else 1)
    state, bits = put_header(out, state, lengths, far, np.bool_(False))
    for s in range(LITERALS):
        bits += counts[s] * np.int64(lengths[s])
    for s in range(265, LITERALS - 1):
        bits += counts[s] * ((s - 261) // 4)
    bits += matches * (1 + extra_bits)
    size = stop - start
    if bits >= 8 * size + 40 * (1 + (size - 1) // MOST_STORED):
        return put_stored(out, state, plane, start, stop)
    state, _ = put_header(out, state, lengths, far, np.bool_(True))
    singles, live, many = np.zeros(256, np.uint32), np.zeros(256, np.int64), 0
    for s in range(256):
        if lengths[s]:
            singles[s] = codes[s] | np.uint32(lengths[s]) << np.uint32(16)
            live[many] = s
            many += 1
    paired = many * many <= (stop - start) // 4
    octets = many == 2 and max(lengths[live[0]], lengths[live[1]]) <= 7
    if paired:
        for b in live[:many]:
            for a in live[:many]:
                pairs[b << 8 | a] = (
                    codes[a] | codes[b] << lengths[a] | np.uint32(lengths[a] + lengths[b]) << np.uint32(27)
                )
    position = start
    distance_field = code_of_distance | np.uint64(extra) << np.uint64(1)
    for k in range(runs.shape[0]):
        begin: Any = np.int64(runs[k, 0])
        left: Any = np.int64(runs[k, 1])
        state = _put_literals(out, state, plane, position, begin, singles, pairs, paired)
        position = begin + left
        while left:
            length = _next_match(left)
            entry: Any = np.int64(LENGTHS_OF_MATCHES[length])
            s, more = entry & 511, entry >> 9 & 7
            field = np.uint64(codes[s]) | np.uint64(entry >> 12) << np.uint64(lengths[s])
            field_bits = np.uint64(lengths[s] + more)
            field |= distance_field << field_bits
            state = put(out, state, field, field_bits + np.uint64(1 + extra_bits))
            left -= length
    if octets and stop - position > 2048:
        state = _put_octets(out, state, plane, position, stop, singles, live[0], live[1])
    else:
        state = _put_literals(out, state, plane, position, stop, singles, pairs, paired)
    return put(out, state, np.uint64(codes[END]), np.uint64(lengths[END]))


@compiled
def code_plane(
    plane: NDArray[np.uint8], distance: int, least: int, out: NDArray[np.uint8], position: NDArray[np.uint64]
) -> None:
    """Append blocks that decode to a plane; none of them is the last of the stream.

    Parameters
    ----------
    plane
        (bytes,) contiguous.
    distance, least
        Runs of at least so many bytes that repeat what lies so many bytes before become matches. Distance 0: none.
    out
        (bytes,) with room for `bound` of the plane.
    position
        (3,) uint64: position in ``out``, bits not yet written, how many they are; updated.
    """
    size = plane.size
    segments = -(-size // SEGMENT)
    counts = np.zeros((segments, LITERALS), np.int64)
    matches = np.zeros(segments, np.int64)
    four = np.empty((4, 256), np.uint32)
    runs = np.empty((size // LEAST_RUN + 1 if distance else 0, 2), np.int32)
    firsts = np.zeros(segments + 1, np.int64)
    for k in range(segments):
        start, stop = k * SEGMENT, min((k + 1) * SEGMENT, size)
        firsts[k + 1] = find_runs(plane, start, stop, distance, least, runs, firsts[k]) if distance else 0
        matches[k] = _tally(plane, start, stop, runs[firsts[k] : firsts[k + 1]], four, counts[k])
    pairs = np.empty(65536, np.uint32)
    extra_bits = distance_symbol(distance)[1] if distance else 0
    state = (np.int64(position[0]), position[1], position[2])
    joint_counts = np.empty(LITERALS, np.int64)
    k = 0
    while k < segments:
        start, first = k * SEGMENT, firsts[k]
        together, many = counts[k].copy(), matches[k]
        bits = min(_bits(together, many, extra_bits), 8.0 * SEGMENT)
        k += 1
        while k < segments:
            alone = min(_bits(counts[k], matches[k], extra_bits), 8.0 * SEGMENT)
            for s in range(LITERALS):
                joint_counts[s] = together[s] + counts[k, s]
            joint = _bits(joint_counts, many + matches[k], extra_bits)
            if joint > bits + alone:
                break
            for s in range(LITERALS):
                together[s] = joint_counts[s]
            many += matches[k]
            bits = joint
            k += 1
        stop = min(k * SEGMENT, size)
        if bits >= 8.0 * (stop - start):  # as noise is in all its bits
            state = put_stored(out, state, plane, start, stop)
            continue
        state = _put_block(out, state, plane, start, stop, runs[first : firsts[k]], together, many, distance, pairs)
    position[0], position[1], position[2] = state


@compiled
def align_state(out: NDArray[np.uint8], state: NDArray[np.uint64]) -> None:
    """`align` for a state in an array."""
    state[0], state[1], state[2] = align(out, (np.int64(state[0]), state[1], state[2]))


@compiled
def finish(out: NDArray[np.uint8], state: NDArray[np.uint64]) -> None:
    """Append the last block, empty and with the fixed codes, and end at a byte."""
    last = put(out, (np.int64(state[0]), state[1], state[2]), np.uint64(0b011), np.uint64(10))
    state[0], state[1], state[2] = _pad(out, last)


def bound(size: int) -> int:
    """Room that `code_plane`, `align_state` and `finish` need for so many bytes."""
    return size + 5 * (size // MOST_STORED + size // SEGMENT + 2) + 64 + SEGMENT  # codes of one that is stored then
