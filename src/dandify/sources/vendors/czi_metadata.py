"""What the XML of a CZI states: pixel sizes, channels, scenes, objective, date.

Its lengths under ``Scaling`` are metres, positions of the stage micrometres, wavelengths nanometres, times seconds,
exposures nanoseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dandify.sources.contract import Channel
from dandify.sources.microscopy import micrometres, seconds
from dandify.sources.stated import date_of, nanometres, objective_in_words, parse_xml, rgb_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


@dataclass(frozen=True)
class CziMetadata:
    """What is stated.

    Attributes
    ----------
    scale
        Micrometres for z y x, seconds for t.
    channels
        By number, as far as anything is stated about them.
    exposures_s
        Of channels, by number, where stated.
    scenes
        Names by number.
    stages
        Place of the stage at the middle of a scene, by its number: x y z in micrometres.
    facts
        In the contract's vocabulary.
    """

    scale: Mapping[str, float] = field(default_factory=dict)
    channels: Mapping[int, Channel] = field(default_factory=dict)
    exposures_s: Mapping[int, float] = field(default_factory=dict)
    scenes: Mapping[int, str] = field(default_factory=dict)
    stages: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def with_increment(self, seconds: float | None) -> CziMetadata:
        """Return it with the distance of the time points, if there is one."""
        if seconds is None:
            return self
        facts = {**self.facts, "time_increment_s": seconds}
        return replace(self, scale={**self.scale, "t": seconds}, facts=facts)


def parse_metadata(xml: bytes | None) -> CziMetadata:
    """Read the XML of a file.

    Raises
    ------
    ValueError
        If it is no XML.
    """
    if not xml or not xml.strip(b"\0 \r\n"):
        return CziMetadata()
    root = parse_xml(xml.rstrip(b"\0"), "XML")
    image = root.find("Metadata/Information/Image")
    scale = _scale(root)
    stages, names = {}, {}
    for number, scene in enumerate(root.iterfind("Metadata/Information/Image/Dimensions/S/Scenes/Scene")):
        index = int(scene.get("Index", number)) if scene.get("Index", "0").isdigit() else number
        names[index] = (scene.get("Name") or "").strip()
        if place := _place_of(scene):
            stages[index] = place
    increment = None if image is None else image.findtext("Dimensions/T/Positions/Interval/Increment")
    if (found := seconds(increment, "s")) is not None:
        scale["t"] = found
    return CziMetadata(scale, _channels(root), _exposures(root), names, stages, _facts(root, scale))


def stage_of(xml: bytes) -> dict[str, float]:
    """Where the stage was when a subblock was taken, by its own XML: x y z in micrometres, as far as stated."""
    try:
        tags = parse_xml(xml.strip(b"\0 \r\n"), "XML").find("Tags")
    except ValueError:
        return {}
    if tags is None:
        return {}
    stated = {"x": tags.findtext("StageXPosition"), "y": tags.findtext("StageYPosition")}
    place = {a: v for a, text in stated.items() if (v := _number(text)) is not None}
    focus = _number(tags.findtext("FocusPosition"))
    return {**place, "z": focus} if place and focus is not None else place


def _scale(root: Element) -> dict[str, float]:
    found = {}
    for distance in root.iterfind("Metadata/Scaling/Items/Distance"):
        size = micrometres(distance.findtext("Value"), "m")
        axis = (distance.get("Id") or "").lower()
        if axis in ("x", "y", "z") and size is not None:
            found[axis] = size
    return found


def _channels(root: Element) -> dict[int, Channel]:
    shown = {e.get("Id"): e for e in root.iterfind("Metadata/DisplaySetting/Channels/Channel")}
    found = {}
    for number, channel in enumerate(root.iterfind("Metadata/Information/Image/Dimensions/Channels/Channel")):
        display = shown.get(channel.get("Id"))
        names = (_text(channel, "Name"), _text(display, "Name"), _text(channel, "Fluor"))
        described = Channel(
            name=next((t for t in names if t), ""),
            color=rgb_of(_text(channel, "Color")) or rgb_of(_text(display, "Color")),
            wavelength_nm=nanometres(channel.findtext("EmissionWavelength")),
            excitation_nm=nanometres(channel.findtext("ExcitationWavelength")),
        )
        if described != Channel(""):
            found[number] = described
    return found


def _exposures(root: Element) -> dict[int, float]:
    channels = root.iterfind("Metadata/Information/Image/Dimensions/Channels/Channel")
    stated = {number: seconds(channel.findtext("ExposureTime"), "ns") for number, channel in enumerate(channels)}
    return {number: value for number, value in stated.items() if value is not None}


def _facts(root: Element, scale: Mapping[str, float]) -> dict[str, Any]:
    information = root.find("Metadata/Information")
    if information is None:
        return {}
    microscope, document = information.find("Instrument/Microscopes/Microscope"), information.find("Document")
    program = information.find("Application")
    facts = {
        "session_start_time": date_of(information.findtext("Image/AcquisitionDateAndTime")),
        "objective": _objective(information),
        "device": _text(microscope, "Name") or _text(microscope, "System"),
        "experimenter": _text(information.find("User"), "DisplayName") or _text(document, "UserName"),
        "description": _text(document, "Description"),
        "software": " ".join(t for t in (_text(program, "Name"), _text(program, "Version")) if t),
        "time_increment_s": scale.get("t"),
    }
    return {k: v for k, v in facts.items() if v}


def _objective(information: Element) -> str | None:
    reference = information.find("Image/ObjectiveSettings/ObjectiveRef")
    wanted = None if reference is None else reference.get("Id")
    for objective in information.iterfind("Instrument/Objectives/Objective"):
        if wanted and objective.get("Id") == wanted:
            return objective_in_words(
                _text(objective, "Name") or objective.findtext("Manufacturer/Model"),
                objective.findtext("NominalMagnification"), objective.findtext("LensNA"),
                objective.findtext("Immersion"),
            )  # fmt: skip
    return None


def _place_of(scene: Element) -> dict[str, float]:
    positions = scene.findall("Positions/Position")
    if len(positions) == 1:  # several are tiles, which say so themselves
        found = {a: _number(positions[0].get(a.upper())) for a in "xyz"}
        return {a: v for a, v in found.items() if v is not None}
    middle = [_number(t) for t in (scene.findtext("CenterPosition") or "").split(",")]
    if len(middle) != 2:
        return {}
    return {a: v for a, v in zip("xy", middle, strict=True) if v is not None}


def _text(element: Element | None, name: str) -> str:
    """Return an attribute or the text of a child."""
    if element is None:
        return ""
    return (element.get(name) or element.findtext(name) or "").strip()


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
