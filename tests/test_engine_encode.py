"""Encoders: whatever they make is decoded by zlib, by HDF5 itself, and by numcodecs."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dandify.kernels.shuffle import shuffle, unshuffle
from dandify.store.deflate import Libdeflate, Planar, ZlibNg
from dandify.store.encode import LIBRARIES, CodecDecoder, PlainGunzip, ShuffleGzip, checksum, independent
from dandify.store.frames import Blosc

UNHURRIED = settings(deadline=None)  # the first call compiles
DTYPES = st.sampled_from(["<i2", ">i2", "<u2", "i1", "u1", "<i4", ">f4", "<f4", "<f8", "<i8", ">u8", "<f2"])


@st.composite
def blocks(draw: st.DrawFn) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Values, at most as large as the chunk that they are of; contiguous or not."""
    dtype = np.dtype(draw(DTYPES))
    chunks = tuple(draw(st.lists(st.integers(1, 17), min_size=1, max_size=4)))
    shape = tuple(draw(st.integers(1, c)) for c in chunks)
    size = int(np.prod(shape)) * dtype.itemsize
    if draw(st.booleans()):
        raw = draw(st.binary(min_size=size, max_size=size))
    else:
        raw = bytes([draw(st.integers(0, 255))]) * size
    values = np.frombuffer(raw, dtype).reshape(shape)
    if draw(st.booleans()):
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)
    return values, chunks


def padded(values: NDArray[Any], chunks: tuple[int, ...]) -> NDArray[Any]:
    full = np.zeros(chunks, values.dtype)
    full[tuple(slice(n) for n in values.shape)] = values
    return full


def raw_of(values: NDArray[Any], chunks: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(bytearray(padded(values, chunks).tobytes()), np.uint8)


@UNHURRIED
@given(hnp.arrays(np.uint8, st.integers(0, 3000)), st.integers(1, 17))
def test_shuffle_is_a_transposition(data: NDArray[np.uint8], itemsize: int) -> None:
    data = data[: data.size // itemsize * itemsize]
    out, back = np.empty_like(data), np.empty_like(data)
    shuffle(data, itemsize, out)
    assert np.array_equal(out, data.reshape(-1, itemsize).T.ravel())
    unshuffle(out, itemsize, back)
    assert np.array_equal(back, data)


@UNHURRIED
@given(blocks(), st.booleans(), st.integers(0, 3))
def test_zlib_and_our_decoder_undo_it(case: tuple[NDArray[Any], tuple[int, ...]], shuffled: bool, level: int) -> None:
    values, chunks = case
    raw = padded(values, chunks)
    itemsize = values.dtype.itemsize
    payload = ShuffleGzip(shuffled=shuffled, level=level).encode(raw_of(values, chunks), itemsize)
    stored = np.frombuffer(zlib.decompress(payload), np.uint8)
    expected = np.frombuffer(raw.tobytes(), np.uint8).reshape(-1, itemsize)
    assert np.array_equal(stored, (expected.T if shuffled else expected).ravel())
    out = np.empty(raw.nbytes, np.uint8)
    PlainGunzip(shuffled=shuffled).decode(payload, itemsize, out)
    assert out.tobytes() == raw.tobytes()
    assert checksum(out) == zlib.crc32(raw.tobytes())


@settings(max_examples=60, deadline=None)
@given(blocks())
def test_hdf5_undoes_it(case: tuple[NDArray[Any], tuple[int, ...]]) -> None:
    values, chunks = case
    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset(
            "x", values.shape, values.dtype, chunks=chunks, maxshape=chunks, compression="gzip", shuffle=True
        )
        payload = ShuffleGzip().encode(raw_of(values, chunks), values.dtype.itemsize)
        dataset.id.write_direct_chunk((0,) * values.ndim, payload)
        assert dataset[()].tobytes() == values.tobytes()


@UNHURRIED
@given(blocks())
def test_numcodecs_undoes_blosc(case: tuple[NDArray[Any], tuple[int, ...]]) -> None:
    from numcodecs import get_codec

    values, chunks = case
    encoder = Blosc()
    payload = encoder.encode(raw_of(values, chunks), values.dtype.itemsize)
    raw = padded(values, chunks).tobytes()
    assert bytes(get_codec(encoder.codec.get_config()).decode(payload)) == raw
    out = np.empty(len(raw), np.uint8)
    CodecDecoder(encoder.codec).decode(payload, values.dtype.itemsize, out)
    assert out.tobytes() == raw


@pytest.mark.parametrize(
    ("decoder", "payload"),
    [
        pytest.param(PlainGunzip(shuffled=True), b"not deflate", id="zlib-junk"),
        pytest.param(PlainGunzip(shuffled=True), zlib.compress(b"12"), id="zlib-short"),
        pytest.param(PlainGunzip(shuffled=True), zlib.compress(bytes(64))[:-3], id="zlib-truncated"),
        pytest.param(CodecDecoder(Blosc().codec), b"not blosc at all", id="blosc-junk"),
        pytest.param(CodecDecoder(None), b"12", id="raw-short"),
    ],
)
def test_damage_is_a_value_error(decoder: PlainGunzip | CodecDecoder, payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the words are those of three libraries
        decoder.decode(payload, 2, np.empty(64, np.uint8))


def test_kernels_compile_where_nothing_can_be_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core.caching import CacheImpl

    from dandify.kernels.jit import compiled

    monkeypatch.setattr(CacheImpl, "_locator_classes", [])  # as in a read-only install without a home

    def twice(x: int) -> int:
        return 2 * x

    assert compiled(twice)(21) == 42


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("size", [8, 262_144, 262_152, 900_000])
def test_every_library_decodes_and_refuses(size: int, library: str) -> None:
    values = np.random.default_rng(size).integers(0, 9, size).astype(np.uint8)
    decoder = PlainGunzip(shuffled=False, library=library)
    out = np.empty_like(values)
    payload = zlib.compress(values.tobytes())
    decoder.decode(payload, 1, out)
    assert np.array_equal(out, values)
    for damaged in (zlib.compress(values[:-1].tobytes()), zlib.compress(bytes(size + 1)), payload[:-2], b"junk", b""):
        with pytest.raises(ValueError, match=r"."):
            decoder.decode(damaged, 1, out)


@pytest.mark.parametrize(
    "encoder", [ShuffleGzip(), Libdeflate(1), ZlibNg(2), Planar()], ids=["isal", "libdeflate", "zlib-ng", "planar"]
)
def test_another_library_decodes_than_encoded(encoder: Any) -> None:
    raw = np.arange(40_000, dtype=np.uint16).view(np.uint8)
    payload = encoder.encode(raw, 2)
    decoder = independent(PlainGunzip(shuffled=True), encoder, [payload], 2, raw.size)
    assert isinstance(decoder, PlainGunzip)
    assert decoder.library != getattr(encoder, "library", "")
    out = np.empty_like(raw)
    decoder.decode(payload, 2, out)
    assert np.array_equal(out, raw)


def test_damaged_chunks_are_left_to_who_decodes_them() -> None:
    decoder = independent(PlainGunzip(shuffled=True), ShuffleGzip(), [b"damaged"], 2, 100)
    assert decoder == PlainGunzip(shuffled=True, library="libdeflate")
