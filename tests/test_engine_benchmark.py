"""Each benchmark runs, at a small size, and finds that all writers hold the same samples."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recording_sets import CLIPS, MADE, RecordingSet


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of benchmarks/, which is no part of what is installed."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    yield lambda name: importlib.import_module(f"benchmarks.{name}")
    for name in [n for n in sys.modules if n.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


@pytest.mark.parametrize("one", MADE, ids=lambda one: one.name)
@pytest.mark.filterwarnings("ignore")  # those of neuroconv's own writer
def test_both_writers_hold_what_the_set_is(one: RecordingSet, benchmarks: Any, tmp_path: Path) -> None:
    writing, bench = benchmarks("writing"), benchmarks("bench_write_nwb")
    raw = tmp_path / "raw.dat"
    one.write(raw, 1.5)
    for way in ("neuroconv, HDF5", "dandify, HDF5"):
        write, name = writing.WAYS[way]
        write(writing.new_file(one, raw), tmp_path / name, "500MB")
        with writing.data_of(tmp_path / name) as (data, stored):
            bench.same(one, raw, data, way)
            assert 0 < stored < raw.stat().st_size


def test_a_difference_is_found(benchmarks: Any, tmp_path: Path) -> None:
    one, raw = MADE[0], tmp_path / "raw.dat"
    one.write(raw, 1)
    values = np.array(one.map(raw))
    values[-1, -1] += 1
    with pytest.raises(AssertionError, match="differs from the raw file"):
        benchmarks("bench_write_nwb").same(one, raw, values, "a writer")


@pytest.mark.parametrize("one", MADE, ids=lambda one: one.name)
def test_a_set_begins_alike_however_long_it_is(one: RecordingSet, tmp_path: Path) -> None:
    short, long = tmp_path / "short.dat", tmp_path / "long.dat"
    one.write(short, 1)
    size = one.write(long, 17)  # two blocks
    assert long.stat().st_size == size
    assert long.read_bytes()[: short.stat().st_size] == short.read_bytes()


@pytest.mark.skipif(not CLIPS, reason="real data absent (set DANDIFY_SHARED_DATA to the folder that holds it)")
def test_a_clip_is_as_long_as_it_is(tmp_path: Path) -> None:
    size = CLIPS[0].write(tmp_path / "raw.dat", 500)
    assert size == (tmp_path / "raw.dat").stat().st_size
    assert len(CLIPS[0].map(tmp_path / "raw.dat")) == size // CLIPS[0].row_bytes


def test_the_verbs_that_are_measured_on_dandisets(benchmarks: Any, tmp_path: Path) -> None:
    dandisets = benchmarks("dandisets")
    dandisets.write_recordings(tmp_path / "made", 3)
    assert 40 < dandisets.write_image(tmp_path / "made" / "volume.ome.zarr", 48) < 60
    found = {verb: run(tmp_path / "made", tmp_path / "dandiset") for verb, run in dandisets.VERBS.items()}
    assert (found["organize"], found["validate"]) == (4, [])
    assert "README.md" in found["describe"]


@pytest.mark.slow
def test_dandisets_are_measured(benchmarks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks("bench_dandiset").run(benchmarks("harness").Options(assets=8, files=128))
    table = capsys.readouterr().out.splitlines()
    rows = {line.split("  ")[0]: line.split()[-5] for line in table if line.startswith(("organize", "validate"))}
    assert rows == {
        "organize, NWB files": "8", "validate, NWB files": "8",
        "organize, files of a Zarr": "131", "validate, files of a Zarr": "131",
    }  # fmt: skip
    assert any(line.startswith("dandi validate, NWB files") for line in table)


def test_growth_beyond_what_is_allowed_is_named(benchmarks: Any) -> None:
    misses = benchmarks("bench_dandiset")._misses
    quarter = {"items": 1000, "s": 0.1, "MB": 50.0}
    assert misses("x", quarter, {"items": 4000, "s": 0.12, "MB": 65.0}) == []
    slow, large = misses("x", quarter, {"items": 4000, "s": 0.2, "MB": 80.0})
    assert "2.00 times as long for each" in slow
    assert "80 MB, and 50 MB for a quarter" in large


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("bench_write_nwb", ["NWB HDF5", "NWB Zarr", "codec alone"]),
        ("bench_read_nwb", ["one second", "TTL lines"]),
        ("bench_scaling", ["s/GB", "dandify, HDF5, not verified"]),
        ("bench_deflate", ["planar", "ap_levels"]),
        ("bench_ome_zarr", ["tensorstore (v2)", "ome-zarr-py, dask", "zstd"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_runs(name: str, printed: list[str], benchmarks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ("zstd",) if name == "bench_ome_zarr" else ("ttl",)
    options = benchmarks("harness").Options(
        megabytes=1, repeats=1, sets=sets, markdown=name == "bench_write_nwb", gigabytes=(0.002,), memory="500MB"
    )
    benchmarks(name).run(options)
    found = capsys.readouterr().out
    assert [words for words in printed if words not in found] == []
