"""Checks an OME-Zarr image of any writer: what the specification's validators see, and what none of them does."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dandify.errors import BadSource
from dandify.ngff.chunk_files import check_files, lost_chunks
from dandify.ngff.problems import Problem
from dandify.ngff.stored import StoredArray, StoredImage, array_of, image_of
from dandify.store.manifest import manifest_path, read_manifest
from dandify.store.region import Region

__all__ = ["Problem", "check_ome_zarr"]

MAX_DEPTH: Final = 7  # dandi 0.81: tree_depth_exceeded
MAX_FILE_BYTES: Final = 5 * 2**30  # dandi: S3's largest single upload
_LEFT_BEHIND: Final = (".partial", "__lock", ".tmp", ".part", ".dandidownload")
_DESKTOP: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_FILE_NAMES: Final = ("zarr.json", ".zarray", ".zattrs")


def check_ome_zarr(path: Path | str) -> list[Problem]:
    """Find what is wrong with an OME-Zarr image, a plate, or a collection of images.

    Beyond the metadata: scales that contradict the shapes, types that change between levels, channels that do not fit,
    chunks that are missing or cut off, damaged shards, leftovers, and what DANDI does not take. No pixel is decoded,
    but where a chunk is missing.

    Parameters
    ----------
    path
        Folder of the image.

    Returns
    -------
    list
        Of `Problem`; empty for a sound image.
    """
    root = Path(path)
    if not root.is_dir():
        return [Problem("ngff.absent", "ERROR", root, "no such folder", "check the path")]
    files = sorted(p for p in root.rglob("*") if p.is_file())
    problems = [*_tree(root, files), *_against_manifest(root)]
    images: list[StoredImage] = []
    arrays: dict[Path, StoredArray] = {}
    for file in files:
        if file.name not in _FILE_NAMES:
            continue
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
    missing: dict[Path, list[Region]] = {}
    for folder, array in arrays.items():
        found, missing[folder] = check_files(array)
        problems.extend(found)
    for image in images:
        problems.extend(_image(image, arrays, missing))
    return problems


def _specification(root: Path) -> Iterator[Problem]:
    """Ask yaozarrs: MUSTs are errors, SHOULDs warnings."""
    import yaozarrs

    remedy = "mend the metadata; see https://ngff.openmicroscopy.org"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            yaozarrs.validate_zarr_store(str(root))
        except (ValueError, NotImplementedError, OSError, KeyError, TypeError) as error:
            text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
            yield Problem("ngff.specification", "ERROR", root, text or type(error).__name__, remedy)
    for warning in said:
        if type(warning.message).__module__.startswith("yaozarrs"):
            yield Problem("ngff.recommendation", "WARNING", root, str(warning.message), remedy)


def _dialect(root: Path, version: str) -> Problem:
    """SpatialData's stores: transformations of a later draft, numbers as channel labels, a version of their own."""
    return Problem(
        "ngff.dialect", "WARNING", root,
        f"version {version} is a dialect of SpatialData that no specification describes; its metadata were not checked",
        "strict readers may refuse it; write it again as OME-Zarr 0.4 or 0.5 to share it",
    )  # fmt: skip


def _tree(root: Path, files: Sequence[Path]) -> Iterator[Problem]:
    deep = [f for f in files if len(f.relative_to(root).parts) > MAX_DEPTH]
    if deep:
        yield Problem(
            "ngff.too_deep", "ERROR", deep[0],
            f"{len(deep)} file(s) lie deeper than {MAX_DEPTH} parts, which DANDI refuses",
            "write it with chunk names separated by dots (OME-Zarr 0.5), or without a group around the image",
        )  # fmt: skip
    for file in files:
        if file.name.endswith(_LEFT_BEHIND):
            yield Problem(
                "ngff.leftover", "ERROR", file, "left behind by a write or download that was interrupted",
                "write the image again; delete the file if it is known to be complete",
            )  # fmt: skip
        elif file.name in _DESKTOP or file.name.startswith("._"):
            yield Problem("ngff.stray", "WARNING", file, "does not belong to the image", "delete it")
        if (size := file.stat().st_size) > MAX_FILE_BYTES:
            yield Problem(
                "ngff.too_large", "ERROR", file, f"{size / 2**30:.1f} GiB, and DANDI takes files of up to 5 GiB",
                "write it with smaller shards",
            )  # fmt: skip


