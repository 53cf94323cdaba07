"""Finds the bulk data of an NWBFile and takes them out of hdmf's hands; crops an NWBFile for a trial."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import ceil
from typing import Any

import h5py
import numpy as np
from hdmf.backends.hdf5.h5_utils import H5DataIO
from hdmf.build import DatasetBuilder, GroupBuilder
from hdmf.data_utils import AbstractDataChunkIterator, DataChunkIterator, DataIO
from hdmf_zarr import ZarrDataIO
from numcodecs.abc import Codec
from pynwb import NWBFile, TimeSeries, get_class, get_manager
from pynwb.base import TimeSeriesReference, TimeSeriesReferenceVectorData
from pynwb.ecephys import ElectricalSeries
from pynwb.image import ImageSeries

from dandify.nwb.oneway import OneWay
from dandify.nwb.structure import unwrapped, walk
from dandify.sources.arrays import Cropped, MemoryArray
from dandify.sources.contract import Array
from dandify.sources.deferred import Deferred
from dandify.sources.listed import listed
from dandify.sources.recordings import array_of
from dandify.store.compression import DEFAULTS, ReadersWarning, compression_of_filter, who_cannot_read
from dandify.store.hdf5_read import HARMLESS, contains_reference
from dandify.store.readcost import proportional_chunks
from dandify.store.target import hdf5_filters

LEAST_BULK_BYTES = 64 * 1024  # below, hdmf writes as fast, and one more chunked dataset costs readers a look-up


@dataclass(frozen=True)
class Bulk:
    """A dataset that the engine will fill.

    Attributes
    ----------
    builder
        hdmf's description of it, to be given an empty dataset.
    name
        Its object and field: ``ElectricalSeries/data``.
    place
        Its path in the output.
    array
        The values.
    dtype
        As it will be stored: NWB asks for float64 timestamps, whatever the source has.
    chunks
        A chunk shape that a DataIO asks for.
    maxshape
        What a DataIO asks for.
    rate_hz
        Samples a second, where the object states it.
    compression
        What a DataIO asks for: a name of `dandify.store.compression.COMPRESSIONS`, or a codec of numcodecs.
    usual
        Chunks that neuroconv would have made, where these are not the usual ones of recordings and movies.
    fill
        Value of what is added later and not written; None for 0.
    """

    builder: DatasetBuilder
    name: str
    place: str
    array: Array
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    maxshape: tuple[int | None, ...] | None
    rate_hz: float | None = None
    compression: Any = None
    usual: tuple[int, ...] | None = None
    fill: Any = None


def find_bulk(root: GroupBuilder, *, native: type, least_bytes: int = LEAST_BULK_BYTES) -> tuple[Bulk, ...]:
    """Find the numeric arrays of a tree that are large, and leave to hdmf the others, with filters that all can undo.

    Parameters
    ----------
    root
        What hdmf built. Small iterators and datasets of other files are replaced in it by their values.
    native
        The DataIO of the backend.
    least_bytes
        Size from which on data are left to the engine.
    """
    found = []
    for place, builder in walk(root):
        wrapped = builder["data"]
        data = wrapped.data if isinstance(wrapped, DataIO) and wrapped.data is not None else wrapped
        array = array_of(data)
        if array is None:
            array = listed(data)
        if array is None or not array.shape or not _numeric(builder, array):
            _keep(builder, data, native, place)
        elif array.nbytes < least_bytes:
            builder["data"] = _small(wrapped, data, array, native)
        else:
            name = "/".join(place.split("/")[-2:])
            chunks, maxshape, compression = _asked(wrapped, name, native)
            if native is H5DataIO and maxshape is None:
                maxshape = _growth(data)
            stored = _stored_dtype(builder, array)
            usual, fill = _usual(builder, array, stored), _fill(wrapped)
            rate = _rate_of(builder)
            found.append(Bulk(builder, name, place, array, stored, chunks, maxshape, rate, compression, usual, fill))
    return tuple(found)


def arrays_of(nwbfile: NWBFile) -> dict[str, Array]:
    """Give what was read from sources into an NWBFile that was not written, by the path of each array in a file.

    That is numeric data and timestamps of series - arrays, memory maps, iterators - and the columns of events and
    intervals, numbers and texts. Other tables describe, and are not meant.
    """
    root = get_manager().build(nwbfile, source="memory", root=True)
    found = {}
    for place, builder in walk(root):
        data = unwrapped(builder["data"])
        array = array_of(data)
        if place.startswith(("/events/", "/intervals/")) and builder.name != "id":
            if array is None:
                array = listed(data) or _texts(data)
            if array is not None and array.shape and array.dtype.kind in "iufbO":
                found[place] = array
        elif array is not None and array.shape and _numeric(builder, array) and builder.name in ("data", "timestamps"):
            found[place] = array
    return found


def _texts(data: Any) -> Array | None:
    if not isinstance(data, list) or not data or not all(isinstance(item, str) for item in data):
        return None
    return MemoryArray(np.array(data, object))


def _rate_of(builder: DatasetBuilder) -> float | None:
    """Rate of the series whose data these are."""
    if builder.name != "data" or not isinstance(builder.parent, GroupBuilder):
        return None
    start = builder.parent.datasets.get("starting_time")
    rate = start.attributes.get("rate") if start is not None else None
    return float(rate) if rate and rate > 0 else None


def _usual(builder: DatasetBuilder, array: Array, stored: np.dtype[Any]) -> tuple[int, ...] | None:
    """Chunks that neuroconv would have made of data that are neither of electrodes nor of images."""
    owner = builder.parent
    kind, namespace = (owner.attributes.get(a) for a in ("neurodata_type", "namespace")) if owner else (None, None)
    if builder.name == "data" and kind and _is_recording_or_movie(kind, namespace):
        return None
    return proportional_chunks(array.shape, stored.itemsize)


def _is_recording_or_movie(kind: str, namespace: str | None) -> bool:
    try:
        return issubclass(get_class(kind, namespace), (ElectricalSeries, ImageSeries))
    except KeyError:  # of an extension that only the file knows, which was read: it is not installed here
        return False


def _asked(wrapped: Any, name: str, native: type) -> tuple[tuple[int, ...] | None, tuple[int | None, ...] | None, Any]:
    """Chunks, maximal shape and compression that a DataIO asks for; gzip where it asks for what is not encoded here."""
    if not isinstance(wrapped, DataIO):
        return None, None, None
    asked = wrapped.io_settings
    compression = None
    if not isinstance(wrapped, native):
        pass  # it speaks of another backend's filters
    elif isinstance(wrapped, H5DataIO):
        if asked.get("compression") is not None:
            compression = compression_of_filter(asked["compression"], asked.get("compression_opts"))
        if asked.get("fletcher32") or (compression is None and asked.get("compression") not in (None, False)):
            warnings.warn(
                f"{name}: shuffle and gzip take the place of compression={asked.get('compression')!r}"
                f"{' and fletcher32' if asked.get('fletcher32') else ''}, which not every reader could undo",
                stacklevel=2,
            )
        elif unread := who_cannot_read("hdf5", compression):
            warnings.warn(f"{name}: {unread}", ReadersWarning, stacklevel=2)
    elif isinstance(asked.get("compressor"), Codec):
        compression = asked["compressor"]
    chunks, maxshape = asked.get("chunks"), asked.get("maxshape")
    return (
        tuple(int(c) for c in chunks) if isinstance(chunks, (tuple, list)) else None,
        tuple(maxshape) if isinstance(maxshape, (tuple, list)) else None,
        compression if compression != DEFAULTS["hdf5"] else None,
    )


def _growth(data: Any) -> tuple[int | None, ...] | None:
    """How far a dataset of another file, or what a DataChunkIterator makes, may grow; None where it may not."""
    if not isinstance(data, (h5py.Dataset, DataChunkIterator)):
        return None
    return tuple(data.maxshape) if data.maxshape and None in data.maxshape else None


def _fill(wrapped: Any) -> Any:
    """Fill value that a DataIO asks for, or that a dataset of another file has."""
    if isinstance(wrapped, DataIO):
        return next(
            (wrapped.io_settings[key] for key in ("fillvalue", "fill_value") if key in wrapped.io_settings), None
        )
    return wrapped.fillvalue if isinstance(wrapped, h5py.Dataset) and wrapped.fillvalue != 0 else None


def _small(wrapped: Any, data: Any, array: Array, native: type) -> Any:
    """Values for hdmf to write, chunked and growing as a DataIO or a dataset of another file does."""
    values = data if isinstance(data, (np.ndarray, list, tuple)) else array[tuple(slice(None) for _ in array.shape)]
    if isinstance(wrapped, native):
        return _again(wrapped, values)
    growth = _growth(data) if native is H5DataIO else None
    return values if growth is None else H5DataIO(values, maxshape=growth, chunks=True)


def _again(wrapped: DataIO, values: Any) -> DataIO:
    """Wrap values as a DataIO does, but for filters of HDF5 that some reader cannot undo.

    hdmf notes in a DataIO what became of it, and would refuse to write it again: the NWBFile's own stays as it is.
    """
    asked = dict(wrapped.io_settings)
    if isinstance(wrapped, ZarrDataIO):
        fill = asked.pop("fill_value", None)
        return ZarrDataIO(values, fillvalue=fill, **{**asked, "compressor": asked.get("compressor", True) or False})
    if asked.get("compression") not in (None, "gzip"):
        asked = {key: value for key, value in asked.items() if key not in ("compression", "compression_opts")}
    asked.pop("fletcher32", None)
    return H5DataIO(values, **asked)


def _numeric(builder: DatasetBuilder, array: Array) -> bool:
    """Whether it is plain numbers or truth values, to the eyes of NWB too: no references, no mixed rows, no names."""
    asked = builder.dtype
    return (
        array.dtype.kind in "iufb"
        and not h5py.check_enum_dtype(array.dtype)
        and (asked is None or (isinstance(asked, (type, np.dtype)) and np.dtype(asked).kind in "iufb"))
    )


def _stored_dtype(builder: DatasetBuilder, array: Array) -> np.dtype[Any]:
    return array.dtype if builder.dtype is None else np.dtype(builder.dtype)


def _keep(builder: DatasetBuilder, data: Any, native: type, place: str) -> None:
    """Leave a dataset to hdmf, without filters that some reader cannot undo."""
    wrapped = builder["data"]
    if data is None:
        return
    if native is ZarrDataIO and isinstance(data, (h5py.Dataset, np.ndarray)) and data.shape == ():
        data = data[()]  # hdmf-zarr knows scalars, and no arrays of no axes
    elif isinstance(data, h5py.Dataset) and not contains_reference(data.dtype):
        data = _copyable(data, native)
    elif isinstance(data, AbstractDataChunkIterator):
        data = OneWay(data, place)
    if data is wrapped and isinstance(wrapped, DataIO):  # without data: to be filled later
        data = wrapped.data
    if isinstance(wrapped, native):
        builder["data"] = _again(wrapped, data)
    elif native is H5DataIO and isinstance(data, OneWay):  # hdmf drains it, HDF5 compresses
        builder["data"] = H5DataIO(data=data, compression="gzip", compression_opts=1, shuffle=True)
    else:
        builder["data"] = data


def _copyable(data: h5py.Dataset, native: type) -> Any:
    """Leave a dataset of another file as it is, where HDF5 may copy it with its filters, else read it."""
    if data.shape is None or data.shape == ():
        return data
    if native is H5DataIO and set(hdf5_filters(data)) <= HARMLESS and not data.is_virtual and not data.external:
        return data
    if h5py.check_string_dtype(data.dtype):
        return h5py.Dataset(data.id).asstr()[()].tolist()  # hdmf's own kind of dataset has no asstr
    return data[()]


def stub(nwbfile: NWBFile, seconds: float = 1.0) -> None:
    """Crop every TimeSeries to its first second, in place; events, intervals and other tables are left as they are.

    Data and timestamps of a series are cropped alike, to at least one sample. References into a cropped series are
    shortened with it.

    Parameters
    ----------
    nwbfile
        In memory, not yet written.
    seconds
        What is kept, from the first sample of each series.
    """
    children = nwbfile.all_children()
    for series in children:
        if isinstance(series, TimeSeries) and (kept := _kept(series, seconds)) is not None:
            for name in ("data", "timestamps"):
                _crop(series, name, kept)
    for column in children:
        if isinstance(column, TimeSeriesReferenceVectorData):
            for row, reference in enumerate(column.data):
                column.data[row] = _shortened(reference)


def _kept(series: TimeSeries, seconds: float) -> int | None:
    """Count the samples to keep; None for a series without samples of its own."""
    data = series.fields.get("data")
    if isinstance(data, TimeSeries):  # linked: its own timestamps, if it has any, go with the other's samples
        return _kept(data, seconds)
    length = _length(data)
    if not length:
        return None
    if series.rate:
        return min(length, max(1, ceil(float(series.rate) * seconds)))
    owner = series
    while isinstance(owner.fields.get("timestamps"), TimeSeries):
        owner = owner.fields["timestamps"]
    times = unwrapped(owner.fields.get("timestamps"))
    if times is None:
        return None
    values = times if isinstance(times, (list, tuple)) else array_of(times)
    if values is None:
        return None
    first, low, high = float(values[0:1][0]), 1, min(length, len(values))
    while low < high:  # the first sample that is too late; timestamps increase
        middle = (low + high) // 2
        low, high = (middle + 1, high) if float(values[middle : middle + 1][0]) < first + seconds else (low, middle)
    return low


def _crop(series: TimeSeries, name: str, kept: int) -> None:
    data = unwrapped(series.fields.get(name))
    if isinstance(data, (list, tuple)):
        series.fields[name] = data[:kept]
    elif (array := array_of(data)) is not None and array.shape:
        series.fields[name] = Deferred(Cropped(array, (min(kept, array.shape[0]), *array.shape[1:])))


def _length(data: Any) -> int:
    data = unwrapped(data)
    array = array_of(data)
    shape = np.shape(data) if array is None else array.shape
    return int(shape[0]) if shape else 0


def _shortened(reference: TimeSeriesReference) -> TimeSeriesReference:
    length = _length(reference.timeseries.fields.get("data"))
    if reference.idx_start < 0 or reference.idx_start + reference.count <= length:
        return reference
    if reference.idx_start >= length:
        return TimeSeriesReference(-1, -1, reference.timeseries)  # NWB's word for "nothing of this series"
    return TimeSeriesReference(reference.idx_start, length - reference.idx_start, reference.timeseries)
