"""One pass over a text table: its rows are counted and marked, declared cells checked, the other types guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dandify.errors import BadSource
from dandify.sources.columns import MISSING, ROWS_PER_MARK, CellType, TextTable, parse_cell, read_rows

# A leading zero marks a name ("001"), not a number; integers of more than 15 digits do not fit a float64 exactly, and
# of more than 18 no int64.
_INTEGER = r"[+-]?(?:0|[1-9]\d{0,14})"
_NUMBER = r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*|(?:\.\d*)?[eE][+-]?\d+)|\.\d+(?:[eE][+-]?\d+)?|[nN][aA][nN]|[iI][nN][fF])"
_PLAIN_INTEGER = re.compile(_INTEGER)
_PLAIN_NUMBER = re.compile(_NUMBER)
_LONG_INTEGER = re.compile(r"[+-]?[1-9]\d{15,17}")
_ALL_INTEGERS = re.compile(rf"(?:{_INTEGER}\n)+")
_ALL_NUMBERS = re.compile(rf"(?:{_NUMBER}\n)+")


@dataclass(frozen=True)
class Survey:
    """What one pass over a table found.

    Attributes
    ----------
    table
        The table.
    types
        Type of each column: the declared one, else the guessed one.
    backwards
        Line on which a column of times first goes backwards, by column.
    problems
        What is wrong but does not hinder.
    """

    table: TextTable
    types: tuple[CellType, ...]
    backwards: dict[int, int]
    problems: tuple[str, ...]


def survey(
    path: Path, delimiter: str, *, declared: dict[int, CellType] | None = None, times: Sequence[int] = ()
) -> Survey:
    """Go through a table once: count and mark its rows, check each cell of a declared type, guess the other types.

    Parameters
    ----------
    path, delimiter
        The table.
    declared
        Types by column.
    times
        Columns of times: none may be missing, and where they go backwards is noted.

    Raises
    ------
    BadSource
        Naming line, column and value of the first cell or row that is not as it must be.
    """
    try:
        return _survey(path, "utf-8-sig" if _has_bom(path) else "utf-8", delimiter, declared or {}, times)
    except UnicodeDecodeError as error:
        found = _survey(path, "latin-1", delimiter, declared or {}, times)
        note = f"is not UTF-8 (byte 0x{error.object[error.start]:02x}); read as Latin-1: look at its accented letters"
        return Survey(found.table, found.types, found.backwards, (note, *found.problems))


def _has_bom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"\xef\xbb\xbf"


def _survey(path: Path, encoding: str, delimiter: str, declared: dict[int, CellType], times: Sequence[int]) -> Survey:
    rows = read_rows(path, encoding, delimiter)
    _, _, first = next(rows, (0, 0, []))
    header = tuple(name.strip() or f"column_{i + 1}" for i, name in enumerate(first))
    problems = [
        f"column {i + 1} has no name; it is called {header[i]}" for i, name in enumerate(first) if not name.strip()
    ]
    column_of_times = {i: _Times(path, header[i]) for i in times}
    looks: dict[int, set[str]] = {i: set() for i in range(len(header)) if i not in declared}
    marks: list[int] = []
    count = 0
    while batch := list(islice(rows, ROWS_PER_MARK)):
        marks.append(batch[0][1])
        count += len(batch)
        lines = [line for line, _, _ in batch]
        for line, _, cells in batch:
            if len(cells) != len(header):
                raise BadSource(
                    f"{len(cells)} cells where the header has {len(header)}", file=path, place=f"line {line}",
                    remedy="complete the row; a file that was cut off ends like this",
                )  # fmt: skip
        columns = list(zip(*(cells for _, _, cells in batch), strict=True))
        for i, cell_type in declared.items():
            values = _parse_all(path, header[i], columns[i], cell_type, lines)
            if i in column_of_times:
                column_of_times[i].look_at(values, lines)
        for i, seen in looks.items():
            if "text" not in seen:
                seen |= _looks(columns[i])
    types = tuple(declared[i] if i in declared else _widest(looks[i]) for i in range(len(header)))
    backwards = {i: t.backwards for i, t in column_of_times.items() if t.backwards is not None}
    return Survey(TextTable(path, encoding, delimiter, header, count, tuple(marks)), types, backwards, tuple(problems))


@dataclass
class _Times:
    """Watches a column of times: none missing, and where they go backwards."""

    path: Path
    name: str
    last: float = -np.inf
    backwards: int | None = None

    def look_at(self, values: Sequence[Any], lines: Sequence[int]) -> None:
        times = np.array([self.last, *values], np.float64)
        missing = np.flatnonzero(np.isnan(times[1:]))
        if len(missing):
            place = f"line {lines[missing[0]]}, column {self.name!r}"
            raise BadSource("a time is missing here", file=self.path, place=place)
        back = np.flatnonzero(times[1:] < times[:-1])
        if len(back) and self.backwards is None:
            self.backwards = lines[back[0]]
        self.last = float(times[-1])


def _parse_all(
    path: Path, name: str, cells: Sequence[str], cell_type: CellType, lines: Sequence[int]
) -> list[float | int | str | bool]:
    values: list[float | int | str | bool] = []
    try:
        values.extend(parse_cell(cell, cell_type) for cell in cells)
    except ValueError as error:
        place = f"line {lines[len(values)]}, column {name!r}"
        raise BadSource(str(error), file=path, place=place) from None
    return values


def guess_type(cells: Iterable[str]) -> CellType:
    """Type that keeps every cell: integer, number (missing cells become NaN), boolean (true, false), else text.

    Names such as ``001`` stay text, and so do integers too long for the type.
    """
    return _widest({_look(cell) for cell in cells})


def _looks(cells: Sequence[str]) -> set[str]:
    """Return what the cells look like; whole columns of numbers are seen at a glance."""
    joined = "\n".join(cells) + "\n"
    if _ALL_INTEGERS.fullmatch(joined):
        return {"integer"}
    if _ALL_NUMBERS.fullmatch(joined):
        return {"number"}
    return set(map(_look, set(cells)))


def _look(cell: str) -> str:
    bare = cell.strip()
    if bare in MISSING:
        return "missing"
    if _PLAIN_INTEGER.fullmatch(bare):
        return "integer"
    if _LONG_INTEGER.fullmatch(bare):
        return "long"
    if _PLAIN_NUMBER.fullmatch(bare):
        return "number"
    return "boolean" if bare.lower() in ("true", "false") else "text"


def _widest(looks: set[str]) -> CellType:
    if looks == {"boolean"}:
        return "boolean"
    if looks and looks <= {"integer", "long"}:
        return "integer"
    if looks - {"missing"} and looks <= {"integer", "number", "missing"}:
        return "number"
    return "text"
