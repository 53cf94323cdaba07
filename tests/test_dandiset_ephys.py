"""What BIDS's draft BEP032 wants beside recordings: right, complete, unique, and a person's edits kept."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hdmf.common import DynamicTable, VectorData
from hypothesis import given
from hypothesis import strategies as st

import dandify
from archive_api import dandi_cli
from dandify.archive.serve import running_archive
from dandify.archive.upload import upload
from dandify.dandiset.ephys_names import first_unique
from dandify.dandiset.generate import describe
from dandify.dandiset.organize import organize
from dandify.dandiset.tables import withdraw_rows
from dandify.dandiset.validate import validate
from dandify.errors import OutputExists
from dandiset_cases import add_ecephys, add_units, session, write
from ephys_cases import CASES, DRAFT, REQUIRED_KEYS, TWO_PROBES, Case, tsv, tutorial_ecephys, two_bands
from organize_cases import errors_of_the_validator
from shared_data import shared

TABLES = ("probes", "electrodes", "channels")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def stem_in(root: Path, datatype: str, entities: str = "sub-m1_ses-1") -> Path:
    subject, session_ = entities.split("_")[:2]
    return root / subject / session_ / datatype / entities


def written(stem: Path, table: str) -> str:
    return stem.with_name(f"{stem.name}_{table}.tsv").read_text(encoding="utf-8")


def meanings(stem: Path, table: str) -> Any:
    return json.loads(stem.with_name(f"{stem.name}_{table}.json").read_text(encoding="utf-8"))


def beside(stem: Path) -> set[Path]:
    """Return what lies beside the recordings of a session."""
    return {path for path in stem.parent.iterdir() if path.suffix in (".tsv", ".json")}


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        p.relative_to(root).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module", params=[".nwb", ".nwb.zarr"])
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", CASES)
def test_tables_say_what_the_file_does(name: str, suffix: str, tmp_path: Path) -> None:
    case: Case = CASES[name]
    write(case.make(), tmp_path / f"a{suffix}")
    organize(tmp_path / f"a{suffix}", tmp_path / "out", layout="bids", metadata={"name": "T"})
    stem = stem_in(tmp_path / "out", case.datatype)
    assert {table: written(stem, table) for table in TABLES} == {
        table: tsv(getattr(case, table)) for table in TABLES
    }  # fmt: skip
    sidecar = json.loads(stem.with_name(f"{stem.name}_{case.datatype}.json").read_text(encoding="utf-8"))
    assert sidecar == case.sidecar
    for table in TABLES:
        described = meanings(stem, table)
        assert list(described) == written(stem, table).partition("\n")[0].split("\t")
        assert all(entry["Description"] for entry in described.values())
    assert errors_of_the_validator(tmp_path / "out") == []


def test_columns_of_the_lab_are_described_in_its_words_and_with_units(tmp_path: Path) -> None:
    write(TWO_PROBES.make(), tmp_path / "a.nwb")
    organize(tmp_path / "a.nwb", tmp_path / "out", layout="bids")
    described = meanings(stem_in(tmp_path / "out", "ecephys"), "electrodes")
    assert described["bank"] == {"Description": "The bank."}
    assert described["nwb_size"] == {"Description": "The size."}
    assert {described[key]["Units"] for key in ("x", "y", "z", "brain_x", "brain_y", "brain_z")} == {"um"}


@pytest.mark.parametrize("name", CASES)
def test_columns_and_keys_that_the_draft_requires(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    write(case.make(), tmp_path / "a.nwb")
    organize(tmp_path / "a.nwb", tmp_path / "out", layout="bids")
    stem = stem_in(tmp_path / "out", case.datatype)
    assert json.loads(stem.with_name(f"{stem.name}_{case.datatype}.json").read_text()).keys() >= REQUIRED_KEYS
    for table, (required, known) in DRAFT.items():
        columns = written(stem, table).partition("\n")[0].split("\t")
        assert tuple(columns[: len(required)]) == required
        drafts = [column for column in columns if column in {*required, *known}]
        own = set(columns) - set(drafts) - meanings(stem, table).keys()
        assert own == set()  # the draft allows others if the JSON says what they mean


# Runs


def runs(folder: Path, *made: Any) -> Path:
    """Write recordings of one session, and the table that numbers them."""
    for i, nwb in enumerate(made, 1):
        write(nwb, folder / f"r{i}.nwb")
    lines = [f"r{i}.nwb,{i}\n" for i in range(1, len(made) + 1)]
    (folder / "runs.csv").write_text("path,run\n" + "".join(lines))
    return folder / "runs.csv"


def test_runs_share_tables_and_these_say_what_holds_for_all(tmp_path: Path) -> None:
    """The draft has run in the names of recordings and their JSON, not in those of tables."""
    other = two_bands()
    other.acquisition["SeriesAP"].fields["rate"] = 25_000.0
    table = runs(tmp_path / "in", two_bands(), other)
    root = tmp_path / "out"
    organize(sorted((tmp_path / "in").glob("*.nwb")), root, layout="bids", table=table)
    folder = stem_in(root, "ecephys").parent
    assert sorted(p.name.removeprefix("sub-m1_ses-1_") for p in folder.iterdir()) == [
        "channels.json", "channels.tsv", "electrodes.json", "electrodes.tsv", "probes.json", "probes.tsv",
        "run-1_ecephys.json", "run-1_ecephys.nwb", "run-2_ecephys.json", "run-2_ecephys.nwb",
    ]  # fmt: skip
    channels = rows_of(folder / "sub-m1_ses-1_channels.tsv")
    assert [(row["name"], row["sampling_frequency"]) for row in channels] == [
        ("AP6", "n/a"), ("AP7", "n/a"), ("LF6", "2500")
    ]  # fmt: skip
    rates = [
        json.loads((folder / f"sub-m1_ses-1_run-{i}_ecephys.json").read_text())["SamplingFrequency"] for i in (1, 2)
    ]
    assert rates == [30000, 25000]
    before = snapshot(root)
    describe(root)
    assert {k: v for k, v in snapshot(root).items() if k.endswith(".tsv")} == {
        k: v for k, v in before.items() if k.endswith(".tsv")
    }  # fmt: skip


def test_runs_that_come_later_give_the_same_tables(tmp_path: Path) -> None:
    other = two_bands()
    other.acquisition["SeriesAP"].fields["rate"] = 25_000.0
    table = runs(tmp_path / "in", two_bands(), other)
    files = sorted((tmp_path / "in").glob("*.nwb"))
    organize(files, tmp_path / "at once", layout="bids", table=table)
    for i, file in enumerate(files, 1):
        (tmp_path / "in" / f"run{i}.csv").write_text(f"path,run\n{file.name},{i}\n")
        organize(file, tmp_path / "later", layout="bids", table=tmp_path / "in" / f"run{i}.csv")
    at_once, later = (stem_in(tmp_path / name, "ecephys") for name in ("at once", "later"))
    assert {t: written(later, t) for t in TABLES} == {t: written(at_once, t) for t in TABLES}


# Against others


def test_equal_to_nwb2bids_where_both_mean_the_same(tmp_path: Path) -> None:
    """Its `location` is `anatomical_location` since July 2026; what it calls a gain is NWB's conversion."""
    golden = shared("nwb/nwb2bids_expected")
    write(tutorial_ecephys(), tmp_path / "a.nwb")
    organize(tmp_path / "a.nwb", tmp_path / "out", layout="bids")
    stem = stem_in(tmp_path / "out", "ecephys", "sub-001_ses-A")
    ours_of = {"location": "anatomical_location", "gain": "conversion"}
    for table in TABLES:
        theirs = rows_of(golden / f"sub-001_ses-A_{table}.tsv")
        ours = rows_of(stem.with_name(f"{stem.name}_{table}.tsv"))
        assert len(ours) == len(theirs)
        for our_row, their_row in zip(ours, theirs, strict=True):
            for column, value in their_row.items():
                assert same(our_row.get(ours_of.get(column, column), "n/a"), value), (table, column)
    theirs_json = json.loads((golden / "sub-001_ses-a_ecephys.json").read_text(encoding="utf-8"))
    ours_json = json.loads(stem.with_name(f"{stem.name}_ecephys.json").read_text(encoding="utf-8"))
    assert theirs_json.pop("BodyPart") == "BRAIN"  # which the file does not state
    assert ours_json == pytest.approx(theirs_json)
    for name in ("participants.tsv", "sub-001_sessions.tsv"):
        (ours_table,) = (tmp_path / "out").rglob(name)
        for our_row, their_row in zip(rows_of(ours_table), rows_of(golden / name), strict=True):
            assert our_row.items() >= their_row.items()


