"""Chunks by name, and `--dry-run`: what is shown is what is done, and nothing is written."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from click.testing import CliRunner, Result
from pynwb import H5DataIO, NWBFile, TimeSeries

from dandify.cli.main import main
from dandify.errors import BadRequest
from dandify.examples.light_sheet import write_light_sheet
from dandify.examples.spikeglx import write_spikeglx_run
from dandify.nwb.plan import plan_nwb
from dandify.nwb.write import write_nwb
from dandify.store.manifest import read_manifest
from dandify.store.shapes import parse_chunks
from nwb_cases import ephys, everything, icephys, new_file, recording
from tiff_makers import write_imagej

FLAGS = (
    "--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1",
    "--session-start", "2026-03-01T14:30:00+01:00",
)  # fmt: skip
VALUES = recording(100_000, 16)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def everything_below(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.fixture
def spikeglx(tmp_path: Path) -> Path:
    (tmp_path / "rig").mkdir()
    return write_spikeglx_run(
        tmp_path / "rig", seed=1, probes=1, seconds=1.0, run_name="run", start=datetime(2026, 3, 1, 14, 30), channels=8
    )


@pytest.mark.parametrize(("backend", "suffix"), [("hdf5", ".nwb"), ("zarr", ".nwb.zarr")])
def test_what_is_planned_is_what_is_written(tmp_path: Path, backend: str, suffix: str) -> None:
    nwb, path = everything(), tmp_path / f"a{suffix}"
    plan = plan_nwb(nwb, path, backend=backend)
    assert list(tmp_path.iterdir()) == []
    report = write_nwb(nwb, path, backend=backend)
    assert [(d.name, d.shape, d.dtype, d.raw_bytes) for d in plan.datasets] == [
        (d.name, d.shape, d.dtype, d.raw_bytes) for d in report.datasets
    ]
    written = read_manifest(report.manifest).datasets
    assert [d.chunks for d in plan.datasets] == [d.chunks for d in written]
    assert [d.reason for d in plan.datasets] == [d.details["chunk_shape_reason"] for d in written]
    assert all(w.codec.startswith(d.encoder) for d, w in zip(plan.datasets, written, strict=True))
    assert plan.estimated_bytes == pytest.approx(report.stored_bytes, rel=0.25)
    assert plan.raw_bytes == report.raw_bytes
    assert 0 < plan.memory_bytes <= 10**9


def test_a_plan_refuses_what_writing_would(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="--backend hdf5"):
        plan_nwb(icephys(), tmp_path / "a.nwb.zarr", backend="zarr")
    with pytest.raises(BadRequest, match=r"ElectricalSeries/data needs \d+ MB"):
        plan_nwb(ephys(VALUES, 16), tmp_path / "a.nwb", memory="8MB", workers=1)
    with pytest.raises(BadRequest, match="are named"):
        plan_nwb(ephys(VALUES, 16), tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["ElectricalSeries", "ElectricalSeries/data", "/acquisition/ElectricalSeries/data"])
@pytest.mark.parametrize("backend", ["hdf5", "zarr"])
def test_chunks_by_name(tmp_path: Path, name: str, backend: str) -> None:
    path = tmp_path / f"a.nwb{'.zarr' * (backend == 'zarr')}"
    write_nwb(ephys(VALUES, 16), path, backend=backend, chunks={name: (3000, 5)})
    if backend == "zarr":
        assert zarr.open(str(path), "r")["acquisition/ElectricalSeries/data"].chunks == (3000, 5)
        return
    with h5py.File(path) as file:
        dataset = file["acquisition/ElectricalSeries/data"]
        assert dataset.chunks == (3000, 5)
        np.testing.assert_array_equal(dataset[()], VALUES)
    (described,) = read_manifest(tmp_path / "a.nwb.manifest.json").datasets
    assert described.details["chunk_shape_reason"] == "as asked for"


def test_chunks_by_name_win_over_a_dataio(tmp_path: Path) -> None:
    nwb = ephys(H5DataIO(VALUES, chunks=(1000, 2)), 16)
    assert plan_nwb(nwb, tmp_path / "a.nwb").datasets[0].chunks == (1000, 2)
    asked = plan_nwb(nwb, tmp_path / "a.nwb", chunks={"ElectricalSeries": (500, 16)})
    assert asked.datasets[0].chunks == (500, 16)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        pytest.param({"Elektrical": (30_000, 2)}, r"(?s)'Elektrical'.*ElectricalSeries/data", id="name"),
        pytest.param({"ElectricalSeries": (30_000,)}, "30000 for shape 100000x16", id="axes"),
        pytest.param({"ElectricalSeries": (0, 2)}, "0x2 for shape", id="nothing"),
    ],
)
def test_wrong_chunks_are_refused_and_nothing_is_left(tmp_path: Path, chunks: Any, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        write_nwb(ephys(VALUES, 16), tmp_path / "a.nwb", chunks=chunks)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("asked", ["x", "=30000x2", "x=", "x=30000x", "x=30000x-2", "x=0x2", "x=30000,2", "x=²"])
def test_malformed_chunks_are_refused(asked: str) -> None:
    with pytest.raises(BadRequest, match="ElectricalSeries=30000x2"):
        parse_chunks(asked)


def test_chunks_are_read_as_numbers() -> None:
    assert parse_chunks("a=b=30000x2") == ("a=b", (30_000, 2))
    assert parse_chunks("times=50000") == ("times", (50_000,))


def rated(rate: float | None) -> NWBFile:
    nwb = new_file()
    timing: dict[str, Any] = {"rate": rate} if rate else {"timestamps": np.arange(400_000) / 7.0}
    nwb.add_acquisition(TimeSeries(name="x", data=recording(400_000, 16), unit="V", description="D.", **timing))
    return nwb


def test_the_rate_of_a_series_is_known_to_the_plan(tmp_path: Path) -> None:
    reasons = {plan_nwb(rated(rate), tmp_path / "a.nwb").datasets[0].reason for rate in (30_000.0, 20.0)}
    assert len(reasons) == 2
    unknown = next(d for d in plan_nwb(rated(None), tmp_path / "a.nwb").datasets if d.name == "x/data")
    assert unknown.reason in reasons  # 30 kHz is taken for it


def test_dry_run_shows_the_plan_and_writes_nothing(spikeglx: Path, tmp_path: Path) -> None:
    before = everything_below(tmp_path)
    done = run("convert", spikeglx, "--out", tmp_path / "out", "--dry-run", *FLAGS)
    assert done.exit_code == 0, done.output
    assert everything_below(tmp_path) == before
    assert "sub-m1_ses-s1.nwb: " in done.output
    assert "30000 x 8 <i2 in 1 chunk of 30000 x 8" in done.output
    assert "chunks of 0.1 to 4 MB, at most 200,000 chunks, read no slower than" in done.output
    assert "nothing was written" in done.output


def test_dry_run_leaves_an_empty_folder(spikeglx: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "sub-m1_ses-s1").mkdir(parents=True)
    assert run("convert", spikeglx, "--out", tmp_path / "out", "--dry-run", *FLAGS).exit_code == 0
    assert list((tmp_path / "out").rglob("*")) == [tmp_path / "out" / "sub-m1_ses-s1"]


def test_dry_run_in_json_is_what_convert_does(spikeglx: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    known = json.loads(run("convert", spikeglx, "--out", out, "--dry-run", "--json", *FLAGS).stdout)
    places = [d["path_in_file"] for d in known["sessions"][0]["nwb"]["datasets"]]
    chunks = ("--chunks", f"{places[0]}=7000x2")
    planned = json.loads(run("convert", spikeglx, "--out", out, "--dry-run", "--json", *chunks, *FLAGS).stdout)
    assert not out.exists()
    assert run("convert", spikeglx, "--out", out, *chunks, *FLAGS).exit_code == 0
    (session,) = planned["sessions"]
    assert session["nwb"]["datasets"][0]["chunks"] == [7000, 2]
    with h5py.File(session["nwb"]["path"]) as file:
        for one in session["nwb"]["datasets"]:
            assert list(file[one["path_in_file"]].chunks) == one["chunks"]


def test_dry_run_of_images(tmp_path: Path) -> None:
    (tmp_path / "scope").mkdir()
    image = write_light_sheet(tmp_path / "scope" / "brain.ome.tif", seed=1, shape=(4, 64, 64))
    before = everything_below(tmp_path)
    done = run("convert", image, "--out", tmp_path / "out", "--dry-run", "--json", *FLAGS)
    assert done.exit_code == 0, done.output
    assert everything_below(tmp_path) == before
    (session,) = json.loads(done.stdout)["sessions"]
    assert session["nwb"] is None
    (planned,) = session["images"]
    assert planned["path"].endswith(".ome.zarr")
    assert planned["shape"] == [2, 4, 64, 64]
    assert planned["raw_bytes"] == 2 * 4 * 64 * 64 * 2
    assert planned["refusals"] == []
    assert planned["viewers"]["Neuroglancer"]


@pytest.mark.parametrize(("version", "opens"), [("0.5", "not: ITK/VTK viewer"), ("0.4", ", ITK/VTK viewer")])
def test_dry_run_of_images_in_words(version: str, opens: str, tmp_path: Path) -> None:
    image = write_light_sheet(tmp_path / "brain.ome.tif", seed=1, shape=(4, 64, 64))
    done = run("convert", image, "--out", tmp_path / "out", "--dry-run", "--ngff", version, *FLAGS)
    assert done.exit_code == 0, done.output
    for words in (
        "czyx 2 x 4 x 64 x 64 <u2", "level 0: 2 x 4 x 64 x 64, chunks of 1 x 4 x 64 x 64", f"OME-Zarr {version}, blosc",
        opens, "DANDI accepts it: paths of", "cannot at present be published with a DOI", "of memory",
        "nothing was written",
    ):  # fmt: skip
        assert words in done.output
    assert not (tmp_path / "out").exists()


def test_a_dry_run_tells_what_a_run_would(tmp_path: Path) -> None:
    """Where tiles lie and who says so, and what is left behind."""
    (tmp_path / "tiles").mkdir()
    for name in ("a.tif", "b.tif"):
        write_imagej(tmp_path / "tiles" / name, (12, 16), "YX", unit="um")
    lines = "dim = 2\na.tif; ; (0, 0)\nb.tif; ; (14.5, -2)\n"
    (tmp_path / "tiles" / "TileConfiguration.txt").write_text(lines)
    (tmp_path / "tiles" / "notes.pdf").write_bytes(b"%PDF")
    order = ("convert", tmp_path / "tiles", "--out", tmp_path / "out", *FLAGS)
    shown = run(*order, "--dry-run").output
    assert "  voxels of y 0.5, x 0.5 um\n" in shown
    assert "  voxels of y 0.5, x 0.5 um, the first at y -1, x 7.25 um\n" in shown
    said = [line for line in shown.splitlines() if line.startswith(("note", "left behind"))]
    assert said == [
        "note a.tif: TileConfiguration.txt says where 2 images lie, in pixels",
        "left behind, nobody knows them: notes.pdf",
    ]
    record = json.loads(run(*order, "--dry-run", "--json").stdout)
    assert record["sessions"][0]["notes"] == [f"{tmp_path / 'tiles' / 'a.tif'}: {said[0].removeprefix('note a.tif: ')}"]
    written = run(*order).output
    assert all(line in written for line in said)


def test_an_unknown_name_names_the_datasets(spikeglx: Path, tmp_path: Path) -> None:
    done = run("convert", spikeglx, "--out", tmp_path / "out", "--chunks", "Nobody=100x2", *FLAGS)
    assert done.exit_code == 2
    assert "'Nobody'" in done.output
    assert "one of " in done.output
    assert not (tmp_path / "out").exists()
