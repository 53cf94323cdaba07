"""The record of an asset in the archive: who was studied, when, how, and what was measured, whatever its format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dandify.dandiset.content import Device, NwbContent
from dandify.dandiset.context import Context, Row, entities_of
from dandify.dandiset.facts import MANIFEST, Kind, kind_of
from dandify.dandiset.images import ImageContent, read_image, read_sidecar
from dandify.dandiset.vocabulary import MICROSCOPY, SUFFIX_TECHNIQUES, described_types
from dandify.project.species import TAXON_URL, find_species

GENERATION: Final = "Metadata generation"
"""Name of the activity in each record that says who made the record. It is of no account where records are compared."""

_LONGEST_NAME: Final = 150  # of dandischema's activities and devices
_DOI: Final = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_SEXES: Final[Mapping[str, tuple[str, str | None]]] = {
    "m": ("Male", "http://purl.obolibrary.org/obo/PATO_0000384"),
    "f": ("Female", "http://purl.obolibrary.org/obo/PATO_0000383"),
    "u": ("Unknown", None),
    "o": ("Other", None),
    "xo": ("Male", "http://purl.obolibrary.org/obo/PATO_0000384"),  # C. elegans
    "xx": ("Hermaphrodite", None),
}  # fmt: skip
_SEX_WORDS: Final = {"male": "m", "female": "f", "unknown": "u", "other": "o", "hermaphrodite": "xx"}
# Kinds of samples of samples.tsv, as BIDS has them, by the three that the archive counts.
_SAMPLE_KINDS: Final = {
    "cell line": "cell", "primary cell": "cell", "in vitro differentiated cells": "cell", "cell": "cell",
    "slice": "slice",
}  # fmt: skip


def asset_metadata(
    path: Path, dandiset: Path, *, digest: Any | None = None, context: Context | None = None
) -> dict[str, Any]:
    """Return the record of an asset as dandischema's BareAsset has it, validated by it, as JSON.

    What a file says of itself comes first, then its manifest and sidecar, then the tables of the dandiset
    (``participants.tsv``, ``samples.tsv``, ``sessions.tsv``), then NWB files of the same subject, then its name. What
    none of them says is absent. No network is used.

    Parameters
    ----------
    path
        A file, or the folder of a Zarr.
    dandiset
        The folder of the dandiset it is in.
    digest
        A `dandi.misctypes.Digest` of it; computed if None, which reads it all.
    context
        The same for all assets of a dandiset, so that its tables are read once.

    Raises
    ------
    BadSource
        If an NWB file is damaged.
    """
    from dandi.files import dandi_file
    from dandi.utils import get_mime_type
    from dandischema.models import BareAsset

    around = context or Context(dandiset)
    kind = kind_of(path)
    described = _of_nwb(path, around) if kind in ("nwb", "nwb-zarr") else _of_other(path, kind, around)
    algorithm, value = _digest(digest or dandi_file(path, dandiset).get_digest())
    is_zarr = path.is_dir()
    size = int(value.rpartition("--")[2]) if is_zarr else path.stat().st_size
    encoding = "application/x-zarr" if is_zarr else "application/x-nwb" if kind == "nwb" else get_mime_type(path.name)
    generated = [*described.pop("wasGeneratedBy", ()), _generation()]
    record = {
        **described,
        "path": path.relative_to(dandiset).as_posix(),
        "contentSize": size,
        "encodingFormat": encoding,
        "digest": {algorithm: value},
        "dateModified": datetime.now(UTC).isoformat(),
        "blobDateModified": datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(),
        "wasGeneratedBy": generated,
    }
    made: dict[str, Any] = BareAsset(**record).model_dump(mode="json", exclude_none=True)
    return made


def participant(subject: Mapping[str, str], start: datetime | None = None) -> dict[str, Any]:
    """Return a subject as dandischema's Participant.

    Parameters
    ----------
    subject
        By NWB's keys, and ``age_reference``; it has a ``subject_id``.
    start
        Of the session, for the age of one of whom the date of birth is known.
    """
    strain = subject.get("strain", "")
    cell_line = strain.partition(":")[2].strip() if strain.lower().startswith("cellline:") else None
    made = {
        "schemaKey": "Participant",
        "identifier": subject["subject_id"],
        "species": _species(subject.get("species")),
        "sex": _sex(subject.get("sex")),
        "age": _age(subject, start),
        "strain": {"schemaKey": "StrainType", "name": strain[:_LONGEST_NAME]} if strain and not cell_line else None,
        "cellLine": cell_line,
        "genotype": subject.get("genotype"),
    }
    return {key: value for key, value in made.items() if value}


def _of_nwb(path: Path, context: Context) -> dict[str, Any]:
    content = context.content(path)
    approaches, techniques, variables = described_types(content.types, content.parents)
    named = entities_of(path.relative_to(context.dandiset))
    label = content.subject.get("subject_id") or named.get("sub")
    row = context.participant(label) if label else {}
    subject = {**_subject_of_row(row), **content.subject}
    if not subject.get("subject_id") and label:
        subject["subject_id"] = label
    return _record(
        subject=subject,
        session=_session(content.session_id, content.session_description, content.start, content.end, content.devices),
        start=content.start,
        samples=content.samples,
        approaches=approaches,
        techniques=techniques,
        variables=variables,
        keywords=content.keywords,
        publications=content.publications,
    )


def _of_other(path: Path, kind: Kind | None, context: Context) -> dict[str, Any]:
    """Describe an image, a video, a table: by what is beside it, and by its name."""
    below = path.relative_to(context.dandiset)
    named = entities_of(below)
    details = _manifest(path)
    stated = {k: str(v) for k, v in (details.get("subject") or {}).items() if v}
    of_session = {k: str(v) for k, v in (details.get("session") or {}).items() if v}
    label = stated.get("subject_id") or named.get("sub")
    label_of_session = of_session.get("session_id") or named.get("ses")
    owner = context.owner(path)
    relatives = [*filter(None, (owner,)), *(context.relatives(label, label_of_session) if label else ())]
    same_session = [r for r in relatives if r is owner or _is_session(r, label_of_session)]
    subject = _other_subject(label, stated, context.participant(label) if label else {}, relatives, same_session)
    row = context.session(label, label_of_session) if label and label_of_session else {}
    relative = same_session[0] if same_session else None
    start = _time(of_session.get("session_start_time") or row.get("acq_time")) or (relative.start if relative else None)
    image = read_image(path) if kind == "ome-zarr" else None
    sidecar = read_sidecar(path) if path.suffix != ".json" else {}
    name = (relative.session_id if relative else None) or of_session.get("session_id") or named.get("ses")
    approaches, techniques, variables = _ways(below, image)
    if owner is not None:
        variables = ("ImageSeries",)  # the type of the object that refers to it
    return _record(
        subject=subject,
        session=_session(
            name, of_session.get("session_description") or (relative.session_description if relative else None),
            start, relative.end if relative else None, tuple(_microscope(image, sidecar)),
        ),
        start=start,
        samples=_sample(named.get("sample"), context.sample(named["sample"], label) if "sample" in named else {}),
        anatomy=_anatomy(named, context, label, sidecar),
        approaches=approaches,
        techniques=techniques,
        variables=variables,
    )  # fmt: skip


def _record(
    *,
    subject: Mapping[str, str],
    session: dict[str, Any] | None,
    start: datetime | None,
    samples: tuple[tuple[str, str], ...] = (),
    anatomy: str | None = None,
    approaches: tuple[str, ...] = (),
    techniques: tuple[str, ...] = (),
    variables: tuple[str, ...] = (),
    keywords: tuple[str, ...] = (),
    publications: tuple[str, ...] = (),
) -> dict[str, Any]:
    derived: list[dict[str, Any]] = []
    for what, name in samples:
        kind = {"schemaKey": "SampleType", "name": what}
        sample: dict[str, Any] = {"schemaKey": "BioSample", "identifier": name, "sampleType": kind}
        if anatomy:
            sample["anatomy"] = [{"schemaKey": "Anatomy", "name": anatomy[:_LONGEST_NAME]}]
        derived = [{**sample, "wasDerivedFrom": derived} if derived else sample]
    made = {
        "keywords": list(keywords),
        "relatedResource": list(_publications(publications)),
        "wasAttributedTo": [participant(subject, start)] if subject.get("subject_id") else [],
        "wasDerivedFrom": derived,
        "wasGeneratedBy": [session] if session else [],
        "approach": [{"schemaKey": "ApproachType", "name": name} for name in approaches],
        "measurementTechnique": [{"schemaKey": "MeasurementTechniqueType", "name": name} for name in techniques],
        "variableMeasured": [{"schemaKey": "PropertyValue", "value": name} for name in variables],
    }
    return {key: value for key, value in made.items() if value}


def _other_subject(
    label: str | None,
    stated: Mapping[str, str],
    row: Row,
    relatives: list[NwbContent],
    same_session: list[NwbContent],
) -> dict[str, str]:
    """Gather a subject from what is around; the age is of a session, so it is taken from files of that one only."""
    if label is None:
        return {}
    found: dict[str, str] = {"subject_id": label}
    aged = ("age", "age_reference", "date_of_birth", "weight")
    for content in reversed(relatives):
        found |= {k: v for k, v in content.subject.items() if k not in aged}
    for content in same_session[:1]:
        found |= content.subject
    return {**found, **_subject_of_row(row), **stated}


def _subject_of_row(row: Row) -> dict[str, str]:
    """Return a row of participants.tsv by NWB's keys. BIDS states ages in years."""
    found = {key: row[key] for key in ("species", "sex", "strain", "genotype") if key in row}
    if "age_iso8601" in row:
        found["age"] = row["age_iso8601"]
    elif "age" in row and re.fullmatch(r"\d+(\.\d+)?", row["age"]):
        found["age"] = f"P{row['age']}Y"
    return found


