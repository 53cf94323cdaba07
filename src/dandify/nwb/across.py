"""Writes what a tree holds into the other backend: HDF5 to Zarr v2 as hdmf-zarr lays it out, and back."""

from __future__ import annotations

import json
import posixpath
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import zarr

from dandify.errors import BadRequest, BadSource
from dandify.nwb.tree import Node, Reference, Tree
from dandify.store.copy_hdf5 import Empty
from dandify.store.target import hdf5_file

SPECIFICATIONS = ".specloc"  # attribute of the root that says where the cached specifications are
_SCALES = frozenset({"DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME"})  # HDF5's dimension scales; NWB has no such
_NO_REMEDY = "keep HDF5: --backend hdf5"


def require_portable(tree: Tree) -> None:
    """Refuse what NWB-Zarr (Zarr v2) cannot hold, before any work.

    Parameters
    ----------
    tree
        An HDF5 file.

    Raises
    ------
    BadRequest
        Naming the first such object: Zarr v2 could hold references among other columns only as pickles, which a plain
        install refuses to read; it has no references to parts of a dataset and to nothing, and no links between files
        of two backends.
    """
    for path, node in tree.nodes.items():
        if why := _unportable(tree, node):
            raise BadRequest(f"{why}, which NWB-Zarr (Zarr v2) cannot hold", place=path, remedy=_NO_REMEDY)


def _unportable(tree: Tree, node: Node) -> str | None:
    if "\\" in node.path or {".", ".."} & set(node.path.split("/")):
        return "a name that Zarr takes for a path"
    if node.kind == "type":
        return "a named type"
    if node.how == "external":
        return f"a link into another HDF5 file ({node.target})"
    if node.kind == "link":
        return None
    for name, value in tree.attributes(node.path).items():
        if name in _SCALES:
            continue
        if value is None or isinstance(value, dict) or _holds_strange(value):
            return f"the attribute {name!r} is a compound, or refers to nothing or to a part of a dataset"
    if node.kind == "group":
        return None
    if node.shape is None:
        return "a dataset that is declared to have no values"
    if node.dtype == "other":
        return f"values of type {node.exact.split()[0]}"
    whole = tuple(slice(0, n) for n in node.shape)
    if node.dtype == "reference" and _holds_strange(tree.read(node.path, whole)):
        return "references to nothing or to a part of a dataset"
    if node.dtype == "compound" and not node.shape:
        return "one value of several fields"
    if node.dtype == "compound":
        columns = tree.read(node.path, tuple(slice(0, min(1, n)) for n in node.shape))
        if any(isinstance(c, (dict, Reference, str)) or np.asarray(c).dtype.kind == "O" for c in columns.values()):
            return "rows that mix numbers with references or text (as pickles only, which a plain install refuses)"
    return None


def _holds_strange(value: Any) -> bool:
    items = value.reshape(-1) if isinstance(value, np.ndarray) and value.dtype.kind == "O" else [value]
    return any(isinstance(v, tuple) or (isinstance(v, Reference) and (v.path is None or bool(v.region))) for v in items)


