"""Shards that many threads append to, and files flushed while they grow."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dandify.store import flush, md5, raw_file
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


def test_what_was_flushed_is_known_until_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush, "_BYTES", 1)
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"a")
    flusher = Flusher()
    flusher.grown(tmp_path / "gone", 1)  # removed since: nothing to flush, and no error
    flusher.grown(a, 1)
    while flusher.flushed != {a}:
        time.sleep(0.001)
    monkeypatch.setattr(flush, "_BYTES", 100)
    flusher.grown(a, 1)
    flusher.grown(b, 1)
    flusher.close()
    assert not flusher.flushed


def test_little_is_flushed_when_no_more_will_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(flush, "flush_file", flushed.append)
    with Flusher() as flusher:
        flusher.hurry()  # there is nothing
        flusher.grown(tmp_path / "a", 1)
        flusher.hurry()
        while flusher.flushed != {tmp_path / "a"}:
            time.sleep(0.001)
        flusher.grown(tmp_path / "b", 1)
    assert flushed == [tmp_path / "a"]


def test_bytes_go_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = tmp_path / "a", os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:3])))  # as on pipes
    for _ in range(2):
        raw_file.write_new(file, b"0123456789\r\n")
    raw_file.write_at(file, 4, b"abcde\n")
    assert file.read_bytes() == b"0123abcde\n\r\n"
    with pytest.raises(FileNotFoundError):
        raw_file.write_at(tmp_path / "b", 0, b"x")


def test_a_failed_flush_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> None:
        raise OSError(errno.EIO, "the disk is broken", str(path))

    monkeypatch.setattr(flush, "_BYTES", 1)
    monkeypatch.setattr(flush, "flush_file", fails)
    with pytest.raises(OSError, match="the disk is broken"), Flusher() as flusher:
        flusher.grown(tmp_path / "a", 1)


def test_what_ends_a_block_counts_more_than_a_failed_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> None:
        with Flusher() as flusher:
            flusher.grown(tmp_path, 1)  # a folder: it cannot be opened for writing
            raise KeyboardInterrupt

    monkeypatch.setattr(flush, "_BYTES", 1)
    with pytest.raises(KeyboardInterrupt):
        stopped()


def test_a_failed_flush_of_a_growing_file_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fails(path: Path) -> None:
        failed.set()
        raise OSError(errno.EIO, "the disk is broken", str(path))

    def grow() -> None:
        with flush.flushed_meanwhile(file):
            file.write_bytes(b"more")
            assert failed.wait(10)

    monkeypatch.setattr(flush, "_BYTES", 1)
    monkeypatch.setattr(flush, "flush_file", fails)
    file = tmp_path / "growing"
    file.write_bytes(b"")
    with pytest.raises(OSError, match="the disk is broken"):
        grow()


def test_a_tree_is_flushed_but_for_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / "a", tmp_path / "inner" / "b", tmp_path / "inner" / "c"]
    (tmp_path / "inner").mkdir()
    for file in files:
        file.write_bytes(b"x")
    flushed, folders = list[Path](), list[Path]()
    monkeypatch.setattr(flush, "flush_file", flushed.append)
    monkeypatch.setattr(flush, "flush_folder", folders.append)
    flush.flush_tree(tmp_path, but={files[1]})
    assert set(flushed) == {files[0], files[2]}
    assert set(folders) == {tmp_path, tmp_path / "inner"}
