"""Tunes compression and chunks on a lab's own files, and says what the choice comes to for all sessions."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from dandify.errors import BadRequest
from dandify.project.config import read_config
from dandify.project.tuned import TunedStream, write_tuned
from dandify.runs.choices import ANY_IMAGE
from dandify.runs.materials import Session, find_sessions, project_sessions
from dandify.tuning.material import LEAST_BYTES, Archive, Material
from dandify.tuning.result import Prediction, Row, StreamResult, TuningResult
from dandify.tuning.tune import Progress, tune_materials

_ANYTHING = "TimeSeries"  # says nothing of what it holds: a stream of this kind stands for its own name alone
_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0}


def tune(
    *sources: Path | str,
    objective: str = "balanced",
    budget: str | float = "60s",
    readers: str = "any",
    backend: str | None = None,
    apply: Path | str | None = None,
    latency_s: float = 0.05,
    bandwidth_mbs: float = 30.0,
    seed: int = 0,
    workers: int | None = None,
    ignore: Sequence[str] = (),
    progress: Progress | None = None,
) -> TuningResult:
    """Measure on samples of your own files which chunks and compression suit them.

    Of streams of one name in several sessions, the largest is measured. At most 2 % of what is larger than 2 GB is
    read, and never more than 2 GB. Every candidate is decoded again and compared bit by bit. What is measured depends
    on the budget and the seed, and speeds enter the choice in steps, so that the same seed gives the same choice.

    Parameters
    ----------
    *sources
        Files and folders that a converter knows, NWB files (HDF5 or Zarr), OME-Zarr, folders of these, or a
        ``dandify.yaml``. Of a folder that has recordings, NWB files and OME-Zarr are passed over.
    objective
        ``balanced``: size, and time in so far as taking twice as long must save 3.4 % of it. ``size``, ``speed`` (of
        writing), ``read`` (a second, a channel, everything; from a disk and from an archive).
    budget
        For all streams together, on an idle machine: ``60s``, ``5min`` or seconds. A slow or busy machine takes longer;
        after three times as long, only what there is to compare with and the best are still measured to the end.
    readers
        Who shall read the files: ``any`` (gzip in HDF5; gzip and Blosc in Zarr), ``plugins`` (what hdf5plugin brings),
        ``python`` (numcodecs and imagecodecs; in Zarr).
    backend
        ``hdf5`` (default for recordings), ``zarr``, or ``ome-zarr`` (images alone). With ``readers="python"`` the
        default for recordings is ``zarr``. NWB files keep their own.
    apply
        A ``dandify.yaml`` into which the choice is written, where `convert` finds it. The prediction is then for all of
        its sessions, and otherwise for those of the sources. Nothing is written of a run that was stopped.
    latency_s, bandwidth_mbs
        Of the archive: seconds a request, megabytes a second. Uploads are reckoned with the same bandwidth.
    seed
        Of the places that are sampled.
    workers
        Threads of what is called all cores; one for each core by default.
    ignore
        Patterns of files in folders that are passed over.
    progress
        Called after each round.

    Returns
    -------
    TuningResult
        Every measurement; what was measured so far if Ctrl-C came.

    Raises
    ------
    BadRequest
        If the request cannot be carried out.
    BadSource
        If a source cannot be read.
    """
    if not sources:
        raise BadRequest("nothing to tune", remedy="name recordings, NWB files, OME-Zarr or a dandify.yaml")
    if latency_s < 0 or bandwidth_mbs <= 0:
        raise BadRequest(f"an archive of {latency_s:g} s a request and {bandwidth_mbs:g} MB/s")
    if workers is not None and workers < 1:
        raise BadRequest(f"{workers} workers", remedy="ask for 1 or more")
    config = None if apply is None else Path(apply)
    into = backend if backend != "ome-zarr" else None  # which recordings cannot become
    into = into or ("zarr" if readers == "python" else None)
    if config is not None and into is None:
        into = read_config(config).output.backend
    archive = Archive(latency_s, bandwidth_mbs * 1e6)
    found = find_sessions([Path(s) for s in sources], backend=backend, recordings=into, ignore=ignore)
    materials = representatives(found.sessions)
    if config is not None:
        _require_one_backend(materials, into, config)
    result = tune_materials(
        materials, objective=objective, readers=readers, budget_s=parse_seconds(budget), seed=seed,
        workers=workers or os.cpu_count() or 1, archive=archive, progress=progress,
    )  # fmt: skip
    everything = found.sessions
    if config is not None:
        try:
            everything = project_sessions(config, backend=backend, recordings=into)
        except KeyboardInterrupt:  # what was measured is not lost for it
            result = replace(result, stopped=True)
    prediction = predict(result, everything, written=config is not None)
    result = replace(result, prediction=prediction, notes=(*found.notes, *result.notes))
    if config is not None and not result.stopped:
        apply_choice(result, config, everything)
    return result


def _require_one_backend(materials: Sequence[Material], into: str | None, config: Path) -> None:
    """Refuse, before anything is measured, streams of NWB files of another backend than the sessions shall have."""
    other = sorted({m.backend for m in materials} - {"ome-zarr", into})
    if other:
        name = next(m.path for m in materials if m.backend == other[0])
        raise BadRequest(
            f"{name} is an NWB file of backend {other[0]}, and the sessions are to be {into}", file=config,
            remedy=f"tune what the sessions are made of, or say output: {{backend: {other[0]}}} there",
        )  # fmt: skip


def apply_choice(result: TuningResult, config: Path, sessions: Sequence[Session] = ()) -> None:
    """Write the best row of each stream, of those that `convert` writes, into a ``dandify.yaml``.

    Parameters
    ----------
    result
        Of `tune`.
    config
        The file; all else in it stays as it is, comments too.
    sessions
        Of the file: their streams that were not measured are written like those that stand for them.

    Raises
    ------
    BadRequest
        If the file is not as expected, or nothing was measured that `convert` writes.
    """
    rows = chosen_rows(result)
    if not rows:
        raise BadRequest("nothing was measured that convert writes", file=config, remedy="tune with other --readers")
    today = datetime.now().astimezone().date().isoformat()
    backends = {stream.backend for stream, _ in rows.values()} - {"ome-zarr"}
    everything = [m for session in sessions for m in session.materials if m.raw_bytes >= LEAST_BYTES]
    streams = {
        name: TunedStream(
            row.compression or "", _for_others(row.chunks, stream, everything, result.streams), row.transforms,
            f"{today}: {_figures(row, result)}",
        )
        for name, (stream, row) in rows.items()
        if stream.backend != "ome-zarr" or not everything or name in {ANY_IMAGE, *(m.name for m in everything)}
    }  # fmt: skip
    for material in everything:
        like = _like(material, result.streams)
        # convert takes what is said of `Image` for every image that is not named
        if like is None or like.name not in streams or like.name == ANY_IMAGE:
            continue
        known = streams[like.name]
        chunks = known.chunks if like.backend == "ome-zarr" else tuple(map(min, known.chunks, material.shape))
        streams.setdefault(material.name, replace(known, chunks=chunks, comment=f"{today}: like {like.name}"))
    write_tuned(config, streams, backend=next(iter(backends), None))


def _for_others(
    chunks: tuple[int, ...], stream: StreamResult, everything: Sequence[Material], streams: Sequence[StreamResult]
) -> tuple[int, ...]:
    """Make chunks of an image such as `convert` writes of others, too: even along axes of space; it clips them."""
    if stream.backend != "ome-zarr":
        return chunks
    spacing = next((m.spacing for m in everything if _like(m, streams) is stream), ()) or (0.0,) * len(chunks)
    return tuple(c + c % 2 if far else c for c, far in zip(chunks, spacing, strict=True))


def _figures(row: Row, result: TuningResult) -> str:
    """Figures of a row in one line."""
    interval = "" if row.ratio_low is None else f" ({row.ratio_low:.2f}-{row.ratio_high:.2f})"
    return (
        f"{row.ratio:.2f} times smaller{interval}, {row.encode_mbs:.0f} MB/s a core, {row.write_mbs:.0f} MB/s on "
        f"{result.workers} core{'' if result.workers == 1 else 's'}"
    )


def parse_seconds(text: str | float) -> float:
    """Seconds of ``60s``, ``5min`` or a number.

    Raises
    ------
    BadRequest
        If it is no time above zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(text).lower())
    if found and found[2] in _UNITS and float(found[1]) > 0:
        return float(found[1]) * _UNITS[found[2]]
    raise BadRequest(f"{text!r} is no time", remedy="write it as 60s or 5min")


def representatives(sessions: Sequence[Session]) -> tuple[Material, ...]:
    """Give the streams to measure: the largest of each name, and of images the largest of each type.

    Images have the names that files give them; one that stands for all others is called ``Image``, and of several of
    one name, all but the largest say how they differ.
    """
    alike: dict[tuple[object, ...], list[Material]] = {}
    for material in (m for s in sessions for m in s.materials):
        image = material.backend == "ome-zarr"
        what = (material.dtype.str, len(material.shape)) if image else (material.name,)
        alike.setdefault((material.backend, *what), []).append(material)
    largest = sorted(
        ((max(group, key=lambda m: m.raw_bytes), len(group)) for group in alike.values()),
        key=lambda pair: pair[0].backend == "ome-zarr",
    )
    images = [m for m, _ in largest if m.backend == "ome-zarr"]
    if len(images) == 1 and largest[-1][1] > 1:
        return (*(m for m, _ in largest[:-1]), replace(images[0], name=ANY_IMAGE))
    first = {m.name: m for m in sorted(images, key=lambda m: m.raw_bytes)}  # files may give all images one name
    return tuple(
        m if m.backend != "ome-zarr" or first[m.name] is m
        else replace(m, name=f"{m.name} ({len(m.shape)} axes, {m.dtype.str})")
        for m, _ in largest
    )  # fmt: skip


def predict(result: TuningResult, sessions: Sequence[Session], *, written: bool = False) -> Prediction | None:
    """Say what the best rows come to for all streams of all sessions; None where nothing was measured.

    Parameters
    ----------
    result
        Of `tune`.
    sessions
        All of them.
    written
        Take the best of what `dandify convert` writes.
    """
    best = {name: row for name, (_, row) in chosen_rows(result).items()} if written else result.best()
    if not best:
        return None
    measured = {s.name: s for s in result.streams}
    raw, read, smaller, unmeasured, stored, default, write_s, used = 0, 0, 0.0, 0, 0.0, 0.0, 0.0, set[bool]()
    for material in (m for session in sessions for m in session.materials):
        like = _like(material, result.streams)
        row = best.get(like.name) if like else None
        if material.raw_bytes < LEAST_BYTES:
            continue
        if row is None or like is None:
            unmeasured += material.raw_bytes
            continue
        share = material.raw_bytes / measured[like.name].raw_bytes
        usual = like.role("default") or row
        raw += material.raw_bytes
        read += material.raw_bytes * (2 if row.transforms else 1)
        smaller += row.smaller_bytes * share
        stored += (row.stored_bytes + row.smaller_bytes) * share
        default += (usual.stored_bytes + usual.smaller_bytes) * share
        write_s += material.raw_bytes / 1e6 / row.write_mbs
        used.add(row.written)
    return Prediction(
        sum(not s.stored for s in sessions), sum(s.stored for s in sessions), raw, stored, default, unmeasured,
        write_s, stored / result.archive.bytes_per_s, smaller, read, by_convert=False not in used,
    )  # fmt: skip


def chosen_rows(result: TuningResult) -> Mapping[str, tuple[StreamResult, Row]]:
    """Give the best row of each stream among those that `dandify convert` writes."""
    found = {s.name: (s, s.best(result.objective, written=True)) for s in result.streams}
    return {name: (stream, row) for name, (stream, row) in found.items() if row is not None}


def _like(material: Material, streams: Sequence[StreamResult]) -> StreamResult | None:
    """Give the measured stream that stands for another, of as many axes: of its name, or of its kind, type and rate."""
    same = [
        s for s in streams
        if s.rows and s.backend == material.backend and s.dtype == material.dtype.str
        and len(s.shape) == len(material.shape)
    ]  # fmt: skip
    named = [s for s in same if s.name == material.name]
    kindred = [s for s in same if s.kind == material.kind != _ANYTHING and _alike(s.rate_hz, material.rate_hz)]
    return next(iter(named or kindred), None)


def _alike(rate: float | None, other: float | None) -> bool:
    return rate == other or (rate is not None and other is not None and 0.5 < rate / other < 2)
