"""TIFFs without OME-XML: what ImageJ, a shape or a user says of their axes and sizes, and nothing guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dandify.errors import BadRequest, BadSource
from dandify.sources.registry import by_name
from tiff_golden import as_tczyx, whole
from tiff_makers import (
    STATED,
    pixels,
    write_imagej,
    write_ome,
    write_plain,
)

converter = by_name("ome_tiff")


IMAGEJ: dict[str, tuple[tuple[int, ...], str]] = {
    "z": ((4, 12, 16), "ZYX"), "t": ((4, 12, 16), "TYX"), "c": ((2, 12, 16), "CYX"), "zc": ((4, 2, 12, 16), "ZCYX"),
    "tzc": ((3, 4, 2, 12, 16), "TZCYX"), "tc": ((3, 2, 12, 16), "TCYX"),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "axes"), IMAGEJ.values(), ids=IMAGEJ)
def test_imagej_hyperstacks(tmp_path: Path, shape: tuple[int, ...], axes: str) -> None:
    path = write_imagej(tmp_path / "a.tif", shape, axes, unit="um", spacing=3.5, finterval=0.2)
    source = converter.open(path)
    (stream,) = source.streams
    np.testing.assert_array_equal(whole(stream), as_tczyx(pixels(shape), axes))
    expected = {"y": 0.5, "x": 0.5, "z": 3.5, "t": 0.2}
    assert stream.scale == {a: v for a, v in expected.items() if a in stream.axes}
    assert not source.needs


UNITS = {"um": 0.5, "µm": 0.5, "\\u00B5m": 0.5, "micron": 0.5, "mm": 500.0, "nm": 0.0005, "pixel": None, "": None}


@pytest.mark.parametrize(("unit", "size"), UNITS.items(), ids=repr)
def test_units_of_imagej(tmp_path: Path, unit: str, size: float | None) -> None:
    text = f"ImageJ=1.53t\nunit={unit}\n"
    path = write_plain(tmp_path / "a.tif", (12, 16), description=text.encode("latin-1"), resolution=(2.0, 2.0))
    source = converter.open(path)
    assert source.streams[0].scale == ({} if size is None else {"y": size, "x": size})
    assert [n.key for n in source.needs] == ([] if size else ["pixel_size_um.y", "pixel_size_um.x"])


def test_an_imagej_stack_with_one_directory(tmp_path: Path) -> None:
    values = pixels((5, 12, 16))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values[0], description="ImageJ=1.53t\nimages=5\nslices=5\n", metadata=None)
    path.write_bytes(path.read_bytes() + values[1:].tobytes())
    np.testing.assert_array_equal(whole(converter.open(path).streams[0]), values)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadSource, match="cut off: 5 planes"):
        converter.open(path)


def test_labels_and_colours_of_an_imagej_composite(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    zero = np.zeros_like(ramp)
    path = write_imagej(
        tmp_path / "a.tif", (2, 12, 16), "CYX", mode="composite", Labels=["Nuclei", "Actin"],
        LUTs=[np.stack([zero, zero, ramp]), np.stack([ramp, zero, zero])],
    )  # fmt: skip
    assert [(c.name, c.color) for c in converter.open(path).streams[0].channels] == [
        ("Nuclei", "0000FF"), ("Actin", "FF0000")
    ]  # fmt: skip


PRINTED: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "inch": ({"resolution": (300, 300), "resolutionunit": "INCH"}, {}),
    "fine-inch": ({"resolution": (50000, 50000), "resolutionunit": "INCH"}, {}),
    "screen-cm": ({"resolution": (28.35, 28.35), "resolutionunit": "CENTIMETER"}, {}),
    "microscope-cm": ({"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}, {"y": 0.5, "x": 0.5}),
    "none": ({"resolution": (2, 2), "resolutionunit": "NONE"}, {}),
}


@pytest.mark.parametrize(("options", "scale"), PRINTED.values(), ids=PRINTED)
def test_dots_per_inch_are_no_pixel_size(tmp_path: Path, options: dict[str, Any], scale: dict[str, float]) -> None:
    source = converter.open(write_plain(tmp_path / "a.tif", (12, 16), **options))
    assert source.streams[0].scale == scale
    assert ("pixel_size_um" in source.facts) == bool(scale)


def test_pages_of_a_plain_tiff_are_not_guessed(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.tif", (5, 12, 16))
    source = converter.open(path)
    assert source.streams == ()
    assert [n.key for n in source.needs] == ["axes", "pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]
    assert all(n.file == str(path) for n in source.needs)
    assert source.needs[0].remedy == "--set axes=zyx"


LABELLED: dict[str, tuple[tuple[int, ...], dict[str, Any], str, tuple[str, ...]]] = {
    "depth": ((5, 12, 16), {}, "zyx", ("z", "y", "x")),
    "time": ((5, 12, 16), {}, "tyx", ("t", "y", "x")),
    "colours": ((5, 12, 16, 3), {"photometric": "rgb"}, "tyx", ("t", "c", "y", "x")),
    "colours-depth": ((5, 12, 16, 3), {"photometric": "rgb"}, "zyx", ("c", "z", "y", "x")),
}


@pytest.mark.parametrize(("shape", "options", "axes", "found"), LABELLED.values(), ids=LABELLED)
def test_supplied_axes_make_streams(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any], axes: str, found: tuple[str, ...]
) -> None:
    source = converter.open(write_plain(tmp_path / "a.tif", shape, dtype="uint8", **options))
    supplied = {"axes": axes, "pixel_size_um": {"z": "20", "y": 2.0, "x": "2.0"}, "time_increment_s": "0.5"}
    given = source.with_facts(supplied)
    (stream,) = given.streams
    assert stream.axes == found
    own = axes if len(shape) == 3 else axes + "c"
    np.testing.assert_array_equal(whole(stream), as_tczyx(pixels(shape, "uint8"), own))
    expected = {"z": 20.0, "y": 2.0, "x": 2.0, "t": 0.5}
    assert stream.scale == {a: v for a, v in expected.items() if a in found}
    assert not given.needs
    assert [n.key for n in source.with_facts({"axes": "zyx"}).needs] == [f"pixel_size_um.{a}" for a in "zyx"]


def test_a_shape_without_axes_asks_for_them(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels((2, 3, 12, 16)), photometric="minisblack")
    source = converter.open(path)
    assert source.needs[0].key == "axes"
    (stream,) = source.with_facts({"axes": "zcyx"}).streams
    np.testing.assert_array_equal(whole(stream), pixels((2, 3, 12, 16)).transpose(1, 0, 2, 3))
    with pytest.raises(BadRequest, match="2 x 3 pages"):
        source.with_facts({"axes": "zyx"})


def test_a_shape_with_axes_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels((2, 3, 12, 16)), photometric="minisblack", metadata={"axes": "TZYX"})
    assert converter.open(path).streams[0].axes == ("t", "z", "y", "x")


def test_supplied_values_replace_stated_ones(tmp_path: Path) -> None:
    source = converter.open(write_ome(tmp_path / "a.ome.tif", (2, 3, 8, 8), "CZYX", metadata=STATED))
    given = source.with_facts({"pixel_size_um": {"z": 5}, "channel_names": ["a", "b"]})
    (stream,) = given.streams
    assert stream.scale == {"z": 5.0, "y": 0.65, "x": 0.65}
    assert [(c.name, c.color) for c in stream.channels] == [("a", "0000FF"), ("b", "00FF00")]
    assert given.facts["pixel_size_um"] == {"z": 5.0, "y": 0.65, "x": 0.65}
    assert source.streams[0].scale["z"] == 4.0


def test_axes_are_for_files_that_state_none(tmp_path: Path) -> None:
    """One value is given for a session: it must not turn the channels of its OME-TIFF into time."""
    stated = converter.open(write_ome(tmp_path / "a.ome.tif", (2, 8, 8), "CYX")).with_facts({"axes": "tyx"})
    assert stated.streams[0].axes == ("c", "y", "x")
    assert [n.key for n in stated.needs] == ["pixel_size_um.y", "pixel_size_um.x"]
    slices = converter.open(write_imagej(tmp_path / "b.tif", (4, 12, 16), "ZYX"))  # ImageJ calls any stack slices
    assert slices.with_facts({"axes": "tyx"}).streams[0].axes == ("t", "y", "x")
    single = converter.open(write_plain(tmp_path / "c.tif", (12, 16)))
    assert single.with_facts({"axes": "tyx"}).streams[0].axes == ("y", "x")


def test_only_the_needs_that_are_met_go(tmp_path: Path) -> None:
    source = converter.open(write_ome(tmp_path / "a.ome.tif", (3, 8, 8), "ZYX"))
    assert [n.key for n in source.with_facts({"pixel_size_um": {"z": 5}}).needs] == [
        "pixel_size_um.y",
        "pixel_size_um.x",
    ]
    assert source.with_facts({}) is source


WRONG: dict[str, dict[str, Any]] = {
    "axes": {"axes": "zzyx"}, "axes-order": {"axes": "yxz"}, "axes-count": {"axes": "tczyx"},
    "size": {"pixel_size_um": {"z": "thick"}}, "size-zero": {"pixel_size_um": {"z": 0}},
    "size-of-what": {"pixel_size_um": 0.65}, "size-axis": {"pixel_size_um": {"c": 1}},
    "time": {"time_increment_s": "nan"}, "names": {"channel_names": ["a", "b", "c"]},
}  # fmt: skip


@pytest.mark.parametrize("supplied", WRONG.values(), ids=WRONG)
def test_supplied_values_that_cannot_be(tmp_path: Path, supplied: dict[str, Any]) -> None:
    source = converter.open(write_imagej(tmp_path / "a.tif", (3, 2, 8, 8), "ZCYX"))
    with pytest.raises(BadRequest) as caught:
        source.with_facts(supplied)
    assert caught.value.remedy
