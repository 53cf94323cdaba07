"""The embedded archive held to its protocol: who may do what, paths, records, downloads. Raw requests, real sockets."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from archive_api import MEBIBYTE, Api, base64md5, dandi_etag, unique
from dandify.archive.rules import Refused, asset_path
from dandify.archive.serve import RunningArchive, running_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("archive") / "folder") as running:
        yield running


@pytest.fixture(scope="module")
def api(archive: RunningArchive) -> Api:
    return Api(archive.url, archive.token)


@pytest.fixture(scope="module")
def dandiset(api: Api) -> str:
    return api.dandiset()


def test_it_says_what_instance_it_is(api: Api) -> None:
    from dandischema.conf import Config, get_instance_config

    said = api.ok("GET", "/info/")
    assert Config.model_validate(said["instance_config"]) == get_instance_config()
    here = api.dandiset()
    me = api.ok("GET", "/users/me/")["username"]
    assert [owner["username"] for owner in api.ok("GET", f"/dandisets/{here}/users/")] == [me]


# --- who may do what -------------------------------------------------------------------------------------------------

WRITES = [
    ("POST", "/dandisets/"),
    ("DELETE", "/dandisets/{dandiset}/"),
    ("PUT", "/dandisets/{dandiset}/versions/draft/"),
    ("POST", "/dandisets/{dandiset}/versions/draft/publish/"),
    ("POST", "/dandisets/{dandiset}/versions/draft/assets/"),
    ("PUT", "/dandisets/{dandiset}/versions/draft/assets/x/"),
    ("DELETE", "/dandisets/{dandiset}/versions/draft/assets/x/"),
    ("POST", "/uploads/initialize/"),
    ("POST", "/uploads/x/complete/"),
    ("POST", "/uploads/x/validate/"),
    ("POST", "/zarr/"),
    ("POST", "/zarr/x/files/"),
    ("DELETE", "/zarr/x/files/"),
    ("POST", "/zarr/x/finalize/"),
    ("GET", "/auth/token"),
    ("GET", "/users/me/"),
    ("GET", "/dandisets/?user=me"),
]


@pytest.mark.parametrize("token", [None, "wrong", "é"], ids=["missing", "wrong", "not-ascii"])
@pytest.mark.parametrize(("method", "path"), WRITES, ids=[f"{m} {p}" for m, p in WRITES])
def test_without_the_token_nothing_is_changed(
    api: Api, dandiset: str, method: str, path: str, token: str | None
) -> None:
    answer = requests.request(
        method,
        f"{api.url}/api{path.format(dandiset=dandiset)}",
        json={},
        headers={"Authorization": f"token {token}".encode("latin-1")} if token else {},
        timeout=10,
    )
    assert answer.status_code == 401, answer.text


def test_a_wrong_token_is_refused_also_for_reading(api: Api, dandiset: str) -> None:
    wrong = Api(api.url, "wrong")
    for path in ("/dandisets/", f"/dandisets/{dandiset}/", f"/dandisets/{dandiset}/versions/draft/assets/"):
        assert wrong("GET", path).status_code == 401


def test_another_user_may_read_but_not_write(tmp_path: Path) -> None:
    with running_archive(tmp_path / "a", tokens={"one": "ann", "two": "bob"}) as running:
        ann, bob = Api(running.url, "one"), Api(running.url, "two")
        here = ann.dandiset()
        draft = f"/dandisets/{here}/versions/draft/"
        assert bob.ok("GET", draft)["name"] == "Trial"
        refused = [
            bob("PUT", draft, json={"name": "Bob's", "metadata": {}}),
            bob.put_asset(here, "a.nwb", blob_id=str(uuid.uuid4())),
            bob.begin(here, b"1234"),
            bob("POST", "/zarr/", json={"name": "z.zarr", "dandiset": here}),
            bob("DELETE", f"/zarr/{ann.zarr(here, 'y.zarr')}/files/", json=[{"path": "a"}]),
            bob("DELETE", f"/dandisets/{here}/"),
        ]
        assert [answer.status_code for answer in refused] == [403] * 6
        assert bob.ok("GET", "/dandisets/?user=me")["count"] == 0


# --- paths -----------------------------------------------------------------------------------------------------------

BAD_PATHS = {
    "parent": "sub-1/../../x.nwb",
    "only-parent": "..",
    "current": "./x.nwb",
    "absolute": "/etc/passwd",
    "double-slash": "sub-1//x.nwb",
    "folder": "sub-1/",
    "at": "sub-1/x@y.nwb",
    "percent": "sub-1/%2e%2e/x.nwb",
    "not-ascii": "sub-1/é.nwb",
    "empty": "",
    "513": "a" * 509 + ".nwb",
    "null": "a\x00b.nwb",
    "half-a-pair": "a\ud800.nwb",
    "backtracking": "a" * 400 + "@",
}


@pytest.mark.parametrize("path", BAD_PATHS.values(), ids=BAD_PATHS.keys())
def test_paths_that_are_refused(api: Api, dandiset: str, path: str) -> None:
    assert api.put_asset(dandiset, path, blob_id=str(uuid.uuid4())).status_code == 400
    assert api("POST", "/zarr/", json={"name": path, "dandiset": dandiset}).status_code == 400


@given(st.text(alphabet="aZ0 (),&#+~_=-[]^`\\./@:%é\n", max_size=12))
def test_path_rule_is_the_archives(path: str) -> None:
    theirs = re.fullmatch(r"([A-z0-9(),&\s#+~_=-]?\/?\.?[A-z0-9(),&\s#+~_=-])+", path)
    try:
        ours = asset_path(path) == path
    except Refused:
        ours = False
    assert ours == (theirs is not None and not path.startswith("/"))


BAD_ZARR_PATHS = ["../x", "a/../../b", "/a", "a//b", "a/", "./a", "a\\..\\b", "c:x", "a\x00", "", "a" * 300, "\ud800"]


@pytest.mark.parametrize("path", BAD_ZARR_PATHS, ids=repr)
def test_paths_in_a_zarr_that_are_refused(api: Api, dandiset: str, path: str) -> None:
    zarr_id = api.zarr(dandiset, f"{uuid.uuid4()}.zarr")
    wanted = [{"path": path, "base64md5": base64md5(b"x")}]
    assert api("POST", f"/zarr/{zarr_id}/files/", json=wanted).status_code == 400
    assert api("DELETE", f"/zarr/{zarr_id}/files/", json=[{"path": path}]).status_code in (400, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/bucket/../archive.sqlite",
        "/bucket/archive.sqlite",
        "/bucket/blobs/../../archive.sqlite",
        "/bucket/%2e%2e/archive.sqlite",
        "/bucket/blobs/000/000/00000000-0000-0000-0000-000000000000",
        "/bucket/zarr/00000000-0000-0000-0000-000000000000/..%2f..%2farchive.sqlite",
        "/bucket/uploads/x/1",
    ],
)
def test_the_bucket_yields_nothing_but_assets(api: Api, path: str) -> None:
    session = requests.Session()
    request = session.prepare_request(requests.Request("GET", api.url))
    request.url = api.url + path  # unlike requests, which would resolve the dots
    answer = session.send(request, timeout=10)
    assert answer.status_code == 404
    assert b"SQLite" not in answer.content
    session.close()


@pytest.mark.parametrize(
    ("first", "second"),
    [("a/b.nwb", "a/b.nwb"), ("b", "b/c.nwb"), ("c/d.nwb", "c")],
    ids=["same", "file-as-folder", "folder-as-file"],
)
def test_a_path_is_a_file_or_a_folder_and_taken_once(api: Api, first: str, second: str) -> None:
    here = api.dandiset()
    api.asset(here, first, unique())
    assert api.put_asset(here, second, blob_id=api.blob(here, unique())).status_code == 409


# --- records ---------------------------------------------------------------------------------------------------------


def test_listing_by_prefix_glob_order_and_page(api: Api) -> None:
    here = api.dandiset()
    blob_id = api.blob(here, unique())
    paths = ["sub-1/a.nwb", "sub-1/b_100%.mp4".replace("%", "~"), "sub-10/a.nwb", "sub-2/c.nwb"]
    for path in paths:
        assert api.put_asset(here, path, blob_id=blob_id).ok
    url = f"/dandisets/{here}/versions/draft/assets/"

    def listed(query: str) -> list[str]:
        return [row["path"] for row in api.ok("GET", f"{url}?{query}")["results"]]

    assert listed("") == paths
    assert listed("path=sub-1/") == paths[:2]
    assert listed("path=sub-1") == paths[:3]
    assert api.put_asset(here, "sub-2/c.nwb.json", blob_id=blob_id).ok
    assert listed("path=sub-2/c.nwb") == ["sub-2/c.nwb"], "of a whole path that asset alone"
    assert listed("path=sub-2/c.nw") == ["sub-2/c.nwb", "sub-2/c.nwb.json"]
    assert listed("zarr=true") == []
    api.ok("DELETE", f"{url}{api.ok('GET', f'{url}?path=sub-2/c.nwb.json')['results'][0]['asset_id']}/")
    assert listed("glob=*/A.nwb") == [paths[0], paths[2]]
    assert listed("glob=sub-_/*") == [], "only * is special"
    assert listed("order=-path") == paths[::-1]
    page = api.ok("GET", f"{url}?page_size=3")
    assert page["count"] == 4
    assert page["next"].endswith("page_size=3&page=2")
    assert [row["path"] for row in requests.get(page["next"], timeout=10).json()["results"]] == paths[3:]
    assert api("GET", f"{url}?page=0").status_code == 404


def test_what_is_at_a_path(api: Api) -> None:
    """As DANDI's WebDAV asks: an asset, or a folder with its sums, and what lies in it."""
    here = api.dandiset()
    for path, size in (("a/x/1.nwb", 1), ("a/x/2.nwb", 2), ("a/3.nwb", 4), ("b.nwb", 8)):
        api.asset(here, path, unique()[:size])

    def at(path: str, **more: str) -> list[tuple[str, str, int]]:
        query = {"dandiset_id": here, "version_id": "draft", "path": path, **more}
        found = api.ok("GET", "/webdav/assets/atpath/", params=query)["results"]
        return [
            (one["type"], one["resource"]["path"], one["resource"].get("total_size", one["resource"].get("size")))
            for one in found
        ]

    assert at("") == []
    assert at("", children="true") == [("folder", "a", 7), ("asset", "b.nwb", 8)]
    assert at("a/") == at("a") == [("folder", "a", 7)]
    assert at("a", children="true") == [("folder", "a", 7), ("asset", "a/3.nwb", 4), ("folder", "a/x", 3)]
    assert at("a/x/1.nwb", children="true") == [("asset", "a/x/1.nwb", 1)]
    for nothing in ("c", "a/x/1.nwb/", "a/x/1"):
        query = {"dandiset_id": here, "version_id": "draft", "path": nothing}
        assert api("GET", "/webdav/assets/atpath/", params=query).status_code == 404
    query = {"dandiset_id": here, "version_id": "draft", "path": "b.nwb", "metadata": "true"}
    (found,) = api.ok("GET", "/webdav/assets/atpath/", params=query)["results"]
    assert found["resource"]["metadata"]["contentSize"] == 8


