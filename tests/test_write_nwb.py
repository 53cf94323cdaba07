"""write_nwb: equal to what pynwb writes, clean for the validators, readable by all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numcodecs
import numpy as np
import pytest
import xxhash
import zarr
from hdmf.data_utils import DataChunkIterator
from hdmf_zarr import NWBZarrIO, ZarrDataIO
from neuroconv.tools.hdmf import SliceableDataChunkIterator
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries, validate

from dandify.errors import BadRequest, OutputExists
from dandify.nwb.write import write_nwb
from dandify.sources import MemoryArray
from dandify.sources.deferred import Deferred
from dandify.store.compression import ReadersWarning
from dandify.store.manifest import read_manifest, sha256_of
from dandify.store.progress import Progress
from nwb_cases import assert_same_content, by_pynwb, ephys, everything, icephys, large_table, new_file, recording

BACKENDS = pytest.mark.parametrize(("backend", "suffix"), [("hdf5", ".nwb"), ("zarr", ".nwb.zarr")])


def filters_of(path: Path) -> set[str]:
    found: set[str] = set()

    def visit(_: str, node: h5py.HLObject) -> None:
        if isinstance(node, h5py.Dataset):
            created = node.id.get_create_plist()
            found.update(created.get_filter(i)[3].decode() for i in range(created.get_nfilters()))

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


WRAPPERS: list[Callable[[NDArray[Any]], Any]] = [
    lambda values: values,
    lambda values: Deferred(MemoryArray(values)),
    SliceableDataChunkIterator,
    lambda values: H5DataIO(values, compression="gzip", chunks=True),
]


@pytest.mark.parametrize("wrap", WRAPPERS, ids=["arrays", "deferred", "iterators", "H5DataIO"])
def test_content_is_what_pynwb_writes(tmp_path: Path, wrap: Callable[[NDArray[Any]], Any]) -> None:
    report = write_nwb(everything(wrap), tmp_path / "ours.nwb")
    assert_same_content(report.path, by_pynwb(everything(), tmp_path / "theirs.nwb"))
    assert len(report.datasets) == 7
    assert report.verified
    assert filters_of(report.path) <= {"shuffle", "deflate"}


@pytest.mark.parametrize("make", [large_table, icephys], ids=["tables", "compound-references"])
def test_tables_are_what_pynwb_writes(tmp_path: Path, make: Callable[[], NWBFile]) -> None:
    report = write_nwb(make(), tmp_path / "ours.nwb")
    assert len(report.datasets) >= 3
    assert_same_content(report.path, by_pynwb(make(), tmp_path / "theirs.nwb"))


@pytest.mark.filterwarnings("ignore::UserWarning:hdmf")  # "float32 timestamps become float64", as pynwb says
@pytest.mark.parametrize("wrap", WRAPPERS[:3], ids=["array", "deferred", "iterator"])
def test_float32_timestamps_become_float64(tmp_path: Path, wrap: Callable[[NDArray[Any]], Any]) -> None:
    times = np.sort(np.random.default_rng(0).uniform(0, 100, 30_000)).astype(np.float32)

    def make(wrap: Callable[[NDArray[Any]], Any]) -> NWBFile:
        nwb = new_file()
        series = TimeSeries(name="x", data=recording(30_000, 1), timestamps=wrap(times), unit="V", description="D.")
        nwb.add_acquisition(series)
        return nwb

    report = write_nwb(make(wrap), tmp_path / "ours.nwb")
    assert_same_content(report.path, by_pynwb(make(lambda x: x), tmp_path / "theirs.nwb"))
    assert validate(path=str(report.path)) == []


def one(data: Any, **options: Any) -> NWBFile:
    nwb = new_file()
    nwb.add_acquisition(TimeSeries(name="x", data=data, rate=1.0, unit="V", description="D.", **options))
    return nwb


VALUES = recording(50_000, 4)
SMALL = VALUES[:100]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file.create_dataset("large", data=VALUES, compression="lzf")
        file.create_dataset("small", data=SMALL, compression="lzf")
        file.create_dataset("names", data=["a", "µ"] * 10, compression="lzf")
        yield file


@pytest.mark.parametrize("name", ["large", "small", "names"])
@BACKENDS
def test_datasets_of_other_files_are_copied(
    tmp_path: Path, elsewhere: h5py.File, name: str, backend: str, suffix: str
) -> None:
    out = tmp_path / f"a{suffix}"
    write_nwb(one(elsewhere[name]), out, backend=backend)
    if backend == "hdf5":
        assert filters_of(out) <= {"shuffle", "deflate"}
    with NWBHDF5IO(out, "r") if backend == "hdf5" else NWBZarrIO(str(out), "r") as io:
        data = io.read().acquisition["x"].data
        expected = elsewhere[name].asstr()[:] if name == "names" else elsewhere[name][:]
        np.testing.assert_array_equal(np.asarray(data[:]), expected)


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        pytest.param(None, (50_000, 4), id="memmap"),
        pytest.param(lambda: zarr.array(VALUES), (50_000, 4), id="zarr"),
        pytest.param(lambda: zarr.array(SMALL), (100, 4), id="small-zarr"),
        pytest.param(lambda: SliceableDataChunkIterator(SMALL), (100, 4), id="small-iterator"),
        pytest.param(lambda: Deferred(MemoryArray(VALUES[:0])), (0, 4), id="empty-deferred"),
        pytest.param(lambda: VALUES[:0], (0, 4), id="empty-array"),
        pytest.param(lambda: DataChunkIterator(iter(SMALL)), (100, 4), id="one-way"),
        pytest.param(lambda: VALUES[::2, ::-1], (25_000, 4), id="strided"),
        pytest.param(lambda: np.asfortranarray(VALUES), (50_000, 4), id="fortran"),
    ],
)
def test_other_data(tmp_path: Path, data: Callable[[], Any] | None, shape: tuple[int, ...]) -> None:
    if data is None:
        VALUES.tofile(tmp_path / "raw.dat")
        values: Any = np.memmap(tmp_path / "raw.dat", "<i2", "r", shape=VALUES.shape)
    else:
        values = data()
    expected = values[:] if hasattr(values, "shape") else SMALL
    write_nwb(one(values), tmp_path / "a.nwb")
    with h5py.File(tmp_path / "a.nwb") as file:
        found = file["acquisition/x/data"]
        assert found.shape == shape
        np.testing.assert_array_equal(found[()], np.asarray(expected))


def test_chunks_of_a_dataio_are_kept(tmp_path: Path) -> None:
    data = H5DataIO(VALUES, chunks=(1000, 2), maxshape=(None, 4))
    report = write_nwb(one(data), tmp_path / "a.nwb")
    with h5py.File(report.path) as file:
        assert file["acquisition/x/data"].chunks == (1000, 2)
        assert file["acquisition/x/data"].maxshape == (None, 4)
    write_nwb(one(ZarrDataIO(VALUES, chunks=(1000, 2))), tmp_path / "a.nwb.zarr", backend="zarr")
    assert zarr.open(str(tmp_path / "a.nwb.zarr"), "r")["acquisition/x/data"].chunks == (1000, 2)


@pytest.mark.filterwarnings("ignore:lzf compression may not be available:UserWarning")  # hdmf agrees
def test_codecs_that_not_all_can_read_are_replaced(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="x/data: shuffle and gzip take the place of compression='lzf'"):
        write_nwb(one(H5DataIO(VALUES, compression="lzf")), tmp_path / "a.nwb")
    assert filters_of(tmp_path / "a.nwb") == {"shuffle", "deflate"}
    write_nwb(one(H5DataIO(SMALL, compression="lzf")), tmp_path / "b.nwb")
    assert filters_of(tmp_path / "b.nwb") == set()


@pytest.mark.filterwarnings("ignore:.* compression may not be available:UserWarning")  # hdmf agrees
@pytest.mark.parametrize(("asked", "number"), [
    (dict(hdf5plugin.Zstd(clevel=5)), 32015),
    (dict(hdf5plugin.Blosc(cname="lz4", clevel=5)), 32001),
    (dict(hdf5plugin.Blosc(cname="zstd")), 32001),
], ids=["zstd", "blosc-lz4", "blosc-zstd"])  # fmt: skip
def test_plugins_that_a_dataio_asks_for_are_kept_and_named(asked: dict[str, Any], number: int, tmp_path: Path) -> None:
    data = H5DataIO(VALUES, allow_plugin_filters=True, **asked)
    with pytest.warns(ReadersWarning, match="x/data: .* cannot read it without a plugin"):
        report = write_nwb(one(data), tmp_path / "a.nwb")
    assert report.verified
    with h5py.File(report.path) as file:
        found = file["acquisition/x/data"]
        plist = found.id.get_create_plist()
        assert number in {plist.get_filter(k)[0] for k in range(plist.get_nfilters())}
        np.testing.assert_array_equal(found[()], VALUES)


def test_gzip_of_any_level_is_gzip(tmp_path: Path) -> None:
    report = write_nwb(one(H5DataIO(VALUES, compression="gzip", compression_opts=9)), tmp_path / "a.nwb")
    assert filters_of(report.path) == {"shuffle", "deflate"}


@pytest.mark.parametrize("codec", [
    numcodecs.LZ4(), numcodecs.GZip(2), numcodecs.Blosc("zlib", clevel=3, shuffle=numcodecs.Blosc.SHUFFLE),
], ids=str)  # fmt: skip
def test_codecs_that_a_dataio_asks_for_are_kept(codec: Any, tmp_path: Path) -> None:
    report = write_nwb(one(ZarrDataIO(VALUES, compressor=codec)), tmp_path / "a.nwb.zarr", backend="zarr")
    assert report.verified
    found = zarr.open(str(report.path), "r")["acquisition/x/data"]
    assert found.compressor == codec
    np.testing.assert_array_equal(found[:], VALUES)


def test_a_dataio_of_the_other_backend_says_nothing_of_filters(tmp_path: Path) -> None:
    report = write_nwb(one(ZarrDataIO(VALUES, compressor=numcodecs.LZ4())), tmp_path / "a.nwb")
    assert filters_of(report.path) == {"shuffle", "deflate"}


def test_validators_find_nothing(tmp_path: Path) -> None:
    from nwbinspector import Importance, inspect_nwbfile

    report = write_nwb(everything(), tmp_path / "a.nwb")
    assert validate(path=str(report.path)) == []
    severe = [m for m in inspect_nwbfile(nwbfile_path=report.path) if m.importance.value >= Importance.CRITICAL.value]
    assert severe == []


def test_any_hdf5_can_open_it(tmp_path: Path) -> None:
    """The superblock and object headers are of the oldest version: HDF5 1.10 and the browsers' readers need that."""
    report = write_nwb(everything(), tmp_path / "a.nwb")
    assert report.path.read_bytes()[8] == 0  # superblock version
    with h5py.File(report.path) as file:
        assert file.libver[0] == "earliest"


