"""Intan RHD and RHS recordings: header-attached files (also split ones) and one file per signal type or per channel.

Layouts are those of Intan Technologies' "RHD Application Note: Data File Formats" and "RHS Application Note: Data File
Formats"; everything is little-endian.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.sources import (
    Array,
    Channel,
    Concatenated,
    Converter,
    NWBSource,
    RawArray,
    RecordArray,
    Source,
    Stream,
    Verdict,
)
from dandify.sources.vendors.intan_arrays import SampleTimes, SideBySide, StimWords
from dandify.sources.vendors.intan_header import Header, is_header, read_header

if TYPE_CHECKING:
    from pynwb import NWBFile

    from dandify.sources.deferred import Deferred

_DATED = re.compile(r"_(\d{6}_\d{6})$")  # what Intan's software appends to the name that the operator typed


@dataclass(frozen=True)
class Kind:
    """One signal type: how it is called here, in NWB and in the split layouts.

    Attributes
    ----------
    name
        Stem of the file of "one file per signal type", and field of the records of header-attached files.
    prefix
        Of the files of "one file per channel"; the native channel name follows.
    nwb
        Name of the NWB object.
    description
        What it is.
    """

    name: str
    prefix: str
    nwb: str
    description: str


KINDS = {kind.name: kind for kind in (
    Kind("amplifier", "amp-", "ElectricalSeries", "Wideband amplifier channels."),
    Kind("dcamplifier", "dc-", "TimeSeriesIntanDC", "DC-coupled low-gain amplifier channels."),
    Kind("stim", "stim-", "TimeSeriesIntanStim", "Stimulation current of the amplifier channels."),
    Kind("auxiliary", "aux-", "TimeSeriesIntanAuxiliary", "Auxiliary inputs of the headstage, e.g. its accelerometer."),
    Kind("supply", "vdd-", "TimeSeriesIntanSupplyVoltage", "Supply voltage of the headstage's chips."),
    Kind("temperature", "", "TimeSeriesIntanTemperature", "Temperature sensors of the headstages."),
    Kind("analogin", "board-", "TimeSeriesIntanADCInput", "Analog inputs of the controller."),
    Kind("analogout", "board-", "TimeSeriesIntanADCOutput", "Analog outputs of the controller."),
    Kind("digitalin", "board-", "IntanDigitalIn", "Digital inputs of the controller."),
    Kind("digitalout", "board-", "IntanDigitalOut", "Digital outputs of the controller."),
)}  # fmt: skip
"""The names of the NWB objects are neuroconv's where it has one."""

_FILTERED = ("lowpass.dat", "highpass.dat", "low-*.dat", "high-*.dat")  # made from the wideband signal


@dataclass(frozen=True, kw_only=True)
class IntanSource(NWBSource):
    """An Intan recording: electrodes through neuroconv, samples from the streams."""

    header: Header

    def add_to_nwbfile(self, nwbfile: NWBFile, *, shift_s: float = 0.0) -> None:
        """Add electrodes and series, and one EventsTable for each digital line, which is read here block by block."""
        from dandify.sources.deferred import Deferred
        from dandify.sources.neuroconv import add_time_series

        for stream in self.streams:
            assert stream.array is not None
            times = None
            if isinstance(stream.timestamps, SampleTimes):
                times = Deferred(replace(stream.timestamps, shift_s=shift_s))
            if stream.kind == "EventsTable":
                _add_lines(nwbfile, self.header, stream, shift_s)
            elif stream.kind == "ElectricalSeries":
                _add_amplifier(nwbfile, self.header, stream, times, shift_s)
            else:
                add_time_series(
                    nwbfile, name=stream.name, description=stream.description or "", array=stream.array,
                    unit=stream.unit or "n/a", conversion=stream.conversion, offset=stream.offset,
                    rate_hz=stream.rate_hz, starting_time_s=shift_s, timestamps=times,
                )  # fmt: skip


