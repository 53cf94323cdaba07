"""CSV and TSV tables: intervals, events or time series by a declared column map."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dandify.errors import BadRequest, BadSource, Need
from dandify.sources import Converter, Source, Verdict
from dandify.sources.column_map import ColumnMap, parse_map, resolve, standard_map, streams_of
from dandify.sources.table_survey import guess_type, survey

SNIFFED_BYTES = 64 * 1024
SNIFFED_ROWS = 20
DELIMITERS = (",", ";", "\t")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}
_TIME_MUST_BE_THERE = ("start", "timestamp", "time")

# Tables with a row for each subject, cluster ... instead of each time, told by their first columns: BIDS (participants,
# samples, sessions, channels, electrodes, probes), subject tables of a project, phy and Kilosort (cluster_*.tsv).
_LISTS = {
    ("participant_id",): "participants",
    ("subject_id",): "subjects",
    ("sample_id",): "samples",
    ("session_id",): "sessions",
    ("name", "electrode_name"): "channels",
    ("name", "probe_name"): "electrodes",
    ("probe_name",): "probes",
    ("cluster_id",): "clusters of a spike sorter",
}


@dataclass(frozen=True)
class _Layout:
    """How a table is written, and its header."""

    delimiter: str
    header: tuple[str, ...]


class Table(Converter):
    """Delimited text with a header row."""

    name = "table"
    title = "CSV and TSV tables"
    patterns = ("*.csv", "*.tsv")
    looks_like = "a .csv or .tsv with a header row; beside it <name>.columns.yaml, unless it uses NWB's column names"
    becomes = "TimeIntervals (trials), EventsTable or TimeSeries"
    priority = 1000  # any program writes CSV: whoever knows a special one is asked before

    def identify(self, path: Path) -> Verdict:
        """Look at the first rows: text, a header, as many cells in the rows below it."""
        try:
            layout = _sniff(path)
        except BadSource as error:
            if sidecar_of(path).is_file():  # somebody says that it is one: what is wrong with it must be heard
                return Verdict(True, f"has a column map, {sidecar_of(path).name}")
            return Verdict(False, error.cause)
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        if not sidecar_of(path).is_file() and (other := _other_program(layout.header)):
            return Verdict(False, other)
        names = ", ".join(layout.header[:6]) + (" ..." if len(layout.header) > 6 else "")
        if len(layout.header) == 1:
            return Verdict(True, f"text with one column: {names}")
        return Verdict(True, f"text with {len(layout.header)} columns separated by {_NAMES[layout.delimiter]}: {names}")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Go through the table once; its values are read later.

        Parameters
        ----------
        path
            The table.
        options
            A column map (`dandify.sources.column_map.ColumnMap`); it wins over the sidecar.
        """
        path = Path(os.path.abspath(path))
        if not path.is_file():
            raise BadSource("is no file", file=path)
        sidecar = sidecar_of(path)
        files: tuple[Path, ...] = (path, sidecar) if sidecar.is_file() else (path,)
        layout = _sniff(path)
        mapping, given_in = _map_of(path, layout, options)
        if mapping is None:
            return Source(
                format=self.name,
                path=path,
                files=files,
                streams=(),
                needs=(_need(path),),
                problems=(f"columns are {', '.join(map(repr, layout.header))}; none is known to be a time",),
            )
        declared = resolve(mapping, layout.header, table=path, given_in=given_in)
        times = [layout.header.index(n) for k, n in mapping.time_columns.items() if k in _TIME_MUST_BE_THERE]
        found = survey(path, layout.delimiter, declared=declared, times=times)
        problems = [*found.problems]
        problems += [f"{layout.header[i]} goes backwards on line {line}" for i, line in found.backwards.items()]
        if left := _left_out(mapping, layout.header):
            problems.append(f"columns that {given_in} does not name are left out: {', '.join(left)}")
        if not found.table.rows:
            problems.append("has a header and no rows")
        return Source(
            format=self.name,
            path=path,
            files=files,
            streams=streams_of(mapping, found, given_in=given_in),
            problems=tuple(problems),
        )


def sidecar_of(path: Path) -> Path:
    """Return the file beside a table that holds its column map: ``trials.csv`` has ``trials.columns.yaml``."""
    return path.with_name(f"{path.stem}.columns.yaml")


def _map_of(path: Path, layout: _Layout, options: Mapping[str, Any]) -> tuple[ColumnMap | None, str]:
    """Return the map and where it was given: options, else the sidecar, else NWB's own names."""
    if options:
        return parse_map(options, file=path), "the options"
    sidecar = sidecar_of(path)
    if sidecar.is_file():
        return parse_map(_read_yaml(sidecar), file=sidecar), sidecar.name
    return standard_map(layout.header, path.stem), "the header"


