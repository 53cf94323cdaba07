"""Tables as spreadsheets on other computers write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dandify.dandiset.table import read_table
from dandify.errors import BadRequest

LINES = ["path;subject_id;age", "day 1\\a.nwb;007;P60D", "day 1\\b.nwb;Mäuse 2;"]


def lines(mark: str, end: str = "\r\n") -> str:
    return end.join(line.replace(";", mark) for line in LINES) + end


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", lines(",", "\n").encode()),
        ("t.csv", lines(",").encode()),
        ("t.csv", lines(";").encode("utf-8-sig")),
        ("t.csv", ("sep=;\r\n" + lines(";")).encode()),
        ("t.tsv", lines("\t").encode("utf-8-sig")),
        ("t.txt", lines("\t").encode("utf-16")),
        ("t.txt", b"\xfe\xff" + lines("\t").encode("utf-16-be")),
        ("t.csv", lines(",").replace("\r\n", ",,\r\n").encode() + b",,,,\r\n"),
        ("t.csv", lines(",").replace("subject_id", "Subject_ID ").replace("path", "Path").encode()),
        ("t.csv", lines('","').replace("\r\n", '"\r\n"').removesuffix('"').join(('"', "")).encode()),
    ],
    ids=["plain", "crlf", "semicolons", "sep", "tsv", "utf-16", "utf-16-be", "empty cells", "capitals", "quotes"],
)
def test_what_a_spreadsheet_makes_of_a_table(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    rows = read_table(tmp_path / name).rows
    assert [(row.path, dict(row.values)) for row in rows] == [
        (tmp_path / "day 1" / "a.nwb", {"subject_id": "007", "age": "P60D"}),
        (tmp_path / "day 1" / "b.nwb", {"subject_id": "Mäuse 2"}),
    ]


@pytest.mark.parametrize(
    ("content", "cause", "place"),
    [
        (b"path,subject_id\na.nwb,x,y\n", "3 cells under 2 names", "line 2"),
        (b"path,,subject_id\na.nwb,,x\n", "unknown column ''", "line 1"),
        (b"sep=;\npath;subjectid\na.nwb;x\n", "unknown column 'subjectid'; did you mean 'subject_id'", "line 2"),
        (b"sep=;\npath;age\n;P1D\n", "a row with no path", "line 3"),
        (lines(",").encode("cp1252"), "not UTF-8", None),
    ],
    ids=["a cell too many", "a gap", "spelling", "no path", "another encoding"],
)
def test_what_no_table_can_be(tmp_path: Path, content: bytes, cause: str, place: str | None) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(BadRequest) as caught:
        read_table(tmp_path / "t.csv")
    assert cause in caught.value.cause
    assert caught.value.place == place


def test_a_name_with_a_backslash_is_that_files(tmp_path: Path) -> None:
    (tmp_path / "a\\b.nwb").touch()
    (tmp_path / "t.csv").write_text("path,subject_id\na\\b.nwb,x\n")
    if (tmp_path / "a\\b.nwb").name == "b.nwb":
        pytest.skip("a backslash is no part of names here")
    assert read_table(tmp_path / "t.csv").rows[0].path == tmp_path / "a\\b.nwb"


def test_a_pattern_with_backslashes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,subject_id\nraw\\*\\x_[0-9].nwb,x\n")
    table = read_table(tmp_path / "t.csv")
    assert [len(table.rows_of(tmp_path / "raw" / "d" / name)) for name in ("x_1.nwb", "x_a.nwb")] == [1, 0]
