"""Planes of two symbols, decoded by zlib; what is no such plane is left to others."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.kernels.planar import bound, finish
from dandify.kernels.two_symbols import ROOM, code_two_symbols, to_bits, two_symbols


def coded(plane: NDArray[np.uint8]) -> bytes | None:
    """Return the raw deflate stream of a plane; None where it was refused."""
    out, state = np.empty(bound(plane.size), np.uint8), np.zeros(3, np.uint64)
    if not code_two_symbols(plane, out, state):
        assert not state.any()
        return None
    finish(out, state)
    return out[: int(state[0])].tobytes()


def inflated(stream: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.decompress(stream, -zlib.MAX_WBITS), np.uint8)


def signs(size: int, symbols: tuple[int, int], seed: int, share: float = 0.5) -> NDArray[np.uint8]:
    """Return symbols drawn one by one, the second with this share."""
    drawn = np.random.default_rng(seed).random(size) < share
    return np.where(drawn, *reversed(symbols)).astype(np.uint8)


@settings(max_examples=80, deadline=None)
@given(
    size=st.one_of(st.integers(0, 300), st.integers(30_000, 70_000), st.integers(262_100, 262_200)),
    symbols=st.lists(st.integers(0, 255), min_size=2, max_size=2, unique=True),
    others=st.integers(0, 60),
    block=st.integers(1, 5_000),
    seed=st.integers(0, 99),
)
def test_zlib_decodes_what_is_coded(size: int, symbols: list[int], others: int, block: int, seed: int) -> None:
    plane = signs(size, (symbols[0], symbols[1]), seed)
    rng = np.random.default_rng(seed)
    if size > 4 * block:  # long repeats, also across blocks
        plane[-block:] = plane[:block]
    if size:
        plane[rng.integers(0, size, min(others, size // 40))] = rng.integers(0, 256, min(others, size // 40))
    stream = coded(plane)
    if stream is not None:
        assert np.array_equal(inflated(stream), plane)


@pytest.mark.parametrize("symbols", [(0, 255), (255, 0), (128, 127), (7, 6), (0, 1)])
def test_random_signs_take_less_than_huffman_codes_can(symbols: tuple[int, int]) -> None:
    plane = signs(120_000, symbols, 1)
    stream = coded(plane)
    assert stream is not None
    assert np.array_equal(inflated(stream), plane)
    assert 8 * len(stream) < 1.28 * plane.size  # one code of one bit, all others of two or more: 1.5


@pytest.mark.parametrize(
    "plane",
    [
        np.zeros(50_000, np.uint8),
        signs(50_000, (0, 255), 2, share=0.05),
        np.random.default_rng(3).integers(0, 3, 50_000).astype(np.uint8),
        np.repeat(signs(5_000, (0, 255), 4), 10),
        np.zeros(0, np.uint8),
    ],
    ids=["one symbol", "hardly any of the other", "three symbols", "runs", "empty"],
)
def test_other_planes_are_refused_and_nothing_is_written(plane: NDArray[np.uint8]) -> None:
    assert coded(plane) is None


@pytest.mark.parametrize("size", [0, 1, 7, 8, 63, 64, 65, 200, 1000])
def test_bits_say_where_the_second_symbol_is_and_where_neither(size: int) -> None:
    plane = signs(size, (3, 250), 5)
    plane[::17] = 9
    bits, odd = np.full(size // 8 + ROOM, 99, np.uint8), np.full(size // 8 + ROOM, 99, np.uint8)
    assert to_bits(plane, 3, 250, bits, odd) == (plane == 9).sum()
    neither = np.unpackbits(odd, bitorder="little")
    assert np.array_equal(neither[:size], plane == 9)
    assert neither[size:].all()
    known = plane != 9
    assert np.array_equal(np.unpackbits(bits, bitorder="little")[:size][known], (plane == 250)[known])


def test_symbols_are_the_most_frequent_of_start_middle_and_end() -> None:
    plane = np.repeat(np.array([8, 5, 8], np.uint8), 10_000)
    assert two_symbols(plane) == (8, 5)
    assert two_symbols(np.full(10, 4, np.uint8)) == (4, 4)
    assert two_symbols(np.full(10, 0, np.uint8)) == (0, 0)


@pytest.mark.parametrize("step", [1, 2, 9, 10, 11, 19, 21])
def test_other_symbols_close_together(step: int) -> None:
    plane = signs(300_000, (0, 255), 6)
    plane[100_000 : 100_000 + 9_000 * step : step] = 7  # 3 %, all of them in one block where they are dense
    stream = coded(plane)
    assert stream is not None
    assert np.array_equal(inflated(stream), plane)
