"""Checks of NWB files that the dandi client does not make: subject, media, filters, metadata extraction, NWB-Zarr."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from dandify.dandiset.checks import (
    REMEDIES,
    SCHEMA_REMEDY,
    dandi,
    finding,
    inspector_failure,
    of_asset,
    quiet_dandi,
    translate,
    without_builder,
)
from dandify.dandiset.facts import Facts, Kind, read_facts, unsafe_arrays
from dandify.dandiset.names import ids_in_name
from dandify.dandiset.nwb_opened import OpenedNwb, alone, opened
from dandify.dandiset.plain import PICTURES, VIDEOS
from dandify.errors import BadSource
from dandify.findings import Finding, Severity
from dandify.project.rules import label, problems_of
from dandify.project.species import find_species

_FILTERS: Final = {
    4: ("szip", "Neurosift, and HDF5 built without szip"),
    32000: ("lzf", "MATLAB, HDF5 tools and Neurosift"),
    32001: ("Blosc", "MATLAB, HDF5 tools, Neurosift, and pynwb without hdf5plugin"),
    32004: ("LZ4", "MATLAB, HDF5 tools, Neurosift, and pynwb without hdf5plugin"),
    32008: ("bitshuffle", "MATLAB, HDF5 tools, Neurosift, and pynwb without hdf5plugin"),
    32015: ("Zstandard", "MATLAB, HDF5 tools, Neurosift, and pynwb without hdf5plugin"),
    32026: ("Blosc2", "MATLAB, HDF5 tools, Neurosift, and pynwb without hdf5plugin"),
}
_SAID_BY_INSPECTOR: Final = {
    "NWBI.check_subject_species_form": "species",
    "NWBI.check_subject_species_exists": "species",
    "NWBI.check_subject_sex": "sex",
    "NWBI.check_subject_age": "age",
    "NWBI.check_subject_proper_age_range": "age",
    "NWBI.check_subject_id_no_slashes": "subject_id",
    "NWBI.check_session_id_no_slashes": "session_id",
    "NWBI.check_session_start_time_future_date": "session_start_time",
    "NWBI.check_subject_weight": "weight",
}


def nwb(path: Path, base: Path, kind: Kind, *, in_bids: bool = False) -> Iterator[Finding]:
    """Yield everything that is to be said of an NWB file of either backend.

    Parameters
    ----------
    path, base
        The file, and the folder of its dandiset.
    kind
        ``nwb`` or ``nwb-zarr``.
    in_bids
        It is of a BIDS dataset, whose validator has seen its name (`dandify.dandiset.checks.dandi_bids`).
    """
    with quiet_dandi(), opened(path) if kind == "nwb" else nullcontext() as file:
        found = list(_of_client(file, path, base, kind, in_bids=in_bids))
        try:
            facts = read_facts(path, kind)
        except BadSource as error:
            yield from found
            yield Finding("dandify.unreadable", "dandify", "file", "ERROR", error.cause, path, remedy=error.remedy)
            return
        if kind == "nwb-zarr":
            found += nwb_zarr(path)
        yield from _with_rules(facts, found)
        yield from ids_in_path(facts, base)
        yield from media(facts, base)
        if kind == "nwb":
            yield from hdf5_filters(facts)
            yield from extraction(facts, file)


def client_findings(asset: Any) -> Iterator[Finding]:
    """Yield what the dandi client finds in one of its assets (`dandi.files.LocalAsset`), sooner where that is known."""
    from dandi.files import BIDSAsset, NWBAsset

    if not isinstance(asset, NWBAsset):
        yield from of_asset(asset)
        return
    in_bids = isinstance(asset, BIDSAsset)
    with opened(asset.filepath) as file:
        if file is None:
            yield from of_asset(asset)
            return
        yield from _said(file, asset.filepath, None if in_bids else asset.dandiset_path)
    if in_bids:
        for result in BIDSAsset.get_validation_errors(asset):
            yield from translate(result, asset.filepath)


def _of_client(file: OpenedNwb | None, path: Path, base: Path, kind: Kind, *, in_bids: bool) -> Iterator[Finding]:
    """Return what the client finds in a file, open if it could be opened; names in a BIDS dataset are not looked at."""
    if file is not None:
        return _said(file, path, None if in_bids else base)
    if in_bids and kind == "nwb-zarr":  # said with the dataset
        return iter(())
    return dandi(path, None if in_bids else base)


def _said(file: OpenedNwb, path: Path, base: Path | None) -> Iterator[Finding]:
    """Yield what the dandi client finds in a file (`dandify.dandiset.checks.dandi`), of one that is open."""
    from dandi.files.bases import NWBI_IMPORTANCE_TO_DANDI_SEVERITY
    from dandi.organize import validate_organized_path

    for error in file.errors:
        message = f"Failed to validate. {error.reason}"
        yield finding(f"pynwb.{error.name}", "pynwb", "file", "ERROR", message, path, inside=[error.location])
    for said in file.messages:
        severity = NWBI_IMPORTANCE_TO_DANDI_SEVERITY[said.importance.name].name
        code = f"NWBI.{said.check_function_name}"
        yield finding(code, "nwbinspector", "file", severity, said.message, path, inside=[said.location])
    if base is not None:  # names in a BIDS dataset go by other rules
        for result in validate_organized_path(path.relative_to(base).as_posix(), path, base):
            yield from translate(result, path)


def ids_in_path(facts: Facts, base: Path) -> Iterator[Finding]:
    """Compare the subject and session in a path with those in the file; dandi compares file and folder names only."""
    parts = facts.path.relative_to(base).parts
    subject, session = ids_in_name(facts.path.name)
    folder = parts[0].removeprefix("sub-") if len(parts) > 1 and parts[0].startswith("sub-") else None
    for stated, named, what, severity in (
        (facts.subject_id, folder or subject, "subject", "ERROR"),
        (facts.session_id, session, "session", "WARNING"),
    ):
        if stated and named and _bare(stated) != _bare(named):
            level: Severity = "ERROR" if severity == "ERROR" else "WARNING"
            yield Finding(
                f"dandify.{what}_mismatch", "dandify", "file", level,
                f"the path says {what} {named!r}, the file {stated!r}", facts.path,
                remedy="dandify organize names it by what it states",
            )  # fmt: skip


def media(facts: Facts, base: Path) -> Iterator[Finding]:
    """Look for the files that an NWB file refers to: there, in the dandiset, and of a kind that is uploaded."""
    for reference in facts.external_files:
        if reference.is_url:
            continue
        where = f"{reference.dataset} refers to {reference.name}"
        source = reference.resolve(facts.path)
        wrong = None
        if PurePosixPath(reference.name).is_absolute() or PureWindowsPath(reference.name).is_absolute():
            wrong = ("media_absolute", "which exists on this computer only")
        elif not source.is_file():
            wrong = ("media_missing", "which is not there")
        elif base not in source.parents:
            wrong = ("media_outside", "which is not in the dandiset")
        elif source.suffix not in (*VIDEOS, *PICTURES):
            wrong = ("media_kind", f"and dandi uploads only {' '.join((*VIDEOS, *PICTURES))}, in lower case")
        if wrong:
            remedy = (
                "put it where the NWB file says: dandify organize brings it along" if wrong[0] == "media_missing"
                else "convert it to mp4, and refer to that" if wrong[0] == "media_kind" and not _uploaded(source)
                else "dandify organize brings the file along and names it relatively"
            )  # fmt: skip
            yield Finding(
                f"dandify.{wrong[0]}", "dandify", "file", "WARNING" if reference.optional else "ERROR",
                f"{where}, {wrong[1]}", facts.path, remedy=remedy,
            )  # fmt: skip


def hdf5_filters(facts: Facts) -> Iterator[Finding]:
    """Yield a warning for each filter that some readers lack: they show wrong numbers or nothing."""
    for number, names in facts.filters.items():
        label, lacking = _FILTERS.get(number, (f"HDF5 filter {number}", "whoever lacks its plugin"))
        yield Finding(
            "dandify.hdf5_filter", "dandify", "file", "WARNING",
            f"{len(names)} dataset(s), such as {names[0]}, are stored with {label}: not readable for {lacking}",
            facts.path, remedy="store it with gzip and shuffle, which every reader has",
        )  # fmt: skip


def extraction(facts: Facts, file: OpenedNwb | None = None) -> Iterator[Finding]:
    """Extract the metadata as an upload will, so that it does not fail there first; but never on the network.

    Parameters
    ----------
    facts
        Of the file.
    file
        It, where it is open.
    """
    species = facts.subject.get("species", "")
    if any(p.key == "species" for p in problems_of(facts.subject, {})):
        return  # it would fail because of that, which is said already
    with quiet_dandi():
        from dandi.metadata.core import prepare_metadata
        from dandi.metadata.nwb import get_metadata
        from dandi.metadata.util import process_ndtypes, species_map

        known = find_species(species)
        unlisted = bool(species) and (known is None or all(s.uri != known.url for s in species_map))
        try:
            record = file.metadata() if file else dict(get_metadata(alone(facts.path)))
            if unlisted:
                record["species"] = None
            process_ndtypes(prepare_metadata(record), record["nd_types"])
        except Exception as error:  # whatever it is, the upload would fail of it in the same way
            yield Finding(
                "dandify.extraction", "dandi", "file", "ERROR",
                f"the client cannot extract its metadata, so it cannot be uploaded: {without_builder(str(error))}",
                facts.path,
            )  # fmt: skip
    if unlisted:
        yield Finding(
            "dandify.species_lookup", "dandi", "file", "WARNING",
            f"`dandi upload` itself does not know {species}: it refuses a name, and looks a URL up at ontobee.org",
            facts.path, remedy="dandify upload knows it, and needs no network for that", key="species",
        )  # fmt: skip


def nwb_zarr(path: Path) -> Iterator[Finding]:
    """Run pynwb and nwbinspector on an NWB-Zarr, of which the dandi client sees only the Zarr."""
    if pickled := unsafe_arrays(path):
        yield Finding(
            "dandify.zarr_pickle", "dandify", "file", "ERROR",
            f"{len(pickled)} array(s), such as {pickled[0]}, are pickles: to read them is to run code out of the data, "
            "and it was not read", path,
            "if you trust who wrote it, NUMCODECS_ALLOW_UNSAFE_PICKLE_DECODE=1 dandify repack IN OUT.nwb makes it HDF5,"
            " and dandify convert --backend zarr writes none",
        )  # fmt: skip
        return
    with quiet_dandi():
        from hdmf_zarr import NWBZarrIO
        from nwbinspector import Importance, inspect_nwbfile_object, load_config
        from pynwb import validate

        try:
            with NWBZarrIO(str(path), mode="r") as io:
                # By path both fail on any Zarr (pynwb 2131); through the open file they work.
                errors = list(validate(io=io))
                messages = list(
                    inspect_nwbfile_object(
                        io.read(), config=load_config("dandi"),
                        importance_threshold=Importance.BEST_PRACTICE_VIOLATION,
                    )
                )  # fmt: skip
        except Exception as error:  # hdmf raises many kinds; each means that nobody can read it
            said = f"not readable as NWB: {without_builder(str(error))}"
            yield Finding("dandify.unreadable", "hdmf-zarr", "file", "ERROR", said, path)
            return
    for wrong in errors:
        yield Finding(
            f"pynwb.{wrong.name}", "pynwb", "file", "ERROR", f"{wrong.reason} [{wrong.location}]", path, SCHEMA_REMEDY
        )
    for message in messages:
        stated = f"NWBI.{message.check_function_name}"
        code, text = inspector_failure(stated, message.message)
        lenient = message.importance.name == "BEST_PRACTICE_VIOLATION" or code != stated  # some checks know only HDF5
        where = f" [{message.location}]" if message.location not in (None, "", "/") else ""
        yield Finding(
            code, "nwbinspector", "file", "WARNING" if lenient else "ERROR", f"{text}{where}", path,
            remedy=REMEDIES.get(code),
        )  # fmt: skip


def _with_rules(facts: Facts, found: list[Finding]) -> Iterator[Finding]:
    """Give the inspector's findings the remedies of our rules, and add those rules that it does not have."""
    rules = {p.key: p for p in problems_of(facts.subject, {"session_id": facts.session_id})}
    said = set()
    for one in found:
        key = _SAID_BY_INSPECTOR.get(one.id)
        said.add(key)
        rule = rules.get(key) if key else None
        yield replace(one, remedy=rule.remedy if rule and rule.remedy else one.remedy, key=key or one.key)
    for key, rule in rules.items():
        if key not in said:
            yield Finding(
                rule.id, rule.origin, "file", rule.severity, rule.message, facts.path, rule.remedy, rule.key
            )  # fmt: skip


def _uploaded(path: Path) -> bool:
    return path.suffix.lower() in (*VIDEOS, *PICTURES)


def _bare(text: str) -> str:
    """Return an id without what the ways of writing it in names change: dandi's, BIDS's and ours."""
    return re.sub(r"[^0-9a-z]", "", label(text).lower())
