"""The real files beside the repository as a set: what a lab would say of them; those that are refused, and why."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from shared_data import shared

START = '"2024-01-15T10:00:00+00:00"'
CONFIG = f"""\
metadata:
  lab: Lab of many rigs
  institution: University of Examples
  experimenter: ["Doe, Jane"]
  experiment_description: One recording of each kind.
  keywords: [mixed]
  timezone: Europe/London
  electrode_location: CA1
  pixel_size_um: {{z: 2.0, y: 0.5, x: 0.5}}
subjects:
  mouse_video: {{species: Mus musculus, sex: M, age: P60D}}
  fly-1: {{species: Drosophila melanogaster, sex: F, age: P5D}}
  rat.intan: {{species: Rattus norvegicus, sex: M, age: P12W}}
  mouse_np: {{species: Mus musculus, sex: F, age: P90D}}
  mouse abf: {{species: Mus musculus, sex: U, age: P20D}}
  mouse_czi: {{species: Mus musculus, sex: M, age: P8W}}
  hela: {{species: Homo sapiens, sex: F, age: P31Y}}
  fly-cells: {{species: Drosophila melanogaster, sex: U, age: P1D}}
  lif01: {{species: Mus musculus, sex: M, age: P8W}}
  yeast: {{species: Saccharomyces cerevisiae, sex: U, age: P1D}}
  oib_1: {{species: Rattus norvegicus, sex: F, age: P8W}}
  serial2p: {{species: Mus musculus, sex: F, age: P100D}}
  viv: {{species: Mus musculus, sex: F, age: P100D}}
  bruker: {{species: Mus musculus, sex: F, age: P100D}}
  miniscope: {{species: Mus musculus, sex: M, age: P70D}}
  sima: {{species: Mus musculus, sex: M, age: P70D}}
  scitif: {{species: Mus musculus, sex: M, age: P70D}}
  photometry: {{species: Mus musculus, sex: M, age: P70D}}
  ndtiff: {{species: Mus musculus, sex: F, age: P100D}}
  EPM_11: {{species: Mus musculus, sex: M, age: P70D}}
