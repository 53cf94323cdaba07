"""Multi-well plates: places, values, other people's readers and validators, refusals, and what is checked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
from numpy.typing import NDArray

import dandify
from dandify.errors import BadRequest, DandifyError, MissingMetadata, OutputExists
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.plate import plan_ome_zarr_plate, write_ome_zarr_plate
from dandify.sources import Stream
from dandify.sources.arrays import MemoryArray
from dandify.sources.registry import by_name
from dandify.store.manifest import manifest_path, read_manifest
from dandify.store.progress import Progress
from ngff_reference import SCALE, assert_pyramid, levels, metadata, noise

VERSIONS = ("0.4", "0.5")
SHAPE = (2, 5, 40, 36)
PLACES = ("A/1/0", "A/1/1", "A/2/0", "A/10/0", "B/2/0", "B/2/1")
OPTIONS: dict[str, Any] = {"axes": "czyx", "scale": SCALE, "chunks": (1, 4, 16, 16), "channels": ["DAPI", "GFP"]}


def fields(shape: tuple[int, ...] = SHAPE) -> dict[str, NDArray[Any]]:
    return {place: noise(shape, "uint16", seed=n) for n, place in enumerate(reversed(PLACES))}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("plates")
    return {
        version: write_ome_zarr_plate(fields(), folder / f"v{version[-1]}.ome.zarr", version=version, **OPTIONS).path
        for version in VERSIONS
    }


@pytest.fixture(params=VERSIONS)
def plate(request: pytest.FixtureRequest, ready: dict[str, Path], tmp_path: Path) -> Path:
    """A copy, without its manifest."""
    return Path(shutil.copytree(ready[request.param], tmp_path / "plate.ome.zarr"))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_reads_back(version: str, ready: dict[str, Path]) -> None:
    path = ready[version]
    for place, source in fields().items():
        assert_pyramid(path / place, source)
        assert [c["label"] for c in metadata(path / place)["omero"]["channels"]] == ["DAPI", "GFP"]
    yaozarrs.validate_zarr_store(str(path))
    depths = {len(f.relative_to(path).parts) for f in path.rglob("*")}
    assert max(depths) == (5 if version == "0.5" else 8)
    found = check_ome_zarr(path)
    assert [p.id for p in found] == ([] if version == "0.5" else ["ngff.too_deep"])


def test_metadata(plate: Path) -> None:
    said = metadata(plate)["plate"]
    assert [r["name"] for r in said["rows"]] == ["A", "B"]
    assert [c["name"] for c in said["columns"]] == ["1", "2", "10"]
    assert said["field_count"] == 2
    assert [(w["path"], w["rowIndex"], w["columnIndex"]) for w in said["wells"]] == [
        ("A/1", 0, 0), ("A/2", 0, 1), ("A/10", 0, 2), ("B/2", 1, 1),
    ]  # fmt: skip
    assert [f["path"] for f in metadata(plate / "A/1")["well"]["images"]] == ["0", "1"]
    assert metadata(plate / "A/1/1")["multiscales"][0]["name"].endswith("A/1/1")


def test_ome_zarr_py_shows_the_plate(ready: dict[str, Path]) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Plate, Reader

    node = next(iter(Reader(parse_url(ready["0.4"]))()))
    assert any(isinstance(spec, Plate) for spec in node.specs)
    stitched, source = np.asarray(node.data[0]), fields()
    assert stitched.shape == (2, 5, 2 * 40, 3 * 36)
    np.testing.assert_array_equal(stitched[:, :, :40, :36], source["A/1/0"])
    np.testing.assert_array_equal(stitched[:, :, 40:, 36:72], source["B/2/0"])
    assert not stitched[:, :, 40:, :36].any()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_plan_and_the_manifest_say_what_is_there(version: str, ready: dict[str, Path], tmp_path: Path) -> None:
    path = ready[version]
    plan = plan_ome_zarr_plate(fields(), tmp_path / "x.ome.zarr", version=version, **OPTIONS)
    there = {f.relative_to(path).as_posix(): f.stat().st_size for f in path.rglob("*") if f.is_file()}
    assert (plan.files, plan.wells, len(plan.fields)) == (len(there), 4, 6)
    assert plan.first.depth == max(len(name.split("/")) for name in there)
    assert bool(plan.first.refusals) == (version == "0.4")
    manifest = read_manifest(manifest_path(path))
    assert {n: f["size"] for n, f in manifest.details["files"].items()} == there
    assert manifest.verified
    assert "A/10/0/0" in [d.name for d in manifest.datasets]
    assert plan.raw_bytes == 6 * np.prod(SHAPE) * 2


def test_fields_that_are_not_alike_are_planned_for_themselves(tmp_path: Path) -> None:
    planes = {"A/1/0": ("yx", (40, 36), 1.0, 5.0), "A/1/1": ("tczyx", (1, 1, 1, 40, 36), 2.0, 7.0)}
    given = {
        place: Stream(
            name=place, kind="Image", axes=tuple(axes), array=MemoryArray(noise(shape, "uint8")),
            scale={"z": 1.0, "y": size, "x": size}, origin={"y": start},
        ) for place, (axes, shape, size, start) in planes.items()
    }  # fmt: skip
    plan = plan_ome_zarr_plate(given, tmp_path / "x.ome.zarr", version="0.4")
    path = write_ome_zarr_plate(given, tmp_path / "x.ome.zarr", version="0.4").path
    for place, one in plan.fields.items():
        (scale, move) = metadata(path / place)["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        assert (list(one.levels[0].scale), list(one.levels[0].translation)) == (scale["scale"], move["translation"])
    assert plan.deepest.depth == max(len(f.relative_to(path).parts) for f in path.rglob("*")) == 9
    assert plan.deepest.refusals
    assert not plan.first.refusals


def test_a_field_can_have_labels(plate: Path) -> None:
    cells = np.random.default_rng(0).choice([0, 4], SHAPE[1:]).astype("uint8")
    dandify.write_ome_zarr_labels(cells, plate / "A/10/0", "cells")
    np.testing.assert_array_equal(levels(plate / "A/10/0/labels/cells")[0], cells)
    yaozarrs.validate_zarr_store(str(plate))
    if (plate / "zarr.json").exists():
        assert check_ome_zarr(plate) == []


def test_the_converter_of_ome_zarr_reads_it_again(plate: Path) -> None:
    source = by_name("ome_zarr").open(plate)
    assert {s.name for s in source.streams} == {place.replace("/", "_") for place in PLACES}
    for stream in source.streams:
        assert stream.array is not None
        np.testing.assert_array_equal(stream.array[:], fields()[stream.name.replace("_", "/")])


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], type[DandifyError], str]] = {
    "no field": ({}, {}, BadRequest, "without images"),
    "place": ({"A1": 0}, {}, BadRequest, "ROW/COLUMN/FIELD"),
    "signs": ({"A/1/x-y": 0}, {}, BadRequest, "letters and digits"),
    "capitals": ({"A/1/0": 0, "a/1/0": 0}, {}, BadRequest, "not every file system"),
    "rows in capitals and not": ({"A/1/0": 0, "a/2/0": 0}, {}, BadRequest, "not every file system"),
    "no scale": ({"A/1/0": 0}, {"scale": None}, MissingMetadata, "pixel_size_um.z"),
    "name": ({"A/1/0": 0}, {"path": "a.b.ome.zarr"}, BadRequest, "no other dot"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_work(case: str, tmp_path: Path) -> None:
    places, options, kind, said = REFUSED[case]
    options = {"path": "a.ome.zarr", **OPTIONS, **options}
    with pytest.raises(kind, match=said):
        write_ome_zarr_plate({p: noise(SHAPE, "uint16") for p in places}, tmp_path / options.pop("path"), **options)
    assert list(tmp_path.iterdir()) == []


class Stopped(Exception):
    """Raised in the middle of a run."""


def test_a_stopped_plate_is_gone_on_with(tmp_path: Path) -> None:
    def step(progress: Progress) -> None:
        if progress.name.endswith("B/2/0"):
            raise Stopped

    path = tmp_path / "p.ome.zarr"
    with pytest.raises(Stopped):
        write_ome_zarr_plate(fields(), path, progress=step, **OPTIONS)
    assert not path.exists()
    report = write_ome_zarr_plate(fields(), path, **OPTIONS)
    assert any(note.startswith("went on") for note in report.notes)
    assert check_ome_zarr(path) == []
    for place, source in fields().items():
        assert_pyramid(path / place, source)
    with pytest.raises(OutputExists):
        write_ome_zarr_plate(fields(), path, **OPTIONS)


def edit(root: Path, place: str, change: Callable[[dict[str, Any]], Any]) -> None:
    document = next(p for p in (root / place / "zarr.json", root / place / ".zattrs") if p.exists())
    content = json.loads(document.read_text())
    change(content if document.name == ".zattrs" else content["attributes"]["ome"])
    document.write_text(json.dumps(content))


DEFECTS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "well gone": (lambda r: shutil.rmtree(r / "A/2"), "A/2", "ngff.well_missing"),
    "field gone": (lambda r: shutil.rmtree(r / "B/2/1"), "B/2/1", "ngff.field_missing"),
    "well not named": (
        lambda r: edit(r, "", lambda o: o["plate"]["wells"].pop()), "B/2/0", "ngff.field_unlisted",
    ),
    "field not named": (
        lambda r: edit(r, "A/1", lambda o: o["well"]["images"].pop()), "A/1/1", "ngff.field_unlisted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("said", [None, 5, {"wells": 5}, {"wells": [{"path": "A/1"}, 3]}], ids=str)
def test_a_plate_that_says_nonsense_is_no_reason_to_stop(said: Any, plate: Path) -> None:
    edit(plate, "", lambda o: o.__setitem__("plate", said))
    assert "ngff.specification" in {p.id for p in check_ome_zarr(plate)}


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found(defect: str, plate: Path) -> None:
    inject, place, code = DEFECTS[defect]
    assert {p.id for p in check_ome_zarr(plate)} <= {"ngff.too_deep"}
    inject(plate)
    assert (code, plate / place) in [(p.id, p.path) for p in check_ome_zarr(plate)]
