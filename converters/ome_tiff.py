"""Images in TIFF files: OME-TIFF (also sets of files), ImageJ hyperstacks, MetaMorph (STK) and plain TIFF, BigTIFF."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any

from dandify.errors import BadRequest, BadSource, Need
from dandify.sources import Channel, Converter, Source, Stream, Verdict
from dandify.sources.microscopy import (
    MOST_PLANES,
    ImageSource,
    Unlabelled,
    arrange,
    common_sizes,
    filled_of,
    needs_of,
    size_need,
    told_of_filled,
    wants_fill,
)
from dandify.sources.ome_xml import OmeImage, OmeMetadata, parse_ome
from dandify.sources.plane_folders import run_of
from dandify.sources.tiff import runs, tiff_pages
from dandify.sources.tiff_header import (
    DESCRIPTION,
    MICRO_MANAGER,
    Header,
    Page,
    foreign,
    is_tiff,
    read_header,
    require_whole,
)
from dandify.sources.tiff_metamorph import MetaMorphPlane, metamorph_image, planes_in, stated_by
from dandify.sources.tiff_text import ImageJ, colours, imagej, resolution, shaped
from dandify.sources.vendors.metamorph_stk import UIC4, is_one_plane, read_stk

_MEND = "export it again from the program that made it: its OME-XML is not as OME has it, and axes are not guessed"
_AGAIN = "copy the whole set of files again from the microscope's computer"


@dataclass
class _Found:
    """Images of a file, and what is stated about all of them."""

    streams: list[Stream]
    unlabelled: list[Unlabelled]
    facts: dict[str, Any]
    files: list[Path]
    problems: list[str]
    unusable: dict[str, str] = field(default_factory=dict)  # what is stated of the size along an axis, and is none


class OmeTiff(Converter):
    """OME-TIFF, ImageJ TIFF, and plain TIFF."""

    name = "ome_tiff"
    title = "OME-TIFF, ImageJ and plain TIFF"
    patterns = ("*.ome.tif", "*.ome.tiff", "*.tif", "*.tiff", "*.btf", "*.tf8", "*.stk")
    looks_like = "a .tif, .tiff, .btf, .tf8 or .stk file: OME-XML, ImageJ, MetaMorph, or plain; sets of OME-TIFF files"
    becomes = "an OME-Zarr image for each image in it"
    fills = True

    def identify(self, path: Path) -> Verdict:
        """Look at the first directory, and at the names beside the file: a plane of a folder is not an image."""
        try:
            with path.open("rb") as file:
                if not is_tiff(head := file.read(16)):
                    return Verdict(False, "does not begin as a TIFF does" if head else "is empty")
            header = read_header(path, pages=2)
            first = header.first
            if _is_ome(first) and MICRO_MANAGER in first.present:
                return Verdict(True, "has OME-XML of Micro-Manager in its first page")
            if (other := foreign(first)) and not is_one_plane(header):
                way = ""
                if MICRO_MANAGER in first.present:
                    way = "; NDTiff is read by the NDTiff.index beside it; else export an OME-TIFF (image stack)"
                return Verdict(False, f"is a TIFF of {other}, which has a meaning of its own{way}")
            if _is_ome(first):
                return Verdict(True, "has OME-XML in its first page")
            if run := run_of(path):
                return Verdict(False, f"is one of {len(run.files)} planes in {path.parent.name}, see format planes")
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        except BadSource as error:  # to be opened, which says what is wrong: half a file is not one of another format
            return Verdict(True, f"begins as a TIFF does, and {error.cause}")
        if UIC4 in first.present:
            return Verdict(True, "has MetaMorph's tags")
        return Verdict(True, "has ImageJ's header" if imagej(first) else "is a plain TIFF")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the directories of all pages, and the text of the first; no pixels.

        Parameters
        ----------
        path
            The file.
        options
            ``missing``: ``fill`` for 0 where OME-XML states planes that no file holds; ``refuse`` is the default.
        """
        path = Path(os.path.abspath(path))
        if unknown := set(options) - {"missing"}:
            raise BadRequest(f"a TIFF has no option {', '.join(sorted(unknown))}", file=path)
        fill = wants_fill(options, path)
        header = require_whole(read_header(path))
        found = _ome(header, fill=fill) if _is_ome(header.first) else _plain(header)
        if sizes := common_sizes(found.streams or [_as_stream(u) for u in found.unlabelled]):
            found.facts["pixel_size_um"] = sizes
        names = {tuple(c.name for c in s.channels) for s in found.streams} - {()}
        if len(names) == 1:
            found.facts["channel_names"] = names.pop()
        needs = needs_of(found.streams, path)
        if found.unlabelled:
            needs = _axes_needs(found, path)
        needs = tuple(
            replace(n, what=f"{n.what}; {said}, which is no length") if (said := found.unusable.get(n.key[-1:])) else n
            for n in needs
        )
        return ImageSource(
            format=self.name, path=path, files=tuple(found.files), streams=tuple(found.streams), facts=found.facts,
            needs=needs, problems=tuple(found.problems), unlabelled=tuple(found.unlabelled),
            axes_stated=_is_ome(header.first),
        )  # fmt: skip


