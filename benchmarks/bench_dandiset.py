"""organize, describe and validate of thousands of assets, and of a Zarr of many files: time and memory as they grow."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import dandisets
from benchmarks.harness import Options, apart, machine, table

SAMPLE = 200  # assets that `dandi validate` is given: it would take hours over all
# Growth from a quarter to the whole that counts as linear (in CPU time: a clock's is also that of whatever else the
# machine does in this half an hour), and as flat: by this factor, and by what the names, verdicts and checksums (in a
# Zarr's manifest) of the items take.
PER_ITEM, MEMORY, ITEM_MB = 1.25, 1.25, 1e-3
_PARTS = 4


def run(options: Options) -> None:
    """Measure both kinds at a quarter of their number and at all of it, and `dandi validate` beside them."""
    rows, misses = [], []
    for what, number, write in (
        ("NWB files", options.assets, dandisets.write_recordings), ("files of a Zarr", options.files, _one_image),
    ):  # fmt: skip
        for row, missed in _measure(what, number, write):
            print(" | ".join(filter(None, row)), file=sys.stderr, flush=True)
            rows.append(row)
            misses += missed
    head = ["", "number", "s", "per s", "CPU ms each", "peak MB"]
    print(f"dandisets: each verb in a fresh process, one run. {machine()}\n")
    print(table(head, rows, markdown=options.markdown))
    for line in misses:
        print(f"missed: {line}")


def _one_image(folder: Path, files: int) -> int:
    folder.mkdir(parents=True)
    return dandisets.write_image(folder / "volume.ome.zarr", files)


def _measure(
    what: str, number: int, write: Callable[[Path, int], int]
) -> Iterator[tuple[list[str], list[str]]]:  # fmt: skip
    """Yield rows, and what was neither linear nor flat."""
    quarter: dict[str, dict[str, float]] = {}
    for asked in (number // _PARTS, number):
        with tempfile.TemporaryDirectory() as folder:
            made, dandiset = Path(folder) / "made", Path(folder) / "dandiset"
            count = write(made, asked)
            for verb in dandisets.VERBS:
                found = apart("dandisets", verb, made, dandiset)
                if verb == "validate" and found["result"]:
                    raise AssertionError(f"{what}: validate found {found['result']}")
                each = {"items": count, "s": found["cpu_s"] / count, "MB": found["peak_bytes"] / 1e6}
                missed = _misses(f"{verb}, {what}", quarter.setdefault(verb, each), each)
                yield (
                    [f"{verb}, {what}", f"{count}", f"{found['wall_s']:.1f}", f"{count / found['wall_s']:.1f}",
                     f"{found['cpu_s'] / count * 1e3:.2f}", f"{each['MB']:.0f}"],
                    missed,
                )  # fmt: skip
            if asked == number or what != "NWB files":
                yield _beside(what, count, dandiset), []


def _misses(what: str, quarter: dict[str, float], whole: dict[str, float]) -> list[str]:
    found = []
    if whole["s"] > PER_ITEM * quarter["s"]:
        times = whole["s"] / quarter["s"]
        found.append(f"{what}: {times:.2f} times as long for each (CPU), with {_PARTS} times as many")
    if whole["MB"] > MEMORY * quarter["MB"] + ITEM_MB * (whole["items"] - quarter["items"]):
        found.append(f"{what}: {whole['MB']:.0f} MB, and {quarter['MB']:.0f} MB for a quarter")
    return found


def _beside(what: str, count: int, dandiset: Path) -> list[str]:
    """Run `dandi validate` on the same tree, of recordings on some of them."""
    paths, name, seen = [dandiset], f"dandi validate, {what}", count
    if what == "NWB files":
        paths = sorted(dandiset.glob("sub-*/*.nwb"))[:SAMPLE]
        seen = len(paths)
        name += f", {seen} of them" if seen < count else ""
    else:
        name += ", its root only"  # it opens no array and looks at no chunk of a Zarr v2
    command = [str(Path(sysconfig.get_path("scripts")) / "dandi"), "validate", *map(str, paths)]
    quiet = os.environ | {"DANDI_NO_ET": "1", "DANDI_CACHE": "ignore"}
    begun, cpu = time.perf_counter(), os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet, cwd=dandiset)
    seconds, now = time.perf_counter() - begun, os.times()
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:3])} ...:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    cpu_s = now.children_user + now.children_system - cpu.children_user - cpu.children_system
    return [name, f"{seen}", f"{seconds:.1f}", f"{seen / seconds:.1f}", f"{cpu_s / seen * 1e3:.2f}", ""]
