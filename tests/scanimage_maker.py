"""Small ScanImage files as its BigTIFF format (version 4) lays them out: static metadata, then page by page."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiff_makers import pixels

MAGIC = 117637889


@dataclass(frozen=True)
class Recording:
    """What is recorded: volumes of slices, frames of each, channels, and frames of the way back."""

    volumes: int = 6
    slices: int = 1
    repeats: int = 1
    channels: Sequence[int] = (1, 3)
    flyback: int = 0
    height: int = 8
    width: int = 16
    dtype: str = "int16"
    period_s: float = 0.0171826
    pause_s: float = 0.0  # before the last third of the frames
    fov_um: str = "[-135 -67.5;135 -67.5;135 67.5;-135 67.5]"
    step_um: float = 2.0
    more: Mapping[str, str] = field(default_factory=dict)
    without: Sequence[str] = ()
    stamped: bool = True

    @property
    def values(self) -> NDArray[Any]:
        """(volumes, slices, repeats, channels, y, x); the way back is not in it."""
        shape = (self.volumes, self.slices, self.repeats, len(self.channels), self.height, self.width)
        return (pixels(shape).astype("int64") - 32000).astype(self.dtype)

    @property
    def pages(self) -> list[NDArray[Any]]:
        """Every page in order, those of the way back all 7."""
        out = []
        for volume in self.values:
            out += [*volume.reshape(-1, self.height, self.width)]
            back = np.full((self.height, self.width), 7, self.dtype)
            out += [back] * (self.flyback * len(self.channels))
        return out

    @property
    def settings(self) -> dict[str, str]:
        """Settings in MATLAB's notation, with keys and notation of a file of ScanImage 2022."""
        saved = " ".join(map(str, self.channels))
        frames = self.slices * self.repeats
        found = {
            "SI.LINE_FORMAT_VERSION": "1", "SI.TIFF_FORMAT_VERSION": "4", "SI.VERSION_MAJOR": "2022",
            "SI.VERSION_MINOR": "1", "SI.VERSION_UPDATE": "0", "SI.acqState": "'grab'", "SI.acqsPerLoop": "133333",
            "SI.hChannels.channelName": "{'Channel 1' 'Channel 2' 'red''s' 'Channel 4'}",
            "SI.hChannels.channelSave": saved if len(self.channels) == 1 else f"[{saved}]",
            "SI.hFastZ.enable": "true" if self.flyback else "false",
            "SI.hFastZ.numDiscardFlybackFrames": str(self.flyback),
            "SI.hRoiManager.imagingFovUm": self.fov_um, "SI.hRoiManager.linePeriod": "6.31009e-05",
            "SI.hRoiManager.linesPerFrame": str(self.height), "SI.hRoiManager.mroiEnable": "false",
            "SI.hRoiManager.pixelsPerLine": str(self.width), "SI.hRoiManager.scanFrameRate": "58.2634",
            "SI.hRoiManager.scanVolumeRate": f"{58.2634 / (frames + self.flyback):.6g}",
            "SI.hScan2D.logAverageFactor": "1", "SI.hScan2D.logFramesPerFile": "Inf",
            "SI.hStackManager.actualNumSlices": str(self.slices),
            "SI.hStackManager.enable": "true" if self.slices > 1 else "false",
            "SI.hStackManager.framesPerSlice": str(self.repeats) if self.slices > 1 else "6.00111e+06",
            "SI.hStackManager.numFramesPerVolume": str(frames),
            "SI.hStackManager.numFramesPerVolumeWithFlyback": str(frames + self.flyback),
            "SI.hStackManager.numSlices": str(self.slices) if self.slices > 1 else "21",
            "SI.hStackManager.stackMode": "'slow'" if self.repeats > 1 else "'fast'",
            "SI.hStackManager.stackZStepSize": f"{self.step_um:g}", "SI.hStackManager.zs": "100",
            "SI.imagingSystem": "'ResScan'", "SI.objectiveResolution": "15", **self.more,
        }  # fmt: skip
        return {k: v for k, v in found.items() if k not in self.without}

    def time_s(self, page: int) -> float:
        """Time of a page: those of the channels of a frame are one."""
        frame, total = page // len(self.channels), self.volumes * (self.slices * self.repeats + self.flyback)
        return frame * self.period_s + (self.pause_s if frame >= total * 2 // 3 else 0.0)

    def describe(self, page: int, *, first: int = 0, acquisition: int = 1, epoch: str = "") -> str:
        """Description of a page."""
        stamp = f"frameTimestamps_sec = {self.time_s(first + page):.9f}\n" if self.stamped else ""
        return (
            f"frameNumbers = {(first + page) // len(self.channels) + 1}\nacquisitionNumbers = {acquisition}\n"
            f"frameNumberAcquisition = {(first + page) // len(self.channels) + 1}\n{stamp}"
            "acqTriggerTimestamps_sec = -0.000130125\nendOfAcquisition = 0\n"
            f"epoch = {epoch or '[2025  4 25 17 12 48.213]'}\nauxTrigger0 = []\nI2CData = {{}}\n"
        ).ljust(600)


def write_recording(path: Path, recording: Recording = Recording(), *, count: int | None = None) -> Path:
    """Write one file; ``count`` of its pages, if it was stopped."""
    return write_pages(
        path, recording, recording.pages[:count], [recording.describe(i) for i in range(len(recording.pages))]
    )


def write_split(folder: Path, recording: Recording, pages: Sequence[int], name: str = "m1_00001") -> Path:
    """Write several files of so many pages each."""
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    for number, count in enumerate(pages, 1):
        texts = [recording.describe(i, first=done) for i in range(count)]
        write_pages(folder / f"{name}_{number:05d}.tif", recording, recording.pages[done : done + count], texts)
        done += count
    return folder / f"{name}_00001.tif"


def write_pages(path: Path, recording: Recording, pages: Sequence[NDArray[Any]], texts: Sequence[str]) -> Path:
    """Write a BigTIFF: header, static metadata, then for each page its directory, its texts and its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = "".join(f"{k} = {v}\n" for k, v in recording.settings.items()).encode() + b"\0"
    rois = json.dumps({"RoiGroups": {"imagingRoiGroup": {"rois": {"scanfields": {}}}}}).encode() + b"\0"
    static = struct.pack("<IIII", MAGIC, 4, len(settings), len(rois)) + settings + rois
    where = {"software": 16 + 16, "artist": 16 + 16 + len(settings)}
    out = bytearray(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0)) + static
    out += bytes(-len(out) % 8)
    struct.pack_into("<Q", out, 8, len(out))
    for number, (page, text) in enumerate(zip(pages, texts, strict=False)):
        description = text.encode() + b"\0"
        tags: list[tuple[int, int, int, int]] = [
            (254, 4, 1, 0), (256, 4, 1, page.shape[1]), (257, 4, 1, page.shape[0]), (258, 3, 1, page.itemsize * 8),
            (259, 3, 1, 1), (262, 3, 1, 1), (270, 2, len(description), 0), (273, 16, 1, 0), (274, 3, 1, 1),
            (277, 3, 1, 1), (278, 4, 1, page.shape[0]), (279, 16, 1, page.nbytes), (284, 3, 1, 1),
            (305, 2, len(settings), where["software"]), (315, 2, len(rois), where["artist"]),
            (339, 3, 1, 2 if page.dtype.kind == "i" else 1),
        ]  # fmt: skip
        behind = len(out) + 8 + 20 * len(tags) + 8
        data = behind + len(description)
        following = data + page.nbytes
        following += -following % 8
        out += struct.pack("<Q", len(tags))
        for tag, kind, n, value in tags:
            out += struct.pack("<HHQQ", tag, kind, n, {270: behind, 273: data}.get(tag, value))
        out += struct.pack("<Q", following if number + 1 < len(pages) else 0)
        out += description + page.astype(page.dtype.newbyteorder("<")).tobytes()
        out += bytes(-len(out) % 8)
    path.write_bytes(out)
    return path
