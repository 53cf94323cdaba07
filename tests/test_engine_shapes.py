"""Chunk shapes: within the stated limits, measured on few samples, the smallest taken, the same each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neuroconv.tools.hdmf import SliceableDataChunkIterator
from neuroconv.tools.iterative_write import get_electrical_series_chunk_shape, get_image_series_chunk_shape
from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.sources import MemoryArray
from dandify.sources.contract import Array
from dandify.store.choose import PIECE_BYTES
from dandify.store.compression import encoder_for
from dandify.store.encode import Bytes, Encoder
from dandify.store.measure import Measured, measure, sample_regions
from dandify.store.pipeline import Job, fill
from dandify.store.plan import default_chunks, needed_bytes
from dandify.store.readcost import proportional_chunks, read_costs, usual_chunks
from dandify.store.region import Region, extent
from dandify.store.shapes import HDF5_LIMITS, ZARR_LIMITS, count_of, quick, shapes_of, text
from dandify.store.target import HDF5Target
from recording_sets import MADE, SETS, RecordingSet

HOUR = 3600 * 30_000


def choose(itemsize: int, compression: str = "gzip", backend: str = "hdf5") -> Callable[[Sequence[Bytes]], Encoder]:
    return lambda pieces: encoder_for(backend, compression, itemsize, lambda: pieces)


def measured(source: Array, **options: Any) -> Measured:
    given: dict[str, Any] = {"memory_bytes": 10**9, "workers": 2, "rate_hz": 30_000.0, **options}
    return measure(source, source.dtype, choose(source.dtype.itemsize), **given)


def levels(samples: int, channels: int) -> NDArray[np.int16]:
    """(samples, channels) int16: noise of 3 steps, a DC level for each channel."""
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((samples, channels), np.float32) * 3
    values: NDArray[np.int16] = np.rint(noise + rng.normal(0, 100, channels)).astype(np.int16)
    return values


@dataclass
class Watched(Array):
    """Notes what is read."""

    values: NDArray[Any]
    regions: list[Region] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    @property
    def block(self) -> tuple[int, ...]:
        return self.values.shape

    def read(self, region: Region) -> NDArray[Any]:
        self.regions.append(region)
        return self.values[region].copy()


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.tuples(st.integers(1, 10**10)),
        st.tuples(st.integers(1, 10**9), st.integers(1, 6000)),
        st.tuples(st.integers(1, 10**6), st.integers(1, 3000), st.integers(1, 3000)),
        st.tuples(st.integers(1, 10**5), st.integers(1, 600), st.integers(1, 600), st.integers(1, 40)),
    ),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([None, 0.01, 30.0, 2_500.0, 30_000.0]),
    st.sampled_from([HDF5_LIMITS, ZARR_LIMITS]),
)
def test_limits_hold(shape: tuple[int, ...], itemsize: int, rate_hz: float | None, limits: Any) -> None:
    shapes = shapes_of(shape, itemsize, rate_hz=rate_hz, limits=limits)
    raw = prod(shape) * itemsize
    largest = max(count_of(shape, s.chunks) for s in shapes)
    for one in shapes:
        size = prod(one.chunks) * itemsize
        assert all(1 <= c <= n for c, n in zip(one.chunks, shape, strict=True))
        assert size <= limits.most_bytes
        assert size >= min(raw, limits.least_bytes) or len(shapes) == 1
        if largest > limits.most_chunks:  # a dataset so large that no chunk of 4 MB keeps to it
            assert raw > limits.most_chunks * limits.most_bytes / 4
    kept = quick(shapes, limits)
    assert all(s.costs.worst <= limits.slowest for s in kept) or len(kept) == 1


@pytest.mark.parametrize("shape", [(HOUR, 384), (HOUR, 7), (500, 32)], ids=str)
def test_recordings_are_compared_with_the_chunks_of_neuroconv(shape: tuple[int, int]) -> None:
    expected = get_electrical_series_chunk_shape(
        number_of_channels=shape[1], number_of_frames=shape[0], dtype=np.dtype("int16")
    )
    assert usual_chunks(shape, 2) == tuple(int(n) for n in expected)


@pytest.mark.parametrize("shape", [(9000, 512, 512), (40, 3000, 3000), (20, 64, 64)], ids=str)
def test_movies_are_compared_with_the_chunks_of_neuroconv(shape: tuple[int, int, int]) -> None:
    expected = get_image_series_chunk_shape(num_samples=shape[0], sample_shape=shape[1:], dtype=np.dtype("uint16"))
    assert usual_chunks(shape, 2) == tuple(expected)


@pytest.mark.parametrize("itemsize", [2, 4, 8])
@pytest.mark.parametrize("shape", [(31_250_000, 4), (HOUR,), (8_000_000, 6), (1000, 3), (300_000, 3, 2)], ids=str)
def test_other_series_are_compared_with_the_chunks_of_neuroconv(shape: tuple[int, ...], itemsize: int) -> None:
    expected = SliceableDataChunkIterator.estimate_default_chunk_shape(
        chunk_mb=10.0, maxshape=shape, dtype=np.dtype(f"V{itemsize}")
    )
    assert proportional_chunks(shape, itemsize) == tuple(expected)


def test_few_columns_are_read_as_fast_as_the_least_chunk_allows() -> None:
    usual = proportional_chunks((31_250_000, 4), 4)
    best = quick(shapes_of((31_250_000, 4), 4, rate_hz=1_017.25, usual=usual), HDF5_LIMITS)
    assert all(prod(s.chunks) * 4 < 1.3 * HDF5_LIMITS.least_bytes for s in best)


@pytest.mark.parametrize("shape", [(HOUR, 384), (HOUR,), (9000, 512, 512)], ids=str)
def test_costs_of_the_same_chunks_are_equal(shape: tuple[int, ...]) -> None:
    assert read_costs(shape, 2, usual_chunks(shape, 2), 30_000).ratios == (1.0, 1.0, 1.0)


def test_narrow_chunks_favour_a_channel_and_cost_in_order() -> None:
    wide, narrow = (read_costs((HOUR, 384), 2, c, 30_000).ratios for c in ((30_000, 64), (30_000, 1)))
    assert narrow[1] < wide[1] / 10
    assert narrow[0] > wide[0]
    assert narrow[2] > wide[2]


@pytest.mark.parametrize(
    ("usual_ratio", "chunks", "measured"),
    [(1.97, (15_000, 4), 0.67), (1.97, (25_000, 2), 0.86), (1.97, (30_000, 2), 0.92), (3.25, (15_000, 4), 0.89),
     (3.25, (25_000, 2), 1.08), (3.25, (30_000, 2), 1.18), (1.42, (15_000, 4), 0.44), (1.42, (30_000, 2), 0.65)],
)  # fmt: skip
def test_costs_in_order_come_near_the_clock(usual_ratio: float, chunks: tuple[int, int], measured: float) -> None:
    costs = read_costs((250_000, 384), 2, chunks, 30_000, usual_ratio=usual_ratio)
    assert costs.ratios[2] == pytest.approx(measured, rel=0.2)


def test_two_channels_a_chunk_where_the_usual_file_is_slow_to_inflate() -> None:
    """Against a file that match search has made small, they would be read more slowly."""
    for usual_ratio, allowed in ((1.97, True), (3.25, False)):
        shapes = quick(shapes_of((HOUR // 20, 384), 2, rate_hz=30_000, usual_ratio=usual_ratio), HDF5_LIMITS)
        assert any(s.chunks[1] == 2 for s in shapes) is allowed


@pytest.fixture(scope="module")
def ap_levels() -> NDArray[np.int16]:
    """Longer than one piece of reading in order: (104,165 samples, 384 channels)."""
    return np.concatenate([SETS["ap_levels"].block(n) for n in range(5)])


def test_levels_of_channels_make_narrow_chunks(ap_levels: NDArray[np.int16]) -> None:
    found = measured(MemoryArray(ap_levels))
    assert found.plan.chunks[1] == 2
    assert found.plan.in_order


def test_what_one_piece_holds_is_read_from_wide_chunks() -> None:
    """All of it in order is one read then: neuroconv's chunks are decoded once, too, and copied in longer runs."""
    found = measured(MemoryArray(levels(20_000, 384)))
    assert found.plan.chunks[1] == 64


