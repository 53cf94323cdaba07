"""Chunks cut out of a slab together are those that NumPy cuts, padded with zeros; others are told from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dandify.store.groups import gather, groups_of, holds
from dandify.store.plan import GROUP_BYTES, ChunkPlan

DTYPES = st.sampled_from(["u1", "<i2", ">u2", "<f4", "<f8", "<c16"])


def plan_of(shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...]) -> ChunkPlan:
    return ChunkPlan(shape, np.dtype(dtype), chunks, shape, in_order=True, reason="")


@st.composite
def plans(draw: st.DrawFn) -> ChunkPlan:
    shape = tuple(draw(st.lists(st.integers(1, 23), min_size=1, max_size=3)))
    chunks = tuple(draw(st.integers(1, n)) for n in shape)
    return plan_of(shape, draw(DTYPES), chunks)


@settings(deadline=None)
@given(plans(), st.integers(0, 2**32))
@example(plan_of((700, 384), "<i2", (300, 2)), 0)
@example(plan_of((600, 383), "<i2", (600, 3)), 0)
@example(plan_of((20, 12), "<i2", (20, 4)), 1)
@example(plan_of((500, 4), "<f4", (30, 4)), 2)
@example(plan_of((40, 3, 5), "<u2", (1, 3, 5)), 3)
@example(plan_of((400,), "u1", (3,)), 4)
def test_gather_and_holds(plan: ChunkPlan, seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, plan.raw_bytes, dtype=np.uint8)
    values = raw.view(plan.dtype).reshape(plan.shape)
    seen: list[Any] = []
    for slab in plan.slabs():
        for group in groups_of(plan, slab):
            out = np.full((group.count, plan.chunk_bytes), 255, np.uint8)
            gather(values, group, plan.chunks, out)
            for chunk, part in zip(out, group.parts, strict=True):
                full = np.zeros(plan.chunks, plan.dtype)
                cut = values[part]
                full[tuple(slice(n) for n in cut.shape)] = cut
                assert chunk.tobytes() == full.tobytes()
            assert holds(values, group, plan.chunks, out)
            k = int(rng.integers(group.count))
            inside = tuple(int(rng.integers(part.stop - part.start)) for part in group.parts[k])
            place = int(np.ravel_multi_index(inside, plan.chunks)) * plan.dtype.itemsize
            out[k, place + int(rng.integers(plan.dtype.itemsize))] ^= 1 << int(rng.integers(8))
            assert not holds(values, group, plan.chunks, out)
            seen += group.indices
    assert seen == [index for slab in plan.slabs() for index, _ in plan.chunks_of(slab)]


def test_groups_are_bounded_and_of_one_row() -> None:
    plan = plan_of((90_000, 384), "<i2", (30_000, 2))
    groups = [g for slab in plan.slabs() for g in groups_of(plan, slab)]
    assert all(1 <= g.count * plan.chunk_bytes <= GROUP_BYTES for g in groups)
    assert all(len({index[0] for index in g.indices}) == 1 for g in groups)
    assert max(g.count for g in groups) > 8


@pytest.mark.parametrize(
    ("shape", "chunks"), [((400_000, 4), (7_000, 4)), ((900, 30, 40), (2, 30, 40)), ((5_000_000,), (40_000,))]
)  # fmt: skip
def test_chunks_of_whole_rows_are_taken_together(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    plan = plan_of(shape, "<f4", chunks)
    groups = [g for slab in plan.slabs() for g in groups_of(plan, slab)]
    assert all(1 <= g.count * plan.chunk_bytes <= GROUP_BYTES for g in groups)
    assert max(g.count for g in groups) > 3
