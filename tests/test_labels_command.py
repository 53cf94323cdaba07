"""`dandify labels`, and `dandify convert --labels`: what a person types, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import dandify
from dandify.cli.main import main
from dandify.errors import BadRequest
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.report.text import argument
from ngff_reference import levels, metadata, noise

SHAPE = (12, 64, 48)
CELLS: NDArray[np.uint16] = np.random.default_rng(1).choice([0, 5, 600], SHAPE).astype("uint16")
SUBJECT = {"subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P60D", "session_id": "s1"}
FLAGS = [text for key, value in SUBJECT.items() for text in (f"--{key.replace('_', '-')}", value)]
IMAGEJ: dict[str, Any] = {
    "imagej": True, "resolution": (2.0, 2.0), "metadata": {"spacing": 2.0, "unit": "um", "axes": "ZYX"},
}  # fmt: skip


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder of one image, and of labels of it."""
    folder = tmp_path / "raw"
    folder.mkdir()
    tifffile.imwrite(folder / "brain.tif", noise(SHAPE, "uint16"), **IMAGEJ)
    tifffile.imwrite(folder / "cells.tif", CELLS)
    np.save(folder / "mask.npy", CELLS > 5)
    return folder


def run(*arguments: Path | str) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def output(folder: Path) -> Path:
    (path,) = folder.glob("sub-m1_ses-s1/*.ome.zarr")
    return path


