"""The image that lies under a path, by the converter that knows it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dandify.errors import BadRequest, UnknownFormat
from dandify.sources.contract import Source, Stream
from dandify.sources.registry import Claim, claims
from dandify.sources.tiles import placed_alone

_ASKED = 20  # files of a folder; they are of one acquisition, or there is no single image in it


def open_image(
    path: Path, *, axes: Sequence[str] | str | None = None, scale: Mapping[str, float] | None = None
) -> tuple[Stream, tuple[Path, ...], bool]:
    """Open the one image of a file or folder; with it, its files, and whether the caller's axes were needed.

    Parameters
    ----------
    path
        A raw file, or the folder of one.
    axes, scale
        What the caller says of it: pages of which no file says what they are become an image by it.

    Raises
    ------
    BadRequest
        If there is no such file, or no image in it, or several.
    UnknownFormat
        If no converter knows it.
    """
    path = Path(os.path.abspath(path))
    if not path.exists():
        raise BadRequest("no such file or folder", file=path, remedy="check its path")
    claim = _claimed(path)
    if claim is None:
        raise UnknownFormat("no converter knows it", file=path, remedy="dandify formats lists what is known")
    source: Source = placed_alone(claim.converter.open(claim.path))
    supplied: dict[str, Any] = {}
    if axes is not None and any(n.key == "axes" for n in source.needs):
        supplied["axes"] = "".join(axes)
    if scale:
        supplied["pixel_size_um"] = {a: v for a, v in scale.items() if a in "zyx"}
    source = source.with_facts({k: v for k, v in supplied.items() if v})
    images = [s for s in source.streams if s.kind == "Image"]
    if len(images) == 1:
        return images[0], source.files, "axes" in supplied
    if images:
        raise BadRequest(
            f"holds {len(images)} images: {', '.join(s.name for s in images)}", file=path,
            remedy="dandify convert writes each of them; in Python, open it by its converter and give one stream",
        )  # fmt: skip
    needs = "".join(f"\n  {n.key}: {n.what}" for n in source.needs)
    raise BadRequest(
        f"{source.format} finds no image in it" + (f"; it needs{needs}" if needs else ""), file=path,
        remedy="give axes= if it holds pages that no file describes, like axes='zyx'" if needs else None,
    )  # fmt: skip


def _claimed(path: Path) -> Claim | None:
    """Return the converter that knows a file, or a folder by itself or by the files in it."""
    if (found := next(claims(path), None)) is not None or not path.is_dir():
        return found
    for file in sorted(path.iterdir())[:_ASKED]:
        if (claim := next((c for c in claims(file) if c.path == path), None)) is not None:
            return claim
    return None
