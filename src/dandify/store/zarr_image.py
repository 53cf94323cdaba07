"""Zarr arrays of images, v2 and v3, written chunk by chunk: metadata documents, and sinks for encoded chunks."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from dandify.store.bit_frames import DTYPES, encode_bits
from dandify.store.flush import Flusher
from dandify.store.frames import blosc_block
from dandify.store.md5 import Hasher
from dandify.store.raw_file import write_new
from dandify.store.shard import ShardFile
from dandify.store.target import Place

Index = tuple[int, ...]
COMPRESSIONS: Final = {
    "blosc-zstd": ("zstd", 1), "blosc-lz4": ("lz4", 5), "blosc-zstd-5": ("zstd", 5), "blosc-zstd-bits": ("zstd", 1),
}  # fmt: skip
"""Names of codecs, and what Blosc calls them: fast and small, faster, smaller, and often smaller of noisy pixels."""
WORTH_BYTES: Final = 32 * 2**20  # of an image: what is smaller is written in the time that samples of it take
BITS: Final = "-bits"  # ends the name of what shuffles bits whether or not samples become smaller by it

Shuffle = Literal["noshuffle", "shuffle", "bitshuffle"]
_SHUFFLES: Final[dict[Shuffle, int]] = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


@dataclass(frozen=True)
class BloscCodec:
    """Blosc frames, as both Zarr versions name them.

    Parameters
    ----------
    inner
        ``zstd`` or ``lz4``.
    level
        Its level.
    itemsize
        Bytes of a value.
    shuffle
        What is sorted before: bytes, bits, or nothing.
    """

    inner: str
    level: int
    itemsize: int
    shuffle: Shuffle

    @classmethod
    def named(cls, name: str, itemsize: int, *, bits: bool = False) -> BloscCodec:
        """Codec of one of `COMPRESSIONS`; shuffles bytes of values, or their bits if ``bits`` or the name says so."""
        inner, level = COMPRESSIONS[name]
        bits = bits or name.endswith(BITS)
        return cls(inner, level, itemsize, "bitshuffle" if bits else "shuffle" if itemsize > 1 else "noshuffle")

    @property
    def name(self) -> str:
        """In words."""
        kind = {"noshuffle": "", "shuffle": ", shuffle", "bitshuffle": ", bit shuffle"}[self.shuffle]
        return f"blosc ({self.inner} {self.level}{kind})"

    @property
    def block_bytes(self) -> int:
        """What is compressed at one go; 0 for Blosc's own choice."""
        return blosc_block(self.inner, bits_of=self.itemsize if self.shuffle == "bitshuffle" else 0)

    @cached_property
    def _codec(self) -> Any:
        from numcodecs import Blosc, blosc

        blosc.use_threads = False  # Blosc's own threads have one lock for the whole process; ours encode side by side
        return Blosc(self.inner, clevel=self.level, shuffle=_SHUFFLES[self.shuffle], blocksize=self.block_bytes)

    @cached_property
    def _zstd(self) -> Any:
        from numcodecs import Zstd

        return Zstd(self.level)

    def encode(self, chunk: np.ndarray[Any, Any]) -> bytes:
        """Encode a contiguous chunk, without the GIL."""
        if self.inner == "zstd" and self.shuffle == "bitshuffle" and chunk.dtype.str in DTYPES:
            raw = chunk.reshape(-1).view(np.uint8)
            if frame := encode_bits(raw, self.itemsize, self.block_bytes, self._zstd):
                return frame
        return bytes(self._codec.encode(chunk))

    def decode(self, payload: bytes) -> bytes:
        """Decode a chunk, by Blosc's own library."""
        return bytes(self._codec.decode(payload))

    def v2(self) -> dict[str, Any]:
        """As ``.zarray`` has it."""
        return {"id": "blosc", "cname": self.inner, "clevel": self.level, "shuffle": _SHUFFLES[self.shuffle],
                "blocksize": self.block_bytes}  # fmt: skip

    def v3(self) -> dict[str, Any]:
        """As ``zarr.json`` has it."""
        return {
            "name": "blosc",
            "configuration": {
                "cname": self.inner, "clevel": self.level, "shuffle": self.shuffle, "typesize": self.itemsize,
                "blocksize": self.block_bytes,
            },
        }  # fmt: skip


