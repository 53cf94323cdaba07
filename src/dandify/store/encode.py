"""Encoders: one chunk of values to the bytes that are stored, and back by an independent decoder."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from isal import igzip_lib, isal_zlib
from numpy.typing import NDArray

from dandify.kernels.shuffle import shuffle, unshuffle

Bytes = NDArray[np.uint8]

_PIECE_BYTES = 262_144  # decoded at one time: the allocator gives larger blocks back, and to get new ones takes as long
_DAMAGED: Any = isal_zlib.error  # its stub says an instance
LIBRARIES = ("isal", "libdeflate", "zlib-ng")
"""That inflate."""


class Encoder(Protocol):
    """Turns the raw bytes of one full chunk into the bytes that are stored, without holding the GIL.

    Stateless and safe from any thread. What it makes must be legal for every reader of the declared filters.
    """

    @property
    def name(self) -> str:
        """In words, for the manifest."""

    def encode(self, raw: Bytes, itemsize: int) -> bytes:
        """Encode a chunk's values, (bytes,) contiguous, in C order."""


@runtime_checkable
class EncodesMany(Protocol):
    """An encoder that several chunks are better given to than one."""

    def encode_many(self, chunks: Bytes, itemsize: int) -> list[bytes]:
        """Encode chunks, (chunks, bytes) contiguous, each as `Encoder.encode` would."""


def encode_many(encoder: Encoder, chunks: Bytes, itemsize: int) -> list[bytes]:
    """Encode chunks, (chunks, bytes) contiguous, together where the encoder can."""
    if isinstance(encoder, EncodesMany):
        return encoder.encode_many(chunks, itemsize)
    return [encoder.encode(raw, itemsize) for raw in chunks]


def encoded_bytes(encoder: Encoder, pieces: Sequence[Bytes], itemsize: int) -> int:
    """Size that pieces, each (bytes,) and contiguous, become; those of equal length are encoded together."""
    lengths = {piece.size for piece in pieces}
    alike = ([piece for piece in pieces if piece.size == length] for length in sorted(lengths))
    return sum(len(payload) for some in alike for payload in encode_many(encoder, np.stack(some), itemsize))


class Decoder(Protocol):
    """Undoes what the file's own metadata say was done."""

    def decode(self, payload: bytes, itemsize: int, out: Bytes) -> None:
        """Decode a stored chunk into ``out``, (bytes,) contiguous.

        Raises
        ------
        ValueError
            If it cannot be decoded, or is not as long as ``out``.
        """


@dataclass(frozen=True)
class ShuffleGzip:
    """HDF5's shuffle and deflate filters: byte planes in one zlib stream, made by ISA-L.

    Parameters
    ----------
    shuffled
        Sort bytes into planes before. Of no use for single bytes.
    level
        ISA-L's, 0 to 3. It is not zlib's: 1 compresses int16 recordings as zlib's 4 does, ten times faster.
    """

    shuffled: bool = True
    level: int = 1
    library: ClassVar[str] = "isal"

    @property
    def name(self) -> str:
        """In words."""
        return f"{'shuffle+' if self.shuffled else ''}gzip (isal {self.level})"

    def encode(self, raw: Bytes, itemsize: int) -> bytes:
        """Encode a chunk."""
        if self.shuffled and itemsize > 1:
            planes = scratch("planes", raw.size)
            shuffle(raw, itemsize, planes)
            raw = planes
        return bytes(isal_zlib.compress(raw, self.level))


@dataclass(frozen=True)
class PlainGunzip:
    """Decodes shuffle and deflate.

    Parameters
    ----------
    shuffled, deflated
        What the file says was done.
    library
        One of `LIBRARIES`, see `unlike`.
    """

    shuffled: bool
    deflated: bool = True
    library: str = "isal"

    def decode(self, payload: bytes, itemsize: int, out: Bytes) -> None:
        """Decode a chunk."""
        shuffled = self.shuffled and itemsize > 1
        if self.deflated and self.library == "isal" and out.size > _PIECE_BYTES:
            planes = scratch("planes", out.size) if shuffled else out
            _inflate_pieces(payload, planes)
        else:
            plain = _inflate(self.library, payload, out.size) if self.deflated else payload
            _fit(len(plain), out)
            planes = np.frombuffer(plain, np.uint8)
            if not shuffled:
                out[...] = planes
        if shuffled:
            unshuffle(planes, itemsize, out)

    def unlike(self, library: str) -> PlainGunzip:
        """Give a decoder that shares no code with what encoded: ISA-L, the fastest, or libdeflate for ISA-L's own."""
        return replace(self, library="libdeflate" if library == "isal" else "isal")


