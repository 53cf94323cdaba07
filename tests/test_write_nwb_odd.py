"""write_nwb of what is odd and legal: every type of pynwb, every form of data, files that were read or written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdmf.data_utils import AbstractDataChunkIterator, DataChunk, DataChunkIterator
from hdmf_zarr import NWBZarrIO
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries, validate

from dandify.errors import BadRequest, VerificationFailed
from dandify.nwb.compare import compare_nwb
from dandify.nwb.plan import plan_nwb
from dandify.nwb.structure import write_zarr_structure
from dandify.nwb.types import current_types
from dandify.nwb.write import write_nwb
from nwb_cases import by_pynwb, new_file, recording
from nwb_oddities import ODD

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:pynwb", "ignore::UserWarning:hdmf",
    "ignore:missing object_codec for object array:FutureWarning",  # hdmf-zarr, of texts that it read
)  # fmt: skip
IN_ZARR = [name for name in ODD if name != "intracellular"]  # its rows hold references, which Zarr v2 cannot
SUFFIXES = {"hdf5": ".nwb", "zarr": ".nwb.zarr"}
VALUES = recording(50_000, 4)


def by_hdmf_zarr(nwb: NWBFile, path: Path) -> Path:
    """Write what hdmf-zarr writes, with its references in JSON so that they can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_zarr_structure(nwb, path, lambda root: None)
    return path


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    with NWBHDF5IO(path, "r") if path.suffix == ".nwb" else NWBZarrIO(str(path), "r") as io:
        yield io


def differences(ours: Path, theirs: Path) -> list[str]:
    """All but what hdmf-zarr calls the type of an iterator's values, which it names otherwise than an array's."""
    found = map(str, compare_nwb(ours, theirs, ignore_attributes=("object_id",)).differences)
    return [d for d in found if not re.search(r"is of type (\S+) \S+ and \1 [a-z]\w*$", d)]


def complaints(path: Path) -> list[str]:
    """What pynwb's validator and the inspector have to say."""
    from nwbinspector import Importance, inspect_nwbfile

    found = [
        m for m in inspect_nwbfile(nwbfile_path=path)
        if m.importance in (Importance.ERROR, Importance.PYNWB_VALIDATION, Importance.CRITICAL)
    ]  # fmt: skip
    return sorted({f"{m.check_function_name} {m.location} {m.message.splitlines()[-1]}" for m in found})


@pytest.mark.parametrize("name", ODD)
def test_hdf5_is_what_pynwb_writes(tmp_path: Path, name: str) -> None:
    theirs = by_pynwb(ODD[name](), tmp_path / "theirs.nwb")
    report = write_nwb(ODD[name](), tmp_path / "ours.nwb")
    assert report.verified
    assert differences(report.path, theirs) == []
    assert complaints(report.path) == complaints(theirs)


@pytest.mark.parametrize("name", IN_ZARR)
def test_zarr_is_what_hdmf_zarr_writes(tmp_path: Path, name: str) -> None:
    report = write_nwb(ODD[name](), tmp_path / "ours.nwb.zarr", backend="zarr")
    theirs = by_hdmf_zarr(ODD[name](), tmp_path / "theirs.nwb.zarr")
    assert report.verified
    assert differences(report.path, theirs) == []
    with opened(report.path) as a, opened(theirs) as b:
        assert list(map(str, validate(io=a))) == list(map(str, validate(io=b)))


EXPORTS = [
    *((name, "hdf5", "hdf5") for name in ODD), ("behaviour", "hdf5", "zarr"), ("ecephys", "zarr", "hdf5"),
    ("tables", "zarr", "zarr"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "read", "backend"), EXPORTS)
