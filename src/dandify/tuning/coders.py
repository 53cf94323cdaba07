"""Coders: one chunk of values to the bytes that are stored and back, for everything that is measured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from dandify.store.encode import Bytes, CodecDecoder, Decoder, Encoder, PlainGunzip
from dandify.store.frames import BLOSC_FILTER, ZSTD_FILTER, Blosc, PluginDecoder, Zstd
from dandify.store.zarr_image import BloscCodec


class Coder(Protocol):
    """Encodes contiguous chunks of any shape, and decodes them; safe from any thread."""

    def encode(self, values: NDArray[Any]) -> bytes:
        """Give the bytes that would be stored."""

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Give the values of a chunk."""


@dataclass(frozen=True)
class EngineCoder:
    """An encoder of the engine, and a decoder that shares no code with it where there are several.

    Parameters
    ----------
    encoder
        As `convert` uses it.
    backend
        ``hdf5``, or anything else for Zarr.
    """

    encoder: Encoder
    backend: str

    def encode(self, values: NDArray[Any]) -> bytes:
        """Encode a chunk."""
        return self.encoder.encode(raw_of(values), values.dtype.itemsize)

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Decode a chunk."""
        out = np.empty(shape, dtype)
        self._decoder.decode(payload, dtype.itemsize, out.reshape(-1).view(np.uint8))
        return out

    @property
    def _decoder(self) -> Decoder:
        encoder: Any = self.encoder
        if self.backend != "hdf5":
            return CodecDecoder(encoder.codec)
        if isinstance(encoder, Zstd):
            return PluginDecoder(ZSTD_FILTER, encoder.shuffled)
        if isinstance(encoder, Blosc):
            return PluginDecoder(BLOSC_FILTER, shuffled=False)
        return PlainGunzip(bool(encoder.shuffled)).unlike(getattr(encoder, "library", ""))


@dataclass(frozen=True)
class FilterCoder:
    """A filter of HDF5 that a plugin brings, by HDF5 itself: a file in memory is written, and its chunk taken out.

    HDF5 has one lock for all threads, so that several encode no faster than one: so would anybody who writes by it.

    Parameters
    ----------
    options
        Of `h5py.Group.create_dataset`: ``compression``, ``compression_opts``, ``shuffle``.
    """

    options: dict[str, Any] = field(hash=False)

    def encode(self, values: NDArray[Any]) -> bytes:
        """Encode a chunk."""
        with self._dataset(values.shape, values.dtype) as data:
            data[...] = values
            return bytes(data.id.read_direct_chunk((0,) * values.ndim)[1])

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Decode a chunk."""
        with self._dataset(shape, dtype) as data:
            data.id.write_direct_chunk((0,) * len(shape), payload)
            return np.asarray(data[...])

    def _dataset(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Scratch:
        return _Scratch(shape, dtype, self.options)


class _Scratch:
    """A dataset of one chunk, in a file in memory of its own."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], options: dict[str, Any]) -> None:
        name = f"tuning-{threading.get_ident()}"
        self._file = h5py.File(name, "w", driver="core", backing_store=False, rdcc_nbytes=0)
        self._data = self._file.create_dataset("data", shape, dtype, chunks=shape, **options)

    def __enter__(self) -> Any:
        return self._data

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass(frozen=True)
class NumcodecsCoder:
    """Filters and a codec of numcodecs, as a Zarr v2 array declares them.

    Parameters
    ----------
    filters
        Applied in order to the values.
    codec
        Applied last.
    """

    filters: tuple[Any, ...]
    codec: Any

    def encode(self, values: NDArray[Any]) -> bytes:
        """Encode a chunk."""
        for one in self.filters:
            values = one.encode(values)
        return bytes(self.codec.encode(np.ascontiguousarray(values)))

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Decode a chunk."""
        values: Any = self.codec.decode(payload)
        for one in reversed(self.filters):
            values = one.decode(values)
        return np.frombuffer(np.ascontiguousarray(values), dtype).reshape(shape)


@dataclass(frozen=True)
class PixelCoder:
    """The codec of an OME-Zarr's chunks, as the writer of images uses it.

    Parameters
    ----------
    codec
        Of the array.
    """

    codec: BloscCodec

    def encode(self, values: NDArray[Any]) -> bytes:
        """Encode a chunk."""
        return self.codec.encode(np.ascontiguousarray(values))

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Decode a chunk."""
        return np.frombuffer(self.codec.decode(payload), dtype).reshape(shape)


@dataclass(frozen=True)
class ImageCoder:
    """A codec of images, sound or numbers, fed with native values in two axes.

    Codecs of images know unsigned integers only, those of sound signed ones: others are moved by half their range,
    exactly. Big-endian values are swapped.

    Parameters
    ----------
    press, release
        Encode an array, and decode bytes to one.
    channel_major
        Each channel's samples one after another, which is how a signal looks most like an image.
    kind
        Of integers that it takes: ``u`` or ``i``; both if empty.
    """

    press: Callable[[NDArray[Any]], bytes]
    release: Callable[[bytes, tuple[int, ...], np.dtype[Any]], NDArray[Any]]
    channel_major: bool = False
    kind: str = "u"

    def encode(self, values: NDArray[Any]) -> bytes:
        """Encode a chunk."""
        return self.press(self._image(values))

    def decode(self, payload: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Decode a chunk."""
        native = self._native(dtype)
        rows, columns = _two(shape)
        lain = (columns, rows) if self.channel_major else (rows, columns)
        image = np.asarray(self.release(payload, lain, native)).reshape(lain)
        if image.dtype != native:
            raise ValueError(f"decodes to {image.dtype}, and {native} was encoded")
        if self.channel_major:
            image = image.T
        if native.kind != dtype.kind:
            image = _moved(image).view(dtype.newbyteorder("="))
        return np.ascontiguousarray(image.reshape(shape), dtype)

    def _image(self, values: NDArray[Any]) -> NDArray[Any]:
        native = self._native(values.dtype)
        plain = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        if native.kind != plain.dtype.kind:
            plain = _moved(plain).view(native)
        image = plain.reshape(_two(values.shape))
        return np.ascontiguousarray(image.T if self.channel_major else image)

    def _native(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        native = dtype.newbyteorder("=")
        return np.dtype(f"{self.kind}{dtype.itemsize}") if self.kind and native.kind in "iu" else native


def raw_of(values: NDArray[Any]) -> Bytes:
    """Bytes of contiguous values."""
    return values.reshape(-1).view(np.uint8)


def pieces_of(chunks: Sequence[NDArray[Any]]) -> list[Bytes]:
    """Bytes of several chunks."""
    return [raw_of(chunk) for chunk in chunks]


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of an image that a chunk is laid out as: its last axis, and all others."""
    columns = shape[-1] if len(shape) > 1 else 1
    return int(np.prod(shape)) // max(1, columns), columns


def _moved(values: NDArray[Any]) -> NDArray[Any]:
    """Flip the highest bit: half the range is added, or taken away again."""
    plain = values.view(f"u{values.itemsize}")
    moved: NDArray[Any] = plain ^ plain.dtype.type(1 << (8 * plain.itemsize - 1))
    return moved
