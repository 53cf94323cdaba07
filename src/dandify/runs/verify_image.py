"""Proves an OME-Zarr again: the image, every field of a plate, and all labels, against the files they were made of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.project.scan import require_sources, scan
from dandify.runs.build import first_planes
from dandify.runs.proof import Proof
from dandify.sources import Array, Source, Stream
from dandify.sources.registry import by_name
from dandify.store.manifest import manifest_path, read_manifest
from dandify.store.progress import Progress, ProgressCallback
from dandify.store.region import grid

if TYPE_CHECKING:
    from dandify.ngff.label_values import Labels

_READ_BYTES: Final = 2**27  # at one time, so that a chunk of many planes is not decoded for each of them


@dataclass(frozen=True)
class _Told:
    """What the manifest says of labels, and whether of the first planes alone, or of planes that no file holds."""

    there: bool
    stub: bool
    filled: bool
    files: Mapping[str, Path | None]


def is_image(path: Path) -> bool:
    """Whether a folder is an OME-Zarr image, or plate."""
    return _plate(path) is not None or _of_image(path)


def image_proofs(
    path: Path,
    against: Sequence[Path],
    *,
    labels: Mapping[str, Labels],
    pattern: str | None,
    progress: ProgressCallback | None,
) -> Iterator[Proof]:
    """Compare level 0 of an image, or of every field of a plate, and of all labels, with what they were made of.

    Parameters
    ----------
    path
        The OME-Zarr.
    against
        Raw files; files of labels that the manifest names may be among them.
    labels
        What labels were made of, by their names; the manifest says it of others.
    pattern
        Which plane a file of a folder is by its name.
    progress
        Called for each block.

    Raises
    ------
    BadRequest
        If there is nothing to compare with.
    BadSource
        If something cannot be read.
    """
    if not against and not labels:
        raise BadRequest(
            "the manifest of an image has checksums of files, which dandify validate compares", file=path,
            remedy="name what it was made of: --against RAW_FILES",
        )  # fmt: skip
    wells = _plate(path)
    if wells is not None and labels:
        raise BadRequest("is a plate; labels are those of one of its images", file=path,
                         remedy=f"name it: {path / wells[0] if wells else path}")  # fmt: skip
    told = _told(path)
    raw = [a for a in against if not any(_alike(a, file) for file in told.files.values())]
    if odd := [a for a in raw if a.suffix.lower() == ".npy"]:
        raise BadRequest("is no raw file of an image", file=odd[0],
                         remedy=f"if it holds labels: --labels NAME={odd[0]}")  # fmt: skip
    opened = [s for source in _sources(raw, pattern, fill=told.filled) for s in source.streams]
    streams = [s for s in opened if s.kind == "Image" and s.array is not None]
    if wells is not None:
        for place in wells:
            mine = [s for s in streams if s.well is not None and s.well.path == place]
            yield from _pixels(path / place, f"/{place}", mine, told, progress, raw)
        return
    found: list[Stream] = []
    yield from _pixels(path, "", streams, told, progress, raw, found)
    yield from _of_labels(path, against, labels, told, found[0] if found else None, progress)


def _sources(paths: Sequence[Path], pattern: str | None, *, fill: bool) -> list[Source]:
    missing = "fill" if fill else "refuse"
    if pattern is not None:
        return [by_name("planes").open(path, {"pattern": pattern, "missing": missing}) for path in paths]
    return [source for path in paths for source in require_sources(scan(path, missing=missing))]


def _pixels(
    path: Path, place: str, streams: Sequence[Stream], told: _Told, progress: ProgressCallback | None,
    raw: Sequence[Path], taken: list[Stream] | None = None,
) -> Iterator[Proof]:  # fmt: skip
    """Compare an image with that of the sources which has its shape and, of several, its values."""
    from dandify.ngff.label_values import first_level
    from dandify.ngff.labelled import stored_image
    from dandify.ngff.level_array import LevelArray

    stored = stored_image(path)
    level = LevelArray.open(first_level(stored, path))
    place = f"{place}/{level.folder.relative_to(path).as_posix()}"
    if not raw:
        yield Proof(place, "not compared", "no raw file of the image is named: --against RAW_FILES")
        return
    name = stored.metadata["multiscales"][0].get("name")
    cut = [(s, first_planes(s) if told.stub else s) for s in streams]
    alike = sorted(((s, c) for s, c in cut if c.shape == level.shape), key=lambda pair: pair[0].name != name)
    if not alike:
        shapes = ", ".join(dict.fromkeys(str(c.shape) for _, c in cut)) or "none at all"
        yield Proof(place, "missing", f"the sources have no image of shape {level.shape}, but {shapes}")
        return
    differences = []
    for stream, part in alike:
        assert part.array is not None
        if not (difference := _difference(level, part.array, stream.name, progress)):
            if taken is not None:
                taken.append(stream)
            some = f"the first planes of {stream.name}" if told.stub else stream.name
            yield Proof(place, "equal", some)
            return
        differences.append(difference)
    yield Proof(place, "different", differences[0])  # with the one of its name, or the first


def _of_labels(
    path: Path, against: Sequence[Path], given: Mapping[str, Labels], told: _Told, image: Stream | None,
    progress: ProgressCallback | None,
) -> Iterator[Proof]:  # fmt: skip
    """Compare all labels with their sources, or say why that cannot be."""
    from dandify.ngff.label_values import OfWhole, describe_labels, first_level
    from dandify.ngff.labelled import LABELS, listed_labels, read_labelled, stored_image
    from dandify.ngff.level_array import LevelArray

    listed = listed_labels(path)
    for name in dict.fromkeys([*listed, *told.files, *given]):
        folder = path / LABELS / name
        if name not in listed or not folder.is_dir():
            yield Proof(f"/{LABELS}/{name}", "missing", "the image does not list labels of this name"
                        if name not in listed else "there is no such folder")  # fmt: skip
            continue
        level = LevelArray.open(first_level(stored_image(folder), folder))
        place = f"/{level.folder.relative_to(path).as_posix()}"
        source, why = _source_of(name, against, given, told)
        if source is not None and told.stub and image is None:
            source, why = None, "they are of the first planes of an image, which is not named: --against RAW_FILES"
        if source is None:
            yield Proof(place, "not compared", why)
            continue
        if told.stub and image is not None:
            source = OfWhole(source, dict(zip(image.axes, image.shape, strict=True)))  # type: ignore[arg-type]  # no OfWhole
        try:
            values, _ = describe_labels(source, read_labelled(path), name)
        except BadRequest as error:
            yield Proof(place, "different", f"{why}: {error.cause}")
            continue
        difference = _difference(level, values.values, why, progress)
        yield Proof(place, "different" if difference else "equal", difference or why)


def _source_of(
    name: str, against: Sequence[Path], given: Mapping[str, Labels], told: _Told
) -> tuple[Labels | None, str]:  # fmt: skip
    """Give what labels were made of, and its name; or None, and why it is not known."""
    remedy = f"name them: --labels {name}=FILE"
    if name in given:
        source = given[name]
        return source, str(source) if isinstance(source, Path | str) else "the labels that were given"
    if not told.there:
        return None, f"there is no manifest that says what they were made of; {remedy}"
    file = told.files.get(name)
    if file is None:
        return None, f"the manifest names no file that has their values; {remedy}"
    for other in (*against, file):
        if other.exists() and _alike(other, file):
            return other, str(other)
        if other.is_dir() and (other / file.name).exists():
            return other / file.name, str(other / file.name)
    return None, f"{file}, which the manifest names, is not there; {remedy}"


def _difference(
    level: Any, values: Array | NDArray[Any], name: str, progress: ProgressCallback | None
) -> str:  # fmt: skip
    """Compare all values; return the first difference in words, or nothing."""
    from dandify.ngff.verify import open_level

    stored = open_level(level.folder)
    if tuple(values.shape) != level.shape:
        return f"is of shape {level.shape}, {tuple(values.shape)} in {name}"
    done, total = 0, values.nbytes
    for _, region in grid(level.shape, _steps(level, values)):
        theirs = np.asarray(values[region])
        ours = np.asarray(stored[region].read().result())
        unequal = ours != theirs
        if theirs.dtype.kind == "f":
            unequal &= ~(np.isnan(ours) & np.isnan(theirs))
        if unequal.any():
            at = np.argwhere(unequal)[0]
            index = [int(i) + s.start for i, s in zip(at, region, strict=True)]
            return f"{index} is {ours[tuple(at)]}, {theirs[tuple(at)]} in {name}"
        done += theirs.nbytes
        if progress:
            progress(Progress("verify", name, done, total))
    return ""


def _steps(level: Any, values: Array | NDArray[Any]) -> tuple[int, ...]:
    """Lengths to read at one go: what the source yields at one go, and as much of a chunk as is worth the memory."""
    block = values.block if isinstance(values, Array) else (1,) * (len(level.shape) - 2) + level.shape[-2:]
    steps = [max(1, min(b, n)) for b, n in zip(block, level.shape, strict=True)]
    for axis in reversed(range(len(steps))):
        room = _READ_BYTES // max(1, int(np.prod(steps, dtype=object)) * level.dtype.itemsize)
        wanted = -(-min(level.block[axis], level.shape[axis]) // steps[axis])
        steps[axis] *= max(1, min(wanted, room))
    return tuple(min(s, n) for s, n in zip(steps, level.shape, strict=True))


def _told(path: Path) -> _Told:
    from dandify.ngff.label_request import asset_of
    from dandify.ngff.labelled import LABELS

    root = asset_of(Path(os.path.abspath(path)))
    if not manifest_path(root).is_file():
        return _Told(False, False, False, {})
    details = read_manifest(manifest_path(root)).details
    above = f"{Path(os.path.abspath(path)).relative_to(root).as_posix()}/{LABELS}/".removeprefix("./")
    said = {
        place.removeprefix(above): Path(record["file"]) if record.get("file") else None
        for place, record in (details.get("labels") or {}).items() if place.startswith(above)
    }  # fmt: skip
    filled = bool((details.get("image") or {}).get("filled_planes"))
    return _Told(True, bool(details.get("stub")), filled, said)


def _alike(path: Path, file: Path | None) -> bool:
    """Whether a path that is named is the file that a manifest names, which may have been moved since."""
    return file is not None and (Path(os.path.abspath(path)) == file or path.name == file.name)


def _of_image(path: Path) -> bool:
    from dandify.ngff.stored import image_of

    documents = [path / name for name in ("zarr.json", ".zattrs") if (path / name).is_file()]
    return any(image_of(document) for document in documents)


def _plate(path: Path) -> tuple[str, ...] | None:
    """Places of the fields of a plate; None for what is none."""
    from dandify.ngff.stored import read_document

    def said(folder: Path) -> dict[str, Any]:
        for name in ("zarr.json", ".zattrs"):
            if (folder / name).is_file():
                content = read_document(folder / name)
                found = content.get("attributes", {}).get("ome", {}) if name == "zarr.json" else content
                return found if isinstance(found, dict) else {}
        return {}

    plate = said(path).get("plate")
    if not isinstance(plate, dict):
        return None
    wells = [str(well["path"]) for well in plate.get("wells", ())]
    return tuple(f"{well}/{field['path']}" for well in wells for field in said(path / well)["well"]["images"])
