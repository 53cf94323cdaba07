"""Every defect that a check promises to find, injected into stores of three writers; nothing is said of sound ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from click.testing import CliRunner
from numpy.typing import NDArray

import dandify
from dandify.cli.main import main
from dandify.errors import BadRequest
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.problems import Problem
from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import manifest_path
from ngff_reference import noise
from ome_zarr_stores import CHUNKS, SCALE, STORES, chunk_file, edit_metadata, picture, write_store
from shared_data import ROOT, shared

FLIPS = 12
SHARDED = ("ours 0.5", "tensorstore 0.5 sharded")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return {kind: write_store(kind, folder / f"s{n}.ome.zarr") for n, kind in enumerate(STORES)}


@pytest.fixture(params=STORES)
def copy(request: pytest.FixtureRequest, stores: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(stores[request.param], tmp_path / "image.ome.zarr"))


def errors(root: Path, **options: Any) -> list[Problem]:
    return [p for p in check_ome_zarr(root, **options) if p.severity == "ERROR"]


def dataset(root: Path, change: Callable[[dict[str, Any]], None], number: int = 1) -> None:
    """Change the description of a level."""
    edit_metadata(root, lambda ome: change(ome["multiscales"][0]["datasets"][number]))


def transform(root: Path, kind: str, values: list[float], number: int = 1) -> None:
    def change(described: dict[str, Any]) -> None:
        kept = [t for t in described["coordinateTransformations"] if t["type"] != kind]
        described["coordinateTransformations"] = sorted([*kept, {"type": kind, kind: values}], key=lambda t: t["type"])

    dataset(root, change, number)


def flip(file: Path, at: int, bit: int = 1) -> Path:
    data = bytearray(file.read_bytes())
    data[at] ^= bit
    file.write_bytes(data)
    return file


def describe_channels(count: int) -> Callable[[Path], None]:
    window = {"min": 0, "max": 9, "start": 0, "end": 9}
    channels = [{"label": str(n), "color": "00FF00", "active": True, "window": window} for n in range(count)]
    return lambda root: edit_metadata(root, lambda ome: ome.update(omero={"channels": channels}))


def other_type(root: Path) -> Path:
    document = next(f for f in (root / "1").iterdir() if f.name in ("zarr.json", ".zarray"))
    content = json.loads(document.read_text())
    content["dtype" if document.name == ".zarray" else "data_type"] = "<i2" if document.name == ".zarray" else "int16"
    document.write_text(json.dumps(content))
    return root / "1"


def cut(root: Path) -> Path:
    file = chunk_file(root)
    file.write_bytes(file.read_bytes()[:-5])
    return file


def no_level(root: Path) -> Path:
    shutil.rmtree(root / "1")
    return root / "1"


def gone(root: Path, level: int) -> Path:
    chunk_file(root, level).unlink()
    return root / str(level)


def write(file: Path, content: bytes = b"x") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def huge(root: Path) -> Path:
    with (root / "0" / "huge").open("wb") as file:
        file.truncate(5 * 2**30 + 1)
    return root / "0" / "huge"


@dataclass(frozen=True)
class Defect:
    """A defect, what is said of it, and how loud; `inject` returns the path that is to be named, None for the image."""

    inject: Callable[[Path], Any]
    code: str
    severity: str = "ERROR"


DEFECTS = {
    "scale contradicts shape": Defect(lambda r: transform(r, "scale", [1, 2, 0.65, 0.65]), "scale_contradicts_shape"),
    "scale of 0": Defect(lambda r: transform(r, "scale", [0, 2, 0.65, 0.65], 0), "scale_not_positive"),
    "translation": Defect(lambda r: transform(r, "translation", [0, 0, 3.0, 0.325]), "translation_contradicts"),
    "translation of another method": Defect(
        lambda r: transform(r, "translation", [0, 0, 0.0, 0.0] if has_means(r) else [0, 0, 0.325, 0.325]), ""
    ),
    "translation backwards": Defect(
        lambda r: transform(r, "translation", [0, 0, 0, -0.325]), "translation_contradicts"
    ),
    "a channel too many": Defect(describe_channels(3), "channels_differ"),
    "a channel too few": Defect(describe_channels(1), "channels_differ"),
    "type of a level": Defect(other_type, "type_differs"),
    "level missing": Defect(no_level, "level_missing"),
    "chunk missing": Defect(lambda r: gone(r, 0), "chunk_missing"),
    "chunk of level 1 missing": Defect(lambda r: gone(r, 1), "chunk_missing"),
    "chunk cut off": Defect(cut, "damaged"),
    "chunk empty": Defect(lambda r: write(chunk_file(r), b""), "damaged"),
    "first byte of a chunk": Defect(lambda r: flip(chunk_file(r), 0, 0x40), "damaged"),
    "unfinished file": Defect(lambda r: write(r / "0" / "0.7f3a.partial"), "leftover"),
    "lock": Defect(lambda r: write(r / "1" / "0.__lock"), "leftover"),
    "download": Defect(lambda r: write(r / "0.dandidownload"), "leftover"),
    "desktop": Defect(lambda r: write(r / ".DS_Store"), "stray", "WARNING"),
    "stray file": Defect(lambda r: write(r / "notes.txt"), "stray", "WARNING"),
    "stray file among chunks": Defect(lambda r: write(r / "0" / "notes.txt"), "stray", "WARNING"),
    "deep": Defect(lambda r: write(r / "labels/a/0/0/0/0/0/0"), "too_deep"),
    "large": Defect(huge, "too_large"),
}  # fmt: skip


def has_means(root: Path) -> bool:
    """Whether the levels are means: ome-zarr-py's are the last voxel of each window."""
    return (root / "0" / "zarr.json").exists() or "translation" in (root / ".zattrs").read_text()