def test_zarr(tmp_path: Path) -> None:
    report = write_nwb(everything(), tmp_path / "a.nwb.zarr", backend="zarr")
    assert report.verified
    expected = everything()
    with NWBZarrIO(str(report.path), "r") as io:
        assert validate(io=io) == []
        nwb = io.read()
        for name in ("ElectricalSeries", "TwoPhotonSeries", "ImageSeries", "analog", "big_endian", "small"):
            np.testing.assert_array_equal(nwb.acquisition[name].data[:], expected.acquisition[name].data)
        np.testing.assert_array_equal(
            nwb.acquisition["same_times"].timestamps[:], expected.acquisition["analog"].timestamps
        )
        np.testing.assert_array_equal(nwb.acquisition["same_data"].data[:], expected.acquisition["analog"].data)
        assert len(nwb.electrodes.to_dataframe()) == 70  # object references resolve in a plain install
        assert list(nwb.trials["side"][:2]) == ["left", "right"]


def test_zarr_references_are_json(tmp_path: Path) -> None:
    """hdmf-zarr keeps the codec in a private attribute; this fails when it moves."""
    write_nwb(ephys(VALUES, 4), tmp_path / "a.nwb.zarr", backend="zarr")
    array = json.loads((tmp_path / "a.nwb.zarr/general/extracellular_ephys/electrodes/group/.zarray").read_text())
    assert array["filters"][0]["id"] == "json2"
    attributes = zarr.open(str(tmp_path / "a.nwb.zarr"), "r")["acquisition/ElectricalSeries/electrodes"].attrs["table"]
    assert attributes["value"]["source"] == "."


