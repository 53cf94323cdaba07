"""Planar deflate: what it makes is decoded by zlib, ISA-L, libdeflate, HDF5 and its tools, whatever the bytes."""

from __future__ import annotations

import io
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deflate
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from dandify.kernels.planar import bound, code_plane, finish
from dandify.kernels.repeats import BLOCK, code_repeats
from dandify.store.deflate import Libdeflate, Planar, ZlibNg
from dandify.store.encode import Encoder, PlainGunzip, ShuffleGzip
from deflate_sets import SETS, chunk

UNHURRIED = settings(deadline=None)
ENCODERS = [Planar(), Planar(shuffled=False), Libdeflate(1), Libdeflate(6, shuffled=False), ZlibNg(2), ZlibNg(4, False)]


def planes(values: NDArray[Any], shuffled: bool = True) -> bytes:
    raw = np.frombuffer(values.tobytes(), np.uint8)
    return (raw.reshape(-1, values.itemsize).T if shuffled else raw).tobytes()


def decoded_by_all(payload: bytes, expected: bytes) -> None:
    assert zlib.decompress(payload) == expected
    assert isal_zlib.decompress(payload) == expected
    assert zlib_ng.decompress(payload) == expected
    assert bytes(deflate.zlib_decompress(payload, len(expected))) == expected


def bytes_of(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(bytearray(values.tobytes()), np.uint8)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: e.name)
@pytest.mark.parametrize("size", [100_000, 70_001, 64])
@pytest.mark.parametrize("make", SETS, ids=lambda m: m.__name__)
def test_every_decoder_undoes_it(make: Callable[..., NDArray[Any]], size: int, encoder: Any) -> None:
    values = chunk(make, size)
    payload = encoder.encode(bytes_of(values), values.itemsize)
    decoded_by_all(payload, planes(values, encoder.shuffled))
    out = np.empty(values.nbytes, np.uint8)
    PlainGunzip(shuffled=encoder.shuffled).decode(payload, values.itemsize, out)
    assert out.tobytes() == values.tobytes()
    assert encoder.encode(bytes_of(values), values.itemsize) == payload  # the same each time


@pytest.mark.parametrize("make", SETS, ids=lambda m: m.__name__)
def test_planar_is_never_much_larger_than_libdeflate_1(make: Callable[..., NDArray[Any]]) -> None:
    values = chunk(make, 1_000_000)
    size = len(Planar().encode(bytes_of(values), values.itemsize))
    assert size <= 1.03 * len(Libdeflate(1).encode(bytes_of(values), values.itemsize)) + 16


@pytest.mark.parametrize("name", ["ap", "ap_channel", "lfp", "intan", "wide", "big_endian"])
def test_planar_of_recordings_is_no_larger_than_isal(name: str) -> None:
    values = chunk(next(m for m in SETS if m.__name__ == name), 1_000_000)
    size = len(Planar().encode(bytes_of(values), values.itemsize))
    assert size < len(ShuffleGzip().encode(bytes_of(values), values.itemsize))


def bits_of(symbols: NDArray[np.uint8], distance: int, least: int) -> bytes:
    """One plane, coded in a given way, as a raw deflate stream."""
    out, state = np.empty(bound(symbols.size), np.uint8), np.zeros(3, np.uint64)
    code_plane(symbols, distance, least, out, state)
    finish(out, state)
    return out[: int(state[0])].tobytes()


