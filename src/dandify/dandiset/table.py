"""A table of what files do not state of themselves: subject, session, sample ...; a row for a file or a pattern."""

from __future__ import annotations

import csv
import os
import posixpath
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from glob import escape, has_magic
from io import StringIO
from pathlib import Path
from typing import Any, Final

from dandify.dandiset.bids_names import SAMPLE_TYPES
from dandify.dandiset.facts import Facts
from dandify.dandiset.supply import SUBJECT, UNKNOWN, contradicted, stated_of, with_given
from dandify.errors import BadRequest
from dandify.project.rules import problems_of

_IDS: Final = ("subject_id", "session_id", "session_start_time")
_ENTITIES: Final = {
    "sample_id": "sample", "sample_type": "sample_type", "stain": "stain",
    "acquisition": "acq", "run": "run", "chunk": "chunk", "suffix": "suffix",
    "tissue_sample_id": "tis", "slice_id": "slice", "cell_id": "cell", "description": "desc", "probe_id": "probe",
}  # fmt: skip
_PIXELS: Final = "pixel_size_um"
COLUMNS: Final = ("path", *_IDS, *SUBJECT, *_ENTITIES, _PIXELS)
"""What a table may say. ``path`` is a file or a pattern, relative to the table; ``species``, ``sex``, ``age`` and so on
are of the subject, as NWB has them, and ``n/a`` takes away what an NWB file states and DANDI refuses; ``suffix`` is
BIDS's: SPIM, CONF; so is ``sample_type``: tissue, cell line; ``pixel_size_um`` are two or three numbers, x y z."""


_NUMBER: Final = r"(?=[0-9.]*[1-9])(\d+\.?\d*|\.\d+)"
_SEPARATOR: Final = re.compile("sep=([;,\t])")  # by which Excel tells itself
_SIZES: Final = re.compile(rf"{_NUMBER}( +{_NUMBER}){{1,2}}")


