"""Proof of a pyramid: all is read back by TensorStore and compared with checksums taken before it was encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dandify.errors import VerificationFailed
from dandify.ngff.pyramid import Slab, crc32
from dandify.store.region import extent


def open_level(folder: Path, *, threads: int = 1) -> Any:
    """Open an array of an image for reading, Zarr v2 or v3, without a cache.

    Parameters
    ----------
    folder
        Of the array.
    threads
        That decode.

    Raises
    ------
    ValueError
        If it is no array that TensorStore can read.
    """
    import tensorstore

    spec = {
        "driver": "zarr3" if (folder / "zarr.json").is_file() else "zarr",
        "kvstore": {"driver": "file", "path": f"{folder.absolute().as_posix()}/"},
        "context": {"data_copy_concurrency": {"limit": threads}, "cache_pool": {"total_bytes_limit": 0}},
    }
    return tensorstore.open(spec, open=True, read=True).result()


def verify_levels(
    root: Path,
    slabs: Sequence[Sequence[Slab]],
    *,
    axes: Sequence[str],
    dtype: np.dtype[Any],
    threads: int,
    advance: Callable[[int], None],
) -> None:
    """Read every level back and compare each slab with its checksum.

    Parameters
    ----------
    root
        The image, with its arrays in folders ``0``, ``1`` ...
    slabs
        For each level.
    axes
        Those that the arrays have.
    dtype
        Native type of the values.
    threads
        That decode.
    advance
        Called with the raw bytes of each slab of level 0.

    Raises
    ------
    VerificationFailed
        If one cannot be read, or differs.
    """
    kept = [i for i, axis in enumerate("tczyx") if axis in axes]
    for number, expected in enumerate(slabs):
        folder = root / str(number)
        try:
            array = open_level(folder, threads=threads)
        except ValueError as error:
            raise _differs(root, number, "all of it", f"cannot be opened: {error}") from error
        for slab in expected:
            region = tuple(slab.region[i] for i in kept)
            place = ", ".join(f"{axes[i]} {s.start}:{s.stop}" for i, s in enumerate(region))
            try:
                values = np.ascontiguousarray(array[region].read().result())
            except ValueError as error:
                raise _differs(root, number, place, f"cannot be read back: {error}") from error
            if values.dtype.newbyteorder("=") != dtype:
                raise _differs(root, number, place, f"is {values.dtype}, and {dtype} was written")
            if crc32(values) != slab.crc32:
                raise _differs(root, number, place, "differs from what was " + ("made" if number else "read"))
            if number == 0:
                advance(int(np.prod(extent(slab.region), dtype=object)) * dtype.itemsize)
            del values


def _differs(root: Path, number: int, place: str, what: str) -> VerificationFailed:
    return VerificationFailed(
        f"level {number} {what}", file=root, place=place,
        remedy="write again; if it comes back, check the disk and the memory of this machine",
    )  # fmt: skip
