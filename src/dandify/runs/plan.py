"""Plans conversions: opened sources, merged metadata, what is missing or wrong, where outputs go. Writes nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from dandify.errors import BadRequest, MissingMetadata, OutputExists
from dandify.project.config import PlannedSession
from dandify.project.metadata import KEYS, Layer, Metadata, parse_start
from dandify.project.opened import Opened, early, open_session, shift_of, timed
from dandify.project.rules import label, problems_of
from dandify.sources import Source, Stream
from dandify.sources.microscopy import told_of_filled
from dandify.store.partial import require_place

SUFFIX: Final = ".ome.zarr"
Named = TypeVar("Named", "ImagePlan", "PlannedPlate")
NO_FLAGS = Layer("command line", MappingProxyType({}))


@dataclass(frozen=True)
class ImagePlan:
    """One image of a session, the OME-Zarr it becomes, and the files of its labels by their names."""

    source: Source
    stream: Stream
    output: Path
    labels: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class PlannedPlate:
    """The images of a multi-well plate by their places, and the one OME-Zarr they become."""

    source: Source
    fields: Mapping[str, Stream]
    output: Path


@dataclass(frozen=True)
class SessionPlan:
    """Everything that is known of a conversion before it starts.

    Attributes
    ----------
    name
        ``sub-<id>_ses-<id>``, the name of its folder and the stem of its files.
    metadata
        Merged, with origins.
    start
        Start of the session with its zone; None where only images are converted and nothing states one.
    recordings, shifts_s, locations
        The sources of the NWB file, the start of each in seconds after the session's, and the brain area of its
        electrodes, None where nobody says it.
    nwb
        The NWB file; None where there are only images.
    images
        The images.
    plates
        Multi-well plates, whose images are none of the others.
    unknown
        Files in the folders that were named which no converter knows: they stay behind.
    """

    name: str
    metadata: Metadata
    start: datetime | None
    recordings: tuple[Source, ...]
    shifts_s: tuple[float, ...]
    locations: tuple[str | None, ...]
    nwb: Path | None
    images: tuple[ImagePlan, ...]
    plates: tuple[PlannedPlate, ...] = ()
    unknown: tuple[Path, ...] = ()

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Every file and folder it will write, manifests aside."""
        images, plates = (i.output for i in self.images), (p.output for p in self.plates)
        return (*((self.nwb,) if self.nwb else ()), *images, *plates)

    @property
    def problems(self) -> tuple[tuple[Path, str], ...]:
        """What its sources say is wrong, each with its file; planes that are filled are told of with the output."""
        sources = (*self.recordings, *(i.source for i in self.images), *(p.source for p in self.plates))
        told = {t for source in sources for stream in source.streams for t in told_of_filled(stream)}
        found = ((source.path, problem) for source in sources for problem in source.problems if problem not in told)
        return tuple(dict.fromkeys(found))


def plan_sessions(
    requests: Sequence[PlannedSession],
    out: Path,
    *,
    flags: Layer = NO_FLAGS,
    backend: str = "hdf5",
    existing: str = "error",
) -> tuple[SessionPlan, ...]:
    """Open the sources of all sessions, merge their metadata, and refuse all that cannot be converted at once.

    Raises
    ------
    MissingMetadata
        Naming every missing value of every session.
    BadRequest
        Naming every value that DANDI would refuse, two outputs of one name, or one that cannot be made there.
    OutputExists
        If an output is there and ``existing`` is ``error``.
    dandify.errors.BadSource, dandify.errors.UnknownFormat
        If a source cannot be opened.
    """
    opened = [open_session(request, flags) for request in requests]
    needs = [need for session in opened for need in session.needs]
    if needs:
        where = "the session" if len(requests) == 1 else f"{len(requests)} sessions"
        raise MissingMetadata(list(dict.fromkeys(needs)), where=where)
    plans = tuple(_plan(s, out, backend, r.labels) for s, r in zip(opened, requests, strict=True))
    _refuse_wrong(plans)
    _refuse_collisions(plans)
    for output in (o for p in plans for o in p.outputs):
        require_place(output)
        if existing == "error" and output.exists():
            raise OutputExists(
                "is there already", file=output, remedy="--overwrite replaces it, --skip-existing leaves it"
            )
    return plans


