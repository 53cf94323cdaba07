from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dandischema.models import Dandiset
from pydantic import ValidationError
from ruamel.yaml import YAML

from dandify.dandiset.describe import (
    DandisetMetadata,
    document_of,
    problems_in,
    read_description,
    unsaid,
    write_description,
)
from dandify.dandiset.people import mistyped, parse_contributor, parse_related
from dandify.dandiset.validate import validate
from dandify.errors import BadRequest, BadSource
from dandiset_cases import add_units, session, write

DOE = {"name": "Doe, Jane", "roles": ["ContactPerson", "Author"], "email": "jane@example.org"}
COMPLETE = {
    "name": "A title", "description": "What it is.", "license": "CC-BY-4.0", "keywords": ["mouse"],
    "contributors": [
        DOE | {"orcid": "0000-0001-2345-6789", "affiliations": ["Test University"]},
        {"name": "A fund", "kind": "Organization", "roles": "Funder", "award_number": "X-1"},
    ],
    "studyTarget": ["To see."],
}  # fmt: skip


def server_side(document: dict[str, Any]) -> dict[str, Any]:
    """What the archive adds to a draft's metadata before it validates them."""
    return document | {
        "id": "DANDI:000123/draft", "identifier": "DANDI:000123", "version": "draft", "citation": "Doe (2024)",
        "assetsSummary": {"numberOfBytes": 1, "numberOfFiles": 1, "schemaKey": "AssetsSummary"},
        "manifestLocation": ["https://example.org/dandisets/000123/draft/"],
    }  # fmt: skip


def test_complete_metadata_are_what_dandischema_wants() -> None:
    document = document_of(COMPLETE)
    assert list(problems_in(document)) == []
    model = Dandiset(**server_side(document))
    assert model.contributor[0].identifier == "0000-0001-2345-6789"
    assert model.license[0].value == "spdx:CC-BY-4.0"
    assert model.studyTarget == ["To see."]


def test_the_form_of_dandischema_is_taken_as_well() -> None:
    given = {
        "name": "T", "license": ["spdx:CC0-1.0"],
        "contributor": [{"schemaKey": "Person", "name": "Doe, Jane", "roleName": ["dcite:ContactPerson"],
                         "email": "a@b.org", "includeInCitation": True}],
    }  # fmt: skip
    assert document_of(given) == given


@pytest.mark.parametrize("field", ["name", "description", "license", "contributor"])
def test_what_a_doi_needs_is_known_field_by_field(field: str) -> None:
    document = document_of(COMPLETE)
    del document[field]
    assert [(p.place, p.blocks) for p in problems_in(document)] == [(field, "publication")]
    with pytest.raises(ValidationError):
        Dandiset(**server_side(document))


