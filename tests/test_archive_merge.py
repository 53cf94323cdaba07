"""Records of assets at the archive: ours for every kind, and neither side loses what only it knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive_api import dandi_cli
from dandify.archive.merge import merged, says_more
from dandify.archive.serve import RunningArchive, running_archive
from dandify.archive.upload import upload
from dandify.dandiset.checks_nwb import extraction
from dandify.dandiset.facts import read_facts
from dandify.dandiset.generate import describe
from dandify.dandiset.organize import organize
from dandiset_cases import add_ecephys, image, movie, session, video, write

NWB = "sub-m1/sub-m1_ses-s1_ecephys.nwb"
VIDEO = "sub-m1/sub-m1_ses-s1_ecephys/v.mp4"
ZARR = "sub-m1/sub-m1_ses-s1_stack.ome.zarr"
PIG = {"schemaKey": "SpeciesType", "identifier": "http://purl.obolibrary.org/obo/NCBITaxon_9823",
       "name": "Sus scrofa - Pig"}  # fmt: skip


def who(**more: Any) -> dict[str, Any]:
    return {"wasAttributedTo": [{"schemaKey": "Participant", "identifier": "m1", **more}]}


def approaches(*names: str) -> dict[str, Any]:
    return {"approach": [{"schemaKey": "ApproachType", "name": name} for name in names]}


@pytest.mark.parametrize(
    ("theirs", "ours", "same", "expected"),
    [
        ({"description": "by hand"}, {}, True, {"description": "by hand"}),
        ({"description": "by hand"}, {}, False, {"description": "by hand"}),
        ({"description": "old"}, {"description": "new"}, True, {"description": "new"}),
        (who(strain="x"), who(sex="y"), True, who(strain="x", sex="y")),
        (who(strain="x"), who(sex="y"), False, who(strain="x", sex="y")),
        (who(identifier="m2", strain="x"), who(), True, who()),  # it was another animal's
        (who(strain="x"), {}, False, who(strain="x")),
        (approaches("a", "b"), approaches("b", "c"), True, approaches("b", "c", "a")),
        (approaches("a", "b"), approaches("b", "c"), False, approaches("b", "c")),
        (approaches("a"), {}, False, approaches("a")),
        ({"keywords": ["a"]}, {"keywords": ["b"]}, True, {"keywords": ["b", "a"]}),
        ({"id": "x", "contentUrl": ["u"], "digest": {"sha2": "1"}, "path": "p"}, {}, True, {}),
    ],
)
def test_neither_loses_what_only_it_knows(
    theirs: dict[str, Any], ours: dict[str, Any], same: bool, expected: dict[str, Any]
) -> None:
    assert merged(theirs, ours, same_content=same) == expected


@pytest.mark.parametrize(
    ("record", "than", "more"),
    [
        (approaches("a", "b"), approaches("b", "a"), False),
        ({"id": "1", "dateModified": "x"}, {"id": "2"}, False),
        ({"wasGeneratedBy": [{"name": "Metadata generation", "startDate": "1"}]}, {"wasGeneratedBy": []}, False),
        (who(sex="y"), who(), True),
        (who(identifier="m2"), who(identifier="m3"), True),
        (who(), {}, True),
    ],
)
def test_what_counts_as_more(record: dict[str, Any], than: dict[str, Any], more: bool) -> None:
    assert says_more(record, than) is more


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a dandiset of a pig, which dandi itself does not know: an NWB file, its video, an image."""
    nwb = session("m1", "s1", species="Sus scrofa")
    nwb.add_acquisition(movie("video", ["sub-m1_ses-s1_ecephys/v.mp4"]))
    made = tmp_path / "dandiset"
    write(add_ecephys(nwb), made / NWB)
    video(made / VIDEO, os.urandom(100))
    image(made / ZARR)
    (made / "dandiset.yaml").write_text("name: A pig\n", encoding="utf-8")
    return made


def assets(archive: RunningArchive, identifier: str) -> dict[str, Any]:
    from dandi.dandiapi import DandiAPIClient

    client = DandiAPIClient(f"{archive.url}/api", token=archive.token)
    return {a.path: a for a in client.get_dandiset(identifier, "draft", lazy=False).get_assets()}


def records(archive: RunningArchive, identifier: str) -> dict[str, dict[str, Any]]:
    return {path: asset.get_raw_metadata() for path, asset in assets(archive, identifier).items()}


def results(root: Path, archive: RunningArchive) -> dict[str, tuple[str, str]]:
    report = upload(root, to=archive.url, token=archive.token)
    assert report.bytes_sent == 0
    return {a.path: (a.status, a.message) for a in report.assets}


def test_every_asset_has_its_record(root: Path, archive: RunningArchive) -> None:
    from dandischema.models import Asset

    report = upload(root, to=archive.url, token=archive.token, create=True)
    assert not report.failed
    found = records(archive, report.dandiset_id)
    assert set(found) == {NWB, VIDEO, ZARR}
    for record in found.values():
        Asset.model_validate(record)
        assert record["wasAttributedTo"][0]["species"] == PIG
        assert record["wasAttributedTo"][0]["age"]["value"] == "P60D"
        assert record["wasGeneratedBy"][0]["startDate"] == "2024-05-01T09:30:05Z"


def test_what_the_plain_client_wipes_out_is_restored(root: Path, archive: RunningArchive) -> None:
    """``dandi upload`` sends its few metadata of a Zarr again even where nothing changed."""
    identifier = upload(root, to=archive.url, token=archive.token, create=True).dandiset_id
    before = records(archive, identifier)
    dandi_cli(archive, "upload", "-i", archive.url, str(root / ZARR), cwd=root)
    assert "approach" not in records(archive, identifier)[ZARR]
    done = results(root, archive)
    assert done[ZARR] == ("uploaded", "the archive had these bytes; its metadata were completed")
    assert {done[path][0] for path in (NWB, VIDEO)} == {"skipped"}
    after = records(archive, identifier)
    assert not says_more(after[ZARR], before[ZARR])
    assert {status for status, _ in results(root, archive).values()} == {"skipped"}


def test_what_was_written_at_the_archive_is_kept(root: Path, archive: RunningArchive) -> None:
    identifier = upload(root, to=archive.url, token=archive.token, create=True).dandiset_id
    for path, asset in assets(archive, identifier).items():
        record = asset.get_raw_metadata()
        record["wasAttributedTo"][0]["vendor"] = {"schemaKey": "Organization", "name": "A farm"}
        record |= {"description": f"{path}, by hand", "keywords": [*record.get("keywords", ()), "by hand"]}
        asset.set_raw_metadata(record)
    assert {status for status, _ in results(root, archive).values()} == {"skipped"}
    (root / VIDEO).write_bytes(os.urandom(100))
    (root / ZARR / "0" / "0" / "0" / "0").write_bytes(os.urandom(100))
    report = upload(root, to=archive.url, token=archive.token, validate=False)
    assert {a.path for a in report.assets if a.status == "uploaded"} == {VIDEO, ZARR}
    for path, record in records(archive, identifier).items():
        assert record["description"] == f"{path}, by hand"
        assert record["wasAttributedTo"][0]["vendor"]["name"] == "A farm"
        assert record["wasAttributedTo"][0]["species"] == PIG


def test_new_facts_reach_the_archive_without_the_bytes(root: Path, archive: RunningArchive) -> None:
    identifier = upload(root, to=archive.url, token=archive.token, create=True).dandiset_id
    (root / "participants.tsv").write_text("participant_id\tstrain\nsub-m1\tDuroc\n", encoding="utf-8")
    done = results(root, archive)
    assert {done[path][0] for path in (NWB, VIDEO, ZARR)} == {"uploaded"}
    for record in records(archive, identifier).values():
        assert record["wasAttributedTo"][0]["strain"]["name"] == "Duroc"


def test_a_bids_dataset_arrives_described_by_its_tables(tmp_path: Path, archive: RunningArchive) -> None:
    picture = "sub-m1/ses-s1/micr/sub-m1_ses-s1_sample-a_SPIM.ome.zarr"
    root = tmp_path / "bids"
    image(root / picture, {"subject_id": "m1", "species": "Danio rerio", "sex": "F", "age": "P5D"}, {})
    describe(root, {"name": "Fish"}, layout="bids")
    (root / f"{picture}.manifest.json").unlink()
    report = upload(root, to=archive.url, token=archive.token, create=True)
    assert not report.failed
    found = records(archive, report.dandiset_id)
    assert {picture, picture.replace("ome.zarr", "json"), "participants.tsv", "dataset_description.json"} <= set(found)
    for path in (picture, picture.replace("ome.zarr", "json")):
        (animal,) = found[path]["wasAttributedTo"]
        assert (animal["species"]["name"], animal["age"]["value"]) == ("Danio rerio - Zebra fish", "P5D")
        assert found[path]["wasDerivedFrom"][0]["identifier"] == "a"
        assert found[path]["measurementTechnique"][0]["name"] == "selective plane illumination microscopy technique"
    assert set(results(root, archive).values()) == {("skipped", "the archive has it")}


def test_nwb_in_bids_is_extracted_once_a_check(
    tmp_path: Path, archive: RunningArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a BIDS dataset the client extracts an NWB file's metadata by extracting them, for minutes."""
    import dandi.metadata.nwb

    opened: list[str] = []
    extract = dandi.metadata.nwb._get_pynwb_metadata

    def counted(path: Any) -> Any:
        opened.append(path.get_filename())
        return extract(path)

    monkeypatch.setattr(dandi.metadata.nwb, "_get_pynwb_metadata", counted)
    write(add_ecephys(session("m1", "s1")), tmp_path / "a.nwb")
    root = tmp_path / "bids"
    organize([tmp_path / "a.nwb"], root, layout="bids", metadata={"name": "Mouse"})
    path = "sub-m1/ses-s1/ecephys/sub-m1_ses-s1_ecephys.nwb"
    facts = read_facts(root / path, "nwb")
    assert list(extraction(facts)) == []
    assert opened == [Path(path).name]
    report = upload(root, to=archive.url, token=archive.token, create=True)
    assert not report.failed
    assert records(archive, report.dandiset_id)[path]["wasAttributedTo"][0]["identifier"] == "m1"
    assert len(opened) == 1  # ours need none of theirs
