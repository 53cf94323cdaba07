"""Bruker PrairieView: an XML file and a TIFF for each frame and channel, or TIFFs of many pages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dandify.errors import BadSource
from dandify.sources import Channel, Converter, Source, Stream, Verdict
from dandify.sources.microscopy import ImageSource, common_sizes, needs_of
from dandify.sources.tiff_series import pages_of
from dandify.sources.two_photon import Optics, TwoPhotonSource, as_image, require_options, series_name, timing
from dandify.sources.vendors.prairieview import Frame, Scan, is_prairieview, read_scan
from dandify.sources.vendors.prairieview import Sequence as Cycle

_PLANE = re.compile(r"(?P<scan>.+)_cycle\d+_(\w+_)?ch\d+_\d+(\.ome)?\.tiff?", re.IGNORECASE)
_REFERENCE = re.compile(r"(?P<scan>.+-\d+)(-cycle\d+)?(-window\d+)?-ch\d+-\d+bit-reference\.tiff?", re.IGNORECASE)
_COMPANIONS = (".env", ".xml")
_STOPPED = "a scan that was stopped ends like this; copy the whole folder again, or take the frame out of the XML file"


class Bruker(Converter):
    """PrairieView scans."""

    name = "bruker"
    title = "Bruker PrairieView"
    patterns = (
        "*.xml",
        "*_cycle*_ch*.tif",
        "*_cycle*_ch*.tiff",
        "*.env",
        "*-reference.tif",
        "*_voltagerecording_*.csv",
    )
    looks_like = "a folder with SCAN.xml, SCAN.env and SCAN_Cycle00001_Ch1_000001.ome.tif, ..."
    becomes = "TwoPhotonSeries for each channel of a movie; an OME-Zarr image for a single stack or frame"
    priority = -20  # before planes and ome_tiff: its files are numbered, and they are OME-TIFF

    def claim(self, path: Path) -> Path | None:
        """Return the XML file of the scan that a file belongs to by its name."""
        name = path.name
        if name.lower().endswith(".xml"):
            return path
        if match := _PLANE.fullmatch(name):
            return path.with_name(f"{match['scan']}.xml")
        if match := _REFERENCE.fullmatch(name):
            folder = path.parent.parent if path.parent.name.lower() == "references" else path.parent
            return folder / f"{match['scan']}.xml"
        if name.lower().endswith(".env"):
            return path.with_suffix(".xml")
        return None

    def identify(self, path: Path) -> Verdict:
        """Look at the beginning of the XML file."""
        try:
            with path.open("rb") as file:
                yes = is_prairieview(file.read(512))
        except FileNotFoundError:
            return Verdict(False, f"is of a PrairieView scan, whose {path.name} is missing")
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        return Verdict(yes, "is the XML file of a PrairieView scan" if yes else "is XML of something else")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the XML file and the headers of the TIFFs; no pixels.

        Parameters
        ----------
        path
            The XML file.
        options
            ``as``: ``series`` or ``image``; ``indicator``, ``location`` and ``excitation_nm`` of the imaging plane.
        """
        path = Path(os.path.abspath(path))
        options = require_options(options, path)
        scan = read_scan(path)
        problems: list[str] = []
        files = _files(path)
        runs = list(_runs(scan, path, problems))
        streams: list[Stream] = []
        image = as_image(options, max(len(r.volumes) for r in runs))
        for number, run in enumerate(runs):
            which = number if len(runs) > 1 else None
            streams += [_image(scan, run, which, path)] if image else _series(scan, run, which, path)
        facts = _facts(scan, streams)
        if places := _stage_positions(runs, streams):
            facts["stage_position_um"] = places
        # The planes first: the OME-XML of the whole scan is in the first of them.
        ordered = tuple(dict.fromkeys([path, *(f for s in streams for f in _of(s)), *sorted(files)]))
        if image:
            return ImageSource(
                format=self.name, path=path, files=ordered, streams=tuple(streams), facts=facts,
                needs=needs_of(streams, path), problems=tuple(problems), axes_stated=True,
            )  # fmt: skip
        if recordings := sorted(p.name for p in path.parent.glob(f"{_escaped(path.stem)}*VoltageRecording*.csv")):
            problems.append(
                f"voltage recordings ({', '.join(recordings[:3])}) are tables of their own: each needs a column map"
            )
        optics = Optics(
            device=scan.system.replace("/", "_").replace(":", "_") or "PrairieView microscope",
            device_description=f"Two-photon microscope controlled by Prairie View {scan.version}.".replace("  ", " "),
            excitation_nm=options.get("excitation_nm") or scan.excitation_nm, indicator=options.get("indicator"),
            location=options.get("location"),
        )  # fmt: skip
        line_s = scan.number("scanLinePeriod")
        details = {"scan_line_rate": 1 / line_s} if line_s else {}
        return TwoPhotonSource(
            format=self.name, path=path, files=ordered, streams=tuple(streams), facts=facts, problems=tuple(problems),
            optics=optics, details={s.name: details for s in streams},
        )  # fmt: skip


