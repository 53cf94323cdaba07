"""Copies the structure of an HDF5 file, whatever it means, and leaves chosen datasets empty for the engine to fill."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dandify.errors import BadSource
from dandify.store.compression import Declared
from dandify.store.hdf5_read import HARMLESS, address, contains_reference, require_filters
from dandify.store.target import hdf5_filters

_KEPT_BY_HDF5 = frozenset({"DIMENSION_LIST", "REFERENCE_LIST"})  # made anew when scales are attached
_ROW_BYTES = 16_000_000  # of a dataset that is decoded and stored again by HDF5 itself


@dataclass(frozen=True)
class Empty:
    """How a dataset is to be declared that the engine fills.

    Attributes
    ----------
    chunks
        Shape of its chunks.
    declared
        Its filters.
    """

    chunks: tuple[int, ...]
    declared: Declared


Decide = Callable[[str, h5py.Dataset], Empty | None]
"""Takes the path of a dataset and the dataset; None where it is to be copied as it is."""


def copy_structure(source: h5py.File, target: h5py.File, decide: Decide, *, folder: Path) -> None:
    """Copy groups, attributes, links, named types, dimension scales, and every dataset that is not left empty.

    References are written anew, as they hold addresses of the old file; hard links stay names of one object; external
    links lead to the same file from the new folder. Datasets whose filters not every reader can undo are stored
    without them.

    Parameters
    ----------
    source
        Open for reading.
    target
        Open for writing, and empty.
    decide
        Which datasets the engine fills.
    folder
        Where the copy will lie.

    Raises
    ------
    BadSource
        Naming what cannot be copied or read.
    """
    _Copy(source, target, decide, folder).run()


@dataclass
class _Copy:
    source: h5py.File
    target: h5py.File
    decide: Decide
    folder: Path
    paths: dict[tuple[int, int], str] = field(default_factory=dict)  # of each object of the source, its path in both
    late: list[str] = field(default_factory=list)  # datasets of references, written when all objects are there

    def run(self) -> None:
        self._group(self.source, self.target, "/")
        for path in list(self.paths.values()):
            self._attributes(self.source[path], self.target[path])
        for path in self.late:
            self._references(self.source[path], self.target[path])
        for path in self.paths.values():
            if isinstance(self.source[path], h5py.Dataset):
                self._scales(self.source[path], self.target[path])

    def _group(self, source: h5py.Group, target: h5py.Group, path: str) -> None:
        self.paths[address(source)] = path
        for name in source:
            below = posixpath.join(path, name)
            link = source.get(name, getlink=True)
            if isinstance(link, h5py.SoftLink):
                target[name] = h5py.SoftLink(link.path)
            elif isinstance(link, h5py.ExternalLink):
                target[name] = self._external(link)
            else:
                self._object(source, target, name, below)

    def _object(self, source: h5py.Group, target: h5py.Group, name: str, path: str) -> None:
        try:
            child = source[name]
        except (KeyError, OSError) as error:
            raise BadSource(f"cannot be opened: {error}", file=self.source.filename, place=path) from error
        known = self.paths.get(address(child))
        if known is not None:
            target[name] = self.target[known]
        elif isinstance(child, h5py.Group):
            plist = child.id.get_create_plist()
            made = h5py.h5g.create(target.id, name.encode(), lcpl=_names(), gcpl=plist)
            self._group(child, h5py.Group(made), path)
        elif isinstance(child, h5py.Dataset):
            self.paths[address(child)] = path
            self._dataset(child, source, target, name, path)
        else:
            self.paths[address(child)] = path
            child.id.copy().commit(target.id, name.encode(), lcpl=_names())

    def _dataset(self, child: h5py.Dataset, source: h5py.Group, target: h5py.Group, name: str, path: str) -> None:
        empty = self.decide(path, child)
        if empty is not None:
            self._create(child, target, name, empty)
        elif contains_reference(child.dtype):
            self._create(child, target, name, None)
            self.late.append(path)
        elif set(hdf5_filters(child)) <= HARMLESS and not child.is_virtual and not child.external:
            plist = h5py.h5p.create(h5py.h5p.OBJECT_COPY)
            plist.set_copy_object(h5py.h5o.COPY_WITHOUT_ATTR_FLAG)
            try:
                h5py.h5o.copy(source.id, name.encode(), target.id, name.encode(), plist, _names())
            except (OSError, RuntimeError, KeyError) as error:
                raise BadSource(f"cannot be copied: {error}", file=self.source.filename, place=path) from error
        else:
            require_sources(child)
            require_filters(child)
            made = self._create(child, target, name, None)
            for region in _rows(child):
                try:
                    made[region] = child[region]
                except OSError as error:
                    raise BadSource(f"cannot be read: {error}", file=self.source.filename, place=path) from error

    def _create(self, child: h5py.Dataset, target: h5py.Group, name: str, empty: Empty | None) -> h5py.Dataset:
        """Declare a dataset of the same type, shape, growth and fill value."""
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        old = child.id.get_create_plist()
        kind = child.id.get_type()
        if old.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED and child.dtype.kind in "iufb":
            fill = np.empty((), child.dtype)
            old.get_fill_value(fill)
            plist.set_fill_value(fill)
        if empty is not None:
            plist.set_chunk(empty.chunks)
            plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)  # every chunk comes
            empty.declared.apply(plist)
        elif child.chunks is not None:
            plist.set_chunk(child.chunks)
            if child.dtype.kind != "O" and not contains_reference(child.dtype):  # deflate sees addresses of those only
                plist.set_shuffle()
                plist.set_deflate(4)
        order = old.get_attr_creation_order()
        if order:
            plist.set_attr_creation_order(order)
        return h5py.Dataset(
            h5py.h5d.create(target.id, name.encode(), kind.copy() if kind.committed() else kind, child.id.get_space(),
                            plist, _names())
        )  # fmt: skip

    def _attributes(self, source: h5py.HLObject, target: h5py.HLObject) -> None:
        """Copy attributes by HDF5's own types, references pointing into the new file."""
        for number in range(h5py.h5a.get_num_attrs(source.id)):
            old = h5py.h5a.open(source.id, index=number)
            if _decoded(old.name) in _KEPT_BY_HDF5:
                continue
            kind = old.get_type()
            new = h5py.h5a.create(target.id, old.name, kind.copy() if kind.committed() else kind, old.get_space())
            if old.get_space().get_simple_extent_type() == h5py.h5s.NULL:
                continue
            values = np.empty(old.shape, old.dtype)
            if values.size:
                old.read(values)
                try:
                    new.write(self._moved(values, old.dtype) if contains_reference(old.dtype) else values)
                except TypeError as error:  # h5py cannot write lists of references as an attribute
                    raise BadSource(
                        f"its attribute {_decoded(old.name)!r} is of a type that h5py cannot write: {error}",
                        file=self.source.filename, place=source.name,
                    ) from error  # fmt: skip

    def _references(self, source: h5py.Dataset, target: h5py.Dataset) -> None:
        require_filters(source)
        for region in _rows(source):
            values = np.empty(source.shape if region == () else _extent(region), source.dtype)
            values[...] = source[region]
            moved = self._moved(values, source.dtype)
            if h5py.check_vlen_dtype(source.dtype) is None:
                target[region] = moved
                continue
            for index in np.ndindex(moved.shape):  # h5py writes lists of references one at a time, and not many at once
                place = tuple(i + s.start for i, s in zip(index, region, strict=True))
                if moved[index].size:
                    target[place] = moved[index]

    def _moved(self, values: Any, dtype: np.dtype[Any]) -> Any:
        """Values with every reference in them written for the new file."""
        if dtype.names:
            out = np.array(values, dtype)
            for name in dtype.names:
                if contains_reference(dtype[name]):
                    out[name] = self._moved(values[name], dtype[name])
            return out
        base = h5py.check_vlen_dtype(dtype)
        out = np.empty(np.shape(values), dtype)
        for index in np.ndindex(out.shape):
            value = values[index]
            out[index] = self._moved(np.asarray(value, base), base) if isinstance(base, np.dtype) else self._new(value)
        return out

    def _new(self, reference: Any) -> Any:
        """Make a reference into the new file; what leads nowhere becomes a reference to nothing."""
        region = isinstance(reference, h5py.RegionReference)
        nothing = h5py.h5r.RegionReference() if region else h5py.h5r.Reference()
        if not reference:
            return nothing
        try:
            old = self.source[reference]
        except (ValueError, KeyError, RuntimeError):  # what it led to was deleted
            return nothing
        path = self.paths.get(address(old))
        if path is None:
            raise BadSource(
                "a reference leads to an object that has no name", file=self.source.filename, place=old.name or None
            )
        if not region:
            return h5py.h5r.create(self.target.id, path.encode(), h5py.h5r.OBJECT)
        space = h5py.h5r.get_region(reference, self.source.id)
        return h5py.h5r.create(self.target.id, path.encode(), h5py.h5r.DATASET_REGION, space)

    def _scales(self, source: h5py.Dataset, target: h5py.Dataset) -> None:
        if source.attrs.get("DIMENSION_LIST") is None:
            return
        for number, dimension in enumerate(source.dims):
            for scale in dimension.values():
                h5py.h5ds.attach_scale(target.id, self.target[self.paths[address(scale)]].id, number)

    def _external(self, link: h5py.ExternalLink) -> h5py.ExternalLink:
        """Make a link to the same file from the new folder."""
        here = Path(self.source.filename).absolute().parent
        if Path(link.filename).is_absolute() or here == self.folder.absolute():
            return link
        try:
            name = os.path.relpath(here / link.filename, self.folder.absolute())
        except ValueError:  # another drive of Windows
            name = str(here / link.filename)
        return h5py.ExternalLink(Path(name).as_posix(), link.path)


