"""Compressions by name, for HDF5 and Zarr: what encodes, what the file declares, and who cannot read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import h5py

from dandify.errors import BadRequest
from dandify.store.choose import OBJECTIVES, choose_encoder
from dandify.store.deflate import Libdeflate, Planar, ZlibNg
from dandify.store.encode import Bytes, Encoder, ShuffleGzip
from dandify.store.frames import BLOSC_FILTER, DECLARED_LEVEL, ZSTD_FILTER, Blosc, ZarrCodec, ZarrGzip, Zstd

_BLOSC_CODES = MappingProxyType({"lz4": 1, "zstd": 5})  # BLOSC_LZ4, BLOSC_ZSTD of blosc.h
DEFAULTS = MappingProxyType({"hdf5": "gzip", "zarr": "blosc-zstd"})
_EXACT: MappingProxyType[str, Callable[[bool], Encoder]] = MappingProxyType({
    "gzip:isal": lambda shuffled: ShuffleGzip(shuffled=shuffled),
    "gzip:planar": lambda shuffled: Planar(shuffled=shuffled),
    "gzip:planar-thorough": lambda shuffled: Planar(shuffled=shuffled, thorough=True),
    "gzip:libdeflate-1": lambda shuffled: Libdeflate(1, shuffled),
    "gzip:libdeflate-6": lambda shuffled: Libdeflate(6, shuffled),
    "gzip:libdeflate-9": lambda shuffled: Libdeflate(9, shuffled),
    "gzip:zlib-ng-2": lambda shuffled: ZlibNg(2, shuffled),
})  # fmt: skip
_BLOSC = MappingProxyType({
    "blosc-zstd": Blosc("zstd", 1),
    "blosc-zstd-3": Blosc("zstd", 3),
    "blosc-zstd-5": Blosc("zstd", 5),
    "blosc-zstd-bytes": Blosc("zstd", 1, bits=False),
    "blosc-lz4": Blosc("lz4", 5),
    "blosc-lz4-bytes": Blosc("lz4", 5, bits=False),
})  # fmt: skip
PLAIN = "-plain"  # behind the name of an exact encoder: bytes are not shuffled before
COMPRESSIONS = MappingProxyType({
    "hdf5": (*OBJECTIVES, *_EXACT, *(name + PLAIN for name in _EXACT), "zstd", *_BLOSC),
    "zarr": (*_BLOSC, "zstd", "gzip"),
})  # fmt: skip
"""Names by backend. ``gzip``, ``gzip:fast`` and ``gzip:small`` choose an encoder by measuring, the others name one."""

_NO_PLUGIN = (
    "MATLAB and MatNWB, HDF5's own tools (h5dump), and pynwb, NWB Inspector and dandi as they are installed cannot "
    "read it without a plugin (pip install hdf5plugin, and import it; HDF5_PLUGIN_PATH elsewhere); Neurosift and other "
    "readers in a browser (h5wasm) show wrong numbers and no error"
)
_READERS = MappingProxyType({
    **dict.fromkeys((("hdf5", name) for name in ("zstd", *_BLOSC)), _NO_PLUGIN),
    ("zarr", "zstd"): "readers by way of LINDI (Neurosift) decode Blosc and gzip only",
})  # fmt: skip


class ReadersWarning(UserWarning):
    """Some programs will not be able to read an output."""


def who_cannot_read(backend: str, compression: str | None) -> str | None:
    """Say who cannot read an output; None where everybody who reads the backend can.

    Parameters
    ----------
    backend
        ``hdf5`` or ``zarr``.
    compression
        A name of `COMPRESSIONS`; None for the default.
    """
    found = _READERS.get((backend, compression or DEFAULTS[backend]))
    return f"{compression} in {'HDF5' if backend == 'hdf5' else 'Zarr'}: {found}" if found else None


def require_compression(backend: str, compression: str | None) -> str:
    """Give the name of a compression that the backend has.

    Raises
    ------
    BadRequest
        If it has no such.
    """
    name = compression or DEFAULTS[backend]
    if name not in COMPRESSIONS[backend]:
        raise BadRequest(
            f"no compression {name!r} for backend {backend}", remedy=f"one of {', '.join(COMPRESSIONS[backend])}"
        )
    return name


def compression_of_filter(number: object, options: Sequence[int] | int | None) -> str | None:
    """Name the compression that an HDF5 filter stands for, as h5py takes it; None for what dandify does not encode.

    Parameters
    ----------
    number
        ``gzip``, or the number of a filter plugin.
    options
        Of the filter.
    """
    if number == "gzip" or (isinstance(number, int) and number < 10):  # the number is gzip's level then
        return DEFAULTS["hdf5"]
    if number == ZSTD_FILTER:
        return "zstd"
    if number == BLOSC_FILTER and isinstance(options, Sequence) and len(options) > 6:
        inner = {code: name for name, code in _BLOSC_CODES.items()}.get(options[6])
        return f"blosc-{inner}" if inner else None
    return None


def encoder_for(backend: str, compression: str, itemsize: int, pieces: Callable[[], Sequence[Bytes]]) -> Encoder:
    """Give what encodes a dataset.

    Parameters
    ----------
    backend, compression
        See `COMPRESSIONS`.
    itemsize
        Bytes of a value.
    pieces
        Gives raw pieces of the dataset, where something is to be chosen by measuring.
    """
    if backend == "hdf5" and compression in OBJECTIVES:
        return choose_encoder(pieces(), itemsize, compression)
    if compression.startswith("gzip:"):
        encoder = _EXACT[compression.removesuffix(PLAIN)](not compression.endswith(PLAIN))
        return encoder.learnt(pieces(), itemsize) if isinstance(encoder, Planar) else encoder
    if compression == "gzip":
        return ZarrGzip()
    if compression in _BLOSC:
        return _BLOSC[compression]
    if backend == "zarr" or itemsize == 1:
        return Zstd()
    sample = pieces()
    return min(
        (Zstd(shuffled=True), Zstd(shuffled=False)), key=lambda e: sum(len(e.encode(p, itemsize)) for p in sample)
    )


@dataclass(frozen=True)
class Declared:
    """What an HDF5 dataset says of its chunks.

    Attributes
    ----------
    compression
        ``gzip``, or the number of a filter.
    options
        Of the filter.
    shuffled
        HDF5's shuffle filter comes before.
    """

    compression: str | int
    options: int | tuple[int, ...]
    shuffled: bool

    def apply(self, plist: Any) -> None:
        """Add the filters to a dataset creation property list."""
        if self.shuffled:
            plist.set_shuffle()
        if isinstance(self.options, int):
            plist.set_deflate(self.options)
        else:
            plist.set_filter(self.compression, 0, self.options)


def declared(encoder: Encoder) -> Declared:
    """Give what an HDF5 dataset must declare for an encoder's chunks to be read.

    HDF5 asks for a filter to be there when a dataset is made that declares it; hdf5plugin brings them.

    Raises
    ------
    BadRequest
        If the plugin is missing.
    """
    if isinstance(encoder, Zstd):
        found = Declared(ZSTD_FILTER, (encoder.level,), encoder.shuffled)
    elif isinstance(encoder, Blosc):
        # the first four are filled in by the filter itself: versions, size of a value and of a chunk
        shuffle = 2 if encoder.bits else 1
        found = Declared(BLOSC_FILTER, (0, 0, 0, 0, encoder.level, shuffle, _BLOSC_CODES[encoder.inner]), False)
    else:
        return Declared("gzip", DECLARED_LEVEL, bool(getattr(encoder, "shuffled", False)))
    from dandify.store.hdf5_read import load_plugins

    load_plugins()
    if not h5py.h5z.filter_avail(found.compression):
        raise BadRequest(f"the HDF5 filter of {encoder.name} is not installed", remedy="pip install hdf5plugin")
    return found


def zarr_codec(encoder: Encoder) -> Any:
    """Give the numcodecs codec that a Zarr array must declare for an encoder's chunks to be read."""
    assert isinstance(encoder, (Blosc, Zstd, ZarrGzip, ZarrCodec))  # what `encoder_for` gives for Zarr
    return encoder.codec
