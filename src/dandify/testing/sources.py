"""Promises about an opened source: consistent, picklable, read alike in any way, valid as NWB."""

from __future__ import annotations

import gc
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from math import isfinite, prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dandify.sources import FACTS, KINDS, NWBSource, Source, Stream
from dandify.store.region import extent
from dandify.testing.arrays import WHOLE_BYTES, arrays_of, base, equal, moved, random_region
from dandify.testing.case import Case
from dandify.testing.observe import open_files

BLOCK_BYTES = 256 * 2**20  # more than this at one go is no region any more
SHIFT_S = 100.0
THREADS = 8
_READS = 12  # random regions of each array


def streams_agree(case: Case, source: Source) -> Iterator[str]:
    """Yield where names, kinds, axes, shapes, channels or columns contradict each other."""
    if not source.streams and not source.needs:
        yield "there are no streams, and nothing is needed"
    names = [s.name for s in source.streams]
    yield from (f"two streams are called {name!r}" for name in sorted({n for n in names if names.count(n) > 1}))
    for stream in source.streams:
        yield from (f"{stream.name}: {message}" for message in _stream(stream, isinstance(source, NWBSource)))


def facts_are_known(case: Case, source: Source) -> Iterator[str]:
    """Yield facts that are not in the vocabulary or not of its type, and the format if it is not the converter's."""
    if source.format != case.converter.name:
        yield f"its format is {source.format!r}, not {case.converter.name!r}"
    for key, value in source.facts.items():
        if key not in FACTS:
            yield f"unknown fact {key!r}; FACTS has {', '.join(FACTS)}"
        elif value is None or value in ("", ()):
            yield f"fact {key!r} is {value!r}: what is not stated is absent"
    if not isinstance(source.facts.get("session_start_time", datetime.now(UTC)), datetime):
        yield "session_start_time is no datetime"
    sizes = source.facts.get("pixel_size_um", {})
    if not all(axis in "zyx" and size > 0 for axis, size in sizes.items()):
        yield f"pixel_size_um is {dict(sizes)}"


def files_are_there(case: Case, source: Source) -> Iterator[str]:
    """Yield files that are missing, relative, or elsewhere than the acquisition."""
    if not source.files:
        yield "it has no files"
    home = case.root if case.root.is_dir() else case.root.parent
    for file in (source.path, *source.files, *(f for s in source.streams for f in s.external_files)):
        if not file.is_absolute():
            yield f"{file} is not absolute"
        elif not file.exists():
            yield f"{file} does not exist"
        elif not file.resolve().is_relative_to(home.resolve()):
            yield f"{file} lies outside {home}"
    yield from (f"{file} is a folder" for file in source.files if file.is_dir())


def survives_pickling(case: Case, source: Source) -> Iterator[str]:
    """Yield what a pickled and restored source has changed."""
    again = pickle.loads(pickle.dumps(source))  # of our own making
    for name in ("format", "path", "files", "facts", "needs", "problems"):
        if getattr(again, name) != getattr(source, name):
            yield f"{name} is another after pickling"
    for (name, one), (_, two) in zip(arrays_of(source), arrays_of(again), strict=True):
        region = random_region(np.random.default_rng(1), one.shape, one.dtype, 2**16)
        if not equal(one[region], two[region]):
            yield f"{name} reads other values after pickling"


def regions_are_slices(case: Case, source: Source) -> Iterator[str]:
    """Yield arrays of which a region is not the slice of a larger one, or of another type or shape."""
    random = np.random.default_rng(2)
    for name, array in arrays_of(source):
        outer, values = base(random, array)
        if values.dtype != array.dtype or values.shape != extent(outer):
            yield f"{name}: reads {values.shape} {values.dtype}, not {extent(outer)} {array.dtype}"
            continue
        for _ in range(_READS):
            inner = random_region(random, values.shape, values.dtype, WHOLE_BYTES)
            got = array[moved(inner, outer)]
            if got.dtype != array.dtype or not equal(got, values[inner]):
                yield f"{name}: region {moved(inner, outer)} is not the slice of a larger read"
                break


def threads_agree(case: Case, source: Source) -> Iterator[str]:
    """Yield arrays that read other values from eight threads at once."""
    random = np.random.default_rng(3)
    for name, array in arrays_of(source):
        outer, values = base(random, array)
        regions = [random_region(random, values.shape, values.dtype, 2**20) for _ in range(4 * THREADS)]
        with ThreadPoolExecutor(THREADS) as pool:
            read = list(pool.map(lambda r, a=array, o=outer: a[moved(r, o)], regions))
        if not all(equal(got, values[region]) for got, region in zip(read, regions, strict=True)):
            yield f"{name}: reads from {THREADS} threads differ"


def blocks_are_sensible(case: Case, source: Source) -> Iterator[str]:
    """Yield blocks that do not fit the shape or are too large for one read."""
    for name, array in arrays_of(source):
        if len(array.block) != len(array.shape):
            yield f"{name}: block {array.block} for shape {array.shape}"
        elif any(not 1 <= b <= max(1, n) for b, n in zip(array.block, array.shape, strict=True)):
            yield f"{name}: block {array.block} does not lie in shape {array.shape}"
        elif prod(array.block) * array.dtype.itemsize > BLOCK_BYTES:
            yield f"{name}: block {array.block} has more than {BLOCK_BYTES >> 20} MiB"


