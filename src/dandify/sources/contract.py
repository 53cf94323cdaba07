"""The contract of a converter: Converter, Source, Stream, Array.

A new acquisition format is one file in ``converters/`` that defines a subclass of `Converter` and binds one instance
of it to the module's name ``converter``. It answers three questions:

1. `Converter.claim` - which acquisition could this file name belong to? Names only, nothing is opened.
2. `Converter.identify` - is this acquisition mine? First bytes or a companion file; never raises on junk.
3. `Converter.open` - what lies in it? Headers only, no samples.

The answer to the third is a `Source`: its streams, and the facts its files state. A fact that the files do not state
is absent. Converters never write and never choose chunks, codecs, threads, names or overwriting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dandify.errors import Need
from dandify.store.region import Region, extent, normalize

if TYPE_CHECKING:
    from pynwb import NWBFile

KINDS = (
    "ElectricalSeries", "LFP", "TimeSeries", "EventsTable", "TimeIntervals", "ImageSeries", "TwoPhotonSeries",
    "VoltageClampSeries", "CurrentClampSeries", "IZeroClampSeries", "PatchClampSeries", "Image",
)  # fmt: skip
"""What a stream becomes: an NWB neurodata type, or ``Image`` for an OME-Zarr image.

``LFP`` is an ElectricalSeries below 5 kHz, which NWB keeps in the LFP container. ``PatchClampSeries`` is a stimulus or
response of which the file does not say whether it is clamped."""

FACTS = MappingProxyType({
    "session_start_time": "datetime the acquisition began; naive where the files give local time without a zone",
    "session_id": "name of the session or run, as the acquisition program states it",
    "subject_id": "id of the subject, where the acquisition program has a field for it",
    "experimenter": "who is named in the files, as written there",
    "description": "what the operator typed about the recording",
    "software": "acquisition program and its version",
    "device": "name of the acquisition device",
    "probes": "tuple of probe descriptions, one for each probe: model and serial number as far as stated",
    "pixel_size_um": "mapping of the space axes (z y x) to the distance of neighbouring pixels in micrometres",
    "time_increment_s": "seconds between time points",
    "time_points_s": "tuple of the times of the time points in seconds from the first, where their distances differ",
    "channel_names": "names of the image channels, in order",
    "exposure_time_s": "tuple of the exposure of the image channels in seconds, in order",
    "objective": "objective as described by the files",
    "stage_position_um": "mapping of image names to the stage's position (x y z) in micrometres, along its own axes",
    "codec": "codec of a video",
    "creation_time": "datetime a media file says it was made; a re-encoded video has that of its encoding",
})  # fmt: skip
"""The vocabulary of `Source.facts`: key and meaning. Keys carry their units."""


@runtime_checkable
class ReadsInto(Protocol):
    """An array that can put values where they are wanted, without a copy in between."""

    def read_into(self, region: Region, out: NDArray[Any]) -> None:
        """Put the values of a normalized, not empty region into a contiguous array of its shape and type."""


class Array(ABC):
    """An array that is read by regions: raw dtype, stateless, picklable, safe from any thread or process.

    Subclasses give `shape`, `dtype` and `block` (what the file yields at one go) and `read`. They hold paths and
    numbers, never open files; every read opens, reads and closes.
    """

    if TYPE_CHECKING:  # read-only for callers; a subclass defines them as fields or as properties

        @property
        def shape(self) -> tuple[int, ...]:
            """Length of each axis."""

        @property
        def dtype(self) -> np.dtype[Any]:
            """Type of the values as the file stores them."""

        @property
        def block(self) -> tuple[int, ...]:
            """What the file yields at one go, per axis."""

    @abstractmethod
    def read(self, region: Region) -> NDArray[Any]:
        """Values of a normalized region (see `dandify.store.region.normalize`), in the array's dtype."""

    def __getitem__(self, region: Region | slice) -> NDArray[Any]:
        plain = normalize(region, self.shape)
        if 0 in extent(plain):
            return np.empty(extent(plain), self.dtype)
        return self.read(plain)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Raw bytes of the whole array."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]


