"""Tiles lie where Fiji's TileConfiguration.txt says, in micrometres; what does not fit it is one error."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tifffile

from dandify import write_ome_zarr
from dandify.errors import BadSource
from dandify.project.config import PlannedSource
from dandify.project.metadata import Layer
from dandify.project.opened import sources_of
from dandify.project.scan import ScanReport, require_sources, scan
from dandify.sources.microscopy import ImageSource
from tiff_makers import pixels, write_imagej, write_ome, write_plain, write_series

# As Stitching_Grid.writeTileConfiguration of Fiji prints it, with the ends of lines of the computer.
HEAD = "# Define the number of dimensions we are working on{0}dim = {1}{0}{0}# Define the image coordinates{0}"


def configuration(
    folder: Path, places: Mapping[str, tuple[float, ...]], *, name: str = "TileConfiguration.txt", end: str = os.linesep
) -> Path:
    """Write one as Fiji does."""
    dimensions = len(next(iter(places.values())))
    lines = [f"{tile}; ; ({', '.join(map(str, map(float, place)))}){end}" for tile, place in places.items()]
    path = folder / name
    path.write_bytes((HEAD.format(end, dimensions) + "".join(lines)).encode())
    return path


def tiles(folder: Path, *, count: int = 2, stem: str = "img_") -> dict[str, tuple[float, ...]]:
    """Write tiles whose names are those of planes; return places for them."""
    folder.mkdir(exist_ok=True)
    names = [f"{stem}{i:02d}.tif" for i in range(1, count + 1)]
    for name in names:
        write_imagej(folder / name, (12, 16), "YX", unit="um")
    return {name: (14.5 * i, -3.0 + i) for i, name in enumerate(names)}


def places(report: ScanReport) -> dict[str, Mapping[str, float]]:
    return {stream.name: stream.origin for source in require_sources(report) for stream in source.streams}


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_tiles_are_images_at_their_places_and_no_planes(tmp_path: Path, end: str) -> None:
    named = tiles(tmp_path)
    assert [s.format for s in scan(tmp_path).sources] == ["planes"]
    path = configuration(tmp_path, named, end=end)
    report = scan(tmp_path)
    assert places(report) == {"img_01": {"x": 0.0, "y": -1.5}, "img_02": {"x": 7.25, "y": -1.0}}
    assert all(path in source.files for source in report.sources)
    assert not report.unknown
    assert [source.problems for source in report.sources] == [
        ("TileConfiguration.txt says where 2 images lie, in pixels",), (),
    ]  # fmt: skip


def test_places_of_three_dimensions_count_more_than_the_stage(tmp_path: Path) -> None:
    stage = {f"Position{a}": [9.0] * 3 for a in "XY"} | {f"Position{a}Unit": ["um"] * 3 for a in "XY"}
    stated = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0, "Plane": stage}
    for name in "ab":
        write_ome(tmp_path / f"{name}.ome.tif", (3, 12, 16), "ZYX", metadata={**stated, "Name": name})
    assert places(scan(tmp_path))["a"] == {"y": 9.0 - 5.5 * 0.5, "x": 9.0 - 7.5 * 0.5}
    configuration(tmp_path, {"a.ome.tif": (0, 0, 0), "b.ome.tif": (14, 0, 1.5)})
    assert places(scan(tmp_path)) == {"a": {"z": 0.0, "y": 0.0, "x": 0.0}, "b": {"z": 3.0, "y": 0.0, "x": 7.0}}


def test_registered_places_are_taken_unless_they_are_ignored(tmp_path: Path) -> None:
    named = tiles(tmp_path)
    configuration(tmp_path, named)
    configuration(tmp_path, {n: (x + 1, y) for n, (x, y) in named.items()}, name="TileConfiguration.registered.txt")
    report = scan(tmp_path)
    assert places(report)["img_02"]["x"] == 7.75
    assert "not used is TileConfiguration.txt" in report.sources[0].problems[0]
    assert not report.unknown
    assert places(scan(tmp_path, ignore=["*.registered.txt"]))["img_02"]["x"] == 7.25
    assert places(scan(tmp_path, ignore=["TileConfiguration*"])) == {"img_01": {}, "img_02": {}}
    (tmp_path / "TileConfiguration.txt").unlink()
    assert places(scan(tmp_path))["img_02"]["x"] == 7.75


def test_a_source_of_a_stated_format_passes_over_the_same(tmp_path: Path) -> None:
    """As ``format: ome_tiff`` and ``ignore:`` of dandify.yaml have it."""
    named = tiles(tmp_path)
    configuration(tmp_path, named)
    configuration(tmp_path, {n: (x + 1, y) for n, (x, y) in named.items()}, name="TileConfiguration.registered.txt")
    for ignore, x in ((), 7.75), (("*.registered.txt",), 7.25):
        one = PlannedSource(tmp_path / "img_02.tif", "ome_tiff", {}, Layer("here", {}), ignore)
        (source,), _ = sources_of(one)
        assert source.streams[0].origin["x"] == x


def test_a_pixel_size_that_is_supplied_gives_the_places(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        write_plain(tmp_path / name, (3, 12, 16))
    configuration(tmp_path, {"a.tif": (0, 0, 0), "b.tif": (10, 4, 1)})
    (_, source) = scan(tmp_path).sources
    assert not source.streams  # nobody said what the pages are
    size = {"z": 2.0, "y": 0.5, "x": 0.25}
    known = pickle.loads(pickle.dumps(source)).with_facts({"axes": "zyx", "pixel_size_um": size})
    assert known.streams[0].origin == {"x": 2.5, "y": 2.0, "z": 2.0}
    again = known.with_facts({"pixel_size_um": {"x": 1.0}})
    assert again.streams[0].origin == {"x": 10.0, "y": 2.0, "z": 2.0}


def test_images_of_one_file_by_their_numbers(tmp_path: Path) -> None:
    write_series(tmp_path / "both.ome.tif")
    text = (
        "dim = 2\nmultiseries = true\n# where they lie\nboth.ome.tif; 1; (30, 4) # the eye\nboth.ome.tif;0;(1.0E-1,0)\n"
    )
    (tmp_path / "TileConfiguration.txt").write_text(text)
    (source,) = scan(tmp_path).sources
    assert isinstance(source, ImageSource)
    assert source.places_px == {"brain": {"x": 0.1, "y": 0.0}, "eye": {"x": 30.0, "y": 4.0}}
    (tmp_path / "TileConfiguration.txt").write_text("dim = 2\nboth.ome.tif; ; (30, 4)\n")
    with pytest.raises(BadSource, match=r"states one place for both\.ome\.tif, which holds 2 image"):
        require_sources(scan(tmp_path))


def test_one_tile_is_opened_without_the_others(tmp_path: Path) -> None:
    named = tiles(tmp_path)
    configuration(tmp_path, {**named, "img_03.tif": (29, 0)})
    assert places(scan(tmp_path / "img_02.tif"))["img_02"]["x"] == 7.25
    write_ome_zarr(tmp_path / "img_02.tif", tmp_path / "out.ome.zarr", verify=False)
    document = json.loads((tmp_path / "out.ome.zarr" / "zarr.json").read_text())
    (transforms,) = (
        d["coordinateTransformations"] for d in document["attributes"]["ome"]["multiscales"][0]["datasets"]
    )
    assert transforms[1] == {"type": "translation", "translation": [-1.0, 7.25]}


def test_a_mosaic_made_of_the_tiles_is_no_tile(tmp_path: Path) -> None:
    configuration(tmp_path, tiles(tmp_path))
    write_imagej(tmp_path / "fused.tif", (20, 30), "YX", unit="um")
    assert places(scan(tmp_path))["fused"] == {}


def test_a_configuration_of_other_images_is_told_of(tmp_path: Path) -> None:
    configuration(tmp_path, tiles(tmp_path))
    fused = write_imagej(tmp_path / "fused.tif", (20, 30), "YX", unit="um")
    (source,) = scan(fused).sources
    assert source.problems == ("TileConfiguration.txt names none of the images that are opened here: not used",)


def test_tiles_of_two_configurations_in_a_folder(tmp_path: Path) -> None:
    left, right = tiles(tmp_path, stem="left"), tiles(tmp_path, stem="right")
    configuration(tmp_path, left, name="TileConfiguration_left.txt")
    configuration(tmp_path, {n: (x, y + 100) for n, (x, y) in right.items()}, name="TileConfiguration_right.txt")
    assert {n: p["y"] for n, p in places(scan(tmp_path)).items()} == {
        "left01": -1.5, "left02": -1.0, "right01": 48.5, "right02": 49.0,
    }  # fmt: skip


def test_missing_tiles_are_passed_over_on_request(tmp_path: Path) -> None:
    configuration(tmp_path, {**tiles(tmp_path), "img_03.tif": (29, 0)})
    report = scan(tmp_path, missing="fill")
    assert places(report)["img_02"]["x"] == 7.25
    assert report.sources[0].problems[-1] == "img_03.tif is named there and is not here"


GOOD = "dim = 2\nimg_01.tif; ; (0, 0)\n"
WRONG: dict[str, tuple[str, str, str | None]] = {
    "tile-missing": (
        GOOD + "img_02.tif; ; (9, 0)\nimg_03.tif; ; (9, 0)\n",
        "names img_03.tif, which is not beside",
        None,
    ),
    "tile-unnamed": (GOOD, "does not name img_02.tif, of the size and type", None),
    "no-dim": ("img_01.tif; ; (0, 0)\n", "no line 'dim = 2'", "line 1"),
    "dim-4": ("dim = 4\nimg_01.tif; ; (0, 0, 0, 0)\n", "dim = 4 before the first tile", "line 2"),
    "two-parts": (GOOD + "img_02.tif; (9, 0)\n", "not 'NAME; ; \\(x, y\\)'", "line 3"),
    "no-brackets": (GOOD + "img_02.tif; ; 9, 0\n", "not 'NAME; ; \\(x, y\\)'", "line 3"),
    "z-too-many": (GOOD + "img_02.tif; ; (9, 0, 0)\n", "not 2 numbers", "line 3"),
    "no-number": (GOOD + "img_02.tif; ; (9, NaN)\n", "not 2 numbers", "line 3"),
    "twice": (GOOD + "img_01.tif; ; (9, 0)\n", "names img_01.tif once more", "line 3"),
    "series": ("dim=2\nmultiseries=true\nimg_01.tif; a; (0, 0)\n", "'a' in place of the number", "line 3"),
    "nothing": ("dim = 2\n", "names no tile", None),
    "views": ("dim = 2\n0;;(0,0)\n1;;(9,0)\n", "numbers of views of a BigStitcher project", None),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, case: str) -> None:
    text, cause, place = WRONG[case]
    tiles(tmp_path)
    (tmp_path / "TileConfiguration.txt").write_text(text)
    report = scan(tmp_path)
    with pytest.raises(BadSource, match=cause) as caught:
        require_sources(report)
    assert (caught.value.file, caught.value.place) == (str(tmp_path / "TileConfiguration.txt"), place)
    assert caught.value.remedy
    assert require_sources(scan(tmp_path, ignore=["TileConfiguration.txt"]))


def test_pixels_of_two_sizes_are_refused(tmp_path: Path) -> None:
    configuration(tmp_path, tiles(tmp_path))
    write_imagej(tmp_path / "img_02.tif", (12, 16), "YX", unit="um", resolution=(1.0, 1.0))
    with pytest.raises(BadSource, match=r"0\.5 um along y in img_01\.tif and 1 um in img_02\.tif"):
        require_sources(scan(tmp_path))


def test_a_tile_of_two_configurations_is_refused(tmp_path: Path) -> None:
    named = tiles(tmp_path)
    configuration(tmp_path, named)
    configuration(tmp_path, named, name="tileconfiguration_old.TXT")
    with pytest.raises(BadSource, match=r"names img_01\.tif, and so does TileConfiguration\.txt"):
        require_sources(scan(tmp_path))


def test_names_are_paths_and_in_the_letters_of_windows(tmp_path: Path) -> None:
    name = "Präparat 1.tif"
    tifffile.imwrite(tmp_path / name, pixels((12, 16)), imagej=True, resolution=(2, 2), metadata={"unit": "um"})
    text: Any = f"dim = 2\nabsolutepath = true\nC:\\Messung\\{name}; ; (2, 4)\n"
    for encoding in ("cp1252", "utf-8-sig"):
        (tmp_path / "TileConfiguration.txt").write_bytes(text.encode(encoding))
        assert places(scan(tmp_path)) == {"Präparat 1": {"x": 1.0, "y": 2.0}}
