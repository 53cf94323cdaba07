"""Options of a run, measuring a call, calls in fresh processes, and tables."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the sets are those of the tests


@dataclass(frozen=True)
class Options:
    """What `python -m benchmarks` is asked for.

    Attributes
    ----------
    megabytes
        Of each set, raw.
    repeats
        Runs of each way; the median counts.
    sets
        Names of sets; all if empty.
    markdown
        Tables as Markdown.
    gigabytes
        Sizes of the scaling benchmark; it is skipped if empty.
    memory
        Cap given to dandify.
    assets, files
        Of the synthetic dandisets: NWB files in one, files of the Zarr in the other.
    """

    megabytes: float = 150
    repeats: int = 3
    sets: tuple[str, ...] = ()
    markdown: bool = False
    gigabytes: tuple[float, ...] = ()
    memory: str = "1GB"
    assets: int = 10_000
    files: int = 100_000

    def chosen(self) -> list[Any]:
        """Sets that were asked for."""
        from recording_sets import SETS

        unknown = set(self.sets) - set(SETS)
        if unknown:
            raise SystemExit(f"no set {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
        return [SETS[name] for name in self.sets or SETS]


def measured(call: Callable[[], object]) -> dict[str, float]:
    """Wall seconds, CPU seconds of all threads and processes, and bytes of memory at the peak above those before.

    Memory is that of this process and of those that it started. Pages of mapped files are not counted where the system
    tells them apart (Linux): they are the page cache's.
    """
    gc.collect()
    own, over = psutil.Process(), threading.Event()
    before = peak = _memory(own)

    def watch() -> None:
        nonlocal peak
        started: list[psutil.Process] = []
        looked = 0.0
        while not over.wait(0.005 if not started else 0.1):
            if time.monotonic() - looked > 1:  # it is looked through all processes of the machine
                started, looked = own.children(recursive=True), time.monotonic()
            peak = max(peak, _memory(own, *started))

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), os.times()
    try:
        call()
    finally:
        wall, now = time.perf_counter() - wall, os.times()
        over.set()
        watcher.join()
    seconds = now.user + now.system + now.children_user + now.children_system
    seconds -= cpu.user + cpu.system + cpu.children_user + cpu.children_system
    return {"wall_s": wall, "cpu_s": seconds, "peak_bytes": max(peak, _memory(own)) - before}


def _memory(*processes: psutil.Process) -> int:
    total = 0
    for one in processes:
        with suppress(psutil.Error):  # one that has ended
            found = one.memory_info()
            total += int(found.rss - getattr(found, "shared", 0))
    return total


def apart(module: str, *arguments: object) -> dict[str, Any]:
    """Run ``python -m benchmarks.MODULE ARGUMENTS`` in a fresh process; its last line is JSON."""
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def middle(runs: Sequence[dict[str, Any]], key: str) -> float:
    """Median over runs."""
    return median(float(run[key]) for run in runs)


def in_turn(names: Sequence[str], repeats: int) -> list[str]:
    """Names in alternating order, so that a busy moment hits all of them alike."""
    return [name for turn in range(repeats) for name in (names if turn % 2 == 0 else names[::-1])]


def machine() -> str:
    """The machine, as a table's caption names it."""
    import platform

    memory = psutil.virtual_memory().total / 2**30
    cores = f"{os.cpu_count()} cores ({_processor()})"
    return f"{platform.system()} {platform.machine()}, {cores}, {memory:.0f} GB, Python {platform.python_version()}"


def _processor() -> str:
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Rows as Markdown, or in columns; the first column is text, the others are numbers."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    cells = [[c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))]
             for r in (head, *rows)]  # fmt: skip
    if not markdown:
        return "\n".join("  ".join(row) for row in cells) + "\n"
    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:])) + "\n"
