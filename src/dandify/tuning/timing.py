"""Wall and CPU seconds of runs on all cores, and the speed that several of them tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

_TICK_S = 0.05  # of CPU time: a clock of Windows goes on by 16 ms at a time


@dataclass(frozen=True)
class Timing:
    """What something took on all cores: wall seconds, and CPU seconds of all threads."""

    wall_s: float
    cpu_s: float

    def __add__(self, other: Timing) -> Timing:
        """One after the other."""
        return Timing(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def __mul__(self, times: float) -> Timing:
        """Give what so many times as much takes."""
        return Timing(self.wall_s * times, self.cpu_s * times)


def time_call(call: Callable[[], object]) -> Timing:
    """Call, and take the time; nothing else may be at work in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def megabytes_a_second(runs: Sequence[tuple[Timing, int]]) -> float:
    """Raw megabytes a second of all cores, out of the timings and raw bytes of several runs.

    CPU seconds are much the same however busy a machine is, and their median counts. How many cores were at work
    meanwhile is told by the run that was disturbed the least: what else a machine has to do only ever makes them fewer.
    """
    if min(timing.cpu_s for timing, _ in runs) < _TICK_S:
        return median(size / 1e6 / max(1e-7, timing.wall_s) for timing, size in runs)
    cpu_s = median(timing.cpu_s / (size / 1e6) for timing, size in runs)
    return 1 / (cpu_s * min(timing.wall_s / timing.cpu_s for timing, _ in runs))
