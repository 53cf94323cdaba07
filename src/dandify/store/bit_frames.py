"""Blosc frames of 16-bit values whose bits are shuffled: planes of noise are stored, and not searched for matches.

Sources: the format of Blosc 1 frames (c-blosc, README_CHUNK_FORMAT), RFC 8878 for the Zstandard frame in each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bit_planes import EMPTY, GROUP, NOISE, OTHER, PLANES, judge, split_bits
from dandify.store.encode import scratch

_BLOCK: Final = 128 * 1024  # the most that a block of Zstandard holds
_LEAST: Final = 8 * 1024  # bytes of a plane: of smaller ones the sample would say nothing
# Version of the format and of Zstandard's, flags, bytes of a value; of all, of a block, of the code.
_HEAD = struct.Struct("<BBBBIII")
_VERSIONS: Final = (2, 1)
_FLAGS: Final = 0x94  # Zstandard, a block is not split, bits are shuffled
_NUMBER = struct.Struct("<I")
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SINGLE: Final = 0xA0  # one segment, its size in four bytes; no dictionary, no checksum
_STORED, _REPEATED = 0, 1
_SIZES: Final = (1, 2, 4, 8)  # bytes of a frame's size; none of the first kind, unless it is one segment
_DICTIONARIES: Final = (0, 1, 2, 4)


def fits(size: int, block: int) -> bool:
    """Whether 16-bit values of so many bytes can be encoded here, ``block`` of them at one go."""
    step = min(size, block)
    return step > 0 and size % step == 0 and step % (2 * GROUP) == 0 and _LEAST <= step // PLANES <= _BLOCK


def encode_bits(raw: NDArray[np.uint8], block: int, zstd: Any) -> bytes | None:
    """Encode a chunk as Blosc does with Zstandard; None where that would not be smaller.

    Parameters
    ----------
    raw
        (bytes,) contiguous: 16-bit values, little-endian, of a size that `fits`.
    block
        Bytes that are shuffled and compressed at one go.
    zstd
        Numcodecs' codec, for the planes that are neither noise nor empty.
    """
    step = min(raw.size, block)
    planes, kinds = scratch("bit planes", step), np.empty(PLANES, np.uint8)
    count = raw.size // step
    pieces: list[Any] = []
    starts, end = [], _HEAD.size + count * _NUMBER.size
    for start in range(0, raw.size, step):
        judge(planes, split_bits(raw[start : start + step], planes), kinds)
        frame = [_MAGIC, bytes((_SINGLE,)), _NUMBER.pack(step), *_blocks(planes, kinds, zstd)]
        size = sum(map(len, frame))
        if size >= step:
            return None
        starts.append(end)
        end += _NUMBER.size + size
        # the next block uses the same planes
        pieces += [_NUMBER.pack(size), *(frame if count == 1 else [b"".join(frame)])]
    head = _HEAD.pack(*_VERSIONS, _FLAGS, 2, raw.size, step, end)
    return b"".join((head, *map(_NUMBER.pack, starts), *pieces))


def _blocks(planes: NDArray[np.uint8], kinds: NDArray[np.uint8], zstd: Any) -> Iterator[Any]:
    """Blocks of Zstandard: from the first plane that is neither noise nor empty to the last one, what it makes."""
    size = planes.size // PLANES
    others = np.flatnonzero(kinds == OTHER)
    first, last = (int(others[0]), int(others[-1]) + 1) if others.size else (PLANES, PLANES)
    if kinds[0] == EMPTY:  # the command line tool up to 1.4.3 refuses a frame that begins so
        first, last = 0, max(last, 1) if others.size else 1
    for plane in range(PLANES):
        if plane == first:
            yield from _compressed(zstd.encode(planes[first * size : last * size]), last=last == PLANES)
        elif first < plane < last:
            continue
        elif kinds[plane] == NOISE:
            yield _block(_STORED, size, last=plane == PLANES - 1)
            yield planes[plane * size : (plane + 1) * size]
        else:
            yield _block(_REPEATED, size, last=plane == PLANES - 1)
            yield b"\0"


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
