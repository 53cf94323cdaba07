"""Builds the NWBFile of a session: metadata, subject, and the objects of its sources."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pynwb import NWBFile
from pynwb.file import Subject

from dandify.nwb.streams import add_streams
from dandify.sources import NWBSource, Source

_SESSION_FIELDS = (
    "session_id", "experimenter", "institution", "lab", "experiment_description", "keywords", "related_publications",
    "notes", "protocol", "surgery", "pharmacology", "virus", "stimulus_notes", "data_collection",
)  # fmt: skip
_SUBJECT_FIELDS = ("subject_id", "species", "sex", "age", "weight", "strain", "genotype")


def build_nwbfile(
    sources: Sequence[Source],
    *,
    session: Mapping[str, Any],
    subject: Mapping[str, Any],
    start: datetime,
    shifts_s: Sequence[float] | None = None,
    locations: Sequence[str | None] | None = None,
    external: Mapping[Path, str] | None = None,
) -> NWBFile:
    """Build the NWBFile of a session in memory; big arrays stay where they are.

    Parameters
    ----------
    sources
        Acquisitions of the session; images that become OME-Zarr are left out.
    session, subject
        Metadata by the keys of `dandify.project.metadata`.
    start
        Start of the session, with its time zone.
    shifts_s
        Start of each source in seconds after ``start``.
    locations
        Brain area of the electrodes of each source; where it is None they keep what the source says of them.
    external
        How the NWB file is to name files kept beside it, such as videos.
    """
    nwbfile = NWBFile(
        session_description=session.get("session_description") or _description(sources),
        identifier=session.get("identifier") or _identifier(sources, session, subject, start),
        session_start_time=start,
        subject=_subject(subject),
        **{name: session[name] for name in _SESSION_FIELDS if session.get(name)},
    )
    count = len(sources)
    for source, shift_s, location in zip(sources, shifts_s or [0.0] * count, locations or [None] * count, strict=True):
        known = set(nwbfile.electrode_groups)
        if isinstance(source, NWBSource):
            source.add_to_nwbfile(nwbfile, shift_s=shift_s)
        else:
            add_streams(nwbfile, source, shift_s=shift_s, external=external)
        if location:
            _locate(nwbfile, set(nwbfile.electrode_groups) - known, location)
    return nwbfile


def _locate(nwbfile: NWBFile, groups: set[str], location: str) -> None:
    """Give electrode groups and their electrodes a brain area; formats state none, and NWB asks for one."""
    for name in groups:
        nwbfile.electrode_groups[name].fields["location"] = location
    if groups:
        column = nwbfile.electrodes["location"].data
        for row, group in enumerate(nwbfile.electrodes["group"].data):
            if group.name in groups:
                column[row] = location


def _subject(values: Mapping[str, Any]) -> Subject:
    fields = {name: values[name] for name in _SUBJECT_FIELDS if values.get(name)}
    if born := values.get("date_of_birth"):
        fields["date_of_birth"] = datetime.fromisoformat(str(born)).astimezone()
    if description := values.get("subject_description"):
        fields["description"] = description
    return Subject(**fields)


def _description(sources: Sequence[Source]) -> str:
    """Say which files it was made of: NWB asks for a description, and that is what is known."""
    stated = [str(s.facts["description"]) for s in sources if s.facts.get("description")]
    made_of = ", ".join(f"{s.path.name} ({s.format})" for s in sources)
    return "; ".join([*dict.fromkeys(stated), f"converted by dandify from {made_of}"])


def _identifier(
    sources: Sequence[Source], session: Mapping[str, Any], subject: Mapping[str, Any], start: datetime
) -> str:
    """Make an id out of what identifies the recording: the same files give the same id."""
    parts = [subject.get("subject_id"), session.get("session_id"), start.isoformat()]
    parts += [f"{f.name}:{f.stat().st_size}" for s in sources for f in s.files]
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "dandify:" + "|".join(map(str, parts))))
