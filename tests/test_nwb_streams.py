"""Streams become NWB objects by their kind: written, read back by pynwb, validated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pynwb
import pytest

from dandify.errors import BadRequest
from dandify.examples.behaviour import write_trials, write_video
from dandify.nwb.streams import add_streams
from dandify.nwb.write import write_nwb
from dandify.sources import Channel, Column, MemoryArray, Source, Stream
from dandify.sources.registry import by_name
from nwb_written import new_nwbfile

RAW = np.arange(600, dtype="<i2").reshape(-1, 3)


def source_of(*streams: Stream, path: str = "/raw/rec.dat", **facts: Any) -> Source:
    return Source(format="acme", path=Path(path), files=(), streams=streams, facts=facts)


def series(**fields: Any) -> Stream:
    defaults: dict[str, Any] = {
        "name": "probe", "kind": "TimeSeries", "axes": ("t", "c"), "array": MemoryArray(RAW), "rate_hz": 100.0,
    }  # fmt: skip
    return Stream(**{**defaults, **fields})


def channels(*gains: float | None, unit: str | None = "volts") -> tuple[Channel, ...]:
    return tuple(Channel(f"ch{i}", unit, gain) for i, gain in enumerate(gains))


def text(*values: str) -> MemoryArray:
    return MemoryArray(np.array(values, dtype=object))


def new_file() -> pynwb.NWBFile:
    return pynwb.NWBFile("a session", "id", datetime(2026, 3, 1, tzinfo=UTC), session_id="s1")


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Writes sources to a file with the engine; returns what pynwb reads, after it has validated it."""
    open_files = []

    def write(*sources: Source, shift_s: float = 0.0, external: dict[Path, str] | None = None) -> pynwb.NWBFile:
        nwbfile = new_file()
        for source in sources:
            add_streams(nwbfile, source, shift_s=shift_s, external=external)
        path = tmp_path / "x.nwb"
        write_nwb(nwbfile, path)
        errors = pynwb.validate(path=str(path))
        assert not errors, errors
        io = pynwb.NWBHDF5IO(str(path), "r")
        open_files.append(io)
        return io.read()

    yield write
    for io in open_files:
        io.close()


def test_a_regular_series_keeps_raw_values_and_scaling(written: Callable[..., Any]) -> None:
    stream = series(unit="volts", conversion=2e-6, offset=1.0, starting_time_s=0.5, channels=channels(None, None, None))
    read = written(source_of(stream), shift_s=10.0).acquisition["probe"]
    np.testing.assert_array_equal(read.data[:], RAW)
    assert read.data.dtype == RAW.dtype
    assert (read.unit, read.conversion, read.offset) == ("volts", 2e-6, 1.0)
    assert (read.rate, read.starting_time) == (100.0, 10.5)
    assert "ch0, ch1, ch2" in read.description


def test_an_irregular_series_has_shifted_timestamps(written: Callable[..., Any]) -> None:
    times = np.sort(np.random.default_rng(1).random(200))
    read = written(source_of(series(rate_hz=None, timestamps=MemoryArray(times))), shift_s=3.0).acquisition["probe"]
    np.testing.assert_array_equal(read.timestamps[:], times + 3.0)
    assert read.unit == "unknown"


def test_truth_values_are_written_whole(written: Callable[..., Any]) -> None:
    truth = np.tile([True, False], 100)
    read = written(source_of(series(axes=("t",), array=MemoryArray(truth)))).acquisition["probe"]
    np.testing.assert_array_equal(read.data[:], truth)


def test_channels_of_different_scaling_become_series_of_their_own(written: Callable[..., Any]) -> None:
    mixed = (Channel("v", "volts", 1e-3), Channel("i", "amperes", 1e-12), Channel("w", "volts", 1e-3))
    read = written(source_of(series(channels=mixed))).acquisition
    volts, amperes = read["probe_volts"], read["probe_amperes"]
    np.testing.assert_array_equal(volts.data[:], RAW[:, [0, 2]])
    np.testing.assert_array_equal(amperes.data[:], RAW[:, 1])
    assert (volts.conversion, amperes.conversion, amperes.unit) == (1e-3, 1e-12, "amperes")
    assert volts.description.endswith("v, w")