@dataclass(frozen=True)
class Row:
    """A row: the line of the table, which files it is about, and what it says of them; empty cells say nothing."""

    line: int
    path: Path
    pattern: str | None
    values: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A read table."""

    path: Path
    rows: tuple[Row, ...] = ()

    def rows_of(self, path: Path) -> list[Row]:
        """Rows about a file, in their order."""
        place = path.as_posix()
        found = [r for r in self._patterns if r.path != path and fnmatchcase(place, r.pattern or "")]
        return sorted((*self._by_path.get(path, ()), *found), key=lambda row: row.line)

    @cached_property
    def _by_path(self) -> Mapping[Path, Sequence[Row]]:
        found: dict[Path, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.path, []).append(row)
        return found

    @cached_property
    def _patterns(self) -> Sequence[Row]:
        return [row for row in self.rows if row.pattern]

    def supply(self, files: Sequence[Facts], ignored: Sequence[Path] = (), *, continued: bool = False) -> list[Facts]:
        """Return the files' facts with those of the table; rows about ignored files are passed over.

        So are rows about none of the files if a run that moves them is ``continued``: they were moved before.

        Raises
        ------
        BadRequest
            If a row is about none of the files, two rows say different things of one, or a row contradicts what an NWB
            file states: to call it by another subject is no way to change the subject in it.
        """
        used = {row.line for path in (*(f.path for f in files), *ignored) for row in self.rows_of(path)}
        for row in self.rows:
            if not continued and row.line not in used:
                raise BadRequest(
                    f"{row.path} is none of the files to be organized", file=self.path, place=f"line {row.line}",
                    remedy="paths are relative to the table, and may be patterns such as 'raw/*.ome.tif'",
                )  # fmt: skip
        return [self.supplied(facts) for facts in files]

    def supplied(self, facts: Facts) -> Facts:
        """Return one file's facts with those of the table.

        Raises
        ------
        BadRequest
            As `supply`, of this file.
        """
        said: dict[str, tuple[str, int]] = {}
        for row in self.rows_of(facts.path):
            for key, value in row.values.items():
                before, line = said.setdefault(key, (value, row.line))
                if before != value:
                    raise BadRequest(
                        f"{key} of {facts.path.name} is {before!r} in line {line} and {value!r} in line {row.line}",
                        file=self.path, place=f"line {row.line}", remedy="leave one of the two cells empty",
                    )  # fmt: skip
        values: dict[str, Any] = {key: value for key, (value, _) in said.items()}
        if "session_start_time" in values:
            values["session_start_time"] = datetime.fromisoformat(values["session_start_time"])
        entities = {**facts.entities, **{_ENTITIES[k]: v for k, v in values.items() if k in _ENTITIES}}
        sizes = tuple(map(float, values.get(_PIXELS, "").split())) or facts.pixel_size_um
        facts = replace(facts, entities=entities, pixel_size_um=sizes)
        own = {k: v for k, v in values.items() if k in (*_IDS, *SUBJECT)}
        self._require_taken(facts, own, {key: line for key, (_, line) in said.items()})
        if facts.kind in ("nwb", "nwb-zarr"):
            return self._nwb(facts, own, {key: line for key, (_, line) in said.items()})
        subject = {k: v for k, v in own.items() if k in SUBJECT and v != UNKNOWN}
        ids = {k: v for k, v in own.items() if k in _IDS}
        start = own.get("session_start_time")
        given = {**subject, "session_start_time": start.isoformat()} if start else subject
        return replace(facts, subject={**facts.subject, **subject}, given=given, **ids)

    def _require_taken(self, facts: Facts, own: Mapping[str, Any], lines: Mapping[str, int]) -> None:
        """Refuse what DANDI would: a row is to mend metadata, not to break them."""
        said = {key: value for key, value in own.items() if value != UNKNOWN}
        for problem in problems_of({"species": facts.subject.get("species"), **said}, said):
            if problem.key in said:
                raise BadRequest(
                    problem.message, file=self.path, place=f"line {lines[problem.key]}", remedy=problem.remedy
                )
        for key in ("subject_id", "session_id"):
            if own.get(key) == UNKNOWN:
                raise BadRequest(
                    f"{key} is {UNKNOWN}", file=self.path, place=f"line {lines[key]}", remedy="names are made of it"
                )

    def _nwb(self, facts: Facts, own: Mapping[str, Any], lines: Mapping[str, int]) -> Facts:
        """Return an NWB file's facts with the table's, unless the file contradicts."""
        start = own.get("session_start_time")
        texts = {key: value for key, value in own.items() if key != "session_start_time"}
        wrong = [(key, stated_of(facts, key), texts[key]) for key in contradicted(facts, texts)]
        if start and facts.session_start_time not in (None, start):
            wrong.append(("session_start_time", str(facts.session_start_time), str(start)))
        for key, stated, value in wrong:
            raise BadRequest(
                f"says {key} {value!r} of {facts.path}, which itself states {stated!r}", file=self.path,
                place=f"line {lines[key]}", remedy="leave the cell empty, or convert the file again with the right one",
            )  # fmt: skip
        return replace(with_given(facts, texts), session_start_time=facts.session_start_time or start)


def read_table(path: Path) -> Table:
    """Read a CSV or TSV file with a header of `COLUMNS`; ids stay the text they are.

    What spreadsheets make of one is read: a byte order mark, semicolons or tabs for commas, UTF-16 ("Unicode text"), a
    first line ``sep=;``, names in capitals, empty columns at the end, backslashes in paths.

    Raises
    ------
    BadRequest
        If there is no ``path`` column, one of an unknown name, or a value that cannot be.
    """
    text, before, delimiter = _text(path)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip().lower() for name in next(reader, [])]
    while header and not header[-1]:
        header.pop()
    for name in header:
        if name not in COLUMNS:
            near = get_close_matches(name, COLUMNS, n=1)
            raise BadRequest(
                f"unknown column {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""), file=path,
                place=f"line {before + 1}", remedy=f"columns are {', '.join(COLUMNS)}",
            )  # fmt: skip
    if "path" not in header:
        raise BadRequest(
            "there is no column 'path'",
            file=path,
            place=f"line {before + 1}",
            remedy="it says of which file a row is",
        )
    rows = []
    for cells in reader:
        values = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if cell.strip()}
        if not values:
            continue
        line = before + reader.line_num
        where = f"line {line}"
        if "path" not in values or any(cell.strip() for cell in cells[len(header) :]):
            wrong = "no path" if "path" not in values else f"{len(cells)} cells under {len(header)} names"
            raise BadRequest(f"a row with {wrong}", file=path, place=where)
        _require_time(values.get("session_start_time"), path, where)
        if _PIXELS in values and not _SIZES.fullmatch(values[_PIXELS]):
            raise BadRequest(
                f"{_PIXELS} {values[_PIXELS]!r} is not two or three numbers above 0", file=path, place=where,
                remedy="write x and y, or x, y and z, with spaces between: 0.5 0.5 2",
            )  # fmt: skip
        if (kind := values.get("sample_type")) and kind not in SAMPLE_TYPES:
            near = get_close_matches(kind.lower(), SAMPLE_TYPES, n=1)
            raise BadRequest(
                f"sample_type {kind!r} is none that BIDS knows", file=path, place=where,
                remedy=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(SAMPLE_TYPES)}",
            )  # fmt: skip
        rows.append(_row(line, Path(os.path.abspath(path)).parent, values))
    return Table(path, tuple(rows))


def _text(path: Path) -> tuple[str, int, str]:
    """Return a table's text from its header on, how many lines stand before that, and what stands between its cells."""
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"not UTF-8: {error}", file=path, remedy="save it as CSV in UTF-8, which Excel calls CSV UTF-8"
        ) from None
    first, _, rest = text.partition("\n")
    if stated := _SEPARATOR.fullmatch(first.strip()):
        return rest, 1, stated[1]
    tabs = path.suffix.lower() == ".tsv" or "\t" in first
    return text, 0, "\t" if tabs else ";" if ";" in first else ","


def _row(line: int, folder: Path, values: Mapping[str, str]) -> Row:
    """Make a row of cells; only what stands in its ``path`` is a pattern, and not the folder of the table."""
    named = Path(values["path"])
    if "\\" in values["path"] and not (folder / named).exists():  # written on Windows
        named = Path(values["path"].replace("\\", "/"))
    pattern = None
    if has_magic(values["path"]):
        before = "" if named.is_absolute() else f"{escape(folder.as_posix())}/"
        pattern = posixpath.normpath(before + named.as_posix())
    said = {key: value for key, value in values.items() if key != "path"}
    return Row(line, Path(os.path.normpath(folder / named)), pattern, said)


def _require_time(text: str | None, path: Path, where: str) -> None:
    try:
        datetime.fromisoformat(text or "2000-01-01")
    except ValueError:
        raise BadRequest(
            f"session_start_time {text!r} is not an ISO 8601 date and time", file=path, place=where,
            remedy="write it as 2026-03-01T14:30:00+01:00",
        ) from None  # fmt: skip
