"""What people give by mistake: refused before any work, with the cause and what to do; nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from numpy.typing import NDArray

from dandify import convert, verify, write_ome_zarr, write_ome_zarr_labels
from dandify.cli.main import main
from dandify.errors import BadRequest, BadSource
from dandify.ngff.check import check_ome_zarr
from dandify.project.scan import scan
from dandify.sources.arrays import InParts
from dandify.sources.registry import by_name
from dandify.store.memory import parse_bytes
from ngff_reference import levels, noise

SHAPE = (5, 40, 48)
IMAGE: NDArray[Any] = noise(SHAPE, "uint16")
SCALE = {"z": 2.0, "y": 0.5, "x": 0.5}
FLAGS = ["--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1"]

OPTIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "scale as text": ({"scale": {**SCALE, "x": "0.5"}}, "scale of x: '0.5'", "positive number"),
    "scale with a unit": ({"scale": {**SCALE, "x": "0.5um"}}, "scale of x: '0.5um'", "micrometres"),
    "scale None": ({"scale": {**SCALE, "x": None}}, "scale of x: None", "positive number"),
    "scale nan": ({"scale": {**SCALE, "x": float("nan")}}, "scale of x: nan", "positive number"),
    "scale without axes": ({"scale": (2, 0.5, 0.5)}, "does not say of which axes", "scale={'z'"),
    "scale of no axis": ({"scale": {**SCALE, "X": 1.0}}, "scale of X", "scale={'z'"),
    "one chunk length": ({"chunks": 16}, "chunks 16 for the axes z y x", "chunks=(64, 64, 64)"),
    "chunks as text": ({"chunks": "auto"}, "chunks 'auto'", "chunks=(64, 64, 64)"),
    "two chunk lengths": ({"chunks": (16, 16)}, "2 chunk lengths", "one for each of the 3 axes"),
    "shards as text": ({"shards": "all"}, "shards 'all'", "shards=(64, 64, 64)"),
    "workers as text": ({"workers": "2"}, "'2' workers", "1 or more"),
    "a number for a channel": ({"channels": [1]}, "channel 1", "Channel(name"),
    "true levels": ({"levels": True}, "True levels", "1 or more"),
    "version as a number": ({"version": 0.5}, "no OME-Zarr version 0.5", "'0.4', '0.5'"),
    "axes of another array": ({"axes": "czyx"}, "4 axes", "each of its 3 dimensions"),
    "axes of another order": ({"axes": "yxc", "scale": SCALE}, "axes y x c", "image.transpose(2, 0, 1)"),
    "an axis twice": ({"axes": "zzx"}, "axes z z x", "say of each axis what it is"),
    "odd chunks": ({"chunks": (1, 8, 8)}, "an odd length along z would cut through voxels of level 3", "for 3 levels"),
    "a name for all channels": ({"axes": "cyx", "channels": "abcde"}, "channels 'abcde'", "a list of names"),
    "hardly any memory": ({"memory": "10KB"}, "0.01 MB of memory do not suffice", "--memory 1MB"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name: str, tmp_path: Path) -> None:
    options, cause, remedy = OPTIONS[name]
    with pytest.raises(BadRequest) as caught:
        write_ome_zarr(IMAGE, tmp_path / "a.ome.zarr", **{"scale": SCALE, **options})
    assert cause in caught.value.cause
    assert remedy in str(caught.value.remedy)
    assert not list(tmp_path.iterdir())


ARRAYS: dict[str, tuple[Any, str]] = {
    "none": (None, "pixels of type object"), "texts": (np.array([["a"]]), "pixels of type str"),
    "one dimension": (IMAGE[0, 0], "1 dimension"), "six": (IMAGE[None, None, None], "6 dimension"),
    "masked": (np.ma.masked_greater(IMAGE, 2000), "values are masked, and images have no mask"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "cause"), ARRAYS.values(), ids=ARRAYS)
def test_arrays(values: Any, cause: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=cause) as caught:
        write_ome_zarr(values, tmp_path / "a.ome.zarr", scale=SCALE)
    assert caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_an_array_with_a_mask_of_nothing_is_written(tmp_path: Path) -> None:
    write_ome_zarr(np.ma.masked_greater(IMAGE, 70_000), tmp_path / "a.ome.zarr", scale=SCALE)
    np.testing.assert_array_equal(levels(tmp_path / "a.ome.zarr")[0], IMAGE)


class Counting:
    """An array that says how much of it was asked for at one time."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values, self.shape, self.dtype, self.most = values, values.shape, values.dtype, 0

    def __getitem__(self, region: Any) -> NDArray[Any]:
        found: NDArray[Any] = self.values[region]
        self.most = max(self.most, found.nbytes)
        return found

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        raise MemoryError


