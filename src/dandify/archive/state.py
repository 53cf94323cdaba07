"""An opened archive: its records, its files, its secrets, and where it is reached."""

from __future__ import annotations

import hmac
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from dandify.archive.bucket import Bucket
from dandify.archive.database import Database, open_database
from dandify.archive.rules import now
from dandify.archive.signing import Signer

OWNER = "owner"  # the one user of an archive whose tokens nobody declared
URL_SECONDS = 6 * 3600.0  # a signed URL outlives the slowest part, not the day
_STALE_DAYS = 7


@dataclass(frozen=True)
class Archive:
    """What the handlers of requests share.

    Attributes
    ----------
    base_url
        ``http://host:port``, as clients reach it.
    db, bucket, signer
        Records, files, signed URLs.
    tokens
        API key to user name.
    url_seconds
        How long a signed URL is good for.
    """

    base_url: str
    db: Database
    bucket: Bucket
    signer: Signer
    tokens: Mapping[str, str]
    url_seconds: float

    @property
    def api_url(self) -> str:
        """The base of the API, which clients join paths to."""
        return f"{self.base_url}/api"

    def bucket_url(self, key: str) -> str:
        """Return the URL at which a file of the bucket is downloaded."""
        return f"{self.base_url}/bucket/{quote(key)}"

    def signed_url(self, method: str, key: str, **claims: str) -> str:
        """Return a URL that lets one kind of request on a file of the bucket through for a while."""
        return self.base_url + self.signer.sign(method, f"/bucket/{key}", seconds=self.url_seconds, **claims)

    def user(self, token: str) -> str | None:
        """Return the user of a token, compared in constant time."""
        found = None
        for known, name in self.tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                found = name
        return found

    def close(self) -> None:
        """Close the records."""
        self.db.close()


def open_archive(
    folder: Path, *, base_url: str, tokens: Mapping[str, str] | None = None, url_seconds: float = URL_SECONDS
) -> Archive:
    """Open the archive kept in ``folder``, made if absent.

    Without ``tokens`` it has the one token that was made at random when the folder was first served.

    Raises
    ------
    DandifyError
        Another server has the folder, or the database is not readable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    db = open_database(folder / "archive.sqlite")
    bucket = Bucket(folder)
    try:
        bucket.prepare()
        _discard_stale_uploads(db, bucket)
        known = dict(tokens) if tokens is not None else _own_tokens(db)
        signer = Signer(bytes.fromhex(db.setting("url-secret")))
    except BaseException:  # Ctrl-C too: the lock on the folder is given back
        db.close()
        raise
    return Archive(base_url.rstrip("/"), db, bucket, signer, known, url_seconds)


def _own_tokens(db: Database) -> dict[str, str]:
    with db.writing() as c:
        if c.execute("SELECT count(*) FROM tokens").fetchone()[0] == 0:
            c.execute("INSERT INTO tokens VALUES (?, ?, ?)", (secrets.token_hex(20), OWNER, now()))
        return {row["token"]: row["user"] for row in c.execute("SELECT token, user FROM tokens ORDER BY created")}


def _discard_stale_uploads(db: Database, bucket: Bucket) -> None:
    """Forget uploads that nobody can finish any more, and parts that belong to none."""
    before = (datetime.now(UTC) - timedelta(days=_STALE_DAYS)).isoformat()
    with db.writing() as c:
        c.execute("DELETE FROM uploads WHERE created < ?", (before,))
        # The server that was assembling is gone; the parts are still there.
        c.execute("UPDATE uploads SET state = 'open' WHERE state = 'assembling'")
        c.execute("UPDATE zarrs SET status = 'Pending' WHERE status = 'Ingesting'")
        open_ids = {row["upload_id"] for row in c.execute("SELECT upload_id FROM uploads")}
    for left in (bucket.folder / "uploads").iterdir():
        if left.name not in open_ids:
            shutil.rmtree(left, ignore_errors=True)
