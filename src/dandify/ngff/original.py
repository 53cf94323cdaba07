"""The OME-XML of the files that an image was made of, kept within the image where bioformats2raw keeps it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from dandify.errors import BadSource
from dandify.sources.tiff_header import DESCRIPTION, read_header
from dandify.store.zarr_image import StoredFile

PLACE: Final = "OME/METADATA.ome.xml"
_SUFFIXES: Final = (".tif", ".tiff", ".btf")


def original_xml(files: Iterable[Path]) -> str | None:
    """Return the OME-XML that describes a set of OME-TIFF files; None if the first TIFF of them is no OME-TIFF.

    Parameters
    ----------
    files
        Raw files. Those that only refer to another one of the set (``BinaryOnly``) are passed over. Of an OME-Zarr it
        is the file in which this was kept before.
    """
    for path in files:
        if path.as_posix().endswith(f"/{PLACE}") and path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            continue
        try:
            text = read_header(path, pages=1).first.text(DESCRIPTION)
        except BadSource:  # whoever reads its pixels says so, with more to say
            return None
        if not text.rstrip().endswith("OME>"):
            return None
        if "<BinaryOnly" not in text:
            return text
    return None


def keep_original(root: Path, text: str | None) -> dict[str, StoredFile]:
    """Write it into the image; checksum and size by its path there, nothing if there is none."""
    if text is None:
        return {}
    data = text.encode("utf-8")
    (root / PLACE).parent.mkdir()
    (root / PLACE).write_bytes(data)
    return {PLACE: StoredFile(hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data))}
