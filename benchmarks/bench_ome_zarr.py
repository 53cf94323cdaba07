"""OME-Zarr writers side by side on the same TIFF: time, memory, size, and whether the levels read back alike.

Each writer runs in a process of its own and reads the file itself; imports and a warm-up are outside of the time.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import xxhash
from numpy.typing import NDArray

from benchmarks.harness import Options, apart, in_turn, machine, measured, middle, table

SIDE = 1024
WARM_SIDE, WARM_PLANES = 300, 72  # several levels, cut off chunks: everything is loaded and compiled
CHUNKS = (64, 128, 128)
SCALE = {"z": 0.65, "y": 0.65, "x": 0.65}  # cubes: acquire-zarr and dandify then halve the same axes
BASE = "ome-zarr-py, dask (0.4)"  # whom ratios are of
SAME_METHOD = "tensorstore (v2)"  # mean of the same windows, integers rounded half to even
FORMS: dict[str, dict[str, Any]] = {"pages": {}, "tiled": {"tile": (256, 256)}, "zstd": {"compression": "zstd"}}
"""Kinds of TIFF: options of tifffile."""


def planes_of(number: int, side: int) -> Iterator[NDArray[np.uint16]]:
    """Cells on an uneven background with the noise of a camera: what compresses about as microscopy does."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:side, :side]
    background = 200 + 60 * np.sin(y / 97) + 80 * np.cos(x / 131)
    cells = 400 * np.maximum(0, np.sin(y / 9) * np.sin(x / 11) - 0.6)
    for z in range(number):
        expected = background + cells * np.cos(z / 13) ** 2
        noisy = expected + rng.normal(0, 1, expected.shape) * np.sqrt(expected)
        yield np.clip(noisy, 0, 65535).astype(np.uint16)


def write_tiff(path: Path, number: int, side: int, form: str) -> None:
    """Write the volume, a page for each plane."""
    parts = planes_of(number, side)
    if "tile" in FORMS[form]:  # tifffile takes tile by tile then, those at the edges filled up
        rows, columns = FORMS[form]["tile"]
        parts = (
            np.pad(tile, ((0, rows - tile.shape[0]), (0, columns - tile.shape[1])))
            for plane in parts
            for y in range(0, side, rows)
            for x in range(0, side, columns)
            for tile in [plane[y : y + rows, x : x + columns]]
        )
    tifffile.imwrite(
        path, parts, shape=(number, side, side), dtype=np.uint16, bigtiff=True, metadata=None,
        photometric="minisblack", **FORMS[form],
    )  # fmt: skip


class Pages:
    """Pages of a TIFF as an array that dask and slices can take; pages are parsed once, for threads must not."""

    def __init__(self, path: Path) -> None:
        self._file = tifffile.TiffFile(path)
        self._pages = list(self._file.pages)
        self._file.filehandle.lock = threading.RLock()
        first: Any = self._pages[0]
        self.shape = (len(self._pages), *first.shape)
        self.dtype, self.ndim = first.dtype, 3

    def __getitem__(self, place: Any) -> NDArray[Any]:
        z, *rest = place if isinstance(place, tuple) else (place,)
        planes = np.stack([self._pages[i].asarray() for i in range(*z.indices(self.shape[0]))])
        return planes[(slice(None), *rest)]


def dandify(version: str, *, verify: bool) -> Callable[[Path, Path, str], None]:
    def write(source: Path, path: Path, memory: str) -> None:
        from dandify.ngff.write import write_ome_zarr

        write_ome_zarr(source, path, axes="zyx", scale=SCALE, version=version, verify=verify, memory=memory)

    return write


def _ome_zarr_py(image: Any, path: Path, **options: Any) -> None:
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.writer import write_image

    location = parse_url(path, mode="w")
    assert location is not None
    write_image(image, zarr.group(location.store), axes="zyx", **options)


def ome_zarr_numpy(source: Path, path: Path, memory: str) -> None:
    """Write with the reference library and nothing configured."""
    _ome_zarr_py(tifffile.imread(source), path)


def ome_zarr_dask(source: Path, path: Path, memory: str) -> None:
    """Write with the reference library, as lazily as it goes."""
    import dask.array

    pages = Pages(source)
    whole = dask.array.from_array(pages, chunks=(CHUNKS[0], *pages.shape[1:]))  # type: ignore[no-untyped-call]  # no types
    _ome_zarr_py(whole.rechunk(CHUNKS), path, storage_options={"chunks": CHUNKS})


def tensorstore(source: Path, path: Path, memory: str) -> None:
    """Write each level, and make the next of it through TensorStore's downsampling, as experienced users do."""
    import tensorstore as ts

    path.mkdir()
    pages: Any = Pages(source)
    above: Any = None
    for level, factors in enumerate([[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]):
        small = ts.downsample(above, factors, "mean") if level else pages
        metadata = {
            "shape": list(small.shape), "chunks": list(CHUNKS), "dtype": "<u2", "dimension_separator": "/",
            "compressor": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1},
        }  # fmt: skip
        place = {"driver": "file", "path": f"{path.as_posix()}/{level}/"}
        above = ts.open({"driver": "zarr", "kvstore": place, "metadata": metadata}, create=True).result()
        for z in range(0, small.shape[0], CHUNKS[0]):
            stop = min(z + CHUNKS[0], small.shape[0])
            above[z:stop].write(small[z:stop]).result()


