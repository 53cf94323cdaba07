"""ScanImage: values as tifffile reads them, the order of pages, times, what is stated, NWB, damage that is heard."""

from __future__ import annotations

import gzip
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile

from dandify.errors import BadRequest, BadSource
from dandify.nwb.write import write_nwb
from dandify.project.scan import scan
from dandify.runs.convert import convert
from dandify.sources import NWBSource, Stream
from dandify.sources.registry import available, by_name
from dandify.sources.vendors.scanimage_header import Settings, frame_info
from scanimage_maker import Recording, write_pages, write_recording, write_split
from shared_data import shared
from tiff_makers import write_plain, write_planes

converter = by_name("scanimage")

PLANAR = Recording()
FAST = Recording(volumes=4, slices=3, flyback=1)
SLOW = Recording(volumes=1, slices=5, repeats=2)
STACK = Recording(volumes=1, slices=5, channels=(1,))


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


SERIES: dict[str, Recording] = {
    "planar": PLANAR, "one-channel": Recording(channels=(2,)), "fast-z": FAST, "unsigned": Recording(dtype="uint16"),
    "volumes": Recording(volumes=3, slices=4), "slow-z": SLOW,
    "slow-z-volumes": Recording(volumes=2, slices=3, repeats=2, channels=(1,)),
}  # fmt: skip


@pytest.mark.parametrize("recording", SERIES.values(), ids=SERIES)
def test_movies_are_a_series_for_each_channel(tmp_path: Path, recording: Recording) -> None:
    path = write_recording(tmp_path / "m1_00001.tif", recording)
    assert converter.identify(path)
    source = converter.open(path)
    assert len(source.streams) == len(recording.channels)
    deep = recording.slices > 1
    for i, stream in enumerate(source.streams):
        expected = recording.values[:, :, :, i].swapaxes(1, 2)  # volume, repeat, slice
        expected = expected.reshape(-1, *expected.shape[2:])
        np.testing.assert_array_equal(whole(stream), expected if deep else expected[:, 0])
        assert stream.axes == tuple("tzyx" if deep else "tyx")
        assert stream.kind == "TwoPhotonSeries"


def test_pages_are_those_of_tifffile(tmp_path: Path) -> None:
    """Its own reader of ScanImage's metadata knows the made file, and pages are where it finds them."""
    path = write_recording(tmp_path / "m1_00001.tif", FAST)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_scanimage
        stated = tif.scanimage_metadata["FrameData"]
        assert np.ravel(stated["SI.hChannels.channelSave"]).tolist() == [1, 3]
        assert stated["SI.hStackManager.numSlices"] == 3
        pages = tif.asarray().reshape(-1, FAST.height, FAST.width)
    streams = converter.open(path).streams
    cycle = (FAST.slices + FAST.flyback) * 2
    for t, c, z in ((0, 0, 0), (1, 1, 2), (3, 0, 1)):
        np.testing.assert_array_equal(whole(streams[c])[t, z], pages[t * cycle + z * 2 + c])


def test_a_single_stack_is_an_image(tmp_path: Path) -> None:
    source = converter.open(write_recording(tmp_path / "stack_00001.tif", STACK))
    (stream,) = source.streams
    assert (stream.kind, stream.name, stream.axes) == ("Image", "stack_00001", ("z", "y", "x"))
    np.testing.assert_array_equal(whole(stream), STACK.values[0, :, 0, 0])
    assert stream.scale == {"z": 2.0, "y": 16.875, "x": 16.875}
    assert not source.needs


def test_either_can_be_asked_for(tmp_path: Path) -> None:
    stack = write_recording(tmp_path / "a_00001.tif", STACK)
    movie = write_recording(tmp_path / "b_00001.tif", FAST)
    (one,) = converter.open(stack, {"as": "series"}).streams
    assert (one.kind, one.axes, one.shape) == ("TwoPhotonSeries", ("t", "z", "y", "x"), (1, 5, 8, 16))
    np.testing.assert_array_equal(whole(one)[0], STACK.values[0, :, 0, 0])
    assert one.timestamps is not None
    (image,) = converter.open(movie, {"as": "image"}).streams
    assert (image.kind, image.axes) == ("Image", ("t", "c", "z", "y", "x"))
    np.testing.assert_array_equal(whole(image), FAST.values[:, :, 0].swapaxes(1, 2))
    assert image.scale["t"] == pytest.approx(4 * FAST.period_s)


