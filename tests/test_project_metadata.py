"""Metadata: layers, --set, times, what is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dandify.errors import BadRequest, DandifyError
from dandify.project.config import read_config, read_dandiset
from dandify.project.metadata import KEYS, Layer, merge, missing, parse_assignments, parse_start

COMPLETE = {
    "subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P60D", "session_id": "s1",
    "session_start_time": "2026-03-01T14:30:00+01:00",
}  # fmt: skip


def test_later_layers_win_and_origins_are_kept() -> None:
    merged = merge([Layer("project", {"lab": "A", "keywords": ["x"]}), Layer("session", {"lab": "B", "notes": None})])
    assert merged.values == {"lab": "B", "keywords": ["x"]}
    assert merged.origins == {"lab": "session", "keywords": "project"}


def test_yaml_may_give_one_for_a_list_and_digits_for_an_id() -> None:
    merged = merge([Layer("", {"keywords": "x", "session_id": 20260301, "pixel_size_um": {"z": 2}})])
    assert merged.values == {"keywords": ["x"], "session_id": "20260301", "pixel_size_um": {"z": 2}}


def test_pixel_sizes_merge_per_axis() -> None:
    merged = merge([Layer("a", {"pixel_size_um": {"y": 0.5, "x": 0.5}}), Layer("b", {"pixel_size_um": {"z": 2.0}})])
    assert merged.values["pixel_size_um"] == {"y": 0.5, "x": 0.5, "z": 2.0}


def test_an_unknown_key_names_its_origin_and_the_nearest_key() -> None:
    with pytest.raises(BadRequest, match="specis") as caught:
        merge([Layer("dandify.yaml metadata", {"specis": "Mus musculus"})])
    assert "'species'" in str(caught.value)
    assert "dandify.yaml metadata" in str(caught.value)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["lab=Smith lab"], {"lab": "Smith lab"}),
        (["keywords=a; b"], {"keywords": ["a", "b"]}),
        (["pixel_size_um.z=2.5", "pixel_size_um.x=.5"], {"pixel_size_um": {"z": 2.5, "x": 0.5}}),
        (["notes=a=b"], {"notes": "a=b"}),
        (["subject_id=001"], {"subject_id": "001"}),
    ],
    ids=["text", "list", "nested", "equals sign", "leading zeros"],
)
def test_assignments(pairs: list[str], expected: dict[str, Any]) -> None:
    assert parse_assignments(pairs) == expected


@pytest.mark.parametrize("pair", ["lab", "labb=x", "pixel_size_um.z=two"])
def test_bad_assignments_are_refused(pair: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_assignments([pair])
    assert caught.value.exit_code == 2


def test_everything_missing_is_named_at_once() -> None:
    assert [n.key for n in missing(merge([]))] == [
        "subject_id",
        "species",
        "sex",
        "age",
        "session_id",
        "session_start_time",
    ]


@pytest.mark.parametrize("key", COMPLETE)
def test_each_required_value_is_missed(key: str) -> None:
    assert [n.key for n in missing(merge([Layer("", {k: v for k, v in COMPLETE.items() if k != key})]))] == [key]


def test_date_of_birth_serves_for_age() -> None:
    values = {**COMPLETE, "date_of_birth": "2026-01-01"}
    del values["age"]
    assert missing(merge([Layer("", values)])) == ()


def test_a_start_without_zone_needs_one() -> None:
    naive = {**COMPLETE, "session_start_time": "2026-03-01T14:30:00"}
    assert [n.key for n in missing(merge([Layer("", naive)]))] == ["timezone"]
    assert missing(merge([Layer("", {**naive, "timezone": "Europe/Berlin"})])) == ()


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        ("2026-03-01T14:30:00+01:00", None, datetime(2026, 3, 1, 13, 30, tzinfo=UTC)),
        ("2026-03-01T14:30", "Europe/Berlin", datetime(2026, 3, 1, 13, 30, tzinfo=UTC)),
        (datetime(2026, 7, 1, 12), "Europe/Berlin", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        (datetime(2026, 7, 1, 12), None, None),
    ],
    ids=["offset", "zone", "summer time", "no zone"],
)
def test_starts(value: Any, zone: str | None, expected: datetime | None) -> None:
    assert parse_start(value, timezone=zone) == expected


@pytest.mark.parametrize(
    ("value", "zone"), [("yesterday", None), ("2026-13-01", None), ("2026-03-01T10:00", "Mars/Olympus")]
)
def test_bad_starts_are_refused(value: str, zone: str | None) -> None:
    with pytest.raises(BadRequest):
        parse_start(value, timezone=zone)


def test_every_key_has_a_meaning() -> None:
    assert all(key.meaning for key in KEYS.values())


CONFIG = """\
metadata:
  lab: Smith lab
subjects:
  001: {species: Mus musculus, sex: F, age: P60D}
sessions:
  - subject_id: 001
    session_id: 0012
    metadata: {session_start_time: 2026-03-01T14:30:00+01:00}
    sources:
      - raw/run_g0
      - {path: trials.csv, format: table, options: {kind: TimeIntervals}}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "dandify.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_config_keeps_leading_zeros_and_time_zones(tmp_path: Path) -> None:
    project = read_config(write(tmp_path, CONFIG))
    (session,) = project.sessions
    merged = merge(session.layers)
    assert (merged.values["subject_id"], merged.values["session_id"]) == ("001", "0012")
    assert merged.values["species"] == "Mus musculus"
    start = parse_start(merged.values["session_start_time"], timezone=None)
    assert start is not None
    assert start.utcoffset() == timedelta(hours=1)
    assert [s.path for s in session.sources] == [tmp_path / "raw/run_g0", tmp_path / "trials.csv"]
    assert session.sources[1].options == {"kind": "TimeIntervals"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sessions: [", "line"),
        ("- a\n- b\n", "mapping"),
        ("metadata: {}\n", "sessions"),
        (CONFIG.replace("session_id: 0012", "sesion_id: x"), "line 7"),
        (CONFIG.replace("lab: Smith lab", "labb: Smith lab"), "line 2"),
        (CONFIG.replace("sex: F,", "seks: F,"), "line 4"),
        (CONFIG + "output: {backend: hdf6}\n", "line 12"),
        (CONFIG.replace("options: {kind: TimeIntervals}", "metadata: {lab: X}"), "line 11.*one level up"),
    ],
    ids=[
        "not yaml",
        "not a mapping",
        "no sessions",
        "unknown field",
        "unknown key",
        "unknown subject key",
        "bad choice",
        "wrong level",
    ],
)
def test_config_errors_name_file_and_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(DandifyError, match=expected) as caught:
        read_config(write(tmp_path, text))
    assert "dandify.yaml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_dandiset_may_be_all_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "dandiset:\n  name: Somebody's recordings\n")
    assert read_dandiset(path) == {"name": "Somebody's recordings"}
    with pytest.raises(BadRequest, match="no sessions are listed"):
        read_config(path)
