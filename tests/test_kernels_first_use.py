"""Who uses dandify for the first time is told why nothing happens for a while, once, and nobody else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMPILE = """
import time, dandify.kernels.jit as jit
from dandify.cli.main import main
main.callback(project=None)
jit._SECONDS = float({seconds!r})
@jit.compiled
def twice(x):
    return x + x
twice(1), twice(1.0), twice(1j)
"""


@pytest.mark.parametrize(("seconds", "said"), [("0", 1), ("60", 0)])
def test_compiling_is_told_once_if_it_takes_long(tmp_path: Path, seconds: str, said: int) -> None:
    code = tmp_path / "code.py"  # numba caches what is in a file
    code.write_text(COMPILE.format(seconds=seconds))
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, code], capture_output=True, text=True, env=env, check=True, timeout=300)
    assert done.stderr.count("compiling for this processor") == said
    assert "compiling" not in done.stdout
    again = subprocess.run([sys.executable, code], capture_output=True, text=True, env=env, check=True, timeout=300)
    assert "compiling" not in again.stderr  # it is in the cache
