"""Columns of a (rows, columns) block to chunks of a few columns each, and back: a row of memory is touched once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.jit import compiled

_UNITS: dict[int, np.dtype[Any]] = {8: np.dtype("u8"), 4: np.dtype("u4"), 2: np.dtype("u2"), 1: np.dtype("u1")}
_ROWS = 256  # of a block whose pieces of all chunks stay in the first-level cache


@compiled
def _gather(block: NDArray[np.uint64], first: int, width: int, chunks: NDArray[np.uint64]) -> None:
    """``chunks[k, r] = block[r, first + k * width : first + (k + 1) * width]``, for (chunks, rows, width)."""
    rows = block.shape[0]
    for start in range(0, rows, _ROWS):
        stop = min(start + _ROWS, rows)
        for k in range(chunks.shape[0]):
            column = first + k * width
            if width == 1:
                for r in range(start, stop):
                    chunks[k, r, 0] = block[r, column]
            elif width == 4:  # 16 channels of int16
                for r in range(start, stop):
                    chunks[k, r, 0] = block[r, column]
                    chunks[k, r, 1] = block[r, column + 1]
                    chunks[k, r, 2] = block[r, column + 2]
                    chunks[k, r, 3] = block[r, column + 3]
            else:
                for r in range(start, stop):
                    for c in range(width):
                        chunks[k, r, c] = block[r, column + c]


@compiled
def _scatter(chunks: NDArray[np.uint64], block: NDArray[np.uint64], first: int, width: int) -> None:
    """Undo `_gather`."""
    rows = block.shape[0]
    for start in range(0, rows, _ROWS):
        stop = min(start + _ROWS, rows)
        for k in range(chunks.shape[0]):
            column = first + k * width
            if width == 1:
                for r in range(start, stop):
                    block[r, column] = chunks[k, r, 0]
            else:
                for r in range(start, stop):
                    for c in range(width):
                        block[r, column + c] = chunks[k, r, c]


def gather_columns(block: NDArray[np.uint8], first_byte: int, width_bytes: int, out: NDArray[np.uint8]) -> None:
    """Cut columns into chunks.

    Parameters
    ----------
    block
        (rows, bytes of a row), contiguous.
    first_byte
        Where in a row the first chunk begins.
    width_bytes
        Bytes of a row that a chunk takes.
    out
        (chunks, bytes of a chunk), contiguous; its chunks have at least the block's rows, and what lies behind these
        is left as it is.
    """
    units, unit = _as_units(block, first_byte, width_bytes)
    _gather(units, first_byte // unit, width_bytes // unit, _chunks(out, unit, width_bytes))


def scatter_columns(chunks: NDArray[np.uint8], block: NDArray[np.uint8], first_byte: int, width_bytes: int) -> None:
    """Undo `gather_columns`; its arguments in the other direction."""
    units, unit = _as_units(block, first_byte, width_bytes)
    _scatter(_chunks(chunks, unit, width_bytes), units, first_byte // unit, width_bytes // unit)


def _as_units(block: NDArray[np.uint8], first_byte: int, width_bytes: int) -> tuple[NDArray[np.uint64], int]:
    """Give the block as the largest integers that the columns are made of."""
    unit = next(u for u in _UNITS if not (block.shape[1] % u or first_byte % u or width_bytes % u))
    units: NDArray[Any] = block.view(_UNITS[unit])
    return units, unit


def _chunks(array: NDArray[np.uint8], unit: int, width_bytes: int) -> NDArray[np.uint64]:
    units: NDArray[Any] = array.view(_UNITS[unit])
    return units.reshape(len(array), -1, width_bytes // unit)
