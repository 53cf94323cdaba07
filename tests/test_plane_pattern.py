"""Declared patterns of plane folders: which plane a file is, what is missing, and the plate that `convert` makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.cli.main import main
from dandify.errors import BadRequest, BadSource, DandifyError
from dandify.ngff.check import check_ome_zarr
from dandify.sources import Well
from dandify.sources.plane_pattern import images_by
from dandify.sources.registry import by_name
from ngff_reference import levels, metadata
from shared_data import shared

converter = by_name("planes")
IMAGEXPRESS = "TimePoint_{t}/*_{row}{column}_s{field}_w{channel:1}*.tif"
OPERA = "Images/r{row}c{column}f{field}p{z}-ch{channel}sk{t}fk1fl1.tiff"
FLAGS = ["--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1"]
SIZE = (24, 32)


def plane(*numbers: int) -> NDArray[np.uint16]:
    """Pixels that say which plane they are of."""
    number = 0
    for n in numbers:
        number = 10 * number + n
    return (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) + number).astype(np.uint16)


def write(path: Path, values: NDArray[Any], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, metadata=None, **options)


@pytest.fixture
def imagexpress(tmp_path: Path) -> Path:
    """Two wells of two sites, two wavelengths, two times; names end in a GUID that begins with digits, too."""
    folder = tmp_path / "exp"
    for t in (1, 2):
        for well, w in (("B02", 1), ("C11", 2)):
            for s in (1, 2):
                for c in (1, 2):
                    guid = f"{40 * t + s}D5F-{w}{c}"
                    write(folder / f"TimePoint_{t}" / f"exp_{well}_s{s}_w{c}{guid}.tif", plane(t, w, s, c))
    write(folder / "TimePoint_1/exp_B02_s1_w1_thumb40.png", plane(0))
    return folder


def test_imagexpress(imagexpress: Path) -> None:
    source = converter.open(imagexpress, {"pattern": IMAGEXPRESS})
    assert [s.name for s in source.streams] == ["B02_1", "B02_2", "C11_1", "C11_2"]
    assert [s.well for s in source.streams] == [
        Well("B", "02", "1"),
        Well("B", "02", "2"),
        Well("C", "11", "1"),
        Well("C", "11", "2"),
    ]
    for stream in source.streams:
        assert stream.axes == ("t", "c", "y", "x")
        assert [c.name for c in stream.channels] == ["channel 1", "channel 2"]
        assert stream.well is not None
        w, s = {"B": 1, "C": 2}[stream.well.row], int(stream.well.field)
        expected = np.stack([np.stack([plane(t, w, s, c) for c in (1, 2)]) for t in (1, 2)])
        assert stream.array is not None
        np.testing.assert_array_equal(stream.array[:], expected)
    assert len(source.files) == 16
    assert {n.key for n in source.needs} == {"pixel_size_um.y", "pixel_size_um.x"}


def test_thumbnails_of_imagexpress_are_no_planes(imagexpress: Path) -> None:
    """Named as in the listing of a MetaXpress plate in faim-ipa's documentation."""
    planes = converter.open(imagexpress, {"pattern": IMAGEXPRESS}).files
    for plane_of in planes:
        guid = "_thumb6EFE77C6-B96D-412A-9FD1-710DBDA32821.tif"
        write(plane_of.with_name(plane_of.name[: plane_of.name.index("_w") + 3] + guid), plane(0)[:6, :8])
    assert converter.open(imagexpress, {"pattern": IMAGEXPRESS}).files == planes
    small = converter.open(imagexpress, {"pattern": "TimePoint_{t}/*_{row}{column}_s{field}_w{channel}_thumb*.tif"})
    assert len(small.files) == 16
    assert small.streams[0].shape[-2:] == (6, 8)


def test_opera(tmp_path: Path) -> None:
    """Rows and columns are numbers there, and stay what they are."""
    for z in range(1, 4):
        for f in (1, 12):
            write(tmp_path / f"Images/r02c03f{f:02d}p{z:02d}-ch1sk1fk1fl1.tiff", plane(z, f))
    source = converter.open(tmp_path, {"pattern": OPERA})
    assert [s.well and s.well.path for s in source.streams] == ["02/03/01", "02/03/12"]
    assert source.streams[0].axes == ("z", "y", "x")
    assert source.streams[1].array is not None
    np.testing.assert_array_equal(source.streams[1].array[:], np.stack([plane(z, 12) for z in (1, 2, 3)]))


