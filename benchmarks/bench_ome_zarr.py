"""OME-Zarr writers side by side on the same stack: seconds, megabytes, files, and whether level 0 reads back equal.

Each writer runs in a process of its own; imports and a warm-up are outside of the time.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Options, apart

SIDE = 1024
SCALE = {"z": 2.0, "y": 0.65, "x": 0.65}
Stack = NDArray[np.uint16]


def make_stack(planes: int, side: int) -> Stack:
    """Cells on an uneven background with the noise of a camera: what compresses about as microscopy does."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:side, :side]
    background = 200 + 60 * np.sin(y / 97) + 80 * np.cos(x / 131)
    cells = 400 * np.maximum(0, np.sin(y / 9) * np.sin(x / 11) - 0.6)
    out = np.empty((planes, side, side), np.uint16)
    for z in range(planes):
        expected = background + cells * np.cos(z / 13) ** 2
        out[z] = np.clip(expected + rng.normal(0, 1, expected.shape) * np.sqrt(expected), 0, 65535)
    return out


def dandify(version: str, *, verify: bool) -> Callable[[Stack, Path], None]:
    def write(stack: Stack, path: Path) -> None:
        from dandify.ngff.write import write_ome_zarr

        write_ome_zarr(stack, path, scale=SCALE, version=version, verify=verify)

    return write


def ome_zarr_py(stack: Stack, path: Path) -> None:
    """Write with the reference library, as lazily as it goes."""
    import dask.array
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.writer import write_image

    location = parse_url(path, mode="w")
    assert location is not None
    chunks = (64, 128, 128)
    write_image(
        dask.array.from_array(stack, chunks=chunks),  # type: ignore[no-untyped-call]  # dask has no types there
        zarr.group(location.store), axes="zyx",
        storage_options={"chunks": chunks},
    )  # fmt: skip


def tensorstore(stack: Stack, path: Path) -> None:
    """Write each level, and make the next of it through TensorStore's downsampling, as experienced users do."""
    import tensorstore as ts

    path.mkdir()
    source, chunks = ts.array(stack), [64, 128, 128]
    for level, factors in enumerate([[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2]]):
        small = ts.downsample(source, factors, "mean") if level else source
        metadata = {
            "shape": list(small.shape), "chunks": chunks, "dtype": "<u2", "dimension_separator": "/",
            "compressor": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1},
        }  # fmt: skip
        place = {"driver": "file", "path": f"{path.as_posix()}/{level}/"}
        target = ts.open({"driver": "zarr", "kvstore": place, "metadata": metadata}, create=True).result()
        for z in range(0, small.shape[0], 64):
            stop = min(z + 64, small.shape[0])
            target[z:stop].write(small[z:stop]).result()
        source = target


WRITERS: dict[str, Callable[[Stack, Path], None]] = {
    "dandify 0.5, verified": dandify("0.5", verify=True),
    "dandify 0.5": dandify("0.5", verify=False),
    "dandify 0.4, verified": dandify("0.4", verify=True),
    "dandify 0.4": dandify("0.4", verify=False),
    "tensorstore (v2)": tensorstore,
    "ome-zarr-py (0.4)": ome_zarr_py,
}


def run_one(name: str, data: Path, path: Path) -> dict[str, Any]:
    """Run a writer in this process."""
    import tensorstore as ts

    stack = np.load(data, mmap_mode="r")
    WRITERS[name](np.array(stack[:8, :256, :256]), path.with_name("warm.ome.zarr"))
    wall, cpu = time.perf_counter(), time.process_time()
    WRITERS[name](stack, path)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    driver = "zarr3" if (path / "0/zarr.json").exists() else "zarr"
    place = {"driver": "file", "path": f"{path.as_posix()}/0/"}
    array = ts.open({"driver": driver, "kvstore": place}, open=True).result()
    parts = [slice(z, min(z + 64, len(stack))) for z in range(0, len(stack), 64)]
    equal = all(np.array_equal(array[part].read().result(), stack[part]) for part in parts)
    files = [f for f in path.rglob("*") if f.is_file()]
    return {"wall_s": wall, "cpu_s": cpu, "bytes": sum(f.stat().st_size for f in files), "files": len(files),
            "equal": equal}  # fmt: skip


def run(options: Options) -> None:
    """Write the same stack with every writer and print a table; exit if one of them is wrong."""
    planes = max(8, int(options.megabytes * 1e6) // (2 * SIDE**2))
    raw = planes * SIDE**2 * 2
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "stack.npy"
        np.save(data, make_stack(planes, SIDE))
        print(f"OME-Zarr of {raw / 1e6:.0f} MB uint16, {planes} planes of {SIDE} x {SIDE}")
        print(f"{'writer':24}{'wall s':>8}{'MB/s':>8}{'CPU s':>8}{'out MB':>8}{'files':>7}")
        for name in WRITERS:
            runs = [_run_apart(name, data, Path(folder) / "run") for _ in range(options.repeats)]
            wall, cpu = median(r["wall_s"] for r in runs), median(r["cpu_s"] for r in runs)
            size, files = runs[0]["bytes"] / 1e6, runs[0]["files"]
            print(f"{name:24}{wall:8.2f}{raw / 1e6 / wall:8.0f}{cpu:8.1f}{size:8.0f}{files:7}")
            if not all(r["equal"] for r in runs):
                raise SystemExit(f"{name}: level 0 differs from what was written")
    print()


def _run_apart(name: str, data: Path, out: Path) -> dict[str, Any]:
    out.mkdir()
    found = apart("bench_ome_zarr", name, data, out / "a.ome.zarr")
    shutil.rmtree(out)
    return found


if __name__ == "__main__":
    print(json.dumps(run_one(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
