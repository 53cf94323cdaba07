"""The headers of Axon Binary Format files, ABF 1.x and 2.x.

Sources: Molecular Devices, "Axon Binary File Format (ABF) 1.8" (field offsets in bytes) and "ABF File Support Pack" for
ABF 2; the sections of ABF 2 as pyABF documents them. Everything is little-endian; pointers count blocks of 512 bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PureWindowsPath
from typing import Any, Final, Literal

import numpy as np

from dandify.errors import BadSource

MAGIC: Final = (b"ABF ", b"ABF2")
BLOCK: Final = 512
GAP_FREE: Final = 3
_MODES: Final = {1: "event-driven, variable length", 2: "event-driven, fixed length", 3: "gap-free", 5: "episodic"}
_OLD_HEADER: Final = 2048  # bytes of the header before version 1.6; the fields behind do not exist then
_NEW_HEADER: Final = 6144

# ABF 2: places of the section descriptors (block, bytes of an entry, entries) in the file's first block.
_SECTIONS: Final = {"protocol": 76, "adc": 92, "dac": 108, "strings": 220, "data": 236, "tags": 252, "synch": 316}
_SECTION = struct.Struct("<IIq")
_STRINGS_START: Final = 44  # signature SSCH, version, count, longest, bytes, six unused words

_PROTOCOL = np.dtype({
    "names": ["mode", "interval_us", "synch_unit_us", "start_to_start_s", "adc_range", "adc_resolution", "comment",
              "digitizer"],
    "formats": ["<i2", "<f4", "<f4", "<f4", "<f4", "<i4", "<i4", "<i2"],
    "offsets": [0, 2, 14, 62, 110, 118, 132, 206],
    "itemsize": 208,
})  # fmt: skip
_ADC = np.dtype({
    "names": ["number", "telegraph", "instrument", "telegraph_gain", "telegraph_mode", "programmable_gain",
              "scale_factor", "instrument_offset", "signal_gain", "signal_offset", "name", "unit"],
    "formats": ["<i2", "<i2", "<i2", "<f4", "<i2", "<f4", "<f4", "<f4", "<f4", "<f4", "<i4", "<i4"],
    "offsets": [0, 2, 4, 6, 18, 28, 40, 44, 48, 52, 74, 78],
    "itemsize": 82,
})  # fmt: skip
_DAC = np.dtype({
    "names": ["number", "name", "unit", "waveform"], "formats": ["<i2", "<i4", "<i4", "<i2"],
    "offsets": [0, 24, 28, 40], "itemsize": 42,
})  # fmt: skip
_SYNCH = np.dtype([("start", "<i4"), ("length", "<i4")])
_TAG = np.dtype([("time", "<i4"), ("comment", "S56"), ("type", "<i2"), ("voice", "<i2")])

AMPLIFIERS: Final = {  # nTelegraphInstrument of the ABF File Support Pack
    1: "Axopatch-1", 2: "Axopatch-1", 3: "Axopatch-1B", 4: "Axopatch-1B", 5: "Axopatch 200", 6: "Axopatch 200",
    7: "GeneClamp", 8: "Dagan 3900", 9: "Dagan 3900A", 10: "Dagan CA-1", 11: "Dagan CA-1", 12: "Dagan CA-1",
    13: "Warner OC-725", 14: "Warner OC-725", 15: "Axopatch 200B", 16: "Dagan PC-ONE", 17: "Dagan PC-ONE",
    18: "Dagan PC-ONE", 19: "Dagan PC-ONE", 20: "Warner BC-525C", 21: "Warner PC-505", 22: "Warner PC-501",
    23: "Dagan CA-1", 24: "MultiClamp 700", 25: "Turbo Tec", 26: "OpusXpress 6000A", 27: "Axoclamp 900",
}  # fmt: skip
STATES_MODE: Final = (24, 27)  # amplifiers that telegraph their clamp mode digitally
DIGITIZERS: Final = {2: "MiniDigi", 3: "Digidata 132x", 4: "OpusXpress", 6: "Digidata 1440A", 7: "MiniDigi 2",
                     8: "Digidata 1550"}  # fmt: skip

Clamp = Literal["voltage", "current", "izero"]


@dataclass(frozen=True)
class AdcChannel:
    """One recorded channel.

    Attributes
    ----------
    name, unit
        As the header spells them; the unit is of the value after `gain` and `offset`.
    gain, offset
        Physical value = raw * gain + offset.
    amplifier
        Model that the telegraph reports, if any.
    clamp
        Mode that the telegraph reports, if the amplifier reports one.
    """

    name: str
    unit: str
    gain: float
    offset: float
    amplifier: str | None
    clamp: Clamp | None


@dataclass(frozen=True)
class Sweep:
    """A run of samples: when it started, in seconds after the file's start, and which samples of a channel it has."""

    start_s: float
    first: int
    count: int


