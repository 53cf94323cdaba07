"""Chunk plans: within their limits, covering every value once, in C order, within the memory."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dandify.errors import BadRequest
from dandify.store.plan import TARGET_BYTES, default_chunks, needed_bytes, plan_dataset
from dandify.store.region import extent

MB = 10**6


@pytest.mark.parametrize(
    ("shape", "itemsize", "chunks"),
    [
        pytest.param((30_000 * 60, 384), 2, (31_035, 64), id="neuropixels"),
        pytest.param((40_000, 70), 2, (40_000, 35), id="even-edges"),
        pytest.param((1000, 4), 2, (1000, 4), id="small"),
        pytest.param((10_000_000,), 8, (500_000,), id="timestamps"),
        pytest.param((3000, 512, 512), 2, (7, 512, 512), id="frames"),
        pytest.param((3000, 2048, 2048), 2, (1, 683, 2048), id="bands"),
        pytest.param((57, 40, 30, 3), 1, (57, 40, 30, 3), id="rgb"),
        pytest.param((10, 5_000_000), 1, (10, 64), id="wide"),
    ],
)
def test_default_chunks(shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...]) -> None:
    found, _ = default_chunks(shape, itemsize)
    assert prod(found) * itemsize <= TARGET_BYTES
    assert all(c <= n for c, n in zip(found, shape, strict=True))
    assert found == chunks


SHAPES = st.lists(st.integers(1, 60), min_size=1, max_size=4).map(tuple)


@settings(max_examples=200, deadline=None)
@given(SHAPES, st.data())
def test_slabs_cover_everything_once_and_in_order(shape: tuple[int, ...], data: st.DataObject) -> None:
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    memory = data.draw(st.sampled_from([8_100_000, 9 * MB, 100 * MB]))
    try:
        plan = plan_dataset(shape, "<i2", memory_bytes=memory, workers=1, chunks=chunks, block=shape)
    except BadRequest:
        assert needed_bytes(chunks, chunks, 2, 1) > memory
        return
    assert plan.chunks == chunks
    order = np.arange(prod(shape)).reshape(shape)
    read, cut, seen = [], np.zeros(shape, int), set()
    for slab in plan.slabs():
        read.append(order[slab].ravel())
        for index, part in plan.chunks_of(slab):
            place = tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(index, chunks, shape, strict=True))
            assert np.array_equal(order[slab][part], order[place])
            cut[place] += 1
            seen.add(index)
        assert all(n <= m for n, m in zip(extent(slab), plan.slab, strict=True))
    assert (cut == 1).all()
    assert len(seen) == plan.count
    if plan.in_order:
        assert np.array_equal(np.concatenate(read), order.ravel())


@pytest.mark.parametrize("memory", [16 * MB, 40 * MB, 200 * MB, 1000 * MB])
@pytest.mark.parametrize("shape", [(10**8, 384), (10**4, 2048, 2048), (10**9,)], ids=str)
def test_memory_is_kept(shape: tuple[int, ...], memory: int) -> None:
    plan = plan_dataset(shape, "<i2", memory_bytes=memory, workers=2, block=shape)
    assert needed_bytes(plan.slab, plan.chunks, 2, 2) <= memory
    assert plan.in_order


def test_small_memory_makes_small_chunks() -> None:
    wide, narrow = (
        plan_dataset((10**8, 384), "<i2", memory_bytes=m, workers=2).chunk_bytes for m in (1000 * MB, 20 * MB)
    )
    assert narrow < wide


def test_given_chunks_that_span_too_much_are_read_one_by_one() -> None:
    plan = plan_dataset((10**5, 1000, 1000), "<u2", memory_bytes=500 * MB, workers=2, chunks=(1000, 50, 50))
    assert plan.slab == plan.chunks
    assert not plan.in_order


def test_thousands_of_channels_in_little_memory_are_read_chunk_by_chunk() -> None:
    plan = plan_dataset((10**5, 5000), "<i2", memory_bytes=30 * MB, workers=2)
    assert not plan.in_order
    assert needed_bytes(plan.slab, plan.chunks, 2, 2) <= 30 * MB


def test_refusal_names_the_least_that_would_do() -> None:
    with pytest.raises(BadRequest, match=r"ElectricalSeries/data needs 198 MB .* 100 MB are allowed") as refusal:
        plan_dataset(
            (10**6, 384), "<i2", memory_bytes=100 * MB, workers=2, chunks=(78_125, 64), name="ElectricalSeries/data"
        )
    assert "198MB" in str(refusal.value)
    plan = plan_dataset((10**6, 384), "<i2", memory_bytes=int(198 * MB), workers=2, chunks=(78_125, 64))
    assert plan.chunks == (78_125, 64)
