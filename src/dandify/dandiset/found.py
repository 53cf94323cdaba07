"""Finds what is to be organized among files and folders, reads it once, and says why the rest is left."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dandify.dandiset.facts import MANIFEST, Facts, kind_of, read_facts
from dandify.dandiset.media import look_for
from dandify.dandiset.names import ids_in_name
from dandify.dandiset.plain import PACKED_REMEDY, is_packed, plain_facts, plain_kind, sidecar_of
from dandify.dandiset.table import Table
from dandify.dandiset.texts import PARTIAL
from dandify.errors import BadRequest, BadSource, UnknownFormat
from dandify.tree_state import is_ignored, leads_back, missing_target

_MAX_LISTED: Final = 10
UNUSED: Final = "none of the files that dandify places, and no NWB file refers to it"
_WHOSE: Final = "no NWB file refers to it, and neither its name nor --table says which subject it is of"


@dataclass(frozen=True)
class LeftFile:
    """A file among the input that is no part of the dandiset, and why."""

    path: Path
    reason: str


def find(
    inputs: Sequence[Path],
    root: Path,
    table: Table | None = None,
    ignore: Sequence[str] = (),
    *,
    media: Sequence[Path] = (),
    continued: bool = False,
) -> tuple[list[Facts], list[LeftFile]]:
    """Read what is given, once each, whichever way it is reached.

    NWB files and OME-Zarr are always taken; plain images and videos where their name or the table says what they are
    of. Media that an NWB file refers to come with it, and by its name.

    Parameters
    ----------
    inputs
        Files and folders.
    root
        The dandiset, which is passed over.
    table
        Names files, and says what they do not state.
    ignore
        Patterns of files and folders that are passed over, matched against names and against paths below an input.
    media
        Folders to look in for files that NWB files refer to and that are not where these say.
    continued
        Files may have been moved into the dandiset by a run before, so that there may be none left.

    Raises
    ------
    UnknownFormat
        If there is nothing to organize, and nothing was.
    BadRequest
        If a path does not exist, or lies in the dandiset; or as `Table.supply`.
    dandify.errors.BadSource
        If files are damaged, or links to nothing; naming each.
    """
    facts: dict[Path, Facts] = {}
    broken: list[BadSource] = []
    left: dict[Path, LeftFile] = {}
    ignored: list[Path] = []
    reached: set[Path] = set()
    for given in inputs:
        if not given.exists():
            if continued:
                continue
            raise BadRequest("no such file or folder", file=given)
        if given == root or root in given.parents:
            raise BadRequest(
                "lies in the dandiset that it is to be organized into", file=given,
                remedy="give the converted files, and another folder for --dandiset",
            )  # fmt: skip
        for path, reason in _walk(given, root, table):
            if is_ignored(path, given, ignore):
                ignored.append(path)
            elif reason:
                left.setdefault(path, LeftFile(path, reason))
            elif (real := path.resolve()) not in reached:  # by a link, too
                reached.add(real)
                try:
                    if (said := _read(path)) is not None:
                        facts[path] = said
                except BadSource as error:
                    broken.append(error)
    _refuse_broken(broken)
    if media:
        facts = {f.path: f for f in look_for(list(facts.values()), media)}
    referred = {e.resolve(f.path) for f in facts.values() for e in f.external_files if not e.is_url}
    taken = [f for f in facts.values() if f.path not in referred]
    if not taken and not continued:
        raise _nothing(inputs, left.values())
    sidecars = {sidecar_of(f.path) for f in taken if f.kind in ("image", "ome-zarr")}
    kept = [item for item in left.values() if item.path not in referred and item.path not in sidecars]
    return (table.supply(taken, ignored, continued=continued) if table else taken), kept


def _read(path: Path) -> Facts | None:
    """Return what a file says of itself; None of one that is none of ours.

    Raises
    ------
    BadSource
        If it is damaged, or a link to nothing.
    """
    kind, plain = kind_of(path), plain_kind(path)
    if (kind or plain) and (target := missing_target(path)):
        raise BadSource(
            f"its content is not there: it is a link to {target}", file=path,
            remedy="get it (datalad get), or pass it over with --ignore",
        )  # fmt: skip
    if kind is not None:
        return read_facts(path, kind)
    return plain_facts(path, plain) if plain is not None else None


def _refuse_broken(broken: Sequence[BadSource]) -> None:
    """Raise what is wrong with the files, all of it at once."""
    if len(broken) == 1:
        [error] = broken
        if error.remedy and "--ignore" in error.remedy:
            raise error
        remedy = "; or ".join(filter(None, (error.remedy, "pass it over with --ignore")))
        raise BadSource(error.cause, file=error.file, place=error.place, remedy=remedy) from error
    if broken:
        lines = [f"  {error.file}: {error.cause}" for error in broken[:_MAX_LISTED]]
        more = [f"  and {len(broken) - _MAX_LISTED} more"] if len(broken) > _MAX_LISTED else []
        remedies = dict.fromkeys(error.remedy for error in broken if error.remedy)
        raise BadSource(
            "\n".join([f"{len(broken)} files cannot be read:", *lines, *more]),
            remedy="; ".join([*remedies, "or pass them over with --ignore"]),
        )


def _nothing(inputs: Sequence[Path], left: Collection[LeftFile]) -> UnknownFormat:
    file = inputs[0] if len(inputs) == 1 else None
    plain = [item for item in left if item.reason == _WHOSE]
    packed = [item for item in left if item.reason == PACKED_REMEDY]
    if packed and not plain:
        return UnknownFormat(
            f"no NWB file and no OME-Zarr is here but packed ones, such as {packed[0].path.name}", file=file,
            remedy=PACKED_REMEDY,
        )  # fmt: skip
    if plain:
        return UnknownFormat(
            f"images and videos, such as {plain[0].path.name}, cannot be placed: {_WHOSE}", file=file,
            remedy="give --table with the columns path, subject_id and session_id, or name them sub-ID_ses-ID_WHAT",
        )  # fmt: skip
    return UnknownFormat(
        "no NWB file and no OME-Zarr is here", file=file,
        remedy="dandify convert makes them from recordings; dandify scan shows what is here",
    )  # fmt: skip


def _walk(path: Path, root: Path, table: Table | None) -> Iterator[tuple[Path, str]]:
    """Yield files and Zarrs, each with the reason why it is left; an empty one for those that are organized."""
    if path == root or (table is not None and path == Path(os.path.abspath(table.path))):
        return
    if path.name.endswith((PARTIAL, ".replaced")):
        yield path, "unfinished; run dandify convert again"
    elif path.is_dir() and path.suffix not in (".zarr", ".ngff"):
        for child in sorted(path.iterdir()):
            if not child.name.startswith(".") and not leads_back(child):
                yield from _walk(child, root, table)
    elif kind_of(path) is not None:
        yield path, ""
    elif path.name.endswith(MANIFEST):
        yield path, "dandify's record of a conversion stays with you"
    elif path.is_dir():
        yield path, "neither an OME-Zarr nor NWB"
    elif is_packed(path):
        yield path, PACKED_REMEDY
    elif plain_kind(path) is None:
        yield path, UNUSED
    elif ids_in_name(path.name)[0] or (table is not None and table.rows_of(path)):
        yield path, ""
    else:
        yield path, _WHOSE
