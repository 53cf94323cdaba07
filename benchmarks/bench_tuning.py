"""`dandify tune` beside an exhaustive run over the whole file: what was predicted, and how good the choice is."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil, exp, prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import Options, machine, table

BUDGET_S = 30.0
TRIED = ("gzip:isal", "gzip:planar", "gzip:libdeflate-1", "gzip:libdeflate-6")
"""Encoders that are tried on the whole file in every shape; the rows of the tuner are tried, too."""
RATIO, WRITE, GAP, TOUCHED = 0.02, 0.25, 0.03, 0.02  # what was promised
LARGE_BYTES = 2e9
LEAST_REPEATS = 7  # turns of writing the whole file
LEAST_CPU_S = 0.3  # of a turn: what takes less is written again and again, and counted once
CORE_REPEATS = 3


@dataclass
class Whole:
    """What a candidate does on the whole file."""

    candidate: Any
    stored_bytes: int
    encode_s: float


def material_of(one: Any, raw: Path) -> Any:
    """The raw file as the tuner sees it."""
    from dandify.sources.arrays import MemoryArray
    from dandify.tuning.material import Material

    recording = one.kind == "recording"
    return Material(
        one.name, "ElectricalSeries" if recording else "TimeSeries", MemoryArray(one.map(raw)), np.dtype(one.dtype),
        "hdf5", raw, one.rate_hz, len(one.row), ("divide", "recentre") if recording else (),
    )  # fmt: skip


def tuned(material: Any) -> Any:
    """Tune one stream."""
    from dandify.tuning.material import Archive
    from dandify.tuning.tune import tune_materials

    return tune_materials(
        [material], objective="balanced", readers="any", budget_s=BUDGET_S, seed=0, workers=os.cpu_count() or 1,
        archive=Archive(),
    )  # fmt: skip


def whole_run(candidates: list[Any], material: Any, values: dict[tuple[str, ...], Any]) -> dict[str, Whole]:
    """Encode all of the file with every candidate: bytes, and CPU seconds."""
    from dandify.tuning.trial import chunks_of, learnt_from

    def encode(candidate: Any) -> Whole:
        data = values[candidate.transforms]
        coder = candidate.codec.make(learnt_from([data], candidate.chunks, 0))  # as `convert` does
        pieces = chunks_of(data, candidate.chunks, 0)
        begun = time.thread_time()
        stored = sum(len(coder.encode(piece)) for piece in pieces)
        return Whole(candidate, stored, time.thread_time() - begun)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = list(pool.map(encode, candidates))
    return {one.candidate.name: one for one in found}


def judged(one: Whole, material: Any) -> Any:
    """Figures of a whole run, as the objective takes them: measured sizes and speeds, decoding as usual."""
    from dandify.store.measure import INDEX_BYTES
    from dandify.tuning.material import Archive
    from dandify.tuning.objective import Figures
    from dandify.tuning.proving import usual_s
    from dandify.tuning.reading import count, patterns_of

    chunks = one.candidate.chunks
    number = prod(ceil(n / c) for n, c in zip(material.shape, chunks, strict=True))
    stored = one.stored_bytes + INDEX_BYTES * number
    chunk_s = prod(chunks) * material.dtype.itemsize / 1e6 / one.candidate.codec.decode_mbs
    reads = [count(p, material, chunks, stored, chunk_s, Archive()) for p in patterns_of(material)]
    write_s = one.encode_s + usual_s(one.candidate.transforms) * material.raw_bytes / 1e6
    return Figures(stored, write_s, tuple(s for r in reads for s in (r.local_s, r.archive_s)))


def written_whole(
    candidates: list[Any], data: Any, values: dict[tuple[str, ...], Any], applied: dict[tuple[str, ...], Any],
    repeats: int,
) -> dict[str, list[Any]]:  # fmt: skip
    """Write all of the file on all cores by each candidate in turn: what each turn took, by name.

    That is what a prediction is of, done with the whole file: all values are read to prove the transforms, if there
    are any, and then read again from memory, changed, cut, encoded in threads and written to a file, by the code of
    `convert`. What `convert` does besides is in neither: reading from a disk, building the NWB file, waiting until the
    disk has it, verifying. A first turn counts for nothing.
    """
    from dandify.sources.arrays import MemoryArray
    from dandify.tuning.machine import changed, written
    from dandify.tuning.proving import proof
    from dandify.tuning.timing import Timing
    from dandify.tuning.trial import learnt_from

    workers, source = os.cpu_count() or 1, MemoryArray(data)
    coders = {c.name: c.codec.make(learnt_from([values[c.transforms]], c.chunks, 0)) for c in candidates}
    found: dict[str, list[Any]] = {c.name: [] for c in candidates}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(-1, repeats):
            for one in candidates if turn % 2 == 0 else candidates[::-1]:
                chunks = tuple(map(min, one.chunks, data.shape))
                with written(
                    coders[one.name].encoder, changed(source, applied[one.transforms]), chunks, backend="hdf5",
                    workers=workers, folder=Path(folder), least_cpu_s=LEAST_CPU_S if turn >= 0 else 0.0,
                ) as (_, timing, times):  # fmt: skip
                    pass
                proving = proof(source, workers=workers) if one.transforms else Timing(0.0, 0.0)
                if turn >= 0:
                    found[one.name].append(timing * (1 / times) + proving)
    return found


def on_one_core(candidate: Any, data: Any, values: dict[tuple[str, ...], Any], transforms: Any) -> float:
    """Encode all of the file in one thread, nothing beside it; with its transforms and their proof: CPU seconds."""
    from dandify.tuning.proving import core_s
    from dandify.tuning.trial import chunks_of, learnt_from

    coder = candidate.codec.make(learnt_from([values[candidate.transforms]], candidate.chunks, 0))
    pieces = chunks_of(values[candidate.transforms], candidate.chunks, 0)

    def encode() -> float:
        begun = time.thread_time()
        for piece in pieces:
            coder.encode(piece)
        return time.thread_time() - begun

    with ThreadPoolExecutor(1) as alone:  # in the main thread, some codecs use threads of their own
        seconds = [alone.submit(encode).result() for _ in range(CORE_REPEATS)]
    return median(seconds) + core_s(data, transforms) * data.nbytes / 1e6


def compare(one: Any, raw: Path, options: Options, *, everything: bool) -> tuple[list[str], list[str]]:
    """Give a row of the table, and what missed its promise."""
    from dandify.tuning.candidates import candidates_for, shapes_for
    from dandify.tuning.objective import best_of, score
    from dandify.tuning.sampling import Sample, Window
    from dandify.tuning.tune import transforms_of

    material = material_of(one, raw)
    result = tuned(material)
    (stream,) = result.streams
    best = stream.best("balanced")
    data = np.asarray(material.array.values)
    applied = transforms_of(material, Sample((Window((), "all", data, 1.0),), 0, True))
    values = {(): data}
    for names, transforms in applied.items():
        for transform in transforms:
            values[names] = transform.apply(values.get(names, data))
    shapes = list(dict.fromkeys([*shapes_for(material), *(r.chunks for r in stream.rows)]))
    single = [names[0] for names in values if len(names) == 1]
    names = {r.name for r in stream.rows}
    candidates = [
        c for c in candidates_for(material, "any", single, shapes)[0]
        if c.transforms in values and (c.name in names or (everything and c.codec.key in TRIED))
    ]  # fmt: skip
    found = whole_run(candidates, material, values)
    errors = {r.name: r.ratio / (material.raw_bytes / found[r.name].stored_bytes) - 1 for r in stream.rows
              if r.name in found}  # fmt: skip
    truth = best_of(list(found.values()), "balanced", lambda w: judged(w, material), lambda w: w.candidate.name)
    gap = exp(
        score("balanced", judged(found[best.name], material)) - score("balanced", judged(truth, material))
    ) - 1  # fmt: skip
    chosen = found[best.name]
    core = (material.raw_bytes / 1e6 / best.encode_mbs) / on_one_core(
        chosen.candidate, data, values, applied[best.transforms]
    ) - 1  # fmt: skip
    timed = [r for r in stream.rows if r is best or r.role == "default"]
    turns = written_whole(
        [found[r.name].candidate for r in timed], data, values, applied, max(LEAST_REPEATS, options.repeats)
    )
    said = {r.name: material.raw_bytes / 1e6 / r.write_mbs for r in timed}
    walls = {name: sorted(t.wall_s for t in turns[name]) for name in said}
    wrong = {name: said[name] / median(walls[name]) - 1 for name in said}
    usual = next((wrong[r.name] for r in timed if r.role == "default"), None)
    touched = stream.touched_bytes / material.raw_bytes
    misses = []
    for name, value, promised in (
        ("ratio", errors[best.name], RATIO), ("CPU time of one core", core, WRITE),
        ("time to write", wrong[best.name], WRITE), ("time to write what convert does unasked", usual or 0.0, WRITE),
        ("choice", gap, GAP),
    ):  # fmt: skip
        if abs(value) > promised:
            misses.append(f"{one.name}: {name} {value:+.1%}, {promised:.0%} promised")
            if name.startswith("time to write"):
                row = best.name if name == "time to write" else next(r.name for r in timed if r.role == "default")
                cpu = median(t.cpu_s for t in turns[row])
                misses[-1] += f"; {walls[row][0]:.3f}-{walls[row][-1]:.3f} s by the clock, {cpu:.3f} s of CPU time"
    if material.raw_bytes > LARGE_BYTES and touched > TOUCHED:
        misses.append(f"{one.name}: {touched:.1%} touched")
    if gap > GAP:
        misses[-1] += f"; best is {truth.candidate.name}, chosen {best.name}"
    own = walls[best.name]
    cells = [
        one.name, f"{material.raw_bytes / 1e6:.0f}", f"{touched:.1%}", best.name, f"{best.ratio:.3f}",
        f"{errors[best.name]:+.2%}", f"{max(map(abs, errors.values())):.2%}", f"{core:+.0%}",
        f"{said[best.name]:.3f} / {median(own):.3f}", f"{wrong[best.name]:+.0%}", f"{own[0]:.3f}-{own[-1]:.3f}",
        "" if usual is None else f"{usual:+.0%}", str(len(found)), f"{gap:.2%}", f"{result.seconds:.0f}",
        f"{_load():.1f}",
    ]  # fmt: skip
    return cells, misses


def compare_image(name: str, values: Any) -> tuple[list[str], list[str]]:
    """Tune an image, then write all of it: a row of the table of images, and what missed its promise."""
    from dandify.runs.image_materials import image_material
    from dandify.sources.arrays import MemoryArray
    from dandify.tuning.timing import time_call

    material = image_material(name, MemoryArray(values), "zyx", {"z": 2.0, "y": 1.0, "x": 1.0}, Path(name))
    result = tuned(material)
    best = result.streams[0].best("balanced", written=True)
    walls, stored = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for k in range(-1, LEAST_REPEATS):  # the first one counts for nothing
            path = Path(folder) / f"{k}.ome.zarr"
            timing = time_call(
                lambda to=path: material.write_image(values, best.chunks, best.compression, to, os.cpu_count() or 1)
            )
            walls += [timing.wall_s] if k >= 0 else []
            files = [f.stat().st_size for f in path.rglob("*") if f.is_file() and not f.name.endswith(("json", ".xml"))]
            stored = sum(files)
    said = best.stored_bytes + best.smaller_bytes
    predicted, actual = material.raw_bytes / 1e6 / best.write_mbs, median(walls)
    size, wrong, walls = said / stored - 1, predicted / actual - 1, sorted(walls)
    misses = [
        f"{name}: {what} {value:+.1%}, {promised:.0%} promised"
        for what, value, promised in (("size", size, RATIO), ("time to write", wrong, WRITE)) if abs(value) > promised
    ]  # fmt: skip
    return [
        name, f"{material.raw_bytes / 1e6:.0f}", best.name, f"{said / 1e6:.1f} / {stored / 1e6:.1f}", f"{size:+.2%}",
        f"{predicted:.2f} / {actual:.2f}", f"{wrong:+.0%}", f"{walls[0]:.2f}-{walls[-1]:.2f}", f"{result.seconds:.0f}",
        f"{_load():.1f}",
    ], misses  # fmt: skip


def run(options: Options) -> None:
    """Tune each set, and files of the sizes asked for by ``--gb``, then encode all of them; and write images."""
    from benchmarks.bench_compression import IMAGES

    rows, images, misses = [], [], []
    pictures = [IMAGES[name] for name in (options.sets or IMAGES) if name in IMAGES]
    signals = replace(options, sets=tuple(name for name in options.sets if name not in IMAGES))
    load = _load()
    for one in signals.chosen() if signals.sets or not options.sets else []:
        for megabytes, everything in [(options.megabytes, True), *((1e3 * g, False) for g in options.gigabytes)]:
            if one.clip is not None and not everything:
                continue  # a clip is as long as it is
            with tempfile.TemporaryDirectory() as folder:
                raw = Path(folder) / "raw.dat"
                one.write(raw, megabytes)
                row, missed = compare(one, raw, options, everything=everything)
                rows.append(row)
                misses += missed
    for picture in pictures:
        row, missed = compare_image(picture.name, picture.values(options.megabytes))
        images.append(row)
        misses += missed
    print(f"tune, balanced, readers any, budget {BUDGET_S:g} s; load {load:.1f} at the start. {machine()}")
    print(
        "predicted against the whole file; 'tried' candidates were encoded over all of it. 'write s' is by the clock,"
    )
    print(
        f"all cores, the median of {max(LEAST_REPEATS, options.repeats)} turns in alternating order: transforms are "
        "proved on all values, which are read from"
    )
    print(
        "memory, changed, encoded, and written to a file that the disk need not have yet. 'wall s': the fastest and "
        "the slowest turn."
    )
    print("'unasked' is the error of the same for what convert does unasked, 'core' that of the CPU time on one core. "
          "'load' is that of the machine at the end\n")  # fmt: skip
    head = ["set", "MB", "touched", "chosen", "ratio", "error", "worst row", "core", "write s: said / was", "error",
            "wall s", "unasked", "tried", "from best", "took s", "load"]  # fmt: skip
    if rows:
        print(table(head, rows, markdown=options.markdown))
    if images:
        print("images, as OME-Zarr with all resolutions\n")
        head = ["image", "MB", "chosen", "MB: said / was", "error", "write s: said / was", "error", "wall s", "took s",
                "load"]  # fmt: skip
        print(table(head, images, markdown=options.markdown))
    for line in misses:
        print(f"missed: {line}")


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
