"""The header of Intan RHD and RHS files, and the layout of the data records behind it.

Source: Intan Technologies, "RHD Application Note: Data File Formats" and "RHS Application Note: Data File Formats".
Everything is little-endian; texts are Qt QStrings (uint32 length in bytes, 0xFFFFFFFF for null, then UTF-16).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from dandify.errors import BadSource

MAGIC: Final = {".rhd": 0xC6912702, ".rhs": 0xD69127AC}

_START = struct.Struct("<Ihh")  # magic number, major and minor version of the data file
# Sampling rate; DSP on; DSP cutoff, bandwidths, actual and desired; notch filter; impedance test, desired and actual.
_RHD_FREQUENCIES = struct.Struct("<fh3f3fh2f")
# The same with the lower settle bandwidth; then amp settle, charge recovery, stim step, recovery current and voltage.
_RHS_FREQUENCIES = struct.Struct("<fh4f4fh2f2h3f")
_GROUP = struct.Struct("<3h")  # enabled, channels, amplifier channels
# Native order, custom order, signal type, enabled, chip channel, [command stream,] board stream, trigger mode, voltage
# threshold, digital trigger, edge polarity, impedance magnitude and phase.
_RHD_CHANNEL = struct.Struct("<10h2f")
_RHS_CHANNEL = struct.Struct("<11h2f")

_RHD_TYPES: Final = ("amplifier", "auxiliary", "supply", "analogin", "digitalin", "digitalout")
_RHS_TYPES: Final = ("amplifier", "", "", "analogin", "analogout", "digitalin", "digitalout")

_STREAM_ORDER: Final = (  # of the fields of a record
    "amplifier", "dcamplifier", "stim", "auxiliary", "supply", "temperature", "analogin", "analogout", "digitalin",
    "digitalout",
)  # fmt: skip

_AMPLIFIER_UV = 0.195
_ADC_SCALES: Final = {  # evaluation board mode: volts per bit, raw value of 0 V
    0: (0.000050354, 0),  # RHD2000 USB interface board
    1: (0.00015259, 32768),  # Intan RHD recording with +-5 V inputs
    13: (0.0003125, 32768),  # RHD recording controller
}


@dataclass(frozen=True)
class Signal:
    """One enabled channel as the header has it.

    Attributes
    ----------
    native, custom
        Name that the hardware gives (``A-003``) and that the operator gave.
    order
        Number within its port; for digital lines their bit.
    """

    native: str
    custom: str
    order: int


@dataclass(frozen=True)
class Scale:
    """Physical value = raw * gain + offset in `unit` (NWB spelling); None where the header does not tell."""

    unit: str
    gain: float
    offset: float


@dataclass(frozen=True)
class Header:
    """What a header states.

    Attributes
    ----------
    suffix
        ``.rhd`` or ``.rhs``.
    version
        Of the data file: (major, minor).
    rate_hz
        Amplifier sampling rate.
    notes
        What the operator typed, without empty ones.
    signals
        Enabled channels by stream, in the order in which samples are stored.
    board_mode
        Says how analog inputs scale.
    stim_step_a
        Amperes per step of the stimulation current (RHS).
    size
        Bytes of the header.
    raw
        Those bytes.
    """

    suffix: str
    version: tuple[int, int]
    rate_hz: float
    notes: tuple[str, ...]
    signals: dict[str, tuple[Signal, ...]]
    board_mode: int
    stim_step_a: float
    size: int
    raw: bytes

    @property
    def block(self) -> int:
        """Amplifier samples in a record of a header-attached file."""
        return 128 if self.suffix == ".rhs" or self.version >= (2, 0) else 60

    @property
    def record(self) -> np.dtype[Any]:
        """Record of a header-attached file."""
        n = self.block
        number = "<i4" if self.suffix == ".rhs" or self.version >= (1, 2) else "<u4"
        fields: list[tuple[str, str, tuple[int, ...]]] = [("time", number, (n,))]
        for stream, signals in self.signals.items():
            if stream.startswith("digital"):
                fields.append((stream, "<u2", (1, n)))  # all lines of a port in one word
            else:
                kind = "<i2" if stream == "temperature" else "<u2"
                fields.append((stream, kind, (len(signals), n // self.every(stream))))
        return np.dtype(fields)

    def every(self, stream: str) -> int:
        """How many amplifier samples there are for one sample of a stream in a header-attached file."""
        return {"auxiliary": 4, "supply": self.block, "temperature": self.block}.get(stream, 1)

    def scale(self, stream: str, *, attached: bool) -> Scale | None:
        """How a stream scales; amplifier samples are unsigned in header-attached files and signed in the others."""
        if stream == "amplifier":
            return Scale("volts", _AMPLIFIER_UV * 1e-6, (-32768 * _AMPLIFIER_UV * 1e-6) if attached else 0.0)
        if stream == "auxiliary":
            return Scale("volts", 0.0000374, 0.0)
        if stream == "supply":
            return Scale("volts", 0.0000748, 0.0)
        if stream == "temperature":
            return Scale("degrees Celsius", 0.01, 0.0)
        if stream == "dcamplifier":
            # Intan's readers negate (the DC amplifier inverts); neo 0.14 has the other sign.
            return Scale("volts", -0.01923, 512 * 0.01923)
        if stream == "stim":
            return Scale("amperes", self.stim_step_a, 0.0)
        if stream in ("analogin", "analogout"):
            gain, zero = _ADC_SCALES[13] if self.suffix == ".rhs" else _ADC_SCALES.get(self.board_mode, (0.0, 0))
            return Scale("volts", gain, -zero * gain) if gain else None
        return None


def is_header(path: Path) -> bool:
    """Whether the first bytes are those of an Intan header of the file's suffix."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return False
    return len(start) == 4 and int.from_bytes(start, "little") == MAGIC.get(path.suffix.lower())


