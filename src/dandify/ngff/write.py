"""Writes an OME-Zarr image in one pass: all levels, verified, with a manifest; whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.kernels.shrink import Method
from dandify.ngff.fill import array_places, fill, prove, write_group
from dandify.ngff.finish import checksum_of, finish
from dandify.ngff.label_request import LabelsRequest, labelled_of, request_labels
from dandify.ngff.label_values import Labels
from dandify.ngff.labelled import LABELS
from dandify.ngff.labels import decided, labels_record
from dandify.ngff.metadata import labels_document, ome_metadata
from dandify.ngff.original import keep_original, original_xml
from dandify.ngff.pyramid import Written
from dandify.ngff.request import ImageRequest, request_image
from dandify.ngff.room import Room
from dandify.sources.contract import Array, Channel, Stream
from dandify.store.engine import Verify, verify_mode
from dandify.store.manifest import SourceFile, describe_sources, require_json, versions
from dandify.store.partial import output_path, require_absent
from dandify.store.progress import ProgressCallback
from dandify.store.report import WriteReport
from dandify.store.resume import resumable_output
from dandify.store.space import disk_full_named, require_room

_USUAL_RATIO: Final = 1.5  # of noisy 16-bit images, cautiously: only to see a full disk coming


def write_ome_zarr(
    image: Stream | Array | NDArray[Any] | Path | str,
    path: Path | str,
    *,
    axes: Sequence[str] | str | None = None,
    scale: Mapping[str, float] | None = None,
    channels: Sequence[Channel | str] | None = None,
    labels: Mapping[str, Labels] | None = None,
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
    labels
        Numbers of objects by the name of the labels, as `dandify.write_ome_zarr_labels` takes them: written with the
        image, and verified like it.
    name
        Of the image; that of the stream or of the path by default.
    version
        ``0.5`` (Zarr v3, sharded: few files) or ``0.4`` (Zarr v2, a file for each chunk; for older viewers).
    levels
        Their number, or ``auto``.
    chunks
        Of the array's axes; 2 to 4 MiB by default. Even along axes that a level halves.
    shards
        Of the array's axes, multiples of the chunks: chunks that share a file, of version 0.5; 256 MiB of values by
        default.
    downsample
        How each level is made of the one above. ``mean`` (default): integers rounded half to even. ``mode`` (default
        for true and false): the most frequent value, for labels. ``max``: the largest. ``nearest``: the first voxel.
    compression
        ``blosc-zstd``, ``blosc-lz4`` (faster), ``blosc-zstd-5`` (smaller), ``blosc-zstd-bits`` (bits shuffled).
    memory
        Cap for what is held at one time: ``500MB``, ``1GB``. The interpreter and its libraries come on top.
    workers
        Encoding threads; one for each core by default.
    verify
        ``full`` (True): everything is read back, and the levels are made again. ``sample``: one part in sixteen is
        read back, of whole planes or of some of their rows. ``none`` (False).
    progress
        Called with a `Progress` for each part that is done, in this thread.
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
    path, mode = output_path(path), verify_mode(verify)
    require_json(details)
    require_absent(path, overwrite=overwrite)
    request = request_image(
        image, path, axes=axes, scale=scale, channels=channels, name=name, version=version, levels=levels,
        chunks=chunks, shards=shards, downsample=downsample, compression=compression, memory=memory, workers=workers,
    )  # fmt: skip
    labelled = requests_of(request, labels, path, compression=compression, memory=memory, workers=workers)
    documents = [one.metadata() for one in labelled]
    parts: dict[str, ImageRequest] = {"": request, **{one.place: one for one in labelled}}
    needed = sum(part.all_bytes for part in parts.values())
    require_room(path, int(needed / _USUAL_RATIO) + max(part.room_bytes for part in parts.values()))
    files = describe_sources(Path(s) if isinstance(s, str) else s for s in (*sources, *request.files))
    original = original_xml(Path(f.path) for f in files)
    of_labels = [describe_sources(one.files) for one in labelled]
    decides = [decided(r, f) for r, f in zip(parts.values(), (files, *of_labels), strict=True)]

    with (
        resumable_output(path, overwrite=overwrite, directory=True) as attempt,
        disk_full_named(path, lambda: needed),
    ):
        room = Room()
        root = attempt.partial
        attempt.begin(
            decides[0] | ({"set of labels": dict(zip(list(parts)[1:], decides[1:], strict=True))} if labelled else {}),
            [p for place, part in parts.items() for p in array_places(place, part)],
        )
        filled = [fill(root, place, part, attempt, room, progress) for place, part in parts.items()]
        attempt.filled()
        if mode != "none":
            for one in filled:
                prove(root, one, mode, room, progress)
        # Last, so that half an image is none.
        stored = {name: file for one in filled for name, file in one.files.items()}
        for part, content in zip(labelled, documents, strict=True):
            stored |= write_group(root, part.place, version, content)
        if labelled:
            listed = labels_document(request.version, [one.title for one in labelled])
            stored |= write_group(root, f"{LABELS}/", version, listed)
        stored |= write_group(root, "", version, image_document(request, filled[0].written))
        stored |= keep_original(root, original)
        checksum = checksum_of(stored)
    said = {
        one.place.rstrip("/"): {**labels_record(one, f), "verify": mode}
        for one, f in zip(labelled, of_labels, strict=True)
    }  # fmt: skip
    return finish(
        path, filled, stored, checksum, sources=[*files, *(f for some in of_labels for f in some)], mode=mode,
        started=started,
        details={
            "downsample": request.downsample, "plan": request.plan.reason, **(details or {}),
            **({"labels": said} if said else {}),
        },
        notes=(*attempt.notes, *(note for one in labelled for note in one.notes)),
    )  # fmt: skip


def requests_of(
    request: ImageRequest, labels: Mapping[str, Labels] | None, path: Path, **options: Any
) -> tuple[LabelsRequest, ...]:
    """Complete the requests for the labels of an image that is yet to be written.

    Raises
    ------
    BadRequest
        If some of them cannot be as asked, or two names are the same but for capital letters.
    """
    if not labels:
        return ()
    if len({name.lower() for name in labels}) < len(labels):
        raise BadRequest(f"labels named {', '.join(labels)}, which not every file system tells apart",
                         remedy="choose other names")  # fmt: skip
    image = labelled_of(request, path)
    return tuple(request_labels(values, image, name, **options) for name, values in labels.items())


def image_document(request: ImageRequest, written: Written) -> dict[str, Any]:
    """Give the content of the document of an image's group."""
    image = request.image
    return ome_metadata(
        version=request.version, name=request.title, axes=image.axes, levels=request.plan.levels, voxel=image.voxel,
        origin=image.origin, time_known=image.time_known, channels=image.channels, statistics=written.channels,
        creator=versions()["dandify"], downsample=request.downsample,
    )  # fmt: skip
