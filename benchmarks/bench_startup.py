"""How long a person waits for `dandify --help`, beside what starting Python costs and beside other tools' help."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from statistics import median

from benchmarks.harness import Options

ALLOWED_S = 0.3  # over `python -c pass`
_TIMES = 7


def run(options: Options) -> None:
    """Print a table; sizes do not matter here."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "dandify --help": [_script("dandify"), "--help"],
        "dandify formats": [_script("dandify"), "formats"],
        "dandi --help": [_script("dandi"), "--help"],
        "nwbinspector --help": [_script("nwbinspector"), "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(max(options.repeats, _TIMES)):  # in turn, so that a busy moment meets all of them
        for name, command in commands.items():
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - begin)
    base = median(seconds["python -c pass"])
    print(f"start-up ({max(options.repeats, _TIMES)} runs, medians)")
    for name, values in seconds.items():
        over = median(values) - base
        print(f"  {name:<22} {median(values):6.3f} s   {over:+6.3f} s over python")
    over = median(seconds["dandify --help"]) - base
    verdict = "ok" if over < ALLOWED_S else "TOO SLOW"
    print(f"  dandify --help: {over:.3f} s over python, {ALLOWED_S} s allowed: {verdict}\n")


def _script(name: str) -> str:
    """Path of a command of this environment."""
    found = shutil.which(name, path=sysconfig.get_path("scripts"))
    if found is None:
        raise FileNotFoundError(Path(sysconfig.get_path("scripts")) / name)
    return found
