"""Acquisitions of MetaMorph and VisiView: a .nd file, and a TIFF or stack for each stage, wavelength and time."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Converter, Source, Stream, Verdict
from dandify.sources.microscopy import (
    ImageSource,
    arrange,
    common_sizes,
    filled_of,
    needs_of,
    told_of_filled,
    wants_fill,
)
from dandify.sources.tiff import tiff_pages
from dandify.sources.tiff_header import Page, read_header, require_whole
from dandify.sources.tiff_metamorph import MetaMorphPlane, metamorph_image, moment, planes_in, stated_by
from dandify.sources.vendors.metamorph_nd import FIRST_LINE, Nd, begins_with, nd_of, read_nd
from dandify.sources.vendors.metamorph_stk import Stk, read_stk

_AGAIN = "copy it again from the microscope's computer"
_ALONE = "to convert each file by itself, move the .nd file to another folder"


@dataclass(frozen=True)
class _File:
    """The planes of one stage, wavelength and time, and what is stated of them."""

    path: Path
    pages: tuple[Page, ...]
    plane: MetaMorphPlane | None
    stk: Stk | None


class MetaMorph(Converter):
    """Multi-dimensional acquisitions of MetaMorph."""

    name = "metamorph"
    title = "MetaMorph, VisiView"
    patterns = ("*.nd", "*.stk", "*.tif", "*.tiff")
    looks_like = "NAME.nd with NAME_w1GFP_s1_t1.stk or .tif beside it, for each wavelength, stage and time"
    becomes = "an OME-Zarr image for each stage"
    fills = True
    priority = -20  # before planes, which takes _t1, _t2, ... for a series

    def claim(self, path: Path) -> Path | None:
        """Return the .nd file that is named, or that lies beside a file of its acquisition."""
        if not self.matches(path):
            return None
        return path if path.suffix.lower() == ".nd" else nd_of(path)

    def identify(self, path: Path) -> Verdict:
        """Look at how it begins."""
        return begins_with(path, FIRST_LINE)

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the .nd file, and the directories of all files; no pixels.

        Parameters
        ----------
        path
            The .nd file.
        options
            ``missing``: ``fill`` for 0 where a file is missing; ``refuse`` is the default. Times of which there is no
            file are left out.
        """
        path = Path(os.path.abspath(path))
        if unknown := set(options) - {"missing"}:
            raise BadRequest(f"an acquisition of MetaMorph has no option {', '.join(sorted(unknown))}", file=path)
        nd = read_nd(path)
        found = nd.files()
        times, problems = _times(nd, found, fill=wants_fill(options, path))
        streams: list[Stream] = []
        facts: list[Mapping[str, Any]] = []
        for stage, name in enumerate(_names(nd)):
            files = [[_file(nd, found.get((stage, w, t)), w) for t in range(times)] for w in range(nd.counts[1])]
            for waves in _alike(files):
                called = "_".join((name, *(nd.waves[w].name for w in waves))) if len(waves) < len(files) else name
                stream, stated, told = _image(nd, called, [files[w] for w in waves], waves)
                streams.append(stream)
                facts.append(stated)
                problems += told
        return ImageSource(
            format=self.name, path=path, files=(path, *(found[p] for p in sorted(found) if p[2] < times)),
            streams=tuple(streams), facts=_facts(nd, streams, facts), needs=needs_of(streams, path),
            problems=tuple(dict.fromkeys(problems)), axes_stated=True,
        )  # fmt: skip


def _times(nd: Nd, found: Mapping[tuple[int, int, int], Path], *, fill: bool) -> tuple[int, list[str]]:
    """Give the number of time points of which there are files: less than planned if the acquisition was stopped."""
    stages, waves, planned = nd.counts
    times = max((t for _, _, t in found), default=-1) + 1
    for t in range(max(1, times)):
        for stage in range(stages):
            for wave in range(waves):
                some = any((stage, wave, other) in found for other in range(times))  # else there is no size
                if (stage, wave, t) not in found and not (fill and some):
                    missing = stages * waves * max(1, times) - len(found)
                    more = f", and {missing - 1} more of its {stages * waves * max(1, times)} files" * (missing > 1)
                    raise BadSource(
                        f"is missing{more}", file=nd.path.with_name(nd.stem(stage, wave, t)),
                        place=f"stage {stage + 1}, wavelength {wave + 1}, time {t + 1} of {nd.path.name}",
                        remedy=_AGAIN + ("; --missing fill has 0 there" if some else ""),
                    )  # fmt: skip
    if times < planned:
        return times, [f"{nd.path.name} states {planned} time points, and there are files of {times}: it was stopped"]
    return times, []


