"""A folder with one TIFF file for each plane, and folders of them for several channels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Converter, Source, Stream, Verdict, Well
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
from dandify.sources.plane_folders import PATTERNS, Run, channel_folders, is_single, root_of, runs_in
from dandify.sources.plane_pattern import EXAMPLE, absent_fields, images_by
from dandify.sources.tiff import ABSENT, PageRef, TiffPages, ref_of, require_form
from dandify.sources.tiff_header import Header, read_header, require_whole
from dandify.sources.tiff_metamorph import MetaMorphImage, MetaMorphPlane, line, metamorph_image, stated_by
from dandify.sources.tiff_text import imagej, resolution
from dandify.sources.vendors.metamorph_stk import read_stk

CHECKED_FILES = 2000  # of larger folders only the first and last header is read at once, the others with their pixels


@dataclass(frozen=True)
class _Stated:
    """What the files of an image state beside its pixels: sizes and the time between planes, facts, and the stage."""

    scale: Mapping[str, float]
    facts: Mapping[str, Any] = field(default_factory=dict)
    stage: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class Planes(Converter):
    """Numbered single-page TIFFs."""

    name = "planes"
    title = "Folder of planes"
    patterns = PATTERNS
    looks_like = "numbered TIFF files, one plane each, in a folder; for several channels in folders ch0, ch1, ..."
    becomes = "one OME-Zarr image; a plate, or an image for each place, where a pattern of names says so"
    priority = -10  # asked before ome_tiff: a folder of ten thousand planes is one question then
    fills = True

    def claim(self, path: Path) -> Path | None:
        """Return the folder of a numbered TIFF, or the folder above if that has several folders of channels."""
        return root_of(path) if self.matches(path) else None

    def identify(self, path: Path) -> Verdict:
        """Look at the names in the folder, and at the headers of three files."""
        if not path.is_dir():
            return Verdict(False, "is no folder")
        if folders := channel_folders(path):
            runs = [runs_in(folder) for _, folder in folders]
            if all(len(r) == 1 for r in runs):
                return Verdict(True, f"has {len(folders)} folders of numbered planes, one for each channel")
            return Verdict(False, "its folders of channels do not hold one run of numbered planes each")
        if runs_found := runs_in(path):
            return Verdict(True, f"holds {sum(len(r.files) for r in runs_found)} numbered planes")
        return Verdict(False, "holds no TIFF files of one plane each with running numbers")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the first directory of the files; no pixels.

        Parameters
        ----------
        path
            The folder.
        options
            ``pattern``: which plane a file is by its path in the folder, such as
            ``*_{row}{column}_s{field}_w{channel}.tif``; see `dandify.sources.plane_pattern`. ``missing``: ``fill`` for
            0 where a plane is missing; ``refuse`` is the default.
        """
        path = Path(os.path.abspath(path))
        fill = wants_fill(options, path)
        if set(options) - {"missing"}:
            return _by_pattern(path, {k: v for k, v in options.items() if k != "missing"}, fill=fill)
        folders = channel_folders(path)
        groups: list[tuple[str, list[Run], tuple[Channel, ...]]]
        if folders:
            runs = [_only(folder) for _, folder in folders]
            groups = [(path.name, runs, tuple(Channel(folder.name) for _, folder in folders))]
        else:
            found = runs_in(path)
            if not found:
                raise BadSource("holds no TIFF files of one plane each with running numbers", file=path)
            groups = [(path.name if len(found) == 1 else r.stem.rstrip(" _.-") or path.name, [r], ()) for r in found]
        images = [_stream(name, several, channels, fill=fill) for name, several, channels in groups]
        problems = [problem for _, stated in images for problem in stated.problems]
        if len(images) > 1:
            counts = sorted({len(run.files) for _, several, _ in groups for run in several})
            lengths = f", of {counts[0]} to {counts[-1]} planes: is one cut off?" if len(counts) > 1 else ""
            problems.append(f"{path.name} holds {len(images)} runs of numbered planes; each becomes an image{lengths}")
        streams = tuple(stream for stream, _ in images)
        problems += [problem for stream in streams for problem in told_of_filled(stream)]
        return ImageSource(
            format=self.name, path=path, files=tuple(f for _, several, _ in groups for r in several for f in r.paths),
            streams=streams, facts=_facts(images), needs=needs_of(streams, path), problems=tuple(problems),
        )  # fmt: skip


