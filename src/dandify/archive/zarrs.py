"""Zarrs: files under one id, each held to its MD5, with the checksum of the whole tree."""

from __future__ import annotations

import base64
import binascii
import sqlite3
import uuid
from pathlib import Path

from zarr_checksum.tree import ZarrChecksumTree

from dandify.archive import dandisets
from dandify.archive.bucket import Received, zarr_key
from dandify.archive.rules import Refused, asset_path, now, zarr_file_path
from dandify.archive.state import Archive

_PENDING, _INGESTING, _COMPLETE = "Pending", "Ingesting", "Complete"
_INGESTED = "Zarr archive is currently ingesting or has already ingested"  # in the words of the DANDI archive
_MAX_BATCH = 1000


def create(c: sqlite3.Connection, *, name: object, dandiset: object, user: str) -> sqlite3.Row:
    """Add an empty Zarr; refuse with 400 a name that is taken (the client looks for these words)."""
    number = dandisets.owned(c, dandiset, user)
    zarr_id = str(uuid.uuid4())
    added = c.execute(
        "INSERT OR IGNORE INTO zarrs (zarr_id, dandiset, name, status, created) VALUES (?, ?, ?, ?, ?)",
        (zarr_id, number, asset_path(name), _PENDING, now()),
    ).rowcount
    if not added:
        raise Refused(400, "Zarr already exists")
    return find(c, zarr_id)


def find(c: sqlite3.Connection, zarr_id: str) -> sqlite3.Row:
    """Return a Zarr; refuse with 404."""
    row = c.execute("SELECT * FROM zarrs WHERE zarr_id = ?", (zarr_id,)).fetchone()
    if row is None:
        raise Refused(404, f"No Zarr {zarr_id}.")
    assert isinstance(row, sqlite3.Row)
    return row


def owned(c: sqlite3.Connection, zarr_id: str, user: str) -> sqlite3.Row:
    """Return a Zarr that ``user`` may change; refuse with 404 or 403."""
    row = find(c, zarr_id)
    dandisets.owned(c, dandisets.identifier(row["dandiset"]), user)
    return row


def listing(
    c: sqlite3.Connection, *, dandiset: str | None, name: str | None, limit: int, offset: int
) -> tuple[int, list[sqlite3.Row]]:
    """Return how many Zarrs there are of a dandiset and a name, and a page of them."""
    where = "(:number IS NULL OR z.dandiset = :number) AND (:name IS NULL OR z.name = :name)"
    values = {
        "number": None if dandiset is None else dandisets.number_of(dandiset),
        "name": name,
        "limit": limit,
        "offset": offset,
    }
    count = c.execute(f"SELECT count(*) FROM zarrs z WHERE {where}", values).fetchone()[0]
    rows = c.execute(
        f"SELECT * FROM zarrs z WHERE {where} ORDER BY z.created LIMIT :limit OFFSET :offset", values
    ).fetchall()
    return count, rows


def files(c: sqlite3.Connection, zarr_id: str, *, prefix: str, after: str, limit: int) -> list[sqlite3.Row]:
    """Return the next files of a Zarr whose path begins with ``prefix``, ordered by path, behind ``after``."""
    find(c, zarr_id)
    return c.execute(
        "SELECT * FROM zarr_files WHERE zarr_id = ? AND path >= ? AND path < ? AND path > ? ORDER BY path LIMIT ?",
        (zarr_id, prefix, prefix + "\U0010ffff", after, limit),
    ).fetchall()


def file(c: sqlite3.Connection, zarr_id: str, path: str) -> sqlite3.Row:
    """Return a file of a Zarr; refuse with 404."""
    row = c.execute("SELECT * FROM zarr_files WHERE zarr_id = ? AND path = ?", (zarr_id, path)).fetchone()
    if row is None:
        raise Refused(404, f"No file {path!r} in Zarr {zarr_id}.")
    assert isinstance(row, sqlite3.Row)
    return row


def upload_urls(archive: Archive, zarr_id: str, requests: object, user: str) -> list[str]:
    """Return where to PUT the files of ``requests`` (path and base64 of the MD5), in their order."""
    if not isinstance(requests, list) or len(requests) > _MAX_BATCH or not all(isinstance(r, dict) for r in requests):
        raise Refused(400, f"A list of at most {_MAX_BATCH} objects with path and base64md5 is required.")
    wanted = [(zarr_file_path(r.get("path")), _base64md5(r.get("base64md5"))) for r in requests]
    with archive.db.writing() as c:
        _require_open(owned(c, zarr_id, user))
        _mark_pending(c, zarr_id)
    return [archive.signed_url("PUT", zarr_key(zarr_id, path), md5=md5) for path, md5 in wanted]


