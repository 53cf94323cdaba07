"""Writes small Intan recordings in the layouts of Intan's data file format documents."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RHD_TYPES = {"amplifier": 0, "auxiliary": 1, "supply": 2, "analogin": 3, "digitalin": 4, "digitalout": 5}
RHS_TYPES = {"amplifier": 0, "analogin": 3, "analogout": 4, "digitalin": 5, "digitalout": 6}
NATIVE = {
    "amplifier": "A-{:03d}", "auxiliary": "A-AUX{}", "supply": "A-VDD{}", "analogin": "ANALOG-IN-{}",
    "analogout": "ANALOG-OUT-{}", "digitalin": "DIGITAL-IN-{:02d}", "digitalout": "DIGITAL-OUT-{:02d}",
}  # fmt: skip
PREFIX = {"amplifier": "amp", "auxiliary": "aux", "supply": "vdd", "dcamplifier": "dc", "stim": "stim"}
ORDER = ("amplifier", "dcamplifier", "stim", "auxiliary", "supply", "temperature", "analogin", "analogout",
         "digitalin", "digitalout")  # fmt: skip


@dataclass
class Recording:
    """Channels by type, and samples made up for them: (samples, channels), as header-attached files hold them."""

    suffix: str = ".rhd"
    version: tuple[int, int] = (1, 5)
    rate_hz: float = 20000.0
    records: int = 4
    first: int = 0
    channels: dict[str, int] = field(
        default_factory=lambda: {"amplifier": 3, "auxiliary": 2, "supply": 1, "analogin": 2, "digitalin": 3}
    )
    temperatures: int = 0
    dc: bool = False
    board_mode: int = 0
    notes: tuple[str, str, str] = ("mouse 7", "", "µV check")
    seed: int = 0

    @property
    def block(self) -> int:
        return 128 if self.suffix == ".rhs" or self.version[0] >= 2 else 60

    @property
    def samples(self) -> int:
        return self.records * self.block

    def every(self, name: str) -> int:
        return {"auxiliary": 4, "supply": self.block, "temperature": self.block}.get(name, 1)

    def counts(self) -> dict[str, int]:
        counts = dict(self.channels)
        if self.suffix == ".rhs":
            counts["stim"] = counts["amplifier"]
            if self.dc:
                counts["dcamplifier"] = counts["amplifier"]
        if self.temperatures:
            counts["temperature"] = self.temperatures
        return {name: counts[name] for name in ORDER if counts.get(name)}

    def data(self) -> dict[str, NDArray[Any]]:
        rng = np.random.default_rng(self.seed)
        out: dict[str, NDArray[Any]] = {}
        for name, count in self.counts().items():
            rows = self.samples // self.every(name)
            if name.startswith("digital"):  # slow square waves; line i is bit i
                time = np.arange(rows)
                lines = time[:, None] // (17 * (np.arange(count) + 1)) % 2
                out[name] = (lines << np.arange(count)).sum(axis=1, keepdims=True).astype("<u2")
            elif name == "stim":  # 8 bits of magnitude, the sign, three flags
                out[name] = (rng.integers(0, 512, (rows, count)) | (rng.integers(0, 8, (rows, count)) << 13)).astype(
                    "<u2"
                )
            elif name == "temperature":
                out[name] = rng.integers(2000, 4000, (rows, count)).astype("<i2")
            else:
                out[name] = rng.integers(0, 1024 if name == "dcamplifier" else 65536, (rows, count)).astype("<u2")
        return out

    def numbers(self) -> NDArray[Any]:
        kind = "<u4" if self.suffix == ".rhd" and self.version < (1, 2) else "<i4"
        return np.arange(self.first, self.first + self.samples).astype(kind)


def qstring(text: str) -> bytes:
    raw = text.encode("utf-16-le")
    return struct.pack("<I", len(raw)) + raw if raw else struct.pack("<I", 0xFFFFFFFF)


def header(recording: Recording) -> bytes:
    rhd, version = recording.suffix == ".rhd", recording.version
    out = struct.pack("<Ihhf", 0xC6912702 if rhd else 0xD69127AC, *version, recording.rate_hz)
    if rhd:
        out += struct.pack("<h3f3fh2f", 1, 0.7, 0.1, 7600, 1, 0.1, 7500, 0, 1000, 1000)
    else:
        out += struct.pack("<h4f4fh2f", 1, 0.7, 0.1, 1000, 7600, 1, 0.1, 1000, 7500, 0, 1000, 1000)
        out += struct.pack("<hh3f", 0, 1, 1e-6, 1e-9, 0.5)  # amp settle, charge recovery; step 1 µA
    out += b"".join(map(qstring, recording.notes))
    if rhd:
        out += struct.pack("<h", recording.temperatures) if version >= (1, 1) else b""
        out += struct.pack("<h", recording.board_mode) if version >= (1, 3) else b""
        out += qstring("n/a") if version >= (2, 0) else b""
    else:
        out += struct.pack("<hh", recording.dc, 14) + qstring("hardware")
    types = RHD_TYPES if rhd else RHS_TYPES
    out += struct.pack("<h", 2)  # groups: one that is switched off, and one with every channel
    out += qstring("Port B") + qstring("B") + struct.pack("<3h", 0, 0, 0)
    total = sum(recording.channels.values())
    out += qstring("Port A") + qstring("A") + struct.pack("<3h", 1, total + 1, recording.channels["amplifier"])
    layout = "<10h2f" if rhd else "<11h2f"
    for name, count in recording.channels.items():
        for i in range(count):
            native = NATIVE[name].format(i + (name in ("auxiliary", "supply")))
            out += qstring(native) + qstring(f"my {native}")
            out += struct.pack(layout, i, i, types[name], 1, i, *([0] * (5 if rhd else 6)), 1e6, -20.0)
    out += (
        qstring("A-099") + qstring("off") + struct.pack(layout, 99, 99, 0, 0, 0, *([0] * (5 if rhd else 6)), 0.0, 0.0)
    )
    return out


def write_attached(path: Path, recording: Recording) -> Path:
    """One file: the header, then records of every type."""
    data, n = recording.data(), recording.block
    numbers = recording.numbers()
    out = [header(recording)]
    for r in range(recording.records):
        out.append(numbers[r * n : (r + 1) * n].tobytes())
        for name, values in data.items():
            each = n // recording.every(name)
            out.append(values[r * each : (r + 1) * each].T.tobytes())  # one channel after the other
    path.write_bytes(b"".join(out))
    return path


def split_values(recording: Recording, name: str) -> NDArray[Any]:
    """Samples as the split layouts hold them: amplifier channels signed."""
    values = recording.data()[name]
    return (values.astype("<i4") - 32768).astype("<i2") if name == "amplifier" else values


def write_per_signal(folder: Path, recording: Recording) -> Path:
    """A folder with info.rhd, time.dat and one file for each signal type."""
    folder.mkdir(parents=True)
    (folder / f"info{recording.suffix}").write_bytes(header(recording))
    (folder / "time.dat").write_bytes(recording.numbers().tobytes())
    for name in recording.counts():
        (folder / f"{name}.dat").write_bytes(split_values(recording, name).tobytes())
    return folder


def write_per_channel(folder: Path, recording: Recording) -> Path:
    """A folder with info.rhd, time.dat and one file for each channel."""
    folder.mkdir(parents=True)
    (folder / f"info{recording.suffix}").write_bytes(header(recording))
    (folder / "time.dat").write_bytes(recording.numbers().tobytes())
    for name, count in recording.counts().items():
        values = split_values(recording, name)
        of = "amplifier" if name in ("dcamplifier", "stim") else name
        for i in range(count):
            native = NATIVE[of].format(i + (of in ("auxiliary", "supply")))
            column = (values[:, 0] >> i & 1).astype("<u2") if name.startswith("digital") else values[:, i]
            (folder / f"{PREFIX.get(name, 'board')}-{native}.dat").write_bytes(column.tobytes())
    return folder
