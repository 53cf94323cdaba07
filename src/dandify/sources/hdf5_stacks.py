"""Datasets of an HDF5 file as one image, and the opening of HDF5 files that may be damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources.arrays import flat_block
from dandify.sources.contract import Array
from dandify.store.region import Region, extent

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_AGAIN: Final = "copy the file again from the computer that wrote it"


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises
    ------
    dandify.errors.BadSource
        If it cannot be opened, is cut off, or what is done with it fails in HDF5.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        lines = str(error).strip().splitlines()
        raise BadSource(
            f"cannot be read by HDF5: {lines[0] if lines else type(error).__name__}", file=path, remedy=_AGAIN
        ) from error  # fmt: skip


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does; False for what cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(8) == SIGNATURE
    except OSError:
        return False


@dataclass(frozen=True, eq=False)
class HDF5Stack(Array):
    """Datasets of one shape, each (z, y, x): leading axes go over datasets.

    Parameters
    ----------
    path
        The file.
    datasets
        Names in C order of the leading axes.
    leading
        Lengths of the axes before z.
    inner
        z, y, x as far as they are wanted: what lies behind in a dataset is padding. A z of 1 is no axis of the array.
    dtype
        Native type of the values.
    chunk
        Of a dataset, z, y, x.
    """

    path: Path
    datasets: tuple[str, ...]
    leading: tuple[int, ...]
    inner: tuple[int, int, int]
    dtype: np.dtype[Any]
    chunk: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., z, y, x), or (..., y, x) for single planes."""
        return (*self.leading, *self.inner[self._flat :])

    @property
    def block(self) -> tuple[int, ...]:
        """A chunk."""
        clipped = tuple(min(c, n) for c, n in zip(self.chunk, self.inner, strict=True))
        return (*(1 for _ in self.leading), *clipped[self._flat :])

    @property
    def _flat(self) -> int:
        return int(self.inner[0] == 1)

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region of each dataset that it touches.

        Raises
        ------
        dandify.errors.BadSource
            If the file is damaged.
        """
        out = np.empty(extent(region), self.dtype)
        lead, inner = region[: len(self.leading)], region[len(self.leading) :]
        part = (0, *inner) if self._flat else inner
        with opened(self.path) as file:
            for place in product(*(range(s.start, s.stop) for s in lead)):
                index = int(np.ravel_multi_index(place, self.leading)) if place else 0
                values = _values(file, self.path, self.datasets[index], part)
                out[tuple(i - s.start for i, s in zip(place, lead, strict=True))] = values
        return out


@dataclass(frozen=True, eq=False)
class HDF5Image(Array):
    """A dataset of an HDF5 file that may be damaged.

    Parameters
    ----------
    path, dataset
        Where it is.
    shape, dtype
        Of the dataset; the type is native.
    block
        Its chunk, or some rows of one that has no chunks.
    """

    path: Path
    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: tuple[int, ...]

    @classmethod
    def of(cls, path: Path, dataset: Any) -> HDF5Image:
        """Describe a dataset of an open file."""
        shape, dtype = tuple(dataset.shape), dataset.dtype.newbyteorder("=")
        chunk = dataset.chunks or flat_block(shape, dtype)
        return cls(
            path, dataset.name, shape, dtype, tuple(max(1, min(c, n)) for c, n in zip(chunk, shape, strict=True))
        )

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region.

        Raises
        ------
        dandify.errors.BadSource
            If the file is damaged.
        """
        with opened(self.path) as file:
            return np.asarray(_values(file, self.path, self.dataset, region)).astype(self.dtype, copy=False)


def _values(file: Any, path: Path, name: str, region: tuple[Any, ...]) -> Any:
    from dandify.store.hdf5_read import require_filters

    try:
        dataset = file[name]
        require_filters(dataset)
        return dataset[region]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise BadSource(f"cannot be decoded: {error}", file=path, place=name, remedy=_AGAIN) from error
