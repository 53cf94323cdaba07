"""Checks of an image's folder as files: depth, sizes, what does not belong there, what the manifest says of each."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

from dandify.errors import BadSource
from dandify.ngff.problems import Problem
from dandify.ngff.stored import DOCUMENTS
from dandify.store.manifest import Manifest, manifest_path, read_manifest

Share = Literal["full", "sample", "none"]
SHARES: Final = ("full", "sample", "none")
SAMPLE_STEP: Final = 16  # of a sample, one of so many is looked at

MAX_DEPTH: Final = 7  # dandi 0.81: tree_depth_exceeded
MAX_FILE_BYTES: Final = 5 * 2**30  # dandi: S3's largest single upload
_AT_A_TIME: Final = 1024  # files that threads are given at one go
_LEFT_BEHIND: Final = (".partial", "__lock", ".tmp", ".part", ".dandidownload")
_DESKTOP: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_ORIGINAL: Final = "OME"  # bioformats2raw and dandify keep the metadata of the source there


def check_tree(root: Path, files: Sequence[str]) -> Iterator[Problem]:
    """Yield what DANDI refuses because of its place or size, and what interrupted writes left behind."""
    deep = [f for f in files if f.count("/") >= MAX_DEPTH]
    if deep:
        yield Problem(
            "ngff.too_deep", "ERROR", root / deep[0],
            f"{len(deep)} file(s) lie deeper than {MAX_DEPTH} parts, which DANDI refuses",
            "write it with chunk names separated by dots (OME-Zarr 0.5), or without a group around the image",
        )  # fmt: skip
    for inside in files:
        name = inside.rpartition("/")[2]
        if name.endswith(_LEFT_BEHIND):
            yield Problem(
                "ngff.leftover", "ERROR", root / inside, "left behind by a write or download that was interrupted",
                "write the image again; delete the file if it is known to be complete",
            )  # fmt: skip
        elif name in _DESKTOP or name.startswith("._"):
            yield Problem("ngff.stray", "WARNING", root / inside, "does not belong to the image", "delete it")
        if (size := (root / inside).stat().st_size) > MAX_FILE_BYTES:
            yield Problem(
                "ngff.too_large", "ERROR", root / inside,
                f"{size / 2**30:.1f} GiB, and DANDI takes files of up to 5 GiB", "write it with smaller shards",
            )  # fmt: skip


def check_strays(root: Path, files: Sequence[str], arrays: Collection[Path]) -> Iterator[Problem]:
    """Yield files outside of all arrays that are no metadata; those within arrays are looked at with their chunks."""
    folders = {array.relative_to(root).as_posix() for array in arrays}
    for inside in files:
        parts = inside.split("/")
        if parts[-1] in DOCUMENTS or known_stray(parts[-1]) or parts[0] == _ORIGINAL or "." in folders:
            continue
        if not any("/".join(parts[:n]) in folders for n in range(1, len(parts))):
            yield Problem(
                "ngff.stray", "WARNING", root / inside, "belongs to nothing that the metadata describe", "delete it"
            )


def known_stray(name: str) -> bool:
    """Whether `check_tree` has something to say of a file of this name."""
    return name.endswith(_LEFT_BEHIND) or name in _DESKTOP or name.startswith("._")


def check_manifest(root: Path, files: Sequence[str], share: Share) -> tuple[list[Problem], bool]:
    """Hold the files against dandify's manifest, if it lies beside.

    Returns
    -------
    tuple
        Problems, and whether every file is byte by byte what was written and verified then.
    """
    path = manifest_path(root)
    if not path.is_file():
        return [], False
    try:
        manifest = read_manifest(path)
        listed: dict[str, dict[str, Any]] = manifest.details.get("files", {})
    except BadSource as error:
        return [Problem("ngff.manifest_damaged", "WARNING", path, error.cause, "delete it, or convert again")], False
    problems = list(_sizes(root, listed))
    chosen = sorted(set(listed) - {p.path.relative_to(root).as_posix() for p in problems})
    chosen = chosen[:: {"full": 1, "sample": SAMPLE_STEP, "none": len(chosen) + 1}[share]] if share != "none" else []
    for name, found in _sums(root, chosen):
        if found != listed[name]["md5"]:
            problems.append(Problem(
                "ngff.file_changed", "ERROR", root / name,
                f"its MD5 is {found}, and {listed[name]['md5']} was written: bits have changed",
                "convert again, or fetch the file from a good copy",
            ))  # fmt: skip
    strange = any(name not in listed for name in files)
    return problems, share == "full" and not problems and not strange and _proven(manifest)


def _sums(root: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the MD5 of each file; some at a time, because what waits for a thread takes more room than its name."""
    with ThreadPoolExecutor(thread_name_prefix="dandify-md5") as pool:
        for start in range(0, len(names), _AT_A_TIME):
            some = names[start : start + _AT_A_TIME]
            yield from zip(some, pool.map(lambda name: _md5(root / name), some), strict=True)


def _sizes(root: Path, listed: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    for name, known in listed.items():
        file = root / name
        size = file.stat().st_size if file.is_file() else None
        if size != known["size"]:
            found = "is missing" if size is None else f"has {size} bytes"
            yield Problem(
                "ngff.file_changed", "ERROR", file, f"{found}; {known['size']} bytes were written",
                "convert again, or fetch the file from a good copy",
            )  # fmt: skip


def _proven(manifest: Manifest) -> bool:
    return manifest.verified and bool(manifest.datasets) and all(d.verified for d in manifest.datasets)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
