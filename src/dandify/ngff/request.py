"""What writing and planning an image share: the image, its levels, its arrays, checked before any work."""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.kernels.md5 import LANES
from dandify.kernels.shrink import METHODS, Method
from dandify.ngff.image import ImageInput, describe_image
from dandify.ngff.levels import AXES, PyramidPlan, Shape5, kept_bytes, plan_pyramid, require_chunks
from dandify.ngff.metadata import VERSIONS, Version
from dandify.ngff.opened import open_image
from dandify.ngff.samples import bits_are_smaller
from dandify.sources.contract import Array, Channel, Stream
from dandify.store.memory import parse_bytes
from dandify.store.zarr_image import COMPRESSIONS, BloscCodec, ImageArray, shard_shape

SUFFIX: Final = ".ome.zarr"
SHARD_BYTES: Final = 256 * 2**20  # raw; encoded about half: what a failed upload sends again, far below DANDI's 5 GiB
LEAST_SHARD_BYTES: Final = 32 * 2**20  # raw, of shards that are kept small so that there are several side by side
_MOST_SLOTS: Final = 8192  # of the index of a shard of several time points, for a checksum taken in Python
MOST_SHARD_BYTES: Final = 5 * 2**30 - 2**24  # raw, of shards that are asked for: incompressible ones must fit too
SHALLOWER: Final = "as OME-Zarr 0.5, or by itself rather than in a collection"
MAX_DEPTH: Final = 7  # parts of a path within a Zarr that dandi 0.81 accepts


@dataclass(frozen=True)
class ImageRequest:
    """An image and how it is to be written.

    Attributes
    ----------
    image
        Values and what is known of them.
    title
        Name of the image.
    version, downsample, compression
        As asked for.
    plan
        Levels, and the way through memory.
    arrays
        One for each level.
    workers
        Encoding threads.
    files
        Raw files, where the image was given by its path.
    above
        Parts of the path to its group, within the Zarr.
    """

    image: ImageInput
    title: str
    version: Version
    downsample: Method
    compression: str
    plan: PyramidPlan
    arrays: tuple[ImageArray, ...]
    workers: int
    files: tuple[Path, ...] = ()
    above: int = 0

    @property
    def statistics(self) -> bool:
        """Its values have a display window."""
        return True

    @property
    def kept(self) -> tuple[int, ...]:
        """Places of the image's axes within t c z y x."""
        return tuple(i for i, axis in enumerate(AXES) if axis in self.image.axes)

    @property
    def depth(self) -> int:
        """Parts of the longest path of a chunk within the Zarr."""
        array = self.arrays[0]
        nested = (array.shards is not None) + len(array.shape)
        return self.above + 1 + (nested if array.separator == "/" else 1)

    def scale(self, number: int) -> list[float]:
        """Scale of a level, of the image's axes."""
        scale = self.plan.levels[number].scale(self.image.voxel)
        return [scale[i] for i in self.kept]

    def translation(self, number: int) -> list[float]:
        """Where a level lies, of the image's axes."""
        translation = self.plan.levels[number].translation(self.image.voxel, self.image.origin, self.downsample)
        return [translation[i] for i in self.kept]

    @property
    def room_bytes(self) -> int:
        """What is kept in a file while the image is written."""
        return kept_bytes(self.image.shape, self.image.dtype) if self.plan.keep == "file" else 0

    @property
    def all_bytes(self) -> int:
        """Size of the values of all levels."""
        return sum(math.prod(a.shape) for a in self.arrays) * self.image.dtype.itemsize


def request_image(
    image: Stream | Array | NDArray[Any] | Path | str,
    path: Path,
    *,
    axes: Sequence[str] | str | None,
    scale: Mapping[str, float] | None,
    channels: Sequence[Channel | str] | None,
    name: str | None,
    version: str,
    levels: int | Literal["auto"],
    chunks: Sequence[int] | None,
    shards: Sequence[int] | None,
    downsample: str | None,
    compression: str,
    memory: str | int,
    workers: int | None,
    above: int = 0,
) -> ImageRequest:
    """Complete a request as `dandify.write_ome_zarr` and `dandify.plan_ome_zarr` take it, or refuse it.

    ``above`` counts the parts of the path to the image's group within the Zarr.

    Raises
    ------
    MissingMetadata
        If the size of the voxels is not known.
    BadRequest
        If something cannot be as asked.
    dandify.errors.BadSource, dandify.errors.UnknownFormat
        If the image is given by a path that cannot be opened.
    """
    _refuse(path, version, compression, levels)
    files: tuple[Path, ...] = ()
    if isinstance(image, Path | str):
        image, files, named = open_image(Path(image), axes=axes, scale=scale)
        axes = None if named else axes
    described = describe_image(image, axes=axes, scale=scale, channels=channels, name=name)
    method = _method(downsample, described)
    threads = worker_count(workers)
    plan = plan_pyramid(
        described.shape, described.dtype, described.voxel, count=levels, chunks=wanted_chunks(chunks, described),
        memory_bytes=parse_bytes(memory), workers=threads, block=described.block,
        shared=described.shared,
    )  # fmt: skip
    wanted = require_shards(shards, described, plan, version)
    bits = bits_are_smaller(described, plan, compression)
    codec = BloscCodec.named(compression, described.dtype.itemsize, bits=bits)
    arrays = tuple(array_of_level(plan, n, described, version, codec, wanted, above) for n in range(len(plan.levels)))
    title = described.name or path.name.removesuffix(SUFFIX)
    return ImageRequest(
        described, title, cast("Version", version), method, compression, plan, arrays, threads, files, above
    )  # fmt: skip


