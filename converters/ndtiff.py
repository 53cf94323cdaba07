"""NDTiff of Micro-Manager and pycromanager, versions 2 and 3: each position, tile and value of an own axis is an image.

A data set is a folder with ``NDTiff.index`` and ``NAME_NDTiffStack.tif``, ``NAME_NDTiffStack_1.tif`` ...; one with
several resolutions has such a folder ``Full resolution``, which is read, beside ``Downsampled_x2`` ..., which are not.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Converter, Source, Stream, Verdict
from dandify.sources.microscopy import (
    MOST_PLANES,
    ImageSource,
    arrange,
    common_sizes,
    filled_of,
    needs_of,
    told_of_filled,
    wants_fill,
)
from dandify.sources.stated import colours_of_pixels, positive, regular_step
from dandify.sources.tiff import ABSENT, PageRef, TiffPages
from dandify.sources.vendors.metamorph_stk import even_step
from dandify.sources.vendors.ndtiff_layout import (
    AGAIN,
    INDEX,
    Form,
    Plane,
    in_words,
    metadata_of,
    read_index,
    read_stacks,
)

_FULL: Final = "Full resolution"
_SMALLER: Final = re.compile(r"Downsampled_x\d+")
_SETTINGS: Final = "display_settings.txt"
_AXES: Final = {"time": "t", "channel": "c", "z": "z"}
_APART: Final = ("position", "row", "column")  # first in the names of images, in this order
_READ: Final = 200  # planes along an axis of which the metadata are read
_NAMED: Final = 3  # missing images that a message names


@dataclass(frozen=True)
class _Stated:
    """What is stated of an image beside its pixels."""

    scale: Mapping[str, float]
    origin: Mapping[str, float]
    stage: Mapping[str, float]
    channels: tuple[Channel, ...]
    exposure_s: tuple[float, ...]
    objective: str | None
    problems: tuple[str, ...]


class NDTiff(Converter):
    """NDTiff data sets."""

    name = "ndtiff"
    title = "NDTiff (Micro-Manager, pycromanager)"
    patterns = (INDEX, "*NDTiffStack*.tif", _SETTINGS)
    looks_like = "a folder with NDTiff.index and NAME_NDTiffStack.tif, or with such a folder 'Full resolution'"
    becomes = "an OME-Zarr image for each position, and for each tile at its place"
    fills = True
    priority = -30  # before planes and ome_tiff, which take its TIFFs one by one

    def claim(self, path: Path) -> Path | None:
        """Return the folder of the data set, by the name of one of its files and by the index near it."""
        if not self.matches(path):
            return None
        folder = path.parent
        if (folder.name == _FULL or _SMALLER.fullmatch(folder.name)) and (folder.parent / _FULL / INDEX).is_file():
            return folder.parent
        return folder if _level(folder) is not None else None

    def identify(self, path: Path) -> Verdict:
        """Look at how the index begins."""
        folder = _level(path)
        if folder is None:
            return Verdict(False, f"is no folder with {INDEX}, nor with '{_FULL}'")
        if _SMALLER.fullmatch(folder.name):
            return Verdict(False, f"is a smaller version of a data set, of which the folder '{_FULL}' is not there")
        try:
            with (folder / INDEX).open("rb") as file:
                head = file.read(5)
        except OSError as error:
            return Verdict(False, f"{INDEX} cannot be read: {error.strerror}")
        if not head:
            return Verdict(False, f"{INDEX} is empty")
        yes = head[4:] == b"{" or head == bytes(5)  # zeros: an acquisition that was stopped at once, see `open`
        return Verdict(yes, f"{INDEX} {'begins' if yes else 'does not begin'} with the axes of an image")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the index, the summary, and the metadata of some planes; no pixels.

        Parameters
        ----------
        path
            The folder.
        options
            ``missing``: ``fill`` for 0 where the index has no image; ``refuse`` is the default.
        """
        path = Path(os.path.abspath(path))
        if unknown := set(options) - {"missing"}:
            raise BadRequest(f"an NDTiff data set has no option {', '.join(sorted(unknown))}", file=path)
        fill = wants_fill(options, path)
        folder = _level(path)
        if folder is None:
            raise BadSource(f"is no folder with {INDEX}", file=path, remedy=AGAIN)
        planes, problems = read_index(folder / INDEX)
        summary = read_stacks(folder, planes)
        roles = _roles(planes, summary)
        colours, told = _colours(path / _SETTINGS)
        streams: list[Stream] = []
        stated: list[_Stated] = []
        for name, place, mine in _images(path.name, planes, roles):
            stream, said = _image(folder, name, place, mine, roles, summary, colours, fill=fill)
            streams.append(stream)
            stated.append(said)
        problems += [*told, *(f"{s.name}: {p}" for s, said in zip(streams, stated, strict=True) for p in said.problems)]
        if len(shapes := {(s.axes, s.shape) for s in streams}) > 1:
            words = sorted(", ".join(f"{a} {n}" for a, n in zip(*shape, strict=True)) for shape in shapes)
            problems.append(f"The images are of several shapes ({'; '.join(words)}); each keeps its own.")
        problems += [problem for stream in streams for problem in told_of_filled(stream)]
        return ImageSource(
            format=self.name, path=path, files=_files(path, folder, planes), streams=tuple(streams),
            facts=_facts(summary, streams, stated), needs=needs_of(streams, path), problems=tuple(problems),
            axes_stated=True,
        )  # fmt: skip


