"""Proof that encoded chunks hold what was read: decoded at once, while all of it is at hand, and compared with that."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from dandify.errors import VerificationFailed
from dandify.store.encode import Bytes, Decoder, Encoder, checksum, independent, scratch
from dandify.store.groups import Group, holds
from dandify.store.plan import ChunkPlan

Index = tuple[int, ...]
_TIMED_BYTES = 600_000  # of chunks that decoders are timed on


def chosen(index: Index, plan: ChunkPlan, every: int) -> bool:
    """Whether a chunk is one of those that are looked at: one of so many, the first and the last included."""
    number = 0
    for i, length, step in zip(index, plan.shape, plan.chunks, strict=True):
        number = number * -(-length // step) + i
    return number % every == 0 or number == plan.count - 1


def differs(place: str, index: Index, what: str) -> VerificationFailed:
    """Say what is wrong with a chunk."""
    return VerificationFailed(
        f"chunk {index} {what}", place=place,
        remedy="write again; if it comes back, check the disk and the memory of this machine",
    )  # fmt: skip


class Proof:
    """Decodes the chunks of a dataset by a decoder that shares no code with what encoded them.

    What is decoded is compared with the samples themselves, where they lie in the slab: that finds a chunk that was
    encoded wrongly, and one that was cut wrongly. Its checksum tells one from the other.

    Parameters
    ----------
    place
        Of the dataset, for errors.
    plan, encoder
        How it is cut, and what encodes.
    decoder
        What the output's metadata declare.
    every
        Decode one of so many chunks.
    """

    def __init__(self, place: str, plan: ChunkPlan, encoder: Encoder, decoder: Decoder, every: int) -> None:
        self._place, self._plan, self._encoder, self._every = place, plan, encoder, every
        self._declared = decoder
        self._decoder: Decoder | None = None
        self._turn = threading.Lock()

    def prove(self, group: Group, slab: NDArray[Any], payloads: Sequence[bytes], checksums: Sequence[int]) -> None:
        """Compare encoded chunks with what they were made of; from any thread.

        Parameters
        ----------
        group, slab
            Where they were cut.
        payloads, checksums
            Of each chunk: as it will be stored, and of its values, padding included.

        Raises
        ------
        VerificationFailed
            At the first difference.
        """
        plan = self._plan
        kept = [k for k, index in enumerate(group.indices) if self._every == 1 or chosen(index, plan, self._every)]
        if not kept:
            return
        decoder = self._fastest(payloads)
        decoded = scratch("decoded", len(kept) * plan.chunk_bytes).reshape(len(kept), plan.chunk_bytes)
        for k, values in zip(kept, decoded, strict=True):
            try:
                decoder.decode(payloads[k], plan.dtype.itemsize, values)
            except ValueError as error:
                raise differs(self._place, group.indices[k], f"cannot be decoded ({error})") from error
        parts = [(group, slice(None))]
        if len(kept) < group.count:
            parts = [(group.only(k), slice(n, n + 1)) for n, k in enumerate(kept)]
        known = [checksums[k] for k in kept]
        for some, n in parts:
            if not holds(slab, some, plan.chunks, decoded[n]):
                raise self._unlike(some, decoded[n], known[n])

    def _unlike(self, group: Group, decoded: Bytes, checksums: Sequence[int]) -> VerificationFailed:
        """Say which chunk was encoded wrongly; or else that they were cut wrongly, or the source changes."""
        for index, values, known in zip(group.indices, decoded, checksums, strict=True):
            if checksum(values) != known:
                return differs(self._place, index, "does not decode to what was read from the source")
        return VerificationFailed(
            f"chunks from {group.indices[0]} on are not what the source holds", place=self._place,
            remedy="if nothing wrote to the source meanwhile, please report this: it is a fault of dandify",
        )  # fmt: skip

    def _fastest(self, payloads: Sequence[bytes]) -> Decoder:
        with self._turn:
            if self._decoder is None:
                plan = self._plan
                some = payloads[: max(1, _TIMED_BYTES // plan.chunk_bytes)]
                self._decoder = independent(
                    self._declared, self._encoder, some, plan.dtype.itemsize, plan.chunk_bytes
                )  # fmt: skip
            return self._decoder
