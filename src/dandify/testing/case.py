"""What the contract's tests are given and what they find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dandify.sources import Converter


@dataclass(frozen=True)
class Check:
    """One promise of the contract.

    Attributes
    ----------
    name
        The promise, a sentence.
    ok
        Whether it is kept.
    message
        What was found where it is not.
    """

    name: str
    ok: bool
    message: str = ""


@dataclass(frozen=True)
class Case:
    """A converter and what it is tried on."""

    converter: Converter
    sample: Path
    root: Path
    others: tuple[Path, ...]
    options: Mapping[str, Any]
