"""Plans of conversions, down to the chunks of every large array. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dandify.runs.build import first_planes, nwbfile_of
from dandify.runs.plan import ImagePlan, SessionPlan

if TYPE_CHECKING:
    from dandify.nwb.plan import NWBPlan
    from dandify.nwb.request import StreamChoice


@dataclass(frozen=True)
class PlannedImage:
    """An image as it would be written, at its full resolution."""

    path: Path
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str

    @property
    def raw_bytes(self) -> int:
        """Size of the values."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class PlannedOutputs:
    """What would be written of one session.

    Attributes
    ----------
    nwb
        The NWB file; None where there is none, or it is left as it is.
    images
        The images.
    """

    nwb: NWBPlan | None
    images: tuple[PlannedImage, ...]


def plan_outputs(
    plan: SessionPlan, skipped: Collection[Path], *, stub: bool, backend: str, compression: str | None, memory: str,
    workers: int | None, chunks: Mapping[str, Sequence[int]] | None, transforms: Mapping[str, Sequence[str]],
    streams: Mapping[str, StreamChoice],
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
    return PlannedOutputs(nwb, tuple(_planned(i, stub=stub) for i in plan.images if i.output not in skipped))


def _planned(image: ImagePlan, *, stub: bool) -> PlannedImage:
    stream = first_planes(image.stream) if stub else image.stream
    assert stream.array is not None  # an image has pixels
    return PlannedImage(image.output, tuple(stream.axes), tuple(stream.shape), stream.array.dtype.str)
