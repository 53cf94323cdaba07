"""The image file directories of TIFF and BigTIFF files, read without a decoder: what a page is and where its bytes lie.

Sources: Adobe, "TIFF Revision 6.0" (1992); the BigTIFF design at https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, DESCRIPTION = 254, 256, 257, 258, 259, 262, 266, 270
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, X_RESOLUTION, Y_RESOLUTION, PLANAR = (
    273,
    277,
    278,
    279,
    282,
    283,
    284,
)
RESOLUTION_UNIT, SOFTWARE, PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, SAMPLE_FORMAT = (
    296,
    305,
    317,
    322,
    323,
    324,
    325,
    339,
)
IMAGEJ_COUNTS, IMAGEJ_DATA = 50838, 50839

_OF_EVERY_PAGE: Final = frozenset({
    SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP,
    STRIP_COUNTS, PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, SAMPLE_FORMAT,
})  # fmt: skip
_OF_THE_FIRST: Final = _OF_EVERY_PAGE | {
    DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, SOFTWARE, IMAGEJ_COUNTS, IMAGEJ_DATA,
}  # fmt: skip

_NUMBERS: Final = frozenset({
    SUBFILE, WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANAR, PREDICTOR,
    TILE_WIDTH, TILE_LENGTH, RESOLUTION_UNIT,
})  # fmt: skip

# Field types: code of `struct`, and bytes. 5 and 10 are fractions of two integers.
_TYPES: Final = {
    1: ("B", 1), 2: ("s", 1), 3: ("H", 2), 4: ("I", 4), 5: ("II", 8), 6: ("b", 1), 7: ("B", 1), 8: ("h", 2),
    9: ("i", 4), 10: ("ii", 8), 11: ("f", 4), 12: ("d", 8), 13: ("I", 4), 16: ("Q", 8), 17: ("q", 8), 18: ("Q", 8),
}  # fmt: skip
_WHOLE: Final = {3: 2, 4: 4, 13: 4, 16: 8, 18: 8}  # bytes of the unsigned whole numbers that most tags are
_KINDS: Final = {1: "u", 2: "i", 3: "f", 4: "u"}  # SampleFormat; 4 is "undefined", which readers take for unsigned
_COMPLEX: Final = frozenset({5, 6})
_UIC1, _UIC4 = 33628, 33631  # of MetaMorph; PrairieView has all but the last
MICRO_MANAGER: Final = 51123
_FOREIGN: Final = {
    MICRO_MANAGER: "Micro-Manager or NDTiff", _UIC1: "MetaMorph or PrairieView", 34412: "Zeiss LSM",
    34362: "Olympus FluoView", 65420: "Hamamatsu NDPI", 50706: "a camera's raw picture (DNG)",
}  # fmt: skip
_LARGEST_TAG: Final = 2**28  # bytes; OME-XML of the largest screens has some ten million
_AGAIN: Final = "copy the file again from the microscope's computer"
Told = TypeVar("Told")
_Alike = dict[tuple[Any, ...], tuple[Mapping[int, Any], frozenset[int]]]


@dataclass(frozen=True)
class Page:
    """One page of a TIFF file.

    Attributes
    ----------
    ifd
        Byte of its directory.
    order
        ``<`` or ``>``.
    height, width, samples
        Pixels, and values of each pixel.
    planar
        The samples of a pixel lie apart: (samples, height, width) instead of (height, width, samples).
    dtype
        Native type of the values.
    data
        Byte of the first value if the page is one uncompressed run of bytes, else -1.
    end
        Byte behind the last one that the page needs.
    tags
        Of the first page all that `read_header` knows, of others those of the pixels.
    present
        Numbers of all tags it has.
    """

    ifd: int
    order: str
    height: int
    width: int
    samples: int
    planar: bool
    dtype: np.dtype[Any]
    data: int
    end: int
    tags: Mapping[int, Any]
    present: frozenset[int]

    @cached_property
    def form(self) -> tuple[int, int, int, str]:
        """What pages of one image have in common."""
        return (self.height, self.width, self.samples, sys.intern(self.dtype.name))

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return self.height * self.width * self.samples * self.dtype.itemsize

    @property
    def rows(self) -> int:
        """Rows that can be read by themselves: 1 of a run of bytes, else those of a strip or a row of tiles.

        Strips of one row count as two: by itself, one is not worth a decoder's call.
        """
        if self.data >= 0:
            return 1
        stated = self.tags.get(TILE_LENGTH if TILE_WIDTH in self.tags else ROWS_PER_STRIP)
        return min(max(int(stated), 2), self.height) if stated else self.height

    @property
    def reduced(self) -> bool:
        """Whether it is a smaller version of another page."""
        return bool(self.tags.get(SUBFILE, 0) & 1)

    def text(self, tag: int) -> str:
        """Text of a tag; empty if there is none."""
        value = self.tags.get(tag, "")
        return value if isinstance(value, str) else ""


@dataclass(frozen=True)
class Header:
    """Pages of a TIFF file, and its size in bytes."""

    path: Path
    size: int
    pages: tuple[Page, ...]

    @property
    def first(self) -> Page:
        """The first page."""
        return self.pages[0]


def entries_of(file: BinaryIO, page: Page) -> dict[int, tuple[int, int, int]]:
    """Type, count and value of every tag of a page of a TIFF that is no BigTIFF; the value may be a place in the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    number = struct.Struct(page.order + "I")
    found = _Directory(file, page.order, False, page.ifd).entries
    return {tag: (kind, count, number.unpack(value)[0]) for tag, (kind, count, value) in found.items()}


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these (at least 8) bytes is a TIFF or BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*") or head[:8] in (b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")


