"""Writes small ABF 1 and ABF 2 files that neo and pyABF read."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 512


@dataclass
class Abf:
    """What to write; every sweep has the same number of samples."""

    channels: Sequence[tuple[str, str, float]] = (("IN 0", "pA", 0.0005), ("Vm", "mV", 0.01))  # name, unit, V per unit
    commands: Sequence[str] = ("mV",)
    sweeps: int = 3
    samples: int = 700
    rate_hz: float = 10000.0
    pause_s: float = 0.0
    mode: int = 5
    date: int = 20240229
    time_ms: int = 45_000_250
    telegraph: int | None = None  # clamp mode of a MultiClamp on the first channel
    protocol: str = "C:\\Axon\\steps.pro"
    comment: str = "cell 3"
    tags: Sequence[tuple[int, str]] = ()

    def data(self) -> NDArray[Any]:
        """(sweeps * samples, channels) int16."""
        rng = np.random.default_rng(1)
        return rng.integers(-32768, 32768, (self.sweeps * self.samples, len(self.channels))).astype("<i2")

    def synch(self, unit_us: float) -> bytes:
        """Start of each sweep in the unit, and its length in samples of all channels."""
        step = (self.samples / self.rate_hz + self.pause_s) * 1e6 / unit_us
        points = self.samples * len(self.channels)
        return b"".join(struct.pack("<ii", round(i * step), points) for i in range(self.sweeps))


def padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % BLOCK)


def write_abf2(path: Path, abf: Abf) -> Path:
    """Header block, then the sections one after the other."""
    unit_us, strings = 5.0, ["Clampex", abf.protocol, abf.comment]

    def text(value: str) -> int:
        strings.append(value)
        return len(strings)

    protocol = bytearray(512)
    for place, kind, value in (
        (0, "h", abf.mode), (2, "f", 1e6 / abf.rate_hz), (14, "f", unit_us), (22, "i", abf.samples * len(abf.channels)),
        (30, "i", abf.sweeps), (62, "f", 0.0), (110, "f", 10.0), (114, "f", 10.0), (118, "i", 32768), (122, "i", 32768),
        (132, "i", 3), (206, "h", 6),
    ):  # fmt: skip
        struct.pack_into("<" + kind, protocol, place, value)
    adc, dac = b"", b""
    for i, (name, unit, volts) in enumerate(abf.channels):
        entry = bytearray(128)
        mode = abf.telegraph if i == 0 else None
        values = (
            (0, "h", i), (2, "h", mode is not None), (4, "h", 0 if mode is None else 24), (6, "f", 2.0),
            (18, "h", mode or 0), (28, "f", 1.0), (40, "f", volts), (48, "f", 1.0),
            (74, "i", text(name)), (78, "i", text(unit)),
        )  # fmt: skip
        for place, kind, value in values:
            struct.pack_into("<" + kind, entry, place, value)
        adc += bytes(entry)
    for i, unit in enumerate(abf.commands):
        entry = bytearray(256)
        for place, kind, value in ((0, "h", i), (24, "i", text(f"Cmd {i}")), (28, "i", text(unit)), (40, "h", 1)):
            struct.pack_into("<" + kind, entry, place, value)
        dac += bytes(entry)
    pool = "\0".join(strings).encode("cp1252") + b"\0"
    pool = struct.pack("<4sIIIi6I", b"SSCH", 1, len(strings), 64, len(pool), *[0] * 6) + pool
    tags = b"".join(struct.pack("<i56shh", t, c.encode().ljust(56), 1, 0) for t, c in abf.tags)
    sections = {  # number of the section -> its bytes, bytes of an entry, entries
        0: (bytes(protocol), 512, 1), 1: (adc, 128, len(abf.channels)), 2: (dac, 256, len(abf.commands)),
        9: (pool, len(pool), 1), 10: (abf.data().tobytes(), 2, abf.sweeps * abf.samples * len(abf.channels)),
        11: (tags, 64, len(abf.tags)), 15: (abf.synch(unit_us), 8, abf.sweeps),
    }  # fmt: skip
    first = bytearray(BLOCK)
    struct.pack_into("<4s4bIIII", first, 0, b"ABF2", 0, 0, 6, 2, 512, abf.sweeps, abf.date, abf.time_ms)
    struct.pack_into("<HH", first, 28, 1, 0)
    struct.pack_into("<4BI", first, 56, 3, 0, 7, 10, 1)  # written by version 10.7.0.3 of string 1
    struct.pack_into("<I", first, 72, 2)
    body = b""
    for number, (raw, entry_bytes, count) in sections.items():
        if raw:
            struct.pack_into("<IIq", first, 76 + 16 * number, 1 + len(body) // BLOCK, entry_bytes, count)
            body += padded(raw)
    path.write_bytes(bytes(first) + body)
    return path


def write_abf1(path: Path, abf: Abf) -> Path:
    """A header of 6144 bytes with everything at fixed places, then samples, sweeps and tags."""
    unit_us, head, count = 5.0, bytearray(6144), len(abf.channels)
    samples, synch = padded(abf.data().tobytes()), padded(abf.synch(unit_us))
    data_block = len(head) // BLOCK
    synch_block = data_block + len(samples) // BLOCK
    gains = [volts for _, _, volts in abf.channels] + [1.0] * (16 - count)
    values: list[tuple[int, str, Any]] = [
        (0, "4s", b"ABF "), (4, "f", 1.84), (8, "h", abf.mode), (10, "i", abf.sweeps * abf.samples * count),
        (16, "i", abf.sweeps), (20, "i", abf.date), (24, "i", abf.time_ms // 1000), (36, "h", 1), (40, "i", data_block),
        (44, "i", synch_block + len(synch) // BLOCK), (48, "i", len(abf.tags)), (92, "i", synch_block),
        (96, "i", abf.sweeps), (120, "h", count), (122, "f", 1e6 / abf.rate_hz / count), (130, "f", unit_us),
        (138, "i", abf.samples * count), (146, "i", abf.sweeps), (244, "f", 10.0), (248, "f", 10.0), (252, "i", 32768),
        (256, "i", 32768), (294, "16s", b"Clampex".ljust(16)), (366, "h", abf.time_ms % 1000),
        (4898, "256s", abf.protocol.encode().ljust(256)), (5154, "128s", abf.comment.encode().ljust(128)),
        (5798, "4h", (10, 3, 0, 2)), (378, "16h", range(16)), (410, "16h", [*range(count), *[-1] * (16 - count)]),
        (730, "16f", [1.0] * 16), (922, "16f", gains), (1050, "16f", [1.0] * 16),
        (2296, "2h", [int(i < len(abf.commands)) for i in range(2)]),
    ]  # fmt: skip
    for i, (name, unit, _) in enumerate(abf.channels):
        values.append((442 + 10 * i, "10s", name.encode("cp1252").ljust(10)))
        values.append((602 + 8 * i, "8s", unit.encode("cp1252").ljust(8)))
    for i in range(4):
        unit = abf.commands[i] if i < len(abf.commands) else ""
        values += [(1306 + 10 * i, "10s", f"Cmd {i}".encode().ljust(10)), (1346 + 8 * i, "8s", unit.encode().ljust(8))]
    if abf.telegraph is not None:
        values += [(4512, "h", 1), (4544, "h", 24), (4576, "f", 2.0), (4768, "h", abf.telegraph)]
    for place, kind, value in values:
        many = isinstance(value, (list, tuple, range))
        struct.pack_into("<" + kind, head, place, *(value if many else (value,)))
    tags = b"".join(struct.pack("<i56shh", t, c.encode().ljust(56), 1, 0) for t, c in abf.tags)
    path.write_bytes(bytes(head) + samples + synch + padded(tags))
    return path
