"""Reads and writes the small text files that describe a dandiset: whole or not at all, and only if they change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from dandify.errors import BadSource, DandifyError

PARTIAL: Final = ".partial"  # what is put behind a name until all is there
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
    """Write a text if it differs from what is there, or only return what would become of the file; see `replace_text`.

    Raises
    ------
    BadSource
        If what is there is not UTF-8.
    """
    there = read_text(path)
    if there == text:
        return "unchanged"
    if not dry_run:
        replace_text(path, text)
    return "created" if there is None else "updated"


def replace_text(path: Path, text: str) -> None:
    """Write a text over whatever is there; folders are made.

    Raises
    ------
    DandifyError
        If the system refuses: a full disk, missing permission. What was there stays.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(text, encoding="utf-8", newline="\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise DandifyError(
            f"could not be written: {error.strerror or error}", file=path,
            remedy="make room or mend the permissions, then run it again",
        ) from error  # fmt: skip


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
        return merge_json(read_text(path), values, overwrite=overwrite, withdrawn=withdrawn)
    except ValueError as error:
        raise BadSource(
            f"no JSON object: {error}", file=path, remedy="mend it, or remove it to have it made again"
        ) from error


def merge_json(
    text: str | None, values: Mapping[str, Any], *, overwrite: bool = False, withdrawn: Mapping[str, Any] | None = None
) -> str:
    """Return a JSON object with keys added to those that are there.

    Parameters
    ----------
    text
        The object as it is; None if there is none. It is returned as it is if nothing is to be changed in it.
    values
        To add.
    overwrite
        Replace values that differ; otherwise they stay.
    withdrawn
        Values that hold no longer: where the object still has them, they are left out before.

    Raises
    ------
    ValueError
        If what is there is no JSON object.
    """
    there = json.loads(text.removeprefix("\ufeff")) if text else {}
    if not isinstance(there, dict):
        raise ValueError("a JSON object is expected")
    past = withdrawn or {}
    kept = {k: v for k, v in there.items() if k not in past or past[k] != v}
    made = {**kept, **(values if overwrite else {k: v for k, v in values.items() if k not in kept})}
    return text if text and made == there else json.dumps(made, indent=2, ensure_ascii=False) + "\n"