def read_header(path: Path, *, pages: int | None = None) -> Header:
    """Read the directories of a TIFF file, the first ``pages`` of them or all.

    Raises
    ------
    dandify.errors.BadSource
        If it is no TIFF, is cut off, or contradicts itself.
    """
    try:
        with path.open("rb", buffering=4096) as file:
            size = os.fstat(file.fileno()).st_size
            found = tuple(_pages(path, file, size, pages))
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
    return Header(path, size, found)


def header_within(path: Path, file: BinaryIO, size: int, *, pages: int | None = None) -> Header:
    """Read the directories of a TIFF that lies within another file; places are those within the TIFF.

    Parameters
    ----------
    path
        The file that holds it, for messages.
    file, size
        The TIFF, and its length in bytes.
    pages
        How many are read; all if None.

    Raises
    ------
    dandify.errors.BadSource
        As of `read_header`.
    """
    return Header(path, size, tuple(_pages(path, file, size, pages)))


def read_header_and_texts(path: Path, distil: Callable[[str], Told]) -> tuple[Header, list[Told]]:
    """Read the directories of all pages, and what a function makes of the description of each.

    Parameters
    ----------
    path
        The file.
    distil
        Called with the ImageDescription of each page, empty where there is none; the text itself is not kept.

    Raises
    ------
    dandify.errors.BadSource
        As of `read_header`.
    """
    told: list[Told] = []
    try:
        with path.open("rb", buffering=4096) as file:
            size = os.fstat(file.fileno()).st_size
            found = tuple(_pages(path, file, size, None, lambda text: told.append(distil(text))))
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
    return Header(path, size, found), told


def foreign(page: Page) -> str | None:
    """Name of the format that gives the pages of a TIFF file a meaning of its own; None if it is a plain one.

    Tags and texts are those by which tifffile tells these formats.
    """
    software, text = page.text(SOFTWARE), page.text(DESCRIPTION)
    if software.startswith("Prairie View"):
        return "Bruker PrairieView"
    if software.startswith(("SI.", "ScanImage")) or "scanimage." in text.lower() or text.startswith("state."):
        return "ScanImage"
    if text.startswith("Aperio "):
        return "Aperio SVS"
    if text.rstrip().endswith("</scn>"):
        return "Leica SCN"
    if software.startswith(("PerkinElmer-QPI", "Philips DP")):
        return software.split()[0]
    others = page.present - {_UIC1} if _UIC4 in page.present else page.present  # see vendors/metamorph_stk.py
    return next((name for tag, name in _FOREIGN.items() if tag in others), None)


def require_whole(header: Header) -> Header:
    """Return a header whose pages all lie within the file.

    Raises
    ------
    dandify.errors.BadSource
        If a page ends behind the file.
    """
    for i, page in enumerate(header.pages):
        if page.end > header.size:
            raise BadSource(
                f"is cut off: page {i + 1} of {len(header.pages)} ends at byte {page.end}, the file has {header.size}",
                file=header.path, place=f"page {i + 1}", remedy=_AGAIN,
            )  # fmt: skip
    return header


