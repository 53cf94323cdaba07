"""The size of an output is estimated from its first chunks where the raw size would not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dandify.errors import DandifyError
from dandify.sources.contract import Array
from dandify.store.encode import ShuffleGzip
from dandify.store.engine import estimate_bytes
from dandify.store.pipeline import Job
from dandify.store.plan import plan_dataset
from dandify.store.region import Region, extent
from dandify.store.space import free_bytes, require_room


class Endless(Array):
    """More samples than any disk holds: all zero, or all different."""

    shape = (10**10, 384)
    dtype = np.dtype("<i2")
    block = (1000, 384)

    def __init__(self, noise: bool) -> None:
        self._noise = noise

    def read(self, region: Region) -> NDArray[np.int16]:
        shape = extent(region)
        if self._noise:
            return np.random.default_rng(0).integers(-(2**15), 2**15, shape, np.int16)
        return np.zeros(shape, np.int16)


def job_of(array: Array) -> Job:
    plan = plan_dataset(array.shape, array.dtype, memory_bytes=50_000_000, workers=1, block=array.block)
    return Job("x/data", "/x", array, plan, ShuffleGzip())


def test_incompressible_data_do_not_fit(tmp_path: Path) -> None:
    jobs = [job_of(Endless(noise=True))]
    estimate = estimate_bytes(tmp_path, jobs)
    assert estimate == pytest.approx(jobs[0].plan.raw_bytes, rel=0.01)
    with pytest.raises(DandifyError, match="no room: up to"):
        require_room(tmp_path, estimate)


def test_compressible_data_are_estimated_by_their_first_chunks(tmp_path: Path) -> None:
    jobs = [job_of(Endless(noise=False))]
    assert free_bytes(tmp_path) < jobs[0].plan.raw_bytes
    assert estimate_bytes(tmp_path, jobs) < jobs[0].plan.raw_bytes / 50
