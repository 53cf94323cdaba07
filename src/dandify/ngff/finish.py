"""The end of a write: the manifest beside the output, and the report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from zarr_checksum.tree import ZarrChecksumTree

from dandify.ngff.fill import Filled
from dandify.store.engine import Verify
from dandify.store.manifest import Manifest, SourceFile, manifest_path, now, versions, write_manifest
from dandify.store.report import WriteReport
from dandify.store.zarr_image import StoredFile
from dandify.tree_state import state_of

PACKAGES: Final = ("numcodecs", "numba", "numpy", "tensorstore", "yaozarrs")
"""What has a part in an OME-Zarr, beside dandify."""


def finish(
    path: Path, filled: Sequence[Filled], stored: Mapping[str, StoredFile], checksum: str, *,
    sources: Sequence[SourceFile], mode: Verify, details: Mapping[str, Any], notes: tuple[str, ...], started: float,
) -> WriteReport:  # fmt: skip
    """Write the manifest of an output that has its name, and report.

    Parameters
    ----------
    path
        The output.
    filled
        Its pyramids.
    stored
        Every file by its path within it.
    checksum
        Of these, see `checksum_of`.
    sources
        Raw files.
    mode
        How it was verified.
    details
        More JSON values for the manifest.
    notes
        What a person should know.
    started
        Reading of `time.perf_counter` when it began.
    """
    verified = mode == "full"
    size = sum(f.size for f in stored.values())
    manifest = write_manifest(
        manifest_path(path),
        Manifest(
            output=path.name, bytes=size, sha256=None, verified=verified, created=now(), versions=versions(*PACKAGES),
            sources=tuple(dict.fromkeys(sources)),
            datasets=tuple(d for one in filled for d in one.datasets(verified=verified)),
            details={
                "backend": "ome-zarr", "ome_zarr_version": filled[0].request.version, "verify": mode, **details,
                "files": {n: asdict(f) for n, f in sorted(stored.items())}, "digest": {
                    "algorithm": "dandi:dandi-zarr-checksum", "value": checksum, "state": state_of(path),
                },
            },
        ),
    )  # fmt: skip
    return WriteReport(
        path=path,
        datasets=tuple(d for one in filled for d in one.reports(verified=verified)),
        raw_bytes=sum(one.request.image.raw_bytes for one in filled),
        stored_bytes=sum(one.stored_bytes for one in filled),
        output_bytes=size,
        seconds=time.perf_counter() - started,
        manifest=manifest,
        notes=notes,
    )


def checksum_of(stored: Mapping[str, StoredFile]) -> str:
    """Return the checksum that DANDI makes of those of the files.

    Best taken while the files are on their way to the disk.
    """
    tree = ZarrChecksumTree()
    for name, file in stored.items():
        tree.add_leaf(Path(name), file.size, file.md5)
    return str(tree.process())
