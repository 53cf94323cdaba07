"""Builds what a session's outputs are made of: its NWBFile in memory, its images, cropped for a trial if need be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dandify.errors import BadRequest
from dandify.runs.plan import ImagePlan, PlannedPlate, SessionPlan
from dandify.sources import Channel, Cropped, Source, Stream

if TYPE_CHECKING:
    from pynwb import NWBFile

    from dandify.ngff.label_values import Labels

STUB_SECONDS = 1.0
STUB_PLANES = 4


def nwbfile_of(plan: SessionPlan, *, stub: bool) -> NWBFile:
    """Build the NWBFile of a session that has one; big arrays stay where they are."""
    from dandify.nwb.defer import stub as crop
    from dandify.nwb.session import build_nwbfile

    assert plan.nwb is not None
    assert plan.start is not None
    nwbfile = build_nwbfile(
        plan.recordings,
        session=plan.metadata.level("session"),
        subject=plan.metadata.level("subject"),
        start=plan.start,
        shifts_s=plan.shifts_s,
        locations=plan.locations,
        external=_external(plan, plan.nwb.parent),
    )
    if stub:
        crop(nwbfile, STUB_SECONDS)
    return nwbfile


def first_planes(stream: Stream) -> Stream:
    """Crop an image to what ``--stub`` converts of it."""
    assert stream.array is not None
    kept = tuple(
        min(n, STUB_PLANES) if axis == "z" else min(n, 1) if axis == "t" else n
        for axis, n in zip(stream.axes, stream.array.shape, strict=True)
    )
    lengths = dict(zip(stream.axes, kept, strict=True))
    filled = tuple(place for place in stream.filled if all(n < lengths[axis] for axis, n in place.items()))
    return replace(stream, array=Cropped(stream.array, kept), shape=kept, filled=filled)


def labels_of(image: ImagePlan, *, stub: bool) -> Mapping[str, Labels]:
    """Give the labels of an image by their names; with ``--stub``, of the planes that it converts."""
    if not stub:
        return image.labels
    from dandify.ngff.label_values import OfWhole

    lengths = dict(zip(image.stream.axes, image.stream.shape, strict=True))
    return {name: OfWhole(path, lengths) for name, path in image.labels.items()}


@contextmanager
def named(source: Source, place: str | None = None) -> Iterator[None]:
    """Let the refusal of an image say of which file it is."""
    try:
        yield
    except BadRequest as error:
        if error.file is None:
            error.file, error.place = str(source.path), error.place or place
        raise


def stated_of(image: ImagePlan) -> dict[str, Any]:
    """Collect what the files state of an image and OME-Zarr has no place for, as JSON values for its manifest.

    Facts of the acquisition, the place of the stage for this image, and the channels with their wavelengths.
    """
    facts = dict(image.source.facts)
    if stages := facts.pop("stage_position_um", None):
        facts["stage_position_um"] = stages.get(image.stream.name)
    channels = _stated_channels(image.stream.channels)
    found = {
        "format": image.source.format, "name": image.stream.name, "facts": facts, "channels": channels,
        "filled_planes": image.stream.filled,
    }  # fmt: skip
    return {k: _plain(v) for k, v in found.items() if v}


def stated_of_plate(plate: PlannedPlate) -> dict[str, Any]:
    """Collect what the files state of a plate, as `stated_of` of an image; the channels if all fields have the same."""
    channels = {stream.channels for stream in plate.fields.values()}
    found = {
        "format": plate.source.format, "facts": dict(plate.source.facts),
        "channels": _stated_channels(channels.pop()) if len(channels) == 1 else [],
        "filled_planes": {place: stream.filled for place, stream in plate.fields.items() if stream.filled},
    }  # fmt: skip
    return {k: _plain(v) for k, v in found.items() if v}


def _stated_channels(channels: Sequence[Channel]) -> list[dict[str, Any]]:
    return [{f.name: value for f in fields(c) if (value := getattr(c, f.name)) not in (None, "")} for c in channels]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, bool | int | float | str) else str(value)


def _external(plan: SessionPlan, folder: Path) -> dict[Path, str]:
    """How the NWB names the videos: relative to itself, absolute where they lie on another drive."""
    names = {}
    for file in (f for s in plan.recordings for stream in s.streams for f in stream.external_files):
        try:
            names[file] = Path(os.path.relpath(file, folder)).as_posix()
        except ValueError:
            names[file] = str(file)
    return names
