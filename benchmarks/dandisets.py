"""Recordings and images by the thousand, and the verbs of dandify on them, each in a fresh process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import measured

SESSIONS = 10  # of each subject
# What differs between the files: texts of one length, which HDF5 stores as they are, with no checksum over them.
_SUBJECT, _SESSION, _IDENTIFIER = "subject00000", "session00000", "identifier00000"
_PLANE, _CHUNK = 32, 8  # so that a file of the Zarr is small, and there are many


def write_recordings(folder: Path, number: int) -> int:
    """Write NWB files with subject, session and one small series, all copies of one that pynwb wrote; their number."""
    folder.mkdir(parents=True)
    template = _template(folder / "template.nwb")
    stated = {word.encode(): template.count(word.encode()) for word in (_SUBJECT, _SESSION, _IDENTIFIER)}
    if set(stated.values()) != {1}:
        raise AssertionError(f"places of what is to differ: {stated}")
    for i in range(number):
        content = template
        for word, value in ((_SUBJECT, i // SESSIONS), (_SESSION, i % SESSIONS), (_IDENTIFIER, i)):
            content = content.replace(word.encode(), f"{word[:-5]}{value:05}".encode())
        (folder / f"recording{i:05}.nwb").write_bytes(content)
    return number


def _template(path: Path) -> bytes:
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.ecephys import ElectricalSeries
    from pynwb.file import Subject

    nwb = NWBFile(
        session_description="A recording for a benchmark.", identifier=_IDENTIFIER, session_id=_SESSION,
        session_start_time=datetime(2024, 5, 1, 9, 30, 5, tzinfo=UTC), experimenter=["Doe, Jane"],
        institution="A university", lab="A laboratory", experiment_description="A benchmark.", keywords=["benchmark"],
        subject=Subject(subject_id=_SUBJECT, description="A mouse.", species="Mus musculus", sex="F", age="P60D"),
    )  # fmt: skip
    group = nwb.create_electrode_group(
        name="shank0", description="The shank.", location="CA1",
        device=nwb.create_device(name="probe", description="A probe."),
    )  # fmt: skip
    for _ in range(4):
        nwb.add_electrode(group=group, location="CA1")
    values = np.random.default_rng(0).normal(0, 100, (500, 4)).astype(np.int16)
    nwb.add_acquisition(
        ElectricalSeries(
            name="ElectricalSeries", data=values, rate=30_000.0, conversion=1e-6, description="Raw.",
            electrodes=nwb.create_electrode_table_region(region=list(range(4)), description="All."),
        )
    )  # fmt: skip
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    content = path.read_bytes()
    path.unlink()
    return content


def write_image(path: Path, files: int) -> int:
    """Write an OME-Zarr 0.4 of about so many files, most of them small chunks; their number."""
    import dandify

    planes = 2 * max(1, round(files / (_PLANE // _CHUNK) ** 2))
    values = np.random.default_rng(1).integers(0, 4000, (planes, _PLANE, _PLANE)).astype(np.uint16)
    dandify.write_ome_zarr(
        values, path, axes="zyx", scale={"z": 2.0, "y": 0.5, "x": 0.5}, version="0.4", levels=1,
        chunks=(2, _CHUNK, _CHUNK), details={
            "subject": {"subject_id": f"{_SUBJECT[:-5]}00000", "species": "Mus musculus", "sex": "F", "age": "P60D"},
            "session": {"session_id": "imaging", "session_start_time": "2024-05-02T10:00:00+00:00"},
        },
    )  # fmt: skip
    return sum(file.is_file() for file in path.rglob("*"))


def organize(made: Path, dandiset: Path) -> Any:
    """Lay out what was written; the number of assets."""
    import dandify

    return len(dandify.organize(made, dandiset, metadata={"name": "A benchmark"}).files)


def describe(_: Path, dandiset: Path) -> Any:
    """Describe what was laid out; the files that say it."""
    import dandify

    return sorted(dandify.describe(dandiset).files)


def validate(_: Path, dandiset: Path) -> Any:
    """Validate it as the command does; what was found, hints aside."""
    import dandify

    report = dandify.validate(dandiset, workers="auto")
    return sorted({f.id for f in (*report.errors, *report.warnings)})


VERBS: dict[str, Callable[[Path, Path], Any]] = {"organize": organize, "describe": describe, "validate": validate}


def main() -> None:
    """Run ``VERB MADE DANDISET``, and print what it took and what came out as JSON."""
    verb, made, dandiset = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    results: list[Any] = []
    taken = measured(lambda: results.append(VERBS[verb](made, dandiset)))
    print(json.dumps(taken | {"result": results[0]}))


if __name__ == "__main__":
    main()
