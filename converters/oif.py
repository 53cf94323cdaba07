"""Olympus FluoView (FV1000): OIF, a file and a folder of planes, and OIB, the same within one compound file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource
from dandify.sources import Array, Converter, Source, Stream, Verdict
from dandify.sources.microscopy import ImageSource, arrange, common_sizes, needs_of
from dandify.sources.tiff import require_form, tiff_pages
from dandify.sources.tiff_header import Page, header_within, read_header, require_whole
from dandify.sources.vendors.compound_file import Extent, read_compound_file, read_runs
from dandify.sources.vendors.fluoview import (
    Frames,
    Settings,
    brightest,
    channels_of,
    facts_of,
    frames_of,
    parse_settings,
    plane_of,
    scale_of,
)
from dandify.store.region import Region, extent

_FOLDER = ".files"
_INFO = "OibInfo.txt"
_AGAIN = "copy the file again from the microscope's computer"


@dataclass(frozen=True, eq=False)
class StreamPlanes(Array):
    """Uncompressed planes in streams of a compound file: leading axes, then y and x.

    Parameters
    ----------
    path
        The compound file.
    names
        Of the planes, in C order of the leading axes, for messages.
    pixels
        Where in the file the pixels of each lie.
    leading, height, width
        Its shape.
    dtype
        Native type of the values.
    order
        Byte order in the file, ``<`` or ``>``.
    """

    path: Path
    names: tuple[str, ...]
    pixels: tuple[Extent, ...]
    leading: tuple[int, ...]
    height: int
    width: int
    dtype: np.dtype[Any]
    order: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., y, x)."""
        return (*self.leading, self.height, self.width)

    @property
    def block(self) -> tuple[int, ...]:
        """One plane."""
        return (*(1 for _ in self.leading), self.height, self.width)

    def read(self, region: Region) -> NDArray[Any]:
        """Read the rows of the planes that a region touches.

        Raises
        ------
        dandify.errors.BadSource
            If the file has become shorter.
        """
        out = np.empty(extent(region), self.dtype)
        *lead, rows, columns = region
        stored = self.dtype.newbyteorder(self.order)  # type: ignore[arg-type]  # "<" or ">"
        line = self.width * stored.itemsize
        with self.path.open("rb", buffering=0) as file:
            for place in product(*(range(s.start, s.stop) for s in lead)):
                index = int(np.ravel_multi_index(place, self.leading)) if place else 0
                wanted = self.pixels[index].part(rows.start * line, rows.stop * line)
                try:
                    data = read_runs(file, wanted)
                except (OSError, EOFError) as error:
                    raise BadSource(
                        f"cannot be read: {error}", file=self.path, place=self.names[index], remedy=_AGAIN
                    ) from None
                values = np.frombuffer(data, stored).reshape(rows.stop - rows.start, self.width)
                out[tuple(i - s.start for i, s in zip(place, lead, strict=True))] = values[:, columns]
        return out


