"""Planes as MetaXpress and MetaMorph write them: single TIFFs with MetaSeries XML in their description."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import tifffile
from numpy.typing import NDArray

SIZE = (16, 24)
PIXEL_UM = 2.5
STEP_UM = 4.0
PATTERN = "TimePoint_{t}/ZStep_{z}/*_{row}{column}_s{field}_w{channel:1}*.tif"
SETTINGS = (("DAPI", 452, "35 ms"), ("FITC", 536, "80 ms"))


def describe(*, custom: dict[str, Any] | None = None, root: dict[str, Any] | None = None, **plane: Any) -> str:
    """Description of a plane; of the keys ``_`` stands for ``-``, but for those that begin with it."""
    said: dict[str, Any] = {
        "plane-type": "plane", "pixel-size-x": SIZE[1], "pixel-size-y": SIZE[0], "bits-per-pixel": 16,
        "spatial-calibration-state": "on", "spatial-calibration-x": PIXEL_UM, "spatial-calibration-y": PIXEL_UM,
        "spatial-calibration-units": "um", "image-name": "Copy of DAPI", "zoom-percent": 60,
        "acquisition-time-local": "20240422 09:57:37.294", "stage-position-x": 4500.0, "stage-position-y": 1100.5,
        "z-position": 9319.72, "wavelength": 452.0, "camera-binning-x": 2, "_IllumSetting_": "DAPI", "_MagNA_": 0.2,
        "_MagSetting_": "4X Plan Apo",
    }  # fmt: skip
    said |= {k if k.startswith("_") else k.replace("_", "-"): v for k, v in plane.items()}
    above = {"ApplicationName": "MetaMorph", "ApplicationVersion": "7.8.0.0", **(root or {})}
    lines = ["<MetaData>", *(_property("prop", k, v) for k, v in above.items()), "<PlaneInfo>"]
    lines += [_property("prop", k, v) for k, v in said.items() if v is not None]
    lines += [_property("custom-prop", k, v) for k, v in (custom or {}).items()]
    lines += ["</PlaneInfo>", "<SetInfo>", _property("prop", "number-of-planes", 1), "</SetInfo>", "</MetaData>"]
    return "\r\n".join(lines)


def write_plane(path: Path, values: NDArray[Any], description: str) -> Path:
    """One plane, with the description as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(
        path, values, description=description, software="MetaSeries", metadata=None, photometric="minisblack"
    )
    return path


def write_plate(folder: Path, *, depths: tuple[float, ...] = (0.0, 3.99, 8.0), times: int = 2) -> Path:
    """Two fields of the well B03, one above the other, in two channels, depths in micrometres, and times 30 s apart."""
    text = "Plate Name: plate\r\nExposure: {}\r\nSoftware Version: MetaXpress 6.7.2.290\r\n"
    for t in range(times):
        for z, depth in enumerate(depths):
            for s in (1, 2):
                for c, (name, wavelength, exposure) in enumerate(SETTINGS, start=1):
                    y = 20000 + (s - 1) * SIZE[0] * PIXEL_UM
                    description = describe(
                        root={"Description": text.format(exposure)}, _IllumSetting_=name, wavelength=wavelength,
                        image_name=f"Copy of {name}", stage_position_x=23380.0, stage_position_y=y,
                        stage_label=f"B03 : Site {s}", z_position=9300 + depth + 3.5 * c,
                        acquisition_time_local=f"20240422 10:{t // 2:02}:{t % 2 * 30 + z:02}.{100 * c + s}",
                        custom={"Exposure Time": exposure, "ImageXpress Micro X": 23380.0},
                    )  # fmt: skip
                    values = np.full(SIZE, 1000 * t + 100 * z + 10 * s + c, np.uint16)
                    values[0, 0] = 0
                    place = folder / f"TimePoint_{t + 1}" / f"ZStep_{z + 1}"
                    write_plane(place / f"plate_B03_s{s}_w{c}{40 * t + z:02}D5F.tif", values, description)
    return folder


def _property(kind: str, name: str, value: Any) -> str:
    stated = {bool: "bool", int: "int", float: "float"}.get(type(value), "string")
    if name.endswith("-local"):
        stated = "time"
    text = quoteattr(str(value), {"\r": "&#13;", "\n": "&#10;"})
    return f'<{kind} id={quoteattr(name)} type="{stated}" value={text}/>'
