"""What a validation found, grouped by file."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console
from rich.markup import escape

from dandify.dandiset.validate import ValidationReport
from dandify.findings import Finding
from dandify.report import text

_COLORS = {"ERROR": "red", "WARNING": "yellow", "HINT": "dim"}
_SHOWN_HINTS = 3  # per file; all of them with --json


def print_validation(report: ValidationReport, console: Console, *, then: str | None = None) -> None:
    """Print every file with its verdict and findings, a line that counts, and what to run next if all is well.

    Parameters
    ----------
    report
        Of `dandify.validate` or `dandify.check`.
    console
        Where to.
    then
        The next command; by default the upload.
    """
    by_path: dict[str, list[Finding]] = {}
    named = {verdict.path.as_posix() for verdict in report.files}
    for finding in report.findings:
        by_path.setdefault(_inside(finding, report, named), []).append(finding)
    for verdict in report.files:
        mark = "[green]ok    [/]" if verdict.ok else "[red]FAILED[/]"
        console.print(f"{mark} {escape(verdict.path.as_posix())}  [dim]{verdict.kind}[/]", soft_wrap=True)
        _print(by_path.pop(verdict.path.as_posix(), []), console)
    for path, findings in by_path.items():
        console.print(escape(path), soft_wrap=True)
        _print(findings, console)
    counts = [sum(f.severity == s for f in report.findings) for s in ("ERROR", "WARNING", "HINT")]
    console.print(
        f"{text.count(len(report.files), 'file')}: "
        + ", ".join(text.count(n, what) for n, what in zip(counts, ("error", "warning", "hint"), strict=True))
    )
    if not report.errors and not any(f.id == "dandify.not_in_dandiset" for f in report.findings):
        upload = f"dandify upload {text.argument(report.path)} --to NAME|URL, the first time with --create"
        console.print(f"next: {then or upload}", soft_wrap=True, markup=False)


def _print(findings: list[Finding], console: Console) -> None:
    hints = 0
    for finding in findings:
        if finding.severity == "HINT":
            hints += 1
            if hints > _SHOWN_HINTS:
                continue
        color = _COLORS[finding.severity]
        console.print(
            f"       [{color}]{finding.severity}[/] {escape(finding.message)} [dim]({finding.id})[/]", soft_wrap=True
        )
        if finding.remedy:
            console.print(f"         {escape(finding.remedy)}", soft_wrap=True)
    if hints > _SHOWN_HINTS:
        console.print(f"       ... and {hints - _SHOWN_HINTS} more hints (--json shows all)")


def _inside(finding: Finding, report: ValidationReport, named: Collection[str]) -> str:
    """Path of the file a finding is about, as the verdicts name it: below the dandiset, which may lie above."""
    if finding.path is None:
        return report.path.name
    for base in (report.path, *report.path.parents):
        if finding.path.is_relative_to(base):
            below = finding.path.relative_to(base)
            if found := next((p.as_posix() for p in (below, *below.parents) if p.as_posix() in named), None):
                return found
    if finding.path.is_relative_to(report.path) and finding.path != report.path:
        return finding.path.relative_to(report.path).as_posix()
    return finding.path.name
