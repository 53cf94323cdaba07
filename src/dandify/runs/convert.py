"""Converts sessions: everything of a session but its images becomes one NWB, each image an OME-Zarr."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from dandify.errors import BadRequest, DandifyError
from dandify.project.config import Output, PlannedSession, PlannedSource, StreamOutput, read_config
from dandify.project.metadata import Layer, parse_assignments
from dandify.runs.build import first_planes, labels_of, named, nwbfile_of, stated_of, stated_of_plate
from dandify.runs.choices import image_choice, said_of_image, said_of_series, series_choices, with_note
from dandify.runs.dry_run import PlannedOutputs, image_key, plan_outputs, plate_key
from dandify.runs.plan import ImagePlan, PlannedPlate, SessionPlan, plan_sessions
from dandify.sources.microscopy import told_of_filled
from dandify.store.partial import make_folder, output_path
from dandify.store.progress import ProgressCallback

if TYPE_CHECKING:
    from dandify.store.report import WriteReport as WriteReport  # what reports show


@dataclass(frozen=True)
class ConvertedSession:
    """What became of one session.

    Attributes
    ----------
    plan
        What was to be done.
    written
        A report per output, in the order of `SessionPlan.outputs`.
    skipped
        Outputs that were there already.
    error
        Why it stopped; None if all is well.
    planned
        What would be written, of a dry run.
    """

    plan: SessionPlan
    written: tuple[WriteReport, ...]
    skipped: tuple[Path, ...] = ()
    error: DandifyError | None = None
    planned: PlannedOutputs | None = None


@dataclass(frozen=True)
class ConvertReport:
    """What `convert` did, session by session."""

    out: Path
    sessions: tuple[ConvertedSession, ...]

    @property
    def failed(self) -> tuple[ConvertedSession, ...]:
        """Sessions that ended in an error."""
        return tuple(s for s in self.sessions if s.error)


def convert(
    *sources: Path | str,
    out: Path | str,
    config: Path | str | None = None,
    subject_id: str | None = None,
    species: str | None = None,
    sex: str | None = None,
    age: str | None = None,
    session_id: str | None = None,
    session_start: str | datetime | None = None,
    metadata: Sequence[str] = (),
    ignore: Sequence[str] = (),
    backend: Literal["hdf5", "zarr"] | None = None,
    ngff: Literal["0.4", "0.5"] | None = None,
    compression: str | None = None,
    stub: bool = False,
    workers: int | None = None,
    memory: str = "1GB",
    verify: Literal["full", "sample", "none"] = "full",
    transforms: Mapping[str, Sequence[str]] = MappingProxyType({}),
    overwrite: bool = False,
    skip_existing: bool = False,
    progress: ProgressCallback | None = None,
    on_plan: Callable[[tuple[SessionPlan, ...]], None] | None = None,
    chunks: Mapping[str, Sequence[int]] | None = None,
    dry_run: bool = False,
    paged: bool = False,
    labels: Mapping[str, Path | str] = MappingProxyType({}),
    pattern: str | None = None,
    missing: Literal["refuse", "fill"] = "refuse",
) -> ConvertReport:
    """Convert raw recordings to NWB and OME-Zarr, each verified against its source.

    Parameters
    ----------
    *sources
        Files and folders of one session; or none, with ``config``.
    out
        Folder of the outputs: ``<out>/sub-<id>_ses-<id>/``.
    config
        A ``dandify.yaml`` that lists sessions.
    subject_id, species, sex, age, session_id, session_start
        Metadata of the session (of all sessions, with ``config``); they win over what the files state.
    metadata
        More, as ``KEY=VALUE``.
    ignore
        Patterns of files in the source folders that are passed over.
    backend
        Of NWB files: ``hdf5`` (default) or ``zarr``.
    ngff
        Version of OME-Zarr: ``0.5`` (default) or ``0.4``.
    compression
        Of NWB files, see `dandify.write_nwb`.
    stub
        Convert only the first second of every recording and the first planes of every image and its labels.
    workers
        Threads that compress; one per core if None.
    memory
        Cap on the memory of the engine.
    verify
        How much of an output is read back and compared: every chunk, one of sixteen (of images: one part of
        sixteen of the planes), or nothing.
    transforms
        Exact changes of stored integers in NWB files, by the name or pattern of a series; see `dandify.write_nwb`.
    overwrite, skip_existing
        What to do with outputs that are there already; neither: refuse before any work.
    progress
        Called as work proceeds.
    on_plan
        Called once with what is going to be done, before the first byte.
    chunks
        Chunk shapes of an NWB file's datasets, see `dandify.write_nwb`.
    dry_run
        Plan everything, by samples of recordings and images, and write nothing: see `ConvertedSession.planned`.
    paged
        NWB files are HDF5 in pages, see `dandify.write_nwb`.
    labels
        Files of labels by their name, written with the image, see `dandify.write_ome_zarr_labels`; by ``IMAGE/NAME``
        where the session has several images. ``dandify.yaml`` has them for each session.
    pattern
        Of a folder with a TIFF for each plane: which plane a file is by its path in the folder, such as
        ``*_{row}{column}_s{field}_w{channel:1}*.tif``. Rows and columns make it a plate. ``dandify.yaml`` has it among
        the options of a source: ``format: planes, options: {pattern: ...}``.
    missing
        Planes of an image that no file holds, of folders of planes, sets of OME-TIFF and acquisitions of MetaMorph:
        ``refuse`` the image (default), or ``fill`` them with 0, which the manifest names. ``dandify.yaml`` may have it
        among the options of a source.

    Raises
    ------
    dandify.errors.MissingMetadata
        Naming all required values that neither files nor the caller state.
    dandify.errors.DandifyError
        If the only session fails; with several, see `ConvertReport.failed`.
    """
    if bool(sources) == bool(config):
        both = "both sources and" if sources else "neither sources nor"
        raise BadRequest(f"{both} a dandify.yaml: it takes one of them", remedy="see `dandify convert --help`")
    if missing not in ("refuse", "fill"):
        raise BadRequest(f"missing={missing!r}", remedy="refuse, or fill")
    metadata, ignore = ((some,) if isinstance(some, str) else some for some in (metadata, ignore))  # one is no list
    if overwrite and skip_existing:
        raise BadRequest("overwrite and skip-existing exclude each other")
    if labels and config:
        raise BadRequest("labels are given, and sessions of a dandify.yaml have their own", file=config,
                         remedy="put them under `labels` of the session")  # fmt: skip
    if pattern is not None and len(sources) != 1:
        raise BadRequest(f"a pattern is of one folder, and there are {len(sources)} sources",
                         remedy="name each in dandify.yaml: format: planes, options: {pattern: ...}")  # fmt: skip
    flags = {
        "subject_id": subject_id, "species": species, "sex": sex, "age": age, "session_id": session_id,
        "session_start_time": session_start, **parse_assignments(metadata),
    }  # fmt: skip
    project = read_config(Path(config)) if config else None
    if project:
        requests: tuple[PlannedSession, ...] = project.sessions
        backend, ngff = backend or project.output.backend, ngff or project.output.ngff
    else:
        none = Layer("sources", {})
        form, said = (None, {}) if pattern is None else ("planes", {"pattern": pattern})
        paths = [Path(os.path.abspath(s)) for s in sources]  # without "..": those of labels are compared with them
        given = [PlannedSource(path, form, said, none, tuple(ignore)) for path in paths]
        requests = (PlannedSession(tuple(given), (), {n: Path(os.path.abspath(p)) for n, p in labels.items()}),)
    if missing == "fill":
        requests = tuple(replace(r, sources=tuple(replace(s, missing=missing) for s in r.sources)) for r in requests)
    out = output_path(out).absolute()
    plans = plan_sessions(
        requests,
        out,
        flags=Layer("command line", {k: v for k, v in flags.items() if v is not None}),
        backend=backend or "hdf5",
        existing="overwrite" if overwrite else "skip" if skip_existing else "error",
    )
    if compression is not None:
        from dandify.store.compression import require_compression

        require_compression(backend or "hdf5", compression)
    if paged and (backend or "hdf5") != "hdf5":
        raise BadRequest(f"backend {backend} has no pages", remedy="leave --paged out, or --backend hdf5")
    if (chunks or transforms) and not any(plan.nwb for plan in plans):
        raise BadRequest(
            f"{'chunks' if chunks else 'transforms'} are of arrays of NWB files, and there are images alone",
            remedy="chunks of images stand in dandify.yaml: output: {streams: {Image: {chunks: [16, 256, 256]}}}",
        )  # fmt: skip
    if on_plan:
        on_plan(plans)
    options: dict[str, Any] = {
        "memory": memory, "workers": workers, "progress": progress, "overwrite": overwrite, "verify": verify,
    }  # fmt: skip
    done = []
    for plan in plans:
        nwb_options = {
            "compression": compression, "chunks": chunks, "transforms": transforms,
            "streams": series_choices(project.output if project else Output(), compression),
        }  # fmt: skip
        tuned = project.output.streams if project else {}
        if dry_run:
            result = _planned_session(
                plan, stub=stub, skip=skip_existing, backend=backend or "hdf5", ngff=ngff or "0.5", memory=memory,
                workers=workers, tuned=tuned, **nwb_options,
            )  # fmt: skip
        else:
            result = _convert_session(
                plan, backend=backend or "hdf5", ngff=ngff or "0.5", stub=stub, skip=skip_existing, options=options,
                nwb_options={**nwb_options, "paged": paged}, tuned=tuned,
            )  # fmt: skip
        if result.error and len(plans) == 1:
            raise result.error
        done.append(result)
    return ConvertReport(out, tuple(done))


def _planned_session(plan: SessionPlan, *, stub: bool, skip: bool, **options: Any) -> ConvertedSession:
    skipped = tuple(o for o in plan.outputs if skip and o.exists())
    try:
        return ConvertedSession(plan, (), skipped, planned=plan_outputs(plan, skipped, stub=stub, **options))
    except DandifyError as error:
        return ConvertedSession(plan, (), skipped, error)


def _convert_session(
    plan: SessionPlan,
    *,
    backend: str,
    ngff: str,
    stub: bool,
    skip: bool,
    nwb_options: dict[str, Any],
    options: dict[str, Any],
    tuned: Mapping[str, StreamOutput],
) -> ConvertedSession:
    written: list[WriteReport] = []
    skipped = tuple(o for o in plan.outputs if skip and o.exists())
    details = {
        "subject": plan.metadata.level("subject"),
        "session": {**plan.metadata.level("session"), "session_start_time": plan.start and plan.start.isoformat()},
        "metadata_origins": dict(plan.metadata.origins),
        "stub": stub,
    }
    try:
        if plan.nwb and plan.nwb not in skipped:
            one = _write_nwb(plan, backend=backend, stub=stub, details=details, options={**options, **nwb_options})
            written.append(with_note(one, said_of_series(one, nwb_options["streams"])))
        said: dict[str, Any] = {"ngff": ngff, "stub": stub, "details": details}
        written.extend(
            _write_image(image, options=options, chosen=image_choice(*image_key(image), tuned), **said)
            for image in plan.images if image.output not in skipped
        )  # fmt: skip
        written.extend(
            _write_plate(plate, options=options, chosen=image_choice(*plate_key(plate), tuned), **said)
            for plate in plan.plates if plate.output not in skipped
        )  # fmt: skip
    except DandifyError as error:
        return ConvertedSession(plan, tuple(written), skipped, error)
    finally:
        for output in plan.outputs[:1]:  # a session of which nothing was written leaves no empty folders
            with suppress(OSError):
                output.parent.rmdir()
                output.parent.parent.rmdir()
    return ConvertedSession(plan, tuple(written), skipped)


def _write_nwb(
    plan: SessionPlan, *, backend: str, stub: bool, details: dict[str, Any], options: dict[str, Any]
) -> WriteReport:
    from dandify.nwb.write import write_nwb

    assert plan.nwb is not None
    nwbfile = nwbfile_of(plan, stub=stub)
    make_folder(plan.nwb.parent)
    files = [f for s in plan.recordings for f in s.files]
    return write_nwb(nwbfile, plan.nwb, backend=backend, sources=files, extra_manifest=details, **options)


def _write_image(
    image: ImagePlan, *, ngff: str, stub: bool, details: dict[str, Any], options: dict[str, Any], chosen: dict[str, Any]
) -> WriteReport:
    from dandify.ngff.write import write_ome_zarr

    make_folder(image.output.parent)
    stream = first_planes(image.stream) if stub else image.stream
    details = {**details, "image": stated_of(replace(image, stream=stream))}
    with named(image.source, image.stream.name):
        report = write_ome_zarr(
            stream, image.output, version=ngff, sources=image.source.files, details=details,
            labels=labels_of(image, stub=stub), **(options | chosen),
        )  # fmt: skip
    return with_note(replace(report, notes=(*report.notes, *told_of_filled(stream))), said_of_image(chosen))


def _write_plate(
    plate: PlannedPlate, *, ngff: str, stub: bool, details: dict[str, Any], options: dict[str, Any],
    chosen: dict[str, Any],
) -> WriteReport:  # fmt: skip
    from dandify.ngff.plate import write_ome_zarr_plate

    make_folder(plate.output.parent)
    fields = {place: first_planes(stream) if stub else stream for place, stream in plate.fields.items()}
    with named(plate.source):
        report = write_ome_zarr_plate(
            fields, plate.output, version=ngff, sources=plate.source.files,
            details={**details, "image": stated_of_plate(replace(plate, fields=fields))}, **(options | chosen),
        )  # fmt: skip
    told = (told for stream in fields.values() for told in told_of_filled(stream))
    return with_note(replace(report, notes=(*report.notes, *told)), said_of_image(chosen))