def _is_ome(page: Page) -> bool:
    return page.text(DESCRIPTION).rstrip().endswith("OME>")


def _stem(path: Path) -> str:
    stem = path.name.rpartition(".")[0]
    return stem[:-4] if stem.lower().endswith(".ome") else stem


# OME-TIFF


def _ome(header: Header, *, fill: bool) -> _Found:
    path = header.path
    own = metadata = _metadata(header.first.text(DESCRIPTION), path)
    files = {path: header}
    if own.elsewhere and not own.images:
        other = _beside(path, own.elsewhere)
        metadata = _metadata(_text_of(other, files), other)
    if not metadata.images:
        raise BadSource("its OME-XML describes no image", file=path, remedy=_MEND)
    streams = [_ome_stream(image, own, files, path, fill=fill) for image in metadata.images]
    streams = [_placed(s, i.stage) for s, i in zip(_distinct(streams, path), metadata.images, strict=True)]
    facts: dict[str, Any] = {}
    if stages := {s.name: dict(i.stage) for s, i in zip(streams, metadata.images, strict=True) if i.stage}:
        facts["stage_position_um"] = stages
    dates = [i.date for i in metadata.images if i.date]
    if dates and len({d.tzinfo is None for d in dates}) == 1:
        facts["session_start_time"] = min(dates)
    for key, values in (
        ("objective", {i.objective for i in metadata.images}),
        ("description", {i.description for i in metadata.images}),
        ("time_increment_s", {i.scale.get("t") for i in metadata.images}),
        ("exposure_time_s", {i.exposures_s for i in metadata.images}),
        ("device", {metadata.device}),
        ("experimenter", {metadata.experimenter}),
    ):
        if len(values) == 1 and (value := values.pop()):
            facts[key] = value
    used = list(dict.fromkeys([path, *files]))
    unusable = {a: f"its OME-XML states {text}" for i in metadata.images for a, text in i.unusable.items()}
    problems = [told for stream in streams for told in told_of_filled(stream)]
    if len({tuple(s.origin.items()) for s in streams if s.origin}) > 1:
        problems.append(
            f"{path.name} holds images at several places of the stage: each is put there, as if the stage moved along "
            "the image's axes, which OME-XML does not say. Where tiles lie mirrored, it does not."
        )
    return _Found(streams, [], facts, used, problems, unusable)


def _placed(stream: Stream, stage: Mapping[str, float]) -> Stream:
    """Put the middle of an image where the stage was; nothing but zeros is what programs write that do not know."""
    size = dict(zip(stream.axes, stream.shape, strict=True))
    if not {"x", "y"} <= stage.keys() or not {"x", "y"} <= stream.scale.keys() or not (stage["x"] or stage["y"]):
        return stream
    origin = {a: float(f"{stage[a] - (size[a] - 1) / 2 * stream.scale[a]:.12g}") for a in "yx"}
    return replace(stream, origin=origin)


def _metadata(text: str, path: Path) -> OmeMetadata:
    try:
        return parse_ome(text)
    except ValueError as error:
        raise BadSource(str(error), file=path, place="ImageDescription of page 1", remedy=_MEND) from None


def _text_of(path: Path, files: dict[Path, Header]) -> str:
    """OME-XML of the file that has the metadata of a set: a companion .ome, or one of the TIFFs."""
    if path.suffix.lower() == ".ome":
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise BadSource(f"cannot be read: {error.strerror}", file=path, remedy=_AGAIN) from None
    files[path] = require_whole(read_header(path))
    return files[path].first.text(DESCRIPTION)


