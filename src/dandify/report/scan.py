"""What `scan` found, for people and for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dandify.project.scan import ScanReport, Session
from dandify.report import text
from dandify.sources import Source, Stream

_SHOWN_UNKNOWN = 12


def print_scan(report: ScanReport, console: Console) -> None:
    """Print sessions with their streams, what is broken, unknown and missing."""
    for session in report.sessions:
        facts = session.facts
        stated = [
            f"{k} {escape(str(facts[k]))}" for k in ("subject_id", "session_id", "session_start_time") if k in facts
        ]
        console.print(f"[bold]session[/] {escape(_relative(session.path, report.path))}   {'   '.join(stated)}")
        console.print(_streams_table(session, report.path))
        for source in session.sources:
            for problem in source.problems:
                console.print(f"  [yellow]note[/] {escape(source.path.name)}: {escape(problem)}")
        _print_missing(session, report.path, console)
    for item in report.broken:
        console.print(f"[red]cannot be opened[/] ({item.format}) {escape(str(item.error))}")
    if report.unknown:
        total = text.size(sum(u.bytes for u in report.unknown))
        console.print(f"[bold]files nobody knows:[/] {len(report.unknown)}, {total}")
        for unknown in report.unknown[:_SHOWN_UNKNOWN]:
            why = f"  ({escape('; '.join(unknown.reasons))})" if unknown.reasons else ""
            console.print(f"  {escape(_relative(unknown.path, report.path))}{why}")
        if len(report.unknown) > _SHOWN_UNKNOWN:
            console.print(f"  ... and {len(report.unknown) - _SHOWN_UNKNOWN} more (all with --json)")
    if any(s.needs for s in report.sessions):
        console.print(
            "missing values are given with --subject-id, --species ... or --set KEY=VALUE, or in a dandify.yaml"
        )
    streams = sum(len(s.streams) for s in report.sources)
    console.print(
        f"{_count(len(report.sessions), 'session')}, {_count(len(report.sources), 'source')}, "
        f"{_count(streams, 'stream')}, {text.size(sum(s.nbytes for s in report.sources))}; "
        f"{len(report.broken)} broken; "
        f"{_count(len(report.unknown), 'unknown file')}; {report.seconds:.2f} s"
    )


def _print_missing(session: Session, root: Path, console: Console) -> None:
    """Print what DANDI needs of the session in a line, and what single sources need with its meaning."""
    general = [n.key for n in session.needs if n.file is None]
    if general:
        console.print(f"  [yellow]still missing:[/] {', '.join(general)}")
    for need in session.needs:
        if need.file is not None:
            place = escape(_relative(Path(need.file), root))
            console.print(f"  [yellow]still missing[/] of {place}: {need.key}, {escape(need.what)}", soft_wrap=True)


def _streams_table(session: Session, root: Path) -> Table:
    """Make a table with a row for each source and, indented below it, one for each of its streams."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("source, streams", overflow="fold")
    table.add_column("becomes", no_wrap=True)
    table.add_column("shape", overflow="fold")
    table.add_column("type", no_wrap=True)
    for name in ("rate", "duration", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    for source in session.sources:
        name = escape(_relative(source.path, root))
        table.add_row(f"[bold]{name}[/]", f"[dim]{source.format}[/]", "", "", "", "", text.size(source.nbytes))
        for stream in source.streams:
            table.add_row(
                f"  {escape(stream.name)}", stream.kind, text.shape(stream.axes, stream.shape),
                "" if stream.dtype is None else str(stream.dtype), text.rate(stream.rate_hz),
                text.duration(stream.duration_s), text.size(stream.nbytes),
            )  # fmt: skip
    return table


def scan_record(report: ScanReport) -> dict[str, Any]:
    """Return the report as JSON-ready values."""
    return {
        "path": str(report.path),
        "seconds": round(report.seconds, 3),
        "sessions": [
            {
                "path": str(session.path),
                "facts": _plain(session.facts),
                "sources": [_source_record(s) for s in session.sources],
                "missing": [{"key": n.key, "what": n.what, "remedy": n.remedy, "file": n.file} for n in session.needs],
            }
            for session in report.sessions
        ],
        "broken": [
            {
                "path": str(b.path),
                "format": b.format,
                "error": b.error.cause,
                "place": b.error.place,
                "remedy": b.error.remedy,
            }
            for b in report.broken
        ],
        "unknown": [{"path": str(u.path), "bytes": u.bytes, "reasons": list(u.reasons)} for u in report.unknown],
    }


def _source_record(source: Source) -> dict[str, Any]:
    return {
        "path": str(source.path),
        "format": source.format,
        "bytes": source.nbytes,
        "files": [str(f) for f in source.files],
        "facts": _plain(source.facts),
        "problems": list(source.problems),
        "streams": [_stream_record(s) for s in source.streams],
    }


def _stream_record(stream: Stream) -> dict[str, Any]:
    return {
        "name": stream.name,
        "kind": stream.kind,
        "axes": list(stream.axes),
        "shape": [int(n) for n in stream.shape],
        "dtype": None if stream.dtype is None else str(stream.dtype),
        "rate_hz": stream.rate_hz,
        "duration_s": stream.duration_s,
        "bytes": stream.nbytes,
        "unit": stream.unit,
        "scale": dict(stream.scale),
        "channels": [c.name for c in stream.channels],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) and path != root else path.name


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"
