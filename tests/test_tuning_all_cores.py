"""Runs of the engine on all cores, by which tuning predicts how long a file takes."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dandify.store.plan import plan_dataset
from dandify.store.transforms import Transform
from dandify.tuning import machine
from dandify.tuning.all_cores import AllCores
from dandify.tuning.candidates import Candidate, candidates_for
from dandify.tuning.machine import MEMORY_BYTES, Repeated, _as_long, run_engine
from dandify.tuning.material import side_by_side
from dandify.tuning.reading import patterns_of
from dandify.tuning.schedule import plan_rounds
from dandify.tuning.timing import Timing, megabytes_a_second
from tuning_cases import Endless, material, noise


def test_speed_on_all_cores_is_cpu_time_by_the_least_disturbed_run() -> None:
    """CPU seconds of a run on two cores, of which the first was stopped by other programs for half of the time."""
    disturbed, usual, slower = Timing(0.4, 0.2), Timing(0.11, 0.2), Timing(0.13, 0.22)
    assert megabytes_a_second([(t, 100_000_000) for t in (disturbed, usual, slower)]) == pytest.approx(100 / 0.11)
    assert megabytes_a_second([(usual, 50_000_000), (disturbed, 100_000_000)]) == pytest.approx(
        1 / ((0.2 / 50 + 0.2 / 100) / 2 * 0.55)
    )
    quick = [Timing(0.02, 0.0), Timing(0.01, 0.016), Timing(0.03, 0.016)]  # a clock of Windows
    assert megabytes_a_second([(t, 10_000_000) for t in quick]) == pytest.approx(500)


@given(st.integers(1, 60), st.integers(0, 300), st.integers(1, 90))
def test_repeated_values_are_the_values_again_and_again(there: int, start: int, size: int) -> None:
    values = np.arange(there * 3).reshape(there, 3)
    source = Repeated(values, (start + size, 3), 0, (there, 3))
    np.testing.assert_array_equal(source[start : start + size, 1:], values[np.arange(start, start + size) % there, 1:])


@pytest.mark.parametrize(
    ("chunks", "wanted_bytes", "shape"),
    [
        ((1000, 4), 0, (1000, 16)),  # 2 chunks for each of 2 workers
        ((1000, 4), 400_000, (13_000, 16)),
        ((1000, 4), 10**9, (20_000, 16)),  # the stream is no longer
        ((20_000, 1), 0, (20_000, 4)),  # 4 chunks, of fewer channels
        ((50_000, 16), 0, (20_000, 16)),
    ],
)
def test_files_are_as_long_as_is_wanted(
    chunks: tuple[int, ...], wanted_bytes: float, shape: tuple[int, ...], tmp_path: Path
) -> None:
    values = noise(3000)
    found = next(c for c in candidates_for(material(values), "any", (), [chunks])[0] if c.codec.key == "gzip:isal")
    run = run_engine(
        found.codec.make([values]), values, chunks, patterns_of(material(Endless(20_000, 16))), rows=20_000, axis=0,  # type: ignore[arg-type]
        block=(500, 16), wanted_bytes=wanted_bytes, backend="hdf5", workers=2, folder=tmp_path,
    )  # fmt: skip
    assert run.raw_bytes == prod(shape) * 2
    assert run.chunks == tuple(map(min, chunks, (20_000, 16)))
    assert set(run.chunk_s) == {p.name for p in patterns_of(material(Endless(20_000, 16)))}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backend", ["hdf5", "zarr"])
def test_files_of_several_slabs_hold_the_values_again_and_again(backend: str, tmp_path: Path) -> None:
    """Of 8 MB each: none may reach over the end of the values, which are no whole number of them."""
    values, rows = noise(300_000), 900_000
    found = candidates_for(material(values, backend), "any", (), [(50_000, 4)])[0][0]
    run = run_engine(
        found.codec.make([values]), values, found.chunks, patterns_of(material(Endless(rows, 16))), rows=rows, axis=0,  # type: ignore[arg-type]
        block=(500, 16), wanted_bytes=1e9, backend=backend, workers=2, folder=tmp_path,
    )  # fmt: skip
    assert run.raw_bytes == rows * 32  # and all of it was compared


def test_a_file_that_takes_next_to_no_time_is_written_again_and_again(tmp_path: Path) -> None:
    values = noise(500)
    found = candidates_for(material(values), "any", (), [(500, 16)])[0][0]
    run = run_engine(
        found.codec.make([values]), values, (500, 16), patterns_of(material(values)), rows=500, axis=0,  # type: ignore[arg-type]
        block=(500, 16), wanted_bytes=1e9, backend="hdf5", workers=2, folder=tmp_path, least_cpu_s=0.02,
    )  # fmt: skip
    assert run.raw_bytes % values.nbytes == 0
    assert run.timing.cpu_s >= 0.02 or run.raw_bytes == 50 * values.nbytes
    assert run.raw_bytes > values.nbytes


def test_the_first_writing_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What such chunks need is loaded or compiled then."""
    write, written = machine._write, list[Timing]()

    def noted(*asked: Any) -> Timing:
        write(*asked)
        written.append(Timing(10.0 ** len(written), 1.0))
        return written[-1]

    monkeypatch.setattr(machine, "_write", noted)
    values = noise(500)
    codec = candidates_for(material(values), "any", (), [(500, 16)])[0][0].codec
    cores = AllCores(material(values), lambda _: values, {(): ()}, patterns_of(material(values)), 2, tmp_path)
    runs = [
        cores.run(Candidate(codec, (500, 16)), codec.make([values]), 1e9, read_bytes=read_bytes, cpu_s=0.0)
        for read_bytes in (1e9, 0)
    ]
    assert [run.timing.wall_s for run in runs] == [10.0, 100.0]
    assert [len(run.chunk_s) for run in runs] == [3, 0]


