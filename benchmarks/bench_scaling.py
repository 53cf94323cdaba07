"""Seconds for each gigabyte, and memory, as recordings get longer: ``--gb 1,4,8``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import Options, apart, in_turn, machine, middle, table
from benchmarks.writing import remove

SET, WAYS = "ap_levels", ("dandify, HDF5, not verified", "dandify, HDF5")


def run(options: Options) -> None:
    """Write one set at several sizes."""
    if not options.gigabytes:
        print("scaling: no sizes were asked for (--gb 1,4,8)\n")
        return
    from recording_sets import SETS

    rows = []
    for gigabytes in options.gigabytes:
        with tempfile.TemporaryDirectory() as folder:
            raw, out = Path(folder) / "raw.dat", Path(folder) / "a.nwb"
            size = SETS[SET].write(raw, gigabytes * 1000)
            runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for way in in_turn(WAYS, options.repeats):
                runs[way].append(apart("writing", SET, way, raw, out, options.memory))
                remove(out)
        for way, found in runs.items():
            wall, cpu, peak = (middle(found, key) for key in ("wall_s", "cpu_s", "peak_bytes"))
            rows.append(
                [way, f"{size / 1e9:g}", f"{wall:.1f}", f"{wall / size * 1e9:.2f}", f"{cpu / size * 1e9:.2f}",
                 f"{peak / 1e6:.0f}"]
            )  # fmt: skip
    print(f"scaling, {SETS[SET].title}, --memory {options.memory}, {options.repeats} runs, medians. {machine()}\n")
    print(table(["", "GB", "s", "s/GB", "CPU s/GB", "peak MB over before"], rows, markdown=options.markdown))
