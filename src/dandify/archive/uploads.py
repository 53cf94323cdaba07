"""Blobs: multipart uploads that are checked part by part, and known by their digest."""

from __future__ import annotations

import re
import sqlite3
import uuid
from dataclasses import dataclass

from dandischema.digests.dandietag import PartGenerator

from dandify.archive import dandisets
from dandify.archive.bucket import Received, blob_key
from dandify.archive.rules import MAX_BLOB_BYTES, Refused, etag, now
from dandify.archive.state import Archive

_COMPLETE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{parts}</CompleteMultipartUpload>'
)
_COMPLETED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    '<Key>{key}</Key><ETag>"{etag}"</ETag></CompleteMultipartUploadResult>'
)


@dataclass(frozen=True)
class Part:
    """One part of an upload that was begun.

    Attributes
    ----------
    number
        From 1.
    size
        Bytes.
    url
        Where to PUT it.
    """

    number: int
    size: int
    url: str


def find_blob(c: sqlite3.Connection, digest: object) -> sqlite3.Row | None:
    """Return the blob with a digest (``{"algorithm": ..., "value": ...}``)."""
    if not isinstance(digest, dict):
        raise Refused(400, "digest: an object with algorithm and value is required.")
    column = {"dandi:dandi-etag": "etag", "dandi:sha2-256": "sha256"}.get(str(digest.get("algorithm")))
    if column is None:
        raise Refused(400, f"Unsupported digest algorithm {digest.get('algorithm')!r}.")
    row = c.execute(f"SELECT * FROM blobs WHERE {column} = ?", (str(digest.get("value")),)).fetchone()
    assert row is None or isinstance(row, sqlite3.Row)
    return row


def begin(archive: Archive, body: dict[str, object], user: str) -> tuple[str, list[Part]]:
    """Begin an upload; return its id and where its parts go.

    Raises
    ------
    Refused
        400: the size or the digest is none. 403, 404: the dandiset. 409: the archive has these bytes; the blob's id is
        in ``Location``. 507: the disk has no room for them.
    """
    size, digest = body.get("contentSize"), body.get("digest")
    if not isinstance(size, int) or not 1 <= size <= MAX_BLOB_BYTES:
        raise Refused(400, f"contentSize: an integer from 1 to {MAX_BLOB_BYTES} is required; empty files are refused.")
    if not isinstance(digest, dict) or digest.get("algorithm") != "dandi:dandi-etag":
        raise Refused(400, "digest: an object with algorithm dandi:dandi-etag is required.")
    stated = etag(digest.get("value"))
    parts = list(PartGenerator.for_file_size(size))
    if int(stated.rpartition("-")[2]) != len(parts):
        raise Refused(400, f"A file of {size} bytes has {len(parts)} parts; the dandi-etag is of another number.")
    upload_id = str(uuid.uuid4())
    with archive.db.writing() as c:
        dandiset = dandisets.owned(c, body.get("dandiset"), user)
        known = c.execute("SELECT blob_id FROM blobs WHERE etag = ? AND size = ?", (stated, size)).fetchone()
        if known is not None:
            raise Refused(409, "Blob already exists.", headers={"Location": known["blob_id"]})
        if size > archive.bucket.free_bytes():
            raise Refused(507, f"The archive's disk has no room for {size} bytes.")
        c.execute(
            "INSERT INTO uploads (upload_id, dandiset, etag, size, created, state) VALUES (?, ?, ?, ?, ?, 'open')",
            (upload_id, dandiset, stated, size, now()),
        )
    return upload_id, [
        Part(
            p.number, p.size, archive.signed_url("PUT", f"uploads/{upload_id}/{p.number}", **{"part-size": str(p.size)})
        )
        for p in parts
    ]


def keep_part(archive: Archive, upload_id: str, number: int, size: int, received: Received) -> None:
    """Make a received part one of its upload; refuse with 400 if it is too short, with 404 if the upload is over."""
    try:
        if received.size != size:
            raise Refused(400, f"IncompleteBody: part {number} has {size} bytes, {received.size} came.")
        with archive.db.writing() as c:
            if _find(c, upload_id)["state"] != "open":
                raise Refused(409, f"Upload {upload_id} is complete.")
            archive.bucket.keep(received.file, archive.bucket.part(upload_id, number))
            c.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?)", (upload_id, number, size, received.md5))
    finally:
        received.file.unlink(missing_ok=True)


def completion(archive: Archive, upload_id: str, stated: object, user: str) -> tuple[str, str]:
    """Check the client's list of parts against what came; return the URL that joins them, and the body for it."""
    if not isinstance(stated, list) or not all(isinstance(part, dict) for part in stated):
        raise Refused(400, "parts: a list of objects is required.")
    with archive.db.reading() as c:
        upload = _owned(c, upload_id, user)
        parts = _parts(c, upload)
    told = {part.get("part_number"): part for part in stated}
    if set(told) != {row["number"] for row in parts}:
        raise Refused(400, f"parts: all of 1 to {len(parts)} are required.")
    for row in parts:
        part = told[row["number"]]
        if part.get("size") != row["size"] or str(part.get("etag")).strip('"') != row["md5"]:
            raise Refused(400, f"InvalidPart: part {row['number']} came with ETag {row['md5']}, {row['size']} bytes.")
    listed = "".join(f"<Part><PartNumber>{row['number']}</PartNumber><ETag>{row['md5']}</ETag></Part>" for row in parts)
    return archive.signed_url("POST", f"uploads/{upload_id}"), _COMPLETE.format(parts=listed)