def assert_written(path: Path) -> None:
    np.testing.assert_array_equal(levels(path)[0], tifffile.imread(path.parents[2] / "raw/brain.tif"))
    np.testing.assert_array_equal(levels(path / "labels/cells")[0], CELLS)
    np.testing.assert_array_equal(levels(path / "labels/mask")[0], (CELLS > 5).astype("uint8"))
    assert metadata(path / "labels")["labels"] == ["cells", "mask"]
    assert check_ome_zarr(path) == []


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("named", ["brain.tif", ".", "../raw"], ids=["file", "folder", "from elsewhere"])
def test_convert_with_labels(named: str, version: str, raw: Path, tmp_path: Path) -> None:
    """Labels that lie beside the image are none of the session's images."""
    done = run(
        "convert", raw / named, "--out", tmp_path / "out", *FLAGS, "--ngff", version,
        "--labels", f"cells={raw / '../raw/cells.tif'}", "--labels", f"mask={raw / '../raw/mask.npy'}",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "left behind" not in done.output
    assert_written(output(tmp_path / "out"))


def test_a_session_of_dandify_yaml_has_labels(raw: Path, tmp_path: Path) -> None:
    (raw / "dandify.yaml").write_text(
        "subjects:\n  m1: {species: Mus musculus, sex: F, age: P60D}\n"
        "sessions:\n  - subject_id: m1\n    session_id: s1\n    sources: [.]\n"
        "    labels: {cells: ../raw/cells.tif, mask: ../raw/mask.npy}\nignore: [dandify.yaml]\n"
    )
    done = run("convert", "--config", raw / "dandify.yaml", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert_written(output(tmp_path / "out"))
    with pytest.raises(BadRequest, match="labels"):
        dandify.convert(config=raw / "dandify.yaml", out=tmp_path / "other", labels={"cells": raw / "cells.tif"})


def test_a_dry_run_shows_them_and_writes_nothing(raw: Path, tmp_path: Path) -> None:
    arguments: list[Path | str] = ["convert", raw / "brain.tif", "--out", tmp_path / "out", *FLAGS, "--dry-run"]
    labels = ["--labels", f"cells={raw / 'cells.tif'}"]
    done = run(*arguments, *labels)
    assert done.exit_code == 0, done.output
    assert "labels/cells: zyx 12 x 64 x 48 <u2" in done.output
    assert "levels by mode" in done.output
    record = json.loads(run(*arguments, *labels, "--json").stdout)
    (image,) = record["sessions"][0]["images"]
    assert [one["name"] for one in image["labels"]] == ["cells"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", ["cells.tif", "cells.npy"])
def test_the_first_planes_have_those_of_the_labels(file: str, raw: Path, tmp_path: Path) -> None:
    np.save(raw / "cells.npy", CELLS[None, :, None])  # axes of length 1 are there beside
    arguments: list[Path | str] = ["convert", raw / "brain.tif", "--out", tmp_path / "out", *FLAGS, "--stub"]
    labels = ["--labels", f"cells={raw / file}"]
    planned = run(*arguments, *labels, "--dry-run")
    assert "labels/cells: zyx 4 x 64 x 48 <u2" in planned.output, planned.output
    done = run(*arguments, *labels)
    assert done.exit_code == 0, done.output
    path = output(tmp_path / "out")
    np.testing.assert_array_equal(levels(path / "labels/cells")[0], CELLS[:4])
    assert check_ome_zarr(path) == []
    assert dandify.verify(path, against=[raw / "brain.tif"]).equal


def test_labels_of_a_stub_fit_the_whole_image(raw: Path, tmp_path: Path) -> None:
    np.save(raw / "few.npy", CELLS[:4])
    done = run(
        "convert", raw / "brain.tif", "--out", tmp_path / "out", *FLAGS, "--stub", "--labels", f"c={raw / 'few.npy'}"
    )
    assert done.exit_code == 2
    assert "are of shape 4 x 64 x 48, and the image is 12 x 64 x 48 (z y x)" in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


WRONG = {
    "no name": ("cells.tif", "NAME=FILE"),
    "twice": ("cells=cells.tif", "given twice"),
    "no file": ("x=absent.tif", "no such file of labels x"),
    "no such image": ("heart/x=cells.tif", "the images brain; labels heart/x belong to one"),
    "another shape": ("x=small.npy", "of shape 12 x 32 x 24, and the image is 12 x 64 x 48"),
    "floats": ("x=floats.npy", "labels.astype('uint16')"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_labels_are_refused_before_any_work(case: str, raw: Path, tmp_path: Path) -> None:
    given, said = WRONG[case]
    np.save(raw / "small.npy", CELLS[:, ::2, ::2])
    np.save(raw / "floats.npy", CELLS.astype("float32"))
    name, sign, file = given.partition("=")
    labels = f"{name}={raw / file}" if sign else given
    done = run(
        "convert", raw / "brain.tif", "--out", tmp_path / "out", *FLAGS, "--labels", f"cells={raw / 'cells.tif'}",
        "--labels", labels,
    )  # fmt: skip
    assert done.exit_code == 2
    assert said in done.stderr
    assert not list(tmp_path.glob("out/*/*"))


def test_of_several_images_one_is_named(raw: Path, tmp_path: Path) -> None:
    tifffile.imwrite(raw / "heart.tif", noise(SHAPE, "uint16"), **IMAGEJ)
    begin: list[Path | str] = ["convert", raw, "--out", tmp_path / "out", *FLAGS, "--ignore", "*.npy", "--labels"]
    done = run(*begin, f"cells={raw / 'cells.tif'}")
    assert done.exit_code == 2
    assert "the images brain, heart; labels cells belong to one" in done.stderr
    assert "brain/cells=cells.tif" in done.stderr
    done = run(*begin, f"heart/cells={raw / 'cells.tif'}")
    assert done.exit_code == 0, done.output
    heart, brain = (next((tmp_path / "out").rglob(f"*_{name}.ome.zarr")) for name in ("heart", "brain"))
    np.testing.assert_array_equal(levels(heart / "labels/cells")[0], CELLS)
    assert not (brain / "labels").exists()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(noise(SHAPE, "uint16"), path, scale={"z": 2.0, "y": 0.5, "x": 0.5})
    return path


def test_labels_are_added(raw: Path, image: Path) -> None:
    done = run("labels", image, f"cells={raw / 'cells.tif'}", f"mask={raw / 'mask.npy'}")
    assert done.exit_code == 0, done.output
    assert "yes" in done.output
    np.testing.assert_array_equal(levels(image / "labels/mask")[0], (CELLS > 5).astype("uint8"))
    assert check_ome_zarr(image) == []
    done = run("labels", image, f"cells={raw / 'cells.tif'}")
    assert done.exit_code == 1
    assert "exist already" in done.stderr
    done = run("labels", image, f"cells={raw / 'mask.npy'}", "--overwrite", "--json")
    assert json.loads(done.stdout)["labels"][0]["verified"]
    assert levels(image / "labels/cells")[0].dtype == np.uint8


def test_a_folder_with_brackets_is_named_as_it_is(raw: Path, image: Path) -> None:
    """To the terminal they are no markup."""
    (raw / "[old]").mkdir()
    moved = image.rename(raw / "[old]" / image.name)
    done = run("labels", moved, f"cells={raw / 'cells.tif'}")
    assert f"next: dandify view {argument(moved)}" in done.output
    (raw / "brain.tif").rename(raw / "[old]" / "brain.tif")
    done = run("convert", raw / "[old]" / "brain.tif", "--out", raw / "[new]", *FLAGS)
    assert f"0 failed: {raw / '[new]'}" in done.output
    assert f"next: dandify organize {argument(raw / '[new]')} --dandiset" in done.output
    done = run("organize", raw / "[new]", "--dandiset", raw / "[set]")
    assert f"next: dandify validate {argument(raw / '[set]')}" in done.output
    done = run("validate", raw / "[set]")
    assert f"next: dandify upload {argument(raw / '[set]')} --to" in done.output


def test_nothing_is_added_if_one_of_them_is_wrong(raw: Path, image: Path) -> None:
    np.save(raw / "floats.npy", CELLS / 2)
    done = run("labels", image, f"cells={raw / 'cells.tif'}", f"x={raw / 'floats.npy'}")
    assert done.exit_code == 2
    assert "floats.npy (labels x, z 0, y 0, x" in done.stderr
    assert not (image / "labels").exists()


def test_a_dry_run_of_added_labels(raw: Path, image: Path) -> None:
    done = run("labels", image, f"cells={raw / 'cells.tif'}", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "nothing was written" in done.output
    assert "DANDI accepts it: paths of 7 parts" in done.output
    record = json.loads(run("labels", image, f"cells={raw / 'cells.tif'}", "--dry-run", "--json").stdout)
    assert record["labels"][0]["levels"][0]["shape"] == list(SHAPE)
    assert not (image / "labels").exists()
