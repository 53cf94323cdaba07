"""``dandiset.yaml``: what a dandiset is, as DANDI's schema spells it; what a person wrote there is kept."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from dandify.dandiset.people import Contributor, Ethics, Funder, Related, mistyped
from dandify.dandiset.texts import Change, write_text
from dandify.errors import BadRequest, BadSource

YAML: Final = "dandiset.yaml"
PUBLICATION: Final = ("name", "description", "license", "contributor")
"""What DANDI asks for before it gives a DOI. A draft may lack them; to create one takes a name."""

_HEADER: Final = (
    "What this dandiset is, by the terms of DANDI's schema. Write here what you like: it is kept.\n"
    "The first upload adds the identifier. A DOI needs name, description, license and a ContactPerson with email."
)

_ENTRIES: Final[Mapping[Any, type[BaseModel]]] = {
    "contributors": Contributor, "contributor": Contributor, "funders": Funder, "ethics": Ethics,
    "ethicsApproval": Ethics, "related": Related, "relatedResource": Related,
}  # fmt: skip

# What the archive states of a dandiset; its absence, or anything about it, is not the user's business.
_SERVER: Final = frozenset({
    "id", "identifier", "version", "url", "doi", "citation", "assetsSummary", "manifestLocation", "repository",
    "schemaVersion", "schemaKey", "access", "dateCreated", "dateModified", "datePublished", "publishedBy",
    "releaseNotes",
})  # fmt: skip


class DandisetMetadata(BaseModel):
    """What is said of a dandiset; nothing has a default, because nothing is invented.

    Attributes
    ----------
    name
        Title, at most 150 characters.
    description
        At most 10000 characters.
    license
        ``CC0-1.0`` or ``CC-BY-4.0``.
    contributors
        Persons and organizations.
    funders
        Organizations that paid for it, with award numbers. DANDI has them among the contributors.
    keywords, protocol, acknowledgement
        As DANDI's schema has them; ``protocol`` are URLs.
    ethics
        Approvals by ethics committees: a number, or more.
    related
        Papers, datasets and programs.
    more
        Other fields of DANDI's schema, in its own form: ``about``, ``studyTarget``, ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str | None = None
    description: str | None = None
    license: tuple[str, ...] = ()
    contributors: tuple[Contributor, ...] = Field((), alias="contributor")
    funders: tuple[Funder, ...] = ()
    ethics: tuple[Ethics, ...] = Field(
        (), alias="ethicsApproval", validation_alias=AliasChoices("ethics", "ethicsApproval")
    )
    related: tuple[Related, ...] = Field(
        (), alias="relatedResource", validation_alias=AliasChoices("related", "relatedResource")
    )
    keywords: tuple[str, ...] = ()
    protocol: tuple[str, ...] = ()
    acknowledgement: str | None = None
    more: dict[str, Any] = Field(default_factory=dict)

    @field_validator("license", "keywords", "protocol", "contributors", "funders", "ethics", "related", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, (str, Mapping)) else value

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> DandisetMetadata:
        """Read it from a mapping with these names or those of DANDI's schema, such as ``dandiset:`` of dandify.yaml.

        Raises
        ------
        BadRequest
            Naming every value that does not fit.
        """
        own = {*cls.model_fields, "contributor", "ethicsApproval", "relatedResource"}
        known = {key: value for key, value in values.items() if key in own}
        rest = {key: value for key, value in values.items() if key not in own and key not in _SERVER}
        if unknown := [f"  {key}: {_unknown(key, own)}" for key in rest if key not in _fields_of_dandi()]:
            raise BadRequest("\n".join(["the dandiset's metadata are not as expected", *unknown]))
        try:
            return cls.model_validate({**known, "more": {**known.get("more", {}), **rest}})
        except ValidationError as error:
            lines = [f"  {'.'.join(map(str, e['loc']))}: {_expected(e)}" for e in error.errors()]
            raise BadRequest("\n".join(["the dandiset's metadata are not as expected", *lines])) from None

    def document(self) -> dict[str, Any]:
        """Return it as dandischema has it, without anything that is absent."""
        made: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "license": [item if ":" in item else f"spdx:{item}" for item in self.license],
            "contributor": [*(c.document() for c in self.contributors), *(f.document() for f in self.funders)],
            "keywords": list(self.keywords),
            "protocol": list(self.protocol),
            "acknowledgement": self.acknowledgement,
            "ethicsApproval": [approval.document() for approval in self.ethics],
            "relatedResource": [resource.document() for resource in self.related],
            **self.more,
        }
        return {key: value for key, value in made.items() if value not in (None, [], "")}


def _fields_of_dandi() -> Collection[str]:
    from dandischema.models import Dandiset

    return (*Dandiset.model_fields, *_SERVER)


def _unknown(key: str, own: Collection[str]) -> str:
    near = get_close_matches(key, sorted({*own, *_fields_of_dandi()} - _SERVER), n=3)
    return "DANDI's schema has no such field" + (f"; is {' or '.join(near)} meant?" if near else "")


def _expected(error: Any) -> str:
    """Say what was expected; of a key that is not known, the keys that are."""
    kind = _ENTRIES.get(error["loc"][0]) if error["type"] == "extra_forbidden" else None
    return f"no such key; there are {', '.join(kind.model_fields)}" if kind is not None else error["msg"].lower()


@dataclass(frozen=True)
class MetadataProblem:
    """What DANDI's schema holds against a dandiset's metadata.

    Attributes
    ----------
    place
        The field: ``contributor.0.name``.
    message
        What is wrong.
    blocks
        ``draft`` if the value is wrong in itself, ``publication`` if it is only needed for a DOI.
    """

    place: str
    message: str
    blocks: Literal["draft", "publication"]


def problems_in(document: Mapping[str, Any]) -> Iterator[MetadataProblem]:
    """Yield what dandischema's model of a dandiset holds against what a person can state in it."""
    from dandischema.models import Dandiset

    try:
        Dandiset(**{key: value for key, value in document.items() if key not in _SERVER})
    except ValidationError as error:
        for found in error.errors():
            place = [str(part) for part in found["loc"] if part not in ("Person", "Organization")]
            if place[0] in _SERVER:
                continue
            contact = place[0] == "contributor" and found["type"] == "value_error" and "ontact" in found["msg"]
            missing = found["type"] == "missing" and len(place) == 1
            message = "is missing" if found["type"] == "missing" else _in_words(place, found["msg"], found.get("input"))
            yield MetadataProblem(".".join(place), message, "publication" if missing or contact else "draft")
    for where, identifier in _identifiers(document):
        if fault := mistyped(identifier):
            yield MetadataProblem(where, fault, "draft")