def same(ours: str, theirs: str) -> bool:
    try:
        return float(ours) == float(theirs)
    except ValueError:
        return ours == theirs


@pytest.mark.parametrize(
    ("path", "probe"),
    [
        ("ephys/openephys_binary/sub-001", {"probe_name": "NeuropixelsProbeA", "model": "NP1300"}),
        ("icephys/abf/2018_08_23_0009.abf", {"probe_name": "MultiClamp 700"}),
    ],
)  # fmt: skip
def test_recordings_of_real_rigs(path: str, probe: dict[str, str], tmp_path: Path) -> None:
    """Converted, organized, and equal to what pynwb reads."""
    from pynwb import NWBHDF5IO
    from pynwb.ecephys import ElectricalSeries

    dandify.convert(
        shared(path), out=tmp_path / "in", subject_id="m1", session_id="1", species="Mus musculus", sex="U",
        age="P60D", metadata=("timezone=Europe/London",),
    )  # fmt: skip
    organize(tmp_path / "in", tmp_path / "out", layout="bids", metadata={"name": "T"})
    (nwb,) = (tmp_path / "out").rglob("*.nwb")
    stem = stem_in(tmp_path / "out", nwb.parent.name)
    probes, electrodes, channels = (rows_of(stem.with_name(f"{stem.name}_{table}.tsv")) for table in TABLES)
    assert len(probes) == 1
    assert probes[0].items() >= probe.items()
    assert {e["probe_name"] for e in electrodes} == {probe["probe_name"]}
    assert {c["electrode_name"] for c in channels} <= {e["name"] for e in electrodes}
    assert len({c["name"] for c in channels}) == len(channels)
    with NWBHDF5IO(nwb, "r") as io:
        file = io.read()
        if file.electrodes is None:
            assert [e["name"] for e in electrodes] == list(file.icephys_electrodes)
        else:
            table = file.electrodes.to_dataframe()
            assert [float(e["y"]) for e in electrodes] == list(table["rel_y"])
            series = [s for s in file.acquisition.values() if isinstance(s, ElectricalSeries)]
            assert [c["stream_id"] for c in channels] == [s.name for s in series for _ in range(s.data.shape[1])]
            assert {float(c["conversion"]) for c in channels} == {s.conversion for s in series}
            assert {float(c["sampling_frequency"]) for c in channels} == {s.rate for s in series}
    assert errors_of_the_validator(tmp_path / "out") == []


