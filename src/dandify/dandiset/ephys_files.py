"""Makes the files that BEP032 wants beside NWB files; what a person wrote into them stays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from dandify.dandiset import tables
from dandify.dandiset.ephys import read_ephys
from dandify.dandiset.ephys_content import EphysContent
from dandify.dandiset.ephys_tables import (
    EphysTable,
    ephys_sidecar,
    ephys_tables,
    is_described,
    shared_table,
    sidecar_path,
    table_path,
)
from dandify.dandiset.facts import kind_of
from dandify.dandiset.texts import json_text, read_text
from dandify.errors import BadSource


def ephys_documents(
    root: Path, files: Mapping[PurePosixPath, Path], replaced: Collection[PurePosixPath] = ()
) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file that BEP032 wants beside NWB files of electrical recordings.

    Parameters
    ----------
    root
        The dandiset's folder, for what is there already.
    files
        Assets by their path below it, and where each can be read. Tables among them stay as they are.
    replaced
        Those at whose place another recording lies: what is there because of that one goes with it.

    Raises
    ------
    BadSource
        If a table or JSON that is there is damaged.
    """
    shared: dict[PurePosixPath, list[EphysTable]] = {}
    past: dict[PurePosixPath, list[EphysTable]] = {}
    for nwb, file in files.items():
        if not is_described(nwb) or (content := _content(file)) is None:
            continue
        before = _content(root / nwb) if nwb in replaced else None
        place = sidecar_path(nwb)
        said = ephys_sidecar(before) if before else None
        yield str(place), json_text(root / place, ephys_sidecar(content), withdrawn=said)
        for table in ephys_tables(nwb, content):
            shared.setdefault(table.path, []).append(table)
        for table in ephys_tables(nwb, before) if before else ():
            past.setdefault(table.path, []).append(table)
    for path, stated in shared.items():
        others = [table for nwb in _others(root, path, files) for table in _tables(root, nwb) if table.path == path]
        yield from _documents(root, [*others, *stated], past.get(path, []), files.get(path))


def _others(root: Path, table: PurePosixPath, files: Mapping[PurePosixPath, Path]) -> list[PurePosixPath]:
    """Return the NWB files that are there already and have the same table: other runs."""
    what = table.stem.rpartition("_")[2]
    start = table.stem.removesuffix(what)
    found = (table.with_name(path.name) for path in sorted((root / table.parent).glob(f"{start}*.nwb*")))
    return [nwb for nwb in found if nwb not in files and is_described(nwb) and table_path(nwb, what) == table]


def _tables(root: Path, nwb: PurePosixPath) -> Iterator[EphysTable]:
    if (content := _content(root / nwb)) is not None:
        yield from ephys_tables(nwb, content)


def _content(file: Path) -> EphysContent | None:
    kind = kind_of(file)
    with suppress(BadSource):  # `validate` tells of damaged files
        return read_ephys(file, kind) if kind in ("nwb", "nwb-zarr") else None
    return None


def _documents(
    root: Path, stated: Sequence[EphysTable], past: Sequence[EphysTable], given: Path | None
) -> Iterator[tuple[str, str]]:
    """Yield a table of one recording or several, and the JSON that says what its columns mean."""
    table, differ = shared_table(stated)
    keys = (table.key,)
    text = read_text(given or root / table.path)
    if text is not None and past:
        for one in past:
            text = tables.withdraw_rows(text, one.rows, keys)
    elif text is not None and tables.names_others(text, table.rows, keys):
        given = root / table.path  # by a tool that calls electrodes otherwise: to add ours would double them
    if given is None:
        for one in stated if text is not None and differ else ():
            doubted = [{k: v for k, v in row.items() if k in keys or (row[table.key], k) in differ} for row in one.rows]
            text = tables.withdraw_rows(text or "", [row for row in doubted if len(row) > 1], keys)
        text = tables.merge_table(text, table.rows, keys, order=tuple(table.columns), sort=False)
        yield str(table.path), text
    beside = table.path.with_suffix(".json")
    meanings = tables.meanings(text or "", table.columns)
    withdrawn = {key: meaning for one in past for key, meaning in one.columns.items()} if past else None
    yield str(beside), json_text(root / beside, meanings, withdrawn=withdrawn)
