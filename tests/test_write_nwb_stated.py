"""write_nwb of data that state something of themselves: fill values, names of numbers, a type that is not kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdmf.data_utils import DataChunkIterator, GenericDataChunkIterator
from hdmf_zarr import ZarrDataIO
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries
from pynwb.core import ScratchData

from dandify.errors import BadRequest, BadSource
from dandify.nwb.compare import compare_nwb
from dandify.nwb.repack import repack
from dandify.nwb.write import write_nwb
from dandify.sources.recordings import as_declared
from nwb_cases import new_file, recording

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pynwb", "ignore::UserWarning:hdmf")
VALUES = recording(50_000, 4)
SUFFIXES = {"hdf5": ".nwb", "zarr": ".nwb.zarr"}


def one(data: Any, name: str = "x") -> NWBFile:
    nwb = new_file()
    nwb.add_acquisition(TimeSeries(name=name, data=data, rate=1.0, unit="V", description="D."))
    return nwb


def copied_by_pynwb(nwb: NWBFile, path: Path) -> Path:
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb, link_data=False)
    return path


@pytest.fixture
def other(tmp_path: Path) -> Iterator[h5py.File]:
    """A file with a fill value, named numbers, one value, no value, and rows of fields."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("filled", data=VALUES, fillvalue=7, chunks=(100, 4), maxshape=(None, 4))
        named = h5py.enum_dtype({"LEFT": 0, "RIGHT": 1}, "i4")
        file.create_dataset("named", data=np.arange(40_000) % 2, dtype=named)
        file["single"] = 3.5
        file["nothing"] = h5py.Empty("f4")
        file["fields"] = np.zeros(9000, [("a", "i4"), ("b", "f8")])
        yield file


@pytest.mark.parametrize("name", ["filled", "named", "single"])
def test_datasets_of_other_files_stay_what_they_are(tmp_path: Path, other: h5py.File, name: str) -> None:
    nwb = one(other[name])
    ours = write_nwb(nwb, tmp_path / "ours.nwb").path
    theirs = copied_by_pynwb(nwb, tmp_path / "theirs.nwb")
    assert compare_nwb(ours, theirs).differences == ()
    with h5py.File(ours) as a, h5py.File(theirs) as b:
        x, y = (file["acquisition/x/data"] for file in (a, b))
        assert x.fillvalue == y.fillvalue
        assert h5py.check_enum_dtype(x.dtype) == h5py.check_enum_dtype(y.dtype)


def test_a_dataset_without_values(tmp_path: Path, other: h5py.File) -> None:
    nwb = new_file()
    nwb.add_scratch(ScratchData(name="x", data=other["nothing"], description="D."))
    ours = write_nwb(nwb, tmp_path / "ours.nwb").path
    assert compare_nwb(ours, copied_by_pynwb(nwb, tmp_path / "theirs.nwb")).differences == ()


def test_fill_values_that_a_dataio_asks_for(tmp_path: Path) -> None:
    import zarr

    write_nwb(one(H5DataIO(VALUES, fillvalue=-3, maxshape=(None, 4), chunks=True)), tmp_path / "a.nwb")
    with h5py.File(tmp_path / "a.nwb", "r+") as file:
        data = file["acquisition/x/data"]
        data.resize(50_001, axis=0)
        assert data[-1].tolist() == [-3] * 4
        np.testing.assert_array_equal(data[:-1], VALUES)
    write_nwb(one(ZarrDataIO(VALUES, fillvalue=5)), tmp_path / "a.nwb.zarr", backend="zarr")
    assert zarr.open_group(str(tmp_path / "a.nwb.zarr"), "r")["acquisition/x/data"].fill_value == 5


