"""Upload a dandiset: the dandi client transfers, and every file's result is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dandify.archive.aftermath import FieldChange, Verdict, differences, send, verdict
from dandify.archive.client import Target, find_archive, quiet_dandi, reason, session
from dandify.archive.local import YAML, Record, asset_bytes, read_record, survey, write_identifier
from dandify.archive.merge import merged, says_more
from dandify.dandiset.assets import asset_metadata
from dandify.dandiset.checks_nwb import client_findings
from dandify.dandiset.context import Context
from dandify.dandiset.digests import ZARR_CHECKSUM, forget_digest, manifest_digest, recorded_digest
from dandify.errors import BadRequest, DandifyError

Status = Literal["uploaded", "skipped", "failed", "planned"]
WAIT_SECONDS = 60.0  # for the archive to check what has arrived
_MAX_LISTED = 5


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
        be uploaded).
    message
        Why it was skipped or failed, or what is planned; empty where there is nothing to say.
    """

    path: str
    bytes: int
    status: Status
    message: str


@dataclass(frozen=True)
class UploadReport:
    """What an upload did.

    Attributes
    ----------
    dandiset_id
        Six digits.
    url
        Where the dandiset can be looked at.
    archive
        The archive's name, as dandi calls it.
    assets
        One record for every file or Zarr of the folder, ordered by path.
    bytes_sent
        Bytes of data that went to the archive.
    seconds
        How long it took.
    created
        Whether the dandiset was created by this upload.
    changes
        Fields of ``dandiset.yaml`` that say something else than the archive did.
    changed
        Whether the archive was given them.
    verdict
        What the archive says of the draft; None where nobody waited for it.
    """

    dandiset_id: str
    url: str
    archive: str
    assets: tuple[AssetUpload, ...]
    bytes_sent: int
    seconds: float
    created: bool
    changes: tuple[FieldChange, ...] = ()
    changed: bool = False
    verdict: Verdict | None = None

    @property
    def failed(self) -> tuple[AssetUpload, ...]:
        """The assets that did not arrive."""
        return tuple(asset for asset in self.assets if asset.status == "failed")


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


def upload(
    dandiset: Path,
    *,
    to: str,
    token: str | None = None,
    create: bool = False,
    validate: bool = True,
    metadata: bool = False,
    wait: float = WAIT_SECONDS,
    dry_run: bool = False,
    jobs: int = 4,
    progress: ProgressCallback | None = None,
) -> UploadReport:
    """Upload the assets of a dandiset; what the archive has already is not sent again.

    The record of each asset is `dandify.dandiset.assets.asset_metadata`, for Zarr, images and videos too. What only the
    archive says of an asset is kept; what it lacks of ours is added, also where the bytes are there already.

    Parameters
    ----------
    dandiset
        A folder with ``dandiset.yaml``.
    to
        ``dandi``, ``sandbox``, another name that dandi knows, or the URL of an archive.
    token
        The API key; without it the environment and the keyring are asked (see `dandify.archive.client.session`).
    create
        Create the dandiset at the archive, from the name and metadata of ``dandiset.yaml``, if it has no identifier
        yet; the new one is written into the file.
    validate
        Validate each asset first, as ``dandi upload`` does; one with errors fails and is not sent.
    metadata
        Give the archive the fields of ``dandiset.yaml`` in which it differs; fields that only it has stay.
    wait
        Seconds to wait at most for the archive's own checks; 0 does not ask.
    dry_run
        Send nothing and create nothing; say what would be done.
    jobs
        Assets at a time. Each is sent in five threads by the client.
    progress
        Called from several threads, one call at a time.

    Raises
    ------
    BadRequest
        No dandiset, no identifier and not ``create``, no such archive or dandiset, a missing or a wrong key.
    BadSource
        ``dandiset.yaml`` is damaged.
    DandifyError
        The archive cannot be reached, or does not go together with the client.
    """
    started = time.monotonic()
    root = dandiset.absolute()
    record = read_record(root)
    if record.identifier is None and not create:
        raise BadRequest(
            "the dandiset has no identifier yet",
            file=root / YAML,
            remedy="upload with --create, or write the identifier of an existing dandiset into the file",
        )
    with quiet_dandi(to):
        target = find_archive(to)
        with session(target, token) as client:
            remote, created = None, False
            if record.identifier is not None or not dry_run:
                remote, created = _remote(client, target, root, record)
            found = survey(root)
            sender = _Sender(remote, root, validate, progress, dry_run=dry_run)
            with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
                try:
                    results = list(pool.map(sender.send, found.assets))
                except BaseException:  # Ctrl-C: what is under way ends at its next step, and nothing else begins
                    sender.stopped = True
                    raise
            there = remote.get_raw_metadata() if remote is not None else {}
            changes = () if created else differences(record, there)
            if metadata and changes and not dry_run:
                send(remote, changes, there)
            said = None
            if wait > 0 and remote is not None and not dry_run:
                said = verdict(client, remote.identifier, wait, sender.tell_status)
    results.extend(AssetUpload(left.path, left.size, "skipped", left.reason) for left in found.left)
    return UploadReport(
        dandiset_id=remote.identifier if remote is not None else "",
        url=target.page(remote.identifier) if remote is not None else target.api_url,
        archive=target.name,
        assets=tuple(sorted(results, key=lambda asset: asset.path)),
        bytes_sent=sender.bytes_sent,
        seconds=time.monotonic() - started,
        created=created,
        changes=changes,
        changed=bool(changes) and metadata and not dry_run,
        verdict=said,
    )


