"""The one pass: every plane read once, all levels made while it is in the cache, every chunk encoded once."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from dandify.kernels.downsample import BINS, bin_values, cut_halving, tally
from dandify.kernels.shrink import Method, shrink
from dandify.ngff.checksum import ImageChecksum, crc32
from dandify.ngff.levels import READ_BYTES, Level, PyramidPlan, Region5
from dandify.ngff.once import ReadInto
from dandify.ngff.room import Room
from dandify.store.encode import scratch
from dandify.store.journal import EarlierRun
from dandify.store.pipeline import Chunk
from dandify.store.region import extent
from dandify.store.zarr_image import Sink


@dataclass(frozen=True)
class Slab:
    """Consecutive planes, or a band of their rows, of one level, and the CRC-32 of their values in C order."""

    region: Region5
    crc32: int


@dataclass(frozen=True)
class ChannelStatistics:
    """Values of a channel: extremes of all, percentiles of some rows; None where nothing is finite."""

    low: float | None
    high: float | None
    start: float | None
    end: float | None


@dataclass
class Written:
    """What is known of a finished pyramid.

    Attributes
    ----------
    slabs
        For each level, checksums taken before anything was encoded: of level 0 when it was read.
    xxh128
        Of the image in C order; None where it was read in bands.
    channels
        Statistics of each.
    resumed, changed
        Chunks taken from an earlier run that was stopped, and those of it that are no longer what the source holds.
    """

    slabs: list[list[Slab]] = field(default_factory=list)
    xxh128: str | None = None
    channels: list[ChannelStatistics] = field(default_factory=list)
    resumed: int = 0
    changed: int = 0


def part_of(slab: NDArray[Any], region: Region5) -> NDArray[Any]:
    """Give the beginning of a slab as the values of a region, (z, y, x)."""
    size = extent(region)[2:]
    return slab.reshape(-1)[: math.prod(size)].reshape(size)


def share_of(target: NDArray[Any], shape: tuple[int, ...], step: tuple[int, int, int]) -> NDArray[Any] | None:
    """Give what a block of this shape becomes, at the beginning of ``target``; None if that is nothing."""
    part = target[tuple(slice(-(-n // k)) for n, k in zip(shape, step, strict=True))]
    return part if part.size else None


class Pyramid:
    """Makes all levels of an image.

    Parameters
    ----------
    plan
        How.
    read
        Puts the values of a region (t c z y x) of the image into an array (z y x).
    depth
        Planes that the source yields at one go.
    dtype
        Native type of the values.
    sinks
        Where the encoded chunks of each level go.
    workers
        Encoding threads.
    readers
        Reading threads. One for a checksum of all values, and for a source that is kept.
    advance
        Called in this thread with the raw bytes of each finished part of level 0.
    downsample
        How each level is made of the one above.
    earlier
        The chunks of each level that a stopped run had finished: they are not encoded again.
    statistics
        Look at the values of each channel; numbers of objects have no display window.
    room
        Memory that other passes have used.
    """

    def __init__(
        self,
        plan: PyramidPlan,
        read: ReadInto,
        depth: int,
        dtype: np.dtype[Any],
        sinks: Sequence[Sink],
        *,
        workers: int,
        readers: int = 1,
        advance: Callable[[int], None],
        downsample: Method = "mean",
        earlier: Sequence[EarlierRun] = (),
        statistics: bool = True,
        room: Room | None = None,
    ) -> None:
        self._counted = statistics
        self._earlier, self._noting = earlier, threading.Lock()
        self._plan, self._read, self._dtype, self._method = plan, read, dtype, downsample
        self._depth = min(depth, plan.levels[0].chunks[2])
        self._sinks, self._workers, self._readers, self._advance = sinks, workers, readers, advance
        self._levels = plan.levels
        self._written = Written(slabs=[[] for _ in plan.levels])
        self._whole = self._checksum()
        channels = plan.levels[0].shape[1]
        self._counts = np.zeros((channels, BINS), np.int64)
        self._counting: dict[int, tuple[int, NDArray[np.int64]]] = {}  # each thread's channel, and what is new of it
        self._range = [(np.inf, -np.inf)] * channels
        self._turn = threading.Lock()
        self._busy: deque[tuple[NDArray[Any], list[Future[None]], int]] = deque()  # parts of level 0, and their jobs
        self._spare: list[NDArray[Any]] = []
        self._catching_up: list[Future[None]] = []  # with checksums of files
        self._taken_rows = 0  # of the slab of level 0
        self._nothing = np.empty((0, 0, 0), dtype)
        self._filled = [0] * len(plan.levels)  # planes that wait in each level's buffer
        self._base = [0] * len(plan.levels)  # planes of each level that are done, in this volume or band
        self._arrays = (room or Room()).arrays(self._wanted(), dtype)
        self._kept = self._arrays.get("kept")
        self._kept_axes = [k for k, axis in enumerate("tczyx") if sinks and axis in sinks[0].array.names]

    def run(self) -> Written:
        """Read, and write every level.

        Raises
        ------
        BadSource
            If the source cannot be read, or yields something else than it declared.
        """
        self._spare = [self._arrays[0, k] for k in range(self._plan.slabs)]
        tasks = self._tasks()
        ahead: deque[tuple[Region5, NDArray[Any], Future[int]]] = deque()
        # Nothing is begun any more when something fails, Ctrl-C included: cancel_futures, and the pools are left.
        reader = ThreadPoolExecutor(self._readers, "dandify-read")
        self._decoder = ThreadPoolExecutor(self._plan.decoders, "dandify-decode")
        pool = ThreadPoolExecutor(self._workers, "dandify-encode")
        try:
            while True:
                while self._spare and (task := next(tasks, None)) is not None:
                    slab = self._spare.pop()
                    ahead.append((task, slab, reader.submit(self._fill, task, slab)))
                if not ahead:
                    break
                task, slab, filled = ahead.popleft()
                self._record(0, task, filled.result())
                self._take(task, slab, pool)
                self._settle(self._plan.slabs - 2)
            self._settle()
            for job in self._catching_up:
                job.result()
        finally:
            self._decoder.shutdown(wait=False, cancel_futures=True)  # whom the reader waits for
            reader.shutdown(wait=True, cancel_futures=True)
            self._decoder.shutdown(wait=True)
            pool.shutdown(wait=True, cancel_futures=True)
        for sink in self._sinks:
            sink.close()
        self._written.xxh128 = self._whole.hexdigest() if self._whole else None
        for channel, counts in self._counting.values():
            self._counts[channel] += counts
        self._written.channels = [self._statistics(c) for c in range(len(self._range))]
        return self._written

    def _tasks(self) -> Iterator[Region5]:
        """Regions of level 0 in the order of reading."""
        nt, nc, nz, ny, nx = self._levels[0].shape
        depth = self._levels[0].chunks[2]
        for t in range(nt):
            for c in range(nc):
                for top in range(0, ny, self._plan.band_rows):
                    parts = self._parts(top, min(top + self._plan.band_rows, ny))
                    for z in range(0, nz, depth):
                        for y in parts:
                            yield (slice(t, t + 1), slice(c, c + 1), slice(z, min(z + depth, nz)), y, slice(0, nx))

    def _parts(self, top: int, bottom: int) -> list[slice]:
        """Parts of a band: one shard after the other, so that many grow side by side, whose MD5s go together."""
        rows = self._plan.read_rows
        parts = [slice(y, min(y + rows, bottom)) for y in range(top, bottom, rows)]
        *_, down, _ = (1, *self._sinks[0].array.per_file)
        down *= self._levels[0].chunks[3]
        return sorted(parts, key=lambda y: (y.start % down, y.start))

    def _checksum(self) -> ImageChecksum | None:
        """Begin that of all values in C order."""
        first = self._levels[0]
        return ImageChecksum(first.shape, first.chunks[2], self._dtype.itemsize) if self._plan.in_order else None

    def _fill(self, region: Region5, slab: NDArray[Any]) -> int:
        """Read a region to the beginning of a slab; CRC-32 of the values as they came."""
        t, c, z, y, x = region
        values = part_of(slab, region)
        plane = values[0].nbytes
        step = max(1, READ_BYTES // plane // self._depth * self._depth, self._depth)
        parts = [(t, c, slice(start, min(start + step, z.stop)), y, x) for start in range(z.start, z.stop, step)]
        targets = [values[part[2].start - z.start : part[2].stop - z.start] for part in parts]
        crc = 0
        for part, target, _ in zip(parts, targets, self._each_read(parts, targets), strict=True):
            crc = crc32(target, crc)
            if self._whole is not None:
                self._whole.add(part, target)
        if self._whole is not None:
            self._whole.end(region)
        return crc

    def _each_read(self, parts: list[Region5], targets: list[NDArray[Any]]) -> Iterable[None]:
        """Read parts, side by side where the source has to decode them, and tell of each in their order."""
        if self._plan.decoders == 1:
            return map(self._read, parts, targets)
        return self._decoder.map(self._read, parts, targets)

    def _wanted(self) -> dict[Hashable, tuple[int, ...]]:
        """Shapes of what is held: parts of level 0, a slab of each other level, and one level as a whole."""
        first, streamed = self._levels[0], self._plan.streamed
        read = (first.chunks[2], min(self._plan.read_rows, first.shape[3]), first.shape[4])
        wanted: dict[Hashable, tuple[int, ...]] = {(0, k): read for k in range(self._plan.slabs)}
        for number in range(1, len(self._levels)):
            if number != streamed:
                wanted[number, 0] = self._slab_shape(number)
        if streamed < len(self._levels):
            wanted["kept"] = self._levels[streamed].shape[2:]
        return wanted

    def _slab_shape(self, number: int) -> tuple[int, int, int]:
        level = self._levels[number]
        rows = level.shape[3]
        if number < self._plan.streamed:
            rows = min(rows, -(-self._plan.band_rows // level.factors[1]))
        return level.chunks[2], rows, level.shape[4]

    def _take(self, region: Region5, slab: NDArray[Any], pool: ThreadPoolExecutor) -> None:
        """Let a part of a slab of level 0 be encoded; when the slab is whole, let it go through the other levels."""
        t, c, z, y, x = region
        self._base[0] = z.start
        band = self._band(y)
        target, finer = self._next(0, region, band)
        jobs = self._begin(0, part_of(slab, region), region, target, finer, pool)
        self._busy.append((slab, jobs, math.prod(extent(region)) * self._dtype.itemsize))
        self._taken_rows += y.stop - y.start
        if self._taken_rows < band.stop - band.start:
            return
        self._taken_rows = 0
        whole = (t, c, z, band, x)
        made, _ = self._next(0, whole, band)
        if finer and made.size:
            self._pass_on(1, len(made), whole, finer, pool)
        last = z.stop == self._levels[0].shape[2]
        if last:
            self._filled, self._base = [0] * len(self._levels), [0] * len(self._levels)
        if self._kept is not None and last and band.stop == self._levels[0].shape[3]:
            self._settle()
            self._take_kept(t, c, pool)

    def _band(self, y: slice) -> slice:
        """Rows of level 0 that go through the levels together."""
        top = y.start // self._plan.band_rows * self._plan.band_rows
        return slice(top, min(top + self._plan.band_rows, self._levels[0].shape[3]))

    def _settle(self, left: int = 0) -> None:
        """Wait for the jobs on the oldest parts of level 0, but for some of them; their slabs are free then."""
        while len(self._busy) > left:
            slab, jobs, size = self._busy.popleft()
            for job in jobs:
                job.result()
            self._spare.append(slab)
            self._advance(size)

    def _take_kept(self, t: slice, c: slice, pool: ThreadPoolExecutor) -> None:
        """Make the levels above those made in bands."""
        assert self._kept is not None
        number = self._plan.streamed
        nz, ny, nx = self._kept.shape
        depth = self._levels[number].chunks[2]
        for z in range(0, nz, depth):
            part = self._kept[z : z + depth]
            region = (t, c, slice(z, z + len(part)), slice(0, ny), slice(0, nx))
            self._base[number] = z
            self._flush(number, part, region, pool)
        self._filled, self._base = [0] * len(self._levels), [0] * len(self._levels)

    def _record(self, number: int, region: Region5, crc: int) -> None:
        self._written.slabs[number].append(Slab(region, crc))

    def _flush(self, number: int, values: NDArray[Any], region: Region5, pool: ThreadPoolExecutor) -> None:
        """Encode the chunks of a slab and make its part of the next level; let that go on when its slab is full."""
        target, finer = self._next(number, region, region[3])
        crc = pool.submit(crc32, values)
        jobs = self._begin(number, values, region, target, finer, pool)
        if self._sinks and tuple(s.stop for s in region[:3]) == self._levels[number].shape[:3]:
            self._catching_up.append(pool.submit(self._sinks[number].catch_up))  # while there are few chunks to encode
        self._record(number, region, crc.result())
        for job in jobs:
            job.result()
        if finer and target.size:
            self._pass_on(number + 1, len(target), region, finer, pool)

    def _begin(
        self, number: int, values: NDArray[Any], region: Region5, target: NDArray[Any],
        finer: tuple[int, int, int] | None, pool: ThreadPoolExecutor,
    ) -> list[Future[None]]:  # fmt: skip
        """Let the pool work on a slab, chunk by chunk."""
        level = self._levels[number]
        _, _, cz, cy, cx = level.chunks
        _, ny, nx = values.shape
        t, c, z, y, _ = region

        def work(row: int, column: int) -> None:
            index = (t.start, c.start, z.start // cz, (y.start + row) // cy, column // cx)
            part = finer and target[:, row // finer[1] :, column // finer[2] :]
            self._chunk(number, index, values, (row, column), part, finer)

        *_, down, along = (1, *self._sinks[number].array.per_file)
        places = [(row, column) for row in range(0, ny, cy) for column in range(0, nx, cx)]
        # One shard after the other, so that their checksums can be taken side by side.
        places.sort(key=lambda place: (place[0] // cy % down, place[1] // cx % along))
        return [pool.submit(work, row, column) for row, column in places]

    def _next(self, number: int, region: Region5, band: slice) -> tuple[NDArray[Any], tuple[int, int, int] | None]:
        """Where what a region becomes goes, and the factors; (nothing, None) for the last level.

        ``band`` has the rows that go through the levels together, in which the region's lie.
        """
        if number + 1 == len(self._levels):
            return self._nothing, None
        coarser = self._levels[number + 1]
        step = coarser.step
        # a level of another writer may leave out the window that the end of this one cuts off
        z, y, rows = (
            slice(s.start // k, max(s.start // k, min(-(-s.stop // k), n)))
            for s, k, n in zip((*region[2:4], band), (*step[:2], step[1]), (*coarser.shape[2:4], coarser.shape[3]),
                               strict=True)
        )  # fmt: skip
        if z.start == z.stop or y.start == y.stop:
            return self._nothing, step
        if self._kept is not None and number + 1 == self._plan.streamed:
            return self._kept[z, y], step
        height, filled = rows.stop - rows.start, self._filled[number + 1]
        values = self._arrays[number + 1, 0].reshape(-1)[: coarser.chunks[2] * height * coarser.shape[4]]
        target = values.reshape(coarser.chunks[2], height, coarser.shape[4])
        return target[filled : filled + z.stop - z.start, y.start - rows.start : y.stop - rows.start], step

    def _pass_on(
        self, number: int, planes: int, above: Region5, step: tuple[int, int, int], pool: ThreadPoolExecutor
    ) -> None:
        if self._kept is not None and number == self._plan.streamed:
            return
        level = self._levels[number]
        self._filled[number] += planes
        start = self._base[number]
        stop = start + self._filled[number]
        if self._filled[number] < level.chunks[2] and stop < level.shape[2]:
            return
        self._settle()
        t, c, _, y, _ = above
        rows = slice(y.start // step[1], min(-(-y.stop // step[1]), level.shape[3]))
        region = (t, c, slice(start, stop), rows, slice(0, level.shape[4]))
        size = (stop - start, rows.stop - rows.start, level.shape[4])
        values = self._arrays[number, 0].reshape(-1)[: math.prod(size)].reshape(size)
        self._base[number], self._filled[number] = stop, 0
        self._flush(number, values, region, pool)

    def _chunk(
        self,
        number: int,
        index: tuple[int, ...],
        values: NDArray[Any],
        place: tuple[int, int],
        target: NDArray[Any] | None,
        step: tuple[int, int, int] | None,
    ) -> None:
        """Encode the chunk at a row and column of a slab, take its statistics, and make its part of the next level."""
        level: Level = self._levels[number]
        chunks = level.chunks[2:]
        block = values[:, place[0] : place[0] + chunks[1], place[1] : place[1] + chunks[2]]
        raw = scratch("chunk", math.prod(chunks) * self._dtype.itemsize)
        full = raw.view(self._dtype).reshape(chunks)
        counted = number == 0 and self._counted
        part = None if step is None or target is None else share_of(target, block.shape, step)
        small = self._dtype.kind in "iu" and self._dtype.itemsize < 4
        if part is not None and step is not None and block.shape == chunks and small and self._method == "mean":
            counts = self._counts_of(index[1]) if counted else None
            found = cut_halving(values, place, full, step, part, counts)
            if counted:
                self._note_range(index[1], found)
            self._put(number, self._without_absent(index), full)
            return
        if block.shape != chunks:
            raw[...] = 0
        inside = full[tuple(slice(n) for n in block.shape)]
        inside[...] = block
        if counted:
            self._note_range(index[1], tally(inside, self._counts_of(index[1])))
        if part is not None and step is not None:
            shrink(inside, step, part, self._method)
        self._put(number, self._without_absent(index), full)

    def _put(self, number: int, index: tuple[int, ...], values: NDArray[Any]) -> None:
        """Encode a chunk and write it; or take it from a stopped run, if its values are still those."""
        sink = self._sinks[number]
        if not self._earlier:
            sink.put(index, sink.array.codec.encode(values))
            return
        earlier, checksum = self._earlier[number], crc32(values)
        found = earlier.payload(index, checksum)
        payload = found if found is not None else sink.array.codec.encode(values)
        where = sink.put(index, payload)
        with self._noting:
            earlier.finished(index, Chunk(checksum, len(payload), isal_zlib.crc32(payload)), where)
            earlier.flush()
            self._written.resumed += found is not None
            self._written.changed += found is None and earlier.changed(index, checksum)

    def _without_absent(self, index: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(index[k] for k in self._kept_axes)

    def _counts_of(self, channel: int) -> NDArray[np.int64]:
        """Give this thread's histogram of a channel; that of the one before is added to what is known."""
        thread = threading.get_ident()
        before, counts = self._counting.get(thread) or (channel, np.zeros(BINS, np.int64))
        if before != channel:
            with self._turn:
                self._counts[before] += counts
            counts[...] = 0
        self._counting[thread] = channel, counts
        return counts

    def _note_range(self, channel: int, found: tuple[float, float]) -> None:
        with self._turn:
            known = self._range[channel]
            self._range[channel] = (min(found[0], known[0]), max(found[1], known[1]))

    def _statistics(self, channel: int) -> ChannelStatistics:
        low, high = self._range[channel]
        total = np.cumsum(self._counts[channel])
        if low > high or not total[-1]:
            return ChannelStatistics(None, None, None, None)
        values = bin_values(self._dtype)
        start, end = (
            float(np.clip(values[np.searchsorted(total, share * total[-1])], low, high)) for share in (0.01, 0.998)
        )  # fmt: skip
        return ChannelStatistics(low, high, start, end)
