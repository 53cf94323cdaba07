"""Writes what the bucket says of its dandisets: the records of each version and its assets, as files."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final

from dandify.archive import documents
from dandify.archive.dandisets import identifier
from dandify.archive.state import Archive

NAMES: Final = ("dandiset.jsonld", "dandiset.yaml", "assets.jsonld", "assets.yaml", "collection.jsonld")
_VERSION = """
    SELECT d.number, d.owner, d.created AS dandiset_created, d.modified AS dandiset_modified, v.*,
           0 AS unchecked, 0 AS invalid, 0 AS zarrs, NULL AS newest, 0 AS unchanged,
           (SELECT count(*) FROM version_assets va WHERE va.version_id = v.id) AS files,
           (SELECT coalesce(sum(coalesce(b.size, z.size)), 0) FROM version_assets va
            JOIN assets s ON s.asset_id = va.asset_id LEFT JOIN blobs b ON b.blob_id = s.blob_id
            LEFT JOIN zarrs z ON z.zarr_id = s.zarr_id WHERE va.version_id = v.id) AS bytes
    FROM dandisets d JOIN versions v ON v.dandiset = d.number
"""
_STALE = f"{_VERSION} WHERE v.manifested IS NULL OR v.manifested <> v.modified LIMIT 1"
_ASSETS = """
    SELECT s.*, b.etag, b.sha256, z.checksum, z.status AS zarr_status, coalesce(b.size, z.size) AS size, n.errors
    FROM version_assets va JOIN assets s ON s.asset_id = va.asset_id LEFT JOIN blobs b ON b.blob_id = s.blob_id
    LEFT JOIN zarrs z ON z.zarr_id = s.zarr_id LEFT JOIN validations n ON n.asset_id = s.asset_id
    WHERE va.version_id = ? ORDER BY va.path
"""


def folder_of(archive: Archive, number: int, version: str | None = None) -> Path:
    """Return where the manifests of a dandiset, or of one of its versions, lie."""
    folder = archive.bucket.folder / "dandisets" / identifier(number)
    return folder if version is None else folder / version


def write_stale(archive: Archive) -> None:
    """Sum up, and write the manifests of, every version that was changed since they were written."""
    while True:
        with archive.db.reading() as c:
            row = c.execute(_STALE).fetchone()
            assets = [] if row is None else c.execute(_ASSETS, (row["id"],)).fetchall()
        if row is None:
            return
        records = [documents.asset_metadata(archive, asset) for asset in assets]
        valid = (record for asset, record in zip(assets, records, strict=True) if asset["errors"] == "[]")
        summary = json.dumps(documents.assets_summary(valid), ensure_ascii=False)
        with archive.db.writing() as c:
            c.execute("UPDATE versions SET summary = ? WHERE id = ?", (summary, row["id"]))
            summed = c.execute(f"{_VERSION} WHERE v.id = ?", (row["id"],)).fetchone()
        if summed is None:  # it was deleted meanwhile
            continue
        _write(archive, summed, records)
        with archive.db.writing() as c:
            c.execute("UPDATE versions SET manifested = ? WHERE id = ?", (row["modified"], row["id"]))


def remove(archive: Archive, number: int) -> None:
    """Remove the manifests of a dandiset that is gone."""
    shutil.rmtree(folder_of(archive, number), ignore_errors=True)


def file_of_key(archive: Archive, key: str) -> Path | None:
    """Return the manifest that a key of the bucket names; None where there is none."""
    parts = key.split("/")
    if len(parts) != 4 or parts[0] != "dandisets" or parts[3] not in NAMES or not parts[1].isdecimal():
        return None
    if not all(c.isdecimal() or c == "." for c in parts[2]) and parts[2] != "draft":
        return None
    file = archive.bucket.file(key)
    return file if parts[2] not in (".", "..") and file.is_file() else None


def _write(archive: Archive, version: sqlite3.Row, assets: Sequence[documents.Json]) -> None:
    metadata = documents.version_metadata(archive, version)
    members = {
        "@context": metadata["@context"],
        "id": f"{metadata['id']}/assets",
        "@type": "prov:Collection",
        "hasMember": [asset["id"] for asset in assets],
    }
    contents: tuple[Any, ...] = (metadata, metadata, assets, assets, members)
    folder = folder_of(archive, version["number"], version["version"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(NAMES, contents, strict=True):
        text = json.dumps(content, ensure_ascii=False, indent=2) if name.endswith(".jsonld") else _yaml(content)
        partial = folder / f"{name}.{uuid.uuid4().hex}"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, folder / name)


def _yaml(content: Any) -> str:
    from ruamel.yaml import YAML

    out = StringIO()
    yaml = YAML(typ="safe", pure=False)
    yaml.default_flow_style = False
    yaml.dump(content, out)
    return out.getvalue()
