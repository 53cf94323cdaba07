"""Columns of a (rows, columns) block to chunks of a few columns each: a row of memory is touched once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.jit import compiled

_UNITS: dict[int, np.dtype[Any]] = {8: np.dtype("u8"), 4: np.dtype("u4"), 2: np.dtype("u2"), 1: np.dtype("u1")}
_ROWS = 96  # of a block whose pieces of all chunks stay in the first-level cache, also where rows share its lines


@compiled
def _gather(
    block: NDArray[np.uint64], row: int, rows: int, first: int, width: int, chunks: NDArray[np.uint64], chunk: int
) -> None:
    """``chunks[k, r] = block[r, first + k * width : first + (k + 1) * width]``.

    Arrays are flat, and places unsigned: of negative ones numba would have to find out each time.

    Parameters
    ----------
    block
        (rows of a slab * ``row``,)
    row, rows
        Length of a row, and how many there are.
    first, width
        Where in a row the first chunk begins, and what it takes of it.
    chunks
        (chunks * ``chunk``,)
    chunk
        Length of a chunk.
    """
    step = np.uint64(row)
    for start in range(0, rows, _ROWS):
        many = min(_ROWS, rows - start)
        for k in range(chunks.size // chunk):
            source = np.uint64(start * row + first + k * width)
            target = np.uint64(k * chunk + start * width)
            if width == 1:
                for r in range(many):
                    chunks[target + np.uint64(r)] = block[source + np.uint64(r) * step]
            elif width == 4:  # 16 channels of int16
                for r in range(many):
                    place, to = source + np.uint64(r) * step, target + np.uint64(4 * r)
                    chunks[to] = block[place]
                    chunks[to + np.uint64(1)] = block[place + np.uint64(1)]
                    chunks[to + np.uint64(2)] = block[place + np.uint64(2)]
                    chunks[to + np.uint64(3)] = block[place + np.uint64(3)]
            else:
                for r in range(many):
                    place, to = source + np.uint64(r) * step, target + np.uint64(r * width)
                    for c in range(width):
                        chunks[to + np.uint64(c)] = block[place + np.uint64(c)]


@compiled
def _same(
    block: NDArray[np.uint64], row: int, rows: int, first: int, width: int, chunks: NDArray[np.uint64], chunk: int
) -> Any:
    """Whether these chunks are what `_gather` would make of the block; written out anew, as a proof of it must be."""
    differs = np.uint64(0)
    step = np.uint64(row)
    for start in range(0, rows, _ROWS):
        many = min(_ROWS, rows - start)
        for k in range(chunks.size // chunk):
            source = np.uint64(start * row + first + k * width)
            target = np.uint64(k * chunk + start * width)
            if width == 1:
                for r in range(many):
                    differs |= chunks[target + np.uint64(r)] ^ block[source + np.uint64(r) * step]
            elif width == 4:
                for r in range(many):
                    place, to = source + np.uint64(r) * step, target + np.uint64(4 * r)
                    one = chunks[to] ^ block[place]
                    two = chunks[to + np.uint64(1)] ^ block[place + np.uint64(1)]
                    three = chunks[to + np.uint64(2)] ^ block[place + np.uint64(2)]
                    four = chunks[to + np.uint64(3)] ^ block[place + np.uint64(3)]
                    differs |= (one | two) | (three | four)
            else:
                for r in range(many):
                    place, to = source + np.uint64(r) * step, target + np.uint64(r * width)
                    for c in range(width):
                        differs |= chunks[to + np.uint64(c)] ^ block[place + np.uint64(c)]
    return differs == np.uint64(0)


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
    unit = _unit(block, first_byte, width_bytes)
    rows, row = block.shape
    _gather(
        _flat(block, unit), row // unit, rows, first_byte // unit, width_bytes // unit,
        _flat(out, unit), out.shape[1] // unit,
    )  # fmt: skip


def same_columns(block: NDArray[np.uint8], first_byte: int, width_bytes: int, chunks: NDArray[np.uint8]) -> bool:
    """Whether chunks are what `gather_columns` cuts out; its arguments."""
    unit = _unit(block, first_byte, width_bytes)
    rows, row = block.shape
    return bool(_same(
        _flat(block, unit), row // unit, rows, first_byte // unit, width_bytes // unit,
        _flat(chunks, unit), chunks.shape[1] // unit,
    ))  # fmt: skip


def _unit(block: NDArray[np.uint8], first_byte: int, width_bytes: int) -> int:
    """Size of the largest integers that the columns are made of."""
    return next(u for u in _UNITS if not (block.shape[1] % u or first_byte % u or width_bytes % u))


def _flat(array: NDArray[np.uint8], unit: int) -> NDArray[np.uint64]:
    units: NDArray[Any] = array.reshape(-1).view(_UNITS[unit])
    return units
