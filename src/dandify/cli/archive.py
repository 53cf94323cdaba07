"""``dandify archive``: the embedded archive."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("archive", short_help="Run an archive on this computer.")
def command() -> None:
    """Run an archive on this computer that the unmodified dandi client can use: for staging and for trying."""


@command.command("serve")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535),
    help="Port on 127.0.0.1; 0 takes a free one.  [default: 8765, where `--to local` looks, or else a free one]",
)  # fmt: skip
def serve(folder: Path, port: int | None) -> None:
    """Serve the archive kept in FOLDER on 127.0.0.1 until Ctrl-C. FOLDER is made if it is not there."""
    import dandify

    dandify.serve_archive(folder, port=port, ready=lambda serving: click.echo(serving.how_to))