def too_deep(request: ImageRequest) -> tuple[str, ...]:
    """Say that DANDI will not take the paths of an output, with what would; nothing if it will."""
    if request.depth <= MAX_DEPTH:
        return ()
    return (f"DANDI refuses it: paths of {request.depth} parts, and it takes {MAX_DEPTH}; write the image {SHALLOWER}",)


def key_separator(version: str, parts: int) -> Literal["/", "."]:
    """Separator of chunk names: nested, unless the files would lie deeper than DANDI takes.

    Parameters
    ----------
    version
        Of OME-Zarr; 0.4 says nested.
    parts
        Parts of the path of a nested chunk within the Zarr.
    """
    return "/" if version == "0.4" or parts <= MAX_DEPTH else "."


def _refuse(path: Path, version: str, compression: str, levels: int | str) -> None:
    if version not in VERSIONS:
        raise BadRequest(f"no OME-Zarr version {version!r}", remedy=f"one of {', '.join(map(repr, VERSIONS))}")
    require_compression(compression)
    if levels != "auto" and ((count := whole_number(levels)) is None or count < 1):
        raise BadRequest(f"{levels!r} levels", remedy="1 or more, or auto")
    if path.suffixes != [".ome", ".zarr"]:  # dandischema counts nothing else as OME-Zarr
        stem = re.sub(r"(\.ome)?\.zarr$", "", path.name, flags=re.IGNORECASE).strip(".").replace(".", "-") or "image"
        raise BadRequest(
            "images are named NAME.ome.zarr, with no other dot", file=path, remedy=f"name it {stem}{SUFFIX}"
        )


def require_compression(name: str) -> None:
    """Refuse a compression that there is not."""
    if name not in COMPRESSIONS:
        raise BadRequest(f"no compression {name!r}", remedy=f"one of {', '.join(COMPRESSIONS)}")


def _method(asked: str | None, image: ImageInput) -> Method:
    method = asked or ("mode" if image.boolean else "mean")
    if method not in METHODS:
        raise BadRequest(f"no way to downsample {asked!r}", remedy=f"one of {', '.join(METHODS)}")
    if image.boolean and method == "mean":
        raise BadRequest("true and false have no mean", remedy="downsample='mode', 'max' or 'nearest'")
    if image.dtype.kind == "f" and method == "mode":
        raise BadRequest(
            f"values of type {image.dtype} are no labels: of measured numbers, none is the most frequent",
            remedy="convert labels to whole numbers, or downsample='mean', 'max' or 'nearest'",
        )
    return cast("Method", method)


def worker_count(asked: int | None) -> int:
    """Give the number of encoding threads; one for each core where nobody asks for another."""
    if asked is None:
        return os.cpu_count() or 1
    if (count := whole_number(asked)) is None or count < 1:
        raise BadRequest(f"{asked!r} workers", remedy="ask for 1 or more")
    return count


