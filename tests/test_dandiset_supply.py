"""What a table says of NWB files that lack it: the organized copy says it, the file given stays as it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import pytest
from click.testing import CliRunner
from pynwb import NWBHDF5IO, NWBFile

from dandify.cli.main import main
from dandify.dandiset.assets import asset_metadata
from dandify.dandiset.context import Context
from dandify.dandiset.facts import kind_of, read_facts
from dandify.dandiset.organize import OrganizeReport, organize
from dandify.dandiset.validate import validate
from dandify.dandiset.vocabulary import SUFFIX_TECHNIQUES
from dandify.errors import BadRequest, BadSource, OutputExists
from dandiset_cases import add_units, image, movie, session, video, write
from organize_cases import table

SAID = "path,subject_id,session_id,species,sex,age"


def content(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def organized(report: OrganizeReport) -> Path:
    (file,) = report.files
    return report.dandiset / file.path


def nwb_of_nobody() -> NWBFile:
    return add_units(session(None, None))


@pytest.mark.parametrize("suffix", [".nwb", ".nwb.zarr"])
def test_the_copy_says_what_the_table_does(suffix: str, tmp_path: Path) -> None:
    given = write(nwb_of_nobody(), tmp_path / "in" / f"x{suffix}")
    before = content(given)
    said = table(tmp_path, SAID, f"in/x{suffix},mouse_1,a-1,Mus musculus,F,P60D")
    report = organize(given, tmp_path / "out", table=said, mode="hardlink")
    assert [(f.path.name, f.status, f.filled) for f in report.files] == [
        (f"sub-mouse1_ses-a1_ecephys{suffix}", "copied", ("age", "session_id", "sex", "species", "subject_id"))
    ]
    assert content(given) == before
    copy = organized(report)
    assert not validate(tmp_path / "out").errors
    assert stated(copy) == ("mouse_1", "Mus musculus", "F", "P60D", "a-1")
    record = asset_metadata(copy, tmp_path / "out", context=Context(tmp_path / "out"))
    assert record["wasAttributedTo"][0]["identifier"] == "mouse_1"

    there = content(copy)
    assert [f.status for f in organize(given, tmp_path / "out", table=said).files] == ["unchanged"]
    assert content(copy) == there


def stated(path: Path) -> tuple[Any, ...]:
    """Read it as pynwb does."""
    if path.suffix == ".zarr":
        from hdmf_zarr import NWBZarrIO

        io = NWBZarrIO(str(path), "r")
    else:
        io = NWBHDF5IO(path, "r")
    with io:
        nwb = io.read()
        who = nwb.subject
        return who.subject_id, who.species, who.sex, who.age, nwb.session_id


def test_tables_of_bids_say_it_too(tmp_path: Path) -> None:
    write(nwb_of_nobody(), tmp_path / "x.nwb")
    write(add_units(session("NA", "1", age="NA", sex="female")), tmp_path / "y.nwb")
    said = table(tmp_path, SAID, "x.nwb,m1,a,Mus musculus,F,P1Y", "y.nwb,m2,,,F,n/a")
    organize(tmp_path, tmp_path / "out", table=said, layout="bids")
    rows = [line.split("\t") for line in (tmp_path / "out" / "participants.tsv").read_text().splitlines()]
    assert [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] == [
        {"participant_id": "sub-m1", "species": "Mus musculus", "sex": "F", "age": "1"},
        {"participant_id": "sub-m2", "species": "Mus musculus", "sex": "F", "age": "n/a"},
    ]


def test_the_tree_shows_what_copies_say_now(tmp_path: Path) -> None:
    write(nwb_of_nobody(), tmp_path / "x.nwb")
    options = ["--dandiset", str(tmp_path / "out"), "--subject-id", "m1"]
    done = CliRunner().invoke(main, ["organize", str(tmp_path / "x.nwb"), *options])
    assert "copied; filled in: subject_id" in done.output, done.output


def test_the_same_copy_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    given = write(nwb_of_nobody(), tmp_path / "x.nwb")
    said = table(tmp_path, SAID, "x.nwb,m1,1,Mus musculus,F,P60D")
    copies = [organized(organize(given, tmp_path / name, table=said)).read_bytes() for name in ("one", "two")]
    assert copies[0] == copies[1]


def test_a_copy_that_somebody_changed_is_not_taken_for_ours(tmp_path: Path) -> None:
    given = write(nwb_of_nobody(), tmp_path / "x.nwb")
    said = table(tmp_path, SAID, "x.nwb,m1,1,Mus musculus,F,P60D")
    copy = organized(organize(given, tmp_path / "out", table=said))
    with h5py.File(copy, "r+") as file:
        file["general/lab"][()] = "another"
    with pytest.raises(OutputExists):
        organize(given, tmp_path / "out", table=said)


def test_what_dandi_refuses_is_mended_or_taken_away(tmp_path: Path) -> None:
    """As in files of the hippocampus portal, which state `male` and `NA`."""
    given = write(
        add_units(session("NA", "1", sex="male", age="NA", weight="NA")), tmp_path / "x.nwb"
    )  # fmt: skip
    said = table(tmp_path, "path,subject_id,sex,age,weight", "x.nwb,rat-9,M,P14D/P30D,n/a")
    copy = organized(organize(given, tmp_path / "out", table=said))
    facts = read_facts(copy, "nwb")
    assert facts.subject == {"subject_id": "rat-9", "species": "Mus musculus", "sex": "M", "age": "P14D/P30D"}
    assert not validate(tmp_path / "out").errors


def test_a_name_that_only_dandi_refuses_is_written_as_the_table_has_it(tmp_path: Path) -> None:
    given = write(add_units(session("m1", "1", species="mus musculus")), tmp_path / "x.nwb")
    copy = organized(organize(given, tmp_path / "out", table=table(tmp_path, "path,species", "x.nwb,Mus musculus")))
    assert read_facts(copy, "nwb").subject["species"] == "Mus musculus"
    assert not validate(tmp_path / "out").errors


@pytest.mark.parametrize("said", ["../in/x.nwb", "../in/?.nwb", "{root}/in/x.nwb", "{root}/i*/x.nwb"])
def test_rows_are_found_however_their_paths_are_written(said: str, tmp_path: Path) -> None:
    write(nwb_of_nobody(), tmp_path / "in" / "x.nwb")
    (tmp_path / "tables").mkdir()
    rows = table(tmp_path / "tables", "path,subject_id", f"{said.replace('{root}', str(tmp_path))},m1")
    report = organize(tmp_path / "tables" / ".." / "in", tmp_path / "out", table=rows)
    assert read_facts(organized(report), "nwb").subject_id == "m1"


def test_a_pattern_beside_its_table_in_a_folder_with_brackets(tmp_path: Path) -> None:
    folder = tmp_path / "in [2]"
    write(nwb_of_nobody(), folder / "x.nwb")
    report = organize(folder, tmp_path / "out", table=table(folder, "path,subject_id", "*.nwb,m1"))
    assert read_facts(organized(report), "nwb").subject_id == "m1"


def test_two_rows_that_differ_about_one_file(tmp_path: Path) -> None:
    write(nwb_of_nobody(), tmp_path / "x.nwb")
    said = table(tmp_path, "path,subject_id,sex", "x.nwb,m1,F", "*.nwb,,M")
    with pytest.raises(BadRequest, match=r"sex of x\.nwb is 'F' in line 2 and 'M' in line 3") as error:
        organize(tmp_path / "x.nwb", tmp_path / "out", table=said)
    assert error.value.remedy


@pytest.mark.parametrize(
    ("header", "row", "wrong"),
    [
        ("sex", "M", "says sex 'M' of .* itself states 'F'"),
        ("sex", "n/a", "itself states 'F'"),
        ("species", "Rattus norvegicus", "itself states 'Mus musculus'"),
        ("sex", "male", "sex 'male' is none of"),
        ("age", "60 days", "not an ISO 8601 duration"),
        ("species", "mouse", "not a Latin name"),
        ("subject_id", "n/a", "subject_id is n/a"),
    ],
)
def test_what_a_table_may_not_say(header: str, row: str, wrong: str, tmp_path: Path) -> None:
    write(add_units(session("m1", "1")), tmp_path / "x.nwb")
    said = table(tmp_path, f"path,{header}", f"x.nwb,{row}")
    with pytest.raises(BadRequest, match=wrong) as error:
        organize(tmp_path / "x.nwb", tmp_path / "out", table=said)
    assert error.value.place == "line 2"
    assert not (tmp_path / "out").exists()


def test_the_same_in_other_words_is_no_contradiction(tmp_path: Path) -> None:
    given = write(add_units(session("m1", "1")), tmp_path / "x.nwb")
    said = table(tmp_path, "path,species", "x.nwb,http://purl.obolibrary.org/obo/NCBITaxon_10090")
    (file,) = organize(given, tmp_path / "out", table=said, mode="hardlink").files
    assert (file.status, file.filled) == ("hardlinked", ())


def test_ids_given_as_options_are_in_the_copy_too(tmp_path: Path) -> None:
    given = write(nwb_of_nobody(), tmp_path / "x.nwb")
    copy = organized(organize(given, tmp_path / "out", subject_id="m1"))
    assert read_facts(copy, "nwb").subject_id == "m1"


def test_a_subject_of_nwb_2_0_has_the_help_that_was_required_then(tmp_path: Path) -> None:
    given = write(nwb_of_nobody(), tmp_path / "x.nwb")
    with h5py.File(given, "r+") as file:
        file.attrs["nwb_version"] = "2.0.2"
    copy = organized(organize(given, tmp_path / "out", subject_id="m1"))
    with h5py.File(copy) as file:
        assert file["general/subject"].attrs["help"] == "Information about the subject"


def test_a_weight_that_is_a_number_is_stated(tmp_path: Path) -> None:
    with h5py.File(write(add_units(session("m1", "1")), tmp_path / "x.nwb"), "r+") as file:
        file["general/subject/weight"] = 0.02
    assert read_facts(tmp_path / "x.nwb", "nwb").subject["weight"] == "0.02 kg"
    with pytest.raises(BadRequest, match=r"itself states '0\.02 kg'"):
        organize(tmp_path / "x.nwb", tmp_path / "out", table=table(tmp_path, "path,weight", "x.nwb,0.03 kg"))


@pytest.mark.parametrize("make", [lambda p: image(p / "a.ome.zarr"), lambda p: video(p / "a.mp4")])
def test_of_images_and_videos_the_tables_keep_it(make: Any, tmp_path: Path) -> None:
    given = make(tmp_path)
    said = table(tmp_path, SAID, f"{given.name},m1,1,Mus musculus,F,P60D")
    report = organize(given, tmp_path / "out", table=said, mode="hardlink")
    assert [f.status for f in report.files] == ["hardlinked"]
    rows = (tmp_path / "out" / "participants.tsv").read_text().splitlines()
    assert rows == ["participant_id\tspecies\tsex", "sub-m1\tMus musculus\tF"]
    record = asset_metadata(organized(report), tmp_path / "out", context=Context(tmp_path / "out"))
    (who,) = record["wasAttributedTo"]
    assert (who["species"]["name"], who["sex"]["name"]) == ("Mus musculus - House mouse", "Female")
    assert who["age"]["value"] == "P60D"


def test_an_image_beside_nwb_says_which_sample_it_is_of(tmp_path: Path) -> None:
    given = image(tmp_path / "a.ome.zarr")
    said = table(tmp_path, "path,subject_id,session_id,sample_id,suffix", "a.ome.zarr,m1,1,S-1,SPIM")
    path = organized(organize(given, tmp_path / "out", table=said, layout="dandi"))
    assert path.name == "sub-m1_ses-1_sample-S1_a_SPIM.ome.zarr"
    record = asset_metadata(path, tmp_path / "out", context=Context(tmp_path / "out"))
    assert [one["identifier"] for one in record["wasDerivedFrom"]] == ["S1"]
    assert [one["name"] for one in record["measurementTechnique"]] == [SUFFIX_TECHNIQUES["SPIM"]]


# What is passed over


def test_files_that_are_ignored_are_not_looked_at(tmp_path: Path) -> None:
    write(add_units(session("m1", "1")), tmp_path / "in" / "x.nwb")
    (tmp_path / "in" / "broken_old.nwb").write_text("no HDF5")
    (tmp_path / "in" / "old").mkdir()
    (tmp_path / "in" / "old" / "y.nwb").write_text("no HDF5")
    with pytest.raises(BadSource):
        organize(tmp_path / "in", tmp_path / "out")
    said = table(tmp_path, "path,description", "in/broken_old.nwb,bad")  # a row about one of them is no error
    report = organize(tmp_path / "in", tmp_path / "out", ignore=("*_old.nwb", "old/*"), table=said)
    assert [f.path.name for f in report.files] == ["sub-m1_ses-1_ecephys.nwb"]
    assert not report.left


def test_missing_media_are_named_with_their_nwb_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nwb = session("m1", name)
        nwb.add_acquisition(movie("cam", [f"gone_{name}.mp4"]))
        write(nwb, tmp_path / f"{name}.nwb")
    with pytest.raises(BadSource, match=r"a\.nwb: /acquisition/cam/external_file refers to gone_a\.mp4(.|\n)*b\.nwb"):
        organize([tmp_path / "a.nwb", tmp_path / "b.nwb"], tmp_path / "out")


def test_tables_of_two_bids_datasets_are_not_mixed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        image(folder / f"sub-{name}" / "micr" / f"sub-{name}_sample-A_SPIM.ome.zarr")
        (folder / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
        (folder / "participants.tsv").write_text(f"participant_id\tage\nsub-{name}\t3\n")
    both = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(BadRequest, match=r"both be participants\.tsv") as error:
        organize(both, tmp_path / "out", layout="bids")
    assert "--ignore 'participants.tsv'" in str(error.value.remedy)
    report = organize(both, tmp_path / "out", layout="bids", ignore=("participants.tsv",))
    assert [kind_of(report.dandiset / f.path) for f in report.files] == ["ome-zarr", "ome-zarr"]
