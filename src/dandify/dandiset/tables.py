"""Tables and sidecars as BIDS has them, of what is known of assets: participants, sessions, samples, pixel sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final, Literal

from dandify.dandiset.assets import age_at
from dandify.dandiset.context import entities_of
from dandify.dandiset.gather import AssetFacts
from dandify.dandiset.images import ImageContent
from dandify.dandiset.names import sanitize_label

Layout = Literal["dandi", "bids"]
Rows = Sequence[Mapping[str, str]]

BIDS_VERSION: Final = "1.11.1"  # of the schema that bids-validator-deno 3.0.2 brings
TABLES: Final = frozenset(f"{n}.{end}" for n in ("participants", "sessions", "samples") for end in ("tsv", "json"))
"""What the layout of DANDI may have of them, at the top, beside images."""
TABLE_STAYS: Final = "dandi uploads tables only in a BIDS dataset; what it says is in the records of the assets"
ABSENT: Final = "n/a"
"""What a cell says that has nothing to say, in BIDS."""
SEXES: Final = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}
"""BIDS's words for them, and DANDI's; BIDS has none for an unknown one."""
_DURATION: Final = re.compile(r"P(?:([\d.]+)Y)?(?:([\d.]+)M)?(?:([\d.]+)W)?(?:([\d.]+)D)?(?:T.*)?")
_LINE: Final = re.compile(r"\r\n|\r|\n")  # and no other sign at which `str.splitlines` breaks, as a cell may have them
_YEARS: Final = (1.0, 1 / 12, 7 / 365.25, 1 / 365.25)

COLUMNS: Final[Mapping[str, Mapping[str, Any]]] = {
    "species": {"Description": "Latin name of the species"},
    "sex": {"Description": "Sex", "Levels": {"M": "male", "F": "female", "O": "other"}},
    "acq_time": {"Description": "Start of the session; in UTC where it ends in Z"},
    "age": {"Description": "Age at the session, where it is the same at all of them", "Units": "year"},
    "age_iso8601": {"Description": "Age at the session as it is stated, an ISO 8601 duration"},
    "strain": {"Description": "Strain"},
    "genotype": {"Description": "Genotype"},
    "description": {"Description": "What was done"},
    "sample_type": {"Description": "Kind of sample"},
}
"""What the columns mean, for the JSON beside a table."""


@dataclass(frozen=True)
class Described:
    """An asset, by its path below the dandiset, and what is known of it."""

    path: PurePosixPath
    facts: AssetFacts


def participants(assets: Sequence[Described], *, ages: bool = True) -> Rows:
    """Return the rows of ``participants.tsv``: one of each subject.

    Parameters
    ----------
    assets
        The subject's files.
    ages
        State the age, where it is the same at all sessions. BIDS recommends it; sessions state their own anyway.
    """
    by_label: dict[str, list[AssetFacts]] = {}
    for asset in assets:
        if label := _subject_label(asset):
            by_label.setdefault(label, []).append(asset.facts)
    return [_participant(label, facts, ages) for label, facts in sorted(by_label.items())]


def sessions(assets: Sequence[Described], *, years: bool = False) -> Mapping[str, Rows]:
    """Return the rows of each subject's ``sessions.tsv``, by the subject's label; only of files named by a session.

    Parameters
    ----------
    assets
        The subjects' files.
    years
        State ages that are a number of years, too: those that ``participants.tsv`` does not hold.
    """
    found: dict[str, dict[str, dict[str, str]]] = {}
    for asset in assets:
        subject, session = _subject_label(asset), _entities(asset).get("ses")
        if not (subject and session):
            continue
        row = found.setdefault(subject, {}).setdefault(session, {"session_id": f"ses-{session}"})
        facts = asset.facts
        age = age_at(facts.subject, facts.start)
        stated = {
            "acq_time": _bids_time(facts.start) if facts.start and not _of_one_image(facts) else None,
            "age_iso8601": age[0] if age and age[1] == "Birth" and (years or not _in_years(age[0])) else None,
            "description": facts.session_description,
        }
        for key, value in stated.items():
            if value:
                row.setdefault(key, _cell(value))
    return {subject: [rows[key] for key in sorted(rows)] for subject, rows in sorted(found.items())}


def samples(
    assets: Sequence[Described], named: Mapping[PurePosixPath, Mapping[str, str]] = MappingProxyType({})
) -> Rows:
    """Return the rows of ``samples.tsv``: of files that are named by a sample.

    Parameters
    ----------
    assets
        Files and images.
    named
        What the user says of them; ``sample_type`` is of the sample.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for asset in assets:
        subject, sample = _subject_label(asset), _entities(asset).get("sample")
        if subject and sample:
            found[subject, sample] = {
                "sample_id": f"sample-{sample}", "participant_id": f"sub-{subject}",
                "sample_type": named.get(asset.path, {}).get("sample_type")
                or found.get((subject, sample), {}).get("sample_type", ABSENT),
            }  # fmt: skip
    return [found[key] for key in sorted(found)]


