"""What `dandify tune` shows: the front with the recommended row, why, who can read it, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dandify.report import text
from dandify.tuning.readers import Readers
from dandify.tuning.result import Prediction, Row, StreamResult, TuningResult

ROLES = {"default": "default", "usual": "neuroconv", "": ""}
SCHEMA = 2  # of the record; raised when a field changes its meaning or goes
_MOST_TRIED = 5
_LONG_S = 1.0  # of writing, from which it is said what disks must give


def print_tuning(result: TuningResult, console: Console) -> None:
    """Print every stream, and the prediction."""
    if result.stopped:
        console.print("[yellow]stopped; this is what was measured so far[/]")
    for stream in result.streams:
        _print_stream(stream, result, console)
    if result.prediction is not None:
        for line in prediction_lines(result.prediction, result):
            _say(line, console)
    for line in result.notes:
        _say(f"note: {escape(line)}", console)


def _say(line: str, console: Console) -> None:
    """Print a sentence: wrapped between words on a terminal, and in one line elsewhere."""
    console.print(line, soft_wrap=not console.is_terminal)


def tuning_record(result: TuningResult) -> dict[str, Any]:
    """Return every measurement as JSON-ready values: the fields of `TuningResult`, and what follows from them."""
    record = {"schema": SCHEMA, **asdict(result)}
    record |= {"raw_bytes": result.raw_bytes, "touched_bytes": result.touched_bytes}
    if result.prediction is not None:
        record["prediction"]["saved_bytes"] = result.prediction.saved_bytes
    for stream, found in zip(record["streams"], result.streams, strict=True):
        for row, measured in zip(stream["rows"], found.rows, strict=True):
            row["written"] = measured.written
        stream["path"] = str(found.path)
        stream["best"] = {o: row.name for o in ("balanced", "size", "speed", "read") if (row := found.best(o))}
        stream["front"] = [row.name for row in found.front]
        stream["why"] = found.why(result.objective)
    return record


def tables_of(stream: StreamResult, objective: str) -> tuple[Table, Table]:
    """Rows of the front, the best and what there is to compare with: what they become, and what reading them costs.

    Two tables, for a terminal of 80 columns. Codecs go over several lines rather than that a figure is cut off.
    """
    best = stream.best(objective)
    sizes, reads = (Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)) for _ in range(2))
    for name in ("#", "", "chunks"):
        sizes.add_column(name, no_wrap=True)
    sizes.add_column("filters and codec", overflow="fold")
    shown = shown_rows(stream, objective)
    intervals = any(row.ratio_low is not None for row in shown)
    for name in ("ratio", *(["95 %"] if intervals else []), "size", "MB/s\n1 core", "\nall"):
        sizes.add_column(name, justify="right", no_wrap=True)
    reads.add_column("#", no_wrap=True)
    for letter, _ in zip("abc", stream.rows[0].reads, strict=True):
        reads.add_column(f"read {letter}\nlocal", justify="right", no_wrap=True)
        reads.add_column("\narchive", justify="right", no_wrap=True)
    for number, row in enumerate(shown, 1):
        sizes.add_row(str(number), *_size_cells(row, recommended=row is best, intervals=intervals))
        costs = (text.duration_short(s) for r in row.reads for s in (r.local_s, r.archive_s))
        reads.add_row(str(number), *costs)
    return sizes, reads


def shown_rows(stream: StreamResult, objective: str) -> list[Row]:
    """Rows of the front, the best and what there is to compare with, as the tables number them."""
    best = stream.best(objective)
    return [r for r in stream.rows if r in stream.front or r is best or r.role]


def readers_of_rows(rows: Sequence[Row]) -> list[tuple[list[int], Readers]]:
    """Who can and who cannot read rows, with the numbers of those for which it is the same, from 1."""
    found: dict[Readers, list[int]] = {}
    for number, row in enumerate(rows, 1):
        found.setdefault(row.readers, []).append(number)
    return [(numbers, readers) for readers, numbers in found.items()]


def _size_cells(row: Row, *, recommended: bool, intervals: bool) -> list[str]:
    interval = "" if row.ratio_low is None else f"{row.ratio_low:.2f}-{row.ratio_high:.2f}"
    marks = [*(["[bold green]best[/]"] if recommended else []), *([ROLES[row.role]] if row.role else [])]
    codec = ", ".join((*row.transforms, row.codec)) + ("" if row.written or row.role else " *")
    return [
        "\n".join(marks), "x".join(map(str, row.chunks)), escape(codec), f"{row.ratio:.2f}",
        *([interval] if intervals else []), text.size(row.stored_bytes), f"{row.encode_mbs:.0f}",
        f"{row.write_mbs:.0f}",
    ]  # fmt: skip


def ranges(numbers: Sequence[int]) -> str:
    """``1-4, 6`` of sorted numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def prediction_lines(prediction: Prediction, result: TuningResult) -> list[str]:
    """Say in sentences what the recommended rows come to for all sessions."""
    counted = (text.count(prediction.sessions, "session"), text.count(prediction.files, "file"))
    what = " and ".join(words for words, n in zip(counted, (prediction.sessions, prediction.files), strict=True) if n)
    raw, stored, default, saved = map(
        text.size, (prediction.raw_bytes, prediction.stored_bytes, prediction.default_bytes, prediction.saved_bytes)
    )
    hours, speed = prediction.upload_s / 3600, result.archive.bytes_per_s / 1e6
    upload = f"uploading {f'{hours:.1f} h' if hours >= 1 else _time(prediction.upload_s)} at {speed:g} MB/s"
    size = f"All of {what}: {raw} become about {stored} ({default} if nothing is asked for)"
    written = f"{_time(prediction.write_s)} on {text.count(result.workers, 'core')}, not verified"
    if prediction.write_s >= _LONG_S:  # disks that are slower than that make it longer
        each = (size / 1e6 / prediction.write_s for size in (prediction.read_bytes, prediction.stored_bytes))
        written += ", if disks keep up ({:.0f} MB/s read, {:.0f} written)".format(*each)
    lines = [f"{size}: you would save {saved} of {raw}."]
    if prediction.smaller_bytes:
        lines.append(f"{text.size(prediction.smaller_bytes)} of it are smaller resolutions of images.")
    lines.append(f"Writing takes about {written}; {upload}.")
    if not prediction.by_convert:
        lines.append("Some of it is measured only: convert does not write it. See what it writes at each stream.")
    if prediction.unmeasured_bytes:
        lines.append(f"{text.size(prediction.unmeasured_bytes)} more are in streams of which no like was measured.")
    return lines


