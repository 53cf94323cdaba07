"""What ScanImage writes into its TIFFs: the settings of the microscope, and the number and time of each frame.

Source: "ScanImage TIFF format", https://docs.scanimage.org (BigTIFF specification, versions 3 and 4): settings
``SI.key = value`` in MATLAB's notation in the Software tag of the first page, in ScanImage 5.0 and 5.1 in each
ImageDescription after ``scanimage.``; ``frameTimestamps_sec``, ``epoch`` and others in the ImageDescription of each
page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final

from dandify.sources.tiff_header import DESCRIPTION, SOFTWARE, Page

_SETTING: Final = re.compile(r"^(?:scanimage\.)?(SI\.[\w.]+) = (.*)$", re.MULTILINE)
_FRAME: Final = re.compile(
    r"^(frameNumbers|acquisitionNumbers|frameTimestamps_sec|epoch)[ \t]*=[ \t]*(.*)$", re.MULTILINE
)
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|Inf|NaN)")
_STRING: Final = re.compile(r"'((?:[^']|'')*)'")


@dataclass(frozen=True)
class Settings:
    """Settings as they are written."""

    values: Mapping[str, str]

    def number(self, key: str) -> float | None:
        """Return a finite number; None if it is not there, or is a list or a text."""
        found = self.numbers(key)
        return found[0] if len(found) == 1 and math.isfinite(found[0]) else None

    def numbers(self, key: str) -> list[float]:
        """Return all numbers of a scalar, row, column or matrix, row by row."""
        text = self.values.get(f"SI.{key}", "")
        if not text or text[0] not in "[-+0123456789IN":
            return []
        return [float(n) for n in _NUMBER.findall(text)]

    def texts(self, key: str) -> list[str]:
        """Return the texts of a cell array, or a single one."""
        return [t.replace("''", "'") for t in _STRING.findall(self.values.get(f"SI.{key}", ""))]

    def yes(self, key: str) -> bool:
        """Whether a setting is there and true."""
        return self.values.get(f"SI.{key}", "") in ("true", "1")


@dataclass(frozen=True)
class Arrangement:
    """How the pages follow each other: volume by volume, slice by slice, repeat by repeat, channel by channel.

    Attributes
    ----------
    channels
        Names of those that were saved.
    slices
        Planes of a volume, 1 if there is no depth.
    repeats
        Frames that were taken of each slice before the next.
    flyback
        Frames behind each volume in which the objective went back.
    """

    channels: tuple[str, ...]
    slices: int
    repeats: int
    flyback: int

    @property
    def cycle(self) -> int:
        """Pages of a volume, with those of the way back."""
        return (self.slices * self.repeats + self.flyback) * len(self.channels)


@dataclass(frozen=True)
class FrameInfo:
    """What the page of a frame says; None where it says nothing."""

    number: int | None
    acquisition: int | None
    time_s: float | None
    epoch: datetime | None


def settings_of(page: Page) -> Settings | None:
    """Return the settings in the first page of a file; None if they are not there."""
    software, description = page.text(SOFTWARE), page.text(DESCRIPTION)
    text = software if software.startswith("SI.") else description
    found = {key: value.strip() for key, value in _SETTING.findall(text)}
    return Settings(found) if found else None


def arrangement_of(settings: Settings) -> Arrangement:
    """Return how pages are arranged.

    Raises
    ------
    ValueError
        If it does not say which channels were saved.
    """
    saved = [int(n) for n in settings.numbers("hChannels.channelSave")]
    if not saved:
        raise ValueError("does not say which channels were saved (SI.hChannels.channelSave)")
    names = settings.texts("hChannels.channelName")
    channels = tuple(names[n - 1] if 0 < n <= len(names) else f"Channel {n}" for n in saved)
    if not (settings.yes("hStackManager.enable") or settings.yes("hFastZ.enable")):
        return Arrangement(channels, 1, 1, 0)
    # numSlices is what was typed; which of it was in use is said since 2020.
    slices = settings.number("hStackManager.actualNumSlices") or settings.number("hStackManager.numSlices")
    frames = settings.number("hStackManager.numFramesPerVolume") or settings.number("hFastZ.numFramesPerVolume")
    with_flyback = settings.number("hStackManager.numFramesPerVolumeWithFlyback")
    flyback = with_flyback - frames if with_flyback and frames else None
    if flyback is None:
        flyback = settings.number("hFastZ.numDiscardFlybackFrames") or 0 if settings.yes("hFastZ.enable") else 0
    slices = int(slices or frames or 1)
    if slices < 2:
        return Arrangement(channels, 1, 1, 0)
    averaged = settings.number("hScan2D.logAverageFactor") or 1
    repeats = max(1, int((settings.number("hStackManager.framesPerSlice") or 1) // averaged))
    return Arrangement(channels, slices, repeats, max(0, int(flyback)))


def scale_of(settings: Settings, height: int, width: int, slices: int) -> dict[str, float]:
    """Return micrometres between pixels and slices, as far as stated and equal throughout."""
    found: dict[str, float] = {}
    corners = settings.numbers("hRoiManager.imagingFovUm")
    fits = (settings.number("hRoiManager.linesPerFrame"), settings.number("hRoiManager.pixelsPerLine")) == (
        height,
        width,
    )
    if len(corners) == 8 and fits and not settings.yes("hRoiManager.mroiEnable"):
        spans = (max(corners[1::2]) - min(corners[1::2]), max(corners[::2]) - min(corners[::2]))
        for axis, span, count in zip("yx", spans, (height, width), strict=True):
            if math.isfinite(span) and span > 0:
                found[axis] = float(f"{span / count:.12g}")
    depths = settings.numbers("hStackManager.zs")
    steps = {round(abs(b - a), 6) for a, b in pairwise(depths)}
    step: float | None = None
    if len(depths) == slices > 1:
        step = steps.pop() if len(steps) == 1 else None
    else:
        stated = settings.number("hStackManager.actualStackZStepSize") or settings.number(
            "hStackManager.stackZStepSize"
        )
        step = abs(stated) if stated else None
    return {"z": step, **found} if step else found


def frame_info(text: str) -> FrameInfo:
    """Return what is said in the description of a page."""
    said = dict(_FRAME.findall(text[:4096]))
    numbers = [int(float(said[k])) if _NUMBER.fullmatch(said.get(k, "").strip()) else None
               for k in ("frameNumbers", "acquisitionNumbers")]  # fmt: skip
    stamp = said.get("frameTimestamps_sec", "").strip()
    return FrameInfo(
        numbers[0], numbers[1], float(stamp) if _NUMBER.fullmatch(stamp) else None, _epoch(said.get("epoch", ""))
    )


def version_of(settings: Settings) -> str:
    """Version of ScanImage, empty if it is not stated."""
    parts = [settings.values.get(f"SI.VERSION_{p}", "").strip("'") for p in ("MAJOR", "MINOR", "UPDATE")]
    return ".".join(p for p in parts if p and p != "[]")


@lru_cache(maxsize=64)
def _epoch(text: str) -> datetime | None:
    """Moment of ``[2025  4 25 17 12 48.213]``."""
    numbers = [float(n) for n in _NUMBER.findall(text)]
    if len(numbers) != 6:
        return None
    year, month, day, hour, minute = (int(n) for n in numbers[:5])
    try:
        return datetime(year, month, day, hour, minute) + timedelta(seconds=round(numbers[5], 6))
    except (ValueError, OverflowError):
        return None