def test_an_asset_is_replaced_by_a_new_one(api: Api) -> None:
    here = api.dandiset()
    old = api.asset(here, "a.nwb", unique())
    draft = f"/dandisets/{here}/versions/draft/assets/"
    body = {"metadata": {"path": "b/a.nwb", "digest": old["metadata"]["digest"]}, "blob_id": old["blob"]}
    new = api.ok("PUT", f"{draft}{old['asset_id']}/", json=body)
    assert new["asset_id"] != old["asset_id"]
    assert api("GET", f"/assets/{old['asset_id']}/").status_code == 404
    assert [row["path"] for row in api.ok("GET", draft)["results"]] == ["b/a.nwb"]
    assert api.ok("PUT", f"{draft}{new['asset_id']}/", json=body)["asset_id"] == new["asset_id"], "the same stays"
    wrong = {**body, "metadata": {"path": "c.nwb", "digest": {"dandi:dandi-etag": "0" * 32 + "-1"}}}
    assert api("POST", draft, json=wrong).status_code == 400
    for nothing in ({"blob_id": str(uuid.uuid4())}, {"zarr_id": str(uuid.uuid4())}):
        assert api("POST", draft, json={"metadata": {"path": "c.nwb"}, **nothing}).status_code == 404
    assert api("DELETE", f"{draft}{new['asset_id']}/").status_code == 204
    assert api.ok("GET", draft)["count"] == 0


