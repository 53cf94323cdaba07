from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from dandi.files import dandi_file
from pynwb import NWBFile

from dandify.dandiset.describe import write_description
from dandify.dandiset.organize import organize
from dandify.dandiset.validate import ValidationReport, _Job, _processes, validate
from dandify.errors import BadRequest
from dandify.findings import Finding
from dandiset_cases import add_ecephys, add_position, add_units, image, movie, session, video, write
from shared_data import shared

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


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dandiset of each kind of asset, as `organize` makes it; tests copy it before they break it."""
    root = tmp_path_factory.mktemp("good")
    video(root / "in" / "cam.mp4")
    nwb = add_ecephys(session("m1", "1"))
    nwb.add_acquisition(movie("video", ["cam.mp4"]))
    write(nwb, root / "in" / "a.nwb")
    write(add_position(session("m2", "1")), root / "in" / "b.nwb.zarr")
    image(root / "in" / "sub-m1_ses-1_stack.ome.zarr", {"subject_id": "m1"}, {"session_id": "1"})
    organize(root / "in", root / "dandiset", metadata=COMPLETE)
    return root / "dandiset"


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "dandiset")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A dandiset of one video: whatever is said of others is said soon."""
    video(tmp_path / "dandiset" / "sub-m1" / "x.mp4")
    write_description(tmp_path / "dandiset", COMPLETE)
    return tmp_path / "dandiset"


def test_what_organize_makes_has_no_errors_and_no_warnings(good: Path) -> None:
    report = validate(good)
    assert report.errors == report.warnings == ()
    assert [(v.path.name[-12:], v.kind, v.ok) for v in report.files] == [
        ("dandiset.yaml"[-12:], "dandiset.yaml", True),
        (next(good.rglob("*.mp4")).name[-12:], "video", True),
        ("ys+image.nwb", "nwb", True),
        ("ack.ome.zarr", "ome-zarr", True),
        ("ior.nwb.zarr", "nwb-zarr", True),
    ]
    assert [f.id for f in report.findings] == ["dandify.zarr_without_doi"]


def test_json_is_one_record_of_all(good: Path) -> None:
    record = json.loads(validate(good).to_json())
    assert (record["errors"], record["warnings"], len(record["files"])) == (0, 0, 5)
    assert set(record["findings"][0]) == {
        "id", "origin", "scope", "severity", "message", "path", "remedy", "key"
    }  # fmt: skip


def test_two_processes_find_the_same(small: Path) -> None:
    video(small / "sub-m1" / "empty.mp4", b"")
    assert validate(small, workers=2) == validate(small)


