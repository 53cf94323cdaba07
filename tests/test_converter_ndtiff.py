"""NDTiff: values as tifffile reads them, what is stated and nothing else, and damage that is heard."""

from __future__ import annotations

import pickle
import random
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource, DandifyError
from dandify.project.scan import scan
from dandify.runs.convert import convert
from dandify.sources import Channel, Source, Stream
from dandify.sources.registry import by_name, claims
from ndtiff_maker import SUMMARY, grid, pixels, write_ndtiff, write_stitched
from ngff_reference import levels
from shared_data import shared

converter = by_name("ndtiff")
CHANNELS = ["DAPI", "FITC"]
MDA = grid(time=3, channel=CHANNELS, z=4)


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def only(path: Path, **options: Any) -> Stream:
    (stream,) = converter.open(path, options).streams
    return stream


def theirs(folder: Path) -> list[tuple[Mapping[str, int | str], NDArray[Any]]]:
    """Axes and values of every image, as tifffile reads them."""
    pages: dict[tuple[str, int], NDArray[Any]] = {}
    for file in folder.glob("*.tif"):
        with tifffile.TiffFile(file) as tif:
            assert tif.is_ndtiff
            pages |= {(file.name, page.dataoffsets[0]): page.asarray() for page in tif.pages}
    index = tifffile.tifffile.read_ndtiff_index(folder / "NDTiff.index")
    return [(axes, pages[file, offset]) for axes, file, offset, *_ in index]


def equal_to_theirs(source: Source, folder: Path, apart: tuple[str, ...] = ()) -> int:
    """Compare all planes with those of tifffile."""
    streams = {s.name: (s, whole(s)) for s in source.streams}
    images = theirs(folder)
    channels: dict[str, list[Any]] = {}
    for axes, _ in images:
        name = " ".join(f"{a} {axes[a]}" for a in apart) or source.path.name
        seen = channels.setdefault(name, [])
        if "channel" in axes and axes["channel"] not in seen:
            seen.append(axes["channel"])
    for axes, values in images:
        name = " ".join(f"{a} {axes[a]}" for a in apart) or source.path.name
        stream, ours = streams[name]
        at = {"t": axes.get("time"), "z": axes.get("z")}
        at["c"] = channels[name].index(axes["channel"]) if "channel" in axes else None
        plane: NDArray[Any] = ours[tuple(int(at[a] or 0) for a in stream.axes if a in "tcz")]
        np.testing.assert_array_equal(plane, values)
        assert plane.dtype == values.dtype
    assert sum(int(np.prod(s.shape[:-2])) for s, _ in streams.values()) == len(images)
    return len(images)


LAID: dict[str, tuple[list[dict[str, int | str]], dict[str, Any]]] = {
    "tczyx": (MDA, {}),
    "in several stacks": (MDA, {"most": 7}),
    "in another order": (MDA[::-1], {}),
    "one image": ([{}], {}),
    "bytes": (grid(time=3), {"kind": 0}),
    "12 bits": (grid(z=3), {"kind": 4}),
    "numbers of channels": (grid(channel=3), {}),
    "version 2.0": (MDA, {"version": (2,)}),
    "version 2.1": (MDA, {"version": (2, 1)}),
    "without a prefix": (MDA, {"name": ""}),
}


