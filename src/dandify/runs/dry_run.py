"""Plans of conversions, down to the chunks of every large array. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dandify.project.config import StreamOutput
from dandify.runs.build import first_planes, labels_of, named, nwbfile_of
from dandify.runs.choices import image_choice
from dandify.runs.plan import ImagePlan, PlannedPlate, SessionPlan
from dandify.sources.microscopy import told_of_filled

if TYPE_CHECKING:
    from dandify.ngff.plan import OMEZarrPlan
    from dandify.ngff.plate import OMEZarrPlatePlan
    from dandify.nwb.plan import NWBPlan
    from dandify.nwb.request import StreamChoice


@dataclass(frozen=True)
class PlannedOutputs:
    """What would be written of one session.

    Attributes
    ----------
    nwb
        The NWB file; None where there is none, or it is left as it is.
    images
        The images.
    plates
        Multi-well plates.
    """

    nwb: NWBPlan | None
    images: tuple[OMEZarrPlan, ...]
    plates: tuple[OMEZarrPlatePlan, ...] = ()


def plan_outputs(
    plan: SessionPlan, skipped: Collection[Path], *, stub: bool, backend: str, ngff: str, compression: str | None,
    memory: str, workers: int | None, chunks: Mapping[str, Sequence[int]] | None,
    transforms: Mapping[str, Sequence[str]], streams: Mapping[str, StreamChoice], tuned: Mapping[str, StreamOutput],
) -> PlannedOutputs:  # fmt: skip
    """Plan the outputs of a session, but those that are skipped.

    Raises
    ------
    DandifyError
        As writing them would.
    """
    from dandify.nwb.plan import plan_nwb

    nwb = None
    if plan.nwb and plan.nwb not in skipped:
        nwb = plan_nwb(
            nwbfile_of(plan, stub=stub), plan.nwb, backend=backend, compression=compression, memory=memory,
            workers=workers, chunks=chunks, transforms=transforms, streams=streams,
        )  # fmt: skip
    images = (
        _planned(i, stub=stub, version=ngff, memory=memory, workers=workers, **image_choice(*image_key(i), tuned))
        for i in plan.images if i.output not in skipped
    )  # fmt: skip
    plates = (
        _planned_plate(p, stub=stub, version=ngff, memory=memory, workers=workers, **image_choice(*plate_key(p), tuned))
        for p in plan.plates if p.output not in skipped
    )  # fmt: skip
    return PlannedOutputs(nwb, tuple(images), tuple(plates))


def image_key(image: ImagePlan) -> tuple[str, int]:
    """Give the name by which dandify.yaml knows an image, and the number of its axes."""
    return image.stream.name, len(image.stream.shape)


def plate_key(plate: PlannedPlate) -> tuple[str, int]:
    """Give the same of a plate."""
    return plate.source.path.name, len(next(iter(plate.fields.values())).shape)


def _planned_plate(plate: PlannedPlate, *, stub: bool, **options: Any) -> OMEZarrPlatePlan:
    from dandify.ngff.plate import plan_ome_zarr_plate

    fields = {place: first_planes(stream) if stub else stream for place, stream in plate.fields.items()}
    with named(plate.source):
        return plan_ome_zarr_plate(fields, plate.output, **options)


def _planned(image: ImagePlan, *, stub: bool, **options: Any) -> OMEZarrPlan:
    from dandify.ngff.plan import plan_ome_zarr

    stream = first_planes(image.stream) if stub else image.stream
    with named(image.source, image.stream.name):
        plan = plan_ome_zarr(
            stream, image.output, sources=image.source.files, labels=labels_of(image, stub=stub), **options
        )  # fmt: skip
    return replace(plan, notes=(*plan.notes, *told_of_filled(stream)))
