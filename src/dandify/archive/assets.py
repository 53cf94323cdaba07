"""Records of assets: what lies at which path of a version."""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from dataclasses import dataclass
from typing import Any

from dandify.archive.dandisets import touch
from dandify.archive.rules import Refused, asset_path, now

# The archive states these itself; what a client sends for them is dropped (dandi-archive, Asset.strip_metadata).
_COMPUTED = ("id", "identifier", "contentUrl", "contentSize", "digest", "datePublished", "publishedBy", "@context")
_ORDER = {"path": "va.path", "created": "s.created", "modified": "s.modified"}
_ASSET = """
    SELECT s.*, b.etag, b.sha256, z.checksum, z.status AS zarr_status,
           coalesce(b.size, z.size) AS size
    FROM assets s LEFT JOIN blobs b ON b.blob_id = s.blob_id LEFT JOIN zarrs z ON z.zarr_id = s.zarr_id
"""
_OF_VERSION = f"{_ASSET} JOIN version_assets va ON va.asset_id = s.asset_id WHERE va.version_id = :version"
_LAST = "\U0010ffff"


def find(c: sqlite3.Connection, asset_id: str, *, version_id: int | None = None) -> sqlite3.Row:
    """Return an asset, in a version or anywhere; refuse with 404."""
    if version_id is None:
        row = c.execute(f"{_ASSET} WHERE s.asset_id = ?", (asset_id,)).fetchone()
    else:
        row = c.execute(f"{_OF_VERSION} AND s.asset_id = :asset", {"version": version_id, "asset": asset_id}).fetchone()
    if row is None:
        raise Refused(404, f"No asset {asset_id}.")
    assert isinstance(row, sqlite3.Row)
    return row


def listing(
    c: sqlite3.Connection,
    version_id: int,
    *,
    limit: int,
    offset: int,
    prefix: str,
    glob: str,
    order: str,
    zarrs_only: bool = False,
) -> tuple[int, list[sqlite3.Row]]:
    """Return how many assets of a version match, and a page of them.

    ``prefix`` is the beginning of a path, or a whole one: then that asset alone is listed; in ``glob`` a ``*`` stands
    for any characters, slashes too, and case does not count (as in dandi-archive); ``order`` is ``path``, ``created``
    or ``modified``, reversed by a leading hyphen.
    """
    like = re.sub(r"([%_\\])", r"\\\1", glob).replace("*", "%") if glob else "%"
    where = "va.version_id = :version AND va.path >= :prefix AND va.path < :end AND va.path LIKE :like ESCAPE '\\'"
    if zarrs_only:
        where += " AND va.asset_id IN (SELECT asset_id FROM assets WHERE zarr_id IS NOT NULL)"
    exact = c.execute("SELECT 1 FROM version_assets WHERE version_id = ? AND path = ?", (version_id, prefix)).fetchone()
    values = {
        "version": version_id,
        "prefix": prefix,
        "end": prefix + ("\0" if exact else _LAST),
        "like": like,
        "limit": limit,
        "offset": offset,
    }
    count = c.execute(f"SELECT count(*) FROM version_assets va WHERE {where}", values).fetchone()[0]
    column = _ORDER.get(order.removeprefix("-"), "va.path")
    direction = "DESC" if order.startswith("-") else "ASC"
    rows = c.execute(
        f"{_OF_VERSION} AND {where} ORDER BY {column} {direction}, va.path LIMIT :limit OFFSET :offset", values
    ).fetchall()
    return count, rows


@dataclass(frozen=True)
class Folder:
    """A folder of a version: its path, and how many assets of how many bytes lie below it."""

    path: str
    files: int
    bytes: int


def children(c: sqlite3.Connection, version_id: int, folder: str) -> tuple[list[Folder], list[sqlite3.Row]]:
    """Return the folders and the assets that lie in a folder, each by path; ``""`` is the outermost one."""
    prefix = f"{folder}/" if folder else ""
    _, found = listing(c, version_id, limit=-1, offset=0, prefix=prefix, glob="", order="path")
    sums: dict[str, list[int]] = {}
    files = []
    for row in found:
        name, slash, _ = row["path"][len(prefix) :].partition("/")
        if slash:
            counts = sums.setdefault(prefix + name, [0, 0])
            counts[0] += 1
            counts[1] += row["size"] or 0
        else:
            files.append(row)
    return [Folder(path, *counts) for path, counts in sums.items()], files


def at_path(c: sqlite3.Connection, version_id: int, path: str, *, with_children: bool) -> list[Folder | sqlite3.Row]:
    """Return the asset at a path; or the folder, and what lies in it; refuse with 404 (dandi-archive, views/webdav.py).

    The outermost folder has no entry of its own. A path that ends with a slash is a folder's.
    """
    place = path.rstrip("/")
    query = f"{_OF_VERSION} AND va.path = :path"
    asset = c.execute(query, {"version": version_id, "path": place}).fetchone()
    if asset is not None and place == path:
        return [asset]
    folders, files = children(c, version_id, place)
    inside: list[Folder | sqlite3.Row] = [*folders, *files]
    inside.sort(key=lambda one: one.path if isinstance(one, Folder) else str(one["path"]))
    if not place:
        return inside if with_children else []
    if not inside:
        raise Refused(404, f"{'Folder' if path != place else 'Folder or asset'} not found at {place}")
    files_below = sum(folder.files for folder in folders) + len(files)
    bytes_below = sum(folder.bytes for folder in folders) + sum(row["size"] or 0 for row in files)
    return [Folder(place, files_below, bytes_below), *(inside if with_children else ())]


