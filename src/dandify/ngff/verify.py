"""Proof of a pyramid: read back by TensorStore, compared with checksums taken before encoding, made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from dandify.errors import VerificationFailed
from dandify.kernels.shrink import Method, shrink
from dandify.ngff.checksum import crc32
from dandify.ngff.levels import PyramidPlan, Region5
from dandify.ngff.pyramid import Pyramid, Slab, Written, part_of, share_of
from dandify.ngff.room import Room

SAMPLED: Final = 16  # one part of so many is read back by ``sample``, and the last one
_ASKED_BYTES: Final = 8 * 2**20  # of values, that one reader asks for at one time
_READERS: Final = 2  # so that decoders need not wait while values are compared
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
        "context": {
            "data_copy_concurrency": {"limit": threads},
            "cache_pool": {"total_bytes_limit": 0},
            # by default 32, and malloc keeps some chunks for each thread that ever held one
            "file_io_concurrency": {"limit": max(2, threads)},
        },
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
    room: Room | None = None,
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
        ``full``; or ``sample``: one part of sixteen and the last one of each level, and nothing is made again.
    threads
        That decode.
    advance
        Called with the raw bytes of each part of level 0.
    room
        Memory that other passes have used.

    Raises
    ------
    VerificationFailed
        If one cannot be read, or differs.
    """
    stored = [_Stored(root, number, axes, dtype, threads) for number in range(len(written.slabs))]
    chosen = [
        (level, number, slab) for level, slabs in zip(stored, written.slabs, strict=True)
        for number, slab in enumerate(slabs) if level.number or share == "sample"
    ]  # fmt: skip
    again = _Again(
        stored[0], plan, written, dtype, workers=threads, advance=advance, downsample=downsample, room=room
    )  # fmt: skip
    for level, number, slab in chosen:
        values = again.room_for(level.number, slab.region)
        if share == "full" or _sampled(number) or slab is written.slabs[level.number][-1]:
            level.read(slab.region, values)
            level.require(slab.region, crc32(values), slab)
        if level.number == 0:
            advance(values.nbytes)
    if share == "full":
        again.run()


def _sampled(number: int) -> bool:
    """Whether a part is looked at: one of sixteen, of each sixteen another one, for parts of a slab come in turn."""
    return number % SAMPLED == number // SAMPLED % SAMPLED


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

        Some chunks at a time: TensorStore holds all that it has been asked for, encoded and decoded.
        """
        import tensorstore

        whole = self._array[tuple(region[i] for i in self._kept)]
        whole = whole.translate_to[(0,) * whole.rank]
        target = tensorstore.array(into.reshape(whole.shape))
        for part in _pieces(whole.shape, self._array.chunk_layout.read_chunk.shape, into.nbytes):
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


def _pieces(shape: Sequence[int], chunks: Sequence[int], size: int) -> Iterator[tuple[Any, ...]]:
    """Cut rows and columns of ``size`` bytes into pieces of whole chunks that are asked for at one time."""
    (height, width), (rows, columns) = shape[-2:], chunks[-2:]
    high = max(1, _ASKED_BYTES * height // max(1, size) // rows) * rows
    wide = max(1, _ASKED_BYTES * width // max(1, size * min(high, height) // height) // columns) * columns
    for y in range(0, height, high):
        for x in range(0, width, wide):
            yield (..., slice(y, min(y + high, height)), slice(x, min(x + wide, width)))


class _Again(Pyramid):
    """The same pass over the stored level 0, without encoding: what it makes must have the checksums of what was."""

    def __init__(
        self, stored: _Stored, plan: PyramidPlan, written: Written, dtype: np.dtype[Any], *, workers: int,
        advance: Callable[[int], None], downsample: Method, room: Room | None,
    ) -> None:  # fmt: skip
        super().__init__(
            plan, self._unread, plan.levels[0].chunks[2], dtype, (), workers=workers, readers=_READERS,
            advance=advance, downsample=downsample, room=room,
        )  # fmt: skip
        self._stored, self._expected = stored, [iter(slabs) for slabs in written.slabs]
        self._regions = [slab.region for slab in written.slabs[0]]

    @staticmethod
    def _unread(region: Region5, target: NDArray[Any]) -> None:
        raise NotImplementedError  # `_fill` reads

    def room_for(self, number: int, region: Region5) -> NDArray[Any]:
        """Give an array for a slab of a level, while nothing runs."""
        return part_of(self._arrays[(number, 0) if number != self._plan.streamed else "kept"], region)

    def _tasks(self) -> Iterator[Region5]:
        yield from self._regions

    def _checksum(self) -> None:
        """Leave it to the checksums of the slabs."""

    def _fill(self, region: Region5, slab: NDArray[Any]) -> int:
        values = part_of(slab, region)
        self._stored.read(region, values)
        return crc32(values)

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
            block = values[z : z + depth]
            part = share_of(target[z // step[0] :], block.shape, step)
            if part is not None:
                shrink(block, step, part, self._method)

        return [pool.submit(work, z) for z in range(0, len(values), depth)]
