"""Records of dandisets and their versions."""

from __future__ import annotations

import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

from dandify.archive.rules import Refused, now

DRAFT = "draft"

# The archive states these itself; what a client sends for them is dropped (dandi-archive, Version.strip_metadata), or
# written over whenever it is shown.
_COMPUTED = frozenset({
    "@context", "access", "assetsSummary", "citation", "dateCreated", "datePublished", "doi", "id", "identifier",
    "manifestLocation", "name", "publishedBy", "repository", "url", "version",
})  # fmt: skip

_ORDER = {"id": "d.number", "name": "v.name", "modified": "d.modified", "created": "d.created", "size": "bytes"}
_VERSION = """
    SELECT d.number, d.owner, d.created AS dandiset_created, d.modified AS dandiset_modified, v.*{more}
    FROM dandisets d JOIN versions v ON v.dandiset = d.number
"""
_SUMS = """,
    (SELECT count(*) FROM version_assets va WHERE va.version_id = v.id) AS files,
    (SELECT coalesce(sum(coalesce(b.size, z.size)), 0) FROM version_assets va JOIN assets s ON s.asset_id = va.asset_id
     LEFT JOIN blobs b ON b.blob_id = s.blob_id LEFT JOIN zarrs z ON z.zarr_id = s.zarr_id
     WHERE va.version_id = v.id) AS bytes,
    (SELECT count(*) FROM version_assets va LEFT JOIN validations n ON n.asset_id = va.asset_id
     WHERE va.version_id = v.id AND n.errors IS NULL) AS unchecked,
    (SELECT count(*) FROM version_assets va JOIN validations n ON n.asset_id = va.asset_id
     WHERE va.version_id = v.id AND n.errors <> '[]') AS invalid,
    (SELECT count(*) FROM version_assets va JOIN assets s ON s.asset_id = va.asset_id
     WHERE va.version_id = v.id AND s.zarr_id IS NOT NULL) AS zarrs,
    (SELECT count(*) FROM uploads u WHERE u.dandiset = v.dandiset) AS uploads,
    (SELECT p.version FROM versions p WHERE p.dandiset = v.dandiset AND p.published IS NOT NULL
     ORDER BY p.published DESC LIMIT 1) AS newest,
    (SELECT count(*) FROM versions p WHERE p.dandiset = v.dandiset AND p.published_from = v.modified) AS unchanged
"""
_PLAIN, _SUMMARY = _VERSION.format(more=""), _VERSION.format(more=_SUMS)


def identifier(number: int) -> str:
    """Return the six digits of a dandiset."""
    return f"{number:06d}"


def number_of(text: object) -> int:
    """Return the number of an identifier (``000012`` or ``DANDI:000012``); refuse with 404 what is none."""
    match = re.fullmatch(r"(?:DANDI:)?([0-9]{6})", text) if isinstance(text, str) else None
    if match is None:
        raise Refused(404, f"No dandiset {text!r}.")
    return int(match[1])


def owned(c: sqlite3.Connection, text: object, user: str) -> int:
    """Return the number of a dandiset that ``user`` may change; refuse with 404 or 403."""
    number = number_of(text)
    row = c.execute("SELECT owner FROM dandisets WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise Refused(404, f"No dandiset {identifier(number)}.")
    if row["owner"] != user:
        raise Refused(403, f"{user} does not own dandiset {identifier(number)}.")
    return number


def version(c: sqlite3.Connection, text: object, name: str, *, sums: bool = False) -> sqlite3.Row:
    """Return a version with the dandiset it belongs to; with ``sums`` also the count and bytes of its assets.

    Raises
    ------
    Refused
        404: there is none.
    """
    number = number_of(text)
    select = _SUMMARY if sums else _PLAIN
    row = c.execute(f"{select} WHERE d.number = ? AND v.version = ?", (number, name)).fetchone()
    if row is None:
        raise Refused(404, f"No version {name} of dandiset {identifier(number)}.")
    assert isinstance(row, sqlite3.Row)
    return row


def versions(c: sqlite3.Connection, text: object) -> list[sqlite3.Row]:
    """Return the versions of a dandiset with sums, the newest first, the draft before all; refuse with 404."""
    draft = version(c, text, DRAFT, sums=True)
    published = f"{_SUMMARY} WHERE d.number = ? AND v.published IS NOT NULL ORDER BY v.published DESC"
    return [draft, *c.execute(published, (draft["number"],)).fetchall()]


def create(c: sqlite3.Connection, *, name: object, metadata: object, user: str) -> sqlite3.Row:
    """Add a dandiset with its draft."""
    kept = _check(name, metadata)
    time = now()
    number = c.execute(
        "INSERT INTO dandisets (owner, created, modified) VALUES (?, ?, ?)", (user, time, time)
    ).lastrowid
    c.execute(
        "INSERT INTO versions (dandiset, version, name, metadata, created, modified) VALUES (?, ?, ?, ?, ?, ?)",
        (number, DRAFT, name, json.dumps(kept, ensure_ascii=False), time, time),
    )
    assert number is not None
    return version(c, identifier(number), DRAFT, sums=True)


def update(c: sqlite3.Connection, draft: sqlite3.Row, *, name: object, metadata: object) -> None:
    """Give a draft another name and metadata; the same do not make it a modified one."""
    kept = _check(name, metadata)
    if (name, kept) == (draft["name"], metadata_of(draft)):
        return
    c.execute(
        "UPDATE versions SET name = ?, metadata = ? WHERE id = ?",
        (name, json.dumps(kept, ensure_ascii=False), draft["id"]),
    )
    touch(c, draft["id"])


def publish(c: sqlite3.Connection, draft: sqlite3.Row, metadata: dict[str, Any]) -> str:
    """Copy a draft into a version of its own, named by the day and minute as at DANDI; return its name.

    Parameters
    ----------
    c
        In a transaction.
    draft
        With sums.
    metadata
        That of the published version, with when and by what it is published.
    """
    moment = datetime.now(UTC)
    taken = {row["version"] for row in c.execute("SELECT version FROM versions WHERE dandiset = ?", (draft["number"],))}
    name = moment.strftime("0.%y%m%d.%H%M")
    while name in taken:
        moment += timedelta(minutes=1)
        name = moment.strftime("0.%y%m%d.%H%M")
    time = now()
    made = c.execute(
        "INSERT INTO versions (dandiset, version, name, metadata, created, modified, published, published_from)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            draft["number"], name, draft["name"], json.dumps({**metadata, "version": name}, ensure_ascii=False), time,
            time, time, draft["modified"],
        ),
    ).lastrowid  # fmt: skip
    c.execute(
        "INSERT INTO version_assets SELECT ?, path, asset_id FROM version_assets WHERE version_id = ?",
        (made, draft["id"]),
    )
    _note_publication(c, draft["id"], {key: metadata[key] for key in ("datePublished", "publishedBy")})
    return name


