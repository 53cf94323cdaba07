"""What an NWB file or an OME-Zarr says of itself: subject, session, types, external media. Nothing is changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import h5py
import numpy as np

from dandify.dandiset.hdf5_nodes import nodes
from dandify.dandiset.names import MODALITY, entities_in_name, ids_in_name, modalities_of
from dandify.errors import BadSource

Kind = Literal["nwb", "nwb-zarr", "ome-zarr"]
FileKind = Literal["nwb", "nwb-zarr", "ome-zarr", "image", "video"]

MANIFEST: Final = ".manifest.json"
_OME_KEYS: Final = ("ome", "multiscales", "plate", "well", "bioformats2raw.layout")
TEXT_FILTERS: Final = frozenset({"vlen-utf8", "vlen-bytes", "json2"})
"""Of Zarr: those whose decoding makes text and nothing else. A pickle would run code out of the data."""
_SUBJECT: Final = ("subject_id", "species", "sex", "age", "date_of_birth", "weight", "strain", "genotype")
_NAMED_VIDEOS: Final = ("original_videos", "labeled_videos")  # of PoseEstimation, ndx-pose before 0.3
_FILES: Final = ("/external_file", *_NAMED_VIDEOS)
_DEVICES: Final = "/general/devices/"
_CORE_NAMESPACES: Final = ("core", "hdmf-common", "hdmf-experimental")  # of whose types MODALITY has all that matter
# Filters of every HDF5 library, of Neurosift's h5wasm too: deflate, shuffle, fletcher32, nbit, scaleoffset.
_BUILT_IN: Final = frozenset({1, 2, 3, 5, 6})
_ENTITIES: Final = {"tissue_sample_id": "tis", "slice_id": "slice", "cell_id": "cell"}


@dataclass(frozen=True)
class ExternalFile:
    """One entry of an ``external_file`` (or the value of an ExternalImage).

    Attributes
    ----------
    dataset
        Where it is in the NWB file: ``/processing/behavior/video/external_file``.
    object_id
        Of the ImageSeries or ExternalImage.
    index
        Its place in the list; None for an ExternalImage, which is one file.
    name
        As it is stated: a path relative to the NWB file, an absolute path, or a URL.
    optional
        Whether it is only said where something came from (``original_videos`` of a pose estimation), and no data are
        lacking if it is not there.
    found
        Where the file is, if it is not where the NWB file says; see `dandify.dandiset.media.look_for`.
    """

    dataset: str
    object_id: str
    index: int | None
    name: str
    optional: bool = False
    found: Path | None = None

    @property
    def is_url(self) -> bool:
        """Whether it is no file of this machine."""
        return "://" in self.name

    def resolve(self, nwb: Path) -> Path:
        """Return the file that is meant, seen from the NWB file that names it."""
        if self.found is not None:
            return self.found
        name = self.name if os.name == "nt" else self.name.replace("\\", "/")
        return Path(os.path.normpath(nwb.parent / name))


@dataclass(frozen=True)
class Facts:
    """What a file says of itself; None where it does not.

    Attributes
    ----------
    path, kind
        The file, and what it is.
    subject_id, session_id, session_start_time
        As stated.
    modalities
        Of an NWB file, see `dandify.dandiset.names.modalities_of`.
    entities
        Tissue, slice and cell of an intracellular recording, probes (see `dandify.dandiset.names.ENTITIES`); sample,
        stain, chunk and ``suffix`` of an image, as BIDS calls them.
    external_files
        Media that an NWB file refers to, in the order of its lists.
    subject
        The subject's metadata, by NWB's keys.
    links
        HDF5 links to other files, ``/place -> file``: they break when the file is brought elsewhere.
    pixel_size_um
        Of an image, x y or x y z, as a table says it; empty where the image is to say it.
    filters
        HDF5 filters that not every HDF5 library has, by their number, and the datasets that are stored with them.
    given
        What the user says of the subject and the session and the file does not, by NWB's keys; the organized copy of
        an NWB file is to say it. None where the copy is not to state what the file does.
    """

    path: Path
    kind: FileKind
    subject_id: str | None
    session_id: str | None
    session_start_time: datetime | None
    modalities: tuple[str, ...] = ()
    entities: Mapping[str, str] = field(default_factory=dict)
    external_files: tuple[ExternalFile, ...] = ()
    subject: Mapping[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    pixel_size_um: tuple[float, ...] = ()
    filters: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    given: Mapping[str, str | None] = field(default_factory=dict)


def kind_of(path: Path) -> Kind | None:
    """Return what a file or folder is, None if none of our business; reads a few bytes."""
    if path.is_dir():
        attributes = zarr_attributes(path)
        if attributes.get("neurodata_type") == "NWBFile" or "nwb_version" in attributes:
            return "nwb-zarr"
        return "ome-zarr" if any(key in attributes for key in _OME_KEYS) else None
    return "nwb" if path.suffix.lower() == ".nwb" else None


def read_facts(path: Path, kind: Kind) -> Facts:
    """Read what a file says of itself.

    Raises
    ------
    BadSource
        If it is damaged, or not what its name says.
    """
    if kind == "ome-zarr":
        return _of_image(path)
    tree = _hdf5(path) if kind == "nwb" else _zarr(path)
    start = tree.texts.get("/session_start_time")
    subject = {
        key: tree.texts[f"/general/subject/{key}"] for key in _SUBJECT if f"/general/subject/{key}" in tree.texts
    }
    return Facts(
        path=path,
        kind=kind,
        subject_id=subject.get("subject_id"),
        session_id=tree.texts.get("/general/session_id"),
        session_start_time=_time(start),
        modalities=modalities_of(tree.types, tree.parents),
        entities=tree.named_entities(),
        external_files=tuple(tree.external),
        subject=subject,
        links=tuple(tree.links),
        filters={number: tuple(places) for number, places in tree.filters.items()},
    )


def zarr_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a Zarr group or array, version 2 or 3; empty where there are none."""
    for name in (".zattrs", "zarr.json"):
        with suppress(OSError, ValueError):
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            found = found.get("attributes", {}) if name == "zarr.json" and isinstance(found, dict) else found
            return found if isinstance(found, dict) else {}
    return {}