def whole_number(value: Any) -> int | None:
    """Give a whole number of Python or NumPy; None for what is none, true and false included."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    try:
        return operator.index(value)
    except TypeError:  # arrays have the method
        return None


def wanted_chunks(asked: Sequence[int] | None, image: ImageInput) -> Shape5 | None:
    """Give chunks that are asked for, t c z y x; refuse those that cannot be."""
    if asked is None:
        return None
    asked = _counts(asked, "chunk", image)
    known = dict(zip(image.axes, asked, strict=True))
    return require_chunks(tuple(known.get(a, 1) for a in AXES), image.shape)  # type: ignore[arg-type]  # AXES are five


def require_shards(
    asked: Sequence[int] | None, image: ImageInput, plan: PyramidPlan, version: str
) -> tuple[int, ...] | None:  # fmt: skip
    """Refuse shards that cannot be; they may be longer than the image."""
    if asked is None:
        return None
    if version == "0.4":
        raise BadRequest("OME-Zarr 0.4 has no shards", remedy="leave shards out, or version='0.5'")
    chunks = [c for c, a in zip(plan.levels[0].chunks, AXES, strict=True) if a in image.axes]
    asked = _counts(asked, "shard", image)
    if any(s < 1 or (s % c and s < n) for s, c, n in zip(asked, chunks, _of(image.shape, image), strict=True)):
        raise BadRequest(
            f"shards of {' x '.join(map(str, asked))} are not made of whole chunks of {' x '.join(map(str, chunks))}",
            remedy="ask for multiples of the chunks, or set both",
        )
    size = math.prod(min(s, -(-n // c) * c) for s, c, n in zip(asked, chunks, _of(image.shape, image), strict=True))
    if size * image.dtype.itemsize > MOST_SHARD_BYTES:
        raise BadRequest(
            f"shards of {size * image.dtype.itemsize / 2**30:.1f} GiB; DANDI takes files of up to 5 GiB",
            remedy="ask for smaller ones; 64 to 512 MiB are sent again soon when an upload breaks off",
        )
    return tuple(asked)


def usual_shards(
    shape: tuple[int, ...], chunks: tuple[int, ...], *, axes: Sequence[str], itemsize: int, extents: tuple[float, ...]
) -> tuple[int, ...]:
    """Give the shards of an array of OME-Zarr 0.5 where nobody asks for others.

    Parameters
    ----------
    shape, chunks
        Of the array.
    axes
        Their names.
    itemsize
        Bytes of a value.
    extents
        Distance of neighbouring values on each axis; 0 for time and channels.
    """
    shards = _side_by_side(shape, chunks, axes, itemsize, extents)
    return _over_time(shape, chunks, shards, axes, itemsize)


def _side_by_side(
    shape: tuple[int, ...], chunks: tuple[int, ...], axes: Sequence[str], itemsize: int, extents: tuple[float, ...]
) -> tuple[int, ...]:
    """Shards that are as large as they should be, but of which so many lie in a plane that their MD5s go together."""
    most = SHARD_BYTES
    while True:
        shards = shard_shape(shape, chunks, itemsize, max_bytes=most, extents=extents)
        beside = math.prod(-(-n // s) for n, s, a in zip(shape, shards, axes, strict=True) if a in "yx")
        if beside >= LANES or most <= LEAST_SHARD_BYTES:
            return shards
        most //= 2


def _over_time(
    shape: tuple[int, ...], chunks: tuple[int, ...], shards: tuple[int, ...], axes: Sequence[str], itemsize: int
) -> tuple[int, ...]:
    """Shards of several time points where one shard holds all of a time point: a movie is no file for each frame."""
    whole = all(s >= n for s, n, a in zip(shards, shape, axes, strict=True) if a in "zyx")
    if not whole or "t" not in axes:
        return shards
    t = axes.index("t")
    size = math.prod(shards) * itemsize
    slots = math.prod(s // c for s, c in zip(shards, chunks, strict=True))
    steps = -(-shape[t] // shards[t])
    most = max(1, min(steps, SHARD_BYTES // size, _MOST_SLOTS // slots))
    alike = -(-steps // -(-steps // most))  # as many in each of as few files
    return tuple(s * alike if i == t else s for i, s in enumerate(shards))


def _counts(asked: Any, what: str, image: ImageInput) -> tuple[int, ...]:
    """Give what is asked for as a whole number for each axis, or refuse it."""
    said = f"{what}s {asked!r} for the axes {' '.join(image.axes)}"
    found = [whole_number(n) for n in asked] if isinstance(asked, Iterable) else [None]
    counts = tuple(n for n in found if n is not None)
    if len(counts) < len(found):
        raise BadRequest(said, remedy=f"a whole number for each axis: {what}s=({', '.join(['64'] * len(image.axes))})")
    if len(counts) != len(image.axes):
        raise BadRequest(f"{len(counts)} {what} lengths for the axes {' '.join(image.axes)}",
                         remedy=f"one for each of the {len(image.axes)} axes")  # fmt: skip
    return counts


def _of(values: Shape5, image: ImageInput) -> list[int]:
    return [v for v, a in zip(values, AXES, strict=True) if a in image.axes]


def array_of_level(
    plan: PyramidPlan, number: int, image: ImageInput, version: str, codec: BloscCodec, asked: tuple[int, ...] | None,
    above: int = 0,
) -> ImageArray:  # fmt: skip
    """Describe the array of a level, whose chunks' names are nested where DANDI takes that."""
    level = plan.levels[number]
    shape, chunks = tuple(_of(level.shape, image)), tuple(_of(level.chunks, image))
    shards = None
    if asked is not None:
        shards = tuple(
            max(1, min(s // c, -(-n // c)) if s < n else -(-n // c)) * c
            for s, c, n in zip(asked, chunks, shape, strict=True)
        )
    elif version != "0.4":
        size = dict(zip(AXES, level.scale(image.voxel), strict=True))
        extents = tuple(size[a] if a in "zyx" else 0.0 for a in image.axes)
        shards = usual_shards(shape, chunks, axes=image.axes, itemsize=image.dtype.itemsize, extents=extents)
    parts = above + 1 + (version != "0.4") + len(shape)
    return ImageArray(
        shape, chunks, shards, image.dtype, image.axes, codec, key_separator(version, parts)
    )  # fmt: skip
