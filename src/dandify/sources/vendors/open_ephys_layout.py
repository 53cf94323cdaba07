"""Folders of the Open Ephys binary format: recordings, signals, their clocks; held against the sizes of the files."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from dandify.errors import BadSource
from dandify.sources.arrays import NpyArray

INT16 = np.dtype("<i2")  # the format knows no other type
OEBIN = "structure.oebin"

_SOFTWARE_TIME = re.compile(r"Software Time \(milliseconds since midnight Jan 1st 1970 UTC\): (\d+)")
_START = re.compile(r"Start Time for (?P<processor>.+) \((?P<id>\d+)\) - (?P<stream>.+) @ [\d.]+ Hz: (?P<sample>-?\d+)")


@dataclass(frozen=True)
class Recording:
    """One ``recording<n>`` folder."""

    folder: Path
    experiment: int
    number: int
    oebin: Mapping[str, Any]
    software_start: datetime | None
    first_samples: Mapping[str, int]  # stream name -> sample number at the software time
    settings: Path | None


@dataclass(frozen=True)
class Signal:
    """A continuous stream of one recording, before it is cut into kinds of channels."""

    recording: Recording
    entry: Mapping[str, Any]
    folder: Path
    samples: int
    rate_hz: float
    first_s: float | None  # in the clock of the experiment
    times: NpyArray | None  # where they are not regular

    @property
    def name(self) -> str:
        """``ProbeA-AP``; before version 0.6 the folder's, ``Rhythm_FPGA-100.0``."""
        return str(self.entry.get("stream_name") or self.folder.name)


def number_of(folder: Path, word: str) -> int:
    """Return the number in ``experiment3``; 0 if it is no such folder."""
    match = re.fullmatch(rf"{word}(\d+)", folder.name, re.IGNORECASE)
    return int(match[1]) if match else 0


def oebins(path: Path) -> list[Path]:
    """Every ``structure.oebin`` of a Record Node, or of a lone experiment or recording, in the order of numbers."""
    if not path.is_dir():
        return []
    found = [f for depth in ("", "recording*/", "experiment*/recording*/") for f in path.glob(f"{depth}{OEBIN}")]
    return sorted(found, key=lambda f: (number_of(f.parent.parent, "experiment"), number_of(f.parent, "recording")))


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; ValueError if it is none."""
    loaded = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(loaded, dict):
        raise ValueError("not a JSON object")
    return loaded


def read_recording(file: Path) -> Recording:
    """Read a ``structure.oebin``, and when the recording began out of ``sync_messages.txt`` beside it."""
    try:
        oebin = read_json(file)
    except ValueError as error:
        raise BadSource(
            f"no valid JSON: {error}", file=file, remedy="copy it again from the acquisition computer"
        ) from error
    folder = file.parent
    experiment = number_of(folder.parent, "experiment") or 1
    start, firsts = None, {}
    messages = folder / "sync_messages.txt"
    for line in messages.read_text(encoding="utf-8", errors="replace").splitlines() if messages.is_file() else ():
        if match := _SOFTWARE_TIME.search(line):
            start = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(match[1]))
        elif match := _START.search(line):
            firsts[match["stream"]] = int(match["sample"])
    node = folder.parent.parent if number_of(folder.parent, "experiment") else folder.parent
    names = [f"settings_{experiment}.xml", "settings.xml"] if experiment > 1 else ["settings.xml"]
    settings = next((node / n for n in names if (node / n).is_file()), None)
    return Recording(folder, experiment, number_of(folder, "recording") or 1, oebin, start, firsts, settings)


def signals_of(recording: Recording, problems: list[str]) -> Iterator[Signal]:
    """Every continuous stream that is there; `BadSource` if its files contradict each other."""
    for entry in recording.oebin.get("continuous") or ():
        folder = recording.folder / "continuous" / str(entry["folder_name"]).strip("/")
        if not folder.is_dir():
            problems.append(
                f"{label(recording)}: stream {folder.name} is listed, but its folder is not there; left out"
            )
            continue
        yield _signal(recording, entry, folder, problems)


def _signal(recording: Recording, entry: Mapping[str, Any], folder: Path, problems: list[str]) -> Signal:
    file = folder / "continuous.dat"
    again = "copy the folder again from the acquisition computer"
    if not file.is_file():
        raise BadSource("its samples are missing: no continuous.dat", file=folder, remedy=again)
    try:
        channels, rate_hz = len(entry["channels"]), float(entry["sample_rate"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadSource(
            f"stream {folder.name} lacks a key: {error!r}", file=recording.folder / OEBIN, remedy=again
        ) from error
    size, row = file.stat().st_size, channels * INT16.itemsize
    if not channels or entry.get("num_channels", channels) != channels:
        raise BadSource(
            f"num_channels={entry.get('num_channels')}, but {channels} channels are listed",
            file=recording.folder / OEBIN, place=f"stream {folder.name}", remedy=again,
        )  # fmt: skip
    if size % row:
        raise BadSource(
            f"truncated: {size} bytes are not a whole number of samples of {channels} channels ({row} bytes each, "
            f"structure.oebin), {size % row} bytes are left over", file=file, place=f"byte {size - size % row}",
            remedy=again,
        )  # fmt: skip
    samples = size // row
    numbers, times = clocks(folder)
    for clock in (numbers, times):
        if clock is not None and clock.shape[0] != samples:
            raise BadSource(
                f"truncated: {samples} samples found, {clock.shape[0]} expected ({clock.path.name} beside it)",
                file=file, remedy=again,
            )  # fmt: skip
    if not samples:
        return Signal(recording, entry, folder, 0, rate_hz, None, None)
    first_s, irregular = _first(numbers, times, samples, rate_hz)
    if first_s is None:
        problems.append(
            f"{label(recording)}: {folder.name} has no time stamps, its start is taken as that of the others"
        )
    return Signal(recording, entry, folder, samples, rate_hz, first_s, irregular)


def clocks(folder: Path) -> tuple[NpyArray | None, NpyArray | None]:
    """Sample numbers and seconds. Before 0.6 ``timestamps.npy`` held the numbers, ``synchronized_`` the seconds."""
    new = (folder / "sample_numbers.npy").is_file()
    names = ("sample_numbers.npy", "timestamps.npy") if new else ("timestamps.npy", "synchronized_timestamps.npy")
    found = [NpyArray.open(folder / n) if (folder / n).is_file() else None for n in names]
    return found[0], found[1]


def _first(
    numbers: NpyArray | None, times: NpyArray | None, samples: int, rate_hz: float
) -> tuple[float | None, NpyArray | None]:
    """Time of the first sample, and all times where the first and the last do not agree with the rate."""
    if times is not None:
        first, last = (float(times[i : i + 1][0]) for i in (0, samples - 1))
        if first >= 0 and last >= first:  # -1: no sync pulse had come yet
            regular = abs(last - first - (samples - 1) / rate_hz) <= 0.5 / rate_hz
            gaps = numbers is not None and int(numbers[samples - 1 : samples][0] - numbers[:1][0]) != samples - 1
            return first, None if regular and not gaps else times
    return (None if numbers is None else float(numbers[:1][0]) / rate_hz), None


def zeros_of(path: Path, recordings: list[Recording], signals: list[Signal]) -> dict[int, float]:
    """For each experiment, the time in its own clock at which the first recording of all began."""
    zeros: dict[int, float] = {}
    begins: dict[int, datetime | None] = {}
    for experiment, group in groupby(recordings, key=lambda r: r.experiment):
        first = next(group)
        begins[experiment] = first.software_start or settings_date(first.settings)
        own = [_begin(s) for s in signals if s.recording is first]
        rest = [s.first_s for s in signals if s.recording.experiment == experiment]
        known = [b for b in own if b is not None] or [b for b in rest if b is not None]
        zeros[experiment] = min(known, default=0.0)
    origin = begins[recordings[0].experiment]
    for experiment, begin in begins.items():
        if experiment != recordings[0].experiment:
            if begin is None or origin is None or (begin.tzinfo is None) != (origin.tzinfo is None):
                raise BadSource(
                    f"experiment{experiment} does not state when it began, relative to the one before", file=path,
                    remedy="move each experiment with its settings into a folder of its own and give --session-start",
                )  # fmt: skip
            zeros[experiment] -= (begin - origin).total_seconds()
    return zeros


def _begin(signal: Signal) -> float | None:
    """Time in the experiment's clock at which the recording began: at the sample that sync_messages.txt names."""
    first = signal.recording.first_samples.get(signal.name)
    numbers, _ = clocks(signal.folder)
    if signal.first_s is None or first is None or numbers is None or not signal.samples:
        return signal.first_s
    return signal.first_s - (int(numbers[:1][0]) - first) / signal.rate_hz


