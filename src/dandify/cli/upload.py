"""``dandify upload``: a dandiset to an archive."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("upload", short_help="Upload a dandiset to an archive.")
@click.argument("dandiset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to",
    required=True,
    metavar="NAME|URL",
    help="dandi, sandbox, or the URL of an archive such as `dandify archive serve` prints.",
)
@click.option(
    "--create", is_flag=True, help="Create the dandiset at the archive if dandiset.yaml has no identifier yet."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(dandiset: Path, to: str, create: bool, as_json: bool) -> None:
    """Upload DANDISET with the dandi client. What is there already is not sent again.

    The API key is taken from the environment or the keyring, as the dandi client does; it is never printed or stored.
    """
    import dandify
    from dandify.cli.console import out, print_json
    from dandify.report.upload import print_upload

    report = dandify.upload(dandiset, to=to, create=create)
    if as_json:
        print_json(report)
    else:
        print_upload(report, out())
    if report.failed:
        raise SystemExit(1)
