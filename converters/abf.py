"""Axon Binary Format (ABF 1 and 2): intracellular recordings of Clampex and AxoScope.

The NWB objects are built here rather than by neuroconv (0.10): its `AbfInterface` is deprecated and takes every channel
for a patch-clamp response; its `AxonIntracellularInterface` wants the clamp mode from the user, cannot hold channels of
other units (temperature, pressure, a laser), and reads all samples into memory with 8 bytes of time for each. The
arrangement is the one of `AxonIntracellularInterface`: one series for each channel, its sweeps one after the other,
each sweep a row of the intracellular recordings table with the place of its samples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.sources import Array, Channel, Converter, NWBSource, RawArray, Source, Stream, Verdict
from dandify.sources.vendors.abf_header import MAGIC, AbfHeader, AdcChannel, Sweep, read_abf_header

if TYPE_CHECKING:
    from pynwb import NWBFile
    from pynwb.icephys import IntracellularElectrode

    from dandify.store.region import Region

_PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0}
_SCALED = {
    f"{prefix}{base}": (unit, factor)
    for base, unit in (("A", "amperes"), ("V", "volts"))
    for prefix, factor in _PREFIXES.items()
}
_SPELLED = {"deg C": "degrees Celsius", "degC": "degrees Celsius", "°C": "degrees Celsius", "um": "micrometers",
            "µm": "micrometers", "mmHg": "mmHg", "dB": "decibels"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class OneChannel(Array):
    """One column of interleaved samples, (samples,)."""

    raw: RawArray

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples,)."""
        return self.raw.shape[:1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As in the file."""
        return self.raw.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """As many samples as are read at once."""
        return (max(1, self.raw.block[0] // self.raw.channels),)

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region."""
        return self.raw[(region[0], slice(0, 1))][:, 0]


@dataclass(frozen=True, eq=False)
class SweepTimes(Array):
    """Times of the samples of sweeps with pauses between them, in seconds after the start of the source, (samples,)."""

    sweeps: tuple[Sweep, ...]
    rate_hz: float
    shift_s: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples,)."""
        return (sum(s.count for s in self.sweeps),)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Seconds."""
        return np.dtype("<f8")

    @property
    def block(self) -> tuple[int, ...]:
        """4 MiB of times."""
        return (max(1, min(self.shape[0], 2**19)),)

    def read(self, region: Region) -> NDArray[Any]:
        """Compute the times of a region."""
        begin, end = region[0].start, region[0].stop
        out = np.empty(end - begin, "<f8")
        for sweep in self.sweeps:
            low, high = max(begin, sweep.first), min(end, sweep.first + sweep.count)
            if low < high:
                times = sweep.start_s + self.shift_s + (np.arange(low, high) - sweep.first) / self.rate_hz
                out[low - begin : high - begin] = times
        return out


@dataclass(frozen=True, kw_only=True)
class AbfSource(NWBSource):
    """An ABF file: one series for each channel, one row of the icephys tables for each sweep."""

    header: AbfHeader

    def add_to_nwbfile(self, nwbfile: NWBFile, *, shift_s: float = 0.0) -> None:
        """Add series with their electrodes, the tables of sweeps, and the operator's tags as events."""
        from dandify.sources.deferred import Deferred
        from dandify.sources.neuroconv import add_time_series, free_name

        responses: list[tuple[Any, Any]] = []
        for stream, channel in zip(self.streams, self.header.channels, strict=True):
            assert stream.array is not None
            times = None
            if isinstance(stream.timestamps, SweepTimes):
                times = Deferred(SweepTimes(stream.timestamps.sweeps, stream.timestamps.rate_hz, shift_s))
            begin_s = stream.starting_time_s + shift_s
            if stream.kind == "TimeSeries":
                add_time_series(
                    nwbfile, name=stream.name, description=stream.description or "", array=stream.array,
                    unit=stream.unit or "unknown", rate_hz=stream.rate_hz, starting_time_s=begin_s, timestamps=times,
                    conversion=stream.conversion, offset=stream.offset,
                )  # fmt: skip
                continue
            from pynwb import icephys

            electrode = _electrode(nwbfile, self, stream, channel)
            when = {"timestamps": times} if times is not None else {"rate": stream.rate_hz, "starting_time": begin_s}
            protocol = None if stream.kind == "IZeroClampSeries" else self.header.protocol  # NWB: no stimulus there
            described = {"stimulus_description": protocol} if protocol else {}
            unit = {"unit": stream.unit} if stream.kind == "PatchClampSeries" else {}
            series = getattr(icephys, stream.kind)(
                name=free_name(nwbfile, stream.name), description=stream.description, data=Deferred(stream.array),
                conversion=stream.conversion, offset=stream.offset, electrode=electrode, **when, **described, **unit,
            )  # fmt: skip
            nwbfile.add_acquisition(series)
            if stream.kind != "PatchClampSeries":  # the table tells responses from stimuli: only where the file does
                responses.append((electrode, series))
        _add_sweeps(nwbfile, responses, self.header)
        _add_tags(nwbfile, self, shift_s)


