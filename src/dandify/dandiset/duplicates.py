"""Finds files and Zarrs of a dandiset that hold the same; only what has the same size is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from dandify.findings import Finding, Severity
from dandify.tree_state import files_below

_BLOCK: Final = 4 * 2**20
_OFTEN: Final = frozenset({"video", "picture"})  # two NWB files may well have one video

T = TypeVar("T")


def duplicates(assets: Iterable[tuple[Path, str]]) -> Iterator[Finding]:
    """Yield a finding for each asset that holds what another, earlier in the order of paths, does.

    Parameters
    ----------
    assets
        Paths and their kinds (`dandify.dandiset.validate.FileVerdict`).
    """
    kinds = dict(assets)
    for same_size in _groups([(_size(path), path) for path in sorted(kinds)]):
        if not _size(same_size[0])[2]:
            continue  # of an empty file that is the fault, and not that there is another
        for paths in _groups([(_content(path), path) for path in same_size]):
            for path in paths[1:]:
                severity: Severity = "HINT" if kinds[path] in _OFTEN else "WARNING"
                yield Finding(
                    "dandify.duplicate", "dandify", "file", severity,
                    f"holds the same as {os.path.relpath(paths[0], path.parent)}", path,
                    remedy="leave one out, unless both are meant",
                )  # fmt: skip


def _groups(keyed: Iterable[tuple[T, Path]]) -> list[list[Path]]:
    """Return the paths that share a key with others."""
    found: dict[T, list[Path]] = {}
    for key, path in keyed:
        found.setdefault(key, []).append(path)
    return [paths for paths in found.values() if len(paths) > 1]


def _size(path: Path) -> tuple[bool, int, int]:
    """Return whether it is a folder, the number of its files, and their bytes."""
    if not path.is_dir():
        return False, 1, path.stat().st_size
    number = total = 0
    for _, stat in files_below(path):
        number, total = number + 1, total + stat.st_size
    return True, number, total


def _content(path: Path) -> bytes:
    """Return a digest of a file, or of all files of a folder and their names."""
    digest = hashlib.blake2b(digest_size=16)
    for name, stat in files_below(path) if path.is_dir() else [("", path.stat())]:
        digest.update(f"{name}\0{stat.st_size}\0".encode())
        with (path / name).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.digest()