def test_a_file_that_was_read_is_what_pynwb_exports(tmp_path: Path, name: str, read: str, backend: str) -> None:
    source = tmp_path / f"source{SUFFIXES[read]}"
    (by_pynwb if read == "hdf5" else by_hdmf_zarr)(ODD[name](), source)
    with opened(source) as io:
        nwb = io.read()
        report = write_nwb(nwb, tmp_path / f"ours{SUFFIXES[backend]}", backend=backend)
        assert nwb.container_source == str(source)
        theirs = tmp_path / f"theirs{SUFFIXES[backend]}"
        if backend == "hdf5":
            with NWBHDF5IO(theirs, "w") as export:
                export.export(src_io=io, nwbfile=nwb, write_args={"link_data": False})
        else:
            by_hdmf_zarr(nwb, theirs)
    assert differences(report.path, theirs) == []
    with opened(source) as a, opened(report.path) as b:
        assert a.read().object_id == b.read().object_id


def test_a_file_that_was_read_and_added_to(tmp_path: Path) -> None:
    source = by_pynwb(ODD["behaviour"](), tmp_path / "a.nwb")
    with NWBHDF5IO(source, "r") as io:
        nwb = io.read()
        nwb.add_acquisition(TimeSeries(name="new", data=VALUES, rate=1.0, unit="V", description="D."))
        assert "/acquisition/new/data" in {d.path_in_file for d in plan_nwb(nwb, tmp_path / "b.nwb").datasets}
        report = write_nwb(nwb, tmp_path / "b.nwb")
        assert write_nwb(nwb, source, overwrite=True).verified  # in its own place, too
        np.testing.assert_array_equal(nwb.processing["behavior"]["Position"]["xy"].data[:5], _xy(report.path)[:5])
    assert differences(source, report.path) == []
    assert validate(path=str(report.path)) == []


def _xy(path: Path) -> Any:
    with h5py.File(path) as file:
        return file["processing/behavior/Position/xy/data"][()]


def test_a_file_that_was_written_before(tmp_path: Path) -> None:
    nwb = ODD["tables"]()
    theirs = by_pynwb(nwb, tmp_path / "theirs.nwb")
    report = write_nwb(nwb, tmp_path / "ours.nwb")
    assert compare_nwb(report.path, theirs).differences == ()


