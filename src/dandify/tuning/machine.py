"""Measures a candidate on all cores: a real file is written as `convert` writes it, and read again by h5py or zarr."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from shutil import rmtree
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dandify.sources.arrays import MemoryArray
from dandify.sources.contract import Array
from dandify.sources.transformed import Transformed
from dandify.store.compression import declared, zarr_codec
from dandify.store.encode import Encoder
from dandify.store.hdf5_read import load_plugins
from dandify.store.pipeline import Job, fill
from dandify.store.plan import plan_dataset
from dandify.store.region import Blocks, Region, grid
from dandify.store.target import HDF5Target, ZarrTarget, hdf5_file
from dandify.store.transforms import Transform
from dandify.tuning.coders import Coder, EngineCoder
from dandify.tuning.reading import Pattern, chunks_touched
from dandify.tuning.timing import Timing, time_call
from dandify.tuning.trial import require_same

MEMORY_BYTES = 1_000_000_000
_CHUNKS_A_WORKER = 2  # at least: one alone is waited for from its beginning to its end
_MOST_WRITES = 50  # of a file that takes next to no time


@dataclass(frozen=True)
class MachineRun:
    """One run on all cores.

    Attributes
    ----------
    timing
        Of reading the values from memory, changing them by exact transforms, cutting, encoding in threads, writing (not
        waiting for the disk); of all times that a short file was written.
    raw_bytes
        That were written, all times.
    chunks
        Shape of a chunk, clipped to what was written.
    chunk_s
        Wall time of reading, for each chunk that a pattern touches; by the pattern's name, of those that were tried.
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
    transforms: Sequence[Transform] = (), least_cpu_s: float = 0.0, read_bytes: float | None = None, warm: bool = False,
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
        Raw bytes to write, or as many more as whole chunks are for every worker.
    backend
        ``hdf5`` or ``zarr``.
    workers
        Threads.
    folder
        For the file, which is removed.
    transforms
        That are applied to the values while they are read.
    least_cpu_s
        A file that takes less is written again and again: once would tell how threads are begun.
    read_bytes
        Raw bytes to read, in whole chunks; those of ``wanted_bytes`` if None.
    warm
        It is written once more, at first, which does not count: what such chunks need is loaded or compiled then.

    Raises
    ------
    dandify.tuning.trial.NotIdentical
        If other bits come back.
    """
    chunks = tuple(min(c, n) for c, n in zip(chunks, (*values.shape[:axis], rows, *values.shape[axis + 1 :]),
                                             strict=True))  # fmt: skip
    source = changed(_as_long(values, chunks, rows, axis, block, wanted_bytes, workers), transforms)
    same = source[_beginning(source, chunks, axis, wanted_bytes if read_bytes is None else read_bytes)]
    with written(coder.encoder, source, chunks, backend=backend, workers=workers, folder=folder,
                 least_cpu_s=least_cpu_s, warm=warm) as (path, timing, times):  # fmt: skip
        seconds: dict[str, float] = {}
        for pattern in patterns:  # each from a file of its own: HDF5 keeps the chunks that were decoded last
            with _opened(path, backend) as data:
                seconds[pattern.name] = _read_s(data, same, chunks, pattern)
    return MachineRun(timing, times * source.nbytes, chunks, seconds, by_engine=True)


def _beginning(source: Array, chunks: tuple[int, ...], axis: int, wanted_bytes: float) -> Region:
    """Lay whole chunks at the beginning of a source, about as many bytes as are wanted; of signals, fewer channels."""
    shape = list(source.shape)
    each = max(1, prod(shape) // shape[axis]) * source.dtype.itemsize
    shape[axis] = min(shape[axis], chunks[axis] * max(1, int(wanted_bytes / each / chunks[axis])))
    if len(shape) == axis + 2:  # each chunk costs the same, whatever channels it is of
        each = prod(shape) // shape[-1] * source.dtype.itemsize
        shape[-1] = min(shape[-1], chunks[-1] * max(1, ceil(wanted_bytes / each / chunks[-1])))
    return tuple(slice(0, n) for n in shape)


def changed(source: Array, transforms: Sequence[Transform]) -> Array:
    """Give a source whose values are changed while they are read, as `convert` does; itself where there is nothing."""
    return Transformed(source, tuple(transforms)) if transforms else source


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
    encoder: Encoder, source: Blocks, chunks: tuple[int, ...], *, backend: str, workers: int, folder: Path,
    least_cpu_s: float = 0.0, warm: bool = False,
) -> Iterator[tuple[Path, Timing, int]]:  # fmt: skip
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
    least_cpu_s
        It is written again until all times together have taken so much CPU time.
    warm
        The first time does not count.

    Yields
    ------
    tuple
        Where it is, what all times took, and how often it was written.
    """
    plan = plan_dataset(source.shape, np.dtype(source.dtype), memory_bytes=MEMORY_BYTES, workers=workers,
                        chunks=chunks, block=source.block)  # fmt: skip
    job = Job("sample", "data", source, plan, encoder)
    path = folder / f"sample.{'h5' if backend == 'hdf5' else 'zarr'}"
    total, times = Timing(0.0, 0.0), 0
    try:
        if warm:
            _write(job, path, backend, workers)
        while not times or (total.cpu_s < least_cpu_s and times < _MOST_WRITES):
            _remove(path)
            total, times = total + _write(job, path, backend, workers), times + 1
        yield path, total, times
    finally:
        _remove(path)


