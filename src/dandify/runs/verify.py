"""Proves an output again: every value against the raw files, against another NWB file, or against its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from dandify.errors import BadRequest, BadSource
from dandify.project.opened import shift_of
from dandify.project.scan import require_sources, scan
from dandify.runs.proof import Proof
from dandify.runs.verify_image import image_proofs, is_image
from dandify.sources import Array, Source
from dandify.store.manifest import Manifest, manifest_path, read_manifest
from dandify.store.progress import Progress, ProgressCallback
from dandify.store.transforms import Transform, recorded, undo

if TYPE_CHECKING:
    from dandify.ngff.label_values import Labels
    from dandify.nwb.tree import Node, Tree

_FINE = ("equal", "not in the source", "not compared")


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    Attributes
    ----------
    path
        The output.
    against
        What it was compared with; empty for its manifest.
    proofs
        One for each array.
    """

    path: Path
    against: tuple[Path, ...]
    proofs: tuple[Proof, ...]

    @property
    def equal(self) -> bool:
        """Something was compared, and nothing of that differs or is missing."""
        return all(p.verdict in _FINE for p in self.proofs) and any(p.verdict == "equal" for p in self.proofs)


def verify(
    path: Path | str,
    *,
    against: Path | str | Sequence[Path | str] = (),
    progress: ProgressCallback | None = None,
    labels: Mapping[str, Labels] = MappingProxyType({}),
    pattern: str | None = None,
) -> Verified:
    """Read an output again and compare it, value by value, with what it was made of.

    Parameters
    ----------
    path
        An NWB file, HDF5 or Zarr; or an OME-Zarr: an image with its labels, or a plate.
    against
        Raw files and folders of the session, read by their converters; or one other NWB file; or nothing: then the
        values are compared with the checksums in the manifest beside the output. Transforms that the manifest records
        are undone.
    progress
        Called for each block.
    labels
        What labels of an image were made of, by their names, as `dandify.write_ome_zarr_labels` takes it. Of those
        that are not named, the files that the manifest names are taken; where there are none, the report says so.
    pattern
        Of a folder with a TIFF for each plane, as of `dandify.convert`.

    Raises
    ------
    BadSource
        If one of them cannot be read.
    BadRequest
        If there is nothing to compare with.
    """
    output = Path(path)
    others = tuple(Path(a) for a in ([against] if isinstance(against, Path | str) else against))
    if is_image(output):
        proofs = tuple(image_proofs(output, others, labels=labels, pattern=pattern, progress=progress))
        return Verified(output, others, proofs)
    if labels or pattern is not None:
        raise BadRequest("is no OME-Zarr, which alone has labels or planes", file=output)
    from dandify.nwb.opened import open_tree

    manifest = read_manifest(manifest_path(output)) if manifest_path(output).is_file() else None
    with open_tree(output) as tree:
        if not others:
            proofs = tuple(_by_manifest(tree, _needed(manifest, output), progress))
        elif len(others) == 1 and _is_nwb(others[0]):
            proofs = tuple(_by_file(tree, others[0], _transforms(manifest), progress))
        else:
            proofs = tuple(_by_sources(tree, output, others, _transforms(manifest), progress))
    return Verified(output, others, proofs)


def _needed(manifest: Manifest | None, output: Path) -> Manifest:
    if manifest is None:
        raise BadRequest(
            "has no manifest beside it", file=output, remedy="name what it was made of: --against RAW_FILES"
        )
    return manifest


def _transforms(manifest: Manifest | None) -> dict[str, tuple[Transform, ...]]:
    return {d.name: recorded(d.details) for d in manifest.datasets} if manifest else {}


def _is_nwb(path: Path) -> bool:
    from dandify.nwb.opened import backend_of

    if not path.name.endswith((".nwb", ".nwb.zarr")):
        return False
    try:
        backend_of(path)
    except BadSource:
        return False
    return True


def _by_manifest(tree: Tree, manifest: Manifest, progress: ProgressCallback | None) -> Iterator[Proof]:
    """Compare checksums of the values in C order."""
    from dandify.nwb.compare import blocks

    total, done = sum(d.raw_bytes for d in manifest.datasets), 0
    for dataset in manifest.datasets:
        node = tree.nodes.get(dataset.name)
        if node is None:
            yield Proof(dataset.name, "missing", "the manifest has it")
            continue
        if (node.shape, node.numpy and node.numpy.str) != (dataset.shape, dataset.dtype):
            yield Proof(dataset.name, "different", f"{node.shape} {node.dtype}, {dataset.shape} {dataset.dtype} stated")
            continue
        whole = xxhash.xxh3_128()
        for region in blocks(node):
            values = np.ascontiguousarray(tree.read(node.path, region), node.numpy)
            whole.update(values.reshape(-1).view(np.uint8).data)
            done += values.nbytes
            if progress:
                progress(Progress("verify", dataset.name, done, total))
        if dataset.xxh128 is None:
            yield Proof(dataset.name, "equal", "every chunk can be read; the manifest has no checksum of all values")
        elif whole.hexdigest() == dataset.xxh128:
            yield Proof(dataset.name, "equal", f"XXH3-128 {dataset.xxh128}")
        else:
            yield Proof(dataset.name, "different", f"XXH3-128 {whole.hexdigest()}, {dataset.xxh128} in the manifest")


