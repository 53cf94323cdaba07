"""PrairieView scans: values as tifffile reads them, order of frames and planes, times, NWB, damage that is heard."""

from __future__ import annotations

import logging
import math
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile

from bruker_maker import NAME, Scan, write_scan
from dandify.errors import BadRequest, BadSource
from dandify.nwb.write import write_nwb
from dandify.project.scan import scan as look
from dandify.sources import NWBSource, Source, Stream
from dandify.sources.registry import available, by_name
from shared_data import shared

converter = by_name("bruker")

VOLUMES = Scan(kind="TSeries ZSeries Element", cycles=4, frames=3)
STACK = Scan(kind="ZSeries", frames=5)


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def nwb_of(source: Source, shift_s: float = 0.0) -> NWBFile:
    assert isinstance(source, NWBSource)
    nwbfile = NWBFile("d", "i", datetime(2026, 3, 4, tzinfo=UTC))
    source.add_to_nwbfile(nwbfile, shift_s=shift_s)
    return nwbfile


SERIES: dict[str, Scan] = {
    "frames": Scan(), "one-channel": Scan(channels=(2,)), "cycles": Scan(cycles=3, frames=4), "pages": Scan(pages=True),
    "volumes": VOLUMES, "volumes-in-pages": Scan(kind="TSeries ZSeries Element", cycles=4, frames=3, pages=True),
}  # fmt: skip


@pytest.mark.parametrize("scan", SERIES.values(), ids=SERIES)
def test_movies_are_a_series_for_each_channel(tmp_path: Path, scan: Scan) -> None:
    source = converter.open(write_scan(tmp_path, scan))
    names = [f"TwoPhotonSeries_Ch{c}" for c in scan.channels] if len(scan.channels) > 1 else ["TwoPhotonSeries"]
    assert [s.name for s in source.streams] == names
    deep = "ZSeries" in scan.kind
    for i, stream in enumerate(source.streams):
        expected = scan.values[:, :, i]
        assert stream.axes == tuple("tzyx" if deep else "tyx")
        np.testing.assert_array_equal(whole(stream), expected if deep else expected.reshape(-1, *expected.shape[2:]))
        assert stream.scale == {a: v for a, v in {"z": 5.0, "y": 0.25, "x": 0.5}.items() if a in stream.axes}
        assert stream.rate_hz == pytest.approx(10 / (scan.frames if deep else 1))
        assert stream.starting_time_s == pytest.approx(0.518)


def test_planes_are_those_of_tifffile(tmp_path: Path) -> None:
    path = write_scan(tmp_path, VOLUMES)
    stream = converter.open(path).streams[1]
    for t, z in ((0, 0), (2, 1), (3, 2)):
        with tifffile.TiffFile(tmp_path / f"{NAME}_Cycle{t + 1:05d}_Ch2_{z + 1:06d}.ome.tif") as tif:
            np.testing.assert_array_equal(whole(stream)[t, z], tif.pages[0].asarray())


def test_a_single_stack_is_an_image(tmp_path: Path) -> None:
    source = converter.open(write_scan(tmp_path, STACK))
    (stream,) = source.streams
    assert (stream.kind, stream.name, stream.axes) == ("Image", NAME, ("c", "z", "y", "x"))
    np.testing.assert_array_equal(whole(stream), STACK.values[0].swapaxes(0, 1))
    assert stream.scale == {"z": 5.0, "y": 0.25, "x": 0.5}
    assert not source.needs


def test_either_can_be_asked_for(tmp_path: Path) -> None:
    stack, movie = write_scan(tmp_path / "a", STACK), write_scan(tmp_path / "b", VOLUMES)
    one, _ = converter.open(stack, {"as": "series"}).streams
    assert (one.kind, one.shape, one.rate_hz) == ("TwoPhotonSeries", (1, 5, 12, 20), None)
    assert one.timestamps is not None
    np.testing.assert_array_equal(one.timestamps[:], [0.518])
    (image,) = converter.open(movie, {"as": "image"}).streams
    assert (image.kind, image.axes) == ("Image", ("t", "c", "z", "y", "x"))
    np.testing.assert_array_equal(whole(image), VOLUMES.values.swapaxes(1, 2))
    assert image.scale["t"] == pytest.approx(0.3)


