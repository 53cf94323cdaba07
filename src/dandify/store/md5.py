"""MD5 of files that grow, several at a time, taken of what is written while it is in memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from dandify.kernels.md5 import BLOCK, LANES, START, take_in

_ENOUGH: Final = 4_000_000  # bytes that wait before somebody takes them in
_MOST: Final = 8_000_000  # a thread that finds more of them waits, instead of adding to them
_FEW: Final = 3  # streams: fewer are faster one by one

Done = Callable[[str, int], None]
"""Is told the MD5 of a finished file, as hexadecimal digits, and its size."""


@dataclass
class _Stream:
    """A file on its way; ``state`` is of MD5's lanes, or a hash object where there were too few files for them."""

    pieces: list[bytes | memoryview] = field(default_factory=list)
    waiting: int = 0
    size: int = 0
    done: Done | None = None
    state: Any = None

    def take(self) -> bytes | memoryview:
        """Remove all that waits."""
        data = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces, self.waiting = [], 0
        return data

    def give_back(self, rest: memoryview) -> None:
        """Put back what was not taken in."""
        if len(rest):
            self.pieces.insert(0, rest)
            self.waiting += len(rest)


class Hasher:
    """Takes the bytes of many files in any turn, those of one in their order, from any thread.

    They are noted first. Whoever finds enough of them waiting and nobody at it takes them in for all: eight files side
    by side. `close` takes in what is left.
    """

    def __init__(self) -> None:
        self._turn, self._hashing = threading.Lock(), threading.Lock()
        self._streams: dict[Hashable, _Stream] = {}
        self._waiting = 0

    def note(self, file: Hashable, pieces: Sequence[bytes], done: Done | None = None) -> None:
        """Add to a file; it is complete if ``done`` is given, which is called later, from any thread."""
        size = sum(map(len, pieces))
        with self._turn:
            stream = self._streams.setdefault(file, _Stream())
            stream.pieces += pieces
            stream.waiting += size
            stream.size += size
            stream.done = done
            self._waiting += size

    def work(self) -> None:
        """Take in what waits, if it is enough and nobody is at it; wait for whoever is, if it is too much."""
        while self._waiting > _ENOUGH and self._hashing.acquire(blocking=self._waiting > _MOST):
            try:
                if not self._take_in_some():
                    return
            finally:
                self._hashing.release()

    def close(self) -> None:
        """Take in all that waits, and finish the files that are complete."""
        with self._hashing:
            while self._take_in_some():
                pass

    def _take_in_some(self) -> bool:
        """Continue those files of which most waits; False if nothing was left to do."""
        with self._turn:
            ready = [(f, s) for f, s in self._streams.items() if s.waiting >= BLOCK or s.done]
            ready.sort(key=lambda one: -one[1].waiting)
            chosen = ready[:LANES]
            data = [stream.take() for _, stream in chosen]
            self._waiting -= sum(map(len, data))
        if not chosen:
            return False
        for _, stream in chosen:
            if stream.state is None:
                stream.state = START.copy() if len(ready) >= _FEW else hashlib.md5(usedforsecurity=False)
        rests = _advance([stream for _, stream in chosen], data)
        finished = []
        with self._turn:
            for (file, stream), rest in zip(chosen, rests, strict=True):
                if stream.done and not stream.waiting and len(rest) < BLOCK:
                    finished.append((stream, rest))
                    del self._streams[file]
                else:
                    stream.give_back(rest)
                    self._waiting += len(rest)
        for stream, rest in finished:
            assert stream.done
            stream.done(_digest(stream, rest), stream.size)
        return True


def _advance(streams: Sequence[_Stream], data: Sequence[bytes | memoryview]) -> list[memoryview]:
    """Take in what can be; the rest of each."""
    rests = [memoryview(d) for d in data]
    lanes = [k for k, stream in enumerate(streams) if isinstance(stream.state, np.ndarray) and len(data[k]) >= BLOCK]
    for k, stream in enumerate(streams):
        if not isinstance(stream.state, np.ndarray):
            stream.state.update(data[k])
            rests[k] = rests[k][len(data[k]) :]
    if not lanes:
        return rests
    blocks = min(len(data[k]) for k in lanes) // BLOCK
    filled = [*lanes, *[lanes[0]] * (LANES - len(lanes))]
    states = np.stack([streams[k].state for k in filled], axis=1)
    take_in(states, tuple(np.frombuffer(data[k], "<u4", blocks * BLOCK // 4) for k in filled), blocks)
    for column, k in enumerate(lanes):
        streams[k].state = states[:, column].copy()
        rests[k] = rests[k][blocks * BLOCK :]
    return rests


def _digest(stream: _Stream, rest: memoryview) -> str:
    """MD5 of a stream whose blocks are all taken in but for the last bytes (RFC 1321, 3.1 and 3.2)."""
    if not isinstance(stream.state, np.ndarray):
        return str(stream.state.hexdigest())
    end = bytes(rest) + b"\x80" + bytes((55 - len(rest)) % BLOCK) + (8 * stream.size).to_bytes(8, "little")
    states = np.repeat(stream.state[:, None], LANES, axis=1)
    take_in(states, (np.frombuffer(end, "<u4"),) * LANES, len(end) // BLOCK)
    return states[:, 0].astype("<u4").tobytes().hex()
