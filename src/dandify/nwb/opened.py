"""Opens an NWB file of either backend as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dandify.errors import BadSource
from dandify.nwb.tree import Tree
from dandify.nwb.tree_hdf5 import HDF5Tree
from dandify.nwb.tree_zarr import ZarrTree, open_group
from dandify.store.hdf5_read import read_only


@contextmanager
def open_tree(path: Path, *, cache_bytes: int = 64_000_000) -> Iterator[Tree]:
    """Open an NWB file of either backend.

    Parameters
    ----------
    path
        An HDF5 file or a Zarr v2 folder.
    cache_bytes
        For decoded chunks of one HDF5 dataset.

    Raises
    ------
    BadSource
        If it is neither.
    """
    if backend_of(path) == "zarr":
        yield ZarrTree(open_group(path))
        return
    with read_only(path, cache_bytes) as file:
        yield HDF5Tree(file)


def backend_of(path: Path) -> str:
    """Tell the backend of an NWB file: ``hdf5`` or ``zarr``.

    Raises
    ------
    BadSource
        If it is neither.
    """
    if path.is_dir() and ((path / ".zgroup").is_file() or (path / ".zmetadata").is_file()):
        return "zarr"
    if path.is_file() and h5py.is_hdf5(path):
        return "hdf5"
    if (path / "zarr.json").is_file():
        raise BadSource(
            "this is Zarr v3, and NWB-Zarr is read as Zarr v2 here", file=path,
            remedy="write it as HDF5 with the hdmf-zarr that wrote it (0.14 or later)",
        )  # fmt: skip
    if not path.exists():
        raise BadSource("there is no such file", file=path)
    raise BadSource("neither an HDF5 file nor a Zarr v2 folder", file=path,
                    remedy="name an NWB file (HDF5, or Zarr v2) itself, not the folder that it lies in")  # fmt: skip
