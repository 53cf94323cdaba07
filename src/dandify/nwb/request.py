"""How the large arrays of one output are to be written: their plans, encoders, and empty datasets in their place."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

from hdmf.backends.hdf5.h5_utils import H5DataIO
from hdmf_zarr import ZarrDataIO

from dandify.errors import BadRequest
from dandify.nwb.defer import Bulk
from dandify.sources.deferred import Deferred
from dandify.store.compression import (
    ReadersWarning,
    declared,
    encoder_for,
    require_compression,
    who_cannot_read,
    zarr_codec,
)
from dandify.store.encode import Bytes, Encoder
from dandify.store.frames import ZarrCodec
from dandify.store.manifest import SourceFile, versions
from dandify.store.measure import Measured, measure
from dandify.store.pipeline import Job
from dandify.store.plan import NOTHING
from dandify.store.shapes import HDF5_LIMITS, ZARR_LIMITS, text


@dataclass(frozen=True)
class StreamChoice:
    """How one series is to be written.

    Attributes
    ----------
    compression
        Name of a compression; None for that of the file.
    chunks
        Shape of a chunk; None for a measured one.
    transforms
        Names of exact transforms.
    """

    compression: str | None = None
    chunks: tuple[int, ...] | None = None
    transforms: tuple[str, ...] = ()


@dataclass(frozen=True)
class WriteRequest:
    """How bulk data are to be written.

    Attributes
    ----------
    backend, compression
        Names, see `dandify.store.compression`.
    memory_bytes, workers
        What the engine may hold and use.
    chunks
        Shapes that the caller asks for, by names of datasets.
    streams
        The same and more, by names or patterns of series; passed over where a file has none of the name.
    reserved
        Share of the memory that something else than the engine holds.
    """

    backend: str
    compression: str
    memory_bytes: int
    workers: int
    chunks: Mapping[str, Sequence[int]] = field(default_factory=dict)
    streams: Mapping[str, StreamChoice] = field(default_factory=dict)
    reserved: Fraction = NOTHING

    @property
    def native(self) -> type:
        """The DataIO of the backend."""
        native: type = H5DataIO if self.backend == "hdf5" else ZarrDataIO
        return native

    def decisive(self, jobs: Sequence[Job], sources: Sequence[SourceFile]) -> dict[str, Any]:
        """Give all that decides what the chunks become, by the names that a person would give it."""
        return {
            "version of dandify": versions()["dandify"],
            "source": [asdict(s) for s in sources],
            "plan": [
                [j.place, j.plan.shape, j.plan.dtype.str, j.plan.chunks, self.backend, j.encoder.name] for j in jobs
            ],
        }

    def measured(self, bulk: Bulk) -> Measured:
        """Plan a dataset and choose its encoder, by samples of it."""
        asked = self._asked(bulk)
        compression: Any = self._choice(bulk).compression or bulk.compression or self.compression

        def choose(pieces: Sequence[Bytes]) -> Encoder:
            if not isinstance(compression, str):  # a codec that a ZarrDataIO asks for
                return ZarrCodec(compression)
            return encoder_for(self.backend, compression, bulk.dtype.itemsize, lambda: pieces)

        return measure(
            bulk.array, bulk.dtype, choose, memory_bytes=self.memory_bytes, workers=self.workers,
            rate_hz=bulk.rate_hz, usual=bulk.usual,
            limits=HDF5_LIMITS if self.backend == "hdf5" else ZARR_LIMITS, chunks=asked or bulk.chunks, name=bulk.name,
            asked="as asked for" if asked else "as the data's DataIO asks for",
            reserved=self.reserved,
        )  # fmt: skip

    def _asked(self, bulk: Bulk) -> tuple[int, ...] | None:
        """Chunk shape that the caller asks for by the name of the dataset, its object, or its path."""
        for name in names_of(bulk):
            if name in self.chunks:
                return tuple(self.chunks[name])
        return self._choice(bulk).chunks

    def _choice(self, bulk: Bulk) -> StreamChoice:
        return choice_of(self.streams, names_of(bulk)) or StreamChoice()

    def require_streams(self, found: Sequence[Bulk]) -> None:
        """Refuse what is asked for streams and cannot be, and warn of who will not read it.

        Raises
        ------
        BadRequest
            Naming the stream.
        """
        for bulk in found:
            choice = self._choice(bulk)
            if choice.compression is not None:
                try:
                    require_compression(self.backend, choice.compression)
                except BadRequest as error:  # of dandify.yaml, say, and another backend than it was tuned for
                    error.place = names_of(bulk)[-1]
                    raise
                if unread := who_cannot_read(self.backend, choice.compression):
                    warnings.warn(unread, ReadersWarning, stacklevel=2)
            if choice.chunks is not None:
                require_chunks({bulk.place: choice.chunks}, [bulk])

    def transforms_of(self, found: Sequence[Bulk]) -> dict[str, tuple[str, ...]]:
        """Give the transforms that are asked for streams: left out, as those of a pattern, where they cannot be."""
        # "[/]" makes a pattern of a path that matches nothing else
        return {
            f"[/]{bulk.place[1:]}": self._choice(bulk).transforms for bulk in found if self._choice(bulk).transforms
        }

    def job(self, bulk: Bulk) -> Job:
        """Plan a dataset, and put an empty one in its place."""
        found = self.measured(bulk)
        plan, encoder = found.plan, found.encoder
        if self.backend == "hdf5":
            filters = declared(encoder)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # hdmf warns of plugins, too, and knows less of readers
                empty = H5DataIO(
                    data=Deferred(bulk.array), chunks=plan.chunks, maxshape=bulk.maxshape, fillvalue=bulk.fill,
                    compression=filters.compression, compression_opts=filters.options, shuffle=filters.shuffled,
                    allow_plugin_filters=True,
                )  # fmt: skip
            if bulk.maxshape is None:  # H5DataIO takes the iterator's; hdmf's own rule lets columns of tables grow
                empty.io_settings.pop("maxshape", None)
            bulk.builder["data"] = empty
        else:
            bulk.builder["data"] = ZarrDataIO(
                data=Deferred(bulk.array),
                chunks=plan.chunks,
                compressor=zarr_codec(encoder),
                filters=[],
                fillvalue=bulk.fill,
            )
        return Job(bulk.name, bulk.place, bulk.array, plan, encoder)


def names_of(bulk: Bulk) -> tuple[str, ...]:
    """Names by which a chunk shape may be asked for: path, ``ElectricalSeries/data``, and ``ElectricalSeries``."""
    return names_at(bulk.place, bulk.name)


def names_at(place: str, name: str) -> tuple[str, ...]:
    """Give the same of a dataset by its path in the file and by its object and field."""
    owner, _, field_name = name.rpartition("/")
    return (place, name, *((owner,) if field_name == "data" else ()))


def choice_of(streams: Mapping[str, StreamChoice], names: Sequence[str]) -> StreamChoice | None:
    """Give the choice of a dataset that has these names: by one of them, or by the first pattern of one; or None."""
    exact = [streams[name] for name in names if name in streams]
    by_pattern = (c for pattern, c in streams.items() if any(fnmatchcase(name, pattern) for name in names))
    return exact[0] if exact else next(by_pattern, None)


def require_chunks(chunks: Mapping[str, Sequence[int]], found: Sequence[Bulk]) -> None:
    """Refuse chunk shapes for datasets that there are not, or of other axes.

    Raises
    ------
    BadRequest
        Naming the datasets that there are.
    """
    known = {name: bulk for bulk in found for name in names_of(bulk)}
    for name, shape in chunks.items():
        if name not in known:
            raise BadRequest(
                f"chunks are asked for {name!r}, and there is no such large dataset",
                remedy=f"one of {', '.join(bulk.name for bulk in found)}" if found else "leave chunks out",
            )
        if len(shape) != len(known[name].array.shape) or min(shape) < 1:
            raise BadRequest(
                f"chunks {text(tuple(shape))} for shape {text(known[name].array.shape)}", place=name,
                remedy=f"give {len(known[name].array.shape)} numbers, each 1 or more",
            )  # fmt: skip


def worker_count(asked: int | None) -> int:
    """Give the number of encoding threads; one for each core where nobody asks.

    Raises
    ------
    BadRequest
        If it is not 1 or more.
    """
    if asked is None:
        return os.cpu_count() or 1
    if asked < 1:
        raise BadRequest(f"{asked} workers", remedy="ask for 1 or more")
    return asked