def nothing_stays_open(case: Case, source: Source) -> Iterator[str]:
    """Yield files of the sample that are still open, or mapped, after it was opened and read."""
    fresh = case.converter.open(case.root, case.options)
    for _, array in arrays_of(fresh):
        array[tuple(slice(0, 1) for _ in array.shape)]
    gc.collect()
    home = case.root if case.root.is_dir() else case.root.parent
    yield from (f"{file} is still open" for file in open_files() if Path(file).is_relative_to(home))


def becomes_nwb(case: Case, source: Source) -> Iterator[str]:
    """Yield what pynwb's validator says of the NWB file that the streams become, and series that `shift_s` leaves."""
    if source.needs or not any(s.kind != "Image" for s in source.streams):
        return
    import pynwb

    from dandify.nwb.defer import stub
    from dandify.nwb.write import write_nwb

    start, later = (_nwbfile(source, shift_s) for shift_s in (0.0, SHIFT_S))
    for name, series in start.acquisition.items():
        moved = later.acquisition[name]
        if getattr(series, "rate", None) and abs(moved.starting_time - series.starting_time - SHIFT_S) > 1e-6:
            yield f"{name} is not moved by shift_s"
    if not start.objects:
        yield "no object is added to the NWBFile"
    stub(start, 0.2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.nwb"
        write_nwb(start, path)
        yield from (f"pynwb: {error}" for error in pynwb.validate(path=str(path)))


SOURCE_CHECKS: Mapping[str, Callable[[Case, Source], Iterator[str]]] = MappingProxyType({
    "its streams are consistent": streams_agree,
    "its facts are known ones": facts_are_known,
    "its files are there": files_are_there,
    "it can be pickled": survives_pickling,
    "regions equal slices of the whole": regions_are_slices,
    "eight threads read the same": threads_agree,
    "blocks are sensible": blocks_are_sensible,
    "no file stays open": nothing_stays_open,
    "it becomes a valid NWB file": becomes_nwb,
})  # fmt: skip
"""Promises about what `Converter.open` returns: the sentence, and the function that yields what breaks it."""


def _stream(stream: Stream, builds_itself: bool) -> Iterator[str]:
    if not stream.name:
        yield "has no name"
    if stream.kind not in KINDS:
        yield f"kind {stream.kind!r} is none of {', '.join(KINDS)}"
    if not stream.axes or not set(stream.axes) <= set("tczyx") or len(set(stream.axes)) != len(stream.axes):
        yield f"axes {stream.axes}"
    if len(stream.axes) != len(stream.shape):
        yield f"{len(stream.axes)} axes and shape {stream.shape}"
        return
    sizes = dict(zip(stream.axes, stream.shape, strict=True))
    if stream.array is not None and stream.array.shape != stream.shape:
        yield f"shape {stream.shape}, and that of its array is {stream.array.shape}"
    if stream.array is not None and not isinstance(stream.array.dtype, np.dtype):
        yield f"dtype {stream.array.dtype!r} is no NumPy dtype"
    if not (stream.array is not None or stream.columns or stream.external_files or builds_itself):
        yield "has neither array, columns nor files"
    if stream.rate_hz is not None and not stream.rate_hz > 0:
        yield f"rate {stream.rate_hz}"
    if stream.timestamps is not None and stream.timestamps.shape != (sizes.get("t"),):
        yield f"timestamps {stream.timestamps.shape} for shape {stream.shape}"
    if stream.timestamps is not None and stream.rate_hz is not None:
        yield "has a rate and timestamps"
    words = stream.kind == "EventsTable"  # of digital lines, several in a column
    if stream.channels and "c" in sizes and not words and len(stream.channels) != sizes["c"]:
        yield f"{len(stream.channels)} channels for shape {stream.shape}"
    if not set(stream.scale) <= set(stream.axes) or not all(v > 0 for v in stream.scale.values()):
        yield f"scale {dict(stream.scale)}"
    if not set(stream.origin) <= set(stream.axes) or not all(map(isfinite, stream.origin.values())):
        yield f"origin {dict(stream.origin)}"
    columns = [c.name for c in stream.columns]
    if len(set(columns)) != len(columns):
        yield f"columns of equal name: {columns}"
    yield from (f"column {c.name} has shape {c.array.shape}" for c in stream.columns if c.array.shape != stream.shape)


def _nwbfile(source: Source, shift_s: float) -> Any:
    from pynwb import NWBFile

    from dandify.nwb.streams import add_streams

    nwbfile = NWBFile("contract", "contract", datetime(2026, 1, 1, tzinfo=UTC))
    if isinstance(source, NWBSource):
        source.add_to_nwbfile(nwbfile, shift_s=shift_s)
    else:
        add_streams(nwbfile, source, shift_s=shift_s)
    return nwbfile
