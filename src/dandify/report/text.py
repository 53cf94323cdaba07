"""Figures as people read them: bytes, durations, shapes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path


def size(count: float) -> str:
    """Bytes with a decimal unit, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 99.5 else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def count(number: int, what: str) -> str:
    """Say how many: ``1 file``, ``2 files``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def argument(path: Path) -> str:
    """Return a path as it is typed into a shell."""
    if os.name != "nt":
        return shlex.quote(str(path))
    return f'"{path}"' if " " in str(path) else str(path)


def duration(seconds: float | None) -> str:
    """Seconds as ``1:02:03``, ``2:03`` or ``4.56 s``; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration_short(seconds: float) -> str:
    """Seconds in two digits and the unit that suits them: ``43 us``, ``3.6 ms``, ``1.2 s``, ``120 s``."""
    for unit, factor in (("us", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.2g} {unit}" if seconds * factor < 99.5 else f"{seconds * factor:.0f} {unit}"
    return f"{seconds:.2g} s" if seconds < 99.5 else f"{seconds:.0f} s"


def rate(hertz: float | None) -> str:
    """Hertz; empty for None."""
    return "" if hertz is None else f"{hertz:,.6g} Hz".replace(",", "")


def shape(axes: Sequence[str], lengths: Sequence[int]) -> str:
    """Lengths with their axes: ``t300000 c384``."""
    if len(axes) != len(lengths):
        return " ".join(map(str, lengths))
    return " ".join(f"{a}{n}" for a, n in zip(axes, lengths, strict=True))
