"""Checks of labels: that the list names what is there, and that they lie on their image, as whole numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dandify.errors import BadSource
from dandify.ngff.check_geometry import axis_names, transformed
from dandify.ngff.labelled import LABELS, listed_labels
from dandify.ngff.problems import Problem
from dandify.ngff.stored import StoredArray, StoredImage

_WHOLE: Final = ("int", "uint", "bool")  # how the names of types of whole numbers begin
_AGAIN: Final = "write the labels again: dandify labels IMAGE NAME=FILE --overwrite"


def check_labels(images: Sequence[StoredImage], arrays: Mapping[Path, StoredArray]) -> Iterator[Problem]:
    """Yield what is wrong with the labels of images, by the documents of both.

    Parameters
    ----------
    images
        Every group with multiscales, labels among them.
    arrays
        Every array, by its folder.
    """
    by_path = {image.path: image for image in images}
    below: dict[Path, list[Path]] = {}  # labels of each image; a plate may have thousands of both
    for path in by_path:
        owner = next((p.parent for p in reversed(path.parents) if p.name == LABELS and p.parent in by_path), None)
        if owner is not None:
            below.setdefault(owner, []).append(path)
    labels = {path for some in below.values() for path in some}
    for image in images:
        folder = image.path / LABELS
        if image.path in labels or not folder.is_dir():
            continue
        try:
            listed = listed_labels(image.path)
        except BadSource as error:
            yield Problem("ngff.document_damaged", "ERROR", Path(error.file or folder), error.cause, _AGAIN)
            continue
        there = below.get(image.path, [])
        yield from _listed(folder, listed, there)
        for path in there:
            yield from _label(image, by_path[path], arrays)


def _listed(folder: Path, listed: Sequence[str], there: Sequence[Path]) -> Iterator[Problem]:
    for name in listed:
        if folder / name not in there:
            what = "is no image" if (folder / name).is_dir() else "is not there"
            yield Problem(
                "ngff.label_missing", "ERROR", folder / name, f"the list of labels names {name!r}, which {what}",
                "take the name out of the list, or write the labels again",
            )  # fmt: skip
    for name in sorted({n for n in listed if listed.count(n) > 1}):
        yield Problem(
            "ngff.label_listed_twice", "WARNING", folder, f"the list of labels names {name!r} more than once",
            "take one of them out of the list",
        )  # fmt: skip
    for path in there:
        if path.relative_to(folder).as_posix() not in listed:
            yield Problem(
                "ngff.label_unlisted", "WARNING", path, "the list of labels does not name it: viewers do not find it",
                f"add {path.relative_to(folder).as_posix()!r} to the list, or write the labels again",
            )  # fmt: skip


def _label(image: StoredImage, label: StoredImage, arrays: Mapping[Path, StoredArray]) -> Iterator[Problem]:
    ours, theirs = _Placed(label, arrays), _Placed(image, arrays)
    for level in ours.levels:
        if level is not None and not level.dtype.startswith(_WHOLE):
            yield Problem(
                "ngff.label_type", "ERROR", level.path, f"holds {level.dtype}; labels are whole numbers",
                "convert them, and write them again",
            )  # fmt: skip
            break
    if strange := [a for a in ours.axes if a not in theirs.axes]:
        yield Problem(
            "ngff.label_contradicts_image", "ERROR", label.path,
            f"has the axis {' '.join(strange)}, which the image has not ({' '.join(theirs.axes)})", _AGAIN,
        )  # fmt: skip
    shared = [a for a in ours.axes if a in theirs.axes and a != "c"]
    yield from _box(label, ours, theirs, shared)
    for number in range(1, min(len(ours.levels), len(theirs.levels))):
        yield from _level(label, ours, theirs, shared, number)


class _Placed:
    """Where an image's levels lie, by axis; what is not stated is 1 for scales and 0 for translations."""

    def __init__(self, image: StoredImage, arrays: Mapping[Path, StoredArray]) -> None:
        multiscale = next((m for m in image.metadata["multiscales"] if isinstance(m, dict)), {})
        datasets = [d for d in multiscale.get("datasets") or () if isinstance(d, dict)]
        self.axes = axis_names(multiscale)
        found = (arrays.get(image.path / str(d.get("path"))) for d in datasets)
        self.levels = [a if a is not None and len(a.shape) == len(self.axes) else None for a in found]
        self._datasets = datasets
        self._whole = self._of(multiscale, "scale", 1.0), self._of(multiscale, "translation", 0.0)

    def _of(self, described: Any, kind: str, absent: float) -> list[float]:
        values = transformed(described, kind)
        return values if values is not None and len(values) == len(self.axes) else [absent] * len(self.axes)

    def length(self, number: int, axis: str) -> int | None:
        """Values along an axis; None where the array is missing, which is said elsewhere."""
        level = self.levels[number] if number < len(self.levels) else None
        return None if level is None else level.shape[self.axes.index(axis)]

    def scale(self, number: int, axis: str) -> float:
        """Distance of neighbouring values."""
        at = self.axes.index(axis)
        return self._of(self._datasets[number], "scale", 1.0)[at] * self._whole[0][at]

    def start(self, number: int, axis: str) -> float:
        """Place of the first value."""
        at = self.axes.index(axis)
        return self._of(self._datasets[number], "translation", 0.0)[at] * self._whole[0][at] + self._whole[1][at]