@pytest.mark.parametrize("parts", [(4, 4, 4), (5, 7), (1, 11)], ids=str)
def test_a_recording_in_several_files_is_one(tmp_path: Path, parts: tuple[int, ...]) -> None:
    """Files end where they are full, in the midst of a frame's channels too."""
    path = write_split(tmp_path, PLANAR, parts)
    for file in tmp_path.iterdir():
        assert converter.claim(file) == path
    (source,) = scan(tmp_path).sources
    assert len(source.files) == len(parts)
    np.testing.assert_array_equal(whole(source.streams[1]), PLANAR.values[:, 0, 0, 1])
    assert source.streams[0].rate_hz == pytest.approx(1 / PLANAR.period_s)


def test_files_of_names_alike_that_do_not_go_on_are_runs_of_their_own(tmp_path: Path) -> None:
    for number, epoch in ((1, "[2025 4 25 17 12 48]"), (2, "[2025 4 25 17 13 48.5]")):
        texts = [PLANAR.describe(i, acquisition=number, epoch=epoch) for i in range(12)]
        write_pages(tmp_path / f"mouse_00007_{number:05d}.tif", PLANAR, PLANAR.pages, texts)
    source = converter.open(tmp_path / "mouse_00007_00001.tif")
    assert [(s.name, s.shape[0], s.starting_time_s) for s in source.streams] == [
        ("TwoPhotonSeries_Channel_1_0", 6, 0.0), ("TwoPhotonSeries_red_s_0", 6, 0.0),
        ("TwoPhotonSeries_Channel_1_1", 6, 60.5), ("TwoPhotonSeries_red_s_1", 6, 60.5),
    ]  # fmt: skip


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    path = write_split(tmp_path, PLANAR, (4, 4, 4))
    (tmp_path / "m1_00001_00002.tif").unlink()
    with pytest.raises(BadSource, match=r"m1_00001_00003\.tif is there") as caught:
        converter.open(path)
    assert str(caught.value.file).endswith("m1_00001_00002.tif")
    path.unlink()
    assert "m1_00001_00001.tif" in converter.identify(path).reason


def test_the_rate_is_that_of_the_times_not_of_the_settings(tmp_path: Path) -> None:
    (stream,) = converter.open(write_recording(tmp_path / "a.tif", Recording(channels=(1,)))).streams
    assert stream.rate_hz == pytest.approx(1 / 0.0171826, rel=1e-6)
    assert stream.rate_hz != pytest.approx(58.2634, rel=1e-4)
    unstamped = converter.open(write_recording(tmp_path / "b.tif", Recording(stamped=False))).streams[0]
    assert unstamped.rate_hz == 58.2634


def test_pauses_are_kept(tmp_path: Path) -> None:
    recording = Recording(channels=(1,), pause_s=5.0)
    (stream,) = converter.open(write_recording(tmp_path / "a.tif", recording)).streams
    assert stream.rate_hz is None
    assert stream.timestamps is not None
    np.testing.assert_allclose(stream.timestamps[:], [recording.time_s(i) for i in range(6)])


def test_what_the_files_state(tmp_path: Path) -> None:
    facts = dict(converter.open(write_recording(tmp_path / "a.tif", FAST)).facts)
    assert facts.pop("time_increment_s") == pytest.approx(4 * FAST.period_s)
    assert facts == {
        "session_start_time": datetime(2025, 4, 25, 17, 12, 48, 213000), "software": "ScanImage 2022.1.0",
        "pixel_size_um": {"z": 2.0, "y": 16.875, "x": 16.875}, "channel_names": ("Channel 1", "red's"),
    }  # fmt: skip


UNSTATED: dict[str, tuple[Recording, dict[str, float]]] = {
    "no-field": (Recording(without=("SI.hRoiManager.imagingFovUm",), volumes=1), {}),
    "regions": (Recording(more={"SI.hRoiManager.mroiEnable": "true"}, volumes=1), {}),
    "another-size": (Recording(more={"SI.hRoiManager.linesPerFrame": "512"}, volumes=1), {}),
    "slices-unequal": (
        Recording(slices=3, more={"SI.hStackManager.zs": "[0 5 20]"}, volumes=1), {"y": 16.875, "x": 16.875}
    ),
    "slices": (
        Recording(slices=3, more={"SI.hStackManager.zs": "[0 -5 -10]"}, volumes=1), {"z": 5.0, "y": 16.875, "x": 16.875}
    ),
    "step-zero": (Recording(slices=3, step_um=0, volumes=1), {"y": 16.875, "x": 16.875}),
}  # fmt: skip


@pytest.mark.parametrize(("recording", "scale"), UNSTATED.values(), ids=UNSTATED)
def test_sizes_that_are_not_stated_are_asked_for(tmp_path: Path, recording: Recording, scale: dict[str, float]) -> None:
    source = converter.open(write_recording(tmp_path / "a.tif", recording))
    (stream,) = source.streams
    assert stream.scale == scale
    assert [n.key for n in source.needs] == [
        f"pixel_size_um.{a}" for a in stream.axes if a in "zyx" and a not in scale
    ]  # fmt: skip