class AbfConverter(Converter):
    """Axon Binary Format files."""

    name = "abf"
    title = "Axon ABF"
    patterns = ("*.abf",)
    looks_like = "NAME.abf, of Clampex or AxoScope, version 1 or 2"
    becomes = "VoltageClampSeries, CurrentClampSeries, other TimeSeries; one row of the icephys tables for each sweep"

    def identify(self, path: Path) -> Verdict:
        """Look at the first four bytes."""
        try:
            with path.open("rb") as file:
                start = file.read(4)
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        if start not in MAGIC:
            return Verdict(False, f"starts with {start!r}, not with 'ABF ' or 'ABF2'")
        return Verdict(True, f"starts with {start.decode()!r}")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the header."""
        if options:
            raise BadRequest(f"abf takes no options: {', '.join(options)}", file=path)
        header = read_abf_header(path)
        amplifiers = dict.fromkeys(c.amplifier for c in header.channels if c.amplifier)
        device = ", ".join(amplifiers) or header.digitizer
        facts: dict[str, Any] = {
            "session_start_time": header.start, "software": header.software, "description": header.comment,
            "device": device,
        }  # fmt: skip
        problems = []
        if header.start is None:
            problems.append("the header has no valid date of recording")
        if not header.paused and not header.timed and len(header.sweeps) > 1:
            problems.append("the header does not say when the sweeps started: they are taken as following each other")
        info = path.with_suffix(".abfinfo")
        return AbfSource(
            format=self.name, path=path, files=(path, info) if info.is_file() else (path,),
            streams=_streams(path, header), facts={k: v for k, v in facts.items() if v}, problems=tuple(problems),
            header=header,
        )  # fmt: skip


def _streams(path: Path, header: AbfHeader) -> tuple[Stream, ...]:
    kinds = _kinds(header)
    regular = not header.paused
    times = None if regular else SweepTimes(header.sweeps, header.rate_hz)
    count = len(header.sweeps)
    lengths = sorted({s.count / header.rate_hz for s in header.sweeps})
    length = f"{lengths[0]:g} s" if len(lengths) == 1 else f"{lengths[0]:g} to {lengths[-1]:g} s"
    sweeps = f"{count} sweeps of {length}, one after the other" if count > 1 else f"one sweep of {length}"
    out: list[Stream] = []
    for i, (channel, kind) in enumerate(zip(header.channels, kinds, strict=True)):
        unit, scale = _SCALED.get(channel.unit, (_SPELLED.get(channel.unit, channel.unit or None), 1.0))
        name = f"{kind}_{_word(path.stem)}_{_word(channel.name) or f'ch{i}'}"
        if name in {s.name for s in out}:
            name += f"_{i}"
        raw = RawArray(path, header.dtype, header.samples, len(header.channels), header.data_bytes, (i, i + 1))
        gain, offset = channel.gain * scale, channel.offset * scale
        protocol = f" Protocol: {header.protocol}." if header.protocol else ""
        out.append(Stream(
            name=name, kind=kind, axes=("t",), array=OneChannel(raw), unit=unit, conversion=gain, offset=offset,
            rate_hz=header.rate_hz if regular else None, timestamps=times, starting_time_s=header.sweeps[0].start_s,
            channels=(Channel(channel.name, unit, gain, offset),),
            description=f"Channel {channel.name} of {path.name}: {header.mode}, {sweeps}.{protocol}",
        ))  # fmt: skip
    return tuple(out)


def _kinds(header: AbfHeader) -> list[str]:
    """Tell what each channel is, by what the amplifier telegraphs, else by its unit and the units of the commands.

    Only units with a prefix (pA, mV) are those of a cell; V and A are what an unscaled input or a light source has.
    """
    measured = ["" if c.unit in ("A", "V") else _SCALED.get(c.unit, ("", 0))[0] for c in header.channels]
    commanded = {_SCALED[u][0] for u in header.commands if u in _SCALED}
    return [_kind(c, m, measured, commanded) for c, m in zip(header.channels, measured, strict=True)]


def _kind(channel: AdcChannel, measured: str, every: Sequence[str], commanded: set[str]) -> str:
    if not measured:
        return "TimeSeries"
    if channel.clamp is not None:
        if (channel.clamp == "voltage") == (measured == "amperes"):
            clamps = {"voltage": "VoltageClampSeries", "current": "CurrentClampSeries", "izero": "IZeroClampSeries"}
            return clamps[channel.clamp]
        return "PatchClampSeries"  # the amplifier's second output: what it commands
    other = "volts" if measured == "amperes" else "amperes"
    # The commanded quantity is the other one; where nothing is commanded, there is only one that can be the response.
    if commanded == {other} or (not commanded and other not in every):
        return "VoltageClampSeries" if measured == "amperes" else "CurrentClampSeries"
    return "PatchClampSeries"


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def _electrode(nwbfile: NWBFile, source: AbfSource, stream: Stream, channel: AdcChannel) -> IntracellularElectrode:
    from dandify.sources.neuroconv import add_device

    if channel.amplifier:
        fields = {"name": channel.amplifier, "description": "Amplifier, as telegraphed to Clampex."}
    else:
        fields = {"name": "amplifier", "description": "Amplifier; its model is not stated in the file."}
    device = add_device(nwbfile, fields)
    name = f"electrode_{stream.name.split('_', 1)[1]}"
    number, free = 2, name
    while free in nwbfile.icephys_electrodes:
        number, free = number + 1, f"{name}_{number}"
    return nwbfile.create_icephys_electrode(
        name=free, device=device, description=f"Electrode of channel {channel.name} of {source.path.name}."
    )


def _add_sweeps(nwbfile: NWBFile, responses: Sequence[tuple[Any, Any]], header: AbfHeader) -> None:
    """Add one recording for each sweep and channel, grouped by sweep, and the run where its protocol is known."""
    if not responses:
        return
    simultaneous = []
    for sweep in header.sweeps:
        rows = [
            nwbfile.add_intracellular_recording(
                electrode=electrode, response=series, response_start_index=sweep.first,
                response_index_count=sweep.count,
            )
            for electrode, series in responses
        ]  # fmt: skip
        simultaneous.append(nwbfile.add_icephys_simultaneous_recording(recordings=np.array(rows)))
    if header.protocol:
        nwbfile.add_icephys_sequential_recording(
            simultaneous_recordings=np.array(simultaneous), stimulus_type=header.protocol
        )


def _add_tags(nwbfile: NWBFile, source: AbfSource, shift_s: float) -> None:
    from dandify.sources.events import add_events_table

    times_s, texts = [t for t, _ in source.header.tags], [text for _, text in source.header.tags]
    add_events_table(
        nwbfile,
        name=f"Tags_{_word(source.path.stem)}",
        description=f"Tags in {source.path.name}, set while recording.",
        source_description=source.header.software or "Axon ABF file",
        times_s=np.array(times_s, np.float64) + shift_s,
        columns=[("annotation", "Text of the tag.", texts)],
    )


converter = AbfConverter()
