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
        self._files: dict[str, Mapping[str, tuple[Path, ...]]] = {}
        self._own_sessions: dict[str, Mapping[str, Row]] = {}
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
        return self._participants.get(_key(label), {})

    def sample(self, label: str, participant: str | None) -> Row:
        """Return the row of ``samples.tsv``; empty if there is none."""
        for owner in (participant, None):
            if found := self._samples.get((_key(label), _key(owner))):
                return found
        return {}

    def session(self, participant: str, label: str) -> Row:
        """Return the row of the subject's ``sub-<label>_sessions.tsv``, or of ``sessions.tsv``; empty if none."""
        if self._alone:
            return {}
        with self._lock:
            if participant not in self._own_sessions:
                table = self.dandiset / f"sub-{participant}" / f"sub-{participant}_sessions.tsv"
                self._own_sessions[participant] = {_key(row.get("session_id"), "ses-"): row for row in _rows(table)}
            own = self._own_sessions[participant]
        return own.get(_key(label)) or self._sessions.get((_key(label), _key(participant)), {})

    def owner(self, path: Path) -> NwbContent | None:
        """Return the NWB file that refers to a medium: those lie in a folder that is called as the file is."""
        for suffix in () if self._alone else (".nwb", ".nwb.zarr"):
            nwb = path.parent.with_name(path.parent.name + suffix)
            if nwb.exists():
                with suppress(BadSource):  # said of that file, not of its media
                    return self.content(nwb)
        return None

    def relatives(self, subject: str, session: str | None) -> Iterator[NwbContent]:
        """Yield NWB files of a subject, by labels: those of the session, then one of another."""
        files = {} if self._alone else self._nwb_files(subject)
        same = files.get(_key(session), ()) if session else ()
        other = next((group[:1] for key, group in files.items() if key != _key(session)), ())
        for file in (*same, *other):
            with suppress(BadSource):
                content = self.content(file)
                if _key(content.subject.get("subject_id")) == _key(subject):
                    yield content

    def _nwb_files(self, subject: str) -> Mapping[str, tuple[Path, ...]]:
        """Return the NWB files in a subject's folder by the session that their names state."""
        with self._lock:
            if subject not in self._files:
                folder = self.dandiset / f"sub-{subject}"
                places = (folder, *sorted(folder.glob("*/")), *sorted(folder.glob("ses-*/*/")))
                found: dict[str, tuple[Path, ...]] = {}
                for place in places:
                    if place.is_dir() and not place.name.endswith((".zarr", ".ngff")):
                        for file in sorted(f for f in place.iterdir() if f.name.endswith((".nwb", ".nwb.zarr"))):
                            key = _key(entities_of(Path(file.name)).get("ses"))
                            found[key] = (*found.get(key, ()), file)
                self._files[subject] = found
            return self._files[subject]

    @cached_property
    def _participants(self) -> Mapping[str, Row]:
        return {_key(row.get("participant_id"), "sub-"): row for row in self._table("participants.tsv")}

    @cached_property
    def _samples(self) -> Mapping[tuple[str, str], Row]:
        rows = self._table("samples.tsv")
        return {(_key(r.get("sample_id"), "sample-"), _key(r.get("participant_id"), "sub-")): r for r in rows}

    @cached_property
    def _sessions(self) -> Mapping[tuple[str, str], Row]:
        rows = self._table("sessions.tsv")
        return {(_key(r.get("session_id"), "ses-"), _key(r.get("participant_id"), "sub-")): r for r in rows}

    def _table(self, name: str) -> Iterator[Row]:
        return iter(()) if self._alone else _rows(self.dandiset / name)


def _rows(table: Path) -> Iterator[Row]:
    """Yield the rows of a table as BIDS writes them, without what is ``n/a``; nothing if there is no such file."""
    with suppress(OSError, UnicodeDecodeError, csv.Error), table.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield {
                key: value.strip()
                for key, value in row.items()
                if isinstance(key, str) and isinstance(value, str) and value.strip() not in _ABSENT
            }


def _key(text: str | None, prefix: str = "") -> str:
    """Return what an id is compared by: its label, whatever its case; empty if there is none."""
    with suppress(BadRequest):
        return sanitize_label(text.removeprefix(prefix)).casefold() if text else ""
    return ""