def _plan(session: Opened, out: Path, backend: str, labels: Mapping[str, Path]) -> SessionPlan:
    sources, metadata = session.sources, session.metadata
    timezone = metadata.get("timezone")
    start = (
        parse_start(metadata.get("session_start_time"), timezone=timezone)
        if metadata.get("session_start_time")
        else None
    )
    name = f"sub-{label(metadata.get('subject_id'))}_ses-{label(metadata.get('session_id'))}"
    folder = out / name
    recordings = tuple(s for s in sources if timed([s]))
    images: list[ImagePlan] = []
    plates: list[PlannedPlate] = []
    for source in sources:
        pictures = [s for s in source.streams if s.kind == "Image" and s.well is None]
        fields = {s.well.path: s for s in source.streams if s.kind == "Image" and s.well is not None}
        if fields:
            plates.append(PlannedPlate(source, fields, folder / f"{name}_{_image_label(source.path)}{SUFFIX}"))
        for stream in pictures:
            stem = _image_label(source.path, stream.name if len(pictures) > 1 else "")
            images.append(ImagePlan(source, stream, folder / f"{name}_{stem}{SUFFIX}"))
    taken: set[str] = set()
    return SessionPlan(
        name=name,
        metadata=metadata,
        start=start,
        recordings=recordings,
        shifts_s=tuple(shift_of(s, start, timezone) for s in recordings),
        locations=tuple(session.own[s.path].get("electrode_location") for s in recordings),
        nwb=folder / f"{name}{'.nwb.zarr' if backend == 'zarr' else '.nwb'}" if recordings else None,
        images=_labelled(_distinct(images, taken), labels, name),
        plates=_distinct(plates, taken),
        unknown=session.unknown,
    )


def _image_label(path: Path, part: str = "") -> str:
    """Return what an image is called by its file or folder, and its name in there: ``Maße_1.5.ome.tif``, Masse15."""
    stem = path.name if path.is_dir() and path.suffix != ".zarr" else path.stem
    stem = stem[:-4] if stem.lower().endswith(".ome") else stem
    plain = unicodedata.normalize("NFKD", f"{stem}_{part}".replace("ß", "ss"))
    return label("".join(c for c in plain if not unicodedata.combining(c))) or "image"


def _labelled(images: tuple[ImagePlan, ...], labels: Mapping[str, Path], session: str) -> tuple[ImagePlan, ...]:
    """Give each image its labels: those named after it, or all of them where there is one image.

    Raises
    ------
    BadRequest
        If a file is not there, or it is not clear which image labels belong to.
    """
    if not labels:
        return images
    names = [i.stream.name for i in images]
    found: list[dict[str, Path]] = [{} for _ in images]
    for key, path in labels.items():
        if not path.exists():
            raise BadRequest(f"no such file of labels {key}", file=path)
        of, _, name = key.rpartition("/")
        mine = [n for n, image in enumerate(names) if image == of] if of else list(range(len(names)))
        if len(mine) != 1:
            some = f"the images {', '.join(names)}" if names else "no image"
            raise BadRequest(
                f"{session} has {some}; labels {key} belong to one", file=path,
                remedy=f"say to which: {names[0]}/{name}={path.name}" if names
                else "name the image among the sources; dandify labels adds those of a field of a plate",
            )  # fmt: skip
        found[mine[0]][name] = path
    return tuple(replace(image, labels=some) for image, some in zip(images, found, strict=True))


def _distinct(images: Sequence[Named], taken: set[str]) -> tuple[Named, ...]:
    """Give a number to outputs whose name is taken; no file system is trusted with capital letters."""
    out = []
    for image in images:
        stem = image.output.name.removesuffix(SUFFIX)
        name = next(n for n in chain([stem], (f"{stem}{i}" for i in count(2))) if n.lower() not in taken)
        taken.add(name.lower())
        out.append(replace(image, output=image.output.with_name(name + SUFFIX)))
    return tuple(out)


def _refuse_wrong(plans: Sequence[SessionPlan]) -> None:
    lines = []
    for plan in plans:
        session = {**plan.metadata.level("session"), "session_start_time": plan.start}
        for found in problems_of(plan.metadata.level("subject"), session):
            origin = plan.metadata.origins.get(found.key or "", "")
            lines.append(
                f"  {plan.name}: {found.message}" + (f" [{origin}]" if origin else "")
                + (f"\n      {found.remedy}" if found.remedy else "")
            )  # fmt: skip
        if begun := early(plan.recordings, plan.shifts_s):
            lines.append(f"  {plan.name}: {begun.message}\n      {begun.remedy}")
    if lines:
        raise BadRequest("\n".join(["DANDI would refuse these metadata", *dict.fromkeys(lines)]))


def _refuse_collisions(plans: Sequence[SessionPlan]) -> None:
    seen: dict[str, SessionPlan] = {}
    for plan in plans:
        other = seen.setdefault(plan.name.lower(), plan)
        if other is not plan:
            ids = [f"({p.metadata.get('subject_id')!r}, {p.metadata.get('session_id')!r})" for p in (other, plan)]
            raise BadRequest(
                f"two sessions would both be {plan.name}: (subject, session) {ids[0]} and {ids[1]}",
                remedy=f"give them different session ids ({KEYS['session_id'].meaning})",
            )
