"""What MetaMorph and MetaXpress (Molecular Devices) state of each plane: MetaSeries XML, or tags of older versions.

``<MetaData>`` holds ``<prop id= type= value=>``, and more of them, and ``<custom-prop>``, in ``<PlaneInfo>``. How
values are understood:

- ``spatial-calibration-x`` and ``-y`` are pixel sizes where ``spatial-calibration-state`` is not ``off``.
- ``stage-position-x`` and ``-y`` are the middle of the field. Of MetaXpress they are micrometres on the plate, x along
  its columns and y down its rows, as the axes of the image go: the two fields of a well in faim-ipa's test plate lie
  one field's length apart, ``OffsetFromWellCenterUmY`` of the first is half of that below 0, and it shows the upper rim
  of the well. faim-ipa places them so, too. MetaMorph takes them from any stage, in its units and direction;
  Bio-Formats has them without a unit, and they are left out here.
- ``z-position`` is in micrometres: Bio-Formats (MetamorphTiffReader) makes the distance of planes of it.
- ``wavelength`` of MetaXpress is that of the emission filter (FITC 536, Cy3 593, Texas Red 624). In MetaMorph somebody
  types it, for excitation as well as emission; it is left out.
- ``acquisition-time-local`` is the clock of the computer, without a zone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dandify.errors import BadSource
from dandify.sources.contract import Channel
from dandify.sources.microscopy import micrometres, seconds
from dandify.sources.stated import nanometres, objective_in_words, parse_xml, regular_step
from dandify.sources.tiff import runs
from dandify.sources.tiff_header import DESCRIPTION, SOFTWARE, Header, Page
from dandify.sources.vendors.metamorph_stk import Stk, even_step

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LARGEST: Final = 4 * 2**20  # characters; those of real planes have some six thousand
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # no XML has them, descriptions that were typed do
_SITE: Final = re.compile(r"[A-Z]{1,2}\d{1,2} : Site \d+")  # stage-label of MetaXpress: a well, and a place in it
_EVEN: Final = 0.05  # of a step: what a focus drive's reading may be off its place in an even row


@dataclass(frozen=True)
class MetaMorphPlane:
    """What is stated about a plane; None or empty where nothing is.

    Attributes
    ----------
    scale
        Micrometres for y and x.
    stage
        Middle of the field, micrometres for x y z; only of MetaXpress.
    focus
        Positions of the focus in micrometres: that of the plane, and that of the instrument's drive.
    channel
        Named by the illumination setting; with the emission's wavelength if of MetaXpress.
    image
        Name of the image.
    acquired
        Local time, without a zone.
    exposure_s
        Seconds.
    objective, software
        In words.
    """

    scale: Mapping[str, float]
    stage: Mapping[str, float]
    focus: tuple[float | None, float | None]
    channel: Channel
    image: str
    acquired: datetime | None
    exposure_s: float | None
    objective: str | None
    software: str | None


@dataclass(frozen=True)
class MetaMorphImage:
    """What the planes of an image state together.

    Attributes
    ----------
    scale
        Micrometres for z y x, seconds for t.
    origin
        Place of the first pixel's centre, micrometres for y x.
    channels
        In order; their names are empty where none is stated.
    facts
        Keys out of `dandify.sources.FACTS`.
    stage
        That of the first plane.
    problems
        In which the planes contradict each other.
    """

    scale: Mapping[str, float]
    origin: Mapping[str, float]
    channels: tuple[Channel, ...]
    facts: Mapping[str, Any]
    stage: Mapping[str, float]
    problems: tuple[str, ...] = ()


def metamorph(page: Page) -> MetaMorphPlane | None:
    """Return what MetaMorph or MetaXpress wrote into a page; None if it is not of them, or cannot be read."""
    text = page.text(DESCRIPTION).strip()
    if not text.startswith("<MetaData>") or len(text) > _LARGEST:
        return None
    try:
        said = _properties(parse_xml(_CONTROLS.sub("", text), "MetaSeries XML"))
    except ValueError:
        return None
    described = said.get("Description", "")
    plate = (
        "MetaXpress" in described or _SITE.fullmatch(said.get("stage-label", "")) is not None
        or any("ImageXpress" in name for name in said)
    )  # fmt: skip
    unit = said.get("spatial-calibration-units", "")
    sizes = {a: micrometres(said.get(f"spatial-calibration-{a}"), unit) for a in "yx"}
    stage = {"x": "stage-position-x", "y": "stage-position-y", "z": "z-position"}
    places = {a: _number(said.get(key)) for a, key in stage.items()}
    return MetaMorphPlane(
        scale={a: v for a, v in sizes.items() if v is not None and said.get("spatial-calibration-state") != "off"},
        stage={a: v for a, v in places.items() if v is not None and plate},
        focus=(places["z"], _number(said.get("ImageXpress Micro Z"))),
        channel=Channel(
            said.get("_IllumSetting_", ""), wavelength_nm=nanometres(said.get("wavelength")) if plate else None
        ),
        image=said.get("image-name", ""),
        acquired=moment(said.get("acquisition-time-local", "")),
        exposure_s=_exposure(said.get("Exposure Time", ""), described),
        objective=objective_in_words(said.get("_MagSetting_"), aperture=said.get("_MagNA_")),
        software=" ".join(filter(None, (said.get("ApplicationName"), said.get("ApplicationVersion")))) or None,
    )


def stated_by(header: Header, stk: Stk | None) -> MetaMorphPlane | None:
    """Return what MetaMorph or MetaXpress state of the first plane of a file, in XML or in tags of older versions."""
    if (found := metamorph(header.first)) is not None or stk is None:
        return found
    return MetaMorphPlane(
        scale=stk.scale, stage={}, focus=(stk.depths[0] if stk.depths else None, None), channel=Channel(""), image="",
        acquired=stk.acquired[0] if stk.acquired else None, exposure_s=_exposure("", stk.text), objective=None,
        software=header.first.text(SOFTWARE).strip() or None,
    )  # fmt: skip


def planes_in(header: Header, stk: Stk | None) -> tuple[Page, ...]:
    """Return the planes of a file of MetaMorph: its pages, or those of a stack, which has one directory for all.

    Raises
    ------
    dandify.errors.BadSource
        If the stack is cut off, or compressed.
    """
    count = stk.planes if stk else 1
    if count == 1 or len(header.pages) > 1:
        return header.pages
    if header.first.data < 0:
        raise BadSource(
            f"holds {count} planes behind one directory, compressed or in strips that do not follow each other",
            file=header.path, place="page 1", remedy="save it again in MetaMorph, uncompressed",
        )  # fmt: skip
    return tuple(runs(header, count))


def metamorph_image(
    planes: Mapping[int, tuple[Path, MetaMorphPlane]], axes: str, lengths: Sequence[int], size: tuple[int, int]
) -> MetaMorphImage:
    """Put together what the planes of an image state.

    Parameters
    ----------
    planes
        File, and what it states, by the number of the plane; the first among them. Others may be missing.
    axes, lengths
        Axes of the planes, out of t c z, and their lengths; planes are numbered in C order of them.
    size
        Height and width in pixels.
    """
    first = planes[0][1]
    counts = dict(zip(axes, lengths, strict=True))
    lines = {a: line(axes, lengths, a) for a in "tcz"}
    colours = [planes[i][1] if i in planes else None for i in lines["c"]]
    scale, problems = _sizes(planes)
    origin = {
        a: float(f"{first.stage[a] - (n - 1) / 2 * scale[a]:.12g}")
        for a, n in zip("yx", size, strict=True) if a in scale and a in first.stage
    }  # fmt: skip
    times = [planes[i][1].acquired if i in planes else None for i in lines["t"]]
    known = [t for t in times if t is not None]
    if len(known) == len(times) and (step := regular_step([(t - known[0]).total_seconds() for t in known])):
        scale["t"] = step
    if counts.get("z", 1) > 1 and (depth := _depth(planes, lines["c"], lines["z"])):
        scale["z"] = depth
    exposures = tuple(p.exposure_s for p in colours if p and p.exposure_s)
    facts = {
        "session_start_time": min((p.acquired for _, p in planes.values() if p.acquired), default=None),
        "objective": _only({p.objective for _, p in planes.values()}),
        "software": _only({p.software for _, p in planes.values()}),
        "exposure_time_s": exposures if len(exposures) == len(colours) else None,
    }
    return MetaMorphImage(
        scale, origin, _channels(colours), {k: v for k, v in facts.items() if v is not None}, first.stage, problems
    )


def line(axes: str, lengths: Sequence[int], axis: str) -> range:
    """Numbers of the planes that differ from the first one along one axis only, the first among them."""
    if axis not in axes:
        return range(1)
    at = axes.index(axis)
    stride = math.prod(lengths[at + 1 :])
    return range(0, stride * lengths[at], stride)


def _properties(root: Element) -> dict[str, str]:
    """Values by their ids; custom properties, which anybody may name, do not take the place of MetaMorph's own."""
    said: dict[str, str] = {}
    for kind in ("prop", "custom-prop"):
        for element in root.iter(kind):
            if (value := (element.get("value") or "").strip()) and (name := (element.get("id") or "").strip()):
                said.setdefault(name, value)
    return said


