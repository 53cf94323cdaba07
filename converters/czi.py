"""Zeiss CZI: each scene, each tile of a mosaic, and each view is an image."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Converter, Source, Stream, Verdict
from dandify.sources.microscopy import ImageSource, common_sizes, kept_axes, needs_of
from dandify.sources.stated import colours_of_pixels, regular_step, times_of
from dandify.sources.vendors.czi_layout import MAGIC, Entry, data_of, read_czi
from dandify.sources.vendors.czi_metadata import CziMetadata, parse_metadata, stage_of
from dandify.sources.vendors.czi_subblocks import COMPRESSIONS, JPEG, PIXEL_TYPES, Subblocks

# Dimensions that OME-Zarr has no axis for: each of their values is an image. Tiles are last: see `_tiles`.
_APART = {"S": "scene", "V": "view", "R": "rotation", "I": "illumination", "B": "block", "H": "phase", "M": "tile"}
_AGAIN = "copy the file again from the microscope's computer"
_SAVE = "open it in ZEN and save it without compression, or with zstd or JPEG XR"


class _Key(NamedTuple):
    """What the planes of one image have in common: their places along `_APART`, and their form."""

    at: tuple[int, ...]
    height: int
    width: int
    pixel_type: int

    @property
    def scene(self) -> int:
        return self.at[0]


class Czi(Converter):
    """Zeiss CZI."""

    name = "czi"
    title = "Zeiss CZI"
    patterns = ("*.czi",)
    looks_like = "a .czi file of ZEN, Lightsheet, Airyscan or slide scanner"
    becomes = "an OME-Zarr image for each scene, and for each tile of a mosaic, at its place"

    def identify(self, path: Path) -> Verdict:
        """Look at the name of the first segment."""
        if not path.is_file():
            return Verdict(False, "no file")
        try:
            with path.open("rb") as file:
                yes = file.read(16).rstrip(b"\0") == MAGIC
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        return Verdict(yes, "begins with ZISRAWFILE" if yes else "does not begin with ZISRAWFILE")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the directory and the XML; of the planes only the first of each image, for the place of the stage."""
        path = Path(os.path.abspath(path))
        if options:
            raise BadRequest(f"a CZI has no option {', '.join(options)}", file=path)
        czi = read_czi(path)
        try:
            stated = parse_metadata(czi.xml)
        except ValueError as error:
            raise BadSource(str(error), file=path, place="metadata") from None
        images = _images(czi.entries, path)
        if "t" not in stated.scale and len(czi.times) == len({e.at("T") for e in czi.entries}):
            stated = stated.with_increment(regular_step(czi.times))
        names = _names(list(images), path, stated.scenes)
        _require_whole(images, names, path)
        streams = tuple(_stream(path, k, names[k], planes, stated, len(images) > 1) for k, planes in images.items())
        facts = {**stated.facts, **_common(streams), **_times(czi.times, images, streams)}
        if exposures := _exposures(images, stated):
            facts["exposure_time_s"] = exposures
        if stages := _stages(path, images, names, stated):
            facts["stage_position_um"] = stages
        return ImageSource(
            format=self.name, path=path, files=(path,), streams=streams, facts=facts, needs=needs_of(streams, path),
            problems=tuple(_problems(images, unfinished=czi.unfinished)), axes_stated=True,
        )  # fmt: skip


