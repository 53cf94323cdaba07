"""`dandify tune` on folders: NWB files, OME-Zarr, recordings, and what is passed over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dandify.cli.main import main
from dandify.errors import BadSource, UnknownFormat
from dandify.ngff.write import write_ome_zarr
from dandify.nwb.write import write_nwb
from dandify.runs.materials import find_sessions
from dandify.runs.stored import find_stored
from dandify.runs.tune import tune
from nwb_cases import ephys, recording

VALUES = recording()
SCALE = {"z": 2.0, "y": 1.0, "x": 1.0}
PIXELS = np.random.default_rng(1).poisson(30, (20, 96, 80)).astype("<u2")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two NWB files, one NWB-Zarr, two images of either version, and what is none of these."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("sub-1/a.nwb", "sub-2/b.nwb", "sub-2/c.nwb.zarr"):
        (folder / name).parent.mkdir(exist_ok=True)
        values = VALUES[: len(VALUES) // 2] if name.endswith("b.nwb") else VALUES
        write_nwb(ephys(values, 70), folder / name, backend="zarr" if name.endswith("zarr") else "hdf5")
    for version, name in (("0.4", "sub-1/old.ome.zarr"), ("0.5", "sub-2/new.ome.zarr")):
        write_ome_zarr(PIXELS, folder / name, axes="zyx", scale=SCALE, version=version)
    (folder / "sub-1/a.nwb.partial").write_bytes(b"half")
    (folder / ".cache").mkdir()
    (folder / ".cache/x.nwb").write_bytes(b"none")
    (folder / "notes.txt").write_text("mice", encoding="utf-8")
    return folder


def test_all_nwb_files_and_images_of_a_folder_are_found(project: Path) -> None:
    found = [p.relative_to(project).as_posix() for p in find_stored(project)]
    assert found == ["sub-1/a.nwb", "sub-1/old.ome.zarr", "sub-2/b.nwb", "sub-2/c.nwb.zarr", "sub-2/new.ome.zarr"]
    assert [p.name for p in find_stored(project, ["sub-2/*", "*.zarr"])] == ["a.nwb"]


def test_a_folder_of_nwb_files_is_tuned_by_its_largest_and_predicted_as_a_whole(project: Path) -> None:
    result = tune(project, budget=2, ignore=["*.zarr"])
    (stream,) = result.streams
    assert (stream.path.name, stream.raw_bytes) == ("a.nwb", VALUES.nbytes)
    assert result.prediction is not None
    assert (result.prediction.sessions, result.prediction.files) == (0, 2)
    assert result.prediction.raw_bytes == VALUES.nbytes * 3 // 2
    assert result.prediction.stored_bytes == pytest.approx(1.5 * result.best()[stream.name].stored_bytes)


def test_each_backend_of_a_folder_is_tuned_for_itself(project: Path) -> None:
    result = tune(project, budget=2)
    assert sorted(s.backend for s in result.streams) == ["hdf5", "ome-zarr", "zarr"]
    done = CliRunner().invoke(main, ["tune", str(project), "--budget", "1s", "--backend", "ome-zarr"])
    assert done.exit_code == 0, done.output
    assert "All of 2 files" in done.output
    assert "ElectricalSeries" not in done.output


def test_a_dataset_reads_what_the_file_holds(project: Path) -> None:
    found = find_sessions([project / "sub-2"], backend="zarr").sessions
    materials = {s.name: s.materials[0] for s in found if s.materials}
    assert set(materials) == {"b.nwb", "c.nwb.zarr"}
    np.testing.assert_array_equal(materials["c.nwb.zarr"].array[100:200, 3:5], VALUES[100:200, 3:5])
    np.testing.assert_array_equal(materials["b.nwb"].array[:70], VALUES[:70])


def test_beside_recordings_they_are_passed_over_and_it_is_said(project: Path, tmp_path: Path) -> None:
    write_nwb(ephys(VALUES, 70), tmp_path / "made.nwb")
    np.save(tmp_path / "raw.npy", VALUES)
    import tifffile

    tifffile.imwrite(tmp_path / "stack.ome.tif", PIXELS, metadata={"axes": "ZYX"})
    found = find_sessions([tmp_path], backend=None)
    assert [m.backend for s in found.sessions for m in s.materials] == ["ome-zarr"]
    (note,) = found.notes
    assert "1 NWB" in note
    done = CliRunner().invoke(main, ["tune", str(tmp_path), "--budget", "1s", "--json"])
    assert note in json.loads(done.stdout)["notes"]
    (note,) = find_sessions([tmp_path / "made.nwb"], backend="zarr").notes
    assert note == "NWB files are measured as what they are: hdf5"
    assert not find_sessions([tmp_path / "made.nwb"], backend="hdf5").notes
    named = find_sessions([tmp_path / "made.nwb", tmp_path / "stack.ome.tif"], backend=None)
    assert {m.backend for s in named.sessions for m in s.materials} == {"hdf5", "ome-zarr"}


def test_images_within_one_zarr_have_its_name_and_their_place(tmp_path: Path) -> None:
    for well in ("B/03/0", "B/04/0"):
        write_ome_zarr(PIXELS, tmp_path / f"{well.replace('/', '')}.ome.zarr", axes="zyx", scale=SCALE,
                       version="0.4")  # fmt: skip
        (tmp_path / f"plate.ome.zarr/{well}").parent.mkdir(parents=True)
        (tmp_path / f"{well.replace('/', '')}.ome.zarr").rename(tmp_path / f"plate.ome.zarr/{well}")
    found = find_sessions([tmp_path / "plate.ome.zarr"], backend=None).sessions
    assert [m.name for s in found for m in s.materials] == ["plate/B/03/0", "plate/B/04/0"]


def test_a_link_to_nothing_is_named_and_can_be_passed_over(project: Path, tmp_path: Path) -> None:
    (tmp_path / "a.nwb").symlink_to(project / "sub-1/a.nwb")
    (tmp_path / "away.nwb").symlink_to(tmp_path / "annex/gone")
    with pytest.raises(BadSource, match="is a link to"):
        tune(tmp_path, budget=1)
    assert tune(tmp_path, budget=1, ignore=["away.nwb"]).best()


def test_a_damaged_file_of_a_folder_is_named(project: Path, tmp_path: Path) -> None:
    (tmp_path / "a.nwb").symlink_to(project / "sub-1/a.nwb")
    (tmp_path / "b.nwb").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(BadSource, match="cannot open it") as told:
        tune(tmp_path, budget=1)
    assert str(told.value).startswith(str(tmp_path / "b.nwb"))
    (tmp_path / "b.nwb").unlink()
    (tmp_path / "a.nwb").unlink()
    with pytest.raises(UnknownFormat, match="nothing here"):
        tune(tmp_path, budget=1)