def stored_bytes(values: NDArray[Any], found: Measured) -> int:
    job = Job("x", "/x", MemoryArray(values), found.plan, found.encoder)
    with h5py.File.in_memory() as file:
        made = file.create_dataset(
            "x", values.shape, values.dtype, chunks=found.plan.chunks, compression="gzip",
            shuffle=bool(getattr(found.encoder, "shuffled", False)),
        )  # fmt: skip
        fill(job, HDF5Target(made), workers=2, advance=lambda _: None)
        return int(made.id.get_storage_size())


def test_a_third_is_saved_on_channels_at_levels_of_their_own(ap_levels: NDArray[np.int16]) -> None:
    values = ap_levels
    found = measured(MemoryArray(values))
    before = measured(MemoryArray(values), chunks=default_chunks(values.shape, 2)[0])
    assert found.plan.chunks[1] < 64 == before.plan.chunks[1]
    stored = stored_bytes(values, found)
    assert stored < 0.67 * stored_bytes(values, before)
    assert found.estimated_bytes == pytest.approx(stored, rel=0.03)
    with h5py.File.in_memory() as file:  # what neuroconv would have stored
        usual = file.create_dataset("x", data=values, chunks=usual_chunks(values.shape, 2), compression="gzip")
        assert stored < 0.70 * usual.id.get_storage_size()