def test_an_electrical_series_has_electrodes_and_one_conversion(written: Callable[..., Any]) -> None:
    raw = series(kind="ElectricalSeries", channels=channels(0.5, 0.5, 0.5, unit="microvolts"))
    lfp = replace(raw, name="lfp", kind="LFP", array=MemoryArray(RAW[::2]), rate_hz=50.0)
    read = written(source_of(raw, lfp, device="Acme One"))
    probe = read.acquisition["probe"]
    assert probe.conversion == pytest.approx(0.5e-6)
    assert probe.channel_conversion is None
    assert list(read.devices) == ["Acme One"]
    table = read.electrodes.to_dataframe()
    assert list(table["channel_name"]) == ["ch0", "ch1", "ch2"]
    assert set(table["location"]) == {"unknown"}
    inner = read.processing["ecephys"]["LFP"].electrical_series["lfp"]
    assert list(inner.electrodes.data[:]) == list(probe.electrodes.data[:]) == [0, 1, 2]
    np.testing.assert_array_equal(inner.data[:], RAW[::2])


def test_gains_that_differ_are_kept_by_channel(written: Callable[..., Any]) -> None:
    read = written(source_of(series(kind="ElectricalSeries", channels=channels(1e-6, 2e-6, 3e-6)))).acquisition["probe"]
    np.testing.assert_allclose(read.channel_conversion[:], [1e-6, 2e-6, 3e-6])
    assert read.conversion == 1.0


def test_two_sources_share_the_electrodes_table(written: Callable[..., Any]) -> None:
    nwbfile_sources = [
        source_of(series(kind="ElectricalSeries", channels=channels(1, 1, 1)), path=f"/raw/{name}.dat", device=name)
        for name in ("left", "right")
    ]
    read = written(*nwbfile_sources)
    assert sorted(read.acquisition) == ["probe", "probe_right"]
    assert list(read.acquisition["probe_right"].electrodes.data[:]) == [3, 4, 5]


def test_electrodes_are_added_to_a_table_with_other_columns() -> None:
    nwbfile = new_file()
    device = nwbfile.create_device(name="other")
    group = nwbfile.create_electrode_group(name="g", description="d", location="CA1", device=device)
    for name in ("gain", "label", "good"):
        nwbfile.add_electrode_column(name=name, description="of another converter")
    nwbfile.add_electrode(location="CA1", group=group, gain=2.5, label="a", good=True)
    add_streams(nwbfile, source_of(series(kind="ElectricalSeries", channels=channels(1, 1, 1))))
    table = nwbfile.electrodes
    assert list(table["channel_name"].data) == ["", "ch0", "ch1", "ch2"]
    assert np.isnan(table["gain"].data[1])
    assert table["label"].data[3] == ""


@pytest.mark.parametrize("rows", [6, 2_000_000], ids=["small", "deferred"])
def test_intervals_become_trials(written: Callable[..., Any], rows: int) -> None:
    start = np.arange(rows, dtype="f8")
    stream = Stream(
        name="trials", kind="TimeIntervals", axes=("t",), shape=(rows,), description="Every trial.",
        columns=(
            Column("start_time", "start", MemoryArray(start)), Column("stop_time", "stop", MemoryArray(start + 0.5)),
            Column("count", "a number", MemoryArray(np.arange(rows))),
        ),
    )  # fmt: skip
    trials = written(source_of(stream), shift_s=2.0).trials
    np.testing.assert_array_equal(trials["start_time"].data[:], start + 2)
    np.testing.assert_array_equal(trials["stop_time"].data[:], start + 2.5)
    np.testing.assert_array_equal(trials["count"].data[:], np.arange(rows))
    assert trials.description == "Every trial."


