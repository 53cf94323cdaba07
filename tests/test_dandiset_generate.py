"""Files that describe a dandiset: README, tables, sidecars; accepted by the BIDS validator, edits kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from click.testing import CliRunner

from dandify.cli.main import main
from dandify.dandiset.assets import asset_metadata
from dandify.dandiset.gather import AssetFacts
from dandify.dandiset.generate import describe, write_tables
from dandify.dandiset.images import ImageContent, completed
from dandify.dandiset.organize import organize
from dandify.dandiset.tables import Described, image_sidecar, merge_table, participants, sessions
from dandify.dandiset.texts import merge_json
from dandify.errors import BadRequest, BadSource
from dandiset_cases import START, add_units, image, session, write
from shared_data import shared
from test_dandiset_describe import COMPLETE

MICR = "sub-m1/ses-s1/micr/sub-m1_ses-s1_sample-a_SPIM"


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """Return a BIDS dataset of two images, one of which has a manifest."""
    root = tmp_path / "bids"
    image(
        root / f"{MICR}.ome.zarr", {"subject_id": "m1", "species": "Danio rerio", "sex": "F", "age": "P5D"},
        {"session_id": "s1", "session_start_time": "2024-05-01T11:30:05+02:00"},
    )  # fmt: skip
    image(root / "sub-m2/ses-s1/micr/sub-m2_ses-s1_sample-b_CONF.ome.zarr")
    return root


def validator_errors(root: Path) -> list[str]:
    program = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    done = subprocess.run([program, "--json", str(root)], capture_output=True, text=True, timeout=120, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [issue["code"] for issue in issues if issue["severity"] == "error"]


def test_a_bids_dataset_is_complete(bids: Path) -> None:
    report = describe(bids, COMPLETE, layout="bids", nidm=True)
    assert set(report.files) == {
        "dandiset.yaml", "README.md", "dataset_description.json", ".bidsignore", "participants.tsv",
        "participants.json", "samples.tsv", "samples.json", "sub-m1/sub-m1_sessions.tsv", "sub-m1/sub-m1_sessions.json",
        "derivatives/nidm/nidm.ttl",
        "sub-m2/sub-m2_sessions.tsv", f"{MICR}.json", "sub-m2/ses-s1/micr/sub-m2_ses-s1_sample-b_CONF.json",
    }  # fmt: skip
    assert report.lacking == ()
    assert validator_errors(bids) == []
    assert (bids / "participants.tsv").read_text() == (
        "participant_id\tspecies\tsex\tage\tage_iso8601\n"
        "sub-m1\tDanio rerio\tF\t0.0137\tP5D\nsub-m2\tn/a\tn/a\tn/a\tn/a\n"
    )
    assert (bids / "samples.tsv").read_text().splitlines()[1] == "sample-a\tsub-m1\tn/a"
    assert (bids / "sub-m1/sub-m1_sessions.tsv").read_text().splitlines()[1] == "ses-s1\t2024-05-01T09:30:05Z\tP5D"
    assert json.loads((bids / f"{MICR}.json").read_text()) == {"PixelSize": [0.5, 0.5, 1.0], "PixelSizeUnits": "um"}
    made = json.loads((bids / "dataset_description.json").read_text())
    assert (made["Name"], made["License"], made["Authors"]) == ("A title", "CC-BY-4.0", ["Doe, Jane"])
    assert made["Funding"] == ["A fund: X-1"]


def test_described_again_nothing_changes(bids: Path) -> None:
    describe(bids, COMPLETE, layout="bids")
    before = {f: f.read_bytes() for f in bids.rglob("*") if f.is_file()}
    assert set(describe(bids, COMPLETE).files.values()) == {"unchanged"}
    assert {f: f.read_bytes() for f in bids.rglob("*") if f.is_file()} == before


def test_the_tables_are_what_the_archive_is_told(bids: Path) -> None:
    """An image whose manifest is gone is described by the tables as it was by the manifest."""
    path = bids / f"{MICR}.ome.zarr"
    before = asset_metadata(path, bids)
    describe(bids, layout="bids")
    path.with_name(path.name + ".manifest.json").unlink()
    after = asset_metadata(path, bids)
    assert after["wasAttributedTo"] == before["wasAttributedTo"]
    assert after["wasGeneratedBy"][0]["startDate"] == "2024-05-01T09:30:05Z"


def test_what_a_person_wrote_stays(bids: Path) -> None:
    files = {
        "participants.tsv": "participant_id\tgroup\tsex\nsub-m9\tcontrol\tM\nsub-m1\tcase\tM\n",
        "participants.json": '{"group": {"Description": "Group"}}',
        "README.md": "# Mine\n",
        f"{MICR}.json": '{"PixelSize": [1, 1, 1], "BodyPart": "BRAIN"}',
        "dataset_description.json": '{"Name": "Mine", "BIDSVersion": "1.10.0"}',
        ".bidsignore": "extra/\n",
    }
    for name, text in files.items():
        (bids / name).write_text(text, encoding="utf-8")
    describe(bids, COMPLETE)
    assert (bids / "README.md").read_text() == "# Mine\n"
    rows = [line.split("\t") for line in (bids / "participants.tsv").read_text().splitlines()]
    assert rows == [
        ["participant_id", "group", "sex", "species", "age", "age_iso8601"],
        ["sub-m9", "control", "M", "n/a", "n/a", "n/a"],
        ["sub-m1", "case", "M", "Danio rerio", "0.0137", "P5D"],
        ["sub-m2", "n/a", "n/a", "n/a", "n/a", "n/a"],
    ]
    assert json.loads((bids / "participants.json").read_text())["group"] == {"Description": "Group"}
    sidecar = json.loads((bids / f"{MICR}.json").read_text())
    assert sidecar == {"PixelSize": [1, 1, 1], "PixelSizeUnits": "um", "BodyPart": "BRAIN"}
    made = json.loads((bids / "dataset_description.json").read_text())
    assert (made["Name"], made["BIDSVersion"], made["License"]) == ("Mine", "1.10.0", "CC-BY-4.0")
    assert "GeneratedBy" not in made, "it was made by somebody else"
    assert (bids / ".bidsignore").read_text().splitlines() == ["extra/", "dandiset.yaml", "*.manifest.json"]
    describe(bids, COMPLETE, overwrite=True)
    assert json.loads((bids / "dataset_description.json").read_text())["Name"] == "A title"


@pytest.mark.parametrize("name", ["micr_SEM", "micr_SEMzarr", "micr_SPIM"])
def test_an_example_of_bids_gains_nothing_but_what_dandi_needs(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    shutil.copytree(shared(f"nwb/bids_examples/{name}"), root, copy_function=shutil.copyfile)
    changed = {path for path, change in describe(root).files.items() if change != "unchanged"}
    assert changed == {"dandiset.yaml", ".bidsignore"}
    assert validator_errors(root) == []


def test_the_readme_is_renewed_until_a_person_changes_it(tmp_path: Path) -> None:
    describe(tmp_path)
    assert (tmp_path / "README.md").read_text().startswith("# Dandiset\n")
    assert describe(tmp_path, COMPLETE).files["README.md"] == "updated"
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# A title\n\nWhat it is.\n")
    for part in ("Doe, Jane; ContactPerson, Author; Test University", "A fund X-1", "CC-BY-4.0", "jane@example.org"):
        assert part in text
    (tmp_path / "README.md").write_text(text.replace("What it is.", "What I say."), encoding="utf-8")
    assert "README.md" not in describe(tmp_path, {"name": "Another"}, overwrite=True).files


@pytest.mark.parametrize("name", ["participants.json", "dataset_description.json"])
def test_damaged_json_is_named_and_left(name: str, bids: Path) -> None:
    (bids / name).write_text("{", encoding="utf-8")
    with pytest.raises(BadSource, match=name):
        describe(bids, layout="bids")
    assert (bids / name).read_text() == "{"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no such folder"):
        describe(tmp_path / "x")


# Rows


def described(path: str, **subject: str) -> Described:
    facts = AssetFacts(subject={"subject_id": "m 1", **subject}, start=START)
    return Described(PurePosixPath(path), facts)


def test_ages_that_differ_are_of_the_sessions() -> None:
    assets = [described("sub-m1/sub-m1_ses-1.nwb", age="P1Y"), described("sub-m1/sub-m1_ses-2.nwb", age="P1Y1D")]
    assert participants(assets) == [{"participant_id": "sub-m1"}]
    assert [row.get("age_iso8601") for row in sessions(assets)["m1"]] == [None, "P1Y1D"]


@pytest.mark.parametrize(
    ("subject", "row"),
    [
        ({"age": "P2Y6M"}, {"age": "2.5", "age_iso8601": "P2Y6M"}),
        ({"age": "P3Y"}, {"age": "3"}),
        ({"age": "P1D/P3D"}, {"age_iso8601": "P1D/P3D"}),
        ({"age": "P10D", "age_reference": "gestational"}, {}),
        ({"date_of_birth": "2023-05-02T09:30:05+00:00"}, {"age": "0.9993", "age_iso8601": "P365D"}),
        ({"sex": "U"}, {}),
        ({"sex": "female"}, {"sex": "F"}),
        ({"strain": "a\tb\nc"}, {"strain": "a b c"}),
    ],
)
def test_participants(subject: dict[str, str], row: dict[str, str]) -> None:
    assert participants([described("sub-m1/sub-m1.nwb", **subject)]) == [{"participant_id": "sub-m1", **row}]


@pytest.mark.parametrize(
    ("there", "rows", "expected"),
    [
        (None, [{"id": "b"}, {"id": "a", "sex": "M"}], "id\tsex\na\tM\nb\tn/a\n"),
        ("id\tsex\na\tM\n", [{"id": "a", "sex": "F", "species": "x"}], "id\tspecies\tsex\na\tx\tM\n"),
        ("id\tsex\na\tn/a\n", [{"id": "a", "sex": "F"}], "id\tsex\na\tF\n"),
        ("id\tsex\nc\tM\na\tM\n", [{"id": "b"}], "id\tsex\nc\tM\na\tM\nb\tn/a\n"),
        ("\ufeffid\ta\r\nx\t1\r\n", [], "id\ta\nx\t1\n"),
        ("id\ta\nx\tone\u2028two\x85\n", [], "id\ta\nx\tone\u2028two\x85\n"),
    ],
    ids=["new", "columns in order", "gap", "order of a person", "windows", "lines of other signs"],
)
def test_tables_are_completed(there: str | None, rows: list[dict[str, str]], expected: str) -> None:
    assert merge_table(there, rows, ("id",)) == expected
    assert merge_table(expected, rows, ("id",)) == expected


def test_json_is_left_as_it_was_laid_out() -> None:
    assert merge_json('{"a":1}', {"a": 2}) == '{"a":1}'
    assert merge_json('\ufeff{"a":1}', {"a": 2}) == '\ufeff{"a":1}'  # of Windows
    assert json.loads(merge_json('\ufeff{"a":1}', {"b": 2})) == {"a": 1, "b": 2}
    assert json.loads(merge_json('{"a":1}', {"a": 2}, overwrite=True)) == {"a": 2}
    with pytest.raises(ValueError, match="object"):
        merge_json("[]", {})


def test_a_sidecar_says_what_the_image_does() -> None:
    content = ImageContent(
        {"z": 2.0, "y": 0.5, "x": 0.4}, ("GFP",), ("GFP",), ("SPIM",), 20.0, 0.8, "Water", "Zeiss", "Z.1"
    )
    assert image_sidecar(content) == {
        "PixelSize": [0.4, 0.5, 2.0], "PixelSizeUnits": "um", "Manufacturer": "Zeiss", "ManufacturersModelName": "Z.1",
        "Magnification": 20.0, "NumericalAperture": 0.8, "Immersion": "Water", "SampleStaining": ["GFP"],
        "ChannelNames": ["GFP"],
    }  # fmt: skip
    assert image_sidecar(ImageContent({})) == {}


@pytest.mark.parametrize(
    ("objective", "lens"),
    [
        ("Plan-Apochromat 5x/0.35, 5x, NA 0.35, Air",
         {"Magnification": 5.0, "NumericalAperture": 0.35, "Immersion": "Air"}),
        ("Plan Apo λ 60x, 60x, NA 0.95", {"Magnification": 60.0, "NumericalAperture": 0.95}),
        ("UPLFLN 40X NA:0.75", {}),
        (None, {}),
    ],
)  # fmt: skip
def test_a_sidecar_says_what_the_raw_file_did(objective: str | None, lens: dict[str, Any]) -> None:
    """CZI and ND2 leave no OME-XML behind; the manifest has what they state."""
    facts = {"device": "Celldiscoverer 7", **({"objective": objective} if objective else {})}
    assert image_sidecar(completed(ImageContent({}), {"facts": facts})) == {
        "ManufacturersModelName": "Celldiscoverer 7", **lens
    }  # fmt: skip
    said = ImageContent({}, magnification=63.0, model="Z.1")
    assert completed(said, {"facts": facts}).magnification == 63.0
    assert completed(said, {"facts": facts}).model == "Z.1"
    assert completed(said, None) == completed(said, {"facts": 5}) == said


# Organize, and the command


def test_organized_images_keep_what_their_manifests_say(tmp_path: Path) -> None:
    converted, root = tmp_path / "converted", tmp_path / "dandiset"
    who = {"subject_id": "m_1", "species": "Danio rerio", "sex": "M", "age": "P5D"}
    image(converted / "a.ome.zarr", who, {"session_id": "s1", "session_start_time": "2024-05-01T09:30:05+00:00"})
    image(converted / "b.ome.zarr", who | {"age": "P6D"}, {"session_id": "s2"})
    write(add_units(session("m2", "s1")), converted / "c.nwb")
    report = organize(converted, root, mode="move")
    assert (root / "participants.tsv").read_text() == "participant_id\tspecies\tsex\nsub-m1\tDanio rerio\tM\n"
    records = {str(f.path): asset_metadata(root / f.path, root) for f in report.files}
    for name, age in (("sub-m1/sub-m1_ses-s1_a.ome.zarr", "P5D"), ("sub-m1/sub-m1_ses-s2_b.ome.zarr", "P6D")):
        (animal,) = records[name]["wasAttributedTo"]
        assert (animal["species"]["name"], animal["age"]["value"]) == ("Danio rerio - Zebra fish", age)


def test_tables_that_come_along_are_left_as_they_come(bids: Path) -> None:
    given = bids.parent / "participants.tsv"
    image_path = PurePosixPath(f"{MICR}.ome.zarr")
    done = write_tables(bids, "bids", {image_path: bids / image_path, PurePosixPath("participants.tsv"): given})
    assert "participants.tsv" not in done
    assert done["samples.tsv"] == "created"
    assert not (bids / "participants.tsv").exists()


def run(*arguments: Any, answers: str | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["describe", *map(str, arguments)], input=answers)
    return done.exit_code, done.output


def test_the_command_completes_step_by_step(tmp_path: Path) -> None:
    code, said = run(tmp_path, "--name", "A title", "--license", "CC0-1.0")
    assert code == 0
    assert "for a DOI description: is missing" in said
    options = ("--description", "What.", "--keyword", "a", "--ethics", "G-1", "--protocol", "https://protocols.io/x",
               "--funder", "NIH; R01-1; https://ror.org/01cwqze88", "--related", "IsDescribedBy 10.1000/x",
               "--related", "IsDerivedFrom https://example.org/data", "--acknowledgement", "All.",
               "--contributor", "Doe, Jane <j@example.org>; role=ContactPerson, Author; affiliation=Uni")  # fmt: skip
    code, said = run(tmp_path, *options)
    assert (code, "has what DANDI needs for a DOI" in said) == (0, True)
    code, said = run(tmp_path, "--name", "Another")
    assert (code, "kept      name" in said) == (0, True)
    code, said = run(tmp_path, "--contributor", "Jane Doe", "--overwrite")
    assert (code, "a person is written 'Last, First'" in said) == (2, True)
    publishable(tmp_path)


def test_the_command_asks_for_what_is_open(tmp_path: Path) -> None:
    jane, roe = ("Jane Doe", "Doe, Jane", "nobody", "j@example.org", "12", "", "Uni"), ("Roe, R.", "", "", "")
    rest = ("a, b", "nowhere", "https://example.org/p", "", "G-1", "", "10.1000/x", "IsDescribedBy 10.1000/x", "")
    answers = ("What it is", "GPL", "CC-BY-4.0", *jane, *roe, "", "NIH; R01", "", *rest)
    code, said = run(tmp_path, "--name", "T", "--ask", answers="\n".join(answers) + "\n")
    for wrong in ("CC0-1.0'", "a person is written 'Last, First'", "email address", "an ORCID is", "valid URL",
                  "is no relation and address"):  # fmt: skip
        assert wrong in said, "asked again"
    assert (code, "has what DANDI needs for a DOI" in said) == (0, True), said
    publishable(tmp_path)
    assert run(tmp_path, "--ask", answers="")[1].endswith("has what DANDI needs for a DOI\n")


def publishable(dandiset: Path) -> None:
    """Validate ``dandiset.yaml`` as the archive does before it publishes, configured as dandiarchive.org is."""
    code = """