def _pages(
    path: Path, file: BinaryIO, size: int, limit: int | None, tell: Callable[[str], None] | None = None
) -> Iterator[Page]:
    head = file.read(16)
    if not is_tiff(head):
        what = "is empty" if not head else f"is no TIFF: it starts with {head[:4]!r}"
        raise BadSource(what, file=path, place="byte 0", remedy=_AGAIN)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    seen: set[int] = set()
    alike: _Alike = {}
    try:
        (offset,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
        if not offset:
            raise ValueError("it has no page")
        while offset and (limit is None or len(seen) < limit):
            if offset in seen:
                raise ValueError(f"page {len(seen) + 1} is an earlier page again")
            if offset >= size:
                raise ValueError(f"page {len(seen) + 1} is said to be at byte {offset}, the file has {size}")
            ifd = _Directory(file, order, big, offset)
            if tell is not None:
                text = ifd.value(DESCRIPTION) if DESCRIPTION in ifd.entries else ""
                tell(text if isinstance(text, str) else "")
            yield _page(ifd, offset, alike, first=not seen)
            seen.add(offset)
            offset = ifd.next
    except NotImplementedError as error:
        raise BadSource(
            str(error), file=path, place=f"page {len(seen) + 1}", remedy="write real and imaginary parts as two images"
        ) from None
    except (struct.error, ValueError, KeyError, OverflowError, TypeError, IndexError) as error:
        missing = f"tag {error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadSource(
            f"is damaged or cut off: {missing}", file=path, place=f"page {len(seen) + 1}", remedy=_AGAIN
        ) from None  # fmt: skip


class _Directory:
    """One image file directory: its tags by number, read when asked for."""

    def __init__(self, file: BinaryIO, order: str, big: bool, offset: int) -> None:
        self.file, self.order, self.big = file, order, big
        file.seek(offset)
        count_form, entry_form, link_form = (order + f for f in (("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")))
        (count,) = struct.unpack(count_form, file.read(struct.calcsize(count_form)))
        entry = struct.Struct(entry_form)
        if count > 4096:
            raise ValueError(f"a directory of {count} entries")
        table = file.read(count * entry.size)
        if len(table) < count * entry.size:
            raise ValueError("its directory ends early")
        # Micro-Manager has two descriptions in a page, OME-XML and behind it ImageJ's text: the first counts.
        self.entries = {tag: (kind, n, value) for tag, kind, n, value in reversed([*entry.iter_unpack(table)])}
        link = file.read(struct.calcsize(link_form))
        self.next: int = struct.unpack(link_form, link)[0] if len(link) == struct.calcsize(link_form) else 0

    def value(self, tag: int) -> Any:
        """Value of a tag: a text, a number, or an array of numbers; fractions are (above, below)."""
        kind, count, inline = self.entries[tag]
        if count == 1 and 0 < _WHOLE.get(kind, 0) <= len(inline):
            return int.from_bytes(inline[: _WHOLE[kind]], "little" if self.order == "<" else "big")
        code, width = _TYPES[kind]
        length = count * width
        if length > _LARGEST_TAG:
            raise ValueError(f"tag {tag} has {length} bytes")
        if length <= len(inline):
            raw = inline[:length]
        else:
            (place,) = struct.unpack(self.order + ("Q" if self.big else "I"), inline)
            self.file.seek(place)
            raw = self.file.read(length)
            if len(raw) < length:
                raise ValueError(f"tag {tag} lies behind the end of the file")
        if code == "s" or tag == IMAGEJ_DATA:
            return _text(raw) if code == "s" else raw
        if len(code) == 2:
            return struct.unpack(self.order + code, raw[:8])
        if count == 1:
            return struct.unpack(self.order + code, raw)[0]
        return np.frombuffer(raw, np.dtype(self.order + code))


