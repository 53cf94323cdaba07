"""The contract: Converter, Source, Stream, Array, and the stock arrays to build them from."""

from dandify.sources.arrays import (
    Concatenated,
    Cropped,
    HDF5Array,
    MemoryArray,
    NpyArray,
    RawArray,
    RecordArray,
)
from dandify.sources.contract import (
    FACTS,
    KINDS,
    Array,
    Channel,
    Column,
    Converter,
    NWBSource,
    Source,
    Stream,
    Verdict,
    Well,
)
from dandify.sources.strided import StridedFile
from dandify.sources.tiff import TiffPages

__all__ = [
    "FACTS",
    "KINDS",
    "Array",
    "Channel",
    "Column",
    "Concatenated",
    "Converter",
    "Cropped",
    "HDF5Array",
    "MemoryArray",
    "NWBSource",
    "NpyArray",
    "RawArray",
    "RecordArray",
    "Source",
    "Stream",
    "StridedFile",
    "TiffPages",
    "Verdict",
    "Well",
]
