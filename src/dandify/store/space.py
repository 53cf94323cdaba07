"""Room on the disk: looked at before a long job, and named when it runs out."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dandify.errors import DandifyError

_FULL = {errno.ENOSPC, errno.EFBIG} | {getattr(errno, name) for name in ("EDQUOT",) if hasattr(errno, name)}
_MARGIN = 0.9  # an estimate from a few chunks may be off by this much before a job is refused for it


def free_bytes(path: Path) -> int:
    """Free room where ``path`` lies or will lie."""
    folder = next(p for p in (path, *path.absolute().parents) if p.exists())
    return shutil.disk_usage(folder).free


def require_room(path: Path, needed_bytes: int) -> None:
    """Refuse a job whose output will not fit.

    Parameters
    ----------
    path
        The output.
    needed_bytes
        Its estimated size.

    Raises
    ------
    DandifyError
        If there is clearly less room.
    """
    free = free_bytes(path)
    if free < needed_bytes * _MARGIN:
        raise _full(path, needed_bytes, free)


@contextmanager
def disk_full_named(path: Path, needed_bytes: Callable[[], int]) -> Iterator[None]:
    """Turn the system's "no space left" into an error that says how much is needed and how much is free.

    HDF5 may give it as a RuntimeError with the number in its message.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = _full_number(error)
        if number is None:
            raise
        raise _full(path, needed_bytes(), free_bytes(path), os.strerror(number)) from error


def _full_number(error: OSError | RuntimeError) -> int | None:
    number = getattr(error, "errno", None)
    return number if number in _FULL else next((n for n in _FULL if f"errno = {n}," in str(error)), None)


def _full(path: Path, needed: int, free: int, said: str = "") -> DandifyError:
    return DandifyError(
        f"no room{f' ({said})' if said else ''}: up to {needed / 1e6:,.0f} MB are needed, and {free / 1e6:,.0f} MB are "
        "free", file=path,
        remedy="free some room, raise the quota or file size limit, or write to another disk",
    )  # fmt: skip
