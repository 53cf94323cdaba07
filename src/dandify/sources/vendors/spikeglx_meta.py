"""One SpikeGLX ``.bin`` with its ``.meta``: held against each other, and what the ``.meta`` says of the channels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dandify.errors import BadSource
from dandify.sources.arrays import RawArray

NAME = re.compile(
    r"(?P<run>.+?)(?:_g(?P<gate>\d+)_t(?P<trigger>\d+|cat))?"
    r"\.(?P<device>imec\d*|nidq|obx\d*)(?:\.(?P<band>ap|lf|obx))?\.(?P<suffix>bin|meta)",
    re.IGNORECASE,
)
INT16 = np.dtype("<i2")

# Amplifiers of fixed gain, by imDatPrb_type (SpikeGLX manual, "Metadata": imChan0apGain is newer than these files).
_FIXED_GAIN = {21: 80, 24: 80, 2003: 100, 2004: 100, 2013: 100, 2014: 100, 2020: 100, 2021: 100}


@dataclass(frozen=True)
class File:
    """One ``.bin`` with its ``.meta``."""

    bin: Path
    meta: Mapping[str, str]
    run: str
    gate: int
    trigger: int  # -1 for "tcat", the joined triggers of CatGT
    device: str
    band: str
    channels: int
    samples: int
    rate_hz: float
    first_sample: int
    names: tuple[str, ...]

    @property
    def stream_id(self) -> str:
        """As neo and neuroconv call it: ``imec0.ap``, ``nidq``."""
        return f"{self.device}.{self.band}" if self.band in ("ap", "lf") else self.device

    @property
    def segment(self) -> tuple[int, int]:
        """Gate and trigger, which order the segments of a run."""
        return (self.gate, self.trigger)

    @property
    def label(self) -> str:
        """Gate and trigger as in file names: ``g0_t1``."""
        return f"g{self.gate}_t{'cat' if self.trigger < 0 else self.trigger}"

    @property
    def first_s(self) -> float:
        """Time of the first sample after the start of the run, in this stream's clock."""
        return self.first_sample / self.rate_hz

    def array(self, columns: tuple[int, int]) -> RawArray:
        """Give some neighbouring channels, (samples, columns) int16."""
        return RawArray(self.bin, INT16, self.samples, self.channels, columns=columns)


