"""The same image as OME-Zarr by dandify, by ome-zarr-py and by TensorStore, for the tests of checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from numpy.typing import NDArray

from dandify.ngff.write import write_ome_zarr
from dandify.store.manifest import manifest_path

SHAPE = (2, 16, 128, 96)
CHUNKS = (1, 4, 32, 32)
SCALE = {"z": 2.0, "y": 0.65, "x": 0.65}
FACTORS = ((1, 1, 1, 1), (1, 1, 2, 2), (1, 1, 4, 4))
STORES = ("ours 0.4", "ours 0.5", "ome-zarr-py", "tensorstore 0.4", "tensorstore 0.5", "tensorstore 0.5 sharded")
BLOSC = {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle", "typesize": 2}}
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def picture() -> NDArray[np.uint16]:
    """(c, z, y, x): cells on a background, with the noise of a camera."""
    rng = np.random.default_rng(5)
    c, z, y, x = np.indices(SHAPE)
    expected = 200 + 40 * c + 150 * np.maximum(0, np.sin(y / 6) * np.sin(x / 7) - 0.3) * np.cos(z / 9) ** 2
    values: NDArray[np.uint16] = rng.poisson(expected).astype(np.uint16)
    return values


def write_store(kind: str, path: Path) -> Path:
    """Write the image, without a manifest."""
    if kind.startswith("ours"):
        write_ome_zarr(picture(), path, axes="czyx", scale=SCALE, version=kind[-3:], chunks=CHUNKS)
        manifest_path(path).unlink()
    elif kind == "ome-zarr-py":
        _ome_zarr_py(path)
    else:
        _tensorstore(path, version=kind.split()[1], sharded=kind.endswith("sharded"))
    return path


def edit_metadata(root: Path, change: Any) -> None:
    """Let a function change the OME metadata of either version."""
    document = root / ".zattrs" if (root / ".zattrs").exists() else root / "zarr.json"
    content = json.loads(document.read_text())
    change(content if document.name == ".zattrs" else content["attributes"]["ome"])
    document.write_text(json.dumps(content))


def chunk_file(root: Path, level: int = 0) -> Path:
    """The largest file of a level."""
    files = (f for f in (root / str(level)).rglob("*") if f.is_file() and f.name not in ("zarr.json", ".zarray"))
    return max(files, key=lambda f: f.stat().st_size)


def _ome_zarr_py(path: Path) -> None:
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.writer import write_image

    location = parse_url(path, mode="w")
    assert location is not None
    write_image(
        picture(), zarr.group(location.store), axes="czyx", storage_options={"chunks": CHUNKS},
        coordinate_transformations=[[_scale(f)] for f in [(1, 1, 2**n, 2**n) for n in range(5)]],
    )  # fmt: skip


def _scale(factors: tuple[int, ...]) -> dict[str, Any]:
    return {"type": "scale", "scale": [1.0, *(SCALE[a] * f for a, f in zip("zyx", factors[1:], strict=True))]}


def _translation(factors: tuple[int, ...]) -> dict[str, Any]:
    shift = [SCALE[a] * (f - 1) / 2 for a, f in zip("zyx", factors[1:], strict=True)]
    return {"type": "translation", "translation": [0.0, *shift]}


def _tensorstore(path: Path, *, version: str, sharded: bool) -> None:
    """Levels by TensorStore's own downsampling; the group's document is written by hand, for it writes none."""
    datasets = []
    level = tensorstore.array(picture())
    for number, factors in enumerate(FACTORS):
        if number:
            level = tensorstore.downsample(level, [1, 1, 2, 2], "mean")
        place = {"driver": "file", "path": f"{(path / str(number)).as_posix()}/"}
        driver = "zarr" if version == "0.4" else "zarr3"
        array = tensorstore.open(
            {"driver": driver, "kvstore": place, "metadata": _metadata(version, sharded, level.shape)}, create=True
        ).result()
        array.write(level.read().result()).result()
        datasets.append({"path": str(number), "coordinateTransformations": [_scale(factors), _translation(factors)]})
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": "micrometer"} for a in "zyx")]
    ome: dict[str, Any] = {"multiscales": [{"name": "x", "axes": axes, "datasets": datasets}]}
    if version == "0.4":
        ome["multiscales"][0]["version"] = "0.4"
        (path / ".zattrs").write_text(json.dumps(ome))
        (path / ".zgroup").write_text('{"zarr_format": 2}')
    else:
        group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **ome}}}
        (path / "zarr.json").write_text(json.dumps(group))


def _metadata(version: str, sharded: bool, shape: tuple[int, ...]) -> dict[str, Any]:
    if version == "0.4":
        return {
            "shape": list(shape), "chunks": list(CHUNKS), "dtype": "<u2", "dimension_separator": "/",
            "compressor": {"id": "zstd", "level": 3},
        }  # fmt: skip
    codecs: list[dict[str, Any]] = [BYTES, {"name": "gzip", "configuration": {"level": 5}}]
    outer = CHUNKS
    if sharded:
        outer = (1, 16, 64, 64)
        inside = {"chunk_shape": list(CHUNKS), "codecs": [BYTES, BLOSC], "index_codecs": [BYTES, {"name": "crc32c"}]}
        codecs = [{"name": "sharding_indexed", "configuration": inside}]
    return {
        "shape": list(shape), "data_type": "uint16", "codecs": codecs, "dimension_names": list("czyx"),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(outer)}},
    }  # fmt: skip
