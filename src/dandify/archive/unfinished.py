"""Uploads that were begun at an archive and never finished: those of this folder are removed, others are told."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dandify.dandiset.digests import FOLDER

_FILE: Final = "uploads.jsonl"
_BEGIN: Final = "/uploads/initialize"
_turn = threading.Lock()
_held: set[Path] = set()  # folders that this process uploads: the system's lock does not keep out its other threads


@dataclass(frozen=True)
class Unfinished:
    """Uploads that were open at the archive when an upload had ended. While there are any, no embargo can be lifted.

    Attributes
    ----------
    removed
        How many had been begun from this folder by runs that were stopped or failed; they are gone now.
    left
        When each of those was begun that are still there: not all of them are of this folder, and somebody may be
        sending one.
    embargoed
        Whether the dandiset is embargoed; not asked if none is left.
    """

    removed: int = 0
    left: tuple[str, ...] = ()
    embargoed: bool = False


class Begun:
    """The uploads that were begun from a folder, written down as they begin: who is killed cannot do it afterwards.

    Parameters
    ----------
    file
        Where they are written; None if nothing may be written there, or another process uploads the folder now.
    archive
        Its address: the folder may go to several.
    """

    def __init__(self, file: Path | None, archive: str) -> None:
        self._file, self._archive = file, archive
        self._lock = threading.Lock()
        self._records = _read(file) if file is not None else []

    @property
    def ids(self) -> set[str]:
        """Those at this archive, which nobody is sending when this process is not."""
        return {upload for archive, upload in self._records if archive == self._archive}

    def watch(self, client: Any) -> None:
        """Note each upload that a client of dandi begins from now on."""
        if self._file is not None:
            client.session.hooks["response"].append(self._seen)

    def forget(self) -> None:
        """Drop those at this archive: they are finished or removed."""
        self._records = [record for record in self._records if record[0] != self._archive]
        if self._file is not None:
            with suppress(OSError):
                if self._records:
                    self._file.write_text("".join(map(_line, self._records)), encoding="utf-8")
                else:
                    self._file.unlink(missing_ok=True)

    def _seen(self, answer: Any, **_: object) -> None:
        request = answer.request
        if request.method != "POST" or not answer.ok or not request.path_url.rstrip("/").endswith(_BEGIN):
            return
        record = (self._archive, str(answer.json()["upload_id"]))
        with self._lock:
            self._records.append(record)
            if self._file is not None:
                with suppress(OSError), self._file.open("a", encoding="utf-8") as stream:
                    stream.write(_line(record))


@contextmanager
def begun(dandiset: Path, archive: str) -> Iterator[Begun]:
    """Yield the uploads that were begun from a folder; those of runs before this one are known to be over.

    Parameters
    ----------
    dandiset
        Its folder.
    archive
        The address of the archive's API.
    """
    folder = (dandiset / FOLDER).resolve()
    with _alone_with(folder) as alone:
        yield Begun(folder / _FILE if alone else None, archive)
    with suppress(OSError):
        folder.rmdir()  # if nothing is in it


@contextmanager
def _alone_with(folder: Path) -> Iterator[bool]:
    """Hold a lock in a folder, which the system frees when the process ends; yield whether it is held."""
    from fasteners import InterProcessLock

    with _turn:
        taken = folder in _held
        _held.add(folder)
    name = folder / f"{_FILE}.lock"
    lock, ours = InterProcessLock(name), False
    try:
        if not taken:
            with suppress(OSError):  # a folder that may only be read
                folder.mkdir(exist_ok=True)
                ours = lock.acquire(blocking=False)
                ours = ours and os.path.samestat(name.stat(), os.fstat(lock.lockfile.fileno()))
        yield ours
    finally:
        if ours:
            with suppress(OSError):
                name.unlink()  # while it is held, or another's might be removed;
        if lock.acquired:
            lock.release()
            if os.name == "nt":
                with suppress(OSError):
                    name.unlink()  # but Windows removes no open files
        elif lock.lockfile is not None:
            lock.lockfile.close()
        if not taken:
            with _turn:
                _held.discard(folder)


def settle(client: Any, identifier: str, known: Begun) -> Unfinished:
    """Remove what stopped runs have left open at the archive, if all that is open is theirs; else say what is.

    The archive removes all uploads of a dandiset or none (dandi-archive, dandiset_uploads_view), so that it is asked
    only if none can be somebody else's; one that begins between the two requests would have to begin again.

    Parameters
    ----------
    client
        Of dandi, authenticated.
    identifier
        Six digits.
    known
        What was begun from the folder. Nothing may be under way.

    Raises
    ------
    requests.RequestException
        If the archive does not answer any more.
    """
    import requests

    place = f"/dandisets/{identifier}/uploads/"
    ours = known.ids
    try:
        there = list(client.paginate(place))
        if all(one["upload_id"] in ours for one in there):
            if there:
                client.delete(place)
            known.forget()
            return Unfinished(removed=len(there))
    except requests.HTTPError:  # it has no such list, or gives no part in it
        return Unfinished()
    embargoed = client.get(f"/dandisets/{identifier}/").get("embargo_status") != "OPEN"
    return Unfinished(left=tuple(sorted(str(one.get("created", "")) for one in there)), embargoed=embargoed)


def _line(record: tuple[str, str]) -> str:
    return json.dumps(record) + "\n"


def _read(file: Path) -> list[tuple[str, str]]:
    found = []
    with suppress(OSError, UnicodeDecodeError):
        for line in file.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # the last line of a killed run may be half a line
                archive, upload = json.loads(line)
                found.append((str(archive), str(upload)))
    return found
