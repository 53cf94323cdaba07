"""Reading back with plain h5py, from dandify's file and from neuroconv's: three ways in which recordings are read."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import h5py

from benchmarks.harness import Options, apart, in_turn, machine, table
from benchmarks.writing import data_of

PLACES = 5  # of one second of all channels
TEN_MINUTES_S = 600
PIECE_BYTES = 64_000_000  # of the whole in order
WAYS = {"neuroconv": "neuroconv, HDF5", "dandify": "dandify, HDF5, not verified"}


def one_second(data: h5py.Dataset, one: Any) -> int:
    """One second of all channels, or of all frames, at several places."""
    rows = max(1, int(one.rate_hz))
    last, read = max(0, len(data) - rows), 0
    for place in range(PLACES):
        start = last * place // (PLACES - 1)
        read += int(data[start : start + rows].nbytes)
    return read


def one_channel(data: h5py.Dataset, one: Any) -> int:
    """Ten minutes (or all) of one channel in the middle; of a movie, of a square of 32 pixels."""
    rows = min(len(data), int(TEN_MINUTES_S * one.rate_hz))
    side = 32 if len(one.row) > 1 else 1
    inner = (slice(n // 2, n // 2 + side) for n in one.row)
    return int(data[(slice(0, rows), *inner)].nbytes)


def in_order(data: h5py.Dataset, one: Any) -> int:
    """All of it, in pieces."""
    step, read = max(1, PIECE_BYTES // one.row_bytes), 0
    for start in range(0, len(data), step):
        read += int(data[start : start + step].nbytes)
    return read


PATTERNS: dict[str, Callable[[h5py.Dataset, Any], int]] = {
    "one second": one_second, "one channel": one_channel, "in order": in_order,
}  # fmt: skip


def run(options: Options) -> None:
    """Write each set by both, read it in three ways, in turn, and print ratios."""
    rows = []
    for one in options.chosen():
        with tempfile.TemporaryDirectory() as folder:
            rows.append([one.title, *measure(one, Path(folder), options)])
    print(f"reading with plain h5py, the file in the page cache, {options.repeats} runs, medians. {machine()}")
    print("seconds from neuroconv's file / from dandify's = how many times faster\n")
    print(table(["", *PATTERNS], rows, markdown=options.markdown))


def measure(one: Any, folder: Path, options: Options) -> list[str]:
    """Give a cell for each pattern."""
    raw, files = folder / "raw.dat", {}
    one.write(raw, options.megabytes)
    for name, way in WAYS.items():
        files[name] = folder / f"{name}.nwb"
        apart("writing", one.name, way, raw, files[name], options.memory)
        files[name].read_bytes()  # into the page cache
    cells = []
    for read in PATTERNS.values():
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        sizes = set()
        for name in in_turn(list(WAYS), options.repeats):
            with data_of(files[name]) as (data, _):
                begun = time.perf_counter()
                sizes.add(read(data, one))
                seconds[name].append(time.perf_counter() - begun)
        if len(sizes) != 1:
            raise AssertionError(f"{one.name}: {sizes} bytes were read")
        base, own = median(seconds["neuroconv"]), median(seconds["dandify"])
        cells.append(f"{base:.3f} / {own:.3f} = {base / own:.2f}x")
    return cells
