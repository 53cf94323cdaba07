"""What `verify` found."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dandify.runs.verify import Verified

_COLOURS = {"equal": "green", "different": "red", "missing": "red", "not in the source": "yellow",
            "not compared": "yellow"}  # fmt: skip
_SHOWN = 40  # equal arrays that are listed; all others always are


def print_verified(report: Verified, console: Console) -> None:
    """Print a line for each array, and a verdict."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("array", "", "detail"):
        table.add_column(name, overflow="fold")
    equal = 0
    for proof in report.proofs:
        equal += proof.verdict == "equal"
        if proof.verdict == "equal" and equal > _SHOWN:
            continue
        undone = f"{', '.join(proof.transforms)} undone" if proof.transforms else ""
        colour = _COLOURS[proof.verdict]
        table.add_row(
            escape(proof.path), f"[{colour}]{proof.verdict}[/]", escape("; ".join(filter(None, (proof.detail, undone))))
        )
    if report.proofs:
        console.print(table)
    counts = Counter(p.verdict for p in report.proofs)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "nothing to compare"
    with_what = ", ".join(map(str, report.against)) or "its manifest"
    console.print(f"{escape(str(report.path))} and {escape(with_what)}: {said}", soft_wrap=True)


def verified_record(report: Verified) -> dict[str, Any]:
    """Return the report as JSON-ready values."""
    return {
        "path": str(report.path), "against": [str(p) for p in report.against], "equal": report.equal,
        "arrays": [asdict(proof) for proof in report.proofs],
    }  # fmt: skip
