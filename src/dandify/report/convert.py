"""What `convert` is going to do, and what it did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dandify.report import text
from dandify.runs.convert import ConvertReport
from dandify.runs.plan import SessionPlan

if TYPE_CHECKING:
    from dandify.runs.convert import WriteReport

_SHOWN = 5  # names of files that nobody knows


def print_plan(plans: Sequence[SessionPlan], console: Console) -> None:
    """Print one line per output, before work starts."""
    for plan in plans:
        for output in plan.outputs:
            console.print(f"converting to {escape(str(output))}", soft_wrap=True)
        print_notes(plan, console)


def print_notes(plan: SessionPlan, console: Console) -> None:
    """Print what a session's files say that a person should know, and which of them stay behind."""
    for path, problem in plan.problems:
        console.print(f"[yellow]note[/] {escape(path.name)}: {escape(problem)}", soft_wrap=True)
    if plan.unknown:
        names = ", ".join(path.name for path in plan.unknown[:_SHOWN])
        more = f" and {len(plan.unknown) - _SHOWN} more" if len(plan.unknown) > _SHOWN else ""
        console.print(f"[yellow]left behind, nobody knows them:[/] {escape(names)}{more}", soft_wrap=True)


def notes_record(plan: SessionPlan) -> list[str]:
    """Return the notes of a session as JSON-ready values."""
    return [f"{path}: {problem}" for path, problem in plan.problems]


def written_table(written: Iterable[WriteReport]) -> Table:
    """One row per output: sizes, ratio, speed, whether it was compared with its source."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("output", overflow="fold")
    for name in ("raw", "written", "ratio", "MB/s", "time"):
        table.add_column(name, justify="right")
    table.add_column("verified")
    for one in written:
        table.add_row(
            escape(one.path.name), text.size(one.raw_bytes), text.size(one.stored_bytes), f"{one.ratio:.2f}",
            f"{one.mb_per_s:.0f}", text.duration(one.seconds), "yes" if one.verified else "no",
        )  # fmt: skip
    return table


def convert_table(report: ConvertReport) -> Table:
    """One row per output, those that were there too."""
    table = written_table(w for session in report.sessions for w in session.written)
    for path in (p for session in report.sessions for p in session.skipped):
        table.add_row(escape(path.name), "", "", "", "", "", "was there")
    return table


def print_convert(report: ConvertReport, console: Console) -> None:
    """Print the table of outputs, failures, and what to run next."""
    console.print(convert_table(report))
    for written in (w for session in report.sessions for w in session.written):
        for note in written.notes:
            console.print(f"{escape(written.path.name)}: {escape(note)}", soft_wrap=True)
    for session in report.failed:
        console.print(f"[red]failed[/] {session.plan.name}: {escape(str(session.error))}")
    done = len(report.sessions) - len(report.failed)
    console.print(
        f"{done} session{'s' * (done != 1)} converted, {len(report.failed)} failed: {escape(str(report.out))}",
        soft_wrap=True,
    )
    if done:
        console.print(
            f"next: dandify organize {escape(text.argument(report.out))} --dandiset DIR --name TITLE", soft_wrap=True
        )


def convert_record(report: ConvertReport) -> dict[str, Any]:
    """Return the report as JSON-ready values."""
    return {
        "out": str(report.out),
        "sessions": [
            {
                "name": s.plan.name,
                "notes": notes_record(s.plan),
                "error": None if s.error is None else str(s.error),
                "skipped": [str(p) for p in s.skipped],
                "outputs": [written_record(w) for w in s.written],
            }
            for s in report.sessions
        ],
    }  # fmt: skip


def written_record(written: WriteReport) -> dict[str, Any]:
    """Return an output as JSON-ready values."""
    return {
        "path": str(written.path), "raw_bytes": written.raw_bytes, "stored_bytes": written.stored_bytes,
        "ratio": written.ratio, "mb_per_s": written.mb_per_s, "seconds": written.seconds, "verified": written.verified,
        "notes": list(written.notes),
    }  # fmt: skip
