"""`dandify scan`: how sources become sessions, and what is said of the rest."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

import dandify
from dandify.cli.main import main
from dandify.errors import BadSource, UnknownFormat
from dandify.examples.spikeglx import write_spikeglx_run
from dandify.project.scan import require_sources

TRIALS = "start_time,stop_time\n0.1,0.2\n"


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    """Two subjects; one with folders by modality, one flat; tables and notes at several levels."""
    for number, inner in ((1, "ephys"), (2, ".")):
        session = tmp_path / f"mouse{number}" / "day1"
        (session / inner).mkdir(parents=True)
        write_spikeglx_run(
            session / inner, seed=number, probes=1, seconds=0.2, run_name="run", start=datetime(2026, 3, number),
            channels=4, nidq=False,
        )  # fmt: skip
        (session / "behavior").mkdir()
        (session / "behavior" / "trials.csv").write_text(TRIALS)
    (tmp_path / "all_trials.csv").write_text(TRIALS)
    (tmp_path / "notes.xyz").write_text("?")
    return tmp_path


def sessions(path: Path) -> dict[str, list[str]]:
    return {
        s.path.relative_to(path).as_posix(): [x.path.relative_to(path).as_posix() for x in s.sources]
        for s in dandify.scan(path).sessions
    }


def test_folders_with_a_recording_are_sessions_and_tables_above_swallow_nothing(rig: Path) -> None:
    assert sessions(rig) == {
        ".": ["all_trials.csv"],
        "mouse1/day1": ["mouse1/day1/behavior/trials.csv", "mouse1/day1/ephys/run_g0"],
        "mouse2/day1": ["mouse2/day1/behavior/trials.csv", "mouse2/day1/run_g0"],
    }


@pytest.mark.parametrize("start", ["mouse1/day1", "mouse1/day1/ephys", "mouse1/day1/ephys/run_g0", "mouse2"])
def test_scanning_from_further_down_finds_the_run(rig: Path, start: str) -> None:
    (session,) = dandify.scan(rig / start).sessions
    assert "spikeglx" in [s.format for s in session.sources]


def test_a_folder_named_from_elsewhere_is_that_folder(rig: Path) -> None:
    tifffile.imwrite(rig / "mouse1" / "brain.tif", np.zeros((8, 8), np.uint8))
    here, there = dandify.scan(rig), dandify.scan(rig / "mouse1" / "..")
    assert there.path == rig
    assert [s.path for s in there.sessions] == [s.path for s in here.sessions]
    assert [u.path for u in there.unknown] == [u.path for u in here.unknown]


def test_the_rest_is_named(rig: Path) -> None:
    report = dandify.scan(rig)
    assert [u.path.name for u in report.unknown] == ["notes.xyz"]
    assert not report.broken
    keys = {need.key for need in report.sessions[1].needs}
    assert keys == {"subject_id", "species", "sex", "age", "timezone"}


def test_what_a_file_is_that_is_no_recording_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.nwb").write_bytes(b"")
    (found,) = dandify.scan(tmp_path).unknown
    assert found.reasons[0].startswith("is NWB already: dandify organize takes it")
    (tmp_path / "x.nwb").rename(tmp_path / "x.tif")
    with pytest.raises(UnknownFormat, match=r"no converter knows it \(.*ome_tiff: is empty") as error:
        dandify.convert(tmp_path / "x.tif", out=tmp_path / "out")
    assert error.value.file == str(tmp_path / "x.tif")


def test_no_samples_are_read(rig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dandify.sources import RawArray

    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("scan reads headers only")

    monkeypatch.setattr(RawArray, "read", refuse)
    assert dandify.scan(rig).sources


def test_json_and_table_say_the_same(rig: Path) -> None:
    done = CliRunner().invoke(main, ["scan", str(rig), "--json"])
    assert done.exit_code == 0
    record = json.loads(done.output)
    assert len(record["sessions"]) == 3
    streams = [s for session in record["sessions"] for x in session["sources"] for s in x["streams"]]
    text = CliRunner().invoke(main, ["scan", str(rig)]).output
    for stream in streams:
        assert stream["name"] in text
    assert "3 sessions" in text


def test_a_companion_that_is_missing_is_named_and_the_status_is_1(rig: Path) -> None:
    (meta,) = (rig / "mouse2").rglob("*.ap.meta")
    meta.unlink()
    done = CliRunner().invoke(main, ["scan", str(rig)])
    assert done.exit_code == 1
    assert meta.name in done.output


def test_all_that_cannot_be_opened_is_named_at_once(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif", "c.tif", "d.tif", "e.tif"):
        (tmp_path / name).write_bytes(b"II*\0" + bytes(20))
    with pytest.raises(BadSource) as caught:
        require_sources(dandify.scan(tmp_path))
    assert caught.value.file == str(tmp_path / "a.tif")
    assert "; 4 more cannot be opened: b.tif, c.tif, d.tif and 1 more, and dandify scan says why" in caught.value.cause


def test_of_several_unknown_files_a_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.tif").write_bytes(b"PK")
    with pytest.raises(UnknownFormat, match=r"2 files: a.txt, b.tif .*; b.tif: .*: does not begin as a TIFF does"):
        require_sources(dandify.scan(tmp_path))


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    try:
        (tmp_path / "brain.tif").symlink_to("annex/objects/brain")
    except OSError:
        pytest.skip("this system lets nobody make links")
    (found,) = dandify.scan(tmp_path).unknown
    assert found.bytes == 0
    assert found.reasons == (f"is a link to {Path('annex/objects/brain')}, which is not there",)


def test_one_pattern_needs_no_list(tmp_path: Path) -> None:
    for name in ("a.txt", "b.csv"):
        (tmp_path / name).write_text("x")
    assert [u.path.name for u in dandify.scan(tmp_path, ignore="*.csv").unknown] == ["a.txt"]