def write_zarr(tree: Tree, folder: Path, empty: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
    """Write an HDF5 file as Zarr v2, as hdmf-zarr does, with references in JSON.

    Parameters
    ----------
    tree
        The HDF5 file; see `require_portable`.
    folder
        Of the output.
    empty
        Chunks and codec of each dataset that is left for the engine.
    """
    root = zarr.open_group(str(folder), mode="w")
    root_id = tree.attributes("/").get("object_id")

    def referred(reference: Reference) -> dict[str, Any]:
        assert reference.path is not None
        own = tree.attributes(reference.path).get("object_id")
        return {"source": ".", "path": reference.path, "object_id": own, "source_object_id": root_id}

    for path, node in tree.nodes.items():
        parent, name = posixpath.split(path)
        if node.kind == "link":
            group = root[parent] if parent != "/" else root
            links = [*group.attrs.get("zarr_link", []), {"name": name, **referred(Reference(node.target))}]
            group.attrs["zarr_link"] = links
            continue
        made = root if path == "/" else root.require_group(path) if node.kind == "group" else None
        if made is None:
            made = _array(tree, node, root, empty.get(path), referred)
        attributes = {
            key: _json(value, referred) for key, value in tree.attributes(path).items() if key not in _SCALES
        }  # fmt: skip
        if path == "/" and isinstance(specifications := attributes.get(SPECIFICATIONS), dict):
            attributes[SPECIFICATIONS] = specifications["value"]["path"].lstrip("/")
        made.attrs.update(attributes)


def _array(tree: Tree, node: Node, root: Any, empty: tuple[tuple[int, ...], Any] | None, referred: Any) -> Any:
    assert node.shape is not None
    shape = node.shape or (1,)
    if empty is not None:
        assert node.numpy is not None
        array = root.create_dataset(
            node.path, shape=shape, chunks=empty[0], dtype=node.numpy, compressor=empty[1], filters=[], fill_value=0
        )
        array.attrs["zarr_dtype"] = node.numpy.type.__name__.rstrip("_")
        return array
    values = tree.read(node.path, tuple(slice(0, n) for n in node.shape))
    if node.dtype == "compound":
        columns = {name: np.asarray(column) for name, column in values.items()}
        kind = np.dtype([(name, c.dtype, c.shape[len(node.shape) :]) for name, c in columns.items()])
        rows = np.empty(shape, kind)
        for name, column in columns.items():
            rows[name] = column
        array = root.create_dataset(node.path, data=rows)
        array.attrs["zarr_dtype"] = [{"name": n, "dtype": kind[n].type.__name__} for n in columns]
        return array
    if node.dtype == "reference":
        array = root.create_dataset(node.path, shape=shape, dtype=object, object_codec=numcodecs.JSON())
        items = np.empty(shape, object)
        for index in np.ndindex(shape):
            items[index] = referred(values[index] if node.shape else values)
        array[...] = items
        array.attrs["zarr_dtype"] = "object"
        return array
    if node.dtype == "text":
        array = root.create_dataset(node.path, shape=shape, dtype=str)
        text = np.empty(shape, object)
        text[...] = values
        array[...] = text
    else:
        numbers = np.asarray(values)
        array = root.create_dataset(node.path, data=numbers.reshape(shape), fill_value=0)
    array.attrs["zarr_dtype"] = (
        "scalar" if node.shape == () else "str" if node.dtype == "text" else array.dtype.type.__name__.rstrip("_")
    )
    return array


def _json(value: Any, referred: Any) -> Any:
    if isinstance(value, Reference):
        return {"zarr_dtype": "object", "value": referred(value)}
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind == "O" and any(isinstance(v, Reference) for v in value.reshape(-1)):
            return [_json(v, referred) for v in value.reshape(-1)]
        return value.tolist()
    return value


def write_hdf5(
    tree: Tree, path: Path, empty: Mapping[str, Empty], *, specifications: str | None, paged: bool = False
) -> None:
    """Write a Zarr file as HDF5.

    Parameters
    ----------
    tree
        The Zarr folder.
    path
        The output.
    empty
        How each dataset is declared that is left for the engine.
    specifications
        Path of the group that holds the cached specifications.
    paged
        See `dandify.store.target.PAGE_BYTES`.
    """
    with hdf5_file(path, "w", paged=paged) as file:
        late: list[Node] = []
        for place, node in tree.nodes.items():
            if node.kind == "group":
                file.require_group(place)
            elif node.kind == "dataset":
                _dataset(tree, node, file, empty.get(place), late)
            elif node.how == "external":
                raise BadRequest(
                    f"a link into another Zarr ({node.target}), which HDF5 cannot follow", place=place,
                    remedy="keep Zarr: --backend zarr",
                )  # fmt: skip
        for place, node in tree.nodes.items():
            if node.kind == "link":
                file[place] = h5py.SoftLink(node.target)
        for node in late:
            values = tree.read(node.path, tuple(slice(0, n) for n in node.shape or ()))
            file[node.path][...] = _referring(file, values, file[node.path].dtype)
        for place, node in tree.nodes.items():
            if node.kind != "link":
                for name, value in tree.attributes(place).items():
                    _attribute(file, place, name, value)
        if specifications is not None and specifications in file:
            file.attrs[SPECIFICATIONS] = file[specifications].ref


def _dataset(tree: Tree, node: Node, file: h5py.File, empty: Empty | None, late: list[Node]) -> None:
    assert node.shape is not None
    if empty is not None:
        assert node.numpy is not None
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(empty.chunks)
        plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)  # every chunk comes
        empty.declared.apply(plist)
        parent, name = posixpath.split(node.path)
        kind = h5py.h5t.py_create(node.numpy, logical=True)
        group = file.require_group(parent)
        h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(node.shape), plist)
        return
    values = tree.read(node.path, tuple(slice(0, n) for n in node.shape))
    if node.dtype == "reference":
        file.create_dataset(node.path, shape=node.shape, dtype=h5py.ref_dtype)
        late.append(node)
    elif node.dtype == "compound":
        kind = np.dtype([(name, _column(column)) for name, column in values.items()])
        file.create_dataset(node.path, shape=node.shape, dtype=kind)
        late.append(node)
    elif node.dtype == "text":
        made = file.create_dataset(node.path, shape=node.shape, dtype=h5py.string_dtype())
        if 0 not in node.shape:
            made[...] = values
    else:
        file.create_dataset(node.path, data=np.asarray(values).reshape(node.shape))


