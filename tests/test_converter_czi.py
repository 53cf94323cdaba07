"""Zeiss CZI: values as czifile and Zeiss' own library read them, what is stated and nothing else, heard damage."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from czifile import CziFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from czi_maker import JPEG, JPEG_XR, LZW, STAGE, XML, ZSTD0, ZSTD1, Block, pixels, stack, write_czi
from dandify.errors import BadRequest, BadSource
from dandify.runs.convert import convert
from dandify.sources import Channel, Stream
from dandify.sources.registry import by_name
from ngff_reference import levels, metadata, scales, translations
from shared_data import shared

converter = by_name("czi")


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def as_made(blocks: list[Block], lengths: tuple[int, ...]) -> NDArray[Any]:
    """Values of blocks that were made in C order of the leading axes; colours behind these."""
    values = np.stack([b.values for b in blocks]).reshape(*lengths, *blocks[0].values.shape)
    return np.moveaxis(values, -1, len(lengths) - 1) if blocks[0].values.ndim == 3 else values


STORED: dict[str, dict[str, Any]] = {
    "raw": {},
    "uint8": {"dtype": "uint8"},
    "float": {"dtype": "float32"},
    "int32": {"dtype": "int32"},
    "lzw": {"compression": LZW},
    "jpeg-xr": {"compression": JPEG_XR},
    "zstd": {"compression": ZSTD0},
    "zstd-packed": {"compression": ZSTD1},
    "zstd-not-packed": {"compression": ZSTD1, "packed": False},
    "zstd-bytes": {"compression": ZSTD1, "dtype": "uint8"},
    "colours": {"dtype": "uint8", "shape": (12, 17, 3)},
    "colours-16": {"shape": (12, 17, 3), "compression": ZSTD1},
    "colours-jpeg-xr": {"dtype": "uint8", "shape": (12, 17, 3), "compression": JPEG_XR},
    "opacity": {"dtype": "uint8", "shape": (12, 17, 4), "compression": ZSTD0},
}
OF_CZIFILE = ("raw", "uint8", "float", "int32", "jpeg-xr", "colours", "colours-jpeg-xr")
"""What the czifile that runs on Python 3.11 can decode; it knows no zstd, and needs fromstring, which NumPy dropped."""


@pytest.mark.parametrize("options", STORED.values(), ids=STORED)
def test_every_way_to_store_pixels(tmp_path: Path, options: dict[str, Any]) -> None:
    blocks = stack({"T": 2, "C": 1, "Z": 3}, **options)
    path = write_czi(tmp_path / "a.czi", list(reversed(blocks)), XML)
    assert converter.identify(path)
    (stream,) = converter.open(path).streams
    colours = blocks[0].values.shape[2:]
    expected = as_made(blocks, (2, 3))
    assert stream.axes == (("t", "c", "z", "y", "x") if colours else ("t", "z", "y", "x"))
    values = whole(stream)
    assert values.dtype == blocks[0].values.dtype
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("name", OF_CZIFILE)
def test_values_are_those_of_czifile(tmp_path: Path, name: str) -> None:
    path = write_czi(tmp_path / "a.czi", stack({"T": 2, "C": 2, "Z": 3}, **STORED[name]), XML)
    (stream,) = converter.open(path).streams
    with CziFile(path) as czi:
        theirs = czi.asarray(max_workers=1)  # reversed dimensions, then samples
        axes = czi.axes.lower().replace("0", "s")
    theirs = theirs.transpose([axes.index(a) for a in "tcszyx"])
    t, c, s, *rest = theirs.shape
    np.testing.assert_array_equal(whole(stream), theirs.reshape(t, c * s, *rest))


def test_jpeg_is_what_its_decoder_gives(tmp_path: Path) -> None:
    import imagecodecs

    block = Block(np.add.outer(np.arange(24), np.arange(32)).astype("uint8"), compression=JPEG)
    (stream,) = converter.open(write_czi(tmp_path / "a.czi", [block], XML)).streams
    np.testing.assert_array_equal(whole(stream), imagecodecs.jpeg_decode(imagecodecs.jpeg_encode(block.values)))


@pytest.mark.parametrize("name", ["raw", "zstd-packed", "colours", "opacity"])
@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_regions_are_slices(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = tmp_path / "a.czi"
    if not path.exists():
        write_czi(path, stack({"T": 2, "C": 2, "Z": 3}, **STORED[name]), XML)
    (stream,) = converter.open(path).streams
    region = []
    for n in stream.shape:
        start = data.draw(st.integers(0, n))
        region.append(slice(start, data.draw(st.integers(start, n))))
    assert stream.array is not None
    np.testing.assert_array_equal(stream.array[tuple(region)], whole(stream)[tuple(region)])


def test_what_the_xml_states(tmp_path: Path) -> None:
    source = converter.open(write_czi(tmp_path / "a.czi", stack({"T": 2, "C": 2, "Z": 2}, xml=STAGE), XML))
    (stream,) = source.streams
    assert stream.name == "a"
    assert stream.scale == {"t": 2.5, "z": 4.0, "y": 1.6, "x": 1.6}
    assert stream.channels == (
        Channel("DAPI", color="00A1FF", wavelength_nm=465.0, excitation_nm=353.0),
        Channel("EGFP", color="00FF5B", wavelength_nm=509.0, excitation_nm=488.0),
    )
    assert source.facts == {
        "session_start_time": datetime(2026, 3, 4, 10, 11, 12, 123456, tzinfo=UTC),
        "objective": "Plan-Apochromat 5x/0.35, 5x, NA 0.35, Air",
        "device": "Celldiscoverer 7",
        "experimenter": "Ada",
        "description": "left hemisphere",
        "software": "ZEN (blue edition) 3.6.095",
        "time_increment_s": 2.5,
        "pixel_size_um": {"z": 4.0, "y": 1.6, "x": 1.6},
        "channel_names": ("DAPI", "EGFP"),
        "stage_position_um": {"a": {"x": 38397.296, "y": -12.5, "z": 1.5}},
    }
    assert not source.needs
    assert not source.problems


@pytest.mark.parametrize(
    ("first", "second", "exposures"),
    [("2000000", "150000000", (0.002, 0.15)), ("2000000", "", None), ("0", "2000000", None)],
)
def test_exposures_of_all_channels(
    tmp_path: Path, first: str, second: str, exposures: tuple[float, ...] | None
) -> None:
    """ZEN states nanoseconds; that of a channel alone would not say which."""
    parts = XML.split("<EmissionWavelength>")
    assert len(parts) == 3
    xml = "".join([
        parts[0], *(f"<ExposureTime>{time}</ExposureTime><EmissionWavelength>{part}"
                    for time, part in zip((first, second), parts[1:], strict=True)),
    ])  # fmt: skip
    source = converter.open(write_czi(tmp_path / "a.czi", stack({"C": 2}), xml))
    assert source.facts.get("exposure_time_s") == exposures


NOTHING = {
    "no metadata": None,
    "empty": "<ImageDocument/>",
    "zeros": XML.replace("1.6E-06", "0").replace("4E-06", "0"),
    "no numbers": XML.replace("1.6E-06", "").replace("4E-06", "NaN"),
}


@pytest.mark.parametrize("xml", NOTHING.values(), ids=NOTHING)
def test_a_size_that_is_not_stated_is_asked_for(tmp_path: Path, xml: str | None) -> None:
    source = converter.open(write_czi(tmp_path / "a.czi", stack({"C": 2, "Z": 3}), xml))
    assert "pixel_size_um" not in source.facts
    assert [n.key for n in source.needs] == ["pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]
    supplied = source.with_facts({"pixel_size_um": {"z": 3, "y": 0.5, "x": 0.5}})
    assert not supplied.needs
    assert supplied.streams[0].scale["z"] == 3.0


@pytest.mark.parametrize(
    ("times", "increment", "points"),
    [
        ((7.5, 17.5, 27.51), 10.005, None),
        ((7.5, 17.5, 29.5), None, (0.0, 10.0, 22.0)),
        ((0.0, 1.0), None, None),
        ((3.0, 2.0, 1.0), None, None),
    ],
    ids=["regular", "irregular", "of other planes", "backwards"],
)
def test_times_of_time_points(
    tmp_path: Path, times: tuple[float, ...], increment: float | None, points: tuple[float, ...] | None
) -> None:
    """ZEN black, and fast acquisitions, state no increment but the time of every time point."""
    xml = XML.replace("<Increment>2.5</Increment>", "")
    path = write_czi(tmp_path / "a.czi", stack({"T": 3}), xml, times=times)
    source = converter.open(path)
    assert source.facts.get("time_increment_s") == source.streams[0].scale.get("t") == increment
    assert source.facts.get("time_points_s") == points
    with CziFile(path) as czi:
        assert tuple(next(iter(czi.attachments())).data()) == times


def mosaic(scene: int, tiles: int, **options: Any) -> list[Block]:
    return [
        Block(
            pixels((12, 17), 100 * scene + 10 * m + c), {"S": scene, "C": c, "M": m}, y=7 + 10 * m,
            x=500 * scene + 15 * m, **options,
        )
        for m in range(tiles) for c in range(2)
    ]  # fmt: skip


def test_scenes_and_tiles_are_images_at_their_places(tmp_path: Path) -> None:
    blocks = [*mosaic(0, 11), *mosaic(1, 1), Block(pixels((6, 8)), {"S": 0, "C": 0}, pyramid=2, reduced=2)]
    source = converter.open(write_czi(tmp_path / "a.czi", blocks, XML))
    assert [s.name for s in source.streams] == [*(f"TR1 tile {m:02d}" for m in range(11)), "P1"]
    for stream, (one, two) in zip(source.streams, zip(blocks[::2], blocks[1::2], strict=False), strict=True):
        np.testing.assert_array_equal(whole(stream), [one.values, two.values])
        assert stream.origin == pytest.approx({"y": 1.6 * one.y, "x": 1.6 * one.x})
    assert "1 mosaic(s) of 11 tiles" in source.problems[0]
    assert source.facts["stage_position_um"] == {"P1": {"x": 10.0, "y": 20.0, "z": 0.5}}


def test_places_hold_for_the_pixel_size_of_the_file_only(tmp_path: Path) -> None:
    source = converter.open(write_czi(tmp_path / "a.czi", [*mosaic(0, 2), *mosaic(1, 1)], XML))
    supplied = source.with_facts({"pixel_size_um": {"x": 0.8}})
    assert supplied.streams[1].origin == {"y": 27.2}
    assert source.with_facts({"pixel_size_um": {"x": 1.6}}).streams[1].origin == source.streams[1].origin


def named(blocks: list[Block], xml: str | None = None) -> Callable[[Path], list[tuple[str, tuple[int, ...]]]]:
    def names(folder: Path) -> list[tuple[str, tuple[int, ...]]]:
        streams = converter.open(write_czi(folder / "a.czi", blocks, xml)).streams
        return [(s.name, s.shape) for s in streams]

    return names


APART: dict[str, tuple[list[Block], list[str]]] = {
    "scenes without names": (stack({"S": 2, "C": 2}), ["scene 0", "scene 1"]),
    "phases": (stack({"H": 3, "C": 2}), ["phase 0", "phase 1", "phase 2"]),
    "views and illuminations": (
        stack({"V": 2, "I": 2}),
        [f"view {v} illumination {i}" for v in range(2) for i in range(2)],
    ),
    "tiles without numbers": ([Block(pixels((4, 5), x), x=x) for x in (10, 0)], ["tile 0", "tile 1"]),
    "other sizes": ([Block(pixels((4, 5))), Block(pixels((8, 10)), {"C": 1})], ["5x4", "10x8"]),
    "tiles of other sizes": (
        [Block(pixels((4, 5 + m)), {"M": m, "Z": z}) for m in range(2) for z in range(2)], ["tile 0", "tile 1"]
    ),
    "other types": (
        [Block(pixels((4, 5), dtype="uint8")), Block(pixels((4, 5)), {"C": 1})],
        ["Gray8", "Gray16"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("blocks", "names"), APART.values(), ids=APART)
def test_what_has_no_axis_is_an_image(tmp_path: Path, blocks: list[Block], names: list[str]) -> None:
    source = converter.open(write_czi(tmp_path / "a.czi", blocks))
    assert [s.name for s in source.streams] == names
    assert sum(s.array.nbytes for s in source.streams if s.array) == sum(b.values.nbytes for b in blocks)


def test_colours_of_pixels_are_named(tmp_path: Path) -> None:
    one = stack({"C": 1}, shape=(4, 5, 3), dtype="uint8")
    (stream,) = converter.open(write_czi(tmp_path / "a.czi", one, XML)).streams
    assert [(c.name, c.color) for c in stream.channels] == [("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")]
    two = stack({"C": 2}, shape=(4, 5, 3), dtype="uint8")
    (stream,) = converter.open(write_czi(tmp_path / "b.czi", two, XML)).streams
    assert [c.name for c in stream.channels] == [f"{n} {c}" for n in ("DAPI", "EGFP") for c in ("red", "green", "blue")]


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "stopped": (lambda p: write_czi(p, stack({"T": 3, "C": 2})[:-1], XML), r"5 of 6 planes.*t=2 c=1 z=0"),
    "twice": (lambda p: write_czi(p, stack({"C": 2}) + stack({"C": 1}), XML), "two planes t=0 c=0"),
    "not finished": (lambda p: write_czi(p, stack({"C": 2}), XML, finished=False), "was not finished"),
    "part of a set": (lambda p: write_czi(p, stack({"C": 2}), XML, part=1), "split over several files"),
    "no image": (lambda p: write_czi(p, [], XML), "holds no image"),
    "complex": (lambda p: write_czi(p, stack({"C": 1}, kind=10), XML), "Gray64ComplexFloat"),
    "unknown pixels": (lambda p: write_czi(p, stack({"C": 1}, kind=99), XML), "number 99"),
    "camera's raw": (lambda p: write_czi(p, stack({"C": 1}, compression=1000), XML), "compression number 1000"),
    "colour jpeg": (
        lambda p: write_czi(p, stack({"C": 1}, dtype="uint8", shape=(8, 8, 3), compression=JPEG), XML),
        "compression JPEG",
    ),
    "no XML": (lambda p: write_czi(p, stack({"C": 1}), "<ImageDocument>"), "cannot be read"),
    "entities": (lambda p: write_czi(p, stack({"C": 1}), '<!DOCTYPE a [<!ENTITY b "c">]><a/>'), "document type"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_converted_is_said(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    path = make(tmp_path / "a.czi")
    with pytest.raises(BadSource, match=message) as caught:
        converter.open(path)
    assert caught.value.file == str(path)


def test_a_file_cut_anywhere_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    whole_file = write_czi(tmp_path / "a.czi", stack({"T": 2, "C": 2}, compression=ZSTD1), XML).read_bytes()
    for length in range(16, len(whole_file) - 32, 97):
        path = tmp_path / "cut.czi"
        path.write_bytes(whole_file[:length])
        with pytest.raises(BadSource):
            converter.open(path)


def test_planes_behind_the_end_are_named(tmp_path: Path) -> None:
    """Directory and XML may lie before the planes: Zeiss' writers can reserve room for them."""
    blocks = stack({"T": 2, "C": 2})
    path = write_czi(tmp_path / "a.czi", blocks, XML, planes_last=True)
    np.testing.assert_array_equal(whole(converter.open(path).streams[0]), as_made(blocks, (2, 2)))
    content = path.read_bytes()
    for cut in (content.rindex(b"ZISRAWSUBBLOCK") - 400, content.rindex(b"ZISRAWSUBBLOCK") + 300):
        path.write_bytes(content[:cut])
        with pytest.raises(BadSource, match="is cut off") as caught:
            converter.open(path)
        assert caught.value.place == "a, plane t=1 c=1 z=0"


