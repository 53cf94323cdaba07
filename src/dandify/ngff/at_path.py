"""The image of a file or folder, by the converter that knows it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dandify.errors import BadRequest, UnknownFormat
from dandify.sources.contract import Stream
from dandify.sources.registry import Claim, claims

_ASKED = 20  # files of a folder; they are of one acquisition, or there is no single image in it


def image_at(path: Path, *, axes: Sequence[str] | str | None = None) -> tuple[Stream, tuple[Path, ...]]:
    """Return the only image that lies at a path, and the files it is made of.

    Parameters
    ----------
    path
        A file or folder of any format that becomes an image.
    axes
        What the axes of plain pages are, for files that do not say it.

    Raises
    ------
    UnknownFormat
        If no converter knows it.
    BadRequest
        If there is no such path, it holds no image or several, or its axes are not known.
    dandify.errors.BadSource
        If it is damaged.
    """
    path = Path(os.path.abspath(path))
    if not path.exists():
        raise BadRequest("no such file or folder", file=path)
    claim = _claimed(path)
    if claim is None:
        raise UnknownFormat("no converter knows it", file=path, remedy="`dandify formats` lists what is known")
    source = claim.converter.open(claim.path)
    if any(n.key == "axes" for n in source.needs):
        if axes is None:
            raise BadRequest("does not say what its axes are", file=path, remedy="give axes, such as axes='zyx'")
        source = source.with_facts({"axes": "".join(axes)})
    images = [s for s in source.streams if s.kind == "Image"]
    if len(images) != 1:
        what = f"holds {len(images)} images: {', '.join(i.name for i in images)}" if images else "holds no image"
        raise BadRequest(
            what, file=path,
            remedy="`dandify convert` writes each of them; or give one of the streams of `converter.open(path)`",
        )  # fmt: skip
    return images[0], source.files


def _claimed(path: Path) -> Claim | None:
    """Return the converter that knows a file, or a folder by itself or by the files in it."""
    if (found := next(claims(path), None)) is not None or not path.is_dir():
        return found
    for file in sorted(path.iterdir())[:_ASKED]:
        if (claim := next((c for c in claims(file) if c.path == path), None)) is not None:
            return claim
    return None