def test_the_nwb_objects(tmp_path: Path) -> None:
    options = {"indicator": "GCaMP6f", "location": "VISp", "excitation_nm": 920}
    source = converter.open(write_recording(tmp_path / "m1_00001.tif", FAST), options)
    assert isinstance(source, NWBSource)
    nwbfile = NWBFile("d", "i", datetime(2025, 4, 25, tzinfo=UTC))
    source.add_to_nwbfile(nwbfile, shift_s=60.0)
    write_nwb(nwbfile, tmp_path / "a.nwb")
    with NWBHDF5IO(tmp_path / "a.nwb", "r") as io:
        read = io.read()
        assert [*read.acquisition] == ["TwoPhotonSeries_Channel_1", "TwoPhotonSeries_red_s"]
        for i, series in enumerate(read.acquisition.values()):
            np.testing.assert_array_equal(series.data[:], FAST.values[:, :, 0, i].transpose(0, 3, 2, 1))
            assert series.rate == pytest.approx(1 / (4 * FAST.period_s))
            assert series.starting_time == 60.0
            assert series.scan_line_rate == pytest.approx(1 / 6.31009e-05)
            plane = series.imaging_plane
            assert (plane.indicator, plane.location, plane.excitation_lambda) == ("GCaMP6f", "VISp", 920)
            np.testing.assert_allclose(plane.grid_spacing[:], [16.875e-6, 16.875e-6, 2e-6])
            assert math.isnan(plane.optical_channel[0].emission_lambda)
        assert "ScanImage 2022.1.0, scanner ResScan" in read.devices["ScanImage microscope"].description


def test_a_session_of_a_movie_and_a_stack(tmp_path: Path) -> None:
    """As `templates/two_photon.yaml` says it: what is not in the files comes from there."""
    write_split(tmp_path / "raw", PLANAR, (6, 6), "movie_00001")
    write_recording(tmp_path / "raw" / "stack_00001.tif", STACK)
    write_recording(tmp_path / "raw" / "atlas_00001.tif", FAST)
    (tmp_path / "dandify.yaml").write_text(
        """
metadata: {timezone: Europe/Berlin}
subjects: {m1: {species: Mus musculus, sex: F, age: P90D}}
sessions:
  - subject_id: m1
    session_id: s1
    sources:
      - {path: raw/movie_00001_00001.tif, options: {indicator: GCaMP6s, location: VISp, excitation_nm: 920}}
      - raw/stack_00001.tif
      - {path: raw/atlas_00001.tif, options: {as: image}}
""",
        encoding="utf-8",
    )
    (session,) = convert(config=tmp_path / "dandify.yaml", out=tmp_path / "out").sessions
    assert [o.name for o in session.plan.outputs] == [
        "sub-m1_ses-s1.nwb", "sub-m1_ses-s1_stack00001.ome.zarr", "sub-m1_ses-s1_atlas00001.ome.zarr"
    ]  # fmt: skip
    with NWBHDF5IO(session.plan.outputs[0], "r") as io:
        read = io.read()
        assert {p.indicator for p in read.imaging_planes.values()} == {"GCaMP6s"}
        assert read.session_start_time.isoformat() == "2025-04-25T17:12:48.213000+02:00"
        np.testing.assert_array_equal(
            read.acquisition["TwoPhotonSeries_Channel_1"].data[:], PLANAR.values[:, 0, 0, 0].swapaxes(1, 2)
        )


def test_a_volume_that_was_not_finished_is_left_out_and_told(tmp_path: Path) -> None:
    source = converter.open(write_recording(tmp_path / "a.tif", FAST, count=3 * 8 + 4))
    np.testing.assert_array_equal(whole(source.streams[0]), FAST.values[:3, :, 0, 0])
    assert "4 of 6 pages" in source.problems[0]
    whole_without_way_back = converter.open(write_recording(tmp_path / "b.tif", FAST, count=4 * 8 - 2))
    assert whole_without_way_back.streams[0].shape[0] == 4
    assert not whole_without_way_back.problems
    with pytest.raises(BadSource, match="has 4 pages, a volume has 6"):
        converter.open(write_recording(tmp_path / "c.tif", FAST, count=4))