def _level(path: Path) -> Path | None:
    """Return the folder with the index of the full resolution; None if there is none."""
    return next((folder for folder in (path / _FULL, path) if (folder / INDEX).is_file()), None)


def _files(path: Path, folder: Path, planes: Iterable[Plane]) -> tuple[Path, ...]:
    """Files of a data set, those of smaller versions among them."""
    files = [folder / INDEX, *(folder / name for name in dict.fromkeys(plane.file for plane in planes))]
    files += [f for f in (path / _SETTINGS, folder / _SETTINGS) if f.is_file()]
    if folder != path:
        for smaller in sorted(f for f in path.iterdir() if _SMALLER.fullmatch(f.name)):
            files += sorted(f for f in smaller.iterdir() if converter.matches(f))
    return tuple(dict.fromkeys(files))


def _roles(planes: Iterable[Plane], summary: Mapping[str, Any]) -> dict[str, str]:
    """Letters of the axes that an image can have; the axis of the focus drive (explored volumes) is z."""
    names = {axis for plane in planes for axis in plane.axes}
    roles = {axis: letter for axis, letter in _AXES.items() if axis in names}
    if "z" not in names and (focus := summary.get("Core-Focus")) in [*names] and focus not in (*_AXES, *_APART):
        roles[str(focus)] = "z"
    return roles


def _images(
    whole: str, planes: Sequence[Plane], roles: Mapping[str, str]
) -> list[tuple[str, dict[str, int | str], list[Plane]]]:
    """Planes of each image, with its name and its values along the axes that OME-Zarr does not have.

    Planes of other sizes, and those that lack an axis which others have, are images of their own.
    """
    values: dict[str, set[int | str | None]] = {axis: set() for plane in planes for axis in plane.axes}
    for plane in planes:
        for axis, seen in values.items():
            seen.add(plane.axes.get(axis))
    apart = [a for a in (*_APART, *sorted(values.keys() - {*_APART})) if len(values.get(a, ())) > 1 and a not in roles]
    partly = [axis for axis in roles if None in values[axis]]
    groups: dict[tuple[Any, ...], list[Plane]] = {}
    for plane in planes:
        key = (*(plane.axes.get(a) for a in apart), *(a in plane.axes for a in partly), plane.form)
        groups.setdefault(key, []).append(plane)
    found = []
    for key in sorted(groups, key=lambda k: [_order(v) for v in k[: len(apart)]]):
        place = {a: groups[key][0].axes[a] for a in apart if a in groups[key][0].axes}
        parts = [f"{a} {v}" for a, v in place.items()]
        parts += [f"without {a}" for a, there in zip(partly, key[len(apart) :], strict=False) if not there]
        found.append((" ".join(parts) or whole, place, groups[key]))
    names = [name for name, _, _ in found]
    called: list[tuple[str, dict[str, int | str], list[Plane]]] = []
    for name, place, mine in found:
        form = mine[0].form
        if names.count(name) > 1:
            name += f" {form.width}x{form.height} {'rgb' if form.samples > 1 else np.dtype(form.dtype).name}"
        taken, number, plain = {n for n, _, _ in called}, 2, name
        while name in taken:  # a number and a text can look alike
            name, number = f"{plain} {number}", number + 1
        called.append((name, place, mine))
    return called


