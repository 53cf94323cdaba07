"""Nikon ND2: each position of the stage is an image; nd2 reads what is said, the pixels are read here."""

from __future__ import annotations

import math
import os
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from struct import error as StructError
from types import MappingProxyType
from typing import Any

import numpy as np

from dandify.errors import BadRequest, BadSource, DandifyError
from dandify.sources import Channel, Converter, Source, Stream, Verdict
from dandify.sources.microscopy import ImageSource, kept_axes, needs_of, seconds
from dandify.sources.stated import colours_of_pixels, objective_in_words, positive, regular_step, times_of
from dandify.sources.vendors.nd2_frames import FIRST, JPEG_2000, SIGNATURE, Nd2Frames, places_of_planes

# Loops of the acquisition that are axes; each value of the others is an image.
_AXES = {"TimeLoop": "t", "NETimeLoop": "t", "ZStackLoop": "z"}
_APART = {"XYPosLoop": "position", "CustomLoop": "loop"}
_FIRST_DAY = 2440587.5  # Julian day of 1970-01-01, 0 h UTC
# What nd2 raises of metadata that it does not understand.
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, NameError, OSError, NotImplementedError,
               RecursionError, ArithmeticError, MemoryError, StructError, zlib.error)  # fmt: skip
_TIMED = 1000  # time points of which the times are looked at
_SAVE = "open it in NIS-Elements and save it as a new ND2 without lossy compression"


@dataclass(frozen=True)
class _Said:
    """What nd2 reads of a file: attributes, channels, loops, text, its first frame, and times of the time points."""

    attributes: Any
    channels: Sequence[Any]
    loops: Sequence[Any]
    text: Mapping[str, str]
    first: Any
    times: Sequence[float]


