"""plan_ome_zarr: what `write_ome_zarr` would write and why, without writing anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.shrink import Method, shrink
from dandify.ngff.label_request import LabelMethod, request_labels
from dandify.ngff.label_values import Labels
from dandify.ngff.labelled import read_labelled
from dandify.ngff.labels import require_free
from dandify.ngff.original import original_xml
from dandify.ngff.request import MAX_DEPTH, SHALLOWER, ImageRequest, request_image
from dandify.ngff.samples import pieces_of
from dandify.ngff.viewers import Viewer, openers
from dandify.ngff.write import requests_of
from dandify.sources.contract import Array, Channel, Stream
from dandify.store.partial import output_path
from dandify.store.zarr_image import BloscCodec

NO_DOI: Final = "dandisets that hold Zarr cannot at present be published with a DOI; drafts can hold it"
MOST_FILE_BYTES: Final = 5 * 2**30  # dandi sends each file of a Zarr in one part
_IN_HAND: Final = 10 * 10**6  # at most: codes on their way to the disk, and what encoders work in
_PROVING: Final = 25 * 10**6  # at most, of TensorStore: codes that are read back, and what malloc keeps of them
_FEW: Final = 5  # codes of a fifth of the values or more fill what is kept for them
_LEAST_SAMPLE: Final = 2**16  # bytes: what is smaller compresses unlike a chunk


@dataclass(frozen=True)
class LevelPlan:
    """What one level would become.

    Attributes
    ----------
    path
        In the image: ``0``.
    shape, chunks, shards
        Of the array; shards None where each chunk is a file.
    scale, translation
        Of the image's axes.
    files
        That hold chunks.
    raw_bytes, estimated_bytes
        Size of the values, and of the encoded chunks as far as samples tell.
    largest_file_bytes
        Of its largest file, as far as samples tell.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    files: int
    raw_bytes: int
    estimated_bytes: int
    largest_file_bytes: int


