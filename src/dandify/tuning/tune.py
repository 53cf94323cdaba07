"""Tunes streams: takes a sample of each, races the candidates on it, and gives rows."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, prod, sqrt
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest
from dandify.sources.arrays import MemoryArray
from dandify.store.compression import DEFAULTS, encoder_for
from dandify.store.measure import measure
from dandify.store.shapes import HDF5_LIMITS, ZARR_LIMITS
from dandify.store.survey import after, choose_divide, choose_recentre, survey_source
from dandify.store.transforms import DIVIDE, RECENTRE, Transform, transformable
from dandify.tuning.candidates import (
    DEFAULT,
    Candidate,
    candidates_for,
    default_image_chunks,
    shapes_for,
    usual_candidate,
)
from dandify.tuning.codecs import Codec, codecs_for
from dandify.tuning.index import files_of
from dandify.tuning.material import LEAST_BYTES, Archive, Material
from dandify.tuning.objective import require_objective
from dandify.tuning.race import ALL, Race, Standing
from dandify.tuning.readers import LEVELS
from dandify.tuning.result import Row, StreamResult, Tried, TuningResult, WindowInfo
from dandify.tuning.sampling import Sample, allowance, take_sample
from dandify.tuning.schedule import final_megabytes
from dandify.tuning.timing import megabytes_a_second

_MEMORY_BYTES = 1_000_000_000
_BUSY = 1.5  # load of a core: a run a minute before leaves about one
_MOST_UNFIT = 4  # of such notes
_STOPPED = "stopped before it was measured"


@dataclass(frozen=True)
class TuningStep:
    """What is known while measuring.

    Attributes
    ----------
    stream
        Name of the stream.
    round, rounds
        Number of the round that is done, from 1, and of all.
    rows
        The best so far, the smallest first: name, ratio, MB/s of a core.
    """

    stream: str
    round: int
    rounds: int
    rows: tuple[tuple[str, float, float], ...]


Progress = Callable[[TuningStep], None]


def tune_materials(
    materials: Sequence[Material],
    *,
    objective: str,
    readers: str,
    budget_s: float,
    seed: int,
    workers: int,
    archive: Archive,
    progress: Progress | None = None,
) -> TuningResult:
    """Measure streams one after another.

    Parameters
    ----------
    materials
        The streams.
    objective
        ``balanced``, ``size``, ``speed`` or ``read``.
    readers
        ``any``, ``plugins`` or ``python``.
    budget_s
        Seconds for all of them.
    seed
        Of the places that are sampled.
    workers
        Threads.
    archive
        For reading from an archive.
    progress
        Called after each round.

    Raises
    ------
    BadRequest
        If the request cannot be carried out.
    BadSource
        If a stream cannot be read.
    """
    require_objective(objective)
    if readers not in LEVELS:
        raise BadRequest(f"no readers {readers!r}", remedy=f"one of {', '.join(LEVELS)}")
    if budget_s <= 0:
        raise BadRequest(f"a budget of {budget_s:g} s", remedy="give it some seconds: --budget 60s")
    begun, notes = time.perf_counter(), _busy()
    results: list[StreamResult] = []
    stopped = False
    large = [m for m in materials if _too_small(m) is None]
    total = sum(m.raw_bytes for m in large)
    weights = sum(sqrt(m.raw_bytes) for m in large)
    for material in materials:
        reason = _too_small(material) or (_STOPPED if stopped else None)
        if reason:
            results.append(replace(_described(material), skipped=reason))
            continue
        try:
            found, stopped = _tune(
                material, objective=objective, readers=readers, seed=seed, workers=workers, archive=archive,
                seconds=budget_s * sqrt(material.raw_bytes) / weights,
                allowed=material.raw_bytes * allowance(total) // total, progress=progress,
            )  # fmt: skip
        except KeyboardInterrupt:  # while its sample was read: what was measured of those before stays
            found, stopped = replace(_described(material), skipped=_STOPPED), True
        results.append(found)
    return TuningResult(
        tuple(results), objective, readers, seed, budget_s, archive, workers, time.perf_counter() - begun, stopped,
        notes=notes,
    )  # fmt: skip


def _busy() -> tuple[str, ...]:
    """Say that other programs are at work, where the system tells."""
    load, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, os.cpu_count() or 1
    if load < _BUSY * cores:
        return ()
    said = f"the load of this machine was {load:.1f} on {cores} cores when this began"
    return (f"{said}: speeds on all cores and times of reading are what was left of it",)


def _too_small(material: Material) -> str | None:
    if material.raw_bytes < LEAST_BYTES or not prod(material.shape):
        return f"too short to sample: {material.raw_bytes} bytes are written as they are, in one piece"
    return None


def _described(material: Material) -> StreamResult:
    return StreamResult(
        material.name, material.kind, material.backend, material.path, material.shape, material.dtype.str,
        material.raw_bytes, material.rate_hz,
    )  # fmt: skip


def _tune(
    material: Material, *, objective: str, readers: str, seed: int, workers: int, archive: Archive, seconds: float,
    allowed: int, progress: Progress | None,
) -> tuple[StreamResult, bool]:  # fmt: skip
    notes: list[str] = []
    begun = time.monotonic()
    sample = take_sample(
        material, allowed, seed, rows=max(shape[material.leading - 1] for shape in shapes_for(material)),
        measured_bytes=int(final_megabytes(inf, seconds, objective) * 1e6),
    )  # fmt: skip
    applied = transforms_of(material, sample)
    default = _default(material, sample, workers)
    candidates, left_out = _candidates(material, readers, applied, default)
    notes += _remarks(sample, material, applied)

    def told(number: int, rounds: int, standings: Sequence[Standing]) -> None:
        if progress is not None:
            progress(TuningStep(material.name, number + 1, rounds, _leaders(race, standings)))

    with tempfile.TemporaryDirectory(prefix="dandify-tune-") as folder:
        race = Race(
            material,
            [w.values for w in sample.windows],
            applied,
            [w.weight for w in sample.windows],
            objective,
            workers,
            archive,
            Path(folder),
            told,
        )
        race.run(candidates, seconds, begun=begun)
    notes += [f"{name} cannot encode this: {reason}" for name, reason in race.unfit.items()][:_MOST_UNFIT]
    if race.late:
        unseen = sum(not s.tally.raw for s in race.standings)
        some = f", and {unseen} of {len(race.standings)} candidates not at all" if unseen else ""
        notes.append(
            f"its part of the budget, {seconds:.2g} s, was too short for this machine: not all were measured to the "
            f"end{some}; give it more by --budget, or measure when nothing else is at work"
        )
    rows = sorted((_row(race, s) for s in race.standings if s.final), key=lambda r: (r.stored_bytes, r.name))
    tried = [
        Tried(s.candidate.name, 1 / s.tally.fraction, race.encode_mbs(s), s.round + 1)
        for s in race.standings if not s.final and s.tally.raw
    ]  # fmt: skip
    result = replace(
        _described(material), rows=tuple(rows), tried=tuple(sorted(tried, key=lambda t: -t.ratio)),
        windows=tuple(
            WindowInfo(tuple(s.start for s in w.region), w.values.shape, w.place, w.weight) for w in sample.windows
        ),
        touched_bytes=sample.touched_bytes, histogram=_histogram(sample), missing=_missing(left_out),
        faults=tuple(race.faults), notes=tuple(notes),
    )  # fmt: skip
    return result, race.stopped


def _candidates(
    material: Material, readers: str, applied: dict[tuple[str, ...], tuple[Transform, ...]], default: Candidate | None
) -> tuple[list[Candidate], tuple[Codec, ...]]:
    """All candidates, with what there is to compare with."""
    shapes = list(shapes_for(material))
    if default is not None and default.chunks not in shapes:
        shapes.append(default.chunks)
    names = [names[0] for names in applied if len(names) == 1]
    found, left_out = candidates_for(material, readers, names, shapes)
    kept = [c for c in found if c.transforms in applied]
    if default is not None:
        kept = [replace(c, role=DEFAULT) if c.name == default.name else c for c in kept]
        if not any(c.role == DEFAULT for c in kept):
            kept.append(default)
    usual = usual_candidate(material)
    return kept + ([usual] if usual is not None else []), left_out


def _default(material: Material, sample: Sample, workers: int) -> Candidate | None:
    """Plan as `convert` does when nothing is asked for, on the sample's windows."""
    signals = material.inner <= 1
    codecs = {
        c.key: c
        for c in codecs_for(material.backend, "any", material.dtype, signals=signals, raw_bytes=material.raw_bytes)
    }
    if material.backend == "ome-zarr":
        return Candidate(codecs["blosc-zstd"], default_image_chunks(material), role=DEFAULT)
    compression, backend = DEFAULTS[material.backend], material.backend
    joined = _Like(np.concatenate([w.values for w in sample.windows], material.leading - 1), material.shape)
    planned = measure(
        joined, material.dtype,
        lambda pieces: encoder_for(backend, compression, material.dtype.itemsize, lambda: pieces),
        memory_bytes=_MEMORY_BYTES, workers=workers, rate_hz=material.rate_hz, name=material.name,
        limits=HDF5_LIMITS if backend == "hdf5" else ZARR_LIMITS,
    )  # fmt: skip
    encoder: Any = planned.encoder
    inner = getattr(encoder, "encoder", encoder)
    key = next((k for k, c in codecs.items() if _same_encoder(c, inner, material)), None)
    return None if key is None else Candidate(codecs[key], planned.plan.chunks, role=DEFAULT)


class _Like(MemoryArray):
    """Windows put in the place of a stream of some shape, for a plan that looks at its start, middle and end."""

    def __init__(self, windows: NDArray[Any], shape: tuple[int, ...]) -> None:
        super().__init__(windows)
        object.__setattr__(self, "_shape", shape)

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self._shape  # type: ignore[attr-defined]  # set past the frozen dataclass
        return shape

    def read(self, region: Any) -> NDArray[Any]:
        moved = []
        for part, length, there in zip(region, self.shape, self.values.shape, strict=True):
            size = min(part.stop - part.start, there)
            start = round(part.start / max(1, length - size) * (there - size)) if length > size else 0
            moved.append(slice(start, start + size))
        found = self.values[tuple(moved)]
        for axis, part in enumerate(region):  # a sample that is shorter than what is asked for is repeated
            wanted = part.stop - part.start
            if found.shape[axis] < wanted:
                found = np.take(found, range(wanted), axis, mode="wrap")
        return found


def _same_encoder(codec: Codec, encoder: Any, material: Material) -> bool:
    """Whether a codec's encoder is the one that was chosen, but for what it has learnt."""
    piece = np.zeros((1,) * len(material.shape), material.dtype)
    made = codec.make([piece])
    return bool(getattr(getattr(made, "encoder", None), "name", None) == encoder.name)