class NikonNd2(Converter):
    """Nikon ND2."""

    name = "nd2"
    title = "Nikon ND2"
    patterns = ("*.nd2",)
    looks_like = "a .nd2 file of NIS-Elements"
    becomes = "an OME-Zarr image for each position of the stage"

    def identify(self, path: Path) -> Verdict:
        """Look at the first chunk."""
        if not path.is_file():
            return Verdict(False, "no file")
        try:
            with path.open("rb") as file:
                head = file.read(48)
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        if head.startswith(FIRST) and head[16:] == SIGNATURE:
            return Verdict(True, "begins with the signature of ND2")
        if head.startswith(JPEG_2000):
            return Verdict(True, "is an ND2 of the time when it was JPEG 2000")
        return Verdict(False, "does not begin with the signature of ND2")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read what is said, and the map of the planes; no pixels."""
        path = Path(os.path.abspath(path))
        if options:
            raise BadRequest(f"an ND2 has no option {', '.join(options)}", file=path)
        _require_readable(path)
        places = places_of_planes(path)
        said = _said(path, places)
        streams = _streams(path, said, places)
        facts = _facts(said, streams)
        if stages := _stages(said, [s.name for s in streams]):
            facts["stage_position_um"] = stages
        return ImageSource(
            format=self.name, path=path, files=(path,), streams=tuple(streams), facts=facts,
            needs=needs_of(streams, path), axes_stated=True,
        )  # fmt: skip


def _require_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            old = file.read(8) == JPEG_2000
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
    if old:
        raise BadSource("is an ND2 of NIS-Elements before 3.0, made of JPEG 2000", file=path, remedy=_SAVE)


def _said(path: Path, places: Mapping[int, int]) -> _Said:
    try:
        import nd2
    except ImportError as error:
        raise DandifyError(
            f"ND2 is read with the package nd2, which cannot be imported: {error}", file=path,
            remedy="pip install nd2",
        ) from None  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of chunks that are absent: what is not there is not stated
            with nd2.ND2File(path) as file:
                said = _Said(
                    file.attributes, getattr(file.metadata, "channels", None) or (), tuple(file.experiment),
                    {k: str(v) for k, v in file.text_info.items()}, *_first(file, places),
                )  # fmt: skip
    except _UNREADABLE as error:
        cause = str(error).strip().splitlines()
        raise BadSource(
            f"has metadata that cannot be read: {cause[0] if cause else type(error).__name__}", file=path,
            place="metadata", remedy=_SAVE,
        ) from None  # fmt: skip
    if said.attributes.compressionType == "lossy":
        raise BadSource("has planes in lossy compression", file=path, remedy=_SAVE)
    return said


def _first(file: Any, places: Mapping[int, int]) -> tuple[Any, list[float]]:
    """Return time and place of the first frame, None if the file has no times; and the times of all time points."""
    loops = list(file.experiment)
    counts = [int(loop.count) for loop in loops]
    if math.prod(counts) > len(places):  # nd2 would list what is not there
        return None, []
    over_time = next((i for i, loop in enumerate(loops) if _AXES.get(loop.type) == "t"), None)
    points = 0 if over_time is None else counts[over_time]
    step = 0 if over_time is None else math.prod(counts[over_time + 1 :])
    frames = [n * step for n in range(points)]
    try:
        first = file.frame_metadata(0).channels[0]
        times = [file.frame_metadata(i).channels[0].time.relativeTimeMs / 1000 for i in frames[:_TIMED]]
    except _UNREADABLE:
        return None, []
    return first, times


def _streams(path: Path, said: _Said, places: Mapping[int, int]) -> list[Stream]:
    """Make an image of each position."""
    for kind in {loop.type for loop in said.loops}:
        if kind not in _AXES and kind not in _APART:
            raise BadSource(f"has a loop of type {kind}", file=path, place="metadata")
    counts = [int(loop.count) for loop in said.loops]
    letters = [_AXES.get(loop.type, "") for loop in said.loops]
    if any(letters.count(a) > 1 for a in "tz"):
        raise BadSource("has two loops along the same axis", file=path, place="metadata", remedy=_SAVE)
    _require_planes(path, said, letters, counts, places)
    apart = [i for i, letter in enumerate(letters) if not letter]
    lengths = {letter: n for letter, n in zip(letters, counts, strict=True) if letter}
    streams = []
    for at in product(*(range(counts[i]) for i in apart)):
        name = _name(path, said, dict(zip(apart, at, strict=True)))
        numbers = []
        for t, z in product(range(lengths.get("t", 1)), range(lengths.get("z", 1))):
            index, where = 0, dict(zip(apart, at, strict=True))
            for i, (letter, n) in enumerate(zip(letters, counts, strict=True)):
                index = index * n + (where[i] if not letter else t if letter == "t" else z)
            numbers.append(index)
        streams.append(_stream(path, said, name, lengths, tuple(places[i] for i in numbers)))
    return streams


def _require_planes(
    path: Path, said: _Said, letters: Sequence[str], counts: Sequence[int], places: Mapping[int, int]
) -> None:
    total = math.prod(counts)
    if not counts and len(places) > 1:
        raise BadSource(f"does not say what its {len(places)} planes are", file=path, remedy=_SAVE)
    missing = next((i for i in range(total) if i not in places), None)
    if missing is not None:
        words = [a or _APART[loop.type] for a, loop in zip(letters, said.loops, strict=True)]
        at = [int(i) for i in np.unravel_index(missing, counts)] if counts else []
        named = " ".join(f"{w}={i}" for w, i in zip(words, at, strict=True)) or "1"
        present = sum(i < total for i in places)
        raise BadSource(
            f"states {total} planes and has {present} of them; the first that is missing is plane {named}", file=path,
            remedy="a recording that was stopped ends like this; save the part that is complete from NIS-Elements",
        )  # fmt: skip


def _stream(path: Path, said: _Said, name: str, lengths: Mapping[str, int], places: tuple[int, ...]) -> Stream:
    of = said.attributes
    samples, width, height = int(of.componentCount), int(of.widthPx or 0), int(of.heightPx)
    if of.bitsPerComponentInMemory not in (8, 16, 32):
        raise BadSource(f"states values of {of.bitsPerComponentInMemory} bits", file=path, place=name, remedy=_SAVE)
    stored = np.dtype(f"<{'f' if of.pixelDataType == 'float' else 'u'}{of.bitsPerComponentInMemory // 8}")
    row = int(of.widthBytes or width * samples * stored.itemsize)
    if not (samples > 0 and width > 0 and height > 0 and row >= width * samples * stored.itemsize):
        raise BadSource(
            f"states {height} x {width} pixels of {samples} values in rows of {row} bytes", file=path, place=name
        )
    order, channels = _channels(said, samples)
    axes, leading, _ = kept_axes({**lengths, "c": samples})
    array = Nd2Frames(
        path, name, places, axes, leading, height, width, stored, order, row, of.compressionType == "lossless"
    )
    array.require_whole()
    all_axes = (*axes, "y", "x")
    scale = {a: v for a, v in _scale(said).items() if a in all_axes}
    return Stream(name=name, kind="Image", axes=all_axes, array=array, scale=scale, channels=channels)


def _channels(said: _Said, samples: int) -> tuple[tuple[int, ...], tuple[Channel, ...]]:
    """Order of a pixel's values along c, and what they are."""
    count = len(said.channels)
    each = samples // count if count and samples % count == 0 else 0
    if each == 3:  # a colour camera: blue comes first (https://github.com/ome/bioformats/issues/3761)
        order = tuple(3 * c + i for c in range(count) for i in (2, 1, 0))
        return order, colours_of_pixels(3, [Channel(c.channel.name) for c in said.channels])
    if each != 1:
        return tuple(range(samples)), ()
    channels = [c.channel for c in said.channels]
    return tuple(range(samples)), tuple(
        Channel(
            c.name.strip(), color=f"{c.color.r:02X}{c.color.g:02X}{c.color.b:02X}" if any(c.color[:3]) else None,
            wavelength_nm=positive(c.emissionLambdaNm), excitation_nm=positive(c.excitationLambdaNm),
        ) for c in channels
    )  # fmt: skip


