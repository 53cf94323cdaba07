"""Shards that many threads append to, and files flushed while they grow."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dandify.store import flush, md5
from dandify.store.flush import Flusher
from dandify.store.md5 import Hasher
from dandify.store.shard import MISSING, ShardFile, read_index


@pytest.mark.parametrize(
    ("enough", "most"),
    [pytest.param(4_000_000, 8_000_000, id="at-the-end"), pytest.param(1, 16_000_000, id="nobody-waits"),
     pytest.param(1, 1, id="all-wait")],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(5))
def test_many_threads_fill_a_shard(
    tmp_path: Path, seed: int, enough: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(md5, "_ENOUGH", enough)
    monkeypatch.setattr(md5, "_MOST", most)
    rng = np.random.default_rng(seed)
    slots = 97
    used = rng.permutation(slots)[:80]
    pieces = {int(s): rng.bytes(int(rng.integers(1, 60_000))) for s in used}
    finished: list[tuple[str, int]] = []
    hasher = Hasher()
    file = ShardFile(tmp_path / "c" / "0", slots, len(pieces), hasher)
    with ThreadPoolExecutor(8) as pool:
        add = partial(file.add, done=lambda digits, size: finished.append((digits, size)))
        results = dict(zip(pieces, pool.map(lambda s: add(s, pieces[s]), pieces), strict=True))
    hasher.close()

    data = file.path.read_bytes()
    assert finished == [(hashlib.md5(data).hexdigest(), len(data))]
    assert [last for _, last in results.values()].count(True) == 1
    index = read_index(file.path, slots)
    for slot in range(slots):
        start, length = map(int, index[slot])
        if slot in pieces:
            assert data[start : start + length] == pieces[slot]
            assert results[slot][0] == start
        else:
            assert start == length == MISSING


def test_a_chunk_comes_once(tmp_path: Path) -> None:
    file = ShardFile(tmp_path / "0", 2, 2, Hasher())
    file.add(1, b"a", lambda *_: None)
    with pytest.raises(ValueError, match=r"inner chunk 1 .* before"):
        file.add(1, b"b", lambda *_: None)


def test_growing_files_are_flushed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(flush, "_BYTES", 100)
    monkeypatch.setattr(flush, "flush_file", flushed.append)
    with Flusher() as flusher:
        flusher.grown(tmp_path / "a", 60)
        assert not flushed
        flusher.grown(tmp_path / "b", 60)
    assert set(flushed) == {tmp_path / "a", tmp_path / "b"}


def test_what_lies_on_the_disk_is_not_flushed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []
    grown_meanwhile = tmp_path / "b"

    def noted(path: Path) -> None:
        tried.append(path)
        if path == grown_meanwhile and tried.count(path) == 1:
            flusher.grown(path, 1)

    monkeypatch.setattr(flush, "_BYTES", 100)
    monkeypatch.setattr(flush, "flush_file", noted)
    for name in "abc":
        (tmp_path / name).write_bytes(b"0")
    flushed: set[Path] = set()
    with Flusher(flushed) as flusher:
        flusher.grown(tmp_path / "a", 60)
        flusher.grown(tmp_path / "b", 60)
    assert flushed == {tmp_path / "a"}
    flush.flush_tree(tmp_path, but=flushed)
    assert sorted(tried) == [tmp_path / name for name in "abbc"]


def test_a_file_that_cannot_be_flushed_is_left_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []
    real = flush.flush_file

    def noted(path: Path) -> None:
        tried.append(path)
        real(path)

    monkeypatch.setattr(flush, "_BYTES", 1)
    monkeypatch.setattr(flush, "flush_file", noted)
    (tmp_path / "b").write_bytes(b"b")
    with Flusher() as flusher:
        flusher.grown(tmp_path / "gone", 1)
        while not tried:
            time.sleep(0.001)
        flusher.grown(tmp_path / "b", 1)
    assert tried == [tmp_path / "gone", tmp_path / "b"]
    with pytest.raises(FileNotFoundError):
        flush.flush_tree(tmp_path / "gone")
