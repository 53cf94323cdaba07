"""NWB files that refer to media which are not there: those that were organized before stay, the others are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from dandify.dandiset.layout import Placement
from dandify.dandiset.media import Medium
from dandify.errors import BadSource

_MAX_LISTED: Final = 10
_REMEDY: Final = (
    "say with --media FOLDER where they are now, or put them where the NWB file says; or leave these NWB files out "
    "with --ignore"
)


@dataclass(frozen=True)
class Refused:
    """A file that cannot be organized while others are.

    Attributes
    ----------
    path
        The file.
    reason
        Why.
    remedy
        What to do.
    """

    path: Path
    reason: str
    remedy: str


def without_absent(
    placements: Sequence[Placement], root: Path, holds: Callable[[Placement, Path], bool]
) -> tuple[tuple[Placement, ...], tuple[Refused, ...]]:
    """Return what can be organized, and the NWB files that cannot because media are gone.

    One that lies in the dandiset already with its media needs the originals no more: who has organized videos may have
    removed them.

    Parameters
    ----------
    placements
        Of all files.
    root
        The dandiset.
    holds
        Whether a place has what it is to have.

    Raises
    ------
    BadSource
        If nothing is left.
    """
    refused: list[Refused] = []
    gone: set[PurePosixPath] = set()
    for placement in placements:
        missing = [m for m in placement.media if not m.source.is_file()]
        if not missing:
            continue
        target = root / placement.target
        if target.exists() and all((root / m.target).is_file() for m in missing) and holds(placement, target):
            continue
        refused.append(Refused(placement.source, _what(missing), _REMEDY))
        gone |= {placement.target, *(m.target for m in placement.media)}
    kept = tuple(p for p in placements if p.target not in gone)
    if refused and all(p.kind == "table" for p in kept):
        lines = [f"  {one.path}: {one.reason}" for one in refused[:_MAX_LISTED]]
        more = [f"  and {len(refused) - _MAX_LISTED} more"] if len(refused) > _MAX_LISTED else []
        raise BadSource("\n".join(["files that an NWB file refers to are not there:", *lines, *more]), remedy=_REMEDY)
    return kept, tuple(refused)


def _what(missing: Sequence[Medium]) -> str:
    """Say which media are gone, by what refers to them."""
    by_dataset: dict[str, list[str]] = {}
    for medium in missing[:_MAX_LISTED]:
        by_dataset.setdefault(medium.reference.dataset, []).append(medium.reference.name)
    said = "; ".join(f"{dataset} refers to {', '.join(names)}" for dataset, names in by_dataset.items())
    more = f" and {len(missing) - _MAX_LISTED} more" if len(missing) > _MAX_LISTED else ""
    return f"{said}{more}, which {'is' if len(missing) == 1 else 'are'} not there"
