"""Zarr v3 shards: encoded inner chunks appended as they come, the index with its checksum at the end; and read again.

Source: Zarr v3 specification, codec ``sharding_indexed`` version 1.0, with ``index_location`` ``end`` and the index
encoded by ``bytes`` (little-endian) and ``crc32c``.
"""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.store.md5 import Done, Hasher
from dandify.store.raw_file import write_at

MISSING: Final = 2**64 - 1  # offset and length of an inner chunk that is not stored
_CHECKSUM = struct.Struct("<I")
_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, reflected


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720); in Python, which is enough for the indexes of shards: some kilobytes each."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


class ShardFile:
    """A shard that grows by inner chunks in any order, from any thread; closed when the last one has come.

    The file is opened for each chunk and closed again: an image may have more growing shards than a process may have
    open files. Each thread writes its own chunks.

    Parameters
    ----------
    path
        The shard; its folder is made.
    slots
        Inner chunks in the index.
    expected
        Inner chunks that will come: those that lie inside the array.
    hasher
        Takes the file's MD5.
    """

    def __init__(self, path: Path, slots: int, expected: int, hasher: Hasher) -> None:
        self.path = path
        self._hasher = hasher
        self._index = np.full((slots, 2), MISSING, "<u8")
        self._left = expected
        self._size = 0
        self._turn = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)

    def add(self, slot: int, payload: bytes, done: Done) -> tuple[int, bool]:
        """Append an encoded inner chunk.

        Parameters
        ----------
        slot
            Its place in the index.
        payload
            As stored.
        done
            Is told the MD5 and size of the file, some time after the last chunk.

        Returns
        -------
        tuple
            Byte at which it begins; whether it was the last.
        """
        with self._turn:
            if self._index[slot, 0] != MISSING:
                raise ValueError(f"inner chunk {slot} of {self.path} was written before")
            start = self._size
            self._index[slot] = start, len(payload)
            self._left -= 1
            last = not self._left
            pieces = [payload]
            if last:
                index = self._index.tobytes()
                pieces.append(index + _CHECKSUM.pack(crc32c(index)))
            self._size += sum(map(len, pieces))
            self._hasher.note(self.path, pieces, done if last else None)
        write_at(self.path, start, b"".join(pieces) if last else payload)
        self._hasher.work()
        return start, last


def read_index(path: Path, slots: int, *, at_end: bool = True, checksummed: bool = True) -> NDArray[Any]:
    """Offsets and lengths of a shard's inner chunks, (slots, 2) uint64; `MISSING` where one is not stored.

    Parameters
    ----------
    path
        The shard.
    slots
        Inner chunks in the index.
    at_end
        Where the index is.
    checksummed
        The index is followed by its CRC-32C.

    Raises
    ------
    ValueError
        If the file is too short, the checksum is wrong, or a chunk lies outside of the file.
    """
    length = slots * 16 + (_CHECKSUM.size if checksummed else 0)
    size = path.stat().st_size
    if size < length:
        raise ValueError(f"{size} bytes, and its index alone has {length}")
    with path.open("rb") as file:
        file.seek(size - length if at_end else 0)
        data = file.read(length)
    if checksummed:
        (stated,) = _CHECKSUM.unpack(data[-_CHECKSUM.size :])
        data = data[: -_CHECKSUM.size]
        if crc32c(data) != stated:
            raise ValueError("the checksum of its index is wrong")
    index = np.frombuffer(data, "<u8").reshape(slots, 2)
    stored = index[(index != MISSING).any(axis=1)]
    first, last = (0, size - length) if at_end else (length, size)
    starts, lengths = stored[:, 0], stored[:, 1]
    if ((starts < first) | (starts > last) | (lengths > last - np.minimum(starts, last))).any():
        raise ValueError("its index points outside of the file")
    return index
