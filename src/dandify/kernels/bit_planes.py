"""Bit planes of values of one or two bytes, as Blosc's bit shuffle orders them, and how each is best stored."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from dandify.kernels.bits import copy_bytes, load64
from dandify.kernels.huffman import entropy_bits
from dandify.kernels.jit import compiled

GROUP: Final = 512
"""Values that are taken at one go: a cache line of each plane."""
NOISE, EMPTY, OTHER, UNEVEN = 0, 1, 2, 3
"""What a plane is: bytes without any pattern; zeros; what matches make smaller; bytes of which some occur more often,
and that is all."""
_STEP = 64  # values whose bits of a plane are one word
_WORD = ir.IntType(64)
_BYTES = ir.VectorType(ir.IntType(8), _STEP)
_LANE = ir.IntType(32)

_RUN = 64  # bytes of a plane that are looked at at one go,
_EVERY = 1024  # and how far the next ones are: some rows of usual chunks
_UNEVEN = 0.16  # excess of chi-square for each byte, at which a Huffman code saves 1.5 %, as Zstandard asks
_SLOTS = 2048  # of a table of words that were met
_NOISE_SAVES = 1 / 64  # part of a plane of even bytes that matches must save, to be looked for; of uneven ones,
_SAVES = 0.08  # where a code saves most of what they would in a third of the time
_SAVES_RUNS = 0.04  # the same of long runs of zeros or ones, as where there is nothing in an image
_WASTED = 0.065  # the same of a value that should have less than a bit, as where each row ends with nothing
_MATCH = 0.3  # of eight bytes, what it takes to say where they were before, unless those before them were there, too
_MIX = np.uint64(0x9E3779B97F4A7C15)


def _splitter(size: int) -> Any:
    """Make what sorts the bits of 64 values of ``size`` bytes."""
    both = ir.VectorType(ir.IntType(8), size * _STEP)

    @intrinsic
    def split(typing: Any, raw: Any, place: Any, lines: Any, column: Any) -> Any:
        """Take 64 values from a byte on; a word of each plane to its row of (planes, 8) uint64."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data
            words = cgutils.create_struct_proxy(signature.args[2])(context, builder, args[2]).data
            all_bytes = builder.load(builder.bitcast(builder.gep(data, [args[1]]), both.as_pointer()), align=1)
            nothing = ir.Constant(both, ir.Undefined)
            for byte in range(size):
                order = ir.Constant(ir.VectorType(_LANE, _STEP), [size * k + byte for k in range(_STEP)])
                values = builder.shuffle_vector(all_bytes, nothing, order)
                for bit in reversed(range(8)):
                    signs = builder.icmp_signed("<", values, ir.Constant(_BYTES, [0] * _STEP))
                    row = builder.add(args[3], ir.Constant(_WORD, 8 * (8 * byte + bit)))
                    builder.store(builder.bitcast(signs, _WORD), builder.gep(words, [row]), align=8)
                    values = builder.add(values, values)
            return context.get_dummy_value()

        return types.void(raw, types.int64, lines, types.int64), generate

    return split


_split1, _split2 = _splitter(1), _splitter(2)