def _box(label: StoredImage, ours: _Placed, theirs: _Placed, axes: Sequence[str]) -> Iterator[Problem]:
    """Hold the space that labels take against that of their image."""
    for axis in axes:
        n, m = ours.length(0, axis), theirs.length(0, axis)
        if n is None or m is None:
            return
        a, b = ours.scale(0, axis), theirs.scale(0, axis)
        low, high = ours.start(0, axis) - a / 2, ours.start(0, axis) + a * (n - 0.5)
        first, last = theirs.start(0, axis) - b / 2, theirs.start(0, axis) + b * (m - 0.5)
        near = 0.5 * max(abs(a), abs(b)) * (1 + 1e-6) + 1e-6 * max(abs(first), abs(last))
        if abs(low - first) <= near and abs(high - last) <= near and (n != m or abs(a - b) <= 1e-3 * abs(b)):
            continue
        said = f"axis {axis}: {n} values of {a:g} from {low:g} to {high:g}; the image has {m} of {b:g} from {first:g} "
        if n != m and low >= first - near and high <= last + near:
            yield Problem(
                "ngff.label_covers_part", "WARNING", label.path,
                f"{said}to {last:g}: they cover a part of it, or their scale is wrong",
                "state the scale and translation that they have; labels with a value for each voxel need neither",
            )  # fmt: skip
        else:
            fitting = b * m / n if n else b
            yield Problem(
                "ngff.label_contradicts_image", "ERROR", label.path,
                f"{said}to {last:g}: viewers show them out of place",
                f"on axis {axis} state a scale of {fitting:g}, and a translation that has the first voxel at "
                f"{first + fitting / 2:g}",
            )  # fmt: skip


def _level(
    label: StoredImage, ours: _Placed, theirs: _Placed, axes: Sequence[str], number: int
) -> Iterator[Problem]:  # fmt: skip
    """Hold a level of labels against that of the image, where both say that they have the same voxels."""
    if any(ours.length(0, a) != theirs.length(0, a) for a in axes):
        return
    for axis in axes:
        n, m = ours.length(number, axis), theirs.length(number, axis)
        if n is None or m is None:
            continue
        a, b = ours.scale(number, axis), theirs.scale(number, axis)
        if n == m and abs(a - b) > 1e-3 * abs(b):
            yield Problem(
                "ngff.label_contradicts_image", "ERROR", label.path,
                f"level {number}, axis {axis}: a scale of {a:g}, and {b:g} of the image's level, which has as many "
                f"values ({n})", f"state a scale of {b:g}",
            )  # fmt: skip
        elif abs(n - m) > 1:
            yield Problem(
                "ngff.label_level_differs", "WARNING", label.path,
                f"level {number}, axis {axis}: {n} values, and {m} of the image's level: viewers that go by the number "
                f"of the level show them out of place", _AGAIN,
            )  # fmt: skip
