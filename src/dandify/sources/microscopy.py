"""Images as sources: what the user supplies goes into their streams; lengths and times in the contract's units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from dandify.errors import BadRequest, Need
from dandify.sources.contract import Channel, Source, Stream
from dandify.sources.tiff import TiffPages

AXES: Final = "tczyx"
SPACE: Final = "zyx"
MOST_PLANES: Final = 2**20  # of an image with gaps: a stray number or a damaged count must not fill the memory
_NAMED: Final = 3  # filled planes that a message names

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


def place_um(value: Any, unit: str) -> float | None:
    """Place along an axis in micrometres, of either sign; None if the unit is none of length or there is no number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    factor = _MICROMETRES.get(unit.strip().lower())
    return None if factor is None or not math.isfinite(number) else float(f"{number * factor:.12g}")


def seconds(value: Any, unit: str) -> float | None:
    """Time in seconds; None if the unit is none of time or the value is no positive number."""
    return _converted(value, _SECONDS.get(unit.strip().lower()))


def kept_axes(lengths: Mapping[str, int], samples: int = 1) -> tuple[tuple[str, ...], tuple[int, ...], int | None]:
    """Give planes in the order t c z their axes; those of length 1 are left out.

    Parameters
    ----------
    lengths
        In planes; axes that are not named have one.
    samples
        Values of a pixel. They go along c.

    Returns
    -------
    tuple
        Axes before y and x, their lengths (that of c counts the samples), and which of them goes over the samples.
    """
    counts = {a: lengths.get(a, 1) * (samples if a == "c" else 1) for a in "tcz"}
    axes = tuple(a for a, n in counts.items() if n > 1)
    return axes, tuple(counts[a] for a in axes), axes.index("c") if samples > 1 else None


def arrange(array: TiffPages, axes: str, lengths: Sequence[int]) -> tuple[TiffPages, tuple[str, ...]]:
    """Give pages their axes, in the order t c z; axes of length 1 are left out.

    Parameters
    ----------
    array
        The pages, in C order of ``axes``; how they lay before does not matter.
    axes, lengths
        Axes of the pages without y and x, and their lengths in pages. Samples of a pixel go along c.

    Returns
    -------
    tuple
        The array, and all of its axes.
    """
    import numpy as np

    if array.samples > 1 and "c" not in axes:
        axes, lengths = axes + "c", (*lengths, 1)
    order = sorted(range(len(axes)), key=lambda i: AXES.index(axes[i]))
    grid = np.arange(len(array.pages)).reshape(tuple(lengths)).transpose(order)
    colours = {i: array.samples for i in order if axes[i] == "c"}
    kept = [(axes[i], lengths[i] * colours.get(i, 1)) for i in order if lengths[i] * colours.get(i, 1) > 1]
    names = "".join(a for a, _ in kept)
    return (
        replace(
            array, pages=tuple(array.pages[i] for i in grid.ravel()), leading=tuple(n for _, n in kept),
            channel_axis=names.index("c") if array.samples > 1 else None,
        ),
        (*names, "y", "x"),
    )  # fmt: skip


