"""Labels of OME-Zarr images: values, levels, metadata, other people's readers, refusals, and what a failure leaves."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import dandify
from dandify.errors import BadRequest, BadSource, DandifyError, OutputExists, VerificationFailed
from dandify.ngff import labels as adding
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.labels import write_ome_zarr_labels
from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import manifest_path, read_manifest
from dandify.store.progress import Progress
from dandify.store.zarr_image import Sink
from ngff_reference import SCALE, levels, metadata, noise, scales, translations

VERSIONS = ("0.4", "0.5")
SHAPE = (2, 13, 90, 71)
SMALL: dict[str, Any] = {"chunks": (4, 16, 16)}


def objects(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 3) -> NDArray[Any]:
    return np.random.default_rng(seed).choice([0, 0, 0, 7, 8, 9, 100], shape).astype(dtype)


def image(folder: Path, version: str, name: str = "a", **options: Any) -> Path:
    path = folder / f"{name}.ome.zarr"
    write_ome_zarr(
        noise(SHAPE, "uint16"), path, axes="czyx", scale=SCALE, version=version, chunks=(1, 4, 16, 16), **options
    )
    return path


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ready")
    return {version: image(folder, version, f"v{version[-1]}") for version in VERSIONS}


@pytest.fixture(params=VERSIONS)
def there(request: pytest.FixtureRequest, ready: dict[str, Path], tmp_path: Path) -> Path:
    """An image to add labels to, with its manifest."""
    path = Path(shutil.copytree(ready[request.param], tmp_path / "image.ome.zarr"))
    shutil.copy(manifest_path(ready[request.param]), manifest_path(path))
    return path


def most_frequent(values: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """The most frequent value of each window, the smallest of several, by counting each value there is."""
    factors = [max(1, round(n / m)) for n, m in zip(values.shape, shape, strict=True)]
    counts = []
    there = np.unique(values)
    for value in there:
        count = (values == value).astype(np.int64)
        for axis, factor in enumerate(factors):
            count = np.add.reduceat(count, range(0, values.shape[axis], factor), axis=axis)
        counts.append(count[tuple(slice(m) for m in shape)])
    chosen: NDArray[Any] = there[np.argmax(np.stack(counts), axis=0)]  # the first, and so the smallest
    return chosen


def assert_labels(root: Path, labels: Path, source: NDArray[Any]) -> None:
    """Labels have the shapes and places of the image, and each level is the mode of the one above."""
    found = levels(labels)
    np.testing.assert_array_equal(found[0], source)
    assert found[0].dtype == source.dtype
    axes = [a["name"] for a in metadata(root)["multiscales"][0]["axes"]]
    kept = [i for i, a in enumerate(axes) if a != "c"]
    assert [level.shape for level in found] == [tuple(level.shape[i] for i in kept) for level in levels(root)]
    for upper, lower in pairwise(found):
        np.testing.assert_array_equal(lower, most_frequent(upper, lower.shape))
    stated = [metadata(p)["multiscales"][0] for p in (labels, root)]
    assert stated[0]["axes"] == [a for a in stated[1]["axes"] if a["name"] != "c"]
    for mine, theirs in zip(stated[0]["datasets"], stated[1]["datasets"], strict=True):
        for one, other in zip(mine["coordinateTransformations"], theirs["coordinateTransformations"], strict=True):
            assert one[one["type"]] == [other[other["type"]][i] for i in kept]


def everything(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*")) if p.is_file()
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", "uint32", "int64", "uint64"])
def test_added_to_an_image(dtype: str, there: Path) -> None:
    source = objects(SHAPE[1:], dtype)
    report = dandify.write_ome_zarr_labels(source, there, "cells", **SMALL)
    assert report.verified
    assert report.path == there / "labels/cells"
    assert_labels(there, report.path, source.astype(source.dtype.newbyteorder("=")))
    assert len(levels(there)) >= 4
    yaozarrs.validate_zarr_store(str(there))
    assert check_ome_zarr(there) == []
    manifest_path(there).unlink()
    assert check_ome_zarr(there) == []
    assert any("int64" in note for note in report.notes) == (dtype == "int64")


@pytest.mark.parametrize("version", VERSIONS)
def test_written_with_an_image(version: str, tmp_path: Path) -> None:
    source = objects(SHAPE[1:])
    path = image(tmp_path, version, labels={"cells": source, "mask": source > 7})
    assert_labels(path, path / "labels/cells", source)
    assert_labels(path, path / "labels/mask", (source > 7).astype(np.uint8))
    yaozarrs.validate_zarr_store(str(path))
    assert check_ome_zarr(path) == []
    manifest = read_manifest(manifest_path(path))
    assert manifest.verified
    assert set(manifest.details["files"]) == set(everything(path))
    assert "labels/cells/0" in [d.name for d in manifest.datasets]


@given(
    axes=st.sampled_from(["yx", "zyx", "cyx", "tyx", "czyx", "tzyx", "tczyx"]), data=st.data(),
    version=st.sampled_from(VERSIONS), dtype=st.sampled_from(["uint8", "bool", "int32"]),
)  # fmt: skip
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape(
    axes: str, data: st.DataObject, version: str, dtype: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shape = {a: data.draw(st.integers(1, 3 if a in "tc" else 40), a) for a in axes}
    chunks = {a: data.draw(st.sampled_from([2, 4, 8, 16]), a) if a in "zyx" else 1 for a in axes}
    path = tmp_path_factory.mktemp("any") / "a.ome.zarr"
    source = objects(tuple(n for a, n in shape.items() if a != "c"), dtype, seed=sum(shape.values()))
    write_ome_zarr(
        noise(tuple(shape.values()), "uint8"), path, axes=axes, scale={a: 0.5 for a in axes if a != "c"},
        chunks=tuple(chunks.values()), version=version, workers=2,
    )  # fmt: skip
    own = tuple(n for a, n in chunks.items() if a != "c") if data.draw(st.booleans()) else None
    squeezed = source.reshape([n for n in source.shape if n != 1] or [1])
    given_as = squeezed if data.draw(st.booleans(), "without axes of length 1") else source
    write_ome_zarr_labels(given_as, path, "n", chunks=own, workers=2)
    assert_labels(path, path / "labels/n", source.astype(np.uint8) if dtype == "bool" else source)


def foreign(path: Path, version: str, shapes: Sequence[tuple[int, ...]]) -> Path:
    """Documents of an image of another tool, without any chunk: zyx, of these lengths."""
    assert version == "0.4"
    root = zarr.open_group(str(path), "w")
    datasets = []
    for number, shape in enumerate(shapes):
        root.create_dataset(str(number), shape=shape, chunks=(4, 16, 16), dtype="u2", dimension_separator="/")
        steps = [2.0 * n / m for n, m in zip(shapes[0], shape, strict=True)]
        datasets.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": steps}]})
    axes = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return path


@given(
    first=st.tuples(st.integers(1, 20), st.integers(20, 70), st.integers(20, 70)),
    steps=st.lists(st.sampled_from([(1, 2, 2), (2, 2, 2), (1, 4, 4), (1, 1, 2), (1, 1, 1)]), max_size=3),
    up=st.lists(st.booleans(), min_size=3, max_size=3), banded=st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_levels_of_other_tools_however_they_round(
    first: tuple[int, int, int], steps: list[tuple[int, int, int]], up: list[bool], banded: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    shapes = [first]
    for step, rounded_up in zip(steps, up, strict=False):
        above = shapes[-1]
        small: Any = tuple(max(1, -(-n // k) if rounded_up else n // k) for n, k in zip(above, step, strict=True))
        # what was rounded may look like another factor, as of 3 that became 1: that is refused, and not tried here
        if any(max(1, round(n / m)) != k and n > 1 for n, m, k in zip(above, small, step, strict=True)):
            break
        shapes.append(small)
    path = foreign(tmp_path_factory.mktemp("theirs") / "a.ome.zarr", "0.4", shapes)
    source = objects(first)
    options: dict[str, Any] = {"chunks": (4, 16, 16), "workers": 1}
    whole = dandify.plan_ome_zarr_labels(source, path, "n", **options)
    if banded:  # as little memory as makes bands of it, where there can be some
        with contextlib.suppress(BadRequest):
            write_ome_zarr_labels(source, path, "n", memory=whole.memory_bytes - 1, **options)
    if not (path / "labels/n").exists():
        write_ome_zarr_labels(source, path, "n", **options)
    assert_labels(path, path / "labels/n", source)


def test_in_bands_too(tmp_path: Path) -> None:
    """Rows that another tool left out lie in a band that gives nothing to the levels above."""
    path = foreign(tmp_path / "a.ome.zarr", "0.4", [(9, 1601, 400), (9, 800, 200), (4, 400, 100), (2, 200, 50)])
    source = objects((9, 1601, 400))
    write_ome_zarr_labels(source, path, "n", chunks=(4, 64, 64), memory=7_000_000, workers=1)
    plan = read_manifest(manifest_path(path)).details["labels"]["labels/n"]["plan"]
    assert plan.startswith("bands")
    assert_labels(path, path / "labels/n", source)


def test_image_and_labels_of_ome_zarr_py(tmp_path: Path) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    from ome_zarr.writer import write_image, write_labels

    path = tmp_path / "theirs.ome.zarr"
    location = parse_url(path, mode="w")
    assert location is not None
    root = zarr.group(location.store)
    write_image(noise((2, 7, 131, 97), "uint16"), root, axes="czyx", storage_options={"chunks": (1, 4, 32, 32)})
    write_labels(objects((7, 131, 97)), root, "own", axes="zyx")
    before = everything(path)
    source = objects((7, 131, 97), seed=8)
    report = write_ome_zarr_labels(
        source, path, "cells", colors={7: "00ff00", 8: (255, 0, 0, 128)}, properties={7: {"class": "neuron"}}
    )
    assert_labels(path, path / "labels/cells", source)
    assert json.loads((path / "labels/.zattrs").read_text())["labels"] == ["own", "cells"]
    after = everything(path)
    changed = {name for name, digest in before.items() if after[name] != digest}
    assert changed <= {"labels/.zattrs", "labels/.zgroup"}
    assert [p for p in check_ome_zarr(path) if p.severity == "ERROR" or p.id.startswith("ngff.label_")] == []
    assert set(read_manifest(report.manifest).details["files"]) == {n for n in after if n not in before} | {
        "labels/.zattrs", "labels/.zgroup",
    }  # fmt: skip
    nodes = {node.zarr.basename(): node for node in Reader(parse_url(path / "labels/cells"))()}
    node = nodes["cells"]
    for theirs, ours in zip(node.data, levels(path / "labels/cells"), strict=True):
        np.testing.assert_array_equal(np.asarray(theirs), ours)


@pytest.mark.parametrize("how", ["with the image", "added"])
def test_ome_zarr_py_finds_them_from_the_image(how: str, tmp_path: Path) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    source = objects(SHAPE[1:])
    path = image(tmp_path, "0.4", labels={"cells": source} if how == "with the image" else None)
    if how == "added":
        write_ome_zarr_labels(source, path, "cells", colors={7: "00FF0080"}, properties={7: {"area_um2": 2.5}})
    nodes = list(Reader(parse_url(path))())
    found = [n for n in nodes if n.metadata.get("name") == "cells" and n.data]
    (node,) = found
    assert [a["name"] for a in node.metadata["axes"]] == list("zyx")
    for theirs, ours in zip(node.data, levels(path / "labels/cells"), strict=True):
        np.testing.assert_array_equal(np.asarray(theirs), ours)
    if how == "added":
        assert node.metadata["color"] == {7: [0, 1, 0, 128 / 255]}
        assert node.metadata["properties"] == {7: {"area_um2": 2.5}}


def test_metadata(there: Path) -> None:
    path = write_ome_zarr_labels(
        objects(SHAPE[1:]), there, "cells", colors={8: (1, 2, 3), 7: "#00ff00"}, properties={7: {"class": "neuron"}}
    ).path
    found = metadata(path)
    said = found["image-label"]
    assert said["source"] == {"image": "../../"}
    assert said["colors"] == [{"label-value": 7, "rgba": [0, 255, 0, 255]}, {"label-value": 8, "rgba": [1, 2, 3, 255]}]
    assert all(isinstance(c["label-value"], int) for c in said["colors"])
    assert said["properties"] == [{"class": "neuron", "label-value": 7}]
    assert found["multiscales"][0]["type"] == "mode"
    assert "omero" not in found
    assert metadata(there / "labels")["labels"] == ["cells"]
    assert scales(path) == [s[1:] for s in scales(there)]
    assert translations(path) == [s[1:] for s in translations(there)]


def test_the_list_keeps_what_it_had(there: Path) -> None:
    write_ome_zarr_labels(objects(SHAPE[1:]), there, "one", **SMALL)
    document = there / "labels" / (".zattrs" if (there / ".zattrs").exists() else "zarr.json")
    content = json.loads(document.read_text())
    content["somebody's"] = 1
    document.write_text(json.dumps(content))
    write_ome_zarr_labels(objects(SHAPE[1:]), there, "two", **SMALL)
    assert json.loads(document.read_text())["somebody's"] == 1
    assert metadata(there / "labels")["labels"] == ["one", "two"]
    assert check_ome_zarr(there) == []


def test_the_manifest_is_completed(there: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "cells.npy", objects(SHAPE[1:]))
    before = read_manifest(manifest_path(there))
    write_ome_zarr_labels(tmp_path / "cells.npy", there, "cells", details={"program": "cellpose"}, **SMALL)
    after = read_manifest(manifest_path(there))
    assert set(after.details["files"]) == set(everything(there))
    for name, stated in after.details["files"].items():
        data = (there / name).read_bytes()
        assert stated == {"md5": hashlib.md5(data, usedforsecurity=False).hexdigest(), "size": len(data)}
    assert after.datasets[: len(before.datasets)] == before.datasets
    assert [d.name for d in after.datasets[len(before.datasets) :]] == [
        f"labels/cells/{n}" for n in range(len(levels(there)))
    ]
    assert after.details["labels"]["labels/cells"]["program"] == "cellpose"
    assert after.sources[-1].path.endswith("cells.npy")
    assert after.bytes == sum(f.stat().st_size for f in there.rglob("*") if f.is_file())
    write_ome_zarr_labels(objects(SHAPE[1:], seed=9), there, "cells", overwrite=True)
    assert check_ome_zarr(there) == []
    assert set(read_manifest(manifest_path(there)).details["files"]) == set(everything(there))


def test_a_copy_of_all_metadata_is_told(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (there / ".zattrs").exists():
        zarr.consolidate_metadata(str(there))
    else:
        content = json.loads((there / "zarr.json").read_text())
        content["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": {}}
        (there / "zarr.json").write_text(json.dumps(content))
    monkeypatch.chdir(there)  # the folder around a relative path counts as well
    report = write_ome_zarr_labels(objects(SHAPE[1:]), ".", "cells", **SMALL)
    assert report.path == there / "labels/cells"
    assert report.manifest == manifest_path(there)
    assert ["copy of all metadata" in note for note in report.notes] == [True]
    assert {p.name for p in there.parent.iterdir()} == {there.name, manifest_path(there).name}


@pytest.mark.parametrize(("axes", "shape", "parts"), [("zyx", (9, 40, 40), 7), ("tczyx", (2, 1, 5, 40, 40), 4)])
def test_chunk_names_are_flat_where_nesting_would_be_too_deep(
    axes: str, shape: tuple[int, ...], parts: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(noise(shape, "uint8"), path, axes=axes, scale=SCALE)
    source = objects(tuple(n for n, a in zip(shape, axes, strict=True) if a != "c"))
    plan = dandify.plan_ome_zarr_labels(source, path, "cells")
    assert plan.depth == parts
    write_ome_zarr_labels(source, path, "cells")
    assert max(len(f.relative_to(path).parts) for f in path.rglob("*")) == max(parts, 1 + 1 + len(shape))
    np.testing.assert_array_equal(levels(path / "labels/cells")[0], source)
    assert check_ome_zarr(path) == []


def test_version_0_4_in_a_collection_is_too_deep_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "many.ome.zarr/0"
    path.parent.mkdir()
    shape = (2, 5, 40, 40)
    write_ome_zarr(noise(shape, "uint8"), tmp_path / "a.ome.zarr", axes="tzyx", scale=SCALE, version="0.4")
    shutil.move(tmp_path / "a.ome.zarr", path)
    plan = dandify.plan_ome_zarr_labels(objects(shape), path, "cells")
    report = write_ome_zarr_labels(objects(shape), path, "cells")
    assert plan.depth == 8 == max(len(f.relative_to(path.parent).parts) for f in path.rglob("*"))
    for said in (*plan.refusals, *report.notes):
        assert "8 parts" in said
        assert "0.5" in said
    assert len(plan.refusals) == len(report.notes) == 1
    assert report.manifest == manifest_path(path.parent)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plan_is_what_is_written(version: str, tmp_path: Path) -> None:
    source = objects(SHAPE[1:])
    options: dict[str, Any] = {
        "axes": "czyx", "scale": SCALE, "version": version, "chunks": (1, 4, 16, 16),
        "labels": {"a": source, "b": source},
    }  # fmt: skip
    path = tmp_path / "a.ome.zarr"
    plan = dandify.plan_ome_zarr(noise(SHAPE, "uint16"), path, **options)
    assert list(tmp_path.iterdir()) == []
    write_ome_zarr(noise(SHAPE, "uint16"), path, **options)
    assert plan.files == len(everything(path))
    assert plan.depth == max(len(f.relative_to(path).parts) for f in path.rglob("*"))
    written = {d.name: d for d in read_manifest(manifest_path(path)).datasets}
    for one in plan.labels:
        assert len(one.levels) > 3
        assert [list(p.scale) for p in one.levels] == scales(one.path)
        assert [written[f"labels/{one.name}/{n}"].details["scale"] for n in range(4)] == scales(one.path)[:4]
        assert one.files == len(everything(one.path))
        assert [p.shape for p in one.levels] == [level.shape for level in levels(one.path)]
        assert [list(p.translation) for p in one.levels] == translations(one.path)
    added = dandify.plan_ome_zarr_labels(source, path, "c")
    write_ome_zarr_labels(source, path, "c")
    assert added.files == len(everything(added.path))


def test_levels_that_are_first_voxels_get_labels_of_first_voxels(tmp_path: Path) -> None:
    path = image(tmp_path, "0.5", downsample="nearest")
    source = objects(SHAPE[1:])
    found = levels(write_ome_zarr_labels(source, path, "cells", **SMALL).path)
    np.testing.assert_array_equal(found[1], source[:, ::2, ::2])
    assert check_ome_zarr(path) == []
    with pytest.raises(BadRequest, match="first voxel"):
        write_ome_zarr_labels(source, path, "other", downsample="mode")


def tiff(folder: Path, values: NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(folder / "labels.tif", values, **options)
    return folder / "labels.tif"


FILES: dict[str, Mapping[str, Any]] = {
    "plain": {}, "compressed": {"compression": "zlib"}, "ImageJ": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "time in place of depth": {"imagej": True, "metadata": {"axes": "TYX"}},
    "OME": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 7.0, "PhysicalSizeY": 7.0}},
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_files_of_labels(kind: str, there: Path, tmp_path: Path) -> None:
    """The size of pixels that such files state, or do not, is of no account: labels lie on their image."""
    source = objects(SHAPE[1:])
    report = write_ome_zarr_labels(tiff(tmp_path, source, **FILES[kind]), there, "cells", **SMALL)
    assert_labels(there, report.path, source)
    assert read_manifest(manifest_path(there)).details["labels"]["labels/cells"]["sources"]


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_of_another_zarr(version: str, there: Path, tmp_path: Path) -> None:
    source = objects(SHAPE[1:])
    other = image(tmp_path, version, labels={"old": source}) / "labels/old"
    report = write_ome_zarr_labels(other, there, "new", **SMALL)
    assert_labels(there, report.path, source)
    assert read_manifest(manifest_path(there)).sources[-1].path == str(other)


WHOLE = np.arange(13 * 90 * 71).reshape(SHAPE[1:]).astype("float32")
REFUSED: dict[str, tuple[Any, dict[str, Any], type[DandifyError], str]] = {
    "shape": (objects((13, 45, 71)), {}, BadRequest, r"13 x 45 x 71, and the image is 13 x 90 x 71"),
    "channels": (objects(SHAPE), {"axes": "czyx"}, BadRequest, "2 channels"),
    "whole floats": (WHOLE, {}, BadRequest, r"(?s)all of them are whole numbers.*astype\('uint32'\)"),
    "NaN": (np.where(WHOLE == 71 * 90 + 72, np.nan, WHOLE), {}, BadRequest, r"z 1, y 1, x 1.*not a number"),
    "fraction": (WHOLE / 2, {}, BadRequest, r"z 0, y 0, x 1\).*no whole number \(0.5\)"),
    "infinite": (np.where(WHOLE == 2, np.inf, WHOLE), {}, BadRequest, r"x 2.*infinite"),
    "complex": (WHOLE.astype("complex64"), {}, BadRequest, "complex64"),
    "name": (objects(SHAPE[1:]), {"name": "a/b"}, BadRequest, "letters, digits"),
    "hidden name": (objects(SHAPE[1:]), {"name": ".cells"}, BadRequest, "letters, digits"),
    "document's name": (objects(SHAPE[1:]), {"name": "zarr.json"}, BadRequest, "letters, digits"),
    "mean": (objects(SHAPE[1:]), {"downsample": "mean"}, BadRequest, "numbers of objects that are not there"),
    "nearest": (objects(SHAPE[1:]), {"downsample": "nearest"}, BadRequest, "in the middle"),
    "colour": (objects(SHAPE[1:]), {"colors": {1: "green"}}, BadRequest, "colour 'green' of label 1"),
    "colour of four": (objects(SHAPE[1:]), {"colors": {1: (0, 0, 256)}}, BadRequest, "of label 1"),
    "compression": (objects(SHAPE[1:]), {"compression": "jpeg"}, BadRequest, "jpeg"),
    "chunks": (objects(SHAPE[1:]), {"chunks": (1, 3, 4)}, BadRequest, "odd"),
    "no such file": (Path("nowhere.tif"), {}, BadRequest, "no such file"),
    "no such npy": (Path("nowhere.npy"), {}, BadRequest, "no such file"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_work(case: str, there: Path) -> None:
    labels, options, kind, said = REFUSED[case]
    before = everything(there.parent)
    with pytest.raises(kind, match=said):
        write_ome_zarr_labels(labels, there, **{"name": "cells", **options})
    assert everything(there.parent) == before
    assert not (there / "labels").exists()


def test_a_float_file_is_named_with_the_place(there: Path, tmp_path: Path) -> None:
    values = WHOLE.copy()
    values[4, 5, 6] = np.nan
    with pytest.raises(BadRequest, match=r"labels\.tif \(labels cells, z 4, y 5, x 6\)"):
        write_ome_zarr_labels(tiff(tmp_path, values), there, "cells")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{"], ids=["empty", "junk", "cut off"])
def test_a_damaged_npy(content: bytes, there: Path, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(BadSource, match=r"x\.npy"):
        write_ome_zarr_labels(tmp_path / "x.npy", there, "cells")


def test_labels_of_no_image(tmp_path: Path, ready: dict[str, Path]) -> None:
    with pytest.raises(BadRequest, match="no such folder"):
        write_ome_zarr_labels(objects((4, 4)), tmp_path / "a.ome.zarr", "cells")
    shutil.copytree(ready["0.4"], tmp_path / "many.ome.zarr/A")
    with pytest.raises(BadRequest, match=r"(?s)holds 1.*many\.ome\.zarr.A"):
        write_ome_zarr_labels(objects((4, 4)), tmp_path / "many.ome.zarr", "cells")
    with pytest.raises(BadRequest, match="not every file system"):
        image(tmp_path, "0.5", labels={"cells": objects(SHAPE[1:]), "Cells": objects(SHAPE[1:])})


def test_an_image_of_an_old_version(tmp_path: Path) -> None:
    root = zarr.open_group(str(tmp_path / "old.zarr"), "w")
    root.create_dataset("0", data=np.ones((1, 1, 3, 16, 16), np.uint8), dimension_separator="/")
    root.attrs["multiscales"] = [{"version": "0.1", "axes": [], "datasets": [{"path": "0"}]}]
    with pytest.raises(DandifyError, match=r"0\.1; labels are added to 0\.4 and 0\.5"):
        write_ome_zarr_labels(objects((3, 16, 16)), tmp_path / "old.zarr", "cells")


def test_existing_labels_are_kept_unless_replaced(there: Path) -> None:
    first, second = objects(SHAPE[1:]), objects(SHAPE[1:], seed=9)
    write_ome_zarr_labels(first, there, "cells", **SMALL)
    before = everything(there)
    with pytest.raises(OutputExists, match="exist already"):
        write_ome_zarr_labels(second, there, "cells", **SMALL)
    with pytest.raises(OutputExists, match="'cells'"):
        write_ome_zarr_labels(second, there, "Cells", overwrite=True, **SMALL)
    assert everything(there) == before
    write_ome_zarr_labels(second, there, "cells", overwrite=True, **SMALL)
    np.testing.assert_array_equal(levels(there / "labels/cells")[0], second)
    assert metadata(there / "labels")["labels"] == ["cells"]


class Stopped(Exception):
    """Raised in the middle of a run."""


@pytest.mark.parametrize("stage", ["write", "verify"])
def test_a_stopped_run_leaves_the_image_as_it_was_and_is_gone_on_with(stage: str, there: Path) -> None:
    def step(progress: Progress) -> None:
        if progress.stage == stage and 2 * progress.done_bytes > progress.total_bytes:
            raise Stopped

    before, source = everything(there), objects(SHAPE[1:])
    with pytest.raises(Stopped):
        write_ome_zarr_labels(source, there, "cells", progress=step, **SMALL)
    assert everything(there) == before
    assert not (there / "labels").exists()
    left = {p.name for p in there.parent.iterdir()} - {there.name, manifest_path(there).name}
    assert left == {f"{there.name}.labels.partial", f"{there.name}.labels.partial.journal"}
    report = write_ome_zarr_labels(source, there, "cells", **SMALL)
    assert any(note.startswith("went on") for note in report.notes)
    assert {p.name for p in there.parent.iterdir()} == {there.name, manifest_path(there).name}
    assert_labels(there, report.path, source)
    assert check_ome_zarr(there) == []


def test_labels_that_fail_leave_no_image(tmp_path: Path) -> None:
    def step(progress: Progress) -> None:
        if progress.name == "cells":
            raise Stopped

    source = objects(SHAPE[1:])
    with pytest.raises(Stopped):
        image(tmp_path, "0.5", labels={"cells": source}, progress=step)
    assert not (tmp_path / "a.ome.zarr").exists()
    path = image(tmp_path, "0.5", labels={"cells": source})
    assert_labels(path, path / "labels/cells", source)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, manifest_path(path).name}


KILLED = """
import os, signal, sys
import numpy as np
from dandify import write_ome_zarr_labels

