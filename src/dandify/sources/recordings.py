"""Arrays of what others put into NWB objects: hdmf and neuroconv iterators, NumPy, HDF5 and Zarr arrays."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources.arrays import MemoryArray, RawArray, flat_block
from dandify.sources.contract import Array
from dandify.store.region import Region, extent

_PROBED_SAMPLES = 64  # at both ends of a recording, compared before a raw view is trusted


@dataclass(frozen=True, eq=False)
class Sliceable(Array):
    """Something of another library that is sliced: an iterator, a dataset of an open HDF5 file, a Zarr array.

    Few of these readers are safe from several threads, so reads take turns. The array can be pickled where its reader
    can.

    Parameters
    ----------
    reader
        The object.
    shape, dtype, block
        Of its values.
    method
        Name of the method that takes a tuple of slices.
    """

    reader: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: tuple[int, ...]
    method: str = "__getitem__"
    _turn: Any = field(default_factory=threading.Lock, repr=False)

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region, one thread at a time."""
        with self._turn:
            values = np.asarray(getattr(self.reader, self.method)(region))
        if values.shape != extent(region):
            raise BadSource(
                f"{type(self.reader).__name__} gives {values.shape} for a region of {extent(region)}",
                remedy="the recording is shorter than its header says, or its iterator is wrong",
            )
        return as_declared(values, self.dtype, of=self.reader)

    def __reduce__(self) -> tuple[object, ...]:
        return (Sliceable, (self.reader, self.shape, self.dtype, self.block, self.method))


def as_declared(values: NDArray[Any], dtype: np.dtype[Any], *, of: Any) -> NDArray[Any]:
    """Give values in the type that their reader declares, which is what the file has.

    Parameters
    ----------
    values
        As they were read.
    dtype
        As declared.
    of
        The reader, for the error.

    Raises
    ------
    BadSource
        If values are lost so: fractions in integers, or numbers beyond the type. Floats may be rounded to shorter ones.
    """
    if values.dtype == dtype:
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        declared: NDArray[Any] = values.astype(dtype)
        lossless = np.can_cast(values.dtype, dtype, "same_kind" if dtype.kind in "fc" else "safe")
        lost = values.dtype.kind in "iufb" and not lossless and not np.array_equal(declared, values)
    if lost:
        raise BadSource(
            f"{type(of).__name__} declares {dtype} and yields {values.dtype} that do not fit in",
            remedy="have it declare what it yields, else values would be cut",
        )
    return declared


def array_of(data: Any) -> Array | None:
    """Give the Array of data that can be read by regions; None for what cannot (lists, one-way iterators, text).

    Parameters
    ----------
    data
        As it stands in an NWB object, without a DataIO around it.
    """
    from hdmf.data_utils import DataChunkIterator, GenericDataChunkIterator

    from dandify.sources.deferred import Deferred

    if isinstance(data, Deferred):
        return data.array
    if isinstance(data, Array):
        return data
    if isinstance(data, np.ndarray):
        return MemoryArray(data)
    if type(data).__module__.startswith("pandas.") and isinstance(getattr(data, "dtype", None), np.dtype):
        return MemoryArray(data.to_numpy())
    if isinstance(data, GenericDataChunkIterator):
        return _raw_view_of(data) or _iterator(data)
    if isinstance(data, DataChunkIterator):  # one-way, unless it goes over an array
        over = array_of(data.data)
        return over if over is not None and over.dtype == data.dtype else None
    if _is_dataset(data) and data.shape:
        shape, kind = tuple(data.shape), np.dtype(data.dtype)
        return Sliceable(data, shape, kind, tuple(data.chunks or flat_block(shape, kind)))
    return None


def _iterator(data: Any) -> Array:
    shape, kind = tuple(int(n) for n in data.maxshape), np.dtype(data.dtype)
    return Sliceable(data, shape, kind, flat_block(shape, kind), "_get_data")


