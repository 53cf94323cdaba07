"""An image whose writing was stopped is gone on with: nothing finished is encoded again, nothing false is taken."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dandify.ngff.check import check_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.store.progress import Progress
from dandify.store.report import WriteReport
from dandify.store.resume import leftovers
from dandify.store.zarr_image import BloscCodec, Sink
from ngff_reference import SCALE, assert_pyramid, levels, noise

posix = pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])
VALUES = noise((2, 48, 100, 90), "uint16")
OPTIONS: dict[str, Any] = {"axes": "czyx", "scale": SCALE, "chunks": (1, 4, 32, 32), "workers": 2}


class Stopped(Exception):
    """Raised in the middle of a run."""


def stop(path: Path, *, at: str = "write", after: float = 0.0, values: NDArray[Any] = VALUES, **options: Any) -> int:
    """Begin to write, and stop as Ctrl-C does once a part is done; the number of chunks that were finished."""

    def step(progress: Progress) -> None:
        if progress.stage == at and progress.done_bytes > after * progress.total_bytes:
            raise Stopped

    with pytest.raises(Stopped):
        write_ome_zarr(values, path, progress=step, **{**OPTIONS, **options})
    assert not path.exists()
    return leftovers(path)[1].read_text().count("\n") - 1


def resumed(report: WriteReport) -> int:
    """Count the chunks that the report says were finished."""
    return sum(int(note.split(": ")[1].split()[0]) for note in report.notes if note.startswith("went on"))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The chunks that were encoded, as their sizes."""
    sizes: list[int] = []
    encode: Callable[..., bytes] = BloscCodec.encode

    def counted(codec: BloscCodec, chunk: NDArray[Any]) -> bytes:
        sizes.append(chunk.nbytes)
        return encode(codec, chunk)

    monkeypatch.setattr(BloscCodec, "encode", counted)
    return sizes


@VERSIONS
@pytest.mark.parametrize(("at", "after"), [("write", 0.0), ("write", 0.3), ("write", 0.8), ("verify", 0.0)])
def test_finished_chunks_are_not_encoded_again(
    at: str, after: float, version: str, encoded: list[int], tmp_path: Path
) -> None:
    out = tmp_path / "a.ome.zarr"
    noted = stop(out, at=at, after=after, version=version)
    assert noted == len(encoded) > 0
    encoded.clear()
    report = write_ome_zarr(VALUES, out, version=version, **OPTIONS)
    assert resumed(report) == noted
    again = len(encoded)
    encoded.clear()
    fresh = write_ome_zarr(VALUES, tmp_path / "b.ome.zarr", version=version, **OPTIONS)
    assert again + noted == len(encoded)
    assert (fresh.stored_bytes, fresh.output_bytes, fresh.notes) == (report.stored_bytes, report.output_bytes, ())
    assert_pyramid(out, VALUES)
    assert check_ome_zarr(out) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{n}.ome.zarr{m}" for n in "ab" for m in ("", ".manifest.json")
    )


@VERSIONS
def test_stopped_twice(version: str, tmp_path: Path) -> None:
    out = tmp_path / "a.ome.zarr"
    first = stop(out, after=0.6, version=version)
    stop(out, after=0.2, version=version)
    assert resumed(write_ome_zarr(VALUES, out, version=version, **OPTIONS)) >= first
    assert_pyramid(out, VALUES)


@VERSIONS
def test_a_changed_source_is_noticed_by_its_values(version: str, tmp_path: Path) -> None:
    out = tmp_path / "a.ome.zarr"
    noted = stop(out, after=0.4, version=version)
    other = VALUES.copy()
    other[0, 1, 3, 5] ^= 0x1000
    report = write_ome_zarr(other, out, version=version, **OPTIONS)
    assert 0 < resumed(report) < noted
    assert any("were written anew, for the source has changed" in note for note in report.notes)
    assert_pyramid(out, other)


