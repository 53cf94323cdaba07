"""Reads and writes the small text files that describe a dandiset: whole or not at all, and only if they change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dandify.dandiset import tables
from dandify.dandiset.facts import PARTIAL
from dandify.errors import BadSource

Change = Literal["created", "updated", "unchanged"]


def read_text(path: Path) -> str | None:
    """Return a file's text; None if there is no such file.

    Raises
    ------
    BadSource
        If it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise BadSource("is not UTF-8 text", file=path, remedy="save it as UTF-8") from error


def write_text(path: Path, text: str, *, dry_run: bool = False) -> Change:
    """Write a text, or only return what would become of the file."""
    there = read_text(path)
    if there == text:
        return "unchanged"
    if not dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + PARTIAL)
        try:
            partial.write_text(text, encoding="utf-8", newline="\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return "created" if there is None else "updated"


def json_text(
    path: Path, values: Mapping[str, Any], *, overwrite: bool = False, withdrawn: Mapping[str, Any] | None = None
) -> str:
    """Return what a JSON file is to hold: what it says, and the values that it lacks.

    Parameters
    ----------
    path
        The file.
    values
        To add.
    overwrite
        Replace values that differ.
    withdrawn
        Values that hold no longer: where the file still has them, they are left out.

    Raises
    ------
    BadSource
        If it is there, and no JSON object.
    """
    try:
        return tables.merge_json(read_text(path), values, overwrite=overwrite, withdrawn=withdrawn)
    except ValueError as error:
        raise BadSource(
            f"no JSON object: {error}", file=path, remedy="mend it, or remove it to have it made again"
        ) from error