def transforms_of(material: Material, sample: Sample) -> dict[tuple[str, ...], tuple[Transform, ...]]:
    """Give every choice of transforms that changes something, by their names; none is the first.

    Parameters
    ----------
    material
        The stream, with the transforms that its output could hold.
    sample
        For whose values they hold.
    """
    applied: dict[tuple[str, ...], tuple[Transform, ...]] = {(): ()}
    if not material.transforms or not transformable(material.dtype):
        return applied
    joined = np.concatenate([w.values for w in sample.windows], material.leading - 1)
    found = survey_source(MemoryArray(joined), name=material.name, workers=1)
    divide = choose_divide(found, movable=RECENTRE in material.transforms) if DIVIDE in material.transforms else None
    if divide is not None:
        applied[(DIVIDE,)] = (divide,)
    if RECENTRE in material.transforms:
        for names, before in list(applied.items()):
            recentre = choose_recentre(after(found, divide) if names else found, material.dtype)
            if recentre is not None:
                applied[(*names, RECENTRE)] = (*before, recentre)
    return applied


def _row(race: Race, one: Standing) -> Row:
    material, candidate, tally = race.material, one.candidate, one.tally
    stored = race.stored_bytes(one)
    size = prod(candidate.chunks)  # a chunk of the sample may be smaller
    reads = tuple(
        race.cost(
            p,
            one,
            stored,
            median(run.chunk_s[p.name] * size / prod(run.chunks) for run in one.machine if p.name in run.chunk_s),
        )
        for p in race.patterns
    )
    interval = None if sum(tally.raw.values()) >= ALL * material.raw_bytes else tally.interval
    return Row(
        name=candidate.name, codec=candidate.codec.title, compression=candidate.codec.compression,
        chunks=candidate.chunks, transforms=candidate.transforms, role=candidate.role, ratio=1 / tally.fraction,
        ratio_low=1 / interval[1] if interval else None, ratio_high=1 / interval[0] if interval else None,
        stored_bytes=stored, smaller_bytes=race.smaller_bytes(one),
        files=files_of(material, candidate.chunks), encode_mbs=race.encode_mbs(one),
        decode_mbs=tally.decode_mbs,
        write_mbs=megabytes_a_second([(run.timing, run.raw_bytes) for run in one.machine]),
        prove_mbs=race.prove_mbs(one), by_engine=one.machine[0].by_engine, reads=reads, figures=race.figures(one),
        readers=candidate.codec.readers(material.backend),
    )  # fmt: skip


