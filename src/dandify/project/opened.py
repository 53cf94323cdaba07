"""Opens the sources of a session and merges what they and the user say; headers only, and nothing is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dandify.errors import BadRequest, Need
from dandify.findings import Finding
from dandify.project.config import PlannedSession, PlannedSource
from dandify.project.metadata import Layer, Metadata, merge, missing, parse_start
from dandify.project.scan import require_sources, scan, session_facts
from dandify.sources import Source
from dandify.sources.registry import by_name
from dandify.sources.tiles import placed_alone
from dandify.tree_state import is_ignored


@dataclass(frozen=True)
class Opened:
    """A session whose headers were read.

    Attributes
    ----------
    sources
        Opened, with those of the user's values that are about them.
    own
        What is said of each source alone, by its path.
    unknown
        Files in its folders that no converter knows.
    metadata
        Merged; the user's values win over what the files state.
    needs
        What DANDI or a source requires and nobody states.
    """

    sources: tuple[Source, ...]
    own: Mapping[Path, Mapping[str, Any]]
    unknown: tuple[Path, ...]
    metadata: Metadata
    needs: tuple[Need, ...]


Found = tuple[tuple[Source, ...], tuple[Path, ...]]
"""Sources that a planned source names, and the files beside that nobody knows."""


def open_session(request: PlannedSession, flags: Layer) -> Opened:
    """Open all sources of a session.

    Raises
    ------
    dandify.errors.BadSource, dandify.errors.UnknownFormat
        If one cannot be opened.
    BadRequest
        If a metadata key is unknown.
    """
    return describe_session(request, flags, [(planned, sources_of(planned)) for planned in request.sources])


def describe_session(request: PlannedSession, flags: Layer, opened: Iterable[tuple[PlannedSource, Found]]) -> Opened:
    """Merge what the opened sources of a session and the user say."""
    shared = merge([*request.layers, flags])
    found: dict[Path, Source] = {}
    said: dict[Path, Mapping[str, Any]] = {}
    unknown: dict[Path, None] = {}
    labels = set(request.labels.values())  # of an image of the session, and none themselves
    for planned, (sources_found, left) in opened:
        own = merge([*request.layers, flags, planned.layer]).level("source")
        unknown |= dict.fromkeys(file for file in left if file not in labels)
        for source in sources_found:
            if source.path in labels:
                continue
            # A source may be named and lie in a folder that is named too; what was said of it first holds.
            said.setdefault(source.path, own)
            found.setdefault(source.path, _supplied(source, own))
    sources = tuple(found.values())
    facts = Layer("the files", session_facts(sources))
    metadata = merge([facts, Layer("metadata", shared.values)])
    metadata = Metadata(metadata.values, {**metadata.origins, **shared.origins})
    required = [n for n in missing(metadata) if n.key not in ("session_start_time", "timezone") or timed(sources)]
    owned = {file for source in sources for file in source.files}
    return Opened(
        sources,
        said,
        tuple(file for file in unknown if file not in owned),
        metadata,
        (*required, *(n for s in sources for n in s.needs)),
    )


def sources_of(planned: PlannedSource) -> Found:
    """Open what a planned source names; with it, the files beside that nobody knows.

    Raises
    ------
    dandify.errors.BadSource, dandify.errors.UnknownFormat
        If it cannot be opened.
    """
    missing = planned.options.get("missing", planned.missing)
    filling = {} if missing is None else {"missing": missing}

    def passed_over(file: Path) -> bool:
        return is_ignored(file, planned.path, planned.ignore)

    if planned.format:
        converter = by_name(planned.format)
        root = converter.claim(planned.path) or planned.path
        source = converter.open(root, {**(filling if converter.fills else {}), **planned.options})
        return (placed_alone(source, passed_over),), ()
    report = scan(planned.path, ignore=planned.ignore, missing=missing)
    sources = require_sources(report)
    unknown = tuple(u.path for u in report.unknown)
    if not set(planned.options) - {"missing"}:
        return sources, unknown
    if len(sources) != 1:
        raise BadRequest(
            f"options are given for one source, and there are {len(sources)}", file=planned.path,
            remedy="name each source by its own path in dandify.yaml",
        )  # fmt: skip
    converter = by_name(sources[0].format)
    options = {**(filling if converter.fills else {}), **planned.options}
    return (placed_alone(converter.open(sources[0].path, options), passed_over),), unknown


def timed(sources: Sequence[Source]) -> bool:
    """Whether there is an NWB file, which needs a start; an image alone does not."""
    return any(stream.kind != "Image" for source in sources for stream in source.streams)


def shift_of(source: Source, start: datetime | None, timezone: str | None) -> float:
    """Give the seconds from the session's start to the source's; 0 where the source states no start of its own."""
    stated = source.facts.get("session_start_time")
    own = parse_start(stated, timezone=timezone or None) if stated else None
    if own is None and stated is not None and start is not None:
        own = stated.replace(tzinfo=start.tzinfo)  # a naive local time, and the session's zone is that of the rig
    return (own - start).total_seconds() if own and start else 0.0


def early(sources: Sequence[Source], shifts_s: Sequence[float]) -> Finding | None:
    """Tell of recordings that began before their session did, by what their files state; None if there are none.

    Parameters
    ----------
    sources
        The recordings of a session.
    shifts_s
        From `shift_of`.
    """
    found = [(s.path, -t) for s, t in zip(sources, shifts_s, strict=True) if t < 0]
    if not found:
        return None
    return Finding(
        "dandify.session_start_time", "dandify", "session", "ERROR",
        f"session_start_time is after the start of {', '.join(f'{p.name} by {t:.0f} s' for p, t in found)}",
        found[0][0],
        remedy="leave session_start_time out: the files state it; or give the start of the earliest",
        key="session_start_time",
    )  # fmt: skip


def _supplied(source: Source, values: Mapping[str, Any]) -> Source:
    """Give a source those of the user's values that are about it: what it asks for, and image facts to images."""
    asked = {n.key.split(".")[0] for n in source.needs}
    images = "axes" in asked or any(s.kind == "Image" for s in source.streams)  # pages without axes are no stream yet
    return source.with_facts({k: v for k, v in values.items() if images or k in asked})
