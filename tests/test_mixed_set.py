"""A mixed set - made by dandify and by others, NWB, OME-Zarr, videos - goes the whole way, in both layouts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

import dandify
from dandify.examples.behaviour import write_trials, write_video
from dandify.examples.light_sheet import write_light_sheet
from dandify.examples.spikeglx import write_spikeglx_run
from dandiset_cases import add_ecephys, add_icephys, add_units, movie, session, write
from mixed_way import Layout, goes_all_the_way
from ome_zarr_stores import write_store

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


@pytest.mark.parametrize("layout", ["dandi", "bids"])
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


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}
