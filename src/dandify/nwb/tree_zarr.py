"""An NWB file in Zarr v2, as hdmf-zarr lays it out, as a tree; see `dandify.nwb.tree`."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dandify.errors import BadSource
from dandify.nwb.tree import Node, Reference
from dandify.store.region import Region

OWN = frozenset({"zarr_dtype", "zarr_link", ".specloc", "_ARRAY_DIMENSIONS"})
"""Attributes that are hdmf-zarr's own: types and links, which HDF5 has itself, the place of specifications, axes."""


def open_group(path: Path) -> zarr.Group:
    """Open the root of a Zarr v2 folder, by the metadata of each object and not by a copy of them.

    Raises
    ------
    BadSource
        If it is none.
    """
    try:
        return zarr.open_group(str(path), mode="r")
    except (zarr.errors.GroupNotFoundError, ValueError, OSError) as error:
        raise BadSource(f"Zarr cannot open it: {error}", file=path) from error


class ZarrTree:
    """An open Zarr group.

    Parameters
    ----------
    root
        Open for reading.
    """

    backend = "zarr"

    def __init__(self, root: zarr.Group) -> None:
        self._root = root
        self._file = root.store.path

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """Every object by its path; links are not followed."""
        found: dict[str, Node] = {}
        self._visit(self._root, "/", found)
        return found

    def _visit(self, group: zarr.Group, path: str, found: dict[str, Node]) -> None:
        found[path] = Node(path, "group")
        below: dict[str, Any] = dict((*group.groups(), *group.arrays()))
        below |= {link["name"]: link for link in group.attrs.get("zarr_link", [])}
        for name in sorted(below):
            child, place = below[name], posixpath.join(path, name)
            if isinstance(child, zarr.Group):
                self._visit(child, place, found)
            elif isinstance(child, zarr.Array):
                found[place] = _described(child, place)
            else:
                inside = child["source"] in (".", None)
                target = _absolute(child["path"]) if inside else f"{child['source']}:{child['path']}"
                found[place] = Node(place, "link", target, "soft" if inside else "external")

    def attributes(self, path: str) -> dict[str, Any]:
        """Attributes of an object, without those that hdmf-zarr keeps for itself."""
        node = self._root if path == "/" else self._root[path]
        return {name: _attribute(value) for name, value in node.attrs.items() if name not in OWN}

    def read(self, path: str, region: Region) -> Any:
        """Values of a region."""
        array = self._root[path]
        try:
            values = array[region if _shape(array) != () else 0]
        except (ValueError, RuntimeError, OSError) as error:
            if "pickle" in str(error).lower():
                raise pickled(self._file, path) from error
            raise BadSource(f"cannot be read: {error}", file=self._file, place=path) from error
        return _plain(values)


def pickled(file: str, place: str) -> BadSource:
    """Say why references that hdmf-zarr pickled are not read."""
    return BadSource(
        "its references are Python pickles, which a plain install refuses because they can run code", file=file,
        place=place,
        remedy="if you trust who wrote it, set NUMCODECS_ALLOW_UNSAFE_PICKLE_DECODE=1 and repack it to HDF5 once",
    )  # fmt: skip


def _shape(array: zarr.Array) -> tuple[int, ...]:
    """Shape as HDF5 would have it: hdmf-zarr keeps a scalar as one value."""
    return () if array.attrs.get("zarr_dtype") == "scalar" and array.shape == (1,) else tuple(array.shape)


def _described(array: zarr.Array, path: str) -> Node:
    said = array.attrs.get("zarr_dtype")
    kind = array.dtype
    if isinstance(said, list) or kind.names:
        name = "compound"
    elif said == "object":
        name = "reference"
    elif kind.kind in "OSU":
        name = "text"
    else:
        name = f"{kind.kind}{kind.itemsize}"
    return Node(
        path, "dataset", shape=_shape(array), dtype=name, exact=f"{kind.str} {said}", block=array.chunks,
        numpy=kind if kind.kind in "iufbc" else None,
    )  # fmt: skip


def _attribute(value: Any) -> Any:
    if isinstance(value, dict) and value.get("zarr_dtype") == "object":
        return _reference(value["value"])
    return np.asarray(value) if not isinstance(value, (str, dict)) and value is not None else value


def _plain(values: Any) -> Any:
    if isinstance(values, dict):
        return _reference(values)
    if isinstance(values, bytes):
        return values.decode("utf-8", "surrogateescape")
    if not isinstance(values, np.ndarray):
        return str(values) if isinstance(values, str) else np.asarray(values)
    if values.dtype.names:
        return {name: _plain(values[name]) for name in values.dtype.names}
    if values.dtype.kind in "OSU":
        out = np.empty(values.shape, object)
        for index in np.ndindex(values.shape):
            out[index] = _plain(values[index])
            if isinstance(out[index], np.ndarray) and out[index].ndim == 0:
                out[index] = out[index].item()
        return out
    return values


def _reference(value: Mapping[str, Any]) -> Reference:
    source = value.get("source", ".")
    path = _absolute(value["path"])
    return Reference(path if source in (".", None) else f"{source}:{path}")


def _absolute(path: str) -> str:
    return posixpath.normpath(posixpath.join("/", path))
