"""What is to be written: an image's values, axes, voxel size and channels, completed and refused before any work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest, MissingMetadata, Need
from dandify.ngff.levels import AXES, Axes, Region5, Shape5
from dandify.ngff.once import read_checked, reading
from dandify.sources.arrays import InParts, MemoryArray
from dandify.sources.contract import Array, Channel, ReadsInto, Stream
from dandify.store.region import extent

DTYPES: Final = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32")
_DEFAULT_AXES: Final = {2: ("y", "x"), 3: ("z", "y", "x"), 5: AXES}
_HEX: Final = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True)
class ImageInput:
    """An image that can be written.

    Attributes
    ----------
    values
        What is read by regions.
    axes
        Out of t c z y x, in this order.
    shape
        t c z y x; 1 for axes that it lacks.
    block
        What the source yields at one go, t c z y x.
    dtype
        Native type of the values.
    voxel
        Distance of neighbouring values, t c z y x; 1 for the channel, for axes it lacks, and for unknown times.
    origin
        Place of the first value, t c z y x; 0 where nobody states it.
    time_known
        The distance of time points is stated.
    channels
        One for each.
    name
        Of the image, None where nobody gave one.
    boolean
        The values are true or false, and are written as uint8, 1 or 0: labels are whole numbers.
    """

    values: Array | NDArray[Any]
    axes: Axes
    shape: Shape5
    block: Shape5
    dtype: np.dtype[Any]
    voxel: tuple[float, float, float, float, float]
    origin: tuple[float, float, float, float, float]
    time_known: bool
    channels: tuple[Channel, ...]
    name: str | None
    boolean: bool = False

    def read(self, region: Region5) -> NDArray[Any]:
        """Values of a region (t c z y x); axes that the image lacks are left out of the result."""
        values: NDArray[Any] = self.values[self._of(region)]
        return np.asarray(values).view(np.uint8) if self.boolean else values

    def read_into(self, region: Region5, out: NDArray[Any]) -> None:
        """Put the values of a region into a contiguous array of as many of the image's type.

        Raises
        ------
        dandify.errors.BadSource
            If the source cannot be read, or yields something else than it declared.
        """
        if isinstance(self.values, ReadsInto) and not self.boolean and self.values.dtype == out.dtype:
            with reading(region):
                self.values.read_into(self._of(region), out.reshape(extent(self._of(region))))
        else:
            out.reshape(-1)[...] = read_checked(self.read, region, self.dtype).reshape(-1)

    def _of(self, region: Region5) -> tuple[slice, ...]:
        return tuple(s for s, a in zip(region, AXES, strict=True) if a in self.axes)

    @property
    def shared(self) -> bool:
        """Several threads may read it: all sources of converters, not what the caller's library reads."""
        return not isinstance(self.values, InParts)

    @property
    def raw_bytes(self) -> int:
        """Of level 0."""
        return math.prod(self.shape) * self.dtype.itemsize


def describe_image(
    image: Stream | Array | NDArray[Any],
    *,
    axes: Sequence[str] | str | None = None,
    scale: Mapping[str, float] | None = None,
    channels: Sequence[Channel | str] | None = None,
    name: str | None = None,
) -> ImageInput:
    """Put together what the image states and what the caller adds; the caller's word counts more.

    Raises
    ------
    MissingMetadata
        If the size of the voxels is not known: it is never taken to be 1.
    BadRequest
        If axes, type, scale or channels cannot be.
    """
    stated: Mapping[str, float] = {}
    origin: Mapping[str, float] = {}
    if isinstance(image, Stream):
        if image.kind != "Image" or image.array is None:
            raise BadRequest(f"stream {image.name!r} is of kind {image.kind}", remedy="give a stream of kind Image")
        axes, stated, name = axes or image.axes, image.scale, name or image.name
        origin = image.origin
        channels = image.channels if channels is None else channels
        values: Array | NDArray[Any] = image.array
    else:
        values = image if isinstance(image, Array) else plain_values(image)
    if isinstance(values, MemoryArray):
        values = values.values  # read without copying
    if name is not None and not isinstance(name, str):
        raise BadRequest(f"the name {name!r}", remedy="a text")
    if values.dtype.kind not in "biuf":
        _dtype(values.dtype)  # refuses it: what is no number has no axes either
    found = _axes(axes, values.shape)
    boolean = values.dtype == np.bool_
    dtype = np.dtype(np.uint8) if boolean else _dtype(values.dtype)
    if scale is not None and not isinstance(scale, Mapping):
        raise BadRequest(f"scale {scale!r} does not say of which axes",
                         remedy="scale={'z': 2.0, 'y': 0.5, 'x': 0.5}: micrometres, and seconds for t")  # fmt: skip
    voxel, time_known = _voxel(found, {**stated, **(scale or {})}, name)
    shape = _five(found, values.shape)
    if 0 in shape:
        raise BadRequest(f"an image of shape {values.shape} has no values", place=name)
    block = values.block if isinstance(values, Array) else (1,) * len(found)
    place: Any = tuple(float(origin.get(a, 0.0)) if a in found else 0.0 for a in AXES)
    return ImageInput(
        values, found, shape, _five(found, block), dtype, voxel, place, time_known, _channels(channels, shape[1]), name,
        boolean,
    )  # fmt: skip


