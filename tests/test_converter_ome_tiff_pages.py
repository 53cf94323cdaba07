"""TIFF files whose pages differ in size, and the rows of a page that can be read by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import xxhash
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.ngff.plan import plan_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.sources.registry import by_name

PAGE, OTHER = np.zeros((12, 16), np.uint16), np.ones((10, 16), np.uint16)


def write(path: Path, *pages: NDArray[np.uint16]) -> Path:
    with tifffile.TiffWriter(path) as tif:
        for page in pages:
            tif.write(page, metadata=None)
    return path


def test_a_page_of_another_size_in_the_middle_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", PAGE, PAGE, OTHER, PAGE)
    with pytest.raises(BadSource, match="page 3 of 4 has 10 x 16") as caught:
        by_name("ome_tiff").open(path)
    assert caught.value.place == "page 3"


def test_a_second_image_behind_the_first_is_an_image(tmp_path: Path) -> None:
    source = by_name("ome_tiff").open(write(tmp_path / "a.tif", PAGE, OTHER))
    assert [(s.name, s.shape) for s in source.streams] == [("a_0", (12, 16)), ("a_1", (10, 16))]


def test_a_single_picture_has_no_time_increment(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PAGE, description="ImageJ=1.53c\nunit=pixel\nfinterval=1\n", metadata=None)
    assert "time_increment_s" not in by_name("ome_tiff").open(path).facts


STORED: dict[str, tuple[dict[str, Any], int]] = {
    "rows of bytes": ({}, 1),
    "compressed strips": ({"compression": "zlib", "rowsperstrip": 16}, 16),
    "strips of a row": ({"compression": "lzw", "rowsperstrip": 1}, 2),
    "one strip": ({"compression": "zstd", "rowsperstrip": 500}, 200),
    "compressed tiles": ({"compression": "zlib", "tile": (32, 64)}, 32),
    "plain tiles": ({"tile": (64, 32)}, 64),
}


@pytest.mark.parametrize("case", STORED)
def test_what_is_decoded_at_one_go(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large compressed pages go through memory some rows at a time, and every strip is decoded once."""
    options, rows = STORED[case]
    pages = np.random.default_rng(1).integers(0, 4000, (6, 200, 96), np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for page in pages:
            tif.write(page, contiguous=False, metadata=None, photometric="minisblack", **options)
    array = by_name("ome_tiff").open(tmp_path / "a.tif").with_facts({"axes": "zyx"}).streams[0].array
    assert array is not None
    assert array.block == (1, rows, 96)
    decoded: list[tuple[int, int]] = []
    decode = tifffile.TiffPage.decode

    def counted(page: tifffile.TiffPage) -> Any:
        inner = decode.__get__(page)

        def one(data: Any, number: int, **options: Any) -> Any:
            decoded.append((page.offset, number))
            return inner(data, number, **options)

        return one

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(counted))
    scale = {"z": 1.0, "y": 1.0, "x": 1.0}
    report = write_ome_zarr(array, tmp_path / "a.ome.zarr", scale=scale, chunks=(2, 64, 64), verify=False)
    assert report.datasets[0].xxh128 == xxhash.xxh3_128(pages.tobytes()).hexdigest()
    assert len(decoded) == len(set(decoded))
    parts = "64 rows of them in turn" if rows in (1, 2, 16, 32, 64) else "2 at one time"
    assert parts in plan_ome_zarr(array, tmp_path / "b.ome.zarr", scale=scale, chunks=(2, 64, 64)).reason


def tiles(path: Path, *places: dict[str, float | str]) -> Path:
    with tifffile.TiffWriter(path, ome=True) as tif:
        for place in places:
            plane = {"Plane": {key: [value] for key, value in place.items()}} if place else {}
            stated = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, **plane}
            tif.write(PAGE, metadata=stated, photometric="minisblack")
    return path


MICROMETRES = {"PositionXUnit": "µm", "PositionYUnit": "µm"}


def test_tiles_lie_where_the_stage_was(tmp_path: Path) -> None:
    """The stage is said to be at the middle of a field: of 12 x 16 pixels of 0.5 um."""
    source = by_name("ome_tiff").open(tiles(
        tmp_path / "a.ome.tif", {"PositionX": 100.0, "PositionY": -40.0, **MICROMETRES},
        {"PositionX": 107.0, "PositionY": -40.0, **MICROMETRES},
    ))  # fmt: skip
    assert [dict(s.origin) for s in source.streams] == [{"y": -42.75, "x": 96.25}, {"y": -42.75, "x": 103.25}]
    assert "several places of the stage" in source.problems[0]


@pytest.mark.parametrize(
    "place",
    [{}, {"PositionX": 100.0, "PositionY": 5.0}, {"PositionX": 0.0, "PositionY": 0.0, **MICROMETRES},
     {"PositionX": 100.0, "PositionXUnit": "µm"}],
    ids=["nothing", "no unit of length", "zeros", "one axis"],
)  # fmt: skip
def test_an_image_of_which_no_place_is_stated_has_none(place: dict[str, float | str], tmp_path: Path) -> None:
    source = by_name("ome_tiff").open(tiles(tmp_path / "a.ome.tif", place))
    assert not source.streams[0].origin
    assert not source.problems
