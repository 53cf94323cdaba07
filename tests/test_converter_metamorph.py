"""Acquisitions of MetaMorph: every file in its place, as tifffile reads it, and what the .nd file says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from numpy.typing import NDArray

from dandify import verify
from dandify.cli.main import main
from dandify.errors import BadRequest, BadSource
from dandify.ngff.check import check_ome_zarr
from dandify.project.scan import scan
from dandify.sources import Channel, Stream
from dandify.sources.registry import by_name
from metamorph_maker import PIXEL_UM
from ngff_reference import levels, metadata
from stk_maker import START, Acquisition, Stack, with_lines, write_stk

converter = by_name("metamorph")
FLAGS = ["--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1"]


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def expected(acquisition: Acquisition, folder: Path, stage: int, waves: tuple[int, ...] = (0, 1)) -> NDArray[Any]:
    """What tifffile reads of the files, in their places: t c z y x."""
    files = acquisition.files(folder)
    read = {place: tifffile.imread(path) for place, path in files.items()}
    some = [[np.atleast_3d(read[stage, w, t].T).T for w in waves] for t in range(acquisition.times or 1)]
    return np.array(some)


CASES: dict[str, Acquisition] = {
    "all": Acquisition(), "version 2.0": Acquisition(version="2.0"), "no stages": Acquisition(stages=()),
    "no times": Acquisition(times=None), "no names": Acquisition(named=False), "flat": Acquisition(depths=None),
    "one time": Acquisition(times=1), "not said which": Acquisition(with_depths=(None, None)),
}  # fmt: skip


@pytest.mark.parametrize("acquisition", CASES.values(), ids=CASES)
def test_every_plane_is_in_its_place(acquisition: Acquisition, tmp_path: Path) -> None:
    path = acquisition.write(tmp_path)
    source = converter.open(path)
    assert [s.name for s in source.streams] == list(acquisition.stages or (acquisition.name,))
    lengths = {"t": acquisition.times or 1, "c": 2, "z": acquisition.depths or 1, "y": 2, "x": 2}
    for stage, stream in enumerate(source.streams):
        assert stream.axes == tuple(a for a, n in lengths.items() if n > 1)
        np.testing.assert_array_equal(whole(stream), expected(acquisition, tmp_path, stage).squeeze())
        assert stream.channels == (Channel("488-BF-Cam0"), Channel("sdc/mCherry (2)"))
    assert set(source.files) == {path, *acquisition.files(tmp_path).values()}
    assert not source.problems
    (report,) = scan(tmp_path).sessions
    assert [(s.format, s.path) for s in report.sources] == [("metamorph", path)]


def test_without_wavelengths_in_the_names(tmp_path: Path) -> None:
    acquisition = Acquisition(waves=(), with_depths=(True, True))
    (first, _) = converter.open(acquisition.write(tmp_path)).streams
    assert first.axes == ("t", "z", "y", "x")
    assert first.channels == ()
    np.testing.assert_array_equal(whole(first), expected(acquisition, tmp_path, 0, (0,)).squeeze())


@pytest.mark.parametrize(("version", "pixel"), [("1.0", 0.65), ("2.0", PIXEL_UM)])
def test_what_is_stated(version: str, pixel: float, tmp_path: Path) -> None:
    source = converter.open(Acquisition(version=version).write(tmp_path))
    for stream in source.streams:
        assert stream.scale == {"t": 60.0, "z": 2.5, "y": pixel, "x": pixel}
    said = dict(source.facts)
    assert said.pop("software").startswith("MetaMorph")
    said.pop("objective", None)
    said.pop("exposure_time_s", None)
    assert said == {
        "session_start_time": START, "description": "Line one, of two\nline two", "time_increment_s": 60.0,
        "pixel_size_um": {"z": 2.5, "y": pixel, "x": pixel}, "channel_names": ("488-BF-Cam0", "sdc/mCherry (2)"),
    }  # fmt: skip
    assert not source.needs


def test_what_is_not_stated_is_asked_for(tmp_path: Path) -> None:
    source = converter.open(Acquisition(calibration=None, step="0").write(tmp_path))
    assert [n.key for n in source.needs] == [f"pixel_size_um.{a}" for a in "zyx"]


def test_wavelengths_without_depths_are_images_of_their_own(tmp_path: Path) -> None:
    acquisition = Acquisition(with_depths=(True, False))
    source = converter.open(acquisition.write(tmp_path))
    assert [(s.name, s.axes) for s in source.streams] == [
        ("EV_1_488-BF-Cam0", ("t", "z", "y", "x")), ("EV_1_sdc/mCherry (2)", ("t", "y", "x")),
        ("EV_2_488-BF-Cam0", ("t", "z", "y", "x")), ("EV_2_sdc/mCherry (2)", ("t", "y", "x")),
    ]  # fmt: skip
    for number, stream in enumerate(source.streams):
        values = expected(acquisition, tmp_path, number // 2, (number % 2,)).squeeze()
        np.testing.assert_array_equal(whole(stream), values)


def test_a_file_of_it_is_all_of_it(tmp_path: Path) -> None:
    acquisition = Acquisition()
    path = acquisition.write(tmp_path)
    for file in acquisition.files(tmp_path).values():
        assert converter.claim(file) == path
    assert converter.claim(tmp_path / "day01_brain.tif") is None
    assert converter.claim(tmp_path / "day02_w1GFP_t1.stk") is None
    assert scan(acquisition.files(tmp_path)[0, 0, 0]).sources[0].path == path


def test_a_projection_that_somebody_saved_is_not_taken_for_a_stack(tmp_path: Path) -> None:
    acquisition = Acquisition()
    path = acquisition.write(tmp_path)
    for file in acquisition.files(tmp_path).values():
        tifffile.imwrite(file.with_suffix(".tif"), np.zeros((5, 5), np.uint16))
    assert whole(converter.open(path).streams[1]).max() == acquisition.values(1, 1, 2).max()


def test_a_recording_that_was_stopped_has_the_times_that_are_there(tmp_path: Path) -> None:
    source = converter.open(Acquisition(stated_times=20).write(tmp_path))
    assert source.streams[0].shape[0] == 3
    (problem,) = source.problems
    assert problem == "day01_brain.nd states 20 time points, and there are files of 3: it was stopped"


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 1, 2), (0, 1, 1)])
def test_a_missing_file_is_named(place: tuple[int, int, int], tmp_path: Path) -> None:
    acquisition = Acquisition()
    path = acquisition.write(tmp_path)
    missing = acquisition.files(tmp_path)[place]
    missing.unlink()
    with pytest.raises(BadSource, match="is missing") as caught:
        converter.open(path)
    s, w, t = (n + 1 for n in place)
    assert caught.value.place == f"stage {s}, wavelength {w}, time {t} of day01_brain.nd"
    assert f"_w{w}" in Path(str(caught.value.file)).name
    assert caught.value.remedy


def test_all_files_missing(tmp_path: Path) -> None:
    path = with_lines(tmp_path / "a.nd", Acquisition().lines())
    with pytest.raises(BadSource, match="and 3 more of its 4 files"):
        converter.open(path)


def test_a_stack_of_another_length_is_named(tmp_path: Path) -> None:
    acquisition = Acquisition()
    path = acquisition.write(tmp_path)
    odd = acquisition.files(tmp_path)[1, 0, 1]
    write_stk(odd, Stack(acquisition.values(1, 0, 1)[:3]))
    with pytest.raises(BadSource, match=r"holds 3 planes, and day01_brain.nd states 4 \(NZSteps\)") as caught:
        converter.open(path)
    assert caught.value.file == str(odd)


def test_a_stack_of_another_size_is_named(tmp_path: Path) -> None:
    acquisition = Acquisition()
    path = acquisition.write(tmp_path)
    odd = acquisition.files(tmp_path)[1, 0, 1]
    write_stk(odd, Stack(acquisition.values(1, 0, 1)[:, :-1]))
    with pytest.raises(BadSource, match=r"is 11 x 20 uint16 .* the pages of this image are 12 x 20") as caught:
        converter.open(path)
    assert caught.value.file == str(odd)


LINES = Acquisition().lines()
DAMAGED: dict[str, tuple[list[str], str]] = {
    "no end": (LINES[:-1], 'ends without "EndFile"'),
    "another file": (["hello"], 'does not begin with "NDInfoFile"'),
    "no number": ([line.replace("NTimePoints\", 3", "NTimePoints\", three") for line in LINES], "states 'three'"),
    "none": ([line.replace("NTimePoints\", 3", "NTimePoints\", 0") for line in LINES], "states '0'"),
    "very many": ([line.replace("NTimePoints\", 3", "NTimePoints\", 1000000") for line in LINES], "2 x 2 x 1000000"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "said"), DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_acquisition_is_refused(lines: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=said) as caught:
        converter.open(with_lines(tmp_path / "a.nd", lines))
    assert caught.value.remedy
    assert caught.value.place


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no option axes"):
        converter.open(Acquisition().write(tmp_path), {"axes": "zyx"})


def test_stages_of_one_name_become_two_images(tmp_path: Path) -> None:
    source = converter.open(replace(Acquisition(), stages=("A", "A")).write(tmp_path))
    assert [s.name for s in source.streams] == ["A_s1", "A_s2"]


def test_it_is_converted(tmp_path: Path) -> None:
    acquisition = Acquisition(size=(40, 64))
    acquisition.write(tmp_path / "raw folder é")
    done = CliRunner().invoke(main, ["convert", str(tmp_path / "raw folder é"), "--out", str(tmp_path / "out"), *FLAGS])
    assert done.exit_code == 0, done.output
    paths = sorted((tmp_path / "out").rglob("*.ome.zarr"))
    assert len(paths) == 2
    for stage, path in enumerate(paths):
        assert check_ome_zarr(path) == []
        np.testing.assert_array_equal(levels(path)[0], expected(acquisition, tmp_path / "raw folder é", stage))
        assert [c["label"] for c in metadata(path)["omero"]["channels"]] == list(acquisition.waves)
        assert verify(path, against=[tmp_path / "raw folder é"]).equal
