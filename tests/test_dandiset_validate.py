"""validate: every file has its verdict; BIDS, OME-Zarr, duplicates, publication, and code that is never run."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dandify.dandiset.describe import write_description
from dandify.dandiset.organize import organize
from dandify.dandiset.validate import _Job, _processes, validate
from dandify.errors import BadRequest
from dandiset_cases import video
from shared_data import shared
from validate_cases import COMPLETE, found, one_of_each


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dandiset of each kind of asset; tests copy it before they break it."""
    return one_of_each(tmp_path_factory.mktemp("good"))


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "dandiset")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A dandiset of one video: whatever is said of others is said soon."""
    video(tmp_path / "dandiset" / "sub-m1" / "x.mp4")
    write_description(tmp_path / "dandiset", COMPLETE)
    return tmp_path / "dandiset"


def test_what_organize_makes_has_no_errors_and_no_warnings(good: Path) -> None:
    report = validate(good)
    assert report.errors == report.warnings == ()
    assert [(v.path.name[-12:], v.kind, v.ok) for v in report.files] == [
        ("dandiset.yaml"[-12:], "dandiset.yaml", True),
        (next(good.rglob("*.mp4")).name[-12:], "video", True),
        ("ys+image.nwb", "nwb", True),
        ("ack.ome.zarr", "ome-zarr", True),
        ("ior.nwb.zarr", "nwb-zarr", True),
    ]
    assert [f.id for f in report.findings] == ["dandify.zarr_without_doi"]


def test_json_is_one_record_of_all(good: Path) -> None:
    record = json.loads(validate(good).to_json())
    assert (record["errors"], record["warnings"], len(record["files"])) == (0, 0, 5)
    assert set(record["findings"][0]) == {
        "id", "origin", "scope", "severity", "message", "path", "remedy", "key"
    }  # fmt: skip


def test_two_processes_find_the_same(small: Path) -> None:
    video(small / "sub-m1" / "empty.mp4", b"")
    assert validate(small, workers=2) == validate(small)


@pytest.mark.parametrize(
    ("asked", "recordings", "processes"),
    [(None, 500, 1), (3, 1, 3), ("auto", 5, 1), ("auto", 39, 1), ("auto", 40, 2), ("auto", 10_000, 4)],
)
def test_processes_come_with_many_recordings(
    asked: Any, recordings: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    others = [_Job(Path("x.mp4"), Path(), "video", False, "full")] * 1000
    assert _processes(asked, [_Job(Path("x.nwb"), Path(), "nwb", False, "full")] * recordings + others) == processes


def test_progress_counts_files(good: Path) -> None:
    steps: list[Any] = []
    validate(good, progress=steps.append)
    assert [s.done_files for s in steps] == [1, 2, 3, 4, 5]
    assert {s.total_files for s in steps} == {5}


def test_a_single_file_is_checked_in_its_dandiset(good: Path) -> None:
    path = next(good.glob("sub-m1/*.nwb"))
    report = validate(path)
    assert [v.path for v in report.files] == [path.relative_to(good)]
    assert report.findings == ()


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no such"):
        validate(tmp_path / "gone")


# What lies there


@pytest.mark.parametrize(
    ("name", "code", "severity", "kind"),
    [
        ("notes.txt", "dandify.not_uploaded", "HINT", "unknown"),
        ("sub-m1/clip@1.mp4", "dandify.path_characters", "ERROR", "video"),
        # of which the archive's own pattern would be tried in 2**60 ways
        (f"sub-m1/{'a' * 60}ü.mp4", "dandify.path_characters", "ERROR", "video"),
        ("sub-m1/" + "x" * 240 + "/" + "y" * 240 + "/" + "z" * 40 + ".mp4", "dandify.path_length", "ERROR", "video"),
        ("sub-m1/CLIP.MP4", "dandify.suffix_case", "ERROR", "unknown"),
        ("sub-m1/x.nwb.partial", "dandify.partial", "WARNING", "partial"),
        ("x.ome.zarr.manifest.json", None, None, "manifest"),
        (".hidden", None, None, "hidden"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_every_file_is_listed_with_its_verdict(
    name: str, code: str | None, severity: str | None, kind: str, small: Path
) -> None:
    video(small / name)
    report = validate(small)
    (verdict,) = [v for v in report.files if v.path.as_posix() == name]
    assert (verdict.kind, verdict.ok) == (kind, severity != "ERROR")
    if code:
        assert found(report, code).severity == severity
        assert found(report, code).path == small / name


def test_empty_files_are_refused(small: Path) -> None:
    video(small / "sub-m1" / "empty.mp4", b"")
    video(small / "sub-m1" / "sub-m1_ses-9.nwb", b"")
    codes = [(f.id, f.path and f.path.name) for f in validate(small).errors]
    assert codes == [("dandify.empty_file", "empty.mp4"), ("dandify.empty_file", "sub-m1_ses-9.nwb")]


def test_an_empty_zarr_is_refused(small: Path) -> None:
    (small / "sub-m1" / "x.ome.zarr").mkdir()
    assert "dandify.not_an_asset" in {f.id for f in validate(small).errors}


@pytest.mark.parametrize("document", [".zattrs", "zarr.json"])
@pytest.mark.parametrize("content", ["{", "{}", None], ids=["broken", "empty", "absent"])
def test_an_image_by_its_name_is_checked_as_one(document: str, content: str | None, tmp_path: Path) -> None:
    """One whose document is broken was held for a folder without a dandiset.yaml."""
    image = tmp_path / "brain.ome.zarr"
    image.mkdir()
    (image / "chunk").write_bytes(b"x")
    if content is not None:
        (image / document).write_text(content)
    report = validate(image)
    assert [f.kind for f in report.files] == ["ome-zarr"]
    assert any(f.id.startswith("ngff.") and f.severity == "ERROR" for f in report.findings)
    assert not any("dandiset.yaml" in f.message for f in report.findings)


def test_a_folder_that_is_no_dandiset(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x", encoding="utf-8")
    assert [f.id for f in validate(tmp_path).errors] == ["DANDI.NO_DANDISET_FOUND", "dandify.no_assets"]


@pytest.mark.parametrize(
    ("text", "code", "severity"),
    [
        ("name: [", "dandify.dandiset_yaml", "ERROR"),
        ("contributor: [{schemaKey: Person, name: Jane Doe}]\n", "dandify.dandiset_metadata", "WARNING"),
        ("name: x\n", "dandify.unpublishable", "HINT"),
    ],
    ids=["damaged", "name", "draft"],
)
def test_dandiset_yaml_is_checked(text: str, code: str, severity: str, small: Path) -> None:
    (small / "dandiset.yaml").write_text(text, encoding="utf-8")
    assert found(validate(small), code).severity == severity


# OME-Zarr


def test_a_missing_level_is_found(copy: Path) -> None:
    folder = next(copy.rglob("*.ome.zarr"))
    shutil.rmtree(folder / "0")
    report = validate(folder)
    assert [v.ok for v in report.files if v.kind == "ome-zarr"] == [False]


def test_a_name_that_the_archive_does_not_know_as_an_image(copy: Path) -> None:
    folder = next(copy.rglob("*.ome.zarr"))
    renamed = folder.rename(folder.with_name("sub-m1_ses-1_v1.5.ome.zarr"))
    assert found(validate(renamed), "dandify.image_name").severity == "WARNING"


def test_a_bids_dataset_is_validated_as_a_whole(tmp_path: Path) -> None:
    root = shutil.copytree(shared("nwb/bids_examples/micr_SEMzarr"), tmp_path / "bids")
    (root / "dandiset.yaml").write_text("name: x\n", encoding="utf-8")
    (root / ".bidsignore").write_text("dandiset.yaml\n", encoding="utf-8")
    report = validate(root)
    assert report.errors == ()
    assert {v.kind for v in report.files} == {"bids", "ome-zarr", "hidden", "dandiset.yaml"}
    hint = next(f for f in report.findings if f.id == "BIDS.SIDECAR_KEY_RECOMMENDED")
    assert re.fullmatch(r"\w+: A data file's JSON sidecar is missing a key [^\n]*", hint.message)
    (root / "sub-01" / "odd.txt").write_text("x", encoding="utf-8")
    (root / "samples.json").write_bytes(b"")
    errors = {f.id: f.remedy for f in validate(root).errors}
    assert errors.keys() >= {"BIDS.NOT_INCLUDED", "BIDS.EMPTY_FILE"}
    assert str(errors["BIDS.EMPTY_FILE"]).startswith("get its content")


# The same twice, publication, code in data


def test_the_same_content_twice_is_named(copy: Path) -> None:
    nwb, zarr, image_ = (next(copy.rglob(pattern)) for pattern in ("*.nwb", "*.nwb.zarr", "*.ome.zarr"))
    video_ = next(copy.rglob("*.mp4"))
    for name in ("empty.nwb", "nothing.mp4"):  # that they are empty is what is wrong with them
        nwb.with_name(name).touch()
    for source in (nwb, video_):
        shutil.copyfile(source, source.with_name(f"z{source.name}"))
    for source in (zarr, image_):
        shutil.copytree(source, source.with_name(f"z{source.name}"))
    chunk = zarr.with_name(f"z{zarr.name}") / "identifier" / "0"
    chunk.write_bytes(chunk.read_bytes()[::-1])  # of the same size, but not the same
    found = {
        f.path.name: (f.severity, f.message) for f in validate(copy).findings if f.id == "dandify.duplicate" and f.path
    }
    assert found == {
        f"z{nwb.name}": ("WARNING", f"holds the same as {nwb.name}"),
        f"z{image_.name}": ("WARNING", f"holds the same as {image_.name}"),
        f"z{video_.name}": ("HINT", f"holds the same as {video_.name}"),
    }


def test_what_keeps_a_dandiset_from_a_doi(copy: Path) -> None:
    (copy / "dandiset.yaml").write_text(
        "name: x\ncontributor: [{schemaKey: Person, name: Jane Doe}]\n", encoding="utf-8"
    )
    draft = {f.id for f in validate(copy).errors}
    assert {f.id for f in validate(copy, doi=True).errors} - draft == {
        "dandify.zarr_without_doi", "dandify.unpublishable", "dandify.dandiset_metadata",
    }  # fmt: skip


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("suffix", [".nwb.zarr", ".ome.zarr", ".zarr"])
def test_code_in_data_is_not_run(suffix: str, copy: Path, tmp_path: Path) -> None:
    trap = pickle.dumps(np.array([Trap(tmp_path / "sprung")], dtype=object))
    pickle.loads(trap)
    (tmp_path / "sprung").rmdir()  # it is a trap
    source = next(copy.rglob("*.nwb.zarr" if suffix == ".nwb.zarr" else "*.ome.zarr"))
    folder = shutil.copytree(source, tmp_path / f"x{suffix}")
    header = {
        "zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "compressor": None, "fill_value": None,
        "order": "C", "filters": [{"id": "pickle", "protocol": 5}],
    }  # fmt: skip
    for place in ("identifier" if suffix == ".nwb.zarr" else "0", "extra"):
        shutil.rmtree(folder / place, ignore_errors=True)
        (folder / place).mkdir()
        (folder / place / ".zarray").write_text(json.dumps(header), encoding="utf-8")
        (folder / place / "0").write_bytes(trap)
    target = copy / "sub-m1" / f"sub-m1_ses-9_x{suffix}"
    folder.rename(target)
    validate(copy)
    assert not (tmp_path / "sprung").exists()
    if suffix != ".zarr":
        organize(target, tmp_path / "out", subject_id="m1", session_id="9")
    assert not (tmp_path / "sprung").exists()
