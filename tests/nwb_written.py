"""Writes an NWBFile with plain pynwb: deferred arrays become arrays first, as the engine is tested elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pynwb
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject

from dandify.sources.deferred import Deferred


def new_nwbfile() -> NWBFile:
    """An empty session with all that DANDI asks of a subject."""
    return NWBFile(
        session_description="a test", identifier="test", session_id="one",
        session_start_time=datetime(2026, 3, 4, 10, 11, 12, tzinfo=UTC),
        subject=Subject(subject_id="m1", species="Mus musculus", sex="F", age="P90D", description="none"),
    )  # fmt: skip


def filled(nwbfile: NWBFile) -> NWBFile:
    """The same file with its deferred arrays read."""
    for item in nwbfile.all_children():
        for name in ("data", "timestamps"):
            value = item.fields.get(name) if hasattr(item, "fields") else None
            if isinstance(value, Deferred):
                item.fields[name] = value.array[()] if value.ndim == 0 else value.array[:]
    return nwbfile


def write(nwbfile: NWBFile, path: Path) -> Path:
    with NWBHDF5IO(path, "w") as io:
        io.write(filled(nwbfile))
    return path


def assert_archive_takes_it(path: Path) -> None:
    """pynwb validates it, and the inspector has nothing critical to say under DANDI's configuration."""
    assert pynwb.validate(path=str(path)) == []
    from nwbinspector import Importance, inspect_nwbfile, load_config

    found: list[Any] = list(
        inspect_nwbfile(nwbfile_path=path, config=load_config("dandi"), importance_threshold=Importance.CRITICAL)
    )
    assert found == []
