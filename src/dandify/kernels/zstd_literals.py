"""Blocks of Zstandard without matches: bytes coded by a Huffman code alone (RFC 8878, 3.1.1.3.1 and 4.2).

Of bit planes of noisy pixels, matches save next to nothing, and to look for them takes most of Zstandard's time.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import store64
from dandify.kernels.huffman import code_lengths
from dandify.kernels.jit import compiled

MOST: Final = 128 * 1024
"""Bytes that a block can hold."""
SPARE: Final = 16
"""Bytes that are overwritten behind a block, at most."""
_LEAST = 256  # bytes; the description of a code may be half as long
_LONGEST = 11  # bits of a code that Zstandard allows
_STREAMS = 4
_HEAD = 5  # bytes: the kind of the literals and both sizes
_JUMPS = 6  # bytes: sizes of the first three streams
_DIRECT = 128  # so many weights may be written as they are, two to a byte
_TREE_MOST = 127  # bytes of weights that are coded
_TABLE_LOG = 6
# How often weights 0 to 11 are expected, in 64ths. Codes are complete: high weights are rare in all of them, and a
# table made for each block would save some tens of bytes of 128 KiB.
_EXPECTED: Final = (5, 10, 9, 8, 7, 7, 5, 4, 3, 2, 2, 2)


class _Fse(NamedTuple):
    """The table that codes weights, as RFC 8878 (4.1) describes it, and as an encoder wants it."""

    description: NDArray[np.uint8]
    states: NDArray[np.uint16]
    bits: NDArray[np.int64]  # of each symbol: what added to a state gives the number of its bits to write, times 2**16
    shift: NDArray[np.int64]  # of each symbol: what added to the rest of a state gives its place in ``states``


def _described(counts: tuple[int, ...], log: int) -> bytes:
    """Write a distribution whose counts are all positive (RFC 8878, 4.1.1)."""
    bits, used = log - 5, 4
    remaining, threshold, width = (1 << log) + 1, 1 << log, log + 1
    for count in counts:
        least = 2 * threshold - 1 - remaining
        remaining -= count
        value = count + 1
        value += least if value >= threshold else 0
        bits |= value << used
        used += width - (value < least)
        while remaining < threshold:
            width, threshold = width - 1, threshold >> 1
    return bits.to_bytes(-(-used // 8), "little")


def _table(counts: tuple[int, ...], log: int) -> _Fse:
    """Spread symbols over the states (RFC 8878, 4.1.1), and turn that around for the encoder."""
    size = 1 << log
    symbols, place = np.empty(size, np.int64), 0
    for symbol, count in enumerate(counts):
        for _ in range(count):
            symbols[place] = symbol
            place = (place + (size >> 1) + (size >> 3) + 3) & (size - 1)
    states = size + np.argsort(symbols, kind="stable")
    bits, shift, total = [], [], 0
    for count in counts:
        most = log - ((count - 1).bit_length() - 1) if count > 1 else log
        bits.append((most << 16) - (count << most))
        shift.append(total - count)
        total += count
    return _Fse(
        np.frombuffer(_described(counts, log), np.uint8),
        states.astype(np.uint16),
        np.array(bits, np.int64),
        np.array(shift, np.int64),
    )


_FSE: Final = _table(_EXPECTED, _TABLE_LOG)
_DESCRIPTION, _STATES, _BITS, _SHIFT = _FSE


@compiled
def _count(data: NDArray[np.uint8], counts: NDArray[np.uint32]) -> None:
    """Count the bytes of each quarter, (4, 256): side by side, so that no count waits for the one before."""
    quarter = np.uint64(data.size // 4)
    counts[:] = 0
    for i in range(data.size // 4):
        at = np.uint64(i)
        counts[0, data[at]] += np.uint32(1)
        counts[1, data[at + quarter]] += np.uint32(1)
        counts[2, data[at + quarter + quarter]] += np.uint32(1)
        counts[3, data[at + quarter + quarter + quarter]] += np.uint32(1)


@compiled
def _put_weights(weights: NDArray[np.uint8], count: Any, out: NDArray[np.uint8], start: Any) -> Any:
    """Write the description of a Huffman code from a byte on (RFC 8878, 4.2.1); its bytes, 0 if it is too long.

    Weights are coded from the last to the first, by two states in turn.
    """
    if count <= _DIRECT:
        out[start] = 127 + count
        for i in range(0, count, 2):
            out[start + 1 + i // 2] = weights[i] << 4 | (weights[i + 1] if i + 1 < count else 0)
        return 1 + (count + 1) // 2
    place = start + 1
    for i in range(_DESCRIPTION.size):
        out[place + i] = _DESCRIPTION[i]
    place += _DESCRIPTION.size
    held, many = np.uint64(0), 0
    states = np.empty(2, np.int64)
    turn = count & 1  # the last weight is the first state's where their number is odd
    for k in range(2):
        which = 1 - turn if k == 0 else turn
        symbol = weights[count - 1 - k]
        width = (_BITS[symbol] + (1 << 15)) >> 16
        states[which] = _STATES[(((width << 16) - _BITS[symbol]) >> width) + _SHIFT[symbol]]
    which = 1 - turn
    for i in range(count - 3, -1, -1):
        symbol, state = weights[i], states[which]
        width = (state + _BITS[symbol]) >> 16
        held |= np.uint64(state & ((1 << width) - 1)) << np.uint64(many)
        many += width
        states[which] = _STATES[(state >> width) + _SHIFT[symbol]]
        which = 1 - which
        while many >= 8:
            out[place] = held & np.uint64(255)
            place += 1
            held >>= np.uint64(8)
            many -= 8
        if place - start > _TREE_MOST:
            return 0
    for which in (1, 0):
        held |= np.uint64(states[which] & ((1 << _TABLE_LOG) - 1)) << np.uint64(many)
        many += _TABLE_LOG
    held |= np.uint64(1) << np.uint64(many)
    for _ in range(many // 8 + 1):
        out[place] = held & np.uint64(255)
        place += 1
        held >>= np.uint64(8)
    size = place - start - 1
    if size > _TREE_MOST:
        return 0
    out[start] = size
    return 1 + size


@compiled
def _code(lengths: NDArray[np.uint8], codes: NDArray[np.uint32]) -> None:
    """Codes of these lengths, the longest first (RFC 8878, 4.2.1.3), each with its length in the lowest byte."""
    many = np.zeros(_LONGEST + 1, np.uint32)
    for symbol in range(256):
        many[lengths[symbol]] += np.uint32(1)
    following = np.zeros(_LONGEST + 1, np.uint32)
    code = np.uint32(0)
    for length in range(_LONGEST, 0, -1):
        following[length] = code
        code = (code + many[length]) >> np.uint32(1)
    for symbol in range(256):
        length = lengths[symbol]
        if length:
            codes[symbol] = following[length] << np.uint32(8) | np.uint32(length)
            following[length] += np.uint32(1)


@compiled
def _put_stream(
    data: NDArray[np.uint8], first: Any, count: Any, codes: NDArray[np.uint32], out: NDArray[np.uint8], start: Any
) -> None:
    """Write the codes of bytes from the last to the first, the lowest bit first, and a 1 behind them."""
    held, many, place = np.uint64(0), np.uint64(0), np.int64(start)
    byte, seven = np.uint64(255), np.uint64(7)
    left = np.uint64(first + count)
    for _ in range(count // 5):
        for back in range(1, 6):
            entry = np.uint64(codes[data[left - np.uint64(back)]])
            held |= entry >> np.uint64(8) << many
            many += entry & byte
        left -= np.uint64(5)
        store64(out, place, held)
        place += np.int64(many >> np.uint64(3))
        held >>= many & ~seven
        many &= seven
    for back in range(1, count % 5 + 1):
        entry = np.uint64(codes[data[left - np.uint64(back)]])
        held |= entry >> np.uint64(8) << many
        many += entry & byte
    store64(out, place, held | np.uint64(1) << many)


@compiled
def literals_block(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """Encode bytes as the content of a compressed block of Zstandard: a Huffman code's, and no matches.

    Parameters
    ----------
    data
        (bytes,) contiguous, a multiple of 4 of them, up to `MOST`.
    out
        (bytes,) overwritten; `SPARE` more than ``data``.

    Returns
    -------
    int
        Size of the block's content, whose header is not written; 0 if it would be no smaller than the bytes, its code
        takes too much room to be described, or they are fewer than 256.
    """
    if data.size < _LEAST:
        return 0
    counts = np.empty((_STREAMS, 256), np.uint32)
    _count(data, counts)
    total = np.empty(256, np.int64)
    last = np.int64(0)
    for symbol in range(256):
        total[symbol] = np.int64(counts[0, symbol]) + counts[1, symbol] + counts[2, symbol] + counts[3, symbol]
        if total[symbol]:
            last = np.int64(symbol)
    lengths = np.empty(256, np.uint8)
    code_lengths(total, np.int64(_LONGEST), lengths)
    longest = np.uint8(0)
    for symbol in range(256):
        longest = max(longest, lengths[symbol])
    weights = np.zeros(256, np.uint8)
    for symbol in range(256):
        if lengths[symbol]:
            weights[symbol] = longest + 1 - lengths[symbol]
    tree = _put_weights(weights, last, out, np.int64(_HEAD)) if last else 0  # the last one's follows from the others
    if not tree or total[last] == data.size:
        return 0
    sizes = np.zeros(_STREAMS, np.int64)
    packed = tree + _JUMPS
    for stream in range(_STREAMS):
        bits: Any = 0
        for symbol in range(256):
            bits += np.int64(counts[stream, symbol]) * lengths[symbol]
        sizes[stream] = bits // 8 + 1
        packed += sizes[stream]
    size = _HEAD + packed + 1
    if size >= data.size:
        return 0
    # 2: by a Huffman code that is described here; 3: four streams, both sizes in 18 bits
    store64(out, np.int64(0), np.uint64(2 | 3 << 2 | data.size << 4 | packed << 22) | np.uint64(out[5]) << np.uint64(40)
            | np.uint64(out[6]) << np.uint64(48) | np.uint64(out[7]) << np.uint64(56))  # fmt: skip
    place = _HEAD + tree
    for stream in range(3):
        out[place + 2 * stream] = sizes[stream] & 255
        out[place + 2 * stream + 1] = sizes[stream] >> 8
    place += _JUMPS
    codes = np.zeros(256, np.uint32)
    _code(lengths, codes)
    quarter = data.size // _STREAMS
    for stream in range(_STREAMS):
        _put_stream(data, np.int64(stream * quarter), np.int64(quarter), codes, out, np.int64(place))
        place += sizes[stream]
    out[place] = 0  # no sequences
    return int(size)


@compiled
def literals_blocks(
    planes: NDArray[np.uint8], chosen: NDArray[np.int64], out: NDArray[np.uint8], sizes: NDArray[np.int64]
) -> None:
    """Encode some of several pieces, each as `literals_block` does.

    Parameters
    ----------
    planes
        (planes, bytes), contiguous.
    chosen
        Numbers of those that are encoded.
    out
        (chosen, bytes + `SPARE`), overwritten.
    sizes
        (chosen,), overwritten: what `literals_block` returns.
    """
    for row in range(chosen.size):
        sizes[row] = literals_block(planes[chosen[row]], out[row])
