"""SpikeGLX: against neo, probeinterface and neuroconv, on synthesized runs and on real ``.meta`` files."""

from __future__ import annotations

import pickle
import re
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neo.rawio import SpikeGLXRawIO
from numpy.typing import NDArray
from pynwb import NWBHDF5IO

from dandify.errors import BadRequest, BadSource
from dandify.examples.spikeglx import trial_intervals_s, write_spikeglx_run
from dandify.sources import Source
from dandify.sources.registry import by_name
from nwb_written import assert_archive_takes_it, filled, new_nwbfile, write
from shared_data import ROOT, shared

START = datetime(2026, 3, 4, 10, 11, 12)
converter = by_name("spikeglx")


def make(folder: Path, **options: Any) -> Path:
    return write_spikeglx_run(folder, **{"seed": 3, "seconds": 1.6, "channels": 12, "start": START, **options})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("sglx"))


@pytest.fixture(scope="module")
def two_triggers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triggers")
    make(folder, seconds=0.6)
    return make(folder, seconds=0.4, trigger=1, first_s=8.0)


def neo_read(run: Path, stream: str, segment: int = 0) -> NDArray[Any]:
    reader = SpikeGLXRawIO(dirname=str(run))
    reader.parse_header()
    index = list(reader.header["signal_streams"]["id"]).index(stream)
    return np.array(reader.get_analogsignal_chunk(0, segment, stream_index=index))


def stream_of(source: Source, name: str) -> Any:
    return next(s for s in source.streams if s.name == name)


@pytest.mark.parametrize(
    ("file", "root"),
    [
        ("a_g0/a_g0_imec0/a_g0_t0.imec0.ap.bin", "a_g0"),
        ("a_g0/a_g0_imec1/a_g0_t0.imec1.lf.meta", "a_g0"),
        ("a_g0/a_g0_t0.nidq.bin", "a_g0"),
        ("catgt_a_g0/a_g0_imec0/a_g0_tcat.imec0.ap.bin", "catgt_a_g0"),
        ("ephys/a_g0_imec0/a_g0_t0.imec0.ap.bin", "ephys/a_g0_imec0"),
        ("other_g0/a_g0_imec0/a_g0_t0.imec0.ap.bin", "other_g0/a_g0_imec0"),
        ("flat/a_g0_t0.imec0.ap.bin", "flat"),
        ("flat/a_g0_t0.obx0.obx.bin", "flat"),
        ("flat/renamed.imec0.ap.bin", "flat"),
        ("flat/a.bin", None),
        ("flat/a.nidq.txt", None),
    ],
)
def test_claim(file: str, root: str | None) -> None:
    assert converter.claim(Path("/x") / file) == (None if root is None else Path("/x") / root)


def test_identify(run: Path, tmp_path: Path) -> None:
    assert converter.identify(run)
    assert converter.identify(run / "demo_g0_imec0")
    assert not converter.identify(tmp_path / "absent")
    (tmp_path / "a_g0_t0.nidq.meta").write_bytes(b"\xff\x00junk")
    assert not converter.identify(tmp_path)
    (tmp_path / "a_g0_t0.nidq.meta").unlink()
    (tmp_path / "a_g0_t0.nidq.bin").write_bytes(b"")
    assert converter.identify(tmp_path)


def test_open_reads_headers_only_and_fast(run: Path) -> None:
    begin = time.perf_counter()
    source = converter.open(run)
    assert time.perf_counter() - begin < 0.5
    assert source.facts == {
        "session_id": "demo", "session_start_time": START, "software": "SpikeGLX 20230815",
        "probes": ("PRB_1_4_0480_1_C serial number 19454409770", "PRB_1_4_0480_1_C serial number 19454409771"),
    }  # fmt: skip
    assert [(s.name, s.kind, s.shape) for s in source.streams] == [
        ("nidq.xa", "TimeSeries", (48005, 2)), ("nidq.xd", "EventsTable", (48005, 1)),
        ("imec0.ap", "ElectricalSeries", (48000, 12)), ("imec0.sync", "TimeSeries", (48000, 1)),
        ("imec0.lf", "LFP", (4000, 12)),
        ("imec1.ap", "ElectricalSeries", (48000, 12)), ("imec1.sync", "TimeSeries", (48000, 1)),
        ("imec1.lf", "LFP", (4000, 12)),
    ]  # fmt: skip
    assert len(source.files) == 10
    assert not source.problems
    assert not source.needs
    again = pickle.loads(pickle.dumps(source))
    assert (again.facts, again.files, len(again.parts)) == (source.facts, source.files, len(source.streams))


