"""Rules of subject and session metadata."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dandify.project.rules import is_duration, label, problems_of

GOOD: dict[str, list[Any]] = {
    "species": ["Mus musculus", "Sus scrofa", "Crassostrea gigas", "http://purl.obolibrary.org/obo/NCBITaxon_9823"],
    "sex": ["M", "F", "U", "O"],
    "age": ["P60D", "P8W", "P1Y2M", "P1D/P3D", "P1D/", "PT12H", "P2.5W"],
    "date_of_birth": ["2026-01-31", "2026-01-31T00:00:00+01:00"],
    "weight": ["0.02 kg", "20 g"],
    "subject_id": ["mouse 1", "a-b", "001"],
}
BAD: dict[str, list[tuple[Any, str]]] = {
    "species": [("mouse", "Mus musculus"), ("Mus musclus", "Mus musculus"), ("qqq", "NCBITaxon"),
                ("Mus", "Mus musculus"), ("zebrafish", "Danio rerio"), ("sus scrofa", "Sus scrofa"),
                ("rat", "'Rattus norvegicus' or"),
                ("Mus musculus - House mouse", "Mus musculus"), ("Cupiennius salet", "Cupiennius salei"),
                ("Felis silvestris", "NCBITaxon")],
    "sex": [("male", "'M'"), ("f", "'F'"), ("?", "U is unknown")],
    "age": [("60 days", "P60D"), ("P", "P60D"), ("PT", "P60D"), ("60", "P60D"), ("P60", "P60D"), ("P1D/3", "P60D")],
    "date_of_birth": [("01/02/2026", "2026-01-31")],
    "weight": [("20", "0.02 kg")],
    "subject_id": [("a/b", "-"), ("--", "file names")],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in GOOD.items() for v in values])
def test_good_values_pass(key: str, value: Any) -> None:
    assert problems_of({key: value}, {}) == ()


@pytest.mark.parametrize(("key", "value", "remedy"), [(k, v, r) for k, values in BAD.items() for v, r in values])
def test_bad_values_are_named_with_a_remedy(key: str, value: Any, remedy: str) -> None:
    (found,) = problems_of({key: value}, {})
    assert (found.key, found.severity) == (key, "ERROR")
    assert repr(value) in found.message
    assert found.remedy is not None
    assert remedy in found.remedy


def test_worms_have_sexes_of_their_own() -> None:
    assert problems_of({"species": "Caenorhabditis elegans", "sex": "XO"}, {}) == ()
    assert problems_of({"species": "Caenorhabditis elegans", "sex": "M"}, {})


@pytest.mark.parametrize("start", ["2999-01-01T00:00:00+00:00", "soon"])
def test_impossible_starts(start: str) -> None:
    assert [f.key for f in problems_of({}, {"session_start_time": start})] == ["session_start_time"]


def test_ages_are_what_the_inspector_takes() -> None:
    from nwbinspector.checks import check_subject_age
    from pynwb.file import Subject

    for age in GOOD["age"]:
        assert check_subject_age(Subject(subject_id="m", age=age)) is None, age
        assert is_duration(age)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mouse_01-a", "mouse01A"),
        ("001", "001"),
        ("a b", "aB"),
        ("Mäuse", "Mause"),
        ("é\u0301α1", "e1"),
        ("x+y", "x+y"),
        (7, "7"),
    ],
)
def test_labels(text: object, expected: str) -> None:
    assert label(text) == expected


@given(st.text())
def test_labels_are_legal_everywhere(text: str) -> None:
    import re

    assert re.fullmatch(r"[0-9A-Za-z+]*", label(text))