@dataclass(frozen=True)
class _Run:
    """Cycles that follow each other and are alike: volumes of frames; a frame without depth is a volume of one."""

    volumes: tuple[tuple[Frame, ...], ...]
    in_depth: bool

    @property
    def channels(self) -> list[tuple[int, str]]:
        return [(p.channel, p.name) for p in self.volumes[0][0].planes]


def _runs(scan: Scan, path: Path, problems: list[str]) -> list[_Run]:
    """Join cycles of one kind, of as many planes and the same channels."""
    pictures = [s for s in scan.sequences if not s.of_lines]
    if left := len(scan.sequences) - len(pictures):
        problems.append(f"{left} line or point scan(s), which are no images in y and x, are left out")
    if not pictures:
        raise BadSource(
            "has no frames" if not scan.sequences else "has line or point scans only, which are no images in y and x",
            file=path, remedy="" if not scan.sequences else "export their profiles as CSV from PrairieView",
        )  # fmt: skip
    groups: dict[tuple[Any, ...], list[Cycle]] = {}
    places: list[tuple[float, float]] = []
    for sequence in pictures:
        channels = tuple(p.channel for p in sequence.frames[0].planes)
        odd = next((f for f in sequence.frames if tuple(p.channel for p in f.planes) != channels), None)
        if odd is not None:
            raise BadSource(
                f"frame {odd.index} of cycle {sequence.cycle} has the channels "
                f"{', '.join(str(p.channel) for p in odd.planes)}, the first frame {', '.join(map(str, channels))}",
                file=path, place=f"cycle {sequence.cycle}, frame {odd.index}", remedy=_STOPPED,
            )  # fmt: skip
        # What was recorded at another place is another image, be it a tile or one of several fields in turn.
        where = _place(sequence.frames[0].stage, places, _reach(scan))
        count = len(sequence.frames) if sequence.in_depth else 0
        full = max((k[2] for k in groups if k[:2] == (sequence.kind, channels)), default=0)
        if sequence is pictures[-1] and count < full:
            problems.append(f"the last volume was not finished, it has {count} of {full} planes: it is left out")
            continue
        groups.setdefault((sequence.kind, channels, count, where), []).append(sequence)
    return [_run(group, problems) for group in groups.values()]


def _place(stage: tuple[float, float] | None, places: list[tuple[float, float]], reach: tuple[float, float]) -> int:
    """Return the number of the place where the stage is, -1 where it is not stated; a place that is new is added."""
    if stage is None:
        return -1
    for i, known in enumerate(places):
        if all(abs(a - b) <= r for a, b, r in zip(stage, known, reach, strict=True)):
            return i
    places.append(stage)
    return len(places) - 1


def _reach(scan: Scan) -> tuple[float, float]:
    """How far the stage may be off without being elsewhere, x and y: a tenth of the field of view."""
    out = []
    for axis, key in (("XAxis", "pixelsPerLine"), ("YAxis", "linesPerFrame")):
        size, count = scan.number("micronsPerPixel", axis), scan.number(key)
        out.append(0.1 * size * count if size and count else 10.0)
    return out[0], out[1]


def _run(cycles: Sequence[Cycle], problems: list[str]) -> _Run:
    if not cycles[0].in_depth or (len(cycles[0].frames) == 1):
        return _Run(tuple((f,) for c in cycles for f in c.frames), in_depth=False)
    reference = [f.depth for f in cycles[0].frames]
    volumes, turned = [], 0
    for cycle in cycles:
        frames = cycle.frames
        # Every other volume is scanned upwards if both ways are used: its planes are put in the order of the first.
        if len({*reference}) == len(reference) and [f.depth for f in frames] == reference[::-1]:
            frames, turned = frames[::-1], turned + 1
        volumes.append(frames)
    if turned:
        problems.append(
            f"{turned} of {len(cycles)} volumes were scanned in the other direction; their planes are turned"
        )
    return _Run(tuple(volumes), in_depth=True)


