"""Checks of an image's values: every chunk decodes, and each level follows from the one above."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.kernels import shrink, windows
from dandify.kernels.windows import judge_windows
from dandify.ngff.check_tree import SAMPLE_STEP, Share
from dandify.ngff.problems import Problem
from dandify.ngff.stored import StoredArray
from dandify.ngff.verify import open_level
from dandify.store.region import Region

_UNIT_BYTES: Final = 32 * 2**20  # decoded at one go, unless a chunk is larger
_MOST_WINDOW: Final = 512  # voxels of a window; levels that are further apart are not compared
_SIDE: Final = 16  # of the blocks that are judged as one, in voxels of the coarse level
_ENOUGH: Final = 50  # windows that tell a method, before it is believed
_SURE: Final = 0.9  # share of them that must follow it
_GROSS: Final = 8  # values beyond all around them, before a level is called damaged
_NAMED: Final = 3  # places that are named in one finding
_REMEDY: Final = "write the image again, or fetch both levels from a good copy"

Starts = Sequence[float] | None


@dataclass(frozen=True)
class Method:
    """How a level was made of the one above.

    Attributes
    ----------
    name
        In words.
    tells, off_told, off
        Columns of `judge_windows`.
    place
        Where the result lies in its window: 0 at the first voxel, 1 at the last; None where it may be anywhere.
    """

    name: str
    tells: int
    off_told: int
    off: int
    place: float | None


_FIRST: Final = Method("the first voxel", windows.TELL_ONE, windows.OFF_FIRST_TOLD, windows.OFF_FIRST, 0.0)
_LAST: Final = Method("the last voxel", windows.TELL_ONE, windows.OFF_LAST_TOLD, windows.OFF_LAST, 1.0)
_MEAN: Final = Method("the mean", windows.TELL_MEAN, windows.OFF_MEAN_TOLD, windows.OFF_MEAN, 0.5)
_MEMBER: Final = Method("one of the voxels", windows.TELL_MEMBER, windows.OFF_MEMBER_TOLD, windows.OFF_MEMBER, None)
_MODE: Final = replace(_MEMBER, name="the most frequent voxel")
_MAX: Final = replace(_MEMBER, name="the largest voxel")
_METHODS: Final = (_FIRST, _LAST, _MEAN, _MEMBER)
DECLARED: Final[Mapping[shrink.Method, Method]] = {"mean": _MEAN, "nearest": _FIRST, "mode": _MODE, "max": _MAX}
"""By what dandify writes as ``type``: its levels are made again, cut-off windows at the ends of axes too."""


@dataclass
class Compared:
    """What was found between two levels.

    Attributes
    ----------
    factors
        Voxels of the finer level for one of the coarser, along the last three axes.
    blocks
        Corner in the coarse level, and the columns of `judge_windows`.
    """

    factors: tuple[int, int, int]
    blocks: list[tuple[tuple[int, ...], NDArray[np.int64]]] = field(default_factory=list)

    def method(self) -> Method | None:
        """Give the method that the values give away; None where they give away none."""
        total = self._total()
        for method in _METHODS:
            told = total[method.tells]
            if told >= _ENOUGH and total[method.off_told] <= (1 - _SURE) * told:
                return method
        return None

    def too_few(self, method: Method) -> bool:
        """Whether so few windows tell a method that nothing can be said by them alone."""
        return bool(self._total()[method.tells] < _ENOUGH)

    def _total(self) -> NDArray[np.int64]:
        total = np.zeros(windows.COLUMNS, np.int64)
        for _, counts in self.blocks:
            total += counts
        return total


def check_array(array: StoredArray, share: Share, known: Collection[Path], workers: int) -> Iterator[Problem]:
    """Decode an array that is no level of an image, or the last."""
    yield from _Scan(array, None, known, [], None).run(share, workers)


class LevelChecks:
    """Decodes the levels of an image one after the other, and compares each with the next.

    Parameters
    ----------
    declared
        How dandify made each level of the one above; None where another tool did.
    share
        How much of them.
    known
        Files that are known to be damaged.
    workers
        Threads.
    """

    def __init__(self, declared: shrink.Method | None, share: Share, known: Collection[Path], workers: int) -> None:
        self._declared, self._share, self._known, self._workers = declared, share, known, workers
        self._shown: list[Method | None] = []  # by the levels so far

    def check(
        self, fine: StoredArray, coarse: StoredArray, *, missing: Sequence[Region], starts: tuple[Starts, Starts],
        scale: Starts,
    ) -> Iterator[Problem]:  # fmt: skip
        """Decode a level, and compare it with the next.

        Parameters
        ----------
        fine, coarse
            The levels.
        missing
            Regions of the finer level that are not stored: there is nothing to compare.
        starts
            Translations of both levels; None where none is stated.
        scale
            Of the finer level.
        """
        scan = _Scan(fine, coarse, self._known, missing, self._declared)
        yield from scan.run(self._share, self._workers)
        compared = scan.compared
        if compared is None:
            return
        declared = None if self._declared is None else DECLARED[self._declared]
        method = declared or compared.method()
        self._shown.append(method)
        told = method is not None
        if method is None and (usual := self._usual()) is not None and compared.too_few(usual):
            method = usual
        off = windows.OUTSIDE if method is None else method.off
        wrong = [(corner, int(counts[off])) for corner, counts in compared.blocks if counts[off]]
        if wrong and (method is not None or sum(n for _, n in wrong) >= _GROSS):
            yield _contradiction(fine, coarse, compared, method, wrong, told=told)
        if told and method is not None and not wrong and scale is not None:
            yield from _shifted(fine, coarse, compared.factors, method, starts, scale)

    def _usual(self) -> Method | None:
        """Give the method that all levels before show."""
        before = set(self._shown[:-1])
        return before.pop() if len(before) == 1 else None


def _contradiction(
    fine: StoredArray, coarse: StoredArray, compared: Compared, method: Method | None,
    wrong: Sequence[tuple[tuple[int, ...], int]], *, told: bool,
) -> Problem:  # fmt: skip
    places = "; ".join(
        ", ".join(f"{c}:{min(c + s, n)}" for c, s, n in zip(corner, _sides(corner), coarse.shape, strict=True))
        for corner, _ in wrong[:_NAMED]
    )
    more = f" and {len(wrong) - _NAMED} more places" if len(wrong) > _NAMED else ""
    window = " x ".join(map(str, compared.factors))
    what = (
        f"{sum(n for _, n in wrong)} values are not {method.name} of their {window} windows of level {fine.path.name}, "
        f"as {'the others' if told else 'those of the levels before'} are"
        if method
        else f"{sum(n for _, n in wrong)} values lie far beyond all values of level {fine.path.name} around them"
    )
    return Problem(
        "ngff.levels_contradict", "ERROR" if told or method is None else "WARNING", coarse.path,
        f"{what}, at [{places}]{more} of level {coarse.path.name}: one of both levels is damaged there", _REMEDY,
    )  # fmt: skip


def _sides(corner: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if axis < len(corner) - 3 else _SIDE for axis in range(len(corner)))


def _shifted(
    fine: StoredArray, coarse: StoredArray, factors: tuple[int, int, int], method: Method,
    starts: tuple[Starts, Starts], scale: Sequence[float],
) -> Iterator[Problem]:  # fmt: skip
    """Say so where the values were made in one way, and the translations are those of another."""
    if method.place is None:
        return
    spatial = len(fine.shape)
    every = (1,) * (spatial - 3) + factors[-min(3, spatial) :]
    before, after = (s or [0.0] * spatial for s in starts)
    if not len(before) == len(after) == len(scale) == spatial:
        return  # yaozarrs says so
    expected = [method.place * (f - 1) * s for f, s in zip(every, scale, strict=True)]
    found = [b - a for a, b in zip(before, after, strict=True)]
    near = [0.1 * s + 1e-3 * s * f for s, f in zip(scale, every, strict=True)]
    if all(abs(e - f) <= n for e, f, n in zip(expected, found, near, strict=True)):
        return
    stated = starts[1] is not None
    said = f"the translations say {_numbers(found)}" if stated else "no translation is stated"
    yield Problem(
        "ngff.level_shifted", "ERROR" if stated else "WARNING", coarse.path,
        f"level {coarse.path.name} holds {method.name} of each window of level {fine.path.name}, which lies "
        f"{_numbers(expected)} from the first voxel, and {said}: viewers show it out of place",
        f"add a translation of {_numbers([a + e for a, e in zip(before, expected, strict=True)])} to level "
        f"{coarse.path.name}, or write the image again",
    )  # fmt: skip


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{v:g}" for v in values) + "]"


class _Scan:
    """One reading of a level, unit by unit, with the next level beside it where they can be compared."""

    def __init__(
        self, fine: StoredArray, coarse: StoredArray | None, known: Collection[Path], missing: Sequence[Region],
        declared: shrink.Method | None,
    ) -> None:  # fmt: skip
        self._fine, self._coarse, self._known, self._declared = fine, coarse, known, declared
        self._missing = {tuple(s.start for s in region) for region in missing}
        self._factors = None if coarse is None else _factors(fine, coarse)
        self.compared = None if self._factors is None else Compared(_three(self._factors))
        self._unit = _unit(fine, coarse, self._factors)

    def run(self, share: Share, workers: int) -> Iterator[Problem]:
        """Read the level; what cannot be decoded is yielded, what was compared is kept."""
        try:
            self._ours = open_level(self._fine.path, threads=workers)
            self._theirs = open_level(self._coarse.path, threads=workers) if self._coarse and self.compared else None
        except ValueError as error:
            yield Problem(
                "ngff.not_decoded", "WARNING", self._fine.path, f"its values were not looked at: {_line(error)}",
                "write it with codecs that all readers have, if a viewer does not show it either",
            )  # fmt: skip
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="dandify-check") as pool:
            for start in range(0, len(places := list(self._places(share))), 4 * workers):
                for problems, blocks in pool.map(self._one, places[start : start + 4 * workers]):
                    yield from problems
                    if self.compared is not None:
                        self.compared.blocks += blocks

    def _places(self, share: Share) -> Iterator[Region]:
        shape, unit = self._fine.shape, self._unit
        counts = [range(0, n, u) for n, u in zip(shape, unit, strict=True)]
        total = math.prod(map(len, counts))
        for number, corner in enumerate(product(*counts)):
            if share == "full" or number % SAMPLE_STEP == 0 or number == total - 1:
                yield tuple(slice(c, min(c + u, n)) for c, u, n in zip(corner, unit, shape, strict=True))

    def _one(self, region: Region) -> tuple[list[Problem], list[tuple[tuple[int, ...], NDArray[np.int64]]]]:
        """Decode a unit and compare it."""
        absent = [self._absent(corner) for corner in self._chunks(region)]
        if all(absent):
            return [], []
        try:
            values = np.asarray(self._ours[region].read().result())
        except ValueError:
            return list(self._narrowed(region)), []
        if self._theirs is None or self._factors is None or self._coarse is None or any(absent):
            return [], []
        cut = 0 if self._declared is None else 1  # windows at the ends of axes: others have ways of their own
        place = tuple(
            slice(-(-s.start // f), min((s.stop + cut * (f - 1)) // f, m))
            for s, f, m in zip(region, self._factors, self._coarse.shape, strict=True)
        )
        if any(s.start >= s.stop for s in place):
            return [], []
        try:
            coarse = np.asarray(self._theirs[place].read().result())
        except ValueError:  # said when that level is read for itself
            return [], []
        whole = tuple(
            slice(p.start * f - r.start, min(p.stop * f, r.stop) - r.start)
            for p, f, r in zip(place, self._factors, region, strict=True)
        )
        return [], list(_blocks(values[whole], coarse, self._factors, place, self._declared))

    def _chunks(self, region: Region) -> Iterator[tuple[int, ...]]:
        """Give the first values of the chunks that a unit touches."""
        inner = self._fine.inner
        return product(*(range(s.start // i * i, s.stop, i) for s, i in zip(region, inner, strict=True)))

    def _absent(self, corner: tuple[int, ...]) -> bool:
        return corner in self._missing or not self._fine.file_of(corner).is_file()

    def _narrowed(self, region: Region) -> Iterator[Problem]:
        """Find the chunks of a unit that do not decode."""
        array = self._fine
        for corner in self._chunks(region):
            part = tuple(slice(c, min(c + i, n)) for c, i, n in zip(corner, array.inner, array.shape, strict=True))
            try:
                self._ours[part].read().result()
            except ValueError as error:
                path = array.file_of(corner)
                if path not in self._known:
                    where = ", ".join(f"{s.start}:{s.stop}" for s in part)
                    yield Problem(
                        "ngff.chunk_damaged", "ERROR", path, f"does not decode at [{where}]: {_line(error)}",
                        "write the image again, or fetch the file from a good copy",
                    )  # fmt: skip


def _factors(fine: StoredArray, coarse: StoredArray) -> tuple[int, ...] | None:
    """Voxels of the finer level for one of the coarser; None where the levels cannot be compared."""
    if len(fine.shape) != len(coarse.shape) or len(fine.shape) < 2 or fine.dtype != coarse.dtype:
        return None
    factors = []
    for n, m in zip(fine.shape, coarse.shape, strict=True):
        factor = max(1, round(n / m)) if m else 1
        if m not in (n // factor, -(-n // factor)):
            return None
        factors.append(factor)
    known = np.dtype(fine.dtype).kind in "biuf" if fine.plain else False
    apart = math.prod(factors)
    if not known or any(f > 1 for f in factors[:-3]) or not 1 < apart <= _MOST_WINDOW:
        return None
    return tuple(factors)


def _three(factors: tuple[int, ...]) -> tuple[int, int, int]:
    """Give the factors of z, y and x, whichever axes there are."""
    z, y, x = (1, *factors)[-3:]
    return z, y, x


def _unit(fine: StoredArray, coarse: StoredArray | None, factors: tuple[int, ...] | None) -> tuple[int, ...]:
    """Choose what is read at one go: what makes one chunk of the next level, or a chunk where that is too much."""
    unit = tuple(min(i, max(n, 1)) for i, n in zip(fine.inner, fine.shape, strict=True))
    if coarse is None or factors is None:
        return unit
    unit = tuple(-(-u // f) * f for u, f in zip(unit, factors, strict=True))
    wide = tuple(max(u, i * f) for u, i, f in zip(unit, coarse.inner, factors, strict=True))
    return wide if math.prod(wide) * np.dtype(fine.dtype).itemsize <= _UNIT_BYTES else unit


def _blocks(
    fine: NDArray[Any], coarse: NDArray[Any], factors: tuple[int, ...], place: Region, declared: shrink.Method | None
) -> Iterator[tuple[tuple[int, ...], NDArray[np.int64]]]:
    """Judge all planes of a unit, one time point and channel after the other."""
    if fine.dtype.kind == "b":
        fine, coarse = fine.view(np.uint8), coarse.view(np.uint8)
    if fine.dtype == np.float16:
        fine, coarse = fine.astype(np.float32), coarse.astype(np.float32)
    fine, coarse = (v.astype(v.dtype.newbyteorder("="), copy=False) for v in (fine, coarse))
    leading = coarse.shape[:-3]
    steps = _three(factors)
    for index in np.ndindex(*leading):
        parts = [v[index] if v.ndim >= 3 else v[None] for v in (fine, coarse)]
        if declared is not None and _takes(declared, parts[0], steps):
            found = _made_again(parts[0], parts[1], steps, declared)
        else:
            found = judge_windows(parts[0], parts[1], steps, exact=declared == "mean", side=_SIDE)
        for block in np.ndindex(*found.shape[:3]):
            if found[block].any():
                at = (*index, *(b * _SIDE for b in block))[-len(place) :]
                yield tuple(s.start + a for s, a in zip(place, at, strict=True)), found[block]


def _takes(method: shrink.Method, fine: NDArray[Any], steps: tuple[int, int, int]) -> bool:
    """Whether dandify makes levels so: labels, which keep those of their image, may have windows of other lengths."""
    return method != "mean" or (max(steps) == 2 and fine.dtype.itemsize <= 4)


def _made_again(
    fine: NDArray[Any], coarse: NDArray[Any], steps: tuple[int, int, int], method: shrink.Method
) -> NDArray[np.int64]:
    """Make a level again, and count the values of each block that are others; columns of `judge_windows`."""
    expected = np.empty_like(coarse, order="C")
    shrink.shrink(np.ascontiguousarray(fine), steps, expected, method)
    wrong = expected != coarse
    if coarse.dtype.kind == "f":
        wrong &= ~(np.isnan(expected) & np.isnan(coarse))
    counts = np.zeros((*(-(-n // _SIDE) for n in coarse.shape), windows.COLUMNS), np.int64)
    z, y, x = (places // _SIDE for places in np.nonzero(wrong))
    np.add.at(counts[..., DECLARED[method].off], (z, y, x), 1)
    return counts


def _line(error: Exception) -> str:
    """Keep the essential part of TensorStore's long messages."""
    text = str(error).split(" [tensorstore_spec")[0].split(" [source locations")[0]
    for document in ('zarr.json": ', '.zarray": '):
        text = text.rpartition(document)[2]
    return text.removeprefix("DATA_LOSS: ").strip()


def declared_method(multiscale: Mapping[str, Any]) -> shrink.Method | None:
    """Give the method by which dandify says it made an image's levels; None for the images of others."""
    metadata = multiscale.get("metadata")
    writer = metadata.get("method") if isinstance(metadata, dict) else None
    if not isinstance(writer, str) or not writer.startswith("dandify."):
        return None
    said = multiscale.get("type")
    return next((method for method in DECLARED if method == said), None)
