"""Writes a SpikeGLX run in the program's own layout: Neuropixels 1.0 probes (AP, LF, sync) and a NIDQ board.

The keys of the ``.meta`` files are those that SpikeGLX 20230815 writes
(https://billkarsh.github.io/SpikeGLX/Sgl_help/Metadata_30.html). Every stream has a clock of its own: the rates differ
in the last digits, and a 1 Hz square wave, common to all, is in the sync channel of each probe and on line 0 of the
board.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

APP_VERSION = "20230815"
PART_NUMBER = "PRB_1_4_0480_1_C"  # Neuropixels 1.0 with cap
SITES = 384  # readout channels of one probe
AP_GAIN, LF_GAIN = 500, 250
SYNC_BIT = 64  # bit 6 of the status word SY0
SYNC_LINE, TRIAL_LINE = 0, 1  # lines of the NIDQ board
CLOCKS_HZ = (30000.0, 29999.982, 30000.041, 30000.013)  # measured rates of the probes, cyclic
NIDQ_HZ = 30003.0003
TRIAL_FIRST_S, TRIAL_PERIOD_S, TRIAL_LENGTH_S = 0.5, 2.0, 1.0

_AP_NOISE = 3.0  # standard deviation in steps of 2.34 microvolts
_MAX_10_BIT = 511


def trial_intervals_s(seconds: float) -> list[tuple[float, float]]:
    """Start and stop of the trials that the board's trial line shows, in seconds after the start of the files."""
    count = int(max(0.0, (seconds - TRIAL_FIRST_S - TRIAL_LENGTH_S) // TRIAL_PERIOD_S + 1))
    starts = [TRIAL_FIRST_S + TRIAL_PERIOD_S * n for n in range(count)]
    return [(start, start + TRIAL_LENGTH_S) for start in starts]


def write_spikeglx_run(
    folder: Path,
    *,
    seed: int,
    probes: int = 2,
    seconds: float = 10.0,
    run_name: str = "demo",
    start: datetime,
    channels: int = SITES,
    trigger: int = 0,
    first_s: float = 5.0,
    nidq: bool = True,
) -> Path:
    """Write one gate and trigger of a run and return the folder of the run, ``<run_name>_g0``.

    Parameters
    ----------
    folder
        Where the run's folder goes.
    seed
        Equal seeds give equal bytes.
    probes
        Number of Neuropixels 1.0 probes.
    seconds
        Length of the files.
    run_name
        Name of the run, as typed into SpikeGLX.
    start
        When the files were created, the rig's local time.
    channels
        Sites saved of each probe, the first ones; 384 is all of them.
    trigger
        Number of the trigger, ``t<number>`` in the file names.
    first_s
        Seconds between the start of the run and the first sample in these files.
    nidq
        Whether there is a NIDQ board.
    """
    run = folder / f"{run_name}_g0"
    stem = f"{run_name}_g0_t{trigger}"
    for number in range(probes):
        rng = np.random.default_rng((seed, number, trigger))
        home = run / f"{run_name}_g0_imec{number}"
        home.mkdir(parents=True, exist_ok=True)
        clock = CLOCKS_HZ[number % len(CLOCKS_HZ)]
        for band, rate, make in (("ap", clock, _ap_chunks), ("lf", clock / 12, _lf_chunks)):
            part = _Part(rate, round(first_s * rate), round(seconds * rate), seconds, channels)
            base = home / f"{stem}.imec{number}.{band}"
            digest = _write(base, make(rng, part))
            _write_meta(base, _imec_meta(base, part, band, number, probes, start, nidq), digest, part, channels + 1)
    if nidq:
        run.mkdir(parents=True, exist_ok=True)
        part = _Part(NIDQ_HZ, round(first_s * NIDQ_HZ), round(seconds * NIDQ_HZ), seconds, channels)
        base = run / f"{stem}.nidq"
        digest = _write(base, _nidq_chunks(np.random.default_rng((seed, 1000, trigger)), part))
        _write_meta(base, _nidq_meta(base, part, probes, start), digest, part, 3)
    return run


@dataclass(frozen=True)
class _Part:
    """What is in one file."""

    rate_hz: float
    first_sample: int
    samples: int
    seconds: float
    channels: int

    def spans(self) -> Iterator[tuple[int, int]]:
        """One second at a time."""
        step = max(1, round(self.rate_hz))
        for begin in range(0, self.samples, step):
            yield begin, min(begin + step, self.samples)

    def sync(self, begin: int, end: int) -> NDArray[np.bool_]:
        """Return the 1 Hz square wave, high in the first half of every second of the run."""
        return ((self.first_sample + np.arange(begin, end)) / self.rate_hz) % 1.0 < 0.5


def _ap_chunks(rng: np.random.Generator, part: _Part) -> Iterator[Samples]:
    tile_rows = min(part.samples, round(part.rate_hz))
    # Two tiles of noise, added at ever new offsets: the sum does not repeat, and no further random number is drawn.
    tiles = [_noise_tile(rng, tile_rows, part.channels) for _ in range(2)]
    level = rng.integers(-25, 26, part.channels).astype(np.int16)
    spikes = _spikes(rng, part)
    for begin, end in part.spans():
        out = np.empty((end - begin, part.channels + 1), np.int16)
        body = out[:, :-1]
        first, second = (np.roll(t, int(rng.integers(tile_rows)), axis=0)[: end - begin] for t in tiles)
        np.add(first, second, out=body)
        body += level
        for at, site, shape in spikes:
            low, high = max(at, begin), min(at + len(shape), end)
            if low < high:
                body[low - begin : high - begin, site : site + shape.shape[1]] += shape[low - at : high - at]
        np.clip(body, -_MAX_10_BIT - 1, _MAX_10_BIT, out=body)
        out[:, -1] = part.sync(begin, end) * SYNC_BIT
        yield out


def _noise_tile(rng: np.random.Generator, rows: int, channels: int) -> Samples:
    """Noise that neighbouring sites and neighbouring samples share in part."""
    white = rng.standard_normal((rows, channels), np.float32)
    white[:, 1:] += 0.5 * white[:, :-1]
    white[1:] += 0.4 * white[:-1]
    white *= _AP_NOISE / (np.sqrt(2 * 1.25 * 1.16))
    return np.rint(white, out=white).astype(np.int16)


def _spikes(rng: np.random.Generator, part: _Part) -> list[tuple[int, int, Samples]]:
    """First sample, first site and waveform of each spike of some units."""
    width = min(9, part.channels)
    time = np.arange(45) / 30.0  # milliseconds
    wave = -np.exp(-(((time - 0.3) / 0.12) ** 2)) + 0.35 * np.exp(-(((time - 0.75) / 0.25) ** 2))
    spread = np.exp(-((np.arange(width) - width // 2) ** 2) / 6.0)
    out = []
    for _ in range(max(1, part.channels // 48)):
        site = int(rng.integers(part.channels - width + 1))
        shape = np.rint(np.outer(wave, spread) * rng.uniform(25, 70)).astype(np.int16)
        count = rng.poisson(rng.uniform(3, 12) * part.seconds)
        out += [(int(at), site, shape) for at in np.sort(rng.integers(0, max(1, part.samples - 45), count))]
    return out


def _lf_chunks(rng: np.random.Generator, part: _Part) -> Iterator[Samples]:
    """Slow waves that all sites see with a smoothly changing weight, plus noise of each."""
    sources = 6
    place = np.linspace(0, np.pi, part.channels)
    weights = np.cos(np.outer(np.arange(sources), place)).astype(np.float32)
    frequency = rng.uniform(2, 40, sources)
    phase = rng.uniform(0, 2 * np.pi, sources)
    level = rng.integers(-20, 21, part.channels)
    for begin, end in part.spans():
        time = np.arange(begin, end)[:, None] / part.rate_hz
        waves = (np.sin(2 * np.pi * frequency * time + phase) * (60 / np.sqrt(frequency))).astype(np.float32)
        noise = rng.standard_normal((end - begin, part.channels), np.float32) * 2
        out = np.empty((end - begin, part.channels + 1), np.int16)
        np.clip(
            np.rint(waves @ weights + noise + level), -_MAX_10_BIT - 1, _MAX_10_BIT, out=out[:, :-1], casting="unsafe"
        )
        out[:, -1] = part.sync(begin, end) * SYNC_BIT
        yield out


def _nidq_chunks(rng: np.random.Generator, part: _Part) -> Iterator[Samples]:
    """Make a photodiode that follows the trials, a slow position signal, and the digital word."""
    for begin, end in part.spans():
        time = np.arange(begin, end) / part.rate_hz
        trial = np.zeros(end - begin, bool)
        for low, high in trial_intervals_s(part.seconds):
            trial |= (time >= low) & (time < high)
        noise = rng.standard_normal((2, end - begin)) * 6
        word = (part.sync(begin, end).astype(np.int16) << SYNC_LINE) | (trial.astype(np.int16) << TRIAL_LINE)
        photodiode = 2000 + 9000 * trial + noise[0]
        position = 8000 * np.sin(2 * np.pi * 0.3 * time) + noise[1]
        yield np.stack([photodiode, position, word], axis=1).astype(np.int16)


def _write(base: Path, chunks: Iterator[Samples]) -> str:
    """Write the ``.bin`` and return its SHA1 as SpikeGLX spells it."""
    digest = hashlib.sha1(usedforsecurity=False)
    with base.with_name(base.name + ".bin").open("wb") as file:
        for chunk in chunks:
            raw = np.ascontiguousarray(chunk, "<i2").data
            file.write(raw)
            digest.update(raw)
    return digest.hexdigest().upper()


def _write_meta(base: Path, values: dict[str, Any], digest: str, part: _Part, saved: int) -> None:
    common = {
        "appVersion": APP_VERSION, "fileName": f"D:/SGL_DATA/{base.name}.bin", "fileSHA1": digest,
        "fileSizeBytes": part.samples * saved * 2, "fileTimeSecs": part.samples / part.rate_hz,
        "firstSample": part.first_sample, "gateMode": "Immediate", "nDataDirs": 1, "nSavedChans": saved,
        "syncSourcePeriod": 1, "trigMode": "Immediate", "userNotes": "",
    }  # fmt: skip
    # SpikeGLX sorts its keys, capitals before small letters and ~ behind all.
    lines = [f"{key}={value}" for key, value in sorted({**common, **values}.items())]
    base.with_name(base.name + ".meta").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _imec_meta(
    base: Path, part: _Part, band: str, number: int, probes: int, start: datetime, nidq: bool
) -> dict[str, Any]:
    name, first, kept = band.upper(), SITES if band == "lf" else 0, part.channels
    used = f"{kept},0,1" if band == "ap" else f"0,{kept},1"
    return {
        "acqApLfSy": "384,384,1", "fileCreateTime": _stamp(start), "imAiRangeMax": 0.6, "imAiRangeMin": -0.6,
        "imAnyChanFullBand": "false", "imCalibrated": "true", "imChan0Ref": "ext", "imChan0apGain": AP_GAIN,
        "imChan0lfGain": LF_GAIN, "imColsPerShank": 2, "imDatApi": "3.62.1", "imDatBs_fw": "2.0.169",
        "imDatBsc_fw": "3.2.176", "imDatBsc_hw": 2.2, "imDatBsc_pn": "NP2_QBSC_00", "imDatBsc_sn": 22030965,
        "imDatFx_hw": 4.13, "imDatFx_pn": "NP2_FLEX_0", "imDatFx_sn": 0, "imDatHs_hw": 5.1,
        "imDatHs_pn": "NP2_HS_30", "imDatHs_sn": 852 + number, "imDatPrb_dock": 1, "imDatPrb_pn": PART_NUMBER,
        "imDatPrb_port": number + 1, "imDatPrb_slot": 2, "imDatPrb_sn": 19454409770 + number, "imDatPrb_type": 0,
        "imIsSvyRun": "false", "imLEDEnable": "false", "imLowLatency": "false", "imMaxInt": 512,
        "imRowsPerShank": 480, "imSampRate": part.rate_hz, "imStdby": "", "imSvyMaxBnk": -1, "imSvySecPerBnk": 35,
        "imTipLength": 209, "imTrgRising": "true", "imTrgSource": 0, "imX0EvenRow": 27, "imX0OddRow": 11,
        "imXPitch": 32, "imZPitch": 20, "imroFile": "", "snsApLfSy": used,
        "snsSaveChanSubset": f"{first}:{first + kept - 1},768", "syncImInputSlot": 2, "syncSourceIdx": 3 if nidq else 0,
        "typeImEnabled": probes, "typeNiEnabled": int(nidq), "typeObEnabled": 0, "typeThis": "imec",
        "~imroTbl": "(0,384)" + _table(SITES, lambda i: f"{i} 0 0 {AP_GAIN} {LF_GAIN} 1"),
        "~muxTbl": "(32,12)" + _table(12, _sampled_together),
        "~snsChanMap": "(384,384,1)" + _table(kept, lambda i: f"{name}{i};{first + i}:{i}") + "(SY0;768:384)",
        "~snsGeomMap": f"({PART_NUMBER},1,0,70)" + _table(kept, _site),
        "~snsShankMap": "(1,2,480)" + _table(kept, lambda i: f"0:{i % 2}:{i // 2}:1"),
    }  # fmt: skip


def _nidq_meta(base: Path, part: _Part, probes: int, start: datetime) -> dict[str, Any]:
    return {
        "acqMnMaXaDw": "0,0,2,1", "fileCreateTime": _stamp(start), "niAiRangeMax": 5, "niAiRangeMin": -5,
        "niAiTermination": "Default", "niClockLine1": "Internal", "niClockSource": "PXI1Slot4_Internal : 30003.0003",
        "niDev1": "PXI1Slot4", "niDev1ProductName": "PXIe-6341", "niMAChans1": "", "niMAGain": 1, "niMNChans1": "",
        "niMNGain": 200, "niMaxInt": 32768, "niMuxFactor": 32, "niSampRate": part.rate_hz, "niStartEnable": "false",
        "niStartLine": "PXI1Slot4/port0/line0", "niXAChans1": "0:1", "niXDBytes1": 1, "niXDChans1": "0:7",
        "snsMnMaXaDw": "0,0,2,1", "snsSaveChanSubset": "all", "syncNiChan": SYNC_LINE, "syncNiChanType": 0,
        "syncNiThresh": 1.1, "syncSourceIdx": 3, "typeImEnabled": probes, "typeNiEnabled": 1, "typeObEnabled": 0,
        "typeThis": "nidq", "~snsChanMap": "(0,0,32,2,1)(XA0;0:0)(XA1;1:1)(XD0;2:2)",
    }  # fmt: skip


def _table(count: int, entry: Callable[[int], str]) -> str:
    return "".join(f"({entry(i)})" for i in range(count))


def _site(i: int) -> str:
    """Shank, position across and along in micrometres, in use: rows of two sites, every other row moved."""
    row, column = divmod(i, 2)
    return f"0:{(27, 11)[row % 2] + 32 * column}:{20 * row}:1"


def _sampled_together(step: int) -> str:
    """Channels that the 32 converters, of 12 channels each, digitize in the same step."""
    return " ".join(str(24 * pair + 2 * step + side) for pair in range(16) for side in (0, 1))


def _stamp(start: datetime) -> str:
    return start.replace(tzinfo=None, microsecond=0).isoformat()