def _series(scan: Scan, run: _Run, number: int | None, path: Path) -> list[Stream]:
    """Make one stream (t[, z], y, x) for each channel."""
    times = [min(f.time_s for f in volume) for volume in run.volumes]
    when = timing(times)
    out = []
    for i, (_, name) in enumerate(run.channels):
        array = pages_of(
            [(path.parent / f.planes[i].file, f.planes[i].page) for volume in run.volumes for f in volume],
            _leading(run), remedy=_STOPPED,
        )  # fmt: skip
        axes = ("t", "z", "y", "x") if run.in_depth else ("t", "y", "x")
        out.append(Stream(
            name=series_name(name, number, len(run.channels) > 1), kind="TwoPhotonSeries", axes=axes, array=array,
            scale={a: v for a, v in _scale(scan).items() if a in axes}, channels=(Channel(name),), unit="n.a.",
            description=f"Channel {name} of {path.stem}, recorded with Prairie View {scan.version}.", **when,
        ))  # fmt: skip
    return out


def _image(scan: Scan, run: _Run, number: int | None, path: Path) -> Stream:
    count = len(run.channels)
    planes = [
        (path.parent / frame.planes[c].file, frame.planes[c].page)
        for volume in run.volumes for c in range(count) for frame in volume
    ]  # fmt: skip
    lengths = {"t": len(run.volumes), "c": count, "z": len(run.volumes[0])}
    array = pages_of(planes, tuple(n for n in lengths.values() if n > 1), remedy=_STOPPED)
    axes = (*(a for a, n in lengths.items() if n > 1), "y", "x")
    scale = _scale(scan)
    times = [min(f.time_s for f in volume) for volume in run.volumes]
    if len(times) > 1 and "rate_hz" in (when := timing(times)):
        scale["t"] = 1 / when["rate_hz"]
    return Stream(
        name=path.stem if number is None else f"{path.stem}_{number}", kind="Image", axes=axes, array=array,
        scale={a: v for a, v in scale.items() if a in axes}, channels=tuple(Channel(n) for _, n in run.channels),
    )  # fmt: skip


def _stage_positions(runs: Sequence[_Run], streams: Sequence[Stream]) -> dict[str, dict[str, float]]:
    """Stage of each stream by its name, as far as it is stated."""
    each = len(streams) // len(runs)
    found = {}
    for i, stream in enumerate(streams):
        if (stage := runs[i // each].volumes[0][0].stage) is not None:
            found[stream.name] = {"x": stage[0], "y": stage[1]}
    return found


def _leading(run: _Run) -> tuple[int, ...]:
    return (len(run.volumes), len(run.volumes[0])) if run.in_depth else (len(run.volumes),)


def _scale(scan: Scan) -> dict[str, float]:
    found = {a.lower()[0]: scan.number("micronsPerPixel", a) for a in ("ZAxis", "YAxis", "XAxis")}
    return {a: v for a, v in found.items() if v is not None}


def _facts(scan: Scan, streams: Sequence[Stream]) -> dict[str, Any]:
    aperture = scan.value("objectiveLensNA")
    lens = scan.value("objectiveLens")
    facts: dict[str, Any] = {
        "session_start_time": scan.start, "software": f"Prairie View {scan.version}".strip(),
        "description": scan.notes, "device": scan.system,
        "objective": f"{lens} NA {aperture}" if lens and aperture else lens,
        "pixel_size_um": common_sizes(streams),
        "channel_names": tuple(dict.fromkeys(c.name for s in streams for c in s.channels)),
    }  # fmt: skip
    times = {s.scale.get("t") or (1 / s.rate_hz if s.rate_hz and s.shape[0] > 1 else None) for s in streams}
    if len(times) == 1:
        facts["time_increment_s"] = times.pop()
    return {k: v for k, v in facts.items() if v}


def _files(path: Path) -> list[Path]:
    """Return the companions: settings and reference pictures."""
    out = [p for p in path.parent.glob(f"{_escaped(path.stem)}*") if p.is_file() and p.suffix.lower() in _COMPANIONS]
    references = path.parent / "References"
    return out + [p for p in references.glob(f"{_escaped(path.stem)}*") if p.is_file()]


def _escaped(name: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", name)


def _of(stream: Stream) -> tuple[Path, ...]:
    from dandify.sources import TiffPages

    return stream.array.files if isinstance(stream.array, TiffPages) else ()


converter = Bruker()