@compiled
def split_bits(raw: NDArray[np.uint8], itemsize: int, planes: NDArray[np.uint8]) -> Any:
    """Sort bits into planes, the lowest first, eight values to a byte, the first value lowest.

    Parameters
    ----------
    raw
        (bytes,) contiguous: values, little-endian, a multiple of `GROUP` of them.
    itemsize
        Bytes of a value, 1 or 2.
    planes
        (bytes,) contiguous, as many, overwritten: one plane behind the other.

    Returns
    -------
    int
        Bits that any of the values has.
    """
    count = 8 * itemsize
    size = raw.size // count
    lines = np.empty((16, 8), np.uint64)
    seen = np.zeros(16, np.uint64)
    for group in range(size // 64):
        for column in range(8):
            place = (512 * group + 64 * column) * itemsize
            if itemsize == 1:
                _split1(raw, np.int64(place), lines, np.int64(column))
            else:
                _split2(raw, np.int64(place), lines, np.int64(column))
        for plane in range(count):
            line = lines[plane]
            seen[plane] |= line[0] | line[1] | line[2] | line[3] | line[4] | line[5] | line[6] | line[7]
            copy_bytes(planes, np.int64(plane * size + 64 * group), line, np.int64(0), np.int64(64))
    bits: Any = 0
    for plane in range(count):
        bits |= np.int64(seen[plane] != 0) << plane
    return bits


@compiled
def _kind(counts: NDArray[np.int64], taken: Any, own: Any, zeros: Any, ones: Any, long: Any) -> tuple[int, float]:
    """Tell what a plane is that is not empty, and what part of its length a code would leave of it.

    Parameters
    ----------
    counts
        (256,) how often each byte occurs
    taken
        among so many.
    own
        Words, of eight of them, that were met before in the same plane;
    zeros, ones
        words of nothing else;
    long
        those of them that make up whole runs.
    """
    squares: Any = 0
    most: Any = 0
    for value in range(256):
        squares += counts[value] * counts[value]
        most = max(most, counts[value])
    share = 8 * own / taken
    if 256.0 * squares / taken - taken < 255.0 + _UNEVEN * taken:
        return (OTHER if share >= _NOISE_SAVES else NOISE), 1.0
    part = entropy_bits(counts) / (8 * taken)
    constant = 0.0
    for value, words in ((0, zeros), (255, ones)):
        if words:
            constant += words * max(1.0, np.log2(taken / counts[value])) / taken
    saved = share * max(0.0, part - _MATCH * (1 - share)) + constant
    in_runs = constant * long / max(1, zeros + ones)
    wasted = most / taken * (1 + np.log2(most / taken)) / 8
    return (OTHER if saved >= _SAVES or in_runs >= _SAVES_RUNS or wasted >= _WASTED else UNEVEN), part


@compiled
def judge(planes: NDArray[np.uint8], bits: Any, kinds: NDArray[np.uint8]) -> None:
    """Tell what each plane is, by a sample: noise has even bytes, and its words are neither its own nor another's.

    The upper planes of signed values are the same one many times, and that may be noise.

    Parameters
    ----------
    planes, bits
        As `split_bits` leaves them, planes of at least 1,024 bytes.
    kinds
        (planes,) overwritten: `NOISE`, `EMPTY`, `OTHER` or `UNEVEN`.
    """
    size = planes.size // kinds.size
    counts, total = np.empty((2, 256), np.uint32), np.empty(256, np.int64)
    met, owners = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint8)
    from_plane = np.empty(16, np.int64)
    for plane in range(kinds.size):
        kinds[plane] = EMPTY
        if not bits >> plane & 1:
            continue
        counts[:] = 0
        from_plane[:] = 0
        taken, zeros, ones, long = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        for place in range(plane * size, plane * size + size - _RUN + 1, _EVERY):
            before = zeros + ones
            for at in range(place, place + _RUN, 8):
                word = load64(planes, np.int64(at))
                slot = word * _MIX >> np.uint64(53)
                zeros += word == 0
                ones += ~word == 0
                from_plane[owners[slot]] += (met[slot] == word) & (word + np.uint64(1) > 1)
                met[slot] = word
                owners[slot] = plane
                for _ in range(4):
                    counts[0, word & np.uint64(255)] += np.uint32(1)
                    counts[1, word >> np.uint64(8) & np.uint64(255)] += np.uint32(1)
                    word >>= np.uint64(16)
            taken += np.int64(_RUN)
            if zeros + ones == before + _RUN // 8:
                long += np.int64(_RUN // 8)
        for value in range(256):
            total[value] = np.int64(counts[0, value]) + counts[1, value]
        kinds[plane], part = _kind(total, taken, from_plane[plane], zeros, ones, long)
        least = _NOISE_SAVES if kinds[plane] == NOISE else _SAVES
        for other in range(plane):
            if 8 * from_plane[other] * part >= least * taken:
                kinds[plane] = kinds[other] = OTHER
