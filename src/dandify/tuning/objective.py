"""What is best: scores of a row's figures by the objective, and the front of rows that nothing beats altogether."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from types import MappingProxyType
from typing import TypeVar

from dandify.errors import BadRequest

OBJECTIVES = ("balanced", "size", "speed", "read")
WEIGHT = (
    0.05  # of time in the balanced objective: writing, or reading, that takes twice as long must save 3.4 % of size
)
CLOSE = MappingProxyType({"balanced": 0.0, "size": 0.002, "speed": 0.4, "read": 0.02})
"""Scores that differ by less count as equal, and the balanced one decides. They are logarithms: 0.02 are 2 %."""
WORDS = MappingProxyType({
    "balanced": "size counts, and time in so far as taking twice as long must save 3.4 % of it",
    "size": "the smallest",
    "speed": "the fastest to write, and of those within a factor of 1.5 the one that is best balanced",
    "read": "the fastest to read, over three ways of reading from a disk and from an archive",
})  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """What a row is judged by.

    Attributes
    ----------
    stored_bytes
        Of the whole stream.
    write_s
        Of one core.
    reads_s
        Of each way of reading, from a local disk and from an archive.
    """

    stored_bytes: float
    write_s: float
    reads_s: tuple[float, ...]

    @property
    def read_s(self) -> float:
        """Logarithmic mean of all ways of reading, so that none counts more for taking longer."""
        return sum(log(max(1e-9, s)) for s in self.reads_s) / len(self.reads_s)


def require_objective(name: str) -> str:
    """Give the name of an objective that there is.

    Raises
    ------
    BadRequest
        If there is none of that name.
    """
    if name not in OBJECTIVES:
        raise BadRequest(f"no objective {name!r}", remedy=f"one of {', '.join(OBJECTIVES)}")
    return name


def score(objective: str, figures: Figures) -> float:
    """Give the score by an objective: a logarithm, the lower the better."""
    size, write = log(max(1.0, figures.stored_bytes)), log(max(1e-9, figures.write_s))
    scores = {"size": size, "speed": write, "read": figures.read_s}
    return scores.get(objective, size + WEIGHT * (write + figures.read_s))


def best_of(rows: Sequence[T], objective: str, figures: Callable[[T], Figures], name: Callable[[T], str]) -> T:
    """Give the best row; the same of the same figures, in whatever order rows come.

    Parameters
    ----------
    rows
        At least one.
    objective
        One of `OBJECTIVES`.
    figures, name
        Of a row.
    """
    scores = {name(row): score(objective, figures(row)) for row in rows}
    least = min(scores.values())
    close = [row for row in rows if scores[name(row)] <= least + CLOSE[objective]]
    return min(close, key=lambda row: (score("balanced", figures(row)), name(row)))


def front(rows: Sequence[T], figures: Callable[[T], Figures]) -> tuple[T, ...]:
    """Rows that no other row beats: none is at least as small, fast to write and fast to read, and better in one."""
    values = [(f.stored_bytes, f.write_s, f.read_s) for f in map(figures, rows)]
    return tuple(
        row
        for row, own in zip(rows, values, strict=True)
        if not any(other != own and all(o <= v for o, v in zip(other, own, strict=True)) for other in values)
    )
