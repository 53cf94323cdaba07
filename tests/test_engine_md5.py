"""MD5 of many files at a time, against that of hashlib."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dandify.kernels.md5 import BLOCK, LANES, START, take_in
from dandify.store import md5
from dandify.store.md5 import Hasher


def test_lanes_are_streams_of_their_own() -> None:
    rng = np.random.default_rng(0)
    data = [rng.integers(0, 2**32, 5 * BLOCK // 4, np.uint32).astype("<u4").view(np.uint8) for _ in range(LANES)]
    states = np.repeat(START[:, None], LANES, axis=1)
    take_in(states, tuple(data), 3)
    take_in(states, tuple(d[3 * BLOCK :] for d in data), 2)
    end = b"\x80" + bytes(55) + (8 * 5 * BLOCK).to_bytes(8, "little")
    take_in(states, (np.frombuffer(end, np.uint8),) * LANES, 1)
    for lane, values in enumerate(data):
        assert states[:, lane].astype("<u4").tobytes() == hashlib.md5(values.tobytes()).digest()


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 400)), max_size=80),
    empty=st.integers(0, 3),
    enough=st.sampled_from([0, 100, 1_000, 10_000_000]),
    seed=st.integers(0, 9),
)
def test_files_in_any_turn(pieces: list[tuple[int, int]], empty: int, enough: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    expected: dict[int, bytes] = {}
    found: dict[int, tuple[object, ...]] = {}
    hasher = Hasher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(md5, "_ENOUGH", enough)
        for file, size in pieces:
            data = rng.bytes(size)
            expected[file] = expected.get(file, b"") + data
            hasher.note(file, [data])
            hasher.work()
        for file in [*expected, *range(100, 100 + empty)]:
            hasher.note(file, [], partial(lambda name, *known: found.__setitem__(name, known), file))
        hasher.close()
    expected |= dict.fromkeys(range(100, 100 + empty), b"")
    assert found == {file: (hashlib.md5(data).hexdigest(), len(data)) for file, data in expected.items()}


@pytest.mark.parametrize("most", [1, 50_000])
def test_from_many_threads(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(md5, "_ENOUGH", 20_000)
    monkeypatch.setattr(md5, "_MOST", most)
    found: dict[int, str] = {}
    hasher = Hasher()

    def whole(file: int) -> None:
        rng = np.random.default_rng(file)
        for k in range(10):
            hasher.note(file, [rng.bytes(3_001)], (lambda d, _: found.__setitem__(file, d)) if k == 9 else None)
            hasher.work()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(whole, range(40)))
    hasher.close()
    for file, digits in found.items():
        rng = np.random.default_rng(file)
        assert digits == hashlib.md5(b"".join(rng.bytes(3_001) for _ in range(10))).hexdigest()
    assert len(found) == 40


def test_what_is_not_complete_has_no_checksum() -> None:
    found: list[str] = []
    hasher = Hasher()
    hasher.note("a", [b"x" * 1_000])
    hasher.close()
    hasher.note("a", [b"y"], lambda digits, _: found.append(digits))
    hasher.close()
    assert found == [hashlib.md5(b"x" * 1_000 + b"y").hexdigest()]
