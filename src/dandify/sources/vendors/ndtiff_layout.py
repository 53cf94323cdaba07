"""The layout of NDTiff data sets, versions 2 and 3: the index, the stacks that it names, and their metadata.

All integers are uint32, little-endian. An entry of ``NDTiff.index``, one for each image::

    n, JSON of the axes     11 00 00 00 {"z":0,"time":3}
    n, name of the file     0e 00 00 00 NDTiffStack.tif
    first byte of the pixels, width, height, pixel type, compression, first byte of the metadata, their length,
    compression of the metadata

A stack file begins as TIFF does; from byte 8: 483729, major version, minor version (not in 2.0), 2355492, length of
the summary metadata, and their JSON.

Sources: the specification in the repository of NDTiffStorage; its data sets of version 2.0, 3.2 and 3.3.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from dandify.errors import BadSource

INDEX: Final = "NDTiff.index"
AGAIN: Final = "copy the whole folder again from the microscope's computer"
_LENGTH: Final = struct.Struct("<I")
_PLACE: Final = struct.Struct("<8I")
_HEAD: Final = struct.Struct("<4s6I")
_NDTIFF, _SUMMARY = 483729, 2355492
# Native type of the values, how many a pixel has, and how many bits of each are used.
_TYPES: Final = {
    0: ("u1", 1, 8), 1: ("u2", 1, 16), 2: ("u1", 3, 8), 3: ("u2", 1, 10), 4: ("u2", 1, 12), 5: ("u2", 1, 14),
    6: ("u2", 1, 11),
}  # fmt: skip


class Form(NamedTuple):
    """What the planes of one image have in common: pixels, native type of the values, and values of each pixel."""

    height: int
    width: int
    dtype: str
    samples: int


class Plane(NamedTuple):
    """An entry of the index.

    Attributes
    ----------
    axes
        Where the image belongs: numbers or texts, such as ``{"time": 3, "channel": "DAPI"}``.
    file
        Name of its stack.
    form
        Its size and type.
    bits
        How many of each value are used.
    data
        First byte of the pixels, one uncompressed run.
    told, told_bytes
        First byte of the metadata, and their length.
    """

    axes: Mapping[str, int | str]
    file: str
    form: Form
    bits: int
    data: int
    told: int
    told_bytes: int

    @property
    def data_end(self) -> int:
        """Byte behind the last pixel."""
        form = self.form
        return self.data + form.height * form.width * form.samples * np.dtype(form.dtype).itemsize


def read_index(path: Path) -> tuple[list[Plane], list[str]]:
    """Read all entries, of those with the same axes the last, and say what is odd.

    Raises
    ------
    dandify.errors.BadSource
        If the index is damaged, cut off or empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path, remedy=AGAIN) from None
    found: dict[frozenset[tuple[str, int | str]], Plane] = {}
    at, count, problems = 0, 0, []
    while at < len(content):
        place = f"image {count + 1}, byte {at}"
        if not any(content[at : at + 4]):  # the writer makes the file larger in advance, and cuts it at the end
            if content[at:].strip(b"\0"):
                raise BadSource("has an entry without axes", file=path, place=place, remedy=AGAIN)
            problems.append(f"{path.name} ends in zeros: the acquisition was not ended as it should be.")
            break
        try:
            plane, at = _entry(content, at)
        except struct.error:
            raise BadSource("is cut off: it ends within an entry", file=path, place=place, remedy=AGAIN) from None
        except (ValueError, RecursionError) as error:
            raise BadSource(f"is damaged: {error}", file=path, place=place, remedy=AGAIN) from None
        found[frozenset(plane.axes.items())] = plane
        count += 1
    if not found:
        raise BadSource("has no image", file=path, place="byte 0", remedy=AGAIN)
    if len(found) < count:
        problems.append(f"{path.name} has {count - len(found)} images twice; the later one counts.")
    return list(found.values()), problems