def _order(value: int | str | None) -> tuple[int, int, str]:
    """Numbers by size, before texts."""
    return (0, value, "") if isinstance(value, int) else (1, 0, value or "")


def _along(axis: str, planes: Sequence[Plane], folder: Path) -> list[int | str]:
    """Values along an axis: numbers without gaps, but for channels; texts as they appear."""
    seen = list(dict.fromkeys(plane.axes[axis] for plane in planes if axis in plane.axes))
    numbers = sorted(v for v in seen if isinstance(v, int))
    texts: list[int | str] = [v for v in seen if isinstance(v, str)]
    if axis == "channel" or texts or not numbers:
        return [*numbers, *texts]
    if numbers[-1] - numbers[0] >= MOST_PLANES + len(planes):
        raise BadSource(
            f"has images of {axis} {numbers[0]} to {numbers[-1]}", file=folder / INDEX, remedy=AGAIN
        )  # fmt: skip
    return list(range(numbers[0], numbers[-1] + 1))


def _image(
    folder: Path, name: str, place: Mapping[str, int | str], planes: Sequence[Plane], roles: Mapping[str, str],
    summary: Mapping[str, Any], colours: Mapping[str, str], *, fill: bool,
) -> tuple[Stream, _Stated]:  # fmt: skip
    """Make one image, and what is stated of it."""
    axis_of = {letter: axis for axis, letter in roles.items() if axis in planes[0].axes}
    values = {a: _along(axis_of[a], planes, folder) if a in axis_of else [0] for a in "tcz"}
    lengths = [len(values[a]) for a in "tcz"]
    there = {tuple(plane.axes.get(axis_of.get(a, ""), 0) for a in "tcz"): plane for plane in planes}
    count = lengths[0] * lengths[1] * lengths[2]
    if count > len(there):
        _refuse_gaps(folder, place, there, values, axis_of, count, fill=fill)
    grid = [there.get(at) for at in product(*(values[a] for a in "tcz"))]
    names = list(dict.fromkeys(plane.file for plane in planes))
    number = {file: i for i, file in enumerate(names)}
    form = planes[0].form
    # Errors name the byte of the plane; its directory, which is not read, would do as well.
    refs = tuple(ABSENT if p is None else PageRef(number[p.file], p.data, p.data, "<") for p in grid)
    array = TiffPages(
        tuple(folder / file for file in names), refs, (count,), form.height, form.width, np.dtype(form.dtype),
        form.samples,
    )  # fmt: skip
    arranged, axes = arrange(array, "tcz", lengths)
    stated = _stated(folder, place, grid, values, axis_of, form, summary, colours)
    bits = max(p.bits for p in planes)
    stream = Stream(
        name=name, kind="Image", axes=axes, array=arranged, scale={a: v for a, v in stated.scale.items() if a in axes},
        origin=stated.origin, channels=stated.channels, filled=filled_of(arranged, axes),
        description=f"values of {bits} bits" if bits < 8 * np.dtype(form.dtype).itemsize else None,
    )  # fmt: skip
    return stream, stated


