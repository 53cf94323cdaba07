"""The engine's loop: one reader, threads that encode and write in turn; and the same backwards to verify."""

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
from dandify.store.encode import Encoder, checksum, encode_many, independent, scratch
from dandify.store.groups import Group, gather, groups_of, scatter, whole_chunk
from dandify.store.in_turn import InTurn
from dandify.store.plan import ChunkPlan, queue_depth
from dandify.store.progress import Passed
from dandify.store.region import Blocks, Region, extent
from dandify.store.target import Place, Target

Index = tuple[int, ...]
_TIMED_BYTES = 600_000  # of chunks that decoders are timed on


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
    job: Job, target: Target, *, workers: int, advance: Callable[[Passed], None], earlier: Earlier | None = None
) -> Written:
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
        Called in this thread for each slab, and when all is written.
    earlier
        Where finished chunks come from, and are noted. The source is read all the same: a chunk counts as finished
        if its values still are what they were.

    Raises
    ------
    BadSource
        If the source yields something else than it declared.
    """
    plan = job.plan
    _agree(job, target)
    written = Written()
    encoded = stored = told = told_stored = 0
    whole = xxhash.xxh3_128() if plan.in_order else None

    def read(region: Region) -> NDArray[Any]:
        values = read_values(job.source, region, target.dtype, job.name)
        if whole is not None:
            whole.update(_bytes(values))
        return values

    def encode(group: Group, slab: NDArray[Any]) -> list[_Encoded]:
        raw = scratch("chunks", group.count * plan.chunk_bytes).reshape(group.count, plan.chunk_bytes)
        gather(slab, group, plan.chunks, raw)
        checksums = [checksum(values) for values in raw]
        known = zip(group.indices, checksums, strict=True)
        found = [earlier.payload(index, crc) if earlier else None for index, crc in known]
        new = [k for k, payload in enumerate(found) if payload is None]
        payloads = encode_many(job.encoder, raw if len(new) == len(raw) else raw[new], plan.dtype.itemsize)
        made = iter(payloads)
        done = []
        for index, crc, resumed in zip(group.indices, checksums, found, strict=True):
            payload = next(made) if resumed is None else resumed
            chunk = Chunk(crc, len(payload), int(isal_zlib.crc32(payload)))
            where = target.write(index, payload) if target.concurrent else None
            done.append(_Encoded(index, chunk, b"" if target.concurrent else payload, where, resumed is not None))
        return done

    def write(group: Group, done: list[_Encoded]) -> None:
        nonlocal encoded, stored
        encoded += sum(prod(extent(part)) for part in group.parts) * plan.dtype.itemsize
        for one in done:
            stored += one.chunk.size
            where = one.where if target.concurrent else target.write(one.index, one.payload)
            written.chunks[one.index] = one.chunk
            if earlier:
                written.resumed += one.resumed
                written.changed += not one.resumed and earlier.changed(one.index, one.chunk.checksum)
                earlier.finished(one.index, one.chunk, where)

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
                for group in groups_of(plan, region):
                    waiting.append(in_turn.submit(pool, encode, group, slab))
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
    """Read chunks back, decode them by an independent decoder, and compare them with what came from the source.

    The checksum of each chunk finds damage and says where; that of all values in C order, put together from the
    decoded chunks, also finds a chunk that was cut or placed wrongly.

    Parameters
    ----------
    job, target, written
        What was written, where, and what `fill` said of it.
    workers
        Decoding threads.
    advance
        Called in this thread with the raw bytes of each slab that was checked.
    every
        Check one of so many chunks, the first and the last included; values in C order are compared only if all are.

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
    whole = xxhash.xxh3_128() if written.xxh128 is not None and every == 1 else None
    few = max(1, _TIMED_BYTES // plan.chunk_bytes)
    some = [_stored(job, target, index) for index in list(written.chunks)[:: max(1, plan.count // few)][:few]]
    decoder = independent(target.decoder, job.encoder, some, plan.dtype.itemsize, plan.chunk_bytes)
    slabs = _Slabs(target.dtype)

    def decode(group: Group, slab: NDArray[Any] | None, last: bool) -> NDArray[Any] | None:
        raw = scratch("chunks", group.count * plan.chunk_bytes).reshape(group.count, plan.chunk_bytes)
        places = [None if slab is None else whole_chunk(slab, part, plan.chunks) for part in group.parts]
        for k, index in enumerate(group.indices):
            values = raw[k] if (place := places[k]) is None else place
            try:
                decoder.decode(_stored(job, target, index), plan.dtype.itemsize, values)
            except ValueError as error:
                raise _differs(job, index, f"cannot be decoded ({error})") from error
            known = written.chunks.get(index)
            if known is None or checksum(values) != known.checksum:
                raise _differs(job, index, "does not decode to what was read from the source")
        if slab is None:
            return None
        if all(place is None for place in places):
            scatter(raw, group, plan.chunks, slab)
        else:
            for k, place in enumerate(places):
                if place is None:  # the dataset ends inside the chunk
                    some = Group(group.indices[k : k + 1], group.parts[k : k + 1])
                    scatter(raw[k : k + 1], some, plan.chunks, slab)
        return slab if last else None

    def take(_: Group, complete: NDArray[Any] | None) -> None:
        if complete is not None and whole is not None:
            whole.update(_bytes(complete))
            slabs.give_back(complete)

    in_turn = InTurn(take)
    waiting: deque[tuple[Future[None], int]] = deque()
    passed = 0

    def finish(done: Future[None], size: int) -> None:
        done.result()
        if size:
            advance(size)

    with _Threads(workers, "decode") as pool:
        for region in plan.slabs():
            slab = slabs.get(extent(region)) if whole is not None else None
            groups = list(groups_of(plan, region))
            for number, group in enumerate(groups, 1):
                last = number == len(groups)
                size = int(np.prod(extent(region), dtype=object)) * target.dtype.itemsize if last else 0
                if every > 1:
                    group, passed = _some(group, passed, every, plan.count)
                waiting.append((in_turn.submit(pool, decode, group, slab, last), size))
                while len(waiting) > queue_depth(workers):
                    finish(*waiting.popleft())
            del slab
        while waiting:
            finish(*waiting.popleft())
    if whole is not None and whole.hexdigest() != written.xxh128:
        raise VerificationFailed(
            "the chunks put together differ from what was read from the source", place=job.place,
            remedy="please report this with the manifest's chunk shape: it is a fault of dandify",
        )  # fmt: skip


class _Slabs:
    """Memory of slabs, used again: to touch new pages takes as long as to decode into them."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._free: deque[NDArray[Any]] = deque()

    def get(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Give one of this shape, of whatever values."""
        while self._free:
            flat = self._free.pop()
            if flat.size >= prod(shape):
                return flat[: prod(shape)].reshape(shape)
        return np.empty(prod(shape), self._dtype).reshape(shape)

    def give_back(self, slab: NDArray[Any]) -> None:
        """Take one that nobody needs any more; from any thread."""
        whole = slab.base if isinstance(slab.base, np.ndarray) else slab
        self._free.append(whole)


def _some(group: Group, passed: int, every: int, count: int) -> tuple[Group, int]:
    """Those chunks of a group that a sample checks, and how many chunks have passed."""
    kept = [k for k in range(group.count) if (passed + k) % every == 0 or passed + k == count - 1]
    some = Group(tuple(group.indices[k] for k in kept), tuple(group.parts[k] for k in kept))
    return some, passed + group.count


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
        raise _differs(job, index, f"cannot be read back ({error})") from error


def _differs(job: Job, index: Index, what: str) -> VerificationFailed:
    return VerificationFailed(
        f"chunk {index} {what}", place=job.place,
        remedy="write again; if it comes back, check the disk and the memory of this machine",
    )  # fmt: skip


def _bytes(values: NDArray[Any]) -> memoryview:
    return values.reshape(-1).view(np.uint8).data
