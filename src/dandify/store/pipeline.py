"""The engine's loop: one reader, threads that encode, prove and write in turn; and what is stored, read back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from typing import Any, Protocol

import numpy as np
import xxhash
from isal import isal_zlib
from numpy.typing import NDArray

from dandify.errors import BadSource, DandifyError, VerificationFailed
from dandify.store.encode import Encoder, checksum, encode_many, scratch
from dandify.store.groups import Group, gather, groups_of
from dandify.store.in_turn import InTurn
from dandify.store.plan import ChunkPlan, queue_depth
from dandify.store.progress import Passed
from dandify.store.proof import Proof, chosen, differs
from dandify.store.region import Blocks, Region, extent
from dandify.store.target import Place, Target

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


@dataclass(frozen=True)
class Chunk:
    """What is known of a stored chunk.

    Attributes
    ----------
    checksum
        CRC-32 of its values, padding included.
    size
        Bytes as stored.
    payload_checksum
        CRC-32 of these.
    """

    checksum: int
    size: int
    payload_checksum: int


@dataclass
class Written:
    """What is known of a filled dataset.

    Attributes
    ----------
    chunks
        By their index in the grid.
    xxh128
        Of all values in C order; None where they were read in another order.
    resumed, changed
        Chunks taken from an earlier run that was stopped, and those of it that are no longer what the source holds.
    """

    chunks: dict[Index, Chunk] = field(default_factory=dict)
    xxh128: str | None = None
    resumed: int = 0
    changed: int = 0

    @property
    def stored_bytes(self) -> int:
        """Size of the encoded chunks."""
        return sum(chunk.size for chunk in self.chunks.values())


class Earlier(Protocol):
    """Finished chunks of a run that was stopped, and who is told of those that this run finishes."""

    def payload(self, index: Index, checksum: int) -> bytes | None:
        """Return a chunk as stored, if it was finished and its values had this checksum; from any thread."""

    def changed(self, index: Index, checksum: int) -> bool:
        """Whether it was finished with other values."""

    def finished(self, index: Index, chunk: Chunk, where: Place) -> None:
        """Note a chunk that is in the output; from one thread at a time."""

    def flush(self) -> None:
        """Have the notes outlive this process; while chunks are noted, too."""


def fill(
    job: Job, target: Target, *, workers: int, advance: Callable[[Passed], None], earlier: Earlier | None = None,
    every: int = 0,
) -> Written:  # fmt: skip
    """Read the source once, encode its chunks in threads, and write them; and prove them, while they are at hand.

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
        Called in this thread for each slab, and when all is written.
    earlier
        Where finished chunks come from, and are noted. The source is read all the same: a chunk counts as finished
        if its values still are what they were.
    every
        Decode one of so many chunks and compare it with the source, see `Proof`; 0 for none. `check` does the rest.

    Raises
    ------
    BadSource
        If the source yields something else than it declared, or changes.
    VerificationFailed
        If a chunk does not decode to what was read.
    """
    plan = job.plan
    _agree(job, target)
    proof = Proof(job.place, plan, job.encoder, target.decoder, every) if every else None
    written = Written()
    encoded = stored = told = told_stored = 0
    whole = xxhash.xxh3_128() if plan.in_order else None
    again = xxhash.xxh3_128() if plan.in_order and every == 1 else None  # of slabs whose chunks are proved

    def read(region: Region) -> NDArray[Any]:
        values = read_values(job.source, region, target.dtype, job.name)
        if whole is not None:
            whole.update(_bytes(values))
        return values

    def encode(group: Group, slab: NDArray[Any], last: bool) -> tuple[list[_Encoded], NDArray[Any] | None]:
        raw = scratch("chunks", group.count * plan.chunk_bytes).reshape(group.count, plan.chunk_bytes)
        gather(slab, group, plan.chunks, raw)
        checksums = [checksum(values) for values in raw]
        known = zip(group.indices, checksums, strict=True)
        found = [earlier.payload(index, crc) if earlier else None for index, crc in known]
        new = [k for k, payload in enumerate(found) if payload is None]
        payloads = encode_many(job.encoder, raw if len(new) == len(raw) else raw[new], plan.dtype.itemsize)
        made = iter(payloads)
        all_payloads = [next(made) if payload is None else payload for payload in found]
        if proof is not None:
            proof.prove(group, slab, all_payloads, checksums)
        done = []
        for index, crc, payload, resumed in zip(group.indices, checksums, all_payloads, found, strict=True):
            chunk = Chunk(crc, len(payload), int(isal_zlib.crc32(payload)))
            where = target.write(index, payload) if target.concurrent else None
            done.append(_Encoded(index, chunk, b"" if target.concurrent else payload, where, resumed is not None))
        return done, slab if last else None

    def write(group: Group, made: tuple[list[_Encoded], NDArray[Any] | None]) -> None:
        nonlocal encoded, stored
        done, complete = made
        encoded += sum(prod(extent(part)) for part in group.parts) * plan.dtype.itemsize
        for one in done:
            stored += one.chunk.size
            where = one.where if target.concurrent else target.write(one.index, one.payload)
            written.chunks[one.index] = one.chunk
            if earlier:
                written.resumed += one.resumed
                written.changed += not one.resumed and earlier.changed(one.index, one.chunk.checksum)
                earlier.finished(one.index, one.chunk, where)
        if again is not None and complete is not None:
            again.update(_bytes(complete))

    in_turn = InTurn(write)

    def tell(read: int) -> None:
        nonlocal told, told_stored
        now, now_stored = encoded, stored
        advance(Passed(read, now - told, now_stored - told_stored))
        told, told_stored = now, now_stored

    waiting: deque[Future[None]] = deque()
    try:
        with _Threads(1, "read") as reader, _Threads(workers, "encode") as pool:
            regions = plan.slabs()
            ahead = deque((r, reader.submit(read, r)) for r in islice(regions, 1))
            while ahead:
                region, reading = ahead.popleft()
                slab = reading.result()
                ahead.extend((r, reader.submit(read, r)) for r in islice(regions, 1))
                groups = list(groups_of(plan, region))
                for number, group in enumerate(groups, 1):
                    waiting.append(in_turn.submit(pool, encode, group, slab, number == len(groups)))
                    while len(waiting) > queue_depth(workers):
                        waiting.popleft().result()
                if earlier:
                    earlier.flush()
                tell(slab.nbytes)
                del slab, reading  # its chunks hold it until they are encoded, and nobody longer
            while waiting:
                waiting.popleft().result()
            tell(0)
    finally:
        if earlier:
            earlier.flush()
    written.xxh128 = whole.hexdigest() if whole is not None else None
    if again is not None and again.hexdigest() != written.xxh128:
        raise BadSource(
            "has changed while it was read", place=job.name, remedy="write it again when nothing changes it any more"
        )
    return written


@dataclass(frozen=True)
class _Encoded:
    """A chunk on its way to the writer."""

    index: Index
    chunk: Chunk
    payload: bytes
    where: Place
    resumed: bool


def check(
    job: Job, target: Target, written: Written, *, workers: int, advance: Callable[[int], None], every: int = 1
) -> None:
    """Read chunks back, and compare them, as they are stored, with what `fill` has decoded and found right.

    Parameters
    ----------
    job, target, written
        What was written, where, and what `fill` said of it.
    workers
        Threads that read.
    advance
        Called in this thread with the raw bytes of each slab that was checked.
    every
        Look at one of so many chunks, the first and the last included.

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

    def look_at(slab: Region) -> int:
        for index, _ in plan.chunks_of(slab):
            if every > 1 and not chosen(index, plan, every):
                continue
            payload, known = _stored(job, target, index), written.chunks.get(index)
            if known is None or (len(payload), isal_zlib.crc32(payload)) != (known.size, known.payload_checksum):
                raise differs(job.place, index, "is not stored as it was encoded")
        return prod(extent(slab)) * target.dtype.itemsize

    with _Threads(workers, "check") as pool:
        waiting: deque[Future[int]] = deque()
        for slab in plan.slabs():
            waiting.append(pool.submit(look_at, slab))
            while len(waiting) > queue_depth(workers):
                advance(waiting.popleft().result())
        while waiting:
            advance(waiting.popleft().result())


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
    except DandifyError as error:
        error.place = error.place or name
        raise
    except (OSError, ValueError, EOFError, RuntimeError) as error:
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
        raise differs(job.place, index, f"cannot be read back ({error})") from error


def _bytes(values: NDArray[Any]) -> memoryview:
    return values.reshape(-1).view(np.uint8).data
