"""Values and names of electrodes and channels: what says that nothing is known, and names that do not repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final

import numpy as np

from dandify.dandiset.nwb_tree import plain

# What is written where a value is wanted and nobody knows it.
_UNKNOWN: Final = frozenset({"", "n/a", "na", "nan", "none", "null", "unknown", "no location", "unspecified"})


def first_unique(*choices: Sequence[str | None]) -> list[str]:
    """Return the first list that names each by a name of its own; the last of them, with numbers, if none does."""
    for names in choices:
        if all(names) and len(set(names)) == len(names):
            return [str(name) for name in names]
    wanted = [name or "unnamed" for name in choices[-1]]
    taken, often = set(wanted), Counter(wanted)
    made = []
    for name in wanted:
        if often[name] > 1:
            name = next(new for i in count(1) if (new := f"{name}_{i}") not in taken)
            taken.add(name)
        made.append(name)
    return made


def joined(before: Sequence[str | None], names: Sequence[str | None]) -> list[str | None]:
    """Return each name with another before it; None where there is either not."""
    return [f"{a}_{b}" if a and b else None for a, b in zip(before, names, strict=True)]


def known(text: str | None) -> str | None:
    """Return a text unless it says that nothing is known."""
    return None if text is None or text.strip().lower() in _UNKNOWN else text


def number(value: Any) -> float | None:
    """Return a value as a number; None if it is none, or not finite."""
    with suppress(TypeError, ValueError):
        found = float(plain(value) or "")
        return found if np.isfinite(found) else None
    return None
