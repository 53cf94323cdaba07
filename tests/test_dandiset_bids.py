from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import dandify
from dandify.dandiset.bids_names import MICR_SUFFIXES, bids_nwb_path, micr_path
from dandify.dandiset.images import pixel_size, read_image, read_sidecar
from dandify.dandiset.organize import organize
from dandify.dandiset.validate import validate
from dandify.errors import BadRequest, BadSource, MissingMetadata, UnknownFormat
from dandiset_cases import (
    add_ecephys,
    add_icephys,
    add_ophys,
    add_position,
    image,
    movie,
    session,
    video,
    write,
)
from organize_cases import errors_of_the_validator, names, table
from shared_data import shared

MOUSE = {"subject_id": "m1"}


# Microscopy


def test_a_new_image_becomes_a_bids_dataset(tmp_path: Path) -> None:
    image(tmp_path / "in" / "sub-m1_ses-1_stack.ome.zarr", MOUSE, {"session_id": "1"})
    said = table(tmp_path, "path,sample_id,stain,suffix,chunk", "in/*.ome.zarr,left_hemisphere,DAPI,SPIM,01")
    report = organize(tmp_path / "in", tmp_path / "out", table=said, metadata={"name": "A title"})
    assert (report.layout, report.because[:25]) == ("bids", "there are only images, an")
    stem = "sub-m1/ses-1/micr/sub-m1_ses-1_sample-leftHemisphere_stain-DAPI_chunk-01_SPIM"
    assert names(report) == [f"{stem}.ome.zarr"]
    assert json.loads((tmp_path / "out" / f"{stem}.json").read_text(encoding="utf-8")) == {
        "PixelSize": [0.5, 0.5, 1.0], "PixelSizeUnits": "um", "SampleStaining": ["DAPI"]
    }  # fmt: skip
    described = json.loads((tmp_path / "out" / "dataset_description.json").read_text(encoding="utf-8"))
    assert described == {"Name": "A title", "BIDSVersion": "1.11.1", "DatasetType": "raw"}
    assert errors_of_the_validator(tmp_path / "out") == []
    again = organize(tmp_path / "in", tmp_path / "out", table=said)
    assert (again.changed, again.generated, again.because) == ((), (), "the dandiset is laid out so already")


@pytest.mark.parametrize("dataset", ["micr_SEM", "micr_SEMzarr", "micr_SPIM"])
def test_a_dataset_of_others_comes_through_as_it_is(dataset: str, tmp_path: Path) -> None:
    source = shared(f"nwb/bids_examples/{dataset}")
    report = organize(source, tmp_path / "out")
    assert (report.layout, report.left) == ("bids", ())
    for file in source.rglob("*"):
        if file.is_file() and file.suffix != ".json":
            assert (tmp_path / "out" / file.relative_to(source)).read_bytes() == file.read_bytes()
    for file in source.rglob("*.json"):
        ours = json.loads((tmp_path / "out" / file.relative_to(source)).read_text(encoding="utf-8"))
        theirs = json.loads(file.read_text(encoding="utf-8"))
        assert ours.items() >= {k: v for k, v in theirs.items() if k not in ("BIDSVersion", "DatasetType")}.items()
    assert errors_of_the_validator(tmp_path / "out") == []
    assert validate(tmp_path / "out").errors == ()
    assert organize(source, tmp_path / "out").changed == ()


