"""Writes an OME-Zarr image in one pass: all levels, verified, with a manifest; whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from zarr_checksum.tree import ZarrChecksumTree

from dandify.kernels.shrink import Method
from dandify.ngff.metadata import ome_metadata
from dandify.ngff.original import keep_original, original_xml
from dandify.ngff.pyramid import Pyramid, Written
from dandify.ngff.request import ImageRequest, request_image
from dandify.ngff.verify import verify_levels
from dandify.sources.contract import Array, Channel, Stream
from dandify.store.engine import Verify, verify_mode
from dandify.store.manifest import (
    Manifest,
    ManifestDataset,
    SourceFile,
    describe_sources,
    manifest_path,
    now,
    versions,
    write_manifest,
)
from dandify.store.partial import require_absent
from dandify.store.progress import Progress, ProgressCallback
from dandify.store.report import DatasetReport, WriteReport
from dandify.store.resume import resumable_output
from dandify.store.space import disk_full_named, require_room
from dandify.store.zarr_image import ImageArray, Sink, StoredFile, StoredPieces, write_json
from dandify.tree_state import state_of

_PACKAGES: Final = ("numcodecs", "numba", "numpy", "tensorstore", "yaozarrs")
_USUAL_RATIO: Final = 1.5  # of noisy 16-bit images, cautiously: only to see a full disk coming


def write_ome_zarr(
    image: Stream | Array | NDArray[Any] | Path | str,
    path: Path | str,
    *,
    axes: Sequence[str] | str | None = None,
    scale: Mapping[str, float] | None = None,
    channels: Sequence[Channel | str] | None = None,
    name: str | None = None,
    version: str = "0.5",
    levels: int | Literal["auto"] = "auto",
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | None = None,
    downsample: Method | None = None,
    compression: str = "blosc-zstd",
    memory: str | int = "1GB",
    workers: int | None = None,
    verify: bool | Verify = True,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    sources: Sequence[Path | str | SourceFile] = (),
    details: Mapping[str, Any] | None = None,
) -> WriteReport:
    """Write an image as OME-Zarr with all its resolutions, reading every plane once.

    Each level halves the axes whose voxels are finest until the image fits in one chunk. Everything is read back by
    TensorStore and compared with checksums taken when it was read, and all levels are made again from the stored level
    0. Beside the output lies ``NAME.manifest.json``, with the MD5 and size of every file. A run that
    was stopped, even killed, leaves ``NAME.partial`` and its journal; the same call reads the source again, and takes
    the finished chunks whose values are still those.

    Parameters
    ----------
    image
        A stream of kind ``Image``, an Array, NumPy, or the path of a file or folder that a converter knows and that
        holds one image. True and false are written as uint8, 1 and 0.
    path
        ``NAME.ome.zarr``, with no other dot in the name.
    axes
        Of the array, out of t c z y x; for 2, 3 and 5 dimensions yx, zyx and tczyx if nobody says.
    scale
        Distance of neighbouring values by axis: micrometres for z y x, seconds for t. Counts more than the stream's.
    channels
        Names, or names and colours, in order.
    name
        Of the image; that of the stream or of the path by default.
    version
        ``0.5`` (Zarr v3, sharded: few files) or ``0.4`` (Zarr v2, a file for each chunk; for older viewers).
    levels
        Their number, or ``auto``.
    chunks
        Of the array's axes; 2 to 4 MiB by default. Even numbers.
    shards
        Of the array's axes, multiples of the chunks: chunks that share a file, of version 0.5; 256 MiB of values by
        default.
    downsample
        How each level is made of the one above. ``mean`` (default): integers rounded half to even. ``mode`` (default
        for true and false): the most frequent value, for labels. ``max``: the largest. ``nearest``: the first voxel.
    compression
        ``blosc-zstd``, ``blosc-lz4`` (faster), ``blosc-zstd-5`` (smaller).
    memory
        Cap for what is held at one time: ``500MB``, ``1GB``. The interpreter and its libraries come on top.
    workers
        Encoding threads; one for each core by default.
    verify
        ``full`` (True): everything is read back, and the levels are made again. ``sample``: one slab of planes in
        sixteen is read back. ``none`` (False).
    progress
        Called with a `Progress` for each slab of planes, in this thread.
    overwrite
        Replace an output that exists. It stays until the new one is complete.
    sources
        Raw files the image comes from, for the manifest; an image given by its path names its own. Their OME-XML is
        kept as ``OME/METADATA.ome.xml``.
    details
        More JSON values for the manifest: subject, session.

    Raises
    ------
    MissingMetadata
        If the size of the voxels is not known.
    OutputExists, BadRequest
        Before any work.
    BadSource, UnknownFormat
        If the source cannot be read, or yields something else than it declared.
    VerificationFailed
        If what was written does not decode to what was read.
    DandifyError
        If the disk is full.
    """
    started = time.perf_counter()
    path, mode = Path(path), verify_mode(verify)
    require_absent(path, overwrite=overwrite)
    request = request_image(
        image, path, axes=axes, scale=scale, channels=channels, name=name, version=version, levels=levels,
        chunks=chunks, shards=shards, downsample=downsample, compression=compression, memory=memory, workers=workers,
    )  # fmt: skip
    described = request.image
    require_room(path, int(request.all_bytes / _USUAL_RATIO))
    files = describe_sources(Path(s) if isinstance(s, str) else s for s in (*sources, *request.files))
    original = original_xml(Path(f.path) for f in files)

    with (
        resumable_output(path, overwrite=overwrite, directory=True) as attempt,
        disk_full_named(path, lambda: request.all_bytes),
    ):
        root = attempt.partial
        attempt.begin(_decides(request, files), [str(n) for n in range(len(request.arrays))])
        earlier = [attempt.earlier(str(n), _finder(str(n), a)) for n, a in enumerate(request.arrays)]
        sinks = [Sink(root / str(n), array) for n, array in enumerate(request.arrays)]
        written = Pyramid(
            request.plan, described.read, described.block[2], described.dtype, sinks, workers=request.workers,
            advance=_counter(progress, "write", request.title, described.raw_bytes), downsample=request.downsample,
            earlier=earlier,
        ).run()  # fmt: skip
        attempt.resumed, attempt.changed = written.resumed, written.changed
        attempt.filled()
        if mode != "none":
            verify_levels(
                root, written, request.plan, axes=described.axes, dtype=described.dtype, downsample=request.downsample,
                share=mode, threads=request.workers,
                advance=_counter(progress, "verify", request.title, described.raw_bytes),
            )  # fmt: skip
        # Last, so that half an image is none.
        stored = _files(sinks, {**_write_group(root, request, written), **keep_original(root, original)})
    verified = mode == "full"
    manifest = write_manifest(
        manifest_path(path),
        Manifest(
            output=path.name, bytes=sum(f.size for f in stored.values()), sha256=None, verified=verified,
            created=now(), versions=versions(*_PACKAGES), sources=files,
            datasets=tuple(_dataset(request, n, s, written, verified=verified) for n, s in enumerate(sinks)),
            details={
                "backend": "ome-zarr", "ome_zarr_version": version, "downsample": request.downsample, "verify": mode,
                "plan": request.plan.reason, **(details or {}),
                "files": {n: asdict(f) for n, f in sorted(stored.items())}, "digest": _digest(path, stored),
            },
        ),
    )  # fmt: skip
    return WriteReport(
        path=path,
        datasets=tuple(_reported(n, s, request.title, written, verified=verified) for n, s in enumerate(sinks)),
        raw_bytes=described.raw_bytes,
        stored_bytes=sum(s.stored_bytes for s in sinks),
        output_bytes=sum(f.size for f in stored.values()),
        seconds=time.perf_counter() - started,
        manifest=manifest,
        notes=attempt.notes,
    )


def _decides(request: ImageRequest, sources: Sequence[SourceFile]) -> dict[str, Any]:
    """Name all that decides what chunks become of given values, by what a person would call it."""
    return {
        "version of dandify": versions()["dandify"], "source": [asdict(s) for s in sources],
        "version": request.version, "downsampling": request.downsample, "compression": request.compression,
        "plan": [array.document()[1] for array in request.arrays],
    }  # fmt: skip


def _finder(place: str, array: ImageArray) -> Callable[[Path], StoredPieces]:
    return lambda data: StoredPieces(data / place, array)


def _write_group(root: Path, request: ImageRequest, written: Written) -> dict[str, StoredFile]:
    image = request.image
    content = ome_metadata(
        version=request.version, name=request.title, axes=image.axes, levels=request.plan.levels, voxel=image.voxel,
        origin=image.origin, time_known=image.time_known, channels=image.channels, statistics=written.channels,
        creator=versions()["dandify"], downsample=request.downsample,
    )  # fmt: skip
    if request.version == "0.5":
        return {"zarr.json": write_json(root / "zarr.json", content)}
    return {
        ".zattrs": write_json(root / ".zattrs", content),
        ".zgroup": write_json(root / ".zgroup", {"zarr_format": 2}),
    }


def _files(sinks: Sequence[Sink], group: Mapping[str, StoredFile]) -> dict[str, StoredFile]:
    """Every file of the output, by its path within it."""
    return {**group, **{f"{n}/{name}": f for n, sink in enumerate(sinks) for name, f in sink.files.items()}}


def _digest(path: Path, stored: Mapping[str, StoredFile]) -> dict[str, str]:
    """Return the checksum that DANDI makes of those of the files, and the state of the files that it holds for."""
    tree = ZarrChecksumTree()
    for name, file in stored.items():
        tree.add_leaf(Path(name), file.size, file.md5)
    return {"algorithm": "dandi:dandi-zarr-checksum", "value": str(tree.process()), "state": state_of(path)}


def _counter(progress: ProgressCallback | None, stage: str, name: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(Progress(stage, name, done, total))

    return advance


def _dataset(request: ImageRequest, number: int, sink: Sink, written: Written, *, verified: bool) -> ManifestDataset:
    array = sink.array
    return ManifestDataset(
        name=str(number), shape=array.shape, dtype=array.dtype.newbyteorder("<").str, chunks=array.chunks,
        codec=array.codec.name, raw_bytes=_raw_bytes(array), stored_bytes=sink.stored_bytes,
        xxh128=written.xxh128 if number == 0 else None, verified=verified,
        details={
            "axes": "".join(array.names),
            "shards": None if array.shards is None else list(array.shards),
            "scale": request.scale(number),
            "translation": request.translation(number),
            "slabs_crc32": [
                [[[s.start, s.stop] for s in slab.region], f"{slab.crc32:08x}"] for slab in written.slabs[number]
            ],
        },
    )  # fmt: skip


def _reported(number: int, sink: Sink, title: str, written: Written, *, verified: bool) -> DatasetReport:
    array = sink.array
    return DatasetReport(
        f"{title} level {number}", str(number), array.shape, array.dtype.newbyteorder("<").str, _raw_bytes(array),
        sink.stored_bytes, written.xxh128 if number == 0 else None, verified,
    )  # fmt: skip


def _raw_bytes(array: ImageArray) -> int:
    return int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize
