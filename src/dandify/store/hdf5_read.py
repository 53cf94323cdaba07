"""Reads other people's HDF5 files: which filters they need, what identifies an object, where references hide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np

from dandify.errors import BadSource
from dandify.store.target import hdf5_filters

FILTERS = MappingProxyType({
    4: "szip", 307: "bzip2", 32000: "lzf", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp",
    32015: "zstd", 32026: "blosc2",
})  # fmt: skip
"""Names of filters, for messages (portal.hdfgroup.org, registered filter plugins)."""

HARMLESS = frozenset({h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE})
"""Filters that every reader undoes."""


@contextmanager
def read_only(path: Path, cache_bytes: int) -> Iterator[h5py.File]:
    """Open a file to read it, with room for the decoded chunks of each dataset that is open.

    Parameters
    ----------
    path
        The file.
    cache_bytes
        For decoded chunks. Chunks of other shapes than what is read would be decoded again and again without it.

    Raises
    ------
    BadSource
        If it is damaged.
    """
    try:
        # rdcc_w0=0: a chunk that was read to its end is as likely to be needed by the next column as any other
        file = h5py.File(path, "r", rdcc_nbytes=cache_bytes, rdcc_nslots=10_007, rdcc_w0=0)
    except OSError as error:
        raise BadSource(f"HDF5 cannot open it: {error}", file=path, remedy="copy it again") from error
    with file:
        yield file


def load_plugins() -> None:
    """Make the filters of hdf5plugin known to HDF5, if it is installed; nothing else imports it."""
    if find_spec("hdf5plugin") is not None:
        import hdf5plugin  # noqa: F401  # registers them when it is imported


def require_filters(dataset: h5py.Dataset) -> None:
    """Refuse a dataset whose filters are not installed, by their names.

    Raises
    ------
    BadSource
        Naming the filter.
    """
    for number in hdf5_filters(dataset):
        if h5py.h5z.filter_avail(number):
            continue
        load_plugins()
        if not h5py.h5z.filter_avail(number):
            name = FILTERS.get(number)
            raise BadSource(
                f"its values went through the HDF5 filter {f'{name} ({number})' if name else number}, which is not "
                "installed", file=dataset.file.filename, place=dataset.name,
                remedy="pip install hdf5plugin; where that lacks it, set HDF5_PLUGIN_PATH to the plugin's folder",
            )  # fmt: skip


def contains_reference(dtype: np.dtype[Any]) -> bool:
    """Whether values of a type are references, or hold some."""
    if dtype.names:
        return any(contains_reference(dtype[name]) for name in dtype.names)
    if dtype.subdtype:
        return contains_reference(dtype.subdtype[0])
    base = h5py.check_vlen_dtype(dtype)
    return h5py.check_ref_dtype(dtype) is not None or (isinstance(base, np.dtype) and contains_reference(base))


def address(node: h5py.HLObject) -> tuple[int, int]:
    """Identify an object, whatever its names: by the number of its open file, and its address in it."""
    info = h5py.h5o.get_info(node.id)
    return int(info.fileno), int(info.addr)
