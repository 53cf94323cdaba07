"""`dandify convert`: what is asked, what is refused, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from dandify.cli.main import main

FLAGS = (
    "--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1",
    "--session-start", "2026-03-01T14:30:00+01:00",
)  # fmt: skip


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    path = tmp_path / "raw" / "trials.csv"
    path.parent.mkdir()
    path.write_text("start_time,stop_time,side\n0.5,1.5,left\n2.0,2.5,right\n")
    return path


@pytest.fixture
def spikeglx(tmp_path: Path) -> Path:
    """A SpikeGLX run small enough for a test, in the program's real layout."""
    from datetime import datetime

    from dandify.examples.spikeglx import write_spikeglx_run

    folder = tmp_path / "rig"
    folder.mkdir()
    return write_spikeglx_run(
        folder, seed=1, probes=1, seconds=1.0, run_name="run", start=datetime(2026, 3, 1, 14, 30), channels=8
    )


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def nothing_final(out: Path) -> bool:
    return not out.exists() or not [p for p in out.rglob("*") if p.is_file() and ".partial" not in str(p)]


def test_everything_missing_is_named_at_once_before_any_work(trials: Path, tmp_path: Path) -> None:
    done = run("convert", trials, "--out", tmp_path / "out")
    assert done.exit_code == 2
    for key in ("subject_id", "species", "sex", "age", "session_id", "session_start_time"):
        assert key in done.output
    assert not (tmp_path / "out").exists()


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown species": (("--species", "mouse"), "Mus musculus"),
    "species not Latin": (("--species", "Mus musculsu"), "Mus musculus"),
    "age": (("--age", "60 days"), "ISO 8601"),
    "sex": (("--sex", "female"), "M"),
    "slash in id": (("--subject-id", "a/b"), "/"),
    "start in the future": (("--session-start", "2999-01-01T00:00:00+00:00"), "future"),
    "start without zone": (("--session-start", "2026-03-01T14:30:00"), "timezone"),
    "start no time": (("--session-start", "yesterday"), "ISO 8601"),
    "unknown key": (("--set", "labb=x"), "'lab'"),
    "memory": (("--memory", "lots"), "lots"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_metadata_end_in_one_message(name: str, trials: Path, tmp_path: Path) -> None:
    options, expected = WRONG[name]
    done = run("convert", trials, "--out", tmp_path / "out", *FLAGS, *options)
    assert done.exit_code == 2, done.output
    assert expected in done.output
    assert "Traceback" not in done.output
    assert nothing_final(tmp_path / "out")


def test_a_folder_without_anything_known(tmp_path: Path) -> None:
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "notes.xyz").write_text("hello")
    done = run("convert", tmp_path / "junk", "--out", tmp_path / "out", *FLAGS)
    assert done.exit_code == 1
    assert "notes.xyz" in done.output
    assert "dandify formats" in done.output


