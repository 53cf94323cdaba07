"""Checksums taken when an image was written: carried into the dandiset, and believed while its files do not change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dandify.dandiset.facts import MANIFEST
from dandify.dandiset.texts import replace_text
from dandify.tree_state import state_of

FOLDER: Final = ".dandify"
"""Below a dandiset; the dandi client passes over hidden folders."""

ZARR_CHECKSUM: Final = "dandi:dandi-zarr-checksum"
_FILE: Final = "digests.json"


@dataclass(frozen=True)
class KnownDigest:
    """A checksum as the archive takes it, and the state of the files that it is of.

    Attributes
    ----------
    algorithm, value
        `ZARR_CHECKSUM`, and the checksum.
    state
        See `dandify.tree_state.state_of`.
    """

    algorithm: str
    value: str
    state: str


def manifest_digest(path: Path) -> KnownDigest | None:
    """Return what the manifest beside a file or Zarr says; None where it says nothing, or the files have changed."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(path.with_name(path.name + MANIFEST).read_text(encoding="utf-8"))["details"]["digest"]
        return _valid(found, state_of(path))
    return None


def recorded_digest(dandiset: Path, path: str) -> KnownDigest | None:
    """Return what was noted of an asset when it was organized; None where nothing was, or its files have changed.

    Parameters
    ----------
    dandiset
        Its folder.
    path
        Of the asset, below it, with slashes.
    """
    with suppress(OSError, KeyError, TypeError):
        return _valid(_read(dandiset)[path], state_of(dandiset / path, inodes=True))
    return None


def record_digests(
    dandiset: Path, known: Mapping[PurePosixPath, KnownDigest], *, replaced: Iterable[PurePosixPath]
) -> None:
    """Note the checksums of assets that are in their place now.

    Parameters
    ----------
    dandiset
        Its folder.
    known
        By the assets' paths below it, as their manifests have them.
    replaced
        Assets that are new there; what was noted of others under their names is dropped.
    """
    before = _read(dandiset)
    gone = {str(path) for path in replaced}
    kept = {path: found for path, found in before.items() if path not in gone and (dandiset / path).exists()}
    made = {
        str(path): asdict(KnownDigest(one.algorithm, one.value, state_of(dandiset / path, inodes=True)))
        for path, one in known.items()
        if state_of(dandiset / path) == one.state  # it may have changed on the way
    }
    if (records := dict(sorted({**kept, **made}.items()))) != before:
        _write(dandiset, records)


def forget_digest(dandiset: Path, path: str) -> None:
    """Drop what was noted of an asset, and in the manifest beside it: it has turned out wrong."""
    _write(dandiset, {other: found for other, found in _read(dandiset).items() if other != path})
    manifest = (dandiset / path).with_name(PurePosixPath(path).name + MANIFEST)
    with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
        content = json.loads(manifest.read_text(encoding="utf-8"))
        if content["details"].pop("digest", None):
            replace_text(manifest, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write(dandiset: Path, records: Mapping[str, Any]) -> None:
    replace_text(dandiset / FOLDER / _FILE, json.dumps(records, indent=1) + "\n")


def _read(dandiset: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads((dandiset / FOLDER / _FILE).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _valid(record: Mapping[str, Any], state: str) -> KnownDigest | None:
    known = KnownDigest(**record)
    return known if known.state == state else None
