"""Planes coded by literals alone: decoded by others, whatever part of their symbols was counted."""

from __future__ import annotations

import zlib

import deflate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib
from numpy.typing import NDArray

from dandify.kernels.literals import code_literals, count_some, literal_bits
from dandify.kernels.planar import SEGMENT, bound, finish

BLOCKS = [256, 1000, 4096, 8192, SEGMENT, 10 * SEGMENT]


def coded(plane: NDArray[np.uint8], block: int = SEGMENT) -> bytes:
    """Return the raw deflate stream of a plane; nothing is written beyond `bound`."""
    room = bound(plane.size)
    out, state = np.full(room + 65_536, 0xA5, np.uint8), np.zeros(3, np.uint64)
    code_literals(plane, block, out, state)
    finish(out, state)
    assert (out[room:] == 0xA5).all()
    return out[: int(state[0])].tobytes()


def decoded_by_all(stream: bytes, plane: NDArray[np.uint8]) -> None:
    expected = plane.tobytes()
    assert zlib.decompress(stream, -zlib.MAX_WBITS) == expected
    assert isal_zlib.decompress(stream, -zlib.MAX_WBITS) == expected
    assert bytes(deflate.deflate_decompress(stream, plane.size)) == expected


@st.composite
def planes(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Stretches of different statistics one after another, some of them shorter than what is counted at one go."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = [np.zeros(0, np.uint8)]
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.one_of(st.integers(0, 300), st.sampled_from([16_383, 16_384, 32_768, 40_001])))
        center, spread = draw(st.integers(0, 255)), draw(st.sampled_from([0, 0.5, 3, 20, 100]))
        parts.append(np.rint(rng.normal(center, spread, size)).astype(np.int64).astype(np.uint8))
    plane = np.concatenate(parts)
    if plane.size and draw(st.booleans()):  # a few symbols that the counted part has not
        at = rng.integers(0, plane.size, 20)
        plane[at] = rng.integers(0, 256, 20)
    return plane


@settings(max_examples=120, deadline=None)
@given(planes(), st.sampled_from(BLOCKS))
def test_any_plane_in_any_blocks(plane: NDArray[np.uint8], block: int) -> None:
    stream = coded(plane, block)
    decoded_by_all(stream, plane)
    assert len(stream) <= plane.size + 5 * (plane.size // 65_535 + plane.size // SEGMENT + 2) + 8
    assert coded(plane, block) == stream


def uncounted(size: int) -> NDArray[np.bool_]:
    """Where `count_some` does not look."""
    hidden = np.zeros(size, bool)
    before = np.zeros(286, np.int64)
    four = np.zeros((4, 256), np.uint32)
    for at in range(0, size, 64):
        plane = np.zeros(size, np.uint8)
        plane[at : at + 64] = 1
        counts = before.copy()
        count_some(plane, 0, size, four, counts)
        hidden[at : at + 64] = counts[1] == 0
    return hidden


def test_symbols_that_were_not_counted_have_codes_and_what_grows_is_stored() -> None:
    hidden = uncounted(SEGMENT)
    assert 0.8 < hidden.mean() < 0.9
    rng = np.random.default_rng(1)
    plane = np.minimum(rng.geometric(0.5, SEGMENT), 11).astype(np.uint8)  # all others have the longest codes
    plane[hidden] = rng.integers(12, 256, int(hidden.sum()))
    stream = coded(plane)
    decoded_by_all(stream, plane)
    assert len(stream) <= SEGMENT + 24  # not 13 bits for each
    for many in range(2, 24):  # however near the limit the last but one comes
        assert len(coded(np.tile(plane, many))) <= many * SEGMENT + 5 * many + 24
    mixed = np.concatenate([plane, np.full(SEGMENT, 128, np.uint8), plane])
    decoded_by_all(coded(mixed), mixed)


@pytest.mark.parametrize("channels", [1, 2, 8, 16, 64, 128, 512, 7])
def test_interleaved_channels_are_counted_alike(channels: int) -> None:
    levels = np.random.default_rng(channels).integers(0, 256, channels)
    plane = np.resize(levels, SEGMENT).astype(np.uint8)
    counts, four = np.zeros(286, np.int64), np.zeros((4, 256), np.uint32)
    assert not count_some(plane, 0, SEGMENT, four, counts)
    expected = np.bincount(plane, minlength=286) * 8
    assert (np.abs(counts - expected) <= 0.35 * expected + 8).all()


def test_short_stretches_are_counted_whole() -> None:
    plane = np.random.default_rng(2).integers(0, 9, 16_383).astype(np.uint8)
    counts, four = np.zeros(286, np.int64), np.zeros((4, 256), np.uint32)
    assert count_some(plane, 0, plane.size, four, counts)
    assert np.array_equal(counts, np.bincount(plane, minlength=286) * 8)


def test_noise_takes_hardly_more_than_its_entropy() -> None:
    plane = np.rint(np.random.default_rng(4).normal(0, 3, 200_000)).astype(np.int64).astype(np.uint8)
    share = np.bincount(plane) / plane.size
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    assert 8 * len(coded(plane)) < 1.015 * entropy * plane.size


def test_short_blocks_follow_what_changes() -> None:
    rng = np.random.default_rng(5)
    slow = 100 * np.sin(np.arange(200_000) / 10_000)
    plane = np.rint(slow + rng.normal(0, 2, slow.size)).astype(np.int64).astype(np.uint8)
    long, short = coded(plane), coded(plane, 4096)
    decoded_by_all(short, plane)
    assert len(short) < 0.85 * len(long)
    assert literal_bits(plane, 4096) / 8 == pytest.approx(len(short), rel=0.01)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 5])
def test_sizes_around_those_of_blocks(size: int) -> None:
    plane = np.random.default_rng(size).geometric(0.3, size).astype(np.uint8)
    decoded_by_all(coded(plane), plane)
    decoded_by_all(coded(plane, 4096), plane)
    noise = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
    assert len(coded(noise, 4096)) <= size + 5 * (size // 65_535 + 2)  # one stored block after another
