"""What every known format is, as a record."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dandify.sources.registry import available


@dataclass(frozen=True)
class Format:
    """One acquisition format that can be converted.

    Attributes
    ----------
    name, title, looks_like, becomes
        As its converter says.
    patterns
        Patterns of its file names.
    requires
        Packages beside dandify's own dependencies.
    missing
        Those of them that are not installed.
    file
        The converter's file.
    """

    name: str
    title: str
    looks_like: str
    becomes: str
    patterns: tuple[str, ...]
    requires: tuple[str, ...]
    missing: tuple[str, ...]
    file: Path


def formats() -> tuple[Format, ...]:
    """List every format that can be converted here, sorted by name.

    Raises
    ------
    dandify.errors.DandifyError
        If a converter's file cannot be imported.
    """
    import sys

    return tuple(
        Format(
            name=c.name,
            title=c.title,
            looks_like=c.looks_like,
            becomes=c.becomes,
            patterns=c.patterns,
            requires=c.requires,
            missing=tuple(r for r in c.requires if find_spec(r.replace("-", "_")) is None),
            file=Path(str(sys.modules[type(c).__module__].__file__)),
        )
        for c in sorted(available(), key=lambda c: c.name)
    )
