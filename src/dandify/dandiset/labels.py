"""Ids that would get one name in a dandiset: names keep less than ids say, and no two may become the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from dandify.dandiset.facts import Facts, kind_of, read_facts
from dandify.dandiset.names import sanitize_label, session_label
from dandify.errors import BadRequest, BadSource
from dandify.project.rules import label as nameable

K = TypeVar("K")


def label_conflicts(files: Sequence[Facts], dandiset: Path | None = None) -> Iterator[BadRequest]:
    """Yield an error for each two ids that would get one name: two animals in one folder, two sessions in one file.

    Parameters
    ----------
    files
        What they say of themselves; one without subject is passed over.
    dandiset
        Its folder: what is there already counts too.
    """
    subjects: dict[str, tuple[str, Path]] = {}
    sessions: dict[tuple[str, str], tuple[str, Path]] = {}
    samples: dict[tuple[str, str], tuple[str, Path]] = {}
    named = [f for f in files if f.subject_id]
    wanted = {sanitize_label(f.subject_id or "").casefold() for f in named}
    copies = {_stamp(f.path) for f in named if f.path.is_file()}
    for facts in (*named, *_present(dandiset, wanted, copies)):
        subject = facts.subject_id or ""
        label = sanitize_label(subject)
        yield from _claim(subjects, label.casefold(), subject, facts.path, "subjects", f"sub-{label}")
        session = session_label(facts.session_id, facts.session_start_time)
        if session is not None:
            stated = facts.session_id or session
            key = (label.casefold(), session.casefold())
            yield from _claim(sessions, key, stated, facts.path, f"sessions of subject {subject!r}", f"ses-{session}")
        if sample := facts.entities.get("sample"):
            name = sanitize_label(sample)
            key = (label.casefold(), name.casefold())
            yield from _claim(samples, key, sample, facts.path, f"samples of subject {subject!r}", f"sample-{name}")


def _claim(
    seen: dict[K, tuple[str, Path]], key: K, stated: str, path: Path, what: str, name: str
) -> Iterator[BadRequest]:
    other, where = seen.setdefault(key, (stated, path))
    if other != stated:
        remedy = "names keep letters, digits and '+' only, and no file system is trusted with their case; change one"
        if normalize("NFC", other) == normalize("NFC", stated):
            remedy = (
                "these are the same letters in two forms of Unicode: macOS writes accents as signs of their own; write "
                "one of the two again"
            )
        yield BadRequest(
            f"two {what} would both be {name}: {other!r} ({where}) and {stated!r}", file=path, remedy=remedy
        )


def _present(dandiset: Path | None, labels: set[str], copies: set[tuple[int, int]]) -> Iterator[Facts]:
    """Read the ids of the NWB files that the touched subjects have in the dandiset already, but not of mere copies."""
    if dandiset is None or not dandiset.is_dir():
        return
    for folder in sorted(dandiset.glob("sub-*")):
        if not folder.is_dir() or folder.name.removeprefix("sub-").casefold() not in labels:
            continue
        for path in _files_and_zarrs(folder):
            kind = kind_of(path) if path.exists() else None  # a link may lead nowhere
            if kind in ("nwb", "nwb-zarr") and not (kind == "nwb" and _stamp(path) in copies):
                with suppress(BadSource):  # damaged: `validate` tells, and it may be about to be replaced
                    facts = read_facts(path, kind)
                    if nameable(facts.subject_id or ""):
                        yield facts


def _stamp(path: Path) -> tuple[int, int]:
    """Return a file's size and time of its last change, which `organize` keeps."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _files_and_zarrs(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.suffix not in (".zarr", ".ngff"):
            yield from _files_and_zarrs(path)
        else:
            yield path