def _page(ifd: _Directory, offset: int, alike: _Alike, *, first: bool) -> Page:
    wanted = _OF_THE_FIRST if first else _OF_EVERY_PAGE
    tags = {tag: ifd.value(tag) for tag in ifd.entries if tag in wanted}
    for tag in _NUMBERS & tags.keys():
        if not isinstance(tags[tag], int):
            raise ValueError(f"tag {tag} is {tags[tag]!r}, not one number")
    width, height, samples = int(tags[WIDTH]), int(tags[HEIGHT]), int(tags.get(SAMPLES, 1))
    if width < 1 or height < 1 or samples < 1:
        raise ValueError(f"a page of {width} x {height} pixels with {samples} samples")
    dtype, exact = _dtype(_set(tags.get(BITS, 1)), _set(tags.get(SAMPLE_FORMAT, 1)))
    nbytes = width * height * samples * dtype.itemsize
    offsets = tags.pop(TILE_OFFSETS, None) if TILE_OFFSETS in tags else tags.pop(STRIP_OFFSETS)
    counts = tags.pop(TILE_COUNTS, None) if TILE_COUNTS in tags else tags.pop(STRIP_COUNTS, nbytes)
    begin, end, joined = _place_of(offsets, counts, nbytes)
    plain = exact and tags.get(COMPRESSION, 1) == 1 and tags.get(FILL_ORDER, 1) == 1 and TILE_WIDTH not in tags
    flat = plain and tags.get(PREDICTOR, 1) == 1 and joined and begin > 0
    shared, present = _shared(tags, frozenset(ifd.entries), alike)
    return Page(
        ifd=offset,
        order=ifd.order,
        height=height,
        width=width,
        samples=samples,
        planar=tags.get(PLANAR, 1) == 2 and samples > 1,
        dtype=dtype,
        data=begin if flat else -1,
        end=begin + nbytes if flat else end,
        tags=shared,
        present=present,
    )


def _shared(
    tags: Mapping[int, Any], present: frozenset[int], alike: _Alike
) -> tuple[Mapping[int, Any], frozenset[int]]:
    """Return the tags of an earlier page where they are the same: a movie has a million pages."""
    try:
        return alike.setdefault((tuple(tags.items()), present), (tags, present))
    except TypeError:  # arrays, which are no keys
        return tags, present


def _place_of(offsets: Any, counts: Any, nbytes: int) -> tuple[int, int, bool]:
    """First byte of the data, the byte behind its last one, and whether strips follow each other without a gap."""
    if isinstance(offsets, int) and isinstance(counts, int):  # most pages of long series have one strip
        return offsets, offsets + counts, True
    places, lengths = _list(offsets), _list(counts)
    if len(places) != len(lengths):
        raise ValueError(f"{len(places)} places and {len(lengths)} lengths of its data")
    if not len(places):
        return -1, 0, False
    joined = bool((places[:-1] + lengths[:-1] == places[1:]).all())
    # Some writers state one strip's length too large or small by padding; the place of the data is what counts.
    whole = len(lengths) == 1 or int(lengths.sum()) >= nbytes
    return int(places[0]), int((places + lengths).max()), joined and whole


@lru_cache(maxsize=64)
def _dtype(bits: frozenset[int], formats: frozenset[int]) -> tuple[np.dtype[Any], bool]:
    """Native type of values, and whether they are stored in just this many bits."""
    if len(formats) != 1 or (len(bits) > 1 and max(bits) > 16):
        raise ValueError(f"samples of several types (bits {sorted(bits)}, formats {sorted(formats)})")
    kind, size = _KINDS.get(next(iter(formats))), max(bits)
    if formats <= _COMPLEX:
        raise NotImplementedError("holds complex numbers, which OME-Zarr images have none of")
    if kind is None or not 1 <= size <= 64 or (kind == "f" and size < 16):
        raise ValueError(f"samples of format {next(iter(formats))} with {size} bits")
    stored = next(n for n in (8, 16, 32, 64) if size <= n)
    return np.dtype(f"{kind}{stored // 8}"), bits == {stored}


def _set(value: Any) -> frozenset[int]:
    return frozenset((value,)) if isinstance(value, int) else frozenset(_list(value).tolist())


def _list(value: Any) -> NDArray[np.int64]:
    return np.atleast_1d(np.asarray(value)).astype(np.int64)


def _text(raw: bytes) -> str:
    raw = raw.split(b"\0", 1)[0] if b"\0" in raw else raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # ImageJ writes µ as one byte
