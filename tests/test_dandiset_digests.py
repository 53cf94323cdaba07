"""Checksums of images follow them from their manifest into a dandiset, and hold only while nothing changes."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dandi.dandiapi import DandiAPIClient
from dandi.support.digests import get_zarr_checksum

import dandify
from dandify.archive.local import read_record
from dandify.archive.serve import RunningArchive, running_archive
from dandify.archive.upload import upload
from dandify.dandiset.digests import FOLDER, ZARR_CHECKSUM, forget_digest, manifest_digest, recorded_digest
from dandify.dandiset.organize import organize
from dandify.store.manifest import manifest_path
from dandify.tree_state import state_of

NAME = "sub-m1/sub-m1_ses-s1_image.ome.zarr"
DETAILS = {"subject": {"subject_id": "m1"}, "session": {"session_id": "s1"}}


@cache
def _made(version: str) -> Path:
    path = Path(tempfile.mkdtemp()) / "volume.ome.zarr"
    values = np.arange(4 * 32 * 32, dtype=np.uint16).reshape(4, 32, 32)
    dandify.write_ome_zarr(
        values, path, axes="zyx", scale=dict.fromkeys("zyx", 1.0), version=version, chunks=(2, 16, 16), details=DETAILS
    )
    atexit.register(shutil.rmtree, path.parent)
    return path


def written(folder: Path, version: str = "0.4") -> Path:
    made, path = _made(version), folder / "volume.ome.zarr"
    shutil.copytree(made, path)  # with the times of its files
    shutil.copy(manifest_path(made), manifest_path(path))
    return path


def organized(tmp_path: Path, mode: Any = "copy") -> tuple[Path, str]:
    organize(written(tmp_path), tmp_path / "d", mode=mode)
    (path,) = (tmp_path / "d").glob("sub-m1/*.ome.zarr")
    return tmp_path / "d", path.relative_to(tmp_path / "d").as_posix()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_manifest_has_the_checksum_that_dandi_makes(version: str, tmp_path: Path) -> None:
    path = written(tmp_path, version)
    known = manifest_digest(path)
    assert known is not None
    assert (known.algorithm, known.value) == (ZARR_CHECKSUM, get_zarr_checksum(path))


@pytest.mark.parametrize("mode", ["copy", "hardlink", "symlink", "move"])
def test_it_comes_along_however_an_image_is_organized(mode: Any, tmp_path: Path) -> None:
    root, path = organized(tmp_path, mode)
    known = recorded_digest(root, path)
    assert known is not None
    assert known.value == get_zarr_checksum(root / path)
    organize(tmp_path, root) if mode != "move" else None  # once more changes nothing
    assert recorded_digest(root, path) == known


def _some(image: Path) -> Path:
    return image / "0" / "0" / "0" / "1"


def _longer(image: Path) -> None:
    with _some(image).open("ab") as file:
        file.write(b"x")


def _again(image: Path) -> None:
    _some(image).write_bytes(_some(image).read_bytes())
    os.utime(_some(image), ns=(0, 1))


def _other_file_in_its_place(image: Path) -> None:
    stat, new = _some(image).stat(), _some(image).with_name("new")
    new.write_bytes(b"x" * stat.st_size)
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.replace(_some(image))


CHANGES: dict[str, Callable[[Path], Any]] = {
    "one more": lambda image: (image / "notes.txt").write_text("x", encoding="utf-8"),
    "one less": lambda image: _some(image).unlink(),
    "longer": _longer,
    "renamed": lambda image: _some(image).rename(_some(image).with_name("7")),
    "written again": _again,
    "as long and as old": _other_file_in_its_place,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_does_not_hold_when_files_change(change: Callable[[Path], Any], tmp_path: Path) -> None:
    root, path = organized(tmp_path)
    if change is _other_file_in_its_place and os.name == "nt":
        pytest.skip("Windows gives no inodes while it lists a folder")
    change(root / path)
    assert recorded_digest(root, path) is None


def test_of_a_source_that_has_changed_nothing_is_noted(tmp_path: Path) -> None:
    path = written(tmp_path)
    _again(path)
    assert manifest_digest(path) is None
    organize(path, tmp_path / "d")
    assert not (tmp_path / "d" / FOLDER).exists()


def test_what_is_replaced_is_forgotten(tmp_path: Path) -> None:
    root, path = organized(tmp_path)
    source = tmp_path / "volume.ome.zarr"
    _longer(source)
    organize(source, root, overwrite=True)
    assert recorded_digest(root, path) is None
    assert json.loads((root / FOLDER / "digests.json").read_text(encoding="utf-8")) == {}


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', '{"%s": {"value": 1}}', '{"%s": null}'])
def test_a_damaged_record_says_nothing(content: str, tmp_path: Path) -> None:
    root, path = organized(tmp_path)
    (root / FOLDER / "digests.json").write_text(content.replace("%s", path), encoding="utf-8")
    assert recorded_digest(root, path) is None


def test_what_turned_out_wrong_is_dropped(tmp_path: Path) -> None:
    root, path = organized(tmp_path)
    forget_digest(root, path)
    assert recorded_digest(root, path) is None
    image = tmp_path / "volume.ome.zarr"
    forget_digest(tmp_path, image.name)
    assert manifest_digest(image) is None


def test_the_state_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1")
    before = state_of(file)
    assert state_of(file) == before
    os.utime(file, ns=(5, 5))
    assert state_of(file) != before


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the client fail if it is asked for a Zarr's digest, for which it would read all of it."""
    from dandi.files import ZarrAsset

    def refuse(_: Any) -> None:
        raise AssertionError("it is read for its digest")

    monkeypatch.setattr(ZarrAsset, "get_digest", refuse)


