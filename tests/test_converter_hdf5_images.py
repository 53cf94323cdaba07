"""Images in HDF5: those that state their axes, those that are named, and what is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.sources import Stream
from dandify.sources.registry import by_name
from shared_data import shared
from tiff_makers import pixels

converter = by_name("hdf5_images")


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def write(path: Path, shape: tuple[int, ...], labels: str = "", name: str = "imaging", **attributes: Any) -> Path:
    with h5py.File(path, "a") as file:
        chunks = tuple(min(n, 8) for n in shape)
        data = file.create_dataset(name, data=pixels(shape), chunks=chunks, compression="gzip")
        for i, label in enumerate(labels):
            data.dims[i].label = label
        data.attrs.update(attributes)
    return path


AXES: dict[str, tuple[tuple[int, ...], dict[str, Any], str]] = {
    "labels": ((3, 2, 12, 16), {"labels": "tzyx"}, "tzyx"),
    "labels-turned": ((12, 16, 5), {"labels": "yxt"}, "yxt"),
    "labels-of-five": ((3, 4, 12, 16, 2), {"labels": "tzyxc"}, "tzyxc"),
    "singletons": ((1, 1, 12, 16, 2), {"labels": "tzyxc"}, "tzyxc"),
    "axistags": (
        (4, 12, 16), {"axistags": json.dumps({"axes": [{"key": k, "typeFlags": 2} for k in "zyx"]})}, "zyx"
    ),
    "element-size": ((4, 12, 16), {"element_size_um": np.array([2.0, 0.5, 0.5])}, "zyx"),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "stated", "axes"), AXES.values(), ids=AXES)
def test_datasets_that_state_their_axes(
    tmp_path: Path, shape: tuple[int, ...], stated: dict[str, Any], axes: str
) -> None:
    path = write(tmp_path / "a.h5", shape, **stated)
    assert converter.identify(path).reason == "/imaging states its axes"
    (stream,) = converter.open(path).streams
    order = [axes.index(a) for a in "tczyx" if a in axes]
    np.testing.assert_array_equal(whole(stream), np.squeeze(pixels(shape).transpose(order)))
    assert stream.axes == tuple(a for a in "tczyx" if a in axes and shape[axes.index(a)] > 1)
    assert stream.name == "a"


def test_sizes_and_channels(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.h5", (4, 12, 16, 2), "zyxc", element_size_um=np.array([2.0, 0.5, 0.25]),
        channel_names=np.array([b"GFP", b"DAPI"]),
    )  # fmt: skip
    source = converter.open(path)
    assert source.streams[0].scale == {"z": 2.0, "y": 0.5, "x": 0.25}
    assert [c.name for c in source.streams[0].channels] == ["GFP", "DAPI"]
    assert source.facts == {
        "pixel_size_um": {"z": 2.0, "y": 0.5, "x": 0.25}, "channel_names": ("GFP", "DAPI")
    }  # fmt: skip
    assert not source.needs


def test_sizes_that_are_not_stated_are_asked_for(tmp_path: Path) -> None:
    source = converter.open(write(tmp_path / "a.h5", (4, 12, 16), "tyx"))
    assert [n.key for n in source.needs] == ["pixel_size_um.y", "pixel_size_um.x"]


def test_a_dataset_that_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", (12, 16, 5))
    assert "none of its datasets states its axes" in converter.identify(path).reason
    (stream,) = converter.open(path, {"dataset": "/imaging", "axes": "yxt"}).streams
    assert stream.axes == ("t", "y", "x")
    np.testing.assert_array_equal(whole(stream), pixels((12, 16, 5)).transpose(2, 0, 1))


def test_several_datasets_have_names_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", (4, 12, 16), "zyx", "t0/raw")
    path = write(tmp_path / "a.h5", (12, 16), "yx", "t0/mean")
    write(path, (12, 16), "", "untold")
    assert [s.name for s in converter.open(path).streams] == ["t0_mean", "t0_raw"]
    assert [s.name for s in converter.open(path, {"dataset": ["t0/raw", "t0/mean"]}).streams] == ["t0_raw", "t0_mean"]
    assert converter.open(path, {"dataset": "t0/raw"}).streams[0].name == "a"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"level": 1}, "no option"), "absent": ({"dataset": "/x", "axes": "zyx"}, "no dataset"),
    "group": ({"dataset": "/", "axes": "zyx"}, "no dataset"), "untold": ({"dataset": "imaging"}, "does not state"),
    "count": ({"dataset": "imaging", "axes": "yx"}, "for the shape"), "letters": ({"axes": "zzyx"}, "each once"),
    "no-dataset": ({"axes": "zyx"}, "without the dataset"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message) as caught:
        converter.open(write(tmp_path / "a.h5", (4, 12, 16)), options)
    assert caught.value.remedy


def test_what_states_no_axes_is_left(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="none of its datasets") as caught:
        converter.open(write(tmp_path / "a.h5", (4, 12, 16)))
    assert "dandify.yaml" in str(caught.value.remedy)
    write(tmp_path / "b.h5", (4, 12, 16), "abc")
    assert not converter.identify(tmp_path / "b.h5")
    with h5py.File(write(tmp_path / "c.h5", (4, 12, 16), "zyx"), "a") as file:
        file.attrs["nwb_version"] = "2.9.0"
    assert converter.identify(tmp_path / "c.h5").reason == "is an NWB file"


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", (4, 12, 16), "zyx")
    content = path.read_bytes()
    for kept in (0, 7, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        assert not converter.identify(path)
        with pytest.raises(BadSource, match="cannot be read by HDF5"):
            converter.open(path)


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", (4, 12, 16), "zyx")
    with h5py.File(path) as file:
        chunk = file["imaging"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    array = converter.open(path).streams[0].array
    assert array is not None
    with pytest.raises(BadSource, match="cannot be decoded") as caught:
        array[:]
    assert caught.value.place == "/imaging"


def test_the_real_volume() -> None:
    path = shared("ophys/sima/example-volume.h5")
    source = converter.open(path)
    (stream,) = source.streams
    with h5py.File(path) as file:
        expected = file["imaging"][()].transpose(0, 4, 1, 2, 3)
        sizes = file["imaging"].attrs["element_size_um"]
    np.testing.assert_array_equal(whole(stream), expected)
    assert [stream.scale[a] for a in "zyx"] == sizes.tolist()
    assert stream.channels == (), "one name for two channels is none"


def test_the_real_movie_that_states_nothing() -> None:
    path = shared("ophys/sima/example.h5")
    assert not converter.identify(path)
    (stream,) = converter.open(path, {"dataset": "imaging", "axes": "yxt"}).streams
    with h5py.File(path) as file:
        np.testing.assert_array_equal(whole(stream), file["imaging"][()].transpose(2, 0, 1))


@pytest.mark.parametrize("folder", ["icephys/wavesurfer_h5_pyws", "behavior"])
def test_other_real_hdf5_is_left(folder: str) -> None:
    files = [p for p in shared(folder).rglob("*") if p.suffix in (".h5", ".hdf5")]
    assert files
    assert not [p for p in files if converter.identify(p)]
