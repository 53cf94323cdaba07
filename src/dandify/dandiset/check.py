"""Checks recordings before they are converted, and files before they are organized: all that would be refused later."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dandify.dandiset import checks, checks_nwb
from dandify.dandiset.describe import YAML, DandisetMetadata, problems_in
from dandify.dandiset.facts import MANIFEST, Facts, kind_of, read_facts
from dandify.dandiset.labels import label_conflicts
from dandify.dandiset.layout import Placement, needs_of, place_of, shared_names
from dandify.dandiset.names import MAX_NAME, MAX_PATH, image_path, nwb_path
from dandify.dandiset.plain import PACKED_REMEDY, is_packed
from dandify.dandiset.supply import once_filled
from dandify.dandiset.table import Table, read_table
from dandify.dandiset.validate import FileVerdict, ValidationReport
from dandify.errors import BadRequest, BadSource, DandifyError, MissingMetadata, Need
from dandify.findings import Finding
from dandify.project.config import PlannedSession, PlannedSource, Project, read_config
from dandify.project.metadata import Layer, parse_assignments, parse_start
from dandify.project.opened import Found, Opened, describe_session, early, shift_of, sources_of, timed
from dandify.project.rules import label, problems_of
from dandify.project.scan import scan
from dandify.sources import Source, Stream
from dandify.tree_state import is_ignored, leads_back

_MEDIUM: Final = "/01234567-0123-0123-0123-0123456789ab_external_file_0.mp4"
# What `organize` puts right: names, folders, media elsewhere; missing media are found here, wherever they should be.
_LATER: Final = frozenset({
    "DANDI.NON_DANDI_FILENAME", "DANDI.NON_DANDI_FOLDERNAME", "DANDI.METADATA_MISMATCH_SUBJECT",
    "DANDI.NO_DANDISET_FOUND", "NWBI.check_image_series_external_file_relative",
    "NWBI.check_image_series_external_file_valid", "dandify.subject_mismatch", "dandify.session_mismatch",
    "dandify.media_absolute", "dandify.media_outside", "dandify.media_missing", "dandify.image_name",
})  # fmt: skip
_SECTION = Layer("sources", {})

ProgressCallback = Callable[[Path], None]


def check(
    *paths: Path | str,
    config: Path | str | None = None,
    subject_id: str | None = None,
    species: str | None = None,
    sex: str | None = None,
    age: str | None = None,
    session_id: str | None = None,
    session_start: str | datetime | None = None,
    metadata: Sequence[str] = (),
    table: Path | str | None = None,
    ignore: Sequence[str] = (),
    doi: bool = False,
    progress: ProgressCallback | None = None,
) -> ValidationReport:
    """Check recordings that are to be converted, and NWB files and OME-Zarr that are to be organized.

    Everything that conversion, upload or publication would refuse is found at once: recordings that cannot be opened,
    missing or wrong metadata of subjects and sessions, ids that would get one name, names that are too long, media that
    are not there, what the validators say of files, the description of the dandiset. Nothing is written.

    Parameters
    ----------
    *paths
        Files and folders; several sessions may lie in one folder, told apart as by ``scan``. Or none, with ``config``.
    config
        A ``dandify.yaml`` that lists sessions and describes the dandiset.
    subject_id, species, sex, age, session_id, session_start, metadata
        As of `dandify.convert`, of all sessions.
    table
        What ``dandify organize --table`` will be given: what it says of NWB files and OME-Zarr is not missing then.
    ignore
        Patterns of files that are passed over.
    doi
        Whether it is to be published: what would stand in the way of that is an error then.
    progress
        Called with each file or session before it is checked.

    Raises
    ------
    BadRequest
        If a path does not exist or is a dandiset, ``config`` cannot be read, or there is nothing to check.
    """
    if not paths and config is None:
        raise BadRequest("nothing to check", remedy="give files, folders, or a dandify.yaml")
    flags = {
        "subject_id": subject_id, "species": species, "sex": sex, "age": age, "session_id": session_id,
        "session_start_time": session_start, **parse_assignments(metadata),
    }  # fmt: skip
    layer = Layer("command line", {k: v for k, v in flags.items() if v is not None})
    project = read_config(Path(config)) if config is not None else None
    inputs = [_require(Path(os.path.abspath(p))) for p in paths]
    root = _root(inputs) if inputs else Path(os.path.abspath(str(config))).parent
    checked = _Checked(root, layer, read_table(Path(table)) if table is not None else None, progress)
    for path in inputs:
        checked.path(path, tuple(ignore))
    for session in project.sessions if project else ():
        checked.planned(session)
    checked.names()
    checked.dandiset(project, doi=doi)
    findings = sorted(dict.fromkeys(checked.findings), key=lambda f: (str(f.path or ""), _ORDER[f.severity], f.id))
    bad = {f.path for f in findings if f.severity == "ERROR"}
    files = [
        FileVerdict(_relative(path, root), kind, path not in bad) for path, kind in sorted(checked.files.items())
    ]  # fmt: skip
    return ValidationReport(root, tuple(findings), tuple(files))


_ORDER: Final = {"ERROR": 0, "WARNING": 1, "HINT": 2}


def _root(inputs: Sequence[Path]) -> Path:
    """Return what the paths of files are told from: the one input, or the folder that several lie in."""
    try:
        return Path(os.path.commonpath(inputs))
    except ValueError:  # drives of their own
        return inputs[0]


def _require(path: Path) -> Path:
    if not path.exists():
        raise BadRequest("no such file or folder", file=path)
    if any((folder / YAML).is_file() for folder in (path, *path.parents)):
        raise BadRequest("is a dandiset, or lies in one", file=path, remedy="dandify validate checks it")
    return path


class _Checked:
    """Gathers what is found."""

    def __init__(self, root: Path, flags: Layer, table: Table | None, progress: ProgressCallback | None) -> None:
        self._root = root
        self._flags = flags
        self._table = table
        self._progress = progress
        self.findings: list[Finding] = []
        self.files: dict[Path, str] = {}
        self._named: list[Facts] = []
        self._placed: list[Placement] = []
        self._zarrs: list[Path] = []
        self._reached: set[Path] = set()

    def path(self, path: Path, ignore: tuple[str, ...]) -> None:
        """Check what is given: files that are converted already, and the sessions of a scan."""
        for file in _converted(path):
            if not is_ignored(file, path, ignore) and (real := file.resolve()) not in self._reached:  # by a link, too
                self._reached.add(real)
                self._file(file)
        if path in self.files:
            return
        report = scan(path, ignore=ignore)
        for session in report.sessions:
            sources = tuple(PlannedSource(s.path, s.format, {}, _SECTION) for s in session.sources)
            opened = [(planned, ((source,), ())) for planned, source in zip(sources, session.sources, strict=True)]
            self._session(PlannedSession(sources, ()), opened, session.path)
        for broken in report.broken:
            self._broken(broken.path, broken.error, broken.format)
        self._unknown([u.path for u in report.unknown])

    def planned(self, request: PlannedSession) -> None:
        """Check a session of a dandify.yaml."""
        opened: list[tuple[PlannedSource, Found]] = []
        for planned in request.sources:
            try:
                opened.append((planned, sources_of(planned)))
            except DandifyError as error:
                self._broken(Path(error.file) if error.file else planned.path, error, planned.format or "unknown")
        if opened:
            self._session(request, opened, opened[0][0].path)

    def _session(self, request: PlannedSession, opened: Sequence[tuple[PlannedSource, Found]], place: Path) -> None:
        self._tell(place)
        session = self._described(request, opened, place)
        if session is None:
            return
        for source in session.sources:
            self.files[source.path] = source.format
            for problem in source.problems:
                self.findings.append(
                    Finding("dandify.source", "dandify", "file", "WARNING", problem, source.path, key=None)
                )
        self._unknown(session.unknown)
        for need in session.needs:
            self._need(need, place)
        values = {**session.metadata.level("subject"), **session.metadata.level("session")}
        for found in problems_of(session.metadata.level("subject"), session.metadata.level("session")):
            origin = session.metadata.origins.get(found.key or "")
            message = f"{found.message} [{origin}]" if origin else found.message
            self.findings.append(
                Finding(found.id, found.origin, found.scope, found.severity, message, place, found.remedy, found.key)
            )
        self._claim(session, values, place)

    def _described(
        self, request: PlannedSession, opened: Sequence[tuple[PlannedSource, Found]], place: Path
    ) -> Opened | None:
        """Merge the metadata; where the start cannot be read, without it, so that the rest is checked too."""
        flags = self._flags
        for _ in range(2):
            try:
                return describe_session(request, flags, opened)
            except BadRequest as error:
                self._add("dandify.metadata", error, place)
                flags = _without_times(flags)
                request = PlannedSession(request.sources, tuple(map(_without_times, request.layers)))
        return None

    def _claim(self, session: Opened, values: Mapping[str, Any], place: Path) -> None:
        """Note the ids of a session, of which names are made."""
        stated = session.metadata.get("session_start_time")
        try:
            start = parse_start(stated, timezone=session.metadata.get("timezone")) if stated else None
        except BadRequest:
            start = None  # said by the rules
        recordings = [s for s in session.sources if timed([s])]
        with suppress(BadRequest):  # a time that cannot be read is said by the rules
            if found := early(recordings, [shift_of(s, start, session.metadata.get("timezone")) for s in recordings]):
                self.findings.append(found)
        images = [(source, s) for source in session.sources for s in source.streams if s.kind == "Image"]
        for source, stream in images:
            self._image(source, stream)
        self._zarrs += [place] * len(images)
        subject, session_id = (None if i is None else str(i) for i in map(values.get, ("subject_id", "session_id")))
        kind: Any = "ome-zarr" if images and len(images) == sum(len(s.streams) for s in session.sources) else "nwb"
        self._named.append(Facts(place, kind, subject, session_id, start))

    def _image(self, source: Source, stream: Stream) -> None:
        """Look at what can be written of an image: a type of pixels that no viewer shows is refused."""
        from dandify.ngff.image import describe_image

        try:
            describe_image(stream)
        except MissingMetadata:
            pass  # its needs are named
        except BadRequest as error:
            self._add("dandify.image", error, source.path)

    def _file(self, path: Path) -> None:
        """Check an NWB file or OME-Zarr as it will be checked in the dandiset, names and places aside."""
        kind = kind_of(path)
        if kind is None:
            return
        self._tell(path)
        self.files[path] = kind
        try:
            facts = read_facts(path, kind)
        except BadSource as error:
            self._add("dandify.unreadable", error, path)
            return
        base = path.parent
        found: Iterator[Finding]
        if facts.kind in ("nwb", "nwb-zarr"):
            found = checks_nwb.nwb(path, base, kind)
            self._media(facts)
        else:
            found = checks.ome_zarr(path)
        if self._table is not None:
            try:
                facts = self._table.supplied(facts)
            except BadRequest as error:
                self._add("dandify.table", error, path)
            found = once_filled(found, facts)
        self.findings += [f for f in (*found, *checks.sizes(path)) if f.id not in _LATER]
        if "zarr" in facts.kind:
            self._zarrs.append(path)
        stated = {k: self._flags.values.get(k) for k in ("subject_id", "session_id")}
        facts = replace(
            facts, subject_id=facts.subject_id or stated["subject_id"],
            session_id=facts.session_id or (stated["session_id"] if facts.session_start_time is None else None),
        )  # fmt: skip
        needs = list(needs_of(facts, "dandi"))
        for need in needs:
            self._need(need, path)
        self._named.append(facts)
        if not needs:
            with suppress(BadRequest):  # said by the rules
                self._placed.append(Placement(path, place_of(facts, "dandi"), facts.kind))

    def _media(self, facts: Facts) -> None:
        for link in facts.links:
            self.findings.append(
                Finding(
                    "dandify.link", "dandify", "file", "ERROR", f"a part of it is a link to another file: {link}",
                    facts.path, "make it one file, see `dandify organize`",
                )
            )  # fmt: skip
        for reference in facts.external_files:
            if not (reference.is_url or reference.optional or reference.resolve(facts.path).is_file()):
                self.findings.append(
                    Finding(
                        "dandify.media_missing", "dandify", "file", "ERROR",
                        f"{reference.dataset} refers to {reference.name}, which is not there", facts.path,
                        "say with dandify organize --media FOLDER where it is now, or put it where the NWB file says",
                    )
                )  # fmt: skip

    def names(self) -> None:
        """Look at the names that will be made of the ids."""
        named = [f for f in self._named if label(f.subject_id or "") and (not f.session_id or label(f.session_id))]
        conflicts = list(label_conflicts(named))
        said = {error.file for error in conflicts}
        for error in (*conflicts, *(e for e in shared_names(self._placed, "dandi") if e.file not in said)):
            self._add("dandify.shared_name", error, None)
        for facts in named:
            if facts.session_id is None and facts.session_start_time is None:
                continue
            target = _name(facts)
            wrong = None
            if len(target.name.encode()) > MAX_NAME:
                wrong = f"its name will have {len(target.name)} characters, and file systems take {MAX_NAME}"
            elif len(str(target.with_suffix(""))) + len(_MEDIUM) > MAX_PATH:
                wrong = f"its path will have {len(str(target))} characters, and the archive takes {MAX_PATH}"
            if wrong:
                self.findings.append(
                    Finding(
                        "dandify.path_length", "dandify", "file", "ERROR", wrong, facts.path, "use shorter ids",
                    )
                )  # fmt: skip

    def dandiset(self, project: Project | None, *, doi: bool) -> None:
        """Look at the description of the dandiset, as far as there is one, and at what publication wants."""
        severity: Any = "ERROR" if doi else "HINT"
        if project is not None:
            try:
                document = DandisetMetadata.of(project.dandiset).document()
            except BadRequest as error:
                self._add("dandify.dandiset_metadata", error, project.path)
            else:
                lacking = []
                for problem in problems_in(document):
                    if problem.blocks == "publication":
                        lacking.append(problem.place)
                        continue
                    self.findings.append(
                        Finding(
                            "dandify.dandiset_metadata", "dandischema", "dandiset", "ERROR",
                            f"{problem.place}: {problem.message}", project.path, "mend `dandiset:`", problem.place,
                        )
                    )  # fmt: skip
                if lacking:
                    self.findings.append(
                        Finding(
                            "dandify.unpublishable", "dandischema", "dandiset", severity,
                            f"for a DOI it needs {', '.join(lacking)}", project.path, "write them under `dandiset:`",
                        )
                    )  # fmt: skip
        if self._zarrs or (project is not None and project.output.backend == "zarr"):
            what = f"{len(self._zarrs)} of them are or become Zarr" if self._zarrs else "the backend is zarr"
            self.findings.append(
                Finding(
                    "dandify.zarr_without_doi", "dandify", "dandiset", severity,
                    f"the archive gives no DOI to a dandiset with Zarr, and {what}", self._root,
                    "where a DOI is needed, put images into a dandiset of their own, and NWB into HDF5",
                )
            )  # fmt: skip

    def _need(self, need: Need, place: Path) -> None:
        self.findings.append(
            Finding(
                f"dandify.missing_{need.key.split('.')[0]}", "dandify", "session", "ERROR",
                f"{need.key} is missing: {need.what}", Path(need.file) if need.file else place, need.remedy, need.key,
            )
        )  # fmt: skip

    def _broken(self, path: Path, error: DandifyError, kind: str) -> None:
        self.files[path] = kind
        self._add("dandify.unreadable", error, path)

    def _unknown(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if path not in self.files and kind_of(path) is None and not path.name.endswith(MANIFEST):
                self.files[path] = "unknown"
                self.findings.append(
                    Finding(
                        "dandify.not_converted", "dandify", "file", "HINT", "no converter knows it: it stays behind",
                        path, PACKED_REMEDY if is_packed(path) else None,
                    )
                )  # fmt: skip

    def _add(self, code: str, error: DandifyError, path: Path | None) -> None:
        where = Path(error.file) if error.file and path is None else path
        self.findings.append(Finding(code, "dandify", "file", "ERROR", error.cause, where, error.remedy))

    def _tell(self, path: Path) -> None:
        if self._progress is not None:
            self._progress(path)


def _without_times(layer: Layer) -> Layer:
    return Layer(layer.origin, {k: v for k, v in layer.values.items() if k not in ("session_start_time", "timezone")})


def _converted(path: Path) -> Iterator[Path]:
    """Yield the NWB files and OME-Zarr among what is given."""
    if kind_of(path) is not None:
        yield path
    elif path.is_dir() and path.suffix not in (".zarr", ".ngff"):
        for child in sorted(path.iterdir()):
            if not child.name.startswith(".") and not leads_back(child):
                yield from _converted(child)


def _name(facts: Facts) -> PurePosixPath:
    make = image_path if facts.kind == "ome-zarr" else nwb_path
    third: Any = "image" if facts.kind == "ome-zarr" else ()
    return make(facts.subject_id or "", facts.session_id, third, session_start_time=facts.session_start_time)


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path != root and path.is_relative_to(root) else path