def send(root: Path, archive: RunningArchive) -> tuple[str, str]:
    """Upload; the status of the image, and what is said of it."""
    assets = upload(root, to=archive.url, token=archive.token, create=True, wait=0).assets
    (asset,) = (a for a in assets if a.path.endswith(".zarr"))
    return asset.status, asset.message


def described(root: Path) -> Path:
    (root / "dandiset.yaml").write_text("name: A test\n", encoding="utf-8")
    return root


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("beside", [False, True], ids=["organized", "beside its manifest"])
def test_an_upload_does_not_read_it_for_its_digest(beside: bool, archive: RunningArchive, tmp_path: Path) -> None:
    if beside:
        (tmp_path / "d").mkdir()
        root, path = tmp_path / "d", written(tmp_path / "d")
    else:
        root, name = organized(tmp_path)
        path = root / name
    assert send(described(root), archive) == ("uploaded", "")
    assert send(root, archive) == ("skipped", "the archive has it")
    client = DandiAPIClient(f"{archive.url}/api", token=archive.token)
    remote = client.get_dandiset(str(read_record(root).identifier), "draft").get_asset_by_path(
        path.relative_to(root).as_posix()
    )
    assert remote.get_raw_digest() == get_zarr_checksum(path)


def test_a_changed_image_is_read(archive: RunningArchive, tmp_path: Path) -> None:
    root, path = organized(tmp_path)
    assert send(described(root), archive)[0] == "uploaded"
    before = _some(root / path).read_bytes()
    _some(root / path).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert send(root, archive)[0] == "uploaded"
    assert send(root, archive) == ("skipped", "the archive has it")


def test_a_digest_that_is_wrong_is_noticed_by_what_arrives(archive: RunningArchive, tmp_path: Path) -> None:
    root, path = organized(tmp_path)
    file = root / FOLDER / "digests.json"
    records = json.loads(file.read_text(encoding="utf-8"))
    right = records[path]["value"]
    records[path]["value"] = "0" * 32 + right[32:]
    file.write_text(json.dumps(records), encoding="utf-8")
    status, message = send(described(root), archive)
    assert status == "failed"
    assert right in message
    assert records[path]["value"] in message
    assert recorded_digest(root, path) is None
    assert send(root, archive) == ("skipped", "the archive has it")  # which was found by reading it


def test_labels_that_come_later_make_it_another_image(tmp_path: Path) -> None:
    path = written(tmp_path)
    dandify.write_ome_zarr_labels(np.ones((4, 32, 32), np.uint8), path, "cells")
    assert "digest" not in json.loads(manifest_path(path).read_text(encoding="utf-8"))["details"]
    assert manifest_digest(path) is None
