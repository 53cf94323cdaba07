"""The tree of an organized dandiset."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from dandify.dandiset.organize import OrganizedFile, OrganizeReport
from dandify.report import text

_SHOWN = 3  # names for each reason; all of them with --json


def print_organize(report: OrganizeReport, console: Console) -> None:
    """Print the tree, what was done with each file, and what to run next."""
    tree = Tree(f"[bold]{escape(report.dandiset.name)}[/]")
    branches: dict[tuple[str, ...], Tree] = {(): tree}
    lines = [(f.path, _status(f)) for f in report.files] + [(path, "generated") for path in report.generated]
    for path, status in sorted(lines):
        parts = path.parts
        for depth in range(1, len(parts)):
            if parts[:depth] not in branches:
                branches[parts[:depth]] = branches[parts[: depth - 1]].add(escape(parts[depth - 1]))
        branches[parts[:-1]].add(f"{escape(parts[-1])}  [dim]{status}[/]")
    console.print(tree)
    console.print(f"layout {report.layout}, because {report.because}", soft_wrap=True, markup=False)
    for reason, number in Counter(left.reason for left in report.left).items():
        names = [left.path.name for left in report.left if left.reason == reason]
        shown = ", ".join(names[:_SHOWN]) + (f" and {number - _SHOWN} more" if number > _SHOWN else "")
        console.print(f"[yellow]left out:[/] {escape(shown)} ({escape(reason)})", soft_wrap=True)
    for refused in report.refused:
        console.print(f"[red]FAILED[/] {escape(str(refused.path))}: {escape(refused.reason)}", soft_wrap=True)
    for remedy in dict.fromkeys(refused.remedy for refused in report.refused):
        console.print(f"  remedy: {escape(remedy)}", soft_wrap=True)
    counts = Counter(file.status for file in report.files)
    said = [f"{number} {status}" for status, number in counts.items()]
    said += [f"{len(report.refused)} failed"] if report.refused else []
    counted = ", ".join(said) or "nothing is left to organize"
    trial = "dry run, nothing was changed; it would be: " if report.dry_run else ""
    console.print(
        f"{trial}{counted}; dandiset.yaml {report.description}: {escape(str(report.dandiset))}", soft_wrap=True
    )
    if not report.dry_run:
        console.print(f"next: dandify validate {escape(text.argument(report.dandiset))}", soft_wrap=True)


def _status(file: OrganizedFile) -> str:
    return f"{file.status}; filled in: {', '.join(file.filled)}" if file.filled else str(file.status)
