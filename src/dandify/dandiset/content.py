"""What an NWB file says for its record in the archive: subject, session and its end, samples, devices, types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import h5py
import numpy as np

from dandify.dandiset.hdf5_nodes import SPECIFICATIONS, nodes
from dandify.dandiset.nwb_tree import finite, is_array, is_one, open_tree, plain, span_of, text_of
from dandify.dandiset.vocabulary import described_types

_SUBJECT: Final = "/general/subject/"
_SUBJECT_KEYS: Final = (
    "subject_id", "species", "sex", "age", "date_of_birth", "weight", "strain", "genotype", "description",
)  # fmt: skip
_TEXTS: Final = (
    "session_description", "session_start_time", "timestamps_reference_time", "general/session_id",
    "general/experiment_description",
)  # fmt: skip
_LISTS: Final = ("general/keywords", "general/related_publications")
_SAMPLES: Final = {"tissue_sample_id": "tissuesample", "slice_id": "slice", "cell_id": "cell"}
_RELEASES: Final = frozenset({"core", "hdmf-common", "hdmf-experimental"})
_RELEASED: Final[dict[str, Mapping[str, str]]] = {}
# Longer than any session: a clock that counted from 1970, or was never set.
_FIVE_YEARS: Final = 5 * 365 * 24 * 3600.0


@dataclass(frozen=True)
class Device:
    """A device that an NWB file names."""

    name: str
    description: str | None = None
    manufacturer: str | None = None
    probe_id: str | None = None


@dataclass(frozen=True)
class NwbContent:
    """What an NWB file says of itself; what it does not say is absent.

    Attributes
    ----------
    subject
        By NWB's keys; ``age_reference`` is ``birth`` or ``gestational``.
    session_id, session_description, start
        As stated.
    end
        When the last sample, spike, event or interval ends.
    keywords, publications
        As stated.
    samples
        From the largest to the smallest: kind (``tissuesample``, ``slice``, ``cell``) and id.
    devices
        In the order of their names.
    approaches, techniques, variables
        In DANDI's words, from the neurodata types in it and what these inherit from.
    """

    subject: Mapping[str, str] = field(default_factory=dict)
    session_id: str | None = None
    session_description: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    keywords: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()
    samples: tuple[tuple[str, str], ...] = ()
    devices: tuple[Device, ...] = ()
    approaches: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


def read_content(path: Path, kind: Literal["nwb", "nwb-zarr"]) -> NwbContent:
    """Read an NWB file, HDF5 or Zarr v2: names and a few numbers, no recordings.

    Pickles in a Zarr, such as plain hdmf-zarr writes for references, are passed over: none is ever evaluated.

    Raises
    ------
    BadSource
        If it is damaged.
    """
    with open_tree(path, kind) as root:
        return _Reader(root).read()


class _Reader:
    """Walks a tree of h5py's or of zarr's: the two offer groups, arrays and attributes by the same words."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._types: set[str] = set()
        self._spans: list[tuple[float, float]] = []
        self._devices: list[Device] = []
        self._cells: set[str] = set()
        self._samples: dict[str, str] = {}

    def read(self) -> NwbContent:
        if isinstance(self._root, h5py.File):
            for place, item in nodes(self._root):
                if not isinstance(item, h5py.ExternalLink):
                    self._visit(place[1:], item)
        else:
            self._root.visititems(self._visit)
        texts = {key: text for key in _TEXTS if (text := self._text(key))}
        lists = [tuple(self._list(key)) for key in _LISTS]
        start = _time(texts.get("session_start_time"))
        reference = _time(texts.get("timestamps_reference_time")) or start
        approaches, techniques, variables = described_types(self._types, self._parents())
        return NwbContent(
            subject=self._subject(),
            session_id=texts.get("general/session_id"),
            session_description=texts.get("session_description"),
            start=start,
            end=self._end(reference),
            keywords=lists[0],
            publications=lists[1],
            samples=self._named_samples(),
            devices=tuple(sorted(self._devices, key=lambda d: d.name)),
            approaches=approaches,
            techniques=techniques,
            variables=variables,
        )

    def _visit(self, name: str, item: Any) -> None:
        if name.startswith(f"{SPECIFICATIONS}/"):
            return
        kind = plain(item.attrs.get("neurodata_type"))
        if kind:
            self._types.add(kind)
        if hasattr(item, "shape"):
            return
        if "rate" in getattr(item.get("starting_time"), "attrs", {}) or "timestamps" in item:
            self._spans += span_of(item)
        if "colnames" in item.attrs:
            self._spans += _table(item)
        if name.startswith("general/devices/") and name.count("/") == 2:
            self._devices.append(
                Device(
                    name.rpartition("/")[2], plain(item.attrs.get("description")),
                    plain(item.attrs.get("manufacturer")), text_of(item, "probe_id"),
                )
            )  # fmt: skip
        elif kind == "IntracellularElectrode" and (cell := text_of(item, "cell_id")):
            self._cells.add(cell)
        elif kind == "DandiIcephysMetadata":
            self._samples |= {what: text for key, what in _SAMPLES.items() if (text := text_of(item, key))}

    def _subject(self) -> dict[str, str]:
        found = {key: text for key in _SUBJECT_KEYS if (text := self._text(_SUBJECT + key))}
        if "age" in found:
            reference = plain(self._root[_SUBJECT + "age"].attrs.get("reference"))
            if reference:
                found["age_reference"] = reference
        return found

    def _named_samples(self) -> tuple[tuple[str, str], ...]:
        named = dict(self._samples)
        if "cell" not in named and len(self._cells) == 1:  # of several, none is the one that the file is of
            named["cell"] = next(iter(self._cells))
        return tuple((what, named[what]) for what in _SAMPLES.values() if what in named)

    def _end(self, reference: datetime | None) -> datetime | None:
        ends = [end for _, end in self._spans]
        if reference is None or not ends or max(ends) - min(start for start, _ in self._spans) > _FIVE_YEARS:
            return None
        with suppress(OverflowError):
            return reference + timedelta(seconds=max(ends))
        return None

    def _parents(self) -> dict[str, str]:
        """Read the cached specifications; those that are released do not change, and are read once."""
        found: dict[str, str] = {}
        for name, versions in (self._root.get(SPECIFICATIONS) or {}).items():
            for version in versions:
                place = f"{name}/{version}"
                known = _RELEASED.get(place)
                if known is None:
                    known = {}
                    versions[version].visititems(lambda _, item, known=known: _learn(item, known))
                    if name in _RELEASES and version.replace(".", "").isdecimal():
                        _RELEASED[place] = known
                found |= known
        return found

    def _text(self, key: str) -> str | None:
        item = self._root.get(key)
        return plain(item[()]) if is_one(item) else None

    def _list(self, key: str) -> Iterator[str]:
        item = self._root.get(key)
        if is_array(item):
            yield from (text for value in np.atleast_1d(item[()]) if (text := plain(value)))