def bits_pay(pieces: Sequence[np.ndarray[Any, Any]], compression: str) -> bool:
    """Whether contiguous pieces of an image become no larger if bits are shuffled in place of bytes, or of nothing."""
    itemsize = pieces[0].dtype.itemsize
    bytewise, bitwise = (
        sum(len(codec.encode(piece)) for piece in pieces)
        for codec in (BloscCodec.named(compression, itemsize, bits=bits) for bits in (False, True))
    )
    return bitwise <= bytewise


@dataclass(frozen=True)
class ImageArray:
    """One array of an image.

    Attributes
    ----------
    shape, chunks
        Of the array, and of what is encoded at one go.
    shards
        Chunks that share a file, in values, a multiple of `chunks`; None for a file each (Zarr v2).
    dtype
        Stored little-endian.
    names
        Of the axes.
    codec
        Of the chunks.
    separator
        Of the chunks' names.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    dtype: np.dtype[Any]
    names: tuple[str, ...]
    codec: BloscCodec
    separator: Literal["/", "."] = "/"

    @cached_property
    def grid(self) -> Index:
        """Number of chunks of each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    @cached_property
    def per_file(self) -> Index:
        """Number of chunks along each axis that share a file."""
        return tuple(o // c for o, c in zip(self.shards or self.chunks, self.chunks, strict=True))

    def file_of(self, index: Index) -> str:
        """Name of the file that holds a chunk, within the array's folder."""
        prefix = () if self.shards is None else ("c",)
        place = (i // p for i, p in zip(index, self.per_file, strict=True))
        return self.separator.join(map(str, (*prefix, *place)))

    def document(self) -> tuple[str, dict[str, Any]]:
        """Name and content of the array's metadata file."""
        if self.shards is None:
            return ".zarray", {
                "zarr_format": 2, "shape": list(self.shape), "chunks": list(self.chunks),
                "dtype": self.dtype.newbyteorder("<").str, "compressor": self.codec.v2(), "fill_value": 0,
                "order": "C", "filters": None, "dimension_separator": self.separator,
            }  # fmt: skip
        little: dict[str, Any] = {"name": "bytes"}
        if self.dtype.itemsize > 1:
            little["configuration"] = {"endian": "little"}
        return "zarr.json", {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.shards)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": self.separator}},
            "fill_value": 0.0 if self.dtype.kind == "f" else 0,
            "codecs": [{
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": list(self.chunks),
                    "codecs": [little, self.codec.v3()],
                    "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                    "index_location": "end",
                },
            }],
            "dimension_names": list(self.names),
            "attributes": {},
        }  # fmt: skip


@dataclass(frozen=True)
class StoredFile:
    """A finished file: its checksum as archives want it, and its size."""

    md5: str
    size: int


