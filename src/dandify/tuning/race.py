"""Successive halving: all candidates on a little, half of them on twice as much, the last few on all windows, again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import ceil, copysign, inf, log, prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.store.measure import INDEX_BYTES
from dandify.store.transforms import Transform, undo
from dandify.tuning.all_cores import AllCores
from dandify.tuning.candidates import Candidate
from dandify.tuning.coders import Coder
from dandify.tuning.machine import MachineRun
from dandify.tuning.material import Archive, Material, fewer_rows, side_by_side
from dandify.tuning.objective import OBJECTIVES, Figures, best_of, score
from dandify.tuning.proving import core_s, usual_s
from dandify.tuning.reading import Pattern, ReadCost, count, patterns_of
from dandify.tuning.schedule import TIMED_MB, plan_rounds
from dandify.tuning.trial import (
    NotIdentical,
    Tally,
    Unfit,
    learnt_from,
    require_same,
    run,
    time_chunks,
    whole_chunks,
)

USUAL = 3.0  # times faster or slower than stated: as usual, since codecs differ from data to data by twice
STEP = 2.0  # of a speed beyond: choices change with these steps alone
_LATE = 3.0  # times the budget: what is not measured then is left out
_GRACE_S = 2.0
_CALIBRATION_MB = 0.5
_LEAST_TURNS = 2  # of timing finalists, though the budget be over: of one alone, nothing tells what it is
_READ_TURNS = 2  # in which files are read, too,
_READ_SHARE = 0.2  # for so much of the time that they are written: readers take several times as long as decoding does
_ENOUGH_S = 1.0  # of CPU time: what took so long on all cores is not repeated
_IMAGE_MB_A_SECOND, _MOST_IMAGE_MB = 8.0, 128.0  # of the budget, that are written of an image
_WINDOW_MB = 2.0  # of a window, before another one is measured
ALL = 0.999  # of a window, or a stream: so much counts as all of it


@dataclass
class Standing:
    """A candidate in the race.

    Attributes
    ----------
    candidate, coder
        What is measured.
    tally
        Sizes and times on one core.
    machine
        Runs on all cores, of finalists.
    round
        The last in which it took part; the number of rounds for finalists.
    """

    candidate: Candidate
    coder: Coder
    tally: Tally = field(default_factory=Tally)
    machine: list[MachineRun] = field(default_factory=list)
    round: int = 0

    @property
    def final(self) -> bool:
        """It was measured on all windows and on all cores."""
        return bool(self.machine)


@dataclass(frozen=True)
class Fault:
    """A candidate whose round trip is not bit-identical: reported, and never a result."""

    candidate: str
    what: str


@dataclass
class Race:
    """A race on the sample of one stream.

    Parameters
    ----------
    material
        The stream.
    windows
        Values of each window.
    applied
        Transforms by the names of those that a candidate may ask for; at least those of ``()``.
    weights
        Of the windows.
    objective
        By which candidates are kept.
    workers
        Threads.
    archive
        For reading.
    folder
        For files, which are removed.
    on_round
        Called with the number of the round, the number of rounds, and all standings.
    pace
        How fast this machine is; 1 is that of the stated figures.
    faults, unfit
        Candidates that did not give back what was put in, and those that cannot encode these chunks, with the reason.
    standings
        Candidates that took part.
    stopped, late
        Ctrl-C came, or the budget was over, before all was measured.
    """

    material: Material
    windows: list[NDArray[Any]]
    applied: Mapping[tuple[str, ...], tuple[Transform, ...]]
    weights: list[float]
    objective: str
    workers: int
    archive: Archive
    folder: Path
    on_round: Callable[[int, int, Sequence[Standing]], None] = lambda *_: None
    pace: float = 1.0
    faults: list[Fault] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)
    stopped: bool = False
    late: bool = False
    unfit: dict[str, str] = field(default_factory=dict)
    _deadline: float = 0.0
    _extra_s: dict[tuple[str, ...], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.patterns = patterns_of(self.material)
        self._order = _spread(len(self.weights))
        self._all_cores = AllCores(
            self.material, self._joined, self.applied, self.patterns, self.workers, self.folder
        )  # fmt: skip

    def run(self, candidates: Sequence[Candidate], seconds: float, *, begun: float | None = None) -> None:
        """Race for so many seconds of an idle machine of usual speed; Ctrl-C ends it, and what was measured stays.

        What is measured, and the sizes by which it is judged, depend on the budget and on nothing that a clock says, or
        the same seed would not give the same choice. A slow or busy machine takes longer; at three times the budget, it
        is over. Only how often finalists are timed once more depends on what is left of the budget.

        Parameters
        ----------
        candidates
            That take part.
        seconds
            Of the budget.
        begun
            When these began, by `time.monotonic`; now if None.
        """
        begun = time.monotonic() if begun is None else begun
        self._deadline = begun + _LATE * seconds + _GRACE_S
        self._all_cores.image_mb = min(_MOST_IMAGE_MB, _IMAGE_MB_A_SECOND * seconds)
        try:
            self._calibrate(candidates)
            sample_mb = sum(w.nbytes for w in self.windows) / 1e6
            plan = plan_rounds(candidates, sample_mb, seconds, self.objective)
            self.standings = [self._standing(c) for c in plan.candidates]
            going = self.standings
            for number, megabytes in enumerate(plan.rounds):
                self._round(number, going, megabytes)
                self.on_round(number, len(plan.rounds) + plan.repeats, self.standings)
                going = self._kept(going, plan.kept(number))
            going = self._sized(going, plan.final_mb)
            for turn in range(plan.repeats):
                if turn >= _LEAST_TURNS and time.monotonic() > begun + seconds:
                    break
                ordered = going if turn % 2 == 0 else going[::-1]
                self._timed(turn, ordered, min(TIMED_MB, plan.final_mb))
                self._final(len(plan.rounds), ordered, plan.timed_s)
                self.on_round(len(plan.rounds) + turn, len(plan.rounds) + plan.repeats, self.standings)
                going = [s for s in going if s in self.standings]
        except KeyboardInterrupt:
            self.stopped = True

    def figures(self, one: Standing) -> Figures:
        """Give what a candidate is judged by: its sizes as measured, its speeds in steps."""
        stored = self.stored_bytes(one)
        each = 1 / self.steady(one.candidate.codec.encode_mbs, one.tally.encode_mbs) + usual_s(one.candidate.transforms)
        write = self.material.raw_bytes / 1e6 * each
        back = self.steady(one.candidate.codec.decode_mbs, one.tally.decode_mbs)
        chunk_s = prod(one.candidate.chunks) * self.material.dtype.itemsize / 1e6 / back
        reads = [self.cost(p, one, stored, chunk_s) for p in self.patterns]
        return Figures(stored, write, tuple(s for r in reads for s in (r.local_s, r.archive_s)))

    def encode_mbs(self, one: Standing) -> float:
        """Speed of one core, as measured: encoding, and before it the transforms and their proof."""
        return 1 / (1 / one.tally.encode_mbs + self._extra_s.get(one.candidate.transforms, 0.0))

    def prove_mbs(self, one: Standing) -> float | None:
        """Speed of all cores in the reading that proves transforms; None where there are none."""
        each = self._all_cores.proof(one.candidate.transforms)
        return None if each is None else 1 / max(1e-9, each.wall_s)

    def stored_bytes(self, one: Standing) -> float:
        """Size of the whole stream with a candidate, HDF5's index of its chunks included."""
        chunks = prod(ceil(n / c) for n, c in zip(self.material.shape, one.candidate.chunks, strict=True))
        index = INDEX_BYTES * chunks if self.material.backend == "hdf5" else 0
        return one.tally.fraction * self.material.raw_bytes + index

    def smaller_bytes(self, one: Standing) -> float:
        """Predict the size of an image's smaller resolutions: by those that were written, or else as its finest one."""
        raw, stored = (sum(column) for column in zip(*(run.smaller for run in one.machine), strict=True))
        return self.material.smaller_bytes * (stored / raw if raw else one.tally.fraction)

    def cost(self, pattern: Pattern, one: Standing, stored: float, chunk_s: float) -> ReadCost:
        """Cost of a way of reading."""
        return count(pattern, self.material, one.candidate.chunks, stored, chunk_s, self.archive)

    def steady(self, stated: float, measured: float) -> float:
        """Speed that choices are made by: what is usual, moved by steps of two towards what was measured.

        A timing is never twice the same. What is usual is stated for each codec; only where this machine or these data
        are more than three times as fast or slow, all other codecs being so much faster or slower, does a step follow.
        """
        off = log(max(1e-9, measured) / (stated * self.pace))
        beyond = abs(off) - log(USUAL)
        return stated if beyond < 0 else stated * STEP ** copysign(1 + int(beyond / log(STEP)), off)

    def _calibrate(self, candidates: Sequence[Candidate]) -> None:
        """Load and compile what the codecs need, on a few samples, and see how fast this machine is."""
        small = fewer_rows(self.windows[self._order[0]], self.material, _CALIBRATION_MB)
        if self.material.inner == 1:
            small = small[..., : max(1, int(_CALIBRATION_MB * 1e6 * small.shape[-1] / small.nbytes))]
        small = np.ascontiguousarray(small)
        paces: dict[str, float] = {}

        def one(candidate: Candidate) -> None:
            standing = Standing(candidate, candidate.codec.make([small]))
            for _ in range(2):  # what is loaded and compiled at first counts for nothing
                standing.tally = Tally()
                if not self._measured(standing, 0, small):
                    return
            paces[candidate.codec.key] = standing.tally.encode_mbs / candidate.codec.encode_mbs

        begun = time.monotonic()
        self._each(one, list({c.codec.key: c for c in candidates if not c.transforms}.values()))
        part = fewer_rows(self.windows[self._order[0]], self.material, TIMED_MB)
        self._extra_s = {names: core_s(part, transforms) for names, transforms in self.applied.items()}
        self._deadline += time.monotonic() - begun
        self.pace = median(paces.values()) if paces else 1.0

    def _each(self, call: Callable[[Any], None], items: Sequence[Any], *, workers: int | None = None) -> None:
        """Call for each item, in as many threads as there are workers; Ctrl-C leaves out what has not begun.

        Never in the main thread: Blosc of numcodecs would use threads of its own there, of which no clock here tells.
        """
        pool = ThreadPoolExecutor(workers or self.workers, "dandify-tune")
        try:
            for done in [pool.submit(call, item) for item in items]:
                done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _round(self, number: int, going: Sequence[Standing], megabytes: float) -> None:
        chosen = self._order[: max(1, min(len(self._order), ceil(megabytes / _WINDOW_MB)))]
        ordered = going if number % 2 == 0 else going[::-1]

        def one(standing: Standing) -> None:
            if time.monotonic() > self._deadline:
                self.late = True
                return
            standing.tally = Tally(encode=standing.tally.encode, decode=standing.tally.decode)
            for k in chosen:
                if not self._measured(standing, k, self._part(k, standing.candidate, megabytes / len(chosen))):
                    return
            standing.round = number

        self._each(one, ordered)
        self._drop_faulty()
        paces = [s.tally.encode_mbs / s.candidate.codec.encode_mbs for s in self.standings if s.tally.raw]
        self.pace = median(paces) if paces else self.pace

    def _sized(self, going: Sequence[Standing], megabytes: float) -> list[Standing]:
        """Take the sizes of finalists from all windows: of each as much, and the same whoever else takes part."""
        each = megabytes / len(self._order)
        done: set[str] = set()

        def one(standing: Standing) -> None:
            if time.monotonic() > self._deadline and standing.candidate.name not in first:
                self.late = True
                return
            tally = Tally(encode=list(standing.tally.encode), decode=list(standing.tally.decode))
            before, standing.tally = standing.tally, tally
            for k in range(len(self._order)):
                if not self._measured(standing, k, self._part(k, standing.candidate, each)):
                    standing.tally = before
                    return
            done.add(standing.candidate.name)

        # what there is to compare with, and then the best: on a busy machine, those behind it are left out
        ordered = sorted(going, key=lambda s: (not s.candidate.role, self._score(s), s.candidate.name))
        first = self._first(ordered)
        self._each(one, ordered)
        self._drop_faulty()
        return [s for s in ordered if s.candidate.name in done and s in self.standings]

    def _first(self, ordered: Sequence[Standing]) -> set[str]:
        """Name those that are measured however late it is: what there is to compare with, and the best beside it."""
        return {s.candidate.name for s in ordered[: sum(bool(s.candidate.role) for s in ordered) + 1]}

    def _score(self, one: Standing) -> float:
        """Score by the objective; nothing is known of a candidate that took part in no round."""
        return score(self.objective, self.figures(one)) if one.tally.raw else inf

    def _timed(self, turn: int, going: Sequence[Standing], megabytes: float) -> None:
        """Time finalists on one core, one after another, on chunks as long as those of the file.

        Chunks of rounds may be shorter; and beside another one, each waits for the memory that both use.
        """
        first = set() if turn else self._first(going)

        def one(standing: Standing) -> None:
            if time.monotonic() > self._deadline and standing.candidate.name not in first:
                return
            chunks, axis = standing.candidate.chunks, self.material.leading - 1
            count = max(2, ceil(megabytes * 1e6 / (prod(chunks) * self.material.dtype.itemsize)))
            pieces = [
                self._changed(p, standing.candidate.transforms) for p in whole_chunks(self.windows, chunks, axis, count)
            ]
            try:
                timed = time_chunks(standing.coder, pieces)
            except NotIdentical as error:
                self.faults.append(Fault(standing.candidate.name, str(error)))
                return
            except Unfit as error:
                self.unfit[standing.candidate.name] = str(error)
                return
            encode, decode = (timed.raw, timed.encode_s), (timed.raw, timed.decode_s)
            tally = standing.tally
            standing.tally = replace(tally, encode=[*tally.encode, encode] if turn else [encode],
                                     decode=[*tally.decode, decode] if turn else [decode])  # fmt: skip

        self._each(one, going, workers=1)
        self._drop_faulty()

    def _final(self, number: int, going: Sequence[Standing], seconds: float) -> None:
        """Write and read finalists with all cores: how long decides how much of the sample, and changes no size."""
        for standing in sorted(going, key=lambda s: not s.candidate.role):
            chosen = any(s.final and not s.candidate.role for s in going)  # at least one beside what is compared with
            if time.monotonic() > self._deadline and (standing.final or chosen):
                self.late = True
                break
            standing.round = number
            if sum(run.timing.cpu_s for run in standing.machine) > _ENOUGH_S:
                continue
            try:
                wanted_bytes = seconds * standing.tally.encode_mbs * 1e6
                read = len(standing.machine) < _READ_TURNS
                read_bytes = _READ_SHARE * seconds * standing.tally.decode_mbs * 1e6 if read else 0
                standing.machine.append(
                    self._all_cores.run(
                        standing.candidate, standing.coder, wanted_bytes, read_bytes=read_bytes, cpu_s=seconds
                    )
                )
            except NotIdentical as error:
                self.faults.append(Fault(standing.candidate.name, str(error)))
        self._drop_faulty()

    def _joined(self, megabytes: float) -> NDArray[Any]:
        """Join windows, as much of each as of all others."""
        each = megabytes / len(self.windows)
        parts = [fewer_rows(w, self.material, each) for w in self.windows]
        if self.material.inner >= 2:
            parts = side_by_side(parts, self.material.shape, self.material.leading - 1)
        return np.ascontiguousarray(np.concatenate(parts, self.material.leading - 1))

    def _standing(self, candidate: Candidate) -> Standing:
        """Make a candidate's coder learn from the beginnings of a few windows."""
        pieces = learnt_from(self.windows, candidate.chunks, self.material.leading - 1)
        return Standing(
            candidate, candidate.codec.make([self._changed(piece, candidate.transforms) for piece in pieces])
        )

    def _part(self, number: int, candidate: Candidate, megabytes: float) -> NDArray[Any]:
        """Give as much of a window as is to be measured, after the candidate's transforms.

        Of signals, whole chunks of some channels, spread over all: a chunk that is shorter than those of the file would
        become another size. Where one chunk is too much, and of frames, fewer rows.
        """
        values, axis = self.windows[number], self.material.leading - 1
        if megabytes * 1e6 >= values.nbytes * ALL:
            return self._changed(values, candidate.transforms)
        width = candidate.chunks[-1]
        if values.ndim == axis + 2 and values.nbytes > megabytes * 1e6 and width < values.shape[-1]:
            groups = values.shape[-1] // width
            wanted = max(1, int(megabytes * 1e6 / (values.nbytes / values.shape[-1] * width)))
            if wanted < groups:
                first = [groups * (2 * k + 1) // (2 * wanted) * width for k in range(wanted)]
                values = np.concatenate([values[..., at : at + width] for at in first], -1)
        return self._changed(np.ascontiguousarray(fewer_rows(values, self.material, megabytes)), candidate.transforms)

    def _changed(self, values: NDArray[Any], names: tuple[str, ...]) -> NDArray[Any]:
        """Apply transforms by their names, and prove that they can be undone."""
        transforms = self.applied[names]
        changed = values
        for transform in transforms:
            changed = transform.apply(changed)
        if transforms:
            require_same(values, undo(transforms, changed))
        return changed

    def _measured(self, standing: Standing, number: int, values: NDArray[Any]) -> bool:
        try:
            run(
                standing.candidate, standing.coder, number, values, self.weights[number], standing.tally,
                self.material.leading - 1,
            )  # fmt: skip
        except NotIdentical as error:
            self.faults.append(Fault(standing.candidate.name, str(error)))
            return False
        except Unfit as error:
            self.unfit[standing.candidate.name] = str(error)
            return False
        return True

    @property
    def _faulty(self) -> set[str]:
        return {f.candidate for f in self.faults} | set(self.unfit)

    def _drop_faulty(self) -> None:
        self.standings = [s for s in self.standings if s.candidate.name not in self._faulty]

    def _kept(self, going: Sequence[Standing], wanted: int) -> list[Standing]:
        """Keep the best by the objective, the best by each other one, and what is there to compare with."""
        there = [s for s in going if s.candidate.name not in self._faulty]
        alive = [s for s in there if s.tally.raw]
        figures = {s.candidate.name: self.figures(s) for s in alive}
        ranked = sorted(alive, key=lambda s: (score(self.objective, figures[s.candidate.name]), s.candidate.name))
        kept = {s.candidate.name for s in ranked[:wanted]}
        for other in OBJECTIVES if alive else ():
            kept.add(best_of(alive, other, self.figures, lambda s: s.candidate.name).candidate.name)
        return [s for s in there if s.candidate.name in kept or s.candidate.role] or there[:1]


def _spread(count: int) -> list[int]:
    """Numbers from 0, each as far as may be from those before: the middle first."""
    order: list[int] = []
    left = list(range(count))
    while left:
        best = max(left, key=lambda k: (min((abs(k - o) for o in order), default=-abs(k - count // 2)), -k))
        order.append(best)
        left.remove(best)
    return order
