"""The records of assets: as rich as dandi's own of NWB in HDF5, and as rich for everything else."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import pytest
from dandi.misctypes import DUMMY_DANDI_ETAG, DUMMY_DANDI_ZARR_CHECKSUM
from dandischema.metadata import aggregate_assets_summary
from pynwb import NWBFile

from dandify.dandiset.assets import asset_metadata, participant
from dandify.dandiset.content import read_content
from dandify.dandiset.images import read_tiff
from dandify.dandiset.vocabulary import described_types
from dandify.errors import BadSource
from dandiset_cases import (
    START,
    add_ecephys,
    add_icephys,
    add_ophys,
    add_position,
    add_units,
    image,
    movie,
    session,
    video,
    write,
)
from shared_data import shared

NWB = "sub-m1/sub-m1_ses-s1_ecephys.nwb"
FILES: dict[str, Callable[[NWBFile], NWBFile]] = {
    "ecephys": add_ecephys, "icephys": add_icephys, "ophys": add_ophys, "position": add_position, "units": add_units,
    "all": lambda nwb: add_units(add_position(add_ophys(add_icephys(add_ecephys(nwb))))),
}  # fmt: skip


def of_kind(record: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the one thing of that kind in a record."""
    lists = (record.get(key) or [] for key in ("wasAttributedTo", "wasGeneratedBy", "wasDerivedFrom"))
    (found,) = [item for items in lists for item in items if item["schemaKey"] == kind]
    return dict(found)


def names(record: dict[str, Any], key: str) -> set[str]:
    return {item.get("name") or item.get("value") for item in record.get(key, [])}


def described(record: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs between two files of the same content."""
    computed = ("path", "digest", "contentSize", "encodingFormat", "dateModified", "blobDateModified")
    made = {key: value for key, value in record.items() if key not in computed}
    return made | {"wasGeneratedBy": [a for a in record["wasGeneratedBy"] if a["schemaKey"] != "Activity"]}


def agrees_with_dandi(path: Path, root: Path) -> None:
    from dandi.metadata.nwb import nwb2asset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynwb's, about what it wrote in its first years
        theirs = nwb2asset(path, digest=DUMMY_DANDI_ETAG).model_dump(mode="json", exclude_none=True)
    ours = asset_metadata(path, root, digest=DUMMY_DANDI_ETAG)
    for key in ("approach", "measurementTechnique", "variableMeasured"):
        assert names(theirs, key) <= names(ours, key)
    for key in ("encodingFormat", "contentSize", "digest", "keywords", "blobDateModified"):
        assert ours.get(key) == theirs.get(key)
    assert ours.get("wasAttributedTo", []) == theirs.get("wasAttributedTo", [])
    assert ours.get("wasDerivedFrom", []) == (theirs.get("wasDerivedFrom") or ours.get("wasDerivedFrom", []))
    theirs_session = of_kind(theirs, "Session")
    ours_session = of_kind(ours, "Session")
    # dandi ends a session its first timestamp too early: it adds the span of the data to the start
    ends = [datetime.fromisoformat(s.pop("endDate", "2000-01-01")) for s in (ours_session, theirs_session)]
    assert ends[0] >= ends[1]
    assert {key: ours_session.get(key) for key in theirs_session} == theirs_session


@pytest.mark.parametrize("kind", FILES)
def test_nwb_is_described_as_dandi_does(kind: str, tmp_path: Path) -> None:
    agrees_with_dandi(write(FILES[kind](session("m1", "s1", strain="C57BL/6J")), tmp_path / NWB), tmp_path)


def test_old_nwb_files_are_described_as_dandi_does() -> None:
    files = sorted(shared("nwb/pynwb_back_compat").glob("*.nwb"))
    assert len(files) > 10
    for path in files:
        agrees_with_dandi(path, path.parent)


@pytest.mark.parametrize("kind", FILES)
def test_nwb_in_zarr_is_described_as_in_hdf5(kind: str, tmp_path: Path) -> None:
    first = write(FILES[kind](session("m1", "s1")), tmp_path / NWB)
    second = write(FILES[kind](session("m1", "s1")), tmp_path / f"{NWB}.zarr")
    record = asset_metadata(second, tmp_path)
    assert described(record) == described(asset_metadata(first, tmp_path))
    assert record["encodingFormat"] == "application/x-zarr"
    assert record["digest"]["dandi:dandi-zarr-checksum"].endswith(f"--{record['contentSize']}")


def test_the_session_ends_with_its_last_sample(tmp_path: Path) -> None:
    path = write(add_ecephys(session("m1", "s1")), tmp_path / NWB)
    found = of_kind(asset_metadata(path, tmp_path, digest=DUMMY_DANDI_ETAG), "Session")
    assert datetime.fromisoformat(found["startDate"]) == START
    assert datetime.fromisoformat(found["endDate"]) == START + timedelta(seconds=100 / 30_000)
    assert found["used"] == [{"schemaKey": "Equipment", "name": "probe", "description": "A probe."}]


def test_the_cell_of_a_patch_is_a_sample(tmp_path: Path) -> None:
    nwb = add_icephys(session("m1", "s1"))
    path = write(nwb, tmp_path / NWB)
    with h5py.File(path, "r+") as file:
        file["general/intracellular_ephys/e0/cell_id"] = "c7"
    sample = of_kind(asset_metadata(path, tmp_path, digest=DUMMY_DANDI_ETAG), "BioSample")
    assert (sample["identifier"], sample["sampleType"]["name"]) == ("c7", "cell")


def test_publications_and_types_of_extensions(tmp_path: Path) -> None:
    nwb = session("m1", "s1")
    nwb.related_publications = ("doi:10.1000/x", "https://doi.org/10.1000/y", "a talk")
    record = asset_metadata(write(nwb, tmp_path / NWB), tmp_path, digest=DUMMY_DANDI_ETAG)
    assert [r["identifier"] for r in record["relatedResource"]] == [f"https://doi.org/10.1000/{n}" for n in "xy"]
    parents = {"MySeries": "LabSeries", "LabSeries": "TwoPhotonSeries", "Loop": "Loop"}
    assert described_types({"MySeries", "Loop", "PoseEstimation"}, parents) == (
        ("behavioral approach", "microscopy approach; cell population imaging"),
        ("behavioral technique", "two-photon microscopy technique"),
        ("MySeries", "PoseEstimation"),
    )


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / NWB
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not HDF5")
    with pytest.raises(BadSource, match=r"sub-m1_ses-s1_ecephys\.nwb"):
        asset_metadata(path, tmp_path, digest=DUMMY_DANDI_ETAG)


# Subjects

TAXON = "http://purl.obolibrary.org/obo/NCBITaxon_"
PATO = "http://purl.obolibrary.org/obo/PATO_"


def no_network(*_: Any, **__: Any) -> None:
    raise AssertionError("no network is used")


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ({"species": "Mus musculus"},
         ("species", {"identifier": f"{TAXON}10090", "name": "Mus musculus - House mouse"})),
        ({"species": "Sus scrofa"}, ("species", {"identifier": f"{TAXON}9823", "name": "Sus scrofa - Pig"})),
        ({"species": f"{TAXON}9823"}, ("species", {"identifier": f"{TAXON}9823", "name": "Sus scrofa - Pig"})),
        # dandi 0.81 makes a house mouse of a ferret
        ({"species": "Mustela putorius furo"},
         ("species", {"identifier": f"{TAXON}9669", "name": "Mustela putorius furo - Domestic ferret"})),
        ({"species": "https://purl.obolibrary.org/obo/NCBITaxon_1/"}, ("species", {"identifier": f"{TAXON}1"})),
        ({"species": "Nova species"}, ("species", {"name": "Nova species"})),
        ({"sex": "M"}, ("sex", {"identifier": f"{PATO}0000384", "name": "Male"})),
        ({"sex": "female"}, ("sex", {"identifier": f"{PATO}0000383", "name": "Female"})),
        ({"sex": "XX"}, ("sex", {"name": "Hermaphrodite"})),
        ({"sex": "?"}, ("sex", None)),
        ({"strain": "cellLine: HEK293"}, ("cellLine", "HEK293")),
        ({"strain": "C57BL/6J"}, ("strain", {"name": "C57BL/6J"})),
        ({"genotype": "wt"}, ("genotype", "wt")),
    ],
)  # fmt: skip
def test_subjects(subject: dict[str, str], expected: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import requests
    from dandischema.models import Participant

    monkeypatch.setattr(requests, "get", no_network)
    made = participant({"subject_id": "m1", **subject})
    Participant.model_validate(made)
    key, value = expected
    found = made.get(key)
    if isinstance(found, dict):
        found.pop("schemaKey")
    assert found == value


@pytest.mark.parametrize(
    ("subject", "value", "reference"),
    [
        ({"age": "P60D"}, "P60D", "Birth"),
        ({"age": "P1D/P3D"}, "P1D/P3D", "Birth"),
        ({"age": "P12D", "age_reference": "gestational"}, "P12D", "Gestational"),
        ({"age": "8 weeks"}, "P8W", "Birth"),
        ({"date_of_birth": "2024-04-30T09:30:05+00:00"}, "P1D", "Birth"),
        ({"date_of_birth": "2024-04-30T09:30:05"}, "P1D", "Birth"),
        ({"date_of_birth": "2025-01-01T00:00:00+00:00", "age": "P3D"}, "P3D", "Birth"),  # born after it was recorded
    ],
)
def test_ages(subject: dict[str, str], value: str, reference: str) -> None:
    age = participant({"subject_id": "m1", **subject}, datetime(2024, 5, 1, 9, 30, 5, tzinfo=UTC))["age"]
    assert (age["value"], age["valueReference"]["value"]) == (value, f"dandi:{reference}Reference")


def test_an_age_that_says_nothing_is_absent() -> None:
    assert "age" not in participant({"subject_id": "m1", "age": "NA"})


# Everything that is no NWB


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dandiset of one session: an NWB file, its video, an image."""
    root = tmp_path_factory.mktemp("mixed")
    nwb = session("m1", "s1")
    nwb.add_acquisition(movie("video", ["sub-m1_ses-s1_ecephys/v.mp4"]))
    write(add_ecephys(nwb), root / NWB)
    video(root / "sub-m1" / "sub-m1_ses-s1_ecephys" / "v.mp4")
    image(root / "sub-m1" / "sub-m1_ses-s1_stack.ome.zarr")
    image(root / "sub-m1" / "sub-m1_ses-s2_stack.ome.zarr")
    image(root / "sub-m2" / "sub-m2_ses-s1_stack.ome.zarr")
    video(root / "sub-m1" / "sub-m1_ses-s1_ecephys" / "p.png")
    video(root / "alone.mp4")
    return root


@pytest.mark.parametrize("name", ["v.mp4", "p.png"])
def test_media_are_of_the_session_of_their_nwb(name: str, mixed: Path) -> None:
    record = asset_metadata(mixed / "sub-m1" / "sub-m1_ses-s1_ecephys" / name, mixed)
    nwb = asset_metadata(mixed / NWB, mixed)
    assert record["wasAttributedTo"] == nwb["wasAttributedTo"]
    keys = ("identifier", "description", "startDate", "endDate")
    assert [of_kind(record, "Session")[k] for k in keys] == [of_kind(nwb, "Session")[k] for k in keys]
    assert names(record, "variableMeasured") == {"ImageSeries"}
    assert record["encodingFormat"] == {"v.mp4": "video/mp4", "p.png": "image/png"}[name]


def test_an_image_beside_an_nwb_of_its_session(mixed: Path) -> None:
    record = asset_metadata(mixed / "sub-m1" / "sub-m1_ses-s1_stack.ome.zarr", mixed)
    assert record["wasAttributedTo"] == asset_metadata(mixed / NWB, mixed)["wasAttributedTo"]
    assert datetime.fromisoformat(of_kind(record, "Session")["startDate"]) == START
    assert names(record, "approach") == {"microscopy approach; cell population imaging"}


def test_an_image_of_another_session_has_no_age(mixed: Path) -> None:
    record = asset_metadata(mixed / "sub-m1" / "sub-m1_ses-s2_stack.ome.zarr", mixed)
    animal = of_kind(record, "Participant")
    assert (animal["species"]["name"], "age" in animal) == ("Mus musculus - House mouse", False)
    assert of_kind(record, "Session") == {"schemaKey": "Session", "identifier": "s2", "name": "s2"}


def test_what_only_a_name_says(mixed: Path) -> None:
    record = asset_metadata(mixed / "sub-m2" / "sub-m2_ses-s1_stack.ome.zarr", mixed)
    assert of_kind(record, "Participant") == {"schemaKey": "Participant", "identifier": "m2"}
    alone = asset_metadata(mixed / "alone.mp4", mixed)
    assert [a["name"] for a in alone["wasGeneratedBy"]] == ["Metadata generation"]
    assert not {"wasAttributedTo", "approach", "variableMeasured"} & set(alone)


def test_the_archive_can_sum_them_up(mixed: Path) -> None:
    from dandify.archive.local import survey

    records = [asset_metadata(asset.filepath, mixed) for asset in survey(mixed).assets]
    summary = aggregate_assets_summary(records)
    assert (summary["numberOfFiles"], summary["numberOfSubjects"]) == (7, 2)
    assert [s["name"] for s in summary["species"]] == ["Mus musculus - House mouse"]
    assert {s["name"] for s in summary["dataStandard"]} == {"Neurodata Without Borders (NWB)", "OME/NGFF Standard"}


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """Return a BIDS dataset of one image, described in tables as BIDS has them."""
    tables = {
        "dataset_description.json": '{"Name": "x", "BIDSVersion": "1.10.0"}',
        "participants.tsv": "participant_id\tspecies\tsex\tage\tstrain\nsub-m1\tMus musculus\tF\t0.25\tn/a\n",
        "samples.tsv": "sample_id\tparticipant_id\tsample_type\tBodyPart\n"
        "sample-a\tsub-m2\ttissue\tKIDNEY\nsample-a\tsub-m1\ttissue\tBRAIN\n",
        "sub-m1/sub-m1_sessions.tsv": "session_id\tacq_time\nses-1\t2024-05-01T09:30:05\n",
        "sub-m1/ses-1/micr/sub-m1_ses-1_sample-a_SPIM.json": '{"PixelSize": [1, 1], "Manufacturer": "Hamamatsu"}',
    }
    for name, text in tables.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    image(tmp_path / "sub-m1/ses-1/micr/sub-m1_ses-1_sample-a_SPIM.ome.zarr")
    return tmp_path


def test_an_image_is_described_by_the_tables_of_bids(bids: Path) -> None:
    record = asset_metadata(bids / "sub-m1/ses-1/micr/sub-m1_ses-1_sample-a_SPIM.ome.zarr", bids)
    animal = of_kind(record, "Participant")
    assert (animal["identifier"], animal["age"]["value"], animal["sex"]["name"]) == ("m1", "P0.25Y", "Female")
    assert "strain" not in animal
    assert of_kind(record, "BioSample") == {
        "schemaKey": "BioSample", "identifier": "a", "sampleType": {"schemaKey": "SampleType", "name": "tissuesample"},
        "anatomy": [{"schemaKey": "Anatomy", "name": "BRAIN"}],
    }  # fmt: skip
    taken = of_kind(record, "Session")
    assert (taken["identifier"], taken["startDate"]) == ("1", "2024-05-01T09:30:05")
    assert taken["used"] == [{"schemaKey": "Equipment", "name": "Hamamatsu"}]
    assert names(record, "measurementTechnique") == {"selective plane illumination microscopy technique"}
    assert aggregate_assets_summary([record])["numberOfSamples"] == 1


@pytest.mark.parametrize(
    ("path", "species", "sample", "anatomy", "technique", "start"),
    [
        ("micr_SPIM/sub-01/micr/sub-01_sample-A_stain-LFB_chunk-01_SPIM.ome.tif", "Rattus norvegicus - Norway rat", "A",
         "CSPINE", "selective plane illumination microscopy technique", "2013-01-15T17:02:40"),
        ("micr_XPCTzarr/sub-01/ses-01/micr/sub-01_ses-01_sample-brain_XPCT.ome.zarr", "Homo sapiens - Human", "brain",
         "BRAIN", "X-ray phase-contrast tomography technique", "2020-07-24T00:00:00"),
    ],
    ids=["OME-TIFF", "OME-Zarr"],
)  # fmt: skip
def test_examples_of_bids_are_described(
    path: str, species: str, sample: str, anatomy: str, technique: str, start: str
) -> None:
    root = shared("nwb/bids_examples")
    file = shared(f"nwb/bids_examples/{path}")
    digest = DUMMY_DANDI_ZARR_CHECKSUM if file.is_dir() else DUMMY_DANDI_ETAG
    record = asset_metadata(file, root / path.split("/")[0], digest=digest)
    assert of_kind(record, "Participant")["species"]["name"] == species
    found = of_kind(record, "BioSample")
    assert (found["identifier"], found["anatomy"][0]["name"]) == (sample, anatomy)
    assert names(record, "measurementTechnique") == {technique}
    assert of_kind(record, "Session")["startDate"] == start


def test_files_of_bids_are_of_their_subject(bids: Path) -> None:
    record = asset_metadata(bids / "sub-m1/ses-1/micr/sub-m1_ses-1_sample-a_SPIM.json", bids)
    assert of_kind(record, "Participant")["species"]["name"] == "Mus musculus - House mouse"
    assert of_kind(record, "BioSample")["identifier"] == "a"
    table = asset_metadata(bids / "participants.tsv", bids)
    assert not {"wasAttributedTo", "wasDerivedFrom"} & set(table)


def test_a_manifest_says_more_than_a_name(tmp_path: Path) -> None:
    path = image(
        tmp_path / "sub-m1_ses-s1_x.ome.zarr", {"subject_id": "m_1", "species": "Danio rerio", "age": "P5D"},
        {"session_id": "s 1", "session_start_time": "2024-05-01T09:30:05+02:00"},
    )  # fmt: skip
    record = asset_metadata(path, tmp_path)
    animal = of_kind(record, "Participant")
    assert (animal["identifier"], animal["age"]["value"]) == ("m_1", "P5D")
    assert of_kind(record, "Session")["startDate"] == "2024-05-01T09:30:05+02:00"


_XML = """<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Instrument ID="Instrument:0">
<Microscope Manufacturer="Zeiss" Model="LSM 880"/><Objective ID="Objective:0" NominalMagnification="20" LensNA="0.8"/>
</Instrument><Image ID="Image:0"><AcquisitionDate>2024-05-01T09:30:05</AcquisitionDate><Pixels>
<Channel ID="C:0" AcquisitionMode="LaserScanningConfocalMicroscopy" Fluor="GFP"/></Pixels></Image></OME>"""


def test_an_image_says_how_it_was_taken(tmp_path: Path) -> None:
    from dandify.dandiset.images import read_image

    path = image(tmp_path / "x.ome.zarr")
    (path / "OME").mkdir()
    (path / "OME" / "METADATA.ome.xml").write_text(_XML, encoding="utf-8")
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["omero"] = {"channels": [{"label": "GFP"}, {"label": "1"}]}
    (path / ".zattrs").write_text(json.dumps(attributes))
    found = read_image(path)
    assert (found.pixel_size_um, found.magnification, found.suffix) == ({"z": 1.0, "y": 0.5, "x": 0.5}, 20.0, "CONF")
    record = asset_metadata(path, tmp_path, digest=DUMMY_DANDI_ZARR_CHECKSUM)
    assert names(record, "measurementTechnique") == {"confocal microscopy technique"}
    assert names(record, "variableMeasured") == {"GFP"}
    taken = of_kind(record, "Session")
    assert taken["used"] == [{"schemaKey": "Equipment", "name": "Zeiss LSM 880"}]
    assert taken["startDate"] == "2024-05-01T09:30:05"
    (path / "OME" / "METADATA.ome.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]>' + _XML, encoding="utf-8")
    assert read_image(path).magnification is None


def test_an_ome_tiff_is_described_as_an_ome_zarr(tmp_path: Path) -> None:
    import numpy as np
    import tifffile

    path = tmp_path / "sub-m1" / "micr" / "sub-m1_sample-a_CONF.ome.tif"
    path.parent.mkdir(parents=True)
    metadata = {
        "axes": "CYX", "PhysicalSizeX": 400.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm", "Channel": {"Name": ["GFP", "DAPI"], "AcquisitionMode": ["SPIM", "SPIM"]},
    }  # fmt: skip
    tifffile.imwrite(path, np.zeros((2, 8, 8), np.uint16), metadata=metadata)
    found = read_tiff(path)
    assert found is not None
    assert (found.pixel_size_um, found.channels, found.suffix) == ({"y": 0.5, "x": 0.4}, ("GFP", "DAPI"), "SPIM")
    record = asset_metadata(path, tmp_path, digest=DUMMY_DANDI_ETAG)
    assert names(record, "measurementTechnique") == {"confocal microscopy technique"}  # its name says so
    assert names(record, "variableMeasured") == {"GFP", "DAPI"}
    assert of_kind(record, "BioSample")["identifier"] == "a"
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((8, 8), np.uint16))
    assert read_tiff(tmp_path / "plain.tif") is None
    assert "approach" not in asset_metadata(tmp_path / "plain.tif", tmp_path, digest=DUMMY_DANDI_ETAG)


def test_pickles_are_not_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(add_ecephys(session("m1", "s1")), tmp_path / f"{NWB}.zarr")
    header = path / "general" / "session_id" / ".zarray"
    header.write_text(json.dumps({**json.loads(header.read_text()), "filters": [{"id": "pickle", "protocol": 5}]}))

    def no_pickle(*_: Any, **__: Any) -> None:
        raise AssertionError("code out of the data")

    monkeypatch.setattr("numcodecs.pickles.Pickle.decode", no_pickle)
    found = read_content(path, "nwb-zarr")
    assert (found.session_id, found.session_description) == (None, "A session made for a test.")
