"""What lies in a folder: sessions and their streams, files nobody knows, what is broken or missing. No samples read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dandify.errors import BadRequest, DandifyError, Need, UnknownFormat
from dandify.project.metadata import Layer, merge, missing
from dandify.sources import Converter, Source
from dandify.sources.registry import available
from dandify.sources.tiles import place_tiles
from dandify.tree_state import is_ignored

_NAMED = 3  # files that a message names beside the first
_SKIPPED_SUFFIXES = (  # finished or half-finished outputs, not recordings
    ".zarr", ".partial", ".partial.journal", ".partial.lock", ".zarr.manifest.json", ".nwb.manifest.json",
)  # fmt: skip

_RECORDINGS = frozenset(
    {"ElectricalSeries", "LFP", "TwoPhotonSeries", "VoltageClampSeries", "CurrentClampSeries", "PatchClampSeries"}
)
_TABLES = frozenset({"TimeSeries", "EventsTable", "TimeIntervals"})
_MODALITY_FOLDERS = frozenset(
    {
        "ephys", "ecephys", "icephys", "probe", "probes", "ophys", "imaging", "images", "img", "micr", "anat",
        "histology", "behavior", "behaviour", "behav", "beh", "video", "videos", "camera", "cameras", "tables",
        "events",
    }
)  # fmt: skip
"""Names of folders within a session, as BIDS and labs use them."""


@dataclass(frozen=True)
class Broken:
    """An acquisition that a converter knows but cannot open."""

    format: str
    path: Path
    error: DandifyError


@dataclass(frozen=True)
class Unknown:
    """A file that belongs to no acquisition, and why where a converter said so."""

    path: Path
    bytes: int
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Session:
    """Sources that lie together, taken for one session.

    Attributes
    ----------
    path
        The folder they have in common.
    sources
        In the order of their paths.
    """

    path: Path
    sources: tuple[Source, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """What the files state about the session; the earliest start where there are several."""
        return session_facts(self.sources)

    @property
    def needs(self) -> tuple[Need, ...]:
        """What DANDI needs and the files do not state."""
        needs = missing(merge([Layer(str(self.path), self.facts)]))
        return (*needs, *(n for s in self.sources for n in s.needs))


@dataclass(frozen=True)
class ScanReport:
    """What `scan` found."""

    path: Path
    sessions: tuple[Session, ...]
    broken: tuple[Broken, ...]
    unknown: tuple[Unknown, ...]
    seconds: float

    @property
    def sources(self) -> tuple[Source, ...]:
        """All sources of all sessions."""
        return tuple(s for session in self.sessions for s in session.sources)


def scan(path: Path | str, *, ignore: Sequence[str] = (), missing: str | None = None) -> ScanReport:
    """Walk a folder and say what is in it, reading headers only.

    Parameters
    ----------
    path
        A folder, or one file of an acquisition. Zarr folders within it are passed over: they are outputs. One that is
        named itself is opened.
    ignore
        Patterns of files and folders to pass over, such as ``*.csv`` or ``notes/*``; matched against the name and
        against the path below ``path``.
    missing
        ``fill``: planes of images that no file holds are 0, where a converter can do it.

    Raises
    ------
    BadRequest
        If the path does not exist.
    """
    begin = time.perf_counter()
    # Without "..": the files of sources are compared with those below it.
    root, ignore = Path(os.path.abspath(path)), (ignore,) if isinstance(ignore, str) else ignore  # a text is many, too
    if not root.exists():
        raise BadRequest("no such file or folder", file=root)
    # An OME-Zarr that is named is one acquisition, and may have a million files.
    walked = root.is_dir() and not root.name.endswith(".zarr")
    files = [f for f in _walk(root) if not is_ignored(f, root, ignore)] if walked else [root]
    opened, broken, unknown = _open_all(files, root if walked else None, {"missing": missing} if missing else {})
    opened, wrong = place_tiles(opened, whole=walked, missing=missing, ignored=lambda f: is_ignored(f, root, ignore))
    broken += [Broken("tiles", Path(e.file or root), e) for e in wrong]
    owned = {file for source in opened for file in source.files} | {item.path for item in broken}
    unknown = [item for item in unknown if item.path not in owned]
    return ScanReport(root, _sessions(opened, root), tuple(broken), tuple(unknown), time.perf_counter() - begin)


def session_facts(sources: Sequence[Source]) -> dict[str, Any]:
    """Facts of a session out of those of its sources: what all that state it agree on, and the earliest start."""
    out: dict[str, Any] = {}
    for key in ("session_id", "subject_id"):
        stated = {s.facts[key] for s in sources if key in s.facts}
        if len(stated) == 1:
            out[key] = stated.pop()
    starts = [s.facts["session_start_time"] for s in sources if "session_start_time" in s.facts]
    if starts and len({t.tzinfo is None for t in starts}) == 1:
        out["session_start_time"] = min(starts)
    elif starts:  # aware and naive times cannot be ordered without the computer's zone: the aware ones are certain
        out["session_start_time"] = min(t for t in starts if t.tzinfo is not None)
    return out


def require_sources(report: ScanReport) -> tuple[Source, ...]:
    """Return the sources of a scan that is to be converted.

    Raises
    ------
    DandifyError
        The first broken acquisition, or `UnknownFormat` if there is nothing at all.
    """
    if report.broken:
        first, others = report.broken[0].error, [broken.path.name for broken in report.broken[1:]]
        if others:
            some = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
            first.cause = f"{first.cause}; {len(others)} more cannot be opened: {some}, and dandify scan says why"
        raise first
    if not report.sources:
        names = ", ".join(u.path.name for u in report.unknown[:3])
        what = f"nothing here that a converter knows ({len(report.unknown)} files{f': {names} ...' if names else ''})"
        if len(report.unknown) == 1 and report.unknown[0].reasons:
            what = f"no converter knows it ({'; '.join(report.unknown[0].reasons)})"
        elif told := next((u for u in report.unknown if u.reasons), None):
            what += f"; {told.path.name}: {told.reasons[-1]}"
        raise UnknownFormat(
            what, file=report.path,
            remedy="`dandify formats` lists what is known; CONTRIBUTING.md says how to add a format",
        )  # fmt: skip
    return report.sources


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not f.endswith(_SKIPPED_SUFFIXES))
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith(_SKIPPED_SUFFIXES):
                yield Path(folder) / name


def _open_all(
    files: list[Path], within: Path | None, filling: Mapping[str, str]
) -> tuple[list[Source], list[Broken], list[Unknown]]:
    opened: list[Source] = []
    broken: list[Broken] = []
    owned: set[Path] = set()
    reasons: dict[Path, list[str]] = {}
    for converter in available():
        for root, members in _roots(converter, files, owned, within).items():
            if owned.issuperset(members):
                continue
            verdict = converter.identify(root)
            if not verdict:
                for member in members:
                    reasons.setdefault(member, []).append(f"{converter.name}: {verdict.reason}")
                continue
            try:
                source = converter.open(root, filling if converter.fills else {})
            except DandifyError as error:
                broken.append(Broken(converter.name, root, error))
                owned.update(members)
            else:
                opened.append(source)
                owned.update((root, *source.files))
    for file in files:
        if file.suffix.lower() == ".nwb":
            reasons[file] = ["is NWB already: dandify organize takes it as it is, dandify repack writes it again"]
        elif file.is_symlink() and not file.exists():
            reasons[file] = [f"is a link to {os.readlink(file)}, which is not there"]
    unknown = [Unknown(f, _bytes(f), tuple(reasons.get(f, ()))) for f in files if f not in owned]
    return opened, broken, unknown


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # a link to nothing, as of a dataset whose files were not fetched
        return 0


def _roots(converter: Converter, files: list[Path], owned: set[Path], within: Path | None) -> dict[Path, list[Path]]:
    roots: dict[Path, list[Path]] = {}
    for file in files:
        if file not in owned and (root := converter.claim(file)) is not None:
            # A folder above the one that was named is not opened behind the user's back.
            if within is not None and not root.is_relative_to(within):
                root = within
            roots.setdefault(root, []).append(file)
    return roots


def _sessions(sources: list[Source], scanned: Path) -> tuple[Session, ...]:
    """Group sources into sessions by the folders they lie in.

    Each folder that holds a recording is a session. Images and videos, and then tables, join the nearest session above
    them; where there is none their own folder is one. So a table of all subjects at the top swallows nothing.
    """
    members: dict[Path, list[Source]] = {}
    for rank in range(3):
        for source in (s for s in sources if _rank(s) == rank):
            home = _home(source, scanned)
            above = [folder for folder in members if home.is_relative_to(folder)]
            nearest = max(above, key=lambda folder: len(folder.parts)) if above and rank else home
            members.setdefault(nearest, []).append(source)
    return tuple(Session(folder, tuple(sorted(members[folder], key=lambda s: s.path))) for folder in sorted(members))


def _rank(source: Source) -> int:
    kinds = {stream.kind for stream in source.streams}
    if kinds & _RECORDINGS:
        return 0
    return 1 if kinds - _TABLES else 2


def _home(source: Source, scanned: Path) -> Path:
    """Folder of the session a source is of: the one it lies in, folders named after a modality left out."""
    if source.path == scanned:
        return scanned if scanned.is_dir() else scanned.parent
    folder = source.path.parent
    while folder != scanned and folder.name.lower() in _MODALITY_FOLDERS:
        folder = folder.parent
    return folder