def unsafe_arrays(folder: Path) -> tuple[str, ...]:
    """Return the arrays of a Zarr v2 that are stored as pickles: to read them is to run code out of the data."""
    found = []
    for file in sorted(folder.rglob(".zarray")):
        with suppress(OSError, ValueError):
            if "pickle" in _filters(json.loads(file.read_text(encoding="utf-8"))):
                found.append("/" + file.parent.relative_to(folder).as_posix())
    return tuple(found)


@dataclass
class _Tree:
    """What a walk through an NWB file gathers."""

    texts: dict[str, str] = field(default_factory=dict)
    types: set[str] = field(default_factory=set)
    parents: dict[str, str] = field(default_factory=dict)
    entities: dict[str, str] = field(default_factory=dict)
    external: list[ExternalFile] = field(default_factory=list)
    cells: set[str] = field(default_factory=set)
    probes: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    filters: dict[int, list[str]] = field(default_factory=dict)
    extended: bool = False  # whether there are types of extensions

    def add_type(self, name: str | None, namespace: str | None) -> None:
        if name:
            self.types.add(name)
            self.extended |= name not in MODALITY and namespace not in _CORE_NAMESPACES

    def add_external(self, dataset: str, object_id: str, names: list[str], *, single: bool = False) -> None:
        optional = dataset.endswith(_NAMED_VIDEOS)
        self.external += [
            ExternalFile(dataset, object_id, None if single else i, name, optional)
            for i, name in enumerate(names)
            if name
        ]

    def named_entities(self) -> dict[str, str]:
        """Return what stands in the name: one cell is it, several are none; probes are all of them."""
        found = dict(self.entities)
        if len(self.cells) == 1:
            found.setdefault("cell", next(iter(self.cells)))
        if self.probes:
            found.setdefault("probe", "+".join(sorted(self.probes)))
        return found

    def learn_parents(self, specification: str) -> None:
        """Take over what a cached specification says of inheritance."""
        with suppress(ValueError):
            self._learn(json.loads(specification))

    def _learn(self, node: Any) -> None:
        if isinstance(node, dict):
            name = node.get("neurodata_type_def", node.get("data_type_def"))
            parent = node.get("neurodata_type_inc", node.get("data_type_inc"))
            if isinstance(name, str) and isinstance(parent, str):
                self.parents[name] = parent
            for key in ("groups", "datasets"):
                self._learn(node.get(key))
        elif isinstance(node, list):
            for item in node:
                self._learn(item)


