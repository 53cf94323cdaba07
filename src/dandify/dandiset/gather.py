"""What is known of an asset, whatever its format: by itself, its manifest and sidecar, the tables, its neighbours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from dandify.dandiset.content import Device, NwbContent
from dandify.dandiset.context import Context, Row, entities_of
from dandify.dandiset.facts import MANIFEST, Kind, kind_of
from dandify.dandiset.images import ImageContent, completed, read_image, read_sidecar, read_tiff
from dandify.dandiset.names import session_label
from dandify.dandiset.plain import MICROSCOPY as TIFFS
from dandify.dandiset.vocabulary import MICROSCOPY, SUFFIX_TECHNIQUES

# Kinds of samples of samples.tsv, as BIDS has them, by the three that the archive counts.
_SAMPLE_KINDS: Final = {
    "cell line": "cell", "primary cell": "cell", "in vitro differentiated cells": "cell", "cell": "cell",
    "slice": "slice",
}  # fmt: skip


@dataclass(frozen=True)
class AssetFacts:
    """What is known of an asset; what nobody says is absent.

    Attributes
    ----------
    subject
        By NWB's keys, and ``age_reference``. The age is the one at this session.
    session_id, session_description, start, end
        Of the session.
    devices
        That were used.
    samples
        From the largest to the smallest: kind (``tissuesample``, ``slice``, ``cell``) and id.
    anatomy
        Where the sample is from.
    approaches, techniques, variables
        In DANDI's words.
    keywords, publications
        As stated.
    image
        What an image says of its pixels.
    """

    subject: Mapping[str, str] = field(default_factory=dict)
    session_id: str | None = None
    session_description: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    devices: tuple[Device, ...] = ()
    samples: tuple[tuple[str, str], ...] = ()
    anatomy: str | None = None
    approaches: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()
    image: ImageContent | None = None


def gather(path: Path, context: Context, *, origin: Path | None = None) -> AssetFacts:
    """Gather what is known of an asset.

    What a file says of itself comes first, then its manifest and sidecar, then the tables of the dandiset, then NWB
    files of the same subject, then its name.

    Parameters
    ----------
    path
        A file, or the folder of a Zarr.
    context
        Of the dandiset it is in.
    origin
        Where it is before it is organized; its manifest stays there.

    Raises
    ------
    dandify.errors.BadSource
        If an NWB file is damaged.
    """
    manifest = _manifest(origin or path)
    held = origin if origin is not None and origin.exists() else path
    kind = kind_of(held)
    if kind in ("nwb", "nwb-zarr"):
        return _of_nwb(path, held, context)
    return _of_other(path, held, kind, context, manifest)


def _of_nwb(path: Path, held: Path, context: Context) -> AssetFacts:
    content = context.content(held)
    named = entities_of(path.relative_to(context.dandiset))
    label = content.subject.get("subject_id") or named.get("sub")
    row = context.participant(label) if label else {}
    subject = {**subject_of_row(row), **content.subject}
    if not subject.get("subject_id") and label:
        subject["subject_id"] = label
    return AssetFacts(
        subject=subject,
        session_id=content.session_id,
        session_description=content.session_description,
        start=content.start,
        end=content.end,
        devices=content.devices,
        samples=content.samples,
        approaches=content.approaches,
        techniques=content.techniques,
        variables=content.variables,
        keywords=content.keywords,
        publications=content.publications,
    )


def _of_other(path: Path, held: Path, kind: Kind | None, context: Context, details: Mapping[str, Any]) -> AssetFacts:
    """Describe an image, a video, a table: by what is beside it, and by its name."""
    below = path.relative_to(context.dandiset)
    named = entities_of(below)
    stated = {k: str(v) for k, v in (details.get("subject") or {}).items() if v}
    of_session = {k: str(v) for k, v in (details.get("session") or {}).items() if v}
    label = named.get("sub") or stated.get("subject_id")
    label_of_session = named.get("ses") or of_session.get("session_id")
    owner = context.owner(path)
    relatives = [*filter(None, (owner,)), *(context.relatives(label, label_of_session) if label else ())]
    same_session = [r for r in relatives if r is owner or _is_session(r, label_of_session)]
    row = context.session(label, label_of_session) if label and label_of_session else {}
    in_tables = {**subject_of_row(context.participant(label) if label else {}), **subject_of_row(row)}
    subject = _other_subject(label, stated, in_tables, relatives, same_session)
    relative = same_session[0] if same_session else None
    image = read_image(held) if kind == "ome-zarr" else read_tiff(held) if held.suffix.lower() in TIFFS else None
    image = image and completed(image, details.get("image"))
    start = _time(of_session.get("session_start_time") or row.get("acq_time")) or (relative.start if relative else None)
    start = start or (image.acquired if image else None)
    sidecar = read_sidecar(held) if path.suffix != ".json" else {}
    name = (relative.session_id if relative else None) or of_session.get("session_id") or named.get("ses")
    approaches, techniques, variables = _ways(below, image)
    if owner is not None:
        variables = ("ImageSeries",)  # the type of the object that refers to it
    return AssetFacts(
        subject=subject,
        session_id=name,
        session_description=of_session.get("session_description")
        or row.get("description")
        or (relative.session_description if relative else None),
        start=start,
        end=relative.end if relative else None,
        devices=tuple(_microscope(image, sidecar)),
        samples=_sample(named.get("sample"), context.sample(named["sample"], label) if "sample" in named else {}),
        anatomy=_anatomy(named, context, label, sidecar),
        approaches=approaches,
        techniques=techniques,
        variables=variables,
        image=image,
    )


def _other_subject(
    label: str | None,
    stated: Mapping[str, str],
    in_tables: Mapping[str, str],
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
    return {**found, **in_tables, **stated}


def subject_of_row(row: Row) -> dict[str, str]:
    """Return a row of participants.tsv by NWB's keys. BIDS states ages in years."""
    found = {key: row[key] for key in ("species", "sex", "strain", "genotype") if key in row}
    if "age_iso8601" in row:
        found["age"] = row["age_iso8601"]
    elif "age" in row and re.fullmatch(r"\d+(\.\d+)?", row["age"]):
        found["age"] = f"P{row['age']}Y"
    return found


