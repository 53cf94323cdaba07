"""Images as streams to be tuned: their pixels, their smaller resolutions, and how a part of one is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from dandify.ngff.levels import AXES, Shape5, plan_pyramid
from dandify.ngff.request import usual_shards
from dandify.ngff.write import write_ome_zarr
from dandify.sources.contract import Array
from dandify.tuning.material import Material, ShardsOf, WriteImage

_SPACE = frozenset("zyx")
_MEMORY_BYTES = 1_000_000_000


def image_material(name: str, array: Array, axes: Sequence[str], scale: Mapping[str, float], path: Path) -> Material:
    """Give an image as the tuner takes it.

    Parameters
    ----------
    name
        Of the image.
    array
        Its pixels.
    axes
        Out of t c z y x; others, or none, where a file does not say them.
    scale
        Distance of neighbouring pixels by axis; 1 where it is not known, for as many smaller resolutions as there may
        be.
    path
        Where it is read from.
    """
    known = len(axes) == array.ndim and set(axes) <= set(AXES) and {"y", "x"} <= set(axes)
    spacing = tuple(scale.get(a, 1.0) if a in _SPACE else 0.0 for a in axes) if known else (0.0,) * array.ndim
    return Material(
        name, "Image", array, array.dtype.newbyteorder("<"), "ome-zarr", path, None, min(2, max(0, array.ndim - 1)),
        spacing=spacing, shards_of=_sharder(array, tuple(axes), spacing) if known else None,
        smaller_bytes=_smaller_bytes(array, axes, scale) if known else 0,
        write_image=_writer(tuple(axes), scale) if known else None,
    )  # fmt: skip


def _smaller_bytes(array: Array, axes: Sequence[str], scale: Mapping[str, float]) -> int:
    """Raw bytes of all resolutions but the finest, as they are when nobody asks for others."""
    shape, block = (cast("Shape5", tuple(dict(zip(axes, lengths, strict=True)).get(a, 1) for a in AXES))
                    for lengths in (array.shape, array.block))  # fmt: skip
    if not prod(shape):
        return 0
    voxel = tuple(scale.get(a, 1.0) if a in _SPACE else 1.0 for a in AXES)
    plan = plan_pyramid(shape, array.dtype, voxel, count="auto", chunks=None, memory_bytes=_MEMORY_BYTES,
                        workers=os.cpu_count() or 1, block=block)  # fmt: skip
    return sum(prod(level.shape) for level in plan.levels[1:]) * array.dtype.itemsize


def _sharder(array: Array, axes: tuple[str, ...], spacing: tuple[float, ...]) -> ShardsOf:
    def shards(chunks: tuple[int, ...]) -> tuple[int, ...]:
        return usual_shards(array.shape, chunks, axes=axes, itemsize=array.dtype.itemsize, extents=spacing)

    return shards


def _writer(axes: tuple[str, ...], scale: Mapping[str, float]) -> WriteImage:
    known = {a: scale.get(a, 1.0) for a in axes if a in _SPACE}

    def write(
        values: NDArray[Any], chunks: tuple[int, ...], compression: str, path: Path, workers: int
    ) -> tuple[int, int]:
        # Planes of several time points follow one another in a part, of which all planes of one may be an odd number.
        even = (c + c % 2 if a in _SPACE else c for a, c in zip(axes, chunks, strict=True))
        report = write_ome_zarr(
            values, path, axes=axes, scale=known, chunks=tuple(map(min, even, values.shape)),
            compression=compression, workers=workers, verify=False,
        )  # fmt: skip
        smaller = report.datasets[1:]
        return sum(d.raw_bytes for d in smaller), sum(d.stored_bytes for d in smaller)

    return write
