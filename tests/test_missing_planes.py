"""Planes that no file holds: refused with the way out, or 0 where somebody asked for it, and then told everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import dandify
from dandify import verify
from dandify.cli.main import main
from dandify.errors import BadRequest, BadSource
from dandify.ngff.check import check_ome_zarr
from dandify.sources import Stream
from dandify.sources.registry import by_name
from dandify.store.manifest import manifest_path
from metamorph_maker import PATTERN, PIXEL_UM, STEP_UM, write_plate
from ngff_reference import levels
from stk_maker import Acquisition
from tiff_makers import write_ome, write_ome_set, write_planes

FLAGS = ["--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1"]
SIZES = [text for a, n in (("z", 2), ("y", 0.5), ("x", 0.5)) for text in ("--set", f"pixel_size_um.{a}={n}")]


@dataclass(frozen=True)
class Case:
    """What is written, which files are taken away then, and which planes are missing by that."""

    converter: str
    write: Callable[[Path], Path]
    removed: tuple[str, ...]
    missing: tuple[Mapping[str, int], ...]
    options: Mapping[str, Any]
    stream: int = 0


def channels(folder: Path) -> Path:
    for channel in range(2):
        write_planes(folder / f"ch{channel}", stem="z")
    return folder


def cut_ome(folder: Path) -> Path:
    """An OME-TIFF of a recording that was stopped: four pages of six."""
    import tifffile

    path = write_ome(folder / "brain.ome.tif", (2, 3, 12, 16), "TZYX")
    with tifffile.TiffFile(path) as file:
        text, values = file.pages.first.description, file.asarray().reshape(6, 12, 16)
    tifffile.imwrite(path, values[:4], description=text, metadata=None, ome=False, photometric="minisblack")
    return path


CASES: dict[str, Case] = {
    "a plane": Case("planes", lambda f: write_planes(f / "b"), ("b/ch00002.tif",), ({"z": 2},), {}),
    "planes": Case(
        "planes", lambda f: write_planes(f / "b", count=7), ("b/ch00001.tif", "b/ch00003.tif"), ({"z": 1}, {"z": 3}), {}
    ),
    "the last of a channel": Case(
        "planes", channels, ("ch1/z00004.tif", "ch0/z00000.tif"), ({"c": 0, "z": 0}, {"c": 1, "z": 4}), {}
    ),
    "of a pattern": Case(
        "planes", lambda f: write_plate(f / "p"), ("p/TimePoint_2/ZStep_3/*_s2_w2*.tif",), ({"t": 1, "c": 1, "z": 2},),
        {"pattern": PATTERN}, 1,
    ),
    "the first of a pattern": Case(
        "planes", lambda f: write_plate(f / "p"), ("p/TimePoint_1/ZStep_1/*_s1_w1*.tif",), ({"t": 0, "c": 0, "z": 0},),
        {"pattern": PATTERN},
    ),
    "a file of a set": Case(
        "ome_tiff", write_ome_set, ("set_c1.ome.tif",), tuple({"c": 1, "z": z} for z in range(3)), {}
    ),
    "the end of a recording": Case("ome_tiff", cut_ome, (), ({"t": 1, "z": 1}, {"t": 1, "z": 2}), {}),
    "an acquisition": Case(
        "metamorph", Acquisition().write, ("*_w2*_s2_t2.stk",), tuple({"t": 1, "c": 1, "z": z} for z in range(4)), {}, 1
    ),
    "its first file": Case(
        "metamorph", Acquisition().write, ("*_w1*_s1_t1.stk",), tuple({"t": 0, "c": 0, "z": z} for z in range(4)), {}
    ),
}  # fmt: skip


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize("name", CASES)
def test_they_are_refused_or_filled(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    converter = by_name(case.converter)
    path = case.write(tmp_path)
    before = [] if name == "the end of a recording" else [whole(s) for s in converter.open(path, case.options).streams]
    for pattern in case.removed:
        (file,) = tmp_path.glob(pattern)
        file.unlink()
    with pytest.raises(BadSource) as caught:
        converter.open(path, case.options)
    assert "--missing fill" in str(caught.value.remedy) or case.converter == "ome_tiff"
    source = converter.open(path, {**case.options, "missing": "fill"})
    assert converter.fills
    stream = source.streams[case.stream]
    assert stream.filled == case.missing
    assert any(f"{len(case.missing)} plane(s) are in no file and become 0" in p for p in source.problems)
    values = whole(stream)
    axes = stream.axes[:-2]
    for place in case.missing:
        assert not values[tuple(place[a] for a in axes)].any()
    if before:
        expected = before[case.stream].copy()
        for place in case.missing:
            expected[tuple(place[a] for a in axes)] = 0
        np.testing.assert_array_equal(values, expected)
        others = [whole(s) for i, s in enumerate(source.streams) if i != case.stream]
        for one, other in zip(others, (b for i, b in enumerate(before) if i != case.stream), strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_the_first_plane_would_state_is_not_taken_from_another(tmp_path: Path) -> None:
    folder = write_plate(tmp_path)
    (file,) = folder.glob("TimePoint_1/ZStep_1/*_s1_w1*.tif")
    file.unlink()
    first, other = by_name("planes").open(folder, {"pattern": PATTERN, "missing": "fill"}).streams
    assert first.scale == {"y": PIXEL_UM, "x": PIXEL_UM}
    assert not first.origin
    assert other.scale["z"] == STEP_UM
    assert other.origin


def test_converted_and_told(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "brain")
    (folder / "ch00002.tif").unlink()
    refused = run("convert", folder, "--out", tmp_path / "out", *FLAGS, *SIZES)
    assert refused.exit_code == 1
    assert "ch00002.tif" in refused.output
    assert "--missing fill" in refused.output
    assert not (tmp_path / "out").exists()
    planned = run("convert", folder, "--out", tmp_path / "out", *FLAGS, *SIZES, "--missing", "fill", "--dry-run")
    assert "1 plane(s) are in no file and become 0: z 2" in " ".join(planned.output.split())
    done = run("convert", folder, "--out", tmp_path / "out", *FLAGS, *SIZES, "--missing", "fill")
    assert done.exit_code == 0, done.output
    assert "1 plane(s) are in no file and become 0: z 2" in " ".join(done.output.split())
    (path,) = (tmp_path / "out").rglob("*.ome.zarr")
    assert check_ome_zarr(path) == []
    values = levels(path)[0]
    assert not values[2].any()
    assert values[1].any()
    assert json.loads(manifest_path(path).read_text())["details"]["image"]["filled_planes"] == [{"z": 2}]
    assert verify(path, against=[folder]).equal


def test_converted_by_dandify_yaml(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "brain")
    (folder / "ch00002.tif").unlink()
    (tmp_path / "dandify.yaml").write_text(
        "metadata: {species: Mus musculus, sex: F, age: P60D, pixel_size_um: {z: 2, y: 0.5, x: 0.5}}\n"
        "sessions:\n- subject_id: m1\n  session_id: s1\n  sources:\n"
        "  - {path: brain, options: {missing: fill}}\n", encoding="utf-8",
    )  # fmt: skip
    dandify.convert(config=tmp_path / "dandify.yaml", out=tmp_path / "out")
    (path,) = (tmp_path / "out").rglob("*.ome.zarr")
    assert json.loads(manifest_path(path).read_text())["details"]["image"]["filled_planes"] == [{"z": 2}]


def test_a_plate_is_told_field_by_field(tmp_path: Path) -> None:
    folder = write_plate(tmp_path / "plate")
    (file,) = folder.glob("TimePoint_2/ZStep_3/*_s2_w2*.tif")
    file.unlink()
    arguments = ("--pattern", PATTERN, "--missing", "fill")
    done = run("convert", folder, "--out", tmp_path / "out", *FLAGS, *arguments)
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").rglob("*.ome.zarr")
    said = json.loads(manifest_path(path).read_text())["details"]["image"]
    assert said["filled_planes"] == {"B/03/2": [{"t": 1, "c": 1, "z": 2}]}
    assert verify(path, against=[folder], pattern=PATTERN).equal


def test_nothing_missing_is_nothing_told(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "brain")
    done = run("convert", folder, "--out", tmp_path / "out", *FLAGS, *SIZES, "--missing", "fill")
    assert done.exit_code == 0, done.output
    assert "in no file" not in done.output
    (path,) = (tmp_path / "out").rglob("*.ome.zarr")
    assert "filled_planes" not in json.loads(manifest_path(path).read_text())["details"]["image"]


def test_a_stray_number_does_not_become_a_million_planes(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "brain")
    (folder / "ch00004.tif").rename(folder / "ch99999999.tif")
    with pytest.raises(BadSource, match="with numbers from 0 to 99999999"):
        by_name("planes").open(folder, {"missing": "fill"})


def test_a_stray_number_of_a_pattern_is_refused_at_once(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "brain")
    (folder / "ch00004.tif").rename(folder / "ch9999999999.tif")
    for missing in ("refuse", "fill"):
        with pytest.raises(BadSource, match="has no plane of z 4, between z 0 and 9999999999") as caught:
            by_name("planes").open(folder, {"pattern": "ch{z}.tif", "missing": missing})
        assert "More are missing than are there" in str(caught.value.remedy)


def test_another_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="missing: 'zeros'"):
        by_name("planes").open(write_planes(tmp_path / "brain"), {"missing": "zeros"})
