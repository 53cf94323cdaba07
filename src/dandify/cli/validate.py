"""``dandify validate``: what the archive would refuse, and damage that nobody else sees, found before the upload."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


@click.command("validate", short_help="Check a dandiset, or an OME-Zarr.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes.  [default: one for each core, with dozens of NWB files]"
)
@click.option("--doi", is_flag=True, help="It is to be published: what stands in the way of a DOI is an error.")
@click.option(
    "--data",
    type=click.Choice(["full", "sample", "none"]),
    default="full",
    show_default=True,
    help="How much of OME-Zarr images is decoded and compared: all, one chunk in sixteen, or headers and indexes only.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(path: Path, workers: int | None, doi: bool, data: Literal["full", "sample", "none"], as_json: bool) -> None:
    """Check PATH, a dandiset or a file, as the archive will, and what the archive does not look at.

    PATH may also be an OME-Zarr of any tool, wherever it lies.

    Exit status 1 if there is an error.
    """
    import dandify
    from dandify.cli.console import out, status
    from dandify.report.validate import print_validation

    with status() as say:
        report = dandify.validate(
            path,
            workers=workers or "auto",
            doi=doi,
            data=data,
            progress=lambda p: say(f"{p.done_files} of {p.total_files} checked: {p.path.name}"),
        )
    if as_json:
        click.echo(report.to_json())
    else:
        print_validation(report, out())
    if report.errors:
        raise SystemExit(1)