_TEXTS: Final = ("/session_start_time", "/general/session_id", *(f"/general/subject/{key}" for key in _SUBJECT))


def _hdf5(path: Path) -> _Tree:
    tree = _Tree()
    try:
        with h5py.File(path, "r") as file:
            if "nwb_version" not in file.attrs and "nwb_version" not in file:
                raise BadSource("HDF5, but not NWB: it has no nwb_version", file=path)
            for key in _TEXTS:
                if (dataset := file.get(key)) is not None and (value := _stated(key, dataset[()])):
                    tree.texts[key] = value
            for place, item in nodes(file):
                if isinstance(item, h5py.ExternalLink):
                    tree.links.append(f"{place} -> {item.filename}")
                else:
                    _hdf5_item(tree, place, item)
            if tree.extended:
                _hdf5_parents(tree, file)
    except OSError as error:
        raise BadSource(
            f"not a readable HDF5 file: {error}", file=path, remedy="convert or download it again"
        ) from error
    return tree


def _hdf5_item(tree: _Tree, place: str, item: Any) -> None:
    kind = None
    if h5py.h5a.exists(item.id, b"neurodata_type"):
        kind = _text(item.attrs["neurodata_type"])
        tree.add_type(kind, _text(item.attrs.get("namespace")))
    if isinstance(item, h5py.Dataset):
        for number in _filters_of(item) - _BUILT_IN:
            tree.filters.setdefault(number, []).append(place)
        if place.endswith(_FILES) and _names_files(place, _text(item.parent.attrs.get("neurodata_type"))):
            names = [_text(value) or "" for value in np.atleast_1d(item[()])]
            tree.add_external(place, _text(item.parent.attrs.get("object_id")) or "", names)
        elif kind == "ExternalImage" and item.shape in ((), (1,)):
            tree.add_external(place, _text(item.attrs.get("object_id")) or "", [_text(item[()]) or ""], single=True)
        return
    if place.startswith(_DEVICES) and ("probe_id" in item.attrs or "probe_id" in item):  # AIBS' EcephysProbe
        tree.probes.add(_id(item.attrs["probe_id"] if "probe_id" in item.attrs else item["probe_id"][()]))
    if kind == "IntracellularElectrode" and "cell_id" in item and (cell := _text(item["cell_id"][()])):
        tree.cells.add(cell)
    elif kind == "DandiIcephysMetadata":
        for key, entity in _ENTITIES.items():
            value = _text(item[key][()]) if key in item else _text(item.attrs.get(key))
            if value:
                tree.entities[entity] = value


def _filters_of(dataset: h5py.Dataset) -> set[int]:
    properties = dataset.id.get_create_plist()
    if properties.get_layout() != h5py.h5d.CHUNKED:
        return set()
    return {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}


def _names_files(place: str, parent: str | None) -> bool:
    """Whether a dataset holds names of files."""
    return place.endswith("/external_file") or (parent == "PoseEstimation" and place.endswith(_NAMED_VIDEOS))


def _hdf5_parents(tree: _Tree, file: h5py.File) -> None:
    """Read the cached specifications, which only matter where a type is not of the core."""

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape == ():
            tree.learn_parents(_text(item[()]) or "")

    where = file.attrs.get(".specloc")
    group = file[where] if isinstance(where, h5py.Reference) else file.get("specifications")
    if isinstance(group, h5py.Group):
        group.visititems(visit)


