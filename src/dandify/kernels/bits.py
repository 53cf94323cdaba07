"""Unaligned 64-bit loads and stores in kernels, and the writing of bits in deflate's order."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from dandify.kernels.jit import compiled

Bits = tuple[Any, Any, Any]
"""State of a writer: position in the output (int64), bits not yet written, and how many they are (uint64, 0 to 7)."""

_WORD = ir.IntType(64)
_BYTES = ir.VectorType(ir.IntType(8), 64)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Address of a byte of a contiguous array, as one of 64-bit words."""
    data = cgutils.create_struct_proxy(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _WORD.as_pointer())


@intrinsic
def load64(typing: Any, array: Any, index: Any) -> Any:
    """Load the eight bytes from ``array[index]`` on as a uint64, little-endian on all machines that numba serves."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *args), align=1)

    return types.uint64(array, types.int64), generate


@intrinsic
def load16(typing: Any, array: Any, index: Any) -> Any:
    """Load the two bytes from ``array[index]`` on as a uint64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(16).as_pointer())
        return builder.zext(builder.load(place, align=1), _WORD)

    return types.uint64(array, types.int64), generate


@intrinsic
def store64(typing: Any, array: Any, index: Any, word: Any) -> Any:
    """Store a uint64 into the eight bytes from ``array[index]`` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]), align=1)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint64), generate


@intrinsic
def copy_bytes(typing: Any, target: Any, place: Any, source: Any, start: Any, count: Any) -> Any:
    """Copy so many bytes from ``source[start]`` on to ``target[place]`` on: as slices, ten times as fast."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target_data = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data
        source_data = cgutils.create_struct_proxy(signature.args[2])(context, builder, args[2]).data
        cgutils.raw_memcpy(
            builder, builder.gep(target_data, [args[1]]), builder.gep(source_data, [args[3]]), args[4], itemsize=1
        )
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64, types.int64), generate


@intrinsic
def prefetch(typing: Any, source: Any, start: Any) -> Any:
    """Have the cache line of ``source[start]`` brought near; any place will do, also one outside of the array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(call, [builder.gep(data, [args[1]]), number(0), number(3), number(1)])  # to read, often, data
        return context.get_dummy_value()

    return types.void(source, types.int64), generate


@intrinsic
def leading_zeros(typing: Any, word: Any) -> Any:
    """Count the zero bits above the highest one of a uint64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def trailing_zeros(typing: Any, word: Any) -> Any:
    """Count the zero bits below the lowest one of a uint64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def ones_of(typing: Any, word: Any) -> Any:
    """Count the one bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), generate


@intrinsic
def equal64(typing: Any, array: Any, index: Any, symbol: Any) -> Any:
    """Compare the 64 bytes from ``array[index]`` on with a uint8; the lowest bit of the uint64 is the first byte's."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), _BYTES.as_pointer())
        nothing = ir.Constant(_BYTES, ir.Undefined)
        first = builder.insert_element(nothing, args[2], ir.Constant(ir.IntType(32), 0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        symbols = builder.shuffle_vector(first, nothing, everywhere)
        return builder.bitcast(builder.icmp_unsigned("==", builder.load(place, align=1), symbols), _WORD)

    return types.uint64(array, types.int64, types.uint8), generate


@compiled
def put(out: NDArray[np.uint8], state: Bits, value: Any, count: Any) -> Bits:
    """Append up to 56 bits, lowest first. Eight bytes of ``out`` behind the position are overwritten.

    Parameters
    ----------
    out
        (bytes,)
    state
        The writer's.
    value, count
        uint64 both; bits of the value above the count are 0.
    """
    position, held, many = state
    held |= value << many
    many += count
    store64(out, position, held)
    whole = many >> np.uint64(3)
    return position + np.int64(whole), held >> (whole << np.uint64(3)), many & np.uint64(7)