# Names


@given(
    st.lists(st.sampled_from(["a", "a_1", "a_2", "b", None]), max_size=8),
    st.lists(st.sampled_from(["a", "a_1", "x", None]), max_size=8),
)
def test_names_never_repeat(first: list[str | None], second: list[str | None]) -> None:
    count = min(len(first), len(second))
    names = first_unique(first[:count], second[:count])
    assert len(set(names)) == len(names) == count
    if all(first[:count]) and len(set(first[:count])) == count:
        assert names == first[:count]


def test_pipettes_beside_sites_of_the_same_name(tmp_path: Path) -> None:
    from pynwb.icephys import CurrentClampSeries

    nwb = add_ecephys(session("m1", "1"))
    pipette = nwb.create_icephys_electrode(name="e000", description="A pipette.", device=nwb.devices["probe"])
    nwb.add_acquisition(CurrentClampSeries(name="cc", data=[0.0, 1.0], electrode=pipette, gain=1.0, rate=10.0))
    write(nwb, tmp_path / "a.nwb")
    organize(tmp_path / "a.nwb", tmp_path / "out", layout="bids")
    stem = stem_in(tmp_path / "out", "icephys")
    assert [line.split("\t")[0] for line in written(stem, "electrodes").splitlines()] == [
        "name", "e000", "e001", "e000_intracellular"
    ]  # fmt: skip
    assert [line.split("\t")[:2] for line in written(stem, "channels").splitlines()[1:]] == [
        ["ch000", "e000"], ["ch001", "e001"], ["e000_intracellular", "e000_intracellular"]
    ]  # fmt: skip


