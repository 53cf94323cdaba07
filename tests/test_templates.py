"""Every template is a dandify.yaml that is read without an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dandify.dandiset.describe import document_of
from dandify.project.config import read_config
from dandify.project.metadata import merge, missing

TEMPLATES = sorted((Path(__file__).resolve().parents[1] / "templates").glob("*.yaml"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_a_template_is_complete_but_for_what_files_state(path: Path) -> None:
    project = read_config(path)
    assert document_of(project.dandiset)["name"]  # and DANDI's schema takes the rest
    for session in project.sessions:
        assert {n.key for n in missing(merge(session.layers))} <= {"session_start_time"}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_a_template_says_how_to_use_it(path: Path) -> None:
    comment: list[Any] = re.findall(r"^# .*", path.read_text(encoding="utf-8"), re.M)
    assert any("Copy it as dandify.yaml" in line for line in comment)
