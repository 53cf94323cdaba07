"""A mixed set - made by dandify and by others, NWB, OME-Zarr, videos - goes the whole way, in both layouts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import dandify
from dandify.errors import DandifyError
from dandify.examples.behaviour import write_trials, write_video
from dandify.examples.light_sheet import write_light_sheet
from dandify.examples.run import write_recordings
from dandify.examples.spikeglx import write_spikeglx_run
from dandiset_cases import add_ecephys, add_icephys, add_units, movie, session, write
from mixed_set import FOREIGN, LEFT_OUT, write_config, write_table
from mixed_way import Layout, goes_all_the_way
from ome_zarr_stores import write_store
from shared_data import ROOT, shared

TABLE = """\
path,subject_id,session_id,species,sex,age,sample_id,suffix,pixel_size_um
converted/*/*.ome.zarr,,,,,,brain,SPIM,
others/nobody.nwb,rat_2,2024_a,Rattus norvegicus,F,P12W,,,
others/filmed.nwb,,,Mus musculus,M,P9W,,,
others/by_ome_zarr_py.ome.zarr,rat_2,img,Rattus norvegicus,F,P12W,left half,SPIM,0.65 0.65 2
others/by_tensorstore*.ome.zarr,rat_2,img,Rattus norvegicus,F,P12W,right half,CONF,
others/alone.mp4,rat_2,2024_a,Rattus norvegicus,F,P12W,,,
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of the demo's kinds, converted, and files that other tools wrote."""
    folder = tmp_path_factory.mktemp("mixed")
    convert_a_mouse(folder)
    others = folder / "others"
    write(add_ecephys(session("rat_3", "s-1")), others / "whole.nwb")
    write(add_icephys(session("rat_3", "s-2")), others / "zarr.nwb.zarr")
    write(add_units(session(None, None)), others / "nobody.nwb")
    filmed = session("mouse_4", "s-1", species=None, sex=None, age=None)
    filmed.create_processing_module(name="behavior", description="B.").add(movie("camera", ["CAM.MP4"]))
    write(filmed, others / "filmed.nwb")
    write_video(others / "CAM.mp4", seed=3, seconds=0.2).rename(others / "CAM.MP4")
    write_video(others / "alone.mp4", seed=4, seconds=0.2)
    for kind in ("ome-zarr-py", "tensorstore 0.5 sharded"):
        write_store(kind, others / f"by_{kind.replace('-', '_').replace(' ', '_')}.ome.zarr")
    (folder / "table.csv").write_text(TABLE, encoding="utf-8")
    return folder


def convert_a_mouse(folder: Path) -> None:
    raw = folder / "raw"
    raw.mkdir()
    start = datetime(2026, 3, 1, 14, 30)
    write_spikeglx_run(raw, seed=1, probes=1, seconds=0.5, run_name="m", start=start, channels=4)
    write_light_sheet(raw / "brain.ome.tif", seed=1, shape=(4, 64, 64))
    write_trials(raw / "trials.csv", seed=1, seconds=0.5)
    write_video(raw / "camera.mp4", seed=1, seconds=0.2)
    report = dandify.convert(
        raw, out=folder / "converted", subject_id="mouse-01", species="Mus musculus", sex="F", age="P90D",
        session_id="2026_03_01", metadata=["timezone=Europe/Berlin", "electrode_location=VISp"],
    )  # fmt: skip
    assert not report.failed


@pytest.mark.parametrize("layout", ["bids", pytest.param("dandi", marks=pytest.mark.slow)])
def test_a_mixed_set_goes_all_the_way(layout: Layout, made: Path, tmp_path: Path) -> None:
    before = sizes(made)
    went = goes_all_the_way([made / "converted", made / "others"], made / "table.csv", layout, tmp_path)
    assert sizes(made) == before, "what was given stays as it is"
    kinds = sorted(f.kind for f in went.organized.files)
    assert kinds == sorted(["nwb"] * 4 + ["nwb-zarr"] + ["ome-zarr"] * 3 + ["media"] * 2 + ["video"])
    filled = {f.source.name: f.filled for f in went.organized.files if f.filled}
    assert filled == {
        "nobody.nwb": ("age", "session_id", "sex", "species", "subject_id"), "filmed.nwb": ("age", "sex", "species"),
    }  # fmt: skip


# Every real file


@pytest.fixture(scope="module")
def all_converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's recordings, every real file that dandify converts, and OME-Zarr of other writers, with a table."""
    folder = tmp_path_factory.mktemp("whole")
    report = dandify.convert(config=write_config(folder / "dandify.yaml"), out=folder / "real")
    assert not report.failed, [str(s.error) for s in report.sessions if s.error]
    assert all(written.verified for s in report.sessions for written in s.written)
    assert_none_is_forgotten(report)
    demo = write_recordings(folder / "demo", seconds=1.0, channels=8)
    assert not dandify.convert(config=demo, out=folder / "demo" / "converted").failed
    kinds = ("ome-zarr-py", "tensorstore 0.4", "tensorstore 0.5", "tensorstore 0.5 sharded")
    rows = []
    for kind in kinds:
        path = write_store(kind, folder / "zarr" / f"brain {kind}.ome.zarr")
        rows.append(
            {"path": path.as_posix(), "subject_id": "rat_9", "session_id": "zarr", "species": "Rattus norvegicus",
             "sex": "F", "age": "P90D", "sample_id": kind, "suffix": "SPIM", "pixel_size_um": "0.65 0.65 2"}
        )  # fmt: skip
    write_table(folder / "table.csv", [folder / "real", folder / "demo" / "converted"], rows)
    return folder, folder / "table.csv"


def assert_none_is_forgotten(report: Any) -> None:
    """All that a scan of the whole folder finds was converted; its own catalogue is no recording."""
    done = {s.path for session in report.sessions for s in session.plan.recordings}
    done |= {i.source.path for session in report.sessions for i in (*session.plan.images, *session.plan.plates)}
    found = {s.path for s in dandify.scan(ROOT).sources} - {ROOT / "CATALOG.tsv"}
    assert not found - done


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("layout", ["dandi", "bids"])
def test_every_real_file_goes_all_the_way(layout: Layout, all_converted: tuple[Path, Path], tmp_path: Path) -> None:
    folder, table = all_converted
    inputs = [folder / "real", folder / "demo" / "converted", folder / "zarr", *map(shared, FOREIGN)]
    went = goes_all_the_way(inputs, table, layout, tmp_path, ignore=tuple(LEFT_OUT))
    organized = {f.source for f in went.organized.files}
    assert not [path for path in nwb_and_zarr(inputs) if path not in organized]
    assert went.assets >= len(organized)


def nwb_and_zarr(inputs: Iterable[Path]) -> Iterator[Path]:
    """Yield what must not be lost on the way: every NWB file and OME-Zarr that is not left out by its name."""
    for folder in inputs:
        for path in (p for suffix in ("nwb", "zarr") for p in folder.rglob(f"*.{suffix}")):
            if not any(fnmatchcase(path.name, pattern) for pattern in LEFT_OUT):
                yield path


REFUSED: dict[str, tuple[str, str, str]] = {
    "a fill value in quotes": (
        "microscopy/viv_ometiff_zarr/bioformats-zarr/data.zarr", 'received: "0"', "mend the document"
    ),
    "float64": (
        "microscopy/viv_ometiff_zarr/ome-zarr/blobs_image_v04.ome.zarr", "pixels of type float64", "float32"
    ),
    "PrairieView": (
        "ophys/tiff_misc_scitif/TSeries-04142017-1215-1341_Cycle00001_Ch1_000082.ome.tif",
        r"is of a PrairieView scan, whose \S+\.xml is missing", "dandify formats"
    ),
    "no TiffData": (
        "nwb/bids_examples/micr_SPIM/sub-01/micr/sub-01_sample-A_stain-LFB_chunk-01_SPIM.ome.tif", "without TiffData",
        "<TiffData/>"
    ),
    "another version": (
        "microscopy/omezarr_examples/v06/stitched_tiles_2d.zarr", r"is OME-Zarr 0\.6\.dev4", "dandify formats"
    ),
    "settings only": (
        "ephys/openephys_settings/OE_Neuropix-PXI", "settings of a recording, but no recording", "copy the experiment"
    ),
    "no .bin": ("ephys/spikeglx_meta_sw", "companion .* is missing", r"copy the \.bin"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_real_files_that_are_refused_say_why(name: str, tmp_path: Path) -> None:
    path, cause, remedy = REFUSED[name]
    sizes_um = [f"pixel_size_um.{axis}=1" for axis in "zyx"]
    with pytest.raises(DandifyError, match=cause) as error:
        dandify.convert(
            shared(path), out=tmp_path / "out", subject_id="m1", species="Mus musculus", sex="U", age="P60D",
            session_id="1", session_start="2024-01-15T10:00:00+00:00", metadata=sizes_um,
        )  # fmt: skip
    assert re.search(remedy, error.value.remedy or "")
    assert Path(error.value.file or "").exists()
    assert not (tmp_path / "out").exists()


def test_whatever_cannot_be_opened_has_a_remedy() -> None:
    broken = dandify.scan(shared("nwb").parent).broken
    assert broken
    for item in broken:
        assert item.error.remedy, item
        assert item.error.file, item


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}
