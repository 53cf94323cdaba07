"""``dandify describe``: dandiset.yaml, README and tables of a dandiset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click


@click.command("describe", short_help="Write what describes a dandiset, and say what a DOI still needs.")
@click.argument("dandiset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A dandify.yaml whose `dandiset:` describes it.",
)
@click.option("--ask", is_flag=True, help="Ask for what a DOI needs and is not said yet.")
@click.option("--name", help="Title, at most 150 characters.")
@click.option("--description", help="What it is, at most 10000 characters.")
@click.option("--license", "license_", type=click.Choice(["CC0-1.0", "CC-BY-4.0"]), help="License.")
@click.option(
    "--contributor",
    "contributors",
    multiple=True,
    metavar="TEXT",
    help="'Last, First <email>; role=ContactPerson, Author; orcid=...; affiliation=...'. Can be repeated.",
)
@click.option(
    "--funder", "funders", multiple=True, metavar="TEXT", help="'NAME; AWARD NUMBER; ROR URL'. Can be repeated."
)
@click.option("--keyword", "keywords", multiple=True, help="Can be repeated.")
@click.option("--protocol", multiple=True, metavar="URL", help="Such as of protocols.io. Can be repeated.")
@click.option("--ethics", multiple=True, metavar="NUMBER", help="Of an approved protocol. Can be repeated.")
@click.option(
    "--related", multiple=True, metavar="TEXT", help="'IsDescribedBy https://doi.org/10...'. Can be repeated."
)
@click.option("--acknowledgement", help="Whom to thank.")
@click.option(
    "--layout",
    type=click.Choice(["auto", "dandi", "bids"]),
    default="auto",
    show_default=True,
    help="Whose tables to write; auto takes BIDS where there is a dataset_description.json.",
)
@click.option("--nidm", is_flag=True, help="Write derivatives/nidm/nidm.ttl too; reads every file for its checksum.")
@click.option("--overwrite", is_flag=True, help="Replace what is said and differs.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    dandiset: Path, config: Path | None, ask: bool, license_: str | None,
    contributors: tuple[str, ...], funders: tuple[str, ...], related: tuple[str, ...],
    layout: Literal["auto", "dandi", "bids"], nidm: bool, overwrite: bool, as_json: bool, **plain: Any,
) -> None:  # fmt: skip
    """Write or complete what describes DANDISET: dandiset.yaml, README.md and, as far as its layout has them, tables.

    What is written there already is kept; people, keywords and other entries of lists are put to it. Exit status is 0
    also where something is still missing for a DOI: it is listed.
    """
    import dandify
    from dandify.cli.console import out, print_json
    from dandify.dandiset.people import parse_contributor, parse_funder, parse_related
    from dandify.project.config import read_dandiset
    from dandify.report.describe import print_description

    metadata = read_dandiset(config) if config else {}
    given = {
        **plain,
        "license": license_,
        "contributors": [parse_contributor(text) for text in contributors],
        "funders": [parse_funder(text) for text in funders],
        "related": [parse_related(text) for text in related],
    }
    stated = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items() if value}
    added = {key: value for key, value in stated.items() if isinstance(value, list)}
    metadata |= {key: value for key, value in stated.items() if key not in added}
    if ask:
        metadata = _asked(dandiset, metadata, added)
    report = dandify.describe(
        dandiset, metadata or None, layout=layout, overwrite=overwrite, nidm=nidm, add=added or None
    )
    if as_json:
        print_json(report)
    else:
        print_description(report, out())


def _asked(dandiset: Path, metadata: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """Ask for what neither the file nor the options say; an empty answer leaves it open, a wrong one is asked again."""
    from dandify.dandiset.describe import document_of, read_description

    there = {**document_of(metadata), **document_of(added or None), **(read_description(dandiset) or {})}
    click.echo("An empty answer leaves it open.")
    answers: dict[str, Any] = {}
    for key, question in (
        ("name", "Title"),
        ("description", "What it is, and why it was recorded"),
        ("license", "License, CC0-1.0 or CC-BY-4.0"),
    ):
        if not there.get(key):
            answers[key] = _ask(question, lambda answer, key=key: {key: answer})  # type: ignore[misc]  # a default of a lambda has no type
    if not there.get("contributor"):
        answers["contributors"] = _people()
        answers["funders"] = _several("Funder; award number", "funders")
    if not there.get("keywords"):
        answers["keywords"] = [word.strip() for word in _ask("Keywords, with commas").split(",") if word.strip()]
    if not there.get("protocol"):
        answers["protocol"] = _several("Protocol, the address of a page", "protocol")
    if not there.get("ethicsApproval"):
        answers["ethics"] = _several("Number of an ethics approval", "ethics")
    if not there.get("relatedResource"):
        answers["related"] = _several("Paper or dataset, like IsDescribedBy https://doi.org/10...", "related")
    return {**metadata, **{key: value for key, value in answers.items() if value}}


def _people() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def ask(question: str, key: str, **known: Any) -> str:
        return _ask(question, lambda answer: {"contributors": [{**known, key: answer}]})

    while name := ask("Contact person as Last, First" if not found else "Another contributor as Last, First", "name"):
        person = {
            "name": name, "roles": ["Author"] if found else ["ContactPerson", "Author"],
            "email": ask("  email", "email", name=name), "orcid": ask("  ORCID", "orcid", name=name),
            "affiliations": list(filter(None, [_ask("  affiliation")])),
        }  # fmt: skip
        found.append({key: value for key, value in person.items() if value})
    return found


def _several(question: str, key: str) -> list[str]:
    found: list[str] = []
    while text := _ask(question, lambda answer: {key: [answer]}):
        found.append(text)
    return found


def _ask(question: str, meant: Callable[[str], dict[str, Any]] | None = None) -> str:
    """Ask until the answer is empty, or the metadata that are meant by it are such as DANDI takes."""
    from dandify.dandiset.describe import document_of
    from dandify.errors import BadRequest

    while answer := str(click.prompt(question, default="", show_default=False)).strip():
        try:
            document_of(meant(answer) if meant else None)
        except BadRequest as error:
            click.echo(f"  {error.cause.splitlines()[-1].strip()}", err=True)
        else:
            break
    return answer
