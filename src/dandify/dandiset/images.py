"""What an OME-Zarr or OME-TIFF says of itself: pixel size, channels, and by its OME-XML how it was taken."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError, fromstring

from dandify.dandiset.facts import zarr_attributes
from dandify.dandiset.plain import MICROSCOPY
from dandify.dandiset.vocabulary import SUFFIX_OF_MODE
from dandify.errors import DandifyError
from dandify.ngff.original import original_xml
from dandify.sources.registry import by_name

_XML: Final = "OME/METADATA.ome.xml"  # where bioformats2raw keeps it, and dandify too
_XML_BYTES: Final = 64 * 2**20  # an OME-XML of more is a table of planes, of which nothing is needed here
# Micrometres of a unit, as OME-Zarr spells them, and as OME-XML does.
_MICROMETRES: Final[Mapping[str, float]] = MappingProxyType({
    "angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6,
})  # fmt: skip
_OME_UNITS: Final[Mapping[str, float]] = MappingProxyType({
    "pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6,
})  # fmt: skip
_OBJECTIVE: Final = re.compile(r"(?:^|, )(\d+(?:\.\d+)?)x(?:, NA (\d+(?:\.\d+)?))?(?:, (\w+))?$")
# No scanner of animals resolves less than this; what does is a microscope.
_MICROSCOPE_UM: Final = 20.0


@dataclass(frozen=True)
class ImageContent:
    """What an image says; what it does not say is absent.

    Attributes
    ----------
    pixel_size_um
        By axis of space: ``{"y": 0.5, "x": 0.5}``; empty if it has no unit or differs between images of one file.
    channels
        Labels, in order.
    fluorophores, modes
        Of the channels, as OME-XML has them; each once.
    magnification, numerical_aperture, immersion
        Of the objective, if there is one.
    manufacturer, model
        Of the microscope.
    acquired
        When.
    """

    pixel_size_um: Mapping[str, float]
    channels: tuple[str, ...] = ()
    fluorophores: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    magnification: float | None = None
    numerical_aperture: float | None = None
    immersion: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    acquired: datetime | None = None

    @property
    def is_microscopy(self) -> bool:
        """Whether a microscope made it: it names one, or its pixels are that small."""
        planar = [self.pixel_size_um[axis] for axis in "yx" if axis in self.pixel_size_um]
        return bool(self.modes or self.magnification) or bool(planar and min(planar) <= _MICROSCOPE_UM)

    @property
    def suffix(self) -> str | None:
        """BIDS's suffix of its kind of microscopy; None if it is not known or there are several."""
        found = {SUFFIX_OF_MODE.get(mode) for mode in self.modes}
        if len(found) == 1 and (suffix := found.pop()):
            return suffix
        return "FLUO" if not self.modes and self.fluorophores else None


def read_image(path: Path) -> ImageContent:
    """Read the metadata of an OME-Zarr, 0.4 or 0.5; no pixels."""
    ome = _ome(path)
    found: dict[str, Any] = {"pixel_size_um": {axis: size for axis, size in _zarr_pixels(ome).items() if size}}
    with suppress(KeyError, TypeError, AttributeError):
        labels = (channel.get("label") for channel in ome["omero"]["channels"])
        found["channels"] = tuple(str(label) for label in labels if label)
    return ImageContent(**found, **_how(_kept_xml(path / _XML)))


def completed(image: ImageContent, stated: Any) -> ImageContent:
    """Add what the raw file said of its microscope, by the manifest, where the image does not say it itself.

    Parameters
    ----------
    image
        What the image says.
    stated
        ``image`` of the manifest's details: facts, the objective among them as ``Plan-Apo 20x/0.8, 20x, NA 0.8, Air``.
    """
    facts = stated.get("facts") if isinstance(stated, Mapping) else None
    if not isinstance(facts, Mapping):
        return image
    found: dict[str, Any] = {"model": facts.get("device"), "acquired": _time(str(facts.get("session_start_time")))}
    if lens := _OBJECTIVE.search(str(facts.get("objective", ""))):
        found |= {
            "magnification": float(lens[1]), "numerical_aperture": _number(lens[2]), "immersion": lens[3],
        }  # fmt: skip
    return replace(image, **{key: value for key, value in found.items() if value and getattr(image, key) is None})


