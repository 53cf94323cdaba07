from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import h5py
import pytest
from click.testing import CliRunner

from dandify.cli.main import main
from dandify.dandiset.organize import organize
from dandify.errors import (
    BadRequest,
    BadSource,
    DandifyError,
    MissingMetadata,
    OutputExists,
    UnknownFormat,
)
from dandiset_cases import (
    add_ecephys,
    add_icephys,
    add_ophys,
    add_position,
    add_units,
    image,
    movie,
    session,
    video,
    write,
)
from organize_cases import digests, external, names, statuses, with_video


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several subjects, backends, an image and videos; written once, and never touched."""
    root = tmp_path_factory.mktemp("written")
    folder = root / "converted"
    write(add_ecephys(session()), folder / "sub-mouse01_ses-s1" / "a.nwb")
    write(add_icephys(session("cell_1", None)), folder / "b.nwb")
    write(add_ophys(session("m3")), folder / "c.nwb")
    write(add_position(session("m4")), folder / "d.nwb.zarr")
    write(add_units(session("m5")), folder / "e.nwb")
    write(session("m6"), folder / "f.nwb")
    image(folder / "sub-m3_ses-s1_stack.ome.zarr", {"subject_id": "m3"}, {"session_id": "s-1"})
    video(root / "raw" / "cam.mp4")
    both = add_ecephys(with_video(["../raw/cam.mp4"], "m7"))
    both.create_processing_module(name="behavior", description="B.").add(movie("eye", ["../raw/cam.mp4"]))
    write(both, folder / "g.nwb")
    return root


@pytest.fixture
def mixed(written: Path, tmp_path: Path) -> Path:
    """Give a copy of `written` to organize."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path / "converted"


def test_every_kind_gets_its_place(mixed: Path, tmp_path: Path) -> None:
    before = digests(tmp_path)
    report = organize(mixed, tmp_path / "dandiset", metadata={"name": "A test"})
    found = [n for n in names(report) if "external_file" not in n]
    assert found == [
        "sub-cell1/sub-cell1_ses-20240501T093005_icephys.nwb",
        "sub-m3/sub-m3_ses-s1_ophys.nwb",
        "sub-m3/sub-m3_ses-s1_stack.ome.zarr",
        "sub-m4/sub-m4_ses-s1_behavior.nwb.zarr",
        "sub-m5/sub-m5_ses-s1_ecephys.nwb",
        "sub-m6/sub-m6_ses-s1.nwb",
        "sub-m7/sub-m7_ses-1_ecephys+image.nwb",
        "sub-mouse01/sub-mouse01_ses-s1_ecephys.nwb",
    ]
    assert all((report.dandiset / name).exists() for name in names(report))
    assert [item.path.name for item in report.left] == ["sub-m3_ses-s1_stack.ome.zarr.manifest.json"]
    after = digests(tmp_path)
    assert {k: v for k, v in after.items() if not k.startswith("dandiset/")} == before, "the input is never changed"
    assert after["dandiset/sub-m3/sub-m3_ses-s1_ophys.nwb"] == before["converted/c.nwb"]


@pytest.mark.parametrize("mode", ["copy", "hardlink", "symlink"])
def test_again_changes_nothing(mode: Any, mixed: Path, tmp_path: Path) -> None:
    first = organize(mixed, tmp_path / "dandiset", mode=mode, metadata={"name": "A test"})
    assert first.description == "created"
    before = digests(tmp_path / "dandiset")
    again = organize(mixed, tmp_path / "dandiset", mode=mode, metadata={"name": "A test"})
    assert (statuses(again), again.description, again.changed) == ({"unchanged"}, "unchanged", ())
    assert names(again) == names(first)
    assert digests(tmp_path / "dandiset") == before


def test_names_do_not_depend_on_the_batch(mixed: Path, tmp_path: Path) -> None:
    together = organize(mixed, tmp_path / "together")
    for source in ("b.nwb", "c.nwb", "d.nwb.zarr", "e.nwb", "g.nwb", "sub-m3_ses-s1_stack.ome.zarr"):
        alone = organize(mixed / source, tmp_path / "alone")
        assert set(names(alone)) <= set(names(together))
    assert digests(tmp_path / "alone").items() <= digests(tmp_path / "together").items()


def test_a_dry_run_changes_nothing(mixed: Path, tmp_path: Path) -> None:
    planned = organize(mixed, tmp_path / "dandiset", mode="move", dry_run=True)
    assert planned.dry_run
    assert not (tmp_path / "dandiset").exists()
    done = organize(mixed, tmp_path / "dandiset", mode="move")
    assert [(f.path, f.status) for f in planned.files] == [(f.path, f.status) for f in done.files]


