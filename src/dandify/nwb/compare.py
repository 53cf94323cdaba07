"""Compares two NWB files object by object, of the same backend or across: structure, types, attributes, every value."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.nwb.opened import open_tree
from dandify.nwb.tree import Node, Reference, Tree
from dandify.nwb.tree_zarr import OWN
from dandify.store.progress import Progress, ProgressCallback
from dandify.store.region import Region

BLOCK_BYTES = 16_000_000  # of values read from each file at one time
ACROSS = OWN | {"DIMENSION_LIST", "CLASS", "NAME", "DIMENSION_LABELS"}
"""Attributes that are no content where backends differ: hdmf-zarr's own (`OWN`), and HDF5's dimension scales."""


@dataclass(frozen=True)
class Difference:
    """One way in which two files differ.

    Attributes
    ----------
    path
        The object.
    what
        In words, with what each file has.
    index
        Of the first value that differs; None where no value is meant.
    """

    path: str
    what: str
    index: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.path}{list(self.index) if self.index is not None else ''}: {self.what}"


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes
    ----------
    equal
        Datasets that both files have with the same values.
    differences
        In the order of paths.
    """

    equal: tuple[str, ...]
    differences: tuple[Difference, ...]


def compare_nwb(
    ours: Path | str,
    theirs: Path | str,
    *,
    ignore_attributes: Collection[str] = (),
    ignore_values: Collection[str] = (),
    progress: ProgressCallback | None = None,
) -> Comparison:
    """Compare two NWB files completely, holding a few blocks of values at a time; NaN equals NaN.

    Between two files of one backend everything counts: types to the byte order, how datasets may grow, the sort of
    each link. Across backends types count without byte order, and attributes that are only one backend's
    book-keeping (`ACROSS`) do not.

    Parameters
    ----------
    ours, theirs
        HDF5 files or Zarr v2 folders.
    ignore_attributes
        Names that may differ: two builds of one NWBFile have different ``object_id``.
    ignore_values
        Paths of datasets whose values are proved in another way; all else of them is compared.
    progress
        Called for each block, with the name of the dataset.

    Raises
    ------
    BadSource
        If one of them cannot be read.
    """
    with open_tree(Path(ours)) as a, open_tree(Path(theirs)) as b:
        return compare_trees(
            a, b, ignore_attributes=ignore_attributes, ignore_values=ignore_values, progress=progress
        )  # fmt: skip


def compare_trees(
    a: Tree,
    b: Tree,
    *,
    ignore_attributes: Collection[str] = (),
    ignore_values: Collection[str] = (),
    progress: ProgressCallback | None = None,
) -> Comparison:
    """Compare two opened files, see `compare_nwb`."""
    same = a.backend == b.backend
    ignored = {*ignore_attributes, *(() if same else ACROSS)}
    equal: list[str] = []
    found: list[Difference] = []
    values = [n for p, n in a.nodes.items() if n.kind == "dataset" and p in b.nodes and p not in ignore_values]
    total, done = sum(_bytes(n) for n in values), 0
    for path in sorted({*a.nodes, *b.nodes}):
        ours, theirs = a.nodes.get(path), b.nodes.get(path)
        if ours is None or theirs is None:
            found.append(Difference(path, f"the {'first' if ours is None else 'second'} file has no such object"))
            continue
        here = list(_kinds(ours, theirs, exactly=same))
        if not here and ours.kind in ("group", "dataset"):
            here += _attributes(path, a.attributes(path), b.attributes(path), ignored)
        comparable = ours.kind == theirs.kind == "dataset" and ours.shape == theirs.shape
        if comparable and path not in ignore_values:
            difference = None
            for region in blocks(ours):
                difference = difference or first_difference(path, a.read(path, region), b.read(path, region), region)
                done += _region_bytes(ours, region)
                if progress is not None:
                    progress(Progress("compare", path, done, total))
                if difference:
                    break
            if difference:
                here.append(difference)
            else:
                equal.append(path)
        found += here
    return Comparison(tuple(equal), tuple(found))


def _kinds(a: Node, b: Node, *, exactly: bool) -> Iterator[Difference]:
    if a.kind != b.kind:
        yield Difference(a.path, f"a {a.kind} and a {b.kind}")
        return
    if a.kind == "link":
        if a.target != b.target:
            yield Difference(a.path, f"leads to {a.target} and to {b.target}")
        elif exactly and a.how != b.how:
            yield Difference(a.path, f"a {a.how} link and a {b.how} link")
        return
    if a.shape != b.shape:
        yield Difference(a.path, f"has shape {a.shape} and {b.shape}")
    if a.dtype != b.dtype:
        yield Difference(a.path, f"is of type {a.dtype} and {b.dtype}")
    elif exactly and a.exact != b.exact:
        yield Difference(a.path, f"is of type {a.exact} and {b.exact}")
    if exactly and a.maxshape != b.maxshape:
        yield Difference(a.path, f"may grow to {a.maxshape} and {b.maxshape}")