def test_a_mixed_set_in_the_layout_of_bids(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    video(folder / "cam.mp4")
    nwb = add_ecephys(session("m1", "1"))
    nwb.add_acquisition(movie("video", ["cam.mp4"]))
    write(nwb, folder / "a.nwb")
    write(add_icephys(session("m1", "2")), folder / "b.nwb")
    write(add_ophys(session("m2", "1")), folder / "c.nwb")
    write(add_position(session("m2", "2")), folder / "d.nwb.zarr")
    video(folder / "sub-m2_ses-2_top view.MP4")
    image(folder / "sub-m2_sample-brain_SPIM.ome.zarr")
    organize(folder, tmp_path / "out", layout="bids", metadata={"name": "Mixed"})
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").glob("sub-*/**/*_*")}
    expected = {
        "sub-m1/ses-1/ecephys/sub-m1_ses-1_ecephys.nwb", "sub-m1/ses-2/icephys/sub-m1_ses-2_icephys.nwb",
        "sub-m2/ses-1/nwb/sub-m2_ses-1_ophys.nwb", "sub-m2/ses-2/nwb/sub-m2_ses-2_behavior.nwb.zarr",
        "sub-m2/ses-2/video/sub-m2_ses-2_topView.mp4", "sub-m2/micr/sub-m2_sample-brain_SPIM.ome.zarr",
        "sub-m2/micr/sub-m2_sample-brain_SPIM.json",
    }  # fmt: skip
    assert expected <= found
    assert errors_of_the_validator(tmp_path / "out") == []
    report = validate(tmp_path / "out")
    assert report.errors == ()
    assert {v.kind for v in report.files} == {"nwb", "nwb-zarr", "ome-zarr", "bids", "dandiset.yaml", "hidden"}


# Which layout


@pytest.mark.parametrize(
    ("files", "layout", "because"),
    [
        (["sub-m1_sample-A_SPIM.ome.zarr"], "bids", "only images"),
        (["sub-m1_ses-1_stack.ome.zarr"], "dandi", r"sub-m1_ses-1_stack\.ome\.zarr lacks one"),
        (["sub-m1_ses-1_sample-A_SPIM.ome.zarr", "sub-m1_ses-1_cam.mp4"], "dandi", r"such as sub-m1_ses-1_cam\.mp4"),
    ],
    ids=["known samples", "no sample", "a video too"],
)
def test_auto_chooses_and_says_why(files: list[str], layout: str, because: str, tmp_path: Path) -> None:
    for name in files:
        (image if name.endswith(".zarr") else video)(tmp_path / "in" / name)
    report = organize(tmp_path / "in", tmp_path / "out", dry_run=True)
    assert report.layout == layout
    assert re.search(because, report.because)


@pytest.mark.parametrize(("first", "second"), [("dandi", "bids"), ("bids", "dandi")])
def test_a_dandiset_keeps_its_layout(first: Any, second: Any, tmp_path: Path) -> None:
    image(tmp_path / "in" / "sub-m1_ses-1_sample-A_SPIM.ome.zarr")
    organize(tmp_path / "in", tmp_path / "out", layout=first)
    with pytest.raises(BadRequest, match=f"is laid out as {first}, not as {second}"):
        organize(tmp_path / "in", tmp_path / "out", layout=second)
    assert organize(tmp_path / "in", tmp_path / "out").layout == first


def test_a_run_stopped_at_its_first_file_is_continued_in_the_same_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(tmp_path / "in" / "sub-m1_ses-1_sample-A_SPIM.ome.zarr")

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", stopped)
        with pytest.raises(KeyboardInterrupt):
            organize(tmp_path / "in", tmp_path / "out")
    video(tmp_path / "in" / "sub-m1_ses-1_cam.mp4")
    assert organize(tmp_path / "in", tmp_path / "out").layout == "bids"


# Plain images, videos and their JSON


def test_images_and_videos_that_a_table_describes(tmp_path: Path) -> None:
    for name in ("a.PNG", "b.mp4", "c.tif"):
        video(tmp_path / "in" / name)
    said = table(tmp_path, "path,subject_id,session_id", "in/*,007,1")
    report = organize(tmp_path / "in", tmp_path / "out", table=said)
    assert names(report) == ["sub-007/sub-007_ses-1_a.png", "sub-007/sub-007_ses-1_b.mp4"]
    assert [(item.path.name, "--layout bids" in item.reason) for item in report.left] == [("c.tif", True)]
    assert validate(tmp_path / "out").errors == ()


def test_what_an_nwb_file_refers_to_comes_by_its_name_only(tmp_path: Path) -> None:
    video(tmp_path / "in" / "sub-m1_ses-1_cam.mp4")
    nwb = session("m1", "1")
    nwb.add_acquisition(movie("video", ["sub-m1_ses-1_cam.mp4"]))
    write(nwb, tmp_path / "in" / "x.nwb")
    report = organize(tmp_path / "in", tmp_path / "out")
    assert [f.kind for f in report.files] == ["nwb", "media"]
    assert report.left == ()


def test_tiff_alone_has_no_place_in_the_layout_of_dandi(tmp_path: Path) -> None:
    video(tmp_path / "sub-m1_ses-1_x.tif")
    with pytest.raises(UnknownFormat, match="dandi uploads TIFF only in a BIDS dataset"):
        organize(tmp_path / "sub-m1_ses-1_x.tif", tmp_path / "out", layout="dandi")


def ome_tiff(path: Path, **size: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(2 * 8 * 8, dtype=np.uint16).reshape(2, 8, 8)
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "ZYX", **size})
    return path


