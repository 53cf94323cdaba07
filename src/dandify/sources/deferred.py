"""An array as an hdmf iterator that declares shape and dtype but yields nothing: the engine fills it later."""

from __future__ import annotations

from typing import Any

import numpy as np
from hdmf.data_utils import DataChunk, GenericDataChunkIterator
from numpy.typing import NDArray

from dandify.sources.contract import Array


class Deferred(GenericDataChunkIterator):  # type: ignore[misc]  # hdmf has no types
    """Takes the place of data in an NWB object until the engine writes its chunks.

    hdmf writes the dataset with shape and dtype and, as no chunk comes, leaves it empty. The values can be had by
    slicing, so that pynwb objects built on it behave as if they held the array.

    Parameters
    ----------
    array
        Where the values come from.
    """

    def __init__(self, array: Array) -> None:
        self.array = array
        super().__init__(buffer_gb=1.0, chunk_mb=1.0)

    def __next__(self) -> DataChunk:
        raise StopIteration

    def _get_data(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        return self.array[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.array.shape

    def _get_dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.array.ndim

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, region: Any) -> NDArray[Any]:
        return np.asarray(
            self.array[region] if isinstance(region, (slice, tuple)) else self.array[slice(region, region + 1)][0]
        )
