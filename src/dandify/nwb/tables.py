"""Adds tables to an NWBFile: intervals and events."""

from __future__ import annotations

from typing import Any

import numpy as np
from pynwb import NWBFile
from pynwb.core import VectorData
from pynwb.epoch import TimeIntervals
from pynwb.event import DurationVectorData, EventsTable, TimestampVectorData

from dandify.errors import BadRequest
from dandify.nwb.parts import NAMED_INTERVALS, description_of, nwb_name, unique_name, whole_of
from dandify.sources.contract import Array, Column, Source, Stream
from dandify.sources.deferred import Deferred
from dandify.sources.derived import Moved

TABLE_READ_BYTES = 8 * 2**20
"""Table columns up to this size are read; longer ones are left to the engine."""

_SHIFTED = ("start_time", "stop_time", "timestamp")


def add_intervals(nwbfile: NWBFile, source: Source, stream: Stream, shift_s: float) -> None:
    """Add a table of intervals: trials, epochs, invalid times in their own places; one without rows is left out."""
    columns = _columns(source, stream, TimeIntervals, shift_s)
    if not columns:
        return
    name = nwb_name(stream.name)
    special = name in NAMED_INTERVALS and getattr(nwbfile, name) is None
    table = TimeIntervals(
        name=name if special else unique_name(nwbfile, name, source),
        description=description_of(source, stream),
        id=np.arange(len(columns[0].data)),  # hdmf counts no deferred columns
        columns=columns,
        colnames=[c.name for c in columns],
    )
    if special:
        setattr(nwbfile, name, table)
    else:
        nwbfile.add_time_intervals(table)


def add_events(nwbfile: NWBFile, source: Source, stream: Stream, shift_s: float) -> None:
    """Add a table of events; one without rows is left out."""
    columns = _columns(source, stream, EventsTable, shift_s)
    if columns:
        nwbfile.add_events_table(
            EventsTable(
                name=unique_name(nwbfile, stream.name, source),
                description=description_of(source, stream),
                source_description=source.path.name,
                id=np.arange(len(columns[0].data)),
                columns=columns,
                colnames=[c.name for c in columns],
            )
        )


def _columns(source: Source, stream: Stream, table: type, shift_s: float) -> list[VectorData]:
    """Return the columns of a table, NWB's own first; none for a table without rows, which says nothing."""
    own = ("start_time", "stop_time") if table is TimeIntervals else ("timestamp", "duration")
    there = {c.name: c for c in stream.columns}
    if own[0] not in there or (table is TimeIntervals and own[1] not in there):
        raise BadRequest(f"{stream.kind} needs {own[0]}", file=source.path, place=stream.name)
    if not stream.columns or not stream.columns[0].array.shape[0]:
        return []
    first = [there[name] for name in own if name in there]
    taken: set[str] = set()
    out = []
    for column in [*first, *(c for c in stream.columns if c.name not in own)]:
        kind = {"timestamp": TimestampVectorData, "duration": DurationVectorData}.get(column.name, VectorData)
        name = column.name if column in first else _column_name(column, table, taken)
        taken.add(name)
        array = Moved(column.array, shift_s if name in _SHIFTED else 0.0) if column in first else column.array
        description = column.description or f"column {column.name!r} of {source.path.name}"
        out.append((kind if column in first else VectorData)(name=name, description=description, data=_cells(array)))
    return out


def _column_name(column: Column, table: type, taken: set[str]) -> str:
    """Return a name that is no attribute or special column of the table: ``id`` becomes ``id_``."""
    special = {c["name"] for c in getattr(table, "__columns__", ())}
    if column.array.dtype.kind == "O":
        special.discard("annotation")  # NWB's own text column of events
    name = nwb_name(column.name)
    while name in taken or name in special or hasattr(table, name):
        name += "_"
    return name


def _cells(array: Array) -> Any:
    if array.dtype.kind == "O":
        return [str(v) for v in whole_of(array)]
    return Deferred(array) if array.dtype.kind in "iuf" and array.nbytes > TABLE_READ_BYTES else whole_of(array)
