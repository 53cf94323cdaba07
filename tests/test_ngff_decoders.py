"""Whole planes that a source decodes: by several threads at a time, and taken in their order."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.ngff import pyramid
from dandify.ngff.write import write_ome_zarr
from dandify.sources.contract import Array
from ngff_reference import noise

SCALE = {"z": 1.0, "y": 1.0, "x": 1.0}


@dataclass(frozen=True, eq=False)
class Planes(Array):
    """Planes that are decoded as a whole: the first two only together; the damaged ones not at all."""

    values: NDArray[Any]
    damaged: tuple[int, ...] = ()
    together: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))
    met: threading.Event = field(default_factory=threading.Event)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return self.values.dtype

    @property
    def block(self) -> tuple[int, ...]:
        """A plane."""
        return (1, *self.shape[1:])

    def read(self, region: Any) -> NDArray[Any]:
        """Read planes."""
        if not self.met.is_set():
            self.together.wait(30)
            self.met.set()
        if bad := [z for z in self.damaged if z in range(region[0].start, region[0].stop)]:
            raise ValueError(f"plane {bad[0]} is damaged")
        found: NDArray[Any] = self.values[region]
        return found


def test_planes_are_decoded_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "READ_BYTES", 1)  # each plane by itself
    source = noise((21, 50, 40), "uint16")
    report = write_ome_zarr(Planes(source), tmp_path / "a.ome.zarr", scale=SCALE, chunks=(8, 16, 16), workers=2)
    assert report.verified
    assert report.datasets[0].xxh128 == xxhash.xxh3_128(source.tobytes()).hexdigest()


class Foreign:
    """An array of another library, which says nothing of threads."""

    shape, dtype, chunks = (21, 50, 40), np.dtype("uint16"), (1, 50, 40)

    def __init__(self) -> None:
        self.values = noise(self.shape, "uint16")
        self.reading = threading.Lock()

    def __getitem__(self, region: Any) -> NDArray[Any]:
        assert self.reading.acquire(blocking=False), "two threads at a time"
        time.sleep(0.01)
        self.reading.release()
        found: NDArray[Any] = self.values[region]
        return found


def test_one_thread_reads_what_another_library_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "READ_BYTES", 1)
    image: Any = Foreign()
    assert write_ome_zarr(image, tmp_path / "a.ome.zarr", scale=SCALE, chunks=(8, 16, 16), workers=2).verified


def test_the_first_damaged_plane_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "READ_BYTES", 1)
    source = Planes(noise((21, 50, 40), "uint16"), damaged=(9, 10, 14))
    with pytest.raises(BadSource, match="plane 9 is damaged") as caught:
        write_ome_zarr(source, tmp_path / "a.ome.zarr", scale=SCALE, chunks=(8, 16, 16), workers=2)
    assert "9:10" in str(caught.value)
    assert not (tmp_path / "a.ome.zarr").exists()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("dandify-")]
