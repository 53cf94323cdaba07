"""The types of NWB and of loaded extensions, and their specifications, made once for all files of a process.

For each file, pynwb copies all its types, makes the mappers of those that it meets, and turns all specifications into
JSON: together as much work as the rest of a small file.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import h5py
from hdmf.backends.hdf5.h5_utils import H5SpecWriter
from hdmf.backends.utils import NamespaceToBuilderHelper
from hdmf.build import TypeMap
from hdmf.spec import NamespaceCatalog
from hdmf.spec.write import SpecWriter
from pynwb import get_type_map

_turn = threading.Lock()
_types: list[tuple[Any, TypeMap]] = []  # the last copy, and of what
_texts: dict[str, tuple[Any, Mapping[str, str]]] = {}  # of each namespace: itself, and its files


def current_types() -> TypeMap:
    """Give a copy of pynwb's types with the mappers that were made for earlier files.

    It is copied anew when types or mappers have been registered since.
    """
    shared = get_type_map(copy=False)
    # private attributes of hdmf: which class stands for which type, and what maps it
    classes, mappers = shared._TypeMap__ns_dt_to_container_cls, shared._TypeMap__mapper_cls
    with _turn:
        if _types and _types[0][0] == (classes, mappers):
            return _types[0][1]
        state = ({namespace: dict(types) for namespace, types in classes.items()}, dict(mappers))
        _types[:] = [(state, get_type_map())]
        return _types[0][1]


def write_specifications(file: h5py.File, catalog: NamespaceCatalog) -> None:
    """Cache the specifications of all namespaces in a file, as `hdmf.backends.hdf5.HDF5IO` does.

    Parameters
    ----------
    file
        Open for writing, without specifications.
    catalog
        Of those that the file was built by.
    """
    group = file.require_group("specifications")
    file.attrs[".specloc"] = group.ref
    for name in catalog.namespaces:
        namespace = catalog.get_namespace(name)
        known = _texts.get(name)
        if known is None or known[0] is not namespace:
            known = _texts[name] = (namespace, _texts_of(catalog, name))
        below = group.create_group(f"{name}/{namespace.version}")
        for path, text in known[1].items():
            below.create_dataset(path, shape=(), data=text, dtype=h5py.string_dtype())


class _Collected(SpecWriter):  # type: ignore[misc]  # hdmf has no types
    """Keeps the files of a namespace in memory."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def write_spec(self, spec: Any, path: str) -> None:
        self.texts[path] = H5SpecWriter.stringify(spec)

    def write_namespace(self, namespace: Any, path: str) -> None:
        self.texts[path] = H5SpecWriter.stringify({"namespaces": [namespace]})


def _texts_of(catalog: NamespaceCatalog, name: str) -> Mapping[str, str]:
    writer = _Collected()
    NamespaceToBuilderHelper.convert_namespace(catalog, name).export("namespace", writer=writer)
    return writer.texts
