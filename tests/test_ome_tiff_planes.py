"""What OME-XML states of single planes - stage, times, exposures - and the OME-TIFF of Micro-Manager."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources.registry import by_name
from tiff_golden import whole
from tiff_makers import ome_xml, pixels, write_plain

converter = by_name("ome_tiff")
SIZES = 'DimensionOrder="XYZCT" SizeX="16" SizeY="12" SizeZ="1" SizeC="2" SizeT="3" PhysicalSizeX="1" PhysicalSizeY="1"'
DATA = '<TiffData IFD="0" PlaneCount="6"/>'


def plane(t: int, c: int, **stated: str) -> str:
    return f'<Plane TheT="{t}" TheC="{c}" TheZ="0" {" ".join(f"""{k}="{v}" """ for k, v in stated.items())}/>'


def facts_of(tmp_path: Path, planes: str, sizes: str = SIZES) -> dict[str, Any]:
    xml = ome_xml(sizes, DATA + planes)
    path = write_plain(tmp_path / "a.ome.tif", (6, 12, 16), description=xml.encode(), photometric="minisblack")
    source = converter.open(path)
    return {**source.facts, "scale": dict(source.streams[0].scale)}


def test_the_stage_of_the_first_plane(tmp_path: Path) -> None:
    stage = {"PositionX": "-1.5", "PositionXUnit": "mm", "PositionY": "0", "PositionYUnit": "µm", "PositionZ": "7"}
    facts = facts_of(tmp_path, plane(1, 0, PositionX="9", PositionXUnit="mm") + plane(0, 0, **stage))
    assert facts["stage_position_um"] == {"brain": {"x": -1500.0, "y": 0.0}}  # z has no unit: nobody knows how long


@pytest.mark.parametrize(
    ("times", "unit", "step"),
    [(("0", "2500", "5000"), "ms", 2.5), (("0.0", "1", "2"), "s", 1.0), (("0", "1", "5"), "s", None),
     (("0", "1"), "s", None), (("0", "1", "2"), "reference", None)],
    ids=["milliseconds", "seconds", "irregular", "one missing", "no unit"],
)  # fmt: skip
def test_times_of_planes(times: tuple[str, ...], unit: str, step: float | None, tmp_path: Path) -> None:
    planes = "".join(plane(t, 0, DeltaT=time, DeltaTUnit=unit) for t, time in enumerate(times))
    assert facts_of(tmp_path, planes)["scale"].get("t") == step


def test_a_stated_increment_counts_more(tmp_path: Path) -> None:
    planes = "".join(plane(t, 0, DeltaT=str(t)) for t in range(3))
    assert facts_of(tmp_path, planes, SIZES + ' TimeIncrement="4"')["time_increment_s"] == 4.0


def test_exposures_of_channels(tmp_path: Path) -> None:
    first = plane(0, 0, ExposureTime="20", ExposureTimeUnit="ms")
    assert facts_of(tmp_path, first + plane(0, 1, ExposureTime="0.5"))["exposure_time_s"] == (0.02, 0.5)
    assert "exposure_time_s" not in facts_of(tmp_path, first)


def test_a_plane_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    """The second page would have taken the place of the first, and one of both be lost."""
    twice = '<TiffData IFD="2" FirstC="1" FirstT="0" PlaneCount="1"/>'
    with pytest.raises(BadSource, match="two pages for the plane t=0 c=1 z=0; one is page 3"):
        facts_of(tmp_path, twice)
    facts_of(tmp_path, '<TiffData IFD="1" FirstC="1" FirstT="0" PlaneCount="1"/>')  # the same again is no harm


def write_micro_manager(path: Path, values: NDArray[np.uint16], xml: str) -> None:
    """Write pages as MMStack files have them: two descriptions and the program's metadata in the first page."""
    pages, height, width = values.shape
    out = bytearray(b"II*\0\x08\0\0\0")
    for number, page in enumerate(values):
        texts = [(270, xml.encode()), (270, b"ImageJ=1.52\nimages=6\nhyperstack=true\n"), (51123, b'{"FrameIndex": 0}')]
        texts = texts if number == 0 else texts[2:]
        numbers = [
            (256, width),
            (257, height),
            (258, 16),
            (259, 1),
            (262, 1),
            (277, 1),
            (278, height),
            (279, page.nbytes),
        ]
        begin = len(out) + 2 + 12 * (len(numbers) + len(texts) + 1) + 4
        entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in numbers]
        entries.append(struct.pack("<HHII", 273, 4, 1, begin))
        tail = page.astype("<u2").tobytes()
        for tag, text in texts:
            entries.append(struct.pack("<HHII", tag, 2, len(text) + 1, begin + len(tail)))
            tail += text + b"\0"
        entries.sort(key=lambda e: struct.unpack_from("<H", e)[0])  # of two descriptions, the first stays the first
        following = 0 if number == pages - 1 else begin + len(tail)
        out += struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following) + tail
    path.write_bytes(out)


def test_an_ome_tiff_of_micro_manager(tmp_path: Path) -> None:
    path = tmp_path / "run_MMStack_Pos0.ome.tif"
    values = pixels((6, 12, 16))
    write_micro_manager(path, values, ome_xml(SIZES, DATA + plane(0, 0, PositionX="3", PositionXUnit="µm")))
    with tifffile.TiffFile(path) as tif:
        assert tif.is_micromanager
        assert "ImageJ" in tif.pages[0].description1  # the second one
        np.testing.assert_array_equal(tif.pages[4].asarray(), values[4])
    assert converter.identify(path)
    source = converter.open(path)
    np.testing.assert_array_equal(whole(source.streams[0]), values.reshape(3, 2, 12, 16))
    assert source.facts["stage_position_um"] == {"brain": {"x": 3.0}}


@pytest.mark.parametrize(("planes", "yes"), [(1, True), (2, False)])
def test_one_plane_with_tags_of_prairieview_is_a_picture(planes: int, yes: bool, tmp_path: Path) -> None:
    """A projection that PrairieView saved: its tags state a pixel of 99 um whatever it is, and nothing more."""
    path = tmp_path / "scan_Cycle00001_Ch1_MIP.tif"
    tags = [(33628, 4, 1, 0, True), (33629, 5, planes, (0, 1) * planes, True)]
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels((12, 16)), extratags=tags, metadata=None, software=None)
    assert bool(converter.identify(path)) is yes
    if yes:
        assert [n.key for n in converter.open(path).needs] == ["pixel_size_um.y", "pixel_size_um.x"]


def test_complex_numbers_are_called_that(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((12, 16), np.complex64))
    with pytest.raises(BadSource, match="holds complex numbers") as caught:
        converter.open(tmp_path / "a.tif")
    assert caught.value.place == "page 1"