def test_a_contact_person_without_email_is_told() -> None:
    document = document_of(COMPLETE | {"contributors": [{"name": "Doe, Jane", "roles": ["ContactPerson"]}]})
    assert [(p.place, p.blocks) for p in problems_in(document)] == [("contributor.0", "publication")]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"contributors": [{"name": "Jane Doe"}]}, "contributor.0.name"),
        ({"contributors": [DOE | {"orcid": "1"}]}, "contributor.0.identifier"),
        ({"contributors": [DOE | {"roles": ["Boss"]}]}, "contributor.0.roleName.0"),
        ({"contributors": [{"nam": "x"}]}, "contributors.0.nam: no such key; there are name, kind"),
        ({"funders": [{"name": "x", "award": "1"}]}, "funders.0.award: no such key; there are name, award_number"),
        ({"protocols": ["https://example.org"]}, "protocols: DANDI's schema has no such field; is protocol meant"),
        ({"contributors": ["Doe, Jane; Author"]}, "role="),
        (
            {"contributors": [DOE | {"orcid": "0000-0002-1825-0098"}]},
            "0000-0002-1825-0098 is no ORCID",
        ),
        (
            {"funders": ["NIH; R01; https://ror.org/01cwqze87"]},
            "ror.org/01cwqze87 is no ROR",
        ),
        ({"funders": ["NIH; R01; https://ror.org/nih"]}, "ror.org/nih is no ROR"),
        ({"related": ["IsDescribed https://x.org"]}, "'IsDescribed' is none of DANDI's words; is IsDescribedBy or"),
        ({"license": "GPL"}, "license.0"),
        ({"name": "x" * 151}, "name"),
        ({"name": ["x"]}, "name"),
    ],
    ids=[
        "name",
        "orcid",
        "role",
        "key",
        "key of a funder",
        "field",
        "text",
        "mistyped orcid",
        "mistyped ror",
        "made-up ror",
        "relation",
        "license",
        "length",
        "type",
    ],
)
def test_what_the_schema_does_not_take_is_refused(values: dict[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=what.replace(".", r"\.").replace("contributors", "contributors?")):
        write_description(tmp_path, values)
    assert not list(tmp_path.iterdir())


def test_nothing_is_invented(tmp_path: Path) -> None:
    assert write_description(tmp_path / "new", None) == "created"
    assert read_description(tmp_path / "new") == {"schemaKey": "Dandiset"}


def test_what_a_person_wrote_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "dandiset.yaml"
    file.write_text('identifier: "000007"  # ours\nname:   Mine\nodd: [1, 2]\n', encoding="utf-8")
    assert write_description(tmp_path, COMPLETE) == "updated"
    text = file.read_text(encoding="utf-8")
    assert 'identifier: "000007"  # ours' in text
    found = YAML(typ="safe").load(text)
    assert (found["name"], found["description"], found["odd"]) == ("Mine", "What it is.", [1, 2])
    assert write_description(tmp_path, COMPLETE) == "unchanged"
    assert file.read_text(encoding="utf-8") == text
    assert write_description(tmp_path, {"name": "Yours"}, overwrite=True) == "updated"
    assert (read_description(tmp_path) or {})["name"] == "Yours"
    assert "# ours" in file.read_text(encoding="utf-8")


HAND_MADE = """\
# by hand
name: Mine
contributor:
  # the boss
  - {name: "Doe, Jane", email: j@example.org, schemaKey: Person, roleName: ["dcite:ContactPerson"]}
keywords: [rats]  # not mice
"""


def test_entries_of_lists_are_put_to_those_of_a_person(tmp_path: Path) -> None:
    file = tmp_path / "dandiset.yaml"
    file.write_text("\ufeff" + HAND_MADE, encoding="utf-8")  # as Windows' editors save it
    added = {
        "keywords": ["rats", "mice"],
        "funders": [{"name": "NIH", "award_number": "R01"}, {"name": "NIH", "award_number": "R02"}],
        "contributors": [{"name": "Doe, Jane", "email": "new@example.org"}, {"name": "Roe, R."}],
    }
    assert write_description(tmp_path, None, add=added) == "updated"
    text = file.read_text(encoding="utf-8")
    assert "# the boss" in text
    assert "# not mice" in text
    found = read_description(tmp_path) or {}
    assert found["keywords"] == ["rats", "mice"]
    assert [(c["name"], c.get("email")) for c in found["contributor"]] == [
        ("Doe, Jane", "j@example.org"), ("Roe, R.", None), ("NIH", None), ("NIH", None),
    ]  # fmt: skip
    assert unsaid(found, added) == ("contributor",)
    assert write_description(tmp_path, None, add=added) == "unchanged"
    assert write_description(tmp_path, None, add=added, overwrite=True) == "updated"
    found = read_description(tmp_path) or {}
    assert [c.get("email") for c in found["contributor"]] == ["new@example.org", None, None, None]
    assert unsaid(found, added) == ()


def test_a_slip_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "dandiset.yaml").write_text("name: A\n\tlicense: x\n", encoding="utf-8")
    with pytest.raises(BadSource, match="cannot start any token") as caught:
        read_description(tmp_path)
    assert caught.value.place == "line 2, column 1"
    assert "\n" not in caught.value.cause


@pytest.mark.parametrize("text", ["a: [1", "- 1\n"], ids=["damaged", "list"])
def test_a_file_that_is_no_mapping_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "dandiset.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BadSource, match=r"dandiset\.yaml"):
        write_description(tmp_path, {"name": "x"})
    assert (tmp_path / "dandiset.yaml").read_text(encoding="utf-8") == text


def test_metadata_can_be_made_in_python() -> None:
    made = DandisetMetadata(name="T", license=("CC0-1.0",))
    assert made.document() == {"name": "T", "license": ["spdx:CC0-1.0"]}


def test_funders_ethics_and_papers_in_plain_words() -> None:
    document = document_of({
        "funders": [{"name": "NIH", "award_number": 101, "ror": "https://ror.org/01cwqze88"}], "ethics": "G-1",
        "related": [{"relation": "IsDescribedBy", "doi": "10.1000/x", "resource_type": "JournalArticle"},
                    {"relation": "IsDerivedFrom", "url": "https://example.org/data", "name": "Older"}],
    })  # fmt: skip
    assert document == {
        "contributor": [{
            "schemaKey": "Organization", "name": "NIH", "identifier": "https://ror.org/01cwqze88",
            "roleName": ["dcite:Funder"], "awardNumber": "101", "includeInCitation": False,
        }],
        "ethicsApproval": [{"schemaKey": "EthicsApproval", "identifier": "G-1"}],
        "relatedResource": [
            {"schemaKey": "Resource", "identifier": "doi:10.1000/x", "url": "https://doi.org/10.1000/x",
             "relation": "dcite:IsDescribedBy", "resourceType": "dcite:JournalArticle"},
            {"schemaKey": "Resource", "url": "https://example.org/data", "name": "Older",
             "relation": "dcite:IsDerivedFrom"},
        ],
    }  # fmt: skip
    assert document_of(document) == document


