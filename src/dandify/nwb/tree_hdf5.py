"""An NWB file in HDF5 as a tree; see `dandify.nwb.tree`."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dandify.errors import BadSource
from dandify.nwb.tree import Node, Reference
from dandify.store.copy_hdf5 import require_sources
from dandify.store.hdf5_read import address, require_filters
from dandify.store.region import Region


class HDF5Tree:
    """An open HDF5 file.

    Parameters
    ----------
    file
        Open for reading.
    """

    backend = "hdf5"

    def __init__(self, file: h5py.File) -> None:
        self.file = file
        self._open: h5py.Dataset | None = None  # one at a time: its chunk cache goes with it
        self.first: dict[tuple[int, int], str] = {}
        """The first path of each object, by its number and address."""

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """Every object by its path; links are not followed."""
        found: dict[str, Node] = {}
        self._visit(self.file, "/", found)
        return found

    def _visit(self, group: h5py.Group, path: str, found: dict[str, Node]) -> None:
        found[path] = Node(path, "group")
        self.first[address(group)] = path
        for name in sorted(group):
            below = posixpath.join(path, name)
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink):
                found[below] = Node(below, "link", posixpath.normpath(posixpath.join(path, link.path)), "soft")
                continue
            if isinstance(link, h5py.ExternalLink):
                folder = Path(self.file.filename).absolute().parent
                file = os.path.normpath(folder / link.filename)
                found[below] = Node(below, "link", f"{file}:{link.path}", "external")
                continue
            child = group[name]
            if (known := self.first.get(address(child))) is not None:
                found[below] = Node(below, "link", known, "hard")
            elif isinstance(child, h5py.Group):
                self._visit(child, below, found)
            elif isinstance(child, h5py.Dataset):
                self.first[address(child)] = below
                found[below] = _described(child, below)
            else:
                self.first[address(child)] = below
                found[below] = Node(below, "type", exact=_type(child.id))

    def require_readable(self, path: str) -> None:
        """Refuse a dataset whose filters are not installed, or whose values lie in files that are not there.

        Raises
        ------
        BadSource
            Naming the filter or the file.
        """
        dataset = self.file[path]
        require_filters(dataset)
        require_sources(dataset)

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of an object, without those by which HDF5 itself keeps track of dimension scales."""
        node = self.file[path]
        out = {}
        for name in node.attrs:
            if name == "REFERENCE_LIST":  # the other half of DIMENSION_LIST
                continue
            attribute = node.attrs.get_id(name)
            out[name] = self._plain(node.attrs[name], attribute.dtype)
        return out

    def read(self, path: str, region: Region) -> Any:
        """Values of a region."""
        if self._open is None or self._open.name != path:
            self.require_readable(path)
            self._open = self.file[path]
        try:
            return self._plain(self._open[region], self._open.dtype)
        except OSError as error:
            raise BadSource(f"cannot be read: {error}", file=self.file.filename, place=path) from error

    def _plain(self, value: Any, dtype: np.dtype[Any]) -> Any:
        """Text as str, references as paths, compounds as columns, the rest as NumPy has it."""
        if isinstance(value, h5py.Empty):
            return None
        if dtype.names:
            return {name: self._plain(value[name], dtype[name]) for name in dtype.names}
        if h5py.check_string_dtype(dtype) is not None or dtype.kind == "S":
            return _each(value, _text)
        if h5py.check_ref_dtype(dtype) is not None:
            return _each(value, self._reference)
        base = h5py.check_vlen_dtype(dtype)
        if isinstance(base, np.dtype):
            return _each(value, lambda v: tuple(np.atleast_1d(self._plain(v, base)).tolist()))
        return np.asarray(value)

    def _reference(self, reference: Any) -> Reference:
        assert self.nodes
        if not reference:
            return Reference(None)
        try:
            target = self.file[reference]
        except (ValueError, KeyError, RuntimeError):  # what it led to was deleted
            return Reference(None)
        path = self.first.get(address(target), target.name)
        if not isinstance(reference, h5py.RegionReference):
            return Reference(path)
        space = h5py.h5r.get_region(reference, self.file.id)
        if space.get_select_type() == h5py.h5s.SEL_ALL:
            return Reference(path, "[:]")
        points = space.get_select_type() == h5py.h5s.SEL_POINTS
        chosen = space.get_select_elem_pointlist() if points else space.get_select_hyper_blocklist()
        return Reference(path, str(np.asarray(chosen).tolist()).replace(" ", ""))


def _described(dataset: h5py.Dataset, path: str) -> Node:
    kind = dataset.id.get_type()
    exactly = _named(dataset.dtype)[1:].isdigit() and kind.equal(h5py.h5t.py_create(dataset.dtype, logical=True))
    return Node(
        path, "dataset", shape=dataset.shape, dtype=_named(dataset.dtype), exact=_type(kind),
        maxshape=dataset.maxshape, block=dataset.chunks, numpy=dataset.dtype if exactly else None,
    )  # fmt: skip


def _named(dtype: np.dtype[Any]) -> str:
    if dtype.names:
        return "compound"
    if h5py.check_string_dtype(dtype) is not None or dtype.kind == "S":
        return "text"
    if h5py.check_ref_dtype(dtype) is not None:
        return "reference"
    plain = dtype.kind in "iufbc" and (dtype.kind == "b" or h5py.check_enum_dtype(dtype) is None)
    return f"{dtype.kind}{dtype.itemsize}" if plain else "other"


def _type(kind: Any) -> str:
    """HDF5's own encoding of a type, whether or not it has a name in the file."""
    return f"{kind.dtype.str if kind.dtype.names is None else kind.dtype.descr} {_encoded(kind)}"


def _encoded(kind: Any) -> str:
    return str(kind.encode().hex()) if not kind.committed() else str(kind.copy().encode().hex())


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _each(values: Any, change: Any) -> Any:
    """Apply to every element of an array, or to a scalar."""
    if not isinstance(values, np.ndarray):
        return change(values)
    out = np.empty(values.shape, object)
    for index in np.ndindex(values.shape):
        out[index] = change(values[index])
    return out
