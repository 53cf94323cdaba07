"""``README.md`` of a dandiset: what ``dandiset.yaml`` says, and what is in it, for a person."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dandify.dandiset.tables import Described

_SIGNATURE: Final = re.compile(r"\n<!-- written by dandify describe, until a person changes it: ([0-9a-f]{16}) -->\n$")


def readme(dandiset: Mapping[str, Any], assets: Sequence[Described]) -> str:
    """Return a README of what is known; headings with nothing below them are left out.

    It ends with a comment that holds its checksum, by which `is_ours` tells whether a person has changed it since.

    Parameters
    ----------
    dandiset
        What ``dandiset.yaml`` says, in dandischema's form.
    assets
        What is in it.
    """
    parts = [f"# {dandiset.get('name') or 'Dandiset'}"]
    if dandiset.get("description"):
        parts.append(str(dandiset["description"]).strip())
    for title, lines in (
        ("Content", _content(assets)),
        ("People", _people(dandiset)),
        ("Funding", _funding(dandiset)),
        ("Ethics", (str(e["identifier"]) for e in _mappings(dandiset, "ethicsApproval") if e.get("identifier"))),
        ("Protocols", map(str, dandiset.get("protocol") or ())),
        ("Related", _related(dandiset)),
        ("License", (str(item).rpartition(":")[2] for item in dandiset.get("license") or ())),
        ("Acknowledgement", filter(None, [dandiset.get("acknowledgement")])),
    ):
        found = list(lines)
        if found:
            parts.append(f"## {title}\n\n" + "\n".join(f"- {line}" for line in found))
    text = "\n\n".join(parts) + "\n"
    return f"{text}\n<!-- written by dandify describe, until a person changes it: {_checksum(text)} -->\n"


def is_ours(text: str) -> bool:
    """Whether a README is as `readme` wrote it."""
    found = _SIGNATURE.search(text)
    return found is not None and found[1] == _checksum(text[: found.start()])


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _content(assets: Sequence[Described]) -> Iterator[str]:
    species = sorted({a.facts.subject["species"] for a in assets if a.facts.subject.get("species")})
    if species:
        yield f"species: {', '.join(species)}"
    techniques = sorted({name for a in assets for name in a.facts.techniques})
    if techniques:
        yield f"techniques: {', '.join(techniques)}"
    if any(a.path.name.endswith((".nwb", ".nwb.zarr")) for a in assets):
        yield "`*.nwb`: NWB, read by pynwb, MatNWB and Neurosift"
    if any(a.path.name.endswith(".ome.zarr") for a in assets):
        yield "`*.ome.zarr`: OME-Zarr images, read by napari, Neuroglancer and ome-zarr-py"


def _people(dandiset: Mapping[str, Any]) -> Iterator[str]:
    for person in _mappings(dandiset, "contributor"):
        if person.get("schemaKey") != "Person":
            continue
        roles = [str(role).rpartition(":")[2] for role in person.get("roleName") or ()]
        where = [str(a.get("name")) for a in person.get("affiliation") or () if isinstance(a, Mapping)]
        orcid = f"https://orcid.org/{person['identifier']}" if person.get("identifier") else None
        email = person.get("email") if "ContactPerson" in roles else None
        yield "; ".join(filter(None, [person.get("name"), ", ".join(roles), ", ".join(where), orcid, email]))


def _funding(dandiset: Mapping[str, Any]) -> Iterator[str]:
    for funder in _mappings(dandiset, "contributor"):
        if "dcite:Funder" in (funder.get("roleName") or ()):
            yield " ".join(filter(None, [funder.get("name"), funder.get("awardNumber")]))


def _related(dandiset: Mapping[str, Any]) -> Iterator[str]:
    for resource in _mappings(dandiset, "relatedResource"):
        relation = str(resource.get("relation", "")).rpartition(":")[2]
        yield " ".join(
            filter(None, [relation, resource.get("name"), resource.get("url") or resource.get("identifier")])
        )


def _mappings(dandiset: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [item for item in dandiset.get(key) or () if isinstance(item, Mapping)]
