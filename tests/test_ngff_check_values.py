"""check_ome_zarr: single wrong values in the levels of a pyramid, which no checksum beside it tells of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from numpy.typing import NDArray

from dandify.ngff.check import check_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import manifest_path
from ngff_reference import noise
from ome_zarr_stores import edit_metadata

SCALE = {"z": 1.0, "y": 1.0, "x": 1.0}


def level_of(root: Path, level: int) -> Any:
    driver = "zarr3" if (root / "zarr.json").exists() else "zarr"
    path = f"{(root / str(level)).as_posix()}/"
    return tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": path}}, open=True).result()


def flip(root: Path, level: int, at: tuple[int, ...]) -> None:
    """Turn the lowest bit of a value, in a chunk that decodes as before."""
    array = level_of(root, level)
    value = np.asarray(array[at].read().result())
    array[at].write(value ^ np.array(1, value.dtype)).result()


@pytest.fixture(scope="module", params=["mean", "max", "mode", "nearest"])
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of odd lengths, whose last windows are cut off, without its manifest."""
    root = tmp_path_factory.mktemp("stored") / "a.ome.zarr"
    write_ome_zarr(
        noise((2, 7, 61, 75), "uint16"), root, axes="czyx", scale=SCALE, chunks=(1, 4, 16, 16),
        downsample=request.param, verify=False,
    )  # fmt: skip
    manifest_path(root).unlink()
    return root


@pytest.mark.parametrize("corner", ["first", "middle", "last"])
@pytest.mark.parametrize("level", [1, -1])
def test_a_bit_that_turned_is_found(stored: Path, level: int, corner: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(stored, tmp_path / "a.ome.zarr"))
    assert check_ome_zarr(root) == []
    number = range(len([p for p in root.iterdir() if p.name.isdigit()]))[level]
    shape = level_of(root, number).shape
    at = {"first": 0, "middle": 0.5, "last": 1}[corner]
    flip(root, number, tuple(int(at * (n - 1)) for n in shape))
    found = check_ome_zarr(root)
    # A value in the middle of the pyramid does not fit the level below it either, unless others outweigh it there.
    assert {(p.id, p.severity) for p in found} == {("ngff.levels_contradict", "ERROR")}
    assert found[0].path == root / str(number)


def foreign(root: Path, values: NDArray[np.uint16]) -> Path:
    """The first voxel of each window, as others write it, down to levels in which hardly a window is left."""
    write_ome_zarr(values, root, axes="yx", scale={"y": 1.0, "x": 1.0}, levels=6, downsample="nearest", verify=False)
    manifest_path(root).unlink()
    edit_metadata(root, lambda ome: [ome["multiscales"][0].pop(key) for key in ("metadata", "type")])
    return root


def test_a_level_too_small_to_tell_is_held_to_what_the_others_show(tmp_path: Path) -> None:
    root = foreign(tmp_path / "a.ome.zarr", noise((160, 128), "uint16"))
    assert check_ome_zarr(root) == []
    assert level_of(root, 5).shape == (5, 4)
    flip(root, 5, (2, 2))
    (found,) = check_ome_zarr(root)
    assert (found.id, found.severity, found.path) == ("ngff.levels_contradict", "WARNING", root / "5")
    assert "as those of the levels before are" in found.message


def test_labels_whose_lengths_are_rounded_down(tmp_path: Path) -> None:
    """Labels take the lengths of their image's levels, and other writers leave cut-off windows out."""
    root = foreign(tmp_path / "a.ome.zarr", noise((67, 45), "uint16"))
    for level in range(1, 6):
        array = level_of(root, level - 1).read().result()
        shape = tuple(n // 2 for n in array.shape)
        kept = np.ascontiguousarray(array[::2, ::2][: shape[0], : shape[1]])
        document = json.loads((root / str(level) / "zarr.json").read_text())
        document["shape"] = list(shape)
        shutil.rmtree(root / str(level))
        path = f"{(root / str(level)).as_posix()}/"
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}, "metadata": document}
        tensorstore.open(spec, create=True).result().write(kept).result()
    edit_metadata(root, lambda ome: ome["multiscales"][0].update(
        metadata={"method": "dandify.ngff.labels.write_ome_zarr_labels"}, type="nearest"
    ))  # fmt: skip
    assert check_ome_zarr(root) == []
    flip(root, 1, (32, 21))
    assert "ngff.levels_contradict" in {p.id for p in check_ome_zarr(root)}