def _table(group: Any) -> Iterator[tuple[float, float]]:
    """Yield the span of a DynamicTable: intervals, events, or the spikes of units, which are in order within each."""
    columns = {key: column for key in ("start_time", "stop_time", "timestamp", "duration", "spike_times")
               if hasattr(column := group.get(key), "shape") and len(column)}  # fmt: skip
    if "start_time" in columns:
        begin = columns["start_time"][0]
        yield from finite(begin, columns["stop_time"][-1] if "stop_time" in columns else begin)
    if "timestamp" in columns:
        last = columns["timestamp"][-1] + (columns["duration"][-1] if "duration" in columns else 0)
        yield from finite(columns["timestamp"][0], last)
    index = group.get("spike_times_index")
    if "spike_times" in columns and hasattr(index, "shape"):
        ends = np.unique(np.asarray(index[...], dtype=np.int64))
        ends = ends[(ends > 0) & (ends <= len(columns["spike_times"]))]
        if ends.size:
            starts = np.unique(np.r_[0, ends[:-1]])
            spikes = columns["spike_times"]
            yield from finite(np.nanmin(_at(spikes, starts)), np.nanmax(_at(spikes, ends - 1)))


def _at(array: Any, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(array[indices] if isinstance(array, h5py.Dataset) else array.get_orthogonal_selection(indices))


def _learn(item: Any, found: dict[str, str]) -> None:
    """Take over what a cached specification says of inheritance."""
    import json

    if not is_one(item):
        return
    with suppress(ValueError):
        stack = [json.loads(plain(item[()]) or "null")]
        while stack:
            node = stack.pop()
            if isinstance(node, dict):
                name = node.get("neurodata_type_def", node.get("data_type_def"))
                parent = node.get("neurodata_type_inc", node.get("data_type_inc"))
                if isinstance(name, str) and isinstance(parent, str):
                    found[name] = parent
                stack += [node.get("groups"), node.get("datasets")]
            elif isinstance(node, list):
                stack += node


def _time(text: str | None) -> datetime | None:
    if text is not None:
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    return None
