"""Takes windows out of a stream: its start, its end, where it is loudest and quietest, and places in between."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from math import ceil, prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dandify.store.pipeline import read_values
from dandify.store.region import Region, extent
from dandify.tuning.material import Material

WINDOWS = 8
LEAST_WINDOWS = 4
WHOLE_BYTES = 64_000_000  # of a stream that is taken as a whole
SAMPLE_BYTES = 160_000_000  # of a larger one: four windows as long as the longest chunks of 384 channels
PROBES = 32  # places where loudness is looked at
PROBE_ROWS = 64
PROBE_SHARE = 8  # one in so many of the bytes that may be touched goes to probes
COVERED = 0.85  # of a stream: windows count by their size; of fewer, chance says what is left out
ALIKE = 0.05  # loudness that differs by less counts as the same
SMALL_BYTES = 2_000_000_000  # up to here all of it may be read,
TOUCHED = 0.02  # beyond so much of it,
MOST_TOUCHED_BYTES = 2_000_000_000  # and no more than this
_RANKS = 4  # the loudest, or one of the next, where that lies in a window already
_TRIES = 8
_LEAST_SIDE = 256  # pixels, of parts of large frames: as wide as chunks usually are
_CROPS = 64  # that are tried for a window
_Place = tuple[int, int]  # position of a row, and number of a crop
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Window:
    """Values of a run of samples or frames.

    Attributes
    ----------
    region
        Where they lie.
    place
        Why there: ``start``, ``end``, ``loudest``, ``quietest``, ``between``, or ``all``.
    values
        As stored, contiguous.
    weight
        Share of the stream that it stands for: that of the places that are about as loud, or its own where windows are
        most of the stream.
    """

    region: Region
    place: str
    values: NDArray[Any]
    weight: float


@dataclass(frozen=True, eq=False)
class Sample:
    """Windows of a stream.

    Attributes
    ----------
    windows
        In the order of the stream.
    touched_bytes
        What was read of the source, probes and blocks that had to be read as a whole included; raw.
    whole
        The windows are all of the stream.
    """

    windows: tuple[Window, ...]
    touched_bytes: int
    whole: bool

    @property
    def nbytes(self) -> int:
        """Size of the windows."""
        return sum(w.values.nbytes for w in self.windows)


def allowance(raw_bytes: int) -> int:
    """Bytes of sources that may be touched: 2 % of what is larger than 2 GB, and never more than 2 GB."""
    return raw_bytes if raw_bytes <= SMALL_BYTES else min(MOST_TOUCHED_BYTES, int(TOUCHED * raw_bytes))


def take_sample(
    material: Material, allowed_bytes: int, seed: int, *, rows: int = 1, measured_bytes: int = WHOLE_BYTES
) -> Sample:  # fmt: skip
    """Read the windows of a stream.

    Parameters
    ----------
    material
        The stream; not empty.
    allowed_bytes
        That may be touched of it. At least one block of it is read, however large.
    seed
        Of the places in between.
    rows
        Length of the longest chunk that is to be measured: windows are as long, if that leaves enough of them.
    measured_bytes
        What is going to be measured of it: a stream that is larger is not taken as a whole, if windows can be read, for
        of one long window its beginning alone would be measured.

    Raises
    ------
    dandify.errors.BadSource
        If it cannot be read.
    """
    if material.raw_bytes <= min(allowed_bytes, WHOLE_BYTES) and not (
        material.raw_bytes > measured_bytes and _divisible(material)
    ):
        every = tuple(slice(0, n) for n in material.shape)
        whole = read_values(material.array, every, material.dtype, material.name)
        runs = list(np.ndindex(material.shape[: material.leading - 1]))
        found = [
            Window((*first, *every[len(first) :]), "all", whole[first], 1 / len(runs))
            for first in (tuple(slice(k, k + 1) for k in run) for run in runs)
        ]
        return Sample(tuple(found), material.array.nbytes, whole=True)
    left = allowed_bytes - allowed_bytes // PROBE_SHARE
    reader = _Reader(material, min(left, SAMPLE_BYTES) // LEAST_WINDOWS, rows)
    probes, loudness = _probe(reader, allowed_bytes // PROBE_SHARE)
    length, count = _window_length(reader, min(SAMPLE_BYTES, allowed_bytes - reader.touched), rows)
    places = _places(reader, length, count, probes, loudness, seed)
    read = [(reader.window(start, length, crop), place) for (start, crop), place in places]
    values = [reader.read(region) for region, _ in read]
    most = sum(v.nbytes for v in values) >= COVERED * material.raw_bytes
    weights = _by_size(values) if most else _weights(values, loudness, material.leading)
    found = [Window(r, p, v, w) for (r, p), v, w in zip(read, values, weights, strict=True)]
    return Sample(tuple(found), reader.touched, whole=False)


def _divisible(material: Material) -> bool:
    """Whether its blocks are short enough for several windows."""
    axis = material.leading - 1
    return (material.grain[axis] if material.grain else 1) * LEAST_WINDOWS <= material.shape[axis]


class _Reader:
    """Reads regions of a stream and counts what that touches.

    Positions count rows over all leading axes. Where rows are too large to be read whole, parts of them are, and
    ``crops`` are the places of such parts: several, for in the middle of an image is what people look at.
    """

    def __init__(self, material: Material, most_bytes: int, rows: int) -> None:
        self.material = material
        self.touched = 0
        self.axis = material.leading - 1  # along which windows are long
        shape = material.shape
        self.length = shape[self.axis]
        self.rows = prod(shape[: self.axis + 1])
        self.grain = material.grain
        self.step = self.grain[self.axis] if self.grain else 1
        inner = shape[self.axis + 1 :]
        parts = self._parts(inner, most_bytes, max(self.step, min(rows, self.length)) if len(inner) >= 2 else self.step)
        self.row_bytes = prod(parts) * material.dtype.itemsize
        along = [_crops(n, p, self._block(k)) for k, (n, p) in enumerate(zip(inner, parts, strict=True))]
        self.crops = _middle_first(list(product(*along)))

    def _block(self, axis: int) -> int:
        """Give what must be read as a whole along one of the last axes."""
        return self.grain[self.axis + 1 + axis] if self.grain else 1

    def _parts(self, inner: tuple[int, ...], most_bytes: int, rows: int) -> list[int]:
        """Sizes of parts of rows, in whole blocks, where so many rows are more than may be read at one place."""
        parts = list(inner)
        for k, whole in enumerate(inner):
            block = self._block(k)
            room = most_bytes // max(1, prod(parts) // max(1, whole) * rows * self.material.dtype.itemsize)
            if room < whole:
                least = _LEAST_SIDE if len(inner) >= 2 else 1
                parts[k] = min(whole, max(ceil(least / block) * block, room // block * block))
        return parts

    def region(self, lead: int, start: int, stop: int, crop: int) -> Region:
        shape = self.material.shape
        first = np.unravel_index(lead, shape[: self.axis]) if self.axis else ()
        return (*(slice(int(i), int(i) + 1) for i in first), slice(start, stop), *self.crops[crop])

    def window(self, position: int, length: int, crop: int = 0) -> Region:
        """Region of ``length`` rows at a position, moved to lie within its run and to begin with a block."""
        lead, start = divmod(position, self.length)
        start = max(0, min(start, self.length - length)) // self.step * self.step
        return self.region(lead, start, min(self.length, start + length), crop)

    def cost(self, region: Region) -> int:
        sizes = extent(region)
        if self.grain:
            sizes = tuple(
                min(n, ceil(s.stop / g) * g) - s.start // g * g
                for s, g, n in zip(region, self.grain, self.material.shape, strict=True)
            )
        return prod(sizes) * self.material.array.dtype.itemsize

    def read(self, region: Region) -> NDArray[Any]:
        self.touched += self.cost(region)
        return read_values(self.material.array, region, self.material.dtype, self.material.name)


def _crops(length: int, part: int, block: int) -> list[slice]:
    """Places of parts of an axis, evenly spread and beside one another."""
    count = max(1, length // max(1, part))
    room = length - part
    starts = [room // 2] if count == 1 else [room * k // (count - 1) for k in range(count)]
    return [slice(s // block * block, min(length, s // block * block + part)) for s in starts]


def _middle_first(items: list[_T]) -> list[_T]:
    """Order items so that the first few are spread: the middle, the first, the last, and then what lies between."""
    order = list(dict.fromkeys([len(items) // 2, 0, len(items) - 1]))
    step = len(items) // 2
    while step:
        order += range(step // 2, len(items), step)
        step //= 2
    return [items[k] for k in dict.fromkeys([*order, *range(len(items))])]


def _probe(reader: _Reader, allowed: int) -> tuple[list[_Place], list[float]]:
    """Loudness at places evenly spread, as many as may be looked at; none where one alone would be too much."""
    rows = max(1, min(PROBE_ROWS, reader.length, allowed // PROBES // max(1, reader.row_bytes)))
    each = reader.cost(reader.window(0, rows))
    count = min(PROBES, allowed // max(1, each), reader.rows)
    places = [(reader.rows * (2 * k + 1) // (2 * count), k % len(reader.crops)) for k in range(count)]
    return places, [loudness_of(reader.read(reader.window(at, rows, crop)), reader.axis) for at, crop in places]


def loudness_of(values: NDArray[Any], axis: int) -> float:
    """Give the standard deviation, of each channel over time if there are several rows; without NaN and infinities."""
    plain = values.astype(np.float64)
    finite = np.isfinite(plain)
    if not finite.any():
        return 0.0
    over = axis if values.ndim - axis <= 2 and values.shape[axis] > 1 else None
    count = finite.sum(axis=over, keepdims=True)
    plain[~finite] = 0
    mean = plain.sum(axis=over, keepdims=True) / np.maximum(1, count)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.where(finite, (plain - mean) ** 2, 0).sum() / finite.sum()
    return float(np.sqrt(squares)) if np.isfinite(squares) else 0.0


def _window_length(reader: _Reader, allowed: int, rows: int) -> tuple[int, int]:
    """Rows of a window, in whole blocks, and how many windows: few long ones rather than many short ones."""
    each = max(1, reader.cost(reader.window(0, min(reader.step, reader.length))))  # the least that can be read
    wanted = ceil(rows / reader.step)
    for count in range(WINDOWS, 1, -1):
        blocks = allowed // count // each
        if blocks >= wanted or (blocks and count <= LEAST_WINDOWS):
            return min(reader.length, blocks * reader.step), count
    return max(1, min(reader.length, reader.step, SAMPLE_BYTES // max(1, reader.row_bytes))), 1


def _places(
    reader: _Reader, length: int, count: int, probes: list[_Place], loudness: list[float], seed: int
) -> list[tuple[_Place, str]]:
    """Places of windows with their reasons, in order, without repeating one."""
    taken: dict[_Place, str] = {}
    many = len(reader.crops)

    def take(position: int, place: str, wanted: int | None = None) -> bool:
        """Take a window, at one crop or at the next that is free, unless it is of values that are taken already."""
        position = max(0, min(position, reader.rows - 1))
        lead = position // reader.length * reader.length
        start = lead + reader.window(position, length)[reader.axis].start
        if len(taken) == count:
            return False
        first = len(taken) if wanted is None else wanted
        for crop in ((first + k) % many for k in range(min(many, _CROPS) if wanted is None else 1)):
            if not any(abs(start - other) < length and crop == there for other, there in taken):
                taken[start, crop] = place
                return True
        return False

    take(0, "start")
    take(reader.rows - 1, "end")
    order = [int(k) for k in np.argsort(loudness, kind="stable")]
    for ranked, place in ((order[::-1], "loudest"), (order, "quietest")):
        for k in ranked[:_RANKS]:
            if take(probes[k][0] - length // 2, place, probes[k][1]):
                break
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, reader.rows, max(1, count - len(taken)) + 1).astype(int)
    for low, high in pairwise(edges):
        for _ in range(_TRIES):
            if take(int(rng.integers(low, max(low + 1, high))), "between"):
                break
    return sorted(taken.items())


def _by_size(windows: list[NDArray[Any]]) -> list[float]:
    """Shares of windows that are most of a stream."""
    total = sum(w.size for w in windows)
    return [w.size / total for w in windows]


def _weights(windows: list[NDArray[Any]], loudness: list[float], leading: int) -> list[float]:
    """Share of the probes whose loudness is nearest to that of each window; equal where nothing was probed."""
    if not loudness or len(windows) == 1:
        return [1 / len(windows)] * len(windows)
    own = np.array([loudness_of(w[tuple(slice(0, PROBE_ROWS) for _ in range(leading))], leading - 1) for w in windows])
    distance = np.abs(np.array(loudness)[:, None] - own[None, :])
    about = ALIKE * np.abs(np.array(loudness))[:, None]
    nearest = distance <= distance.min(axis=1, keepdims=True) + about  # those about as near share the place
    shares = nearest / nearest.sum(axis=1, keepdims=True)
    return [float(w) for w in shares.mean(axis=0)]