@pytest.mark.parametrize("kind", STORES)
def test_nothing_false_is_said_of_a_sound_image(kind: str, stores: dict[str, Path]) -> None:
    found = check_ome_zarr(stores[kind])
    if kind == "ome-zarr-py":  # it takes the last voxel of each window, and states no translation
        assert [(p.id, p.severity) for p in found] == [("ngff.level_shifted", "WARNING")] * 4
        assert "[0, 0, 0.65, 0.65]" in found[0].message
        assert "[0, 0, 0.65, 0.65]" in found[0].remedy
    else:
        assert found == []


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found(defect: str, copy: Path) -> None:
    case = DEFECTS[defect]
    place = case.inject(copy) or copy
    found = [p for p in check_ome_zarr(copy) if p.id.endswith(case.code) and p.severity == case.severity]
    assert found
    assert place in [p.path for p in found]
    assert all(p.message and p.remedy for p in found)


@pytest.mark.parametrize("share", ["full", "sample", "none"])
@pytest.mark.parametrize("kind", SHARDED)
@pytest.mark.parametrize("at", [-1, -10, -200], ids=["checksum", "length", "offset"])
def test_a_flipped_bit_in_the_index_of_a_shard(
    at: int, kind: str, share: str, stores: dict[str, Path], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(stores[kind], tmp_path / "image.ome.zarr"))
    file = flip(chunk_file(root), at)
    assert [(p.id, p.path) for p in errors(root, data=share) if p.id == "ngff.shard_damaged"] == [
        ("ngff.shard_damaged", file)
    ]


