"""Tables: what is one, what its columns become, and what is said where they are not as declared."""

from __future__ import annotations

import csv
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dandify.errors import BadRequest, BadSource
from dandify.examples.behaviour import write_trials
from dandify.examples.spikeglx import trial_intervals_s
from dandify.sources import Source
from dandify.sources.columns import ROWS_PER_MARK, parse_cell
from dandify.sources.registry import by_name
from dandify.sources.table_survey import guess_type
from shared_data import shared

converter = by_name("table")

WHEEL = "time,speed,x,y,state\n0,1.5,10,20,go\n10,2.5,11,21,go\n20,3.5,12,22,stop\n"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def sidecar_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.columns.yaml")


def values(source: Source, stream: int = 0) -> dict[str, list[Any]]:
    return {c.name: c.array[:].tolist() for c in source.streams[stream].columns}


NOT_TABLES = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n", "is empty"),
    "only-bom": (b"\xef\xbb\xbf", "is empty"),
    "binary": (bytes(range(256)), "binary"),
    "utf16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    "no-header": (b"1,2\n3,4\n", "no header"),
    "half-header": (b"lick,0.5,1.2\nlick,0.7,1.4\n", "no header"),
    "ragged": (b"a,b,c\n1,2\n", "second row has 2 cells where the first has 3"),
    "twice": (b"a,a\n1,2\n", "several columns are called 'a'"),
    "prose": (b"Dear all\nhere is the table.\n", "neither columns nor a list of numbers"),
    "old-mac": (b"a,b\r1,2\r", "CR alone"),
    "dlc": (b"scorer,net,net\nbodyparts,nose,nose\ncoords,x,y\n0,1.5,2.5\n", "DeepLabCut"),
    "sleap": (b"track,frame_idx,instance.score,A.x\n,0,nan,1.5\n", "SLEAP"),
    "phy": (b"cluster_id\tgroup\n0\tgood\n", "clusters of a spike sorter"),
    "subjects": (b"subject_id,species,sex\n001,Mus musculus,F\n", "a list of subjects"),
    "open-quote": (b'a,b\n"1,2\n', "not a table"),
}

TABLES = {
    "comma": (b"start_time,stop_time\n0,1\n", "comma"),
    "semicolon": (b"file;from;to\na,b;0;1\n", "semicolon"),
    "tab": (b"onset\tduration\n0\t1\n", "tab"),
    "bom": (b"\xef\xbb\xbftimestamp,x\n0,1\n", "2 columns"),
    "crlf": (b"timestamp,x\r\n0,1\r\n", "2 columns"),
    "one-column": (b"timestamp\n0.5\n0.75\n", "one column"),
    "latin-1": (b"timestamp,temp [\xb0C]\n0,1\n", "2 columns"),
    "header-only": (b"start_time,stop_time\n", "2 columns"),
    "quoted": (b'start_time,stop_time,note\n0,1,"a, b"\n', "3 columns"),
}


@pytest.mark.parametrize(("content", "reason"), NOT_TABLES.values(), ids=NOT_TABLES)
def test_what_is_no_table_is_refused_with_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write(tmp_path / "x.csv", content)
    verdict = converter.identify(path)
    assert not verdict
    assert reason in verdict.reason


@pytest.mark.parametrize(("content", "reason"), TABLES.values(), ids=TABLES)
def test_what_is_a_table_is_known(tmp_path: Path, content: bytes, reason: str) -> None:
    verdict = converter.identify(write(tmp_path / "x.csv", content))
    assert verdict
    assert reason in verdict.reason


CELLS = st.text('ab01,;\t\n\r"\x85\u2028\ufeff .-', max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200), CELLS.map(str.encode), CELLS.map(lambda t: b"start_time,stop_time\n" + t.encode())
    )
)
def test_whatever_it_is_it_is_read_or_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "x.csv", content)
    yes = converter.identify(path)
    with suppress(BadSource):
        source = converter.open(path)
        assert yes
        for stream in source.streams:
            for column in stream.columns:
                assert len(column.array[:]) == stream.shape[0]


