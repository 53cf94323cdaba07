"""Says what went wrong on the terminal: one message, with the remedy, and the exit status."""

from __future__ import annotations

import errno
import os
from types import MappingProxyType

import click

from dandify.errors import DandifyError

_PLACES = MappingProxyType({
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "check the permissions or "),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), ""),  # a file where a folder should be
})  # fmt: skip


def explain(error: BaseException) -> int:
    """Print an error and return the exit status.

    Raises
    ------
    BaseException
        The error itself, if it is none that a person can act on.
    """
    if isinstance(error, DandifyError):
        click.secho(f"error: {error}", fg="red", err=True)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        click.secho("stopped. Nothing unfinished is left under a final name; run the same command again.", err=True)
        return 1
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        click.secho(
            f"error: the disk is full: {error.filename or error}\n  remedy: free some space or choose another folder",
            fg="red",
            err=True,
        )
        return 1
    if (
        isinstance(error, OSError)
        and error.filename is not None
        and (advice := _PLACES.get(error.errno or 0)) is not None
    ):
        click.secho(
            f"error: {os.fsdecode(error.filename)}: {error.strerror}\n  remedy: {advice}choose another folder",
            fg="red",
            err=True,
        )
        return 1
    raise error
