"""Media that NWB files refer to come along, and the organized copies refer to them there."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner
from pynwb import NWBHDF5IO

from dandify.cli.main import main
from dandify.dandiset.facts import read_facts
from dandify.dandiset.organize import organize
from dandify.errors import BadRequest, BadSource
from dandiset_cases import (
    add_ecephys,
    add_units,
    movie,
    session,
    video,
    write,
)
from organize_cases import external, names, statuses, with_video


def test_a_list_of_mixed_kinds_keeps_its_order(tmp_path: Path) -> None:
    for name in ("b.tif", "c.mp4"):
        video(tmp_path / name, name.encode())
    nwb = write(with_video(["b.tif", "c.mp4"]), tmp_path / "in" / "x.nwb")
    shutil.move(tmp_path / "b.tif", tmp_path / "in")
    shutil.move(tmp_path / "c.mp4", tmp_path / "in")
    report = organize(nwb, tmp_path / "out")
    copy = report.dandiset / "sub-m1/sub-m1_ses-1_image.nwb"
    first, second = external(copy)
    assert (first[-6:], second[-6:]) == ("_0.tif", "_1.mp4")
    assert [(copy.parent / name).read_bytes() for name in (first, second)] == [b"b.tif", b"c.mp4"]


def test_media_of_processing_modules_come_along(tmp_path: Path) -> None:
    video(tmp_path / "in" / "eye.avi")
    nwb = session("m1", "1")
    nwb.create_processing_module(name="behavior", description="B.").add(movie("eye", ["eye.avi"]))
    report = organize(write(nwb, tmp_path / "in" / "x.nwb"), tmp_path / "out")
    copy = report.dandiset / "sub-m1/sub-m1_ses-1_image.nwb"
    (link,) = external(copy, "processing/behavior/eye")
    assert (copy.parent / link).is_file()
    assert not Path(link).is_absolute()


def test_suffixes_in_capitals_are_made_small(tmp_path: Path) -> None:
    video(tmp_path / "in" / "CLIP2.MP4")
    report = organize(write(with_video(["CLIP2.MP4"]), tmp_path / "in" / "x.nwb"), tmp_path / "out")
    (link,) = external(report.dandiset / "sub-m1/sub-m1_ses-1_image.nwb")
    assert link.endswith("_external_file_0.mp4")


def test_media_are_known_by_a_path_from_elsewhere(tmp_path: Path) -> None:
    """What is given is compared with what NWB files refer to; ``..`` in it changes nothing."""
    video(tmp_path / "in" / "sub-m1_cam.mp4")
    write(with_video(["sub-m1_cam.mp4"]), tmp_path / "in" / "x.nwb")
    (tmp_path / "here").mkdir()
    report = organize(tmp_path / "here" / ".." / "in", tmp_path / "here" / ".." / "out")
    assert sorted(f.kind for f in report.files) == ["media", "nwb"]
    assert report.left == ()
    assert report.dandiset == tmp_path / "out"


def test_nwb_files_may_share_a_video(tmp_path: Path) -> None:
    for subject in ("m1", "m2"):
        write(with_video(["../cam.mp4"], subject), tmp_path / "in" / f"{subject}.nwb")
    video(tmp_path / "cam.mp4")
    report = organize(tmp_path / "in", tmp_path / "out", mode="move")
    for subject in ("m1", "m2"):
        copy = report.dandiset / f"sub-{subject}/sub-{subject}_ses-1_image.nwb"
        assert (copy.parent / external(copy)[0]).read_bytes() == (tmp_path / "cam.mp4").read_bytes()
    assert (tmp_path / "in" / "m1.nwb").is_file(), "what is relinked is copied, and raw videos stay"


def test_the_relinked_copy_differs_in_its_links_alone(tmp_path: Path) -> None:
    video(tmp_path / "in" / "cam.mp4")
    source = write(add_ecephys(with_video(["cam.mp4"])), tmp_path / "in" / "x.nwb")
    report = organize(source, tmp_path / "out")
    copy = report.dandiset / "sub-m1/sub-m1_ses-1_ecephys+image.nwb"
    with NWBHDF5IO(source, "r") as a, NWBHDF5IO(copy, "r") as b:
        ours, theirs = a.read(), b.read()
        assert ours.object_id == theirs.object_id
        assert (ours.acquisition["ElectricalSeries"].data[:] == theirs.acquisition["ElectricalSeries"].data[:]).all()
        assert theirs.acquisition["video"].object_id in theirs.acquisition["video"].external_file[0]


def test_links_of_an_nwb_zarr_are_mended_too(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.avi"):
        video(tmp_path / "in" / name, name.encode())
    write(with_video(["a.mp4", "b.avi"]), tmp_path / "in" / "x.nwb.zarr")
    report = organize(tmp_path / "in", tmp_path / "out")
    copy = report.dandiset / "sub-m1/sub-m1_ses-1_image.nwb.zarr"
    files = read_facts(copy, "nwb-zarr").external_files
    assert [e.resolve(copy).read_bytes() for e in files] == [b"a.mp4", b"b.avi"]
    assert [e.name for e in read_facts(tmp_path / "in/x.nwb.zarr", "nwb-zarr").external_files] == ["a.mp4", "b.avi"]
    assert statuses(organize(tmp_path / "in", tmp_path / "out")) == {"unchanged"}


def test_links_in_text_of_a_fixed_width_are_mended(tmp_path: Path) -> None:
    source = write(with_video(["x.mp4"]), tmp_path / "in" / "x.nwb")
    with h5py.File(source, "r+") as file:
        old = file["acquisition/video/external_file"]
        attributes = dict(old.attrs)
        del file["acquisition/video/external_file"]
        made = file["acquisition/video"].create_dataset("external_file", data=[b"x.mp4"])
        made.attrs.update(attributes)
    video(tmp_path / "in" / "x.mp4")
    report = organize(source, tmp_path / "out")
    copy = report.dandiset / "sub-m1/sub-m1_ses-1_image.nwb"
    assert (copy.parent / external(copy)[0]).is_file()
    with h5py.File(copy) as file:
        assert list(file["acquisition/video/external_file"].attrs["starting_frame"]) == [0]


def test_external_pictures_come_along(tmp_path: Path) -> None:
    from pynwb.base import ExternalImage, Images

    nwb = session("m1", "1")
    nwb.add_acquisition(
        Images(
            name="pictures", description="Some.",
            images=[ExternalImage(name="one", data="one.PNG", image_format="PNG", description="One.")],
        )
    )  # fmt: skip
    video(tmp_path / "in" / "one.PNG")
    report = organize(write(nwb, tmp_path / "in" / "x.nwb"), tmp_path / "out")
    copy = report.dandiset / "sub-m1/sub-m1_ses-1_image.nwb"
    (found,) = read_facts(copy, "nwb").external_files
    assert found.resolve(copy).is_file()
    assert found.name.endswith("_external_file_0.png")


def test_urls_stay(tmp_path: Path) -> None:
    report = organize(write(with_video(["https://x.org/a.mp4"]), tmp_path / "x.nwb"), tmp_path / "out")
    assert external(report.dandiset / "sub-m1/sub-m1_ses-1_image.nwb") == ["https://x.org/a.mp4"]
    assert len(report.files) == 1


WINDOWS = r"C:\Users\lab\Clip.MP4"


def test_media_that_have_moved_are_looked_for_by_name(tmp_path: Path) -> None:
    video(tmp_path / "now/day 1/clip.mp4", b"moved")
    video(tmp_path / "in/here.avi", b"where it says")
    video(tmp_path / "now/here.avi", b"another")
    nwb = write(with_video([WINDOWS, "here.avi"]), tmp_path / "in/x.nwb")
    with pytest.raises(BadSource, match="not there") as caught:
        organize(nwb, tmp_path / "out")
    assert "--media FOLDER" in str(caught.value.remedy)
    report = organize(nwb, tmp_path / "out", media=[tmp_path / "now"])
    copy = report.dandiset / "sub-m1/sub-m1_ses-1_image.nwb"
    assert [(copy.parent / name).read_bytes() for name in external(copy)] == [b"moved", b"where it says"]
    assert external(nwb) == [WINDOWS, "here.avi"]
    assert statuses(organize(nwb, tmp_path / "out", media=[tmp_path / "now"])) == {"unchanged"}


def test_media_of_one_name_are_both_named(tmp_path: Path) -> None:
    for place in ("a/clip.mp4", "b/CLIP.mp4"):
        video(tmp_path / "now" / place)
    nwb = write(with_video([WINDOWS]), tmp_path / "in/x.nwb")
    with pytest.raises(BadRequest, match=r"a/clip\.mp4 and .*b/CLIP\.mp4"):
        organize(nwb, tmp_path / "out", media=[tmp_path / "now"])
    assert not (tmp_path / "out").exists()


def test_a_file_whose_media_are_gone_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    write(add_units(session("m0", "1")), tmp_path / "in" / "a.nwb")
    nwb = write(with_video(["gone.mp4", "away.mp4"]), tmp_path / "in" / "x.nwb")
    video(tmp_path / "in" / "away.mp4")
    for dry_run in (True, False):
        report = organize(tmp_path / "in", tmp_path / "out", dry_run=dry_run)
        [refused] = report.refused
        assert (refused.path, refused.reason) == (
            nwb, "/acquisition/video/external_file refers to gone.mp4, which is not there"
        )  # fmt: skip
        assert "--media FOLDER" in refused.remedy
        assert names(report) == ["sub-m0/sub-m0_ses-1_ecephys.nwb"]
        assert (tmp_path / "out" / "sub-m0").exists() is not dry_run
    assert not (tmp_path / "out" / "sub-m1").exists()
    done = CliRunner().invoke(main, ["organize", str(tmp_path / "in"), "--dandiset", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "1 unchanged, 1 failed" in done.output
    video(tmp_path / "in" / "gone.mp4")
    report = organize(tmp_path / "in", tmp_path / "out")
    assert (report.refused, len(report.changed), len(report.files)) == ((), 3, 4)


def test_all_media_that_are_gone_are_named_if_nothing_can_be_organized(tmp_path: Path) -> None:
    write(with_video(["gone.mp4", "away.mp4"]), tmp_path / "in" / "x.nwb")
    with pytest.raises(BadSource, match=r"(?s)gone\.mp4.*away\.mp4"):
        organize(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_organized_needs_the_original_media_no_more(tmp_path: Path) -> None:
    write(add_units(session("m0", "1")), tmp_path / "in" / "a.nwb")
    clip = video(tmp_path / "raw" / "cam.mp4")
    write(with_video(["../raw/cam.mp4"]), tmp_path / "in" / "x.nwb")
    before = organize(tmp_path / "in", tmp_path / "out")
    clip.unlink()
    again = organize(tmp_path / "in", tmp_path / "out")
    assert (again.refused, statuses(again), names(again)) == ((), {"unchanged"}, names(before))
    copy = next(f for f in before.files if f.kind == "media")
    (tmp_path / "out" / copy.path).unlink()
    assert [one.path.name for one in organize(tmp_path / "in", tmp_path / "out").refused] == ["x.nwb"]
