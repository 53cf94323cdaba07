"""write_ome_zarr on request: other ways to downsample, labels, shards, images by their path, less verification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from dandify.errors import BadRequest, UnknownFormat, VerificationFailed
from dandify.kernels.shrink import shrink
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.pyramid import Pyramid
from dandify.ngff.write import write_ome_zarr
from dandify.sources import Channel
from dandify.store.manifest import manifest_path, read_manifest
from dandify.store.zarr_image import Sink
from ngff_reference import SCALE, assert_pyramid, levels, metadata, noise, scales, translations

THEIRS: dict[str, Any] = {"mode": "mode", "max": "max", "nearest": "stride", "mean": "mean"}


def labels(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).choice([0, 0, 0, 7, 8, 300 % np.iinfo(dtype).max], shape).astype(dtype)


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3), method=st.sampled_from(["mode", "max", "nearest"]),
    factors=st.sampled_from([(2, 2, 2), (1, 2, 2), (2, 1, 1), (1, 1, 2)]), dtype=st.sampled_from(["uint8", "int16"]),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_shrinking_is_that_of_tensorstore(
    shape: tuple[int, ...], method: Any, factors: tuple[int, int, int], dtype: str, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 4, shape).astype(dtype)
    out = np.empty([-(-n // f) for n, f in zip(shape, factors, strict=True)], dtype)
    shrink(values, factors, out, method)
    theirs = tensorstore.downsample(tensorstore.array(values), factors, THEIRS[method])
    np.testing.assert_array_equal(out, theirs.read().result())


def test_the_largest_is_not_nan_unless_all_are() -> None:
    values = np.array([[[np.nan, 1.0, np.nan, np.nan]]], np.float32)
    out = np.empty((1, 1, 2), np.float32)
    shrink(values, (1, 1, 2), out, "max")
    np.testing.assert_array_equal(out, [[[1.0, np.nan]]])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("compression", "bits"), [("blosc-zstd-bits", True), ("blosc-zstd-5", False)])
def test_tensorstore_reads_what_each_compression_makes(
    compression: str, bits: bool, dtype: str, version: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.ome.zarr"
    values = np.random.default_rng(4).poisson(20, (5, 70, 90)).astype(dtype)
    assert write_ome_zarr(values, path, axes="zyx", scale=SCALE, version=version, compression=compression).verified
    assert not check_ome_zarr(path)
    np.testing.assert_array_equal(levels(path)[0], values)
    said = (path / "0" / ("zarr.json" if version == "0.5" else ".zarray")).read_text(encoding="utf-8")
    assert ('"shuffle": "bitshuffle"' in said or '"shuffle": 2' in said) == bits


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("method", ["mode", "max", "nearest"])
def test_every_level_is_what_tensorstore_makes_of_the_one_above(method: Any, version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    source = labels((2, 13, 90, 71))
    write_ome_zarr(
        source, path, axes="czyx", scale=SCALE, chunks=(1, 4, 16, 16), downsample=method, version=version,
    )  # fmt: skip
    found = levels(path)
    np.testing.assert_array_equal(found[0], source)
    assert len(found) >= 4
    for upper, lower, fine, coarse in zip(found, found[1:], scales(path), scales(path)[1:], strict=False):
        factors = [round(b / a) for a, b in zip(fine, coarse, strict=True)]
        theirs = tensorstore.downsample(tensorstore.array(upper), factors, THEIRS[method]).read().result()
        np.testing.assert_array_equal(lower, theirs)
    moved = np.array(scales(path)) - scales(path)[0]
    np.testing.assert_allclose(translations(path), moved * (0 if method == "nearest" else 0.5))
    assert metadata(path)["multiscales"][0]["type"] == method
    assert read_manifest(manifest_path(path)).details["downsample"] == method
    assert check_ome_zarr(path) == []
    manifest_path(path).unlink()
    assert check_ome_zarr(path) == []


@pytest.mark.parametrize("method", ["mode", "max", "nearest", "mean"])
def test_bands_make_the_same_levels(method: Any, tmp_path: Path) -> None:
    source = labels((9, 2001, 400))
    for name, memory in (("whole", 10**9), ("bands", 7_000_000)):
        write_ome_zarr(
            source, tmp_path / f"{name}.ome.zarr", scale=SCALE, chunks=(4, 64, 64), memory=memory, workers=1,
            downsample=method,
        )  # fmt: skip
    plans = [read_manifest(manifest_path(tmp_path / f"{n}.ome.zarr")).details["plan"] for n in ("whole", "bands")]
    assert ["bands" in p for p in plans] == [False, True]
    for a, b in zip(levels(tmp_path / "whole.ome.zarr"), levels(tmp_path / "bands.ome.zarr"), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("chunks", "made"), [((1, 64, 64), 3), ((5, 16, 32), 3), ((3, 7, 9), 1)], ids=str)
def test_chunks_may_be_odd_where_no_level_halves(
    chunks: tuple[int, ...], made: int, version: str, tmp_path: Path
) -> None:
    path, source = tmp_path / "a.ome.zarr", noise((9, 130, 150), "uint16")
    scale = {"z": 2.0, "y": 0.25, "x": 0.25}
    write_ome_zarr(source, path, axes="zyx", scale=scale, chunks=chunks, levels=made, version=version)
    assert len(levels(path)) == made
    assert_pyramid(path, source)
    assert check_ome_zarr(path) == []


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_true_and_false_become_labels(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    mask = np.random.default_rng(0).random((5, 40, 40)) < 0.3
    write_ome_zarr(mask, path, scale=SCALE, chunks=(2, 8, 8), version=version)
    found = levels(path)
    assert {level.dtype for level in found} == {np.dtype(np.uint8)}
    np.testing.assert_array_equal(found[0], mask.astype(np.uint8))
    assert max(level.max() for level in found) == 1
    assert metadata(path)["multiscales"][0]["type"] == "mode"
    assert check_ome_zarr(path) == []


@pytest.mark.parametrize(
    ("shards", "stored", "files"),
    [
        ((1, 8, 64, 64), [1, 8, 64, 64], 2 * 2 * 2 * 2),
        ((2, 16, 128, 96), [2, 16, 96, 96], 1),
        ((1, 4, 32, 32), [1, 4, 32, 32], 2 * 4 * 3 * 3),
    ],
    ids=["some", "one for all", "one for each chunk"],
)
def test_shards_on_request(shards: tuple[int, ...], stored: list[int], files: int, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    source = noise((2, 16, 96, 80), "uint16")
    write_ome_zarr(source, path, axes="czyx", scale=SCALE, chunks=(1, 4, 32, 32), shards=shards)
    document = json.loads((path / "0/zarr.json").read_text())
    assert document["chunk_grid"]["configuration"]["chunk_shape"] == stored
    assert sum(f.is_file() for f in (path / "0/c").rglob("*")) == files
    assert_pyramid(path, source)
    assert check_ome_zarr(path) == []


def test_shards_that_dandi_would_refuse() -> None:
    from dandify.sources import Array
    from dandify.store.region import Region

    class Huge(Array):
        shape, dtype, block = (4096, 4096, 4096), np.dtype("uint16"), (1, 4096, 4096)

        def read(self, region: Region) -> np.ndarray[Any, Any]:
            raise AssertionError

    with pytest.raises(BadRequest, match=r"128\.0 GiB"):
        write_ome_zarr(Huge(), "a.ome.zarr", scale=SCALE, shards=(4096, 4096, 4096), memory="4GB")


# Images by their path


def test_an_image_by_its_path(tmp_path: Path) -> None:
    source = noise((2, 5, 40, 30), "uint16")
    tifffile.imwrite(
        tmp_path / "a.ome.tif", source, photometric="minisblack",
        metadata={
            "axes": "CZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0,
            "Channel": {"Name": ["DAPI", "GFP"]},
        },
    )  # fmt: skip
    path = tmp_path / "a.ome.zarr"
    report = write_ome_zarr(str(tmp_path / "a.ome.tif"), path)
    np.testing.assert_array_equal(levels(path)[0], source)
    assert scales(path)[0] == [1.0, 2.0, 0.5, 0.5]
    assert [c["label"] for c in metadata(path)["omero"]["channels"]] == ["DAPI", "GFP"]
    assert [Path(s.path).name for s in read_manifest(report.manifest).sources] == ["a.ome.tif"]
    assert (path / "OME/METADATA.ome.xml").is_file()


def test_pages_that_say_nothing_take_what_the_caller_says(tmp_path: Path) -> None:
    source = noise((6, 40, 30), "uint8")
    with tifffile.TiffWriter(tmp_path / "plain.tif") as file:
        for plane in source:
            file.write(plane, photometric="minisblack", metadata=None)
    path = tmp_path / "a.ome.zarr"
    with pytest.raises(BadRequest, match="axes"):
        write_ome_zarr(tmp_path / "plain.tif", path, scale=SCALE)
    write_ome_zarr(tmp_path / "plain.tif", path, axes="tyx", scale={"y": 0.4, "x": 0.5, "t": 3.0})
    np.testing.assert_array_equal(levels(path)[0], source)
    assert scales(path)[0] == [3.0, 0.4, 0.5]


@pytest.mark.parametrize(
    ("content", "kind"), [(None, BadRequest), (b"just words", UnknownFormat)], ids=["absent", "unknown"]
)
def test_a_path_without_an_image(content: bytes | None, kind: type[Exception], tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "notes.docx").write_bytes(content)
    with pytest.raises(kind):
        write_ome_zarr(tmp_path / "notes.docx", tmp_path / "a.ome.zarr")
    assert not (tmp_path / "a.ome.zarr").exists()


# Verification


def changed_at(number: int, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one chunk of a level, in the order of writing, be another on the disk: with the right header, all decodes."""
    put, count = Sink.put, iter(range(10**6))

    def other(sink: Sink, index: tuple[int, ...], payload: bytes) -> None:
        if sink._folder.name == str(level) and next(count) == number:
            values = np.frombuffer(sink.array.codec._codec.decode(payload), sink.array.dtype).copy()
            values[7] ^= 1
            payload = sink.array.codec.encode(values)
        put(sink, index, payload)

    monkeypatch.setattr(Sink, "put", other)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(("number", "found_by_sample"), [(0, True), (4 * 9, False)], ids=["first slab", "second slab"])
