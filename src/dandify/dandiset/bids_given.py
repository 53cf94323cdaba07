"""What the tables of a BIDS dataset say of files that are taken out of it, where the files do not say it themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from dandify.dandiset.bids_files import DESCRIPTION
from dandify.dandiset.context import Context, Row, entities_of
from dandify.dandiset.describe import YAML
from dandify.dandiset.facts import Facts
from dandify.dandiset.found import UNUSED, LeftFile
from dandify.dandiset.gather import subject_of_row
from dandify.dandiset.supply import stated_of, with_given
from dandify.dandiset.tables import SEXES
from dandify.project.rules import problems_of
from dandify.project.species import find_species

_TABLES: Final = ("participants.tsv", "samples.tsv", "sessions.tsv")
_ABOUT: Final = "about the BIDS dataset that it is from; dandi takes such files only in one (--layout bids)"
_TAKEN: Final = "a table of the BIDS dataset; what it says of these subjects, sessions and samples comes along"
_OTHER: Final = "describes the dandiset that it is from, not this one"


def dataset_of(path: Path) -> Path | None:
    """Return the BIDS dataset that a file lies in, the innermost; None if in none."""
    return next((folder for folder in path.parents if (folder / DESCRIPTION).is_file()), None)


def told_by_datasets(files: Sequence[Facts]) -> list[Facts]:
    """Return the facts of files with what the tables of the BIDS datasets say that they are from.

    A file's own word, and that of the user, come first; what DANDI would refuse is not taken over.

    Parameters
    ----------
    files
        What they, and the user, say.
    """
    contexts: dict[Path, Context] = {}
    told = []
    for facts in files:
        dataset = dataset_of(facts.path)
        if dataset is not None:
            facts = _told(facts, contexts.setdefault(dataset, Context(dataset)))
        told.append(facts)
    return told


def with_reasons(left: Sequence[LeftFile]) -> list[LeftFile]:
    """Return files that are left out, those that describe a dataset with the reason why."""
    return [replace(item, reason=_reason(item.path)) if item.reason == UNUSED else item for item in left]


def _reason(path: Path) -> str:
    if path.name == YAML:
        return _OTHER
    if dataset_of(path) is None:
        return UNUSED
    return _TAKEN if path.name.endswith(_TABLES) else _ABOUT


def _told(facts: Facts, tables: Context) -> Facts:
    named = entities_of(facts.path.relative_to(tables.dandiset))
    subject, session = named.get("sub") or facts.subject_id, named.get("ses") or facts.session_id
    row: Row = tables.participant(subject) if subject else {}
    of_session: Row = tables.session(subject, session) if subject and session else {}
    said = {**subject_of_row(row), **subject_of_row(of_session)}
    if "sex" in said:
        said["sex"] = SEXES.get(said["sex"].lower(), said["sex"])
    if "species" in said and (known := find_species(said["species"])):
        said["species"] = known.name
    refused = {problem.key for problem in problems_of(said, {})}
    born = facts.subject.get("date_of_birth")
    said = {
        key: value for key, value in said.items()
        if key not in refused and key not in facts.given and not stated_of(facts, key) and not (key == "age" and born)
    }  # fmt: skip
    if facts.kind in ("nwb", "nwb-zarr"):
        return with_given(facts, said)
    start = facts.session_start_time or _time(of_session.get("acq_time"))
    given: Mapping[str, str | None] = {**said, **facts.given}
    if start is not None:
        given = {"session_start_time": start.isoformat(), **given}
    entities = dict(facts.entities)
    sample = named.get("sample")
    if sample and (kind := tables.sample(sample, subject).get("sample_type")):
        entities.setdefault("sample_type", kind)
    return replace(facts, subject={**said, **facts.subject}, given=given, entities=entities)


def _time(text: str | None) -> datetime | None:
    with suppress(ValueError):  # a date alone is no time: its midnight would be made up
        return datetime.fromisoformat(text) if text and "T" in text else None
    return None