def _facts(images: Sequence[tuple[Stream, _Stated]]) -> dict[str, Any]:
    """Facts of all images: what they agree on, the first start, and the stage for each."""
    streams = [stream for stream, _ in images]
    facts: dict[str, Any] = {}
    if times := {stated.scale["t"] for _, stated in images if "t" in stated.scale}:
        facts["time_increment_s"] = times.pop() if len(times) == 1 else None
    for key in dict.fromkeys(key for _, stated in images for key in stated.facts):
        values = [stated.facts.get(key) for _, stated in images]
        if key == "session_start_time":
            facts[key] = min(v for v in values if v is not None)
        else:
            facts[key] = values[0] if len(set(values)) == 1 else None
    facts["stage_position_um"] = {stream.name: dict(stated.stage) for stream, stated in images if stated.stage}
    facts["pixel_size_um"] = common_sizes(streams)
    if len({s.channels for s in streams}) == 1:
        facts["channel_names"] = tuple(c.name for c in streams[0].channels)
    return {key: value for key, value in facts.items() if value}


def _only(folder: Path) -> Run:
    found = runs_in(folder)
    if len(found) != 1:
        raise BadSource(f"holds {len(found)} runs of numbered planes, not one as a channel does", file=folder)
    return found[0]


def _stream(
    name: str, several: Sequence[Run], channels: tuple[Channel, ...], *, fill: bool
) -> tuple[Stream, _Stated]:  # fmt: skip
    """Make the image of one run, or of one for each channel, and what its files state."""
    for run in several:
        _require_no_gap(run, fill=fill)
        if run.numbers != several[0].numbers and not fill:
            raise BadSource(
                f"has {len(run.files)} planes ({run.numbers[0]} to {run.numbers[-1]}), the channel "
                f"{several[0].folder.name} has {len(several[0].files)} ({several[0].numbers[0]} to "
                f"{several[0].numbers[-1]})", file=run.folder,
                remedy="copy the missing planes; to convert the channels alone, give each folder by itself; or "
                "--missing fill, to have 0 there",
            )  # fmt: skip
    numbers = range(min(r.numbers[0] for r in several), max(r.numbers[-1] for r in several) + 1)
    if len(numbers) > MOST_PLANES:
        raise BadSource(f"has planes with numbers from {numbers[0]} to {numbers[-1]}", file=several[0].folder,
                        remedy="move away what does not belong to the image")  # fmt: skip
    paths = [path for run in several for path in _with_gaps(run, numbers)]
    axis, lengths = several[0].axis, (len(several), len(numbers))
    stream, stated = _image(name, paths, "c" + axis, lengths, channels if len(several) > 1 else ())
    said = f"{len(numbers)} planes along {axis}, numbers {numbers[0]} to {numbers[-1]}, of {name}"
    return replace(stream, description=said), stated


def _with_gaps(run: Run, numbers: Iterable[int]) -> list[Path | None]:
    there = dict(zip(run.numbers, run.paths, strict=True))
    return [there.get(number) for number in numbers]


def _image(
    name: str, paths: Sequence[Path | None], axes: str, lengths: Sequence[int], channels: tuple[Channel, ...]
) -> tuple[Stream, _Stated]:
    """Make an image of files of one plane each, in C order of some axes, and what they state.

    ``channels`` are what is known of them by the names of files and folders. Planes without a file are 0.
    """
    there = [path for path in paths if path is not None]
    first = _header(there[0])
    page = first.first
    refs, planes = _refs(paths, first)
    array = TiffPages(
        tuple(there), tuple(refs), (len(paths),), page.height, page.width, page.dtype, page.samples,
        planar=page.planar, rows=page.rows,
    )  # fmt: skip
    arranged, found = arrange(array, axes, lengths)
    stated, origin = _Stated(dict(told.scale) if (told := imagej(page)) else resolution(page)), {}
    if planes and paths[0] is None:  # where and when the image begins is not known
        stated = _Stated(dict(planes[min(planes)].scale))
    elif planes:
        image = metamorph_image(_along(paths, planes, axes, lengths), axes, lengths, (page.height, page.width))
        stated = _Stated(image.scale, image.facts, image.stage, tuple(f"{name}: {p}" for p in image.problems))
        origin, channels = dict(image.origin), _named(image, channels)
    stream = Stream(
        name=name, kind="Image", axes=found, array=arranged, origin=origin,
        scale={a: v for a, v in stated.scale.items() if a in found}, channels=channels if page.samples == 1 else (),
        filled=filled_of(arranged, found),
    )  # fmt: skip
    return stream, stated


def _along(
    paths: Sequence[Path | None], planes: Mapping[int, MetaMorphPlane], axes: str, lengths: Sequence[int]
) -> dict[int, tuple[Path, MetaMorphPlane]]:
    """Add what is stated by the first planes along every axis, where there are too many to read the headers of all."""
    found = dict(planes)
    colours = line(axes, lengths, "c")
    depths = [c + z for c in colours for z in line(axes, lengths, "z")]
    for numbers in (colours, depths, line(axes, lengths, "t")):
        for i in numbers if len(numbers) <= CHECKED_FILES < len(paths) else ():
            path = paths[i]
            if i not in found and path is not None and (plane := _plane(_header(path))):
                found[i] = plane
    return {i: (path, plane) for i, plane in found.items() if (path := paths[i]) is not None}


