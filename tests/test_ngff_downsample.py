"""The kernels of the pyramid against NumPy, and against TensorStore's own downsampling."""

from __future__ import annotations

import numpy as np
import pytest
import tensorstore
from hypothesis import given, settings
from hypothesis import strategies as st

from dandify.kernels.downsample import BINS, bin_values, cut_halving, halve, row_step, tally
from ngff_reference import mean, noise

DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32"]
FACTORS = [(2, 2, 2), (1, 2, 2), (2, 1, 1), (1, 1, 2), (1, 2, 1), (2, 2, 1), (2, 1, 2)]


@pytest.mark.parametrize("factors", FACTORS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_halve_is_the_mean_of_each_window(dtype: str, factors: tuple[int, int, int]) -> None:
    values = noise((5, 7, 9), dtype)
    out = np.empty([-(-n // f) for n, f in zip(values.shape, factors, strict=True)], dtype)
    halve(values, factors, out)
    if values.dtype.kind == "f":
        np.testing.assert_allclose(out, mean(values, factors), rtol=2e-7)
    else:
        np.testing.assert_array_equal(out, mean(values, factors))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
def test_integers_are_rounded_as_tensorstore_rounds(dtype: str) -> None:
    values = noise((6, 8, 10), dtype, seed=3)
    out = np.empty((3, 4, 5), dtype)
    halve(values, (2, 2, 2), out)
    theirs = tensorstore.downsample(tensorstore.array(values), [2, 2, 2], "mean").read().result()
    np.testing.assert_array_equal(out, theirs)


@pytest.mark.parametrize(
    ("pair", "expected"), [((0, 1), 0), ((1, 2), 2), ((2, 3), 2), ((-1, 0), 0), ((-1, -2), -2), ((-3, -2), -2)], ids=str
)
def test_halves_go_to_the_even_neighbour(pair: tuple[int, int], expected: int) -> None:
    out = np.empty((1, 1, 1), np.int16)
    halve(np.array([[pair]], np.int16), (1, 1, 2), out)
    assert out.item() == expected


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3), factors=st.sampled_from(FACTORS), dtype=st.sampled_from(DTYPES[:6]),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_halve_of_any_shape(shape: tuple[int, ...], factors: tuple[int, int, int], dtype: str, seed: int) -> None:
    values = noise(shape, dtype, seed)
    out = np.empty([-(-n // f) for n, f in zip(shape, factors, strict=True)], dtype)
    halve(values, factors, out)
    np.testing.assert_array_equal(out, mean(values, factors))


@pytest.mark.parametrize(
    "shape", [(2, 40, 50), (8, 40, 60), (8, 200, 190)], ids=["all rows", "every fourth row", "every 16th"]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tally_finds_extremes_and_percentiles(dtype: str, shape: tuple[int, int, int]) -> None:
    values = noise(shape, dtype, seed=5)
    counts = np.zeros(BINS, np.int64)
    assert tally(values, counts) == (values.min(), values.max())
    z, y = np.indices(shape[:2])
    rows = values[(y + z) % row_step(values) == 0]
    assert counts.sum() == rows.size
    median = bin_values(values.dtype)[np.searchsorted(np.cumsum(counts), rows.size / 2)]
    spread = float(values.max()) - float(values.min())
    assert median == pytest.approx(np.median(rows), abs=spread / 100)


def test_tally_leaves_out_what_is_not_finite() -> None:
    values = np.array([[[np.nan, -2.0, np.inf, 3.0, -np.inf]]], np.float32)
    counts = np.zeros(BINS, np.int64)
    assert tally(values, counts) == (-2.0, 3.0)
    assert counts.sum() == 2
    assert bin_values(values.dtype)[np.flatnonzero(counts)] == pytest.approx([-2.0, 3.0], rel=0.01)


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 2, 2), (2, 1, 2), (1, 1, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_a_block_is_cut_counted_and_halved_at_one_go(dtype: str, factors: tuple[int, int, int]) -> None:
    values = noise((7, 60, 70), dtype, seed=3)
    cut = values[:, 11:51, 21:64]
    block, counts, expected_counts = np.empty(cut.shape, dtype), np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    level = np.zeros((9, 70, 80), dtype)
    shape = [-(-n // f) for n, f in zip(cut.shape, factors, strict=True)]
    out = level[1 : 1 + shape[0], 2 : 2 + shape[1], 3 : 3 + shape[2]]
    found = cut_halving(values, (11, 21), block, factors, out, counts)
    assert found == tally(np.ascontiguousarray(cut), expected_counts) == (cut.min(), cut.max())
    np.testing.assert_array_equal(counts, expected_counts)
    np.testing.assert_array_equal(block, cut)
    np.testing.assert_array_equal(out, mean(cut, factors))
    out[...] = 0
    assert not level.any()
    assert cut_halving(values, (11, 21), block, factors, out, None) == (np.inf, -np.inf)
