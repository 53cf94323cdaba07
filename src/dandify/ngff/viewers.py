"""Which of the viewers that DANDI links, or that people use, open an OME-Zarr of which version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Viewer:
    """A program that shows OME-Zarr.

    Attributes
    ----------
    name
        Of the program.
    versions
        Of OME-Zarr that it opens.
    note
        What limits it, empty if nothing does.
    """

    name: str
    versions: tuple[str, ...]
    note: str = ""


# As their sources read in November 2026. Neuroglancer and vizarr read Zarr v3 with shards and Blosc; itk-vtk-viewer
# reads .zattrs and .zarray and nothing else; napari-ome-zarr wants zarr 3, which reads both.
VIEWERS: Final = (
    Viewer("Neuroglancer", ("0.4", "0.5")),
    Viewer("vizarr", ("0.4", "0.5")),
    Viewer("napari (napari-ome-zarr)", ("0.4", "0.5")),
    Viewer("ITK/VTK viewer", ("0.4",), "reads Zarr v2 only; --ngff 0.4 is for it"),
)


def openers(version: str) -> tuple[tuple[Viewer, bool], ...]:
    """List each viewer, and whether it opens images of a version."""
    return tuple((viewer, version in viewer.versions) for viewer in VIEWERS)