def test_a_file_that_becomes_shorter_is_named_with_the_plane(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", stack({"T": 2, "C": 2}), XML)
    (stream,) = converter.open(path).streams
    assert stream.array is not None
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"ZISRAWSUBBLOCK") + 300])
    stream.array[0:1]
    with pytest.raises(BadSource, match="is cut off") as caught:
        stream.array[1:2]
    assert caught.value.place == "a, plane t=1 c=1"


@pytest.mark.parametrize("compression", [LZW, JPEG_XR, ZSTD0, ZSTD1])
def test_a_damaged_plane_is_named(tmp_path: Path, compression: int) -> None:
    path = write_czi(tmp_path / "a.czi", stack({"T": 2, "C": 2}, shape=(40, 40), compression=compression), XML)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"ZISRAWSUBBLOCK") + 288 + len("<METADATA />")
    content[at : at + 400] = bytes(400)
    path.write_bytes(content)
    (stream,) = converter.open(path).streams
    assert stream.array is not None
    stream.array[0:1]
    with pytest.raises(BadSource, match="cannot be decoded") as caught:
        stream.array[1:2]
    assert caught.value.place == "a, plane t=1 c=1"


def test_a_file_that_was_being_changed_is_told_of(tmp_path: Path) -> None:
    source = converter.open(write_czi(tmp_path / "a.czi", stack({"C": 1}), XML, pending=1))
    assert "being changed" in source.problems[0]


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="mosaic"):
        converter.open(write_czi(tmp_path / "a.czi", stack({"C": 1})), {"mosaic": "paste"})


