"""The files below a folder, those to pass over, and whether they are what something was said of; nothing is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path


def state_of(path: Path, *, inodes: bool = False) -> str:
    """Return a checksum over the name, size and time of change (in ns) of a file, or of every file in a folder.

    Parameters
    ----------
    path
        A file or a folder.
    inodes
        Over the numbers under which the file system has the files, too: where these stay what they were, nothing took
        a file's place. A copy has others. Windows gives none while it lists a folder; there they are left out.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, stat in files_below(path) if path.is_dir() else [("", path.stat())]:
        inode = stat.st_ino if inodes else 0
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{inode}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def missing_target(path: Path) -> str | None:
    """Return where a link leads if nothing is there, as with git-annex where content was not got; else None."""
    return os.readlink(path) if path.is_symlink() and not path.exists() else None


def leads_back(path: Path) -> bool:
    """Whether a path is a link to a folder that it lies in: who followed it would never come to an end."""
    return path.is_symlink() and path.resolve() in path.parent.resolve().joinpath("x").parents


def is_ignored(path: Path, root: Path, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns matches a file's path below a folder, or a name in it; of others, the file's name."""
    below = path.relative_to(root) if path != root and path.is_relative_to(root) else Path(path.name)
    names = (below.as_posix(), *below.parts)
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def files_below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files in a folder at any depth by their names below it, with slashes, and their sizes and times.

    They come folder by folder in the order of names, and one at a time: a Zarr may have millions.
    """

    def look(below: str) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(folder / below) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.is_dir():
                yield from look(f"{below}{entry.name}/")
            elif entry.is_file():
                yield below + entry.name, entry.stat()

    return look("")