def test_an_extension_that_only_the_file_knows(tmp_path: Path) -> None:
    """Another process writes the file, so that nothing of the extension is loaded here."""
    code = """
    import sys
    from pathlib import Path
    from pynwb import get_class, load_namespaces
    from pynwb.spec import NWBAttributeSpec, NWBDatasetSpec, NWBGroupSpec, NWBNamespaceBuilder
    from dandify.nwb.write import write_nwb
    from nwb_cases import new_file, recording
    folder = Path(sys.argv[1])
    made = NWBNamespaceBuilder("Mine.", "ndx-mine", version="0.1.0", author="A", contact="C")
    made.include_namespace("core")
    made.add_spec("mine.yaml", NWBGroupSpec(
        "Mine.", neurodata_type_def="MySeries", neurodata_type_inc="TimeSeries",
        datasets=[NWBDatasetSpec("Extra.", name="extra", shape=(None,), dtype="float32")],
        attributes=[NWBAttributeSpec("level", "Level.", dtype="int")],
    ))
    made.export("mine.namespace.yaml", outdir=str(folder))
    load_namespaces(str(folder / "mine.namespace.yaml"))
    series = get_class("MySeries", "ndx-mine")(
        name="m", data=recording(20_000, 4), rate=1.0, unit="V", description="D.", level=3, extra=[0.5] * 50_000
    )
    nwb = new_file()
    nwb.add_acquisition(series)
    write_nwb(nwb, folder / "a.nwb")
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), tmp_path], env=environment, check=True)
    source = tmp_path / "a.nwb"
    with NWBHDF5IO(source, "r") as io:
        nwb = io.read()
        assert type(nwb.acquisition["m"]).__name__ == "MySeries"
        report = write_nwb(nwb, tmp_path / "b.nwb")
    assert compare_nwb(report.path, source).differences == ()
    assert {d.name for d in report.datasets} == {"m/data", "m/extra"}
    assert validate(path=str(report.path)) == []


@pytest.mark.parametrize("folder", [".", "sub µ"])
def test_objects_of_another_file_become_links_to_it(tmp_path: Path, folder: str) -> None:
    source = by_pynwb(one(VALUES), tmp_path / "a.nwb")
    (tmp_path / folder).mkdir(exist_ok=True)
    with NWBHDF5IO(source, "r") as io:
        nwb = new_file()
        nwb.add_acquisition(io.read().acquisition["x"])
        report = write_nwb(nwb, tmp_path / folder / "b.nwb")
        with pytest.raises(BadRequest, match=r"root/x\): was read from .*a\.nwb, and a link to it cannot be written"):
            write_nwb(nwb, tmp_path / "c.nwb.zarr", backend="zarr")
    with h5py.File(report.path) as file:
        np.testing.assert_array_equal(file["acquisition/x/data"][()], VALUES)
    assert [p.name for p in tmp_path.glob("c.*")] == []


def test_a_file_whose_reader_is_closed(tmp_path: Path) -> None:
    source = by_pynwb(ODD["words"](), tmp_path / "a.nwb")
    with NWBHDF5IO(source, "r") as io:
        nwb = io.read()
    with pytest.raises(BadRequest, match=r"was read from .*a\.nwb, which is closed"):
        write_nwb(nwb, tmp_path / "b.nwb")


def one(data: Any) -> NWBFile:
    nwb = new_file()
    nwb.add_acquisition(TimeSeries(name="x", data=data, rate=1.0, unit="V", description="D."))
    return nwb


FORMS: dict[str, Callable[[int], Any]] = {
    "growing": lambda n: H5DataIO(VALUES[:n], maxshape=(None, 4), chunks=True),
    "growing-from-nothing": lambda n: H5DataIO(VALUES[:0], maxshape=(None, 4), chunks=(n, 4)),
    "truth-values": lambda n: H5DataIO(VALUES[:n] > 0, compression="gzip"),
    "list": lambda n: H5DataIO(VALUES[:n, 0].tolist(), compression="gzip", chunks=True),
    "texts": lambda n: H5DataIO(["a", "b"] * n, compression="gzip", maxshape=(None,)),
    "to-be-filled": lambda n: H5DataIO(shape=(n, 4), dtype=np.dtype("i2"), maxshape=(None, 4)),
    "iterator-over-an-array": lambda n: DataChunkIterator(data=VALUES[:n], maxshape=(None, 4), buffer_size=999),
    "one-way": lambda n: DataChunkIterator(data=iter(VALUES[:n]), maxshape=(None, 4), buffer_size=999),
    "mixed-list": lambda n: [1, 2.5] * n,
    "list-of-arrays": lambda n: [np.arange(4.0) for _ in range(n)],
    "list-of-truth": lambda n: [True, False] * n,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [100, 50_000])
def test_forms_of_data_are_what_pynwb_writes(tmp_path: Path, form: str, rows: int) -> None:
    theirs = by_pynwb(one(FORMS[form](rows)), tmp_path / "theirs.nwb")
    ours = write_nwb(one(FORMS[form](rows)), tmp_path / "ours.nwb").path
    assert differences(ours, theirs) == []


@pytest.mark.parametrize("rows", [100, 50_000])
def test_growth_of_datasets_of_other_files_is_kept(tmp_path: Path, rows: int) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("x", data=VALUES[:rows], maxshape=(None, 4), compression="lzf")
        file.create_dataset("flags", data=VALUES[:rows] > 0, compression="lzf")
        nwb = one(file["x"])
        nwb.add_acquisition(TimeSeries(name="flags", data=file["flags"], rate=1.0, unit="V"))
        report = write_nwb(nwb, tmp_path / "ours.nwb")
    with h5py.File(report.path) as file:
        assert file["acquisition/x/data"].maxshape == (None, 4)
        np.testing.assert_array_equal(file["acquisition/flags/data"][()], VALUES[:rows] > 0)
        assert {file[f"acquisition/{name}/data"].compression for name in ("x", "flags")} <= {None, "gzip"}


def test_lists_of_tables_are_compressed_and_proved(tmp_path: Path) -> None:
    report = write_nwb(ODD["ophys"](), tmp_path / "a.nwb")
    masks = {d.name: d for d in report.datasets}["dense/image_mask"]
    assert masks.verified
    assert masks.raw_bytes > 4 * masks.stored_bytes


def test_dataios_are_left_as_they_were(tmp_path: Path) -> None:
    """hdmf notes in a DataIO which dataset it became, and refuses to write it again."""
    nwb = one(H5DataIO(["a", "b"], compression="gzip"))
    nwb.add_acquisition(TimeSeries(name="y", data=H5DataIO(VALUES > 0, compression="gzip"), rate=1.0, unit="V"))
    nwb.add_acquisition(TimeSeries(name="z", data=H5DataIO(shape=(4,), dtype=np.dtype("i2")), rate=1.0, unit="V"))
    first, second = (write_nwb(nwb, tmp_path / f"{name}.nwb") for name in "ab")
    assert compare_nwb(first.path, second.path).differences == ()
    assert compare_nwb(first.path, by_pynwb(nwb, tmp_path / "c.nwb")).differences == ()


@pytest.mark.parametrize("backend", SUFFIXES)
def test_a_one_way_iterator_is_not_written_twice(tmp_path: Path, backend: str) -> None:
    nwb = one(DataChunkIterator(data=iter(VALUES), buffer_size=1000))
    plan_nwb(nwb, tmp_path / f"a{SUFFIXES[backend]}", backend=backend)
    report = write_nwb(nwb, tmp_path / f"a{SUFFIXES[backend]}", backend=backend)
    with opened(report.path) as io:
        np.testing.assert_array_equal(io.read().acquisition["x"].data[:], VALUES)
    with pytest.raises(BadRequest, match=r"/acquisition/x/data\): its DataChunkIterator was used up"):
        write_nwb(nwb, tmp_path / f"b{SUFFIXES[backend]}", backend=backend)
    assert not list(tmp_path.glob("b.*"))


class Lying(AbstractDataChunkIterator):  # type: ignore[misc]  # hdmf has no types
    """Changes what it has yielded, as a buffer does that is used again too early."""

    dtype, maxshape = np.dtype("i2"), (None, 4)

    def __init__(self, rows: list[slice]) -> None:
        self._rows, self._values = iter(rows), VALUES.copy()

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> DataChunk:
        rows = next(self._rows)
        return DataChunk(self._values[rows], (rows, slice(None)))

    def recommended_chunk_shape(self) -> None:
        return None

    def recommended_data_shape(self) -> tuple[int, ...]:
        return (1000, 4)


def test_what_a_one_way_iterator_yields_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dandify.nwb import oneway

    report = write_nwb(one(Lying([slice(0, 500), slice(500, 1000)])), tmp_path / "a.nwb")
    assert report.notes == ()
    backwards = write_nwb(one(Lying([slice(500, 1000), slice(0, 500)])), tmp_path / "b.nwb")
    assert backwards.notes == ("/acquisition/x/data was not read back: its iterator yields in no order",)
    assert differences(report.path, backwards.path) == []
    inner = oneway.OneWay._note

    def note_and_spoil(self: oneway.OneWay, chunk: DataChunk) -> None:
        inner(self, chunk)
        chunk.data[0, 0] += 1

    monkeypatch.setattr(oneway.OneWay, "_note", note_and_spoil)
    with pytest.raises(VerificationFailed, match="is not what its iterator yielded"):
        write_nwb(one(Lying([slice(0, 1000)])), tmp_path / "c.nwb")
    assert not (tmp_path / "c.nwb").exists()


def test_types_are_copied_once_and_again_when_others_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynwb

    before = current_types()
    assert current_types() is before
    shared = pynwb.get_type_map(copy=False)

    class Other(pynwb.base.TimeSeries):  # type: ignore[misc]  # pynwb has no types
        """Stands for TimeSeries."""

    kept = dict(shared._TypeMap__mapper_cls)
    try:
        shared._TypeMap__mapper_cls[Other] = kept[TimeSeries]
        assert current_types() is not before
    finally:
        del shared._TypeMap__mapper_cls[Other]
