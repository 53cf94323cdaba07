"""MetaSeries descriptions of MetaMorph and MetaXpress: values as tifffile reads them, and junk."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dandify.cli.main import main
from dandify.ngff.check import check_ome_zarr
from dandify.sources import Channel
from dandify.sources.registry import by_name
from dandify.sources.tiff_header import DESCRIPTION, Page
from dandify.sources.tiff_metamorph import MetaMorphPlane, line, metamorph
from dandify.store.manifest import manifest_path
from metamorph_maker import PATTERN, PIXEL_UM, SETTINGS, SIZE, STEP_UM, describe, write_plane, write_plate
from ngff_reference import levels, metadata
from shared_data import shared

planes, single = by_name("planes"), by_name("ome_tiff")
REAL = "TimePoint_{t}/*_{row}{column}_s{field}_w{channel:1}*.tif"
FLAGS = ["--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1"]
ZEROS = np.zeros(SIZE, np.uint16)


def page(text: str) -> Page:
    return Page(0, "<", *SIZE, 1, False, np.dtype("u2"), 8, 8, {DESCRIPTION: text}, frozenset())


def stated(text: str) -> MetaMorphPlane:
    found = metamorph(page(text))
    assert found is not None
    return found


def said(path: Path) -> dict[str, Any]:
    """What tifffile reads of a plane."""
    with tifffile.TiffFile(path) as file:
        assert file.metaseries_metadata is not None
        found: dict[str, Any] = file.metaseries_metadata["PlaneInfo"]
    return found


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_a_real_plate_says_what_tifffile_reads() -> None:
    folder = shared("microscopy/imagexpress/1well-3C-2S-Zmix-T/2024-04-22/1697")
    source = planes.open(folder, {"pattern": REAL})
    assert not source.needs
    assert not source.problems
    for stream in source.streams:
        assert stream.well is not None
        per_time = [
            [said(only(folder, f"TimePoint_{t}/*_s{stream.well.field}_w{c}*.tif")) for c in (1, 2, 3)] for t in (1, 2)
        ]
        channels = per_time[0]
        first = channels[0]
        assert first["spatial-calibration-units"] == "um"
        seconds = (per_time[1][0]["acquisition-time-local"] - first["acquisition-time-local"]).total_seconds()
        size = {a: first[f"spatial-calibration-{a}"] for a in "yx"}
        assert stream.scale == pytest.approx({**size, "t": seconds})
        middle = {a: stream.origin[a] + (256 - 1) / 2 * size[a] for a in "yx"}
        assert middle == pytest.approx({a: first[f"stage-position-{a}"] for a in "yx"}, abs=1e-6)
        assert [c.name for c in stream.channels] == [p["_IllumSetting_"] for p in channels]
        assert [c.wavelength_nm for c in stream.channels] == [p["wavelength"] for p in channels]
        assert source.facts["stage_position_um"][stream.name] == {
            "x": first["stage-position-x"], "y": first["stage-position-y"], "z": first["z-position"],
        }  # fmt: skip
        assert source.facts["exposure_time_s"] == tuple(
            float(p["Exposure Time"].removesuffix(" ms")) / 1000 for p in channels
        )
        assert source.facts["objective"] == f"{first['_MagSetting_']}, NA {first['_MagNA_']}"
    upper, lower = (s.origin for s in source.streams)
    assert lower["y"] - upper["y"] == pytest.approx(256 * 13.5504, abs=0.5)  # edge to edge
    assert lower["x"] == upper["x"]
    assert source.facts["session_start_time"] == datetime(2024, 4, 22, 9, 57, 37, 294000)
    assert source.facts["software"] == "MetaMorph 6.7.2.290"


def test_a_real_plate_needs_no_pixel_size(tmp_path: Path) -> None:
    folder = shared("microscopy/imagexpress/1well-3C-2S-Zmix-T/2024-04-22/1697")
    assert_converted(folder, REAL, tmp_path)


def assert_converted(folder: Path, pattern: str, out: Path) -> tuple[Path, dict[str, list[float]]]:
    """Convert a plate without a pixel size; return it, and the translation of each field."""
    done = CliRunner().invoke(main, ["convert", str(folder), "--out", str(out), *FLAGS, "--pattern", pattern])
    assert done.exit_code == 0, done.output
    (path,) = out.rglob("*.ome.zarr")
    assert check_ome_zarr(path) == []
    moved: dict[str, list[float]] = {}
    for well in metadata(path)["plate"]["wells"]:
        for field in metadata(path / well["path"])["well"]["images"]:
            place = f"{well['path']}/{field['path']}"
            (_, translation) = metadata(path / place)["multiscales"][0]["datasets"][0]["coordinateTransformations"]
            moved[place] = translation["translation"]
    assert len({tuple(t) for t in moved.values()}) == len(moved) == 2
    return path, moved


def test_a_plate(tmp_path: Path) -> None:
    source = planes.open(write_plate(tmp_path / "plate"), {"pattern": PATTERN})
    assert not source.needs
    assert not source.problems
    assert source.facts["pixel_size_um"] == {"z": STEP_UM, "y": PIXEL_UM, "x": PIXEL_UM}
    assert source.facts["time_increment_s"] == 30.0
    assert source.facts["channel_names"] == ("DAPI", "FITC")
    for stream, y in zip(source.streams, (20000, 20000 + SIZE[0] * PIXEL_UM), strict=True):
        assert stream.axes == ("t", "c", "z", "y", "x")
        assert stream.scale == {"t": 30.0, "z": STEP_UM, "y": PIXEL_UM, "x": PIXEL_UM}
        assert stream.origin == {"y": y - 7.5 * PIXEL_UM, "x": 23380 - 11.5 * PIXEL_UM}
        assert stream.channels == tuple(Channel(name, wavelength_nm=nm) for name, nm, _ in SETTINGS)


def test_a_plate_is_converted(tmp_path: Path) -> None:
    path, moved = assert_converted(write_plate(tmp_path / "plate"), PATTERN, tmp_path / "out")
    assert moved["B/03/2"][-2] - moved["B/03/1"][-2] == SIZE[0] * PIXEL_UM
    assert [c["label"] for c in metadata(path / "B/03/2")["omero"]["channels"]] == ["DAPI", "FITC"]
    assert levels(path / "B/03/2")[0][1, 0, 2].max() == 1221
    kept = json.loads(manifest_path(path).read_text())["details"]["image"]
    assert kept["facts"]["exposure_time_s"] == [0.035, 0.08]
    assert kept["channels"] == [{"name": name, "wavelength_nm": nm} for name, nm, _ in SETTINGS]


def test_what_the_user_says_comes_first(tmp_path: Path) -> None:
    source = planes.open(write_plate(tmp_path), {"pattern": PATTERN})
    given = source.with_facts({"pixel_size_um": {"y": 5, "x": PIXEL_UM}, "channel_names": ["a", "b"]})
    assert given.streams[0].scale["y"] == 5
    assert "y" not in given.streams[0].origin  # where the first pixel lies was told in the other size
    assert given.streams[0].channels == (Channel("a", wavelength_nm=452.0), Channel("b", wavelength_nm=536.0))


def test_of_very_many_planes_the_first_along_each_axis_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = planes.open(write_plate(tmp_path, times=3), {"pattern": PATTERN})
    monkeypatch.setattr(sys.modules[type(planes).__module__], "CHECKED_FILES", 6)
    some = planes.open(tmp_path, {"pattern": PATTERN})
    assert some.facts == whole.facts
    assert [(s.scale, s.origin, s.channels) for s in some.streams] == [
        (s.scale, s.origin, s.channels) for s in whole.streams
    ]


DEPTHS: dict[str, tuple[tuple[float, ...], float | None]] = {
    "even": ((0.0, 1.0, 2.0, 3.0), 1.0), "as read from a drive": ((0.0, 0.31, 0.6, 0.9), 0.3),
    "from above": ((6.0, 4.0, 2.0), 2.0), "one step is double": ((0.0, 1.0, 3.0), None),
    "all alike": ((1.0, 1.0), None),
}  # fmt: skip


@pytest.mark.parametrize(("depths", "step"), DEPTHS.values(), ids=DEPTHS)
def test_the_distance_of_planes(depths: tuple[float, ...], step: float | None, tmp_path: Path) -> None:
    source = planes.open(write_plate(tmp_path, depths=depths, times=1), {"pattern": PATTERN})
    assert source.streams[0].scale.get("z") == step
    assert [n.key for n in source.needs] == ([] if step else ["pixel_size_um.z"])


def test_a_focus_that_only_the_drive_states(tmp_path: Path) -> None:
    for z in range(3):
        text = describe(z_position=0.0, custom={"ImageXpress Micro Z": 900 + 1.5 * z})
        write_plane(tmp_path / f"brain_z{z}.tif", ZEROS, text)
    source = planes.open(tmp_path)
    assert source.streams[0].scale == {"z": 1.5, "y": PIXEL_UM, "x": PIXEL_UM}
    assert not source.needs
    assert [c.name for c in source.streams[0].channels] == ["DAPI"]


def test_times_that_are_not_regular_are_none(tmp_path: Path) -> None:
    for t, at in enumerate(("37.100", "38.100", "41.100")):
        write_plane(tmp_path / f"a_t{t}.tif", ZEROS, describe(acquisition_time_local=f"20240422 09:57:{at}"))
    source = planes.open(tmp_path)
    assert source.streams[0].axes == ("t", "y", "x")
    assert "time_increment_s" not in source.facts
    assert source.facts["session_start_time"] == datetime(2024, 4, 22, 9, 57, 37, 100000)


def test_facts_are_those_on_which_all_images_agree(tmp_path: Path) -> None:
    for field, (lens, later) in enumerate((("4X Plan Apo", "39"), ("10X Plan Fluor", "40"))):
        for t, second in enumerate(("37", later)):
            text = describe(_MagSetting_=lens, acquisition_time_local=f"20240422 09:57:{second}.000")
            write_plane(tmp_path / f"f{field}_t{t}.tif", ZEROS, text)
    source = planes.open(tmp_path, {"pattern": "f{field}_t{t}.tif"})
    assert [s.scale["t"] for s in source.streams] == [2.0, 3.0]
    assert set(source.facts) == {"pixel_size_um", "software", "session_start_time", "channel_names"}


def test_pixel_sizes_that_contradict_each_other_are_asked_for(tmp_path: Path) -> None:
    write_plate(tmp_path)
    path = only(tmp_path, "TimePoint_2/ZStep_1/plate_B03_s2_w2*.tif")
    write_plane(path, ZEROS, describe(spatial_calibration_x=5.0))
    source = planes.open(tmp_path, {"pattern": PATTERN})
    (problem,) = source.problems
    assert "B03_2: Files of one image state different pixel sizes along x (2.5 in plate_B03_s2_w1" in problem
    assert f"5 in {path.name} um)" in problem
    assert [n.key for n in source.needs] == ["pixel_size_um.x"]
    assert [sorted(s.origin) for s in source.streams] == [["x", "y"], ["y"]]


NAMES: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "illumination": ([{"_IllumSetting_": "DAPI"}, {"_IllumSetting_": "Cy5"}], ["DAPI", "Cy5"]),
    "one illumination twice": ([{"image_name": "short"}, {"image_name": "long"}], ["short", "long"]),
    "no illumination": (
        [{"_IllumSetting_": None, "image_name": "a"}, {"_IllumSetting_": None, "image_name": "b"}], ["a", "b"],
    ),
    "nothing that tells them apart": ([{}, {}], ["channel 1", "channel 2"]),
    "one of them only": (
        [{"_IllumSetting_": None, "image_name": None}, {"_IllumSetting_": "Cy5"}], ["channel 1", "Cy5"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("texts", "names"), NAMES.values(), ids=NAMES)
def test_the_names_of_channels(texts: list[dict[str, Any]], names: list[str], tmp_path: Path) -> None:
    for i, text in enumerate(texts, start=1):
        write_plane(tmp_path / f"a_w{i}_t1.tif", ZEROS, describe(**text))
    source = planes.open(tmp_path, {"pattern": "a_w{channel}_t{t}.tif"})
    assert [c.name for c in source.streams[0].channels] == names
    assert source.facts["channel_names"] == tuple(names)


def test_metamorph_on_another_stage_states_no_place_and_no_emission() -> None:
    found = stated(describe())
    assert found.scale == {"y": PIXEL_UM, "x": PIXEL_UM}
    assert not found.stage
    assert found.channel == Channel("DAPI")


@pytest.mark.parametrize(
    "more",
    [
        {"stage_label": "C07 : Site 1"}, {"custom": {"ImageXpress Micro X": 1.0}},
        {"root": {"Description": "Software Version: MetaXpress 6.7.2.290"}},
    ],
    ids=["label", "instrument", "program"],
)  # fmt: skip
def test_metaxpress_does(more: dict[str, Any]) -> None:
    found = stated(describe(**more))
    assert found.stage == {"x": 4500.0, "y": 1100.5, "z": 9319.72}
    assert found.channel == Channel("DAPI", wavelength_nm=452.0)


SCALES: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "microns": ({"spatial_calibration_units": "microns"}, {"y": 2.5, "x": 2.5}),
    "millimetres": ({"spatial_calibration_units": "mm"}, {"y": 2500.0, "x": 2500.0}),
    "pixels": ({"spatial_calibration_units": "pixel"}, {}), "no unit": ({"spatial_calibration_units": None}, {}),
    "off": ({"spatial_calibration_state": "off"}, {}), "zero": ({"spatial_calibration_x": 0.0}, {"y": 2.5}),
    "no number": ({"spatial_calibration_y": "2,5"}, {"x": 2.5}), "nan": ({"spatial_calibration_x": "nan"}, {"y": 2.5}),
}  # fmt: skip


@pytest.mark.parametrize(("plane", "scale"), SCALES.values(), ids=SCALES)
def test_calibrations(plane: dict[str, Any], scale: dict[str, float]) -> None:
    assert stated(describe(**plane)).scale == scale


EXPOSURES: dict[str, tuple[dict[str, Any], float | None]] = {
    "custom": ({"custom": {"Exposure Time": "80 ms"}}, 0.08),
    "description": ({"root": {"Description": "Gain: 2\r\nExposure: 1.5 sec\r\nBinning: 2 x 2"}}, 1.5),
    "typed": ({"root": {"Description": "10 min after the drug\r\nExposure: 20 ms"}}, 0.02),
    "none": ({"root": {"Description": "10 min after the drug"}}, None),
    "no unit": ({"custom": {"Exposure Time": "80"}}, None),
    "no number": ({"custom": {"Exposure Time": "... ms"}}, None),
}  # fmt: skip


@pytest.mark.parametrize(("plane", "seconds"), EXPOSURES.values(), ids=EXPOSURES)
def test_exposures(plane: dict[str, Any], seconds: float | None) -> None:
    assert stated(describe(**plane)).exposure_s == seconds


TIMES: dict[str, datetime | None] = {
    "20240422 09:57:43.859": datetime(2024, 4, 22, 9, 57, 43, 859000),
    "20101121 16:52:53.50": datetime(2010, 11, 21, 16, 52, 53, 50000),
    "20240422 9:57:43": datetime(2024, 4, 22, 9, 57, 43),
    "06212007 3:32:45.123": None, "19700101 00:00:00.000": None, "20240422 25:00:00": None, "soon": None,
}  # fmt: skip


@pytest.mark.parametrize(("text", "moment"), TIMES.items(), ids=TIMES)
def test_times(text: str, moment: datetime | None) -> None:
    assert stated(describe(acquisition_time_local=text)).acquired == moment


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY a{i} "&a{i - 1 or ""};&a{i - 1 or ""};">' for i in range(1, 40)
)
JUNK: dict[str, str] = {
    "nothing": "", "other XML": "<OME></OME>", "begins like it": "<MetaDatabase/>", "cut off": describe()[:500],
    "entities": describe().replace("<PlaneInfo>", f"{BOMB}]><PlaneInfo>"), "entity": describe(image_name="a") + "&b;",
    "very long": describe(image_name="a" * 2**22), "two roots": describe() * 2,
}  # fmt: skip


@pytest.mark.parametrize("text", JUNK.values(), ids=JUNK)
def test_junk_states_nothing(text: str) -> None:
    assert metamorph(page(text)) is None


def test_characters_that_are_none_in_xml_do_no_harm() -> None:
    text = describe(root={"Description": "100 µm, typed \x01 by hand"})
    assert stated(text).scale == {"y": PIXEL_UM, "x": PIXEL_UM}


@given(st.text(), st.sampled_from(["stage_position_x", "wavelength", "_MagNA_", "acquisition_time_local", "custom"]))
@settings(max_examples=60, deadline=None)
def test_no_value_raises(text: str, key: str) -> None:
    values: dict[str, Any] = {key: {"Exposure Time": text} if key == "custom" else text}
    metamorph(page(describe(**values)))
    metamorph(page(f"<MetaData>{text}</MetaData>"))


def test_planes_with_junk_ask_for_the_pixel_size(tmp_path: Path) -> None:
    for z in range(3):
        write_plane(tmp_path / f"a_z{z}.tif", ZEROS, describe()[:500])
    assert [n.key for n in planes.open(tmp_path).needs] == [f"pixel_size_um.{a}" for a in "zyx"]


def test_a_single_plane_is_an_image_of_its_own(tmp_path: Path) -> None:
    text = describe(stage_label="C07 : Site 1", custom={"Exposure Time": "80 ms"})
    path = write_plane(tmp_path / "brain.tif", ZEROS, text)
    assert single.identify(path)
    source = single.open(path)
    known = said(path)
    assert not source.needs
    assert source.streams[0].scale == {a: known[f"spatial-calibration-{a}"] for a in "yx"}
    assert [c.name for c in source.streams[0].channels] == [known["_IllumSetting_"]]
    assert source.facts == {
        "pixel_size_um": {"y": PIXEL_UM, "x": PIXEL_UM}, "channel_names": ("DAPI",), "exposure_time_s": (0.08,),
        "objective": "4X Plan Apo, NA 0.2", "software": "MetaMorph 7.8.0.0",
        "session_start_time": known["acquisition-time-local"],
        "stage_position_um": {"brain": {"x": 4500.0, "y": 1100.5, "z": 9319.72}},
    }  # fmt: skip


def test_pages_of_one_file_share_the_pixel_size(tmp_path: Path) -> None:
    path = write_plane(tmp_path / "stack.tif", np.zeros((3, *SIZE), np.uint16), describe())
    source = single.open(path)
    assert [n.key for n in source.needs] == ["axes", "pixel_size_um.z"]
    stack = source.with_facts({"axes": "zyx", "pixel_size_um": {"z": 2}}).streams[0]
    assert stack.scale == {"z": 2.0, "y": PIXEL_UM, "x": PIXEL_UM}
    assert set(source.facts) == {"pixel_size_um", "objective", "software", "session_start_time"}


def test_pages_of_other_sizes_are_images_without_a_channel(tmp_path: Path) -> None:
    path = tmp_path / "several.tif"
    with tifffile.TiffWriter(path) as file:
        for shape in (SIZE, (8, 8)):
            file.write(np.zeros(shape, np.uint16), description=describe(), software="MetaSeries", metadata=None)
    source = single.open(path)
    assert [(s.shape, s.channels, s.scale) for s in source.streams] == [
        (SIZE, (), {"y": PIXEL_UM, "x": PIXEL_UM}), ((8, 8), (), {}),
    ]  # fmt: skip
    assert [n.key for n in source.needs] == ["pixel_size_um.y", "pixel_size_um.x"]


@given(st.permutations("tcz"), st.tuples(*[st.integers(1, 4)] * 3))
def test_lines_are_those_of_numpy(axes: list[str], lengths: tuple[int, ...]) -> None:
    numbers = np.arange(np.prod(lengths)).reshape(lengths)
    for i, axis in enumerate(axes):
        at = tuple(slice(None) if k == i else 0 for k in range(3))
        assert list(line("".join(axes), lengths, axis)) == numbers[at].tolist()
    assert list(line("cz", (2, 3), "t")) == [0]
