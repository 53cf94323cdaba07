"""Stacks of MetaMorph (STK): pixels and tags as tifffile reads them, what a stack is along, damage that is heard."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from dandify.errors import BadSource, DandifyError
from dandify.project.scan import scan
from dandify.sources import Stream
from dandify.sources.registry import by_name
from dandify.sources.tiff_header import read_header
from dandify.sources.vendors.metamorph_stk import Stk, read_stk
from stk_maker import SIZE, START, STRIP_ROWS, Stack, write_stk
from tiff_makers import pixels

converter, planes = by_name("ome_tiff"), by_name("planes")
BLIND = Stack(steps=(0.0,), depths=(), seconds=(0.0,))


def read(path: Path) -> Stk:
    found = read_stk(read_header(path))
    assert found is not None
    return found


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_values_and_tags_are_those_of_tifffile(dtype: str, tmp_path: Path) -> None:
    path = write_stk(tmp_path / "brain.stk", Stack(pixels((4, *SIZE), dtype), stages=(1200.5, 300.25)))
    with tifffile.TiffFile(path) as file:
        said, expected = file.stk_metadata, file.asarray()
        assert file.series[0].axes == "ZYX"
    assert said is not None
    assert SIZE[0] % STRIP_ROWS
    source = converter.open(path)
    (stream,) = source.streams
    np.testing.assert_array_equal(whole(stream), expected)
    assert stream.axes == ("z", "y", "x")
    assert stream.scale == {"z": said["ZDistance"][0], "y": said["YCalibration"], "x": said["XCalibration"]}
    assert read(path).acquired == tuple(d.astype("M8[ms]").astype(datetime) for d in said["DatetimeCreated"])
    assert read(path).steps == tuple(said["ZDistance"])
    assert said["AbsoluteZ"][2:].tolist() == list(read(path).depths[2:])
    assert not source.needs


def test_what_is_stated(tmp_path: Path) -> None:
    source = converter.open(write_stk(tmp_path / "brain.stk", Stack()))
    assert source.facts == {
        "pixel_size_um": {"z": 2.5, "y": 0.64, "x": 0.65}, "session_start_time": START, "software": "MetaMorph",
    }  # fmt: skip
    (session,) = scan(tmp_path).sessions
    assert [(s.format, s.path.name) for s in session.sources] == [("ome_tiff", "brain.stk")]


def test_a_stage_and_a_focus_below_zero_are_read(tmp_path: Path) -> None:
    assert read(write_stk(tmp_path / "a.stk", Stack())).depths == (-3.0, -0.5, 2.0, 4.5)


AXES: dict[str, tuple[Stack, str | None, dict[str, float]]] = {
    "distances": (Stack(), "z", {"z": 2.5}),
    "the first has none": (Stack(steps=(0.0, 2.5, 2.5, 2.5)), "z", {"z": 2.5}),
    "downwards": (Stack(steps=(-2.5,)), "z", {"z": 2.5}),
    "distances that differ": (Stack(steps=(2.5, 2.5, 5.0, 2.5)), "z", {}),
    "focus alone": (Stack(steps=(0.0,), seconds=(0.0,)), "z", {"z": 2.5}),
    "focus and times": (Stack(steps=(0.0,)), "z", {"z": 2.5}),
    "a focus that does not count": (Stack(steps=(0.0,), valid=False), "t", {"t": 0.1}),
    "a focus that stays": (Stack(steps=(0.0,), depths=(7.0,)), "t", {"t": 0.1}),
    "times": (Stack(steps=(0.0,), depths=()), "t", {"t": 0.1}),
    "times that differ": (Stack(steps=(0.0,), depths=(), seconds=(0.0, 0.1, 0.5, 0.6)), "t", {}),
    "nothing": (BLIND, None, {}),
}  # fmt: skip


@pytest.mark.parametrize(("stack", "axis", "step"), AXES.values(), ids=AXES)
def test_what_the_planes_are_along(stack: Stack, axis: str | None, step: dict[str, float], tmp_path: Path) -> None:
    source = converter.open(write_stk(tmp_path / "a.stk", stack))
    if axis is None:
        assert [n.key for n in source.needs] == ["axes", "pixel_size_um.z"]
        assert "4 pages" in source.needs[0].what
        source = source.with_facts({"axes": "zyx", "pixel_size_um": {"z": 1.0}})
        axis, step = "z", {"z": 1.0}
    (stream,) = source.streams
    assert stream.axes == (axis, "y", "x")
    assert stream.scale == {**step, "y": 0.64, "x": 0.65}
    np.testing.assert_array_equal(whole(stream), stack.values)


@pytest.mark.parametrize("calibration", [None, (1.0, 1.0, "pixel"), (0.0, 0.0, "um")], ids=["off", "pixels", "zero"])
def test_a_size_that_is_not_stated_is_asked_for(calibration: Any, tmp_path: Path) -> None:
    source = converter.open(write_stk(tmp_path / "a.stk", Stack(calibration=calibration)))
    assert [n.key for n in source.needs] == ["pixel_size_um.y", "pixel_size_um.x"]


def test_one_plane_is_an_image_and_several_files_a_series(tmp_path: Path) -> None:
    values = pixels((3, *SIZE))
    for i, plane in enumerate(values):
        stack = Stack(plane[None], seconds=(2.0 * i,), depths=(4.0 * i,))
        write_stk(tmp_path / "series" / f"b_z{i}.tif", stack)
    source = planes.open(tmp_path / "series")
    assert source.streams[0].scale == {"z": 4.0, "y": 0.64, "x": 0.65}
    assert not source.needs
    assert source.facts["session_start_time"] == START
    np.testing.assert_array_equal(whole(source.streams[0]), values)
    alone = write_stk(tmp_path / "alone.tif", Stack(values[:1]))
    assert converter.identify(alone)
    source = converter.open(alone)
    assert source.streams[0].axes == ("y", "x")
    assert source.facts["exposure_time_s"] == (0.04,)


def test_stacks_are_no_planes_of_a_series(tmp_path: Path) -> None:
    for i in range(3):
        write_stk(tmp_path / f"b_z{i}.tif", Stack())
    assert not planes.identify(tmp_path)
    assert [s.format for s in scan(tmp_path).sources] == ["ome_tiff"] * 3


def test_a_stack_that_is_cut_off_is_heard(tmp_path: Path) -> None:
    path = write_stk(tmp_path / "a.stk", Stack(stated=40))
    with pytest.raises(BadSource, match="is cut off: 40 planes end at byte") as caught:
        converter.open(path)
    assert caught.value.file == str(path)
    path = write_stk(tmp_path / "b.stk", Stack())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadSource, match="damaged or cut off"):
        converter.open(path)


def test_more_planes_than_there_can_be(tmp_path: Path) -> None:
    path = write_stk(tmp_path / "a.stk", Stack())
    content = bytearray(path.read_bytes())
    at = content.rindex((33629).to_bytes(2, "little")) + 4
    content[at : at + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    with pytest.raises(BadSource, match="said to have 2147483647 planes"):
        converter.open(path)


def test_unknown_arrays_of_planes_end_the_reading(tmp_path: Path) -> None:
    stack = Stack(extra=b"\x63\0" + bytes(7))
    assert read(write_stk(tmp_path / "a.stk", stack)).depths == Stack().depths


def test_changed_bytes_are_read_or_named(tmp_path: Path) -> None:
    chance, told = random.Random(3), set()
    path = write_stk(tmp_path / "a.stk", Stack())
    content = path.read_bytes()
    for _ in range(200):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 2, 4])):
            at = chance.randrange(4 * SIZE[0] * SIZE[1] * 2, len(changed))
            changed[at] = chance.choice([0, 255, changed[at] ^ 1 << chance.randrange(8)])
        path.write_bytes(changed)
        converter.identify(path)
        try:
            for stream in converter.open(path).streams:
                if stream.nbytes < 2**20:
                    whole(stream)
        except DandifyError as error:
            told.add(error.file)
    assert told == {str(path)}


def test_times_of_another_century(tmp_path: Path) -> None:
    late = replace(BLIND, seconds=(0.0, 86_400.0 * 365, 86_400.0 * 366, 86_400.0 * 367))
    found = read(write_stk(tmp_path / "a.stk", late)).acquired
    assert found == tuple(START + timedelta(seconds=s) for s in late.seconds)


def test_the_tags_of_prairieview_are_not_read(tmp_path: Path) -> None:
    path = write_stk(tmp_path / "scan.tif", Stack(pixels((1, *SIZE))))
    content = bytearray(path.read_bytes())
    at = content.rindex((33631).to_bytes(2, "little"))
    content[at : at + 2] = (33632).to_bytes(2, "little")
    path.write_bytes(content)
    assert read_stk(read_header(path)) is None
    assert converter.identify(path).reason == "is a plain TIFF"
    assert converter.open(path).streams[0].scale == {}