def test_a_table_with_a_column_of_data_is_no_recording(tmp_path: Path) -> None:
    nwb = add_ecephys(session("m1", "1"))
    region = nwb.create_electrode_table_region(region=[1, 0], description="Some.", name="electrodes")
    columns = [VectorData(name="data", description="Of each.", data=[1.0, 2.0]), region]
    nwb.create_processing_module(name="ecephys", description="E.").add(
        DynamicTable(name="results", description="A table.", columns=columns)
    )
    write(nwb, tmp_path / "a.nwb")
    organize(tmp_path / "a.nwb", tmp_path / "out", layout="bids")
    rows = rows_of(stem_in(tmp_path / "out", "ecephys").with_name("sub-m1_ses-1_channels.tsv"))
    assert [row["stream_id"] for row in rows] == ["ElectricalSeries"] * 2


def test_spikes_without_electrodes_have_a_sidecar_only(tmp_path: Path) -> None:
    write(add_units(session("m1", "1")), tmp_path / "a.nwb")
    organize(tmp_path / "a.nwb", tmp_path / "out", layout="bids", metadata={"name": "T"})
    stem = stem_in(tmp_path / "out", "ecephys")
    assert sorted(p.name for p in stem.parent.iterdir()) == ["sub-m1_ses-1_ecephys.json", "sub-m1_ses-1_ecephys.nwb"]
    assert json.loads((stem.parent / "sub-m1_ses-1_ecephys.json").read_text()) == {
        "InstitutionName": "Test University", "PowerLineFrequency": "n/a", "SoftwareFilters": "n/a",
        "HardwareFilters": "n/a",
    }  # fmt: skip
    assert errors_of_the_validator(tmp_path / "out") == []


# Again, and again