def test_an_existing_output_is_left_alone(trials: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("convert", trials, "--out", out, *FLAGS).exit_code == 0
    (path,) = out.rglob("*.nwb")
    before = path.read_bytes()
    done = run("convert", trials, "--out", out, *FLAGS)
    assert done.exit_code == 1
    assert "--overwrite" in done.output
    assert path.read_bytes() == before
    assert run("convert", trials, "--out", out, "--skip-existing", *FLAGS).exit_code == 0
    assert path.read_bytes() == before
    assert run("convert", trials, "--out", out, "--overwrite", *FLAGS).exit_code == 0


def test_a_csv_that_lacks_a_mapped_column(trials: Path, tmp_path: Path) -> None:
    (trials.parent / "trials.columns.yaml").write_text(
        "kind: TimeIntervals\nstart: start_time\nstop: stop_time\ncolumns:\n  sied: {description: Side., type: text}\n"
    )
    done = run("convert", trials, "--out", tmp_path / "out", *FLAGS)
    assert done.exit_code in (1, 2)
    assert "trials.csv" in done.output
    assert "sied" in done.output
    assert "side" in done.output
    assert nothing_final(tmp_path / "out")


def test_a_source_named_twice_is_converted_once(trials: Path, tmp_path: Path) -> None:
    done = run("convert", trials, trials.parent, "--out", tmp_path / "out", *FLAGS)
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").rglob("*.nwb")
    with h5py.File(path) as file:
        assert list(file["intervals"]) == ["trials"]


def test_files_that_nobody_knows_are_named(trials: Path, tmp_path: Path) -> None:
    (trials.parent / "protocol.docx").write_bytes(b"PK")
    assert "protocol.docx" in run("convert", trials.parent, "--out", tmp_path / "out", *FLAGS).output


def test_files_can_be_passed_over(trials: Path, tmp_path: Path) -> None:
    (trials.parent / "notes.csv").write_text("a,b\n1,2\n")
    done = run("convert", trials.parent, "--out", tmp_path / "out", *FLAGS)
    assert done.exit_code == 2
    assert "notes.csv" in done.output
    assert run("convert", trials.parent, "--out", tmp_path / "out", "--ignore", "notes.*", *FLAGS).exit_code == 0


def ap_bin(run_folder: Path) -> Path:
    (path,) = run_folder.rglob("*.ap.bin")
    return path


def truncate(run_folder: Path) -> None:
    path = ap_bin(run_folder)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1001)


def disagree(run_folder: Path) -> None:
    meta = ap_bin(run_folder).with_suffix(".meta")
    lines = [line if not line.startswith("nSavedChans=") else "nSavedChans=7" for line in meta.read_text().splitlines()]
    meta.write_text("\n".join(lines) + "\n")


def lose_meta(run_folder: Path) -> None:
    ap_bin(run_folder).with_suffix(".meta").unlink()


@pytest.mark.parametrize("damage", [truncate, disagree, lose_meta], ids=lambda f: f.__name__)
def test_a_damaged_recording_is_refused_and_scanned(damage: Any, spikeglx: Path, tmp_path: Path) -> None:
    damage(spikeglx)
    done = run("convert", spikeglx, "--out", tmp_path / "out", *FLAGS)
    assert done.exit_code == 1, done.output
    assert "imec0.ap" in done.output
    assert "remedy" in done.output
    assert nothing_final(tmp_path / "out")
    found = json.loads(run("scan", spikeglx.parent, "--json").output)
    assert found["broken"]
    assert found["broken"][0]["error"]


@pytest.mark.parametrize("backend", ["hdf5", "zarr"])
def test_a_run_becomes_one_nwb(backend: str, spikeglx: Path, tmp_path: Path) -> None:
    done = run("convert", spikeglx, "--out", tmp_path / "out", "--backend", backend, "--set", "timezone=Europe/Berlin",
               *FLAGS)  # fmt: skip
    assert done.exit_code == 0, done.output
    path = tmp_path / "out" / "sub-m1_ses-s1" / f"sub-m1_ses-s1.nwb{'.zarr' * (backend == 'zarr')}"
    raw = np.fromfile(ap_bin(spikeglx), "<i2").reshape(-1, 9)[:, :8]
    if backend == "hdf5":
        with h5py.File(path) as file:
            found = [g["data"][()] for g in file["acquisition"].values() if "data" in g]
    else:
        import zarr

        store = zarr.open(str(path), mode="r")
        found = [g["data"][...] for _, g in store["acquisition"].groups() if "data" in g]
    assert any(np.array_equal(data, raw) for data in found if data.shape == raw.shape)


def test_the_brain_area_is_that_of_each_source(spikeglx: Path, trials: Path, tmp_path: Path) -> None:
    config = tmp_path / "dandify.yaml"
    path = spikeglx.relative_to(tmp_path).as_posix()
    config.write_text(f"""\
metadata: {{species: Mus musculus, sex: F, age: P60D, timezone: Europe/Berlin}}
sessions:
  - subject_id: m1
    session_id: a
    sources: [{{path: {json.dumps(path)}, metadata: {{electrode_location: VISp}}}}, raw/trials.csv]
""")
    assert run("convert", config, "--out", tmp_path / "out").exit_code == 0
    with h5py.File(tmp_path / "out/sub-m1_ses-a/sub-m1_ses-a.nwb") as file:
        ephys = file["general/extracellular_ephys"]
        assert set(ephys["electrodes/location"].asstr()[:]) == {"VISp"}
        groups = [g for g in ephys.values() if g.attrs.get("neurodata_type") == "ElectrodeGroup"]
        assert {g["location"].asstr()[()] if "location" in g else g.attrs["location"] for g in groups} == {"VISp"}