def test_volumes_that_were_scanned_upwards_are_turned(tmp_path: Path) -> None:
    scan = Scan(kind="TSeries ZSeries Element", cycles=4, frames=3, both_ways=True)
    source = converter.open(write_scan(tmp_path, scan))
    expected = scan.values[:, :, 0].copy()
    expected[1::2] = expected[1::2, ::-1]
    np.testing.assert_array_equal(whole(source.streams[0]), expected)
    assert source.problems == ("2 of 4 volumes were scanned in the other direction; their planes are turned",)


def test_irregular_times_are_kept(tmp_path: Path) -> None:
    source = converter.open(write_scan(tmp_path, Scan(jitter_s=(0.0, 0.02, 0.01))))
    (one, _) = source.streams
    assert one.rate_hz is None
    assert one.timestamps is not None
    expected = 0.518 + np.array([0.0, 0.12, 0.21, 0.3, 0.42, 0.51])
    np.testing.assert_allclose(one.timestamps[:], expected)
    series = nwb_of(source, 100.0).acquisition["TwoPhotonSeries_Ch1"]
    np.testing.assert_allclose(series.timestamps[:], expected + 100)


def test_what_the_files_state(tmp_path: Path) -> None:
    source = converter.open(write_scan(tmp_path, VOLUMES))
    facts = dict(source.facts)
    assert facts.pop("time_increment_s") == pytest.approx(0.3)
    assert facts == {
        "session_start_time": datetime(2026, 3, 4, 10, 11, 12), "software": "Prairie View 5.6.64.200",
        "description": "mouse 3", "device": "Lab (BX51)", "objective": "Nikon 16x NA 0.8",
        "pixel_size_um": {"z": 5.0, "y": 0.25, "x": 0.5}, "channel_names": ("Ch1", "Ch2"),
        "stage_position_um": {f"TwoPhotonSeries_Ch{c}": {"x": 385.5, "y": 103.0} for c in (1, 2)},
    }  # fmt: skip


def test_tiles_are_images_of_their_own(tmp_path: Path) -> None:
    scan = Scan(kind="ZSeries", cycles=3, frames=4, stage=((0.0, 0.0), (9.0, 0.0), (0.0, -2.7)))
    source = converter.open(write_scan(tmp_path, scan))
    assert [s.axes for s in source.streams] == [("c", "z", "y", "x")] * 3, "not three time points of one"
    for i, stream in enumerate(source.streams):
        np.testing.assert_array_equal(whole(stream), scan.values[i].swapaxes(0, 1))
        assert source.facts["stage_position_um"][stream.name] == dict(zip("xy", scan.stage[i], strict=True))


def test_fields_that_are_visited_in_turn_are_movies_of_their_own(tmp_path: Path) -> None:
    stage = ((0.0, 0.0), (50.0, 0.2), (0.4, 0.1), (50.3, 0.0), (0.2, 0.0), (50.0, 0.1))  # a stage is never quite there
    scan = Scan(kind="TSeries ZSeries Element", cycles=6, frames=3, channels=(1,), stage=stage)
    one, two = converter.open(write_scan(tmp_path, scan)).streams
    np.testing.assert_array_equal(whole(one), scan.values[0::2, :, 0])
    np.testing.assert_array_equal(whole(two), scan.values[1::2, :, 0])
    assert [one.rate_hz, two.rate_hz] == pytest.approx([1 / 0.6] * 2)
    assert two.starting_time_s == pytest.approx(0.518 + 0.3)


def test_a_date_that_can_be_read_in_two_ways_is_absent(tmp_path: Path) -> None:
    assert "session_start_time" not in converter.open(write_scan(tmp_path, Scan(date="04/03/2026 10:11:12"))).facts


