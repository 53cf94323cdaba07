"""``dandify tune``: the chunks and compression that suit your own files, measured on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dandify.tuning.tune import Progress


@click.command("tune", short_help="Measure which chunks and compression suit your files.")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="SOURCE...")
@click.option(
    "--objective",
    type=click.Choice(["balanced", "size", "speed", "read"]),
    default="balanced",
    show_default=True,
    help="What counts: size and time, size, speed of writing, or speed of reading.",
)
@click.option("--budget", default="60s", show_default=True, help="Time for all streams, like 60s or 5min.")
@click.option(
    "--readers",
    type=click.Choice(["any", "plugins", "python"]),
    default="any",
    show_default=True,
    help="Who shall read the files: everybody, who has HDF5 plugins, or who uses Python.",
)
@click.option(
    "--backend",
    type=click.Choice(["hdf5", "zarr", "ome-zarr"]),
    help="Recordings as NWB in HDF5 or Zarr, or images alone.  [default: hdf5, and OME-Zarr for images]",
)
@click.option(
    "--apply",
    "config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A dandify.yaml into which the choice is written; the prediction is for all its sessions.",
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with figures, which opens offline."
)
@click.option("--latency", default=50.0, show_default=True, metavar="MS", help="Of a request to the archive.")
@click.option("--bandwidth", default=30.0, show_default=True, metavar="MB/S", help="Of the line to the archive.")
@click.option("--seed", default=0, show_default=True, help="Of the places that are sampled.")
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Files to pass over, like '*.csv'. Repeatable.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads that compress.  [default: one per core]")
@click.option("--json", "as_json", is_flag=True, help="Print every measurement as JSON.")
def command(
    sources: tuple[Path, ...], config: Path | None, html: Path | None, latency: float, as_json: bool, **options: Any
) -> None:
    """Measure on samples of SOURCE which chunks, filters and encoders suit it, and recommend one for each stream.

    SOURCE is anything that convert opens, an NWB file, an OME-Zarr, a folder of these, or a dandify.yaml. Of a folder
    that has recordings, NWB files and OME-Zarr are passed over. Every candidate is decoded again and compared bit by
    bit. At most 2 % of what is larger than 2 GB is read. Ctrl-C shows what was measured so far.
    """
    import dandify
    from dandify.cli.console import out, print_json
    from dandify.report.tune import print_tuning, tuning_record
    from dandify.report.tune_html import require_folder, write_html

    if html is not None:
        require_folder(html)
    with _live(quiet=as_json) as progress:
        result = dandify.tune(
            *sources, apply=config, latency_s=latency / 1e3, bandwidth_mbs=options.pop("bandwidth"),
            progress=progress, **options,
        )  # fmt: skip
    if html is not None:
        write_html(result, html)
    if as_json:
        print_json(tuning_record(result))
    else:
        print_tuning(result, out())
    if config is not None and not result.stopped and not as_json:
        click.echo(f"written into {config}; `dandify convert {config}` obeys it")
    if result.stopped:
        if config is not None:
            click.echo(f"{config} is as it was", err=True)
        raise SystemExit(1)


@contextmanager
def _live(*, quiet: bool) -> Iterator[Progress | None]:
    """Yield a callback that keeps a table of the best so far on a terminal, and prints a line a round elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if quiet:
        yield None
    elif not console.is_terminal:
        yield lambda step: console.print(f"{step.stream}: round {step.round} of {step.rounds}")
    else:
        from rich.live import Live

        with Live(console=console, transient=True, refresh_per_second=4) as live:
            yield lambda step: live.update(_table(step))


def _table(step: Any) -> Any:
    from rich.table import Table

    table = Table(title=f"{step.stream}: round {step.round} of {step.rounds}", title_justify="left")
    table.add_column("candidate")
    table.add_column("ratio", justify="right")
    table.add_column("MB/s a core", justify="right")
    for name, ratio, speed in step.rows:
        table.add_row(name, f"{ratio:.3f}", f"{speed:.0f}")
    return table
