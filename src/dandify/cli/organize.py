"""``dandify organize``: converted files laid out as a dandiset."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


@click.command("organize", short_help="Lay converted files out as a dandiset.")
@click.argument("converted", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--dandiset", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the dandiset."
)
@click.option(
    "--mode",
    type=click.Choice(["copy", "hardlink", "symlink", "move"]),
    default="copy",
    show_default=True,
    help="How files get there; what has to be edited is always copied.",
)
@click.option(
    "--layout",
    type=click.Choice(["auto", "dandi", "bids"]),
    default="auto",
    show_default=True,
    help="Of a new dandiset; bids is for microscopy, and recordings as its draft BEP032. auto says why it chose.",
)
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV or TSV of what files do not state: path, subject_id, session_id, species, sex, age, sample_id, stain ...",
)
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Files to pass over, like '*_old.nwb'. Repeatable.")
@click.option(
    "--media", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
    help="Where to look, by name, for videos that NWB files refer to and that are not where these say. Repeatable.",
)  # fmt: skip
@click.option("--name", help="Name of the dandiset, for dandiset.yaml.")
@click.option("--description", help="Description of the dandiset, for dandiset.yaml.")
@click.option("--license", "license_", type=click.Choice(["CC0-1.0", "CC-BY-4.0"]), help="License, for dandiset.yaml.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A dandify.yaml whose `dandiset:` describes it.",
)
@click.option("--subject-id", help="Subject of files that state none.")
@click.option("--session-id", help="Session of files that state none.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there and differ.")
@click.option("--dry-run", is_flag=True, help="Print the tree and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    converted: tuple[Path, ...], dandiset: Path, mode: Literal["copy", "hardlink", "symlink", "move"], name: str | None,
    description: str | None, layout: Literal["auto", "dandi", "bids"], table: Path | None,
    ignore: tuple[str, ...], media: tuple[Path, ...], license_: str | None, config: Path | None,
    subject_id: str | None, session_id: str | None, overwrite: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Lay out CONVERTED, folders or files of `dandify convert` or of other tools, as a dandiset.

    NWB and OME-Zarr say themselves what they are of; of images and videos their names say it, or --table.

    What --table says of an NWB file's subject and the file does not is written into the organized copy.

    Names depend on each file alone. Videos that NWB files refer to come along, and the copies refer to them relatively.
    """
    import dandify
    from dandify.cli.console import out, print_json, progress
    from dandify.project.config import read_dandiset
    from dandify.report.organize import print_organize
    from dandify.store.progress import Progress as Step

    metadata = read_dandiset(config) if config else {}
    given = {"name": name, "description": description, "license": license_ and [f"spdx:{license_}"]}
    metadata |= {k: v for k, v in given.items() if v}
    with progress() as step:
        report = dandify.organize(
            converted, dandiset, mode=mode, layout=layout, table=table, ignore=ignore, media=media,
            overwrite=overwrite, dry_run=dry_run, metadata=metadata or None, subject_id=subject_id,
            session_id=session_id,
            progress=lambda p: step(Step("organize", dandiset.name, p.done_bytes, p.total_bytes)),
        )  # fmt: skip
    if as_json:
        print_json(report)
    else:
        print_organize(report, out())
    if report.refused:
        raise SystemExit(1)