def require_sources(dataset: h5py.Dataset) -> None:
    """Refuse a dataset whose values lie in other files that are not there; HDF5 would give its fill value for them.

    Raises
    ------
    BadSource
        Naming the file.
    """
    folder = Path(dataset.file.filename).absolute().parent
    names = [v.file_name for v in dataset.virtual_sources()] if dataset.is_virtual else []
    names += [os.fsdecode(entry[0]) for entry in dataset.external or ()]
    for name in dict.fromkeys(names):
        if name != "." and not (folder / name).exists() and not Path(name).exists():
            raise BadSource(
                f"its values lie in {name}, which is not there", file=dataset.file.filename, place=dataset.name,
                remedy="put that file back to where it was",
            )  # fmt: skip


def _rows(dataset: h5py.Dataset) -> Iterator[Any]:
    """Regions of a dataset that are copied at one go."""
    if dataset.shape is None or 0 in dataset.shape:
        return
    if dataset.shape == ():
        yield ()
        return
    row = max(1, dataset.nbytes // dataset.shape[0])
    step = max(1, _ROW_BYTES // row)
    for start in range(0, dataset.shape[0], step):
        yield (slice(start, min(start + step, dataset.shape[0])), *(slice(0, n) for n in dataset.shape[1:]))


def _extent(region: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(s.stop - s.start for s in region)


def _names() -> Any:
    """Link names in UTF-8."""
    plist = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    plist.set_char_encoding(h5py.h5t.CSET_UTF8)
    return plist


def _decoded(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
