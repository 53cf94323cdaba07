"""Checks an OME-Zarr image of any writer: what the specification's validators see, and what none of them does."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from glob import has_magic
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from dandify.errors import BadRequest
from dandify.ngff.check_data import LevelChecks, check_array, declared_method
from dandify.ngff.check_geometry import check_geometry, transformed
from dandify.ngff.check_labels import check_labels
from dandify.ngff.check_plate import check_plate
from dandify.ngff.check_tree import SHARES, Share, check_manifest, check_strays, check_tree
from dandify.ngff.chunk_files import check_files, lost_chunks
from dandify.ngff.problems import Problem
from dandify.ngff.stored import StoredArray, StoredImage, array_of, image_of
from dandify.store.region import Region
from dandify.tree_state import files_below

__all__ = ["Problem", "check_ome_zarr"]

_FILE_NAMES: Final = ("zarr.json", ".zarray", ".zattrs")
_MEND: Final = "mend the metadata; see https://ngff.openmicroscopy.org"


def check_ome_zarr(path: Path | str, *, data: Share = "full", workers: int | None = None) -> list[Problem]:
    """Find what is wrong with an OME-Zarr image, a plate, or a collection of images.

    Beyond the metadata: scales that contradict the shapes, translations that contradict the scales, types that change
    between levels, channels that do not fit, labels that are not listed or do not lie on their image, wells that
    the plate does not name, chunks that are missing or cut off, damaged shards, leftovers and strays, and what DANDI
    does not take. Then the values: every chunk is decoded, and each level is compared with the one above; where
    dandify's manifest lies beside, the checksums of all files are compared instead.

    Parameters
    ----------
    path
        Folder of the image.
    data
        How much is decoded and compared: ``full``, a ``sample`` of one in sixteen, or ``none``.
    workers
        Threads; one for each core by default.

    Returns
    -------
    list
        Of `Problem`; empty for a sound image.

    Raises
    ------
    BadRequest
        If ``data`` is something else.
    """
    if data not in SHARES:
        raise BadRequest(f"data {data!r}", remedy=f"one of {', '.join(SHARES)}")
    root = Path(path)
    if not root.is_dir():
        return [Problem("ngff.absent", "ERROR", root, "no such folder", "check the path")]
    files = [name for name, _ in files_below(root)]  # a name takes a tenth of the room that a path does
    changed, proven = check_manifest(root, files, data)
    problems = [*check_tree(root, files), *changed]
    images: list[StoredImage] = []
    arrays: dict[Path, StoredArray] = {}
    for file in (root / name for name in files if name.rpartition("/")[2] in _FILE_NAMES):
        try:
            if file.name != ".zarray" and (image := image_of(file)) is not None:
                images.append(image)
            elif file.name != ".zattrs" and (array := array_of(file)) is not None:
                arrays[file.parent] = array
        except (ValueError, OSError) as error:
            problems.append(Problem("ngff.document_damaged", "ERROR", file, str(error), "write the image again"))
    if not images:
        problems.append(
            Problem("ngff.no_image", "ERROR", root, "no group with multiscales", "is this an OME-Zarr image?")
        )
    dialect = next((str(i.metadata_version) for i in images if i.of_spatialdata), None)
    problems.extend(_specification(root) if dialect is None else [_dialect(root, dialect)])
    problems.extend(check_strays(root, files, arrays))
    missing: dict[Path, list[Region]] = {}
    for folder, array in arrays.items():
        found, missing[folder] = check_files(array)
        problems.extend(found)
    for image in images:
        problems.extend(_image(image, arrays, missing))
        problems.extend(_unlisted(image, arrays))
    problems.extend(check_labels(images, arrays))
    problems.extend(check_plate(root, images))
    if data != "none" and not proven:
        known = {p.path for p in problems}
        problems.extend(_values(images, arrays, missing, data, known, workers or os.cpu_count() or 1))
    return problems


def _specification(root: Path, *, assumed: str | None = None) -> Iterator[Problem]:
    """Ask yaozarrs: MUSTs are errors, SHOULDs warnings; what it does not know is no fault of the image.

    ``assumed`` is the version of multiscales that state none.
    """
    import yaozarrs

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            yaozarrs.validate_zarr_store(_group(root, assumed) if assumed or has_magic(str(root)) else str(root))
        except NotImplementedError as error:
            yield Problem(
                "ngff.version", "WARNING", root, f"its metadata were not held against the specification: {error}",
                "write it again as OME-Zarr 0.4 or 0.5, which all viewers of DANDI know",
            )  # fmt: skip
        except KeyError as error:
            if error.args == ("version",) and assumed is None and not (root / "zarr.json").exists():
                yield Problem(
                    "ngff.version", "WARNING", root, "states no version of OME-Zarr; it was held against that of 0.4",
                    'write "version": "0.4" into each of its multiscales',
                )  # fmt: skip
                yield from _specification(root, assumed="0.4")
                return
            yield Problem("ngff.specification", "ERROR", root, f"lacks {_in_one_line(error) or 'a key'}", _MEND)
        except (ValueError, OSError, TypeError) as error:
            yield Problem("ngff.specification", "ERROR", root, _in_one_line(error) or type(error).__name__, _MEND)
    for warning in said:
        if type(warning.message).__module__.startswith("yaozarrs"):
            yield Problem("ngff.recommendation", "WARNING", root, _in_one_line(warning.message), _MEND)


def _in_one_line(said: object) -> str:
    """Give what yaozarrs says in several lines, each of them once."""
    return "; ".join(dict.fromkeys(line.strip() for line in str(said).splitlines() if line.strip()))


def _group(root: Path, assumed: str | None = None) -> Any:
    """Open a group for yaozarrs, whose own way takes brackets in a path for a pattern: fsspec expands them.

    ``assumed`` is what it is told of the version where multiscales state none, which 0.4 says that they SHOULD.
    """
    import yaozarrs
    from fsspec.implementations.local import LocalFileSystem
    from fsspec.mapping import FSMap

    class Files(FSMap):  # type: ignore[misc]  # fsspec has no types
        def __getitem__(self, key: str, default: bytes | None = None) -> bytes | None:
            try:
                content = (root / key).read_bytes()
            except OSError as error:
                if default is None:
                    raise KeyError(key) from error
                return default
            return content if assumed is None or not key.endswith(".zattrs") else _versioned(content, assumed)

        def getitems(self, keys: Sequence[str], on_error: str = "raise") -> dict[str, bytes]:
            return {key: found for key in keys if (found := self.get(key)) is not None}

    return yaozarrs.ZarrGroup(Files(str(root), LocalFileSystem()))


def _versioned(content: bytes, version: str) -> bytes:
    """Give a document whose multiscales all state a version."""
    document = json.loads(content)
    multiscales = document.get("multiscales") if isinstance(document, dict) else None
    for multiscale in multiscales if isinstance(multiscales, list) else ():
        if isinstance(multiscale, dict):
            multiscale.setdefault("version", version)
    return json.dumps(document).encode()


def _dialect(root: Path, version: str) -> Problem:
    """SpatialData's stores: transformations of a later draft, numbers as channel labels, a version of their own."""
    return Problem(
        "ngff.dialect", "WARNING", root,
        f"version {version} is a dialect of SpatialData that no specification describes; its metadata were not checked",
        "strict readers may refuse it; write it again as OME-Zarr 0.4 or 0.5 to share it",
    )  # fmt: skip