def _refuse_gaps(
    folder: Path, place: Mapping[str, int | str], there: Mapping[tuple[int | str, ...], Plane],
    values: Mapping[str, Sequence[int | str]], axis_of: Mapping[str, str], count: int, *, fill: bool,
) -> None:  # fmt: skip
    """Refuse an image of which planes are missing, unless they are to be filled."""
    if fill and count <= MOST_PLANES + len(there):
        return
    missing = []
    for at in product(*(values[a] for a in "tcz")):
        if at not in there:
            named = {axis_of[a]: v for a, v in zip("tcz", at, strict=True) if a in axis_of}
            missing.append(in_words({**place, **named}))
        if len(missing) == _NAMED:
            break
    absent = count - len(there)
    more = f" and {absent - len(missing)} more" if absent > len(missing) else ""
    raise BadSource(
        f"has no image of {'; '.join(missing)}{more}", file=folder / INDEX, place=missing[0],
        remedy=f"{AGAIN}; --missing fill has 0 there",
    )  # fmt: skip


def _stated(
    folder: Path, place: Mapping[str, int | str], grid: Sequence[Plane | None],
    values: Mapping[str, Sequence[int | str]], axis_of: Mapping[str, str], form: Form, summary: Mapping[str, Any],
    colours: Mapping[str, str],
) -> _Stated:  # fmt: skip
    """Put together what the summary and some planes state: the first, and others along one axis each."""
    counts = [len(values[a]) for a in "tcz"]
    strides = {"t": counts[1] * counts[2], "c": counts[2], "z": 1}
    kept: dict[int, dict[str, Any] | None] = {}

    def said(number: int) -> dict[str, Any] | None:
        if number not in kept:
            kept[number] = metadata_of(folder, grid[number])
        return kept[number]

    def line(axis: str, every: int = 1) -> list[dict[str, Any] | None]:
        return [said(i * strides[axis]) for i in range(0, len(values[axis]), every)]

    def step(axis: str, keys: Sequence[str], rule: Callable[[Sequence[float]], float | None]) -> float | None:
        every = -(-len(values[axis]) // _READ)
        for key in keys:
            found = [_number(one.get(key)) if one else None for one in line(axis, every)]
            known = [v for v in found if v is not None]
            if len(known) == len(found) > 1 and (distance := rule(known)) is not None:
                return float(f"{distance / every:.12g}")
        return None

    lines = line("c")
    first = said(0) or {}
    scale: dict[str, float] = {}
    problems = []
    depth = step("z", ("ZPositionUm", "ZPosition_um_Intended"), even_step)
    if depth := depth or positive(_number(summary.get("z-step_um"))):
        scale["z"] = depth
    if interval := step("t", ("ElapsedTime-ms",), regular_step):
        scale["t"] = float(f"{interval / 1000:.12g}")
    sizes = {positive(_number(one.get("PixelSizeUm"))) for one in kept.values() if one} - {None}
    sizes = sizes or {positive(_number(summary.get("PixelSize_um")))} - {None}
    if len(sizes) > 1:
        told = ", ".join(f"{size:g}" for size in sorted(size for size in sizes if size))
        problems.append(f"Planes state different pixel sizes ({told} um); none is taken.")
    elif sizes:
        scale["y"] = scale["x"] = sizes.pop() or 0
    stage = _stage(first)
    exposures = [positive(_number(one.get("Exposure"))) if one else None for one in lines]
    labels = values["c"] if "c" in axis_of else [None]
    channels = tuple(_channel(label, one, summary, colours) for label, one in zip(labels, lines, strict=True))
    if form.samples > 1:
        channels = colours_of_pixels(form.samples, channels)
    return _Stated(
        scale, _origin(place, form, scale, stage, first, summary), stage,
        channels if any(c.name for c in channels) else (),
        tuple(float(f"{e / 1000:.12g}") for e in exposures if e) if all(exposures) else (),
        str(first.get("Objective-Label") or "") or None, tuple(problems),
    )  # fmt: skip


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _stage(first: Mapping[str, Any]) -> dict[str, float]:
    """Where the stage was, or was sent to, in micrometres."""
    stage = {}
    for axis in "XYZ":
        found = [_number(first.get(key)) for key in (f"{axis}PositionUm", f"{axis}Position_um_Intended")]
        if known := [v for v in found if v is not None]:
            stage[axis.lower()] = known[0]
    return stage


def _origin(
    place: Mapping[str, int | str], form: Form, scale: Mapping[str, float], stage: Mapping[str, float],
    first: Mapping[str, Any], summary: Mapping[str, Any],
) -> dict[str, float]:  # fmt: skip
    """Place of the first pixel: of tiles on their grid, of others by the stage if that moves along the image's axes."""
    grid: dict[str, tuple[Any, str, int]] = {
        "y": (place.get("row", 0), "GridPixelOverlapY", form.height),
        "x": (place.get("column", 0), "GridPixelOverlapX", form.width),
    }
    if not place or "x" not in scale:
        return {}
    if place.keys() <= {"row", "column"}:
        overlaps = {a: _number(summary.get(key)) for a, (_, key, _) in grid.items()}
        if all(v is not None for v in overlaps.values()) and all(isinstance(n, int) for n, _, _ in grid.values()):
            return {
                a: float(f"{number * (length - (overlaps[a] or 0)) * scale[a]:.12g}")
                for a, (number, _, length) in grid.items()
            }  # fmt: skip
    turned = [_number(v) for v in str(first.get("PixelSizeAffine", "")).split(";")]
    straight = len(turned) == 6 and turned[1] == turned[3] == 0 and (turned[0] or 0) > 0 and (turned[4] or 0) > 0
    return {
        a: float(f"{stage[a] - (length - 1) / 2 * scale[a]:.12g}")  # the stage's place is that of the middle
        for a, (_, _, length) in grid.items() if straight and a in stage
    }  # fmt: skip


def _channel(
    label: int | str | None, said: Mapping[str, Any] | None, summary: Mapping[str, Any], colours: Mapping[str, str]
) -> Channel:
    """Channel by its text in the index, or by what the summary or the plane calls that number."""
    name = label
    if not isinstance(name, str):
        names = summary.get("ChNames")
        if isinstance(label, int) and isinstance(names, list) and 0 <= label < len(names):
            name = str(names[label])
        else:
            name = str((said or {}).get("Channel") or "")
    name = "" if name == "Default" else name  # what Micro-Manager calls a channel that nobody named
    return Channel(name, color=colours.get(name) if name else None)


def _colours(path: Path) -> tuple[dict[str, str], list[str]]:
    """Colours of the channels by their names, as displayed; and that they cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError, RecursionError) as error:
        return {}, [f"{path.name} cannot be read ({error}): the channels have no colours."]
    settings = found if isinstance(found, dict) else {}
    return {
        name: f"{one['Color'] & 0xFFFFFF:06X}"
        for name, one in settings.items() if isinstance(one, dict) and isinstance(one.get("Color"), int)
    }, []  # fmt: skip


def _facts(summary: Mapping[str, Any], streams: Sequence[Stream], stated: Sequence[_Stated]) -> dict[str, Any]:
    """Facts of the summary, and those on which all images agree."""
    version = summary.get("MicroManagerVersion")
    facts: dict[str, Any] = {
        "session_start_time": _moment(summary),
        "software": f"Micro-Manager {version}" if version else None,
        "pixel_size_um": common_sizes(streams),
        "stage_position_um": {
            s.name: dict(said.stage) for s, said in zip(streams, stated, strict=True) if said.stage
        },
    }  # fmt: skip
    agreed: dict[str, set[Any]] = {
        "exposure_time_s": {said.exposure_s for said in stated},
        "objective": {said.objective for said in stated},
        "time_increment_s": {s.scale.get("t") for s in streams},
        "channel_names": {tuple(c.name for c in s.channels) for s in streams},
    }
    facts.update({key: values.pop() for key, values in agreed.items() if len(values) == 1})
    return {key: value for key, value in facts.items() if value}


def _moment(summary: Mapping[str, Any]) -> datetime | None:
    """Begin of the acquisition; in local time where no zone is stated."""
    for key in ("StartTime", "DateAndTime"):  # the first is Micro-Manager's own, with the zone
        for form in ("%Y-%m-%d %H:%M:%S.%f %z", "%Y-%m-%d %H:%M:%S %z", "%Y/%m/%d %H:%M:%S"):
            try:
                return datetime.strptime(str(summary.get(key, "")), form)
            except ValueError:
                continue
    return None


converter = NDTiff()
