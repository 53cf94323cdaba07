"""What ``dandify describe`` shows: what became of each file, and what a DOI still needs."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from dandify.dandiset.describe import YAML
from dandify.dandiset.generate import DescribeReport


def print_description(report: DescribeReport, console: Console) -> None:
    """Print one line for each file that changed, and one for each thing that is missing or wrong."""
    changed = {path: change for path, change in report.files.items() if change != "unchanged"}
    for path, change in changed.items():
        console.print(f"{change:9} {escape(path)}", soft_wrap=True)
    if not changed and not report.kept:
        console.print("nothing to add: it says all of that already")
    if report.kept:
        console.print(f"[yellow]kept[/]      {', '.join(report.kept)}: --overwrite replaces it", soft_wrap=True)
    wrong = [problem for problem in report.lacking if problem.blocks == "draft"]
    for problem in wrong:
        console.print(f"[red]wrong[/]     {YAML}: {escape(problem.place)}: {escape(problem.message)}", soft_wrap=True)
    lacking = [problem for problem in report.lacking if problem.blocks == "publication"]
    for problem in lacking:
        console.print(f"[yellow]for a DOI[/] {escape(problem.place)}: {escape(problem.message)}", soft_wrap=True)
    if not wrong and not lacking:
        console.print(f"{YAML} has what DANDI needs for a DOI")
