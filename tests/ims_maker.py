"""Small Imaris files as Imaris 9 lays them out: a dataset for each time point and channel, padded to whole chunks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tiff_makers import pixels

CHUNK = (8, 16, 16)
COLOURS = ("1.000 0.000 0.000", "0.000 1.000 0.000", "0.000 0.000 0.000")


@dataclass(frozen=True)
class Image:
    """What is written: true sizes, and what the attributes state."""

    t: int = 1
    c: int = 2
    z: int = 5
    height: int = 24
    width: int = 40
    voxel: tuple[float, float, float] = (2.0, 0.5, 0.25)  # z y x
    unit: str = "um"
    dtype: str = "uint16"
    seconds: float = 2.5
    compression: Any = "gzip"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.t, self.c, self.z, self.height, self.width)

    @property
    def values(self) -> NDArray[Any]:
        return pixels(self.shape, self.dtype)


def write_ims(path: Path, *images: Image) -> Path:
    """Write one or several images, with two levels of resolution."""
    images = images or (Image(),)
    with h5py.File(path, "w") as file:
        _attributes(file, {
            "ImarisDataSet": "ImarisDataSet", "ImarisVersion": "5.5.0", "DataSetDirectoryName": "DataSet",
            "DataSetInfoDirectoryName": "DataSetInfo",
        })  # fmt: skip
        file.attrs["NumberOfDataSets"] = np.array([len(images)], "uint32")
        for number, image in enumerate(images):
            suffix = str(number) if number else ""
            _data(file.create_group(f"DataSet{suffix}"), image)
            _info(file.create_group(f"DataSetInfo{suffix}"), image)
    return path


def _data(group: Any, image: Image) -> None:
    values = image.values
    for level, step in enumerate((1, 2)):
        for t in range(image.t):
            for c in range(image.c):
                channel = group.create_group(f"ResolutionLevel {level}/TimePoint {t}/Channel {c}")
                part = values[t, c, ::step, ::step, ::step]
                padded = tuple(-(-n // k) * k for n, k in zip(part.shape, CHUNK, strict=True))
                data = channel.create_dataset(
                    "Data", padded, image.dtype, chunks=CHUNK, compression=image.compression, fillvalue=0
                )
                data[...] = 7  # padding is anything
                data[tuple(slice(n) for n in part.shape)] = part
                _attributes(channel, {f"ImageSize{a}": n for a, n in zip("ZYX", part.shape, strict=True)})


def _info(group: Any, image: Image) -> None:
    sizes, voxel = image.shape[:-4:-1], image.voxel[::-1]
    extents = {f"ExtMin{i}": "-10" for i in range(3)}
    extents |= {f"ExtMax{i}": f"{n * v - 10:g}" for i, (n, v) in enumerate(zip(sizes, voxel, strict=True))}
    about = group.create_group("Image")
    _attributes(about, {
        "X": image.width, "Y": image.height, "Z": image.z, "Unit": image.unit, "Name": "(name not specified)",
        "Description": "cortex, layer 5", "RecordingDate": "2021-05-04 10:11:12.500", "LensPower": "25",
        "NumericalAperture": "1.05", **extents,
    })  # fmt: skip
    for c in range(image.c):
        _attributes(group.create_group(f"Channel {c}"), {
            "Name": ["GFP", "(name not specified)", "DAPI"][c], "Color": COLOURS[c],
            "LSMEmissionWavelength": ["509", "0", "461"][c], "LSMExcitationWavelength": ["488.0", "0", "405"][c],
        })  # fmt: skip
    times = group.create_group("TimeInfo")
    stamps = {f"TimePoint{t + 1}": f"2021-05-04 10:11:{12.5 + t * image.seconds:06.3f}" for t in range(image.t)}
    _attributes(times, {"DatasetTimePoints": image.t, "FileTimePoints": image.t, **stamps})


def _attributes(group: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        group.attrs[key] = np.array([c.encode() for c in str(value)], "S1")