def test_a_missing_file_and_a_folder_are_no_tables(tmp_path: Path) -> None:
    assert not converter.identify(tmp_path / "absent.csv")
    assert not converter.identify(tmp_path)


def test_trials_with_nwb_names_need_no_map(tmp_path: Path) -> None:
    path = write_trials(tmp_path / "trials.csv", seed=1, seconds=20)
    source = converter.open(path)
    (stream,) = source.streams
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (stream.name, stream.kind, stream.shape) == ("trials", "TimeIntervals", (len(rows),))
    got = values(source)
    assert list(got) == list(rows[0])
    assert got["start_time"] == [float(r["start_time"]) for r in rows]
    assert got["stimulus"] == [r["stimulus"] for r in rows]
    assert got["correct"] == [r["correct"] == "true" for r in rows]
    expected = [float(r["reaction_time"] or "nan") for r in rows]
    assert np.isnan(expected).any(), "the example has a trial without a choice"
    np.testing.assert_array_equal(got["reaction_time"], expected)
    assert not source.needs
    assert not source.problems


def test_the_example_trials_are_those_of_the_recorded_trial_line(tmp_path: Path) -> None:
    got = values(converter.open(write_trials(tmp_path / "trials.csv", seed=1, seconds=9)))
    assert list(zip(got["start_time"], got["stop_time"], strict=True)) == trial_intervals_s(9)


def test_events_with_nwb_names_need_no_map(tmp_path: Path) -> None:
    source = converter.open(
        write(tmp_path / "licks.tsv", "timestamp\tduration\tspout\n0.5\t0.1\tleft\n0.75\t\tright\n")
    )
    assert source.streams[0].kind == "EventsTable"
    got = values(source)
    assert got["timestamp"] == [0.5, 0.75]
    np.testing.assert_array_equal(got["duration"], [0.1, np.nan])
    assert got["spout"] == ["left", "right"]


GUESSES = {
    "integers": (["1", "-2", "0"], "integer"),
    "numbers": (["1", "2.5", "-1e-3", ".5"], "number"),
    "missing": (["1", "", "n/a"], "number"),
    "nan": (["1.5", "NaN", "inf"], "number"),
    "names": (["001", "002"], "text"),
    "decimal-comma": (["1,5"], "text"),
    "underscore": (["1_000"], "text"),
    "long": (["1234567890123456789"], "text"),
    "long-integers": (["123456789012345678", "1"], "integer"),
    "long-and-missing": (["123456789012345678", ""], "text"),
    "truth": (["True", "false"], "boolean"),
    "truth-missing": (["true", ""], "text"),
    "words": (["1", "NA"], "text"),
    "nothing": (["", ""], "text"),
}


@pytest.mark.parametrize(("cells", "expected"), GUESSES.values(), ids=GUESSES)
def test_a_guessed_type_keeps_every_cell(cells: list[str], expected: str) -> None:
    assert guess_type(cells) == expected


@given(st.lists(st.one_of(st.text("0123456789.eE+-_, naif", max_size=8), st.integers().map(str)), min_size=1))
def test_a_guessed_type_parses_every_cell(cells: list[str]) -> None:
    guessed = guess_type(cells)
    for cell in cells:
        value = parse_cell(cell, guessed)
        if guessed == "integer":
            assert str(value) == cell.strip().lstrip("+") or int(cell) == value == 0


def test_a_subject_named_001_stays_001(tmp_path: Path) -> None:
    source = converter.open(write(tmp_path / "t.csv", "start_time,stop_time,mouse,site\n0,1,001,NA\n1,2,002,None\n"))
    assert values(source)["mouse"] == ["001", "002"]
    assert values(source)["site"] == ["NA", "None"]


