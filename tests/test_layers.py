"""Imports run downwards only, and never in circles."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "dandify"
CONVERTERS = SOURCE.parents[1] / "converters"

LEVELS = {
    "errors": 0, "findings": 0, "environment": 0, "tree_state": 0, "kernels": 1, "store": 2, "converters": 2,
    "sources": 3, "testing": 6, "nwb": 4, "ngff": 4, "tuning": 4,
    "project": 5, "runs": 6, "dandiset": 6, "archive": 7, "report": 8, "examples": 9, "cli": 10, "__main__": 11,
}  # fmt: skip
BLIND = {"dandiset": {"kernels", "store"}, "archive": {"kernels", "store"}, "report": {"kernels", "store"}}
"""Rooms that must know nothing of others below them."""

FILES = [p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py"]


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Return every dandify module a file imports, wherever in it: a deferred import is a dependency too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return {name for name in found if name.startswith("dandify.")}


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_imports_run_downwards(path: Path) -> None:
    own = room(module_of(path))
    assert own in LEVELS, f"{own} is no room of the house plan"
    for target in imports(path):
        other = room(target)
        if other == own or other not in LEVELS:
            continue
        assert LEVELS[other] < LEVELS[own], f"{path.name} ({own}) imports {target} upwards or sideways"
        assert other not in BLIND.get(own, ()), f"{own} must know nothing of {other}"


def test_no_import_circles() -> None:
    known = {module_of(p) for p in FILES}
    graph: dict[str, set[str]] = {}
    for path in FILES:
        name = module_of(path)
        targets = {t if t in known else t.rpartition(".")[0] for t in imports(path)}
        graph[name] = {t for t in targets if t in known and t != name}
    # raises CycleError, which names the circle
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) >= len(FILES)


def test_a_converter_imports_no_other_converter() -> None:
    for path in CONVERTERS.glob("*.py"):
        assert not [t for t in imports(path) if t.startswith("dandify.converters.")]
        assert not [t for t in imports(path) if room(t) not in ("sources", "errors", "store", "nwb")], path.name


@pytest.mark.parametrize("path", [*FILES, *CONVERTERS.glob("*.py")], ids=lambda p: p.name)
def test_a_module_says_what_it_does_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "the first docstring line says the one thing a module does"
    assert text.count("\n") <= 500
