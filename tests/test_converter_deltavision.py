"""DeltaVision files: values as the package mrc reads them, what the headers state, damage that is heard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mrc import DVFile
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Stream
from dandify.sources.registry import by_name
from deltavision_maker import Image, write_dv

converter = by_name("deltavision")

IMAGES: dict[str, Image] = {
    "ztw": Image(), "wzt": Image(sequence=1), "zwt": Image(sequence=2), "big-endian": Image(order=">", sequence=2),
    "one": Image(t=1, c=1, z=1), "z": Image(t=1, c=1), "uint8": Image(kind=0), "int16": Image(kind=1),
    "float": Image(kind=2), "int32": Image(kind=7), "no-extended-header": Image(extended=False),
}  # fmt: skip


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_values_are_those_of_mrc(tmp_path: Path, image: Image) -> None:
    path = write_dv(tmp_path / "a.dv", image)
    assert converter.identify(path)
    (stream,) = converter.open(path).streams
    with DVFile(path) as theirs:
        order = [theirs.axes.index(a) for a in "TCZYX"]
        expected = np.squeeze(theirs.asarray(squeeze=False).transpose(order))
    values = whole(stream)
    assert values.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(values, image.values.squeeze())
    lengths = {"t": image.t, "c": image.c, "z": image.z, "y": 2, "x": 2}
    assert stream.axes == tuple(a for a in "tczyx" if lengths[a] > 1)


def test_what_the_headers_state(tmp_path: Path) -> None:
    source = converter.open(write_dv(tmp_path / "cell.dv", Image()))
    (stream,) = source.streams
    assert stream.name == "cell"
    assert stream.scale == {"t": 2.5, "z": 0.2, "y": 0.1064, "x": 0.1064}
    assert stream.channels == (
        Channel("475/525", wavelength_nm=525.0, excitation_nm=475.0),
        Channel("575/632", wavelength_nm=632.0, excitation_nm=575.0),
    )
    assert source.facts == {
        "pixel_size_um": {"z": 0.2, "y": 0.1064, "x": 0.1064}, "time_increment_s": 2.5,
        "channel_names": ("475/525", "575/632"), "objective": "lens 10612 of softWoRx",
    }  # fmt: skip
    assert not source.needs


def test_without_headers_of_the_sections(tmp_path: Path) -> None:
    (stream,) = converter.open(write_dv(tmp_path / "a.r3d", Image(extended=False))).streams
    assert stream.channels == (Channel("525", wavelength_nm=525.0), Channel("632", wavelength_nm=632.0))
    assert "t" not in stream.scale


def test_sizes_that_are_not_stated_are_asked_for(tmp_path: Path) -> None:
    source = converter.open(write_dv(tmp_path / "a.dv", Image(voxel=(0.0, 0.0, 0.0), waves=(0, 0))))
    assert [n.key for n in source.needs] == ["pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]


@pytest.mark.parametrize("kept", [0, 100, 1023, 1500, 4000])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    path = write_dv(tmp_path / "a.dv", Image())
    path.write_bytes(path.read_bytes()[:kept])
    assert bool(converter.identify(path)) == (kept >= 1024)
    with pytest.raises(BadSource) as caught:
        converter.open(path)
    assert caught.value.file == str(path)


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    path = write_dv(tmp_path / "a.dv", Image())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadSource, match="states 24 sections and has 23") as caught:
        converter.open(path)
    assert caught.value.place == "section 24"


def test_a_file_that_shrinks_later_is_heard(tmp_path: Path) -> None:
    path = write_dv(tmp_path / "a.dv", Image())
    array = converter.open(path).streams[0].array
    assert array is not None
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadSource, match="ends within a page"):
        array[:]


WRONG: dict[str, tuple[Image, str]] = {
    "complex": (replace(Image(), stated_kind=4), "type 4"), "tilt": (Image(image_type=1), "tilt series"),
    "count": (Image(stated_t=5), "24 sections for 5 times"), "order": (Image(stated_sequence=9), "order 9"),
}  # fmt: skip


@pytest.mark.parametrize(("image", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_image_is_refused(tmp_path: Path, image: Image, message: str) -> None:
    with pytest.raises(BadSource, match=message) as caught:
        converter.open(write_dv(tmp_path / "a.dv", image))
    assert caught.value.remedy


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="axes"):
        converter.open(write_dv(tmp_path / "a.dv", Image()), {"axes": "zyx"})