class Oif(Converter):
    """Olympus OIF and OIB."""

    name = "oif"
    title = "Olympus OIF and OIB"
    patterns = ("*.oib", "*.oif")
    looks_like = "NAME.oib; or NAME.oif with the folder NAME.oif.files beside it (FluoView FV1000)"
    becomes = "an OME-Zarr image"
    priority = -20  # before planes: the folder of an OIF holds numbered TIFF files

    def claim(self, path: Path) -> Path | None:
        """Return the file itself, or the OIF of whose folder it is."""
        folder = path.parent.name
        if folder.lower().endswith(".oif" + _FOLDER):
            return path.parent.with_name(folder[: -len(_FOLDER)])
        return path if self.matches(path) else None

    def identify(self, path: Path) -> Verdict:
        """Look for the list of files in the compound file, or for the sections of the main file."""
        try:
            with path.open("rb") as file:
                start = file.read(8)
            if path.suffix.lower() == ".oib":
                if _INFO in read_compound_file(path).streams:
                    return Verdict(True, f"is a compound file with {_INFO}")
                return Verdict(False, f"is a compound file without {_INFO}")
            if start[:3] not in (b"\xff\xfe[", b"[Pr", b"[Fi", b"[Ac"):
                return Verdict(False, "does not begin as a settings file of FluoView does")
            if "Axis Parameter Common" in parse_settings(path.read_bytes()):
                return Verdict(True, "has the settings of a FluoView image")
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        except ValueError as error:
            return Verdict(False, f"has {error}")
        except BadSource as error:
            return Verdict(False, error.cause)
        return Verdict(False, "describes no image")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the settings, and the first directory of every plane; no pixels."""
        path = Path(os.path.abspath(path))
        if options:
            raise BadRequest(f"an Olympus image has no option {', '.join(options)}", file=path)
        return _opened(_Oib(path) if path.suffix.lower() == ".oib" else _OifFolder(path), path)


class _Files(Protocol):
    """The files of an image by their names without a folder: planes, settings, lookup tables."""

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    settings: Settings

    def read(self, name: str) -> bytes:
        """Return all of a file."""

    def array(self, names: list[str], frames: Frames) -> tuple[Array, tuple[str, ...]]:
        """Return the planes of these names, in the order t c z, and the axes of the array."""


class _Oib:
    """Streams of a compound file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.paths: tuple[Path, ...] = (path,)
        self.compound = read_compound_file(path)
        if _INFO not in self.compound.streams:
            raise BadSource(f"is a compound file without {_INFO}, none of FluoView", file=path)
        with path.open("rb") as file:
            info = _settings(self.compound.read(file, _INFO), path, _INFO).get("OibSaveInfo", {})
        ends = {name.rpartition("/")[2]: name for name in self.compound.streams}
        listed = {
            value.rpartition("/")[2]: key for key, value in info.items() if key.startswith("Stream") and value
        }  # fmt: skip
        missing = sorted(name for name, stream in listed.items() if stream not in ends)
        if missing:
            raise BadSource(f"lists {missing[0]}, which is not in it", file=path, place=_INFO, remedy=_AGAIN)
        self.streams = {name: ends[stream] for name, stream in listed.items()}
        self.names = tuple(self.streams)
        main = info.get(info.get("MainFileName", ""), "").rpartition("/")[2]
        if main not in self.streams:
            raise BadSource("does not say which is its main file", file=path, place=_INFO)
        self.settings: Settings = _settings(self.read(main), path, main)

    def read(self, name: str) -> bytes:
        with self.path.open("rb") as file:
            return self.compound.read(file, self.streams[name])

    def array(self, names: list[str], frames: Frames) -> tuple[Array, tuple[str, ...]]:
        pixels: list[Extent] = []
        first: Page | None = None
        with self.path.open("rb") as file:
            for name in names:
                whole = self.compound.streams[self.streams[name]]
                with self.compound.open(file, self.streams[name]) as stream:
                    page = header_within(self.path, stream, whole.size, pages=1).first
                first = first or page
                require_form(self.path, page, first.form, place=name)
                if page.data < 0 or page.order != first.order or page.samples != 1:
                    raise BadSource(
                        "is compressed or otherwise not stored as plain pixels", file=self.path, place=name,
                        remedy="save the image as OIF in FluoView",
                    )  # fmt: skip
                if page.end > whole.size:
                    raise BadSource("ends within its pixels", file=self.path, place=name, remedy=_AGAIN)
                pixels.append(Extent(page.nbytes, whole.part(page.data, page.data + page.nbytes)))
        assert first is not None
        _require_size(first, frames, self.path, names[0])
        kept = [(a, n) for a, n in frames.lengths.items() if n > 1]
        array = StreamPlanes(
            self.path, tuple(names), tuple(pixels), tuple(n for _, n in kept), first.height, first.width, first.dtype,
            first.order,
        )  # fmt: skip
        return array, (*(a for a, _ in kept), "y", "x")