def test_a_table_of_unknown_columns_needs_a_map(tmp_path: Path) -> None:
    path = write(tmp_path / "wheel.csv", WHEEL)
    source = converter.open(path)
    assert source.streams == ()
    (need,) = source.needs
    assert need.key == "columns"
    assert str(tmp_path / "wheel.columns.yaml") in need.remedy
    assert "'speed'" in source.problems[0]


def test_a_sidecar_maps_columns_to_time_series(tmp_path: Path) -> None:
    path = write(tmp_path / "wheel.csv", WHEEL)
    write(
        sidecar_of(path),
        """\
kind: TimeSeries
time: time
time_unit: ms
time_offset_s: 100
columns:
  speed: {name: wheel_speed, unit: cm/s, description: Speed of the wheel's rim.}
series:
  - {name: position, columns: [x, y], unit: meters, conversion: 0.01}
""",
    )
    source = converter.open(path)
    speed, position = source.streams
    assert source.files == (path, sidecar_of(path))
    assert (speed.name, speed.unit, speed.axes) == ("wheel_speed", "cm/s", ("t",))
    assert speed.array is not None
    assert speed.timestamps is not None
    assert speed.array[:].tolist() == [1.5, 2.5, 3.5]
    assert speed.timestamps[:].tolist() == [100.0, 100.01, 100.02]
    assert (position.axes, position.shape, position.conversion) == (("t", "c"), (3, 2), 0.01)
    assert position.array is not None
    assert position.array[1:, :].tolist() == [[11, 21], [12, 22]]
    assert [c.name for c in position.channels] == ["x", "y"]
    assert source.problems == ("columns that wheel.columns.yaml does not name are left out: state",)


def test_options_win_over_the_sidecar(tmp_path: Path) -> None:
    path = write(tmp_path / "wheel.csv", WHEEL)
    write(sidecar_of(path), "kind: nonsense\n")
    options = {"kind": "TimeSeries", "rate_hz": 100, "columns": {"speed": {"unit": "cm/s"}}}
    (stream,) = converter.open(path, options).streams
    assert stream.rate_hz == 100
    assert stream.timestamps is None


def test_declared_intervals_scale_name_and_type_their_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "beh.csv", "on;off;hit;code;id\n30000;60000;1;007;3\n90000;;0;008;4\n")
    options = {
        "kind": "TimeIntervals", "name": "trials", "description": "Every trial.", "start": "on", "stop": "off",
        "time_unit": "samples", "rate_hz": 30000,
        "columns": {
            "hit": {"type": "boolean", "description": "Whether it was a hit"},
            "code": {"name": "stimulus", "unit": "deg"},
            "id": {"type": "number"},
        },
    }  # fmt: skip
    source = converter.open(path, options)
    (stream,) = source.streams
    assert (stream.name, stream.description) == ("trials", "Every trial.")
    got = values(source)
    assert got["start_time"] == [1.0, 3.0]
    np.testing.assert_array_equal(got["stop_time"], [2.0, np.nan])
    assert got["hit"] == [True, False]
    assert got["stimulus"] == ["007", "008"]
    assert got["id"] == [3.0, 4.0]
    assert stream.columns[3].description.endswith(", in deg")


BAD_MAPS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-key": ({"kind": "TimeSeries", "tiem": "time"}, "tiem"),
    "kind": ({"kind": "Trials"}, "kind"),
    "no-time": ({"kind": "TimeSeries", "columns": {"speed": {"unit": "m"}}}, "needs time (a column) or rate_hz"),
    "both-times": (
        {"kind": "TimeSeries", "time": "time", "rate_hz": 5, "columns": {"speed": {"unit": "m"}}}, "exclude each other",
    ),
    "no-unit": ({"kind": "TimeSeries", "time": "time", "columns": {"speed": None}}, "needs a unit"),
    "no-series": ({"kind": "TimeSeries", "time": "time"}, "needs columns or series"),
    "foreign-time": ({"kind": "TimeIntervals", "timestamp": "time"}, "has start, stop, not timestamp"),
    "samples": ({"kind": "EventsTable", "timestamp": "time", "time_unit": "samples"}, "need rate_hz"),
    "type": ({"kind": "EventsTable", "timestamp": "time", "columns": {"x": {"type": "float"}}}, "columns.x.type"),
    "two-names": (
        {"kind": "TimeSeries", "rate_hz": 1, "columns": {n: {"unit": "m", "name": "a"} for n in "xy"}},
        "two series of the name a",
    ),
    "one-name-twice": (
        {"kind": "EventsTable", "timestamp": "time", "columns": {"x": {"name": "a"}, "y": {"name": "a"}}},
        "two columns of the name a",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), BAD_MAPS.values(), ids=BAD_MAPS)
