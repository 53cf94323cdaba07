"""The tree of an organized dandiset."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from dandify.dandiset.organize import OrganizeReport


def print_organize(report: OrganizeReport, console: Console) -> None:
    """Print the tree, what was done with each file, and what to run next."""
    tree = Tree(f"[bold]{escape(report.dandiset.name)}[/]")
    branches: dict[tuple[str, ...], Tree] = {(): tree}
    for file in report.files:
        parts = file.path.parts
        for depth in range(1, len(parts)):
            if parts[:depth] not in branches:
                branches[parts[:depth]] = branches[parts[: depth - 1]].add(escape(parts[depth - 1]))
        branches[parts[:-1]].add(f"{escape(parts[-1])}  [dim]{file.status}[/]")
    console.print(tree)
    counts: dict[str, int] = {}
    for file in report.files:
        counts[file.status] = counts.get(file.status, 0) + 1
    console.print(f"{_counted(counts)}: {report.dandiset}", soft_wrap=True)
    if not report.dry_run:
        console.print(f"next: dandify validate {report.dandiset}", soft_wrap=True)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {status}" for status, number in counts.items())
