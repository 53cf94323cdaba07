"""The benchmark runs, and finds that both writers hold the same samples."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest


@pytest.mark.filterwarnings("ignore")  # those of neuroconv's own writer
def test_it_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    importlib.import_module("benchmarks.bench_write_nwb").run(megabytes=2, repeats=1)
    printed = capsys.readouterr().out
    assert printed.count("dandify, HDF5, not verified") == 2
    for name in [n for n in sys.modules if n.startswith("benchmarks")]:
        del sys.modules[name]


def test_the_encoders_are_compared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    importlib.import_module("benchmarks.bench_deflate").run(megabytes=1, repeats=1)
    printed = capsys.readouterr().out
    assert "planar" in printed
    assert "ap_levels" in printed
    for name in [n for n in sys.modules if n.startswith("benchmarks")]:
        del sys.modules[name]
