"""``dandify repack``: an NWB file again, in other compression, chunks or backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("repack", short_help="Write an NWB file again: smaller, other chunks, other backend.")
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@click.argument("path", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--backend", type=click.Choice(["hdf5", "zarr"]), help="Of OUT.  [default: what OUT is named for]")
@click.option("--compression", metavar="NAME", help="gzip, gzip:fast, gzip:small, zstd, blosc-zstd, blosc-lz4.")
@click.option("--chunks", multiple=True, metavar="PATH=N,N", help="Chunk shape of a dataset in the file. Repeatable.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads that compress.  [default: one per core]")
@click.option("--memory", default="1GB", show_default=True, help="Cap on the memory of the engine.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Compare OUT with IN, object by object.")
@click.option("--paged", is_flag=True, help="HDF5 in pages: fewer requests for readers with a page buffer.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there; OUT may then be IN.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and progress as JSON lines on stderr.")
def command(source: Path, path: Path, chunks: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Write the NWB file IN again as OUT, HDF5 or Zarr, compressed and chunked as convert does.

    IN may be anybody's. Nothing in it is lost: the two files are compared object by object before OUT gets its name.
    """
    import dandify
    from dandify.cli.console import out, print_json, progress, readers_named
    from dandify.report.repack import print_repack, repack_record

    with progress(as_json=as_json) as step, readers_named():
        report = dandify.repack(source, path, chunks=dict(map(_shape, chunks)), progress=step, **options)
    if as_json:
        print_json(repack_record(report))
    else:
        print_repack(report, out())


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    place, _, lengths = text.rpartition("=")
    try:
        return place, tuple(int(n) for n in lengths.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not like /acquisition/NAME/data=30000,64") from error