import json, sys
from ruamel.yaml import YAML
from dandischema.metadata import validate
document = YAML(typ="safe").load(open(sys.argv[1], encoding="utf-8"))
version = "0.240501.0930"
document |= {
    "schemaVersion": "0.8.0", "id": f"DANDI:000123/{version}", "identifier": "DANDI:000123", "version": version,
    "citation": "Doe (2024)", "url": f"https://dandiarchive.org/dandiset/000123/{version}",
    "repository": "https://dandiarchive.org", "doi": f"10.48324/dandi.000123/{version}",
    "manifestLocation": [f"https://dandiarchive.s3.amazonaws.com/dandisets/000123/{version}/assets.yaml"],
    "assetsSummary": {"schemaKey": "AssetsSummary", "numberOfBytes": 1, "numberOfFiles": 1},
    "datePublished": "2024-05-01T09:30:00+00:00", "dateCreated": "2024-05-01T09:30:00+00:00",
    "access": [{"schemaKey": "AccessRequirements", "status": "dandi:OpenAccess"}],
    "publishedBy": {
        "schemaKey": "PublishActivity", "id": "urn:uuid:08fffc59-9f1b-44d6-8e02-6729d266d1b6", "name": "DANDI publish",
        "startDate": "2024-05-01T09:30:00+00:00", "endDate": "2024-05-01T09:30:00+00:00",
        "wasAssociatedWith": [{"schemaKey": "Software", "id": "urn:uuid:9267d2e1-4a37-463b-9b10-dad3c66d8eaa",
                               "identifier": "RRID:SCR_017571", "name": "DANDI API", "version": "0.1.0"}],
    },
}
validate(document, schema_key="Dandiset", json_validation=True)
"""
    import os

    environment = os.environ | {
        "DANDI_INSTANCE_NAME": "DANDI", "DANDI_INSTANCE_IDENTIFIER": "RRID:SCR_017571",
        "DANDI_DOI_PREFIX": "10.48324", "DANDI_INSTANCE_URL": "https://dandiarchive.org",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, str(dandiset / "dandiset.yaml")], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