def test_the_same_metadata_do_not_modify_a_dandiset(api: Api) -> None:
    draft = f"/dandisets/{api.dandiset()}/versions/draft/"
    first = api.ok("PUT", draft, json={"name": "A", "metadata": {"keywords": ["x"]}})
    whole = api.ok("GET", draft)
    again = api.ok("PUT", draft, json={"name": "A", "metadata": {**whole, "version": "9", "doi": "10.1/x"}})
    assert api.ok("GET", draft) == whole | {"citation": api.ok("GET", draft)["citation"]}
    assert again["modified"] == api.ok("PUT", draft, json={"name": "A", "metadata": whole})["modified"]
    assert again["modified"] > first["modified"], "the schema's version was new"


@pytest.mark.parametrize("metadata", [None, [], "x", {}, {"path": 3}], ids=repr)
def test_an_asset_without_a_path_is_refused(api: Api, dandiset: str, metadata: object) -> None:
    body = {"metadata": metadata, "blob_id": str(uuid.uuid4())}
    assert api("POST", f"/dandisets/{dandiset}/versions/draft/assets/", json=body).status_code == 400


def test_a_dandiset_is_searched_described_and_deleted(api: Api) -> None:
    word = uuid.uuid4().hex
    made = api.ok("POST", "/dandisets/", json={"name": "Mäuse 100%", "metadata": {"description": f"ü {word}"}})
    here = made["identifier"]
    assert [row["identifier"] for row in api.ok("GET", f"/dandisets/?search=ü {word}")["results"]] == [here]
    assert api.ok("GET", f"/dandisets/?search={word}&empty=false")["count"] == 0
    api.asset(here, "a.nwb", b"twelve bytes")
    found = api.ok("GET", f"/dandisets/{here}/")["draft_version"]
    assert (found["asset_count"], found["size"], found["name"]) == (1, 12, "Mäuse 100%")
    assert api("DELETE", f"/dandisets/{here}/").status_code == 204
    assert api("GET", f"/dandisets/{here}/").status_code == 404
    assert api.dandiset() != here, "an identifier is given once"