def _leaders(race: Race, standings: Sequence[Standing], most: int = 10) -> tuple[tuple[str, float, float], ...]:
    measured = [s for s in standings if s.tally.raw]
    last = max((s.round for s in measured), default=0)
    found = [(s.candidate.name, 1 / s.tally.fraction, race.encode_mbs(s)) for s in measured if s.round == last]
    return tuple(sorted(found, key=lambda row: -row[1])[:most])


def _remarks(sample: Sample, material: Material, applied: dict[tuple[str, ...], tuple[Transform, ...]]) -> list[str]:
    notes = []
    values = [w.values for w in sample.windows]
    if all((v == v.flat[0]).all() for v in values) and len({v.flat[0].tobytes() for v in values}) == 1:
        notes.append("all values of the sample are the same: whatever is chosen, next to nothing is stored")
    elif material.dtype.kind == "f" and any(np.isnan(v).any() for v in values):
        share = sum(int(np.isnan(v).sum()) for v in values) / sum(v.size for v in values)
        notes.append(f"{share:.1%} of the values are NaN; they come back bit by bit")
    for transforms in list(applied.values())[1:2]:
        said = " and ".join(f"{t.name} (factor {t.factor}, origin {t.origin})" for t in transforms)
        notes.append(
            f"exact for the sample: {said}; convert proves it for all values, or leaves it out: to read them once more "
            "is in the time to write"
        )
    if material.dtype.byteorder == ">":
        notes.append("the values are big-endian, and are stored so")
    return notes


def _histogram(sample: Sample) -> tuple[tuple[int, ...], ...]:
    """Count each value of each byte, the lowest byte first."""
    windows = [w.values for w in sample.windows]
    size, big = windows[0].itemsize, windows[0].dtype.byteorder == ">"
    counts = np.zeros((size, 256), np.int64)
    for values in windows:
        planes = values.reshape(-1).view(np.uint8).reshape(-1, size)
        for k in range(size):
            counts[size - 1 - k if big else k] += np.bincount(planes[:, k], minlength=256)
    return tuple(tuple(map(int, row)) for row in counts)


def _missing(codecs: Sequence[Codec]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{c.title}: {c.missing}" for c in codecs))
