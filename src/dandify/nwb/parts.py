"""What adding any stream needs: free names, descriptions, and arrays in the form that pynwb objects take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile

from dandify.sources.contract import Array, Source, Stream
from dandify.sources.deferred import Deferred
from dandify.sources.neuroconv import free_name
from dandify.store.region import Region

# Intervals that NWB keeps under a name of its own (nwb.file.yaml, /intervals).
NAMED_INTERVALS = ("trials", "epochs", "invalid_times")


def nwb_name(name: str) -> str:
    """Return a name that NWB allows: neither ``/`` nor ``:``, which paths in the file are made of."""
    return name.strip().replace("/", "_").replace(":", "_") or "unnamed"


def data_of(array: Array) -> Any:
    """Return what a pynwb object takes: numbers are deferred to the engine, truth values and empty arrays read."""
    return Deferred(array) if array.dtype.kind in "iuf" and array.nbytes else whole_of(array)


def unique_name(nwbfile: NWBFile, name: str, source: Source) -> str:
    """Return a name that no series, table or interval has."""
    taken = {*NAMED_INTERVALS, *(nwbfile.intervals or {})}
    plain = nwb_name(name)
    candidates = (plain, f"{plain}_{nwb_name(source.path.stem)}")
    for candidate in candidates:
        if candidate not in taken and free_name(nwbfile, candidate) == candidate:
            return candidate
    number = 2
    while f"{candidates[-1]}_{number}" in taken or free_name(nwbfile, f"{plain}_{number}") != f"{plain}_{number}":
        number += 1
    return f"{plain}_{number}"


def description_of(source: Source, stream: Stream) -> str:
    """Return what the stream says of itself, else where it is from."""
    return stream.description or f"{stream.name} of {source.path.name}"


def whole_of(array: Array) -> NDArray[Any]:
    """Return all values of an array."""
    return array[tuple(slice(None) for _ in array.shape)]


@dataclass(frozen=True, eq=False)
class Picked(Array):
    """Some columns of an array: (samples, columns), or (samples,) of a single one.

    Parameters
    ----------
    whole
        (samples, channels).
    columns
        Which, in order.
    """

    whole: Array
    columns: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples, columns) or (samples,)."""
        return (self.whole.shape[0], len(self.columns))[: 1 if len(self.columns) == 1 else 2]

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the whole."""
        return self.whole.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """Samples as in the whole, all columns."""
        return (self.whole.block[0], *self.shape[1:])

    def read(self, region: Region) -> NDArray[Any]:
        """Read the span of channels that holds the columns, and pick them."""
        wanted = self.columns[region[1]] if len(region) > 1 else self.columns
        first = min(wanted)
        rows = self.whole[region[0], first : max(wanted) + 1]
        if len(region) == 1:
            return np.ascontiguousarray(rows[:, 0])
        return np.ascontiguousarray(rows[:, [c - first for c in wanted]])


@dataclass(frozen=True, eq=False)
class Upright(Array):
    """(samples, 1) out of (samples,): what an ElectricalSeries of one channel asks for."""

    flat: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples, 1)."""
        return (*self.flat.shape, 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the flat array."""
        return self.flat.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """That of the flat array, upright."""
        return (*self.flat.block, 1)

    def read(self, region: Region) -> NDArray[Any]:
        """Read, and give it a second axis."""
        return self.flat[region[0]][:, None]
