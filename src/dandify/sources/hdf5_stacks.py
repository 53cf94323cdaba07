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
        from dandify.store.hdf5_read import require_filters

        with opened(self.path) as file:
            for place in product(*(range(s.start, s.stop) for s in lead)):
                index = int(np.ravel_multi_index(place, self.leading)) if place else 0
                name = self.datasets[index]
                try:
                    dataset = file[name]
                    require_filters(dataset)
                    values = dataset[part]
                except (OSError, RuntimeError, KeyError, ValueError) as error:
                    raise BadSource(f"cannot be decoded: {error}", file=self.path, place=name, remedy=_AGAIN) from error
                out[tuple(i - s.start for i, s in zip(place, lead, strict=True))] = values
        return out
