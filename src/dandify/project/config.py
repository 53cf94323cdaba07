"""Reads ``dandify.yaml``: sessions, their sources, layered metadata, the dandiset. Errors name the line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dandify.errors import BadRequest
from dandify.project.metadata import KEYS, Layer

CONFIG_NAME = "dandify.yaml"


class SourceEntry(BaseModel):
    """One source of a session."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(description="File or folder, relative to dandify.yaml.")
    format: str | None = Field(None, description="Name of the format; found out if absent.")
    options: dict[str, Any] = Field(default_factory=dict, description="What the converter asks: a table's column map.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Metadata of this source only.")


class SessionEntry(BaseModel):
    """One session."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    subject_id: str = Field(description="A key of `subjects`, or a subject described in `metadata`.")
    session_id: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="Metadata of this session.")
    sources: list[SourceEntry | str] = Field(min_length=1, description="Files and folders of the session.")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Files of labels by name, relative to dandify.yaml; by IMAGE/NAME where there are several images.",
    )


class StreamOutput(BaseModel):
    """How one stream is written, as ``dandify tune --apply`` measures it."""

    model_config = ConfigDict(extra="forbid")

    compression: str | None = Field(None, description="Name of a compression, like gzip:planar.")
    chunks: list[Annotated[int, Field(ge=1)]] | None = Field(None, description="Shape of a chunk.")
    transforms: list[Literal["divide", "recentre"]] = Field(
        default_factory=list, description="Exact changes of stored integers in NWB files."
    )


class Output(BaseModel):
    """How outputs are written."""

    model_config = ConfigDict(extra="forbid")

    backend: Literal["hdf5", "zarr"] = Field("hdf5", description="Of NWB files.")
    ngff: Literal["0.4", "0.5"] = Field("0.5", description="Version of OME-Zarr.")
    streams: dict[str, StreamOutput] = Field(
        default_factory=dict,
        description="By the name or pattern of an NWB series, or of an image; `Image` for all other images.",
    )


class Config(BaseModel):
    """A lab's project."""

    model_config = ConfigDict(extra="forbid")

    metadata: dict[str, Any] = Field(default_factory=dict, description="Metadata of all sessions.")
    subjects: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Metadata by subject id.")
    sessions: list[SessionEntry] = Field(default_factory=list, description="What is converted.")
    ignore: list[str] = Field(default_factory=list, description="Patterns of files to pass over in folders.")
    output: Output = Field(default_factory=Output)
    dandiset: dict[str, Any] = Field(default_factory=dict, description="name, description, license, contributors ...")


@dataclass(frozen=True)
class PlannedSource:
    """A source to open: where, how, what is said about it alone, and which files of a folder are passed over.

    ``missing`` is what becomes of planes of images that no file holds, where nobody says it of this source alone.
    """

    path: Path
    format: str | None
    options: Mapping[str, Any]
    layer: Layer
    ignore: tuple[str, ...] = ()
    missing: str | None = None


@dataclass(frozen=True)
class PlannedSession:
    """A session to convert: its sources, metadata layers, the weakest first, and files of labels by name."""

    sources: tuple[PlannedSource, ...]
    layers: tuple[Layer, ...]
    labels: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Project:
    """A read ``dandify.yaml``."""

    path: Path
    sessions: tuple[PlannedSession, ...]
    output: Output
    dandiset: Mapping[str, Any]


def read_config(path: Path) -> Project:
    """Read and check a ``dandify.yaml`` that lists sessions; paths in it are relative to it.

    Raises
    ------
    BadRequest
        With every error of the file and its line, at once; or there are no sessions in it.
    """
    config = _read(path)
    if not config.sessions:
        raise BadRequest("no sessions are listed", file=path, place="sessions", remedy="see README, dandify.yaml")
    return Project(
        path, tuple(_plan(config, i, path) for i in range(len(config.sessions))), config.output, config.dandiset
    )


def read_dandiset(path: Path) -> dict[str, Any]:
    """Read what a ``dandify.yaml`` says of the dandiset; that may be all that it says.

    Raises
    ------
    BadRequest
        With every error of the file and its line, at once.
    """
    return _read(path).dandiset


