"""Metadata of subjects and sessions: the vocabulary, its layers, and what is still missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dandify.errors import BadRequest, Need

Level = Literal["subject", "session", "source"]


@dataclass(frozen=True)
class Key:
    """A metadata key.

    Attributes
    ----------
    level
        What it describes.
    meaning
        What it is and how it is written.
    many
        Whether it is a list.
    """

    level: Level
    meaning: str
    many: bool = False


KEYS: Mapping[str, Key] = MappingProxyType({
    "subject_id": Key("subject", "id of the subject, without slash"),
    "species": Key("subject", "Latin name, like 'Mus musculus', or NCBITaxon URL"),
    "sex": Key("subject", "M, F, U (unknown) or O (other)"),
    "age": Key("subject", "age at the session as ISO 8601 duration, like P60D; a range is P1D/P3D"),
    "date_of_birth": Key("subject", "date of birth as ISO 8601, instead of the age"),
    "weight": Key("subject", "weight with its unit, like '0.02 kg'"),
    "strain": Key("subject", "strain"),
    "genotype": Key("subject", "genotype"),
    "subject_description": Key("subject", "anything else about the subject"),
    "session_id": Key("session", "id of the session, without slash"),
    "session_start_time": Key("session", "start as ISO 8601, like 2026-03-01T14:30:00+01:00"),
    "timezone": Key("session", "time zone of the acquisition computer, like Europe/Berlin"),
    "session_description": Key("session", "what was done, in a sentence"),
    "identifier": Key("session", "globally unique id of the NWB file; made if absent"),
    "experimenter": Key("session", "names as 'Last, First'", many=True),
    "institution": Key("session", "institution"),
    "lab": Key("session", "lab"),
    "experiment_description": Key("session", "what the experiment is about"),
    "keywords": Key("session", "keywords", many=True),
    "related_publications": Key("session", "DOIs, like https://doi.org/10...", many=True),
    "notes": Key("session", "notes"),
    "protocol": Key("session", "protocol identifier or text"),
    "surgery": Key("session", "surgeries"),
    "pharmacology": Key("session", "drugs, how and when given"),
    "virus": Key("session", "viruses, where injected, volume"),
    "stimulus_notes": Key("session", "notes about the stimuli"),
    "data_collection": Key("session", "notes about data collection and analysis"),
    "pixel_size_um": Key("source", "distance of neighbouring pixels in micrometres, per axis: pixel_size_um.z"),
    "time_increment_s": Key("source", "seconds between time points of an image series"),
    "channel_names": Key("source", "names of the image channels in order", many=True),
    "electrode_location": Key("source", "brain area of the electrodes, of mice by the Allen CCF, like VISp"),
    "axes": Key("source", "axes of the pages and pixels of a plain TIFF, like zyx"),
})  # fmt: skip

_FLAGS = {
    "subject_id": "--subject-id", "species": "--species", "sex": "--sex", "age": "--age", "session_id": "--session-id",
    "session_start_time": "--session-start",
}  # fmt: skip


def parse_assignments(pairs: Iterable[str]) -> dict[str, Any]:
    """Metadata of ``KEY=VALUE`` texts; dotted keys nest, list keys are split at ``;``.

    Raises
    ------
    BadRequest
        If a text has no ``=`` or its key is unknown.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadRequest(f"--set {pair!r} has no '='", remedy="write --set KEY=VALUE")
        first, _, rest = name.strip().partition(".")
        key = known(first)
        if rest:
            out.setdefault(first, {})[rest] = _number(value, name)
        else:
            out[first] = [part.strip() for part in value.split(";")] if key.many else value.strip()
    return out


def known(name: str) -> Key:
    """Return the key of that name.

    Raises
    ------
    BadRequest
        If there is none; the nearest is named.
    """
    if name in KEYS:
        return KEYS[name]
    from difflib import get_close_matches

    near = get_close_matches(name, KEYS, n=1)
    raise BadRequest(
        f"unknown metadata key {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        remedy=f"keys are {', '.join(KEYS)}",
    )


@dataclass(frozen=True)
class Layer:
    """Metadata and where they were said: ``dandify.yaml line 12``, ``--sex``, ``run_g0``."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Metadata:
    """The metadata of one session, merged; every value with its origin.

    Attributes
    ----------
    values
        By key; nested mappings (``pixel_size_um``) are merged per entry.
    origins
        Where each came from.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, str]

    def level(self, level: Level) -> dict[str, Any]:
        """Those values that describe ``subject``, ``session`` or ``source``."""
        return {k: v for k, v in self.values.items() if KEYS[k].level == level}

    def get(self, key: str) -> Any:
        """Return a value, None if absent."""
        return self.values.get(key)


def merge(layers: Sequence[Layer]) -> Metadata:
    """Merge layers, the last one winning.

    Raises
    ------
    BadRequest
        If a key is unknown.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for name, given in layer.values.items():
            value = given
            if value is None:
                continue
            try:
                key = known(name)
            except BadRequest as error:
                raise BadRequest(error.cause, file=layer.origin, remedy=error.remedy) from None
            if key.many and isinstance(value, str):
                value = [value]  # one keyword, one experimenter
            elif key.level != "source" and isinstance(value, (int, float)):
                value = str(value)  # YAML takes an id of digits for a number
            values[name] = {**values.get(name, {}), **value} if isinstance(value, Mapping) else value
            origins[name] = layer.origin
    return Metadata(values, origins)


def parse_start(value: Any, *, timezone: str | None) -> datetime | None:
    """Start of a session with its zone; None if neither the value nor ``timezone`` has one.

    Raises
    ------
    BadRequest
        If the text is no ISO 8601 date and time, or the zone is unknown.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise BadRequest(
                f"session_start_time {value!r} is not an ISO 8601 date and time",
                remedy="write it as 2026-03-01T14:30:00+01:00",
            ) from None
    if not isinstance(value, datetime):
        raise BadRequest(
            f"session_start_time {value!r} is not a date with a time", remedy="write it as 2026-03-01T14:30:00+01:00"
        )
    if value.tzinfo is not None:
        return value
    return value.replace(tzinfo=zone(timezone)) if timezone else None


def zone(name: str) -> ZoneInfo:
    """Return the time zone of that IANA name.

    Raises
    ------
    BadRequest
        If there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, IsADirectoryError, PermissionError):
        raise BadRequest(f"unknown time zone {name!r}", remedy="use an IANA name such as Europe/Berlin") from None


def missing(metadata: Metadata) -> tuple[Need, ...]:
    """Return what DANDI requires of every session and nobody has said yet."""
    required = ["subject_id", "species", "sex", "age", "session_id", "session_start_time"]
    if metadata.get("date_of_birth"):
        required.remove("age")
    needs = [_need(name) for name in required if not metadata.get(name)]
    start = metadata.get("session_start_time")
    if start and parse_start(start, timezone=metadata.get("timezone")) is None:
        needs.append(_need("timezone"))
    return tuple(needs)


def _need(name: str) -> Need:
    how = f"{_FLAGS[name]} VALUE" if name in _FLAGS else f"--set {name}=VALUE"
    return Need(name, KEYS[name].meaning, f"{how}, or `{name}:` in dandify.yaml")


def _number(text: str, name: str) -> float:
    if not re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", text):
        raise BadRequest(f"--set {name}: {text!r} is not a number")
    return float(text)