def assemble(archive: Archive, upload_id: str, body: str) -> str:
    """Join the parts that ``body`` lists; return the answer of S3, with the dandi-etag of what is now on disk."""
    with archive.db.writing() as c:
        upload = _find(c, upload_id)
        parts = _parts(c, upload)
        if re.findall(r"<ETag>([0-9a-f]{32})</ETag>", body) != [row["md5"] for row in parts]:
            raise Refused(400, "InvalidPart: the list of parts is not that of the upload.")
        if upload["state"] != "open":
            raise Refused(409, f"Upload {upload_id} is complete, or being completed.")
        c.execute("UPDATE uploads SET state = 'assembling' WHERE upload_id = ?", (upload_id,))
    try:
        actual, sha256 = archive.bucket.assemble(
            [archive.bucket.part(upload_id, row["number"]) for row in parts],
            [row["md5"] for row in parts],
            archive.bucket.file(blob_key(upload_id)),
        )
    except BaseException:  # Ctrl-C too: the client may complete it again
        with archive.db.writing() as c:
            c.execute("UPDATE uploads SET state = 'open' WHERE upload_id = ?", (upload_id,))
        raise
    with archive.db.writing() as c:
        known = c.execute(
            "UPDATE uploads SET state = 'assembled', actual_etag = ?, sha256 = ? WHERE upload_id = ?",
            (actual, sha256, upload_id),
        ).rowcount
    archive.bucket.discard_upload(upload_id)
    if not known:  # it was removed meanwhile
        archive.bucket.remove(blob_key(upload_id))
        raise Refused(404, f"No upload {upload_id}.")
    return _COMPLETED.format(key=blob_key(upload_id), etag=actual)


def validate(archive: Archive, upload_id: str, user: str) -> sqlite3.Row:
    """Make an assembled upload a blob if it is what was announced; return the blob.

    Raises
    ------
    Refused
        400: it is not assembled, or its dandi-etag is another. 409: the same bytes have come in another upload
        meanwhile, and those stay. The upload is then over and its bytes are gone.
    """
    key = blob_key(upload_id)
    with archive.db.writing() as c:
        upload = _owned(c, upload_id, user)
        if upload["state"] != "assembled":
            raise Refused(400, "Object does not exist: complete the upload first.")
        c.execute("DELETE FROM uploads WHERE upload_id = ?", (upload_id,))
        if upload["etag"] == upload["actual_etag"]:
            added = c.execute(
                "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?, ?)",
                (upload_id, upload["etag"], upload["size"], upload["sha256"], now()),
            ).rowcount
            blob = c.execute("SELECT * FROM blobs WHERE blob_id = ?", (upload_id,)).fetchone()
        else:
            added, blob = 0, None
    if not added:
        archive.bucket.remove(key)
    if upload["etag"] != upload["actual_etag"]:
        raise Refused(400, f"ETag {upload['etag']} does not match actual ETag {upload['actual_etag']}.")
    if blob is None:
        raise Refused(409, "The same bytes have come in another upload; begin again to learn which blob they are.")
    assert isinstance(blob, sqlite3.Row)
    return blob


def listing(
    c: sqlite3.Connection, dandiset: object, user: str, *, limit: int, offset: int
) -> tuple[int, list[sqlite3.Row]]:
    """Return how many uploads of a dandiset are not finished, and a page of them, for its owner only."""
    number = dandisets.owned(c, dandiset, user)
    count = c.execute("SELECT count(*) FROM uploads WHERE dandiset = ?", (number,)).fetchone()[0]
    rows = c.execute(
        "SELECT * FROM uploads WHERE dandiset = ? ORDER BY created, upload_id LIMIT ? OFFSET ?",
        (number, limit, offset),
    ).fetchall()
    return count, rows


def remove_all(archive: Archive, dandiset: object, user: str) -> None:
    """Remove all unfinished uploads of a dandiset with what has come of them, also those that somebody is sending."""
    with archive.db.writing() as c:
        number = dandisets.owned(c, dandiset, user)
        gone = c.execute("SELECT upload_id, state FROM uploads WHERE dandiset = ?", (number,)).fetchall()
        c.execute("DELETE FROM uploads WHERE dandiset = ?", (number,))
    for row in gone:
        archive.bucket.discard_upload(row["upload_id"])
        if row["state"] == "assembled":
            archive.bucket.remove(blob_key(row["upload_id"]))


def _find(c: sqlite3.Connection, upload_id: str) -> sqlite3.Row:
    row = c.execute("SELECT * FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
    if row is None:
        raise Refused(404, f"No upload {upload_id}.")
    assert isinstance(row, sqlite3.Row)
    return row


def _owned(c: sqlite3.Connection, upload_id: str, user: str) -> sqlite3.Row:
    row = _find(c, upload_id)
    dandisets.owned(c, dandisets.identifier(row["dandiset"]), user)
    return row


def _parts(c: sqlite3.Connection, upload: sqlite3.Row) -> list[sqlite3.Row]:
    rows = c.execute("SELECT * FROM parts WHERE upload_id = ? ORDER BY number", (upload["upload_id"],)).fetchall()
    expected = len(PartGenerator.for_file_size(upload["size"]))
    if len(rows) != expected:
        raise Refused(400, f"InvalidPart: {len(rows)} of {expected} parts have come.")
    return rows
