"""The ``dandify`` command: a group whose verbs load when they are called."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

VERBS: Mapping[str, str] = MappingProxyType({
    "formats": "formats",
    "scan": "scan",
    "check": "check",
    "tune": "tune",
    "convert": "convert",
    "labels": "labels",
    "organize": "organize",
    "describe": "describe",
    "validate": "validate",
    "upload": "upload",
    "archive": "archive",
    "verify": "verify",
    "repack": "repack",
    "view": "view",
    "demo": "demo",
    "check-converter": "check_converter",
})  # fmt: skip
"""Verb and its module, in the order of the way from the rig to DANDI."""


class _Stderr(logging.Handler):
    """Shows what the log says, in whatever stderr is at that moment: a live table replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


class Verbs(click.Group):
    """A group that imports a verb's module when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order of the work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb."""
        if cmd_name not in VERBS:
            return None
        command = import_module(f"dandify.cli.{VERBS[cmd_name]}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, VERBS, n=1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; errors a person can act on end in one message, exit status 1 or 2."""
        from dandify.cli.failures import explain

        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, OSError, RuntimeError) as error:
            # RuntimeError: threads that end under Ctrl-C report it; DandifyError is handled in `explain` too.
            ctx.exit(explain(error))
        except Exception as error:
            from dandify.errors import DandifyError

            if not isinstance(error, DandifyError):
                raise
            ctx.exit(explain(error))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="dandify")
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False),
    help="Folder with the lab's own converters/ and templates/.",
)
def main(project: str | None) -> None:
    """From the rig to DANDI: raw recordings to NWB and OME-Zarr, organized, validated and uploaded.

    scan a folder, check and convert it, organize the results into a dandiset, validate it, upload it.
    """
    # dandi and hdmf look for newer versions on the network at import; a rig may have none, and nobody asked.
    os.environ.setdefault("DANDI_NO_ET", "1")
    os.environ.setdefault("NO_ET", "1")
    log = logging.getLogger("dandify")
    if not log.handlers:
        log.addHandler(_Stderr())
        log.setLevel(logging.INFO)
    if project:
        from pathlib import Path

        from dandify.converters import use_project

        use_project(Path(project))


if __name__ == "__main__":
    sys.exit(main())
