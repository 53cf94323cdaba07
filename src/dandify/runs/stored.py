"""NWB files and OME-Zarr of anybody as streams to be tuned: where they lie in a folder, and their large arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources.contract import Array
from dandify.store.region import Region
from dandify.tree_state import missing_target
from dandify.tuning.material import Material

if TYPE_CHECKING:
    from dandify.nwb.tree import Tree

_NWB, _IMAGE, _ARRAY = "NWB", "an image", "an array"
_UNFINISHED = (".partial", ".replaced")


@dataclass(frozen=True, eq=False)
class NWBDataset(Array):
    """A large dataset of an NWB file of either backend. The file is opened for each read: there may be thousands.

    Parameters
    ----------
    path
        The file, or the folder of a Zarr.
    place
        Path of the dataset in it.
    shape, dtype, block
        Of it.
    """

    path: Path
    place: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: tuple[int, ...]

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region."""
        from dandify.nwb.opened import open_tree

        with open_tree(self.path) as tree:
            return np.asarray(tree.read(self.place, region))


def is_stored(path: Path) -> bool:
    """Whether a path is that of NWB or of a Zarr itself, not of a folder of them."""
    return path.suffix == ".zarr" or _kind(path) is not None or (path / ".zgroup").is_file()


def find_stored(path: Path, ignore: Sequence[str] = ()) -> tuple[Path, ...]:
    """Find NWB files and images of OME-Zarr: in a folder, or in a Zarr of several images.

    Parameters
    ----------
    path
        A folder, or one of them itself.
    ignore
        Patterns of names, and of paths below the folder, that are passed over.

    Raises
    ------
    BadSource
        If a file is a link to nothing, or a document of a Zarr is damaged.
    """
    return (path,) if _kind(path) in (_NWB, _IMAGE) else tuple(_walk(path, path, ignore))


def _walk(folder: Path, root: Path, ignore: Sequence[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        names = (path.name, path.relative_to(root).as_posix())
        if path.name.startswith(".") or path.name.endswith(_UNFINISHED):
            continue
        if any(fnmatchcase(name, pattern) for pattern in ignore for name in names):
            continue
        kind = _kind(path)
        if kind in (_NWB, _IMAGE):
            yield path
        elif kind is None and path.is_dir():
            yield from _walk(path, root, ignore)


def stored_materials(path: Path) -> tuple[Material, ...]:
    """Give the streams of an NWB file, or of an image of an OME-Zarr.

    Raises
    ------
    BadSource
        If it cannot be read.
    """
    from dandify.nwb.opened import open_tree

    if _kind(path) == _IMAGE:
        return (_image(path),)
    with open_tree(path) as tree:
        return _series(path, tree)


def _kind(path: Path) -> str | None:
    """Say what a file or folder is by its name, or by its document where it is a Zarr; None for anything else."""
    from dandify.ngff.stored import attributes_of, image_of

    if path.suffix == ".nwb":
        if target := missing_target(path):
            raise BadSource(
                f"its content is not there: it is a link to {target}", file=path,
                remedy="get it (datalad get), or pass it over with --ignore",
            )  # fmt: skip
        return _NWB
    if (path / ".zarray").is_file():
        return _ARRAY
    document = next((path / name for name in ("zarr.json", ".zattrs") if (path / name).is_file()), None)
    if document is None:
        return None
    try:
        said, _ = attributes_of(document)
        if said.get("neurodata_type") == "NWBFile" or "nwb_version" in said:
            return _NWB
        if image_of(document) is not None:
            return _IMAGE
        return _ARRAY if _describes_array(document) else None
    except (ValueError, OSError) as error:
        raise BadSource(f"its {document.name} is damaged: {error}", file=path) from error


def _describes_array(document: Path) -> bool:
    from dandify.ngff.stored import read_document

    return document.name == "zarr.json" and read_document(document).get("node_type") == "array"


def _series(path: Path, tree: Tree) -> tuple[Material, ...]:
    """Large arrays of an NWB file."""
    from dandify.nwb.opened import backend_of
    from dandify.nwb.repack import bulk_of
    from dandify.nwb.tree_hdf5 import HDF5Tree

    found = []
    for stored in bulk_of(tree):
        place = stored.node.path
        if isinstance(tree, HDF5Tree):
            tree.require_readable(place)
        owner, _, field = place.rpartition("/")
        said = tree.attributes(owner or "/")
        start = f"{owner}/starting_time"
        rate = tree.attributes(start).get("rate") if field == "data" and start in tree.nodes else None
        name = owner.rpartition("/")[2] if field == "data" else "/".join(place.split("/")[-2:])
        array = NWBDataset(path, place, stored.shape, stored.dtype, stored.block)
        found.append(
            Material(name, str(said.get("neurodata_type", "")), array, array.dtype, backend_of(path), path,
                     None if rate is None else float(np.asarray(rate)), len(array.shape) - 1)
        )  # fmt: skip
    return tuple(found)


def _image(path: Path) -> Material:
    """Give the finest level of an image of an OME-Zarr."""
    from dandify.ngff.level_array import LevelArray
    from dandify.ngff.stored import attributes_of
    from dandify.runs.image_materials import image_material

    document = next(path / name for name in ("zarr.json", ".zattrs") if (path / name).is_file())
    try:
        said = attributes_of(document)[1]["multiscales"][0]
        finest = said["datasets"][0]
        level, axes = path / str(finest["path"]), _axes(said)
        scales = (t["scale"] for t in finest.get("coordinateTransformations", ()) if t.get("type") == "scale")
        scale = dict(zip(axes, map(float, next(scales, ())), strict=False))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise BadSource("its multiscales name no arrays", file=path) from error
    return image_material(_image_name(path), LevelArray.open(level), axes, scale, path)


def _axes(multiscale: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of axes, as 0.4 and later say them, or 0.3; none where they are not said."""
    return tuple(str(axis["name"] if isinstance(axis, dict) else axis) for axis in multiscale.get("axes", ()))


def _image_name(path: Path) -> str:
    """Name of an image: its folder's, and within a Zarr of several images that of the Zarr and its place there."""
    within = next((parent for parent in path.parents if parent.suffix == ".zarr"), None)
    name = path.name.split(".")[0]
    return name if within is None else f"{within.name.split('.')[0]}/{path.relative_to(within).as_posix()}"
