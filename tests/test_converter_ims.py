"""Imaris files: values as h5py reads them, without the padding; what the attributes state; damage that is heard."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.ngff.write import write_ome_zarr
from dandify.sources import Channel, Stream
from dandify.sources.registry import by_name
from ims_maker import Image, write_ims

converter = by_name("ims")

IMAGES: dict[str, Image] = {
    "czyx": Image(), "tczyx": Image(t=3), "tzyx": Image(t=2, c=1), "zyx": Image(c=1), "cyx": Image(z=1),
    "yx": Image(c=1, z=1), "uint8": Image(dtype="uint8"), "float": Image(dtype="float32"),
    "whole-chunks": Image(z=8, height=16, width=32), "lz4": Image(compression=hdf5plugin.LZ4()),
    "plain": Image(compression=None),
}  # fmt: skip


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_values_are_those_of_h5py_without_padding(tmp_path: Path, image: Image) -> None:
    path = write_ims(tmp_path / "a.ims", image)
    assert converter.identify(path)
    (stream,) = converter.open(path).streams
    with h5py.File(path) as file:
        level = file["DataSet/ResolutionLevel 0"]
        expected = np.array([
            [level[f"TimePoint {t}/Channel {c}/Data"][: image.z, : image.height, : image.width] for c in range(image.c)]
            for t in range(image.t)
        ])  # fmt: skip
    values = whole(stream)
    assert values.dtype == np.dtype(image.dtype)
    np.testing.assert_array_equal(values, expected.squeeze())
    assert stream.axes == tuple(a for a, n in zip("tczyx", image.shape, strict=True) if n > 1)


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # only read
def test_random_regions_are_slices(tmp_path: Path, data: st.DataObject) -> None:
    image = data.draw(st.sampled_from([Image(t=2), Image(z=1), Image(c=1)]))
    path = tmp_path / f"{image.t}{image.c}{image.z}.ims"
    (stream,) = converter.open(path if path.exists() else write_ims(path, image)).streams
    assert stream.array is not None
    region = []
    for n in stream.shape:
        start = data.draw(st.integers(0, n))
        region.append(slice(start, data.draw(st.integers(start, n))))
    np.testing.assert_array_equal(stream.array[tuple(region)], image.values.squeeze()[tuple(region)])


def test_what_the_attributes_state(tmp_path: Path) -> None:
    source = converter.open(write_ims(tmp_path / "brain.ims", Image(t=3)))
    (stream,) = source.streams
    assert stream.name == "brain", "a name that is not specified is none"
    assert stream.scale == {"t": 2.5, "z": 2.0, "y": 0.5, "x": 0.25}
    assert stream.channels == (
        Channel("GFP", color="FF0000", wavelength_nm=509.0, excitation_nm=488.0), Channel("Channel 1", color="00FF00"),
    )  # fmt: skip
    assert stream.description == "cortex, layer 5"
    assert dict(source.facts) == {
        "session_start_time": datetime(2021, 5, 4, 10, 11, 12, 500000), "description": "cortex, layer 5",
        "objective": "25x NA 1.05", "time_increment_s": 2.5, "channel_names": ("GFP", "Channel 1"),
        "pixel_size_um": {"z": 2.0, "y": 0.5, "x": 0.25},
    }  # fmt: skip
    assert not source.needs
    assert not source.problems


UNITS = {"um": 1.0, "nm": 1e-3, "mm": 1e3, "furlong": None}


@pytest.mark.parametrize(("unit", "factor"), UNITS.items(), ids=UNITS)
def test_units(tmp_path: Path, unit: str, factor: float | None) -> None:
    source = converter.open(write_ims(tmp_path / "a.ims", Image(unit=unit)))
    expected = {} if factor is None else {a: v * factor for a, v in {"z": 2.0, "y": 0.5, "x": 0.25}.items()}
    assert source.streams[0].scale == pytest.approx(expected)
    assert len(source.needs) == (3 if factor is None else 0)


def test_a_voxel_of_one_is_doubted(tmp_path: Path) -> None:
    (problem,) = converter.open(write_ims(tmp_path / "a.ims", Image(voxel=(1, 1, 1)))).problems
    assert "when it knows nothing" in problem


def test_several_images_have_names_of_their_own(tmp_path: Path) -> None:
    images = Image(), Image(c=1, z=3, height=16, width=16)
    source = converter.open(write_ims(tmp_path / "two.ims", *images))
    assert [s.name for s in source.streams] == ["two_0", "two_1"]
    for stream, image in zip(source.streams, images, strict=True):
        np.testing.assert_array_equal(whole(stream), image.values.squeeze())
    assert "channel_names" not in source.facts, "they differ"


def _without(name: str) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[name]

    return change


def _smaller(file: Any) -> None:
    group = file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 1"]
    group.attrs["ImageSizeX"] = np.array([b"3"], "S1")


def _larger(file: Any) -> None:
    group = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"]
    group.attrs["ImageSizeZ"] = np.array([b"9"], "S1")


def _more_times(file: Any) -> None:
    file["DataSetInfo/TimeInfo"].attrs["DatasetTimePoints"] = np.array([b"3"], "S1")


WRONG: dict[str, tuple[Callable[[Any], None], str]] = {
    "no-pixels": (_without("DataSet/ResolutionLevel 0/TimePoint 1/Channel 0/Data"), "TimePoint 1/Channel 0 has no"),
    "no-channel": (_without("DataSet/ResolutionLevel 0/TimePoint 1/Channel 1"), "TimePoint 1/Channel 1 has no"),
    "first-channel": (_without("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"), "the channels 1"),
    "no-time": (_without("DataSet/ResolutionLevel 0/TimePoint 0"), "the time points 1"),
    "stopped": (_more_times, "the time points 0, 1, and 3 are stated"),
    "another-size": (_smaller, "another size"),
    "too-large": (_larger, r"states \[9, 24, 40\] pixels"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_contradicts_itself_is_refused(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    path = write_ims(tmp_path / "a.ims", Image(t=2))
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(BadSource, match=message) as caught:
        converter.open(path)
    assert caught.value.file == str(path)


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_ims(tmp_path / "a.ims")
    content = path.read_bytes()
    for kept in (0, 7, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        assert not converter.identify(path)
        with pytest.raises(BadSource, match="cannot be read by HDF5"):
            converter.open(path)


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    path = write_ims(tmp_path / "a.ims")
    name = "DataSet/ResolutionLevel 0/TimePoint 0/Channel 1/Data"
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    array = converter.open(path).streams[0].array
    assert array is not None
    array[0:1]
    with pytest.raises(BadSource, match="cannot be decoded") as caught:
        array[1:2]
    assert caught.value.place == name


def test_other_hdf5_is_not_imaris(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.ims", "w") as file:
        file["data"] = np.zeros(3)
    assert "without Imaris" in converter.identify(tmp_path / "a.ims").reason
    with pytest.raises(BadSource):
        converter.open(tmp_path / "a.ims")


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="level"):
        converter.open(write_ims(tmp_path / "a.ims"), {"level": 1})


def test_it_becomes_an_ome_zarr(tmp_path: Path) -> None:
    (stream,) = converter.open(write_ims(tmp_path / "a.ims", Image(t=2))).streams
    report = write_ome_zarr(stream, tmp_path / "a.ome.zarr")
    assert report.datasets[0].shape == (2, 2, 5, 24, 40)
