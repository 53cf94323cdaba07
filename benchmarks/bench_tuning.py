"""`dandify tune` beside an exhaustive run over the whole file: what was predicted, and how good the choice is."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil, exp, prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Options, machine, table

BUDGET_S = 30.0
TRIED = ("gzip:isal", "gzip:planar", "gzip:libdeflate-1", "gzip:libdeflate-6")
"""Encoders that are tried on the whole file in every shape; the rows of the tuner are tried, too."""
RATIO, WRITE, GAP, TOUCHED = 0.02, 0.25, 0.03, 0.02  # what was promised
LARGE_BYTES = 2e9
LEAST_REPEATS = 7  # of writing the whole file, which takes a fraction of a second


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
    from dandify.tuning.reading import count, patterns_of

    chunks = one.candidate.chunks
    number = prod(ceil(n / c) for n, c in zip(material.shape, chunks, strict=True))
    stored = one.stored_bytes + INDEX_BYTES * number
    chunk_s = prod(chunks) * material.dtype.itemsize / 1e6 / one.candidate.codec.decode_mbs
    reads = [count(p, material, chunks, stored, chunk_s, Archive()) for p in patterns_of(material)]
    return Figures(stored, one.encode_s, tuple(s for r in reads for s in (r.local_s, r.archive_s)))


def written_whole(candidate: Any, data: Any, repeats: int) -> list[tuple[Any, int]]:
    """Write all of the file on all cores, again and again: timings with raw bytes."""
    from dandify.sources.arrays import MemoryArray
    from dandify.tuning.machine import written
    from dandify.tuning.trial import learnt_from

    coder = candidate.codec.make(learnt_from([data], candidate.chunks, 0))
    chunks = tuple(map(min, candidate.chunks, data.shape))
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            with written(coder.encoder, MemoryArray(data), chunks, backend="hdf5", workers=os.cpu_count() or 1,
                         folder=Path(folder)) as (_, timing):  # fmt: skip
                runs.append((timing, data.nbytes))
    return runs


def compare(one: Any, raw: Path, options: Options, *, everything: bool) -> tuple[list[str], list[str]]:
    """Give a row of the table, and what missed its promise."""
    from dandify.tuning.candidates import candidates_for, shapes_for
    from dandify.tuning.machine import megabytes_a_second
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
    core = (material.raw_bytes / 1e6 / best.encode_mbs) / chosen.encode_s - 1
    runs = written_whole(chosen.candidate, values[best.transforms], max(LEAST_REPEATS, options.repeats))
    predicted, actual = (material.raw_bytes / 1e6 / mbs for mbs in (best.write_mbs, megabytes_a_second(runs)))
    wrong, walls = predicted / actual - 1, sorted(timing.wall_s for timing, _ in runs)
    touched = stream.touched_bytes / material.raw_bytes
    misses = []
    for name, value, promised in (
        ("ratio", errors[best.name], RATIO), ("CPU time to encode", core, WRITE), ("time to write", wrong, WRITE),
        ("choice", gap, GAP),
    ):  # fmt: skip
        if abs(value) > promised:
            misses.append(f"{one.name}: {name} {value:+.1%}, {promised:.0%} promised")
            if name == "time to write":  # by CPU time and by the share of the cores: which of them was wrong
                misses[-1] += f"; CPU time to encode {core:+.0%}, the runs' wall time {walls[0]:.2f}-{walls[-1]:.2f} s"
    if material.raw_bytes > LARGE_BYTES and touched > TOUCHED:
        misses.append(f"{one.name}: {touched:.1%} touched")
    if gap > GAP:
        misses[-1] += f"; best is {truth.candidate.name}, chosen {best.name}"
    cells = [
        one.name, f"{material.raw_bytes / 1e6:.0f}", f"{touched:.1%}", best.name, f"{best.ratio:.3f}",
        f"{errors[best.name]:+.2%}", f"{max(map(abs, errors.values())):.2%}", f"{core:+.0%}",
        f"{predicted:.2f} / {actual:.2f}", f"{wrong:+.0%}", f"{walls[0]:.2f}-{walls[-1]:.2f}",
        str(len(found)), f"{gap:.2%}", f"{result.seconds:.0f}",
    ]  # fmt: skip
    return cells, misses


def compare_image(name: str, values: Any) -> tuple[list[str], list[str]]:
    """Tune an image, then write all of it: a row of the table of images, and what missed its promise."""
    from dandify.runs.image_materials import image_material
    from dandify.sources.arrays import MemoryArray
    from dandify.tuning.machine import megabytes_a_second, time_call

    material = image_material(name, MemoryArray(values), "zyx", {"z": 2.0, "y": 1.0, "x": 1.0}, Path(name))
    result = tuned(material)
    best = result.streams[0].best("balanced", written=True)
    runs, stored = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for k in range(LEAST_REPEATS):
            path = Path(folder) / f"{k}.ome.zarr"
            timing = time_call(
                lambda to=path: material.write_image(values, best.chunks, best.compression, to, os.cpu_count() or 1)
            )
            runs.append((timing, values.nbytes))
            files = [f.stat().st_size for f in path.rglob("*") if f.is_file() and not f.name.endswith(("json", ".xml"))]
            stored = sum(files)
    said = best.stored_bytes + best.smaller_bytes
    predicted, actual = (material.raw_bytes / 1e6 / mbs for mbs in (best.write_mbs, megabytes_a_second(runs)))
    size, wrong, walls = said / stored - 1, predicted / actual - 1, sorted(timing.wall_s for timing, _ in runs)
    misses = [
        f"{name}: {what} {value:+.1%}, {promised:.0%} promised"
        for what, value, promised in (("size", size, RATIO), ("time to write", wrong, WRITE)) if abs(value) > promised
    ]  # fmt: skip
    return [
        name, f"{material.raw_bytes / 1e6:.0f}", best.name, f"{said / 1e6:.1f} / {stored / 1e6:.1f}", f"{size:+.2%}",
        f"{predicted:.2f} / {actual:.2f}", f"{wrong:+.0%}", f"{walls[0]:.2f}-{walls[-1]:.2f}", f"{result.seconds:.0f}",
    ], misses  # fmt: skip


def run(options: Options) -> None:
    """Tune each set, and files of the sizes asked for by ``--gb``, then encode all of them; and write images."""
    from benchmarks.bench_compression import IMAGES

    rows, images, misses = [], [], []
    pictures = [IMAGES[name] for name in (options.sets or IMAGES) if name in IMAGES]
    signals = replace(options, sets=tuple(name for name in options.sets if name not in IMAGES))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
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
        "predicted against the whole file; 'tried' candidates were encoded over all of it. Writing is the median of CPU"
    )
    print("time over the share of the cores that the least disturbed run had; 'wall' are the fastest and slowest run\n")
    head = ["set", "MB", "touched", "chosen", "ratio", "error", "worst row", "CPU", "write s: said / was", "error",
            "wall s", "tried", "from best", "took s"]  # fmt: skip
    if rows:
        print(table(head, rows, markdown=options.markdown))
    if images:
        print("images, as OME-Zarr with all resolutions\n")
        head = ["image", "MB", "chosen", "MB: said / was", "error", "write s: said / was", "error", "wall s", "took s"]
        print(table(head, images, markdown=options.markdown))
    for line in misses:
        print(f"missed: {line}")
