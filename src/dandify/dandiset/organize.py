"""Lays files out as a dandiset: finds them, plans names, refuses what cannot be, then brings them to their place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from dandify.dandiset.describe import DandisetMetadata, document_of, read_description, write_description
from dandify.dandiset.facts import MANIFEST, PARTIAL, Facts, kind_of, read_facts
from dandify.dandiset.generate import write_tables
from dandify.dandiset.layout import Placement, plan_layout
from dandify.dandiset.media import is_relinked, relink
from dandify.dandiset.place import Action, Mode, put, remove, same, size_of
from dandify.errors import BadRequest, DandifyError, OutputExists, UnknownFormat


@dataclass(frozen=True)
class OrganizedFile:
    """A file or image and its place in the dandiset.

    Attributes
    ----------
    path
        Below the dandiset.
    source
        Where it came from.
    kind
        ``nwb``, ``nwb-zarr``, ``ome-zarr`` or ``media`` (a video or picture that an NWB file refers to).
    status
        What was done, or would be done in a dry run: ``copied``, ``hardlinked``, ``moved`` or ``unchanged``.
    bytes
        Its size.
    relinked
        Whether the copy refers to its media by new names.
    """

    path: Path
    source: Path
    kind: str
    status: Action
    bytes: int
    relinked: bool = False


@dataclass(frozen=True)
class LeftFile:
    """A file among the input that is no part of the dandiset, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class OrganizeReport:
    """What `organize` did.

    Attributes
    ----------
    dandiset
        The folder.
    files
        What is in its place now, ordered by path.
    left
        What was given and has no place in a dandiset.
    description
        What became of ``dandiset.yaml``.
    dry_run
        Whether nothing was done.
    """

    dandiset: Path
    files: tuple[OrganizedFile, ...]
    left: tuple[LeftFile, ...]
    description: Literal["created", "updated", "unchanged"]
    dry_run: bool = False

    @property
    def changed(self) -> tuple[OrganizedFile, ...]:
        """The files that were not there, or differed."""
        return tuple(f for f in self.files if f.status != "unchanged")


@dataclass(frozen=True)
class OrganizeProgress:
    """One step: a file is done, so many bytes of all."""

    path: str
    done_bytes: int
    total_bytes: int


ProgressCallback = Callable[[OrganizeProgress], None]


def organize(
    converted: Path | str | Sequence[Path | str],
    dandiset: Path | str,
    *,
    mode: Mode = "copy",
    overwrite: bool = False,
    dry_run: bool = False,
    metadata: DandisetMetadata | Mapping[str, Any] | None = None,
    subject_id: str | None = None,
    session_id: str | None = None,
    progress: ProgressCallback | None = None,
) -> OrganizeReport:
    """Lay NWB files and OME-Zarr images out as a dandiset, with the media that the NWB files refer to.

    Names depend on each file alone, so files can be added at any time. What is in its place already is left alone; a
    run that was stopped is continued by running it again. The given files are not changed: an NWB file that refers to
    media is copied, and the copy refers to the media beside it.

    Parameters
    ----------
    converted
        Files and folders: the output of ``dandify convert``, or NWB (HDF5, Zarr v2) and OME-Zarr of other tools.
    dandiset
        Folder of the dandiset; made if need be.
    mode
        ``copy``, ``hardlink`` or ``move``. Media, which are raw data, and files that have to be changed are copied
        rather than moved.
    overwrite
        Replace files that are there and differ, and values of ``dandiset.yaml``.
    dry_run
        Plan and report, but change nothing.
    metadata
        Of the dandiset, for ``dandiset.yaml``; see `dandify.dandiset.describe.DandisetMetadata`.
    subject_id, session_id
        Of files that state none.
    progress
        Called after each file.

    Raises
    ------
    UnknownFormat
        If there is nothing to organize.
    dandify.errors.MissingMetadata
        Naming every file that states no subject or session.
    BadRequest
        If two ids or two files would get one name.
    dandify.errors.BadSource
        If a file is damaged, or media are missing.
    OutputExists
        If a file is there that differs, and ``overwrite`` is not set.
    DandifyError
        If the disk is too small or the system refuses.
    """
    root = Path(dandiset).absolute()
    inputs = [Path(p).absolute() for p in ([converted] if isinstance(converted, (str, Path)) else converted)]
    document_of(metadata)  # refused before any work
    facts, left = _find(inputs, root)
    placements = plan_layout(facts, root, subject_id=subject_id, session_id=session_id)
    unchanged = _settled(placements, root, overwrite=overwrite)
    todo = [p for p in placements if p.target not in unchanged]
    sizes = {p.target: size_of(p.source) for p in placements}
    if dry_run:
        done: dict[PurePosixPath, Action] = {p.target: _expected(p, mode) for p in todo}
    else:
        if mode == "copy":
            _require_room(root, sum(sizes[p.target] for p in todo))
        write_tables(root, "dandi", {p.target: p.source for p in placements})
        done = _carry_out(todo, root, mode, sizes, progress)
    description = _describe(root, metadata, overwrite=overwrite, dry_run=dry_run)
    referred = {p.source for p in placements if p.kind == "media"}
    return OrganizeReport(
        dandiset=root,
        files=tuple(
            OrganizedFile(
                Path(p.target), p.source, p.kind, done.get(p.target, "unchanged"), sizes[p.target], bool(p.media)
            )
            for p in sorted(placements, key=lambda p: str(p.target))
        ),
        left=tuple(item for item in left if item.path not in referred),
        description=description,
        dry_run=dry_run,
    )  # fmt: skip