def acquire_zarr(source: Path, path: Path, memory: str) -> None:
    """Stream plane by plane, as a microscope would, with levels by mean."""
    import acquire_zarr as aqz

    pages = Pages(source)
    dimensions = [
        aqz.Dimension(
            name=name, kind=aqz.DimensionType.SPACE, array_size_px=size, chunk_size_px=min(chunk, size),
            shard_size_chunks=1 if name == "z" else -(-size // chunk), unit="micrometer", scale=SCALE[name],
        )
        for name, size, chunk in zip("zyx", pages.shape, CHUNKS, strict=True)
    ]  # fmt: skip
    array = aqz.ArraySettings(
        dimensions=dimensions, data_type=np.uint16, downsampling_method=aqz.DownsamplingMethod.MEAN,
        compression=aqz.CompressionSettings(
            compressor=aqz.Compressor.BLOSC1, codec=aqz.CompressionCodec.BLOSC_ZSTD, level=1, shuffle=1
        ),
    )  # fmt: skip
    stream = aqz.ZarrStream(aqz.StreamSettings(store_path=str(path), arrays=[array], overwrite=True))
    for z in range(pages.shape[0]):
        stream.append(pages[z : z + 1])
    stream.close()


WRITERS: dict[str, Callable[[Path, Path, str], None]] = {
    "dandify 0.5, verified": dandify("0.5", verify=True),
    "dandify 0.5": dandify("0.5", verify=False),
    "dandify 0.4, verified": dandify("0.4", verify=True),
    "dandify 0.4": dandify("0.4", verify=False),
    SAME_METHOD: tensorstore,
    **({"acquire-zarr (0.5)": acquire_zarr} if find_spec("acquire_zarr") else {}),  # it has wheels for few platforms
    BASE: ome_zarr_dask,
    "ome-zarr-py, NumPy (0.4)": ome_zarr_numpy,
}


def run_one(name: str, source: Path, path: Path, memory: str) -> dict[str, Any]:
    """Run a writer in this process."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        warm = Path(folder) / "warm.tif"
        write_tiff(warm, WARM_PLANES, WARM_SIDE, "pages")
        WRITERS[name](warm, Path(folder) / "warm.ome.zarr", memory)
    found: dict[str, Any] = measured(lambda: WRITERS[name](source, path, memory))
    files = [f for f in path.rglob("*") if f.is_file()]
    folders = takewhile(lambda f: f.is_dir(), (path / str(n) for n in count()))
    return {**found, "bytes": sum(f.stat().st_size for f in files), "files": len(files),
            "levels": [digest(folder) for folder in folders]}  # fmt: skip


def digest(folder: Path) -> str:
    """Checksum of the values of a level, read by TensorStore."""
    import tensorstore as ts

    driver = "zarr3" if (folder / "zarr.json").exists() else "zarr"
    place = {"driver": "file", "path": f"{folder.as_posix()}/"}
    array = ts.open({"driver": driver, "kvstore": place}, open=True).result()
    state = xxhash.xxh3_128()
    for z in range(0, array.shape[0], CHUNKS[0]):
        values = array[z : min(z + CHUNKS[0], array.shape[0])].read().result()
        state.update(np.ascontiguousarray(values).data)
    return state.hexdigest()


def run(options: Options) -> None:
    """Write the same volume with every writer and print a table for each kind of TIFF; exit if one is wrong."""
    number = max(8, int(options.megabytes * 1e6) // (2 * SIDE**2))
    raw = number * SIDE**2 * 2
    print(
        f"OME-Zarr of {raw / 1e6:.0f} MB uint16, {number} planes of {SIDE} x {SIDE}, {options.repeats} runs, medians."
    )
    print(f"{machine()}. Ratios to {BASE}.\n")
    for form in [f for f in FORMS if not options.sets or f in options.sets] or FORMS:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "volume.tif"
            write_tiff(source, number, SIDE, form)
            state = xxhash.xxh3_128()
            for plane in planes_of(number, SIDE):
                state.update(plane.data)
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in WRITERS}
            for name in in_turn(list(WRITERS), options.repeats):
                runs[name].append(_run_apart(name, source, Path(folder) / "run", options.memory))
        require_alike(runs, state.hexdigest())
        print(table(
            [form, "wall s", "MB/s", "faster", "CPU s", "peak MB", "out MB", "files"],
            [_row(name, found, runs[BASE], raw) for name, found in runs.items()], markdown=options.markdown,
        ))  # fmt: skip


def require_alike(runs: dict[str, list[dict[str, Any]]], source: str) -> None:
    """Level 0 is the source's for everyone; all levels are alike where they are made in the same way."""
    ours = runs["dandify 0.5"][0]["levels"]
    for name, several in runs.items():
        for found in several:
            if found["levels"][0] != source:
                raise SystemExit(f"{name}: level 0 differs from the source")
            if name == SAME_METHOD or name.startswith("dandify"):
                pairs = zip(found["levels"], ours, strict=not name.startswith(SAME_METHOD))
                if any(a != b for a, b in pairs):
                    raise SystemExit(f"{name}: levels differ from those of dandify 0.5")


def _row(name: str, found: list[dict[str, Any]], base: list[dict[str, Any]], raw: int) -> list[str]:
    wall = middle(found, "wall_s")
    return [
        name, f"{wall:.2f}", f"{raw / 1e6 / wall:.0f}", f"{middle(base, 'wall_s') / wall:.1f}x",
        f"{middle(found, 'cpu_s'):.1f}", f"{middle(found, 'peak_bytes') / 1e6:.0f}",
        f"{found[0]['bytes'] / 1e6:.0f}", f"{found[0]['files']}",
    ]  # fmt: skip


def _run_apart(name: str, source: Path, out: Path, memory: str) -> dict[str, Any]:
    out.mkdir()
    found = apart("bench_ome_zarr", name, source, out / "a.ome.zarr", memory)
    shutil.rmtree(out)
    return found


if __name__ == "__main__":
    print(json.dumps(run_one(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])))
