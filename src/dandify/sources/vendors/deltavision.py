"""The header of DeltaVision files (.dv, .r3d): 1,024 bytes, an extended header of each section, then the sections.

Source: "IVE image file format" (Priism and IVE documentation, UCSF), which softWoRx follows; the same fields in the
packages mrc (T. Lambert) and Bio-Formats (DeltavisionReader).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dandify.errors import BadSource
from dandify.sources.contract import Channel

HEADER_BYTES: Final = 1024
# Fields by their first byte and form.
_PIXELS: Final = (0, "4i")  # width, height, sections, type of pixels
_VOXEL: Final = (40, "3f")  # x y z in micrometres
_EXTENDED: Final = (92, "i")  # bytes of the extended header
_SECTION: Final = (128, "2h")  # whole numbers and floats in it for each section
_KIND: Final = (160, "2h")  # kind of image, number of the lens
_TIMES: Final = (180, "2h")  # time points, order of the sections
_WAVES: Final = (196, "6h")  # number of wavelengths, and up to five of them
_MARKS: Final = {b"\xa0\xc0": "<", b"\xc0\xa0": ">"}  # -16224, which tells the byte order
_TYPES: Final = {0: "u1", 1: "i2", 2: "f4", 5: "i2", 6: "u2", 7: "i4"}
_ORDERS: Final = {0: "ctz", 1: "tzc", 2: "tcz"}  # slowest first; the format names the fastest first: ZTW, WZT, ZWT
_KINDS: Final = {
    1: "tilt series", 2: "stereo tilt series", 4: "averaged stereo pairs", 5: "electron tilt series",
    8000: "pupil function",
}  # fmt: skip
_AGAIN: Final = "copy the file again from the microscope's computer"


@dataclass(frozen=True)
class DeltaVision:
    """What a header states.

    Attributes
    ----------
    order
        Byte order, ``<`` or ``>``.
    width, height
        Pixels.
    dtype
        Type of the pixels, without byte order.
    axes, lengths
        Of the sections as they follow each other, slowest first.
    data
        Byte of the first section.
    scale
        Micrometres for z y x, seconds for t, as far as stated.
    channels
        In order.
    lens
        Number of the lens in softWoRx's table; 0 if none.
    """

    order: str
    width: int
    height: int
    dtype: str
    axes: str
    lengths: tuple[int, ...]
    data: int
    scale: Mapping[str, float]
    channels: tuple[Channel, ...]
    lens: int

    @property
    def section_bytes(self) -> int:
        """Bytes of a section."""
        return self.width * self.height * int(self.dtype[1])


def is_deltavision(head: bytes) -> bool:
    """Whether a file that begins with these bytes is one."""
    return len(head) >= HEADER_BYTES and head[96:98] in _MARKS


def read_deltavision(path: Path) -> DeltaVision:
    """Read the headers.

    Raises
    ------
    dandify.errors.BadSource
        If it is no DeltaVision file, is cut off, or is no image in y and x.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            if not is_deltavision(head):
                raise BadSource(
                    "does not begin as a DeltaVision file does" if head else "is empty", file=path, remedy=_AGAIN
                )
            found = _parsed(head, path)
            extended = file.read(found.data - HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
    count = 1
    for length in found.lengths:
        count *= length
    there = max(0, size - found.data) // found.section_bytes
    if there < count:
        raise BadSource(
            f"is cut off: it states {count} sections and has {there}", file=path, place=f"section {there + 1}",
            remedy="a recording that was stopped ends like this: save what is there in softWoRx; else copy it again",
        )  # fmt: skip
    return _with_sections(found, head, extended)


def _parsed(head: bytes, path: Path) -> DeltaVision:
    order = _MARKS[head[96:98]]

    def field(place: tuple[int, str]) -> tuple[Any, ...]:
        return struct.unpack_from(order + place[1], head, place[0])

    width, height, sections, kind = field(_PIXELS)
    dx, dy, dz = field(_VOXEL)
    (extended,) = field(_EXTENDED)
    image, lens = field(_KIND)
    times, sequence = field(_TIMES)
    waves, *emission = field(_WAVES)
    lengths = {"t": max(1, times), "c": max(1, waves)}
    lengths["z"], rest = divmod(sections, lengths["t"] * lengths["c"])
    if image in _KINDS:
        raise BadSource(f"is a {_KINDS[image]}, no image in y and x", file=path, remedy="export it as TIFF")
    if kind not in _TYPES:
        raise BadSource(f"has pixels of type {kind}, complex or unknown", file=path, remedy="export it as TIFF")
    if min(width, height, sections) < 1 or rest or sequence not in _ORDERS or extended < 0:
        raise BadSource(
            f"is damaged: {width} x {height} pixels, {sections} sections for {times} times and {waves} wavelengths, "
            f"order {sequence}", file=path, place="byte 0", remedy=_AGAIN,
        )  # fmt: skip
    axes = _ORDERS[sequence]
    described = len(emission) >= lengths["c"] and min(emission[: lengths["c"]]) > 0
    emitted = [float(w) for w in emission[: lengths["c"]]]
    return DeltaVision(
        order=order, width=width, height=height, dtype=_TYPES[kind], axes=axes,
        lengths=tuple(lengths[a] for a in axes), data=HEADER_BYTES + extended,
        scale={a: float(f"{v:.7g}") for a, v in (("z", dz), ("y", dy), ("x", dx)) if v > 0},
        channels=tuple(Channel(f"{w:g}", wavelength_nm=w) for w in emitted) if described else (),
        lens=lens,
    )  # fmt: skip


def _with_sections(found: DeltaVision, head: bytes, extended: bytes) -> DeltaVision:
    """Add what the sections' own headers state: times, and wavelengths of excitation and emission."""
    from dataclasses import replace

    ints, floats = struct.unpack_from(found.order + _SECTION[1], head, _SECTION[0])
    step = 4 * (ints + floats)
    lengths = dict(zip(found.axes, found.lengths, strict=True))
    total = lengths["t"] * lengths["c"] * lengths["z"]
    if ints < 0 or floats < 12 or len(extended) < step * total:
        return found

    def section(**at: int) -> tuple[float, ...]:
        number = 0
        for axis in found.axes:
            number = number * lengths[axis] + at.get(axis, 0)
        return struct.unpack_from(f"{found.order}{floats}f", extended, number * step + 4 * ints)

    scale = dict(found.scale)
    if lengths["t"] > 1:
        span = section(t=lengths["t"] - 1)[1] - section()[1]
        if span > 0:
            scale["t"] = float(f"{span / (lengths['t'] - 1):.7g}")
    waves = [section(c=c)[10:12] for c in range(lengths["c"])]
    channels = found.channels
    if all(w[0] > 0 and w[1] > 0 for w in waves):
        channels = tuple(
            Channel(f"{ex:g}/{em:g}", wavelength_nm=float(em), excitation_nm=float(ex)) for ex, em in waves
        )  # as softWoRx calls them
    return replace(found, scale=scale, channels=channels)
