"""Outputs that appear whole or not at all: written as ``NAME.partial``, renamed at the end."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from dandify.errors import BadRequest, DandifyError, OutputExists
from dandify.store.flush import flush_folder, flush_tree

SUFFIX = ".partial"
_OF_ZARR = (".zgroup", ".zattrs", ".zarray", "zarr.json")
_REPLACED = ".replaced"  # the old output's name while the new one takes its place
_LONGEST = f"{SUFFIX}.old.journal"  # of what stands behind an output's name while it is written
_REMEDY = "choose another place for the output"


def partial_path(path: Path) -> Path:
    """Name under which ``path`` is written until it is complete."""
    return path.with_name(path.name + SUFFIX)


def output_path(path: Path | str) -> Path:
    """Give the path of an output: ``~`` is the home folder, and ``..`` the folder above what stands before it.

    To leave ``..`` in would make folders that nobody asked for: ``new/../out`` that of ``new``.
    """
    path = Path(path).expanduser()
    return path.resolve() if ".." in path.parts else path


def require_place(path: Path) -> None:
    """Refuse an output that cannot be made where it is to be, as far as that is known before any work.

    Raises
    ------
    BadRequest
        If a name is too long, a file is in the way, or the folder is closed.
    """
    place = path.absolute()
    try:
        _status(place.with_name(place.name + _LONGEST))
        there = next(p for p in (place.parent, *place.parent.parents) if _status(p) is not None)
        folder = there.is_dir()
    except OSError as error:
        raise _no_place(place, error) from None
    if not folder:
        raise BadRequest("is a file, and a folder is needed there", file=there, remedy=_REMEDY)
    if not os.access(there, os.W_OK | os.X_OK):
        raise _no_place(there, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _status(path: Path) -> os.stat_result | None:
    """Status of what is there; None if nothing is."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _no_place(path: Path, error: OSError) -> BadRequest:
    said = error.strerror or str(error)
    if error.errno == errno.ENAMETOOLONG:
        longest = max(path.parts, key=len)
        return BadRequest(
            f"cannot be made: {said}: a name of {len(longest)} characters, behind which up to {len(_LONGEST)} more "
            "stand meanwhile", file=path, remedy="choose shorter names for the output",
        )  # fmt: skip
    closed = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return BadRequest(
        f"cannot be made: {said}", file=path, remedy=f"{'mend its permissions, or ' if closed else ''}{_REMEDY}"
    )


def require_absent(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that exists, or that cannot be made there.

    Raises
    ------
    OutputExists
        If it is there and ``overwrite`` is not set.
    BadRequest
        As `require_place` does.
    """
    if os.path.lexists(path):
        if not overwrite:
            raise OutputExists("the output exists already", file=path, remedy="choose another name, or overwrite it")
    else:
        require_place(path)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    BadRequest
        If it cannot be made: a file is in the way, or the system refuses.
    OSError
        If the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        wrong = next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), None)
        if wrong is None:
            raise _no_place(folder, error) from None
        raise BadRequest("is a file, and a folder is needed there", file=wrong, remedy=_REMEDY) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _no_place(folder, error) from None


def require_replaceable(path: Path, *, directory: bool) -> None:
    """Refuse to replace what can be no earlier output: a file by a folder or the reverse, and a folder that is no Zarr.

    Parameters
    ----------
    path
        The output.
    directory
        It is to be a folder.

    Raises
    ------
    OutputExists
        Whether or not it may be overwritten: somebody's other files may lie in there.
    """
    if not os.path.lexists(path) or (not directory and not path.is_dir()):
        return
    if not directory or not path.is_dir():
        found, wanted = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise OutputExists(
            f"it is a {found}, and the output a {wanted}", file=path, remedy="choose another name, or remove it"
        )
    if any(path.iterdir()) and not any((path / name).is_file() for name in _OF_ZARR):
        raise OutputExists(
            "it is a folder with other files, and no Zarr", file=path, remedy="choose another name, or remove it"
        )


@contextmanager
def partial_output(path: Path, *, overwrite: bool, directory: bool = False) -> Iterator[Path]:
    """Give the name to write to; rename it when the block ends, remove it when the block fails.

    Parameters
    ----------
    path
        The final name. Its folder is made if need be.
    overwrite
        Replace what is there. The old output stays in place until the new one is complete.
    directory
        The output is a folder; it is made empty. Otherwise it is a file, and the block makes it.

    Yields
    ------
    pathlib.Path
        ``NAME.partial``. What an earlier, killed run left under that name is removed first.

    Raises
    ------
    OutputExists
        Before anything is done, if the output exists and ``overwrite`` is not set.
    """
    require_absent(path, overwrite=overwrite)
    temporary = partial_path(path)
    make_folder(path.parent)
    remove(temporary)
    try:
        if directory:
            temporary.mkdir()
        yield temporary
        finish_output(temporary, path, overwrite=overwrite)
    except BaseException:  # Ctrl-C too: nothing half-written stays
        remove(temporary)
        raise


def finish_output(temporary: Path, path: Path, *, overwrite: bool, flushed: Collection[Path] = ()) -> None:
    """Put what was written on the disk, and give it its final name.

    Parameters
    ----------
    temporary, path
        Its names until now, and from now on.
    overwrite
        Replace what is there.
    flushed
        Files of a folder that are on the disk already.

    Raises
    ------
    OutputExists
        If that name was taken meanwhile and ``overwrite`` is not set.
    DandifyError
        If there is nothing.
    """
    if not temporary.exists():
        raise DandifyError("nothing was written", file=temporary)
    flush_tree(temporary, but=flushed)
    require_absent(path, overwrite=overwrite)  # it may have appeared while we worked
    _take_place(temporary, path)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _take_place(temporary: Path, path: Path) -> None:
    """Rename over what is there: in one step for files, by way of ``NAME.replaced`` where folders are involved."""
    if path.is_dir() or (temporary.is_dir() and path.exists()):
        old = path.with_name(path.name + _REPLACED)
        remove(old)
        path.rename(old)
        try:
            temporary.replace(path)
        except BaseException:
            old.rename(path)
            raise
        remove(old)
    else:
        temporary.replace(path)
    flush_folder(path.parent)