@pytest.mark.parametrize("name", ["imec0.ap", "imec1.ap", "imec0.lf", "imec1.lf", "nidq.xa"])
def test_rate_names_and_gains_are_those_of_neo(run: Path, name: str) -> None:
    stream = stream_of(converter.open(run), name)
    reader = SpikeGLXRawIO(dirname=str(run))
    reader.parse_header()
    wanted = name.removesuffix(".xa")
    rows = [c for c in reader.header["signal_channels"] if c["stream_id"] == wanted and c["name"] != "XD0"]
    gains = np.array([c.gain for c in stream.channels], float)
    volts = 1e-6 if "imec" in name else 1.0
    assert [c.name for c in stream.channels] == [str(r["name"]) for r in rows]
    assert np.allclose(gains, [r["gain"] * volts for r in rows], rtol=1e-12)
    assert {r["sampling_rate"] for r in rows} == {stream.rate_hz}


CUTS = {
    "imec0.ap": ("imec0.ap", slice(None)),
    "imec1.lf": ("imec1.lf", slice(None)),
    "imec1.sync": ("imec1.ap-SYNC", slice(None)),
    "nidq.xa": ("nidq", slice(0, 2)),
    "nidq.xd": ("nidq", slice(2, 3)),
}


@pytest.mark.parametrize("name", CUTS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_regions_equal_the_slice_of_neos_full_read(run: Path, name: str, data: st.DataObject) -> None:
    neo_stream, columns = CUTS[name]
    whole = neo_read(run, neo_stream)[:, columns]
    array = stream_of(converter.open(run), name).array
    assert array.shape == whole.shape
    region = tuple(
        slice(*sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))) for n in whole.shape
    )  # fmt: skip
    assert np.array_equal(array[region], whole[region])


def test_round_trip_of_a_run(run: Path, tmp_path: Path) -> None:
    import probeinterface  # type: ignore[import-untyped]  # has no types

    nwbfile = new_nwbfile()
    converter.open(run).add_to_nwbfile(nwbfile, shift_s=2.5)  # type: ignore[attr-defined]  # an NWBSource
    path = write(nwbfile, tmp_path / "a.nwb")
    assert_archive_takes_it(path)
    with NWBHDF5IO(path, "r") as io:
        back = io.read()
        lfp = back.processing["ecephys"]["LFP"].electrical_series
        series = {**back.acquisition, **lfp}
        for name, (stream, columns) in {
            "ElectricalSeriesAPImec0": ("imec0.ap", slice(None)), "ElectricalSeriesAPImec1": ("imec1.ap", slice(None)),
            "ElectricalSeriesLFImec0": ("imec0.lf", slice(None)), "ElectricalSeriesLFImec1": ("imec1.lf", slice(None)),
            "TimeSeriesImec0Sync": ("imec0.ap-SYNC", slice(None)), "TimeSeriesNIDQ": ("nidq", slice(0, 2)),
        }.items():  # fmt: skip
            assert np.array_equal(series[name].data[:], neo_read(run, stream)[:, columns])
            assert series[name].starting_time == pytest.approx(2.5, abs=1e-4)
        assert series["ElectricalSeriesAPImec0"].conversion == pytest.approx(1.2 / 1024 / 500)
        assert series["ElectricalSeriesLFImec0"].conversion == pytest.approx(1.2 / 1024 / 250)
        assert series["TimeSeriesNIDQ"].conversion == 5 / 32768
        assert len(back.electrodes) == 24
        table = back.electrodes.to_dataframe()
        places = probeinterface.read_spikeglx(next(run.rglob("*.ap.meta"))).contact_positions
        assert np.array_equal(table[["rel_x", "rel_y"]].to_numpy(), [*places, *places])
        assert {d.serial_number for d in back.devices.values() if "Imec" in d.name} == {"19454409770", "19454409771"}
        assert "PlaceholderElectrodeDevice" not in back.devices