@dataclass(frozen=True)
class AbfHeader:
    """What a header states.

    Attributes
    ----------
    version
        Of the format.
    mode
        How it was acquired, in words.
    dtype, data_bytes
        Type of the samples, and the byte of the first one.
    channels, rate_hz, sweeps
        The recording; samples of the channels alternate.
    start
        Local time without zone; None if there is no valid one.
    software, protocol, comment
        Program with its version, name of the protocol file, text of the operator; None if empty.
    digitizer
        Model, None if not stated.
    commands
        Units of the outputs whose waveform is switched on.
    tags
        Time in seconds after the file's start, and text.
    timed
        Whether the header says when each sweep started.
    """

    version: str
    mode: str
    dtype: np.dtype[Any]
    data_bytes: int
    channels: tuple[AdcChannel, ...]
    rate_hz: float
    sweeps: tuple[Sweep, ...]
    start: datetime | None
    software: str | None
    protocol: str | None
    comment: str | None
    digitizer: str | None
    commands: tuple[str, ...]
    tags: tuple[tuple[float, str], ...]
    timed: bool

    @property
    def paused(self) -> bool:
        """Whether there is time between sweeps: one of them does not start where the one before ends."""
        begin = self.sweeps[0].start_s
        return any(abs(s.start_s - begin - s.first / self.rate_hz) > 0.5 / self.rate_hz for s in self.sweeps)

    @property
    def samples(self) -> int:
        """Samples of a channel, of all sweeps."""
        return sum(s.count for s in self.sweeps)