def _identifiers(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the identifiers of contributors and of where they work, which the schema knows by their form only."""
    for i, who in enumerate(document.get("contributor") or ()):
        if not isinstance(who, Mapping):
            continue
        named = [(f"contributor.{i}", who)]
        named += [(f"contributor.{i}.affiliation.{j}", where) for j, where in enumerate(who.get("affiliation") or ())]
        for place, one in named:
            if isinstance(one, Mapping) and isinstance(identifier := one.get("identifier"), str):
                yield f"{place}.identifier", identifier


def _in_words(place: list[str], message: str, stated: object) -> str:
    """Say what is expected where the schema only has a pattern."""
    if place[0] == "contributor" and "pattern" in message:
        return {
            "name": "a person is written 'Last, First'",
            "identifier": "an ORCID is 0000-0000-0000-000X, of an organization it is https://ror.org/...",
        }.get(place[-1], message)
    if terms := re.findall(r"'dcite:(\w+)'", message):
        near = get_close_matches(str(stated).rpartition(":")[2], terms, n=2, cutoff=0.5)
        meant = f"; is {' or '.join(near)} meant?" if near else f": {', '.join(terms)}"
        return f"{str(stated).rpartition(':')[2]!r} is none of DANDI's words{meant}"
    return message.removeprefix("Value error, ")


def read_description(dandiset: Path) -> dict[str, Any] | None:
    """Return what ``dandiset.yaml`` says, None if there is none.

    Raises
    ------
    BadSource
        If it is no YAML, or no mapping.
    """
    file = dandiset / YAML
    if not file.is_file():
        return None
    found = _load(file, "safe")
    return {str(key): value for key, value in found.items()}


def write_description(
    dandiset: Path,
    metadata: DandisetMetadata | Mapping[str, Any] | None,
    *,
    overwrite: bool = False,
    add: DandisetMetadata | Mapping[str, Any] | None = None,
) -> Change:
    """Write or complete ``dandiset.yaml``; what it says already is kept, comments and order too.

    There is no identifier in a new one: only an archive gives it, see `write_identifier`.

    Parameters
    ----------
    dandiset
        The folder.
    metadata
        What to say; None for nothing more than that it is a dandiset.
    overwrite
        Replace values that are there and differ.
    add
        People, keywords and other entries of lists that are put to those that are there. One of a name, identifier or
        address that an entry has is that entry: it stays, or with ``overwrite`` takes its place.

    Raises
    ------
    BadRequest
        If the metadata do not fit DANDI's schema.
    BadSource
        If an existing file is no YAML.
    """
    from ruamel.yaml.comments import CommentedMap

    file = dandiset / YAML
    values, added = document_of(metadata), document_of(add)
    if file.is_file():
        content = _load(file, "rt")
        new = {k: v for k, v in values.items() if k not in content or (overwrite and content[k] != v)}
        content.update(new)
        if not _add(content, added, overwrite=overwrite) and not new:
            return "unchanged"
    else:
        content = CommentedMap({"schemaKey": "Dandiset", **values})
        _add(content, added, overwrite=overwrite)
        content.yaml_set_start_comment(_HEADER)
    return write_text(file, _yaml_text(content))


def unsaid(stated: Mapping[str, Any], added: DandisetMetadata | Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the fields in which metadata do not say what was to be added, because an entry says something else."""
    wanted = document_of(added)
    return tuple(key for key, entries in wanted.items() if any(entry not in stated.get(key, ()) for entry in entries))


def _add(content: Any, added: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Put entries to the lists of a document; return whether that changed it."""
    changed = False
    for key, entries in added.items():
        if not isinstance(content.get(key), list):  # one alone, or nothing
            content[key] = [] if content.get(key) is None else [content[key]]
        there = content[key]
        for entry in entries:
            if entry in there:
                continue
            twin = next((i for i, other in enumerate(there) if _is_same(entry, other)), None)
            if twin is None:
                there.append(entry)
            elif overwrite:
                there[twin] = entry
            changed = changed or twin is None or overwrite
    return changed


def _is_same(one: Any, other: Any) -> bool:
    """Whether two entries are of the same person or thing."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return False
    if one.get("awardNumber") != other.get("awardNumber"):  # a funder stands there once for each award
        return False
    return any(one.get(key) and one.get(key) == other.get(key) for key in ("identifier", "name", "url"))


def write_identifier(dandiset: Path, identifier: str) -> None:
    """Write the identifier that an archive gave into ``dandiset.yaml``, and leave all else in it as it is.

    Raises
    ------
    DandifyError
        If the system refuses.
    """
    content = _load(dandiset / YAML, "rt")
    if "identifier" in content:
        content["identifier"] = identifier
    else:
        content.insert(0, "identifier", identifier)
    write_text(dandiset / YAML, _yaml_text(content))


def document_of(metadata: DandisetMetadata | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return metadata as dandischema has it.

    Raises
    ------
    BadRequest
        If they do not fit DANDI's schema.
    """
    if metadata is None:
        return {}
    document = (metadata if isinstance(metadata, DandisetMetadata) else DandisetMetadata.of(metadata)).document()
    wrong = [f"  {p.place}: {p.message}" for p in problems_in(document) if p.blocks == "draft"]
    if wrong:
        raise BadRequest("\n".join(["DANDI's schema does not take these metadata of the dandiset", *wrong]))
    return document


def _load(file: Path, kind: Literal["rt", "safe"]) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        found = _parser(kind).load(file.read_text(encoding="utf-8-sig"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else None
        cause = " ".join((error.problem or str(error)).split())
        raise BadSource(f"not YAML: {cause}", file=file, place=place, remedy="mend the line") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise BadSource(f"not YAML: {' '.join(str(error).split())}", file=file, remedy="save it as UTF-8") from error
    if found is None:
        from ruamel.yaml.comments import CommentedMap

        return CommentedMap()
    if not isinstance(found, Mapping):
        raise BadSource("a mapping of keys to values is expected", file=file, remedy="begin it with: name: TITLE")
    return found


def _yaml_text(content: Any) -> str:
    text = io.StringIO()
    _parser("rt").dump(content, text)
    return text.getvalue()


def _parser(kind: Literal["rt", "safe"]) -> Any:
    from ruamel.yaml import YAML as Parser

    parser = Parser(typ=kind, pure=True)
    if kind == "rt":
        parser.preserve_quotes = True
        parser.width = 4096  # long lines are not folded anew
    return parser