def _read_yaml(path: Path) -> Mapping[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else None
        raise BadRequest(f"not YAML: {error.problem}", file=path, place=place) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise BadRequest(f"not YAML: {error}", file=path) from None
    if not isinstance(values, dict):
        raise BadRequest("not a mapping", file=path, remedy="write `kind: TimeIntervals` and so on")
    return values


def _sniff(path: Path) -> _Layout:
    """Find separator and header in the first rows.

    Raises
    ------
    BadSource
        Saying why it is no table.
    """
    with path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
        whole = not file.read(1)
    if not head.strip():
        raise BadSource("is empty", file=path)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadSource("is UTF-16", file=path, remedy="save it as UTF-8")
    if any(byte < 32 and byte not in b"\t\n\r\x0c" for byte in set(head)):
        raise BadSource("is binary, not text", file=path)
    if not whole:
        head = head[: head.rfind(b"\n") + 1] or head
    if b"\n" not in head and b"\r" in head:
        raise BadSource("ends its lines with CR alone", file=path, remedy="save it with LF or CR LF")
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = head.decode("latin-1")
    lines = list(io.StringIO(text, newline="\n"))
    if not lines:
        raise BadSource("is empty", file=path)
    cause = ""
    for delimiter in sorted(DELIMITERS, key=lambda d: lines[0].count(d), reverse=True):
        try:
            rows = _first_rows(lines, delimiter)
        except csv.Error as error:
            cause = cause or f"not a table: {error}"
            continue
        if trouble := _trouble(rows):
            cause = cause or trouble
        else:
            return _Layout(delimiter, tuple(c.strip() or f"column_{i + 1}" for i, c in enumerate(rows[0])))
    raise BadSource(cause, file=path)


def _first_rows(lines: list[str], delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    for cells in csv.reader(lines, delimiter=delimiter, strict=True):
        if cells:
            rows.append(cells)
        if len(rows) == SNIFFED_ROWS:
            break
    return rows


def _trouble(rows: list[list[str]]) -> str | None:
    """Why rows are no table with a header; None if they are one.

    Only the first row below the header must fit: one that does not further down is damage, which `open` reports.
    """
    header = [cell.strip() for cell in rows[0]]
    if len(rows) >= 3 and [row[0].strip().lower() for row in rows[:3]] == ["scorer", "bodyparts", "coords"]:
        return "poses of DeepLabCut or Lightning Pose (three header rows), which a plain table would misread"
    if len(rows) > 1 and len(rows[1]) != len(header):
        return f"the second row has {len(rows[1])} cells where the first has {len(header)}"
    if all(guess_type([cell]) != "text" for cell in header):
        return "no header: the first row holds numbers"
    if any(guess_type([cell]) in ("number", "integer") for cell in header):
        return "no header: the first row holds numbers beside text"
    if len(header) > 1 and sum(not cell for cell in header) > 1:
        return "no header: several columns without a name"
    if twice := sorted({name for name in header if header.count(name) > 1}):
        return f"several columns are called {', '.join(map(repr, twice))}"
    if len(header) == 1 and (len(rows) < 2 or any(guess_type(row) not in ("number", "integer") for row in rows[1:])):
        return "neither columns nor a list of numbers"
    return None


def _other_program(header: tuple[str, ...]) -> str | None:
    """Say what else it is than measurements over time; None if nothing is known against it."""
    if standard_map(header, ""):
        return None
    if header[:2] == ("track", "frame_idx"):
        return "poses of SLEAP by frame number, which a plain table would misread"
    kind = next((what for names, what in _LISTS.items() if header[: len(names)] == names), None)
    return f"a list of {kind}: a row for each of them, not for a time" if kind else None


def _left_out(mapping: ColumnMap, header: tuple[str, ...]) -> list[str]:
    if mapping.columns is None and mapping.kind != "TimeSeries":
        return []
    named = {
        *mapping.time_columns.values(),
        *(mapping.columns or {}),
        *(n for s in mapping.series or () for n in s.columns),
    }
    return [name for name in header if name not in named]


def _need(path: Path) -> Need:
    return Need(
        key="columns",
        what="a column map: whether it holds TimeIntervals, an EventsTable or TimeSeries, and which column is the time",
        remedy=f"write it to {sidecar_of(path)} or to the source's options in dandify.yaml, for example "
        "{kind: TimeSeries, time: <column>, time_unit: s, columns: {<column>: {unit: <unit>}}}; "
        "or leave the file out by naming the others",
        file=str(path),
    )


converter = Table()
