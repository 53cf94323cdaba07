"""OME metadata of an image, by the models of yaozarrs: axes and units, scales and translations, channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from dandify.kernels.shrink import Method
from dandify.ngff.levels import AXES, Axes, Level
from dandify.ngff.pyramid import ChannelStatistics
from dandify.sources.contract import Channel

Version = Literal["0.4", "0.5"]
VERSIONS: Final = ("0.4", "0.5")

_TYPES: Final = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_ONE: Final = ("FFFFFF",)  # a single channel is shown in grey
_PALETTE: Final = ("00FFFF", "FF00FF", "FFFF00", "FF0000", "00FF00", "0000FF", "FF8000", "8000FF")
_METHODS: Final = {
    "mean": "mean of the voxels in each window, integers rounded half to even",
    "mode": "most frequent value of each window, the smallest of several",
    "max": "largest value of each window",
    "nearest": "first voxel of each window",
}


def ome_metadata(
    *,
    version: Version,
    name: str,
    axes: Axes,
    levels: Sequence[Level],
    voxel: tuple[float, ...],
    origin: tuple[float, ...] = (0.0,) * 5,
    time_known: bool,
    channels: Sequence[Channel],
    statistics: Sequence[ChannelStatistics],
    creator: str,
    downsample: Method = "mean",
) -> dict[str, Any]:
    """Give the group's metadata: the content of ``.zattrs`` (0.4), or of ``zarr.json`` (0.5).

    Parameters
    ----------
    version
        Of OME-Zarr.
    name
        Of the image.
    axes
        Those that the image has.
    levels
        From the finest.
    voxel
        Distance of neighbouring values of level 0, t c z y x: seconds, 1, micrometres.
    origin
        Place of the first value of level 0, t c z y x, in the same units.
    time_known
        The distance of time points is stated; otherwise the axis has no unit, and counts.
    channels
        Names and colours as far as known, one for each channel.
    statistics
        Of the values of each channel.
    creator
        Version of dandify.
    downsample
        How each level was made of the one above.
    """
    from yaozarrs import v04, v05

    models: Any = v04 if version == "0.4" else v05
    kept = [i for i, axis in enumerate(AXES) if axis in axes]
    datasets = [
        models.Dataset(
            path=str(number),
            coordinateTransformations=[
                models.ScaleTransformation(scale=_of(level.scale(voxel), kept)),
                models.TranslationTransformation(translation=_of(level.translation(voxel, origin, downsample), kept)),
            ],
        )
        for number, level in enumerate(levels)
    ]
    multiscale = models.Multiscale(
        name=name,
        axes=[_axis(models, axis, time_known=time_known) for axis in axes],
        datasets=datasets,
        type=downsample,
        metadata={
            "description": _METHODS[downsample],
            "method": "dandify.ngff.write.write_ome_zarr",
            "version": creator,
            "factors_zyx": [list(level.factors) for level in levels],
        },
    )
    image = models.Image(multiscales=[multiscale], omero=_omero(models, levels[0], channels, statistics))
    described: dict[str, Any] = image.model_dump(mode="json", exclude_none=True)
    described.pop("uri", None)
    described["_creator"] = {"name": "dandify", "version": creator}
    if version == "0.4":
        return described
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": described}}


def _axis(models: Any, name: str, *, time_known: bool) -> Any:
    kind = _TYPES[name]
    if kind == "channel":
        return models.ChannelAxis(name=name)
    if kind == "time":
        return models.TimeAxis(name=name, unit="second") if time_known else models.TimeAxis(name=name)
    return models.SpaceAxis(name=name, unit="micrometer")


def _omero(models: Any, level: Level, channels: Sequence[Channel], statistics: Sequence[ChannelStatistics]) -> Any:
    colors = _ONE if len(channels) == 1 else _PALETTE
    described = []
    for number, (channel, found) in enumerate(zip(channels, statistics, strict=True)):
        described.append({
            "label": channel.name or f"channel {number}",
            "color": (channel.color or colors[number % len(colors)]).lstrip("#").upper(),
            "window": _window(found),
            "active": True,
            "coefficient": 1.0,
            "family": "linear",
            "inverted": False,
        })  # fmt: skip
    return models.Omero.model_validate({
        "channels": described,
        "rdefs": {
            "defaultT": 0, "defaultZ": level.shape[2] // 2, "model": "color" if len(channels) > 1 else "greyscale",
        },
    })  # fmt: skip


def _window(found: ChannelStatistics) -> Mapping[str, float]:
    """Display window; one of no width would make viewers divide by zero."""
    low, high = (0.0, 1.0) if found.low is None or found.high is None else (found.low, found.high)
    start, end = (low, high) if found.start is None or found.end is None else (found.start, found.end)
    high = high if high > low else low + 1.0
    return {"min": low, "max": high, "start": start, "end": end if end > start else high}


def _of(values: Sequence[float], kept: Sequence[int]) -> list[float]:
    return [float(values[i]) for i in kept]
