"""Compound files (OLE2, a file system within a file): where the bytes of each stream lie, read without its contents.

Source: Microsoft, [MS-CFB] "Compound File Binary File Format", sections 2.1 to 2.6. Olympus keeps the files of an OIF
as streams of one. The table of sectors is held as one array, so that files of gigabytes open quickly, and a damaged
table ends in an error rather than in a loop.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource

MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_LAST_SECTOR: Final = 0xFFFFFFFA  # greater numbers are marks: end of chain, free, of the table itself
_END: Final = 0xFFFFFFFE
_NONE: Final = 0xFFFFFFFF
_STORAGE, _STREAM, _ROOT = 1, 2, 5
# clsid, minor, major, byte order, sector shift, mini sector shift, 6 reserved bytes, sectors of the directory, of the
# FAT, first of the directory, transaction, mini stream cutoff, first and number of the mini FAT, of the DIFAT
_HEADER: Final = struct.Struct("<16sHHHHH6sIIIIIIIII")
# name, its bytes, type, colour, left, right, child, clsid, flags, created, modified, first sector, size
_ENTRY: Final = struct.Struct("<64sHBBIII16sIQQIQ")
_AGAIN: Final = "copy the file again from the microscope's computer"

Runs = tuple[tuple[int, int], ...]
"""Pieces of a file in order, each as (first byte, number of bytes)."""


@dataclass(frozen=True)
class Extent:
    """Where a stream lies in the file."""

    size: int
    runs: Runs

    def part(self, start: int, stop: int) -> Runs:
        """Pieces of the file that hold the bytes from ``start`` to ``stop`` of the stream."""
        out, begin = [], 0
        for place, length in self.runs:
            low, high = max(start, begin), min(stop, begin + length)
            if low < high:
                out.append((place + low - begin, high - low))
            begin += length
        return tuple(out)


@dataclass(frozen=True)
class CompoundFile:
    """Streams of a compound file by their paths, ``Storage00001/Stream00001``."""

    path: Path
    streams: Mapping[str, Extent]

    def open(self, file: BinaryIO, name: str) -> BinaryIO:
        """Return a stream as a file; ``file`` is the compound file, open."""
        return io.BufferedReader(_StreamIO(file, self.streams[name]), 4096)

    def read(self, file: BinaryIO, name: str) -> bytes:
        """Return all of a stream."""
        return read_runs(file, self.streams[name].runs)


def read_runs(file: BinaryIO, runs: Runs) -> bytes:
    """Read pieces of a file, joined.

    Raises
    ------
    EOFError
        If the file ends before them.
    """
    parts = []
    for place, length in runs:
        file.seek(place)
        part = file.read(length)
        if len(part) < length:
            raise EOFError(f"it ends at byte {place + len(part)}, before byte {place + length}")
        parts.append(part)
    return b"".join(parts)


def read_compound_file(path: Path) -> CompoundFile:
    """Read the directory of a compound file.

    Raises
    ------
    dandify.errors.BadSource
        If it is none, is cut off, or its tables contradict each other.
    """
    try:
        with path.open("rb") as file:
            return CompoundFile(path, _streams(file, os.fstat(file.fileno()).st_size))
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
    except (ValueError, EOFError, struct.error, IndexError, UnicodeDecodeError) as error:
        raise BadSource(f"is damaged or cut off: {error}", file=path, remedy=_AGAIN) from None


class _StreamIO(io.RawIOBase):
    """A stream as a raw file that can be read and sought."""

    def __init__(self, file: BinaryIO, extent: Extent) -> None:
        self.file, self.extent, self.place = file, extent, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        base = {0: 0, 1: self.place, 2: self.extent.size}[whence]
        self.place = max(0, base + offset)
        return self.place

    def readinto(self, buffer: Any, /) -> int:
        stop = min(self.place + len(buffer), self.extent.size)
        if stop <= self.place:
            return 0
        data = read_runs(self.file, self.extent.part(self.place, stop))
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


@dataclass(frozen=True)
class _Table:
    """Which sector follows which; sector 0 begins at ``first``."""

    following: NDArray[np.uint32]
    breaks: NDArray[np.int64]
    sector: int
    first: int

    @classmethod
    def of(cls, following: NDArray[np.uint32], *, sector: int, first: int) -> _Table:
        """Make it of the table's entries."""
        breaks = np.flatnonzero(following != np.arange(1, len(following) + 1, dtype=np.uint32))
        return cls(following, breaks, sector, first)

    def chain(self, start: int, size: int | None) -> Runs:
        """Pieces of a chain of sectors: the first ``size`` bytes of it, or all."""
        needed = -(-size // self.sector) if size is not None else len(self.following)
        runs: list[tuple[int, int]] = []
        while needed > 0 and start != _END:
            if start >= len(self.following):
                raise ValueError(f"a chain leads to sector {start} of {len(self.following)}")
            at = int(np.searchsorted(self.breaks, start))
            last = int(self.breaks[at]) if at < len(self.breaks) else len(self.following) - 1
            count = min(last - start + 1, needed)
            runs.append((self.first + start * self.sector, count * self.sector))
            needed -= count
            start = int(self.following[last])
        if size is None:
            if needed <= 0 and start != _END:
                raise ValueError("a chain of sectors has no end")
            return tuple(runs)
        if needed > 0:
            raise ValueError(f"a stream of {size} bytes ends {needed * self.sector} bytes early")
        return _cut(runs, size)


def _cut(runs: list[tuple[int, int]], size: int) -> Runs:
    over = sum(n for _, n in runs) - size
    if over and runs:
        runs[-1] = (runs[-1][0], runs[-1][1] - over)
    return tuple(runs)


def _streams(file: BinaryIO, length: int) -> dict[str, Extent]:
    if file.read(8) != MAGIC:
        raise ValueError("it does not begin as a compound file does")
    (
        _, _, major, order, shift, mini_shift, _, _, tables, directory, _, cutoff, mini_start, _, more, more_count,
    ) = _HEADER.unpack(file.read(_HEADER.size))  # fmt: skip
    if order != 0xFFFE or (major, shift) not in ((3, 9), (4, 12)) or mini_shift != 6:
        raise ValueError(f"version {major}, byte order {order:#x} and sectors of 2**{shift} bytes are not known")
    sector = 1 << shift
    listed = [np.frombuffer(file.read(436), "<u4")]
    for _ in range(more_count):
        if more >= _LAST_SECTOR:
            break
        part = np.frombuffer(read_runs(file, (((more + 1) * sector, sector),)), "<u4")
        listed.append(part[:-1])
        more = int(part[-1])
    numbers = np.concatenate(listed)[:tables]
    if len(numbers) < tables or (len(numbers) and int(numbers.max()) >= _LAST_SECTOR):
        raise ValueError("its table of sectors is not complete")
    following = b"".join(read_runs(file, (((int(n) + 1) * sector, sector),)) for n in numbers)
    table = _Table.of(np.frombuffer(following, "<u4"), sector=sector, first=sector)
    entries = _entries(read_runs(file, table.chain(directory, None)), major)
    if not entries or entries[0].kind != _ROOT:
        raise ValueError("it has no root directory")
    root = Extent(entries[0].size, table.chain(entries[0].start, entries[0].size))
    mini_table = None
    out = {}
    for name, entry in _walk(entries):
        if not entry.size:
            found = Extent(0, ())
        elif entry.size >= cutoff:
            found = Extent(entry.size, table.chain(entry.start, entry.size))
        else:
            if mini_table is None:
                words = np.frombuffer(read_runs(file, table.chain(mini_start, None)), "<u4")
                mini_table = _Table.of(words, sector=64, first=0)
            chain = mini_table.chain(entry.start, entry.size)
            found = Extent(entry.size, tuple(run for begin, n in chain for run in root.part(begin, begin + n)))
        end = max((begin + n for begin, n in found.runs), default=0)
        if end > length:
            raise ValueError(f"{name} ends at byte {end}, the file has {length}")
        if sum(n for _, n in found.runs) < found.size:
            raise ValueError(f"{name} of {found.size} bytes is not there as a whole")
        out[name] = found
    return out


@dataclass(frozen=True)
class _Entry:
    name: str
    kind: int
    left: int
    right: int
    child: int
    start: int
    size: int


def _entries(data: bytes, major: int) -> list[_Entry]:
    out = []
    for raw, length, kind, _, left, right, child, _, _, _, _, start, size in _ENTRY.iter_unpack(data):
        name = raw[: max(0, min(length, 64) - 2)].decode("utf-16-le")
        out.append(_Entry(name, kind, left, right, child, start, size & 0xFFFFFFFF if major == 3 else size))
    return out


def _walk(entries: list[_Entry]) -> Iterator[tuple[str, _Entry]]:
    """Yield every stream with its path; the tree of a storage is walked without recursion, each entry once."""
    waiting, seen = [(entries[0].child, "")], set()
    while waiting:
        number, folder = waiting.pop()
        if number == _NONE or number in seen:
            continue
        if number >= len(entries):
            raise ValueError(f"entry {number} of a directory of {len(entries)}")
        seen.add(number)
        entry = entries[number]
        waiting += [(entry.right, folder), (entry.left, folder)]
        if entry.kind == _STORAGE:
            waiting.append((entry.child, f"{folder}{entry.name}/"))
        elif entry.kind == _STREAM:
            yield folder + entry.name, entry