def _session(
    name: str | None, description: str | None, start: datetime | None, end: datetime | None, used: tuple[Device, ...]
) -> dict[str, Any] | None:
    if not (name or start or used):
        return None
    made = {
        "schemaKey": "Session",
        "identifier": name,
        "name": (name or "Acquisition session")[:_LONGEST_NAME],
        "description": description,
        "startDate": start.isoformat() if start else None,
        "endDate": end.isoformat() if end else None,
        "used": [_equipment(device) for device in used],
    }
    return {key: value for key, value in made.items() if value}


def _equipment(device: Device) -> dict[str, Any]:
    about = "; ".join(part for part in (device.description, device.manufacturer) if part)
    made = {
        "schemaKey": "Equipment",
        "identifier": f"probe:{device.probe_id}" if device.probe_id else None,  # as dandi has it
        "name": "Ecephys Probe" if device.probe_id else device.name[:_LONGEST_NAME],
        "description": about or None,
    }
    return {key: value for key, value in made.items() if value}


def _microscope(image: ImageContent | None, sidecar: Mapping[str, Any]) -> Iterator[Device]:
    maker = sidecar.get("Manufacturer") or (image.manufacturer if image else None)
    model = sidecar.get("ManufacturersModelName") or (image.model if image else None)
    if maker or model:
        yield Device(" ".join(str(part) for part in (maker, model) if part))