@dataclass(frozen=True)
class OMEZarrPlan:
    """What `write_ome_zarr` would do.

    Attributes
    ----------
    path
        The output.
    name
        Of the image.
    version
        Of OME-Zarr.
    axes, dtype
        Of the arrays; the dtype with its byte order, ``<u2``.
    downsample, encoder
        How levels are made and chunks encoded, in words.
    levels
        From the finest.
    files
        In all, metadata and labels included; the manifest beside is not.
    depth
        Parts of the longest path within the image.
    memory_bytes, reason
        What is held at one time, within the cap, and how the image goes through memory.
    peak_bytes
        What the process takes above what Python and its libraries take at rest, if everything is verified: that, and
        what encoders, system and TensorStore have in hand, as measured.
    labels
        Those that are written with the image, each as it would be.
    notes
        What a person should know.
    """

    path: Path
    name: str
    version: str
    axes: tuple[str, ...]
    dtype: str
    downsample: str
    encoder: str
    levels: tuple[LevelPlan, ...]
    files: int
    depth: int
    memory_bytes: int
    peak_bytes: int
    reason: str
    labels: tuple[OMEZarrPlan, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def raw_bytes(self) -> int:
        """Size of the values of level 0."""
        return self.levels[0].raw_bytes

    @property
    def estimated_bytes(self) -> int:
        """Size of the encoded chunks of all levels."""
        return sum(level.estimated_bytes for level in self.levels)

    @property
    def largest_file_bytes(self) -> int:
        """Of the image and its labels, as far as samples tell."""
        own = max(level.largest_file_bytes for level in self.levels)
        return max(own, *(one.largest_file_bytes for one in self.labels), 0)

    @property
    def viewers(self) -> tuple[tuple[Viewer, bool], ...]:
        """Each viewer, and whether it opens the image."""
        return openers(self.version)

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why DANDI would not take it; empty if it would."""
        found = []
        if self.depth > MAX_DEPTH:
            found.append(f"paths of {self.depth} parts, and DANDI takes {MAX_DEPTH}: write the image {SHALLOWER}")
        largest = self.largest_file_bytes
        if largest > MOST_FILE_BYTES:
            found.append(f"files of {largest / 2**30:.1f} GiB, and DANDI takes 5 GiB: ask for smaller shards")
        return tuple(found)

    @property
    def publication(self) -> str:
        """What is to be known of publishing it."""
        return NO_DOI


def plan_ome_zarr(
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
    sources: Sequence[Path | str] = (),
) -> OMEZarrPlan:
    """Plan as `write_ome_zarr` would: levels, chunks, shards, files, memory, and sizes by samples. Nothing is written.

    A few planes at three depths are read, for at most nine chunks to be encoded.

    Parameters
    ----------
    image, path, axes, scale, channels, labels, name, version, levels, chunks, shards, downsample, compression
        As of `write_ome_zarr`.
    memory, workers, sources
        As of `write_ome_zarr`.

    Raises
    ------
    MissingMetadata, BadRequest, BadSource, UnknownFormat
        As of `write_ome_zarr`, but for an output that exists.
    """
    path = output_path(path)
    request = request_image(
        image, path, axes=axes, scale=scale, channels=channels, name=name, version=version, levels=levels,
        chunks=chunks, shards=shards, downsample=downsample, compression=compression, memory=memory, workers=workers,
    )  # fmt: skip
    labelled = requests_of(request, labels, path, compression=compression, memory=memory, workers=workers)
    original = original_xml(Path(s) for s in (*sources, *request.files))
    plan = plan_of(request, path)
    planned = tuple(replace(plan_of(one, path / one.place), notes=one.notes) for one in labelled)
    more = (original is not None) + (_documents(request) if labelled else 0) + sum(one.files for one in planned)
    return replace(
        plan, files=plan.files + more, depth=max(plan.depth, *(one.depth for one in planned), 0), labels=planned
    )


def plan_ome_zarr_labels(
    labels: Labels,
    image: Path | str,
    name: str,
    *,
    axes: Sequence[str] | str | None = None,
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | None = None,
    downsample: LabelMethod | None = None,
    compression: str = "blosc-zstd",
    memory: str | int = "1GB",
    workers: int | None = None,
    overwrite: bool = False,
) -> OMEZarrPlan:
    """Plan as `write_ome_zarr_labels` would, and refuse what it would; nothing is written.

    Parameters
    ----------
    labels, image, name, axes, chunks, shards, downsample, compression, memory, workers, overwrite
        As of `write_ome_zarr_labels`.

    Raises
    ------
    OutputExists, BadRequest, BadSource, UnknownFormat
        As of `write_ome_zarr_labels`.
    """
    labelled = read_labelled(Path(image))
    request = request_labels(
        labels, labelled, name, axes=axes, chunks=chunks, shards=shards, downsample=downsample,
        compression=compression, memory=memory, workers=workers,
    )  # fmt: skip
    require_free(labelled.path, name, overwrite=overwrite)
    request.metadata()
    return replace(plan_of(request, labelled.path / request.place), notes=request.notes)


def plan_of(request: ImageRequest, path: Path, ratios: Sequence[float] | None = None) -> OMEZarrPlan:
    """Plan what is asked for: an image, or labels.

    Parameters
    ----------
    request, path
        What is asked for, and where it would lie.
    ratios
        By which sizes are estimated, see `sampled_ratios`; by samples of its own values if None.
    """
    found = sampled_ratios(request) if ratios is None else ratios
    planned = tuple(_level(request, number, ratio) for number, ratio in enumerate(found))
    return OMEZarrPlan(
        path=path, name=request.title, version=request.version, axes=request.image.axes,
        dtype=request.image.dtype.newbyteorder("<").str, downsample=request.downsample,
        encoder=request.arrays[0].codec.name, levels=planned,
        files=sum(p.files for p in planned) + _documents(request) + len(planned), depth=request.depth,
        memory_bytes=request.plan.memory_bytes,
        peak_bytes=request.plan.memory_bytes + _on_top(planned), reason=request.plan.reason,
    )  # fmt: skip


def _on_top(planned: Sequence[LevelPlan]) -> int:
    """Bytes held beside the plan's own: as measured, of images of 30 MB to 0.5 GB, with two workers."""
    raw, stored = (sum(getattr(level, which) for level in planned) for which in ("raw_bytes", "estimated_bytes"))
    return int(min(_IN_HAND + min(_PROVING, raw / 4), _FEW * stored))


def _documents(request: ImageRequest) -> int:
    """Files that describe a group."""
    return 1 if request.version == "0.5" else 2


def _level(request: ImageRequest, number: int, ratio: float) -> LevelPlan:
    array = request.arrays[number]
    outer = array.shards or array.chunks
    raw = math.prod(array.shape) * array.dtype.itemsize
    largest = math.prod(min(o, n) for o, n in zip(outer, array.shape, strict=True)) * array.dtype.itemsize
    return LevelPlan(
        path=str(number), shape=array.shape, chunks=array.chunks, shards=array.shards,
        scale=tuple(request.scale(number)), translation=tuple(request.translation(number)),
        files=math.prod(-(-n // o) for n, o in zip(array.shape, outer, strict=True)), raw_bytes=raw,
        estimated_bytes=round(raw / ratio), largest_file_bytes=round(largest / ratio),
    )  # fmt: skip


def sampled_ratios(request: ImageRequest) -> list[float]:
    """Give the raw bytes of each stored byte of each level, by samples: those above lose noise, and compress otherwise.

    Raises
    ------
    BadSource
        If the samples cannot be read.
    """
    raw, stored = [0] * len(request.arrays), [0] * len(request.arrays)
    codec = request.arrays[0].codec
    for piece in pieces_of(request.image, request.plan):
        block = piece
        for number, level in enumerate(request.plan.levels):
            if number:
                block = _smaller(block, level.step, request.downsample)
            if number and block.nbytes < _LEAST_SAMPLE:
                break
            raw[number] += block.nbytes
            stored[number] += _encoded(codec, block)
    ratios: list[float] = []
    for size, code in zip(raw, stored, strict=True):
        ratios.append(size / code if code else ratios[-1])
    return ratios


def _smaller(block: NDArray[Any], step: tuple[int, int, int], method: Method) -> NDArray[Any]:
    out = np.empty([-(-n // k) for n, k in zip(block.shape, step, strict=True)], block.dtype)
    shrink(block, step, out, method)
    return out


def _encoded(codec: BloscCodec, block: NDArray[Any]) -> int:
    return len(codec.encode(np.ascontiguousarray(block)))
