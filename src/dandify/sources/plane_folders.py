"""Which files of a folder are the planes of one image: the rule of names that `planes` and `ome_tiff` share.

A run of planes is two or more TIFF files whose names differ only in the number before the suffix, at least two of the
numbers neighbours: ``ch00000.tif``, ``ch00001.tif``. What the number counts is told by the word before it:

- a word for channels (``ch``, ``channel``, ``wavelength`` ...) and numbers of at most two digits: channels, not planes.
  Nobody has a hundred channels, so ``Channel_0.tif`` is a channel, and ``ch00000.tif`` a plane;
- a word for places (``tile``, ``pos``, ``well``, ``fov`` ...): places, not planes;
- a word for time (``t``, ``time``, ``timepoint``): planes along time;
- anything else: planes along z.

Files that a ``TileConfiguration.txt`` beside them names are tiles, whatever they are called.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from dandify.errors import BadSource
from dandify.sources.tiff_header import DESCRIPTION, Header, foreign, read_header
from dandify.sources.vendors.metamorph_stk import planes_of
from dandify.sources.vendors.tile_configuration import named_tiles

PATTERNS: Final = ("*[0-9].tif", "*[0-9].tiff")
_NAME = re.compile(r"(?P<stem>.*?)(?P<number>\d+)(?P<suffix>\.tiff?)", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(r"([a-z]*)[ _.-]*$", re.IGNORECASE)
_CHANNEL_FOLDER = re.compile(r"(?P<stem>(?:.*[^a-z])?(?:c|ch|chan|channel)[ _-]?)(?P<number>\d{1,2})", re.IGNORECASE)
_CHANNELS: Final = frozenset({"c", "ch", "chan", "channel", "channels", "w", "wave", "wavelength", "colour", "color"})
_PLACES: Final = frozenset({
    "tile", "tiles", "pos", "position", "site", "field", "fov", "scene", "series", "well", "xy", "view", "stack", "roi",
})  # fmt: skip
_TIMES: Final = frozenset({"t", "time", "timepoint", "tp"})


@dataclass(frozen=True)
class Run:
    """Files of one folder that are the planes of one image.

    Attributes
    ----------
    folder
        The folder.
    stem
        What is before the number.
    files
        Number and name of each, by number.
    axis
        What the number counts: ``z`` or ``t``.
    """

    folder: Path
    stem: str
    files: tuple[tuple[int, str], ...]
    axis: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files by number."""
        return tuple(self.folder / name for _, name in self.files)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers."""
        return tuple(number for number, _ in self.files)


def split(name: str) -> tuple[str, int, int] | None:
    """Stem, number and digits of a file name that could be one of a plane; None if it could not."""
    match = _NAME.fullmatch(name)
    return (match["stem"], int(match["number"]), len(match["number"])) if match else None


def counted(stem: str, digits: int) -> str:
    """Tell what the number behind a stem counts: ``z``, ``t``, ``c`` or ``place``; ``digits`` of the longest number."""
    match = _WORD.search(stem)
    word = match[1].lower() if match else ""
    if word in _CHANNELS and digits <= 2:
        return "c"
    if word in _PLACES:
        return "place"
    return "t" if word in _TIMES else "z"


def runs_of_names(folder: Path, names: Iterable[str]) -> tuple[Run, ...]:
    """Find the runs of planes among file names."""
    found: dict[str, list[tuple[int, str, int]]] = {}
    for name in names:
        if (parts := split(name)) is not None:
            found.setdefault(parts[0], []).append((parts[1], name, parts[2]))
    out = []
    for stem, files in sorted(found.items()):
        files.sort()
        axis = counted(stem, max(digits for _, _, digits in files))
        neighbours = any(b[0] - a[0] == 1 for a, b in pairwise(files))
        if axis in "zt" and neighbours:
            out.append(Run(folder, stem, tuple((number, name) for number, name, _ in files), axis))
    return tuple(out)


def runs_in(folder: Path) -> tuple[Run, ...]:
    """Return the runs of planes in a folder, by their names and the headers of three files of each."""
    return tuple(run for run in runs_of_names(folder, file_names(folder)) if _of_planes(run))


def run_of(path: Path) -> Run | None:
    """Return the run of planes to which a file belongs; None if it is a picture of its own."""
    parts = split(path.name)
    if parts is None:
        return None
    names = [n for n in file_names(path.parent) if n.startswith(parts[0])]
    found = [r for r in runs_of_names(path.parent, names) if path in r.paths]
    return found[0] if found and _of_planes(found[0]) else None


def channel_folders(parent: Path) -> tuple[tuple[int, Path], ...]:
    """Folders ``ch0``, ``ch1`` ... of a folder that hold planes by their names; empty if there are less than two.

    Names are looked at, no file is opened.
    """
    groups: dict[str, list[tuple[int, Path]]] = {}
    try:
        with os.scandir(parent) as entries:
            for entry in entries:
                if split(entry.name) is not None:
                    return ()  # it holds planes itself
                if (match := _CHANNEL_FOLDER.fullmatch(entry.name)) and entry.is_dir() and _numbered(Path(entry.path)):
                    groups.setdefault(match["stem"], []).append((int(match["number"]), Path(entry.path)))
    except OSError:
        return ()
    several = [tuple(sorted(group)) for group in groups.values() if len(group) > 1]
    return several[0] if len(several) == 1 else ()


def root_of(path: Path) -> Path | None:
    """Return the folder that a file could be a plane of: its own, or that above if its own is a channel."""
    parts = split(path.name)
    if parts is None or counted(parts[0], parts[2]) == "place":
        return None
    folder = path.parent
    if _CHANNEL_FOLDER.fullmatch(folder.name) and any(folder == f for _, f in channel_folders(folder.parent)):
        return folder.parent
    return folder


def file_names(folder: Path) -> list[str]:
    """Names of the files in a folder that may be planes: not of those that are tiles; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if not e.is_dir())
    except OSError:
        return []
    tiles = named_tiles(folder)
    return [] if tiles is None else [name for name in names if name not in tiles]


def is_single(header: Header) -> bool:
    """Whether a file with this header (two pages of it) holds one plane and nothing says that there is more in it."""
    text = header.first.text(DESCRIPTION)
    if len(header.pages) > 1 or text.rstrip().endswith("OME>") or foreign(header.first) or planes_of(header) > 1:
        return False
    first = header.first
    # ImageJ writes one directory for a large stack. Some programs keep its text in files of single planes.
    stack = text.startswith("ImageJ=") and re.search(r"^images=(?!1\s*$)", text, re.MULTILINE) is not None
    return not (stack and first.data >= 0 and header.size >= first.data + 2 * first.nbytes)


def _of_planes(run: Run) -> bool:
    """Whether the first two and the last file, as far as they can be read, are single planes."""
    readable = 0
    for path in (*run.paths[:2], run.paths[-1]):
        try:
            header = read_header(path, pages=2)
        except BadSource:
            continue
        if not is_single(header):
            return False
        readable += 1
    return readable > 0


def _numbered(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(split(e.name) is not None for e in entries)
    except OSError:
        return False