def _against_manifest(root: Path) -> Iterator[Problem]:
    """Hold the files against dandify's manifest, if it lies beside."""
    path = manifest_path(root)
    if not path.is_file():
        return
    try:
        listed = read_manifest(path).details.get("files", {})
    except BadSource as error:
        yield Problem("ngff.manifest_damaged", "WARNING", path, error.cause, "delete it, or convert again")
        return
    for name, known in listed.items():
        file = root / name
        size = file.stat().st_size if file.is_file() else None
        if size != known["size"]:
            found = "is missing" if size is None else f"has {size} bytes"
            yield Problem(
                "ngff.file_changed", "ERROR", file, f"{found}; {known['size']} bytes were written",
                "convert again, or fetch the file from a good copy",
            )  # fmt: skip


def _image(
    image: StoredImage, arrays: Mapping[Path, StoredArray], missing: Mapping[Path, list[Region]]
) -> Iterator[Problem]:
    for multiscale in image.metadata["multiscales"]:
        datasets = multiscale.get("datasets") if isinstance(multiscale, dict) else None
        if not isinstance(datasets, list):
            continue  # yaozarrs says so
        names = [str(d.get("path")) for d in datasets if isinstance(d, dict)]
        levels = [arrays.get(image.path / name) for name in names]
        for name, level in zip(names, levels, strict=True):
            if level is None:
                yield Problem(
                    "ngff.level_missing", "ERROR", image.path / name, "the metadata name this level; it is no array",
                    "write the image again",
                )  # fmt: skip
        found = [level for level in levels if level is not None]
        if len(found) < len(levels) or not found:
            continue
        yield from _types(found)
        yield from _scales(image.path, multiscale, datasets, found)
        if multiscale is image.metadata["multiscales"][0]:
            yield from _channels(image, multiscale, found[0])
        for number, level in enumerate(found):
            near = found[number + 1] if number + 1 < len(found) else found[number - 1] if number else None
            if near is None or len(near.shape) == len(level.shape):
                yield from lost_chunks(level, missing[level.path], near)


def _types(levels: Sequence[StoredArray]) -> Iterator[Problem]:
    for level in levels[1:]:
        if level.dtype != levels[0].dtype:
            yield Problem(
                "ngff.type_differs", "ERROR", level.path, f"{level.dtype}, and the first level is {levels[0].dtype}",
                "make the levels again, with one type",
            )  # fmt: skip


def _scales(
    path: Path, multiscale: Mapping[str, Any], datasets: Sequence[Any], levels: Sequence[StoredArray]
) -> Iterator[Problem]:
    """Hold the ratio of scales against that of lengths; writers round lengths down, up or to the nearest."""
    names = [a.get("name") if isinstance(a, dict) else a for a in multiscale.get("axes", [])]
    scales = [_scale(d) for d in datasets]
    for fine, coarse, small, large in zip(levels, levels[1:], scales, scales[1:], strict=False):
        dimensions = len(fine.shape)
        if small is None or large is None or {len(small), len(large), len(coarse.shape), len(names)} != {dimensions}:
            continue  # yaozarrs says so, or an old version without scales
        for axis, n, m, a, b in zip(names, fine.shape, coarse.shape, small, large, strict=True):
            if a > 0 and b > 0 and not (m - 1) * b / a * (1 - 1e-6) <= n <= (m + 1) * b / a * (1 + 1e-6):
                yield Problem(
                    "ngff.scale_contradicts_shape", "ERROR", path,
                    f"level {coarse.path.name}, axis {axis}: {n} values became {m}, but the scale went from {a:g} to "
                    f"{b:g} ({b / a:g} times)",
                    f"the scale of level {coarse.path.name} should be about {a * n / m:g} on axis {axis}",
                )  # fmt: skip


def _scale(dataset: Any) -> list[float] | None:
    for transformation in dataset.get("coordinateTransformations") or ():
        if isinstance(transformation, dict) and transformation.get("type") == "scale":
            scale = transformation.get("scale")
            if isinstance(scale, list) and all(isinstance(s, int | float) for s in scale):
                return scale
    return None


def _channels(image: StoredImage, multiscale: Mapping[str, Any], level: StoredArray) -> Iterator[Problem]:
    omero = image.metadata.get("omero")
    described = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(described, list):
        return
    names = [a.get("name") if isinstance(a, dict) else a for a in multiscale.get("axes", [])]
    there = level.shape[names.index("c")] if "c" in names and len(names) == len(level.shape) else 1
    if len(described) != there:
        yield Problem(
            "ngff.channels_differ", "ERROR", image.path,
            f"omero describes {len(described)} channel(s), and the image has {there}",
            "describe each channel, in order",
        )  # fmt: skip