def test_columns_named_like_attributes_are_renamed(written: Callable[..., Any]) -> None:
    names = ("id", "name", "tags", "speed (cm/s)", "description")
    stream = Stream(
        name="blocks", kind="TimeIntervals", axes=("t",), shape=(2,),
        columns=(
            Column("start_time", "start", MemoryArray(np.array([0.0, 1.0]))),
            Column("stop_time", "stop", MemoryArray(np.array([1.0, np.nan]))),
            *(Column(n, f"column {n}", text("001", "")) for n in names),
        ),
    )  # fmt: skip
    table = written(source_of(stream)).intervals["blocks"]
    assert table.colnames == ("start_time", "stop_time", "id_", "name_", "tags_", "speed (cm_s)", "description_")
    assert list(table["id_"].data[:]) == ["001", ""]


def test_events_are_a_table_of_events(written: Callable[..., Any]) -> None:
    stream = Stream(
        name="licks", kind="EventsTable", axes=("t",), shape=(3,),
        columns=(
            Column("timestamp", "time", MemoryArray(np.array([0.1, 0.2, 0.4]))),
            Column("duration", "length", MemoryArray(np.array([0.05, np.nan, 0.01]))),
            Column("annotation", "note", text("a", "", "c")),
            Column("hit", "?", MemoryArray(np.array([True, False, True]))),
        ),
    )  # fmt: skip
    events = written(source_of(stream), shift_s=1.0).events["licks"]
    np.testing.assert_allclose(events["timestamp"].data[:], [1.1, 1.2, 1.4])
    np.testing.assert_array_equal(events["duration"].data[:], [0.05, np.nan, 0.01])
    assert events.source_description == "rec.dat"
    assert events["hit"].data[:].tolist() == [True, False, True]


def test_a_table_without_rows_is_not_added() -> None:
    empty = MemoryArray(np.empty(0))
    nwbfile = new_file()
    columns = (Column("start_time", "s", empty), Column("stop_time", "s", empty))
    add_streams(nwbfile, source_of(Stream(name="trials", kind="TimeIntervals", axes=("t",), columns=columns)))
    assert nwbfile.trials is None


def test_a_trials_table_and_a_video_go_in_as_they_are(written: Callable[..., Any], tmp_path: Path) -> None:
    video = by_name("video").open(write_video(tmp_path / "camera.mp4", seed=1, seconds=0.5, size=(64, 48)))
    trials = by_name("table").open(write_trials(tmp_path / "trials.csv", seed=1, seconds=10))
    read = written(video, trials, shift_s=0.25, external={tmp_path / "camera.mp4": "x/camera.mp4"})
    camera = read.acquisition["camera"]
    assert list(camera.external_file[:]) == ["x/camera.mp4"]
    assert list(camera.starting_frame) == [0]
    assert list(camera.dimension[:]) == [64, 48]
    assert (camera.format, camera.rate, camera.starting_time, camera.num_samples) == ("external", 30.0, 0.25, 15)
    assert camera.device is None
    assert read.trials.colnames == ("start_time", "stop_time", "stimulus", "choice", "correct", "reaction_time")
    assert read.trials["start_time"][0] == 0.75


