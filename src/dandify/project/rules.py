"""What DANDI demands of subject and session metadata, as rules that need no file and no network."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from dandify.findings import Finding
from dandify.project.species import TAXON_URL, find_species, nearest_species, species_table

_TAXON_EXAMPLE = "http://purl.obolibrary.org/obo/NCBITaxon_<number>"
_LATIN = re.compile(r"[A-Z][a-z]+ [a-z]+( [a-z]+)?")
_DURATION = re.compile(
    r"P(?!$)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?"
    r"(T(?=\d)(\d+(\.\d+)?H)?(\d+(\.\d+)?M)?(\d+(\.\d+)?S)?)?"
)
_WEIGHT = re.compile(r"\d+(\.\d+)?\s*(kg|g)")
_WORM = "Caenorhabditis elegans"
_SEXES = {"male": "M", "female": "F", "unknown": "U", "other": "O"}
_AGE_WORDS = re.compile(r"\s*(\d+)\s*(d|days?|w|weeks?|wk|m|months?|mo|y|years?|yrs?)\b.*", re.IGNORECASE)


def label(text: object) -> str:
    """Return an id as it may stand in a file name: letters, digits and ``+``, as BIDS and DANDI both allow.

    Accents are taken off, and other characters are dropped, after what follows them is capitalized: ``mouse_01-a``
    becomes ``mouse01A``, ``Mäuse`` ``Mause``. The id inside the NWB file stays as it is.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", str(text)) if not unicodedata.combining(c))
    words = re.split(r"[^0-9A-Za-z+]+", plain)
    return words[0] + "".join(word[:1].upper() + word[1:] for word in words[1:])


def problems_of(subject: Mapping[str, Any], session: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return what DANDI would refuse of a subject and a session; absent values are not its business.

    Parameters
    ----------
    subject, session
        By the keys of `dandify.project.metadata`; ``session_start_time`` as datetime or ISO 8601 text.
    """
    return (
        *_ids(subject, session), *_species(subject), *_sex(subject), *_age(subject), *_weight(subject),
        *_start(session),
    )  # fmt: skip


def is_duration(text: str) -> bool:
    """Whether a text is an ISO 8601 duration, or a range of two with ``/``."""
    low, slash, high = text.partition("/")
    return bool(_DURATION.fullmatch(low)) and (not slash or not high or bool(_DURATION.fullmatch(high)))


def _error(key: str, scope: str, message: str, remedy: str | None) -> Finding:
    return Finding(f"dandify.{key}", "dandify", scope, "ERROR", message, remedy=remedy, key=key)


def _ids(subject: Mapping[str, Any], session: Mapping[str, Any]) -> Iterator[Finding]:
    for key, scope, values in (("subject_id", "subject", subject), ("session_id", "session", session)):
        value = values.get(key)
        if not value:
            continue
        if "/" in str(value):
            yield _error(key, scope, f"{key} {value!r} holds a '/'", "use another sign, such as '-'")
        elif not label(value):
            yield _error(key, scope, f"{key} {value!r} has no letter and no digit", "file names are made of it")


def _species(subject: Mapping[str, Any]) -> Iterator[Finding]:
    value = subject.get("species")
    if not value or TAXON_URL.fullmatch(str(value)):
        return
    text = str(value)
    known = find_species(text)
    if known is not None and text in (known.name, *known.synonyms):
        return
    names = (known.name,) if known else nearest_species(text)
    what = (
        f"is none of the {len(species_table())} that dandify knows" if _LATIN.fullmatch(text)
        else "is not a Latin name or NCBITaxon URL"
    )  # fmt: skip
    remedy = (
        f"did you mean {' or '.join(repr(n) for n in names)}?" if names
        else f"look it up in NCBI Taxonomy, and give the URL {_TAXON_EXAMPLE}"
    )  # fmt: skip
    yield _error("species", "subject", f"species {text!r} {what}", remedy)


def _sex(subject: Mapping[str, Any]) -> Iterator[Finding]:
    value = subject.get("sex")
    worm = subject.get("species") == _WORM
    allowed = ("XO", "XX", "U", "O") if worm else ("M", "F", "U", "O")
    if value and value not in allowed:
        guess = _SEXES.get(str(value).strip().lower()) or str(value).strip().upper()
        yield _error(
            "sex", "subject", f"sex {value!r} is none of {', '.join(allowed)}",
            f"did you mean {guess!r}?" if guess in allowed else "U is unknown, O is other",
        )  # fmt: skip


def _age(subject: Mapping[str, Any]) -> Iterator[Finding]:
    if (age := subject.get("age")) and not is_duration(str(age)):
        found = _AGE_WORDS.fullmatch(str(age))
        guess = f"did you mean P{found[1]}{found[2][0].upper()}?" if found else "write 60 days as P60D, 8 weeks as P8W"
        yield _error("age", "subject", f"age {age!r} is not an ISO 8601 duration", guess)
    if born := subject.get("date_of_birth"):
        try:
            datetime.fromisoformat(str(born))
        except ValueError:
            yield _error(
                "date_of_birth", "subject", f"date_of_birth {born!r} is not an ISO 8601 date", "write it as 2026-01-31"
            )


def _weight(subject: Mapping[str, Any]) -> Iterator[Finding]:
    if (weight := subject.get("weight")) and not _WEIGHT.fullmatch(str(weight)):
        yield _error("weight", "subject", f"weight {weight!r} is not a number with kg or g", "write 20 g as '0.02 kg'")


def _start(session: Mapping[str, Any]) -> Iterator[Finding]:
    start = session.get("session_start_time")
    if isinstance(start, str):
        try:
            start = datetime.fromisoformat(start)
        except ValueError:
            yield _error("session_start_time", "session", f"{start!r} is not an ISO 8601 date and time", None)
            return
    if start is not None and start.tzinfo is not None and start > datetime.now(UTC):
        yield _error(
            "session_start_time", "session", f"session_start_time {start.isoformat()} lies in the future",
            "check the year and the time zone",
        )  # fmt: skip
