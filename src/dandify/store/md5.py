"""MD5 of files that grow, several at a time, taken of what is written while it is in memory."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from dandify.kernels.md5 import BLOCK, LANES, START, take_in

_ENOUGH: Final = 12_000_000  # bytes that wait before somebody takes them in though there are not files for all lanes
_MOST: Final = 16_000_000  # a thread that finds more of them waits, instead of adding to them
_FEW: Final = 3  # streams: fewer are faster one by one

Done = Callable[[str, int], None]
"""Is told the MD5 of a finished file, as hexadecimal digits, and its size."""


@dataclass
class _Stream:
    """A file on its way; ``state`` is of MD5's lanes, or a hash object where there were too few files for them."""

    pieces: deque[memoryview] = field(default_factory=deque)
    waiting: int = 0
    size: int = 0
    done: Done | None = None
    state: Any = None
    begun: bool = False  # a part of the first piece is taken in, which is still in memory as a whole

    @property
    def ready(self) -> bool:
        return self.waiting >= BLOCK or self.done is not None

    def head(self) -> memoryview:
        """Give what can be taken in next: the first piece, or a block of what lies across the ends of pieces."""
        if not self.pieces or len(self.pieces[0]) >= BLOCK or len(self.pieces) == 1:
            return self.pieces[0] if self.pieces else memoryview(b"")
        block = b""
        while self.pieces and len(block) < BLOCK:
            piece = self.pieces.popleft()
            rest = piece[BLOCK - len(block) :]
            block += piece[: BLOCK - len(block)]
            if rest:
                self.pieces.appendleft(rest)
        self.pieces.appendleft(memoryview(block))
        return self.pieces[0]

    def drop(self, count: int) -> None:
        """Let go of the first bytes of the first piece, which are taken in."""
        if not count:
            return
        rest = self.pieces.popleft()[count:]
        self.begun = bool(rest)
        if rest:
            self.pieces.appendleft(rest)
        self.waiting -= count


class Hasher:
    """Takes the bytes of many files in any turn, those of one in their order, from any thread.

    They are noted first. Whoever finds files for all lanes waiting, or many bytes, and nobody at it takes them in for
    all: eight files side by side, as they lie. `close` takes in what is left.
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
            stream.pieces.extend(memoryview(piece) for piece in pieces if piece)
            stream.waiting += size
            stream.size += size
            stream.done = done
            self._waiting += size

    def work(self) -> None:
        """Take in what waits, if it is worth it and nobody is at it; wait for whoever is, if it is too much."""
        while self._hashing.acquire(blocking=self._waiting > _MOST):
            try:
                if not self._take_in_some(1 if self._waiting > _ENOUGH else LANES):
                    return
            finally:
                self._hashing.release()

    def close(self) -> None:
        """Take in all that waits, and finish the files that are complete."""
        with self._hashing:
            while self._take_in_some(1):
                pass

    def _take_in_some(self, least: int) -> bool:
        """Go on with some files, if so many can be gone on with; False if not."""
        with self._turn:
            ready = [(file, stream) for file, stream in self._streams.items() if stream.ready]
            if len(ready) < least:
                return False
            # what keeps more in memory than waits comes first
            ready.sort(key=lambda one: (one[1].done is None, not one[1].begun, -one[1].waiting))
            chosen = ready[:LANES]
            data = [stream.head() for _, stream in chosen]
        for _, stream in chosen:
            if stream.state is None:
                stream.state = START.copy() if len(ready) >= _FEW else hashlib.md5(usedforsecurity=False)
        counts = _advance([stream for _, stream in chosen], data)
        finished = []
        with self._turn:
            for (file, stream), count in zip(chosen, counts, strict=True):
                stream.drop(count)
                self._waiting -= count
                if stream.done and stream.waiting < (BLOCK if isinstance(stream.state, np.ndarray) else 1):
                    finished.append(stream)
                    self._waiting -= stream.waiting
                    del self._streams[file]
        for stream in finished:
            assert stream.done
            stream.done(_digest(stream), stream.size)
        return True


def _advance(streams: Sequence[_Stream], data: Sequence[memoryview]) -> list[int]:
    """Take in what can be; how many bytes of each that was."""
    counts = [0] * len(streams)
    lanes = [k for k, stream in enumerate(streams) if isinstance(stream.state, np.ndarray) and len(data[k]) >= BLOCK]
    for k, stream in enumerate(streams):
        if not isinstance(stream.state, np.ndarray):
            stream.state.update(data[k])
            counts[k] = len(data[k])
    if not lanes:
        return counts
    blocks = min(len(data[k]) for k in lanes) // BLOCK
    filled = [*lanes, *[lanes[0]] * (LANES - len(lanes))]
    states = np.stack([streams[k].state for k in filled], axis=1)
    take_in(states, tuple(np.frombuffer(data[k], np.uint8, blocks * BLOCK) for k in filled), blocks)
    for column, k in enumerate(lanes):
        streams[k].state = states[:, column].copy()
        counts[k] = blocks * BLOCK
    return counts


def _digest(stream: _Stream) -> str:
    """MD5 of a stream whose blocks are all taken in but for the last bytes (RFC 1321, 3.1 and 3.2)."""
    if not isinstance(stream.state, np.ndarray):
        return str(stream.state.hexdigest())
    rest = b"".join(stream.pieces)
    end = rest + b"\x80" + bytes((55 - len(rest)) % BLOCK) + (8 * stream.size).to_bytes(8, "little")
    states = np.repeat(stream.state[:, None], LANES, axis=1)
    take_in(states, (np.frombuffer(end, np.uint8),) * LANES, len(end) // BLOCK)
    return states[:, 0].astype("<u4").tobytes().hex()
