"""repack and compare_nwb: nothing is lost, whoever wrote the file; what cannot be carried is refused by name."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from hdmf_zarr import NWBZarrIO
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, validate

import dandify
from dandify.cli.main import main
from dandify.errors import BadRequest, BadSource, OutputExists, VerificationFailed
from dandify.nwb.compare import compare_nwb
from dandify.nwb.repack import repack
from dandify.nwb.write import write_nwb
from dandify.store.manifest import read_manifest
from hdf5_oddities import LARGE, write_oddities
from nwb_cases import assert_same_content, by_pynwb, ephys, everything, icephys, large_table, recording
from shared_data import ROOT

REAL = sorted(ROOT.rglob("*.nwb"))


@pytest.mark.filterwarnings("ignore:lzf compression may not be available:UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: everything(lambda v: H5DataIO(v, compression="lzf", chunks=True)), id="everything"),
        pytest.param(large_table, id="tables"),
        pytest.param(icephys, id="compound-references"),
    ],
)
def test_hdf5_to_hdf5(tmp_path: Path, make: Callable[[], NWBFile]) -> None:
    source = by_pynwb(make(), tmp_path / "theirs.nwb")
    report = repack(source, tmp_path / "ours.nwb")
    assert report.compared
    assert report.written.verified
    assert len(report.written.datasets) >= 3
    assert compare_nwb(source, report.written.path).differences == ()
    assert_same_content(report.written.path, source)
    with h5py.File(source) as a, h5py.File(report.written.path) as b:
        assert a.attrs["object_id"] == b.attrs["object_id"]
        assert b[b.attrs[".specloc"]].name == "/specifications"
    assert validate(path=str(report.written.path)) == []


def test_nothing_that_hdf5_can_hold_is_lost(tmp_path: Path) -> None:
    source = write_oddities(tmp_path / "odd.nwb")
    copy = repack(source, tmp_path / "elsewhere" / "copy.nwb").written.path
    assert compare_nwb(source, copy).differences == ()
    with h5py.File(copy) as file:  # by h5py alone: the comparison may be blind where the copy is
        assert list(file["tracked"]) == ["z", "a", "µ"]
        assert file["hard"] == file["tracked/a"]
        assert file["also_large"] == file["large"]
        assert file["large"].maxshape == (None, 4)
        assert file.get("dangling", getlink=True).path == "/nowhere"
        np.testing.assert_array_equal(file["external"][()], LARGE)
        np.testing.assert_array_equal(file["virtual"][50_000:], LARGE)
        assert not file["virtual"].is_virtual
        assert file["half"].fillvalue == 1.5
        assert file[file["objects"][1]] == file["tracked/a"]
        assert not file["objects"][2]
        np.testing.assert_array_equal(file["large"][file["regions"][0]], LARGE[10:20, 1:2])
        assert file[file["rows"][1]["series"]] == file["tracked"]
        assert file[file["many"][0][1]] == file["/"]
        assert file["y"].dims[0]["time"] == file["x"]
        assert file["y"].dims[1].label == "side"
        assert h5py.check_enum_dtype(file["enum"].dtype) == {"OFF": 0, "ON": 1}
        assert isinstance(file["named"], h5py.Datatype)
        assert file["nothing"].shape is None
        np.testing.assert_array_equal(file["packed"][:], np.arange(40_000))
        for name in ("large", "mask", "big", "packed"):
            assert file[name].compression == "gzip", name


@pytest.mark.skipif(not REAL, reason="real data absent (set DANDIFY_SHARED_DATA)")
@pytest.mark.parametrize("source", REAL, ids=lambda p: p.stem)
def test_files_of_older_pynwb_and_of_others(tmp_path: Path, source: Path) -> None:
    copy = repack(source, tmp_path / "a.nwb").written.path
    assert compare_nwb(source, copy).differences == ()
    with h5py.File(source) as file:
        rows = "general/intracellular_ephys/intracellular_recordings/responses/response" in file
    if rows:
        with pytest.raises(BadRequest, match=r"(?s)responses/response.*--backend hdf5"):
            repack(source, tmp_path / "a.nwb.zarr")
        assert not (tmp_path / "a.nwb.zarr").exists()
        return
    through = repack(source, tmp_path / "a.nwb.zarr").written.path
    back = repack(through, tmp_path / "b.nwb").written.path
    assert [d for d in compare_nwb(source, back).differences if "is of type" not in d.what] == []  # ASCII is UTF-8 now


def test_zarr_and_back(tmp_path: Path) -> None:
    source = by_pynwb(everything(), tmp_path / "a.nwb")
    folder = repack(source, tmp_path / "a.nwb.zarr").written.path
    assert compare_nwb(source, folder).differences == ()
    expected = everything()
    with NWBZarrIO(str(folder), "r") as io:  # hdmf-zarr finds its own conventions kept
        assert validate(io=io) == []
        nwb = io.read()
        for name in ("ElectricalSeries", "TwoPhotonSeries", "analog", "big_endian", "small"):
            np.testing.assert_array_equal(nwb.acquisition[name].data[:], expected.acquisition[name].data)
        assert nwb.acquisition["same_times"].timestamps[5] == expected.acquisition["analog"].timestamps[5]
        assert nwb.acquisition["same_data"].data[7] == expected.acquisition["analog"].data[7]
        assert len(nwb.electrodes.to_dataframe()) == 70
        assert list(nwb.trials["side"][:2]) == ["left", "right"]
        assert nwb.subject.subject_id == "m1"
    again = repack(folder, tmp_path / "b.nwb.zarr", compression="gzip").written.path
    assert compare_nwb(folder, again).differences == ()
    back = repack(again, tmp_path / "b.nwb").written.path
    lost = [d.what for d in compare_nwb(source, back).differences]
    assert all("may grow" in what or "is of type |O" in what for what in lost)  # Zarr knows neither growth nor ASCII
    assert validate(path=str(back)) == []
    with NWBHDF5IO(back, "r") as io:
        assert io.read().acquisition["ElectricalSeries"].electrodes.table.name == "electrodes"


def test_zarr_of_write_nwb_equals_its_hdf5(tmp_path: Path) -> None:
    nwb = everything()
    write_nwb(nwb, tmp_path / "a.nwb.zarr", backend="zarr")
    back = repack(tmp_path / "a.nwb.zarr", tmp_path / "b.nwb").written.path
    assert validate(path=str(back)) == []
    with NWBHDF5IO(back, "r") as io:
        np.testing.assert_array_equal(io.read().acquisition["big_endian"].data[:], recording(20_000, 3, seed=2))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("rows", "rows that mix numbers with references", id="compound-references"),
        pytest.param("regions", "references to nothing or to a part", id="regions"),
        pytest.param("objects", "references to nothing or to a part", id="null-reference"),
        pytest.param("nothing", "declared to have no values", id="no-values"),
        pytest.param("ragged", "values of type", id="ragged"),
        pytest.param("enum", "values of type", id="enum"),
        pytest.param("external", "a link into another HDF5 file", id="external-link"),
        pytest.param("named", "a named type", id="named-type"),
    ],
)
def test_what_zarr_cannot_hold_is_refused_by_name(tmp_path: Path, name: str, words: str) -> None:
    write_oddities(tmp_path / "odd.nwb")
    with h5py.File(tmp_path / "odd.nwb", "r+") as file:
        kept = {name, "large", "tracked"}
        for other in set(file) - kept:
            del file[other]
        for attribute in list(file.attrs):
            del file.attrs[attribute]
    with pytest.raises(BadRequest, match=rf"(?s)/{name}\): .*{words}.*--backend hdf5"):
        repack(tmp_path / "odd.nwb", tmp_path / "a.nwb.zarr", progress=lambda _: pytest.fail("work was done"))
    assert not list(tmp_path.glob("a.nwb*"))


def test_a_missing_filter_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((100_000,))
        plist.set_filter(32_123, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((100_000,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.STD_I16LE, space, plist).write_direct_chunk((0,), b"abc")
    with pytest.raises(BadSource, match=r"(?s)/x\).*filter 32123.*pip install hdf5plugin"):
        repack(tmp_path / "a.nwb", tmp_path / "b.nwb")
    assert not list(tmp_path.glob("b.nwb*"))


def test_pickled_references_are_named(tmp_path: Path) -> None:
    with warnings.catch_warnings(), NWBZarrIO(str(tmp_path / "a.nwb.zarr"), "w") as io:
        warnings.simplefilter("ignore")
        io.write(ephys(recording(), 70))  # hdmf-zarr's default: pickles
    with pytest.raises(BadSource, match=r"(?s)electrodes/group\).*pickles.*NUMCODECS_ALLOW_UNSAFE_PICKLE_DECODE=1"):
        repack(tmp_path / "a.nwb.zarr", tmp_path / "b.nwb")


@pytest.mark.parametrize("compression", ["zstd", "blosc-zstd", "blosc-lz4"])
@pytest.mark.filterwarnings("ignore::dandify.store.compression.ReadersWarning")
def test_plugins_there_and_back(tmp_path: Path, compression: str) -> None:
    source = by_pynwb(ephys(recording(), 70), tmp_path / "a.nwb")
    packed = repack(source, tmp_path / "b.nwb", compression=compression).written.path
    back = repack(packed, tmp_path / "c.nwb").written.path
    assert_same_content(back, source)


def test_chunks_that_are_asked_for(tmp_path: Path) -> None:
    source = by_pynwb(ephys(recording(), 70), tmp_path / "a.nwb")
    place = "/acquisition/ElectricalSeries/data"
    repack(source, tmp_path / "b.nwb", chunks={place: (1000, 7)})
    with h5py.File(tmp_path / "b.nwb") as file:
        assert file[place].chunks == (1000, 7)
    with pytest.raises(BadRequest, match=r"(?s)/acquisition/other\).*one of /acquisition/ElectricalSeries/data"):
        repack(source, tmp_path / "c.nwb", chunks={"acquisition/other": (1,)})


def test_a_user_block_is_said_to_be_left_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nwb", "w", userblock_size=512) as file:
        file["large"] = LARGE
    report = repack(tmp_path / "a.nwb", tmp_path / "b.nwb")
    assert report.written.notes == ("left out: the 512 bytes that lie before HDF5 begins (user block)",)
    assert compare_nwb(tmp_path / "a.nwb", report.written.path).differences == ()


def test_the_least_memory_is_named(tmp_path: Path) -> None:
    source = by_pynwb(ephys(recording(), 70), tmp_path / "a.nwb")
    with pytest.raises(BadRequest) as refused:
        repack(source, tmp_path / "b.nwb", memory="5MB", workers=2)
    least = re.search(r"allow at least (\d+MB)", str(refused.value))
    assert least is not None
    assert repack(source, tmp_path / "b.nwb", memory=least[1], workers=2).compared


def test_in_place(tmp_path: Path) -> None:
    source = by_pynwb(ephys(recording(), 70), tmp_path / "a.nwb")
    kept = shutil.copy(source, tmp_path / "kept.nwb")
    with pytest.raises(OutputExists):
        repack(source, source)
    report = repack(source, source, overwrite=True)
    assert report.written.output_bytes < report.source_bytes
    assert_same_content(source, Path(kept))
    manifest = read_manifest(report.written.manifest)
    assert manifest.details["repacked_from"] == "hdf5"
    assert manifest.datasets[0].verified


def test_a_difference_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that loses an attribute never gets the final name."""
    from dandify.store import copy_hdf5

    source = by_pynwb(ephys(recording(), 70), tmp_path / "a.nwb")
    monkeypatch.setattr(copy_hdf5, "_KEPT_BY_HDF5", {"unit"})
    with pytest.raises(VerificationFailed, match="only the second file has its attribute 'unit'"):
        repack(source, tmp_path / "b.nwb")
    assert not list(tmp_path.glob("b.nwb*"))