def test_tiles_become_images_at_their_places(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "slide.czi", [*mosaic(0, 2, compression=ZSTD1, xml=STAGE), *mosaic(1, 1)], XML)
    (session,) = convert(
        path, out=tmp_path / "out", subject_id="m1", session_id="s1", species="Mus musculus", sex="F", age="P60D"
    ).sessions
    names = [w.path.name for w in session.written]
    assert names == [f"sub-m1_ses-s1_slide{n}.ome.zarr" for n in ("TR1Tile0", "TR1Tile1", "P1")]
    blocks = mosaic(0, 2)
    tile = session.written[1].path
    np.testing.assert_array_equal(levels(tile)[0], [b.values for b in blocks[2:]])
    assert scales(tile)[0] == [1.0, 1.6, 1.6]
    assert translations(tile)[0] == pytest.approx([0.0, 1.6 * 17, 1.6 * 15])
    assert [(c["label"], c["color"]) for c in metadata(tile)["omero"]["channels"]] == [
        ("DAPI", "00A1FF"), ("EGFP", "00FF5B")
    ]  # fmt: skip
    stated = json.loads(tile.with_name(tile.name + ".manifest.json").read_text())["details"]["image"]
    assert (stated["format"], stated["name"]) == ("czi", "TR1 tile 1")
    assert stated["facts"]["objective"] == "Plan-Apochromat 5x/0.35, 5x, NA 0.35, Air"
    assert stated["facts"]["session_start_time"] == "2026-03-04T10:11:12.123456+00:00"
    assert stated["facts"]["stage_position_um"] == {"x": 38397.296, "y": -12.5, "z": 1.5}
    assert stated["channels"][1] == {
        "name": "EGFP", "color": "00FF5B", "wavelength_nm": 509.0, "excitation_nm": 488.0
    }  # fmt: skip