def step(progress):
    if progress.stage == "verify":
        os.kill(os.getpid(), signal.SIGKILL)

write_ome_zarr_labels(np.load(sys.argv[1]), sys.argv[2], "cells", chunks=(4, 16, 16), progress=step)
"""


@pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
def test_a_killed_run_leaves_the_image_as_it_was(there: Path, tmp_path: Path) -> None:
    source = objects(SHAPE[1:])
    np.save(tmp_path / "cells.npy", source)
    before = everything(there)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "cells.npy"), str(there)], check=False)
    assert done.returncode < 0
    assert everything(there) == before
    assert check_ome_zarr(there) == []
    write_ome_zarr_labels(source, there, "cells", **SMALL)
    assert_labels(there, there / "labels/cells", source)
    assert not list(tmp_path.glob("*.partial*"))


def test_stopped_before_the_list_is_complete(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last moment at which anything can happen: labels are whole and not listed, which is said."""
    source = objects(SHAPE[1:])
    with monkeypatch.context() as patched:
        patched.setattr(adding, "_enlist", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_ome_zarr_labels(source, there, "cells", **SMALL)
    assert [p.id for p in check_ome_zarr(there)] == ["ngff.label_unlisted"]
    with pytest.raises(OutputExists):
        write_ome_zarr_labels(source, there, "cells", **SMALL)
    write_ome_zarr_labels(source, there, "cells", overwrite=True, **SMALL)
    assert check_ome_zarr(there) == []


@pytest.mark.parametrize("at", [0, 45], ids=["first chunk", "another"])
def test_a_changed_chunk_is_found_by_reading_back(at: int, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, count = Sink.put, iter(range(10**6))

    def changed(sink: Sink, index: tuple[int, ...], payload: bytes) -> Any:
        return put(sink, index, payload[:-1] + bytes([payload[-1] ^ 255]) if next(count) == at else payload)

    monkeypatch.setattr(Sink, "put", changed)
    before = everything(there.parent)
    with pytest.raises(VerificationFailed, match="level"):
        write_ome_zarr_labels(objects(SHAPE[1:]), there, "cells", **SMALL)
    assert everything(there.parent) == before
