"""Outputs that a stopped run may go on with: ``NAME.partial``, a journal beside it, and a lock on both."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dandify.errors import DandifyError, VerificationFailed
from dandify.store.flush import Flusher, flush_tree
from dandify.store.journal import Candidates, EarlierRun, Entry, Journal, JournalWriter, read_journal
from dandify.store.partial import (
    finish_output,
    make_folder,
    partial_path,
    remove,
    require_absent,
    require_replaceable,
)

JOURNAL = ".journal"  # behind the partial name
OLD = ".old"  # behind the partial name: what a stopped run wrote, while this run takes its chunks
LOCK = ".lock"
_turn = threading.Lock()
_held: set[Path] = set()


@dataclass
class Attempt:
    """One run that writes an output.

    Attributes
    ----------
    partial
        Name to write to.
    resumed, changed
        Chunks taken from a stopped run, and chunks of it whose values the source holds no more.
    fresh_because
        Why nothing was taken from a stopped run that there was; None if there was none, or it was used.
    flusher
        To be told of files that have grown.
    """

    partial: Path
    resumed: int = 0
    changed: int = 0
    fresh_because: str | None = None
    flusher: Flusher = field(default_factory=Flusher, repr=False)
    _old: Path | None = None
    _earlier: Journal | None = None
    _writer: JournalWriter | None = field(default=None, repr=False)

    def begin(self, request: Mapping[str, Any], places: Sequence[str]) -> None:
        """Begin the journal, and compare what is to be done with what the stopped run was to do.

        Parameters
        ----------
        request
            Every value that decides what the chunks become, by what a person would call it; JSON values only.
        places
            Of the datasets.
        """
        said = json.loads(json.dumps(request))
        if self._earlier is not None and (differs := _different(self._earlier.request, said)):
            self.fresh_because = f"of another {', another '.join(differs)}"
            self._earlier = None
            self._drop_old()
        self._writer = JournalWriter(_journal(self.partial), said, list(places))

    def earlier(self, place: str, find: Callable[[Path], Candidates] | None = None) -> EarlierRun:
        """Give the finished chunks of a dataset; ``find`` finds them in what the stopped run wrote, if not as NWB."""
        if self._writer is None:
            raise DandifyError("the journal has not begun", file=self.partial)
        entries: Mapping[tuple[str, tuple[int, ...]], Entry] = self._earlier.entries if self._earlier else {}
        return EarlierRun(place, self._writer, self._old, entries, find)

    def filled(self) -> None:
        """Let go of what the stopped run wrote: all its chunks are in this run's output."""
        if self._old is not None:
            flush_tree(self.partial)
        self._drop_old()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of a run that was stopped before this one."""
        notes = []
        if self.resumed:
            notes.append(f"went on where an earlier run was stopped: {self.resumed} chunks were finished")
        if self.changed:
            notes.append(f"{self.changed} chunks of the earlier run were written anew, for the source has changed")
        if self.fresh_because:
            notes.append(f"started over, for the earlier run was {self.fresh_because}")
        return tuple(notes)

    @property
    def worth_keeping(self) -> bool:
        """Whether a later run could go on with what this run has done."""
        return self._writer is not None and self._writer.count > 0

    def _drop_old(self) -> None:
        if self._old is not None:
            remove(self._old)
            remove(_journal(self._old))
            self._old = None

    def close(self) -> None:
        """Close the journal."""
        if self._writer is not None:
            self._writer.close()


@contextmanager
def resumable_output(
    path: Path, *, overwrite: bool, directory: bool = False, beside: Path | None = None
) -> Iterator[Attempt]:
    """Give the name to write to, as `partial_output` does; but when the block stops, what is finished stays.

    The same request, made again, finds the journal of the stopped run and takes its finished chunks. What was written
    around them is written anew: after a kill, the tables of an HDF5 file cannot be trusted, and its chunks can, for
    each is compared with its checksum.

    Parameters
    ----------
    path
        The final name. Its folder is made if need be.
    overwrite
        Replace what is there. The old output stays in place until the new one is complete.
    directory
        The output is a folder; it is made empty. Otherwise it is a file, and the block makes it.
    beside
        What the partial name is made of, where another than the final one: what is written into something that is
        complete leaves nothing in it before it is complete itself. On the same file system.

    Raises
    ------
    OutputExists
        Before anything is done, if the output exists and ``overwrite`` is not set, or is no such output.
    DandifyError
        If another process is writing it.
    """
    require_absent(path, overwrite=overwrite)
    require_replaceable(path, directory=directory)
    partial = partial_path(beside or path)
    make_folder(partial.parent)
    with _only_one(path, partial):
        attempt = Attempt(partial)
        attempt._old, attempt._earlier = _set_aside(partial)
        if attempt._old is None and partial.exists():
            remove(partial)
        try:
            with attempt.flusher:
                if directory:
                    partial.mkdir()
                yield attempt
            path.parent.mkdir(parents=True, exist_ok=True)
            finish_output(partial, path, overwrite=overwrite, flushed=attempt.flusher.flushed)
        except VerificationFailed:  # what is there is not what it should be: nobody may go on with it
            attempt.close()
            _clear(partial)
            raise
        except BaseException:  # Ctrl-C too: what is finished stays
            attempt.close()
            if not attempt.worth_keeping and attempt._earlier is None:
                _clear(partial)
            raise
        attempt.close()
        _clear(partial)


def leftovers(path: Path) -> tuple[Path, ...]:
    """List what a stopped run has left of an output: data and journals."""
    partial = partial_path(path)
    old = partial.with_name(partial.name + OLD)
    return tuple(p for p in (partial, _journal(partial), old, _journal(old)) if p.exists())


def _journal(partial: Path) -> Path:
    return partial.with_name(partial.name + JOURNAL)


def _set_aside(partial: Path) -> tuple[Path | None, Journal | None]:
    """Move what a stopped run wrote out of the way; of two of them, keep the one that got further.

    A run that was stopped while it took chunks from an older one leaves both. Chunks are finished in the same order by
    every run, so the one with more of them has all of the other's.
    """
    old = partial.with_name(partial.name + OLD)
    if _journal(old).exists() and not old.exists() and partial.exists() and not _journal(partial).exists():
        partial.rename(old)
    found = {p: read_journal(_journal(p)) for p in (partial, old) if p.exists()}
    usable = {p: j for p, j in found.items() if j is not None and j.entries}
    if not usable:
        _clear(partial)
        return None, None
    best = max(usable, key=lambda p: len(usable[p].entries))
    if best == partial:
        remove(old)
        remove(_journal(old))
        _journal(partial).replace(_journal(old))  # killed here, the next run finds a journal whose data are to follow
        partial.rename(old)
    else:
        remove(_journal(partial))
        remove(partial)
    return old, usable[best]


def _clear(partial: Path) -> None:
    """Remove all that a run leaves but its lock."""
    old = partial.with_name(partial.name + OLD)
    for path in (_journal(partial), _journal(old), old, partial):
        remove(path)


def _different(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [key for key in {**before, **now} if before.get(key) != now.get(key)]


@contextmanager
def _only_one(path: Path, partial: Path) -> Iterator[None]:
    """Hold the lock of an output, which the system frees when the process ends, however it ends."""
    from fasteners import InterProcessLock

    name = partial.with_name(partial.name + LOCK).absolute()
    lock = InterProcessLock(name)
    with _turn:
        free = name not in _held  # the system's lock is the process's: it does not keep out another of its threads
        while free:
            free = lock.acquire(blocking=False)
            if not free or _is(name, lock.lockfile.fileno()):
                break
            lock.release()  # whoever had it has removed its file meanwhile
        if not free:
            if lock.lockfile is not None:
                lock.lockfile.close()
            raise DandifyError("another process is writing this output", file=path, remedy="wait for it, or stop it")
        _held.add(name)
    try:
        yield
    finally:
        with _turn:
            _held.discard(name)
            with suppress(OSError):
                name.unlink()  # before it is free, or another's might be removed;
            lock.release()
            if os.name == "nt":
                with suppress(OSError):
                    name.unlink()  # but Windows removes no open files


def _is(name: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(name.stat(), os.fstat(descriptor))
    except OSError:
        return False
