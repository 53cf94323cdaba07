"""The image that labels belong to: its version, axes, levels and places, as its documents state them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from dandify.errors import BadRequest, BadSource
from dandify.ngff.check_geometry import axis_names, transformed
from dandify.ngff.levels import AXES, Axes, Shape5
from dandify.ngff.metadata import VERSIONS, Version
from dandify.ngff.stored import StoredImage, array_of, attributes_of, image_of

LABELS: Final = "labels"  # the group's name, by the specification
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")  # what Zarr recommends, and every file system takes
_RESERVED: Final = ("zarr.json", "__")
_DOCUMENTS: Final = ("zarr.json", ".zattrs")
_VALIDATE: Final = "dandify validate says what is wrong with it"


@dataclass(frozen=True)
class LabelledImage:
    """An image to which labels can be added. Its channels are left out: labels have none.

    Attributes
    ----------
    path
        Folder of its group.
    version
        Of OME-Zarr.
    axes
        Those that labels have, out of t z y x.
    axis_documents
        As the image describes them.
    shapes
        Of its levels, t c z y x, with one channel.
    transformations
        Of each level, as the image states them.
    whole
        Those of all levels together.
    method
        How its levels were made, where dandify made them.
    """

    path: Path
    version: Version
    axes: Axes
    axis_documents: tuple[Mapping[str, Any], ...]
    shapes: tuple[Shape5, ...]
    transformations: tuple[tuple[Mapping[str, Any], ...], ...]
    whole: tuple[Mapping[str, Any], ...]
    method: str | None

    def placed(self, number: int, kind: str) -> tuple[float, ...]:
        """``scale`` or ``translation`` of a level, of the axes of labels; ones or zeros where it states none."""
        found = transformed({"coordinateTransformations": list(self.transformations[number])}, kind)
        return tuple(found) if found else (1.0 if kind == "scale" else 0.0,) * len(self.axes)

    def five(self, values: Sequence[float], absent: float) -> tuple[float, float, float, float, float]:
        """Put values of its axes into t c z y x."""
        known = dict(zip(self.axes, values, strict=True))
        return tuple(known.get(a, absent) for a in AXES)  # type: ignore[return-value]  # AXES are five


def read_labelled(path: Path) -> LabelledImage:
    """Read what an image on the disk states of itself.

    Raises
    ------
    BadRequest
        If there is no image of OME-Zarr 0.4 or 0.5, or several.
    BadSource
        If its documents are damaged.
    """
    path = Path(os.path.abspath(path))  # what lies around it counts, too
    image = stored_image(path)
    _require_version(image.metadata_version, path)
    document = "zarr.json" if (path / "zarr.json").is_file() else ".zarray"
    shapes = []
    for dataset in _datasets(_first(image.metadata, path)):
        file = path / str(dataset.get("path")) / document
        try:
            array = array_of(file)
        except (ValueError, OSError) as error:
            raise BadSource(f"cannot be read: {error}", file=file, remedy=_VALIDATE) from error
        if array is None:
            raise BadSource("is no array", file=file, remedy=_VALIDATE)
        shapes.append(array.shape)
    return labelled(image.metadata, shapes, path, image.metadata_version)


def stored_image(path: Path) -> StoredImage:
    """Give the image whose group a folder is.

    Raises
    ------
    BadRequest
        If it is none, or holds several.
    BadSource
        If its document is damaged.
    """
    if not path.is_dir():
        raise BadRequest("no such folder", file=path, remedy="give the folder of an image: NAME.ome.zarr")
    image = _stored(path)
    if image is None:
        within = (path.glob(f"{depth}/{name}") for depth in ("*", "*/*", "*/*/*") for name in _DOCUMENTS)  # of plates
        several = sorted(p.parent for found in within for p in found if _stored(p.parent) is not None)
        raise BadRequest(
            "is no OME-Zarr image" + (f", but holds {len(several)}" if several else ""), file=path,
            remedy=f"name one of them, like {several[0]}" if several else "give the folder of an image: NAME.ome.zarr",
        )  # fmt: skip
    return image


def labelled(metadata: Mapping[str, Any], shapes: Sequence[tuple[int, ...]], path: Path, version: str) -> LabelledImage:
    """Take from an image's metadata what labels share with it.

    Parameters
    ----------
    metadata
        The OME metadata.
    shapes
        Of the image's levels.
    path
        Its folder.
    version
        Of OME-Zarr, as it says.

    Raises
    ------
    BadRequest
        If labels cannot be added to such an image.
    BadSource
        If the metadata contradict the shapes.
    """
    _require_version(version, path)
    multiscale = _first(metadata, path)
    names = axis_names(multiscale)
    if tuple(names) != tuple(a for a in AXES if a in names) or names[-2:] != ["y", "x"]:
        raise BadRequest(
            f"has the axes {' '.join(names)}; labels are added to images of an ordered choice of t c z y x", file=path,
            remedy="write the image again: dandify convert",
        )  # fmt: skip
    kept = [i for i, name in enumerate(names) if name != "c"]
    datasets = _datasets(multiscale)
    if not shapes or len(datasets) != len(shapes) or any(len(s) != len(names) for s in shapes):
        raise BadSource("its metadata contradict its arrays", file=path, remedy=_VALIDATE)
    fives = [dict(zip(names, shape, strict=True)) for shape in shapes]
    metadata_of = multiscale.get("metadata")
    writer = str(metadata_of.get("method")) if isinstance(metadata_of, dict) else ""
    return LabelledImage(
        path, cast("Version", version), tuple(names[i] for i in kept),
        tuple(a for a in multiscale["axes"] if a.get("name") != "c"),
        tuple(tuple(1 if a == "c" else five.get(a, 1) for a in AXES) for five in fives),  # type: ignore[misc]  # AXES
        tuple(tuple(_without_channel(d, kept, len(names), path)) for d in datasets),
        tuple(_without_channel(multiscale, kept, len(names), path)),
        str(multiscale.get("type")) if writer.startswith("dandify.") else None,
    )  # fmt: skip


def listed_labels(image: Path) -> list[str]:
    """Names that the labels group of an image lists; nothing where there is none.

    Raises
    ------
    BadSource
        If its document is damaged.
    """
    for name in _DOCUMENTS:
        file = image / LABELS / name
        if not file.is_file():
            continue
        try:
            _, ome = attributes_of(file)
        except (ValueError, OSError) as error:
            raise BadSource(f"cannot be read: {error}", file=file, remedy="mend the list of labels") from error
        found = ome.get("labels", [])
        if not isinstance(found, list):
            raise BadSource("its list of labels is no list", file=file, remedy="mend the list of labels")
        return [str(one) for one in found]
    return []


def require_name(name: str) -> str:
    """Refuse a name that is no Zarr node's, or that some file systems do not take.

    Raises
    ------
    BadRequest
        If it is one.
    """
    if not _NAME.fullmatch(name) or name.startswith(_RESERVED) or name.endswith("."):
        raise BadRequest(
            f"labels named {name!r}", remedy="letters, digits, - and _, with dots between them: cells, nuclei_2"
        )
    return name


def _require_version(version: str, path: Path) -> None:
    if version not in VERSIONS:
        raise BadRequest(
            f"is OME-Zarr {version or 'of no stated version'}; labels are added to {' and '.join(VERSIONS)}",
            file=path,
            remedy="write the image again: dandify convert",
        )


def _stored(path: Path) -> StoredImage | None:
    for name in _DOCUMENTS:
        if (path / name).is_file():
            try:
                return image_of(path / name)
            except (ValueError, OSError) as error:
                raise BadSource(f"cannot be read: {error}", file=path / name, remedy=_VALIDATE) from error
    return None


def _first(metadata: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    multiscales = metadata.get("multiscales") or [None]
    if not isinstance(multiscales[0], dict) or not all(isinstance(a, dict) for a in multiscales[0].get("axes") or [0]):
        raise BadSource("its multiscales describe no image", file=path, remedy=_VALIDATE)
    return cast("Mapping[str, Any]", multiscales[0])


def _datasets(multiscale: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    datasets = multiscale.get("datasets")
    return [d for d in datasets if isinstance(d, dict)] if isinstance(datasets, list) else []


def _without_channel(
    described: Mapping[str, Any], kept: Sequence[int], count: int, path: Path
) -> Iterator[Mapping[str, Any]]:
    """Give the scale and the translation of a level without those of its channels."""
    for transformation in described.get("coordinateTransformations") or ():
        kind = str(transformation.get("type")) if isinstance(transformation, dict) else ""
        values = transformation.get(kind) if kind in ("scale", "translation") else None
        if not isinstance(values, list) or len(values) != count:
            raise BadRequest(
                f"states a transformation of its levels that labels cannot share: {transformation}", file=path,
                remedy=_VALIDATE,
            )  # fmt: skip
        yield {"type": kind, kind: [values[i] for i in kept]}
