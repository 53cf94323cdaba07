"""Describes the images of a folder as layers of a viewer: one for each channel, with colour, window and scale."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.ngff.stored import StoredImage, array_of, image_of

OLD_AXES: Final = "tczyx"  # of OME-Zarr 0.1 and 0.2, which do not name theirs
COLOURS: Final = ("ffffff", "00ff00", "ff00ff", "00ffff", "ffff00", "ff0000", "0000ff")  # where a file names none
SHOWN: Final = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32", "bool"})
WINDOW_PERCENT: Final = (0.1, 99.9)  # of the smallest level, where a file gives no window
# Factors to metres and seconds of the units that OME-Zarr 0.4 and 0.5 list and that are used for images.
UNITS: Final = MappingProxyType({
    "angstrom": (1e-10, "m"), "picometer": (1e-12, "m"), "nanometer": (1e-9, "m"), "micrometer": (1e-6, "m"),
    "millimeter": (1e-3, "m"), "centimeter": (1e-2, "m"), "meter": (1.0, "m"), "nanosecond": (1e-9, "s"),
    "microsecond": (1e-6, "s"), "millisecond": (1e-3, "s"), "second": (1.0, "s"), "minute": (60.0, "s"),
    "hour": (3600.0, "s"),
})  # fmt: skip


@dataclass(frozen=True)
class Axis:
    """An axis of an image.

    Attributes
    ----------
    name
        As the file names it.
    length
        At full resolution.
    scale, unit
        Distance of neighbouring values, in ``m``, ``s``, or ``""`` for steps.
    channels
        It counts channels.
    start
        Place of the first value, in steps of the scale.
    """

    name: str
    length: int
    scale: float
    unit: str
    channels: bool = False
    start: float = 0.0


@dataclass(frozen=True)
class Layer:
    """What a viewer shows as one layer.

    Attributes
    ----------
    name
        Of the image and of the channel.
    folder
        Of the image.
    zarr_format
        2 or 3.
    axes
        In the array's order.
    channel
        Number of the channel; None for an image without channels, and for labels.
    colour
        ``RRGGBB``.
    window
        Values that are shown black and bright; None where the image says nothing, and is empty.
    labels
        The values are numbers of objects.
    visible
        Shown at first.
    colours
        Of objects, ``#RRGGBB`` by their number, as far as the labels state them.
    unseen
        Why Neuroglancer does not show these labels; empty if it does.
    """

    name: str
    folder: Path
    zarr_format: int
    axes: tuple[Axis, ...]
    channel: int | None
    colour: str
    window: tuple[float, float] | None
    labels: bool = False
    visible: bool = True
    colours: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    unseen: str = ""


def layers_of(path: Path) -> tuple[Layer, ...]:
    """Describe every image in a folder, which may itself be one.

    Parameters
    ----------
    path
        An OME-Zarr image, a plate, a collection of images, or a folder that holds such.

    Raises
    ------
    BadSource
        If there is none, or one is damaged.
    """
    images = list(_images(path))
    if not images:
        raise BadSource("no OME-Zarr image in it", file=path, remedy="give the folder of an image: NAME.ome.zarr")
    several = len([i for i in images if not _is_labels(i)]) > 1
    layers: list[Layer] = []
    for image in images:
        try:
            layers.extend(_layers(image, path, several=several, visible=not several or not layers))
        except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
            raise BadSource(
                f"its metadata describe no image: {error!r}", file=image.path, remedy="see dandify validate"
            ) from error
    return tuple(layers)


def _images(path: Path) -> Iterator[StoredImage]:
    """Yield groups with multiscales, without looking into arrays, which may have many files."""
    for folder, inner, files in os.walk(path):
        inner.sort()
        for document in ("zarr.json", ".zattrs"):
            if document not in files:
                continue
            try:
                image = image_of(Path(folder) / document)
            except ValueError as error:
                raise BadSource(str(error), file=Path(folder) / document, remedy="see dandify validate") from error
            if image is not None:
                yield image
                levels = {str(d["path"]).split("/")[0] for m in image.metadata["multiscales"] for d in m["datasets"]}
                inner[:] = [name for name in inner if name not in levels]
        if ".zarray" in files:
            inner.clear()


def _is_labels(image: StoredImage) -> bool:
    return "image-label" in image.metadata or image.path.parent.name == "labels"


def _layers(image: StoredImage, root: Path, *, several: bool, visible: bool) -> Iterator[Layer]:
    first = image.metadata["multiscales"][0]
    datasets = first["datasets"]
    version = 3 if (image.path / "zarr.json").is_file() else 2
    axes, dtype = _axes(image, first, version)
    unseen = "" if dtype in SHOWN else f"{dtype} values, which Neuroglancer does not show"
    title = image.path.name.removesuffix(".ome.zarr").removesuffix(".zarr")
    if several and image.path != root:
        title = image.path.relative_to(root).as_posix().replace(".ome.zarr", "")
    if _is_labels(image):
        yield Layer(
            title, image.path, version, axes, None, "", None, labels=True, visible=visible and not unseen,
            colours=_colours(image.metadata.get("image-label")), unseen=unseen,
        )  # fmt: skip
        return
    if unseen:
        raise BadSource(
            unseen, file=image.path / str(datasets[0]["path"]), remedy=f"write it as one of {', '.join(sorted(SHOWN))}"
        )
    count = next((a.length for a in axes if a.channels), None)
    told = (image.metadata.get("omero") or {}).get("channels") or []
    usual = list(islice(cycle(COLOURS if count in (None, 1) else COLOURS[1:]), count or 1))
    for k in range(count or 1):
        about = told[k] if k < len(told) and isinstance(told[k], dict) else {}
        window = about.get("window") or {}
        if "start" in window and "end" in window:
            limits: tuple[float, float] | None = (float(window["start"]), float(window["end"]))
        else:
            limits = _window(image.path / str(datasets[-1]["path"]), axes, k)
        label = str(about.get("label", ""))
        if not label and count and count > 1:
            label = f"channel {k}"
        yield Layer(
            " ".join(n for n in ((title if several or not label else ""), label) if n), image.path, version, axes,
            None if count is None else k, str(about.get("color") or usual[k])[:6].lower(), limits,
            visible=visible and bool(about.get("active", True)),
        )  # fmt: skip


def _colours(described: Any) -> Mapping[int, str]:
    """Colours of objects; what is none is left out."""
    found = {}
    for one in (described or {}).get("colors") or ():
        value, rgba = one.get("label-value"), one.get("rgba")
        if isinstance(value, int | float) and value == int(value) >= 0 and isinstance(rgba, list) and len(rgba) > 2:
            found[int(value)] = "#" + bytes(int(v) for v in rgba[:3]).hex()
    return MappingProxyType(found)


def _axes(image: StoredImage, multiscale: Mapping[str, Any], version: int) -> tuple[tuple[Axis, ...], str]:
    """Describe the axes; with them, the type of the values."""
    level = image.path / str(multiscale["datasets"][0]["path"])
    array = array_of(level / ("zarr.json" if version == 3 else ".zarray"))
    if array is None:
        raise ValueError(f"{level.name} is no array")
    described = multiscale.get("axes") or OLD_AXES[-len(array.shape) :]
    axes = [a if isinstance(a, dict) else {"name": a} for a in described]
    if len(axes) != len(array.shape):
        raise ValueError(f"{len(axes)} axes for {len(array.shape)} dimensions")
    scale, place = np.ones(len(axes)), np.zeros(len(axes))
    for steps in (multiscale["datasets"][0], multiscale):
        transformations = steps.get("coordinateTransformations") or ()
        larger = _stated(transformations, "scale", np.ones(len(axes)))
        scale, place = scale * larger, place * larger + _stated(transformations, "translation", np.zeros(len(axes)))
    found = []
    for axis, length, step, first in zip(axes, array.shape, scale, place, strict=True):
        factor, unit = UNITS.get(str(axis.get("unit")), (1.0, ""))
        channels = axis.get("type") == "channel" or axis["name"] == "c"
        found.append(
            Axis(
                str(axis["name"]), length, 1.0 if channels else float(step * factor), unit, channels,
                0.0 if channels or not step else float(first / step),
            )
        )  # fmt: skip
    return tuple(found), array.dtype


def _stated(transformations: Sequence[Mapping[str, Any]], kind: str, otherwise: NDArray[np.float64]) -> Any:
    for one in transformations:
        if one.get("type") == kind:
            return np.array(one[kind], float)
    return otherwise


def _window(level: Path, axes: Sequence[Axis], channel: int) -> tuple[float, float] | None:
    """Window of a channel by the smallest level of its image."""
    from dandify.ngff.verify import open_level

    try:
        store = open_level(level, threads=1)
    except ValueError:  # metadata that TensorStore is too strict for; the page may open it all the same
        return None
    index = tuple(channel if a.channels else slice(None) for a in axes)
    values = np.asarray(store[index].read().result()).astype(float)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = (float(v) for v in np.percentile(values, WINDOW_PERCENT))
    return (low, high) if high > low else (low, low + 1)
