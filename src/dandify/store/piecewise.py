"""XXH3-128 of an array's bytes, as ``xxh128sum`` prints it, though parts of them come before others."""

from __future__ import annotations

from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from dandify.kernels.xxh3 import BLOCK, LANES, START, STRIPE, block_sums, digest, take_in

_SHORT: Final = 240  # bytes; what is no longer has another algorithm
PART: Final = BLOCK // (8 * LANES)
"""Bytes of which one is kept until all before them have come."""


class PiecewiseXXH128:
    """Takes pieces of known places in any order; from one thread.

    Parameters
    ----------
    size
        Of all bytes.
    ahead
        The most bytes between the end of what is `complete` and the end of a piece.
    """

    def __init__(self, size: int, ahead: int) -> None:
        self._size = size
        self._last = max(0, size - 1) // BLOCK  # block that the digest takes in
        self._tail_start = max(0, self._last * BLOCK - STRIPE)
        self._tail = np.zeros(size - self._tail_start, np.uint8)
        self._state = START.copy()
        self._first, self._there = 0, 0  # first block that is not taken in, and how many from there on are summed up
        self._sums = np.empty((min(ahead, size) // BLOCK + 2, LANES), np.uint64)
        self._open: dict[int, tuple[NDArray[np.uint8], int]] = {}  # blocks of which some bytes have come, and how many

    def add(self, start: int, data: NDArray[np.uint8]) -> None:
        """Take a piece, (bytes,) contiguous, that begins at a byte."""
        stop = start + len(data)
        if stop > self._tail_start:
            skipped = max(0, self._tail_start - start)
            self._tail[start + skipped - self._tail_start :][: len(data) - skipped] = data[skipped:]
        first, end = -(-start // BLOCK), min(stop // BLOCK, self._last)
        if first * BLOCK > start:
            self._edge(first - 1, start, data[: first * BLOCK - start])
        if end > first:
            self._there += end - first
            block_sums(data[first * BLOCK - start :], self._sums[first - self._first : end - self._first])
        if first <= end < self._last and end * BLOCK < stop:
            self._edge(end, end * BLOCK, data[end * BLOCK - start :])

    def complete(self, stop: int) -> None:
        """Say that all bytes before one have come.

        Raises
        ------
        RuntimeError
            If they have not.
        """
        count = min(stop // BLOCK, self._last) - self._first
        if self._there != count:
            raise RuntimeError(f"{self._there} of {count} blocks have come")
        take_in(self._state, self._sums[:count])
        self._first, self._there = self._first + count, 0

    def hexdigest(self) -> str:
        """Give the checksum, when everything is complete."""
        if self._size <= _SHORT:
            return xxhash.xxh3_128(self._tail.data).hexdigest()
        return digest(self._state, self._tail, self._size)

    def _edge(self, block: int, start: int, data: NDArray[np.uint8]) -> None:
        """Take a part of a block; sum it up when it is whole."""
        if block == self._last:
            return
        held, count = self._open.pop(block) if block in self._open else (np.empty(BLOCK, np.uint8), 0)
        held[start - block * BLOCK :][: len(data)] = data
        if count + len(data) < BLOCK:
            self._open[block] = (held, count + len(data))
            return
        self._there += 1
        block_sums(held, self._sums[block - self._first : block - self._first + 1])
