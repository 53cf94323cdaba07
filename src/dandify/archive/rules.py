"""What the archive accepts: path rules, sizes, and the refusal that answers everything else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from dandify.dandiset.names import ASSET_PATH, MAX_PATH

MAX_BLOB_BYTES = 5 * 2**40  # S3's largest object; the DANDI archive refuses more (dandiapi AssetBlob)
MAX_ZARR_FILE_BYTES = 5 * 2**30  # S3's largest single PUT, which is how Zarr files travel

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ETAG = re.compile(r"[0-9a-f]{32}-[0-9]{1,5}")


class Refused(Exception):
    """A request the archive does not carry out.

    Parameters
    ----------
    status
        The HTTP status of the answer.
    detail
        What was wrong with the request, one sentence.
    headers
        Further headers of the answer.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def now() -> str:
    """Return the present time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat()


def asset_path(path: object) -> str:
    """Return the path of an asset if the archive takes it (dandi-archive, models/asset.py).

    Raises
    ------
    Refused
        400: not text, empty, over 512 characters, a leading ``/``, or a character or ``..`` the pattern excludes.
    """
    if not isinstance(path, str) or not path:
        raise Refused(400, "metadata.path: a path relative to the dandiset is required.")
    if len(path) > MAX_PATH:
        raise Refused(400, f"Path of {len(path)} characters; at most {MAX_PATH} are allowed.")
    if path.startswith("/"):
        raise Refused(400, f"Path {path!r} must not begin with /.")
    if not ASSET_PATH.fullmatch(path):
        raise Refused(400, f"Path {path!r} has characters or components that are not allowed (such as .., // or @).")
    return path


def zarr_file_path(path: object) -> str:
    """Return the path of a file within a Zarr if it names a place inside it on any file system.

    Raises
    ------
    Refused
        400: absolute, with empty, ``.`` or ``..`` components, backslashes or control characters, or too long.
    """
    if not isinstance(path, str) or not path:
        raise Refused(400, "A path within the Zarr is required.")
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise Refused(400, f"Path {path!r} must be relative to the Zarr, without empty, . or .. components.")
    if "\\" in path or ":" in path or _CONTROL.search(path):
        raise Refused(400, f"Path {path!r} has a backslash, colon or control character.")
    if len(path) > MAX_PATH or any(len(part.encode()) > 255 for part in parts):
        raise Refused(400, f"Path {path!r} is too long (512 characters, 255 bytes a component).")
    return path


def etag(value: object) -> str:
    """Return a dandi-etag (``md5-parts``) if it is one; refuse with 400 otherwise."""
    if not isinstance(value, str) or not _ETAG.fullmatch(value):
        raise Refused(400, f"{value!r} is not a dandi-etag (32 hexadecimal digits, a hyphen, the number of parts).")
    return value
