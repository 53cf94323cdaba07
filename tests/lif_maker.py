"""Small LIF files in Leica's layout: a record with the XML, then blocks of memory; pixels tell where they belong."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "E": 5, "R": 6, "W": 9, "M": 10, "L": 11}
EXTENTS: Mapping[str, tuple[float, float, str]] = {
    "X": (0.0, 15e-6, "m"), "Y": (0.0, 11e-6, "m"), "Z": (-2e-6, -6e-6, "m"), "T": (0.0, 10.0, "s"),
    "E": (5e-7, 2e-8, "m"), "W": (4.8e-7, 1e-8, "m"),
}  # fmt: skip


def pixels(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    values = np.arange(np.prod(shape), dtype=np.uint64) * 40503 % 65521
    return values.reshape(shape).astype(dtype)


@dataclass(frozen=True)
class Picture:
    """An image: how it lies in memory (``TZCYX``), and what is said about it.

    ``row`` is the length of a row in bytes if it is padded; ``channels`` are attributes of each channel.
    """

    name: str
    order: str
    shape: tuple[int, ...]
    dtype: str = "uint16"
    row: int | None = None
    channels: Sequence[Mapping[str, str]] = ()
    dyes: Sequence[str] = ()
    tiles: Sequence[tuple[float, float]] = ()
    turned: Mapping[str, str] = field(default_factory=dict)
    extents: Mapping[str, tuple[float, float, str]] = field(default_factory=lambda: EXTENTS)
    settings: str = ""
    stamps: Sequence[datetime] = ()
    kept: bool = True
    children: Sequence[Picture] = ()

    @property
    def values(self) -> NDArray[Any]:
        return pixels(self.shape, self.dtype)

    def stored(self) -> tuple[bytes, dict[str, int]]:
        """Bytes of the block, and the distance of values along each axis."""
        values, itemsize = self.values, np.dtype(self.dtype).itemsize
        inner = self.order[self.order.index("Y") + 1 :] if "Y" in self.order else ""
        rows = values.reshape(-1, int(np.prod(self.shape[len(self.order) - len(inner) :])))
        length = self.row or rows.shape[1] * itemsize
        content = b"".join(r.astype(values.dtype.newbyteorder("<")).tobytes().ljust(length, b"\xee") for r in rows)
        steps, step = {}, itemsize
        for letter, n in zip(reversed(self.order), reversed(self.shape), strict=True):
            if letter == "Y":
                step = length
            steps[letter] = step
            step *= n
        return content, steps


def write_lif(path: Path, pictures: Sequence[Picture], *, version: int = 2, extra: str = "") -> Path:
    blocks: list[tuple[str, bytes]] = [("MemBlock_0", b"")]
    children = "".join(_element(p, blocks) for p in pictures)
    xml = (
        f'<LMSDataContainerHeader Version="{version}"><Element Name="{path.stem}" UniqueID="x">'
        f'<Data><Experiment/></Data><Memory Size="0" MemoryBlockID="MemBlock_0"/><Children>{children}{extra}</Children>'
        "</Element></LMSDataContainerHeader>"
    )
    text = xml.encode("utf-16-le")
    content = struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2) + text
    for name, block in blocks:
        label = name.encode("utf-16-le")
        size = struct.pack("<Q" if version == 2 else "<I", len(block))
        content += struct.pack("<IIB", 0x70, len(label) + len(size) + 6, 0x2A) + size
        content += struct.pack("<BI", 0x2A, len(label) // 2) + label + block
    path.write_bytes(content)
    return path


def _element(picture: Picture, blocks: list[tuple[str, bytes]]) -> str:
    content, steps = picture.stored()
    name = f"MemBlock_{len(blocks)}"
    blocks.append((name, content if picture.kept else b""))
    itemsize = np.dtype(picture.dtype).itemsize
    count = picture.shape[picture.order.index("C")] if "C" in picture.order else 1
    channels = ""
    for i in range(count):
        said = {
            "DataType": "1" if picture.dtype.startswith("float") else "0", "ChannelTag": "0",
            "Resolution": str(8 * itemsize), "NameOfMeasuredQuantity": "", "Min": "0", "Max": "1", "Unit": "",
            "LUTName": "", "IsLUTInverted": "0", "BytesInc": str(i * steps.get("C", 0)), "BitInc": "0",
            **(picture.channels[i] if picture.channels else {}),
        }  # fmt: skip
        dye = (
            f"<ChannelProperty><Key>DyeName</Key><Value>{picture.dyes[i]}</Value></ChannelProperty>"
            if picture.dyes
            else ""
        )
        channels += f"<ChannelDescription {_attributes(said)}>{dye}</ChannelDescription>"
    dimensions = ""
    for letter, n in sorted(zip(picture.order, picture.shape, strict=True), key=lambda d: DIMENSIONS.get(d[0], 0)):
        if letter != "C":
            origin, extent, unit = picture.extents.get(letter, (0.0, 0.0, ""))
            place = {
                "DimID": DIMENSIONS[letter], "NumberOfElements": n, "Origin": origin, "Length": extent, "Unit": unit,
                "BitInc": 0, "BytesInc": steps[letter],
            }  # fmt: skip
            dimensions += f"<DimensionDescription {_attributes(place)}/>"
    tiles = "".join(f'<Tile FieldX="{i}" FieldY="0" PosX="{x}" PosY="{y}"/>' for i, (x, y) in enumerate(picture.tiles))
    attachments = picture.settings
    if tiles:
        attachments += f'<Attachment Name="TileScanInfo" {_attributes(picture.turned)}>{tiles}</Attachment>'
    if picture.stamps:
        ticks = [int((s - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds() * 10**7) for s in picture.stamps]
        attachments += (
            f"<TimeStampList NumberOfTimeStamps='{len(ticks)}'>{' '.join(f'{t:x}' for t in ticks)}</TimeStampList>"
        )
    inner = "".join(_element(c, blocks) for c in picture.children)
    return (
        f'<Element Name="{picture.name}" UniqueID="u{len(blocks)}"><Data><Image><ImageDescription>'
        f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription>{attachments}</Image>"
        f'</Data><Memory Size="{len(content) if picture.kept else 0}" MemoryBlockID="{name}"/>'
        f"<Children>{inner}</Children></Element>"
    )


def _attributes(values: Mapping[str, Any]) -> str:
    return " ".join(f'{k}="{v}"' for k, v in values.items())


SETTINGS = (
    '<Attachment Name="HardwareSetting" Software="LAS X 3.5.7" SystemTypeName="TCS SP8"><ATLConfocalSettingDefinition '
    'ObjectiveName="HC PL APO CS2    63x/1.30 GLYC " Magnification="63" NumericalAperture="1.3" Immersion="GLYC" '
    'StagePosX="0.03526" StagePosY="-0.01"/></Attachment>'
)
