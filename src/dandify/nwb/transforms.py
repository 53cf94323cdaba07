"""Applies exact transforms to series of an NWBFile, whose conversion and offset keep the physical values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

import numpy as np
from hdmf.build import DatasetBuilder, GroupBuilder
from hdmf.data_utils import DataIO

from dandify.errors import BadRequest
from dandify.nwb.defer import Bulk
from dandify.nwb.structure import groups
from dandify.sources.transformed import Transformed
from dandify.store.survey import after, choose_divide, choose_recentre, survey_source
from dandify.store.transforms import DIVIDE, RECENTRE, TRANSFORMS, Transform, transformable

Asked = Mapping[str, Sequence[str]]
"""Names of transforms by the name, path or pattern of a series: ``{"ElectricalSeries": ("divide", "recentre")}``."""

# Series whose type says that their integers are no measured values.
_CODES = MappingProxyType(
    {
        "IndexSeries": "its values are indices of images",
        "IntervalSeries": "its values mark the starts and stops of intervals",
        "AnnotationSeries": "its values are texts",
    }
)
_NO_UNIT = frozenset({"", "n.a.", "n.a", "n/a", "na", "none", "unknown", "not specified"})


@dataclass(frozen=True)
class Transforming:
    """A dataset as it is to be written, and what was done to it.

    Attributes
    ----------
    bulk
        With values transformed.
    details
        For the manifest: ``transforms`` that were applied, and why others were not.
    """

    bulk: Bulk
    details: Mapping[str, Any] = field(default_factory=dict)


def require_known(asked: Asked) -> None:
    """Refuse transforms that do not exist.

    Raises
    ------
    BadRequest
        Naming the first.
    """
    for pattern, names in asked.items():
        for name in (names,) if isinstance(names, str) else names:
            if name not in TRANSFORMS:
                raise BadRequest(
                    f"no transform {name!r}, asked for {pattern!r}", remedy=f"one of {', '.join(TRANSFORMS)}"
                )


def possible_transforms(root: GroupBuilder, bulk: Bulk) -> tuple[str, ...]:
    """Name the transforms that a dataset could hold, whether or not they change anything."""
    if bulk.builder.name != "data":
        return ()
    return tuple(name for name in TRANSFORMS if _refusal(root, bulk, (name,)) is None)


def transform_bulk(
    root: GroupBuilder, found: Sequence[Bulk], asked: Asked, *, workers: int
) -> tuple[Transforming, ...]:
    """Transform the series that were asked for, and change their conversion and offset in the tree.

    Every value of these is read once, before anything is written: what is applied is proved to be exact.

    Parameters
    ----------
    root
        What hdmf is about to write.
    found
        The datasets that the engine will fill.
    asked
        See `Asked`. A series that is named and cannot be transformed is an error; one that only a pattern with ``*``
        matches is left as it is.
    workers
        Threads that read.

    Raises
    ------
    BadRequest
        If a series that is named is not there or cannot hold the transforms.
    dandify.errors.BadSource
        If it cannot be read.
    """
    wanted: dict[str, set[str]] = {}
    refused: dict[str, str] = {}
    for pattern, names in asked.items():
        matched = [bulk for bulk in found if _matches(bulk, pattern)]
        if not matched and not _is_pattern(pattern):
            raise BadRequest(
                f"no series {pattern!r} that is large enough to be worth a transform",
                remedy=f"there are {', '.join(sorted({_series(b).name for b in found})) or 'none'}",
            )
        data = [bulk for bulk in matched if bulk.builder.name == "data"]
        if matched and not data and not _is_pattern(pattern):
            raise _cannot(matched[0], "it is no series: nothing holds the conversion and the offset of its columns")
        for bulk in data:
            reason = _refusal(root, bulk, names)
            if reason is None:
                wanted.setdefault(bulk.place, set()).update((names,) if isinstance(names, str) else names)
            elif _is_pattern(pattern):
                refused.setdefault(bulk.place, reason)
            else:
                raise _cannot(bulk, reason)
    out = []
    for bulk in found:
        if bulk.place in wanted:
            out.append(_transformed(root, bulk, wanted[bulk.place], workers))
        elif bulk.place in refused:
            out.append(Transforming(bulk, {"transforms": [], "transforms_left_out": {"all": refused[bulk.place]}}))
        else:
            out.append(Transforming(bulk))
    return tuple(out)


def _transformed(root: GroupBuilder, bulk: Bulk, names: set[str], workers: int) -> Transforming:
    gain = _common_gain(root, bulk.builder)
    found = survey_source(bulk.array, name=bulk.name, workers=workers, factor_only=RECENTRE not in names)
    chosen: list[Transform] = []
    left_out: dict[str, str] = {}
    if DIVIDE in names:
        divide = choose_divide(found, movable=gain is not None)
        found = after(found, divide)
        if divide is None:
            left_out[DIVIDE] = "only 1 divides all values" if found.factor else "all values are the same"
        else:
            chosen.append(divide)
    if RECENTRE in names:
        recentre = choose_recentre(found, bulk.dtype)
        if recentre is None:
            left_out[RECENTRE] = "no other origin makes the high bytes say less, for all values within the type"
        else:
            chosen.append(recentre)
    _keep_physical_values(bulk.builder.attributes, chosen, gain)
    details: dict[str, Any] = {"transforms": [transform.record for transform in chosen]}
    if left_out:
        details["transforms_left_out"] = left_out
    if not chosen:
        return Transforming(bulk, details)
    return Transforming(replace(bulk, array=Transformed(bulk.array, tuple(chosen))), details)


def _keep_physical_values(attributes: dict[str, Any], chosen: Sequence[Transform], gain: float | None) -> None:
    """Change conversion and offset so that stored * conversion * gain + offset is what it was.

    The stored integers are exact. The two numbers are rounded to float64: physical values agree with those of the
    untransformed file to a few units in the sixteenth digit of the greatest of them.
    """
    conversion, offset = float(attributes["conversion"]), float(attributes["offset"])
    for transform in chosen:
        if transform.origin:
            assert gain is not None  # refused otherwise
            offset += transform.origin * conversion * gain
        conversion *= transform.factor
    attributes["conversion"], attributes["offset"] = conversion, offset


def _refusal(root: GroupBuilder, bulk: Bulk, names: Sequence[str]) -> str | None:
    """Say why a dataset cannot be transformed; None if it can."""
    kind = _series(bulk).attributes.get("neurodata_type", "")
    attributes = bulk.builder.attributes
    if kind in _CODES:
        return _CODES[kind]
    if "conversion" not in attributes or "offset" not in attributes:
        return "nothing holds its conversion and its offset"
    if not transformable(bulk.dtype) or bulk.dtype != bulk.array.dtype:
        return f"its values are {bulk.dtype}, and only integers of at most 32 bits can be transformed exactly"
    if str(attributes.get("unit", "")).strip().lower() in _NO_UNIT:
        return "its values have no unit: they may be codes, to which conversion and offset do not apply"
    if RECENTRE in names and _common_gain(root, bulk.builder) is None:
        return "its channels have gains of their own (channel_conversion), and one offset cannot move all of them alike"
    return None


def _cannot(bulk: Bulk, reason: str) -> BadRequest:
    return BadRequest(f"cannot be transformed: {reason}", place=bulk.name, remedy="leave it out of the transforms")


def _common_gain(root: GroupBuilder, builder: DatasetBuilder) -> float | None:
    """Channel gain of all series that have this dataset; None if there are different ones."""
    gains: set[float] = set()
    for _, group in groups(root):
        if group is not builder.parent and all(link.builder is not builder for link in group.links.values()):
            continue
        channels = group.datasets.get("channel_conversion")
        data = None if channels is None else channels["data"]
        gains.update([1.0] if data is None else np.asarray(data.data if isinstance(data, DataIO) else data, float))
    return float(gains.pop()) if len(gains) == 1 else None


def _series(bulk: Bulk) -> Any:
    return bulk.builder.parent


def _matches(bulk: Bulk, pattern: str) -> bool:
    group = bulk.place.rsplit("/", 1)[0]
    return any(fnmatchcase(name, pattern) for name in (_series(bulk).name, group, bulk.place))


def _is_pattern(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")
