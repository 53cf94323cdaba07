"""Whether bytes or bits are sorted before compression: whichever makes samples smaller, read back by TensorStore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from dandify import plan_ome_zarr, write_ome_zarr
from dandify.ngff import samples
from dandify.ngff.verify import open_level

SCALE = {"z": 1.0, "y": 1.0, "x": 1.0}


def camera() -> NDArray[np.uint16]:
    """Return an uneven background with the noise of a camera, whose low bits say nothing."""
    background = 200 + 4 * np.arange(140) + 3 * np.arange(150)[:, None]
    return np.random.default_rng(1).normal(background, 20, (80, 150, 140)).clip(0, 4095).astype(np.uint16)


def photons(dtype: str) -> NDArray[Any]:
    """Return a few photons for each pixel, more in cells, as a confocal microscope counts them."""
    y, x = np.mgrid[:150, :140]
    expected = 2 + 6 * np.maximum(0, np.sin(y / 9) * np.sin(x / 11) - 0.3)
    return np.random.default_rng(2).poisson(np.broadcast_to(expected, (80, 150, 140))).astype(dtype)


def drawn() -> NDArray[np.uint16]:
    """Return a ramp without noise, over and over: what bytes show better than bits."""
    return (np.arange(80 * 150 * 140) % 1000).astype(np.uint16).reshape(80, 150, 140)


@pytest.fixture(autouse=True)
def all_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "WORTH_BYTES", 0)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(camera(), "bitshuffle", id="noise"),
        pytest.param(drawn(), "shuffle", id="ramp"),
        pytest.param(photons("uint8"), "bitshuffle", id="noise of bytes"),
        pytest.param(photons("int8"), "bitshuffle", id="noise of signed bytes"),
        pytest.param((drawn() // 40).astype(np.uint8), "noshuffle", id="ramp of bytes"),
        pytest.param(camera().astype(np.int32), "bitshuffle", id="int32"),
    ],
)
def test_what_is_smaller_is_taken_and_read_back(
    tmp_path: Path, version: str, values: NDArray[Any], expected: str
) -> None:
    path = tmp_path / "a.ome.zarr"
    planned = plan_ome_zarr(values, path, axes="zyx", scale=SCALE, version=version)
    write_ome_zarr(values, path, axes="zyx", scale=SCALE, version=version)
    assert np.array_equal(open_level(path / "0", threads=1).read().result(), values)
    if version == "0.4":
        stated = json.loads((path / "0" / ".zarray").read_text())["compressor"]["shuffle"]
        assert ("noshuffle", "shuffle", "bitshuffle")[stated] == expected
    else:
        codecs = json.loads((path / "0" / "zarr.json").read_text())["codecs"][0]["configuration"]["codecs"]
        assert codecs[1]["configuration"]["shuffle"] == expected
    assert ("bit shuffle" in planned.encoder) == (expected == "bitshuffle")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_zarr_python_reads_bits(tmp_path: Path, dtype: str) -> None:
    path, values = tmp_path / "a.ome.zarr", photons(dtype)
    write_ome_zarr(values, path, axes="zyx", scale=SCALE, version="0.4", compression="blosc-zstd-bits")
    np.testing.assert_array_equal(zarr.open_array(path / "0", mode="r")[...], values)


def test_bits_are_smaller_where_they_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    for taken in (True, False):
        monkeypatch.setattr(samples, "WORTH_BYTES", 0 if taken else 10**12)
        path = tmp_path / f"{taken}.ome.zarr"
        write_ome_zarr(camera(), path, axes="zyx", scale=SCALE)
        sizes.append(sum(f.stat().st_size for f in path.rglob("*") if f.is_file()))
    assert sizes[0] < sizes[1]


def test_small_images_are_not_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "WORTH_BYTES", 32 * 2**20)
    monkeypatch.setattr(samples, "pieces_of", lambda *_, **__: pytest.fail("read"))
    write_ome_zarr(camera(), tmp_path / "a.ome.zarr", axes="zyx", scale=SCALE)
