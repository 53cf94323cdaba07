"""write_nwb: any in-memory NWBFile to HDF5 or Zarr, by the engine, verified and with a manifest."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial as partial_of
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hdmf.backends.hdf5 import HDF5IO
from hdmf.build import GroupBuilder
from pynwb import NWBFile

from dandify.errors import BadRequest
from dandify.nwb.defer import find_bulk
from dandify.nwb.oneway import OneWay, check_one_way, one_way
from dandify.nwb.record import record
from dandify.nwb.request import StreamChoice, WriteRequest, require_chunks, worker_count
from dandify.nwb.structure import write_hdf5_structure, write_zarr_structure
from dandify.nwb.transforms import Asked, require_known, transform_bulk
from dandify.store.compression import (
    DEFAULTS,
    ReadersWarning,
    require_compression,
    who_cannot_read,
)
from dandify.store.engine import Verify, check_container, estimate_bytes, fill_container, verify_mode
from dandify.store.manifest import (
    SourceFile,
    describe_sources,
    require_json,
    sha256_of,
    tree_bytes,
)
from dandify.store.memory import parse_bytes
from dandify.store.partial import output_path
from dandify.store.pipeline import Job
from dandify.store.progress import ProgressCallback
from dandify.store.report import WriteReport
from dandify.store.resume import resumable_output
from dandify.store.space import disk_full_named, require_room

BACKENDS = MappingProxyType({"hdf5": ".nwb", "zarr": ".nwb.zarr"})


def write_nwb(
    nwbfile: NWBFile,
    path: Path | str,
    *,
    backend: str = "hdf5",
    compression: str | None = None,
    memory: str | int = "1GB",
    workers: int | None = None,
    verify: bool | Verify = True,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    chunks: Mapping[str, Sequence[int]] | None = None,
    paged: bool = False,
    sources: Sequence[Path | str | SourceFile] = (),
    extra_manifest: Mapping[str, Any] | None = None,
    transforms: Asked = MappingProxyType({}),
    streams: Mapping[str, StreamChoice] = MappingProxyType({}),
) -> WriteReport:
    """Write an NWBFile as pynwb would, but fast, verified, and whole or not at all.

    Large numeric arrays - NumPy, memmap, HDF5, Zarr, iterators of hdmf and neuroconv, `Deferred` - are read once,
    encoded in threads, decoded by another decoder and compared with what was read, written as chunks, and read back:
    what is stored must be what was decoded. hdmf writes all the rest. The NWBFile is not changed and may be written
    again. Beside the output lies ``NAME.manifest.json``.

    Parameters
    ----------
    nwbfile
        Hand-made, from neuroconv, or read by pynwb or hdmf-zarr, whose reader must still be open.
    path
        ``NAME.nwb``, or ``NAME.nwb.zarr`` for Zarr.
    backend
        ``hdf5`` (shuffle and gzip, which every reader opens) or ``zarr`` (Zarr v2, Blosc-Zstd).
    compression
        For HDF5: ``gzip`` (default) measures pieces of each dataset and takes the smallest of the fast encoders,
        ``gzip:fast`` takes ISA-L, ``gzip:small`` the smallest of all. All three are HDF5's own deflate, with or without
        shuffle. ``zstd``, ``blosc-zstd`` and ``blosc-lz4`` need a plugin in most readers, which a warning names.
        For Zarr: ``blosc-zstd`` (default), ``blosc-lz4``, ``zstd``, ``gzip``.
        A DataIO of the backend that asks for another of these, or in Zarr for any codec, is obeyed; shuffle and gzip
        take the place of other filters of HDF5, with a warning.
    memory
        Cap for what the engine holds at one time: ``500MB``, ``1GB``. What the NWBFile itself holds in memory, and the
        interpreter with its libraries, come on top.
    workers
        Encoding threads; one for each core by default.
    verify
        ``full`` (True): decode and read back every chunk; ``sample``: one of sixteen; ``none`` (False).
    progress
        Called with a `Progress` for each block, in this thread.
    overwrite
        Replace an output that exists. It stays until the new one is complete.
    chunks
        Chunk shapes by the name of a dataset, ``ElectricalSeries/data``, of its object, or its path. Shapes that
        nobody asks for, here or by a DataIO, are chosen by measuring: the smallest of 0.1 to 4 MB, at most 200,000 of a
        dataset, that plain h5py reads no slower than neuroconv's. `plan_nwb` shows them.
    paged
        For HDF5 files that are read from the cloud: the tables of the file lie together in pages of 4 KiB. A reader
        with a page buffer (h5py: ``page_buf_size``) opens it with a seventh to a ninth of the requests; others read it
        as any file. It is up to 5 % larger. HDF5 1.10.1 or later reads it.
    sources
        Raw files the data come from, for the manifest.
    extra_manifest
        More JSON values for the manifest's ``details``.
    transforms
        Exact changes of stored integers, by the name (or path, or pattern) of a series: ``divide`` by what divides all
        values, ``recentre`` so that the high byte stops flipping with the sign. Conversion and offset keep the
        physical values; the manifest records what `dandify.store.transforms.undo` needs to give the source's integers
        back. Each such series is read once more, before anything is written. ``{"*": ("divide", "recentre")}`` is for
        all that can.
    streams
        Compression, chunk shape and transforms by the name or pattern of a series, as `dandify.tune` recommends them.
        Names that the file has not are passed over, and ``chunks`` counts more.

    Raises
    ------
    OutputExists
        Before any work.
    BadRequest
        If the memory does not suffice, the backend cannot hold the NWBFile, the name does not fit the backend, or a
        series cannot hold the transforms asked for it.
    BadSource
        If a source cannot be read, or yields something else than it declared.
    VerificationFailed
        If what was written does not decode to what was read.
    DandifyError
        If the disk is full.
    """
    started = time.perf_counter()
    path = output_path(path)
    mode = verify_mode(verify)
    require_json(extra_manifest)
    require_known(transforms)
    refuse_unwritable(nwbfile, path, backend, compression)
    request = WriteRequest(
        backend,
        compression or DEFAULTS[backend],
        parse_bytes(memory),
        worker_count(workers),
        chunks or {},
        streams,
    )
    described = describe_sources(Path(s) if isinstance(s, str) else s for s in sources)
    if paged and backend != "hdf5":
        raise BadRequest(f"backend {backend} has no pages", remedy="leave paged out, or write HDF5")
    structure = partial_of(write_hdf5_structure, paged=paged) if backend == "hdf5" else write_zarr_structure
    jobs: list[Job] = []
    details: dict[str, Mapping[str, Any]] = {}  # of datasets, by their place
    by_hdmf: dict[str, OneWay] = {}

    def prepare(root: GroupBuilder) -> None:
        found = find_bulk(root, native=request.native)
        require_chunks(request.chunks, found)
        request.require_streams(found)
        asked = {**request.transforms_of(found), **transforms}
        for changed in transform_bulk(root, found, asked, workers=request.workers):
            details[changed.bulk.place] = changed.details
            jobs.append(request.job(changed.bulk))
        by_hdmf.update(one_way(root))
        require_room(path, estimate_bytes(path, jobs))

    with (
        disk_full_named(path, lambda: sum(job.plan.raw_bytes for job in jobs)),
        resumable_output(path, overwrite=overwrite, directory=backend == "zarr") as attempt,
        ThreadPoolExecutor(1, "dandify-hash") as hasher,
    ):
        partial = attempt.partial
        structure(nwbfile, partial, prepare)
        decisive = request.decisive(jobs, described) | {"choice of transforms": details}
        attempt.begin(decisive, [job.place for job in jobs])
        written = fill_container(
            partial, jobs, workers=request.workers, attempt=attempt, verify=mode, progress=progress
        )  # fmt: skip
        output_bytes = tree_bytes(partial)
        whole = hasher.submit(sha256_of, partial) if backend == "hdf5" and mode != "none" else None
        filled = check_container(
            partial, jobs, written, workers=request.workers, verify=mode, progress=progress
        )  # fmt: skip
        unproved = check_one_way(partial, by_hdmf) if mode != "none" else ()
        checksum = whole.result() if whole else None
    return record(
        path, filled, output_bytes=output_bytes, sha256=checksum, sources=described, started=started,
        notes=(*attempt.notes, *(f"{place} was not read back: its iterator yields in no order" for place in unproved)),
        of_datasets=details,
        details={"backend": backend, "verify": mode, **({"paged": True} if paged else {}), **(extra_manifest or {})},
    )  # fmt: skip


def refuse_unwritable(nwbfile: NWBFile, path: Path, backend: str, compression: str | None) -> None:
    """Refuse what cannot be carried out, before any work."""
    if backend not in BACKENDS:
        raise BadRequest(f"no backend {backend!r}", remedy=f"one of {', '.join(BACKENDS)}")
    require_compression(backend, compression)
    if not path.name.endswith(BACKENDS[backend]):
        raise BadRequest(
            f"NWB files of backend {backend} are named *{BACKENDS[backend]}", file=path,
            remedy=f"name it {path.name.split('.')[0]}{BACKENDS[backend]}",
        )  # fmt: skip
    if isinstance(nwbfile.read_io, HDF5IO) and not nwbfile.read_io.is_open():  # Zarr is read file by file
        raise BadRequest(
            f"this NWBFile was read from {nwbfile.container_source}, which is closed",
            remedy="write it before its reader is closed: within the `with` block that reads it",
        )
    if unread := who_cannot_read(backend, compression):
        warnings.warn(unread, ReadersWarning, stacklevel=3)
