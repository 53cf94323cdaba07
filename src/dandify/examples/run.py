"""The main job, end to end, on recordings made from a seed: what ``dandify demo`` and ``make demo`` run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from dandify.errors import BadRequest

if TYPE_CHECKING:
    from rich.console import Console

    from dandify.runs.convert import ConvertReport

T = TypeVar("T")

MARKER = ".dandify-demo"
_ZONE = "Europe/Berlin"

_CONFIG = """\
# What the files of this demo do not say. `dandify convert dandify.yaml --out converted` reads it.
metadata:
  lab: Demonstration lab
  institution: University of Examples
  experimenter: ["Doe, Jane"]
  experiment_description: Recordings made from a seed, in the layouts that acquisition programs write.
  keywords: [demonstration, Neuropixels, light sheet]
  timezone: Europe/Berlin
  electrode_location: VISp
subjects:
  mouse01: {species: Mus musculus, sex: F, age: P90D, strain: C57BL/6J}
  mouse02: {species: Mus musculus, sex: M, age: P84D, strain: C57BL/6J}
sessions:
  - subject_id: mouse01
    session_id: "20260301"
    metadata: {session_description: A head-fixed mouse chooses between two gratings.}
    sources: [raw/mouse01]
  - subject_id: mouse02
    session_id: "20260302"
    metadata: {session_description: A head-fixed mouse chooses between two gratings.}
    sources: [raw/mouse02]
dandiset:
  name: Demonstration of dandify
  description: Simulated Neuropixels recordings, behaviour and light-sheet images of two mice, made by `dandify demo`.
  license: ["spdx:CC0-1.0"]
  keywords: [demonstration]
  contributor:
    - name: "Doe, Jane"
      email: jane.doe@example.org
      roleName: ["dcite:ContactPerson", "dcite:Author"]
      schemaKey: Person
      includeInCitation: true
"""


@dataclass(frozen=True)
class Step:
    """One step of the way.

    Attributes
    ----------
    name
        The verb.
    seconds
        How long it took.
    ok
        Whether nothing fell short.
    result
        What came out, in a few words.
    """

    name: str
    seconds: float
    ok: bool
    result: str


@dataclass(frozen=True)
class DemoReport:
    """The steps of the way, in order."""

    folder: Path
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether every step went right."""
        return all(step.ok for step in self.steps)


def write_recordings(folder: Path, *, seconds: float = 10.0, channels: int = 384) -> Path:
    """Write the demo's recordings and its ``dandify.yaml``.

    Parameters
    ----------
    folder
        Where; recordings go to ``raw/`` in it.
    seconds
        Length of the recordings.
    channels
        Channels of each probe.

    Returns
    -------
    Path
        The ``dandify.yaml``.
    """
    from dandify.examples.behaviour import write_trials, write_video
    from dandify.examples.light_sheet import write_light_sheet
    from dandify.examples.spikeglx import write_spikeglx_run

    for number, probes in ((1, 2), (2, 1)):
        raw = folder / "raw" / f"mouse{number:02}"
        raw.mkdir(parents=True)
        start = datetime(2026, 3, number, 14, 30, tzinfo=ZoneInfo(_ZONE)).replace(tzinfo=None)
        write_spikeglx_run(
            raw,
            seed=number,
            probes=probes,
            seconds=seconds,
            run_name=f"mouse{number:02}",
            start=start,
            channels=channels,
        )
        write_light_sheet(raw / "brain.ome.tif", seed=number)
        write_trials(raw / "trials.csv", seed=number, seconds=seconds)
        write_video(raw / "camera.mp4", seed=number, seconds=min(5.0, seconds))
    config = folder / "dandify.yaml"
    config.write_text(_CONFIG, encoding="utf-8")
    return config


def demo(
    folder: Path | str = "demo", *, seconds: float = 10.0, channels: int = 384, console: Console | None = None
) -> DemoReport:
    """Make recordings of two subjects and take them from the rig to an archive and back.

    Parameters
    ----------
    folder
        Where everything goes; an earlier demo there is replaced, anything else is left alone.
    seconds, channels
        Size of the recordings.
    console
        Where to print; a new one if None.

    Raises
    ------
    BadRequest
        If the folder holds something that is no demo.
    """
    from rich.console import Console

    console = console or Console(highlight=False)
    folder = Path(folder).absolute()
    _make_room(folder)
    way = _Way(console)
    config = way.step(
        "make",
        lambda: write_recordings(folder, seconds=seconds, channels=channels),
        lambda _: "raw recordings of two subjects",
    )
    _from_rig_to_dandiset(way, folder, config)
    if way.ok:
        _to_archive_and_back(way, folder)
    report = DemoReport(folder, tuple(way.steps))
    _print(report, console)
    return report


