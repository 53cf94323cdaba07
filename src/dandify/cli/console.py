"""The terminal: tables on stdout, progress on stderr, plain lines where there is no terminal."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich import filesize
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from dandify.store.progress import Progress as Step
from dandify.store.progress import ProgressCallback

_JSON_SECONDS = 1.0
_PLAIN_SECONDS = 5.0  # how often a job says something where there is no terminal


def out() -> Console:
    """Return the console of stdout; wide enough not to cut tables where there is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    click.echo(json.dumps(value, default=_plain, indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, (Path, Exception)):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return repr(value)


@contextmanager
def progress(*, as_json: bool = False) -> Iterator[ProgressCallback]:
    """Yield a callback: a bar for each stage of an output on a terminal, a line now and then elsewhere.

    Parameters
    ----------
    as_json
        Print JSON lines on stderr instead, for programs: the fields of `Progress`, and ``seconds`` since the
        start; one a second and one when a stage is done.
    """
    if as_json:
        yield _json_lines()
        return
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}
        last: dict[str, Step] = {}

        def step(event: Step) -> None:
            before = last.get(event.stage)
            if before is None or event.total_bytes != before.total_bytes or event.done_bytes < before.done_bytes:
                if before is not None:  # another output has begun
                    bars.remove_task(tasks[event.stage])
                tasks[event.stage] = bars.add_task("", total=event.total_bytes, detail="")
            last[event.stage] = event
            bars.update(
                tasks[event.stage], description=f"{event.stage} {escape(event.name)}", completed=event.done_bytes,
                detail=_detail(event),
            )  # fmt: skip

        yield step


@contextmanager
def readers_named() -> Iterator[None]:
    """Print who will not be able to read an output as a plain line on stderr, each once."""
    from dandify.store.compression import ReadersWarning

    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", ReadersWarning)
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if not issubclass(category, ReadersWarning):
                show(message, category, *rest)
            elif str(message) not in said:
                said.add(str(message))
                click.secho(f"warning: {message}", fg="yellow", err=True)

        warnings.showwarning = shown  # type: ignore[assignment]  # the rest is passed on
        yield


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Yield a callback that shows what is being done on a terminal, and says nothing elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as line:
        yield lambda text: line.update(escape(text))


def _detail(event: Step) -> str:
    """How far reading is, and what the output takes."""
    if not event.stored_bytes:
        return f"read {filesize.decimal(event.read_bytes)}" if event.read_bytes else ""
    ratio = event.encoded_bytes / event.stored_bytes
    return (
        f"read {filesize.decimal(event.read_bytes)}, stored {filesize.decimal(event.stored_bytes)} ({ratio:.2f} to 1)"
    )


def _json_lines() -> ProgressCallback:
    begun = said = time.monotonic()

    def step(event: Step) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said > _JSON_SECONDS or event.done_bytes == event.total_bytes:
            said = now
            click.echo(json.dumps(asdict(event) | {"seconds": round(now - begun, 3)}), err=True)

    return step


def _plain_lines(console: Console) -> ProgressCallback:
    last = time.monotonic()

    def step(event: Step) -> None:
        nonlocal last
        if time.monotonic() - last > _PLAIN_SECONDS:
            last = time.monotonic()
            share = f"{event.done_bytes / max(1, event.total_bytes):.0%}"
            text = f"{event.stage} {event.name}: {share}" + (f", {found}" if (found := _detail(event)) else "")
            console.print(text, soft_wrap=True, markup=False)

    return step