class IntanConverter(Converter):
    """Intan RHD and RHS recordings in all layouts of Intan's software."""

    name = "intan"
    title = "Intan RHD / RHS"
    patterns = (
        "*.rhd", "*.rhs", *(f"{kind}.dat" for kind in KINDS), "time.dat", "spike.dat", *_FILTERED,
        *(f"{prefix}*.dat" for prefix in sorted({k.prefix for k in KINDS.values() if k.prefix})),
    )  # fmt: skip
    looks_like = "NAME_YYMMDD_HHMMSS.rhd or .rhs, or a folder with info.rhd or info.rhs and .dat files"
    becomes = "ElectricalSeries, TimeSeries (auxiliary, supply, analog, DC, stimulation), EventsTable for digital lines"

    def claim(self, path: Path) -> Path | None:
        """Return the file itself, or for the split layouts the folder."""
        if not self.matches(path):
            return None
        attached = path.suffix.lower() in (".rhd", ".rhs") and path.stem.lower() != "info"
        return path if attached else path.parent

    def identify(self, path: Path) -> Verdict:
        """Look at the magic number of the header."""
        file = _header_file(path)
        if file is None:
            return Verdict(False, "no info.rhd or info.rhs beside it")
        if not is_header(file):
            return Verdict(False, f"{file.name} does not start with the magic number of Intan's {file.suffix} files")
        return Verdict(True, f"{file.name} starts with the magic number of Intan's {file.suffix} files")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the header; of the samples only the running numbers of the first and the last are looked at."""
        if options:
            raise BadRequest(f"intan takes no options: {', '.join(options)}", file=path)
        file = _header_file(path)
        if file is None:
            raise BadSource("no info.rhd or info.rhs in it", file=path)
        header = read_header(file)
        if file.stem.lower() == "info":
            root, found = file.parent, _split_layout(file, header)
        else:
            root, found = file, _attached(file, header)
        software = "Intan RHX" if header.version >= (3, 0) else f"Intan {header.suffix[1:].upper()}2000 interface"
        facts = {
            "software": f"{software}, data file version {header.version[0]}.{header.version[1]}",
            "device": f"Intan {header.suffix[1:].upper()}2000",
            **({"description": "; ".join(header.notes)} if header.notes else {}),
            **_dated(root),
        }
        return IntanSource(
            format=self.name, path=root, files=found.files, streams=tuple(_streams(header, found)), facts=facts,
            problems=found.problems, header=header,
        )  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """Arrays by stream, the running numbers of the amplifier samples, and the files they come from."""

    arrays: Mapping[str, Array]
    numbers: Array | None
    files: tuple[Path, ...]
    problems: tuple[str, ...]
    attached: bool


def _header_file(path: Path) -> Path | None:
    if path.is_dir():
        return next((f for f in (path / "info.rhd", path / "info.rhs") if f.is_file()), None)
    return path if path.is_file() else None


def _dated(root: Path) -> dict[str, Any]:
    """Name and start of the recording, where Intan's software put the date behind the name."""
    found = _DATED.search(root.name if root.is_dir() else root.stem)
    try:
        start = datetime.strptime(found[1], "%y%m%d_%H%M%S") if found else None  # the acquisition computer's local time
    except ValueError:
        start = None
    return {} if start is None or found is None else {"session_start_time": start, "session_id": found.string}


def _attached(file: Path, header: Header) -> _Found:
    """Open a header-attached file and those that continue it: "new save file every N minutes"."""
    files, headers = [file], [header]
    numbers = [_numbers(file, header)]
    for following in _later(file):
        if not is_header(following):
            break
        other = read_header(following)
        if other.record != header.record or other.signals != header.signals or other.rate_hz != header.rate_hz:
            break
        with following.open("rb") as opened:
            opened.seek(other.size)
            first = np.frombuffer(opened.read(4), header.record["time"].base)
        if first.size == 0 or int(first[0]) != int(numbers[-1][-1:][0]) + 1:
            break
        files.append(following)
        headers.append(other)
        numbers.append(_numbers(following, other))
    parts = list(zip(files, headers, strict=True))
    arrays = {
        name: _joined([RecordArray(f, h.record, _records(f, h), name, h.size) for f, h in parts])
        for name in header.signals
    }
    return _Found(arrays, _joined(numbers), tuple(files), (), attached=True)


