"""The engine's loop: one reader, encoding threads, one writer; and the same backwards to verify."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource, DandifyError, VerificationFailed
from dandify.store.encode import Encoder, checksum, gathered, scratch
from dandify.store.plan import ChunkPlan, queue_depth
from dandify.store.region import Blocks, Region, extent
from dandify.store.target import Target

Index = tuple[int, ...]


@dataclass(frozen=True)
class Job:
    """One dataset to fill.

    Attributes
    ----------
    name
        For messages and progress: ``ElectricalSeries/data``.
    place
        Path in the output.
    source
        Where the values come from.
    plan
        How they are cut.
    encoder
        How chunks are encoded; must be what the output's metadata declare.
    """

    name: str
    place: str
    source: Blocks
    plan: ChunkPlan
    encoder: Encoder


@dataclass
class Written:
    """What is known of a filled dataset: what a journal will hold.

    Attributes
    ----------
    checksums
        CRC-32 of each chunk's values, by its index in the grid.
    sha256
        Of all values in C order; None where they were read in another order.
    stored_bytes
        Of the encoded chunks.
    """

    checksums: dict[Index, int] = field(default_factory=dict)
    sha256: str | None = None
    stored_bytes: int = 0


def fill(job: Job, target: Target, *, workers: int, advance: Callable[[int], None]) -> Written:
    """Read the source once, encode its chunks in threads, and write them.

    Memory stays within what the plan was made for: one slab is read while the chunks of another are encoded, and the
    number of chunks between reading and writing is bounded.

    Parameters
    ----------
    job
        What to write.
    target
        Where to; its metadata must agree with the plan.
    workers
        Encoding threads.
    advance
        Called in this thread with the raw bytes of each slab whose chunks are on their way.

    Raises
    ------
    BadSource
        If the source yields something else than it declared.
    """
    plan = job.plan
    _agree(job, target)
    written = Written()
    whole = hashlib.sha256() if plan.in_order else None

    def read(region: Region) -> NDArray[Any]:
        values = read_values(job.source, region, target.dtype, job.name)
        if whole is not None:
            whole.update(_bytes(values))
        return values

    def encode(index: Index, values: NDArray[Any]) -> tuple[Index, int, int, bytes]:
        raw = gathered(values, plan.chunks)
        payload = job.encoder.encode(raw, plan.dtype.itemsize)
        if target.concurrent:
            target.write(index, payload)
            return index, checksum(raw), len(payload), b""
        return index, checksum(raw), len(payload), payload

    def finish(done: Future[tuple[Index, int, int, bytes]]) -> None:
        index, crc, size, payload = done.result()
        if not target.concurrent:
            target.write(index, payload)
        written.checksums[index] = crc
        written.stored_bytes += size

    waiting: deque[Future[tuple[Index, int, int, bytes]]] = deque()
    with _Threads(1, "read") as reader, _Threads(workers, "encode") as pool:
        regions = plan.slabs()
        ahead = deque((r, reader.submit(read, r)) for r in islice(regions, 1))
        while ahead:
            region, reading = ahead.popleft()
            slab = reading.result()
            ahead.extend((r, reader.submit(read, r)) for r in islice(regions, 1))
            for index, part in plan.chunks_of(region):
                waiting.append(pool.submit(encode, index, slab[part]))
                while len(waiting) > queue_depth(workers):
                    finish(waiting.popleft())
            advance(slab.nbytes)
            del slab, reading  # its chunks hold it until they are encoded, and nobody longer
        while waiting:
            finish(waiting.popleft())
    written.sha256 = whole.hexdigest() if whole is not None else None
    return written


def check(job: Job, target: Target, written: Written, *, workers: int, advance: Callable[[int], None]) -> None:
    """Read every chunk back, decode it by an independent decoder, and compare it with what came from the source.

    The checksum of each chunk finds damage and says where; that of all values in C order, put together from the
    decoded chunks, also finds a chunk that was cut or placed wrongly.

    Raises
    ------
    VerificationFailed
        At the first difference.
    """
    plan = job.plan
    _agree(job, target)
    count, _ = target.stored()
    if count != plan.count:
        raise VerificationFailed(f"{count} chunks are stored, {plan.count} were written", place=job.place)
    whole = hashlib.sha256() if written.sha256 is not None else None

    def decode(index: Index, payload: bytes | None, part: Region, slab: NDArray[Any] | None) -> None:
        raw = scratch("chunk", plan.chunk_bytes)
        try:
            target.decoder.decode(target.read(index) if payload is None else payload, plan.dtype.itemsize, raw)
        except ValueError as error:
            raise _differs(job, index, f"cannot be decoded ({error})") from error
        if checksum(raw) != written.checksums.get(index):
            raise _differs(job, index, "does not decode to what was read from the source")
        if slab is not None:
            values = raw.view(target.dtype).reshape(plan.chunks)
            slab[part] = values[tuple(slice(n) for n in extent(part))]

    waiting: deque[tuple[Future[None], NDArray[Any] | None, int]] = deque()
    hashing: deque[Future[None]] = deque()
    with _Threads(1, "hash") as hasher, _Threads(workers, "decode") as pool:

        def finish(done: Future[None], complete: NDArray[Any] | None, size: int) -> None:
            done.result()
            if complete is not None and whole is not None:
                while hashing:
                    hashing.popleft().result()
                hashing.append(hasher.submit(lambda: whole.update(_bytes(complete))))
            if size:
                advance(size)

        for region in plan.slabs():
            slab = np.empty(extent(region), target.dtype) if whole is not None else None
            parts = list(plan.chunks_of(region))
            for number, (index, part) in enumerate(parts, 1):
                payload = None if target.concurrent else _stored(job, target, index)
                last = number == len(parts)
                size = int(np.prod(extent(region), dtype=object)) * target.dtype.itemsize if last else 0
                waiting.append((pool.submit(decode, index, payload, part, slab), slab if last else None, size))
                while len(waiting) > queue_depth(workers):
                    finish(*waiting.popleft())
            del slab
        while waiting:
            finish(*waiting.popleft())
        while hashing:
            hashing.popleft().result()
    if whole is not None and whole.hexdigest() != written.sha256:
        raise VerificationFailed(
            "the chunks put together differ from what was read from the source", place=job.place,
            remedy="please report this with the manifest's chunk shape: it is a fault of dandify",
        )  # fmt: skip


class _Threads(ThreadPoolExecutor):
    """Threads that do not begin what is still waiting when something fails, Ctrl-C included."""

    def __init__(self, count: int, name: str) -> None:
        super().__init__(count, thread_name_prefix=f"dandify-{name}")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=kind is not None)


def _agree(job: Job, target: Target) -> None:
    """Refuse to write chunks that the array's metadata do not describe."""
    expected = (job.plan.shape, job.plan.chunks, job.plan.dtype)
    found = (target.shape, target.chunks, target.dtype)
    if expected != found:
        raise DandifyError(f"the output declares {found}, and the plan is {expected}", place=job.place)