def test_places_without_wells_are_images(tmp_path: Path) -> None:
    for f in (1, 2, 10):
        write(tmp_path / f"tile{f}_GFP.tif", plane(f))
        write(tmp_path / f"tile{f}_DAPI.tif", plane(f))
    source = converter.open(tmp_path, {"pattern": "tile{field}_{channel}.tif"})
    assert [(s.name, s.well) for s in source.streams] == [("1", None), ("2", None), ("10", None)]
    assert [c.name for c in source.streams[0].channels] == ["GFP", "DAPI"]


def test_wells_of_numbers_have_names_of_their_own(tmp_path: Path) -> None:
    for row, column in ((1, 12), (11, 2)):
        write(tmp_path / f"r{row}c{column}.tif", plane(row, column))
    source = converter.open(tmp_path, {"pattern": "r{row}c{column}.tif"})
    assert [s.name for s in source.streams] == ["1_12_0", "11_2_0"]
    assert [s.well and s.well.path for s in source.streams] == ["1/12/0", "11/2/0"]


def test_times_of_a_clock_are_no_gap_of_billions(tmp_path: Path) -> None:
    """Each missing number was looked for, which never ended."""
    for t in (20260101120000, 20260101120500):
        (tmp_path / f"t{t}.tif").write_bytes(b"")
    with pytest.raises(BadSource, match="no plane of t 20260101120001, between"):
        images_by(tmp_path, "t{t}.tif")