class _OifFolder:
    """A main file, and a folder of the others."""

    def __init__(self, path: Path) -> None:
        try:
            self.settings: Settings = _settings(path.read_bytes(), path, None)
            folder = path.with_name(path.name + _FOLDER)
            if not folder.is_dir():
                raise BadSource(
                    f"the folder {folder.name} with its planes is missing beside it", file=path,
                    remedy="copy it from the microscope's computer; both must have the names that FluoView gave them",
                )  # fmt: skip
            self.folder = {p.name: p for p in sorted(folder.iterdir()) if p.is_file()}
        except OSError as error:
            raise BadSource(f"cannot be read: {error.strerror}", file=path) from None
        self.names, self.paths = tuple(self.folder), (path, *self.folder.values())

    def read(self, name: str) -> bytes:
        return self.folder[name].read_bytes()

    def array(self, names: list[str], frames: Frames) -> tuple[Array, tuple[str, ...]]:
        pages = [(self.folder[n], require_whole(read_header(self.folder[n], pages=1)).first) for n in names]
        _require_size(pages[0][1], frames, pages[0][0], None)
        return arrange(tiff_pages(pages, leading=(len(pages),)), "tcz", tuple(frames.lengths.values()))


def _opened(files: _Files, path: Path) -> ImageSource:
    try:
        frames = frames_of(files.settings)
    except ValueError as error:
        raise BadSource(str(error), file=path, place="Axis Parameter Common") from None
    if frames.plane_axes != "XY":
        raise BadSource(
            f"its planes have the axes {' and '.join(frames.plane_axes)}: a line scan or a section, which is no image "
            "in y and x", file=path, remedy="export it from FluoView as a table or TIFF",
        )  # fmt: skip
    if frames.other:
        raise BadSource(
            f"has the axis {', '.join(frames.other)} beside time, channel and depth, which OME-Zarr has not", file=path,
            remedy="export it from FluoView, one file for each of its steps",
        )  # fmt: skip
    names = list(_planes(files, frames, path))
    array, axes = files.array(names, frames)
    plane = names[0][:-4] + ".pty"
    stated = _settings(files.read(plane), path, plane) if plane in files.names else {}
    scale = {a: v for a, v in scale_of(files.settings).items() if a in axes}
    channels = channels_of(files.settings, frames.lengths["c"], _colors(files, frames.lengths["c"]))
    stream = Stream(name=path.stem, kind="Image", axes=axes, array=array, scale=scale, channels=channels)
    facts = facts_of(files.settings, stated)
    if sizes := common_sizes([stream]):
        facts["pixel_size_um"] = sizes
    if "t" in scale:
        facts["time_increment_s"] = scale["t"]
    if channels:
        facts["channel_names"] = tuple(c.name for c in channels)
    return ImageSource(
        format=Oif.name, path=path, files=files.paths, streams=(stream,), facts=facts, needs=needs_of((stream,), path),
        axes_stated=True,
    )  # fmt: skip


def _planes(files: _Files, frames: Frames, path: Path) -> Iterator[str]:
    """Names of the planes, in the order t c z."""
    found: dict[tuple[int, ...], str] = {}
    for name in files.names:
        if (at := plane_of(name)) is not None:
            found[tuple(at.get(a, 0) for a in "TCZ")] = name
    counts = tuple(frames.lengths.values())
    for place in product(*map(range, counts)):
        if place not in found:
            t, c, z = place
            raise BadSource(
                f"states {counts[0]} x {counts[1]} x {counts[2]} planes (t c z) and has {len(found)}; the first that "
                f"is missing is t={t} c={c} z={z}", file=path,
                remedy="a recording that was stopped ends like this; save what is there under another name in FluoView",
            )  # fmt: skip
        yield found[place]


def _colors(files: _Files, count: int) -> dict[int, str]:
    listed = files.settings.get("ProfileSaveInfo", {})
    out = {}
    for i in range(count):
        name = listed.get(f"LutFileName{i}", "").replace("\\", "/").rpartition("/")[2]
        if name in files.names and (color := brightest(files.read(name))):
            out[i] = color
    return out


def _require_size(page: Page, frames: Frames, path: Path, place: str | None) -> None:
    if (page.height, page.width) != (frames.height, frames.width):
        raise BadSource(
            f"has planes of {page.height} x {page.width} pixels, its settings state {frames.height} x {frames.width} "
            "(height x width)", file=path, place=place,
        )  # fmt: skip


def _settings(data: bytes, path: Path, name: str | None) -> dict[str, dict[str, str]]:
    try:
        return parse_settings(data)
    except ValueError as error:
        raise BadSource(f"has {error}", file=path, place=name, remedy=_AGAIN) from None


converter = Oif()
