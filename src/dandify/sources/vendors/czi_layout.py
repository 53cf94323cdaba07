"""CZI as a container: segments, the directory of subblocks, and the XML.

Source: "ZISRAW (CZI) File Format, Design Specification" 1.2.2 (Carl Zeiss, 2016), as libCZI and czifile tell it. A
file is a run of segments; each begins with 32 bytes::

    char id[16]; int64 allocated; int64 used;

The subblocks hold one plane, or a tile of one, each. The directory repeats the entry of every subblock: 32 bytes, and
20 for each of its dimensions.

No package reads it as is needed: the czifile that runs on Python 3.11 (2019.7.2.3) knows no zstd, which ZEN has written
since 2022, and pylibCZIrw (LGPL) keeps an open file that can be used from one thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, error
from typing import BinaryIO, Final, NamedTuple

from dandify.errors import BadSource

MAGIC: Final = b"ZISRAWFILE"

_SEGMENT: Final = Struct("<16sqq")
# Major, minor, 2 reserved, GUIDs of the set and the file, part, directory, metadata, update pending, attachments.
_FILE: Final = Struct("<iiii16s16siqqiq")
# Schema, pixel type, position, part, compression, pyramid, 5 spare, number of dimensions.
_ENTRY: Final = Struct("<2siqiiB5si")
_DIMENSION: Final = Struct("<4siifi")  # letter, start, size, start as coordinate, stored size (0: the same)
_SUBBLOCK: Final = Struct("<iiq")  # bytes of metadata, attachments, and data
_ATTACHMENT: Final = Struct("<2s10sqi16s8s80s")  # schema, spare, position, part, GUID, type, name
_ATTACHMENTS_HEAD: Final = 256  # the number of entries, and spare bytes
_ATTACHED_HEAD: Final = 256  # the size, the entry and spare bytes
_TIMES_HEAD: Final = 8  # bytes and count of the times, which are float64
_DIRECTORY_HEAD: Final = 128  # the number of entries, and spare bytes
_METADATA_HEAD: Final = 256  # bytes of XML and attachments, and spare bytes
_SUBBLOCK_HEAD: Final = 256  # sizes, the entry and spare bytes; more where an entry has many dimensions

_AGAIN: Final = "copy the file again from the microscope's computer"


class Extent(NamedTuple):
    """Where a subblock lies along one dimension, and with how many values it is stored there."""

    start: int
    size: int
    stored: int


@dataclass(frozen=True)
class Entry:
    """What the directory says of a subblock.

    Attributes
    ----------
    position
        Byte of its segment.
    pixel_type, compression
        Numbers of the specification.
    dimensions
        By letter: X, Y, and those of C Z T R S I B M H V that the acquisition had.
    """

    position: int
    pixel_type: int
    compression: int
    dimensions: Mapping[str, Extent]

    def at(self, letter: str) -> int:
        """Return its place along a dimension; 0 if it lacks it."""
        found = self.dimensions.get(letter)
        return 0 if found is None else found.start


class Data(NamedTuple):
    """Where the XML and the pixels of a subblock lie, in bytes."""

    xml: int
    xml_size: int
    pixels: int
    size: int


@dataclass(frozen=True)
class Czi:
    """A file's directory and XML.

    Attributes
    ----------
    entries
        Subblocks at full resolution; those of pyramids are made of them.
    xml
        As the file holds it; None where it has none.
    unfinished
        The file says that it was being changed.
    times
        Of the time points, in seconds; empty if the file has none.
    """

    entries: tuple[Entry, ...]
    xml: bytes | None
    unfinished: bool
    times: tuple[float, ...] = ()


def read_czi(path: Path) -> Czi:
    """Read the directory and the XML of a file.

    Raises
    ------
    dandify.errors.BadSource
        If it is cut off, was not finished, or is one of a set of files.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            _segment(file, path, 0, MAGIC)
            head = _FILE.unpack(_exactly(file, _FILE.size, path, "file header"))
            part, directory, metadata, pending, attachments = head[6:]
            if part:
                raise BadSource(
                    f"is part {part + 1} of a recording that is split over several files", file=path,
                    remedy="open it in ZEN and save it as one file",
                )  # fmt: skip
            if not directory:
                raise BadSource(
                    "has no directory of its planes: it was not finished", file=path,
                    remedy="open it in ZEN, which can mend it, and save it",
                )  # fmt: skip
            for name, position in (("directory", directory), ("metadata", metadata)):
                if position >= size:
                    raise BadSource(
                        f"is cut off: its {name} begins at byte {position}, and the file ends at {size}", file=path,
                        remedy=_AGAIN,
                    )  # fmt: skip
            entries = _directory(file, path, directory)
            xml = _xml(file, path, metadata) if metadata else None
            times = _times(file, attachments) if attachments else ()
    except OSError as failure:
        raise BadSource(f"cannot be read: {failure.strerror}", file=path) from None
    if not entries:
        raise BadSource("holds no image", file=path)
    return Czi(entries, xml, bool(pending), times)


