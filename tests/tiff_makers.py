"""Small TIFF files as microscopes, ImageJ and scripts write them, by tifffile; pixels tell where they belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

Maker = Callable[[Path], Path]


def pixels(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    """Values that differ from neighbour to neighbour along every axis."""
    values = np.arange(np.prod(shape), dtype=np.uint64) * 40503 % 65521
    return values.reshape(shape).astype(dtype)


def write_ome(
    path: Path, shape: tuple[int, ...], axes: str, *, dtype: str = "uint16", metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:  # fmt: skip
    """OME-TIFF through tifffile; ``options`` go to `tifffile.imwrite`."""
    options.setdefault("photometric", "minisblack")
    stated = {"axes": axes, **(metadata or {})}
    tifffile.imwrite(path, pixels(shape, dtype), ome=True, metadata=stated, **options)
    return path


def write_imagej(path: Path, shape: tuple[int, ...], axes: str, **metadata: Any) -> Path:
    """ImageJ hyperstack; axes out of TZCYX."""
    resolution = metadata.pop("resolution", (2.0, 2.0))
    tifffile.imwrite(
        path, pixels(shape), imagej=True, resolution=resolution, metadata={"axes": axes, **metadata},
        photometric="minisblack",
    )  # fmt: skip
    return path


def write_plain(path: Path, shape: tuple[int, ...], *, dtype: str = "uint16", **options: Any) -> Path:
    """TIFF without any description."""
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(path, pixels(shape, dtype), metadata=None, **options)
    return path


def write_planes(
    folder: Path, *, count: int = 5, stem: str = "ch", digits: int = 5, first: int = 0, **options: Any
) -> Path:
    """Write a folder of single-page TIFFs (12, 16) with a running number."""
    folder.mkdir(parents=True, exist_ok=True)
    values = pixels((count, 12, 16))
    for i in range(count):
        tifffile.imwrite(folder / f"{stem}{first + i:0{digits}d}.tif", values[i], metadata=None, **options)
    return folder


def write_ome_set(folder: Path) -> Path:
    """Two files, one for each channel, each with the OME-XML of both; return the first."""
    folder.mkdir(parents=True, exist_ok=True)
    values = pixels((2, 3, 12, 16))
    names = ("set_c0.ome.tif", "set_c1.ome.tif")
    data = "".join(
        f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="0" IFD="{z}" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:0000000{c}-0000-0000-0000-000000000000</UUID></TiffData>'
        for c, name in enumerate(names)
        for z in range(3)
    )
    for c, name in enumerate(names):
        xml = ome_xml(
            'DimensionOrder="XYZCT" SizeX="16" SizeY="12" SizeZ="3" SizeC="2" SizeT="1" PhysicalSizeX="0.5" '
            'PhysicalSizeY="500" PhysicalSizeYUnit="nm" PhysicalSizeZ="0.002" PhysicalSizeZUnit="mm"', data, uuid=c,
        )  # fmt: skip
        tifffile.imwrite(
            folder / name, values[c], description=xml, metadata=None, ome=False, photometric="minisblack"
        )  # fmt: skip
    return folder / names[0]


def ome_xml(pixels: str, data: str, *, uuid: int = 0, extra: str = "", image: str = "", channels: str = "") -> str:
    """OME-XML of one image."""
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:0000000{uuid}-0000-0000-0000-000000000000">{extra}<Image ID="Image:0" Name="brain">{image}'
        f'<Pixels ID="Pixels:0" Type="uint16" {pixels}>{channels}{data}</Pixels></Image></OME>'
    )


def write_series(path: Path) -> Path:
    """OME-TIFF of two images of different size."""
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(pixels((3, 12, 16)), metadata={"axes": "ZYX", "Name": "brain"}, photometric="minisblack")
        tif.write(pixels((2, 20, 24), "uint8"), metadata={"axes": "CYX", "Name": "eye"}, photometric="minisblack")
    return path


OME: Mapping[str, Maker] = {
    "yx": lambda f: write_ome(f / "a.ome.tif", (24, 32), "YX"),
    "zyx": lambda f: write_ome(f / "a.ome.tif", (4, 24, 32), "ZYX"),
    "cyx-int8": lambda f: write_ome(f / "a.ome.tif", (3, 24, 32), "CYX", dtype="int8"),
    "czyx-deflate": lambda f: write_ome(
        f / "a.ome.tif", (2, 3, 50, 32), "CZYX", compression="zlib", predictor=True, rowsperstrip=8
    ),
    "tczyx-tiled": lambda f: write_ome(f / "a.ome.tif", (2, 3, 4, 40, 56), "TCZYX", tile=(16, 16), compression="lzw"),
    "tczyx": lambda f: write_ome(f / "a.ome.tif", (2, 3, 4, 24, 32), "TCZYX"),
    "zcyx-reordered": lambda f: write_ome(f / "a.ome.tif", (4, 2, 24, 32), "ZCYX"),
    "ztyx-big-endian": lambda f: write_ome(f / "a.ome.tif", (3, 2, 24, 32), "ZTYX", byteorder=">"),
    "czyx-bigtiff-float": lambda f: write_ome(f / "a.ome.btf", (2, 3, 24, 32), "CZYX", dtype="float32", bigtiff=True),
    "rgb": lambda f: write_ome(f / "a.ome.tif", (3, 24, 32, 3), "ZYXS", dtype="uint8", photometric="rgb"),
    "rgb-planar-deflate": lambda f: write_ome(
        f / "a.ome.tif", (3, 24, 32), "SYX", dtype="uint8", photometric="rgb", planarconfig="separate",
        compression="zlib",
    ),
    "tiled-uncompressed": lambda f: write_ome(f / "a.ome.tif", (2, 40, 56), "ZYX", tile=(16, 32)),
}  # fmt: skip
"""OME-TIFF files by what is special about them."""

STATED: dict[str, Any] = {
    "PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 650.0, "PhysicalSizeYUnit": "nm",
    "PhysicalSizeZ": 0.004, "PhysicalSizeZUnit": "mm", "TimeIncrement": 250.0, "TimeIncrementUnit": "ms",
    "Channel": {"Name": ["DAPI", "GFP"], "EmissionWavelength": [461.0, 509.0], "ExcitationWavelength": [358.0, 488.0],
                "Color": [65535, 16711935]},
}  # fmt: skip
