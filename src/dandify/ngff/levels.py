"""The pyramid's geometry and its way through memory: levels, chunk shapes, and bands of rows that fit the cap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np

from dandify.errors import BadRequest
from dandify.kernels.shrink import Method
from dandify.store.piecewise import PART

Shape5 = tuple[int, int, int, int, int]
Shape3 = tuple[int, int, int]
Axes = tuple[str, ...]
Region5 = tuple[slice, slice, slice, slice, slice]  # t c z y x

AXES: Final = ("t", "c", "z", "y", "x")
CHUNK_BYTES: Final = 4 * 2**20  # of an inner chunk at most: one request of a viewer, and it stays in a core's cache
DEPTH: Final = 64  # planes of a chunk, where memory allows
READ_BYTES: Final = 4 * 2**20  # read at one go into a slab
_NEAR: Final = math.sqrt(2)  # sides that differ by less would not come nearer by halving the finer one
_BAND_WAYS: Final = ((32, 1), (16, 1), (8, 1), (16, 2), (8, 2), (8, 4))  # depth, and how much smaller the square is
_BAND_DEPTH: Final = 8
_LEAST_DEPTH: Final = 2  # two planes make one of the next level
_LEAST_PARTS: Final = 2  # of a band that is read in parts
_PER_WORKER: Final = 3  # chunks: the one being encoded, its code, and Blosc's working space


@dataclass(frozen=True)
class Level:
    """One resolution of the image; all tuples are t c z y x, axes that the image lacks have length 1.

    Attributes
    ----------
    shape, chunks
        Of the array.
    step
        How many voxels of the level above make one of this, (z, y, x); ones for level 0.
    factors
        The same for level 0.
    """

    shape: Shape5
    chunks: Shape5
    step: Shape3
    factors: Shape3

    def scale(self, voxel: tuple[float, ...]) -> tuple[float, ...]:
        """Distance of neighbouring values on each axis, ``voxel`` being that of level 0."""
        return tuple(v * f for v, f in zip(voxel, (1, 1, *self.factors), strict=True))

    def translation(
        self, voxel: tuple[float, ...], origin: tuple[float, ...] = (0.0,) * 5, method: Method = "mean"
    ) -> tuple[float, ...]:
        """Place of the first value's centre: what f voxels make lies (f - 1) / 2 voxels behind the ``origin``.

        Single voxels (``nearest``) are the first ones, and stay where they are.
        """
        if method == "nearest":
            return origin
        return tuple(o + v * (f - 1) / 2 for o, v, f in zip(origin, voxel, (1, 1, *self.factors), strict=True))


@dataclass(frozen=True)
class PyramidPlan:
    """What is written, and how it goes through memory.

    Attributes
    ----------
    levels
        From the finest.
    band_rows
        Rows of level 0 that are worked on at one time; all of them where the memory allows.
    read_rows
        Rows of those that are read and encoded at one go: fewer where the source yields them so.
    streamed
        Number of levels made band by band. The next one is then kept whole in memory, and the others are made of it.
    memory_bytes
        What it takes.
    reason
        Why so, in words.
    decoders
        Threads that read: several where a source decodes whole planes, which takes as long as encoding them.
    keep
        Where a time point is kept as it comes from a source that would otherwise decode the same again and again: one
        that yields several channels at one go, or whole planes for every band. ``nowhere``, ``memory`` or ``file``.
    """

    levels: tuple[Level, ...]
    band_rows: int
    read_rows: int
    streamed: int
    memory_bytes: int
    reason: str
    decoders: int = 1
    keep: Literal["nowhere", "memory", "file"] = "nowhere"

    @property
    def in_order(self) -> bool:
        """Planes are worked on in their order, though perhaps some rows of several of them at a time."""
        return self.band_rows >= self.levels[0].shape[3]

    @property
    def slabs(self) -> int:
        """How many parts of level 0 are in memory: one that is read, others that are encoded."""
        return _slabs(self.read_rows, self.band_rows)


def plan_pyramid(
    shape: Shape5,
    dtype: np.dtype[Any],
    voxel: tuple[float, ...],
    *,
    count: int | Literal["auto"],
    chunks: Shape5 | None,
    memory_bytes: int,
    workers: int,
    block: Shape5,
    shared: bool = True,
    like: Sequence[Shape5] | None = None,
) -> PyramidPlan:
    """Choose levels, chunks and bands.

    Whole planes in the deepest chunks first, then shallower chunks, then bands of rows; where a file yields whole
    planes only, bands would decode each plane once for every band, so depth is given up first.

    Parameters
    ----------
    shape, dtype
        Of the image.
    voxel
        Distance of neighbouring values on each axis.
    count
        Number of levels; ``auto``: until the smallest fits in one chunk.
    chunks
        Asked for; None to choose.
    memory_bytes, workers
        The cap, and the number of threads that share it.
    block
        What the source yields at one go.
    shared
        Several threads may read the source.
    like
        Shapes of the levels, where they are those of another image; None to choose.

    Raises
    ------
    BadRequest
        If the memory does not suffice, naming what would; or if levels like those, or such chunks, cannot be.
    """
    steps = None if like is None else _steps(like)
    least: PyramidPlan | None = None
    for depth, smaller, banded in _ways(whole_planes=block[3:] == shape[3:], fixed=chunks and chunks[2]):
        cut = chunks or chunk_shape(shape, depth, dtype.itemsize, smaller)
        if like is None or steps is None:
            levels = tuple(_levels(shape, voxel, cut, count))
            if chunks is not None:
                _require_whole_windows(levels, chunks)
        elif (given := _given(like, steps, cut)) is None:
            continue
        else:
            levels = given
        plans = _banded(levels, dtype, workers, block) if banded else _whole(levels, dtype, workers, block, shared)
        for plan in plans:
            if plan.memory_bytes <= memory_bytes:
                return _keeping(plan, dtype, block, memory_bytes)
            if least is None or plan.memory_bytes < least.memory_bytes:
                least = plan
    if least is None:
        raise BadRequest(
            f"levels of {_listed(like or ())} values (t c z y x) need chunks that hold whole windows of "
            f"{' and '.join(_listed(steps or ()).split(', '))}", remedy="ask for other chunks, powers of two"
        )  # fmt: skip
    need = math.ceil(least.memory_bytes / 1e6)
    raise BadRequest(
        f"{memory_bytes / 1e6:,.3g} MB of memory do not suffice for planes of {shape[3]} x {shape[4]} {dtype} with "
        f"{workers} worker(s)",
        remedy=f"allow at least {need} MB (--memory {need}MB){', or fewer workers' if workers > 1 else ''}",
    )


def times_read(plan: PyramidPlan, block: Shape5) -> int:
    """How often the pass would have the source decode what it yields at one go (t c z y x)."""
    _, channels, _, rows, _ = plan.levels[0].shape
    bands = -(-min(rows, block[3]) // plan.band_rows)  # that part what is decoded at one go
    return bands * min(block[1], channels)


def kept_bytes(shape: Shape5, dtype: np.dtype[Any]) -> int:
    """Bytes of a time point."""
    return math.prod(shape[1:]) * dtype.itemsize


def _keeping(plan: PyramidPlan, dtype: np.dtype[Any], block: Shape5, memory_bytes: int) -> PyramidPlan:
    """Add where a time point is kept, if its parts would be decoded several times."""
    times = times_read(plan, block)
    if times == 1:
        return plan
    size = kept_bytes(plan.levels[0].shape, dtype)
    fits = plan.memory_bytes + size <= memory_bytes
    what = f"the source is read once instead of {times} times, and {size / 1e6:,.3g} MB are kept"
    return replace(
        plan, keep="memory" if fits else "file", memory_bytes=plan.memory_bytes + size * fits, decoders=1,
        reason=f"{plan.reason}; {what} {'in memory' if fits else 'in a file beside the output meanwhile'}",
    )  # fmt: skip


def chunk_shape(shape: Shape5, depth: int, itemsize: int, smaller: int = 1) -> Shape5:
    """Chunks of ``depth`` planes, square, the largest power of two within `CHUNK_BYTES`; clipped to the image."""
    depth = min(depth, shape[2])
    side = 2 ** int(math.log2(math.sqrt(CHUNK_BYTES / (depth * itemsize)))) // smaller
    return (1, 1, depth, min(side, shape[3]), min(side, shape[4]))


def require_chunks(chunks: Shape5, shape: Shape5) -> Shape5:
    """Clip chunks that were asked for to the image.

    Raises
    ------
    BadRequest
        If one is not positive, or holds several time points or channels.
    """
    if min(chunks) < 1 or chunks[:2] != (1, 1):
        raise BadRequest(f"chunks {chunks} (t c z y x)", remedy="1 along t and c, positive along z, y and x")
    return tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))  # type: ignore[return-value]  # five of fives


def _require_whole_windows(levels: Sequence[Level], chunks: Shape5) -> None:
    """Refuse chunks that were asked for where voxels of two of them make one of the next level."""
    for made, (above, level) in enumerate(pairwise(levels), start=1):
        cut = [c % k and c < n for c, n, k in zip(above.chunks[2:], above.shape[2:], level.step, strict=True)]
        if any(cut):
            axes = " and ".join(a for a, wrong in zip(AXES[2:], cut, strict=True) if wrong)
            raise BadRequest(
                f"chunks {chunks[2:]} (z y x): an odd length along {axes} would cut through voxels of level {made}",
                remedy=f"ask for even lengths there, best powers of two, or for {made} level{'s' * (made > 1)}",
            )


def _levels(shape: Shape5, voxel: tuple[float, ...], chunks: Shape5, count: int | Literal["auto"]) -> Iterator[Level]:
    size, factors, step = list(shape[2:]), [1, 1, 1], (1, 1, 1)
    made = 0
    while True:
        cut = tuple(min(c, n) for c, n in zip(chunks[2:], size, strict=True))
        yield Level((*shape[:2], *size), (1, 1, *cut), step, tuple(factors))  # type: ignore[arg-type]  # three each
        made += 1
        if made == count or (count == "auto" and all(n <= c for n, c in zip(size, chunks[2:], strict=True))):
            return
        sides = [v * f for v, f in zip(voxel[2:], factors, strict=True)]
        finest = min((s for s, n in zip(sides, size, strict=True) if n > 1), default=None)
        if finest is None:
            return
        step = tuple(2 if n > 1 and s < finest * _NEAR else 1 for s, n in zip(sides, size, strict=True))  # type: ignore[assignment]  # three
        size = [-(-n // k) for n, k in zip(size, step, strict=True)]
        factors = [f * k for f, k in zip(factors, step, strict=True)]


def _steps(shapes: Sequence[Shape5]) -> tuple[Shape3, ...]:
    """Voxels that make one of each level, (z, y, x), whichever way its writer rounded lengths."""
    found: list[Shape3] = [(1, 1, 1)]
    for number, (fine, coarse) in enumerate(pairwise(shapes), start=1):
        step = tuple(max(1, round(n / m)) for n, m in zip(fine, coarse, strict=True))
        if step[:2] != (1, 1) or any(m not in (n // k, -(-n // k)) for n, m, k in zip(fine, coarse, step, strict=True)):
            raise BadRequest(
                f"level {number} has {_listed([coarse])} values (t c z y x), which are no whole windows of the "
                f"{_listed([fine])} of the level above",
                remedy="write the image again with dandify, which halves axes",
            )
        found.append(step[2:])  # type: ignore[arg-type]  # three of five
    return tuple(found)


def _given(shapes: Sequence[Shape5], steps: Sequence[Shape3], chunks: Shape5) -> tuple[Level, ...] | None:
    """Levels of these shapes; None where a window would lie in two chunks."""
    levels: list[Level] = []
    factors: Shape3 = (1, 1, 1)
    for shape, step in zip(shapes, steps, strict=True):
        cut = tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
        if levels and any(c % k and c < n for c, n, k in zip(levels[-1].chunks[2:], levels[-1].shape[2:], step,
                                                            strict=True)):  # fmt: skip
            return None
        factors = tuple(f * k for f, k in zip(factors, step, strict=True))  # type: ignore[assignment]  # three
        levels.append(Level(shape, cut, step, factors))  # type: ignore[arg-type]  # five
    return tuple(levels)


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes)


def _ways(*, whole_planes: bool, fixed: int | None) -> Iterator[tuple[int, int, bool]]:
    """Depths to try, how much smaller chunks are than they could be, and whether in bands."""
    if fixed is not None:
        yield from ((fixed, 1, False), (fixed, 1, True))
        return
    depth = DEPTH
    while depth >= (_LEAST_DEPTH if whole_planes else _BAND_DEPTH):
        yield depth, 1, False
        depth //= 2
    yield from ((depth, smaller, True) for depth, smaller in _BAND_WAYS)


def _whole(
    levels: tuple[Level, ...], dtype: np.dtype[Any], workers: int, block: Shape5, shared: bool
) -> Iterator[PyramidPlan]:
    """Whole planes, decoded by as many threads as encode, or by one if the memory is short.

    Rows that a source yields one by one need no decoding.
    """
    rows = levels[0].shape[3]
    read = _read_rows(levels[0], rows, block)
    reason = f"whole planes, {levels[0].chunks[2]} at one time"
    if read < rows:
        reason += f", {read} rows of them in turn"
    for decoders in sorted({workers if shared and block[3] > 1 else 1, 1}, reverse=True):
        need = _memory(levels, len(levels), rows, read, dtype, workers, block, decoders)
        yield PyramidPlan(levels, rows, read, len(levels), need, reason, decoders)


def _banded(levels: tuple[Level, ...], dtype: np.dtype[Any], workers: int, block: Shape5) -> Iterator[PyramidPlan]:
    """Bands, the widest first; each level made in bands has bands of whole chunks."""
    widest = len(levels) - 1
    for streamed in range(widest, 0, -1):
        rows = levels[0].chunks[3] * levels[streamed - 1].factors[1]
        # the chunk height of every streamed level must be that of level 0, or its band would not hold whole chunks
        if rows >= levels[0].shape[3] or levels[streamed - 1].chunks[3] != levels[0].chunks[3]:
            continue
        read = _read_rows(levels[0], rows, block)
        need = _memory(levels, streamed, rows, read, dtype, workers, block)
        yield PyramidPlan(
            levels, rows, read, streamed, need,
            f"bands of {rows} rows, {levels[0].chunks[2]} planes at one time; level {streamed} in memory",
        )  # fmt: skip


def _read_rows(level: Level, rows: int, block: Shape5) -> int:
    """Rows that are read at one go: of a row of chunks, in whole blocks of the source; or all."""
    few = math.lcm(level.chunks[3], block[3])
    return few if few * _LEAST_PARTS <= rows else rows


def _slabs(read_rows: int, band_rows: int) -> int:
    return 2 if read_rows == band_rows else 3


def _memory(
    levels: tuple[Level, ...], streamed: int, rows: int, read: int, dtype: np.dtype[Any], workers: int, block: Shape5,
    decoders: int = 1,
) -> int:  # fmt: skip
    values = 0
    for number, level in enumerate(levels):
        height = -(-rows // level.factors[1]) if number < streamed else level.shape[3]
        slab = level.chunks[2] * min(height, level.shape[3]) * level.shape[4]
        values += _slabs(read, rows) * level.chunks[2] * read * level.shape[4] if number == 0 else slab
    if streamed < len(levels):
        values += math.prod(levels[streamed].shape[2:])
    _, _, depth, height, width = levels[0].shape
    if rows >= height:
        values += levels[0].chunks[2] * height * width // PART  # of the checksum
    planes = min(block[2], levels[0].chunks[2])
    piece = max(min(READ_BYTES // dtype.itemsize, depth * height * width), planes * min(read, height) * width)
    decoded = planes * block[3] * block[4]  # what a source holds while it decodes,
    decoded *= 2 * block[1] if block[1] > 1 else 1  # and what of it is on the way to where it is kept
    values += (piece + decoded) * decoders
    return (values + workers * _PER_WORKER * math.prod(levels[0].chunks)) * dtype.itemsize
