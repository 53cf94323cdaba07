"""What an NWB file is made of - groups, datasets, links, attributes - in the same words for HDF5 and Zarr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dandify.store.region import Region


@dataclass(frozen=True)
class Node:
    """One object of a file.

    Attributes
    ----------
    path
        From the root: ``/acquisition/ElectricalSeries/data``.
    kind
        ``group``, ``dataset``, ``link``, or ``type`` (a type that has a name in HDF5).
    target
        What a link leads to: a path in this file, or another file and a path in it.
    how
        The sort of link: ``soft``, ``hard`` (a second name of an object), ``external``.
    shape
        Of a dataset; None for one that is declared to have no values.
    dtype
        Of a dataset, as both backends name it: ``i2``, ``text``, ``reference``, ``compound``.
    exact
        All else that a backend says of the type, for files of the same backend.
    maxshape
        How far a dataset may grow; None for Zarr, which does not say.
    block
        What is stored at one go.
    numpy
        Type of the values, with its byte order, where NumPy has exactly the type that is stored.
    """

    path: str
    kind: str
    target: str = ""
    how: str = ""
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    exact: str = ""
    maxshape: tuple[int | None, ...] | None = None
    block: tuple[int, ...] | None = None
    numpy: np.dtype[Any] | None = None

    @property
    def plain(self) -> bool:
        """A dataset of numbers or truth values."""
        return self.kind == "dataset" and self.dtype[:1] in "iufbc" and self.dtype[1:].isdigit()

    @property
    def itemsize(self) -> int:
        """Bytes of a value; a guess for values of variable length."""
        return int(self.dtype[1:]) if self.plain else 256


class Tree(Protocol):
    """An opened NWB file."""

    @property
    def backend(self) -> str:
        """``hdf5`` or ``zarr``."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Every object by its path, in the order of paths; links are not followed."""

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of a group or a dataset: arrays, and for references the paths they lead to (`Reference`)."""

    def read(self, path: str, region: Region) -> Any:
        """Values of a region, in the form of `attributes`; compounds as a dict of their columns."""


@dataclass(frozen=True)
class Reference:
    """Where a reference leads to.

    Attributes
    ----------
    path
        A path in the file; None for a reference to nothing.
    region
        What is selected of a dataset, in words.
    """

    path: str | None
    region: str = ""

    def __str__(self) -> str:
        return f"-> {self.path or 'nothing'}{self.region}"