def _read(path: Path) -> Config:
    from ruamel.yaml.error import MarkedYAMLError

    try:
        with path.open(encoding="utf-8") as stream:
            tree = text_yaml().load(stream)
    except FileNotFoundError:
        raise BadRequest("no such file", file=path) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise BadRequest(
            f"not YAML: {error.problem}",
            file=path,
            place=f"line {mark.line + 1}, column {mark.column + 1}" if mark else None,
        ) from None
    if not isinstance(tree, dict):
        raise BadRequest(
            "not a mapping of metadata, subjects and sessions", file=path, remedy="see README, dandify.yaml"
        )
    try:
        config = Config.model_validate(_plain(tree))
    except ValidationError as error:
        raise _all_errors(error, tree, path) from None
    wrong = _wrong_keys(config, tree)
    if wrong:
        raise BadRequest(
            "\n".join(["metadata keys that are unknown or in the wrong place", *wrong]), file=path,
            remedy=f"keys are {', '.join(KEYS)}",
        )  # fmt: skip
    return config


def text_yaml() -> Any:
    """Return a YAML reader that keeps times and numbers such as ``001`` as the text they are.

    ruamel would turn a time with a zone into UTC without one, and the subject ``001`` into 1.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import RoundTripConstructor

    class TextConstructor(RoundTripConstructor):
        def construct_timestamp(self, node: Any) -> str:
            return str(node.value)

        def construct_integer(self, node: Any) -> Any:
            text = str(node.value)
            return text if len(text) > 1 and text.startswith("0") and text.isdigit() else self.construct_yaml_int(node)

    TextConstructor.add_constructor("tag:yaml.org,2002:timestamp", TextConstructor.construct_timestamp)
    TextConstructor.add_constructor("tag:yaml.org,2002:int", TextConstructor.construct_integer)
    yaml = YAML(typ="rt")
    yaml.Constructor = TextConstructor
    return yaml


def _plan(config: Config, index: int, path: Path) -> PlannedSession:
    entry = config.sessions[index]
    name = f"{path.name} sessions[{index}]"
    own = {"subject_id": entry.subject_id, "session_id": entry.session_id, **entry.metadata}
    layers = (
        Layer(f"{path.name} metadata", config.metadata),
        Layer(f"{path.name} subjects.{entry.subject_id}", config.subjects.get(entry.subject_id, {})),
        Layer(name, own),
    )
    sources = []
    for i, item in enumerate(entry.sources):
        given = SourceEntry(path=item) if isinstance(item, str) else item
        sources.append(
            PlannedSource(
                Path(os.path.abspath(path.parent / given.path)),
                given.format,
                given.options,
                Layer(f"{name}.sources[{i}]", given.metadata),
                tuple(config.ignore),
            )
        )
    return PlannedSession(
        tuple(sources), layers, {n: Path(os.path.abspath(path.parent / file)) for n, file in entry.labels.items()}
    )


def _plain(value: Any) -> Any:
    """Plain Python out of ruamel's nodes."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, str):
        return str(value)
    return value


def _all_errors(error: ValidationError, tree: Any, path: Path) -> BadRequest:
    lines = []
    for item in error.errors():
        place = ".".join(str(p) for p in item["loc"] if p not in ("SourceEntry", "str"))
        lines.append(f"  line {_line(tree, item['loc'])}: {place}: {item['msg'].lower()}")
    return BadRequest(
        "\n".join(["not as expected", *dict.fromkeys(lines)]), file=path, remedy="see README, dandify.yaml"
    )


def _wrong_keys(config: Config, tree: Any) -> list[str]:
    places: list[tuple[tuple[str | int, ...], Mapping[str, Any]]] = [(("metadata",), config.metadata)]
    places += [(("subjects", name), values) for name, values in config.subjects.items()]
    for i, session in enumerate(config.sessions):
        places.append((("sessions", i, "metadata"), session.metadata))
        places += [
            (("sessions", i, "sources", j, "metadata"), source.metadata)
            for j, source in enumerate(session.sources)
            if isinstance(source, SourceEntry)
        ]
    lines = []
    for place, values in places:
        for key in values:
            if key not in KEYS:
                wrong = "is unknown"
            elif "sources" in place and KEYS[key].level != "source":
                wrong = f"is of the {KEYS[key].level}, not of one source: put it one level up"
            else:
                continue
            lines.append(f"  line {_line(tree, (*place, key))}: {'.'.join(map(str, place))}.{key} {wrong}")
    return lines


def _line(tree: Any, place: tuple[str | int, ...]) -> int:
    """Line of the deepest node on the way to ``place`` that the file has."""
    line = 1
    node = tree
    for part in place:
        try:
            position = node.lc.data[part]
            line = position[0] + 1
            node = node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line
