"""`dandify verify`: what was written is what it was made of; one value that is not is found and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries

from dandify import verify
from dandify.cli.main import main
from dandify.errors import BadRequest
from dandify.nwb.write import write_nwb
from nwb_cases import new_file, recording
from openephys_maker import RecordingSpec, write_record_node

FLAGS = (
    "--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1",
    "--set", "timezone=UTC", "--set", "electrode_location=VISp",
)  # fmt: skip
VALUES = recording(50_000, 8)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def session(values: NDArray[Any] = VALUES) -> NWBFile:
    nwb = new_file()
    nwb.add_acquisition(
        TimeSeries(name="x", data=values, rate=30_000.0, unit="V", conversion=1e-6, description="D.")
    )  # fmt: skip
    return nwb


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A SpikeGLX run, and the NWB file that `convert` makes of it."""
    from datetime import datetime

    from dandify.examples.spikeglx import write_spikeglx_run

    folder = tmp_path_factory.mktemp("rig")
    raw = folder / "raw"
    raw.mkdir()
    write_spikeglx_run(
        raw, seed=1, probes=1, seconds=2.0, run_name="run", start=datetime(2026, 3, 1, 14, 30), channels=8
    )
    done = run("convert", raw, "--out", folder / "out", "--transform", "*=divide,recentre", *FLAGS)
    assert done.exit_code == 0, done.output
    (nwb,) = (folder / "out").rglob("*.nwb")
    return raw, nwb


def test_against_raw_files(rig: tuple[Path, Path]) -> None:
    raw, nwb = rig
    done = run("verify", nwb, "--against", raw, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["equal"]
    assert {a["verdict"] for a in report["arrays"]} == {"equal"}
    names = {a["path"].split("/")[-2] for a in report["arrays"]}
    assert {"ElectricalSeriesAP", "ElectricalSeriesLF"} <= names
    assert any(a["transforms"] for a in report["arrays"])


def test_one_sample_is_found(rig: tuple[Path, Path]) -> None:
    raw, nwb = rig
    (file,) = raw.rglob("*.ap.bin")
    whole = file.read_bytes()
    samples = np.frombuffer(bytearray(whole), "<i2").reshape(-1, 9)  # eight channels and the sync word
    before = int(samples[4321, 3])
    samples[4321, 3] += 1
    file.write_bytes(samples.tobytes())
    try:
        done = run("verify", nwb, "--against", raw)
    finally:
        file.write_bytes(whole)
    assert done.exit_code == 1
    flat = " ".join(done.output.split())
    assert f"[4321, 3] {before} and {before + 1}" in flat
    assert "1 different" in flat


EVENTS: tuple[tuple[str, Any, str, str], ...] = (
    ("TTL/states.npy", 9, "line", "[2] '2' and '9'"),
    ("TTL/timestamps.npy", 1.5, "timestamp", "[2]"),
    ("MessageCenter/text.npy", b"stop", "message", "[2] 'end' and 'stop'"),
)


def test_one_event_is_found(tmp_path: Path) -> None:
    spec = RecordingSpec(
        {"Rhythm Data": 900}, ttl=((0.1, 1), (0.2, -1), (0.3, 2)), messages=((0.1, "µ"), (0.2, ""), (0.3, "end"))
    )
    raw = write_record_node(tmp_path, {1: [spec]})
    done = run("convert", raw, "--out", tmp_path / "out", *FLAGS)
    assert done.exit_code == 0, done.output
    (nwb,) = (tmp_path / "out").rglob("*.nwb")
    assert verify(nwb, against=raw).equal
    for file, value, column, words in EVENTS:
        (there,) = raw.rglob(file)
        events, whole = np.load(there), there.read_bytes()
        events[2] = value
        np.save(there, events)
        (wrong,) = (p for p in verify(nwb, against=raw).proofs if p.verdict != "equal")
        there.write_bytes(whole)
        assert (wrong.path.split("/")[1], wrong.path.split("/")[-1]) == ("events", column)
        assert wrong.verdict == "different"
        assert words in wrong.detail


def test_against_its_manifest(tmp_path: Path) -> None:
    report = write_nwb(session(), tmp_path / "a.nwb")
    assert verify(report.path).equal
    with h5py.File(report.path, "r+") as file:
        file["acquisition/x/data"][1000, 2] += 1
    found = verify(report.path)
    assert not found.equal
    (proof,) = found.proofs
    assert (proof.path, proof.verdict) == ("/acquisition/x/data", "different")
    report.manifest.unlink()
    with pytest.raises(BadRequest, match="has no manifest beside it"):
        verify(report.path)


@pytest.mark.parametrize("suffix", [".nwb", ".nwb.zarr"])
def test_against_another_nwb_file(tmp_path: Path, suffix: str) -> None:
    nwb = session(VALUES * 2)  # one object, so that both files have the same ids
    ours = write_nwb(nwb, tmp_path / "a.nwb", transforms={"x": ["divide"]})
    backend = "zarr" if suffix.endswith("zarr") else "hdf5"
    theirs = write_nwb(nwb, tmp_path / f"b{suffix}", backend=backend)
    found = verify(ours.path, against=[theirs.path])
    assert found.equal, found
    assert [p.transforms for p in found.proofs if p.path == "/acquisition/x/data"] == [("divide",)]
    other = write_nwb(session(VALUES * 2 + 2), tmp_path / f"c{suffix}", backend=backend)
    different = [p for p in verify(ours.path, against=[other.path]).proofs if p.verdict == "different"]
    assert any(p.path == "/acquisition/x/data" and "[0, 0]" in p.detail for p in different)


def test_what_a_file_lacks_and_what_the_source_lacks(rig: tuple[Path, Path], tmp_path: Path) -> None:
    raw, _ = rig
    report = write_nwb(session(), tmp_path / "a.nwb")
    verdicts = {p.path: p.verdict for p in verify(report.path, against=[raw]).proofs}
    assert verdicts["/acquisition/ElectricalSeriesAP/data"] == "missing"
    assert verdicts["/acquisition/x/data"] == "not in the source"


def test_an_image(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 4000, (6, 70, 90), "u2")
    source = tmp_path / "stack.ome.tif"
    tifffile.imwrite(
        source, planes, photometric="minisblack", ome=True,
        metadata={"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0},
    )  # fmt: skip
    done = run("convert", source, "--out", tmp_path / "out", *FLAGS)
    assert done.exit_code == 0, done.output
    (image,) = (tmp_path / "out").rglob("*.ome.zarr")
    assert verify(image, against=[source]).equal
    planes[3, 20, 30] += 1
    tifffile.imwrite(
        source, planes, photometric="minisblack", ome=True,
        metadata={"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0},
    )  # fmt: skip
    (proof,) = verify(image, against=[source]).proofs
    assert proof.verdict == "different"
    assert proof.detail.startswith(f"[3, 20, 30] is {planes[3, 20, 30] - 1}, {planes[3, 20, 30]} in ")