@cache
def _inflater(library: str) -> tuple[Callable[[bytes, int], bytes], Any]:
    """Give what inflates a stream into so many bytes, and what it raises for a damaged one."""
    if library == "libdeflate":
        from deflate import DeflateError, zlib_decompress

        return zlib_decompress, DeflateError
    if library == "zlib-ng":
        from zlib_ng import zlib_ng

        return lambda payload, size: zlib_ng.decompress(payload, bufsize=max(1, size)), zlib_ng.error
    zlib_stream, bits = igzip_lib.DECOMP_ZLIB, zlib.MAX_WBITS
    return lambda payload, size: igzip_lib.decompress(payload, zlib_stream, bits, max(1, size)), _DAMAGED


def _inflate(library: str, payload: bytes, size: int) -> bytes:
    inflate, damaged = _inflater(library)
    try:
        return bytes(inflate(payload, size))
    except damaged as error:
        raise ValueError(str(error)) from error


def _inflate_pieces(payload: bytes, out: Bytes) -> None:
    """Inflate by ISA-L, some at a time."""
    stream = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB, zlib.MAX_WBITS)
    try:
        piece, filled = stream.decompress(payload, _PIECE_BYTES), 0
        while piece and filled + len(piece) <= out.size:
            _copy(piece, out[filled : filled + len(piece)])
            filled += len(piece)
            piece = b"" if stream.eof else stream.decompress(b"", _PIECE_BYTES)
    except _DAMAGED as error:
        raise ValueError(str(error)) from error
    _fit(filled + len(piece), out)
    if not stream.eof:
        raise ValueError("the stream has no end")


@dataclass(frozen=True)
class CodecDecoder:
    """Decodes by the codec that an array's metadata name; None for values stored as they are."""

    codec: Any

    def decode(self, payload: bytes, itemsize: int, out: Bytes) -> None:
        """Decode a chunk."""
        if self.codec is None:
            _copy(payload, out)
            return
        try:
            if self.codec.codec_id == "blosc":  # in place: for each chunk of some megabytes, new pages take as long
                _fit(int.from_bytes(payload[4:8], "little"), out)  # README_CHUNK_FORMAT of c-blosc
                self.codec.decode(payload, out)
            else:
                _copy(self.codec.decode(payload), out)
        except RuntimeError as error:  # Blosc's word for a damaged frame
            raise ValueError(str(error)) from error


def checksum(raw: Bytes) -> int:
    """CRC-32 of a chunk's values, padding included."""
    return int(isal_zlib.crc32(raw))


_local = threading.local()


def scratch(purpose: str, size: int) -> Bytes:
    """Give this thread's buffer for a purpose: a worker encodes thousands of chunks in the same pages."""
    buffer: Bytes | None = getattr(_local, purpose, None)
    if buffer is None or buffer.size < size:
        buffer = np.empty(size, np.uint8)
        setattr(_local, purpose, buffer)
    return buffer[:size]


def independent(decoder: Decoder, encoder: Encoder, payloads: Sequence[bytes], itemsize: int, size: int) -> Decoder:
    """Give a decoder that shares no code with the encoder; of several the one that takes the least time.

    ISA-L takes short codes by twos and threes, libdeflate is faster with long codes, zlib-ng with matches.

    Parameters
    ----------
    decoder
        What the file's metadata say.
    encoder
        What encoded.
    payloads
        Some chunks as stored.
    itemsize, size
        Bytes of an element, and of a chunk.
    """
    if not isinstance(decoder, PlainGunzip) or not decoder.deflated:
        return decoder
    own = str(getattr(encoder, "library", ""))
    best, least, out = decoder.unlike(own), float("inf"), np.empty(size, np.uint8)
    for other in (replace(decoder, library=library) for library in LIBRARIES if library != own):
        other.decode(zlib.compress(bytes(itemsize)), itemsize, out[:itemsize])  # what is loaded once does not count
        begun = time.thread_time()
        try:
            for payload in payloads:
                other.decode(payload, itemsize, out)
        except ValueError:  # damaged: who decodes it in earnest says where
            return best
        if (taken := time.thread_time() - begun) < least:
            best, least = other, taken
    return best


def _copy(values: bytes, out: Bytes) -> None:
    found = np.frombuffer(values, np.uint8)
    _fit(found.size, out)
    out[...] = found


def _fit(found: int, out: Bytes) -> None:
    if found != out.size:
        raise ValueError(f"{found} bytes, {out.size} expected")
