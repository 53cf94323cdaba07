"""What `dandi organize` 0.81 gets wrong (reference page, section 1.1), file by file: it does not happen here.

Lists of mixed kinds, media of processing modules, suffixes in capitals, shared videos, names that depend on the batch
and NWB-Zarr are in test_dandiset_organize.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.base import TimeSeries
from pynwb.icephys import CurrentClampSeries

from dandify.dandiset.facts import read_facts
from dandify.dandiset.organize import OrganizeReport, organize
from dandify.errors import BadRequest, BadSource
from dandiset_cases import add_icephys, add_position, add_units, image, movie, session, video, write


def names(report: OrganizeReport) -> list[str]:
    return [f.path.as_posix() for f in report.files]


def cell(cell_id: str) -> NWBFile:
    """Return a session of one cell, whose id stands where NWB has a place for it."""
    nwb = session("m1", "1")
    device = nwb.create_device(name="amplifier", description="An amplifier.")
    electrode = nwb.create_icephys_electrode(name="e0", description="A pipette.", device=device, cell_id=cell_id)
    values = np.arange(9, dtype=np.float32)
    nwb.add_acquisition(CurrentClampSeries(name="cc", data=values, electrode=electrode, gain=1.0, rate=20_000.0))
    return nwb


@pytest.mark.parametrize("suffix", [".nwb", ".nwb.zarr"])
def test_the_id_of_a_cell_is_read_where_nwb_has_it(suffix: str, tmp_path: Path) -> None:
    for cell_id in ("c_1", "c_2"):
        write(cell(cell_id), tmp_path / "in" / f"{cell_id}{suffix}")
    assert names(organize(tmp_path / "in", tmp_path / "out")) == [
        f"sub-m1/sub-m1_ses-1_cell-c1_icephys{suffix}", f"sub-m1/sub-m1_ses-1_cell-c2_icephys{suffix}",
    ]  # fmt: skip


def test_several_cells_in_one_file_are_no_part_of_its_name(tmp_path: Path) -> None:
    nwb = cell("c1")
    nwb.create_icephys_electrode(name="e1", description="Another.", device=nwb.devices["amplifier"], cell_id="c2")
    report = organize(write(nwb, tmp_path / "x.nwb"), tmp_path / "out")
    assert names(report) == ["sub-m1/sub-m1_ses-1_icephys.nwb"]


def test_tissue_slice_and_cell_are_read_of_every_backend(tmp_path: Path) -> None:
    """As the extension of the NWB GUIDE has them: attributes of a LabMetaData."""
    said = {"tissue_sample_id": "t 1", "slice_id": "s1", "cell_id": "c1"}
    with h5py.File(write(add_icephys(session("m1", "1")), tmp_path / "in" / "x.nwb"), "r+") as file:
        group = file.create_group("general/DandiIcephysMetadata")
        group.attrs.update({"neurodata_type": "DandiIcephysMetadata", "namespace": "ndx-x", "object_id": "x"} | said)
    folder = write(add_icephys(session("m1", "1")), tmp_path / "in" / "x.nwb.zarr")
    with h5py.File(tmp_path / "in" / "x.nwb") as file:
        attributes = dict(file["general/DandiIcephysMetadata"].attrs)
    place = folder / "general" / "DandiIcephysMetadata"
    place.mkdir()
    (place / ".zgroup").write_text('{"zarr_format": 2}')
    (place / ".zattrs").write_text(json.dumps(attributes))
    probe = folder / "general" / "devices" / "amplifier" / ".zattrs"
    probe.write_text(json.dumps(json.loads(probe.read_text()) | {"probe_id": 7}))
    assert names(organize(tmp_path / "in", tmp_path / "out")) == [
        "sub-m1/sub-m1_ses-1_tis-t1_slice-s1_cell-c1_icephys.nwb",
        "sub-m1/sub-m1_ses-1_tis-t1_slice-s1_cell-c1_probe-7_icephys.nwb.zarr",
    ]


@pytest.mark.parametrize("stored_as", ["attribute", "dataset"])
def test_files_of_one_session_are_told_apart_by_their_probes(stored_as: str, tmp_path: Path) -> None:
    for probe in (17, 18):
        with h5py.File(write(cell_free(), tmp_path / "in" / f"{probe}.nwb"), "r+") as file:
            device = file["general/devices/probe"]
            if stored_as == "attribute":
                device.attrs["probe_id"] = probe
            else:
                device["probe_id"] = probe
    report = organize(tmp_path / "in", tmp_path / "out")
    assert names(report) == [f"sub-m1/sub-m1_ses-1_probe-{n}_ecephys.nwb" for n in (17, 18)]


def cell_free() -> NWBFile:
    nwb = add_units(session("m1", "1"))
    nwb.create_device(name="probe", description="A probe.")
    return nwb


def test_two_files_with_one_object_id_are_both_named(tmp_path: Path) -> None:
    first = write(add_units(session("m1", "1")), tmp_path / "one.nwb")
    second = tmp_path / "two.nwb"
    second.write_bytes(first.read_bytes())
    with pytest.raises(BadRequest, match=r"one\.nwb and .*two\.nwb"):
        organize([first, second], tmp_path / "out")


def test_every_name_of_several_files_is_listed(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(add_units(session("m1", "1")), tmp_path / folder / "x.nwb")
        image(tmp_path / folder / "sub-m1_ses-1_x.ome.zarr")
    with pytest.raises(BadRequest, match="2 names would each be of several files") as caught:
        organize(tmp_path, tmp_path / "out")
    for said in ("a/x.nwb and ", "b/sub-m1_ses-1_x.ome.zarr", "column description, probe_id", "column sample_id"):
        assert said in str(caught.value)
    table = tmp_path / "t.csv"
    table.write_text("path,description,sample_id\na/x.nwb,raw,\nb/x.nwb,sorted,\na/*.zarr,,A\nb/*.zarr,,B\n")
    assert names(organize(tmp_path, tmp_path / "out", table=table)) == [
        "sub-m1/sub-m1_ses-1_desc-raw_ecephys.nwb", "sub-m1/sub-m1_ses-1_desc-sorted_ecephys.nwb",
        "sub-m1/sub-m1_ses-1_sample-A_x.ome.zarr", "sub-m1/sub-m1_ses-1_sample-B_x.ome.zarr",
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["subject_id", "session_id"])
def test_an_id_of_which_no_name_can_be_made_is_told_with_its_file(key: str, tmp_path: Path) -> None:
    path = write(session(**({"subject_id": "m1", "session_id": "1"} | {key: "日本"})), tmp_path / "x.nwb")
    with pytest.raises(BadRequest, match=f"{key} '日本' has no letter") as caught:
        organize(path, tmp_path / "out")
    assert caught.value.file == str(path)


def _events(nwb: NWBFile) -> None:
    nwb.add_trial(start_time=0.0, stop_time=1.0)


def _pose(nwb: NWBFile) -> None:
    nwb.create_processing_module(name="behavior", description="B.").add(
        TimeSeries(name="nose", data=np.zeros((5, 2)), rate=30.0, unit="pixels")
    )


def _plain(nwb: NWBFile) -> None:
    nwb.add_acquisition(TimeSeries(name="lick", data=np.zeros(5), rate=30.0, unit="V"))


@pytest.mark.parametrize(
    ("fill", "place", "extension_type", "suffix"),
    [
        (_events, None, None, "_behavior"),
        (_pose, "processing/behavior/nose", "PoseEstimationSeries", "_behavior"),
        (_plain, "acquisition/lick", "FiberPhotometryResponseSeries", "_ophys"),
        (_plain, "acquisition/lick", "LabeledEvents", "_behavior"),
        (_plain, "acquisition/lick", None, ""),
    ],
    ids=["events only", "pose", "photometry", "ndx-events", "nothing known"],
)
def test_types_of_extensions_have_their_modality(
    fill: Callable[[NWBFile], None], place: str | None, extension_type: str | None, suffix: str, tmp_path: Path
) -> None:
    nwb = session("m1", "1")
    fill(nwb)
    path = write(nwb, tmp_path / "x.nwb")
    if place and extension_type:
        with h5py.File(path, "r+") as file:
            file[place].attrs["neurodata_type"] = extension_type
    assert names(organize(path, tmp_path / "out")) == [f"sub-m1/sub-m1_ses-1{suffix}.nwb"]


def with_pose(path: Path, videos: list[str]) -> Path:
    """Write a video's ImageSeries, and beside it a PoseEstimation as ndx-pose 0.1 stores it."""
    nwb = session("m1", "1")
    nwb.create_processing_module(name="behavior", description="B.").add(movie("camera", videos[:1]))
    write(nwb, path)
    with h5py.File(path, "r+") as file:
        pose = file.create_group("processing/behavior/a_pose")  # before the camera, in the order of names
        pose.attrs.update({"neurodata_type": "PoseEstimation", "namespace": "ndx-pose", "object_id": "pose"})
        pose.create_dataset("original_videos", data=videos, dtype=h5py.string_dtype())
    return path


