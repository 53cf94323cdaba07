"""The journal of an output that is being written: which chunks are finished, and where their bytes are."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from isal import isal_zlib

from dandify.store.pipeline import Chunk
from dandify.store.target import Place, StoredChunks

Index = tuple[int, ...]
SCHEMA = 1
_ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # once: json.dumps builds one a call


@dataclass(frozen=True)
class Entry:
    """A finished chunk.

    Attributes
    ----------
    chunk
        Checksums and size.
    where
        Bytes of the output at which it may begin; None where its index says where it is.
    """

    chunk: Chunk
    where: Place


@dataclass(frozen=True)
class Journal:
    """What a run noted before it was stopped.

    Attributes
    ----------
    request
        What it was to do: every value that decides what the chunks become.
    entries
        Finished chunks, by dataset and index.
    """

    request: Mapping[str, Any]
    entries: Mapping[tuple[str, Index], Entry]


def read_journal(path: Path) -> Journal | None:
    """Read a journal; None if there is none that can be used. Its last line may be torn."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return None
    entries: dict[tuple[str, Index], Entry] = {}
    try:
        head = json.loads(lines[0])
        if head["schema"] != SCHEMA:
            return None
        request, places = head["request"], head["places"]
    except (ValueError, KeyError, TypeError):
        return None
    for line in lines[1:]:
        try:
            number, index, checksum, size, payload_checksum, where = json.loads(line)
            entries[places[number], tuple(index)] = Entry(
                Chunk(checksum, size, payload_checksum), None if where is None else tuple(where)
            )
        except (ValueError, TypeError, IndexError):
            continue  # torn, or not a line of ours: that chunk is encoded again
    return Journal(request, entries)


class JournalWriter:
    """Notes finished chunks, a line each, from any thread. What was flushed outlives the process, if not the machine.

    Parameters
    ----------
    path
        The journal; replaced if it is there.
    request
        What decides what the chunks become, JSON values only.
    places
        Of the datasets.
    """

    def __init__(self, path: Path, request: Mapping[str, Any], places: list[str]) -> None:
        self._file: TextIO = path.open("w", encoding="ascii", newline="\n")
        self._numbers = {place: number for number, place in enumerate(places)}
        self._file.write(json.dumps({"schema": SCHEMA, "request": request, "places": places}) + "\n")
        self._file.flush()
        self._turn = threading.Lock()  # threads that encode note chunks, and another one flushes
        self.count = 0

    def note(self, place: str, index: Index, chunk: Chunk, where: Place) -> None:
        """Note a chunk whose bytes have been handed to the system."""
        record = (self._numbers[place], index, chunk.checksum, chunk.size, chunk.payload_checksum, where)
        with self._turn:
            self._file.write(_ENCODE(record) + "\n")
            self.count += 1

    def flush(self) -> None:
        """Hand all lines to the system."""
        with self._turn:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Candidates(Protocol):
    """Finds chunks in what a stopped run wrote."""

    def candidates(self, index: Index, where: Place, size: int) -> Iterator[bytes]:
        """Give what may be a chunk."""


class EarlierRun:
    """The chunks of one dataset that a stopped run had finished, and the journal of this run.

    Parameters
    ----------
    place
        Of the dataset.
    journal
        Of this run.
    data
        What the stopped run wrote; None where there was none.
    entries
        Its journal.
    find
        Finds chunks in it, other than in an array of NWB.
    """

    def __init__(
        self, place: str, journal: JournalWriter, data: Path | None, entries: Mapping[tuple[str, Index], Entry],
        find: Callable[[Path], Candidates] | None = None,
    ) -> None:  # fmt: skip
        self._place, self._journal, self._entries = place, journal, entries
        self._stored: Candidates | None = None
        if data is not None:
            self._stored = StoredChunks(data, place) if find is None else find(data)
        self._turn = threading.Lock()

    def payload(self, index: Index, checksum: int) -> bytes | None:
        """Return a chunk as stored, if its values are still those; None where its bytes did not reach the disk."""
        entry = self._entries.get((self._place, index))
        if entry is None or self._stored is None or entry.chunk.checksum != checksum:
            return None
        with self._turn:
            for payload in self._stored.candidates(index, entry.where, entry.chunk.size):
                if isal_zlib.crc32(payload) == entry.chunk.payload_checksum and len(payload) == entry.chunk.size:
                    return payload
        return None

    def changed(self, index: Index, checksum: int) -> bool:
        """Whether it was finished with other values."""
        entry = self._entries.get((self._place, index))
        return entry is not None and entry.chunk.checksum != checksum

    def finished(self, index: Index, chunk: Chunk, where: Place) -> None:
        """Note a chunk that is in the output."""
        self._journal.note(self._place, index, chunk, where)

    def flush(self) -> None:
        """Have the notes outlive this process."""
        self._journal.flush()
