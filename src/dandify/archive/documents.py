"""The archive's records as the JSON that clients read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from dandischema.conf import get_instance_config
from dandischema.consts import ALLOWED_INPUT_SCHEMAS, DANDI_SCHEMA_VERSION
from dandischema.metadata import aggregate_assets_summary

from dandify import __version__
from dandify.archive.bucket import blob_key, zarr_key
from dandify.archive.dandisets import identifier, metadata_of
from dandify.archive.rules import now
from dandify.archive.state import Archive
from dandify.archive.validation import asset_errors, dandiset_errors

Json = dict[str, Any]

_OPEN_ACCESS = [{"schemaKey": "AccessRequirements", "status": "dandi:OpenAccess"}]
_CONTACT = "dcite:ContactPerson"


def info(archive: Archive) -> Json:
    """Return what ``/api/info/`` says of the instance."""
    return {
        "instance_config": get_instance_config().model_dump(mode="json"),
        "schema_version": DANDI_SCHEMA_VERSION,
        "schema_url": _schema_url(DANDI_SCHEMA_VERSION, "dandiset.json"),
        "allowed_schema_versions": [*ALLOWED_INPUT_SCHEMAS],
        "version": f"dandify-{__version__}",
        "cli-minimal-version": "0.60.0",
        "cli-bad-versions": [],
        "services": {"api": {"url": archive.api_url}, "webui": {"url": archive.base_url}},
    }


def dandiset(archive: Archive, row: sqlite3.Row, published: sqlite3.Row | None = None) -> Json:
    """Return a dandiset with its draft, and the version that was published last."""
    return {
        "identifier": identifier(row["number"]),
        "created": row["dandiset_created"],
        "modified": row["dandiset_modified"],
        "contact_person": _contact(metadata_of(row)),
        "embargo_status": "OPEN",
        "star_count": 0,
        "is_starred": False,
        "most_recent_published_version": None if published is None else version(archive, published),
        "draft_version": version(archive, row),
    }


def version(archive: Archive, row: sqlite3.Row) -> Json:
    """Return the summary of a version."""
    return {
        "version": row["version"],
        "name": row["name"],
        "asset_count": row["files"],
        "active_uploads": 0 if row["published"] else row["uploads"],
        "size": row["bytes"],
        "created": row["created"],
        "modified": row["modified"],
        "status": status(archive, row),
    }


def status(archive: Archive, row: sqlite3.Row) -> str:
    """Return what the schema says of a version's own metadata, whatever its assets are: Valid or Invalid.

    A draft that is as it was published is Published, as at DANDI.
    """
    if row["published"] or row["unchanged"]:
        return "Published"
    return "Invalid" if version_errors(archive, row) else "Valid"


def status_of_all(archive: Archive, row: sqlite3.Row) -> str:
    """Return what the schema says of a version and its assets: Pending until all of them are checked."""
    own = status(archive, row)
    if own == "Published":
        return own
    return "Pending" if row["unchecked"] else "Invalid" if row["invalid"] else own


def version_errors(archive: Archive, row: sqlite3.Row) -> list[Json]:
    """Return what keeps the metadata of a version from being published."""
    whole = published_metadata(archive, row, "0.000101.0000")
    return list(dandiset_errors(json.dumps(whole, sort_keys=True)))


def version_info(archive: Archive, c: sqlite3.Connection, row: sqlite3.Row) -> Json:
    """Return the summary of a version with the dandiset it is of."""
    return {
        **version(archive, row),
        "dandiset": dandiset(archive, row),
        "metadata": version_metadata(archive, row),
        "asset_validation_errors": asset_errors(c, row["id"]),
        "version_validation_errors": [] if row["published"] else version_errors(archive, row),
        "contact_person": _contact(metadata_of(row)),
    }


def version_metadata(archive: Archive, row: sqlite3.Row) -> Json:
    """Return the metadata of a version: what was sent, and what the archive states itself."""
    sent = metadata_of(row)
    number, name = identifier(row["number"]), row["version"]
    assets_url = f"{archive.api_url}/dandisets/{number}/versions/{name}/assets/"
    url = f"{archive.base_url}/dandiset/{number}/{name}"
    schema = str(sent.get("schemaVersion", DANDI_SCHEMA_VERSION))
    return {
        **sent,
        "@context": _schema_url(schema, "context.json"),
        "schemaKey": "Dandiset",
        "schemaVersion": schema,
        "name": row["name"],
        "id": f"DANDI:{number}/{name}",
        "identifier": f"DANDI:{number}",
        "version": name,
        "url": url,
        "citation": _citation(sent, row["name"], name, url),
        "repository": archive.base_url,
        "dateCreated": row["dandiset_created"],
        "access": _OPEN_ACCESS,
        "manifestLocation": [assets_url],
        "assetsSummary": {
            **json.loads(row["summary"] or "{}"),
            "schemaKey": "AssetsSummary",
            "numberOfBytes": row["bytes"],
            "numberOfFiles": row["files"],
        },
    }


def assets_summary(assets: Iterable[Json]) -> Json:
    """Return what valid assets are of, as the archive sums it up: species, approaches, standards, how many subjects."""
    try:
        return dict(aggregate_assets_summary(assets))
    except (AssertionError, LookupError, TypeError, ValueError):  # more subjects than files, names that are no texts
        return {}


def published_metadata(archive: Archive, draft: sqlite3.Row, name: str) -> Json:
    """Return the metadata that a draft would have as a version of that name, but when and by what it was published."""
    number = identifier(draft["number"])
    found = version_metadata(archive, draft)
    url = f"{archive.base_url}/dandiset/{number}/{name}"
    return {
        **found,
        "id": f"DANDI:{number}/{name}",
        "version": name,
        "url": url,
        "citation": _citation(found, draft["name"], name, url),
        "manifestLocation": [f"{archive.api_url}/dandisets/{number}/versions/{name}/assets/"],
    }


def asset(row: sqlite3.Row) -> Json:
    """Return the summary of an asset."""
    return {
        "asset_id": row["asset_id"],
        "blob": row["blob_id"],
        "zarr": row["zarr_id"],
        "path": row["path"],
        "size": row["size"],
        "created": row["created"],
        "modified": row["modified"],
    }


def asset_metadata(archive: Archive, row: sqlite3.Row) -> Json:
    """Return the metadata of an asset: what was sent, and what the archive states itself (Asset.full_metadata)."""
    sent = metadata_of(row)
    if row["zarr_id"] is None:
        key, own = blob_key(row["blob_id"]), {}
        digest = {"dandi:dandi-etag": row["etag"], "dandi:sha2-256": row["sha256"]}
    else:
        key, own = zarr_key(row["zarr_id"], ""), {"encodingFormat": "application/x-zarr"}
        digest = {"dandi:dandi-zarr-checksum": row["checksum"]} if row["checksum"] else {}
    schema = str(sent.get("schemaVersion", DANDI_SCHEMA_VERSION))
    return {
        **sent,
        **own,
        "@context": _schema_url(schema, "context.json"),
        "schemaVersion": schema,
        "id": f"dandiasset:{row['asset_id']}",
        "identifier": row["asset_id"],
        "path": row["path"],
        "access": _OPEN_ACCESS,
        "contentSize": row["size"],
        "digest": digest,
        "contentUrl": [f"{archive.api_url}/assets/{row['asset_id']}/download/", archive.bucket_url(key)],
    }


def zarr(row: sqlite3.Row) -> Json:
    """Return the summary of a Zarr."""
    return {
        "zarr_id": row["zarr_id"],
        "name": row["name"],
        "dandiset": identifier(row["dandiset"]),
        "status": row["status"],
        "checksum": row["checksum"],
        "file_count": row["file_count"],
        "size": row["size"],
    }


def zarr_file(row: sqlite3.Row) -> Json:
    """Return a file of a Zarr, with S3's names."""
    return {"Key": row["path"], "LastModified": row["modified"], "ETag": row["md5"], "Size": row["size"]}


