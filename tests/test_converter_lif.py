"""Leica LIF: values as liffile reads them, what is stated and nothing else, and damage that is heard."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from liffile import LifFile
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.runs.convert import convert
from dandify.sources import Channel, Stream
from dandify.sources.registry import by_name
from lif_maker import EXTENTS, SETTINGS, Picture, write_lif
from ngff_reference import levels, metadata, scales
from shared_data import shared

converter = by_name("lif")

GREY = [{"LUTName": "Green"}, {"LUTName": "#FF8000"}, {"LUTName": "Gray"}]
COLOURS = [{"LUTName": n, "ChannelTag": t} for n, t in (("Red", "1"), ("Green", "2"), ("Blue", "3"))]

LAID: dict[str, Picture] = {
    "yx": Picture("a", "YX", (12, 16)),
    "czyx": Picture("a", "CZYX", (2, 3, 12, 16)),
    "tzcyx": Picture("a", "TZCYX", (2, 3, 2, 12, 16)),
    "bytes": Picture("a", "TYX", (3, 12, 16), dtype="uint8"),
    "float": Picture("a", "ZYX", (3, 12, 16), dtype="float32"),
    "padded rows": Picture("a", "TCYX", (2, 2, 12, 15), dtype="uint8", row=16),
    "colours": Picture("a", "ZYXC", (3, 12, 16, 3), dtype="uint8", channels=COLOURS),
    "padded colours": Picture("a", "YXC", (12, 15, 3), dtype="uint8", channels=COLOURS, row=48),
    "xz scan": Picture("a", "YZX", (4, 5, 16)),
    "emission": Picture("a", "TEZYX", (2, 3, 4, 12, 16)),
    "excitation": Picture("a", "WYX", (4, 12, 16)),
}  # fmt: skip


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def ordered(values: NDArray[Any], order: Sequence[str]) -> NDArray[Any]:
    """Values of axes in any order, in that of the contract: t c z y x; wavelengths before channels."""
    letters = [{"λ": "E", "Λ": "W", "S": "C"}.get(a, a) for a in order]
    wanted = [a for a in "MTEWCZYX" if a in letters]
    values = values.transpose([letters.index(a) for a in wanted])
    together = [i for i, a in enumerate(wanted) if a in "EWC"]
    if len(together) > 1:
        shape = (*values.shape[: together[0]], -1, *values.shape[together[-1] + 1 :])
        values = values.reshape(shape)
    return values


@pytest.mark.parametrize("picture", LAID.values(), ids=LAID)
def test_values_are_those_of_liffile(tmp_path: Path, picture: Picture) -> None:
    path = write_lif(tmp_path / "a.lif", [picture])
    assert converter.identify(path)
    (stream,) = converter.open(path).streams
    if picture.row is None:  # liffile refuses padded rows that its author has not met
        with LifFile(path) as lif:
            theirs = lif.images[0].asarray()
            np.testing.assert_array_equal(whole(stream), ordered(theirs, lif.images[0].dims))
    np.testing.assert_array_equal(whole(stream), ordered(picture.values, picture.order))
    assert whole(stream).dtype == np.dtype(picture.dtype)


@pytest.mark.parametrize("picture", LAID.values(), ids=LAID)
@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_regions_are_slices(tmp_path: Path, picture: Picture, data: st.DataObject) -> None:
    path = tmp_path / "a.lif"
    if not path.exists():
        write_lif(path, [picture])
    (stream,) = converter.open(path).streams
    region = []
    for n in stream.shape:
        start = data.draw(st.integers(0, n))
        region.append(slice(start, data.draw(st.integers(start, n))))
    assert stream.array is not None
    expected = ordered(picture.values, picture.order)
    np.testing.assert_array_equal(stream.array[tuple(region)], expected[tuple(region)])


def test_old_files(tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.lif", [LAID["czyx"], Picture("b", "YX", (7, 8))], version=1)
    first, second = converter.open(path).streams
    np.testing.assert_array_equal(whole(first), LAID["czyx"].values)
    np.testing.assert_array_equal(whole(second), Picture("b", "YX", (7, 8)).values)


def test_what_the_xml_states(tmp_path: Path) -> None:
    picture = Picture(
        "Series001", "TCZYX", (3, 2, 4, 12, 16), channels=GREY[:2], dyes=("Alexa 488", ""), settings=SETTINGS,
        stamps=[datetime(2026, 3, 4, 10, 11, 12, tzinfo=UTC), datetime(2026, 3, 4, 10, 11, 17, tzinfo=UTC)],
    )  # fmt: skip
    source = converter.open(write_lif(tmp_path / "a.lif", [picture]))
    (stream,) = source.streams
    assert stream.name == "Series001"
    assert stream.scale == {"t": 5.0, "z": 2.0, "y": 1.0, "x": 1.0}
    assert stream.channels == (Channel("Alexa 488", color="00FF00"), Channel("", color="FF8000"))
    assert source.facts == {
        "session_start_time": datetime(2026, 3, 4, 10, 11, 12, tzinfo=UTC),
        "objective": "HC PL APO CS2 63x/1.30 GLYC, 63x, NA 1.3, GLYC",
        "device": "TCS SP8",
        "software": "LAS X 3.5.7",
        "time_increment_s": 5.0,
        "pixel_size_um": {"z": 2.0, "y": 1.0, "x": 1.0},
        "channel_names": ("Alexa 488", ""),
        "stage_position_um": {"Series001": {"x": 35260.0, "y": -10000.0}},
    }
    assert not source.needs


def test_sizes_are_those_of_liffile(tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.lif", [LAID["tzcyx"]])
    (stream,) = converter.open(path).streams
    with LifFile(path) as lif:
        coordinates = lif.images[0].coords
    for axis, factor in {"t": 1, "z": 1e6, "y": 1e6, "x": 1e6}.items():
        step = abs(float(np.diff(coordinates[axis.upper()])[0])) * factor
        assert stream.scale[axis] == pytest.approx(step, rel=1e-9)


def test_wavelengths_are_channels(tmp_path: Path) -> None:
    pictures = [
        Picture("both", "EWCYX", (2, 2, 2, 4, 5), dyes=("DAPI", "")), LAID["emission"], LAID["excitation"]
    ]  # fmt: skip
    both, emission, excitation = converter.open(write_lif(tmp_path / "a.lif", pictures)).streams
    assert [(c.name, c.wavelength_nm, c.excitation_nm) for c in both.channels[:3]] == [
        ("DAPI emission 500 nm excitation 480 nm", 500.0, 480.0),
        ("emission 500 nm excitation 480 nm", 500.0, 480.0),
        ("DAPI emission 500 nm excitation 490 nm", 500.0, 490.0),
    ]
    assert [(c.name, c.wavelength_nm) for c in emission.channels] == [(f"{n} nm", n) for n in (500, 510, 520)]
    assert [c.excitation_nm for c in excitation.channels] == pytest.approx([480, 483.3333, 486.6667, 490], abs=1e-3)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["rgb", "bgr"])
def test_colours_of_pixels_come_red_first(tmp_path: Path, order: tuple[int, ...]) -> None:
    picture = Picture("a", "YXC", (4, 5, 3), dtype="uint8", channels=[COLOURS[i] for i in order])
    (stream,) = converter.open(write_lif(tmp_path / "a.lif", [picture])).streams
    assert [(c.name, c.color) for c in stream.channels] == [("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")]
    np.testing.assert_array_equal(whole(stream), np.moveaxis(picture.values[..., list(order)], -1, 0))
    assert stream.array is not None
    assert stream.array.block == (3, 4, 5)


PLACES = [(1e-3 * i, -2e-3) for i in range(3)]


def test_tiles_are_images_at_their_places(tmp_path: Path) -> None:
    picture = Picture("scan", "MCYX", (3, 2, 12, 16), tiles=PLACES, turned={"FlipX": "0", "FlipY": "0", "SwapXY": "0"})
    source = converter.open(write_lif(tmp_path / "a.lif", [picture]))
    assert [s.name for s in source.streams] == [f"scan tile {i}" for i in range(3)]
    for i, stream in enumerate(source.streams):
        np.testing.assert_array_equal(whole(stream), picture.values[i])
        assert stream.origin == {"x": 1000.0 * i, "y": -2000.0}
    assert source.facts["stage_position_um"]["scan tile 2"] == {"x": 2000.0, "y": -2000.0}


def test_tiles_of_a_turned_scan_have_no_place_along_the_axes(tmp_path: Path) -> None:
    picture = Picture("scan", "MYX", (3, 12, 16), tiles=PLACES, turned={"FlipX": "1", "FlipY": "0", "SwapXY": "1"})
    source = converter.open(write_lif(tmp_path / "a.lif", [picture]))
    assert [dict(s.origin) for s in source.streams] == [{}] * 3
    assert source.facts["stage_position_um"]["scan tile 1"] == {"x": 1000.0, "y": -2000.0}


def test_names_tell_folders_and_differ(tmp_path: Path) -> None:
    inner = (Picture("Position1", "YX", (4, 5)), Picture("Position2", "RYX", (2, 4, 5)))
    pictures = [
        Picture("TileScan 1", "YX", (4, 6), children=inner),
        Picture("b", "YX", (4, 5)),
        Picture("b", "YX", (4, 7)),
    ]
    source = converter.open(write_lif(tmp_path / "a.lif", pictures))
    assert [s.name for s in source.streams] == [
        "TileScan 1", "TileScan 1 Position1", "TileScan 1 Position2 rotation 0", "TileScan 1 Position2 rotation 1", "b",
        "b 2",
    ]  # fmt: skip


def test_a_line_scan_in_time(tmp_path: Path) -> None:
    picture = Picture("line", "TX", (30, 16))
    source = converter.open(write_lif(tmp_path / "a.lif", [picture]))
    (stream,) = source.streams
    assert (stream.axes, stream.shape) == (("t", "y", "x"), (30, 1, 16))
    np.testing.assert_array_equal(whole(stream)[:, 0], picture.values)
    assert [n.key for n in source.needs] == ["pixel_size_um.y"]


def test_what_is_not_an_image_is_told(tmp_path: Path) -> None:
    lifetimes = '<Element Name="FLIM"><Data><SingleMoleculeDetection IsImage="true"/></Data></Element>'
    pictures = [Picture("a", "YX", (4, 5)), Picture("gone", "YX", (4, 5), kept=False)]
    source = converter.open(write_lif(tmp_path / "a.lif", pictures, extra=lifetimes))
    assert [s.name for s in source.streams] == ["a"]
    assert source.problems == (
        "The lifetimes (FLIM) in FLIM are not converted.", "The image gone has no pixels in this file."
    )  # fmt: skip


def test_a_size_that_is_not_stated_is_asked_for(tmp_path: Path) -> None:
    none = {a: (0.0, 0.0, u) for a, (_, _, u) in EXTENTS.items()}
    source = converter.open(write_lif(tmp_path / "a.lif", [Picture("a", "ZYX", (3, 12, 16), extents=none)]))
    assert [n.key for n in source.needs] == ["pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]
    pixels = {**EXTENTS, "X": (0.0, 15.0, "pixel")}
    source = converter.open(write_lif(tmp_path / "b.lif", [Picture("a", "YX", (12, 16), extents=pixels)]))
    assert [n.key for n in source.needs] == ["pixel_size_um.x"]


def edited(old: str, new: str) -> Callable[[Path], None]:
    """Change the XML of a file, which must stay as long."""

    def edit(path: Path) -> None:
        content = path.read_bytes()
        assert len(old) == len(new)
        assert old.encode("utf-16-le") in content
        path.write_bytes(content.replace(old.encode("utf-16-le"), new.encode("utf-16-le")))

    return edit


def no_block(path: Path) -> None:
    """Damage the mark before the name of every block."""
    path.write_bytes(path.read_bytes().replace(b"\x2a\x0a\0\0\0M", b"\x2b\x0a\0\0\0M"))


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "another version": (edited('Version="2"', 'Version="7"'), "version 7"),
    "bits": (edited('BitInc="0"', 'BitInc="4"'), "do not begin at bytes"),
    "no x": (edited('DimID="1"', 'DimID="8"'), "without a dimension along x"),
    "unknown dimension": (edited('DimID="2"', 'DimID="0"'), r"unknown number: \[0\]"),
    "twice": (edited('DimID="2"', 'DimID="1"'), "twice"),
    "no step": (edited('BytesInc="32"', 'BytesInc="00"'), "0 bytes apart"),
    "no number": (edited('NumberOfElements="16"', 'NumberOfElements="1x"'), "cannot be read"),
    "more than the block": (edited('NumberOfElements="16"', 'NumberOfElements="96"'), "into its block, which has 384"),
    "not XML": (edited("</Channels>", "</Channelz>"), "cannot be read"),
    "no block": (no_block, "no block of memory"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    path = write_lif(tmp_path / "a.lif", [Picture("a", "YX", (12, 16))])
    damage(path)
    with pytest.raises(BadSource, match=message) as caught:
        converter.open(path)
    assert caught.value.file == str(path)


def test_a_file_cut_anywhere_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    whole_file = write_lif(tmp_path / "a.lif", [LAID["czyx"], Picture("b", "YX", (12, 16))]).read_bytes()
    for length in [*range(0, len(whole_file), 211), len(whole_file) - 1]:
        path = tmp_path / "cut.lif"
        path.write_bytes(whole_file[:length])
        with pytest.raises(BadSource):
            converter.open(path)


def test_the_plane_that_a_file_ends_in_is_named(tmp_path: Path) -> None:
    path = write_lif(tmp_path / "a.lif", [LAID["tzcyx"]])
    source = converter.open(path)
    content = path.read_bytes()
    plane = 12 * 16 * 2
    path.write_bytes(content[: len(content) - 4 * plane - 5])  # of 12; in memory t z c, of the array t c z
    with pytest.raises(BadSource, match="is cut off") as caught:
        converter.open(path)
    assert caught.value.place == "a, plane t=1 c=0 z=1"
    (stream,) = source.streams
    assert stream.array is not None
    stream.array[0:1]
    with pytest.raises(BadSource, match="the file ends within it"):
        stream.array[1:2]


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="series"):
        converter.open(write_lif(tmp_path / "a.lif", [LAID["yx"]]), {"series": 1})


def test_images_become_ome_zarr(tmp_path: Path) -> None:
    path = write_lif(
        tmp_path / "mouse.lif", [LAID["tzcyx"], Picture("rgb", "YXC", (12, 16, 3), "uint8", channels=COLOURS)]
    )
    (session,) = convert(
        path, out=tmp_path / "out", subject_id="m1", session_id="s1", species="Mus musculus", sex="F", age="P60D"
    ).sessions
    assert [w.path.name for w in session.written] == [f"sub-m1_ses-s1_mouse{n}.ome.zarr" for n in ("A", "Rgb")]
    first, second = (w.path for w in session.written)
    np.testing.assert_array_equal(levels(first)[0], ordered(LAID["tzcyx"].values, "TZCYX"))
    assert scales(first)[0] == [10.0, 1.0, 3.0, 1.0, 1.0]
    assert [c["color"] for c in metadata(second)["omero"]["channels"]] == ["FF0000", "00FF00", "0000FF"]


def test_real_files_are_as_liffile_reads_them() -> None:
    compared = 0
    for path in sorted(shared("microscopy/lif").glob("*.lif")):
        streams = pickle.loads(pickle.dumps(converter.open(path))).streams
        with LifFile(path) as lif:
            assert [s.name for s in streams] == [i.name for i in lif.images]
            for stream, image in zip(streams, lif.images, strict=True):
                np.testing.assert_array_equal(whole(stream), ordered(image.asarray(), image.dims))
                compared += 1
    assert compared >= 3


def test_what_a_real_file_states() -> None:
    source = converter.open(shared("microscopy/lif/LeicaLASX_wavelength-sweep_example.lif"))
    # readlif 0.6.5: 9.54067119984844 pixels in a micrometre
    assert source.facts["pixel_size_um"] == pytest.approx({"y": 1 / 9.54067119984844, "x": 1 / 9.54067119984844})
    assert source.facts["objective"] == "HC PL APO CS2 63x/1.30 GLYC, 63x, NA 1.3, GLYC"
    assert source.facts["session_start_time"] == datetime(2021, 1, 29, 14, 33, 36, 935000, tzinfo=UTC)
    assert [c.wavelength_nm for c in source.streams[0].channels] == [550.0 + 10 * i for i in range(20)]
    assert source.streams[2].scale == pytest.approx({"t": 80.91, "z": 0.5002027, "y": 0.1048144, "x": 0.1048144})
