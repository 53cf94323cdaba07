"""Fills the arrays of an output that a library has written empty, and proves that they hold the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast, get_args

import numpy as np

from dandify.errors import BadRequest
from dandify.store.flush import flushed_beside, flushed_meanwhile
from dandify.store.groups import gather, groups_of
from dandify.store.pipeline import Job, Written, check, fill
from dandify.store.progress import Passed, Progress, ProgressCallback
from dandify.store.resume import Attempt
from dandify.store.space import free_bytes
from dandify.store.target import open_container

Verify = Literal["full", "sample", "none"]
SAMPLED = 16  # one chunk of so many is looked at by ``sample``
_EVERY = MappingProxyType({"full": 1, "sample": SAMPLED, "none": 0})


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
        Every chunk was decoded, compared with its source, and read back.
    """

    job: Job
    written: Written
    verified: bool


def fill_container(
    path: Path, jobs: Sequence[Job], *, workers: int, attempt: Attempt, verify: Verify,
    progress: ProgressCallback | None = None,
) -> tuple[Written, ...]:  # fmt: skip
    """Fill the arrays of all jobs, one after another, and put them on the disk.

    Parameters
    ----------
    path
        The HDF5 file or Zarr folder, under its partial name.
    jobs
        Its empty datasets.
    workers
        Threads that encode.
    attempt
        Gives the chunks that a stopped run has finished, and is told of those of this run.
    verify
        ``full``: every chunk is decoded and compared with what was read; ``sample``: one of `SAMPLED`; ``none``.
    progress
        Called in this thread.
    """
    written = []
    with open_container(path, write=True, flusher=attempt.flusher) as container, flushed_meanwhile(path):
        for job, advance in _written(jobs, progress):
            target, earlier = container.target(job.place), attempt.earlier(job.place)
            written.append(fill(job, target, workers=workers, advance=advance, earlier=earlier, every=_EVERY[verify]))
    attempt.resumed = sum(w.resumed for w in written)
    attempt.changed = sum(w.changed for w in written)
    attempt.filled()
    return tuple(written)


def check_container(
    path: Path, jobs: Sequence[Job], written: Sequence[Written], *, workers: int, verify: Verify,
    progress: ProgressCallback | None = None,
) -> tuple[Filled, ...]:  # fmt: skip
    """Read back what `fill_container` wrote, and compare it with what that has decoded.

    Parameters
    ----------
    path, jobs, written
        What was written, and what is known of it.
    workers
        Threads that read.
    verify
        As of `fill_container`: which chunks are read.
    progress
        Called in this thread.
    """
    if every := _EVERY[verify]:
        with open_container(path, write=False) as container, flushed_beside(path):
            for (job, advance), known in zip(_verified(jobs, progress), written, strict=True):
                check(job, container.target(job.place), known, workers=workers, advance=advance, every=every)
    return tuple(Filled(job, known, verify == "full") for job, known in zip(jobs, written, strict=True))


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
    for group in islice(groups_of(plan, region), 4):
        chunks = np.empty((group.count, plan.chunk_bytes), np.uint8)
        gather(values, group, plan.chunks, chunks)
        stored += sum(len(job.encoder.encode(chunk, plan.dtype.itemsize)) for chunk in chunks)
        raw += chunks.nbytes
    return int(plan.raw_bytes * stored / raw)


def _written(jobs: Sequence[Job], progress: ProgressCallback | None) -> Iterator[tuple[Job, Callable[[Passed], None]]]:
    """Pair each job with what turns its bytes into progress over all jobs."""
    total = sum(job.plan.raw_bytes for job in jobs)
    read = encoded = stored = 0
    for job in jobs:

        def advance(passed: Passed, name: str = job.name) -> None:
            nonlocal read, encoded, stored
            read, encoded, stored = read + passed.read, encoded + passed.encoded, stored + passed.stored
            if progress is not None:
                progress(Progress("write", name, encoded, total, read, encoded, stored))

        yield job, advance


def _verified(jobs: Sequence[Job], progress: ProgressCallback | None) -> Iterator[tuple[Job, Callable[[int], None]]]:
    """Pair each job with what turns its bytes into progress over all jobs."""
    total = sum(job.plan.raw_bytes for job in jobs)
    done = 0
    for job in jobs:

        def advance(count: int, name: str = job.name) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(Progress("verify", name, done, total))

        yield job, advance


def verify_mode(asked: bool | str) -> Verify:
    """Give the extent of verification by its name.

    Raises
    ------
    BadRequest
        If there is none of that name.
    """
    mode = {True: "full", False: "none"}.get(asked, asked) if isinstance(asked, bool) else asked
    if mode not in get_args(Verify):
        raise BadRequest(f"no verification {asked!r}", remedy=f"one of {', '.join(get_args(Verify))}")
    return cast("Verify", mode)
