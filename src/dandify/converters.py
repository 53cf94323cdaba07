"""The converters of the projects in reach, importable as ``dandify.converters.<name>``.

A project is a folder with ``converters/`` and ``templates/``. The checkout is one, the wheel carries one as
``dandify/shipped/``, and a lab's folder is one if it is marked by a ``dandify.yaml`` or named with ``--project``. A
lab's file hides the shipped one of the same name. Nothing else is searched: code in a downloaded dataset is never run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROJECT_VARIABLE = "DANDIFY_PROJECT"
MARKER = "dandify.yaml"

_HERE = Path(__file__).resolve()


def shipped_project() -> Path:
    """Folder of the converters and templates that come with dandify."""
    checkout = _HERE.parents[2]
    if (checkout / "pyproject.toml").is_file() and (checkout / "converters").is_dir():
        return checkout
    return _HERE.parent / "shipped"


def lab_project() -> Path | None:
    """Folder of the lab's project: ``--project``, else the nearest folder upwards that has a ``dandify.yaml``."""
    if named := os.environ.get(PROJECT_VARIABLE):
        return Path(named).resolve()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / MARKER).is_file()), None)


def use_project(folder: Path | None) -> None:
    """Make ``folder`` the lab's project, in this process and in those it starts; None for the search upwards."""
    if folder is None:
        os.environ.pop(PROJECT_VARIABLE, None)
    else:
        os.environ[PROJECT_VARIABLE] = str(folder.resolve())
    refresh()


def refresh() -> None:
    """Look again for projects: after the working folder or the project has changed."""
    global __path__
    found = _search()
    if found != list(__path__):
        __path__ = found
        for name in [n for n in sys.modules if n.startswith(f"{__name__}.")]:
            del sys.modules[name]


def _search() -> list[str]:
    projects = [p for p in (lab_project(), shipped_project()) if p is not None]
    return list(dict.fromkeys(str(p / "converters") for p in projects if (p / "converters").is_dir()))


__path__ = _search()
