"""What the wheel carries, and that dependencies are locked."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, then the wheel out of the sdist alone."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, "--sdist", str(ROOT)], check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    subprocess.run(
        [*build, "--wheel", str(folder / sdist.name.removesuffix(".tar.gz"))], check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_every_converter_and_template(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for kind in ("converters", "templates"):
        shipped = [f for f in (ROOT / kind).iterdir() if f.is_file()]
        assert shipped
        assert not {f"dandify/shipped/{kind}/{f.name}" for f in shipped} - names


def test_the_wheel_carries_every_module_and_nothing_else(wheel: Path) -> None:
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    modules = {
        f"dandify/{f.relative_to(ROOT / 'src/dandify').as_posix()}" for f in (ROOT / "src/dandify").rglob("*.py")
    }
    assert modules <= names
    assert {f"dandify/project/{f.name}" for f in (ROOT / "src/dandify/project").glob("*.tsv")} <= names
    assert all(n.startswith("dandify/") for n in names)


def test_an_installed_wheel_finds_its_converters(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import dandify; print(dandify.__file__); print(*[f.name for f in dandify.formats()])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**_environment(), "PYTHONPATH": str(tmp_path)}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    where, names = done.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path)
    assert names.split() == sorted(f.stem for f in (ROOT / "converters").glob("[!_]*.py"))


def test_every_dependency_is_locked_with_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    locked = {re.sub(r"[-_.]+", "-", m[1].lower()) for m in re.finditer(r"^([A-Za-z0-9_.-]+)==", text, re.M)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.sub(r"[-_.]+", "-", m[0].lower()) for w in wanted if (m := re.match(r"[A-Za-z0-9_.-]+", w))}
    assert not names - locked
    assert text.count("--hash=sha256:") > len(locked)


# Needed without being imported by name: readers that others load.
LOADED_BY_OTHERS = {"neo"}
# Imported where it is there: the contract's tests look for open files with it.
OPTIONAL = {"psutil"}


def test_every_import_is_declared_and_every_declaration_is_used() -> None:
    imported: set[str] = set()
    for file in [*(ROOT / "src").rglob("*.py"), *(ROOT / "converters").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                imported.add(node.module)
    tops = {"ruamel.yaml" if name.startswith("ruamel.") else name.split(".")[0] for name in imported}
    used = {re.sub(r"[-_.]+", "-", top.lower()) for top in tops - sys.stdlib_module_names - {"dandify"}}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = _names(project["dependencies"])
    extras = _names(text for name, texts in project["optional-dependencies"].items() if name != "dev" for text in texts)
    assert used - OPTIONAL == (declared | extras) - LOADED_BY_OTHERS
    assert not declared & extras
    assert extras <= _names(project["optional-dependencies"]["dev"])  # so that tests can use them


def _names(requirements: Iterable[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9_.-]+", text) for text in requirements)
    return {re.sub(r"[-_.]+", "-", name[0].lower()) for name in found if name}


def _environment() -> dict[str, str]:
    import os

    return {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