def read_header(path: Path) -> Header:
    """Read the header of a ``.rhd`` or ``.rhs`` file.

    Raises
    ------
    dandify.errors.BadSource
        If it ends early or is none.
    """
    size = 1 << 16
    while True:
        with path.open("rb") as file:
            start = file.read(size)
        try:
            return _parse(path, start)
        except (struct.error, EOFError):
            if len(start) < size:
                raise BadSource(
                    "the file ends within its header",
                    file=path,
                    place=f"byte {len(start)}",
                    remedy="copy the file again from the acquisition computer",
                ) from None
            size *= 4


def _parse(path: Path, start: bytes) -> Header:
    file = BytesIO(start)
    suffix = path.suffix.lower()
    magic, *version = _unpack(file, _START)
    if magic != MAGIC.get(suffix):
        raise BadSource(f"not an Intan {suffix} file: it starts with 0x{magic:08X}", file=path, place="byte 0")
    major, minor = version
    stim_step_a, dc_saved, temperatures, board_mode = 0.0, 0, 0, 0
    if suffix == ".rhd":
        rate_hz = _unpack(file, _RHD_FREQUENCIES)[0]
        notes = [_text(file) for _ in range(3)]
        if (major, minor) >= (1, 1):
            temperatures = _short(file)
        if (major, minor) >= (1, 3):
            board_mode = _short(file)
        if (major, minor) >= (2, 0):
            _text(file)  # reference channel
    else:
        rate_hz, *_, stim_step_a, _current, _voltage = _unpack(file, _RHS_FREQUENCIES)
        notes = [_text(file) for _ in range(3)]
        dc_saved, board_mode = _short(file), _short(file)
        _text(file)  # reference channel
    if not 0 < rate_hz < 1e6:
        raise BadSource(f"the header states a sampling rate of {rate_hz} Hz", file=path, place="byte 8")
    found = _signals(path, file, suffix)
    amplifier = found.get("amplifier", [])
    if suffix == ".rhs":  # the header lists amplifiers; each brings a DC and a stimulation channel
        found["stim"] = amplifier
        found["dcamplifier"] = amplifier if dc_saved else []
    found["temperature"] = [Signal(f"temperature_{i}", f"temperature_{i}", i) for i in range(temperatures)]
    signals = {name: tuple(found[name]) for name in _STREAM_ORDER if found.get(name)}
    return Header(
        suffix=suffix, version=(major, minor), rate_hz=rate_hz, notes=tuple(n.strip() for n in notes if n.strip()),
        signals=signals, board_mode=board_mode, stim_step_a=stim_step_a, size=file.tell(), raw=start[: file.tell()],
    )  # fmt: skip


def _signals(path: Path, file: BytesIO, suffix: str) -> dict[str, list[Signal]]:
    types, layout = (_RHD_TYPES, _RHD_CHANNEL) if suffix == ".rhd" else (_RHS_TYPES, _RHS_CHANNEL)
    found: dict[str, list[Signal]] = {}
    for _ in range(_short(file)):
        group = _text(file)
        _text(file)  # prefix of the channel names
        enabled, channels, _amplifiers = _unpack(file, _GROUP)
        for _ in range(channels if enabled else 0):
            native, custom = _text(file), _text(file)
            order, _custom_order, kind, channel_enabled, *_ = _unpack(file, layout)
            if not 0 <= kind < len(types) or not types[kind]:
                raise BadSource(f"channel {native!r} has the unknown signal type {kind}", file=path, place=group)
            if channel_enabled:
                found.setdefault(types[kind], []).append(Signal(native, custom, order))
    return found


def _unpack(file: BytesIO, layout: struct.Struct) -> tuple[Any, ...]:
    return layout.unpack(file.read(layout.size))


def _short(file: BytesIO) -> int:
    value: int = struct.unpack("<h", file.read(2))[0]
    return value


def _text(file: BytesIO) -> str:
    length: int = struct.unpack("<I", file.read(4))[0]
    if length in (0, 0xFFFFFFFF):
        return ""
    raw = file.read(length)
    if len(raw) < length:
        raise EOFError
    return raw.decode("utf-16-le", errors="replace")
