"""Divides a budget of seconds among rounds, by what candidates usually take: the same for the same candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

from dandify.tuning.candidates import Candidate

FINALISTS = 8
REPEATS = 3
_LEAST_RUNS = ((20.0, REPEATS, 0.3), (3.0, 2, 0.12), (0.0, 1, 0.08))
"""Seconds of a budget, and for these the least runs of a finalist and CPU seconds of one on all cores: of one run
nothing tells what it is, and in a short one threads and files are only begun."""
LEAST_MB, MOST_ROUNDS = 0.4, 6
SLOW_MBS = 60  # encoders below are left out first, where the budget is too small for all
_SAFETY = 0.6  # of the budget is given away: loading, reading and comparing take the rest
_FINAL_SHARE = 0.5  # of that
MEASURED_MB = 64.0  # of a sample, by each finalist, and half or a quarter of it if the budget is small
LEAST_TIMED_S, MOST_TIMED_S = _LEAST_RUNS[-1][2], 0.6  # CPU time of a run on all cores
TIMED_MB = 16.0  # of whole chunks, by each finalist in each turn; of less, all stay in the processor's cache
_READ_SHARE = 0.5  # of the time of such runs goes to reading what was written
_MB_A_SECOND, _SMALLEST_MB_A_SECOND = 3.2, 0.8  # of the budget; slow encoders stay where size alone counts


@dataclass(frozen=True)
class Schedule:
    """What is measured when.

    Attributes
    ----------
    candidates
        Those of the first round: fewer than there are, where the budget is too small for all.
    rounds
        Megabytes of the sample for each candidate in each round before the last; each keeps half.
    final_mb
        Megabytes of the sample that the sizes of finalists are taken from.
    timed_s
        CPU seconds of a run on all cores.
    repeats
        Of such runs of each finalist.
    """

    candidates: tuple[Candidate, ...]
    rounds: tuple[float, ...]
    final_mb: float
    timed_s: float
    repeats: int

    def kept(self, number: int) -> int:
        """Count the candidates that go on after a round."""
        if number == len(self.rounds) - 1:
            return FINALISTS
        return max(FINALISTS, -(-len(self.candidates) >> (number + 1)))


def plan_rounds(candidates: Sequence[Candidate], sample_mb: float, seconds: float, objective: str) -> Schedule:
    """Plan a race.

    Parameters
    ----------
    candidates
        All that there are.
    sample_mb
        Megabytes of the sample.
    seconds
        Of the budget.
    objective
        Slow encoders are left out first, but where size alone counts.
    """
    room = seconds * _SAFETY
    kept = tuple(candidates)
    while True:
        count = min(MOST_ROUNDS, max(0, ceil(log2(max(1, len(kept) / FINALISTS)))))
        nominal = sum(c.nominal_s for c in kept)
        each = room * (1 - _FINAL_SHARE) / max(1, count)
        if not count or each / nominal >= min(LEAST_MB, sample_mb):
            break
        fewer = _fewer(kept, objective)
        if len(fewer) == len(kept):
            break
        kept = fewer
    rounds = tuple(min(sample_mb, max(LEAST_MB, each * 2**k / nominal)) for k in range(count))
    finalists = min(len(kept), FINALISTS + 2)
    final_s = sum(c.nominal_s for c in kept) / max(1, len(kept)) * finalists  # for each megabyte
    sized = final_megabytes(sample_mb, seconds, objective)
    left = room * (_FINAL_SHARE if count else 1.0) - final_s * sized
    one_core_s = final_s * min(TIMED_MB, sized)
    least, least_s = next((n, cpu_s) for budget_s, n, cpu_s in _LEAST_RUNS if seconds >= budget_s)
    shortest = one_core_s + finalists * least_s / (1 - _READ_SHARE)
    repeats = max(least, min(REPEATS, int(left / shortest)))
    all_cores_s = (left / repeats - one_core_s) * (1 - _READ_SHARE) / max(1, finalists)
    return Schedule(kept, rounds, sized, min(MOST_TIMED_S, max(least_s, all_cores_s)), repeats)


def final_megabytes(sample_mb: float, seconds: float, objective: str) -> float:
    """Megabytes of a sample that sizes are taken from: the same whoever takes part, so that a row stays the same.

    Parameters
    ----------
    sample_mb
        Of the sample.
    seconds
        Of the budget.
    objective
        Where size alone counts, slow encoders take part, and all are measured on less.
    """
    room = seconds * (_SMALLEST_MB_A_SECOND if objective == "size" else _MB_A_SECOND)
    found = MEASURED_MB
    while found > max(LEAST_MB, room):
        found /= 2
    return min(sample_mb, found)


def _fewer(candidates: tuple[Candidate, ...], objective: str) -> tuple[Candidate, ...]:
    """Leave out slow encoders, then every other chunk shape; never what is there to compare with."""
    quick = tuple(c for c in candidates if c.role or c.codec.encode_mbs >= SLOW_MBS)
    if objective != "size" and len(quick) < len(candidates):
        return quick
    shapes = list(dict.fromkeys(c.chunks for c in candidates if not c.role))
    kept = set(shapes[::2])
    return tuple(c for c in candidates if c.chunks in kept or c.role)