def _beside(path: Path, name: str) -> Path:
    """Path of a file of the set, which must be there."""
    if PureWindowsPath(name).is_absolute() or PurePosixPath(name).is_absolute() or ".." in PureWindowsPath(name).parts:
        raise BadSource(f"names the file {name!r}, which is not beside it", file=path, remedy=_AGAIN)
    other = path.parent / name
    if not other.is_file():
        raise BadSource(
            f"is one of a set of files, and {name} is missing beside it", file=path, place=name, remedy=_AGAIN
        )  # fmt: skip
    return other


def _ome_stream(
    image: OmeImage, own: OmeMetadata, files: dict[Path, Header], path: Path, *, fill: bool
) -> Stream:  # fmt: skip
    label = image.name or _stem(path)
    if fill:  # those that are there; of none at all, the first one says what is missing
        there = [b for b in image.blocks if b.file is None or (b.uuid and b.uuid == own.uuid)]
        there += [b for b in image.blocks if b not in there and b.file and (path.parent / b.file).is_file()]
        image = replace(image, blocks=tuple(there) or image.blocks)
    samples = _samples(image, own, files, path)
    if samples != image.samples and (image.lengths["c"] * image.samples) % samples == 0:
        # The pages are the truth: some writers leave out SamplesPerPixel.
        groups = image.lengths["c"] * image.samples // samples
        image = replace(image, lengths={**image.lengths, "c": groups}, samples=samples, channels=())
    try:
        found = _pages_of(image, own, files, path, label, fill=fill)
    except ValueError as error:
        raise BadSource(str(error), file=path, place=label, remedy=_MEND) from None
    lengths = (image.lengths["t"], image.lengths["c"], image.lengths["z"])
    total = math.prod(lengths)
    if len(found) < total and not (fill and found and total <= MOST_PLANES):
        # sizes are only stated: nothing of that size is made before it is known to be there
        t, c, z = next(p for p in _positions(lengths) if p not in found)
        raise BadSource(
            f"states {total} planes and names {len(found)} of them; the first that is missing is t={t} c={c} z={z}",
            file=path, place=label,
            remedy="a recording that was stopped ends like this; export what is there from the acquisition program, or "
            "--missing fill, to have 0 for what is not",
        )  # fmt: skip
    wanted = list(_positions(lengths))
    first_file, first = found[min(found)]
    if (first.height, first.width) != (image.lengths["y"], image.lengths["x"]):
        raise BadSource(
            f"has pages of {first.height} x {first.width} pixels, its OME-XML states {image.lengths['y']} x "
            f"{image.lengths['x']} (height x width)", file=first_file, place=label, remedy=_MEND,
        )  # fmt: skip
    array, axes = arrange(tiff_pages((found.get(p) for p in wanted), leading=(len(wanted),)), "tcz", lengths)
    return Stream(
        name=label, kind="Image", axes=axes, array=array, scale={a: v for a, v in image.scale.items() if a in axes},
        channels=image.channels or (colours(first) if first.samples > 1 and lengths[1] == 1 else ()),
        description=image.description or None, filled=filled_of(array, axes),
    )  # fmt: skip


def _pages_of(
    image: OmeImage, own: OmeMetadata, files: dict[Path, Header], path: Path, label: str, *, fill: bool
) -> dict[tuple[int, int, int], tuple[Path, Page]]:  # fmt: skip
    """Find the file and the page of each plane (t, c, z) that TiffData names.

    Raises
    ------
    ValueError
        If TiffData contradicts the sizes.
    """
    found: dict[tuple[int, int, int], tuple[Path, Page]] = {}
    for block in image.blocks:
        file = _file_of(block.file, block.uuid, own, files, path)
        pages = files[file].pages
        for position, number in image.planes(block, len(pages)):
            if number >= len(pages) and fill:
                continue
            if number >= len(pages):
                raise BadSource(
                    f"has {len(pages)} pages, and its OME-XML speaks of page {number + 1}", file=file, place=label,
                    remedy=_AGAIN,
                )  # fmt: skip
            if found.setdefault(position, (file, pages[number])) != (file, pages[number]):
                t, c, z = position
                raise BadSource(
                    f"its OME-XML names two pages for the plane t={t} c={c} z={z}; one is page {number + 1}",
                    file=file, place=label, remedy=_MEND,
                )  # fmt: skip
    return found


