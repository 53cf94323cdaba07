"""Bit planes of 16-bit values, as Blosc's bit shuffle orders them, and which of them are noise."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from dandify.kernels.bits import copy_bytes, load64
from dandify.kernels.jit import compiled

PLANES: Final = 16
GROUP: Final = 512
"""Values that are taken at one go: a cache line of each plane."""
NOISE, EMPTY, OTHER = 0, 1, 2
"""What a plane is: bytes without any pattern, zeros, or neither."""
_STEP = 64  # values whose bits of a plane are one word
_WORD = ir.IntType(64)
_BYTES = ir.VectorType(ir.IntType(8), _STEP)
_BOTH = ir.VectorType(ir.IntType(8), 2 * _STEP)
_LANE = ir.IntType(32)

_RUN = 64  # bytes of a plane that are looked at at one go,
_EVERY = 1024  # and how far the next ones are: some rows of usual chunks
_UNEVEN = 0.1  # excess of chi-square for each byte, at which a Huffman code saves 0.9 %; Zstandard asks for 1.6
_SLOTS = 2048  # of a table of words that were met
_REPEATED = 64  # one of so many words
_MIX = np.uint64(0x9E3779B97F4A7C15)


@intrinsic
def _split(typing: Any, raw: Any, place: Any, lines: Any, column: Any) -> Any:
    """Take 64 values of two bytes, from a byte on; a word of each plane to its row of (16, 8) uint64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data
        words = cgutils.create_struct_proxy(signature.args[2])(context, builder, args[2]).data
        both = builder.load(builder.bitcast(builder.gep(data, [args[1]]), _BOTH.as_pointer()), align=1)
        nothing = ir.Constant(_BOTH, ir.Undefined)
        for byte in range(2):
            order = ir.Constant(ir.VectorType(_LANE, _STEP), [2 * k + byte for k in range(_STEP)])
            values = builder.shuffle_vector(both, nothing, order)
            for bit in reversed(range(8)):
                signs = builder.icmp_signed("<", values, ir.Constant(_BYTES, [0] * _STEP))
                row = builder.add(args[3], ir.Constant(_WORD, 8 * (8 * byte + bit)))
                builder.store(builder.bitcast(signs, _WORD), builder.gep(words, [row]), align=8)
                values = builder.add(values, values)
        return context.get_dummy_value()

    return types.void(raw, types.int64, lines, types.int64), generate


@compiled
def split_bits(raw: NDArray[np.uint8], planes: NDArray[np.uint8]) -> Any:
    """Sort bits into planes, the lowest first, eight values to a byte, the first value lowest.

    Parameters
    ----------
    raw
        (bytes,) contiguous: 16-bit values, little-endian, a multiple of `GROUP` of them.
    planes
        (bytes,) contiguous, as many, overwritten: one plane behind the other.

    Returns
    -------
    int
        Bits that any of the values has.
    """
    size = raw.size // 16
    lines = np.empty((16, 8), np.uint64)
    seen = np.zeros(16, np.uint64)
    for group in range(size // 64):
        for column in range(8):
            _split(raw, np.int64(1024 * group + 128 * column), lines, np.int64(column))
        for plane in range(16):
            line = lines[plane]
            seen[plane] |= line[0] | line[1] | line[2] | line[3] | line[4] | line[5] | line[6] | line[7]
            copy_bytes(planes, np.int64(plane * size + 64 * group), line, np.int64(0), np.int64(64))
    bits: Any = 0
    for plane in range(16):
        bits |= np.int64(seen[plane] != 0) << plane
    return bits


@compiled
def _uneven(counts: NDArray[np.uint32], taken: int) -> bool:
    """Whether bytes were drawn from a distribution of which a code would save something."""
    squares: Any = 0
    for value in range(256):
        count = np.int64(counts[0, value]) + np.int64(counts[1, value])
        squares += count * count
    return bool(256.0 * squares / taken - taken >= 255.0 + _UNEVEN * taken)


@compiled
def judge(planes: NDArray[np.uint8], bits: Any, kinds: NDArray[np.uint8]) -> None:
    """Tell what each plane is, by a sample: noise has even bytes, and its words are neither its own nor another's.

    The upper planes of signed values are the same one many times, and that may be noise.

    Parameters
    ----------
    planes, bits
        As `split_bits` leaves them, planes of at least 1,024 bytes.
    kinds
        (16,) overwritten: `NOISE`, `EMPTY` or `OTHER`.
    """
    size = planes.size // 16
    counts = np.empty((2, 256), np.uint32)
    met, owners = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint8)
    met[0] = _MIX  # where a word of zeros is looked for, which nobody has met yet
    from_plane = np.empty(16, np.int64)
    for plane in range(16):
        kinds[plane] = 1
        if not bits >> plane & 1:
            continue
        counts[:] = 0
        from_plane[:] = 0
        taken = 0
        for place in range(plane * size, plane * size + size - _RUN + 1, _EVERY):
            for at in range(place, place + _RUN, 8):
                word = load64(planes, np.int64(at))
                slot = word * _MIX >> np.uint64(53)
                from_plane[owners[slot]] += met[slot] == word
                met[slot] = word
                owners[slot] = plane
                for _ in range(4):
                    counts[0, word & np.uint64(255)] += np.uint32(1)
                    counts[1, word >> np.uint64(8) & np.uint64(255)] += np.uint32(1)
                    word >>= np.uint64(16)
            taken += _RUN
        kinds[plane] = 2 if _uneven(counts, taken) else 0
        for other in range(plane + 1):
            if from_plane[other] * _REPEATED * 8 >= taken:
                kinds[plane] = kinds[other] = 2
