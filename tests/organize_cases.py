"""What the tests of organize look at: names, checksums, links to media; tables, and the validator of BIDS."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import h5py
from pynwb import NWBFile

from dandify.dandiset.organize import OrganizeReport
from dandiset_cases import (
    movie,
    session,
)


def names(report: OrganizeReport) -> list[str]:
    return [f.path.as_posix() for f in report.files]


def statuses(report: OrganizeReport) -> set[str]:
    return {f.status for f in report.files}


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, and what is in it."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def external(path: Path, series: str = "acquisition/video") -> list[str]:
    with h5py.File(path) as file:
        return [str(name) for name in file[f"{series}/external_file"].asstr()[:]]


def with_video(files: list[str], subject: str = "m1", session_id: str = "1") -> NWBFile:
    nwb = session(subject, session_id)
    nwb.add_acquisition(movie("video", files))
    return nwb


def errors_of_the_validator(dandiset: Path) -> list[str]:
    """What bids-validator-deno itself says, not by way of dandi."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([program, "--json", dandiset], capture_output=True, text=True, check=False, timeout=100)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [f"{i['code']} {i.get('location')}" for i in issues if i["severity"] == "error"]


def table(folder: Path, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