def test_arrays_of_others_are_read_in_parts(tmp_path: Path) -> None:
    values = noise((40, 200, 300), "uint16")
    array = Counting(values)
    write_ome_zarr(array, tmp_path / "a.ome.zarr", scale=SCALE, chunks=(8, 64, 64))  # type: ignore[arg-type]  # a stranger
    np.testing.assert_array_equal(levels(tmp_path / "a.ome.zarr")[0], values)
    assert 0 < array.most <= values.nbytes // 4
    labels = Counting((values > 2000).astype("u1"))
    write_ome_zarr_labels(labels, tmp_path / "a.ome.zarr", "cells", chunks=(8, 64, 64))  # type: ignore[arg-type]  # a stranger
    np.testing.assert_array_equal(levels(tmp_path / "a.ome.zarr/labels/cells")[0], labels.values)
    assert 0 < labels.most <= labels.values.nbytes // 4


def test_a_dataset_of_h5py(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("image", data=IMAGE, chunks=(1, 40, 48))
        assert InParts.of(dataset).block == (1, 40, 48)
        write_ome_zarr(dataset, tmp_path / "a.ome.zarr", scale=SCALE)
    np.testing.assert_array_equal(levels(tmp_path / "a.ome.zarr")[0], IMAGE)


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(BadRequest, match="is a file, and a folder is needed there") as caught:
        write_ome_zarr(IMAGE, tmp_path / "f/sub/a.ome.zarr", scale=SCALE)
    assert caught.value.file == str(tmp_path / "f")


@pytest.mark.parametrize(
    ("name", "better"),
    [("a.zarr", "a"), ("a.b.ome.zarr", "a-b"), ("A.OME.ZARR", "A"), (".ome.zarr", "image"), ("a", "a")],
)
def test_the_name_that_is_proposed_can_be_taken(name: str, better: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest) as caught:
        write_ome_zarr(IMAGE, tmp_path / name, scale=SCALE)
    assert caught.value.remedy == f"name it {better}.ome.zarr"
    write_ome_zarr(IMAGE, tmp_path / f"{better}.ome.zarr", scale=SCALE)


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "chunks of true": ({"chunks": (True, 32, 32)}, "chunks"),
    "chunks as a text": ({"chunks": "4,32,32"}, "chunks"),
    "one chunk length": ({"chunks": 4}, "chunks"),
    "levels true": ({"levels": True}, "levels"),
    "workers true": ({"workers": True}, "workers"),
    "no memory": ({"memory": None}, "is not a size"),
    "axes a number": ({"axes": 5}, "axes 5"),
    "a name that is none": ({"name": 5}, "the name 5"),
    "a source that is not there": ({"sources": [Path("nothing.tif")]}, "cannot be looked at"),
    "details that JSON cannot hold": ({"details": {"a": object()}}, "details for the manifest"),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_options_are_refused_before_any_work(case: str, tmp_path: Path) -> None:
    options, words = ODD[case]
    with pytest.raises(BadRequest, match=words) as caught:
        write_ome_zarr(IMAGE, tmp_path / "a.ome.zarr", **{"scale": SCALE, **options})
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_and_axes_of_tifffile_are_taken(tmp_path: Path) -> None:
    options: dict[str, Any] = {"chunks": np.array([2, 16, 16]), "levels": np.int64(2), "workers": np.int32(1)}
    write_ome_zarr(IMAGE, tmp_path / "a.ome.zarr", scale=SCALE, axes="ZYX", **options)
    assert len(levels(tmp_path / "a.ome.zarr")) == 2


@pytest.mark.parametrize("properties", [{1: {"a": object()}}, {1: "neuron"}, {1: {"a": float("nan")}}])
def test_properties_that_json_cannot_hold(properties: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(IMAGE, path, scale=SCALE)
    with pytest.raises(BadRequest, match="properties of label 1 that JSON cannot hold") as caught:
        write_ome_zarr_labels(IMAGE > 5, path, "x", properties=properties)
    assert caught.value.remedy
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ome.zarr", "a.ome.zarr.manifest.json"]


def test_the_place_of_a_label_that_is_no_number_has_names_of_axes(tmp_path: Path) -> None:
    """Of labels with a channel axis of length 1, too, which images of labels do without."""
    labels = np.zeros((2, 1, *SHAPE), np.float32)
    labels[1, 0, 3, 4, 5] = np.nan
    image = np.zeros((2, 3, *SHAPE), np.uint8)
    with pytest.raises(BadRequest, match="labels cells, t 1, c 0, z 3, y 4, x 5"):
        write_ome_zarr(image, tmp_path / "a.ome.zarr", scale=SCALE, labels={"cells": labels})
    assert not list(tmp_path.iterdir())


def test_labels_that_are_no_npy_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(IMAGE, path, scale=SCALE)
    (tmp_path / "x.npy").write_bytes(b"hello")
    with pytest.raises(BadSource, match=r"is no \.npy file: it begins with b'hello'"):
        write_ome_zarr_labels(tmp_path / "x.npy", path, "x")


@pytest.mark.parametrize(("size", "count"), [(1e9, 1_000_000_000), (5, 5), ("1.5KB", 1500)])
def test_sizes_of_memory(size: Any, count: int) -> None:
    assert parse_bytes(size) == count


@pytest.mark.parametrize("size", [0.5, float("nan"), float("inf"), -1.0])
def test_what_is_no_size_of_memory(size: float) -> None:
    with pytest.raises(BadRequest, match="is not a size"):
        parse_bytes(size)


def tiff(folder: Path, values: NDArray[Any]) -> Path:
    path = folder / "a.ome.tif"
    sizes = {f"PhysicalSize{a}": 0.5 for a in "XYZ"}
    tifffile.imwrite(path, values, photometric="minisblack", ome=True, metadata={"axes": "ZYX", **sizes})
    return path


def test_a_dry_run_names_the_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tiff(tmp_path, IMAGE.astype("f8"))
    done = CliRunner().invoke(main, ["convert", str(path), "--out", str(tmp_path / "out"), *FLAGS, "--dry-run"])
    assert done.exit_code == 2
    assert f"{path} (Image0): pixels of type float64" in done.output


def test_chunks_of_nwb_files_where_there_are_images_alone(tmp_path: Path) -> None:
    path = tiff(tmp_path, IMAGE)
    done = CliRunner().invoke(
        main, ["convert", str(path), "--out", str(tmp_path / "out"), *FLAGS, "--chunks", "Image=4x8x8"]
    )
    assert done.exit_code == 2
    assert "chunks are of arrays of NWB files, and there are images alone" in done.output
    assert "dandify.yaml" in done.output


def test_half_a_tiff_is_said_to_be_one(tmp_path: Path) -> None:
    path = tiff(tmp_path, noise((20, 100, 100), "uint16"))
    path.write_bytes(path.read_bytes()[:-150_000])
    done = CliRunner().invoke(main, ["convert", str(path), "--out", str(tmp_path / "out"), *FLAGS])
    assert done.exit_code == 1
    assert f"{path} (page " in done.output
    assert "cut off" in done.output
    assert "copy the file again from the microscope's computer" in done.output
    assert not (tmp_path / "out").exists()


def test_a_folder_of_outputs_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(BadSource) as caught:
        verify(tmp_path)
    assert "name an NWB file" in str(caught.value.remedy)


Change = Callable[[dict[str, Any]], Any]
DOCUMENTS: dict[str, tuple[str, Change, str]] = {
    "a scale of 0": (
        "zarr.json",
        lambda d: d["attributes"]["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0].update(
            scale=[0, 0, 0]
        ),
        "ngff.scale_not_positive",
    ),
    "a length as text": ("0/zarr.json", lambda d: d.update(shape=["5", 40, 48]), "ngff.document_damaged"),
    "a negative length": ("0/zarr.json", lambda d: d.update(shape=[-5, 40, 48]), "ngff.document_damaged"),
    "an endless length": ("0/zarr.json", lambda d: d.update(shape=[5, 40, 2**62]), "ngff.document_damaged"),
    "another number of axes": ("0/zarr.json", lambda d: d.update(shape=[40, 48]), "ngff.document_damaged"),
    "chunks of 0": (
        "0/zarr.json", lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[0, 16, 16]),
        "ngff.document_damaged",
    ),
    "inner chunks of 0": (
        "0/zarr.json", lambda d: d["codecs"][0]["configuration"].update(chunk_shape=[0, 16, 16]),
        "ngff.document_damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_numbers_that_none_can_be_are_found(name: str, tmp_path: Path) -> None:
    document, change, problem = DOCUMENTS[name]
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(IMAGE, path, scale=SCALE, chunks=(4, 16, 16))
    content = json.loads((path / document).read_text())
    change(content)
    (path / document).write_text(json.dumps(content))
    found = check_ome_zarr(path)
    assert problem in {p.id for p in found}, found
    assert all(p.message and p.remedy for p in found)


def test_one_assignment_and_one_pattern_need_no_list(tmp_path: Path) -> None:
    path = tiff(tmp_path, IMAGE)
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    said: dict[str, Any] = {"subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P60D", "session_id": "s"}
    report = convert(tmp_path, out=tmp_path / "out", ignore="*.csv", metadata="lab=Smith lab", **said)
    assert report.sessions[0].plan.metadata.get("lab") == "Smith lab"
    assert [i.source.path for i in report.sessions[0].plan.images] == [path]


@pytest.mark.parametrize(
    ("sources", "options", "said"),
    [
        ((), {}, "neither sources nor"), (("a",), {"config": "b.yaml"}, "both sources and"),
        (("a",), {"missing": "zeros"}, "missing='zeros'"),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_meant(
    sources: tuple[str, ...], options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        convert(*sources, out=tmp_path, **options)
    assert caught.value.remedy


UNITS: dict[str, tuple[str, str]] = {
    "furlong": ('PhysicalSizeXUnit="furlong" PhysicalSizeX="0.5"', "0.5 furlong"),
    "negative": ('PhysicalSizeX="-0.5"', "-0.5 µm"),
    "pixel": ('PhysicalSizeXUnit="pixel" PhysicalSizeX="1"', "1 pixel"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNITS)
def test_a_size_in_an_unknown_unit_is_asked_for_and_told(name: str, tmp_path: Path) -> None:
    size, said = UNITS[name]
    path = tiff(tmp_path, IMAGE)
    with tifffile.TiffFile(path) as file:
        text = file.pages.first.description
    assert 'PhysicalSizeX="0.5"' in text
    changed = text.replace('PhysicalSizeX="0.5"', size)
    tifffile.imwrite(path, IMAGE, description=changed.encode(), metadata=None, photometric="minisblack", ome=False)
    done = CliRunner().invoke(main, ["convert", str(path), "--out", str(tmp_path / "out"), *FLAGS])
    assert done.exit_code == 2
    assert "the session lacks 1 required value(s)" in done.output
    assert f"along x in micrometres; its OME-XML states {said}, which is no length [{path}]" in done.output
    assert not (tmp_path / "out").exists()


def test_a_unit_of_imagej_that_is_none_of_length(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    meta = {"spacing": 2, "unit": "parsec", "axes": "ZYX"}
    tifffile.imwrite(path, IMAGE, imagej=True, resolution=(2, 2), metadata=meta)
    needs = by_name("ome_tiff").open(path).needs
    assert [n.key for n in needs] == [f"pixel_size_um.{a}" for a in "zyx"]
    assert all("ImageJ's header states the unit 'parsec', which is no length" in n.what for n in needs)


def test_a_dataset_of_hdf5_without_values_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("image", data=IMAGE[:0])
        for dimension, label in zip(dataset.dims, "zyx", strict=True):
            dimension.label = label
    verdict = by_name("hdf5_images").identify(path)
    assert not verdict
    assert verdict.reason == "/image has no values: its shape is (0, 40, 48)"


def test_outputs_among_the_sources_are_passed_over(tmp_path: Path) -> None:
    path = tiff(tmp_path, IMAGE)
    write_ome_zarr(path, tmp_path / "a.ome.zarr")
    report = scan(tmp_path)
    assert [s.path for s in report.sources] == [path]
    assert not report.unknown
