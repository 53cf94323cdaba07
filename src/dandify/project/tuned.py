"""Writes what was tuned into ``output.streams`` of a ``dandify.yaml``, with figures; all else stays as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
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
    from ruamel.yaml.error import YAMLError

    said = read_config(config)
    lines = config.read_bytes().decode("utf-8").split("\n")  # those of Windows keep their \r
    ending = "\r" if lines[0].endswith("\r") else ""
    if lines[-1]:  # the last line has no end
        lines = [*lines[:-1], lines[-1] + ending, ""]
    before = _load("\n".join(lines))
    try:
        lines = _in_blocks(lines, ending)
        if backend is not None and backend != said.output.backend:
            lines = _put(lines, ("output",), "backend", [f"backend: {backend}"], ending)
        for name, stream in streams.items():
            new = [f"{MARK} {stream.comment}", _entry(name, stream)]
            lines = _put(lines, ("output", "streams"), name, new, ending)
        after = _load("\n".join(lines))
        if _rest(before) != _rest(after):
            raise _cannot(config, streams)
    except (KeyError, AttributeError, TypeError, ValueError, YAMLError) as error:
        raise _cannot(config, streams) from error
    config = config.resolve()  # a link stays one
    temporary = config.with_name(config.name + ".partial")
    temporary.write_bytes("\n".join(lines).encode("utf-8"))
    try:
        read_config(temporary)
        shutil.copymode(config, temporary)
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


def _in_blocks(lines: list[str], ending: str) -> list[str]:
    """Make ``output`` and ``output.streams`` mappings of a key a line, if they are in braces or are not there."""
    tree = _load("\n".join(lines))
    if "output" not in tree:
        lines = [*lines[:-1], f"output:{ending}", f"  streams: {{}}{ending}", ""]
        tree = _load("\n".join(lines))
    output = tree["output"]
    if output is None or output.fa.flow_style() or "streams" not in output or not output["streams"]:
        return _rewritten(lines, tree, ending)
    return _rewritten(lines, tree, ending) if output["streams"].fa.flow_style() else lines


def _rewritten(lines: list[str], tree: Any, ending: str) -> list[str]:
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
    made = [line.rstrip("\r") + ending for line in out.getvalue().rstrip("\n").split("\n")]
    return [*lines[:first], *made, *lines[last:]]


_PLACEHOLDER = "dandify-tune-goes-here"


def _put(lines: list[str], place: Sequence[str], key: str, new: Sequence[str], ending: str) -> list[str]:
    """Replace the lines of a key within a block mapping, or add it as the last one; comments in its lines stay."""
    tree = _load("\n".join(lines))
    node = tree
    for part in place:
        node = node[part]
    column = node.lc.col
    *above, own = (" " * column + line for line in new)
    for old in (key, _PLACEHOLDER):
        if old in node:
            first, last = _span(lines, node, old)
            said = [found for line in lines[first:last] if (found := _comment(line))]
            if last - first == 1:
                own, said = "  ".join([own, *said]), []
            if first and lines[first - 1].strip().startswith(MARK):
                first -= 1
            made = [*(" " * column + one for one in said), *above, own]
            return [*lines[:first], *(line + ending for line in made), *lines[last:]]
    last = max(_span(lines, node, other)[1] for other in node)
    return [*lines[:last], *(line + ending for line in [*above, own]), *lines[last:]]


def _comment(line: str) -> str:
    """Give the comment in a line of names, numbers and quoted words; empty if it has none."""
    quote = ""
    for at, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'" and (at == 0 or line[at - 1] in " \t[{,:"):
            quote = sign
        elif sign == "#" and (at == 0 or line[at - 1] in " \t"):
            return line[at:].rstrip()
    return ""


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