def _remote(client: Any, target: Target, root: Path, record: Record) -> tuple[Any, bool]:
    """Return the draft to upload into, and whether it was made now."""
    import requests
    from dandi.exceptions import NotFoundError

    if record.identifier is not None:
        try:
            return client.get_dandiset(record.identifier, "draft", lazy=False), False
        except NotFoundError as error:
            raise BadRequest(
                f"{target.name} has no dandiset {record.identifier}, or your key does not open it",
                file=root / YAML,
                place="identifier",
                remedy="upload to the archive it is of; or remove the line and upload with --create",
            ) from error
    if record.name is None:
        raise BadRequest(
            "a dandiset is created with a name", file=root / YAML, place="name", remedy="add a line: name: TITLE"
        )
    try:
        made = client.create_dandiset(record.name, record.metadata)
    except requests.HTTPError as error:
        raise DandifyError(
            f"{target.name} did not create the dandiset: {reason(error)}",
            file=root / YAML,
            remedy="mend what it says; dandify validate shows more",
        ) from error
    remote = client.get_dandiset(made.identifier, "draft", lazy=False)
    try:
        write_identifier(root, made.identifier)
    except OSError as error:
        raise DandifyError(
            f"dandiset {made.identifier} was created, but could not be noted: {error.strerror}",
            file=root / YAML,
            remedy=f'add the line: identifier: "{made.identifier}"',
        ) from error
    return remote, True


class _Sender:
    """Sends assets, from several threads, and counts bytes."""

    def __init__(
        self, remote: Any, root: Path, validate: bool, progress: ProgressCallback | None, *, dry_run: bool
    ) -> None:
        self._dry_run = dry_run
        self._remote = remote
        self._context = Context(root)
        self._validate = validate
        self._progress = progress
        self._lock = threading.Lock()
        self.bytes_sent = 0
        self.stopped = False

    def send(self, asset: Any) -> AssetUpload:
        """Upload one asset; a failure is its result, so that the others are still sent."""
        import requests
        from dandi.exceptions import UploadError

        path = str(asset.path)
        size = 0
        try:
            size = asset_bytes(asset)
            status, message = self._send(asset, path, size)
        except requests.RequestException as error:
            status, message = "failed", reason(error)
        # What the client and the libraries under it raise for one bad file or a lost connection.
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AssertionError, UploadError) as error:
            status, message = "failed", f"{type(error).__name__}: {error}"
        except DandifyError as error:
            status, message = "failed", error.cause
        self._tell(path, status, size, size)
        return AssetUpload(path, size, status, message)

    def _send(self, asset: Any, path: str, size: int) -> tuple[Status, str]:
        from dandi.exceptions import NotFoundError

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
        sent = 0
        for step in asset.iter_upload(self._remote, metadata, replacing=existing):
            sent = max(sent, int(step.get("current", 0)) if step["status"] == "uploading" else 0)
            self._tell(path, str(step["status"]), sent, size)
            if self.stopped:
                return "failed", "stopped; upload again to go on"
            if known_digest and step["status"] in ("done", "skipped"):
                self._require_digest(step["asset"], digest.value)
        with self._lock:
            self.bytes_sent += sent
        return "uploaded", "" if sent else "the archive had these bytes; nothing was sent"

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


def _problems(asset: Any) -> str:
    """Return what the client's validation holds against an asset; empty if nothing."""
    errors = [f"{found.id}: {found.message}" for found in client_findings(asset) if found.severity == "ERROR"]
    more = f"; and {len(errors) - _MAX_LISTED} more (dandify validate)" if len(errors) > _MAX_LISTED else ""
    return "; ".join(errors[:_MAX_LISTED]) + more