def test_an_identifier_is_the_archives_to_give(api: Api) -> None:
    body = {"name": "x", "metadata": {"identifier": "DANDI:000077"}}
    assert api("POST", "/dandisets/", json=body).status_code == 400


def test_what_is_private_is_listed_to_nobody_unknown(api: Api) -> None:
    unknown = Api(api.url, None)
    assert unknown("GET", "/dandisets/?embargoed=true").status_code == 401
    assert api("GET", "/dandisets/?embargoed=true").status_code == 200
    assert unknown("GET", "/dandisets/?embargoed=false").status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]"], ids=repr)
def test_a_body_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    assert api("POST", "/dandisets/", data=body).status_code == 400


def test_a_description_without_end_is_refused(api: Api) -> None:
    body = json.dumps({"name": "x", "metadata": {"description": "x" * (33 * MEBIBYTE)}})
    with contextlib.suppress(requests.ConnectionError):  # refused while it was still being sent
        assert api("POST", "/dandisets/", data=body).status_code == 413


# --- downloads -------------------------------------------------------------------------------------------------------

DATA = bytes(range(256)) * 40
RANGES = {
    "beginning": ("bytes=0-9", DATA[:10]),
    "middle": ("bytes=100-199", DATA[100:200]),
    "to the end": ("bytes=10000-", DATA[10000:]),
    "last bytes": ("bytes=-7", DATA[-7:]),
    "past the end": ("bytes=10230-99999", DATA[10230:]),
}


@pytest.fixture(scope="module")
def content_url(api: Api) -> str:
    asset = api.asset(api.dandiset(), "sub-1/range.nwb", DATA)
    return str(asset["metadata"]["contentUrl"][0])


@pytest.mark.parametrize(("wanted", "expected"), RANGES.values(), ids=RANGES.keys())
def test_ranges(content_url: str, wanted: str, expected: bytes) -> None:
    answer = requests.get(content_url, headers={"Range": wanted, "Origin": "https://neurosift.app"}, timeout=10)
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["Content-Range"].endswith(f"/{len(DATA)}")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Content-Encoding" not in answer.headers


def test_a_range_that_is_not_there(content_url: str) -> None:
    assert requests.get(content_url, headers={"Range": "bytes=99999-"}, timeout=10).status_code == 416


def test_a_browser_may_ask_for_ranges_from_any_site(content_url: str) -> None:
    head = requests.head(content_url, allow_redirects=True, headers={"Origin": "https://x.org"}, timeout=10)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(DATA)))
    assert head.headers["ETag"] == f'"{dandi_etag(DATA)}"'
    asks = {
        "Origin": "https://x.org",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range",
    }
    preflight = requests.options(head.url, headers=asks, timeout=10)
    assert preflight.status_code == 200
    assert "range" in preflight.headers["Access-Control-Allow-Headers"].lower()
