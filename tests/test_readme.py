"""What the README says is what happens: its commands run here in its order, on recordings of the demo."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import dandify
from dandify.archive.serve import running_archive
from dandify.cli.main import VERBS, main
from dandify.examples.run import write_recordings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Every command of the README that is not a mere example of a verb: its indented lines, in order."""
    lines = re.sub(r"\\\n\s+", "", README).splitlines()
    return [shlex.split(line.split("  #")[0]) for line in lines if re.match(r"    dandify [a-z]", line)]


def test_the_commands_of_the_readme_run_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recordings(tmp_path, seconds=1.0, channels=4)
    monkeypatch.chdir(tmp_path)
    done = []
    with running_archive(tmp_path / "server") as archive:
        monkeypatch.setenv("DANDIFY_API_KEY", archive.token)
        for command in commands():
            arguments = [a.replace("/data/mouse01/2026-03-01", "raw/mouse01") for a in command[1:]]
            arguments = [a.replace("/data/mouse01", "raw/mouse01") for a in arguments]
            arguments = [archive.url if a == "dandi" else a for a in arguments]
            if arguments[0] == "archive":
                continue  # serves until Ctrl-C; test_archive_running does it
            if arguments[:2] == ["convert", "dandify.yaml"]:
                arguments[-1] = "converted-project"  # the same sessions once more, elsewhere
            arguments = ["3s" if a == "60s" else a for a in arguments]
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, f"{command}\n{result.output}"
            done.append(arguments[0])
    assert done == ["scan", "convert", "convert", "tune", "organize", "describe", "validate", "upload"]
    assert list((tmp_path / "my-dandiset").rglob("*.nwb"))


def test_the_readme_names_every_verb_function_and_format() -> None:
    for verb in VERBS:
        assert re.search(rf"^\| `{verb}\b", README, re.M), verb
    for name in dandify.__all__:
        assert name.startswith("_") or f"dandify.{name}" in README, name
    for title in ("SpikeGLX", "Open Ephys", "Intan", "ABF", "OME-TIFF", "one TIFF per plane", "CSV", "videos"):
        assert title in README


def test_the_example_of_a_project_is_read(tmp_path: Path) -> None:
    from dandify.project.config import read_config

    (block,) = re.findall(r"((?:    .*\n)*    sessions:\n(?:    .*\n)*)", README)
    path = tmp_path / "dandify.yaml"
    path.write_text(re.sub(r"^    ", "", block, flags=re.M), encoding="utf-8")
    assert len(read_config(path).sessions) == 1


def test_the_column_map_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"((?:    .*\n)*    kind: TimeIntervals\n(?:    .*\n)*)", README)
    table = tmp_path / "choices.csv"
    table.write_text("trial_start,trial_end,reaction\n0.1,0.2,0.05\n")
    (tmp_path / "choices.columns.yaml").write_text(re.sub(r"^    ", "", block, flags=re.M), encoding="utf-8")
    (source,) = dandify.scan(table).sources
    (stream,) = source.streams
    assert (stream.name, [c.name for c in stream.columns]) == ("trials", ["start_time", "stop_time", "reaction_time"])
