"""Writes what was tuned into ``output.streams`` of a ``dandify.yaml``, with figures; all else stays as it is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dandify.errors import BadRequest
from dandify.project.config import read_config

MARK = "# dandify tune"  # begins the comment lines that are replaced when the file is tuned again
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class TunedStream:
    """What ``output.streams`` says of one stream.

    Attributes
    ----------
    compression, chunks, transforms
        As `dandify.write_nwb` or `dandify.write_ome_zarr` take them.
    comment
        Figures and date, in one line.
    """

    compression: str
    chunks: tuple[int, ...]
    transforms: tuple[str, ...]
    comment: str


def write_tuned(config: Path, streams: Mapping[str, TunedStream], *, backend: str | None = None) -> None:
    """Put streams into ``output.streams`` of a ``dandify.yaml``, replacing those that are there by these names.

    Parameters
    ----------
    config
        The file. Every other line of it stays as it is; it is replaced as a whole or not at all.
    streams
        By name.
    backend
        Of NWB files, where it must be another than the file says.

    Raises
    ------
    BadRequest
        If the file is not as expected, or is laid out in a way that no line can be put into; the latter with what is
        to be put in by hand.
    """
    said = read_config(config)
    text = config.read_bytes().decode("utf-8")
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    before = _load("\n".join(lines))
    try:
        lines = _in_blocks(lines)
        if backend is not None and backend != said.output.backend:
            lines = _put(lines, ("output",), "backend", [f"backend: {backend}"])
        for name, stream in streams.items():
            lines = _put(lines, ("output", "streams"), name, [f"{MARK} {stream.comment}", _entry(name, stream)])
        after = _load("\n".join(lines))
        if _rest(before) != _rest(after):
            raise _cannot(config, streams)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise _cannot(config, streams) from error
    temporary = config.with_name(config.name + ".partial")
    temporary.write_bytes(newline.join(lines).encode("utf-8"))
    try:
        read_config(temporary)
        os.replace(temporary, config)
    finally:
        temporary.unlink(missing_ok=True)


def _entry(name: str, stream: TunedStream) -> str:
    """One stream in one line, in YAML's flow style."""
    key = name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    parts = [f'compression: "{stream.compression}"', f"chunks: [{', '.join(map(str, stream.chunks))}]"]
    if stream.transforms:
        parts.append(f"transforms: [{', '.join(stream.transforms)}]")
    return f"{key}: {{{', '.join(parts)}}}"


def _load(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="rt").load(text)


def _in_blocks(lines: list[str]) -> list[str]:
    """Make ``output`` and ``output.streams`` mappings of a key a line, if they are in braces or are not there."""
    tree = _load("\n".join(lines))
    if "output" not in tree:
        while lines and not lines[-1].strip():
            lines = lines[:-1]
        lines = [*lines, "output:", "  streams: {}", ""]
        tree = _load("\n".join(lines))
    output = tree["output"]
    if output is None or output.fa.flow_style() or "streams" not in output or not output["streams"]:
        return _rewritten(lines, tree)
    return _rewritten(lines, tree) if output["streams"].fa.flow_style() else lines


def _rewritten(lines: list[str], tree: Any) -> list[str]:
    """Write the lines of ``output`` again in block style; comments between its keys stay."""
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    first, last = _span(lines, tree, "output")
    snippet = _load("\n".join(lines[first:last]))
    output = snippet["output"] if snippet["output"] is not None else CommentedMap()
    snippet["output"] = output
    output.fa.set_block_style()
    streams = output.get("streams")
    if not streams:
        output["streams"] = streams = CommentedMap({_PLACEHOLDER: None})
    streams.fa.set_block_style()
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 10_000
    out = StringIO()
    yaml.dump(snippet, out)
    return [*lines[:first], *out.getvalue().rstrip("\n").split("\n"), *lines[last:]]


_PLACEHOLDER = "dandify-tune-goes-here"


def _put(lines: list[str], place: Sequence[str], key: str, new: Sequence[str]) -> list[str]:
    """Replace the lines of a key within a block mapping, or add it as the last one."""
    tree = _load("\n".join(lines))
    node = tree
    for part in place:
        node = node[part]
    column = node.lc.col
    indented = [" " * column + line for line in new]
    for old in (key, _PLACEHOLDER):
        if old in node:
            first, last = _span(lines, node, old)
            if first and lines[first - 1].strip().startswith(MARK):
                first -= 1
            return [*lines[:first], *indented, *lines[last:]]
    last = max(_span(lines, node, other)[1] for other in node)
    return [*lines[:last], *indented, *lines[last:]]


def _span(lines: list[str], node: Any, key: str) -> tuple[int, int]:
    """Lines of a key of a block mapping: from its own to the last that is indented more, comments behind left out."""
    first, column = node.lc.key(key)
    last = first + 1
    for number in range(first + 1, len(lines)):
        stripped = lines[number].strip()
        if not stripped or stripped.startswith("#"):
            continue
        if len(lines[number]) - len(lines[number].lstrip()) <= column and not stripped.startswith(("]", "}")):
            break
        last = number + 1
    return first, last


def _rest(tree: Any) -> Any:
    """All that is not to change: everything but the streams and the backend."""
    plain = json.loads(json.dumps(tree, default=str))
    for key in ("streams", "backend"):
        (plain.get("output") or {}).pop(key, None)
    if not plain.get("output"):
        plain.pop("output", None)
    return plain


def _cannot(config: Path, streams: Mapping[str, TunedStream]) -> BadRequest:
    wanted = "\n".join(f"    {_entry(name, stream)}" for name, stream in streams.items())
    return BadRequest(
        "is laid out in a way that nothing can be put into by lines", file=config,
        remedy=f"put this below output: streams: by hand\n{wanted}",
    )  # fmt: skip