# The bugs of `dandi organize` 0.81 (reference page, section 1.1): each must not happen here.


def test_one_video_of_two_series_comes_once(mixed: Path, tmp_path: Path) -> None:
    report = organize(mixed / "g.nwb", tmp_path / "out")
    assert sum(f.kind == "media" for f in report.files) == 1
    copy = report.dandiset / "sub-m7/sub-m7_ses-1_ecephys+image.nwb"
    assert external(copy) == external(copy, "processing/behavior/eye")


# Ids


@pytest.mark.parametrize(
    ("one", "two", "what"),
    [
        (("m-1", "1"), ("m1", "2"), "'m-1'.*'m1'"),
        (("M1", "1"), ("m1", "2"), "'M1'.*'m1'"),
        (("m1", "s_1"), ("m1", "s1"), "two sessions"),
        (("m1", "1"), ("m1", "1"), "two files"),
    ],
    ids=["subjects", "case", "sessions", "files"],
)
@pytest.mark.parametrize("added_later", [False, True], ids=["together", "one after the other"])
def test_what_would_share_a_name_is_refused(
    one: tuple[str, str], two: tuple[str, str], what: str, added_later: bool, tmp_path: Path
) -> None:
    first = write(add_units(session(*one)), tmp_path / "one.nwb")
    second = write(add_units(session(*two)), tmp_path / "two.nwb")
    if added_later:
        organize(first, tmp_path / "out")
    with pytest.raises((BadRequest, OutputExists)) as caught:
        organize(second if added_later else [first, second], tmp_path / "out")
    if not (added_later and what == "two files"):  # there the file that is in the way is named
        caught.match(what if what.startswith("two") else f"(?i){what}|{'.*'.join(reversed(what.split('.*')))}")


def test_ids_in_two_forms_of_unicode_are_told_from_one_another(tmp_path: Path) -> None:
    """They print alike."""
    for i, subject in enumerate((normalize("NFC", "Zoë"), normalize("NFD", "Zoë"))):
        write(add_units(session(subject, str(i))), tmp_path / "in" / f"{i}.nwb")
    with pytest.raises(BadRequest, match=r"sub-Zoe.*'Zoë'") as caught:
        organize(tmp_path / "in", tmp_path / "out")
    assert "two forms of Unicode" in str(caught.value.remedy)


def test_ids_that_no_file_states_are_asked_for_at_once(tmp_path: Path) -> None:
    image(tmp_path / "in" / "one.ome.zarr")
    write(session(None, None), tmp_path / "in" / "two.nwb")
    with pytest.raises(MissingMetadata) as caught:
        organize(tmp_path / "in", tmp_path / "out")
    assert [(n.key, Path(n.file or "").name) for n in caught.value.needs] == [
        ("subject_id", "one.ome.zarr"), ("session_id", "one.ome.zarr"), ("subject_id", "two.nwb"),
    ]  # fmt: skip
    report = organize(tmp_path / "in", tmp_path / "out", subject_id="m1", session_id="1")
    assert names(report) == ["sub-m1/sub-m1_ses-1_one.ome.zarr", "sub-m1/sub-m1_ses-20240501T093005.nwb"]


def test_an_image_states_its_ids_in_a_name_of_dandi_too(tmp_path: Path) -> None:
    image(tmp_path / "sub-m1_ses-2_a.b.ome.zarr")
    assert names(organize(tmp_path, tmp_path / "out")) == ["sub-m1/sub-m1_ses-2_aB.ome.zarr"]


# What is there already, and what goes wrong


def test_what_differs_is_not_overwritten_unasked(mixed: Path, tmp_path: Path) -> None:
    organize(mixed, tmp_path / "out")
    target = tmp_path / "out" / "sub-m3" / "sub-m3_ses-s1_ophys.nwb"
    original = target.read_bytes()
    target.write_bytes(b"edited")
    chunk = tmp_path / "out" / "sub-m3" / "sub-m3_ses-s1_stack.ome.zarr" / "0" / "0" / "0" / "0"
    kept = chunk.read_bytes()
    chunk.write_bytes(b"x")
    before = digests(tmp_path / "out")
    with pytest.raises(OutputExists, match=r"(?s)sub-m3_ses-s1.*1 more"):
        organize(mixed, tmp_path / "out")
    assert digests(tmp_path / "out") == before
    report = organize(mixed, tmp_path / "out", overwrite=True)
    assert [f.path.name for f in report.changed] == ["sub-m3_ses-s1_ophys.nwb", "sub-m3_ses-s1_stack.ome.zarr"]
    assert (target.read_bytes(), chunk.read_bytes()) == (original, kept)


