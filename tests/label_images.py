"""Images to add labels to, and what their labels must be; for the tests of labels."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import manifest_path
from ngff_reference import SCALE, levels, metadata, noise

VERSIONS = ("0.4", "0.5")
SHAPE = (2, 13, 90, 71)
SMALL: dict[str, Any] = {"chunks": (4, 16, 16)}


def objects(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 3) -> NDArray[Any]:
    return np.random.default_rng(seed).choice([0, 0, 0, 7, 8, 9, 100], shape).astype(dtype)


def image(folder: Path, version: str, name: str = "a", **options: Any) -> Path:
    path = folder / f"{name}.ome.zarr"
    write_ome_zarr(
        noise(SHAPE, "uint16"), path, axes="czyx", scale=SCALE, version=version, chunks=(1, 4, 16, 16), **options
    )
    return path


def ready_images(folder: Path) -> dict[str, Path]:
    """An image by version."""
    return {version: image(folder, version, f"v{version[-1]}") for version in VERSIONS}


def copied(ready: Path, folder: Path) -> Path:
    """A copy of an image, with its manifest."""
    path = Path(shutil.copytree(ready, folder / "image.ome.zarr"))
    shutil.copy(manifest_path(ready), manifest_path(path))
    return path


def most_frequent(values: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """The most frequent value of each window, the smallest of several, by counting each value there is."""
    factors = [max(1, round(n / m)) for n, m in zip(values.shape, shape, strict=True)]
    counts = []
    there = np.unique(values)
    for value in there:
        count = (values == value).astype(np.int64)
        for axis, factor in enumerate(factors):
            count = np.add.reduceat(count, range(0, values.shape[axis], factor), axis=axis)
        counts.append(count[tuple(slice(m) for m in shape)])
    chosen: NDArray[Any] = there[np.argmax(np.stack(counts), axis=0)]  # the first, and so the smallest
    return chosen


def assert_labels(root: Path, labels: Path, source: NDArray[Any]) -> None:
    """Labels have the shapes and places of the image, and each level is the mode of the one above."""
    found = levels(labels)
    np.testing.assert_array_equal(found[0], source)
    assert found[0].dtype == source.dtype
    axes = [a["name"] for a in metadata(root)["multiscales"][0]["axes"]]
    kept = [i for i, a in enumerate(axes) if a != "c"]
    assert [level.shape for level in found] == [tuple(level.shape[i] for i in kept) for level in levels(root)]
    for upper, lower in pairwise(found):
        np.testing.assert_array_equal(lower, most_frequent(upper, lower.shape))
    stated = [metadata(p)["multiscales"][0] for p in (labels, root)]
    assert stated[0]["axes"] == [a for a in stated[1]["axes"] if a["name"] != "c"]
    for mine, theirs in zip(stated[0]["datasets"], stated[1]["datasets"], strict=True):
        for one, other in zip(mine["coordinateTransformations"], theirs["coordinateTransformations"], strict=True):
            assert one[one["type"]] == [other[other["type"]][i] for i in kept]


def everything(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*")) if p.is_file()
    }  # fmt: skip
