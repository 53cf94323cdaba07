"""write_nwb when something goes wrong: nothing half-written, nothing lost, no more memory than promised."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from click.testing import CliRunner
from pynwb import H5DataIO, NWBFile, TimeSeries

from dandify.cli.main import main
from dandify.errors import DandifyError, OutputExists, VerificationFailed
from dandify.nwb.write import write_nwb
from dandify.sources import MemoryArray
from dandify.sources.deferred import Deferred
from dandify.store.manifest import sha256_of
from dandify.store.progress import Progress
from nwb_cases import new_file, recording

BACKENDS = pytest.mark.parametrize(("backend", "suffix"), [("hdf5", ".nwb"), ("zarr", ".nwb.zarr")])
posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
VALUES = recording(50_000, 4)


def one(data: Any) -> NWBFile:
    nwb = new_file()
    nwb.add_acquisition(TimeSeries(name="x", data=data, rate=1.0, unit="V", description="D."))
    return nwb


class Failing(MemoryArray):
    """Raises in the middle of the reading."""

    def read(self, region: Any) -> Any:
        if region[0].start > 20_000:
            raise OSError(5, "Input/output error", "/media/rig/raw.dat")
        return super().read(region)

    @property
    def block(self) -> tuple[int, ...]:
        return (1000, 4)


def interrupt(progress: Progress) -> None:
    raise KeyboardInterrupt


def find_fault(progress: Progress) -> None:
    if progress.stage == "verify":
        raise VerificationFailed("for the test")


@BACKENDS
@pytest.mark.parametrize(
    ("make", "options", "error", "words"),
    [
        pytest.param(
            lambda: one(H5DataIO(Deferred(Failing(VALUES)), chunks=(5000, 4))), {"memory": "8500KB", "workers": 1},
            DandifyError, r"raw.dat \(x/data\): cannot be read", id="source",
        ),
        pytest.param(lambda: one(VALUES), {"progress": interrupt}, KeyboardInterrupt, None, id="ctrl-c"),
        pytest.param(
            lambda: one(VALUES), {"progress": find_fault}, VerificationFailed, "for the test", id="verification"
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("existing", [False, True], ids=["fresh", "overwriting"])
def test_failures_leave_nothing_and_keep_what_was_there(
    tmp_path: Path, backend: str, suffix: str, make: Callable[[], NWBFile], options: dict[str, Any],
    error: type[BaseException], words: str | None, existing: bool,
) -> None:  # fmt: skip
    out = tmp_path / f"a{suffix}"
    before: dict[str, str] = {}
    if existing:
        write_nwb(one(VALUES), out, backend=backend)
        before = {str(p): sha256_of(p) for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(error, match=words):
        write_nwb(make(), out, backend=backend, overwrite=existing, **options)
    left = {str(p): sha256_of(p) for p in tmp_path.rglob("*") if p.is_file() and ".partial" not in str(p)}
    assert left == before
    assert not {p.name for p in tmp_path.iterdir()} & {f"a{suffix}.partial.old", f"a{suffix}.partial.lock"}
    report = write_nwb(one(VALUES), out, backend=backend, overwrite=existing)  # whatever stayed is in nobody's way
    assert report.verified
    assert not list(tmp_path.glob("*.partial*"))


def folder_of_others(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("All of it.")


def some_file(path: Path) -> None:
    path.write_text("All of it.")


@pytest.mark.parametrize(
    ("backend", "suffix", "make", "words"),
    [
        ("hdf5", ".nwb", folder_of_others, "it is a folder, and the output a file"),
        ("zarr", ".nwb.zarr", folder_of_others, "a folder with other files, and no Zarr"),
        ("zarr", ".nwb.zarr", some_file, "it is a file, and the output a folder"),
    ],
)
def test_what_is_no_earlier_output_is_not_replaced(
    tmp_path: Path, backend: str, suffix: str, make: Callable[[Path], None], words: str
) -> None:
    out = tmp_path / f"a{suffix}"
    make(out)
    with pytest.raises(OutputExists, match=words):
        write_nwb(one(VALUES), out, backend=backend, overwrite=True)
    assert "All of it." in (out / "thesis.tex" if out.is_dir() else out).read_text()
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "µ file").write_text("")
    write_nwb(one(VALUES), tmp_path / "a.nwb")
    done = CliRunner().invoke(main, ["repack", str(tmp_path / "a.nwb"), str(tmp_path / "µ file" / "b.nwb")])
    assert done.exit_code == 2
    assert "µ file: is a file, and a folder is needed there" in done.stderr.replace("\n", "")
    assert "remedy: choose another place" in done.stderr


def test_damage_on_the_disk_is_found(tmp_path: Path) -> None:
    def flip(progress: Progress) -> None:
        if progress.stage == "write" and progress.done_bytes == progress.total_bytes:
            return
        if progress.stage == "verify" and not flipped:
            partial = tmp_path / "a.nwb.partial"
            with h5py.File(partial) as file:
                place = file["acquisition/z/data"].id.get_chunk_info(0).byte_offset
            with partial.open("r+b") as raw:
                raw.seek(place + 1000)
                byte = raw.read(1)
                raw.seek(place + 1000)
                raw.write(bytes([byte[0] ^ 1]))
            flipped.append(True)

    flipped: list[bool] = []
    nwb = one(VALUES)
    nwb.add_acquisition(TimeSeries(name="z", data=VALUES, rate=1.0, unit="V", description="D."))
    with pytest.raises(VerificationFailed, match=r"/acquisition/z/data\): chunk \(0, 0\)"):
        write_nwb(nwb, tmp_path / "a.nwb", progress=flip)
    assert list(tmp_path.iterdir()) == []


def in_a_process(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a few lines in their own process, with `write_nwb`, `one`, `VALUES` and `out` at hand."""
    code = f"""
    import os, resource, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    from pathlib import Path
    import numpy as np
    from nwb_cases import new_file, recording
    from pynwb import TimeSeries
    from dandify.errors import DandifyError
    from dandify.nwb.write import write_nwb
    from dandify.sources.contract import Array
    from dandify.sources.deferred import Deferred
    out = Path({str(folder)!r})
    def one(data):
        nwb = new_file()
        nwb.add_acquisition(TimeSeries(name="x", data=data, rate=1.0, unit="V", description="D."))
        return nwb
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code) + textwrap.dedent(body)], env=environment, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip


@posix
@BACKENDS
def test_a_full_disk(tmp_path: Path, backend: str, suffix: str) -> None:
    """A file size limit stands in for it: the system refuses the same write in the same place."""
    done = in_a_process(
        f"""
        nwb = one(recording(500_000, 4))
        resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, 900_000))
        try:
            write_nwb(nwb, out / "a{suffix}", backend="{backend}")
        except DandifyError as error:
            print(error)
        """,
        tmp_path,
    )
    assert f"a{suffix}: no room (File too large): up to 4 MB are needed, and" in done.stdout, done.stderr
    assert "MB are free" in done.stdout
    assert list(tmp_path.iterdir()) == []


@posix
def test_ctrl_c(tmp_path: Path) -> None:
    done = in_a_process(
        """
        def stop(progress):
            os.kill(os.getpid(), signal.SIGINT)
        write_nwb(one(recording(2_000_000, 4)), out / "a.nwb", progress=stop)
        """,
        tmp_path,
    )
    assert "KeyboardInterrupt" in done.stderr
    left = {p.name for p in tmp_path.iterdir()}  # what is finished stays, to be gone on with
    assert left <= {"a.nwb.partial", "a.nwb.partial.journal"}
    write_nwb(one(recording(2_000_000, 4)), tmp_path / "a.nwb")
    assert {p.name for p in tmp_path.iterdir()} == {"a.nwb", "a.nwb.manifest.json"}


@posix
@BACKENDS
@pytest.mark.parametrize("megabytes", [40, 120])
def test_memory_is_what_was_promised(tmp_path: Path, backend: str, suffix: str, megabytes: int) -> None:
    """Peak resident memory over that of a process that has written a small file; the input is 8 times the cap."""
    done = in_a_process(
        f"""
        class Made(Array):
            shape = ({megabytes} * 8 * 10**6 // 768, 384)
            dtype = np.dtype("<i2")
            block = (10_000, 384)
            def read(self, region):
                rows = (np.arange(region[0].start, region[0].stop) % 97).astype(np.int16)
                columns = region[1].stop - region[1].start
                return np.broadcast_to(rows[:, None], (len(rows), columns)).copy()
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        write_nwb(one(recording(50_000, 4)), out / "first{suffix}", backend="{backend}")
        before = peak()
        report = write_nwb(one(Deferred(Made())), out / "a{suffix}", backend="{backend}", memory="{megabytes}MB")
        assert report.verified and report.raw_bytes > {megabytes} * 7.9e6
        print(peak() - before)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= megabytes * 10**6 + 40 * 10**6
