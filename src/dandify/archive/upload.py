"""Upload a dandiset: the dandi client transfers, and every file's result is told."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dandify.archive.aftermath import FieldChange, Verdict, differences, send, verdict
from dandify.archive.client import Target, find_archive, quiet_dandi, reason, session
from dandify.archive.local import Record, Survey, read_record, survey
from dandify.archive.permission import require_permission
from dandify.archive.send import AssetUpload, ProgressCallback, Sender
from dandify.archive.unfinished import Begun, Unfinished, begun, settle
from dandify.dandiset.describe import YAML, write_identifier
from dandify.errors import BadRequest, DandifyError

WAIT_SECONDS = 150.0  # for the archive to check what has arrived; DANDI looks once a minute what there is to check
ONLY_THERE = "only at the archive; nothing is deleted there"
_NONE = Unfinished()
_THREADS_PER_JOB = 8  # those above one are of assets that only wait for the archive


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
        One record for every file or Zarr of the folder, and for each that only the archive has, ordered by path.
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
    trouble
        Why the archive could not be asked or told at the end; empty if it could.
    unfinished
        Uploads of files that were begun at some time and never finished.
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
    trouble: str = ""
    unfinished: Unfinished = _NONE

    @property
    def failed(self) -> tuple[AssetUpload, ...]:
        """The assets that did not arrive."""
        return tuple(asset for asset in self.assets if asset.status == "failed")


def upload(
    dandiset: Path | str,
    *,
    to: str,
    token: str | None = None,
    create: bool = False,
    embargo: bool = False,
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
        ``dandi``, ``sandbox``, ``local`` (`dandify.serve_archive` at its usual port), another name that dandi knows, or
        the URL of an archive.
    token
        The API key; without it the environment and the keyring are asked (see `dandify.archive.client.session`).
    create
        Create the dandiset at the archive, from the name and metadata of ``dandiset.yaml``, if it has no identifier
        yet; the new one is written into the file.
    embargo
        Create it embargoed: only its owners see it until they lift the embargo at the archive.
    validate
        Validate each asset first, as ``dandi upload`` does; one with errors fails and is not sent.
    metadata
        Give the archive the fields of ``dandiset.yaml`` in which it differs; fields that only it has stay.
    wait
        Seconds to wait at most for the archive's own checks; 0 does not ask.
    dry_run
        Send nothing and create nothing; say what would be done.
    jobs
        Assets at a time, but for those of which only the archive's checksum is waited for. Each is sent in five threads
        by the client.
    progress
        Called from several threads, one call at a time.

    Raises
    ------
    BadRequest
        No dandiset, no identifier and not ``create``, no such archive or dandiset, a missing or a wrong key, or one of
        an account that may not change the dandiset.
    BadSource
        ``dandiset.yaml`` is damaged.
    DandifyError
        The archive cannot be reached, or does not go together with the client.
    """
    started = time.monotonic()
    root = Path(dandiset).absolute()
    record = read_record(root)
    _require_one_way(root, record, create, embargo)
    with quiet_dandi(to):
        target = find_archive(to)
        noted = nullcontext(Begun(None, target.api_url)) if dry_run else begun(root, target.api_url)
        with session(target, token) as client, noted as open_uploads:
            remote, created = None, False
            require_permission(client, target, root, record.identifier)
            found = survey(root)
            _require_something(found, root, record)
            if record.identifier is not None or not dry_run:
                remote, created = _remote(client, target, root, record, embargo)
            open_uploads.watch(client)
            jobs = max(1, jobs)
            sender = Sender(remote, root, validate, progress, jobs=jobs, dry_run=dry_run)
            with ThreadPoolExecutor(max_workers=_THREADS_PER_JOB * jobs) as pool:
                try:
                    results = list(pool.map(sender.send, found.assets))
                except BaseException:  # Ctrl-C: what is under way ends at its next step, and nothing else begins
                    sender.stopped = True
                    raise
            end = _Aftermath(trouble=sender.lost)
            if remote is not None and not end.trouble:
                failed = [asset.path for asset in results if asset.status == "failed"]
                end = _aftermath(client, remote, record, compare=not created, tell=metadata and not dry_run,
                                 wait=0 if dry_run else wait, sender=sender, failed=failed,
                                 known={a.path for a in results} | {item.path for item in found.left},
                                 open_uploads=None if dry_run else open_uploads)  # fmt: skip
    results += end.only_there
    if end.verdict is not None:
        states = end.verdict.states(r.path for r in results if r.status in ("uploaded", "skipped", "kept"))
        results = [replace(r, archive=states.get(r.path, "")) for r in results]
    results.extend(AssetUpload(left.path, left.size, "skipped", left.reason) for left in found.left)
    return UploadReport(
        dandiset_id=remote.identifier if remote is not None else "",
        url=target.page(remote.identifier) if remote is not None else target.api_url,
        archive=target.name,
        assets=tuple(sorted(results, key=lambda asset: asset.path)),
        bytes_sent=sender.bytes_sent,
        seconds=time.monotonic() - started,
        created=created,
        changes=end.changes,
        changed=end.changed,
        verdict=end.verdict,
        trouble=end.trouble,
        unfinished=end.unfinished,
    )