def keep_file(archive: Archive, zarr_id: str, path: str, md5: str, received: Received) -> None:
    """Make a received file one of the Zarr; refuse with 400 if its MD5 is not ``md5`` (base64)."""
    try:
        if base64.b64decode(md5).hex() != received.md5:
            raise Refused(400, "BadDigest: the Content-MD5 is not that of the bytes that came.")
        with archive.db.writing() as c:
            find(c, zarr_id)
            archive.bucket.keep(received.file, archive.bucket.file(zarr_key(zarr_id, path)))
            _forget(c, zarr_id, path)
            c.execute(
                "INSERT INTO zarr_files VALUES (?, ?, ?, ?, ?)", (zarr_id, path, received.md5, received.size, now())
            )
            c.execute(
                "UPDATE zarrs SET file_count = file_count + 1, size = size + ? WHERE zarr_id = ?",
                (received.size, zarr_id),
            )
            _mark_pending(c, zarr_id)
    finally:
        received.file.unlink(missing_ok=True)


def remove_files(archive: Archive, zarr_id: str, requests: object, user: str) -> None:
    """Remove files of a Zarr, all or, if one of them is not there (400), none."""
    if not isinstance(requests, list) or len(requests) > _MAX_BATCH or not all(isinstance(r, dict) for r in requests):
        raise Refused(400, f"A list of at most {_MAX_BATCH} objects with path is required.")
    paths = [zarr_file_path(r.get("path")) for r in requests]
    with archive.db.writing() as c:
        _require_open(owned(c, zarr_id, user))
        for path in paths:
            if not _forget(c, zarr_id, path):
                raise Refused(400, f"File {path!r} of Zarr {zarr_id} does not exist.")
        _mark_pending(c, zarr_id)
    with archive.db.writing() as c:  # a file without a record is garbage; a record without its file would be a loss
        for path in paths:
            if not c.execute("SELECT 1 FROM zarr_files WHERE zarr_id = ? AND path = ?", (zarr_id, path)).fetchone():
                archive.bucket.remove(zarr_key(zarr_id, path))


def finalize(archive: Archive, zarr_id: str, user: str) -> None:
    """Compute the checksum of a Zarr (zarr_checksum); refuse with 400 one that has it, or is about to get it."""
    with archive.db.writing() as c:
        if owned(c, zarr_id, user)["status"] != _PENDING:
            raise Refused(400, _INGESTED)
        c.execute("UPDATE zarrs SET status = ? WHERE zarr_id = ?", (_INGESTING, zarr_id))
        rows = c.execute("SELECT path, size, md5 FROM zarr_files WHERE zarr_id = ?", (zarr_id,)).fetchall()
    try:
        tree = ZarrChecksumTree()
        for row in rows:
            tree.add_leaf(Path(row["path"]), row["size"], row["md5"])
        checksum = str(tree.process())
    except BaseException:  # Ctrl-C too: the client may finalize it again
        with archive.db.writing() as c:
            c.execute("UPDATE zarrs SET status = ? WHERE zarr_id = ? AND status = ?", (_PENDING, zarr_id, _INGESTING))
        raise
    with archive.db.writing() as c:  # files that came meanwhile have put it back to Pending, and it stays so
        c.execute(
            "UPDATE zarrs SET status = ?, checksum = ? WHERE zarr_id = ? AND status = ?",
            (_COMPLETE, checksum, zarr_id, _INGESTING),
        )


def _require_open(zarr: sqlite3.Row) -> None:
    """Refuse with 400 to change a Zarr whose checksum is being computed."""
    if zarr["status"] == _INGESTING:
        raise Refused(400, _INGESTED)


def _forget(c: sqlite3.Connection, zarr_id: str, path: str) -> bool:
    """Take a file out of the records; whether it was there."""
    row = c.execute("DELETE FROM zarr_files WHERE zarr_id = ? AND path = ? RETURNING size", (zarr_id, path)).fetchone()
    if row is not None:
        c.execute(
            "UPDATE zarrs SET file_count = file_count - 1, size = size - ? WHERE zarr_id = ?", (row["size"], zarr_id)
        )
    return row is not None


def _mark_pending(c: sqlite3.Connection, zarr_id: str) -> None:
    c.execute("UPDATE zarrs SET status = ?, checksum = NULL WHERE zarr_id = ?", (_PENDING, zarr_id))
    c.execute("DELETE FROM validations WHERE asset_id IN (SELECT asset_id FROM assets WHERE zarr_id = ?)", (zarr_id,))


def _base64md5(value: object) -> str:
    try:
        if isinstance(value, str) and len(base64.b64decode(value, validate=True)) == 16:
            return value
    except binascii.Error:
        pass
    raise Refused(400, f"base64md5: {value!r} is not the base64 of an MD5.")
