"""The abf converter against pyABF and neo, on files made here and on real ones."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pynwb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynwb.file import Subject

from abf_maker import Abf, write_abf1, write_abf2
from dandify.errors import BadRequest, BadSource
from dandify.sources import Source
from dandify.sources.registry import by_name
from shared_data import shared

CONVERTER = by_name("abf")
WRITERS: dict[str, Callable[[Path, Abf], Path]] = {"abf1": write_abf1, "abf2": write_abf2}
FACTOR = {"pA": 1e-12, "nA": 1e-9, "mV": 1e-3}  # how pyABF's unit relates to that of the stream
REAL = (
    "130618-1-12", "16d22006_kim_gapfree", "171116sh_0015-ATFwaveform", "17o05024_vc_steps", "180415_aaron_temp",
    "18702001-pulseTrain", "18808025", "2015_09_10_0001", "2018_08_23_0009", "2019_05_02_DIC2_0011", "2020_06_16_0001",
    "DM1_0002", "File_axon_3", "File_axon_7", "invalidDate-abf1", "multichannelAbf1WithTags", "sine sweep magnitude 20",
)  # fmt: skip


def pyabf_of(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyABF warns about damaged old headers
        import pyabf

        return pyabf.ABF(str(path))


def nwb_of(source: Source, path: Path, shift_s: float = 0.0) -> pynwb.NWBFile:
    """Write with plain pynwb, validate, and read back."""
    subject = Subject(subject_id="m1", species="Mus musculus", sex="F", age="P60D")
    nwbfile = pynwb.NWBFile("a session", path.stem, datetime(2024, 3, 1, tzinfo=UTC), subject=subject, session_id="s1")
    source.add_to_nwbfile(nwbfile, shift_s=shift_s)  # type: ignore[attr-defined]  # every abf source is an NWBSource
    for series in nwbfile.acquisition.values():
        series.fields["data"] = series.data[:]  # the engine's part: fill what was deferred
        if series.timestamps is not None:
            series.fields["timestamps"] = series.timestamps[:]
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    assert pynwb.validate(path=path) == []
    return pynwb.NWBHDF5IO(path, "r").read()


def same_as_pyabf(source: Source, stream_index: int, physical: np.ndarray[Any, Any]) -> None:
    golden = pyabf_of(source.path)
    unit = source.header.channels[stream_index].unit  # type: ignore[attr-defined]  # AbfSource
    expected = golden.data[stream_index] * FACTOR.get(unit, 1.0)
    np.testing.assert_allclose(physical, expected, rtol=2e-7, atol=2e-7 * np.abs(expected).max())


@pytest.fixture(params=WRITERS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return WRITERS[request.param](tmp_path / f"{request.param}.abf", Abf(pause_s=0.5, tags=((20_000, "+drug"),)))


def test_raw_samples_are_those_that_were_written(made: Path) -> None:
    for i, stream in enumerate(CONVERTER.open(made).streams):
        assert stream.array is not None
        assert stream.dtype == np.dtype("<i2")
        np.testing.assert_array_equal(stream.array[:], Abf().data()[:, i])


def test_physical_values_equal_pyabf(made: Path) -> None:
    source = CONVERTER.open(made)
    for i, stream in enumerate(source.streams):
        assert stream.array is not None
        same_as_pyabf(source, i, stream.array[:] * stream.conversion + stream.offset)


def test_neo_reads_the_same(made: Path) -> None:
    from neo.rawio import AxonRawIO

    reader = AxonRawIO(filename=str(made))
    reader.parse_header()
    source = CONVERTER.open(made)
    for sweep, start_s in enumerate([s.start_s for s in source.header.sweeps]):  # type: ignore[attr-defined]  # AbfSource
        chunk = reader.get_analogsignal_chunk(seg_index=sweep)
        assert reader.segment_t_start(0, sweep) == pytest.approx(start_s)
        for i, stream in enumerate(source.streams):
            assert stream.array is not None
            np.testing.assert_array_equal(stream.array[sweep * 700 : (sweep + 1) * 700], chunk[:, i])


def test_facts(made: Path) -> None:
    facts = CONVERTER.open(made).facts
    assert facts["session_start_time"] == datetime(2024, 2, 29, 12, 30, 0, 250_000)  # ABF has no zone
    assert facts["description"] == "cell 3"
    assert facts["software"].startswith("Clampex 10.")


def test_pauses_between_sweeps_become_timestamps(made: Path) -> None:
    stream = CONVERTER.open(made).streams[0]
    assert stream.rate_hz is None
    assert stream.timestamps is not None
    times = stream.timestamps[:]
    np.testing.assert_allclose(times[[0, 699, 700, 1400]], [0, 0.0699, 0.57, 1.14], atol=1e-9)


def test_sweeps_that_follow_each_other_have_a_rate(tmp_path: Path) -> None:
    stream = CONVERTER.open(write_abf2(tmp_path / "a.abf", Abf())).streams[0]
    assert stream.timestamps is None
    assert stream.rate_hz == pytest.approx(10000)


@given(region=st.tuples(st.integers(0, 2100), st.integers(0, 2100)))
def test_regions_equal_slices(region: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "regions.abf"
    if not path.exists():
        write_abf2(path, Abf(pause_s=0.25))
    stream = CONVERTER.open(path).streams[1]
    part = slice(*sorted(region))
    for array in (stream.array, stream.timestamps):
        assert array is not None
        np.testing.assert_array_equal(array[part], array[:][part])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(array))[part], array[part])


KINDS = {
    "current measured, voltage commanded": (Abf(), ["VoltageClampSeries", "PatchClampSeries"]),
    "voltage measured, current commanded": (Abf(commands=("pA",)), ["PatchClampSeries", "CurrentClampSeries"]),
    "nothing commanded, both measured": (Abf(commands=()), ["PatchClampSeries", "PatchClampSeries"]),
    "nothing commanded, voltage": (Abf(channels=[("IN 0", "mV", 0.01)], commands=()), ["CurrentClampSeries"]),
    "both commanded": (Abf(commands=("mV", "pA")), ["PatchClampSeries", "PatchClampSeries"]),
    "telegraphed zero current": (
        Abf(channels=[("IN 0", "mV", 0.01)], commands=(), telegraph=2), ["IZeroClampSeries"]),
    "telegraphed current clamp": (Abf(channels=[("IN 0", "mV", 0.01)], telegraph=1), ["CurrentClampSeries"]),
    "second output of the amplifier": (Abf(channels=[("IN 0", "mV", 0.01)], telegraph=0), ["PatchClampSeries"]),
    "other units": (
        Abf(channels=[("T", "deg C", 0.1), ("laser", "A", 1.0), ("raw", "V", 1.0)]), ["TimeSeries"] * 3),
}  # fmt: skip


@pytest.mark.parametrize(("abf", "kinds"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_kinds(write: Any, abf: Abf, kinds: list[str], tmp_path: Path) -> None:
    source = CONVERTER.open(write(tmp_path / "a.abf", abf))
    assert [s.kind for s in source.streams] == kinds
    nwb_of(source, tmp_path / "a.nwb")


def test_nwb_has_every_sweep(made: Path, tmp_path: Path) -> None:
    nwbfile = nwb_of(CONVERTER.open(made), tmp_path / "a.nwb", shift_s=100.0)
    table = nwbfile.intracellular_recordings
    rows = [table["responses"]["response"][i] for i in range(3)]
    assert [(int(r.idx_start), int(r.count)) for r in rows] == [(0, 700), (700, 700), (1400, 700)]
    assert len(nwbfile.icephys_simultaneous_recordings) == 3
    assert list(nwbfile.icephys_sequential_recordings["stimulus_type"]) == ["steps"]
    series = next(s for s in nwbfile.acquisition.values() if s.neurodata_type == "VoltageClampSeries")
    assert series.timestamps[700] == pytest.approx(100.57)
    assert series.stimulus_description == "steps"
    (tags,) = nwbfile.events.values()
    assert (tags["timestamp"][0], tags["annotation"][0]) == (pytest.approx(100.1), "+drug")


def test_two_files_in_one_session(tmp_path: Path) -> None:
    nwbfile = pynwb.NWBFile("a session", "i", datetime(2024, 3, 1, tzinfo=UTC))
    for folder in ("day1", "day2"):  # Clampex starts counting anew in every folder
        (tmp_path / folder).mkdir()
        CONVERTER.open(write_abf2(tmp_path / folder / "0000.abf", Abf())).add_to_nwbfile(nwbfile)  # type: ignore[attr-defined]  # NWBSource
    assert len(nwbfile.acquisition) == 4
    assert len(nwbfile.intracellular_recordings) == 6


BAD_DATES = {"none": 0, "all bits": 0xFFFFFFFF, "no such month": 20241301}


@pytest.mark.parametrize("date", BAD_DATES.values(), ids=BAD_DATES)
def test_invalid_date_is_absent(date: int, tmp_path: Path) -> None:
    source = CONVERTER.open(write_abf2(tmp_path / "a.abf", Abf(date=date)))
    assert "session_start_time" not in source.facts
    assert any("date" in p for p in source.problems)


def test_two_digit_years(tmp_path: Path) -> None:
    for date, year in ((980102, 1998), (180102, 2018)):
        facts = CONVERTER.open(write_abf1(tmp_path / f"{year}.abf", Abf(date=date))).facts
        assert facts["session_start_time"].date().isoformat() == f"{year}-01-02"


def test_truncated(made: Path) -> None:
    made.write_bytes(made.read_bytes()[:7000])
    with pytest.raises(BadSource, match=r"truncated: 7000 bytes|ends early"):
        CONVERTER.open(made)


JUNK = {
    "empty": b"", "text": b"ABC,1\n", "other": b"ATF\t1.0", "only magic": b"ABF2", "ABF 2 zeros": b"ABF2" + bytes(9000),
    "ABF 1 zeros": b"ABF " + bytes(9000),
}  # fmt: skip


@pytest.mark.parametrize("content", JUNK.values(), ids=JUNK)
def test_junk_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "junk.abf"
    path.write_bytes(content)
    assert CONVERTER.identify(path).yes == content.startswith((b"ABF ", b"ABF2"))
    with pytest.raises(BadSource):
        CONVERTER.open(path)


def test_missing_file_is_no(tmp_path: Path) -> None:
    assert not CONVERTER.identify(tmp_path / "absent.abf")


def test_unknown_option(made: Path) -> None:
    with pytest.raises(BadRequest, match="gain"):
        CONVERTER.open(made, {"gain": 1})


@pytest.mark.parametrize("stem", REAL)
def test_real_files_equal_pyabf_after_writing(stem: str, tmp_path: Path) -> None:
    source = CONVERTER.open(shared(f"icephys/abf/{stem}.abf"))
    nwbfile = nwb_of(source, tmp_path / "a.nwb")
    for i, stream in enumerate(source.streams):
        series = nwbfile.acquisition[stream.name]
        same_as_pyabf(source, i, series.data[:] * series.conversion + series.offset)
    golden = pyabf_of(source.path)
    if stem != "2020_06_16_0001":  # pyABF cuts event-driven files into sweeps of equal length
        assert len(source.header.sweeps) == golden.sweepCount  # type: ignore[attr-defined]  # AbfSource


def test_inspector_finds_nothing_critical(made: Path, tmp_path: Path) -> None:
    from nwbinspector import Importance, inspect_nwbfile, load_config

    nwb_of(CONVERTER.open(made), tmp_path / "a.nwb")
    found = inspect_nwbfile(nwbfile_path=tmp_path / "a.nwb", config=load_config("dandi"))
    assert [m.message for m in found if m.importance in (Importance.CRITICAL, Importance.ERROR)] == []
