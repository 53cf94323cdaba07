"""One way of writing one set, in this process: ``python -m benchmarks.writing SET WAY RAW OUT MEMORY``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py

from benchmarks.harness import measured

WARM_MEGABYTES = 2.0


def new_file(one: Any, raw: Path) -> Any:
    """Build the NWBFile of a raw file as a user of neuroconv would."""
    from pynwb import NWBFile, TimeSeries
    from pynwb.image import ImageSeries

    nwb = NWBFile(
        session_description="benchmark", identifier="benchmark", session_start_time=datetime(2024, 5, 1, tzinfo=UTC)
    )
    if one.kind == "recording":
        from neuroconv.tools.spikeinterface import add_recording_to_nwbfile
        from spikeinterface.core import BinaryRecordingExtractor

        recording = BinaryRecordingExtractor(
            [str(raw)], sampling_frequency=one.rate_hz, dtype=one.dtype, num_channels=one.row[0],
            gain_to_uV=one.microvolts, offset_to_uV=-32768 * one.microvolts if one.dtype == "<u2" else 0.0,
        )  # fmt: skip
        add_recording_to_nwbfile(recording, nwb)
        return nwb
    data = one.map(raw)
    if one.kind == "movie":
        series = ImageSeries(name="movie", data=data, rate=one.rate_hz, unit="n.a.", format="raw")
    else:
        series = TimeSeries(name="series", data=data, rate=one.rate_hz, unit="n.a.")
    nwb.add_acquisition(series)
    return nwb


def _backend(out: Path) -> str:
    return "zarr" if out.suffix == ".zarr" else "hdf5"


def by_neuroconv(nwb: Any, out: Path, memory: str) -> None:
    """Write as neuroconv does when nothing is configured. It does not wait for the disk."""
    from neuroconv.tools.nwb_helpers import configure_and_write_nwbfile

    configure_and_write_nwbfile(nwb, out, backend=_backend(out))


def verified(nwb: Any, out: Path, memory: str) -> None:
    """Write, wait for the disk (fsync), read back and compare."""
    from dandify import write_nwb

    write_nwb(nwb, out, backend=_backend(out), memory=memory)


def unverified(nwb: Any, out: Path, memory: str) -> None:
    """Write, and wait for the disk (fsync)."""
    from dandify import write_nwb

    write_nwb(nwb, out, backend=_backend(out), memory=memory, verify=False)


Write = Callable[[Any, Path, str], None]
WAYS: dict[str, tuple[Write, str]] = {
    "neuroconv, HDF5": (by_neuroconv, "a.nwb"),
    "dandify, HDF5, not verified": (unverified, "b.nwb"),
    "dandify, HDF5": (verified, "c.nwb"),
    "neuroconv, Zarr": (by_neuroconv, "a.nwb.zarr"),
    "dandify, Zarr, not verified": (unverified, "b.nwb.zarr"),
    "dandify, Zarr": (verified, "c.nwb.zarr"),
}


def copied(raw: Path, out: Path, *, wait: bool) -> None:
    """Copy the raw file as ``cp`` does; wait for the disk or not."""
    shutil.copyfile(raw, out)
    if wait:
        with out.open("rb+") as file:
            os.fsync(file.fileno())


@contextmanager
def data_of(out: Path) -> Iterator[tuple[Any, int]]:
    """The largest array of an output, open, and the bytes that it takes there."""
    found: list[Any] = []
    if out.is_dir():
        import zarr

        root = zarr.open(str(out), "r")
        root.visititems(lambda _, node: found.append(node) if node.name.endswith("/data") else None)
        data = max(found, key=lambda node: int(node.size))
        folder = out / data.name.strip("/")
        yield data, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return
    with h5py.File(out) as file:
        file.visititems(
            lambda _, node: found.append(node) if isinstance(node, h5py.Dataset) and node.dtype.kind in "iuf" else None
        )
        data = max(found, key=lambda node: int(node.size))
        yield data, int(data.id.get_storage_size())


def remove(out: Path) -> None:
    """Delete an output and its manifest."""
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    out.with_name(f"{out.name}.manifest.json").unlink(missing_ok=True)


def run_one(name: str, way: str, raw: Path, out: Path, memory: str) -> dict[str, float]:
    """Measure one way of writing. What is loaded, compiled and cached by a first file does not count."""
    from recording_sets import SETS

    one, (write, _) = SETS[name], WAYS[way]
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        small = Path(folder) / "raw.dat"
        one.write(small, WARM_MEGABYTES)
        write(new_file(one, small), Path(folder) / out.name, memory)
    nwb = new_file(one, raw)
    return measured(lambda: write(nwb, out, memory))


if __name__ == "__main__":
    print(json.dumps(run_one(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5])))
