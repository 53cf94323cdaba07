"""Plates of MetaXpress: every plane in its well, site, wavelength and time, and what the .HTD file says of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from numpy.typing import NDArray

from dandify.cli.main import main
from dandify.errors import BadRequest, BadSource
from dandify.ngff.check import check_ome_zarr
from dandify.project.scan import scan
from dandify.sources import Stream
from dandify.sources.registry import by_name
from metaxpress_maker import Plate
from ngff_reference import levels, metadata
from shared_data import shared

converter = by_name("metaxpress")
FLAGS = ["--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1"]


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


PLATES: dict[str, Plate] = {
    "flat": Plate(), "times": Plate(times=3), "times and depths": Plate(times=2, depths=3), "depths": Plate(depths=3),
    "no sites": Plate(sites=0), "one wavelength": Plate(waves=("DAPI",)), "no guid": Plate(guid=False),
}  # fmt: skip


@pytest.mark.parametrize("plate", PLATES.values(), ids=PLATES)
def test_every_plane_is_in_its_place(plate: Plate, tmp_path: Path) -> None:
    path = plate.write(tmp_path)
    source = converter.open(path)
    assert len(source.streams) == len(plate.wells) * max(1, plate.sites)
    lengths = (max(1, plate.times), len(plate.waves), max(1, plate.depths))
    for stream in source.streams:
        assert stream.well is not None
        well, site = stream.well.row + stream.well.column, int(stream.well.field) or 1
        expected = [
            [[plate.plane(well, site, w, t, z) for z in range(1, lengths[2] + 1)] for w in range(1, lengths[1] + 1)]
            for t in range(1, lengths[0] + 1)
        ]  # fmt: skip
        np.testing.assert_array_equal(whole(stream), np.array(expected).squeeze())
        if len(plate.waves) > 1:
            assert tuple(c.name for c in stream.channels) == plate.waves
    assert not source.problems
    assert not source.needs
    assert path in source.files
    assert source.facts["description"] == "screen of March"
    (session,) = scan(tmp_path).sessions
    assert [(s.format, s.path) for s in session.sources] == [("metaxpress", path)]


def test_a_plane_is_the_whole_plate(tmp_path: Path) -> None:
    plate = Plate(times=1, depths=2)
    path = plate.write(tmp_path)
    assert converter.claim(plate.path(tmp_path, "A01", 1, 1, 1, 2)) == path
    assert converter.claim(tmp_path / "other_A01_s1_w1.tif") is None
    assert converter.claim(tmp_path / "deep/er/BSF018292-1A_A01_s1_w1.tif") is None


def test_wells_that_were_selected_and_are_not_there_are_told(tmp_path: Path) -> None:
    source = converter.open(Plate(selected=("A01", "A02", "B03", "H12")).write(tmp_path))
    assert source.problems == ("BSF018292-1A.HTD selects wells of which there are no planes: A02, H12",)


def test_a_missing_plane_is_named_or_filled(tmp_path: Path) -> None:
    plate = Plate(times=2)
    path = plate.write(tmp_path)
    plate.path(tmp_path, "B03", 2, 2, 1, 1).unlink()
    with pytest.raises(BadSource, match="row B column 03 field 2: lacks the planes of t 1, channel 2"):
        converter.open(path)
    source = converter.open(path, {"missing": "fill"})
    assert [s.filled for s in source.streams] == [(), (), (), ({"t": 0, "c": 1},)]


def test_folders_that_do_not_fit_each_other_are_named(tmp_path: Path) -> None:
    path = Plate(times=2).write(tmp_path)
    Plate(times=2, depths=2, wells=("A01",)).write(tmp_path)
    with pytest.raises(BadSource, match=r"planes of several kinds .*TimePoint_\{t\}/ZStep_\{z\}/BSF") as caught:
        converter.open(path)
    assert "--pattern" in str(caught.value.remedy)


WRONG: dict[str, tuple[str, str]] = {
    "another file": ("hello", 'does not begin with "HTSInfoFile"'),
    "no end": ('"HTSInfoFile", Version 1.0', 'ends without "EndFile"'),
    "no planes": ("\n".join(Plate().lines()), "has no planes beside it"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_plate_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.HTD").write_text(text)
    with pytest.raises(BadSource, match=said) as caught:
        converter.open(tmp_path / "a.HTD")
    assert caught.value.remedy


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no option pattern"):
        converter.open(Plate().write(tmp_path), {"pattern": "x"})


def test_it_is_converted(tmp_path: Path) -> None:
    plate = Plate(times=2)
    folder = tmp_path / "raw"
    plate.write(folder)
    done = CliRunner().invoke(main, ["convert", str(folder), "--out", str(tmp_path / "out"), *FLAGS])
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").rglob("*.ome.zarr")
    assert check_ome_zarr(path) == []
    assert [w["path"] for w in metadata(path)["plate"]["wells"]] == ["A/01", "B/03"]
    assert levels(path / "B/03/2")[0][1, 1].max() == plate.plane("B03", 2, 2, 2, 1).max()
    assert [c["label"] for c in metadata(path / "B/03/2")["omero"]["channels"]] == list(plate.waves)


def test_a_real_plate_with_its_planes(tmp_path: Path) -> None:
    """The planes are real; the .HTD file, which was not published with them, is written as others are."""
    real = shared("microscopy/imagexpress/1well-3C-2S-Zmix-T/2024-04-22/1697")
    folder = Path(shutil.copytree(real, tmp_path / "1697"))
    name = "1well-3C-2S-Zmix-T"
    lines = Plate(name=name, selected=("C07",), waves=("FITC", "DAPI", "Cy3"), times=2).lines()
    (folder / f"{name}.HTD").write_text("\n".join(lines))
    source = converter.open(folder / f"{name}.HTD")
    assert {s.well.path for s in source.streams if s.well} == {"C/07/1", "C/07/2"}
    assert set(source.files) == {f for f in folder.rglob("*") if f.is_file()}
    for stream in source.streams:
        assert stream.shape == (2, 3, 256, 256)
        assert stream.well is not None
        (file,) = folder.glob(f"TimePoint_2/*_s{stream.well.field}_w3*.tif")
        np.testing.assert_array_equal(whole(stream)[1, 2], tifffile.imread(file))
    assert not source.problems
