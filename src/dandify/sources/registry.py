"""Finds the converters of the projects in reach, and the format of an acquisition."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from dandify import converters
from dandify.errors import DandifyError
from dandify.sources.contract import Converter


@dataclass(frozen=True)
class Claim:
    """An acquisition and the converter that says it is its own."""

    converter: Converter
    path: Path
    reason: str


def available() -> tuple[Converter, ...]:
    """Every converter in reach, in the order of asking.

    Raises
    ------
    DandifyError
        If a converter's file cannot be imported or does not keep the form of one.
    """
    converters.refresh()
    names: dict[str, None] = {}
    for folder in converters.__path__:
        for file in sorted(Path(folder).glob("*.py")):
            if not file.name.startswith("_"):
                names.setdefault(file.stem)
    found = []
    for name in names:
        try:
            module = importlib.import_module(f"{converters.__name__}.{name}")
        except Exception as error:  # a lab's own file may fail in any way; it is named, not hidden
            raise DandifyError(
                f"converter {name!r} cannot be imported: {error!r}", remedy="mend or remove its file"
            ) from error
        found.append(_of(module))
    return tuple(sorted(found, key=lambda c: (c.priority, c.name)))


def load_file(path: Path) -> Converter:
    """Import one converter from a file anywhere, as ``dandify check-converter`` does."""
    spec = importlib.util.spec_from_file_location(f"{converters.__name__}.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DandifyError("not a Python file", file=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look a class's module up by its name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return _of(module)


def by_name(name: str) -> Converter:
    """Return the converter of that name.

    Raises
    ------
    DandifyError
        If there is none.
    """
    every = available()
    for converter in every:
        if converter.name == name:
            return converter
    raise DandifyError(f"no format {name!r}", remedy=f"known formats: {', '.join(c.name for c in every)}")


def claims(path: Path, among: tuple[Converter, ...] | None = None) -> Iterator[Claim]:
    """Every converter that says yes to the acquisition of which ``path`` is a file, in the order of asking."""
    for converter in among if among is not None else available():
        root = converter.claim(path)
        if root is not None and (verdict := converter.identify(root)):
            yield Claim(converter, root, verdict.reason)


def _of(module: ModuleType) -> Converter:
    converter = getattr(module, "converter", None)
    if not isinstance(converter, Converter):
        raise DandifyError(
            "no `converter = ...` of type dandify.sources.Converter in it", file=module.__file__,
            remedy="see CONTRIBUTING.md, How to add a format",
        )  # fmt: skip
    return converter
