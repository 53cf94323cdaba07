"""What the groups of an OME-Zarr say: its images, their axes, sizes, origins and channels; versions 0.1 to 0.5.

Source: the specification at https://ngff.openmicroscopy.org. Axes and sizes are those of version 0.4 and 0.5; 0.3 has
names of axes alone, 0.1 and 0.2 have five axes and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dandify.sources.contract import Channel
from dandify.sources.microscopy import AXES, micrometres, seconds

DOCUMENTS: Final = (".zgroup", ".zattrs", ".zarray", "zarr.json", ".zmetadata")
_DEPTH: Final = 5  # plates have rows, wells, fields
# Names of UDUNITS-2, which the specification lists, where they are not those of OME too.
_UNITS: Final = {
    "angstrom": "å", "microsecond": "us", "millisecond": "ms", "nanosecond": "ns", "day": "d", "picometer": "pm",
}  # fmt: skip


@dataclass(frozen=True)
class ZarrImage:
    """An image as its group describes it.

    Attributes
    ----------
    group, array
        Folders of its group and of the array of full resolution.
    place
        Path of the group below the root, with ``/``; empty for the root.
    name
        As stated; empty where not.
    axes
        Of the array, each out of t c z y x.
    scale, origin
        Micrometres for z y x, seconds for t; absent where there is no unit.
    channels
        As listed; may be another number than the array has.
    """

    group: Path
    array: Path
    place: str
    name: str
    axes: tuple[str, ...]
    scale: Mapping[str, float]
    origin: Mapping[str, float]
    channels: tuple[Channel, ...]


def images_in(root: Path) -> Iterator[ZarrImage]:
    """Yield the images of a tree of groups: one, a collection, the fields of a plate. Label images are passed over.

    Raises
    ------
    ValueError
        If an image's description cannot be used, saying where and why.
    OSError
        If a document cannot be read.
    """
    for folder, place, attributes in _groups(root, "", 0):
        if isinstance(attributes.get("multiscales"), list):
            try:
                yield _image(folder, place, attributes)
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                raise ValueError(f"{place or 'the root'}: its multiscales are damaged: {error!r}") from error


def labels_in(root: Path) -> list[str]:
    """Names of label images beside an image."""
    try:
        return [str(name) for name in _ome(_attributes(root / "labels")).get("labels", [])]
    except (OSError, ValueError, TypeError):
        return []


def describes_images(root: Path) -> str | None:
    """Tell by the root's document what kind of OME-Zarr a folder is; None if it is none."""
    try:
        content = _attributes(root)
    except (OSError, ValueError):
        return None
    ome = _ome(content)
    if isinstance(ome.get("multiscales"), list):
        return "an image"
    if isinstance(ome.get("plate"), dict):
        return "a plate"
    if isinstance(ome.get("well"), dict):
        return "a well"
    if "bioformats2raw.layout" in ome or "bioformats2raw.layout" in content:
        return "a collection of images by bioformats2raw"
    return "a collection of images by SpatialData" if "spatialdata_attrs" in content else None


def stated_version(root: Path) -> str | None:
    """Return the version of OME-Zarr that the root's document states; None if it states none."""
    try:
        version = _ome(_attributes(root)).get("version")
    except (OSError, ValueError):
        return None
    return version if isinstance(version, str) else None


def documents_of(root: Path, images: Sequence[ZarrImage]) -> tuple[Path, ...]:
    """Return the documents that describe images, and the OME-XML that is kept with them."""
    folders = [root, *(f for i in images for f in (i.group, i.array))]
    found = [f / name for f in dict.fromkeys(folders) for name in DOCUMENTS]
    return tuple(f for f in (*found, root / "OME" / "METADATA.ome.xml") if f.is_file())


def _groups(folder: Path, place: str, depth: int) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    if (folder / ".zarray").is_file() or depth > _DEPTH:
        return
    document = _document(folder)
    if document.get("node_type") == "array":
        return
    attributes = _ome(document.get("attributes", document))
    yield folder, place, attributes
    if isinstance(attributes.get("multiscales"), list):
        return
    for child in sorted(folder.iterdir(), key=_numbers):
        if child.is_dir() and child.name not in ("labels", "OME") and not child.name.startswith("."):
            yield from _groups(child, f"{place}/{child.name}".strip("/"), depth + 1)


