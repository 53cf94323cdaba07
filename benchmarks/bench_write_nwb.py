"""write_nwb beside neuroconv's default writer: the same recording, the same NWBFile, contents compared."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile

CHANNELS = 384
RATE_HZ = 30_000.0


@dataclass
class Run:
    """What one way of writing took."""

    seconds: list[float]
    cpu_seconds: list[float]
    bytes: int = 0


def ap_band(megabytes: int) -> NDArray[np.int16]:
    """(samples, 384) int16 like the AP band of a Neuropixels 1.0 probe.

    Ten-bit noise of 3 steps, shared in part by all channels, and a DC level for each channel, as real ones have.
    """
    rng = np.random.default_rng(20)
    samples = megabytes * 10**6 // (2 * CHANNELS)
    level = rng.integers(-60, 60, CHANNELS)
    out = np.empty((samples, CHANNELS), np.int16)
    for start in range(0, samples, 30_000):
        part = out[start : start + 30_000]
        shared = rng.standard_normal((len(part), 1), np.float32) * 1.5
        part[...] = np.round(rng.standard_normal(part.shape, np.float32) * 3 + shared + level)
    return out


def two_photon(megabytes: int) -> NDArray[np.uint16]:
    """(frames, 512, 512) uint16: photon noise on a still picture."""
    rng = np.random.default_rng(21)
    frames = max(1, megabytes * 10**6 // (2 * 512 * 512))
    picture = rng.gamma(2.0, 40.0, (512, 512)).astype(np.float32)
    out = np.empty((frames, 512, 512), np.uint16)
    for frame in out:
        frame[...] = np.maximum(picture + np.sqrt(picture) * rng.standard_normal((512, 512), np.float32), 0)
    return out


def new_file() -> NWBFile:
    return NWBFile(
        session_description="benchmark", identifier="benchmark", session_start_time=datetime(2024, 5, 1, tzinfo=UTC)
    )


def recording_file(raw: Path) -> NWBFile:
    """Build as a user of neuroconv would."""
    from neuroconv.tools.spikeinterface import add_recording_to_nwbfile
    from spikeinterface.core import BinaryRecordingExtractor

    recording = BinaryRecordingExtractor(
        [str(raw)], sampling_frequency=RATE_HZ, dtype="int16", num_channels=CHANNELS, gain_to_uV=2.34, offset_to_uV=0.0
    )
    nwb = new_file()
    add_recording_to_nwbfile(recording, nwb)
    return nwb


def movie_file(raw: Path) -> NWBFile:
    """A movie behind the iterator that neuroconv gives to anything sliceable."""
    from neuroconv.tools.hdmf import SliceableDataChunkIterator
    from pynwb.image import ImageSeries

    movie = np.memmap(raw, np.uint16, "r").reshape(-1, 512, 512)
    nwb = new_file()
    nwb.add_acquisition(
        ImageSeries(name="movie", data=SliceableDataChunkIterator(movie), rate=30.0, unit="n.a.", format="raw")
    )
    return nwb


def by_neuroconv(nwb: NWBFile, out: Path) -> None:
    from neuroconv.tools.nwb_helpers import configure_and_write_nwbfile

    configure_and_write_nwbfile(nwb, out, backend="zarr" if out.suffix == ".zarr" else "hdf5")


def by_dandify(nwb: NWBFile, out: Path, *, verify: bool = True) -> None:
    from dandify.nwb.write import write_nwb

    write_nwb(nwb, out, backend="zarr" if out.suffix == ".zarr" else "hdf5", verify=verify)


def unverified(nwb: NWBFile, out: Path) -> None:
    by_dandify(nwb, out, verify=False)


WRITERS: dict[str, tuple[Callable[[NWBFile, Path], None], str]] = {
    "neuroconv, HDF5": (by_neuroconv, "a.nwb"),
    "dandify, HDF5, not verified": (unverified, "b.nwb"),
    "dandify, HDF5": (by_dandify, "c.nwb"),
    "neuroconv, Zarr": (by_neuroconv, "a.nwb.zarr"),
    "dandify, Zarr, not verified": (unverified, "b.nwb.zarr"),
    "dandify, Zarr": (by_dandify, "c.nwb.zarr"),
}
SETS: dict[str, tuple[Callable[[int], NDArray[Any]], Callable[[Path], NWBFile]]] = {
    "AP band, int16 x 384": (ap_band, recording_file),
    "two-photon movie, uint16": (two_photon, movie_file),
}


def run(megabytes: int, repeats: int) -> None:
    """Measure and print."""
    for title, (make, build) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            measure(title, make(megabytes), build, Path(folder), repeats)


def measure(title: str, values: NDArray[Any], build: Callable[[Path], NWBFile], folder: Path, repeats: int) -> None:
    raw = folder / "raw.dat"
    values.tofile(raw)
    by_dandify(build(raw), folder / "warm.nwb")  # imports, compiled kernels, the raw file in the page cache
    runs = {name: Run([], []) for name in WRITERS}
    for turn in range(repeats):
        for name in list(WRITERS)[:: 1 if turn % 2 == 0 else -1]:  # in turns, so that a busy machine hits all alike
            write, file_name = WRITERS[name]
            out = folder / file_name
            nwb = build(raw)
            begun, cpu = time.perf_counter(), os.times()
            write(nwb, out)
            now = os.times()
            runs[name].seconds.append(time.perf_counter() - begun)
            runs[name].cpu_seconds.append(now.user + now.system - cpu.user - cpu.system)
            runs[name].bytes = same_content(out, values)
            (shutil.rmtree if out.is_dir() else os.unlink)(out)
            (folder / f"{file_name}.manifest.json").unlink(missing_ok=True)
    show(title, values.nbytes, runs)


def same_content(out: Path, values: NDArray[Any]) -> int:
    """Compare with the raw samples; gives the size of the data as stored."""
    if out.is_dir():
        import zarr

        found: list[Any] = []
        zarr.open(str(out), "r").visititems(lambda _, node: found.append(node) if node.name.endswith("/data") else None)
        data = max(found, key=lambda node: node.size)
        size = sum(f.stat().st_size for f in (out / data.name.strip("/")).iterdir())
        assert np.array_equal(data[:], values)
        return size
    with h5py.File(out) as file:
        datasets: list[h5py.Dataset] = []
        file.visititems(
            lambda _, node: datasets.append(node) if isinstance(node, h5py.Dataset) and node.ndim > 1 else None
        )
        data = max(datasets, key=lambda node: node.size)
        assert np.array_equal(data[()], values)
        return int(data.id.get_storage_size())


def show(title: str, raw_bytes: int, runs: dict[str, Run]) -> None:
    print(f"{title}, {raw_bytes / 1e6:.0f} MB raw; ratios to neuroconv's default with the same backend")
    print(f"{'':30}{'s':>8}{'MB/s':>8}{'CPU s':>8}{'raw/stored':>12}{'speed':>8}{'CPU':>7}{'size':>7}")
    for name, result in runs.items():
        base = runs["neuroconv, Zarr" if "Zarr" in name else "neuroconv, HDF5"]
        seconds, cpu = median(result.seconds), median(result.cpu_seconds)
        print(
            f"{name:30}{seconds:8.2f}{raw_bytes / 1e6 / seconds:8.0f}{cpu:8.2f}{raw_bytes / result.bytes:12.2f}"
            f"{median(base.seconds) / seconds:7.1f}x{cpu / median(base.cpu_seconds):7.2f}"
            f"{result.bytes / base.bytes:7.2f}"
        )
    print()
