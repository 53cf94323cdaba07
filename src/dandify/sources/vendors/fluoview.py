"""What Olympus FluoView writes: settings files, and the names of its planes.

There is no specification; the keys are those of files of an FV1000, read beside oiffile and Bio-Formats
(FV1000Reader), which take the same ones for the size of pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dandify.sources.contract import Channel
from dandify.sources.microscopy import micrometres, seconds

Settings = Mapping[str, Mapping[str, str]]

_SECTION: Final = re.compile(r"\[(.+)\]")
_PLANE: Final = re.compile(r"s_((?:[A-Z]\d+)+)\.tif", re.IGNORECASE)  # s-R_... are reference images
_LETTER: Final = re.compile(r"([A-Z])(\d+)")
_COLOUR_TABLE: Final = "[ColorLUTData]\r\n"


@dataclass(frozen=True)
class Frames:
    """How the planes of an image are arranged.

    Attributes
    ----------
    lengths
        Of t c z.
    width, height
        Pixels.
    other
        Axes beside these that have more than one step, by their names.
    plane_axes
        Letters of a plane's axes, X and Y but for line scans and sections.
    """

    lengths: Mapping[str, int]
    width: int
    height: int
    other: tuple[str, ...]
    plane_axes: str


def parse_settings(data: bytes) -> dict[str, dict[str, str]]:
    """Read a settings file (.oif, .pty, OibInfo.txt), UTF-16 with its mark or UTF-8.

    Raises
    ------
    ValueError
        If it is none.
    """
    if data[:2] == b"\xff\xfe":
        text = data[2:].split(_COLOUR_TABLE.encode("utf-16-le"), 1)[0].decode("utf-16-le", "replace")
    elif data[:1] == b"[":
        text = data.split(_COLOUR_TABLE.encode(), 1)[0].decode("utf-8", "replace")
    else:
        raise ValueError("no settings of FluoView")
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()
        if match := _SECTION.fullmatch(line):
            section = found.setdefault(match[1], {})
        elif "=" in line and not line.startswith(";"):
            key, _, value = line.partition("=")
            section[key.strip()] = value.strip().strip("\"'")
    if not found:
        raise ValueError("no settings of FluoView")
    return found


def plane_of(name: str) -> dict[str, int] | None:
    """Where a plane's file belongs, by its name: ``s_C001Z002.tif`` is {C: 0, Z: 1}; None for other files."""
    match = _PLANE.fullmatch(name)
    if match is None:
        return None
    return {letter.upper(): int(number) - 1 for letter, number in _LETTER.findall(match[1].upper())}


def frames_of(settings: Settings) -> Frames:
    """Return the axes of the image.

    Raises
    ------
    ValueError
        If they are not stated.
    """
    order = settings.get("Axis Parameter Common", {}).get("AxisOrder", "").upper()
    axes = {a.get("AxisCode", "").upper(): a for _, a in sorted(_axes(settings).items())}
    if len(order) < 2 or any(letter not in axes for letter in order):
        raise ValueError(f"the order of its axes is {order!r}, and it describes {''.join(axes)!r}")
    counts = {letter: max(1, _whole(axes[letter].get("MaxSize", ""))) for letter in order}
    return Frames(
        lengths={a: counts.get(a.upper(), 1) for a in "tcz"},
        width=counts[order[0]],
        height=counts[order[1]],
        other=tuple(axes[a].get("AxisName", a) for a in order[2:] if a not in "TCZ" and counts[a] > 1),
        plane_axes=order[:2],
    )


def scale_of(settings: Settings) -> dict[str, float]:
    """Return the distance of pixels and planes in micrometres and of time points in seconds, as far as stated."""
    picture = settings.get("Reference Image Parameter", {})
    axes = {a.get("AxisCode", "").upper(): a for a in _axes(settings).values()}
    depth, time = axes.get("Z", {}), axes.get("T", {})
    steps = _whole(time.get("MaxSize", "")) - 1
    found = {
        "x": micrometres(picture.get("WidthConvertValue"), picture.get("WidthUnit", "")),
        "y": micrometres(picture.get("HeightConvertValue"), picture.get("HeightUnit", "")),
        "z": micrometres(depth.get("Interval", "").lstrip("-"), depth.get("UnitName", "")),
        # The planes' own times: Interval is the pause that was asked for, 0 in a free run.
        "t": seconds(_span(time) / steps, time.get("UnitName", "")) if steps > 0 else None,
    }
    return {a: v for a, v in found.items() if v is not None}


def channels_of(settings: Settings, count: int, colors: Mapping[int, str]) -> tuple[Channel, ...]:
    """Return the channels by the names that FluoView gives them; none if they are not all described.

    Parameters
    ----------
    settings
        Of the image.
    count
        Their number.
    colors
        Hex digits of the brightest entry of each one's lookup table, by index.
    """
    out = []
    for i in range(count):
        own = settings.get(f"Channel {i + 1} Parameters")
        if own is None or not own.get("CH Name"):
            return ()
        dye = own.get("DyeName", "")
        name = own["CH Name"] + (f" {dye}" if dye not in ("", "None") else "")
        emission, excitation = (_whole(own.get(f"{kind}Wavelength", "")) for kind in ("Emission", "Excitation"))
        out.append(Channel(
            name, color=colors.get(i), wavelength_nm=float(emission) if emission > 0 else None,
            excitation_nm=float(excitation) if excitation > 0 else None,
        ))  # fmt: skip
    return tuple(out)


def facts_of(settings: Settings, plane: Settings) -> dict[str, object]:
    """Return what the main file and the settings of a plane state about the session."""
    common, info = settings.get("Acquisition Parameters Common", {}), settings.get("File Info", {})
    version = settings.get("Version Info", {})
    lens = plane.get("Acquisition Parameters Common", {})
    found: dict[str, object] = {
        "session_start_time": _date(common),
        "device": common.get("Acquisition Device"),
        "software": " ".join(filter(None, (version.get("SystemName"), version.get("SystemVersion")))),
        "description": info.get("UserComment", "").strip(),
        "experimenter": info.get("UserName"),
        "objective": " ".join(lens.get("ObjectiveLens Name", "").split()),
    }
    return {key: value for key, value in found.items() if value}


def brightest(table: bytes) -> str | None:
    """Return the colour of a lookup table by its last entry, four bytes blue green red 0; None if it is black."""
    if len(table) < 4:
        return None
    blue, green, red = table[-4], table[-3], table[-2]
    return f"{red:02X}{green:02X}{blue:02X}" if max(red, green, blue) else None


def _axes(settings: Settings) -> dict[str, Mapping[str, str]]:
    return {k: v for k, v in settings.items() if re.fullmatch(r"Axis \d+ Parameters Common", k)}


def _date(common: Mapping[str, str]) -> datetime | None:
    try:  # FluoView spells it like this
        moment = datetime.strptime(common.get("ImageCaputreDate", ""), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    return moment.replace(microsecond=1000 * min(999, _whole(common.get("ImageCaputreDate+MilliSec", ""))))


def _span(axis: Mapping[str, str]) -> float:
    try:
        return abs(float(axis["EndPosition"]) - float(axis["StartPosition"]))
    except (KeyError, ValueError):
        return 0.0


def _whole(text: str) -> int:
    try:
        return max(0, int(float(text)))
    except (ValueError, OverflowError):
        return 0
