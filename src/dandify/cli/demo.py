"""``dandify demo``: the main job, on recordings it makes."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo", short_help="Run the whole way on recordings it makes.")
@click.argument("folder", default="demo", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True, help="Length of the recordings."
)
def command(folder: Path, seconds: float) -> None:
    """Make recordings of two subjects in real vendor layouts in FOLDER and take them the whole way.

    Scans, converts, organizes and validates them, uploads them to an embedded archive with the dandi client, downloads
    them again and compares every file. Exit status 1 if anything fell short.
    """
    import dandify
    from dandify.cli.console import out

    if not dandify.demo(folder, seconds=seconds, console=out()).ok:
        raise SystemExit(1)
