"""Files of a BIDS dataset in the layout of DANDI: what its tables say comes along, and the tables do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import pytest

from dandify.archive.local import survey
from dandify.dandiset.assets import asset_metadata
from dandify.dandiset.facts import read_facts
from dandify.dandiset.organize import OrganizeReport, organize
from dandiset_cases import add_ecephys, image, session, video, write
from organize_cases import names, table

IMAGE = "sub-m1/ses-1/micr/sub-m1_ses-1_sample-A_SPIM.ome.zarr"
PARTICIPANTS = "participant_id\tspecies\tsex\tage\tstrain\nsub-m1\tmus musculus\tfemale\t0.5\tC57BL/6J\n"


def bids(root: Path, *, participants: str = PARTICIPANTS, acq_time: str = "2024-05-06T07:08:09") -> Path:
    """Make a BIDS dataset of another tool: an image and a recording of one session."""
    image(root / IMAGE)
    nwb = write(add_ecephys(session("m1", "1", sex="U")), root / "sub-m1/ses-1/ecephys/sub-m1_ses-1_ecephys.nwb")
    assert nwb.exists()
    (root / "dataset_description.json").write_text('{"Name": "Theirs", "BIDSVersion": "1.10.0"}')
    (root / "README").write_text("Theirs.")
    (root / "dandiset.yaml").write_text("name: Theirs\n")
    (root / "participants.tsv").write_text(participants)
    (root / "samples.tsv").write_text("sample_id\tparticipant_id\tsample_type\nsample-A\tsub-m1\tcell line\n")
    (root / "sub-m1/sub-m1_sessions.tsv").write_text(f"session_id\tacq_time\nses-1\t{acq_time}\n")
    (root / IMAGE.replace(".ome.zarr", ".json")).write_text('{"PixelSize": [1, 1], "PixelSizeUnits": "um"}')
    return root


def flat(source: Path, out: Path, **options: Any) -> OrganizeReport:
    return organize(source, out, layout="dandi", **options)


def record(report: OrganizeReport, suffix: str) -> dict[str, Any]:
    path = next(f.path for f in report.files if f.path.as_posix().endswith(suffix))
    return asset_metadata(report.dandiset / path, report.dandiset)


def test_only_what_dandi_uploads_is_taken_and_the_rest_is_told_with_its_reason(tmp_path: Path) -> None:
    source = bids(tmp_path / "in")
    dry = flat(source, tmp_path / "out", dry_run=True)
    assert not (tmp_path / "out").exists()
    report = flat(source, tmp_path / "out")
    for said in (dry, report):
        assert names(said) == ["sub-m1/sub-m1_ses-1_ecephys.nwb", "sub-m1/sub-m1_ses-1_sample-A_SPIM.ome.zarr"]
        left = {item.path.name: item.reason for item in said.left}
        assert "comes along" in left["participants.tsv"]
        assert "comes along" in left["sub-m1_sessions.tsv"]
        assert left["README"].startswith("about the BIDS dataset")
        assert left["dandiset.yaml"].startswith("describes the dandiset that it is from")
        assert set(map(str, said.generated)) == {
            f"{name}.{suffix}" for name in ("participants", "sessions", "samples") for suffix in ("tsv", "json")
        }
    assert len(flat(source, tmp_path / "out").changed) == 0
    reasons = {stays.reason for stays in survey(tmp_path / "out").left}
    assert reasons == {"dandi uploads tables only in a BIDS dataset; what it says is in the records of the assets"}


def test_the_record_of_an_image_is_as_full_as_in_the_bids_dataset(tmp_path: Path) -> None:
    found = record(flat(bids(tmp_path / "in"), tmp_path / "out"), ".ome.zarr")
    [who] = found["wasAttributedTo"]
    assert (who["identifier"], who["sex"]["name"], who["strain"]["name"]) == ("m1", "Female", "C57BL/6J")
    assert who["species"]["identifier"].endswith("NCBITaxon_10090")
    assert who["age"]["value"] == "P0.5Y"
    assert found["wasDerivedFrom"][0]["sampleType"]["name"] == "cell"
    assert found["wasGeneratedBy"][0]["startDate"].startswith("2024-05-06T07:08:09")


def test_a_recording_states_what_it_lacked_and_keeps_its_own_word(tmp_path: Path) -> None:
    source = bids(tmp_path / "in")
    report = flat(source, tmp_path / "out")
    stated = read_facts(report.dandiset / "sub-m1/sub-m1_ses-1_ecephys.nwb", "nwb").subject
    assert stated["strain"] == "C57BL/6J"
    assert (stated["sex"], stated["age"]) == ("U", "P60D")
    assert "strain" not in read_facts(source / "sub-m1/ses-1/ecephys/sub-m1_ses-1_ecephys.nwb", "nwb").subject


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ("sub-m1\tMUS MUSCULUS\tF\t1\tn/a", {"species": "Mus musculus", "sex": "F"}),
        ("sub-m1\tmouse\tF\t1\tn/a", {"sex": "F"}),
        ("sub-m1\tn/a\tn/a\tn/a\tn/a", {}),
        ("sub-other\tMus musculus\tF\t1\tn/a", {}),
    ],
    ids=["in capitals", "which mouse", "nothing", "another subject"],
)
def test_what_dandi_would_refuse_is_not_taken_over(tmp_path: Path, row: str, kept: dict[str, str]) -> None:
    source = bids(tmp_path / "in", participants=f"participant_id\tspecies\tsex\tage\tstrain\n{row}\n")
    report = flat(source / IMAGE, tmp_path / "out")
    said = (report.dandiset / "participants.tsv").read_text() if kept else ""
    rows = [dict(zip(*(line.split("\t") for line in said.splitlines()), strict=True))] if said else [{}]
    assert {k: v for k, v in rows[0].items() if k in ("species", "sex", "strain")} == kept


def test_what_the_user_takes_away_stays_away(tmp_path: Path) -> None:
    source = bids(tmp_path / "in")
    nwb = source / "sub-m1/ses-1/ecephys/sub-m1_ses-1_ecephys.nwb"
    with h5py.File(nwb, "r+") as file:
        file["general/subject/sex"][()] = "hen"
    said = table(tmp_path, "path,sex", f"{nwb.relative_to(tmp_path)},n/a")
    report = flat(nwb, tmp_path / "out", table=said)
    assert "sex" not in read_facts(report.dandiset / report.files[0].path, "nwb").subject


def test_a_day_is_no_time(tmp_path: Path) -> None:
    report = flat(bids(tmp_path / "in", acq_time="2024-05-06") / IMAGE, tmp_path / "out")
    assert "startDate" not in record(report, ".ome.zarr")["wasGeneratedBy"][0]


def test_the_users_table_comes_before_that_of_the_dataset(tmp_path: Path) -> None:
    source = bids(tmp_path / "in")
    said = table(
        tmp_path, "path,species,session_start_time,sample_type", f"in/{IMAGE},Rattus norvegicus,2020-01-02T03:04,tissue"
    )
    found = record(flat(source / IMAGE, tmp_path / "out", table=said), ".ome.zarr")
    assert found["wasAttributedTo"][0]["species"]["identifier"].endswith("NCBITaxon_10116")
    assert found["wasGeneratedBy"][0]["startDate"].startswith("2020-01-02T03:04")
    assert found["wasDerivedFrom"][0]["sampleType"]["name"] == "tissuesample"


@pytest.mark.parametrize("layout", ["dandi", "bids"])
def test_the_time_that_a_table_says_of_an_image_is_in_its_record(tmp_path: Path, layout: Any) -> None:
    image(tmp_path / "in" / "x.ome.zarr")
    said = table(
        tmp_path, "path,subject_id,session_id,session_start_time,sample_id,sample_type,suffix",
        "in/x.ome.zarr,m1,1,2024-05-06T07:08:09+02:00,A,cell line,SPIM",
    )  # fmt: skip
    found = record(organize(tmp_path / "in", tmp_path / "out", layout=layout, table=said), ".ome.zarr")
    assert found["wasGeneratedBy"][0]["startDate"].startswith("2024-05-06T05:08:09")
    assert found["wasDerivedFrom"][0]["sampleType"]["name"] == "cell"


def test_files_outside_a_dataset_are_told_of_in_other_words(tmp_path: Path) -> None:
    image(tmp_path / "in" / "sub-m1_ses-1_x.ome.zarr")
    (tmp_path / "in" / "notes.txt").write_text("x")
    video(tmp_path / "in" / "odd.mp4")
    left = {item.path.name: item.reason for item in organize(tmp_path / "in", tmp_path / "out").left}
    assert left["notes.txt"] == "none of the files that dandify places, and no NWB file refers to it"
    assert left["odd.mp4"].startswith("no NWB file refers to it, and neither its name")


def test_an_age_in_years_is_kept(tmp_path: Path) -> None:
    image(tmp_path / "in" / "x.ome.zarr")
    said = table(tmp_path, "path,subject_id,session_id,age", "in/x.ome.zarr,m1,1,P4Y")
    found = record(flat(tmp_path / "in", tmp_path / "out", table=said), ".ome.zarr")
    assert found["wasAttributedTo"][0]["age"]["value"] == "P4Y"