@given(
    wells=st.sets(st.tuples(st.sampled_from("ABCH"), st.integers(1, 24)), min_size=1, max_size=5),
    counts=st.tuples(*[st.integers(1, 3)] * 4), first=st.integers(0, 2),
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_plate_is_found_again(
    wells: set[tuple[str, int]], counts: tuple[int, int, int, int], first: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("plate")
    fields, times, channels, depth = (range(first, first + n) for n in counts)
    expected = []
    for row, column in sorted(wells):
        for f in fields:
            names = [f"{row}{column:02d}_f{f}_t{t}_c{c}_z{z:03d}.tif" for t in times for c in channels for z in depth]
            expected.append(((row, f"{column:02d}", str(f)), names))
            for name in names:
                (folder / name).write_bytes(b"")
    found = images_by(folder, "{row}{column}_f{field}_t{t}_c{channel}_z{z}.tif")
    assert [(tuple(i.place.values()), [p.name for p in i.files if p]) for i in found] == expected
    assert {tuple(map(len, i.counted.values())) for i in found} == {counts[1:]}


WRONG: dict[str, tuple[str, str]] = {
    "unknown": ("{place}.tif", r"(?s)\{place\}.*row, column, field, t, z, channel"),
    "twice": ("{z}_{z}.tif", "twice"),
    "half a well": ("{row}_{z}.tif", "without the other"),
    "brace": ("{z.tif", "brace that stands alone"),
    "width": ("{z:a}.tif", "number of characters"),
    "nothing": ("{z}.png", r"(?s)no file fits.*first file is TimePoint_1.exp_B02_s1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_pattern(case: str, imagexpress: Path) -> None:
    pattern, said = WRONG[case]
    with pytest.raises(BadRequest, match=said):
        converter.open(imagexpress, {"pattern": pattern})


@pytest.mark.parametrize("options", [{"patern": "x"}, {"pattern": 1}, {"pattern": "x", "more": 1}], ids=str)
def test_wrong_options(options: dict[str, Any], imagexpress: Path) -> None:
    with pytest.raises(BadRequest, match="has no option"):
        converter.open(imagexpress, options)


def remove(folder: Path, name: str) -> None:
    (found,) = folder.glob(name)
    found.unlink()


DAMAGED: dict[str, tuple[Any, type[DandifyError], str]] = {
    "a plane": (
        lambda f: remove(f, "TimePoint_2/exp_C11_s2_w1*"), BadSource,
        r"row C column 11 field 2: lacks the planes of t 2, channel 1",
    ),
    "a time": (
        lambda f: (f / "TimePoint_2").rename(f / "TimePoint_3"), BadSource, r"no plane of t 2, between t 1 and 3",
    ),
    "twice": (
        lambda f: write(f / "TimePoint_1/again_B02_s1_w1.tif", plane(1)), BadSource, "is the same plane as",
    ),
    "another size": (
        lambda f: write(next(f.glob("TimePoint_2/exp_B02_s1_w2*")), plane(1)[:5]), BadSource, r"exp_B02_s1_w2",
    ),
    "cut off": (
        lambda f: next(f.glob("TimePoint_2/exp_B02_s1_w2*")).write_bytes(b"II*\0"), BadSource, r"exp_B02_s1_w2",
    ),
}  # fmt: skip


def tiles(folder: Path, *fields: int, depths: int = 3) -> Path:
    for field in fields:
        for z in range(depths):
            write(folder / f"tile{field}_z{z}.tif", plane(field, z))
    return folder


def test_a_tile_with_less_planes_than_the_others(tmp_path: Path) -> None:
    """It became a flatter image without a word."""
    folder = tiles(tmp_path / "brain", 1, 2, 3)
    (folder / "tile2_z2.tif").unlink()
    pattern = {"pattern": "tile{field}_z{z}.tif"}
    with pytest.raises(BadSource, match="field 2: lacks the planes of z 2") as caught:
        converter.open(folder, pattern)
    assert caught.value.remedy is not None
    assert "--missing fill" in caught.value.remedy
    filled = converter.open(folder, {**pattern, "missing": "fill"})
    assert [s.shape for s in filled.streams] == [(3, *SIZE)] * 3
    assert [dict(f) for f in filled.streams[1].filled] == [{"z": 2}]
    alone = converter.open(folder, {"pattern": "tile2_z{z}.tif"})
    assert alone.streams[0].shape == (2, *SIZE)


def test_a_tile_that_is_missing(tmp_path: Path) -> None:
    folder = tiles(tmp_path / "brain", 1, 2, 4)
    pattern = {"pattern": "tile{field}_z{z}.tif"}
    with pytest.raises(BadSource, match="no files of field 3"):
        converter.open(folder, pattern)
    filled = converter.open(folder, {**pattern, "missing": "fill"})
    assert len(filled.streams) == 3
    assert "the folder has no files of field 3" in filled.problems
    numbered_by_place = tiles(tmp_path / "other", 101, 102, 201, 202)
    assert len(converter.open(numbered_by_place, pattern).streams) == 4


def test_fields_that_only_other_wells_have_are_told(imagexpress: Path) -> None:
    for t in (1, 2):
        for c in (1, 2):
            remove(imagexpress, f"TimePoint_{t}/exp_C11_s2_w{c}*")
    source = converter.open(imagexpress, {"pattern": IMAGEXPRESS})
    assert len(source.streams) == 3
    assert "well C11 has no files of field 2" in source.problems


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_missing_or_damaged_is_named(case: str, imagexpress: Path) -> None:
    damage, kind, said = DAMAGED[case]
    damage(imagexpress)
    with pytest.raises(kind, match=said):
        converter.open(imagexpress, {"pattern": IMAGEXPRESS})


def run(*arguments: Path | str) -> Any:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize("by", ["--pattern", "dandify.yaml"])
def test_convert_makes_a_plate(by: str, imagexpress: Path, tmp_path: Path) -> None:
    size = ["--set", "pixel_size_um.x=0.65", "--set", "pixel_size_um.y=0.65"]
    if by == "--pattern":
        done = run("convert", imagexpress, "--out", tmp_path / "out", *FLAGS, *size, "--pattern", IMAGEXPRESS)
    else:
        (tmp_path / "dandify.yaml").write_text(
            "subjects:\n  m1: {species: Mus musculus, sex: F, age: P60D}\nsessions:\n  - subject_id: m1\n"
            "    session_id: s1\n    metadata: {pixel_size_um: {x: 0.65, y: 0.65}}\n    sources:\n"
            f"      - {{path: exp, format: planes, options: {{pattern: '{IMAGEXPRESS}'}}}}\n"
            "output: {streams: {Image: {chunks: [1, 1, 16, 16]}}}\n"
        )
        done = run("convert", "--config", tmp_path / "dandify.yaml", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").rglob("*.ome.zarr")
    assert [w["path"] for w in metadata(path)["plate"]["wells"]] == ["B/02", "C/11"]
    document = json.loads((path / "C/11/2/0/zarr.json").read_text())
    cut = document["codecs"][0]["configuration"]["chunk_shape"]
    assert cut == ([1, 1, 24, 32] if by == "--pattern" else [1, 1, 16, 16])
    np.testing.assert_array_equal(levels(path / "C/11/2")[0][1, 0], plane(2, 2, 2, 1))
    assert check_ome_zarr(path) == []


def test_no_two_outputs_of_a_session_have_one_name(imagexpress: Path, tmp_path: Path) -> None:
    """Not that of a plate and of an image, nor one that a number made, nor any that differ in capital letters alone."""
    for name in ("exp.tif", "more/EXP.tif", "exp2.tif"):
        write(tmp_path / name, plane(1))
    sources = [
        f"{{path: exp, format: planes, options: {{pattern: '{IMAGEXPRESS}'}}}}",
        "exp.tif",
        "more/EXP.tif",
        "exp2.tif",
    ]
    (tmp_path / "dandify.yaml").write_text(
        "subjects:\n  m1: {species: Mus musculus, sex: F, age: P60D}\nsessions:\n  - subject_id: m1\n"
        "    session_id: s1\n    metadata: {pixel_size_um: {x: 0.65, y: 0.65}}\n    sources:\n"
        + "".join(f"      - {source}\n" for source in sources)
    )
    done = run("convert", "--config", tmp_path / "dandify.yaml", "--out", tmp_path / "out", "--dry-run", "--json")
    (record,) = json.loads(done.stdout)["sessions"]
    made = [Path(one["path"]).name.lower() for one in (*record["images"], *record["plates"])]
    assert len(set(made)) == 4, made


def test_a_dry_run_shows_the_plate(imagexpress: Path, tmp_path: Path) -> None:
    arguments: list[Path | str] = [
        "convert", imagexpress, "--out", tmp_path / "out", *FLAGS, "--pattern", IMAGEXPRESS, "--dry-run",
        "--set", "pixel_size_um.x=0.65", "--set", "pixel_size_um.y=0.65",
    ]  # fmt: skip
    done = run(*arguments)
    assert "plate of 2 wells, 4 fields of 2 x 2 x 24 x 32" in done.output, done.output
    assert "DANDI accepts it: paths of 5 parts" in done.output
    refused = run(*arguments, "--ngff", "0.4")
    assert "paths of 8 parts, and DANDI takes 7" in refused.output
    (record,) = json.loads(run(*arguments, "--json").stdout)["sessions"][0]["plates"]
    assert list(record["fields"]) == ["B/02/1", "B/02/2", "C/11/1", "C/11/2"]
    assert not (tmp_path / "out").exists()


def test_a_pattern_is_of_one_folder(imagexpress: Path, tmp_path: Path) -> None:
    done = run("convert", imagexpress, tmp_path, "--out", tmp_path / "out", *FLAGS, "--pattern", IMAGEXPRESS)
    assert done.exit_code == 2
    assert "a pattern is of one folder" in done.stderr


def test_a_real_plate_of_imagexpress() -> None:
    folder = shared("microscopy/imagexpress/1well-3C-2S-Zmix-T/2024-04-22/1697")
    source = converter.open(folder, {"pattern": IMAGEXPRESS})
    assert [s.well and s.well.path for s in source.streams] == ["C/07/1", "C/07/2"]
    for stream in source.streams:
        assert stream.well is not None
        assert stream.array is not None
        assert stream.shape == (2, 3, 256, 256)
        for t in (0, 1):
            for c in (0, 1, 2):
                (file,) = folder.glob(f"TimePoint_{t + 1}/*_s{stream.well.field}_w{c + 1}*.tif")
                region = (slice(t, t + 1), slice(c, c + 1), slice(None), slice(None))
                np.testing.assert_array_equal(stream.array[region][0, 0], tifffile.imread(file))
