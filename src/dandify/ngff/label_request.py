"""Labels that are to be written: their values, their image, their colours and properties, checked before any work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

import numpy as np

from dandify.errors import BadRequest
from dandify.kernels.shrink import Method
from dandify.ngff.label_values import Labels, OfWhole, describe_labels
from dandify.ngff.labelled import LABELS, LabelledImage, labelled, listed_labels, require_name
from dandify.ngff.levels import plan_pyramid
from dandify.ngff.metadata import label_metadata, ome_metadata
from dandify.ngff.pyramid import ChannelStatistics
from dandify.ngff.request import (
    ImageRequest,
    array_of_level,
    require_compression,
    require_shards,
    wanted_chunks,
    worker_count,
)
from dandify.store.manifest import versions
from dandify.store.memory import parse_bytes
from dandify.store.zarr_image import BloscCodec

METHODS: Final = ("mode", "max", "nearest")
LabelMethod = Literal["mode", "max", "nearest"]
T = TypeVar("T")
_NOTHING: Final = ChannelStatistics(None, None, None, None)


@dataclass(frozen=True, kw_only=True)
class LabelsRequest(ImageRequest):
    """Labels and how they are to be written.

    Attributes
    ----------
    labelled
        Their image.
    colors, properties
        By the number of an object.
    given
        The path by which they were given, absolute; None where they were given as values.
    """

    labelled: LabelledImage
    colors: Mapping[int, tuple[int, int, int, int]]
    properties: Mapping[int, Mapping[str, Any]]
    given: Path | None = None

    @property
    def statistics(self) -> bool:
        """Numbers of objects have no display window."""
        return False

    @property
    def place(self) -> str:
        """Of their group within the image."""
        return f"{LABELS}/{self.title}/"

    def scale(self, number: int) -> list[float]:
        """Give that of the image's level."""
        return list(self.labelled.placed(number, "scale"))

    def translation(self, number: int) -> list[float]:
        """Give that of the image's level."""
        return list(self.labelled.placed(number, "translation"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of them."""
        if self.image.dtype != np.int64:
            return ()
        return (
            f"labels {self.title} are int64, which Neuroglancer does not show: labels.astype('uint32') would be shown",
        )

    def metadata(self) -> dict[str, Any]:
        """Give the content of their group's document."""
        return label_metadata(
            version=self.version, name=self.title, axes=self.labelled.axis_documents,
            transformations=self.labelled.transformations, whole=self.labelled.whole, levels=self.plan.levels,
            colors=self.colors, properties=self.properties, creator=versions()["dandify"], downsample=self.downsample,
        )  # fmt: skip


def request_labels(
    labels: Labels,
    image: LabelledImage,
    name: str,
    *,
    axes: Sequence[str] | str | None = None,
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | None = None,
    downsample: str | None = None,
    compression: str = "blosc-zstd",
    memory: str | int = "1GB",
    workers: int | None = None,
    colors: Mapping[int, str | Sequence[int]] | None = None,
    properties: Mapping[int, Mapping[str, Any]] | None = None,
) -> LabelsRequest:
    """Complete a request as `dandify.write_ome_zarr_labels` takes it, or refuse it.

    Raises
    ------
    BadRequest
        If something cannot be as asked.
    BadSource, dandify.errors.UnknownFormat
        If the labels are given by a path that cannot be opened.
    """
    require_name(name)
    require_compression(compression)
    values, files = describe_labels(labels, image, name, axes=axes)
    method = _method(downsample, image)
    threads = worker_count(workers)
    plan = plan_pyramid(
        values.shape, values.dtype, values.voxel, count=len(image.shapes), chunks=wanted_chunks(chunks, values),
        memory_bytes=parse_bytes(memory), workers=threads, block=values.block,
        shared=values.shared, like=image.shapes,
    )  # fmt: skip
    given = labels.labels if isinstance(labels, OfWhole) else labels
    above = len(image.path.relative_to(asset_of(image.path)).parts) + 2
    wanted = require_shards(shards, values, plan, image.version)
    codec = BloscCodec.named(compression, values.dtype.itemsize)
    arrays = tuple(
        array_of_level(plan, n, values, image.version, codec, wanted, above) for n in range(len(plan.levels))
    )
    return LabelsRequest(
        values, name, image.version, method, compression, plan, arrays, threads, files, above, labelled=image,
        colors={k: _rgba(k, v) for k, v in _by_number(colors, "colour")},
        properties={k: _json_values(k, v) for k, v in _by_number(properties, "properties")},
        given=Path(os.path.abspath(given)) if isinstance(given, Path | str) else None,
    )  # fmt: skip


def labelled_of(request: ImageRequest, path: Path) -> LabelledImage:
    """Give an image that is yet to be written as one that labels belong to."""
    content = ome_metadata(
        version=request.version, name=request.title, axes=request.image.axes, levels=request.plan.levels,
        voxel=request.image.voxel, origin=request.image.origin, time_known=request.image.time_known,
        channels=request.image.channels, statistics=[_NOTHING] * len(request.image.channels),
        creator=versions()["dandify"], downsample=request.downsample,
    )  # fmt: skip
    ome = content if request.version == "0.4" else content["attributes"]["ome"]
    return labelled(ome, [a.shape for a in request.arrays], path, request.version)


def asset_of(path: Path) -> Path:
    """Return the outermost Zarr folder in which an image lies, which is what DANDI keeps as one; or the image's."""
    return next((p for p in reversed([path, *path.parents]) if p.name.endswith(".zarr")), path)


def taken(image: Path, name: str) -> str | None:
    """Name of labels that are there already and that some file systems would take for this one."""
    folder = image / LABELS
    there = {p.name for p in folder.iterdir() if p.is_dir()} if folder.is_dir() else set()
    return next((n for n in sorted(there | set(listed_labels(image))) if n.lower() == name.lower()), None)


def _method(asked: str | None, image: LabelledImage) -> Method:
    """Take the way of downsampling whose levels lie where those of the image are said to lie."""
    first = image.method == "nearest"
    method = asked or ("nearest" if first else "mode")
    if method not in METHODS:
        raise BadRequest(
            f"labels cannot be downsampled by {asked!r}: it would make numbers of objects that are not there",
            remedy=f"one of {', '.join(METHODS)}",
        )
    moved = [image.placed(n, "translation") for n in range(len(image.shapes))]
    if len(set(moved)) > 1 and method == "nearest":
        raise BadRequest(
            "the image's levels lie in the middle of the voxels that they are made of, and the first of them does not",
            file=image.path, remedy="downsample='mode', or 'max'",
        )  # fmt: skip
    if first and len(moved) > 1 and method != "nearest":
        raise BadRequest(
            f"the image's levels are the first voxel of each window, and labels made by {method} would lie elsewhere",
            file=image.path, remedy="downsample='nearest'",
        )  # fmt: skip
    return cast("Method", method)


def _by_number(described: Mapping[int, T] | None, what: str) -> Iterator[tuple[int, T]]:
    """Yield what is said of objects in the order of their numbers; refuse what is no whole number."""
    for value in described or {}:
        if not isinstance(value, int | np.integer):
            raise BadRequest(f"{what} of label {value!r}", remedy="name objects by whole numbers: 7")
    for value, said in sorted((described or {}).items(), key=lambda item: item[0]):
        yield int(value), said


def _json_values(value: int, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Give the properties of an object as JSON has them: numbers of NumPy, as of scikit-image's regionprops, too."""
    try:
        found = {str(key): one.item() if isinstance(one, np.generic) else one for key, one in stated.items()}
        json.dumps(found, allow_nan=False)
    except (AttributeError, TypeError, ValueError) as error:
        raise BadRequest(
            f"properties of label {value} that JSON cannot hold: {error}",
            remedy="names and plain values: {1: {'class': 'neuron', 'area_um2': 80.5}}",
        ) from error
    return found


def _rgba(value: int, color: str | Sequence[int]) -> tuple[int, int, int, int]:
    """Read a colour: six or eight hex digits, or three or four whole numbers up to 255, and no shares of 1."""
    try:
        numbers = [*bytes.fromhex(color.removeprefix("#"))] if isinstance(color, str) else [*map(index, color)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (3, 4) or not all(0 <= n <= 255 for n in numbers):
        raise BadRequest(
            f"colour {color!r} of label {value}", remedy="six or eight hex digits: 00FF00; or numbers: (0, 255, 0, 255)"
        )
    return cast("tuple[int, int, int, int]", (*numbers, 255)[:4])
