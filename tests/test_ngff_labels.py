"""Labels of OME-Zarr images: values, levels, metadata, other people's readers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dandify
from dandify.errors import BadRequest
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.labels import write_ome_zarr_labels
from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import manifest_path, read_manifest
from label_images import (
    SHAPE,
    SMALL,
    VERSIONS,
    assert_labels,
    copied,
    everything,
    image,
    objects,
    ready_images,
)
from ngff_reference import SCALE, levels, metadata, noise, scales, translations


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return ready_images(tmp_path_factory.mktemp("ready"))


@pytest.fixture(params=VERSIONS)
def there(request: pytest.FixtureRequest, ready: dict[str, Path], tmp_path: Path) -> Path:
    """An image to add labels to, with its manifest."""
    return copied(ready[request.param], tmp_path)


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


@pytest.mark.parametrize(("memory", "way"), [(7_000_000, "whole planes"), (5_500_000, "bands")])
def test_in_parts_and_bands_too(tmp_path: Path, memory: int, way: str) -> None:
    """Rows that another tool left out lie in a part of a slab, or a band, that gives nothing to the levels above."""
    path = foreign(tmp_path / "a.ome.zarr", "0.4", [(9, 1601, 400), (9, 800, 200), (4, 400, 100), (2, 200, 50)])
    source = objects((9, 1601, 400))
    write_ome_zarr_labels(source, path, "n", chunks=(4, 64, 64), memory=memory, workers=1)
    plan = read_manifest(manifest_path(path)).details["labels"]["labels/n"]["plan"]
    assert plan.startswith(way)
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
        objects(SHAPE[1:]), there, "cells", colors={8: (1, 2, 3), 7: "#00ff00"},
        properties={7: {"class": "neuron", "area": np.int32(9), "mean": np.float32(0.5)}},
    ).path  # fmt: skip
    found = metadata(path)
    said = found["image-label"]
    assert said["source"] == {"image": "../../"}
    assert said["colors"] == [{"label-value": 7, "rgba": [0, 255, 0, 255]}, {"label-value": 8, "rgba": [1, 2, 3, 255]}]
    assert all(isinstance(c["label-value"], int) for c in said["colors"])
    assert said["properties"] == [{"class": "neuron", "area": 9, "mean": 0.5, "label-value": 7}]
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


def test_a_list_without_attributes_gets_them(there: Path) -> None:
    (there / "labels").mkdir()
    if (there / "zarr.json").exists():
        document = {"zarr_format": 3, "node_type": "group", "attributes": None}
        (there / "labels/zarr.json").write_text(json.dumps(document))
    write_ome_zarr_labels(objects(SHAPE[1:]), there, "cells", **SMALL)
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
