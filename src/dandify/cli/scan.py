"""``dandify scan``: what lies in a folder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("scan", short_help="Say what lies in a folder.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Files to pass over, like '*.csv'. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(path: Path, ignore: tuple[str, ...], as_json: bool) -> None:
    """Say what lies in PATH: sessions and streams, files nobody knows, and what is still missing.

    Reads headers only. Exit status 1 if something known cannot be opened, such as a .bin without its .meta.
    """
    import dandify
    from dandify.cli.console import out, print_json
    from dandify.report.scan import print_scan, scan_record

    report = dandify.scan(path, ignore=ignore)
    if as_json:
        print_json(scan_record(report))
    else:
        print_scan(report, out())
    if report.broken:
        raise SystemExit(1)
