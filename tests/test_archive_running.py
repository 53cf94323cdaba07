"""The embedded archive as a process: started, stopped, killed, on a full disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from rich.console import Console

from archive_api import MEBIBYTE, PART, Api, dandi_etag, unique
from dandify.archive.client import find_archive
from dandify.archive.loopback import listening
from dandify.archive.send import UploadProgress
from dandify.archive.serve import RunningArchive, Serving, _listening, running_archive, serve
from dandify.archive.upload import upload
from dandify.errors import BadRequest, BadSource, DandifyError
from dandify.report.upload import print_upload


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("archive") / "folder") as running:
        yield running


def test_one_server_to_a_folder(archive: RunningArchive) -> None:
    with pytest.raises(DandifyError, match="stop the other server"), running_archive(archive.folder):
        pass


def test_a_port_that_is_taken(archive: RunningArchive, tmp_path: Path) -> None:
    with (
        pytest.raises(BadRequest, match="cannot be used"),
        running_archive(tmp_path / "b", port=urlsplit(archive.url).port or 0),
    ):
        pass


def test_this_machine_only(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="this machine only"):
        serve(tmp_path / "b", host="0.0.0.0")


def test_a_folder_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "archive.sqlite").write_bytes(b"not a database, surely" * 100)
    with pytest.raises(BadSource, match=r"not an archive's database"), running_archive(tmp_path):
        pass


def test_stopped_and_started_again_it_has_the_same_key_and_data(tmp_path: Path) -> None:
    with running_archive(tmp_path / "c") as first:
        made = Api(first.url, first.token).dandiset()
        first.stop()
        first.stop()
    with running_archive(tmp_path / "c") as second:
        assert second.token == first.token
        assert Api(second.url, None).ok("GET", f"/dandisets/{made}/")["identifier"] == made


_SERVE = "import sys; from pathlib import Path; from dandify.archive.serve import serve; \
serve(Path(sys.argv[1]), port=int(sys.argv[2]), ready=lambda s: print(s.url, s.token, flush=True))"


# A limit to the size of files is what a full disk looks like to the server, and needs no disk.
_SMALL_DISK = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({MEBIBYTE}, {MEBIBYTE})); "


def start(folder: Path, *, before: str = "", port: int = 0) -> tuple[subprocess.Popen[str], Api]:
    process = subprocess.Popen(
        [sys.executable, "-c", before + _SERVE, str(folder), str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    url, token = process.stdout.readline().split()
    return process, Api(url, token)


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


@pytest.mark.parametrize(("port", "to"), [(8765, "local"), (8766, "http://127.0.0.1:8766")])
def test_it_says_how_to_use_it(port: int, to: str) -> None:
    said = Serving(f"http://127.0.0.1:{port}", "secret", Path("lab")).how_to
    assert f"dandi upload -i http://127.0.0.1:{port}" in said
    assert f"127.0.0.1:{port}_API_KEY=secret" in said
    assert f"DANDIFY_API_KEY=secret dandify upload DANDISET --to {to} --create" in said


def test_it_takes_its_usual_port_or_a_free_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dandify.archive import client

    with listening("127.0.0.1", 0) as free:
        usual = free.getsockname()[1]
    monkeypatch.setattr("dandify.archive.serve.LOCAL_PORT", usual)
    monkeypatch.setitem(client._SHORT_NAMES, "local", f"http://127.0.0.1:{usual}")
    with _listening("127.0.0.1", None) as first, _listening("127.0.0.1", None) as second:
        assert first.getsockname()[1] == usual != second.getsockname()[1]
    with running_archive(tmp_path / "archive", port=usual) as running:
        assert find_archive("local").api_url == f"{running.url}/api"
    with pytest.raises(DandifyError, match="cannot be reached") as caught:
        find_archive("local")
    assert "dandify archive serve DIR" in str(caught.value.remedy)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_ctrl_c_stops_it_cleanly(tmp_path: Path) -> None:
    process, api = start(tmp_path / "d")
    try:
        api.dandiset()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)
        assert (process.returncode, errors) == (0, "")
    finally:
        stop(process)


def test_a_zarr_whose_checksum_was_being_made_at_the_end_can_be_finalized(tmp_path: Path) -> None:
    with running_archive(tmp_path / "z") as first:
        api = Api(first.url, first.token)
        zarr_id = api.zarr(api.dandiset(), "x.zarr")
        api.zarr_file(zarr_id, ".zgroup", b"{}")
    with contextlib.closing(sqlite3.connect(tmp_path / "z" / "archive.sqlite")) as c, c:
        c.execute("UPDATE zarrs SET status = 'Ingesting'")
    with running_archive(tmp_path / "z") as second:
        api = Api(second.url, second.token)
        api.ok("POST", f"/zarr/{zarr_id}/finalize/")
        assert api.ok("GET", f"/zarr/{zarr_id}/")["status"] == "Complete"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    process, api = start(folder, before=_SMALL_DISK)
    try:
        here, data = api.dandiset(), bytes(2 * MEBIBYTE)
        url = api.begin(here, data).json()["parts"][0]["upload_url"]
        answer = requests.put(url, data=data, timeout=10)
        assert (answer.status_code, "File too large" in answer.json()["detail"]) == (507, True)
        left = [file for file in folder.rglob("*") if file.is_file() and file.parent != folder]
        assert [file for file in left if "dandisets" not in file.parts] == []  # but the manifests
        assert api.blob(here, b"a small one")
    finally:
        stop(process)


def test_a_large_body_is_never_in_memory(tmp_path: Path) -> None:
    import psutil

    process, api = start(tmp_path / "f")
    try:
        here, data = api.dandiset(), bytes(PART)
        api.blob(here, b"warm")
        server = psutil.Process(process.pid)
        before, peak, done = server.memory_info().rss, 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.005):
                peak = max(peak, server.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            asset = api.asset(here, "x.nwb", data)
            got = requests.get(asset["metadata"]["contentUrl"][1], timeout=30).content
        finally:
            done.set()
            watcher.join()
        assert got == data
        assert peak - before < 16 * MEBIBYTE
    finally:
        stop(process)


def test_killed_in_the_middle_of_an_upload_it_loses_nothing_committed(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    process, api = start(folder)
    try:
        here = api.dandiset()
        kept = unique() * 5000
        asset = api.asset(here, "sub-1/kept.nwb", kept)
        zarr_id = api.zarr(here, "sub-1/x.zarr")
        chunks = {f"0/{i}": unique() for i in range(5)}
        for path, data in chunks.items():
            api.zarr_file(zarr_id, path, data)
        data = unique() + bytes(PART)
        upload = api.begin(here, data).json()
        first = api.put_part(upload["parts"][0], data[:PART])
        arriving = threading.Event()

        def trickle() -> Iterator[bytes]:
            yield data[PART : PART + 1]
            arriving.set()
            process.kill()
            process.wait(10)
            yield data[PART + 1 :]

        second = upload["parts"][1]
        headers = {"Content-Length": str(second["size"])}
        with pytest.raises(requests.ConnectionError):
            requests.put(second["upload_url"], data=Sized(trickle(), second["size"]), headers=headers, timeout=10)
        assert arriving.is_set()
    finally:
        stop(process)
    process, again = start(folder)
    try:
        assert again.token == api.token
        assert not list((folder / "incoming").iterdir())
        got = requests.get(f"{again.url}/api/assets/{asset['asset_id']}/download/", timeout=10)
        assert got.content == kept
        listed = again.ok("GET", f"/zarr/{zarr_id}/files")["results"]
        assert {row["Key"]: row["ETag"] for row in listed} == {p: hashlib.md5(d).hexdigest() for p, d in chunks.items()}
        # The upload goes on where it was: its signed URL is still good at the new port.
        url = again.url + second["upload_url"].removeprefix(api.url)
        part = again.put_part({**second, "upload_url": url}, data[PART:])
        assert again.join(upload["upload_id"], [first, part]).json()["etag"] == dandi_etag(data)
    finally:
        stop(process)


def test_what_had_arrived_when_it_was_killed_is_told_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dandi.dandiapi.REQUEST_RETRIES", 2)  # it tries for a minute else
    root = films(tmp_path / "dandiset")
    process, api = start(tmp_path / "archive")

    def kill(step: UploadProgress) -> None:
        if (step.path, step.step) == ("2.mp4", "uploading"):
            process.kill()
            process.wait(10)

    try:
        cut = upload(root, to=api.url, token=api.token, create=True, jobs=1, progress=kill)
    finally:
        stop(process)
    assert [(asset.path, asset.status) for asset in cut.assets] == [
        ("0.mp4", "uploaded"), ("1.mp4", "uploaded"), *((f"{i}.mp4", "failed") for i in range(2, 6)),
    ]  # fmt: skip
    assert cut.assets[2].message == cut.trouble == "no answer (ConnectionError)"
    assert all(asset.message.startswith("not tried:") for asset in cut.assets[3:])
    assert cut.verdict is None
    said = io.StringIO()
    print_upload(cut, Console(file=said, width=120))
    for expected in ("2 uploaded", "4 failed", "no answer (ConnectionError)", "only what has not arrived"):
        assert expected in said.getvalue()

    process, again = start(tmp_path / "archive")
    try:
        rest = upload(root, to=again.url, token=again.token)
    finally:
        stop(process)
    assert [a.status for a in rest.assets] == ["skipped"] * 2 + ["uploaded"] * 4
    assert rest.verdict is not None
    assert rest.trouble == ""


def test_an_upload_goes_on_with_an_archive_that_comes_back(tmp_path: Path) -> None:
    root = films(tmp_path / "dandiset")
    process, api = start(tmp_path / "archive")
    running = [process]

    def restart(step: UploadProgress) -> None:
        if (step.path, step.step) == ("2.mp4", "uploading") and len(running) == 1:
            stop(process)
            running.append(start(tmp_path / "archive", port=urlsplit(api.url).port or 0)[0])

    try:
        done = upload(root, to=api.url, token=api.token, create=True, jobs=1, progress=restart)
    finally:
        for one in running:
            stop(one)
    assert len(running) == 2
    assert [(a.status, a.archive) for a in done.assets] == [("uploaded", "Valid")] * 6
    assert done.trouble == ""


def films(root: Path) -> Path:
    root.mkdir()
    (root / "dandiset.yaml").write_text("name: Six films\n", encoding="utf-8")
    for i in range(6):
        (root / f"{i}.mp4").write_bytes(unique())
    return root


class Sized:
    """An iterator of bytes with a length, so that requests does not send it in chunks."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        self._pieces = pieces
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces
