"""``dandify convert``: raw recordings to NWB and OME-Zarr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click


@click.command("convert", short_help="Convert recordings to NWB and OME-Zarr.")
@click.argument("sources", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the outputs."
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A dandify.yaml that lists sessions, instead of SOURCES.",
)
@click.option("--subject-id", help="Id of the subject.")
@click.option("--species", help="Latin name, like 'Mus musculus', or NCBITaxon URL.")
@click.option("--sex", help="M, F, U (unknown) or O (other).")
@click.option("--age", help="ISO 8601 duration at the session, like P60D.")
@click.option("--session-id", help="Id of the session.")
@click.option("--session-start", help="ISO 8601 with zone, like 2026-03-01T14:30:00+01:00, if the files state none.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other metadata; lists are separated by ';'. Repeatable.",
)
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Files to pass over, like '*.csv'. Repeatable.")
@click.option("--backend", type=click.Choice(["hdf5", "zarr"]), help="Of NWB files.  [default: hdf5]")
@click.option(
    "--labels",
    "label_files",
    multiple=True,
    metavar="NAME=FILE",
    help="Labels (segmentation, mask) of the image; IMAGE/NAME=FILE if there are several images. Repeatable.",
)
@click.option(
    "--pattern",
    metavar="NAMES",
    help="Which plane each TIFF of a folder is: '*_{row}{column}_s{field}_w{channel:1}*.tif', {z}, {t}; "
    "rows and columns make it a plate.",
)
@click.option(
    "--missing",
    type=click.Choice(["refuse", "fill"]),
    default="refuse",
    show_default=True,
    help="Planes of an image that no file holds: refuse it, or have 0 there, which the manifest names.",
)
@click.option("--ngff", type=click.Choice(["0.5", "0.4"]), help="Version of OME-Zarr.  [default: 0.5]")
@click.option("--compression", metavar="NAME", help="Of NWB files: gzip, gzip:fast, gzip:small, zstd ...")
@click.option(
    "--chunks",
    "chunk_shapes",
    multiple=True,
    metavar="NAME=30000x2",
    help="Chunk shape of a dataset of NWB files, like ElectricalSeries=30000x2, instead of a measured one. Repeatable.",
)
@click.option("--paged", is_flag=True, help="NWB HDF5 in pages: fewer requests for readers with a page buffer.")
@click.option("--dry-run", is_flag=True, help="Show outputs, chunks, encoders, sizes and reasons; write nothing.")
@click.option("--stub", is_flag=True, help="Only the first second of recordings and the first planes of images.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads that compress.  [default: one per core]")
@click.option("--memory", default="1GB", show_default=True, help="Cap on the memory of the engine.")
@click.option(
    "--verify",
    type=click.Choice(["full", "sample", "none"]),
    default="full",
    show_default=True,
    help="How much of each output is read back and compared with its source.",
)
@click.option(
    "--transform",
    "transforms",
    multiple=True,
    metavar="NAME=divide,recentre",
    help="Exact changes of a series' stored integers, undone by conversion and offset; '*' for all. Repeatable.",
)
@click.option("--overwrite", is_flag=True, help="Replace outputs that are there.")
@click.option("--skip-existing", is_flag=True, help="Leave outputs that are there and convert the rest.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and progress as JSON lines on stderr.")
def command(
    sources: tuple[Path, ...],
    assignments: tuple[str, ...],
    chunk_shapes: tuple[str, ...],
    label_files: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Convert SOURCES, the files and folders of one session, or the sessions of a dandify.yaml.

    Without SOURCES, the dandify.yaml of the working folder is taken; SOURCES may also be the name of one.

    Images become OME-Zarr, everything else of a session one NWB file. Every output is compared with its source before
    it gets its name; a run that was stopped, even killed, is gone on with by the same command. Required metadata that
    neither the files nor you state are asked for at once, before any work.
    """
    import dandify
    from dandify.cli.console import out, print_json, progress, readers_named
    from dandify.errors import MissingMetadata
    from dandify.project.config import CONFIG_NAME
    from dandify.project.metadata import KEYS
    from dandify.report.convert import convert_record, print_convert, print_plan
    from dandify.report.dry_run import dry_run_record, print_dry_run
    from dandify.store.shapes import parse_chunks

    options["transforms"] = _transforms(options["transforms"])
    if not options["config"] and len(sources) == 1 and sources[0].suffix in (".yaml", ".yml"):
        options["config"], sources = sources[0], ()
    elif not options["config"] and not sources and Path(CONFIG_NAME).is_file():
        options["config"] = Path(CONFIG_NAME)
    console = out()
    options["labels"] = named_files(label_files, "--labels")
    options["chunks"] = dict(map(parse_chunks, chunk_shapes))
    dry_run = options["dry_run"]
    while True:
        try:
            with progress(as_json=as_json) as step, readers_named():
                report = dandify.convert(
                    *sources, metadata=assignments, progress=step,
                    on_plan=None if as_json or dry_run else lambda plans: print_plan(plans, console), **options,
                )  # fmt: skip
            break
        except MissingMetadata as error:
            if as_json or not sys.stdin.isatty() or not all(n.key.split(".")[0] in KEYS for n in error.needs):
                raise
            assignments = (*assignments, *_ask(error))
    if as_json:
        print_json(dry_run_record(report) if dry_run else convert_record(report))
    else:
        (print_dry_run if dry_run else print_convert)(report, console)
    if report.failed:
        raise SystemExit(1)


def named_files(given: tuple[str, ...], hint: str) -> dict[str, Path]:
    """Read ``NAME=FILE``."""
    found: dict[str, Path] = {}
    for text in given:
        name, sign, file = text.partition("=")
        if not sign or not name or not file:
            raise click.BadParameter(f"{text!r} is not NAME=FILE", param_hint=hint)
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice", param_hint=hint)
        found[name] = Path(file)
    return found


def _transforms(given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Read ``NAME=divide,recentre``."""
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, sign, transforms = text.rpartition("=")
        if not sign or not name:
            raise click.BadParameter(f"{text!r} is not NAME=divide,recentre", param_hint="--transform")
        found[name] = (*found.get(name, ()), *(part.strip() for part in transforms.split(",")))
    return found


def _ask(error: Any) -> list[str]:
    """Ask for everything that is missing, one line each."""
    click.echo(f"{error.where} lacks {len(error.needs)} required value(s); an empty answer stops.", err=True)
    answers = []
    for need in error.needs:
        place = f" [{Path(need.file).name}]" if need.file else ""
        answer = click.prompt(f"  {need.key}{place} ({need.what})", default="", show_default=False, err=True)
        if not answer:
            raise error
        answers.append(f"{need.key}={answer}")
    return answers