# Of real files.

ZEISS = {"CellDivision_T3_Z5_CH2_X240_Y170_comp2.czi": "c10d2f1ff21c82fe70578faa58d75ad4"}
"""MD5 of the values (t c z y x) that Zeiss' pylibCZIrw 6.1 reads of files in zstd, which czifile cannot."""


@pytest.mark.parametrize(("name", "md5"), ZEISS.items(), ids=ZEISS)
def test_real_zstd_is_as_zeiss_reads_it(name: str, md5: str) -> None:
    (stream,) = converter.open(shared(f"microscopy/czi/{name}")).streams
    assert hashlib.md5(np.ascontiguousarray(whole(stream)).tobytes()).hexdigest() == md5


def test_real_files_are_as_czifile_reads_them() -> None:
    compared = 0
    for path in sorted(shared("microscopy/czi").glob("*.czi")):
        streams = pickle.loads(pickle.dumps(converter.open(path))).streams
        planes = {}
        for stream in streams:
            values = whole(stream).reshape(-1, *stream.shape[-2:])
            planes.update({(e.position): v for e, v in zip(stream.array.entries, values, strict=True)})
        with CziFile(path) as czi:
            entries = [e for e in czi.subblock_directory if e.pyramid_type == 0]
            assert {e.file_position for e in entries} == set(planes)
            for entry in entries if path.name not in ZEISS else []:
                theirs = entry.data_segment().data().squeeze()
                np.testing.assert_array_equal(planes[entry.file_position], theirs, err_msg=path.name)
                compared += 1
    assert compared > 470


