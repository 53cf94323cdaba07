"""`dandify verify` of OME-Zarr: image, plate and labels against what they were made of; what is not known is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from dandify import verify, write_ome_zarr, write_ome_zarr_labels
from dandify.cli.main import main
from dandify.errors import BadRequest
from dandify.store.manifest import manifest_path
from metamorph_maker import PATTERN, write_plate
from ngff_reference import metadata, noise

SHAPE = (6, 40, 48)
IMAGE: NDArray[Any] = noise(SHAPE, "uint16")
CELLS: NDArray[np.uint16] = np.random.default_rng(1).choice([0, 5, 600], SHAPE).astype("uint16")
SCALE = {"z": 2.0, "y": 0.5, "x": 0.5}
FLAGS = ["--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def write_raw(path: Path, values: NDArray[Any] = IMAGE) -> Path:
    tifffile.imwrite(
        path, values, photometric="minisblack", ome=True,
        metadata={"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0},
    )  # fmt: skip
    return path


def changed(values: NDArray[Any], at: tuple[int, ...]) -> NDArray[Any]:
    values = values.copy()
    values[at] += 1
    return values


def verdicts(path: Path, **options: Any) -> dict[str, tuple[str, str]]:
    return {p.path: (p.verdict, p.detail) for p in verify(path, **options).proofs}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    write_raw(folder / "brain.ome.tif")
    tifffile.imwrite(folder / "cells.tif", CELLS)
    np.save(folder / "mask.npy", CELLS > 5)
    return folder


@pytest.fixture
def image(raw: Path, tmp_path: Path) -> Path:
    path = tmp_path / "brain.ome.zarr"
    write_ome_zarr(raw / "brain.ome.tif", path, labels={"cells": raw / "cells.tif"}, chunks=(4, 16, 16))
    write_ome_zarr_labels(raw / "mask.npy", path, "mask")
    return path


def test_image_and_labels(image: Path, raw: Path) -> None:
    done = run("verify", image, "--against", raw / "brain.ome.tif", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [(a["path"], a["verdict"], a["detail"]) for a in report["arrays"]] == [
        ("/0", "equal", "Image0"), ("/labels/cells/0", "equal", str(raw / "cells.tif")),
        ("/labels/mask/0", "equal", str(raw / "mask.npy")),
    ]  # fmt: skip


def test_one_file_needs_no_list(image: Path, raw: Path) -> None:
    assert verify(image, against=str(raw / "brain.ome.tif")).equal
    assert verify(image, against=raw / "brain.ome.tif").against == (raw / "brain.ome.tif",)


def test_one_label_that_differs_is_found(image: Path, raw: Path) -> None:
    tifffile.imwrite(raw / "cells.tif", changed(CELLS, (5, 33, 1)))
    done = run("verify", image, "--against", raw / "brain.ome.tif")
    assert done.exit_code == 1
    found = verdicts(image, against=[raw / "brain.ome.tif"])
    assert found["/labels/cells/0"] == (
        "different", f"[5, 33, 1] is {CELLS[5, 33, 1]}, {CELLS[5, 33, 1] + 1} in {raw / 'cells.tif'}"
    )  # fmt: skip
    assert found["/0"][0] == found["/labels/mask/0"][0] == "equal"


def test_labels_of_another_shape_differ(image: Path, raw: Path) -> None:
    np.save(raw / "mask.npy", CELLS[1:] > 5)
    verdict, detail = verdicts(image, against=[raw / "brain.ome.tif"])["/labels/mask/0"]
    assert verdict == "different"
    assert "are of shape 5 x 40 x 48, and the image is 6 x 40 x 48" in detail


def test_labels_that_were_moved_are_named(image: Path, raw: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(raw, tmp_path / "moved"))
    against = [moved / "brain.ome.tif"]
    found = verdicts(image, against=against)
    assert found["/labels/cells/0"] == (
        "not compared",
        f"{raw / 'cells.tif'}, which the manifest names, is not there; name them: --labels cells=FILE",
    )
    assert verify(image, against=against).equal
    assert {v for v, _ in verdicts(image, against=[*against, moved / "cells.tif", moved / "mask.npy"]).values()} == {
        "equal"
    }
    done = run("verify", image, "--against", against[0], "--labels", f"mask={moved / 'mask.npy'}")
    assert done.exit_code == 0
    assert "2 equal, 1 not compared" in done.output


def test_labels_given_as_values_are_compared_when_they_are_named(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "brain.ome.zarr"
    write_ome_zarr(raw / "brain.ome.tif", path)
    # made of the file, and not its values
    write_ome_zarr_labels(CELLS + 1, path, "cells", sources=[raw / "cells.tif"])
    verdict, why = verdicts(path, against=[raw / "brain.ome.tif"])["/labels/cells/0"]
    assert verdict == "not compared"
    assert why == "the manifest names no file that has their values; name them: --labels cells=FILE"
    assert verdicts(path, labels={"cells": CELLS + 1}) == {
        "/0": ("not compared", "no raw file of the image is named: --against RAW_FILES"),
        "/labels/cells/0": ("equal", "the labels that were given"),
    }
    manifest_path(path).unlink()
    _, why = verdicts(path, against=[raw / "brain.ome.tif"])["/labels/cells/0"]
    assert why == "there is no manifest that says what they were made of; name them: --labels cells=FILE"


def test_nothing_that_was_compared_is_no_proof(image: Path, raw: Path) -> None:
    shutil.rmtree(image / "labels/mask")
    assert verdicts(image, labels={"x": CELLS})["/labels/x"][0] == "missing"
    assert verdicts(image, against=[raw / "brain.ome.tif"])["/labels/mask"] == ("missing", "there is no such folder")


def test_the_image_of_its_name_is_the_one_that_differs(tmp_path: Path) -> None:
    source = tmp_path / "two.ome.tif"

    def write(first: NDArray[Any], second: NDArray[Any]) -> None:
        with tifffile.TiffWriter(source, ome=True) as file:
            for name, values in (("one", first), ("other", second)):
                file.write(values, photometric="minisblack", metadata={
                    "axes": "ZYX", "Name": name, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0,
                })  # fmt: skip

    write(IMAGE, IMAGE[::-1])
    assert run("convert", source, "--out", tmp_path / "out", *FLAGS).exit_code == 0
    paths = sorted((tmp_path / "out").rglob("*.ome.zarr"))
    for path in paths:
        assert verify(path, against=[source]).equal
    write(changed(IMAGE, (2, 3, 4)), changed(IMAGE[::-1], (1, 1, 1)))
    found = {metadata(p)["multiscales"][0]["name"]: verdicts(p, against=[source])["/0"] for p in paths}
    places = {name: detail.partition(" is ")[0] for name, (_, detail) in found.items()}
    assert places == {"one": "[2, 3, 4]", "other": "[1, 1, 1]"}


def test_nan_is_nan(tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(size=(3, 20, 20)).astype("f4")
    values[1, 2, 3] = np.nan
    source = write_raw(tmp_path / "floats.ome.tif", values)
    path = tmp_path / "floats.ome.zarr"
    write_ome_zarr(source, path)
    assert verify(path, against=[source]).equal
    values[2, 0, 0] = 9
    write_raw(source, values)
    _, detail = verdicts(path, against=[source])["/0"]
    assert detail.startswith("[2, 0, 0] is ")


def test_a_plate(tmp_path: Path) -> None:
    folder = write_plate(tmp_path / "plate")
    assert run("convert", folder, "--out", tmp_path / "out", *FLAGS, "--pattern", PATTERN).exit_code == 0
    (path,) = (tmp_path / "out").rglob("*.ome.zarr")
    done = run("verify", path, "--against", folder, "--pattern", PATTERN)
    assert done.exit_code == 0, done.output
    assert "2 equal" in done.output
    (file,) = folder.glob("TimePoint_2/ZStep_3/plate_B03_s2_w2*.tif")
    values = tifffile.imread(file)
    values[4, 5] += 1
    tifffile.imwrite(file, values)
    found = verdicts(path, against=[folder], pattern=PATTERN)
    assert found["/B/03/1/0"][0] == "equal"
    assert found["/B/03/2/0"][1].startswith("[1, 1, 2, 4, 5] is ")


REFUSED: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], str]] = {
    "nothing": (lambda image, raw: {}, "--against RAW_FILES"),
    "an array of somebody": (lambda image, raw: {"against": [raw / "other.npy"]}, "--labels NAME="),
}


@pytest.mark.parametrize(("options", "said"), REFUSED.values(), ids=REFUSED)
def test_refused(options: Callable[[Path, Path], dict[str, Any]], said: str, image: Path, raw: Path) -> None:
    np.save(raw / "other.npy", CELLS)
    with pytest.raises(BadRequest, match=said):
        verify(image, **options(image, raw))


def test_a_file_of_nwb_has_no_labels(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="is no OME-Zarr"):
        verify(tmp_path / "a.nwb", labels={"x": CELLS})