def test_zarr_refuses_compound_references_before_work(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"(?s)stimulus\).*--backend hdf5") as refused:
        write_nwb(icephys(), tmp_path / "a.nwb.zarr", backend="zarr", progress=lambda _: pytest.fail("work was done"))
    assert refused.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@BACKENDS
def test_an_nwbfile_may_be_written_again(tmp_path: Path, backend: str, suffix: str) -> None:
    nwb = everything()
    first = write_nwb(nwb, tmp_path / f"a{suffix}", backend=backend)
    second = write_nwb(nwb, tmp_path / "b.nwb")
    assert [d.xxh128 for d in first.datasets] == [d.xxh128 for d in second.datasets]
    assert_same_content(second.path, by_pynwb(everything(), tmp_path / "theirs.nwb"))
    assert nwb.container_source is None


def test_manifest(tmp_path: Path) -> None:
    raw = tmp_path / "raw.dat"
    VALUES.tofile(raw)
    report = write_nwb(one(VALUES), tmp_path / "a.nwb", sources=[raw], extra_manifest={"project": "p"})
    manifest = read_manifest(report.manifest)
    assert report.manifest == tmp_path / "a.nwb.manifest.json"
    assert manifest.output == "a.nwb"
    assert manifest.bytes == report.output_bytes == report.path.stat().st_size
    assert manifest.sha256 == sha256_of(report.path)
    assert manifest.sources[0].path == str(raw)
    assert manifest.sources[0].bytes == VALUES.nbytes
    (dataset,) = manifest.datasets
    assert dataset.xxh128 == xxhash.xxh3_128(raw.read_bytes()).hexdigest()  # of the samples as the raw file has them
    assert (dataset.name, dataset.shape, dataset.dtype) == ("/acquisition/x/data", VALUES.shape, "<i2")
    assert dataset.chunks == VALUES.shape
    assert dataset.codec.startswith("shuffle+gzip (planar): smallest at 300 MB/s a core or more")
    assert dataset.verified
    assert manifest.verified
    assert manifest.details == {"backend": "hdf5", "verify": "full", "project": "p"}
    assert {"dandify", "pynwb", "hdmf", "h5py"} <= set(manifest.versions)
    assert report.ratio == pytest.approx(dataset.ratio)
    assert report.mb_per_s > 0