def _microscope(image: ImageContent | None, sidecar: Mapping[str, Any]) -> Iterator[Device]:
    maker = sidecar.get("Manufacturer") or (image.manufacturer if image else None)
    model = sidecar.get("ManufacturersModelName") or (image.model if image else None)
    if maker or model:
        yield Device(" ".join(str(part) for part in (maker, model) if part))


def _ways(below: Path, image: ImageContent | None) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return approaches, techniques and variables of an image, by its BIDS suffix or what it says of itself."""
    suffix = below.name.split(".")[0].rpartition("_")[2]
    by_bids = "micr" in below.parts or "sample" in entities_of(Path(below.name))  # else it may be any word
    named = suffix if suffix in SUFFIX_TECHNIQUES and by_bids else None
    known = named or (image.suffix if image else None)
    if not named and (image is None or not image.is_microscopy):
        return (), (), ()
    techniques = (SUFFIX_TECHNIQUES[known],) if known else ()
    return (
        (MICROSCOPY,),
        techniques,
        tuple(dict.fromkeys(c for c in image.channels if not c.isdecimal())) if image else (),
    )


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


def _manifest(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads(path.with_name(path.name + MANIFEST).read_text(encoding="utf-8")).get("details")
        return found if isinstance(found, dict) else {}
    return {}


def _is_session(content: NwbContent, label: str | None) -> bool:
    return label is not None and label in (content.session_id, session_label(content.session_id, content.start))


def _time(text: str | None) -> datetime | None:
    if text:
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    return None