def blob(row: sqlite3.Row) -> Json:
    """Return the summary of a blob."""
    return {"blob_id": row["blob_id"], "etag": row["etag"], "sha256": row["sha256"], "size": row["size"]}


def upload(row: sqlite3.Row) -> Json:
    """Return the summary of an upload that is not finished."""
    return {
        "created": row["created"], "blob": blob_key(row["upload_id"]), "upload_id": row["upload_id"],
        "etag": row["etag"], "size": row["size"],
    }  # fmt: skip


def _citation(metadata: Json, title: str, name: str, url: str) -> str:
    """Cite a version as the archive does: those who are to be named, year, title, version, address."""
    people = metadata.get("contributor")
    named = [
        str(p["name"]) for p in (people if isinstance(people, list) else [])
        if isinstance(p, dict) and p.get("name") and p.get("includeInCitation", p.get("schemaKey") == "Person")
    ]  # fmt: skip
    year = str(metadata.get("datePublished") or now())[:4]
    return f"{'; '.join(named) or 'Anonymous'} ({year}) {title} (Version {name}) [Data set]. dandify archive. {url}"


def _contact(metadata: Json) -> str:
    people = metadata.get("contributor")
    for person in people if isinstance(people, list) else []:
        if isinstance(person, dict) and _CONTACT in (person.get("roleName") or []):
            return str(person.get("name", ""))
    return ""


def _schema_url(schema: str, name: str) -> str:
    return f"https://raw.githubusercontent.com/dandi/schema/master/releases/{schema}/{name}"
