"""Runs the ``bench_*.py`` of this folder: ``python -m benchmarks [--mb N] [--only NAME] [--sets ap,lfp]``."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks.harness import Options, machine


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--mb", type=float, default=150, help="raw megabytes of each data set")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each writer; the median counts")
    parser.add_argument("--only", help="the benchmark whose name contains this")
    parser.add_argument("--sets", default="", help="names of data sets, with commas; all otherwise")
    parser.add_argument("--markdown", action="store_true", help="tables as Markdown")
    parser.add_argument("--gb", default="", help="sizes of the scaling benchmark, with commas: 1,4,8; none otherwise")
    parser.add_argument("--memory", default="1GB", help="cap of dandify's memory")
    parser.add_argument("--assets", type=int, default=10_000, help="NWB files of the synthetic dandiset")
    parser.add_argument("--files", type=int, default=100_000, help="files of its Zarr")
    asked = parser.parse_args()
    options = Options(
        asked.mb, asked.repeats, tuple(filter(None, asked.sets.split(","))), asked.markdown,
        tuple(float(size) for size in asked.gb.split(",") if size), asked.memory,
        asked.assets, asked.files,
    )  # fmt: skip
    print(f"{machine()}\n")
    for file in sorted(Path(__file__).parent.glob("bench_*.py")):
        if asked.only is None or asked.only in file.stem:
            importlib.import_module(f"benchmarks.{file.stem}").run(options)


if __name__ == "__main__":
    main()
