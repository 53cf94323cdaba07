"""FLAC and WavPack as candidates of ``--readers python``: what they take, bit by bit, and what is said of the rest.

Neither package has wheels for every platform (wavpack-numcodecs builds on Linux with glibc 2.35 and 2.39, or where
WavPack is installed), so that the tests of their codecs skip where they are not.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dandify.tuning import codecs as codecs_module
from dandify.tuning.candidates import Candidate
from dandify.tuning.codecs import Codec, codecs_for
from dandify.tuning.coders import ImageCoder
from dandify.tuning.trial import NotIdentical, Tally, Unfit, require_same, run, time_chunks
from tuning_cases import material, noise, tuned

KEYS = ("flac", "flac:channels", "wavpack", "wavpack:channels")
FLAC_TYPES = {"<i2", ">i2", "<u2", ">u2"}
WAVPACK_TYPES = FLAC_TYPES | {"|i1", "|u1", "<i4", ">i4", "<u4", "<f4", ">f4"}


def _codec(key: str, dtype: str) -> Codec | None:
    return next((c for c in codecs_for("zarr", "python", np.dtype(dtype), signals=True) if c.key == key), None)


def _there(key: str, dtype: str = "<i2") -> Codec:
    codec = _codec(key, dtype)
    assert codec is not None
    if codec.missing:
        pytest.skip(f"{codec.title}: {codec.missing}")
    return codec


@pytest.mark.parametrize("dtype", sorted(WAVPACK_TYPES | {"<i8", "<f8", ">f8"}))
def test_each_is_a_candidate_for_the_types_that_it_takes(dtype: str) -> None:
    found = {c.key for c in codecs_for("zarr", "python", np.dtype(dtype), signals=True)} & set(KEYS)
    assert {"flac" in key for key in found if "flac" in key} == ({True} if dtype in FLAC_TYPES else set())
    assert ("wavpack" in found) == (dtype in WAVPACK_TYPES) == ("wavpack:channels" in found)
    frames = codecs_for("zarr", "python", np.dtype(dtype), signals=False)
    images = codecs_for("ome-zarr", "python", np.dtype(dtype), signals=False)
    assert not {c.key for c in (*frames, *images)} & set(KEYS)


def _full(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    bounds = np.iinfo(dtype)
    return np.random.default_rng(4).integers(bounds.min, bounds.max, shape, dtype, endpoint=True)


def _extremes(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    bounds = np.iinfo(dtype)
    return np.resize(np.array([bounds.min, bounds.max, bounds.max, 0], dtype), shape)


def _odd_floats(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    values = np.random.default_rng(4).normal(size=shape).astype(dtype)
    values[::7] = np.resize(np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-42], dtype), values[::7].shape)
    return values


MADE: dict[str, Callable[[tuple[int, ...], str], NDArray[Any]]] = {
    "noise": lambda shape, dtype: noise(shape[0], shape[1]).astype(dtype),
    "constant": lambda shape, dtype: np.full(shape, 7, dtype),
    "extremes": _extremes,
    "odd-floats": _odd_floats,
}
SHAPES = ((301, 1), (300, 2), (1001, 3), (4609, 8), (211, 384))
_INTEGERS = sorted(WAVPACK_TYPES - {"<f4", ">f4"})
CASES = [
    *(("noise", shape, "<i2") for shape in SHAPES),
    *(("noise", (1001, 3), dtype) for dtype in sorted(WAVPACK_TYPES)),
    *((kind, (1001, 3), dtype) for kind in ("constant", "extremes") for dtype in _INTEGERS),
    *(("odd-floats", (4609, 8), dtype) for dtype in ("<f4", ">f4")),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("kind", "shape", "dtype"), CASES, ids=str)
def test_every_bit_comes_back(key: str, kind: str, shape: tuple[int, ...], dtype: str) -> None:
    if key.startswith("flac") and dtype not in FLAC_TYPES:
        assert _codec(key, dtype) is None
        return
    values, codec, tally = MADE[kind](shape, dtype), _there(key, dtype), Tally()
    run(Candidate(codec, shape), codec.make([values]), 0, values, 1.0, tally, 0)  # raises if a bit differs
    assert 0 < tally.stored[0] < values.nbytes


def test_one_signal_of_one_axis_comes_back() -> None:
    for key in KEYS:
        codec, values = _there(key), noise(5000, 1)[:, 0]
        assert time_chunks(codec.make([values]), [values]).stored < values.nbytes


@pytest.mark.parametrize("dtype", ["<i2", "<u2"])
def test_what_is_nothing_but_noise_is_stored_or_refused(dtype: str) -> None:
    """WavPack's package has no room for what becomes larger than it was, FLAC's has."""
    values = _full((5000, 8), dtype)
    flac = _there("flac", dtype)
    assert 0.9 < values.nbytes / time_chunks(flac.make([values]), [values]).stored < 1.1
    wavpack = _there("wavpack", dtype)
    with pytest.raises(Unfit, match="WavPack compression error"):
        time_chunks(wavpack.make([values]), [values])
    (stream,) = tuned(material(values, "zarr"), readers="python").streams
    assert stream.rows
    assert not stream.faults
    assert any("wavpack" in note and "cannot encode this" in note for note in stream.notes)


@pytest.mark.parametrize("key", KEYS)
def test_several_threads_encode_at_one_time(key: str) -> None:
    codec = _there(key)
    parts = [noise(2000, 8, seed=k) for k in range(12)]
    coder = codec.make(parts)

    def back(values: NDArray[Any]) -> None:
        require_same(values, coder.decode(coder.encode(values), values.shape, values.dtype))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(back, parts))


@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u2", "<u4", "|i1", "<i2", ">i4", "<f4"])
@pytest.mark.parametrize("kind", ["i", "u", ""])
@pytest.mark.parametrize("major", [False, True])
def test_integers_are_moved_to_the_kind_that_a_codec_takes(dtype: str, kind: str, major: bool) -> None:
    seen = []

    def press(image: NDArray[Any]) -> bytes:
        seen.append(image)
        return image.tobytes()

    values = MADE["odd-floats"]((51, 3), dtype) if dtype == "<f4" else _extremes((51, 3), dtype)
    coder = ImageCoder(press, lambda payload, shape, native: np.frombuffer(payload, native), major, kind)
    require_same(values, coder.decode(coder.encode(values), values.shape, values.dtype))
    (image,) = seen
    assert image.dtype.isnative
    assert image.dtype.kind == (kind or values.dtype.kind if dtype != "<f4" else "f")
    assert image.shape == ((3, 51) if major else (51, 3))
    if dtype != "<f4":
        assert (np.diff(np.sort(image.astype(float), None)) >= 0).all()
        order = image.T if major else image
        np.testing.assert_array_equal(np.argsort(order, None, "stable"), np.argsort(values, None, "stable"))


@pytest.mark.parametrize(
    ("error", "words"),
    [(AssertionError("Only int16 is supported"), "Only int16"), (AssertionError(), "AssertionError"),
     (OSError("no space left for a temporary file"), "no space left")], ids=str,
)  # fmt: skip
def test_whatever_a_foreign_codec_raises_is_said_of_it(error: Exception, words: str) -> None:
    class Refusing:
        def encode(self, values: NDArray[Any]) -> bytes:
            raise error

        def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
            raise error

    with pytest.raises(Unfit, match=words):
        time_chunks(Refusing(), [noise()])
    Refusing.encode = lambda self, values: b""  # type: ignore[method-assign]
    with pytest.raises(NotIdentical, match=f"cannot be decoded: .*{words}"):
        time_chunks(Refusing(), [noise()])


def test_a_package_that_cannot_be_loaded_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_numcodecs.py").write_text("raise OSError('libsound.so.1: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    codec = Codec("sound", "Sound", "python", 1, 1, lambda _: pytest.fail("it is made"), package="broken-numcodecs")
    assert codec.missing == (
        "broken-numcodecs is installed, but cannot be loaded: libsound.so.1: cannot open shared object file"
    )
    known = codecs_module._python
    monkeypatch.setattr(codecs_module, "_python", lambda dtype: (*known(dtype), codec))
    (stream,) = tuned(material(noise(), "zarr"), readers="python").streams
    assert stream.rows
    assert any(text.startswith("Sound: broken-numcodecs is installed, but cannot be loaded") for text in stream.missing)
