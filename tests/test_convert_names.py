"""Names and places of the images that `convert` makes, whatever their sources are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dandify.cli.main import main
from tiff_makers import write_ome, write_plain

FLAGS = ["--subject-id", "m1", "--species", "Mus musculus", "--sex", "F", "--age", "P60D", "--session-id", "s1"]
SIZES = [f for a in "zyx" for f in ("--set", f"pixel_size_um.{a}=1")]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def convert(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["convert", *arguments, *FLAGS])
    assert result.exit_code == 0, result.output
    return result.output


NAMES = {
    "brain_01.ome.tif": "brain01",
    "1536355916.608.tif": "1536355916608",
    "Größe Maß.ome.tif": "GrosseMass",
    "図.ome.tif": "image",
    "a.b.OME.TIFF": "aB",
}


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_called_as_its_file(name: str, raw: Path, tmp_path: Path) -> None:
    write_ome(raw / name, (12, 16), "YX")
    convert(str(raw), "--out", str(tmp_path / "out"), *SIZES)
    images = sorted((tmp_path / "out").rglob("*.ome.zarr"))
    assert [p.name for p in images] == [f"sub-m1_ses-s1_{NAMES[name]}.ome.zarr"]


def test_names_without_a_letter_that_dandi_knows_differ(raw: Path, tmp_path: Path) -> None:
    for name in ("図.ome.tif", "表.ome.tif"):
        write_ome(raw / name, (12, 16), "YX")
    convert(str(raw), "--out", str(tmp_path / "out"), *SIZES)
    images = sorted(p.name for p in (tmp_path / "out").rglob("*.ome.zarr"))
    assert images == ["sub-m1_ses-s1_image.ome.zarr", "sub-m1_ses-s1_image2.ome.zarr"]


def test_the_folder_above(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorStore, which reads everything back, takes no path with two dots."""
    write_ome(raw / "a.ome.tif", (12, 16), "YX")
    monkeypatch.chdir(raw)
    convert("a.ome.tif", "--out", "../out", *SIZES)
    assert (tmp_path / "out/sub-m1_ses-s1/sub-m1_ses-s1_a.ome.zarr").is_dir()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, in which nobody may make a folder")
def test_a_place_where_nothing_can_be_made(raw: Path) -> None:
    write_ome(raw / "a.ome.tif", (12, 16), "YX")
    result = CliRunner().invoke(main, ["convert", str(raw), "--out", "/proc/dandify", *FLAGS, *SIZES])
    assert result.exit_code == 2, result.output
    assert "cannot be made" in result.stderr
    assert "remedy: " in result.stderr


def test_no_folder_is_made_for_two_dots(raw: Path, tmp_path: Path) -> None:
    write_ome(raw / "a.ome.tif", (12, 16), "YX")
    convert(str(raw), "--out", str(tmp_path / "never/../out"), *SIZES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "raw"]


def test_what_a_source_says_is_wrong_is_told(raw: Path, tmp_path: Path) -> None:
    """Of runs of planes in one folder, a shorter one may be cut off; only `scan` said so."""
    for tile, depth in (("a", 3), ("b", 2)):
        for z in range(depth):
            write_plain(raw / f"{tile}_z{z}.tif", (12, 16))
    said = convert(str(raw), "--out", str(tmp_path / "out"), *SIZES)
    assert "note raw: raw holds 2 runs of numbered planes; each becomes an image, of 2 to 3 planes" in said
