"""write_ome_zarr: values, metadata, other people's readers, refusals, and what a failure leaves."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource, DandifyError, MissingMetadata, OutputExists, VerificationFailed
from dandify.ngff import verify as verifying
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.sources import Array, Channel, Stream
from dandify.store.progress import Progress
from dandify.store.region import Region
from dandify.store.zarr_image import Sink
from ngff_reference import SCALE, assert_pyramid, levels, metadata, noise, scales, translations

VERSIONS = ("0.4", "0.5")

SHAPES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "one chunk": ("zyx", (9, 40, 41), {}),
    "one value": ("yx", (1, 1), {}),
    "plane": ("yx", (301, 203), {"chunks": (64, 64)}),
    "odd stack": ("zyx", (35, 150, 181), {"chunks": (16, 64, 64)}),
    "channels": ("cyx", (3, 90, 70), {"chunks": (1, 32, 32)}),
    "time": ("tyx", (4, 33, 34), {}),
    "five": ("tczyx", (2, 2, 21, 70, 50), {"chunks": (1, 1, 4, 32, 32)}),
    "bands": ("czyx", (2, 9, 2001, 400), {"chunks": (1, 4, 64, 64), "memory": 7_000_000, "workers": 1}),
}


@dataclass(frozen=True)
class Recorded(Array):
    """An array that remembers which planes were read, how often, and can fail."""

    values: NDArray[Any]
    fail_at: int = 10**9
    error: BaseException = field(default_factory=lambda: OSError("the disk is gone"))
    reads: list[Region] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    @property
    def block(self) -> tuple[int, ...]:
        return (*(1 for _ in self.values.shape[:-2]), *self.values.shape[-2:])

    def read(self, region: Region) -> NDArray[Any]:
        self.reads.append(region)
        if len(self.reads) > self.fail_at:
            raise self.error
        return np.array(self.values[region])


def stream(values: NDArray[Any] | Array, axes: str = "czyx", **changes: Any) -> Stream:
    array = values if isinstance(values, Array) else Recorded(values)
    options: dict[str, Any] = {"scale": {"z": 2.0, "y": 0.65, "x": 0.65}, "name": "brain", "kind": "Image"}
    return Stream(axes=tuple(axes), array=array, **{**options, **changes})


@pytest.mark.parametrize("version", VERSIONS)
def test_an_image_lies_where_its_stream_says(version: str, tmp_path: Path) -> None:
    image = stream(noise((2, 70, 300, 200), "uint16"), origin={"y": 1300.0, "x": -65.0})
    path = write_ome_zarr(image, tmp_path / "tile.ome.zarr", version=version).path
    places = np.array(translations(path))
    np.testing.assert_array_equal(places[0], [0, 0, 1300, -65])
    half_pixels = (np.array(scales(path)) - [1, 2.0, 0.65, 0.65]) / 2
    np.testing.assert_allclose(places, places[0] + half_pixels, rtol=1e-12)
    assert len(places) > 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", SHAPES)
def test_every_level_reads_back(case: str, version: str, tmp_path: Path) -> None:
    axes, shape, options = SHAPES[case]
    source = noise(shape, "uint16")
    path = tmp_path / "a.ome.zarr"
    report = write_ome_zarr(source, path, axes=axes, scale=SCALE, version=version, **options)
    assert report.verified
    assert report.datasets[0].raw_bytes == report.raw_bytes == source.nbytes
    assert ("bands" in json.loads(report.manifest.read_text())["details"]["plan"]) == (case == "bands")
    assert_pyramid(path, source)
    assert check_ome_zarr(path) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "uint32", "int8", ">i2", "int32", ">f4", "float32"])
def test_every_type(dtype: str, version: str, tmp_path: Path) -> None:
    source = noise((6, 70, 50), dtype)
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(source, path, scale=SCALE, version=version, chunks=(4, 32, 32))
    assert_pyramid(path, source.astype(source.dtype.newbyteorder("=")))


@given(
    axes=st.sampled_from(["yx", "zyx", "cyx", "tyx", "czyx", "tzyx", "tczyx"]), data=st.data(),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]), version=st.sampled_from(VERSIONS),
)  # fmt: skip
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape(
    axes: str, data: st.DataObject, dtype: str, version: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shape = tuple(data.draw(st.integers(1, 3 if axis in "tc" else 40), axis) for axis in axes)
    chunks = tuple(data.draw(st.sampled_from([2, 4, 8, 16]), axis) if axis in "zyx" else 1 for axis in axes)
    scale = {a: data.draw(st.floats(0.1, 10), f"scale {a}") for a in axes if a != "c"}
    source = noise(shape, dtype, seed=sum(shape))
    path = tmp_path_factory.mktemp("any") / "a.ome.zarr"
    write_ome_zarr(source, path, axes=axes, scale=scale, chunks=chunks, version=version, workers=2)
    found = levels(path)
    np.testing.assert_array_equal(found[0], source)
    per_level = np.array(scales(path)) / scales(path)[0]
    expected = (np.array(scales(path)[0]) * (per_level - 1)) / 2
    np.testing.assert_allclose(translations(path), expected, rtol=1e-9, atol=1e-12)
    for level, factors in zip(found, per_level, strict=True):
        assert level.shape == tuple(-(-n // round(f)) for n, f in zip(shape, factors, strict=True))


def test_every_plane_is_read_once(tmp_path: Path) -> None:
    array = Recorded(noise((2, 21, 130, 130), "uint16"))
    write_ome_zarr(stream(array), tmp_path / "a.ome.zarr", chunks=(1, 4, 64, 64))
    seen = np.zeros(array.shape, np.int64)
    for region in array.reads:
        seen[region] += 1
    assert (seen == 1).all()


def test_metadata_of_a_stream(tmp_path: Path) -> None:
    values = np.stack([np.full((4, 8, 8), 10), np.arange(256).reshape(4, 8, 8)]).astype("uint16")
    channels = (Channel("DAPI", color="0000ff"), Channel("GFP"))
    write_ome_zarr(stream(values, channels=channels), tmp_path / "a.ome.zarr")
    found = metadata(tmp_path / "a.ome.zarr")
    assert found["version"] == "0.5"
    assert found["_creator"]["name"] == "dandify"
    assert found["multiscales"][0]["name"] == "brain"
    assert found["multiscales"][0]["axes"] == [
        {"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"),
    ]  # fmt: skip
    first, second = found["omero"]["channels"]
    assert (first["label"], first["color"], second["label"]) == ("DAPI", "0000FF", "GFP")
    assert first["window"] == {"min": 10, "max": 11, "start": 10, "end": 11}
    assert second["window"]["min"] == 0
    assert second["window"]["max"] == 255
    document = json.loads((tmp_path / "a.ome.zarr/0/zarr.json").read_text())
    assert document["dimension_names"] == ["c", "z", "y", "x"]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [({"t": 0.5}, ({"name": "t", "type": "time", "unit": "second"}, 0.5)), ({}, ({"name": "t", "type": "time"}, 1.0))],
    ids=["stated", "not stated"],
)
def test_time_axis(scale: dict[str, float], expected: tuple[dict[str, str], float], tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(np.ones((2, 4, 4), "uint8"), path, axes="tyx", scale={"y": 1, "x": 1, **scale})
    assert (metadata(path)["multiscales"][0]["axes"][0], scales(path)[0][0]) == expected


def test_manifest_lists_every_file(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    raw = tmp_path / "raw.tif"
    raw.write_bytes(b"raw")
    source = noise((5, 40, 40), "uint16")
    report = write_ome_zarr(source, path, scale=SCALE, chunks=(4, 16, 16), sources=[raw], details={"subject_id": "m1"})
    record = json.loads(report.manifest.read_text())
    there = {f.relative_to(path).as_posix(): f for f in path.rglob("*") if f.is_file()}
    assert record["details"]["subject_id"] == "m1"
    assert record["sources"][0]["bytes"] == 3
    assert record["datasets"][0]["xxh128"] == xxhash.xxh3_128(source.tobytes()).hexdigest()
    assert record["details"]["files"] == {
        name: {"md5": hashlib.md5(f.read_bytes(), usedforsecurity=False).hexdigest(), "size": f.stat().st_size}
        for name, f in there.items()
    }
    assert report.output_bytes == sum(f.stat().st_size for f in there.values())


@pytest.mark.parametrize(
    ("axes", "shape", "dtype"),
    [
        pytest.param("zyx", (9, 128, 64), "uint16", id="parts of whole blocks"),
        pytest.param("zyx", (9, 150, 77), "uint8", id="parts that end anywhere"),
        pytest.param("tczyx", (2, 3, 9, 70, 33), "float32", id="several volumes"),
        pytest.param("zyx", (9, 40, 33), "uint16", id="whole planes"),
        pytest.param("yx", (5, 5), "uint8", id="small"),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_checksum_of_all_values_is_that_of_a_raw_file(
    axes: str, shape: tuple[int, ...], dtype: str, version: str, tmp_path: Path
) -> None:
    source = noise(shape, dtype)
    report = write_ome_zarr(
        source, tmp_path / "a.ome.zarr", axes=axes, scale={a: 1.0 for a in axes if a != "c"}, version=version,
        chunks=[{"z": 4, "y": 32, "x": 32}.get(a, 1) for a in axes],
    )  # fmt: skip
    assert report.datasets[0].xxh128 == xxhash.xxh3_128(source.tobytes()).hexdigest()


def test_bead_stays_where_it_is(tmp_path: Path) -> None:
    grid = np.indices((32, 160, 160)) * np.array([2.0, 0.65, 0.65]).reshape(3, 1, 1, 1)
    bead = np.array([30.3, 51.7, 47.1])
    source = (60000 * np.exp(-((grid - bead.reshape(3, 1, 1, 1)) ** 2).sum(0) / (2 * 5.0**2))).astype("uint16")
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(source, path, scale=SCALE, chunks=(8, 16, 16))
    assert len(levels(path)) >= 4
    for level, scale, shift in zip(levels(path), scales(path), translations(path), strict=True):
        weights = level.astype(float) / level.sum(dtype=float)
        centre = [(weights * index).sum() * s + t
                  for index, s, t in zip(np.indices(level.shape), scale, shift, strict=True)]  # fmt: skip
        np.testing.assert_allclose(centre, bead, atol=0.065)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ["plane", "channels", "five"])
def test_dandi_accepts_it(case: str, version: str, tmp_path: Path) -> None:
    from dandi.files import dandi_file

    axes, shape, options = SHAPES[case]
    path = tmp_path / "sub-m1_sample-1_SPIM.ome.zarr"
    write_ome_zarr(noise(shape, "uint16"), path, axes=axes, scale=SCALE, version=version, **options)
    asset = dandi_file(path, dandiset_path=tmp_path)
    found = [e for e in asset.get_validation_errors() if e.id.startswith("dandi_zarr") or "zarr" in e.id.lower()]
    assert found == []
    assert max(len(f.relative_to(path).parts) for f in path.rglob("*")) <= 7


def test_ome_zarr_py_reads_version_0_4(tmp_path: Path) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    source = noise((2, 9, 70, 50), "uint16")
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(source, path, axes="czyx", scale=SCALE, version="0.4", chunks=(1, 4, 32, 32), channels=["A", "B"])
    node = next(iter(Reader(parse_url(path))()))
    assert [a["name"] for a in node.metadata["axes"]] == list("czyx")
    assert node.metadata["channel_names"] == ["A", "B"]
    for theirs, ours in zip(node.data, levels(path), strict=True):
        np.testing.assert_array_equal(np.asarray(theirs), ours)


def test_progress_counts_the_raw_bytes_of_both_stages(tmp_path: Path) -> None:
    seen: list[Progress] = []
    source = noise((21, 40, 40), "uint8")
    write_ome_zarr(source, tmp_path / "a.ome.zarr", scale=SCALE, chunks=(4, 16, 16), progress=seen.append)
    for stage in ("write", "verify"):
        done = [p.done_bytes for p in seen if p.stage == stage]
        assert len(done) == 6 * 3  # slabs, and parts of each
        assert (done, done[-1]) == (sorted(done), source.nbytes)


REFUSED: dict[str, tuple[type[DandifyError], str, dict[str, Any]]] = {
    "name": (BadRequest, "a-b.ome.zarr", {"path": "a.b.ome.zarr"}),
    "version": (BadRequest, "0.3", {"version": "0.3"}),
    "codec": (BadRequest, "jpeg", {"compression": "jpeg"}),
    "levels": (BadRequest, "levels", {"levels": 0}),
    "odd chunks": (BadRequest, "odd", {"chunks": (1, 3, 4)}),
    "order of axes": (BadRequest, "ordered", {"axes": "yxz"}),
    "number of axes": (BadRequest, "2 axes", {"axes": "yx"}),
    "unknown axis": (BadRequest, "q", {"scale": {**SCALE, "q": 1}}),
    "scale of nothing": (BadRequest, "positive", {"scale": {**SCALE, "y": 0}}),
    "channels": (BadRequest, "for 1 on axis c", {"channels": ["a", "b"]}),
    "colour": (BadRequest, "hex", {"channels": [Channel("a", color="green")]}),
    "float64": (BadRequest, "float32", {"dtype": "float64"}),
    "mean of bool": (BadRequest, "no mean", {"dtype": "bool", "downsample": "mean"}),
    "mode of float": (BadRequest, "no labels", {"dtype": "float32", "downsample": "mode"}),
    "downsample": (BadRequest, "mean, mode, max, nearest", {"downsample": "median"}),
    "verify": (BadRequest, "full, sample, none", {"verify": "some"}),
    "shards of 0.4": (BadRequest, "no shards", {"version": "0.4", "shards": (2, 4, 8)}),
    "shards of part chunks": (BadRequest, "whole chunks", {"chunks": (2, 4, 2), "shards": (2, 4, 3)}),
    "shards of other axes": (BadRequest, "2 shard lengths", {"shards": (4, 8)}),
    "empty": (BadRequest, "no values", {"shape": (0, 4, 4)}),
    "memory": (BadRequest, "at least", {"memory": 100}),
    "workers": (BadRequest, "workers", {"workers": 0}),
    "no scale": (MissingMetadata, "pixel_size_um.z", {"scale": {"y": 1, "x": 1}}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_work(case: str, tmp_path: Path) -> None:
    kind, said, options = REFUSED[case]
    options = {"scale": SCALE, "shape": (3, 4, 8), "dtype": "uint8", "path": "a.ome.zarr", **options}
    values = np.zeros(options.pop("shape"), options.pop("dtype"))
    path = tmp_path / options.pop("path")
    with pytest.raises(kind) as caught:
        write_ome_zarr(values, path, **options)
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_all_missing_scales_are_asked_for_at_once(tmp_path: Path) -> None:
    with pytest.raises(MissingMetadata) as caught:
        write_ome_zarr(stream(np.zeros((1, 2, 3, 4), "uint8"), scale={}), tmp_path / "a.ome.zarr")
    assert [n.key for n in caught.value.needs] == [f"pixel_size_um.{a}" for a in "zyx"]


@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyboardInterrupt()], ids=["disk", "ctrl-c"])
def test_a_failure_in_the_middle_leaves_nothing_under_the_name(error: BaseException, tmp_path: Path) -> None:
    array = Recorded(noise((1, 40, 64, 64), "uint16"), fail_at=3, error=error)
    expected = BadSource if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_ome_zarr(stream(array), tmp_path / "a.ome.zarr", chunks=(1, 4, 32, 32))
    left = {p.name for p in tmp_path.iterdir()}  # what is finished stays, to be gone on with
    assert left == {"a.ome.zarr.partial", "a.ome.zarr.partial.journal"}


def test_a_failure_before_the_first_chunk_leaves_nothing(tmp_path: Path) -> None:
    array = Recorded(noise((1, 40, 64, 64), "uint16"), fail_at=0)
    with pytest.raises(BadSource):
        write_ome_zarr(stream(array), tmp_path / "a.ome.zarr", chunks=(1, 4, 32, 32))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_image_is_kept_unless_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(np.zeros((2, 4, 4), "uint8"), path, scale=SCALE)
    with pytest.raises(OutputExists):
        write_ome_zarr(np.ones((2, 4, 4), "uint8"), path, scale=SCALE)
    failing = Recorded(np.ones((1, 2, 4, 4), "uint8"), fail_at=0)
    with pytest.raises(BadSource):
        write_ome_zarr(stream(failing), path, overwrite=True)
    assert levels(path)[0].max() == 0
    write_ome_zarr(np.ones((2, 4, 4), "uint8"), path, scale=SCALE, overwrite=True)
    assert levels(path)[0].min() == 1


def corrupt(keep: Callable[[Sink, tuple[int, ...], bytes], Any], at: int) -> Callable[..., None]:
    """A sink's `put` that changes one chunk: a fault of the machine between encoding and the disk."""
    count = itertools.count()

    def put(sink: Sink, index: tuple[int, ...], payload: bytes) -> None:
        if next(count) == at:
            other = np.frombuffer(payload, np.uint8).copy()
            other[-1] ^= 255
            payload = other.tobytes()
        keep(sink, index, payload)

    return put


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("at", [0, 33], ids=["first chunk", "another"])
def test_a_changed_chunk_is_found_by_reading_back(
    at: int, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sink, "put", corrupt(Sink.put, at))
    with pytest.raises(VerificationFailed, match="level"):
        write_ome_zarr(
            noise((9, 90, 90), "uint16"), tmp_path / "a.ome.zarr", scale=SCALE, chunks=(4, 32, 32), version=version
        )
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_yields_another_type_is_refused(tmp_path: Path) -> None:
    class Lying(Recorded):
        @property
        def dtype(self) -> np.dtype[Any]:
            return np.dtype("uint8")

    with pytest.raises(BadSource, match="yields"):
        write_ome_zarr(stream(Lying(noise((1, 4, 8, 8), "uint16"))), tmp_path / "a.ome.zarr")


def test_levels_are_opened_without_a_cache(tmp_path: Path) -> None:
    write_ome_zarr(np.ones((2, 4, 4), "uint8"), tmp_path / "a.ome.zarr", scale=SCALE)
    assert verifying.open_level(tmp_path / "a.ome.zarr/0").shape == (2, 4, 4)