def filled_of(array: TiffPages, axes: Sequence[str]) -> tuple[dict[str, int], ...]:
    """Give the places of planes that no file holds, along the axes before y and x."""
    import numpy as np

    lengths = [n // array.samples if i == array.channel_axis else n for i, n in enumerate(array.leading)]
    absent = [i for i, page in enumerate(array.pages) if page.file < 0]
    places = (np.unravel_index(i, lengths) for i in absent)
    return tuple({a: int(n) for a, n in zip(axes, place, strict=False)} for place in places)


def wants_fill(options: Mapping[str, Any], path: Path) -> bool:
    """Whether planes that no file holds are to be 0: the option ``missing``, ``fill`` or ``refuse``.

    Raises
    ------
    BadRequest
        If it is something else.
    """
    asked = options.get("missing", "refuse")
    if asked not in ("fill", "refuse"):
        raise BadRequest(f"missing: {asked!r}", file=path, remedy="missing: fill, or refuse")
    return bool(asked == "fill")


def told_of_filled(stream: Stream) -> tuple[str, ...]:
    """Say which planes of an image are filled; nothing if none is."""
    if not stream.filled:
        return ()
    some = "; ".join(", ".join(f"{a} {n}" for a, n in place.items()) for place in stream.filled[:_NAMED])
    more = f" and {len(stream.filled) - _NAMED} more" if len(stream.filled) > _NAMED else ""
    return (f"{stream.name}: {len(stream.filled)} plane(s) are in no file and become 0: {some}{more}",)


@dataclass(frozen=True)
class Unlabelled:
    """Pages of which no file says what they are: depth, time, or channels.

    Attributes
    ----------
    name
        Of the stream that they become.
    array
        The pages.
    lengths
        Of the axes that are to be named.
    scale
        Pixel sizes that are stated.
    channels
        Of the colours of a pixel.
    """

    name: str
    array: TiffPages
    lengths: tuple[int, ...]
    scale: Mapping[str, float]
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageSource(Source):
    """Images: `with_facts` puts supplied pixel sizes, times, channel names and axes into the streams.

    Attributes
    ----------
    unlabelled
        Images that become streams when the user names their axes.
    axes_stated
        The file says for certain what its axes are: ``axes`` that are supplied, for all files of a session or for one,
        are those of the others.
    places_px
        Place of the first pixel of images, by their names and by axis, in pixels: where a file beside states it so.
    """

    unlabelled: tuple[Unlabelled, ...] = ()
    axes_stated: bool = False
    places_px: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def at_places(self) -> ImageSource:
        """Return this source with its images at `places_px`, along the axes whose pixel size is known."""
        return replace(self, streams=tuple(_at(s, self.places_px.get(s.name, {})) for s in self.streams))

    def with_facts(self, supplied: Mapping[str, Any]) -> ImageSource:
        """Return this source with what the user supplied in place of what the files state.

        ``pixel_size_um`` maps axes to micrometres, ``time_increment_s`` is a number, ``channel_names`` a list, and
        ``axes`` says what the axes of plain pages are, in the order of the file: ``zyx``.

        Raises
        ------
        dandify.errors.BadRequest
            If a value cannot be, or does not fit the images.
        """
        if not supplied:
            return self
        facts = {**self.facts, **{k: v for k, v in supplied.items() if k != "axes"}}
        streams, unlabelled = self.streams, self.unlabelled
        if "axes" in supplied:
            axes = _axes(supplied["axes"], self.path)
            if unlabelled:
                streams, unlabelled = (*streams, *(_labelled(u, axes, self.path) for u in unlabelled)), ()
            elif not self.axes_stated:
                streams = tuple(_relabelled(s, axes, self.path) for s in streams)
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
            replace(
                s, scale={a: v for a, v in {**stated, **s.scale, **sizes}.items() if a in s.axes},
                # Places were told in the pixel sizes of the file.
                origin={a: v for a, v in s.origin.items() if sizes.get(a, s.scale.get(a)) == s.scale.get(a)},
            ) for s in streams
        )  # fmt: skip
        if "channel_names" in supplied:
            names = supplied["channel_names"]
            names = facts["channel_names"] = tuple([names] if isinstance(names, str) else map(str, names))
            streams = tuple(_named(s, names, self.path) for s in streams)
        if "axes" in supplied:
            needs = needs_of(streams, self.path)
        else:
            met = {*(f"pixel_size_um.{a}" for a in sizes if a != "t"), *supplied} - {"pixel_size_um"}
            needs = tuple(n for n in self.needs if n.key not in met)
        return replace(self, facts=facts, streams=streams, needs=needs, unlabelled=unlabelled).at_places()


def _at(stream: Stream, place_px: Mapping[str, float]) -> Stream:
    own = {a: float(f"{v * stream.scale[a]:.12g}") for a, v in place_px.items() if a in stream.scale}
    return replace(stream, origin={**stream.origin, **own}) if own else stream


def needs_of(streams: Sequence[Stream], path: Path) -> tuple[Need, ...]:
    """List what must be known of images before they can be written: the pixel size along every axis of space."""
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


def _labelled(image: Unlabelled, axes: str, path: Path) -> Stream:
    """Make a stream of pages whose axes are named now."""
    names = axes[:-2] if image.array.samples == 1 else axes[:-2].replace("c", "")
    _require_count(names, len(image.lengths), axes, f"{' x '.join(map(str, image.lengths))} pages", path)
    array, found = arrange(image.array, names, image.lengths)
    scale = {a: v for a, v in image.scale.items() if a in found}
    return Stream(name=image.name, kind="Image", axes=found, array=array, scale=scale, channels=image.channels)


def _relabelled(stream: Stream, axes: str, path: Path) -> Stream:
    """Give the axes of an image other names than its file does."""
    array, own = stream.array, "".join(stream.axes)
    assert isinstance(array, TiffPages)
    if axes == own or len(array.pages) == 1:  # one plane is y x, whatever its neighbours are
        return stream
    names, lengths = axes[:-2], array.leading
    if array.samples > 1:
        assert array.channel_axis is not None
        if lengths[array.channel_axis] > array.samples:
            raise BadRequest(f"axes {axes!r}; the file states {own!r}, of colours in channels", file=path)
        names = names.replace("c", "")
        lengths = tuple(n for i, n in enumerate(lengths) if i != array.channel_axis)
    _require_count(names, len(lengths), axes, f"an image of shape {stream.shape}", path)
    array, found = arrange(array, names, lengths)
    return replace(
        stream, axes=found, array=array, shape=array.shape, scale={a: v for a, v in stream.scale.items() if a in found},
        channels=stream.channels if ("c" in found) == ("c" in own) else (),
    )  # fmt: skip


def _require_count(names: str, count: int, axes: str, what: str, path: Path) -> None:
    if len(names) != count:
        raise BadRequest(
            f"axes {axes!r} do not fit {what}", file=path,
            remedy=f"name {count} axes in the order of the file, then y and x; a pixel's colours go without saying",
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
