"""write_nwb beside neuroconv's default writer: the same recordings, the same NWBFiles, contents compared."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import Options, apart, in_turn, machine, middle, table
from benchmarks.writing import WAYS, copied, data_of, remove

CODEC_BYTES = 32_000_000  # of a set, for the codec alone


def run(options: Options) -> None:
    """Measure and print, one table for each backend, and the floors."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for one in options.chosen():
            results[one.title] = measure(one, Path(folder), options)
    print(f"write_nwb against neuroconv's default, {options.repeats} runs, medians. {machine()}")
    print(
        "Ratios to neuroconv's with the same backend: time how many times faster, others how much of. dandify waits for"
        "\nthe disk (fsync); neuroconv does not. Raw files are in the page cache.\n"
    )
    for backend in ("HDF5", "Zarr"):
        print(table(
            [f"NWB {backend}", "raw MB", "neuroconv s", "MB/s", "raw/stored", "dandify s", "MB/s", "raw/stored",
             "faster", "verified", "CPU", "size", "peak MB", "neuroconv's"],
            [_row(title, raw, runs, backend) for title, (raw, runs, _) in results.items()], markdown=options.markdown,
        ))  # fmt: skip
    print(table(
        ["floors, MB/s", "cp", "cp, fsync", "codec alone, one core", "ratio", "zlib 4, one core", "ratio"],
        [[title, *(f"{value:.2f}" if i in (3, 5) else f"{value:.0f}" for i, value in enumerate(floors))]
         for title, (_, _, floors) in results.items()],
        markdown=options.markdown,
    ))  # fmt: skip


Runs = dict[str, list[dict[str, Any]]]


def measure(one: Any, folder: Path, options: Options) -> tuple[int, Runs, list[float]]:
    """Write one set in every way, in turn, each run in a fresh process, and compare what is in the files."""
    raw = folder / "raw.dat"
    size = one.write(raw, options.megabytes)
    runs: Runs = {way: [] for way in WAYS}
    for way in in_turn(list(WAYS), options.repeats):
        out = folder / WAYS[way][1]
        found = apart("writing", one.name, way, raw, out, options.memory)
        with data_of(out) as (data, stored):
            same(one, raw, data, f"{one.name} by {way}")
        runs[way].append({**found, "stored": stored, "chunks": data_chunks(out)})
        remove(out)
    return size, runs, floors(one, raw, size, runs["dandify, HDF5"][-1]["chunks"], options.repeats)


def floors(one: Any, raw: Path, size: int, chunks: tuple[int, ...], repeats: int) -> list[float]:
    """MB/s of a copy, with and without waiting for the disk, and of the codecs alone on one core, with their ratios."""
    out, found = raw.with_name("copy.dat"), []
    for wait in (False, True):
        seconds = []
        for _ in range(repeats):
            begun = time.perf_counter()
            copied(raw, out, wait=wait)
            seconds.append(time.perf_counter() - begun)
            out.unlink()
        found.append(size / 1e6 / median(seconds))
    return found + codec_alone(one, raw, chunks, repeats)


def codec_alone(one: Any, raw: Path, chunks: tuple[int, ...], repeats: int) -> list[float]:
    """MB/s of CPU time, and ratio: dandify's encoder on chunks of its own file's shape, and zlib 4 as it stands."""
    import zlib

    from dandify.store.choose import choose_encoder
    from dandify.store.region import grid

    values, pieces, size = one.map(raw), [], 0
    for _, region in grid(values.shape, chunks):
        if size >= CODEC_BYTES and pieces:
            break
        pieces.append(np.ascontiguousarray(values[region]).reshape(-1).view(np.uint8))
        size += pieces[-1].size
    itemsize = values.dtype.itemsize
    encoder = choose_encoder([piece[: 2**19] for piece in pieces[:3]], itemsize)
    found: list[float] = []
    for encode in (lambda piece: encoder.encode(piece, itemsize), lambda piece: zlib.compress(piece, 4)):
        seconds, stored = [], 0
        for _ in range(repeats):
            begun = time.process_time()
            stored = sum(len(encode(piece)) for piece in pieces)
            seconds.append(time.process_time() - begun)
        found += [size / 1e6 / max(median(seconds), 1e-6), size / stored]
    return found


def data_chunks(out: Path) -> tuple[int, ...]:
    """Chunk shape of the largest array."""
    with data_of(out) as (data, _):
        return tuple(int(n) for n in data.chunks)


def same(one: Any, raw: Path, data: Any, what: str) -> None:
    """Compare with the raw samples, in pieces."""
    values = one.map(raw)
    if data.shape != values.shape or data.dtype != values.dtype:
        raise AssertionError(f"{what}: {data.dtype} {data.shape} for {values.dtype} {values.shape}")
    step = max(1, 200_000_000 // one.row_bytes)
    for start in range(0, len(values), step):
        if not np.array_equal(data[start : start + step], values[start : start + step]):
            raise AssertionError(f"{what}: differs from the raw file in rows from {start}")


def _row(title: str, raw: int, runs: Runs, backend: str) -> list[str]:
    base, fast, full = (runs[f"{way}, {backend}{mode}"] for way, mode in (
        ("neuroconv", ""), ("dandify", ", not verified"), ("dandify", "")))  # fmt: skip
    cells = []
    for found in (base, fast):
        wall = middle(found, "wall_s")
        cells += [f"{wall:.2f}", f"{raw / 1e6 / wall:.0f}", f"{raw / found[0]['stored']:.2f}"]
    peak = max(middle(found, "peak_bytes") for found in (fast, full))
    return [
        title, f"{raw / 1e6:.0f}", *cells,
        f"{middle(base, 'wall_s') / middle(fast, 'wall_s'):.1f}x",
        f"{middle(base, 'wall_s') / middle(full, 'wall_s'):.1f}x",
        f"{middle(fast, 'cpu_s') / middle(base, 'cpu_s'):.2f}",
        f"{fast[0]['stored'] / base[0]['stored']:.2f}",
        f"{peak / 1e6:.0f}", f"{middle(base, 'peak_bytes') / 1e6:.0f}",
    ]  # fmt: skip
