"""Putting what was written on the disk: at the end, and meanwhile, so that nobody waits for it at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dandify.store.raw_file import opened

_SECONDS: Final = 0.05  # how often a growing file is looked at
_BYTES: Final = 32_000_000  # by which a file, or all files together, have grown before they are flushed
_FLUSHES: Final = 8  # files flushed at one time


def flush_file(path: Path) -> None:
    """Have the system put a file's bytes on the disk."""
    with opened(path, os.O_RDWR) as descriptor:
        os.fsync(descriptor)


def flush_tree(path: Path, *, but: Collection[Path] = ()) -> None:
    """Have the system put a file, or all files of a folder, on the disk; many at a time, which disks like better.

    Parameters
    ----------
    path
        The file or folder.
    but
        Files that are there already, see `Flusher.flushed`. Folders are flushed all the same.
    """
    if not path.is_dir():
        flush_file(path)
        return
    flushed, folders, files = {os.fspath(one) for one in but}, [], []
    for folder, _, names in os.walk(path):
        folders.append(Path(folder))
        files += [Path(name) for name in (os.path.join(folder, n) for n in names) if name not in flushed]
    with ThreadPoolExecutor(_FLUSHES, thread_name_prefix="dandify-flush") as pool:
        for _ in pool.map(flush_file, files):
            pass
        for _ in pool.map(flush_folder, folders):
            pass


@contextmanager
def flushed_meanwhile(path: Path) -> Iterator[None]:
    """Have the system put a growing file on the disk while it is written, so that nobody waits for it at the end."""
    if not path.is_file():
        yield
        return
    ended, before = threading.Event(), path.stat().st_size

    def flush() -> None:
        size = before
        while not ended.wait(_SECONDS):
            if path.stat().st_size - size > _BYTES:
                size = path.stat().st_size
                flush_file(path)

    with ThreadPoolExecutor(1, "dandify-flush") as pool:
        flushing = pool.submit(flush)
        try:
            yield
        finally:
            ended.set()
        flushing.result()  # the system tells of a failed write once, and a later flush would find nothing wrong


@contextmanager
def flushed_beside(path: Path) -> Iterator[None]:
    """Have the system put a file on the disk while something else is done with it; it is there when that is done."""
    if not path.is_file():
        yield
        return
    with ThreadPoolExecutor(1, "dandify-flush") as pool:
        flushing = pool.submit(flush_file, path)
        yield
        flushing.result()


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
    """Flushes files while others are written, in threads of its own."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._grown: set[Path] = set()
        self._flushed: set[Path] = set()
        self._failed: OSError | None = None
        self._bytes = 0
        self._pool = ThreadPoolExecutor(1, "dandify-flush")
        self._many = ThreadPoolExecutor(_FLUSHES, "dandify-flush-file")  # file by file, each would wait for the disk
        self._running = self._hurried = False

    @property
    def flushed(self) -> frozenset[Path]:
        """Files that are on the disk as far as they were noted."""
        with self._turn:
            return frozenset(self._flushed)

    def grown(self, path: Path, size: int) -> None:
        """Note that a file is new or has grown, and by how many bytes; from any thread."""
        with self._turn:
            self._grown.add(path)
            self._flushed.discard(path)
            self._bytes += size
            if self._running or self._bytes < _BYTES:
                return
            self._running = True
        self._pool.submit(self._flush)

    def hurry(self) -> None:
        """Begin to flush all that was noted, however little it is: no more will come for a while."""
        with self._turn:
            self._hurried = bool(self._grown)
            if self._running or not self._hurried:
                return
            self._running = True
        self._pool.submit(self._flush)

    def _flush(self) -> None:
        while True:
            with self._turn:
                if self._bytes < _BYTES and not self._hurried:
                    self._running = False
                    return
                paths, self._grown, self._bytes, self._hurried = self._grown, set(), 0, False
            for _ in self._many.map(self._flush_one, paths):
                pass

    def _flush_one(self, path: Path) -> None:
        try:
            flush_file(path)
        except FileNotFoundError:  # it was removed
            return
        except OSError as error:  # the system tells of a failed write once: `close` must say so
            self._failed = self._failed or error
            return
        with self._turn:
            if path not in self._grown:  # meanwhile
                self._flushed.add(path)

    def close(self) -> None:
        """Wait for what is being flushed.

        Raises
        ------
        OSError
            If something could not be put on the disk.
        """
        self._pool.shutdown(wait=True)
        self._many.shutdown(wait=True)
        if self._failed is not None:
            raise self._failed

    def __enter__(self) -> Flusher:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(*(() if kind is None else (OSError,))):  # what ended the block says more
            self.close()
