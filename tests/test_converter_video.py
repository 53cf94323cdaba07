"""Videos: frames, rate and size as the decoder finds them, and damage that is heard."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dandify.errors import BadRequest, BadSource
from dandify.examples.behaviour import write_video
from dandify.sources.registry import by_name
from shared_data import shared

converter = by_name("video")

# Of the catalogue, found with OpenCV: frames, rate in hertz, (height, width).
OPENCV = {
    "behavior/video_mp4/test_video_in_dir/clip.mp4": (501, 501.002, (540, 720)),
    "behavior/lightningpose/videos/test_vid.mp4": (994, 250.0, (406, 396)),
    "behavior/sleap/tracks/clip.mp4": (1500, 25.0, (1024, 1024)),
    "behavior/sleap/videos/centered_pair_small.mp4": (1100, 15.0, (384, 384)),
    "behavior/sleap/videos/dance.mp4": (450, 30.0, (720, 406)),
    "behavior/sleap/videos/small_robot.mp4": (166, 30.0, (320, 560)),
    "behavior/sleap/videos/small_robot_3_frame.mp4": (3, 10.0, (320, 560)),
    "ophys/miniscope_avi/stream_daq_test_output_200px.avi": (94, 20.0, (200, 200)),
}

CONTAINERS = {
    "mp4": ("mp4", "libx264"), "mov": ("mov", "libx264"), "avi": ("avi", "mpeg4"), "mkv": ("matroska", "libx264"),
    "wmv": ("asf", "wmv2"),
}  # fmt: skip


def make(path: Path, *, container: str, codec: str, ticks: Sequence[int], base: Fraction = Fraction(1, 30)) -> Path:
    """Write a video with a frame at each tick."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=1 / base)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = base
        for i, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), 8 * i % 256, np.uint8), format="gray")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = tick, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def decoded_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


@pytest.mark.parametrize(("name", "expected"), OPENCV.items(), ids=[Path(n).name for n in OPENCV])
def test_real_videos_are_as_opencv_says(name: str, expected: tuple[int, float, tuple[int, int]]) -> None:
    path = shared(name)
    assert converter.identify(path)
    source = converter.open(path)
    (stream,) = source.streams
    frames, rate_hz, size = expected
    assert stream.shape[:3] == (frames, *size)
    assert stream.rate_hz == pytest.approx(rate_hz, abs=5e-4)
    assert stream.external_files == (path,)
    assert not source.problems


def test_frames_and_times_are_those_of_the_decoder() -> None:
    path = shared("behavior/video_mp4/test_video_in_dir/clip.mp4")
    (stream,) = converter.open(path).streams
    times = decoded_times(path)
    assert stream.shape[0] == len(times) == 501
    assert stream.rate_hz is not None
    np.testing.assert_allclose(np.array(times) - times[0], np.arange(501) / stream.rate_hz, atol=4e-6)


def test_a_creation_time_is_a_fact_and_no_start_of_the_session() -> None:
    source = converter.open(shared("behavior/sleap/videos/dance.mp4"))
    assert source.facts["creation_time"].isoformat() == "2021-12-13T19:27:54+00:00"
    assert source.facts["codec"] == "h264"
    assert "session_start_time" not in source.facts


@pytest.mark.parametrize(("suffix", "container"), CONTAINERS.items(), ids=CONTAINERS)
def test_every_container_is_known_and_counted(tmp_path: Path, suffix: str, container: tuple[str, str]) -> None:
    path = make(tmp_path / f"x.{suffix}", container=container[0], codec=container[1], ticks=range(20))
    assert converter.claim(tmp_path / f"X.{suffix.upper()}") is not None
    assert converter.identify(path)
    (stream,) = converter.open(path).streams
    assert stream.shape == (20, 48, 64, 3)
    assert stream.rate_hz == pytest.approx(30)
    assert stream.timestamps is None


