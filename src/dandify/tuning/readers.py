"""Who can and who cannot read what a codec makes, per kind of file.

Sources: trials of each reader on a file of each filter (h5py 3.16, h5dump 1.10.8, Neurosift's worker, h5wasm 0.10.3;
Neuroglancer 2.41, Viv 0.21, vizarr 0.3, itk-vtk-viewer 14.51), and for MATLAB its documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

LEVELS = ("any", "plugins", "python")
"""Whom a lab wants to read its files, from everybody to those with certain Python packages."""


@dataclass(frozen=True)
class Readers:
    """Who can and who cannot read a file.

    Attributes
    ----------
    can, cannot
        Programs, with what they need in brackets.
    """

    can: tuple[str, ...]
    cannot: tuple[str, ...]

    @property
    def text(self) -> str:
        """In one line."""
        return f"can: {', '.join(self.can)}" + (f"; cannot: {', '.join(self.cannot)}" if self.cannot else "")


_PACKAGE = "zarr-python (with {package})"
_TABLE = MappingProxyType({
    ("hdf5", "any"): Readers(
        ("pynwb", "h5py", "MATLAB and MatNWB", "Neurosift", "h5wasm", "HDF5 1.10 tools", "NWB Inspector", "dandi"), ()
    ),
    ("hdf5", "plugins"): Readers(
        ("pynwb and h5py (with hdf5plugin imported)", "MATLAB and HDF5 tools (with HDF5_PLUGIN_PATH)"),
        ("pynwb, NWB Inspector and dandi as they are installed", "MATLAB and MatNWB without the plugin",
         "Neurosift and h5wasm (wrong numbers, no error)"),
    ),
    ("zarr", "any"): Readers(
        ("pynwb (hdmf-zarr)", "zarr-python", "TensorStore", "Neurosift (by a LINDI file)"),
        ("MATLAB and MatNWB", "Neurosift by URL"),
    ),
    ("zarr", "plugins"): Readers(
        ("pynwb (hdmf-zarr)", "zarr-python", "TensorStore"), ("MATLAB and MatNWB", "Neurosift (LINDI has no zstd)")
    ),
    ("zarr", "numcodecs"): Readers(
        ("pynwb (hdmf-zarr)", "zarr-python"), ("MATLAB and MatNWB", "Neurosift", "TensorStore")
    ),
    ("zarr", "python"): Readers(
        (_PACKAGE,),
        ("pynwb, NWB Inspector and dandi as they are installed", "MATLAB and MatNWB", "Neurosift", "TensorStore"),
    ),
    ("ome-zarr", "any"): Readers(
        ("Neuroglancer", "Viv and vizarr", "napari", "TensorStore", "ITK/VTK viewer (OME-Zarr 0.4)"), ()
    ),
    ("ome-zarr", "plugins"): Readers(
        ("Neuroglancer", "Viv and vizarr", "napari", "TensorStore"), ("ITK/VTK viewer (blank, no error)",)
    ),
    ("ome-zarr", "numcodecs"): Readers(
        ("zarr-python", "napari"), ("Neuroglancer", "Viv and vizarr", "ITK/VTK viewer", "TensorStore")
    ),
    ("ome-zarr", "python"): Readers(
        (_PACKAGE,), ("Neuroglancer", "Viv and vizarr", "napari as it is installed", "ITK/VTK viewer", "TensorStore")
    ),
})  # fmt: skip


def readers_of(backend: str, group: str, package: str | None = None) -> Readers:
    """Say who can read.

    Parameters
    ----------
    backend
        ``hdf5``, ``zarr`` or ``ome-zarr``.
    group
        ``any``, ``plugins``, ``numcodecs`` (codecs that come with zarr-python 2), or ``python``.
    package
        What decodes those of ``python``.
    """
    found = _TABLE[backend, group]
    return Readers(tuple(name.format(package=package or "its codec's package") for name in found.can), found.cannot)


def allowed(group: str, asked: str) -> bool:
    """Whether a codec's group is open to the readers that were asked for."""
    rank = {"any": 0, "plugins": 1, "numcodecs": 2, "python": 2}
    return rank[group] <= LEVELS.index(asked)