def _note_publication(c: sqlite3.Connection, version_id: int, stated: dict[str, Any]) -> None:
    """Let the assets of a version say when and by what they were first published."""
    rows = c.execute(
        "SELECT s.asset_id, s.metadata FROM assets s JOIN version_assets va ON va.asset_id = s.asset_id"
        " WHERE va.version_id = ?", (version_id,),
    ).fetchall()  # fmt: skip
    for row in rows:
        known = metadata_of(row)
        if "datePublished" not in known:
            whole = json.dumps({**known, **stated}, ensure_ascii=False)
            c.execute("UPDATE assets SET metadata = ? WHERE asset_id = ?", (whole, row["asset_id"]))


def touch(c: sqlite3.Connection, version_id: int) -> None:
    """Note that a version was changed now."""
    time = now()
    c.execute("UPDATE versions SET modified = ? WHERE id = ?", (time, version_id))
    c.execute(
        "UPDATE dandisets SET modified = ? WHERE number = (SELECT dandiset FROM versions WHERE id = ?)",
        (time, version_id),
    )


def remove(c: sqlite3.Connection, number: int) -> list[str]:
    """Remove a dandiset with its assets; return the ids of its Zarrs, whose files are the caller's to remove."""
    zarrs = [row["zarr_id"] for row in c.execute("SELECT zarr_id FROM zarrs WHERE dandiset = ?", (number,))]
    c.execute(
        "DELETE FROM assets WHERE asset_id IN (SELECT va.asset_id FROM version_assets va"
        " JOIN versions v ON v.id = va.version_id WHERE v.dandiset = ?)",
        (number,),
    )
    c.execute("DELETE FROM dandisets WHERE number = ?", (number,))
    return zarrs


def listing(
    c: sqlite3.Connection, *, limit: int, offset: int, order: str, search: str, empty: bool, user: str | None
) -> tuple[int, list[sqlite3.Row]]:
    """Return how many dandisets there are of that kind, and a page of them.

    ``order`` is ``id``, ``name``, ``modified``, ``created`` or ``size``, reversed by a leading hyphen; ``search`` is
    looked for in the metadata.
    """
    column = _ORDER.get(order.removeprefix("-"), "d.number")
    direction = "DESC" if order.startswith("-") else "ASC"
    pattern = "%" + re.sub(r"([%_\\])", r"\\\1", search) + "%"
    query = (
        f"{_SUMMARY} WHERE v.version = '{DRAFT}' AND (v.metadata LIKE :pattern ESCAPE '\\' OR v.name LIKE :pattern"
        " ESCAPE '\\') AND (:user IS NULL OR d.owner = :user) AND (:empty OR files > 0)"
    )
    values = {"pattern": pattern, "user": user, "empty": empty, "limit": limit, "offset": offset}
    count = c.execute(f"SELECT count(*) FROM ({query})", values).fetchone()[0]
    rows = c.execute(f"{query} ORDER BY {column} {direction}, d.number LIMIT :limit OFFSET :offset", values).fetchall()
    return count, rows


def _check(name: object, metadata: object) -> dict[str, Any]:
    """Return the metadata that are kept: all but what the archive states itself."""
    if not isinstance(name, str) or not name or len(name) > 300:
        raise Refused(400, "name: a text of 1 to 300 characters is required.")
    if not isinstance(metadata, dict):
        raise Refused(400, "metadata: a JSON object is required.")
    return {key: value for key, value in metadata.items() if key not in _COMPUTED}


def metadata_of(row: sqlite3.Row) -> dict[str, Any]:
    """Return the metadata that was sent for a version or an asset."""
    found = json.loads(row["metadata"])
    assert isinstance(found, dict)
    return found
