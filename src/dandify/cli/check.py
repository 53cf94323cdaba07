"""``dandify check``: everything that conversion, upload or publication would refuse, before any of it is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("check", short_help="Say beforehand what would be refused later.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A dandify.yaml that lists sessions, instead of PATHS.",
)
@click.option("--subject-id", help="Id of the subject.")
@click.option("--species", help="Latin name, like 'Mus musculus', or NCBITaxon URL.")
@click.option("--sex", help="M, F, U (unknown) or O (other).")
@click.option("--age", help="ISO 8601 duration at the session, like P60D.")
@click.option("--session-id", help="Id of the session.")
@click.option("--session-start", help="ISO 8601 with zone, like 2026-03-01T14:30:00+01:00, if the files state none.")
@click.option("--set", "metadata", multiple=True, metavar="KEY=VALUE", help="Any other metadata. Repeatable.")
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What organize --table will be given: what it says of NWB files and OME-Zarr is not missing then.",
)
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Files to pass over, like '*.csv'. Repeatable.")
@click.option("--doi", is_flag=True, help="It is to be published: what stands in the way of a DOI is an error.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(paths: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Check PATHS - recordings, NWB files, OME-Zarr, folders of them - or the sessions of a dandify.yaml.

    Says at once all that conversion, upload or publication would refuse. Writes nothing. Exit status 1 if there is an
    error.
    """
    import dandify
    from dandify.cli.console import out, status
    from dandify.report.validate import print_validation

    if not options["config"] and len(paths) == 1 and paths[0].suffix in (".yaml", ".yml"):
        options["config"], paths = paths[0], ()
    with status() as say:
        report = dandify.check(*paths, progress=lambda p: say(f"checking {p.name}"), **options)
    if as_json:
        click.echo(report.to_json())
    else:
        print_validation(report, out(), then="dandify convert, or dandify organize what is converted")
    if report.errors:
        raise SystemExit(1)
