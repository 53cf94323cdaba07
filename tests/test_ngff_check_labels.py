"""check_ome_zarr on labels: each defect is found and named, and nothing is said of sound ones of any writer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dandify.ngff.check import check_ome_zarr
from dandify.ngff.labels import write_ome_zarr_labels
from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import manifest_path
from ngff_reference import noise
from ome_zarr_stores import edit_metadata

VERSIONS = ("0.4", "0.5")
SHAPE = (8, 64, 64)
SCALE = {"z": 2.0, "y": 0.5, "x": 0.5}
CELLS = np.random.default_rng(1).choice([0, 5, 6], SHAPE).astype("uint16")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sound")
    paths = {version: folder / f"v{version[-1]}.ome.zarr" for version in VERSIONS}
    for version, path in paths.items():
        write_ome_zarr(
            noise((2, *SHAPE), "uint16"), path, axes="czyx", scale=SCALE, version=version, chunks=(1, 4, 16, 16),
            labels={"cells": CELLS},
        )  # fmt: skip
    return paths


@pytest.fixture(params=VERSIONS)
def root(request: pytest.FixtureRequest, sound: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to damage, without its manifest."""
    return Path(shutil.copytree(sound[request.param], tmp_path / "image.ome.zarr"))


def names(root: Path, change: Callable[[list[str]], Any]) -> Path:
    edit_metadata(root / "labels", lambda ome: change(ome["labels"]))
    return root / "labels"


def placed(root: Path, kind: str, values: list[float], level: int = 0) -> Path:
    def change(ome: dict[str, Any]) -> None:
        for one in ome["multiscales"][0]["datasets"][level]["coordinateTransformations"]:
            if one["type"] == kind:
                one[kind] = values

    edit_metadata(root / "labels/cells", change)
    return root / "labels/cells"


def of_another_image(root: Path, shape: tuple[int, ...], scale: dict[str, float]) -> Path:
    """Replace the labels by those of an image of another shape, as a wrong copy does."""
    other = root.with_name("other.ome.zarr")
    version = "0.4" if (root / ".zattrs").exists() else "0.5"
    values = np.resize(CELLS, shape)
    write_ome_zarr(values, other, scale=scale, version=version, chunks=(4, 16, 16), labels={"cells": values})
    shutil.rmtree(root / "labels/cells")
    shutil.move(other / "labels/cells", root / "labels/cells")
    return root / "labels/cells"


def floats(root: Path) -> Path:
    for document in (root / "labels/cells").glob("*/*zarr*"):
        content = json.loads(document.read_text())
        old = document.name == ".zarray"
        content["dtype" if old else "data_type"] = "<f4" if old else "float32"
        document.write_text(json.dumps(content))
    return root / "labels/cells/0"


def another_axis(root: Path) -> Path:
    def change(ome: dict[str, Any]) -> None:
        ome["multiscales"][0]["axes"][0] = {"name": "t", "type": "time"}

    edit_metadata(root / "labels/cells", change)
    return root / "labels/cells"


def unlisted(root: Path) -> Path:
    return Path(shutil.copytree(root / "labels/cells", root / "labels/more"))


def no_list(root: Path) -> Path:
    for name in ("zarr.json", ".zattrs", ".zgroup"):
        (root / "labels" / name).unlink(missing_ok=True)
    return root / "labels/cells"


def gone(root: Path) -> Path:
    shutil.rmtree(root / "labels/cells")
    return root / "labels/cells"


def torn(root: Path) -> Path:
    document = next(p for p in (root / "labels" / ".zattrs", root / "labels" / "zarr.json") if p.exists())
    document.write_text("{")
    return document


Defect = tuple[Callable[[Path], Path], str, str]
DEFECTS: dict[str, Defect] = {
    "listed and missing": (gone, "ngff.label_missing", "ERROR"),
    "a name too many": (lambda r: names(r, lambda n: n.append("x")) / "x", "ngff.label_missing", "ERROR"),
    "a name twice": (lambda r: names(r, lambda n: n.append("cells")), "ngff.label_listed_twice", "WARNING"),
    "unlisted": (unlisted, "ngff.label_unlisted", "WARNING"),
    "no list": (no_list, "ngff.label_unlisted", "WARNING"),
    "list torn": (torn, "ngff.document_damaged", "ERROR"),
    "floats": (floats, "ngff.label_type", "ERROR"),
    "scale": (lambda r: placed(r, "scale", [2, 1, 0.5]), "ngff.label_contradicts_image", "ERROR"),
    "place": (lambda r: placed(r, "translation", [0, 0, 9]), "ngff.label_contradicts_image", "ERROR"),
    "scale of a level": (
        lambda r: placed(r, "scale", [2, 0.5, 1], 1), "ngff.label_contradicts_image", "ERROR",
    ),
    "another axis": (another_axis, "ngff.label_contradicts_image", "ERROR"),
    "larger than the image": (
        lambda r: of_another_image(r, (8, 128, 64), SCALE), "ngff.label_contradicts_image", "ERROR",
    ),
    "part of the image": (lambda r: of_another_image(r, (8, 32, 64), SCALE), "ngff.label_covers_part", "WARNING"),
    "chunk cut off": (
        lambda r: cut(r / "labels/cells/0"), "damaged", "ERROR",
    ),
    "level missing": (lambda r: removed(r / "labels/cells/1"), "ngff.level_missing", "ERROR"),
}  # fmt: skip


