"""OME-XML: the images of an OME-TIFF, where their planes lie, and what is stated about them.

Source: the OME data model 2016-06 (https://docs.openmicroscopy.org/ome-model/), "OME-TIFF specification"; older
versions name the same things alike. Namespaces differ by version and are not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from dandify.sources.contract import Channel
from dandify.sources.microscopy import micrometres, place_um, seconds
from dandify.sources.stated import date_of, nanometres, objective_in_words, parse_xml, regular_step

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ORDERS: Final = ("XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC")


@dataclass(frozen=True)
class Block:
    """One TiffData: planes that follow each other in a file.

    Attributes
    ----------
    file
        Name of the file as stated; None for the file itself.
    uuid
        Of that file, if stated.
    ifd
        Page of the first plane.
    first
        Its position along t, c (in groups of samples) and z.
    count
        Number of planes; None for all that remain in the file.
    """

    file: str | None
    uuid: str | None
    ifd: int
    first: Mapping[str, int]
    count: int | None


@dataclass(frozen=True)
class OmeImage:
    """One image.

    Attributes
    ----------
    name, description
        As stated; empty where not.
    lengths
        Of x, y, z, t, and of c in groups of samples.
    order
        Axes of the planes, the fastest first: ``zct``.
    blocks
        Where the planes lie.
    scale
        Micrometres for z y x, seconds for t, as far as stated.
    unusable
        Sizes of pixels that are stated and are no lengths, as written: ``0.5 furlong``, by axis.
    channels
        One for each value of the c axis; empty where nothing is stated about any.
    samples
        Values of each pixel.
    date
        When it was acquired.
    objective
        In words.
    stage
        Where it was for the first plane, x y z in micrometres, as far as stated in a unit of length.
    exposures_s
        Of the channels, by their first planes; empty unless all are stated.
    """

    name: str
    description: str
    lengths: Mapping[str, int]
    order: str
    blocks: tuple[Block, ...]
    scale: Mapping[str, float]
    unusable: Mapping[str, str]
    channels: tuple[Channel, ...]
    samples: int
    date: datetime | None
    objective: str | None
    stage: Mapping[str, float]
    exposures_s: tuple[float, ...]

    def planes(self, block: Block, available: int) -> Iterator[tuple[tuple[int, int, int], int]]:
        """Position (t, c, z) and page of every plane of a block, of a file with so many pages."""
        n = {a: self.lengths[a] for a in self.order}
        start, step = 0, 1
        for axis in self.order:
            if block.first.get(axis, 0) >= n[axis]:
                raise ValueError(
                    f"First{axis.upper()}={block.first[axis]} of an image with Size{axis.upper()}={n[axis]}"
                )
            start += block.first.get(axis, 0) * step
            step *= n[axis]
        count = min(step - start, available - block.ifd) if block.count is None else block.count
        for i in range(count):
            rest, at = start + i, {}
            for axis in self.order:
                rest, at[axis] = divmod(rest, n[axis])
            if rest:
                raise ValueError(f"TiffData names more planes than the image has ({math.prod(n.values())})")
            yield (at["t"], at["c"], at["z"]), block.ifd + i


@dataclass(frozen=True)
class OmeMetadata:
    """What an OME-XML states.

    Attributes
    ----------
    uuid
        Of the file.
    images
        In order.
    elsewhere
        Name of the file that has the metadata, if this one only names it.
    device, experimenter
        In words.
    """

    uuid: str | None
    images: tuple[OmeImage, ...]
    elsewhere: str | None
    device: str | None
    experimenter: str | None


def parse_ome(text: str) -> OmeMetadata:
    """Read an OME-XML.

    Raises
    ------
    ValueError
        If it is no XML, or lacks what the specification requires.
    """
    root = parse_xml(text, "OME-XML")  # without namespaces, which are the versions
    binary = root.find("BinaryOnly")
    instruments = {e.get("ID"): e for e in root.iter("Instrument")}
    devices = {_words(m, "Manufacturer", "Model") for i in instruments.values() for m in i.findall("Microscope")} - {""}
    people = {_words(e, "LastName", "FirstName", between=", ") for e in root.findall("Experimenter")} - {""}
    return OmeMetadata(
        uuid=root.get("UUID"),
        images=tuple(_image(e, root) for e in root.findall("Image")),
        elsewhere=None if binary is None else binary.get("MetadataFile"),
        device=devices.pop() if len(devices) == 1 else None,
        experimenter=people.pop() if len(people) == 1 else None,
    )


def _image(image: Element, root: Element) -> OmeImage:
    pixels = image.find("Pixels")
    if pixels is None:
        raise ValueError("an Image without Pixels in its OME-XML")
    size = {a: _integer(pixels, f"Size{a.upper()}") for a in "xyzct"}
    order = pixels.get("DimensionOrder", "")
    if order not in _ORDERS:
        raise ValueError(f"DimensionOrder {order!r} in its OME-XML")
    elements = pixels.findall("Channel")
    samples = {_integer(e, "SamplesPerPixel", 1) for e in elements} or {1}
    if len(samples) > 1:
        raise ValueError("channels with different numbers of samples in its OME-XML")
    count = samples.pop()
    if size["c"] % count:
        raise ValueError(f"SizeC={size['c']} and SamplesPerPixel={count} in its OME-XML")
    size["c"] //= count
    sizes = {
        a: (pixels.get(f"PhysicalSize{a.upper()}"), pixels.get(f"PhysicalSize{a.upper()}Unit", "µm")) for a in "zyx"
    }
    scale: dict[str, float | None] = {a: micrometres(*size) for a, size in sizes.items()}
    unusable = {a: f"{value} {unit}" for a, (value, unit) in sizes.items() if value is not None and scale[a] is None}
    planes = {tuple(_integer(p, f"The{a}", 0) for a in "TCZ"): p for p in pixels.findall("Plane")}
    scale["t"] = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")) or _increment(
        planes, size["t"]
    )
    exposures = [_seconds(planes.get((0, c, 0)), "ExposureTime") for c in range(size["c"])]
    channels = tuple(_channel(e) for e in elements) if any(map(_described, elements)) else ()
    return OmeImage(
        name=(image.get("Name") or "").strip(),
        description=(image.findtext("Description") or "").strip(),
        lengths=size,
        order=order[2:].lower(),
        blocks=tuple(_block(e) for e in pixels.findall("TiffData")),
        scale={a: v for a, v in scale.items() if v is not None},
        unusable=unusable,
        channels=channels if count == 1 and len(channels) == size["c"] else (),
        samples=count,
        date=date_of(image.findtext("AcquisitionDate") or image.findtext("AcquiredDate")),
        objective=_objective(image, root),
        stage=_stage(planes.get((0, 0, 0))),
        exposures_s=tuple(e for e in exposures if e) if all(exposures) else (),
    )


def _increment(planes: Mapping[tuple[int, ...], Element], count: int) -> float | None:
    """Seconds between time points, by the times of their first planes (``DeltaT``)."""
    times = [_seconds(planes.get((t, 0, 0)), "DeltaT") for t in range(min(count, len(planes)))]
    known = [t for t in times if t is not None]
    return regular_step(known) if len(known) == count else None


def _seconds(plane: Element | None, key: str) -> float | None:
    """Give a time that a plane states; 0 is one."""
    value = None if plane is None else plane.get(key)
    if plane is None or value is None:
        return None
    unit = plane.get(f"{key}Unit", "s")
    return 0.0 if value.strip("0.") == "" and seconds(1, unit) else seconds(value, unit)


def _stage(plane: Element | None) -> dict[str, float]:
    """Give the place of the stage. Without a unit it is in a "reference frame", of which nobody knows the size."""
    if plane is None:
        return {}
    keys = {a: f"Position{a.upper()}" for a in "xyz"}
    places = {a: place_um(plane.get(key), plane.get(f"{key}Unit", "reference frame")) for a, key in keys.items()}
    return {a: place for a, place in places.items() if place is not None}


def _block(data: Element) -> Block:
    uuid = data.find("UUID")
    stated = data.get("IFD") is not None
    return Block(
        file=None if uuid is None else uuid.get("FileName"),
        uuid=None if uuid is None else (uuid.text or "").strip(),
        ifd=_integer(data, "IFD", 0),
        first={a: _integer(data, f"First{a.upper()}", 0) for a in "zct"},
        count=_integer(data, "PlaneCount", 1) if stated or data.get("PlaneCount") is not None else None,
    )


def _described(channel: Element) -> bool:
    return any(channel.get(key) for key in ("Name", "Color", "EmissionWavelength", "ExcitationWavelength"))


def _channel(channel: Element) -> Channel:
    def wavelength(kind: str) -> float | None:
        return nanometres(channel.get(f"{kind}Wavelength"), channel.get(f"{kind}WavelengthUnit", "nm"))

    color = channel.get("Color")
    rgb = None
    if color and color.lstrip("-").isdigit():
        rgb = f"{int(color) >> 8 & 0xFFFFFF:06X}"  # a signed 32-bit integer RGBA
    name = (channel.get("Name") or "").strip() or channel.get("ID") or ""
    return Channel(name, color=rgb, wavelength_nm=wavelength("Emission"), excitation_nm=wavelength("Excitation"))


def _objective(image: Element, root: Element) -> str | None:
    settings = image.find("ObjectiveSettings")
    if settings is None:
        settings = image.find("ObjectiveRef")
    wanted = None if settings is None else settings.get("ID")
    for objective in root.iter("Objective"):
        if wanted and objective.get("ID") == wanted:
            return objective_in_words(
                _words(objective, "Manufacturer", "Model"), objective.get("NominalMagnification"),
                objective.get("LensNA"), objective.get("Immersion"),
            )  # fmt: skip
    return None


def _words(element: Element, *keys: str, between: str = " ") -> str:
    return between.join(v for v in ((element.get(k) or "").strip() for k in keys) if v)


def _integer(element: Element, key: str, default: int | None = None) -> int:
    text: Any = element.get(key)
    if text is None:
        if default is None:
            raise ValueError(f"{element.tag} without {key} in its OME-XML")
        return default
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{key}={text!r} in its OME-XML") from None
    if number < (0 if default is not None else 1):
        raise ValueError(f"{key}={number} in its OME-XML")
    return number
