"""Images as sources: what the user supplies goes into their streams; lengths and times in the contract's units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dandify.errors import BadRequest, Need
from dandify.sources.contract import Channel, Source, Stream
from dandify.sources.tiff import TiffPages

AXES: Final = "tczyx"
SPACE: Final = "zyx"

# Units as OME (UnitsLength, UnitsTime) and ImageJ spell them. ImageJ escapes µ; both µ of Unicode are in use.
_MICROMETRES: Final = {
    "pm": 1e-6, "å": 1e-4, "nm": 1e-3, "nanometer": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0,
    "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4,
    "m": 1e6, "meter": 1e6, "in": 25400.0, "inch": 25400.0,
}  # fmt: skip
_SECONDS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0,
    "seconds": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "hr": 3600.0, "d": 86400.0,
}  # fmt: skip


def micrometres(value: Any, unit: str) -> float | None:
    """Length in micrometres; None if the unit is none of length or the value is no positive number."""
    return _converted(value, _MICROMETRES.get(unit.strip().lower()))


def seconds(value: Any, unit: str) -> float | None:
    """Time in seconds; None if the unit is none of time or the value is no positive number."""
    return _converted(value, _SECONDS.get(unit.strip().lower()))


def ordered(pages: Sequence[Any], axes: str, lengths: Sequence[int]) -> tuple[list[Any], str, tuple[int, ...]]:
    """Bring pages, in C order of some axes, into that of t c z; axes of length 1 are left out."""
    import numpy as np

    grid = np.arange(len(pages)).reshape(tuple(lengths))
    wanted = sorted(range(len(axes)), key=lambda i: AXES.index(axes[i]))
    grid = grid.transpose(wanted)
    kept = [(axes[i], lengths[i]) for i in wanted if lengths[i] != 1]
    return [pages[i] for i in grid.ravel()], "".join(a for a, _ in kept), tuple(n for _, n in kept)


@dataclass(frozen=True, kw_only=True)
class ImageSource(Source):
    """Images: `with_facts` puts supplied pixel sizes, times, channel names and axes into the streams."""

    def with_facts(self, supplied: Mapping[str, Any]) -> ImageSource:
        """Return this source with what the user supplied in place of what the files state.

        ``pixel_size_um`` maps axes to micrometres, ``time_increment_s`` is a number, ``channel_names`` a list, and
        ``axes`` says what the axes of the array are, in its order: ``zyx``.

        Raises
        ------
        dandify.errors.BadRequest
            If a value cannot be, or does not fit the images.
        """
        if not supplied:
            return self
        facts = {**self.facts, **{k: v for k, v in supplied.items() if k != "axes"}}
        streams = self.streams
        if "axes" in supplied:
            streams = self._with_axes(_axes(supplied["axes"], self.path))
        sizes = _sizes(supplied.get("pixel_size_um", {}), self.path)
        if sizes:
            facts["pixel_size_um"] = {**self.facts.get("pixel_size_um", {}), **sizes}
        if "time_increment_s" in supplied:
            sizes["t"] = facts["time_increment_s"] = _positive(
                supplied["time_increment_s"], "time_increment_s", self.path
            )
        stated = dict(self.facts.get("pixel_size_um", {}))
        if "time_increment_s" in self.facts:
            stated["t"] = self.facts["time_increment_s"]
        streams = tuple(
            replace(s, scale={a: v for a, v in {**stated, **s.scale, **sizes}.items() if a in s.axes}) for s in streams
        )
        if "channel_names" in supplied:
            names = supplied["channel_names"]
            names = facts["channel_names"] = tuple([names] if isinstance(names, str) else map(str, names))
            streams = tuple(_named(s, names, self.path) for s in streams)
        met = {*(f"pixel_size_um.{a}" for a in sizes if a != "t"), *supplied} - {"pixel_size_um"}
        needs = tuple(n for n in self.needs if n.key not in met)
        if "axes" in supplied:
            needs = needs_of(streams, self.path)
        return replace(self, facts=facts, streams=streams, needs=needs)

    def _with_axes(self, axes: str) -> tuple[Stream, ...]:
        return tuple(_relabelled(s, axes, self.path) for s in self.streams)


def needs_of(streams: Sequence[Stream], path: Path) -> tuple[Need, ...]:
    """What must be known of images before they can be written: the pixel size along every axis of space."""
    missing = {a for s in streams for a in s.axes if a in SPACE and a not in s.scale}
    return tuple(size_need(a, path) for a in SPACE if a in missing)


def size_need(axis: str, path: Path, condition: str = "") -> Need:
    """Need of the pixel size along an axis."""
    what = f"distance of neighbouring {'planes' if axis == 'z' else 'pixels'} along {axis} in micrometres"
    return Need(f"pixel_size_um.{axis}", what + condition, f"--set pixel_size_um.{axis}=VALUE", str(path))


def common_sizes(streams: Sequence[Stream]) -> dict[str, float]:
    """Pixel sizes on which all streams agree."""
    first = streams[0].scale if streams else {}
    return {a: first[a] for a in SPACE if a in first and all(s.scale.get(a) == first[a] for s in streams)}


def _relabelled(stream: Stream, axes: str, path: Path) -> Stream:
    """Give the axes of an image other names; pages are put into the order t c z."""
    array = stream.array
    assert isinstance(array, TiffPages)
    own = "".join(stream.axes)
    if axes == own:
        return stream
    if len(axes) == len(own) - 1 and array.samples > 1:
        axes = "c" + axes  # the colours of a pixel go without saying
    if len(axes) != len(own) or (array.samples > 1 and axes.replace("c", "") + "c" != axes and axes[own.index("c")] != "c"):
        raise BadRequest(
            f"axes {axes!r} do not fit an image of shape {stream.shape}", file=path,
            remedy=f"name {len(own)} axes, in the order of the file; the last two are y and x",
        )  # fmt: skip
    if array.samples > 1:
        return replace(stream, axes=tuple(axes))
    pages, leading, lengths = ordered(array.pages, axes[:-2], array.leading)
    return replace(
        stream, axes=(*leading, "y", "x"), scale={a: v for a, v in stream.scale.items() if a in "yx"}, shape=(),
        array=replace(array, pages=tuple(pages), leading=lengths),
        channels=stream.channels if "c" in leading or len(stream.channels) == 1 else (),
    )  # fmt: skip


def _named(stream: Stream, names: tuple[str, ...], path: Path) -> Stream:
    count = dict(zip(stream.axes, stream.shape, strict=True)).get("c", 1)
    if len(names) != count:
        raise BadRequest(
            f"{len(names)} channel names ({', '.join(names)}) for {count} channel(s)", file=path, place=stream.name,
            remedy="name every channel, in order: --set 'channel_names=a;b'",
        )  # fmt: skip
    old = stream.channels if len(stream.channels) == count else tuple(Channel("") for _ in names)
    return replace(stream, channels=tuple(replace(c, name=n) for c, n in zip(old, names, strict=True)))


def _axes(value: Any, path: Path) -> str:
    axes = ("".join(map(str, value)) if isinstance(value, list | tuple) else str(value)).strip().lower()
    if not set(axes) <= set(AXES) or len(set(axes)) != len(axes) or axes[-2:] != "yx":
        raise BadRequest(
            f"axes {value!r}; they are letters out of t c z y x, each once, and end in y x", file=path,
            remedy="--set axes=zyx for planes in depth, --set axes=tyx for a time series",
        )  # fmt: skip
    return axes


def _sizes(value: Any, path: Path) -> dict[str, float]:
    if not isinstance(value, Mapping) or not set(value) <= set(SPACE):
        raise BadRequest(
            f"pixel_size_um {value!r} does not say of which axes out of z y x", file=path,
            remedy="give it for each axis: --set pixel_size_um.x=0.65",
        )  # fmt: skip
    return {a: _positive(v, f"pixel_size_um.{a}", path) for a, v in value.items()}


def _positive(value: Any, key: str, path: Path) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise BadRequest(f"{key} is {value!r}, not a positive number", file=path, remedy=f"--set {key}=0.65")
    return number


def _converted(value: Any, factor: float | None) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if factor is None or not math.isfinite(number) or number <= 0:
        return None
    return float(f"{number * factor:.12g}")  # no digits of the conversion's own
