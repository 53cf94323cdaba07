"""What `dandify labels` did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from dandify.report import text
from dandify.report.convert import written_record, written_table

if TYPE_CHECKING:
    from dandify.runs.convert import WriteReport


def print_labels(image: Path, written: Sequence[WriteReport], console: Console) -> None:
    """Print the table of labels, and what to run next."""
    console.print(written_table(written))
    for one in written:
        for note in one.notes:
            console.print(f"{escape(one.path.name)}: {escape(note)}", soft_wrap=True)
    console.print(f"next: dandify view {escape(text.argument(image))}", soft_wrap=True)


def labels_report(image: Path, written: Sequence[WriteReport]) -> dict[str, Any]:
    """Return the report as JSON-ready values."""
    return {"image": str(image), "labels": [written_record(one) for one in written]}