def test_what_the_table_says_of_a_sample_is_in_table_and_sidecar(tmp_path: Path) -> None:
    for name in ("a", "b"):
        image(tmp_path / "in" / f"{name}.ome.zarr", {"subject_id": "m1"}, {"session_id": "1"})
    columns = "path,sample_id,sample_type,stain,suffix"
    said = table(tmp_path, columns, "in/a.ome.zarr,S-1,cell line,anti-GFP,SPIM", "in/b.ome.zarr,S2,,,SPIM")
    for _ in range(2):  # and no less of it is kept the second time
        organize(tmp_path / "in", tmp_path / "out", layout="bids", table=said)
        rows = (tmp_path / "out" / "samples.tsv").read_text(encoding="utf-8").splitlines()
        assert rows[1:] == ["sample-S1\tsub-m1\tcell line", "sample-S2\tsub-m1\tn/a"]
        stained, other = (
            json.loads(file.read_text()) for file in sorted(tmp_path.glob("out/sub-m1/ses-1/micr/*.json"))
        )
        assert stained["SampleStaining"] == ["anti-GFP"]
        assert "SampleStaining" not in other
    with pytest.raises(BadRequest, match=r"line 2.*sample_type 'Tisue' (?s:.)*did you mean 'tissue'"):
        organize(tmp_path / "in", tmp_path / "x", table=table(tmp_path, columns, "in/a.ome.zarr,S-1,Tisue,,SPIM"))


def test_the_json_beside_an_image_is_completed_and_edits_are_kept(tmp_path: Path) -> None:
    ome_tiff(
        tmp_path / "in" / "sub-m1_sample-A_CONF.ome.tiff", PhysicalSizeX=250, PhysicalSizeXUnit="nm",
        PhysicalSizeY=0.25, PhysicalSizeYUnit="µm", PhysicalSizeZ=2, PhysicalSizeZUnit="µm",
    )  # fmt: skip
    given = tmp_path / "in" / "sub-m1_sample-A_CONF.json"
    given.write_text('{"Magnification": 40, "SampleStaining": "LFB"}', encoding="utf-8")
    report = organize(tmp_path / "in", tmp_path / "out")
    assert names(report) == ["sub-m1/micr/sub-m1_sample-A_CONF.ome.tif"]
    made = tmp_path / "out" / "sub-m1" / "micr" / "sub-m1_sample-A_CONF.json"
    said = {
        "Magnification": 40, "SampleStaining": "LFB", "PixelSize": [0.25, 0.25, 2.0], "PixelSizeUnits": "um"
    }  # fmt: skip
    assert json.loads(made.read_text(encoding="utf-8")) == said
    made.write_text(json.dumps({**said, "Magnification": 63, "Immersion": "Oil"}), encoding="utf-8")
    assert organize(tmp_path / "in", tmp_path / "out").generated == ()
    assert json.loads(made.read_text(encoding="utf-8"))["Magnification"] == 63
    organize(tmp_path / "in", tmp_path / "out", overwrite=True)
    assert json.loads(made.read_text(encoding="utf-8")) == {**said, "Immersion": "Oil"}
    assert errors_of_the_validator(tmp_path / "out") == []


