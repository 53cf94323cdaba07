"""`dandify tune` on images: all resolutions are in what it predicts, and a part is written as `convert` writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dandify.ngff.write import write_ome_zarr
from dandify.runs.image_materials import image_material
from dandify.runs.tune import tune
from dandify.sources.arrays import MemoryArray
from tuning_cases import tuned

AXES, SCALE = "zyx", {"z": 2.0, "y": 1.0, "x": 1.0}


def spots() -> NDArray[np.uint8]:
    """Few photons, in an image that is not of whole chunks: averages of them are compressed otherwise than counts."""
    rng = np.random.default_rng(3)
    return rng.poisson(0.7, (24, 600, 500)).astype("<u1")


def written(path: Path) -> tuple[int, int]:
    """Bytes of the finest resolution, and of the others."""
    sizes = {level.name: sum(f.stat().st_size for f in level.rglob("*") if f.is_file() and f.name != "zarr.json")
             for level in path.iterdir() if level.name.isdigit()}  # fmt: skip
    return sizes.pop("0"), sum(sizes.values())


def test_the_prediction_holds_all_resolutions(tmp_path: Path) -> None:
    path = tmp_path / "spots.ome.zarr"
    raw = [d.raw_bytes for d in write_ome_zarr(spots(), path, axes=AXES, scale=SCALE).datasets]
    result = tune(path, budget=3)
    (stream,) = result.streams
    usual, best = stream.role("default"), stream.best("balanced")
    assert usual is not None
    assert best is not None
    finest, smaller = written(path)
    assert usual.stored_bytes == pytest.approx(finest, rel=0.02)
    assert usual.smaller_bytes == pytest.approx(smaller, rel=0.03)
    as_finest = finest * sum(raw[1:]) / raw[0]
    assert abs(smaller / as_finest - 1) > 0.1
    assert result.prediction is not None
    assert result.prediction.default_bytes == pytest.approx(finest + smaller, rel=0.02)
    assert result.prediction.stored_bytes == pytest.approx(best.stored_bytes + best.smaller_bytes)
    assert result.prediction.smaller_bytes == best.smaller_bytes
    assert all(row.by_engine for row in stream.rows if row.written)
    assert not any(row.by_engine for row in stream.rows if not row.written)


def test_where_it_cannot_be_written_the_finest_resolution_stands_for_all(tmp_path: Path) -> None:
    image = image_material("spots", MemoryArray(spots()), AXES, SCALE, tmp_path)
    levels = write_ome_zarr(spots(), tmp_path / "a.ome.zarr", axes=AXES, scale=SCALE, verify=False).datasets
    assert image.smaller_bytes == sum(d.raw_bytes for d in levels[1:])
    (stream,) = tuned(replace(image, write_image=None)).streams
    for row in stream.rows:
        assert row.smaller_bytes == pytest.approx(row.stored_bytes * image.smaller_bytes / image.raw_bytes)


@pytest.mark.parametrize("shape", [(6, 5, 170, 240), (2, 3, 1, 90, 120), (1, 600, 500), (300, 260)])
def test_images_of_any_axes_are_written_in_part(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Of a few planes, an odd number, at several times."""
    axes = "tczyx"[-len(shape) :] if len(shape) != 4 else "tzyx"
    pixels = np.random.default_rng(3).poisson(9, shape).astype("<u2")
    (stream,) = tuned(image_material("image", MemoryArray(pixels), axes, SCALE, tmp_path)).streams
    assert stream.rows
    assert all(row.by_engine for row in stream.rows if row.written)
    assert not stream.faults


def test_axes_that_are_not_known_leave_resolutions_out() -> None:
    image = image_material("odd", MemoryArray(spots()), (), {}, Path("odd"))
    assert (image.smaller_bytes, image.write_image, image.spacing) == (0, None, (0.0, 0.0, 0.0))
