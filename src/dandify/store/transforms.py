"""Exact transforms of stored integers: what they are, how a manifest records them, and how they are undone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dandify.errors import BadSource
from dandify.kernels.exact import reduce

DIVIDE: Final[Literal["divide"]] = "divide"
RECENTRE: Final[Literal["recentre"]] = "recentre"
TRANSFORMS = (DIVIDE, RECENTRE)  # in the order in which they are applied


@dataclass(frozen=True)
class Transform:
    """One exact change: ``stored = (value - origin) / factor``, integers all, without rest and within the type.

    Attributes
    ----------
    name
        ``divide`` or ``recentre``.
    origin
        What is subtracted.
    factor
        What is divided by; 1 for ``recentre``.
    """

    name: Literal["divide", "recentre"]
    origin: int
    factor: int = 1

    @property
    def record(self) -> dict[str, Any]:
        """As JSON, for the manifest's ``details`` of a dataset."""
        return {"name": self.name, "factor": self.factor, "origin": self.origin}

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """Change integers of at most 32 bits; shape and type stay.

        Raises
        ------
        ValueError
            If a value does not divide without rest, or the result does not fit into the type.
        """
        plain = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        out = np.empty_like(plain)
        wrong = reduce(plain.reshape(-1), np.int64(self.origin), np.int64(self.factor), out.reshape(-1))
        if wrong:
            raise ValueError(f"{wrong} of {plain.size} values cannot be {self.name}d exactly by {self.record}")
        return out.astype(values.dtype, copy=False)


def undo(transforms: Sequence[Transform], values: NDArray[Any]) -> NDArray[Any]:
    """Give the values that the source had, of the same shape and type.

    Parameters
    ----------
    transforms
        In the order in which they were applied, see `recorded`.
    values
        As stored.

    Raises
    ------
    ValueError
        If these transforms cannot have made them: the result does not fit into the type.
    """
    if not transforms:
        return values
    wide = values.astype(np.int64)
    for transform in reversed(transforms):
        wide *= transform.factor
        wide += transform.origin
    bounds = np.iinfo(values.dtype)
    if wide.size and not (bounds.min <= wide.min() and wide.max() <= bounds.max):
        raise ValueError(f"{values.dtype} does not hold what {[t.record for t in transforms]} were applied to")
    return wide.astype(values.dtype)


def recorded(details: Mapping[str, Any]) -> tuple[Transform, ...]:
    """Read the transforms that a manifest's ``details`` of a dataset record; none where it records none.

    Raises
    ------
    BadSource
        If the record names a transform that this version does not know, or no whole numbers.
    """
    return tuple(_read(record) for record in cast("Iterable[Any]", details.get("transforms", ())))


def _read(record: Any) -> Transform:
    try:
        name, origin, factor = record["name"], record["origin"], record["factor"]
    except (TypeError, KeyError) as error:
        raise BadSource(f"no transform: {record!r}", place="transforms of the manifest") from error
    if name not in TRANSFORMS or type(origin) is not int or type(factor) is not int or factor < 1:
        raise BadSource(
            f"a transform that this dandify does not know: {record!r}", place="transforms of the manifest",
            remedy="pip install --upgrade dandify",
        )  # fmt: skip
    return Transform(name, origin, factor)


def transformable(dtype: DTypeLike) -> bool:
    """Whether transforms are exact for a type: integers whose products float64 holds without rounding."""
    kind = np.dtype(dtype)
    return kind.kind in "iu" and kind.itemsize <= 4