def _parse_meta(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {key.strip(): value.strip() for key, sep, value in (line.partition("=") for line in lines) if sep}


def read_file(path: Path, problems: list[str]) -> File:
    """Read a ``.meta`` and hold it against its ``.bin``."""
    meta_file = path.with_suffix(".meta")
    meta = _parse_meta(meta_file)
    match = NAME.fullmatch(path.name)
    assert match is not None
    try:
        channels = int(meta["nSavedChans"])
        rate_hz = float(next(meta[k] for k in ("imSampRate", "niSampRate", "obSampRate") if k in meta))
        names = tuple(e.partition(";")[0] for e in re.findall(r"\(([^()]*)\)", meta["~snsChanMap"])[1:])
        kinds = [int(n) for k in ("snsApLfSy", "snsMnMaXaDw", "snsXaDwSy") if k in meta for n in meta[k].split(",")]
        first = int(meta.get("firstSample") or 0)
    except (KeyError, ValueError, StopIteration) as error:
        raise BadSource(
            f"a key is missing or is no number: {error!r}", file=meta_file,
            remedy="copy the .meta again from the acquisition computer",
        ) from error  # fmt: skip
    if not channels or sum(kinds) != channels or len(names) != channels:
        raise BadSource(
            f"nSavedChans={channels}, but {sum(kinds)} channels by kind and {len(names)} names in ~snsChanMap",
            file=meta_file, remedy="copy the .meta again from the acquisition computer",
        )  # fmt: skip
    samples = _check_size(path, meta, channels, rate_hz, problems)
    if "firstSample" not in meta:
        problems.append(f"{meta_file.name} has no firstSample: its start within the run is taken as 0")
    if "catGTCmdline" in " ".join(meta):
        problems.append(f"{path.name} was written by CatGT (filtered or joined), it is not the raw recording")
    trigger = match["trigger"]
    return File(
        path, meta, match["run"], int(match["gate"] or 0), -1 if trigger == "cat" else int(trigger or 0),
        match["device"].lower(), (match["band"] or "").lower(), channels, samples, rate_hz, first, names,
    )  # fmt: skip


def _check_size(path: Path, meta: Mapping[str, str], channels: int, rate_hz: float, problems: list[str]) -> int:
    """Return the number of samples, if the ``.bin`` is as long as its ``.meta`` says."""
    size, row = path.stat().st_size, channels * INT16.itemsize
    stated = int(meta.get("fileSizeBytes") or 0)
    again = "copy the .bin again from the acquisition computer, or correct the .meta if that is the one at fault"
    if not stated:
        problems.append(f"{path.stem}.meta states no fileSizeBytes: SpikeGLX did not end this run properly")
    elif size < stated:
        raise BadSource(
            f"truncated: {size} bytes found, {stated} expected (fileSizeBytes of its .meta), {stated - size} missing",
            file=path, place=f"byte {size}", remedy=again,
        )  # fmt: skip
    elif size > stated:
        raise BadSource(f"{size} bytes found, but its .meta states fileSizeBytes={stated}", file=path, remedy=again)
    if size % row:
        raise BadSource(
            f"{size} bytes are not a whole number of samples of {channels} channels ({row} bytes each, nSavedChans of "
            f"its .meta), {size % row} bytes are left over", file=path, remedy=again,
        )  # fmt: skip
    samples = size // row
    span_s = float(meta.get("fileTimeSecs") or 0)
    # fileTimeSecs is rounded and older versions computed it with the nominal rate.
    if span_s and abs(span_s * rate_hz - samples) > max(2.0, 1e-3 * samples):
        raise BadSource(
            f"{samples} samples at {rate_hz} Hz are {samples / rate_hz:.6g} s, its .meta states fileTimeSecs={span_s}",
            file=path, remedy=again,
        )  # fmt: skip
    return samples


def probe_gains(file: File, names: tuple[str, ...]) -> list[float] | None:
    """Volts per step of each channel; None where the ``.meta`` does not state them.

    Manual, "Metadata": V = i * Vmax / Imax / gain, with Vmax imAiRangeMax, Imax imMaxInt, gain out of the imroTbl.
    """
    meta, kind = file.meta, int(file.meta.get("imDatPrb_type") or 0)
    scale = float(meta["imAiRangeMax"]) / int(meta.get("imMaxInt") or (8192 if kind in (21, 24) else 512))
    header, *rows = re.findall(r"\(([^()]*)\)", meta.get("~imroTbl", "()"))
    if rows and len(rows[0].split()) >= 5 and kind not in _FIXED_GAIN:
        # Neuropixels 1.0 and alike: (channel bank reference AP-gain LF-gain ...), counted by the channel's number.
        column = 3 if file.band == "ap" else 4
        return [scale / float(rows[int(re.sub(r"\D", "", name))].split()[column]) for name in names]
    stated = meta.get("imChan0apGain" if file.band == "ap" else "imChan0lfGain")
    if stated is None and header.startswith("1110,"):  # (type, column mode, reference, AP-gain, LF-gain, filter)
        stated = header.split(",")[3 if file.band == "ap" else 4]
    gain = float(stated or 0) or _FIXED_GAIN.get(kind)
    return [scale / gain] * len(names) if gain else None


def board_gain(file: File, kind: str) -> float:
    """Volts per step of analog channels (manual, "Metadata", niAiRangeMax and obAiRangeMax)."""
    meta = file.meta
    if file.device.startswith("obx"):
        return float(meta["obAiRangeMax"]) / int(meta["obMaxInt"])
    amplifier = float(meta.get({"mn": "niMNGain", "ma": "niMAGain"}.get(kind, ""), "1") or 1)
    return float(meta["niAiRangeMax"]) / int(meta.get("niMaxInt") or 32768) / amplifier


def lines_of(file: File, words: tuple[str, ...]) -> list[str]:
    """Digital lines in the words: ``XD0`` ... by the board's own numbers."""
    stated = [file.meta.get(key, "") for key in ("niXDChans1", "niXDChans2")]
    numbers = [n for text in stated[:1] for n in ranges(text)]
    if not numbers or stated[1]:
        # A second board appends its bytes to the words, and a OneBox states no lines: every bit is one.
        numbers = list(range(16 * len(words)))
    return [f"XD{n}" for n in numbers if n < 16 * len(words)]


def ranges(text: str) -> list[int]:
    """``0,2:4`` -> [0, 2, 3, 4]."""
    out: list[int] = []
    for item in filter(None, text.replace(" ", "").split(",")):
        first, _, last = item.partition(":")
        out += range(int(first), int(last or first) + 1)
    return out


def bit_of(line: str) -> int:
    """Bit of a digital line in the words: ``XD17`` is bit 1 of the second word."""
    return int(line.removeprefix("XD"))