def _by_file(
    tree: Tree, other: Path, transforms: Mapping[str, tuple[Transform, ...]], progress: ProgressCallback | None
) -> Iterator[Proof]:
    """Compare with another NWB file, object by object."""
    from dandify.nwb.compare import compare_trees
    from dandify.nwb.opened import open_tree
    from dandify.nwb.repack import Stored

    changed = {place for place, some in transforms.items() if some}
    with open_tree(other) as theirs:
        found = compare_trees(tree, theirs, ignore_values=changed, progress=progress)
        for place in sorted(changed & set(theirs.nodes)):
            yield _compared(tree, tree.nodes[place], Stored(theirs, theirs.nodes[place]), transforms[place], None)
    for place in found.equal:
        yield Proof(place, "equal")
    scaled = {f"attribute {name!r}" for name in ("conversion", "offset")}
    for difference in found.differences:
        if difference.path in changed and any(difference.what.startswith(s) for s in scaled):
            continue  # what undoes the transform
        yield Proof(difference.path, "different", str(difference).removeprefix(difference.path).lstrip(": "))


def _by_sources(
    tree: Tree, output: Path, paths: Sequence[Path], transforms: Mapping[str, tuple[Transform, ...]],
    progress: ProgressCallback | None,
) -> Iterator[Proof]:  # fmt: skip
    """Compare with the arrays that converters find in raw files."""
    from dandify.nwb.defer import LEAST_BULK_BYTES, arrays_of
    from dandify.nwb.session import build_nwbfile

    sources = _opened(paths)
    start = _start(tree)
    nwbfile = build_nwbfile(
        sources, session={}, subject={"subject_id": "unknown"}, start=start,
        shifts_s=[shift_of(source, start, None) for source in sources],
    )  # fmt: skip
    wanted = arrays_of(nwbfile)
    stored = {p: n for p, n in tree.nodes.items() if n.shape and (n.plain or n.dtype == "text")}
    numbers = {p: n for p, n in stored.items() if n.plain}
    placed = {p: p if p in stored else _place(array, numbers, set(wanted)) for p, array in wanted.items()}
    for place, array in wanted.items():
        at = placed[place]
        if at is None:
            yield Proof(place, "missing", f"the source has {array.shape} {array.dtype}")
        else:
            yield _compared(tree, stored[at], array, transforms.get(at, ()), progress)
    for place, node in numbers.items():
        size = node.itemsize * int(np.prod(node.shape or (), dtype=object))
        if place not in placed.values() and size >= LEAST_BULK_BYTES:
            yield Proof(place, "not in the source")


def _opened(paths: Sequence[Path]) -> list[Source]:
    found: dict[Path, Source] = {}
    for path in paths:
        for source in require_sources(scan(path)):
            if any(stream.kind != "Image" for stream in source.streams):
                found.setdefault(source.path, source)
    if not found:
        raise BadRequest("these hold no recording", file=paths[0], remedy="dandify scan shows what lies in a folder")
    return list(found.values())


def _start(tree: Tree) -> datetime:
    """Start of the session, as the file says it."""
    value = tree.read("/session_start_time", ())
    value = value.item() if hasattr(value, "item") else value
    return datetime.fromisoformat(value.decode() if isinstance(value, bytes) else str(value))


def _place(array: Array, numbers: Mapping[str, Node], names: set[str]) -> str | None:
    """Where a file of another tool has an array, under another name: the only one of that shape and type."""
    alike = [
        p for p, n in numbers.items()
        if n.shape == array.shape and n.dtype == f"{array.dtype.kind}{array.dtype.itemsize}" and p not in names
    ]  # fmt: skip
    return alike[0] if len(alike) == 1 else None


def _compared(
    tree: Tree, node: Node, array: Array, transforms: Sequence[Transform], progress: ProgressCallback | None
) -> Proof:
    """Compare all values, a block at a time."""
    from dandify.nwb.compare import blocks, first_difference

    names = tuple(t.name for t in transforms)
    if node.shape != array.shape:
        return Proof(node.path, "different", f"shape {node.shape}, {array.shape} in the source", names)
    done = 0
    for region in blocks(node):
        theirs = array[region]
        ours = undo(transforms, np.asarray(tree.read(node.path, region)))
        if difference := first_difference(node.path, ours, theirs, region):
            where = list(difference.index) if difference.index is not None else ""
            return Proof(node.path, "different", f"{where} {difference.what}".strip(), names)
        done += theirs.nbytes
        if progress:
            progress(Progress("verify", node.path, done, array.nbytes))
    return Proof(node.path, "equal", transforms=names)
