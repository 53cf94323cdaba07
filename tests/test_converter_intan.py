"""The intan converter against neo and spikeinterface's reader, on files made here and on a real one."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pynwb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pynwb.file import Subject

from dandify.errors import BadRequest, BadSource
from dandify.sources import NWBSource, Source, Stream
from dandify.sources.registry import by_name, claims
from intan_maker import Recording, header, split_values, write_attached, write_per_channel, write_per_signal
from shared_data import shared

CONVERTER = by_name("intan")
NAMES = {
    "amplifier": "ElectricalSeries", "auxiliary": "TimeSeriesIntanAuxiliary", "supply": "TimeSeriesIntanSupplyVoltage",
    "temperature": "TimeSeriesIntanTemperature", "analogin": "TimeSeriesIntanADCInput",
    "analogout": "TimeSeriesIntanADCOutput", "dcamplifier": "TimeSeriesIntanDC", "stim": "TimeSeriesIntanStim",
    "digitalin": "IntanDigitalIn", "digitalout": "IntanDigitalOut",
}  # fmt: skip
NEO = {
    "RHD2000 amplifier channel": "amplifier", "RHS2000 amplifier channel": "amplifier",
    "RHD2000 auxiliary input channel": "auxiliary", "RHD2000 supply voltage channel": "supply",
    "USB board ADC input channel": "analogin", "USB board ADC output channel": "analogout", "Stim channel": "stim",
    "USB board digital input channel": "digitalin", "USB board digital output channel": "digitalout",
    "DC Amplifier channel": "dcamplifier",
}  # fmt: skip
RHS = Recording(
    suffix=".rhs", version=(3, 1), rate_hz=30000.0, dc=True,
    channels={"amplifier": 2, "analogin": 1, "analogout": 2, "digitalin": 2, "digitalout": 1},
)  # fmt: skip
ATTACHED = {
    "rhd 1.0": Recording(version=(1, 0)),
    "rhd 1.1 with temperatures": Recording(version=(1, 1), temperatures=2),
    "rhd 1.5": Recording(),
    "rhd 2.0": Recording(version=(2, 0), board_mode=1),
    "rhd 3.1": Recording(version=(3, 1), board_mode=13, rate_hz=30000.0),
    "rhd before a trigger": Recording(first=-100),
    "rhd amplifiers only": Recording(channels={"amplifier": 5}),
    "rhs": RHS,
}
SPLIT = {
    "rhd": Recording(
        version=(3, 1), board_mode=13, channels={"amplifier": 3, "auxiliary": 2, "analogin": 2, "digitalin": 3}
    ),
    "rhs": RHS,
}  # fmt: skip
LAYOUTS = {"per signal": write_per_signal, "per channel": write_per_channel}


def by_stream(source: Source) -> dict[str, Stream]:
    return {s.name: s for s in source.streams}


def samples(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[:]


def current(words: NDArray[Any]) -> NDArray[Any]:
    """Stimulation current in steps, by the RHS document."""
    return np.where(words & 256, -(words & 255).astype(int), (words & 255).astype(int))


def neo_of(path: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any], str, float]]:
    """Raw and physical samples, unit and rate of every stream that neo finds."""
    from neo.rawio import IntanRawIO

    reader = IntanRawIO(filename=str(path))
    reader.parse_header()
    out = {}
    for i, stream in enumerate(reader.header["signal_streams"]):
        raw = reader.get_analogsignal_chunk(stream_index=i)
        channels = reader.header["signal_channels"]
        unit = str(channels[channels["stream_id"] == stream["id"]]["units"][0])
        physical = reader.rescale_signal_raw_to_float(raw, dtype="float64", stream_index=i)
        if name := NEO.get(str(stream["name"])):
            out[name] = (np.array(raw), physical, unit, reader.get_signal_sampling_rate(stream_index=i))
    return out


def nwb_of(source: Source, path: Path, shift_s: float = 0.0) -> pynwb.NWBFile:
    """Write with plain pynwb, validate, and read back."""
    assert isinstance(source, NWBSource)
    subject = Subject(subject_id="m1", species="Mus musculus", sex="F", age="P60D")
    nwbfile = pynwb.NWBFile("a session", path.stem, datetime(2024, 3, 1, tzinfo=UTC), subject=subject, session_id="s1")
    source.add_to_nwbfile(nwbfile, shift_s=shift_s)
    for series in nwbfile.acquisition.values():
        series.fields["data"] = series.data[:]  # the engine's part: fill what was deferred
        if series.timestamps is not None:
            series.fields["timestamps"] = series.timestamps[:]
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    assert pynwb.validate(path=path) == []
    return pynwb.NWBHDF5IO(path, "r").read()


@pytest.mark.parametrize("recording", ATTACHED.values(), ids=ATTACHED)
def test_header_attached(recording: Recording, tmp_path: Path) -> None:
    streams = by_stream(CONVERTER.open(write_attached(tmp_path / f"a{recording.suffix}", recording)))
    for name, written in recording.data().items():
        stream = streams[NAMES[name]]
        np.testing.assert_array_equal(samples(stream), current(written) if name == "stim" else written)
        assert stream.rate_hz == pytest.approx(recording.rate_hz / recording.every(name))
    if recording.suffix == ".rhs":
        np.testing.assert_array_equal(samples(streams["TimeSeriesIntanStimFlags"]), recording.data()["stim"] >> 13)


@pytest.mark.parametrize("recording", SPLIT.values(), ids=SPLIT)
@pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS)
def test_split_layouts(write: Any, recording: Recording, tmp_path: Path) -> None:
    recording = replace(recording, channels={k: v for k, v in recording.channels.items() if k != "supply"})
    streams = by_stream(CONVERTER.open(write(tmp_path / "run_240229_123000", recording)))
    for name in recording.counts():
        written, found = split_values(recording, name), samples(streams[NAMES[name]])
        if name.startswith("digital") and found.shape[1] > 1:  # one file per channel: one column for each line
            found = (found << np.arange(found.shape[1])).sum(axis=1, keepdims=True)
        np.testing.assert_array_equal(found, current(written) if name == "stim" else written)


def made(kind: str, recording: Recording, folder: Path) -> tuple[Path, Path]:
    """Write in one of three layouts; return what dandify and what neo opens."""
    if kind == "attached":
        path = write_attached(folder / f"a{recording.suffix}", recording)
        return path, path
    path = LAYOUTS[kind](folder / "run", recording)
    return path, path / f"info{recording.suffix}"


@pytest.mark.parametrize("recording", SPLIT.values(), ids=SPLIT)
@pytest.mark.parametrize("kind", ["attached", *LAYOUTS])
def test_neo_reads_the_same(kind: str, recording: Recording, tmp_path: Path) -> None:
    path, for_neo = made(kind, recording, tmp_path)
    streams = by_stream(CONVERTER.open(path))
    golden = neo_of(for_neo)
    assert set(golden) == set(recording.counts())
    for name, (raw, physical, unit, rate_hz) in golden.items():
        stream = streams[NAMES[name]]
        if stream.kind == "EventsTable":
            continue  # neo unpacks the words; compared as events below
        order = np.arange(raw.shape[1])
        if kind == "per channel" and name in ("dcamplifier", "stim"):
            # neo 0.14 takes these files as the folder lists them; the order is tested against what was written.
            order = np.array([np.flatnonzero((raw == column[:, None]).all(axis=0))[0] for column in samples(stream).T])
        np.testing.assert_array_equal(samples(stream), raw[:, order])
        assert stream.rate_hz == pytest.approx(rate_hz)
        physical = physical[:, order]
        values = samples(stream) * stream.conversion + stream.offset
        factor = {"uV": 1e-6, "mV": 1e-3, "V": 1.0, "A": 1.0}[unit]
        # Intan's own readers negate the DC amplifier (units = volts, factor -0.01923); neo 0.14 does not.
        sign = -1.0 if name == "dcamplifier" else 1.0
        np.testing.assert_allclose(sign * values, physical * factor, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("recording", SPLIT.values(), ids=SPLIT)
@pytest.mark.parametrize("kind", ["attached", *LAYOUTS])
def test_nwb(kind: str, recording: Recording, tmp_path: Path) -> None:
    source = CONVERTER.open(made(kind, recording, tmp_path)[0])
    nwbfile = nwb_of(source, tmp_path / "a.nwb", shift_s=2.0)
    for stream in source.streams:
        if stream.kind != "EventsTable":
            series = nwbfile.acquisition[stream.name]
            np.testing.assert_array_equal(series.data[:], samples(stream))
            assert (series.conversion, series.offset) == (stream.conversion, stream.offset)
            assert (series.rate, series.starting_time) == (pytest.approx(stream.rate_hz), 2.0)
    assert list(nwbfile.electrodes["channel_name"]) == [f"my A-{i:03d}" for i in range(recording.channels["amplifier"])]
    words = recording.data()["digitalin"][:, 0]
    table = nwbfile.events["IntanDigitalIn"]
    for line in range(recording.channels["digitalin"]):
        bits = (words >> line & 1).astype(int)
        mine = np.flatnonzero(np.asarray(table["line"][:]) == f"DIGITAL-IN-{line:02d}")
        edges = np.flatnonzero(np.diff(bits)) + 1
        np.testing.assert_allclose(np.asarray(table["timestamp"][:])[mine], 2.0 + edges / recording.rate_hz)
        assert [table["edge"][int(i)] == "rising" for i in mine] == [bool(bits[e]) for e in edges]


def test_lost_samples_become_timestamps(tmp_path: Path) -> None:
    first, second = Recording(), Recording(first=1000, seed=1)
    path = write_attached(tmp_path / "a.rhd", first)
    whole = write_attached(tmp_path / "b.rhd", second).read_bytes()
    path.write_bytes(path.read_bytes() + whole[len(header(second)) :])  # 240 samples, then a gap of 760
    source = CONVERTER.open(path)
    expected = np.concatenate([np.arange(240), np.arange(1000, 1240)]) / 20000
    nwbfile = nwb_of(source, tmp_path / "a.nwb", shift_s=1.0)
    np.testing.assert_allclose(nwbfile.acquisition["ElectricalSeries"].timestamps[:], 1.0 + expected)
    np.testing.assert_allclose(nwbfile.acquisition["TimeSeriesIntanAuxiliary"].timestamps[:], 1.0 + expected[::4])
    words = np.concatenate([first.data()["digitalin"][:, 0], second.data()["digitalin"][:, 0]])
    changed = np.flatnonzero(np.diff(words)) + 1
    stamps = np.unique(nwbfile.events["IntanDigitalIn"]["timestamp"][:])
    np.testing.assert_allclose(stamps, 1.0 + expected[changed])


def split_files(folder: Path, *firsts: int) -> list[Path]:
    return [
        write_attached(folder / f"run_240229_12300{i}.rhd", Recording(first=first, seed=i))
        for i, first in enumerate(firsts)
    ]


def test_files_that_continue_are_one_recording(tmp_path: Path) -> None:
    files = split_files(tmp_path, 0, 240, 480)
    write_attached(tmp_path / "other_240229_123005.rhd", Recording(first=720))
    source = CONVERTER.open(files[0])
    assert source.files == tuple(files)
    written = np.concatenate([Recording(seed=i).data()["amplifier"] for i in range(3)])
    np.testing.assert_array_equal(samples(source.streams[0]), written)
    assert nwb_of(source, tmp_path / "a.nwb").acquisition["ElectricalSeries"].data.shape == (720, 3)


def test_files_that_start_anew_are_others(tmp_path: Path) -> None:
    files = split_files(tmp_path, 0, 0)
    assert CONVERTER.open(files[0]).files == (files[0],)


def test_facts(tmp_path: Path) -> None:
    (path,) = split_files(tmp_path, 0)
    facts = CONVERTER.open(path).facts
    assert facts["session_start_time"].isoformat() == "2024-02-29T12:30:00"
    assert facts["session_start_time"].tzinfo is None
    assert facts["session_id"] == "run_240229_123000"
    assert facts["description"] == "mouse 7; µV check"


@pytest.mark.parametrize("name", ["plain", "run_241301_123000", "run_240229"])
def test_other_names_state_no_start(name: str, tmp_path: Path) -> None:
    assert "session_start_time" not in CONVERTER.open(write_attached(tmp_path / f"{name}.rhd", Recording())).facts


@pytest.mark.parametrize("kind", ["attached", *LAYOUTS])
def test_truncated(kind: str, tmp_path: Path) -> None:
    path, _ = made(kind, SPLIT["rhd"], tmp_path)
    names = {"per signal": "amplifier.dat", "per channel": "amp-A-001.dat"}
    file = path if kind == "attached" else path / names[kind]
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(BadSource, match=r"truncated: .* expected") as caught:
        CONVERTER.open(path)
    assert caught.value.file == str(file)
    assert caught.value.remedy


def test_truncated_within_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.rhd"
    for size in range(4, len(header(Recording())) - 1, 37):
        path.write_bytes(header(Recording())[:size])
        with pytest.raises(BadSource, match="ends within its header"):
            CONVERTER.open(path)


def test_remedy_of_a_truncated_file_works(tmp_path: Path) -> None:
    path = write_attached(tmp_path / "a.rhd", Recording())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadSource) as caught:
        CONVERTER.open(path)
    assert caught.value.remedy
    valid = int(caught.value.remedy.split("truncate -s ")[1].split()[0])
    path.write_bytes(path.read_bytes()[:valid])
    assert CONVERTER.open(path).streams[0].shape == (180, 3)


def test_missing_files(tmp_path: Path) -> None:
    folder = write_per_channel(tmp_path / "run", SPLIT["rhd"])
    (folder / "amp-A-001.dat").unlink()
    with pytest.raises(BadSource, match=r"missing: amp-A-001\.dat"):
        CONVERTER.open(folder)
    folder = write_per_signal(tmp_path / "other", SPLIT["rhd"])
    (folder / "analogin.dat").unlink()
    source = CONVERTER.open(folder)
    assert any("analogin.dat is missing" in p for p in source.problems)
    (folder / "auxiliary.dat").write_bytes(b"1234")
    with pytest.raises(BadSource, match="auxiliary: 1 samples"):
        CONVERTER.open(folder)


def test_header_without_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.rhd"
    path.write_bytes(header(Recording()))
    with pytest.raises(BadSource, match="without samples"):
        CONVERTER.open(path)


CLAIMS = {
    "a.rhd": "a.rhd", "A.RHS": "A.RHS", "info.rhd": "", "amplifier.dat": "", "time.dat": "", "amp-A-000.dat": "",
    "board-DIGITAL-IN-01.dat": "", "continuous.dat": None, "a.bin": None, "a.dat": None,
}  # fmt: skip


@pytest.mark.parametrize(("name", "claimed"), CLAIMS.items(), ids=CLAIMS)
def test_claim(name: str, claimed: str | None, tmp_path: Path) -> None:
    assert CONVERTER.claim(tmp_path / name) == (None if claimed is None else tmp_path / claimed)


@pytest.mark.parametrize("content", [b"", b"\x02\x27", b"some text", (0xD69127AC).to_bytes(4, "little") + bytes(50)])
def test_others_are_not_identified(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "info.rhd").write_bytes(content)
    (tmp_path / "amplifier.dat").write_bytes(bytes(64))
    assert not CONVERTER.identify(tmp_path)
    assert list(claims(tmp_path / "amplifier.dat", (CONVERTER,))) == []


@pytest.mark.parametrize("kind", ["attached", *LAYOUTS])
def test_identified(kind: str, tmp_path: Path) -> None:
    path, _ = made(kind, SPLIT["rhd"], tmp_path)
    for file in [path] if path.is_file() else sorted(path.iterdir()):
        (claim,) = claims(file, (CONVERTER,))
        assert claim.path == path


def test_unknown_option(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="probe"):
        CONVERTER.open(write_attached(tmp_path / "a.rhd", Recording()), {"probe": 1})


@pytest.fixture(scope="module")
def regions_of(tmp_path_factory: pytest.TempPathFactory) -> list[Stream]:
    folder = tmp_path_factory.mktemp("regions")
    (folder / "split").mkdir()
    opened = [CONVERTER.open(split_files(folder / "split", 0, 240)[0])]
    opened += [CONVERTER.open(made(kind, RHS, folder / kind.split()[-1])[0]) for kind in LAYOUTS]
    return [s for source in opened for s in source.streams]


@given(data=st.data())
def test_regions_equal_slices(data: st.DataObject, regions_of: list[Stream]) -> None:
    stream = data.draw(st.sampled_from(regions_of))
    assert stream.array is not None
    region = tuple(
        slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))) for n in stream.array.shape
    )
    copy = pickle.loads(pickle.dumps(stream.array))
    np.testing.assert_array_equal(copy[region], stream.array[:][region])
    assert copy[region].dtype == stream.dtype


def test_opening_imports_no_reader(tmp_path: Path) -> None:
    import subprocess

    path = write_attached(tmp_path / "a.rhd", Recording())
    code = (
        "import sys; from pathlib import Path; from dandify.converters.intan import converter; "
        f"converter.open(Path({str(path)!r})); "
        "print(*sorted({'neo', 'neuroconv', 'pynwb', 'h5py', 'spikeinterface', 'hdmf'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == ""


def test_real_file(tmp_path: Path) -> None:
    from nwbinspector import Importance, inspect_nwbfile, load_config

    path = shared("ephys/intan_rhd/sampledata.rhd")
    source = CONVERTER.open(path)
    nwbfile = nwb_of(source, tmp_path / "a.nwb")
    golden = neo_of(path)
    assert {NAMES[name] for name in golden} == {s.name for s in source.streams} == set(nwbfile.acquisition)
    for name, (raw, physical, unit, rate_hz) in golden.items():
        series = nwbfile.acquisition[NAMES[name]]
        np.testing.assert_array_equal(series.data[:], raw)
        volts = series.data[:] * series.conversion + series.offset
        np.testing.assert_allclose(volts, physical * (1e-6 if unit == "uV" else 1.0), rtol=1e-9, atol=1e-15)
        assert series.rate == pytest.approx(rate_hz)
    found = inspect_nwbfile(nwbfile_path=tmp_path / "a.nwb", config=load_config("dandi"))
    assert [m.message for m in found if m.importance in (Importance.CRITICAL, Importance.ERROR)] == []