def test_what_real_files_state() -> None:
    source = converter.open(shared("microscopy/czi/S3_1Pos_2Mosaic_T2Z3_CH2_sm.czi"))
    assert len(source.streams) == 28
    assert source.facts["pixel_size_um"] == {"z": 1.0, "y": 1.6, "x": 1.6}
    assert source.facts["objective"] == "Plan-Apochromat 5x/0.35, 5x, NA 0.35, Air"
    assert source.facts["time_increment_s"] == 33.412
    assert [(c.name, c.excitation_nm, c.wavelength_nm, c.color) for c in source.streams[0].channels] == [
        ("DAPI", 353.0, 465.0, "00A1FF"), ("EGFP", 488.0, 509.0, "00FF5B")
    ]  # fmt: skip
    wells = converter.open(shared("microscopy/czi/WellD6-7_S2.czi"))
    assert wells.facts["exposure_time_s"] == (0.15,)
    assert [(s.name, s.shape, s.origin["x"]) for s in wells.streams] == [
        ("D6", (440, 544), 0.0), ("D7", (440, 544), 9000.0)
    ]  # fmt: skip
    assert wells.facts["stage_position_um"]["D7"] == {"x": 58500.0, "y": 35500.0, "z": 111.842}
    airyscan = converter.open(shared("microscopy/czi/LSM880_AiryScan.czi"))
    assert [s.shape[0] for s in airyscan.streams] == [8, *[4] * 31]  # the detector's 32 elements; sums in the first