def image_sidecar(image: ImageContent, stain: str | None = None) -> dict[str, Any]:
    """Return the JSON that BIDS wants beside a microscopy image; what nobody says is not in it.

    ``PixelSize`` is in the order x, y, z, as BIDS has it. ``SampleStaining`` are the fluorophores that the image
    states; else the ``stain`` that its name or the user does.
    """
    sizes = [image.pixel_size_um[axis] for axis in "xyz" if axis in image.pixel_size_um]
    made: dict[str, Any] = {
        "PixelSize": sizes if len(sizes) > 1 else None,
        "PixelSizeUnits": "um" if len(sizes) > 1 else None,
        "Manufacturer": image.manufacturer,
        "ManufacturersModelName": image.model,
        "Magnification": image.magnification,
        "NumericalAperture": image.numerical_aperture,
        "Immersion": image.immersion,
        "SampleStaining": list(image.fluorophores) or (stain and [stain]),
        "ChannelNames": list(image.channels),
    }
    return {key: value for key, value in made.items() if value}


def dataset_description(dandiset: Mapping[str, Any], *, made_by: str | None) -> dict[str, Any]:
    """Return ``dataset_description.json`` of what ``dandiset.yaml`` says.

    Parameters
    ----------
    dandiset
        In dandischema's form.
    made_by
        The version of dandify that makes the dataset; None if it is somebody else's, which it does not claim.
    """
    people = [c for c in dandiset.get("contributor") or () if isinstance(c, Mapping)]
    funders = [c for c in people if "dcite:Funder" in (c.get("roleName") or ())]
    license_ = [str(item).rpartition(":")[2] for item in dandiset.get("license") or ()]
    ethics = [e.get("identifier") for e in dandiset.get("ethicsApproval") or () if isinstance(e, Mapping)]
    related = [r.get("url") or r.get("identifier") for r in dandiset.get("relatedResource") or () if r]
    made = {
        "Name": dandiset.get("name"),
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw" if made_by else None,
        "License": license_[0] if license_ else None,
        "Authors": [c["name"] for c in people if c.get("includeInCitation") and c.get("name")],
        "Acknowledgements": dandiset.get("acknowledgement"),
        "Funding": [": ".join(filter(None, (f.get("name"), f.get("awardNumber")))) for f in funders],
        "EthicsApprovals": [e for e in ethics if e],
        "ReferencesAndLinks": [r for r in related if r],
        "Keywords": list(dandiset.get("keywords") or ()),
        "GeneratedBy": [{"Name": "dandify", "Version": made_by}] if made_by else None,
    }
    return {key: value for key, value in made.items() if value}


def merge_table(
    text: str | None, rows: Rows, keys: Sequence[str], *, order: Sequence[str] = tuple(COLUMNS), sort: bool = True
) -> str:
    """Return a table with rows and columns added to what is there; cells that say something stay as they are.

    Rows and columns are in order unless a person has given them another one.

    Parameters
    ----------
    text
        The table as it is; None if there is none.
    rows
        To add, or to fill the gaps of.
    keys
        The columns that name a row.
    order
        Of the columns after those.
    sort
        Order the rows; else new ones are added in theirs.
    """
    columns, there = _parse(text)
    was_sorted = sort and there == sorted(there, key=lambda row: _place(row, keys))
    known = {_place(row, keys): row for row in there}
    for row in rows:
        place = _place(row, keys)
        if place not in known:
            known[place] = {}
            there.append(known[place])
        for column, value in row.items():
            if known[place].get(column) in (None, "", ABSENT):
                known[place][column] = value
    if was_sorted:  # else a person has an order of their own
        there.sort(key=lambda row: _place(row, keys))
    wanted = [*keys, *(column for column in order if column not in keys)]
    added = {column for row in rows for column in row} - set(columns)
    ours = sorted([c for c in columns if c in wanted], key=wanted.index) == columns
    columns = [*columns, *sorted(added, key=wanted.index)]
    if ours:
        columns.sort(key=wanted.index)
    return _text(columns, there)


