"""A run that was stopped is gone on with: nothing finished is done again, nothing false is taken for finished."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from pynwb import H5DataIO, NWBFile, TimeSeries

from dandify.errors import DandifyError
from dandify.nwb.write import write_nwb
from dandify.store.progress import Progress
from dandify.store.report import WriteReport
from dandify.store.resume import leftovers
from nwb_cases import new_file, recording

BACKENDS = pytest.mark.parametrize(("backend", "suffix"), [("hdf5", ".nwb"), ("zarr", ".nwb.zarr")])
posix = pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
VALUES = recording(60_000, 24)
CHUNKS = (5000, 4)  # 72 of them


def session(values: NDArray[Any] = VALUES) -> NWBFile:
    nwb = new_file()
    for name in ("x", "y"):
        data = H5DataIO(values, chunks=CHUNKS) if name == "x" else values[:40_000]
        nwb.add_acquisition(TimeSeries(name=name, data=data, rate=1.0, unit="V", description="D."))
    return nwb


class Stopped(Exception):
    """Raised in the middle of a run."""


def stop(path: Path, *, at: str = "write", after: float = 0.0, values: NDArray[Any] = VALUES, **options: Any) -> None:
    """Begin to write, and stop as Ctrl-C does once a part is done."""

    def step(progress: Progress) -> None:
        if progress.stage == at and progress.done_bytes > after * progress.total_bytes:
            raise Stopped

    with pytest.raises(Stopped):
        write_nwb(session(values), path, memory="12MB", progress=step, **options)


def stored(path: Path, name: str = "x") -> NDArray[Any]:
    if path.is_dir():
        return np.asarray(zarr.open(str(path), "r")[f"acquisition/{name}/data"][:])
    with h5py.File(path) as file:
        return np.asarray(file[f"acquisition/{name}/data"][()])


def resumed(report: WriteReport) -> int:
    """Count the chunks that the report says were finished."""
    return sum(int(note.split(": ")[1].split()[0]) for note in report.notes if note.startswith("went on"))


@BACKENDS
@pytest.mark.parametrize(("at", "after"), [("write", 0.2), ("write", 0.9), ("verify", 0.0)])
def test_finished_chunks_are_not_done_again(tmp_path: Path, backend: str, suffix: str, at: str, after: float) -> None:
    out = tmp_path / f"a{suffix}"
    stop(out, at=at, after=after, backend=backend)
    assert not out.exists()
    noted = leftovers(out)[1].read_text().count("\n") - 1
    report = write_nwb(session(), out, backend=backend, memory="12MB")
    assert 0 < resumed(report) == noted
    assert np.array_equal(stored(out), VALUES)
    assert np.array_equal(stored(out, "y"), VALUES[:40_000])
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, out.name + ".manifest.json"]
    fresh = write_nwb(session(), tmp_path / f"b{suffix}", backend=backend, memory="12MB")
    assert (fresh.stored_bytes, fresh.notes) == (report.stored_bytes, ())


@BACKENDS
def test_stopped_twice(tmp_path: Path, backend: str, suffix: str) -> None:
    out = tmp_path / f"a{suffix}"
    stop(out, after=0.6, backend=backend)
    first = leftovers(out)[1].read_text().count("\n") - 1
    stop(out, after=0.1, backend=backend)
    assert resumed(write_nwb(session(), out, backend=backend, memory="12MB")) >= first
    assert np.array_equal(stored(out), VALUES)


def test_another_source_is_noticed_by_its_values(tmp_path: Path) -> None:
    out = tmp_path / "a.nwb"
    stop(out, after=0.5)
    other = VALUES.copy()
    other[7000, 5] ^= 1  # in one chunk, and in none of the pieces that the plan was made from
    report = write_nwb(session(other), out, memory="12MB")
    assert "1 chunks of the earlier run were written anew, for the source has changed" in report.notes
    assert resumed(report) > 0
    assert np.array_equal(stored(out), other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"compression": "gzip:fast"}, "started over, for the earlier run was of another plan", id="plan"),
        pytest.param({"sources": [__file__]}, "started over, for the earlier run was of another source", id="source"),
    ],
)
def test_another_request_starts_over(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    out = tmp_path / "a.nwb"
    stop(out, after=0.5)
    report = write_nwb(session(), out, memory="12MB", **options)
    assert report.notes == (words,)
    assert np.array_equal(stored(out), VALUES)
    assert not leftovers(out)


def test_another_version_starts_over(tmp_path: Path) -> None:
    out = tmp_path / "a.nwb"
    stop(out, after=0.5)
    journal = leftovers(out)[1]
    head, *rest = journal.read_text().splitlines()
    changed = json.loads(head)
    changed["request"]["version of dandify"] = "0.0.1"
    journal.write_text("\n".join([json.dumps(changed), *rest]))
    report = write_nwb(session(), out, memory="12MB")
    assert report.notes == ("started over, for the earlier run was of another version of dandify",)


def lines_torn(path: Path) -> None:
    text = path.with_name(path.name + ".journal").read_text()
    path.with_name(path.name + ".journal").write_text(text[:-20])


def no_journal(path: Path) -> None:
    path.with_name(path.name + ".journal").write_text("")


def bytes_damaged(path: Path) -> None:
    files = [f for f in path.rglob("*") if f.name == "0.0"] if path.is_dir() else [path]
    for file in files:
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 8
        file.write_bytes(bytes(raw))


def cut_short(path: Path) -> None:
    files = [f for f in path.rglob("*") if f.name == "0.0"] if path.is_dir() else [path]
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def killed_while_moving(path: Path) -> None:
    journal = path.with_name(path.name + ".journal")
    journal.rename(path.with_name(path.name + ".old.journal"))


@BACKENDS
@pytest.mark.parametrize("damage", [lines_torn, no_journal, bytes_damaged, cut_short, killed_while_moving])
def test_what_a_crash_leaves(tmp_path: Path, backend: str, suffix: str, damage: Any) -> None:
    out = tmp_path / f"a{suffix}"
    stop(out, after=0.5, backend=backend)
    whole = leftovers(out)[1].read_text().count("\n") - 1
    damage(leftovers(out)[0])
    report = write_nwb(session(), out, backend=backend, memory="12MB")
    if damage is killed_while_moving:
        assert resumed(report) == whole
    elif damage is no_journal:
        assert resumed(report) == 0
    else:
        assert 0 < resumed(report) < whole
    assert np.array_equal(stored(out), VALUES)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [out.name, out.name + ".manifest.json"]


def test_one_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "a.nwb"
    refused: list[str] = []

    def second(progress: Progress) -> None:
        if not refused:
            with pytest.raises(DandifyError) as found:
                write_nwb(session(), out)
            refused.append(str(found.value))

    thread = threading.Thread(target=lambda: write_nwb(session(), out, progress=second))
    thread.start()
    thread.join()
    assert "another process is writing this output" in refused[0]
    assert np.array_equal(stored(out), VALUES)


LONG = recording(800_000, 24)


class Writer:
    """A process that writes `LONG` when it is told to, once it has imported everything."""

    def __init__(self, raw: Path) -> None:
        code = f"""
        import sys
        from pathlib import Path
        import numpy as np
        from test_write_nwb_resume import session
        from dandify.nwb.write import write_nwb
        values = np.memmap({str(raw)!r}, "<i2", "r").reshape(-1, 24)
        print("ready", flush=True)
        path, backend = input().split()
        report = write_nwb(session(values), path, backend=backend, memory="20MB", overwrite=True)
        print("done", *report.notes, flush=True)
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        )  # fmt: skip
        assert self.line() == "ready"

    def begin(self, path: Path, backend: str) -> None:
        """Begin to write."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{path} {backend}\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """Wait for what it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it as a power switch would, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The samples as a rig leaves them."""
    path = tmp_path / "raw.dat"
    LONG.tofile(path)
    return path


@posix
def test_one_process_at_a_time(tmp_path: Path, raw: Path) -> None:
    out = tmp_path / "a.nwb"
    writer = Writer(raw)
    writer.begin(out, "hdf5")
    while not out.with_name("a.nwb.partial").exists():
        time.sleep(0.001)
    with pytest.raises(DandifyError, match="another process is writing this output"):
        write_nwb(session(), out)
    writer.kill()
    assert resumed(write_nwb(session(), out)) == 0  # a kill frees it; that the values are others is seen
    assert np.array_equal(stored(out), VALUES)


@posix
@BACKENDS
@pytest.mark.parametrize("count", [pytest.param(5, id="5"), pytest.param(50, id="50", marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_killed_at_any_moment(tmp_path: Path, raw: Path, backend: str, suffix: str, count: int) -> None:
    """What is under the final name is whole or not there; what was finished is taken; and it ends in the same."""
    if count == 5 and backend == "zarr":
        count = 3
    chance = random.Random(count)
    out = tmp_path / f"a{suffix}"
    finished = 0
    seconds = 2.0  # about what a run takes
    for number in range(count):
        writer = Writer(raw)
        begun = time.perf_counter()
        writer.begin(out, backend)
        if number % 10 == 9:  # it may end now and then, and the next begins from nothing
            notes = writer.line()
            assert notes.startswith("done")
            assert "went on where" in notes or not finished
            seconds = time.perf_counter() - begun
            finished = 0
            assert np.array_equal(stored(out), LONG)
            (shutil.rmtree if out.is_dir() else os.unlink)(out)
        else:
            time.sleep(chance.uniform(0, seconds))
        writer.kill()
        if out.exists():
            assert np.array_equal(stored(out), LONG)
            (shutil.rmtree if out.is_dir() else os.unlink)(out)
            finished = 0
        data = {p.name for p in leftovers(out)}  # a run that got to its end may have left a journal, and no data
        journals = [
            p for p in leftovers(out) if p.name.endswith(".journal") and p.name.removesuffix(".journal") in data
        ]
        noted = max((0, *(p.read_text().count("\n") - 1 for p in journals)))  # without its head, one is just begun
        assert noted >= finished  # nothing that was finished is lost by being stopped again
        finished = noted
    writer = Writer(raw)
    writer.begin(out, backend)
    notes = writer.line()
    writer.kill()
    assert notes.startswith("done")
    assert ("went on where" in notes) == (finished > 0)
    assert np.array_equal(stored(out), LONG)
    assert np.array_equal(stored(out, "y"), LONG[:40_000])
    assert not leftovers(out)