def read_tiff(path: Path) -> ImageContent | None:
    """Read the OME-XML of an OME-TIFF; None if it is none, or refers to another file for it."""
    text = original_xml([path])
    root = _parsed(text.encode()) if text else None
    if root is None:
        return None
    labels = tuple(c["Name"] for c in _tags(root).get("Channel", []) if c.get("Name"))
    return ImageContent(pixel_size_um=_xml_pixels(root), channels=tuple(dict.fromkeys(labels)), **_how(root))


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return the JSON beside an image that describes it, as BIDS has it; empty if there is none."""
    sidecar = path.with_name(path.name.split(".")[0] + ".json")
    with suppress(OSError, ValueError):
        found = json.loads(sidecar.read_text(encoding="utf-8-sig"))  # as Windows' editors save it
        return found if isinstance(found, dict) else {}
    return {}


def pixel_size(image: Path) -> dict[str, Any] | None:
    """Return an image's pixel size as BIDS writes it: ``{"PixelSize": [x, y, z], "PixelSizeUnits": "um"}``.

    Two numbers of an image of one plane; None where the file does not say it of every axis.

    Parameters
    ----------
    image
        A folder (OME-Zarr), or a TIFF file.
    """
    sizes = _zarr_pixels(_ome(image)) if image.is_dir() else _tiff_pixels(image)
    if not all(sizes.values()) or not {"x", "y"} <= sizes.keys():
        return None
    return {"PixelSize": [sizes[axis] for axis in "xyz" if axis in sizes], "PixelSizeUnits": "um"}


def _ome(path: Path) -> dict[str, Any]:
    """Return the metadata of an image; of a collection, as bioformats2raw writes it, or of a plate of the first."""
    ome = _document(path)
    with suppress(KeyError, IndexError, TypeError):
        well = path / ome["plate"]["wells"][0]["path"]
        return _document(well / _document(well)["well"]["images"][0]["path"])
    return ome if ome.get("multiscales") else _document(path / "0")


def _document(folder: Path) -> dict[str, Any]:
    attributes = zarr_attributes(folder)
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, dict) else {}


def _zarr_pixels(ome: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the pixel size of the largest level in µm: its scale times the one of all; None for axes without unit."""
    with suppress(KeyError, IndexError, TypeError, ValueError, AttributeError):
        multiscale = ome["multiscales"][0]
        axes = multiscale["axes"]
        scales = [_scale(multiscale["datasets"][0], len(axes)), _scale(multiscale, len(axes))]
        factors = [_MICROMETRES.get(axis.get("unit", "")) for axis in axes]
        return {
            axis["name"]: _tidy(scales[0][i] * scales[1][i] * factor) if (factor := factors[i]) else None
            for i, axis in enumerate(axes)
            if axis["name"] in ("z", "y", "x")
        }
    return {}


def _scale(holder: Mapping[str, Any], count: int) -> list[float]:
    for transformation in holder.get("coordinateTransformations") or ():
        if transformation.get("type") == "scale" and len(transformation["scale"]) == count:
            return [float(value) for value in transformation["scale"]]
    return [1.0] * count


def _tiff_pixels(image: Path) -> dict[str, float]:
    """Return what a TIFF says of its pixels, in OME-XML, in ImageJ's words or by its resolution."""
    if image.suffix.lower() not in MICROSCOPY:
        return {}
    try:
        sizes = by_name("ome_tiff").open(image).facts.get("pixel_size_um")
    except DandifyError:
        return {}  # damaged, or of another kind: the validators tell
    return {axis: _tidy(value) for axis, value in (sizes or {}).items()}


def _tidy(value: float) -> float:
    """Drop the last digits, which converting units makes."""
    return float(f"{value:.12g}")


def _kept_xml(path: Path) -> Element | None:
    try:
        return _parsed(path.read_bytes()) if path.stat().st_size <= _XML_BYTES else None
    except OSError:
        return None


def _parsed(text: bytes) -> Element | None:
    # OME-XML has no document type; one in there would only serve to blow up its entities
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return None
    with suppress(ParseError):
        return fromstring(text)
    return None


def _how(root: Element | None) -> dict[str, Any]:
    """Return how an image was taken, as far as all images of the file agree."""
    if root is None:
        return {}
    tags = _tags(root)
    dates = [e.text.strip() for e in root.iter() if _local(e) == "AcquisitionDate" and e.text]
    objective = tags.get("Objective", [{}])[0] if len(tags.get("Objective", ())) == 1 else {}
    microscope = tags.get("Microscope", [{}])[0] if len(tags.get("Microscope", ())) == 1 else {}
    channels = tags.get("Channel", [])
    found = {
        "fluorophores": tuple(dict.fromkeys(c["Fluor"] for c in channels if c.get("Fluor"))),
        "modes": tuple(dict.fromkeys(c["AcquisitionMode"] for c in channels if c.get("AcquisitionMode"))),
        "magnification": _number(objective.get("NominalMagnification")),
        "numerical_aperture": _number(objective.get("LensNA")),
        "immersion": objective.get("Immersion"),
        "manufacturer": microscope.get("Manufacturer"),
        "model": microscope.get("Model"),
        "acquired": _time(min(dates)) if dates else None,
    }
    return {key: value for key, value in found.items() if value}


def _xml_pixels(root: Element) -> dict[str, float]:
    """Return the pixel size of the images that an OME-XML describes; nothing if they differ."""
    stated = set()
    for pixels in _tags(root).get("Pixels", []):
        size = []
        for axis in "zyx":
            factor = _OME_UNITS.get(pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm"))
            value = _number(pixels.get(f"PhysicalSize{axis.upper()}"))
            if factor and value and (axis != "z" or pixels.get("SizeZ", "1") != "1"):
                size.append((axis, _tidy(value * factor)))
        stated.add(tuple(size))
    return dict(stated.pop()) if len(stated) == 1 else {}


def _tags(root: Element) -> dict[str, list[Mapping[str, str]]]:
    tags: dict[str, list[Mapping[str, str]]] = {}
    for element in root.iter():
        tags.setdefault(_local(element), []).append(element.attrib)
    return tags


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _number(text: str | None) -> float | None:
    with suppress(TypeError, ValueError):
        return float(text or "")
    return None


def _time(text: str) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    return None