def names_others(text: str, rows: Rows, keys: Sequence[str]) -> bool:
    """Whether a table has rows, and none of them is called as one of these."""
    there = {_place(row, keys) for row in _parse(text)[1]}
    return bool(there) and there.isdisjoint(_place(row, keys) for row in rows)


def withdraw_rows(text: str, rows: Rows, keys: Sequence[str]) -> str:
    """Return a table without what rows said that hold no longer; rows and columns of which nothing is left go.

    Parameters
    ----------
    text
        The table.
    rows
        What was said; cells that say something else are another's, and stay.
    keys
        The columns that name a row.
    """
    columns, there = _parse(text)
    past = {_place(row, keys): row for row in rows}
    for row in there:
        said = past.get(_place(row, keys), {})
        row.update({column: ABSENT for column in columns if column not in keys and row.get(column) == said.get(column)})
    left = [
        row for row in there
        if _place(row, keys) not in past or any(row.get(c, ABSENT) != ABSENT for c in columns if c not in keys)
    ]  # fmt: skip
    ours = {column for row in rows for column in row} - set(keys)
    kept = [c for c in columns if c not in ours or any(row.get(c, ABSENT) != ABSENT for row in left)]
    return _text(kept, left)


def meanings(table: str, known: Mapping[str, Mapping[str, Any]] = COLUMNS) -> dict[str, Mapping[str, Any]]:
    """Return what the columns of a table mean, for the JSON beside it; of columns of others nothing is known."""
    columns, _ = _parse(table)
    return {column: known[column] for column in columns if column in known}


def _participant(label: str, facts: Sequence[AssetFacts], ages: bool) -> dict[str, str]:
    row = {"participant_id": f"sub-{label}"}
    for key in ("species", "sex", "strain", "genotype"):
        stated = next((f.subject[key] for f in facts if f.subject.get(key)), None)
        value = SEXES.get(stated.strip().lower()) if key == "sex" and stated else stated
        if value:
            row[key] = _cell(value)
    found = {age for f in facts if (age := age_at(f.subject, f.start)) is not None} if ages else set()
    if len(found) == 1:
        value, reference = found.pop()
        years = _years(value) if reference == "Birth" else None
        if years is not None:
            row["age"] = f"{years:.4f}".rstrip("0").rstrip(".")
        if reference == "Birth" and not _in_years(value):
            row["age_iso8601"] = _cell(value)
    return row


def _years(duration: str) -> float | None:
    found = _DURATION.fullmatch(duration)
    if found is None or not any(found.groups()):
        return None
    return sum(float(text) * factor for text, factor in zip(found.groups(), _YEARS, strict=True) if text)


def _in_years(duration: str) -> bool:
    """Whether a duration is nothing but a number of years, which the column of BIDS holds as well."""
    return bool(re.fullmatch(r"P[\d.]+Y", duration))


def _subject_label(asset: Described) -> str | None:
    return _entities(asset).get("sub") or (
        sanitize_label(stated) if (stated := asset.facts.subject.get("subject_id")) else None
    )


def _entities(asset: Described) -> dict[str, str]:
    return entities_of(asset.path)


def _of_one_image(facts: AssetFacts) -> bool:
    """Whether the start is only known as the time of an image; a session may have begun before."""
    return facts.image is not None and facts.start == facts.image.acquired


def _bids_time(start: datetime) -> str:
    """Return a time as BIDS has it: local without a zone, or UTC with a Z."""
    return f"{start.astimezone(UTC).replace(tzinfo=None).isoformat()}Z" if start.tzinfo else start.isoformat()


def _cell(text: str) -> str:
    return " ".join(text.split()) or ABSENT


def _place(row: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(row.get(key, "") for key in keys)


def _text(columns: Sequence[str], rows: Rows) -> str:
    lines = [columns, *([row.get(column) or ABSENT for column in columns] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)


def _parse(text: str | None) -> tuple[list[str], list[dict[str, str]]]:
    lines = [line for line in _LINE.split((text or "").lstrip("\ufeff")) if line.strip()]
    if not lines:
        return [], []
    columns = lines[0].split("\t")
    return columns, [dict(zip(columns, line.split("\t"), strict=False)) for line in lines[1:]]