def put(
    c: sqlite3.Connection, version: sqlite3.Row, body: dict[str, Any], *, replacing: str | None = None
) -> sqlite3.Row:
    """Add an asset to a draft, or put it in the place of another; return it, or that other where they are the same.

    Raises
    ------
    Refused
        400: no metadata, a path that is not allowed, not exactly one of ``blob_id`` and ``zarr_id``, a Zarr of another
        dandiset, or a digest that is not its own. 404: nothing to replace, no such blob or Zarr. 409: the path is
        taken, or is a folder's.
    """
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        raise Refused(400, "metadata: a JSON object is required.")
    path = asset_path(metadata.get("path"))
    blob_id, zarr_id = _data(c, version["dandiset"], body, metadata)
    kept = {key: value for key, value in metadata.items() if key not in _COMPUTED}
    old = None if replacing is None else find(c, replacing, version_id=version["id"])
    if old is not None:
        same = (old["blob_id"], old["zarr_id"], old["path"]) == (blob_id, zarr_id, path)
        if same and json.loads(old["metadata"]) == kept:
            return old
        c.execute("DELETE FROM version_assets WHERE version_id = ? AND path = ?", (version["id"], old["path"]))
    _check_place(c, version["id"], path)
    asset_id, time = str(uuid.uuid4()), now()
    c.execute(
        "INSERT INTO assets VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            asset_id,
            blob_id,
            zarr_id,
            path,
            json.dumps(kept, ensure_ascii=False),
            old["created"] if old is not None else time,
            time,
        ),
    )
    c.execute("INSERT INTO version_assets VALUES (?, ?, ?)", (version["id"], path, asset_id))
    if old is not None:
        _discard(c, old["asset_id"])
        if zarr_id is not None and old["path"] != path:
            # The Zarr goes with its asset; under its old name the next upload to that path would write into it.
            c.execute("UPDATE OR IGNORE zarrs SET name = ? WHERE zarr_id = ?", (path, zarr_id))
    touch(c, version["id"])
    return find(c, asset_id)


def remove(c: sqlite3.Connection, version: sqlite3.Row, asset_id: str) -> None:
    """Take an asset out of a draft; refuse with 404."""
    find(c, asset_id, version_id=version["id"])
    c.execute("DELETE FROM version_assets WHERE version_id = ? AND asset_id = ?", (version["id"], asset_id))
    _discard(c, asset_id)
    touch(c, version["id"])


def _data(
    c: sqlite3.Connection, dandiset: int, body: dict[str, Any], metadata: dict[str, Any]
) -> tuple[str | None, str | None]:
    """Return the blob or the Zarr of a new asset."""
    blob_id, zarr_id = body.get("blob_id"), body.get("zarr_id")
    if (blob_id is None) == (zarr_id is None):
        raise Refused(400, "Exactly one of blob_id or zarr_id must be specified.")
    if blob_id is not None:
        blob = c.execute("SELECT blob_id, etag FROM blobs WHERE blob_id = ?", (str(blob_id),)).fetchone()
        if blob is None:
            raise Refused(404, f"Blob {blob_id} does not exist.")
        digest = metadata.get("digest")
        stated = digest.get("dandi:dandi-etag") if isinstance(digest, dict) else None
        if stated not in (None, blob["etag"]):
            raise Refused(400, f"metadata.digest states dandi-etag {stated}; the blob's is {blob['etag']}.")
        return blob["blob_id"], None
    zarr = c.execute("SELECT zarr_id, dandiset FROM zarrs WHERE zarr_id = ?", (str(zarr_id),)).fetchone()
    if zarr is None:
        raise Refused(404, f"Zarr {zarr_id} does not exist.")
    if zarr["dandiset"] != dandiset:
        raise Refused(400, f"Zarr {zarr_id} belongs to a different dandiset.")
    return None, zarr["zarr_id"]


def _check_place(c: sqlite3.Connection, version_id: int, path: str) -> None:
    """Refuse a path that is an asset already, or a folder of one, or lies below one."""
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        above = "/".join(parts[:depth])
        if c.execute("SELECT 1 FROM version_assets WHERE version_id = ? AND path = ?", (version_id, above)).fetchone():
            what = "An asset already exists at" if above == path else f"{above} is an asset, not a folder of"
            raise Refused(409, f"{what} {path}.")
    below = c.execute(
        "SELECT path FROM version_assets WHERE version_id = ? AND path >= ? AND path < ? LIMIT 1",
        (version_id, path + "/", path + "/" + _LAST),
    ).fetchone()
    if below is not None:
        raise Refused(409, f"{path} is a folder: {below['path']} lies in it.")


def _discard(c: sqlite3.Connection, asset_id: str) -> None:
    """Forget an asset that no version has any more."""
    c.execute(
        "DELETE FROM assets WHERE asset_id = ? AND NOT EXISTS (SELECT 1 FROM version_assets va WHERE va.asset_id = ?)",
        (asset_id, asset_id),
    )
