"""Dandisets to validate, and what is found in them; for the tests of validate."""

from __future__ import annotations

from pathlib import Path

from pynwb import NWBFile

from dandify.dandiset.describe import write_description
from dandify.dandiset.organize import organize
from dandify.dandiset.validate import ValidationReport
from dandify.findings import Finding
from dandiset_cases import add_ecephys, add_position, image, movie, session, video, write

COMPLETE = {
    "name": "A test", "description": "For the tests.", "license": "CC0-1.0",
    "contributors": [{"name": "Doe, Jane", "roles": ["ContactPerson"], "email": "jane@example.org"}],
}  # fmt: skip


def found(report: ValidationReport, code: str) -> Finding:
    """Return the one finding of that id."""
    matches = [f for f in report.findings if f.id == code]
    assert len(matches) == 1, [(f.id, f.message) for f in report.findings]
    return matches[0]


def dandiset(root: Path, *files: tuple[NWBFile, str]) -> Path:
    """Write NWB files straight to their places."""
    for nwb, name in files:
        write(nwb, root / name)
    write_description(root, COMPLETE)
    return root


def one_of_each(root: Path) -> Path:
    """Return a dandiset of each kind of asset, as `organize` makes it."""
    video(root / "in" / "cam.mp4")
    nwb = add_ecephys(session("m1", "1"))
    nwb.add_acquisition(movie("video", ["cam.mp4"]))
    write(nwb, root / "in" / "a.nwb")
    write(add_position(session("m2", "1")), root / "in" / "b.nwb.zarr")
    image(root / "in" / "sub-m1_ses-1_stack.ome.zarr", {"subject_id": "m1"}, {"session_id": "1"})
    organize(root / "in", root / "dandiset", metadata=COMPLETE)
    return root / "dandiset"
