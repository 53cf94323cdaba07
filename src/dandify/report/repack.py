"""What `repack` did."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dandify.nwb.repack import Repacked
from dandify.report import text


def print_repack(report: Repacked, console: Console) -> None:
    """Print the datasets that were encoded anew, and the size of both files."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("dataset", overflow="fold")
    for name in ("raw", "stored", "ratio"):
        table.add_column(name, justify="right")
    for dataset in report.written.datasets:
        ratio = dataset.raw_bytes / max(1, dataset.stored_bytes)
        table.add_row(
            escape(dataset.path_in_file), text.size(dataset.raw_bytes), text.size(dataset.stored_bytes), f"{ratio:.2f}"
        )
    if report.written.datasets:
        console.print(table)
    verdict = "same content" if report.compared else "not compared"
    console.print(
        f"{text.size(report.source_bytes)} became {text.size(report.written.output_bytes)} in "
        f"{text.duration(report.written.seconds)}, {verdict}: {escape(str(report.written.path))}",
        soft_wrap=True,
    )  # fmt: skip
    for note in report.written.notes:
        console.print(escape(note), soft_wrap=True)


def repack_record(report: Repacked) -> dict[str, Any]:
    """Return the report as JSON-ready values."""
    written = report.written
    return {
        "source": str(report.source), "path": str(written.path), "source_bytes": report.source_bytes,
        "output_bytes": written.output_bytes, "seconds": written.seconds, "compared": report.compared,
        "notes": list(written.notes),
        "datasets": [
            {"path": d.path_in_file, "raw_bytes": d.raw_bytes, "stored_bytes": d.stored_bytes, "verified": d.verified}
            for d in written.datasets
        ],
    }  # fmt: skip
