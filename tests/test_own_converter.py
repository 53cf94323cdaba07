"""A lab's own converter, the one of CONTRIBUTING: found in a project folder, checked, and used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A lab's project: the converter as CONTRIBUTING shows it, a dandify.yaml, and a recording."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S)
    folder = tmp_path / "lab"
    (folder / "converters").mkdir(parents=True)
    (folder / "converters" / "acme.py").write_text(code, encoding="utf-8")
    data = np.arange(4000, dtype="<i2").reshape(-1, 4)
    (folder / "raw").mkdir()
    (folder / "raw" / "rest.acme").write_bytes(b"ACME 4 1000.0\n" + data.tobytes())
    (folder / "dandify.yaml").write_text(
        "sessions:\n  - subject_id: m1\n    session_id: s1\n"
        "    metadata: {species: Mus musculus, sex: U, age: P60D, session_start_time: 2026-03-01T10:00:00+01:00}\n"
        "    sources: [raw/rest.acme]\n",
        encoding="utf-8",
    )
    return folder


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "DANDIFY_PROJECT"}
    return subprocess.run(
        [sys.executable, "-m", "dandify", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_found_in_its_project_and_nowhere_else(project: Path, tmp_path: Path) -> None:
    assert "acme" in run("formats", cwd=project).stdout
    assert "acme" not in run("formats", cwd=tmp_path).stdout
    assert "acme" in run("--project", str(project), "formats", cwd=tmp_path).stdout


def test_code_in_a_folder_that_is_no_project_is_not_run(project: Path) -> None:
    (project / "dandify.yaml").unlink()
    assert "acme" not in run("formats", cwd=project).stdout


def test_it_keeps_the_contract(project: Path) -> None:
    done = run("check-converter", "converters/acme.py", "raw/rest.acme", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


def test_a_converter_that_breaks_the_contract_is_told_where(project: Path) -> None:
    file = project / "converters" / "acme.py"
    file.write_text(file.read_text().replace('axes=("t", "c")', 'axes=("t",)'), encoding="utf-8")
    done = run("check-converter", str(file), "raw/rest.acme", cwd=project)
    assert done.returncode == 1
    assert "axes" in done.stdout


def test_it_scans_and_converts(project: Path) -> None:
    found = json.loads(run("scan", "raw", "--json", cwd=project).stdout)
    assert found["sessions"][0]["sources"][0]["format"] == "acme"
    done = run("convert", "--config", "dandify.yaml", "--out", "converted", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    import h5py

    with h5py.File(project / "converted/sub-m1_ses-s1/sub-m1_ses-s1.nwb") as file:
        data = file["acquisition/Acme/data"]
        assert np.array_equal(data[:], np.arange(4000).reshape(-1, 4))
        assert data.attrs["conversion"] == 1e-6


def test_a_labs_file_hides_the_shipped_one_of_its_name(project: Path) -> None:
    acme = (project / "converters" / "acme.py").read_text()
    (project / "converters" / "video.py").write_text(acme.replace('"acme"', '"video"').replace("Acme recorder", "Ours"))
    assert "Ours" in run("formats", cwd=project).stdout