def data_of(file: BinaryIO, entry: Entry) -> Data:
    """Find the XML and the pixels of a subblock.

    Raises
    ------
    EOFError
        If the file ends before they do.
    ValueError
        If there is no subblock.
    """
    file.seek(entry.position)
    head = file.read(_SEGMENT.size + _SUBBLOCK.size)
    if len(head) < _SEGMENT.size + _SUBBLOCK.size:
        raise EOFError
    if head[:14] != b"ZISRAWSUBBLOCK":
        raise ValueError(f"no subblock begins at byte {entry.position}")
    xml_size, _, data_size = _SUBBLOCK.unpack_from(head, _SEGMENT.size)
    if xml_size < 0 or data_size < 0:
        raise ValueError(f"the subblock at byte {entry.position} has sizes below 0")
    own = _SUBBLOCK.size + _ENTRY.size + _DIMENSION.size * len(entry.dimensions)
    start = entry.position + _SEGMENT.size + max(_SUBBLOCK_HEAD, own)
    if start + xml_size + data_size > os.fstat(file.fileno()).st_size:
        raise EOFError
    return Data(start, xml_size, start + xml_size, data_size)


def _directory(file: BinaryIO, path: Path, position: int) -> tuple[Entry, ...]:
    used = _segment(file, path, position, b"ZISRAWDIRECTORY")
    content = _exactly(file, used, path, "directory")
    if len(content) < _DIRECTORY_HEAD:
        raise BadSource("has a directory without entries", file=path, place=f"byte {position}", remedy=_AGAIN)
    count, at = int.from_bytes(content[:4], "little", signed=True), _DIRECTORY_HEAD
    found = []
    try:
        for _ in range(count):
            schema, kind, where, part, compression, pyramid, _, dimensions = _ENTRY.unpack_from(content, at)
            if schema != b"DV" or where < 0 or dimensions < 0:
                raise ValueError
            at += _ENTRY.size
            extents = {}
            for _ in range(dimensions):
                letter, start, size, _, stored = _DIMENSION.unpack_from(content, at)
                extents[letter.rstrip(b"\0 ").decode("ascii")] = Extent(start, size, stored or size)
                at += _DIMENSION.size
            if part:
                raise BadSource(
                    f"has planes in part {part + 1} of a set of files", file=path,
                    remedy="open it in ZEN and save it as one file",
                )  # fmt: skip
            reduced = any(e.stored != e.size for e in extents.values())
            if not pyramid and not reduced:
                found.append(Entry(where, kind, compression, extents))
    except (error, ValueError):
        raise BadSource(
            f"has a damaged directory: entry {len(found) + 1} of {count} is none", file=path,
            place=f"byte {position + _SEGMENT.size + at}", remedy=_AGAIN,
        ) from None  # fmt: skip
    return tuple(found)


def _xml(file: BinaryIO, path: Path, position: int) -> bytes:
    _segment(file, path, position, b"ZISRAWMETADATA")
    head = _exactly(file, _METADATA_HEAD, path, "metadata")
    return _exactly(file, max(0, int.from_bytes(head[:4], "little", signed=True)), path, "metadata")


def _times(file: BinaryIO, position: int) -> tuple[float, ...]:
    """Read the attachment with the times of the time points; none if it cannot be read: pixels count more."""
    try:
        file.seek(position)
        head = file.read(_SEGMENT.size + _ATTACHMENTS_HEAD)
        count = int.from_bytes(head[_SEGMENT.size : _SEGMENT.size + 4], "little")
        for _ in range(count if head.startswith(b"ZISRAWATTDIR") else 0):
            schema, _, place, _, _, kind, name = _ATTACHMENT.unpack(file.read(_ATTACHMENT.size))
            if schema == b"A1" and kind.startswith(b"CZTIMS") and name.rstrip(b"\0") == b"TimeStamps":
                file.seek(place + _SEGMENT.size + _ATTACHED_HEAD)
                number = Struct("<ii").unpack(file.read(_TIMES_HEAD))[1]
                return Struct(f"<{number}d").unpack(file.read(8 * number)) if 0 < number < 2**24 else ()
    except (error, ValueError, OSError):
        pass
    return ()


def _segment(file: BinaryIO, path: Path, position: int, name: bytes) -> int:
    """Read the head of a segment; the bytes of it that are used."""
    file.seek(position)
    found, allocated, used = _SEGMENT.unpack(_exactly(file, _SEGMENT.size, path, name.decode()))
    if found.rstrip(b"\0") != name:
        raise BadSource(
            f"has {found.rstrip(bytes(1))!r} where {name.decode()} should be", file=path, place=f"byte {position}",
            remedy=_AGAIN,
        )  # fmt: skip
    return int(used or allocated)


def _exactly(file: BinaryIO, count: int, path: Path, what: str) -> bytes:
    content = file.read(count) if 0 <= count <= os.fstat(file.fileno()).st_size else b""
    if len(content) < count or count < 0:
        raise BadSource(f"is cut off within its {what}", file=path, place=f"byte {file.tell()}", remedy=_AGAIN)
    return content
