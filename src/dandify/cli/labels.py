"""``dandify labels``: segmentations and masks into an OME-Zarr image that is there."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("labels", short_help="Add labels to an OME-Zarr image.")
@click.argument("image", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("labels", nargs=-1, required=True, metavar="NAME=FILE...")
@click.option("--downsample", type=click.Choice(["mode", "max", "nearest"]), help="How levels are made.")
@click.option("--dry-run", is_flag=True, help="Show levels, chunks, files and sizes; write nothing.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads that compress.  [default: one per core]")
@click.option("--memory", default="1GB", show_default=True, help="Cap on the memory of the engine.")
@click.option(
    "--verify",
    type=click.Choice(["full", "sample", "none"]),
    default="full",
    show_default=True,
    help="How much is read back and compared with its source.",
)
@click.option("--overwrite", is_flag=True, help="Replace labels that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and progress as JSON lines on stderr.")
def command(
    image: Path, labels: tuple[str, ...], dry_run: bool, overwrite: bool, as_json: bool, **options: object
) -> None:
    """Add labels to IMAGE, an OME-Zarr 0.4 or 0.5 of dandify or of any other tool.

    Each FILE - a TIFF, .npy, or whatever image a converter knows - holds whole numbers, 0 where there is no object,
    one for each voxel of the image. They become IMAGE/labels/NAME with the levels, scales and places of the image, and
    are verified before they are moved there and listed.
    """
    import dandify
    from dandify.cli.console import out, print_json, progress
    from dandify.cli.convert import named_files
    from dandify.report.dry_run import image_record, print_levels, print_verdict
    from dandify.report.labels import labels_report, print_labels

    console = out()
    files = named_files(labels, "NAME=FILE")
    verify = options.pop("verify")
    plans = [
        dandify.plan_ome_zarr_labels(file, image, name, overwrite=overwrite, **options)  # type: ignore[arg-type]  # click's
        for name, file in files.items()
    ]
    if dry_run:
        if as_json:
            print_json({"dry_run": True, "image": str(image), "labels": [image_record(plan) for plan in plans]})
            return
        for plan in plans:
            print_levels(plan, console)
            print_verdict(plan, console)
        console.print("nothing was written")
        return
    with progress(as_json=as_json) as step:
        written = [
            dandify.write_ome_zarr_labels(
                file, image, name, verify=verify, overwrite=overwrite, progress=step, **options,  # type: ignore[arg-type]  # click's
            ) for name, file in files.items()
        ]  # fmt: skip
    if as_json:
        print_json(labels_report(image, written))
    else:
        print_labels(image, written, console)
