"""Byte shuffle, as HDF5's filter 2 defines it: all first bytes of the items, then all second bytes, and so on."""

from __future__ import annotations

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
def _join(planes: NDArray[np.uint8], items: NDArray[np.uint8]) -> None:
    """(itemsize, items) to (items, itemsize)."""
    size, count = planes.shape
    if size == 2:
        for i in range(count):
            items[i, 0] = planes[0, i]
            items[i, 1] = planes[1, i]
    elif size == 4:
        for i in range(count):
            items[i, 0] = planes[0, i]
            items[i, 1] = planes[1, i]
            items[i, 2] = planes[2, i]
            items[i, 3] = planes[3, i]
    elif size == 8:
        for i in range(count):
            items[i, 0] = planes[0, i]
            items[i, 1] = planes[1, i]
            items[i, 2] = planes[2, i]
            items[i, 3] = planes[3, i]
            items[i, 4] = planes[4, i]
            items[i, 5] = planes[5, i]
            items[i, 6] = planes[6, i]
            items[i, 7] = planes[7, i]
    else:
        step = 512
        for start in range(0, count, step):
            stop = min(start + step, count)
            for byte in range(size):
                for i in range(start, stop):
                    items[i, byte] = planes[byte, i]


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
    _join(planes.reshape(itemsize, -1), out.reshape(-1, itemsize))