def _joined(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else Concatenated(tuple(parts))


def _later(file: Path) -> list[Path]:
    """Files of the same name with a later date, in their order."""
    dated = _DATED.search(file.stem)
    if dated is None:
        return []
    name = file.stem[: dated.start()]
    return sorted(
        f for f in file.parent.iterdir()
        if f.suffix == file.suffix and f.stem[:-14] == name and _DATED.search(f.stem) and f.stem > file.stem
    )  # fmt: skip


def _records(file: Path, header: Header) -> int:
    size, record = file.stat().st_size - header.size, header.record.itemsize
    records, rest = divmod(size, record)
    if rest:
        whole = header.size + records * record
        raise BadSource(
            f"truncated: {size} bytes of samples, expected {records * record} or {(records + 1) * record} "
            f"(records of {record} bytes; the last has {rest})",
            file=file, place=f"byte {whole}",
            remedy=f"copy the file again; if the original ends there too, cut a copy to its {records} whole records "
            f"({records * header.block / header.rate_hz:.2f} s) with `truncate -s {whole} COPY`",
        )  # fmt: skip
    if not records:
        raise BadSource(
            "a header without samples", file=file, place=f"byte {header.size}",
            remedy="name it info.rhd or info.rhs if its samples are in .dat files",
        )  # fmt: skip
    return records


def _numbers(file: Path, header: Header) -> Array:
    return RecordArray(file, header.record, _records(file, header), "time", header.size)


def _split_layout(info: Path, header: Header) -> _Found:
    """Open "one file per signal type" or "one file per channel"."""
    folder = info.parent
    per_signal = any((folder / f"{name}.dat").is_file() for name in header.signals)
    arrays: dict[str, Array] = {}
    files, problems = [info], []
    for name, signals in header.signals.items():
        dtype = np.dtype("<i2" if name in ("amplifier", "temperature") else "<u2")
        if per_signal:
            wanted = [folder / f"{name}.dat"]
        else:
            wanted = [folder / f"{KINDS[name].prefix}{signal.native}.dat" for signal in signals]
        there = [f for f in wanted if f.is_file()]
        if not there:
            if name != "temperature" and not (name == "stim" and not per_signal):
                problems.append(
                    f"{name}: {len(signals)} channels are enabled in {info.name}, but {wanted[0].name} is missing"
                )
            continue
        if len(there) < len(wanted) and name != "stim":  # stimulation files exist only for channels that stimulated
            missing = ", ".join(f.name for f in wanted if f not in there)
            raise BadSource(
                f"{name}: {len(there)} of {len(wanted)} files are there; missing: {missing}", file=folder,
                remedy="copy the missing files from the acquisition computer",
            )  # fmt: skip
        channels = 1 if name.startswith("digital") or not per_signal else len(signals)
        parts = tuple(RawArray(f, dtype, _samples(f, dtype, channels), channels) for f in there)
        arrays[name] = parts[0] if per_signal else SideBySide(parts)
        files += there
        if len({len(part) for part in parts}) > 1:
            told = ", ".join(f"{part.path.name} {len(part)}" for part in parts)
            raise BadSource(
                f"{name}: the files differ in length (samples: {told})", file=folder, remedy="copy them again"
            )
    if not arrays:
        raise BadSource("no .dat file with samples beside it", file=info, remedy="copy the whole folder")
    numbers = None
    time = folder / "time.dat"
    if time.is_file():
        dtype = np.dtype("<i4" if header.suffix == ".rhs" or header.version >= (1, 2) else "<u4")
        numbers = RecordArray(time, np.dtype([("time", dtype, (1,))]), _samples(time, dtype, 1), "time")
        files.append(time)
    else:
        problems.append("time.dat is missing: whether samples were lost cannot be checked")
    filtered = sorted(f for pattern in _FILTERED for f in folder.glob(pattern))
    problems += [f"{f.name} is made from the wideband samples and is not converted" for f in filtered]
    files += filtered
    files += sorted(f for pattern in ("spike.dat", "settings.xml") for f in folder.glob(pattern))
    return _Found(arrays, numbers, tuple(files), tuple(problems), attached=False)


def _samples(file: Path, dtype: np.dtype[Any], channels: int) -> int:
    size, sample = file.stat().st_size, dtype.itemsize * channels
    if size % sample:
        raise BadSource(
            f"truncated: {size} bytes, expected a multiple of {sample} ({channels} channels)", file=file,
            place=f"byte {size - size % sample}",
            remedy=f"copy the file again; if the original ends there too, cut every file to {size // sample} samples",
        )  # fmt: skip
    return size // sample


def _streams(header: Header, found: _Found) -> Iterator[Stream]:
    samples = len(found.numbers) if found.numbers is not None else max(map(len, found.arrays.values()))
    if not samples:
        raise BadSource("no samples", file=found.files[0])
    gaps = found.numbers is not None and int(found.numbers[-1:][0]) - int(found.numbers[:1][0]) != samples - 1
    for name, array in found.arrays.items():
        # Slow inputs are stored once for several amplifier samples, or repeated, depending on layout and version.
        every, rest = divmod(samples, len(array)) if len(array) else (0, 1)
        if rest or every not in (1, header.every(name)):
            file = next((f for f in found.files if f.stem == name), found.files[0])
            raise BadSource(
                f"{name}: {len(array)} samples, but the amplifiers have {samples}", file=file,
                remedy="copy the file again; if the originals differ too, cut all files to the shortest",
            )  # fmt: skip
        times = None
        if gaps and found.numbers is not None:
            times = SampleTimes(found.numbers, every, header.rate_hz)
        rate_hz = None if gaps else header.rate_hz / every
        yield from _stream(header, found, name, array, rate_hz, times)


def _stream(
    header: Header, found: _Found, name: str, array: Array, rate_hz: float | None, times: Array | None
) -> Iterator[Stream]:
    kind, scale = KINDS[name], header.scale(name, attached=found.attached)
    signals = header.signals[name]
    if isinstance(array, SideBySide):  # of stimulation, only channels with a file
        there = {part.path.stem for part in array.parts if isinstance(part, RawArray)}
        signals = tuple(s for s in signals if f"{kind.prefix}{s.native}" in there)
    named = [s.native if s.custom in ("", s.native) else f"{s.native} ({s.custom})" for s in signals]
    described = kind.description if name == "amplifier" else f"{kind.description} Channels: {', '.join(named)}."
    unit, gain, offset = (scale.unit, scale.gain, scale.offset) if scale else (None, None, None)
    stream = Stream(
        name=kind.nwb, kind="TimeSeries", axes=("t", "c"), array=array, rate_hz=rate_hz, timestamps=times, unit=unit,
        conversion=1.0 if gain is None else gain, offset=offset or 0.0, description=described,
        channels=tuple(Channel(s.native, unit, gain, offset) for s in signals),
    )  # fmt: skip
    if name == "amplifier":
        yield replace(stream, kind="ElectricalSeries")
    elif name.startswith("digital"):
        yield replace(stream, kind="EventsTable", axes=("t", "c"))
    elif name == "stim":
        yield replace(stream, array=StimWords(array, flags=False))
        yield replace(
            stream, name=f"{kind.nwb}Flags", array=StimWords(array, flags=True), unit=None, conversion=1.0, offset=0.0,
            channels=tuple(Channel(s.native) for s in signals),
            description="Flags of the stimulator, added up: 1 amplifier settle, 2 charge recovery, 4 compliance limit. "
            f"Channels: {', '.join(named)}.",
        )  # fmt: skip
    else:
        yield stream


def _add_amplifier(nwbfile: NWBFile, header: Header, stream: Stream, times: Deferred | None, shift_s: float) -> None:
    """Let neuroconv make electrodes and series out of the header; the samples are the stream's.

    It gets the header with one record of zeros: its reader would read the whole file to compare all running numbers,
    holding about 9 bytes for each.
    """
    from dandify.sources.neuroconv import add_recording, build

    fields: dict[str, Any] = {"conversion": stream.conversion, "offset": stream.offset}
    if times is not None:
        fields |= {"timestamps": times, "rate": None, "starting_time": None}
    record = np.zeros(1, header.record)
    record["time"] = np.arange(header.block)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows: the reader holds the file open
        file = Path(folder) / f"header{header.suffix}"
        file.write_bytes(header.raw + record.tobytes())
        add_recording(
            nwbfile, build("IntanRecordingInterface", {"file_path": file}), name=stream.name,
            description=stream.description or "", shift_s=shift_s, starting_time_s=0.0, array=stream.array,
            fields=fields,
        )  # fmt: skip


def _add_lines(nwbfile: NWBFile, header: Header, stream: Stream, shift_s: float) -> None:
    """Add the edges of the digital lines of a port."""
    from dandify.sources.events import add_events_table, edge_columns, find_edges

    assert stream.array is not None
    signals = {s.native: s for name in ("digitalin", "digitalout") for s in header.signals.get(name, ())}
    # One file per channel holds 0 or 1 for its line; else all lines of the port share a word.
    apart = isinstance(stream.array, SideBySide)
    lines = {16 * i if apart else signals[c.name].order: c.name for i, c in enumerate(stream.channels)}
    edges = find_edges(stream.array, tuple(lines))
    if stream.timestamps is None:
        times_s = shift_s + edges.samples / header.rate_hz
    else:
        times_s = shift_s + _at(stream.timestamps, edges.samples)
    add_events_table(
        nwbfile, name=stream.name, times_s=times_s, source_description=f"Intan {header.suffix[1:].upper()} controller",
        description=f"{stream.description} High in the first sample: "
        f"{', '.join(lines[b] for b in edges.high_at_start) or 'none'}.",
        columns=edge_columns([lines[int(b)] for b in edges.bits], edges.rising),
    )  # fmt: skip


def _at(array: Array, samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values at sorted positions, reading one block at a time."""
    step = array.block[0]
    out = np.empty(len(samples), np.float64)
    for begin in np.unique(samples // step) * step:
        low, high = np.searchsorted(samples, (begin, begin + step))
        out[low:high] = array[int(begin) : int(begin + step)][samples[low:high] - begin]
    return out


converter = IntanConverter()