def label(recording: Recording) -> str:
    """Where a recording lies: ``experiment1/recording2``."""
    return f"experiment{recording.experiment}/recording{recording.number}"


def suffix_of(recording: Recording, recordings: list[Recording]) -> str:
    """Return what tells the names of a recording's streams from those of the others; nothing if it is alone."""
    if len({r.experiment for r in recordings}) > 1:
        return f"_experiment{recording.experiment}_recording{recording.number}"
    return f"_recording{recording.number}" if len(recordings) > 1 else ""


def files_of(path: Path, recordings: list[Recording]) -> set[Path]:
    """Every file of the recordings, and the settings."""
    folders = {r.folder for r in recordings}
    inside = {f for folder in folders for f in folder.rglob("*") if f.is_file()}
    return inside | {f for f in path.glob("settings*.xml") if f.is_file()}


def settings_date(settings: Path | None) -> datetime | None:
    """When the settings were saved, the rig's local time: at the start of the recording."""
    text = _settings(settings).findtext("./INFO/DATE") if settings else None
    try:
        return datetime.strptime(text.strip(), "%d %b %Y %H:%M:%S") if text else None
    except ValueError:
        return None


def _settings(settings: Path) -> ET.Element:
    try:
        return ET.parse(settings).getroot()
    except ET.ParseError as error:
        raise BadSource(
            f"no valid XML: {error}", file=settings, remedy="copy it again from the acquisition computer"
        ) from error


def probes_of(settings: Path | None) -> tuple[str, ...]:
    """Model and serial number of every Neuropixels probe in the settings."""
    found = _settings(settings).iter("NP_PROBE") if settings else ()
    out = []
    for probe in found:
        serial = probe.get("probe_serial_number")
        words = (probe.get("probe_part_number"), f"serial number {serial}" if serial not in (None, "", "0") else None)
        out.append(" ".join(w for w in words if w))
    return tuple(dict.fromkeys(p for p in out if p))
