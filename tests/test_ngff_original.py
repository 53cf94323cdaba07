"""The OME-XML of the source is kept within the image, byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from dandify.ngff.check import check_ome_zarr
from dandify.ngff.original import PLACE, original_xml
from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import read_manifest

SCALE = {"z": 2.0, "y": 0.5, "x": 0.5}
VALUES = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)


def ome_tiff(path: Path) -> str:
    tifffile.imwrite(path, VALUES, ome=True, photometric="minisblack", metadata={"axes": "ZYX", "Name": "µ"})
    with tifffile.TiffFile(path) as tif:
        assert tif.ome_metadata is not None
        text: str = tif.ome_metadata
        return text


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_kept(version: str, tmp_path: Path) -> None:
    text = ome_tiff(tmp_path / "brain.ome.tif")
    path = tmp_path / "brain.ome.zarr"
    report = write_ome_zarr(VALUES, path, scale=SCALE, version=version, sources=[tmp_path / "brain.ome.tif"])
    assert (path / PLACE).read_text(encoding="utf-8") == text
    assert read_manifest(report.manifest).details["files"][PLACE]["size"] == len(text.encode())
    assert not check_ome_zarr(path)


def test_binary_only_files_are_passed_over(tmp_path: Path) -> None:
    text = ome_tiff(tmp_path / "whole.ome.tif")
    other = '<OME xmlns="x"><BinaryOnly MetadataFile="whole.ome.tif" UUID="urn:uuid:0"/></OME>'
    tifffile.imwrite(tmp_path / "a.ome.tif", VALUES[0], description=other, metadata=None)
    assert original_xml([tmp_path / "a.ome.tif", tmp_path / "whole.ome.tif"]) == text


@pytest.mark.parametrize("content", [b"", b"II*\0junk", b"text"], ids=["empty", "cut off", "no TIFF"])
def test_none_without_one(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    tifffile.imwrite(tmp_path / "plain.tif", VALUES[0])
    assert original_xml([tmp_path / "absent.tif", tmp_path / "notes.txt", tmp_path / "a.tif"]) is None
    assert original_xml([tmp_path / "plain.tif"]) is None
