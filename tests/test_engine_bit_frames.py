"""Blosc frames that are put together here are read by others' Blosc, and are as small as Blosc's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc, Zstd
from numpy.typing import NDArray

from dandify.kernels.bit_planes import EMPTY, GROUP, NOISE, OTHER, UNEVEN, judge, split_bits
from dandify.store.bit_frames import block_of, encode_bits
from dandify.store.frames import Blosc as Frames
from dandify.store.frames import blosc_block
from dandify.store.zarr_image import BloscCodec

MIB = 2**20
BLOCK = {1: MIB, 2: 2 * MIB}  # that the codec asks for, by the bytes of a value
_RNG = np.random.default_rng(3)
_NOISE = _RNG.normal(300, 12, MIB)
_TILE = _RNG.integers(0, 65536, 4096)
_CELLS = np.repeat(np.repeat(_RNG.integers(0, 60, (64, 64)), 16, 0), 16, 1).reshape(-1)  # flat squares of 16 pixels


def _walk(count: int) -> NDArray[Any]:
    return np.cumsum(np.random.default_rng(1).integers(-3, 4, count))


CASES: dict[str, Callable[[], NDArray[Any]]] = {
    "camera": lambda: _NOISE.astype("<u2"),
    "camera around zero": lambda: (_NOISE - 300).astype("<i2"),
    "upper bits only": lambda: (_NOISE.astype("<u2") << 4).astype("<u2"),
    "all noise": lambda: _RNG.integers(0, 65536, MIB).astype("<u2"),
    "noise that comes again": lambda: np.tile(_TILE, MIB // 4096).astype("<u2"),
    "noise in every second row": lambda: np.repeat(_RNG.integers(0, 65536, (MIB // 256, 128)), 2, 0).astype("<u2"),
    "nothing": lambda: np.zeros(MIB, "<u2"),
    "one bit": lambda: np.full(MIB, 1 << 9, "<u2"),
    "all bits": lambda: np.full(MIB, 0xFFFF, "<u2"),
    "ramp": lambda: np.arange(MIB).astype("<u2"),
    "walk": lambda: _walk(MIB).astype("<i2"),
    "two blocks": lambda: np.concatenate([_NOISE, _NOISE[::-1] * 2]).astype("<u2"),
    "a small chunk": lambda: _NOISE[: MIB // 8].astype("<u2"),
    "an odd chunk": lambda: _NOISE[: GROUP * 131].astype("<u2"),
    "three alike for two": lambda: _NOISE[: 3 * MIB // 4].repeat(2)[: 5 * MIB // 4].astype("<u2"),
    "photons": lambda: _RNG.poisson(_CELLS).astype("<u2"),
    "photons of 8 bits": lambda: _RNG.poisson(_CELLS).astype("u1"),
    "photons of 8 bits, signed": lambda: (_RNG.poisson(_CELLS) - 20).astype("i1"),
    "flat, of 8 bits": lambda: _CELLS.astype("u1"),
    "noise of 8 bits": lambda: _RNG.integers(0, 256, MIB).astype("u1"),
    "dark, of 8 bits, two blocks": lambda: _RNG.poisson(0.7, 2 * MIB).astype("u1"),
    "half of it nothing, of 8 bits": lambda: np.where(np.arange(MIB) < MIB // 2, 0, _RNG.poisson(_CELLS)).astype("u1"),
}


@pytest.mark.parametrize("name", CASES)
def test_others_read_it_and_it_is_no_larger(name: str) -> None:
    values = CASES[name]()
    size = values.itemsize
    step = block_of(values.nbytes, BLOCK[size], size)
    assert step
    assert values.nbytes % step == 0
    blosc = Blosc("zstd", clevel=1, shuffle=Blosc.BITSHUFFLE, blocksize=step)
    theirs = blosc.encode(values)
    frame = encode_bits(values.view(np.uint8), size, step, Zstd(1))
    if frame is None:
        assert len(theirs) > 0.99 * values.nbytes
        return
    assert bytes(blosc.decode(frame)) == values.tobytes()
    assert bytes(imagecodecs.blosc_decode(frame)) == values.tobytes()  # its own build
    assert bytes(imagecodecs.blosc2_decode(frame)) == values.tobytes()  # another library, which reads version 1, too
    assert len(frame) <= 1.02 * len(theirs) + 200
    assert frame[:16] == theirs[:12] + len(frame).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("size", "most", "itemsize", "expected"),
    [
        (2 * MIB, 2 * MIB, 2, 2 * MIB), (4 * MIB, 2 * MIB, 2, 2 * MIB), (MIB // 4, 2 * MIB, 2, MIB // 4),
        (5 * MIB // 2, 2 * MIB, 2, 5 * MIB // 4), (4 * MIB, MIB, 1, MIB), (GROUP * 131, MIB, 1, GROUP * 131),
        (GROUP * 3 * 131, MIB // 8, 1, GROUP * 131), (MIB + 2, 2 * MIB, 2, 0), (8 * 1024, MIB, 1, 0), (0, MIB, 1, 0),
    ],
)  # fmt: skip
def test_blocks_are_alike(size: int, most: int, itemsize: int, expected: int) -> None:
    assert block_of(size, most, itemsize) == expected


@pytest.mark.parametrize("dtype", ["<u2", "|u1", "|i1"])
def test_the_codec_makes_them(dtype: str) -> None:
    size = np.dtype(dtype).itemsize
    codec, values = BloscCodec.named("blosc-zstd", size, bits=True), (CASES["camera"]() >> 4).astype(dtype)
    values = values.reshape(64, 128, 128)
    frame = codec.encode(values)
    assert codec.v3()["configuration"]["blocksize"] == BLOCK[size]
    assert frame == encode_bits(values.reshape(-1).view(np.uint8), size, BLOCK[size], Zstd(1))
    wide = BloscCodec.named("blosc-zstd", 4, bits=True)
    for other in (values[:, :, :127].copy(), values[:1, :8].copy()):  # no whole groups, too few values
        assert bytes(codec._codec.decode(codec.encode(other))) == other.tobytes()
    assert bytes(wide._codec.decode(wide.encode(values.astype(np.int32)))) == values.astype(np.int32).tobytes()


@pytest.mark.parametrize(
    ("size", "step"),
    [
        pytest.param(54_272 * 64, 54_272 * 32, id="two parts"),
        pytest.param(31_232 * 128, 31_232 * 64, id="nearly 4 MB"),
        pytest.param(2**20, 2**20, id="one part"),
        pytest.param(54_254 * 64, 0, id="no whole groups"),
        pytest.param(2**16, 0, id="too little"),
    ],
)
def test_recordings_are_coded_so_where_their_chunks_can_be_cut(size: int, step: int) -> None:
    assert block_of(size, blosc_block("zstd", bits_of=2), 2) == step
    raw = np.resize(CASES["camera around zero"](), size // 2).view(np.uint8)
    frame = Frames().encode(raw, 2)
    assert bytes(Frames().codec.decode(frame)) == raw.tobytes()
    if step:
        assert frame == encode_bits(raw, 2, step, Zstd(1))
    for other in (Frames("zstd", 3), Frames("lz4", 5), Frames("zstd", 1, bits=False)):
        assert bytes(other.codec.decode(other.encode(raw, 2))) == raw.tobytes()
    assert bytes(Frames().codec.decode(Frames().encode(raw, 4))) == raw.tobytes()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_planes(data: st.DataObject) -> None:
    """Planes of every kind in every order; the values' bits are those planes."""
    size = data.draw(st.sampled_from([1, 2]))
    dtype, number = np.dtype(f"<u{size}"), 8 * size
    names = ["noise", "empty", "full", "runs", "rare", "uneven"]
    kinds = data.draw(st.lists(st.sampled_from(names), min_size=number, max_size=number))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    count = GROUP * data.draw(st.integers(128, 300))
    made: dict[str, Callable[[], NDArray[Any]]] = {
        "noise": lambda: rng.integers(0, 2, count), "empty": lambda: np.zeros(count, int),
        "full": lambda: np.ones(count, int), "runs": lambda: (np.cumsum(rng.random(count) < 0.002) & 1),
        "rare": lambda: (rng.random(count) < 0.001).astype(int),
        "uneven": lambda: (rng.random(count) < 0.3).astype(int),
    }  # fmt: skip
    bits = np.stack([made[kind]() for kind in kinds])
    values = np.sum(bits << np.arange(number)[:, None], axis=0).astype(dtype)
    raw, planes = values.view(np.uint8), np.empty(values.nbytes, np.uint8)
    seen = split_bits(raw, size, planes)
    assert seen == sum((kind != "empty") << k for k, kind in enumerate(kinds))
    np.testing.assert_array_equal(planes.reshape(number, -1), np.packbits(bits, axis=1, bitorder="little"))
    found = np.empty(number, np.uint8)
    judge(planes, seen, found)
    expected = {"noise": NOISE, "empty": EMPTY, "uneven": UNEVEN}
    assert found.tolist() == [expected.get(kind, OTHER) for kind in kinds]
    frame = encode_bits(raw, size, values.nbytes, Zstd(1))
    if frame is None:
        assert kinds.count("noise") == number
    else:
        assert bytes(imagecodecs.blosc_decode(frame)) == values.tobytes()


def test_copies_of_noise_are_found() -> None:
    """Sign planes are one plane many times: stored once, and found again by Zstandard."""
    values = np.random.default_rng(4).integers(-8, 8, MIB).astype("<i2")
    planes, kinds = np.empty(values.nbytes, np.uint8), np.empty(16, np.uint8)
    judge(planes, split_bits(values.view(np.uint8), 2, planes), kinds)
    assert kinds.tolist() == [NOISE] * 3 + [OTHER] * 13
    frame = encode_bits(values.view(np.uint8), 2, values.nbytes, Zstd(1))
    assert frame is not None
    assert len(frame) < 4.1 / 16 * values.nbytes


def test_a_higher_level_looks_for_matches_everywhere() -> None:
    values = CASES["photons"]()
    raw = values.view(np.uint8)
    fast, small = (encode_bits(raw, 2, values.nbytes, Zstd(level)) for level in (1, 5))
    assert fast is not None
    assert small is not None
    assert fast != small
    assert bytes(imagecodecs.blosc_decode(small)) == values.tobytes()
