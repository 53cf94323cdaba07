"""What a dandiset says of the subject, session and sample in a file's name: its tables, and the files beside it."""

from __future__ import annotations

import csv
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePath
from typing import Final

from dandify.dandiset.content import NwbContent, read_content
from dandify.dandiset.facts import kind_of
from dandify.dandiset.names import sanitize_label
from dandify.errors import BadRequest, BadSource

Row = Mapping[str, str]

_ENTITY: Final = re.compile(r"(?:^|_)(?P<key>[a-z]+)-(?P<value>[0-9A-Za-z+.-]+)(?=_|$)")
_ABSENT: Final = frozenset({"", "n/a"})


def entities_of(path: PurePath) -> dict[str, str]:
    """Return the parts ``key-value`` of a path's names, those of the file first: ``sub``, ``ses``, ``sample``, ..."""
    found: dict[str, str] = {}
    for name in (path.name, *reversed(path.parent.parts)):
        for match in _ENTITY.finditer(name.split(".")[0]):
            found.setdefault(match["key"], match["value"])
    return found


class Context:
    """The tables of a dandiset and the NWB files in it; each is read when it is first asked for, and once.

    Parameters
    ----------
    dandiset
        Its folder.
    alone
        Know of nothing but the file that is asked about: no tables, no other files.
    """

    def __init__(self, dandiset: Path, *, alone: bool = False) -> None:
        self.dandiset = dandiset
        self._alone = alone
        self._contents: dict[Path, NwbContent | BadSource] = {}
        self._files: dict[str, tuple[Path, ...]] = {}
        self._lock = threading.RLock()

    def content(self, nwb: Path) -> NwbContent:
        """Return what an NWB file says.

        Raises
        ------
        BadSource
            If it is damaged, or no NWB.
        """
        with self._lock:
            if nwb not in self._contents:
                kind = kind_of(nwb)
                try:
                    if kind not in ("nwb", "nwb-zarr"):
                        raise BadSource("no NWB", file=nwb)
                    self._contents[nwb] = read_content(nwb, kind)
                except BadSource as error:
                    self._contents[nwb] = error
            found = self._contents[nwb]
        if isinstance(found, BadSource):
            raise found
        return found

    def participant(self, label: str) -> Row:
        """Return the row of ``participants.tsv``; empty if there is none."""
        return next((row for row in self._participants if _same(row.get("participant_id"), "sub-", label)), {})

    def sample(self, label: str, participant: str | None) -> Row:
        """Return the row of ``samples.tsv``; empty if there is none."""
        for row in self._samples:
            owner = row.get("participant_id")
            if _same(row.get("sample_id"), "sample-", label) and (
                participant is None or owner is None or _same(owner, "sub-", participant)
            ):
                return row
        return {}

    def session(self, participant: str, label: str) -> Row:
        """Return the row of the subject's ``sub-<label>_sessions.tsv``, or of ``sessions.tsv``; empty if none."""
        if self._alone:
            return {}
        own = self.dandiset / f"sub-{participant}" / f"sub-{participant}_sessions.tsv"
        for row in (*_rows(own), *self._sessions):
            owner = row.get("participant_id")
            if _same(row.get("session_id"), "ses-", label) and (owner is None or _same(owner, "sub-", participant)):
                return row
        return {}

    def owner(self, path: Path) -> NwbContent | None:
        """Return the NWB file that refers to a medium: those lie in a folder that is called as the file is."""
        for suffix in () if self._alone else (".nwb", ".nwb.zarr"):
            nwb = path.parent.with_name(path.parent.name + suffix)
            if nwb.exists():
                with suppress(BadSource):  # said of that file, not of its media
                    return self.content(nwb)
        return None

    def relatives(self, subject: str, session: str | None) -> Iterator[NwbContent]:
        """Yield the NWB files of a subject, by labels; those of the session first."""
        files = () if self._alone else self._nwb_files(subject)
        same = [f for f in files if session and _label(entities_of(f).get("ses")) == _label(session)]
        for file in dict.fromkeys((*same, *files)):
            with suppress(BadSource):
                content = self.content(file)
                if _label(content.subject.get("subject_id")) == _label(subject):
                    yield content

    def _nwb_files(self, subject: str) -> tuple[Path, ...]:
        with self._lock:
            if subject not in self._files:
                folder = self.dandiset / f"sub-{subject}"
                places = (folder, *sorted(folder.glob("*/")), *sorted(folder.glob("ses-*/*/")))
                folders = [p for p in places if p.is_dir() and not p.name.endswith((".zarr", ".ngff"))]
                files = (f for p in folders for f in sorted(p.iterdir()))
                self._files[subject] = tuple(f for f in files if f.name.endswith((".nwb", ".nwb.zarr")))
            return self._files[subject]

    @cached_property
    def _participants(self) -> tuple[Row, ...]:
        return () if self._alone else tuple(_rows(self.dandiset / "participants.tsv"))

    @cached_property
    def _samples(self) -> tuple[Row, ...]:
        return () if self._alone else tuple(_rows(self.dandiset / "samples.tsv"))

    @cached_property
    def _sessions(self) -> tuple[Row, ...]:
        return () if self._alone else tuple(_rows(self.dandiset / "sessions.tsv"))


def _rows(table: Path) -> Iterator[Row]:
    """Yield the rows of a table as BIDS writes them, without what is ``n/a``; nothing if there is no such file."""
    with suppress(OSError, UnicodeDecodeError, csv.Error), table.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield {
                key: value.strip()
                for key, value in row.items()
                if isinstance(key, str) and isinstance(value, str) and value.strip() not in _ABSENT
            }


def _same(stated: str | None, prefix: str, label: str) -> bool:
    return stated is not None and _label(stated.removeprefix(prefix)) == _label(label)


def _label(text: str | None) -> str | None:
    with suppress(BadRequest):
        return sanitize_label(text).casefold() if text else None
    return None