def test_again_changes_nothing_and_more_can_come(tmp_path: Path) -> None:
    write(TWO_PROBES.make(), tmp_path / "in" / "a.nwb")
    root = tmp_path / "out"
    planned = organize(tmp_path / "in", root, layout="bids", dry_run=True)
    assert not root.exists()
    done = organize(tmp_path / "in", root, layout="bids")
    assert planned.generated == done.generated
    assert {p.relative_to(root) for p in beside(stem_in(root, "ecephys"))} <= set(done.generated)
    before = snapshot(root)
    assert organize(tmp_path / "in", root).generated == ()
    assert snapshot(root) == before
    described = describe(root).files
    assert {described[p.relative_to(root).as_posix()] for p in beside(stem_in(root, "ecephys"))} == {"unchanged"}
    write(add_ecephys(session("m1", "2")), tmp_path / "in" / "b.nwb")
    more = organize(tmp_path / "in", root)
    assert not [p for p in more.generated if "ses-1" in p.as_posix()]
    assert len([p for p in more.generated if "ses-2" in p.as_posix()]) == 7


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    write(TWO_PROBES.make(), tmp_path / "a.nwb")
    root = tmp_path / "out"
    organize(tmp_path / "a.nwb", root, layout="bids")
    stem = stem_in(root, "ecephys")
    probes, sidecar = stem.with_name(f"{stem.name}_probes.tsv"), stem.with_name(f"{stem.name}_ecephys.json")
    probes.write_text(
        "probe_name\ttype\tmanufacturer\tdepth_mm\nReference\twire\tn/a\t1\nProbe0\tsilicon-probe\tIMEC\t3\n"
    )
    sidecar.write_text('{"PowerLineFrequency": 50, "BodyPart": "BRAIN"}\n')
    organize(tmp_path / "a.nwb", root)
    describe(root)
    assert rows_of(probes) == [
        {"probe_name": "Reference", "type": "wire", "manufacturer": "n/a", "depth_mm": "1", "model": "n/a",
         "device_serial_number": "n/a"},
        {"probe_name": "Probe0", "type": "silicon-probe", "manufacturer": "IMEC", "depth_mm": "3", "model": "NP1000",
         "device_serial_number": "190"},
        {"probe_name": "Probe1", "type": "n/a", "manufacturer": "imec", "depth_mm": "n/a", "model": "NP1000",
         "device_serial_number": "191"},
    ]  # fmt: skip
    said = json.loads(sidecar.read_text())
    assert said == {**TWO_PROBES.sidecar, "PowerLineFrequency": 50, "BodyPart": "BRAIN"}


def test_tables_follow_a_recording_that_is_replaced(tmp_path: Path) -> None:
    """What was said because of the one before goes; what only a person can know stays."""
    write(TWO_PROBES.make(), tmp_path / "a.nwb")
    root = tmp_path / "out"
    organize(tmp_path / "a.nwb", root, layout="bids")
    stem = stem_in(root, "ecephys")
    sidecar = stem.with_name(f"{stem.name}_ecephys.json")
    electrodes = stem.with_name(f"{stem.name}_electrodes.tsv")
    text = electrodes.read_text().replace("Group0_e0\tProbe0\t0\t20.5\tn/a", "Group0_e0\tProbe0\t0\t20.5\t7")
    electrodes.write_text(text)
    sidecar.write_text(sidecar.read_text().replace('"PowerLineFrequency": "n/a"', '"PowerLineFrequency": 60'))
    write(add_ecephys(session("m1", "1")), tmp_path / "b.nwb")
    with pytest.raises(OutputExists):
        organize(tmp_path / "b.nwb", root)
    assert electrodes.read_text() == text
    organize(tmp_path / "b.nwb", root, overwrite=True)
    assert written(stem, "probes") == tsv("""
        probe_name type anatomical_location description
        probe      n/a  CA1                 A~probe.
    """)
    assert [row["name"] for row in rows_of(electrodes)] == ["Group0_e0", "e000", "e001"]
    assert rows_of(electrodes)[0]["z"] == "7"
    assert {k: v for k, v in rows_of(electrodes)[0].items() if k not in ("name", "z")}.keys() == {
        "probe_name", "x", "y", "shank_id", "anatomical_location"
    }  # fmt: skip
    assert json.loads(sidecar.read_text()) == {
        "InstitutionName": "Test University", "PowerLineFrequency": 60, "SamplingFrequency": 30000,
        "RecordingDuration": 0.00333333333333, "SoftwareFilters": "n/a", "HardwareFilters": "n/a",
        "BodyPartDetails": "CA1",
    }  # fmt: skip
    assert list(meanings(stem, "probes")) == ["probe_name", "type", "anatomical_location", "description"]


@pytest.mark.parametrize(
    ("table", "left"),
    [
        ("k\ta\tb\n1\tx\ty\n2\tz\tn/a\n", "k\n"),
        ("k\ta\tb\n1\tmine\ty\n2\tz\tn/a\n", "k\ta\n1\tmine\n"),
        ("k\ta\tb\tc\n1\tx\ty\tn/a\n3\tx\ty\tn/a\n", "k\ta\tb\tc\n3\tx\ty\tn/a\n"),
    ],
    ids=["all", "a cell", "a row of another"],
)
def test_rows_that_hold_no_longer(table: str, left: str) -> None:
    assert withdraw_rows(table, [{"k": "1", "a": "x", "b": "y"}, {"k": "2", "a": "z"}], ("k",)) == left


