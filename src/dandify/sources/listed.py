"""Arrays of lists of numbers, or of arrays of one shape, as hdmf's tables gather them row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.arrays import flat_block
from dandify.sources.contract import Array
from dandify.store.region import Region


@dataclass(frozen=True, eq=False)
class Listed(Array):
    """A list, put together a part at a time.

    Parameters
    ----------
    items
        Numbers, or arrays, all of one type and shape.
    shape, dtype
        (items, ...) and type of the whole.
    """

    items: Sequence[Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def block(self) -> tuple[int, ...]:
        """Whole items."""
        return flat_block(self.shape, self.dtype)

    def read(self, region: Region) -> NDArray[Any]:
        """Put a region together."""
        rows = np.asarray(self.items[region[0]], self.dtype)
        values: NDArray[Any] = rows[(slice(None), *region[1:])]
        return values


def listed(data: Any) -> Listed | None:
    """Give the Array of a list; None where its items are not all numbers of one type, or arrays of one type and shape.

    Types are those that hdmf would write: of Python's numbers 64 bits, of arrays without their byte order.
    """
    if type(data) not in (list, tuple) or not data:
        return None
    kinds = set(map(type, data))
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    first = data[0]
    if kind is np.ndarray:
        if any(item.dtype != first.dtype or item.shape != first.shape for item in data):
            return None
        return Listed(data, (len(data), *first.shape), first.dtype.newbyteorder("="))
    if issubclass(kind, (int, float, np.number, np.bool_)):  # bool is an int
        return Listed(data, (len(data),), np.dtype(kind))
    return None
