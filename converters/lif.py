"""Leica LIF: each image of the project, and each tile of a mosaic, is an image."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Converter, Source, Stream, Verdict
from dandify.sources.microscopy import ImageSource, common_sizes, needs_of
from dandify.sources.stated import nanometres
from dandify.sources.strided import StridedFile
from dandify.sources.vendors.lif_image import Dimension, LifImage, StoredChannel, images_of, lifetimes_of
from dandify.sources.vendors.lif_layout import AGAIN, Lif, is_lif, read_lif

_AXES = {1: "x", 2: "y", 3: "z", 4: "t"}
_SPECTRAL = {5: "emission", 9: "excitation"}  # become channels
# OME-Zarr has no axis for the others: each of their values is an image. Tiles are last.
_APART = {6: "rotation", 7: "slice", 8: "slice", 11: "loop", 10: "tile"}


class LeicaLif(Converter):
    """Leica LIF."""

    name = "lif"
    title = "Leica LIF"
    patterns = ("*.lif",)
    looks_like = "a .lif file, which holds the images of a LAS AF or LAS X project"
    becomes = "an OME-Zarr image for each image in it, and for each tile of a mosaic"

    def identify(self, path: Path) -> Verdict:
        """Look at the first record."""
        if not path.is_file():
            return Verdict(False, "no file")
        try:
            with path.open("rb") as file:
                yes = is_lif(file.read(64))
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        return Verdict(yes, "begins with the XML of LIF" if yes else "does not begin with the XML of LIF")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the XML, and where the blocks lie."""
        path = Path(os.path.abspath(path))
        if options:
            raise BadRequest(f"a LIF has no option {', '.join(options)}", file=path)
        lif = read_lif(path)
        try:
            images = list(images_of(lif.root))
        except ValueError as error:
            raise BadSource(str(error), file=path, place="metadata") from None
        streams: list[Stream] = []
        stages: dict[str, Mapping[str, float]] = {}
        problems = [f"The lifetimes (FLIM) in {name} are not converted." for name in lifetimes_of(lif.root)]
        for image in images:
            if not image.block_bytes:
                problems.append(f"The image {image.name} has no pixels in this file.")
                continue
            for stream, stage in _streams(path, lif, image):
                name = _free(stream.name or path.stem, {s.name for s in streams})
                streams.append(replace(stream, name=name))
                if stage:
                    stages[name] = stage
        if not streams:
            raise BadSource("holds no image" if not images else "holds no pixels", file=path)
        facts = _facts([i for i in images if i.block_bytes], streams)
        if stages:
            facts["stage_position_um"] = stages
        return ImageSource(
            format=self.name, path=path, files=(path,), streams=tuple(streams), facts=facts,
            needs=needs_of(streams, path), problems=tuple(problems), axes_stated=True,
        )  # fmt: skip


def _streams(path: Path, lif: Lif, image: LifImage) -> Iterator[tuple[Stream, Mapping[str, float]]]:
    """Yield the streams of an image, and where the stage was."""
    if 1 not in image.dimensions:
        raise BadSource("has an image without a dimension along x", file=path, place=image.name)
    if unknown := [n for n in image.dimensions if n not in _AXES and n not in _SPECTRAL and n not in _APART]:
        raise BadSource(f"has dimensions of unknown number: {unknown}", file=path, place=image.name)
    apart = [image.dimensions[n] for n in _APART if n in image.dimensions and image.dimensions[n].length > 1]
    kinds = list(dict.fromkeys(c.dtype for c in image.channels))
    for at in product(*(range(d.length) for d in apart)):
        parts = [f"{_APART[d.number]} {i:0{len(str(d.length - 1))}d}" for d, i in zip(apart, at, strict=True)]
        shift = sum(d.step_bytes * i for d, i in zip(apart, at, strict=True))
        tile = at[-1] if apart and apart[-1].number == 10 else 0
        place = image.tiles[tile] if tile < len(image.tiles) else image.stage
        tiled = len(image.tiles) > 1 and image.tiles_along_axes
        for dtype in kinds:
            name = " ".join([image.name, *parts, *([dtype.name] if len(kinds) > 1 else [])]).strip()
            stored = [c for c in image.channels if c.dtype == dtype]
            yield _stream(path, lif, image, name, stored, shift, place if tiled else {}), place


