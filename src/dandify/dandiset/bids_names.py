"""Names of assets in a BIDS dataset: microscopy as BIDS 1.11 has it, NWB by its draft BEP032 or beside the standard."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final

from dandify.dandiset.names import IMAGE_ENTITIES, sanitize_label, session_label
from dandify.errors import BadRequest

MICR_SUFFIXES: Final = (
    "TEM", "SEM", "uCT", "BF", "DF", "PC", "DIC", "FLUO", "CONF", "PLI", "CARS", "2PE", "MPE", "SR", "NLO", "OCT",
    "SPIM", "XPCT",
)  # fmt: skip
"""How an image was made, by the end of its name (BIDS 1.11.1, schema/rules/files/raw/micr.yaml)."""
SAMPLE_TYPES: Final = (
    "cell line", "in vitro differentiated cells", "primary cell", "cell-free sample", "cloning host", "tissue",
    "whole organisms", "organoid", "technical sample",
)  # fmt: skip
"""What samples are (BIDS 1.11.1, schema/objects/columns.yaml, sample_type)."""
PHOTO: Final = "photo"
UNKNOWN_TO_BIDS: Final = ("ecephys", "icephys", "nwb", "video")
"""Folders of files for which BIDS 1.11 has no place; ``.bidsignore`` names them. The first two are those of BEP032."""

_PHOTO: Final = ("sample", "acq")
_EPHYS: Final = ("sample", "acq", "run")
_COMPANION: Final = re.compile(
    r"(README|CHANGES)(\.\w+)?|LICENSE|CITATION\.cff|(participants|samples)\.(tsv|json)"
    r"|(?P<sub>sub-[^/]+)/(?P=sub)_sessions\.(tsv|json)"
)
_INDICES: Final = frozenset({"run", "chunk"})
_EXTENSIONS: Final = {
    ".ome.zarr": ".ome.zarr", ".ome.ngff": ".ome.zarr", ".zarr": ".ome.zarr", ".ngff": ".ome.zarr",
    ".ome.tif": ".ome.tif", ".ome.tiff": ".ome.tif", ".ome.btf": ".ome.btf", ".tif": ".tif", ".tiff": ".tif",
    ".png": ".png",
}  # fmt: skip
_PHOTO_EXTENSIONS: Final = {".jpg": ".jpg", ".jpeg": ".jpg", ".png": ".png", ".tif": ".tif", ".tiff": ".tif"}


def micr_path(
    subject_id: str,
    session_id: str | None,
    entities: Mapping[str, str],
    suffix: str,
    *,
    session_start_time: datetime | None = None,
) -> PurePosixPath:
    """Return ``sub-<id>/[ses-<id>/]micr/sub-<id>[_ses-<id>]_sample-<id>[_<entity>-<id>]_<SUFFIX>.ome.zarr``.

    Parameters
    ----------
    subject_id, session_id, session_start_time
        As stated; a microscopy image needs no session.
    entities
        ``sample`` and ``suffix``, one of `MICR_SUFFIXES` or ``photo``; ``acq``, ``stain``, ``run``, ``chunk``.
    suffix
        Of the file, ``.ome.zarr`` or ``.ome.tif``.

    Raises
    ------
    BadRequest
        If BIDS does not take the suffix, the file format, or an index that is no number.
    """
    made_by = entities["suffix"]
    photo = made_by == PHOTO
    if not photo and made_by not in MICR_SUFFIXES:
        raise BadRequest(f"{made_by!r} is no way to make an image", remedy=f"BIDS has {', '.join(MICR_SUFFIXES)}")
    extensions = _PHOTO_EXTENSIONS if photo else _EXTENSIONS
    if suffix not in extensions:
        raise BadRequest(
            f"BIDS takes no {suffix} as {made_by}", remedy=f"it takes {', '.join(dict.fromkeys(extensions.values()))}"
        )
    folder, stem = _start(subject_id, session_id, session_start_time)
    name = "_".join([stem, *_parts(entities, _PHOTO if photo else IMAGE_ENTITIES), made_by])
    return folder / "micr" / f"{name}{extensions[suffix]}"


def bids_nwb_path(
    subject_id: str,
    session_id: str | None,
    modalities: tuple[str, ...],
    entities: Mapping[str, str],
    suffix: str,
    *,
    session_start_time: datetime | None = None,
) -> PurePosixPath:
    """Return ``sub-<id>/ses-<id>/ecephys/sub-<id>_ses-<id>[_<entity>-<id>]_ecephys.nwb``, as BEP032 proposes it.

    Intracellular recordings are ``icephys``; what is neither lies in ``nwb/`` with all its modalities in its name. A
    cell, slice or tissue is the ``sample``, a probe the ``acq``, unless these are stated themselves.
    """
    folder, stem = _start(subject_id, session_id, session_start_time)
    datatype = next((name for name in ("icephys", "ecephys") if name in modalities), "nwb")
    own = next((entities[key] for key in ("cell", "slice", "tis") if entities.get(key)), None)
    mapped = {"sample": own, "acq": entities.get("probe"), **{k: entities[k] for k in _EPHYS if entities.get(k)}}
    parts = _parts({k: v for k, v in mapped.items() if v}, _EPHYS)
    last = ["+".join(sorted(modalities))] if datatype == "nwb" and modalities else []
    name = "_".join([stem, *parts, *(last if datatype == "nwb" else [datatype])])
    return folder / datatype / f"{name}{suffix}"


def bids_video_path(
    subject_id: str, session_id: str | None, own_name: str, suffix: str, *, session_start_time: datetime | None = None
) -> PurePosixPath:
    """Return ``sub-<id>/[ses-<id>/]video/sub-<id>[_ses-<id>]_<own name>.mp4``."""
    folder, stem = _start(subject_id, session_id, session_start_time)
    return folder / "video" / f"{stem}_{sanitize_label(own_name)}{suffix}"


def companion_path(path: Path) -> PurePosixPath | None:
    """Return the place of a file that describes a BIDS dataset, such as ``participants.tsv``; None of any other.

    It is the same in every dataset, so what one of another tool says of its subjects and samples comes along.
    """
    base = next((folder for folder in path.parents if (folder / "dataset_description.json").is_file()), None)
    if base is None or not _COMPANION.fullmatch(path.relative_to(base).as_posix()):
        return None
    return PurePosixPath(path.relative_to(base).as_posix())


def _start(subject_id: str, session_id: str | None, start: datetime | None) -> tuple[PurePosixPath, str]:
    subject = f"sub-{sanitize_label(subject_id)}"
    session = session_label(session_id, start)
    if session is None:
        return PurePosixPath(subject), subject
    return PurePosixPath(subject, f"ses-{session}"), f"{subject}_ses-{session}"


def _parts(entities: Mapping[str, str], order: tuple[str, ...]) -> list[str]:
    parts = []
    for key in order:
        if not (value := entities.get(key)):
            continue
        if key in _INDICES and not re.fullmatch("[0-9]+", value):
            raise BadRequest(f"{key} {value!r} is no number, which BIDS wants there", remedy="number them: 1, 2, ...")
        parts.append(f"{key}-{value if key in _INDICES else sanitize_label(value)}")
    return parts