def _entry(content: bytes, at: int) -> tuple[Plane, int]:
    """Read one entry, and tell where the next begins; raises struct.error where the file ends, ValueError on others."""
    texts = []
    for _ in range(2):
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size + length
        if at > len(content):
            raise struct.error
        texts.append(content[at - length : at])
    axes = json.loads(texts[0])
    if not isinstance(axes, dict) or not all(_is_place(v) for v in axes.values()):
        raise ValueError(f"axes {texts[0][:80]!r}")
    name = texts[1].decode()
    if not name or name in (".", "..") or set(name) & set("/\\:\0"):
        raise ValueError(f"a file of the name {name!r}")
    data, width, height, kind, packed, told, told_bytes, told_packed = _PLACE.unpack_from(content, at)
    if kind not in _TYPES:
        raise ValueError(f"pixels of type {kind}, which is none of NDTiff 3")
    if packed or told_packed:
        raise ValueError(f"compression {packed or told_packed}, where NDTiff 3 has none")
    if not width or not height:
        raise ValueError(f"an image of {width} x {height} pixels")
    dtype, samples, bits = _TYPES[kind]
    form = Form(height, width, dtype, samples)
    return Plane(axes, name, form, bits, data, told, told_bytes), at + _PLACE.size


def _is_place(value: Any) -> bool:
    """Whether a value along an axis is a text or a number of 32 bits, as the writer's are."""
    return isinstance(value, str) or (type(value) is int and abs(value) < 2**31)


def read_stacks(folder: Path, planes: Iterable[Plane]) -> dict[str, Any]:
    """Check that all stacks are there and hold what the index says; return the summary in the first.

    Raises
    ------
    dandify.errors.BadSource
        If a stack is missing, is none, or ends before an image.
    """
    sizes: dict[str, int] = {}
    summary: dict[str, Any] = {}
    for plane in planes:
        path = folder / plane.file
        if plane.file not in sizes:
            try:
                sizes[plane.file] = path.stat().st_size
                with path.open("rb") as file:
                    begin, length = _header(path, file)
                    if len(sizes) == 1:
                        summary = _read_json(path, file, begin, length, "summary metadata")
            except FileNotFoundError:
                raise BadSource("is missing", file=path, place=f"named by {INDEX}", remedy=AGAIN) from None
            except OSError as error:
                raise BadSource(f"cannot be read: {error.strerror}", file=path, remedy=AGAIN) from None
        end = max(plane.data_end, plane.told + plane.told_bytes)
        if end > sizes[plane.file]:
            raise BadSource(
                f"is cut off: by {INDEX} an image ends at byte {end}, the file has {sizes[plane.file]}", file=path,
                place=in_words(plane.axes), remedy=AGAIN,
            )  # fmt: skip
    return summary


def _header(path: Path, file: BinaryIO) -> tuple[int, int]:
    """First byte and length of the summary metadata."""
    head = file.read(_HEAD.size)
    values = _HEAD.unpack(head) if len(head) == _HEAD.size else (head[:4], *(0,) * 6)
    if values[0] != b"II*\0" or values[2] != _NDTIFF:
        raise BadSource("does not begin as a stack of NDTiff does", file=path, place="byte 0", remedy=AGAIN)
    # Major version, and in all but version 2.0 a minor one, stand before the mark.
    at = next((i for i in (4, 5) if values[i] == _SUMMARY), None)
    if at is None:
        raise BadSource("has no summary metadata", file=path, place="byte 16", remedy=AGAIN)
    return 4 + 4 * (at + 1), values[at + 1]


def _read_json(path: Path, file: BinaryIO, begin: int, length: int, place: str) -> dict[str, Any]:
    file.seek(begin)
    text = file.read(length)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSource(f"has damaged metadata: {error}", file=path, place=place, remedy=AGAIN) from None
    if not isinstance(found, dict):
        raise BadSource("has metadata that are no JSON object", file=path, place=place, remedy=AGAIN)
    return found


def metadata_of(folder: Path, plane: Plane | None) -> dict[str, Any] | None:
    """Read what is stated of a plane; None if there is no plane.

    Raises
    ------
    dandify.errors.BadSource
        If it is no JSON object.
    """
    if plane is None:
        return None
    path = folder / plane.file
    try:
        with path.open("rb") as file:
            return _read_json(path, file, plane.told, plane.told_bytes, f"metadata of {in_words(plane.axes)}")
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path, remedy=AGAIN) from None


def in_words(axes: Mapping[str, int | str]) -> str:
    """Name an image by its axes: ``time 3, channel DAPI``."""
    return ", ".join(f"{axis} {value}" for axis, value in axes.items()) or "the only image"
