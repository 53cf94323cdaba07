"""Measures a candidate on all cores: a real file is written as `convert` writes it, and read again by h5py or zarr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from shutil import rmtree
from statistics import median
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dandify.sources.contract import Array
from dandify.store.compression import declared, zarr_codec
from dandify.store.encode import Encoder
from dandify.store.hdf5_read import load_plugins
from dandify.store.pipeline import Job, fill
from dandify.store.plan import plan_dataset
from dandify.store.region import Blocks, Region, grid
from dandify.store.target import HDF5Target, ZarrTarget, hdf5_file
from dandify.tuning.coders import Coder, EngineCoder
from dandify.tuning.reading import Pattern, chunks_touched
from dandify.tuning.trial import require_same

MEMORY_BYTES = 1_000_000_000
_CHUNKS_A_WORKER = 2  # at least: one alone is waited for from its beginning to its end
_TICK_S = 0.05  # of CPU time: a clock of Windows goes on by 16 ms at a time


@dataclass(frozen=True)
class Timing:
    """What a run on all cores took: wall seconds, and CPU seconds of all threads."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class MachineRun:
    """One run on all cores.

    Attributes
    ----------
    timing
        Of reading the values from memory, cutting, encoding in threads, writing (not waiting for the disk).
    raw_bytes
        That were written.
    chunks
        Shape of a chunk, clipped to what was written.
    chunk_s
        Wall time of reading, for each chunk that a pattern touches; by the pattern's name.
    by_engine
        The engine wrote it and a usual reader read it; otherwise it was encoded in threads, and decoded in memory.
    smaller
        Raw and stored bytes of an image's smaller resolutions, where they were written.
    """

    timing: Timing
    raw_bytes: int
    chunks: tuple[int, ...]
    chunk_s: dict[str, float]
    by_engine: bool
    smaller: tuple[int, int] = (0, 0)


def megabytes_a_second(runs: Sequence[tuple[Timing, int]]) -> float:
    """Raw megabytes a second of all cores, out of the timings and raw bytes of several runs.

    CPU seconds are much the same however busy a machine is, and their median counts. How many cores were at work
    meanwhile is told by the run that was disturbed the least: what else a machine has to do only ever makes them fewer.
    """
    if min(timing.cpu_s for timing, _ in runs) < _TICK_S:
        return median(size / 1e6 / max(1e-7, timing.wall_s) for timing, size in runs)
    cpu_s = median(timing.cpu_s / (size / 1e6) for timing, size in runs)
    return 1 / (cpu_s * min(timing.wall_s / timing.cpu_s for timing, _ in runs))


@dataclass(frozen=True, eq=False)
class Repeated(Array):
    """Values, and the same behind them again and again, for a run as long as it must be.

    Parameters
    ----------
    values
        Where a region does not reach over their end, it is read without a copy.
    shape
        Of it; that of the values but for the axis.
    axis
        Along which they are repeated.
    block
        Of the source that they are from.
    """

    values: NDArray[Any]
    shape: tuple[int, ...]
    axis: int
    block: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    def read(self, region: Region) -> NDArray[Any]:
        """View of the values, or a copy where a region reaches over their end."""
        part, there = region[self.axis], self.values.shape[self.axis]
        start, size = part.start % there, part.stop - part.start
        before, behind = region[: self.axis], region[self.axis + 1 :]
        if start + size <= there:
            return self.values[(*before, slice(start, start + size), *behind)]
        rows = np.arange(part.start, part.stop) % there
        found: NDArray[Any] = np.take(self.values[(*before, slice(None), *behind)], rows, self.axis)
        return found


def run_engine(
    coder: EngineCoder, values: NDArray[Any], chunks: tuple[int, ...], patterns: tuple[Pattern, ...], *, rows: int,
    axis: int, block: tuple[int, ...], wanted_bytes: float, backend: str, workers: int, folder: Path,
) -> MachineRun:  # fmt: skip
    """Write a file as long as is wanted, and read it in each way, comparing all bits with the values.

    Parameters
    ----------
    coder
        Of the candidate.
    values
        Windows of the stream, one after another along ``axis``.
    chunks
        Shape of a chunk.
    patterns
        Ways of reading.
    rows
        Length of the stream along ``axis``: the file is no longer.
    axis
        Along which windows are long.
    block
        What the stream's source yields at one go.
    wanted_bytes
        Raw bytes to write and to read, or as many more as whole chunks are for every worker.
    backend
        ``hdf5`` or ``zarr``.
    workers
        Threads.
    folder
        For the file, which is removed.

    Raises
    ------
    dandify.tuning.trial.NotIdentical
        If other bits come back.
    """
    chunks = tuple(min(c, n) for c, n in zip(chunks, (*values.shape[:axis], rows, *values.shape[axis + 1 :]),
                                             strict=True))  # fmt: skip
    source = _as_long(values, chunks, rows, axis, block, wanted_bytes, workers)
    share = min(1.0, wanted_bytes / source.nbytes)
    much = chunks[axis] * max(1, ceil(source.shape[axis] * share / chunks[axis]))
    same = source[tuple(slice(0, min(n, much) if k == axis else n) for k, n in enumerate(source.shape))]
    with written(coder.encoder, source, chunks, backend=backend, workers=workers, folder=folder) as (path, timing):
        seconds: dict[str, float] = {}
        for pattern in patterns:  # each from a file of its own: HDF5 keeps the chunks that were decoded last
            with _opened(path, backend) as data:
                seconds[pattern.name] = _read_s(data, same, chunks, pattern)
    return MachineRun(timing, source.nbytes, chunks, seconds, by_engine=True)


