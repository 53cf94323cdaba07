"""What a source yields at one go is read once: pages whose pixels have several channels, planes worked on in bands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.ngff import once
from dandify.ngff.levels import Shape5, plan_pyramid, times_read
from dandify.ngff.once import Once
from dandify.ngff.plan import plan_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.sources.contract import Array

UINT16 = np.dtype(np.uint16)


class Source:
    """Values that are decoded in blocks (t c z y x), each of which is counted."""

    def __init__(self, values: NDArray[Any], block: Shape5) -> None:
        self.values, self.block = values, block
        self.decoded: Counter[tuple[int, ...]] = Counter()

    def read(self, region: Any) -> NDArray[Any]:
        ranges = [range(s.start // b, -(-s.stop // b)) for s, b in zip(region, self.block, strict=True)]
        self.decoded.update((t, c, z, y, x) for t in ranges[0] for c in ranges[1] for z in ranges[2]
                            for y in ranges[3] for x in ranges[4])  # fmt: skip
        found: NDArray[Any] = self.values[region]
        return found


def values_of(shape: Shape5) -> NDArray[np.uint16]:
    return np.random.default_rng(1).integers(0, 65536, shape, np.uint16)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(1, 40), st.integers(1, 30)),
    block=st.tuples(st.just(1), st.sampled_from([1, 9]), st.integers(1, 3), st.integers(1, 50), st.just(99)),
    rows=st.integers(1, 20),
    depth=st.integers(1, 4),
    piece=st.sampled_from([1, 500, 100_000]),
    on_disk=st.booleans(),
)
def test_every_block_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, shape: Shape5, block: Shape5, rows: int, depth: int, piece: int,
    on_disk: bool,
) -> None:  # fmt: skip
    nt, nc, nz, ny, nx = shape
    block = (1, min(block[1], nc), min(block[2], nz), min(block[3], ny), nx)
    source = Source(values_of(shape), block)
    file = tmp_path_factory.mktemp("once") / "kept" if on_disk else None
    with pytest.MonkeyPatch.context() as patch, Once(source.read, shape, block, UINT16, file) as kept:
        patch.setattr(once, "READ_BYTES", piece)
        for t in range(nt):
            for c in range(nc):
                for y in range(0, ny, rows):
                    for z in range(0, nz, depth):
                        region: Any = (slice(t, t + 1), slice(c, c + 1), slice(z, min(z + depth, nz)),
                                       slice(y, min(y + rows, ny)), slice(0, nx))  # fmt: skip
                        found = kept.read(region)
                        assert np.array_equal(found.reshape(source.values[region].shape), source.values[region])
    assert set(source.decoded.values()) == {1}
    assert file is None or not file.exists()


@pytest.mark.parametrize(
    ("shape", "block", "memory", "times"),
    [
        pytest.param((1, 3, 1, 4000, 4000), (1, 3, 1, 4000, 4000), 10**9, 3, id="colours-of-a-page"),
        pytest.param((1, 3, 1, 4000, 4000), (1, 1, 1, 4000, 4000), 10**9, 1, id="channels-apart"),
        pytest.param((1, 1, 64, 4000, 4000), (1, 1, 1, 4000, 4000), 10**9, 1, id="whole-planes"),
        pytest.param((1, 1, 1, 20000, 20000), (1, 1, 1, 20000, 20000), 10**9, None, id="planes-in-bands"),
        pytest.param((1, 1, 1, 20000, 20000), (1, 1, 1, 100, 20000), 10**9, 1, id="strips-in-bands"),
        pytest.param((1, 1, 1, 20000, 20000), (1, 1, 1, 10000, 20000), 10**9, 3, id="strips-of-several-bands"),
    ],
)
def test_how_often_the_pass_would_decode(shape: Shape5, block: Shape5, memory: int, times: int | None) -> None:
    plan = plan_pyramid(
        shape, UINT16, (1.0,) * 5, count="auto", chunks=None, memory_bytes=memory, workers=2, block=block
    )
    expected = -(-shape[3] // plan.band_rows) if times is None else times
    assert times_read(plan, block) == expected
    assert (expected > 1) == (times is None or times > 1)


def test_a_source_that_yields_something_else_is_named(tmp_path: Path) -> None:
    shape, block = (1, 2, 3, 8, 8), (1, 2, 1, 8, 8)
    with (
        Once(lambda _: np.zeros((1, 2, 1, 8, 7), np.uint16), shape, block, UINT16, tmp_path / "kept") as kept,
        pytest.raises(BadSource, match="yields") as caught,
    ):
        kept.read((slice(0, 1), slice(0, 1), slice(0, 1), slice(0, 8), slice(0, 8)))
    assert "t c z y x" in str(caught.value)
    assert not (tmp_path / "kept").exists()


class Pages(Array):
    """Values (c z y x) that are decoded in blocks, each of which is counted."""

    def __init__(self, values: NDArray[Any], block: tuple[int, ...]) -> None:
        self.values, self._block = values, block
        self.decoded: Counter[tuple[int, ...]] = Counter()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """What is decoded at one go."""
        return self._block

    def read(self, region: Any) -> NDArray[Any]:
        """Decode the blocks that a region touches."""
        c, z, _, _ = (range(s.start // b, -(-s.stop // b)) for s, b in zip(region, self._block, strict=True))
        self.decoded.update((i, k) for i in c for k in z)
        found: NDArray[Any] = self.values[region]
        return found


@pytest.mark.parametrize(
    ("shape", "block", "memory", "kept"),
    [
        pytest.param((3, 3, 200, 180), (3, 1, 200, 180), "40MB", "in memory", id="colours-in-memory"),
        pytest.param((3, 40, 400, 400), (3, 1, 400, 400), "30MB", "in a file", id="colours-in-a-file"),
        pytest.param((2, 4, 3000, 1500), (1, 1, 3000, 1500), "45MB", "in a file", id="planes-in-bands"),
        pytest.param((2, 4, 300, 150), (1, 1, 300, 150), "45MB", None, id="planes-as-they-come"),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_is_decoded_once_and_nothing_is_left_over(
    tmp_path: Path, shape: Any, block: Any, memory: str, kept: str | None, version: str
) -> None:
    import tensorstore

    image = Pages(values_of((1, *shape))[0], block)
    path = tmp_path / "a.ome.zarr"
    options: Any = {"axes": "czyx", "scale": {"z": 1.0, "y": 1.0, "x": 1.0}, "version": version, "memory": memory,
                    "workers": 1}  # fmt: skip
    reason = plan_ome_zarr(image, path, **options).reason
    assert (kept or "whole planes") in reason
    assert ("kept" in reason) == (kept is not None)
    image.decoded.clear()
    write_ome_zarr(image, path, **options)
    assert set(image.decoded.values()) == {1}
    driver = "zarr3" if version == "0.5" else "zarr"
    stored = tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/0/"}}).result()
    assert np.array_equal(stored.read().result(), image.values)
    assert not [p for p in tmp_path.rglob("*") if "kept" in p.name or "partial" in p.name]
