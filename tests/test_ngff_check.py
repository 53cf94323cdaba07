"""check_ome_zarr: quiet about sound images of any writer, and one finding for each injected defect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore

from dandify.ngff.check import check_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import manifest_path
from ngff_reference import noise
from ome_zarr_stores import chunk_file, edit_metadata
from shared_data import shared

VERSIONS = ("0.4", "0.5")
SCALE = {"z": 2.0, "y": 0.65, "x": 0.65}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Images of both versions, with several chunks and shards and two channels."""
    folder = tmp_path_factory.mktemp("sound")
    paths = {version: folder / f"v{version[-1]}.ome.zarr" for version in VERSIONS}
    for version, path in paths.items():
        source = np.maximum(noise((2, 12, 100, 90), "uint16"), 1)
        write_ome_zarr(source, path, axes="czyx", scale=SCALE, version=version, chunks=(1, 4, 32, 32))
    return paths


@pytest.fixture(params=VERSIONS)
def copy(request: pytest.FixtureRequest, sound: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to damage, without its manifest."""
    return Path(shutil.copytree(sound[request.param], tmp_path / "image.ome.zarr"))


def edit(document: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(document.read_text())
    change(content)
    document.write_text(json.dumps(content))


def cut(root: Path) -> None:
    file = chunk_file(root)
    file.write_bytes(file.read_bytes()[:-7])


def blank(root: Path) -> None:
    chunk_file(root).write_bytes(b"")


def scale_of_level_1(root: Path) -> None:
    def change(ome: dict[str, Any]) -> None:
        datasets = ome["multiscales"][0]["datasets"]
        datasets[1]["coordinateTransformations"][0]["scale"] = [1.0, 2.0, 0.65, 0.65]

    edit_metadata(root, change)


def another_type(root: Path) -> None:
    if (root / ".zattrs").exists():
        edit(root / "1/.zarray", lambda c: c.update(dtype="<i2"))
    else:
        edit(root / "1/zarr.json", lambda c: c.update(data_type="int16"))


def deep(root: Path) -> None:
    file = root / "labels/cells/0/0/0/0/0/0/0"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")


def large(root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(5 * 2**30 + 1)


def third_channel(root: Path) -> None:
    edit_metadata(root, lambda ome: ome["omero"]["channels"].append(ome["omero"]["channels"][0]))


def reversed_axes(root: Path) -> None:
    edit_metadata(root, lambda ome: ome["multiscales"][0]["axes"].reverse())


def transformations(change: Callable[[list[dict[str, Any]]], Any], level: int = 1) -> Callable[[Path], Any]:
    """Change those of a level."""
    return lambda root: edit_metadata(
        root, lambda ome: change(ome["multiscales"][0]["datasets"][level]["coordinateTransformations"])
    )


def without_translations(root: Path) -> None:
    edit_metadata(root, lambda o: [d["coordinateTransformations"].pop() for d in o["multiscales"][0]["datasets"]])


def separated_by_a_list(root: Path) -> None:
    if (root / ".zattrs").exists():
        edit(root / "1/.zarray", lambda c: c.update(dimension_separator=["/"]))
    else:
        edit(root / "1/zarr.json", lambda c: c["chunk_key_encoding"]["configuration"].update(separator=["/"]))


def reversed_levels(root: Path) -> None:
    edit_metadata(root, lambda ome: ome["multiscales"][0]["datasets"].reverse())


DEFECTS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "chunk cut off": (cut, "damaged", "ERROR"),
    "chunk empty": (blank, "damaged", "ERROR"),
    "chunk missing": (lambda r: chunk_file(r).unlink(), "ngff.chunk_missing", "ERROR"),
    "chunk of a level missing": (lambda r: chunk_file(r, 1).unlink(), "ngff.chunk_missing", "ERROR"),
    "level missing": (lambda r: shutil.rmtree(r / "1"), "ngff.level_missing", "ERROR"),
    "scale": (scale_of_level_1, "ngff.scale_contradicts_shape", "ERROR"),
    "scale too short": (transformations(lambda t: t[0]["scale"].pop()), "ngff.specification", "ERROR"),
    "scale negative": (
        transformations(lambda t: t[0].update(scale=[1.0, 2.0, -0.65, 0.65]), 0), "ngff.scale_not_positive", "ERROR",
    ),
    "translation": (
        transformations(lambda t: t[1].update(translation=[0.0, 0.0, 9.0, 0.0])), "ngff.translation_contradicts",
        "ERROR",
    ),
    "translations missing": (without_translations, "ngff.level_shifted", "WARNING"),
    "levels reversed": (reversed_levels, "ngff.levels_unordered", "ERROR"),
    "separator": (separated_by_a_list, "ngff.document_damaged", "ERROR"),
    "type": (another_type, "ngff.type_differs", "ERROR"),
    "channels": (third_channel, "ngff.channels_differ", "ERROR"),
    "axes": (reversed_axes, "ngff.specification", "ERROR"),
    "partial": (lambda r: (r / "0/zarr.json.partial").write_bytes(b""), "ngff.leftover", "ERROR"),
    "lock": (lambda r: (r / "0/x.__lock").write_bytes(b""), "ngff.leftover", "ERROR"),
    "desktop": (lambda r: (r / ".DS_Store").write_bytes(b""), "ngff.stray", "WARNING"),
    "deep": (deep, "ngff.too_deep", "ERROR"),
    "large": (large, "ngff.too_large", "ERROR"),
    "scale as text": (transformations(lambda t: t[0].update(scale=["1", 4, 1.3, 1.3])), "ngff.no_number", "ERROR"),
    "level not named": (
        lambda r: edit_metadata(r, lambda o: o["multiscales"][0]["datasets"].pop()), "ngff.level_unlisted", "WARNING",
    ),
    "json": (lambda r: next((r / "1").glob("*zarr*")).write_text("{"), "ngff.document_damaged", "ERROR"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found(defect: str, copy: Path) -> None:
    inject, code, severity = DEFECTS[defect]
    assert check_ome_zarr(copy) == []
    inject(copy)
    found = check_ome_zarr(copy)
    assert any(p.id.endswith(code) and p.severity == severity and p.message and p.remedy for p in found), found


def test_chunk_outside_of_the_array(copy: Path) -> None:
    file = chunk_file(copy)
    (file.parent / "99").write_bytes(file.read_bytes())
    assert [p.id for p in check_ome_zarr(copy)] == ["ngff.chunk_outside"]


def test_shard_whose_index_was_changed(sound: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound["0.5"], tmp_path / "image.ome.zarr"))
    data = bytearray(chunk_file(root).read_bytes())
    data[-10] ^= 1
    chunk_file(root).write_bytes(data)
    assert [(p.id, "checksum" in p.message) for p in check_ome_zarr(root)] == [("ngff.shard_damaged", True)]


def test_files_that_changed_since_the_manifest(sound: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound["0.4"], tmp_path / "image.ome.zarr"))
    shutil.copy(manifest_path(sound["0.4"]), manifest_path(root))
    assert check_ome_zarr(root) == []
    chunk_file(root).unlink()
    assert "ngff.file_changed" in [p.id for p in check_ome_zarr(root)]


@pytest.mark.parametrize("content", [None, "empty", "junk"], ids=["absent", "empty", "junk"])
def test_what_is_no_image(content: str | None, tmp_path: Path) -> None:
    root = tmp_path / "a.ome.zarr"
    if content:
        root.mkdir()
    if content == "junk":
        (root / "zarr.json").write_text('{"attributes": []}')
    assert check_ome_zarr(root)[0].severity == "ERROR"


@pytest.mark.parametrize("name", ["blobs_image_v04", "blobs_image_v05"])
def test_spatialdata_is_named_as_a_dialect(name: str) -> None:
    found = check_ome_zarr(shared(f"microscopy/viv_ometiff_zarr/ome-zarr/{name}.ome.zarr"))
    assert [(p.id, p.severity) for p in found] == [("ngff.dialect", "WARNING")]


@pytest.mark.parametrize("compressor", ["default", None], ids=["blosc", "none"])
@pytest.mark.parametrize("shape", [(2, 12, 61, 45), (1, 5, 130, 257)], ids=str)
def test_quiet_about_ome_zarr_py(shape: tuple[int, ...], compressor: str | None, tmp_path: Path) -> None:
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.writer import write_image

    path = tmp_path / "theirs.ome.zarr"
    location = parse_url(path, mode="w")
    assert location is not None
    write_image(
        noise(shape, "uint16"), zarr.group(location.store), axes="czyx",
        storage_options={"chunks": (1, 4, 32, 32), "compressor": compressor},
    )  # fmt: skip
    assert [p for p in check_ome_zarr(path) if p.severity == "ERROR"] == []


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_quiet_about_tensorstore(driver: str, sparse: bool, sound: dict[str, Path], tmp_path: Path) -> None:
    """TensorStore leaves out chunks that hold only the fill value."""
    template = sound["0.4" if driver == "zarr" else "0.5"]
    root = Path(shutil.copytree(template, tmp_path / "theirs.ome.zarr"))
    level = noise((2, 12, 100, 90), "uint16")
    if sparse:
        level[:, :, :64] = 0
        level[:, :, :, 64:] = 0
    shapes = [json.loads(next((root / str(n)).glob("*zarr*")).read_text())["shape"] for n in range(8)
              if (root / str(n)).exists()]  # fmt: skip
    for number, shape in enumerate(shapes):
        factors = [-(-n // m) for n, m in zip(level.shape, shape, strict=True)]
        level = np.asarray(tensorstore.downsample(tensorstore.array(level), factors, "mean").read().result())
        document = json.loads(next((root / str(number)).glob("*zarr*")).read_text())
        shutil.rmtree(root / str(number))
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{(root / str(number)).as_posix()}/"}}
        array = tensorstore.open({**spec, "metadata": document}, create=True).result()
        array.write(level).result()
    assert check_ome_zarr(root) == []


def test_quiet_about_nothing_where_nothing_is_nan(tmp_path: Path) -> None:
    """Parts that a mask left out: the fill value is no number, and the level above holds none either."""
    root = tmp_path / "theirs.ome.zarr"
    values = np.full((64, 64), np.nan, np.float32)
    values[:, :32] = noise((64, 32), "uint8")
    write_ome_zarr(values, root, axes="yx", scale={"y": 1.0, "x": 1.0}, version="0.4", chunks=(16, 16), levels=2)
    manifest_path(root).unlink()
    for level in (0, 1):
        document = root / str(level) / ".zarray"
        document.write_text(json.dumps({**json.loads(document.read_text()), "fill_value": "NaN"}))
    (root / "0/0/3").unlink()
    assert check_ome_zarr(root) == []
    (root / "0/0/1").unlink()
    assert [p.id for p in check_ome_zarr(root)] == ["ngff.chunk_missing"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_brackets_in_a_path_are_no_pattern(version: str, sound: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound[version], tmp_path / "[old]" / "a.ome.zarr"))
    assert check_ome_zarr(root) == []
    edit_metadata(root, lambda ome: ome["multiscales"][0].pop("axes"))
    assert "ngff.specification" in {p.id for p in check_ome_zarr(root)}


def test_an_image_without_a_version_is_held_against_the_last_that_allows_it(
    sound: dict[str, Path], tmp_path: Path
) -> None:
    """OME-Zarr 0.4: multiscales SHOULD contain the field version. Hundreds of images on DANDI do not."""
    root = Path(shutil.copytree(sound["0.4"], tmp_path / "a.ome.zarr"))
    edit_metadata(root, lambda ome: ome["multiscales"][0].pop("version"))
    assert [(p.id, p.severity) for p in check_ome_zarr(root)] == [("ngff.version", "WARNING")]
    edit_metadata(root, lambda ome: ome["multiscales"][0].pop("axes"))
    assert ("ngff.specification", "ERROR") in {(p.id, p.severity) for p in check_ome_zarr(root)}
