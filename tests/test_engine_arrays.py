"""Arrays of iterators, datasets and recordings; Deferred; and the private attributes that the raw view leans on."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from hdmf.data_utils import DataChunkIterator, GenericDataChunkIterator
from neuroconv.tools.hdmf import SliceableDataChunkIterator
from neuroconv.tools.spikeinterface.spikeinterfacerecordingdatachunkiterator import (
    SpikeInterfaceRecordingDataChunkIterator,
)
from spikeinterface.core import BinaryRecordingExtractor, NumpyRecording

from dandify.errors import BadSource
from dandify.sources import Array, MemoryArray, RawArray
from dandify.sources.deferred import Deferred
from dandify.sources.recordings import Sliceable, array_of, raw_view
from nwb_cases import recording
from shared_data import shared

VALUES = recording(2000, 12)


def binary(path: Path, **options: Any) -> BinaryRecordingExtractor:
    path.write_bytes(b"head" + VALUES.tobytes())
    return BinaryRecordingExtractor(
        [str(path)], sampling_frequency=30_000.0, dtype="int16", num_channels=12, file_offset=4, gain_to_uV=2.0,
        offset_to_uV=0.0, **options,
    )  # fmt: skip


def iterator(values: Any) -> GenericDataChunkIterator:
    return SliceableDataChunkIterator(values)


def test_every_kind_of_data(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = VALUES
        for data in (VALUES, iterator(VALUES), file["x"], zarr.array(VALUES), Deferred(MemoryArray(VALUES))):
            array = array_of(data)
            assert array is not None
            assert (array.shape, array.dtype) == (VALUES.shape, VALUES.dtype)
            np.testing.assert_array_equal(array[100:300, 3:7], VALUES[100:300, 3:7])
            assert len(array.block) == 2


@pytest.mark.parametrize("data", [[1, 2], None, "text", 3.0, DataChunkIterator(iter([1, 2]), dtype=np.dtype(int))])
def test_what_cannot_be_read_by_regions(data: Any) -> None:
    assert array_of(data) is None


class Slow:
    """A reader that two threads must not enter."""

    def __init__(self) -> None:
        self.inside = 0

    def __getitem__(self, region: tuple[slice, ...]) -> Any:
        self.inside += 1
        assert self.inside == 1
        time.sleep(0.002)
        self.inside -= 1
        return VALUES[region]


def test_readers_take_turns() -> None:
    array = Sliceable(Slow(), VALUES.shape, VALUES.dtype, (10, 12))
    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(lambda i: array[i : i + 5], range(20)):
            assert values.shape == (5, 12)


def test_a_reader_that_comes_up_short() -> None:
    with pytest.raises(BadSource, match="shorter"):
        Sliceable(VALUES[:50], VALUES.shape, VALUES.dtype, (10, 12))[40:60]


def test_sliceable_is_pickled_without_its_lock() -> None:
    array = pickle.loads(pickle.dumps(Sliceable(VALUES, VALUES.shape, VALUES.dtype, (10, 12))))
    assert isinstance(array._turn, type(threading.Lock()))
    np.testing.assert_array_equal(array[3:5], VALUES[3:5])


@pytest.mark.parametrize("shape", [(2000, 12), (0, 12), (5,), (3, 4, 5), (0,)], ids=str)
def test_deferred(shape: tuple[int, ...]) -> None:
    values = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    deferred = pickle.loads(pickle.dumps(Deferred(MemoryArray(values))))
    assert isinstance(deferred, GenericDataChunkIterator)
    assert (deferred.shape, deferred.maxshape, deferred.dtype, len(deferred), deferred.ndim) == (
        shape, shape, values.dtype, shape[0], len(shape),
    )  # fmt: skip
    assert list(deferred) == []
    np.testing.assert_array_equal(deferred[:], values)
    if shape[0] > 2:
        for index in (0, -1, 2, slice(1, 3), (slice(1, 3),), (-1, ...)[:1], (1, *[0] * (len(shape) - 1))):
            np.testing.assert_array_equal(deferred[index], values[index])


def view_of(recorded: Any) -> RawArray:
    view = raw_view(recorded)
    assert isinstance(view, RawArray)
    np.testing.assert_array_equal(view[:], recorded.get_traces())
    np.testing.assert_array_equal(view[100:200, 1:2], recorded.get_traces(start_frame=100, end_frame=200)[:, 1:2])
    return view


def test_raw_view_of_binary(tmp_path: Path) -> None:
    view = view_of(binary(tmp_path / "raw.dat"))
    assert view.header_bytes == 4
    assert view.columns is None


def test_raw_view_of_selected_channels(tmp_path: Path) -> None:
    whole = binary(tmp_path / "raw.dat")
    assert view_of(whole.select_channels(whole.channel_ids[2:9])).columns == (2, 9)
    assert view_of(whole.select_channels(whole.channel_ids[2:9]).rename_channels(list("abcdefg"))).columns == (2, 9)
    assert raw_view(whole.select_channels(whole.channel_ids[::2])) is None
    assert raw_view(whole.frame_slice(10, 500)) is None
    assert raw_view(NumpyRecording([VALUES], 30_000.0)) is None


def test_raw_view_is_not_trusted_blindly(tmp_path: Path) -> None:
    recorded = binary(tmp_path / "raw.dat")
    recorded._kwargs["file_offset"] = 6  # as if a new version described its files in another way
    assert raw_view(recorded) is None


SPIKEGLX_META = """acqApLfSy=384,384,1
appVersion=20230905
fileCreateTime=2024-05-01T09:00:00
fileName=D:/data/run_g0/run_g0_imec0/run_g0_t0.imec0.ap.bin
fileSizeBytes={bytes}
fileTimeSecs={seconds}
firstSample=0
gateMode=Immediate
imAiRangeMax=0.6
imAiRangeMin=-0.6
imDatPrb_pn=NP1010
imDatPrb_port=1
imDatPrb_slot=2
imDatPrb_type=0
imMaxInt=512
imSampRate=30000
nSavedChans=385
snsApLfSy=384,0,1
syncImInputSlot=2
snsSaveChanSubset=0:383,768
typeThis=imec
~imroTbl=(0,384){imro}
~snsChanMap=(384,384,1){channels}(SY0;768:384)
"""


def spikeglx_run(folder: Path) -> Path:
    """A run of one probe: 384 channels and the sync word in one file."""
    values = np.random.default_rng(0).integers(-50, 50, (900, 385)).astype("<i2")
    binary_file = folder / "run_g0" / "run_g0_imec0" / "run_g0_t0.imec0.ap.bin"
    binary_file.parent.mkdir(parents=True)
    values.tofile(binary_file)
    binary_file.with_suffix(".meta").write_text(
        SPIKEGLX_META.format(
            bytes=values.nbytes, seconds=900 / 30_000, imro="".join(f"({i} 0 0 500 250 1)" for i in range(384)),
            channels="".join(f"(AP{i};{i}:{i})" for i in range(384)),
        )
    )  # fmt: skip
    return folder / "run_g0"


@pytest.mark.parametrize(
    ("stream", "columns"),
    [pytest.param("imec0.ap", (0, 384), id="ap"), pytest.param("imec0.ap-SYNC", (384, 385), id="sync")],
)
def test_raw_view_of_spikeglx(tmp_path: Path, stream: str, columns: tuple[int, int]) -> None:
    from spikeinterface.extractors import read_spikeglx

    assert view_of(read_spikeglx(spikeglx_run(tmp_path), stream_id=stream)).columns == columns


def test_raw_view_of_open_ephys() -> None:
    from spikeinterface.extractors.extractor_classes import OpenEphysBinaryRecordingExtractor

    folder = shared("ephys/openephys_binary/sub-001/ses-001/ephys")
    names, _ = OpenEphysBinaryRecordingExtractor.get_streams(folder)
    recorded = OpenEphysBinaryRecordingExtractor(folder, stream_name=names[0])
    for segment in range(recorded.get_num_segments()):
        view = raw_view(recorded, segment)
        assert view is not None
        np.testing.assert_array_equal(view[:500], recorded.get_traces(segment_index=segment, end_frame=500))


def test_neuroconv_iterator(tmp_path: Path) -> None:
    recorded = binary(tmp_path / "raw.dat")
    assert isinstance(array_of(SpikeInterfaceRecordingDataChunkIterator(recorded)), RawArray)
    scaled = array_of(SpikeInterfaceRecordingDataChunkIterator(recorded, return_in_uV=True))
    assert isinstance(scaled, Array)
    assert not isinstance(scaled, RawArray)
    np.testing.assert_array_equal(scaled[5:9], VALUES[5:9] * np.float32(2))
