"""What follows an upload: how the dandiset's metadata differ, and what the archive says of what has arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dandify.archive.local import Record

_POLL_SECONDS: Final = 1.0
_UNDECIDED: Final = ("Pending", "Validating")
# What the archive says in place of the errors of an asset that it has not checked yet; the status is of the dandiset's
# own metadata, and does not wait for assets (dandi-archive, Version.asset_validation_errors).
_UNCHECKED: Final = "asset is currently being validated"
_OF_THE_SCHEMA: Final = frozenset({"schemaKey", "schemaVersion"})  # not of the dandiset: the archive keeps its own


@dataclass(frozen=True)
class FieldChange:
    """A field of ``dandiset.yaml`` that says something else than the archive.

    Attributes
    ----------
    field
        ``license``, ``contributor``, ...
    there, here
        What the archive says (None: nothing), and what it would say: what the file does, and what only the archive has.
    """

    field: str
    there: Any
    here: Any


@dataclass(frozen=True)
class ArchiveError:
    """What the archive holds against an asset, or against the dandiset.

    Attributes
    ----------
    path
        Of the asset; None for the dandiset.
    field, message
        In the archive's words.
    """

    path: str | None
    field: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """What the archive says of a draft.

    Attributes
    ----------
    status
        ``Valid``, ``Invalid``, ``Published``; ``Pending`` if it has not checked all of it yet.
    errors
        What keeps it from being published.
    unchecked
        Paths of assets that it has not checked yet.
    """

    status: str
    errors: tuple[ArchiveError, ...]
    unchecked: tuple[str, ...] = ()

    def states(self, paths: Iterable[str]) -> dict[str, str]:
        """Return what it says of assets that it has, by path: ``Valid``, ``Invalid`` or ``Pending``."""
        found = {error.path: "Invalid" for error in self.errors} | dict.fromkeys(self.unchecked, "Pending")
        return {path: found.get(path, "Valid") for path in paths}


def differences(record: Record, there: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Compare ``dandiset.yaml`` with the archive's metadata; what only the archive says is no difference, and stays.

    That holds for entries of lists too: an archive adds the account that creates a dandiset to its contributors, and
    its page an ORCID to one of them. Nor is what the schema takes for granted a difference, such as the ``schemaKey``
    of a person.

    Parameters
    ----------
    record
        Of the file.
    there
        The archive's.
    """
    ours = {**({"name": record.name} if record.name else {}), **record.metadata}
    wanted = {
        key: _completed(value, there.get(key))
        for key, value in ours.items()
        if key not in _OF_THE_SCHEMA and value not in (None, [])
    }
    differing = [key for key, value in wanted.items() if not _same(key, value, there.get(key))]
    return tuple(FieldChange(key, there.get(key), wanted[key]) for key in differing)


def send(remote: Any, changes: tuple[FieldChange, ...], there: Mapping[str, Any]) -> None:
    """Give the draft the fields of the file; all others stay as the archive has them."""
    remote.set_raw_metadata({**there, **{change.field: change.here for change in changes}})


def verdict(
    client: Any,
    identifier: str,
    seconds: float,
    tell: Callable[[str], None] | None = None,
    *,
    incomplete: Collection[str] = (),
) -> Verdict:
    """Ask the archive what it says of a draft, until it has checked all of it or the time is over.

    Parameters
    ----------
    client
        Of dandi, authenticated.
    identifier
        Six digits.
    seconds
        To wait at most.
    tell
        Called with the status at each look.
    incomplete
        Paths of assets that have not come whole, and so will not be checked.
    """
    end = time.monotonic() + seconds
    while True:
        found = _verdict(client.get(f"/dandisets/{identifier}/versions/draft/info/"))
        if tell is not None:
            tell(found.status)
        nothing_comes = found.unchecked and set(found.unchecked) <= set(incomplete)
        if found.status not in _UNDECIDED or nothing_comes or time.monotonic() >= end:
            return found
        time.sleep(min(_POLL_SECONDS, max(0.0, end - time.monotonic())))


def _verdict(info: Mapping[str, Any]) -> Verdict:
    """Return what a version's summary says, its own metadata and its assets together."""
    own = [ArchiveError(None, *_said(e)) for e in info.get("version_validation_errors") or ()]
    said = [ArchiveError(str(e.get("path", "")), *_said(e)) for e in info.get("asset_validation_errors") or ()]
    of_assets = [e for e in said if not e.message.startswith(_UNCHECKED)]
    unchecked = tuple(dict.fromkeys(str(e.path) for e in said if e.message.startswith(_UNCHECKED)))
    status = str(info.get("status", ""))
    if unchecked:
        status = "Pending"
    elif of_assets and status == "Valid":
        status = "Invalid"
    return Verdict(status, (*own, *of_assets), unchecked)


def _completed(here: Any, there: Any) -> Any:
    """Return a value of the file with what only the archive adds to it; of plain lists the file's holds alone."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        return {**there, **{key: _completed(value, there.get(key)) for key, value in here.items()}}
    if not (_are_records(here) and _are_records(there)):
        return here
    left, made = list(there), []
    for item in here:
        twin = next((other for other in left if _is_same_record(item, other)), None)
        if twin is not None:
            left.remove(twin)
        made.append(item if twin is None else _completed(item, twin))
    return made + left


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _is_same_record(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two entries are of the same person or thing: its name or its identifier may have been corrected."""
    return one == other or any(one.get(key) and one[key] == other.get(key) for key in ("identifier", "name", "url"))


def _same(field: str, here: Any, there: Any) -> bool:
    return here == there or (there is not None and _plain(field, here) == _plain(field, there))


def _plain(field: str, value: Any) -> Any:
    """Return a value of a field without what its model takes for granted; as it is where it is none of the model's."""
    from dandischema.models import Dandiset
    from pydantic import TypeAdapter, ValidationError

    known = Dandiset.model_fields.get(field)
    if known is None:
        return value
    kind: TypeAdapter[Any] = TypeAdapter(known.annotation)
    try:
        read = kind.validate_python(value)
    except ValidationError:
        return value
    return _without_empty(kind.dump_python(read, mode="json", exclude_none=True))


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_empty(item) for key, item in value.items() if item not in (None, [])}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


def _said(error: Mapping[str, Any]) -> tuple[str, str]:
    return str(error.get("field", "")), str(error.get("message", ""))