def cut(array: Path) -> Path:
    file = max((f for f in array.rglob("*") if f.is_file() and "zarr" not in f.name), key=lambda f: f.stat().st_size)
    file.write_bytes(file.read_bytes()[:-3])
    return file


def removed(folder: Path) -> Path:
    shutil.rmtree(folder)
    return folder


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found(defect: str, root: Path) -> None:
    inject, code, severity = DEFECTS[defect]
    assert check_ome_zarr(root) == []
    path = inject(root)
    found = check_ome_zarr(root)
    mine = [p for p in found if p.id.endswith(code) and p.severity == severity and p.path == path]
    assert mine, found
    assert all(p.message and p.remedy for p in mine)


def test_the_remedy_of_wrong_places_mends_them(root: Path) -> None:
    placed(root, "translation", [0, 0, 9])
    (found,) = [p for p in check_ome_zarr(root) if p.id == "ngff.label_contradicts_image"]
    assert found.remedy == "on axis x state a scale of 0.5, and a translation that has the first voxel at 0"


def test_a_place_that_is_not_stated_is_0(root: Path) -> None:
    def change(ome: dict[str, Any]) -> None:
        (first, *_) = ome["multiscales"][0]["datasets"]
        first["coordinateTransformations"] = [t for t in first["coordinateTransformations"] if t["type"] == "scale"]

    edit_metadata(root / "labels/cells", change)
    assert [p for p in check_ome_zarr(root) if p.id.startswith("ngff.label_")] == []
    edit_metadata(root, lambda ome: ome["multiscales"][0].update(
        coordinateTransformations=[{"type": "translation", "translation": [0, 0, 0, 9]}]
    ))  # fmt: skip
    assert "ngff.label_contradicts_image" in {p.id for p in check_ome_zarr(root)}


def test_labels_in_a_folder_called_labels_are_checked(root: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    moved = Path(shutil.move(root, tmp_path / "labels" / root.name))
    assert check_ome_zarr(moved) == []
    unlisted(moved)
    assert [(p.id, p.path) for p in check_ome_zarr(moved)] == [("ngff.label_unlisted", moved / "labels/more")]


def test_documents_that_say_null_are_no_reason_to_stop(root: Path) -> None:
    document = root / "labels" / ("zarr.json" if (root / "zarr.json").exists() else ".zattrs")
    content = {"zarr_format": 3, "node_type": "group", "attributes": None} if document.name == "zarr.json" else {}
    document.write_text(json.dumps(content))
    assert "ngff.label_unlisted" in {p.id for p in check_ome_zarr(root)}


def test_labels_of_another_resolution_lie_right(root: Path) -> None:
    """Half as many voxels of twice the length: the same space, and nobody is misled."""
    of_another_image(root, (8, 32, 32), {"z": 2.0, "y": 1.0, "x": 1.0})
    shift = [0.0, 0.25, 0.25]
    for level in range(len(list((root / "labels/cells").glob("[0-9]")))):

        def change(ome: dict[str, Any], level: int = level) -> None:
            (move,) = (
                t for t in ome["multiscales"][0]["datasets"][level]["coordinateTransformations"]
                if t["type"] == "translation"
            )  # fmt: skip
            move["translation"] = [a + b for a, b in zip(move["translation"], shift, strict=True)]

        edit_metadata(root / "labels/cells", change)
    assert [p for p in check_ome_zarr(root) if p.id.startswith("ngff.label_")] == []


def test_quiet_about_labels_of_ome_zarr_py(tmp_path: Path) -> None:
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.writer import write_image, write_labels

    path = tmp_path / "theirs.ome.zarr"
    location = parse_url(path, mode="w")
    assert location is not None
    group = zarr.group(location.store)
    steps = [[{"type": "scale", "scale": [1.0, 2.0, 0.5 * 2**n, 0.5 * 2**n]}] for n in range(5)]
    write_image(noise((2, *SHAPE), "uint16"), group, axes="czyx", coordinate_transformations=steps)
    own = [[{"type": "scale", "scale": [2.0, 0.5 * 2**n, 0.5 * 2**n]}] for n in range(5)]
    write_labels(CELLS, group, "zyx", axes="zyx", coordinate_transformations=own)
    write_labels(CELLS[None], group, "czyx", axes="czyx", coordinate_transformations=steps)
    write_ome_zarr_labels(CELLS, path, "ours")
    found = check_ome_zarr(path)
    assert [p for p in found if p.severity == "ERROR" or p.id.startswith("ngff.label_")] == []


def test_with_the_manifest_every_changed_bit_of_labels_is_found(sound: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound["0.5"], tmp_path / "image.ome.zarr"))
    shutil.copy(manifest_path(sound["0.5"]), manifest_path(root))
    assert check_ome_zarr(root) == []
    file = root / "labels/cells/zarr.json"
    file.write_bytes(file.read_bytes().replace(b"cells", b"bells"))
    assert [(p.id, p.path) for p in check_ome_zarr(root)] == [("ngff.file_changed", file)]
