"""What an upload did, file by file."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dandify.archive.upload import UploadReport
from dandify.report import text


def print_upload(report: UploadReport, console: Console) -> None:
    """Print a row per asset, what was sent, and where to look at it."""
    table = Table("asset", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("size", justify="right")
    table.add_column("status")
    table.add_column("message")
    colors = {"uploaded": "green", "skipped": "dim", "failed": "red"}
    for asset in report.assets:
        table.add_row(
            escape(asset.path),
            text.size(asset.bytes),
            f"[{colors[asset.status]}]{asset.status}[/]",
            escape(asset.message),
        )
    console.print(table)
    console.print(
        f"dandiset {report.dandiset_id} at {report.archive}: {text.size(report.bytes_sent)} sent in "
        f"{text.duration(report.seconds)}; {len(report.failed)} failed; {report.url}", soft_wrap=True,
    )  # fmt: skip
