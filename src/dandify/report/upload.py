"""What an upload did, file by file, and what the archive says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from dandify.archive.send import ProgressCallback, UploadProgress
from dandify.archive.upload import UploadReport
from dandify.report import text

_SHOWN = 20
_COLORS = {
    "uploaded": "green", "skipped": "dim", "failed": "red", "planned": "cyan", "kept": "dim",
    "Valid": "green", "Invalid": "red", "Pending": "yellow",
}  # fmt: skip
_VALUE_CHARACTERS = 60


def print_upload(report: UploadReport, console: Console) -> None:
    """Print a row per asset, what was sent, how metadata differ, what the archive says, and where to look at it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("asset", overflow="fold")  # names are wanted whole, however narrow the terminal is
    table.add_column("size", justify="right")
    table.add_column("status")
    if report.verdict is not None:
        table.add_column("archive")
    table.add_column("message", overflow="fold")
    only_there = [asset.path for asset in report.assets if asset.status == "kept"]
    unlisted = set(only_there[_SHOWN:])  # who adds one file to a large dandiset has a folder with nothing else in it
    for asset in (asset for asset in report.assets if asset.path not in unlisted):
        said = [f"[{_COLORS[asset.archive]}]{asset.archive.lower()}[/]" if asset.archive else ""]
        table.add_row(
            escape(asset.path),
            text.size(asset.bytes),
            f"[{_COLORS[asset.status]}]{asset.status}[/]",
            *(said if report.verdict is not None else ()),
            escape(asset.message),
        )
    console.print(table)
    if unlisted:
        console.print(f"and {len(unlisted)} more, only at the archive (all of them: --json)")
    if report.changes:
        done = "sent" if report.changed else "different; --metadata sends them"
        console.print(f"dandiset.yaml and the archive: {len(report.changes)} field(s): {done}")
        for change in report.changes:
            there, here = _parted(change.there, change.here)
            console.print(f"  {change.field}: {_short(there)} -> {_short(here)}", markup=False)
    if report.verdict is not None:
        errors = report.verdict.errors
        waiting = f", {len(report.verdict.unchecked)} asset(s) not checked yet" if report.verdict.unchecked else ""
        found = f", {len(errors)} error(s)" if errors else ""
        console.print(f"the archive says: {report.verdict.status}{found}{waiting}")
        for error in errors[:_SHOWN]:
            where = ": ".join(part for part in (error.path or "dandiset", error.field) if part)
            console.print(f"  {where}: {error.message}", markup=False, soft_wrap=True)
        if len(errors) > _SHOWN:
            console.print(f"  and {len(errors) - _SHOWN} more, on the page")
    if report.trouble:
        console.print(f"[red]the archive could not be asked[/]: {escape(report.trouble)}", soft_wrap=True)
    _print_unfinished(report, console)
    planned = sum(asset.status == "planned" for asset in report.assets)
    if planned:
        console.print(f"{planned} asset(s) would be uploaded to {report.archive}; nothing was sent")
        return
    uploaded = sum(asset.status == "uploaded" for asset in report.assets)
    console.print(
        f"dandiset {report.dandiset_id} at {report.archive}: {text.size(report.bytes_sent)} sent in "
        f"{text.duration(report.seconds)}; {uploaded} uploaded, {len(report.failed)} failed; {report.url}",
        soft_wrap=True,
    )
    if report.failed and report.trouble:
        console.print("the next upload sends only what has not arrived", soft_wrap=True)
    elif report.failed:
        console.print("dandify validate says what mends what failed; the next upload sends only that", soft_wrap=True)


def _print_unfinished(report: UploadReport, console: Console) -> None:
    found = report.unfinished
    if found.removed:
        console.print(f"removed at the archive: {found.removed} unfinished upload(s) that this folder had begun")
    if found.left and found.embargoed:
        console.print(
            f"at the archive {len(found.left)} upload(s) are unfinished, since {found.left[0][:16]} (UTC), not all of "
            "them begun from this folder. Until they end, the embargo cannot be lifted; those that nobody is sending "
            "can be removed on the dandiset's page",
            soft_wrap=True,
        )


@contextmanager
def live_upload(console: Console) -> Iterator[ProgressCallback]:
    """Yield a callback that shows the assets under way on a terminal, a bar each, and says nothing elsewhere."""
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        under_way: dict[str, TaskID] = {}

        def step(event: UploadProgress) -> None:
            finished = event.step in _COLORS
            if event.path not in under_way and not finished:
                under_way[event.path] = bars.add_task("", total=event.total_bytes or None)
            if finished:
                if event.path in under_way:
                    bars.remove_task(under_way.pop(event.path))
                return
            name = event.path.rpartition("/")[2]
            bars.update(
                under_way[event.path], description=escape(f"{name} {event.step}".strip()), completed=event.done_bytes
            )

        yield step


def _parted(there: Any, here: Any) -> tuple[Any, Any]:
    """Return of two lists what the other has not; of records of one name also only that."""
    if not (isinstance(there, list) and isinstance(here, list)):
        return there, here
    old, new = [item for item in there if item not in here], [item for item in here if item not in there]
    if not old and not new:  # another order
        return there, here
    pairs = list(zip(old, new, strict=False))
    if len(old) == len(new) and all(isinstance(one, Mapping) for pair in pairs for one in pair):
        old, new = [_beside(one, other) for one, other in pairs], [_beside(one, other) for other, one in pairs]
    return old, new


def _beside(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key == "name" or other.get(key) != value}


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return said if len(said) <= _VALUE_CHARACTERS else f"{said[:_VALUE_CHARACTERS]}..."