def test_a_touched_file_is_compared_byte_by_byte(mixed: Path, tmp_path: Path) -> None:
    organize(mixed, tmp_path / "out")
    for i, file in enumerate([*mixed.rglob("*"), *(tmp_path / "out").rglob("*")]):
        if file.is_file():
            os.utime(file, ns=(0, i * 10**9))
    assert statuses(organize(mixed, tmp_path / "out")) == {"unchanged"}


def test_a_hard_link_shares_the_file(mixed: Path, tmp_path: Path) -> None:
    report = organize(mixed, tmp_path / "out", mode="hardlink")
    for file in report.files:
        if file.kind == "nwb":
            target = report.dandiset / file.path
            assert target.samefile(file.source) is not file.relinked
            assert file.status == ("copied" if file.relinked else "hardlinked")


@pytest.mark.parametrize(
    ("mode", "impossible", "status"),
    [
        ("hardlink", ["link"], {"copied"}),
        ("symlink", ["symlink"], {"copied", "hardlinked"}),
        ("symlink", ["symlink", "link"], {"copied"}),
    ],
    ids=["no hard links", "no symbolic links", "neither"],
)
def test_where_links_are_not_possible_it_copies(
    mode: Any, impossible: list[str], status: set[str], mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: Any) -> None:
        raise OSError(errno.EPERM, "not permitted")

    organize(mixed, tmp_path / "copied")
    for name in impossible:
        monkeypatch.setattr(os, name, no_link)
    assert statuses(organize(mixed, tmp_path / "out", mode=mode)) == status
    assert digests(tmp_path / "out") == digests(tmp_path / "copied")


def test_a_symbolic_link_leads_to_the_file_and_folders_stay_folders(mixed: Path, tmp_path: Path) -> None:
    before = digests(mixed)
    report = organize(mixed, tmp_path / "out", mode="symlink")
    for file in report.files:
        target = report.dandiset / file.path
        assert (file.status == "copied") is file.relinked
        assert target.is_symlink() is not (file.relinked or target.is_dir())
        links = [p for p in target.rglob("*") if p.is_file()] if target.is_dir() else []
        assert all(p.readlink() == file.source / p.relative_to(target) for p in links)
    assert digests(mixed) == before
    (mixed / "c.nwb").rename(mixed / "moved.nwb")  # now a link leads nowhere
    with pytest.raises(OutputExists, match=r"sub-m3_ses-s1_ophys\.nwb"):
        organize(mixed, tmp_path / "out", mode="symlink")
    report = organize(mixed, tmp_path / "out", mode="symlink", overwrite=True)
    assert [(f.path.name, f.status) for f in report.changed] == [("sub-m3_ses-s1_ophys.nwb", "symlinked")]
    organize(mixed, tmp_path / "copied")
    assert digests(tmp_path / "out") == digests(tmp_path / "copied")


def test_move_leaves_nothing_but_what_was_relinked(mixed: Path, tmp_path: Path) -> None:
    organize(mixed, tmp_path / "out", mode="move")
    assert {p.name for p in mixed.rglob("*")} == {
        "g.nwb", "sub-mouse01_ses-s1", "sub-m3_ses-s1_stack.ome.zarr.manifest.json"
    }  # fmt: skip


def test_what_a_killed_run_had_put_aside_is_removed(tmp_path: Path) -> None:
    """Killed after the old folder had left its place, and before the new one took it."""
    write(add_position(session("m1", "1")), tmp_path / "in" / "x.nwb.zarr")
    (file,) = organize(tmp_path / "in", tmp_path / "out").files
    target = tmp_path / "out" / file.path
    target.rename(target.with_name(f"{target.name}.replaced"))
    organize(tmp_path / "in", tmp_path / "out")
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def test_the_command_says_that_nothing_was_done(mixed: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["organize", str(mixed), "--dandiset", str(tmp_path / "out"), "--dry-run"])
    assert "dry run, nothing was changed; it would be: " in done.output, done.output
    assert "next:" not in done.output
    assert not (tmp_path / "out").exists()