def _attributes(path: str, a: dict[str, Any], b: dict[str, Any], ignored: Collection[str]) -> Iterator[Difference]:
    for name in sorted({*a, *b} - set(ignored)):
        if name not in a or name not in b:
            yield Difference(path, f"only the {'first' if name in a else 'second'} file has its attribute {name!r}")
        elif not _same(a[name], b[name]):
            yield Difference(path, f"attribute {name!r} is {_shown(a[name])} and {_shown(b[name])}")


def blocks(node: Node, block_bytes: int = BLOCK_BYTES) -> Iterator[Region]:
    """Regions of a dataset, in C order, of about so many bytes; whole chunks along the first axis where that fits."""
    shape = node.shape or ()
    if node.shape is None or 0 in shape:
        if node.shape is not None:
            yield tuple(slice(0, n) for n in shape)
        return
    yield from _cut(shape, node.itemsize, node.block, block_bytes)


def _cut(shape: tuple[int, ...], itemsize: int, chunk: tuple[int, ...] | None, budget: int) -> Iterator[Region]:
    if not shape:
        yield ()
        return
    row = prod(shape[1:]) * itemsize
    if row > budget and len(shape) > 1:
        for i in range(shape[0]):
            for rest in _cut(shape[1:], itemsize, chunk and chunk[1:], budget):
                yield (slice(i, i + 1), *rest)
        return
    step = max(1, budget // max(1, row))
    if chunk and chunk[0] <= step:
        step -= step % chunk[0]
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])), *(slice(0, n) for n in shape[1:]))


def first_difference(path: str, a: Any, b: Any, region: Region = ()) -> Difference | None:
    """Find the first value in which two blocks differ, with its index in the dataset.

    Parameters
    ----------
    path
        The dataset.
    a, b
        Values as `Tree.read` gives them.
    region
        Where the blocks begin.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return Difference(path, f"has columns {', '.join(a)} and {', '.join(b)}")
        for name in a:
            if found := first_difference(path, a[name], b[name], region):
                return Difference(path, f"{name}: {found.what}", found.index)
        return None
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return None if _same(a, b) else Difference(path, f"{_shown(a)} and {_shown(b)}")
    if a.shape != b.shape:
        return Difference(path, f"values of shape {a.shape} and {b.shape}")
    unequal = _unequal(a, b)
    if not unequal.any():
        return None
    inside = tuple(int(i) for i in np.unravel_index(int(np.argmax(unequal)), unequal.shape))
    index = tuple(i + s.start for i, s in zip(inside, region, strict=False))
    return Difference(path, f"{_shown(a[inside])} and {_shown(b[inside])}", index)


def _unequal(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    if a.dtype.kind == "O" or b.dtype.kind == "O":
        flags = np.zeros(a.shape, bool)
        for index in np.ndindex(a.shape):
            flags[index] = not _same(a[index], b[index])
        return flags
    different: NDArray[np.bool_] = np.asarray(a != b)
    if a.dtype.kind in "fc" and b.dtype.kind in "fc" and different.any():
        different &= ~(np.isnan(a) & np.isnan(b))
    return different


def _same(a: Any, b: Any) -> bool:
    """Equality of attributes and single values: text, references, numbers of any width, arrays of them."""
    if a is None or b is None or isinstance(a, (str, Reference)) or isinstance(b, (str, Reference)):
        return bool(_scalar(a) == _scalar(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape:
        return False
    if x.dtype.kind in "OUS" or y.dtype.kind in "OUS":
        return [str(v) for v in x.reshape(-1)] == [str(v) for v in y.reshape(-1)]
    return not _unequal(x, y).any()


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Reference) else repr(_scalar(value) if not np.isscalar(value) else value)
    if isinstance(value, np.generic):
        text = repr(value.item())
    return text if len(text) <= 80 else text[:77] + "..."


def _bytes(node: Node) -> int:
    return prod(node.shape or (1,)) * node.itemsize


def _region_bytes(node: Node, region: Region) -> int:
    count: int = prod(s.stop - s.start for s in region)
    return count * node.itemsize
