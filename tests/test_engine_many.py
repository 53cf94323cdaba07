"""Chunks that are encoded together become what each becomes alone, and are written in their order."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.kernels.adler import adler32
from dandify.store.choose import choose_encoder
from dandify.store.deflate import Planar
from dandify.store.encode import ShuffleGzip, encode_many
from dandify.store.in_turn import InTurn
from dandify.store.journal import JournalWriter, read_journal
from dandify.store.pipeline import Chunk
from deflate_sets import SETS, chunk

SHORT = [m for m in SETS if np.dtype(chunk(m, 64).dtype).itemsize in (2, 4)]  # what an encoder learns


def rows(values: NDArray[Any], count: int) -> NDArray[np.uint8]:
    """Chunks of as many bytes, (count, bytes)."""
    raw = np.frombuffer(values.tobytes(), np.uint8)
    size = raw.size // count // values.itemsize * values.itemsize
    return raw[: count * size].reshape(count, size).copy()


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("make", SHORT, ids=lambda m: m.__name__)
def test_together_as_alone(make: Callable[..., NDArray[Any]], shuffled: bool) -> None:
    values = chunk(make, 300_000)
    chunks = rows(values, 13)
    encoder = Planar(shuffled=shuffled).learnt(list(chunks[::4]), values.itemsize)
    assert encoder.encode_many(chunks, values.itemsize) == [encoder.encode(c, values.itemsize) for c in chunks]


@pytest.mark.parametrize("where", [0, 5, 11])
def test_a_chunk_unlike_the_others(where: int) -> None:
    """Noise among quiet chunks, and silence among noise: weighed anew, as when it comes alone."""
    rng = np.random.default_rng(7)
    quiet = rng.normal(0, 2, (12, 20_000)).round().astype("<i2")
    noise = rng.integers(-(2**15), 2**15, 20_000).astype("<i2")
    chunks = quiet.view(np.uint8).reshape(12, -1)
    encoder = Planar().learnt(list(chunks), 2)
    chunks[where] = noise.view(np.uint8)
    made = encoder.encode_many(chunks, 2)
    assert made == [encoder.encode(c, 2) for c in chunks]
    assert zlib.decompress(made[where]) == noise.view(np.uint8).reshape(-1, 2).T.tobytes()


def test_a_plane_that_isal_was_chosen_for_is_noise_in_one_chunk() -> None:
    rng = np.random.default_rng(8)
    words = rng.integers(0, 256, (40, 25), np.uint8)  # which recur at no period: only a match search finds them
    chunks = words[rng.integers(0, 40, (9, 2400))].reshape(9, -1)
    encoder = Planar().learnt(list(chunks), 2)
    assert any(known.settled for known in encoder.known)
    chunks[4] = rng.integers(0, 256, chunks.shape[1])
    made = encoder.encode_many(chunks, 2)
    assert made == [encoder.encode(c, 2) for c in chunks]
    assert all(
        zlib.decompress(m) == c.reshape(-1, 2).T.tobytes() for m, c in zip(made, chunks, strict=True)
    )  # fmt: skip


@settings(deadline=None)
@given(st.integers(1, 7), st.integers(1, 5000), st.sampled_from([2, 4]), st.integers(0, 2**32))
def test_of_any_number_and_size(count: int, items: int, itemsize: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chunks = rng.choice(rng.integers(0, 256, rng.integers(1, 60)), (count, items * itemsize)).astype(np.uint8)
    encoder = choose_encoder([chunks[0]], itemsize)
    made = encode_many(encoder, chunks, itemsize)
    assert made == [encoder.encode(c, itemsize) for c in chunks]


def test_encoders_that_take_one_chunk_at_a_time() -> None:
    chunks = rows(chunk(SETS[0], 10_000), 3)
    assert encode_many(ShuffleGzip(), chunks, 2) == [ShuffleGzip().encode(c, 2) for c in chunks]


@settings(deadline=None)
@given(st.integers(1, 4), st.sampled_from([0, 1, 4095, 4096, 4097, 70_000]), st.sampled_from([0, 255, None]))
def test_adler(lines: int, size: int, value: int | None) -> None:
    data = np.random.default_rng(size).integers(0, 256, (lines, size), np.uint8)
    if value is not None:
        data[:] = value
    assert adler32(data) == zlib.adler32(data.tobytes())


def test_results_are_taken_in_turn_and_by_one_thread_at_a_time() -> None:
    taken, busy = list[tuple[int, int]](), threading.Lock()

    def take(number: int, square: int) -> None:
        assert busy.acquire(blocking=False)
        time.sleep(0.0005)
        taken.append((number, square))
        busy.release()

    def make(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number**2

    in_turn = InTurn(take)
    with ThreadPoolExecutor(4) as pool:
        futures = [in_turn.submit(pool, make, n) for n in range(60)]
        for number, future in enumerate(futures):
            future.result(10)
            assert len(taken) > number
    assert taken == [(n, n**2) for n in range(60)]


@pytest.mark.parametrize("failing", ["make", "take"])
def test_nothing_is_taken_behind_what_fails(failing: str) -> None:
    taken = list[int]()

    def make(number: int) -> int:
        if failing == "make" and number == 5:
            raise OSError("no room")
        return number

    def take(number: int, _: int) -> None:
        if failing == "take" and number == 5:
            raise OSError("no room")
        taken.append(number)

    in_turn = InTurn(take)
    with ThreadPoolExecutor(3) as pool:
        futures = [in_turn.submit(pool, make, n) for n in range(9)]
    assert [futures[n].result(10) for n in range(5)] == [None] * 5
    with pytest.raises(OSError, match="no room"):
        futures[5].result(10)
    assert taken == list(range(5))
    assert not any(future.done() for future in futures[6:])


def test_chunks_noted_by_threads_while_another_flushes_are_whole_lines(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path / "journal", {}, ["data"])
    with ThreadPoolExecutor(4) as pool:
        for number in range(4000):
            pool.submit(journal.note, "data", (number, 0), Chunk(number, 10**6 + number, 7), (number,))
            if number % 10 == 0:
                journal.flush()
    journal.close()
    entries = read_journal(tmp_path / "journal")
    assert entries is not None
    assert {index[0]: entry.chunk.size - 10**6 for (_, index), entry in entries.entries.items()} == {
        n: n for n in range(4000)
    }
