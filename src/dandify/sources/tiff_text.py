"""What TIFF files state in ImageJ's and tifffile's descriptions and in their resolution tags."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dandify.sources.contract import Channel
from dandify.sources.microscopy import AXES, micrometres, seconds
from dandify.sources.tiff_header import (
    DESCRIPTION,
    IMAGEJ_COUNTS,
    IMAGEJ_DATA,
    PHOTOMETRIC,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Page,
)

_CENTIMETRE: Final = 3  # ResolutionUnit; 2 is inch, 1 none
_PRINTED_PER_CM: Final = 1000.0  # 2540 dpi; finer is no printer's or screen's resolution but a microscope's
_COLOURS: Final = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"), ("alpha", None))


@dataclass(frozen=True)
class ImageJ:
    """An ImageJ description.

    Attributes
    ----------
    images
        Planes that the file is said to hold.
    lengths
        Of t z c, in the order in which the planes lie (c fastest); empty where not stated.
    scale
        Micrometres for z y x, seconds for t, as far as stated.
    channels
        Of a composite image; empty where nothing is stated.
    unit
        Of length, as written.
    """

    images: int
    lengths: Mapping[str, int]
    scale: Mapping[str, float]
    channels: tuple[Channel, ...]
    unit: str = ""


def imagej(page: Page) -> ImageJ | None:
    """Return what ImageJ wrote into the first page; None if it is not of ImageJ.

    Source: ij.io.FileSaver.getDescriptionString and ij.io.TiffEncoder of ImageJ 1.
    """
    text = page.text(DESCRIPTION)
    if not text.startswith("ImageJ="):
        return None
    stated = {key: value for key, _, value in (line.partition("=") for line in text.splitlines())}
    counts = {axis: _count(stated.get(key)) for axis, key in (("t", "frames"), ("z", "slices"), ("c", "channels"))}
    unit = stated.get("unit", "")
    scale = {
        "x": _per_pixel(page.tags.get(X_RESOLUTION), unit),
        "y": _per_pixel(page.tags.get(Y_RESOLUTION), stated.get("yunit", unit)),
        "z": micrometres(stated.get("spacing", "").lstrip("-"), stated.get("zunit", unit)),
        "t": seconds(stated.get("finterval"), stated.get("tunit", "s")),
    }
    return ImageJ(
        images=_count(stated.get("images")),
        lengths=counts if max(counts.values()) > 1 else {},
        scale={a: v for a, v in scale.items() if v is not None},
        channels=_channels(page, counts, composite=stated.get("mode") in ("composite", "color")),
        unit=unit,
    )


def shaped(page: Page) -> tuple[tuple[int, ...], str | None] | None:
    """Shape and, if stated, axes in tifffile's own description; None if there is none."""
    try:
        stated = json.loads(page.text(DESCRIPTION) or "null")
        shape = tuple(int(n) for n in stated["shape"])
    except (ValueError, TypeError, KeyError):
        return None
    axes = stated.get("axes")
    axes = axes.lower() if isinstance(axes, str) and len(axes) == len(shape) else None
    if not shape or min(shape) < 1:
        return None
    return shape, axes if axes and set(axes) <= {*AXES, "s"} and len(set(axes)) == len(axes) else None


def resolution(page: Page) -> dict[str, float]:
    """Pixel size of a plain TIFF in micrometres; empty where its tags speak of print.

    72 or 300 dots per inch are what programs write when they know nothing. Only a resolution per centimetre is
    believed, and only if it is finer than any printer's.
    """
    if page.tags.get(RESOLUTION_UNIT) != _CENTIMETRE:
        return {}
    found = {a: _per_pixel(page.tags.get(tag), "cm") for a, tag in (("y", Y_RESOLUTION), ("x", X_RESOLUTION))}
    return {a: v for a, v in found.items() if v is not None and v < 1e4 / _PRINTED_PER_CM}


def colours(page: Page) -> tuple[Channel, ...]:
    """Channels of a pixel that has red, green and blue; empty for other pixels."""
    if page.tags.get(PHOTOMETRIC, 0) not in (2, 6) or page.samples not in (3, 4):
        return ()
    return tuple(Channel(name, color=color) for name, color in _COLOURS[: page.samples])


def _channels(page: Page, counts: Mapping[str, int], *, composite: bool) -> tuple[Channel, ...]:
    """Channels by the labels of a stack of channels only, and the brightest colour of each lookup table."""
    count = counts["c"]
    if count < 2 or page.samples > 1:
        return ()
    data = _imagej_data(page)
    labels = data.get("labl", []) if counts["t"] == counts["z"] == 1 else []
    names = [raw.decode("utf-16-le" if page.order == "<" else "utf-16-be", "replace").strip("\0 ") for raw in labels]
    tables = [t for t in data.get("luts", []) if len(t) == 768] if composite else []
    if len(tables) != count:
        tables = []
    if len(names) != count or not all(names):
        if not tables:
            return ()
        names = [f"Channel {i + 1}" for i in range(count)]  # what ImageJ shows for a channel without a label
    found: list[str | None] = [bytes((t[255], t[511], t[767])).hex().upper() for t in tables]
    return tuple(Channel(name, color=color) for name, color in zip(names, found or [None] * count, strict=True))


def _imagej_data(page: Page) -> dict[str, list[bytes]]:
    """Entries of ImageJ's own tag by their type: a header IJIJ, then type and count of each, then the entries."""
    raw, counts = page.tags.get(IMAGEJ_DATA), page.tags.get(IMAGEJ_COUNTS)
    if not isinstance(raw, bytes) or counts is None or not hasattr(counts, "__len__") or len(raw) < int(counts[0]):
        return {}
    lengths, place = [int(n) for n in counts], int(counts[0])
    if raw[:4] not in (b"IJIJ", b"JIJI") or (place - 4) % 8:
        return {}
    out: dict[str, list[bytes]] = {}
    lengths = lengths[1:]
    for at in range(4, place, 8):
        kind, count = struct.unpack(f"{page.order}4sI", raw[at : at + 8])
        name = (kind if page.order == ">" else kind[::-1]).decode("latin-1")
        for length in lengths[:count]:
            out.setdefault(name, []).append(raw[place : place + length])
            place += length
        lengths = lengths[count:]
    return out


def _per_pixel(value: Any, unit: str) -> float | None:
    """Micrometres of a pixel out of pixels per unit, which is (above, below)."""
    if not isinstance(value, tuple) or not value[0] or not value[1]:
        return None
    return micrometres(value[1] / value[0], unit)


def _count(text: str | None) -> int:
    return int(text) if text and text.strip().isdigit() and int(text) > 0 else 1