def test_unverified_is_said(tmp_path: Path) -> None:
    stages = set()
    report = write_nwb(one(VALUES), tmp_path / "a.nwb", verify=False, progress=lambda p: stages.add(p.stage))
    assert stages == {"write"}
    assert not report.verified
    assert not read_manifest(report.manifest).verified


def test_progress(tmp_path: Path) -> None:
    seen: list[Progress] = []
    report = write_nwb(everything(), tmp_path / "a.nwb", progress=seen.append)
    for stage in ("write", "verify"):
        steps = [p for p in seen if p.stage == stage]
        assert [p.done_bytes for p in steps] == sorted(p.done_bytes for p in steps)
        assert steps[-1].done_bytes == steps[-1].total_bytes
        assert "ElectricalSeries/data" in {p.name for p in steps}
    written = [p for p in seen if p.stage == "write"]
    assert all(p.encoded_bytes == p.done_bytes <= p.read_bytes for p in written)
    assert written[-1].read_bytes == report.raw_bytes
    assert written[-1].stored_bytes == report.stored_bytes


@BACKENDS
def test_existing_output(tmp_path: Path, backend: str, suffix: str) -> None:
    out = tmp_path / f"a{suffix}"
    write_nwb(one(VALUES), out, backend=backend)
    with pytest.raises(OutputExists, match="exists already"):
        write_nwb(one(VALUES + 1), out, backend=backend, progress=lambda _: pytest.fail("work was done"))
    report = write_nwb(one(VALUES + 1), out, backend=backend, overwrite=True)
    assert read_manifest(report.manifest).datasets[0].xxh128 == report.datasets[0].xxh128
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, out.name + ".manifest.json"]


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        pytest.param("a.nwb", {"memory": "5MB"}, r"x/data needs \d+ MB .*5 MB are allowed", id="memory"),
        pytest.param("a.nwb", {"memory": "lots"}, "not a size", id="no-size"),
        pytest.param("a.nwb", {"backend": "matlab"}, "one of hdf5, zarr", id="backend"),
        pytest.param("a.nwb", {"compression": "rar"}, "one of gzip", id="compression"),
        pytest.param("a.nwb", {"workers": 0}, "0 workers", id="workers"),
        pytest.param("a.h5", {}, "name it a.nwb", id="name"),
        pytest.param("a.nwb", {"backend": "zarr"}, "name it a.nwb.zarr", id="zarr-name"),
    ],
)
def test_bad_requests(tmp_path: Path, path: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=rf"(?s){words}"):
        write_nwb(one(VALUES), tmp_path / path, **options)
    assert list(tmp_path.iterdir()) == []
