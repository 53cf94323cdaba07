"""ScanImage: TIFFs in which the pages of channels, slices and frames follow each other, in one file or several."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dandify.errors import BadSource
from dandify.sources import Channel, Converter, Source, Stream, Verdict
from dandify.sources.microscopy import ImageSource, arrange, common_sizes, needs_of
from dandify.sources.tiff import tiff_pages
from dandify.sources.tiff_header import (
    Header,
    Page,
    foreign,
    is_tiff,
    read_header,
    read_header_and_texts,
    require_whole,
)
from dandify.sources.two_photon import Optics, TwoPhotonSource, as_image, require_options, series_name, timing
from dandify.sources.vendors.scanimage_header import (
    Arrangement,
    FrameInfo,
    Settings,
    arrangement_of,
    frame_info,
    scale_of,
    settings_of,
    version_of,
)

_PART = re.compile(r"(?P<stem>.+_\d{5})_(?P<number>\d{5})(?P<suffix>\.tiff?)", re.IGNORECASE)
_AGAIN = "copy the file again from the microscope's computer"


class ScanImage(Converter):
    """ScanImage 5 and later."""

    name = "scanimage"
    title = "ScanImage"
    patterns = ("*.tif", "*.tiff")
    looks_like = "NAME_00001.tif, or NAME_00001_00001.tif, NAME_00001_00002.tif, ... (ScanImage 5 and later)"
    becomes = "TwoPhotonSeries for each channel of a movie; an OME-Zarr image for a single stack or frame"
    priority = -5  # before ome_tiff; behind planes, for which a folder of ten thousand files is one question

    def claim(self, path: Path) -> Path | None:
        """Return the first file of an acquisition that was split, else the file itself."""
        if match := _PART.fullmatch(path.name):
            return path.with_name(f"{match['stem']}_00001{match['suffix']}")
        return path if self.matches(path) else None

    def identify(self, path: Path) -> Verdict:
        """Look at the texts of the first page."""
        try:
            with path.open("rb") as file:
                if not is_tiff(file.read(16)):
                    return Verdict(False, "does not begin as a TIFF does")
            first = read_header(path, pages=1).first
        except FileNotFoundError:
            return Verdict(False, f"{path.name}, which would be its first file, is missing")
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        except BadSource as error:
            return Verdict(False, error.cause)
        if settings_of(first) is not None:
            return Verdict(True, "has the settings of ScanImage in its first page")
        if foreign(first) == "ScanImage":
            return Verdict(False, "is of ScanImage 4 or older, which wrote its settings in another way")
        return Verdict(False, "has no settings of ScanImage")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the directories and descriptions of all pages; no pixels.

        Parameters
        ----------
        path
            The first file.
        options
            ``as``: ``series`` or ``image``; ``indicator``, ``location`` and ``excitation_nm`` of the imaging plane.
        """
        path = Path(os.path.abspath(path))
        options = require_options(options, path)
        parts = [_part(f) for f in _files(path)]
        settings = parts[0].settings
        try:
            form = arrangement_of(settings)
        except ValueError as error:
            raise BadSource(str(error), file=path, place="page 1") from None
        problems: list[str] = []
        if settings.yes("hRoiManager.mroiEnable"):
            problems.append("several regions lie below each other in its frames: they are not cut apart")
        if form.repeats > 1:
            problems.append(f"of each slice {form.repeats} frames were taken before the next: they are put along time")
        runs = [_Run.of(run, form, path, problems) for run in _joined(parts)]
        image = as_image(options, max(run.times for run in runs))
        start = next((r.start for r in runs if r.start), None)
        streams: list[Stream] = []
        for number, run in enumerate(runs):
            which = number if len(runs) > 1 else None
            streams += [_image(run, form, settings, which, path)] if image else _series(
                run, form, settings, which, path, start
            )  # fmt: skip
        facts = _facts(settings, start, streams)
        files = tuple(p.header.path for p in parts)
        if image:
            return ImageSource(
                format=self.name, path=path, files=files, streams=tuple(streams), facts=facts,
                needs=needs_of(streams, path), problems=tuple(problems), axes_stated=True,
            )  # fmt: skip
        scanner = "".join(settings.texts("imagingSystem"))
        optics = Optics(
            device="ScanImage microscope",
            device_description=f"Two-photon microscope controlled by ScanImage {version_of(settings)}"
            + (f", scanner {scanner}." if scanner else "."),
            excitation_nm=options.get("excitation_nm"), indicator=options.get("indicator"),
            location=options.get("location"),
        )  # fmt: skip
        line_s = settings.number("hRoiManager.linePeriod")
        details = {"scan_line_rate": 1 / line_s} if line_s else {}
        return TwoPhotonSource(
            format=self.name, path=path, files=files, streams=tuple(streams), facts=facts, problems=tuple(problems),
            optics=optics, details={s.name: details for s in streams},
        )  # fmt: skip


