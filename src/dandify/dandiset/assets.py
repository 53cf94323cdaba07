"""The record of an asset in the archive: who was studied, when, how, and what was measured, whatever its format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dandify.dandiset.content import Device
from dandify.dandiset.context import Context
from dandify.dandiset.facts import kind_of
from dandify.dandiset.gather import AssetFacts, gather
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


def asset_metadata(
    path: Path, dandiset: Path, *, digest: Any | None = None, context: Context | None = None
) -> dict[str, Any]:
    """Return the record of an asset as dandischema's BareAsset has it, validated by it, as JSON.

    It is made of what `dandify.dandiset.gather.gather` finds. What nobody says is absent. No network is used.

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
    described = record_of(gather(path, around))
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


def record_of(facts: AssetFacts) -> dict[str, Any]:
    """Return what is known of an asset as dandischema has it; what is computed of its bytes is not in it."""
    derived: list[dict[str, Any]] = []
    for what, name in facts.samples:
        kind = {"schemaKey": "SampleType", "name": what}
        sample: dict[str, Any] = {"schemaKey": "BioSample", "identifier": name, "sampleType": kind}
        if facts.anatomy:
            sample["anatomy"] = [{"schemaKey": "Anatomy", "name": facts.anatomy[:_LONGEST_NAME]}]
        derived = [{**sample, "wasDerivedFrom": derived} if derived else sample]
    session = _session(facts)
    made = {
        "keywords": list(facts.keywords),
        "relatedResource": list(_publications(facts.publications)),
        "wasAttributedTo": [participant(facts.subject, facts.start)] if facts.subject.get("subject_id") else [],
        "wasDerivedFrom": derived,
        "wasGeneratedBy": [session] if session else [],
        "approach": [{"schemaKey": "ApproachType", "name": name} for name in facts.approaches],
        "measurementTechnique": [{"schemaKey": "MeasurementTechniqueType", "name": name} for name in facts.techniques],
        "variableMeasured": [{"schemaKey": "PropertyValue", "value": name} for name in facts.variables],
    }
    return {key: value for key, value in made.items() if value}


def _session(facts: AssetFacts) -> dict[str, Any] | None:
    name = facts.session_id
    if not (name or facts.start or facts.devices):
        return None
    made = {
        "schemaKey": "Session",
        "identifier": name,
        "name": (name or "Acquisition session")[:_LONGEST_NAME],
        "description": facts.session_description,
        "startDate": facts.start.isoformat() if facts.start else None,
        "endDate": facts.end.isoformat() if facts.end else None,
        "used": [_equipment(device) for device in facts.devices],
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


def age_at(subject: Mapping[str, str], start: datetime | None) -> tuple[str, str] | None:
    """Return a subject's age as ISO 8601 duration, and since when it counts: ``Birth`` or ``Gestational``.

    Parameters
    ----------
    subject
        By NWB's keys: the date of birth holds where the start of the session is known, else the age that is stated.
    start
        Of the session.
    """
    from dandi.metadata.util import parse_age, timedelta2duration

    born = _time(subject.get("date_of_birth"))
    if born is not None and start is not None and _is_before(born, start):
        return timedelta2duration(start - (born if born.tzinfo else born.replace(tzinfo=start.tzinfo))), "Birth"
    if not subject.get("age"):
        return None
    try:
        value, reference = parse_age(subject["age"])
    except ValueError:  # said by `validate`; what it means is not guessed here
        return None
    return value, "Gestational" if subject.get("age_reference") == "gestational" else reference


def _age(subject: Mapping[str, str], start: datetime | None) -> dict[str, Any] | None:
    if (found := age_at(subject, start)) is None:
        return None
    value, reference = found
    return {
        "schemaKey": "PropertyValue", "value": value, "unitText": "ISO-8601 duration",
        "valueReference": {"schemaKey": "PropertyValue", "value": f"dandi:{reference}Reference"},
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


def _time(text: str | None) -> datetime | None:
    if text:
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    return None
