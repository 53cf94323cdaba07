"""The tuning room: what is read, what is measured, and what is chosen."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.sources.arrays import MemoryArray
from dandify.store.region import grid
from dandify.tuning.candidates import Candidate, candidates_for
from dandify.tuning.codecs import Codec, codecs_for
from dandify.tuning.coders import raw_of
from dandify.tuning.material import Archive
from dandify.tuning.objective import OBJECTIVES, Figures, best_of, front, score
from dandify.tuning.race import Race
from dandify.tuning.reading import chunks_touched, count, patterns_of
from dandify.tuning.result import StreamResult
from dandify.tuning.sampling import allowance, take_sample
from dandify.tuning.schedule import LEAST_TIMED_S, MOST_TIMED_S, plan_rounds
from dandify.tuning.trial import Tally, chunks_of, whole_chunks
from dandify.tuning.tune import TuningStep
from tuning_cases import Endless, material, noise, tuned

EVEN = np.zeros((6000, 16), "<i2")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing out because this machine is busy: which rows there are would depend on what runs beside."""
    monkeypatch.setattr("dandify.tuning.race._GRACE_S", 600.0)


@pytest.mark.parametrize("gigabytes", [2.1, 9.0, 400.0])
def test_of_large_files_two_percent_are_read(gigabytes: float) -> None:
    source = Endless(int(gigabytes * 1e9) // 128)
    sample = take_sample(material(source), allowance(source.nbytes), seed=1)
    assert sample.touched_bytes == sum(source.read_bytes)
    assert sum(source.read_bytes) <= min(0.02 * source.nbytes, 2e9)
    assert len(sample.windows) == 8
    long = take_sample(material(source), allowance(source.nbytes), seed=1, rows=200_000)
    assert len(long.windows) == 4 + (gigabytes > 3) * 2
    assert long.windows[0].values.shape[0] >= 200_000 * (gigabytes > 3)
    assert long.touched_bytes <= min(0.02 * source.nbytes, 2e9)


def test_start_end_loudest_and_quietest_are_among_the_windows() -> None:
    source = Endless(30_000_000, loud=20_000_000, quiet=7_000_000)
    sample = take_sample(material(source), allowance(source.nbytes), seed=1)
    start = {w.place: w.region[0].start for w in sample.windows}
    assert start["start"] == 0
    assert sample.windows[-1].region[0].stop == source.samples
    assert abs(start["loudest"] - source.loud) < source.samples / 16
    assert abs(start["quietest"] - source.quiet) < source.samples / 16
    assert sum(w.weight for w in sample.windows) == pytest.approx(1)
    loud = [w.weight for w in sample.windows if abs(w.region[0].start - source.loud) < source.samples / 16]
    assert sum(loud) == pytest.approx(1 / 8, abs=0.05)  # it is that loud for an eighth of the time
    other = take_sample(material(source), allowance(source.nbytes), seed=2)
    assert [w.region for w in other.windows] != [w.region for w in sample.windows]


def test_of_few_large_planes_windows_lie_beside_one_another() -> None:
    """An image whose noise grows from top to bottom: the middle alone, or one window, would not stand for it."""
    rng = np.random.default_rng(4)
    values = (rng.normal(0, 1, (20, 1024, 512)) * np.geomspace(1, 500, 1024)[:, None]).astype("<i2")
    image = material(values, "ome-zarr", 2)
    sample = take_sample(image, values.nbytes, 0, rows=20, measured_bytes=values.nbytes // 2)
    assert len(sample.windows) == 4
    assert len({w.region[1].start for w in sample.windows}) == 4
    assert all(w.region[0] == slice(0, 20) for w in sample.windows)
    assert sample.touched_bytes <= values.nbytes
    assert sum(w.weight * float(np.log(np.abs(w.values) + 1.0).mean()) for w in sample.windows) == pytest.approx(
        float(np.log(np.abs(values) + 1.0).mean()), rel=0.1
    )


def test_windows_that_are_most_of_a_stream_stand_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that grows louder: windows are not as loud on average as probes of a few samples are."""
    rng = np.random.default_rng(4)
    values = (rng.normal(0, 1, (40_000, 16)) * np.geomspace(1, 1000, 40_000)[:, None]).astype("<i2")
    sample = take_sample(material(values), values.nbytes, 0, rows=9600, measured_bytes=values.nbytes // 2)
    assert not sample.whole
    weights = [w.weight for w in sample.windows]
    assert weights != [pytest.approx(w.values.nbytes / sample.nbytes) for w in sample.windows]
    monkeypatch.setattr("dandify.tuning.sampling.COVERED", 0.7)  # it is 71 % of it
    sample = take_sample(material(values), values.nbytes, 0, rows=9600, measured_bytes=values.nbytes // 2)
    assert [w.weight for w in sample.windows] == [w.values.nbytes / sample.nbytes for w in sample.windows]


def test_blocks_that_are_read_as_a_whole_are_counted_so() -> None:
    @dataclass(frozen=True, eq=False)
    class Pages(MemoryArray):
        @property
        def block(self) -> tuple[int, ...]:
            return (10, 100, 100)

    movie = material(Pages(np.zeros((4000, 100, 100), "<u2")), inner=2)
    assert movie.grain == (10, 100, 100)
    sample = take_sample(movie, movie.raw_bytes, seed=0)
    assert all(w.region[0].start % 10 == 0 for w in sample.windows)
    assert sample.touched_bytes >= 200_000 * 32  # 32 probes of a page each


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(0, 8), st.integers(1, 9)), min_size=1,
             max_size=3)
)  # fmt: skip
def test_requests_are_the_chunks_that_a_region_lies_in(axes: list[tuple[int, int, int, int]]) -> None:
    shape = tuple(n for n, *_ in axes)
    chunks = tuple(min(c, n) for n, c, *_ in axes)
    region = tuple(slice(min(a, n - 1), min(n, min(a, n - 1) + size)) for n, _, a, size in axes)
    inside = sum(
        all(p.start < r.stop and r.start < p.stop for p, r in zip(part, region, strict=True))
        for _, part in grid(shape, chunks)
    )
    assert chunks_touched(region, chunks) == inside


def test_reading_from_an_archive_is_requests_times_latency_and_bytes_over_bandwidth() -> None:
    recording = material(np.zeros((100_000, 64), "<i2"))
    one_second, one_channel, everything = patterns_of(recording)
    archive = Archive(0.1, 1e6)
    recording = replace(recording, backend="zarr")  # whose chunks have names
    whole = count(everything, recording, (10_000, 16), 400_000, 0.0, archive)
    assert (whole.requests, whole.stored_bytes) == (40, 400_000)
    assert whole.archive_s == pytest.approx(40 * 0.1 + 0.4)
    assert count(one_channel, recording, (10_000, 16), 400_000, 0.0, archive).requests == 10  # 100 s of it
    assert count(one_second, recording, (10_000, 16), 400_000, 0.0, archive).requests == pytest.approx(4, abs=2)


FIGURES = st.builds(
    Figures, st.floats(1e3, 1e9), st.floats(1e-3, 1e3), st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
)  # fmt: skip


@given(st.lists(FIGURES, min_size=1, max_size=8), st.sampled_from(OBJECTIVES), st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_the_order(found: list[Figures], objective: str, random: Any) -> None:
    rows = list(enumerate(found))
    best = best_of(rows, objective, lambda r: r[1], lambda r: str(r[0]))
    random.shuffle(rows)
    assert best_of(rows, objective, lambda r: r[1], lambda r: str(r[0])) == best


@given(st.lists(FIGURES, min_size=1, max_size=8))
def test_nothing_on_the_front_is_beaten_and_everything_else_is(found: list[Figures]) -> None:
    kept = front(found, lambda f: f)
    assert kept
    for one in found:
        beaten = any(
            o.stored_bytes <= one.stored_bytes and o.write_s <= one.write_s and o.read_s <= one.read_s
            and (o.stored_bytes, o.write_s, o.read_s) != (one.stored_bytes, one.write_s, one.read_s)
            for o in found
        )  # fmt: skip
        assert (one not in kept) == beaten


def test_taking_twice_as_long_must_save_a_thirtieth() -> None:
    slow = Figures(1e6 * 0.965, 2.0, (1.0,))
    assert score("balanced", slow) < score("balanced", Figures(1e6, 1.0, (1.0,)))
    assert score("balanced", replace(slow, stored_bytes=1e6 * 0.967)) > score("balanced", Figures(1e6, 1.0, (1.0,)))


@pytest.mark.parametrize("backend", ["hdf5", "zarr"])
def test_a_stream_is_measured(backend: str) -> None:
    result = tuned(material(noise(40_000), backend))
    (stream,) = result.streams
    names = [row.name for row in stream.rows]
    assert len(names) == len(set(names)) >= 4
    assert stream.role("default") is not None
    assert (stream.role("usual") is None) == (backend == "zarr")
    assert not stream.faults
    assert result.touched_bytes == 40_000 * 16 * 2
    for row in stream.rows:
        assert row.ratio > 1
        assert row.ratio_low is None  # all of it was measured
        assert min(row.encode_mbs, row.decode_mbs, row.write_mbs) > 0
        assert row.by_engine
        assert [r.name for r in row.reads] == ["one second of all channels", "ten minutes of one channel",
                                               "all in order"]  # fmt: skip
    assert {row.name for row in result.best("size").values()} <= set(names)
    smallest = stream.best("size")
    assert smallest is not None
    assert smallest.stored_bytes <= min(r.stored_bytes for r in stream.rows if r.role != "usual") * 1.002
    assert [sentence[-1] for sentence in stream.why("balanced") or ()] == [".", "."]
    table = result.to_table()
    assert len(table) == len(names)
    assert sum(record["recommended"] for record in table) == 1


def test_chunks_to_time_are_as_long_as_those_of_the_file() -> None:
    """Half as long, and our own encoder takes up to 1.6 times as long for a megabyte."""
    rows = np.arange(400)[:, None] * 10 + np.arange(6)
    windows = [rows[start : start + 100].astype("<i4") for start in (0, 100, 200, 300)]
    first, _, last = whole_chunks(windows, (250, 2), 0, 3)
    np.testing.assert_array_equal(first, rows[:250, :2])
    assert last.shape == (250, 2)
    np.testing.assert_array_equal(last[:100], rows[300:, 4:])
    assert {c.shape for c in whole_chunks(windows, (40, 6), 0, 5)} == {(40, 6)}
    assert {c.shape for c in whole_chunks(windows, (900, 1), 0, 2)} == {(400, 1)}  # more there is not


def test_chunks_at_the_edges_are_filled_as_in_files_but_not_where_a_window_ends() -> None:
    values = np.arange(1, 51).reshape(5, 10).astype("<i2")
    found = chunks_of(values, (3, 4), 0)
    assert [c.shape for c in found] == [(3, 4)] * 3 + [(2, 4)] * 3
    assert found[2].tolist() == [[9, 10, 0, 0], [19, 20, 0, 0], [29, 30, 0, 0]]
    assert {c.shape for c in chunks_of(values, (5, 40), 0)} == {(5, 10)}  # a chunk is no larger than the stream


def test_each_way_of_reading_decodes_what_it_reads() -> None:
    """All of them read the same chunk, and HDF5 would keep it decoded for the second."""
    (stream,) = tuned(material(noise(8000, 16)), budget_s=2.0).streams
    whole = next(row for row in stream.rows if row.chunks == (8000, 16))
    seconds = [read.local_s for read in whole.reads]
    assert {read.requests for read in whole.reads} == {2}  # a chunk, and the node that lists it
    assert min(seconds) > max(seconds) / 6


def test_on_a_busy_machine_the_best_is_measured_beside_what_it_is_compared_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sized = Race._sized

    def too_late(race: Race, going: Any, megabytes: float) -> Any:
        race._deadline = 0.0  # the rounds took all the time that there was
        return sized(race, going, megabytes)

    monkeypatch.setattr(Race, "_sized", too_late)
    (stream,) = tuned(material(noise(60_000)), budget_s=2.0).streams
    roles = [row.role for row in stream.rows]
    assert sorted(filter(None, roles)) == ["default", "usual"]
    assert roles.count("") == 1
    assert any("too short for this machine" in note for note in stream.notes)
    best = min(stream.rows, key=lambda row: score("balanced", row.figures))
    assert not best.role


@pytest.mark.parametrize(("backend", "inner"), [("hdf5", 1), ("zarr", 1), ("ome-zarr", 2)])
def test_on_a_machine_so_busy_that_nothing_is_measured_it_is_said(
    backend: str, inner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dandify.tuning.race._GRACE_S", -600.0)  # the time was over before it began
    (stream,) = tuned(material(noise(), backend, inner), budget_s=1.0).streams
    assert {row.role for row in stream.rows} >= {"default"}  # what there is to compare with, and little else
    assert len(stream.rows) <= 2
    (note,) = (n for n in stream.notes if "too short for this machine" in n)
    assert "candidates not at all; give it more by --budget" in note


def test_the_same_seed_gives_the_same_choice() -> None:
    values = noise(60_000)
    chosen = [{o: tuned(material(values)).best(o)["ElectricalSeries"].name for o in ("balanced", "size")}
              for _ in range(2)]  # fmt: skip
    assert chosen[0] == chosen[1]


def test_a_row_has_the_same_ratio_whoever_else_takes_part() -> None:
    """Channels and times differ, and a small budget measures a part: it must be the same part."""
    values = (
        np.random.default_rng(5).normal(0, 1, (60_000, 64))
        * np.linspace(2, 90, 64)
        * np.linspace(1, 4, 60_000)[:, None]
    ).astype("<i2")
    first, second = (
        {row.name: row.ratio for row in tuned(material(values, "zarr"), readers=readers).streams[0].rows}
        for readers in ("any", "python")
    )
    assert first.keys() & second.keys()
    assert {name: first[name] for name in first.keys() & second.keys()} == {
        name: second[name] for name in first.keys() & second.keys()
    }


@pytest.mark.parametrize(
    ("seconds", "objective", "megabytes"),
    [(60, "balanced", 64), (20, "balanced", 64), (19, "balanced", 32), (1, "balanced", 2), (20, "size", 16)],
)
def test_the_budget_alone_says_how_much_sizes_are_taken_from(seconds: int, objective: str, megabytes: int) -> None:
    found = candidates_for(material(noise()), "any", (), [(6000, 4), (6000, 16)])[0]
    assert plan_rounds(found, 160, seconds, objective).final_mb == megabytes
    assert plan_rounds(found[:3], 160, seconds, objective).final_mb == megabytes
    for some in (found, found[:3]):  # less would time how threads and files are begun
        plan = plan_rounds(some, 160, seconds, objective)
        assert LEAST_TIMED_S <= plan.timed_s <= MOST_TIMED_S


@pytest.mark.parametrize(
    ("measured", "judged"),
    [(40, 100), (100, 100), (230, 100), (290, 100), (310, 200), (590, 200), (610, 400), (35, 100), (30, 50), (16, 25)],
)
def test_a_speed_is_judged_by_steps_far_from_what_is_usual(measured: float, judged: float, tmp_path: Path) -> None:
    race = Race(material(EVEN), [EVEN], {(): ()}, [1.0], "balanced", 1, Archive(), tmp_path, pace=1.0)
    assert race.steady(100, measured) == pytest.approx(judged)
    race.pace = 2.0  # a machine that is twice as fast changes nothing
    assert race.steady(100, 2 * measured) == pytest.approx(judged)


def test_transforms_are_candidates_where_they_may_be() -> None:
    values = noise() // 4 * 4 + 3
    (stream,) = tuned(material(values.astype("<i2"), transforms=("divide", "recentre")), objective="size").streams
    best = stream.best("size")
    assert best is not None
    assert "divide" in best.transforms
    assert any("convert proves it" in note for note in stream.notes)
    (without,) = tuned(material(values.astype("<i2")), objective="size").streams
    assert best.ratio > 1.08 * without.best("size").ratio
    assert best.prove_mbs > best.write_mbs  # which contains it
    assert without.best("size").prove_mbs is None
    assert not any(row.transforms for row in without.rows)


def _swapped(codec: Codec) -> Codec:
    @dataclass(frozen=True)
    class Careless:
        inner: Any

        def encode(self, values: NDArray[Any]) -> bytes:
            return bytes(self.inner.encode(values))

        def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
            back: NDArray[Any] = self.inner.decode(payload, shape, dtype).copy()
            raw_of(back)[-1] ^= 1
            return back

    return replace(codec, key="careless", make=lambda chunks: Careless(codec.make(chunks)))


def test_a_candidate_that_loses_a_bit_is_reported_and_no_result(tmp_path: Path) -> None:
    recording = material(noise())
    found, _ = candidates_for(recording, "any", (), [(6000, 4)])
    wrong = Candidate(_swapped(found[0].codec), (6000, 4))
    race = Race(recording, [noise()], {(): ()}, [1.0], "balanced", 1, Archive(), tmp_path)
    race.run([*found, wrong], 1.0)
    assert [f.candidate for f in race.faults[:1]] == ["careless 6000x4"]
    assert "1 of" in race.faults[0].what
    assert "careless" not in {s.candidate.codec.key for s in race.standings}
    assert any(s.final for s in race.standings)


def test_no_codec_is_timed_in_the_main_thread(tmp_path: Path) -> None:
    """Blosc of numcodecs uses threads of its own there, and was said to encode at 11 GB/s on one core."""
    recording, seen = material(noise(), "zarr"), set[threading.Thread]()

    @dataclass(frozen=True)
    class Watched:
        inner: Any

        def encode(self, values: NDArray[Any]) -> bytes:
            seen.add(threading.current_thread())
            return bytes(self.inner.encode(values))

        def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
            back: NDArray[Any] = self.inner.decode(payload, shape, dtype)
            return back

    found, _ = candidates_for(recording, "any", (), [(6000, 4)])

    def watched(codec: Codec) -> Codec:
        return replace(codec, make=lambda chunks: Watched(codec.make(chunks)))

    race = Race(recording, [noise()], {(): ()}, [1.0], "balanced", 2, Archive(), tmp_path)
    race.run([replace(c, codec=watched(c.codec)) for c in found], 1.0)
    assert any(s.final for s in race.standings)
    assert seen
    assert threading.main_thread() not in seen


ODD: dict[str, tuple[NDArray[Any], str]] = {
    "constant": (np.full((5000, 8), 7, "<i2"), "are the same"),
    "nan": (
        np.where(
            np.random.default_rng(5).random((5000, 8)) < 0.1, np.nan, np.random.default_rng(5).normal(size=(5000, 8))
        ).astype("<f4"),
        "NaN",
    ),
    "all-nan": (np.full((5000, 8), np.nan, "<f4"), "100.0% of the values are NaN"),
    "big-endian": (noise(5000, 8, ">i2"), "big-endian"),
}


@pytest.mark.parametrize("readers", ["any", "python"])
@pytest.mark.parametrize("name", list(ODD))
def test_odd_values_are_measured_and_named(name: str, readers: str) -> None:
    values, note = ODD[name]
    (stream,) = tuned(material(values, "zarr" if readers == "python" else "hdf5"), readers=readers).streams
    assert stream.rows
    assert not stream.faults
    assert note in " ".join(stream.notes)


@pytest.mark.parametrize("shape", [(0, 4), (3, 4), (1, 1)], ids=str)
def test_a_stream_too_short_is_said_to_be(shape: tuple[int, ...]) -> None:
    short, long = tuned(material(np.zeros(shape, "<i2"), name="short"), material(noise())).streams
    assert "too short to sample" in short.skipped
    assert short.best("balanced") is None
    assert long.rows


def test_a_missing_package_is_named_with_its_pip_install() -> None:
    codecs = [c for c in codecs_for("zarr", "python", np.dtype("<i2"), signals=True) if c.missing]
    if not codecs:
        pytest.skip("all packages are installed")
    (stream,) = tuned(material(noise(), "zarr"), readers="python").streams
    assert stream.rows
    assert {f"pip install {c.package}" for c in codecs} == {text.split(": ")[1] for text in stream.missing}


def test_ctrl_c_keeps_what_was_measured() -> None:
    seen: list[TuningStep] = []

    def stop(step: TuningStep) -> None:
        seen.append(step)
        raise KeyboardInterrupt

    result = tuned(material(noise(20_000)), material(noise(20_000), name="other"), progress=stop)
    assert result.stopped
    assert len(seen) == 1
    assert seen[0].rows
    first, second = result.streams
    assert first.tried
    assert second.skipped == "stopped before it was measured"


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"objective": "best"}, "no objective"), ({"readers": "me"}, "no readers"), ({"budget_s": 0}, "a budget of 0")],
    ids=["objective", "readers", "budget"],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        tuned(material(noise()), **asked)


def _interval(fractions: Sequence[float]) -> tuple[float, float]:
    tally = Tally()
    for k, fraction in enumerate(fractions):
        tally.raw[k], tally.stored[k], tally.weights[k] = 10_000, round(10_000 * fraction), 1 / len(fractions)
    found = tally.interval
    assert found is not None
    return found


def test_the_interval_is_students() -> None:
    low, high = _interval([0.5, 0.6, 0.7])
    # scipy.stats.t.interval(0.95, 2, 0.6, scipy.stats.sem([0.5, 0.6, 0.7])) is (0.35158, 0.84841)
    assert low == pytest.approx(0.3516, abs=2e-3)
    assert high == pytest.approx(0.8484, abs=2e-3)
    narrow = _interval([0.5, 0.6, 0.7] * 4)
    assert narrow[1] - narrow[0] < (high - low) / 3


def test_movies_and_images_have_shapes_of_their_own() -> None:
    movie = (np.random.default_rng(5).poisson(20, (60, 64, 64)) * 3).astype("<u2")
    nwb, image = tuned(material(movie, inner=2), material(movie, "ome-zarr", inner=2, name="image")).streams
    assert {row.chunks[1:] for row in nwb.rows} == {(64, 64)}
    assert all(prod(row.chunks) * 2 <= 4 * 2**20 for row in image.rows)
    assert image.rows[0].reads[0].name == "one full frame"
    assert image.role("default").chunks == (60, 64, 64)
    assert _all_named([nwb, image])


def _all_named(streams: Sequence[StreamResult]) -> bool:
    return all(row.codec and row.readers.can for row in itertools.chain(*(s.rows for s in streams)))