def test_videos_that_a_pose_was_estimated_from_are_mended_too(tmp_path: Path) -> None:
    video(tmp_path / "in" / "cam.mp4")
    source = with_pose(tmp_path / "in" / "x.nwb", ["cam.mp4", "/gone/away.mp4"])
    report = organize(source, tmp_path / "out")
    copy = report.dandiset / "sub-m1" / "sub-m1_ses-1_behavior+image.nwb"
    assert [f.kind for f in report.files] == ["nwb", "media"]
    with h5py.File(copy) as file:
        (link,) = file["processing/behavior/camera/external_file"].asstr()[:]
        assert list(file["processing/behavior/a_pose/original_videos"].asstr()[:]) == [link, "/gone/away.mp4"]
    assert (copy.parent / link).is_file()
    assert "pose" not in link, "the ImageSeries names it"


def test_links_to_other_files_are_refused_before_any_work(tmp_path: Path) -> None:
    """dandi ends in NotImplementedError; a copy elsewhere would have lost its data."""
    path = write(add_units(session("m1", "1")), tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        file["scratch/away"] = h5py.ExternalLink("raw.h5", "/data")
    with pytest.raises(BadSource, match=r"/scratch/away -> raw\.h5"):
        organize(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_remedy_for_links_works(tmp_path: Path) -> None:
    """What the error advises makes a file that is organized, with the data in it."""
    raw = write(add_icephys(session("m1", "1")), tmp_path / "raw.nwb")
    linked = tmp_path / "linked.nwb"
    with NWBHDF5IO(raw, "r") as source:
        nwb = source.read()
        other = session("m1", "1")
        other.add_acquisition(
            TimeSeries(name="cc", data=nwb.acquisition["cc"].data, rate=1.0, unit="V")
        )  # a dataset of another file becomes a link
        with NWBHDF5IO(linked, "w", manager=None) as io:
            io.write(other)
    assert read_facts(linked, "nwb").links
    with NWBHDF5IO(linked, "r") as source, NWBHDF5IO(tmp_path / "whole.nwb", "w") as io:
        io.export(source, write_args={"link_data": False})
    (file,) = organize(tmp_path / "whole.nwb", tmp_path / "out").files
    with NWBHDF5IO(tmp_path / "out" / file.path, "r") as io:
        assert len(io.read().acquisition["cc"].data) == 100


def test_a_suffix_in_capitals_is_an_nwb_file_too(tmp_path: Path) -> None:
    source = write(add_position(session("m1", "1")), tmp_path / "x.nwb").rename(tmp_path / "X.NWB")
    assert names(organize(source, tmp_path / "out")) == ["sub-m1/sub-m1_ses-1_behavior.nwb"]


def test_a_group_that_lies_in_itself_is_walked_once(tmp_path: Path) -> None:
    path = write(add_position(session("m1", "1")), tmp_path / "x.nwb")
    with h5py.File(path, "r+") as file:
        file["processing/behavior/again"] = file["processing/behavior"]  # a hard link
    assert names(organize(path, tmp_path / "out")) == ["sub-m1/sub-m1_ses-1_behavior.nwb"]
