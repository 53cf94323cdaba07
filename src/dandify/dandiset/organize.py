"""Lays files out as a dandiset: finds them, plans names, refuses what cannot be, then brings them to their place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from dandify.dandiset.absent import Refused, without_absent
from dandify.dandiset.bids_files import DESCRIPTION, plan_sidecars, stated_description, write_bids_files
from dandify.dandiset.bids_given import told_by_datasets, with_reasons
from dandify.dandiset.bids_names import companion_path
from dandify.dandiset.describe import DandisetMetadata, document_of, read_description, write_description
from dandify.dandiset.digests import manifest_digest, record_digests
from dandify.dandiset.ephys_tables import ephys_companions, ephys_datatype
from dandify.dandiset.facts import Facts, kind_of, read_facts
from dandify.dandiset.found import LeftFile, find
from dandify.dandiset.generate import write_tables
from dandify.dandiset.layout import Layout, Placement, choose_layout, plan_layout, unplaceable
from dandify.dandiset.media import is_relinked, relink
from dandify.dandiset.place import Action, Mode, put, remove, same, size_of
from dandify.dandiset.plain import sidecar_of
from dandify.dandiset.supply import fill, says
from dandify.dandiset.table import read_table
from dandify.dandiset.texts import PARTIAL
from dandify.errors import DandifyError, OutputExists, UnknownFormat


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
        ``nwb``, ``nwb-zarr``, ``ome-zarr``, ``image``, ``video``, ``media`` (a video or picture that an NWB file
        refers to), or ``table`` (a file about a BIDS dataset).
    status
        What was done, or would be done in a dry run: ``copied``, ``hardlinked``, ``symlinked``, ``moved`` or
        ``unchanged``.
    bytes
        Its size.
    relinked
        Whether the copy refers to its media by new names.
    filled
        What of subject and session the copy states because a table or an option says it.
    """

    path: Path
    source: Path
    kind: str
    status: Action
    bytes: int
    relinked: bool = False
    filled: tuple[str, ...] = ()


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
    layout, because
        ``dandi`` or ``bids``, and why it is that one.
    generated
        Files that were written or completed: descriptions, tables, JSON beside images and recordings.
    dry_run
        Whether nothing was done.
    refused
        NWB files that refer to media which are not there: they are no part of the dandiset yet.
    """

    dandiset: Path
    files: tuple[OrganizedFile, ...]
    left: tuple[LeftFile, ...]
    description: Literal["created", "updated", "unchanged"]
    layout: Layout
    because: str
    generated: tuple[Path, ...] = ()
    dry_run: bool = False
    refused: tuple[Refused, ...] = ()

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
    layout: Literal["dandi", "bids", "auto"] = "auto",
    table: Path | str | None = None,
    ignore: Sequence[str] = (),
    media: Sequence[Path | str] = (),
    overwrite: bool = False,
    dry_run: bool = False,
    metadata: DandisetMetadata | Mapping[str, Any] | None = None,
    subject_id: str | None = None,
    session_id: str | None = None,
    progress: ProgressCallback | None = None,
) -> OrganizeReport:
    """Lay NWB files, images and videos out as a dandiset, with the media that the NWB files refer to.

    Names depend on each file alone, so files can be added at any time. What is in its place already is left alone; a
    run that was stopped is continued by running it again. NWB files whose media are gone are named, and the others
    organized. The given files are not changed: an NWB file that refers to media, or of whose subject the table says
    what it lacks, is copied, and the copy is changed.

    Parameters
    ----------
    converted
        Files and folders: the output of ``dandify convert``, or NWB (HDF5, Zarr v2) and OME-Zarr of other tools; also
        TIFF, pictures and videos whose names (as DANDI or BIDS write them) or ``table`` say what they are of.
    dandiset
        Folder of the dandiset; made if need be.
    mode
        ``copy``, ``hardlink``, ``symlink`` or ``move``; links fall back where the system cannot make them, see
        `dandify.dandiset.place.put`. Media, which are raw data, are copied rather than moved, and files that have to be
        changed are always copied.
    layout
        ``dandi``, ``bids``, or whichever suits; see `dandify.dandiset.layout.choose_layout`.
    table
        CSV or TSV of what files do not state of themselves, see `dandify.dandiset.table.COLUMNS`.
    ignore
        Patterns of files and folders that are passed over, such as ``*_old.nwb``.
    media
        Folders to look in, by name, for files that NWB files refer to and that are not where these say.
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
        If a file is damaged, or all of them refer to media that are not there.
    OutputExists
        If a file is there that differs, and ``overwrite`` is not set.
    DandifyError
        If the disk is too small or the system refuses.
    """
    root = Path(os.path.abspath(dandiset))
    given = [converted] if isinstance(converted, (str, Path)) else converted
    inputs = [Path(os.path.abspath(path)) for path in given]  # without "..": paths are compared
    document_of(metadata)  # refused before any work
    continued = mode == "move" and any(root.glob("sub-*/*"))
    found, left = find(
        inputs, root, read_table(Path(table)) if table else None, ignore,
        media=[Path(os.path.abspath(folder)) for folder in media], continued=continued,
    )  # fmt: skip
    plan = _plan(found, left, root, layout, subject_id=subject_id, session_id=session_id)
    placements, refused = without_absent(plan.placements, root, _holds)
    chosen = plan.layout
    unchanged = _settled(placements, root, overwrite=overwrite)
    todo = [p for p in placements if p.target not in unchanged]
    sizes = {p.target: size_of(p.source if p.source.exists() else root / p.target) for p in placements}
    generated: tuple[Path, ...] = ()
    if not dry_run and mode == "copy":
        _require_room(root, sum(sizes[p.target] for p in todo))
    if chosen == "bids":  # first, because a run that is stopped must be continued in the same layout
        title = (read_description(root) or document_of(metadata)).get("name")
        stated = stated_description(inputs, title=title or None, otherwise=root.name)
        generated = write_bids_files(root, stated, plan.sidecars, overwrite=overwrite, dry_run=dry_run)
    replaced = {p.target for p in todo if os.path.lexists(root / p.target)}
    origins = {p.target: p.source for p in placements}
    told = {p.target: p.given for p in placements if p.given}
    named = {p.target: p.entities for p in placements if p.entities}
    tables = write_tables(root, chosen, origins, told, named, replaced=replaced, dry_run=dry_run)
    generated = (*generated, *(root / path for path, change in tables.items() if change != "unchanged"))
    if dry_run:
        done: dict[PurePosixPath, Action] = {p.target: _expected(p, mode) for p in todo}
    else:
        known = {p.target: d for p in placements if p.kind == "ome-zarr" and (d := manifest_digest(p.source))}
        done = _carry_out(todo, root, mode, sizes, progress)
        record_digests(root, known, replaced=done)
    description = _describe(root, metadata, overwrite=overwrite, dry_run=dry_run)
    return OrganizeReport(
        dandiset=root,
        files=tuple(
            OrganizedFile(
                Path(p.target), p.source, p.kind, done.get(p.target, "unchanged"), sizes[p.target], bool(p.media),
                tuple(sorted(p.given)) if p.is_edited else (),
            )
            for p in sorted(placements, key=lambda p: str(p.target))
        ),
        left=tuple(plan.left),
        description=description,
        layout=chosen,
        because=plan.because,
        generated=tuple(dict.fromkeys(path.relative_to(root) for path in generated)),
        dry_run=dry_run,
        refused=refused,
    )  # fmt: skip


@dataclass(frozen=True)
class _Plan:
    """Where everything goes; ``sidecars`` are JSON files of images and what they are to say."""

    layout: Layout
    because: str
    placements: tuple[Placement, ...]
    left: Sequence[LeftFile]
    sidecars: Mapping[PurePosixPath, Mapping[str, Any]]


def _plan(
    found: Sequence[Facts],
    left: Sequence[LeftFile],
    root: Path,
    layout: Literal["dandi", "bids", "auto"],
    *,
    subject_id: str | None,
    session_id: str | None,
) -> _Plan:
    """Choose the layout, and a place in it for each file that has one, with what belongs beside it."""
    chosen, because = choose_layout(layout, found, root)
    reasons = {f.path: reason for f in found if (reason := unplaceable(f, chosen))}
    facts = [f for f in found if f.path not in reasons]
    if chosen == "dandi":
        facts = told_by_datasets(facts)
    if reasons and not facts:
        path, reason = next(iter(reasons.items()))
        raise UnknownFormat(f"nothing can be organized: {reason}", file=path)
    left = [*left, *(LeftFile(path, reason) for path, reason in reasons.items())]
    if chosen == "dandi":
        placements = plan_layout(facts, root, layout=chosen, subject_id=subject_id, session_id=session_id)
        jsons = {sidecar_of(f.path) for f in found if f.kind in ("image", "ome-zarr")}
        reason = "dandi uploads JSON only in a BIDS dataset (--layout bids)"
        left = [*with_reasons(left), *(LeftFile(p, reason) for p in jsons if p)]
        return _Plan(chosen, because, placements, left, {})
    companions = {item.path: place for item in left if (place := companion_path(item.path))}
    left = [item for item in left if item.path not in companions and item.path.name != DESCRIPTION]
    placements = plan_layout(
        facts, root, layout=chosen, companions=companions, subject_id=subject_id, session_id=session_id
    )
    beside = _ephys_companions(placements)
    placements += tuple(Placement(item.path, beside[item.path], "table") for item in left if item.path in beside)
    left = [item for item in left if item.path not in beside]
    sidecars = plan_sidecars(placements, {f.path: f.pixel_size_um for f in facts})
    return _Plan(chosen, because, placements, left, sidecars)


def _ephys_companions(placements: Sequence[Placement]) -> dict[Path, PurePosixPath]:
    """Return what another tool may have put beside recordings, by its path, and its place beside their copies."""
    found: dict[Path, PurePosixPath] = {}
    for placement in placements:
        source = PurePosixPath(placement.source.name)
        datatype = ephys_datatype(source)
        if datatype and datatype == ephys_datatype(placement.target):
            pairs = zip(ephys_companions(source), ephys_companions(placement.target), strict=True)
            found |= {placement.source.with_name(old.name): new for old, new in pairs}
    return found


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
    if not placement.is_edited:
        gone = placement.kind == "media" and not placement.source.exists()  # and the copy that refers to it is there
        return gone or same(placement.source, target)
    # The copy differs from its source in what was changed in it, and has the time of its source's last change.
    kind = kind_of(target)
    if kind is None or target.is_dir() != placement.source.is_dir():
        return False
    if kind == "nwb" and target.stat().st_mtime_ns != placement.source.stat().st_mtime_ns:
        return _is_edited_copy(placement, target)
    if kind == "nwb-zarr" and not _is_edited_copy(placement, target):
        return False
    facts = read_facts(target, kind)
    return is_relinked(facts.external_files, placement.media) and says(facts, placement.given)


def _edit(copy: Path, placement: Placement) -> None:
    """Change what the copy says: where its media are, and of whom it is."""
    if placement.media:
        relink(copy, placement.media)
    if placement.given:
        fill(copy, placement.given)


def _is_edited_copy(placement: Placement, target: Path) -> bool:
    """Make the copy once more beside the target, and compare."""
    again = target.with_name(f"{target.name}.compare{PARTIAL}")
    try:
        put(placement.source, again, mode="copy", edit=lambda copy: _edit(copy, placement))
        return same(again, target)
    finally:
        remove(again)


def _expected(placement: Placement, mode: Mode) -> Action:
    if placement.is_edited or (placement.kind == "media" and mode == "move"):
        return "copied"
    actions: dict[Mode, Action] = {"copy": "copied", "hardlink": "hardlinked", "symlink": "symlinked", "move": "moved"}
    return actions[mode]


def _require_room(root: Path, needed: int) -> None:
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DandifyError(
            f"{needed / 1e6:,.1f} MB are to be copied, and {free / 1e6:,.1f} MB are free", file=root,
            remedy="make room, or choose another disk; --mode hardlink needs no room on the disk that they are on",
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
        edit = (lambda copy, placed=placement: _edit(copy, placed)) if placement.is_edited else None
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