@given(st.integers(1, 50), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1e5))
def test_whole_chunks_are_read_and_no_more_than_are_wanted(
    rows: int, columns: int, deep: int, wide: int, wanted_bytes: float
) -> None:
    source, chunks = Repeated(np.zeros((rows, columns), "<i2"), (rows, columns), 0, (1, 1)), (deep, wide)
    sizes = [part.stop for part in machine._beginning(source, chunks, 0, wanted_bytes)]
    for size, chunk, length in zip(sizes, chunks, source.shape, strict=True):
        assert size == length or size % chunk == 0
    least = min(deep, rows) * 2  # bytes of a channel
    assert prod(sizes) * 2 <= max(wanted_bytes, 0) + least * wide


@pytest.mark.parametrize("backend", ["hdf5", "zarr"])
@pytest.mark.parametrize("key", ["engine", "foreign"])
def test_transforms_are_proved_and_applied_in_the_time_to_write(backend: str, key: str, tmp_path: Path) -> None:
    """`convert` reads all values to prove them before it writes, and changes them while it writes."""
    values = (noise(400_000) // 4 * 4 + 3).astype("<i2")
    recording = material(values, backend)
    even = {(): (), ("divide",): (Transform("divide", 3, 4),)}
    found, _ = candidates_for(recording, "python" if backend == "zarr" else "plugins", ["divide"], [(100_000, 16)])
    codec = next(c.codec for c in found if (c.codec.compression is None) == (key == "foreign"))
    cores = AllCores(recording, lambda _: values, even, patterns_of(recording), 2, tmp_path)
    proved = cores.proof(("divide",))
    assert cores.proof(()) is None
    assert proved is not None
    assert 0 < proved.wall_s < 1  # of a megabyte
    cores = replace(cores, _proofs={("divide",): Timing(7.0, 9.0)})
    run = cores.run(Candidate(codec, (100_000, 16), ("divide",)), codec.make([values]), 2e6, read_bytes=1e6, cpu_s=0.0)
    assert run.timing.wall_s > 7 * run.raw_bytes / 1e6
    assert run.timing.cpu_s > 9 * run.raw_bytes / 1e6
    wrong = replace(cores, joined=lambda _: values + 1, _values={})
    with pytest.raises(ValueError, match="cannot be divided exactly"):  # they are applied where it is written
        wrong.run(Candidate(codec, (100_000, 16), ("divide",)), codec.make([values]), 2e6, read_bytes=0, cpu_s=0.0)


@pytest.mark.parametrize("rows", [7, 43, 44, 300])
def test_no_slab_reaches_over_the_end_of_the_values(rows: int) -> None:
    """Rows would be gathered one by one there, which takes longer than to encode them."""
    values = noise(rows * 1000, 384)
    source = _as_long(values, (65_000, 1), 300_000, 0, (500, 384), 1e12, 2)
    slab = plan_dataset(source.shape, values.dtype, memory_bytes=MEMORY_BYTES, workers=2, chunks=(65_000, 1),
                        block=(500, 384)).slab[0]  # fmt: skip
    assert source.values.shape[0] % slab == 0 or source.values.shape[0] == 300_000
    assert np.shares_memory(source[slab : 2 * slab, :], source.values)


@pytest.mark.parametrize(("seconds", "repeats"), [(60, 3), (30, 3), (300, 3), (5, 2)])
@pytest.mark.parametrize(("backend", "readers"), [("hdf5", "any"), ("hdf5", "plugins"), ("zarr", "python")])
def test_finalists_are_timed_more_than_once(backend: str, readers: str, seconds: float, repeats: int) -> None:
    found, _ = candidates_for(material(Endless(30_000_000, 384), backend), readers, ["recentre"])
    assert plan_rounds(found, 160, seconds, "balanced").repeats == repeats


def test_parts_of_frames_are_laid_side_by_side() -> None:
    parts = [np.full((5 + k, 30, 50), k) for k in range(5)]
    (whole,) = side_by_side(parts, (40, 60, 120), 0)
    assert [[int(v) for v in row] for row in whole[0, ::30, ::50]] == [[0, 1], [2, 3]]
    assert whole.shape == (5, 60, 100)
    assert side_by_side(parts, (40, 30, 50), 0)[3].shape == (5, 30, 50)
