"""An array as an hdmf iterator that declares shape and dtype but yields nothing: the engine fills it later."""

from __future__ import annotations

from typing import Any

import numpy as np
from hdmf.data_utils import DataChunk, GenericDataChunkIterator
from numpy.typing import NDArray

from dandify.sources.contract import Array
from dandify.store.plan import default_chunks


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
        # hdmf's own constructor plans buffers, which nobody will read, and refuses axes of length 0.
        self.array = array
        self.display_progress = False
        self.chunk_shape = default_chunks(array.shape, array.dtype.itemsize)[0] if 0 not in array.shape else None
        self.buffer_shape = self.chunk_shape
        self.num_buffers = 0
        self.buffer_selection_generator = iter(())

    def __next__(self) -> DataChunk:
        raise StopIteration

    def recommended_chunk_shape(self) -> tuple[int, ...] | None:
        """Chunks of a signal or of whole frames; None (hdmf then decides) where there are no values."""
        return self.chunk_shape

    def recommended_data_shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    def _get_data(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        return self.array[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.array.shape

    def _get_dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def maxshape(self) -> tuple[int, ...]:
        """Shape of the array: it does not grow."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
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
        """Values of slices and integers, in any mixture, as NumPy would give them."""
        parts = region if isinstance(region, tuple) else (region,)
        whole = tuple(slice(p, p + 1) if isinstance(p, (int, np.integer)) and p != -1 else _open(p) for p in parts)
        values = self.array[whole]
        return values[tuple(0 if isinstance(p, (int, np.integer)) else slice(None) for p in parts)]

    def __reduce__(self) -> tuple[object, ...]:
        return (Deferred, (self.array,))


def _open(part: Any) -> Any:
    """-1 as a slice: ``slice(-1, 0)`` would be empty."""
    return slice(-1, None) if isinstance(part, (int, np.integer)) else part
