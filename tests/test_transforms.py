"""Exact transforms: whatever is stored gives the source's integers back, and the physical values are what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from dandify.errors import BadRequest, BadSource
from dandify.nwb.write import write_nwb
from dandify.sources import MemoryArray
from dandify.store.manifest import read_manifest
from dandify.store.survey import after, choose_divide, choose_recentre, survey_source
from dandify.store.transforms import Transform, recorded, transformable, undo
from nwb_cases import new_file

DTYPES = st.sampled_from(["i1", "u1", "<i2", ">i2", "<u2", "<i4", "<u4", ">i4"])


@st.composite
def integers(draw: st.DrawFn) -> NDArray[Any]:
    """Multiples of something, moved by something, as far as the type goes."""
    dtype = np.dtype(draw(DTYPES))
    bounds = np.iinfo(dtype)
    factor = draw(st.sampled_from([1, 1, 2, 3, 4, 12, 50]))
    origin = draw(st.integers(int(bounds.min), int(bounds.max)))
    steps = draw(hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(-70_000, 70_000)))
    wide = steps * factor + origin
    values: NDArray[Any] = np.clip(wide, bounds.min + factor, bounds.max - factor).astype(dtype)
    return values


@settings(deadline=None, max_examples=300)
@given(integers(), st.booleans())
def test_what_is_chosen_is_undone(values: NDArray[Any], movable: bool) -> None:
    found = survey_source(MemoryArray(values), name="x", workers=2)
    assert (found.low, found.high) == (int(values.min()), int(values.max()))
    distances = np.abs(values.astype(np.int64) - int(values[0]))
    assert found.factor == int(np.gcd.reduce(distances))
    chosen = []
    divide = choose_divide(found, movable=movable)
    if divide:
        chosen.append(divide)
        assert movable or divide.origin == 0
    recentre = choose_recentre(after(found, divide), values.dtype)
    if recentre:
        chosen.append(recentre)
    stored = values
    for transform in chosen:
        stored = transform.apply(stored)
    assert stored.dtype == values.dtype
    assert np.array_equal(undo(chosen, stored), values)
    assert recorded({"transforms": [t.record for t in chosen]}) == tuple(chosen)


@pytest.mark.parametrize(
    ("values", "transform"),
    [
        pytest.param([4, 8, 9], Transform("divide", 0, 4), id="rest"),
        pytest.param([-32_768, 0], Transform("recentre", 1), id="below"),
        pytest.param([32_767, 0], Transform("recentre", -1), id="above"),
    ],
)
def test_what_is_not_exact_is_refused(values: list[int], transform: Transform) -> None:
    with pytest.raises(ValueError, match=r"1 of \d values cannot be"):
        transform.apply(np.array(values, "<i2"))


@pytest.mark.parametrize(
    "record", [{}, "divide", {"name": "square", "origin": 0, "factor": 2}, {"name": "divide", "origin": 0, "factor": 0}]
)
def test_records_that_are_none(record: Any) -> None:
    with pytest.raises(BadSource):
        recorded({"transforms": [record]})


def test_types() -> None:
    assert all(map(transformable, ("i1", "<u2", ">i4", "<u4")))
    assert not any(map(transformable, ("<i8", "<f4", "?", "<c8")))


AP = np.rint(np.random.default_rng(1).normal(0, 3, (60_000, 16))).astype("<i2")


def session(values: NDArray[Any], **options: Any) -> NWBFile:
    nwb = new_file()
    nwb.add_acquisition(
        TimeSeries(
            name="x", data=values, rate=30_000.0, description="D.", **{"unit": "V", "conversion": 2e-6} | options
        )
    )
    return nwb


def physical(path: Path) -> NDArray[np.float64]:
    with NWBHDF5IO(path, "r") as io:
        series = io.read().acquisition["x"]
        return np.asarray(series.data[()] * series.conversion + series.offset)


@pytest.mark.parametrize(
    ("values", "offset", "names"),
    [
        pytest.param(AP, 0.0, {"recentre"}, id="little-noise"),
        pytest.param(AP * 4 + 7, 0.5, {"divide", "recentre"}, id="multiples"),
        pytest.param((AP.astype("<i4") * 300 + 5000).astype("<i4"), -1.0, {"divide"}, id="int32"),
        pytest.param((AP.astype("<i4") + 32_768).astype("<u2"), 0.0, {"recentre"}, id="intan"),
    ],
)
def test_physical_values_are_kept_and_the_file_is_smaller(
    tmp_path: Path, values: NDArray[Any], offset: float, names: set[str]
) -> None:
    plain = write_nwb(session(values, offset=offset), tmp_path / "plain.nwb")
    ours = write_nwb(session(values, offset=offset), tmp_path / "a.nwb", transforms={"x": ("divide", "recentre")})
    np.testing.assert_allclose(physical(ours.path), physical(plain.path), rtol=0, atol=1e-15 * (1 + abs(offset)) * 1e3)
    assert ours.stored_bytes < 0.9 * plain.stored_bytes
    (dataset,) = read_manifest(ours.manifest).datasets
    found = recorded(dataset.details)
    assert {t.name for t in found} == names
    with NWBHDF5IO(ours.path, "r") as io:
        assert np.array_equal(undo(found, io.read().acquisition["x"].data[()]), values)


@pytest.mark.parametrize(
    ("nwb", "asked", "words"),
    [
        pytest.param(lambda: session(AP), {"y": ["divide"]}, "no series 'y'.*\n.*there are x", id="name"),
        pytest.param(lambda: session(AP), {"x": ["square"]}, "no transform 'square'", id="transform"),
        pytest.param(lambda: session(AP.astype("<f4")), {"x": ["divide"]}, "its values are float32", id="floats"),
        pytest.param(lambda: session(AP, unit="n.a."), {"x": ["recentre"]}, "its values have no unit", id="unit"),
    ],
)
def test_what_cannot_hold_them(tmp_path: Path, nwb: Any, asked: dict[str, list[str]], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        write_nwb(nwb(), tmp_path / "a.nwb", transforms=asked)
    assert not list(tmp_path.iterdir())


def test_a_pattern_leaves_out_what_cannot(tmp_path: Path) -> None:
    report = write_nwb(session(AP.astype("<f4")), tmp_path / "a.nwb", transforms={"*": ["divide", "recentre"]})
    (dataset,) = read_manifest(report.manifest).datasets
    assert dataset.details["transforms"] == []
    assert "float32" in dataset.details["transforms_left_out"]["all"]


def test_a_stopped_run_with_other_transforms_starts_over(tmp_path: Path) -> None:
    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_nwb(session(AP * 4), tmp_path / "a.nwb", transforms={"x": ["divide"]}, progress=stop)
    report = write_nwb(session(AP * 4), tmp_path / "a.nwb")
    assert not any(note.startswith("went on") for note in report.notes)
    with NWBHDF5IO(report.path, "r") as io:
        assert np.array_equal(io.read().acquisition["x"].data[()], AP * 4)
