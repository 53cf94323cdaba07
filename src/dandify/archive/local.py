"""A dandiset on disk as the dandi client sees it: what it uploads, and what it leaves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dandify.dandiset.describe import YAML, read_description
from dandify.dandiset.tables import TABLE_STAYS, TABLES
from dandify.dandiset.texts import PARTIAL
from dandify.errors import BadRequest, BadSource

_MANIFEST = ".manifest.json"
_GENERIC = "dandi uploads this kind of file only in a BIDS dataset"

# The archive states these itself, also who may read it, which an embargo decides (dandi-archive, Version.strip_metadata
# and _populate_metadata). They are not sent: `dandi download` writes them into dandiset.yaml, maybe of another archive.
_COMPUTED = frozenset({
    "@context", "access", "assetsSummary", "citation", "dateCreated", "dateModified", "datePublished", "doi", "id",
    "identifier", "manifestLocation", "publishedBy", "releaseNotes", "repository", "url", "version",
})  # fmt: skip


@dataclass(frozen=True)
class Left:
    """A file or folder that is not uploaded.

    Attributes
    ----------
    path
        Below the dandiset, with slashes.
    size
        Bytes.
    reason
        Why it is left.
    """

    path: str
    size: int
    reason: str


@dataclass(frozen=True)
class Survey:
    """What lies in a dandiset.

    Attributes
    ----------
    assets
        `dandi.files.LocalAsset` objects, ordered by path.
    left
        What is not uploaded, ordered by path.
    """

    assets: tuple[Any, ...]
    left: tuple[Left, ...]


def survey(dandiset: Path) -> Survey:
    """Sort the files of a dandiset into what is uploaded and what is not; nothing is read but names and sizes."""
    from dandi.files import GenericAsset, find_dandi_files

    assets, left = [], []
    partial: dict[str, int] = {}
    for found in find_dandi_files(dandiset, dandiset_path=dandiset, allow_all=True):
        path = found.filepath.relative_to(dandiset)
        name = path.as_posix()
        unfinished = next((parent for parent in (path, *path.parents) if parent.name.endswith(PARTIAL)), None)
        if name == YAML:
            continue
        if unfinished is not None:
            size = partial.get(unfinished.as_posix(), 0)
            partial[unfinished.as_posix()] = size + _size(found.filepath)
        elif name.endswith(_MANIFEST):
            left.append(Left(name, _size(found.filepath), "dandify's record of a conversion stays with you"))
        elif type(found) is GenericAsset:  # subclasses are files of a BIDS dataset, which are uploaded
            left.append(Left(name, _size(found.filepath), TABLE_STAYS if name in TABLES else _GENERIC))
        else:
            assets.append(found)
    reason = "unfinished; dandify convert completes it"
    left.extend(Left(name, size, reason) for name, size in partial.items())
    left.extend(Left(name, 0, "a link to a folder, which dandi does not follow") for name in _linked_folders(dandiset))
    return Survey(tuple(sorted(assets, key=lambda a: str(a.path))), tuple(sorted(left, key=lambda item: item.path)))


def _linked_folders(dandiset: Path) -> Iterator[str]:
    """Yield the links to folders, by their names below the dandiset; what is hidden and Zarrs are not looked into."""
    for folder, names, _ in os.walk(dandiset):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink():
                yield path.relative_to(dandiset).as_posix()
        names[:] = [n for n in names if not n.startswith(".") and not n.endswith((".zarr", ".ngff"))]


def asset_bytes(asset: Any) -> int:
    """Return the bytes of an asset, a Zarr's files together."""
    return _size(asset.filepath)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0  # a link may lead to nothing


@dataclass(frozen=True)
class Record:
    """What a dandiset's ``dandiset.yaml`` says.

    Attributes
    ----------
    identifier
        Six digits; None before the dandiset exists at an archive.
    name
        Its title; None where absent.
    metadata
        The rest, as JSON, without what an archive states itself.
    """

    identifier: str | None
    name: str | None
    metadata: dict[str, Any]


def read_record(dandiset: Path) -> Record:
    """Read ``dandiset.yaml``.

    Raises
    ------
    BadRequest
        There is none.
    BadSource
        It is not YAML, or its identifier is not one.
    """
    file = dandiset / YAML
    found = read_description(dandiset)
    if found is None:
        raise BadRequest(
            "this is not a dandiset: it has no dandiset.yaml",
            file=dandiset,
            remedy="dandify organize CONVERTED --dandiset DIR",
        )
    name = found.get("name")
    metadata = {key: value for key, value in found.items() if key not in _COMPUTED}
    return Record(
        _identifier(found.get("identifier"), file),
        str(name) if name else None,
        # Dates, which JSON has not, are sent as ISO 8601.
        json.loads(json.dumps(metadata, default=lambda value: value.isoformat())),
    )


def _identifier(value: object, file: Path) -> str | None:
    if value is None or value == "":
        return None
    digits = str(value).rpartition(":")[2] if isinstance(value, str) else ""
    if len(digits) == 6 and digits.isdecimal() and digits.isascii():
        return digits
    raise BadSource(
        f"identifier {value!r} is not one: six digits in quotes are expected",
        file=file,
        place="identifier",
        remedy='write it as "000123", or remove the line and upload with --create',
    )