def _zarr(path: Path) -> _Tree:
    if not (path / ".zgroup").is_file():
        raise BadSource(
            "NWB in Zarr v3, which the installed hdmf-zarr does not read", file=path,
            remedy="write it as Zarr v2 (hdmf-zarr 0.13) or as HDF5",
        )  # fmt: skip
    tree = _Tree()
    for folder, attributes in _zarr_nodes(path):
        place = "/" + folder.relative_to(path).as_posix() if folder != path else "/"
        kind = attributes.get("neurodata_type")
        if isinstance(kind, str) and folder != path:
            tree.types.add(kind)
        if place in _TEXTS and (values := _zarr_texts(folder)) and values[0]:
            tree.texts[place] = values[0]
        elif place.endswith(_FILES):
            parent = zarr_attributes(folder.parent)
            if _names_files(place, parent.get("neurodata_type")):
                tree.add_external(place, str(parent.get("object_id", "")), _zarr_texts(folder))
        elif kind == "ExternalImage":
            tree.add_external(place, str(attributes.get("object_id", "")), _zarr_texts(folder)[:1], single=True)
        elif place.startswith("/specifications/") and (folder / ".zarray").is_file():
            tree.learn_parents("".join(_zarr_texts(folder)[:1]))
        elif kind == "IntracellularElectrode" and (folder / "cell_id").is_dir():
            tree.cells |= {cell for cell in _zarr_texts(folder / "cell_id")[:1] if cell}
        elif kind == "DandiIcephysMetadata":
            for key, entity in _ENTITIES.items():
                if value := _zarr_value(folder, attributes, key):
                    tree.entities[entity] = value
        if place.startswith(_DEVICES) and (probe := _zarr_value(folder, attributes, "probe_id")):  # AIBS' EcephysProbe
            tree.probes.add(probe)
    return tree


def _zarr_nodes(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for name, folders, files in os.walk(path):
        folder = Path(name)
        folders.sort()
        if ".zarray" in files:
            folders.clear()
        elif ".zgroup" not in files:
            continue
        yield folder, zarr_attributes(folder)


def _zarr_value(group: Path, attributes: Mapping[str, Any], key: str) -> str | None:
    """Return what a group says by an attribute or a small array, as text; None where it does not."""
    import zarr

    if attributes.get(key) not in (None, ""):
        return str(attributes[key])
    if not (group / key / ".zarray").is_file():
        return None
    if texts := _zarr_texts(group / key):
        return texts[0] or str(np.ravel(zarr.open_array(str(group / key), mode="r")[...])[0])
    return None


def _zarr_texts(array: Path) -> list[str]:
    """Return the texts of a small Zarr v2 array; none if it is not stored as text."""
    import zarr

    try:
        header = json.loads((array / ".zarray").read_text(encoding="utf-8"))
        if header.get("dtype") == "|O" and not _filters(header) <= TEXT_FILTERS:
            return []
        return [_text(value) or "" for value in np.atleast_1d(zarr.open_array(str(array), mode="r")[...])]
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadSource(f"a damaged Zarr array: {error}", file=array) from error


def _filters(header: Mapping[str, Any]) -> set[str]:
    return {str(f.get("id")) for f in header.get("filters") or () if isinstance(f, dict)}


def _of_image(path: Path) -> Facts:
    """Take an image's subject and session from the manifest beside it, else from its name."""
    record: dict[str, Any] = {}
    manifest = path.with_name(path.name + MANIFEST)
    if manifest.is_file():
        try:
            record = json.loads(manifest.read_text(encoding="utf-8")).get("details") or {}
        except (ValueError, AttributeError) as error:
            raise BadSource(f"not a manifest: {error}", file=manifest, remedy="remove it, or convert again") from error
    subject = record.get("subject") or {}
    session = record.get("session") or {}
    named_subject, named_session = ids_in_name(path.name)
    return Facts(
        path=path,
        kind="ome-zarr",
        subject_id=_word(subject.get("subject_id")) or named_subject,
        session_id=_word(session.get("session_id")) or named_session,
        session_start_time=_time(_word(session.get("session_start_time"))),
        entities=entities_in_name(path.name.split(".")[0]),
        subject={key: str(subject[key]) for key in _SUBJECT if subject.get(key)},
    )


def _word(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None


def _text(value: Any) -> str | None:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else None


def _stated(key: str, value: Any) -> str | None:
    """Return a text; a weight may be stored as a number, which is in kilograms then (NWB, Subject)."""
    if key.endswith("/weight") and isinstance(value, (int, float, np.number)):
        return f"{float(value):g} kg"
    return _text(value)


def _id(value: Any) -> str:
    """Return an id that is stored as text or as a number."""
    return _text(value) or str(np.ravel(value)[0])


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    with suppress(ValueError):
        return datetime.fromisoformat(text.strip())
    return None
