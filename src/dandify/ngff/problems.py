"""What a check of an image found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes
    ----------
    id
        Stable code: ``ngff.shard_damaged``.
    severity
        ``ERROR``: data are lost or will be misread or refused; ``WARNING``: deserves a look.
    path
        The file or folder.
    message
        What was found and what was expected.
    remedy
        What mends it.
    """

    id: str
    severity: Literal["ERROR", "WARNING"]
    path: Path
    message: str
    remedy: str
