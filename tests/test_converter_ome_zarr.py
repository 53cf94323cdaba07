"""OME-Zarr as a source: values as TensorStore reads them, metadata of all versions, damage; written again the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource, MissingMetadata, UnknownFormat
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.project.scan import scan
from dandify.sources import Channel, MemoryArray, Stream
from dandify.sources.derived import Transposed
from dandify.sources.registry import by_name
from dandify.store.manifest import manifest_path
from shared_data import shared
from tiff_makers import pixels, write_imagej, write_ome, write_plain, write_planes

converter = by_name("ome_zarr")

SHAPE = (2, 2, 5, 40, 56)
SCALE = {"t": 0.5, "z": 3.0, "y": 0.65, "x": 0.65}


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def ours(path: Path, version: str = "0.5", shape: tuple[int, ...] = SHAPE, axes: str = "tczyx") -> Path:
    write_ome_zarr(
        pixels(shape), path, axes=axes, scale={a: SCALE[a] for a in axes if a != "c"}, version=version,
        channels=[Channel("GFP", color="00FF00"), Channel("DAPI", color="0000FF")] if "c" in axes else None,
    )  # fmt: skip
    return path


def group(path: Path, version: str, attributes: dict[str, Any]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if version == "0.5":
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **attributes}}}
        (path / "zarr.json").write_text(json.dumps(document), encoding="utf-8")
    else:
        (path / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
        (path / ".zattrs").write_text(json.dumps(attributes), encoding="utf-8")


def array(path: Path, values: NDArray[Any], driver: str = "zarr", chunk: int = 16, **metadata: Any) -> None:
    """Write an array by TensorStore, as other writers do."""
    chunks = [min(chunk, n) for n in values.shape]
    if driver == "zarr":
        metadata = {"chunks": chunks, **metadata}
    else:
        metadata = {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}, **metadata}
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path.as_posix()}/"}, "metadata": metadata}
    store = tensorstore.open(spec, create=True, dtype=values.dtype, shape=values.shape).result()
    store.write(values).result()


def multiscales(axes: list[Any] | None, version: str | None = None, **more: Any) -> dict[str, Any]:
    first: dict[str, Any] = {"datasets": [{"path": "0", **more}]}
    if axes is not None:
        first["axes"] = axes
    if version:
        first["version"] = version
    return {"multiscales": [first]}


AXES = [
    {"name": "t", "type": "time", "unit": "millisecond"}, {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "nanometer"}, {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "millimeter"},
]  # fmt: skip


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_our_own_is_read_back(tmp_path: Path, version: str) -> None:
    path = ours(tmp_path / "a.ome.zarr", version)
    assert converter.identify(path).reason == "is an image"
    source = converter.open(path)
    (stream,) = source.streams
    np.testing.assert_array_equal(whole(stream), pixels(SHAPE))
    assert (stream.name, stream.axes, stream.scale) == ("a", tuple("tczyx"), SCALE)
    assert [(c.name, c.color) for c in stream.channels] == [("GFP", "00FF00"), ("DAPI", "0000FF")]
    assert source.facts["pixel_size_um"] == {"z": 3.0, "y": 0.65, "x": 0.65}
    assert source.facts["time_increment_s"] == 0.5
    assert source.facts["channel_names"] == ("GFP", "DAPI")
    assert not source.needs
    assert not source.problems


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # only read
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_random_regions_are_slices(tmp_path: Path, version: str, data: st.DataObject) -> None:
    path = tmp_path / "a.ome.zarr"
    (found,) = converter.open(path if path.exists() else ours(path, version)).streams
    assert found.array is not None
    region = []
    for n in found.shape:
        start = data.draw(st.integers(0, n))
        region.append(slice(start, data.draw(st.integers(start, n))))
    np.testing.assert_array_equal(found.array[tuple(region)], pixels(SHAPE)[tuple(region)])


def test_units_translations_and_outer_scales_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    inner = [
        {"type": "scale", "scale": [1, 1, 1500, 0.5, 0.0005]},
        {"type": "translation", "translation": [0, 0, 750, 0, 0.1]},
    ]
    content = multiscales(AXES, coordinateTransformations=inner)
    content["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [200, 1, 2, 1, 1]}]
    group(path, "0.4", content)
    array(path / "0", pixels((2, 1, 3, 8, 9)), dimension_separator="/")
    (stream,) = converter.open(path).streams
    assert stream.scale == {"t": 0.2, "z": 3.0, "y": 0.5, "x": 0.5}
    assert stream.origin == {"z": 1.5, "x": 100.0}
    assert stream.axes == ("t", "c", "z", "y", "x")


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_the_first_versions_have_five_axes_and_no_sizes(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.zarr"
    group(path, "0.1", multiscales(None, version))
    array(path / "0", pixels((1, 3, 1, 8, 9)))
    source = converter.open(path)
    (stream,) = source.streams
    assert (stream.axes, stream.shape) == (("c", "y", "x"), (3, 8, 9))
    assert [n.key for n in source.needs] == ["pixel_size_um.y", "pixel_size_um.x"]


def test_a_scale_without_unit_is_no_size(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    axes = [{"name": a, "type": "space"} for a in "zyx"]
    group(path, "0.4", multiscales(axes, coordinateTransformations=[{"type": "scale", "scale": [1.0, 1.0, 1.0]}]))
    array(path / "0", pixels((3, 8, 9)))
    source = converter.open(path)
    assert source.streams[0].scale == {}
    assert [n.key for n in source.needs] == ["pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]


def test_axes_in_another_order_are_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group(path, "0.5", multiscales([AXES[i] for i in (3, 4, 2, 1)]))
    values = pixels((8, 9, 3, 2))
    array(path / "0", values, "zarr3", chunk=4)
    (stream,) = converter.open(path).streams
    assert (stream.axes, stream.array and stream.array.block) == (("c", "z", "y", "x"), (2, 3, 4, 4))
    np.testing.assert_array_equal(whole(stream), values.transpose(3, 2, 0, 1))


@given(data=st.data())
def test_transposed_regions_are_slices(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    left = [i for i, n in enumerate(shape) if n == 1 and data.draw(st.booleans())]
    order = tuple(data.draw(st.permutations([i for i in range(len(shape)) if i not in left])))
    values = pixels(shape)
    expected = values.transpose(*left, *order)[(0,) * len(left)]
    region = []
    for n in expected.shape:
        start = data.draw(st.integers(0, n))
        region.append(slice(start, data.draw(st.integers(start, n))))
    turned = Transposed(MemoryArray(values), order)
    assert turned.shape == expected.shape
    np.testing.assert_array_equal(turned[tuple(region)], expected[tuple(region)])


def test_an_axis_that_is_longer_than_one_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="shape"):
        Transposed(MemoryArray(pixels((2, 3))), (1,))


def test_fields_of_a_plate_are_images_with_names(tmp_path: Path) -> None:
    path = tmp_path / "plate.ome.zarr"
    group(path, "0.4", {"plate": {"wells": [{"path": "B/03"}]}})
    group(path / "B", "0.4", {})
    group(path / "B/03", "0.4", {"well": {"images": [{"path": "0"}, {"path": "10"}]}})
    for field in ("0", "2", "10"):
        ours(tmp_path / "one.ome.zarr", "0.4", (2, 8, 9), "cyx")
        shutil.move(tmp_path / "one.ome.zarr", path / "B/03" / field)
        manifest_path(tmp_path / "one.ome.zarr").unlink()
    assert converter.identify(path).reason == "is a plate"
    source = converter.open(path)
    assert [s.name for s in source.streams] == ["B_03_0", "B_03_2", "B_03_10"]
    assert source.facts["channel_names"] == ("GFP", "DAPI")


def test_labels_stay_behind_and_are_named(tmp_path: Path) -> None:
    path = ours(tmp_path / "a.ome.zarr", shape=(2, 8, 9), axes="cyx")
    group(path / "labels", "0.5", {"labels": ["cells"]})
    group(path / "labels/cells", "0.5", multiscales([AXES[3], AXES[4]]))
    source = converter.open(path)
    assert len(source.streams) == 1
    assert "cells" in source.problems[0]


def test_an_array_without_chunks_is_told(tmp_path: Path) -> None:
    path = ours(tmp_path / "a.ome.zarr", shape=(2, 8, 9), axes="cyx")
    shutil.rmtree(path / "0" / "c")
    assert "no chunk" in converter.open(path).problems[0]
    assert not whole(converter.open(path).streams[0]).any()


def test_channels_that_contradict_the_array_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group(path, "0.5", {**multiscales([AXES[1], AXES[3], AXES[4]]), "omero": {"channels": [{"label": "a"}]}})
    array(path / "0", pixels((3, 8, 9)), "zarr3")
    source = converter.open(path)
    assert source.streams[0].channels == ()
    assert "describes 1 channels and has 3" in source.problems[0]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "axis": (multiscales([{"name": "phase"}, AXES[3], AXES[4]]), "the axis 'phase'"),
    "twice": (multiscales([AXES[3], AXES[3], AXES[4]]), "there twice"),
    "no-x": (multiscales([AXES[1], AXES[2], AXES[3]]), "without y and x"),
    "count": (multiscales([AXES[3], AXES[4]]), "its array has the shape"),
    "no-dataset": ({"multiscales": [{"axes": AXES, "datasets": []}]}, "damaged"),
    "no-path": ({"multiscales": [{"axes": AXES, "datasets": [{}]}]}, "damaged"),
    "scale": (
        multiscales([AXES[1], AXES[3], AXES[4]], coordinateTransformations=[{"type": "scale", "scale": [1]}]), "zip"
    ),
    "draft": ({"multiscales": [{"datasets": [{"path": "0"}], "version": "0.6.dev4"}]}, "reads 0.1 to 0.5"),
    "elsewhere": ({"multiscales": [{"axes": [AXES[3], AXES[4]], "datasets": [{"path": "9"}]}]}, "no array"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.zarr"
    group(path, "0.4", content)
    array(path / "0", pixels((3, 8, 9)))
    assert converter.identify(path)
    with pytest.raises(BadSource, match=message) as caught:
        converter.open(path)
    assert caught.value.remedy


def test_a_document_that_is_not_as_zarr_has_it_is_to_be_mended(tmp_path: Path) -> None:
    """As bioformats2raw 0.2 wrote it: a fill value in quotes, which TensorStore refuses."""
    path = tmp_path / "a.zarr"
    group(path, "0.4", multiscales([AXES[1], AXES[3], AXES[4]]))
    array(path / "0", pixels((3, 8, 9)))
    document = json.loads((path / "0" / ".zarray").read_text(encoding="utf-8"))
    (path / "0" / ".zarray").write_text(json.dumps({**document, "fill_value": "0"}), encoding="utf-8")
    with pytest.raises(BadSource, match=r'member "fill_value": .* received: "0"') as caught:
        converter.open(path)
    assert str(caught.value.remedy).startswith("mend the document")


def test_other_zarr_is_not_ome(tmp_path: Path) -> None:
    group(tmp_path / "a.zarr", "0.4", {"neurodata_type": "NWBFile"})
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "c.zarr").write_text("{}", encoding="utf-8")
    array(tmp_path / "d.zarr", pixels((3, 8)))
    (tmp_path / "e.zarr").mkdir()
    (tmp_path / "e.zarr/zarr.json").write_text("[", encoding="utf-8")
    for name in "abcde":
        assert not converter.identify(tmp_path / f"{name}.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_damaged_chunk_is_named(tmp_path: Path, version: str) -> None:
    path = ours(tmp_path / "a.ome.zarr", version)
    stored = next(p for p in sorted((path / "0").rglob("0")) if p.is_file())
    stored.write_bytes(stored.read_bytes()[: stored.stat().st_size // 2])
    found = converter.open(path).streams[0].array
    assert found is not None
    with pytest.raises(BadSource, match="cannot be decoded") as caught:
        found[:]
    assert "0/" in caught.value.cause


def test_any_file_of_it_leads_to_the_root(tmp_path: Path) -> None:
    path = ours(tmp_path / "a.ome.zarr")
    assert converter.claim(path / "0" / "c" / "0") == path
    assert converter.claim(path) == path
    assert converter.claim(tmp_path / "a.tif") is None


def test_scan_opens_one_that_is_named_and_passes_over_outputs(tmp_path: Path) -> None:
    path = ours(tmp_path / "a.ome.zarr")
    assert [s.format for s in scan(path).sources] == ["ome_zarr"]
    assert not scan(path).unknown
    assert not scan(tmp_path).sources


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_written_again_it_is_the_same_image(tmp_path: Path, version: str) -> None:
    """From either version into the other, with other chunks; what describes it stays."""
    ours(tmp_path / "a.ome.zarr", {"0.4": "0.5", "0.5": "0.4"}[version])
    (tmp_path / "a.ome.zarr/OME").mkdir()
    (tmp_path / "a.ome.zarr/OME/METADATA.ome.xml").write_text("<OME/>", encoding="utf-8")
    report = write_ome_zarr(tmp_path / "a.ome.zarr", tmp_path / "b.ome.zarr", version=version, chunks=(1, 1, 2, 16, 16))
    assert report.datasets[0].verified
    assert not check_ome_zarr(tmp_path / "b.ome.zarr")
    one, two = (converter.open(tmp_path / f"{n}.ome.zarr").streams[0] for n in "ab")
    np.testing.assert_array_equal(whole(one), whole(two))
    assert (one.axes, one.scale, one.channels) == (two.axes, two.scale, two.channels)
    assert two.array is not None
    assert two.array.block == (1, 1, 2, 16, 16)
    assert (tmp_path / "b.ome.zarr/OME/METADATA.ome.xml").read_text(encoding="utf-8") == "<OME/>"


def test_an_origin_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    inner = [{"type": "scale", "scale": [2.0, 2.0]}, {"type": "translation", "translation": [30.0, -40.0]}]
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    group(path, "0.4", multiscales(axes, coordinateTransformations=inner))
    array(path / "0", pixels((8, 9)))
    write_ome_zarr(path, tmp_path / "b.ome.zarr")
    assert converter.open(tmp_path / "b.ome.zarr").streams[0].origin == {"y": 30.0, "x": -40.0}


def test_write_ome_zarr_takes_paths_of_any_image(tmp_path: Path) -> None:
    write_imagej(tmp_path / "a.tif", (4, 12, 16), "ZYX", unit="um", spacing=3.5)
    write_ome_zarr(tmp_path / "a.tif", tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(whole(converter.open(tmp_path / "a.ome.zarr").streams[0]), pixels((4, 12, 16)))
    manifest = json.loads(manifest_path(tmp_path / "a.ome.zarr").read_text(encoding="utf-8"))
    assert manifest["sources"][0]["path"].endswith("a.tif")
    folder = write_planes(tmp_path / "brain")
    write_ome_zarr(folder, tmp_path / "d.ome.zarr", scale={"z": 1, "y": 1, "x": 1})
    np.testing.assert_array_equal(whole(converter.open(tmp_path / "d.ome.zarr").streams[0]), pixels((5, 12, 16)))
    plain = write_plain(tmp_path / "b.tif", (4, 12, 16))
    with pytest.raises(BadRequest, match="it needs"):
        write_ome_zarr(plain, tmp_path / "b.ome.zarr", scale={"z": 1, "y": 1, "x": 1})
    write_ome_zarr(plain, tmp_path / "b.ome.zarr", axes="zyx", scale={"z": 1, "y": 1, "x": 1})
    with pytest.raises(MissingMetadata, match=r"pixel_size_um\.y"):
        write_ome_zarr(write_ome(tmp_path / "c.ome.tif", (8, 9), "YX"), tmp_path / "c.ome.zarr")


def test_paths_that_hold_no_single_image_are_refused(tmp_path: Path) -> None:
    from tiff_makers import write_series

    write_series(tmp_path / "two.ome.tif")
    with pytest.raises(BadRequest, match="2 images: brain, eye"):
        write_ome_zarr(tmp_path / "two.ome.tif", tmp_path / "b.ome.zarr")
    (tmp_path / "a.xyz").write_text("", encoding="utf-8")
    with pytest.raises(UnknownFormat):
        write_ome_zarr(tmp_path / "a.xyz", tmp_path / "b.ome.zarr")
    with pytest.raises(BadRequest, match="no such"):
        write_ome_zarr(str(tmp_path / "absent.tif"), tmp_path / "b.ome.zarr")


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="level"):
        converter.open(ours(tmp_path / "a.ome.zarr"), {"level": 1})


REAL = {
    "plate": ("microscopy/omezarr_examples/v04/hcs_example.ome.zarr", "B/03/0/0", {"z": 1.0, "y": 0.1625, "x": 0.1625}),
    "spatialdata-0.4": ("microscopy/viv_ometiff_zarr/ome-zarr/blobs_image_v04.ome.zarr", "0", {}),
    "spatialdata-0.5": ("microscopy/viv_ometiff_zarr/ome-zarr/blobs_image_v05.ome.zarr", "0", {}),
}


@pytest.mark.parametrize(("name", "level", "scale"), REAL.values(), ids=REAL)
def test_real_ones_are_as_tensorstore_reads_them(name: str, level: str, scale: dict[str, float]) -> None:
    path = shared(name)
    (stream,) = converter.open(path).streams
    driver = "zarr3" if (path / level / "zarr.json").exists() else "zarr"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path / level}/"}}
    np.testing.assert_array_equal(whole(stream), tensorstore.open(spec).result().read().result())
    assert stream.scale == scale