def test_the_nwb_objects(tmp_path: Path) -> None:
    options = {"indicator": "GCaMP6s", "location": "VISp"}
    nwbfile = nwb_of(converter.open(write_scan(tmp_path / "raw", VOLUMES), options), 60.0)
    path = tmp_path / "a.nwb"
    write_nwb(nwbfile, path)
    with NWBHDF5IO(path, "r") as io:
        read = io.read()
        assert [*read.acquisition] == ["TwoPhotonSeries_Ch1", "TwoPhotonSeries_Ch2"]
        for i, series in enumerate(read.acquisition.values()):
            np.testing.assert_array_equal(series.data[:], VOLUMES.values[:, :, i].transpose(0, 3, 2, 1))
            assert series.rate == pytest.approx(1 / 0.3)
            assert series.starting_time == pytest.approx(60.518)
            assert series.scan_line_rate == pytest.approx(20000)
            plane = series.imaging_plane
            assert (plane.name, plane.indicator, plane.location) == (f"ImagingPlane_Ch{i + 1}", "GCaMP6s", "VISp")
            assert plane.excitation_lambda == 920
            np.testing.assert_allclose(plane.grid_spacing[:], [0.5e-6, 0.25e-6, 5e-6])
            assert plane.optical_channel[0].name == f"Ch{i + 1}"
            assert math.isnan(plane.optical_channel[0].emission_lambda)
        assert [*read.devices] == ["Lab (BX51)"]