def test_stub_is_the_first_second(tmp_path: Path) -> None:
    from datetime import datetime

    from dandify.examples.spikeglx import write_spikeglx_run

    (tmp_path / "rig").mkdir()
    run_folder = write_spikeglx_run(
        tmp_path / "rig", seed=1, probes=1, seconds=2.5, run_name="run", start=datetime(2026, 3, 1, 14, 30), channels=4
    )
    done = run("convert", run_folder, "--out", tmp_path / "out", "--stub", *FLAGS)
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").rglob("*.nwb")
    with h5py.File(path) as file:
        lengths = {
            n: len(g["data"]) / g["starting_time"].attrs["rate"] for n, g in file["acquisition"].items() if "data" in g
        }
    assert lengths
    assert all(abs(seconds - 1.0) < 0.01 for seconds in lengths.values()), lengths


@pytest.mark.skipif(os.name == "nt", reason="SIGINT reaches a child otherwise on Windows")
def test_control_c_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    from datetime import datetime

    from dandify.examples.spikeglx import write_spikeglx_run

    (tmp_path / "rig").mkdir()
    run_folder = write_spikeglx_run(
        tmp_path / "rig", seed=1, probes=1, seconds=6.0, run_name="run", start=datetime(2026, 3, 1, 14, 30)
    )
    out = tmp_path / "out"
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job inherits that it is ignored
        "from dandify.cli.main import main\nmain()"
    )
    command = [sys.executable, "-c", code, "convert", str(run_folder), "--out", str(out), *FLAGS]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 120
    while not list(out.rglob("*.partial")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert not out.exists()


@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_a_full_disk_is_one_message(spikeglx: Path, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"  # writes past the limit then fail, as on a full disk
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "from dandify.cli.main import main\nmain()"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", code, "convert", str(spikeglx), "--out", str(out), *FLAGS],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert nothing_final(out)
    assert not list(out.rglob("*.partial"))


def test_a_project_lists_sessions_and_says_which_failed(spikeglx: Path, trials: Path, tmp_path: Path) -> None:
    config = tmp_path / "dandify.yaml"
    config.write_text(f"""\
metadata: {{species: Mus musculus, sex: F, age: P60D, timezone: Europe/Berlin}}
sessions:
  - {{subject_id: m1, session_id: a, sources: [{json.dumps(spikeglx.relative_to(tmp_path).as_posix())}]}}
  - {{subject_id: m1, session_id: b, metadata: {{session_start_time: 2026-03-02T10:00:00}}, sources: [raw/trials.csv]}}
""")
    done = run("convert", "--config", config, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    steps = [json.loads(line) for line in done.stderr.splitlines()]
    assert {s["stage"] for s in steps} >= {"write", "verify"}
    assert all(s["done_bytes"] <= s["total_bytes"] for s in steps)
    assert [s["name"] for s in report["sessions"]] == ["sub-m1_ses-a", "sub-m1_ses-b"]
    assert all(o["verified"] for s in report["sessions"] for o in s["outputs"])


def test_two_sessions_of_one_name_are_refused(trials: Path, tmp_path: Path) -> None:
    config = tmp_path / "dandify.yaml"
    entry = "{subject_id: m1, session_id: %s, sources: [raw/trials.csv]}"
    config.write_text(
        "metadata: {species: Mus musculus, sex: F, age: P60D, session_start_time: 2026-03-02T10:00:00+01:00}\n"
        f"sessions:\n  - {entry % 'a_1'}\n  - {entry % 'a-1'}\n"
    )
    done = run("convert", "--config", config, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "a_1" in done.output
    assert "a-1" in done.output