def _ways(below: Path, image: ImageContent | None) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return approaches, techniques and variables of an image, by its BIDS suffix or what it says of itself."""
    suffix = below.name.split(".")[0].rpartition("_")[2]
    named = suffix if suffix in SUFFIX_TECHNIQUES and "micr" in below.parts else None
    known = named or (image.suffix if image else None)
    if not named and (image is None or not image.is_microscopy):
        return (), (), ()
    techniques = (SUFFIX_TECHNIQUES[known],) if known else ()
    return (MICROSCOPY,), techniques, tuple(dict.fromkeys(image.channels)) if image else ()


def _sample(label: str | None, row: Row) -> tuple[tuple[str, str], ...]:
    if label is None:
        return ()
    return ((_SAMPLE_KINDS.get(row.get("sample_type", ""), "tissuesample"), label),)


def _anatomy(named: Mapping[str, str], context: Context, label: str | None, sidecar: Mapping[str, Any]) -> str | None:
    row = context.sample(named["sample"], label) if "sample" in named else {}
    for value in (row.get("BodyPartDetails"), row.get("BodyPart"), sidecar.get("BodyPartDetails"),
                  sidecar.get("BodyPart")):  # fmt: skip
        if isinstance(value, str) and value:
            return value
    return None


def _species(text: str | None) -> dict[str, str] | None:
    """Return a species with its id, under the title that dandi gives to those it knows, so that both count as one."""
    from dandi.metadata.util import species_map

    if not text:
        return None
    found = find_species(text)
    url = found.url if found else text.rstrip("/").replace("https:", "http:", 1) if TAXON_URL.fullmatch(text) else None
    title = next((s.name for s in species_map if s.uri == url), found.title if found else None)
    made = {"schemaKey": "SpeciesType", "identifier": url, "name": title or (None if url else text[:_LONGEST_NAME])}
    return {key: value for key, value in made.items() if value}


def _sex(text: str | None) -> dict[str, str] | None:
    plain = (text or "").strip().lower()
    name, url = _SEXES.get(_SEX_WORDS.get(plain, plain), (None, None))
    made = {"schemaKey": "SexType", "identifier": url, "name": name}
    return {key: value for key, value in made.items() if value} if name else None


def _age(subject: Mapping[str, str], start: datetime | None) -> dict[str, Any] | None:
    from dandi.metadata.util import parse_age, timedelta2duration

    born = _time(subject.get("date_of_birth"))
    reference = "Gestational" if subject.get("age_reference") == "gestational" else None
    if born is not None and start is not None and _is_before(born, start):
        value, found = timedelta2duration(start - (born if born.tzinfo else born.replace(tzinfo=start.tzinfo))), "Birth"
    elif subject.get("age"):
        try:
            value, found = parse_age(subject["age"])
        except ValueError:  # said by `validate`; what it means is not guessed here
            return None
    else:
        return None
    return {
        "schemaKey": "PropertyValue", "value": value, "unitText": "ISO-8601 duration",
        "valueReference": {"schemaKey": "PropertyValue", "value": f"dandi:{reference or found}Reference"},
    }  # fmt: skip


def _is_before(born: datetime, start: datetime) -> bool:
    return born.date() <= start.date() and (start.tzinfo is not None or born.tzinfo is None)


def _publications(stated: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for text in stated:
        if found := _DOI.fullmatch(text.strip()):
            yield {
                "schemaKey": "Resource", "identifier": f"https://doi.org/{found[1]}",
                "relation": "dcite:IsDescribedBy",
            }  # fmt: skip


def _generation() -> dict[str, Any]:
    from dandify import __version__

    now = datetime.now(UTC).isoformat()
    return {
        "schemaKey": "Activity", "name": GENERATION, "startDate": now, "endDate": now,
        "description": "Metadata generated by dandify",
        "wasAssociatedWith": [{"schemaKey": "Software", "name": "dandify", "version": __version__}],
    }  # fmt: skip


def _digest(digest: Any) -> tuple[str, str]:
    return str(digest.algorithm.value), str(digest.value)


def _manifest(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads(path.with_name(path.name + MANIFEST).read_text(encoding="utf-8")).get("details")
        return found if isinstance(found, dict) else {}
    return {}


def _is_session(content: NwbContent, label: str | None) -> bool:
    from dandify.dandiset.names import session_label

    return label is not None and label in (content.session_id, session_label(content.session_id, content.start))


def _time(text: str | None) -> datetime | None:
    if text:
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    return None
