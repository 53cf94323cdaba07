"""Small ND2 files in Nikon's layout, version 3: chunks, metadata as lite variants, a map of the chunks at the end.

Every file is one that the nd2 package reads; pixels tell where they belong.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNED = 4096
_PLANE_NAME = 4072  # with it and the time, pixels begin 4096 bytes behind the chunk
_MAP = b"ND2 CHUNK MAP SIGNATURE 0000001!"


def pixels(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    values = np.arange(np.prod(shape), dtype=np.uint64) * 40503 % 65521
    return values.reshape(shape).astype(dtype)


@dataclass(frozen=True)
class Position:
    """A place of the stage."""

    x: float
    y: float
    name: str = ""


@dataclass(frozen=True)
class Nd2:
    """An acquisition: lengths of its loops, outermost first, and what is said.

    ``loops`` maps T, P, Z and U (another) to lengths; ``values`` is (loops..., y, x, components).
    """

    loops: Mapping[str, int] = field(default_factory=dict)
    shape: tuple[int, int] = (12, 17)
    channels: int = 1
    components: int = 1  # of each channel
    dtype: str = "uint16"
    row: int | None = None
    compression: int = 2  # 0 lossless, 1 lossy, 2 none
    calibration: float | None = 0.65
    step_um: float = 2.5
    period_ms: float = 500.0
    measured_ms: float = 0.0
    times_ms: Sequence[float] = ()  # of every plane; a millisecond from one to the next if not given
    periods: int = 1  # more: of different lengths, one after the other
    positions: Sequence[Position] = ()
    names: Sequence[str] = ()
    stage: tuple[float, float] = (0.0, 0.0)
    day: float = 2461104.0  # 2026-03-04, noon UTC
    text: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> NDArray[Any]:
        return pixels((*self.loops.values(), *self.shape, self.channels * self.components), self.dtype)


def write_nd2(path: Path, nd2: Nd2, *, missing: Sequence[int] = (), finished: bool = True) -> Path:
    itemsize, total = np.dtype(nd2.dtype).itemsize, nd2.channels * nd2.components
    row = nd2.row or nd2.shape[1] * total * itemsize
    planes = nd2.values.reshape(-1, nd2.shape[0], nd2.shape[1] * total)
    chunks: list[tuple[bytes, int, bytes]] = []
    if nd2.loops:
        loops = {"SLxExperiment": _loops(nd2, list(nd2.loops.items()))}
        chunks.append((b"ImageMetadataLV!", 64, encode(loops)))
    chunks.append((b"ImageMetadataSeqLV|0!", 64, encode({"SLxPictureMetadata": _picture(nd2)})))
    for i, plane in enumerate(planes):
        stored = plane.astype(plane.dtype.newbyteorder("<"))
        content = b"".join(line.tobytes().ljust(row, b"\xee") for line in stored)
        content = zlib.compress(content) if nd2.compression == 0 else content
        if i not in missing:
            chunks.append((b"ImageDataSeq|%d!" % i, _PLANE_NAME, struct.pack("<d", 0) + content))
    chunks.append((b"ImageTextInfoLV!", 64, encode({"SLxImageTextInfo": nd2.text})))
    chunks.append((b"CustomData|AcqTimesCache!", 64, np.array(nd2.times_ms or range(len(planes)), "<f8").tobytes()))
    attributes = {
        "uiWidth": nd2.shape[1], "uiWidthBytes": row, "uiHeight": nd2.shape[0], "uiComp": total,
        "uiBpcInMemory": 8 * itemsize, "uiBpcSignificant": 8 * itemsize, "uiSequenceCount": len(planes),
        "uiTileWidth": nd2.shape[1], "uiTileHeight": nd2.shape[0], "eCompression": nd2.compression,
        "dCompressionParam": 0.0, "ePixelType": 1, "uiVirtualComponents": total,
    }  # fmt: skip
    chunks.append((b"ImageAttributesLV!", 64, encode({"SLxImageAttributes": attributes})))
    out = bytearray(_chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", 32, b"Ver3.0".ljust(64, b"\0")))
    places = []
    for name, room, content in chunks:
        out += bytes(-len(out) % _ALIGNED)
        places.append(name + struct.pack("<QQ", len(out), len(content)))
        out += _chunk(name, room, content)
    out += bytes(-len(out) % _ALIGNED)
    if finished:
        end = _MAP + struct.pack("<Q", len(out))
        out += _chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", 32, b"".join(places) + end)
    path.write_bytes(out)
    return path


def encode(values: Mapping[str, Any]) -> bytes:
    """Encode a lite variant: type, length of the name, name in UTF-16, value."""
    return b"".join(_field(name, value) for name, value in values.items())


def _field(name: str, value: Any) -> bytes:
    if isinstance(value, bool):
        kind, content = 1, struct.pack("<B", value)
    elif isinstance(value, int):
        kind, content = (3, struct.pack("<I", value)) if value >= 0 else (2, struct.pack("<i", value))
    elif isinstance(value, float):
        kind, content = 6, struct.pack("<d", value)
    elif isinstance(value, str):
        kind, content = 8, value.encode("utf-16-le") + b"\0\0"
    elif isinstance(value, bytes):
        kind, content = 9, struct.pack("<Q", len(value)) + value
    else:
        kind, content = 11, encode(value)
    label = name.encode("utf-16-le") + b"\0\0"
    head = struct.pack("<BB", kind, len(label) // 2) + label
    if kind == 11:  # the number of fields, the bytes up to the end of the last one, and a table of their places
        content = struct.pack("<IQ", len(value), len(head) + 12 + len(content)) + content + bytes(8 * len(value))
    return head + content


def _chunk(name: bytes, room: int, content: bytes) -> bytes:
    return struct.pack("<IIQ", 0x0ABECEDA, room, len(content)) + name.ljust(room, b"\0") + content


def _loops(nd2: Nd2, loops: Sequence[tuple[str, int]]) -> dict[str, Any]:
    letter, count = loops[0]
    parameters: dict[str, Any]
    time: dict[str, Any] = {
        "uiCount": count, "dStart": 0.0, "dPeriod": nd2.period_ms, "dDuration": 0.0, "dAvgPeriodDiff": nd2.measured_ms,
        "dMaxPeriodDiff": 0.0, "dMinPeriodDiff": 0.0,
    }  # fmt: skip
    if letter == "T" and nd2.periods > 1:
        each = {
            f"i{i:010}": {**time, "uiCount": count // nd2.periods, "dPeriod": 100.0 * i} for i in range(nd2.periods)
        }
        kind, parameters = 8, {"uiPeriodCount": nd2.periods, "pPeriod": each, "pPeriodValid": bytes([1] * nd2.periods)}
    elif letter == "T":
        kind, parameters = 1, time
    elif letter == "P":
        positions = nd2.positions or [Position(100.0 * i, -50.0 * i) for i in range(count)]
        points = {
            f"i{i:010}": {"dPosX": p.x, "dPosY": p.y, "dPosZ": 7.0, "dPosName": p.name} for i, p in enumerate(positions)
        }
        kind, parameters = 2, {"uiCount": count, "bUseZ": False, "Points": points}
    elif letter == "Z":
        kind, parameters = 4, {"uiCount": count, "dZStep": nd2.step_um, "dZLow": 0.0, "dZHigh": 0.0, "iType": 0}
    else:
        kind, parameters = 7, {"uiCount": count}
    found: dict[str, Any] = {"eType": kind, "uLoopPars": parameters, "uiNextLevelCount": int(len(loops) > 1)}
    if len(loops) > 1:
        found["ppNextLevelEx"] = {"i0000000000": _loops(nd2, loops[1:])}
    return found


def _picture(nd2: Nd2) -> dict[str, Any]:
    planes = {}
    for i in range(nd2.channels):
        peaks = [
            {"uiCount": 1, "pPoint": {"Point0": {"eType": 4, "dWavelength": w + 20.0 * i, "dTValue": 1.0}}}
            for w in (488.0, 525.0)
        ]
        filters = {"i0000000000": {"m_ExcitationSpectrum": peaks[0], "m_EmissionSpectrum": peaks[1]}}
        planes[f"a{i}"] = {
            "uiCompCount": nd2.components, "uiSampleIndex": 0, "sDescription": nd2.names[i] if nd2.names else "",
            "uiColor": 0x00FF00 + i * 0xFF, "uiModalityMask": 1, "pFilterPath": {"m_uiCount": 1, "m_pFilter": filters},
            "pFluorescentProbe": {"m_sName": ""},
        }  # fmt: skip
    return {
        "bCalibrated": nd2.calibration is not None, "dCalibration": nd2.calibration or -1.0, "dTimeAbsolute": nd2.day,
        "dTimeMSec": 0.0, "dXPos": nd2.stage[0], "dYPos": nd2.stage[1], "dZPos": 0.0, "dObjectiveMag": 20.0,
        "dObjectiveNA": 0.75, "wsObjectiveName": "Plan Apo 20x", "dZoom": 1.0, "dProjectiveMag": -1.0,
        "sPicturePlanes": {"uiCount": nd2.channels, "uiSampleCount": 1, "sPlaneNew": planes}, **nd2.raw,
    }  # fmt: skip
