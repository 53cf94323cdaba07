"""Checks of a pyramid's metadata against its arrays: types, scales, translations, channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from dandify.ngff.problems import Problem
from dandify.ngff.stored import StoredArray, StoredImage

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_NEAR: Final = 0.1  # of a voxel of the finest level: translations that differ by less are the same


def axis_names(multiscale: Mapping[str, Any]) -> list[str]:
    """Names of the axes; old versions give nothing but names."""
    axes = multiscale.get("axes")
    return [str(a.get("name") if isinstance(a, dict) else a) for a in axes] if isinstance(axes, list) else []


def transformed(dataset: Any, kind: str) -> list[float] | None:
    """Values of a level's ``scale`` or ``translation``; None where there is none, or no list of numbers."""
    transformations = dataset.get("coordinateTransformations") if isinstance(dataset, dict) else None
    for transformation in transformations if isinstance(transformations, list) else ():
        if isinstance(transformation, dict) and transformation.get("type") == kind:
            values = transformation.get(kind)
            if isinstance(values, list) and all(map(_is_number, values)):
                return [float(v) for v in values]
    return None


def check_geometry(
    image: StoredImage, multiscale: Mapping[str, Any], datasets: Sequence[Any], levels: Sequence[StoredArray]
) -> Iterator[Problem]:
    """Yield what is wrong with the levels of an image, by its metadata and those of its arrays."""
    yield from _numbers(image, datasets)
    yield from _types(levels)
    yield from _order(image, multiscale, levels)
    yield from _scales(image, multiscale, datasets, levels)
    yield from _translations(image, multiscale, datasets)
    if multiscale is image.metadata["multiscales"][0]:
        yield from _channels(image, multiscale, levels[0])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(image: StoredImage, datasets: Sequence[Any]) -> Iterator[Problem]:
    """Find texts and other values in scales and translations, which yaozarrs reads as the numbers they spell."""
    for dataset in datasets:
        steps = dataset.get("coordinateTransformations")
        for step in (s for s in steps if isinstance(s, dict)) if isinstance(steps, list) else ():
            kind = str(step.get("type"))
            values = step.get(kind)
            wrong = [v for v in values if not _is_number(v)] if isinstance(values, list) else []
            if wrong:
                yield Problem(
                    "ngff.no_number", "ERROR", image.path,
                    f"level {dataset.get('path')}: its {kind} holds {wrong[0]!r}, which is no number",
                    f"write numbers, without quotes: {kind} {values}".replace("'", ""),
                )  # fmt: skip


def _types(levels: Sequence[StoredArray]) -> Iterator[Problem]:
    for level in levels[1:]:
        if level.dtype != levels[0].dtype:
            yield Problem(
                "ngff.type_differs", "ERROR", level.path, f"{level.dtype}, and the first level is {levels[0].dtype}",
                "make the levels again, with one type",
            )  # fmt: skip


def _order(image: StoredImage, multiscale: Mapping[str, Any], levels: Sequence[StoredArray]) -> Iterator[Problem]:
    """Find levels that have more values than the one before: "ordered from largest to smallest" (OME-Zarr 0.4, 0.5)."""
    names = axis_names(multiscale)
    for fine, coarse in pairwise(levels):
        longer = [
            f"{m} values along {a}, and level {fine.path.name} before it has {n}"
            for a, n, m in zip(names, fine.shape, coarse.shape, strict=False) if m > n
        ]  # fmt: skip
        if longer:
            yield Problem(
                "ngff.levels_unordered", "ERROR", image.path, f"level {coarse.path.name} has {longer[0]}",
                "list the levels from the finest to the coarsest",
            )  # fmt: skip
            return


