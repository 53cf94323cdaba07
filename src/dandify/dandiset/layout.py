"""The plan of a dandiset: a place for every file and its media, and the refusal of whatever cannot be placed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal

from dandify.dandiset.bids_names import bids_nwb_path, bids_video_path, micr_path
from dandify.dandiset.facts import Facts
from dandify.dandiset.labels import label_conflicts
from dandify.dandiset.media import Medium, media_of
from dandify.dandiset.names import MAX_NAME, MAX_PATH, image_name, image_path, nwb_path
from dandify.dandiset.plain import MICROSCOPY, ome_suffix, split_suffix
from dandify.dandiset.supply import with_given
from dandify.errors import BadRequest, BadSource, MissingMetadata, Need
from dandify.project.rules import label

Layout = Literal["dandi", "bids"]

_MAX_LISTED = 10


@dataclass(frozen=True)
class Placement:
    """A file and its place.

    Attributes
    ----------
    source
        Where it is.
    target
        Where it goes, below the dandiset.
    kind
        What it is.
    media
        For an NWB file: the media that the copy refers to by new names; empty if there are none.
    given
        What the user says of the subject and session, see `Facts.given`: written into the copy of an NWB file, and of
        other files into the tables of the dandiset.
    entities
        Of an image, as its name or the user writes them, see `Facts.entities`.
    """

    source: Path
    target: PurePosixPath
    kind: Literal["nwb", "nwb-zarr", "ome-zarr", "image", "video", "media", "table"]
    media: tuple[Medium, ...] = ()
    given: Mapping[str, str | None] = field(default_factory=dict)
    entities: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_edited(self) -> bool:
        """Whether the copy says something else than the file."""
        return bool(self.media) or (self.kind in ("nwb", "nwb-zarr") and bool(self.given))


def choose_layout(
    wanted: Literal["dandi", "bids", "auto"], files: Sequence[Facts], dandiset: Path
) -> tuple[Layout, str]:
    """Return the layout, and why it is that one.

    Parameters
    ----------
    wanted
        ``auto`` goes on with what the dandiset is; a new one is ``bids`` where all files are images of which the sample
        and the kind of microscopy are known, else ``dandi``.
    files
        What is to be organized.
    dandiset
        Its folder.

    Raises
    ------
    BadRequest
        If the dandiset is of the other layout.
    """
    is_bids = (dandiset / "dataset_description.json").is_file()  # written before anything else
    if is_bids or any(dandiset.glob("sub-*/*")):
        there: Layout = "bids" if is_bids else "dandi"
        if wanted not in ("auto", there):
            raise BadRequest(
                f"is laid out as {there}, not as {wanted}",
                file=dandiset,
                remedy="choose another folder with --dandiset",
            )
        return there, "the dandiset is laid out so already"
    if wanted != "auto":
        return wanted, "it was asked for"
    if other := next((f for f in files if f.kind not in ("image", "ome-zarr")), None):
        return "dandi", f"there are other files than images, such as {other.path.name}: BIDS 1.11 has no place for them"
    if lacking := next((f for f in files if not (f.entities.get("sample") and f.entities.get("suffix"))), None):
        return (
            "dandi",
            f"BIDS wants the sample and the kind of microscopy of each image, and {lacking.path.name} lacks one",
        )
    return "bids", "there are only images, and the sample and the kind of microscopy of each are known"


def unplaceable(facts: Facts, layout: Layout) -> str | None:
    """Return why a file has no place in a layout; None if it has one."""
    suffix = split_suffix(facts.path)[1]
    if layout == "dandi" and facts.kind == "image" and suffix.endswith(MICROSCOPY):
        return "dandi uploads TIFF only in a BIDS dataset (--layout bids); or dandify convert makes an OME-Zarr of it"
    if layout == "bids" and suffix == ".gif":
        return "BIDS takes no GIF"
    return None


def plan_layout(
    files: Sequence[Facts],
    dandiset: Path,
    *,
    layout: Layout = "dandi",
    companions: Mapping[Path, PurePosixPath] = MappingProxyType({}),
    subject_id: str | None = None,
    session_id: str | None = None,
) -> tuple[Placement, ...]:
    """Return a place for every file and medium.

    Parameters
    ----------
    files
        What they say of themselves.
    dandiset
        Its folder, for the ids of what is there already.
    layout
        ``dandi``: all that is of a subject in one folder. ``bids``: microscopy as BIDS has it, the rest beside.
    companions
        Files about a BIDS dataset, and their places.
    subject_id, session_id
        Of files that state none.

    Raises
    ------
    MissingMetadata
        Naming every file that states no subject or session.
    BadRequest
        If two ids, or two files, would get one name.
    BadSource
        If data are in other files.
    """
    stated = [_supplied(f, subject_id, session_id) for f in files]
    needs = [need for f in stated for need in needs_of(f, layout)]
    if needs:
        raise MissingMetadata(needs, where="the name of a file in the dandiset")
    _refuse_nameless(stated)
    _refuse_links(stated)
    if conflict := next(label_conflicts(stated, dandiset), None):
        raise conflict
    placed = [Placement(source, target, "table") for source, target in companions.items()]
    for facts in stated:
        placed += _places(facts, layout)
    _refuse_long_names(placed)
    _refuse_shared_names(placed, layout)
    return tuple(placed)


def _supplied(facts: Facts, subject_id: str | None, session_id: str | None) -> Facts:
    said = {
        "subject_id": None if facts.subject_id else subject_id,
        "session_id": None if facts.session_id or facts.session_start_time is not None else session_id,
    }
    found = {key: value for key, value in said.items() if value}
    return with_given(facts, found) if facts.kind in ("nwb", "nwb-zarr") else replace(facts, **found)  # type: ignore[arg-type]


def needs_of(facts: Facts, layout: Layout) -> Iterator[Need]:
    """Yield what a name in a layout needs and a file does not state."""
    of = str(facts.path)
    if not facts.subject_id:
        yield Need("subject_id", "id of the subject", "--subject-id VALUE, or a column of --table", of)
    if layout == "bids" and facts.kind in ("image", "ome-zarr"):
        for key, what in (
            ("sample", "id of the sample"),
            ("suffix", "kind of microscopy by BIDS's word, such as SPIM"),
        ):
            if not facts.entities.get(key):
                column = "sample_id" if key == "sample" else key
                yield Need(column, what, f"a column {column} of --table", of)
    elif not facts.session_id and facts.session_start_time is None and not (layout == "bids" and facts.kind == "video"):
        yield Need("session_id", "id of the session", "--session-id VALUE, or a column of --table", of)


def place_of(facts: Facts, layout: Layout) -> PurePosixPath:
    """Return the place of a file, of which subject and session are known.

    Raises
    ------
    BadRequest
        If no name can be made of what it says; naming the file.
    """
    try:
        return (_bids_target if layout == "bids" else _target)(facts)
    except BadRequest as error:
        raise BadRequest(error.cause, file=facts.path, remedy=error.remedy) from None


def _places(facts: Facts, layout: Layout) -> Iterator[Placement]:
    target = place_of(facts, layout)
    media = media_of(facts, target)
    yield Placement(facts.path, target, facts.kind, media, facts.given, facts.entities)
    for destination, source in {m.target: m.source for m in media}.items():
        yield Placement(source, destination, "media")


def _target(facts: Facts) -> PurePosixPath:
    subject, session, start = facts.subject_id or "", facts.session_id, facts.session_start_time
    if facts.kind in ("nwb", "nwb-zarr"):
        return nwb_path(
            subject, session, facts.modalities, session_start_time=start, entities=facts.entities,
            suffix=_nwb_suffix(facts),
        )  # fmt: skip
    suffix = ".ome.zarr" if facts.kind == "ome-zarr" else split_suffix(facts.path)[1]
    return image_path(
        subject, session, image_name(facts.path.name), session_start_time=start, entities=facts.entities, suffix=suffix
    )


def _bids_target(facts: Facts) -> PurePosixPath:
    subject, session, start = facts.subject_id or "", facts.session_id, facts.session_start_time
    stem, suffix = split_suffix(facts.path)
    if facts.kind in ("nwb", "nwb-zarr"):
        return bids_nwb_path(
            subject, session, facts.modalities, facts.entities, _nwb_suffix(facts), session_start_time=start
        )
    if facts.kind == "video":
        return bids_video_path(subject, session, image_name(stem), suffix, session_start_time=start)
    return micr_path(subject, session, facts.entities, ome_suffix(facts.path, suffix), session_start_time=start)


def _nwb_suffix(facts: Facts) -> str:
    return ".nwb.zarr" if facts.kind == "nwb-zarr" else ".nwb"


def _refuse_nameless(files: Sequence[Facts]) -> None:
    """Refuse ids of which nothing is left in a name: those in Chinese, of signs alone."""
    nameless = [
        (facts.path, key, text) for facts in files
        for key, text in (("subject_id", facts.subject_id), ("session_id", facts.session_id))
        if text and not label(text)
    ]  # fmt: skip
    if not nameless:
        return
    path, key, text = nameless[0]
    more = f", and {len(nameless) - 1} more such ids" if len(nameless) > 1 else ""
    raise BadRequest(
        f"its {key} {text!r} has no letter from A to Z and no digit, and names of files are made of these{more}",
        file=path, remedy="write it again with another id: a name in Latin letters, or a number",
    )  # fmt: skip


def _refuse_links(files: Sequence[Facts]) -> None:
    """Refuse NWB files whose data are in other files: brought elsewhere they would be broken, and dandi takes none."""
    for facts in files:
        if facts.links:
            more = f", and {len(facts.links) - 1} more" if len(facts.links) > 1 else ""
            raise BadSource(
                f"a part of it is a link to another file: {facts.links[0]}{more}", file=facts.path,
                remedy="make it one file: NWBHDF5IO(OUT, 'w').export(src_io, write_args={'link_data': False})",
            )  # fmt: skip


def _refuse_long_names(placed: Sequence[Placement]) -> None:
    for placement in placed:
        longest = max(len(part) for part in placement.target.parts)
        if longest > MAX_NAME or len(str(placement.target)) > MAX_PATH:
            raise BadRequest(
                f"its path in the dandiset would have {len(str(placement.target))} characters, a name in it {longest}; "
                f"the archive takes {MAX_PATH}, file systems take {MAX_NAME} for a name",
                file=placement.source, remedy="shorten its subject or session id, or what else its name is made of",
            )  # fmt: skip


def shared_names(placed: Sequence[Placement], layout: Layout) -> Iterator[BadRequest]:
    """Yield an error for each place that several files would have."""
    by_place: dict[str, list[Placement]] = {}
    for placement in placed:
        by_place.setdefault(str(placement.target).casefold(), []).append(placement)
    for sharing in by_place.values():
        sources = list(dict.fromkeys(p.source for p in sharing))
        if len(sources) > 1:
            many = "two" if len(sources) == 2 else str(len(sources))
            yield BadRequest(
                f"{many} files would {'both' if many == 'two' else 'all'} be {sharing[0].target}: "
                f"{', '.join(map(str, sources[:-1]))} and {sources[-1]}",
                file=sources[-1], remedy=_told_apart(sharing, layout),
            )  # fmt: skip


def _told_apart(sharing: Sequence[Placement], layout: Layout) -> str:
    """Say how files of one subject and session get names of their own."""
    kinds = {placement.kind for placement in sharing}
    if "table" in kinds:
        return (
            "each describes a BIDS dataset of its own: organize the datasets into folders of their own, or leave "
            f"such files out with --ignore {sharing[0].target.name!r}"
        )
    if kinds & {"nwb", "nwb-zarr"}:
        columns, example = (
            ("description, probe_id, cell_id or slice_id", "description") if layout == "dandi"
            else ("acquisition, run or sample_id", "acquisition")
        )  # fmt: skip
        return (
            "they state the same subject and session (or, without one, the same start), and hold the same kind of "
            f"data: a column {columns} of --table tells them apart (path,{example} / a.nwb,raw / b.nwb,sorted); or "
            "leave one out with --ignore"
        )
    columns = "sample_id, stain, acquisition, run or chunk"
    if layout == "bids" and "video" in kinds:
        return "rename one of them: a video is called by its own name; or leave one out with --ignore"
    if layout == "bids":
        return f"a column {columns} of --table tells them apart; or leave one out with --ignore"
    return f"rename one of them, or tell them apart by a column {columns} of --table; or leave one out with --ignore"


def _refuse_shared_names(placed: Sequence[Placement], layout: Layout) -> None:
    errors = list(shared_names(placed, layout))
    if len(errors) > 1:
        lines = [f"  {error.cause}" for error in errors[:_MAX_LISTED]]
        more = [f"  and {len(errors) - _MAX_LISTED} more"] if len(errors) > _MAX_LISTED else []
        remedies = dict.fromkeys(error.remedy for error in errors if error.remedy)
        raise BadRequest(
            "\n".join([f"{len(errors)} names would each be of several files:", *lines, *more]),
            remedy="; ".join(remedies),
        )
    for error in errors:
        raise BadRequest(error.cause, remedy=error.remedy)
