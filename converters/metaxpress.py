"""Plates of MetaXpress (ImageXpress): a .HTD file, and a TIFF for each plane of each site, wavelength and time.

``NAME.HTD`` has lines of a key in quotes and values: ``"WellsSelection1", TRUE, FALSE, ...`` for the columns of the
first row, ``"WaveName1", "DAPI"``, ``"WaveCollect1", 1``. The planes are ``NAME_B03_s1_w1GUID.tif`` beside it, without
``_s`` and ``_w`` where there is one of them, or in ``TimePoint_1`` and ``ZStep_1``; ``_thumb`` stands in the names of
small pictures. What the planes state is read as of any folder of planes.

Sources: .HTD files of IDR studies (idr0005, idr0006, idr0008, idr0081) as others describe them; the plate of faim-ipa.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from dandify.errors import BadRequest, BadSource
from dandify.sources import Converter, Source, Stream, Verdict
from dandify.sources.microscopy import ImageSource
from dandify.sources.plane_pattern import EXAMPLE
from dandify.sources.registry import by_name
from dandify.sources.vendors.metamorph_nd import begins_with, quoted_lines

_FIRST: Final = b'"HTSInfoFile"'
_PLANE: Final = re.compile(
    r"(?P<plate>.+?)_(?P<row>[A-Z]{1,2})(?P<column>\d{2})(?P<site>_s\d+)?(?P<wave>_w\d)?[^/]*\.(?P<suffix>tiff?)",
    re.IGNORECASE,
)
_FOLDER: Final = re.compile(r"(TimePoint|ZStep)_\d+", re.IGNORECASE)
_NAMED: Final = 5  # wells that a message names


class MetaXpress(Converter):
    """Multi-well plates of MetaXpress."""

    name = "metaxpress"
    title = "MetaXpress, ImageXpress"
    patterns = ("*.htd", "*.tif", "*.tiff")
    looks_like = "NAME.HTD with NAME_B03_s1_w1....tif beside it, or in TimePoint_1 and ZStep_1"
    becomes = "an OME-Zarr plate"
    fills = True
    priority = -30  # before planes and ome_tiff, which take its planes one by one

    def claim(self, path: Path) -> Path | None:
        """Return the .HTD file that is named, or that of the plate to which a plane belongs by its name."""
        if path.suffix.lower() == ".htd":
            return path
        found = _PLANE.fullmatch(path.name) if self.matches(path) else None  # of small pictures, too
        if found is None:
            return None
        folder = path.parent
        for _ in range(3):
            for suffix in (".HTD", ".htd"):
                if (file := folder / (found["plate"] + suffix)).is_file():
                    return file
            if not _FOLDER.fullmatch(folder.name):
                return None
            folder = folder.parent
        return None

    def identify(self, path: Path) -> Verdict:
        """Look at how it begins."""
        return begins_with(path, _FIRST)

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the .HTD file and the directories of the planes; no pixels.

        Parameters
        ----------
        path
            The .HTD file.
        options
            ``missing``: ``fill`` for 0 where a plane is missing; ``refuse`` is the default.
        """
        path = Path(os.path.abspath(path))
        if unknown := set(options) - {"missing"}:
            raise BadRequest(f"a plate of MetaXpress has no option {', '.join(sorted(unknown))}", file=path)
        said = dict(quoted_lines(path, _FIRST))
        mine = [file for file, found in _planes(path.parent) if found["plate"] == path.stem]
        files = [file for file in mine if not _small(file)]
        if not files:
            raise BadSource(f"has no planes beside it: {path.stem}_A01_s1_w1....tif", file=path,
                            remedy="copy the whole folder from the microscope's computer")  # fmt: skip
        patterns = {_pattern(file, path.parent) for file in files}
        if len(patterns) > 1:
            raise BadSource(
                f"has planes of several kinds beside it: {', '.join(sorted(patterns))}", file=path,
                remedy=f"convert each by itself: --pattern '{EXAMPLE}'",
            )  # fmt: skip
        source = by_name("planes").open(path.parent, {**options, "pattern": patterns.pop()})
        assert isinstance(source, ImageSource)
        streams = tuple(_named(stream, _waves(said)) for stream in source.streams)
        facts = dict(source.facts)
        if "channel_names" in facts:
            facts["channel_names"] = tuple(c.name for c in streams[0].channels)
        if said.get("Description"):
            facts["description"] = said["Description"]
        return replace(
            source, format=self.name, path=path, files=(path, *source.files, *filter(_small, mine)),
            streams=streams, facts=facts,
            needs=tuple(replace(need, file=str(path)) for need in source.needs),
            problems=(*source.problems, *_empty_wells(path, said, streams)),
        )  # fmt: skip


def _small(file: Path) -> bool:
    """Whether a file is the small picture that MetaXpress puts beside a plane."""
    return "_thumb" in file.name.lower()


def _planes(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    """Files of planes, and small pictures of them, in the folder of a plate and those of its times and depths."""
    for inside, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if _FOLDER.fullmatch(n))
        for name in sorted(names):
            if (found := _PLANE.fullmatch(name)) is not None:
                yield Path(inside) / name, found


def _pattern(file: Path, folder: Path) -> str:
    """Pattern of names that a plane is of."""
    found = _PLANE.fullmatch(file.name)
    assert found is not None
    above = ""
    for part in file.relative_to(folder).parts[:-1]:
        counted = "t" if part[0] in "Tt" else "z"
        above += f"{part.rpartition('_')[0]}_{{{counted}}}/"
    return (
        f"{above}{found['plate']}_{{row}}{{column:2}}" + "_s{field}" * bool(found["site"])
        + "_w{channel:1}" * bool(found["wave"]) + f"*.{found['suffix']}"
    )  # fmt: skip


def _waves(said: Mapping[str, str]) -> list[str]:
    """Names of the wavelengths that were taken."""
    count = said.get("NWavelengths", "0")
    numbers = range(1, int(count) + 1) if count.isdecimal() and len(count) < 3 else ()
    return [said.get(f"WaveName{i}", "") for i in numbers if said.get(f"WaveCollect{i}", "1").strip() != "0"]


def _named(stream: Stream, waves: list[str]) -> Stream:
    """Call channels by the names of the wavelengths, where there is one for each."""
    if len(waves) != max(1, len(stream.channels)) or not all(waves) or not stream.channels:
        return stream
    return replace(stream, channels=tuple(replace(c, name=n) for c, n in zip(stream.channels, waves, strict=True)))


def _empty_wells(path: Path, said: Mapping[str, str], streams: tuple[Stream, ...]) -> tuple[str, ...]:
    """Say which wells were selected and have no planes."""
    there = {(s.well.row.upper(), int(s.well.column)) for s in streams if s.well is not None}
    wanted = []
    for number in range(1, 33):
        chosen = [c.strip().upper() for c in said.get(f"WellsSelection{number}", "").split(",")]
        row = chr(64 + number) if number <= 26 else "A" + chr(64 + number - 26)
        wanted += [f"{row}{c:02}" for c, yes in enumerate(chosen, start=1) if yes == "TRUE" and (row, c) not in there]
    if not wanted:
        return ()
    some = ", ".join(wanted[:_NAMED]) + (f" and {len(wanted) - _NAMED} more" if len(wanted) > _NAMED else "")
    return (f"{path.name} selects wells of which there are no planes: {some}",)


converter = MetaXpress()
