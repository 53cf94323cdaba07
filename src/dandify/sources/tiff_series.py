"""Pages of many TIFF files as one array: each named by file and page, headers read once for each file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dandify.errors import BadSource
from dandify.sources.tiff import PageRef, TiffPages, ref_of, require_form
from dandify.sources.tiff_header import Header, Page, read_header, require_whole

CHECKED_FILES: Final = 2000  # of longer series of single pages, the headers between are read with their pixels


def pages_of(planes: Sequence[tuple[Path, int]], leading: tuple[int, ...], *, remedy: str) -> TiffPages:
    """Make an array of pages.

    Parameters
    ----------
    planes
        File and number of the page (0 the first) of each plane, in C order of the leading axes.
    leading
        Lengths of the axes before y and x.
    remedy
        What to do if a page is missing.

    Raises
    ------
    dandify.errors.BadSource
        If a page is missing, cut off, or of another size or type than the first.
    """
    files = tuple(dict.fromkeys(path for path, _ in planes))
    number = {path: i for i, path in enumerate(files)}
    single = len(files) == len(planes) > CHECKED_FILES and all(page == 0 for _, page in planes)
    held: dict[Path, Header] = {}
    refs: list[PageRef] = []
    first: Page | None = None
    compressed = False
    _require_files(files, remedy)
    for i, (path, wanted) in enumerate(planes):
        if single and 0 < i < len(planes) - 1 and first is not None:
            refs.append(PageRef(i, -1, -1, first.order))
            continue
        if path not in held:
            held = {path: require_whole(read_header(path))}  # the pages of a file follow each other, or nearly so
        header = held[path]
        if wanted >= len(header.pages):
            raise BadSource(
                f"has {len(header.pages)} pages, and page {wanted + 1} is needed", file=path,
                place=f"page {wanted + 1}", remedy=remedy,
            )  # fmt: skip
        page = header.pages[wanted]
        if first is None:
            first = page
            if page.samples != 1:
                raise BadSource(f"has pixels of {page.samples} samples", file=path, place=f"page {wanted + 1}")
        require_form(path, page, first.form, place=f"page {wanted + 1}")
        compressed = compressed or page.data < 0
        refs.append(ref_of(page, number[path]))
    assert first is not None
    rows = first.height if compressed else 1  # of movies whole frames are read
    return TiffPages(files, tuple(refs), leading, first.height, first.width, first.dtype, rows=rows)


def _require_files(files: Sequence[Path], remedy: str) -> None:
    """Refuse a series of which a file is missing; each folder is listed once."""
    listed: dict[Path, set[str]] = {}
    for path in files:
        folder = path.parent
        if folder not in listed:
            listed[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
        if path.name not in listed[folder] and not path.is_file():  # a disk may not tell capitals from small letters
            missing = sum(1 for f in files if f.parent == folder and f.name not in listed[folder])
            more = f", and {missing - 1} more of its {len(files)} files" if missing > 1 else ""
            raise BadSource(f"is missing{more}", file=path, place="page 1", remedy=remedy)
