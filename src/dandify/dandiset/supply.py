"""What the user says of an NWB file's subject and session, and the organized copy that says it too."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import h5py

from dandify.dandiset.facts import Facts
from dandify.findings import Finding
from dandify.project.rules import problems_of
from dandify.project.species import find_species

SUBJECT: Final = ("species", "sex", "age", "date_of_birth", "weight", "strain", "genotype")
"""What may be said of a subject beside its id, by NWB's keys."""
UNKNOWN: Final = "n/a"
"""What a cell says, as in BIDS, so that the copy does not state what the file does."""

_DEMANDED: Final = ("species", "sex", "age")  # beside the id, of every subject
_ABOUT: Final = {"NWBI.check_subject_id_exists": "subject_id"}
_NOTHING: Final = frozenset({"na", "n/a", "nan", "none", "null"})
_PLACES: Final = {"session_id": "general/session_id"}
_GROUP: Final = "general/subject"


def contradicted(facts: Facts, said: Mapping[str, str]) -> Iterator[str]:
    """Yield the keys of which an NWB file itself states something else that DANDI takes.

    What the file leaves out may be said, and what DANDI would refuse, or is a word for nothing, may be said in another
    way. To call a recording by another subject is no way to change the subject in it.

    Parameters
    ----------
    facts
        Of the file.
    said
        By ``subject_id``, ``session_id`` and the keys in `SUBJECT`.
    """
    refused = _refused(facts)
    for key, value in said.items():
        stated = stated_of(facts, key)
        if stated and stated.lower() not in _NOTHING and key not in refused and not _same(key, stated, value):
            yield key


def with_given(facts: Facts, said: Mapping[str, str]) -> Facts:
    """Return an NWB file's facts with what is said of it, as far as it does not state the same.

    Parameters
    ----------
    facts
        Of the file.
    said
        As of `contradicted`, and without contradictions; `UNKNOWN` takes away what the file states.
    """
    given = dict(facts.given)
    subject = dict(facts.subject)
    refused = _refused(facts) if said else set()
    for key, value in said.items():
        stated = stated_of(facts, key)
        if value == UNKNOWN:
            if stated:
                given[key] = None
                subject.pop(key, None)
        elif not stated or not _same(key, stated, value) or (key in refused and stated != value):
            given[key] = value
            if key != "session_id":
                subject[key] = value
    return replace(
        facts, given=given, subject=subject, subject_id=subject.get("subject_id") or facts.subject_id,
        session_id=given.get("session_id") or facts.session_id,
    )  # fmt: skip


def stated_of(facts: Facts, key: str) -> str | None:
    """Return what a file states by a key of `SUBJECT`, ``subject_id`` or ``session_id``."""
    return facts.session_id if key == "session_id" else facts.subject.get(key)


def once_filled(findings: Iterable[Finding], facts: Facts) -> Iterator[Finding]:
    """Yield what validators say of an NWB file as far as it holds of the copy that is to say what is given, too.

    Parameters
    ----------
    findings
        Of the file as it is.
    facts
        With what is given, see `with_given`.
    """
    given = {key for key, value in facts.given.items() if value is not None}
    if "date_of_birth" in given:
        given.add("age")
    for found in findings:
        if found.id == "NWBI.check_subject_exists" and given:
            missing = [k for k in _DEMANDED if not facts.subject.get(k) and k not in given]
            for key in missing:
                message = f"{key} of the subject is missing"
                yield replace(
                    found, id=f"dandify.missing_{key}", message=message, remedy=f"a column {key} of --table", key=key
                )
        elif (found.key or _ABOUT.get(found.id)) not in given:
            yield found


def fill(nwb: Path, given: Mapping[str, str | None]) -> None:
    """Write what was said into an NWB file, HDF5 or Zarr v2; None takes away. Only ever called on an organized copy.

    The same is written each time, byte for byte, so that a copy can be told from one that was changed.
    """
    (_fill_zarr if nwb.is_dir() else _fill_hdf5)(nwb, given)


def says(facts: Facts, given: Mapping[str, str | None]) -> bool:
    """Whether an organized NWB file states what `fill` would write."""
    return all(stated_of(facts, key) == value for key, value in given.items())


def _refused(facts: Facts) -> set[str | None]:
    return {problem.key for problem in problems_of(facts.subject, {"session_id": facts.session_id})}


def _same(key: str, stated: str, value: str) -> bool:
    if key == "species" and stated != value:
        known = find_species(stated)
        return known is not None and known == find_species(value)
    return stated == value


def _new_subject(root: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes of a Subject, whose id depends on the file's, and on nothing else."""
    file_id, version = (_text(root.get(key, "")) for key in ("object_id", "nwb_version"))
    attributes = {
        "namespace": "core", "neurodata_type": "Subject", "object_id": str(uuid.uuid5(uuid.NAMESPACE_OID, file_id)),
    }  # fmt: skip
    if version.startswith("2.0"):
        attributes["help"] = "Information about the subject"  # NWB 2.0 requires it, with this value
    return attributes


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _fill_hdf5(nwb: Path, given: Mapping[str, str | None]) -> None:
    with h5py.File(nwb, "r+") as file:
        for place, value in _cleared(file, given):
            file.create_dataset(place, data=value, dtype=h5py.string_dtype())


def _fill_zarr(nwb: Path, given: Mapping[str, str | None]) -> None:
    import zarr
    from numcodecs import VLenUTF8

    file: Any = zarr.open_group(str(nwb), mode="r+")
    for place, value in _cleared(file, given):
        array = file.create_dataset(place, shape=(1,), chunks=(1,), dtype=object, object_codec=VLenUTF8())
        array[0] = value
        array.attrs["zarr_dtype"] = "scalar"  # as hdmf-zarr marks what is no array
    if (nwb / ".zmetadata").is_file():
        zarr.consolidate_metadata(str(nwb))


def _cleared(file: Any, given: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield what is to be written and where, after what is there was removed and a Subject made if there was none."""
    for key, value in given.items():
        place = _PLACES.get(key, f"{_GROUP}/{key}")
        if place in file:
            del file[place]
        if value is None:
            continue
        if place.startswith(_GROUP) and _GROUP not in file:
            file.create_group(_GROUP).attrs.update(_new_subject(file.attrs))
        yield place, value
