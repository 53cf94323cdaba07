"""NWB files and Zarrs in archive files: dandi takes them as they are only."""

from __future__ import annotations

from pathlib import Path

import pytest

from dandify.dandiset.check import check
from dandify.dandiset.organize import organize
from dandify.dandiset.validate import validate
from dandify.errors import UnknownFormat
from dandiset_cases import add_units, session, write


@pytest.mark.parametrize("name", ["x.ome.zarr.zip", "x.ozx", "x.nwb.gz", "X.NWB.ZARR.TAR.GZ"])
def test_packed_files_are_to_be_unpacked(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"packed")
    with pytest.raises(UnknownFormat, match="packed ones") as caught:
        organize(tmp_path / "in", tmp_path / "out")
    assert "unpack it" in str(caught.value.remedy)
    write(add_units(session()), tmp_path / "in" / "good.nwb")
    report = organize(tmp_path / "in", tmp_path / "out")
    assert [(item.path.name, item.reason[:9]) for item in report.left] == [(name, "unpack it")]
    for findings in (check(tmp_path / "in").findings, validate(tmp_path / "in").findings):
        assert [f.remedy for f in findings if f.path and f.path.name == name] == [report.left[0].reason]
