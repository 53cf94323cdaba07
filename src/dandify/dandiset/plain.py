"""Plain images and videos: files that say what they are of in their names only, and the JSON beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from dandify.dandiset.facts import Facts
from dandify.dandiset.names import entities_in_name, ids_in_name

VIDEOS: Final = (".mp4", ".avi", ".wmv", ".mov", ".flv", ".mkv")  # dandi/consts.py
PICTURES: Final = (".png", ".jpg", ".jpeg", ".gif")
MICROSCOPY: Final = (".tif", ".tiff", ".btf")
"""Image files that DANDI takes only as a part of a BIDS dataset."""

PACKED_REMEDY: Final = "unpack it: dandi takes NWB files and Zarrs as they are"

_ZARRS: Final = (".zarr", ".ngff")
_PACKERS: Final = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z")
_BIG_TIFF: Final = (b"II\x2b\x00", b"MM\x00\x2b")
_SUFFIXES: Final = (*VIDEOS, *PICTURES, *MICROSCOPY, *_ZARRS)


def plain_kind(path: Path) -> Literal["image", "video"] | None:
    """Return what a file is by its suffix, in capitals or not; None if it is neither."""
    suffix = path.suffix.lower()
    if suffix in VIDEOS:
        return "video"
    return "image" if suffix in (*PICTURES, *MICROSCOPY) else None


def is_packed(path: Path) -> bool:
    """Whether a file is an NWB file or a Zarr in an archive file, by its name; ``.ozx`` is a zipped OME-Zarr."""
    name = path.name.lower()
    return name.endswith(".ozx") or (name.endswith(_PACKERS) and any(s in name for s in (*_ZARRS, ".nwb")))


def plain_facts(path: Path, kind: Literal["image", "video"]) -> Facts:
    """Return what the name of a file states, in the form of DANDI or BIDS: ``sub-01_ses-1_sample-A_SPIM.ome.tif``."""
    subject, session = ids_in_name(path.name)
    return Facts(path, kind, subject, session, None, entities=entities_in_name(split_suffix(path)[0]))


def split_suffix(path: Path) -> tuple[str, str]:
    """Return a name without its suffix, and the suffix in lower case: ``("x", ".ome.tif")``."""
    name = path.name
    for suffix in _SUFFIXES:
        for whole in (f".ome{suffix}", suffix):
            if name.lower().endswith(whole):
                return name[: -len(whole)], whole
    return path.stem, path.suffix.lower()


def ome_suffix(path: Path, suffix: str) -> str:
    """Return the suffix that BIDS wants of an OME-TIFF: ``.ome.btf`` of a BigTIFF, ``.ome.tif`` of any other."""
    if suffix not in (".ome.tif", ".ome.tiff", ".ome.btf"):
        return suffix
    with path.open("rb") as file:
        return ".ome.btf" if file.read(4) in _BIG_TIFF else ".ome.tif"


def sidecar_of(path: Path) -> Path | None:
    """Return the JSON that describes an image, ``x.json`` beside ``x.ome.tif``; None if there is none."""
    found = path.with_name(f"{split_suffix(path)[0]}.json")
    return found if found.is_file() else None
