"""External media of NWB files: where each is, where it goes, and how the organized copy refers to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import h5py
import numpy as np

from dandify.dandiset.facts import ExternalFile, Facts
from dandify.errors import BadRequest


@dataclass(frozen=True)
class Medium:
    """A file that an NWB file refers to, and its place in the dandiset.

    Attributes
    ----------
    reference
        What the NWB file says.
    source
        The file that is meant.
    target
        Its place below the dandiset: ``<NWB stem>/<object_id>_external_file_<n>.<suffix>``, as dandi has it.
    link
        What the organized copy says: ``target`` seen from it.
    """

    reference: ExternalFile
    source: Path
    target: PurePosixPath
    link: str


def look_for(facts: Sequence[Facts], folders: Sequence[Path]) -> list[Facts]:
    """Look in folders, by name, for media that are not where NWB files say: files move between computers.

    Raises
    ------
    BadRequest
        If several files have a name that is looked for.
    """
    by_name: dict[str, list[Path]] = {}
    for path in sorted(file for folder in folders for file in folder.rglob("*") if file.is_file()):
        by_name.setdefault(path.name.casefold(), []).append(path)

    def found(nwb: Path, reference: ExternalFile) -> ExternalFile:
        if reference.is_url or reference.resolve(nwb).is_file():
            return reference
        named = by_name.get(PureWindowsPath(reference.name).name.casefold(), [])  # both kinds of slashes
        if len(named) > 1:
            raise BadRequest(
                f"{reference.dataset} refers to {reference.name}, and of that name there are {named[0]} and {named[1]}",
                file=nwb, remedy="name the folder of the right one with --media",
            )  # fmt: skip
        return replace(reference, found=named[0]) if named else reference

    return [replace(f, external_files=tuple(found(f.path, e) for e in f.external_files)) for f in facts]


def media_of(facts: Facts, nwb_target: PurePosixPath) -> tuple[Medium, ...]:
    """Return every medium of an NWB file in the order of its lists; URLs stay what they are.

    The number is the place in the list, so a list that mixes kinds of files keeps its order. The suffix is written in
    lower case, because dandi uploads ``.mp4`` and leaves ``.MP4``. A file that one NWB file names twice comes once.
    What is optional and not there stays what it is.
    """
    stem = nwb_target.name.split(".")[0]
    links: dict[Path, PurePosixPath] = {}
    found = []
    for reference in sorted(facts.external_files, key=lambda e: e.optional):  # a video is named by its ImageSeries
        source = reference.resolve(facts.path)
        if reference.is_url or (reference.optional and not source.is_file()):
            continue
        name = f"{reference.object_id}_external_file_{reference.index or 0}{source.suffix.lower()}"
        link = links.setdefault(source, PurePosixPath(stem, name))
        found.append(Medium(reference, source, nwb_target.parent / link, str(link)))
    return tuple(found)


def relink(nwb: Path, media: Sequence[Medium]) -> None:
    """Change what an NWB file, HDF5 or Zarr v2, says of its media. Only ever called on an organized copy."""
    by_dataset: dict[str, dict[int | None, str]] = {}
    for medium in media:
        by_dataset.setdefault(medium.reference.dataset, {})[medium.reference.index] = medium.link
    if nwb.is_dir():
        _relink_zarr(nwb, by_dataset)
    else:
        _relink_hdf5(nwb, by_dataset)


def is_relinked(external_files: Sequence[ExternalFile], media: Sequence[Medium]) -> bool:
    """Whether the files that an organized NWB file states are where `relink` would put them."""
    stated = {(e.dataset, e.index): e.name for e in external_files}
    return all(stated.get((m.reference.dataset, m.reference.index)) == m.link for m in media)


def _relink_hdf5(nwb: Path, links: Mapping[str, Mapping[int | None, str]]) -> None:
    with h5py.File(nwb, "r+") as file:
        for name, entries in links.items():
            dataset = file[name]
            if h5py.check_string_dtype(dataset.dtype) is None or h5py.check_string_dtype(dataset.dtype).length:
                dataset = _with_growing_text(dataset)
            for index, link in entries.items():
                dataset[() if index is None or dataset.shape == () else index] = link


def _with_growing_text(dataset: h5py.Dataset) -> h5py.Dataset:
    """Replace a dataset of texts of one width, which may be too narrow, by one of texts of any length."""
    parent, name, attributes = dataset.parent, dataset.name.rpartition("/")[2], dict(dataset.attrs)
    texts = np.asarray(dataset.asstr()[()], dtype=object)
    del parent[name]
    made = parent.create_dataset(name, data=texts, dtype=h5py.string_dtype())
    made.attrs.update(attributes)
    return made


def _relink_zarr(nwb: Path, links: Mapping[str, Mapping[int | None, str]]) -> None:
    import zarr

    for name, entries in links.items():
        array = zarr.open_array(str(nwb / name.lstrip("/")), mode="r+")
        for index, link in entries.items():
            array[index or 0] = link
