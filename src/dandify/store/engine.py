"""Fills the arrays of an output that a library has written empty, and proves that they hold the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from dandify.store.encode import gathered
from dandify.store.partial import flush_file
from dandify.store.pipeline import Job, Written, check, fill
from dandify.store.progress import Progress, ProgressCallback
from dandify.store.region import extent
from dandify.store.space import free_bytes
from dandify.store.target import open_container


@dataclass(frozen=True)
class Filled:
    """A dataset that is in the output.

    Attributes
    ----------
    job
        What was written.
    written
        Checksums and size.
    verified
        Every chunk was read back and compared.
    """

    job: Job
    written: Written
    verified: bool


def fill_container(
    path: Path, jobs: Sequence[Job], *, workers: int, verify: bool, progress: ProgressCallback | None = None
) -> tuple[Filled, ...]:
    """Fill and verify all jobs, one after another.

    Parameters
    ----------
    path
        The HDF5 file or Zarr folder, under its partial name.
    jobs
        Its empty datasets.
    workers
        Threads that encode, and decode.
    verify
        Read everything back once the output is on the disk.
    progress
        Called in this thread.
    """
    written = []
    with open_container(path, write=True) as container:
        for job, advance in _counted("write", jobs, progress):
            written.append(fill(job, container.target(job.place), workers=workers, advance=advance))
    if path.is_file():
        flush_file(path)
    if verify:
        with open_container(path, write=False) as container:
            for (job, advance), known in zip(_counted("verify", jobs, progress), written, strict=True):
                check(job, container.target(job.place), known, workers=workers, advance=advance)
    return tuple(Filled(job, known, verify) for job, known in zip(jobs, written, strict=True))


def estimate_bytes(path: Path, jobs: Sequence[Job]) -> int:
    """Estimate the size of the output: the raw size where there is room for that, else from the first chunks.

    Sampling a source costs a read; it is done only where the answer matters.
    """
    raw = sum(job.plan.raw_bytes for job in jobs)
    if free_bytes(path) > raw:
        return raw
    return sum(_sampled(job) for job in jobs)


def _sampled(job: Job) -> int:
    plan = job.plan
    region = next(plan.slabs())
    values = np.asarray(job.source[region]).astype(plan.dtype, copy=False)
    raw = stored = 0
    for _, part in islice(plan.chunks_of(region), 4):
        stored += len(job.encoder.encode(gathered(values[part], plan.chunks), plan.dtype.itemsize))
        raw += int(np.prod(extent(part), dtype=object)) * plan.dtype.itemsize
    return int(plan.raw_bytes * stored / raw)


def _counted(
    stage: str, jobs: Sequence[Job], progress: ProgressCallback | None
) -> list[tuple[Job, Callable[[int], None]]]:
    """Pair each job with what turns its bytes into progress over all jobs."""
    total = sum(job.plan.raw_bytes for job in jobs)
    done = 0

    def counter(job: Job) -> Callable[[int], None]:
        def advance(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(Progress(stage, job.name, done, total))

        return advance

    return [(job, counter(job)) for job in jobs]
