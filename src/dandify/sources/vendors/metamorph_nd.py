r"""The ``.nd`` file of an acquisition of MetaMorph or VisiView: which stages, wavelengths and times there are files of.

Lines of a key in quotes and a value::

    "NDInfoFile", Version 1.0
    "Description", what somebody typed, on as many lines as it has
    "StartTime1", 20260313 15:36:49.941
    "DoTimelapse", TRUE          "NTimePoints", 361
    "DoStage", TRUE              "NStagePositions", 2     "Stage1", "EV_1"   ...
    "DoWave", TRUE               "NWavelengths", 2        "WaveName1", "GFP"   "WaveDoZ1", TRUE   ...
    "DoZSeries", TRUE            "NZSteps", 25            "ZStepSize", 2,00
    "WaveInFileName", TRUE
    "EndFile"

A file holds what was taken at one stage, wavelength and time: ``NAME_w1GFP_s2_t3.stk``. Each part is there if its
``Do`` is TRUE, the name of the wavelength if WaveInFileName is, with a hyphen for what a name of a file cannot have.
Version 1.0 saves depths as stacks (``.stk``) and single planes as ``.tif``, version 2.0 all as ``.tif``.

Sources: Molecular Devices, "MDA file formats"; files that were published with fmi-faim/metamorph-mda-parser; what
MetaMorph puts in place of characters as Bio-Formats has it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from dandify.errors import BadSource
from dandify.sources.contract import Verdict

FIRST_LINE: Final = b'"NDInfoFile"'
_LINE: Final = re.compile(r'"([A-Za-z]+\d*)"\s*(?:,\s*(.*))?')
_PARTS: Final = re.compile(r"_[wst]\d", re.IGNORECASE)
_NOT_IN_NAMES: Final = re.compile(r'[_/\\():*?"<>|]')
_MOST: Final = 2**20  # files
_LONGEST: Final = 2**24  # bytes
_MEND: Final = "copy it again from the microscope's computer, or move it away to convert its files one by one"


@dataclass(frozen=True)
class Wave:
    """A wavelength: its name, and whether depths were taken; None where the file does not say."""

    name: str
    depths: bool | None


@dataclass(frozen=True)
class Nd:
    """What a ``.nd`` file says.

    Attributes
    ----------
    path
        The file.
    version
        ``1.0`` or ``2.0``.
    description, start
        As written; empty where they are not.
    stages
        Names of the stage positions; empty if there is one that has no part in the names of files.
    waves
        Wavelengths; empty in the same way.
    times
        Number of time points; None without a time lapse.
    depths
        Number of planes; None without a series in depth.
    step_um
        Between planes; None where it is not stated.
    named
        Names of wavelengths stand in the names of files.
    """

    path: Path
    version: str
    description: str
    start: str
    stages: tuple[str, ...]
    waves: tuple[Wave, ...]
    times: int | None
    depths: int | None
    step_um: float | None
    named: bool

    @property
    def counts(self) -> tuple[int, int, int]:
        """Stages, wavelengths, times, at least one of each."""
        return max(1, len(self.stages)), max(1, len(self.waves)), self.times or 1

    def planes(self, wave: int) -> int | None:
        """Give the number of planes of a wavelength; None where it is not said which have depths."""
        if self.depths is None:
            return 1
        stated = self.waves[wave].depths if self.waves else True
        return None if stated is None else self.depths if stated else 1

    def stem(self, stage: int, wave: int, time: int) -> str:
        """Name of a file without its suffix, as MetaMorph would write it."""
        name = _NOT_IN_NAMES.sub("-", self.waves[wave].name) if self.waves and self.named else ""
        return (
            self.path.stem + (f"_w{wave + 1}{name}" if self.waves else "") + (f"_s{stage + 1}" if self.stages else "")
            + (f"_t{time + 1}" if self.times is not None else "")
        )  # fmt: skip

    def files(self) -> dict[tuple[int, int, int], Path]:
        """Files that are there, by stage, wavelength and time."""
        there: dict[str, list[str]] = {}
        for name in os.listdir(self.path.parent):
            stem, _, suffix = name.rpartition(".")
            if suffix.lower() in ("stk", "tif", "tiff"):
                there.setdefault(_plain(stem), []).append(name)
        found = {}
        stages, waves, times = map(range, self.counts)
        for place in product(stages, waves, times):
            stack = self.version == "1.0" and self.planes(place[1]) != 1
            if names := there.get(_plain(self.stem(*place))):
                best = min(names, key=lambda n: (n.lower().endswith(".stk") != stack, n))
                found[place] = self.path.parent / best
        return found


def read_nd(path: Path) -> Nd:
    """Read a ``.nd`` file.

    Raises
    ------
    BadSource
        If it is none, ends early, or states numbers that are none.
    """
    said = dict(quoted_lines(path, FIRST_LINE))

    def flag(key: str) -> bool | None:
        return {"TRUE": True, "FALSE": False}.get(said.get(key, "").upper())

    def number(key: str) -> int:
        value = said.get(key, "1")
        if not value.isdecimal() or not 1 <= int(value) <= _MOST:
            raise BadSource(f"states {value!r}, not a number of them", file=path, place=key, remedy=_MEND)
        return int(value)

    stages = number("NStagePositions") if flag("DoStage") else 0
    waves = number("NWavelengths") if flag("DoWave") else 0
    nd = Nd(
        path=path,
        version=said["NDInfoFile"].removeprefix("Version").strip(),
        description=said.get("Description", ""),
        start=said.get("StartTime1", ""),
        stages=tuple(said.get(f"Stage{i}", "") for i in range(1, stages + 1)),
        waves=tuple(Wave(said.get(f"WaveName{i}", ""), flag(f"WaveDoZ{i}")) for i in range(1, waves + 1)),
        times=number("NTimePoints") if flag("DoTimelapse") else None,
        depths=number("NZSteps") if flag("DoZSeries") else None,
        step_um=_length(said.get("ZStepSize", "")),
        named=flag("WaveInFileName") is True,
    )
    if nd.counts[0] * nd.counts[1] * nd.counts[2] > _MOST:
        raise BadSource(f"states {' x '.join(map(str, nd.counts))} files", file=path, place="NTimePoints",
                        remedy=_MEND)  # fmt: skip
    return nd


def nd_of(path: Path) -> Path | None:
    """Return the ``.nd`` file to whose acquisition a file belongs by its name; None if there is none beside it."""
    for part in _PARTS.finditer(path.name):
        for suffix in (".nd", ".ND"):
            if (file := path.with_name(path.name[: part.start()] + suffix)).is_file():
                return file
    return None


def begins_with(path: Path, first: bytes) -> Verdict:
    """Say whether a file begins with the key that those of its format do."""
    try:
        with path.open("rb") as file:
            yes = file.read(len(first)) == first
    except OSError as error:
        return Verdict(False, f"cannot be read: {error.strerror}")
    return Verdict(yes, f"{'begins' if yes else 'does not begin'} with {first.decode()}")


def quoted_lines(path: Path, first: bytes) -> Iterator[tuple[str, str]]:
    """Yield keys and values of a file of MetaMorph or MetaXpress, up to ``"EndFile"``.

    Raises
    ------
    BadSource
        If it does not begin with the key that it should, or ends early.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST)
    except OSError as error:
        raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
    if not raw.startswith(first):
        raise BadSource(f"does not begin with {first.decode()}, as a {path.suffix} file does", file=path,
                        place="line 1", remedy=_MEND)  # fmt: skip
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # µ as one byte
    key, value = "", ""
    for line in text.splitlines():
        found = _LINE.fullmatch(line.strip())
        if found is None:
            value += "\n" + line.strip()  # a description goes on
            continue
        if key:
            yield key, value.strip()
        key, value = found[1], (found[2] or "").strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if key == "EndFile":
            return
    raise BadSource('ends without "EndFile"', file=path, place=f"after {key or 'nothing'}", remedy=_MEND)


def _plain(stem: str) -> str:
    """Make names alike that differ only in what MetaMorph puts in place of characters."""
    return _NOT_IN_NAMES.sub("-", stem).lower()


def _length(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None
