"""Checks of an array's chunk files: missing, cut off, damaged indexes of shards."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from dandify.ngff.check_tree import known_stray
from dandify.ngff.problems import Problem
from dandify.ngff.stored import DOCUMENTS, StoredArray, raw_bytes
from dandify.ngff.verify import open_level
from dandify.store.region import Region
from dandify.store.shard import MISSING, read_index
from dandify.tree_state import files_below

_BLOSC = struct.Struct("<4B3I")  # version, its codec's version, flags, typesize; nbytes, blocksize, cbytes (c-blosc 1)
_BLOSC_READ: Final = 4096  # header, and the table of up to 1,020 blocks: chunks have some dozens
_COPIED: Final = 0x2  # flag: the bytes were not compressible
_AGAIN: Final = "write the image again, or fetch the file from a good copy"
_COMPARED: Final = 16  # missing chunks that are looked up in another level before that is enough to know
_PROBE: Final = 64  # values along each axis that are read for that


def check_files(array: StoredArray) -> tuple[list[Problem], list[Region]]:
    """Look at every chunk file of an array.

    Returns
    -------
    tuple
        Problems, and the regions of chunks that are not stored: readers take the fill value there, which may be meant.
    """
    if array.separator is None:
        return [], []
    problems: list[Problem] = []
    missing: list[Region] = []
    expected = array.files()
    for name, place in expected.items():
        path = array.path / name
        if not path.is_file():
            missing.append(_region(array, array.outer, place))
            continue
        try:
            missing.extend(_in_shard(array, path, place) if array.sharded else _whole(array, path))
        except ValueError as error:
            code = "ngff.shard_damaged" if array.sharded else "ngff.chunk_damaged"
            problems.append(Problem(code, "ERROR", path, str(error), _AGAIN))
    for name, _ in files_below(array.path):
        path = array.path / name
        if name in expected or name in DOCUMENTS or known_stray(path.name):
            continue
        if _like_chunk(name):
            problems.append(Problem(
                "ngff.chunk_outside", "WARNING", path, f"a chunk outside of the array, whose shape is {array.shape}",
                "delete it, if the shape is right",
            ))  # fmt: skip
        else:
            problems.append(
                Problem("ngff.stray", "WARNING", path, "is no chunk of the array that it lies in", "delete it")
            )
    return problems, missing


def lost_chunks(array: StoredArray, missing: list[Region], other: StoredArray | None) -> Iterator[Problem]:
    """Say whether chunks that are not stored were lost, by what another level holds in their place.

    Writers may leave out chunks that hold nothing but the fill value; the same place is then empty in each level.

    Parameters
    ----------
    array
        The array.
    missing
        Its regions that are not stored.
    other
        The next level, or the one before for the last; None where there is only one.
    """
    if not missing:
        return
    lost = [r for r in missing[:_COMPARED] if other is not None and _filled(array, r, other)]
    if lost:
        place = ", ".join(f"{s.start}:{s.stop}" for s in lost[0])
        yield Problem(
            "ngff.chunk_missing", "ERROR", array.path,
            f"{len(missing)} chunk(s) are not stored, and level {other.path.name if other else ''} holds values in "
            f"their place (first: [{place}]); readers would take {array.fill} there", _AGAIN,
        )  # fmt: skip
    elif other is None:
        yield Problem(
            "ngff.chunk_missing", "WARNING", array.path,
            f"{len(missing)} chunk(s) are not stored; readers take {array.fill} there",
            "see whether the image is empty there; if not, " + _AGAIN,
        )  # fmt: skip


def _filled(array: StoredArray, region: Region, other: StoredArray) -> bool:
    """Whether most of the same place in another level differs from the fill value."""
    place = []
    for part, n, m in zip(region, array.shape, other.shape, strict=True):
        start, stop = part.start * m // n, max(part.stop * m // n, part.start * m // n + 1)
        middle = (start + stop) // 2
        place.append(slice(max(start, middle - _PROBE // 2), min(stop, middle + _PROBE // 2 + 1)))
    try:
        values = np.asarray(open_level(other.path)[tuple(place)].read().result())
    except ValueError:  # its own damage is reported for itself
        return False
    empty = np.isnan(values) if str(other.fill) == "NaN" else values == other.fill
    return bool(2 * np.count_nonzero(~empty) > values.size)


def _region(array: StoredArray, size: tuple[int, ...], place: tuple[int, ...]) -> Region:
    return tuple(slice(p * s, min((p + 1) * s, n)) for p, s, n in zip(place, size, array.shape, strict=True))


def _like_chunk(name: str) -> bool:
    return all(part.isdigit() for part in name.removeprefix("c/").removeprefix("c.").replace("/", ".").split("."))


def _whole(array: StoredArray, path: Path) -> Iterator[Region]:
    """Check a chunk that is a file; it cannot lack anything."""
    with path.open("rb") as file:
        _check_payload(array, file, 0, path.stat().st_size)
    yield from ()


def _in_shard(array: StoredArray, path: Path, place: tuple[int, ...]) -> Iterator[Region]:
    """Check a shard; regions of inner chunks that it lacks."""
    slots = array.slots
    index = read_index(
        path, int(np.prod(slots)), at_end=bool(array.index_at_end), checksummed=array.index_checksummed
    )  # fmt: skip
    with path.open("rb") as file:
        for number, inside in enumerate(product(*map(range, slots))):
            at = tuple(p * s + i for p, s, i in zip(place, slots, inside, strict=True))
            region = _region(array, array.inner, at)
            if any(s.start >= s.stop for s in region):
                continue
            offset, length = int(index[number, 0]), int(index[number, 1])
            if offset == MISSING and length == MISSING:
                yield region
            else:
                _check_payload(array, file, offset, length)


def _check_payload(array: StoredArray, file: BinaryIO, offset: int, length: int) -> None:
    """Hold an encoded chunk's length against what its own header, or its shape, says."""
    where = f"the chunk at byte {offset} " if array.sharded else ""
    if length == 0:
        raise ValueError(f"{where}is empty")
    if array.codec == "blosc":
        file.seek(offset)
        if wrong := _blosc_fault(file.read(min(length, _BLOSC_READ)), length, raw_bytes(array)):
            raise ValueError(f"{where}{wrong}: cut off or damaged")
    elif array.codec == "" and (size := raw_bytes(array)) not in (None, length):
        raise ValueError(f"{where}has {length} bytes, {size} expected: cut off or damaged")


def _blosc_fault(head: bytes, length: int, raw: int | None) -> str:
    """Hold the header of a Blosc frame, and the table of its blocks, against its length; empty if they fit."""
    if len(head) < _BLOSC.size:
        return f"has {length} bytes, less than the header of Blosc"
    version, _, flags, typesize, size, block, stated = _BLOSC.unpack_from(head)
    if stated != length:
        return f"has {length} bytes, and its header says {stated}"
    if version not in (1, 2) or not typesize or raw not in (None, size) or not 0 < block <= max(size, 1):
        return f"has a header of Blosc that cannot be (version {version}, {size} bytes in blocks of {block})"
    if flags & _COPIED:
        return "" if length == size + _BLOSC.size else f"has {length} bytes, and {size} uncompressed ones"
    count = -(-size // block)
    places = np.frombuffer(head, "<u4", min(count, (len(head) - _BLOSC.size) // 4), _BLOSC.size)
    if len(places) and (places.min() < _BLOSC.size + 4 * count or places.max() >= length):
        return "has a table of blocks that points elsewhere"
    return ""
