"""Codecs that are candidates: their names, who can read them, what they usually take, and how they are made."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.store.compression import PLAIN, encoder_for
from dandify.store.encode import Bytes
from dandify.store.frames import blosc_block
from dandify.store.zarr_image import COMPRESSIONS as IMAGE_COMPRESSIONS
from dandify.store.zarr_image import WORTH_BYTES, BloscCodec, bits_pay
from dandify.tuning.coders import Coder, EngineCoder, FilterCoder, ImageCoder, NumcodecsCoder, PixelCoder, pieces_of
from dandify.tuning.readers import Readers, allowed, readers_of

Make = Callable[[Sequence[NDArray[Any]]], Coder]
"""Makes a coder for chunks like these."""


@dataclass(frozen=True)
class Codec:
    """A way to encode chunks.

    Attributes
    ----------
    key
        Unique among those of a backend.
    title
        Filters and encoder, in words.
    group
        Who can read it, see `dandify.tuning.readers`.
    encode_mbs, decode_mbs
        Raw megabytes a second of one core that are usual on 16-bit recordings; measured on two cores of an AMD EPYC.
        Choices are made by these, as long as measurements are within a factor of two of them.
    make
        Makes its coder.
    compression
        Name by which `convert` writes it; None if it does not.
    package
        What pip must install for it, where that is not a dependency of dandify.
    signals_only
        Of no use for frames.
    """

    key: str
    title: str
    group: str
    encode_mbs: float
    decode_mbs: float
    make: Make
    compression: str | None = None
    package: str | None = None
    signals_only: bool = False

    @property
    def missing(self) -> str | None:
        """Say how to get the package that it needs; None if nothing is missing."""
        return _missing(self.package) if self.package else None

    def readers(self, backend: str) -> Readers:
        """Who can and who cannot read it."""
        return readers_of(backend, self.group, self.package or _PACKAGES.get(self.key.split(":")[0]))


@cache
def _missing(package: str) -> str | None:
    module = package.replace("-", "_")
    if find_spec(module) is None:
        return f"pip install {package}"
    try:
        import_module(module)
    except (ImportError, OSError) as error:  # such as a library of the system that it needs
        return f"{package} is installed, but cannot be loaded: {error}"
    return None


REFERENCE = "gzip:isal"  # of HDF5: how fast this machine is, is told by it
USUAL = "zlib-4"
_PACKAGES = {"imagecodecs": "imagecodecs"}

# Title, and MB/s of encoding and decoding: shuffled and not.
_GZIP: dict[str, tuple[str, tuple[float, float], tuple[float, float]]] = {
    "gzip:isal": ("gzip (ISA-L 1)", (450, 310), (600, 400)),
    "gzip:planar": ("gzip (planar)", (400, 220), (450, 350)),
    "gzip:planar-thorough": ("gzip (planar, thorough)", (100, 100), (450, 350)),
    "gzip:libdeflate-1": ("gzip (libdeflate 1)", (185, 150), (600, 400)),
    "gzip:libdeflate-6": ("gzip (libdeflate 6)", (95, 82), (600, 400)),
    "gzip:libdeflate-9": ("gzip (libdeflate 9)", (25, 20), (600, 400)),
    "gzip:zlib-ng-2": ("gzip (zlib-ng 2)", (112, 100), (600, 400)),
}
_BLOSC: dict[str, tuple[str, float, float]] = {
    "blosc-zstd": ("Blosc (Zstd 1), bit shuffle", 540, 900),
    "blosc-zstd-3": ("Blosc (Zstd 3), bit shuffle", 380, 900),
    "blosc-zstd-5": ("Blosc (Zstd 5), bit shuffle", 210, 900),
    "blosc-zstd-bytes": ("Blosc (Zstd 1), byte shuffle", 500, 900),
    "blosc-lz4": ("Blosc (LZ4 5), bit shuffle", 1200, 1800),
    "blosc-lz4-bytes": ("Blosc (LZ4 5), byte shuffle", 900, 1800),
}

_FEW_CHUNKS = 4  # on which it is decided whether bytes or bits are shuffled
_IMAGE_SPEEDS = {
    "blosc-zstd": (500, 900), "blosc-lz4": (900, 1800), "blosc-zstd-5": (200, 900), "blosc-zstd-bits": (540, 900),
}  # fmt: skip


def codecs_for(
    backend: str, readers: str, dtype: np.dtype[Any], *, signals: bool, raw_bytes: int = WORTH_BYTES
) -> tuple[Codec, ...]:
    """Give the codecs of a backend that the readers asked for can decode, those with missing packages too.

    Parameters
    ----------
    backend
        ``hdf5``, ``zarr`` or ``ome-zarr``.
    readers
        ``any``, ``plugins`` or ``python``.
    dtype
        Of the values.
    signals
        They are signals, not frames.
    raw_bytes
        Of all values: of small images, the writer takes no samples to see whether bits are better sorted.
    """
    if backend == "ome-zarr":
        found = _ome_zarr(dtype, sampled=raw_bytes >= WORTH_BYTES)
    else:
        found = {"hdf5": _hdf5, "zarr": _zarr}[backend](dtype)
    return tuple(c for c in found if allowed(c.group, readers) and (signals or not c.signals_only))


def usual_codec() -> Codec:
    """Give what neuroconv writes when nobody configures it: zlib at level 4, bytes as they are."""
    return Codec(USUAL, "gzip (zlib 4)", "any", 42, 350, lambda _: EngineCoder(_Zlib(), "hdf5"))


@dataclass(frozen=True)
class _Zlib:
    shuffled: bool = False
    library: str = "zlib"
    name: str = "gzip (zlib 4)"

    def encode(self, raw: Bytes, itemsize: int) -> bytes:
        return zlib.compress(raw.data, 4)


def _engine(backend: str, compression: str) -> Make:
    def make(chunks: Sequence[NDArray[Any]]) -> Coder:
        pieces = pieces_of(chunks)
        encoder = encoder_for(backend, compression, chunks[0].dtype.itemsize, lambda: pieces)
        return EngineCoder(encoder, backend)

    return make


def _hdf5(dtype: np.dtype[Any]) -> Iterator[Codec]:
    for key, (title, encode, decode) in _GZIP.items():
        for k, end in enumerate(("", PLAIN)):
            if dtype.itemsize == 1 and not end:
                continue  # there is nothing to shuffle
            shuffle = "" if end else ", byte shuffle"
            yield Codec(key + end, title + shuffle, "any", encode[k], decode[k], _engine("hdf5", key + end), key + end)
    yield Codec("zstd", "Zstd 3", "plugins", 300, 800, _engine("hdf5", "zstd"), "zstd")
    for key, (title, fast, back) in _BLOSC.items():
        yield Codec(key, title, "plugins", fast, back, _engine("hdf5", key), key)
    yield from _filters()


def _filters() -> Iterator[Codec]:
    """Give filters of hdf5plugin that `convert` does not write."""
    filters: dict[str, tuple[str, Callable[[Any], Any], float, float]] = {
        "blosc2-zstd": ("Blosc2 (Zstd 1), bit shuffle", _blosc2, 450, 800),
        "lz4": ("byte shuffle, LZ4", lambda p: {**p.LZ4(), "shuffle": True}, 500, 900),
        "bitshuffle-lz4": ("bit shuffle, LZ4", lambda p: p.Bitshuffle(cname="lz4"), 700, 1000),
        "bitshuffle-zstd": ("bit shuffle, Zstd 1", lambda p: p.Bitshuffle(cname="zstd", clevel=1), 350, 800),
    }
    for key, (title, options, fast, back) in filters.items():
        yield Codec(key, title, "plugins", fast, back, partial(_filter, options), None, "hdf5plugin")


def _blosc2(plugins: Any) -> Any:
    return plugins.Blosc2(cname="zstd", clevel=1, filters=plugins.Blosc2.BITSHUFFLE)


def _filter(options: Callable[[Any], Any], _: object) -> Coder:
    return FilterCoder(dict(options(import_module("hdf5plugin"))))


def _zarr(dtype: np.dtype[Any]) -> Iterator[Codec]:
    for key, (title, fast, back) in _BLOSC.items():
        yield Codec(key, title, "any", fast, back, _engine("zarr", key), key)
    yield Codec("gzip", "gzip (ISA-L 1)", "any", 310, 400, _engine("zarr", "gzip"), "gzip")
    yield Codec("zstd", "Zstd 3", "plugins", 140, 700, _engine("zarr", "zstd"), "zstd")
    yield from _python(dtype)


def _ome_zarr(dtype: np.dtype[Any], *, sampled: bool) -> Iterator[Codec]:
    for key in IMAGE_COMPRESSIONS:
        codec = BloscCodec.named(key, dtype.itemsize)
        either = ", bytes or bits shuffled" if sampled else ", byte shuffle"
        shuffled = {"noshuffle": "", "shuffle": either, "bitshuffle": ", bit shuffle"}[codec.shuffle]
        title = f"Blosc ({'Zstd' if codec.inner == 'zstd' else 'LZ4'} {codec.level}){shuffled}"
        yield Codec(key, title, "any", *_IMAGE_SPEEDS[key], partial(_image_blosc, key, sampled), key)
    yield Codec("gzip", "gzip (ISA-L 1)", "any", 310, 400, _engine("zarr", "gzip"))
    yield Codec("zstd", "Zstd 3", "plugins", 140, 700, _engine("zarr", "zstd"))
    yield from _python(dtype)


def _blosc(inner: str, level: int, shuffle: int) -> tuple[str, dict[str, Any]]:
    """Name and configuration of Blosc as numcodecs takes it, in the blocks that the engine asks for."""
    return "Blosc", {"cname": inner, "clevel": level, "shuffle": shuffle, "blocksize": blosc_block(inner)}


def _image_blosc(key: str, sampled: bool, chunks: Sequence[NDArray[Any]]) -> Coder:
    """Choose between bytes and bits as the writer of images does, by pieces, if it does."""
    bits = sampled and bits_pay([np.ascontiguousarray(chunk) for chunk in chunks[:_FEW_CHUNKS]], key)
    return PixelCoder(BloscCodec.named(key, chunks[0].dtype.itemsize, bits=bits))


def _python(dtype: np.dtype[Any]) -> Iterator[Codec]:
    """Give what numcodecs and imagecodecs add for those who read by Python."""
    if dtype.kind in "iu":
        little = dtype.newbyteorder("=").str
        delta = ("Delta", {"dtype": little})
        yield Codec("delta-blosc-zstd", "delta, Blosc (Zstd 1), bit shuffle", "numcodecs", 300, 400,
                    partial(_numcodecs, _blosc("zstd", 1, 2), (delta,)))  # fmt: skip
    if dtype.kind in "iuf" and dtype.itemsize in (2, 4, 8):
        for major in (False, True):
            yield _image("pcodec", "pcodec 8", major, 110, 300, _pcodec, kind="")
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        for major in (False, True):
            yield _image("jpegxl", "JPEG-XL, lossless, effort 1", major, 650, 200, _jpegxl)
            yield _image("jpegls", "JPEG-LS, lossless", major, 100, 110, _jpegls)
            yield _image("htj2k", "HTJ2K, reversible", major, 190, 300, _htj2k)
    for major in (False, True):
        where, end = (", channel-major", ":channels") if major else ("", "")
        if dtype.kind in "iu" and dtype.itemsize == 2:  # all that flac-numcodecs takes
            yield Codec(f"flac{end}", f"FLAC 5{where}", "python", 125, 190, partial(_flac, major), None,
                        "flac-numcodecs", signals_only=True)  # fmt: skip
        if (dtype.kind in "iu" and dtype.itemsize <= 4) or dtype.newbyteorder("=") == np.float32:
            yield Codec(f"wavpack{end}", f"WavPack 2{where}", "python", *((66, 66) if major else (39, 70)),
                        partial(_wavpack, major), None, "wavpack-numcodecs", signals_only=True)  # fmt: skip


def _image(
    name: str, title: str, major: bool, fast: float, back: float, calls: Callable[[], tuple[Any, Any]], *,
    kind: str = "u",
) -> Codec:  # fmt: skip
    def make(_: object) -> Coder:
        press, release = calls()
        return ImageCoder(press, release, major, kind)

    where = ", channel-major" if major else ""
    key = f"imagecodecs:{name}{':channels' if major else ''}"
    return Codec(key, title + where, "python", fast, back, make, None, "imagecodecs", signals_only=major)


def _jpegxl() -> tuple[Any, Any]:
    import imagecodecs

    return (lambda image: imagecodecs.jpegxl_encode(image, lossless=True, effort=1, numthreads=1),
            lambda payload, *_: imagecodecs.jpegxl_decode(payload, numthreads=1))  # fmt: skip


def _jpegls() -> tuple[Any, Any]:
    import imagecodecs

    return imagecodecs.jpegls_encode, lambda payload, *_: imagecodecs.jpegls_decode(payload)


def _htj2k() -> tuple[Any, Any]:
    import imagecodecs

    return imagecodecs.htj2k_encode, lambda payload, *_: imagecodecs.htj2k_decode(payload)


def _pcodec() -> tuple[Any, Any]:
    import imagecodecs

    return (lambda image: imagecodecs.pcodec_encode(image, level=8),
            lambda payload, shape, dtype: imagecodecs.pcodec_decode(payload, shape=shape, dtype=dtype))  # fmt: skip


def _numcodecs(codec: tuple[str, dict[str, Any]], filters: tuple[tuple[str, dict[str, Any]], ...], _: object) -> Coder:
    import numcodecs

    made = [getattr(numcodecs, name)(**options) for name, options in (*filters, codec)]
    return NumcodecsCoder(tuple(made[:-1]), made[-1])


def _flac(major: bool, _: object) -> Coder:
    return _sound(import_module("flac_numcodecs").Flac(level=5), major)


def _wavpack(major: bool, _: object) -> Coder:
    return _sound(import_module("wavpack_numcodecs").WavPack(level=2, num_decoding_threads=1), major)


def _sound(codec: Any, major: bool) -> Coder:
    """Give channels as they lie in a chunk, or one after another as a single one, of which all are predicted alike.

    FLAC takes one or two channels, and more as if they were one whose samples take turns.
    """

    def release(payload: bytes, _: object, dtype: np.dtype[Any]) -> NDArray[Any]:
        return np.frombuffer(np.ascontiguousarray(codec.decode(payload)), dtype)

    return ImageCoder(lambda image: codec.encode(image.reshape(-1) if major else image), release, major, "i")