sessions:
  - subject_id: mouse_video
    session_id: lightning
    metadata: {{session_start_time: {START}}}
    sources: [DATA/behavior/lightningpose/videos/test_vid.mp4]
  - subject_id: fly-1
    session_id: sleap_1
    metadata: {{session_start_time: {START}}}
    sources: [DATA/behavior/sleap/videos, DATA/behavior/sleap/tracks/clip.mp4]
  - subject_id: mouse_video
    session_id: dir
    metadata: {{session_start_time: {START}}}
    sources: [DATA/behavior/video_mp4/test_video_in_dir]
  - subject_id: rat.intan
    session_id: "2014_1"
    metadata: {{session_start_time: {START}}}
    sources: [DATA/ephys/intan_rhd/sampledata.rhd]
  - {{subject_id: mouse_np, session_id: "001", sources: [DATA/ephys/openephys_binary/sub-001/ses-001]}}
  - subject_id: mouse_czi
    session_id: czi
    sources:
      - DATA/microscopy/czi/100x100.czi
      - DATA/microscopy/czi/Al2O3_SE_020_sp.czi
      - DATA/microscopy/czi/CellDivision_T3_Z5_CH2_X240_Y170_comp2.czi
      - DATA/microscopy/czi/FOV7_HV110_P0500510000.czi
      - DATA/microscopy/czi/FOV7_HV110_P0500510000.ome.tiff
      - DATA/microscopy/czi/LSM880_AiryScan.czi
      - DATA/microscopy/czi/S3_1Pos_2Mosaic_T2Z3_CH2_sm.czi
      - DATA/microscopy/czi/WellD6-7_S2.czi
  - subject_id: mouse_czi
    session_id: planetable
    metadata: {{session_start_time: {START}}}
    sources:
      - path: DATA/microscopy/czi/CellDivision_T10_Z15_CH2_DCV_small_planetable.csv
        options:
          kind: EventsTable
          name: planes10
          timestamp: "Time[s]"
          columns:
            "Z[micron]": {{name: z, description: Height of the stage., unit: um}}
            C: {{name: channel, description: Channel., type: integer}}
      - path: DATA/microscopy/czi/CellDivision_T3_Z6_CH1_X300_Y200_DCV_ZSTD_planetable.csv
        options: {{kind: EventsTable, name: planes3, timestamp: "Time[s]"}}
  - {{subject_id: hela, session_id: imagexpress, sources: [DATA/microscopy/imagexpress]}}
  - {{subject_id: fly-cells, session_id: cellprofiler, sources: [DATA/microscopy/immuno_cellprofiler]}}
  - {{subject_id: lif01, session_id: lif, sources: [DATA/microscopy/lif]}}
  - {{subject_id: yeast, session_id: nd2, sources: [DATA/microscopy/nd2]}}
  - {{subject_id: ndtiff, session_id: ndtiff, sources: [DATA/microscopy/ndtiff]}}
  - {{subject_id: oib_1, session_id: oib, sources: [DATA/microscopy/oib]}}
  - subject_id: serial2p
    session_id: brain
    sources: [DATA/microscopy/serial2p_planes/integration/detection/crop_planes/ch0]
  - subject_id: viv
    session_id: tiff
    sources: [DATA/microscopy/viv_ometiff_zarr/multi-channel.ome.tif, DATA/microscopy/viv_ometiff_zarr/multi-tiff]
  - {{subject_id: bruker, session_id: zseries, sources: [DATA/ophys/bruker_zseries]}}
  - subject_id: miniscope
    session_id: "1"
    metadata: {{session_start_time: {START}}}
    sources: [DATA/ophys/miniscope_avi/stream_daq_test_output_200px.avi]
  - subject_id: sima
    session_id: "1"
    sources:
      - DATA/ophys/sima/example-tiffs
      - DATA/ophys/sima/example-volume.h5
      - {{path: DATA/ophys/sima/example.tif, metadata: {{axes: tyx}}}}
  - subject_id: sima
    session_id: "2"
    sources:
      - {{path: DATA/ophys/sima/example.h5, format: hdf5_images, options: {{dataset: /imaging, axes: yxt}}}}
  - subject_id: scitif
    session_id: "1"
    sources:
      - DATA/ophys/tiff_misc_scitif/1536355916.608.tif
      - DATA/ophys/tiff_misc_scitif/fluo-3ch-8bit-composite.tif
      - DATA/ophys/tiff_misc_scitif/LineScan-06092017-1414-623-Cycle00002-Window2-Ch1-8bit-Reference.tif
      - DATA/ophys/tiff_misc_scitif/ZSeries-06082017-1213-682_Cycle00001_Ch1_MIP.tif
  - subject_id: photometry
    session_id: "1"
    metadata: {{session_start_time: {START}}}
    sources:
      - path: DATA/photometry/neurophotometrics_csv/example.csv
        options:
          kind: TimeSeries
          time: Time_470nm
          time_unit: s
          columns:
            MeanInt_470nm: {{name: signal_470nm, unit: a.u., description: Mean intensity at 470 nm.}}
            MeanInt_410nm: {{name: isosbestic_410nm, unit: a.u., description: Mean intensity at 410 nm.}}
  - subject_id: EPM_11
    session_id: epm
    metadata: {{session_start_time: {START}}}
    sources:
      - path: DATA/behavior/dlc_csv/EPM/Labels/AllEPMLables.csv
        options: {{kind: TimeIntervals, name: labels, start: from, stop: to, time_unit: s}}