def _stream(
    path: Path, lif: Lif, image: LifImage, name: str, stored: list[StoredChannel], shift: int,
    origin: Mapping[str, float],
) -> Stream:  # fmt: skip
    places: dict[str, Sequence[int]] = {"y": (0,)}
    for number, axis in _AXES.items():
        if number in image.dimensions:
            dimension = image.dimensions[number]
            step = max(1, dimension.step_bytes)
            places[axis] = range(0, dimension.length * step, step)
    starts, channels = _channels(image, stored)
    places["c"] = tuple(starts)
    axes = tuple(a for a in "tczyx" if a in "yx" or len(places.get(a, ())) > 1)
    shift += starts[0] if len(starts) == 1 else 0
    block, size = lif.blocks.get(image.block, (lif.size, image.block_bytes))
    array = StridedFile(
        path, name or path.stem, stored[0].dtype, axes, tuple(len(places[a]) for a in axes),
        tuple(places[a] for a in axes), block + shift,
    )  # fmt: skip
    if array.end > block + size:
        raise BadSource(
            f"describes an image whose values end {array.end - block} bytes into its block, which has {size}",
            file=path, place=array.label, remedy=AGAIN,
        )  # fmt: skip
    if array.end > lif.size:
        raise BadSource(
            f"is cut off: the image ends at byte {array.end}, the file at {lif.size}", file=path,
            place=_first_missing(array, lif.size), remedy=AGAIN,
        )  # fmt: skip
    return Stream(
        name=name, kind="Image", axes=axes, array=array, scale={a: v for a, v in image.scale.items() if a in axes},
        origin={a: v for a, v in origin.items() if a in axes},
        channels=channels if any(c != Channel("") for c in channels) else (),
    )  # fmt: skip


def _channels(image: LifImage, stored: list[StoredChannel]) -> tuple[list[int], tuple[Channel, ...]]:
    """First bytes and descriptions along the c axis: wavelengths that were stepped through, and channels in each."""
    spectral = [image.dimensions[n] for n in _SPECTRAL if n in image.dimensions and image.dimensions[n].length > 1]
    starts, channels = [], []
    for at in product(*(range(d.length) for d in spectral)):
        for one in stored:
            starts.append(one.start + sum(d.step_bytes * i for d, i in zip(spectral, at, strict=True)))
            channels.append(_at_wavelengths(one.channel, spectral, at))
    return starts, tuple(channels)


def _at_wavelengths(channel: Channel, dimensions: list[Dimension], at: tuple[int, ...]) -> Channel:
    for dimension, i in zip(dimensions, at, strict=True):
        length = nanometres(dimension.origin + i * (dimension.step or math.nan), dimension.unit)
        if length is None:
            continue
        length, kind = float(f"{length:.7g}"), _SPECTRAL[dimension.number]
        words = f"{kind} {length:g} nm" if len(dimensions) > 1 or kind == "excitation" else f"{length:g} nm"
        channel = replace(channel, name=f"{channel.name} {words}".strip())
        if kind == "emission":
            channel = replace(channel, wavelength_nm=length)
        else:
            channel = replace(channel, excitation_nm=length)
    return channel


def _first_missing(array: StridedFile, size: int) -> str:
    """Name the first plane that the file ends before or in."""
    plane = array.places[-2][-1] + array.places[-1][-1] + array.stored.itemsize
    for index in product(*(range(n) for n in array.shape[:-2])):
        if array.start + sum(p[i] for p, i in zip(array.places, index, strict=False)) + plane > size:
            return array.place(index)
    return array.label


def _facts(images: list[LifImage], streams: list[Stream]) -> dict[str, Any]:
    """Collect what is stated about all images alike, and when the first was begun."""
    facts: dict[str, Any] = {}
    if dates := [i.date for i in images if i.date]:
        facts["session_start_time"] = min(dates)
    for key in ("objective", "device", "software"):
        values = {i.facts.get(key) for i in images}
        if len(values) == 1 and (value := values.pop()):
            facts[key] = value
    if sizes := common_sizes(streams):
        facts["pixel_size_um"] = sizes
    increments = {s.scale.get("t") for s in streams}
    if len(increments) == 1 and (increment := increments.pop()):
        facts["time_increment_s"] = increment
    names = {tuple(c.name for c in s.channels) for s in streams}
    if len(names) == 1 and any(found := names.pop()):
        facts["channel_names"] = found
    return facts


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with a number if another image has it."""
    numbered = (f"{name} {i}" for i in count(2))
    return name if name not in taken else next(n for n in numbered if n not in taken)


converter = LeicaLif()