@pytest.mark.parametrize("one", MADE, ids=lambda one: one.name)
def test_the_same_data_give_the_same_plan(one: RecordingSet) -> None:
    source = MemoryArray(one.block(0))
    first, second = (measured(source, rate_hz=one.rate_hz) for _ in range(2))
    assert (first.plan, first.encoder, first.ratio) == (second.plan, second.encoder, second.ratio)


def test_few_samples_are_read_once() -> None:
    source = Watched(levels(400_000, 96))
    measured(source)
    assert len(source.regions) == 3
    assert all(prod(extent(r)) * 2 <= PIECE_BYTES for r in source.regions)
    assert {r[1].start for r in source.regions} == {0, 16, 32}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=4), st.sampled_from([1, 2, 8]))
def test_samples_lie_within_the_dataset(shape: list[int], itemsize: int) -> None:
    regions = list(sample_regions(tuple(shape), itemsize))
    assert 1 <= len(regions) <= 3
    assert len(set(map(str, regions))) == len(regions)
    for region in regions:
        assert 0 < prod(extent(region)) * itemsize <= PIECE_BYTES
        assert all(0 <= part.start < part.stop <= n for part, n in zip(region, shape, strict=True))


def test_the_reason_says_limits_measures_and_why() -> None:
    found = measured(MemoryArray(levels(300_000, 64)))
    reason = found.plan.reason
    assert reason.startswith("chunks of 0.1 to 4 MB, at most 200,000 chunks, read no slower than neuroconv's 78125x64")
    assert "one second of all 0." in reason
    assert f"{text(found.plan.chunks)} {found.ratio:.2f}" in reason
    assert reason.endswith(f"{text(found.plan.chunks)} is the smallest")


def test_asked_chunks_are_not_measured_away() -> None:
    found = measured(MemoryArray(levels(100_000, 16)), chunks=(5000, 16), asked="as asked for")
    assert found.plan.chunks == (5000, 16)
    assert found.plan.reason == "as asked for"


@pytest.mark.parametrize("megabytes", [12, 20, 60, 400])
def test_the_plan_fits_the_memory(megabytes: int) -> None:
    source = MemoryArray(levels(200_000, 128))
    plan = measured(source, memory_bytes=megabytes * 10**6, workers=1).plan
    assert needed_bytes(plan.slab, plan.chunks, 2, 1) <= megabytes * 10**6
    assert plan.in_order


def test_too_little_memory_is_refused_with_the_least_that_would_do() -> None:
    source = MemoryArray(levels(200_000, 128))
    with pytest.raises(BadRequest, match=r"x/data needs 10 MB .* 8 MB are allowed"):
        measured(source, memory_bytes=8 * 10**6, name="x/data", workers=1)
    assert measured(source, memory_bytes=10 * 10**6, workers=1).plan.chunk_bytes > 0


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        pytest.param((200, 512, 512), (7, 512, 512), id="frames"),
        pytest.param((5, 2048, 2048), (1, 683, 2048), id="bands"),
    ],
)
def test_images_are_cut_into_frames_or_bands(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    for one in shapes_of(shape, 2, rate_hz=30.0):
        assert one.chunks[2] == shape[2]
        assert one.chunks[1] == shape[1] or one.chunks[0] == 1
    assert chunks in [s.chunks for s in shapes_of(shape, 2, rate_hz=30.0)]


def test_zarr_has_larger_chunks() -> None:
    source = MemoryArray(levels(400_000, 64))
    found = measure(
        source, source.dtype, choose(2, "blosc-zstd", "zarr"), memory_bytes=10**9, workers=2, rate_hz=30_000.0,
        limits=ZARR_LIMITS,
    )  # fmt: skip
    assert 3 * 10**6 <= found.plan.chunk_bytes <= 4 * 10**6
    assert "blosc" in found.encoder.name


@pytest.mark.parametrize("shape", [(651_041, 384), (3_906_250, 64), (651_041, 383), (10**8,)], ids=text)
def test_chunks_of_zarr_can_be_cut_into_whole_words_of_bit_planes(shape: tuple[int, ...]) -> None:
    for length, *channels in (s.chunks for s in shapes_of(shape, 2, rate_hz=30_000.0, limits=ZARR_LIMITS)):
        size = 2 * length * prod(channels)
        assert 3 * 10**6 <= size <= 4 * 10**6
        assert size % ZARR_LIMITS.whole_bytes == 0 or channels == [383]
        assert -(-shape[0] // length) * length <= 1.06 * shape[0]  # the last of them is not mostly padding
