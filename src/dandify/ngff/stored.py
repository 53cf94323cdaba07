"""What lies in an OME-Zarr folder: its groups and arrays as their documents describe them, of either Zarr version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

_MOST_FILES: Final = 10**8  # of an array; DANDI's largest Zarrs have a few million
DOCUMENTS: Final = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})


@dataclass(frozen=True)
class StoredArray:
    """An array as its metadata describe it.

    Attributes
    ----------
    path
        Its folder.
    shape, dtype
        Of the array.
    outer
        Shape of what a file holds.
    inner
        Shape of what is encoded at one go: smaller than `outer` within shards.
    fill
        Value of what is not stored.
    prefix, separator
        Of the chunks' names; separator None where they follow a rule that is not known here.
    codec
        The last codec that a chunk goes through, ``blosc``; ``""`` for none.
    index_at_end, index_checksummed
        Of shards; None where their index is encoded in another way than usual.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    outer: tuple[int, ...]
    inner: tuple[int, ...]
    fill: Any
    prefix: tuple[str, ...]
    separator: str | None
    codec: str
    index_at_end: bool | None = None
    index_checksummed: bool = False

    @property
    def sharded(self) -> bool:
        """Files hold several chunks and an index."""
        return self.index_at_end is not None

    @property
    def slots(self) -> tuple[int, ...]:
        """Inner chunks of a shard along each axis."""
        return tuple(o // i for o, i in zip(self.outer, self.inner, strict=True))

    @property
    def plain(self) -> bool:
        """Its values are of a type that NumPy knows."""
        return raw_bytes(self) is not None

    @property
    def stored(self) -> bool:
        """There is a file of chunks."""
        return any((self.path / name).is_file() for name in self.files())

    def file_of(self, value: tuple[int, ...]) -> Path:
        """Give the file that holds a value, or would."""
        place = (str(v // o) for v, o in zip(value, self.outer, strict=True))
        return self.path / ((self.separator or "/").join((*self.prefix, *place)) or "0")

    def files(self) -> dict[str, tuple[int, ...]]:
        """Name within the folder, and place in the grid, of every file that can hold chunks."""
        counts = (range(-(-n // o)) for n, o in zip(self.shape, self.outer, strict=True))
        separator = self.separator or "/"
        return {separator.join((*self.prefix, *map(str, i))) or "0": i for i in product(*counts)}


@dataclass(frozen=True)
class StoredImage:
    """A group with multiscales.

    Attributes
    ----------
    path
        Its folder.
    metadata
        The OME metadata: of ``.zattrs``, or of ``zarr.json`` below ``ome``.
    attributes
        All of the group's attributes.
    """

    path: Path
    metadata: Mapping[str, Any]
    attributes: Mapping[str, Any]

    @property
    def metadata_version(self) -> str:
        """Version of OME-Zarr that it claims; empty if it says none."""
        first = self.metadata["multiscales"][0] if self.metadata["multiscales"] else {}
        return str(self.metadata.get("version") or (first.get("version") if isinstance(first, dict) else None) or "")

    @property
    def of_spatialdata(self) -> bool:
        """SpatialData wrote it, in its own dialect."""
        return self.metadata_version.endswith("-spatialdata")


def read_document(path: Path) -> dict[str, Any]:
    """Read a metadata document.

    Raises
    ------
    ValueError
        If it is no JSON object.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    return content


def attributes_of(document: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Read a group's document: its attributes, and those of them that are OME's, in 0.5 below ``ome``.

    Raises
    ------
    ValueError
        If it is no JSON object.
    """
    content = read_document(document)
    attributes = content.get("attributes") if document.name == "zarr.json" else content
    attributes = attributes if isinstance(attributes, dict) else {}
    ome = attributes.get("ome", attributes)
    return attributes, ome if isinstance(ome, dict) else {}


def image_of(document: Path) -> StoredImage | None:
    """Give the image that a group's document describes; None if it describes something else."""
    attributes, ome = attributes_of(document)
    return StoredImage(document.parent, ome, attributes) if isinstance(ome.get("multiscales"), list) else None


def array_of(document: Path) -> StoredArray | None:
    """Give the array that a document describes; None if it describes a group.

    Raises
    ------
    ValueError
        If the document is damaged.
    """
    content = read_document(document)
    try:
        if document.name != ".zarray" and content.get("node_type") != "array":
            return None
        found = (_v2 if document.name == ".zarray" else _v3)(document.parent, content)
        _require_lengths(found)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"no description of an array: {error!r}") from error
    return found


def _require_lengths(array: StoredArray) -> None:
    """Refuse lengths that none can be, before anything is counted by them."""
    for what, lengths, least in (("shape", array.shape, 0), ("chunks", array.outer, 1), ("chunks", array.inner, 1)):
        if not all(isinstance(n, int) and not isinstance(n, bool) and n >= least for n in lengths):
            raise ValueError(f"its {what}, {list(lengths)}, cannot be lengths")
        if len(lengths) != len(array.shape):
            raise ValueError(f"its shape has {len(array.shape)} axes, and its {what} have {len(lengths)}")
    files = prod(-(-n // o) for n, o in zip(array.shape, array.outer, strict=True))
    if files > _MOST_FILES:
        raise ValueError(f"its shape {list(array.shape)} and chunks {list(array.outer)} come to {files:,} files")


def _v2(folder: Path, content: Mapping[str, Any]) -> StoredArray:
    chunks = tuple(content["chunks"])
    compressor = content.get("compressor") or {}
    codec = "filters" if content.get("filters") and not compressor else compressor.get("id", "")
    return StoredArray(
        folder, tuple(content["shape"]), np.dtype(content["dtype"]).newbyteorder("=").name, chunks, chunks,
        content.get("fill_value") or 0, (), _separator(content.get("dimension_separator", ".")), codec,
    )  # fmt: skip


def _separator(stated: object) -> str:
    if stated not in ("/", "."):
        raise ValueError(f"the names of its chunks have the separator {stated!r}, and it is / or .")
    return str(stated)


def _v3(folder: Path, content: Mapping[str, Any]) -> StoredArray:
    outer = tuple(content["chunk_grid"]["configuration"]["chunk_shape"])
    encoding = content.get("chunk_key_encoding", {"name": "default"})
    separators = {"default": "/", "v2": "."}
    separator = encoding.get("configuration", {}).get("separator", separators.get(encoding["name"]))
    codecs: Sequence[Mapping[str, Any]] = content["codecs"]
    inner, at_end, checksummed = outer, None, False
    if codecs[0]["name"] == "sharding_indexed":
        sharding = codecs[0]["configuration"]
        inner = tuple(sharding["chunk_shape"])
        index = [c["name"] for c in sharding["index_codecs"]]
        if len(codecs) == 1 and index in (["bytes"], ["bytes", "crc32c"]):
            at_end, checksummed = sharding.get("index_location", "end") == "end", "crc32c" in index
        codecs = sharding["codecs"]
    last = codecs[-1]["name"]
    return StoredArray(
        folder, tuple(content["shape"]), str(content["data_type"]), outer, inner, content["fill_value"],
        () if encoding["name"] == "v2" else ("c",), _separator(separator) if encoding["name"] in separators else None,
        "" if last == "bytes" and len(codecs) == 1 else last, at_end, checksummed,
    )  # fmt: skip


def raw_bytes(array: StoredArray) -> int | None:
    """Size of a chunk that no codec makes smaller; None for types that NumPy does not know."""
    try:
        return prod(array.inner) * np.dtype(array.dtype).itemsize
    except TypeError:
        return None
