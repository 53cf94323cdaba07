"""Runs the validators of the dandi client on an NWB file that is opened and read once, where the client does so thrice.

The client (`dandi.files.NWBAsset.get_validation_errors`, then `dandi.metadata.nwb.get_metadata`) has pynwb parse the
specifications that are stored in every file, builds validators of them, and reads the file again for nwbinspector and
once more for its metadata. Here specifications are parsed once for each content that they have, and what was read is
given to all three. They run whole and as they are; tests compare what is found with what the client finds.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import h5py

_KEPT: Final = 8  # specifications: releases of NWB and sets of extensions that take turns in a dandiset
# As dandi and pynwb take it without a word. Whatever else a file says of its version is theirs to judge.
_VERSION: Final = re.compile(r"([2-9]|[1-9]\d+)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True)
class _Prepared:
    """What is made of the specifications in a file: pynwb's validators, and the types as which it is read."""

    validators: tuple[Any, ...]
    type_map: Any


_prepared: OrderedDict[bytes, _Prepared | None] = OrderedDict()
_lock = threading.RLock()


class OpenedNwb:
    """An NWB file that pynwb has read.

    Attributes
    ----------
    errors
        Of pynwb's validation (`hdmf.validate.errors.Error`).
    messages
        Of nwbinspector with the dandi configuration (`nwbinspector.InspectorMessage`).
    """

    def __init__(self, path: Path, nwb: Any, errors: tuple[Any, ...], messages: tuple[Any, ...]) -> None:
        self._path = path
        self._nwb = nwb
        self.errors = errors
        self.messages = messages

    def metadata(self) -> dict[str, Any]:
        """Return what `dandi.metadata.nwb.get_metadata` returns, and raise what it raises."""
        from dandi import pynwb_utils
        from dandi.metadata.nwb import get_metadata

        readable = alone(self._path)
        if not _is_whole(self._path):
            return dict(get_metadata(readable))
        with self._lent(pynwb_utils):
            return {
                "nwb_version": pynwb_utils.get_nwb_version(readable),
                **pynwb_utils._get_pynwb_metadata(readable),
                "nd_types": pynwb_utils.get_neurodata_types(readable),
            }

    @contextmanager
    def _lent(self, module: Any) -> Iterator[None]:
        """Lend the client the file that is read already, where it would have pynwb open and read it again."""
        theirs, thread, nwb = module.NWBHDF5IO, threading.get_ident(), self._nwb

        class Read:
            def __enter__(self) -> Read:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def read(self) -> Any:
                return nwb

        with _lock:
            module.NWBHDF5IO = lambda **given: Read() if threading.get_ident() == thread else theirs(**given)
            try:
                yield
            finally:
                module.NWBHDF5IO = theirs


@contextmanager
def opened(path: Path) -> Iterator[OpenedNwb | None]:
    """Open a file, validate it by the specifications in it, read it, and have it inspected.

    Parameters
    ----------
    path
        An HDF5 file.

    Yields
    ------
    OpenedNwb or None
        None where something failed on the way, where there are no specifications in it, or where its version is none
        of NWB 2: then it is for the client's own way to find what is to be said of it.
    """
    io, found = None, None
    try:
        with _lock:  # types of extensions are made when they are first met, for all files that have them
            if (prepared := _specified(path)) is not None:
                from hdmf.build import BuildManager
                from pynwb import NWBHDF5IO

                io = NWBHDF5IO(str(path), "r", manager=BuildManager(prepared.type_map))
                builder = io.read_builder()  # `io` keeps it, and makes the objects of it
                errors = tuple(e for one in prepared.validators for e in one.validate(builder))
                nwb = io.read()
                found = OpenedNwb(path, nwb, errors, _inspected(nwb))
    except Exception:  # hdmf raises many kinds; the client makes findings of them, each in its place
        found = None
    try:
        yield found
    finally:
        if io is not None:
            io.close()


def _inspected(nwb: Any) -> tuple[Any, ...]:
    from nwbinspector import Importance, inspect_nwbfile_object, load_config

    return tuple(
        inspect_nwbfile_object(
            nwb, config=load_config("dandi"), importance_threshold=Importance.BEST_PRACTICE_VIOLATION
        )
    )


def _is_whole(path: Path) -> bool:
    """Whether no link leads to another file, or to nothing: the client refuses those."""
    soft: list[bytes] = []

    def look(name: bytes, link: Any) -> bool | None:
        if link.type == h5py.h5l.TYPE_SOFT:
            soft.append(name)
        return None if link.type in (h5py.h5l.TYPE_SOFT, h5py.h5l.TYPE_HARD) else True

    with h5py.File(path, "r") as file:
        return file.id.links.visit(look, info=True) is None and all(file.get(name) is not None for name in soft)


def _specified(path: Path) -> _Prepared | None:
    """Return what was made of a file's specifications, or make it; None where there are none, or of another time."""
    with h5py.File(path, "r") as file:
        where = file.attrs.get(".specloc")
        version = file.attrs.get("nwb_version")
        if not isinstance(where, h5py.Reference) or not isinstance(version, str) or not _VERSION.fullmatch(version):
            return None
        key = _digest(file[where])
    if key not in _prepared:
        _prepared[key] = _prepare(path)
    _prepared.move_to_end(key)
    while len(_prepared) > _KEPT:
        _prepared.popitem(last=False)
    return _prepared[key]


def _digest(group: h5py.Group) -> bytes:
    """Return a checksum over the names and the texts of all specifications below a group."""
    digest = hashlib.blake2b(digest_size=16)

    def add(node: h5py.Group, place: str) -> None:
        for name in node:
            item = node[name]
            digest.update(f"{place}/{name}\0".encode())
            if isinstance(item, h5py.Group):
                add(item, f"{place}/{name}")
            else:
                text = item[()]
                digest.update(text if isinstance(text, bytes) else repr(text).encode())
                digest.update(b"\0")

    add(group, "")
    return digest.digest()


def _prepare(path: Path) -> _Prepared | None:
    """Parse the specifications in a file as `pynwb.validate` and `pynwb.read_nwb` do."""
    from hdmf.validate import ValidatorMap
    from pynwb import NWBHDF5IO, get_type_map
    from pynwb.validation import get_cached_namespaces_to_validate

    names, manager, _ = get_cached_namespaces_to_validate(path=str(path))
    if not names:
        return None
    type_map = get_type_map()
    NWBHDF5IO.load_namespaces(type_map, path=str(path))
    catalog = manager.namespace_catalog
    return _Prepared(tuple(ValidatorMap(catalog.get_namespace(name=name)) for name in names), type_map)


def alone(path: Path) -> Any:
    """Give the dandi client a file that it does not look for a BIDS dataset around.

    There its `get_metadata` calls itself until Python's stack is full, which it takes for a file without metadata: one
    small NWB file in a BIDS dataset is opened ten thousands of times, for minutes (dandi 0.81, dandi-cli 1656).
    """
    from dandi.misctypes import Readable

    class Alone(Readable):  # type: ignore[misc]
        """What dandi's own `LocalReadableFile` is, under a name that it does not look for."""

        def open(self) -> IO[bytes]:
            return path.open("rb")

        def get_size(self) -> int:
            return path.stat().st_size

        def get_mtime(self) -> datetime:
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)

        def get_filename(self) -> str:
            return path.name

    return Alone()