def test_a_stopped_move_is_continued_though_its_files_are_gone(tmp_path: Path) -> None:
    """Killed after the last file had its place, and before dandiset.yaml was written; the table names them still."""
    for name in ("a", "b"):
        write(add_units(session(None, name)), tmp_path / "in" / f"{name}.nwb")
    image(tmp_path / "in" / "stack.ome.zarr", {"subject_id": "m1"})
    table = tmp_path / "t.csv"
    table.write_text("path,subject_id,session_id\nin/*.nwb,m1,\nin/stack.ome.zarr,,s1\n", encoding="utf-8")
    with pytest.raises(BadRequest, match="is none of the files"):
        organize(tmp_path / "in" / "a.nwb", tmp_path / "out", table=table, mode="move")
    organize(tmp_path / "in", tmp_path / "out", table=table, mode="move", metadata={"name": "x"})
    (tmp_path / "out" / "dandiset.yaml").unlink()
    again = organize(tmp_path / "in", tmp_path / "out", table=table, mode="move", metadata={"name": "x"})
    assert (again.changed, again.description) == ((), "created")
    shutil.rmtree(tmp_path / "in")
    last = organize(tmp_path / "in", tmp_path / "out", mode="move")
    assert (last.files, last.description, last.layout) == ((), "unchanged", "dandi")
    with pytest.raises(BadRequest, match="no such file or folder"):
        organize(tmp_path / "in", tmp_path / "out")


