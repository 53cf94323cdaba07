"""Open Ephys GUI, binary format: ``experiment<n>/recording<n>/structure.oebin`` with ``continuous.dat`` and events.

The format: https://open-ephys.github.io/gui-docs/User-Manual/Recording-data/Binary-format.html. Streams, experiments
and recordings are read from ``structure.oebin`` here; neuroconv builds the NWB objects of neural channels and
probeinterface reads the probes out of ``settings.xml``. neuroconv 0.10's own interface is not used: it makes electrodes
of sync channels, takes the volts of NI-DAQ channels for microvolts (neo 0.14), and opens only folders with exactly one
``settings.xml`` and the same streams in every recording.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Column, Converter, NpyArray, NWBSource, RawArray, Source, Stream, Verdict
from dandify.sources.derived import Moved, Texts
from dandify.sources.vendors.open_ephys_layout import (
    INT16,
    OEBIN,
    Recording,
    Signal,
    clocks,
    files_of,
    label,
    number_of,
    oebins,
    probes_of,
    read_json,
    read_recording,
    settings_date,
    signals_of,
    suffix_of,
    zeros_of,
)

if TYPE_CHECKING:
    from pynwb import NWBFile

_LFP_BELOW_HZ = 5000.0

# Unit and factor to it, by what structure.oebin says. Empty: microvolts, but volts on analog inputs (see the page).
_UNITS = {"uv": ("volts", 1e-6), "µv": ("volts", 1e-6), "mv": ("volts", 1e-3), "v": ("volts", 1.0)}


@dataclass(frozen=True)
class _Part:
    """A stream and where it comes from."""

    stream: Stream
    signal: Signal | None
    role: str  # "neural", "other", "ttl", "text"
    columns: tuple[int, int] = (0, 0)
    companion: str | None = None  # the other band of the same probe
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class OpenEphysSource(NWBSource):
    """What one Record Node wrote."""

    parts: tuple[_Part, ...] = ()

    def add_to_nwbfile(self, nwbfile: NWBFile, *, shift_s: float = 0.0) -> None:
        """Add probes, electrodes, series and events."""
        for part in self.parts:
            if part.role == "neural":
                _add_neural(nwbfile, part, shift_s)
            elif part.role == "other":
                _add_other(nwbfile, part, shift_s)
            else:
                _add_events(nwbfile, part, shift_s)


class OpenEphys(Converter):
    """Open Ephys binary recordings."""

    name = "open_ephys"
    title = "Open Ephys (binary format)"
    patterns = (OEBIN, "continuous.dat", "settings.xml", "settings_*.xml", "sync_messages.txt")
    looks_like = "a folder Record Node N/ with settings.xml and experiment1/recording1/structure.oebin"
    becomes = "ElectricalSeries, LFP, TimeSeries (analog, auxiliary, sync), EventsTable (TTL, messages)"

    def claim(self, path: Path) -> Path | None:
        """Return the folder of the Record Node: the one that holds the experiments."""
        if not self.matches(path):
            return None
        for folder in path.parents:
            if number_of(folder, "experiment"):
                return folder.parent
        lone = next((f for f in path.parents if number_of(f, "recording")), None)
        return lone or path.parent

    def identify(self, path: Path) -> Verdict:
        """Look into the first ``structure.oebin``, else into ``settings.xml``."""
        try:
            for file in oebins(path):
                if isinstance(read_json(file).get("continuous"), list):
                    return Verdict(True, f"{file.relative_to(path).as_posix()} lists continuous streams")
                return Verdict(False, f"{file.name} lists no continuous streams")
            for file in sorted(path.glob("settings*.xml")) if path.is_dir() else ():
                with file.open("rb") as opened:
                    head = opened.read(4096)
                if b"<SETTINGS" in head and (b"<SIGNALCHAIN" in head or b"<INFO" in head):
                    return Verdict(True, f"{file.name} holds the settings of the Open Ephys GUI")
        except (OSError, ValueError, AttributeError) as error:
            return Verdict(False, f"cannot be read: {error}")
        return Verdict(False, f"no {OEBIN} in experiment folders and no settings.xml of the Open Ephys GUI")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read every ``structure.oebin`` and hold it against the sizes of the files."""
        if options:
            raise BadRequest(f"open_ephys takes no options: {', '.join(options)}", file=path)
        recordings = [read_recording(f) for f in oebins(path)]
        if not recordings:
            raise BadSource(
                f"settings of a recording, but no recording: no experiment1/recording1/{OEBIN}", file=path,
                remedy="copy the experiment folders beside settings.xml; only the binary format is known",
            )  # fmt: skip
        problems: list[str] = []
        signals = [s for r in recordings for s in signals_of(r, problems)]
        if not signals:
            raise BadSource(
                "structure.oebin lists streams, but none of their folders is there", file=path,
                remedy="copy the folders continuous/ from the acquisition computer",
            )  # fmt: skip
        zeros = zeros_of(path, recordings, signals)
        parts = [p for r in recordings for p in _parts(r, [s for s in signals if s.recording is r], zeros, recordings)]
        starts = [r.software_start for r in recordings if r.software_start]
        version = recordings[0].oebin.get("GUI version")
        facts: dict[str, Any] = {"software": f"Open Ephys GUI {version}"} if version else {}
        if starts or (date := settings_date(recordings[0].settings)):
            facts["session_start_time"] = min(starts) if starts else date
        if probes := probes_of(recordings[0].settings):
            facts["probes"] = probes
        return OpenEphysSource(
            format=self.name, path=path, files=tuple(sorted(files_of(path, recordings))), parts=tuple(parts),
            streams=tuple(p.stream for p in parts), facts=facts, problems=tuple(problems),
        )  # fmt: skip


