"""Puts the tiles of a folder where a ``TileConfiguration.txt`` beside them says: its pixels become micrometres."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dandify.errors import BadSource
from dandify.sources.contract import Source, Stream
from dandify.sources.microscopy import ImageSource
from dandify.sources.vendors.tile_configuration import Tile, configurations_in, read_tiles

_REGISTERED: Final = ".registered.txt"
_NAMED: Final = 3  # tiles that an error names


def place_tiles(
    sources: Sequence[Source],
    *,
    whole: bool = False,
    missing: str | None = None,
    ignored: Callable[[Path], bool] = lambda _: False,
) -> tuple[list[Source], list[BadSource]]:
    """Put images where configurations beside their files say; the other sources stay as they are.

    Of ``NAME.txt`` and ``NAME.registered.txt`` the latter is taken: it has the places at which stitching found the
    tiles, the former those at which they were expected. What a configuration says counts more than what a tile states.

    Parameters
    ----------
    sources
        In any order.
    whole
        They are all images of their folders: a tile that is named and is no file, and an image like the tiles that is
        not named, are errors.
    missing
        ``fill``: named tiles may be missing.
    ignored
        Whether a configuration is to be passed over.

    Returns
    -------
    tuple
        The sources in their order, and what is wrong with configurations, whose images stay as they are.
    """
    placed, errors = list(sources), []
    folders: dict[Path, list[int]] = {}
    for i, source in enumerate(sources):
        if isinstance(source, ImageSource):
            folders.setdefault(source.path if source.path.is_dir() else source.path.parent, []).append(i)
    for folder, members in folders.items():
        if not (found := [path for path in configurations_in(folder) if not ignored(path)]):
            continue
        try:
            images = [s for i in members if isinstance(s := sources[i], ImageSource)]
            for i, image in zip(members, _placed(images, found, whole=whole, missing=missing), strict=True):
                placed[i] = image
        except BadSource as error:
            errors.append(error)
    return placed, errors


def placed_alone(source: Source, ignored: Callable[[Path], bool] = lambda _: False) -> Source:
    """Put the images of one source where a configuration beside it says, but one that is to be passed over.

    Raises
    ------
    BadSource
        If that cannot be read, or does not fit.
    """
    (placed,), errors = place_tiles([source], ignored=ignored)
    if errors:
        raise errors[0]
    return placed


def _placed(
    images: Sequence[ImageSource], found: Sequence[Path], *, whole: bool, missing: str | None
) -> list[ImageSource]:  # fmt: skip
    used = [path for path in found if path.with_name(path.stem + _REGISTERED) not in found]
    tiles: dict[str, tuple[Path, list[Tile]]] = {}
    for path in used:
        for tile in read_tiles(path):
            if (other := tiles.setdefault(tile.name, (path, []))[0]) != path:
                raise BadSource(
                    f"names {tile.name}, and so does {other.name}", file=path,
                    remedy=f"say which one counts by passing over the other: --ignore '{other.name}'",
                )  # fmt: skip
            tiles[tile.name][1].append(tile)
    named = {i.path: tiles[i.path.name] for i in images if i.path.name in tiles and i.path.parent == used[0].parent}
    absent = [name for name in tiles if not (used[0].parent / name).is_file()] if whole else []
    if absent and missing != "fill":
        raise _absent(tiles[absent[0]][0], absent)
    if whole:
        _require_all_named([i for i in images if i.path in named], [i for i in images if i.path not in named], used)
    if not named and not absent:
        unused = f"{' and '.join(path.name for path in used)} names none of the images that are opened here: not used"
        return [replace(images[0], problems=(*images[0].problems, unused)), *images[1:]]
    out, told = [], False
    for image in images:
        if image.path not in named:
            out.append(image)
            continue
        path, own = named[image.path]
        places = _places(image, path, own)
        notes = () if told else _notes(found, used, len(named), absent)
        told = True
        out.append(replace(
            image, files=(*image.files, *found), problems=(*image.problems, *notes), places_px=places,
        ).at_places())  # fmt: skip
    return out


def _places(image: ImageSource, path: Path, tiles: Sequence[Tile]) -> dict[str, Mapping[str, float]]:
    """Give the places of a file's images in pixels by their names."""
    names = [s.name for s in image.streams if s.kind == "Image"] + [u.name for u in image.unlabelled]
    numbers = sorted(tile.series or 0 for tile in tiles)
    if numbers != list(range(len(names))):
        said = "one place" if tiles[0].series is None else f"places of images {', '.join(map(str, numbers))}"
        raise BadSource(
            f"states {said} for {image.path.name}, which holds {len(names)} image(s)", file=path,
            place=image.path.name,
            remedy="a line for each image, with its number from 0 between the semicolons, and a line multiseries = "
            f"true; or go on without places: --ignore '{path.name}'",
        )  # fmt: skip
    return {names[tile.series or 0]: dict(zip("xyz", tile.place_px, strict=False)) for tile in tiles}


def _require_all_named(tiles: Sequence[ImageSource], others: Sequence[ImageSource], used: Sequence[Path]) -> None:
    """Refuse an image like the tiles that no line names, and tiles whose pixels are not of one size."""
    forms = {_form(stream) for image in tiles for stream in image.streams}
    if alike := [i.path.name for i in others if any(_form(stream) in forms for stream in i.streams)]:
        raise BadSource(
            f"does not name {_some(alike)}, of the size and type of the tiles that it names", file=used[-1],
            remedy=f"write a line for each, or pass over what is no tile: --ignore '{alike[0]}'",
        )  # fmt: skip
    for axis in "yx":
        sizes = {s.scale[axis]: i.path.name for i in tiles for s in i.streams if axis in s.scale}
        if len(sizes) > 1:
            (one, first), (other, second) = list(sizes.items())[:2]
            raise BadSource(
                f"states places in pixels, which are {one:g} um along {axis} in {first} and {other:g} um in {second}",
                file=used[-1],
                remedy=f"export the tiles with one pixel size, or go on without places: --ignore '{used[-1].name}'",
            )  # fmt: skip


def _form(stream: Stream) -> tuple[Any, ...]:
    return stream.axes, stream.shape[-2:], stream.dtype


def _absent(path: Path, names: Sequence[str]) -> BadSource:
    if all(name.isdigit() for name in names):
        return BadSource(
            "names numbers of views of a BigStitcher project, not files", file=path,
            remedy=f"write it with the names of the tiles, or go on without places: --ignore '{path.name}'",
        )  # fmt: skip
    return BadSource(
        f"names {_some(names)}, which {_are(names)} not beside it", file=path,
        remedy="copy what is missing from the microscope's computer; --missing fill goes on without it",
    )  # fmt: skip


def _notes(found: Iterable[Path], used: Sequence[Path], count: int, absent: Sequence[str]) -> tuple[str, ...]:
    names = " and ".join(path.name for path in used)
    said = f"{names} says where {count} {'image lies' if count == 1 else 'images lie'}, in pixels"
    if left := [path.name for path in found if path not in used]:
        said += f"; not used is {' and '.join(left)}, of before stitching (--ignore '*{_REGISTERED}' takes it)"
    gone = f"{_some(absent)} {_are(absent)} named there and {_are(absent)} not here"
    return (said, gone) if absent else (said,)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