def _is_dataset(data: Any) -> bool:
    """Whether it is a dataset of h5py or an array of Zarr, told by module so that neither need be imported."""
    kind = type(data)
    return (kind.__module__.split(".")[0], kind.__name__) in (("h5py", "Dataset"), ("zarr", "Array"))


def _raw_view_of(iterator: Any) -> Array | None:
    recording = getattr(iterator, "recording", None)
    if recording is None or getattr(iterator, "return_in_uV", True) or not hasattr(recording, "get_traces"):
        return None
    return raw_view(recording, iterator.segment_index)


def raw_view(recording: Any, segment: int = 0) -> RawArray | None:
    """Columns of the raw file behind a SpikeInterface recording; None where the recording is not simply that.

    SpikeInterface reads such files correctly, but it holds a memory map for as long as it lives, cannot be read from
    several threads, and copies twice. The way to the file leads through attributes that are not all public
    (`_stream_buffer_slice` of neo, `_parent_channel_indices` of SpikeInterface), so it is kept in this one function,
    a test holds it, and the two ends of the view are compared with `get_traces` before it is used.

    Parameters
    ----------
    recording
        Any SpikeInterface recording.
    segment
        Index of the segment.
    """
    found = _located(recording, segment)
    if found is None or found.dtype != recording.get_dtype():
        return None
    samples = recording.get_num_samples(segment_index=segment)
    if found.shape != (samples, recording.get_num_channels()):
        return None
    for start, stop in {(0, min(_PROBED_SAMPLES, samples)), (max(0, samples - _PROBED_SAMPLES), samples)}:
        traces = recording.get_traces(segment_index=segment, start_frame=start, end_frame=stop)
        if not np.array_equal(found[start:stop], traces):
            return None
    return found


def _located(recording: Any, segment: int) -> RawArray | None:
    """Where the recording's samples should lie."""
    from spikeinterface.core.channelslice import ChannelSliceRecording

    if isinstance(recording, ChannelSliceRecording):
        parent = _located(recording._parent, segment)
        columns = np.asarray(recording._parent_channel_indices)
        if parent is None or not len(columns) or not np.array_equal(columns, np.arange(len(columns)) + columns[0]):
            return None
        first = (parent.columns or (0, 0))[0] + int(columns[0])
        return replace(parent, columns=(first, first + len(columns)))
    if recording.is_binary_compatible():
        return _binary(recording, segment)
    part = recording.segments[segment]
    reader = getattr(part, "neo_reader", None)
    if reader is None or not reader.has_buffer_description_api() or getattr(part, "inverted_gain", True):
        return None
    return _buffered(reader, part)


def _binary(recording: Any, segment: int) -> RawArray | None:
    """SpikeInterface's own binary layout."""
    found = recording.get_binary_description()
    if found["time_axis"] != 0:
        return None
    samples = recording.get_num_samples(segment_index=segment)
    return RawArray(
        Path(found["file_paths"][segment]), np.dtype(found["dtype"]), samples, found["num_channels"],
        found["file_offset"] or 0,
    )  # fmt: skip


def _buffered(reader: Any, part: Any) -> RawArray | None:
    """Neo's description of a raw buffer: SpikeGLX, Open Ephys binary and others."""
    stream = reader.header["signal_streams"][part.stream_index]
    found = reader.get_analogsignal_buffer_description(part.block_index, part.segment_index, stream["buffer_id"])
    if found["type"] != "raw" or found.get("time_axis", 0) != 0 or found.get("order", "C") != "C":
        return None
    samples, channels = found["shape"]
    selected = reader._stream_buffer_slice[stream["id"]]
    columns = None
    if isinstance(selected, slice):
        start, stop, step = selected.indices(channels)
        if step != 1:
            return None
        columns = (start, stop)
    elif selected is not None:
        return None
    return RawArray(
        Path(found["file_path"]), np.dtype(found["dtype"]), int(samples), int(channels), int(found["file_offset"]),
        columns,
    )  # fmt: skip