class _Way:
    """Runs steps one after the other, keeps what became of each, and stops the clock."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[Step] = []

    @property
    def ok(self) -> bool:
        return all(step.ok for step in self.steps)

    def step(
        self, name: str, work: Callable[[], T], describe: Callable[[T], str], ok: Callable[[T], bool] = lambda _: True
    ) -> T:
        begin = time.perf_counter()
        result = work()
        step = Step(name, time.perf_counter() - begin, ok(result), describe(result))
        self.steps.append(step)
        mark = "[green]ok[/]" if step.ok else "[red]failed[/]"
        self.console.print(f"{mark}  {name:<9} {step.seconds:6.1f} s  {step.result}")
        return result


def _make_room(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise BadRequest(
                "is not empty and no earlier demo", file=folder, remedy="name another folder: dandify demo DIR"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def _from_rig_to_dandiset(way: _Way, folder: Path, config: Path) -> None:
    from dandify.dandiset.organize import organize
    from dandify.dandiset.validate import validate
    from dandify.project.config import read_config
    from dandify.project.scan import scan
    from dandify.report import text
    from dandify.report.convert import convert_table
    from dandify.report.validate import print_validation
    from dandify.runs.convert import convert

    way.step(
        "scan",
        lambda: scan(folder / "raw"),
        lambda r: (
            f"{len(r.sessions)} sessions, {sum(len(s.streams) for s in r.sources)} streams, "
            f"{text.size(sum(s.nbytes for s in r.sources))}, {len(r.unknown)} unknown files"
        ),
        lambda r: len(r.sessions) == 2 and not r.broken and not r.unknown,
    )

    def describe(report: ConvertReport) -> str:
        written = [w for s in report.sessions for w in s.written]
        raw, stored = sum(w.raw_bytes for w in written), sum(w.stored_bytes for w in written)
        seconds = sum(w.seconds for w in written)
        return (
            f"{text.size(raw)} to {text.size(stored)}, ratio {raw / stored:.2f}, {raw / 1e6 / seconds:.0f} MB/s with "
            "every sample compared"
        )

    converted = way.step(
        "convert",
        lambda: convert(out=folder / "converted", config=config),
        describe,
        lambda r: not r.failed and all(w.verified for s in r.sessions for w in s.written),
    )
    way.step(
        "organize",
        lambda: organize(
            folder / "converted", folder / "dandiset", mode="hardlink", metadata=read_config(config).dandiset
        ),
        lambda r: f"{len(r.files)} files and images in {folder.name}/dandiset",
    )
    checked = way.step(
        "validate",
        lambda: validate(folder / "dandiset"),
        lambda r: f"{len(r.errors)} errors in {len(r.files)} files",
        lambda r: not r.errors,
    )
    if checked.errors:
        print_validation(checked, way.console)
    way.console.print(convert_table(converted))


def _to_archive_and_back(way: _Way, folder: Path) -> None:
    from dandify.archive.download import compare_trees, download
    from dandify.archive.serve import running_archive
    from dandify.archive.upload import upload
    from dandify.report import text

    with running_archive(folder / "archive") as archive:
        sent = way.step(
            "upload",
            lambda: upload(folder / "dandiset", to=archive.url, token=archive.token, create=True, validate=False),
            lambda r: f"{text.size(r.bytes_sent)} to {archive.url} as dandiset {r.dandiset_id}",
            lambda r: not r.failed,
        )
        if sent.failed:
            return
        copy = way.step(
            "download",
            lambda: download(archive.url, sent.dandiset_id, folder / "downloaded"),
            lambda path: f"with the dandi client to {folder.name}/{path.relative_to(folder).as_posix()}",
        )
    way.step(
        "compare",
        lambda: compare_trees(folder / "dandiset", copy),
        lambda r: (
            f"{len(r.identical)} files equal byte for byte, {len(r.different)} different, {len(r.missing)} missing"
        ),
        lambda r: r.equal,
    )


def _print(report: DemoReport, console: Console) -> None:
    seconds = sum(s.seconds for s in report.steps)
    if not report.ok:
        console.print(f"[red]fell short:[/] {', '.join(s.name for s in report.steps if not s.ok)}")
        return
    shown = report.folder
    with suppress(ValueError):
        shown = report.folder.relative_to(Path.cwd())
    console.print(f"all of it in {seconds:.0f} s. What to run next:")
    for line in (
        f"dandify scan {shown}/raw",
        f"dandify validate {shown}/dandiset",
        f"dandify archive serve {shown}/archive",
        "dandify scan FOLDER_OF_YOUR_OWN",
    ):
        console.print(f"  {line}", soft_wrap=True)
