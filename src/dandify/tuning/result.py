"""Results of tuning: a row for each candidate that was measured to the end, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dandify.tuning.material import Archive
from dandify.tuning.objective import Figures, best_of, front, require_objective
from dandify.tuning.race import Fault
from dandify.tuning.readers import Readers
from dandify.tuning.reading import ReadCost

SAME = 0.0005  # of the size: sizes that differ by less are said to be the same


@dataclass(frozen=True)
class Row:
    """A candidate that was measured on all windows.

    Attributes
    ----------
    name, codec
        Unique name, and filters and encoder in words.
    compression
        What `dandify convert` and ``dandify.yaml`` call it; None if `convert` does not write it.
    chunks, transforms
        Shape of chunks, and names of exact transforms.
    role
        ``default`` for what `convert` does when nothing is asked for, ``usual`` for what neuroconv does.
    ratio, ratio_low, ratio_high
        Raw bytes for each stored byte, with its 95 % confidence interval; None where all of the stream was
        measured, or one window alone.
    stored_bytes, smaller_bytes
        Predicted, of the whole stream, and of an image's smaller resolutions beside it.
    files
        That hold its chunks; of an image, those of the finest resolution.
    encode_mbs, decode_mbs
        Of one core, in memory, measured: encoding with its transforms and what proves them, and decoding.
    write_mbs
        Of all cores, measured: reading from memory, proving transforms and applying them, encoding, and writing to a
        file, for which the disk need not have it yet.
    prove_mbs
        Of all cores, measured: the reading of all values by which `convert` proves transforms before it writes, and
        which `write_mbs` contains; None without transforms.
    by_engine
        `write_mbs` and reading were measured on a file that the engine wrote; otherwise in memory.
    reads
        What reading costs.
    figures
        What it is judged by: sizes as measured, speeds in steps.
    readers
        Who can and who cannot read it.
    """

    name: str
    codec: str
    compression: str | None
    chunks: tuple[int, ...]
    transforms: tuple[str, ...]
    role: str
    ratio: float
    ratio_low: float | None
    ratio_high: float | None
    stored_bytes: float
    smaller_bytes: float
    files: int
    encode_mbs: float
    decode_mbs: float
    write_mbs: float
    prove_mbs: float | None
    by_engine: bool
    reads: tuple[ReadCost, ...]
    figures: Figures
    readers: Readers

    @property
    def written(self) -> bool:
        """`dandify convert` writes it."""
        return self.compression is not None


@dataclass(frozen=True)
class Tried:
    """A candidate that was given up before the end: its ratio on part of the sample."""

    name: str
    ratio: float
    encode_mbs: float
    round: int


@dataclass(frozen=True)
class WindowInfo:
    """Where a window of the sample lay, why, and what it stands for."""

    start: tuple[int, ...]
    shape: tuple[int, ...]
    place: str
    weight: float


@dataclass(frozen=True)
class StreamResult:
    """What was measured of one stream.

    Attributes
    ----------
    name, kind, backend, path
        Of the stream: name in the output, what it becomes, in what, and where it is read from.
    shape, dtype, raw_bytes, rate_hz
        Of its values.
    rows
        Candidates measured to the end, the smallest first.
    tried
        The others.
    windows, touched_bytes
        What was read of it.
    histogram
        Counts of each value of each byte of the sample's values, the lowest byte first.
    missing
        Codecs that need a package, with the command that installs it.
    faults
        Candidates whose round trip was not bit-identical.
    notes
        What a person should know.
    skipped
        Why nothing was measured; None otherwise.
    """

    name: str
    kind: str
    backend: str
    path: Path
    shape: tuple[int, ...]
    dtype: str
    raw_bytes: int
    rate_hz: float | None = None
    rows: tuple[Row, ...] = ()
    tried: tuple[Tried, ...] = ()
    windows: tuple[WindowInfo, ...] = ()
    touched_bytes: int = 0
    histogram: tuple[tuple[int, ...], ...] = ()
    missing: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str | None = None

    def best(self, objective: str, *, written: bool = False) -> Row | None:
        """Give the best row by an objective; None where nothing was measured.

        Parameters
        ----------
        objective
            ``balanced``, ``size``, ``speed`` or ``read``.
        written
            Only of what `dandify convert` writes.

        Raises
        ------
        BadRequest
            If there is no such objective.
        """
        require_objective(objective)
        rows = [r for r in self.rows if r.role != "usual" and (r.written or not written)]
        return best_of(rows, objective, lambda r: r.figures, lambda r: r.name) if rows else None

    @property
    def front(self) -> tuple[Row, ...]:
        """Rows that none beats in size, writing and reading at once."""
        return front([r for r in self.rows if r.role != "usual"], lambda r: r.figures)

    def role(self, name: str) -> Row | None:
        """Give the row of a role, where it was measured."""
        return next((r for r in self.rows if r.role == name), None)

    def why(self, objective: str) -> tuple[str, str] | None:
        """Say in two sentences why the best row is the best."""
        best = self.best(objective)
        return None if best is None else (_first(best, self), _second(best, self, objective))


@dataclass(frozen=True)
class Prediction:
    """What a choice comes to, for a whole project.

    Attributes
    ----------
    sessions, files
        Number of sessions, and of NWB files and images of OME-Zarr.
    raw_bytes, stored_bytes
        Of the streams whose like was measured.
    default_bytes
        What `convert` would make of them if nothing is asked for.
    unmeasured_bytes
        Raw bytes of streams of which no like was measured.
    write_s, upload_s
        Time to write them on all cores of this machine, if disks are not waited for, and to upload them at the stated
        bandwidth.
    smaller_bytes
        Stored bytes of the smaller resolutions of images: a part of `stored_bytes`.
    read_bytes
        That are read of the sources: `raw_bytes`, and once more those whose transforms are proved.
    by_convert
        `dandify convert` writes all of it so.
    """

    sessions: int
    files: int
    raw_bytes: int
    stored_bytes: float
    default_bytes: float
    unmeasured_bytes: int
    write_s: float
    upload_s: float
    smaller_bytes: float = 0.0
    read_bytes: int = 0
    by_convert: bool = True

    @property
    def saved_bytes(self) -> float:
        """Of the raw bytes."""
        return self.raw_bytes - self.stored_bytes


@dataclass(frozen=True)
class TuningResult:
    """Every measurement of `dandify.tune`.

    Attributes
    ----------
    streams
        In the order of the sources.
    objective, readers, seed, budget_s
        What was asked for.
    archive
        Latency and bandwidth that reading from an archive is reckoned with.
    workers
        Threads of what is called all cores.
    seconds
        That it took.
    stopped
        It was stopped by Ctrl-C; there is what was measured so far.
    prediction
        For all sessions of the sources or of the project; None where nothing was measured.
    notes
        What a person should know of the sources.
    """

    streams: tuple[StreamResult, ...]
    objective: str
    readers: str
    seed: int
    budget_s: float
    archive: Archive
    workers: int
    seconds: float
    stopped: bool = False
    prediction: Prediction | None = None
    notes: tuple[str, ...] = ()

    @property
    def touched_bytes(self) -> int:
        """Raw bytes that were read of the sources."""
        return sum(s.touched_bytes for s in self.streams)

    @property
    def raw_bytes(self) -> int:
        """Raw bytes of all streams."""
        return sum(s.raw_bytes for s in self.streams)

    def best(self, objective: str | None = None) -> Mapping[str, Row]:
        """Give the best row of each stream that was measured, by its name.

        Parameters
        ----------
        objective
            ``balanced``, ``size``, ``speed`` or ``read``; the one that was asked for if None.

        Raises
        ------
        BadRequest
            If there is no such objective.
        """
        chosen = {s.name: s.best(objective or self.objective) for s in self.streams}
        return {name: row for name, row in chosen.items() if row is not None}

    def to_table(self) -> list[dict[str, Any]]:
        """Give all rows of all streams as flat records, for `pandas.DataFrame` or csv."""
        chosen = {(name, row.name) for name, row in self.best().items()}
        return [
            {
                "stream": stream.name, "recommended": (stream.name, row.name) in chosen,
                "front": row in stream.front, **_flat(row),
            }
            for stream in self.streams for row in stream.rows
        ]  # fmt: skip


def _flat(row: Row) -> dict[str, Any]:
    found = asdict(row)
    for nested in ("reads", "readers", "figures"):
        del found[nested]
    found["can_read"], found["cannot_read"] = list(row.readers.can), list(row.readers.cannot)
    for cost in row.reads:
        key = cost.name.replace(" ", "_")
        found |= {
            f"{key}_requests": cost.requests, f"{key}_bytes": cost.stored_bytes, f"{key}_local_s": cost.local_s,
            f"{key}_archive_s": cost.archive_s,
        }  # fmt: skip
    return found


def _first(best: Row, stream: StreamResult) -> str:
    text = f"{best.codec} in chunks of {'x'.join(map(str, best.chunks))}"
    if best.transforms:
        text += f" after {' and '.join(best.transforms)}"
    text += f" makes {stream.name} {best.ratio:.2f} times smaller"
    for role, who in (("usual", "neuroconv's default"), ("default", "what convert does unasked")):
        other = stream.role(role)
        if other is not None and other is not best:
            saved = 1 - best.stored_bytes / other.stored_bytes
            much = f"{abs(saved):.1%} {'less' if saved >= 0 else 'more'} than" if abs(saved) >= SAME else "as much as"
            text += f", {much} {who} ({other.ratio:.2f})"
    return f"{text}, and writes {best.write_mbs:.0f} MB/s on all cores."


def _second(best: Row, stream: StreamResult, objective: str) -> str:
    others = [r for r in stream.front if r is not best]
    if not others:
        return "Nothing else that was measured is smaller, or faster to write, or faster to read."
    smallest = min(others, key=lambda r: r.figures.stored_bytes)
    fastest = min(others, key=lambda r: r.figures.write_s)
    parts = []
    if smallest.stored_bytes < best.stored_bytes:
        parts.append(
            f"the smallest ({smallest.codec}, {'x'.join(map(str, smallest.chunks))}) would save "
            f"{1 - smallest.stored_bytes / best.stored_bytes:.1%} more, "
            f"and needs {smallest.figures.write_s / best.figures.write_s:.1f} times as long to write"
        )
    if fastest.figures.write_s < best.figures.write_s:
        parts.append(
            f"the fastest ({fastest.codec}) needs {fastest.figures.write_s / best.figures.write_s:.2f} of the time to "
            f"write, and is {fastest.stored_bytes / best.stored_bytes - 1:.1%} larger"
        )
    if not parts:
        slower = best.figures.read_s - min(r.figures.read_s for r in others)
        parts.append(f"it is the smallest and the fastest to write; others are read {2.718 ** max(0, slower):.1f} "
                     "times as fast")  # fmt: skip
    text = "; ".join(parts)
    return f"Of the others {text}." if text.startswith("the ") else f"{text[0].upper()}{text[1:]}."
