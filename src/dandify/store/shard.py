"""Zarr v3 shards: encoded inner chunks appended as they come, the index with its checksum at the end; and read again.

Source: Zarr v3 specification, codec ``sharding_indexed`` version 1.0, with ``index_location`` ``end`` and the index
encoded by ``bytes`` (little-endian) and ``crc32c``.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections import deque
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MISSING: Final = 2**64 - 1  # offset and length of an inner chunk that is not stored
_WAITING_BYTES: Final = 16_000_000  # a thread that finds more of them waits, instead of adding to them
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
    open files. Each thread writes its own chunks; the checksum of the file, which takes one byte after the other, is
    continued by whoever finds nobody at it, for all who came meanwhile.

    Parameters
    ----------
    path
        The shard; its folder is made.
    slots
        Inner chunks in the index.
    expected
        Inner chunks that will come: those that lie inside the array.
    """

    def __init__(self, path: Path, slots: int, expected: int) -> None:
        self.path = path
        self._index = np.full((slots, 2), MISSING, "<u8")
        self._left = expected
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._turn, self._hashing = threading.Lock(), threading.Lock()
        self._waiting: deque[bytes] = deque()  # for the checksum, in the order of the file
        self._waiting_bytes = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)

    def add(self, slot: int, payload: bytes) -> tuple[int, tuple[str, int] | None]:
        """Append an encoded inner chunk.

        Returns
        -------
        tuple
            Byte at which it begins; MD5 and size of the file if this call has completed it, else None.
        """
        with self._turn:
            if self._index[slot, 0] != MISSING:
                raise ValueError(f"inner chunk {slot} of {self.path} was written before")
            start = self._size
            self._index[slot] = start, len(payload)
            self._left -= 1
            pieces = [payload]
            if not self._left:
                index = self._index.tobytes()
                pieces.append(index + _CHECKSUM.pack(crc32c(index)))
            for piece in pieces:
                self._size += len(piece)
                self._waiting_bytes += len(piece)
                self._waiting.append(piece)
        with self.path.open("r+b") as file:
            file.seek(start)
            file.write(b"".join(pieces) if len(pieces) > 1 else payload)
        return start, self._continue_checksum()

    def _continue_checksum(self) -> tuple[str, int] | None:
        """Take in what waits, unless somebody is at it; the result if that was the end of the file."""
        done = None
        while self._waiting and self._hashing.acquire(blocking=self._waiting_bytes > _WAITING_BYTES):
            try:
                while True:
                    with self._turn:
                        if not self._waiting:
                            break
                        piece = self._waiting.popleft()
                        self._waiting_bytes -= len(piece)
                        last = not self._left and not self._waiting
                    self._md5.update(piece)
                    if last:
                        done = self._md5.hexdigest(), self._size
            finally:
                self._hashing.release()
        return done


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