def test_json_and_bidsignore_as_editors_of_windows_save_them(tmp_path: Path) -> None:
    path = ome_tiff(tmp_path / "in" / "sub-m1_sample-A_CONF.ome.tif", PhysicalSizeX=0.5, PhysicalSizeY=0.5)
    said = '{"Manufacturer": "Zeiss", "PixelSize": [0.5, 0.5], "PixelSizeUnits": "um"}'
    (path.parent / "sub-m1_sample-A_CONF.json").write_text(said, encoding="utf-8-sig")
    organize(tmp_path / "in", tmp_path / "out")
    (made,) = (tmp_path / "out").rglob("*.ome.tif")
    assert read_sidecar(path)["Manufacturer"] == read_sidecar(made)["Manufacturer"] == "Zeiss"
    (tmp_path / "out" / ".bidsignore").write_bytes("Möwe\n".encode("latin-1"))
    with pytest.raises(BadSource, match=r"bidsignore: is not UTF-8"):
        organize(tmp_path / "in", tmp_path / "out")


def test_a_suffix_in_capitals_hides_nothing(tmp_path: Path) -> None:
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2}
    path = ome_tiff(tmp_path / "in" / "x.ome.tif", **size, Channel={"Name": ["GFP"]})
    path.rename(path.with_name("sub-m1_sample-A_CONF.ome.TIF"))
    organize(tmp_path / "in", tmp_path / "out")
    (made,) = (tmp_path / "out").rglob("*_CONF.json")
    assert json.loads(made.read_text(encoding="utf-8"))["ChannelNames"] == ["GFP"]


def test_a_big_tiff_is_called_so(tmp_path: Path) -> None:
    """BIDS's INCONSISTENT_TIFF_EXTENSION."""
    path = tmp_path / "in" / "sub-m1_sample-A_CONF.ome.tif"
    path.parent.mkdir()
    size = {f"PhysicalSize{axis}{what}": value for axis in "XY" for what, value in (("", 0.5), ("Unit", "µm"))}
    tifffile.imwrite(path, np.ones((8, 8), np.uint8), ome=True, bigtiff=True, metadata={"axes": "YX", **size})
    assert names(organize(tmp_path / "in", tmp_path / "out")) == ["sub-m1/micr/sub-m1_sample-A_CONF.ome.btf"]
    assert errors_of_the_validator(tmp_path / "out") == []


def test_sizes_of_pixels_that_nobody_states_are_asked_for_at_once(tmp_path: Path) -> None:
    for name in ("A", "B"):
        video(tmp_path / "in" / f"sub-m1_sample-{name}_SEM.png")
    video(tmp_path / "in" / "sub-m1_sample-A_photo.jpg")  # of the sample, not through a microscope
    with pytest.raises(MissingMetadata) as caught:
        organize(tmp_path / "in", tmp_path / "out")
    assert [(n.key, Path(n.file or "").name) for n in caught.value.needs] == [
        ("PixelSize", "sub-m1_sample-A_SEM.png"), ("PixelSize", "sub-m1_sample-B_SEM.png"),
    ]  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_sizes_of_pixels_may_stand_in_the_table(tmp_path: Path) -> None:
    video(tmp_path / "in" / "a.png")
    said = table(tmp_path, "path,subject_id,sample_id,suffix,pixel_size_um", "in/a.png,m1,A,SEM,0.004 0.004")
    organize(tmp_path / "in", tmp_path / "out", table=said)
    made = tmp_path / "out" / "sub-m1" / "micr" / "sub-m1_sample-A_SEM.json"
    assert json.loads(made.read_text(encoding="utf-8")) == {"PixelSize": [0.004, 0.004], "PixelSizeUnits": "um"}
    assert errors_of_the_validator(tmp_path / "out") == []


