"""Repacks any NWB file: other compression, other chunks, other backend; the same content, checked object by object.

HDF5 to HDF5 is a copy on the level of HDF5 (`dandify.store.copy_hdf5`), and Zarr to Zarr one of files: neither asks
pynwb to understand the file, so what an extension, matnwb or a hand has put into it stays, as do object ids and all
cached specifications. hdmf's own export would build the objects anew and drop what it has no type for. Between the
backends (`dandify.nwb.across`) objects are carried over one by one, for the same reason; what Zarr cannot hold is
refused by name.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from hdmf.build import DatasetBuilder
from numpy.typing import NDArray

from dandify.errors import BadRequest, VerificationFailed
from dandify.nwb.across import SPECIFICATIONS, copy_zarr, require_portable, write_hdf5, write_zarr
from dandify.nwb.compare import compare_nwb
from dandify.nwb.defer import LEAST_BULK_BYTES, Bulk
from dandify.nwb.opened import backend_of, open_tree
from dandify.nwb.record import record
from dandify.nwb.request import WriteRequest, worker_count
from dandify.nwb.tree import Node, Tree
from dandify.nwb.tree_hdf5 import HDF5Tree
from dandify.nwb.tree_zarr import open_group
from dandify.nwb.write import BACKENDS
from dandify.sources.arrays import flat_block
from dandify.sources.contract import Array
from dandify.store.compression import (
    DEFAULTS,
    ReadersWarning,
    declared,
    require_compression,
    who_cannot_read,
    zarr_codec,
)
from dandify.store.copy_hdf5 import Empty, copy_structure
from dandify.store.engine import Filled, Verify, check_container, estimate_bytes, fill_container
from dandify.store.manifest import (
    describe_sources,
    sha256_of,
    tree_bytes,
)
from dandify.store.memory import parse_bytes
from dandify.store.partial import output_path, require_absent
from dandify.store.pipeline import Job
from dandify.store.progress import ProgressCallback
from dandify.store.region import Region
from dandify.store.report import WriteReport
from dandify.store.resume import resumable_output
from dandify.store.space import disk_full_named, require_room
from dandify.store.target import hdf5_file

_CACHE = Fraction(1, 4)  # of the memory holds decoded chunks of the input
_SHOWN = 5  # differences in an error


@dataclass(frozen=True)
class Repacked:
    """What `repack` did.

    Attributes
    ----------
    source, source_bytes
        The input and its size.
    written
        The output.
    compared
        It was compared with the input, object by object.
    """

    source: Path
    source_bytes: int
    written: WriteReport
    compared: bool


def repack(
    source: Path | str,
    path: Path | str,
    *,
    backend: str | None = None,
    compression: str | None = None,
    chunks: Mapping[str, Sequence[int]] | None = None,
    memory: str | int = "1GB",
    workers: int | None = None,
    verify: bool = True,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    paged: bool = False,
) -> Repacked:
    """Write an NWB file again, compressed and chunked as `write_nwb` would, with the same content.

    Parameters
    ----------
    source
        An NWB file of anybody, HDF5 or Zarr v2.
    path
        ``NAME.nwb``, or ``NAME.nwb.zarr`` for Zarr. It may be the source, with ``overwrite``: the source stays until
        the new file is complete and checked.
    backend
        ``hdf5`` or ``zarr``; what ``path`` is named for by default.
    compression
        As of `write_nwb`.
    chunks
        Chunk shapes of datasets, by their path in the file; the others are planned.
    memory
        Cap for what is held at one time.
    workers
        Encoding threads; one for each core by default.
    verify
        Decode every chunk, and compare the two files object by object.
    progress
        Called with a `Progress` for each block, in this thread.
    overwrite
        Replace an output that exists. It stays until the new one is complete.
    paged
        As of `write_nwb`: HDF5 in pages, for readers in the cloud.

    Raises
    ------
    OutputExists, BadRequest
        Before any work; the latter also if the backend cannot hold what is in the file.
    BadSource
        If the source cannot be read; names the HDF5 filter that is missing.
    VerificationFailed
        If the content of the output differs.
    """
    started = time.perf_counter()
    source, path = Path(source), output_path(path)
    into = backend or ("zarr" if path.name.endswith(".zarr") else "hdf5")
    threads, memory_bytes = worker_count(workers), parse_bytes(memory)
    _refuse(path, into, compression)
    if paged and into != "hdf5":
        raise BadRequest(f"backend {into} has no pages", remedy="leave paged out, or write HDF5")
    require_absent(path, overwrite=overwrite)
    origin = backend_of(source)
    described = describe_sources([source])
    cache_bytes = int(memory_bytes * _CACHE)
    request = WriteRequest(into, compression or DEFAULTS[into], memory_bytes, threads, reserved=_CACHE)
    jobs: list[Job] = []
    notes: list[str] = []
    with resumable_output(path, overwrite=overwrite, directory=into == "zarr") as attempt:
        partial = attempt.partial
        with (
            open_tree(source, cache_bytes=cache_bytes) as tree,
            disk_full_named(path, lambda: sum(job.plan.raw_bytes for job in jobs)),
        ):
            if isinstance(tree, HDF5Tree) and tree.file.userblock_size:
                notes.append(f"left out: the {tree.file.userblock_size} bytes that lie before HDF5 begins (user block)")
            if (origin, into) == ("hdf5", "zarr"):
                require_portable(tree)
            jobs += _jobs(tree, request, chunks or {})
            require_room(path, estimate_bytes(path, jobs))
            _structure(tree, source, partial, into, jobs, paged=paged)
            attempt.begin(request.decisive(jobs, described), [job.place for job in jobs])
            mode: Verify = "full" if verify else "none"
            done = fill_container(
                partial, jobs, workers=threads, attempt=attempt, verify=mode, progress=progress
            )  # fmt: skip
            filled = check_container(partial, jobs, done, workers=threads, verify=mode, progress=progress)
        if verify:
            _check(source, partial, filled, progress)
        output_bytes = tree_bytes(partial)
        checksum = sha256_of(partial) if into == "hdf5" else None
    written = record(
        path, filled, output_bytes=output_bytes, sha256=checksum, sources=described, started=started,
        notes=(*attempt.notes, *notes),
        details={
            "backend": into, "verify": "full" if verify else "none", "repacked_from": origin,
            **({"paged": True} if paged else {}),
        },
    )  # fmt: skip
    return Repacked(source, described[0].bytes, written, verify)


def _refuse(path: Path, backend: str, compression: str | None) -> None:
    if backend not in BACKENDS:
        raise BadRequest(f"no backend {backend!r}", remedy=f"one of {', '.join(BACKENDS)}")
    require_compression(backend, compression)
    if not path.name.endswith(BACKENDS[backend]):
        raise BadRequest(
            f"NWB files of backend {backend} are named *{BACKENDS[backend]}", file=path,
            remedy=f"name it {path.name.split('.')[0]}{BACKENDS[backend]}",
        )  # fmt: skip
    if unread := who_cannot_read(backend, compression):
        warnings.warn(unread, ReadersWarning, stacklevel=3)


@dataclass(frozen=True, eq=False)
class Stored(Array):
    """A dataset of an opened NWB file.

    Parameters
    ----------
    tree
        The file.
    node
        The dataset.
    """

    tree: Tree
    node: Node

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dataset."""
        return self.node.shape or ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type as it is stored."""
        assert self.node.numpy is not None
        return self.node.numpy

    @property
    def block(self) -> tuple[int, ...]:
        """A chunk, or whole rows."""
        return self.node.block or flat_block(self.shape, self.dtype)

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region."""
        values: NDArray[Any] = self.tree.read(self.node.path, region)
        return values