def test_nothing_is_made_up(tmp_path: Path) -> None:
    nwbfile = nwb_of(converter.open(write_scan(tmp_path, Scan(laser_nm=None, microns=False))))
    plane = nwbfile.imaging_planes["ImagingPlane_Ch1"]
    assert math.isnan(plane.excitation_lambda)
    assert plane.grid_spacing is None
    assert (plane.indicator, plane.location) == ("unknown", "unknown")
    source = converter.open(write_scan(tmp_path / "b", Scan(kind="ZSeries", microns=False)))
    assert [n.key for n in source.needs] == ["pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]


def test_every_file_belongs_to_the_scan(tmp_path: Path) -> None:
    path = write_scan(tmp_path, VOLUMES)
    files = {f for f in tmp_path.rglob("*") if f.is_file()}
    assert {converter.claim(f) for f in files} == {path}
    (source,) = look(tmp_path).sources
    assert (source.format, {*source.files}) == ("bruker", files)


def test_voltage_recordings_are_tables(tmp_path: Path) -> None:
    write_scan(tmp_path, VOLUMES)
    name = f"{NAME}_Cycle00001_VoltageRecording_001.csv"
    (tmp_path / name).write_text("Time(ms), In\n0,1\n1,2\n", encoding="utf-8")
    report = look(tmp_path)
    assert name in next(s for s in report.sources if s.format == "bruker").problems[0]
    assert {f.name for s in report.sources if s.format == "table" for f in s.files} | {
        u.path.name for u in report.unknown
    } == {name}


def test_no_other_converter_takes_its_tiffs(tmp_path: Path) -> None:
    write_scan(tmp_path, STACK)
    for file in tmp_path.rglob("*.tif"):
        taken = [c.name for c in available() if (root := c.claim(file)) is not None and c.identify(root)]
        assert taken[0] == "bruker"


def test_without_its_xml_the_reason_is_told(tmp_path: Path) -> None:
    write_scan(tmp_path, Scan()).unlink()
    unknown = {u.path.name: u.reasons for u in look(tmp_path).unknown}
    assert any(f"{NAME}.xml is missing" in r for r in unknown[f"{NAME}_Cycle00001_Ch1_000001.ome.tif"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = write_scan(tmp_path)
    (tmp_path / f"{NAME}_Cycle00001_Ch2_000004.ome.tif").unlink()
    with pytest.raises(BadSource, match="is missing") as caught:
        converter.open(path)
    assert str(caught.value.file).endswith("Ch2_000004.ome.tif")


def test_a_missing_page_is_named(tmp_path: Path) -> None:
    path = write_scan(tmp_path, Scan(pages=True))
    other = write_scan(tmp_path / "b", Scan(pages=True, frames=4))
    file = f"{NAME}_Cycle00001_Ch1_000001.ome.tif"
    (tmp_path / file).write_bytes((other.parent / file).read_bytes())
    with pytest.raises(BadSource, match="has 4 pages, and page 5 is needed") as caught:
        converter.open(path)
    assert caught.value.place == "page 5"


def test_a_frame_of_another_size_is_named(tmp_path: Path) -> None:
    path = write_scan(tmp_path)
    other = write_scan(tmp_path / "b", Scan(height=8))
    file = f"{NAME}_Cycle00001_Ch1_000003.ome.tif"
    (tmp_path / file).write_bytes((other.parent / file).read_bytes())
    with pytest.raises(BadSource, match="8 x 20") as caught:
        converter.open(path)
    assert str(caught.value.file).endswith(file)


def test_a_volume_that_was_not_finished_is_left_out_and_told(tmp_path: Path) -> None:
    scan = Scan(kind="TSeries ZSeries Element", cycles=4, frames=3, last_frames=2)
    source = converter.open(write_scan(tmp_path, scan))
    np.testing.assert_array_equal(whole(source.streams[0]), scan.values[:3, :, 0])
    assert "2 of 3 planes" in source.problems[0]


def test_line_scans_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="line or point scans only"):
        converter.open(write_scan(tmp_path, Scan(kind="Linescan")))


def test_runs_of_different_kinds_are_series_of_their_own(tmp_path: Path) -> None:
    path = write_scan(tmp_path, VOLUMES)
    text = path.read_text(encoding="utf-8-sig")
    parts = text.split("<Sequence ")
    parts[3:] = [p.replace("TSeries ZSeries Element", "TSeries Timed Element") for p in parts[3:]]
    path.write_text("<Sequence ".join(parts), encoding="utf-8-sig")
    source = converter.open(path)
    assert [(s.name, s.shape[:-2]) for s in source.streams] == [
        ("TwoPhotonSeries_Ch1_0", (2, 3)), ("TwoPhotonSeries_Ch2_0", (2, 3)),
        ("TwoPhotonSeries_Ch1_1", (6,)), ("TwoPhotonSeries_Ch2_1", (6,)),
    ]  # fmt: skip
    np.testing.assert_array_equal(whole(source.streams[3]), VOLUMES.values[2:, :, 1].reshape(6, 12, 20))


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_an_xml_that_is_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    path = write_scan(tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(BadSource) as caught:
        converter.open(path)
    assert caught.value.file == str(path)


def test_other_xml_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<?xml version='1.0'?><CellCounter_Marker_File/>", encoding="utf-8")
    (tmp_path / "b.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><PVScan/>', encoding="utf-8")
    assert not converter.identify(tmp_path / "a.xml")
    assert not converter.identify(tmp_path / "b.xml")
    assert not converter.identify(tmp_path)


WRONG = {"unknown": {"rate": 3}, "as": {"as": "movie"}, "nm": {"excitation_nm": "920"}}


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        converter.open(write_scan(tmp_path), options)
    assert caught.value.remedy


def test_long_series_are_read_without_every_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dandify.sources.tiff_series as module

    monkeypatch.setattr(module, "CHECKED_FILES", 4)
    path = write_scan(tmp_path, Scan(channels=(1,)))
    source = converter.open(path)
    np.testing.assert_array_equal(whole(source.streams[0]), Scan(channels=(1,)).values[0, :, 0])
    other = write_scan(tmp_path / "b", Scan(height=8))
    file = f"{NAME}_Cycle00001_Ch1_000003.ome.tif"
    (tmp_path / file).write_bytes((other.parent / file).read_bytes())
    with pytest.raises(BadSource, match="8 x 20"):
        whole(converter.open(path).streams[0])


def test_the_real_stack_is_as_tifffile_reads_it() -> None:
    folder = shared("ophys/bruker_zseries/ZSeries-09092022-1241-1659")
    (source,) = look(folder).sources
    (stream,) = source.streams
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it says that the dates of these files are no dates
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = tifffile.imread(folder / f"{folder.name}_Cycle00001_Ch1_000001.ome.tif")
    np.testing.assert_array_equal(whole(stream), expected)
    assert stream.scale == {"z": 2.0, "y": 0.294698390910515, "x": 0.294698390910515}
    assert source.facts["session_start_time"] == datetime(2022, 9, 9, 16, 27, 33)
    assert len(source.files) == 84
    assert not source.problems