class Sink:
    """Takes the encoded chunks of one array, from any thread, and writes each once.

    Parameters
    ----------
    folder
        The array's own, made here with its metadata.
    array
        What it is.
    flusher
        Is told of files that have grown.
    hasher
        Takes the MD5 of each file; better one for all arrays that are written together.
    """

    def __init__(
        self, folder: Path, array: ImageArray, flusher: Flusher | None = None, hasher: Hasher | None = None
    ) -> None:  # fmt: skip
        self.array = array
        self._flusher = flusher
        self._hasher = hasher or Hasher()
        self.stored_bytes = 0
        self.files: dict[str, StoredFile] = {}
        self._folder = folder
        self._turn = threading.Lock()
        self._growing: dict[Index, ShardFile] = {}
        self._made: set[str] = set()
        folder.mkdir(parents=True)
        name, content = array.document()
        self.files[name] = write_json(folder / name, content)

    def put(self, index: Index, payload: bytes) -> Place:
        """Write an encoded chunk; ``index`` is its place in the grid.

        Returns
        -------
        tuple or None
            Byte of its shard at which it begins; None where it is a file of its own.
        """
        with self._turn:
            self.stored_bytes += len(payload)
        if self.array.shards is None:
            self._put_file(index, payload)
            return None
        return (self._put_in_shard(index, payload),)

    def close(self) -> None:
        """Make sure that nothing is missing; `files` is complete then.

        Raises
        ------
        RuntimeError
            If a shard still waits for a chunk.
        """
        if self._growing:
            raise RuntimeError(f"{len(self._growing)} shards of {self._folder} are incomplete")
        if self._flusher is not None:
            self._flusher.hurry()
        self._hasher.close()

    def catch_up(self) -> None:
        """Take in what waits for its MD5, which nobody has to wait for at the end then."""
        self._hasher.close()

    def _grown(self, path: Path, size: int) -> None:
        if self._flusher is not None:
            self._flusher.grown(path, size)

    def _put_file(self, index: Index, payload: bytes) -> None:
        name = self.array.file_of(index)
        path = self._folder / name
        if (folder := name.rpartition("/")[0]) not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(folder)
        write_new(path, payload)
        self._grown(path, len(payload))
        self._hasher.note(path, [payload], partial(self._finished, name))
        self._hasher.work()

    def _finished(self, name: str, md5: str, size: int) -> None:
        self.files[name] = StoredFile(md5, size)

    def _put_in_shard(self, index: Index, payload: bytes) -> int:
        per = self.array.per_file
        place = tuple(i // p for i, p in zip(index, per, strict=True))
        slot = 0
        for i, p in zip(index, per, strict=True):
            slot = slot * p + i % p
        name = self.array.file_of(index)
        with self._turn:
            shard = self._growing.get(place)
            if shard is None:
                inside = (
                    min(p, n - q * p) for p, n, q in zip(per, self.array.grid, place, strict=True)
                )  # fmt: skip
                shard = ShardFile(self._folder / name, prod(per), prod(inside), self._hasher)
                self._growing[place] = shard
        start, last = shard.add(slot, payload, partial(self._finished, name))
        self._grown(shard.path, len(payload))
        if last:
            with self._turn:
                del self._growing[place]
        return start


class StoredPieces:
    """Encoded chunks in what a stopped run wrote of an array, found without the indexes of shards, which come last.

    Parameters
    ----------
    folder
        Of the array.
    array
        As it was to be written.
    """

    def __init__(self, folder: Path, array: ImageArray) -> None:
        self._folder, self._array = folder, array

    def candidates(self, index: Index, where: Place, size: int) -> Iterator[bytes]:
        """Give what may be a chunk; nothing where it cannot be read."""
        with suppress(OSError), (self._folder / self._array.file_of(index)).open("rb") as file:
            if where is not None:
                file.seek(where[0])
            yield file.read(size)


def write_json(path: Path, content: dict[str, Any]) -> StoredFile:
    """Write a metadata document."""
    data = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    path.write_bytes(data)
    return StoredFile(hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data))


def shard_shape(
    shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int, *, max_bytes: int, extents: tuple[float, ...]
) -> tuple[int, ...]:
    """Shape of shards: chunks doubled along the axis on which the shard is physically shortest, up to a size.

    Parameters
    ----------
    shape, chunks
        Of the array.
    itemsize
        Bytes of a value.
    max_bytes
        Raw size that is not exceeded (but by one chunk).
    extents
        Distance of neighbouring values on each axis in one unit; 0 for axes on which a shard holds one chunk.
    """
    grid = [-(-n // c) for n, c in zip(shape, chunks, strict=True)]
    per = [1] * len(shape)
    size = int(np.prod(chunks, dtype=object)) * itemsize
    while True:
        growing = [a for a, extent in enumerate(extents) if extent and per[a] < grid[a]]
        if not growing:
            break
        axis = min(growing, key=lambda a: per[a] * chunks[a] * extents[a])
        wider = min(2 * per[axis], grid[axis])
        if size // per[axis] * wider > max_bytes:
            break
        size = size // per[axis] * wider
        per[axis] = wider
    return tuple(p * c for p, c in zip(per, chunks, strict=True))


def file_names(array: ImageArray) -> set[str]:
    """Every file of the array that holds chunks."""
    outer = array.shards or array.chunks
    prefix = () if array.shards is None else ("c",)
    counts = (range(-(-n // o)) for n, o in zip(array.shape, outer, strict=True))
    return {array.separator.join(map(str, (*prefix, *index))) for index in product(*counts)}
