"""The XML file that Bruker's PrairieView writes beside its TIFFs: sequences, frames, files, times and settings.

There is no specification; elements and keys are those of files of versions 5.2 to 5.8, read beside roiextractors
(BrukerTiffImagingExtractor) and Bio-Formats (PrairieReader). Settings hold for a frame if it has them, else for its
sequence, else for the scan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dandify.errors import BadSource

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

State = Mapping[str, Any]
"""Settings by key: a text, texts by index, or by index and subindex: ``positionCurrent`` {"ZAxis": {"0": "31.4"}}."""

_DATES: Final = ("%m/%d/%Y %I:%M:%S %p",)  # others depend on the computer's language, and day and month are not told
_AGAIN: Final = "copy the whole folder again from the microscope's computer"


@dataclass(frozen=True)
class Plane:
    """Where the pixels of one channel of a frame lie."""

    channel: int
    name: str
    file: str
    page: int


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes
    ----------
    index
        As stated, 1 the first of its sequence.
    time_s
        Seconds after the start of the scan.
    planes
        One for each channel.
    depth
        Positions of all devices that move along z, in micrometres.
    stage
        Position of the stage along its own x and y, in micrometres; None where it is not stated.
    """

    index: int
    time_s: float
    planes: tuple[Plane, ...]
    depth: tuple[float, ...]
    stage: tuple[float, float] | None


@dataclass(frozen=True)
class Sequence:
    """Frames of one cycle.

    Attributes
    ----------
    kind
        ``TSeries Timed Element``, ``TSeries ZSeries Element``, ``ZSeries``, ``Single``, ``Linescan`` ...
    cycle
        Its number.
    frames
        In the order in which they were taken.
    """

    kind: str
    cycle: int
    frames: tuple[Frame, ...]

    @property
    def in_depth(self) -> bool:
        """The frames are planes of one volume."""
        return "ZSeries" in self.kind

    @property
    def of_lines(self) -> bool:
        """The frames are not images in y and x."""
        return any(word in self.kind.lower() for word in ("linescan", "line scan", "point"))


@dataclass(frozen=True)
class Scan:
    """All of a file.

    Attributes
    ----------
    version, notes, system
        As stated; empty where not.
    start
        Local time; None where it cannot be told.
    state
        Settings of the scan.
    sequences
        Those that have frames.
    """

    version: str
    notes: str
    system: str
    start: datetime | None
    state: State
    sequences: tuple[Sequence, ...]

    def value(self, key: str, index: str | None = None) -> str:
        """Text of a setting, empty if it is not there."""
        found = self.state.get(key, "")
        if index is not None and isinstance(found, dict):
            found = found.get(index, "")
        return found if isinstance(found, str) else ""

    def number(self, key: str, index: str | None = None) -> float | None:
        """Return a setting that is a positive number; None if it is not there."""
        try:
            value = float(self.value(key, index))
        except ValueError:
            return None
        return value if value > 0 else None

    @property
    def excitation_nm(self) -> float | None:
        """Wavelength of the only laser that has power; None if there are several, or it is not stated."""
        powers, waves = self.state.get("laserPower", {}), self.state.get("laserWavelength", {})
        if not isinstance(powers, dict) or not isinstance(waves, dict):
            return None
        lit = [index for index, power in powers.items() if isinstance(power, str) and _number(power) > 0]
        found = _number(str(waves.get(lit[0], ""))) if len(lit) == 1 else 0.0
        return found if found > 200 else None


def is_prairieview(head: bytes) -> bool:
    """Whether a file that begins with these bytes is the XML of a scan."""
    return b"<PVScan" in head[:512] and b"<!DOCTYPE" not in head


def read_scan(path: Path) -> Scan:
    """Read the XML file.

    Raises
    ------
    dandify.errors.BadSource
        If it is damaged, cut off, or none of PrairieView.
    """
    from xml.etree.ElementTree import ParseError

    try:
        with path.open("rb") as file:
            if not is_prairieview(file.read(512)):
                raise BadSource("is not the XML file of a PrairieView scan", file=path)
        return _scan(path)
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
    except ParseError as error:
        raise BadSource(f"is damaged or cut off: {error}", file=path, remedy=_AGAIN) from None
    except (ValueError, KeyError) as error:
        what = f"attribute {error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadSource(f"is damaged: {what}", file=path, remedy=_AGAIN) from None


def _scan(path: Path) -> Scan:
    """Go through the file element by element, and forget each frame: there may be a hundred thousand."""
    from xml.etree.ElementTree import iterparse

    root: Element | None = None
    state: State = {}
    own: State = {}
    system, frames, sequences = "", list[Frame](), list[Sequence]()
    depth = 0
    for event, element in iterparse(path, ("start", "end")):
        if event == "start":
            root = element if root is None else root
            depth += 1
            if depth == 2 and element.tag == "Sequence":
                frames, own = [], state
            continue
        depth -= 1
        if depth == 2 and element.tag == "PVStateShard":
            own = {**state, **_state(element)}
        elif depth == 2 and element.tag == "Frame":
            if element.find("File") is not None:
                frames.append(_frame(element, own))
            element.clear()
        elif depth == 1 and element.tag == "PVStateShard":
            state = _state(element)
        elif depth == 1 and element.tag == "SystemIDs":
            system = next((s.get("Description", "") for s in element), "")
        elif depth == 1 and element.tag == "Sequence":
            if frames:
                cycle = int(element.get("cycle", "1"))
                sequences.append(Sequence(element.get("type", ""), cycle, tuple(frames)))
            element.clear()
    assert root is not None
    return Scan(
        version=root.get("version", ""), notes=root.get("notes", "").strip(), system=system,
        start=_date(root.get("date", "")), state=state, sequences=tuple(sequences),
    )  # fmt: skip


def _frame(element: Element, state: State) -> Frame:
    shard = element.find("PVStateShard")
    own = _state(shard) if shard is not None else {}
    found = own.get("positionCurrent") or state.get("positionCurrent")
    position = found if isinstance(found, dict) else {}
    planes = tuple(
        Plane(int(f.attrib["channel"]), f.get("channelName", ""), f.attrib["filename"], int(f.get("page", "1")) - 1)
        for f in element.iter("File")
    )
    when = element.get("absoluteTime") or element.attrib["relativeTime"]
    across, along = (_devices(position[a]) if a in position else () for a in ("XAxis", "YAxis"))
    return Frame(
        int(element.get("index", "1")), float(when), planes, _devices(position.get("ZAxis", {})),
        (sum(across), sum(along)) if across and along else None,
    )  # fmt: skip


def _devices(positions: Any) -> tuple[float, ...]:
    """Positions of the devices that move along an axis; older versions state one."""
    if isinstance(positions, dict):
        return tuple(_number(str(v)) for _, v in sorted(positions.items()))
    return (_number(str(positions)),)


def _state(shard: Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for value in shard.iter("PVStateValue"):
        if "value" in value.attrib:
            found[value.attrib["key"]] = value.attrib["value"]
            continue
        entry: dict[str, Any] = {}
        for item in value:
            if item.tag == "IndexedValue":
                entry[item.attrib["index"]] = item.get("value", "")
            elif item.tag == "SubindexedValues":
                entry[item.attrib["index"]] = dict(_subindexed(item))
        found[value.attrib["key"]] = entry
    return found


def _subindexed(element: Element) -> Iterator[tuple[str, str]]:
    for item in element.iter("SubindexedValue"):
        yield item.attrib["subindex"], item.get("value", "")


def _date(text: str) -> datetime | None:
    for form in _DATES:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
