"""The column map of a text table: its schema, and the streams that a table becomes by it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dandify.errors import BadRequest, BadSource
from dandify.sources.columns import CellType, TableColumn, TableColumns
from dandify.sources.contract import Channel, Column, Stream
from dandify.sources.table_survey import Survey

_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6}
_TIME_KEYS = {  # keys that name a column of times, by kind, with NWB's own name of the column
    "TimeIntervals": {"start": "start_time", "stop": "stop_time"},
    "EventsTable": {"timestamp": "timestamp", "duration": "duration"},
    "TimeSeries": {"time": "time"},
}
_MEANING = {
    "start_time": "start of the interval, in seconds", "stop_time": "end of the interval, in seconds",
    "timestamp": "time of the event, in seconds", "duration": "duration of the event, in seconds",
}  # fmt: skip


class MappedColumn(BaseModel):
    """What a column is called and holds."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    name: str | None = Field(None, description="Name in the NWB; that of the column if absent.", min_length=1)
    description: str | None = None
    unit: str | None = Field(None, description="Physical unit; a TimeSeries needs one.")
    type: CellType | None = Field(None, description="number, integer, text or boolean; found out if absent.")


class MappedSeries(BaseModel):
    """Columns that together are one TimeSeries."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    name: str = Field(min_length=1)
    columns: list[str] = Field(min_length=1)
    unit: str = Field(description="Physical unit; n.a. where there is none.")
    description: str | None = None
    conversion: float = Field(1.0, description="Value in unit = cell * conversion.")


class ColumnMap(BaseModel):
    """What a text table is, and which of its columns is what."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    kind: Literal["TimeIntervals", "EventsTable", "TimeSeries"]
    name: str | None = Field(None, description="Name in the NWB; the file's stem if absent.", min_length=1)
    description: str | None = None
    time: str | None = Field(None, description="Of a TimeSeries: column of the times.")
    start: str | None = Field(None, description="Of TimeIntervals: column of the starts; start_time if absent.")
    stop: str | None = Field(None, description="Of TimeIntervals: column of the ends; stop_time if absent.")
    timestamp: str | None = Field(None, description="Of events: column of the times; timestamp if absent.")
    duration: str | None = Field(None, description="Of events: column of the durations.")
    time_unit: Literal["s", "ms", "us", "samples"] = "s"
    rate_hz: float | None = Field(None, gt=0, description="Of the samples that are counted, or of a TimeSeries.")
    time_offset_s: float = Field(0.0, description="Added to every time: where the table's zero lies in this session.")
    columns: dict[str, MappedColumn | None] | None = Field(None, description="Columns to keep; all if absent.")
    series: list[MappedSeries] | None = Field(None, description="Of a TimeSeries: columns that belong together.")

    @model_validator(mode="after")
    def _agrees_with_its_kind(self) -> Self:
        own = _TIME_KEYS[self.kind]
        foreign = [k for keys in _TIME_KEYS.values() for k in keys if k not in own and getattr(self, k) is not None]
        if foreign:
            raise ValueError(f"{self.kind} has {', '.join(own)}, not {', '.join(foreign)}")
        if self.time_unit == "samples" and self.rate_hz is None:
            raise ValueError("times counted in samples need rate_hz")
        if self.kind == "TimeSeries":
            self._check_series()
        elif self.series is not None:
            raise ValueError(f"series belongs to kind TimeSeries, not to {self.kind}")
        elif self.rate_hz is not None and self.time_unit != "samples":
            raise ValueError("rate_hz is only needed with time_unit: samples")
        elif twice := _twice([(c.name if c else None) or n for n, c in (self.columns or {}).items()]):
            raise ValueError(f"two columns of the name {twice}")
        return self

    def _check_series(self) -> None:
        if self.time is None and self.rate_hz is None:
            raise ValueError("a TimeSeries needs time (a column) or rate_hz")
        if self.time is not None and self.rate_hz is not None and self.time_unit != "samples":
            raise ValueError("time and rate_hz exclude each other, unless time_unit is samples")
        if not self.columns and not self.series:
            raise ValueError("a TimeSeries needs columns or series")
        bare = [name for name, column in (self.columns or {}).items() if column is None or column.unit is None]
        if bare:
            raise ValueError(f"a TimeSeries needs a unit (n.a. where there is none): columns {', '.join(bare)}")
        names = [(c.name if c else None) or n for n, c in (self.columns or {}).items()]
        names += [s.name for s in self.series or ()]
        if twice := _twice(names):
            raise ValueError(f"two series of the name {twice}")

    @property
    def time_columns(self) -> dict[str, str]:
        """Columns of times: the key of the map, or NWB's own name if the map has none."""
        names = {key: getattr(self, key) or default for key, default in _TIME_KEYS[self.kind].items()}
        if self.duration is None:
            names.pop("duration", None)
        if self.time is None:
            names.pop("time", None)
        return names


def _twice(names: Sequence[str]) -> str:
    return ", ".join(sorted({n for n in names if names.count(n) > 1}))


def parse_map(values: Mapping[str, Any], *, file: Path) -> ColumnMap:
    """Check a column map.

    Parameters
    ----------
    values
        As a project or a sidecar gives it.
    file
        Where it was given, for the message.

    Raises
    ------
    BadRequest
        Naming every key that is not as it must be.
    """
    try:
        return ColumnMap.model_validate(values)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            place = ".".join(map(str, item["loc"]))
            lines.append(f"  {place + ': ' if place else ''}{item['msg'].removeprefix('Value error, ')}")
        raise BadRequest(
            "\n".join(["the column map is not as expected", *dict.fromkeys(lines)]), file=file,
            remedy=f"keys are {', '.join(ColumnMap.model_fields)}",
        ) from None  # fmt: skip


