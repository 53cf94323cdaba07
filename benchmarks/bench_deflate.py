"""Encoders of HDF5 chunks beside each other: CPU time and size on the kinds of data that recordings are made of."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Options

CHUNK_BYTES = 4_000_000
CLIP = "ephys/openephys_binary/sub-001"  # a Neuropixels recording, (samples, 385) int16


@dataclass(frozen=True)
class Zlib:
    """zlib without shuffle at level 4, as neuroconv writes."""

    level: int = 4
    shuffled: bool = False
    name: str = "gzip (zlib 4)"

    def encode(self, raw: NDArray[np.uint8], itemsize: int) -> bytes:
        return zlib.compress(raw, self.level)


def encoders() -> list[Any]:
    from dandify.store.deflate import Libdeflate, Planar, ZlibNg
    from dandify.store.encode import ShuffleGzip

    return [
        Zlib(), ShuffleGzip(), Libdeflate(1), Libdeflate(4), Libdeflate(6), ZlibNg(2), Planar(), Planar(thorough=True),
    ]  # fmt: skip


def sets(size: int) -> dict[str, NDArray[Any]]:
    """Chunks made from seeds, and one of the real clip where it is present."""
    from deflate_sets import CHANNELS, SETS, chunk

    made = {make.__name__: chunk(make, size // 2) for make in SETS}
    shared = os.environ.get("DANDIFY_SHARED_DATA")
    found = sorted((Path(shared) / CLIP).rglob("continuous.dat")) if shared else []
    if found:
        clip = np.fromfile(found[0], "<i2").reshape(-1, 385)[:, :CHANNELS]
        # It is short: its samples again and again would be found by match search; so the chunk is short, too.
        made["real clip"] = np.ascontiguousarray(clip)
    return made


def timed(encode: Callable[[], bytes], repeats: int) -> tuple[float, bytes]:
    """CPU seconds, the median; and what came out."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        payload = encode()
        seconds.append(time.process_time() - begin)
    return median(seconds), payload


def run(options: Options) -> None:
    """Print a table: MB/s for one core, and raw bytes for each stored byte."""
    size, repeats = min(CHUNK_BYTES, int(options.megabytes * 1e6)), options.repeats
    ways = encoders()
    print(f"deflate of one chunk of {size / 1e6:g} MB: MB/s of one core (CPU time), ratio; {repeats} runs, medians")
    print(f"  {'':<12}" + "".join(f"{_short(way.name):>22}" for way in ways))
    for name, values in sets(size).items():
        raw = np.frombuffer(bytearray(values.tobytes()), np.uint8)
        cells = []
        for way in ways:
            way.encode(raw[: 4096 * values.itemsize], values.itemsize)  # compiles
            seconds, payload = timed(partial(way.encode, raw, values.itemsize), repeats)
            stored = np.frombuffer(zlib.decompress(payload), np.uint8)
            order = raw.reshape(-1, values.itemsize).T if way.shuffled else raw
            if not np.array_equal(stored, order.ravel()):
                raise AssertionError(f"{way.name} does not decode to {name}")
            cells.append(f"{raw.size / 1e6 / max(seconds, 1e-9):11.0f}{raw.size / len(payload):11.3f}")
        print(f"  {name:<12}" + "".join(cells))
    print()


def _short(name: str) -> str:
    """Name of an encoder without what they have in common."""
    return name.replace("shuffle+gzip (", "").replace("gzip (", "unshuffled ").rstrip(")")
