"""Which plane of which image a file is, by a pattern of names that somebody declares.

``TimePoint_{t}/*_{row}{column}_s{field}_w{channel:1}*.tif``: a path below a folder, in which ``*`` is anything within
a name and braces are what is counted. ``{channel:1}`` has exactly one character. Names are matched as they are written.

- ``row``, ``column``: of a well on a plate, letters or digits as the files have them;
- ``field``: place of the microscope, within the well where there are wells;
- ``t``, ``z``, ``channel``: time, depth and colour of the plane.

MetaXpress puts a small picture beside each plane, ``..._w1_thumb6EFE77C6-....tif`` beside ``..._w146C9B2CD-....tif``.
They are no planes, unless the pattern speaks of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Final

from dandify.errors import BadRequest, BadSource

FIELDS: Final = {
    "row": r"[A-Za-z]{1,2}|\d+", "column": r"\d+", "field": r"\d+", "t": r"\d+", "z": r"\d+",
    "channel": r"[A-Za-z0-9]+",
}  # fmt: skip
_PLACES: Final = ("row", "column", "field")
_PLANES: Final = ("t", "channel", "z")
_TOKEN: Final = re.compile(r"\{([^{}]*)\}|(\*)|([^{}*]+)|(.)")
EXAMPLE: Final = "TimePoint_{t}/*_{row}{column}_s{field}_w{channel:1}*.tif"
_THUMBNAIL: Final = re.compile(r"_thumb[0-9A-F-]*\.tiff?", re.IGNORECASE)
_NAMED: Final = 3  # missing planes that an error names
_FILL: Final = "--missing fill has 0 there"


@dataclass(frozen=True)
class Planes:
    """The planes of one image.

    Attributes
    ----------
    place
        Row, column and field, as far as the pattern has them.
    counted
        The values of t, channel and z that there are, each in order.
    files
        In C order of t, channel and z; None for a plane that is missing.
    """

    place: Mapping[str, str]
    counted: Mapping[str, tuple[str, ...]]
    files: tuple[Path | None, ...]


def images_by(folder: Path, pattern: str, *, fill: bool = False) -> tuple[Planes, ...]:
    """Find the images of a folder, in the order of their places.

    Parameters
    ----------
    folder
        The folder.
    pattern
        Of the paths below it.
    fill
        Planes may be missing: between times, depths and channels that there are.

    Raises
    ------
    BadRequest
        If the pattern is none, or fits no file.
    BadSource
        If two files would be the same plane, or one is missing.
    """
    rule = _compiled(pattern, folder)
    found: dict[tuple[str, ...], dict[tuple[str, ...], Path]] = {}
    planes = [name for name in _PLANES if name in rule.groupindex]
    places = [name for name in _PLACES if name in rule.groupindex]
    for file in _files(folder):
        match = rule.fullmatch(file.relative_to(folder).as_posix())
        if match is None or ("thumb" not in pattern and _THUMBNAIL.search(file.name)):
            continue
        image = found.setdefault(tuple(match[name] for name in places), {})
        plane = tuple(match[name] for name in planes)
        if plane in image:
            raise BadSource(
                f"is the same plane as {image[plane].name}, by the pattern {pattern}", file=file,
                remedy="put what tells them apart into the pattern, or move one of them away",
            )  # fmt: skip
        image[plane] = file
    if not found:
        near = next(iter(sorted(_files(folder))), None)
        raise BadRequest(
            f"no file fits the pattern {pattern}", file=folder,
            remedy=f"the first file is {near.relative_to(folder).as_posix()}" if near else "there is no file in it",
        )  # fmt: skip
    ordered = sorted(found.items(), key=lambda item: [_order(value) for value in item[0]])
    counted = [
        sorted({plane[i] for image in found.values() for plane in image}, key=_order) for i in range(len(planes))
    ]
    images = tuple(
        _complete(dict(zip(places, place, strict=True)), planes, image, counted, folder, fill=fill)
        for place, image in ordered
    )  # fmt: skip
    if places == ["field"] and not fill and (absent := absent_fields(images)):
        raise BadSource(
            absent[0], file=folder,
            remedy="copy its files from the microscope's computer; --missing fill goes on without it",
        )  # fmt: skip
    return images


def absent_fields(images: Sequence[Planes]) -> tuple[str, ...]:
    """Say which fields have no files: numbers between others, of a well those that other wells have."""
    fields: dict[str, set[int]] = {}
    for place in (image.place for image in images if image.place.get("field", "").isdigit()):
        well = "".join(place[name] for name in ("row", "column") if name in place)
        fields.setdefault(well, set()).add(int(place["field"]))
    if "" in fields:
        wanted = set(range(min(fields[""]), max(fields[""]) + 1))
        if len(wanted) > 2 * len(fields[""]):  # numbers that count something else
            return ()
    else:
        wanted = set().union(*fields.values())
    absent = {well: ", ".join(map(str, sorted(wanted - there))) for well, there in fields.items() if wanted - there}
    return tuple(
        f"{f'well {well}' if well else 'the folder'} has no files of field {them}" for well, them in absent.items()
    )


def _compiled(pattern: str, folder: Path) -> re.Pattern[str]:
    text, seen = "", set()
    for token in _TOKEN.finditer(pattern.replace("\\", "/").removeprefix("./")):
        named, star, literal, wrong = token.groups()
        if wrong:
            raise BadRequest(f"the pattern {pattern} has a brace that stands alone", file=folder, remedy=EXAMPLE)
        if star or literal:
            text += "[^/]*" if star else re.escape(literal)
            continue
        name, _, width = named.partition(":")
        if name not in FIELDS or name in seen or (width and not width.isdigit()):
            raise BadRequest(
                f"the pattern {pattern} has {{{named}}}{' twice' if name in seen else ''}", file=folder,
                remedy=f"each of {', '.join(FIELDS)} once, with a number of characters if need be: {EXAMPLE}",
            )  # fmt: skip
        seen.add(name)
        if width:
            kind = {"row": "[A-Za-z0-9]", "channel": "[A-Za-z0-9]"}.get(name, r"\d")
            text += f"(?P<{name}>{kind}{{{width}}})"
        else:
            text += f"(?P<{name}>{FIELDS[name]})"
    if ("row" in seen) != ("column" in seen):
        raise BadRequest(f"the pattern {pattern} has a row or a column of wells without the other", file=folder,
                         remedy=EXAMPLE)  # fmt: skip
    return re.compile(text)


def _files(folder: Path) -> Iterator[Path]:
    for inside, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.endswith((".zarr", ".partial")))
        yield from (Path(inside) / name for name in sorted(names))


def _order(value: str) -> tuple[int, int, str]:
    """Numbers by their size, before letters; AA behind Z, as rows of large plates are called."""
    return (0, int(value), value) if value.isdigit() else (1, len(value), value)


def _complete(
    place: Mapping[str, str], names: Sequence[str], planes: Mapping[tuple[str, ...], Path],
    of_all: Sequence[Sequence[str]], folder: Path, *, fill: bool,
) -> Planes:  # fmt: skip
    """Put planes in order, and refuse or fill gaps: whatever lies behind one would be shifted.

    ``of_all`` are the values that the images of the folder have: one that has less of them lacks planes.
    """
    counted = [list(values) for values in of_all]
    for name, values in zip(names, counted, strict=True):
        numbers = [int(v) for v in values if v.isdigit()] if name != "channel" else []
        gap = next((before + 1 for before, number in pairwise(numbers) if number > before + 1), None)
        if gap is None:
            continue
        few = numbers[-1] - numbers[0] < 2 * len(numbers)  # more than half are there
        if not (fill and few):
            raise BadSource(
                f"{_named(place)}has no plane of {name} {gap}, between {name} {numbers[0]} and {numbers[-1]}",
                file=folder,
                remedy="copy the missing planes; a gap would shift all planes behind it. "
                + (_FILL if few else "More are missing than are there: does another number stand in the pattern?"),
            )  # fmt: skip
        values += map(str, sorted(set(range(numbers[0], numbers[-1])) - set(numbers)))
        values.sort(key=_order)
    missing = [p for p in product(*counted) if p not in planes]
    if missing and not fill:
        some = "; ".join(", ".join(f"{n} {v}" for n, v in zip(names, p, strict=True)) for p in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise BadSource(f"{_named(place)}lacks the planes of {some}{more}", file=folder,
                        remedy=f"copy them from the microscope's computer. {_FILL}; what is meant to have less "
                        "than the others is converted by itself, with its name in the pattern")  # fmt: skip
    return Planes(
        place, dict(zip(names, map(tuple, counted), strict=True)), tuple(planes.get(p) for p in product(*counted))
    )


def _named(place: Mapping[str, str]) -> str:
    return " ".join(f"{name} {value}" for name, value in place.items()) + ": " if place else ""
