"""OME-Zarr that is there already, of any writer: to be written again with other chunks, levels or another version."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.sources import Array, Converter, Source, Stream, Verdict
from dandify.sources.derived import in_order
from dandify.sources.microscopy import ImageSource, common_sizes, needs_of
from dandify.sources.vendors.ome_zarr_groups import (
    DOCUMENTS,
    ZarrImage,
    describes_images,
    documents_of,
    images_in,
    labels_in,
    stated_version,
)
from dandify.store.region import Region

_SUFFIX = ".zarr"
_AGAIN = "copy the folder again, or compare it with its source; `dandify validate` names every damaged file"
_DOCUMENT = "mend the document of the array (.zarray, zarr.json), or write the image again with the tool that made it"


@dataclass(frozen=True, eq=False)
class ZarrArray(Array):
    """An array of a Zarr folder, version 2 or 3, read by TensorStore.

    Parameters
    ----------
    path
        Folder of the array.
    shape, dtype
        Of the array.
    block
        What is decoded at one go: a chunk, of a shard one of its inner chunks.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> ZarrArray:
        """Read the array's document.

        Raises
        ------
        dandify.errors.BadSource
            If it is missing, damaged, or describes what TensorStore cannot read.
        """
        try:
            store = _store(path)
        except ValueError as error:
            wrong = "Error parsing" in str(error)
            remedy = _DOCUMENT if wrong else _AGAIN
            raise BadSource(f"no array that can be read: {_essence(error)}", file=path, remedy=remedy) from None
        shape = tuple(int(n) for n in store.shape)
        chunk = store.chunk_layout.read_chunk.shape or shape
        block = tuple(max(1, min(int(c), n)) for c, n in zip(chunk, shape, strict=True))
        return cls(path, shape, np.dtype(store.dtype.numpy_dtype), block)

    def read(self, region: Region) -> NDArray[Any]:
        """Read a region; chunks that are not stored have the fill value, as Zarr says.

        Raises
        ------
        dandify.errors.BadSource
            If a chunk is damaged.
        """
        try:
            return np.asarray(_store(self.path)[region].read().result())
        except ValueError as error:
            raise BadSource(f"cannot be decoded: {_essence(error)}", file=self.path, remedy=_AGAIN) from None


class OmeZarr(Converter):
    """OME-Zarr images, collections and plates."""

    name = "ome_zarr"
    title = "OME-Zarr"
    patterns = ("*.zarr",)
    looks_like = "a folder NAME.ome.zarr or NAME.zarr, version 0.1 to 0.5: an image, a collection, or a plate"
    becomes = "a new OME-Zarr image for each image in it, with a pyramid of its own"

    def claim(self, path: Path) -> Path | None:
        """Return the outermost folder of that suffix in which a file lies, or that it is."""
        found = [p for p in (path, *path.parents) if p.name.lower().endswith(_SUFFIX)]
        return found[-1] if found else None

    def identify(self, path: Path) -> Verdict:
        """Look at the attributes of the root group."""
        if not path.is_dir():
            return Verdict(False, "is no folder")
        kind = describes_images(path)
        if kind is None and (version := stated_version(path)):
            return Verdict(False, f"is OME-Zarr {version}, and its root group describes no image, plate or collection")
        return Verdict(kind is not None, f"is {kind}" if kind else "its root group describes no OME-Zarr")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the documents of groups and arrays; no chunks."""
        path = Path(os.path.abspath(path))
        if options:
            raise BadRequest(f"an OME-Zarr has no option {', '.join(options)}", file=path)
        try:
            images = list(images_in(path))
        except ValueError as error:
            raise BadSource(str(error), file=path, remedy="`dandify validate` says what is wrong with it") from None
        except OSError as error:
            raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
        if not images:
            raise BadSource("has no image in it", file=path)
        problems: list[str] = []
        streams = _distinct([_stream(image, len(images), path, problems) for image in images])
        facts: dict[str, Any] = {}
        if sizes := common_sizes(streams):
            facts["pixel_size_um"] = sizes
        times = {s.scale.get("t") for s in streams}
        if len(times) == 1 and (time := times.pop()):
            facts["time_increment_s"] = time
        names = {tuple(c.name for c in s.channels) for s in streams} - {()}
        if len(names) == 1:
            facts["channel_names"] = names.pop()
        return ImageSource(
            format=self.name, path=path, files=documents_of(path, images), streams=tuple(streams), facts=facts,
            needs=needs_of(streams, path), problems=tuple(problems), axes_stated=True,
        )  # fmt: skip


def _stream(image: ZarrImage, count: int, path: Path, problems: list[str]) -> Stream:
    array = ZarrArray.open(image.array)
    if len(image.axes) != array.ndim:
        raise BadSource(
            f"states the axes {' '.join(image.axes)}, its array has the shape {array.shape}", file=path,
            place=image.place or None, remedy="`dandify validate` says what is wrong with it",
        )  # fmt: skip
    name = image.place.replace("/", "_") if count > 1 else image.name.rpartition("/")[2] or path.name.split(".")[0]
    # An axis of one step stays if it is measured: who reads five axes goes on finding five.
    ordered, axes = in_order(array, image.axes, ("c", "y", "x", *image.scale))
    colours = dict(zip(axes, ordered.shape, strict=True)).get("c", 1)
    channels = image.channels
    if channels and len(channels) != colours:
        problems.append(f"{name}: describes {len(channels)} channels and has {colours}; the descriptions are left out")
        channels = ()
    if not _has_chunks(image.array):
        problems.append(f"{name}: no chunk of it is stored, so that all values are the fill value")
    if labels := labels_in(image.group):
        first = (image.group / "labels" / labels[0]).as_posix()
        problems.append(
            f"{name}: its labels ({', '.join(labels)}) stay behind; dandify labels NEW.ome.zarr {labels[0]}={first} "
            "adds them to the new image"
        )
    return Stream(
        name=name, kind="Image", axes=axes, array=ordered, scale={a: v for a, v in image.scale.items() if a in axes},
        origin={a: v for a, v in image.origin.items() if a in axes}, channels=channels,
    )  # fmt: skip


def _has_chunks(folder: Path) -> bool:
    """Whether anything but documents lies in an array's folder."""
    return any(name not in DOCUMENTS for _, _, names in os.walk(folder) for name in names)


def _distinct(streams: list[Stream]) -> list[Stream]:
    names = [s.name for s in streams]
    return [replace(s, name=f"{s.name}_{i}" if names.count(s.name) > 1 else s.name) for i, s in enumerate(streams)]


def _store(folder: Path) -> Any:
    """Open an array; TensorStore reads its document again, and holds no file."""
    import tensorstore

    spec = {
        "driver": "zarr3" if (folder / "zarr.json").is_file() else "zarr",
        "kvstore": {"driver": "file", "path": f"{folder.as_posix()}/"},
        "context": {"cache_pool": {"total_bytes_limit": 0}},
    }
    return tensorstore.open(spec, open=True, read=True).result()


def _essence(error: ValueError) -> str:
    """Keep of TensorStore's long messages what it found."""
    text = str(error).split(" [tensorstore_spec")[0].split(" [source locations")[0]
    for document in ('zarr.json": ', '.zarray": '):
        text = text.rpartition(document)[2]
    return " ".join(text.split()) or "ValueError"


converter = OmeZarr()
