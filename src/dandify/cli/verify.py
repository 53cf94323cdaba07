"""``dandify verify``: an output compared again with what it was made of."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("verify", short_help="Compare an output with its source again, value by value.")
@click.argument("path", metavar="FILE", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--against",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Raw files or folders of the session, or another NWB file. Repeatable.  [default: the manifest beside FILE]",
)
@click.option(
    "--labels",
    "label_files",
    multiple=True,
    metavar="NAME=FILE",
    help="What labels of an OME-Zarr were made of, if the manifest names another file or none. Repeatable.",
)
@click.option("--pattern", metavar="NAMES", help="Which plane each TIFF of a folder is, as of dandify convert.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and progress as JSON lines on stderr.")
def command(
    path: Path, against: tuple[Path, ...], label_files: tuple[str, ...], pattern: str | None, as_json: bool
) -> None:
    """Read FILE, an NWB file or OME-Zarr, and its source again, and compare every value.

    Of raw recordings, these are the values of series, events and intervals; of another NWB file, all it holds.

    Transforms that the manifest beside FILE records are undone. Labels of an OME-Zarr are compared with the files that
    the manifest names, or that you name; of others the report says that they were not compared. Exit status is 1 if
    something differs or is missing.
    """
    import dandify
    from dandify.cli.console import out, print_json, progress
    from dandify.cli.convert import named_files
    from dandify.report.verify import print_verified, verified_record

    with progress(as_json=as_json) as step:
        report = dandify.verify(
            path, against=against, labels=named_files(label_files, "--labels"), pattern=pattern, progress=step
        )
    if as_json:
        print_json(verified_record(report))
    else:
        print_verified(report, out())
    if not report.equal:
        raise SystemExit(1)
