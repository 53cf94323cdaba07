"""Small CZI files in Zeiss' layout: header, subblocks, directory, metadata; pixels tell where they belong."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

RAW, JPEG, LZW, JPEG_XR, ZSTD0, ZSTD1 = 0, 1, 2, 4, 5, 6
KINDS = {("uint8", 1): 0, ("uint16", 1): 1, ("float32", 1): 2, ("uint8", 3): 3, ("uint16", 3): 4, ("uint8", 4): 9,
         ("int32", 1): 12}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A subblock: pixels (y, x) or (y, x, samples), where they belong, and how they are stored."""

    values: NDArray[Any]
    at: Mapping[str, int] = field(default_factory=dict)
    y: int = 0
    x: int = 0
    compression: int = RAW
    packed: bool = True
    pyramid: int = 0
    reduced: int = 1
    xml: str = "<METADATA />"
    kind: int | None = None


def pixels(shape: tuple[int, ...], seed: int = 0, dtype: str = "uint16") -> NDArray[Any]:
    values = (np.arange(np.prod(shape), dtype=np.uint64) + 977 * seed) * 40503 % 65521
    return values.reshape(shape).astype(dtype)


def stack(lengths: Mapping[str, int], shape: tuple[int, ...] = (12, 17), **options: Any) -> list[Block]:
    """Make blocks for all combinations of places along the dimensions."""
    dtype = options.pop("dtype", "uint16")
    places = list(product(*(range(n) for n in lengths.values())))
    return [
        Block(pixels(shape, i, dtype), dict(zip(lengths, at, strict=True)), **options) for i, at in enumerate(places)
    ]


def encode(block: Block) -> bytes:
    values = block.values
    if block.compression == JPEG_XR:
        return bytes(imagecodecs.jpegxr_encode(values, level=1.0))
    if block.compression == JPEG:
        return bytes(imagecodecs.jpeg_encode(values))
    if values.ndim == 3:  # blue, green, red
        values = values[..., [2, 1, 0, *range(3, values.shape[2])]]
    plain = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
    if block.compression == LZW:
        return bytes(imagecodecs.lzw_encode(plain))
    if block.compression == ZSTD0:
        return bytes(imagecodecs.zstd_encode(plain))
    if block.compression == ZSTD1:
        if values.dtype.itemsize == 2 and block.packed:
            plain = np.frombuffer(plain, np.uint8).reshape(-1, 2).T.tobytes()
            return b"\x03\x01\x01" + bytes(imagecodecs.zstd_encode(plain))
        return b"\x01" + bytes(imagecodecs.zstd_encode(plain))
    return plain


def write_czi(
    path: Path, blocks: Sequence[Block], xml: str | None = None, *, part: int = 0, pending: int = 0,
    finished: bool = True, planes_last: bool = False, times: Sequence[float] = (),
) -> Path:  # fmt: skip
    text = b"" if xml is None else xml.encode()
    about = (
        b"" if xml is None else _segment(b"ZISRAWMETADATA", struct.pack("<ii", len(text), 0).ljust(256, b"\0") + text)
    )
    end = 544 + (len(about) + len(_directory([_entry(b, 0) for b in blocks])) if planes_last else 0)
    entries, planes = [], bytearray()
    for block in blocks:
        data, extra = encode(block), block.xml.encode()
        entries.append(_entry(block, end + len(planes)))
        head = struct.pack("<iiq", len(extra), 0, len(data)) + entries[-1]
        planes += _segment(b"ZISRAWSUBBLOCK", head.ljust(256, b"\0") + extra + data)
    attachments = 0
    if times:  # after all others, so that nothing else moves
        content = struct.pack("<ii", 8 + 8 * len(times), len(times)) + struct.pack(f"<{len(times)}d", *times)
        place = end + len(planes)
        entry = struct.pack("<2s10sqi16s8s80s", b"A1", b"", place, 0, b"", b"CZTIMS", b"TimeStamps")
        head = struct.pack("<i12s", len(content), b"") + entry
        planes += _segment(b"ZISRAWATTACH", head.ljust(256, b"\0") + content)
        attachments = end + len(planes)
        entry = entry[:12] + struct.pack("<q", place) + entry[20:]
        planes += _segment(b"ZISRAWATTDIR", struct.pack("<i", 1).ljust(256, b"\0") + entry)
    metadata = 544 if planes_last else end + len(planes)
    directory = metadata + len(about)
    guid = bytes(range(16))
    head = struct.pack(
        "<iiii16s16siqqiq", 1, 0, 0, 0, guid, guid, part, directory if finished else 0, metadata if about else 0,
        pending, attachments,
    )  # fmt: skip
    tail = about + _directory(entries)
    first, last = (tail, bytes(planes)) if planes_last else (bytes(planes), tail)
    path.write_bytes(_segment(b"ZISRAWFILE", head.ljust(512, b"\0")) + first + last)
    return path


