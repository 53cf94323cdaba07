"""Byte shuffle, as HDF5's filter 2 defines it: all first bytes of the items, then all second bytes, and so on."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.jit import compiled


@compiled
def _split(items: NDArray[np.uint8], planes: NDArray[np.uint8]) -> None:
    """(items, itemsize) to (itemsize, items); the sizes that occur are spelled out, so that LLVM vectorizes them."""
    count, size = items.shape
    if size == 2:
        for i in range(count):
            planes[0, i] = items[i, 0]
            planes[1, i] = items[i, 1]
    elif size == 4:
        for i in range(count):
            planes[0, i] = items[i, 0]
            planes[1, i] = items[i, 1]
            planes[2, i] = items[i, 2]
            planes[3, i] = items[i, 3]
    elif size == 8:
        for i in range(count):
            planes[0, i] = items[i, 0]
            planes[1, i] = items[i, 1]
            planes[2, i] = items[i, 2]
            planes[3, i] = items[i, 3]
            planes[4, i] = items[i, 4]
            planes[5, i] = items[i, 5]
            planes[6, i] = items[i, 6]
            planes[7, i] = items[i, 7]
    else:
        step = 512  # items whose bytes stay in the first-level cache while each plane takes its own
        for start in range(0, count, step):
            stop = min(start + step, count)
            for byte in range(size):
                for i in range(start, stop):
                    planes[byte, i] = items[i, byte]


@compiled
def _split_each(chunks: NDArray[np.uint8], planes: NDArray[np.uint8]) -> None:
    for number in range(chunks.shape[0]):
        _split(chunks[number], planes[number])


@compiled
def _join2(planes: NDArray[np.uint8], items: NDArray[np.uint16]) -> None:
    """Join two planes: put together in registers, which LLVM vectorizes; byte by byte takes seven times as long."""
    low, high = planes[: items.size], planes[items.size :]
    for i in range(items.size):
        items[i] = np.uint16(low[i]) | np.uint16(high[i]) << np.uint16(8)


@compiled
def _join4(planes: NDArray[np.uint8], items: NDArray[np.uint32]) -> None:
    count = items.size
    a, b, c, d = planes[:count], planes[count : 2 * count], planes[2 * count : 3 * count], planes[3 * count :]
    for i in range(count):
        low = np.uint32(a[i]) | np.uint32(b[i]) << np.uint32(8)
        items[i] = low | np.uint32(c[i]) << np.uint32(16) | np.uint32(d[i]) << np.uint32(24)


@compiled
def _join8(planes: NDArray[np.uint8], items: NDArray[np.uint64]) -> None:
    count = items.size
    a, b, c, d = planes[:count], planes[count : 2 * count], planes[2 * count : 3 * count], planes[3 * count : 4 * count]
    rest = planes[4 * count :]
    e, f, g, h = rest[:count], rest[count : 2 * count], rest[2 * count : 3 * count], rest[3 * count :]
    for i in range(count):
        low = np.uint32(a[i]) | np.uint32(b[i]) << np.uint32(8)
        low |= np.uint32(c[i]) << np.uint32(16) | np.uint32(d[i]) << np.uint32(24)
        high = np.uint32(e[i]) | np.uint32(f[i]) << np.uint32(8)
        high |= np.uint32(g[i]) << np.uint32(16) | np.uint32(h[i]) << np.uint32(24)
        items[i] = np.uint64(low) | np.uint64(high) << np.uint64(32)


@compiled
def _join(planes: NDArray[np.uint8], items: NDArray[np.uint8]) -> None:
    """(itemsize, items) to (items, itemsize)."""
    size, count = planes.shape
    step = 512
    for start in range(0, count, step):
        stop = min(start + step, count)
        for byte in range(size):
            for i in range(start, stop):
                items[i, byte] = planes[byte, i]


_JOINED: dict[int, tuple[Any, type[np.unsignedinteger[Any]]]] = {
    2: (_join2, np.uint16), 4: (_join4, np.uint32), 8: (_join8, np.uint64)
}  # fmt: skip


def shuffle(items: NDArray[np.uint8], itemsize: int, out: NDArray[np.uint8]) -> None:
    """Sort the bytes of items into planes.

    Parameters
    ----------
    items
        (bytes,) contiguous; its length is a multiple of ``itemsize``.
    itemsize
        Bytes of an item.
    out
        (bytes,) contiguous, of the same length, not overlapping.
    """
    _split(items.reshape(-1, itemsize), out.reshape(itemsize, -1))


def shuffle_chunks(chunks: NDArray[np.uint8], itemsize: int, out: NDArray[np.uint8]) -> None:
    """Sort the bytes of many chunks into planes.

    Parameters
    ----------
    chunks
        (chunks, bytes) contiguous.
    itemsize
        Bytes of an item.
    out
        (chunks, itemsize, items) contiguous, not overlapping.
    """
    _split_each(chunks.reshape(len(chunks), -1, itemsize), out)


def unshuffle(planes: NDArray[np.uint8], itemsize: int, out: NDArray[np.uint8]) -> None:
    """Undo `shuffle`.

    Parameters
    ----------
    planes
        (bytes,) contiguous; its length is a multiple of ``itemsize``.
    itemsize
        Bytes of an item.
    out
        (bytes,) contiguous, of the same length, not overlapping.
    """
    if itemsize in _JOINED and sys.byteorder == "little":
        join, kind = _JOINED[itemsize]
        join(planes, out.view(kind))
    else:
        _join(planes.reshape(itemsize, -1), out.reshape(-1, itemsize))
