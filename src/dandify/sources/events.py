"""Edges of digital lines: found in words of bits block by block, and added to an NWBFile as a table of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.contract import Array
from dandify.sources.neuroconv import free_name

if TYPE_CHECKING:
    from pynwb import NWBFile


@dataclass(frozen=True, eq=False)
class Edges:
    """Every change of some digital lines, in the order of time.

    Attributes
    ----------
    samples
        (edges,) int64, the first sample in the new state.
    bits
        (edges,) int64, the line.
    rising
        (edges,) bool.
    high_at_start
        Lines that are high in the first sample.
    """

    samples: NDArray[np.int64]
    bits: NDArray[np.int64]
    rising: NDArray[np.bool_]
    high_at_start: tuple[int, ...] = ()


def find_edges(array: Array, bits: Sequence[int]) -> Edges:
    """Find the edges of digital lines that are packed into words.

    Reads one block at a time, however long the recording is.

    Parameters
    ----------
    array
        (samples, words) of a 16 bit integer type; line 16 is bit 0 of the second word.
    bits
        The lines to look at.
    """
    found: list[tuple[NDArray[np.int64], int, NDArray[np.bool_]]] = []
    length, step = array.shape[0], max(1, array.block[0])
    last: NDArray[np.uint16] | None = None
    high: tuple[int, ...] = ()
    for begin in range(0, length, step):
        words = np.asarray(array[begin : min(begin + step, length)]).view(np.uint16)
        if last is None:
            last = words[:1]
            high = tuple(b for b in bits if _line(words[:1], b)[0])
        joined = np.concatenate([last, words])
        changed = np.flatnonzero((joined[1:] != joined[:-1]).any(axis=1))
        for bit in bits if len(changed) else ():
            before, after = _line(joined[changed], bit), _line(joined[changed + 1], bit)
            mine = before != after
            found.append((begin + changed[mine], bit, after[mine]))
        last = words[-1:]
    samples = np.concatenate([f[0] for f in found]) if found else np.empty(0, np.int64)
    lines = np.concatenate([np.full(len(f[0]), f[1]) for f in found]) if found else np.empty(0, np.int64)
    rising = np.concatenate([f[2] for f in found]) if found else np.empty(0, bool)
    order = np.lexsort((lines, samples))
    return Edges(samples[order].astype(np.int64), lines[order].astype(np.int64), rising[order], high)


def add_events_table(
    nwbfile: NWBFile,
    *,
    name: str,
    description: str,
    source_description: str,
    times_s: NDArray[np.float64],
    columns: Sequence[tuple[str, str, Sequence[Any]]],
) -> bool:
    """Add a table of events to the file; a table without rows is not added.

    Parameters
    ----------
    nwbfile
        The session's file.
    name, description, source_description
        Of the table. A name that is taken gets a number.
    times_s
        (rows,) seconds after the session's start.
    columns
        Name, description and values (rows,) of each further column.

    Returns
    -------
    bool
        Whether there were rows.
    """
    from pynwb.core import VectorData
    from pynwb.event import EventsTable, TimestampVectorData

    if not len(times_s):
        return False
    stamps = TimestampVectorData(
        name="timestamp", description="Time of the event in seconds after the session's start.", data=times_s
    )
    more = [VectorData(name=n, description=text, data=list(values)) for n, text, values in columns]
    nwbfile.add_events_table(
        EventsTable(
            name=free_name(nwbfile, name),
            description=description,
            source_description=source_description,
            columns=[stamps, *more],
            colnames=["timestamp", *(c.name for c in more)],
        )
    )
    return True


def add_edges(
    nwbfile: NWBFile,
    edges: Edges,
    *,
    name: str,
    description: str,
    source_description: str,
    rate_hz: float,
    starting_time_s: float,
    line_names: dict[int, str],
) -> bool:
    """Add edges as a table with the columns ``timestamp``, ``line`` and ``edge`` (``rising`` or ``falling``).

    Parameters
    ----------
    nwbfile
        The session's file.
    edges
        From `find_edges`.
    name, description, source_description
        Of the table; the lines that are high at the start are added to the description.
    rate_hz, starting_time_s
        Of the words, the time in seconds after the session's start.
    line_names
        Bit -> what the acquisition program calls the line.
    """
    if edges.high_at_start:
        description += f" High in the first sample: {', '.join(line_names[b] for b in edges.high_at_start)}."
    return add_events_table(
        nwbfile, name=name, description=description, source_description=source_description,
        times_s=starting_time_s + edges.samples / rate_hz,
        columns=edge_columns([line_names[int(b)] for b in edges.bits], edges.rising),
    )  # fmt: skip


def edge_columns(lines: Sequence[str], rising: NDArray[np.bool_]) -> list[tuple[str, str, Sequence[Any]]]:
    """Make the columns of a table of edges."""
    return [
        ("line", "Digital line, as the acquisition program names it.", lines),
        (
            "edge",
            "Whether the line went up (rising) or down (falling).",
            np.where(rising, "rising", "falling").tolist(),
        ),
    ]


def _line(words: NDArray[np.uint16], bit: int) -> NDArray[np.bool_]:
    mask = np.uint16(1 << (bit % 16))
    high: NDArray[np.bool_] = (words[:, bit // 16] & mask) != 0
    return high