def _image(group: Path, place: str, attributes: Mapping[str, Any]) -> ZarrImage:
    where = place or "the root"
    first = attributes["multiscales"][0]
    dataset = first["datasets"][0]
    version = str(attributes.get("version") or first.get("version") or "")
    if "axes" not in first and version not in ("", "0.1", "0.2"):
        raise ValueError(f"{where}: an image without axes, version {version}; dandify reads 0.1 to 0.5")
    axes, units = _axes(first.get("axes", [*AXES]), where)
    scale, origin = _placed([*dataset.get("coordinateTransformations", []),
                             *first.get("coordinateTransformations", [])], len(axes))  # fmt: skip
    sizes: dict[str, float] = {}
    places: dict[str, float] = {}
    for axis, unit, size, start in zip(axes, units, scale, origin, strict=True):
        convert = seconds if axis == "t" else micrometres
        factor = convert(1.0, _UNITS.get(unit, unit)) if axis != "c" and unit else None
        if factor is None:
            continue
        if size is not None and size > 0:
            sizes[axis] = float(f"{size * factor:.12g}")
        if axis != "t" and start:
            places[axis] = float(f"{start * factor:.12g}")
    return ZarrImage(
        group, group.joinpath(*str(dataset["path"]).split("/")), place, str(first.get("name") or "").strip("/"), axes,
        sizes, places, _channels(attributes.get("omero")),
    )  # fmt: skip


def _axes(stated: Sequence[Any], where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Letters of the axes, by their type where it is stated, and their units."""
    letters, units = [], []
    for axis in stated:
        name, kind, unit = (axis, None, "") if isinstance(axis, str) else (
            axis["name"], axis.get("type"), axis.get("unit") or ""
        )  # fmt: skip
        letter = {"time": "t", "channel": "c"}.get(kind or "", str(name).lower())
        if letter not in AXES or letter in letters or (kind == "space" and letter not in "zyx"):
            raise ValueError(f"{where}: the axis {name!r} is none of t c z y x, or there twice")
        letters.append(letter)
        units.append(str(unit))
    if not {"y", "x"} <= set(letters):
        raise ValueError(f"{where}: the axes {' '.join(letters)} without y and x")
    return tuple(letters), tuple(units)


def _placed(transformations: Sequence[Mapping[str, Any]], count: int) -> tuple[list[float | None], list[float]]:
    """Join transformations, those of the dataset first: distance of neighbours, None if not stated; first place."""
    scale: list[float] | None = None
    origin = [0.0] * count
    for step in transformations:
        if step.get("type") == "scale":
            factors = [float(v) for v in step["scale"]]
            scale = [a * b for a, b in zip(scale or [1.0] * count, factors, strict=True)]
            origin = [a * b for a, b in zip(origin, factors, strict=True)]
        elif step.get("type") == "translation":
            origin = [a + float(b) for a, b in zip(origin, step["translation"], strict=True)]
    return [*scale] if scale else [None] * count, origin


def _channels(omero: Any) -> tuple[Channel, ...]:
    listed = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(listed, list) or not all(isinstance(c, dict) for c in listed):
        return ()
    out = []
    for channel in listed:
        color = str(channel.get("color") or "").lstrip("#").upper()
        named = channel.get("label", "")
        out.append(
            Channel(str(named), color=color if len(color) == 6 and set(color) <= set("0123456789ABCDEF") else None)
        )
    return tuple(out)


def _ome(attributes: Any) -> Mapping[str, Any]:
    """Return what is said in the attributes of a group, in 0.5 below ``ome``."""
    if not isinstance(attributes, dict):
        return {}
    inner = attributes.get("ome")
    return inner if isinstance(inner, dict) else attributes


def _attributes(folder: Path) -> Mapping[str, Any]:
    document = _document(folder)
    found = document.get("attributes", document)
    return found if isinstance(found, dict) else {}


def _document(folder: Path) -> Mapping[str, Any]:
    for name in ("zarr.json", ".zattrs"):
        if (folder / name).is_file():
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"{name} of {folder.name} is no JSON object")
            return content
    return {}


def _numbers(path: Path) -> tuple[int, str]:
    """Sort key of folders: by number, then by name."""
    return (int(path.name), "") if path.name.isdecimal() else (-1, path.name)