def test_a_map_that_is_wrong_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "wheel.csv", WHEEL)
    with pytest.raises(BadRequest) as caught:
        converter.open(path, options)
    assert message in str(caught.value)
    assert caught.value.file == str(path)


def test_a_sidecar_that_is_no_yaml_names_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "wheel.csv", WHEEL)
    write(sidecar_of(path), "kind: TimeSeries\ncolumns: {a: [}\n")
    with pytest.raises(BadRequest, match="not YAML") as caught:
        converter.open(path)
    assert caught.value.file == str(sidecar_of(path))
    assert caught.value.place is not None
    assert caught.value.place.startswith("line 2")


def test_a_mapped_column_that_is_missing_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "wheel.csv", WHEEL)
    with pytest.raises(BadSource) as caught:
        converter.open(path, {"kind": "TimeSeries", "time": "time", "columns": {"sped": {"unit": "m/s"}}})
    assert "no column 'sped' (nearest: 'speed')" in str(caught.value)
    assert "'time', 'speed', 'x', 'y', 'state'" in str(caught.value)
    assert caught.value.file == str(path)


DAMAGED = {
    "no-number": (b"start_time,stop_time\n0,1\n1,two\n", "line 3, column 'stop_time'", "'two' is not a number"),
    "decimal-comma": (b"start_time;stop_time\n0;1\n1;2,5\n", "line 3, column 'stop_time'", "with a point"),
    "no-time": (b"start_time,stop_time\n0,1\n,2\n", "line 3, column 'start_time'", "a time is missing"),
    "cut": (b"start_time,stop_time,x\n0,1,2\n1,2\n", "line 3", "2 cells where the header has 3"),
    "quotation": (b'start_time,stop_time,x\n0,1,"a\nb"\n1,2,"c\n', "line 4", "not a table"),
    "line-after-quotation": (b'start_time,stop_time,x\n0,1,"a\nb"\nzero,2,c\n', "line 4", "'zero' is not a number"),
}


@pytest.mark.parametrize(("content", "place", "cause"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_named_by_line_and_column(tmp_path: Path, content: bytes, place: str, cause: str) -> None:
    path = write(tmp_path / "t.csv", content)
    if converter.identify(path):
        with pytest.raises(BadSource) as caught:
            converter.open(path)
        assert caught.value.place is not None
        assert caught.value.place.startswith(place)
        assert cause in caught.value.cause


def test_text_in_a_time_series_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "wheel.csv", WHEEL)
    with pytest.raises(BadSource, match="holds text"):
        converter.open(path, {"kind": "TimeSeries", "rate_hz": 1, "columns": {"state": {"unit": "n.a."}}})


def test_a_declared_map_makes_a_broken_table_heard(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b,c\n1,2\n")
    write(sidecar_of(path), "kind: EventsTable\ntimestamp: a\n")
    assert converter.identify(path)
    with pytest.raises(BadSource, match="second row"):
        converter.open(path)


def test_what_does_not_hinder_is_a_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b",timestamp,where\n0,1,Gen\xe8ve\n1,0.5,Bern\n")
    source = converter.open(path)
    assert values(source)["where"] == ["Genève", "Bern"]
    assert values(source)["column_1"] == [0, 1]
    text = "\n".join(source.problems)
    assert "not UTF-8 (byte 0xe8)" in text
    assert "column 1 has no name" in text
    assert "timestamp goes backwards on line 3" in text


def test_an_empty_table_is_opened(tmp_path: Path) -> None:
    source = converter.open(write(tmp_path / "trials.csv", "start_time,stop_time,x\n"))
    assert source.streams[0].shape == (0,)
    assert values(source) == {"start_time": [], "stop_time": [], "x": []}
    assert "has a header and no rows" in source.problems


def test_reading_a_table_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "timestamp,x\n1,2\n3,4\n")
    source = converter.open(path)
    write(path, "timestamp,x\n1,2\n")
    with pytest.raises(BadSource, match="has changed"):
        source.streams[0].columns[0].array[:]