def _positions(lengths: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Yield t c z in C order, one by one: `itertools.product` would make every range at once."""
    for t in range(lengths[0]):
        for c in range(lengths[1]):
            for z in range(lengths[2]):
                yield t, c, z


def _samples(image: OmeImage, own: OmeMetadata, files: dict[Path, Header], path: Path) -> int:
    if not image.blocks:
        raise BadSource(
            "its OME-XML has an image without TiffData, which says where its planes are", file=path,
            place=image.name or None,
            remedy="export it again; or, if its pages are in the order of DimensionOrder, write <TiffData/> into the "
            "Pixels of its OME-XML: `tiffcomment FILE > x.xml`, edit it, `tiffcomment --set-file x.xml FILE`",
        )  # fmt: skip
    block = image.blocks[0]
    pages = files[_file_of(block.file, block.uuid, own, files, path)].pages
    return pages[min(block.ifd, len(pages) - 1)].samples


def _file_of(name: str | None, uuid: str | None, own: OmeMetadata, files: dict[Path, Header], path: Path) -> Path:
    """Return the file of some planes; a file that was renamed is known by its UUID."""
    if name is None or name == path.name or (uuid and uuid == own.uuid):
        return path
    file = _beside(path, name)
    if file not in files:
        files[file] = require_whole(read_header(file))
    return file


def _distinct(streams: Sequence[Stream], path: Path) -> list[Stream]:
    """Give streams names that differ."""
    names = [s.name for s in streams]
    if len(set(names)) == len(names):
        return list(streams)
    return [replace(s, name=f"{s.name}_{i}" if names.count(s.name) > 1 else s.name) for i, s in enumerate(streams)]


# ImageJ, and plain TIFF


def _plain(header: Header) -> _Found:
    path, stated, stk = header.path, imagej(header.first), read_stk(header)
    plane = stated_by(header, stk)
    found = _Found([], [], {}, [path], [])
    scale = dict(stated.scale if stated else plane.scale if plane else resolution(header.first))
    pages, lengths = list(header.pages), shaped(header.first)
    if stated and stated.unit.lower() not in ("", "pixel", "pixels") and "x" not in scale:
        found.unusable = dict.fromkeys("zyx", f"ImageJ's header states the unit {stated.unit!r}")
    if stated:
        pages = _imagej_pages(header, stated, found.problems)
    elif stk and stk.planes > 1 and len(pages) == 1:
        pages, lengths = list(planes_in(header, stk)), ((stk.planes, *_own(pages[0])), stk.axis and f"{stk.axis}yx")
        scale |= {a: v for a, v in (("z", stk.depth_step), ("t", stk.seconds_step)) if a == stk.axis and v}
    elif lengths and len(pages) == 1 and (count := _planes_in(lengths[0], header.first)) > 1:
        pages = runs(header, count)
    if "t" in scale and len(pages) > 1:  # ImageJ states 1 for pictures that have no time
        found.facts["time_increment_s"] = scale["t"]
    reduced = [p for p in pages if p.reduced]
    if reduced and len(reduced) < len(pages):
        pages = [p for p in pages if not p.reduced]
        found.problems.append(f"{len(reduced)} page(s) are smaller versions of others and are left out")
    groups: list[list[Page]] = []
    for page in pages:
        if not groups or groups[-1][0].form != page.form:
            groups.append([])
        groups[-1].append(page)
    _require_runs(path, pages, groups)
    for i, group in enumerate(groups):
        name = _stem(path) + (f"_{i}" if len(groups) > 1 else "")
        whole = len(groups) == 1
        own = {} if plane and group[0].form != header.first.form else scale  # MetaMorph describes each page by itself
        _add_group(found, name, path, group, own, stated if whole else None, lengths if whole else None)
    if plane:
        _add_metamorph(found, plane, pages)
    return found


def _add_metamorph(found: _Found, plane: MetaMorphPlane, pages: Sequence[Page]) -> None:
    """Add what MetaMorph states of the first plane: of the file, and of its only image if that is one plane."""
    path, page = found.files[0], pages[0]
    image = metamorph_image({0: (path, plane)}, "", (), (page.height, page.width))
    facts = dict(image.facts)
    exposures = facts.pop("exposure_time_s", None)
    found.facts |= facts
    if len(pages) > 1 or not found.streams:
        return
    (stream,) = found.streams
    found.streams = [stream := replace(stream, origin=dict(image.origin))]
    if exposures:
        found.facts["exposure_time_s"] = exposures
    if image.stage:
        found.facts["stage_position_um"] = {stream.name: dict(image.stage)}
    if page.samples == 1 and any(c.name for c in image.channels):
        found.streams = [replace(stream, channels=image.channels)]


def _require_runs(path: Path, pages: Sequence[Page], groups: Sequence[Sequence[Page]]) -> None:
    """Refuse a page of another size in the midst of an image; images of several sizes one after the other are taken."""
    forms = [group[0].form for group in groups]
    again = next((i for i, form in enumerate(forms) if form in forms[:i]), None)
    if again is None:
        return
    odd, like = groups[again - 1][0], groups[again][0]
    number = next(i for i, page in enumerate(pages) if page is odd) + 1
    raise BadSource(
        f"page {number} of {len(pages)} has {odd.height} x {odd.width} pixels ({odd.dtype}), others before and behind "
        f"it have {like.height} x {like.width} ({like.dtype})", file=path, place=f"page {number}",
        remedy="export the image again from the acquisition program; a page that is left out would shift the others",
    )  # fmt: skip


def _add_group(
    found: _Found, name: str, path: Path, pages: list[Page], scale: Mapping[str, float], stated: ImageJ | None,
    described: tuple[tuple[int, ...], str | None] | None,
) -> None:  # fmt: skip
    """Add an image of pages of one size: a stream if their axes are stated, else one that waits for them."""
    array = tiff_pages(((path, p) for p in pages), leading=(len(pages),))
    axes: str | None = None
    lengths: tuple[int, ...] = (len(pages),)
    if len(pages) == 1:
        axes, lengths = "", ()
    elif stated and math.prod(stated.lengths.values()) == len(pages) and stated.lengths:
        axes, lengths = "tzc", tuple(stated.lengths[a] for a in "tzc")
    elif stated and stated.lengths:
        found.problems.append(f"ImageJ's header states {dict(stated.lengths)}, which is not {len(pages)} planes")
    elif described and (leading := _leading(described[0], pages[0])) and math.prod(leading) == len(pages):
        lengths = leading
        axes = described[1][: len(leading)] if described[1] else None
        if axes is not None and not set(axes) <= set("tcz"):
            axes = None
    channels: tuple[Channel, ...] = colours(pages[0])
    if axes is None:
        found.unlabelled.append(Unlabelled(name, array, lengths, scale, channels))
        return
    if stated and not channels:
        channels = stated.channels
    arranged, names = arrange(array, axes, lengths)
    own = {a: v for a, v in scale.items() if a in names}
    found.streams.append(
        Stream(
            name=name, kind="Image", axes=names, array=arranged, scale=own, channels=channels if "c" in names else ()
        )
    )


def _imagej_pages(header: Header, stated: ImageJ, problems: list[str]) -> list[Page]:
    """Pages of an ImageJ file, which over 4 GB has a single directory for all of them."""
    pages, count = list(header.pages), stated.images
    if len(pages) == 1 and count > 1:
        first = pages[0]
        if first.data >= 0 and header.size >= first.data + 2 * first.nbytes:
            return runs(header, count)
        problems.append(f"ImageJ's header states {count} images, the file holds one")
    return pages


def _own(page: Page) -> tuple[int, ...]:
    return (page.height, page.width, page.samples) if page.samples > 1 else (page.height, page.width)


def _leading(shape: tuple[int, ...], page: Page) -> tuple[int, ...]:
    """Lengths before those of a page in the shape that tifffile describes."""
    own = (page.height, page.width)
    for tail in ((*own, page.samples), (page.samples, *own)) if page.samples > 1 else (own,):
        if shape[-len(tail) :] == tail:
            return shape[: -len(tail)]
    return ()


def _planes_in(shape: tuple[int, ...], page: Page) -> int:
    return math.prod(_leading(shape, page)) if page.data >= 0 else 1


def _as_stream(image: Unlabelled) -> Stream:
    return Stream(name=image.name, kind="Image", axes=("y", "x"), scale=image.scale)


def _axes_needs(found: _Found, path: Path) -> tuple[Need, ...]:
    """List what must be known of pages without stated axes: the axes, and every size that could be needed then."""
    lengths = found.unlabelled[0].lengths
    what = f"what the {' x '.join(map(str, lengths))} pages are, slowest first, then yx: out of t (time) c (channel) z"
    example = "zyx" if len(lengths) == 1 else "tczyx"[-2 - len(lengths) :]
    known = {a for u in found.unlabelled for a in u.scale} | {a for s in found.streams for a in s.scale}
    sizes = [size_need(a, path, ", if the pages are planes in depth" * (a == "z")) for a in "zyx" if a not in known]
    return (Need("axes", what, f"--set axes={example}", str(path)), *sizes)


converter = OmeTiff()
