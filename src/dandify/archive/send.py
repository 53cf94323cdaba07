"""Sends single assets with the dandi client, and tells what became of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from dandify.archive.client import answers, reason
from dandify.archive.local import asset_bytes
from dandify.archive.merge import merged, says_more
from dandify.dandiset.assets import asset_metadata
from dandify.dandiset.checks_nwb import client_findings
from dandify.dandiset.context import Context
from dandify.dandiset.digests import ZARR_CHECKSUM, forget_digest, manifest_digest, recorded_digest
from dandify.errors import DandifyError
from dandify.tree_state import missing_target

Status = Literal["uploaded", "skipped", "failed", "planned", "kept"]
_STOPPED: Final = "stopped; upload again to go on"
_LOST: Final = "not tried: the archive does not answer any more; upload again to go on"
_MAX_LISTED: Final = 5
_WAITING: Final = "server calculating checksum"  # the client's word for a Zarr of which all files have come
_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True)
class AssetUpload:
    """What became of one file or Zarr.

    Attributes
    ----------
    path
        Below the dandiset, with slashes.
    bytes
        Its size.
    status
        ``uploaded``; ``skipped`` (the archive has it, or does not take such files); ``failed``; ``planned`` (it would
        be uploaded); ``kept`` (only the archive has it).
    message
        Why it was skipped or failed, or what is planned; empty where there is nothing to say.
    archive
        What the archive says of what it has: ``Valid``, ``Invalid`` or ``Pending``; empty where nobody asked, or it
        has no such asset.
    """

    path: str
    bytes: int
    status: Status
    message: str
    archive: str = ""


@dataclass(frozen=True)
class UploadProgress:
    """One step of an upload.

    Attributes
    ----------
    path
        The asset.
    step
        What is done with it, in words: ``validating``, ``uploading``, ...
    done_bytes, total_bytes
        Sent, and in all.
    """

    path: str
    step: str
    done_bytes: int
    total_bytes: int


ProgressCallback = Callable[[UploadProgress], None]


class Sender:
    """Sends assets, from several threads, and counts bytes.

    Parameters
    ----------
    remote
        The draft (`dandi.dandiapi.RemoteDandiset`); None before it exists.
    root
        The folder of the dandiset.
    validate
        Whether each asset is validated first.
    progress
        Called at each step, one call at a time.
    jobs
        Assets at a time. One that only waits until the archive has made the checksum of a Zarr does not count: the
        client sleeps two seconds for each.
    dry_run
        Send nothing.

    Attributes
    ----------
    bytes_sent
        So far.
    stopped
        Set it to let what is under way end at its next step.
    lost
        How the archive stopped answering; empty while it answers. The client tries each request for a minute, so that
        nothing more is sent to an archive that is gone.
    """

    def __init__(
        self,
        remote: Any,
        root: Path,
        validate: bool,
        progress: ProgressCallback | None,
        *,
        jobs: int,
        dry_run: bool,
    ) -> None:
        self._turns = threading.Semaphore(jobs)
        self._dry_run = dry_run
        self._remote = remote
        self._context = Context(root)
        self._validate = validate
        self._progress = progress
        self._lock = threading.Lock()
        self._under_way: dict[str, threading.Lock] = {}  # by the digests of files
        self.bytes_sent = 0
        self.stopped = False
        self.lost = ""

    def send(self, asset: Any) -> AssetUpload:
        """Upload one asset; a failure is its result, so that the others are still sent."""
        with self._turns:
            return self._sent(asset)

    def _sent(self, asset: Any) -> AssetUpload:
        import requests
        from dandi.exceptions import UploadError

        path = str(asset.path)
        size = 0
        try:
            size = asset_bytes(asset)
            status, message = self._send(asset, path, size)
        except requests.RequestException as error:
            status, message = "failed", reason(error)
            self._notice_loss(message)
        # What the client and the libraries under it raise for one bad file or a lost connection.
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AssertionError, UploadError) as error:
            status, message = "failed", f"{type(error).__name__}: {error}"
            self._notice_loss(message)
        except DandifyError as error:
            status, message = "failed", error.cause
        self._tell(path, status, size, size)
        return AssetUpload(path, size, status, message)

    def _notice_loss(self, message: str) -> None:
        if self._remote is not None and not self.lost and not answers(self._remote.client.api_url):
            self.lost = message

    def _send(self, asset: Any, path: str, size: int) -> tuple[Status, str]:
        from dandi.exceptions import NotFoundError

        if self.stopped:
            return "failed", _STOPPED
        if self.lost:
            return "failed", _LOST
        if target := missing_target(asset.filepath):
            return "failed", f"its content is not there: it is a link to {target}; get it (datalad get), or remove it"
        if size == 0:
            return "failed", "the file is empty; the archive takes no empty files"
        if self._validate:
            self._tell(path, "validating", 0, size)
            if problems := _problems(asset):
                return "failed", problems
        self._tell(path, "computing the digest", 0, size)
        known_digest = self._known_digest(asset, path)
        digest = known_digest or asset.get_digest()
        existing = None
        if self._remote is not None:
            with suppress(NotFoundError):
                existing = self._remote.get_asset_by_path(path)
        self._tell(path, "extracting metadata", 0, size)
        metadata = asset_metadata(asset.filepath, self._context.dandiset, digest=digest, context=self._context)
        if existing is not None:
            known = existing.get_raw_metadata()
            same = (known.get("digest") or {}).get(digest.algorithm.value) == digest.value
            metadata = merged(known, metadata, same_content=same)
            if same and not says_more(metadata, known):
                return "skipped", "the archive has it"
            if self._dry_run:
                return "planned", "its metadata would be completed" if same else "would replace what the archive has"
            if same:  # the client would compare a Zarr file by file, and send nothing but this
                existing.set_raw_metadata(metadata)
                return "uploaded", "the archive had these bytes; its metadata were completed"
        if self._dry_run:
            return "planned", "new"
        with nullcontext() if asset.filepath.is_dir() else self._alone_with(digest.value):
            sent = self._transfer(asset, path, size, metadata, existing, known_digest)
        if sent is None:
            return "failed", _STOPPED
        with self._lock:
            self.bytes_sent += sent
        return "uploaded", "" if sent else "the archive had these bytes; nothing was sent"

    def _transfer(
        self, asset: Any, path: str, size: int, metadata: dict[str, Any], existing: Any, known_digest: Any
    ) -> int | None:
        """Have the client send an asset; return how many bytes went, None if it was stopped."""
        import requests

        sent = 0
        steps = partial(asset.iter_upload, self._remote, metadata, replacing=existing)
        for step in self._steps(_once_more_if(_came_twice, steps, requests.HTTPError)):
            sent = max(sent, int(step.get("current", 0)) if step["status"] == "uploading" else 0)
            self._tell(path, str(step["status"]), sent, size)
            if self.stopped:
                return None
            if step["status"] == "skipped":
                self._have_checksum_made(step["asset"])
            if known_digest and step["status"] in ("done", "skipped"):
                self._require_digest(step["asset"], known_digest.value)
        return sent

    @contextmanager
    def _alone_with(self, digest: str) -> Iterator[None]:
        """Send equal files one after the other: of two that come at a time the archive refuses the second.

        Another asset has the turn of one that waits.
        """
        with self._lock:
            theirs = self._under_way.setdefault(digest, threading.Lock())
        if not theirs.acquire(blocking=False):
            with self._turn_lent():
                theirs.acquire()
        try:
            yield
        finally:
            theirs.release()

    def _steps(self, steps: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the client's steps; another asset has the turn while the archive makes a checksum."""
        waits = False
        while True:
            with self._turn_lent() if waits else nullcontext():
                step = next(steps, None)
            if step is None:
                return
            waits = step["status"] == _WAITING
            yield step

    @contextmanager
    def _turn_lent(self) -> Iterator[None]:
        self._turns.release()
        try:
            yield
        finally:
            self._turns.acquire()

    def _have_checksum_made(self, zarr: Any) -> None:
        """Finish a Zarr whose files had all come when an upload was stopped; the client leaves it without checksum."""
        place = f"/zarr/{zarr.zarr}/"
        state = self._remote.client.get(place)["status"]
        if state == "Pending":
            self._remote.client.post(f"{place}finalize/")
        while state != "Complete" and not self.stopped:
            self._tell(zarr.path, _WAITING, 0, 0)
            with self._turn_lent():
                time.sleep(_POLL_SECONDS)
            state = self._remote.client.get(place)["status"]

    def _known_digest(self, asset: Any, path: str) -> Any:
        """Return the digest of a Zarr that was taken when it was written, if its files are still those; else None."""
        from dandi.files import ZarrAsset
        from dandi.misctypes import Digest

        if not isinstance(asset, ZarrAsset):  # the client reads other files for the MD5 of each part, whatever we know
            return None
        found = recorded_digest(self._context.dandiset, path) or manifest_digest(asset.filepath)
        return Digest.dandi_zarr(found.value) if found and found.algorithm == ZARR_CHECKSUM else None

    def _require_digest(self, sent: Any, expected: str) -> None:
        """Compare a digest that was not taken now with what the archive makes of what has arrived."""
        found = self._remote.client.get(f"/zarr/{sent.zarr}/")["checksum"]
        if found != expected:
            with self._lock:
                forget_digest(self._context.dandiset, sent.path)
            raise DandifyError(
                f"it has arrived as {found}, and was {expected} when it was written: its files have changed since, at "
                "their old sizes and times; see what dandify validate says, then upload again"
            )

    def tell_status(self, status: str) -> None:
        """Say that the archive is waited for."""
        self._tell("", f"the archive says {status.lower()}", 0, 0)

    def _tell(self, path: str, step: str, done: int, total: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(UploadProgress(path, step, done, total))


def _came_twice(error: Any) -> bool:
    """Whether the archive has refused a file because somebody else's equal one has come meanwhile.

    It then has the bytes, and a second try sends none (dandi-archive, upload_validate_view).
    """
    answer = error.response
    return answer is not None and answer.status_code == 409 and str(answer.url).rstrip("/").endswith("/validate")


def _once_more_if(
    wanted: Callable[[Any], bool], begin: Callable[[], Iterator[dict[str, Any]]], kind: type[Exception]
) -> Iterator[dict[str, Any]]:
    """Yield the steps; where they end in an error that is wanted, yield those of one more try."""
    try:
        yield from begin()
    except kind as error:
        if not wanted(error):
            raise
        yield from begin()


def _problems(asset: Any) -> str:
    """Return what the client's validation holds against an asset; empty if nothing."""
    errors = [f"{found.id}: {found.message}" for found in client_findings(asset) if found.severity == "ERROR"]
    more = f"; and {len(errors) - _MAX_LISTED} more (dandify validate)" if len(errors) > _MAX_LISTED else ""
    return "; ".join(errors[:_MAX_LISTED]) + more
