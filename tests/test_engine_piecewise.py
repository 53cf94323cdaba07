"""The checksum of bytes that come in pieces, against that of xxhash."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from dandify.store.piecewise import PiecewiseXXH128

SIZES = [1, 240, 241, 1023, 1024, 1025, 1087, 1088, 1089, 2047, 2048, 2049, 65536, 100_001]


def bytes_of(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_in_one_piece(size: int) -> None:
    data = bytes_of(size)
    whole = PiecewiseXXH128(size, size)
    whole.add(0, data)
    whole.complete(size)
    assert whole.hexdigest() == xxhash.xxh3_128(data.tobytes()).hexdigest()


@settings(max_examples=80, deadline=None)
@given(
    planes=st.integers(1, 7), rows=st.integers(1, 40), row=st.integers(1, 400), height=st.integers(1, 20),
    depth=st.integers(1, 4), seed=st.integers(0, 99),
)  # fmt: skip
def test_bands_of_planes(planes: int, rows: int, row: int, height: int, depth: int, seed: int) -> None:
    """Some planes at a time, band by band, as images are read; and the bands in any order."""
    rng = np.random.default_rng(seed)
    data = bytes_of(planes * rows * row, seed).reshape(planes, rows, row)
    found = PiecewiseXXH128(data.size, depth * rows * row)
    for z in range(0, planes, depth):
        places = [(p, y) for y in range(0, rows, height) for p in range(z, min(z + depth, planes))]
        rng.shuffle(places)
        for plane, y in places:
            found.add((plane * rows + y) * row, data[plane, y : y + height].reshape(-1))
        found.complete(min(z + depth, planes) * rows * row)
    assert found.hexdigest() == xxhash.xxh3_128(data.tobytes()).hexdigest()


def test_what_has_not_come_is_missed() -> None:
    found = PiecewiseXXH128(5000, 5000)
    found.add(0, bytes_of(1500))
    found.add(2100, bytes_of(2900))
    with pytest.raises(RuntimeError, match="2 of 4 blocks"):
        found.complete(5000)
