"""Writes small recordings in the layout of the Open Ephys GUI's binary format (0.6 and later, and 0.5)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StreamSpec:
    """One continuous stream; samples encode their own place: channel, recording and time."""

    name: str
    processor: str = "Acquisition Board"
    node: int = 100
    rate_hz: float = 1000.0
    channels: tuple[str, ...] = ("CH1", "CH2", "CH3")
    bit_volts: float = 0.195
    units: str = ""
    first_sample: int = 5000

    @property
    def folder(self) -> str:
        return f"{self.processor.replace(' ', '_')}-{self.node}.{self.name}"


@dataclass(frozen=True)
class RecordingSpec:
    """One ``recording<n>``."""

    samples: dict[str, int]  # stream name -> number of samples
    begin_s: float = 0.0  # after the start of the experiment's acquisition
    software_ms: int | None = None
    clock_rates: dict[str, float] = field(default_factory=dict)  # true rate where it is not the nominal one
    ttl: tuple[tuple[float, int], ...] = ()  # seconds after begin, signed line
    messages: tuple[tuple[float, str], ...] = ()


BOARD = StreamSpec("Rhythm Data", channels=("CH1", "CH2", "CH3", "AUX1", "ADC1", "ADC2"))
LFP = StreamSpec("Slow", node=101, rate_hz=250.0, channels=("LFP1", "LFP2"), first_sample=1250)
DAQ = StreamSpec("PXIe-6341", processor="NI-DAQmx", node=103, channels=("AI0", "AI1"), bit_volts=0.0003)
STREAMS = (BOARD, LFP, DAQ)


def samples_of(spec: StreamSpec, recording: int, count: int) -> NDArray[np.int16]:
    time, channel = np.arange(count)[:, None], np.arange(len(spec.channels))[None, :]
    return ((time * 7 + channel * 1001 + recording * 311) % 30011 - 15000).astype("<i2")


def write_record_node(
    folder: Path,
    experiments: dict[int, list[RecordingSpec]],
    *,
    streams: tuple[StreamSpec, ...] = STREAMS,
    name: str = "Record Node 102",
    settings: bool = True,
    old: bool = False,
) -> Path:
    """Write a Record Node; ``old`` for the file names before version 0.6."""
    node = folder / name
    for experiment, recordings in experiments.items():
        for number, recording in enumerate(recordings, 1):
            home = node / f"experiment{experiment}" / f"recording{number}"
            home.mkdir(parents=True)
            _write_recording(home, recording, number, streams, old)
        if settings:
            suffix = "" if experiment == 1 else f"_{experiment}"
            (node / f"settings{suffix}.xml").write_text(
                '<?xml version="1.0" encoding="UTF-8"?>\n<SETTINGS>\n  <INFO>\n    <VERSION>0.6.7</VERSION>\n'
                f"    <DATE>4 Mar 2026 10:1{experiment}:12</DATE>\n  </INFO>\n  <SIGNALCHAIN/>\n</SETTINGS>\n"
            )
    return node


def _write_recording(home: Path, spec: RecordingSpec, number: int, streams: tuple[StreamSpec, ...], old: bool) -> None:
    lines = []
    if spec.software_ms is not None:
        lines.append(f"Software Time (milliseconds since midnight Jan 1st 1970 UTC): {spec.software_ms}")
    entries: list[dict[str, Any]] = []
    present = [s for s in streams if s.name in spec.samples]
    for stream in present:
        first = stream.first_sample + round(spec.begin_s * stream.rate_hz)
        lines.append(
            f"Start Time for {stream.processor} ({stream.node}) - {stream.name} @ {stream.rate_hz:g} Hz: {first}"
        )
        entries.append(_continuous_entry(stream))
        count = spec.samples[stream.name]
        folder = home / "continuous" / stream.folder
        folder.mkdir(parents=True)
        samples_of(stream, number, count).tofile(folder / "continuous.dat")
        _write_times(folder, first + np.arange(count), stream.rate_hz, spec.clock_rates.get(stream.name), old)
    events: list[dict[str, Any]] = []
    if spec.ttl:
        stream = present[0]
        events.append(_event_entry(stream, f"{stream.folder}/TTL", "int16"))
        folder = home / "events" / stream.folder / "TTL"
        folder.mkdir(parents=True)
        first = stream.first_sample + round(spec.begin_s * stream.rate_hz)
        numbers = np.array([first + round(t * stream.rate_hz) for t, _ in spec.ttl])
        _write_times(folder, numbers, stream.rate_hz, None, old)
        np.save(folder / ("channel_states.npy" if old else "states.npy"), np.array([s for _, s in spec.ttl], np.int16))
    if spec.messages:
        stream = present[0]
        events.append(_event_entry(stream, "MessageCenter", "string") | {"source_processor": "Message Center"})
        folder = home / "events" / "MessageCenter"
        folder.mkdir(parents=True)
        first = stream.first_sample + round(spec.begin_s * stream.rate_hz)
        numbers = np.array([first + round(t * stream.rate_hz) for t, _ in spec.messages])
        _write_times(folder, numbers, stream.rate_hz, None, old)
        np.save(folder / "text.npy", np.array([m.encode() for _, m in spec.messages], "S64"))
    (home / "structure.oebin").write_text(
        json.dumps({"GUI version": "0.5.5" if old else "0.6.7", "continuous": entries, "events": events, "spikes": []})
    )
    (home / "sync_messages.txt").write_text("\n".join(lines) + "\n")


def _write_times(folder: Path, numbers: NDArray[np.int64], rate_hz: float, clock_hz: float | None, old: bool) -> None:
    np.save(folder / ("timestamps.npy" if old else "sample_numbers.npy"), numbers.astype(np.int64))
    if not old:
        begin = numbers[0] / rate_hz
        np.save(folder / "timestamps.npy", begin + (numbers - numbers[0]) / (clock_hz or rate_hz))


def _continuous_entry(spec: StreamSpec) -> dict[str, Any]:
    return {
        "folder_name": f"{spec.folder}/", "sample_rate": spec.rate_hz, "source_processor_name": spec.processor,
        "source_processor_id": spec.node, "stream_name": spec.name, "recorded_processor": "Record Node",
        "recorded_processor_id": 102, "num_channels": len(spec.channels),
        "channels": [
            {"channel_name": c, "description": "", "identifier": "", "history": "", "bit_volts": spec.bit_volts,
             "units": spec.units} for c in spec.channels
        ],
    }  # fmt: skip


def _event_entry(spec: StreamSpec, folder: str, kind: str) -> dict[str, Any]:
    return {
        "folder_name": f"{folder}/", "channel_name": "Inputs", "description": "Lines of the board", "identifier": "",
        "sample_rate": spec.rate_hz, "type": kind, "source_processor": spec.processor, "stream_name": spec.name,
        "initial_state": 0,
    }  # fmt: skip
