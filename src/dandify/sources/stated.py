"""What the programs of microscopes state in words and XML: numbers, dates, wavelengths, colours, objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from dandify.sources.contract import Channel
from dandify.sources.microscopy import micrometres

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_COLOURS: Final = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"), ("alpha", None))


def parse_xml(content: bytes | str, what: str) -> Element:
    """Read an XML of a microscope's program; the names of its elements are left without namespaces.

    Raises
    ------
    ValueError
        If it is no XML, or has a document type, which could name any file or grow without end.
    """
    from xml.etree import ElementTree

    data = content.encode() if isinstance(content, str) else content
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError(f"{what} with a document type; that is not allowed in it")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise ValueError(f"its {what} cannot be read: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def positive(value: Any) -> float | None:
    """Return a number above 0; None if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def regular_step(times: Sequence[float]) -> float | None:
    """Distance of times that are as good as regular; None if one differs from the mean by more than a hundredth."""
    steps = [later - earlier for earlier, later in pairwise(times)]
    mean = positive(sum(steps) / len(steps)) if steps else None
    if mean is None or any(not abs(step - mean) <= mean / 100 for step in steps):
        return None
    return float(f"{mean:.6g}")


def times_of(times: Sequence[float]) -> dict[str, tuple[float, ...]]:
    """Give the fact of when time points were taken, counted from the first; none of one, or of times that go back."""
    found = tuple(float(f"{t - times[0]:.9g}") for t in times)
    forward = all(math.isfinite(b) and b > a for a, b in pairwise(found))
    return {"time_points_s": found} if len(found) > 1 and forward else {}


def nanometres(value: Any, unit: str = "nm") -> float | None:
    """Wavelength in nanometres; None if it is no positive length."""
    length = micrometres(value, unit)
    return None if length is None else float(f"{length * 1000:.12g}")


def rgb_of(text: str | None) -> str | None:
    """Colour as six hex digits, of ``#RRGGBB`` or ``#AARRGGBB``; None if it is none."""
    digits = (text or "").strip().lstrip("#")
    if len(digits) not in (6, 8) or not set(digits) <= set("0123456789abcdefABCDEF"):
        return None
    return digits[-6:].upper()


def date_of(text: str | None) -> datetime | None:
    """Date and time in ISO 8601; None if there is none, or that of a clock that was never set."""
    try:
        found = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return found if found.year > 1970 else None  # Bio-Formats and unset clocks begin there


def objective_in_words(
    model: str | None, magnification: Any = None, aperture: Any = None, immersion: str | None = None
) -> str | None:
    """Objective as one text, of what is stated: ``Plan-Apochromat 20x/0.8, 20x, NA 0.8, Air``."""
    power, na = positive(magnification), positive(aperture)
    parts = [
        (model or "").strip(),
        "" if power is None else f"{power:g}x",
        "" if na is None else f"NA {na:g}",
        "" if (immersion or "").strip() in ("Other", "Unknown", "Undefined") else (immersion or "").strip(),
    ]
    return ", ".join(p for p in parts if p) or None


def colours_of_pixels(samples: int, channels: Sequence[Channel] = ()) -> tuple[Channel, ...]:
    """Channels of pixels that hold red, green and blue (and opacity), of one image channel or of several."""
    if len(channels) < 2:
        return tuple(Channel(name, color=color) for name, color in _COLOURS[:samples])
    return tuple(
        Channel(f"{channel.name or number} {name}", color=color)
        for number, channel in enumerate(channels) for name, color in _COLOURS[:samples]
    )  # fmt: skip