@st.composite
def contents(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Bytes of the kinds that take different ways through the encoder."""
    size = draw(st.one_of(st.integers(0, 70), st.integers(0, 3000), st.sampled_from([32_767, 32_768, 32_769, 100_003])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["constant", "two", "sparse", "ramp", "random", "periodic", "skewed", "changing"]))
    if kind == "constant":
        return np.full(size, draw(st.integers(0, 255)), np.uint8)
    if kind == "two":
        pair = np.array([draw(st.integers(0, 255)), draw(st.integers(0, 255))], np.uint8)
        return pair[np.asarray(rng.random(size) < draw(st.sampled_from([0.5, 0.1, 0.9, 0.01])), np.intp)]
    if kind == "sparse":
        return np.where(rng.random(size) < 0.01, rng.integers(0, 256, size), 0).astype(np.uint8)
    if kind == "ramp":
        return (np.arange(size) // draw(st.sampled_from([1, 3, 100]))).astype(np.uint8)
    if kind == "periodic":
        return np.resize(rng.integers(0, 256, draw(st.integers(1, 300))).astype(np.uint8), size)
    if kind == "skewed":
        return np.minimum(rng.geometric(0.4, size) - 1, 255).astype(np.uint8)
    if kind == "changing":
        half = size // 2
        return np.concatenate([rng.integers(0, 4, half), rng.integers(0, 256, size - half)]).astype(np.uint8)
    return rng.integers(0, 256, size).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@given(contents(), st.sampled_from([0, 1, 2, 5, 64, 300, 32_768]), st.sampled_from([8, 9, 40]))
def test_a_plane_in_any_way(symbols: NDArray[np.uint8], distance: int, least: int) -> None:
    stream = bits_of(symbols, distance, least)
    assert zlib.decompress(stream, -15) == symbols.tobytes()
    assert bytes(deflate.deflate_decompress(stream, symbols.size)) == symbols.tobytes()
    assert len(stream) <= bound(symbols.size)


def repeats_of(symbols: NDArray[np.uint8], least: int) -> bytes:
    out, state = np.empty(bound(symbols.size), np.uint8), np.zeros(3, np.uint64)
    code_repeats(symbols, least, out, state)
    finish(out, state)
    return out[: int(state[0])].tobytes()


@settings(max_examples=150, deadline=None)
@given(contents(), st.integers(8, 16))
def test_repeats(symbols: NDArray[np.uint8], least: int) -> None:
    stream = repeats_of(symbols, least)
    assert zlib.decompress(stream, -15) == symbols.tobytes()
    assert bytes(deflate.deflate_decompress(stream, symbols.size)) == symbols.tobytes()
    assert len(stream) <= bound(symbols.size)


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 17, 3 * BLOCK])
def test_repeats_across_blocks(size: int) -> None:
    symbols = np.where(np.random.default_rng(size).random(size) < 0.4, 0, 255).astype(np.uint8)
    stream = repeats_of(symbols, 13)
    assert zlib.decompress(stream, -15) == symbols.tobytes()
    assert len(stream) < 0.9 * len(bits_of(symbols, 0, 8))
    assert zlib.decompress(repeats_of(np.full(size, 3, np.uint8), 8), -15) == bytes([3]) * size


@settings(max_examples=150, deadline=None)
@given(contents(), st.sampled_from([1, 2, 4, 8]))
def test_any_content_any_itemsize(content: NDArray[np.uint8], itemsize: int) -> None:
    raw = content[: content.size // itemsize * itemsize].copy()
    payload = Planar().encode(raw, itemsize)
    decoded_by_all(payload, raw.reshape(-1, itemsize).T.tobytes())
    assert len(payload) <= raw.size + raw.size // 1000 + 16 * itemsize + 32


@UNHURRIED
@given(st.binary(max_size=4000), st.sampled_from([1, 2, 4, 8]))
def test_any_bytes(data: bytes, itemsize: int) -> None:
    raw = np.frombuffer(bytearray(data[: len(data) // itemsize * itemsize]), np.uint8)
    decoded_by_all(Planar().encode(raw, itemsize), raw.reshape(-1, itemsize).T.tobytes())


@pytest.mark.parametrize("run", [8, 257, 258, 259, 260, 261, 516, 517, 518, 519, 1033, 5000, 32_768])
def test_runs_of_every_length(run: int) -> None:
    symbols = np.concatenate([np.arange(50), np.full(run + 1, 9), np.arange(100, 150)]).astype(np.uint8)
    assert zlib.decompress(bits_of(symbols, 1, 8), -15) == symbols.tobytes()


@pytest.mark.parametrize("distance", [*range(1, 40), *(2**k + d for k in range(5, 15) for d in (-1, 0, 1, 2)), 32_768])
def test_every_class_of_distances(distance: int) -> None:
    symbols = np.resize(np.random.default_rng(1).integers(0, 256, distance).astype(np.uint8), distance + 300)
    assert zlib.decompress(bits_of(symbols, distance, 8), -15) == symbols.tobytes()


def test_blocks_of_fibonacci_counts() -> None:
    counts = [1, 1]
    while sum(counts) < 200_000:
        counts.append(counts[-1] + counts[-2])
    symbols = np.repeat(np.arange(len(counts)), counts).astype(np.uint8)
    np.random.default_rng(0).shuffle(symbols)
    assert zlib.decompress(bits_of(symbols, 0, 8), -15) == symbols.tobytes()


def written(encoder: Encoder, values: NDArray[Any], file: h5py.File) -> h5py.Dataset:
    dataset = file.create_dataset(
        "x", values.shape, values.dtype, chunks=values.shape, compression="gzip", shuffle=values.itemsize > 1
    )
    dataset.id.write_direct_chunk((0,) * values.ndim, encoder.encode(bytes_of(values), values.itemsize))
    return dataset


@pytest.mark.parametrize("make", SETS, ids=lambda m: m.__name__)
def test_hdf5_undoes_it(make: Callable[..., NDArray[Any]]) -> None:
    values = chunk(make, 50_000)
    with h5py.File(io.BytesIO(), "w") as file:
        assert written(Planar(), values, file)[()].tobytes() == values.tobytes()


def test_hdf5s_own_tools_undo_it(tmp_path: Path) -> None:
    h5dump = shutil.which("h5dump")
    if h5dump is None:
        pytest.skip("h5dump (hdf5-tools) is not installed")
    values = chunk(SETS[0], 20_000)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        written(Planar(), values, file)
    out = tmp_path / "x.bin"
    command = [h5dump, "-d", "/x", "-b", "LE", "-o", str(out), str(tmp_path / "x.h5")]
    subprocess.run(command, check=False, capture_output=True)  # its exit code says nothing
    assert np.fromfile(out, "<i2").tobytes() == values.tobytes()
