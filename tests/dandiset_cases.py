"""Small NWB files of each kind, written with pynwb, and OME-Zarr and video stand-ins, for the tests of the dandiset."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pynwb import NWBHDF5IO, NWBFile
from pynwb.behavior import Position, SpatialSeries
from pynwb.ecephys import ElectricalSeries
from pynwb.file import Subject
from pynwb.icephys import CurrentClampSeries
from pynwb.image import ImageSeries
from pynwb.ophys import OpticalChannel, TwoPhotonSeries

START = datetime(2024, 5, 1, 9, 30, 5, tzinfo=UTC)
MOUSE = {"species": "Mus musculus", "sex": "F", "age": "P60D"}


def session(subject_id: str | None = "mouse_01", session_id: str | None = "s-1", **subject: Any) -> NWBFile:
    """Return an NWBFile that DANDI takes."""
    who = Subject(subject_id=subject_id, description="A mouse.", **(MOUSE | subject)) if subject_id else None
    return NWBFile(
        session_description="A session made for a test.", identifier=f"{subject_id}-{session_id}",
        session_id=session_id, session_start_time=START, experimenter=["Doe, Jane"], institution="Test University",
        lab="Test Lab", experiment_description="A test.", keywords=["test"], subject=who,
    )  # fmt: skip


def add_ecephys(nwb: NWBFile) -> NWBFile:
    device = nwb.create_device(name="probe", description="A probe.")
    group = nwb.create_electrode_group(name="shank0", description="The shank.", location="CA1", device=device)
    for _ in range(2):
        nwb.add_electrode(group=group, location="CA1")
    region = nwb.create_electrode_table_region(region=[0, 1], description="Both.")
    data = np.arange(200, dtype=np.int16).reshape(100, 2)
    nwb.add_acquisition(
        ElectricalSeries(
            name="ElectricalSeries", data=data, electrodes=region, rate=30_000.0, conversion=1e-6, description="Raw."
        )
    )
    return nwb


def add_icephys(nwb: NWBFile) -> NWBFile:
    device = nwb.create_device(name="amplifier", description="An amplifier.")
    electrode = nwb.create_icephys_electrode(name="e0", description="A pipette.", device=device)
    values = np.arange(100, dtype=np.float32)
    nwb.add_acquisition(CurrentClampSeries(name="cc", data=values, electrode=electrode, gain=1.0, rate=20_000.0))
    return nwb


def add_ophys(nwb: NWBFile) -> NWBFile:
    plane = nwb.create_imaging_plane(
        name="plane", description="A plane.", device=nwb.create_device(name="microscope", description="A microscope."),
        optical_channel=OpticalChannel(name="green", description="Green.", emission_lambda=510.0),
        excitation_lambda=920.0, indicator="GCaMP6f", location="V1", imaging_rate=30.0,
    )  # fmt: skip
    data = np.arange(400, dtype=np.uint16).reshape(4, 10, 10)
    nwb.add_acquisition(TwoPhotonSeries(name="movie", data=data, imaging_plane=plane, rate=30.0, unit="n.a."))
    return nwb


def add_units(nwb: NWBFile) -> NWBFile:
    for i in range(3):
        nwb.add_unit(spike_times=np.sort(np.random.default_rng(i).uniform(0, 10, 20)))
    return nwb


def add_position(nwb: NWBFile) -> NWBFile:
    place = SpatialSeries(
        name="place", data=np.zeros((50, 2)), reference_frame="Corner.", rate=10.0, unit="meters"
    )  # fmt: skip
    nwb.create_processing_module(name="behavior", description="Behaviour.").add(Position(spatial_series=place))
    return nwb


def movie(name: str, files: list[str]) -> ImageSeries:
    """Return an ImageSeries whose frames are in files."""
    return ImageSeries(
        name=name, external_file=files, format="external", rate=30.0, num_samples=10 * len(files),
        starting_frame=[10 * i for i in range(len(files))], unit="n.a.", description="Video.",
    )  # fmt: skip


def write(nwb: NWBFile, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zarr":
        from hdmf_zarr import NWBZarrIO

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hdmf-zarr warns of its own consolidation
            with NWBZarrIO(str(path), "w") as zarr:
                zarr.write(nwb)
        return path
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path


def video(path: Path, content: bytes = b"\x00\x00\x00\x18ftypmp42 stand-in") -> Path:
    """Write a file that is only ever carried about, never decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def image(path: Path, subject: dict[str, str] | None = None, session: dict[str, str] | None = None) -> Path:
    """Write an OME-Zarr 0.4 of one level, and the manifest beside it if a subject is given."""
    import zarr

    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    group = zarr.open_group(str(path), mode="w")
    values = np.arange(1, 65, dtype=np.uint16).reshape(4, 4, 4)
    group.create_dataset("0", data=values, chunks=(4, 4, 4), dimension_separator="/")
    levels = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "name": "image", "axes": axes, "datasets": levels}]
    if subject is not None:
        details = {"subject": subject, "session": session or {}}
        path.with_name(path.name + ".manifest.json").write_text(json.dumps({"schema": 1, "details": details}))
    return path
