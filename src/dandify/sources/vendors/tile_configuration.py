"""Where the tiles of a folder lie, as Fiji's stitching writes it: ``TileConfiguration.txt``.

The layout is that of Fiji's Grid/Collection stitching (``Stitching_Grid.getLayoutFromFile``), which BigStitcher reads::

    # Define the number of dimensions we are working on
    dim = 2

    # Define the image coordinates
    tile_01.tif; ; (0.0, 0.0)
    tile_02.tif; ; (921.6, -3.0)

Names are of files in the same folder; numbers are x, y and, of ``dim = 3``, z of the first pixel, in pixels. Between
the semicolons stands the title of an open window, which says nothing on a disk. ``multiseries = true`` (of files with
several images) puts the number of the image there, from 0. ``absolutepath = true`` says that names are paths.
``TileConfiguration.registered.txt`` has the places at which stitching found the tiles.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Final

from dandify.errors import BadSource

_PATTERN: Final = "tileconfiguration*.txt"
_PLACE: Final = re.compile(r"\(([^()]*)\)\s*(?:#.*)?")
_MEND: Final = "mend the line, or go on without it: --ignore '{name}'"


@dataclass(frozen=True)
class Tile:
    """A line about a tile.

    Attributes
    ----------
    name
        Of its file.
    series
        Which image of the file, from 0; None where the line does not say.
    place_px
        x, y and maybe z of its first pixel, in pixels.
    """

    name: str
    series: int | None
    place_px: tuple[float, ...]


def configurations_in(folder: Path) -> tuple[Path, ...]:
    """Files of a folder that are called as configurations of tiles are; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(e.name for e in entries if fnmatchcase(e.name.lower(), _PATTERN) and e.is_file())
    except OSError:
        return ()
    return tuple(folder / name for name in found)


def named_tiles(folder: Path) -> frozenset[str] | None:
    """Names of the files that configurations of a folder call tiles; None if one cannot be read."""
    try:
        return frozenset(tile.name for path in configurations_in(folder) for tile in read_tiles(path))
    except BadSource:
        return None


def read_tiles(path: Path) -> tuple[Tile, ...]:
    """Read a configuration, in its order.

    Raises
    ------
    BadSource
        If it cannot be read, or a line is not as Fiji writes it, or a tile has two places.
    """
    try:
        state = path.stat()
        return _read(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path, remedy="copy it again") from None


@lru_cache(maxsize=16)  # asked for by each file of its folder
def _read(path: Path, _size: int, _changed_ns: int) -> tuple[Tile, ...]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # Java on Windows writes what Windows speaks
    head: dict[str, str] = {}
    lines: list[tuple[int, str, str, tuple[float, ...]]] = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if ";" not in line and "=" in line:
            key, _, value = line.partition("#")[0].partition("=")
            head[key.strip().lower()] = value.strip().lower()
            continue
        if head.get("dim") not in ("2", "3"):
            said = f"dim = {head['dim']}" if "dim" in head else "no line 'dim = 2' or 'dim = 3'"
            raise _wrong(path, number, f"{said} before the first tile")
        lines.append((number, *_line(path, number, line, int(head["dim"]))))
    if not lines:
        raise BadSource("names no tile", file=path, remedy=_MEND.format(name=path.name))
    names = [name for _, name, _, _ in lines]
    several = head.get("multiseries") == "true"
    tiles: dict[tuple[str, int | None], Tile] = {}
    for number, name, between, place in lines:
        numbered = several or (names.count(name) > 1 and between.isdigit())
        if numbered and not between.isdigit():
            raise _wrong(path, number, f"has {between!r} in place of the number of an image in {name}")
        tile = Tile(name, int(between) if numbered else None, place)
        if tiles.setdefault((name, tile.series), tile) is not tile:
            raise _wrong(path, number, f"names {name} once more" + (f", image {between}" if numbered else ""))
    return tuple(tiles.values())


def _line(path: Path, number: int, line: str, dimensions: int) -> tuple[str, str, tuple[float, ...]]:
    parts = [part.strip() for part in line.split(";", 2)]
    place = _PLACE.fullmatch(parts[-1]) if len(parts) > 2 else None
    if place is None or not parts[0]:
        raise _wrong(path, number, f"is {line!r}, not 'NAME; ; ({'x, y, z'[: 3 * dimensions - 2]})'")
    try:
        values = tuple(float(value) for value in place[1].split(","))
    except ValueError:
        values = ()
    if len(values) != dimensions or not all(map(math.isfinite, values)):
        raise _wrong(path, number, f"has the place ({place[1]}), not {dimensions} numbers")
    return PureWindowsPath(parts[0]).name, parts[1], values  # it splits at both kinds of slash


def _wrong(path: Path, number: int, what: str) -> BadSource:
    return BadSource(what, file=path, place=f"line {number}", remedy=_MEND.format(name=path.name))