def _require_one_way(root: Path, record: Record, create: bool, embargo: bool) -> None:
    """Refuse to upload nowhere, and to embargo what is there already."""
    if record.identifier is None and not create:
        raise BadRequest(
            "the dandiset has no identifier yet",
            file=root / YAML,
            remedy="upload with --create, or write the identifier of an existing dandiset into the file",
        )
    if record.identifier is not None and embargo:
        raise BadRequest(
            f"dandiset {record.identifier} is there already; an embargo begins when a dandiset is created",
            file=root / YAML,
            place="identifier",
            remedy="upload without --embargo; or remove the line and upload with --create --embargo",
        )


def _require_something(found: Survey, root: Path, record: Record) -> None:
    """Refuse to create a dandiset in which nothing would be."""
    if record.identifier is None and not found.assets:
        more = f" ({len(found.left)} file(s) are none that dandi takes)" if found.left else ""
        raise BadRequest(
            f"nothing in it can be uploaded{more}, and no dandiset is created for nothing", file=root,
            remedy="dandify validate says of each file why; dandify organize puts files into a dandiset",
        )  # fmt: skip


@dataclass(frozen=True)
class _Aftermath:
    """What followed the transfer; the fields are those of `UploadReport`."""

    changes: tuple[FieldChange, ...] = ()
    changed: bool = False
    verdict: Verdict | None = None
    trouble: str = ""
    unfinished: Unfinished = _NONE
    only_there: tuple[AssetUpload, ...] = ()


def _aftermath(
    client: Any, remote: Any, record: Record, *, compare: bool, tell: bool, wait: float, sender: Sender,
    failed: Sequence[str], known: Collection[str], open_uploads: Begun | None,
) -> _Aftermath:  # fmt: skip
    """Compare and tell the dandiset's metadata, and ask what the archive has and says; if that fails, files are sent.

    Parameters
    ----------
    client, remote, record
        The client, the draft, and what ``dandiset.yaml`` says.
    compare, tell
        Whether to compare the metadata of the two, and to give the archive what differs.
    wait
        Seconds to wait at most for the archive's own checks.
    sender
        Has sent the assets.
    failed
        Paths of assets that did not arrive.
    known
        Paths of all that lies in the folder.
    open_uploads
        What was begun from the folder; None to leave the archive as it is.
    """
    import requests

    end = _Aftermath()
    try:
        if compare:
            there = remote.get_raw_metadata()
            end = replace(end, changes=differences(record, there))
            if end.changes and tell:
                send(remote, end.changes, there)
                end = replace(end, changed=True)
            others = (a for a in remote.get_assets() if a.path not in known)
            end = replace(end, only_there=tuple(AssetUpload(a.path, a.size, "kept", ONLY_THERE) for a in others))
        if open_uploads is not None:
            end = replace(end, unfinished=settle(client, remote.identifier, open_uploads))
        if wait > 0:
            said = verdict(client, remote.identifier, wait, sender.tell_status, incomplete=failed)
            end = replace(end, verdict=said)
    except requests.RequestException as error:
        return replace(end, trouble=reason(error))
    return end


def _remote(client: Any, target: Target, root: Path, record: Record, embargo: bool) -> tuple[Any, bool]:
    """Return the draft to upload into, and whether it was made now."""
    import requests

    if record.identifier is not None:
        return client.get_dandiset(record.identifier, "draft", lazy=False), False
    if record.name is None:
        raise BadRequest(
            "a dandiset is created with a name",
            file=root / YAML,
            place="name",
            remedy=f"dandify describe {root.name} --name TITLE",
        )
    try:
        made = client.create_dandiset(record.name, record.metadata, embargo=embargo)
    except requests.HTTPError as error:
        raise DandifyError(
            f"{target.name} did not create the dandiset: {reason(error)}",
            file=root / YAML,
            remedy="mend what it says; dandify validate shows more",
        ) from error
    remote = client.get_dandiset(made.identifier, "draft", lazy=False)
    try:
        write_identifier(root, made.identifier)
    except DandifyError as error:
        raise DandifyError(
            f"dandiset {made.identifier} was created, but its identifier {error.cause}",
            file=root / YAML,
            remedy=f'add the line: identifier: "{made.identifier}"',
        ) from error
    return remote, True