def change(path: str, index: Any, value: Any) -> Callable[[h5py.File], None]:
    def apply(file: h5py.File) -> None:
        file[path][index] = value

    return apply


def replace(path: str, make: Callable[[h5py.File, str], None]) -> Callable[[h5py.File], None]:
    def apply(file: h5py.File) -> None:
        del file[path]
        make(file, path)

    return apply


DIFFERENCES = [
    pytest.param(change("large", (49_999, 3), 7), "/also_large[49999, 3]: 7 and 3391", id="value"),
    pytest.param(change("contiguous", (1, 5), 0.0), "/contiguous[1, 5]: 0.0 and nan", id="nan"),
    pytest.param(change("text", 1, "u"), "/text[1]: 'u' and 'µ'", id="text"),
    pytest.param(
        lambda f: change("objects", 0, f["x"].ref)(f), "/objects[0]: -> /x and -> /also_large", id="reference"
    ),
    pytest.param(lambda f: f.attrs.modify("text", "v"), "/: attribute 'text' is 'v' and 'µ'", id="attribute"),
    pytest.param(lambda f: f.attrs.pop("flags"), "/: only the second file has its attribute", id="no-attribute"),
    pytest.param(replace("soft", lambda f, p: f.create_group(p)), "/soft: a group and a link", id="kind"),
    pytest.param(
        replace("soft", lambda f, p: f.__setitem__(p, h5py.SoftLink("/x"))), "/soft: leads to /x and to /tracked/z",
        id="link",
    ),
    pytest.param(
        replace("large", lambda f, p: f.__setitem__(p, h5py.SoftLink("/also_large"))), "/large: a soft link and a hard",
        id="sort-of-link",
    ),
    pytest.param(replace("scalar", lambda f, p: f.__setitem__(p, 1.5)), "/scalar: is of type f8 and f4", id="type"),
    pytest.param(
        replace("big", lambda f, p: f.__setitem__(p, LARGE / 3)), "/big: is of type <f8", id="byte-order"
    ),
    pytest.param(replace("x", lambda f, p: f.__setitem__(p, [1.0])), "/x: has shape (1,) and (5,)", id="shape"),
    pytest.param(lambda f: f.create_group("new"), "/new: the second file has no such object", id="more"),
    pytest.param(
        lambda f: change("rows", 1, (5, 8, f["tracked"].ref))(f), "/rows[1]: count: 8 and 7", id="compound"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("alter", "words"), DIFFERENCES)
def test_every_difference_is_found(tmp_path: Path, alter: Callable[[h5py.File], None], words: str) -> None:
    source = write_oddities(tmp_path / "odd.nwb")
    other = Path(shutil.copy(source, tmp_path / "other.nwb"))
    assert compare_nwb(other, source).differences == ()
    with h5py.File(other, "r+") as file:
        alter(file)
    assert words in "\n".join(map(str, compare_nwb(other, source).differences))


def test_differences_across_backends_are_found(tmp_path: Path) -> None:
    source = by_pynwb(everything(), tmp_path / "a.nwb")
    folder = repack(source, tmp_path / "a.nwb.zarr").written.path
    root = zarr.open_group(str(folder), "r+")
    root["acquisition/TwoPhotonSeries/data"][129, 60, 82] += 1
    root["acquisition/analog"].attrs["description"] = "Else."
    del root["intervals/trials/side"]
    found = [str(d) for d in compare_nwb(source, folder).differences]
    assert len(found) == 3
    assert found[0].startswith("/acquisition/TwoPhotonSeries/data[129, 60, 82]: ")
    assert found[1] == "/acquisition/analog: attribute 'description' is 'Irregular.' and 'Else.'"
    assert found[2] == "/intervals/trials/side: the second file has no such object"


def test_cli(tmp_path: Path) -> None:
    source = by_pynwb(ephys(recording(), 70), tmp_path / "a.nwb")
    done = CliRunner().invoke(main, ["repack", str(source), str(tmp_path / "b.nwb"), "--compression", "zstd"])
    assert done.exit_code == 0, done.output
    assert "Neurosift" in done.stderr
    assert "same content" in done.stdout
    data = "/acquisition/ElectricalSeries/data=500,70"
    done = CliRunner().invoke(main, ["repack", str(source), str(tmp_path / "c.nwb"), "--json", "--chunks", data])
    record = json.loads(done.stdout)
    assert record["compared"]
    assert record["datasets"][0]["path"] == "/acquisition/ElectricalSeries/data"
    assert dandify.repack is repack
    assert CliRunner().invoke(main, ["repack", str(source), str(tmp_path / "c.nwb")]).exit_code == 1