converter = OpenEphys()


def _parts(
    recording: Recording, signals: list[Signal], zeros: Mapping[int, float], recordings: list[Recording]
) -> Iterator[_Part]:
    suffix, zero = suffix_of(recording, recordings), zeros[recording.experiment]
    taken: set[str] = set()
    for signal in signals:
        for role, kind, columns in _cuts(signal):
            name = _free(f"{signal.name}{'' if role == 'neural' else f'.{kind}'}", signal.folder.name, taken) + suffix
            yield _Part(
                _continuous(signal, name, role, kind, columns, zero), signal, role, columns, _companion(signal, signals)
            )
    for entry in recording.oebin.get("events") or ():
        if part := _event_part(recording, entry, suffix, zero, taken):
            yield part


def _free(name: str, folder: str, taken: set[str]) -> str:
    name = f"{folder}.{name}" if name in taken else name
    taken.add(name)
    return name


def _cuts(signal: Signal) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Cut the channels where their kind changes."""
    at = 0
    for kind, group in groupby(_kind(c, signal) for c in signal.entry["channels"]):
        count = len(list(group))
        yield "neural" if kind == "neural" else "other", kind, (at, at + count)
        at += count


def _kind(channel: Mapping[str, Any], signal: Signal) -> str:
    name = str(channel.get("channel_name", "")).upper()
    if "SYNC" in name:
        return "sync"
    if "AUX" in name:
        return "aux"
    board = f"{signal.entry.get('source_processor_name', '')} {signal.folder.name}".upper()
    if "ADC" in name or re.match(r"AI\d", name) or "NI-DAQ" in board or "ONEBOX-ADC" in board.replace("_", "-"):
        return "adc"
    return "neural"


def _companion(signal: Signal, signals: list[Signal]) -> str | None:
    """``-LFP`` of ``-AP`` and the reverse, if it was recorded."""
    stem, dash, band = signal.name.rpartition("-")
    other = f"{stem}-{ {'AP': 'LFP', 'LFP': 'AP'}.get(band, '') }"
    return other if dash and any(s.name == other for s in signals) else None


def _continuous(signal: Signal, name: str, role: str, kind: str, columns: tuple[int, int], zero: float) -> Stream:
    entries = signal.entry["channels"][slice(*columns)]
    channels = tuple(_channel(e, kind) for e in entries)
    gains = {c.gain for c in channels}
    units = {c.unit for c in channels}
    what = {"neural": "Neural", "adc": "Analog", "aux": "Auxiliary", "sync": "Sync"}[kind]
    processor = signal.entry.get("source_processor_name", "")
    listed = "" if role == "neural" else f" {', '.join(c.name for c in channels)}, in this order,"
    lfp = signal.rate_hz < _LFP_BELOW_HZ
    return Stream(
        name=name, kind=("LFP" if lfp else "ElectricalSeries") if role == "neural" else "TimeSeries", axes=("t", "c"),
        array=RawArray(
            signal.folder / "continuous.dat", INT16, signal.samples, len(signal.entry["channels"]), columns=columns
        ),
        rate_hz=None if signal.times is not None else signal.rate_hz,
        timestamps=None if signal.times is None else Moved(signal.times, -zero),
        starting_time_s=0.0 if signal.first_s is None else signal.first_s - zero,
        unit=units.pop() if len(units) == 1 else None,
        conversion=gain if len(gains) == 1 and (gain := gains.pop()) else 1.0, channels=channels,
        description=f"{what} channels{listed} of stream {signal.name} of {processor} ({label(signal.recording)}), "
        "recorded by the Open Ephys GUI.",
    )  # fmt: skip


def _channel(entry: Mapping[str, Any], kind: str) -> Channel:
    name, stated = str(entry["channel_name"]), str(entry.get("units") or "").lower()
    unit, factor = _UNITS.get(stated, (stated or None, 1.0))
    if not stated and kind in ("neural", "adc"):
        unit, factor = _UNITS["uv" if kind == "neural" else "v"]
    if kind == "sync":
        return Channel(name)
    bits = entry.get("bit_volts")
    return Channel(name, unit, None if bits is None else float(bits) * factor, 0.0)


def _event_part(
    recording: Recording, entry: Mapping[str, Any], suffix: str, zero: float, taken: set[str]
) -> _Part | None:
    folder = recording.folder / "events" / str(entry["folder_name"]).strip("/")
    numbers, times = clocks(folder) if folder.is_dir() else (None, None)
    states = next((folder / n for n in ("states.npy", "channel_states.npy") if (folder / n).is_file()), None)
    source = states or folder / "text.npy"
    clock = times or numbers
    if clock is None or not source.is_file() or not clock.shape[0]:
        return None
    values = NpyArray.open(source)
    if values.shape[:1] != clock.shape[:1]:
        raise BadSource(
            f"{values.shape[0]} events, but {clock.shape[0]} times ({clock.path.name} beside it)", file=source,
            remedy="copy the folder again from the acquisition computer",
        )  # fmt: skip
    rate_hz = float(entry.get("sample_rate") or 1.0) if times is None else 1.0
    stamps = Column("timestamp", "Time of the event.", Moved(clock, -zero, rate_hz), "seconds")
    told = ". ".join(str(entry[k]) for k in ("channel_name", "description") if entry.get(k))
    origin = f"{folder.relative_to(recording.folder).as_posix()} of {label(recording)}"
    stream = entry.get("stream_name") or folder.parent.name
    if states:
        column = Column("state", "Line that changed, counted from 1; negative if it went down.", values)
        name = _free(f"{stream}.TTL", folder.parent.name, taken) + suffix
        return _Part(_table(name, (stamps, column), f"TTL events: {told}."), None, "ttl", origin=origin)
    name = _free("Messages", folder.name, taken) + suffix
    column = Column("message", "Text of the message.", Texts(values))
    return _Part(_table(name, (stamps, column), f"{told}."), None, "text", origin=origin)


def _table(name: str, columns: tuple[Column, ...], description: str) -> Stream:
    return Stream(
        name=name,
        kind="EventsTable",
        axes=("t",),
        shape=columns[0].array.shape,
        columns=columns,
        description=description,
    )


def _object_name(prefix: str, name: str) -> str:
    """``ProbeA-AP_recording1`` -> ``ElectricalSeriesProbeAAP_recording1``."""
    return prefix + re.sub(r"[^0-9A-Za-z_]+", "", name.replace(".", "_"))


def _add_neural(nwbfile: NWBFile, part: _Part, shift_s: float) -> None:
    from dandify.sources.deferred import Deferred
    from dandify.sources.neuroconv import Wrapped, add_recording, binary_recording

    signal, stream = part.signal, part.stream
    assert signal is not None
    assert isinstance(stream.array, RawArray)
    names = [c.name for c in stream.channels]
    gains = [c.gain for c in stream.channels if c.gain is not None and c.unit == "volts"]
    recording = binary_recording(
        stream.array, rate_hz=signal.rate_hz, names=names,
        gains_to_uv=[g * 1e6 for g in gains] if len(gains) == len(names) else None,
    )  # fmt: skip
    device, note = _attach_probe(recording, signal)
    if part.companion:  # both bands of a probe record from the same electrodes
        digits = [re.sub(r"^\D+", "", n) for n in names]
        recording.set_property("channel_name", [f"AP{d},LFP{d}" for d in digits])
    else:
        recording.set_property("channel_name", names)
    fields: dict[str, Any] = {}
    if isinstance(stream.timestamps, Moved):
        fields = {"timestamps": Deferred(stream.timestamps.moved(shift_s)), "rate": None, "starting_time": None}
    add_recording(
        nwbfile, Wrapped(recording), name=_object_name("ElectricalSeries", stream.name),
        description=f"{stream.description}{note}", shift_s=shift_s, starting_time_s=stream.starting_time_s,
        array=stream.array, fields=fields, device=device, lfp=stream.kind == "LFP",
    )  # fmt: skip


def _attach_probe(recording: Any, signal: Signal) -> tuple[dict[str, Any], str]:
    """Give the recording the probe that settings.xml describes; return its device, and what to say if it could not."""
    settings, note = signal.recording.settings, ""
    processor = str(signal.entry.get("source_processor_name") or "Open Ephys acquisition")
    if settings is not None and probes_of(settings):
        from dandify.sources.neuroconv import quiet

        try:
            with quiet():
                import probeinterface  # type: ignore[import-untyped]  # has no types

                probe = probeinterface.read_openephys_neuropixels(
                    settings_file=settings, stream_name=signal.folder.name
                )
                recording.set_probe(probe, group_mode="by_shank" if probe.shank_ids is not None else "auto")
        except (ValueError, KeyError, IndexError, AssertionError, AttributeError, TypeError) as error:
            note = f" The probe could not be read from {settings.name}: {error}"
        else:
            name = f"Neuropixels{probe.name or signal.name}"
            shanks = recording.get_channel_groups()
            several = len(set(shanks)) > 1
            recording.set_property("group_name", [f"{name}Shank{s}" if several else name for s in shanks])
            fields = {"name": name, "manufacturer": "imec", "model_number": probe.model_name}
            known = probe.serial_number not in (None, "", "0")
            return {**fields, "serial_number": str(probe.serial_number)} if known else fields, ""
    stem, _, band = signal.name.rpartition("-")
    group = stem if band in ("AP", "LFP") and stem else signal.name
    recording.set_property("group_name", [_object_name("", group)] * recording.get_num_channels())
    return {"name": processor}, note


def _add_other(nwbfile: NWBFile, part: _Part, shift_s: float) -> None:
    from dandify.sources.deferred import Deferred
    from dandify.sources.neuroconv import add_time_series

    stream = part.stream
    assert stream.array is not None
    moved = stream.timestamps
    times = Deferred(moved.moved(shift_s)) if isinstance(moved, Moved) else None
    add_time_series(
        nwbfile, name=_object_name("TimeSeries", stream.name), description=str(stream.description), array=stream.array,
        unit=stream.unit or "n.a.", conversion=stream.conversion, rate_hz=stream.rate_hz, timestamps=times,
        starting_time_s=stream.starting_time_s + shift_s,
    )  # fmt: skip


def _add_events(nwbfile: NWBFile, part: _Part, shift_s: float) -> None:
    from dandify.sources.events import add_events_table, edge_columns

    stream = part.stream
    times_s, values = (c.array[:] for c in stream.columns)
    if part.role == "ttl":
        columns = edge_columns([str(abs(int(s))) for s in values], values > 0)
    else:
        columns = [("message", "Text of the message.", values.tolist())]
    add_events_table(
        nwbfile, name=_object_name("Events", stream.name), description=str(stream.description), columns=columns,
        source_description=f"Open Ephys GUI, {part.origin}", times_s=times_s + shift_s,
    )  # fmt: skip
