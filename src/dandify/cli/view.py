"""``dandify view``: images in a browser."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("view", short_help="Look at OME-Zarr images in a browser.")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the files.  [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Only say which page to open.")
def command(path: Path, port: int, no_browser: bool) -> None:
    """Look at the images in PATH - an OME-Zarr image, a plate, or a folder of images - until Ctrl-C.

    Neuroglancer shows a layer for each channel, with the colours, windows and scale of the file. It comes with
    pip install "dandify[view]", and needs no network: files and page are served on 127.0.0.1.
    """
    import contextlib
    import threading
    import webbrowser

    import dandify

    with dandify.view(path, port=port) as shown:
        for layer in shown.layers:
            shape = " x ".join(f"{a.length} {a.name}" for a in layer.axes if not a.channels)
            said = layer.unseen or ("" if layer.visible else "hidden at first")
            click.echo(f"{layer.name}: {shape}" + (f" ({said})" if said else ""))
        click.echo(f"{shown.url}\nCtrl-C stops it")
        if not no_browser:
            webbrowser.open(shown.url)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
