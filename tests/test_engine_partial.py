"""Outputs appear whole or not at all; manifests are read back as they were written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dandify.errors import BadRequest, BadSource, DandifyError, OutputExists
from dandify.store.manifest import (
    Manifest,
    ManifestDataset,
    SourceFile,
    describe_sources,
    manifest_path,
    now,
    read_manifest,
    versions,
    write_manifest,
)
from dandify.store.partial import make_folder, output_path, partial_output, partial_path, require_place
from dandify.store.space import require_room


def fill_file(path: Path, text: str) -> None:
    path.write_text(text)


def fill_folder(path: Path, text: str) -> None:
    path.mkdir(exist_ok=True)
    (path / "0").write_text(text)


def text_of(path: Path) -> str:
    return (path / "0" if path.is_dir() else path).read_text()


KINDS = pytest.mark.parametrize(
    ("directory", "fill"), [pytest.param(False, fill_file, id="file"), pytest.param(True, fill_folder, id="folder")]
)


@KINDS
def test_success(tmp_path: Path, directory: bool, fill: Callable[[Path, str], None]) -> None:
    out = tmp_path / "new" / "out"
    with partial_output(out, overwrite=False, directory=directory) as temporary:
        assert temporary == partial_path(out)
        fill(temporary, "whole")
        assert not out.exists()
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    assert text_of(out) == "whole"


@KINDS
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existing", [False, True], ids=["fresh", "overwriting"])
def test_failure_leaves_what_was_there(
    tmp_path: Path, directory: bool, fill: Callable[[Path, str], None], error: type[BaseException], existing: bool
) -> None:
    out = tmp_path / "out"
    if existing:
        fill(out, "old")

    def fail() -> None:
        with partial_output(out, overwrite=existing, directory=directory) as temporary:
            fill(temporary, "half")
            raise error

    with pytest.raises(error):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == (["out"] if existing else [])
    assert not existing or text_of(out) == "old"


@KINDS
def test_existing_is_refused_before_the_block(
    tmp_path: Path, directory: bool, fill: Callable[[Path, str], None]
) -> None:
    fill(tmp_path / "out", "old")
    with (
        pytest.raises(OutputExists, match="exists already"),
        partial_output(tmp_path / "out", overwrite=False, directory=directory),
    ):
        pytest.fail("the block was entered")
    assert text_of(tmp_path / "out") == "old"


@pytest.mark.parametrize("old", [fill_file, fill_folder])
@KINDS
def test_overwrite(
    tmp_path: Path, directory: bool, fill: Callable[[Path, str], None], old: Callable[[Path, str], None]
) -> None:
    out = tmp_path / "out"
    old(out, "old")
    with partial_output(out, overwrite=True, directory=directory) as temporary:
        fill(temporary, "new")
        assert text_of(out) == "old"
    assert text_of(out) == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@KINDS
def test_what_a_killed_run_left_is_replaced(tmp_path: Path, directory: bool, fill: Callable[[Path, str], None]) -> None:
    fill_folder(partial_path(tmp_path / "out"), "half")
    with partial_output(tmp_path / "out", overwrite=False, directory=directory) as temporary:
        fill(temporary, "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_output_that_appears_meanwhile_is_not_lost(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def write() -> None:
        with partial_output(out, overwrite=False) as temporary:
            temporary.write_text("ours")
            out.write_text("theirs")

    with pytest.raises(OutputExists):
        write()
    assert out.read_text() == "theirs"


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DandifyError, match="nothing was written"), partial_output(tmp_path / "out", overwrite=False):
        pass


def test_manifest_round_trip(tmp_path: Path) -> None:
    raw = tmp_path / "raw.bin"
    raw.write_bytes(b"12345")
    manifest = Manifest(
        output="a.nwb", bytes=10, sha256="00", verified=True, created=now(), versions=versions("numpy", "no-such"),
        sources=describe_sources([raw, raw, tmp_path]),
        datasets=(ManifestDataset("/x", (5, 2), "<i2", (5, 1), "gzip", 20, 10, "ff", True, {"scale": [1.0]}),
                  ManifestDataset("/y", (5,), "<i2", None, "none", 10, 10, None, False)),
        details={"note": "µ"},
    )  # fmt: skip
    path = write_manifest(manifest_path(tmp_path / "a.nwb"), manifest)
    assert path.name == "a.nwb.manifest.json"
    assert read_manifest(path) == manifest
    assert manifest.sources[0].bytes == 5
    assert len(manifest.sources) == 2
    assert set(manifest.versions) == {"dandify", "numpy"}
    assert json.loads(path.read_text("utf-8"))["datasets"][0]["ratio"] == 2.0
    assert write_manifest(path, manifest) == path  # replaces


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "sources": [], "datasets": []}'])
def test_what_is_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").write_text(text)
    with pytest.raises(BadSource):
        read_manifest(tmp_path / "m")


def test_source_files_are_described(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(bytes(7))
    found = SourceFile.of(tmp_path / "d")
    assert found.bytes == 7
    assert found.modified.endswith("Z")


def test_no_room_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(DandifyError, match=r"no room: up to 1,000,000,000,000 MB are needed, and [\d,]+ MB are free"):
        require_room(tmp_path / "not" / "there" / "a.nwb", 10**18)
    require_room(tmp_path / "a.nwb", 1)


def in_the_way(folder: Path) -> Path:
    (folder / "f").write_text("x")
    return folder / "f/sub/out"


IMPOSSIBLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a file in the way": (in_the_way, "f: is a file, and a folder is needed there"),
    "a name too long": (lambda folder: folder / ("n" * 300) / "out", "a name of 300 characters"),
    "a name too long while it is written": (lambda folder: folder / ("n" * 240), "a name of 240 characters, behind"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_an_output_that_cannot_be_made_is_refused_before_any_work(case: str, tmp_path: Path) -> None:
    place, words = IMPOSSIBLE[case]
    out = place(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadRequest, match=words) as caught:
        require_place(out)
    assert caught.value.remedy is not None
    assert sorted(tmp_path.iterdir()) == before


def test_a_closed_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, hence what the system would tell another user."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(BadRequest, match="Permission denied") as caught:
        require_place(tmp_path / "sub/out")
    assert caught.value.file == str(tmp_path)
    assert "permissions" in str(caught.value.remedy)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, in which nobody may make a folder")
def test_a_folder_that_the_system_does_not_make(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be made"):
        make_folder(Path("/proc/dandify/out"))


def test_an_output_in_the_home_folder_or_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert output_path("~/a.ome.zarr") == tmp_path / "a.ome.zarr"
    assert output_path(tmp_path / "new/../out") == tmp_path.resolve() / "out"
    assert output_path("a/b") == Path("a/b")
