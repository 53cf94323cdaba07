"""plan_nwb: what `write_nwb` would write and why, without writing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hdmf.build import GroupBuilder
from pynwb import NWBFile

from dandify.nwb.defer import find_bulk
from dandify.nwb.request import StreamChoice, WriteRequest, require_chunks, worker_count
from dandify.nwb.structure import refuse_unportable, show_structure
from dandify.nwb.transforms import Asked, require_known, transform_bulk
from dandify.nwb.write import refuse_unwritable
from dandify.store.choose import Chosen
from dandify.store.compression import DEFAULTS
from dandify.store.measure import Measured
from dandify.store.memory import parse_bytes
from dandify.store.partial import output_path
from dandify.store.plan import needed_bytes


@dataclass(frozen=True)
class DatasetPlan:
    """What one large array would become.

    Attributes
    ----------
    name, path_in_file
        ``ElectricalSeries/data``, ``/acquisition/ElectricalSeries/data``.
    shape, dtype
        As stored; the dtype with its byte order, ``<i2``.
    chunks, count
        Shape of a chunk, and number of chunks.
    encoder
        In words.
    raw_bytes, estimated_bytes
        Size of the values, and of the encoded chunks as far as samples tell.
    memory_bytes
        What writing it needs of the cap.
    reason, encoder_reason
        Why this shape and this encoder.
    """

    name: str
    path_in_file: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    count: int
    encoder: str
    raw_bytes: int
    estimated_bytes: int
    memory_bytes: int
    reason: str
    encoder_reason: str

    @property
    def ratio(self) -> float:
        """Raw bytes for each stored byte."""
        return self.raw_bytes / self.estimated_bytes if self.estimated_bytes else 1.0


@dataclass(frozen=True)
class NWBPlan:
    """What `write_nwb` would do.

    Attributes
    ----------
    path
        The output.
    backend
        ``hdf5`` or ``zarr``.
    datasets
        The arrays that the engine would write; hdmf writes the rest.
    """

    path: Path
    backend: str
    datasets: tuple[DatasetPlan, ...]

    @property
    def raw_bytes(self) -> int:
        """Size of the values of all arrays."""
        return sum(d.raw_bytes for d in self.datasets)

    @property
    def estimated_bytes(self) -> int:
        """Size of their chunks."""
        return sum(d.estimated_bytes for d in self.datasets)

    @property
    def memory_bytes(self) -> int:
        """What is needed of the cap: arrays are written one after another."""
        return max((d.memory_bytes for d in self.datasets), default=0)


def plan_nwb(
    nwbfile: NWBFile,
    path: Path | str,
    *,
    backend: str = "hdf5",
    compression: str | None = None,
    memory: str | int = "1GB",
    workers: int | None = None,
    chunks: Mapping[str, Sequence[int]] | None = None,
    transforms: Asked = MappingProxyType({}),
    streams: Mapping[str, StreamChoice] = MappingProxyType({}),
) -> NWBPlan:
    """Plan as `write_nwb` would: chunk shapes and encoders by samples, sizes, memory. Nothing is written.

    Parameters
    ----------
    nwbfile, path, backend, compression, memory, workers, chunks, transforms, streams
        As of `write_nwb`. Series that are to be transformed are read as a whole, for that is what proves it.

    Raises
    ------
    BadRequest
        As `write_nwb` would.
    BadSource
        If a source cannot be read.
    """
    path = output_path(path)
    require_known(transforms)
    refuse_unwritable(nwbfile, path, backend, compression)
    request = WriteRequest(
        backend,
        compression or DEFAULTS[backend],
        parse_bytes(memory),
        worker_count(workers),
        chunks or {},
        streams,
    )
    found: list[DatasetPlan] = []

    def prepare(root: GroupBuilder) -> None:
        if backend == "zarr":
            refuse_unportable(root)
        bulk = find_bulk(root, native=request.native)
        require_chunks(request.chunks, bulk)
        request.require_streams(bulk)
        asked = {**request.transforms_of(bulk), **transforms}
        for changed in transform_bulk(root, bulk, asked, workers=request.workers):
            b = changed.bulk
            found.append(_described(b.name, b.place, request.measured(b), request.workers))

    show_structure(nwbfile, prepare)
    return NWBPlan(path, backend, tuple(found))


def _described(name: str, place: str, measured: Measured, workers: int) -> DatasetPlan:
    plan, encoder = measured.plan, measured.encoder
    words = (encoder.encoder.name, encoder.reason) if isinstance(encoder, Chosen) else (encoder.name, "as asked for")
    return DatasetPlan(
        name=name, path_in_file=place, shape=plan.shape, dtype=plan.dtype.str, chunks=plan.chunks, count=plan.count,
        encoder=words[0], raw_bytes=plan.raw_bytes, estimated_bytes=measured.estimated_bytes,
        memory_bytes=needed_bytes(plan.slab, plan.chunks, plan.dtype.itemsize, workers), reason=plan.reason,
        encoder_reason=words[1],
    )  # fmt: skip