def _scale(said: _Said) -> dict[str, float]:
    """Micrometres for z y x and seconds for t, as far as stated; nd2 fills in 1 for what is not calibrated."""
    found: dict[str, float | None] = {}
    if said.channels:
        volume = said.channels[0].volume
        for axis, known, size, kind in zip(
            "xy", volume.axesCalibrated, volume.axesCalibration, volume.axesInterpretation, strict=False
        ):
            found[axis] = positive(size) if known and kind == "distance" else None
    for loop in said.loops:
        if loop.type == "ZStackLoop":
            found["z"] = positive(abs(loop.parameters.stepUm))
        elif _AXES.get(loop.type) == "t":
            found["t"] = _increment(loop) or (regular_step(said.times) if loop.type == "TimeLoop" else None)
    return {a: float(f"{v:.12g}") for a, v in found.items() if v is not None}


def _increment(loop: Any) -> float | None:
    """Seconds between time points: as asked for, or as NIS-Elements measured it."""
    periods = loop.parameters.periods if loop.type == "NETimeLoop" else [loop.parameters]
    if len(periods) != 1:
        return None
    asked, measured = positive(periods[0].periodMs), periods[0].periodDiff
    found = asked or positive(measured.avg if measured else None)
    return None if found is None else found / 1000


def _name(path: Path, said: _Said, at: Mapping[int, int]) -> str:
    parts = []
    for i, number in at.items():
        loop = said.loops[i]
        if loop.count < 2:
            continue
        names = [(p.name or "").strip() for p in loop.parameters.points] if loop.type == "XYPosLoop" else []
        unlike = all(names) and len(set(names)) == loop.count
        parts.append(names[number] if unlike else f"{_APART[loop.type]} {number:0{len(str(loop.count - 1))}d}")
    return " ".join(parts) or path.stem


def _stages(said: _Said, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Where the stage was for each image. Nothing but zeros is what nd2 gives for files that do not say."""
    loops = [loop for loop in said.loops if loop.type == "XYPosLoop"]
    others = math.prod(int(loop.count) for loop in said.loops if loop.type == "CustomLoop")
    found: dict[str, dict[str, float]] = {}
    if loops and others == 1:
        for name, point in zip(names, loops[0].parameters.points, strict=False):
            found[name] = dict(
                zip("xyz" if loops[0].parameters.isSettingZ else "xy", point.stagePositionUm, strict=False)
            )
    elif not loops and said.first is not None and len(names) == 1:
        found[names[0]] = dict(zip("xy", said.first.position.stagePositionUm, strict=False))
    rounded = {n: {a: float(f"{v:.12g}") for a, v in p.items() if math.isfinite(v)} for n, p in found.items()}
    return rounded if any(any(p.values()) for p in rounded.values()) else {}


def _facts(said: _Said, streams: Sequence[Stream]) -> dict[str, Any]:
    scale, channels = _scale(said), streams[0].channels
    microscope = said.channels[0].microscope if said.channels else None
    facts: dict[str, Any] = {
        "session_start_time": _date(said),
        "objective": microscope and objective_in_words(
            microscope.objectiveName, microscope.objectiveMagnification, microscope.objectiveNumericalAperture
        ),
        "experimenter": said.text.get("author", "").strip(),
        "software": said.text.get("appVersion", "").strip(),
        "device": _device(said.text.get("description", "")),
        "exposure_time_s": _exposures(said, len(channels)),
        "pixel_size_um": {a: scale[a] for a in "zyx" if a in scale and a in streams[0].axes},
        "time_increment_s": scale.get("t"),
        **({} if "t" in scale or len(said.times) != _count(streams[0], "t") else times_of(said.times)),
        "channel_names": tuple(c.name for c in channels) if any(c.name for c in channels) else (),
    }  # fmt: skip
    return {k: v for k, v in facts.items() if v}


def _count(stream: Stream, axis: str) -> int:
    return dict(zip(stream.axes, stream.shape, strict=True)).get(axis, 1)


def _device(described: str) -> str:
    """Microscope and camera, by the text of NIS-Elements."""
    found = (
        re.search(rf"^\s*(?:\w+ Settings:\s*)?{key}: (.+)$", described, re.M) for key in ("Microscope", "Camera Name")
    )
    return ", ".join(match[1].strip() for match in found if match)


def _exposures(said: _Said, count: int) -> tuple[float, ...]:
    """Exposure of each channel, by the text of NIS-Elements, which has a part for each plane if there are several."""
    described = said.text.get("description", "")
    parts = re.split(r"^\s*Plane #\d+:", described, flags=re.M)[1:] or [described]
    stated = [re.search(r"\bExposure: ([\d.]+) (\w+)", part) for part in parts]
    found = tuple(t for match in stated if match and (t := seconds(match[1], match[2])) is not None)
    return found if len(found) == len(parts) == count else ()


def _date(said: _Said) -> datetime | None:
    """When the acquisition began, by its Julian day (UTC)."""
    if said.first is None:
        return None
    time = said.first.time
    since_1970_s = (time.absoluteJulianDayNumber - _FIRST_DAY) * 86400 - time.relativeTimeMs / 1000
    if not (math.isfinite(since_1970_s) and 0 < since_1970_s < 2**33):
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(since_1970_s * 1000))


converter = NikonNd2()
