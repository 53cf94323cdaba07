"""Adds labels - segmentations, masks, regions - to an OME-Zarr image that is there: whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, Literal

from dandify.errors import OutputExists
from dandify.ngff.fill import Filled, array_places, fill, prove, write_group
from dandify.ngff.finish import PACKAGES
from dandify.ngff.label_request import LabelMethod, LabelsRequest, asset_of, request_labels, taken
from dandify.ngff.label_values import Labels
from dandify.ngff.labelled import LABELS, listed_labels, read_labelled
from dandify.ngff.metadata import Version, labels_document
from dandify.ngff.request import ImageRequest, too_deep
from dandify.ngff.room import Room
from dandify.ngff.stored import read_document
from dandify.store.engine import Verify, verify_mode
from dandify.store.manifest import (
    Manifest,
    SourceFile,
    describe_sources,
    manifest_path,
    now,
    read_manifest,
    require_json,
    versions,
    write_manifest,
)
from dandify.store.partial import partial_output
from dandify.store.progress import ProgressCallback
from dandify.store.report import WriteReport
from dandify.store.resume import resumable_output
from dandify.store.space import disk_full_named, require_room
from dandify.store.zarr_image import StoredFile, write_json

_STAGE: Final = ".labels"  # behind the name of the Zarr, before .partial: one run at a time adds labels to it
_USUAL_RATIO: Final = 4.0  # of labels, cautiously: only to see a full disk coming


def write_ome_zarr_labels(
    labels: Labels,
    image: Path | str,
    name: str,
    *,
    axes: Sequence[str] | str | None = None,
    colors: Mapping[int, str | Sequence[int]] | None = None,
    properties: Mapping[int, Mapping[str, Any]] | None = None,
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | None = None,
    downsample: LabelMethod | None = None,
    compression: str = "blosc-zstd",
    memory: str | int = "1GB",
    workers: int | None = None,
    verify: bool | Verify = True,
    progress: ProgressCallback | None = None,
    overwrite: bool = False,
    sources: Sequence[Path | str | SourceFile] = (),
    details: Mapping[str, Any] | None = None,
) -> WriteReport:
    """Add labels to an OME-Zarr image, dandify's or another tool's, as ``labels/NAME`` with ``image-label`` metadata.

    Labels have the version, axes (but for the channels), levels, scales and translations of their image. They are
    written and verified beside it, as ``IMAGE.ome.zarr.labels.partial``, moved into it when they are complete, and only
    then listed: the image is sound at every moment. dandify's manifest beside the image is completed, or one is made
    for the labels. A run that was stopped is gone on with by the same call.

    Parameters
    ----------
    labels
        Whole numbers, 0 where there is no object, or true and false: NumPy, an Array, a stream of kind ``Image``, or
        the path of a ``.npy`` or of a file that a converter knows. A value for each voxel of the image; axes of length
        1 may be missing.
    image
        Folder of the image, OME-Zarr 0.4 or 0.5.
    name
        Of the labels: letters, digits, ``-`` and ``_``, with dots between them.
    axes
        Of the array, out of t z y x, where they are to be checked; those of the image by default.
    colors
        Of objects, by their number: ``"00FF00"``, ``"00FF0080"``, or red, green, blue (and opacity), whole numbers up
        to 255.
    properties
        Of objects, by their number: JSON values by name, like ``{1: {"class": "neuron", "area_um2": 80.5}}``, and
        numbers of NumPy.
    chunks, shards, compression, memory, workers, verify, progress
        As of `dandify.write_ome_zarr`.
    downsample
        How each level is made of the one above: ``mode`` (default), the most frequent number of each window, the
        smallest of several; ``max``; or ``nearest``, the first voxel, which fits images whose levels are made so.
    overwrite
        Replace labels of this name. They stay until the new ones are complete.
    sources
        Files the labels come from, for the manifest; labels given by their path name their own.
    details
        More JSON values for the manifest: the program that made them, its version.

    Raises
    ------
    OutputExists, BadRequest
        Before any work: there are labels of this name, they have another shape than the image, or are no whole numbers.
    BadSource, UnknownFormat
        If labels or image cannot be read.
    VerificationFailed
        If what was written does not decode to what was read.
    DandifyError
        If the disk is full.

    Notes
    -----
    OME-Zarr 0.5, "Labels metadata", https://ngff.openmicroscopy.org/0.5/#label-md.
    """
    started = time.perf_counter()
    mode = verify_mode(verify)
    require_json(details)
    labelled = read_labelled(Path(image))
    request = request_labels(
        labels, labelled, name, axes=axes, chunks=chunks, shards=shards, downsample=downsample,
        compression=compression, memory=memory, workers=workers, colors=colors, properties=properties,
    )  # fmt: skip
    require_free(labelled.path, name, overwrite=overwrite)
    content = request.metadata()
    root = asset_of(labelled.path)
    _manifest_of(root)  # a damaged one is better known before any work
    output = labelled.path / request.place
    require_room(output, int(request.all_bytes / _USUAL_RATIO) + request.room_bytes)
    files = describe_sources(Path(s) if isinstance(s, str) else s for s in (*sources, *request.files))

    with (
        resumable_output(
            output, overwrite=overwrite, directory=True, beside=root.with_name(root.name + _STAGE)
        ) as attempt,
        disk_full_named(output, lambda: request.all_bytes),
    ):
        room = Room()
        attempt.begin({"name": output.as_posix(), **decided(request, files)}, array_places("", request))
        filled = fill(attempt.partial, "", request, attempt, room, progress)
        attempt.filled()
        if mode != "none":
            prove(attempt.partial, filled, mode, room, progress)
        group = write_group(attempt.partial, "", request.version, content)
    inside = output.relative_to(root).as_posix() + "/"
    stored = {f"{inside}{n}": f for n, f in {**filled.files, **group}.items()}
    added = _enlist(labelled.path, name, request.version)
    stored.update({f"{labelled.path.relative_to(root).as_posix()}/{n}".removeprefix("./"): f for n, f in added.items()})
    placed = replace(filled, place=inside)
    manifest = _record(root, placed, stored, files, mode, details)
    return WriteReport(
        path=output,
        datasets=placed.reports(verified=mode == "full"),
        raw_bytes=request.image.raw_bytes,
        stored_bytes=filled.stored_bytes,
        output_bytes=sum(f.size for f in stored.values()),
        seconds=time.perf_counter() - started,
        manifest=manifest,
        notes=(*attempt.notes, *request.notes, *too_deep(request), *_consolidated(root, labelled.path)),
    )


def require_free(image: Path, name: str, *, overwrite: bool) -> None:
    """Refuse labels that are there, listed or not.

    Raises
    ------
    OutputExists
        If they are there and ``overwrite`` is not set, or differ from this name in capital letters alone.
    """
    there = taken(image, name)
    if there is not None and there != name:
        raise OutputExists(f"there are labels named {there!r}, and not every file system tells them from {name!r}",
                           file=image / LABELS, remedy="choose another name")  # fmt: skip
    if there is not None and not overwrite:
        raise OutputExists("these labels exist already", file=image / LABELS / name,
                           remedy="choose another name, or overwrite them")  # fmt: skip


def decided(request: ImageRequest, sources: Sequence[SourceFile]) -> dict[str, Any]:
    """Name all that decides what chunks become of given values, by what a person would call it."""
    return {
        "version of dandify": versions()["dandify"], "source": [asdict(s) for s in sources],
        "version": request.version, "downsampling": request.downsample, "compression": request.compression,
        "plan": [array.document()[1] for array in request.arrays],
    }  # fmt: skip


def labels_record(request: LabelsRequest, sources: Sequence[SourceFile]) -> dict[str, Any]:
    """Give what the manifest says of labels besides their arrays and files."""
    return {
        "downsample": request.downsample, "plan": request.plan.reason, "sources": [s.path for s in sources],
        "created": now(), "versions": versions(*PACKAGES),
        # Sources may be anything that labels come from; this has their very values.
        **({"file": str(request.given)} if request.given else {}),
    }  # fmt: skip


def _enlist(image: Path, name: str, version: Version) -> dict[str, StoredFile]:
    """Add a name to the list of labels, keeping whatever else its document says; each file appears in one step."""
    document = image / LABELS / ("zarr.json" if version == "0.5" else ".zattrs")
    names = [*dict.fromkeys([*listed_labels(image), name])]
    content = read_document(document) if document.is_file() else labels_document(version, names)
    if version == "0.5":
        attributes = content.get("attributes") or {}
        said = {"version": version, **(attributes.get("ome") or {}), "labels": names}
        content["attributes"] = {**attributes, "ome": said}
    else:
        content["labels"] = names
    found = {}
    if version == "0.4":
        with partial_output(image / LABELS / ".zgroup", overwrite=True) as temporary:
            found[f"{LABELS}/.zgroup"] = write_json(temporary, {"zarr_format": 2})
    with partial_output(document, overwrite=True) as temporary:
        found[f"{LABELS}/{document.name}"] = write_json(temporary, content)
    return found


def _consolidated(*groups: Path) -> tuple[str, ...]:
    """Say that a copy of all metadata, which some readers go by, does not know the labels."""
    copies = [g / ".zmetadata" for g in groups if (g / ".zmetadata").is_file()]
    documents = (g / "zarr.json" for g in groups if (g / "zarr.json").is_file())
    copies += [d for d in documents if read_document(d).get("consolidated_metadata")]
    return tuple(
        f"{copy} keeps a copy of all metadata, which does not name the labels: zarr.consolidate_metadata makes it again"
        for copy in dict.fromkeys(copies)
    )


def _manifest_of(root: Path) -> Manifest:
    """Read the manifest beside the image; one that says nothing yet where there is none."""
    if manifest_path(root).is_file():
        return read_manifest(manifest_path(root))
    return Manifest(root.name, 0, None, True, now(), versions(*PACKAGES), details={"backend": "ome-zarr"})


def _record(
    root: Path, filled: Filled, stored: Mapping[str, StoredFile], sources: tuple[SourceFile, ...],
    mode: Literal["full", "sample", "none"], details: Mapping[str, Any] | None,
) -> Path:  # fmt: skip
    """Complete the manifest beside the image, as it is now: other labels may have been added to it meanwhile."""
    assert isinstance(filled.request, LabelsRequest)
    kept = _manifest_of(root)
    told = {key: value for key, value in kept.details.items() if key != "digest"}  # that of the image without them
    files = {n: f for n, f in kept.details.get("files", {}).items() if not n.startswith(filled.place)}
    files |= {n: asdict(f) for n, f in stored.items()}
    verified = mode == "full"
    said = {**labels_record(filled.request, sources), "verify": mode, **(details or {})}
    return write_manifest(
        manifest_path(root),
        replace(
            kept, bytes=sum(f["size"] for f in files.values()), verified=kept.verified and verified,
            sources=tuple(dict.fromkeys((*kept.sources, *sources))),
            datasets=(
                *(d for d in kept.datasets if not d.name.startswith(filled.place)), *filled.datasets(verified=verified),
            ),
            details={
                **told, "labels": {**kept.details.get("labels", {}), filled.place.rstrip("/"): said},
                "files": dict(sorted(files.items())),
            },
        ),
    )  # fmt: skip