@dataclass(frozen=True)
class Channel:
    """One channel of a stream: an electrode trace, an analog input, a colour.

    Attributes
    ----------
    name
        As the acquisition program calls it.
    unit
        Physical unit after `gain` and `offset`, in the NWB spelling (``volts``, ``amperes``); None where not stated.
    gain, offset
        Physical value = raw * gain + offset; None where not stated.
    color
        For images, six hex digits RGB.
    wavelength_nm
        For images, emission wavelength.
    excitation_nm
        For images, excitation wavelength.
    """

    name: str
    unit: str | None = None
    gain: float | None = None
    offset: float | None = None
    color: str | None = None
    wavelength_nm: float | None = None
    excitation_nm: float | None = None


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name
        Name in the NWB table.
    description
        What it holds.
    array
        Values (rows,); text columns have dtype object and hold str.
    unit
        Physical unit, if any.
    """

    name: str
    description: str
    array: Array
    unit: str | None = None


@dataclass(frozen=True)
class Well:
    """Where on a multi-well plate an image was taken.

    Attributes
    ----------
    row, column
        As the files call them: ``B``, ``03``.
    field
        Number of the place within the well, as the files have it.
    """

    row: str
    column: str
    field: str = "0"

    @property
    def path(self) -> str:
        """Of the image within a plate of OME-Zarr."""
        return f"{self.row}/{self.column}/{self.field}"


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One series, table or image of an acquisition.

    Attributes
    ----------
    name
        Unique in its source; becomes the NWB object's or the image's name where nobody else names it.
    kind
        One of `KINDS`.
    axes
        One letter per axis of `array`, out of ``t c z y x``: ``("t", "c")`` for a recording, ``("c", "z", "y", "x")``
        for an image. Tables have ``("t",)``: one row after the other.
    array
        The samples or pixels; None for tables (see `columns`) and external files.
    shape
        Shape of the stream; that of `array` unless there is none: (rows,) or (frames, height, width, colours).
    rate_hz
        Sampling rate; None where irregular or not stated.
    timestamps
        Times of the samples in seconds from the start of this source, (samples,) float64; None where regular.
    starting_time_s
        Time of the first sample, from the start of this source.
    unit, conversion, offset
        Physical value = raw * conversion + offset in `unit`.
    channels
        In the order of the ``c`` axis. Of an ``EventsTable`` whose array holds words of bits, the digital lines.
    scale
        For images, distance of neighbouring pixels per axis: micrometres for z y x, seconds for t. Axes whose
        distance is not stated are absent.
    origin
        For images, place of the first pixel's centre in the space that all images of the source share, micrometres for
        z y x, along the image's own axes. Axes along which it is not stated are absent.
    well
        For images of a plate; all of a source become one OME-Zarr.
    filled
        Planes that no file holds, and that are 0 because somebody asked for it: their place along each axis before y
        and x.
    columns
        For tables.
    external_files
        For ImageSeries kept as files beside the NWB, in order.
    description
        From the files or from the column map.
    """

    name: str
    kind: str
    axes: tuple[str, ...]
    array: Array | None = None
    shape: tuple[int, ...] = ()
    rate_hz: float | None = None
    timestamps: Array | None = None
    starting_time_s: float = 0.0
    unit: str | None = None
    conversion: float = 1.0
    offset: float = 0.0
    channels: tuple[Channel, ...] = ()
    scale: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    origin: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    well: Well | None = None
    filled: tuple[Mapping[str, int], ...] = ()
    columns: tuple[Column, ...] = ()
    external_files: tuple[Path, ...] = ()
    description: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", _frozen(self.scale))
        object.__setattr__(self, "origin", _frozen(self.origin))
        if self.array is not None and not self.shape:
            object.__setattr__(self, "shape", self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Type of the samples, None where there is no array."""
        return None if self.array is None else self.array.dtype

    @property
    def nbytes(self) -> int:
        """Raw bytes: of the array, of the columns, or of the external files."""
        if self.array is not None:
            return self.array.nbytes
        if self.columns:
            return sum(c.array.nbytes for c in self.columns)
        return sum(f.stat().st_size for f in self.external_files)

    @property
    def duration_s(self) -> float | None:
        """Length in time; None where there is no rate or no time axis."""
        if self.rate_hz and "t" in self.axes and self.shape:
            return self.shape[self.axes.index("t")] / self.rate_hz
        return None


@dataclass(frozen=True, kw_only=True)
class Source:
    """An opened acquisition: what lies in it, without its samples.

    Attributes
    ----------
    format
        Name of the converter.
    path
        The file or folder that was opened.
    files
        Every file that belongs to it, companions included.
    streams
        In a fixed order.
    facts
        What the files state; keys out of `FACTS`.
    needs
        What the files do not state and the user must supply before it can be converted.
    problems
        What is wrong but does not stop a conversion, one sentence each.
    """

    format: str
    path: Path
    files: tuple[Path, ...]
    streams: tuple[Stream, ...]
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    needs: tuple[Need, ...] = ()
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", _frozen(self.facts))

    @property
    def nbytes(self) -> int:
        """Bytes of all files on disk."""
        return sum(f.stat().st_size for f in self.files)

    def with_facts(self, supplied: Mapping[str, Any]) -> Source:
        """Return this source with what the user supplied; values that the files state are replaced too.

        Images override this to put a supplied pixel size into their streams.
        """
        from dataclasses import replace

        if not supplied:
            return self
        keys = set(supplied)
        return replace(
            self,
            facts={**self.facts, **supplied},
            needs=tuple(n for n in self.needs if n.key.split(".")[0] not in keys),
        )


class NWBSource(Source, ABC):
    """A source that builds its own NWB objects, usually through a neuroconv interface."""

    @abstractmethod
    def add_to_nwbfile(self, nwbfile: NWBFile, *, shift_s: float = 0.0) -> None:
        """Add devices, electrodes and series to an in-memory NWBFile.

        Big arrays are added as iterators or as `Array`; the engine fills them later.

        Parameters
        ----------
        nwbfile
            The session's file. Other sources may have added objects before: names must not collide.
        shift_s
            Start of this source in seconds after the session's start.
        """


@dataclass(frozen=True)
class Verdict:
    """Whether an acquisition is of a format, and why."""

    yes: bool
    reason: str

    def __bool__(self) -> bool:
        return self.yes


class Converter(ABC):
    """One acquisition format.

    Class attributes
    ----------------
    name
        Identifier, the module's name: ``spikeglx``.
    title
        What people call it.
    patterns
        Glob patterns of file names, matched without regard to case.
    looks_like
        What such an acquisition looks like on the disk, one line.
    becomes
        What it becomes, one line.
    requires
        Packages beside dandify's own dependencies, as pip names them.
    priority
        Order of asking, low first. A general format (any CSV) has a higher number than a special one.
    fills
        `open` takes the option ``missing: fill``: planes that no file holds are 0, and named by `Stream.filled`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    patterns: ClassVar[tuple[str, ...]]
    looks_like: ClassVar[str]
    becomes: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    priority: ClassVar[int] = 0
    fills: ClassVar[bool] = False

    def claim(self, path: Path) -> Path | None:
        """Return the file or folder that is the whole acquisition ``path`` could belong to; None if not by its name.

        Nothing is opened. The default: the file itself, if a pattern matches its name.
        """
        return path if self.matches(path) else None

    def matches(self, path: Path) -> bool:
        """Whether the file's name fits a pattern."""
        return any(fnmatchcase(path.name.lower(), p.lower()) for p in self.patterns)

    @abstractmethod
    def identify(self, path: Path) -> Verdict:
        """Say whether what `claim` returned is this format, by first bytes or a companion. Never raises on junk."""

    @abstractmethod
    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the headers of what `claim` returned.

        Parameters
        ----------
        path
            The acquisition.
        options
            What a project says about this source: the column map of a table. Unknown keys are an error.

        Raises
        ------
        dandify.errors.BadSource
            If it is damaged, truncated, or contradicts its companion.
        """


def _frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping if isinstance(mapping, _FrozenDict) else _FrozenDict(mapping)


class _FrozenDict(dict[str, Any]):
    """A dict that cannot be changed and, unlike MappingProxyType, can be pickled."""

    def _refuse(self, *_: object, **__: object) -> None:
        raise TypeError("facts and scales are read-only")

    __setitem__ = __delitem__ = update = pop = popitem = clear = setdefault = _refuse  # type: ignore[assignment]  # every way to change a dict

    def __reduce__(self) -> tuple[object, ...]:
        return (_FrozenDict, (dict(self),))

    def __hash__(self) -> int:  # type: ignore[override]  # dict says None: it can be changed, and this cannot
        return hash(tuple(sorted((k, repr(v)) for k, v in self.items())))