def _write(job: Job, path: Path, backend: str, workers: int) -> Timing:
    plan = job.plan
    if backend == "hdf5":
        filters = declared(job.encoder)
        with hdf5_file(path, "w") as file:
            data = file.create_dataset(
                "data", plan.shape, plan.dtype, chunks=plan.chunks, compression=filters.compression,
                compression_opts=filters.options, shuffle=filters.shuffled,
            )  # fmt: skip
            return time_call(lambda: fill(job, HDF5Target(data), workers=workers, advance=lambda _: None))
    import zarr

    zarr.open_array(str(path), mode="w", shape=plan.shape, dtype=plan.dtype, chunks=plan.chunks, order="C",
                    fill_value=0, compressor=zarr_codec(job.encoder))  # fmt: skip
    return time_call(lambda: fill(job, ZarrTarget(path), workers=workers, advance=lambda _: None))


def _remove(path: Path) -> None:
    rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


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
    coder: Coder, values: NDArray[Any], chunks: tuple[int, ...], patterns: tuple[Pattern, ...], *, workers: int,
    transforms: Sequence[Transform] = (), least_cpu_s: float = 0.0,
) -> MachineRun:  # fmt: skip
    """Encode values in threads and decode them, in memory: of what the engine does not write.

    Raises
    ------
    dandify.tuning.trial.NotIdentical
        If other bits come back.
    """
    chunks = tuple(min(c, n) for c, n in zip(chunks, values.shape, strict=True))
    regions = [region for _, region in grid(values.shape, chunks)]
    source = changed(MemoryArray(values), transforms)
    payloads: list[bytes] = []

    def encode(region: Region) -> bytes:
        return coder.encode(np.ascontiguousarray(source[region]))

    total, times = Timing(0.0, 0.0), 0
    with ThreadPoolExecutor(workers, "dandify-tune") as pool:
        while not times or (total.cpu_s < least_cpu_s and times < _MOST_WRITES):
            payloads.clear()
            total, times = total + time_call(lambda: payloads.extend(pool.map(encode, regions))), times + 1
    seconds = 0.0
    for region, payload in zip(regions, payloads, strict=True):
        part = np.ascontiguousarray(source[region])
        begun = time.perf_counter()
        require_same(part, coder.decode(payload, part.shape, part.dtype))
        seconds += time.perf_counter() - begun
    each = seconds / len(regions)
    return MachineRun(total, times * values.nbytes, chunks, {p.name: each for p in patterns}, by_engine=False)
