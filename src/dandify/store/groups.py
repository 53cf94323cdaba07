"""Chunks that are cut out of a slab together: neighbours on the last axis, which share rows, or ones of whole rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.columns import gather_columns, same_columns
from dandify.store.plan import ChunkPlan, most_grouped
from dandify.store.region import Region

Index = tuple[int, ...]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Group:
    """One task of a worker.

    Attributes
    ----------
    indices
        Of the chunks in the dataset's grid, in order.
    parts
        Their regions within the slab.
    """

    indices: tuple[Index, ...]
    parts: tuple[Region, ...]

    @property
    def count(self) -> int:
        """Number of chunks."""
        return len(self.indices)

    def only(self, k: int) -> Group:
        """Give the group of one of its chunks."""
        return Group(self.indices[k : k + 1], self.parts[k : k + 1])


def groups_of(plan: ChunkPlan, slab: Region) -> Iterator[Group]:
    """Sort the chunks of a slab into groups that a worker takes at one time, in C order."""
    most = most_grouped(plan.slab_bytes, plan.chunk_bytes)
    of_rows = plan.chunks[1:] == plan.shape[1:]
    indices: list[Index] = []
    parts: list[Region] = []
    for index, part in plan.chunks_of(slab):
        if indices and (len(indices) == most or (index[:-1] != indices[-1][:-1] and not of_rows)):
            yield Group(tuple(indices), tuple(parts))
            indices, parts = [], []
        indices.append(index)
        parts.append(part)
    if indices:
        yield Group(tuple(indices), tuple(parts))


def gather(slab: NDArray[Any], group: Group, chunks: tuple[int, ...], out: Bytes) -> None:
    """Cut a group out of a slab: values in C order, zeros where the dataset ends inside a chunk.

    Parameters
    ----------
    slab
        Values, contiguous.
    group
        Of it.
    chunks
        Shape of a chunk.
    out
        (chunks of the group, bytes of a chunk), contiguous.
    """
    if (whole := _whole(slab, group, chunks)) is not None:
        out[...] = whole
        return
    alike = _alike(slab, group.parts, chunks)
    if alike:
        rows, first, width = _columns(slab, group.parts[0])
        if rows.shape[0] * width < out.shape[1]:
            out[:alike] = 0
        gather_columns(rows, first, width, out[:alike])
    for k in range(alike, group.count):
        values = slab[group.parts[k]]
        if values.shape != chunks:
            out[k] = 0
        full = out[k].view(slab.dtype).reshape(chunks)
        full[tuple(slice(n) for n in values.shape)] = values


def holds(slab: NDArray[Any], group: Group, chunks: tuple[int, ...], values: Bytes) -> bool:
    """Whether chunks hold what lies in a slab at their places; what pads them is not looked at.

    Parameters
    ----------
    slab, group, chunks
        As of `gather`.
    values
        (chunks of the group, bytes of a chunk), contiguous.
    """
    if (whole := _whole(slab, group, chunks)) is not None:
        return np.array_equal(_words(whole), _words(values))
    alike = _alike(slab, group.parts, chunks)
    if alike:
        rows, first, width = _columns(slab, group.parts[0])
        if not same_columns(rows, first, width, values[:alike]):
            return False
    for k in range(alike, group.count):
        part = slab[group.parts[k]]
        full = values[k].view(slab.dtype).reshape(chunks)
        found = full[tuple(slice(n) for n in part.shape)]
        if not np.array_equal(_words(np.ascontiguousarray(part)), _words(np.ascontiguousarray(found))):
            return False
    return True


def _words(values: NDArray[Any]) -> NDArray[Any]:
    """Contiguous values as the largest integers that their bytes make: what is not a number must be compared, too."""
    octets = values.reshape(-1).view(np.uint8)
    return octets.view(np.uint64) if octets.size % 8 == 0 else octets


def _whole(slab: NDArray[Any], group: Group, chunks: tuple[int, ...]) -> Bytes | None:
    """Give the bytes of a group of full chunks of whole rows, (chunks, bytes); None for any other."""
    rows = slab[group.parts[0][0].start : group.parts[-1][0].stop]
    if rows.shape != (group.count * chunks[0], *chunks[1:]) or not rows.flags.c_contiguous:
        return None
    return rows.reshape(-1).view(np.uint8).reshape(group.count, -1)


def _alike(slab: NDArray[Any], parts: Sequence[Region], chunks: tuple[int, ...]) -> int:
    """Count the chunks at the beginning that are columns of full width, if there are several."""
    if slab.ndim != 2 or len(parts) < 2 or not slab.flags.c_contiguous:
        return 0
    if parts[0][0] != parts[-1][0]:  # one below the other
        return 0
    return sum(part[1].stop - part[1].start == chunks[1] for part in parts)


def _columns(slab: NDArray[Any], part: Region) -> tuple[Bytes, int, int]:
    """Rows of a part as bytes; where in a row it begins, and how many bytes it takes."""
    rows = slab[part[0]].reshape(-1).view(np.uint8).reshape(-1, prod(slab.shape[1:]) * slab.itemsize)
    return rows, part[1].start * slab.itemsize, (part[1].stop - part[1].start) * slab.itemsize
