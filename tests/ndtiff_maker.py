"""NDTiff data sets as Micro-Manager and pycromanager write them: index, stacks, metadata, and smaller versions."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Axes = Mapping[str, int | str]

SUMMARY: dict[str, Any] = {
    "TiledImageStorage": False, "PixelSize_um": 0.5, "DateAndTime": "2022/12/28 17:04:23", "Core-Camera": "Camera",
    "Core-Focus": "Z", "AffineTransform": "0.5_0.0_0.0_0.5", "PixelType": "GRAY16",
}  # fmt: skip
COLOURS = {"All channel settings": {"Log histogram": False}, "DAPI": {"Color": -16763905, "Name": "DAPI"}}
TYPES = {0: "u1", 1: "<u2", 2: "u1", 3: "<u2", 4: "<u2", 5: "<u2", 6: "<u2"}
AFFINE = "0.5;0.0;0.0;0.0;0.5;0.0"


def grid(**axes: int | Sequence[int | str]) -> list[dict[str, int | str]]:
    """Axes of all images: ``time=3`` are 0, 1, 2."""
    values = [range(v) if isinstance(v, int) else v for v in axes.values()]
    return [dict(zip(axes, at, strict=True)) for at in product(*values)]


def pixels(axes: Axes, shape: tuple[int, ...] = (12, 16), kind: int = 1) -> NDArray[Any]:
    """Values that tell to which axes they belong."""
    seed = sum(ord(c) * (i + 1) for i, c in enumerate(json.dumps(axes, sort_keys=True)))
    values = np.random.default_rng(seed).integers(0, 256 if TYPES[kind] == "u1" else 4096, (*shape, 3))
    return (values if kind == 2 else values[..., 0]).astype(TYPES[kind])


def metadata(axes: Axes) -> dict[str, Any]:
    """What Micro-Manager states of a plane, without the properties of most devices."""
    numbers = {a: v if isinstance(v, int) else 0 for a, v in axes.items()}
    return {
        "PixelSizeUm": 0.5, "PixelSizeAffine": AFFINE, "Exposure": 20 if axes.get("channel") == "FITC" else 10,
        "ElapsedTime-ms": 250 * numbers.get("time", 0) + (7 if axes.get("channel") == "FITC" else 0),
        "ZPosition_um_Intended": 3 + 0.4 * numbers.get("z", 0), "Z-Position": "6.0000", "Axes": dict(axes),
        "XPosition_um_Intended": 100 * numbers.get("position", 0), "YPosition_um_Intended": -40, "BitDepth": 16,
        "Objective-Label": "Nikon 10X S Fluor", "Channel": axes.get("channel", "Default"),
        "Time": "2022-12-28 17:04:24 -",
    }  # fmt: skip


def write_ndtiff(
    folder: Path, images: Iterable[Axes], *, shape: tuple[int, ...] = (12, 16), kind: int = 1,
    version: tuple[int, ...] = (3, 3), summary: Mapping[str, Any] = SUMMARY, plane: Mapping[str, Any] | None = None,
    most: int = 10**6, name: str | None = None, kinds: Mapping[str, int] | None = None,
) -> Path:  # fmt: skip
    """Write a data set of one resolution.

    Parameters
    ----------
    folder
        It becomes the data set.
    images
        Axes of each.
    shape, kind
        Height and width in pixels; pixel type.
    version
        ``(2,)``: without a minor version, as 2.0.
    summary, plane
        Metadata; those of planes take the place of `metadata`'s where they have the same key, and go where they are
        None.
    most
        Images in a stack.
    name
        Before ``_NDTiffStack.tif``; that of the folder.
    kinds
        Pixel types of channels that have another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = list(images)
    index = b""
    for number, first in enumerate(range(0, len(images), most)):
        file = f"{folder.name if name is None else name}_NDTiffStack{f'_{number}' if number else ''}.tif"
        head = b"II*\0" + bytes(4) + struct.pack("<I", 483729) + struct.pack(f"<{len(version)}I", *version)
        text = json.dumps(summary).encode()
        content = bytearray(head + struct.pack("<2I", 2355492, len(text)) + text)
        link = 4
        for axes in images[first : first + most]:
            type_of = (kinds or {}).get(str(axes.get("channel")), kind)
            told = {k: v for k, v in {**metadata(axes), **(plane or {})}.items() if v is not None}
            link, data, begin, length = _page(content, link, pixels(axes, shape, type_of), told)
            index += _text(json.dumps(axes, separators=(",", ":"))) + _text(file)
            index += struct.pack("<8I", data, shape[1], shape[0], type_of, 0, begin, length, 0)
        (folder / file).write_bytes(content)
    (folder / "NDTiff.index").write_bytes(index)
    (folder / "display_settings.txt").write_text(json.dumps(COLOURS), encoding="utf-8")
    return folder


def write_stitched(folder: Path, images: Iterable[Axes], *, overlap: int | None = 4, **how: Any) -> Path:
    """Write a data set of several resolutions."""
    told = {} if overlap is None else {"GridPixelOverlapX": overlap, "GridPixelOverlapY": overlap}
    summary = {**SUMMARY, "TiledImageStorage": True, **told}
    made: dict[str, Iterable[Axes]] = {"Full resolution": images, "Downsampled_x2": [{"row": 0, "column": 0}]}
    for level, some in made.items():
        write_ndtiff(folder / level, some, summary=summary, name=folder.name, **how)
        (folder / level / "display_settings.txt").replace(folder / "display_settings.txt")
    return folder


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()


def _page(content: bytearray, link: int, values: NDArray[Any], told: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Append a page; give the place of its link, and those of its pixels and metadata."""
    content += bytes(len(content) % 2)
    struct.pack_into("<I", content, link, len(content))
    text, colours = json.dumps(told).encode(), values.ndim == 3
    after = len(content) + 2 + 13 * 12
    resolution = after + 4 + 6 * colours
    data = resolution + 16
    begin = data + values.nbytes
    height, width = values.shape[:2]
    bits = 8 * values.itemsize
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, after + 4) if colours else (258, 3, 1, bits),
        (259, 3, 1, 1), (262, 3, 1, 2 if colours else 1), (273, 4, 1, data), (277, 3, 1, 3 if colours else 1),
        (278, 3, 1, height), (279, 4, 1, values.nbytes), (282, 5, 1, resolution), (283, 5, 1, resolution + 8),
        (296, 3, 1, 3), (51123, 2, len(text), begin),
    ]  # fmt: skip
    content += struct.pack("<H", 13) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    content += struct.pack("<3H", bits, bits, bits) * colours + struct.pack("<4I", 20000, 1, 20000, 1)
    content += values.tobytes() + text
    return after, data, begin, len(text)
