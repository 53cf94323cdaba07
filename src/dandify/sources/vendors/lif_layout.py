"""LIF as a container: the XML at its beginning, and the blocks of memory behind it.

Source: "LIF file format" (Leica Microsystems), as liffile and Bio-Formats tell it. The file is a run of records::

    uint32 0x70; uint32 size of what follows;

The first holds ``0x2A``, the number of characters, and the XML in UTF-16. The others each hold a block: ``0x2A``, its
size (uint64; uint32 in version 1), ``0x2A``, the length of its name, and the name; the block itself follows. Pixels are
not compressed: an image states how many bytes lie between values along each of its dimensions and channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, Final

from dandify.errors import BadSource
from dandify.sources.stated import parse_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_RECORD: Final = Struct("<IIBI")  # 0x70, size, 0x2A, characters
_BLOCK: Final = {1: Struct("<IIBIBI"), 2: Struct("<IIBQBI")}  # 0x70, size, 0x2A, bytes, 0x2A, characters of the name
_START, _MARK = 0x70, 0x2A
_XML_START: Final = "<LMSDataContainer".encode("utf-16-le")
AGAIN: Final = "copy the file again from the microscope's computer"


@dataclass(frozen=True)
class Lif:
    """What a file holds.

    Attributes
    ----------
    root
        The XML.
    blocks
        First byte and size of every block, by name. The last one may end behind the end of the file.
    size
        Of the file.
    """

    root: Element
    blocks: Mapping[str, tuple[int, int]]
    size: int


def is_lif(head: bytes) -> bool:
    """Whether a file begins as LIF does, by 64 bytes."""
    if len(head) < _RECORD.size:
        return False
    start, _, mark, _ = _RECORD.unpack_from(head)
    return start == _START and mark == _MARK and head[_RECORD.size :].startswith(_XML_START[:8])


def read_lif(path: Path) -> Lif:
    """Read the XML and find the blocks of a file.

    Raises
    ------
    dandify.errors.BadSource
        If the file is no LIF, is damaged, or ends within its XML.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_RECORD.size)
            if len(head) < _RECORD.size or (found := _RECORD.unpack(head))[0] != _START or found[2] != _MARK:
                raise BadSource("does not begin as LIF does", file=path)
            length = found[3] * 2
            if file.tell() + length > size:
                raise BadSource(
                    f"is cut off within its XML, which ends at byte {file.tell() + length}; the file has {size}",
                    file=path, remedy=AGAIN,
                )  # fmt: skip
            try:
                root = parse_xml(file.read(length).decode("utf-16-le"), "XML")
            except ValueError as error:  # of the XML, or of UTF-16
                raise BadSource(str(error), file=path, place="metadata", remedy=AGAIN) from None
            return Lif(root, _blocks(file, path, size, root.get("Version", "2")), size)
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path) from None


def _blocks(file: BinaryIO, path: Path, size: int, version: str) -> dict[str, tuple[int, int]]:
    record = _BLOCK.get(int(version) if version.isdigit() else 0)
    if record is None:
        raise BadSource(
            f"is LIF of version {version}; 1 and 2 are known", file=path, remedy="save it from LAS X as a new project"
        )
    found: dict[str, tuple[int, int]] = {}
    while (at := file.tell()) < size:
        head = file.read(record.size)
        if len(head) < record.size:
            break
        start, _, first, count, second, characters = record.unpack(head)
        if (start, first, second) != (_START, _MARK, _MARK):
            raise BadSource(
                "has no block of memory where one should begin", file=path, place=f"byte {at}", remedy=AGAIN
            )
        name = file.read(2 * characters)
        if len(name) < 2 * characters:
            break
        found[name.decode("utf-16-le", "replace")] = (file.tell(), count)
        file.seek(count, 1)
    return found
