"""XXH3 of 128 bits of bytes that come in pieces and in any order: each block of 1,024 bytes is summed up by itself.

Source: xxHash's specification of XXH3 (inputs of more than 240 bytes), with the default secret and without a seed. The
state takes in the sums of the blocks in their order, which are a sixteenth of the bytes, and is scrambled behind each.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from dandify.kernels.jit import compiled

BLOCK: Final = 1024  # bytes: 16 stripes
STRIPE: Final = 64
LANES: Final = 8
_SECRET: Final = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_P32: Final = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
_P64: Final = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
START: Final = np.array([_P32[2], *_P64[:4], _P32[1], _P64[4], _P32[0]], np.uint64)
_VECTOR = ir.VectorType(ir.IntType(64), LANES)
_PAIRS: Final = (1, 0, 3, 2, 5, 4, 7, 6)  # whose lane a word is added to


def _keys(start: int, count: int) -> NDArray[np.uint64]:
    return np.frombuffer(_SECRET[start : start + 8 * count], "<u8").astype(np.uint64)


_KEYS: Final = _keys(0, 24)  # eight of them for each stripe, from the stripe's number on
_SCRAMBLING: Final = _keys(128, LANES)
_LAST: Final = _keys(121, LANES)  # of the last stripe
_MERGED: Final = (_keys(117, LANES), _keys(11, LANES))  # of the higher and of the lower half
_MASK: Final = 2**64 - 1


@intrinsic
def _add_stripe(typing: Any, state: Any, data: Any, byte: Any, keys: Any, key: Any) -> Any:
    """Add a stripe of bytes, from one on, to a state (8,) uint64, with eight of the keys (uint64), from one on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def place(number: int, first: Any) -> Any:
            array = cgutils.create_struct_proxy(signature.args[number])(context, builder, args[number])
            return builder.bitcast(builder.gep(array.data, [first]), _VECTOR.as_pointer())

        sums = place(0, ir.Constant(ir.IntType(64), 0))
        words = builder.load(place(1, args[2]), align=1)
        mixed = builder.xor(words, builder.load(place(3, args[4]), align=8))
        low = builder.and_(mixed, ir.Constant(_VECTOR, [0xFFFFFFFF] * LANES))
        high = builder.lshr(mixed, ir.Constant(_VECTOR, [32] * LANES))
        order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(_PAIRS))
        swapped = builder.shuffle_vector(words, ir.Constant(_VECTOR, ir.Undefined), order)
        total = builder.add(builder.load(sums, align=8), builder.add(swapped, builder.mul(low, high)))
        builder.store(total, sums, align=8)
        return context.get_dummy_value()

    return types.void(state, data, byte, keys, key), generate


@compiled
def _sum_blocks(data: Any, keys: Any, sums: Any) -> None:
    state = np.empty(8, np.uint64)
    for block in range(sums.shape[0]):
        state[:] = 0
        for stripe in range(16):
            _add_stripe(state, data, 1024 * block + 64 * stripe, keys, stripe)
        sums[block] = state


@compiled
def _take_in(state: Any, sums: Any, scrambling: Any, prime: Any) -> None:
    for block in range(sums.shape[0]):
        for lane in range(8):
            value = state[lane] + sums[block, lane]
            value ^= value >> np.uint64(47)
            state[lane] = (value ^ scrambling[lane]) * prime


@compiled
def _add_end(state: Any, data: Any, start: Any, stripes: Any, keys: Any, last: Any) -> None:
    for stripe in range(stripes):
        _add_stripe(state, data, start + 64 * stripe, keys, stripe)
    _add_stripe(state, data, data.size - 64, last, 0)


def block_sums(data: NDArray[np.uint8], sums: NDArray[np.uint64]) -> None:
    """Sum up whole blocks.

    Parameters
    ----------
    data
        (bytes,) contiguous.
    sums
        (blocks, 8) contiguous, overwritten: as many blocks as it has room for.
    """
    _sum_blocks(data, _KEYS, sums)


def take_in(state: NDArray[np.uint64], sums: NDArray[np.uint64]) -> None:
    """Let a state, `START` at the beginning, take in the sums of the blocks that follow; of all but the last block."""
    _take_in(state, sums, _SCRAMBLING, np.uint64(_P32[0]))


def digest(state: NDArray[np.uint64], end: NDArray[np.uint8], size: int) -> str:
    """Hexadecimal digits of the checksum.

    Parameters
    ----------
    state
        Has taken in all blocks but the last, whole or not; left as it is.
    end
        The last bytes, contiguous: the last block, and the stripe before it where there is one.
    size
        Of all bytes, more than 240.
    """
    state = state.copy()
    rest = (size - 1) % BLOCK + 1
    _add_end(state, end, len(end) - rest, (rest - 1) // STRIPE, _KEYS, _LAST)
    starts = ((size * _P64[1] & _MASK) ^ _MASK, size * _P64[0] & _MASK)
    return "".join(f"{_merged(state, keys, start):016x}" for keys, start in zip(_MERGED, starts, strict=True))


def _merged(state: NDArray[np.uint64], keys: NDArray[np.uint64], start: int) -> int:
    mixed = [int(value) for value in state ^ keys]
    for a, b in zip(mixed[::2], mixed[1::2], strict=True):
        product = a * b
        start += (product & _MASK) ^ (product >> 64)
    start &= _MASK
    start = (start ^ (start >> 37)) * 0x165667919E3779F9 & _MASK
    return start ^ (start >> 32)
