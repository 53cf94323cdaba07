"""Uploads that were begun and never finished, and what only the archive has: told, and never more than ours removed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from archive_api import PART, Api, unique
from dandify.archive.client import find_archive, session
from dandify.archive.serve import RunningArchive, running_archive
from dandify.archive.unfinished import Begun, Unfinished, begun, settle
from dandify.archive.upload import UploadReport, upload
from dandify.errors import BadRequest
from dandify.report.upload import print_upload


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.fixture(scope="module")
def api(archive: RunningArchive) -> Api:
    return Api(archive.url, archive.token)


def dandiset(root: Path, **files: bytes) -> Path:
    root.mkdir(parents=True)
    (root / "dandiset.yaml").write_text("name: A trial\n")
    for name, content in files.items():
        (root / f"{name}.mp4").write_bytes(content)
    return root


def sent(archive: RunningArchive, root: Path, **options: Any) -> UploadReport:
    return upload(root, to=archive.url, token=archive.token, wait=0, **options)


def listed(api: Api, identifier: str) -> list[dict[str, Any]]:
    found = api.ok("GET", f"/dandisets/{identifier}/uploads/")["results"]
    draft = api.ok("GET", f"/dandisets/{identifier}/")["draft_version"]
    assert draft["active_uploads"] == len(found)
    return list(found)


def printed(report: UploadReport) -> str:
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    print_upload(report, console)
    console.file.close()
    return console.export_text()


KILLED = """
import os, signal, sys
import dandi.files.bases as bases
from dandify import upload
def killed(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
bases._upload_blob_part = killed
upload(sys.argv[1], to=sys.argv[2], token=sys.argv[3])
"""


def killed_upload(archive: RunningArchive, root: Path) -> None:
    """Upload in a process that is killed when the first part is to be sent."""
    command = [sys.executable, "-c", KILLED, str(root), archive.url, archive.token]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode < 0, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_the_next_run_removes_what_a_killed_one_left(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    root = dandiset(tmp_path / "d", a=unique())
    identifier = sent(archive, root, create=True).dandiset_id
    (root / "b.mp4").write_bytes(unique())
    killed_upload(archive, root)
    assert len(listed(api, identifier)) == 1
    parts = archive.folder / "uploads"
    report = sent(archive, root)
    assert listed(api, identifier) == []
    assert report.unfinished == Unfinished(removed=1)
    assert "removed at the archive: 1 unfinished upload(s)" in printed(report)
    assert [a.status for a in report.assets] == ["skipped", "uploaded"]
    assert list(parts.iterdir()) == []
    assert sent(archive, root).unfinished == Unfinished()
    assert not (root / ".dandify").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_somebody_else_may_be_sending_stays(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    """The archive removes all or none; so none is removed, and the part that comes meanwhile is taken."""
    root = dandiset(tmp_path / "d", a=unique())
    identifier = sent(archive, root, create=True).dandiset_id
    (root / "b.mp4").write_bytes(unique())
    killed_upload(archive, root)
    data = unique()
    theirs = api.begin(identifier, data).json()
    report = sent(archive, root)
    assert (report.unfinished.removed, len(report.unfinished.left)) == (0, 2)
    assert "unfinished" not in printed(report)  # of an open dandiset they hinder nobody
    assert api.finish(theirs, data).ok
    assert sent(archive, root).unfinished == Unfinished(removed=1)


def test_a_run_beside_another_of_the_same_folder_takes_its_uploads_for_running(
    archive: RunningArchive, api: Api, tmp_path: Path
) -> None:
    root = dandiset(tmp_path / "d", a=unique())
    identifier = sent(archive, root, create=True).dandiset_id
    target = find_archive(archive.url)
    with session(target, archive.token) as client, begun(root, target.api_url) as known:
        known.watch(client)
        digest = {"algorithm": "dandi:dandi-etag", "value": "0" * 32 + "-1"}
        client.post("/uploads/initialize/", json={"contentSize": 5, "digest": digest, "dandiset": identifier})
        assert len(sent(archive, root).unfinished.left) == 1
        assert len(listed(api, identifier)) == 1
        assert settle(client, identifier, known) == Unfinished(removed=1)


def test_a_folder_that_another_process_uploads_is_noticed(tmp_path: Path) -> None:
    holder = (
        "import sys; from pathlib import Path; from dandify.archive.unfinished import begun\n"
        "with begun(Path(sys.argv[1]), 'http://a') as known:\n"
        "    print(known._file is not None, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with begun(tmp_path, "http://a") as known:
            assert known._file is None
        process.communicate(timeout=60)
    with begun(tmp_path, "http://a") as known:
        assert known._file is not None
    assert list(tmp_path.iterdir()) == []


def test_who_has_an_embargo_is_told(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    """The embedded archive has no embargo; what the client says of one is put together here."""
    report = sent(archive, dandiset(tmp_path / "d", a=unique()), create=True)
    object.__setattr__(report, "unfinished", Unfinished(left=("2026-01-02T03:04:05Z",), embargoed=True))
    said = " ".join(printed(report).split())
    assert "at the archive 1 upload(s) are unfinished, since 2026-01-02T03:04 (UTC)" in said
    assert "the embargo cannot be lifted" in said


def test_half_a_line_of_a_killed_run_and_other_archives(tmp_path: Path) -> None:
    file = tmp_path / "uploads.jsonl"
    file.write_text('["http://a/api", "1"]\n["http://b/api", "2"]\n["http://a/api", "3')
    known = Begun(file, "http://a/api")
    assert known.ids == {"1"}
    known.forget()
    assert file.read_text() == '["http://b/api", "2"]\n'


def test_a_folder_in_which_nothing_can_be_noted_is_uploaded(archive: RunningArchive, tmp_path: Path) -> None:
    root = dandiset(tmp_path / "d", a=unique())
    (root / ".dandify").write_text("a file is in the way")
    report = sent(archive, root, create=True)
    assert ([a.status for a in report.assets], report.unfinished) == (["uploaded"], Unfinished())


def test_uploads_are_listed_for_their_owner_and_removed_whole(tmp_path: Path) -> None:
    tokens = {"a" * 40: "ann", "b" * 40: "ben"}
    with running_archive(tmp_path / "e", tokens=tokens) as running:
        ann, ben = (Api(running.url, token) for token in tokens)
        here, data = ann.dandiset(), unique() + bytes(PART)
        first = ann.begin(here, data).json()
        ann.put_part(first["parts"][0], data[:PART])
        [found] = ann.ok("GET", f"/dandisets/{here}/uploads/")["results"]
        assert (found["upload_id"], found["size"]) == (first["upload_id"], len(data))
        place = f"/dandisets/{here}/uploads/"
        assert [ben(m, place).status_code for m in ("GET", "DELETE")] == [403, 403]
        assert [Api(running.url, None)(m, place).status_code for m in ("GET", "DELETE")] == [401, 401]
        assert ann("DELETE", place).status_code == 204
        assert list((tmp_path / "e" / "uploads").iterdir()) == []
        assert ann("POST", f"/uploads/{first['upload_id']}/complete/", json={"parts": []}).status_code == 404
        assert ann.ok("GET", place)["count"] == 0


def test_what_only_the_archive_has_is_named_and_stays(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    root = dandiset(tmp_path / "d", a=unique(), b=unique(), c=unique())
    identifier = sent(archive, root, create=True).dandiset_id
    (root / "b.mp4").unlink()
    (root / "c.mp4").write_bytes(b"another film")
    for options in ({"dry_run": True}, {}):
        report = sent(archive, root, **options)
        found = {a.path: (a.status, a.message) for a in report.assets}
        assert found["b.mp4"] == ("kept", "only at the archive; nothing is deleted there")
        assert [status for status, _ in found.values()].count("kept") == 1
        assert "only at the archive" in " ".join(printed(report).split())
    place = f"/dandisets/{identifier}/versions/draft/assets/"
    assert {a["path"] for a in api.ok("GET", place)["results"]} == {"a.mp4", "b.mp4", "c.mp4"}


def test_of_many_that_only_the_archive_has_some_are_printed(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    root = dandiset(tmp_path / "d", a=unique())
    identifier = sent(archive, root, create=True).dandiset_id
    blob = api.blob(identifier, unique())
    for i in range(25):
        assert api.put_asset(identifier, f"old/{i:02}.mp4", blob_id=blob).ok
    assert api.put_asset(identifier, f"a/{'long' * 20}.mp4", blob_id=blob).ok
    report = sent(archive, root)
    assert [a.status for a in report.assets].count("kept") == 26
    said = printed(report)
    assert "old/18.mp4" in said
    assert "…" not in said  # no name is cut off in a terminal of 80 columns
    assert "old/19.mp4" not in said
    assert "and 6 more, only at the archive" in said


def test_no_dandiset_is_created_for_nothing(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    root = dandiset(tmp_path / "d")
    (root / "notes.txt").write_text("x")
    before = api.ok("GET", "/dandisets/")["count"]
    with pytest.raises(BadRequest, match=r"nothing in it can be uploaded \(1 file"):
        sent(archive, root, create=True)
    assert api.ok("GET", "/dandisets/")["count"] == before
