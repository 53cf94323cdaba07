"""Arrays over the columns of a text table: parsed when read, found again by the byte offsets of some rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
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
    def shape(self) -> tuple[int, ...]:
        """(rows,)."""
        return (self.table.rows,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64, int64, bool, or object for text."""
        return DTYPES[self.cell_type]

    @property
    def block(self) -> tuple[int, ...]:
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
    def shape(self) -> tuple[int, ...]:
        """(rows, columns)."""
        return (*self.columns[0].shape, len(self.columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that holds all of them."""
        return np.result_type(*(c.dtype for c in self.columns))

    @property
    def block(self) -> tuple[int, ...]:
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
