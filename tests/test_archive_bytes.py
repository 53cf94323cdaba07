"""The embedded archive takes bytes only as announced: blobs, signed URLs, Zarrs. Raw requests over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from archive_api import PART, Api, base64md5, dandi_etag, unique
from dandify.archive.bucket import Bucket
from dandify.archive.rules import Refused
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


# --- blobs -----------------------------------------------------------------------------------------------------------


def test_what_is_uploaded_is_downloaded_and_known_by_its_digests(api: Api, archive: RunningArchive) -> None:
    here, data = api.dandiset(), unique("blob") * 1000
    asset = api.asset(here, "sub-1/x.nwb", data)
    assert requests.get(f"{api.url}/api/assets/{asset['asset_id']}/download/", timeout=10).content == data
    blob_id = asset["blob"]
    assert (archive.folder / "blobs" / blob_id[:3] / blob_id[3:6] / blob_id).read_bytes() == data
    sha256 = hashlib.sha256(data).hexdigest()
    assert asset["metadata"]["digest"] == {"dandi:dandi-etag": dandi_etag(data), "dandi:sha2-256": sha256}
    for algorithm, value in (("dandi:dandi-etag", dandi_etag(data)), ("dandi:sha2-256", sha256)):
        assert api.ok("POST", "/blobs/digest/", json={"algorithm": algorithm, "value": value})["blob_id"] == blob_id
    again = api.begin(here, data)
    assert (again.status_code, again.headers["Location"]) == (409, blob_id)


def test_an_upload_in_two_parts(api: Api, dandiset: str) -> None:
    data = unique() + bytes(PART) + b"end"
    upload = api.begin(dandiset, data).json()
    assert [part["size"] for part in upload["parts"]] == [PART, len(data) - PART]
    blob = api.finish(upload, data).json()
    assert (blob["etag"], blob["sha256"]) == (dandi_etag(data), hashlib.sha256(data).hexdigest())


BAD_BEGINNINGS: dict[str, tuple[dict[str, Any], int]] = {
    "empty file": ({"contentSize": 0}, 400),
    "negative": ({"contentSize": -1}, 400),
    "over 5 TiB": ({"contentSize": 5 * 2**40 + 1}, 400),
    "size is text": ({"contentSize": "12"}, 400),
    "no digest": ({"digest": None}, 400),
    "another digest": ({"digest": {"algorithm": "dandi:sha2-256", "value": "0" * 64}}, 400),
    "not an etag": ({"digest": {"algorithm": "dandi:dandi-etag", "value": "../x"}}, 400),
    "etag of other parts": ({"digest": {"algorithm": "dandi:dandi-etag", "value": "0" * 32 + "-7"}}, 400),
    "no dandiset": ({"dandiset": "999999"}, 404),
    "not a dandiset": ({"dandiset": "x"}, 404),
}


@pytest.mark.parametrize(("changes", "status"), BAD_BEGINNINGS.values(), ids=BAD_BEGINNINGS.keys())
def test_uploads_that_are_not_begun(api: Api, dandiset: str, changes: dict[str, Any], status: int) -> None:
    assert api.begin(dandiset, b"0123456789ab", changes).status_code == status


def test_a_flipped_byte_is_refused(api: Api, dandiset: str, archive: RunningArchive) -> None:
    data = unique()
    upload = api.begin(dandiset, data).json()
    answer = api.finish(upload, bytes([data[0] ^ 1]) + data[1:])
    assert answer.status_code == 400
    assert "does not match" in answer.json()["detail"]
    key = upload["upload_id"]
    assert not (archive.folder / "blobs" / key[:3] / key[3:6] / key).exists()
    assert api.begin(dandiset, data).status_code == 200, "the right bytes are still wanted"


def test_a_part_damaged_on_the_archives_disk_is_noticed(api: Api, dandiset: str, archive: RunningArchive) -> None:
    data = unique()
    upload = api.begin(dandiset, data).json()
    part = api.put_part(upload["parts"][0], data)
    on_disk = archive.folder / "uploads" / upload["upload_id"] / "1"
    on_disk.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    how = api.ok("POST", f"/uploads/{upload['upload_id']}/complete/", json={"parts": [part]})
    answer = requests.post(how["complete_url"], data=how["body"], timeout=10)
    assert answer.status_code == 500
    assert "damaged" in answer.json()["detail"]
    assert api("POST", f"/uploads/{upload['upload_id']}/validate/").status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        lambda part: {**part, "etag": "0" * 32},
        lambda part: {**part, "size": part["size"] + 1},
        lambda part: {**part, "part_number": 2},
    ],
    ids=["etag", "size", "number"],
)
def test_a_list_of_parts_that_is_not_what_came_is_refused(
    api: Api, dandiset: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    data = unique()
    upload = api.begin(dandiset, data).json()
    part = api.put_part(upload["parts"][0], data)
    answer = api("POST", f"/uploads/{upload['upload_id']}/complete/", json={"parts": [change(part)]})
    assert answer.status_code == 400


@pytest.mark.parametrize(("body", "status"), [(b"12345", 413), (b"123", 400), (b"", 400)], ids=["long", "short", "no"])
def test_a_part_has_the_size_agreed_on(api: Api, dandiset: str, body: bytes, status: int) -> None:
    upload = api.begin(dandiset, b"1234").json()
    assert requests.put(upload["parts"][0]["upload_url"], data=body, timeout=10).status_code == status
    answer = api("POST", f"/uploads/{upload['upload_id']}/complete/", json={"parts": []})
    assert answer.status_code == 400


def test_a_body_of_unstated_length_is_refused(api: Api, dandiset: str, archive: RunningArchive) -> None:
    upload = api.begin(dandiset, unique()).json()
    answer = requests.put(upload["parts"][0]["upload_url"], data=iter([b"x" * 10] * 10), timeout=10)
    assert answer.status_code == 411
    assert not list((archive.folder / "incoming").iterdir())


def test_an_upload_of_gigabytes_is_told_before_it_is_sent_that_it_is_too_long(api: Api, dandiset: str) -> None:
    """The header is enough: the body is never read, let alone kept in memory."""
    url = urlsplit(api.begin(dandiset, b"1234").json()["parts"][0]["upload_url"])

    with socket.create_connection((str(url.hostname), url.port or 80), timeout=10) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {2**40}\r\n\r\n"
        connection.sendall(head.encode() + b"x")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_two_hundred_parts_at_a_time(api: Api, dandiset: str, archive: RunningArchive) -> None:
    contents = [unique() * 5_000 for _ in range(200)]
    uploads = [api.begin(dandiset, data).json() for data in contents]
    barrier = threading.Barrier(200)

    def send(upload: dict[str, Any], data: bytes) -> dict[str, Any]:
        barrier.wait(30)
        return api.put_part(upload["parts"][0], data)

    with ThreadPoolExecutor(200) as pool:
        parts = list(pool.map(send, uploads, contents))
        answers = list(pool.map(lambda u, part: api.join(u["upload_id"], [part]), uploads, parts))
    for answer, data in zip(answers, contents, strict=True):
        assert answer.json()["etag"] == dandi_etag(data)
        key = answer.json()["blob_id"]
        assert (archive.folder / "blobs" / key[:3] / key[3:6] / key).read_bytes() == data


def test_the_same_bytes_uploaded_twice_at_a_time_are_kept_once(api: Api, dandiset: str) -> None:
    data = unique()
    uploads = [api.begin(dandiset, data).json() for _ in range(2)]
    first, second = (api.finish(upload, data) for upload in uploads)
    assert (first.status_code, second.status_code) == (200, 409)
    known = api.begin(dandiset, data)
    assert (known.status_code, known.headers["Location"]) == (409, first.json()["blob_id"])


# --- signed URLs -----------------------------------------------------------------------------------------------------

ALTERATIONS: dict[str, Callable[[str], str]] = {
    "no signature": lambda url: url.partition("?")[0],
    "signature": lambda url: re.sub(r"signature=(.)", lambda m: f"signature={'1' if m[1] == '0' else '0'}", url),
    "later expiry": lambda url: re.sub(r"expires=(\d)", r"expires=9\1", url),
    "larger size": lambda url: re.sub(r"part-size=(\d+)", r"part-size=9\1", url),
    "another part": lambda url: url.replace("/1?", "/2?"),
    "another upload": lambda url: re.sub(r"uploads/[^/]+", f"uploads/{uuid.uuid4()}", url),
    "one claim more": lambda url: url + "&admin=1",
}


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_an_altered_url_is_refused(api: Api, dandiset: str, alter: Callable[[str], str]) -> None:
    data = unique()
    url = api.begin(dandiset, data).json()["parts"][0]["upload_url"]
    assert requests.put(alter(url), data=data, timeout=10).status_code == 403
    assert requests.put(url, data=data, timeout=10).status_code == 200


def test_an_expired_url_is_refused(tmp_path: Path) -> None:
    with running_archive(tmp_path / "a", url_seconds=-1) as running:
        api = Api(running.url, running.token)
        url = api.begin(api.dandiset(), b"1234").json()["parts"][0]["upload_url"]
        answer = requests.put(url, data=b"1234", timeout=10)
    assert (answer.status_code, "expired" in answer.json()["detail"]) == (403, True)


# --- Zarrs -----------------------------------------------------------------------------------------------------------


def test_a_zarr_has_the_checksum_that_zarr_checksum_computes(api: Api, tmp_path: Path) -> None:
    from zarr_checksum import compute_zarr_checksum
    from zarr_checksum.generators import yield_files_local

    here = api.dandiset()
    zarr_id = api.zarr(here, "sub-1/x.ome.zarr")
    files = {
        "zarr.json": b"{}",
        "0/zarr.json": b'{"a":1}',
        "0/c/0/0": unique(),
        "0/c/0/1 #?%é": unique() * 99,
        "e": b"",
    }
    for path, data in files.items():
        target = tmp_path / "z" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        api.zarr_file(zarr_id, path, data)
    assert api.ok("GET", f"/zarr/{zarr_id}/")["status"] == "Pending"
    assert api("POST", f"/zarr/{zarr_id}/finalize/").status_code == 204
    found = api.ok("GET", f"/zarr/{zarr_id}/")
    assert found["status"] == "Complete"
    assert api("POST", f"/zarr/{zarr_id}/finalize/").status_code == 400, "once"
    assert found["checksum"] == str(compute_zarr_checksum(yield_files_local(str(tmp_path / "z"))))
    assert (found["file_count"], found["size"]) == (5, sum(map(len, files.values())))
    listed = api.ok("GET", f"/zarr/{zarr_id}/files?prefix=0/")["results"]
    assert {row["Key"]: row["ETag"] for row in listed} == {
        path: hashlib.md5(data).hexdigest() for path, data in files.items() if path.startswith("0/")
    }
    for path, data in files.items():
        got = requests.get(
            f"{api.url}/api/zarr/{zarr_id}/files/", params={"prefix": path, "download": "true"}, timeout=10
        )
        assert got.content == data


def test_files_of_a_zarr_are_replaced_and_removed(api: Api, dandiset: str, archive: RunningArchive) -> None:
    zarr_id = api.zarr(dandiset, f"{uuid.uuid4()}.zarr")
    for path, data in {"a": b"1", "b/c/d": b"22", "b/e": b"333"}.items():
        api.zarr_file(zarr_id, path, data)
    api.zarr_file(zarr_id, "a", b"4444")
    assert api.ok("GET", f"/zarr/{zarr_id}/")["size"] == 9
    assert api("DELETE", f"/zarr/{zarr_id}/files/", json=[{"path": "a"}, {"path": "x"}]).status_code == 400
    assert api.ok("GET", f"/zarr/{zarr_id}/")["file_count"] == 3, "all or nothing"
    assert api("DELETE", f"/zarr/{zarr_id}/files/", json=[{"path": "b/c/d"}]).status_code == 204
    assert sorted(p.name for p in (archive.folder / "zarr" / zarr_id).rglob("*")) == ["a", "b", "e"]
    api.zarr_file(zarr_id, "b/c", b"5")  # a file where a folder was
    assert requests.put(
        api.zarr_url(zarr_id, "b/c/d", b"6"), data=b"6", headers={"Content-MD5": base64md5(b"6")}, timeout=10
    ).status_code == 409  # fmt: skip


def test_a_flipped_byte_in_a_zarr_is_refused(api: Api, dandiset: str) -> None:
    zarr_id = api.zarr(dandiset, f"{uuid.uuid4()}.zarr")
    url = api.zarr_url(zarr_id, "0/0", b"right")
    header = {"Content-MD5": base64md5(b"right")}
    assert requests.put(url, data=b"wrong", headers=header, timeout=10).status_code == 400
    assert requests.put(url, data=b"wrong", headers={"Content-MD5": base64md5(b"wrong")}, timeout=10).status_code == 403
    assert requests.put(url, data=b"right", timeout=10).status_code == 403
    other = url.replace("/0/0?", "/0/1?")
    assert requests.put(other, data=b"right", headers=header, timeout=10).status_code == 403
    assert api.ok("GET", f"/zarr/{zarr_id}/files/")["results"] == []
    assert requests.put(url, data=b"right", headers=header, timeout=10).status_code == 200


def test_a_zarr_belongs_to_one_dandiset_and_one_name(api: Api, dandiset: str) -> None:
    name = f"{uuid.uuid4()}.zarr"
    zarr_id = api.zarr(dandiset, name)
    twice = api("POST", "/zarr/", json={"name": name, "dandiset": dandiset})
    assert (twice.status_code, "Zarr already exists" in twice.text) == (400, True)
    assert api.ok("GET", f"/zarr/?dandiset={dandiset}&name={name}")["results"][0]["zarr_id"] == zarr_id
    assert api.put_asset(api.dandiset(), name, zarr_id=zarr_id).status_code == 400


def test_many_files_of_a_zarr_are_listed_page_by_page(api: Api, archive: RunningArchive, dandiset: str) -> None:
    zarr_id = api.zarr(dandiset, f"{uuid.uuid4()}.zarr")
    names = [f"0/{i:05d}" for i in range(1005)]
    wanted = [{"path": name, "base64md5": base64md5(b"x")} for name in names[:1000]]
    urls = [*api.ok("POST", f"/zarr/{zarr_id}/files/", json=wanted)]
    urls += [api.zarr_url(zarr_id, name, b"x") for name in names[1000:]]
    session = requests.Session()
    for url in urls:
        session.put(url, data=b"x", headers={"Content-MD5": base64md5(b"x")}, timeout=10).raise_for_status()
    first = api.ok("GET", f"/zarr/{zarr_id}/files/")
    second = session.get(first["next"], timeout=10).json()
    session.close()
    assert [row["Key"] for row in first["results"] + second["results"]] == names
    assert second["next"] is None


def test_more_than_was_agreed_on_is_not_kept_even_if_no_length_was_stated(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    bucket.prepare()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"1234"

    assert asyncio.run(bucket.receive(body(), limit=12)).size == 12
    with pytest.raises(Refused, match="more than the 11 bytes"):
        asyncio.run(bucket.receive(body(), limit=11))
    assert len(list((tmp_path / "incoming").iterdir())) == 1
