"""The manifest beside an output: what it was made of, with which versions, and the checksums that prove it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dandify.errors import BadRequest, BadSource
from dandify.store.partial import partial_output

SUFFIX = ".manifest.json"
SCHEMA = 2  # raised when the meaning of a field changes; readers take what is not newer than they are


@dataclass(frozen=True)
class SourceFile:
    """A raw file that an output was made of.

    Attributes
    ----------
    path
        As it was given.
    bytes
        Size, of all files within it if it is a folder.
    modified
        Time of the last change, ISO 8601 in UTC.
    sha256
        Checksum of the file; None where it was not taken.
    """

    path: str
    bytes: int
    modified: str
    sha256: str | None = None

    @classmethod
    def of(cls, path: Path, *, sha256: str | None = None) -> SourceFile:
        """Describe a file, or a folder as a whole."""
        files = [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]
        stats = [f.stat() for f in files]
        newest = max((s.st_mtime for s in stats), default=path.stat().st_mtime)
        return cls(str(path), sum(s.st_size for s in stats), utc(datetime.fromtimestamp(newest, UTC)), sha256)


@dataclass(frozen=True)
class ManifestDataset:
    """One array of an output.

    Attributes
    ----------
    name
        Where it is in the output: ``/acquisition/ElectricalSeries/data``, ``0``.
    shape, dtype
        As stored; the dtype with its byte order, ``<i2``.
    chunks
        Shape of its chunks; None where it is contiguous.
    codec
        How chunks are encoded, in words: ``shuffle+gzip (isal 1)``.
    raw_bytes, stored_bytes
        Size of the values, and of what is on the disk.
    xxh128
        XXH3-128 checksum of the raw values in C order, what ``xxh128sum`` prints; None where they were not read in
        that order.
    verified
        Every chunk was decoded, compared with what came from the source, and read back.
    details
        Whatever else belongs to it: transforms, scale of a pyramid level.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...] | None
    codec: str
    raw_bytes: int
    stored_bytes: int
    xxh128: str | None
    verified: bool
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Raw bytes for each stored byte."""
        return self.raw_bytes / self.stored_bytes if self.stored_bytes else 1.0


@dataclass(frozen=True)
class Manifest:
    """The record written beside an output.

    Attributes
    ----------
    output
        Name of the output.
    bytes
        Its size, of all files within it if it is a folder.
    sha256
        Checksum of the file; None for a folder.
    verified
        Every dataset was verified.
    created
        Time of writing, ISO 8601 in UTC.
    versions
        dandify and the packages that had a part in it.
    sources
        The raw files.
    datasets
        The arrays.
    details
        Whatever else belongs to it, JSON values only.
    """

    output: str
    bytes: int
    sha256: str | None
    verified: bool
    created: str
    versions: Mapping[str, str]
    sources: tuple[SourceFile, ...] = ()
    datasets: tuple[ManifestDataset, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def manifest_path(output: Path) -> Path:
    """Return ``NAME.manifest.json`` beside the output."""
    return output.with_name(output.name + SUFFIX)


def write_manifest(path: Path, manifest: Manifest) -> Path:
    """Write a manifest whole or not at all, replacing one that is there.

    Parameters
    ----------
    path
        The manifest's own path, see `manifest_path`.
    manifest
        What to write.
    """
    record = {"schema": SCHEMA, **asdict(manifest)}
    for dataset, described in zip(manifest.datasets, record["datasets"], strict=True):
        described["ratio"] = round(dataset.ratio, 4)  # for people; computed again when read
    with partial_output(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    return path


def read_manifest(path: Path) -> Manifest:
    """Read what `write_manifest` wrote, in this version or an earlier one.

    Raises
    ------
    BadSource
        If it is no manifest, or one of a newer version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema = record.pop("schema")
        if not isinstance(schema, int) or schema > SCHEMA:
            raise BadSource(f"manifest of version {schema}, and this dandify knows {SCHEMA}", file=path,
                            remedy="pip install --upgrade dandify")  # fmt: skip
        sources = tuple(SourceFile(**s) for s in record.pop("sources"))
        datasets = tuple(_dataset(d) for d in record.pop("datasets"))
        return Manifest(**record, sources=sources, datasets=datasets)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadSource(f"not a manifest of dandify: {error}", file=path) from error


def _dataset(record: dict[str, Any]) -> ManifestDataset:
    record.pop("ratio", None)
    if "sha256" in record:  # schema 1 had that checksum of the values, which cost as much as encoding them
        record["xxh128"] = record.pop("sha256") and None
    chunks = record.pop("chunks")
    return ManifestDataset(
        shape=tuple(record.pop("shape")), chunks=None if chunks is None else tuple(chunks), **record
    )  # fmt: skip


def versions(*packages: str) -> dict[str, str]:
    """Versions of dandify and of the named packages, those that are installed."""
    found = {name: _version(name) for name in ("dandify", *packages)}
    return {name: number for name, number in found.items() if number is not None}


@cache  # a look-up reads and parses the package's metadata
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_sources(paths: Iterable[Path | SourceFile]) -> tuple[SourceFile, ...]:
    """Describe each path once, in order; records pass through.

    Raises
    ------
    BadRequest
        If there is no such file.
    """
    found: dict[SourceFile, None] = {}
    for path in paths:
        try:
            found[path if isinstance(path, SourceFile) else SourceFile.of(path)] = None
        except OSError as error:
            raise BadRequest(
                f"a source cannot be looked at: {error.strerror}", file=str(path), remedy="check its path"
            ) from None
    return tuple(found)


def require_json(details: Mapping[str, Any] | None) -> None:
    """Refuse values that a manifest cannot hold, before an output is made that would lack one.

    Raises
    ------
    BadRequest
        If they are no JSON values.
    """
    try:
        json.dumps(dict(details or {}))
    except (TypeError, ValueError) as error:
        raise BadRequest(f"details for the manifest: {error}", remedy="texts, numbers, lists and dicts") from None


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size


def utc(when: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def now() -> str:
    """Return the present, ISO 8601 in UTC."""
    return utc(datetime.now(UTC))
