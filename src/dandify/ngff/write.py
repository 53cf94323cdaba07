"""Writes an OME-Zarr image in one pass: all levels, verified, with a manifest; whole or not at all."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.ngff.at_path import image_at
from dandify.ngff.image import ImageInput, describe_image
from dandify.ngff.levels import AXES, PyramidPlan, Shape5, plan_pyramid, require_chunks
from dandify.ngff.metadata import VERSIONS, Version, ome_metadata
from dandify.ngff.original import keep_original, original_xml
from dandify.ngff.pyramid import Pyramid, Written
from dandify.ngff.verify import verify_levels
from dandify.sources.contract import Array, Channel, Stream
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
from dandify.store.memory import parse_bytes
from dandify.store.partial import partial_output, require_absent
from dandify.store.progress import Progress, ProgressCallback
from dandify.store.report import DatasetReport, WriteReport
from dandify.store.space import disk_full_named, require_room
from dandify.store.zarr_image import (
    COMPRESSIONS,
    BloscCodec,
    ImageArray,
    Sink,
    StoredFile,
    shard_shape,
    write_json,
)

SUFFIX: Final = ".ome.zarr"
SHARD_BYTES: Final = 256 * 2**20  # raw; encoded about half: what a failed upload sends again, far below DANDI's 5 GiB
MAX_DEPTH: Final = 7  # parts of a path within a Zarr that dandi 0.81 accepts
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
    compression: str = "blosc-zstd",
    memory: str | int = "1GB",
    workers: int | None = None,
    verify: bool = True,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    sources: Sequence[Path | str | SourceFile] = (),
    details: Mapping[str, Any] | None = None,
) -> WriteReport:
    """Write an image as OME-Zarr with all its resolutions, reading every plane once.

    Each level halves the axes whose voxels are finest, by the mean, until the image fits in one chunk. Everything is
    read back by TensorStore and compared with checksums taken when it was read. Beside the output lies
    ``NAME.manifest.json``, with the MD5 and size of every file.

    Parameters
    ----------
    image
        A stream of kind ``Image``, an Array, NumPy, or the path of a file or folder that a converter knows and that
        holds one image.
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
    compression
        ``blosc-zstd``, ``blosc-lz4`` (faster), ``blosc-zstd-5`` (smaller).
    memory
        Cap for what is held at one time: ``500MB``, ``1GB``. The interpreter and its libraries come on top.
    workers
        Encoding threads; one for each core by default.
    verify
        Read everything back and compare.
    progress
        Called with a `Progress` for each slab of planes, in this thread.
    overwrite
        Replace an output that exists. It stays until the new one is complete.
    sources
        Raw files the image comes from, for the manifest. Their OME-XML is kept as ``OME/METADATA.ome.xml``.
    details
        More JSON values for the manifest: subject, session.

    Raises
    ------
    MissingMetadata
        If the size of the voxels is not known.
    OutputExists, BadRequest
        Before any work.
    BadSource
        If the source cannot be read, or yields something else than it declared.
    VerificationFailed
        If what was written does not decode to what was read.
    DandifyError
        If the disk is full.
    """
    started = time.perf_counter()
    path = Path(path)
    _refuse(path, version, compression, levels)
    require_absent(path, overwrite=overwrite)
    if isinstance(image, Path | str):
        image, files_of_it = image_at(Path(image), axes=axes)
        axes, sources = None, sources or files_of_it
    described = describe_image(image, axes=axes, scale=scale, channels=channels, name=name)
    title = described.name or path.name.removesuffix(SUFFIX)
    threads = _workers(workers)
    plan = plan_pyramid(
        described.shape, described.dtype, described.voxel, count=levels, chunks=_chunks(chunks, described),
        memory_bytes=parse_bytes(memory), workers=threads, block=described.block,
    )  # fmt: skip
    arrays = [_array(plan, n, described, version, compression) for n in range(len(plan.levels))]
    needed = sum(math.prod(a.shape) for a in arrays) * described.dtype.itemsize
    require_room(path, int(needed / _USUAL_RATIO))
    files = describe_sources(Path(s) if isinstance(s, str) else s for s in sources)
    original = original_xml(Path(f.path) for f in files)

    with (
        partial_output(path, overwrite=overwrite, directory=True) as root,
        disk_full_named(path, lambda: needed),
    ):
        sinks = [Sink(root / str(n), array) for n, array in enumerate(arrays)]
        written = Pyramid(
            plan, described.read, described.block[2], described.dtype, sinks, workers=threads,
            advance=_counter(progress, "write", title, described.raw_bytes),
        ).run()  # fmt: skip
        if verify:
            verify_levels(
                root, written.slabs, axes=described.axes, dtype=described.dtype, threads=threads,
                advance=_counter(progress, "verify", title, described.raw_bytes),
            )  # fmt: skip
        # Last, so that half an image is none.
        group = _write_group(root, cast("Version", version), title, described, plan, written)
        stored = _files(sinks, {**group, **keep_original(root, original)})
    manifest = write_manifest(
        manifest_path(path),
        Manifest(
            output=path.name, bytes=sum(f.size for f in stored.values()), sha256=None, verified=verify,
            created=now(), versions=versions(*_PACKAGES), sources=files,
            datasets=tuple(_dataset(n, s, plan, described, written, verified=verify) for n, s in enumerate(sinks)),
            details={
                "backend": "ome-zarr", "ome_zarr_version": version, "plan": plan.reason, **(details or {}),
                "files": {n: asdict(f) for n, f in sorted(stored.items())},
            },
        ),
    )  # fmt: skip
    return WriteReport(
        path=path,
        datasets=tuple(_reported(n, s, title, written, verified=verify) for n, s in enumerate(sinks)),
        raw_bytes=described.raw_bytes,
        stored_bytes=sum(s.stored_bytes for s in sinks),
        output_bytes=sum(f.size for f in stored.values()),
        seconds=time.perf_counter() - started,
        manifest=manifest,
    )


def key_separator(version: str, parts: int) -> Literal["/", "."]:
    """Separator of chunk names: nested, unless the files would lie deeper than DANDI takes.

    Parameters
    ----------
    version
        Of OME-Zarr; 0.4 says nested.
    parts
        Parts of the path of a nested chunk within the Zarr.
    """
    return "/" if version == "0.4" or parts <= MAX_DEPTH else "."


def _refuse(path: Path, version: str, compression: str, levels: int | str) -> None:
    if version not in VERSIONS:
        raise BadRequest(f"no OME-Zarr version {version!r}", remedy=f"one of {', '.join(VERSIONS)}")
    if compression not in COMPRESSIONS:
        raise BadRequest(f"no compression {compression!r}", remedy=f"one of {', '.join(COMPRESSIONS)}")
    if levels != "auto" and (not isinstance(levels, int) or levels < 1):
        raise BadRequest(f"{levels!r} levels", remedy="1 or more, or auto")
    if path.suffixes != [".ome", ".zarr"]:  # dandischema counts nothing else as OME-Zarr
        stem = path.name.removesuffix(SUFFIX).replace(".", "-")
        raise BadRequest(
            "images are named NAME.ome.zarr, with no other dot", file=path, remedy=f"name it {stem}{SUFFIX}"
        )


def _workers(asked: int | None) -> int:
    if asked is None:
        return os.cpu_count() or 1
    if asked < 1:
        raise BadRequest(f"{asked} workers", remedy="ask for 1 or more")
    return asked


def _chunks(asked: Sequence[int] | None, image: ImageInput) -> Shape5 | None:
    if asked is None:
        return None
    if len(asked) != len(image.axes):
        raise BadRequest(f"{len(asked)} chunk lengths for the axes {' '.join(image.axes)}")
    known = dict(zip(image.axes, asked, strict=True))
    return require_chunks(tuple(known.get(a, 1) for a in AXES), image.shape)  # type: ignore[arg-type]  # AXES are five


def _array(plan: PyramidPlan, number: int, image: ImageInput, version: str, compression: str) -> ImageArray:
    level = plan.levels[number]
    kept = [i for i, axis in enumerate(AXES) if axis in image.axes]
    shape, chunks = tuple(level.shape[i] for i in kept), tuple(level.chunks[i] for i in kept)
    shards = None
    if version != "0.4":
        size = level.scale(image.voxel)
        shards = shard_shape(
            shape, chunks, image.dtype.itemsize, max_bytes=SHARD_BYTES,
            extents=tuple(size[i] if AXES[i] in "zyx" else 0.0 for i in kept),
        )  # fmt: skip
    parts = 1 + (version != "0.4") + len(kept)
    return ImageArray(
        shape, chunks, shards, image.dtype, image.axes, BloscCodec.named(compression, image.dtype.itemsize),
        key_separator(version, parts),
    )  # fmt: skip


def _write_group(
    root: Path, version: Version, title: str, image: ImageInput, plan: PyramidPlan, written: Written
) -> dict[str, StoredFile]:
    content = ome_metadata(
        version=version, name=title, axes=image.axes, levels=plan.levels, voxel=image.voxel,
        origin=image.origin, time_known=image.time_known, channels=image.channels, statistics=written.channels,
        creator=versions()["dandify"],
    )  # fmt: skip
    if version == "0.5":
        return {"zarr.json": write_json(root / "zarr.json", content)}
    return {
        ".zattrs": write_json(root / ".zattrs", content),
        ".zgroup": write_json(root / ".zgroup", {"zarr_format": 2}),
    }


def _files(sinks: Sequence[Sink], group: Mapping[str, StoredFile]) -> dict[str, StoredFile]:
    """Every file of the output, by its path within it."""
    return {**group, **{f"{n}/{name}": f for n, sink in enumerate(sinks) for name, f in sink.files.items()}}


def _counter(progress: ProgressCallback | None, stage: str, name: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(Progress(stage, name, done, total))

    return advance


def _dataset(
    number: int, sink: Sink, plan: PyramidPlan, image: ImageInput, written: Written, *, verified: bool
) -> ManifestDataset:
    array, level = sink.array, plan.levels[number]
    kept = [i for i, axis in enumerate(AXES) if axis in image.axes]
    return ManifestDataset(
        name=str(number), shape=array.shape, dtype=array.dtype.newbyteorder("<").str, chunks=array.chunks,
        codec=array.codec.name, raw_bytes=_raw_bytes(array), stored_bytes=sink.stored_bytes,
        xxh128=written.xxh128 if number == 0 else None, verified=verified,
        details={
            "axes": "".join(array.names),
            "shards": None if array.shards is None else list(array.shards),
            "scale": [level.scale(image.voxel)[i] for i in kept],
            "translation": [level.translation(image.voxel, image.origin)[i] for i in kept],
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
