"""The demo: the whole way on small recordings, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

import dandify
from dandify.errors import BadRequest
from dandify.examples.run import MARKER, DemoReport

STEPS = ["make", "scan", "convert", "organize", "validate", "upload", "download", "compare"]


def run(folder: Path) -> tuple[DemoReport, str]:
    console = Console(record=True, width=160, quiet=False, file=(folder.parent / "log").open("w", encoding="utf-8"))
    try:
        return dandify.demo(folder, seconds=1.0, channels=8, console=console), console.export_text()
    finally:
        console.file.close()


def test_it_goes_the_whole_way_and_again(tmp_path: Path) -> None:
    for _ in range(2):  # the second takes the place of the first
        report, said = run(tmp_path / "demo")
        assert [(s.name, s.ok) for s in report.steps] == [(name, True) for name in STEPS]
    assert report.ok
    assert "dandify archive serve" in said
    for name in ("raw", "converted", "dandiset", "archive", "downloaded", "dandify.yaml"):
        assert (tmp_path / "demo" / name).exists()


def test_it_says_what_fell_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dandify.examples import light_sheet

    write = light_sheet.write_light_sheet

    def damaged(path: Path, *, seed: int) -> Path:
        write(path, seed=seed, shape=(2, 8, 8))
        (path.parent / "unknown.xyz").write_text("?")
        return path

    monkeypatch.setattr(light_sheet, "write_light_sheet", damaged)
    report, said = run(tmp_path / "demo")
    assert not report.ok
    assert [s.name for s in report.steps if not s.ok] == ["scan"]
    assert "fell short: scan" in said


def test_it_does_not_touch_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.docx").write_text("years of work")
    with pytest.raises(BadRequest, match="no earlier demo"):
        dandify.demo(tmp_path / "demo")
    assert [p.name for p in (tmp_path / "demo").iterdir()] == ["thesis.docx"]
    assert not (tmp_path / "demo" / MARKER).exists()