def _time(seconds: float) -> str:
    """Minutes and hours as a clock shows them, and less than one in two digits."""
    return text.duration(seconds) if seconds >= 60 else text.duration_short(seconds)


def sample_line(stream: StreamResult) -> str:
    """Say what was read of a stream."""
    if all(w.place == "all" for w in stream.windows):
        return f"read all of {text.size(stream.raw_bytes)}"
    places = ", ".join(w.place for w in stream.windows)
    share = stream.touched_bytes / max(1, stream.raw_bytes)
    return (
        f"read {text.size(stream.touched_bytes)} of {text.size(stream.raw_bytes)} ({share:.1%}) at "
        f"{len(stream.windows)} place(s): {places}"
    )


def _print_stream(stream: StreamResult, result: TuningResult, console: Console) -> None:
    shape = " x ".join(map(str, stream.shape))
    console.print(
        f"[bold]{escape(stream.name)}[/] {escape(stream.kind)} {shape} {escape(stream.dtype)}, "
        f"{text.size(stream.raw_bytes)}, for {stream.backend}", soft_wrap=True,
    )  # fmt: skip
    if stream.skipped:
        console.print(f"  {escape(stream.skipped)}")
        return
    _say(f"  {sample_line(stream)}", console)
    best = stream.best(result.objective)
    if best is not None:
        sizes, reads = tables_of(stream, result.objective)
        console.print(sizes)
        console.print(reads)
        ways = ", ".join(f"{k}: {read.name}" for k, read in zip("abc", best.reads, strict=True))
        _say(
            f"read {ways}; from a local disk, and from an archive at {result.archive}, one request after another",
            console,
        )  # fmt: skip
        if any(not row.written and not row.role for row in stream.rows):
            console.print("* measured only: convert does not write it")
        for sentence in stream.why(result.objective) or ():
            _say(escape(sentence), console)
        for numbers, readers in readers_of_rows(shown_rows(stream, result.objective)):
            _say(f"readers of {ranges(numbers)}: {escape(readers.text)}", console)
        applied = stream.best(result.objective, written=True)
        if not best.written and applied is not None:
            _say(
                f"of what convert writes: {escape(applied.codec)}, {'x'.join(map(str, applied.chunks))}, "
                f"{applied.ratio:.2f}", console,
            )  # fmt: skip
    elif stream.tried:
        for one in stream.tried[:_MOST_TRIED]:
            console.print(f"  {escape(one.name)}: {one.ratio:.2f}, {one.encode_mbs:.0f} MB/s a core, not to the end")
    for line in (*stream.missing, *stream.notes):
        _say(f"note: {escape(line)}", console)
    for fault in stream.faults:
        _say(f"[red]not bit-identical, a bug[/]: {escape(fault.candidate)}: {escape(fault.what)}", console)