def _image(
    image: StoredImage, arrays: Mapping[Path, StoredArray], missing: Mapping[Path, list[Region]]
) -> Iterator[Problem]:
    for multiscale, datasets, levels in _multiscales(image, arrays):
        for dataset, level in zip(datasets, levels, strict=True):
            if level is None:
                yield Problem(
                    "ngff.level_missing", "ERROR", image.path / str(dataset.get("path")),
                    "the metadata name this level; it is no array", "write the image again",
                )  # fmt: skip
        found = [level for level in levels if level is not None]
        if len(found) < len(levels) or not found:
            continue
        yield from check_geometry(image, multiscale, datasets, found)
        if not any(missing[level.path] == [] or level.stored for level in found):
            yield Problem(
                "ngff.empty", "WARNING", image.path,
                "no chunk of any level is stored: readers see one value everywhere",
                "see whether it is meant to be empty; if not, fetch its chunks, or write it again",
            )  # fmt: skip
            continue
        for number, level in enumerate(found):
            near = found[number + 1] if number + 1 < len(found) else found[number - 1] if number else None
            if near is None or len(near.shape) == len(level.shape):
                yield from lost_chunks(level, missing[level.path], near)


def _unlisted(image: StoredImage, arrays: Mapping[Path, StoredArray]) -> Iterator[Problem]:
    """Find arrays beside the levels that no metadata name: no viewer shows them, and DANDI keeps them."""
    named = {image.path / str(d.get("path")) for _, datasets, _ in _multiscales(image, arrays) for d in datasets}
    for folder in arrays:
        if named and folder.parent == image.path and folder not in named:
            yield Problem(
                "ngff.level_unlisted", "WARNING", folder, "an array beside the levels, which the metadata do not name",
                "name it in datasets, if it is a level; delete it if it is left over",
            )  # fmt: skip


def _multiscales(
    image: StoredImage, arrays: Mapping[Path, StoredArray]
) -> Iterator[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], list[StoredArray | None]]]:
    """Give each multiscale of an image, its datasets, and their arrays; None for one that is not there."""
    for multiscale in image.metadata["multiscales"]:
        datasets = multiscale.get("datasets") if isinstance(multiscale, dict) else None
        if isinstance(datasets, list):  # otherwise yaozarrs says so
            described = [d for d in datasets if isinstance(d, dict)]
            yield multiscale, described, [arrays.get(image.path / str(d.get("path"))) for d in described]


def _values(
    images: Sequence[StoredImage], arrays: Mapping[Path, StoredArray], missing: Mapping[Path, list[Region]],
    data: Share, known: Collection[Path], workers: int,
) -> Iterator[Problem]:  # fmt: skip
    """Decode every array, once, and compare each level with the next."""
    left = dict(arrays)
    for image in images:
        for multiscale, datasets, levels in _multiscales(image, arrays):
            starts = [transformed(d, "translation") for d in datasets]
            checks = LevelChecks(declared_method(multiscale), data, known, workers)
            for number, (fine, coarse) in enumerate(pairwise(levels)):
                if fine is not None and coarse is not None and left.pop(fine.path, None) is not None:
                    yield from checks.check(
                        fine, coarse, missing=missing[fine.path], starts=(starts[number], starts[number + 1]),
                        scale=transformed(datasets[number], "scale"),
                    )  # fmt: skip
    for array in left.values():
        yield from check_array(array, data, known, workers)