def test_units_are_those_that_the_image_states(tmp_path: Path) -> None:
    path = image(tmp_path / "x.ome.zarr")
    attributes = json.loads((path / ".zattrs").read_text(encoding="utf-8"))
    (multiscale,) = attributes["multiscales"]
    multiscale["coordinateTransformations"] = [{"type": "scale", "scale": [1.0, 2.0, 2.0]}]
    for axis, unit in zip(multiscale["axes"], ("millimeter", "nanometer", "nanometer"), strict=True):
        axis["unit"] = unit
    (path / ".zattrs").write_text(json.dumps(attributes), encoding="utf-8")
    assert pixel_size(path) == {"PixelSize": [0.001, 0.001, 1000.0], "PixelSizeUnits": "um"}
    del multiscale["axes"][2]["unit"]
    (path / ".zattrs").write_text(json.dumps(attributes), encoding="utf-8")
    assert pixel_size(path) is None, "a number without a unit is no size"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_states_the_pixels_of_its_fields(version: str, tmp_path: Path) -> None:
    fields = {place: np.ones((16, 16), np.uint16) for place in ("B/03/1", "B/03/2")}
    dandify.write_ome_zarr_plate(
        fields, tmp_path / "x.ome.zarr", version=version, axes="yx", scale={"y": 2.5, "x": 0.5}, channels=["DAPI"]
    )  # fmt: skip
    found = read_image(tmp_path / "x.ome.zarr")
    assert (found.pixel_size_um, found.channels) == ({"y": 2.5, "x": 0.5}, ("DAPI",))
    assert pixel_size(tmp_path / "x.ome.zarr") == {"PixelSize": [0.5, 2.5], "PixelSizeUnits": "um"}


# Names


LABELS = st.text(min_size=1, max_size=20).filter(lambda t: re.search("[0-9A-Za-z]", t))


@given(
    subject=LABELS, session_id=st.none() | LABELS, sample=LABELS, stain=st.none() | LABELS,
    chunk=st.none() | st.integers(0, 99).map(str), suffix=st.sampled_from(MICR_SUFFIXES),
)  # fmt: skip
def test_microscopy_has_names_of_bids(
    subject: str, session_id: str | None, sample: str, stain: str | None, chunk: str | None, suffix: str
) -> None:
    entities = {"sample": sample, "suffix": suffix, **{k: v for k, v in {"stain": stain, "chunk": chunk}.items() if v}}
    path = micr_path(subject, session_id, entities, ".ome.zarr")
    label = "[0-9a-zA-Z+]+"
    rule = (
        rf"(?P<sub>sub-{label})/((?P<ses>ses-{label})/)?micr/(?P=sub)(_ses-{label})?_sample-{label}"
        rf"(_stain-{label})?(_chunk-[0-9]+)?_{suffix}\.ome\.zarr"
    )
    assert re.fullmatch(rule, path.as_posix())


@pytest.mark.parametrize(
    ("entities", "suffix", "wrong"),
    [
        ({"sample": "A", "suffix": "lightsheet"}, ".ome.zarr", "BIDS has TEM"),
        ({"sample": "A", "suffix": "SPIM"}, ".jpg", "takes no .jpg as SPIM"),
        ({"sample": "A", "suffix": "SPIM", "chunk": "left"}, ".ome.tif", "is no number"),
        ({"sample": "_", "suffix": "SPIM"}, ".ome.tif", "no letter and no digit"),
    ],
    ids=["suffix", "format", "index", "label"],
)
def test_names_that_bids_does_not_take(entities: dict[str, str], suffix: str, wrong: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(wrong)):
        micr_path("m1", None, entities, suffix)