def read_abf_header(path: Path) -> AbfHeader:
    """Read the header of an ABF file.

    Raises
    ------
    dandify.errors.BadSource
        If it is damaged, or the file is shorter than it says.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic not in MAGIC:
        raise BadSource(f"not an ABF file: it starts with {magic!r}", file=path, place="byte 0")
    try:
        return _Version1(path).header() if magic == b"ABF " else _Version2(path).header()
    except (struct.error, IndexError, ValueError) as error:
        raise BadSource(
            f"its header contradicts itself or ends early ({error})", file=path,
            remedy="copy the file again; if it opens in Clampfit, save it from there",
        ) from None  # fmt: skip


class _File:
    """A file's parts by place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size

    def bytes(self, place: int, count: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(place)
            found = file.read(count)
        if len(found) < count:
            raise ValueError(f"{count} bytes expected at byte {place}, {len(found)} found")
        return found

    def table(self, place: int, dtype: np.dtype[Any], count: int, entry: int | None = None) -> Any:
        """Entries of a table whose entries may be longer than what is known of them."""
        entry = entry or dtype.itemsize
        if count < 0 or place < 0:
            raise ValueError(f"a table of {count} entries at byte {place}")
        raw = self.bytes(place, max(0, (count - 1) * entry + min(entry, dtype.itemsize)) if count else 0)
        cut = [raw[i * entry : i * entry + dtype.itemsize].ljust(dtype.itemsize, b"\0") for i in range(count)]
        return np.frombuffer(b"".join(cut), dtype)

    def sweeps(self, synch: Any, *, unit_us: float, mode: int, total: int, channels: int, rate_hz: float,
               episodes: int, start_to_start_s: float) -> tuple[Sweep, ...]:  # fmt: skip
        """Sweeps of the synch array; without one, of equal length.

        The array's starts are in ``unit_us``, or in samples of all channels where that is 0; its lengths are in samples
        of all channels, except in event-driven files of variable length, where they are in the unit of the starts.
        """
        if not len(synch):
            count = 1 if mode == GAP_FREE else max(1, episodes)
            if total % (count * channels):
                raise ValueError(f"{total} samples do not make {count} sweeps of {channels} channels")
            each = total // count // channels
            step_s = start_to_start_s or each / rate_hz
            return tuple(Sweep(i * step_s, i * each, each) for i in range(count))
        tick_s = unit_us * 1e-6 if unit_us else 1 / (rate_hz * channels)
        out, first = [], 0
        for start, length in synch.tolist():
            points = round(length / unit_us) if unit_us and mode == 1 else length
            if points < 0:
                raise ValueError(f"a sweep of {points} samples")
            out.append(Sweep(start * tick_s, first, points // channels))
            first += points // channels
        return tuple(out)

    def check(self, header: AbfHeader) -> AbfHeader:
        """Compare with the file's length."""
        sample = header.dtype.itemsize * len(header.channels)
        end = header.data_bytes + header.samples * sample
        if end > self.size:
            there = max(0, self.size - header.data_bytes) // sample
            raise BadSource(
                f"truncated: {self.size} bytes, expected at least {end} ({header.samples} samples of "
                f"{len(header.channels)} channels from byte {header.data_bytes}; {there} are there)",
                file=self.path, remedy="copy the file again from the acquisition computer",
            )  # fmt: skip
        return header


class _Version1(_File):
    def at(self, kind: str, place: int) -> Any:
        values = struct.unpack(f"<{kind}", self.bytes(place, struct.calcsize(f"<{kind}")))
        return values if len(values) > 1 else values[0]

    def texts(self, place: int, count: int, length: int) -> list[str]:
        raw = self.bytes(place, count * length)
        return [_text(raw[i * length : (i + 1) * length]) for i in range(count)]

    def header(self) -> AbfHeader:
        channels, version, mode = self.at("h", 120), self.at("f", 4), self.at("h", 8)
        interval_us, data = self.at("f", 122), self.at("i", 40) * BLOCK
        if not 0 < channels <= 16 or not interval_us > 0 or data < _OLD_HEADER:
            raise ValueError(f"{channels} channels every {interval_us} µs from byte {data}")
        extended = version >= 1.6 and data >= _NEW_HEADER
        dtype = _dtype(self.at("h", 100))
        rate_hz = 1e6 / (interval_us * channels)
        unit_us, total = self.at("f", 130), self.at("i", 10)
        synch = self.table(self.at("i", 92) * BLOCK, _SYNCH, self.at("i", 96))
        tags = self.table(self.at("i", 44) * BLOCK, _TAG, self.at("i", 48)) if self.at("i", 48) > 0 else ()
        comment = (self.texts(5154, 1, 128) if extended else self.texts(310, 1, 56))[0]
        commands: list[str] = []
        if extended:
            units = self.texts(1346, 4, 8)
            commands = [units[i] for i, enabled in enumerate(self.at("2h", 2296)) if enabled == 1]
        return self.check(
            AbfHeader(
                version=f"{version:.2f}", mode=_mode(mode), dtype=dtype,
                data_bytes=data + self.at("h", 14) * dtype.itemsize,
                channels=self.channels(channels, extended, dtype), rate_hz=rate_hz,
                sweeps=self.sweeps(synch, unit_us=unit_us, mode=mode, total=total, channels=channels, rate_hz=rate_hz,
                                   episodes=self.at("i", 16), start_to_start_s=max(0.0, self.at("f", 178))),
                start=self.start(), software=self.software(extended),
                protocol=_stem(self.texts(4898, 1, 256)[0]) if extended else None,
                comment=comment if comment.isprintable() and comment else None, digitizer=None,
                commands=tuple(c for c in commands if c), tags=_tags(tags, unit_us or interval_us),
                timed=bool(len(synch)) or self.at("f", 178) > 0,
            )
        )  # fmt: skip

    def channels(self, count: int, extended: bool, dtype: np.dtype[Any]) -> tuple[AdcChannel, ...]:
        sequence = list(self.at("16h", 410)[:count])
        if len(set(sequence)) < count or not all(0 <= n < 16 for n in sequence):
            sequence = list(range(count))  # files saved again by other programs (pyABF's invalidDate-abf1.abf)
        names, units = self.texts(442, 16, 10), self.texts(602, 16, 8)
        programmable, scale, offset = self.at("16f", 730), self.at("16f", 922), self.at("16f", 986)
        gain, shift = self.at("16f", 1050), self.at("16f", 1114)
        step = self.at("f", 244) / self.at("i", 252)
        nothing = (0,) * 16
        telegraph = self.at("16h", 4512) if extended else nothing
        instrument = self.at("16h", 4544) if extended else nothing
        more, mode = (self.at("16f", 4576), self.at("16h", 4768)) if extended else (nothing, nothing)
        out = []
        for place, n in enumerate(sequence):
            on = telegraph[n] == 1
            out.append(AdcChannel(
                names[n] if names[n].isprintable() and names[n] else f"ch{place}", units[n],
                *_scale(dtype, step, scale[n] * gain[n] * programmable[n] * (more[n] if on else 1),
                        offset[n] - shift[n]),
                *_telegraph(on, instrument[n], mode[n]),
            ))  # fmt: skip
        return tuple(out)

    def start(self) -> datetime | None:
        """Date as YYYYMMDD, or YYMMDD where 80 to 99 is 19xx and 00 to 79 is 20xx (ABF 1 manual, lFileStartDate)."""
        date, seconds, milliseconds = self.at("i", 20), self.at("i", 24), self.at("h", 366)
        if 0 < date < 1_000_000:
            date += 19_000_000 if date >= 800_000 else 20_000_000
        return _start(date, seconds * 1000 + milliseconds)

    def software(self, extended: bool) -> str | None:
        program = self.texts(294, 1, 16)[0]
        version = ".".join(map(str, self.at("4h", 5798))) if extended else ""
        return f"{program} {version}".strip() if program and program.isprintable() else None


class _Version2(_File):
    def header(self) -> AbfHeader:
        section = {name: _SECTION.unpack(self.bytes(place, _SECTION.size)) for name, place in _SECTIONS.items()}

        def entries(name: str, dtype: np.dtype[Any]) -> Any:
            block, entry, count = section[name]
            return self.table(block * BLOCK, dtype, count, entry)

        build, bugfix, minor, major = self.bytes(4, 4)
        date, milliseconds = struct.unpack("<II", self.bytes(16, 8))
        dtype = _dtype(struct.unpack("<H", self.bytes(30, 2))[0])
        creator_version, creator = self.bytes(56, 4), struct.unpack("<I", self.bytes(60, 4))[0]
        protocol_path = struct.unpack("<I", self.bytes(72, 4))[0]
        strings = self.strings(*section["strings"][:2])
        protocol, adc = entries("protocol", _PROTOCOL)[0], entries("adc", _ADC)
        if not len(adc) or not protocol["interval_us"] > 0:
            raise ValueError(f"{len(adc)} channels every {protocol['interval_us']} µs")
        rate_hz, unit_us = 1e6 / float(protocol["interval_us"]), float(protocol["synch_unit_us"])
        mode, (block, _, total) = int(protocol["mode"]), section["data"]
        episodes = struct.unpack("<I", self.bytes(12, 4))[0]
        commands = [strings(int(d["unit"])) for d in entries("dac", _DAC) if d["waveform"] == 1]
        program = strings(creator)
        return self.check(
            AbfHeader(
                version=f"{major}.{minor}.{bugfix}.{build}", mode=_mode(mode), dtype=dtype, data_bytes=block * BLOCK,
                channels=tuple(self.channel(i, a, protocol, dtype, strings) for i, a in enumerate(adc)),
                rate_hz=rate_hz,
                sweeps=self.sweeps(entries("synch", _SYNCH), unit_us=unit_us, mode=mode, total=total, channels=len(adc),
                                   rate_hz=rate_hz, episodes=episodes,
                                   start_to_start_s=max(0.0, float(protocol["start_to_start_s"]))),
                start=_start(date, milliseconds),
                software=f"{program} {'.'.join(map(str, creator_version[::-1]))}" if program else None,
                protocol=_stem(strings(protocol_path)), comment=strings(int(protocol["comment"])) or None,
                digitizer=DIGITIZERS.get(int(protocol["digitizer"])), commands=tuple(c for c in commands if c),
                tags=_tags(entries("tags", _TAG), unit_us or 1e6 / (rate_hz * len(adc))),
                timed=bool(section["synch"][2]) or float(protocol["start_to_start_s"]) > 0,
            )
        )  # fmt: skip

    def strings(self, block: int, length: int) -> Any:
        """Return a function from an index, counted from 1, to the text."""
        raw = self.bytes(block * BLOCK, length)
        if not raw.startswith(b"SSCH"):
            raise ValueError("no table of strings")
        texts = raw[_STRINGS_START:].split(b"\0")
        return lambda index: _text(texts[index - 1]) if 0 < index <= len(texts) else ""

    def channel(self, place: int, adc: Any, protocol: Any, dtype: np.dtype[Any], strings: Any) -> AdcChannel:
        on = bool(adc["telegraph"])
        divisor = float(adc["scale_factor"]) * float(adc["signal_gain"]) * float(adc["programmable_gain"])
        return AdcChannel(
            strings(int(adc["name"])) or f"ch{place}", strings(int(adc["unit"])),
            *_scale(dtype, float(protocol["adc_range"]) / int(protocol["adc_resolution"]),
                    divisor * (float(adc["telegraph_gain"]) if on else 1.0),
                    float(adc["instrument_offset"]) - float(adc["signal_offset"])),
            *_telegraph(on, int(adc["instrument"]), int(adc["telegraph_mode"])),
        )  # fmt: skip


def _mode(number: int) -> str:
    if number not in _MODES:
        raise ValueError(f"operation mode {number}; known are {sorted(_MODES)}")
    return _MODES[number]


def _dtype(number: int) -> np.dtype[Any]:
    if number not in (0, 1):
        raise ValueError(f"data format {number}; known are 0 (int16) and 1 (float32)")
    return np.dtype("<f4" if number else "<i2")


def _scale(dtype: np.dtype[Any], step: float, divisor: float, offset: float) -> tuple[float, float]:
    """Gain and offset; floating point samples are physical values already."""
    if dtype.kind == "f":
        return 1.0, 0.0
    if not divisor:
        raise ValueError("a channel with a gain of 0")
    return step / divisor, offset


def _telegraph(on: bool, instrument: int, mode: int) -> tuple[str | None, Clamp | None]:
    clamps: dict[int, Clamp] = {0: "voltage", 1: "current", 2: "izero"}
    return (AMPLIFIERS.get(instrument), clamps.get(mode) if instrument in STATES_MODE else None) if on else (None, None)


def _start(date: int, milliseconds: int) -> datetime | None:
    try:
        day = datetime(date // 10_000, date // 100 % 100, date % 100)
    except ValueError:
        return None
    return day + timedelta(milliseconds=milliseconds) if 0 <= milliseconds < 86_400_000 else None


def _tags(tags: Any, tick_us: float) -> tuple[tuple[float, str], ...]:
    return tuple((int(t["time"]) * tick_us * 1e-6, _text(bytes(t["comment"]))) for t in tags)


def _stem(path: str) -> str | None:
    name = PureWindowsPath(path).stem if path.isprintable() else ""
    return name if name not in ("", "(untitled)") else None


def _text(raw: bytes) -> str:
    """Text of a fixed or ended field; Clampex writes the Windows code page (µ, °)."""
    return raw.split(b"\0")[0].decode("cp1252", errors="replace").strip()
