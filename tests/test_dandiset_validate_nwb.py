"""validate: what is said of NWB files, and of the media that they refer to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from dandi.files import dandi_file

from dandify.dandiset.organize import organize
from dandify.dandiset.validate import validate
from dandiset_cases import add_units, session, video, write
from shared_data import shared
from validate_cases import COMPLETE, dandiset, found, one_of_each


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dandiset of each kind of asset; tests copy it before they break it."""
    return one_of_each(tmp_path_factory.mktemp("good"))


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "dandiset")


# Media


def test_media_are_in_a_dandiset_that_is_named_from_elsewhere(good: Path) -> None:
    assert validate(good / "sub-m1" / "..").findings == validate(good).findings


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


@pytest.mark.parametrize(
    ("subject_id", "name"),
    [("mouse_01", "sub-mouse-01"), ("mouse_01", "sub-mouse01"), ("Mäuse-2", "sub-Mause2")],
    ids=["as dandi organizes", "as dandify does", "without accents"],
)
def test_every_way_of_writing_an_id_in_a_path_is_taken(subject_id: str, name: str, tmp_path: Path) -> None:
    root = dandiset(tmp_path, (add_units(session(subject_id, "s.1")), f"{name}/{name}_ses-s-1_ecephys.nwb"))
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


def test_the_subject_of_nwb_in_bids_is_that_of_its_path(tmp_path: Path) -> None:
    source = write(add_units(session("m1", "1")), tmp_path / "x.nwb")
    organize(source, tmp_path / "out", layout="bids", metadata=COMPLETE)
    path = next((tmp_path / "out").rglob("*.nwb"))
    assert path.relative_to(tmp_path / "out").as_posix() == "sub-m1/ses-1/ecephys/sub-m1_ses-1_ecephys.nwb"
    with h5py.File(path, "r+") as file:
        file["general/subject/subject_id"][()] = "m2"
    assert "m2" in found(validate(tmp_path / "out"), "dandify.subject_mismatch").message


def test_a_file_that_pynwb_refuses_is_told_in_a_line(tmp_path: Path) -> None:
    """Some tools write a list of one as that one; hdmf then prints the whole file."""
    nwb = write(add_units(session("m1", "1")), tmp_path / "sub-m1" / "sub-m1_ses-1_ecephys.nwb")
    with h5py.File(nwb, "r+") as file:
        del file["general/keywords"]
        file["general/keywords"] = "test"
    said = {f.id: f.message for f in validate(tmp_path).findings if f.path == nwb}
    for code in ("NWBI.unreadable", "dandify.extraction"):
        assert "incorrect type for 'keywords' (got 'str'" in said[code]
        assert said[code].endswith("[root]")
        assert len(said[code]) < 350
