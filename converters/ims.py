"""Imaris: HDF5 with one dataset for each time point and channel, and a pyramid of them, of which level 0 is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dandify.errors import BadRequest, BadSource
from dandify.sources import Converter, Source, Stream, Verdict
from dandify.sources.hdf5_stacks import HDF5Stack, is_hdf5, opened
from dandify.sources.microscopy import ImageSource, common_sizes, needs_of
from dandify.sources.vendors.imaris import ImsImage, images_of, is_imaris


class Ims(Converter):
    """Imaris files."""

    name = "ims"
    title = "Imaris"
    patterns = ("*.ims",)
    looks_like = "NAME.ims, version 5.5 or later"
    becomes = "an OME-Zarr image for each image in it"

    def identify(self, path: Path) -> Verdict:
        """Look for the groups of Imaris in an HDF5 file."""
        if not is_hdf5(path):
            return Verdict(False, "does not begin as HDF5 does (Imaris before 5.5 wrote another format)")
        try:
            with opened(path) as file:
                yes = is_imaris(file)
        except BadSource as error:
            return Verdict(False, error.cause)
        return Verdict(yes, "is HDF5 with Imaris's DataSet" if yes else "is HDF5 without Imaris's DataSet")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read attributes and the shapes of all datasets; no pixels."""
        path = Path(os.path.abspath(path))
        if options:
            raise BadRequest(f"an Imaris file has no option {', '.join(options)}", file=path)
        with opened(path) as file:
            try:
                images = list(images_of(file))
            except ValueError as error:
                raise BadSource(
                    str(error),
                    file=path,
                    remedy="open it in Imaris and save it again; a conversion that stopped ends so",
                ) from None
        if not images:
            raise BadSource("has none of Imaris's images", file=path)
        streams = tuple(_stream(image, i, len(images), path) for i, image in enumerate(images))
        problems = [
            f"{s.name}: a voxel is said to be 1 x 1 x 1 µm, as Imaris says when it knows nothing; check it, and give "
            "pixel_size_um if it is another"
            for s, image in zip(streams, images, strict=True) if image.uncalibrated
        ]  # fmt: skip
        return ImageSource(
            format=self.name, path=path, files=(path,), streams=streams, facts=_facts(images, streams),
            needs=needs_of(streams, path), problems=tuple(problems), axes_stated=True,
        )  # fmt: skip


def _stream(image: ImsImage, number: int, count: int, path: Path) -> Stream:
    leading = [(a, n) for a, n in (("t", image.times), ("c", image.colours)) if n > 1]
    axes = (*(a for a, _ in leading), *("zyx" if image.size[0] > 1 else "yx"))
    array = HDF5Stack(
        path, image.datasets, tuple(n for _, n in leading), image.size, image.dtype, image.chunk
    )  # fmt: skip
    name = image.name or path.stem
    return Stream(
        name=f"{name}_{number}" if count > 1 else name, kind="Image", axes=axes, array=array,
        scale={a: v for a, v in image.scale.items() if a in axes}, channels=image.channels,
        description=image.description or None,
    )  # fmt: skip


def _facts(images: list[ImsImage], streams: tuple[Stream, ...]) -> dict[str, Any]:
    """Return what all images agree on, and the earliest start."""
    facts: dict[str, Any] = {}
    if starts := [i.start for i in images if i.start]:
        facts["session_start_time"] = min(starts)
    stated: tuple[tuple[str, set[Any]], ...] = (
        ("description", {i.description for i in images}),
        ("objective", {i.objective for i in images}),
        ("time_increment_s", {s.scale.get("t") for s in streams}),
        ("channel_names", {tuple(c.name for c in i.channels) for i in images}),
    )
    for key, values in stated:
        if len(values) == 1 and (value := values.pop()):
            facts[key] = value
    if sizes := common_sizes(streams):
        facts["pixel_size_um"] = sizes
    return facts


converter = Ims()
