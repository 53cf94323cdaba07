"""Olympus images: values as oiffile reads them, what the settings state, and damage that is heard."""

from __future__ import annotations

import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import oiffile
import pytest
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Source
from dandify.sources.registry import by_name, claims
from dandify.sources.vendors.compound_file import read_compound_file
from oif_maker import Image, compound, files_of, write_oib, write_oif
from shared_data import shared
from tiff_makers import pixels

converter = by_name("oif")

IMAGES: dict[str, Image] = {
    "c": Image(z=1), "cz": Image(), "zc": Image(order="XYZCT"), "czt": Image(t=4), "tcz": Image(t=2, order="XYTCZ"),
    "one": Image(c=1, z=1), "z": Image(c=1), "wide": Image(c=3, height=70, width=40),
}  # fmt: skip


def values_of(source: Source) -> NDArray[Any]:
    (stream,) = source.streams
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def golden(path: Path, axes: tuple[str, ...]) -> NDArray[Any]:
    """Values that oiffile reads, in the contract's order of axes."""
    with oiffile.OifFile(path) as file:
        series = file.series[0]
        found, names = series.asarray(), f"{series.axes}YX".lower()
    order = [names.index(a) for a in "tczyx" if a in names]
    return np.asarray(np.squeeze(found.transpose(order)))


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("kind", ["oif", "oib", "scattered", "sectors-of-512"])
def test_values_are_those_of_oiffile(tmp_path: Path, image: Image, kind: str) -> None:
    if kind == "oif":
        path = write_oif(tmp_path, image)
    else:
        path = write_oib(
            tmp_path / "a.oib", image, scattered=kind == "scattered", version=4 - (kind[0] == "s" and kind[1] == "e")
        )
    assert converter.identify(path)
    source = converter.open(path)
    values = values_of(source)
    np.testing.assert_array_equal(values, golden(path, source.streams[0].axes))
    np.testing.assert_array_equal(values, np.squeeze(pixels(image.shape) & 0xFFF))


def test_what_the_settings_state(tmp_path: Path) -> None:
    source = converter.open(write_oib(tmp_path / "a.oib", Image(t=3)))
    (stream,) = source.streams
    assert stream.axes == ("t", "c", "z", "y", "x")
    assert stream.scale == {"t": 1.5, "z": 0.84, "y": 0.177, "x": 0.177}
    assert stream.channels == (
        Channel("CH1", color="00FF00"),
        Channel("CH2 Alexa Fluor 546", color="FF0000", wavelength_nm=572.0, excitation_nm=543.0),
    )  # fmt: skip
    assert dict(source.facts) == {
        "session_start_time": datetime(2012, 7, 26, 15, 13, 35, 976000), "device": "FV1000",
        "software": "FLUOVIEW FV1000 2.1.2.5", "description": "40xWater", "experimenter": "Guest",
        "objective": "UPLFLN 40X NA:0.75", "pixel_size_um": {"z": 0.84, "y": 0.177, "x": 0.177},
        "time_increment_s": 1.5, "channel_names": ("CH1", "CH2 Alexa Fluor 546"),
    }  # fmt: skip
    assert not source.needs


