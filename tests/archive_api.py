"""A client of the embedded archive that can also do wrong; for its tests."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from dandify.archive.serve import RunningArchive

MEBIBYTE = 2**20
PART = 64 * MEBIBYTE


def dandi_etag(data: bytes) -> str:
    from dandischema.digests.dandietag import DandiETag

    tag = DandiETag(len(data))
    for part in tag.get_parts():
        tag.update(data[part.offset : part.offset + part.size])
    return str(tag.as_str())


@dataclass(frozen=True)
class Api:
    """A client that can also do wrong."""

    url: str
    token: str | None

    def __call__(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"Authorization": f"token {self.token}"} if self.token else {}
        return requests.request(method, f"{self.url}/api{path}", headers=headers, timeout=30, **kwargs)

    def ok(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self(method, path, **kwargs)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def dandiset(self) -> str:
        return str(self.ok("POST", "/dandisets/", json={"name": "Trial", "metadata": {}})["identifier"])

    def begin(self, dandiset: str, data: bytes, changes: dict[str, Any] | None = None) -> requests.Response:
        digest = {"algorithm": "dandi:dandi-etag", "value": dandi_etag(data)}
        body = {"contentSize": len(data), "digest": digest, "dandiset": dandiset, **(changes or {})}
        return self("POST", "/uploads/initialize/", json=body)

    def finish(self, upload: dict[str, Any], data: bytes) -> requests.Response:
        parts, start = [], 0
        for part in upload["parts"]:
            piece = data[start : start + part["size"]]
            start += part["size"]
            parts.append(self.put_part(part, piece))
        return self.join(upload["upload_id"], parts)

    def put_part(self, part: dict[str, Any], piece: bytes) -> dict[str, Any]:
        answer = requests.put(part["upload_url"], data=piece, timeout=60)
        assert answer.ok, answer.text
        assert answer.headers["ETag"] == f'"{hashlib.md5(piece).hexdigest()}"'
        return {"part_number": part["part_number"], "size": len(piece), "etag": answer.headers["ETag"]}

    def join(self, upload_id: str, parts: list[dict[str, Any]]) -> requests.Response:
        how = self.ok("POST", f"/uploads/{upload_id}/complete/", json={"parts": parts})
        joined = requests.post(how["complete_url"], data=how["body"], timeout=60)
        assert joined.ok, joined.text
        return self("POST", f"/uploads/{upload_id}/validate/")

    def blob(self, dandiset: str, data: bytes) -> str:
        return str(self.finish(self.begin(dandiset, data).json(), data).json()["blob_id"])

    def put_asset(self, dandiset: str, path: str, **data: str) -> requests.Response:
        body = {"metadata": {"path": path, "schemaVersion": "0.8.0"}, **data}
        return self("POST", f"/dandisets/{dandiset}/versions/draft/assets/", json=body)

    def asset(self, dandiset: str, path: str, data: bytes) -> dict[str, Any]:
        answer = self.put_asset(dandiset, path, blob_id=self.blob(dandiset, data))
        assert answer.ok, answer.text
        found = answer.json()
        assert isinstance(found, dict)
        return found

    def zarr(self, dandiset: str, name: str) -> str:
        return str(self.ok("POST", "/zarr/", json={"name": name, "dandiset": dandiset})["zarr_id"])

    def zarr_url(self, zarr_id: str, path: str, data: bytes) -> str:
        wanted = [{"path": path, "base64md5": base64md5(data)}]
        return str(self.ok("POST", f"/zarr/{zarr_id}/files/", json=wanted)[0])

    def zarr_file(self, zarr_id: str, path: str, data: bytes) -> None:
        answer = requests.put(
            self.zarr_url(zarr_id, path, data), data=data, headers={"Content-MD5": base64md5(data)}, timeout=30
        )
        assert answer.ok, answer.text


def base64md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def unique(text: str = "") -> bytes:
    return f"{text}{uuid.uuid4()}".encode()


def with_programs() -> str:
    """PATH as of an activated environment, in which `dandi` looks for the BIDS validator."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def dandi_cli(archive: RunningArchive, *arguments: str, cwd: Path, timeout: float = 120) -> str:
    """Run the dandi command line with a clean environment and the key."""
    program = shutil.which("dandi", path=str(Path(sys.executable).parent))
    assert program is not None
    environment = {
        **{k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")},
        f"{archive.url.removeprefix('http://')}_API_KEY": archive.token,
        "DANDI_NO_ET": "1",
        "NO_ET": "1",
        "NO_PROXY": "127.0.0.1",
        "DANDI_CACHE": "ignore",
        "PATH": with_programs(),
    }
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
