"""Links in place of files and folders, as DataLad leaves them: said plainly, and never a traceback."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from dandify.archive.serve import running_archive
from dandify.archive.upload import upload
from dandify.dandiset.check import check
from dandify.dandiset.describe import write_description
from dandify.dandiset.organize import organize
from dandify.dandiset.validate import validate
from dandify.errors import BadSource
from dandiset_cases import add_units, image, session, video, write

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows lets only some users make links")


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Return a dandiset of links: to files that are gone, and to folders, beside one good file."""
    root = tmp_path / "dandiset"
    write(add_units(session("m1", "1")), root / "sub-m1" / "sub-m1_ses-1_ecephys.nwb")
    write_description(root, {"name": "x"})
    image(tmp_path / "elsewhere" / "sub-m2" / "z.ome.zarr")
    video(tmp_path / "elsewhere" / "sub-m2" / "clip.mp4")
    for name in ("sub-m1_ses-2_ecephys.nwb", "cam.mp4", "notes.json"):
        (root / "sub-m1" / name).symlink_to(f"../.git/annex/{name}")
    (root / "sub-m1" / "gone.ome.zarr").symlink_to("../nowhere")
    (root / "sub-m1" / "there.ome.zarr").symlink_to(tmp_path / "elsewhere" / "sub-m2" / "z.ome.zarr")
    (root / "sub-m2").symlink_to(tmp_path / "elsewhere" / "sub-m2")
    return root


def test_links_are_validated_as_what_dandi_takes_them_for(linked: Path) -> None:
    report = validate(linked)
    assert {(f.id, f.path and f.path.name) for f in report.errors} == {
        ("DANDI.FILE_CONTENT_MISSING", "sub-m1_ses-2_ecephys.nwb"), ("DANDI.FILE_CONTENT_MISSING", "cam.mp4"),
        ("dandify.linked_folder", "gone.ome.zarr"), ("dandify.linked_folder", "there.ome.zarr"),
        ("dandify.linked_folder", "sub-m2"),
    }  # fmt: skip
    missing = next(f for f in report.errors if f.path and f.path.name == "cam.mp4")
    assert missing.message == "its content is not there: it is a link to ../.git/annex/cam.mp4"
    assert "datalad get" in str(missing.remedy)
    assert [v.path.name for v in report.files if v.ok] == ["dandiset.yaml", "notes.json", "sub-m1_ses-1_ecephys.nwb"]


def test_a_link_is_a_way_to_what_lies_in_no_dandiset(linked: Path, tmp_path: Path) -> None:
    here = tmp_path / "here.ome.zarr"
    here.symlink_to(tmp_path / "elsewhere" / "sub-m2" / "z.ome.zarr")
    (tmp_path / "there").symlink_to(linked)
    assert validate(here).errors == ()
    assert [v.kind for v in validate(here).files] == ["ome-zarr"]
    assert len(validate(tmp_path / "there").files) == len(validate(linked).files)
    assert [f.id for f in validate(linked / "sub-m1" / "there.ome.zarr").errors] == ["dandify.linked_folder"]


def test_links_are_not_uploaded_and_named(linked: Path, tmp_path: Path) -> None:
    with running_archive(tmp_path / "archive") as archive:
        report = upload(linked, to=archive.url, token=archive.token, create=True)
    said = {a.path: (a.status, a.message.partition(";")[0]) for a in report.assets}
    gone = "its content is not there: it is a link to ../.git/annex/"
    assert said.pop("sub-m1/sub-m1_ses-1_ecephys.nwb") == ("uploaded", "")
    assert said.pop("sub-m1/notes.json")[0] == said.pop("sub-m1/gone.ome.zarr")[0] == "skipped"
    assert said == {
        "sub-m1/cam.mp4": ("failed", f"{gone}cam.mp4"),
        "sub-m1/sub-m1_ses-2_ecephys.nwb": ("failed", f"{gone}sub-m1_ses-2_ecephys.nwb"),
        "sub-m1/there.ome.zarr": ("skipped", "a link to a folder, which dandi does not follow"),
        "sub-m2": ("skipped", "a link to a folder, which dandi does not follow"),
    }


def test_links_to_nothing_are_not_organized(linked: Path, tmp_path: Path) -> None:
    shutil.move(linked / "sub-m1", tmp_path / "in")
    with pytest.raises(BadSource, match=r"content is not there: it is a link to \.\./\.git/annex") as caught:
        organize(tmp_path / "in", tmp_path / "out")
    assert "--ignore" in str(caught.value.remedy)
    assert not (tmp_path / "out").exists()
    report = organize(tmp_path / "in", tmp_path / "out", ignore=["*ses-2*", "there*", "cam*"])
    assert [f.path.name for f in report.files] == ["sub-m1_ses-1_ecephys.nwb"]


def test_what_is_no_nwb_is_said_in_one_line(tmp_path: Path) -> None:
    write_description(tmp_path, {"name": "x"})
    path = tmp_path / "sub-m1" / "sub-m1_ses-1.nwb"
    path.parent.mkdir()
    path.write_bytes(b"junk")
    said = {f.id: f.message for f in validate(tmp_path).errors}
    assert said["NWBI.unreadable"].startswith("pynwb cannot read it: ValueError: Unable to read file")
    assert all("\n" not in message for message in said.values())


def test_a_file_that_links_lead_to_as_well_is_organized_once(tmp_path: Path) -> None:
    """Also where a link leads back to a folder that it lies in."""
    nwb = write(add_units(session("m1", "1")), tmp_path / "raw" / "a.nwb")
    folder = tmp_path / "in"
    folder.mkdir()
    for name, target in (("b.nwb", nwb), ("raw", nwb.parent), ("again", folder)):
        (folder / name).symlink_to(target)
    report = organize(folder, tmp_path / "out")
    assert [(f.path.as_posix(), f.source.name) for f in report.files] == [("sub-m1/sub-m1_ses-1_ecephys.nwb", "b.nwb")]
    assert [f.path.name for f in check(folder).files if f.kind == "nwb"] == ["b.nwb"]