def read_values(source: Blocks, region: Region, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Read values of a region, contiguous and in the type that is stored.

    Parameters
    ----------
    source
        Where they come from.
    region
        Within it.
    dtype
        As stored.
    name
        Of the dataset, for errors.

    Raises
    ------
    BadSource
        If it cannot be read, or yields something else than it declared.
    """
    try:
        values = np.asarray(source[region])
    except (OSError, ValueError, EOFError) as error:
        file = getattr(error, "filename", None)
        raise BadSource(f"cannot be read: {error}", file=file, place=name) from error
    if values.shape != extent(region):
        raise BadSource(f"yields {values.shape} for a region of {extent(region)}", place=name)
    if values.dtype != dtype and not np.can_cast(values.dtype, dtype, "safe"):
        raise BadSource(f"yields {values.dtype}, and {dtype} was declared", place=name)
    return np.ascontiguousarray(values, dtype)


def _stored(job: Job, target: Target, index: Index) -> bytes:
    try:
        return target.read(index)
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # h5py maps HDF5's errors to any of these
        raise _differs(job, index, f"cannot be read back ({error})") from error


def _differs(job: Job, index: Index, what: str) -> VerificationFailed:
    return VerificationFailed(
        f"chunk {index} {what}", place=job.place,
        remedy="write again; if it comes back, check the disk and the memory of this machine",
    )  # fmt: skip


def _bytes(values: NDArray[Any]) -> memoryview:
    return values.reshape(-1).view(np.uint8).data
