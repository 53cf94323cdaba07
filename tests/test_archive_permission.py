"""What an archive refuses: found out before anything is read or sent, and said in its own words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from dandi.dandiapi import DandiAPIClient

from dandify.archive.client import Target, reason
from dandify.archive.permission import require_permission
from dandify.archive.rules import Refused
from dandify.archive.send import UploadProgress
from dandify.archive.serve import RunningArchive, running_archive
from dandify.archive.upload import upload
from dandify.archive.web import required_user
from dandify.errors import BadRequest

OWNER, OTHER = "key-of-owner", "key-of-other"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    tokens = {OWNER: "doe", OTHER: "roe"}
    with running_archive(tmp_path_factory.mktemp("archive") / "folder", tokens=tokens) as running:
        yield running


def dandiset(root: Path) -> Path:
    root.mkdir()
    (root / "dandiset.yaml").write_text("name: x\n", encoding="utf-8")
    (root / "clip.mp4").write_bytes(b"a film")
    return root


@pytest.mark.parametrize("dry_run", [False, True])
def test_who_does_not_own_a_dandiset_is_told_before_anything_is_read(
    dry_run: bool, archive: RunningArchive, tmp_path: Path
) -> None:
    root = dandiset(tmp_path / "d")
    made = upload(root, to=archive.url, token=OWNER, create=True)
    steps: list[UploadProgress] = []
    with pytest.raises(BadRequest, match=f"account roe may not change dandiset {made.dandiset_id}") as caught:
        upload(root, to=archive.url, token=OTHER, progress=steps.append, dry_run=dry_run)
    assert str(caught.value.remedy).endswith("add you on its page: doe")
    assert steps == []


def http_error(status: int, text: str, kind: str = "application/json", why: str = "") -> requests.HTTPError:
    response = requests.Response()
    response.status_code, response.reason = status, why
    response.headers["Content-Type"] = kind
    response._content = text.encode()
    return requests.HTTPError(response=response)


class Answers:
    """What an archive answers, by the place that is asked; 403 where it keeps something to others."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def get(self, place: str) -> Any:
        name = "me" if place == "/users/me/" else "owners" if place.endswith("/users/") else "dandiset"
        found = self._answers.get(name, 403)
        if isinstance(found, int):
            raise http_error(found, '{"detail": "no"}')
        return found


ME = {"username": "doe", "admin": False, "status": "APPROVED"}
OPEN = {"identifier": "000001", "embargo_status": "OPEN"}
MINE = [{"username": "doe", "name": "Doe, Jane"}, {"username": "poe", "name": ""}]
TARGET = Target(SimpleNamespace(gui=None), "dandi", "https://api.example/api", known=True)


@pytest.mark.parametrize(
    "answers",
    [
        {"me": ME, "dandiset": OPEN, "owners": MINE},
        {"me": ME | {"username": "zoe", "admin": True}, "dandiset": OPEN, "owners": MINE},
        {"me": ME, "dandiset": OPEN | {"embargo_status": "EMBARGOED"}, "owners": MINE},
        {"me": 404, "dandiset": OPEN, "owners": 404},
        {"me": ME, "dandiset": OPEN},
        {"me": 500, "dandiset": OPEN, "owners": 500},
        {"me": ME | {"username": "j@x.org", "name": "Doe, Jane"}, "dandiset": OPEN, "owners": MINE},
    ],
    ids=[
        "an owner",
        "an admin",
        "embargoed, of the owner",
        "does not say who I am",
        "does not say who owns it",
        "fails to say either",
        "by another login",
    ],
)
def test_who_may_change_a_dandiset(answers: dict[str, Any], tmp_path: Path) -> None:
    require_permission(Answers(**answers), TARGET, tmp_path, "000001")


@pytest.mark.parametrize(
    ("answers", "identifier", "cause", "remedy"),
    [
        ({"me": ME, "dandiset": 404}, "000001", "has no dandiset 000001", "--create"),
        ({"me": ME, "dandiset": 403}, "000001", "000001 at dandi is embargoed, and your account is none", "add you"),
        ({"me": ME, "dandiset": 401}, "000001", "your account is none of its owners", "--create"),
        ({"me": ME | {"username": "zoe"}, "dandiset": OPEN, "owners": MINE}, "000001", "zoe may not", "Doe, Jane, poe"),
        ({"me": ME | {"status": "PENDING"}}, None, r"not approved your account doe \(it is pending\)", "log in"),
        ({"me": ME, "dandiset": OPEN | {"embargo_status": "UNEMBARGOING"}}, "000001", "being lifted", "it is open"),
    ],
    ids=["none", "embargoed", "embargoed, older", "of others", "not approved", "embargo ends"],
)  # fmt: skip
def test_who_may_not(answers: dict[str, Any], identifier: str | None, cause: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=cause) as caught:
        require_permission(Answers(**answers), TARGET, tmp_path, identifier)
    assert remedy in str(caught.value.remedy)


def test_the_key_of_an_account_that_is_not_approved_is_not_called_wrong(
    archive: RunningArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive then refuses the request that tries the key, and says whose it is."""

    def only_who(request: Any) -> str:
        if not request.url.path.startswith("/api/users/me"):
            raise Refused(403, "Not yet.")
        return required_user(request)

    def me(client: Any, place: str, **kwargs: Any) -> Any:
        said = get(client, place, **kwargs)
        return said | {"status": "PENDING"} if place == "/users/me/" else said

    get = DandiAPIClient.get
    monkeypatch.setattr("dandify.archive.routes_records.required_user", only_who)
    monkeypatch.setattr(DandiAPIClient, "get", me)
    with pytest.raises(BadRequest, match=r"has not approved your account doe \(it is pending\)") as caught:
        upload(dandiset(tmp_path / "d"), to=archive.url, token=OWNER, create=True)
    assert "log in" in str(caught.value.remedy)


def test_an_archive_that_fails_is_not_taken_for_one_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(requests.HTTPError):
        require_permission(Answers(me=ME, dandiset=500), TARGET, tmp_path, "000001")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (http_error(403, '{"detail": "You do not have permission."}'), "HTTP 403: You do not have permission."),
        (http_error(400, '["Zarr already exists"]'), "HTTP 400: Zarr already exists"),
        (
            http_error(400, '{"metadata": ["No path."], "digest": {"value": ["Wrong.", "Very."]}}'),
            "HTTP 400: metadata: No path.; digest: value: Wrong.; Very.",
        ),
        (http_error(400, '"Unsupported Digest Type"'), "HTTP 400: Unsupported Digest Type"),
        (http_error(400, "{"), "HTTP 400: {"),
        (
            http_error(503, "<!DOCTYPE html><html><head>", "text/html; charset=utf-8", "Service Unavailable"),
            "HTTP 503: Service Unavailable",
        ),
        (http_error(403, "<Error><Code>AccessDenied</Code></Error>", "application/xml"), "AccessDenied"),
        (http_error(400, "x" * 1000, "text/plain"), "HTTP 400: " + "x" * 300),
        (requests.ConnectionError(), "no answer (ConnectionError)"),
    ],
    ids=["detail", "list", "fields", "text", "damaged", "a page", "of the bucket", "long", "none"],
)
def test_what_an_archive_says_is_told_in_words(error: requests.RequestException, said: str) -> None:
    assert said in reason(error)
