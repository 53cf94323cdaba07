"""Brings files and folders to their place: copied, linked or moved; whole or not at all."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from dandify.dandiset.texts import PARTIAL
from dandify.errors import DandifyError
from dandify.tree_state import files_below

Mode = Literal["copy", "hardlink", "symlink", "move"]
Action = Literal["copied", "hardlinked", "symlinked", "moved", "unchanged"]

_REPLACED = ".replaced"


def same(a: Path, b: Path) -> bool:
    """Whether two files or folders hold the same.

    Size and time of the last change decide, as in rsync; where only the size agrees, the bytes do. A link to a file
    that is gone holds nothing.
    """
    if not b.exists():
        return False
    if a.is_dir() != b.is_dir():
        return False
    if not a.is_dir():
        return _same_file(a, a.stat(), b, b.stat())
    pairs = zip_longest(files_below(a), files_below(b), fillvalue=None)
    return all(
        one is not None and other is not None and one[0] == other[0]
        and _same_file(a / one[0], one[1], b / other[0], other[1])
        for one, other in pairs
    )  # fmt: skip


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(stat.st_size for _, stat in files_below(path))


def put(source: Path, target: Path, *, mode: Mode, edit: Callable[[Path], None] | None = None) -> Action:
    """Bring a file or folder to its place, over what may be there.

    It is made as ``NAME.partial`` and renamed when complete; on any failure the partial is removed and what was there
    stays.

    Parameters
    ----------
    source, target
        From where, and to where.
    mode
        ``hardlink`` falls back to a copy where the file system cannot link, ``symlink`` to a hard link and then a copy:
        Windows lets only some users make symbolic links. Of a Zarr every file is a link and the folders are not,
        because dandi takes no folder that is a link. ``move`` across file systems copies first; of what may not be
        removed it makes a copy.
    edit
        Changes the copy before it gets its final name; such a file is always copied, and the source is kept.

    Raises
    ------
    DandifyError
        If the system refuses: a full disk, missing permission.
    """
    if mode == "move" and edit is None:
        return _move(source, target)
    with _partial(target) as temporary:
        if edit is not None:
            _copy(source, temporary)
            edit(temporary)
            _keep_times(source, temporary)
        elif mode == "symlink" and _link(source, temporary, os.symlink):
            return "symlinked"
        elif mode in ("hardlink", "symlink") and _link(source, temporary, os.link):
            return "hardlinked"
        else:
            _copy(source, temporary)
    return "copied"


def _move(source: Path, target: Path) -> Action:
    """Rename in one step, not by way of a partial: a run killed in between must not leave the only copy in one."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _take_place(source, target)
    except OSError:  # another file system
        with _partial(target) as temporary:
            _copy(source, temporary)
        try:
            remove(source)
        except OSError:  # it may only be read; the copy is whole
            return "copied"
    return "moved"


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    temporary = target.with_name(target.name + PARTIAL)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove(temporary)
        yield temporary
        if temporary.exists():
            _take_place(temporary, target)
    except OSError as error:
        remove(temporary)
        raise DandifyError(
            f"could not be written: {error.strerror or error}", file=target,
            remedy="make room or mend the permissions, then run it again: what is done already is kept",
        ) from error  # fmt: skip
    except BaseException:  # Ctrl-C too
        remove(temporary)
        raise


def _take_place(temporary: Path, target: Path) -> None:
    old = target.with_name(target.name + _REPLACED)
    if target.is_dir() or (temporary.is_dir() and os.path.lexists(target)):
        remove(old)
        target.rename(old)
        try:
            temporary.rename(target)
        except BaseException:  # Ctrl-C too: what was there goes back
            old.rename(target)
            raise
    else:
        temporary.replace(target)
    remove(old)  # also that of a run that was killed between the two


def _copy(source: Path, target: Path) -> None:
    """Copy bytes and times, not permissions: raw data are often read-only, and a dandiset is worked on."""
    if source.is_dir():
        _make_folders(source, target)
        for name, stat in files_below(source):
            shutil.copyfile(source / name, target / name)
            os.utime(target / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return
    shutil.copyfile(source, target)
    _keep_times(source, target)
    with target.open("r+b") as file:
        os.fsync(file.fileno())


def _make_folders(source: Path, target: Path) -> None:
    """Make the folders of a folder that have files in them, each once."""
    for folder in sorted({name.rpartition("/")[0] for name, _ in files_below(source)}):
        (target / folder).mkdir(parents=True, exist_ok=True)


def _keep_times(source: Path, target: Path) -> None:
    stat = source.stat()
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _link(source: Path, target: Path, link: Callable[[Path, Path], None]) -> bool:
    """Link a file or every file of a folder; False, and nothing left, where the system cannot."""
    try:
        if source.is_dir():
            _make_folders(source, target)
            for name, _ in files_below(source):
                link(source / name, target / name)
        else:
            link(source, target)
    except (OSError, NotImplementedError):
        remove(target)
        return False
    return True


def _same_file(a: Path, ours: os.stat_result, b: Path, theirs: os.stat_result) -> bool:
    if ours.st_size != theirs.st_size:
        return False
    if ours.st_mtime_ns == theirs.st_mtime_ns:
        return True
    return filecmp.cmp(a, b, shallow=False)
