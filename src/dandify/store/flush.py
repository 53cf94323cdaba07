"""Putting what was written on the disk: at the end, and meanwhile, so that nobody waits for it at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_SECONDS: Final = 0.05  # how often a growing file is looked at
_BYTES: Final = 32_000_000  # by which a file, or all files together, have grown before they are flushed
_FLUSHES: Final = 8  # files flushed at one time


def flush_file(path: Path) -> None:
    """Have the system put a file's bytes on the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def flush_tree(path: Path, *, but: Container[Path] = ()) -> None:
    """Have the system put a file, or all files of a folder, on the disk; many at a time, which disks like better.

    ``but`` has those that lie there already.
    """
    if not path.is_dir():
        flush_file(path)
        return
    with ThreadPoolExecutor(_FLUSHES, thread_name_prefix="dandify-flush") as pool:
        for _ in pool.map(flush_file, (f for f in path.rglob("*") if f.is_file() and f not in but)):
            pass
    for folder in (path, *(f for f in path.rglob("*") if f.is_dir())):
        flush_folder(folder)


@contextmanager
def flushed_meanwhile(path: Path) -> Iterator[None]:
    """Have the system put a growing file on the disk while it is written, so that nobody waits for it at the end."""
    if not path.is_file():
        yield
        return
    ended = threading.Event()

    def flush() -> None:
        size = path.stat().st_size
        while not ended.wait(_SECONDS):
            if path.stat().st_size - size > _BYTES:
                size = path.stat().st_size
                with suppress(OSError):  # the last flush, which counts, says what is wrong
                    flush_file(path)

    thread = threading.Thread(target=flush, name="dandify-flush")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def flush_folder(path: Path) -> None:
    """Have the system put a folder's entries on the disk, where the platform can."""
    if os.name == "nt":  # Windows opens no folders
        return
    with suppress(OSError):  # some network file systems refuse; the rename itself is done
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Flusher:
    """Flushes files while others are written, in threads of its own.

    Errors are left to `flush_tree` at the end.

    Parameters
    ----------
    flushed
        Takes the files that lie on the disk as they are.
    """

    def __init__(self, flushed: set[Path] | None = None) -> None:
        self._flushed = set() if flushed is None else flushed
        self._turn = threading.Lock()
        self._grown: set[Path] = set()
        self._bytes = 0
        self._pool = ThreadPoolExecutor(1, "dandify-flush")
        self._many = ThreadPoolExecutor(_FLUSHES, "dandify-flush-file")  # file by file, each would wait for the disk
        self._running = False

    def grown(self, path: Path, size: int) -> None:
        """Note that a file has grown; from any thread."""
        with self._turn:
            self._grown.add(path)
            self._flushed.discard(path)
            self._bytes += size
            if self._running or self._bytes < _BYTES:
                return
            self._running = True
        self._pool.submit(self._flush)

    def _flush(self) -> None:
        while True:
            with self._turn:
                if self._bytes < _BYTES:
                    self._running = False
                    return
                paths, self._grown, self._bytes = self._grown, set(), 0
            for _ in self._many.map(self._flush_one, paths):
                pass

    def _flush_one(self, path: Path) -> None:
        with suppress(OSError):
            flush_file(path)
            with self._turn:
                if path not in self._grown:  # meanwhile
                    self._flushed.add(path)

    def close(self) -> None:
        """Wait for what is being flushed."""
        self._pool.shutdown(wait=True)
        self._many.shutdown(wait=True)

    def __enter__(self) -> Flusher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