def _scales(
    image: StoredImage, multiscale: Mapping[str, Any], datasets: Sequence[Any], levels: Sequence[StoredArray]
) -> Iterator[Problem]:
    """Hold the ratio of scales against that of lengths; writers round lengths down, up or to the nearest."""
    names = axis_names(multiscale)
    scales = [transformed(d, "scale") for d in datasets]
    for level, scale in zip(levels, scales, strict=True):
        for axis, value in zip(names, scale or (), strict=False):
            if not value > 0:
                yield Problem(
                    "ngff.scale_not_positive", "ERROR", image.path,
                    f"level {level.path.name}, axis {axis}: a scale of {value:g}",
                    "state the distance of neighbouring values, which is more than 0",
                )  # fmt: skip
    for fine, coarse, small, large in zip(levels, levels[1:], scales, scales[1:], strict=False):
        dimensions = len(fine.shape)
        if small is None or large is None or {len(small), len(large), len(coarse.shape), len(names)} != {dimensions}:
            continue  # yaozarrs says so, or an old version without scales
        for axis, n, m, a, b in zip(names, fine.shape, coarse.shape, small, large, strict=True):
            if m and a > 0 and b > 0 and not (m - 1) * b / a * (1 - 1e-6) <= n <= (m + 1) * b / a * (1 + 1e-6):
                yield Problem(
                    "ngff.scale_contradicts_shape", "ERROR", image.path,
                    f"level {coarse.path.name}, axis {axis}: {n} values became {m}, but the scale went from {a:g} to "
                    f"{b:g} ({b / a:g} times)",
                    f"the scale of level {coarse.path.name} should be about {a * n / m:g} on axis {axis}",
                )  # fmt: skip


def _translations(image: StoredImage, multiscale: Mapping[str, Any], datasets: Sequence[Any]) -> Iterator[Problem]:
    """Hold translations against scales: a window of f voxels lies where its first, its middle or its last one does."""
    names = axis_names(multiscale)
    scales = [transformed(d, "scale") for d in datasets]
    starts = [transformed(d, "translation") for d in datasets]
    if not any(starts) or scales[0] is None:
        return
    for number, axis in enumerate(names):
        kinds: dict[str, str] = {}
        for dataset, scale, start in zip(datasets[1:], scales[1:], starts[1:], strict=True):
            lengths = {len(values) for values in (scales[0], scale, starts[0], start) if values is not None}
            if scale is None or lengths != {len(names)}:
                break  # yaozarrs says so
            first, added = scales[0][number], scale[number] - scales[0][number]
            if not first > 0 or not added >= 0.5 * first:  # that a scale is positive is told by `_scales`
                continue
            found = (start[number] if start else 0.0) - (starts[0][number] if starts[0] else 0.0)
            near = _NEAR * first + 1e-3 * scale[number]  # of rounded decimals
            shares = {"first": 0.0, "middle": added / 2, "last": added}
            kind = next((k for k, place in shares.items() if abs(found - place) <= near), None)
            level = str(dataset.get("path"))
            if kind is None:
                yield Problem(
                    "ngff.translation_contradicts", "ERROR", image.path,
                    f"level {level}, axis {axis}: its first voxel is said to lie {found:g} from that of the first "
                    f"level; voxels that are {scale[number] / first:g} times as long lie {added / 2:g} from it",
                    f"the translation of level {level} should be {added / 2:g} more than the first level's, for means",
                )  # fmt: skip
            elif kinds and kind not in kinds.values():
                other, said = next(iter(kinds.items()))
                yield Problem(
                    "ngff.translation_contradicts", "ERROR", image.path,
                    f"level {level}, axis {axis}: by its translation of {found:g} it was made of the {kind} voxel of "
                    f"each window, and level {other} of the {said} one",
                    "state the translation that the downsampling causes, for each level",
                )  # fmt: skip
            else:
                kinds[level] = kind


def _channels(image: StoredImage, multiscale: Mapping[str, Any], level: StoredArray) -> Iterator[Problem]:
    omero = image.metadata.get("omero")
    described = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(described, list):
        return
    names = axis_names(multiscale)
    there = level.shape[names.index("c")] if "c" in names and len(names) == len(level.shape) else 1
    if len(described) != there:
        yield Problem(
            "ngff.channels_differ", "ERROR", image.path,
            f"omero describes {len(described)} channel(s), and the image has {there}",
            "describe each channel, in order",
        )  # fmt: skip
    for number, channel in enumerate(c for c in described if isinstance(c, dict)):
        color = channel.get("color")
        if color is not None and not (isinstance(color, str) and len(color) == 6 and set(color) <= _HEX):
            yield Problem(
                "ngff.colour", "ERROR", image.path, f"omero channel {number}: colour {color!r}",
                "six hexadecimal digits, without #: 00FF00",
            )  # fmt: skip
        window = channel.get("window")
        start, end = (window.get(key) if isinstance(window, dict) else None for key in ("start", "end"))
        if isinstance(start, int | float) and isinstance(end, int | float) and not start < end:
            yield Problem(
                "ngff.window", "WARNING", image.path,
                f"omero channel {number}: a display window from {start:g} to {end:g}, which shows nothing",
                "state a start that is less than the end",
            )  # fmt: skip
