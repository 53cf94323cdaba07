"""Measures a candidate on all cores: written to a real file by the engine, and read again by plain h5py or zarr."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dandify.sources.arrays import MemoryArray
from dandify.store.compression import declared, zarr_codec
from dandify.store.encode import Encoder
from dandify.store.hdf5_read import load_plugins
from dandify.store.pipeline import Job, fill
from dandify.store.plan import plan_dataset
from dandify.store.region import Region, grid
from dandify.store.target import HDF5Target, ZarrTarget, hdf5_file
from dandify.tuning.candidates import Candidate
from dandify.tuning.coders import Coder, EngineCoder
from dandify.tuning.reading import Pattern, chunks_touched
from dandify.tuning.trial import require_same

MEMORY_BYTES = 1_000_000_000


@dataclass(frozen=True)
class MachineRun:
    """One run on all cores.

    Attributes
    ----------
    write_s
        Wall time: cutting, encoding in threads, writing (not waiting for the disk).
    raw_bytes
        That were written.
    chunks
        Shape of a chunk, clipped to what was written.
    chunk_s
        Wall time of reading, for each chunk that a pattern touches; by the pattern's name.
    by_engine
        The engine wrote it and a usual reader read it; otherwise it was encoded in threads, and decoded in memory.
    """

    write_s: float
    raw_bytes: int
    chunks: tuple[int, ...]
    chunk_s: dict[str, float]
    by_engine: bool


def run_machine(
    candidate: Candidate, coder: Coder, values: NDArray[Any], patterns: tuple[Pattern, ...], *, backend: str,
    workers: int, folder: Path,
) -> MachineRun:  # fmt: skip
    """Write values with all workers and read them again in each way, comparing all bits once.

    Parameters
    ----------
    candidate, coder
        What to measure.
    values
        Windows of the stream, one after another.
    patterns
        Ways of reading.
    backend
        ``hdf5``, ``zarr`` or ``ome-zarr``.
    workers
        Threads.
    folder
        For files, which are removed.

    Raises
    ------
    dandify.tuning.trial.NotIdentical
        If other bits come back.
    """
    chunks = tuple(min(c, n) for c, n in zip(candidate.chunks, values.shape, strict=True))
    if isinstance(coder, EngineCoder) and backend in ("hdf5", "zarr"):
        target = _hdf5 if backend == "hdf5" else _zarr
        return target(coder.encoder, values, chunks, patterns, workers, folder)
    return _threads(coder, values, chunks, patterns, workers)


def _job(encoder: Encoder, values: NDArray[Any], chunks: tuple[int, ...], workers: int) -> Job:
    source = MemoryArray(values)
    plan = plan_dataset(values.shape, values.dtype, memory_bytes=MEMORY_BYTES, workers=workers, chunks=chunks,
                        block=source.block)  # fmt: skip
    return Job("sample", "data", source, plan, encoder)


def _hdf5(
    encoder: Encoder, values: NDArray[Any], chunks: tuple[int, ...],
    patterns: tuple[Pattern, ...], workers: int, folder: Path,
) -> MachineRun:  # fmt: skip
    path = folder / "sample.h5"
    # What neuroconv writes is encoded as HDF5 declares it: the filters of its encoder are gzip alone.
    filters = declared(encoder)
    try:
        with hdf5_file(path, "w") as file:
            data = file.create_dataset(
                "data", values.shape, values.dtype, chunks=chunks, compression=filters.compression,
                compression_opts=filters.options, shuffle=filters.shuffled,
            )  # fmt: skip
            begun = time.perf_counter()
            fill(_job(encoder, values, chunks, workers), HDF5Target(data), workers=workers, advance=lambda _: None)
            written = time.perf_counter() - begun
        load_plugins()
        seconds: dict[str, float] = {}
        for pattern in patterns:  # each from a file of its own: HDF5 keeps the chunks that were decoded last
            with h5py.File(path, "r") as file:
                seconds |= _read(file["data"], values, chunks, (pattern,))
    finally:
        path.unlink(missing_ok=True)
    return MachineRun(written, values.nbytes, chunks, seconds, by_engine=True)


def _zarr(
    encoder: Encoder, values: NDArray[Any], chunks: tuple[int, ...],
    patterns: tuple[Pattern, ...], workers: int, folder: Path,
) -> MachineRun:  # fmt: skip
    import zarr

    path = folder / "sample.zarr"
    try:
        zarr.open_array(
            str(path), mode="w", shape=values.shape, dtype=values.dtype, chunks=chunks, order="C", fill_value=0,
            compressor=zarr_codec(encoder),
        )  # fmt: skip
        begun = time.perf_counter()
        fill(_job(encoder, values, chunks, workers), ZarrTarget(path), workers=workers, advance=lambda _: None)
        written = time.perf_counter() - begun
        seconds = _read(zarr.open_array(str(path), mode="r"), values, chunks, patterns)
    finally:
        rmtree(path, ignore_errors=True)
    return MachineRun(written, values.nbytes, chunks, seconds, by_engine=True)


def _read(data: Any, values: NDArray[Any], chunks: tuple[int, ...], patterns: tuple[Pattern, ...]) -> dict[str, float]:
    """Time each pattern on the sample; seconds of each chunk that it touches."""
    found = {}
    for pattern in patterns:
        region = _within(pattern.regions[len(pattern.regions) // 2], values.shape)
        begun = time.perf_counter()
        back = np.asarray(data[region])
        found[pattern.name] = (time.perf_counter() - begun) / chunks_touched(region, chunks)
        require_same(np.ascontiguousarray(values[region]), back)
    return found


def _within(region: Region, shape: tuple[int, ...]) -> Region:
    """Lay a region of the same size, or as much of it as there is, in the middle of a smaller array."""
    out = []
    for part, length in zip(region, shape, strict=True):
        size = min(part.stop - part.start, length)
        start = (length - size) // 2
        out.append(slice(start, start + size))
    return tuple(out)


def _threads(
    coder: Coder, values: NDArray[Any], chunks: tuple[int, ...], patterns: tuple[Pattern, ...], workers: int
) -> MachineRun:
    regions = [region for _, region in grid(values.shape, chunks)]

    def encode(region: Region) -> bytes:
        return coder.encode(np.ascontiguousarray(values[region]))

    with ThreadPoolExecutor(workers, "dandify-tune") as pool:
        begun = time.perf_counter()
        payloads = list(pool.map(encode, regions))
        written = time.perf_counter() - begun
    begun = time.perf_counter()
    for region, payload in zip(regions, payloads, strict=True):
        part = values[region]
        require_same(np.ascontiguousarray(part), coder.decode(payload, part.shape, part.dtype))
    each = (time.perf_counter() - begun) / len(regions)
    return MachineRun(written, values.nbytes, chunks, {p.name: each for p in patterns}, by_engine=False)
