"""What the archive says of metadata, published versions, and the manifests in its bucket."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from dandi.dandiapi import DandiAPIClient
from dandischema.metadata import validate
from ruamel.yaml import YAML

from archive_api import Api, dandi_etag
from dandify.archive import database
from dandify.archive.serve import RunningArchive, running_archive
from dandify.archive.validation import UNCHECKED

COMPLETE = {
    "description": "Two recordings of <b>one</b> mouse.",
    "license": ["spdx:CC0-1.0"],
    "contributor": [
        {"schemaKey": "Person", "name": "Doe, Jane", "email": "jane@example.org", "roleName": ["dcite:ContactPerson"],
         "identifier": "0000-0002-1825-0097", "includeInCitation": True},
    ],
    "keywords": ["hippocampus"],
}  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("archive") / "folder") as running:
        yield running


@pytest.fixture(scope="module")
def api(archive: RunningArchive) -> Api:
    return Api(archive.url, archive.token)


def made(api: Api, metadata: dict[str, Any] = COMPLETE) -> str:
    return str(api.ok("POST", "/dandisets/", json={"name": "A mouse", "metadata": metadata})["identifier"])


def add(api: Api, dandiset: str, path: str, data: bytes, **metadata: Any) -> str:
    about = {"path": path, "schemaVersion": "0.8.0", "encodingFormat": "application/x-nwb", **metadata}
    body = {"metadata": about, "blob_id": api.blob(dandiset, data)}
    return str(api.ok("POST", f"/dandisets/{dandiset}/versions/draft/assets/", json=body)["asset_id"])


def checked(api: Api, dandiset: str) -> dict[str, Any]:
    """The draft's summary once all its assets are checked."""
    for _ in range(200):
        found = api.ok("GET", f"/dandisets/{dandiset}/versions/draft/info/")
        if all(e["message"] != UNCHECKED for e in found["asset_validation_errors"]):
            assert isinstance(found, dict)
            return found
        time.sleep(0.1)
    raise AssertionError("not checked in 20 s")


def test_a_complete_draft_is_valid(api: Api) -> None:
    here = made(api)
    asset = add(api, here, "sub-1/a.nwb", b"a")
    assert checked(api, here)["status"] == "Valid"
    said = api.ok("GET", f"/dandisets/{here}/versions/draft/assets/{asset}/validation/")
    assert said == {"status": "Valid", "validation_errors": []}


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in COMPLETE.items() if k != name}


@pytest.mark.parametrize("name", ["description", "license", "contributor"])
def test_what_a_dandiset_lacks_is_named(api: Api, name: str) -> None:
    here = made(api, without(name))
    add(api, here, "a.nwb", name.encode())
    found = checked(api, here)
    assert found["status"] == "Invalid"
    assert name in {e["field"].split(".")[0] for e in found["version_validation_errors"]}
    refused = api("POST", f"/dandisets/{here}/versions/draft/publish/")
    assert (refused.status_code, "its draft is Invalid" in refused.text) == (400, True)


def test_what_an_asset_lacks_is_named_with_its_path_until_it_is_mended(api: Api) -> None:
    here = made(api)
    asset = add(api, here, "sub-1/b.nwb", b"b", encodingFormat=None)
    found = checked(api, here)
    assert found["status"] == "Valid", "of the dandiset's own metadata"
    refused = api("POST", f"/dandisets/{here}/versions/draft/publish/")
    assert (refused.status_code, "its draft is Invalid" in refused.text) == (400, True)
    assert [(e["path"], e["field"]) for e in found["asset_validation_errors"]] == [("sub-1/b.nwb", "encodingFormat")]
    body = {
        "metadata": {"path": "sub-1/b.nwb", "schemaVersion": "0.8.0", "encodingFormat": "application/x-nwb"},
        "blob_id": api.blob(here, b"mended"),
    }
    api.ok("PUT", f"/dandisets/{here}/versions/draft/assets/{asset}/", json=body)
    assert checked(api, here)["status"] == "Valid"


def test_a_zarr_is_checked_when_it_has_a_checksum_and_cannot_be_published(api: Api) -> None:
    here = made(api)
    zarr_id = api.zarr(here, "a.ome.zarr")
    about = {"path": "a.ome.zarr", "schemaVersion": "0.8.0", "encodingFormat": "application/x-zarr"}
    api.ok("POST", f"/dandisets/{here}/versions/draft/assets/", json={"metadata": about, "zarr_id": zarr_id})
    api.zarr_file(zarr_id, ".zgroup", b"{}")
    time.sleep(1)
    unchecked = [{"path": "a.ome.zarr", "field": "", "message": UNCHECKED}]
    assert api.ok("GET", f"/dandisets/{here}/versions/draft/info/")["asset_validation_errors"] == unchecked
    listed = api.ok("GET", f"/dandisets/{here}/versions/draft/assets/?zarr=true")["results"]
    assert [row["path"] for row in listed] == ["a.ome.zarr"]
    api.ok("POST", f"/zarr/{zarr_id}/finalize/")
    assert checked(api, here)["status"] == "Valid"
    refused = api("POST", f"/dandisets/{here}/versions/draft/publish/")
    assert (refused.status_code, "contain zarrs" in refused.text) == (400, True)
    api.zarr_file(zarr_id, "0", b"more")
    assert api.ok("GET", f"/dandisets/{here}/versions/draft/info/")["asset_validation_errors"] == unchecked