def _column(values: Any) -> Any:
    first = values.reshape(-1)[0] if isinstance(values, np.ndarray) and values.size else values
    if isinstance(first, Reference):
        return h5py.ref_dtype
    return h5py.string_dtype() if isinstance(first, str) else np.asarray(values).dtype


def _referring(file: h5py.File, values: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(values, dict):
        shape = np.shape(next(iter(values.values())))
        rows = np.empty(shape, dtype)
        for name, column in values.items():
            rows[name] = _referring(file, column, dtype[name])
        return rows
    if h5py.check_ref_dtype(dtype) is None:
        return values
    out = np.empty(np.shape(values), dtype)
    for index in np.ndindex(out.shape):
        out[index] = file[values[index].path].ref
    return out


def _attribute(file: h5py.File, place: str, name: str, value: Any) -> None:
    target = file[place]
    if isinstance(value, Reference):
        target.attrs[name] = file[value.path].ref
    elif value is None or isinstance(value, dict):
        raise BadSource(f"its attribute {name!r} is {value!r}, which HDF5 cannot hold", place=place,
                        remedy="keep Zarr: --backend zarr")  # fmt: skip
    elif isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        target.attrs.create(name, value.astype(object), dtype=h5py.string_dtype())
    else:
        target.attrs[name] = value


def copy_zarr(source: Path, folder: Path, empty: Mapping[str, tuple[tuple[int, ...], Any]]) -> None:
    """Copy a Zarr v2 folder file by file, but for the chunks of the arrays that are left for the engine.

    Parameters
    ----------
    source, folder
        From and to; the latter is there, and empty.
    empty
        Chunks and codec of each dataset that is left for the engine.
    """
    left = {source / place.lstrip("/") for place in empty}

    def passed_over(where: str, names: list[str]) -> Iterator[str]:
        return (n for n in names if n == ".zmetadata" or (Path(where) in left and n not in (".zarray", ".zattrs")))

    shutil.copytree(source, folder, ignore=lambda w, n: set(passed_over(w, n)), dirs_exist_ok=True)
    for place, (chunks, codec) in empty.items():
        document = folder / place.lstrip("/") / ".zarray"
        content = json.loads(document.read_text(encoding="utf-8"))
        content |= {
            "chunks": list(chunks), "compressor": codec.get_config(), "filters": None, "order": "C",
            "dimension_separator": ".",
        }  # fmt: skip
        document.write_text(json.dumps(content, indent=4), encoding="utf-8")