"""

FOREIGN = (
    "nwb/pynwb_back_compat", "icephys/nwb_icephys", "behavior/dlc", "microscopy/viv_ometiff_zarr/ome-zarr",
    "microscopy/viv_ometiff_zarr/bioformats-zarr", "nwb/bids_examples/micr_SEMzarr", "nwb/bids_examples/micr_XPCTzarr",
)  # fmt: skip
"""NWB and OME-Zarr that others made, and organize takes as they are."""

LEFT_OUT = {
    "*imageseries_no_data.nwb": "refers to external_file, which is no file",
    "*imageseries_non*.nwb": "refers to external_file, which is no file",
    "1.0.2_*.nwb": "is of a draft of NWB, 2.0b",
    "1.5.1_*.nwb": "lacks what its schema requires: data, or a unit",
    "*_SEM.png": "is a stand-in of one byte",
    "*XPCT.ome.zarr": "has a chunk of no bytes",
    "participants.*": "is of two datasets", "samples.*": "is of two datasets", "*_sessions.*": "is of two datasets",
    "README*": "is of two datasets",
}  # fmt: skip
"""Foreign files that are damaged, or describe datasets that are taken apart here."""

_COLUMNS = (
    "path", "subject_id", "session_id", "species", "sex", "age", "weight", "sample_id", "suffix", "pixel_size_um",
)  # fmt: skip
_BIDS = "nwb/bids_examples/micr_"
_VIV = "microscopy/viv_ometiff_zarr"
_HIPPOCAMPUS = "icephys/nwb_icephys/hippocampus-portal/99111002.nwb"
# What the files do not say. That of the hippocampus portal states NA as its subject, age and weight, and `male`.
ROWS: Sequence[Mapping[str, str]] = (
    *({"path": f"nwb/pynwb_back_compat/{n}*", "subject_id": f"compat-{n[:3]}", "species": "Mus musculus", "sex": "U",
       "age": "P60D"} for n in ("1.", "2.1")),
    {"path": "nwb/pynwb_back_compat/2.2*", "species": "Rattus norvegicus", "sex": "U"},
    {"path": _HIPPOCAMPUS, "subject_id": "rat-99", "sex": "M", "age": "P14D/P30D", "weight": "n/a"},
    {"path": "behavior/dlc/*.nwb", "subject_id": "dlc", "species": "Mus musculus", "sex": "F", "age": "P100D"},
    {"path": f"{_VIV}/ome-zarr/*v04*", "subject_id": "viv", "session_id": "blobs", "sample_id": "b4", "suffix": "FLUO",
     "pixel_size_um": "1 1"},
    {"path": f"{_VIV}/ome-zarr/*v05*", "subject_id": "viv", "session_id": "blobs", "sample_id": "b5", "suffix": "FLUO",
     "pixel_size_um": "1 1"},
    {"path": f"{_VIV}/bioformats-zarr/*", "subject_id": "viv", "session_id": "bf", "sample_id": "bf", "suffix": "FLUO",
     "pixel_size_um": "0.5 0.5"},
    {"path": f"{_BIDS}XPCTzarr/*", "subject_id": "xpct", "session_id": "1", "species": "Homo sapiens"},
    {"path": f"{_BIDS}SEMzarr/*SPIM*", "subject_id": "semzarr", "session_id": "1", "species": "Homo sapiens"},
)  # fmt: skip

_MADE_BY = {
    "bruker": "2PE", "sima": "2PE", "scitif": "2PE", "cellprofiler": "FLUO", "imagexpress": "FLUO", "nd2": "FLUO",
    "ndtiff": "FLUO",    "tiff": "FLUO", "czi": "CONF", "lif": "CONF", "oib": "CONF", "brain": "SPIM", "2026": "SPIM",
}  # fmt: skip


def write_config(path: Path) -> Path:
    """Write the ``dandify.yaml`` of all that can be converted; each ABF file is a session."""
    root = shared("icephys/abf").parents[1]
    cells = []
    for file in sorted((root / "icephys/abf").glob("*.abf")):
        start = f"    metadata: {{session_start_time: {START}}}\n" if "invalidDate" in file.name else ""
        cells.append(
            f'  - subject_id: mouse abf\n    session_id: "{file.stem}"\n{start}    sources: ["{file.as_posix()}"]\n'
        )
    path.write_text(CONFIG.replace("DATA/", f"{root.as_posix()}/") + "".join(cells), encoding="utf-8")
    return path


def write_table(path: Path, converted: Sequence[Path], others: Sequence[Mapping[str, str]]) -> Path:
    """Write what is said of the foreign files, of each back_compat file its own session, and of every image.

    Parameters
    ----------
    path
        Of the table.
    converted
        Folders of `convert`.
    others
        Further rows.
    """
    rows = [{**row, "path": (shared(FOREIGN[0]).parents[1] / row["path"]).as_posix()} for row in ROWS]
    rows += [
        {"path": file.as_posix(), "session_id": file.stem} for file in sorted(shared(FOREIGN[0]).glob("*.nwb"))
    ]  # fmt: skip
    rows += list(_images(converted))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _COLUMNS)
        writer.writeheader()
        writer.writerows([*rows, *others])
    return path


def _images(converted: Sequence[Path]) -> Iterator[dict[str, str]]:
    for folder in converted:
        for image in sorted(folder.glob("*/*.ome.zarr")):
            sample = image.name.split(".")[0].split("_", 2)[2]
            suffix = next(suffix for key, suffix in _MADE_BY.items() if key in image.parent.name)
            yield {"path": image.as_posix(), "sample_id": sample, "suffix": suffix}
