"""TIFF files whose pages differ in size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from dandify.errors import BadSource
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
