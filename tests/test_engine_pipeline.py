"""The loop: what is filled is what HDF5 and zarr read; what is damaged is found; what fails ends cleanly."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xxhash
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.errors import BadSource, DandifyError, VerificationFailed
from dandify.sources import MemoryArray
from dandify.store.encode import Encoder, ShuffleGzip, checksum
from dandify.store.frames import Blosc
from dandify.store.groups import gather, groups_of
from dandify.store.pipeline import Job, check, fill
from dandify.store.plan import plan_dataset
from dandify.store.progress import Passed
from dandify.store.proof import Proof, chosen
from dandify.store.region import Blocks, Region
from dandify.store.target import HDF5Target, Target, ZarrTarget, open_container


def nothing(_: object) -> None:
    """Progress that nobody looks at."""


def job_of(
    source: Blocks, chunks: tuple[int, ...], encoder: Encoder, dtype: Any = None, memory_bytes: int = 50_000_000
) -> Job:
    plan = plan_dataset(
        source.shape, dtype or source.dtype, memory_bytes=memory_bytes, workers=2, chunks=chunks, block=source.block
    )
    return Job("x/data", "/x", source, plan, encoder)


def hdf5_target(file: h5py.File, job: Job) -> HDF5Target:
    plan = job.plan
    return HDF5Target(
        file.create_dataset("x", plan.shape, plan.dtype, chunks=plan.chunks, compression="gzip", shuffle=True)
    )


def zarr_target(folder: Path, job: Job) -> ZarrTarget:
    plan = job.plan
    zarr.open_array(
        str(folder / "x"), "w", shape=plan.shape, dtype=plan.dtype, chunks=plan.chunks, compressor=Blosc().codec
    )
    return ZarrTarget(folder / "x")


VALUES = np.arange(50 * 33, dtype="<i2").reshape(50, 33)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple), st.sampled_from(["<i2", ">f4", "u1"]), st.data())
def test_hdf5_reads_what_is_filled(shape: tuple[int, ...], dtype: str, data: st.DataObject) -> None:
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    job = job_of(MemoryArray(values), tuple(data.draw(st.integers(1, n)) for n in shape), ShuffleGzip())
    with h5py.File.in_memory() as file:
        target = hdf5_target(file, job)
        written = fill(job, target, workers=2, advance=nothing, every=data.draw(st.integers(0, 3)))
        np.testing.assert_array_equal(file["x"][()], values)
        check(job, target, written, workers=2, advance=nothing)
    assert written.xxh128 == xxhash.xxh3_128(values.tobytes()).hexdigest()
    assert len(written.chunks) == job.plan.count


def test_zarr_reads_what_is_filled(tmp_path: Path) -> None:
    job = job_of(MemoryArray(VALUES), (16, 10), Blosc())
    target = zarr_target(tmp_path, job)
    written = fill(job, target, workers=2, advance=nothing, every=1)
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "x"), "r")[:], VALUES)
    check(job, target, written, workers=2, advance=nothing)
    assert target.stored() == (job.plan.count, written.stored_bytes)


def test_chunks_that_no_order_allows_have_checksums_of_their_own() -> None:
    values = np.random.default_rng(0).integers(0, 99, (600, 3000)).astype("u1")
    job = job_of(MemoryArray(values), (600, 30), ShuffleGzip(), memory_bytes=9_000_000)
    assert not job.plan.in_order
    with h5py.File.in_memory() as file:
        target = hdf5_target(file, job)
        written = fill(job, target, workers=2, advance=nothing, every=1)
        assert written.xxh128 is None
        np.testing.assert_array_equal(file["x"][()], values)
        check(job, target, written, workers=2, advance=nothing)


@pytest.mark.parametrize(
    ("stored", "read"),
    [pytest.param("<f8", "<f4", id="float32-timestamps"), pytest.param("<i2", ">i2", id="byte-order")],
)
def test_exact_type_changes(stored: str, read: str) -> None:
    job = job_of(MemoryArray(VALUES.astype(read)), (20, 33), ShuffleGzip(), stored)
    with h5py.File.in_memory() as file:
        target = hdf5_target(file, job)
        check(job, target, fill(job, target, workers=2, advance=nothing, every=1), workers=2, advance=nothing)
        np.testing.assert_array_equal(file["x"][()], VALUES)


def test_progress_adds_up() -> None:
    job = job_of(MemoryArray(VALUES), (7, 33), ShuffleGzip())
    seen: list[Passed] = []
    checked: list[int] = []
    with h5py.File.in_memory() as file:
        target = hdf5_target(file, job)
        written = fill(job, target, workers=2, advance=seen.append)
        assert tuple(map(sum, zip(*seen, strict=True))) == (VALUES.nbytes, VALUES.nbytes, written.stored_bytes)
        check(job, target, written, workers=2, advance=checked.append)
    assert sum(checked) == VALUES.nbytes


def flip(target: Target, index: tuple[int, ...]) -> None:
    payload = bytearray(target.read(index))
    payload[len(payload) // 2] ^= 4
    target.write(index, bytes(payload))


def swap(target: Target, index: tuple[int, ...]) -> None:
    other = (0,) * len(index)
    first, second = target.read(index), target.read(other)
    target.write(index, second)
    target.write(other, first)


def another(target: Target, index: tuple[int, ...]) -> None:
    target.write(index, ShuffleGzip().encode(np.zeros(16 * 10 * 2, np.uint8), 2))


@pytest.mark.parametrize("damage", [flip, swap, another])
def test_damage_is_found(damage: Callable[[Target, tuple[int, ...]], None]) -> None:
    job = job_of(MemoryArray(VALUES), (16, 10), ShuffleGzip())
    with h5py.File.in_memory() as file:
        target = hdf5_target(file, job)
        written = fill(job, target, workers=2, advance=nothing)
        damage(target, (2, 1))
        with pytest.raises(VerificationFailed, match=r"\(/x\): chunk \((2, 1|0, 0)\)"):
            check(job, target, written, workers=2, advance=nothing)


def test_a_missing_chunk_is_found(tmp_path: Path) -> None:
    job = job_of(MemoryArray(VALUES), (16, 10), Blosc())
    target = zarr_target(tmp_path, job)
    written = fill(job, target, workers=2, advance=nothing)
    (tmp_path / "x" / "1.1").unlink()
    with pytest.raises(VerificationFailed, match="15 chunks are stored, 16 were written"):
        check(job, target, written, workers=2, advance=nothing)


@dataclass(frozen=True)
class Wrong:
    """An encoder that makes of its third chunk what it does not hold."""

    damage: Callable[[bytes], bytes]
    name: str = "wrong"

    def encode(self, raw: NDArray[np.uint8], itemsize: int) -> bytes:
        payload = ShuffleGzip().encode(raw, itemsize)
        return self.damage(payload) if raw.view("<i2")[0] == VALUES[32, 0] else payload


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(lambda p: p[:-9], "cannot be decoded", id="short"),
        pytest.param(lambda p: zlib.compress(zlib.decompress(p)[:-1]), "cannot be decoded", id="a byte less"),
        pytest.param(lambda p: zlib.compress(b"\1" + zlib.decompress(p)[1:]), "does not decode to", id="another byte"),
    ],
)
def test_wrongly_encoded_chunks_are_found(damage: Callable[[bytes], bytes], words: str) -> None:
    job = job_of(MemoryArray(VALUES), (16, 33), Wrong(damage))
    with h5py.File.in_memory() as file, pytest.raises(VerificationFailed, match=rf"chunk \(2, 0\) {words}"):
        fill(job, hdf5_target(file, job), workers=2, advance=nothing, every=1)


@dataclass(frozen=True)
class Meddling:
    """An encoder that changes the source when it comes to the third chunk."""

    values: NDArray[Any]
    row: int
    name: str = "meddling"

    def encode(self, raw: NDArray[np.uint8], itemsize: int) -> bytes:
        if raw.view("<i2")[0] == VALUES[32, 0]:
            self.values[self.row, 3] += 1
        return ShuffleGzip().encode(raw, itemsize)


@pytest.mark.parametrize(
    ("row", "kind", "words"),
    [
        pytest.param(40, VerificationFailed, r"chunks from \(2, 0\) on are not what", id="before it is compared"),
        pytest.param(3, BadSource, "has changed while it was read", id="when it has been compared"),
    ],
)
def test_a_source_that_changes_meanwhile(row: int, kind: type[Exception], words: str) -> None:
    values = VALUES.copy()
    job = job_of(MemoryArray(values), (16, 33), Meddling(values, row))
    with h5py.File.in_memory() as file, pytest.raises(kind, match=words):
        fill(job, hdf5_target(file, job), workers=1, advance=nothing, every=1)


def test_a_sample_is_of_the_first_and_the_last_chunk() -> None:
    job = job_of(MemoryArray(VALUES), (16, 33), Wrong(lambda payload: payload[:-9]))
    assert [index for index, _ in job.plan.chunks_of(next(job.plan.slabs())) if chosen(index, job.plan, 4)] == [
        (0, 0), (3, 0),
    ]  # fmt: skip
    with h5py.File.in_memory() as file:
        fill(job, hdf5_target(file, job), workers=2, advance=nothing, every=4)


def test_wrongly_cut_chunks_are_found() -> None:
    """Each chunk decodes to what was encoded; only it is not what lies there."""
    job = job_of(MemoryArray(VALUES), (25, 11), ShuffleGzip())
    with h5py.File.in_memory() as file:
        decoder = hdf5_target(file, job).decoder
    group, *_ = groups_of(job.plan, next(job.plan.slabs()))
    raw = np.empty((group.count, job.plan.chunk_bytes), np.uint8)
    gather(VALUES, group, job.plan.chunks, raw)
    payloads, checksums = [job.encoder.encode(chunk, 2) for chunk in raw], [checksum(chunk) for chunk in raw]
    proof = Proof(job.place, job.plan, job.encoder, decoder, 1)
    proof.prove(group, VALUES, payloads, checksums)
    with pytest.raises(VerificationFailed, match="not what the source holds"):
        proof.prove(group, VALUES[::-1].copy(), payloads, checksums)


@dataclass
class Failing:
    """A source that fails, or yields something else than it declared, at the second read."""

    error: Exception | None = None
    gives: NDArray[Any] | None = None
    reads: int = 0
    shape: tuple[int, ...] = (4000, 1000)
    dtype: np.dtype[Any] = np.dtype("<i2")  # noqa: RUF009  # immutable
    block: tuple[int, ...] = (10, 1000)

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        self.reads += 1
        if self.reads < 2:
            return np.zeros(tuple(s.stop - s.start for s in region), "<i2")
        if self.error:
            raise self.error
        assert self.gives is not None
        return self.gives


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        pytest.param(Failing(OSError(5, "Input/output error", "raw.bin")), BadSource, r"raw.bin \(x/data\)", id="disk"),
        pytest.param(Failing(ValueError("short file")), BadSource, "short file", id="short"),
        pytest.param(Failing(ZeroDivisionError("bug")), ZeroDivisionError, "bug", id="bug"),
        pytest.param(Failing(gives=np.zeros((2, 1000), "<i2")), BadSource, "yields", id="shape"),
        pytest.param(Failing(gives=np.zeros((4000, 1000), "<f8")), BadSource, "yields", id="dtype"),
    ],
)
def test_a_failing_source(source: Failing, kind: type[Exception], words: str) -> None:
    job = job_of(source, (10, 1000), ShuffleGzip(), memory_bytes=10_000_000)  # several reads
    with h5py.File.in_memory() as file:
        target = hdf5_target(file, job)
        with pytest.raises(kind, match=words):
            fill(job, target, workers=2, advance=nothing)
    assert not [t for t in threading.enumerate() if t.name.startswith("dandify")]


def test_metadata_that_do_not_agree_are_refused(tmp_path: Path) -> None:
    job = job_of(MemoryArray(VALUES), (16, 10), ShuffleGzip())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", VALUES.shape, "<u2", chunks=(16, 10), compression="gzip")
        file.create_dataset("lzf", VALUES.shape, "<i2", chunks=(16, 10), compression="lzf")
        file.create_dataset("flat", VALUES.shape, "<i2")
    with open_container(tmp_path / "a.h5", write=True) as container:
        with pytest.raises(DandifyError, match="declares"):
            fill(job, container.target("x"), workers=1, advance=nothing)
        with pytest.raises(DandifyError, match="not ours"):
            container.target("lzf")
        with pytest.raises(DandifyError, match="not chunked"):
            container.target("flat")