def bulk_of(tree: Tree) -> tuple[Stored, ...]:
    """Large datasets of numbers and truth values: what the engine fills, and what a manifest has checksums of."""
    return tuple(
        Stored(tree, node)
        for node in tree.nodes.values()
        if node.numpy is not None
        and node.shape
        and node.numpy.kind in "iufb"
        and int(np.prod(node.shape, dtype=object)) * node.numpy.itemsize >= LEAST_BULK_BYTES
    )


def _jobs(tree: Tree, request: WriteRequest, chunks: Mapping[str, Sequence[int]]) -> list[Job]:
    asked = {f"/{place.strip('/')}": tuple(shape) for place, shape in chunks.items()}
    bulk = {array.node.path: array for array in bulk_of(tree)}
    for place, shape in asked.items():
        if place not in bulk:
            raise BadRequest("is no large dataset of numbers", place=place, remedy=f"one of {', '.join(bulk)}")
        if len(shape) != len(bulk[place].shape) or min(shape) < 1:
            raise BadRequest(f"chunks {shape} for shape {bulk[place].shape}", place=place)
    jobs = []
    for place, array in bulk.items():
        if isinstance(tree, HDF5Tree):
            tree.require_readable(place)
        name = "/".join(place.split("/")[-2:])
        stand_in = DatasetBuilder(name=place.rpartition("/")[2], data=None)
        jobs.append(request.job(Bulk(stand_in, name, place, array, array.dtype, asked.get(place), None)))
    return jobs


def _structure(tree: Tree, source: Path, partial: Path, into: str, jobs: Sequence[Job], *, paged: bool) -> None:
    """Write everything but the bulk data."""
    if into == "zarr":
        codecs = {job.place: (job.plan.chunks, zarr_codec(job.encoder)) for job in jobs}
        if tree.backend == "zarr":
            copy_zarr(source, partial, codecs)
        else:
            write_zarr(tree, partial, codecs)
        zarr.consolidate_metadata(str(partial))
        return
    empty = {job.place: Empty(job.plan.chunks, declared(job.encoder)) for job in jobs}
    if isinstance(tree, HDF5Tree):
        with hdf5_file(partial, "w", paged=paged) as file:
            copy_structure(tree.file, file, lambda place, _: empty.get(place), folder=partial.parent)
    else:
        where = open_group(source).attrs.get(SPECIFICATIONS)
        write_hdf5(tree, partial, empty, specifications=where if isinstance(where, str) else None, paged=paged)


def _check(source: Path, partial: Path, filled: Sequence[Filled], progress: ProgressCallback | None) -> None:
    """Compare the two files; values whose checksum was taken in order and found again are proved already."""
    proved = [f.job.place for f in filled if f.verified and f.written.xxh128 is not None]
    found = compare_nwb(partial, source, ignore_values=proved, progress=progress).differences
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise VerificationFailed(
            "the copy (first) differs from its source (second): " + "; ".join(map(str, found[:_SHOWN])) + more,
            file=source, remedy="keep the file as it is, and please report this with the words above",
        )  # fmt: skip
