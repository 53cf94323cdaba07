"""What reading from chunks costs: three ways of reading, the chunks that each touches, and their requests and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from dandify.store.readcost import ONE_CHANNEL_S, UNKNOWN_RATE_HZ, rows_of_a_second
from dandify.store.region import Region
from dandify.tuning.index import finding
from dandify.tuning.material import Archive, Material

PLACES = 5  # at which a region is laid, evenly from the start to the end


@dataclass(frozen=True)
class Pattern:
    """A way of reading.

    Attributes
    ----------
    name
        In words.
    regions
        The same way at several places; what it costs is their mean.
    """

    name: str
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class ReadCost:
    """What one way of reading costs.

    Attributes
    ----------
    name
        Of the pattern.
    requests
        Of an archive, on average over the places: a chunk is one, and so is each part of an index that is read to find
        them, see `dandify.tuning.index`.
    stored_bytes
        Bytes of these as stored.
    local_s
        Time from a local disk (page cache), decoding included.
    archive_s
        Time from the archive: requests one after another, and their bytes; decoding included.
    """

    name: str
    requests: float
    stored_bytes: float
    local_s: float
    archive_s: float


def patterns_of(material: Material) -> tuple[Pattern, ...]:
    """Ways in which a stream is read: a second or a frame, one channel or pixel row for long, and all in order."""
    shape = material.shape
    if material.inner >= 2:
        lead, frame = shape[: -material.inner], shape[-material.inner :]
        row = (1, *frame[1:])
        one, first = "one full frame", (*(1 for _ in lead), *frame)
        if lead:
            narrow = f"one pixel row through {'ten minutes' if material.rate_hz else 'all frames'}"
            second = (*(1 for _ in lead[:-1]), _ten_minutes(material), *row)
        else:
            narrow, second = "one pixel row", row
    else:
        inner = shape[material.leading :]
        one, narrow = "one second of all channels", "ten minutes of one channel"
        first = (rows_of_a_second(shape, material.rate_hz), *inner)
        second = (_ten_minutes(material), *(1 for _ in inner))
    return (
        Pattern(one, _laid(shape, first)),
        Pattern(narrow, _laid(shape, second)),
        Pattern("all in order", (tuple(slice(0, n) for n in shape),)),
    )


def chunks_touched(region: Region, chunks: tuple[int, ...]) -> int:
    """Count the chunks that a region lies in."""
    return prod((s.stop - 1) // c - s.start // c + 1 for s, c in zip(region, chunks, strict=True))


def count(
    pattern: Pattern, material: Material, chunks: tuple[int, ...], stored_bytes: float, chunk_s: float,
    archive: Archive,
) -> ReadCost:  # fmt: skip
    """Count what a pattern needs.

    Parameters
    ----------
    pattern
        The regions.
    material, chunks
        The stream, and the shape of its chunks.
    stored_bytes
        Of all its chunks.
    chunk_s
        Time that reading a chunk takes from a local disk, measured.
    archive
        Latency and bandwidth.
    """
    each = stored_bytes / prod(ceil(n / c) for n, c in zip(material.shape, chunks, strict=True))
    touched = sum(chunks_touched(r, chunks) for r in pattern.regions) / len(pattern.regions)
    found = [finding(material, r, chunks) for r in pattern.regions]
    requests, size = (sum(column) / len(found) for column in zip(*found, strict=True))
    requests, size = requests + touched, size + touched * each
    local = touched * chunk_s
    return ReadCost(pattern.name, requests, size, local, archive.seconds(requests, size) + local)


def _ten_minutes(material: Material) -> int:
    length = material.shape[material.leading - 1]
    if material.inner >= 2 and not material.rate_hz:
        return length
    return max(1, min(length, round(ONE_CHANNEL_S * (material.rate_hz or UNKNOWN_RATE_HZ))))


def _laid(shape: tuple[int, ...], part: tuple[int, ...]) -> tuple[Region, ...]:
    """Lay a part at places from the start to the end."""
    found = {}
    for k in range(PLACES):
        starts = tuple((n - p) * k // (PLACES - 1) for n, p in zip(shape, part, strict=True))
        found[starts] = tuple(slice(s, s + p) for s, p in zip(starts, part, strict=True))
    return tuple(found.values())