def _named(image: MetaMorphImage, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    """Channels as the files state them, by the names of the folders or of the pattern where they do not."""
    if not channels:
        return image.channels if any(c.name for c in image.channels) else ()
    return tuple(
        replace(own, name=own.name or known.name) for own, known in zip(image.channels, channels, strict=True)
    )  # fmt: skip


def _by_pattern(path: Path, options: Mapping[str, Any], *, fill: bool) -> Source:
    """Open the images that a declared pattern finds, fields of wells among them."""
    pattern = options.get("pattern")
    if set(options) != {"pattern"} or not isinstance(pattern, str):
        unknown = ", ".join(sorted(set(options) - {"pattern"})) or f"pattern: {pattern!r}"
        raise BadRequest(f"a folder of planes has no option {unknown}", file=path, remedy=f"pattern: '{EXAMPLE}'")
    images = images_by(path, pattern, fill=fill)
    made: list[tuple[Stream, _Stated]] = []
    for image in images:
        lengths = [len(image.counted.get(name, ("",))) for name in ("t", "channel", "z")]
        names = image.counted.get("channel", ())
        channels = tuple(Channel(f"channel {n}" if n.isdigit() else n) for n in names) if len(names) > 1 else ()
        well = None
        if "row" in image.place:
            well = Well(image.place["row"], image.place["column"], image.place.get("field", "0"))
        name = "_".join(image.place.values()) if image.place else path.name
        if well is not None:
            between = "_" if well.row.isdigit() else ""  # row 1 and column 12 are not row 11 and column 2
            name = f"{well.row}{between}{well.column}_{well.field}"
        stream, stated = _image(name, image.files, "tcz", lengths, channels)
        made.append((replace(stream, well=well), stated))
    streams = tuple(stream for stream, _ in made)
    return ImageSource(
        format=converter.name, path=path, files=tuple(f for i in images for f in i.files if f is not None),
        streams=streams, facts=_facts(made), needs=needs_of(streams, path), axes_stated=True,
        problems=(
            *(problem for _, stated in made for problem in stated.problems),
            *(problem for stream in streams for problem in told_of_filled(stream)),
            *absent_fields(images),
        ),
    )  # fmt: skip


def _refs(paths: Sequence[Path | None], first: Header) -> tuple[list[PageRef], dict[int, MetaMorphPlane]]:
    """Where the planes lie, and what MetaMorph states of them, by their numbers.

    All headers are checked, of very many files the first and the last.
    """
    refs: list[PageRef] = []
    planes: dict[int, MetaMorphPlane] = {}
    file = -1
    for i, path in enumerate(paths):
        if path is None:
            refs.append(ABSENT)
            continue
        file += 1
        if len(paths) > CHECKED_FILES and 0 < i < len(paths) - 1 and file:
            refs.append(PageRef(file, -1, -1, first.first.order))
            continue
        header = _header(path) if file else first
        require_form(path, header.first, first.first.form)
        if header.first.planar != first.first.planar:
            raise BadSource("has its samples in another order than the first plane", file=path)
        refs.append(ref_of(header.first, file))
        if (not file or planes) and (plane := _plane(header)):
            planes[i] = plane
    return refs, planes


def _plane(header: Header) -> MetaMorphPlane | None:
    return stated_by(header, read_stk(header))


def _header(path: Path) -> Header:
    header = require_whole(read_header(path, pages=2))
    if not is_single(header):
        raise BadSource(
            "holds more than one plane, the others of its folder one each", file=path,
            remedy="move it to another folder if it does not belong to the image",
        )  # fmt: skip
    return header


def _require_no_gap(run: Run, *, fill: bool) -> None:
    for (before, name), (number, other) in pairwise(run.files):
        if number == before:
            raise BadSource(f"has the number of {name}, {number}", file=run.folder / other)
        if number > before + 1 and not fill:
            digits = len(name) - len(run.stem) - len(Path(name).suffix)
            missing = f"{run.stem}{before + 1:0{digits}d}{Path(name).suffix}"
            more = f" and {number - before - 2} after it" if number > before + 2 else ""
            raise BadSource(
                f"the plane {missing} is missing{more}, between {name} and {other}", file=run.folder / missing,
                remedy="copy it from the microscope's computer; a gap would shift all planes behind it. --missing fill "
                "has 0 there",
            )  # fmt: skip


converter = Planes()
