"""Joins what an archive says of an asset with what we say of it, so that neither loses what only it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dandify.dandiset.assets import GENERATION

# Stated by the archive itself, or true of the moment when a record was made.
_COMPUTED: Final = frozenset({
    "@context", "id", "identifier", "contentUrl", "access", "digest", "contentSize", "path", "encodingFormat",
    "schemaKey", "schemaVersion", "dateModified", "blobDateModified", "datePublished", "publishedBy",
})  # fmt: skip
# Who was studied, and when: where we know it, what else the archive has is of another file's past.
_PERSONS: Final = frozenset({"Participant", "BioSample", "Session"})


def merged(theirs: Mapping[str, Any], ours: Mapping[str, Any], *, same_content: bool) -> dict[str, Any]:
    """Return our record of an asset, completed by what only the archive has.

    Parameters
    ----------
    theirs, ours
        Records as JSON. Where both state a value, ours holds: it was made of the file.
    same_content
        Whether both are of the same bytes. Then lists such as approaches and keywords are joined; else ours, where
        there is one, holds alone, because theirs may be of what is no longer in the file.
    """
    kept = {key: value for key, value in theirs.items() if key not in _COMPUTED}
    found: dict[str, Any] = _join(kept, ours, same_content)
    return found


def says_more(record: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    """Whether a record differs from another in what it says, not only in when it was made."""
    said, known = ({key: value for key, value in r.items() if key not in _COMPUTED} for r in (record, than))
    return bool(_said(said) != _said(known))


def _join(theirs: Any, ours: Any, keep: bool) -> Any:
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        return {**theirs, **{key: _join(theirs.get(key), value, keep) for key, value in ours.items()}}
    if isinstance(theirs, list) and isinstance(ours, list):
        known = {_identity(item): item for item in theirs}
        made = [_join(known.get(_identity(item)), item, keep) for item in ours]
        own = {_identity(item) for item in ours}
        kinds = {item.get("schemaKey") for item in ours if isinstance(item, Mapping)}
        left = [item for item in theirs if _identity(item) not in own and _stays(item, kinds, keep)]
        return made + left
    return ours


def _stays(item: Any, kinds: set[Any], keep: bool) -> bool:
    kind = item.get("schemaKey") if isinstance(item, Mapping) else None
    return kind not in kinds if kind in _PERSONS else keep


def _identity(item: Any) -> Any:
    """Return what makes an entry of a list the same one: its id, else its name or value."""
    if not isinstance(item, Mapping):
        return repr(item)
    key = next((item[key] for key in ("identifier", "name", "value") if item.get(key)), None)
    return (item.get("schemaKey"), repr(key))


def _said(record: Any) -> Any:
    if isinstance(record, Mapping):
        return {key: _said(record[key]) for key in sorted(record) if key != "id"}
    if isinstance(record, list):
        made = [_said(item) for item in record if not (isinstance(item, Mapping) and item.get("name") == GENERATION)]
        return sorted(made, key=repr)
    return record
