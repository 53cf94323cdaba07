"""Compressions by name: decoded by h5py with hdf5plugin and by zarr; readers that cannot are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # registers its filters
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.nwb.write import write_nwb
from dandify.store.compression import COMPRESSIONS, PLAIN, ReadersWarning, encoder_for, who_cannot_read
from dandify.store.frames import BLOSC_FILTER, ZSTD_FILTER, Blosc, PluginDecoder, Zstd
from nwb_cases import ephys, recording

VALUES = recording()
FILTERS = {"zstd": {ZSTD_FILTER}, "blosc-zstd": {BLOSC_FILTER}, "blosc-lz4": {BLOSC_FILTER}}


@pytest.mark.parametrize("compression", list(FILTERS))
def test_hdf5_with_plugins(tmp_path: Path, compression: str) -> None:
    with pytest.warns(ReadersWarning, match=r"MATLAB.*h5dump.*Neurosift.*wrong numbers"):
        report = write_nwb(ephys(VALUES, 70), tmp_path / "a.nwb", compression=compression)
    assert report.verified
    assert report.ratio > 1.2
    with h5py.File(report.path) as file:
        data = file["acquisition/ElectricalSeries/data"]
        created = data.id.get_create_plist()
        assert {created.get_filter(i)[0] for i in range(created.get_nfilters())} - {2} == FILTERS[compression]
        np.testing.assert_array_equal(data[:], VALUES)  # by hdf5plugin's own libraries


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS["hdf5"] if name.startswith("gzip:")])
def test_exact_encoders_of_gzip(tmp_path: Path, compression: str) -> None:
    report = write_nwb(ephys(VALUES, 70), tmp_path / "a.nwb", compression=compression)
    assert report.verified
    with h5py.File(report.path) as file:
        data = file["acquisition/ElectricalSeries/data"]
        assert data.compression == "gzip"
        if compression not in ("gzip:fast", "gzip:small"):
            assert data.shuffle is not compression.endswith(PLAIN)
        np.testing.assert_array_equal(data[:], VALUES)  # by HDF5's own gzip


@pytest.mark.parametrize("compression", COMPRESSIONS["zarr"])
def test_zarr(tmp_path: Path, compression: str, recwarn: pytest.WarningsRecorder) -> None:
    report = write_nwb(ephys(VALUES, 70), tmp_path / "a.nwb.zarr", backend="zarr", compression=compression)
    assert report.verified
    assert report.ratio > 1.1
    assert [w.category for w in recwarn] == ([ReadersWarning] if compression == "zstd" else [])
    array = zarr.open(str(report.path), "r")["acquisition/ElectricalSeries/data"]
    found = array.compressor.get_config()
    kind, _, inner = compression.partition("-")
    assert found["id"] == kind
    assert found.get("cname", "") == inner.split("-")[0]
    np.testing.assert_array_equal(array[:], VALUES)


test_zarr = pytest.mark.filterwarnings("default::dandify.store.compression.ReadersWarning")(test_zarr)


@pytest.mark.parametrize(
    ("backend", "compression"), [("hdf5", "rar"), ("zarr", "gzip:small")], ids=["unknown", "not-of-zarr"]
)
def test_others_are_refused(tmp_path: Path, backend: str, compression: str) -> None:
    path = tmp_path / ("a.nwb" if backend == "hdf5" else "a.nwb.zarr")
    with pytest.raises(BadRequest, match=f"one of {COMPRESSIONS[backend][0]}, "):
        write_nwb(ephys(VALUES, 70), path, backend=backend, compression=compression)


def test_defaults_are_read_by_all() -> None:
    assert who_cannot_read("hdf5", None) is who_cannot_read("zarr", None) is None
    assert all(who_cannot_read("hdf5", name) is None for name in ("gzip", "gzip:fast", "gzip:small"))


@given(
    values=hnp.arrays(st.sampled_from([np.dtype(t) for t in ("u1", "<i2", ">i2", "<f4", "<f8")]), st.integers(1, 3000)),
    name=st.sampled_from(sorted(FILTERS)),
)
@settings(max_examples=60, deadline=None)
def test_any_values_by_another_decoder(values: NDArray[Any], name: str) -> None:
    raw, size = values.view(np.uint8), values.itemsize
    encoder = encoder_for("hdf5", name, size, lambda: [raw])
    assert isinstance(encoder, (Zstd, Blosc))
    shuffled = isinstance(encoder, Zstd) and encoder.shuffled
    out = np.empty_like(raw)
    decoder = PluginDecoder(ZSTD_FILTER if name == "zstd" else BLOSC_FILTER, shuffled=shuffled)
    decoder.decode(encoder.encode(raw, size), size, out)
    np.testing.assert_array_equal(out, raw)
    with pytest.raises(ValueError, match=r"."):
        decoder.decode(b"\x00" * 40, size, out)


def test_the_plugin_is_there() -> None:
    assert h5py.h5z.filter_avail(hdf5plugin.Zstd().filter_id)
