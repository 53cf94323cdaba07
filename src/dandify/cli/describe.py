"""``dandify describe``: dandiset.yaml, README and tables of a dandiset."""

from __future__ import annotations

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

    What is written there already is kept. Exit status is 0 also where something is still missing for a DOI: it is
    listed.
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
    metadata |= {key: list(value) if isinstance(value, tuple) else value for key, value in given.items() if value}
    if ask:
        metadata = _asked(dandiset, metadata)
    report = dandify.describe(dandiset, metadata or None, layout=layout, overwrite=overwrite, nidm=nidm)
    if as_json:
        print_json(report)
    else:
        print_description(report, out())


def _asked(dandiset: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    """Ask for what neither the file nor the options say; an empty answer leaves it open."""
    from dandify.dandiset.describe import document_of, read_description

    there = {**document_of(metadata), **(read_description(dandiset) or {})}
    click.echo("An empty answer leaves it open.")
    answers: dict[str, Any] = {}
    for key, question in (
        ("name", "Title"),
        ("description", "What it is, and why it was recorded"),
        ("license", "License, CC0-1.0 or CC-BY-4.0"),
    ):
        if not there.get(key):
            answers[key] = _ask(question)
    if not there.get("contributor"):
        answers["contributors"] = _people()
        answers["funders"] = _several("Funder; award number", _funder)
    if not there.get("keywords"):
        answers["keywords"] = [word.strip() for word in _ask("Keywords, with commas").split(",") if word.strip()]
    if not there.get("ethicsApproval"):
        answers["ethics"] = [number] if (number := _ask("Number of the ethics approval")) else []
    return {**metadata, **{key: value for key, value in answers.items() if value}}


def _people() -> list[Any]:
    from dandify.dandiset.people import Contributor

    found: list[Contributor] = []
    while name := _ask("Contact person as Last, First" if not found else "Another contributor as Last, First"):
        roles = ("ContactPerson", "Author") if not found else ("Author",)
        found.append(
            Contributor(
                name=name, roles=roles, email=_ask("  email") or None, identifier=_ask("  ORCID") or None,
                affiliations=tuple(filter(None, [_ask("  affiliation")])),
            )
        )  # fmt: skip
    return found


def _funder(text: str) -> Any:
    from dandify.dandiset.people import parse_funder

    return parse_funder(text)


def _several(question: str, parse: Any) -> list[Any]:
    found: list[Any] = []
    while text := _ask(question):
        found.append(parse(text))
    return found


def _ask(question: str) -> str:
    return str(click.prompt(question, default="", show_default=False)).strip()
