"""Materials that the tests of tuning measure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.sources.arrays import MemoryArray
from dandify.sources.contract import Array
from dandify.store.region import Region
from dandify.tuning.material import Archive, Material
from dandify.tuning.tune import tune_materials


def noise(samples: int = 6000, channels: int = 16, dtype: str = "<i2", seed: int = 5) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    levels = rng.integers(-60, 60, channels)
    return (rng.normal(0, 6, (samples, channels)) + levels).astype(dtype)


def material(values: NDArray[Any] | Array, backend: str = "hdf5", inner: int = 1, **more: Any) -> Material:
    array = values if isinstance(values, Array) else MemoryArray(values)
    made = Material("ElectricalSeries", "ElectricalSeries", array, array.dtype, backend, Path("raw.bin"), 1000.0, inner)
    return replace(made, **more)


def tuned(*materials: Material, **asked: Any) -> Any:
    options = {
        "objective": "balanced", "readers": "any", "budget_s": 1.0, "seed": 0, "workers": 2, "archive": Archive(),
    }  # fmt: skip
    return tune_materials(materials, **{**options, **asked})


@dataclass(frozen=True, eq=False)
class Endless(Array):
    """A recording that is computed where it is read, loud and quiet at known places, and notes what is read."""

    samples: int
    channels: int = 64
    loud: int = 0
    quiet: int = 0
    read_bytes: list[int] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.samples, self.channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("<i2")

    @property
    def block(self) -> tuple[int, ...]:
        return (min(self.samples, 4 * 2**20 // (2 * self.channels)), self.channels)

    def read(self, region: Region) -> NDArray[Any]:
        rows = np.arange(region[0].start, region[0].stop)
        far = self.samples // 16
        size = np.where(abs(rows - self.loud) < far, 90, np.where(abs(rows - self.quiet) < far, 2, 12))
        values = np.random.default_rng(int(rows[0])).normal(0, 1, (len(rows), self.channels)) * size[:, None]
        self.read_bytes.append(values.size * 2)
        return values.astype("<i2")[:, region[1]]