LEAST_FOUND = {
    ("ours 0.4", 0): 0.7, ("ours 0.5", 0): 0.7, ("tensorstore 0.4", 0): 0.7, ("tensorstore 0.5 sharded", 0): 0.5,
    ("tensorstore 0.5", 0): 1.0, ("tensorstore 0.5", 1): 1.0, ("ome-zarr-py", 0): 0.25,
}  # fmt: skip
"""Share of flipped bits that is found where no checksum was kept: all with gzip, which has one. Otherwise the values
tell, and of a level of single voxels three in four are in no other level."""


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("kind", STORES)
def test_bits_flipped_within_chunks(kind: str, level: int, stores: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(stores[kind], tmp_path / "image.ome.zarr"))
    file, rng, found = chunk_file(root, level), np.random.default_rng(1), 0
    sound = file.read_bytes()
    for _ in range(FLIPS):
        flip(file, int(rng.integers(len(sound))), 1 << int(rng.integers(8)))
        problems = errors(root)
        found += bool(problems)
        assert all(str(root / str(level)) in str(p.path) or p.path.parent == root for p in problems)
        file.write_bytes(sound)
    assert found >= FLIPS * LEAST_FOUND.get((kind, level), 0.9)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_flipped_bit_is_found_where_the_manifest_is_there(version: str, tmp_path: Path) -> None:
    root = tmp_path / "image.ome.zarr"
    write_ome_zarr(picture(), root, axes="czyx", scale=SCALE, version=version, chunks=CHUNKS)
    rng = np.random.default_rng(2)
    files = [f for f in root.rglob("*") if f.is_file()]
    for number in rng.choice(len(files), 12, replace=False):
        file = files[number]
        sound = file.read_bytes()
        flip(file, int(rng.integers(len(sound))), 1 << int(rng.integers(8)))
        assert ("ngff.file_changed", file) in [(p.id, p.path) for p in errors(root)]
        file.write_bytes(sound)
    assert check_ome_zarr(root) == []


def test_less_is_looked_at_on_request(stores: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(stores["tensorstore 0.5"], tmp_path / "image.ome.zarr"))
    for file in (f for f in (root / "0" / "c").rglob("*") if f.is_file()):
        flip(file, 40)
    count = {share: len(errors(root, data=share)) for share in ("full", "sample", "none")}
    assert count["full"] > count["sample"] > count["none"] == 0
    with pytest.raises(BadRequest, match="full, sample, none"):
        check_ome_zarr(root, data="some")  # type: ignore[arg-type]


@pytest.mark.parametrize("axes", ["yx", "zyx", "tczyx"])
@pytest.mark.parametrize("dtype", ["uint8", "uint32", "int8", "int16", "int32", "float32"])
def test_nothing_false_is_said_of_any_type_and_shape(dtype: str, axes: str, tmp_path: Path) -> None:
    values = noise(tuple({"t": 2, "c": 2, "z": 7, "y": 45, "x": 51}[a] for a in axes), dtype)
    if dtype == "float32":
        values[..., 3, 5:7] = [np.nan, np.inf]
    root = tmp_path / "a.ome.zarr"
    write_ome_zarr(
        values, root, axes=axes, scale={**SCALE, "t": 1.0}, chunks=[{"t": 1, "c": 1}.get(a, 8) for a in axes]
    )
    manifest_path(root).unlink()
    assert check_ome_zarr(root) == []


@pytest.mark.parametrize("method", ["mean", "stride", "median", "mode", "min", "max"])
def test_nothing_false_is_said_of_any_way_to_make_levels(method: Any, tmp_path: Path) -> None:
    """TensorStore's methods; the translations are those of means, which only strided ones contradict."""
    root = write_store("tensorstore 0.5 sharded", tmp_path / "image.ome.zarr")
    level = tensorstore.array(picture())
    for number in (1, 2):
        level = tensorstore.downsample(level, [1, 1, 2, 2], method)
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{(root / str(number)).as_posix()}/"}}
        tensorstore.open(spec, open=True).result().write(level.read().result()).result()
    found = {p.id for p in check_ome_zarr(root)}
    assert found == ({"ngff.level_shifted"} if method == "stride" else set())


def blurred(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """A Gaussian filter along y and x."""
    at = np.arange(-round(4 * sigma), round(4 * sigma) + 1)
    weights = np.exp(-(at**2) / (2 * sigma**2))
    for axis in (-2, -1):
        values = np.apply_along_axis(np.convolve, axis, values, weights / weights.sum(), "same")
    return values


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_nothing_false_is_said_of_filters_before_the_halving(sigma: float, tmp_path: Path) -> None:
    root = write_store("tensorstore 0.4", tmp_path / "image.ome.zarr")
    level = picture().astype(np.float64)
    level[:, 8, 60:70, 40:50] = 60000  # hard edges, which filters spread
    for number in range(3):
        if number:
            level = blurred(level, sigma)[..., ::2, ::2]
        spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{(root / str(number)).as_posix()}/"}}
        tensorstore.open(spec, open=True).result().write(level.astype(np.uint16)).result()
    assert errors(root) == []


def test_values_that_no_method_makes_are_found_without_knowing_it(tmp_path: Path) -> None:
    root = write_store("tensorstore 0.4", tmp_path / "image.ome.zarr")
    level = blurred(picture().astype(np.float64), 1.5)[..., ::2, ::2].astype(np.uint16)
    level[0, 3, 20:24, 20:24] += 20000
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{(root / '1').as_posix()}/"}}
    tensorstore.open(spec, open=True).result().write(level).result()
    found = [p for p in errors(root) if p.path == root / "1" and p.id == "ngff.levels_contradict"]
    assert len(found) == 1
    assert "16 values lie far beyond" in found[0].message
    assert "[0, 0:16, 16:32, 16:32]" in found[0].message.replace("0:1, ", "0, ", 1)


REAL = {
    "omezarr_examples/v04/hcs_example.ome.zarr": set(),
    "omezarr_examples/v04/hcs_example.ome.zarr/B/03/0": {"ngff.empty"},
    "omezarr_examples/v06/stitched_tiles_2d.zarr": {"ngff.version", "ngff.empty"},
    "viv_ometiff_zarr/bioformats-zarr/data.zarr": {"ngff.version", "ngff.not_decoded"},
    "viv_ometiff_zarr/ome-zarr/blobs_image_v04.ome.zarr": {"ngff.dialect"},
    "viv_ometiff_zarr/ome-zarr/blobs_image_v05.ome.zarr": {"ngff.dialect"},
}


@pytest.mark.parametrize("name", REAL)
def test_nothing_false_is_said_of_real_images(name: str) -> None:
    """What is said is true: examples without chunks, versions without a validator, a fill value that is text."""
    found = check_ome_zarr(shared(f"microscopy/{name}"))
    assert {p.id for p in found} - {"ngff.empty"} == REAL[name] - {"ngff.empty"}
    assert {p.severity for p in found} <= {"WARNING"}
    if "ngff.empty" in REAL[name]:
        assert "ngff.empty" in {p.id for p in found}


def test_every_real_image_is_in_the_list() -> None:
    root = shared("microscopy")
    there = {p.parent for name in ("zarr.json", ".zgroup") for p in root.rglob(name)}
    outer = {p for p in there if not any(q in there for q in p.parents)}
    assert outer <= {ROOT / "microscopy" / name for name in REAL}


# The verb


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, ["validate", *map(str, arguments)])


@pytest.mark.parametrize("kind", STORES)
def test_validate_takes_a_single_image(kind: str, stores: dict[str, Path]) -> None:
    done = run(stores[kind])
    assert done.exit_code == 0, done.output
    assert "1 file: 0 errors" in done.output
    assert "dandify.not_in_dandiset" in done.output


def test_validate_takes_an_image_of_any_name(stores: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(stores["ome-zarr-py"], tmp_path / "scan 3.1"))
    report = dandify.validate(root)
    assert [v.kind for v in report.files] == ["ome-zarr"]
    assert not report.errors
    (name,) = [f for f in report.findings if f.id == "dandify.image_name"]
    assert (name.severity, name.path) == ("WARNING", root)
    assert name.remedy


def test_validate_names_path_and_remedy_and_fails(stores: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(stores["ours 0.4"], tmp_path / "a.ome.zarr"))
    file = flip(chunk_file(root, 2), 12, 0xFF)
    done = run(root, "--data", "none")
    assert done.exit_code == 1
    assert f"[{file.relative_to(root).as_posix()}]" in done.output
    assert "write the image again" in done.output
    assert "ngff.chunk_damaged" in done.output


def test_validate_decodes_by_default_and_not_on_request(stores: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(stores["tensorstore 0.5"], tmp_path / "a.ome.zarr"))
    flip(chunk_file(root), 40)
    assert run(root).exit_code == 1
    assert run(root, "--data", "none").exit_code == 0
    with pytest.raises(BadRequest, match="full, sample, none"):
        dandify.validate(root, data="some")  # type: ignore[arg-type]