def _names(nd: Nd) -> list[str]:
    """Names of the images, which differ: those of the stages where there are some."""
    if not nd.stages:
        return [nd.path.stem]
    names = [name or f"s{i}" for i, name in enumerate(nd.stages, start=1)]
    return [f"{n}_s{i}" if names.count(n) > 1 else n for i, n in enumerate(names, start=1)]


def _file(nd: Nd, path: Path | None, wave: int) -> _File | None:
    """Read the directories of a file, if there is one."""
    if path is None:
        return None
    header = require_whole(read_header(path))
    stk = read_stk(header)
    pages = planes_in(header, stk)
    wanted = nd.planes(wave)
    if len(pages) != wanted if wanted is not None else len(pages) not in (1, nd.depths):
        said = f"{nd.depths} (NZSteps)" if nd.depths else "1, without a series in depth"
        raise BadSource(
            f"holds {len(pages)} planes, and {nd.path.name} states {said}", file=path,
            place=f"wavelength {wave + 1}", remedy=f"{_AGAIN}; {_ALONE}",
        )  # fmt: skip
    return _File(path, pages, stated_by(header, stk), stk)


def _alike(files: Sequence[Sequence[_File | None]]) -> list[list[int]]:
    """Group wavelengths that can be channels of one image: as many planes, of one size and type."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for wave, along in enumerate(files):
        first = next(file for file in along if file is not None)
        groups.setdefault((len(first.pages), first.pages[0].form), []).append(wave)
    return list(groups.values())


def _image(
    nd: Nd, name: str, files: Sequence[Sequence[_File | None]], waves: Sequence[int]
) -> tuple[Stream, Mapping[str, Any], list[str]]:  # fmt: skip
    """Make the image of some wavelengths of a stage, and what its files state."""
    first = next(file for along in files for file in along if file is not None)
    depths, times, page = len(first.pages), len(files[0]), first.pages[0]
    lengths = (times, len(files), depths)
    in_order = [along[t] for t in range(times) for along in files]
    planes = {
        i * depths: (file.path, file.plane) for i, file in enumerate(in_order) if file is not None and file.plane
    }  # fmt: skip
    refs: list[tuple[Path, Page] | None] = []
    for file in in_order:
        refs += [(file.path, p) for p in file.pages] if file else [None] * depths
    array, axes = arrange(tiff_pages(refs, leading=(math.prod(lengths),)), "tcz", lengths)
    scale: dict[str, float] = {}
    channels = tuple(Channel(nd.waves[w].name if nd.waves else "") for w in waves)
    origin, stated, problems = {}, {}, []
    if 0 in planes:
        image = metamorph_image(planes, "tcz", lengths, (page.height, page.width))
        scale, origin, stated = dict(image.scale), dict(image.origin), dict(image.facts)
        channels = tuple(replace(c, name=o.name or c.name) for o, c in zip(channels, image.channels, strict=True))
        problems = [f"{name}: {p}" for p in image.problems]
        if image.stage:
            stated["stage_position_um"] = dict(image.stage)
    elif planes:  # when and where the image begins is not known
        scale = dict(planes[min(planes)][1].scale)
    stk = first.stk
    if step := nd.step_um or (stk.depth_step if stk and stk.axis == "z" else None):
        scale["z"] = step
    stream = Stream(
        name=name, kind="Image", axes=axes, array=array, origin=origin,
        scale={a: v for a, v in scale.items() if a in axes},
        channels=channels if page.samples == 1 and any(c.name for c in channels) else (),
        filled=filled_of(array, axes),
    )  # fmt: skip
    return stream, stated, [*problems, *told_of_filled(stream)]


def _facts(nd: Nd, streams: Sequence[Stream], stated: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Facts of the acquisition, and those on which all images agree."""
    times = [s["session_start_time"] for s in stated if "session_start_time" in s]
    facts: dict[str, Any] = {
        "session_start_time": moment(nd.start) or min(times, default=None), "description": nd.description,
        "pixel_size_um": common_sizes(streams),
        "stage_position_um": {
            stream.name: said["stage_position_um"]
            for stream, said in zip(streams, stated, strict=True) if "stage_position_um" in said
        },
    }  # fmt: skip
    for key in ("objective", "software", "exposure_time_s"):
        values = {said.get(key) for said in stated}
        facts[key] = values.pop() if len(values) == 1 else None
    steps = {stream.scale.get("t") for stream in streams}
    facts["time_increment_s"] = steps.pop() if len(steps) == 1 else None
    if len({s.channels for s in streams}) == 1:
        facts["channel_names"] = tuple(c.name for c in streams[0].channels)
    return {key: value for key, value in facts.items() if value}


converter = MetaMorph()
