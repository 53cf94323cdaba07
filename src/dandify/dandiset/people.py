"""Who and what a dandiset is tied to: contributors, funders, ethics approvals, related resources; DANDI's terms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from dandify.errors import BadRequest

_DOI: Final = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_ORCID: Final = re.compile(r"(\d{4}-\d{4}-\d{4}-\d{3})([\dX])")
_ROR_PAGE: Final = "https://ror.org/"
_CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ROR: Final = re.compile(rf"{re.escape(_ROR_PAGE)}0([{_CROCKFORD}]{{6}})(\d\d)")
_CONTACT: Final = re.compile(r"(?P<name>[^<>;]+?)\s*<(?P<email>[^<>\s]+@[^<>\s]+)>")


class Contributor(BaseModel):
    """A person or an organization that had a part in it.

    Attributes
    ----------
    name
        ``Last, First`` of a person.
    kind
        ``Person`` or ``Organization``.
    roles
        As DANDI names them: ``ContactPerson``, ``Author``, ``DataCollector``, ``Funder``, ...
    email
        Needed of the contact person.
    identifier
        The ORCID of a person, the ROR URL of an organization.
    award_number
        Of a funder.
    affiliations
        Names of organizations.
    cite
        Whether it stands in the citation; where it is not said, persons do and organizations do not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str
    kind: Literal["Person", "Organization"] = Field("Person", alias="schemaKey")
    roles: tuple[str, ...] = Field((), alias="roleName")
    email: str | None = None
    identifier: str | None = Field(None, validation_alias=AliasChoices("identifier", "orcid", "ror"))
    award_number: str | None = Field(None, alias="awardNumber", coerce_numbers_to_str=True)
    affiliations: tuple[str, ...] = Field((), alias="affiliation")
    url: str | None = None
    cite: bool | None = Field(None, alias="includeInCitation")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return parse_contributor(value).model_dump(exclude_unset=True) if isinstance(value, str) else value

    @field_validator("roles", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("affiliations", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        value = [value] if isinstance(value, str) else value
        return [v.get("name") if isinstance(v, Mapping) else v for v in value] if isinstance(value, list) else value

    def document(self) -> dict[str, Any]:
        """Return it as dandischema has it."""
        made: dict[str, Any] = {"schemaKey": self.kind, "name": self.name}
        if self.identifier:
            orcid = re.sub(r"^https?://orcid\.org/", "", self.identifier)
            made["identifier"] = orcid.upper() if self.kind == "Person" else self.identifier
        made |= {key: value for key, value in (("email", self.email), ("url", self.url)) if value}
        if self.roles:
            made["roleName"] = [role if ":" in role else f"dcite:{role}" for role in self.roles]
        if self.affiliations:
            made["affiliation"] = [{"schemaKey": "Affiliation", "name": name} for name in self.affiliations]
        if self.award_number:
            made["awardNumber"] = self.award_number
        made["includeInCitation"] = self.kind == "Person" if self.cite is None else self.cite
        return made


class Funder(BaseModel):
    """An organization that paid for it; it is a contributor that does not stand in the citation."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str
    award_number: str | None = Field(None, alias="awardNumber", coerce_numbers_to_str=True)
    identifier: str | None = Field(None, validation_alias=AliasChoices("identifier", "ror"))
    url: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return parse_funder(value).model_dump(exclude_unset=True) if isinstance(value, str) else value

    def document(self) -> dict[str, Any]:
        """Return it as dandischema has it."""
        return Contributor(
            name=self.name, kind="Organization", roles=("Funder",), award_number=self.award_number,
            identifier=self.identifier, url=self.url,
        ).document()  # fmt: skip


class Ethics(BaseModel):
    """An approval by an ethics committee.

    Attributes
    ----------
    identifier
        The number of the approved protocol.
    email, url
        How to reach the committee.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    identifier: str
    email: str | None = None
    url: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_dandi_has_it(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"identifier": value}
        if isinstance(value, Mapping) and isinstance(contact := value.get("contactPoint"), Mapping):
            rest = {k: v for k, v in value.items() if k not in ("contactPoint", "schemaKey")}
            return {**rest, "email": contact.get("email"), "url": contact.get("url")}
        return {k: v for k, v in value.items() if k != "schemaKey"} if isinstance(value, Mapping) else value

    def document(self) -> dict[str, Any]:
        """Return it as dandischema has it."""
        made: dict[str, Any] = {"schemaKey": "EthicsApproval", "identifier": self.identifier}
        contact = {"email": self.email, "url": self.url}
        if any(contact.values()):
            made["contactPoint"] = {"schemaKey": "ContactPoint", **{k: v for k, v in contact.items() if v}}
        return made


class Related(BaseModel):
    """A paper, a dataset or a program that belongs to it.

    Attributes
    ----------
    relation
        What the dandiset is to it, as DANDI names it: ``IsDescribedBy``, ``IsSupplementTo``, ``IsDerivedFrom``, ...
    identifier
        Its DOI or another identifier.
    url, name, repository
        Where and what it is.
    resource_type
        ``JournalArticle``, ``Preprint``, ``Dataset``, ``Software``, ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    relation: str
    identifier: str | None = Field(None, validation_alias=AliasChoices("identifier", "doi"))
    url: str | None = None
    name: str | None = None
    repository: str | None = None
    resource_type: str | None = Field(None, alias="resourceType")
    schemaKey: Literal["Resource"] = "Resource"

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return parse_related(value).model_dump(exclude_unset=True) if isinstance(value, str) else value

    def document(self) -> dict[str, Any]:
        """Return it as dandischema has it; of a DOI there is the URL too."""
        doi = _DOI.fullmatch(self.identifier.strip()) if self.identifier else None
        made = {
            "schemaKey": "Resource",
            "identifier": f"doi:{doi[1]}" if doi else self.identifier,
            "url": self.url or (f"https://doi.org/{doi[1]}" if doi else None),
            "name": self.name,
            "repository": self.repository,
            "relation": _prefixed(self.relation),
            "resourceType": _prefixed(self.resource_type) if self.resource_type else None,
        }
        return {key: value for key, value in made.items() if value}


def parse_contributor(text: str) -> Contributor:
    """Return the contributor of a text: ``Last, First <email>; role=Author, Software; orcid=...; affiliation=...``.

    Raises
    ------
    BadRequest
        If there is something in it that is no ``key=value``.
    """
    first, *rest = (part.strip() for part in text.split(";"))
    found: dict[str, Any] = {"name": first}
    if contact := _CONTACT.fullmatch(first):
        found = {"name": contact["name"], "email": contact["email"]}
    keys = {"role": "roles", "roles": "roles", "orcid": "orcid", "affiliation": "affiliations", "email": "email"}
    for part in filter(None, rest):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in keys:
            raise BadRequest(
                f"contributor {text!r}: {part!r} is none of {', '.join(k + '=' for k in keys)}",
                remedy="write it as 'Last, First <email>; role=Author; orcid=0000-0000-0000-0000'",
            )
        many = keys[key] == "roles"
        found[keys[key]] = [v.strip() for v in value.split(",")] if many else [value] if key == "affiliation" else value
    return Contributor.model_validate(found)


def parse_funder(text: str) -> Funder:
    """Return the funder of a text: ``NAME; AWARD NUMBER; ROR URL``, the latter two as far as they are known."""
    name, award, ror, *_ = (*(part.strip() for part in text.split(";")), "", "")
    return Funder(name=name, award_number=award or None, identifier=ror or None)


def parse_related(text: str) -> Related:
    """Return the resource of a text: ``IsDescribedBy https://doi.org/10...``.

    Raises
    ------
    BadRequest
        If it is not two words.
    """
    relation, _, place = text.strip().partition(" ")
    if not place:
        raise BadRequest(
            f"related resource {text!r} is no relation and address", remedy="write: IsDescribedBy https://doi.org/10..."
        )
    place = place.strip()
    is_url = place.startswith(("http://", "https://")) and not _DOI.fullmatch(place)
    return Related(relation=relation, url=place if is_url else None, identifier=None if is_url else place)


def mistyped(identifier: str) -> str | None:
    """Say that an ORCID or a ROR has a wrong digit, which the checksum in each tells; None if it is right.

    Sources: ISO 7064 MOD 11-2 of "Structure of the ORCID Identifier", MOD 97-10 of "ROR identifier pattern".
    """
    if found := _ORCID.fullmatch(identifier):
        total = 0
        for digit in found[1].replace("-", ""):
            total = (total + int(digit)) * 2
        if "0123456789X"[(12 - total % 11) % 11] != found[2]:
            return f"{identifier} is no ORCID: its last digit is a check of the others, and does not fit"
    if identifier.startswith(_ROR_PAGE):
        found = _ROR.fullmatch(identifier)
        value = 0
        for letter in found[1] if found else "":
            value = value * 32 + _CROCKFORD.index(letter)
        if found is None or int(found[2]) != 98 - value * 100 % 97:
            return f"{identifier} is no ROR: it is 0, six letters or digits, and two digits that check them"
    return None


def _prefixed(term: str) -> str:
    return term if ":" in term else f"dcite:{term}"