def _directory(entries: Sequence[bytes]) -> bytes:
    return _segment(b"ZISRAWDIRECTORY", struct.pack("<i", len(entries)).ljust(128, b"\0") + b"".join(entries))


def _segment(name: bytes, content: bytes) -> bytes:
    room = -(-len(content) // 32) * 32
    return struct.pack("<16sqq", name, room, len(content)) + content.ljust(room, b"\0")


def _entry(block: Block, position: int) -> bytes:
    height, width = block.values.shape[:2]
    samples = block.values.shape[2] if block.values.ndim == 3 else 1
    kind = KINDS[block.values.dtype.name, samples] if block.kind is None else block.kind
    extents = {"X": (block.x, width), "Y": (block.y, height)}
    dimensions = [
        struct.pack("<4siifi", letter.encode(), start, size * block.reduced, float(start), size)
        for letter, (start, size) in extents.items()
    ]
    dimensions += [struct.pack("<4siifi", letter.encode(), at, 1, float(at), 1) for letter, at in block.at.items()]
    head = struct.pack(
        "<2siqiiB5si", b"DV", kind, position, 0, block.compression, block.pyramid, bytes(5), len(dimensions)
    )
    return head + b"".join(dimensions)


XML = """<?xml version="1.0"?>
<ImageDocument><Metadata>
  <Information>
    <User Id="0"><DisplayName>Ada</DisplayName></User>
    <Application><Name>ZEN (blue edition)</Name><Version>3.6.095</Version></Application>
    <Document><Description>left hemisphere</Description><UserName>M1</UserName></Document>
    <Image>
      <AcquisitionDateAndTime>2026-03-04T10:11:12.1234567Z</AcquisitionDateAndTime>
      <Dimensions>
        <Channels>
          <Channel Id="Channel:0" Name="DAPI"><ExcitationWavelength>353</ExcitationWavelength>
            <EmissionWavelength>465</EmissionWavelength><Color>#FF00A1FF</Color></Channel>
          <Channel Id="Channel:1" Name="EGFP"><ExcitationWavelength>488</ExcitationWavelength>
            <EmissionWavelength>509</EmissionWavelength></Channel>
        </Channels>
        <T><Positions><Interval><Start>0</Start><Increment>2.5</Increment></Interval></Positions></T>
        <S><Scenes>
          <Scene Index="0" Name="TR1"><CenterPosition>38397.5,-120</CenterPosition></Scene>
          <Scene Index="1" Name="P1"><Positions><Position X="10" Y="20" Z="0.5"/></Positions></Scene>
        </Scenes></S>
      </Dimensions>
      <ObjectiveSettings><ObjectiveRef Id="Objective:1"/></ObjectiveSettings>
    </Image>
    <Instrument>
      <Microscopes><Microscope Id="Microscope:1" Name="Celldiscoverer 7"/></Microscopes>
      <Objectives>
        <Objective Id="Objective:0" Name="other"/>
        <Objective Id="Objective:1" Name="Plan-Apochromat 5x/0.35"><LensNA>0.35</LensNA>
          <NominalMagnification>5</NominalMagnification><Immersion>Air</Immersion></Objective>
      </Objectives>
    </Instrument>
  </Information>
  <Scaling><Items>
    <Distance Id="X"><Value>1.6E-06</Value></Distance><Distance Id="Y"><Value>1.6E-06</Value></Distance>
    <Distance Id="Z"><Value>4E-06</Value></Distance>
  </Items></Scaling>
  <DisplaySetting><Channels><Channel Id="Channel:1" Name="EGFP"><Color>#FF00FF5B</Color></Channel></Channels>
  </DisplaySetting>
</Metadata></ImageDocument>
"""
STAGE = (
    "<METADATA><Tags><StageXPosition>+000000038397.2960</StageXPosition><StageYPosition>-000000000012.5000"
    "</StageYPosition><FocusPosition>+1.5</FocusPosition></Tags></METADATA>"
)