def standard_map(header: Sequence[str], stem: str) -> ColumnMap | None:
    """Return the map of a table whose header has NWB's own names; None for any other."""
    if {"start_time", "stop_time"} <= set(header):
        return ColumnMap(kind="TimeIntervals", name="trials" if stem.lower() == "trials" else None)
    if "timestamp" in header:
        return ColumnMap(kind="EventsTable", duration="duration" if "duration" in header else None)
    return None


def resolve(mapping: ColumnMap, header: Sequence[str], *, table: Path, given_in: str) -> dict[int, CellType]:
    """Find the columns of a map in a header: index and declared type of those that have one.

    Raises
    ------
    BadSource
        Naming the column that is not there, those that are, and the nearest.
    """
    wanted: dict[str, CellType | None] = dict.fromkeys(mapping.time_columns.values(), "number")
    wanted.update({n: (c.type if c else None) for n, c in (mapping.columns or {}).items() if n not in wanted})
    wanted.update({n: "number" for s in mapping.series or () for n in s.columns if wanted.get(n) is None})
    for name in wanted:
        if header.count(name) != 1:
            raise _no_column(name, header, table=table, given_in=given_in)
    return {header.index(name): cell_type for name, cell_type in wanted.items() if cell_type is not None}


def streams_of(mapping: ColumnMap, found: Survey, *, given_in: str) -> tuple[Stream, ...]:
    """Return the streams that a table becomes.

    Raises
    ------
    BadSource
        If a column of a TimeSeries does not hold numbers.
    """
    if mapping.kind == "TimeSeries":
        return _series(mapping, found, given_in=given_in)
    return (_rows(mapping, found),)


def _rows(mapping: ColumnMap, found: Survey) -> Stream:
    """Intervals or events: every row a row."""
    path, header = found.table.path, found.table.header
    times = {
        _TIME_KEYS[mapping.kind][key]: _times(mapping, found, name, offset=key != "duration")
        for key, name in mapping.time_columns.items()
    }
    columns = [Column(name, _MEANING[name], array, "seconds") for name, array in times.items()]
    chosen = mapping.columns if mapping.columns is not None else dict.fromkeys(header)
    for name, entry in chosen.items():
        if name in mapping.time_columns.values():
            continue
        entry = entry or MappedColumn.model_construct()
        description = entry.description or f"column {name!r} of {path.name}"
        if entry.unit:
            description += f", in {entry.unit}"
        index = header.index(name)
        columns.append(
            Column(entry.name or name, description, TableColumn(found.table, index, found.types[index]), entry.unit)
        )
    return Stream(
        name=mapping.name or path.stem,
        kind=mapping.kind,
        axes=("t",),
        shape=(found.table.rows,),
        columns=tuple(columns),
        description=mapping.description or f"rows of {path.name}",
    )


def _series(mapping: ColumnMap, found: Survey, *, given_in: str) -> tuple[Stream, ...]:
    path, header = found.table.path, found.table.header
    groups = [
        MappedSeries(name=c.name or name, columns=[name], unit=c.unit or "", description=c.description)
        for name, c in (mapping.columns or {}).items() if c is not None and name != mapping.time
    ] + list(mapping.series or ())  # fmt: skip
    streams = []
    for group in groups:
        parts = []
        for name in group.columns:
            index = header.index(name)
            if found.types[index] == "text":
                raise BadSource(
                    f"column {name!r} is to be a TimeSeries and holds text", file=path,
                    remedy=f"say `type: number` in {given_in} to learn on which line",
                )  # fmt: skip
            parts.append(TableColumn(found.table, index, found.types[index]))
        one = len(parts) == 1
        streams.append(
            Stream(
                name=group.name,
                kind="TimeSeries",
                axes=("t",) if one else ("t", "c"),
                array=parts[0] if one else TableColumns(tuple(parts)),
                rate_hz=mapping.rate_hz if mapping.time is None else None,
                timestamps=None if mapping.time is None else _times(mapping, found, mapping.time),
                starting_time_s=mapping.time_offset_s if mapping.time is None else 0.0,
                unit=group.unit,
                conversion=group.conversion,
                channels=() if one else tuple(Channel(name) for name in group.columns),
                description=group.description
                or f"column{'s' * (not one)} {', '.join(map(repr, group.columns))} of {path.name}",
            )
        )
    return tuple(streams)


def _times(mapping: ColumnMap, found: Survey, name: str, *, offset: bool = True) -> TableColumn:
    divisor = mapping.rate_hz if mapping.time_unit == "samples" else _PER_SECOND[mapping.time_unit]
    assert divisor is not None
    index = found.table.header.index(name)
    return TableColumn(found.table, index, "number", divisor, mapping.time_offset_s if offset else 0.0)


def _no_column(name: str, header: Sequence[str], *, table: Path, given_in: str) -> BadSource:
    if name in header:
        cause = f"{header.count(name)} columns are called {name!r}"
    else:
        nearest = difflib.get_close_matches(name, header, n=1, cutoff=0.6)
        cause = f"no column {name!r}{f' (nearest: {nearest[0]!r})' if nearest else ''}; the header has " + ", ".join(
            map(repr, header)
        )
    return BadSource(cause, file=table, place="header", remedy=f"correct the table or the column map in {given_in}")
