"""The size of an image's pixels as BIDS writes it, from OME-Zarr or OME-TIFF; None where the file does not say it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dandify.dandiset.facts import zarr_attributes
from dandify.dandiset.plain import MICROSCOPY
from dandify.errors import DandifyError
from dandify.sources.registry import by_name

_TO_UM: Final = {
    "angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6,
}  # fmt: skip
"""Micrometres of a unit, as OME-Zarr spells them."""


def pixel_size(image: Path) -> dict[str, Any] | None:
    """Return ``{"PixelSize": [x, y, z], "PixelSizeUnits": "um"}``; two numbers of an image of one plane.

    Parameters
    ----------
    image
        A folder (OME-Zarr), or a TIFF file.
    """
    size = _of_zarr(image) if image.is_dir() else _of_tiff(image)
    if size is None or "x" not in size or "y" not in size:
        return None
    return {"PixelSize": [size[axis] for axis in "xyz" if axis in size], "PixelSizeUnits": "um"}


def _of_zarr(image: Path) -> dict[str, float] | None:
    for folder in (image, image / "0"):  # the first series of bioformats2raw is in a group called 0
        attributes = zarr_attributes(folder)
        found = attributes.get("ome", attributes)
        if isinstance(found, dict) and (multiscales := found.get("multiscales")):
            return _of_multiscale(multiscales[0])
    return None


def _of_multiscale(multiscale: Mapping[str, Any]) -> dict[str, float] | None:
    axes = multiscale.get("axes") or []
    scale = [1.0] * len(axes)
    steps = [
        *(multiscale["datasets"][0].get("coordinateTransformations") or []),
        *(multiscale.get("coordinateTransformations") or []),
    ]
    for step in steps:
        if step.get("type") == "scale" and len(step.get("scale", ())) == len(axes):
            scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
    size = {}
    for axis, value in zip(axes, scale, strict=True):
        if isinstance(axis, dict) and axis.get("name") in ("x", "y", "z"):
            if axis.get("unit") not in _TO_UM:
                return None
            size[str(axis["name"])] = _tidy(value * _TO_UM[axis["unit"]])
    return size


def _of_tiff(image: Path) -> dict[str, float] | None:
    if image.suffix.lower() not in MICROSCOPY:
        return None
    try:
        sizes = by_name("ome_tiff").open(image).facts.get("pixel_size_um")
    except DandifyError:
        return None  # damaged, or of another kind: the validators tell
    return {axis: _tidy(value) for axis, value in sizes.items()} if sizes else None


def _tidy(value: float) -> float:
    """Drop the last digits, which converting units makes."""
    return float(f"{value:.12g}")
