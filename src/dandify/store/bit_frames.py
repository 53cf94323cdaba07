"""Blosc frames of pixels whose bits are shuffled: matches are searched for only in planes where they save something.

Planes of noise are stored, empty ones repeated, and those with uneven bytes are coded here; the rest is Zstandard's.
Sources: the format of Blosc 1 frames (c-blosc, README_CHUNK_FORMAT), RFC 8878 for the Zstandard frame in each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bit_planes import EMPTY, GROUP, NOISE, OTHER, UNEVEN, judge, split_bits
from dandify.kernels.zstd_literals import MOST, SPARE, literals_blocks
from dandify.store.encode import scratch

DTYPES: Final = ("|u1", "|i1", "<u2", "<i2")
"""Of pixels that are encoded here."""
_LEAST: Final = 8 * 1024  # bytes of a plane: of smaller ones the sample would say nothing
# Version of the format and of Zstandard's, flags, bytes of a value; of all, of a block, of the code.
_HEAD = struct.Struct("<BBBBIII")
_VERSIONS: Final = (2, 1)
_FLAGS: Final = 0x94  # Zstandard, a block is not split, bits are shuffled
_NUMBER = struct.Struct("<I")
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SINGLE: Final = 0xA0  # one segment, its size in four bytes; no dictionary, no checksum
_STORED, _REPEATED, _COMPRESSED = 0, 1, 2
_SIZES: Final = (1, 2, 4, 8)  # bytes of a frame's size; none of the first kind, unless it is one segment
_DICTIONARIES: Final = (0, 1, 2, 4)


def block_of(size: int, most: int, itemsize: int) -> int:
    """Bytes to shuffle at one go of a chunk of ``size``, no more than ``most`` and all alike; 0 if there is no such.

    A chunk for which there is none is not encoded here.
    """
    least = -(-size // most)
    for count in range(max(1, least), 2 * least + 1):
        step = size // count
        if size % count == 0 and step % (itemsize * GROUP) == 0 and _LEAST <= step // (8 * itemsize) <= MOST:
            return step
    return 0


def encode_bits(raw: NDArray[np.uint8], itemsize: int, most: int, zstd: Any) -> bytes | None:
    """Encode a chunk as Blosc does with Zstandard; None where it has no `block_of`, or would not be smaller.

    Parameters
    ----------
    raw
        (bytes,) contiguous: values, little-endian.
    itemsize
        Bytes of a value, 1 or 2.
    most
        Bytes to shuffle and compress at one go, at most, see `block_of`.
    zstd
        Numcodecs' codec, for planes where it may find matches; for uneven bytes too, if its level is above 1.
    """
    step = block_of(raw.size, most, itemsize)
    if not step:
        return None
    planes, kinds = scratch("bit planes", step), np.empty(8 * itemsize, np.uint8)
    count = raw.size // step
    pieces: list[Any] = []
    starts, end = [], _HEAD.size + count * _NUMBER.size
    for start in range(0, raw.size, step):
        judge(planes, split_bits(raw[start : start + step], itemsize, planes), kinds)
        if zstd.level > 1:
            kinds[kinds == UNEVEN] = OTHER
        frame = [_MAGIC, bytes((_SINGLE,)), _NUMBER.pack(step), *_blocks(planes, kinds, zstd)]
        size = sum(map(len, frame))
        if size >= step:
            return None
        starts.append(end)
        end += _NUMBER.size + size
        # the next block uses the same planes
        pieces += [_NUMBER.pack(size), *(frame if count == 1 else [b"".join(frame)])]
    head = _HEAD.pack(*_VERSIONS, _FLAGS, itemsize, raw.size, step, end)
    return b"".join((head, *map(_NUMBER.pack, starts), *pieces))


def _blocks(planes: NDArray[np.uint8], kinds: NDArray[np.uint8], zstd: Any) -> Iterator[Any]:
    """Blocks of Zstandard, one for each plane.

    What Zstandard makes begins with the first plane that is its own and ends with the last one: two frames of it in
    one would each take the other's last distances for their own.
    """
    count, size = kinds.size, planes.size // kinds.size
    coded = _coded(planes.reshape(count, size), kinds)
    first, last = _of_zstd(kinds)
    for plane in range(count):
        if plane == first:
            yield from _compressed(zstd.encode(planes[first * size : last * size]), last=last == count)
        elif first < plane < last:
            continue
        elif kinds[plane] == UNEVEN:
            yield _block(_COMPRESSED, len(coded[plane]), last=plane == count - 1)
            yield coded[plane]
        elif kinds[plane] == NOISE:
            yield _block(_STORED, size, last=plane == count - 1)
            yield planes[plane * size : (plane + 1) * size]
        else:
            yield _block(_REPEATED, size, last=plane == count - 1)
            yield b"\0"


def _of_zstd(kinds: NDArray[np.uint8]) -> tuple[int, int]:
    """Give the first plane that Zstandard compresses, and the one behind the last."""
    others = np.flatnonzero(kinds == OTHER)
    first, last = (int(others[0]), int(others[-1]) + 1) if others.size else (kinds.size, kinds.size)
    if kinds[0] == EMPTY:  # the command line tool up to 1.4.3 refuses a frame that begins so
        first, last = 0, max(last, 1) if others.size else 1
    return first, last


def _coded(each: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> Mapping[int, Any]:
    """Code the uneven planes, (planes, bytes), that Zstandard need not take; it takes those that become no smaller."""
    first, last = _of_zstd(kinds)
    chosen = np.array([k for k in np.flatnonzero(kinds == UNEVEN) if not first <= k < last], np.int64)
    if not chosen.size:
        return {}
    width = each.shape[1] + SPARE
    out = scratch("literals", chosen.size * width).reshape(chosen.size, width)
    sizes = np.empty(chosen.size, np.int64)
    literals_blocks(each, chosen, out, sizes)
    kinds[chosen[sizes == 0]] = OTHER
    return {int(k): row[:size] for k, row, size in zip(chosen, out, sizes, strict=True) if size}


def _block(kind: int, size: int, *, last: bool) -> bytes:
    return (size << 3 | kind << 1 | last).to_bytes(3, "little")


def _compressed(frame: bytes, *, last: bool) -> Iterator[Any]:
    """Give the blocks of a frame that follow each other in another one; the last of them is the last there or not."""
    view = memoryview(frame)
    what = view[4]
    single = what >> 5 & 1
    start = 5 + (not single) + _DICTIONARIES[what & 3] + (_SIZES[what >> 6] if what >> 6 or single else 0)
    while True:
        header = int.from_bytes(view[start : start + 3], "little")
        size = 1 if header >> 1 & 3 == _REPEATED else header >> 3
        if header & 1:
            yield (header & ~1 | last).to_bytes(3, "little")
            yield view[start + 3 : start + 3 + size]
            return
        yield view[start : start + 3 + size]
        start += 3 + size
