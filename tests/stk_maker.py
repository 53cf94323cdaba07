"""Stacks as MetaMorph writes them - one directory, planes behind each other, UIC tags - and .nd files beside them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamorph_maker import describe, write_plane
from tiff_makers import pixels

START = datetime(2021, 3, 4, 15, 6, 2, 783000)
SIZE = (12, 20)
STRIP_ROWS = 5
_DAY = 1721424


@dataclass(frozen=True)
class Stack:
    """What a stack states."""

    values: NDArray[Any] = field(default_factory=lambda: pixels((4, *SIZE)))
    calibration: tuple[float, float, str] | None = (0.65, 0.64, "um")  # x, y
    steps: tuple[float, ...] = (2.5,) * 4
    seconds: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3)
    depths: tuple[float, ...] = (-3.0, -0.5, 2.0, 4.5)
    valid: bool = True
    stages: tuple[float, float] | None = (-1200.5, 300.25)
    text: str = "Exposure: 40 ms\r\nBinning: 1 x 1\r\n"
    stated: int | None = None
    extra: bytes = b""


def fraction(value: float) -> tuple[int, int]:
    return round(value * 1000), 1000


def write_stk(path: Path, stack: Stack) -> Path:
    values, count = stack.values, stack.stated or len(stack.values)
    height, width = values.shape[1:3]
    stored = values.astype(values.dtype.newbyteorder("<")).tobytes()
    out = bytearray(b"II*\0\0\0\0\0" + stored)

    def put(raw: bytes) -> int:
        out.extend(b"\0" * (len(out) % 2))
        at = len(out)
        out.extend(raw)
        return at

    settings: list[tuple[int, int]] = [(0, 1), (1, 0), (2, 4095), (3, int(stack.calibration is not None))]
    x, y, unit = stack.calibration or (1.0, 1.0, "pixel")
    settings += [(4, put(struct.pack("<II", *fraction(x)))), (5, put(struct.pack("<II", *fraction(y))))]
    settings += [(i, put(struct.pack("<I", len(t) + 1) + t.encode() + b"\0")) for i, t in ((6, unit), (7, "brain"))]
    settings += [(16, put(struct.pack("<II", *day(START))))]
    uic1 = put(struct.pack(f"<{2 * len(settings)}I", *(n for pair in settings for n in pair)))
    times = [START + timedelta(seconds=stack.seconds[i % len(stack.seconds)]) for i in range(count)]
    planes = [(*fraction(stack.steps[i % len(stack.steps)]), *day(times[i]), *day(START)) for i in range(count)]
    uic2 = put(b"".join(struct.pack("<i5I", *plane) for plane in planes))
    uic3 = put(struct.pack(f"<{2 * count}I", *(525, 1) * count))
    arrays = b""
    if stack.stages:
        one = struct.pack("<iIiI", *fraction(stack.stages[0]), *fraction(stack.stages[1]))
        arrays += struct.pack("<H", 28) + one * count + struct.pack("<H", 29) + bytes(16) * count
        arrays += struct.pack("<H", 37) + b"".join(struct.pack("<I", 3) + b"s1\0" for _ in range(count))
    if stack.depths:
        arrays += struct.pack("<H", 40)
        arrays += b"".join(struct.pack("<iI", *fraction(stack.depths[i % len(stack.depths)])) for i in range(count))
        arrays += struct.pack("<H", 41) + struct.pack("<I", int(stack.valid)) * count
    uic4 = put(arrays + stack.extra + b"\0\0")
    rows = [min(STRIP_ROWS, height - r) for r in range(0, height, STRIP_ROWS)]
    row = width * values.dtype.itemsize
    text = (stack.text + "\0").encode("latin-1") * count
    description, software = put(text), put(b"MetaMorph\0")
    places = put(struct.pack(f"<{len(rows)}I", *(8 + sum(rows[:i]) * row for i in range(len(rows)))))
    lengths = put(struct.pack(f"<{len(rows)}I", *(n * row for n in rows)))
    resolution = put(struct.pack("<II", 72, 1))
    tags = [
        (254, 4, 1, 0), (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, values.dtype.itemsize * 8),
        (259, 3, 1, 1), (262, 3, 1, 1), (270, 2, len(text), description), (273, 4, len(rows), places), (277, 3, 1, 1),
        (278, 4, 1, STRIP_ROWS), (279, 4, len(rows), lengths), (282, 5, 1, resolution), (283, 5, 1, resolution),
        (296, 3, 1, 2), (305, 2, 10, software), (33628, 4, len(settings), uic1), (33629, 5, count, uic2),
        (33630, 5, count, uic3), (33631, 4, count, uic4),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    ifd = put(struct.pack("<H", len(tags)) + entries + bytes(4))
    out[4:8] = struct.pack("<I", ifd)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out)
    return path


def day(moment: datetime) -> tuple[int, int]:
    """MetaMorph's number of a day, and milliseconds since it began."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return moment.toordinal() + _DAY, round((moment - midnight).total_seconds() * 1000)