def _find(inputs: Sequence[Path], root: Path) -> tuple[list[Facts], list[LeftFile]]:
    """Read what is given, once each, whichever way it is reached."""
    facts: dict[Path, Facts] = {}
    left: dict[Path, LeftFile] = {}
    for given in inputs:
        if not given.exists():
            raise BadRequest("no such file or folder", file=given)
        if given == root or root in given.parents:
            raise BadRequest(
                "lies in the dandiset that it is to be organized into", file=given,
                remedy="give the converted files, and another folder for --dandiset",
            )  # fmt: skip
        for path, reason in _walk(given, root):
            if reason:
                left.setdefault(path, LeftFile(path, reason))
            elif path not in facts and (kind := kind_of(path)) is not None:
                facts[path] = read_facts(path, kind)
    if not facts:
        raise UnknownFormat(
            "no NWB file and no OME-Zarr is here", file=inputs[0] if len(inputs) == 1 else None,
            remedy="dandify convert makes them from recordings; dandify scan shows what is here",
        )  # fmt: skip
    return list(facts.values()), list(left.values())


def _walk(path: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """Yield files and Zarrs, each with the reason why it is left; an empty one for those that are organized."""
    if path == root:
        return
    if path.name.endswith((PARTIAL, ".replaced")):
        yield path, "unfinished; run dandify convert again"
    elif path.is_dir() and path.suffix not in (".zarr", ".ngff"):
        for child in sorted(path.iterdir()):
            if not child.name.startswith("."):
                yield from _walk(child, root)
    elif kind_of(path) is not None:
        yield path, ""
    elif path.name.endswith(MANIFEST):
        yield path, "dandify's record of a conversion stays with you"
    elif path.is_dir():
        yield path, "neither an OME-Zarr nor NWB"
    else:
        yield path, "no NWB file refers to it"


def _settled(placements: Sequence[Placement], root: Path, *, overwrite: bool) -> set[PurePosixPath]:
    """Return the targets that hold already what they should; refuse, before any work, those that hold something else.

    Raises
    ------
    OutputExists
        Unless ``overwrite`` is set.
    """
    settled: set[PurePosixPath] = set()
    different: list[PurePosixPath] = []
    for placement in placements:
        target = root / placement.target
        if not os.path.lexists(target):
            continue
        (settled.add if _holds(placement, target) else different.append)(placement.target)
    if different and not overwrite:
        more = f", and {len(different) - 1} more files" if len(different) > 1 else ""
        raise OutputExists(
            f"is there already and differs from what it would be made of{more}", file=root / different[0],
            remedy="--overwrite replaces what differs; or choose another folder with --dandiset",
        )  # fmt: skip
    return settled


def _holds(placement: Placement, target: Path) -> bool:
    if not placement.media:
        return same(placement.source, target)
    # The copy differs from its source in what it says of its media, and has the time of its source's last change.
    kind = kind_of(target)
    if kind is None or target.is_dir() != placement.source.is_dir():
        return False
    if kind == "nwb" and target.stat().st_mtime_ns != placement.source.stat().st_mtime_ns:
        return _is_edited_copy(placement, target)
    if kind == "nwb-zarr" and not _is_edited_copy(placement, target):
        return False
    return is_relinked(read_facts(target, kind).external_files, placement.media)


def _is_edited_copy(placement: Placement, target: Path) -> bool:
    """Make the copy once more beside the target, and compare."""
    again = target.with_name(f"{target.name}.compare{PARTIAL}")
    try:
        put(placement.source, again, mode="copy", edit=lambda copy: relink(copy, placement.media))
        return same(again, target)
    finally:
        remove(again)


def _expected(placement: Placement, mode: Mode) -> Action:
    if placement.media or (placement.kind == "media" and mode == "move"):
        return "copied"
    actions: dict[Mode, Action] = {"copy": "copied", "hardlink": "hardlinked", "move": "moved"}
    return actions[mode]


def _require_room(root: Path, needed: int) -> None:
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DandifyError(
            f"{needed / 1e9:.1f} GB are to be copied, and {free / 1e9:.1f} GB are free", file=root,
            remedy="--mode hardlink needs no room on the same disk",
        )  # fmt: skip


def _carry_out(
    todo: Sequence[Placement],
    root: Path,
    mode: Mode,
    sizes: Mapping[PurePosixPath, int],
    progress: ProgressCallback | None,
) -> dict[PurePosixPath, Action]:
    """Bring media first, so that an NWB file under its final name never refers to what is not there."""
    total = sum(sizes[p.target] for p in todo)
    done_bytes = 0
    done: dict[PurePosixPath, Action] = {}
    for placement in sorted(todo, key=lambda p: p.kind != "media"):
        how: Mode = "copy" if placement.kind == "media" and mode == "move" else mode
        edit = (lambda copy, media=placement.media: relink(copy, media)) if placement.media else None
        done[placement.target] = put(placement.source, root / placement.target, mode=how, edit=edit)
        done_bytes += sizes[placement.target]
        if progress is not None:
            progress(OrganizeProgress(str(placement.target), done_bytes, total))
    return done


def _describe(
    root: Path, metadata: DandisetMetadata | Mapping[str, Any] | None, *, overwrite: bool, dry_run: bool
) -> Literal["created", "updated", "unchanged"]:
    if not dry_run:
        return write_description(root, metadata, overwrite=overwrite)
    present = read_description(root)
    if present is None:
        return "created"
    new = {k for k, v in document_of(metadata).items() if k not in present or (overwrite and present[k] != v)}
    return "updated" if new else "unchanged"
