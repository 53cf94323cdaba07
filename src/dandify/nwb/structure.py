"""Lets hdmf write everything of an NWBFile but the bulk data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numcodecs
from hdmf.backends.io import HDMFIO
from hdmf.build import BuildManager, DatasetBuilder, GroupBuilder
from hdmf.container import AbstractContainer
from hdmf.data_utils import DataIO
from hdmf_zarr import NWBZarrIO
from pynwb import NWBHDF5IO, NWBFile

from dandify.errors import BadRequest
from dandify.nwb.types import current_types, write_specifications
from dandify.store.target import hdf5_file

_REMEDY = "write HDF5 instead: --backend hdf5"

Prepare = Callable[[GroupBuilder], None]
"""Takes the tree that hdmf is about to write, and puts empty datasets in place of the bulk data."""


class _HDF5(NWBHDF5IO):  # type: ignore[misc]  # pynwb has no types
    """Shows the builders to `Prepare` between building and writing."""

    def __init__(self, file: h5py.File, prepare: Prepare, manager: BuildManager) -> None:
        # No path: hdmf then leaves container_source unset, and the partial name gets into nobody's NWBFile.
        super().__init__(file=file, mode="w", manager=manager)
        self._prepare = prepare

    def write_builder(self, builder: GroupBuilder, **options: Any) -> None:
        self._prepare(builder)
        super().write_builder(builder, **options)


class _Shown(_HDF5):
    """Shows the builders, and writes none."""

    def write_builder(self, builder: GroupBuilder, **options: Any) -> None:
        self._prepare(builder)


class _Zarr(NWBZarrIO):  # type: ignore[misc]  # hdmf-zarr has no types
    """The same for Zarr, with object references in JSON.

    hdmf-zarr 0.13 pickles references, and numcodecs 0.15.2 refuses to unpickle them. ZarrIO takes another codec, but
    NWBZarrIO does not hand it on; hence the private attribute, which a test watches.
    """

    def __init__(self, path: Path, prepare: Prepare, manager: BuildManager) -> None:
        super().__init__(path=str(path), mode="w", manager=manager)
        if self.object_codec_class is not numcodecs.JSON:
            self._ZarrIO__codec_cls = numcodecs.JSON
        if self.object_codec_class is not numcodecs.JSON:
            raise BadRequest("this version of hdmf-zarr keeps its reference codec elsewhere", remedy="--backend hdf5")
        self._prepare = prepare

    def write_builder(self, builder: GroupBuilder, **options: Any) -> None:
        refuse_unportable(builder)
        self._prepare(builder)
        super().write_builder(builder, **options)


def write_hdf5_structure(nwbfile: NWBFile, path: Path, prepare: Prepare, *, paged: bool = False) -> None:
    """Write groups, attributes, links, references and small datasets as HDF5."""
    with hdf5_file(path, "w", paged=paged) as file, _HDF5(file, prepare, _manager(nwbfile)) as io:
        _write(io, nwbfile, cache_spec=False)
        write_specifications(file, io.manager.namespace_catalog)


def show_structure(nwbfile: NWBFile, prepare: Prepare) -> None:
    """Show what would be written, and write nothing."""
    with h5py.File.in_memory() as file, _Shown(file, prepare, _manager(nwbfile)) as io:
        _write(io, nwbfile, cache_spec=False)


def write_zarr_structure(nwbfile: NWBFile, path: Path, prepare: Prepare) -> None:
    """Write groups, attributes, links, references and small datasets as Zarr v2."""
    with _unclaimed(nwbfile), _Zarr(path, prepare, _manager(nwbfile, links=False)) as io:
        _write(io, nwbfile)


def _write(io: HDMFIO, nwbfile: NWBFile, **specifications: bool) -> None:
    """Write an NWBFile; one that belongs to a file already, as its export: built anew, with its object ids.

    Data of other files are copied: an archive's file stands alone.
    """
    if nwbfile.container_source is None:
        io.write(nwbfile, link_data=False, **specifications)
        return
    # An export asks that its source know the NWBFile, and empties the source's memory of what it has read. So that
    # nothing happens to the reader, and as there is none of an NWBFile that was only written, the writer is its source.
    io.manager.prebuilt(nwbfile, GroupBuilder("root"))
    io.export(src_io=io, nwbfile=nwbfile, write_args={"link_data": False}, **specifications)


def _manager(nwbfile: NWBFile, *, links: bool = True) -> BuildManager:
    """Give what builds the tree: by the types of the reader, which has a file's extensions, or by those of pynwb.

    An object that was read from another file and added to this one becomes a link to that file, as in pynwb. Only what
    read it knows where it is.
    """
    reader, others = nwbfile.read_io, _readers_of_others(nwbfile)
    if not others:
        return BuildManager(current_types() if reader is None else reader.manager.type_map)
    if links and nwbfile.container_source is None and len({id(other.manager) for other in others.values()}) == 1:
        return next(iter(others.values())).manager
    place, other = next(iter(others.items()))
    raise BadRequest(
        f"was read from {other.source}, and a link to it cannot be written here", place=place,
        remedy="make a new object of its data and add that, or add it to a new NWBFile that is written as HDF5",
    )  # fmt: skip


def _readers_of_others(nwbfile: NWBFile) -> dict[str, HDMFIO]:
    """Find objects in an NWBFile that were read from other files: who read them, by their names."""
    found: dict[str, HDMFIO] = {}
    for owner in (nwbfile, *nwbfile.all_children()):
        for value in getattr(owner, "fields", {}).values():
            items = (
                value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
            )
            for item in items:
                if not isinstance(item, AbstractContainer):
                    break  # numbers
                reader = item.get_read_io()
                if reader is not None and reader is not nwbfile.read_io:
                    found.setdefault(f"{owner.name}/{item.name}", reader)
    return found


def refuse_unportable(root: GroupBuilder) -> None:
    """Refuse what Zarr v2 or hdmf-zarr cannot hold.

    Raises
    ------
    BadRequest
        Naming the first: tables whose rows mix numbers and references, which Zarr v2 can hold only as pickles
        (``trials.timeseries`` and the tables of intracellular recordings are such); single values of several fields
        (``ElectrodeGroup.position``); names that Zarr takes for paths.
    """
    for place, group in groups(root):
        for name in (*group.groups, *group.datasets, *group.links):
            if "\\" in name or name in (".", ".."):
                raise BadRequest(
                    "Zarr takes its name for a path, and would write something else", place=f"{place}/{name}",
                    remedy=f"give it another name, or {_REMEDY}",
                )  # fmt: skip
    for place, builder in walk(root):
        columns = builder.dtype if isinstance(builder.dtype, list) else []
        # a reference is described by a dict of its own
        if any(isinstance(column["dtype"], dict) for column in columns):
            raise BadRequest(
                "its rows mix numbers and references, which NWB-Zarr (Zarr v2) could hold only as pickles that a plain "
                "install refuses to read",
                place=place, remedy=_REMEDY,
            )  # fmt: skip
        fields = getattr(getattr(unwrapped(builder["data"]), "dtype", None), "names", None)
        if fields and (unwrapped(builder["data"]).shape == () or not columns):
            raise BadRequest(
                f"it is of fields ({', '.join(fields)}) in a way that hdmf-zarr does not write", place=place,
                remedy=_REMEDY,
            )  # fmt: skip


def unwrapped(data: Any) -> Any:
    """Give what a DataIO holds, or what stands alone."""
    return data.data if isinstance(data, DataIO) else data


def groups(group: GroupBuilder, place: str = "") -> Iterator[tuple[str, GroupBuilder]]:
    """Every group of a tree with its path in the output, in a fixed order."""
    yield place, group
    for child in group.groups.values():
        yield from groups(child, f"{place}/{child.name}")


def walk(group: GroupBuilder, place: str = "") -> Iterator[tuple[str, DatasetBuilder]]:
    """Every dataset of a tree with its path in the output, in a fixed order."""
    for path, owner in groups(group, place):
        for builder in owner.datasets.values():
            yield f"{path}/{builder.name}", builder


@contextmanager
def _unclaimed(nwbfile: NWBFile) -> Iterator[None]:
    """Take back the partial name that hdmf notes in every object, so that the NWBFile can be written again."""
    fresh = [o for o in nwbfile.all_children() if o.container_source is None]
    try:
        yield
    finally:
        for container in fresh:
            container._AbstractContainer__container_source = None