@VERSIONS
def test_damage_to_what_was_finished_is_noticed(version: str, tmp_path: Path) -> None:
    out = tmp_path / "a.ome.zarr"
    noted = stop(out, after=0.4, version=version)
    partial = leftovers(out)[0]
    file = max((f for f in (partial / "0").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert resumed(write_ome_zarr(VALUES, out, version=version, **OPTIONS)) == noted - 1
    assert_pyramid(out, VALUES)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"compression": "blosc-lz4"}, "compression"), ({"version": "0.4"}, "version"),
        ({"chunks": (1, 8, 32, 32)}, "plan"), ({"sources": [__file__]}, "source"),
        ({"downsample": "max"}, "downsampling"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_another_request_starts_over(options: dict[str, Any], word: str, tmp_path: Path) -> None:
    out = tmp_path / "a.ome.zarr"
    stop(out, after=0.5)
    report = write_ome_zarr(VALUES, out, **{**OPTIONS, **options})
    assert resumed(report) == 0
    assert any(f"of another {word}" in note for note in report.notes)
    np.testing.assert_array_equal(levels(out)[0], VALUES)


def test_what_failed_its_verification_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dandify.errors import VerificationFailed

    put = Sink.put
    monkeypatch.setattr(Sink, "put", lambda s, i, p: put(s, i, p[:-1] + bytes([p[-1] ^ 255])))
    with pytest.raises(VerificationFailed):
        write_ome_zarr(VALUES, tmp_path / "a.ome.zarr", **OPTIONS)
    assert list(tmp_path.iterdir()) == []


# Kills

SCRIPT = textwrap.dedent(
    """
    import sys
    import numpy as np
    from dandify.ngff.write import write_ome_zarr
    from pathlib import Path
    values, out, version = np.load(sys.argv[1], mmap_mode="r"), Path(sys.argv[2]), sys.argv[3]
    scale = {"z": 2.0, "y": 0.65, "x": 0.65}
    write_ome_zarr(np.zeros((4, 8, 8), "uint16"), out.with_name("warm.ome.zarr"), scale=scale, overwrite=True)
    print("begins", flush=True)
    report = write_ome_zarr(values, out, scale=scale, chunks=(8, 64, 64), version=version, workers=2)
    print("done", *report.notes, flush=True)
    """
)


def begin(raw: Path, out: Path, version: str) -> subprocess.Popen[str]:
    """Start a process that writes; it has begun when this returns."""
    command = [sys.executable, "-c", SCRIPT, str(raw), str(out), version]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "begins"
    return process


def end(process: subprocess.Popen[str]) -> str:
    said, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    return said


def digest(root: Path) -> str:
    """Checksum of the values of all levels."""
    found = hashlib.sha256()
    for level in levels(root):
        found.update(np.ascontiguousarray(level).tobytes())
    return found.hexdigest()


@posix
@pytest.mark.parametrize(
    ("version", "count"),
    [("0.5", 3), *(pytest.param(v, 30, marks=pytest.mark.slow) for v in ("0.4", "0.5"))],
)
@pytest.mark.timeout(900)
def test_killed_at_any_moment(count: int, version: str, tmp_path: Path) -> None:
    """What is under the final name is whole or not there; what was finished is taken; and it ends in the same."""
    raw, out = tmp_path / "raw.npy", tmp_path / "a.ome.zarr"
    values = noise((96, 512, 512), "uint16")
    np.save(raw, values)
    write_ome_zarr(values, tmp_path / "whole.ome.zarr", scale=SCALE, chunks=(8, 64, 64), version=version)
    expected = digest(tmp_path / "whole.ome.zarr")
    process, begun = begin(raw, tmp_path / "timed.ome.zarr", version), time.perf_counter()
    end(process)
    seconds = time.perf_counter() - begun
    chance, finished, taken = random.Random(count), 0, 0
    for _ in range(count):
        process = begin(raw, out, version)
        time.sleep(chance.uniform(0, seconds))
        process.kill()
        process.communicate()
        if out.exists():  # it had ended
            assert digest(out) == expected
            shutil.rmtree(out)
            finished = 0
        journals = [p for p in leftovers(out) if p.name.endswith(".journal")]
        noted = max((p.read_text().count("\n") - 1 for p in journals), default=0)
        if not out.with_name("a.ome.zarr.partial").exists() and not out.with_name("a.ome.zarr.partial.old").exists():
            noted = 0  # a run that got to its end may have left a journal, and no data
        assert noted >= finished  # nothing that was finished is lost by being stopped again
        taken, finished = taken + (noted > 0), noted
    said = end(begin(raw, out, version))
    assert said.startswith("done")
    assert ("went on where" in said) == (finished > 0)
    assert digest(out) == expected
    assert not leftovers(out)
    assert check_ome_zarr(out) == []
    assert taken or count < 10
