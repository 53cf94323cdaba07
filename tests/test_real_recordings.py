"""Real recordings go the whole way, and read back equal to somebody else's reader, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import dandify
from shared_data import shared


@dataclass(frozen=True)
class Case:
    """A real recording: where it lies, what its files do not say, and what must be found in the outputs."""

    path: str
    metadata: tuple[str, ...]
    compare: Callable[[Path, Path], None]


def nwb_of(folder: Path) -> Path:
    (found,) = folder.rglob("*.nwb")
    return found


def zarr_of(folder: Path) -> Path:
    (found,) = folder.rglob("*.ome.zarr")
    return found


def datasets(path: Path) -> dict[str, tuple[NDArray[Any], dict[str, Any]]]:
    """Return every series' data and attributes by the path of the series."""
    found: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and name.endswith("/data"):
            found[name.removesuffix("/data")] = (node[()], dict(node.attrs))

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def assert_some_series_equals(path: Path, expected: NDArray[Any]) -> None:
    """One series of the file holds exactly these raw values."""
    candidates = [d for d, _ in datasets(path).values() if d.shape == expected.shape]
    assert any(np.array_equal(d, expected) and d.dtype == expected.dtype for d in candidates), (
        f"no series of shape {expected.shape} equals; there are {[d.shape for d, _ in datasets(path).values()]}"
    )


def compare_open_ephys(source: Path, folder: Path) -> None:
    import neo.rawio

    (node,) = source.rglob("Record Node 104")
    reader = neo.rawio.OpenEphysBinaryRawIO(str(node))
    reader.parse_header()
    for segment in range(reader.segment_count(0)):
        for stream in range(reader.signal_streams_count()):
            raw = reader.get_analogsignal_chunk(0, segment, stream_index=stream)
            assert_some_series_equals(nwb_of(folder), np.asarray(raw))


def compare_intan(source: Path, folder: Path) -> None:
    import neo.rawio

    reader = neo.rawio.IntanRawIO(str(source))
    reader.parse_header()
    for stream in range(reader.signal_streams_count()):
        if "digital" in str(reader.header["signal_streams"][stream]["name"]).lower():
            continue
        raw = np.asarray(reader.get_analogsignal_chunk(0, 0, stream_index=stream))
        shapes = [d for d, _ in datasets(nwb_of(folder)).values() if d.size == raw.size]
        assert any(np.array_equal(d.reshape(raw.shape), raw) for d in shapes)


def compare_abf(source: Path, folder: Path) -> None:
    import pyabf

    abf = pyabf.ABF(str(source))
    physical = [
        (d.astype("f8") * a.get("conversion", 1.0) + a.get("offset", 0.0), str(a.get("unit", "")))
        for d, a in datasets(nwb_of(folder)).values()
    ]
    prefixes = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0}
    for channel in range(abf.channelCount):
        unit = abf.adcUnits[channel]
        scale = prefixes[unit[:-1]] if unit[-1:] in "AV" and unit[:-1] in prefixes else 1.0
        expected = []
        for sweep in abf.sweepList:
            abf.setSweep(sweep, channel)
            expected.append(abf.sweepY.astype("f8") * scale)
        whole = np.concatenate(expected)
        step = max(abs(whole).max() * 2e-6, 1e-30)
        assert _found(expected, whole, physical, step), f"channel {channel} ({unit})"


def _found(
    sweeps: list[NDArray[Any]], whole: NDArray[Any], physical: list[tuple[NDArray[Any], str]], step: float
) -> bool:
    def near(a: NDArray[Any], b: NDArray[Any]) -> bool:
        return a.size == b.size and bool(np.allclose(a.ravel(), b.ravel(), rtol=0, atol=step))

    return any(near(d, whole) for d, _ in physical) or all(any(near(d, s) for d, _ in physical) for s in sweeps)


def compare_ome_tiff(source: Path, folder: Path) -> None:
    import tifffile

    assert_level_0_equals(zarr_of(folder), tifffile.imread(source))


def compare_planes(source: Path, folder: Path) -> None:
    import tifffile

    files = sorted(source.rglob("*.tif"))
    assert_level_0_equals(zarr_of(folder), np.stack([tifffile.imread(f) for f in files]))


def assert_level_0_equals(path: Path, expected: NDArray[Any]) -> None:
    import tensorstore as ts

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path / '0'}/"}}
    got = ts.open(spec).result().read().result()
    assert got.dtype == expected.dtype
    assert np.array_equal(got.reshape(expected.shape), expected)


def compare_video(source: Path, folder: Path) -> None:
    from pynwb import NWBHDF5IO

    (file,) = source.rglob("*.mp4") if source.is_dir() else (source,)
    path = nwb_of(folder)
    with NWBHDF5IO(path, "r") as io:
        (series,) = io.read().acquisition.values()
        (linked,) = series.external_file[:]
        assert (path.parent / linked).read_bytes() == file.read_bytes()


PIXELS = tuple(f"pixel_size_um.{axis}={size}" for axis, size in (("z", 20), ("y", 2), ("x", 2)))
ABF = ("17o05024_vc_steps", "16d22006_kim_gapfree", "18702001-pulseTrain", "File_axon_3", "2020_06_16_0001")
CASES = {
    "open_ephys": Case("ephys/openephys_binary/sub-001", ("timezone=Europe/London",), compare_open_ephys),
    "intan": Case(
        "ephys/intan_rhd/sampledata.rhd", ("session_start_time=2014-01-01T12:00:00+00:00",), compare_intan
    ),
    **{f"abf {name}": Case(f"icephys/abf/{name}.abf", ("timezone=Europe/London",), compare_abf) for name in ABF},
    "ome_tiff": Case("microscopy/viv_ometiff_zarr/multi-channel.ome.tif", PIXELS, compare_ome_tiff),
    "planes": Case("microscopy/serial2p_planes/integration/detection/crop_planes/ch0", PIXELS, compare_planes),
    "video": Case(
        "behavior/video_mp4", ("session_start_time=2024-01-01T12:00:00+00:00",), compare_video
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_from_rig_to_dandiset(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source = shared(case.path)
    assert dandify.scan(source).sources

    report = dandify.convert(
        source, out=tmp_path / "converted", subject_id=name.split()[0], species="Mus musculus", sex="U", age="P60D",
        session_id="real", metadata=case.metadata,
    )  # fmt: skip
    assert all(w.verified for s in report.sessions for w in s.written)
    case.compare(source, tmp_path / "converted")

    dandify.organize(tmp_path / "converted", tmp_path / "dandiset")
    checked = dandify.validate(tmp_path / "dandiset")
    assert not checked.errors, checked.to_json()
    case.compare(source, tmp_path / "dandiset")
    for path in (tmp_path / "dandiset").rglob("*.nwb"):
        assert_readable_everywhere(path)


def assert_readable_everywhere(path: Path) -> None:
    """Every dataset is stored with gzip, shuffle or nothing; pynwb and the inspector find nothing critical."""
    from nwbinspector import inspect_nwbfile, load_config
    from pynwb import validate

    def visit(_: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            filters = node.id.get_create_plist()
            ids = {filters.get_filter(i)[0] for i in range(filters.get_nfilters())}
            assert ids <= {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}, node.name

    with h5py.File(path) as file:
        file.visititems(visit)
    assert not validate(path=str(path))
    messages = list(inspect_nwbfile(nwbfile_path=str(path), config=load_config("dandi")))
    assert not [m for m in messages if m.importance.name in ("CRITICAL", "ERROR", "PYNWB_VALIDATION")], messages
