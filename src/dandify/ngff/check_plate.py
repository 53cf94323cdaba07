"""Checks of multi-well plates: that plate and wells name what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dandify.ngff.problems import Problem
from dandify.ngff.stored import StoredImage, attributes_of


def check_plate(root: Path, images: Sequence[StoredImage]) -> Iterator[Problem]:
    """Yield what the documents of a plate name and is not there, and images that they do not name.

    Parameters
    ----------
    root
        Folder of the plate; nothing is said of one that is none.
    images
        Every group with multiscales.
    """
    plate = _described(root, "plate")
    if plate is None:
        return
    named: set[Path] = set()
    there = {image.path for image in images}
    for path in _paths(plate.get("wells")):
        well = _described(root / path, "well")
        if well is None:
            yield Problem(
                "ngff.well_missing", "ERROR", root / path, "the plate names this well, and it is no well",
                "take it out of the plate's list, or write the plate again",
            )  # fmt: skip
            continue
        for field in _paths(well.get("images")):
            named.add(root / path / field)
            if root / path / field not in there:
                yield Problem(
                    "ngff.field_missing", "ERROR", root / path / field, "the well names this field, and it is no image",
                    "take it out of the well's list, or write the plate again",
                )  # fmt: skip
    for found in sorted(there - named):
        if not any(parent in there for parent in found.parents):  # labels are those of an image
            yield Problem(
                "ngff.field_unlisted", "WARNING", found, "no well of the plate names it: viewers do not find it",
                "add it to the lists of its well and of the plate, or move it away",
            )  # fmt: skip


def _described(folder: Path, kind: str) -> Mapping[str, Any] | None:
    for name in ("zarr.json", ".zattrs"):
        try:
            _, ome = attributes_of(folder / name)
        except (OSError, ValueError):  # said where all documents are read
            continue
        if isinstance(found := ome.get(kind), dict):
            return found
    return None


def _paths(listed: Any) -> list[str]:
    described = listed if isinstance(listed, list) else []
    return [str(one["path"]) for one in described if isinstance(one, dict) and "path" in one]
