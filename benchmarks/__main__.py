"""Runs every ``bench_*.py`` of this folder: ``python -m benchmarks [--mb N] [--only NAME]``."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--mb", type=int, default=150, help="raw megabytes of each data set")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each writer; the median counts")
    parser.add_argument("--only", help="the benchmark whose name contains this")
    options = parser.parse_args()
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    for file in sorted(Path(__file__).parent.glob("bench_*.py")):
        if options.only is None or options.only in file.stem:
            importlib.import_module(f"benchmarks.{file.stem}").run(options.mb, options.repeats)


if __name__ == "__main__":
    main()
