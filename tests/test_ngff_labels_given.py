"""Labels of OME-Zarr images: files that hold them, what is refused, and what a failure leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource, DandifyError, OutputExists, VerificationFailed
from dandify.ngff import labels as adding
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.labels import write_ome_zarr_labels
from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import manifest_path, read_manifest, write_manifest
from dandify.store.progress import Progress
from dandify.store.zarr_image import Sink
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
from ngff_reference import levels, metadata, noise


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return ready_images(tmp_path_factory.mktemp("ready"))


@pytest.fixture(params=VERSIONS)
def there(request: pytest.FixtureRequest, ready: dict[str, Path], tmp_path: Path) -> Path:
    """An image to add labels to, with its manifest."""
    return copied(ready[request.param], tmp_path)


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


def test_labels_of_another_zarr_whose_axes_are_turned(there: Path, tmp_path: Path) -> None:
    """Lengths say nothing where two are the same; names do."""
    root = zarr.open_group(str(tmp_path / "labels"), "w").create_group("turned")
    root.create_dataset("0", data=objects((13, 90, 71)).transpose(0, 2, 1), dimension_separator="/")
    axes = [{"name": a, "type": "space"} for a in "zxy"]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    with pytest.raises(BadRequest, match="13 x 71 x 90"):
        write_ome_zarr_labels(tmp_path / "labels/turned", there, "cells")
    write_ome_zarr(noise((40, 40), "uint8"), tmp_path / "a.ome.zarr", scale={"y": 1, "x": 1}, axes="yx")
    root.create_dataset("1", data=objects((1, 40, 40)), dimension_separator="/")
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "1"}]}]
    with pytest.raises(BadRequest, match="axes x y, and the image y x"):
        write_ome_zarr_labels(tmp_path / "labels/turned", tmp_path / "a.ome.zarr", "cells")


WHOLE = np.arange(13 * 90 * 71).reshape(SHAPE[1:]).astype("float32")
REFUSED: dict[str, tuple[Any, dict[str, Any], type[DandifyError], str]] = {
    "shape": (objects((13, 45, 71)), {}, BadRequest, r"13 x 45 x 71, and the image is 13 x 90 x 71"),
    "channels": (objects(SHAPE), {"axes": "czyx"}, BadRequest, "2 channels"),
    "whole floats": (WHOLE, {}, BadRequest, r"(?s)all of them are whole numbers.*astype\('uint32'\)"),
    "NaN": (np.where(WHOLE == 71 * 90 + 72, np.nan, WHOLE), {}, BadRequest, r"z 1, y 1, x 1.*not a number"),
    "wide floats": (
        np.where(WHOLE == 2, -1, np.where(WHOLE == 3, 5e9, WHOLE)), {}, BadRequest, r"astype\('int64'\)",
    ),
    "floats beyond integers": (np.where(WHOLE == 2, 2.0**70, WHOLE), {}, BadRequest, "number the objects from 1"),
    "fraction": (WHOLE / 2, {}, BadRequest, r"z 0, y 0, x 1\).*no whole number \(0.5\)"),
    "infinite": (np.where(WHOLE == 2, np.inf, WHOLE), {}, BadRequest, r"x 2.*infinite"),
    "complex": (WHOLE.astype("complex64"), {}, BadRequest, "complex64"),
    "name": (objects(SHAPE[1:]), {"name": "a/b"}, BadRequest, "letters, digits"),
    "hidden name": (objects(SHAPE[1:]), {"name": ".cells"}, BadRequest, "letters, digits"),
    "document's name": (objects(SHAPE[1:]), {"name": "zarr.json"}, BadRequest, "letters, digits"),
    "mean": (objects(SHAPE[1:]), {"downsample": "mean"}, BadRequest, "numbers of objects that are not there"),
    "nearest": (objects(SHAPE[1:]), {"downsample": "nearest"}, BadRequest, "in the middle"),
    "colour": (objects(SHAPE[1:]), {"colors": {1: "green"}}, BadRequest, "colour 'green' of label 1"),
    "colour in shares": (objects(SHAPE[1:]), {"colors": {1: (0.2, 0.5, 1.0)}}, BadRequest, "of label 1"),
    "colour of a share": (objects(SHAPE[1:]), {"colors": {1.5: "00FF00"}}, BadRequest, r"of label 1\.5"),
    "properties of a name": (objects(SHAPE[1:]), {"properties": {"a": {}}}, BadRequest, "of label 'a'"),
    "properties that are no JSON": (
        objects(SHAPE[1:]), {"properties": {1: {"when": {1, 2}}}}, BadRequest, "label 1 that JSON cannot hold: .*set",
    ),
    "properties of NaN": (objects(SHAPE[1:]), {"properties": {1: {"a": np.nan}}}, BadRequest, "properties of label 1"),
    "axes in another order": (objects(SHAPE[1:]), {"axes": "zxy"}, BadRequest, "axes z x y, and the image z y x"),
    "other axes": (objects(SHAPE[1:]), {"axes": "tyx"}, BadRequest, "axes t y x, and the image z y x"),
    "too few axes": (objects(SHAPE[1:]), {"axes": "yx"}, BadRequest, r"2 axes \(y x\)"),
    "colour of four": (objects(SHAPE[1:]), {"colors": {1: (0, 0, 256)}}, BadRequest, "of label 1"),
    "compression": (objects(SHAPE[1:]), {"compression": "jpeg"}, BadRequest, "jpeg"),
    "chunks": (objects(SHAPE[1:]), {"chunks": (1, 3, 4)}, BadRequest, "chunks that hold whole windows"),
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


def test_what_was_added_to_the_manifest_meanwhile_stays(there: Path) -> None:
    """Another process may have added labels between the beginning and the end."""
    source = objects(SHAPE[1:])

    def step(progress: Progress) -> None:
        if progress.stage == "verify":
            manifest = read_manifest(manifest_path(there))
            write_manifest(manifest_path(there), replace(manifest, details={**manifest.details, "meanwhile": 1}))

    write_ome_zarr_labels(source, there, "cells", progress=step, **SMALL)
    details = read_manifest(manifest_path(there)).details
    assert details["meanwhile"] == 1
    assert list(details["labels"]) == ["labels/cells"]


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