def test_sampling_reads_some_and_none_nothing(
    number: int, found_by_sample: bool, level: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = noise((160, 90, 90), "uint16")  # 40 slabs of 9 chunks; 20 or more of level 1
    options: dict[str, Any] = {"scale": dict.fromkeys("zyx", 1.0), "chunks": (4, 32, 32), "workers": 1}
    changed_at(number, level, monkeypatch)
    report = write_ome_zarr(source, tmp_path / "none.ome.zarr", verify="none", **options)
    assert not report.verified
    monkeypatch.undo()
    changed_at(number, level, monkeypatch)
    with pytest.raises(VerificationFailed, match=f"level {level} "):
        write_ome_zarr(source, tmp_path / "full.ome.zarr", verify="full", **options)
    monkeypatch.undo()
    changed_at(number, level, monkeypatch)
    if found_by_sample:
        with pytest.raises(VerificationFailed, match=f"level {level} "):
            write_ome_zarr(source, tmp_path / "sample.ome.zarr", verify="sample", **options)
    else:
        report = write_ome_zarr(source, tmp_path / "sample.ome.zarr", verify="sample", **options)
        assert not report.verified
        assert read_manifest(report.manifest).details["verify"] == "sample"


def test_a_level_that_was_made_wrongly_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the memory after the means were made and before their checksum: the file is as it was meant to be."""
    right = Pyramid._chunk
    count = iter(range(10**6))

    def wrong(self: Pyramid, number: int, index: Any, values: Any, place: Any, target: Any, step: Any) -> None:
        right(self, number, index, values, place, target, step)
        if number == 0 and next(count) == 5:
            target[0, 0, 0] ^= 4

    monkeypatch.setattr(Pyramid, "_chunk", wrong)
    source = noise((16, 90, 90), "uint16")
    with pytest.raises(VerificationFailed, match="level 1 is not what the stored level 0 becomes"):
        write_ome_zarr(source, tmp_path / "a.ome.zarr", scale=SCALE, chunks=(4, 32, 32), workers=1)
    assert list(tmp_path.iterdir()) == []


def test_channels_given_by_name_and_colour_survive_other_options(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(
        labels((1, 8, 8)), path, axes="cyx", scale=SCALE, channels=[Channel("cells", color="FF0000")], downsample="max"
    )
    assert metadata(path)["omero"]["channels"][0]["color"] == "FF0000"
