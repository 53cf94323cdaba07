"""``dandify formats``: what is known."""

from __future__ import annotations

import click


@click.command("formats", short_help="List every known format.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List every format: name, what it looks like, what it becomes, and the extra package it needs, if any."""
    import dandify
    from dandify.cli.console import out, print_json
    from dandify.report.formats import formats_table

    found = dandify.formats()
    if as_json:
        print_json(found)
    else:
        out().print(formats_table(found))
