"""Finds what is to be tuned: raw recordings as their NWB file would hold them, images, NWB files and OME-Zarr."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dandify.errors import BadRequest
from dandify.project.config import PlannedSession, read_config
from dandify.project.metadata import merge
from dandify.project.scan import require_sources, scan
from dandify.runs.stored import find_stored, is_stored, stored_materials
from dandify.sources import Source
from dandify.sources.registry import by_name
from dandify.tuning.material import BACKENDS, LEAST_BYTES, Material

_NOWHEN = datetime(2000, 1, 1, tzinfo=UTC)  # of NWBFiles that are built to be looked at and are never written


@dataclass(frozen=True)
class Session:
    """Streams of one session, or of one file that is NWB or OME-Zarr already.

    Attributes
    ----------
    name
        Its folder, its place in ``dandify.yaml``, or the file's name.
    materials
        Its streams.
    stored
        It is such a file.
    """

    name: str
    materials: tuple[Material, ...]
    stored: bool = False


@dataclass(frozen=True)
class Found:
    """What there is to tune.

    Attributes
    ----------
    sessions
        Those with streams.
    notes
        What was passed over, in words.
    """

    sessions: tuple[Session, ...]
    notes: tuple[str, ...] = ()


def find_sessions(
    paths: Sequence[Path], *, backend: str | None, recordings: str | None = None, ignore: Sequence[str] = ()
) -> Found:
    """Find what is to be tuned: recordings, NWB files, OME-Zarr, folders of them, or what a ``dandify.yaml`` names.

    Of a folder that has recordings, these are taken: NWB files and OME-Zarr beside them may be made of them, and would
    count twice.

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
    each = [_found(path.absolute(), _into(backend, recordings), ignore) for path in paths]
    sessions = [s for found in each for s in found.sessions]
    kept = [replace(s, materials=tuple(m for m in s.materials if _wanted(m, backend))) for s in sessions]
    if not any(s.materials for s in kept):
        others = sorted({m.backend for s in sessions for m in s.materials})
        raise BadRequest(
            f"there are no arrays of {LEAST_BYTES // 1024} KiB or more here, which is what can be tuned"
            + (f", for backend {backend}" if backend else ""),
            file=paths[0] if paths else None,
            remedy=f"leave --backend out: there is what becomes {', '.join(others)}" if others else
            "`dandify scan` says what there is",
        )  # fmt: skip
    notes = [n for found in each for n in found.notes]
    other = {m.backend for s in kept if s.stored for m in s.materials} - {backend or recordings, "ome-zarr"}
    if other and (backend or recordings):
        notes.append(f"NWB files are measured as what they are: {', '.join(sorted(other))}")
    return Found(tuple(s for s in kept if s.materials), tuple(notes))


def project_sessions(config: Path, *, backend: str | None, recordings: str | None = None) -> tuple[Session, ...]:
    """Describe the streams of every session of a ``dandify.yaml``, by headers alone; see `find_sessions`.

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
    from dandify.runs.image_materials import image_material

    recordings = [s for s in sources if any(stream.kind != "Image" for stream in s.streams)]
    found = _recorded(recordings, backend) if recordings else []
    for source in sources:
        for stream in source.streams:
            if stream.kind == "Image" and stream.array is not None:
                found.append(image_material(stream.name, stream.array, stream.axes, stream.scale, source.path))
    return tuple(found)


def _into(backend: str | None, recordings: str | None) -> str | None:
    """Say what recordings become, if anybody does."""
    return backend if backend in ("hdf5", "zarr") else recordings


def _found(path: Path, into: str | None, ignore: Sequence[str]) -> Found:
    if not path.exists():
        raise BadRequest("no such file or folder", file=path)
    if path.suffix in (".yaml", ".yml"):
        return Found(project_sessions(path, backend=None, recordings=into))
    if is_stored(path):
        return Found(_stored(find_stored(path) or (path,)))
    report = scan(path, ignore=ignore)
    stored = find_stored(path, ignore) if path.is_dir() else ()
    if report.broken or not stored:
        require_sources(report)
    found = tuple(Session(str(s.path), materials_of(s.sources, into or "hdf5")) for s in report.sessions)
    if not any(session.materials for session in found):
        return Found(_stored(stored))
    if not stored:
        return Found(found)
    note = (
        f"{len(stored)} NWB files and images of OME-Zarr in {path} were passed over, for there are recordings, too, of "
        "which they may be made: name them, or a folder of them alone, to tune them"
    )
    return Found(found, (note,))


def _stored(paths: Sequence[Path]) -> tuple[Session, ...]:
    return tuple(Session(path.name, stored_materials(path), stored=True) for path in paths)


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
