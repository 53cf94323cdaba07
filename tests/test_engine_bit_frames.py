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

from dandify.kernels.bit_planes import EMPTY, GROUP, NOISE, OTHER, PLANES, judge, split_bits
from dandify.store.bit_frames import encode_bits, fits
from dandify.store.frames import Blosc as Frames
from dandify.store.frames import bit_block
from dandify.store.zarr_image import BloscCodec

MIB = 2**20
BLOCK = 2 * MIB
_RNG = np.random.default_rng(3)
_NOISE = _RNG.normal(300, 12, MIB)
_TILE = _RNG.integers(0, 65536, 4096)


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
}


@pytest.mark.parametrize("name", CASES)
def test_others_read_it_and_it_is_no_larger(name: str) -> None:
    values = CASES[name]()
    blosc = Blosc("zstd", clevel=1, shuffle=Blosc.BITSHUFFLE, blocksize=BLOCK)
    theirs = blosc.encode(values)
    assert fits(values.nbytes, BLOCK)
    frame = encode_bits(values.view(np.uint8), BLOCK, Zstd(1))
    if frame is None:
        assert len(theirs) > 0.99 * values.nbytes
        return
    assert bytes(blosc.decode(frame)) == values.tobytes()
    assert bytes(imagecodecs.blosc_decode(frame)) == values.tobytes()  # its own build
    assert len(frame) <= 1.005 * len(theirs) + 200
    assert frame[:16] == theirs[:12] + len(frame).to_bytes(4, "little")


def test_the_codec_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    codec, values = BloscCodec.named("blosc-zstd", 2, bits=True), CASES["camera"]().reshape(64, 128, 128)
    frame = codec.encode(values)
    assert frame == encode_bits(values.reshape(-1).view(np.uint8), BLOCK, Zstd(1))
    wide = BloscCodec.named("blosc-zstd", 4, bits=True)
    for other in (values[:, :, :127].copy(), values[:1, :8].copy()):  # no whole groups, too few values
        assert bytes(codec._codec.decode(codec.encode(other))) == other.tobytes()
    assert bytes(wide._codec.decode(wide.encode(values.astype(np.int32)))) == values.astype(np.int32).tobytes()


@pytest.mark.parametrize(
    ("size", "block"),
    [
        pytest.param(54_272 * 64, 54_272 * 32, id="two parts"),
        pytest.param(31_232 * 128, 31_232 * 64, id="nearly 4 MB"),
        pytest.param(2**20, 2**20, id="one part"),
        pytest.param(54_254 * 64, 0, id="no whole groups"),
        pytest.param(2**16, 0, id="too little"),
    ],
)
def test_recordings_are_coded_so_where_their_chunks_can_be_cut(size: int, block: int) -> None:
    assert bit_block(size) == block
    raw = np.resize(CASES["camera around zero"](), size // 2).view(np.uint8)
    frame = Frames().encode(raw, 2)
    assert bytes(Frames().codec.decode(frame)) == raw.tobytes()
    if block:
        assert frame == encode_bits(raw, block, Zstd(1))
    for other in (Frames("zstd", 3), Frames("lz4", 5), Frames("zstd", 1, bits=False)):
        assert bytes(other.codec.decode(other.encode(raw, 2))) == raw.tobytes()
    assert bytes(Frames().codec.decode(Frames().encode(raw, 4))) == raw.tobytes()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_planes(data: st.DataObject) -> None:
    """Planes of every kind in every order; the values' bits are those planes."""
    kinds = data.draw(st.lists(st.sampled_from(["noise", "empty", "full", "runs", "rare"]), min_size=16, max_size=16))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    count = GROUP * data.draw(st.integers(128, 300))
    made: dict[str, Callable[[], NDArray[Any]]] = {
        "noise": lambda: rng.integers(0, 2, count), "empty": lambda: np.zeros(count, int),
        "full": lambda: np.ones(count, int), "runs": lambda: (np.cumsum(rng.random(count) < 0.02) & 1),
        "rare": lambda: (rng.random(count) < 0.01).astype(int),
    }  # fmt: skip
    bits = np.stack([made[kind]() for kind in kinds])
    values = np.sum(bits << np.arange(PLANES)[:, None], axis=0).astype("<u2")
    raw, planes = values.view(np.uint8), np.empty(values.nbytes, np.uint8)
    seen = split_bits(raw, planes)
    assert seen == sum((kind != "empty") << k for k, kind in enumerate(kinds))
    np.testing.assert_array_equal(planes.reshape(PLANES, -1), np.packbits(bits, axis=1, bitorder="little"))
    found = np.empty(PLANES, np.uint8)
    judge(planes, seen, found)
    expected = {"noise": NOISE, "empty": EMPTY}
    assert found.tolist() == [expected.get(kind, OTHER) for kind in kinds]
    frame = encode_bits(raw, values.nbytes, Zstd(1))
    if frame is None:
        assert kinds.count("noise") == PLANES
    else:
        assert bytes(imagecodecs.blosc_decode(frame)) == values.tobytes()
