"""One level of an OME-Zarr image as an Array, read by TensorStore."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.ngff.verify import open_level
from dandify.sources.contract import Array
from dandify.store.region import Region


@dataclass(frozen=True, eq=False)
class LevelArray(Array):
    """A level of an image of any writer, Zarr v2 or v3.

    Parameters
    ----------
    folder
        Of the array.
    shape, dtype, block
        As it states them; the block is what is decoded at one go.
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: tuple[int, ...]

    @classmethod
    def open(cls, folder: Path) -> LevelArray:
        """Read what the array states.

        Raises
        ------
        BadSource
            If TensorStore cannot open it.
        """
        try:
            array = open_level(folder)
        except ValueError as error:
            raise BadSource(f"cannot be opened: {error}", file=folder, remedy="dandify validate says more") from error
        shape = tuple(int(n) for n in array.shape)
        chunks = array.chunk_layout.read_chunk.shape or shape
        return cls(folder, shape, np.dtype(array.dtype.numpy_dtype), tuple(int(c) for c in chunks))

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region."""
        values: NDArray[Any] = np.ascontiguousarray(open_level(self.folder)[region].read().result(), self.dtype)
        return values
