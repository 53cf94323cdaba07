"""Opens what is to be tuned: raw recordings as their NWB file would hold them, images, NWB files and OME-Zarr."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dandify.errors import BadRequest, BadSource
from dandify.project.config import PlannedSession, read_config
from dandify.project.metadata import merge
from dandify.project.scan import require_sources, scan
from dandify.sources import Source
from dandify.sources.registry import by_name
from dandify.tuning.material import BACKENDS, LEAST_BYTES, Material

if TYPE_CHECKING:
    from dandify.nwb.tree import Tree

_NOWHEN = datetime(2000, 1, 1, tzinfo=UTC)  # of NWBFiles that are built to be looked at and are never written


@dataclass(frozen=True)
class Session:
    """Streams of one session.

    Attributes
    ----------
    name
        Its folder, or its place in ``dandify.yaml``.
    materials
        Its streams.
    """

    name: str
    materials: tuple[Material, ...]


@contextmanager
def opened_sessions(
    paths: Sequence[Path], *, backend: str | None, recordings: str | None = None, ignore: Sequence[str] = ()
) -> Iterator[tuple[Session, ...]]:
    """Open sources to be read: folders and files that a converter knows, NWB files, OME-Zarr, or a ``dandify.yaml``.

    Parameters
    ----------
    paths
        Of them.
    backend
        ``hdf5`` or ``zarr`` for what becomes NWB, images left out; ``ome-zarr`` for images alone; None for both.
    recordings
        What recordings become where ``backend`` is None; ``hdf5``, or what a ``dandify.yaml`` says, by default.
    ignore
        Patterns of files in folders that are passed over.

    Raises
    ------
    BadRequest
        If there is nothing to tune, or no such backend.
    BadSource
        If one of them cannot be opened.
    """
    if backend is not None and backend not in BACKENDS:
        raise BadRequest(f"no backend {backend!r}", remedy=f"one of {', '.join(BACKENDS)}")
    with ExitStack() as stack:
        sessions: list[Session] = []
        for path in paths:
            sessions += _opened(path.absolute(), _into(backend, recordings), ignore, stack)
        kept = [Session(s.name, tuple(m for m in s.materials if _wanted(m, backend))) for s in sessions]
        if not any(s.materials for s in kept):
            found = sorted({m.backend for s in sessions for m in s.materials})
            raise BadRequest(
                f"there are no arrays of {LEAST_BYTES // 1024} KiB or more here, which is what can be tuned"
                + (f", for backend {backend}" if backend else ""),
                file=paths[0] if paths else None,
                remedy=f"leave --backend out: there is what becomes {', '.join(found)}" if found else
                "`dandify scan` says what there is",
            )  # fmt: skip
        yield tuple(s for s in kept if s.materials)


def project_sessions(config: Path, *, backend: str | None, recordings: str | None = None) -> tuple[Session, ...]:
    """Describe the streams of every session of a ``dandify.yaml``, by headers alone; see `opened_sessions`.

    Raises
    ------
    BadRequest
        If the file is not as expected.
    BadSource
        If a source cannot be opened.
    """
    project = read_config(config)
    into = _into(backend, recordings) or project.output.backend
    found = []
    for number, planned in enumerate(project.sessions):
        materials = materials_of(_sources_of(planned), into)
        kept = tuple(m for m in materials if _wanted(m, backend))
        found.append(Session(f"{config.name} sessions[{number}]", kept))
    return tuple(found)


def materials_of(sources: Sequence[Source], backend: str) -> tuple[Material, ...]:
    """Give the streams of a session: large arrays as an NWB file would have them, and images.

    Parameters
    ----------
    sources
        Of one session.
    backend
        Of its NWB file.
    """
    from dandify.ngff.request import SHARD_BYTES

    recordings = [s for s in sources if any(stream.kind != "Image" for stream in s.streams)]
    found = _recorded(recordings, backend) if recordings else []
    for source in sources:
        for stream in source.streams:
            if stream.kind == "Image" and stream.array is not None:
                spacing = tuple(stream.scale.get(a, 1.0) if a in "zyx" else 0.0 for a in stream.axes)
                found.append(
                    Material(stream.name, stream.kind, stream.array, stream.array.dtype.newbyteorder("<"), "ome-zarr",
                             source.path, None, 2, spacing=spacing, shard_bytes=SHARD_BYTES)
                )  # fmt: skip
    return tuple(found)


def _into(backend: str | None, recordings: str | None) -> str | None:
    """Say what recordings become, if anybody does."""
    return backend if backend in ("hdf5", "zarr") else recordings


def _opened(path: Path, into: str | None, ignore: Sequence[str], stack: ExitStack) -> list[Session]:
    if not path.exists():
        raise BadRequest("no such file or folder", file=path)
    if path.suffix in (".yaml", ".yml"):
        return list(project_sessions(path, backend=None, recordings=into))
    if (finest := _finest_level(path)) is not None:
        return [Session(path.name, (_stored_image(path, *finest),))]
    if path.name.endswith((".nwb", ".nwb.zarr", ".zarr")) or (path / ".zgroup").is_file():
        from dandify.nwb.opened import open_tree

        return [Session(path.name, _stored_series(path, stack.enter_context(open_tree(path))))]
    report = scan(path, ignore=ignore)
    require_sources(report)
    return [Session(str(s.path), materials_of(s.sources, into or "hdf5")) for s in report.sessions]


def _wanted(material: Material, backend: str | None) -> bool:
    return backend is None or (material.backend == "ome-zarr") == (backend == "ome-zarr")


def _sources_of(planned: PlannedSession) -> list[Source]:
    """Open the sources of a session of ``dandify.yaml``, with what it says of images."""
    found: dict[Path, Source] = {}
    for one in planned.sources:
        said = merge([*planned.layers, one.layer]).level("source")
        if one.format:
            converter = by_name(one.format)
            sources: tuple[Source, ...] = (converter.open(converter.claim(one.path) or one.path, one.options),)
        else:
            sources = require_sources(scan(one.path, ignore=one.ignore))
        for source in sources:
            images = any(s.kind == "Image" for s in source.streams) or "axes" in {n.key for n in source.needs}
            found.setdefault(source.path, source.with_facts(said) if images else source)
    return list(found.values())


def _recorded(sources: Sequence[Source], backend: str) -> list[Material]:
    """Build the session's NWBFile in memory, and take its large arrays as `write_nwb` would."""
    from hdmf.backends.hdf5.h5_utils import H5DataIO
    from hdmf.build import GroupBuilder
    from hdmf_zarr import ZarrDataIO

    from dandify.nwb.defer import find_bulk
    from dandify.nwb.request import names_of
    from dandify.nwb.session import build_nwbfile
    from dandify.nwb.structure import show_structure
    from dandify.nwb.transforms import possible_transforms

    nwbfile = build_nwbfile(sources, session={}, subject={}, start=_NOWHEN)
    found: list[Material] = []
    where = Path(os.path.commonpath([s.path for s in sources])) if len(sources) > 1 else sources[0].path

    def take(root: GroupBuilder) -> None:
        native = H5DataIO if backend == "hdf5" else ZarrDataIO
        for bulk in find_bulk(root, native=native, least_bytes=1):
            if bulk.builder.name != "data" and bulk.array.nbytes < LEAST_BYTES:
                continue  # columns of tables and short times are not what anybody would tune
            parent: Any = bulk.builder.parent
            found.append(
                Material(
                    names_of(bulk)[-1], str(parent.attributes.get("neurodata_type", "")), bulk.array,
                    np.dtype(bulk.dtype), backend, where, bulk.rate_hz, len(bulk.array.shape) - 1,
                    possible_transforms(root, bulk),
                )
            )  # fmt: skip

    show_structure(nwbfile, take)
    return found


