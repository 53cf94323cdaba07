"""Arrays over the columns of a text table: parsed when read, found again by the byte offsets of some rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources.contract import Array
from dandify.store.region import Region

CellType = Literal["number", "integer", "text", "boolean"]
CELL_TYPES: tuple[CellType, ...] = get_args(CellType)
DTYPES: dict[CellType, np.dtype[Any]] = {
    "number": np.dtype("f8"), "integer": np.dtype("i8"), "text": np.dtype("O"), "boolean": np.dtype("?"),
}  # fmt: skip

ROWS_PER_MARK = 4096  # rows between two remembered byte offsets: what a read parses in vain is at most this
MISSING = frozenset({"", "n/a"})  # n/a is how BIDS writes a missing value (Common principles, Tabular files)
_TRUTH = {"true": True, "false": False, "1": True, "0": False}

# A leading zero marks a name ("001"), not a number; integers of more than 15 digits do not fit a float64 exactly, and
# of more than 18 no int64.
_INTEGER = r"[+-]?(?:0|[1-9]\d{0,14})"
_NUMBER = r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*|(?:\.\d*)?[eE][+-]?\d+)|\.\d+(?:[eE][+-]?\d+)?|[nN][aA][nN]|[iI][nN][fF])"
_PLAIN_INTEGER = re.compile(_INTEGER)
_PLAIN_NUMBER = re.compile(_NUMBER)
_LONG_INTEGER = re.compile(r"[+-]?[1-9]\d{15,17}")
_ALL_INTEGERS = re.compile(rf"(?:{_INTEGER}\n)+")
_ALL_NUMBERS = re.compile(rf"(?:{_NUMBER}\n)+")


@dataclass(frozen=True, eq=False)
class TextTable:
    """A text table and where its rows begin.

    Attributes
    ----------
    path
        The file.
    encoding, delimiter
        How it is written.
    header
        Names in its first row; a column without a name is called ``column_<number>``, counted from 1.
    rows
        Rows below the header; empty lines do not count.
    marks
        Byte offset of every row whose number is a multiple of `ROWS_PER_MARK`.
    """

    path: Path
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    rows: int
    marks: tuple[int, ...]

    def cells(self, start: int, stop: int) -> list[list[str]]:
        """Rows ``start`` to ``stop`` as text.

        Raises
        ------
        BadSource
            If the file is no longer the one that was opened.
        """
        mark = start // ROWS_PER_MARK
        rows = read_rows(self.path, self.encoding, self.delimiter, offset=self.marks[mark])
        first = mark * ROWS_PER_MARK
        found = [cells for _, _, cells in islice(rows, start - first, stop - first)]
        if len(found) != stop - start or any(len(cells) != len(self.header) for cells in found):
            raise BadSource("has changed since it was opened", file=self.path, remedy="run the command again")
        return found


@dataclass(frozen=True, eq=False)
class TableColumn(Array):
    """One column of a text table: (rows,).

    Parameters
    ----------
    table
        The table.
    column
        Index of the column.
    cell_type
        What its cells are. A missing number is NaN, a missing text is empty.
    divisor, addend
        Of times: seconds = cell / divisor + addend.
    """

    table: TextTable
    column: int
    cell_type: CellType
    divisor: float = 1.0
    addend: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """(rows,)."""
        return (self.table.rows,)

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """float64, int64, bool, or object for text."""
        return DTYPES[self.cell_type]

    @property
    def block(self) -> tuple[int, ...]:  # type: ignore[override]
        """Rows between two marks."""
        return (max(1, min(ROWS_PER_MARK, self.table.rows)),)

    def read(self, region: Region) -> NDArray[Any]:
        """Parse the rows of a region."""
        time = region[0]
        values = self._parse(self.table.cells(time.start, time.stop), time.start)
        if self.divisor != 1.0:
            values = values / self.divisor
        return values + self.addend if self.addend else values

    def _parse(self, rows: list[list[str]], first: int) -> NDArray[Any]:
        out = np.empty(len(rows), self.dtype)
        try:
            out[:] = [parse_cell(cells[self.column], self.cell_type) for cells in rows]
        except ValueError as error:
            raise BadSource(
                str(error), file=self.table.path, place=f"below row {first}, column {self.table.header[self.column]!r}"
            ) from None
        return out


@dataclass(frozen=True, eq=False)
class TableColumns(Array):
    """Several columns of a text table side by side: (rows, columns) of one numeric type."""

    columns: tuple[TableColumn, ...]

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """(rows, columns)."""
        return (*self.columns[0].shape, len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """The type that holds all of them."""
        return np.result_type(*(c.dtype for c in self.columns))

    @property
    def block(self) -> tuple[int, ...]:  # type: ignore[override]
        """Whole rows between two marks."""
        return (*self.columns[0].block, len(self.columns))

    def read(self, region: Region) -> NDArray[Any]:
        """Parse the rows of a region."""
        time, which = region
        out = np.empty((time.stop - time.start, which.stop - which.start), self.dtype)
        rows = self.columns[0].table.cells(time.start, time.stop)
        for i, column in enumerate(self.columns[which]):
            out[:, i] = column._parse(rows, time.start)
        return out


def parse_cell(cell: str, cell_type: CellType) -> float | int | str | bool:
    """Value of a cell.

    Raises
    ------
    ValueError
        Saying what was found instead.
    """
    if cell_type == "text":
        return cell
    bare = cell.strip()
    if cell_type == "boolean":
        if bare.lower() in _TRUTH:
            return _TRUTH[bare.lower()]
        raise ValueError(f"{cell!r} is neither true, false, 1 nor 0")
    if cell_type == "number" and bare in MISSING:
        return float("nan")
    try:
        if "_" in bare:  # Python reads 1_000 as a number, nobody else does
            raise ValueError
        return float(bare) if cell_type == "number" else int(bare)
    except ValueError:
        what = "a number" if cell_type == "number" else "an integer"
        hint = "; decimals are written with a point" if re.fullmatch(r"[+-]?\d+,\d+", bare) else ""
        raise ValueError(f"{cell!r} is not {what}{hint}") from None


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


def read_rows(path: Path, encoding: str, delimiter: str, *, offset: int = 0) -> Iterator[tuple[int, int, list[str]]]:
    """Rows of a text table from a byte offset: (line of its begin, offset of its begin, cells); empty lines left out.

    Raises
    ------
    UnicodeDecodeError
        If it is not of that encoding.
    BadSource
        If a quotation is not closed.
    """
    with path.open("rb") as file:
        file.seek(offset)
        place = [offset, 0]  # bytes and lines that the reader has taken

        def lines() -> Iterator[str]:
            for raw in file:
                place[0] += len(raw)
                place[1] += 1
                yield raw.decode(encoding)

        source = lines()
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        while True:
            begin, line = place
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise BadSource(f"not a table: {error}", file=path, place=f"line {line + 1}") from None
            if cells:
                yield line + 1, begin, cells


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
