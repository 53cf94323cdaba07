"""Levels, chunks, shards and the plan for memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dandify.errors import BadRequest
from dandify.ngff.levels import CHUNK_BYTES, Level, PyramidPlan, plan_pyramid
from dandify.ngff.request import key_separator
from dandify.store.zarr_image import shard_shape

U16 = np.dtype("uint16")


def plan(shape: tuple[int, int, int], voxel: tuple[float, float, float] = (1, 1, 1), **changes: Any) -> PyramidPlan:
    options: dict[str, Any] = {
        "count": "auto", "chunks": None, "memory_bytes": 10**9, "workers": 2, "block": (1, 1, 1, 1, 1), "dtype": U16,
    }  # fmt: skip
    options.update(changes)
    return plan_pyramid((1, 1, *shape), options.pop("dtype"), (1, 1, *voxel), **options)


def test_planes_are_halved_alone_until_voxels_are_near_isotropic() -> None:
    levels = plan((200, 1000, 1000), (2.0, 0.65, 0.65)).levels
    assert [level.factors for level in levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8), (4, 16, 16)]
    assert levels[2].scale((1, 1, 2.0, 0.65, 0.65)) == pytest.approx((1, 1, 2.0, 2.6, 2.6))


def test_finer_z_is_halved_first() -> None:
    assert [level.step for level in plan((500, 300, 300), (0.25, 1.0, 1.0)).levels][:3] == [
        (1, 1, 1), (2, 1, 1), (2, 1, 1),
    ]  # fmt: skip


def test_translation_is_half_a_pixel_of_what_was_added() -> None:
    level = Level((1, 1, 1, 1, 1), (1, 1, 1, 1, 1), (2, 2, 2), (2, 8, 8))
    assert level.translation((1, 1, 2.0, 0.65, 0.65)) == pytest.approx((0, 0, 1.0, 2.275, 2.275))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(1, 9000, 9000), (5, 3000, 3000), (400, 2000, 2000)], ids=str)
def test_chunks_are_some_mebibytes_and_the_last_level_is_one(shape: tuple[int, int, int], dtype: str) -> None:
    kind = np.dtype(dtype)
    levels = plan(shape, dtype=kind, memory_bytes=10**10).levels
    assert CHUNK_BYTES / 8 < np.prod(levels[0].chunks) * kind.itemsize <= CHUNK_BYTES
    assert levels[-1].shape == levels[-1].chunks
    assert levels[-2].shape != levels[-2].chunks


def test_number_of_levels_asked_for() -> None:
    assert len(plan((10, 100, 100), count=3).levels) == 3
    assert len(plan((1, 3, 3), count=9).levels) == 3  # nothing is left to halve


@pytest.mark.parametrize(
    ("memory", "depth", "banded"),
    [(6e9, 64, False), (1e9, 32, False), (3e8, 8, False), (2e8, 16, True)],
    ids=["ample", "less", "little", "least"],
)
def test_less_memory_makes_shallower_chunks_then_bands(memory: float, depth: int, banded: bool) -> None:
    found = plan((300, 4096, 4096), memory_bytes=int(memory))
    assert found.memory_bytes <= memory
    assert (found.levels[0].chunks[2], found.band_rows < 4096) == (depth, banded)


@pytest.mark.parametrize(
    ("shape", "block", "rows"),
    [
        ((300, 1000, 1000), (1, 1, 1, 1, 1), 128),
        ((300, 1000, 1000), (1, 1, 1, 256, 256), 256),
        ((300, 1000, 1000), (1, 1, 1, 1000, 1000), 1000),  # decoded as a whole
        ((300, 1000, 1000), (1, 1, 1, 100, 1000), 1000),  # a block would lie in two parts
        ((300, 200, 1000), (1, 1, 1, 1, 1), 200),
    ],
)
def test_rows_that_are_read_at_one_go(shape: tuple[int, int, int], block: Any, rows: int) -> None:
    found = plan(shape, block=block)
    assert (found.levels[0].chunks[2:], found.band_rows, found.read_rows) == ((64, 128, 128), shape[1], rows)
    assert found.slabs == (2 if rows == shape[1] else 3)


@pytest.mark.parametrize(
    ("block", "memory", "decoders"),
    [
        ((1, 1, 1, 1000, 1000), 10**9, 2),
        ((1, 1, 1, 1000, 1000), 327_000_000, 1),  # rather than in shallower chunks
        ((1, 1, 1, 1, 1), 10**9, 1),
        ((1, 3, 1, 1000, 1000), 10**10, 1),  # of several channels, each decoded once and kept
    ],
)
def test_whole_planes_are_decoded_side_by_side(block: Any, memory: int, decoders: int) -> None:
    found = plan_pyramid(
        (1, 3, 300, 1000, 1000), U16, (1,) * 5, count="auto", chunks=None, memory_bytes=memory, workers=2, block=block
    )
    assert (found.levels[0].chunks[2], found.decoders) == (64, decoders)


def test_sources_of_whole_planes_are_not_read_in_bands_while_depth_can_be_given_up() -> None:
    found = plan((300, 4096, 4096), memory_bytes=35 * 10**7, block=(1, 1, 1, 4096, 4096))
    assert found.in_order


def test_too_little_memory_is_refused_with_the_least_that_would_do() -> None:
    with pytest.raises(BadRequest, match="do not suffice") as caught:
        plan((300, 4096, 4096), memory_bytes=10**7)
    assert caught.value.remedy is not None
    least = int(caught.value.remedy.split("at least ")[1].split(" MB")[0]) * 10**6
    assert plan((300, 4096, 4096), memory_bytes=least).memory_bytes <= least
    with pytest.raises(BadRequest):
        plan((300, 4096, 4096), memory_bytes=least - 2 * 10**6)


@pytest.mark.parametrize(
    ("shape", "chunks", "extents", "expected"),
    [
        ((1024, 2048, 2048), (64, 128, 128), (1, 1, 1), (512, 512, 512)),
        ((100, 2048, 2048), (64, 128, 128), (1, 1, 1), (128, 1024, 1024)),
        ((9000, 9000), (1024, 1024), (1, 1), (9216, 9216)),
        ((2, 3, 50, 40, 40), (1, 1, 50, 40, 40), (0, 0, 1, 1, 1), (1, 1, 50, 40, 40)),
    ],
    ids=["cube", "slab", "plane", "one"],
)
def test_shards(
    shape: tuple[int, ...], chunks: tuple[int, ...], extents: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    assert shard_shape(shape, chunks, 2, max_bytes=256 * 2**20, extents=extents) == expected


@pytest.mark.parametrize(("version", "parts", "separator"), [("0.5", 7, "/"), ("0.5", 8, "."), ("0.4", 8, "/")])
def test_chunk_names_are_flat_only_where_dandi_would_refuse_their_depth(
    version: str, parts: int, separator: str
) -> None:
    assert key_separator(version, parts) == separator