def _stored_series(path: Path, tree: Tree) -> tuple[Material, ...]:
    """Large arrays of an NWB file of anybody."""
    from dandify.nwb.opened import backend_of
    from dandify.nwb.repack import bulk_of
    from dandify.nwb.tree_hdf5 import HDF5Tree

    found = []
    for array in bulk_of(tree):
        place = array.node.path
        if isinstance(tree, HDF5Tree):
            tree.require_readable(place)
        owner, _, field = place.rpartition("/")
        said = tree.attributes(owner or "/")
        start = f"{owner}/starting_time"
        rate = tree.attributes(start).get("rate") if field == "data" and start in tree.nodes else None
        name = owner.rpartition("/")[2] if field == "data" else "/".join(place.split("/")[-2:])
        found.append(
            Material(name, str(said.get("neurodata_type", "")), array, array.dtype, backend_of(path), path,
                     None if rate is None else float(np.asarray(rate)), len(array.shape) - 1)
        )  # fmt: skip
    return tuple(found)


def _finest_level(path: Path) -> tuple[Path, tuple[float, ...]] | None:
    """Folder of the finest level of an OME-Zarr image, and the distance of its pixels; None for anything else."""
    from dandify.ngff.stored import image_of

    for name in ("zarr.json", ".zattrs"):
        try:
            image = image_of(path / name) if (path / name).is_file() else None
        except (ValueError, OSError) as error:
            raise BadSource(f"its {name} is damaged: {error}", file=path) from error
        if image is not None:
            try:
                said = image.metadata["multiscales"][0]
                return path / str(said["datasets"][0]["path"]), _spacing(said)
            except (KeyError, IndexError, TypeError) as error:
                raise BadSource("its multiscales name no arrays", file=path) from error
    return None


def _spacing(multiscale: Any) -> tuple[float, ...]:
    """Distance of neighbouring pixels by axis, as far as metadata of an image say: 1 where they do not."""
    axes = [axis.get("type") if isinstance(axis, dict) else {"t": "time", "c": "channel"}.get(axis, "space")
            for axis in multiscale.get("axes", ())]  # fmt: skip
    said = multiscale["datasets"][0].get("coordinateTransformations", ())
    scale = next((list(t["scale"]) for t in said if t.get("type") == "scale"), [1.0] * len(axes))
    return tuple(float(s) if kind == "space" else 0.0 for s, kind in zip(scale, axes, strict=False))


def _stored_image(path: Path, level: Path, spacing: tuple[float, ...]) -> Material:
    from dandify.ngff.level_array import LevelArray
    from dandify.ngff.request import SHARD_BYTES

    array = LevelArray.open(level)
    axes = len(array.shape)
    return Material(
        path.name.split(".")[0], "Image", array, array.dtype.newbyteorder("<"), "ome-zarr", path, None,
        min(2, max(0, axes - 1)), spacing=spacing if len(spacing) == axes else (0.0,) * axes, shard_bytes=SHARD_BYTES,
    )  # fmt: skip
