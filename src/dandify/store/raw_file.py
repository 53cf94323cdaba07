"""Bytes to a place in a file with as few calls to the system as there can be: images have files by the thousand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_BINARY: Final = getattr(os, "O_BINARY", 0)  # Windows would write line ends of its own


@contextmanager
def opened(path: Path | str, flags: int) -> Iterator[int]:
    """Open a file with these flags of `os.open`, and close it again; gives its descriptor."""
    descriptor = os.open(path, flags | _BINARY, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_new(path: Path | str, data: bytes) -> None:
    """Write a file, in place of one that is there."""
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
        _write_all(descriptor, data)


def write_at(path: Path | str, start: int, data: bytes) -> None:
    """Write into a file that is there, from a byte on."""
    with opened(path, os.O_WRONLY) as descriptor:
        os.lseek(descriptor, start, os.SEEK_SET)
        _write_all(descriptor, data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
