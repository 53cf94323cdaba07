"""TIFF images: values as tifffile reads them, what is stated and nothing else, and damage that is heard."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dandify.errors import BadRequest, BadSource
from dandify.examples.light_sheet import write_light_sheet
from dandify.project.scan import scan
from dandify.sources import Source
from dandify.sources.registry import available, by_name
from shared_data import shared
from tiff_golden import golden, whole
from tiff_makers import (
    OME,
    STATED,
    Maker,
    ome_xml,
    pixels,
    write_ome,
    write_ome_set,
    write_plain,
    write_planes,
    write_series,
)

converter = by_name("ome_tiff")


@pytest.mark.parametrize("make", OME.values(), ids=OME)
def test_ome_values_are_those_of_tifffile(tmp_path: Path, make: Maker) -> None:
    path = make(tmp_path)
    assert converter.identify(path)
    (stream,) = converter.open(path).streams
    expected = golden(path)
    values = whole(stream)
    assert values.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("make", OME.values(), ids=OME)
@given(data=st.data())
@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the file is only read
)  # fmt: skip
def test_random_regions_are_slices(tmp_path: Path, make: Maker, data: st.DataObject) -> None:
    path = next(tmp_path.glob("a.*"), None) or make(tmp_path)
    (stream,) = converter.open(path).streams
    assert stream.array is not None
    region = []
    for n in stream.shape:
        start = data.draw(st.integers(0, n))
        region.append(slice(start, data.draw(st.integers(start, n))))
    np.testing.assert_array_equal(stream.array[tuple(region)], golden(path)[tuple(region)])


def test_eight_threads_and_a_pickle_read_the_same(tmp_path: Path) -> None:
    path = OME["tczyx-tiled"](tmp_path)
    source = pickle.loads(pickle.dumps(converter.open(path)))
    array, expected = source.streams[0].array, golden(path)
    regions = [
        (slice(t, t + 1), slice(c, c + 1), slice(z, z + 1)) for t in range(2) for c in range(3) for z in range(4)
    ]
    with ThreadPoolExecutor(8) as pool:
        for region, got in zip(regions * 8, pool.map(array.__getitem__, regions * 8), strict=True):
            np.testing.assert_array_equal(got, expected[region])


def test_pixels_and_samples_of_a_page_are_read_apart(tmp_path: Path) -> None:
    (stream,) = converter.open(OME["rgb"](tmp_path)).streams
    assert (stream.axes, stream.shape) == (("c", "z", "y", "x"), (3, 3, 24, 32))
    assert [(c.name, c.color) for c in stream.channels] == [("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")]


ENCODED: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "jpeg": ((3, 64, 80, 3), {"dtype": "uint8", "photometric": "rgb", "compression": "jpeg"}),
    "jpeg-tiled": ((64, 80, 3), {"dtype": "uint8", "photometric": "rgb", "compression": "jpeg", "tile": (32, 32)}),
    "zstd": ((3, 64, 80), {"compression": "zstd"}),
    "packbits": ((64, 80), {"dtype": "uint8", "compression": "packbits", "rowsperstrip": 7}),
    "bilevel": ((64, 83), {"dtype": "bool"}),
    "strips": ((3, 64, 80), {"rowsperstrip": 7}),
    "planar": ((3, 64, 80), {"dtype": "uint8", "photometric": "rgb", "planarconfig": "separate"}),
    "planar-tiled": (
        (3, 64, 80), {"dtype": "uint8", "photometric": "rgb", "planarconfig": "separate", "tile": (32, 48)}
    ),
    "float-predicted": ((64, 80), {"dtype": "float32", "compression": "zlib", "predictor": True, "byteorder": ">"}),
    "big-endian-lzw": ((64, 80), {"compression": "lzw", "byteorder": ">"}),
    "long-rows": ((4, 40000), {}),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "options"), ENCODED.values(), ids=ENCODED)
def test_encodings_of_pages(tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    path = write_plain(tmp_path / "a.tif", shape, **options)
    source = converter.open(path)
    if source.needs[0].key == "axes":
        source = source.with_facts({"axes": "zyx"})
    expected = tifffile.imread(path)
    if expected.shape[-1] == 3:
        expected = np.moveaxis(expected, -1, 0)
    (stream,) = source.streams
    np.testing.assert_array_equal(whole(stream), expected)
    part = (*(slice(None) for _ in expected.shape[2:]), slice(1, 3), slice(35, 62))
    assert stream.array is not None
    np.testing.assert_array_equal(stream.array[part], expected[part])


def test_what_ome_xml_states(tmp_path: Path) -> None:
    source = converter.open(write_ome(tmp_path / "a.ome.tif", (2, 2, 3, 8, 8), "TCZYX", metadata=STATED))
    (stream,) = source.streams
    assert stream.scale == {"z": 4.0, "y": 0.65, "x": 0.65, "t": 0.25}
    assert [(c.name, c.color, c.wavelength_nm, c.excitation_nm) for c in stream.channels] == [
        ("DAPI", "0000FF", 461.0, 358.0), ("GFP", "00FF00", 509.0, 488.0)
    ]  # fmt: skip
    assert source.facts["pixel_size_um"] == {"z": 4.0, "y": 0.65, "x": 0.65}
    assert source.facts["time_increment_s"] == 0.25
    assert source.facts["channel_names"] == ("DAPI", "GFP")
    assert not source.needs
    assert "session_start_time" not in source.facts


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_a_pixel_is_no_length(tmp_path: Path, unit: str) -> None:
    stated = {"PhysicalSizeX": 1.0, "PhysicalSizeXUnit": unit, "PhysicalSizeY": 0.0, "PhysicalSizeYUnit": "µm"}
    source = converter.open(write_ome(tmp_path / "a.ome.tif", (8, 8), "YX", metadata=stated))
    assert "pixel_size_um" not in source.facts
    assert [n.key for n in source.needs] == ["pixel_size_um.y", "pixel_size_um.x"]


def test_instrument_and_date(tmp_path: Path) -> None:
    xml = ome_xml(
        'DimensionOrder="XYZCT" SizeX="16" SizeY="12" SizeZ="1" SizeC="1" SizeT="1"', '<TiffData IFD="0"/>',
        extra='<Experimenter ID="Experimenter:0" FirstName="Ada" LastName="Lovelace"/><Instrument ID="Instrument:0">'
        '<Microscope Manufacturer="LaVision" Model="Ultra"/><Objective ID="Objective:0" Model="MVPLAPO" '
        'NominalMagnification="2" LensNA="0.5" Immersion="Oil"/></Instrument>',
        image="<AcquisitionDate>2026-03-04T10:11:12</AcquisitionDate><Description>left</Description>"
        '<ObjectiveSettings ID="Objective:0"/>',
    )  # fmt: skip
    path = write_plain(tmp_path / "a.tif", (12, 16), description=xml)
    facts = converter.open(path).facts
    assert facts["session_start_time"] == datetime(2026, 3, 4, 10, 11, 12)
    assert facts["objective"] == "MVPLAPO, 2x, NA 0.5, Oil"
    assert facts["device"] == "LaVision Ultra"
    assert facts["experimenter"] == "Lovelace, Ada"
    assert facts["description"] == "left"


def test_every_series_is_a_stream(tmp_path: Path) -> None:
    path = write_series(tmp_path / "a.ome.tif")
    source = converter.open(path)
    assert [s.name for s in source.streams] == ["brain", "eye"]
    for i, stream in enumerate(source.streams):
        np.testing.assert_array_equal(whole(stream), golden(path, i))


def test_a_set_of_files_is_one_image(tmp_path: Path) -> None:
    path = write_ome_set(tmp_path)
    for name in ("set_c0.ome.tif", "set_c1.ome.tif"):
        source = converter.open(tmp_path / name)
        assert {f.name for f in source.files} == {"set_c0.ome.tif", "set_c1.ome.tif"}
        np.testing.assert_array_equal(whole(source.streams[0]), pixels((2, 3, 12, 16)))
    assert source.streams[0].scale == {"z": 2.0, "y": 0.5, "x": 0.5}
    np.testing.assert_array_equal(golden(path), pixels((2, 3, 12, 16)))


def test_a_missing_file_of_a_set_is_named(tmp_path: Path) -> None:
    path = write_ome_set(tmp_path)
    (tmp_path / "set_c1.ome.tif").unlink()
    with pytest.raises(BadSource, match=r"set_c1\.ome\.tif is missing"):
        converter.open(path)


def test_a_renamed_file_is_known_by_its_uuid(tmp_path: Path) -> None:
    path = write_ome_set(tmp_path).rename(tmp_path / "renamed.tif")
    np.testing.assert_array_equal(whole(converter.open(path).streams[0]), pixels((2, 3, 12, 16)))


BAD_XML = {
    "no xml": ("<OME><Image></OME>", "cannot be read"),
    "no size": (ome_xml('DimensionOrder="XYZCT"', "<TiffData/>"), "SizeX"),
    "no planes": (
        ome_xml('DimensionOrder="XYZCT" SizeX="16" SizeY="12" SizeZ="1" SizeC="1" SizeT="1"', ""), "without TiffData"
    ),
    "too many": (
        ome_xml('DimensionOrder="XYZCT" SizeX="16" SizeY="12" SizeZ="2" SizeC="1" SizeT="1"',
                '<TiffData IFD="0" PlaneCount="2"/>'), "speaks of page 2"
    ),
    "too few": (
        ome_xml('DimensionOrder="XYZCT" SizeX="16" SizeY="12" SizeZ="2" SizeC="1" SizeT="1"', "<TiffData/>"), "z=1"
    ),
    "other size": (
        ome_xml('DimensionOrder="XYZCT" SizeX="17" SizeY="12" SizeZ="1" SizeC="1" SizeT="1"', "<TiffData/>"), "12 x 17"
    ),
    "outside": (
        ome_xml('DimensionOrder="XYZCT" SizeX="16" SizeY="12" SizeZ="1" SizeC="1" SizeT="1"',
                '<TiffData><UUID FileName="../secret.tif">urn:uuid:1</UUID></TiffData>'), "not beside it"
    ),
    "outside sizes": (
        ome_xml('DimensionOrder="XYZCT" SizeX="16" SizeY="12" SizeZ="1" SizeC="1" SizeT="1"',
                '<TiffData FirstC="1" IFD="0"/>'), "FirstC=1"
    ),
    "absurd size": (
        ome_xml('DimensionOrder="XYZCT" SizeX="16" SizeY="12" SizeZ="2000000000" SizeC="1" SizeT="1"', "<TiffData/>"),
        "names 1 of them"
    ),
    "entity": ('<!DOCTYPE x [<!ENTITY a "b">]><OME>&a;</OME>', "document type"),
}  # fmt: skip


@pytest.mark.parametrize(("xml", "message"), BAD_XML.values(), ids=BAD_XML)
def test_bad_ome_xml_is_refused(tmp_path: Path, xml: str, message: str) -> None:
    path = write_plain(tmp_path / "a.tif", (12, 16), description=xml)
    with pytest.raises(BadSource, match=message) as caught:
        converter.open(path)
    assert caught.value.remedy


def test_the_remedy_for_a_missing_tiffdata_works(tmp_path: Path) -> None:
    """As pyvips writes it, and as the light-sheet example of BIDS has it."""
    path = write_plain(tmp_path / "a.tif", (12, 16), description=BAD_XML["no planes"][0])
    with pytest.raises(BadSource):
        converter.open(path)
    text = tifffile.tiffcomment(path)
    assert isinstance(text, str)
    tifffile.tiffcomment(path, text.replace("</Pixels>", "<TiffData/></Pixels>"))
    np.testing.assert_array_equal(whole(converter.open(path).streams[0]), pixels((12, 16)))


@pytest.mark.parametrize("name", ["yx", "czyx-deflate", "tczyx-tiled", "czyx-bigtiff-float"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    path = OME[name](tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    if converter.identify(path):
        with pytest.raises(BadSource) as caught:
            converter.open(path)
        assert caught.value.file == str(path)


def test_damaged_pixels_are_heard_when_they_are_read(tmp_path: Path) -> None:
    path = OME["czyx-deflate"](tmp_path)
    with tifffile.TiffFile(path) as tif:
        place = tif.pages[3].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    array = converter.open(path).streams[0].array
    assert array is not None
    array[0:1, 0:1]
    with pytest.raises(BadSource, match="cannot be decoded") as caught:
        array[1:2, 0:1]
    assert caught.value.place == "page 4"


def test_a_file_that_shrinks_later_is_heard(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.tif", (12, 16))
    array = converter.open(path).streams[0].array
    assert array is not None
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(BadSource, match="ends within a page"):
        array[:]


JUNK = {"empty": b"", "short": b"II*", "jpeg": b"\xff\xd8\xff\xe0" + bytes(20)}
BEGUN = {
    "text": b"II*\0" + b"text " * 20, "loop": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "bigtiff": b"II+\0\x08\0\0\0" + bytes(8),
}  # fmt: skip


@pytest.mark.parametrize("content", JUNK.values(), ids=JUNK)
def test_junk_is_no_tiff(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    assert not converter.identify(path)
    assert not converter.identify(tmp_path)
    assert not converter.identify(tmp_path / "absent.tif")
    with pytest.raises(BadSource):
        converter.open(path)


@pytest.mark.parametrize("content", BEGUN.values(), ids=BEGUN)
def test_what_begins_as_a_tiff_and_is_none_is_not_passed_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    assert "begins as a TIFF does, and is damaged or cut off" in converter.identify(path).reason
    (broken,) = scan(tmp_path).broken
    assert (broken.format, broken.path) == ("ome_tiff", path)
    assert broken.error.file == str(path)
    assert broken.error.place == "page 1"
    assert broken.error.remedy


FOREIGN: dict[str, Callable[[Path], None]] = {
    "scanimage": lambda p: tifffile.imwrite(p, pixels((4, 8)), software="SI.LINE_FORMAT_VERSION = 1", metadata=None),
    "scanimage-old": lambda p: tifffile.imwrite(p, pixels((4, 8)), description="state.config=1", metadata=None),
    "bruker": lambda p: tifffile.imwrite(p, pixels((4, 8)), software="Prairie View 5.6", metadata=None),
    "micromanager": lambda p: tifffile.imwrite(p, pixels((4, 8)), extratags=[(51123, 2, 0, "{}", True)], metadata=None),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_formats_with_a_meaning_of_their_own_are_left(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.tif")
    verdict = converter.identify(tmp_path / "a.tif")
    assert not verdict
    assert "meaning of its own" in verdict.reason


def test_a_plane_of_a_folder_is_not_an_image(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "brain")
    assert not converter.identify(folder / "ch00001.tif")
    write_plain(folder / "overview.tif", (12, 16))
    assert converter.identify(folder / "overview.tif")


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="axes"):
        converter.open(write_plain(tmp_path / "a.tif", (4, 8)), {"axes": "yx"})


def test_knowing_and_opening_a_tiff_does_not_load_the_decoder(tmp_path: Path) -> None:
    path = OME["tczyx"](tmp_path)
    code = (
        "import sys; from pathlib import Path; from dandify.sources.registry import by_name\n"
        f"c = by_name('ome_tiff'); p = Path({str(path)!r}); assert c.identify(p); a = c.open(p).streams[0].array\n"
        "a[0:1]; assert 'tifffile' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_light_sheet_is_the_same_every_time(tmp_path: Path) -> None:
    one, two = (write_light_sheet(tmp_path / f"{n}.ome.tif", seed=3, shape=(4, 40, 48)) for n in "ab")
    assert one.read_bytes() == two.read_bytes()
    source = converter.open(one)
    (stream,) = source.streams
    assert (stream.axes, stream.shape) == (("c", "z", "y", "x"), (2, 4, 40, 48))
    assert stream.scale == {"z": 4.0, "y": 1.3, "x": 1.3}
    assert source.facts["channel_names"] == ("autofluorescence", "c-Fos")
    np.testing.assert_array_equal(whole(stream), golden(one))


def test_the_real_ome_tiff_goes_whole() -> None:
    path = shared("microscopy/viv_ometiff_zarr/multi-channel.ome.tif")
    (stream,) = converter.open(path).streams
    assert (stream.axes, stream.shape, stream.dtype) == (("c", "y", "x"), (3, 167, 439), np.dtype("int8"))
    np.testing.assert_array_equal(whole(stream), tifffile.imread(path))


def real_sources(folder: str) -> list[Source]:
    """Every TIFF of a folder that is taken by a converter of plain images; no two of these say yes to one."""
    found: dict[Path, Source] = {}
    for path in sorted(shared(folder).rglob("*")):
        if path.suffix.lower() not in (".tif", ".tiff", ".btf"):
            continue
        claimed = [(c, root) for c in available() if (root := c.claim(path)) is not None and c.identify(root)]
        assert len({c.priority for c, _ in claimed}) == len(claimed), f"{path}: {[c.name for c, _ in claimed]}"
        first = claimed[:1]  # the one that is asked first takes it
        found.update({r: c.open(r) for c, r in first if r not in found and c.name in ("ome_tiff", "planes")})
    return list(found.values())


@pytest.mark.parametrize("folder", ["microscopy", "ophys"])
# A header of one real file states more images than the file holds: tifffile says so by a log record, which is no error.
def test_real_tiffs_are_as_tifffile_reads_them(folder: str) -> None:
    sources = real_sources(folder)
    assert len(sources) > 4
    for source in sources:
        if source.needs and source.needs[0].key == "axes":
            source = source.with_facts({"axes": "zyx"})
        with np.errstate(invalid="ignore"):  # tifffile divides 0 by 0 in tags of PrairieView
            expected = [tifffile.imread(f) for f in source.files]
        values = whole(source.streams[0])
        one = np.squeeze(np.stack(expected)) if len(expected) > 1 else expected[0]
        if values.shape[0] in (3, 4) and one.shape[-1] == values.shape[0]:
            one = np.moveaxis(one, -1, 0)
        np.testing.assert_array_equal(values, one, err_msg=str(source.path))
