"""What dandify.yaml says of how each stream is written: as the writers take it, and in words for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dandify.project.config import Output, StreamOutput
from dandify.store.manifest import read_manifest
from dandify.store.report import WriteReport
from dandify.store.shapes import text

if TYPE_CHECKING:
    from dandify.nwb.request import StreamChoice

ANY_IMAGE = "Image"
"""Stands for all images that are not named."""


def series_choices(output: Output, compression: str | None) -> dict[str, StreamChoice]:
    """How dandify.yaml wants series to be written; a compression that is asked for elsewhere counts more."""
    from dandify.nwb.request import StreamChoice

    return {
        name: StreamChoice(
            None if compression else said.compression, tuple(said.chunks) if said.chunks else None,
            tuple(said.transforms),
        )
        for name, said in output.streams.items()
    }  # fmt: skip


def image_choice(name: str, axes: int, streams: Mapping[str, StreamOutput]) -> dict[str, Any]:
    """Options of `write_ome_zarr` that dandify.yaml has for an image, or plate, by its name or for all images.

    Parameters
    ----------
    name
        Of the image.
    axes
        Their number: chunks hold for images that have as many. Files that do not name their images give them one name.
    streams
        Of dandify.yaml.
    """
    said = streams.get(name) or streams.get(ANY_IMAGE)
    if said is None:
        return {}
    fitting = said.chunks is not None and len(said.chunks) == axes
    return ({"chunks": said.chunks} if fitting else {}) | (
        {"compression": said.compression} if said.compression else {}
    )


def with_note(report: WriteReport, chosen: Mapping[str, str]) -> WriteReport:
    """Add to the notes of a report what was written as dandify.yaml says; nothing if that is nothing."""
    if not chosen:
        return report
    words = "; ".join(f"{name} ({how})" if name else how for name, how in chosen.items())
    return replace(report, notes=(*report.notes, f"as dandify.yaml says: {words}"))


def said_of_series(report: WriteReport, streams: Mapping[str, StreamChoice]) -> dict[str, str]:
    """Say in words, by series, what dandify.yaml asked for an NWB file that was written, and what was left out."""
    from dandify.nwb.request import choice_of, names_at

    if not streams:
        return {}
    found = {}
    for dataset in read_manifest(report.manifest).datasets:
        name = "/".join(dataset.name.split("/")[-2:])
        choice = choice_of(streams, names_at(dataset.name, name))
        if choice is None:
            continue
        left_out: Mapping[str, str] = dataset.details.get("transforms_left_out", {})
        done = [t["name"] for t in dataset.details.get("transforms", ())]
        words = [
            *([choice.compression] if choice.compression else []),
            *([f"chunks {text(dataset.chunks)}"] if choice.chunks and dataset.chunks else []),
            *done,
            *(f"not {which}: {why}" for which, why in _wanted(left_out, choice.transforms)),
        ]
        found[name.removesuffix("/data")] = ", ".join(words)
    return found


def said_of_image(options: Mapping[str, Any]) -> dict[str, str]:
    """Say the same of an image."""
    words = [
        *([options["compression"]] if "compression" in options else []),
        *([f"chunks {text(tuple(options['chunks']))}"] if "chunks" in options else []),
    ]
    return {"": ", ".join(words)} if words else {}


def _wanted(left_out: Mapping[str, str], asked: Iterable[str]) -> list[tuple[str, str]]:
    """Give transforms that were asked for and left out, with the reason."""
    asked = tuple(asked)
    return [(" and ".join(asked) if which == "all" else which, why) for which, why in left_out.items() if asked]