def _sizes(planes: Mapping[int, tuple[Path, MetaMorphPlane]]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Pixel sizes on which all planes agree, and which they do not agree on."""
    scale: dict[str, float] = {}
    problems = []
    for axis in "yx":
        found: dict[float, Path] = {}
        for path, plane in planes.values():
            if axis in plane.scale:
                found.setdefault(plane.scale[axis], path)
        if len(found) == 1:
            scale[axis] = next(iter(found))
        elif found:
            told = ", ".join(f"{size:g} in {path.name}" for size, path in list(found.items())[:2])
            problems.append(f"Files of one image state different pixel sizes along {axis} ({told} um); none is taken.")
    return scale, tuple(problems)


def _depth(planes: Mapping[int, tuple[Path, MetaMorphPlane]], colours: range, depths: range) -> float | None:
    """Distance of the planes of all channels, by the first reading that has one."""
    for reading in (0, 1):
        steps = []
        for colour in colours:
            places = [planes[colour + z][1].focus[reading] if colour + z in planes else None for z in depths]
            known = [p for p in places if p is not None]
            steps.append(even_step(known) if len(known) == len(places) else None)
        even = [s for s in steps if s is not None]
        if len(even) == len(steps) and max(even) - min(even) <= _EVEN * max(even):
            return even[0]
    return None


def _channels(colours: Sequence[MetaMorphPlane | None]) -> tuple[Channel, ...]:
    """Channels by their illumination, or by the names of the images where one illumination is that of several."""
    channels = [p.channel if p else Channel("") for p in colours]
    images = [p.image if p else "" for p in colours]
    if len({c.name for c in channels}) < len(channels) == len(set(images)) or not any(c.name for c in channels):
        channels = [replace(c, name=name) for c, name in zip(channels, images, strict=True)]
    if len({c.name for c in channels}) < len(channels):
        channels = [replace(c, name="") for c in channels]
    return tuple(channels)


def _only(values: set[str | None]) -> str | None:
    return values.pop() if len(values) == 1 else None


def _exposure(text: str, described: str) -> float | None:
    """Seconds, of ``80 ms`` or of a description with a line ``Exposure: 80 ms``."""
    found = re.fullmatch(r"([\d.]+)\s*(\w+)", text) or re.search(
        r"(?:^|[\n\r;])\s*Exposure:\s*([\d.]+)[ \t]*(\w+)", described
    )
    return seconds(found[1], found[2]) if found else None


def moment(text: str) -> datetime | None:
    """Time of ``20240422 09:57:43.859``.

    Zeros at the end are written, those before are not by older versions: ``53.50`` is 50 ms, as Bio-Formats has it.
    """
    found = re.fullmatch(r"(\d{8}) (\d{1,2}:\d{2}:\d{2})(?:\.(\d{1,3}))?", text)
    if not found:
        return None
    try:
        found_at = datetime.strptime(f"{found[1]} {found[2]}", "%Y%m%d %H:%M:%S")
    except ValueError:
        return None
    return found_at.replace(microsecond=int(found[3] or 0) * 1000) if found_at.year > 1970 else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
