"""The archive's records: one sqlite database, every commit on disk before it is answered."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dandify.errors import BadSource, DandifyError

_VERSION = 3

# An asset is never changed: a new one takes its place in the version, so that a published version can keep the old one.
_SCHEMA = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE tokens (token TEXT PRIMARY KEY, user TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE dandisets (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, also after a deletion
    owner TEXT NOT NULL, created TEXT NOT NULL, modified TEXT NOT NULL);
CREATE TABLE versions (
    id INTEGER PRIMARY KEY, dandiset INTEGER NOT NULL REFERENCES dandisets ON DELETE CASCADE, version TEXT NOT NULL,
    name TEXT NOT NULL, metadata TEXT NOT NULL, created TEXT NOT NULL, modified TEXT NOT NULL,
    UNIQUE (dandiset, version));
CREATE TABLE blobs (
    blob_id TEXT PRIMARY KEY, etag TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, created TEXT NOT NULL,
    UNIQUE (etag, size));
CREATE TABLE uploads (
    upload_id TEXT PRIMARY KEY, dandiset INTEGER NOT NULL REFERENCES dandisets ON DELETE CASCADE, etag TEXT NOT NULL,
    size INTEGER NOT NULL, created TEXT NOT NULL, state TEXT NOT NULL, actual_etag TEXT, sha256 TEXT);
CREATE TABLE parts (
    upload_id TEXT NOT NULL REFERENCES uploads ON DELETE CASCADE, number INTEGER NOT NULL, size INTEGER NOT NULL,
    md5 TEXT NOT NULL, PRIMARY KEY (upload_id, number)) WITHOUT ROWID;
CREATE TABLE zarrs (
    zarr_id TEXT PRIMARY KEY, dandiset INTEGER NOT NULL REFERENCES dandisets ON DELETE CASCADE, name TEXT NOT NULL,
    status TEXT NOT NULL, checksum TEXT, created TEXT NOT NULL,
    file_count INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0,  -- the sums of zarr_files
    UNIQUE (dandiset, name));
CREATE TABLE zarr_files (
    zarr_id TEXT NOT NULL REFERENCES zarrs ON DELETE CASCADE, path TEXT NOT NULL, md5 TEXT NOT NULL,
    size INTEGER NOT NULL, modified TEXT NOT NULL, PRIMARY KEY (zarr_id, path)) WITHOUT ROWID;
CREATE TABLE assets (
    asset_id TEXT PRIMARY KEY, blob_id TEXT REFERENCES blobs, zarr_id TEXT REFERENCES zarrs ON DELETE CASCADE,
    path TEXT NOT NULL, metadata TEXT NOT NULL, created TEXT NOT NULL, modified TEXT NOT NULL,
    CHECK ((blob_id IS NULL) <> (zarr_id IS NULL)));
CREATE TABLE version_assets (
    version_id INTEGER NOT NULL REFERENCES versions ON DELETE CASCADE, path TEXT NOT NULL,
    asset_id TEXT NOT NULL REFERENCES assets ON DELETE CASCADE, PRIMARY KEY (version_id, path)) WITHOUT ROWID;
CREATE INDEX version_assets_by_asset ON version_assets (asset_id);
CREATE INDEX assets_by_blob ON assets (blob_id);
CREATE INDEX assets_by_zarr ON assets (zarr_id);
"""
# What layout 2 adds: published versions, what dandischema says of assets, and of which state the manifests are.
_SECOND = """
ALTER TABLE versions ADD COLUMN published TEXT;       -- when; a draft has none
ALTER TABLE versions ADD COLUMN published_from TEXT;  -- when the draft was last modified that it was made of
ALTER TABLE versions ADD COLUMN manifested TEXT;      -- as which it was last written into the bucket's manifests
CREATE TABLE validations (
    asset_id TEXT PRIMARY KEY REFERENCES assets ON DELETE CASCADE, errors TEXT NOT NULL);  -- JSON, [] for none
"""
# What layout 3 adds: what the valid assets of a version are of, as dandischema sums it up. Manifests are written again.
_THIRD = """
ALTER TABLE versions ADD COLUMN summary TEXT;  -- JSON
UPDATE versions SET manifested = NULL;
"""
_LAYOUTS = (_SCHEMA, _SECOND, _THIRD)


class Database:
    """One connection, used by one thread at a time.

    The database is locked to this process while it is open: two servers on one folder would not see each other's files.
    A killed process leaves no lock behind, and what it had committed is there at the next opening.

    Parameters
    ----------
    connection
        From `open_database`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for queries."""
        with self._lock:
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction: durable when the block ends, undone if it raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:  # whatever ends the block, Ctrl-C too: all of it is written or nothing
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def setting(self, key: str) -> str:
        """Return a secret of the archive, made at random when it is first asked for."""
        with self.writing() as c:
            c.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (key, secrets.token_hex(32)))
            return str(c.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()["value"])

    def close(self) -> None:
        """Write everything into the database file and let it go."""
        with self._lock:
            self._connection.close()


def open_database(path: Path) -> Database:
    """Open the records at ``path``, made if absent, readable by their owner only.

    Raises
    ------
    DandifyError
        Another process has it open, or it was written by a newer dandify.
    BadSource
        The file is not a database.
    """
    path.touch(mode=0o600)  # holds the tokens; sqlite gives its journal the same mode
    connection = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # in WAL mode NORMAL would lose commits with the power
        connection.execute("PRAGMA foreign_keys = ON")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version < _VERSION:
            steps = " ".join(_LAYOUTS[version:])
            connection.executescript(f"BEGIN; {steps} PRAGMA user_version = {_VERSION}; COMMIT;")
    except sqlite3.DatabaseError as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise DandifyError(
                f"the archive's database cannot be opened: {error}",
                file=path,
                remedy="stop the other server of this folder, or serve another folder",
            ) from error
        raise BadSource(
            f"this is not an archive's database: {error}", file=path, remedy="serve an empty folder"
        ) from error
    if version > _VERSION:
        connection.close()
        raise DandifyError(
            f"the archive was written by a newer dandify (its layout is {version}, this one knows {_VERSION})",
            file=path,
            remedy="pip install --upgrade dandify",
        )
    return Database(connection)