def test_digital_lines_are_those_that_neo_finds(run: Path) -> None:
    nwbfile = new_nwbfile()
    converter.open(run).add_to_nwbfile(nwbfile)  # type: ignore[attr-defined]  # an NWBSource
    table = nwbfile.events["EventsNIDQ"].to_dataframe()
    reader = SpikeGLXRawIO(dirname=str(run))
    reader.parse_header()
    for index, channel in enumerate(reader.header["event_channels"]["name"]):
        samples, _, labels = reader.get_event_timestamps(0, 0, index)
        expected = sorted(
            (s, "rising" if lab.endswith("ON") else "falling") for s, lab in zip(samples, labels, strict=True)
        )
        mine = table[table["line"] == channel]
        assert np.allclose(mine["timestamp"], [s / 30003.0003 for s, _ in expected])
        assert mine["edge"].tolist() == [e for _, e in expected]
    trials = table[table["line"] == "XD1"]["timestamp"].tolist()
    assert len(trials) == 2
    assert trials == pytest.approx([t for interval in trial_intervals_s(1.6) for t in interval], abs=1e-4)


def test_same_objects_as_neuroconvs_converter(run: Path) -> None:
    """Names, electrodes and samples are those of neuroconv's own converter, where its statements are true."""
    from neuroconv.converters import SpikeGLXConverterPipe

    theirs, ours = new_nwbfile(), new_nwbfile()
    pipe = SpikeGLXConverterPipe(folder_path=run)
    pipe.add_to_nwbfile(nwbfile=theirs, metadata=pipe.get_metadata())
    converter.open(run).add_to_nwbfile(ours)  # type: ignore[attr-defined]  # an NWBSource
    filled(ours)
    mine = {**ours.acquisition, **ours.processing["ecephys"]["LFP"].electrical_series}
    assert set(theirs.acquisition) == set(mine)
    for name, series in theirs.acquisition.items():
        assert np.array_equal(series.data._get_data((slice(0, 500), slice(0, 2))), mine[name].data[:500, :2])
        assert mine[name].rate == series.rate
        assert mine[name].conversion == pytest.approx(series.conversion) or "Sync" in name
    assert set(theirs.devices) == set(ours.devices)
    assert set(theirs.electrode_groups) == set(ours.electrode_groups)
    # neuroconv starts every series firstSample / rate, 5 s, after fileCreateTime; the files began at fileCreateTime.
    assert theirs.acquisition["ElectricalSeriesAPImec0"].starting_time == pytest.approx(5.0, abs=1e-3)


def test_several_triggers_are_one_series_each(two_triggers: Path) -> None:
    source = converter.open(two_triggers)
    nwbfile = new_nwbfile()
    source.add_to_nwbfile(nwbfile)  # type: ignore[attr-defined]  # an NWBSource
    filled(nwbfile)
    for segment, begin in ((0, 0.0), (1, 3.0)):
        series = nwbfile.acquisition[f"ElectricalSeriesAPImec1_g0_t{segment}"]
        assert np.array_equal(series.data, neo_read(two_triggers, "imec1.ap", segment))
        assert series.starting_time == pytest.approx(begin, abs=1e-4)
        assert nwbfile.events[f"EventsNIDQ_g0_t{segment}"]["timestamp"].data[0] > begin
    assert len(nwbfile.electrodes) == 24
    assert "imec0.ap.g0_t1" in [s.name for s in source.streams]


def test_two_runs_in_one_file_share_what_is_the_same(run: Path, tmp_path: Path) -> None:
    other = make(tmp_path, probes=1, run_name="second")
    meta = next(other.rglob("*.ap.meta"))
    for file in (meta, meta.with_name(meta.name.replace(".ap.", ".lf."))):
        file.write_text(
            file.read_text().replace("imDatPrb_sn=19454409770", "imDatPrb_sn=777").replace("Enabled=1", "Enabled=2")
        )
    nwbfile = new_nwbfile()
    for folder, shift in ((run, 0.0), (run, 100.0), (other, 200.0)):
        converter.open(folder).add_to_nwbfile(nwbfile, shift_s=shift)  # type: ignore[attr-defined]  # an NWBSource
    assert set(nwbfile.devices) == {"NIDQBoard", "NeuropixelsImec0", "NeuropixelsImec1", "NeuropixelsImec0_2"}
    assert nwbfile.devices["NeuropixelsImec0_2"].serial_number == "777"
    assert nwbfile.electrode_groups["NeuropixelsImec0_2"].device is nwbfile.devices["NeuropixelsImec0_2"]
    assert len(nwbfile.electrodes) == 36
    starts = [nwbfile.acquisition[f"ElectricalSeriesAPImec0{s}"].starting_time for s in ("", "_2", "_3")]
    assert starts == pytest.approx([0, 100, 200], abs=1e-3)
    assert_archive_takes_it(write(nwbfile, tmp_path / "a.nwb"))


