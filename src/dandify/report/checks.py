"""The result of checking a converter."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from dandify.testing import Check


def print_checks(checks: Sequence[Check], console: Console) -> None:
    """Print one line per check, what went wrong under it, and a last line that counts."""
    for check in checks:
        console.print(f"{'[green]ok    [/]' if check.ok else '[red]FAILED[/]'} {escape(check.name)}")
        if not check.ok:
            console.print(f"       {escape(check.message)}", soft_wrap=True)
    failed = sum(not c.ok for c in checks)
    console.print(f"{len(checks) - failed} of {len(checks)} checks passed")