@dataclass(frozen=True)
class _Part:
    """A file: its pages, and what each says."""

    header: Header
    settings: Settings
    frames: tuple[FrameInfo, ...]


@dataclass(frozen=True)
class _Run:
    """Volumes of files that follow each other; the pages of a volume in the order slice, repeat, channel.

    Attributes
    ----------
    pages
        Each with its file, those of the way back and of an unfinished volume left out.
    stamps_s
        Time of each page; empty if they are not stated.
    volumes, times
        Volumes, and time points: as many, or more where slices were repeated.
    start
        When the clock of the stamps was 0.
    """

    pages: tuple[tuple[Path, Page], ...]
    stamps_s: tuple[float, ...]
    volumes: int
    times: int
    start: datetime | None

    @classmethod
    def of(cls, parts: Sequence[_Part], form: Arrangement, path: Path, problems: list[str]) -> _Run:
        pages = [(p.header.path, page) for p in parts for page in p.header.pages]
        frames = [f for p in parts for f in p.frames]
        wanted = form.slices * form.repeats * len(form.channels)
        volumes, rest = divmod(len(pages), form.cycle)
        if rest >= wanted:  # the way back of the last volume is not always written
            volumes, rest = volumes + 1, 0
        if not volumes:
            raise BadSource(
                f"has {len(pages)} pages, a volume has {wanted} ({form.slices} slices, {form.repeats} frames of each, "
                f"{len(form.channels)} channels)", file=path, place=f"page {len(pages)}",
                remedy="a recording that was stopped at once is like this; there is no whole volume in it",
            )  # fmt: skip
        if rest:
            problems.append(f"the last volume was not finished, it has {rest} of {wanted} pages: it is left out")
        kept = [v * form.cycle + i for v in range(volumes) for i in range(wanted)]
        stamps = [frames[i].time_s for i in kept]
        return cls(
            tuple(pages[i] for i in kept), tuple(s for s in stamps if s is not None) if None not in stamps else (),
            volumes, volumes * form.repeats, frames[0].epoch,
        )  # fmt: skip


def _files(path: Path) -> list[Path]:
    """Return the file and those that are numbered on from it, without a gap."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    found = []
    for number in range(1, 100_000):
        file = path.with_name(f"{match['stem']}_{number:05d}{match['suffix']}")
        if not file.is_file():
            break
        found.append(file)
    later = sorted(
        p.name for p in path.parent.iterdir()
        if (m := _PART.fullmatch(p.name)) and m["stem"] == match["stem"] and int(m["number"]) > len(found)
    )  # fmt: skip
    if later:
        raise BadSource(
            f"is missing, and {later[0]} is there", file=path.with_name(
                f"{match['stem']}_{len(found) + 1:05d}{match['suffix']}"
            ), remedy="copy it from the microscope's computer; a gap would shift everything behind it",
        )  # fmt: skip
    return found


def _part(path: Path) -> _Part:
    header, frames = read_header_and_texts(path, frame_info)
    require_whole(header)
    settings = settings_of(header.first)
    if settings is None:
        raise BadSource("has no settings of ScanImage in its first page", file=path, place="page 1")
    for i, page in enumerate(header.pages):
        if page.form != header.first.form or page.samples != 1:
            raise BadSource(
                f"page {i + 1} of {len(header.pages)} has {page.height} x {page.width} pixels ({page.dtype}), the "
                f"first has {header.first.height} x {header.first.width} ({header.first.dtype})", file=path,
                place=f"page {i + 1}", remedy=_AGAIN,
            )  # fmt: skip
    return _Part(header, settings, tuple(frames))


def _joined(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Join files whose frames are counted on; others have names alike and are acquisitions of their own."""
    runs = [[parts[0]]]
    for part in parts[1:]:
        last, first = runs[-1][-1].frames[-1], part.frames[0]
        goes_on = first.number is None or last.number is None or first.number in (last.number, last.number + 1)
        same = first.acquisition == last.acquisition and first.epoch == last.epoch
        if goes_on and same and part.header.first.form == runs[-1][-1].header.first.form:
            runs[-1].append(part)
        else:
            runs.append([part])
    return runs


