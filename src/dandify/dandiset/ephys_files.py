"""Makes the files that BEP032 wants beside NWB files; what a person wrote into them stays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from dandify.dandiset import tables
from dandify.dandiset.ephys import read_ephys
from dandify.dandiset.ephys_content import EphysContent
from dandify.dandiset.ephys_tables import EphysTable, ephys_sidecar, ephys_tables, is_described, sidecar_path
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
    for nwb, file in files.items():
        if not is_described(nwb) or (content := _content(file)) is None:
            continue
        before = _content(root / nwb) if nwb in replaced else None
        place = sidecar_path(nwb)
        past = ephys_sidecar(before) if before else None
        yield str(place), json_text(root / place, ephys_sidecar(content), withdrawn=past)
        past_tables = {table.path: table for table in ephys_tables(nwb, before)} if before else {}
        for table in ephys_tables(nwb, content):
            yield from _documents(root, table, past_tables.get(table.path), files.get(table.path))


def _content(file: Path) -> EphysContent | None:
    kind = kind_of(file)
    with suppress(BadSource):  # `validate` tells of damaged files
        return read_ephys(file, kind) if kind in ("nwb", "nwb-zarr") else None
    return None


def _documents(root: Path, table: EphysTable, past: EphysTable | None, given: Path | None) -> Iterator[tuple[str, str]]:
    """Yield a table and the JSON that says what its columns mean."""
    text = read_text(given or root / table.path)
    if text is not None and past is not None:
        text = tables.withdraw_rows(text, past.rows, (past.key,))
    elif text is not None and tables.names_others(text, table.rows, (table.key,)):
        given = root / table.path  # by a tool that calls electrodes otherwise: to add ours would double them
    if given is None:
        text = tables.merge_table(text, table.rows, (table.key,), order=tuple(table.columns), sort=False)
        yield str(table.path), text
    beside = table.path.with_suffix(".json")
    meanings = tables.meanings(text or "", table.columns)
    yield str(beside), json_text(root / beside, meanings, withdrawn=past.columns if past else None)
