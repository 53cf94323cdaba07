"""The tags of Universal Imaging (UIC1 to UIC4) in the TIFF and STK files of older versions of MetaMorph.

A stack (``.stk``) has one directory: its strips are those of the first plane, and the others follow, each as long as
the first. How many there are is the count of UIC2. The counts of the tags do not tell their lengths; each holds the
place of its values, which are little-endian:

- UIC1 (33628): pairs of an id and a number, or the place of a text or of a fraction. 3 tells whether a calibration is
  on, 4 and 5 are the width and height of a pixel in the unit 6.
- UIC2 (33629): for each plane the distance to its neighbour (a fraction, in micrometres), and date and time it was
  taken and changed at.
- UIC4 (33631): an id and values for every plane, one after the other. 40 are readings of the focus drive (signed
  fractions), which count where 41 is not 0; 28 are places of the stage, 29 offsets of the camera's chip, 37 names.

PrairieView writes the first three into its files, too, with a pixel of 99 um whatever it is. They are not read where
the fourth is missing.

Sources: Molecular Devices, "MetaMorph Stack (STK) Image File Format"; names and types as tifffile has them. Numerators
of places are signed: real stages have a zero in the middle.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Final, TypeVar

from dandify.errors import BadSource
from dandify.sources.microscopy import micrometres
from dandify.sources.stated import regular_step
from dandify.sources.tiff_header import DESCRIPTION, SOFTWARE, Header, entries_of

UIC1, UIC2, UIC4 = 33628, 33629, 33631
_CALIBRATED, _WIDTH, _HEIGHT, _UNIT = 3, 4, 5, 6
_PLACES, _CHIP, _LABELS, _DEPTHS, _VALID = 28, 29, 37, 40, 41
_MOST: Final = 2**20  # planes
_LONGEST: Final = 1024  # characters of a text
_BEFORE_CHRIST: Final = 1721424  # MetaMorph's number of the day before 1 January of year 1
_EVEN: Final = 0.05  # of a step: what a focus drive's reading may be off its place in an even row
Told = TypeVar("Told")


@dataclass(frozen=True)
class Stk:
    """What the tags state; None or empty where nothing is.

    Attributes
    ----------
    planes
        Their number.
    scale
        Micrometres for y and x.
    steps
        Micrometres from its neighbour, for each plane.
    acquired
        Local time of each plane, without a zone.
    depths
        Reading of the focus drive in micrometres, for each plane.
    text
        What the file says of its first plane.
    """

    planes: int
    scale: Mapping[str, float]
    steps: tuple[float, ...]
    acquired: tuple[datetime | None, ...]
    depths: tuple[float, ...]
    text: str

    @property
    def axis(self) -> str | None:
        """What several planes are along: ``z`` where they have distances, ``t`` where only their times differ."""
        if self._stepped or even_step(self.depths):
            return "z"
        if None not in self.acquired and 1 < len(self.acquired) == len(set(self.acquired)):
            return "t"
        return None

    @property
    def depth_step(self) -> float | None:
        """Micrometres between neighbouring planes, where all are alike."""
        if not self._stepped:
            return even_step(self.depths)
        steps = [abs(s) for s in self.steps[1:]]  # the first has no plane before it
        return float(f"{steps[0]:.6g}") if max(steps) - min(steps) <= _EVEN * max(steps) else None

    @property
    def _stepped(self) -> bool:
        return len(self.steps) > 1 and all(self.steps[1:])

    @property
    def seconds_step(self) -> float | None:
        """Seconds between neighbouring planes, where they are regular."""
        times = [t for t in self.acquired if t is not None]
        if len(times) < len(self.acquired) or len(times) < 2:
            return None
        return regular_step([(t - times[0]).total_seconds() for t in times])


def read_stk(header: Header) -> Stk | None:
    """Read the tags of the first page; None if it has none.

    Raises
    ------
    BadSource
        If the file is said to have more planes than a file can, or cannot be read.
    """
    if not {UIC2, UIC4} <= header.first.present:
        return None
    try:
        with header.path.open("rb") as file:
            if file.read(4) not in (b"II*\0", b"MM\0*"):
                return None
            entries = entries_of(file, header.first)
            count = entries[UIC2][1]
            if not 1 <= count <= _MOST:
                raise BadSource(f"is said to have {count} planes", file=header.path, place="tag UIC2")
            read = _Reader(file)
            settings = read.attempt(lambda: dict(_settings(read, *entries[UIC1][1:]))) if UIC1 in entries else None
            planes = read.attempt(lambda: read.array(entries[UIC2][2], "iIIIII", count)) or []
            values = read.attempt(lambda: _of_planes(read, entries[UIC4][2], count))
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=header.path) from None
    settings = settings or {}
    unit = str(settings.get(_UNIT, ""))
    sizes = {a: micrometres(settings.get(i), unit) for a, i in (("y", _HEIGHT), ("x", _WIDTH))}
    return Stk(
        planes=count,
        scale={a: v for a, v in sizes.items() if v is not None and settings.get(_CALIBRATED)},
        steps=tuple(_fraction(above, below) or 0.0 for above, below, *_ in planes),
        acquired=tuple(_moment(day, ms) for _, _, day, ms, *_ in planes),
        depths=values or (),
        text=header.first.text(DESCRIPTION),
    )


def planes_of(header: Header) -> int:
    """Return the number of planes that the tags say the first page has; 1 where they are not there.

    Raises
    ------
    BadSource
        As of `read_stk`.
    """
    found = read_stk(header)
    return found.planes if found else 1


def is_one_plane(header: Header) -> bool:
    """Whether a file with the tags that PrairieView writes is one plane by itself: its only page, and no OME-XML."""
    first = header.first
    text, software = first.text(DESCRIPTION), first.text(SOFTWARE)
    if (
        len(header.pages) > 1
        or UIC4 in first.present
        or text.rstrip().endswith("OME>")
        or software.startswith("Prairie")
    ):
        return False
    with suppress(OSError), header.path.open("rb") as file:
        if file.read(4) in (b"II*\0", b"MM\0*"):
            return entries_of(file, first).get(UIC2, (0, 0, 0))[1] == 1
    return False


def even_step(places: Sequence[float]) -> float | None:
    """Distance of places in an even row, in whatever direction; None if it is none."""
    if len(places) < 2:
        return None
    step = (places[-1] - places[0]) / (len(places) - 1)
    if not step or any(abs(p - places[0] - i * step) > abs(step) * _EVEN for i, p in enumerate(places)):
        return None
    return float(f"{abs(step):.6g}")


class _Reader:
    """Reads little-endian numbers and texts at their places; short ones raise `struct.error`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @staticmethod
    def attempt(read: Callable[[], Told]) -> Told | None:
        """Return what is read; None if it is damaged: pixels are found without it, and nothing is taken from it."""
        try:
            return read()
        except (struct.error, ValueError, OverflowError):
            return None

    def numbers(self, place: int, form: str) -> tuple[int, ...]:
        """Numbers that lie at a byte."""
        self._file.seek(place)
        return struct.unpack("<" + form, self._file.read(struct.calcsize("<" + form)))

    def array(self, place: int, form: str, count: int) -> list[tuple[int, ...]]:
        """Give groups of numbers that follow each other."""
        self._file.seek(place)
        return list(struct.iter_unpack("<" + form, self._exactly(struct.calcsize("<" + form) * count)))

    def text(self, place: int) -> str:
        """Text behind its length."""
        (length,) = self.numbers(place, "I")
        if length > _LONGEST:
            raise ValueError(f"a text of {length} bytes")
        return self._exactly(length).split(b"\0", 1)[0].decode("latin-1").strip()

    def _exactly(self, count: int) -> bytes:
        raw = self._file.read(count)
        if len(raw) < count:
            raise ValueError("it ends early")
        return raw


