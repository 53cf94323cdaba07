"""The values of labels: opened, held against the image that they belong to, refused where they are no whole numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.ngff.check_geometry import axis_names
from dandify.ngff.image import ImageInput, plain_values
from dandify.ngff.labelled import LABELS, LabelledImage, stored_image
from dandify.ngff.level_array import LevelArray
from dandify.ngff.levels import AXES
from dandify.ngff.opened import open_image
from dandify.ngff.stored import StoredImage
from dandify.sources.arrays import Cropped, MemoryArray
from dandify.sources.contract import Array, Channel, Stream
from dandify.sources.derived import Fitted
from dandify.store.region import Region, extent, grid

_READ_VALUES: Final = 2**22  # of an array without a block of its own
_TYPES: Final = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
_NPY: Final = b"\x93NUMPY"


@dataclass(frozen=True)
class OfWhole:
    """Labels of a whole image, where the image that they go with holds only the first values along each axis.

    Attributes
    ----------
    labels
        A value for each voxel of the whole image.
    lengths
        Of the whole image by its axes, out of t c z y x.
    """

    labels: Stream | Array | NDArray[Any] | Path | str
    lengths: Mapping[str, int]


Labels = Stream | Array | NDArray[Any] | Path | str | OfWhole


def describe_labels(
    labels: Labels, image: LabelledImage, name: str, *, axes: Sequence[str] | str | None = None
) -> tuple[ImageInput, tuple[Path, ...]]:
    """Open labels and bring them to the axes of their image; with them, their files.

    Axes of length 1 may be missing, or be there beside: the other lengths say what is what.

    Raises
    ------
    BadRequest
        If they have another shape than the image, channels, or are no whole numbers.
    BadSource, dandify.errors.UnknownFormat
        If they are given by a path that cannot be opened.
    """
    whole: Mapping[str, int] = {}
    if isinstance(labels, OfWhole):
        whole, labels = labels.lengths, labels.labels
    wanted = dict(zip(AXES, image.shapes[0], strict=True))
    kept = tuple(wanted[a] for a in image.axes)
    wanted |= {a: n for a, n in whole.items() if a in image.axes}
    target = tuple(wanted[a] for a in image.axes)
    values, named, files = _opened(labels, image, axes, wanted)
    where = files[0] if files else None
    place = f"labels {name}"
    shape = tuple(int(n) for n in values.shape)
    colours = dict(zip(named, shape, strict=False)).get("c", 1)
    if colours > 1:
        raise BadRequest(
            f"have {colours} channels; labels are one number for each voxel", file=where, place=place,
            remedy="give labels of each channel a name of their own",
        )  # fmt: skip
    if [n for n in shape if n != 1] != [n for n in target if n != 1]:
        raise BadRequest(
            f"are of shape {_by(shape)}, and the image is {_by(target)} ({' '.join(image.axes)})", file=where,
            place=place, remedy="labels have a value for each voxel of the image; resample them, or take their image",
        )  # fmt: skip
    _require_axes(named, image, shape, explicit=axes is not None, file=where, place=place)
    if values.dtype.kind not in "iub":
        _refuse(values, named or (AXES if len(shape) == len(AXES) else image.axes), where, place)
    fitted: Array | NDArray[Any]
    if isinstance(values, Array):
        fitted = values if shape == target else Fitted(values, target)
        fitted = fitted if kept == target else Cropped(fitted, kept)
        block = fitted.block
    else:
        fitted = values.reshape(target)[tuple(slice(0, n) for n in kept)]
        block = (1,) * len(target)
    blocks = dict(zip(image.axes, block, strict=True))
    boolean = values.dtype == np.bool_
    return ImageInput(
        fitted, image.axes, image.shapes[0], tuple(blocks.get(a, 1) for a in AXES),  # type: ignore[arg-type]  # five
        np.dtype(np.uint8) if boolean else values.dtype.newbyteorder("="),
        image.five(image.placed(0, "scale"), 1.0), image.five(image.placed(0, "translation"), 0.0),
        "t" in image.axes, (Channel(name),), name, boolean,
    ), files  # fmt: skip


def _opened(
    labels: Stream | Array | NDArray[Any] | Path | str, image: LabelledImage, axes: Sequence[str] | str | None,
    lengths: Mapping[str, int],
) -> tuple[Array | NDArray[Any], tuple[str, ...], tuple[Path, ...]]:  # fmt: skip
    """Give the values, their axes as far as somebody names them, and their files."""
    files: tuple[Path, ...] = ()
    named = tuple(axes or ())
    if isinstance(labels, Path | str) and Path(labels).suffix.lower() == ".npy":
        files = (Path(labels),)
        labels = _npy(files[0])
    elif isinstance(labels, Path | str) and Path(labels).absolute().parent.name == LABELS and Path(labels).is_dir():
        stored = stored_image(Path(labels))
        first = first_level(stored, Path(labels))
        files, named = (Path(labels),), named or tuple(axis_names(stored.metadata["multiscales"][0]))
        labels = LevelArray.open(first)
    elif isinstance(labels, Path | str):
        scale = dict(zip(image.axes, image.placed(0, "scale"), strict=True))
        # pages of which no file says what they are, are what is longer than 1 in the image
        labels, files, _ = open_image(
            Path(labels), axes=axes or [a for a, n in lengths.items() if n > 1 or a in "yx"],
            scale={a: v for a, v in scale.items() if a in "zyx"},
        )  # fmt: skip
    if isinstance(labels, Stream):
        if labels.array is None:
            raise BadRequest(f"stream {labels.name!r} is of kind {labels.kind}", remedy="give a stream of kind Image")
        named = named or labels.axes
        labels = labels.array
    if isinstance(labels, MemoryArray):
        labels = labels.values  # read without copying
    values = labels if isinstance(labels, Array) else plain_values(labels)
    if named and len(named) != len(values.shape):
        raise BadRequest(
            f"{len(named)} axes ({' '.join(named)}) for an array of shape {_by(values.shape)}",
            file=files[0] if files else None, remedy="name each axis of the labels, those of length 1 too",
        )  # fmt: skip
    return values, named, files


def _require_axes(
    named: Sequence[str], image: LabelledImage, shape: Sequence[int], *, explicit: bool, file: Path | None, place: str
) -> None:  # fmt: skip
    """Refuse labels whose lengths fit the image and whose axes are in another order than its own.

    Names that only a file has may be others than the image's: ImageJ's planes are as often called time as depth.
    """
    long = [a for a, n in zip(named, shape, strict=True) if n != 1] if named else []
    own = [a for a, n in zip(AXES, image.shapes[0], strict=True) if n != 1]
    known = [a for a in long if a in own]
    if known != [a for a in own if a in known] or (explicit and long != own):
        raise BadRequest(
            f"have the axes {' '.join(long)}, and the image {' '.join(own)} (of those longer than 1)", file=file,
            place=place, remedy="turn them: np.transpose; or leave axes out if the image's are meant",
        )  # fmt: skip


def first_level(stored: StoredImage, path: Path) -> Path:
    """Folder of the finest level of an image.

    Raises
    ------
    BadSource
        If its metadata name none.
    """
    try:
        return path / str(stored.metadata["multiscales"][0]["datasets"][0]["path"])
    except (KeyError, IndexError, TypeError) as error:
        raise BadSource("its multiscales name no arrays", file=path, remedy="see dandify validate") from error


def _npy(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise BadRequest("no such file", file=path)
    with path.open("rb") as file:
        begins = file.read(len(_NPY))
    if begins != _NPY:
        raise BadSource(f"is no .npy file: it begins with {begins!r}", file=path,
                        remedy="save the labels alone: np.save(path, labels)")  # fmt: skip
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadSource(
            f"no array that NumPy reads: {error}", file=path, remedy="save the labels alone: np.save(path, labels)"
        ) from error
    return values


def _refuse(values: Array | NDArray[Any], axes: Sequence[str], file: Path | None, place: str) -> None:
    """Say of numbers that are no integers what they are, and where the first of them is that can be none.

    Raises
    ------
    BadRequest
        Always.
    """
    if values.dtype.kind != "f":
        raise BadRequest(f"are {values.dtype}; labels are whole numbers", file=file, place=place,
                         remedy="convert them: labels.astype('uint32')")  # fmt: skip
    low, high = np.inf, -np.inf
    for region in _regions(values):
        found = np.asarray(values[region])
        for kind, wrong in (("not a number (NaN)", np.isnan(found)), ("infinite", np.isinf(found)),
                            ("no whole number", found != np.rint(found))):  # fmt: skip
            if wrong.any():
                index = np.argwhere(wrong)[0]
                at = [int(i) + s.start for i, s in zip(index, region, strict=True)]
                value = "" if np.isnan(found[tuple(index)]) else f" ({found[tuple(index)]:g})"
                names = axes if len(axes) == len(at) else [f"axis {n}" for n in range(len(at))]
                raise BadRequest(
                    f"are {values.dtype}, and a value is {kind}{value}; labels are whole numbers, 0 for none",
                    file=file, place=f"{place}, {', '.join(f'{a} {i}' for a, i in zip(names, at, strict=True))}",
                    remedy="set such voxels to a number, then labels.astype('uint32')",
                )  # fmt: skip
        low, high = min(low, float(found.min())), max(high, float(found.max()))
    fits = next((name for name in _TYPES if np.iinfo(name).min <= low and high <= np.iinfo(name).max), None)
    raise BadRequest(
        f"are {values.dtype}, though all of them are whole numbers, from {low:g} to {high:g}; labels are stored as "
        f"integers", file=file, place=place,
        remedy=f"convert them: labels.astype('{fits}')" if fits else "number the objects from 1",
    )  # fmt: skip


def _regions(values: Array | NDArray[Any]) -> list[Region]:
    shape = tuple(int(n) for n in values.shape)
    steps = list(values.block) if isinstance(values, Array) else [1] * len(shape)
    for axis in reversed(range(len(shape))):  # as much as is worth one reading
        others = int(np.prod(extent(tuple(slice(0, s) for s in steps[:axis] + steps[axis + 1 :])), dtype=object))
        steps[axis] = max(steps[axis], min(shape[axis], _READ_VALUES // max(1, others)))
    return [region for _, region in grid(shape, tuple(max(1, s) for s in steps))]


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
