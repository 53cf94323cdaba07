"""The table of formats."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from dandify.sources.formats import Format


def formats_table(formats: Sequence[Format]) -> Table:
    """One row per format."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("format", "looks like", "becomes", "extra package"):
        table.add_column(name, overflow="fold")
    for item in formats:
        extra = " ".join(f"{r} (pip install {r})" if r in item.missing else r for r in item.requires)
        table.add_row(f"[bold]{item.name}[/]\n{item.title}", item.looks_like, item.becomes, extra or "-")
    return table