def test_move_across_file_systems_copies_first(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def across(real: Callable[..., Any]) -> Callable[..., Any]:
        def rename(source: Any, target: Any) -> None:
            if mixed in Path(source).parents:
                raise OSError(errno.EXDEV, "another device")
            real(source, target)

        return rename

    monkeypatch.setattr(os, "rename", across(os.rename))
    monkeypatch.setattr(os, "replace", across(os.replace))
    before = digests(mixed)["c.nwb"]
    organize(mixed, tmp_path / "out", mode="move")
    assert not (mixed / "c.nwb").exists()
    assert digests(tmp_path / "out")["sub-m3/sub-m3_ses-s1_ophys.nwb"] == before


def test_what_may_not_be_moved_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a folder that may only be read: of such a one the system lets nothing be renamed or removed."""
    closed = write(add_units(session("m1", "1")), tmp_path / "closed" / "a.nwb")
    other = write(add_units(session("m2", "1")), tmp_path / "open" / "b.nwb")

    def unless_closed(real: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any, *more: Any, **how: Any) -> Any:
            if Path(path) == closed:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *more, **how)

        return refuse

    for name in ("rename", "replace", "unlink", "remove"):
        monkeypatch.setattr(os, name, unless_closed(getattr(os, name)))
    report = organize([closed, other], tmp_path / "out", mode="move", metadata={"name": "x"})
    assert [f.status for f in report.files] == ["copied", "moved"]
    assert report.description == "created"
    assert (closed.exists(), other.exists()) == (True, False)


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")], ids=["ctrl-c", "full disk"]
)
@pytest.mark.parametrize("mode", ["copy", "move"])
def test_a_stopped_run_leaves_nothing_half_and_is_continued(
    failure: BaseException, mode: Any, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(mixed)
    organize(mixed, tmp_path / "whole")
    copied = shutil.copyfile
    count = 0

    def stops(source: Any, target: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            Path(target).write_bytes(Path(source).read_bytes()[:10])
            raise failure
        return copied(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", stops)
        with pytest.raises((KeyboardInterrupt, DandifyError)) as caught:
            organize(mixed, tmp_path / "out", mode=mode)
    if isinstance(caught.value, DandifyError):
        caught.match(r"(?s)No space left.*make room")
    found = digests(tmp_path / "out")
    assert found.items() <= digests(tmp_path / "whole").items(), "all that has a final name is complete"
    present = {*found.values(), *digests(mixed).values()}
    assert set(before.values()) <= present, "nothing is lost"
    organize(mixed, tmp_path / "out", mode=mode)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_killed_run_is_continued(mixed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "sub-m3"
    (folder / "sub-m3_ses-s1_stack.ome.zarr.partial").mkdir(parents=True)
    (folder / "sub-m3_ses-s1_ophys.nwb.partial").write_bytes(b"half")
    organize(mixed, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_a_disk_too_small_is_told_before_any_work(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DandifyError, match="are free"):
        organize(mixed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _text(path: Path) -> None:
    path.write_text("not HDF5", encoding="utf-8")


def _other_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 1


def _cut(path: Path) -> None:
    write(add_ecephys(session()), path)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("make", [_text, _other_hdf5, _cut], ids=["text", "hdf5", "truncated"])
def test_a_damaged_file_stops_everything(make: Callable[[Path], None], tmp_path: Path) -> None:
    write(add_units(session()), tmp_path / "good.nwb")
    make(tmp_path / "bad.nwb")
    with pytest.raises(BadSource, match=r"bad\.nwb"):
        organize(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_organize_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UnknownFormat, match="no NWB file"):
        organize(tmp_path, tmp_path / "out")
    with pytest.raises(BadRequest, match="no such file"):
        organize(tmp_path / "gone", tmp_path / "out")


def test_a_dandiset_is_not_organized_into_itself(tmp_path: Path) -> None:
    write(add_units(session()), tmp_path / "in" / "x.nwb")
    organize(tmp_path / "in", tmp_path / "in" / "dandiset")
    assert statuses(organize(tmp_path / "in", tmp_path / "in" / "dandiset")) == {"unchanged"}
    with pytest.raises(BadRequest, match="lies in the dandiset"):
        organize(tmp_path / "in" / "dandiset", tmp_path / "in" / "dandiset")


def test_what_is_left_is_told_with_its_reason(mixed: Path, tmp_path: Path) -> None:
    video(mixed / "other.mp4")
    (mixed / "h.nwb.partial").write_bytes(b"half")
    (mixed / "odd.zarr").mkdir()
    left = {item.path.name: item.reason for item in organize(mixed, tmp_path / "out").left}
    assert left["other.mp4"].startswith("no NWB file refers to it, and neither its name nor --table")
    assert left["h.nwb.partial"].startswith("unfinished")
    assert "neither" in left["odd.zarr"]


def test_progress_counts_bytes(mixed: Path, tmp_path: Path) -> None:
    steps: list[Any] = []
    report = organize(mixed, tmp_path / "out", progress=steps.append)
    assert len(steps) == len(report.files)
    assert steps[-1].done_bytes == steps[-1].total_bytes == sum(f.bytes for f in report.files)


@pytest.mark.parametrize("mode", ["copy", "symlink"])
def test_the_dandi_command_finds_no_error(mode: Any, mixed: Path, tmp_path: Path) -> None:
    report = organize(mixed, tmp_path / "out", mode=mode, metadata={"name": "A test"})
    environment = {
        **os.environ, "DANDI_NO_ET": "1", "NO_ET": "1", "DANDI_CACHE": "ignore", "HOME": str(tmp_path / "home"),
    }  # fmt: skip
    done = subprocess.run(
        [Path(sys.executable).with_name("dandi"), "validate", report.dandiset],
        env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stdout


def test_damaged_files_are_all_named_at_once(tmp_path: Path) -> None:
    for name in ("a.nwb", "b.nwb"):
        (tmp_path / name).write_bytes(b"not HDF5")
    write(session("m1", "1"), tmp_path / "good.nwb")
    with pytest.raises(BadSource, match=r"2 files cannot be read:\n.*a\.nwb: .*\n.*b\.nwb: ") as caught:
        organize(tmp_path, tmp_path / "out")
    assert "--ignore" in str(caught.value.remedy)
    assert names(organize(tmp_path, tmp_path / "out", ignore=["[ab].nwb"])) == ["sub-m1/sub-m1_ses-1.nwb"]


@pytest.mark.parametrize(("subject", "wrong"), [("m" * 200, "a name in it"), ("m" * 123, None)])
def test_names_that_no_file_system_takes_are_refused(subject: str, wrong: str | None, tmp_path: Path) -> None:
    nwb = write(session(subject, "s" * 100), tmp_path / "x.nwb")
    if wrong is None:
        assert [f.status for f in organize(nwb, tmp_path / "out").files] == ["copied"]
        return
    with pytest.raises(BadRequest, match=wrong) as caught:
        organize(nwb, tmp_path / "out")
    assert str(nwb) == caught.value.file
    assert not (tmp_path / "out").exists()


def test_a_film_of_nobody_is_told_how_to_be_named(tmp_path: Path) -> None:
    video(tmp_path / "in/some film.MOV")
    with pytest.raises(UnknownFormat, match=r"some film\.MOV, cannot be placed") as caught:
        organize(tmp_path / "in", tmp_path / "out")
    assert "path, subject_id and session_id" in str(caught.value.remedy)


@pytest.mark.skipif(os.name == "nt", reason="quotes are of the shell")
def test_what_to_run_next_can_be_pasted(tmp_path: Path) -> None:
    write(session("m1", "1"), tmp_path / "x.nwb")
    done = CliRunner().invoke(main, ["organize", str(tmp_path / "x.nwb"), "--dandiset", str(tmp_path / "my data")])
    assert f"next: dandify validate '{tmp_path / 'my data'}'" in done.output