def _as_long(
    values: NDArray[Any], chunks: tuple[int, ...], rows: int, axis: int, block: tuple[int, ...], wanted_bytes: float,
    workers: int,
) -> Repeated:  # fmt: skip
    """Make values as long as is wanted; where a chunk is much already, of fewer channels."""
    count = max(_CHUNKS_A_WORKER * workers, ceil(wanted_bytes / (prod(chunks) * values.itemsize)))
    inner = values.shape[axis + 1 :]
    across = prod(ceil(n / c) for n, c in zip(inner, chunks[axis + 1 :], strict=True))
    if count < across and len(inner) == 1:
        values = values[..., : min(inner[0], count * chunks[-1])]
        across = count
    length = min(rows, ceil(count / across) * chunks[axis])
    shape = (*values.shape[:axis], length, *values.shape[axis + 1 :])
    slab = plan_dataset(shape, values.dtype, memory_bytes=MEMORY_BYTES, workers=workers, chunks=chunks,
                        block=tuple(map(min, block, shape))).slab[axis]  # fmt: skip
    there = values.shape[axis]
    if there < length:  # whole slabs, so that none reaches over the end: to gather its rows would be timed, too
        if there < slab:
            values = np.concatenate([values] * ceil(slab / there), axis)
        whole = values.shape[axis] // slab * slab
        values = values[(*(slice(None) for _ in range(axis)), slice(0, whole))]
    return Repeated(np.ascontiguousarray(values), shape, axis, tuple(map(min, block, shape)))


@contextmanager
def written(
    encoder: Encoder, source: Blocks, chunks: tuple[int, ...], *, backend: str, workers: int, folder: Path
) -> Iterator[tuple[Path, Timing]]:  # fmt: skip
    """Write an array by the engine, in a file or a Zarr that is there until the context ends.

    Parameters
    ----------
    encoder
        Of its chunks.
    source
        The values.
    chunks
        Shape of a chunk; at most that of the values.
    backend
        ``hdf5`` or ``zarr``.
    workers
        Threads.
    folder
        For the file.
    """
    dtype = np.dtype(source.dtype)
    plan = plan_dataset(source.shape, dtype, memory_bytes=MEMORY_BYTES, workers=workers, chunks=chunks,
                        block=source.block)  # fmt: skip
    job = Job("sample", "data", source, plan, encoder)
    path = folder / f"sample.{'h5' if backend == 'hdf5' else 'zarr'}"
    try:
        if backend == "hdf5":
            filters = declared(encoder)
            with hdf5_file(path, "w") as file:
                data = file.create_dataset(
                    "data", source.shape, dtype, chunks=chunks, compression=filters.compression,
                    compression_opts=filters.options, shuffle=filters.shuffled,
                )  # fmt: skip
                timing = time_call(lambda: fill(job, HDF5Target(data), workers=workers, advance=lambda _: None))
        else:
            import zarr

            zarr.open_array(str(path), mode="w", shape=source.shape, dtype=dtype, chunks=chunks, order="C",
                            fill_value=0, compressor=zarr_codec(encoder))  # fmt: skip
            timing = time_call(lambda: fill(job, ZarrTarget(path), workers=workers, advance=lambda _: None))
        yield path, timing
    finally:
        rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def time_call(call: Callable[[], object]) -> Timing:
    """Call, and take the time; nothing else may be at work in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


@contextmanager
def _opened(path: Path, backend: str) -> Iterator[Any]:
    if backend == "hdf5":
        load_plugins()
        with h5py.File(path, "r") as file:
            yield file["data"]
    else:
        import zarr

        yield zarr.open_array(str(path), mode="r")


def _read_s(data: Any, values: NDArray[Any], chunks: tuple[int, ...], pattern: Pattern) -> float:
    """Time a pattern on the values; seconds of each chunk that it touches."""
    region = _within(pattern.regions[len(pattern.regions) // 2], values.shape)
    begun = time.perf_counter()
    back = np.asarray(data[region])
    seconds = time.perf_counter() - begun
    require_same(np.ascontiguousarray(values[region]), back)
    return seconds / chunks_touched(region, chunks)


def _within(region: Region, shape: tuple[int, ...]) -> Region:
    """Lay a region of the same size, or as much of it as there is, in the middle of a smaller array."""
    out = []
    for part, length in zip(region, shape, strict=True):
        size = min(part.stop - part.start, length)
        start = (length - size) // 2
        out.append(slice(start, start + size))
    return tuple(out)


def run_threads(
    coder: Coder, values: NDArray[Any], chunks: tuple[int, ...], patterns: tuple[Pattern, ...], *, workers: int
) -> MachineRun:  # fmt: skip
    """Encode values in threads and decode them, in memory: of what the engine does not write.

    Raises
    ------
    dandify.tuning.trial.NotIdentical
        If other bits come back.
    """
    chunks = tuple(min(c, n) for c, n in zip(chunks, values.shape, strict=True))
    regions = [region for _, region in grid(values.shape, chunks)]
    payloads: list[bytes] = []

    def encode(region: Region) -> bytes:
        return coder.encode(np.ascontiguousarray(values[region]))

    with ThreadPoolExecutor(workers, "dandify-tune") as pool:
        timing = time_call(lambda: payloads.extend(pool.map(encode, regions)))
    begun = time.perf_counter()
    for region, payload in zip(regions, payloads, strict=True):
        part = values[region]
        require_same(np.ascontiguousarray(part), coder.decode(payload, part.shape, part.dtype))
    each = (time.perf_counter() - begun) / len(regions)
    return MachineRun(timing, values.nbytes, chunks, {p.name: each for p in patterns}, by_engine=False)