def test_an_ethics_approval_in_the_form_of_dandischema() -> None:
    contact = {"schemaKey": "ContactPoint", "email": "irb@example.org"}
    given = {"ethicsApproval": [{"schemaKey": "EthicsApproval", "identifier": "G-1", "contactPoint": contact}]}
    assert document_of(given) == given


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Doe, Jane", {"name": "Doe, Jane"}),
        ("Doe, Jane <j@x.org>; role=ContactPerson, Author; orcid=0000-0001-2345-6789; affiliation=A, B",
         {"name": "Doe, Jane", "email": "j@x.org", "roles": ("ContactPerson", "Author"),
          "identifier": "0000-0001-2345-6789", "affiliations": ("A, B",)}),
    ],
    ids=["name", "all"],
)  # fmt: skip
def test_contributors_in_a_line(text: str, expected: dict[str, Any]) -> None:
    assert parse_contributor(text).model_dump(exclude_defaults=True) == expected


@pytest.mark.parametrize("text", ["Doe, Jane; Author", "Doe, Jane; roles", "Doe, Jane; boss=1"])
def test_what_is_no_contributor_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="role="):
        parse_contributor(text)


@pytest.mark.parametrize(
    ("text", "identifier", "url"),
    [
        ("IsDescribedBy 10.1000/x", "doi:10.1000/x", "https://doi.org/10.1000/x"),
        ("IsDescribedBy https://doi.org/10.1000/x", "doi:10.1000/x", "https://doi.org/10.1000/x"),
        ("IsDerivedFrom https://example.org/a", None, "https://example.org/a"),
        ("IsDerivedFrom RRID:SCR_1", "RRID:SCR_1", None),
    ],
)
def test_related_resources_in_a_line(text: str, identifier: str | None, url: str | None) -> None:
    made = parse_related(text).document()
    assert (made.get("identifier"), made.get("url")) == (identifier, url)


def test_a_related_resource_needs_two_words() -> None:
    with pytest.raises(BadRequest, match="IsDescribedBy"):
        parse_related("10.1000/x")


@pytest.mark.parametrize(
    "identifier",
    ["0000-0002-1825-0097", "0000-0002-1694-233X", "https://ror.org/029chgv08", "https://ror.org/05a28rw58", "RRID:1"],
)  # of ORCID's own documentation, the Wellcome Trust, ETH Zurich
def test_identifiers_that_are_right(identifier: str) -> None:
    assert mistyped(identifier) is None


def test_what_a_contributor_lacks_is_said_in_words() -> None:
    document = {"contributor": [{"schemaKey": "Person", "name": "Jane Doe", "identifier": "1"}]}
    said = {p.place: p.message for p in problems_in(document)}
    assert said["contributor.0.name"] == "a person is written 'Last, First'"
    assert "0000-0000" in said["contributor.0.identifier"]


def test_a_new_dandiset_needs_a_name(tmp_path: Path) -> None:
    write(add_units(session("m1", "1")), tmp_path / "sub-m1/sub-m1_ses-1_ecephys.nwb")
    file = tmp_path / "dandiset.yaml"
    for text, warned in (("schemaKey: Dandiset\n", 1), ("name: x\n", 0), ("identifier: '000001'\n", 0)):
        file.write_text(text, encoding="utf-8")
        assert [f.path for f in validate(tmp_path).findings if f.id == "dandify.no_name"] == [file] * warned


def test_a_dandify_yaml_takes_the_lines_of_the_options() -> None:
    """What ``--contributor``, ``--funder`` and ``--related`` take may stand in the file, too."""
    lines = {
        "contributors": ["Doe, Jane <jane@example.org>; role=ContactPerson, Author"],
        "funders": ["NIH; 101; https://ror.org/01cwqze88"],
        "related": ["IsDescribedBy 10.1000/x"],
    }
    longer = {
        "contributors": [DOE],
        "funders": [{"name": "NIH", "award_number": 101, "ror": "https://ror.org/01cwqze88"}],
        "related": [{"relation": "IsDescribedBy", "doi": "10.1000/x"}],
    }
    assert document_of(lines) == document_of(longer)
