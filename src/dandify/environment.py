"""Variables of this process, changed while a block runs: libraries read what has no other switch from them."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables while the block runs, and then give them back the values that they had."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def for_dandi() -> dict[str, str]:
    """Give the variables under which the dandi client calls nobody, and finds its programs.

    It starts ``bids-validator-deno`` by its name, which is not on the ``PATH`` of who calls ``.venv/bin/dandify``.
    """
    paths = [sysconfig.get_path("scripts"), os.environ.get("PATH") or os.defpath]
    return {"DANDI_NO_ET": "1", "NO_ET": "1", "PATH": os.pathsep.join(paths)}
