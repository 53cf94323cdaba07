"""The files that make a folder a BIDS dataset: its description, what a validator passes over, JSON beside images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Final

from dandify.dandiset.bids_names import PHOTO, UNKNOWN_TO_BIDS
from dandify.dandiset.describe import YAML
from dandify.dandiset.images import pixel_size
from dandify.dandiset.layout import Placement
from dandify.dandiset.plain import sidecar_of, split_suffix
from dandify.dandiset.tables import BIDS_VERSION
from dandify.dandiset.texts import read_text, write_text
from dandify.errors import BadSource, MissingMetadata, Need

DESCRIPTION: Final = "dataset_description.json"
_HEADER: Final = "# What BIDS has no place for yet; ecephys and icephys are those of its draft BEP032."
_PIXELS: Final = ("PixelSize", "PixelSizeUnits")


def plan_sidecars(
    placements: Sequence[Placement], sizes_um: Mapping[Path, Sequence[float]] = MappingProxyType({})
) -> dict[PurePosixPath, dict[str, Any]]:
    """Return the JSON of every image: what the one beside it says, and the size of its pixels.

    Parameters
    ----------
    placements
        Of all files.
    sizes_um
        Of the pixels of images, by their paths, where the user states them: x y, or x y z.

    Raises
    ------
    MissingMetadata
        Naming every image of which neither it nor its JSON states the size of the pixels, which BIDS requires.
    BadSource
        If a JSON is none.
    """
    planned: dict[PurePosixPath, dict[str, Any]] = {}
    needs = []
    for placement in placements:
        if placement.kind not in ("image", "ome-zarr"):
            continue
        stem = split_suffix(Path(placement.target))[0]
        given = sidecar_of(placement.source)
        said = read_json(given) if given else {}
        photo = stem.endswith(f"_{PHOTO}")
        if stated := sizes_um.get(placement.source):
            said = {**said, "PixelSize": list(stated), "PixelSizeUnits": "um"}
        elif not photo and any(key not in said for key in _PIXELS):
            said = {**said, **(pixel_size(placement.source) or {})}
        if not photo and any(key not in said for key in _PIXELS):
            beside = f"{split_suffix(placement.source)[0]}.json"
            needs.append(
                Need(
                    "PixelSize", "size of a pixel, which the image does not state",
                    f'a column pixel_size_um of --table; or {beside} beside it: '
                    '{"PixelSize": [x, y], "PixelSizeUnits": "um"}', str(placement.source),
                )
            )  # fmt: skip
        if said:
            planned[placement.target.with_name(f"{stem}.json")] = said
    if needs:
        raise MissingMetadata(needs, where="a BIDS dataset")
    return planned


def stated_description(inputs: Sequence[Path], *, title: str | None, otherwise: str) -> dict[str, Any]:
    """Return what ``dataset_description.json`` is to say: what that of a BIDS dataset given says, and a name.

    Parameters
    ----------
    inputs
        Files and folders.
    title
        Of the dandiset, if it has one: it is the name of a new dataset.
    otherwise
        The name if there is no other.
    """
    found: dict[str, Any] = {}
    for folder in inputs:
        if (folder / DESCRIPTION).is_file():
            found = {**read_json(folder / DESCRIPTION), **found}
    name = title or found.get("Name") or otherwise
    found = {key: value for key, value in found.items() if value is not None}  # nwb2bids writes null, BIDS wants none
    return {**found, "Name": name, "BIDSVersion": BIDS_VERSION, "DatasetType": "raw"}


def write_bids_files(
    root: Path,
    description: Mapping[str, Any],
    sidecars: Mapping[PurePosixPath, Mapping[str, Any]],
    *,
    overwrite: bool,
    dry_run: bool,
) -> tuple[Path, ...]:
    """Write or complete them, and return those that changed; what they say already is kept.

    Parameters
    ----------
    root
        Folder of the dandiset.
    description
        From `stated_description`.
    sidecars
        From `plan_sidecars`.
    overwrite
        Replace values that are there and differ.
    dry_run
        Only return what would change.
    """
    changed = []
    for path, values in {PurePosixPath(DESCRIPTION): description, **sidecars}.items():
        file = root / path
        there = read_json(file) if file.is_file() else {}
        replaced = values if overwrite and path in sidecars else {k: v for k, v in values.items() if k not in there}
        made = {**there, **replaced}
        if made != there:
            changed.append(file)
            write_text(file, json.dumps(made, indent=2, ensure_ascii=False) + "\n", dry_run=dry_run)
    ignore = root / ".bidsignore"
    lines = [_HEADER] if (text := read_text(ignore)) is None else text.splitlines()
    wanted = [YAML, *(f"sub-*/**/{folder}" for folder in UNKNOWN_TO_BIDS)]
    if missing := [line for line in wanted if line not in lines]:
        changed.append(ignore)
        write_text(ignore, "\n".join([*lines, *missing]) + "\n", dry_run=dry_run)
    return tuple(changed)


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises
    ------
    BadSource
        If it holds none.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise BadSource(f"not JSON: {error}", file=file, remedy="mend it, or remove it") from None
    if not isinstance(found, dict):
        raise BadSource("JSON, but no object of keys and values", file=file, remedy="mend it, or remove it")
    return found