IRREGULAR = {
    "mp4-gap": ("mp4", "libx264", [0, 1, 2, 5, 6, 7, 8]),
    "mkv-gap": ("matroska", "libx264", [0, 1, 2, 5, 6, 7, 8]),
    "mp4-b-frames": ("mp4", "libx264", [i + (i > 20) * 7 + (i > 30) * 3 for i in range(60)]),
}


@pytest.mark.parametrize(("container", "codec", "ticks"), IRREGULAR.values(), ids=IRREGULAR)
def test_irregular_frames_keep_their_times(tmp_path: Path, container: str, codec: str, ticks: list[int]) -> None:
    path = make(tmp_path / "x.mp4", container=container, codec=codec, ticks=ticks)
    source = converter.open(path)
    (stream,) = source.streams
    assert stream.rate_hz is None
    assert stream.timestamps is not None
    np.testing.assert_allclose(stream.timestamps[:], np.array(ticks) / 30, atol=1.1e-3)
    np.testing.assert_allclose(stream.timestamps[:], decoded_times(path), atol=1e-9)
    assert "variable frame rate" in source.problems[0]
    assert len(pickle.loads(pickle.dumps(source)).streams[0].timestamps) == len(ticks)


def test_rounding_to_milliseconds_is_no_variable_rate(tmp_path: Path) -> None:
    base = Fraction(1001, 30000)  # 29.97 Hz in a container that counts milliseconds
    path = make(tmp_path / "x.mkv", container="matroska", codec="libx264", ticks=range(200), base=base)
    (stream,) = converter.open(path).streams
    assert stream.rate_hz == pytest.approx(30000 / 1001, rel=1e-4)


JUNK = {
    "empty": b"",
    "short": b"\0\0\0",
    "text": b"start_time,stop_time\n1,2\n",
    "wav": b"RIFF\x24\0\0\0WAVEfmt ",
    "tiff": b"II*\0\x08\0\0\0" + bytes(16),
}


@pytest.mark.parametrize("content", JUNK.values(), ids=JUNK)
def test_junk_is_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    assert not converter.identify(path)
    assert not converter.identify(tmp_path)
    assert not converter.identify(tmp_path / "absent.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "mov", "avi", "wmv"])
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_video_that_is_cut_off_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    container, codec = CONTAINERS[suffix]
    path = make(tmp_path / f"x.{suffix}", container=container, codec=codec, ticks=range(40))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(BadSource, match="cut off") as caught:
        converter.open(path)
    assert caught.value.file == str(path)
    assert caught.value.remedy


def test_a_video_that_ends_before_its_stated_length_is_refused(tmp_path: Path) -> None:
    container, codec = CONTAINERS["mkv"]
    path = make(tmp_path / "x.mkv", container=container, codec=codec, ticks=range(300))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadSource, match="cut off: it says that it lasts 10"):
        converter.open(path)


DAMAGED = {
    "no-index": (b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\x10mdat" + bytes(8), "cannot be read as a video"),
    "impossible-size": (b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\x03mdat" + bytes(8), "impossible size"),
    "matroska": (bytes.fromhex("1a45dfa3") + bytes(200), "cannot be read as a video"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_video_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(BadSource, match=message):
        converter.open(path)


def test_sound_without_pictures_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with pytest.raises(BadSource, match="no video stream"):
        converter.open(path)


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="rate_hz"):
        converter.open(write_video(tmp_path / "x.mp4", seed=1, seconds=0.2), {"rate_hz": 5})


def test_the_example_video_is_the_same_every_time(tmp_path: Path) -> None:
    one, two = (write_video(tmp_path / f"{n}.mp4", seed=3, seconds=0.5, size=(64, 48)) for n in "ab")
    assert one.read_bytes() == two.read_bytes()
    (stream,) = converter.open(one).streams
    assert (stream.shape, stream.rate_hz) == ((15, 48, 64, 3), 30.0)
    assert len(decoded_times(one)) == 15


def test_knowing_a_video_does_not_load_the_decoder(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mp4", seed=1, seconds=0.1)
    code = (
        "import sys; from pathlib import Path; from dandify.sources.registry import by_name\n"
        f"assert by_name('video').identify(Path({str(path)!r}))\nassert 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
