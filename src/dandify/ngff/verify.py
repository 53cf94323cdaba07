"""Proof of a pyramid: read back by TensorStore, compared with checksums taken before encoding, made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from dandify.errors import VerificationFailed
from dandify.kernels.shrink import Method
from dandify.ngff.levels import PyramidPlan, Region5
from dandify.ngff.pyramid import Pyramid, Slab, Written, crc32
from dandify.store.region import extent

SAMPLED: Final = 16  # one slab of so many is read back by ``sample``, and the last one
_ASKED_BYTES: Final = 32_000_000  # of values, at one time
_PARTS: Final = 16  # of a slab, that threads share


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

    folder = folder.resolve() if ".." in folder.parts else folder.absolute()  # TensorStore takes no ".."
    spec = {
        "driver": "zarr3" if (folder / "zarr.json").is_file() else "zarr",
        "kvstore": {"driver": "file", "path": f"{folder.as_posix()}/"},
        "context": {"data_copy_concurrency": {"limit": threads}, "cache_pool": {"total_bytes_limit": 0}},
    }
    return tensorstore.open(spec, open=True, read=True).result()


def verify_levels(
    root: Path,
    written: Written,
    plan: PyramidPlan,
    *,
    axes: Sequence[str],
    dtype: np.dtype[Any],
    downsample: Method,
    share: Literal["full", "sample"],
    threads: int,
    advance: Callable[[int], None],
) -> None:
    """Read every level back and compare it with its checksums; make all levels again from level 0 as it is stored.

    Parameters
    ----------
    root
        The image, with its arrays in folders ``0``, ``1`` ...
    written
        Checksums of each level.
    plan
        How the levels were made.
    axes
        Those that the arrays have.
    dtype
        Native type of the values.
    downsample
        How each level was made of the one above.
    share
        ``full``; or ``sample``: one slab of sixteen and the last one of each level, and nothing is made again.
    threads
        That decode.
    advance
        Called with the raw bytes of each slab of level 0.

    Raises
    ------
    VerificationFailed
        If one cannot be read, or differs.
    """
    stored = [_Stored(root, number, axes, dtype, threads) for number in range(len(written.slabs))]
    for level, slabs in zip(stored, written.slabs, strict=True):
        if level.number == 0 and share == "full":
            continue
        buffer = np.empty(max(np.prod(extent(s.region), dtype=object) for s in slabs), dtype)
        for number, slab in enumerate(slabs):
            if share == "full" or number % SAMPLED == 0 or number == len(slabs) - 1:
                values = buffer[: int(np.prod(extent(slab.region), dtype=object))]
                level.read(slab.region, values)
                level.require(slab.region, crc32(values), slab)
            if level.number == 0:
                advance(int(np.prod(extent(slab.region), dtype=object)) * dtype.itemsize)
    if share == "full":
        _Again(stored[0], plan, written, dtype, workers=threads, advance=advance, downsample=downsample).run()


class _Stored:
    """A level as it lies on the disk."""

    def __init__(self, root: Path, number: int, axes: Sequence[str], dtype: np.dtype[Any], threads: int) -> None:
        self.number, self._root, self._axes, self._dtype = number, root, axes, dtype
        self._kept = [i for i, axis in enumerate("tczyx") if axis in axes]
        try:
            self._array = open_level(root / str(number), threads=threads)
        except ValueError as error:
            raise self._differs(None, f"cannot be opened: {error}") from error
        if self._array.dtype.numpy_dtype.newbyteorder("=") != dtype:
            raise self._differs(None, f"is {self._array.dtype.numpy_dtype}, and {dtype} was written")

    def read(self, region: Region5, into: NDArray[Any]) -> None:
        """Decode a region into a buffer: TensorStore copies each chunk there, and no room is made for it in between.

        Some rows of chunks at a time: TensorStore holds all that it has been asked for, encoded and decoded.
        """
        import tensorstore

        whole = self._array[tuple(region[i] for i in self._kept)]
        whole = whole.translate_to[(0,) * whole.rank]
        target = tensorstore.array(into.reshape(whole.shape))
        length, rows = whole.shape[-2], self._array.chunk_layout.read_chunk.shape[-2]
        rows = max(1, int(_ASKED_BYTES * length // max(1, into.nbytes)) // rows) * rows
        for start in range(0, length, rows):
            part = (..., slice(start, min(start + rows, length)), slice(None))
            try:
                target[part].write(whole[part]).result()
            except ValueError as error:
                raise self._differs(region, f"cannot be read back: {error}") from error

    def require(self, region: Region5, crc: int, expected: Slab) -> None:
        """Compare a checksum with the one that was taken when the values were read, or made."""
        if (region, crc) != (expected.region, expected.crc32):
            raise self._differs(region, "differs from what was " + ("made" if self.number else "read"))

    def _differs(self, region: Region5 | None, what: str) -> VerificationFailed:
        return self.failure(self.number, region, what)

    def failure(self, number: int, region: Region5 | None, what: str) -> VerificationFailed:
        """Say what is wrong with a level of the image, and where."""
        places = [region[i] for i in self._kept] if region else []
        place = ", ".join(f"{a} {s.start}:{s.stop}" for a, s in zip(self._axes, places, strict=False)) or "all of it"
        return VerificationFailed(
            f"level {number} {what}", file=self._root, place=place,
            remedy="write again; if it comes back, check the disk and the memory of this machine",
        )  # fmt: skip


class _Again(Pyramid):
    """The same pass over the stored level 0, without encoding: what it makes must have the checksums of what was."""

    def __init__(
        self, stored: _Stored, plan: PyramidPlan, written: Written, dtype: np.dtype[Any], *, workers: int,
        advance: Callable[[int], None], downsample: Method,
    ) -> None:  # fmt: skip
        super().__init__(
            plan, self._nothing, plan.levels[0].chunks[2], dtype, (), workers=workers, advance=advance,
            downsample=downsample,
        )  # fmt: skip
        self._stored, self._expected = stored, [iter(slabs) for slabs in written.slabs]

    @staticmethod
    def _nothing(region: Region5, target: NDArray[Any]) -> None:
        raise NotImplementedError  # `_fill` reads

    def _fill(self, region: Region5, slab: NDArray[Any]) -> tuple[NDArray[Any], int]:
        values = slab.reshape(-1)[: int(np.prod(extent(region), dtype=object))]
        self._stored.read(region, values)
        return slab, crc32(values)

    def _record(self, number: int, region: Region5, crc: int) -> None:
        expected = next(self._expected[number])
        if number == 0:
            self._stored.require(region, crc, expected)
        elif (region, crc) != (expected.region, expected.crc32):
            raise self._stored.failure(number, region, "is not what the stored level 0 becomes")

    def _begin(
        self, number: int, values: NDArray[Any], region: Region5, target: NDArray[Any],
        finer: tuple[int, int, int] | None, pool: ThreadPoolExecutor,
    ) -> list[Future[None]]:  # fmt: skip
        """Let the pool work on a slab, some planes at a time: these are contiguous, and nothing is copied for it."""
        if finer is None:
            return []
        step = finer
        depth = -(-len(values) // (_PARTS * step[0])) * step[0]

        def work(z: int) -> None:
            self._shrink(values[z : z + depth], step, target[z // step[0] :])

        return [pool.submit(work, z) for z in range(0, len(values), depth)]
