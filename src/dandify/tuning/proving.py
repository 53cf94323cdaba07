"""What exact transforms cost: all values are read once to prove that they hold, and changed when they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from dandify.sources.arrays import MemoryArray
from dandify.store.region import Blocks
from dandify.store.survey import survey_source
from dandify.store.transforms import DIVIDE, RECENTRE, Transform
from dandify.tuning.timing import Timing, time_call

_REPEATS = 3
_USUAL_MBS: Mapping[str, tuple[float, float]] = MappingProxyType({DIVIDE: (740, 970), RECENTRE: (9500, 4500)})
"""Megabytes a second of one core that are proved and changed: 16 bits, on two cores of an AMD EPYC. Both prove in one
reading."""


def usual_s(names: Sequence[str]) -> float:
    """Seconds of one core that transforms usually take for a megabyte: by these, choices are made."""
    proving = max((1 / _USUAL_MBS[name][0] for name in names), default=0.0)
    return proving + sum(1 / _USUAL_MBS[name][1] for name in names)


def core_s(values: NDArray[Any], transforms: Sequence[Transform]) -> float:
    """Measure the same; nothing else may be at work in this process.

    Parameters
    ----------
    values
        Before the transforms.
    transforms
        That hold for them.
    """
    if not transforms:
        return 0.0

    def both() -> None:
        survey_source(MemoryArray(values), name="sample", workers=1)
        changed = values
        for transform in transforms:
            changed = transform.apply(changed)

    both()  # what is compiled and loaded at first counts for nothing
    return median(time_call(both).cpu_s for _ in range(_REPEATS)) / (values.nbytes / 1e6)


def proof(source: Blocks, *, workers: int) -> Timing:
    """Time the reading that proves transforms, on all cores; the median of several."""
    found = [time_call(lambda: survey_source(source, name="sample", workers=workers)) for _ in range(_REPEATS)]
    return Timing(median(t.wall_s for t in found), median(t.cpu_s for t in found))
