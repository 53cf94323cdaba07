"""Writes a candidate with all cores as `convert` does where it can: recordings by the engine, images as OME-Zarr."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.tuning.candidates import Candidate
from dandify.tuning.coders import Coder, EngineCoder
from dandify.tuning.machine import MachineRun, Timing, run_engine, run_threads, time_call
from dandify.tuning.material import Material, fewer_rows
from dandify.tuning.reading import Pattern

_JOINED_MB = 32.0  # of all windows, from which files are written
_Names = tuple[str, ...]


@dataclass
class AllCores:
    """Runs of the candidates of one stream.

    Parameters
    ----------
    material
        The stream.
    joined
        Gives so many megabytes of its windows, one after another, after transforms of these names.
    patterns
        Ways of reading.
    workers
        Threads.
    folder
        For files, which are removed.
    image_mb
        Megabytes of an image that are written, if its sample has as many: of a few, most of the time goes by at the
        end, where fewer and fewer cores are busy.
    """

    material: Material
    joined: Callable[[_Names, float], NDArray[Any]]
    patterns: tuple[Pattern, ...]
    workers: int
    folder: Path
    image_mb: float = 0.0
    _values: dict[tuple[_Names, float], NDArray[Any]] = field(default_factory=dict)
    _cut: set[tuple[int, ...]] = field(default_factory=set)
    _fixed: Timing | None = None

    def run(self, candidate: Candidate, coder: Coder, wanted_bytes: float) -> MachineRun:
        """Write and read as much as is wanted, or the least that tells something.

        Raises
        ------
        dandify.tuning.trial.NotIdentical
            If other bits come back.
        """
        material, axis = self.material, self.material.leading - 1
        values = self._joined(candidate, _JOINED_MB)
        if isinstance(coder, EngineCoder) and material.backend != "ome-zarr":
            write = partial(
                run_engine, coder, values, candidate.chunks, self.patterns, rows=material.shape[axis], axis=axis,
                block=material.array.block, backend=material.backend, workers=self.workers, folder=self.folder,
            )  # fmt: skip
            if candidate.chunks not in self._cut:  # what cuts such chunks is compiled when it is first called
                self._cut.add(candidate.chunks)
                write(wanted_bytes=0)
            return write(wanted_bytes=wanted_bytes)
        part = np.ascontiguousarray(fewer_rows(values, material, wanted_bytes / 1e6))
        found = run_threads(coder, part, candidate.chunks, self.patterns, workers=self.workers)
        if material.write_image is None or candidate.codec.compression is None:
            return found
        return self._image(candidate, self._joined(candidate, max(_JOINED_MB, self.image_mb)), found)

    def _joined(self, candidate: Candidate, megabytes: float) -> NDArray[Any]:
        key = (candidate.transforms, megabytes)
        if key not in self._values:
            self._values[key] = self.joined(*key)
        return self._values[key]

    def _image(self, candidate: Candidate, values: NDArray[Any], in_memory: MachineRun) -> MachineRun:
        """Time an image with all its resolutions, less what even the smallest image takes."""
        if self._fixed is None:
            little = values[tuple(slice(0, min(n, 2)) for n in values.shape)]
            self._write(candidate, values)  # the first one loads and compiles, for resolutions that a little has not
            self._fixed, _ = self._write(candidate, little)
        whole, smaller = self._write(candidate, values)
        least = values.nbytes / in_memory.raw_bytes  # of a tiny image, less is left than encoding alone takes
        timing = Timing(
            max(in_memory.timing.wall_s * least, whole.wall_s - self._fixed.wall_s),
            max(in_memory.timing.cpu_s * least, whole.cpu_s - self._fixed.cpu_s),
        )
        return replace(in_memory, timing=timing, raw_bytes=values.nbytes, by_engine=True, smaller=smaller)

    def _write(self, candidate: Candidate, values: NDArray[Any]) -> tuple[Timing, tuple[int, int]]:
        """Write an image: what it takes, and raw and stored bytes of its smaller resolutions."""
        write, compression, found = self.material.write_image, candidate.codec.compression, [(0, 0)]
        assert write is not None
        assert compression is not None
        path = self.folder / "sample.ome.zarr"

        def call() -> None:
            found[0] = write(values, candidate.chunks, compression, path, self.workers)

        try:
            return time_call(call), found[0]
        finally:
            for made in self.folder.glob(f"{path.name}*"):
                rmtree(made) if made.is_dir() else made.unlink()