def test_lone_probe_flat_folder_and_lf_only(run: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(run / "demo_g0_imec1", tmp_path / "x" / "demo_g0_imec1")
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in run.rglob("*.*"):
        shutil.copy(file, flat)
    for file in alone.glob("*.ap.*"):
        file.unlink()
    for folder, names in ((flat, 8), (alone, 2)):
        assert converter.claim(next(folder.glob("*.lf.bin"))) == folder
        source = converter.open(folder)
        assert len(source.streams) == names
        nwbfile = new_nwbfile()
        source.add_to_nwbfile(nwbfile)  # type: ignore[attr-defined]  # an NWBSource
        series = filled(nwbfile).processing["ecephys"]["LFP"]["ElectricalSeriesLFImec1"]
        assert np.array_equal(series.data, neo_read(run, "imec1.lf"))
        assert nwbfile.electrodes["rel_y"].data[-1] == 100


def _cut(run: Path) -> str:
    file = run / "demo_g0_t0.nidq.bin"
    with file.open("r+b") as opened:
        opened.truncate(1000)
    return file.name


def _lose(pattern: str) -> Callable[[Path], str]:
    def act(run: Path) -> str:
        file = next(run.rglob(pattern))
        file.unlink()
        return file.name

    return act


def _edit(pattern: str, line: str, new: str) -> Callable[[Path], str]:
    def act(run: Path) -> str:
        file = next(run.rglob(pattern))
        text, count = re.subn(rf"(?m)^{line}.*\n", new, file.read_text())
        assert count == 1
        file.write_text(text)
        return ""

    return act


def _stray(run: Path) -> str:
    for file in run.glob("*.nidq.*"):
        shutil.copy(file, file.with_name(file.name.replace("demo", "other")))
    return "demo, other"


BROKEN: dict[str, tuple[Callable[[Path], str], tuple[str, ...]]] = {
    "truncated": (_cut, ("truncated", "1000 bytes found", "288030 expected", "remedy")),
    "no meta": (_lose("*imec0.ap.meta"), ("demo_g0_t0.imec0.ap.meta is missing", "imec0.ap.bin", "remedy")),
    "no bin": (_lose("*imec0.lf.bin"), ("demo_g0_t0.imec0.lf.bin is missing", "imec0.lf.meta")),
    "size": (_edit("*.nidq.meta", "fileSizeBytes", "fileSizeBytes=100\n"), ("288030 bytes", "fileSizeBytes=100")),
    "channels": (_edit("*.nidq.meta", "nSavedChans", "nSavedChans=4\n"), ("nSavedChans=4", "3 channels")),
    "time": (_edit("*.nidq.meta", "fileTimeSecs", "fileTimeSecs=9\n"), ("48005 samples", "fileTimeSecs=9")),
    "key": (_edit("*.nidq.meta", "niSampRate", ""), ("StopIteration", "nidq.meta")),
    "two runs": (_stray, ("2 runs",)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_refused_with_both_numbers_and_a_remedy(case: str, tmp_path: Path) -> None:
    run = make(tmp_path, channels=4)
    act, expected = BROKEN[case]
    mentioned = act(run)
    assert converter.identify(run)
    with pytest.raises(BadSource) as caught:
        converter.open(run)
    assert all(part in str(caught.value) for part in (*expected, mentioned))
    assert caught.value.remedy
    assert caught.value.file


def test_uneven_size_without_a_stated_one(tmp_path: Path) -> None:
    run = make(tmp_path, channels=4)
    meta = run / "demo_g0_t0.nidq.meta"
    meta.write_text(meta.read_text().replace("fileSizeBytes=", "x="))
    assert converter.open(run).problems
    with (run / "demo_g0_t0.nidq.bin").open("ab") as file:
        file.write(b"1")
    with pytest.raises(BadSource, match=r"288031 bytes are not a whole number of samples of 3 channels"):
        converter.open(run)


def test_a_trigger_that_lacks_a_probe_is_refused(two_triggers: Path, tmp_path: Path) -> None:
    run = shutil.copytree(two_triggers, tmp_path / two_triggers.name)
    for file in run.rglob("*_t1.imec1.*"):
        file.unlink()
    with pytest.raises(BadSource, match=r"g0_t1 has no imec1\.ap, imec1\.lf"):
        converter.open(run)


def test_options_are_refused(run: Path) -> None:
    with pytest.raises(BadRequest, match="no options: x"):
        converter.open(run, {"x": 1})


def test_the_demo_run_is_deterministic(tmp_path: Path) -> None:
    first, second, third = (
        make(tmp_path / n, channels=6, seconds=0.5, seed=s) for n, s in (("a", 1), ("b", 1), ("c", 2))
    )
    files = [f.relative_to(first) for f in sorted(first.rglob("*.*"))]
    assert len(files) == 10
    assert all((first / f).read_bytes() == (second / f).read_bytes() for f in files)
    assert any((first / f).read_bytes() != (third / f).read_bytes() for f in files)


def test_the_demo_run_has_a_complete_probe(tmp_path: Path) -> None:
    import probeinterface

    run = make(tmp_path, channels=384, probes=1, seconds=0.02)
    probe = probeinterface.read_spikeglx(next(run.rglob("*.ap.meta")))
    assert probe.get_contact_count() == 384
    assert probe.model_name == "PRB_1_4_0480_1_C"
    raw = neo_read(run, "imec0.ap")
    assert raw.shape == (600, 384)
    assert 2 < raw.std(axis=0).mean() < 5
    assert abs(raw).max() < 512


REAL = sorted(ROOT.glob("ephys/spikeglx_meta_*/**/*.meta"))
NEO_CANNOT = ("NP1110",)  # neo 0.14.6: IndexError in the gains of probes of type 1110


@pytest.mark.parametrize("meta", REAL, ids=lambda m: m.stem)
def test_real_meta_files(meta: Path, tmp_path: Path) -> None:
    import probeinterface

    values = dict(line.split("=", 1) for line in meta.read_text().splitlines() if "=" in line)
    channels, rate = int(values["nSavedChans"]), float(values["imSampRate"])
    stem = re.split(r"[\\/]", values["fileName"])[-1].removesuffix(".bin")
    samples = np.random.default_rng(0).integers(-500, 500, (40, channels)).astype("<i2")
    samples.tofile(tmp_path / f"{stem}.bin")
    text = re.sub(r"(?m)^fileSizeBytes=.*", f"fileSizeBytes={samples.nbytes}", meta.read_text())
    (tmp_path / f"{stem}.meta").write_text(re.sub(r"(?m)^fileTimeSecs=.*", f"fileTimeSecs={40 / rate}", text))

    source = converter.open(tmp_path)
    stream, sync = source.streams
    probe = probeinterface.read_spikeglx(tmp_path / f"{stem}.meta")
    assert stream.rate_hz == rate
    assert stream.array is not None
    assert sync.array is not None
    assert stream.shape == (40, probe.get_contact_count())
    assert stream.shape[1] + sync.shape[1] == channels
    assert np.array_equal(np.hstack([stream.array[:], sync.array[:]]), samples)
    if not meta.name.startswith(NEO_CANNOT):
        reader = SpikeGLXRawIO(dirname=str(tmp_path))
        reader.parse_header()
        rows = [c for c in reader.header["signal_channels"] if "SY" not in c["name"]]
        assert [c.name for c in stream.channels] == [str(r["name"]) for r in rows]
        assert np.allclose(
            np.array([c.gain for c in stream.channels], float), [r["gain"] * 1e-6 for r in rows], rtol=1e-12
        )

    nwbfile = new_nwbfile()
    source.add_to_nwbfile(nwbfile)  # type: ignore[attr-defined]  # an NWBSource
    electrodes = nwbfile.electrodes.to_dataframe()
    assert np.array_equal(electrodes[["rel_x", "rel_y"]].to_numpy(), probe.contact_positions)
    assert [d.model.model_number for d in nwbfile.devices.values()] == [probe.model_name]
    path = write(nwbfile, tmp_path / "a.nwb")
    if "phase3a" in meta.name or "NP2020" in meta.name or "bank0" in meta.name:  # the odd ones: a second each
        assert_archive_takes_it(path)


def test_real_meta_files_are_there() -> None:
    shared("ephys/spikeglx_meta_pi")
    assert len(REAL) == 21