def _array(run: _Run, form: Arrangement, channel: int | None) -> tuple[Any, tuple[str, ...]]:
    """Arrange pages as t c z; of one channel if it is given."""
    import numpy as np

    count = len(form.channels)
    grid = np.arange(len(run.pages)).reshape(run.volumes, form.slices, form.repeats, count)
    if channel is not None:
        grid = grid[..., channel : channel + 1]
    grid = grid.transpose(0, 2, 3, 1)  # volume, repeat, channel, slice
    lengths = (run.times, grid.shape[2], form.slices)
    pages = [run.pages[i] for i in grid.ravel()]
    return arrange(tiff_pages(pages, leading=(len(pages),)), "tcz", lengths)


def _series(
    run: _Run, form: Arrangement, settings: Settings, number: int | None, path: Path, start: datetime | None
) -> list[Stream]:
    """Make one stream (t[, z], y, x) for each channel."""
    from dandify.sources.derived import Upward

    shift_s = (run.start - start).total_seconds() if run.start and start else 0.0
    when = _timing(run, form, settings, shift_s)
    out = []
    for i, name in enumerate(form.channels):
        array, axes = _array(run, form, i)
        if run.times == 1:
            array, axes = Upward(array), ("t", *axes)
        scale = scale_of(settings, array.shape[-2], array.shape[-1], form.slices)
        out.append(Stream(
            name=series_name(name, number, len(form.channels) > 1), kind="TwoPhotonSeries", axes=axes, array=array,
            scale={a: v for a, v in scale.items() if a in axes}, channels=(Channel(name),), unit="n.a.",
            description=f"{name} of {path.name}, recorded with ScanImage {version_of(settings)}.", **when,
        ))  # fmt: skip
    return out


def _image(run: _Run, form: Arrangement, settings: Settings, number: int | None, path: Path) -> Stream:
    array, axes = _array(run, form, None)
    scale = scale_of(settings, array.height, array.width, form.slices)
    if run.times > 1 and (rate := _timing(run, form, settings, 0.0).get("rate_hz")):
        scale["t"] = 1 / rate
    return Stream(
        name=path.stem if number is None else f"{path.stem}_{number}", kind="Image", axes=axes, array=array,
        scale={a: v for a, v in scale.items() if a in axes}, channels=tuple(Channel(n) for n in form.channels),
    )  # fmt: skip


def _timing(run: _Run, form: Arrangement, settings: Settings, shift_s: float) -> dict[str, Any]:
    """Take the time of the first page of each time point: the rate that is set is a promille off and has no pauses."""
    if run.stamps_s:
        pages = form.slices * form.repeats * len(form.channels)
        first = [
            run.stamps_s[v * pages + r * len(form.channels)] + shift_s
            for v in range(run.volumes) for r in range(form.repeats)
        ]  # fmt: skip
        return timing(first)
    key = "hRoiManager.scanVolumeRate" if form.slices > 1 else "hRoiManager.scanFrameRate"
    rate = settings.number(key)
    if not rate:
        raise BadSource(
            f"states neither times of its frames nor a rate (SI.{key})", file=run.pages[0][0], place="page 1"
        )
    return {"rate_hz": rate, "starting_time_s": shift_s}


def _facts(settings: Settings, start: datetime | None, streams: Sequence[Stream]) -> dict[str, Any]:
    first = streams[0]
    facts: dict[str, Any] = {
        "session_start_time": start, "software": f"ScanImage {version_of(settings)}".strip(),
        "pixel_size_um": common_sizes(streams), "time_increment_s": first.scale.get("t"),
        "channel_names": tuple(dict.fromkeys(c.name for s in streams for c in s.channels)),
    }  # fmt: skip
    if first.rate_hz and "t" in first.axes:
        facts["time_increment_s"] = 1 / first.rate_hz
    return {k: v for k, v in facts.items() if v}


converter = ScanImage()
