"""Writes a candidate with all cores as `convert` does where it can: recordings by the engine, images as OME-Zarr."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.arrays import MemoryArray
from dandify.store.transforms import Transform
from dandify.tuning.candidates import Candidate
from dandify.tuning.coders import Coder, EngineCoder
from dandify.tuning.machine import MachineRun, run_engine, run_threads
from dandify.tuning.material import Material, fewer_rows
from dandify.tuning.proving import proof
from dandify.tuning.reading import Pattern
from dandify.tuning.timing import Timing, time_call

_JOINED_MB = 96.0  # of all windows, from which files are written: more than processors keep in their caches
_LEAST_IMAGE_MB = 32.0
_MOST_IMAGES = 5  # written in place of one, each into files of its own
_Names = tuple[str, ...]


@dataclass
class AllCores:
    """Runs of the candidates of one stream.

    Parameters
    ----------
    material
        The stream.
    joined
        Gives so many megabytes of its windows, one after another.
    applied
        Transforms by the names of those that a candidate may ask for.
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
    joined: Callable[[float], NDArray[Any]]
    applied: Mapping[_Names, tuple[Transform, ...]]
    patterns: tuple[Pattern, ...]
    workers: int
    folder: Path
    image_mb: float = 0.0
    _values: dict[float, NDArray[Any]] = field(default_factory=dict)
    _written: set[str] = field(default_factory=set)
    _proofs: dict[_Names, Timing] = field(default_factory=dict)
    _fixed: Timing | None = None

    def run(
        self, candidate: Candidate, coder: Coder, wanted_bytes: float, *, read_bytes: float, cpu_s: float
    ) -> MachineRun:  # fmt: skip
        """Write and read as much as is wanted, or the least that tells something; short files several times.

        Parameters
        ----------
        candidate, coder
            What is to be written, and how.
        wanted_bytes
            Raw bytes of the file.
        read_bytes
            Raw bytes of it that are read in each way; nothing is if 0.
        cpu_s
            CPU seconds that its writing takes at least, all times together.

        Raises
        ------
        dandify.tuning.trial.NotIdentical
            If other bits come back.
        """
        material, axis = self.material, self.material.leading - 1
        values = self._joined(_JOINED_MB)
        transforms = self.applied[candidate.transforms]
        if isinstance(coder, EngineCoder) and material.backend != "ome-zarr":
            first = candidate.name not in self._written
            self._written.add(candidate.name)
            found = run_engine(
                coder, values, candidate.chunks, self.patterns if read_bytes else (), rows=material.shape[axis],
                axis=axis, block=material.array.block, wanted_bytes=wanted_bytes, backend=material.backend,
                workers=self.workers, folder=self.folder, transforms=transforms, least_cpu_s=cpu_s,
                read_bytes=read_bytes, warm=first,
            )  # fmt: skip
            return self._proved(candidate, found)
        part = np.ascontiguousarray(fewer_rows(values, material, wanted_bytes / 1e6))
        found = run_threads(coder, part, candidate.chunks, self.patterns, workers=self.workers, transforms=transforms,
                            least_cpu_s=cpu_s)  # fmt: skip
        if material.write_image is None or candidate.codec.compression is None:
            return self._proved(candidate, found)
        return self._image(candidate, self._joined(max(_LEAST_IMAGE_MB, self.image_mb)), found, cpu_s)

    def _joined(self, megabytes: float) -> NDArray[Any]:
        if megabytes not in self._values:
            self._values[megabytes] = self.joined(megabytes)
        return self._values[megabytes]

    def proof(self, names: _Names) -> Timing | None:
        """Time the reading that proves transforms, for a megabyte; None where there are none."""
        if names and names not in self._proofs:
            values = self._joined(_JOINED_MB)
            self._proofs[names] = proof(MemoryArray(values), workers=self.workers) * (1e6 / values.nbytes)
        return self._proofs.get(names)

    def _proved(self, candidate: Candidate, run: MachineRun) -> MachineRun:
        """Add what it takes to prove its transforms."""
        each = self.proof(candidate.transforms)
        return run if each is None else replace(run, timing=run.timing + each * (run.raw_bytes / 1e6))

    def _image(
        self, candidate: Candidate, values: NDArray[Any], in_memory: MachineRun, cpu_s: float
    ) -> MachineRun:  # fmt: skip
        """Time an image with all its resolutions, less what even the smallest takes; small ones several times."""
        if self._fixed is None:
            little = values[tuple(slice(0, min(n, 2)) for n in values.shape)]
            self._write(candidate, values)  # the first one loads and compiles, for resolutions that a little has not
            self._fixed, _ = self._write(candidate, little)
        whole, smaller = self._write(candidate, values)
        times = min(_MOST_IMAGES, ceil(cpu_s / max(1e-3, whole.cpu_s)))
        for _ in range(1, times):
            again, smaller = self._write(candidate, values)
            whole = whole + again
        whole = whole * (1 / times)
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
