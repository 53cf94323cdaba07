"""Iterators that can be read once, from front to back: hdmf writes what they yield, and it is proved afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import xxhash
from hdmf.build import GroupBuilder
from hdmf.data_utils import AbstractDataChunkIterator, DataChunk
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource, VerificationFailed
from dandify.nwb.compare import blocks
from dandify.nwb.opened import open_tree
from dandify.nwb.structure import unwrapped, walk
from dandify.sources.recordings import as_declared

_used: WeakSet[Any] = WeakSet()  # iterators that have yielded something to a file


class OneWay(AbstractDataChunkIterator):  # type: ignore[misc]  # hdmf has no types
    """Hands on what an iterator yields, and takes its checksum.

    Parameters
    ----------
    inner
        The iterator.
    place
        Of the dataset, for errors.
    """

    def __init__(self, inner: AbstractDataChunkIterator, place: str) -> None:
        self._inner, self._place, self._began = inner, place, False
        self._whole = xxhash.xxh3_128()
        self.rows: int | None = 0
        """Rows that were yielded in order; None if they were not."""

    def __iter__(self) -> Iterator[DataChunk]:
        return self

    def __next__(self) -> DataChunk:
        if not self._began:
            if self._inner in _used:
                raise BadRequest(
                    f"its {type(self._inner).__name__} was used up when this NWBFile was written before",
                    place=self._place, remedy="build the NWBFile again, or give an array in place of the iterator",
                )  # fmt: skip
            _used.add(self._inner)
            self._began = True
        try:
            chunk = next(self._inner)
        except (OSError, ValueError, EOFError, RuntimeError) as error:
            raise BadSource(f"cannot be read: {error}", place=self._place) from error
        self._require_declared(chunk)
        self._note(chunk)
        return chunk

    def _require_declared(self, chunk: DataChunk) -> None:
        """Refuse values that do not fit into the shape or the type that the iterator declares."""
        if chunk.data is None:
            return
        values = np.asarray(chunk.data)
        asked = _extent(chunk.selection, self.maxshape)
        if len(asked) == values.ndim and any(n not in (None, m) for n, m in zip(asked, values.shape, strict=True)):
            raise BadSource(f"yields {values.shape} for a part of {asked}", place=self._place)
        if self.dtype.kind in "iufb":
            try:
                as_declared(values, self.dtype, of=self._inner)
            except BadSource as error:
                error.place = self._place
                raise

    def _note(self, chunk: DataChunk) -> None:
        first, *others = chunk.selection if isinstance(chunk.selection, tuple) else (chunk.selection,)
        whole = all(
            isinstance(part, slice) and part.start in (None, 0) and part.stop in (None, length)
            for part, length in zip(others, chunk.data.shape[1:], strict=False)
        )
        ordered = whole and isinstance(first, slice) and (first.start or 0) == self.rows
        if not ordered or self.dtype.kind not in "iufbc":
            self.rows = None
        if self.rows is not None:
            self._whole.update(_bytes(chunk.data, self.dtype))
            self.rows += chunk.data.shape[0]

    def check(self, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> None:
        """Compare what was yielded with what is in the file.

        Parameters
        ----------
        shape
            Of the dataset.
        blocks
            Its values in C order.

        Raises
        ------
        VerificationFailed
            If it differs.
        """
        found, left = xxhash.xxh3_128(), (self.rows or 0) * prod(shape[1:])
        for block in blocks:
            values = block.reshape(-1)[:left]
            left -= values.size
            found.update(_bytes(values, self.dtype))
        if left or found.digest() != self._whole.digest():
            raise VerificationFailed("is not what its iterator yielded", place=self._place, remedy="write again")

    def recommended_chunk_shape(self) -> Any:
        """Give that of the iterator."""
        return self._inner.recommended_chunk_shape()

    def recommended_data_shape(self) -> Any:
        """Give that of the iterator."""
        return self._inner.recommended_data_shape()

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the iterator."""
        kind: np.dtype[Any] = np.dtype(self._inner.dtype)
        return kind

    @property
    def maxshape(self) -> Any:
        """That of the iterator."""
        return self._inner.maxshape


def one_way(root: GroupBuilder) -> dict[str, OneWay]:
    """Give the one-way iterators of a tree, by the path of their dataset."""
    found = {}
    for place, builder in walk(root):
        data = unwrapped(builder["data"])
        if isinstance(data, OneWay):
            found[place] = data
    return found


def check_one_way(path: Path, written: dict[str, OneWay]) -> tuple[str, ...]:
    """Read back what hdmf wrote of one-way iterators; name those that yielded in an order that cannot be checked.

    Raises
    ------
    VerificationFailed
        Naming the dataset.
    """
    provable = {place: iterator for place, iterator in written.items() if iterator.rows is not None}
    if provable:
        with open_tree(path) as tree:
            for place, iterator in provable.items():
                node = tree.nodes[place]
                iterator.check(node.shape or (), (tree.read(place, region) for region in blocks(node)))
    return tuple(place for place in written if place not in provable)


def _extent(selection: Any, maxshape: Any) -> tuple[int | None, ...]:
    """Lengths of a part along its axes, as far as they are known; of selections by lists or masks, none."""
    parts = selection if isinstance(selection, tuple) else (selection,)
    lengths: list[int | None] = []
    for part, limit in zip(parts, maxshape, strict=False):
        if isinstance(part, slice):
            stop = limit if part.stop is None else part.stop
            lengths.append(None if stop is None else stop - (part.start or 0))
        elif not isinstance(part, (int, np.integer)):
            return ()
    return tuple(lengths)


def _bytes(values: NDArray[Any], dtype: np.dtype[Any]) -> memoryview:
    return np.ascontiguousarray(values, dtype).reshape(-1).view(np.uint8).data
