"""OME metadata of an image, by the models of yaozarrs: axes and units, scales and translations, channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from dandify.errors import BadRequest
from dandify.kernels.shrink import Method
from dandify.ngff.levels import AXES, Axes, Level
from dandify.ngff.pyramid import ChannelStatistics
from dandify.sources.contract import Channel

if TYPE_CHECKING:
    from pydantic import ValidationError

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
        metadata=_made("dandify.ngff.write.write_ome_zarr", creator, downsample, levels),
    )
    image = models.Image(multiscales=[multiscale], omero=_omero(models, levels[0], channels, statistics))
    return _document(version, image, creator)


def label_metadata(
    *,
    version: Version,
    name: str,
    axes: Sequence[Mapping[str, Any]],
    transformations: Sequence[Sequence[Mapping[str, Any]]],
    whole: Sequence[Mapping[str, Any]],
    levels: Sequence[Level],
    colors: Mapping[int, Sequence[int]],
    properties: Mapping[int, Mapping[str, Any]],
    creator: str,
    downsample: Method,
) -> dict[str, Any]:
    """Give the metadata of labels, as `ome_metadata` does of an image: with ``image-label``.

    Parameters
    ----------
    version, name, levels, creator, downsample
        As of `ome_metadata`.
    axes, transformations, whole
        Those of the labelled image, without its channels; the transformations of each level, and of all of them.
    colors
        Red, green, blue and opacity, 0 to 255, by the number of an object.
    properties
        Of objects, by their number.

    Raises
    ------
    BadRequest
        If the specification does not take what was given.
    """
    from pydantic import ValidationError
    from yaozarrs import v04, v05

    models: Any = v04 if version == "0.4" else v05
    multiscale = {
        "name": name, "axes": list(axes), "type": downsample,
        "datasets": [
            {"path": str(number), "coordinateTransformations": list(placed)}
            for number, placed in enumerate(transformations)
        ],
        "metadata": _made("dandify.ngff.labels.write_ome_zarr_labels", creator, downsample, levels),
    }  # fmt: skip
    if whole:
        multiscale["coordinateTransformations"] = list(whole)
    said: dict[str, Any] = {"version": version, "source": {"image": "../../"}}
    if colors:
        said["colors"] = [{"label-value": value, "rgba": list(color)} for value, color in colors.items()]
    if properties:
        said["properties"] = [{**stated, "label-value": value} for value, stated in properties.items()]
    try:
        image = models.LabelImage.model_validate({"multiscales": [multiscale], "image-label": said})
    except ValidationError as error:
        raise _refused(version, f"the metadata of labels {name}", error, "mend those of their image") from error
    content = _document(version, image, creator)
    ome = content if version == "0.4" else content["attributes"]["ome"]
    ome["image-label"] = said  # models turn numbers of objects into fractions, and leave out what they do not know
    return content


def plate_document(version: Version, name: str, wells: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Give the metadata of a plate, as `ome_metadata` does of an image.

    Parameters
    ----------
    version, name
        As of `ome_metadata`.
    wells
        Fields of each, by ``ROW/COLUMN``.

    Raises
    ------
    BadRequest
        If the specification does not take a name.
    """
    from pydantic import ValidationError
    from yaozarrs import v04, v05

    models: Any = v04 if version == "0.4" else v05
    places = [well.split("/") for well in wells]
    rows, columns = (sorted({place[i] for place in places}, key=in_order) for i in (0, 1))
    described: dict[str, Any] = {
        "name": name, "rows": [{"name": r} for r in rows], "columns": [{"name": c} for c in columns],
        "field_count": max(map(len, wells.values())),
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
            for row, column in places
        ],
    }  # fmt: skip
    if version == "0.4":
        described["version"] = version
    try:
        models.Plate.model_validate({"plate": described})
    except ValidationError as error:
        raise _refused(version, "this plate", error, "rows and columns are letters and digits: A, 03") from error
    return _group(version, {"plate": described})


def well_document(version: Version, fields: Sequence[str]) -> dict[str, Any]:
    """Give the metadata of a well, which name its fields."""
    well: dict[str, Any] = {"images": [{"path": field} for field in fields]}
    return _group(version, {"well": {**well, "version": version} if version == "0.4" else well})


def row_document(version: Version) -> dict[str, Any]:
    """Give the document of a group that says nothing but that it is one."""
    return {} if version == "0.4" else {"zarr_format": 3, "node_type": "group", "attributes": {}}


def in_order(name: str) -> tuple[int, int, str]:
    """Order of rows, columns and fields: numbers by their size, before letters; AA behind Z."""
    return (0, int(name), name) if name.isdigit() else (1, len(name), name)


def labels_document(version: Version, names: Sequence[str]) -> dict[str, Any]:
    """Give the content of the document that lists labels: ``labels/zarr.json``, or ``labels/.zattrs``."""
    return _group(version, {"labels": list(names)})


def _refused(version: str, what: str, error: ValidationError, remedy: str) -> BadRequest:
    lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return BadRequest(f"OME-Zarr {version} does not take {what}: {lines}", remedy=remedy)


def _group(version: Version, ome: Mapping[str, Any]) -> dict[str, Any]:
    if version == "0.4":
        return dict(ome)
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": version, **ome}}}


def _made(method: str, creator: str, downsample: Method, levels: Sequence[Level]) -> dict[str, Any]:
    return {
        "description": _METHODS[downsample], "method": method, "version": creator,
        "factors_zyx": [list(level.factors) for level in levels],
    }  # fmt: skip


def _document(version: Version, image: Any, creator: str) -> dict[str, Any]:
    described: dict[str, Any] = image.model_dump(mode="json", exclude_none=True, by_alias=True)
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
