"""Writes a multi-well plate: the images of all wells as one OME-Zarr, verified; whole or not at all."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.kernels.shrink import Method
from dandify.ngff.fill import array_places, fill, prove, write_group
from dandify.ngff.finish import checksum_of, finish
from dandify.ngff.labels import decided
from dandify.ngff.metadata import in_order, plate_document, row_document, well_document
from dandify.ngff.plan import OMEZarrPlan, plan_of, sampled_ratios
from dandify.ngff.request import SUFFIX, ImageRequest, request_image, too_deep
from dandify.ngff.room import Room
from dandify.ngff.write import image_document
from dandify.sources.contract import Array, Channel, Stream
from dandify.store.engine import Verify, verify_mode
from dandify.store.manifest import SourceFile, describe_sources, require_json
from dandify.store.partial import output_path, require_absent
from dandify.store.progress import ProgressCallback
from dandify.store.report import WriteReport
from dandify.store.resume import resumable_output
from dandify.store.space import disk_full_named, require_room

_PLACE: Final = re.compile(r"([A-Za-z0-9]+)/([A-Za-z0-9]+)/([A-Za-z0-9]+)")
_ABOVE: Final = 3  # row, column and field lie above an image
_USUAL_RATIO: Final = 1.5  # of noisy 16-bit images, cautiously: only to see a full disk coming
Field = Stream | Array | NDArray[Any]


@dataclass(frozen=True)
class OMEZarrPlatePlan:
    """What `write_ome_zarr_plate` would do.

    Attributes
    ----------
    path, name
        The output, and the plate's name.
    wells
        Their number.
    fields
        Each image by its place; sizes of those of one shape are estimated by samples of the first.
    files
        In all, metadata included.
    """

    path: Path
    name: str
    wells: int
    fields: Mapping[str, OMEZarrPlan]
    files: int

    @property
    def first(self) -> OMEZarrPlan:
        """The first field, as an example of all."""
        return next(iter(self.fields.values()))

    @property
    def deepest(self) -> OMEZarrPlan:
        """The first of the fields with the longest paths, for all: viewers, and whether DANDI takes paths and sizes."""
        return max(self.fields.values(), key=lambda field: field.depth)

    @property
    def raw_bytes(self) -> int:
        """Size of the values of all fields."""
        return sum(field.raw_bytes for field in self.fields.values())

    @property
    def estimated_bytes(self) -> int:
        """Size of all encoded chunks."""
        return sum(field.estimated_bytes for field in self.fields.values())


def write_ome_zarr_plate(
    fields: Mapping[str, Field],
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
    """Write the images of a multi-well plate as one OME-Zarr, each with all its resolutions, one after the other.

    Every field is written, verified and resumed as `dandify.write_ome_zarr` does it. In version 0.5 the names of chunks
    are flat where nested ones would lie deeper than DANDI takes; version 0.4 has no such names, and its plates of four
    axes and more are refused by DANDI, which the report says.

    Parameters
    ----------
    fields
        Images by their place, ``ROW/COLUMN/FIELD``: ``A/1/0``; letters and digits. Wells may be missing.
    path
        ``NAME.ome.zarr``, with no other dot in the name.
    name
        Of the plate; that of the path by default.
    axes, scale, channels, version, levels, chunks, shards, downsample, compression, memory, workers, verify, progress
        As of `dandify.write_ome_zarr`, for every field.
    overwrite, sources, details
        As of `dandify.write_ome_zarr`.

    Raises
    ------
    MissingMetadata, OutputExists, BadRequest, BadSource, VerificationFailed, DandifyError
        As of `dandify.write_ome_zarr`.

    Notes
    -----
    OME-Zarr 0.5, "Plate metadata" and "Well metadata", https://ngff.openmicroscopy.org/0.5/#plate-md.
    """
    started = time.perf_counter()
    path, mode = output_path(path), verify_mode(verify)
    require_json(details)
    require_absent(path, overwrite=overwrite)
    title, requests = _requests(
        fields, path, name, axes=axes, scale=scale, channels=channels, version=version, levels=levels, chunks=chunks,
        shards=shards, downsample=downsample, compression=compression, memory=memory, workers=workers,
    )  # fmt: skip
    groups = _groups(title, requests)
    all_bytes = sum(r.all_bytes for r in requests.values())
    require_room(path, int(all_bytes / _USUAL_RATIO) + max(r.room_bytes for r in requests.values()))
    files = describe_sources(Path(s) if isinstance(s, str) else s for s in sources)
    with (
        resumable_output(path, overwrite=overwrite, directory=True) as attempt,
        disk_full_named(path, lambda: all_bytes),
    ):
        room = Room()
        root = attempt.partial
        attempt.begin(
            {"source": [asdict(f) for f in files], "set of fields": {p: decided(r, ()) for p, r in requests.items()}},
            [p for place, request in requests.items() for p in array_places(place, request)],
        )
        filled = [fill(root, place, request, attempt, room, progress) for place, request in requests.items()]
        attempt.filled()
        if mode != "none":
            for one in filled:
                prove(root, one, mode, room, progress)
        stored = {n: file for one in filled for n, file in one.files.items()}
        for one in filled:
            stored |= write_group(root, one.place, version, image_document(one.request, one.written))
        for place, content in groups.items():  # the plate's own is the last: half a plate is none
            stored |= write_group(root, place, version, content)
        checksum = checksum_of(stored)
    deepest = max(requests.values(), key=lambda r: r.depth)
    return finish(
        path, filled, stored, checksum, sources=files, mode=mode, started=started,
        details={
            "fields": {
                p.rstrip("/"): {"downsample": r.downsample, "plan": r.plan.reason} for p, r in requests.items()
            }, **(details or {}),
        },
        notes=(*attempt.notes, *too_deep(deepest)),
    )  # fmt: skip


def plan_ome_zarr_plate(
    fields: Mapping[str, Field],
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
) -> OMEZarrPlatePlan:
    """Plan as `write_ome_zarr_plate` would; nothing is written.

    Parameters
    ----------
    fields, path, axes, scale, channels, name, version, levels, chunks, shards, downsample, compression
        As of `write_ome_zarr_plate`.
    memory, workers
        As of `write_ome_zarr_plate`.

    Raises
    ------
    MissingMetadata, BadRequest, BadSource
        As of `write_ome_zarr_plate`, but for an output that exists.
    """
    path = output_path(path)
    title, requests = _requests(
        fields, path, name, axes=axes, scale=scale, channels=channels, version=version, levels=levels, chunks=chunks,
        shards=shards, downsample=downsample, compression=compression, memory=memory, workers=workers,
    )  # fmt: skip
    groups = _groups(title, requests)
    ratios: dict[tuple[Any, ...], Sequence[float]] = {}
    plans = {}
    for place, request in requests.items():
        kind = (request.image.shape, request.image.axes, request.image.dtype)
        if kind not in ratios:
            ratios[kind] = sampled_ratios(request)
        plans[place] = plan_of(request, path / place, ratios[kind])
    files = sum(p.files for p in plans.values()) + len(groups) * (1 if version == "0.5" else 2)
    return OMEZarrPlatePlan(path, title, len({p.rpartition("/")[0] for p in _places(requests)}), plans, files)


def _requests(
    fields: Mapping[str, Field], path: Path, name: str | None, **options: Any
) -> tuple[str, dict[str, ImageRequest]]:
    """Complete the request for each field, by its place; in the order of the plate."""
    if not fields:
        raise BadRequest("a plate without images", file=path)
    wrong = [place for place in fields if not _PLACE.fullmatch(place)]
    if wrong:
        raise BadRequest(f"a field at {wrong[0]!r}", file=path, remedy="ROW/COLUMN/FIELD, of letters and digits: A/1/0")
    folders = {"/".join(place.split("/")[:depth]) for place in fields for depth in (1, 2, 3)}
    if len({folder.lower() for folder in folders}) < len(folders):
        raise BadRequest("places of fields that not every file system tells apart", file=path,
                         remedy="call rows by capital letters alone")  # fmt: skip
    title = name or path.name.removesuffix(SUFFIX)
    return title, {
        f"{place}/": request_image(fields[place], path, name=f"{title} {place}", above=_ABOVE, **options)
        for place in sorted(fields, key=lambda p: [in_order(part) for part in p.split("/")])
    }


def _places(requests: Mapping[str, ImageRequest]) -> list[str]:
    return [place.rstrip("/") for place in requests]


def _groups(title: str, requests: Mapping[str, ImageRequest]) -> dict[str, dict[str, Any]]:
    """Documents of the groups above the images, by their places, the plate's own last."""
    version = next(iter(requests.values())).version
    wells: dict[str, list[str]] = {}
    for place in _places(requests):
        well, _, field = place.rpartition("/")
        wells.setdefault(well, []).append(field)
    rows = dict.fromkeys(well.partition("/")[0] for well in wells)
    return {
        **{f"{well}/": well_document(version, found) for well, found in wells.items()},
        **{f"{row}/": row_document(version) for row in rows}, "": plate_document(version, title, wells),
    }  # fmt: skip
