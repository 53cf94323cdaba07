"""What a pyramid must hold, computed by NumPy alone, and how to look at a written one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALE = {"t": 0.5, "z": 2.0, "y": 0.65, "x": 0.65}


def noise(shape: tuple[int, ...], dtype: str, seed: int = 0) -> NDArray[Any]:
    """Values over the whole range of a type."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(0, 1000, shape).astype(kind)
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, shape, kind.newbyteorder("="), endpoint=True).astype(kind)


def mean(values: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """Mean of windows, those cut off by the end being the mean of what they hold; integers half to even."""
    total, count = values.astype(np.float64), np.ones(values.shape)
    for axis, factor in enumerate(factors):
        pad = [(0, 0)] * values.ndim
        pad[axis] = (0, -values.shape[axis] % factor)
        total, count = (
            np.add.reduceat(np.pad(a, pad), range(0, a.shape[axis] + pad[axis][1], factor), axis=axis)
            for a in (total, count)
        )
    result = total / count
    return (result if values.dtype.kind == "f" else np.rint(result)).astype(values.dtype)


def metadata(root: Path) -> dict[str, Any]:
    """OME metadata of an image of either version."""
    if (root / ".zattrs").exists():
        found: dict[str, Any] = json.loads((root / ".zattrs").read_text())
    else:
        found = json.loads((root / "zarr.json").read_text())["attributes"]["ome"]
    return found


def levels(root: Path) -> list[NDArray[Any]]:
    """All levels, read by TensorStore on its own terms."""
    import tensorstore

    driver = "zarr" if (root / ".zattrs").exists() else "zarr3"
    arrays = []
    for dataset in metadata(root)["multiscales"][0]["datasets"]:
        path = (root / dataset["path"]).as_posix() + "/"
        opened = tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": path}}, open=True)
        arrays.append(np.asarray(opened.result().read().result()))
    return arrays


def scales(root: Path) -> list[list[float]]:
    """Scale of each level."""
    return [d["coordinateTransformations"][0]["scale"] for d in metadata(root)["multiscales"][0]["datasets"]]


def translations(root: Path) -> list[list[float]]:
    """Translation of each level."""
    return [d["coordinateTransformations"][1]["translation"] for d in metadata(root)["multiscales"][0]["datasets"]]


def assert_pyramid(root: Path, source: NDArray[Any]) -> None:
    """Every level is the mean of the one above, over the factor that the scales state."""
    found = levels(root)
    np.testing.assert_array_equal(found[0], source)
    for upper, lower, fine, coarse in zip(found, found[1:], scales(root), scales(root)[1:], strict=False):
        factors = tuple(round(b / a) for a, b in zip(fine, coarse, strict=True))
        expected = mean(upper, factors)
        if source.dtype.kind == "f":
            np.testing.assert_allclose(lower, expected, rtol=2e-7)
        else:
            np.testing.assert_array_equal(lower, expected)