def plain_values(values: Any) -> Array | NDArray[Any]:
    """Take what somebody gives as an array: NumPy as it is, arrays that are read in parts (h5py, Zarr, Dask) in parts.

    Raises
    ------
    BadRequest
        If some of its values are masked: a mask has no place in an image.
    """
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            raise BadRequest(
                f"{np.count_nonzero(values.mask):,} of its values are masked, and images have no mask",
                remedy="say what stands in their place: image.filled(0); labels={'mask': image.mask} keeps the mask",
            )  # fmt: skip
        return np.asarray(values.data)
    if isinstance(values, np.ndarray) or not all(hasattr(values, a) for a in ("shape", "dtype", "__getitem__")):
        return np.asarray(values)
    return InParts.of(values)


def _axes(asked: Sequence[str] | str | None, shape: tuple[int, ...]) -> Axes:
    if asked is not None and not (isinstance(asked, Iterable) and all(isinstance(a, str) for a in asked)):
        raise BadRequest(f"axes {asked!r}", remedy="a letter out of t c z y x for each: axes='czyx'")
    axes = _DEFAULT_AXES.get(len(shape)) if asked is None else tuple(a.lower() for a in asked)  # tifffile: "ZYX"
    if not 2 <= len(shape) <= len(AXES):
        raise BadRequest(
            f"an array of {len(shape)} dimension(s); images have 2 to {len(AXES)}, out of t c z y x",
            remedy="take the parts of it that are images, each by itself",
        )  # fmt: skip
    if axes is None:
        raise BadRequest(f"the axes of an array of {len(shape)} dimensions are not stated", remedy="give axes='czyx'")
    in_order = tuple(a for a in AXES if a in axes)
    if axes != in_order or axes[-2:] != ("y", "x"):
        remedy = "say of each axis what it is, once: axes='zyx' for planes in depth"
        if len(axes) == len(shape) and sorted(axes) == sorted(in_order) and {"y", "x"} <= set(axes):
            order = tuple(axes.index(a) for a in in_order)
            remedy = f"image.transpose{order} with axes='{''.join(in_order)}' is the same image, and copies nothing"
        raise BadRequest(
            f"axes {' '.join(axes)}; OME-Zarr wants an ordered choice of t c z y x that ends in y x", remedy=remedy
        )
    if len(axes) != len(shape):
        raise BadRequest(f"{len(axes)} axes ({' '.join(axes)}) for an array of shape {shape}",
                         remedy=f"name one for each of its {len(shape)} dimensions")  # fmt: skip
    return axes


def _dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    native = dtype.newbyteorder("=")
    if native.name not in DTYPES:
        floats = {"float64": "convert to float32 if that is exact enough", "float16": "convert to float32"}
        wide = {"int64": "image.astype('int32')", "uint64": "image.astype('uint32')"}
        known = floats | {name: f"convert if the values fit: {code}" for name, code in wide.items()}
        remedy = known.get(native.name, "convert to one of them")
        raise BadRequest(f"pixels of type {native.name}; dandify writes {', '.join(DTYPES)} and bool", remedy=remedy)
    return native


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _five(axes: Axes, values: Sequence[int]) -> Shape5:
    known = dict(zip(axes, values, strict=True))
    return tuple(int(known.get(a, 1)) for a in AXES)  # type: ignore[return-value]  # AXES are five


def _voxel(
    axes: Axes, scale: Mapping[str, float], name: str | None
) -> tuple[tuple[float, float, float, float, float], bool]:
    if unknown := set(scale) - set(AXES):
        raise BadRequest(f"scale of {', '.join(sorted(map(str, unknown)))}, which is no axis of t c z y x",
                         remedy="scale={'z': 2.0, 'y': 0.5, 'x': 0.5}: micrometres, and seconds for t")  # fmt: skip
    needs = [
        Need(
            key=f"pixel_size_um.{axis}",
            what=f"distance of neighbouring {'planes' if axis == 'z' else 'pixels'} along {axis} in micrometres",
            remedy=f"--set pixel_size_um.{axis}=0.65, or scale={{'{axis}': 0.65}} in Python",
        )
        for axis in axes if axis in "zyx" and axis not in scale
    ]  # fmt: skip
    if needs:
        raise MissingMetadata(needs, where=f"image {name}" if name else "the image")
    for axis, value in scale.items():
        if not (_is_number(value) and math.isfinite(value) and value > 0):
            raise BadRequest(f"scale of {axis}: {value!r}",
                             remedy="a distance is a positive number: of micrometres, of seconds for t")  # fmt: skip
    voxel = tuple(float(scale[a]) if a in axes and a in scale and a != "c" else 1.0 for a in AXES)
    return voxel, "t" in scale  # type: ignore[return-value]  # AXES are five


def _channels(given: Sequence[Channel | str] | None, count: int) -> tuple[Channel, ...]:
    if not given:
        return (Channel(""),) * count
    if isinstance(given, str | Channel):
        raise BadRequest(
            f"channels {given!r}", remedy="a list of names, one for each channel: channels=['DAPI', 'GFP']"
        )
    channels = tuple(Channel(c) if isinstance(c, str) else c for c in given)
    if wrong := [c for c in channels if not isinstance(c, Channel)]:
        raise BadRequest(f"channel {wrong[0]!r}", remedy="a name, or dandify.sources.Channel(name, color='00FF00')")
    if len(channels) != count:
        raise BadRequest(
            f"{len(channels)} channels ({', '.join(c.name for c in channels)}) for {count} on axis c",
            remedy="name each channel of the image, in order",
        )
    for channel in channels:
        digits = (channel.color or "000000").lstrip("#")
        if len(digits) != 6 or not set(digits) <= _HEX:
            raise BadRequest(f"colour {channel.color!r} of channel {channel.name!r}", remedy="six hex digits: 00FF00")
    return channels