@pytest.mark.parametrize("kept", [0.0, 0.05, 0.3, 0.7, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    path = write_recording(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(BadSource) as caught:
        converter.open(path)
    assert caught.value.file == str(path)


def test_a_page_of_another_size_is_named(tmp_path: Path) -> None:
    pages = PLANAR.pages
    pages[5] = np.zeros((4, 16), "int16")
    path = write_pages(tmp_path / "a.tif", PLANAR, pages, [PLANAR.describe(i) for i in range(12)])
    with pytest.raises(BadSource, match=r"page 6 of 12 has 4 x 16") as caught:
        converter.open(path)
    assert caught.value.place == "page 6"


def test_settings_without_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="channelSave"):
        converter.open(write_recording(tmp_path / "a.tif", Recording(without=("SI.hChannels.channelSave",))))


def test_a_folder_of_planes_stays_one_question() -> None:
    """It is asked about every TIFF: so it must come behind the converter that takes thousands at once."""
    names = [c.name for c in available()]
    assert names.index("planes") < names.index("scanimage") < names.index("ome_tiff")


def test_only_it_takes_its_files(tmp_path: Path) -> None:
    write_recording(tmp_path / "a_00001.tif")
    write_split(tmp_path / "b", PLANAR, (6, 6))
    for file in tmp_path.rglob("*.tif"):
        assert [c.name for c in available() if (root := c.claim(file)) is not None and c.identify(root)] == [
            "scanimage"
        ]  # fmt: skip


def test_other_tiffs_are_left(tmp_path: Path) -> None:
    assert not converter.identify(write_plain(tmp_path / "a.tif", (8, 9)))
    old = write_plain(tmp_path / "b.tif", (8, 9), description="state.configName='x'\rstate.acq.frameRate=4")
    assert "ScanImage 4 or older" in converter.identify(old).reason
    folder = write_planes(tmp_path / "m_00001_00001", stem="m_00001_")
    assert [s.format for s in scan(folder).sources] == ["planes"]


def test_settings_in_the_descriptions_of_version_5_0(tmp_path: Path) -> None:
    text = "".join(f"scanimage.{k} = {v}\n" for k, v in Recording(volumes=1, channels=(1,)).settings.items())
    path = write_plain(tmp_path / "a.tif", (8, 16), dtype="int16", description=text)
    assert converter.identify(path)
    assert converter.open(path).streams[0].scale == {"y": 16.875, "x": 16.875}


WRONG = {"unknown": {"rate": 3}, "as": {"as": "movie"}, "nm": {"excitation_nm": 9}}


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        converter.open(write_recording(tmp_path / "a.tif"), options)
    assert caught.value.remedy


NOTATION: dict[str, tuple[str, list[float]]] = {
    "scalar": ("21", [21.0]), "negative": ("-4.5e-05", [-4.5e-05]), "row": ("[15 0]", [15.0, 0.0]),
    "column": ("[1;3]", [1.0, 3.0]), "matrix": ("[-9 -4.5;9 4.5]", [-9.0, -4.5, 9.0, 4.5]), "empty": ("[]", []),
    "inf": ("Inf", [math.inf]), "text": ("'sawtooth 2'", []), "call": ("zeros(1,0)", []), "true": ("true", []),
    "cell": ("{14 14}", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "numbers"), NOTATION.values(), ids=NOTATION)
def test_numbers_in_the_notation_of_matlab(text: str, numbers: list[float]) -> None:
    settings = Settings({"SI.a": text})
    assert settings.numbers("a") == numbers
    assert settings.number("a") == (numbers[0] if len(numbers) == 1 and math.isfinite(numbers[0]) else None)


def test_the_real_metadata_of_a_bergamo(tmp_path: Path) -> None:
    """Settings and frame descriptions of a real file, whose pixels are not there, around small pages of our own."""
    content = json.loads(
        gzip.decompress(shared("ophys/scanimage_metadata_bergamo/reader_response.json.gz").read_bytes())
    )
    descriptions = content["descriptions"]
    infos = [frame_info(text) for text in descriptions]
    assert [i.number for i in infos] == list(range(1, 1467))
    assert infos[-1].time_s == 25.172824185
    settings = dict(
        line.split(" = ", 1) for line in content["metadata"].split("\n\n", 1)[0].splitlines() if " = " in line
    )
    recording = Recording(channels=(1,), height=256, width=512, more=settings)
    pages = [np.full((256, 512), i, "int16") for i in range(40)]
    path = write_pages(tmp_path / "a_00001.tif", recording, pages, descriptions[:40])
    source = converter.open(path)
    (stream,) = source.streams
    assert stream.shape == (40, 256, 512)
    assert stream.rate_hz == pytest.approx(39 / (infos[39].time_s or 0))
    assert stream.scale == {"y": 0.52734375, "x": 0.52734375}
    assert source.facts["session_start_time"] == datetime(2025, 4, 25, 17, 12, 48, 213000)
    assert source.facts["channel_names"] == ("Channel 1",)
    assert source.facts["software"] == "ScanImage 2022.1.0"