@dataclass(frozen=True)
class Acquisition:
    """What a .nd file says, and the files it speaks of."""

    name: str = "day01_brain"
    version: str = "1.0"
    stages: tuple[str, ...] = ("EV_1", "EV_2")
    waves: tuple[str, ...] = ("488-BF-Cam0", "sdc/mCherry (2)")
    with_depths: tuple[bool | None, ...] = (True, True)
    times: int | None = 3
    stated_times: int | None = None
    depths: int | None = 4
    step: str = "2,50"
    named: bool = True
    minutes: float = 1.0
    calibration: tuple[float, float, str] | None = (0.65, 0.65, "um")
    size: tuple[int, int] = SIZE

    def values(self, stage: int, wave: int, time: int) -> NDArray[np.uint16]:
        """(z, y, x); each pixel tells where it is."""
        count = (self.depths or 1) if self.depths and self.with_depths[wave % 2] is not False else 1
        z, y, x = np.indices((count, *self.size))
        return np.asarray(10000 * stage + 5000 * wave + 1000 * time + 100 * z + 10 * y + x, np.uint16)

    def files(self, folder: Path) -> dict[tuple[int, int, int], Path]:
        """Path of each file by stage, wavelength and time."""
        out = {}
        for s, w, t in product(range(len(self.stages) or 1), range(len(self.waves) or 1), range(self.times or 1)):
            wave = self.waves[w].translate(str.maketrans("_/\\()", "-----")) if self.waves and self.named else ""
            stem = self.name + (f"_w{w + 1}{wave}" if self.waves else "") + (f"_s{s + 1}" if self.stages else "")
            stem += f"_t{t + 1}" if self.times is not None else ""
            stack = self.version == "1.0" and len(self.values(s, w, t)) > 1
            out[s, w, t] = folder / f"{stem}.{'stk' if stack else 'TIF'}"
        return out

    def lines(self) -> list[str]:
        """Of the .nd file."""
        truth = {True: "TRUE", False: "FALSE"}
        out = [f'"NDInfoFile", Version {self.version}', '"Description", Line one, of two', "line two"]
        out += ['"StartTime1", 20210304 15:06:02.783', f'"DoTimelapse", {truth[self.times is not None]}']
        if self.times is not None:
            out += [f'"NTimePoints", {self.stated_times or self.times}']
        out += [f'"DoStage", {truth[bool(self.stages)]}']
        if self.stages:
            out += [f'"NStagePositions", {len(self.stages)}']
            out += [f'"Stage{i}", "{stage}"' for i, stage in enumerate(self.stages, start=1)]
        out += [f'"DoWave", {truth[bool(self.waves)]}']
        for i, wave in enumerate(self.waves, start=1):
            out += [f'"NWavelengths", {len(self.waves)}'] * (i == 1) + [f'"WaveName{i}", "{wave}"']
            if (said := self.with_depths[i - 1]) is not None:
                out += [f'"WaveDoZ{i}", {truth[said]}']
        out += [f'"DoZSeries", {truth[self.depths is not None]}']
        if self.depths is not None:
            out += [f'"NZSteps", {self.depths}', f'"ZStepSize", {self.step}']
        return [*out, f'"WaveInFileName", {truth[self.named]}', '"NEvents", 0', '"EndFile"']

    def write(self, folder: Path) -> Path:
        """Write everything; return the .nd file."""
        folder.mkdir(parents=True, exist_ok=True)
        for (s, w, t), path in self.files(folder).items():
            values, later = self.values(s, w, t), 60 * self.minutes * t + w
            if self.version == "1.0":
                seconds = tuple(later + 0.1 * z for z in range(len(values)))
                write_stk(path, Stack(values, self.calibration, (0.0,), seconds, ()))
            else:
                at = (START + timedelta(seconds=later)).strftime("%Y%m%d %H:%M:%S.%f")[:-3]
                text = describe(acquisition_time_local=at, _IllumSetting_="", image_name="")
                write_plane(path, values, text)
        path = folder / f"{self.name}.nd"
        path.write_bytes("\r\n".join(self.lines()).encode("latin-1"))
        return path


def with_lines(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