def test_names_of_nwb_files() -> None:
    def name(modalities: tuple[str, ...], entities: dict[str, str]) -> str:
        return bids_nwb_path("m_1", "1", modalities, entities, ".nwb").as_posix()

    assert name(("icephys",), {"cell": "c 1"}) == "sub-m1/ses-1/icephys/sub-m1_ses-1_sample-c1_icephys.nwb"
    assert name(("ecephys", "image"), {"probe": "17"}) == "sub-m1/ses-1/ecephys/sub-m1_ses-1_acq-17_ecephys.nwb"
    assert name(("ophys", "behavior"), {"run": "2"}) == "sub-m1/ses-1/nwb/sub-m1_ses-1_run-2_behavior+ophys.nwb"
    assert name((), {}) == "sub-m1/ses-1/nwb/sub-m1_ses-1.nwb"


def test_two_samples_do_not_share_a_name(tmp_path: Path) -> None:
    for i, sample in enumerate(("left-1", "left1")):
        image(tmp_path / "in" / f"{i}.ome.zarr")
        with (tmp_path / "rows").open("a", encoding="utf-8") as rows:
            rows.write(f"in/{i}.ome.zarr,m1,{sample},SPIM\n")
    said = table(tmp_path, "path,subject_id,sample_id,suffix", *(tmp_path / "rows").read_text().splitlines())
    with pytest.raises(BadRequest, match=r"two samples of subject 'm1' would both be sample-left1.*'left-1'.*'left1'"):
        organize(tmp_path / "in", tmp_path / "out", table=said)


# The table


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        (["path,subject", "x.nwb,m1"], r"line 1.*unknown column 'subject'; did you mean 'subject_id'"),
        (["subject_id", "m1"], "no column 'path'"),
        (["path,subject_id", "y.nwb,m1"], r"line 2.*y\.nwb is none of the files"),
        (["path,subject_id", "x.nwb,m2"], r"says subject_id 'm2' of .*x\.nwb, which itself states 'mouse_01'"),
        (["path,run", "x.nwb,1", "*.nwb,2"], r"run of x\.nwb is '1' in line 2 and '2' in line 3"),
        (["path,run", "x.nwb,1,2"], "3 cells under 2 names"),
        (["path,run", ",1"], "a row with no path"),
        (["path,session_start_time", "x.nwb,yesterday"], "not an ISO 8601"),
        (["path,pixel_size_um", "x.nwb,0.5"], "not two or three numbers"),
        (["path,pixel_size_um", "x.nwb,1 0"], "not two or three numbers"),
    ],
    ids=[
        "column",
        "no path",
        "no file",
        "contradiction",
        "two rows",
        "cells",
        "empty path",
        "time",
        "one size",
        "zero",
    ],
)
def test_a_table_that_cannot_be(lines: list[str], wrong: str, tmp_path: Path) -> None:
    write(add_ecephys(session()), tmp_path / "x.nwb")
    said = table(tmp_path, *lines)
    with pytest.raises(BadRequest, match=f"(?s){wrong}"):
        organize(tmp_path / "x.nwb", tmp_path / "out", table=said)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "path,description,run\nx.nwb,part 1,\n\n"),
        ("t.tsv", "path\tdescription\nx.nwb\tpart 1\n"),
        ("t.csv", "\ufeffpath;description\nx.nwb;part 1\n"),
    ],
    ids=["csv", "tsv", "as Excel saves it in Europe"],
)
def test_a_table_tells_files_of_one_session_apart(name: str, text: str, tmp_path: Path) -> None:
    write(add_ecephys(session("m1", "1")), tmp_path / "x.nwb")
    (tmp_path / name).write_text(text, encoding="utf-8")
    report = organize(tmp_path / "x.nwb", tmp_path / "out", table=tmp_path / name)
    assert names(report) == ["sub-m1/sub-m1_ses-1_desc-part1_ecephys.nwb"]
