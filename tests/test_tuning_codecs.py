"""Codecs and chunk shapes that are tried: bit by bit, who reads them, and what the writers take."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from dandify.store.compression import COMPRESSIONS
from dandify.store.zarr_image import COMPRESSIONS as IMAGE_COMPRESSIONS
from dandify.tuning.candidates import Candidate, candidates_for, default_image_chunks
from dandify.tuning.codecs import codecs_for
from dandify.tuning.material import BACKENDS
from dandify.tuning.readers import LEVELS
from dandify.tuning.trial import Tally, Unfit, run
from tuning_cases import material, noise

DTYPES = ("<i2", "<u2", ">i2", "<i4", "<f4", ">f8", "<u1")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_codec_gives_back_every_bit(backend: str, dtype: str) -> None:
    values = noise(500, 24, dtype) if dtype != "<u1" else noise(500, 24, "<i2").astype("<u1")
    if np.dtype(dtype).kind == "f":
        values[3, 5:9] = [np.nan, -np.nan, np.inf, -0.0]
    else:
        values[0, :2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    codecs = codecs_for(backend, "python", np.dtype(dtype), signals=True)
    assert len({c.key for c in codecs}) == len(codecs)
    unfit = []
    for codec in codecs:
        if codec.missing:
            continue
        tally = Tally()
        try:
            run(Candidate(codec, (300, 24)), codec.make([values]), 0, values, 1.0, tally, 0)  # raises if a bit differs
        except Unfit:
            unfit.append(codec.key)
        else:
            assert 0 < tally.stored[0] < 2 * values.nbytes
    assert not unfit


def test_what_convert_is_told_it_takes() -> None:
    for backend in ("hdf5", "zarr"):
        names = {c.compression for c in codecs_for(backend, "python", np.dtype("<i2"), signals=True) if c.compression}
        assert names <= set(COMPRESSIONS[backend])
    images = {c.compression for c in codecs_for("ome-zarr", "any", np.dtype("<u2"), signals=False) if c.compression}
    assert images == set(IMAGE_COMPRESSIONS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_readers_are_named_and_grow_fewer(backend: str) -> None:
    found = [codecs_for(backend, level, np.dtype("<i2"), signals=True) for level in LEVELS]
    assert len(found[0]) < len(found[1]) <= len(found[2])
    assert all(c.readers(backend).can for codecs in found for c in codecs)
    assert not any("MATLAB" in " ".join(c.readers("hdf5").cannot) for c in codecs_for("hdf5", "any", np.dtype("<i2"),
                   signals=True))  # fmt: skip
    plugins = next(c for c in codecs_for("hdf5", "plugins", np.dtype("<i2"), signals=True) if c.key == "zstd")
    assert "wrong numbers" in plugins.readers("hdf5").text


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((3, 500, 600), (0.0, 1.0, 1.0)), ((2, 39, 500, 600), (0.0, 2.0, 1.0, 1.0)), ((1, 500, 600), (2.0, 1.0, 1.0)),
     ((5, 3, 17, 90, 4000), (0.0, 0.0, 2.0, 1.0, 1.0)), ((501, 603), (1.0, 1.0))], ids=str,
)  # fmt: skip
def test_chunks_of_images_are_such_as_are_written(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    """One along time and channels, and even along z, y and x or all there is: `write_ome_zarr` refuses others."""
    image = material(np.broadcast_to(np.zeros((), "<u2"), shape), "ome-zarr", inner=2, spacing=spacing)
    found, _ = candidates_for(image, "python", ())
    for chunks in {c.chunks for c in found} | {default_image_chunks(image)}:
        for chunk, length, far in zip(chunks, shape, spacing, strict=True):
            assert (chunk % 2 == 0 or chunk == length) if far else chunk == 1


def test_bits_are_shuffled_alone_only_where_blosc_does_it() -> None:
    """Of 2 x 510 x 667 pixels, no multiple of 8, it stored a quarter more than was said."""
    image = material(np.broadcast_to(np.zeros((), "<u2"), (20, 510, 667)), "ome-zarr", inner=2, spacing=(2.0, 1.0, 1.0))
    found = candidates_for(image, "any", ())[0]
    assert (2, 510, 667) in {c.chunks for c in found if c.codec.key == "blosc-zstd"}
    bits = {c.chunks for c in found if c.codec.key == "blosc-zstd-bits"}
    assert bits
    assert all(prod(chunks) % 8 == 0 for chunks in bits)
    values = np.random.default_rng(5).poisson(40, (2, 30, 71)).astype("<u2")  # 4,260 values
    codec = next(c.codec for c in found if c.codec.key == "blosc-zstd-bits")
    parts = [np.ascontiguousarray(part) for part in (values[..., :64], values)]
    ratios = [part.nbytes / len(codec.make([part]).encode(part)) for part in parts]
    assert ratios[1] < 0.9 * ratios[0]
