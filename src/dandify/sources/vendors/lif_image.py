"""What the XML of a LIF states of an image: where its values lie, sizes, channels, objective, stage, tiles, date.

Lengths are metres, and that of a dimension goes from its first value to its last. Times of images are file times of
Windows: 100 ns since 1601, UTC.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dandify.sources.contract import Channel
from dandify.sources.microscopy import micrometres, seconds
from dandify.sources.stated import objective_in_words, rgb_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_FIRST_TICK: Final = datetime(1601, 1, 1, tzinfo=UTC)
_COLOURS: Final = {
    "red": "FF0000", "green": "00FF00", "blue": "0000FF", "cyan": "00FFFF", "magenta": "FF00FF", "yellow": "FFFF00",
    "gray": "FFFFFF", "grey": "FFFFFF",
}  # fmt: skip
_PIXEL: Final = {"1": "red", "2": "green", "3": "blue"}  # ChannelTag; 0 is grey
_SETTINGS: Final = ("ATLConfocalSettingDefinition", "ATLCameraSettingDefinition")


@dataclass(frozen=True)
class Dimension:
    """One dimension of an image.

    Attributes
    ----------
    number
        Which: 1 x, 2 y, 3 z, 4 t, 5 emission, 9 excitation, 10 tile; 6 to 8 and 11 see `dandify.converters.lif`.
    length
        In values.
    step_bytes
        From one value to the next in the file.
    origin, extent, unit
        Place of the first value, and distance from there to the last.
    """

    number: int
    length: int
    step_bytes: int
    origin: float
    extent: float
    unit: str

    @property
    def step(self) -> float | None:
        """Distance of neighbouring values in `unit`; None if it is not stated."""
        found = abs(self.extent) / (self.length - 1) if self.length > 1 else 0.0
        return found if math.isfinite(found) and found > 0 else None


@dataclass(frozen=True)
class StoredChannel:
    """A channel: its first byte, type, what is stated about it, and which colour of a pixel it is (0: none)."""

    start: int
    dtype: np.dtype[Any]
    channel: Channel
    tag: int = 0


@dataclass(frozen=True)
class LifImage:
    """One image.

    Attributes
    ----------
    name
        With those of the folders it lies in.
    block, block_bytes
        Name of the block that holds it, and its size as stated: 0 of an image that was not kept.
    dimensions
        By number.
    channels
        In the order of the XML; colours of pixels red first.
    tiles
        Places of the tiles, x y z in micrometres, in the order of their dimension.
    tiles_along_axes
        The tiles lie along the image's own axes: nothing is flipped or swapped.
    date
        Of the first plane.
    facts
        Objective, device, software.
    stage
        Where it was, x y in micrometres.
    """

    name: str
    block: str
    block_bytes: int
    dimensions: Mapping[int, Dimension]
    channels: tuple[StoredChannel, ...]
    tiles: tuple[Mapping[str, float], ...]
    tiles_along_axes: bool
    date: datetime | None
    facts: Mapping[str, str]
    stage: Mapping[str, float]

    @property
    def scale(self) -> dict[str, float]:
        """Micrometres for z y x, seconds for t, as far as stated."""
        found: dict[str, float | None] = {}
        for axis, number in {"x": 1, "y": 2, "z": 3}.items():
            if number in self.dimensions:
                found[axis] = micrometres(self.dimensions[number].step, self.dimensions[number].unit)
        if 4 in self.dimensions:
            found["t"] = seconds(self.dimensions[4].step, self.dimensions[4].unit)
        return {a: v for a, v in found.items() if v is not None}


def images_of(root: Element) -> Iterator[LifImage]:
    """Yield the images of a file, in its order.

    Raises
    ------
    ValueError
        If one is described in a way that cannot be read.
    """
    for element in root.findall("Element"):
        yield from _images(element, ())


def lifetimes_of(root: Element) -> Iterator[str]:
    """Yield the names of elements that hold photon arrival times (FLIM) in place of pixels."""
    for element in root.iter("Element"):
        if element.find("Data/SingleMoleculeDetection") is not None and element.find("Data/Image") is None:
            yield (element.get("Name") or "").strip()


def _images(element: Element, folders: tuple[str, ...]) -> Iterator[LifImage]:
    name = (element.get("Name") or "").strip()
    image = element.find("Data/Image")
    # The outermost element is the project, which has the file's name.
    path = (*folders, name) if folders or image is not None else ()
    if image is not None and image.find("ImageDescription") is not None:
        yield _image(image, " ".join(p for p in path if p), element.find("Memory"))
    for child in element.iterfind("Children/Element"):
        yield from _images(child, path or ("",))


def _image(image: Element, name: str, memory: Element | None) -> LifImage:
    try:
        dimensions = [_dimension(e) for e in image.iterfind("ImageDescription/Dimensions/DimensionDescription")]
        channels = [_channel(e) for e in image.iterfind("ImageDescription/Channels/ChannelDescription")]
    except (KeyError, ValueError) as error:
        what = f"without {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"describes the image {name} in a way that cannot be read: {what}") from None
    if {c.tag for c in channels} == {1, 2, 3}:
        channels.sort(key=lambda c: c.tag)
    if len({d.number for d in dimensions}) < len(dimensions):
        raise ValueError(f"describes a dimension of the image {name} twice")
    if not channels or not dimensions:
        raise ValueError(f"describes the image {name} without {'dimensions' if channels else 'channels'}")
    tiles = image.find("Attachment[@Name='TileScanInfo']")
    settings = next((s for key in _SETTINGS for s in image.iter(key)), None)
    hardware = image.find("Attachment[@Name='HardwareSetting']")
    stated = (
        [] if tiles is None else [_place(t, {"x": "PosX", "y": "PosY", "z": "PosZ"}) for t in tiles.iterfind("Tile")]
    )
    turned = [] if tiles is None else [tiles.get(k, "0") for k in ("FlipX", "FlipY", "SwapXY")]
    block = {} if memory is None else memory.attrib
    size = block.get("Size", "0")
    return LifImage(
        name=name, block=block.get("MemoryBlockID", ""), block_bytes=int(size) if size.isdigit() else 0,
        dimensions={d.number: d for d in dimensions}, channels=tuple(channels), tiles=tuple(stated),
        tiles_along_axes=set(turned) <= {"0"}, date=_date(image), facts=_facts(settings, hardware),
        stage={} if settings is None else _place(settings, {"x": "StagePosX", "y": "StagePosY"}),
    )  # fmt: skip


def _dimension(element: Element) -> Dimension:
    of = element.attrib
    found = Dimension(
        int(of["DimID"]), int(of["NumberOfElements"]), int(of["BytesInc"]), _float(of.get("Origin")),
        _float(of.get("Length")), of.get("Unit", "").strip(),
    )  # fmt: skip
    if found.length < 1 or found.step_bytes < (found.length > 1):
        raise ValueError(f"dimension {found.number} with {found.length} values {found.step_bytes} bytes apart")
    if of.get("BitInc", "0") not in ("0", ""):
        raise ValueError("values that do not begin at bytes")
    return found


def _channel(element: Element) -> StoredChannel:
    of = element.attrib
    bits, kind = int(of["Resolution"]), {"0": "u", "1": "f"}.get(of.get("DataType", "0"))
    size = next((n for n in (1, 2, 4, 8) if 0 < bits <= 8 * n), None)
    start = int(of["BytesInc"])
    if kind is None or size is None or (kind == "f" and size < 2) or start < 0:
        raise ValueError(f"a channel of {bits} bits, data type {of.get('DataType')}, {start} bytes in")
    if of.get("BitInc", "0") not in ("0", ""):
        raise ValueError("values that do not begin at bytes")
    named = {p.findtext("Key"): (p.findtext("Value") or "").strip() for p in element.iterfind("ChannelProperty")}
    table, tag = (of.get("LUTName") or "").strip(), of.get("ChannelTag", "0")
    colour = _PIXEL.get(tag, "")
    return StoredChannel(
        start, np.dtype(f"<{kind}{size}"),
        Channel(named.get("DyeName") or colour, color=_COLOURS.get(table.lower() or colour) or rgb_of(table)),
        int(tag) if colour else 0,
    )  # fmt: skip


def _facts(settings: Element | None, hardware: Element | None) -> dict[str, str]:
    facts: dict[str, str | None] = {}
    if settings is not None:
        model = " ".join((settings.get("ObjectiveName") or "").split())
        of = (settings.get(k) for k in ("Magnification", "NumericalAperture", "Immersion"))
        facts["objective"] = objective_in_words(model, *of) if model else None
    if hardware is not None:
        facts["device"] = (hardware.get("SystemTypeName") or "").strip()
        facts["software"] = (hardware.get("Software") or "").strip()
    return {k: v for k, v in facts.items() if v}


def _place(element: Element, keys: Mapping[str, str]) -> dict[str, float]:
    """Places in micrometres, of attributes in metres."""
    found = {axis: _float(element.get(key)) for axis, key in keys.items() if element.get(key)}
    return {axis: float(f"{value * 1e6:.12g}") for axis, value in found.items() if math.isfinite(value)}


def _date(image: Element) -> datetime | None:
    stamps = image.find("TimeStampList")
    if stamps is None:
        return None
    first = stamps.find("TimeStamp")
    try:
        if first is not None:  # before LAS 3.1
            ticks = (int(first.attrib["HighInteger"]) << 32) + int(first.attrib["LowInteger"])
        else:
            ticks = int((stamps.text or "").split()[0], 16)
        found = _FIRST_TICK + timedelta(microseconds=ticks // 10)
    except (KeyError, ValueError, IndexError, OverflowError):
        return None
    return found if found.year > 1970 else None


def _float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