class Other(GenericDataChunkIterator):  # type: ignore[misc]  # hdmf has no types
    """Declares int16, and yields what it is told to."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values
        super().__init__(buffer_shape=(1000, 4), chunk_shape=(1000, 4))

    def _get_data(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        return self._values[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self._values.shape

    def _get_dtype(self) -> np.dtype[Any]:
        return np.dtype("i2")


def rows(then: Any) -> Iterator[Any]:
    """Rows that are as the first ones until the 3000th."""
    yield from VALUES[:3000]
    if isinstance(then, Exception):
        raise then
    yield then


def turning(then: Any) -> DataChunkIterator:
    return DataChunkIterator(data=rows(then), buffer_size=500)


TURNING: dict[str, tuple[Callable[[], Any], str]] = {
    "fractions": (lambda: Other(VALUES + 0.25), "Other declares int16 and yields float64"),
    "too-large": (lambda: Other(VALUES + np.int64(40_000)), "Other declares int16 and yields int64"),
    "one-way-fractions": (lambda: turning(VALUES[0] + 0.5), "declares int16 and yields float64"),
    "one-way-shape": (lambda: turning(VALUES[0, :3]), r"yields \(1, 3\) for a part of \(1, 4\)"),
    "one-way-raising": (lambda: turning(RuntimeError("gone")), "cannot be read: gone"),
}


@pytest.mark.parametrize("case", TURNING)
@pytest.mark.parametrize("backend", SUFFIXES)
def test_iterators_that_yield_something_else_are_refused(tmp_path: Path, case: str, backend: str) -> None:
    make, words = TURNING[case]
    with pytest.raises(BadSource, match=rf"x/data\): .*{words}"):
        write_nwb(one(make()), tmp_path / f"a{SUFFIXES[backend]}", backend=backend)
    assert not list(tmp_path.iterdir())


def test_a_one_way_iterator_over_another_axis(tmp_path: Path) -> None:
    columns = DataChunkIterator(data=iter(VALUES[:900].T), maxshape=(900, 4), iter_axis=1, buffer_size=2)
    with h5py.File(write_nwb(one(columns), tmp_path / "a.nwb").path) as file:
        np.testing.assert_array_equal(file["acquisition/x/data"], VALUES[:900])


def test_a_wider_type_with_the_same_values_is_as_good(tmp_path: Path) -> None:
    with h5py.File(write_nwb(one(Other(VALUES.astype("i8"))), tmp_path / "a.nwb").path) as file:
        assert file["acquisition/x/data"].dtype == "i2"
        np.testing.assert_array_equal(file["acquisition/x/data"], VALUES)


@pytest.mark.parametrize(
    ("value", "declared"),
    [(-1, "u8"), (2**63, "i8"), (np.nan, "i2"), (1e20, "i8"), (256, "u1"), (2, "bool"), (0.5, "bool")],
)  # fmt: skip
def test_what_does_not_fit_is_no_value_of_the_type(value: float, declared: str) -> None:
    with pytest.raises(BadSource, match=f"object declares {np.dtype(declared)}"):
        as_declared(np.array([value]), np.dtype(declared), of=object())


def test_floats_may_be_rounded() -> None:
    rounded = as_declared(np.array([0.1, np.nan, -0.0]), np.dtype("f4"), of=object())
    np.testing.assert_array_equal(rounded, np.array([0.1, np.nan, -0.0], "f4"))
    assert as_declared(np.array([2**53 + 1]), np.dtype("f8"), of=object()) == 2.0**53


def position() -> NWBFile:
    nwb = new_file()
    device = nwb.create_device("probe", description="A probe.")
    nwb.create_electrode_group("shank", "The shank.", location="CA1", device=device, position=(1.0, 2.0, 3.0))
    return nwb


@pytest.mark.parametrize(
    ("make", "place"),
    [
        pytest.param(position, "/general/extracellular_ephys/shank/position", id="one-value-of-fields"),
        pytest.param(lambda: one(VALUES, "a\\b"), "/acquisition/a\\b", id="backslash"),
        pytest.param(lambda: one(VALUES[:9], ".."), "/acquisition/..", id="dots"),
    ],
)
def test_what_zarr_cannot_hold_is_refused(tmp_path: Path, make: Callable[[], NWBFile], place: str) -> None:
    with pytest.raises(BadRequest, match=rf"(?s)\({re.escape(place)}\): .*--backend hdf5"):
        write_nwb(make(), tmp_path / "a.nwb.zarr", backend="zarr")
    assert not list(tmp_path.iterdir())
    if ".." not in place:  # HDF5 cannot have it either
        write_nwb(make(), tmp_path / "a.nwb")
        with pytest.raises(BadRequest, match=r"(?s)a name that Zarr|one value of several fields"):
            repack(tmp_path / "a.nwb", tmp_path / "a.nwb.zarr")


def test_fields_that_nwb_does_not_describe(tmp_path: Path, other: h5py.File) -> None:
    with pytest.raises(BadRequest, match=r"fields \(a, b\) in a way that hdmf-zarr does not write"):
        write_nwb(one(other["fields"]), tmp_path / "a.nwb.zarr", backend="zarr")


@pytest.mark.parametrize("data", [np.array(3.5), "single"], ids=["array", "dataset"])
def test_one_value_in_zarr(tmp_path: Path, other: h5py.File, data: Any) -> None:
    import zarr

    values = other[data] if isinstance(data, str) else data
    write_nwb(one(values), tmp_path / "a.nwb.zarr", backend="zarr")
    assert zarr.open_group(str(tmp_path / "a.nwb.zarr"), "r")["acquisition/x/data"][0] == 3.5
