"""One pyramid of an output, of an image or of labels: its chunks written, proven, and described for the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from dandify.ngff.once import Once, ReadInto
from dandify.ngff.pyramid import Pyramid, Written
from dandify.ngff.request import ImageRequest
from dandify.ngff.room import Room
from dandify.ngff.verify import verify_levels
from dandify.store.allocator import reuse_memory
from dandify.store.manifest import ManifestDataset
from dandify.store.md5 import Hasher
from dandify.store.progress import Progress, ProgressCallback
from dandify.store.report import DatasetReport
from dandify.store.resume import Attempt
from dandify.store.zarr_image import ImageArray, Sink, StoredFile, StoredPieces, write_json

_KEPT: Final = "kept.tmp"  # a time point of the source, while an output is filled


@dataclass(frozen=True)
class Filled:
    """A pyramid whose chunks are written.

    Attributes
    ----------
    place
        Of its group within the output: ``""``, or ``labels/cells/``.
    request
        What was asked for.
    sinks
        Of its levels, closed.
    written
        Checksums and statistics.
    """

    place: str
    request: ImageRequest
    sinks: tuple[Sink, ...]
    written: Written

    @property
    def files(self) -> dict[str, StoredFile]:
        """Every file of its arrays, by its path within the output."""
        return {
            f"{self.place}{n}/{name}": file for n, sink in enumerate(self.sinks) for name, file in sink.files.items()
        }

    @property
    def stored_bytes(self) -> int:
        """Size of all encoded chunks."""
        return sum(s.stored_bytes for s in self.sinks)

    def datasets(self, *, verified: bool) -> tuple[ManifestDataset, ...]:
        """Give its levels as the manifest has them."""
        return tuple(self._dataset(n, verified=verified) for n in range(len(self.sinks)))

    def reports(self, *, verified: bool) -> tuple[DatasetReport, ...]:
        """Give its levels as a report has them."""
        return tuple(
            DatasetReport(
                f"{self.request.title} level {n}", f"{self.place}{n}", s.array.shape,
                s.array.dtype.newbyteorder("<").str, _raw_bytes(s.array), s.stored_bytes, self._checksum(n), verified,
            ) for n, s in enumerate(self.sinks)
        )  # fmt: skip

    def _checksum(self, number: int) -> str | None:
        return self.written.xxh128 if number == 0 else None

    def _dataset(self, number: int, *, verified: bool) -> ManifestDataset:
        sink, array = self.sinks[number], self.sinks[number].array
        return ManifestDataset(
            name=f"{self.place}{number}", shape=array.shape, dtype=array.dtype.newbyteorder("<").str,
            chunks=array.chunks, codec=array.codec.name, raw_bytes=_raw_bytes(array), stored_bytes=sink.stored_bytes,
            xxh128=self._checksum(number), verified=verified,
            details={
                "axes": "".join(array.names),
                "shards": None if array.shards is None else list(array.shards),
                "scale": self.request.scale(number),
                "translation": self.request.translation(number),
                "slabs_crc32": [
                    [[[s.start, s.stop] for s in slab.region], f"{slab.crc32:08x}"]
                    for slab in self.written.slabs[number]
                ],
            },
        )  # fmt: skip


def array_places(place: str, request: ImageRequest) -> list[str]:
    """Where the arrays of a pyramid lie within the output."""
    return [f"{place}{n}" for n in range(len(request.arrays))]


def fill(
    root: Path, place: str, request: ImageRequest, attempt: Attempt, room: Room, progress: ProgressCallback | None
) -> Filled:  # fmt: skip
    """Read the source once, and write all chunks; those that a stopped run had finished are taken from it.

    Parameters
    ----------
    root
        Folder of the output, not yet under its name.
    place
        Of the group within it: ``""``, or ``labels/cells/``.
    request
        What is asked for.
    attempt
        The run, whose journal has begun.
    room
        Memory that the pass takes.
    progress
        Called for each part of a slab of planes.

    Raises
    ------
    dandify.errors.BadSource
        If the source cannot be read, or yields something else than it declared.
    """
    reuse_memory()
    image = request.image
    earlier = [
        attempt.earlier(p, _finder(p, a)) for p, a in zip(array_places(place, request), request.arrays, strict=True)
    ]
    hasher = Hasher()
    sinks = tuple(
        Sink(root / p, a, attempt.flusher, hasher)
        for p, a in zip(array_places(place, request), request.arrays, strict=True)
    )  # fmt: skip
    with _reading(request, root / _KEPT) as read:
        written = Pyramid(
            request.plan, read, image.block[2], image.dtype, sinks, workers=request.workers,
            advance=_counter(progress, "write", request.title, image.raw_bytes), downsample=request.downsample,
            earlier=earlier, statistics=request.statistics, room=room,
        ).run()  # fmt: skip
    attempt.resumed += written.resumed
    attempt.changed += written.changed
    return Filled(place, request, sinks, written)


def prove(
    root: Path, filled: Filled, share: Literal["full", "sample"], room: Room, progress: ProgressCallback | None
) -> None:
    """Read a pyramid back, and compare it with what was read and made.

    Raises
    ------
    dandify.errors.VerificationFailed
        If it differs.
    """
    request = filled.request
    verify_levels(
        root / filled.place, filled.written, request.plan, axes=request.image.axes, dtype=request.image.dtype,
        downsample=request.downsample, share=share, threads=request.workers,
        advance=_counter(progress, "verify", request.title, request.image.raw_bytes), room=room,
    )  # fmt: skip


def write_group(root: Path, place: str, version: str, content: dict[str, Any]) -> dict[str, StoredFile]:
    """Write the documents of a group; their checksums and sizes by their paths within the output.

    Parameters
    ----------
    root, place
        The output, and the group's place in it.
    version
        Of OME-Zarr.
    content
        Of ``zarr.json`` (0.5), or of ``.zattrs`` (0.4).
    """
    folder = root / place
    folder.mkdir(exist_ok=True)
    if version == "0.5":
        return {f"{place}zarr.json": write_json(folder / "zarr.json", content)}
    return {
        f"{place}.zattrs": write_json(folder / ".zattrs", content),
        f"{place}.zgroup": write_json(folder / ".zgroup", {"zarr_format": 2}),
    }


@contextmanager
def _reading(request: ImageRequest, file: Path) -> Iterator[ReadInto]:
    """Give what reads the image: itself, or what keeps a time point of it."""
    image, keep = request.image, request.plan.keep
    if keep == "nowhere":
        yield image.read_into
        return
    with Once(image.read, image.shape, image.block, image.dtype, file if keep == "file" else None) as kept:
        yield kept.read_into


def _finder(place: str, array: ImageArray) -> Callable[[Path], StoredPieces]:
    return lambda data: StoredPieces(data / place, array)


def _counter(progress: ProgressCallback | None, stage: str, name: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(Progress(stage, name, done, total))

    return advance


def _raw_bytes(array: ImageArray) -> int:
    return int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize
