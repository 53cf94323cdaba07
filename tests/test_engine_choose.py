"""The encoder of a dataset: the smallest of the fast ones, by size alone, and declared as it is."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pynwb import TimeSeries

from dandify.errors import BadRequest, BadSource
from dandify.nwb.write import write_nwb
from dandify.sources import MemoryArray
from dandify.store.choose import OBJECTIVES, PIECE_BYTES, Chosen, choose_encoder, piece_regions, pieces_of
from dandify.store.deflate import Libdeflate
from dandify.store.encode import PlainGunzip
from dandify.store.manifest import read_manifest
from dandify.store.plan import plan_dataset
from dandify.store.region import extent
from deflate_sets import SETS, ap, chunk, flat, intan, video
from nwb_cases import new_file


def chosen(values: NDArray[Any], objective: str = "gzip") -> Chosen:
    plan = plan_dataset(values.shape, values.dtype, memory_bytes=10**9, workers=1)
    return choose_encoder(pieces_of(MemoryArray(values), plan, name="x"), values.itemsize, objective)


@pytest.mark.parametrize("make", SETS, ids=lambda m: m.__name__)
def test_default_is_never_much_larger_than_libdeflate_1(make: Callable[..., NDArray[Any]]) -> None:
    values = chunk(make, 1_000_000)
    raw = np.frombuffer(bytearray(values.tobytes()), np.uint8)
    encoder = chosen(values)
    size = len(encoder.encode(raw, values.itemsize))
    for shuffled in (True, False):
        assert size <= 1.03 * len(Libdeflate(1, shuffled).encode(raw, values.itemsize)) + 16
    assert chosen(values) == encoder  # decided by size, and not by the clock


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("make", [ap, intan, video, flat], ids=lambda m: m.__name__)
def test_what_is_chosen_decodes(make: Callable[..., NDArray[Any]], objective: str) -> None:
    values = chunk(make, 60_000)
    encoder = chosen(values, objective)
    raw = np.frombuffer(bytearray(values.tobytes()), np.uint8)
    out = np.empty_like(raw)
    PlainGunzip(encoder.shuffled).decode(encoder.encode(raw, values.itemsize), values.itemsize, out)
    assert out.tobytes() == raw.tobytes()


def test_small_is_the_smallest_and_fast_is_isal() -> None:
    values = chunk(intan, 500_000)
    raw = np.frombuffer(bytearray(values.tobytes()), np.uint8)
    size = {o: len(chosen(values, o).encode(raw, values.itemsize)) for o in OBJECTIVES}
    assert size["gzip:small"] < size["gzip"] < size["gzip:fast"]
    assert "(isal 1)" in chosen(values, "gzip:fast").name


def test_what_shrinks_to_next_to_nothing_is_not_shuffled() -> None:
    lines = np.repeat(np.arange(4000, dtype=np.int16) % 4, 500)
    encoder = chosen(lines)
    assert not encoder.shuffled
    assert encoder.library == "isal"
    assert "fastest" in encoder.reason
    raw = np.frombuffer(bytearray(lines.tobytes()), np.uint8)
    assert len(encoder.encode(raw, 2)) < 1.03 * len(Libdeflate(shuffled=False, level=1).encode(raw, 2))
    assert chosen(lines, "gzip:small").library != "isal"


def test_the_reason_names_the_sizes() -> None:
    name = chosen(chunk(ap, 200_000)).name
    assert name.startswith("shuffle+gzip (planar): smallest at 300 MB/s a core or more; slower ones must save 3%; 3.")
    assert "libdeflate 1" in name
    assert "shuffle+isal 1" in name


def test_bytes_are_shuffled_only_where_it_helps() -> None:
    # Whole pairs repeat, the bytes of a plane do not repeat more often: records of 8 random bytes, over and over.
    records = np.random.default_rng(0).integers(0, 2**63, 500)
    values = records[np.random.default_rng(1).integers(0, 500, 100_000)]
    assert not chosen(values).shuffled
    assert chosen(chunk(ap, 200_000)).shuffled


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=3), st.sampled_from(["u1", "<i2", "<f8"]))
def test_pieces_lie_within_chunks(shape: list[int], dtype: str) -> None:
    plan = plan_dataset(tuple(shape), dtype, memory_bytes=10**9, workers=1)
    regions = list(piece_regions(plan))
    assert 1 <= len(regions) <= 3
    assert len(set(map(str, regions))) == len(regions)
    for region in regions:
        assert 0 < prod(extent(region)) * plan.dtype.itemsize <= PIECE_BYTES
        for part, c, n in zip(region, plan.chunks, plan.shape, strict=True):
            assert part.stop <= n
            assert part.start // c == (part.stop - 1) // c


def series(values: Any) -> Any:
    nwb = new_file()
    nwb.add_acquisition(TimeSeries(name="x", data=values, unit="V", rate=30_000.0))
    return nwb


@pytest.mark.parametrize("compression", OBJECTIVES)
@pytest.mark.parametrize("shuffled", [True, False])
def test_filters_are_declared_as_chosen(tmp_path: Path, shuffled: bool, compression: str) -> None:
    rng = np.random.default_rng(1)
    records = rng.integers(0, 2**63, 500)
    values = chunk(ap, 300_000) if shuffled else records[rng.integers(0, 500, 100_000)]
    report = write_nwb(series(values), tmp_path / "a.nwb", compression=compression)
    with h5py.File(report.path) as file:
        dataset = file["/acquisition/x/data"]
        assert np.array_equal(dataset[()], values)
        assert dataset.compression == "gzip"
        (described,) = read_manifest(report.manifest).datasets
        assert described.codec.startswith("shuffle+gzip") == dataset.shuffle
        if not shuffled:
            assert not dataset.shuffle


def test_an_unknown_objective_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no compression 'gzip:tiny'") as caught:
        write_nwb(series(chunk(ap, 1000)), tmp_path / "a.nwb", compression="gzip:tiny")
    assert "gzip:small" in str(caught.value)


def test_a_source_that_cannot_be_read_is_named() -> None:
    class Broken(MemoryArray):
        def __getitem__(self, region: Any) -> Any:
            raise OSError("the disk is gone")

    values = chunk(ap, 10_000)
    plan = plan_dataset(values.shape, values.dtype, memory_bytes=10**9, workers=1)
    with pytest.raises(BadSource, match="the disk is gone"):
        pieces_of(Broken(values), plan, name="x/data")
