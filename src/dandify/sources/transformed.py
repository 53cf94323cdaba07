"""An array whose integers are changed exactly while they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.contract import Array
from dandify.store.region import Region
from dandify.store.transforms import Transform


@dataclass(frozen=True, eq=False)
class Transformed(Array):
    """Integers after exact transforms. Every value read is checked to be exact: a source that changes is found.

    Parameters
    ----------
    values
        As the source has them.
    transforms
        In the order in which they are applied.
    """

    values: Array
    transforms: tuple[Transform, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the values."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the values."""
        return self.values.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """That of the values."""
        return self.values.block

    def read(self, region: Region) -> NDArray[Any]:
        """Read and change a region.

        Raises
        ------
        ValueError
            If a value cannot be changed exactly.
        """
        found = self.values[region]
        for transform in self.transforms:
            found = transform.apply(found)
        return found