def test_the_client_publishes_and_the_version_stays_when_the_draft_changes(api: Api, archive: RunningArchive) -> None:
    here = made(api)
    first = add(api, here, "sub-1/a.nwb", b"first")
    checked(api, here)
    with DandiAPIClient(f"{archive.url}/api", token=archive.token) as client:
        published = client.get_dandiset(here).publish()
        name = published.version.identifier
        assert [a.path for a in published.get_assets()] == ["sub-1/a.nwb"]
    summary = api.ok("GET", f"/dandisets/{here}/")
    assert summary["most_recent_published_version"]["version"] == name
    assert summary["draft_version"]["status"] == "Published"
    metadata = api.ok("GET", f"/dandisets/{here}/versions/{name}/")
    validate(metadata, schema_key="PublishedDandiset")
    assert metadata["url"] == f"{archive.url}/dandiset/{here}/{name}"
    assert metadata["citation"].startswith("Doe, Jane (")
    assert "doi" not in metadata, "only a registered archive can give one"
    validate(of_asset := api.ok("GET", f"/assets/{first}/"), schema_key="PublishedAsset")
    assert of_asset["datePublished"] == metadata["datePublished"]
    body = {
        "metadata": {"path": "sub-1/a.nwb", "schemaVersion": "0.8.0", "encodingFormat": "application/x-nwb"},
        "blob_id": api.blob(here, b"second"),
    }
    api.ok("PUT", f"/dandisets/{here}/versions/draft/assets/{first}/", json=body)
    assert checked(api, here)["status"] == "Valid"
    assert requests.get(f"{archive.url}/api/assets/{first}/download/", timeout=10).content == b"first"
    assert api.ok("GET", f"/dandisets/{here}/versions/{name}/assets/")["results"][0]["asset_id"] == first
    assert api("PUT", f"/dandisets/{here}/versions/{name}/", json={"name": "x", "metadata": {}}).status_code == 405
    assert api("DELETE", f"/dandisets/{here}/").status_code == 403
    again = api.ok("POST", f"/dandisets/{here}/versions/draft/publish/")["version"]
    assert again != name
    listed = [v["version"] for v in api.ok("GET", f"/dandisets/{here}/versions/?order=created")["results"]]
    assert listed == ["draft", name, again]


def test_the_bucket_says_what_its_dandisets_hold(api: Api, archive: RunningArchive) -> None:
    here = made(api)
    asset = add(api, here, "sub-1/a.nwb", b"in the manifest")
    place, found = f"{archive.url}/bucket/dandisets/{here}/draft", None
    for _ in range(100):
        found = requests.get(f"{place}/assets.jsonld", timeout=10)
        if found.ok and found.json():
            break
        time.sleep(0.1)
    assert found is not None
    (record,) = found.json()
    assert record == api.ok("GET", f"/assets/{asset}/")
    assert record["digest"]["dandi:dandi-etag"] == dandi_etag(b"in the manifest")
    metadata = requests.get(f"{place}/dandiset.jsonld", timeout=10).json()
    assert metadata["contributor"] == COMPLETE["contributor"]
    yaml = YAML(typ="safe", pure=True)
    assert yaml.load(requests.get(f"{place}/assets.yaml", timeout=10).text) == [record]
    assert yaml.load(requests.get(f"{place}/dandiset.yaml", timeout=10).text)["name"] == "A mouse"
    summary = metadata["assetsSummary"]
    assert [s["name"] for s in summary["dataStandard"]] == ["Neurodata Without Borders (NWB)"]
    assert (summary["numberOfFiles"], summary["numberOfBytes"]) == (1, len(b"in the manifest"))
    assert summary == api.ok("GET", f"/dandisets/{here}/versions/draft/")["assetsSummary"]
    members = requests.get(f"{place}/collection.jsonld", timeout=10).json()
    assert members["hasMember"] == [f"dandiasset:{asset}"]
    for key in ("draft/../archive.sqlite", "draft/secret", "%2e%2e/archive.sqlite", "draft/dandiset.jsonld/x"):
        assert requests.get(f"{archive.url}/bucket/dandisets/{here}/{key}", timeout=10).status_code == 404
    api.ok("DELETE", f"/dandisets/{here}/")
    assert requests.get(f"{place}/dandiset.jsonld", timeout=10).status_code == 404


def test_an_archive_of_the_first_layout_is_carried_on(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    with sqlite3.connect(folder / "archive.sqlite") as c:
        c.executescript(f"{database._SCHEMA} PRAGMA user_version = 1;")
        c.execute("INSERT INTO dandisets VALUES (1, 'owner', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00')")
        c.execute(
            "INSERT INTO versions VALUES (1, 1, 'draft', 'Old', ?, '2026-01-01T00:00:00+00:00', '2026-01-01')",
            (json.dumps(COMPLETE),),
        )
    c.close()
    with running_archive(folder) as running:
        api = Api(running.url, running.token)
        add(api, "000001", "a.nwb", b"old")
        assert checked(api, "000001")["status"] == "Valid"
