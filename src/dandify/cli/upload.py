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
    help="dandi, sandbox, local (`dandify archive serve` on this computer), or the URL of an archive.",
)
@click.option(
    "--create", is_flag=True, help="Create the dandiset at the archive if dandiset.yaml has no identifier yet."
)
@click.option(
    "--embargo", is_flag=True, help="With --create: only its owners see it, until they lift the embargo on its page."
)
@click.option("--metadata", is_flag=True, help="Give the archive what dandiset.yaml says otherwise.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=150.0, show_default=True, metavar="SECONDS",
    help="How long to wait for the archive's own checks; 0 does not ask.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Send nothing; say what would be sent, and how metadata differ.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    dandiset: Path, to: str, create: bool, embargo: bool, metadata: bool, wait: float, dry_run: bool, as_json: bool
) -> None:
    """Upload DANDISET with the dandi client. What is there already is not sent again, and nothing is deleted there.

    The API key is taken from the environment or the keyring, as the dandi client does; it is never printed or stored.
    """
    from rich.console import Console

    import dandify
    from dandify.cli.console import out, print_json
    from dandify.report.upload import live_upload, print_upload

    with live_upload(Console(stderr=True, highlight=False)) as step:
        report = dandify.upload(
            dandiset, to=to, create=create, embargo=embargo, metadata=metadata, wait=wait, dry_run=dry_run,
            progress=step,
        )  # fmt: skip
    if as_json:
        print_json(report)
    else:
        print_upload(report, out())
    if report.failed or report.trouble:
        raise SystemExit(1)