@pytest.mark.parametrize(("images", "how"), LAID.values(), ids=LAID)
def test_values_are_those_of_tifffile(tmp_path: Path, images: list[dict[str, int | str]], how: dict[str, Any]) -> None:
    path = write_ndtiff(tmp_path / "brain", images, **how)
    assert converter.identify(path)
    assert equal_to_theirs(converter.open(path), path) == len(images)


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_regions_are_slices(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "brain"
    if not path.exists():
        write_ndtiff(path, MDA, most=9)
    stream = only(path)
    expected = np.stack([pixels(axes) for axes in MDA]).reshape(3, 2, 4, 12, 16)
    region = []
    for n in stream.shape:
        start = data.draw(st.integers(0, n))
        region.append(slice(start, data.draw(st.integers(start, n))))
    assert stream.array is not None
    np.testing.assert_array_equal(stream.array[tuple(region)], expected[tuple(region)])


def test_threads_read_the_same(tmp_path: Path) -> None:
    stream = only(write_ndtiff(tmp_path / "brain", MDA, most=5))
    array = pickle.loads(pickle.dumps(stream.array))
    with ThreadPoolExecutor(8) as pool:
        planes = list(pool.map(lambda t: array[t : t + 1], [0, 1, 2] * 20))
    for i, plane in enumerate(planes):
        np.testing.assert_array_equal(plane[0], whole(stream)[i % 3])


def test_what_the_metadata_state(tmp_path: Path) -> None:
    source = converter.open(write_ndtiff(tmp_path / "brain", MDA))
    (stream,) = source.streams
    assert stream.axes == ("t", "c", "z", "y", "x")
    assert stream.scale == {"t": 0.25, "z": 0.4, "y": 0.5, "x": 0.5}
    assert stream.origin == {}
    assert stream.channels == (Channel("DAPI", color="0033FF"), Channel("FITC"))
    assert source.facts == {
        "session_start_time": datetime(2022, 12, 28, 17, 4, 23),
        "pixel_size_um": {"z": 0.4, "y": 0.5, "x": 0.5},
        "time_increment_s": 0.25,
        "channel_names": ("DAPI", "FITC"),
        "exposure_time_s": (0.01, 0.02),
        "objective": "Nikon 10X S Fluor",
        "stage_position_um": {"brain": {"x": 0.0, "y": -40.0, "z": 3.0}},
    }
    assert not source.needs
    assert not source.problems


def test_bits_that_are_used_are_told(tmp_path: Path) -> None:
    assert only(write_ndtiff(tmp_path / "a", [{}], kind=4)).description == "values of 12 bits"
    assert only(write_ndtiff(tmp_path / "b", [{}], kind=1)).description is None


def test_a_size_of_0_is_asked_for(tmp_path: Path) -> None:
    none = {"PixelSizeUm": 0, "ZPosition_um_Intended": None, "ElapsedTime-ms": None}
    path = write_ndtiff(tmp_path / "brain", MDA, plane=none, summary={**SUMMARY, "PixelSize_um": 0})
    source = converter.open(path)
    assert source.streams[0].scale == {}
    assert [n.key for n in source.needs] == ["pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]
    path = write_ndtiff(tmp_path / "step", MDA, plane=none, summary={**SUMMARY, "z-step_um": 2})
    assert only(path).scale == {"z": 2.0, "y": 0.5, "x": 0.5}


def test_what_the_summary_of_micro_manager_states(tmp_path: Path) -> None:
    told = {
        "StartTime": "2022-12-28 17:04:23.500 +0100", "MicroManagerVersion": "2.0.1", "ChNames": ["GFP", "Default"]
    }  # fmt: skip
    source = converter.open(write_ndtiff(tmp_path / "a", grid(channel=2), summary={**SUMMARY, **told}))
    assert [c.name for c in source.streams[0].channels] == ["GFP", ""]
    assert source.facts["software"] == "Micro-Manager 2.0.1"
    assert source.facts["session_start_time"].isoformat() == "2022-12-28T17:04:23.500000+01:00"


def test_numbers_of_channels_are_named_by_the_planes(tmp_path: Path) -> None:
    (stream,) = converter.open(write_ndtiff(tmp_path / "a", grid(channel=2), plane={"Channel": "Cy5"})).streams
    assert [c.name for c in stream.channels] == ["Cy5", "Cy5"]


def test_pixel_sizes_that_differ_are_not_taken(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", grid(channel=CHANNELS))
    edited(STACK, b'"PixelSizeUm": 0.5', b'"PixelSizeUm": 0.4')(path)
    source = converter.open(path)
    assert source.streams[0].scale == {}
    assert "different pixel sizes (0.4, 0.5 um)" in source.problems[0]
    assert [n.key for n in source.needs] == ["pixel_size_um.y", "pixel_size_um.x"]


def test_positions_are_images_where_the_stage_was(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "brain", grid(time=2, position=3))
    source = converter.open(path)
    assert equal_to_theirs(source, path, ("position",)) == 6
    assert [s.name for s in source.streams] == ["position 0", "position 1", "position 2"]
    assert [dict(s.origin) for s in source.streams] == [  # of the first pixel; the stage tells the middle
        {"x": 100.0 * i - 7.5 * 0.5, "y": -40 - 5.5 * 0.5} for i in range(3)
    ]
    assert source.facts["stage_position_um"]["position 2"] == {"x": 200.0, "y": -40.0, "z": 3.0}


@pytest.mark.parametrize("affine", ["0.0;0.5;0.0;0.5;0.0;0.0", "-0.5;0.0;0.0;0.0;0.5;0.0", None, "Undefined"])
def test_a_stage_along_other_axes_gives_no_place(tmp_path: Path, affine: str | None) -> None:
    source = converter.open(write_ndtiff(tmp_path / "a", grid(position=2), plane={"PixelSizeAffine": affine}))
    assert [dict(s.origin) for s in source.streams] == [{}, {}]
    assert source.facts["stage_position_um"]["position 1"]["x"] == 100.0


def test_tiles_lie_on_their_grid(tmp_path: Path) -> None:
    images = [a for a in grid(row=2, column=[-1, 0, 1], channel=CHANNELS) if (a["row"], a["column"]) != (0, 1)]
    path = write_stitched(tmp_path / "explored", images)
    source = converter.open(path)
    assert equal_to_theirs(source, path / "Full resolution", ("row", "column")) == 10
    places = {s.name: dict(s.origin) for s in source.streams}
    assert places == {
        f"row {r} column {c}": {"y": r * (12 - 4) * 0.5, "x": c * (16 - 4) * 0.5}
        for r in range(2) for c in (-1, 0, 1) if (r, c) != (0, 1)
    }  # fmt: skip
    assert sorted(f.relative_to(path).as_posix() for f in source.files) == [
        "Downsampled_x2/NDTiff.index", "Downsampled_x2/explored_NDTiffStack.tif", "Full resolution/NDTiff.index",
        "Full resolution/explored_NDTiffStack.tif", "display_settings.txt",
    ]  # fmt: skip


def test_tiles_without_a_stated_overlap_lie_where_the_stage_was(tmp_path: Path) -> None:
    tiles = grid(row=1, column=2)
    (first, _) = converter.open(write_stitched(tmp_path / "a", tiles, overlap=None)).streams
    assert first.origin == {"x": -3.75, "y": -42.75}
    none = {"XPosition_um_Intended": None, "YPosition_um_Intended": None}
    (first, _) = converter.open(write_stitched(tmp_path / "b", tiles, overlap=None, plane=none)).streams
    assert first.origin == {}


NAMES: dict[str, tuple[list[dict[str, int | str]], list[str]]] = {
    "own axes": (grid(angle=[90, 180], polarization=["s", "p"]), [
        f"angle {a} polarization {p}" for a in (90, 180) for p in "ps"
    ]),
    "by number": (grid(position=[10, 9]), ["position 9", "position 10"]),
    "an axis of one value": (grid(position=[4], angle=[1]), ["brain"]),
    "the focus drive": (grid(Z=3, TertiaryZ=1), ["brain"]),
    "without z": ([*grid(channel=["DAPI"], z=3), {"channel": "FITC"}], ["brain", "without z"]),
    "alike": ([{"position": 1}, {"position": "1"}], ["position 1 16x12 uint16", "position 1 16x12 uint16 2"]),
}  # fmt: skip


@pytest.mark.parametrize(("images", "names"), NAMES.values(), ids=NAMES)
def test_images_and_their_names(tmp_path: Path, images: list[dict[str, int | str]], names: list[str]) -> None:
    source = converter.open(write_ndtiff(tmp_path / "brain", images))
    assert [s.name for s in source.streams] == names
    assert sum(int(np.prod(s.shape[:-2])) for s in source.streams) == len(images)


def test_explored_depths_are_z(tmp_path: Path) -> None:
    stream = only(write_ndtiff(tmp_path / "a", grid(Z=[-1, 0, 1]), summary={**SUMMARY, "z-step_um": 2}))
    assert (stream.axes, stream.scale["z"]) == (("z", "y", "x"), 2.0)
    np.testing.assert_array_equal(whole(stream)[0], pixels({"Z": -1}))


def test_channels_of_another_type_are_an_image(tmp_path: Path) -> None:
    source = converter.open(write_ndtiff(tmp_path / "a", grid(time=2, channel=CHANNELS), kinds={"FITC": 0}))
    assert [(s.name, s.shape) for s in source.streams] == [
        ("a 16x12 uint16", (2, 12, 16)), ("a 16x12 uint8", (2, 12, 16))
    ]  # fmt: skip
    assert [[c.name for c in s.channels] for s in source.streams] == [["DAPI"], ["FITC"]]


def test_colours_of_pixels(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", grid(time=2), kind=2)
    stream = only(path)
    assert (stream.axes, [c.name for c in stream.channels]) == (("t", "c", "y", "x"), ["red", "green", "blue"])
    np.testing.assert_array_equal(whole(stream), np.stack([np.moveaxis(v, -1, 0) for _, v in theirs(path)]))


def test_missing_images_are_refused_or_filled(tmp_path: Path) -> None:
    gone = [{"time": 1, "channel": "FITC", "z": z} for z in (2, 3)]
    path = write_ndtiff(tmp_path / "a", [a for a in MDA if a not in gone])
    with pytest.raises(BadSource, match="no image of time 1, channel FITC, z 2; time 1, channel FITC, z 3") as caught:
        converter.open(path)
    assert caught.value.file == str(path / "NDTiff.index")
    assert "--missing fill" in str(caught.value)
    source = converter.open(path, {"missing": "fill"})
    (stream,) = source.streams
    assert stream.filled == ({"t": 1, "c": 1, "z": 2}, {"t": 1, "c": 1, "z": 3})
    assert "2 plane(s) are in no file and become 0" in source.problems[0]
    expected = np.stack([pixels(a) * (a not in gone) for a in MDA]).reshape(stream.shape)
    np.testing.assert_array_equal(whole(stream), expected)


def test_a_gap_that_no_image_fills_is_missing(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", grid(time=[0, 2]))
    with pytest.raises(BadSource, match="has no image of time 1"):
        converter.open(path)
    assert only(path, missing="fill").shape == (3, 12, 16)
    path = write_ndtiff(tmp_path / "b", grid(time=[0, 2**30]))
    with pytest.raises(BadSource, match="images of time 0 to 1073741824"):
        converter.open(path, {"missing": "fill"})
    path = write_ndtiff(tmp_path / "c", grid(time=[0, 2**31]))  # more than the writer can count
    with pytest.raises(BadSource, match="is damaged: axes"):
        converter.open(path)


def test_an_image_that_was_written_twice_is_the_later_one(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", grid(time=2))
    index = path / "NDTiff.index"
    index.write_bytes(index.read_bytes().replace(b'{"time":1}', b'{"time":0}'))
    source = converter.open(path)
    np.testing.assert_array_equal(whole(source.streams[0]), pixels({"time": 1}))
    assert source.problems == ("NDTiff.index has 1 images twice; the later one counts.",)


def test_an_acquisition_that_was_not_ended(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", grid(time=2))
    with (path / "NDTiff.index").open("ab") as file:
        file.write(bytes(4096))
    source = converter.open(path)
    assert source.streams[0].shape == (2, 12, 16)
    assert "ends in zeros" in source.problems[0]


def edited(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        content = (path / name).read_bytes()
        assert old in content
        (path / name).write_bytes(content.replace(old, new, 1))

    return edit


def cut(name: str, keep: int) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        (path / name).write_bytes((path / name).read_bytes()[:keep])

    return edit


INDEX, STACK = "NDTiff.index", "a_NDTiffStack.tif"
SIZE = struct.pack("<2I", 16, 12)
DAMAGED: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    "cut index": (cut(INDEX, -5), INDEX, "ends within an entry", "image 2, byte 67"),
    "cut axes": (cut(INDEX, 75), INDEX, "ends within an entry", "image 2, byte 67"),
    "empty index": (cut(INDEX, 0), INDEX, "has no image", "byte 0"),
    "damaged axes": (edited(INDEX, b'{"time":1}', b'{"time"?1}'), INDEX, "damaged", "image 2, byte 67"),
    "a list": (edited(INDEX, b'{"time":1}', b'["time",1]'), INDEX, "axes", "image 2, byte 67"),
    "a float": (edited(INDEX, b'{"time":1}', b'{"tim":.1}'), INDEX, "damaged", "image 2, byte 67"),
    "a path": (edited(INDEX, b"a_NDTiffStack", b"../TiffStack."), INDEX, "the name", "image 1, byte 0"),
    "pixel type": (edited(INDEX, SIZE + b"\1", SIZE + b"\x09"), INDEX, "type 9", "image 1, byte 0"),
    "packed": (edited(INDEX, SIZE + b"\1" + bytes(4), SIZE + b"\1\0\0\0\1"), INDEX, "compression 1", "image 1, byte 0"),
    "no width": (edited(INDEX, SIZE, struct.pack("<2I", 0, 12)), INDEX, "0 x 12", "image 1, byte 0"),
    "a larger image": (edited(INDEX, SIZE, struct.pack("<2I", 16, 12000)), STACK, "is cut off", "time 0"),
    "no stack": (lambda p: (p / STACK).unlink(), STACK, "is missing", "named by NDTiff.index"),
    "cut stack": (cut(STACK, -1), STACK, "is cut off", "time 1"),
    "short stack": (cut(STACK, 20), STACK, "does not begin", "byte 0"),
    "another TIFF": (edited(STACK, struct.pack("<I", 483729), bytes(4)), STACK, "does not begin", "byte 0"),
    "no summary": (edited(STACK, struct.pack("<I", 2355492), bytes(4)), STACK, "no summary", "byte 16"),
    "summary": (edited(STACK, b'{"TiledImage', b'("TiledImage'), STACK, "damaged metadata", "summary metadata"),
    "metadata": (edited(STACK, b'{"PixelSizeUm"', b'("PixelSizeUm"'), STACK, "damaged metadata", "metadata of time 0"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "name", "cause", "place"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_named(tmp_path: Path, damage: Callable[[Path], None], name: str, cause: str, place: str) -> None:
    path = write_ndtiff(tmp_path / "a", grid(time=2))
    damage(path)
    with pytest.raises(BadSource, match=cause) as caught:
        converter.open(path)
    assert (caught.value.file, caught.value.place) == (str(path / name), place)
    assert caught.value.remedy


def test_bytes_that_are_changed_raise_nothing_else(tmp_path: Path) -> None:
    chance = random.Random(4)
    path = write_ndtiff(tmp_path / "a", grid(time=2, channel=CHANNELS), plane={"Channel": None})
    files = {name: (path / name).read_bytes() for name in ("NDTiff.index", STACK, "display_settings.txt")}
    told: list[Path] = []
    for _ in range(300):
        name = chance.choice(list(files))
        changed = bytearray(files[name])
        at = chance.randrange(len(changed))
        changed[at] = chance.choice([0, 255, changed[at] ^ 1 << chance.randrange(8)])
        (path / name).write_bytes(changed)
        converter.identify(path)
        try:
            for stream in converter.open(path).streams:
                if stream.nbytes < 10**6:
                    whole(stream)
        except DandifyError as error:
            told.append(Path(error.file or "").parent)
        (path / name).write_bytes(files[name])
    assert set(told) == {path}
    assert 30 < len(told) < 300


def test_a_file_that_was_cut_meanwhile(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", grid(time=2))
    stream = only(path)
    cut(STACK, 1000)(path)
    with pytest.raises(BadSource, match="cannot be read") as caught:
        whole(stream)
    assert caught.value.file == str(path / STACK)


def test_each_file_names_the_data_set(tmp_path: Path) -> None:
    path = write_stitched(tmp_path / "explored", grid(row=2, column=2))
    (path / "notes.txt").write_text("by hand")
    for file in path.rglob("*.*"):
        assert converter.claim(file) == (None if file.name == "notes.txt" else path)
    assert [c.converter.name for c in claims(path / "Full resolution" / "explored_NDTiffStack.tif")] == ["ndtiff"]
    alone = path / "Downsampled_x2"
    (path / "Full resolution").rename(tmp_path / "elsewhere")
    assert converter.claim(alone / "NDTiff.index") == alone
    assert "smaller version" in converter.identify(alone).reason
    (tmp_path / "NDTiff.index").write_bytes(b"no index at all")
    assert not converter.identify(tmp_path)


def test_an_index_without_images_is_told(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", grid(time=2))
    cut(INDEX, 0)(path)
    assert converter.identify(path).reason == "NDTiff.index is empty"
    (path / INDEX).write_bytes(bytes(4096))
    (broken,) = scan(tmp_path).broken
    assert (broken.format, broken.error.file, broken.error.cause) == ("ndtiff", str(path / INDEX), "has no image")


def test_a_stack_without_its_index_is_told(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", grid(time=2))
    (path / "NDTiff.index").unlink()
    assert converter.claim(path / STACK) is None
    assert "by the NDTiff.index beside it" in by_name("ome_tiff").identify(path / STACK).reason


def test_options_are_refused(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", [{}])
    with pytest.raises(BadRequest, match="level"):
        converter.open(path, {"level": 2})
    with pytest.raises(BadRequest, match="missing"):
        converter.open(path, {"missing": "maybe"})


def test_colours_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", MDA)
    (path / "display_settings.txt").write_text("{", encoding="utf-8")
    source = converter.open(path)
    assert source.streams[0].channels == (Channel("DAPI"), Channel("FITC"))
    assert "have no colours" in source.problems[0]


def test_few_planes_are_asked_for_their_metadata(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "a", grid(time=450), shape=(2, 3))
    content = (path / STACK).read_bytes()
    (path / STACK).write_bytes(content.replace(b'"time": 1}', b'"time": 1?'))  # of the planes that are not read
    assert only(path).scale["t"] == 0.25


def test_images_become_ome_zarr(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path / "raw" / "brain", grid(position=2, channel=CHANNELS, z=3))
    report = scan(tmp_path / "raw")
    assert not report.unknown
    (unit,) = report.sources
    assert unit.path == path
    (session,) = convert(
        path, out=tmp_path / "out", subject_id="m1", session_id="s1", species="Mus musculus", sex="F", age="P60D"
    ).sessions
    assert len(session.written) == 2
    for position, written in enumerate(session.written):
        values = [pixels(a) for a in grid(position=[position], channel=CHANNELS, z=3)]
        np.testing.assert_array_equal(levels(written.path)[0], np.stack(values).reshape(2, 3, 12, 16))


REAL: dict[str, tuple[str, tuple[str, ...], int]] = {
    "2.0 stitched": ("v2/ndtiffv2.0_stitched_test", ("row", "column"), 2),
    "12 bits": ("v3/12_bit_pycromanager_mda", (), 8),
    "channels": ("v3/ndtiff3.2_multichannel", (), 256),
    "explored": ("v3/no_magellan_explore_multi_channel", ("row", "column"), 20),
}


@pytest.mark.parametrize(("name", "apart", "planes"), REAL.values(), ids=REAL)
def test_real_data_sets_are_as_tifffile_reads_them(name: str, apart: tuple[str, ...], planes: int) -> None:
    path = shared(f"microscopy/ndtiff/{name}")
    folder = path / "Full resolution" if apart else path
    source = pickle.loads(pickle.dumps(converter.open(path)))
    assert equal_to_theirs(source, folder, apart) == planes
    with tifffile.TiffFile(next(folder.glob("*.tif"))) as tif:
        assert tif.micromanager_metadata is not None
        summary = tif.micromanager_metadata["Summary"]
    assert source.facts["pixel_size_um"]["x"] == summary["PixelSize_um"]
    assert f"{source.facts['session_start_time']:%Y/%m/%d %H:%M:%S}" == summary["DateAndTime"]


def test_what_real_data_sets_state() -> None:
    root = shared("microscopy/ndtiff")
    stitched, mda, deep, explored = (converter.open(root / name) for name, _, _ in REAL.values())
    assert {s.name: dict(s.origin) for s in stitched.streams} == {
        "row 0 column 0": {"y": 0.0, "x": 0.0}, "row 1 column 1": {"y": 28.0, "x": 28.0}
    }  # fmt: skip
    assert stitched.facts["stage_position_um"]["row 0 column 0"] == {"x": -28.0, "y": -28.0}
    assert (mda.streams[0].shape, mda.streams[0].description) == ((4, 2, 64, 64), "values of 12 bits")
    assert mda.facts["exposure_time_s"] == (0.01, 0.01)
    assert "time_increment_s" not in mda.facts  # 25, 25, 26 ms
    assert (deep.streams[0].shape, deep.streams[0].scale["z"]) == ((8, 2, 16, 64, 64), 0.4)
    assert [c.color for c in deep.streams[0].channels] == ["0033FF", "33FF33"]
    assert [(s.name, s.shape[0]) for s in explored.streams] == [
        ("row 3 column 4", 4), ("row 4 column 3", 2), ("row 4 column 5", 2), ("row 5 column 3", 4),
        ("row 5 column 5", 2), ("row 6 column 3", 2), ("row 6 column 5", 4),
    ]  # fmt: skip
