"""Small scans as PrairieView 5 lays them out: an XML file, its settings, and TIFFs of one page or of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tiff_makers import pixels

NAME = "TSeries-03042026-1011-001"


@dataclass(frozen=True)
class Scan:
    """What is written: cycles of frames of channels, and what the XML states."""

    kind: str = "TSeries Timed Element"
    cycles: int = 1
    frames: int = 6
    channels: Sequence[int] = (1, 2)
    height: int = 12
    width: int = 20
    period_s: float = 0.1
    jitter_s: Sequence[float] = field(default=(0.0,))
    pages: bool = False  # all frames of a cycle in one file
    both_ways: bool = False
    laser_nm: float | None = 920
    microns: bool = True
    date: str = "3/4/2026 10:11:12 AM"
    last_frames: int | None = None  # of the last cycle, if it was stopped
    stage: Sequence[tuple[float, float]] = ((385.5, 103.0),)  # x y of each cycle, in turn
    software: str = "Prairie View 5.6.64.200"

    @property
    def values(self) -> NDArray[Any]:
        """(cycles, frames, channels, y, x) in the order of acquisition."""
        return pixels((self.cycles, self.frames, len(self.channels), self.height, self.width))


def write_scan(folder: Path, scan: Scan = Scan(), name: str = NAME) -> Path:
    """Write a scan and return its XML file."""
    folder.mkdir(parents=True, exist_ok=True)
    values, cycles, number = scan.values, [], 0
    for c in range(scan.cycles):
        frames = []
        count = scan.last_frames if scan.last_frames and c == scan.cycles - 1 else scan.frames
        for f in range(count):
            time = number * scan.period_s + scan.jitter_s[number % len(scan.jitter_s)]
            number += 1
            depth = f if not (scan.both_ways and c % 2) else scan.frames - 1 - f
            entries = ""
            for i, channel in enumerate(scan.channels):
                file = f"{name}_Cycle{c + 1:05d}_Ch{channel}_{1 if scan.pages else f + 1:06d}.ome.tif"
                page = f'page="{f + 1}" ' if scan.pages else ""
                entries += f'<File channel="{channel}" channelName="Ch{channel}" {page}filename="{file}" />'
                if not scan.pages:
                    _tiff(folder / file, values[c, f : f + 1, i], scan)
            frames.append(
                f'<Frame relativeTime="{time}" absoluteTime="{time + 0.518:.9f}" index="{f + 1}" '
                f'parameterSet="CurrentSettings">{entries}<ExtraParameters lastGoodFrame="0" /><PVStateShard>'
                '<PVStateValue key="positionCurrent">'
                + "".join(
                    f'<SubindexedValues index="{a}Axis"><SubindexedValue subindex="0" value="{v}" /></SubindexedValues>'
                    for a, v in zip("XY", scan.stage[c % len(scan.stage)], strict=True)
                )
                + f'<SubindexedValues index="ZAxis"><SubindexedValue subindex="0" '
                f'value="{30 + 5 * depth}" /><SubindexedValue subindex="1" value="0" /></SubindexedValues>'
                "</PVStateValue></PVStateShard></Frame>"
            )
        for i, channel in enumerate(scan.channels if scan.pages else ()):
            file = f"{name}_Cycle{c + 1:05d}_Ch{channel}_000001.ome.tif"
            _tiff(folder / file, values[c, :count, i], scan)
        cycles.append(
            f'<Sequence type="{scan.kind}" cycle="{c + 1}" time="10:11:12.5">'
            f"<PVStateShard />{''.join(frames)}</Sequence>"
        )
    (folder / f"{name}.xml").write_text(_xml(scan, "".join(cycles)), encoding="utf-8-sig")
    (folder / f"{name}.env").write_text('<?xml version="1.0"?><Environment />', encoding="utf-8")
    (folder / "References").mkdir(exist_ok=True)
    _tiff(folder / "References" / f"{name}-Ch1-16bit-Reference.tif", values[0, :1, 0], scan)
    return folder / f"{name}.xml"


def _tiff(path: Path, frames: NDArray[Any], scan: Scan) -> None:
    with tifffile.TiffWriter(path) as tif:
        for frame in frames:
            tif.write(
                np.ascontiguousarray(frame), photometric="minisblack", rowsperstrip=4, metadata=None,
                software=scan.software, contiguous=False,
                description='<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2012-06">'
                '<BinaryOnly MetadataFile="elsewhere" UUID="urn:uuid:0"/></OME>',
            )  # fmt: skip


def _xml(scan: Scan, sequences: str) -> str:
    def value(key: str, text: Any) -> str:
        return f'<PVStateValue key="{key}" value="{text}" />'

    def indexed(key: str, **values: Any) -> str:
        entries = "".join(f'<IndexedValue index="{k.lstrip("_")}" value="{v}" />' for k, v in values.items())
        return f'<PVStateValue key="{key}">{entries}</PVStateValue>'

    state = [
        value("framePeriod", scan.period_s), value("pixelsPerLine", scan.width),
        value("linesPerFrame", scan.height), value("scanLinePeriod", 0.00005), value("objectiveLens", "Nikon 16x"),
        value("objectiveLensNA", 0.8), indexed("laserPower", _0=0, _1=79.5),
    ]  # fmt: skip
    if scan.microns:
        state.append(indexed("micronsPerPixel", XAxis=0.5, YAxis=0.25, ZAxis=5))
    if scan.laser_nm:
        state.append(indexed("laserWavelength", _0=1040, _1=scan.laser_nm))
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<PVScan version="5.6.64.200" date="{scan.date}" notes="mouse 3">'
        '<SystemIDs SystemID="0-1"><SystemID SystemID="4174" Description="Lab (BX51)" /></SystemIDs>'
        f"<PVStateShard>{''.join(state)}</PVStateShard>{sequences}</PVScan>"
    )
