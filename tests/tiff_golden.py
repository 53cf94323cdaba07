"""Values of a TIFF, as our stream gives them and as tifffile does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from dandify.sources import Stream


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def as_tczyx(values: NDArray[Any], axes: str) -> NDArray[Any]:
    """Values that tifffile read, in the contract's order of axes."""
    axes = axes.lower().replace("s", "c")
    return values.transpose([axes.index(a) for a in "tczyx" if a in axes])


def golden(path: Path, series: int = 0) -> NDArray[Any]:
    with tifffile.TiffFile(path) as tif:
        found = tif.series[series]
        return as_tczyx(found.asarray(), found.axes)
