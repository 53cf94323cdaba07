"""What became of one array of an output that was compared again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["equal", "different", "missing", "not in the source", "not compared"]


@dataclass(frozen=True)
class Proof:
    """What became of one array.

    Attributes
    ----------
    path
        In the output.
    verdict
        ``missing``: the source has it, and the output has not. ``not compared``: nobody knows its source.
    detail
        The first difference, what it was compared with, or why it was not.
    transforms
        Names of those that were undone.
    """

    path: str
    verdict: Verdict
    detail: str = ""
    transforms: tuple[str, ...] = ()
