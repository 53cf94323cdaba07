"""What follows an upload: a trial without sending, the dandiset's own metadata, and the archive's verdict."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from rich.console import Console

from archive_api import Api
from dandify.archive.aftermath import differences, verdict
from dandify.archive.local import Record
from dandify.archive.send import UploadProgress
from dandify.archive.serve import RunningArchive, running_archive
from dandify.archive.upload import upload
from dandify.cli.main import main
from dandify.errors import BadRequest, DandifyError
from dandify.report.upload import live_upload, print_upload

YAML = """\
# by hand
name: A trial
description: What it is
license: [spdx:CC0-1.0]
contributor:
  - {schemaKey: Person, name: "Doe, Jane", email: jane@example.org, roleName: ["dcite:ContactPerson"]}
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.fixture(scope="module")
def api(archive: RunningArchive) -> Api:
    return Api(archive.url, archive.token)


def dandiset(root: Path, text: str = YAML) -> Path:
    root.mkdir(parents=True)
    (root / "clip.mp4").write_bytes(os.urandom(1000))
    (root / "dandiset.yaml").write_text(text)
    return root


def sent(archive: RunningArchive, root: Path, **options: Any) -> Any:
    return upload(root, to=archive.url, token=archive.token, **options)


def test_a_dry_run_sends_and_creates_nothing(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    root = dandiset(tmp_path / "d")
    before = api.ok("GET", "/dandisets/")["count"]
    planned = sent(archive, root, create=True, dry_run=True)
    assert [(a.path, a.status, a.message) for a in planned.assets] == [("clip.mp4", "planned", "new")]
    assert (planned.dandiset_id, planned.bytes_sent, planned.created, planned.verdict) == ("", 0, False, None)
    assert api.ok("GET", "/dandisets/")["count"] == before
    assert (root / "dandiset.yaml").read_text() == YAML
    here = sent(archive, root, create=True).dandiset_id
    assert [a.status for a in sent(archive, root, dry_run=True).assets] == ["skipped"]
    (root / "clip.mp4").write_bytes(b"other")
    again = sent(archive, root, dry_run=True)
    assert [(a.status, a.message) for a in again.assets] == [("planned", "would replace what the archive has")]
    found = api.ok("GET", f"/dandisets/{here}/versions/draft/assets/")["results"]
    assert [asset["size"] for asset in found] == [1000]


def test_metadata_are_compared_and_sent_when_asked_for(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    root = dandiset(tmp_path / "d")
    first = sent(archive, root, create=True)
    assert first.changes == ()
    here = f"/dandisets/{first.dandiset_id}/versions/draft/"
    there = api.ok("GET", here)
    api.ok("PUT", here, json={"name": there["name"], "metadata": {**there, "keywords": ["only there"]}})
    file = root / "dandiset.yaml"
    file.write_text(file.read_text().replace("What it is", "What it became").replace("A trial", "Another"))
    shown = sent(archive, root)
    assert {c.field: (c.there, c.here) for c in shown.changes} == {
        "name": ("A trial", "Another"), "description": ("What it is", "What it became"),
    }  # fmt: skip
    assert not shown.changed
    assert api.ok("GET", here)["description"] == "What it is"
    assert sent(archive, root, metadata=True).changed
    after = api.ok("GET", here)
    assert (after["name"], after["description"]) == ("Another", "What it became")
    assert after["keywords"] == ["only there"], "what only the archive says stays"
    assert sent(archive, root, metadata=True).changes == ()


@pytest.mark.parametrize(("without", "status", "field"), [
    ("", "Valid", None), ("license: [spdx:CC0-1.0]\n", "Invalid", "license"),
], ids=["complete", "no license"])  # fmt: skip
def test_it_ends_with_what_the_archive_says(
    without: str, status: str, field: str | None, archive: RunningArchive, tmp_path: Path
) -> None:
    report = sent(archive, dandiset(tmp_path / "d", YAML.replace(without, "")), create=True)
    assert report.verdict.status == status
    assert {(e.path, e.field.split(".")[0]) for e in report.verdict.errors} == ({(None, field)} if field else set())
    assert report.url == f"{archive.url}/dandiset/{report.dandiset_id}/draft"


def test_what_the_archive_has_not_checked_is_no_error(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    """A Zarr without a checksum is not checked; DANDI says of the dandiset's own metadata that they are valid."""
    root = dandiset(tmp_path / "d")
    here = sent(archive, root, create=True).dandiset_id
    api.put_asset(here, "other.zarr", zarr_id=api.zarr(here, "other.zarr"))
    assert api.ok("GET", f"/dandisets/{here}/versions/draft/info/")["status"] == "Valid"
    report = sent(archive, root, wait=1.5)
    assert (report.verdict.status, report.verdict.errors, report.verdict.unchecked) == ("Pending", (), ("other.zarr",))
    started = time.monotonic()
    assert verdict(Client(api), here, 30, incomplete=["other.zarr"]).unchecked == ("other.zarr",)
    assert time.monotonic() - started < 15, "what has not come whole is not waited for"
    console = Console(file=io.StringIO(), width=200)
    print_upload(report, console)
    assert "the archive says: Pending, 1 asset(s) not checked yet" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_archive_is_quoted_on_each_asset(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    root = dandiset(tmp_path / "d")
    (root / "notes.txt").write_text("stays here")
    (root / "empty.mp4").touch()
    (root / "late.mp4").write_bytes(b"late")
    here = sent(archive, root, create=True).dandiset_id
    listed = api.ok("GET", f"/dandisets/{here}/versions/draft/assets/")["results"]
    late = next(one for one in listed if one["path"] == "late.mp4")
    body = {"metadata": {"path": "late.mp4"}, "blob_id": late["blob"]}  # of which the schema wants more
    api.ok("PUT", f"/dandisets/{here}/versions/draft/assets/{late['asset_id']}/", json=body)
    client = Client(api)
    said = verdict(client, here, 20)
    assert said.states(["clip.mp4", "late.mp4"]) == {"clip.mp4": "Valid", "late.mp4": "Invalid"}
    report = sent(archive, root)
    assert [(a.path, a.status, a.archive) for a in report.assets] == [
        ("clip.mp4", "skipped", "Valid"), ("empty.mp4", "failed", ""), ("late.mp4", "uploaded", "Valid"),
        ("notes.txt", "skipped", ""),
    ]  # fmt: skip


class Client:
    """As much of the dandi client as asks for a version."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, place: str) -> Any:
        return self._api.ok("GET", place)


def test_who_fails_is_told_what_to_do_next(archive: RunningArchive, tmp_path: Path) -> None:
    root = dandiset(tmp_path / "d")
    (root / "empty.mp4").touch()
    report = sent(archive, root, create=True, wait=0)
    said = io.StringIO()
    print_upload(report, Console(file=said, width=200))
    assert "1 failed" in said.getvalue()
    assert "dandify validate says what mends what failed" in said.getvalue()
    (root / "empty.mp4").unlink()
    said.truncate(0)
    print_upload(sent(archive, root, wait=0), Console(file=said, width=200))
    assert "mends" not in said.getvalue()


ORCID = "0000-0001-2345-6789"
ACCOUNT = {"schemaKey": "Person", "name": "Roe, Rita", "email": "r@x.org", "roleName": ["dcite:ContactPerson"]}
PERSON = {"schemaKey": "Person", "name": "Doe, Jane", "email": "j@x.org", "roleName": ["dcite:ContactPerson"]}
CITED = PERSON | {"includeInCitation": True}


@pytest.mark.parametrize(
    ("here", "there", "fields"),
    [
        ({"contributor": [PERSON]}, {"contributor": [PERSON | {"includeInCitation": True, "affiliation": []}]}, []),
        ({"contributor": [PERSON]}, {"contributor": [PERSON | {"identifier": ORCID, "includeInCitation": False}]}, []),
        ({"contributor": [CITED]}, {"contributor": [CITED | {"includeInCitation": False}]}, ["contributor"]),
        ({"contributor": [PERSON]}, {"contributor": [ACCOUNT, PERSON]}, ["contributor"]),
        ({"contributor": [PERSON]}, {"contributor": [PERSON, ACCOUNT]}, []),
        ({"contributor": [PERSON | {"name": "nobody"}]}, {"contributor": [PERSON]}, ["contributor"]),
        ({"license": ["spdx:CC0-1.0"]}, {"license": ["spdx:CC-BY-4.0"]}, ["license"]),
        ({"schemaVersion": "0.8.0", "schemaKey": "Dandiset"}, {"schemaVersion": "0.7.0"}, []),
        ({"keywords": ["a"], "started": "2024"}, {"keywords": ["a"], "started": "2023"}, ["started"]),
        ({"keywords": []}, {"keywords": ["a"]}, []),
    ],
    ids=[
        "taken for granted", "only there", "not cited", "order", "the account",
        "no such name", "license", "schema", "none of the schema", "says nothing",
    ],
)  # fmt: skip
def test_what_differs(here: dict[str, Any], there: dict[str, Any], fields: list[str]) -> None:
    assert [c.field for c in differences(Record("000001", None, here), there)] == fields


@pytest.mark.parametrize("corrected", [{"identifier": "0000-0002-1825-0097"}, {"name": "Doe, Janet"}], ids=repr)
def test_a_corrected_person_is_not_another_one(corrected: dict[str, str]) -> None:
    there = PERSON | {"identifier": ORCID}
    (change,) = differences(Record("000001", None, {"contributor": [there | corrected]}), {"contributor": [there]})
    assert change.here == [there | corrected]


def test_what_only_the_archive_lists_stays(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    """The DANDI archive makes the account that creates a dandiset one of its contributors."""
    root = dandiset(tmp_path / "d")
    here = f"/dandisets/{sent(archive, root, create=True).dandiset_id}/versions/draft/"
    there = api.ok("GET", here)
    first, *others = there["contributor"]
    people = [first | {"identifier": ORCID}, *others, ACCOUNT]
    api.ok("PUT", here, json={"name": there["name"], "metadata": {**there, "contributor": people}})
    assert sent(archive, root, metadata=True).changes == ()
    file = root / "dandiset.yaml"
    file.write_text(file.read_text().replace(first["email"], "new@x.org"))
    report = sent(archive, root, metadata=True)
    assert api.ok("GET", here)["contributor"] == [people[0] | {"email": "new@x.org"}, *others, ACCOUNT]
    print_upload(report, Console(file=(said := io.StringIO()), width=400))
    assert "new@x.org" in said.getvalue()
    assert "Roe" not in said.getvalue()


def test_what_the_archive_states_is_not_taken_from_a_file(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    """`dandi download` writes all of it into dandiset.yaml; who may read a dandiset is decided by its embargo."""
    stated = (
        "access: [{schemaKey: AccessRequirements, status: 'dandi:EmbargoedAccess'}]\nrepository: https://elsewhere.org\n"
        "dateCreated: 2020-01-01\nversion: draft\ncitation: x\nschemaVersion: 0.7.0\nschemaKey: Dandiset\n"
    )
    root = dandiset(tmp_path / "d", YAML + stated)
    report = sent(archive, root, create=True)
    again = sent(archive, root, metadata=True)
    assert (again.changes, again.changed) == ((), False)
    found = api.ok("GET", f"/dandisets/{report.dandiset_id}/versions/draft/")
    assert found["access"][0]["status"] == "dandi:OpenAccess"
    assert found["repository"] == archive.url


def test_an_embargo_is_asked_for_when_a_dandiset_is_created(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    """The archive of dandify has no embargo, and says so; nothing is then created, and nothing sent."""
    root = dandiset(tmp_path / "d")
    before = api.ok("GET", "/dandisets/")["count"]
    with pytest.raises(DandifyError, match="has no embargoed dandisets"):
        sent(archive, root, create=True, embargo=True)
    assert api.ok("GET", "/dandisets/")["count"] == before
    sent(archive, root, create=True)
    with pytest.raises(BadRequest, match="an embargo begins when a dandiset is created"):
        sent(archive, root, embargo=True)


def test_an_archive_that_does_not_say_at_the_end_is_told_with_the_files(
    archive: RunningArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise requests.ConnectionError

    root = dandiset(tmp_path / "d")
    sent(archive, root, create=True)
    (root / "clip.mp4").write_bytes(b"another film")
    (root / "dandiset.yaml").write_text((root / "dandiset.yaml").read_text().replace("What it is", "It is"))
    monkeypatch.setattr("dandify.archive.upload.send", refuse)
    done = sent(archive, root, metadata=True)
    assert [a.status for a in done.assets] == ["uploaded"]
    assert (done.trouble, done.changed, done.verdict) == ("no answer (ConnectionError)", False, None)
    assert [change.field for change in done.changes] == ["description"]


def test_nobody_waits_who_does_not_want_to(archive: RunningArchive, tmp_path: Path) -> None:
    assert sent(archive, dandiset(tmp_path / "d"), create=True, wait=0).verdict is None


def test_the_command_says_all_of_it(archive: RunningArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANDIFY_API_KEY", archive.token)
    root = dandiset(tmp_path / "d", YAML.replace("license: [spdx:CC0-1.0]\n", ""))

    def run(*options: str) -> str:
        done = CliRunner().invoke(main, ["upload", str(root), "--to", archive.url, *options])
        assert done.exit_code == 0, done.output
        return done.output

    assert "1 asset(s) would be uploaded" in run("--create", "--dry-run")
    first = run("--create")
    assert "the archive says: Invalid, 1 error(s)" in first
    assert "dandiset: license: Field required" in first
    assert f"{archive.url}/dandiset/" in first
    file = root / "dandiset.yaml"
    file.write_text(file.read_text() + "license: [spdx:CC-BY-4.0]\n")
    assert 'license: nothing -> ["spdx:CC-BY-4.0"]' in run("--dry-run")
    last = run("--metadata")
    assert "1 field(s): sent" in last
    assert "the archive says: Valid" in last


def test_the_live_table_shows_what_is_under_way() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with live_upload(console) as step:
        step(UploadProgress("sub-1/a.nwb", "uploading", 0, 100))
        step(UploadProgress("sub-1/b.nwb", "validating", 0, 100))
        step(UploadProgress("sub-1/a.nwb", "uploaded", 100, 100))
        step(UploadProgress("", "the archive says pending", 0, 0))
    assert "a.nwb uploading" in screen.getvalue()
    assert "the archive says pending" in screen.getvalue()
    with live_upload(Console(file=io.StringIO())) as step:
        step(UploadProgress("sub-1/a.nwb", "uploading", 0, 100))
