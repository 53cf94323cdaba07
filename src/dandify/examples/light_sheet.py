"""Writes a light-sheet volume as OME-TIFF, as a microscope's program leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from dandify.store.partial import partial_output

PIXEL_SIZE_UM = {"z": 4.0, "y": 1.3, "x": 1.3}
CHANNELS = (("autofluorescence", 525), ("c-Fos", 617))  # name, emission in nanometres
_CELL_RADIUS_UM = 6.0


def write_light_sheet(path: Path, *, seed: int, shape: tuple[int, int, int] = (64, 512, 512)) -> Path:
    """Write a cleared brain's volume with two channels (c, z, y, x) uint16: tissue, and tissue with labelled cells.

    The same arguments give the same bytes, with the same version of NumPy.

    Parameters
    ----------
    path
        The OME-TIFF.
    seed
        Of the tissue, the cells and the noise.
    shape
        (z, y, x) in pixels, each at least 2.

    Returns
    -------
    Path
        ``path``.
    """
    import tifffile

    with partial_output(path, overwrite=True) as partial, tifffile.TiffWriter(partial, ome=False) as tif:
        tif.write(
            _planes(seed, shape), shape=(len(CHANNELS) * shape[0], *shape[1:]), dtype=np.uint16, metadata=None,
            description=_ome_xml(shape).encode(), photometric="minisblack", software="dandify example",
        )  # fmt: skip
    return path


def _planes(seed: int, shape: tuple[int, int, int]) -> Iterator[NDArray[np.uint16]]:
    """Yield planes (y, x), those of the first channel first."""
    random = np.random.default_rng(seed)
    depth, height, width = shape
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
    phases = random.uniform(0, 2 * np.pi, 4).astype(np.float32)
    stripes = np.sin(9 * x + phases[0]) * np.sin(7 * y + phases[1]) + 0.5 * np.sin(23 * y + 11 * x + phases[2])
    cells = _cells(random, shape)
    for channel in range(len(CHANNELS)):
        for i in range(depth):
            level = 2 * i / (depth - 1) - 1
            inside = 1 / (1 + np.exp((x**2 + y**2 + 0.6 * level**2 - 0.8) * 30))
            light = 110 + inside * (420 + 90 * stripes * np.cos(5 * level + phases[3])) * (1 - 0.3 * channel)
            if channel == 1:
                _add_cells(light, cells, i)
            # Photon noise of that many photons, and the camera's own; a Poisson variable would take five times as long.
            light += np.sqrt(light) * random.standard_normal(light.shape, np.float32)
            yield np.clip(light + 0.5, 0, 65535).astype(np.uint16)


def _cells(random: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return centre z y x in pixels and brightness of each cell, (cells, 4)."""
    count = max(4, int(np.prod(shape) // 40000))
    centres = 0.5 + 0.25 * random.standard_normal((count, 3))
    return np.column_stack([np.clip(centres, 0, 1) * (np.array(shape) - 1), random.uniform(600, 4000, count)])


def _add_cells(light: NDArray[np.float32], cells: NDArray[np.float64], plane: int) -> None:
    reach = int(np.ceil(3 * _CELL_RADIUS_UM / PIXEL_SIZE_UM["x"]))
    for z, y, x, brightness in cells:
        away = (z - plane) * PIXEL_SIZE_UM["z"] / _CELL_RADIUS_UM
        if abs(away) > 3:
            continue
        top, left = max(0, int(y) - reach), max(0, int(x) - reach)
        part = light[top : int(y) + reach + 1, left : int(x) + reach + 1]
        rows, columns = (np.arange(n) for n in part.shape)
        near = ((rows + top - y) ** 2)[:, None] + ((columns + left - x) ** 2)[None]
        part += brightness * np.exp(-(near * (PIXEL_SIZE_UM["x"] / _CELL_RADIUS_UM) ** 2 + away**2) / 2)


def _ome_xml(shape: tuple[int, int, int]) -> str:
    """OME-XML without a random UUID, so that the file is the same every time."""
    sizes = " ".join(f'Size{a}="{n}"' for a, n in zip("ZYX", shape, strict=True))
    physical = " ".join(
        f'PhysicalSize{a.upper()}="{v}" PhysicalSize{a.upper()}Unit="µm"' for a, v in PIXEL_SIZE_UM.items()
    )
    channels = "".join(
        f'<Channel ID="Channel:0:{i}" Name={quoteattr(name)} SamplesPerPixel="1" EmissionWavelength="{wave}" '
        f'EmissionWavelengthUnit="nm"/>'
        for i, (name, wave) in enumerate(CHANNELS)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0" Name="light sheet"><AcquisitionDate>2026-03-04T10:11:12</AcquisitionDate>'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeC="{len(CHANNELS)}" SizeT="1" {sizes} '
        f'{physical}>{channels}<TiffData IFD="0" PlaneCount="{len(CHANNELS) * shape[0]}"/></Pixels></Image></OME>'
    )