def test_tables_of_another_tool_come_along_as_they_are(tmp_path: Path) -> None:
    write(TWO_PROBES.make(), tmp_path / "in" / "sub-x_ecephys.nwb")
    probes = "probe_name\ttype\nP\tsilicon-probe\n"
    (tmp_path / "in" / "sub-x_probes.tsv").write_text(probes)
    (tmp_path / "in" / "sub-x_ecephys.json").write_text('{"PowerLineFrequency": 50}')
    (tmp_path / "in" / "sub-x_events.tsv").write_text("onset\tduration\n0\t1\n")
    (tmp_path / "in" / "sub-y_probes.tsv").write_text(probes)
    (tmp_path / "in" / "dataset_description.json").write_text('{"Name": "Theirs", "Authors": null, "License": null}')
    report = organize(tmp_path / "in", tmp_path / "out", layout="bids")
    stem = stem_in(tmp_path / "out", "ecephys")
    assert written(stem, "probes") == probes
    assert list(meanings(stem, "probes")) == ["probe_name", "type"]
    assert json.loads(stem.with_name(f"{stem.name}_ecephys.json").read_text()) == {"PowerLineFrequency": 50}
    assert written(stem, "electrodes") == tsv(TWO_PROBES.electrodes)
    assert written(stem, "events") == "onset\tduration\n0\t1\n"
    assert [item.path.name for item in report.left] == ["sub-y_probes.tsv"]
    assert errors_of_the_validator(tmp_path / "out") == []
    assert organize(tmp_path / "in", tmp_path / "out").changed == ()


def test_a_table_that_calls_everything_otherwise_stays(tmp_path: Path) -> None:
    """Such as nwb2bids', which numbers electrodes that have names in the file."""
    write(TWO_PROBES.make(), tmp_path / "a.nwb")
    root = tmp_path / "out"
    organize(tmp_path / "a.nwb", root, layout="bids")
    stem = stem_in(root, "ecephys")
    electrodes = stem.with_name(f"{stem.name}_electrodes.tsv")
    electrodes.write_text("name\tprobe_name\tx\ty\tz\ne000\tProbe0\t0\t20.5\tn/a\n")
    before = electrodes.read_bytes()
    assert organize(tmp_path / "a.nwb", root).generated == ()
    described = describe(root).files
    assert electrodes.read_bytes() == before
    assert {change for path, change in described.items() if "_electrodes" in path} == {"unchanged"}


# To the archive


def test_they_are_known_uploaded_and_come_back(tmp_path: Path) -> None:
    write(TWO_PROBES.make(), tmp_path / "a.nwb")
    root = tmp_path / "out"
    organize(tmp_path / "a.nwb", root, layout="bids", metadata={"name": "Two probes"})
    checked = validate(root)
    assert checked.errors == ()
    made = {path.relative_to(root).as_posix() for path in beside(stem_in(root, "ecephys"))}
    assert len(made) == 7
    assert {v.path.as_posix() for v in checked.files if v.kind == "bids" and v.ok} >= made
    with running_archive(tmp_path / "archive") as archive:
        report = upload(root, to=archive.url, token=archive.token, create=True)
        assert not report.failed
        assert {a.path for a in report.assets if a.status == "uploaded"} >= made
        again = upload(root, to=archive.url, token=archive.token)
        assert {a.status for a in again.assets} == {"skipped"}
        (tmp_path / "down").mkdir()
        url = f"{archive.url}/dandisets/{report.dandiset_id}/versions/draft/"
        dandi_cli(archive, "download", url, cwd=tmp_path / "down")
    for path in made:
        assert (tmp_path / "down" / report.dandiset_id / path).read_bytes() == (root / path).read_bytes()
