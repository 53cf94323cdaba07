"""Help is complete, quick and light."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dandify.cli.main import VERBS, main

HEAVY = (
    "av", "dandi", "dandischema", "h5py", "hdmf", "neo", "neuroconv", "numba", "numpy", "nwbinspector",
    "pandas", "pydantic", "pynwb",
    "spikeinterface", "starlette", "tensorstore", "tifffile", "uvicorn", "yaozarrs", "zarr",
)  # fmt: skip


def commands() -> dict[str, click.Command]:
    context = click.Context(main)
    found = {}
    for verb in VERBS:
        command = main.get_command(context, verb)
        assert command is not None
        found[verb] = command
        if isinstance(command, click.Group):
            found |= {f"{verb} {name}": sub for name, sub in command.commands.items()}
    return found


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom dandify.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print('HEAVY', sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_formats_and_scan_import_no_reader(tmp_path: object) -> None:
    code = (
        "import sys, dandify\ndandify.formats()\n"
        f"dandify.scan({str(tmp_path)!r})\n"
        "print('HEAVY', sorted(set(sys.modules) & {'neuroconv', 'spikeinterface', 'neo', 'pynwb', 'dandi', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize("verb", list(commands()))
def test_every_command_and_option_has_help(verb: str) -> None:
    command = commands()[verb]
    assert command.help
    assert command.get_short_help_str()
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{verb} {parameter.opts}"
    assert CliRunner().invoke(main, [*verb.split(), "--help"]).exit_code == 0


def test_a_misspelt_verb_is_met_with_a_suggestion() -> None:
    done = CliRunner().invoke(main, ["convrt"])
    assert done.exit_code == 2
    assert "convert" in done.output