def test_sizes_that_are_not_stated_are_asked_for(tmp_path: Path) -> None:
    source = converter.open(write_oif(tmp_path, Image(pixel=0, step_nm=0)))
    assert [n.key for n in source.needs] == ["pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]
    assert "pixel_size_um" not in source.facts
    given = source.with_facts({"pixel_size_um": {"z": 1, "y": 2, "x": 3}, "axes": "tyx"})
    assert given.streams[0].scale == {"z": 1.0, "y": 2.0, "x": 3.0}
    assert given.streams[0].axes == ("c", "z", "y", "x")


def test_every_file_of_the_folder_is_that_image(tmp_path: Path) -> None:
    path = write_oif(tmp_path)
    for file in (tmp_path / "cell.oif.files").iterdir():
        found = list(claims(file))
        if found:
            assert (found[0].converter.name, found[0].path) == ("oif", path)
    assert {*converter.open(path).files} == {path, *(tmp_path / "cell.oif.files").iterdir()}


def test_a_missing_plane_is_named(tmp_path: Path) -> None:
    path = write_oif(tmp_path)
    (tmp_path / "cell.oif.files" / "s_C002Z003.tif").unlink()
    with pytest.raises(BadSource, match="t=0 c=1 z=2"):
        converter.open(path)
    other = write_oib(tmp_path / "a.oib", without="s_C002Z003.tif")
    with pytest.raises(BadSource, match=r"lists s_C002Z003\.tif, which is not in it"):
        converter.open(other)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = write_oif(tmp_path)
    (tmp_path / "cell.oif.files").rename(tmp_path / "elsewhere")
    assert converter.identify(path)
    with pytest.raises(BadSource, match=r"cell\.oif\.files .* missing"):
        converter.open(path)


REFUSED = {
    "line-scan": (Image(t=5, z=1, order="XTCYZ"), "axes X and T"),
    "lambda": (Image(lambdas=7, z=1, order="XYCL"), "the axis L"),
}


@pytest.mark.parametrize(("image", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_image_is_refused(tmp_path: Path, image: Image, message: str) -> None:
    with pytest.raises(BadSource, match=message):
        converter.open(write_oif(tmp_path, image))


def test_a_plane_of_another_size_is_named(tmp_path: Path) -> None:
    path = write_oif(tmp_path)
    other = files_of(Image(height=24))["cell.oif.files/s_C001Z002.tif"]
    (tmp_path / "cell.oif.files" / "s_C001Z002.tif").write_bytes(other)
    with pytest.raises(BadSource, match="24 x 28") as caught:
        converter.open(path)
    assert str(caught.value.file).endswith("s_C001Z002.tif")


@pytest.mark.parametrize("kept", [0.0, 0.05, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("version", [3, 4])
def test_an_oib_that_is_cut_off_is_refused(tmp_path: Path, kept: float, version: int) -> None:
    path = write_oib(tmp_path / "a.oib", version=version)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert not converter.identify(path)
    with pytest.raises(BadSource) as caught:
        converter.open(path)
    assert caught.value.file == str(path)


def test_an_oib_that_shrinks_later_is_heard(tmp_path: Path) -> None:
    path = write_oib(tmp_path / "a.oib")
    array = converter.open(path).streams[0].array
    assert array is not None
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(BadSource, match="ends at byte") as caught:
        array[:]
    assert str(caught.value.place).startswith("s_C00")


def test_chains_without_an_end_are_refused(tmp_path: Path) -> None:
    """A table whose sectors point at each other would make a reader that follows them read for ever."""
    content = bytearray(compound({"OibInfo.txt": bytes(100), "Storage00001/Stream00001": bytes(9000)}))
    (start,) = struct.unpack_from("<I", content, 76)
    (directory,) = struct.unpack_from("<I", content, 48)
    struct.pack_into("<I", content, (start + 1) * 4096 + 4 * directory, directory)
    path = tmp_path / "a.oib"
    path.write_bytes(content)
    with pytest.raises(BadSource, match="no end"):
        read_compound_file(path)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("scattered", [False, True])
def test_streams_are_those_that_oiffile_reads(tmp_path: Path, version: int, scattered: bool) -> None:
    path = write_oib(tmp_path / "a.oib", Image(t=2), version=version, scattered=scattered)
    found = read_compound_file(path)
    with oiffile.CompoundFile(path) as theirs, path.open("rb") as file:
        assert {*found.streams} == {*theirs.files()}
        for name in theirs.files():
            expected = theirs.open_file(name).read()
            assert found.read(file, name) == expected
            with found.open(file, name) as stream:
                stream.seek(7)
                assert stream.read(70) == expected[7:77]
                assert stream.seek(-3, 2) == max(0, len(expected) - 3)
                assert stream.read() == expected[-3:]


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="axes"):
        converter.open(write_oif(tmp_path), {"axes": "yx"})


def test_the_real_oib() -> None:
    path = shared("microscopy/oib/test.oib")
    source = converter.open(path)
    np.testing.assert_array_equal(values_of(source), oiffile.imread(path))
    assert source.streams[0].scale == {"y": 0.177, "x": 0.177}
    assert source.facts["channel_names"] == ("CH1", "CH2 Alexa Fluor 546", "TD1")
    assert [c.excitation_nm for c in source.streams[0].channels] == [488.0, 543.0, 543.0]
    assert source.facts["session_start_time"] == datetime(2012, 7, 26, 15, 13, 35, 976000)
