"""Holds metadata against DANDI's schema as the archive does before it publishes: assets in the background."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import threading
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from dandify import __version__
from dandify.archive.database import Database

Json = dict[str, Any]

_BRANCH = re.compile(r"str|int|float|bool|url|[A-Z]\w*|.*\[.*\]")  # no name of a field: these begin in small letters
UNCHECKED = "asset is currently being validated, please wait."
_AT_ONCE = 100  # assets of one transaction
_SECONDS = 0.5  # between looks for what nobody told of: a Zarr whose checksum came
_ASSETS = """
    SELECT s.*, b.etag, b.sha256, z.checksum, z.status AS zarr_status, coalesce(b.size, z.size) AS size
    FROM assets s LEFT JOIN blobs b ON b.blob_id = s.blob_id LEFT JOIN zarrs z ON z.zarr_id = s.zarr_id
    LEFT JOIN validations n ON n.asset_id = s.asset_id
    WHERE n.asset_id IS NULL AND (s.zarr_id IS NULL OR z.checksum IS NOT NULL) LIMIT ?
"""


def publication(moment: str) -> Json:
    """Return what a published version and its assets say of their publication, at a time in ISO 8601."""
    return {
        "datePublished": moment,
        "publishedBy": {
            "id": uuid.uuid4().urn,
            "name": "DANDI publish",
            "schemaKey": "PublishActivity",
            "startDate": moment,
            "endDate": moment,
            "wasAssociatedWith": [
                {"schemaKey": "Software", "name": "dandify archive", "version": __version__, "id": uuid.uuid4().urn,
                 "identifier": "RRID:SCR_017571"},  # of the DANDI archive, whose part this plays; the schema wants one
            ],
        },
    }  # fmt: skip


def errors_of(metadata: Mapping[str, Any], kind: str) -> list[Json]:
    """Return what keeps an asset or a dandiset from being published: ``field`` and ``message`` of each error.

    Parameters
    ----------
    metadata
        As the archive gives it.
    kind
        ``Asset`` or ``Dandiset``.
    """
    from dandischema.exceptions import ValidationError
    from dandischema.metadata import validate

    whole = {**metadata, **publication("2000-01-01T00:00:00+00:00")}
    try:
        validate(whole, schema_key=f"Published{kind}")
    except ValidationError as error:
        found = getattr(error, "errors", None)
        if not isinstance(found, list):
            return [{"field": "", "message": str(error)}]
        return _listed(found)
    except ValueError as error:  # a schema version that is not known
        return [{"field": "schemaVersion", "message": str(error)}]
    return []


def _listed(errors: list[Json]) -> list[Json]:
    """Say each thing once, of the field that it is about: pydantic names every branch of a choice it has tried."""
    said: dict[str, list[str]] = {}
    for error in errors:
        parts = (str(p) for p in error.get("loc", ()))
        field = ".".join(p for p in parts if not _BRANCH.fullmatch(p))
        message = str(error.get("msg", error))
        if message not in said.setdefault(field, []):
            said[field].append(message)
    return [{"field": field, "message": "; or ".join(messages)} for field, messages in said.items()]


@lru_cache(maxsize=1024)
def dandiset_errors(text: str) -> tuple[Json, ...]:
    """`errors_of` a dandiset whose metadata are given as JSON, remembered."""
    return tuple(errors_of(json.loads(text), "Dandiset"))


def asset_errors(c: sqlite3.Connection, version_id: int) -> list[Json]:
    """Return what keeps the assets of a version from being published: ``path``, ``field`` and ``message``.

    For one that is not checked yet that is `UNCHECKED`, in the words of the DANDI archive.
    """
    rows = c.execute(
        "SELECT va.path, n.errors FROM version_assets va LEFT JOIN validations n ON n.asset_id = va.asset_id"
        " WHERE va.version_id = ? AND n.errors IS NOT '[]' ORDER BY va.path", (version_id,),
    )  # fmt: skip
    waiting = [{"field": "", "message": UNCHECKED}]
    return [{**e, "path": row["path"]} for row in rows for e in (json.loads(row["errors"] or "null") or waiting)]


class Validator:
    """A thread that checks assets nobody has checked yet, and then calls for the manifests.

    Parameters
    ----------
    db
        Records.
    metadata
        Gives the metadata of an asset's row as the archive shows them.
    afterwards
        Called when there is nothing left to check.
    """

    def __init__(self, db: Database, metadata: Callable[[sqlite3.Row], Json], afterwards: Callable[[], None]) -> None:
        self._db = db
        self._metadata = metadata
        self._afterwards = afterwards
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dandify-archive-validator", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the assets under way, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(sqlite3.OperationalError, OSError):  # a full disk; said to whoever writes
                if self.check_some():
                    continue
                self._afterwards()
            self._stop.wait(_SECONDS)

    def check_some(self) -> int:
        """Check up to a hundred assets; returns how many there were."""
        with self._db.reading() as c:
            rows = c.execute(_ASSETS, (_AT_ONCE,)).fetchall()
        found = []
        for row in rows:
            if self._stop.is_set():
                return 0
            found.append((row["asset_id"], json.dumps(errors_of(self._metadata(row), "Asset"), ensure_ascii=False)))
        if found:
            with self._db.writing() as c:
                for asset_id, errors in found:  # it may have been removed meanwhile
                    c.execute(
                        "INSERT OR REPLACE INTO validations SELECT asset_id, ? FROM assets WHERE asset_id = ?",
                        (errors, asset_id),
                    )
                    c.execute(
                        "UPDATE versions SET manifested = NULL WHERE id IN"
                        " (SELECT version_id FROM version_assets WHERE asset_id = ?)", (asset_id,),
                    )  # fmt: skip
        return len(found)
