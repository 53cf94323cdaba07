"""Blocks of literals are read by two builds of Zstandard, and are as small as Huffman's codes can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Zstd
from numpy.typing import NDArray

from dandify.kernels.zstd_literals import MOST, SPARE, literals_block, literals_blocks

_RNG = np.random.default_rng(8)


def block(data: NDArray[np.uint8]) -> bytes:
    """Encode; nothing behind the spare bytes is touched."""
    out = np.full(data.size + SPARE + 8, 0xA5, np.uint8)
    size = literals_block(data, out[:-8])
    assert (out[-8:] == 0xA5).all()
    return out[:size].tobytes()


def framed(content: bytes, size: int) -> bytes:
    """Give a frame of Zstandard with one compressed block, of a stated size."""
    header = (len(content) << 3 | 2 << 1 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little") + header + content


def require_alike(content: bytes, data: NDArray[np.uint8]) -> None:
    frame = framed(content, data.size)
    assert bytes(Zstd().decode(frame)) == data.tobytes()
    assert bytes(imagecodecs.zstd_decode(frame)) == data.tobytes()


def _bits(share: float, count: int = MOST) -> NDArray[np.uint8]:
    return np.packbits(_RNG.random(8 * count) < share)


CASES: dict[str, tuple[Callable[[], NDArray[Any]], float]] = {
    # and what part of it Zstandard at its first level leaves, from above
    "a plane, half full but for a little": (lambda: _bits(0.4), 0.977),
    "a plane, a third full": (lambda: _bits(0.3), 0.889),
    "a plane, a tenth full": (lambda: _bits(0.1), 0.513),
    "all values but few": (lambda: np.minimum(_RNG.exponential(20, MOST), 255).astype(np.uint8), 0.736),
    "codes that are too long": (lambda: _RNG.geometric(0.5, MOST).clip(0, 40).astype(np.uint8), 0.33),
    "two values, far apart": (lambda: (_RNG.integers(0, 2, MOST) * 255).astype(np.uint8), 0.196),
    "128 values": (lambda: _RNG.integers(0, 128, MOST).astype(np.uint8), 0.877),
    "129 values": (lambda: _RNG.integers(0, 129, MOST).astype(np.uint8), 0.879),
    "few bytes": (lambda: _bits(0.1, 1024), 0.63),
}


@pytest.mark.parametrize("name", CASES)
def test_others_read_it(name: str) -> None:
    made, most = CASES[name]
    data = made()
    content = block(data)
    assert 0 < len(content) <= most * data.size
    require_alike(content, data)


@pytest.mark.parametrize(
    "data", [np.zeros(MOST, np.uint8), np.full(MOST, 7, np.uint8), _RNG.integers(0, 256, MOST).astype(np.uint8)],
    ids=["zeros", "one value", "noise"],
)  # fmt: skip
def test_what_becomes_no_smaller_is_refused(data: NDArray[np.uint8]) -> None:
    assert not block(data)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_distribution(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    symbols = rng.permutation(256)[: data.draw(st.integers(2, 256))]
    chances = rng.random(symbols.size) ** data.draw(st.integers(0, 40)) + 1e-12
    count = 4 * data.draw(st.integers(16, MOST // 4))
    values = symbols[rng.choice(symbols.size, count, p=chances / chances.sum())].astype(np.uint8)
    if content := block(values):
        require_alike(content, values)


def test_many_are_as_one_by_one() -> None:
    planes = np.stack([_bits(0.2, 4096), _bits(0.5, 4096), _bits(0.1, 4096)])
    chosen = np.array([2, 1])
    out, sizes = np.empty((2, 4096 + SPARE), np.uint8), np.empty(2, np.int64)
    literals_blocks(planes, chosen, out, sizes)
    assert [row[:size].tobytes() for row, size in zip(out, sizes, strict=True)] == [block(planes[k]) for k in chosen]
    assert sizes[1] == 0
