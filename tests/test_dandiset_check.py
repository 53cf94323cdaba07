from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

import dandify
from dandify.cli.main import main
from dandify.dandiset.validate import ValidationReport
from dandify.errors import BadRequest, DandifyError
from dandify.examples.spikeglx import write_spikeglx_run
from dandiset_cases import add_ecephys, add_position, add_units, image, movie, session, video, write

MOUSE: dict[str, Any] = {
    "subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P60D", "session_id": "1",
    "session_start": "2026-03-01T14:30:00+01:00",
}  # fmt: skip


def errors(report: ValidationReport) -> set[tuple[str, str]]:
    """Ids of what is wrong, and the names of the files it is about."""
    return {(f.id.removeprefix("dandify."), f.path.name if f.path else "") for f in report.errors}


def recording(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return write_spikeglx_run(
        folder,
        seed=1,
        probes=1,
        seconds=0.1,
        run_name="run",
        start=datetime(2026, 3, 1, 14, 30),
        channels=4,
        nidq=False,
    )


# Recordings


def test_what_is_well_has_no_findings(tmp_path: Path) -> None:
    recording(tmp_path / "rig")
    report = dandify.check(tmp_path / "rig", **MOUSE)
    assert report.findings == ()
    assert [(v.path.as_posix(), v.kind, v.ok) for v in report.files] == [("run_g0", "spikeglx", True)]


def test_what_convert_would_ask_for_is_named(tmp_path: Path) -> None:
    recording(tmp_path / "rig")
    found = errors(dandify.check(tmp_path / "rig"))
    assert found == {
        (f"missing_{key}", "rig") for key in ("subject_id", "species", "sex", "age", "timezone")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"species": "mouse"}, "species"),
        ({"sex": "female"}, "sex"),
        ({"age": "60 days"}, "age"),
        ({"subject_id": "a/b"}, "subject_id"),
        ({"subject_id": "___"}, "subject_id"),
        ({"session_start": "2999-01-01T00:00:00+00:00"}, "session_start_time"),
        ({"session_start": "yesterday"}, "metadata"),
        ({"subject_id": "m" * 150, "session_id": "s" * 150}, "path_length"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_what_dandi_would_refuse_is_named_with_all_else(wrong: dict[str, str], code: str, tmp_path: Path) -> None:
    recording(tmp_path / "rig")
    found = errors(dandify.check(tmp_path / "rig", **{**MOUSE, **wrong}))
    assert (code, "rig") in found
    both = errors(dandify.check(tmp_path / "rig", **{**MOUSE, **wrong, "sex": "both"}))
    assert both >= {(code, "rig"), ("sex", "rig")}


def test_files_that_cannot_be_opened_or_are_not_known(tmp_path: Path) -> None:
    run = recording(tmp_path / "rig")
    next(run.rglob("*.meta")).unlink()
    (tmp_path / "rig" / "notes.xyz").write_text("?", encoding="utf-8")
    tifffile.imwrite(tmp_path / "rig" / "stack.tif", np.zeros((3, 8, 8), np.uint8), ome=True, metadata={"axes": "ZYX"})
    report = dandify.check(tmp_path / "rig", **MOUSE)
    assert ("unreadable", "run_g0") in errors(report)
    assert {("missing_pixel_size_um", "stack.tif")} <= errors(report)
    assert {(v.path.name, v.kind, v.ok) for v in report.files} == {
        ("run_g0", "spikeglx", False), ("notes.xyz", "unknown", True), ("stack.tif", "ome_tiff", False),
    }  # fmt: skip


def test_a_session_that_is_said_to_begin_after_its_recording(tmp_path: Path) -> None:
    run = recording(tmp_path / "rig")
    late = {**MOUSE, "session_start": "2026-03-01T14:31:00+01:00"}
    (found,) = dandify.check(run, **late).errors
    assert (found.path, found.message) == (run, "session_start_time is after the start of run_g0 by 60 s")
    with pytest.raises(DandifyError, match="session_start_time is after the start of run_g0 by 60 s") as error:
        dandify.convert(run, out=tmp_path / "out", **late)
    assert str(found.remedy) in str(error.value)


def test_images_of_a_type_that_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "rig" / "stack.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.float64), ome=True, metadata={"axes": "ZYX"})
    sizes = [f"pixel_size_um.{axis}=1" for axis in "zyx"]
    assert ("image", "stack.tif") in errors(dandify.check(path.parent, metadata=sizes, **MOUSE))
    with pytest.raises(BadRequest, match=r"stack\.tif \(Image0\): pixels of type float64"):
        dandify.convert(path, out=tmp_path / "out", metadata=sizes, **MOUSE)


CONFIG = """
subjects:
  m-1: {species: Mus musculus, sex: F, age: P60D}
  m_1: {species: Mus musculus, sex: M}
metadata: {timezone: Europe/Berlin}
sessions:
  - {subject_id: m-1, session_id: "1", sources: [a]}
  - {subject_id: m_1, session_id: "1", sources: [b, gone]}
dandiset:
  name: A test
  license: CC-BY-NC-4.0
"""


def test_all_sessions_of_a_project_and_its_description(tmp_path: Path) -> None:
    for name in ("a", "b"):
        recording(tmp_path / name)
    (tmp_path / "dandify.yaml").write_text(CONFIG, encoding="utf-8")
    report = dandify.check(config=tmp_path / "dandify.yaml")
    assert errors(report) == {
        ("shared_name", "b"), ("missing_age", "b"), ("unreadable", "gone"), ("dandiset_metadata", "dandify.yaml"),
    }  # fmt: skip
    (shared_name,) = [f for f in report.errors if f.id == "dandify.shared_name"]
    assert "'m-1'" in shared_name.message
    assert "'m_1'" in shared_name.message
    assert "unpublishable" in {f.id.removeprefix("dandify.") for f in report.findings if f.severity == "HINT"}
    assert ("unpublishable", "dandify.yaml") in errors(dandify.check(config=tmp_path / "dandify.yaml", doi=True))


# Files that are converted already


def _complete(folder: Path) -> None:
    write(add_ecephys(session("m1", "1")), folder / "any name.nwb")


def _no_subject(folder: Path) -> None:
    write(add_units(session(None, "1")), folder / "x.nwb")


def _wrong_sex(folder: Path) -> None:
    write(add_units(session("m1", "1", sex="female")), folder / "x.nwb")


def _no_video(folder: Path) -> None:
    nwb = add_units(session("m1", "1"))
    nwb.create_processing_module(name="behavior", description="B.").add(movie("eye", ["gone.mp4"]))
    write(nwb, folder / "x.nwb")


def _video_elsewhere(folder: Path) -> None:
    nwb = session("m1", "1")
    nwb.add_acquisition(movie("eye", [str(video(folder.parent / "cam.mp4"))]))
    write(nwb, folder / "x.nwb")


def _link(folder: Path) -> None:
    with h5py.File(write(add_units(session("m1", "1")), folder / "x.nwb"), "r+") as file:
        file["scratch/away"] = h5py.ExternalLink("raw.h5", "/data")


def _zarr(folder: Path) -> None:
    write(add_position(session("m1", "1")), folder / "x.nwb.zarr")


def _damaged(folder: Path) -> None:
    path = write(add_units(session("m1", "1")), folder / "x.nwb")
    path.write_bytes(path.read_bytes()[:3000])


def _image_of_nobody(folder: Path) -> None:
    image(folder / "x.ome.zarr")


def _same_label(folder: Path) -> None:
    write(add_units(session("m1", "a_1")), folder / "x.nwb")
    write(add_units(session("m1", "a1")), folder / "y.nwb")


def _same_name(folder: Path) -> None:
    for name in ("x", "y"):
        write(add_units(session("m1", "1")), folder / f"{name}.nwb")
        image(folder / name / "stack.ome.zarr", {"subject_id": "m1"}, {"session_id": "1"})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_complete, set()),
        (_no_subject, {("NWBI.check_subject_exists", "x.nwb"), ("missing_subject_id", "x.nwb")}),
        (_wrong_sex, {("NWBI.check_subject_sex", "x.nwb")}),
        (_no_video, {("media_missing", "x.nwb")}),
        (_video_elsewhere, set()),
        (_link, {("link", "x.nwb"), ("extraction", "x.nwb")}),
        (_zarr, set()),
        (_damaged, {("unreadable", "x.nwb")}),
        (_image_of_nobody, {("missing_subject_id", "x.ome.zarr"), ("missing_session_id", "x.ome.zarr")}),
        (_same_label, {("shared_name", "y.nwb")}),
        (_same_name, {("shared_name", "y.nwb"), ("shared_name", "stack.ome.zarr")}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_files_that_are_to_be_organized(make: Any, expected: set[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make(tmp_path / "in")
    found = errors(dandify.check(tmp_path / "in"))
    assert {f for f in found if not f[0].startswith("pynwb")} >= expected
    if not expected:
        assert found == set()
    refused = {"missing_subject_id", "media_missing", "link", "unreadable", "shared_name"} & {code for code, _ in found}
    if refused:  # and so it is
        with pytest.raises(DandifyError):
            dandify.organize(tmp_path / "in", tmp_path / "out")
    else:
        dandify.organize(tmp_path / "in", tmp_path / "out")


def test_what_the_table_says_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(add_units(session(None, "1")), tmp_path / "in" / "x.nwb")
    write(add_units(session("m2", "1", sex=None)), tmp_path / "in" / "y.nwb")
    write(add_units(session("m2", "1")), tmp_path / "in" / "z.nwb")
    (tmp_path / "in" / "x_old.nwb").write_text("no HDF5")
    image(tmp_path / "in" / "i.ome.zarr")
    table = tmp_path / "t.csv"
    header = "path,subject_id,session_id,species,sex,age,description"
    rows = ["in/x.nwb,m1,,Mus musculus,F,P60D,", "in/y.nwb,,,,M,,one", "in/z.nwb,,,,,,other", "in/*.zarr,m1,1,,,,"]
    table.write_text("\n".join([header, *rows]))
    given: dict[str, Any] = {"ignore": ("*_old.nwb",)}
    assert {code for code, _ in errors(dandify.check(tmp_path / "in", **given))} == {
        "NWBI.check_subject_exists", "NWBI.check_subject_sex", "missing_subject_id", "missing_session_id",
        "shared_name",
    }  # fmt: skip
    assert errors(dandify.check(tmp_path / "in", table=table, **given)) == set()
    assert dandify.organize(tmp_path / "in", tmp_path / "out", table=table, **given).changed
    assert dandify.validate(tmp_path / "out").errors == ()
    table.write_text("\n".join([header, rows[0].replace("P60D", ""), rows[1].replace(",,one", ",1,one"), *rows[2:]]))
    assert errors(dandify.check(tmp_path / "in", table=table, **given)) == {
        ("missing_age", "x.nwb"), ("table", "y.nwb"), ("NWBI.check_subject_sex", "y.nwb"),
    }  # fmt: skip


def test_zarr_and_a_doi_exclude_each_other(tmp_path: Path) -> None:
    image(tmp_path / "sub-m1_ses-1_x.ome.zarr")
    assert dandify.check(tmp_path).errors == ()
    assert errors(dandify.check(tmp_path, doi=True)) == {("zarr_without_doi", tmp_path.name)}


# What is asked


@pytest.mark.parametrize("place", [".", "sub-m1/x.mp4"])
def test_a_dandiset_is_validated_instead(place: str, tmp_path: Path) -> None:
    video(tmp_path / "sub-m1" / "x.mp4")
    (tmp_path / "dandiset.yaml").write_text("name: x\n", encoding="utf-8")
    with pytest.raises(BadRequest, match="dandify validate"):
        dandify.check(tmp_path / place)


def test_what_lies_beside_a_dandiset_is_none(tmp_path: Path) -> None:
    """As of whoever stands in the dandiset and names ../raw."""
    recording(tmp_path / "rig")
    (tmp_path / "dandiset").mkdir()
    (tmp_path / "dandiset" / "dandiset.yaml").write_text("name: x\n", encoding="utf-8")
    assert dandify.check(tmp_path / "dandiset" / ".." / "rig", **MOUSE).findings == ()


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="nothing to check"):
        dandify.check()
    with pytest.raises(BadRequest, match="no such file"):
        dandify.check(tmp_path / "gone")


def test_on_the_command_line(tmp_path: Path) -> None:
    recording(tmp_path / "rig")
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in MOUSE.items()]
    done = CliRunner().invoke(main, ["check", str(tmp_path / "rig"), *flags])
    assert done.exit_code == 0, done.output
    assert "1 file: 0 errors" in done.output
    assert "next: dandify convert" in done.output
    done = CliRunner().invoke(main, ["check", str(tmp_path / "rig"), "--json", "--sex", "both"])
    assert done.exit_code == 1
    record = json.loads(done.output)
    assert {"dandify.sex", "dandify.missing_age"} <= {f["id"] for f in record["findings"]}


def test_files_of_one_name_in_several_folders_keep_their_findings(tmp_path: Path) -> None:
    write(add_units(session("m1", "1")), tmp_path / "good/x.nwb")
    write(add_units(session(None, "1")), tmp_path / "bad/x.nwb")
    done = CliRunner().invoke(main, ["check", str(tmp_path / "good"), str(tmp_path / "bad")])
    bad, good = done.output.split("ok     good/x.nwb")
    assert "FAILED bad/x.nwb" in bad
    assert "missing_subject_id" in bad
    assert "missing_subject_id" not in good
