"""Behaviour videos: kept as files, described by frames, rate and size as an external ImageSeries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.sources import Converter, MemoryArray, Source, Stream, Verdict

# Unset clocks: QuickTime counts from 1904, Unix from 1970, and cameras without a battery begin there.
_UNSET_YEARS = (1904, 1970)
_QUICKTIME_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_END_SLACK_S = 1.0  # writers round, and count the last frame or not
_EBML = bytes.fromhex("1a45dfa3")
_MATROSKA = "matroska,webm"  # PyAV's name
# ASF specification 01.20.03, 3.2: this object states the size of the file behind a file id of 16 bytes.
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


@dataclass(frozen=True)
class _Timing:
    """Frames of a video and when they are shown.

    Attributes
    ----------
    ticks
        Time of every frame in units of `base`, sorted; None where the file states none.
    frames
        Their number.
    base
        Seconds of a tick.
    """

    ticks: NDArray[np.int64] | None
    frames: int
    base: Fraction


class Video(Converter):
    """A video file that PyAV reads."""

    name = "video"
    title = "Video"
    patterns = ("*.mp4", "*.avi", "*.mov", "*.mkv", "*.wmv")
    looks_like = "an .mp4, .avi, .mov, .mkv or .wmv file"
    becomes = "ImageSeries whose frames stay in the video, copied beside the NWB"
    priority = 900  # a microscope or miniscope that records AVI is asked before

    def identify(self, path: Path) -> Verdict:
        """Look at the first bytes: MP4 and QuickTime, AVI, Matroska, or ASF."""
        try:
            with path.open("rb") as file:
                head = file.read(16)
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        kind = _container_of(head)
        return Verdict(True, f"begins as {kind} does") if kind else Verdict(False, "does not begin as a video does")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the container's index, and its packets where that is not enough; no frame is decoded."""
        import av

        path = Path(os.path.abspath(path))
        if options:
            raise BadRequest(f"a video has no option {', '.join(options)}", file=path)
        if (end := stated_end(path)) and end > path.stat().st_size:
            raise BadSource(
                f"is cut off: it says that it has {end} bytes", file=path, place=f"byte {path.stat().st_size}",
                remedy="copy it again from the rig",
            )  # fmt: skip
        try:
            with av.open(str(path)) as container:
                return self._describe(path, container)
        except av.error.FFmpegError as error:
            raise BadSource(
                f"cannot be read as a video: {error.strerror}", file=path,
                remedy="copy it again from the rig; a recording that was not stopped properly ends like this",
            ) from None  # fmt: skip

    def _describe(self, path: Path, container: Any) -> Source:
        if not container.streams.video:
            raise BadSource("has no video stream", file=path)
        stream = container.streams.video[0]
        if not stream.width or not stream.height:
            raise BadSource("states no picture size", file=path)
        problems = []
        if len(container.streams.video) > 1:
            problems.append(f"has {len(container.streams.video)} video streams; the first is described")
        timing = _timing(container, stream)
        if not timing.frames:
            raise BadSource("holds no frame", file=path)
        if stream.frames and stream.frames != timing.frames:
            problems.append(f"states {stream.frames} frames and holds {timing.frames}")
        if (shown := _shown_s(timing)) and shown < _stated_s(container) - _END_SLACK_S:
            raise BadSource(
                f"is cut off: it says that it lasts {_stated_s(container):.3f} s, and its frames end at {shown:.3f} s",
                file=path, remedy="copy it again from the rig",
            )  # fmt: skip
        rate = regular_rate(timing.ticks, timing.base, (stream.average_rate, stream.guessed_rate))
        if timing.ticks is None and rate is None:
            raise BadSource("states no time and no rate of its frames", file=path)
        if rate is None:
            problems.append("has a variable frame rate: each frame gets its own time")
        facts: dict[str, Any] = {"codec": stream.codec_context.name}
        if created := _creation_time(container.metadata.get("creation_time")):
            facts["creation_time"] = created
        return Source(
            format=self.name,
            path=path,
            files=(path,),
            streams=(
                Stream(
                    name=path.stem,
                    kind="ImageSeries",
                    axes=("t", "y", "x", "c"),
                    shape=(timing.frames, stream.height, stream.width, _colours(stream)),
                    rate_hz=None if rate is None else float(rate),
                    timestamps=None if rate is not None else _seconds(timing),
                    external_files=(path,),
                    description=f"video {path.name}",
                ),
            ),
            facts=facts,
            problems=tuple(problems),
        )


def regular_rate(
    ticks: NDArray[np.int64] | None, base: Fraction, stated: tuple[Fraction | None, ...]
) -> Fraction | None:
    """Return the frame rate in hertz if the frames keep it, else None.

    Parameters
    ----------
    ticks
        Times of the frames, (frames,), sorted; None where there are none, then the first stated rate counts.
    base
        Seconds of a tick.
    stated
        Rates that the container states.
    """
    candidates = [rate for rate in stated if rate]
    if ticks is None or len(ticks) < 2:
        return candidates[0] if candidates else None
    span = int(ticks[-1] - ticks[0])
    if span > 0:
        candidates.append((len(ticks) - 1) / (span * base))
    count = np.arange(len(ticks))
    for rate in candidates:
        period = 1 / (rate * base)
        # Containers round times to ticks. Where a tick is nearly a frame, a shift by one is a lost frame.
        if np.abs(ticks - ticks[0] - count * float(period)).max() <= min(1.0, 0.4 * float(period)):
            return rate
    return None


def stated_end(path: Path) -> int | None:
    """Return the byte at which an MP4, QuickTime, AVI or ASF file ends by what it says itself; None for others.

    ISO/IEC 14496-12, 4.2 (32-bit size, then type; 1: a 64-bit size follows; 0: up to the end), and RIFF.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            length = int.from_bytes(head[4:8], "little")
            return None if length in (0, 2**32 - 1) else 8 + length  # a recorder that crashed leaves such sizes
        if head == _ASF_HEADER[:12]:
            _, _, properties = file.read(2**16).partition(_ASF_FILE_PROPERTIES)
            return int.from_bytes(properties[24:32], "little") or None  # 0 in what was streamed live
        if head[4:8] not in _QUICKTIME_ATOMS:
            return None
        end = 0
        while end < size:
            file.seek(end)
            head = file.read(16)
            if not any(head):
                return size  # padding
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length == 0:
                return size
            if length < 8:
                raise BadSource("is damaged: a part of it has an impossible size", file=path, place=f"byte {end}")
            end += length
        return end


def _timing(container: Any, stream: Any) -> _Timing:
    """Find the times of the frames: from the index if it is whole and regular, else from the packets."""
    entries = [(e.timestamp, e.is_discard) for e in stream.index_entries]
    if entries and len(entries) == stream.frames:
        # The index has the times of decoding: regular if those of showing are, but not the same otherwise.
        ticks = np.array([time for time, _ in entries], np.int64)
        regular = regular_rate(ticks, stream.time_base, (stream.average_rate, stream.guessed_rate)) is not None
        if regular and not any(discard for _, discard in entries):
            return _Timing(ticks, len(entries), stream.time_base)
    shown = []
    count = 0
    for packet in container.demux(stream):
        if packet.size and not packet.is_discard:
            count += 1
            time = packet.dts if packet.pts is None else packet.pts
            if time is not None:
                shown.append(time)
    ticks = np.sort(np.array(shown, np.int64))
    return _Timing(ticks if len(ticks) == count else None, count, stream.time_base)


def _shown_s(timing: _Timing) -> float:
    """Return the time of the last frame in seconds; 0 where it is not known."""
    return 0.0 if timing.ticks is None else float(timing.ticks[-1] * timing.base)


def _stated_s(container: Any) -> float:
    """Return the length that a Matroska file of pictures alone states in seconds; 0 for others.

    Its header states a length, but no number of frames and no end.
    """
    alone = len(container.streams) == 1 and container.duration is not None
    return container.duration / 1e6 if alone and container.format.name == _MATROSKA else 0.0  # microseconds


def _seconds(timing: _Timing) -> MemoryArray:
    """Return the times of the frames in seconds after the first, (frames,) float64."""
    assert timing.ticks is not None
    return MemoryArray((timing.ticks - timing.ticks[0]) * float(timing.base))


def _colours(stream: Any) -> int:
    """Colours of a picture: a palette has one component and shows three."""
    picture = stream.codec_context.format
    if picture is None or picture.name == "pal8":
        return 3
    return len(picture.components)


def _container_of(head: bytes) -> str | None:
    if head[4:8] in _QUICKTIME_ATOMS:
        return "MP4 or QuickTime"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    if head[:4] == _EBML:
        return "Matroska"
    if head == _ASF_HEADER:
        return "ASF (Windows Media)"
    return None


def _creation_time(text: str | None) -> datetime | None:
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return None if when.year in _UNSET_YEARS else when


converter = Video()
