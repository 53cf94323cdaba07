"""Plates as MetaXpress lays them out: a .HTD file, planes named by well, site and wavelength, small pictures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from metamorph_maker import SIZE, describe, write_plane

ROWS, COLUMNS = 8, 12


@dataclass(frozen=True)
class Plate:
    """What is written: names and folders as MetaXpress has them."""

    name: str = "BSF018292-1A"
    wells: tuple[str, ...] = ("A01", "B03")
    selected: tuple[str, ...] = ("A01", "B03")
    sites: int = 2
    waves: tuple[str, ...] = ("DAPI", "Cy5 long")
    times: int = 0
    depths: int = 0
    guid: bool = True

    def lines(self) -> list[str]:
        """Of the .HTD file."""
        truth = {True: "TRUE", False: "FALSE"}
        out = ['"HTSInfoFile", Version 1.0', '"Description", "screen of March"', '"PlateType", 6']
        out += [f'"TimePoints", {self.times or 1}', f'"ZSeries", {truth[self.depths > 1]}']
        out += [f'"ZSteps", {self.depths or 1}', '"ZProjection", FALSE', f'"XWells", {COLUMNS}', f'"YWells", {ROWS}']
        for row in range(ROWS):
            chosen = (truth[f"{chr(65 + row)}{c + 1:02}" in self.selected] for c in range(COLUMNS))
            out.append(f'"WellsSelection{row + 1}", {", ".join(chosen)}')
        out += [f'"Sites", {truth[self.sites > 0]}', f'"Waves", {truth[len(self.waves) > 1]}']
        out += [f'"NWavelengths", {len(self.waves)}']
        for i, wave in enumerate(self.waves, start=1):
            out += [f'"WaveName{i}", "{wave}"', f'"WaveCollect{i}", 1']
        return [*out, '"UniquePlateIdentifier", "1-2-3"', '"EndFile"']

    def plane(self, well: str, site: int, wave: int, t: int, z: int) -> NDArray[np.uint16]:
        """Pixels that say of which plane they are."""
        values = np.zeros(SIZE, np.uint16)
        values[:] = 10000 * (well == "B03") + 1000 * site + 100 * wave + 10 * t + z
        return values

    def path(self, folder: Path, well: str, site: int, wave: int, t: int, z: int) -> Path:
        """Of a plane; the GUID follows the number of the wavelength at once, where there is one."""
        name = f"{self.name}_{well}" + (f"_s{site}" if self.sites else "") + f"_w{wave}" * (len(self.waves) > 1)
        guid = f"{17 + site}{wave}D5F-0A"
        name += (guid if len(self.waves) > 1 else f"_[{guid}]") if self.guid else ""
        inside = folder / (f"TimePoint_{t}" if self.times else "") / (f"ZStep_{z}" if self.depths else "")
        return inside / f"{name}.tif"

    def write(self, folder: Path) -> Path:
        """Write all; return the .HTD file."""
        folder.mkdir(parents=True, exist_ok=True)
        numbers = (range(1, max(1, n) + 1) for n in (self.sites, len(self.waves), self.times, self.depths))
        for well, (site, wave, t, z) in product(self.wells, product(*numbers)):
            text = describe(_IllumSetting_=f"setting {wave}", z_position=2.0 * z, stage_label=f"{well} : Site {site}",
                            acquisition_time_local=f"20240422 10:{t:02}:00.000")  # fmt: skip
            path = self.path(folder, well, site, wave, t, z)
            write_plane(path, self.plane(well, site, wave, t, z), text)
            if site == wave == 1:
                thumb = path.with_name(f"{self.name}_{well}" + "_s1" * (self.sites > 0) + "_w1_thumb0A.tif")
                tifffile.imwrite(thumb, np.zeros((4, 4), np.uint8))
        path = folder / f"{self.name}.HTD"
        path.write_bytes("\r\n".join(self.lines()).encode("latin-1"))
        return path