def test_the_inspector_has_nothing_to_say_of_behaviour(tmp_path: Path) -> None:
    from nwbinspector import inspect_nwbfile, load_config

    video = by_name("video").open(write_video(tmp_path / "camera.mp4", seed=1, seconds=0.5, size=(64, 48)))
    (tmp_path / "licks.csv").write_text("timestamp,duration,spout\n0.5,0.1,left\n0.75,0.2,right\n1.5,,left\n")
    (tmp_path / "wheel.csv").write_text("ms,speed\n0,1.5\n9,2.5\n21,3.5\n33,3.5\n")
    wheel = {"kind": "TimeSeries", "time": "ms", "time_unit": "ms", "columns": {"speed": {"unit": "cm/s"}}}
    table = by_name("table")
    nwbfile = new_nwbfile()
    add_streams(nwbfile, video, external={tmp_path / "camera.mp4": "camera.mp4"})
    add_streams(nwbfile, table.open(write_trials(tmp_path / "trials.csv", seed=1, seconds=20)))
    add_streams(nwbfile, table.open(tmp_path / "licks.csv"))
    add_streams(nwbfile, table.open(tmp_path / "wheel.csv", wheel))
    write_nwb(nwbfile, tmp_path / "x.nwb")
    messages = inspect_nwbfile(nwbfile_path=str(tmp_path / "x.nwb"), config=load_config("dandi"))
    about = [m for m in messages if m.location not in ("/", "/general/subject")]
    assert not [(m.check_function_name, m.object_name) for m in about]


def test_a_video_of_a_variable_rate_has_timestamps(written: Callable[..., Any]) -> None:
    path = Path("/raw/cam.avi")
    times = np.array([0.0, 0.1, 0.5])
    stream = Stream(
        name="cam", kind="ImageSeries", axes=("t", "y", "x", "c"), shape=(3, 4, 6, 3), external_files=(path,),
        timestamps=MemoryArray(times),
    )  # fmt: skip
    camera = written(source_of(stream, device="FLIR"), shift_s=1.0).acquisition["cam"]
    np.testing.assert_array_equal(camera.timestamps[:], times + 1.0)
    assert camera.external_file[0] == path.as_posix()
    assert camera.device.name == "FLIR"


def test_equal_names_get_that_of_the_source_then_a_number() -> None:
    nwbfile = new_file()
    for path in ("/a/one.dat", "/b/two.dat", "/c/two.dat", "/d/two.dat"):
        add_streams(nwbfile, source_of(series(name="a/b"), path=path))
    assert sorted(nwbfile.acquisition) == ["a_b", "a_b_2", "a_b_3", "a_b_two"]


def test_two_tables_of_trials_are_kept_apart(tmp_path: Path) -> None:
    nwbfile = new_file()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = write_trials(tmp_path / folder / "trials.csv", seed=1, seconds=5)
        add_streams(nwbfile, by_name("table").open(path))
    assert nwbfile.trials is not None
    assert list(nwbfile.intervals) == ["trials_trials"]


def test_images_are_left_to_ome_zarr() -> None:
    nwbfile = new_file()
    add_streams(nwbfile, source_of(series(kind="Image", axes=("y", "x"))))
    assert not nwbfile.acquisition


REFUSED: dict[str, tuple[Stream, str]] = {
    "no-time": (series(rate_hz=None), "neither a rate nor times"),
    "not-volts": (series(kind="ElectricalSeries", channels=channels(1, 1, 1, unit="amperes")), "is in volts"),
    "no-unit": (series(kind="ElectricalSeries"), "its unit is not stated"),
    "offsets": (
        series(kind="LFP", channels=tuple(Channel(f"{i}", "volts", 1.0, float(i)) for i in range(3))),
        "different offsets",
    ),
    "clamp": (series(kind="VoltageClampSeries"), "an NWBSource"),
    "two-files": (
        Stream(name="v", kind="ImageSeries", axes=("t", "y", "x", "c"), shape=(1, 2, 2, 3), rate_hz=1.0,
               external_files=(Path("/a.mp4"), Path("/b.mp4"))), "several files",
    ),
    "no-start": (Stream(name="t", kind="TimeIntervals", axes=("t",)), "needs start_time"),
}  # fmt: skip


@pytest.mark.parametrize(("stream", "message"), REFUSED.values(), ids=REFUSED)
def test_what_nwb_cannot_hold_is_refused_by_name(stream: Stream, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        add_streams(new_file(), source_of(stream))
    assert message in str(caught.value)
    assert caught.value.place == stream.name
