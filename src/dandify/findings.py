"""One kind of record for whatever a check finds, in the shape of dandi's ValidationResult plus a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["ERROR", "WARNING", "HINT"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    id
        Stable code, ``ORIGIN.what``.
    origin
        Who found it: ``dandify``, ``dandi``, ``nwbinspector``, ``pynwb``, ``yaozarrs``.
    scope
        What it is about: ``subject``, ``session``, ``file``, ``dandiset``, ``folder``.
    severity
        ``ERROR`` stops an upload, ``WARNING`` deserves a look, ``HINT`` could be better.
    message
        What was found and what was expected.
    path
        The file, None where there is none.
    remedy
        What mends it.
    key
        The metadata key it is about, if one.
    """

    id: str
    origin: str
    scope: str
    severity: Severity
    message: str
    path: Path | None = None
    remedy: str | None = None
    key: str | None = None