def _settings(read: _Reader, count: int, place: int) -> Iterator[tuple[int, int | float | str]]:
    """Those of UIC1 that are wanted."""
    if count > _MOST:
        raise ValueError(f"{count} settings")
    for key, value in read.array(place, "II", count):
        if key == _CALIBRATED:
            yield key, value
        elif key in (_WIDTH, _HEIGHT):
            yield key, _fraction(*read.numbers(value, "II")) or 0.0
        elif key == _UNIT:
            yield key, read.text(value)


def _of_planes(read: _Reader, place: int, count: int) -> tuple[float, ...]:
    """Read the places of the focus drive, where UIC4 has them and says that they count."""
    depths: list[float | None] = []
    valid = True
    while True:
        (key,) = read.numbers(place, "H")
        place += 2
        if key in (_PLACES, _CHIP):
            place += 16 * count
        elif key == _LABELS:
            for _ in range(count):
                (length,) = read.numbers(place, "I")
                place += 4 + length
        elif key == _DEPTHS:
            depths = [_fraction(*pair) for pair in read.array(place, "iI", count)]
            place += 8 * count
        elif key == _VALID:
            valid = all(n for (n,) in read.array(place, "I", count))
            place += 4 * count
        else:  # 0 is the end; the length of others is not known
            break
    known = tuple(d for d in depths if d is not None)
    return known if valid and len(known) == count else ()


def _fraction(above: int, below: int) -> float | None:
    return above / below if below else None


def _moment(day: int, milliseconds: int) -> datetime | None:
    """Time of MetaMorph's number of a day and the milliseconds since it began; None if it is none."""
    try:
        found = datetime.fromordinal(day - _BEFORE_CHRIST) + timedelta(milliseconds=milliseconds)
    except (ValueError, OverflowError):
        return None
    return found if found.year > 1970 else None