def _images(entries: Iterable[Entry], path: Path) -> dict[_Key, list[Entry]]:
    """Sort the subblocks into images, in the order of their places."""
    found: dict[_Key, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[_key(entry, path)].append(entry)
    tiled: dict[_Key, list[Entry]] = {}
    for key, planes in sorted(found.items()):
        for tile, own in _tiles(planes):
            at = key.at if tile is None else (*key.at[:-1], tile)
            tiled[key._replace(at=at)] = sorted(own, key=_plane)
    return tiled


def _key(entry: Entry, path: Path) -> _Key:
    place = f"subblock at byte {entry.position}"
    for letter in ("X", "Y"):
        if letter not in entry.dimensions or entry.dimensions[letter].size < 1:
            raise BadSource(f"has a plane without a length along {letter}", file=path, place=place, remedy=_AGAIN)
    if any(e.size > 1 for letter, e in entry.dimensions.items() if letter not in "XYM"):
        raise BadSource("has a subblock of several planes", file=path, place=place, remedy=_SAVE)
    kind = PIXEL_TYPES.get(entry.pixel_type)
    if kind is None or kind.dtype is None:
        name = f"number {entry.pixel_type}" if kind is None else kind.name
        raise BadSource(
            f"has pixels of type {name}, which OME-Zarr has no type for", file=path, place=place,
            remedy="convert them to a real type in ZEN, and save",
        )  # fmt: skip
    compression = COMPRESSIONS.get(entry.compression, f"number {entry.compression}")
    if entry.compression not in COMPRESSIONS or (entry.compression == JPEG and kind.samples > 1):
        raise BadSource(f"has planes of {kind.name} in compression {compression}", file=path, place=place, remedy=_SAVE)
    x, y = entry.dimensions["X"], entry.dimensions["Y"]
    return _Key(tuple(entry.at(letter) for letter in _APART), y.size, x.size, entry.pixel_type)


def _plane(entry: Entry) -> tuple[int, int, int]:
    return entry.at("T"), entry.at("C"), entry.at("Z")


def _tiles(planes: list[Entry]) -> list[tuple[int | None, list[Entry]]]:
    """Part the planes of an image by their place in the pixels of the file, if several lie on each other without."""
    if len({_plane(e) for e in planes}) == len(planes):
        return [(None, planes)]
    places: dict[tuple[int, int], list[Entry]] = defaultdict(list)
    for entry in planes:
        places[entry.at("Y"), entry.at("X")].append(entry)
    return [(i, places[place]) for i, place in enumerate(sorted(places))] if len(places) > 1 else [(None, planes)]


def _names(keys: list[_Key], path: Path, scenes: Mapping[int, str]) -> dict[_Key, str]:
    """Name every image by what sets it apart from the others."""
    if len(keys) == 1:
        return {keys[0]: path.stem}
    named = [scenes.get(s, "") for s in {k.scene for k in keys}]
    own = all(named) and len(set(named)) == len(named)
    tiles = Counter(at[:-1] for at in {k.at for k in keys})
    names = {}
    for key in keys:
        parts = []
        for i, (letter, word) in enumerate(_APART.items()):
            values = {k.at[i] for k in keys}
            if len(values) < 2 or (letter == "M" and tiles[key.at[:-1]] < 2):
                continue
            number = f"{key.at[i]:0{len(str(max(values)))}d}"
            parts.append(scenes[key.scene] if letter == "S" and own else f"{word} {number}")
        names[key] = " ".join(parts)
    for key in keys:  # planes of other forms at the same places: cameras with other binning, colours beside grey
        twins = [k for k in keys if k.at == key.at]
        if len(twins) > 1:
            form = [f"{key.width}x{key.height}"] if len({k[1:3] for k in twins}) > 1 else []
            kinds = [PIXEL_TYPES[key.pixel_type].name] if len({k.pixel_type for k in twins}) > 1 else []
            names[key] = " ".join([names[key], *form, *kinds]).strip()
    return names


def _require_whole(images: Mapping[_Key, list[Entry]], names: Mapping[_Key, str], path: Path) -> None:
    """Refuse a file that ends before its planes do, or that lacks one. Subblocks follow each other: one is read."""
    size = path.stat().st_size
    last, key = max(((e, k) for k, planes in images.items() for e in planes), key=lambda found: found[0].position)
    for image, planes in images.items():
        t, c, z = (sorted(set(values)) for values in zip(*map(_plane, planes), strict=True))
        wanted = len(t) * len(c) * len(z)
        present = Counter(map(_plane, planes))
        if double := next((p for p, n in present.items() if n > 1), None):
            raise BadSource(
                f"has two planes t={double[0]} c={double[1]} z={double[2]}", file=path, place=names[image],
                remedy="open it in ZEN and save it",
            )  # fmt: skip
        if missing := next((p for p in product(t, c, z) if p not in present), None):
            raise BadSource(
                f"has {len(planes)} of {wanted} planes; the first that is missing is t={missing[0]} "
                f"c={missing[1]} z={missing[2]}", file=path, place=names[image],
                remedy="a recording that was stopped ends like this; save the part that is complete from ZEN",
            )  # fmt: skip
    cut = last.position >= size
    try:
        with path.open("rb", buffering=0) as file:
            data_of(file, last)
    except EOFError:
        cut = True
    except (OSError, ValueError) as error:
        raise BadSource(str(error), file=path, place=names[key], remedy=_AGAIN) from None
    if cut:
        at = " ".join(f"{axis}={i}" for axis, i in zip("tcz", _plane(last), strict=True))
        raise BadSource(
            f"is cut off: the file ends at byte {size}, in or before the plane that begins at {last.position}",
            file=path, place=f"{names[key]}, plane {at}", remedy=_AGAIN,
        )  # fmt: skip


def _stream(
    path: Path, key: _Key, name: str, planes: list[Entry], stated: CziMetadata, several: bool
) -> Stream:  # fmt: skip
    t, c, z = ({p[i] for p in map(_plane, planes)} for i in range(3))
    samples = PIXEL_TYPES[key.pixel_type].samples
    axes, leading, channel_axis = kept_axes({"t": len(t), "c": len(c), "z": len(z)}, samples)
    array = Subblocks(path, name, tuple(planes), axes, leading, key.height, key.width, key.pixel_type, channel_axis)
    channels = tuple(stated.channels.get(i, Channel("")) for i in sorted(c))
    if samples > 1:
        channels = colours_of_pixels(samples, channels)
    all_axes = (*axes, "y", "x")
    origin = {}
    for axis in "yx" if several else "":
        places = {e.at(axis.upper()) for e in planes}
        if len(places) == 1 and axis in stated.scale:
            origin[axis] = float(f"{places.pop() * stated.scale[axis]:.12g}")
    return Stream(
        name=name, kind="Image", axes=all_axes, array=array,
        scale={a: v for a, v in stated.scale.items() if a in all_axes}, origin=origin,
        channels=channels if any(c != Channel("") for c in channels) else (),
    )  # fmt: skip


def _common(streams: tuple[Stream, ...]) -> dict[str, Any]:
    """Facts on which all images agree."""
    facts: dict[str, Any] = {}
    if sizes := common_sizes(streams):
        facts["pixel_size_um"] = sizes
    names = {tuple(c.name for c in s.channels) for s in streams}
    if len(names) == 1 and any(found := names.pop()):
        facts["channel_names"] = found
    return facts


def _exposures(images: Mapping[_Key, list[Entry]], stated: CziMetadata) -> tuple[float, ...]:
    """Exposure of each channel, if it is stated of all, and all images have the same."""
    found = {
        tuple(stated.exposures_s.get(c) for c in sorted({e.at("C") for e in planes})) for planes in images.values()
    }
    exposures = found.pop() if len(found) == 1 else ()
    known = tuple(e for e in exposures if e is not None)
    return known if len(known) == len(exposures) else ()


def _times(times: tuple[float, ...], images: Mapping[_Key, list[Entry]], streams: tuple[Stream, ...]) -> dict[str, Any]:
    """Give the times of the time points where their distances differ: a scale has no place for them."""
    count = len({e.at("T") for planes in images.values() for e in planes})
    if len(times) != count or any("t" in s.scale for s in streams):
        return {}
    return times_of(times)


def _stages(
    path: Path, images: Mapping[_Key, list[Entry]], names: Mapping[_Key, str], stated: CziMetadata
) -> dict[str, Mapping[str, float]]:
    """Where the stage was for each image: by its first plane, or by its scene if that is one image."""
    scenes = Counter(k.scene for k in images)
    found: dict[str, Mapping[str, float]] = {}
    with path.open("rb", buffering=0) as file:
        for key, planes in images.items():
            try:
                data = data_of(file, planes[0])
            except (EOFError, ValueError) as error:
                raise BadSource(
                    str(error) or "ends in a subblock", file=path, place=f"{names[key]}, subblock at byte "
                    f"{planes[0].position}", remedy=_AGAIN,
                ) from None  # fmt: skip
            file.seek(data.xml)
            of_scene = stated.stages.get(key.scene, {}) if scenes[key.scene] == 1 else {}
            if place := stage_of(file.read(data.xml_size)) or of_scene:
                found[names[key]] = place
    return found


def _problems(images: Iterable[_Key], *, unfinished: bool) -> list[str]:
    found = []
    if unfinished:
        found.append("The file says that it was being changed when it was closed.")
    tiles = Counter(at[:-1] for at in {k.at for k in images})
    if mosaics := [n for n in tiles.values() if n > 1]:
        found.append(
            f"{len(mosaics)} mosaic(s) of {sum(mosaics)} tiles: each tile becomes an image at its place. For one "
            "image, stitch them in ZEN and save."
        )
    return found


converter = Czi()