@pytest.mark.parametrize(
    ("asked", "recordings", "processes"),
    [(None, 500, 1), (3, 1, 3), ("auto", 5, 1), ("auto", 39, 1), ("auto", 40, 2), ("auto", 10_000, 4)],
)
def test_processes_come_with_many_recordings(
    asked: Any, recordings: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    others = [_Job(Path("x.mp4"), Path(), "video", False, "full")] * 1000
    assert _processes(asked, [_Job(Path("x.nwb"), Path(), "nwb", False, "full")] * recordings + others) == processes


def test_progress_counts_files(good: Path) -> None:
    steps: list[Any] = []
    validate(good, progress=steps.append)
    assert [s.done_files for s in steps] == [1, 2, 3, 4, 5]
    assert {s.total_files for s in steps} == {5}


def test_a_single_file_is_checked_in_its_dandiset(good: Path) -> None:
    path = next(good.glob("sub-m1/*.nwb"))
    report = validate(path)
    assert [v.path for v in report.files] == [path.relative_to(good)]
    assert report.findings == ()


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no such"):
        validate(tmp_path / "gone")


# What lies there


@pytest.mark.parametrize(
    ("name", "code", "severity", "kind"),
    [
        ("notes.txt", "dandify.not_uploaded", "HINT", "unknown"),
        ("sub-m1/clip@1.mp4", "dandify.path_characters", "ERROR", "video"),
        ("sub-m1/" + "x" * 240 + "/" + "y" * 240 + "/" + "z" * 40 + ".mp4", "dandify.path_length", "ERROR", "video"),
        ("sub-m1/CLIP.MP4", "dandify.suffix_case", "ERROR", "unknown"),
        ("sub-m1/x.nwb.partial", "dandify.partial", "WARNING", "partial"),
        ("x.ome.zarr.manifest.json", None, None, "manifest"),
        (".hidden", None, None, "hidden"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_every_file_is_listed_with_its_verdict(
    name: str, code: str | None, severity: str | None, kind: str, small: Path
) -> None:
    video(small / name)
    report = validate(small)
    (verdict,) = [v for v in report.files if v.path.as_posix() == name]
    assert (verdict.kind, verdict.ok) == (kind, severity != "ERROR")
    if code:
        assert found(report, code).severity == severity
        assert found(report, code).path == small / name


def test_empty_files_are_refused(small: Path) -> None:
    video(small / "sub-m1" / "empty.mp4", b"")
    video(small / "sub-m1" / "sub-m1_ses-9.nwb", b"")
    codes = [(f.id, f.path and f.path.name) for f in validate(small).errors]
    assert codes == [("dandify.empty_file", "empty.mp4"), ("dandify.empty_file", "sub-m1_ses-9.nwb")]


def test_an_empty_zarr_is_refused(small: Path) -> None:
    (small / "sub-m1" / "x.ome.zarr").mkdir()
    assert "dandify.not_an_asset" in {f.id for f in validate(small).errors}


def test_a_folder_that_is_no_dandiset(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x", encoding="utf-8")
    assert [f.id for f in validate(tmp_path).errors] == ["DANDI.NO_DANDISET_FOUND", "dandify.no_assets"]


@pytest.mark.parametrize(
    ("text", "code", "severity"),
    [
        ("name: [", "dandify.dandiset_yaml", "ERROR"),
        ("contributor: [{schemaKey: Person, name: Jane Doe}]\n", "dandify.dandiset_metadata", "WARNING"),
        ("name: x\n", "dandify.unpublishable", "HINT"),
    ],
    ids=["damaged", "name", "draft"],
)
def test_dandiset_yaml_is_checked(text: str, code: str, severity: str, small: Path) -> None:
    (small / "dandiset.yaml").write_text(text, encoding="utf-8")
    assert found(validate(small), code).severity == severity


# Media


def _delete_media(root: Path) -> None:
    next(root.rglob("*.mp4")).unlink()


def _refer_to(name: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        with h5py.File(next(root.glob("sub-m1/*.nwb")), "r+") as file:
            file["acquisition/video/external_file"][0] = name

    return edit


def _refer_to_tif(root: Path) -> None:
    video(root / "sub-m1" / "x.tif")
    _refer_to("x.tif")(root)


def _refer_outside(root: Path) -> None:
    video(root.parent / "raw.mp4")
    _refer_to("../../raw.mp4")(root)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (_delete_media, "dandify.media_missing"),
        (_refer_to("/data/x.mp4"), "dandify.media_absolute"),
        (_refer_to(r"C:\data\x.mp4"), "dandify.media_absolute"),
        (_refer_outside, "dandify.media_outside"),
        (_refer_to_tif, "dandify.media_kind"),
    ],
    ids=["missing", "absolute", "windows", "outside", "kind"],
)
def test_media_that_would_be_missing_in_the_archive(damage: Callable[[Path], None], code: str, copy: Path) -> None:
    damage(copy)
    assert found(validate(next(copy.glob("sub-m1/*.nwb"))), code).severity == "ERROR"


# NWB


def test_the_subject_in_the_path_is_that_of_the_file(tmp_path: Path) -> None:
    root = dandiset(tmp_path, (add_units(session("m1", "1")), "sub-m2/sub-m2_ses-7_ecephys.nwb"))
    report = validate(root)
    assert "m1" in found(report, "dandify.subject_mismatch").message
    assert found(report, "dandify.subject_mismatch").severity == "ERROR"
    assert found(report, "dandify.session_mismatch").severity == "WARNING"


@pytest.mark.parametrize("name", ["sub-mouse-01", "sub-mouse01"], ids=["as dandi organizes", "as dandify does"])
def test_every_way_of_writing_an_id_in_a_path_is_taken(name: str, tmp_path: Path) -> None:
    root = dandiset(tmp_path, (add_units(session("mouse_01", "s.1")), f"{name}/{name}_ses-s-1_ecephys.nwb"))
    assert validate(root).errors == ()


def test_filters_that_some_readers_lack(copy: Path) -> None:
    path = next(copy.glob("sub-m1/*.nwb"))
    with h5py.File(path, "r+") as file:
        data = file["acquisition/ElectricalSeries/data"][:]
        attributes = dict(file["acquisition/ElectricalSeries/data"].attrs)
        del file["acquisition/ElectricalSeries/data"]
        made = file.create_dataset("acquisition/ElectricalSeries/data", data=data, chunks=True, compression="lzf")
        made.attrs.update(attributes)
    finding = found(validate(path), "dandify.hdf5_filter")
    assert finding.severity == "WARNING"
    assert "lzf" in finding.message
    assert "/acquisition/ElectricalSeries/data" in finding.message


@pytest.mark.parametrize("options", [{"compression": "gzip", "shuffle": True}, {"fletcher32": True}, {}], ids=str)
def test_filters_that_every_reader_has(options: dict[str, Any], copy: Path) -> None:
    path = next(copy.glob("sub-m1/*.nwb"))
    with h5py.File(path, "r+") as file:
        file.create_dataset("scratch/x", data=np.zeros(100), chunks=(10,), **options)
    assert "dandify.hdf5_filter" not in {f.id for f in validate(path).findings}


def test_a_species_that_only_the_plain_client_refuses(tmp_path: Path) -> None:
    root = dandiset(tmp_path, (add_units(session("m1", species="Sus scrofa")), "sub-m1/sub-m1_ses-s1_ecephys.nwb"))
    report = validate(root)
    assert report.errors == ()
    assert "dandi upload" in found(report, "dandify.species_lookup").message
    path = next(root.rglob("*.nwb"))
    with pytest.raises(ValueError, match="Cannot interpret species"):  # what the client itself does at the upload
        dandi_file(path, root).get_metadata(ignore_errors=False)


def test_a_species_that_nobody_knows(tmp_path: Path) -> None:
    root = dandiset(tmp_path, (add_units(session("m1", species="Mus muscula")), "sub-m1/sub-m1_ses-s1_ecephys.nwb"))
    (error,) = validate(root).errors
    assert (error.id, error.key) == ("dandify.species", "species")
    assert "Mus musculus" in str(error.remedy)


def test_a_species_given_as_url_is_not_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def no_network(*_: Any, **__: Any) -> None:
        raise AssertionError("validate uses no network")

    monkeypatch.setattr(requests, "get", no_network)
    pig = "http://purl.obolibrary.org/obo/NCBITaxon_9823"
    mouse = "http://purl.obolibrary.org/obo/NCBITaxon_10090"
    root = dandiset(
        tmp_path,
        (add_units(session("m1", species=pig)), "sub-m1/sub-m1_ses-s1_ecephys.nwb"),
        (add_units(session("m2", species=mouse)), "sub-m2/sub-m2_ses-s1_ecephys.nwb"),
    )
    report = validate(root)
    assert report.errors == ()
    assert found(report, "dandify.species_lookup").path == root / "sub-m1" / "sub-m1_ses-s1_ecephys.nwb"


@pytest.mark.parametrize(
    ("subject", "code", "remedy"),
    [
        ({"species": "mouse"}, "NWBI.check_subject_species_form", "Mus musculus"),
        ({"sex": "female"}, "NWBI.check_subject_sex", "'F'"),
        ({"age": "60 days"}, "NWBI.check_subject_age", "P60D"),
    ],
    ids=["species", "sex", "age"],
)
@pytest.mark.parametrize("suffix", [".nwb", ".nwb.zarr"])
def test_what_the_inspector_finds_comes_with_a_remedy(
    subject: dict[str, str], code: str, remedy: str, suffix: str, tmp_path: Path
) -> None:
    nwb = add_units(session("m1", **subject))
    root = dandiset(tmp_path, (nwb, f"sub-m1/sub-m1_ses-s1_ecephys{suffix}"))
    (error,) = validate(root).errors
    assert (error.id, error.severity) == (code, "ERROR")
    assert remedy in (error.remedy or "")


@pytest.mark.parametrize("suffix", [".nwb", ".nwb.zarr"])
def test_a_file_without_subject(suffix: str, tmp_path: Path) -> None:
    root = dandiset(tmp_path, (add_units(session(None)), f"sub-m1/sub-m1_ses-s1_ecephys{suffix}"))
    (error,) = validate(root).errors
    assert error.id == "NWBI.check_subject_exists"
    assert "--table" in (error.remedy or "")


def test_a_session_of_the_future(tmp_path: Path) -> None:
    nwb = add_units(session("m1"))
    nwb.fields["session_start_time"] = datetime(2999, 1, 1, tzinfo=UTC)
    nwb.fields["timestamps_reference_time"] = datetime(2999, 1, 1, tzinfo=UTC)
    root = dandiset(tmp_path, (nwb, "sub-m1/sub-m1_ses-s1_ecephys.nwb"))
    assert [f.id for f in validate(root).errors] == ["NWBI.check_session_start_time_future_date"]


def test_what_pynwb_finds(copy: Path) -> None:
    path = next(copy.glob("sub-m1/*.nwb"))
    with h5py.File(path, "r+") as file:
        del file["acquisition/ElectricalSeries"].attrs["namespace"]
        del file["session_description"]
    errors = {f.id for f in validate(path).errors}
    assert any(code.startswith("pynwb.") for code in errors), errors


def test_links_to_other_files_cannot_be_uploaded(copy: Path) -> None:
    path = next(copy.glob("sub-m1/*.nwb"))
    with h5py.File(path, "r+") as file:
        file["scratch/away"] = h5py.ExternalLink("other.h5", "/x")
    assert "external links" in found(validate(path), "dandify.extraction").message


def test_a_damaged_nwb(copy: Path) -> None:
    path = next(copy.glob("sub-m1/*.nwb"))
    path.write_bytes(path.read_bytes()[:3000])
    report = validate(copy)
    assert found(report, "dandify.unreadable").path == path
    assert [v.ok for v in report.files if v.path.name == path.name] == [False]


def test_pickles_are_not_read(copy: Path) -> None:
    folder = next(copy.rglob("*.nwb.zarr"))
    header = folder / "identifier" / ".zarray"
    record = json.loads(header.read_text(encoding="utf-8"))
    record["filters"] = [{"id": "pickle", "protocol": 5}]
    header.write_text(json.dumps(record), encoding="utf-8")
    assert "/identifier" in found(validate(folder), "dandify.zarr_pickle").message


def test_names_of_other_tools(tmp_path: Path) -> None:
    root = dandiset(tmp_path, (add_units(session("m1")), "recordings/day one.nwb"))
    report = validate(root)
    assert {f.id for f in report.errors} == {"DANDI.NON_DANDI_FILENAME", "DANDI.NON_DANDI_FOLDERNAME"}
    assert all("dandify organize" in (f.remedy or "") for f in report.errors)


# OME-Zarr


def test_a_missing_level_is_found(copy: Path) -> None:
    folder = next(copy.rglob("*.ome.zarr"))
    shutil.rmtree(folder / "0")
    report = validate(folder)
    assert [v.ok for v in report.files if v.kind == "ome-zarr"] == [False]


def test_a_name_that_the_archive_does_not_know_as_an_image(copy: Path) -> None:
    folder = next(copy.rglob("*.ome.zarr"))
    renamed = folder.rename(folder.with_name("sub-m1_ses-1_v1.5.ome.zarr"))
    assert found(validate(renamed), "dandify.image_name").severity == "WARNING"


def test_a_bids_dataset_is_validated_as_a_whole(tmp_path: Path) -> None:
    root = shutil.copytree(shared("nwb/bids_examples/micr_SEMzarr"), tmp_path / "bids")
    (root / "dandiset.yaml").write_text("name: x\n", encoding="utf-8")
    (root / ".bidsignore").write_text("dandiset.yaml\n", encoding="utf-8")
    report = validate(root)
    assert report.errors == ()
    assert {v.kind for v in report.files} == {"bids", "ome-zarr", "hidden", "dandiset.yaml"}
    hint = next(f for f in report.findings if f.id == "BIDS.SIDECAR_KEY_RECOMMENDED")
    assert re.fullmatch(r"\w+: A data file's JSON sidecar is missing a key [^\n]*", hint.message)
    (root / "sub-01" / "odd.txt").write_text("x", encoding="utf-8")
    (root / "samples.json").write_bytes(b"")
    errors = {f.id: f.remedy for f in validate(root).errors}
    assert errors.keys() >= {"BIDS.NOT_INCLUDED", "BIDS.EMPTY_FILE"}
    assert str(errors["BIDS.EMPTY_FILE"]).startswith("get its content")


def test_old_nwb_files_are_read(tmp_path: Path) -> None:
    for name in ("1.0.2_str_experimenter", "1.5.1_timeseries_no_unit", "2.2.0_subject_no_age__reference"):
        organize(shared(f"nwb/pynwb_back_compat/{name}.nwb"), tmp_path, subject_id=name)
    codes = {(f.path and f.path.parent.name, f.id) for f in validate(tmp_path).errors}
    assert codes >= {
        ("sub-102StrExperimenter", "NWBI.check_subject_sex"),
        ("sub-102StrExperimenter", "pynwb.root/general/experimenter"),
        ("sub-151TimeseriesNoUnit", "pynwb.TimeSeries/data/unit"),
        ("sub-RAT123", "NWBI.check_subject_species_exists"),
    }


# The same twice, publication, code in data


def test_the_same_content_twice_is_named(copy: Path) -> None:
    nwb, zarr, image_ = (next(copy.rglob(pattern)) for pattern in ("*.nwb", "*.nwb.zarr", "*.ome.zarr"))
    video_ = next(copy.rglob("*.mp4"))
    for source in (nwb, video_):
        shutil.copyfile(source, source.with_name(f"z{source.name}"))
    for source in (zarr, image_):
        shutil.copytree(source, source.with_name(f"z{source.name}"))
    chunk = zarr.with_name(f"z{zarr.name}") / "identifier" / "0"
    chunk.write_bytes(chunk.read_bytes()[::-1])  # of the same size, but not the same
    found = {
        f.path.name: (f.severity, f.message) for f in validate(copy).findings if f.id == "dandify.duplicate" and f.path
    }
    assert found == {
        f"z{nwb.name}": ("WARNING", f"holds the same as {nwb.name}"),
        f"z{image_.name}": ("WARNING", f"holds the same as {image_.name}"),
        f"z{video_.name}": ("HINT", f"holds the same as {video_.name}"),
    }


def test_what_keeps_a_dandiset_from_a_doi(copy: Path) -> None:
    (copy / "dandiset.yaml").write_text(
        "name: x\ncontributor: [{schemaKey: Person, name: Jane Doe}]\n", encoding="utf-8"
    )
    draft = {f.id for f in validate(copy).errors}
    assert {f.id for f in validate(copy, doi=True).errors} - draft == {
        "dandify.zarr_without_doi", "dandify.unpublishable", "dandify.dandiset_metadata",
    }  # fmt: skip


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("suffix", [".nwb.zarr", ".ome.zarr", ".zarr"])
def test_code_in_data_is_not_run(suffix: str, copy: Path, tmp_path: Path) -> None:
    trap = pickle.dumps(np.array([Trap(tmp_path / "sprung")], dtype=object))
    pickle.loads(trap)
    (tmp_path / "sprung").rmdir()  # it is a trap
    source = next(copy.rglob("*.nwb.zarr" if suffix == ".nwb.zarr" else "*.ome.zarr"))
    folder = shutil.copytree(source, tmp_path / f"x{suffix}")
    header = {
        "zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "compressor": None, "fill_value": None,
        "order": "C", "filters": [{"id": "pickle", "protocol": 5}],
    }  # fmt: skip
    for place in ("identifier" if suffix == ".nwb.zarr" else "0", "extra"):
        shutil.rmtree(folder / place, ignore_errors=True)
        (folder / place).mkdir()
        (folder / place / ".zarray").write_text(json.dumps(header), encoding="utf-8")
        (folder / place / "0").write_bytes(trap)
    target = copy / "sub-m1" / f"sub-m1_ses-9_x{suffix}"
    folder.rename(target)
    validate(copy)
    assert not (tmp_path / "sprung").exists()
    if suffix != ".zarr":
        organize(target, tmp_path / "out", subject_id="m1", session_id="9")
    assert not (tmp_path / "sprung").exists()


def test_the_subject_of_nwb_in_bids_is_that_of_its_path(tmp_path: Path) -> None:
    source = write(add_units(session("m1", "1")), tmp_path / "x.nwb")
    organize(source, tmp_path / "out", layout="bids", metadata=COMPLETE)
    path = next((tmp_path / "out").rglob("*.nwb"))
    assert path.relative_to(tmp_path / "out").as_posix() == "sub-m1/ses-1/ecephys/sub-m1_ses-1_ecephys.nwb"
    with h5py.File(path, "r+") as file:
        file["general/subject/subject_id"][()] = "m2"
    assert "m2" in found(validate(tmp_path / "out"), "dandify.subject_mismatch").message
