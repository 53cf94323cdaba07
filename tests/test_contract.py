"""Every shipped converter keeps the contract, on a sample of its own and beside those of all others."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract_samples import SAMPLES
from dandify.sources.registry import available, by_name
from dandify.testing import check_converter
from shared_data import shared


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    paths = {}
    for name, sample in SAMPLES.items():
        paths[name] = sample.make(tmp_path_factory.mktemp(name))
    return paths


@pytest.mark.parametrize("name", SAMPLES)
def test_the_contract_is_kept(made: dict[str, Path], name: str) -> None:
    sample = SAMPLES[name]
    others = [path for other, path in made.items() if SAMPLES[other].converter != sample.converter]
    checks = check_converter(by_name(sample.converter), made[name], others=others, options=sample.options)
    assert not [f"{c.name}: {c.message}" for c in checks if not c.ok]
    assert len(checks) == 16, "every check ran"


REAL = {
    "video-mp4": ("video", "behavior/video_mp4/test_video_in_dir/clip.mp4"),
    "video-avi": ("video", "ophys/miniscope_avi/stream_daq_test_output_200px.avi"),
    "intan": ("intan", "ephys/intan_rhd/sampledata.rhd"),
    "open_ephys": ("open_ephys", "ephys/openephys_binary"),
    "abf": ("abf", "icephys/abf/130618-1-12.abf"),
    "oib": ("oif", "microscopy/oib/test.oib"),
    "bruker": ("bruker", "ophys/bruker_zseries/ZSeries-09092022-1241-1659"),
    "hdf5_images": ("hdf5_images", "ophys/sima/example-volume.h5"),
    "ome_zarr": ("ome_zarr", "microscopy/viv_ometiff_zarr/ome-zarr/blobs_image_v05.ome.zarr"),
    "czi": ("czi", "microscopy/czi/S3_1Pos_2Mosaic_T2Z3_CH2_sm.czi"),
    "czi-zstd": ("czi", "microscopy/czi/CellDivision_T3_Z5_CH2_X240_Y170_comp2.czi"),
    "lif": ("lif", "microscopy/lif/LeicaLASX_wavelength-sweep_example.lif"),
    "nd2": ("nd2", "microscopy/nd2/cluster.nd2"),
    "ndtiff": ("ndtiff", "microscopy/ndtiff/v3/12_bit_pycromanager_mda"),
    "ndtiff-stitched": ("ndtiff", "microscopy/ndtiff/v2/ndtiffv2.0_stitched_test"),
}


@pytest.mark.parametrize(("converter", "name"), REAL.values(), ids=REAL)
def test_the_contract_is_kept_on_real_recordings(made: dict[str, Path], converter: str, name: str) -> None:
    others = [path for other, path in made.items() if SAMPLES[other].converter != converter]
    checks = check_converter(by_name(converter), shared(name), others=others)
    assert not [f"{c.name}: {c.message}" for c in checks if not c.ok]


@pytest.mark.parametrize("converter", [c.name for c in available()])
def test_every_shipped_converter_has_a_sample(converter: str) -> None:
    assert converter in {s.converter for s in SAMPLES.values()}
