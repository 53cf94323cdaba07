"""Writes the manifest beside an NWB file that was written, and gives the report of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dandify.store.engine import Filled
from dandify.store.manifest import Manifest, ManifestDataset, SourceFile, manifest_path, now, versions, write_manifest
from dandify.store.report import DatasetReport, WriteReport

_PACKAGES = (
    "pynwb",
    "hdmf",
    "h5py",
    "hdmf-zarr",
    "zarr",
    "numcodecs",
    "isal",
    "deflate",
    "zlib-ng",
    "numpy",
    "neuroconv",
    "spikeinterface",
)


def record(
    path: Path,
    filled: Sequence[Filled],
    *,
    output_bytes: int,
    sha256: str | None,
    sources: tuple[SourceFile, ...],
    details: Mapping[str, Any],
    started: float,
    notes: tuple[str, ...],
    of_datasets: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> WriteReport:
    """Write the manifest of an output that has its final name.

    Parameters
    ----------
    path
        The output.
    filled
        Its arrays.
    output_bytes, sha256
        Of the output; no checksum for a folder.
    sources
        What it was made of.
    details, of_datasets
        Whatever else belongs to the output, and to each array by its place; JSON values only.
    started
        `time.perf_counter` when the work began.
    notes
        For the report.
    """
    manifest = write_manifest(
        manifest_path(path),
        Manifest(
            output=path.name, bytes=output_bytes, sha256=sha256, verified=details.get("verify") == "full",
            created=now(), versions=versions(*_PACKAGES), sources=sources,
            datasets=tuple(_described(f, of_datasets.get(f.job.place, {})) for f in filled), details=details,
        ),
    )  # fmt: skip
    return WriteReport(
        path=path,
        datasets=tuple(map(_reported, filled)),
        raw_bytes=sum(f.job.plan.raw_bytes for f in filled),
        stored_bytes=sum(f.written.stored_bytes for f in filled),
        output_bytes=output_bytes,
        seconds=time.perf_counter() - started,
        manifest=manifest,
        notes=notes,
    )


def _described(filled: Filled, details: Mapping[str, Any]) -> ManifestDataset:
    job, plan = filled.job, filled.job.plan
    return ManifestDataset(
        name=job.place, shape=plan.shape, dtype=plan.dtype.str, chunks=plan.chunks, codec=job.encoder.name,
        raw_bytes=plan.raw_bytes, stored_bytes=filled.written.stored_bytes, xxh128=filled.written.xxh128,
        verified=filled.verified, details={"chunk_shape_reason": plan.reason, **details},
    )  # fmt: skip


def _reported(filled: Filled) -> DatasetReport:
    job, plan = filled.job, filled.job.plan
    return DatasetReport(
        job.name, job.place, plan.shape, plan.dtype.str, plan.raw_bytes, filled.written.stored_bytes,
        filled.written.xxh128, filled.verified,
    )  # fmt: skip
