"""An NWB file as a tree of groups and arrays, HDF5 or Zarr v2 alike; nothing in it is ever evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from dandify.dandiset.facts import TEXT_FILTERS
from dandify.errors import BadSource


@contextmanager
def open_tree(path: Path, kind: Literal["nwb", "nwb-zarr"]) -> Iterator[Any]:
    """Open an NWB file and give its root group: h5py's and zarr's offer groups and attributes by the same words.

    Raises
    ------
    BadSource
        If it is damaged, be it seen when it is opened or while it is read.
    """
    if kind == "nwb":
        try:
            with h5py.File(path, "r") as file:
                yield file
        except (OSError, RuntimeError) as error:
            raise BadSource(f"not a readable HDF5 file: {error}", file=path, remedy="convert it again") from error
        return
    import zarr

    try:
        yield zarr.open_group(str(path), mode="r")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise BadSource(f"a damaged Zarr: {error}", file=path, remedy="convert it again") from error


def is_array(item: Any) -> bool:
    """Whether it is an array that may be read; neither a group, nor nothing, nor objects of an unknown kind."""
    return hasattr(item, "shape") and is_safe(item)


def is_one(item: Any) -> bool:
    """Whether it is an array of one value that may be read."""
    return is_array(item) and item.size == 1


def is_safe(item: Any) -> bool:
    """Whether an array holds numbers or text; objects of a Zarr may be anything."""
    if isinstance(item, h5py.Dataset) or item.dtype.kind != "O":
        return True
    return bool(item.filters) and all(f.codec_id in TEXT_FILTERS for f in item.filters)


def plain(value: Any) -> str | None:
    """Return a value, or the first of several, as text; None if it is empty, or neither text nor a number."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    elif isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        value = str(value)
    return value.strip() or None if isinstance(value, str) else None


def text_of(group: Any, key: str) -> str | None:
    """Return what a child or, failing that, an attribute of a group says."""
    item = group.get(key)
    return plain(item[()] if is_one(item) else group.attrs.get(key))


def link_of(group: Any, key: str) -> str | None:
    """Return the name of the object that a link of a group leads to; None if there is none."""
    if isinstance(group, h5py.Group):
        link = group.get(key, getlink=True)
        if isinstance(link, (h5py.SoftLink, h5py.ExternalLink)):
            return link.path.rpartition("/")[2] or None
        return None
    links = group.attrs.get("zarr_link") or ()  # as hdmf-zarr keeps links
    return next((str(link["path"]).rpartition("/")[2] for link in links if link.get("name") == key), None)


def children(group: Any, names: Sequence[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield what lies in a group; links are not followed, so that nothing is met twice."""
    if group is None or hasattr(group, "shape"):
        return
    for name in sorted(group) if names is None else names:
        if link_of(group, name) is None and (item := group.get(name)) is not None:
            yield name, item


def span_of(series: Any) -> Iterator[tuple[float, float]]:
    """Yield the time of a TimeSeries' first sample and the end of its last, in seconds; nothing if it has none."""
    timestamps, start, data = series.get("timestamps"), series.get("starting_time"), series.get("data")
    if hasattr(timestamps, "shape"):
        if len(timestamps):
            yield from finite(timestamps[0], timestamps[-1])
    elif hasattr(start, "shape"):
        rate = float(np.ravel(start.attrs.get("rate", 0))[0])
        samples = data.shape[0] if hasattr(data, "shape") and data.shape else 0
        count = max(samples, int(np.ravel(series.attrs.get("num_samples", 0))[0]))
        begin = float(np.ravel(start[()])[0])
        if rate > 0:
            yield from finite(begin, begin + count / rate)


def finite(begin: Any, end: Any) -> Iterator[tuple[float, float]]:
    """Yield a span unless it is not a number."""
    if np.isfinite(begin) and np.isfinite(end):
        yield float(begin), float(end)
