"""What follows an upload: how the dandiset's metadata differ, and what the archive says of what has arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dandify.archive.local import Record

_POLL_SECONDS: Final = 1.0
_UNDECIDED: Final = ("Pending", "Validating")


@dataclass(frozen=True)
class FieldChange:
    """A field of ``dandiset.yaml`` that says something else than the archive.

    Attributes
    ----------
    field
        ``license``, ``contributor``, ...
    there, here
        What the archive says (None: nothing), and what the file says.
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
    """

    status: str
    errors: tuple[ArchiveError, ...]


def differences(record: Record, there: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Compare ``dandiset.yaml`` with the archive's metadata; what only the archive says is no difference.

    Parameters
    ----------
    record
        Of the file.
    there
        The archive's.
    """
    ours = {**({"name": record.name} if record.name else {}), **record.metadata}
    return tuple(FieldChange(k, there.get(k), v) for k, v in ours.items() if v not in (None, [], there.get(k)))


def send(remote: Any, changes: tuple[FieldChange, ...], there: Mapping[str, Any]) -> None:
    """Give the draft the fields of the file; all others stay as the archive has them."""
    remote.set_raw_metadata({**there, **{change.field: change.here for change in changes}})


def verdict(client: Any, identifier: str, seconds: float, tell: Callable[[str], None] | None = None) -> Verdict:
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
    """
    end = time.monotonic() + seconds
    while True:
        info = client.get(f"/dandisets/{identifier}/versions/draft/info/")
        status = str(info.get("status", ""))
        if tell is not None:
            tell(status)
        if status not in _UNDECIDED or time.monotonic() >= end:
            break
        time.sleep(min(_POLL_SECONDS, max(0.0, end - time.monotonic())))
    own = (ArchiveError(None, *_said(e)) for e in info.get("version_validation_errors") or ())
    assets = (ArchiveError(str(e.get("path", "")), *_said(e)) for e in info.get("asset_validation_errors") or ())
    return Verdict(status, (*own, *assets))


def _said(error: Mapping[str, Any]) -> tuple[str, str]:
    return str(error.get("field", "")), str(error.get("message", ""))