@pytest.fixture(scope="module")
def long_table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """More rows than lie between two marks, with quotations over several lines and empty lines."""
    rows = [
        [f"{i / 8}", str(i), f'"line {i}\nnext, é"' if i % 97 == 0 else f"w{i}"] for i in range(ROWS_PER_MARK * 2 + 11)
    ]
    text = "timestamp,count,word\n" + "".join(
        ",".join(r) + ("\n\n" if i % 50 == 0 else "\n") for i, r in enumerate(rows)
    )
    path = tmp_path_factory.mktemp("long") / "events.csv"
    return write(path, text), [[r[0], r[1], r[2].strip('"')] for r in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.data())
def test_any_region_equals_the_slice_of_the_whole(
    long_table: tuple[Path, list[list[str]]], data: st.DataObject
) -> None:
    path, rows = long_table
    source = pickle.loads(pickle.dumps(converter.open(path)))
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    time, count, word = (c.array[start:stop].tolist() for c in source.streams[0].columns)
    assert time == [float(r[0]) for r in rows[start:stop]]
    assert count == [int(r[1]) for r in rows[start:stop]]
    assert word == [r[2] for r in rows[start:stop]]


def test_a_real_photometry_table_equals_numpys_reading() -> None:
    path = shared("photometry/neurophotometrics_csv/example.csv")
    names = ["MeanInt_410nm", "MeanInt_470nm", "Time_410nm"]
    expected = np.genfromtxt(path, delimiter=",", names=True, usecols=(1, 5, 2))
    options = {
        "kind": "TimeSeries", "time": "Time_410nm",
        "series": [{"name": "f410", "columns": ["MeanInt_410nm", "MeanInt_470nm"], "unit": "a.u."}],
    }  # fmt: skip
    (stream,) = converter.open(path, options).streams
    assert stream.array is not None
    assert stream.timestamps is not None
    np.testing.assert_array_equal(stream.array[:], np.stack([expected[n] for n in names[:2]], axis=1))
    np.testing.assert_array_equal(stream.timestamps[:], expected["Time_410nm"])


REAL = {
    "behavior/dlc_csv/EPM/Output_DLC/EPM_15DeepCut_resnet50_epmMay17shuffle1_1030000.csv": False,
    "behavior/lightningpose/CollectedData.csv": False,
    "behavior/sleap/csv_format/minimal_instance.000_centered_pair_low_quality.analysis.csv": False,
    "ephys/phy_kilosort/gold-phy/cluster_group.tsv": False,
    "nwb/bids_examples/micr_SPIM/participants.tsv": False,
    "nwb/nwb2bids_expected/sub-001_ses-A_channels.tsv": False,
    "behavior/dlc_csv/EPM/Labels/AllEPMLables.csv": True,
    "photometry/neurophotometrics_csv/example.csv": True,
}


@pytest.mark.parametrize(("name", "expected"), REAL.items(), ids=[Path(n).name for n in REAL])
def test_real_tables_are_told_from_other_programs_output(name: str, expected: bool) -> None:
    assert bool(converter.identify(shared(name))) is expected
