"""``dandify check-converter``: whether a converter keeps the contract."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("check-converter", short_help="Check a converter against the contract.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("sample", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--other",
    "others",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A sample of another format, which it must refuse. Repeatable.",
)
def command(file: Path, sample: Path, others: tuple[Path, ...]) -> None:
    """Check the converter in FILE against the contract, on SAMPLE, a recording of its format.

    Exit status 1 if it breaks the contract somewhere.
    """
    import dandify
    from dandify.cli.console import out
    from dandify.report.checks import print_checks
    from dandify.sources.registry import load_file

    checks = dandify.check_converter(load_file(file), sample, others=others)
    print_checks(checks, out())
    if not all(c.ok for c in checks):
        raise SystemExit(1)
